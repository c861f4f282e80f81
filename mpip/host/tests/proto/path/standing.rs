// SPDX-License-Identifier: GPL-2.0

//! How far a path can be relied on: silence, loss, failure and return.

use super::*;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// All but good.
const STANDINGS: [Standing; 4] = [
    Standing::Down,
    Standing::Suspect,
    Standing::Doubtful,
    Standing::Lossy,
];

/// A's end of a path that is used: data asks every 20 ms, and a watcher looks every 20 ms.
struct Talk {
    pair: Pair,
    start: u32,
    /// Whether data flows.
    data: bool,
    /// When the watcher looks within its 20 ms.
    phase: u32,
    /// Answers, and when they arrive.
    under_way: VecDeque<(u32, Report)>,
    /// When something was asked.
    asked: Vec<u32>,
    /// When it became what, and what it has been last.
    log: Vec<(u32, Standing)>,
    was: Standing,
}

impl Talk {
    /// All times but `clock` are since the beginning.
    fn new(clock: u32) -> Talk {
        Talk {
            pair: Pair::new(clock, 77_777),
            start: clock,
            data: true,
            phase: 7 * MS,
            under_way: VecDeque::new(),
            asked: Vec::new(),
            log: Vec::new(),
            was: Standing::Good,
        }
    }

    fn time(&self) -> u32 {
        self.pair.now.wrapping_sub(self.start)
    }

    fn note(&mut self) {
        let standing = self.pair.a.standing();
        if standing != self.was {
            self.was = standing;
            self.log.push((self.time(), standing));
        }
    }

    fn ask(&mut self, fate: &mut impl FnMut(u32) -> Option<u32>) {
        let time = self.time();
        self.asked.push(time);
        let question = self.pair.question();
        if let Some(trip) = fate(time) {
            let answer = self.pair.answer(&question, trip / 2);
            self.under_way.push_back((time + trip, answer));
        }
    }

    /// Lets `time` pass. `fate` is the round trip of what is asked at a time, if it is answered.
    fn run(&mut self, time: u32, mut fate: impl FnMut(u32) -> Option<u32>) {
        let end = self.time() + time;
        while self.time() < end {
            let (now, time) = (self.pair.now, self.time());
            while self.under_way.front().is_some_and(|(at, _)| *at <= time) {
                if let Some((_, answer)) = self.under_way.pop_front() {
                    self.pair.a.on_report(now, 3, &answer);
                    self.note();
                }
            }
            let due = time % (20 * MS) == 0 && self.pair.a.question_due(now, 20 * MS);
            if self.data && due {
                self.ask(&mut fate);
            }
            if time % (20 * MS) == self.phase && self.pair.a.is_waiting() {
                let failed = self.pair.a.check(now);
                assert_eq!(
                    failed,
                    self.was != Standing::Suspect && self.pair.a.standing() == Standing::Suspect
                );
                self.note();
                if self.pair.a.ask_again(now) {
                    self.ask(&mut fate);
                }
            }
            self.pair.now = now.wrapping_add(MS);
        }
    }

    /// When it first became this, from `from` on.
    fn first(&self, from: u32, standing: Standing) -> Option<u32> {
        let mut log = self.log.iter();
        let found = log.find(|(at, s)| *at >= from && *s == standing);
        found.map(|(at, _)| *at)
    }

    /// How long it was this until now.
    fn length(&self, standing: Standing) -> u32 {
        let ends = self.log.iter().skip(1).map(|(at, _)| *at);
        let spans = self.log.iter().zip(ends.chain([self.time()]));
        let spans = spans.filter(|((_, s), _)| *s == standing);
        spans.map(|((from, _), to)| to - from).sum()
    }
}

/// Clocks that wrap, or pass their middle, two seconds after the start or a little later.
const CLOCKS: [u32; 5] = [
    0,
    u32::MAX - 2 * S,
    u32::MAX - 2 * S - 90 * MS,
    (1 << 31) - 2 * S,
    (1 << 31) - 2 * S - 90 * MS,
];

