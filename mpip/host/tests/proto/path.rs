// SPDX-License-Identifier: GPL-2.0

//! What questions and answers tell of a path.

mod standing;

use mpip_host::proto::path::Path;
use mpip_host::proto::path::Received;
use mpip_host::proto::path::Standing;
use mpip_host::proto::path::Totals;
use mpip_host::proto::wire::cm::Report;
use mpip_host::proto::wire::NO_PATH;

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
    tx_bytes: 0,
    tx_large_packets: 0,
    tx_long_packets: 0,
    tx_long_bytes: 0,
    rx_packets: 0,
    rx_bytes: 0,
    wait_us: 0,
    longest_us: 0,
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
fn the_newest_report_says_whether_the_peer_keeps_a_path_in_reserve() {
    let mut pair = Pair::new(0, 0);
    assert!(!pair.b.is_peer_reserve());
    // Before any report, what the exchange of the lane said.
    pair.b.set_peer_reserve(true);
    assert!(pair.b.is_peer_reserve());
    let early = pair.question();
    pair.a.reserve = true;
    let later = pair.question();
    assert_eq!((early.flags, later.flags), (1, 3));
    pair.answer(&later, 10_000);
    assert!(pair.b.is_peer_reserve());
    // Overtaken on the way.
    pair.answer(&early, 20_000);
    assert!(pair.b.is_peer_reserve());
    pair.b.set_peer_reserve(false);
    assert!(pair.b.is_peer_reserve());
    // Answers say so as well, and so does the end of it.
    pair.b.reserve = true;
    assert!(!pair.a.is_peer_reserve());
    pair.ask(10_000, 10_000);
    assert!(pair.a.is_peer_reserve());
    (pair.a.reserve, pair.b.reserve) = (false, false);
    pair.ask(10_000, 10_000);
    assert!(!pair.a.is_peer_reserve() && !pair.b.is_peer_reserve());
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
    // They may be late: the next answer says so.
    assert_eq!(pair.a.lost, 0);
    pair.rx.rx_packets += 50;
    pair.rx.rx_bytes += 50_000;
    pair.ask(10_000, 10_000);
    assert_eq!(pair.a.lost, 3);
    assert_eq!((pair.a.peer_rx_packets, pair.a.peer_rx_bytes), (57, 57_000));
    // Counts that are older than those known change nothing.
    let mut late = pair.answer(
        &Report {
            number: question.number + 60,
            ..question
        },
        10_000,
    );
    late.number += 1;
    late.fb_rx_packets = 2;
    pair.a.on_report(pair.now, 3, &late);
    assert_eq!(pair.a.peer_rx_packets, 57);
}

