// SPDX-License-Identifier: GPL-2.0

use mpip_host::proto::path::Path;
use mpip_host::proto::path::Received;
use mpip_host::proto::path::Standing;
use mpip_host::proto::path::Totals;
use mpip_host::proto::wire::cm::Report;
use mpip_host::proto::wire::NO_PATH;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// Two ends of a path; A's id of it is 3, B's is 5. B's clock is ahead.
struct Pair {
    a: Path,
    b: Path,
    now: u32,
    ahead: u32,
    tx: Totals,
    rx: Totals,
}

const SENT: Totals = Totals {
    tx_packets: 0,
    rx_packets: 0,
    rx_bytes: 0,
    wait_us: 0,
};

impl Pair {
    fn new(now: u32, ahead: u32) -> Pair {
        Pair {
            a: Path::new(),
            b: Path::new(),
            now,
            ahead,
            tx: SENT,
            rx: SENT,
        }
    }

    fn question(&mut self) -> Report {
        self.a.report(self.now, 1, 3, &self.tx, None)
    }

    /// The answer of B to a question that took `there` to arrive.
    fn answer(&mut self, question: &Report, there: u32) -> Report {
        let now = question
            .timestamp
            .wrapping_add(there)
            .wrapping_add(self.ahead);
        match self.b.on_report(now, 5, question) {
            Received::Answer(echo) => self.b.report(now, 1, 5, &self.rx, Some(echo)),
            other => panic!("{other:?}"),
        }
    }

    /// A question and its answer.
    fn ask(&mut self, there: u32, back: u32) -> Received {
        let question = self.question();
        let answer = self.answer(&question, there);
        self.now = self.now.wrapping_add(there + back);
        self.a.on_report(self.now, 3, &answer)
    }
}

#[test]
fn a_question_brings_delay_counts_and_round_trip() {
    for (now, ahead) in [(0, 0), (5, 1 << 31), (u32::MAX - 25_000, 12_345)] {
        let mut pair = Pair::new(now, ahead);
        // The first question knows nothing yet of the other end.
        let first = pair.question();
        assert_eq!(first.feedback, NO_PATH);
        assert!(first.flags & 1 != 0);
        let answer = pair.answer(&first, 10_000);
        assert_eq!((answer.path, answer.feedback), (5, 3));
        pair.now = pair.now.wrapping_add(30_000);
        assert_eq!(pair.a.on_report(pair.now, 3, &answer), Received::Taken);
        assert_eq!(pair.a.peer_id, Some(5));
        // A time stamp of 0 is sent as 1.
        assert!(pair.a.rtt.srtt().abs_diff(30_000) <= 1);
        assert_eq!(pair.a.queue(), 0);
        // 7 ms longer on the way there.
        assert_eq!(pair.ask(17_000, 20_000), Received::Taken);
        assert!(pair.a.queue().abs_diff(7_000) <= 1);
        assert_eq!(pair.a.rx.queue(), 0);
    }
}

#[test]
fn replays_and_other_paths_change_nothing() {
    let mut pair = Pair::new(0, 0);
    let question = pair.question();
    let answer = pair.answer(&question, 10_000);
    pair.now = 20_000;
    assert_eq!(pair.a.on_report(pair.now, 3, &answer), Received::Taken);
    let shown = |path: &Path| {
        format!(
            "{:?} {:?} {:?} {:?}",
            path.tx, path.rx, path.rtt, path.peer_id
        )
    };
    let before = shown(&pair.a);
    assert_eq!(pair.a.on_report(500_000, 3, &answer), Received::Replayed);
    assert_eq!(shown(&pair.a), before);
    // Another path's, with a number that is new here.
    let foreign = Report {
        path: 6,
        number: 1000,
        ..answer
    };
    assert_eq!(pair.a.on_report(500_000, 3, &foreign), Received::Replayed);
    assert_eq!(shown(&pair.a), before);
    // The window has not moved.
    assert_eq!(pair.ask(10_000, 10_000), Received::Taken);
}

#[test]
fn a_wild_echo_is_no_round_trip() {
    let mut pair = Pair::new(1_000_000_000, 0);
    let question = pair.question();
    let mut answer = pair.answer(&question, 10_000);
    answer.echo = answer.echo.wrapping_sub(1 << 30);
    pair.a.on_report(pair.now + 20_000, 3, &answer);
    assert!(!pair.a.rtt.is_sampled());
}

