// SPDX-License-Identifier: GPL-2.0

//! What a path carries, and what a single packet may expect there.

use crate::common::config;
use mpip_host::proto::rate;
use mpip_host::proto::rate::asks_behind;
use mpip_host::proto::rate::Arrival;
use mpip_host::proto::rate::Rate;
use proptest::prelude::*;

const MS: u32 = 1_000;
const S: u32 = 1_000_000;
/// 10 Mbit/s, bytes per second: 1250 bytes take a millisecond.
const RATE: u32 = 1_250_000;
/// A path that is sampled every 20 ms.
struct Sampled {
    rate: Rate,
    at: u32,
    bytes: u32,
}

impl Sampled {
    fn new(at: u32, bytes: u32) -> Sampled {
        Sampled {
            rate: Rate::new(),
            at,
            bytes,
        }
    }

    /// After `time` and `bytes` more, with this queue; the rate then.
    fn next(&mut self, time: u32, bytes: u32, queue: u32) -> u32 {
        self.at = self.at.wrapping_add(time);
        self.bytes = self.bytes.wrapping_add(bytes);
        let (at, bytes) = (self.at, self.bytes);
        self.rate.sample(Arrival {
            at,
            bytes,
            queue,
            full: false,
        });
        self.rate.get()
    }
}

#[test]
fn the_rate_of_a_busy_path_is_measured() {
    for (at, bytes) in [
        (0, 0),
        (u32::MAX - 30 * MS, u32::MAX - 30_000),
        (1 << 31, 7),
    ] {
        let mut s = Sampled::new(at, bytes);
        assert_eq!(s.next(0, 0, 25 * MS), 0);
        // The first sample as it is.
        assert_eq!(s.next(20 * MS, 25_000, 25 * MS), RATE);
        // Then an average with gain 1/4, up and down.
        assert_eq!(s.next(20 * MS, 50_000, 25 * MS), RATE / 4 * 5);
        let mut rate = 0;
        for _ in 0..40 {
            rate = s.next(20 * MS, 12_500, 20 * MS);
        }
        assert!(rate.abs_diff(RATE / 2) < 20, "{rate}");
    }
}

#[test]
fn the_rate_of_an_idle_path_does_not_fall() {
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 0);
    // Little is learnt before there was a queue, before and after.
    assert_eq!(s.next(20 * MS, 25_000, 0), 0);
    assert_eq!(s.next(20 * MS, 9_000, 25 * MS), 0);
    assert_eq!(s.next(20 * MS, 25_000, MS), 0);
    s.next(20 * MS, 25_000, 2 * MS);
    assert_eq!(s.next(20 * MS, 25_000, 20 * MS), RATE);
    // A quarter of it is sent.
    assert_eq!(s.next(20 * MS, 6_250, MS), RATE);
    assert_eq!(s.next(20 * MS, 50_000, 0), RATE / 4 * 5);
}

#[test]
fn a_rate_is_new_until_it_could_have_been_known() {
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 0);
    // Times in which next to nothing is sent do not count.
    for _ in 0..100 {
        s.next(20 * MS, 2_000, 0);
    }
    assert!(s.rate.is_new());
    for _ in 0..23 {
        s.next(20 * MS, 25_000, 0);
    }
    assert!(s.rate.is_new());
    s.next(20 * MS, 25_000, 0);
    assert!(!s.rate.is_new());
    // Nor is one that is known.
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 25 * MS);
    assert_eq!(s.next(20 * MS, 25_000, 25 * MS), RATE);
    assert!(!s.rate.is_new());
}