#[test]
fn silence_is_noticed_in_time() {
    for clock in CLOCKS {
        for trip in [1, 2, 5, 10, 30, 70, 100, 150, 200, 250, 300].map(|ms| ms * MS) {
            // Data flows on, or a full window stops it; what was under way arrives, or not.
            for (data, arrives) in [(true, true), (true, false), (false, true), (false, false)] {
                // A single question on a far path may take longer than that.
                if !data && arrives && trip > 70 * MS {
                    continue;
                }
                for phase in [0, 7 * MS, 19 * MS] {
                    let mut t = Talk::new(clock);
                    t.phase = phase;
                    t.run(2 * S, |_| Some(trip));
                    assert_eq!(t.log, []);
                    let mut open = 2 * S;
                    if !arrives {
                        t.under_way.clear();
                        open = (2 * S - trip).next_multiple_of(20 * MS);
                    }
                    // One more question in any case.
                    t.run(MS, |_| None);
                    t.data = data;
                    t.run(S, |_| None);
                    let expected = open + trip;
                    let doubt = t.first(0, Standing::Doubtful).unwrap() - expected;
                    let suspect = t.first(0, Standing::Suspect).unwrap() - expected;
                    let what = (clock, trip, data, arrives, phase, doubt, suspect);
                    // Far paths are asked less often.
                    let apart = (trip / 10).saturating_sub(20 * MS);
                    let (sooner, later) = (3 * apart, 5 * apart);
                    assert!((60 * MS..=100 * MS + sooner).contains(&doubt), "{what:?}");
                    assert!((120 * MS..=200 * MS + later).contains(&suspect), "{what:?}");
                    assert_eq!(t.log.len(), 2, "{:?}", t.log);
                }
            }
        }
    }
}

#[test]
fn an_unsteady_round_trip_is_waited_for() {
    // Twice its variation is added, and an answer that comes within that raises no doubt.
    for clock in CLOCKS {
        let mut t = Talk::new(clock);
        t.run(3 * S, |at| {
            Some(if at % (40 * MS) == 0 { 30 } else { 110 } * MS)
        });
        assert_eq!(t.log, []);
        t.run(S, |_| None);
        let rtt = &t.pair.a.rtt;
        let trip = rtt.srtt() + 2 * rtt.rttvar();
        assert!(trip > 120 * MS, "{trip}");
        let doubt = t.first(0, Standing::Doubtful).unwrap() - 3 * S - trip;
        let suspect = t.first(0, Standing::Suspect).unwrap() - 3 * S - trip;
        assert!((60 * MS..=100 * MS).contains(&doubt), "{doubt}");
        assert!((120 * MS..=200 * MS).contains(&suspect), "{suspect}");
    }
}

#[test]
fn an_answer_ends_doubt_and_suspicion() {
    for clock in CLOCKS {
        for trip in [1, 40, 200].map(|ms| ms * MS) {
            for (hole, became) in [
                (20 * MS, None),
                // As many questions as are lost in that time on a near one.
                (
                    80 * MS + 3 * (trip / 10).saturating_sub(20 * MS),
                    Some(Standing::Doubtful),
                ),
                (3 * S, Some(Standing::Suspect)),
                (30 * S, Some(Standing::Suspect)),
            ] {
                let mut t = Talk::new(clock);
                t.run(2 * S, |_| Some(trip));
                t.run(hole, |_| None);
                let end = t.time();
                t.run(2 * S, |_| Some(trip));
                let worst = t.log.iter().map(|(_, s)| *s).min();
                assert_eq!(worst, became, "{hole}");
                assert_eq!(t.pair.a.standing(), Standing::Good);
                if became == Some(Standing::Suspect) {
                    // It was probed all the while.
                    let back = t.first(end, Standing::Good).unwrap() - end;
                    let pace = if hole > 10 * S { 200 } else { 100 } * MS;
                    assert!(back <= pace + 20 * MS + trip, "{back}");
                }
                assert!(t.log.len() <= 3, "{:?}", t.log);
            }
        }
    }
}

