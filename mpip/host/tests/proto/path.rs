// SPDX-License-Identifier: GPL-2.0

use mpip_host::proto::path::Path;
use mpip_host::proto::path::Received;
use mpip_host::proto::path::Totals;
use mpip_host::proto::wire::cm::Report;
use mpip_host::proto::wire::NO_PATH;

const INTERVAL: u32 = 20_000;

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

    /// Whether A's path is suspect if nothing is answered for `time`, asking all the while.
    fn silence(&mut self, time: u32) -> Option<u32> {
        let mut passed = 0;
        while passed <= time {
            if self.a.check(self.now, INTERVAL) {
                return Some(passed);
            }
            self.question();
            self.now = self.now.wrapping_add(INTERVAL);
            passed += INTERVAL;
        }
        None
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
fn silence_makes_suspect_and_an_answer_ends_that() {
    for now in [0, u32::MAX - 100_000] {
        let mut pair = Pair::new(now, 99);
        pair.ask(10_000, 10_000);
        let took = pair.silence(1_000_000).expect("suspect");
        assert!((200_000..=240_000).contains(&took), "{took}");
        assert!(pair.a.is_suspect());
        assert!(!pair.a.check(pair.now, INTERVAL), "only once");
        assert!(!pair.a.question_due(pair.now, INTERVAL));
        pair.now = pair.now.wrapping_add(200_000);
        assert!(pair.a.question_due(pair.now, INTERVAL));
        pair.ask(10_000, 10_000);
        assert!(!pair.a.is_suspect());
    }
}

#[test]
fn patience_follows_the_round_trip() {
    let mut pair = Pair::new(0, 0);
    for _ in 0..20 {
        pair.ask(100_000, 100_000);
    }
    let took = pair.silence(2_000_000).expect("suspect");
    assert!((800_000..=840_000).contains(&took), "{took}");
}

#[test]
fn what_was_lost_before_a_pause_is_forgotten() {
    for lost in 1..6 {
        let mut pair = Pair::new(0, 0);
        pair.ask(30_000, 30_000);
        for _ in 0..lost {
            pair.question();
            pair.now += 30_000;
        }
        pair.now += 20_000_000;
        // The next ones are answered after 60 ms.
        let first = pair.question();
        for _ in 0..2 {
            assert!(!pair.a.check(pair.now, INTERVAL), "{lost} were lost");
            pair.now += INTERVAL;
            pair.question();
        }
        pair.now += INTERVAL;
        assert!(!pair.a.check(pair.now, INTERVAL), "{lost} were lost");
        let answer = pair.answer(&first, 30_000);
        assert_eq!(pair.a.on_report(pair.now, 3, &answer), Received::Taken);
    }
}

#[test]
fn lost_heartbeats_leave_time_for_the_next_answer() {
    // Two heartbeats get lost, then data flows and asks every 20 ms.
    let mut pair = Pair::new(0, 0);
    pair.ask(30_000, 30_000);
    for _ in 0..2 {
        pair.now += 1_000_000;
        pair.question();
    }
    pair.now += 1_000_000;
    for _ in 0..4 {
        assert!(!pair.a.check(pair.now, INTERVAL));
        pair.question();
        pair.now += INTERVAL;
    }
    // Heartbeats alone, all of them lost, do make it suspect.
    let mut pair = Pair::new(0, 0);
    pair.ask(30_000, 30_000);
    let suspect = (0..6).find(|_| {
        pair.now += 1_000_000;
        pair.question();
        pair.a.check(pair.now, 1_000_000)
    });
    assert_eq!(suspect, Some(3));
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