#[test]
fn what_may_be_expected_of_a_thin_path_rises() {
    const FEW: u32 = 100_000;
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 25 * MS);
    assert_eq!(s.next(40 * MS, FEW / 25, 40 * MS), FEW);
    assert_eq!((s.rate.prospect(), s.rate.asks_after()), (FEW, 0));
    // What is known stays. Without a queue at both ends a fiftieth more in each 20 ms, and a
    // question behind a single packet tells whether that is so.
    assert_eq!(s.next(20 * MS, 0, 0), FEW);
    assert_eq!((s.rate.prospect(), s.rate.asks_after()), (102_000, 1_000));
    assert_eq!(s.next(20 * MS, 60, MS), FEW);
    assert_eq!(s.rate.prospect(), 104_040);
    // With a queue it is what it is.
    assert_eq!(s.next(40 * MS, 4_000, 40 * MS), FEW);
    assert_eq!((s.rate.prospect(), s.rate.asks_after()), (FEW, 0));
    // It rises until packets are tried there from time to time, and no further.
    for _ in 0..500 {
        assert_eq!(s.next(20 * MS, 0, 0), FEW);
    }
    assert_eq!(s.rate.prospect(), 150_000);
    // A queue that is hardly its own ends that.
    s.next(20 * MS, 60, 3 * MS);
    s.next(20 * MS, 60, 3 * MS);
    assert_eq!(s.rate.prospect(), FEW);
    // That of one that is faster does not rise by itself.
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 25 * MS);
    s.next(20 * MS, 25_000, 25 * MS);
    for _ in 0..500 {
        assert_eq!(s.next(20 * MS, 6_249, 0), RATE);
        assert_eq!(s.rate.prospect(), RATE);
    }
}

#[test]
fn a_single_packet_that_takes_long_tells_of_a_thin_path() {
    const FEW: u32 = 100_000;
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 25 * MS);
    s.next(40 * MS, FEW / 25, 40 * MS);
    // More is hoped for; a question before a packet of 1500 bytes, and one behind it.
    for _ in 0..15 {
        s.next(20 * MS, 0, 0);
    }
    assert!(s.rate.prospect() > FEW / 4 * 5);
    assert_eq!(s.next(150 * MS, 1_500, 150 * MS), FEW);
    assert_eq!(s.rate.prospect(), 10_000);
    // Three together, with others before them that took as long.
    assert_eq!(s.next(450 * MS, 4_500, 600 * MS), FEW / 4 * 3 + 10_000 / 4);
    assert_eq!(s.rate.prospect(), 10_000);
    // It takes two seconds until as much is hoped for again, whatever queue others make.
    let mut took = 0;
    while s.rate.prospect() < s.rate.get() {
        s.next(50 * MS, 60, took % 100 * MS);
        took += 50;
    }
    assert!((1_500..2_500).contains(&took), "{took}");
    // A packet that was not long on its way ends the doubts at once.
    for queue in [MS, 10 * MS] {
        s.next(150 * MS, 1_500, 150 * MS);
        assert_eq!(s.rate.prospect(), 10_000);
        s.next(50 * MS, 1_500, queue);
        assert_eq!(s.rate.prospect(), s.rate.get());
    }
    // A path that is not thin has none: others may have been before it.
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 25 * MS);
    s.next(20 * MS, 25_000, 25 * MS);
    s.next(20 * MS, 0, 0);
    s.next(150 * MS, 1_500, 150 * MS);
    assert_eq!(s.rate.prospect(), RATE);
}

#[test]
fn a_burst_is_more_than_can_be_hoped_for() {
    let after = |wait, len| rate::service_after(wait, len, 10_000, 100_000);
    assert_eq!((after(0, 1_500), after(1, 1_500)), (15 * MS, 150 * MS));
    assert_eq!(after(0, 4_500), 315 * MS);
    // What is doubted takes longer for all.
    let after = |wait, len| rate::service_after(wait, len, 100_000, 10_000);
    assert_eq!((after(0, 4_500), after(1, 4_500)), (450 * MS, 450 * MS));
    assert_eq!(rate::service_after(0, 1_500, 0, 0), 0);
}

#[test]
fn a_long_sample_counts_as_several() {
    // From 10 Mbit/s to 100 kbit/s: each report tells of two packets.
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 25 * MS);
    assert_eq!(s.next(20 * MS, 25_000, 25 * MS), RATE);
    s.next(240 * MS, 3_000, 3 * S);
    assert_eq!(s.rate.get(), RATE / 4 * 3 + 12_500 / 4);
    s.next(240 * MS, 3_000, 3 * S);
    assert!(s.rate.get() < RATE / 11, "{}", s.rate.get());
    // Who shares the queue of a fast link with others knows less.
    let mut shared = Sampled::new(0, 0);
    shared.next(0, 0, 50 * MS);
    shared.next(20 * MS, 25_000, 50 * MS);
    for _ in 0..10 {
        shared.next(20 * MS, 300, 50 * MS);
    }
    assert_eq!(shared.rate.get(), RATE / 4 * 3 + 15_000 / 4);
    // A link on which they take longer than a pause, as long as it is asked.
    for _ in 0..60 {
        s.next(400 * MS, 500, 3 * S);
    }
    assert!((1_250..1_500).contains(&s.rate.get()), "{}", s.rate.get());
    // One that was fast, at once.
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 25 * MS);
    s.next(20 * MS, 25_000, 25 * MS);
    s.next(400 * MS, 500, 3 * S);
    for _ in 0..80 {
        s.next(400 * MS, 500, 3 * S);
    }
    assert!((1_250..1_500).contains(&s.rate.get()), "{}", s.rate.get());
}