#[test]
fn a_late_answer_is_an_answer() {
    // The queue has grown at once: the answers to old questions end the suspicion.
    let mut t = Talk::new(0);
    t.run(2 * S, |_| Some(10 * MS));
    t.run(400 * MS, |_| Some(350 * MS));
    let suspect = t.first(0, Standing::Suspect).unwrap();
    assert_eq!(t.first(suspect, Standing::Good), Some(2 * S + 350 * MS));
    t.run(2 * S, |_| Some(350 * MS));
    assert_eq!(t.log.len(), 3, "{:?}", t.log);
}

#[test]
fn a_growing_queue_is_no_silence() {
    // The longest time that a path with this round trip, growing within a second, was doubtful.
    let doubtful = |clock: u32, from: u32, trip: &dyn Fn(u32) -> u32| {
        let mut t = Talk::new(clock);
        t.run(from, |_| Some(10 * MS));
        t.run(3 * S, |at| Some(trip(at - from)));
        assert_eq!(t.first(0, Standing::Suspect), None, "{:?}", t.log);
        t.length(Standing::Doubtful)
    };
    for clock in CLOCKS {
        // Evenly, from 10 to 400 ms within a second; the answers come every 28 ms.
        let even = |at: u32| 10 * MS + (at / 1000 * 390).min(390 * MS);
        assert_eq!(doubtful(clock, 2 * S, &even), 0);
        // Without a time in which the variation could settle.
        assert_eq!(doubtful(clock, 40 * MS, &even), 0);
        // Twice as fast: they come every 36 ms.
        let fast = |at: u32| 10 * MS + (at / 1000 * 780).min(390 * MS);
        assert_eq!(doubtful(clock, 2 * S, &fast), 0);
        // In steps of 50 ms, and down again at once.
        let steps = |at: u32| 10 * MS + (at / (125 * MS) * 50 * MS) % (400 * MS);
        let long = doubtful(clock, 2 * S, &steps);
        assert!(long <= 100 * MS, "{long}");
    }
}

#[test]
fn a_burst_that_was_sent_is_no_silence() {
    // 150 ms more of queue from one question to the next, of which this end knows or does not.
    let doubtful = |clock: u32, known: u32| {
        let mut t = Talk::new(clock);
        t.run(2 * S, |_| Some(200 * MS));
        t.pair.tx.wait_us = known;
        t.run(S, |_| Some(350 * MS));
        t.length(Standing::Doubtful) + t.length(Standing::Suspect)
    };
    for clock in CLOCKS {
        assert_ne!(doubtful(clock, 0), 0);
        assert_eq!(doubtful(clock, 150 * MS), 0);
        // A guess that is far off delays what is found out by no more than the usual round trip.
        let mut t = Talk::new(clock);
        t.run(2 * S, |_| Some(50 * MS));
        t.pair.tx.wait_us = 4 * S;
        t.run(S, |_| None);
        let doubt = t.first(2 * S, Standing::Doubtful).expect("doubt") - 2 * S;
        assert!(doubt <= 50 * MS + 50 * MS + 100 * MS, "{doubt}");
    }
}

/// What random loss of the questions, and of the answers, per mille each, does to a path in ten
/// minutes: how often it becomes suspect, and how long it is doubtful, ms.
fn losses(seed: u64, trip: u32, questions: u32, answers: u32) -> (usize, u32) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut lost = |share: u32| rng.next_u32() % 1000 < share;
    let mut t = Talk::new(0);
    t.run(600 * S, |_| {
        let lost = lost(questions) | lost(answers);
        (!lost).then_some(trip)
    });
    let suspected = t.log.iter().filter(|(_, s)| *s == Standing::Suspect);
    (suspected.count(), t.length(Standing::Doubtful) / MS)
}