#[test]
fn losses_are_counted_once_they_are_certain() {
    let mut pair = Pair::new(0, 0);
    pair.ask(10_000, 10_000);
    // Ten packets, three of them lost.
    pair.tx.tx_packets += 10;
    pair.rx.rx_packets += 7;
    pair.rx.rx_bytes += 7000;
    let question = pair.question();
    // More are sent before the answer comes.
    pair.tx.tx_packets += 50;
    pair.now += 5_000;
    pair.question();
    let answer = pair.answer(&question, 10_000);
    pair.now += 20_000;
    pair.a.on_report(pair.now, 3, &answer);
    assert_eq!(pair.a.lost, 3);
    assert_eq!((pair.a.peer_rx_packets, pair.a.peer_rx_bytes), (7, 7000));
    // Counts that are older than those known change nothing.
    let mut late = pair.answer(
        &Report {
            number: 60,
            ..question
        },
        10_000,
    );
    late.number += 1;
    late.fb_rx_packets = 2;
    pair.a.on_report(pair.now, 3, &late);
    assert_eq!(pair.a.peer_rx_packets, 7);
}

/// All but good.
const STANDINGS: [Standing; 4] = [
    Standing::Down,
    Standing::Suspect,
    Standing::Doubtful,
    Standing::Lossy,
];

const MS: u32 = 1_000;
const S: u32 = 1_000_000;

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
                    assert!((60 * MS..=100 * MS).contains(&doubt), "{what:?}");
                    assert!((120 * MS..=200 * MS).contains(&suspect), "{what:?}");
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
                (80 * MS, Some(Standing::Doubtful)),
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

#[test]
fn what_a_full_queue_swallows_says_nothing_of_the_path() {
    for (wait, counts) in [(0, true), (20 * MS, true), (45 * MS, false)] {
        let mut pair = Pair::new(1, 0);
        pair.ask(10 * MS, 10 * MS);
        // The longest queue was 50 ms.
        pair.ask(60 * MS, 10 * MS);
        let before = pair.a.loss();
        pair.tx.wait_us = wait;
        pair.question();
        pair.now = pair.now.wrapping_add(20 * MS);
        pair.tx.wait_us = 0;
        pair.ask(10 * MS, 10 * MS);
        assert_eq!(pair.a.loss() > before, counts, "{wait}");
    }
}

/// An answer whose question took `there`; what A had predicted is `wait`.
fn ask_with(pair: &mut Pair, wait: u32, there: u32) -> i32 {
    pair.tx.wait_us = wait;
    pair.ask(there, 10 * MS);
    pair.a.take_error()
}

#[test]
fn a_report_says_how_wrong_the_queue_was() {
    for clock in [1, u32::MAX - 70 * MS, (1 << 31) - 70 * MS] {
        let mut pair = Pair::new(clock, 123);
        assert_eq!(ask_with(&mut pair, 0, 10 * MS), 0);
        // 20 ms in the queue, 5 of which were known.
        assert_eq!(ask_with(&mut pair, 5 * MS, 30 * MS), 15 * MS as i32);
        assert_eq!(pair.a.take_error(), 0, "it is told once");
        assert_eq!(ask_with(&mut pair, 20 * MS, 30 * MS), 0);
        assert_eq!(ask_with(&mut pair, 50 * MS, 30 * MS), -30 * MS as i32);
        // Nearer than ever before: there is no queue.
        assert_eq!(ask_with(&mut pair, 0, 5 * MS), 0);
        assert_eq!(ask_with(&mut pair, 0, 10 * MS), 5 * MS as i32);
    }
}