#[test]
fn what_was_overtaken_says_nothing() {
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 25 * MS);
    s.next(20 * MS, 2_500, 25 * MS);
    let (at, bytes) = (s.at, s.bytes);
    s.next(4 * MS, 500, 25 * MS);
    let known = s.rate.get();
    (s.at, s.bytes) = (at + MS, bytes);
    assert_eq!(s.next(0, 0, 0), known);
    (s.at, s.bytes) = (at + 4 * MS, bytes + 500);
    assert_eq!(s.next(16 * MS, 2_000, 25 * MS), known);
    // After so long a pause that the clock has gone round the next one begins anew.
    s.next(1 << 31, 0, 25 * MS);
    s.next(20 * MS, 5_000, 25 * MS);
    assert_eq!(s.rate.get(), known / 4 * 5);
}

#[test]
fn samples_that_say_nothing_change_nothing() {
    let mut s = Sampled::new(S, 0);
    s.next(0, 0, 25 * MS);
    s.next(20 * MS, 25_000, 25 * MS);
    // Too short a time: it counts with the next one.
    assert_eq!(s.next(4 * MS, 1_000_000, 25 * MS), RATE);
    s.bytes -= 1_000_000;
    assert_eq!(s.next(16 * MS, 25_000, 25 * MS), RATE);
    // A long pause begins anew.
    assert_eq!(s.next(600 * MS, 0, 25 * MS), RATE);
    assert_eq!(s.next(20 * MS, 25_000, 25 * MS), RATE);
    // Reports that have overtaken each other.
    let (at, bytes) = (s.at, s.bytes);
    s.at = at - 30 * MS;
    assert_eq!(s.next(0, 0, 25 * MS), RATE);
    (s.at, s.bytes) = (at, bytes);
    assert_eq!(s.next(20 * MS, 25_000, 25 * MS), RATE);
    // The peer counts anew.
    s.bytes = 0;
    assert_eq!(s.next(20 * MS, 0, 25 * MS), RATE);
    assert_eq!(s.next(20 * MS, 25_000, 25 * MS), RATE);
}

#[test]
fn the_first_guess_lies_in_between() {
    // The link was busy for 12 ms of 20 at least: probably for 16.
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 5 * MS);
    assert_eq!(s.next(20 * MS, 20_000, 12 * MS), RATE);
    // Afterwards it was probably busy all the time.
    assert_eq!(s.next(20 * MS, 50_000, 12 * MS), RATE / 4 * 5);
    assert_eq!(s.next(20 * MS, 12_500, 10 * MS), RATE / 16 * 17);
}

#[test]
fn a_burst_does_not_make_a_link_busy() {
    // Bursts of 12.5 kB, which the link takes in 10 ms, 50 ms apart; each question sees the queue
    // of its burst.
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 9 * MS);
    for _ in 0..3 {
        assert_eq!(s.next(50 * MS, 12_500, 9 * MS), 0);
    }
    // The best of four will do if nothing better comes.
    assert_eq!(s.next(50 * MS, 25_000, 9 * MS), RATE / 5 * 2);
    // Two questions in one burst make a sample of the link: a quarter of the way.
    assert_eq!(s.next(4 * MS, 5_000, 5 * MS), RATE / 5 * 2);
    assert_eq!(s.next(4 * MS, 5_000, 9 * MS), RATE / 20 * 11);
    // The bursts become fewer: that is not the link's fault.
    let known = s.rate.get();
    for _ in 0..100 {
        assert_eq!(s.next(50 * MS, 3_000, 2_400), known);
    }
    // 3 kB that wait for 9 ms are no burst of such a link: a quarter of the way to 3 kB in 9 ms.
    let known = s.next(50 * MS, 3_000, 9 * MS) - known / 4 * 3;
    assert!(known.abs_diff(333_333 / 4) < 20, "{known}");
    // It becomes slower: its queue grows.
    for n in 1..40 {
        s.next(50 * MS, 6_250, n * 50 * MS);
    }
    assert!(s.rate.get().abs_diff(RATE / 10) < 20);
}