#[test]
fn loss_is_no_silence() {
    // In ten minutes: suspected at most, doubtful at most, seconds. What is lost both ways leaves
    // one answer in two.
    for (questions, answers, suspected, doubtful) in [
        (100, 100, 3, 2),
        (300, 0, 15, 10),
        (0, 300, 15, 10),
        (300, 300, 200, 60),
    ] {
        for trip in [5, 50, 200].map(|ms| ms * MS) {
            let all: Vec<_> = (0..5)
                .map(|seed| losses(seed, trip, questions, answers))
                .collect();
            println!("{questions} and {answers} per mille, {trip} us: {all:?}");
            assert!(all.iter().all(|(n, _)| *n <= suspected), "{all:?}");
            assert!(all.iter().all(|(_, ms)| *ms <= doubtful * 1000), "{all:?}");
        }
    }
}

/// What random loss of the answers, per mille, does to a path in ten minutes: the share of the
/// time that it is lossy or worse, per cent, and the time until it first is, ms.
fn lossy(seed: u64, share: u32) -> (u32, Option<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut t = Talk::new(0);
    t.run(600 * S, |_| {
        (rng.next_u32() % 1000 >= share).then_some(20 * MS)
    });
    let worse = STANDINGS.map(|s| t.length(s)).iter().sum::<u32>();
    (
        worse / (6 * S),
        t.first(0, Standing::Lossy).map(|at| at / MS),
    )
}

#[test]
fn much_loss_makes_lossy() {
    for (share, least, most) in [
        (10, 0, 0),
        (20, 0, 0),
        (50, 0, 2),
        (100, 5, 30),
        (200, 70, 95),
        (300, 95, 100),
        (500, 95, 100),
    ] {
        let all: Vec<_> = (0..5).map(|seed| lossy(seed, share)).collect();
        println!("{share} per mille: {all:?}");
        for (part, first) in all {
            assert!((least..=most).contains(&part), "{share}: {part}");
            assert!(share < 300 || first.is_some_and(|ms| ms < 1000));
        }
    }
}

#[test]
fn a_lossy_path_is_forgiven() {
    let mut t = Talk::new(0);
    t.run(2 * S, |at| (at / (20 * MS) % 3 != 0).then_some(30 * MS));
    assert_eq!(t.was, Standing::Lossy);
    t.pair.a.forgive(t.pair.now);
    assert_eq!(t.pair.a.standing(), Standing::Good);
    assert_eq!(t.pair.a.loss(), 0);
    // What is lost from then on counts as ever.
    t.run(2 * S, |at| (at / (20 * MS) % 3 != 0).then_some(30 * MS));
    assert_eq!(t.was, Standing::Lossy);
}

#[test]
fn a_lossy_path_recovers() {
    for clock in CLOCKS {
        for data in [true, false] {
            let mut t = Talk::new(clock);
            // Every third answer is lost, then none.
            t.run(2 * S, |at| (at / (20 * MS) % 3 != 0).then_some(30 * MS));
            assert_eq!(t.was, Standing::Lossy);
            t.data = data;
            let (end, before) = (t.time(), t.asked.len());
            t.run(4 * S, |_| Some(30 * MS));
            let good = t.first(end, Standing::Good).unwrap() - end;
            let most = if data { S } else { 2 * S };
            assert!((300 * MS..most).contains(&good), "{good}");
            // It is asked although it carries nothing, until that is known.
            if !data {
                let asked = t.asked[before..].iter().filter(|at| **at < end + good);
                assert!((20..=50).contains(&asked.count()));
                assert!(!t.pair.a.is_waiting());
                assert!(t.asked.last().is_some_and(|at| *at <= end + good));
            }
        }
    }
}