const MS: u32 = 1_000;
const S: u32 = 1_000_000;

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
fn of_questions_that_are_close_the_first_counts() {
    // Three more behind each, one millisecond apart or six, get no answer.
    for (apart, lossy) in [(MS, false), (6 * MS, true)] {
        let mut pair = Pair::new(1, 123);
        for _ in 0..20 {
            pair.ask(MS / 2, MS / 2);
            for _ in 0..3 {
                pair.now = pair.now.wrapping_add(apart);
                pair.question();
            }
            pair.now = pair.now.wrapping_add(20 * MS);
        }
        assert_eq!(pair.a.loss() > 200, lossy, "{}", pair.a.loss());
        assert_eq!(pair.a.loss() == 0, !lossy);
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
        busy(&mut pair, 500_000, 25 * MS, 40);
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
        // Hardly anything does: it is still what it was.
        busy(&mut pair, 10_000, 0, 3);
        assert!(
            pair.a.rate().abs_diff(2_000_000) < 2_000,
            "{}",
            pair.a.rate()
        );
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
fn the_queue_ends_where_something_is_lost() {
    let mut pair = Pair::new(7, 99);
    let step = |pair: &mut Pair, there: u32, lost: u64| {
        pair.tx.tx_packets += 10;
        pair.rx.rx_packets += 10 - lost;
        pair.ask(there * MS, 10 * MS);
        if lost != 0 {
            // What is missing might have been late.
            pair.ask(10 * MS, 10 * MS);
        }
        pair.a.queue_limit()
    };
    for there in [10, 10, 15, 20, 25, 30, 33] {
        assert_eq!(step(&mut pair, there, 0), 0);
    }
    assert_eq!(step(&mut pair, 34, 2), 24 * MS);
    // What is lost in a shorter one is not the queue's doing.
    assert_eq!(step(&mut pair, 22, 1), 24 * MS);
    assert_eq!(step(&mut pair, 11, 1), 24 * MS);
    // More fits, or less: an average, so that one late sample is no matter.
    assert_eq!(step(&mut pair, 38, 0), 25 * MS);
    for _ in 0..20 {
        step(&mut pair, 38, 0);
    }
    assert!(pair.a.queue_limit().abs_diff(28 * MS) < 100);
    for _ in 0..20 {
        step(&mut pair, 10, 0);
    }
    assert!(step(&mut pair, 20, 1).abs_diff(23_500) < 100);
    // It is forgotten.
    pair.now = pair.now.wrapping_add(10 * S);
    assert_eq!(step(&mut pair, 18, 0), 0);
    // A queue that is hardly there has no end.
    assert_eq!(step(&mut pair, 16, 1), 0);
}

#[test]
fn a_queue_that_stays_as_it_is_and_loses_is_full() {
    // Delay after delay, and whether something is lost each time: what ends, and what is measured.
    let run = |there: &dyn Fn(u32) -> u32, lost: u64| {
        let mut pair = Pair::new(7, 99);
        pair.ask(10 * MS, 10 * MS);
        for i in 0..40 {
            pair.tx.tx_packets += 100 + lost;
            pair.rx.rx_packets += 100;
            pair.rx.rx_bytes += 100_000;
            pair.ask(there(i), 10 * MS);
        }
        (pair.a.queue_limit(), pair.a.rate())
    };
    // It seems to be 1.6 ms long, and 23.2 ms pass from each to the next.
    let flat = |i: u32| 11_600 + i % 2 * 200;
    let (end, rate) = run(&flat, 2);
    assert!((1_500..1_900).contains(&end), "{end}");
    let sent = 100_000 * 1_000 / 22;
    assert!(rate.abs_diff(sent) < sent / 10, "{rate}, {sent}");
    // Nothing is lost; it comes and goes; there is next to none.
    assert_eq!(run(&flat, 0), (0, 0));
    assert_eq!(run(&|i| 11_600 - i % 2 * 800, 2), (0, 0));
    assert_eq!(run(&|i| 10_600 + i % 2 * 100, 2), (0, 0));
}

#[test]
fn a_queue_that_is_short_again_was_as_long_as_was_thought() {
    for clock in [7, u32::MAX - 120 * MS] {
        let mut pair = Pair::new(clock, 99);
        pair.ask(10 * MS, 10 * MS);
        // A burst makes the queue 40 ms long, thinks who sends it. Four do not fit, which makes it
        // 5 ms shorter, and it is asked about 20 ms later.
        pair.tx.tx_packets += 40;
        pair.rx.rx_packets += 36;
        pair.now = pair.now.wrapping_add(20 * MS);
        (pair.tx.wait_us, pair.tx.longest_us) = (20 * MS, 40 * MS);
        pair.ask(25 * MS, 10 * MS);
        assert_eq!(pair.a.queue_limit(), 0, "they might be late");
        (pair.tx.wait_us, pair.tx.longest_us) = (10 * MS, 12 * MS);
        pair.ask(20 * MS, 10 * MS);
        assert_eq!((pair.a.lost, pair.a.queue_limit()), (4, 35 * MS));
        // The next burst swallows two questions as well: it was before them.
        pair.tx.tx_packets += 40;
        pair.rx.rx_packets += 36;
        pair.tx.longest_us = 41 * MS;
        pair.question();
        pair.now = pair.now.wrapping_add(5 * MS);
        (pair.tx.wait_us, pair.tx.longest_us) = (30 * MS, 32 * MS);
        pair.question();
        pair.now = pair.now.wrapping_add(5 * MS);
        (pair.tx.wait_us, pair.tx.longest_us) = (20 * MS, 25 * MS);
        pair.ask(28 * MS, 10 * MS);
        pair.tx.longest_us = 20 * MS;
        pair.ask(30 * MS, 10 * MS);
        // A quarter of the way from 35 to 39 ms.
        assert_eq!((pair.a.lost, pair.a.queue_limit()), (8, 36 * MS));
    }
}

#[test]
fn what_a_question_has_overtaken_is_not_lost() {
    let mut pair = Pair::new(7, 99);
    for there in [10, 20, 30] {
        pair.ask(there * MS, 10 * MS);
    }
    for _ in 0..10 {
        // Another processor has counted them, and sends them after the question.
        pair.tx.tx_packets += 40;
        pair.ask(30 * MS, 10 * MS);
        pair.rx.rx_packets += 40;
        pair.ask(30 * MS, 10 * MS);
        assert_eq!((pair.a.lost, pair.a.queue_limit()), (0, 0));
    }
}

#[test]
fn what_the_peer_counts_besides_hides_no_loss() {
    let mut pair = Pair::new(7, 99);
    pair.ask(10 * MS, 10 * MS);
    for lost in 1..100 {
        // The first packets of a session that the peer was told of.
        pair.rx.rx_packets += 3;
        pair.ask(10 * MS, 10 * MS);
        pair.ask(10 * MS, 10 * MS);
        pair.tx.tx_packets += 10;
        pair.rx.rx_packets += 9;
        pair.ask(10 * MS, 10 * MS);
        pair.ask(10 * MS, 10 * MS);
        assert_eq!(pair.a.lost, lost);
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

#[test]
fn a_path_is_silent_for_ever() {
    const MINUTE: u32 = 60 * S;
    let mut pair = Pair::new(7 * S, 0);
    pair.ask(10 * MS, 10 * MS);
    pair.question();
    pair.now = pair.now.wrapping_add(S);
    pair.a.fail(pair.now, true);
    let mut before = 0;
    // The clock comes round twice.
    for minute in 0..150 {
        let silence = pair.a.silence(pair.now);
        assert!(silence >= before, "{minute} min: {silence} < {before} us");
        before = silence.min(15 * MINUTE);
        // Asked now and then, and seldom enough not to be a burden.
        assert!(
            pair.a.ask_again(pair.now.wrapping_add(2 * S)),
            "{minute} min"
        );
        if minute > 6 && minute % 30 == 0 {
            pair.question();
            assert!(!pair.a.ask_again(pair.now.wrapping_add(S)), "{minute} min");
        }
        pair.now = pair.now.wrapping_add(MINUTE);
        if minute % 5 == 0 {
            pair.a.age(pair.now);
        }
    }
    assert_eq!(before, 15 * MINUTE);
    // An answer ends it.
    pair.ask(10 * MS, 10 * MS);
    assert_eq!(pair.a.silence(pair.now), 0);
    assert_ne!(pair.a.standing(), Standing::Suspect);
}