#[test]
fn a_question_behind_the_first_burst_tells_the_rate() {
    // A burst of 20 packets between two questions finds an empty queue: 24 ms.
    let mut path = Sampled::new(0, 0);
    path.next(0, 0, 0);
    assert_eq!(path.next(24 * MS, 30_000, 24 * MS), RATE);
    // Whatever was before.
    let mut path = Sampled::new(0, 0);
    path.next(0, 0, 0);
    assert_eq!(path.next(40 * MS, 1_500, 0), 0);
    assert_eq!(path.next(24 * MS, 30_000, 24 * MS), RATE);
    // Not of a few packets, whose question may have been held up.
    let mut path = Sampled::new(0, 0);
    path.next(0, 0, 0);
    assert_eq!(path.next(6 * MS, 7_500, 6 * MS), 0);
    // Nor if the link did nothing for much of the time.
    let mut path = Sampled::new(0, 0);
    path.next(0, 0, 0);
    assert_eq!(path.next(24 * MS, 15_000, 12 * MS), 0);
    // One that is known does not follow.
    let mut path = Sampled::new(0, 0);
    path.next(0, 0, 0);
    path.next(24 * MS, 30_000, 24 * MS);
    assert_eq!(path.next(40 * MS, 15_000, 0), RATE);
    assert_eq!(path.next(24 * MS, 15_000, 24 * MS), RATE);
}

#[test]
fn bursts_are_asked_behind_now_and_then() {
    assert!(asks_behind(3_000, 3_000, 500, 0));
    assert!(!asks_behind(2_999, 3_000, 500, 0));
    assert!(!asks_behind(30_000, 3_000, 499, 0));
    assert!(!asks_behind(30_000, 0, 500, 0));
    // A path with a long round trip keeps its pace.
    assert!(!asks_behind(30_000, 3_000, 19_999, 20_000));
    assert!(asks_behind(30_000, 3_000, 20_000, 20_000));
}

#[test]
fn a_queue_behind_hardly_anything_is_somebody_elses() {
    let mut s = Sampled::new(0, 0);
    s.next(0, 0, 50 * MS);
    assert_eq!(s.next(20 * MS, 0, 50 * MS), 0);
    assert_eq!(s.next(20 * MS, 2_999, 50 * MS), 0);
    // Enough has come together: 3000 bytes in 60 ms.
    assert_eq!(s.next(20 * MS, 1, 50 * MS), 50_000);
    // There was a moment without a queue: nothing is known.
    assert_eq!(s.next(20 * MS, 2_000, 50 * MS), 50_000);
    // 2500 bytes in 40 ms are more than was known.
    assert_eq!(s.next(20 * MS, 500, MS), 53_125);
    // A late clock on a path that carries only questions does not wear its rate down.
    let rate = s.next(20 * MS, 60, 3 * MS);
    for _ in 0..1_000 {
        assert_eq!(s.next(20 * MS, 60, 3 * MS), rate);
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn a_rate_lies_between_its_samples(
        start: (u32, u32),
        samples in prop::collection::vec(
            (
                5_000u32..500_000,
                (12u32..27).prop_flat_map(|bits| 3_000..1u32 << bits),
                0u32..6_000,
            ),
            1..60,
        ),
    ) {
        let mut s = Sampled::new(start.0, start.1);
        s.next(0, 0, 0);
        let (mut low, mut high) = (u64::MAX, 0);
        let mut before = 0;
        for (time, bytes, queue) in samples {
            let rate = (u64::from(bytes) * 1_000_000 / u64::from(time)).max(1_000);
            (low, high) = (low.min(rate), high.max(rate));
            // The first one may leave out half of the time.
            high = if before == 0 { high.max(2 * rate + 1) } else { high };
            let known = u64::from(s.next(time, bytes, queue));
            prop_assert!(known == 0 || (low - 1..=high).contains(&known.max(low - 1)));
            prop_assert!(known <= high);
            before = known;
        }
    }

    #[test]
    fn any_sample(samples in prop::collection::vec(any::<(u32, u32, u32)>(), 0..60)) {
        let mut rate = Rate::default();
        for (at, bytes, queue) in samples {
            rate.sample(Arrival { at, bytes, queue, full: false });
            let known = rate.get();
            prop_assert!(known == 0 || known >= 1_000);
        }
    }
}