#[test]
fn what_a_failure_swallowed_is_no_loss() {
    for hole in [300 * MS, 3 * S] {
        let mut t = Talk::new(0);
        t.run(2 * S, |_| Some(30 * MS));
        t.run(hole, |_| None);
        assert_eq!(t.was, Standing::Suspect);
        t.run(S, |_| Some(30 * MS));
        assert_eq!(t.first(0, Standing::Lossy), None, "{:?}", t.log);
        assert_eq!(t.was, Standing::Good);
    }
}

#[test]
fn without_data_one_lost_question_is_enough() {
    // A heartbeat a second, and nothing else: the question is repeated until it is certain.
    for clock in CLOCKS {
        let mut t = Talk::new(clock);
        t.data = false;
        for beat in 0..10 {
            let lost = beat >= 5;
            t.ask(&mut |_| (!lost).then_some(30 * MS));
            t.run(S, |_| (!lost).then_some(30 * MS));
            assert_eq!(t.pair.a.standing() == Standing::Suspect, lost, "{beat}");
            // Nobody has to look at a path that has answered.
            assert_eq!(t.pair.a.is_waiting(), lost);
            if !lost {
                assert_eq!(t.asked.len(), beat + 1);
            }
        }
        let suspect = t.first(0, Standing::Suspect).unwrap();
        assert!((5 * S + 150 * MS..=5 * S + 230 * MS).contains(&suspect));
        // A quarter of the round trip more often than data would, for the first three.
        let before = t.asked.iter().filter(|at| (5 * S..suspect).contains(*at));
        assert!((3..=6).contains(&before.count()), "{:?}", t.asked);
    }
}

/// One heartbeat in ten gets lost on a path that carries nothing else.
fn one_lost_heartbeat(trip: u32) {
    for clock in CLOCKS {
        let mut t = Talk::new(clock);
        t.data = false;
        for beat in 0..20 {
            let mut asked = 0;
            let mut fate = |_| {
                asked += 1;
                (beat % 10 != 5 || asked > 1).then_some(trip)
            };
            t.ask(&mut fate);
            t.run(S, fate);
        }
        assert_eq!(t.first(0, Standing::Suspect), None, "{:?}", t.log);
        assert_eq!(t.was, Standing::Good);
    }
}

#[test]
fn one_lost_heartbeat_is_no_failure() {
    for ms in [1, 30, 60, 90, 120] {
        one_lost_heartbeat(ms * MS);
    }
}

#[test]
fn one_lost_heartbeat_is_no_failure_on_a_far_path() {
    for ms in [150, 200, 250, 300, 400] {
        one_lost_heartbeat(ms * MS);
    }
}

#[test]
fn a_suspect_path_is_probed_less_and_less_often() {
    for (clock, data) in [(0, true), (0, false), (u32::MAX - 100 * S, true)] {
        let mut t = Talk::new(clock);
        t.run(2 * S, |_| Some(10 * MS));
        t.run(20 * MS, |_| None);
        t.data = data;
        t.run(400 * S, |_| None);
        let failed = t.first(0, Standing::Suspect).unwrap();
        let mut last = None;
        for at in t.asked.iter().filter(|at| **at > failed) {
            let pace = match at - failed {
                0..10_000_000 => 100 * MS,
                10_000_000..300_000_000 => 200 * MS,
                _ => 2 * S,
            };
            if let Some(gap) = last.replace(*at).map(|last| *at - last) {
                assert!(
                    (pace..=pace + 20 * MS).contains(&gap),
                    "{gap} {}",
                    at - failed
                );
            }
        }
        let probes = t.asked.iter().filter(|at| **at > failed).count();
        assert!((1300..=1610).contains(&probes), "{probes}");
    }
}