#[test]
fn errors_are_counted_once_with_several_questions_under_way() {
    for clock in [1, u32::MAX - 50 * MS, (1 << 31) - 50 * MS] {
        let mut pair = Pair::new(clock, 123);
        ask_with(&mut pair, 0, 10 * MS);
        // The queue is 8 ms longer than thought, and ten questions are asked meanwhile.
        let ask = |pair: &mut Pair, wait| {
            pair.now = pair.now.wrapping_add(5 * MS);
            pair.tx.wait_us = wait;
            let question = pair.question();
            pair.answer(&question, 18 * MS + wait)
        };
        let answers: Vec<_> = (0..10).map(|i| ask(&mut pair, i * MS)).collect();
        let mut errors = Vec::new();
        for answer in &answers {
            pair.a.on_report(pair.now, 3, answer);
            errors.push(pair.a.take_error());
        }
        assert_eq!(errors, [8_000, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        // One that grows: what is new only.
        let ask = |pair: &mut Pair, more| {
            pair.now = pair.now.wrapping_add(5 * MS);
            pair.tx.wait_us = 0;
            let question = pair.question();
            pair.answer(&question, 10 * MS + more)
        };
        let answers = [1, 3, 6, 2].map(|more| ask(&mut pair, more * MS));
        let errors = answers.map(|answer| {
            pair.a.on_report(pair.now, 3, &answer);
            pair.a.take_error()
        });
        assert_eq!(errors, [1_000, 2_000, 3_000, -4_000]);
    }
}

#[test]
fn an_answer_to_nothing_corrects_nothing() {
    let mut pair = Pair::new(S, 0);
    ask_with(&mut pair, 0, 10 * MS);
    // The other end asks: its question is no answer.
    let mut question = pair.b.report(pair.now, 1, 5, &SENT, None);
    question.delay += 9_000;
    pair.a.on_report(pair.now, 3, &question);
    assert_eq!((pair.a.queue(), pair.a.take_error()), (9_000, 0));
    // An echo that nobody sent.
    let sent = pair.question();
    let mut answer = pair.answer(&sent, 12 * MS);
    answer.echo -= 1;
    pair.a.on_report(pair.now, 3, &answer);
    assert_eq!(pair.a.take_error(), 0);
}

/// Asks every 20 ms while a link of `rate` bytes per second, which is always busy, has a queue of
/// `queue` before it.
fn busy(pair: &mut Pair, rate: u32, queue: u32, times: u32) {
    for i in 0..times {
        // The first one begins with another queue than the last one had: a pause keeps them apart.
        let pause = if i == 0 { S } else { 20 * MS };
        pair.now = pair.now.wrapping_add(pause);
        pair.rx.rx_bytes += u64::from(rate / 50);
        let question = pair.question();
        let answer = pair.answer(&question, 10 * MS + queue);
        pair.a.on_report(pair.now.wrapping_add(20 * MS), 3, &answer);
    }
}

#[test]
fn the_rate_is_that_of_a_busy_path() {
    for clock in [0, u32::MAX - 300 * MS] {
        let mut pair = Pair::new(clock, 1 << 31);
        busy(&mut pair, 1_000_000, 0, 20);
        assert_eq!(pair.a.rate(), 0, "who does not fill it knows nothing");
        busy(&mut pair, 1_000_000, 5 * MS, 20);
        assert!(
            pair.a.rate().abs_diff(1_000_000) < 1_000,
            "{}",
            pair.a.rate()
        );
        busy(&mut pair, 500_000, 5 * MS, 40);
        assert!(pair.a.rate().abs_diff(500_000) < 1_000, "{}", pair.a.rate());
        // Less is sent: that is no rate.
        busy(&mut pair, 200_000, 0, 40);
        assert!(pair.a.rate().abs_diff(500_000) < 1_000, "{}", pair.a.rate());
        // More than was known arrives, without a queue.
        busy(&mut pair, 2_000_000, 0, 40);
        assert!(
            pair.a.rate().abs_diff(2_000_000) < 2_000,
            "{}",
            pair.a.rate()
        );
        // Hardly anything is: it may have become more, by two sixteenths here.
        busy(&mut pair, 10_000, 0, 3);
        let risen = 2_000_000 / 256 * 289;
        assert!(pair.a.rate().abs_diff(risen) < 3_000, "{}", pair.a.rate());
    }
}

#[test]
fn the_least_round_trip_is_without_offset_and_queue() {
    for ahead in [0, 5 * S, 1 << 31, u32::MAX - 5] {
        let mut pair = Pair::new(7, ahead);
        assert_eq!(pair.a.base_rtt(), 0);
        pair.ask(30 * MS, 25 * MS);
        for (there, back) in [(12, 25), (40, 8), (20, 20)] {
            pair.ask(there * MS, back * MS);
        }
        assert_eq!(pair.a.base_rtt(), 20 * MS);
        assert_eq!(pair.a.full_queue(), 28 * MS / 8 * 7);
    }
}

#[test]
fn the_way_back_is_crowded_at_its_longest_queue() {
    let mut pair = Pair::new(7, 99);
    for _ in 0..10 {
        pair.ask(10 * MS, 10 * MS);
        assert!(!pair.a.is_crowded_from_peer());
    }
    // Now and then there is one.
    pair.ask(10 * MS, 50 * MS);
    assert!(pair.a.is_crowded_from_peer());
    for back in [10, 20, 30, 44] {
        pair.ask(10 * MS, back * MS);
        assert!(!pair.a.is_crowded_from_peer(), "{back}");
    }
    pair.ask(10 * MS, 46 * MS);
    assert!(pair.a.is_crowded_from_peer());
    // One that stays.
    for _ in 0..20 {
        pair.ask(10 * MS, 20 * MS);
    }
    assert!(pair.a.is_crowded_from_peer());
    pair.ask(10 * MS, 10 * MS);
    assert!(!pair.a.is_crowded_from_peer());
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

#[test]
fn a_path_that_returns_has_an_empty_queue() {
    let mut pair = Pair::new(S, 0);
    ask_with(&mut pair, 0, 10 * MS);
    let lost = pair.question();
    pair.now += 20 * MS;
    pair.tx.wait_us = 300 * MS;
    let late = pair.question();
    pair.a.fail(pair.now, true);
    pair.now += 200 * MS;
    let answer = pair.answer(&lost, 10 * MS);
    pair.a.on_report(pair.now, 3, &answer);
    assert_ne!(pair.a.standing(), Standing::Suspect);
    assert_eq!(pair.a.take_error(), 0);
    // What the other question was thought to wait for is no matter any more.
    let answer = pair.answer(&late, 12 * MS);
    pair.a.on_report(pair.now, 3, &answer);
    assert_eq!(pair.a.take_error(), 2 * MS as i32);
}