#[test]
fn questions_and_answers_settle_each_other() {
    for clock in [0, 5, u32::MAX - 30 * MS, (1 << 31) - 30 * MS] {
        let mut pair = Pair::new(clock, 0);
        assert!(!pair.a.is_waiting());
        let questions = [0, 1, 2].map(|_| {
            pair.now = pair.now.wrapping_add(20 * MS);
            assert!(pair.a.question_due(pair.now, 20 * MS));
            let question = pair.question();
            assert!(!pair.a.question_due(pair.now, 20 * MS));
            question
        });
        let [first, second, third] = questions.map(|q| pair.answer(&q, 10 * MS));
        let mut take = |answer: &Report| {
            assert_eq!(pair.a.on_report(pair.now, 3, answer), Received::Taken);
            (pair.a.is_waiting(), pair.a.heard())
        };
        // An answer settles its question and those before it, not the ones behind.
        assert_eq!(take(&second), (true, Some(clock.wrapping_add(60 * MS))));
        assert!(
            take(&first).0,
            "an older answer opens nothing and settles nothing"
        );
        assert!(!take(&third).0);
    }
}

/// Lets the watcher be held up for a time while a question is open; what `check` says then, and
/// the path.
fn held_up(clock: u32, time: u32) -> (bool, Pair) {
    let mut t = Talk::new(clock);
    t.run(2 * S, |_| Some(30 * MS));
    // The answers wait as well.
    t.run(100 * MS, |_| None);
    assert_eq!(t.pair.a.standing(), Standing::Good, "{:?}", t.log);
    t.pair.now = t.pair.now.wrapping_add(time);
    let failed = t.pair.a.check(t.pair.now);
    (failed, t.pair)
}

#[test]
fn a_watcher_that_was_held_up_gives_another_chance() {
    for clock in [0, u32::MAX - 2 * S, (1 << 31) - 2 * S - 150 * MS] {
        // 80 ms are nothing, and the path has been silent for too long.
        assert!(held_up(clock, 80 * MS).0);
        for late in [110 * MS, 300 * MS, 20 * S] {
            let (failed, mut pair) = held_up(clock, late);
            assert!(!failed, "{late}");
            assert_eq!(pair.a.standing(), Standing::Good);
            assert!(pair.a.is_waiting());
            // No answer was waiting: a round trip and the usual time from now on.
            let mut took = 0;
            while !pair.a.check(pair.now) {
                if pair.a.ask_again(pair.now) {
                    pair.question();
                }
                pair.now = pair.now.wrapping_add(20 * MS);
                took += 20 * MS;
                assert!(took < S);
            }
            assert!((150 * MS..=190 * MS).contains(&took), "{took}");
            // One was.
            let (_, mut pair) = held_up(clock, late);
            pair.ask(MS, MS);
            pair.now = pair.now.wrapping_add(S);
            assert!(!pair.a.is_waiting() && !pair.a.check(pair.now));
            assert_eq!(pair.a.standing(), Standing::Good);
        }
    }
}

#[test]
fn an_end_that_has_gone_fails_the_path_at_once() {
    for clock in CLOCKS {
        let mut pair = Pair::new(clock, 0);
        pair.ask(10 * MS, 10 * MS);
        assert!(!pair.a.is_waiting());
        assert!(pair.a.fail(pair.now, true));
        assert!(!pair.a.fail(pair.now, true), "that is known");
        assert_eq!(pair.a.standing(), Standing::Suspect);
        assert!(pair.a.is_waiting() && !pair.a.check(pair.now));
        // It is probed like any suspect path, and has to answer.
        pair.now = pair.now.wrapping_add(79 * MS);
        assert!(!pair.a.ask_again(pair.now) && !pair.a.question_due(pair.now, 20 * MS));
        pair.now = pair.now.wrapping_add(MS);
        assert!(pair.a.ask_again(pair.now) && pair.a.question_due(pair.now, 20 * MS));
        pair.ask(10 * MS, 10 * MS);
        assert_eq!(pair.a.standing(), Standing::Good);
        assert!(pair.a.fail(pair.now, true));
    }
}

/// A path that does not answer its first question is given a second, whatever the clock shows.
fn never_answered(clock: u32) {
    let mut t = Talk::new(clock);
    t.run(3 * S, |_| None);
    let doubt = t.first(0, Standing::Doubtful).expect("doubt");
    let suspect = t.first(0, Standing::Suspect).expect("suspicion");
    assert!((S + 60 * MS..=S + 100 * MS).contains(&doubt), "{doubt}");
    assert!(
        (S + 120 * MS..=S + 200 * MS).contains(&suspect),
        "{suspect}"
    );
}

#[test]
fn a_path_that_never_answered_becomes_suspect() {
    for clock in [0, S, (1 << 31) - 10 * S] {
        never_answered(clock);
    }
}

#[test]
fn a_path_that_never_answered_becomes_suspect_in_the_upper_half() {
    for clock in CLOCKS.into_iter().chain([3 << 30, u32::MAX - 10 * S]) {
        never_answered(clock);
    }
}

#[test]
fn a_path_that_was_not_asked_for_long_is_noticed_in_time() {
    for minutes in [1u32, 10, 35, 36, 50, 71, 72, 200] {
        for clock in CLOCKS {
            let mut t = Talk::new(clock);
            t.run(2 * S, |_| Some(30 * MS));
            t.data = false;
            t.run(S, |_| Some(30 * MS));
            assert!(!t.pair.a.is_waiting());
            let pause = minutes.wrapping_mul(60 * S);
            t.pair.now = t.pair.now.wrapping_add(pause);
            t.start = t.start.wrapping_add(pause);
            t.data = true;
            t.run(S, |_| None);
            let suspect = t.first(0, Standing::Suspect).expect("suspicion") - 3 * S;
            assert!((150 * MS..=230 * MS).contains(&suspect), "{suspect}");
        }
    }
}

/// Fails a path and lets it answer `out` later; how long it is lossy from then on.
fn fail_and_return(t: &mut Talk, out: u32, silent: bool) -> u32 {
    let before = t.log.len();
    if silent {
        t.run(out, |_| None);
    } else {
        assert!(t.pair.a.fail(t.pair.now, false));
        t.note();
        t.run(out, |_| None);
    }
    assert_eq!(t.was, Standing::Suspect);
    t.run(2 * S, |_| Some(10 * MS));
    assert_eq!(t.was, Standing::Good);
    let times = &t.log[before..];
    let lossy = times.iter().find(|(_, s)| *s == Standing::Lossy);
    lossy.map_or(0, |(at, _)| times.last().unwrap().0 - at)
}

#[test]
fn a_path_that_fails_again_and_again_rests() {
    for clock in CLOCKS {
        let mut t = Talk::new(clock);
        t.run(S, |_| Some(10 * MS));
        // Not after its first failure.
        assert_eq!(fail_and_return(&mut t, 400 * MS, true), 0);
        for most in [200, 400, 800, 800] {
            let rest = fail_and_return(&mut t, 400 * MS, true);
            assert!(
                (most * MS..=(most + 60) * MS).contains(&rest),
                "{most} {rest}"
            );
        }
        // Three seconds without are enough.
        t.run(1_500 * MS, |_| Some(10 * MS));
        assert_eq!(fail_and_return(&mut t, 400 * MS, true), 0);
        let rest = fail_and_return(&mut t, 400 * MS, true);
        assert!((200 * MS..=260 * MS).contains(&rest), "{rest}");
    }
}

#[test]
fn a_failure_that_was_told_needs_no_rest() {
    let mut t = Talk::new(0);
    t.run(S, |_| Some(10 * MS));
    for _ in 0..5 {
        assert_eq!(fail_and_return(&mut t, 400 * MS, false), 0);
    }
    // Nor does it make up for those that were not.
    let rest = fail_and_return(&mut t, 400 * MS, true);
    assert!((200 * MS..=260 * MS).contains(&rest), "{rest}");
}
