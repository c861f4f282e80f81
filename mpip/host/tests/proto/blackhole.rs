// SPDX-License-Identifier: GPL-2.0

//! Paths that lose what is large.

use mpip_host::proto::blackhole::life_ms;
use mpip_host::proto::blackhole::Arrived;
use mpip_host::proto::blackhole::BlackHole;
use mpip_host::proto::blackhole::Sent;
use proptest::prelude::*;

const S: u32 = 1_000_000;

/// Both ends of a path on which so much was sent and has arrived.
#[derive(Default)]
struct Way {
    sent: Sent,
    arrived: Arrived,
    seen: BlackHole,
    asked: u32,
}

impl Way {
    fn large(&mut self, n: u32, arrive: u32) {
        self.sent.large = self.sent.large.wrapping_add(n);
        self.arrive(arrive, 1500);
    }

    fn small(&mut self, n: u32, arrive: u32) {
        self.small_of(52, n, arrive);
    }

    fn small_of(&mut self, size: u32, n: u32, arrive: u32) {
        self.sent.small = self.sent.small.wrapping_add(n);
        self.sent.small_bytes = self.sent.small_bytes.wrapping_add(n * size);
        self.arrive(arrive, size);
    }

    fn arrive(&mut self, n: u32, size: u32) {
        self.arrived.packets = self.arrived.packets.wrapping_add(n);
        self.arrived.bytes = self.arrived.bytes.wrapping_add(n * size);
    }

    /// Half a second later: three rounds take one.
    fn ask(&mut self) -> bool {
        self.ask_after(S / 2)
    }

    fn ask_after(&mut self, us: u32) -> bool {
        self.asked = self.asked.wrapping_add(us);
        self.seen.sample(self.asked, self.sent, self.arrived)
    }
}

#[test]
fn nothing_large_arrives() {
    for small in [0, 3] {
        let mut way = Way::default();
        assert!(!way.ask());
        let mut rounds = 0;
        let found = (0..10).any(|_| {
            rounds += 1;
            way.large(6, 0);
            way.small(small, small);
            way.ask()
        });
        assert!(found, "with {small} small packets");
        assert_eq!(rounds, 3, "sixteen packets and three questions");
        assert!(!way.ask(), "said once");
    }
}

#[test]
fn a_queue_that_is_full_for_a_moment_is_none() {
    // In each place that becomes free there is a question, and the large one behind it is lost. The
    // questions before had nothing to ask of.
    let mut way = Way::default();
    for _ in 0..20 {
        way.small(1, 1);
        assert!(!way.ask());
    }
    for _ in 0..99 {
        way.large(2, 0);
        way.small(2, 2);
        assert!(!way.ask_after(10_000));
    }
    way.large(30, 30);
    assert!(!way.ask_after(10_000));
    // It counts anew. Questions that come soon after the last that counted do not count.
    for wait in [10_000, S / 2 - 1, 1, 10_000, S / 2 - 10_001] {
        way.large(20, 0);
        assert!(!way.ask_after(wait));
    }
    way.large(20, 0);
    assert!(way.ask_after(1));
}

#[test]
fn silence_says_nothing() {
    // The end of a burst is lost, and nothing large is sent any more.
    let mut way = Way::default();
    way.ask();
    for _ in 0..3 {
        way.large(6, 0);
        assert!(!way.ask_after(10_000));
    }
    for _ in 0..20 {
        assert!(!way.ask());
    }
    // Much later the same, in several ways.
    for pause in [30 * S, 61 * S, 40 * 60 * S] {
        way.asked = way.asked.wrapping_add(pause);
        for _ in 0..2 {
            way.large(8, 0);
            assert!(!way.ask_after(10_000), "after {pause}");
        }
        way.large(50, 50);
        assert!(!way.ask());
    }
}

#[test]
fn it_is_found_after_a_long_silence() {
    for pause in [0, 61 * S, 40 * 60 * S] {
        let mut way = Way::default();
        way.ask();
        way.large(2, 0);
        way.ask();
        way.asked = way.asked.wrapping_add(pause);
        let found = (0..8).any(|_| {
            way.large(9, 0);
            way.ask()
        });
        assert!(found, "after {pause}");
    }
}

#[test]
fn it_is_tried_again() {
    let mut life = life_ms(0, u32::MAX);
    assert_eq!(life, 60_000);
    // Found again as soon as it was forgotten.
    for longer in [120_000, 240_000, 480_000, 600_000, 600_000] {
        life = life_ms(life, life + 2_000);
        assert_eq!(life, longer);
    }
    // It was none for as long as it was thought to be one.
    assert_eq!(life_ms(life, 2 * life), 60_000);
    assert_eq!(life_ms(60_000, u32::MAX), 60_000);
}

#[test]
fn numbers_wrap_around() {
    let mut way = Way {
        asked: u32::MAX - S,
        ..Way::default()
    };
    way.sent.large = u32::MAX - 9;
    way.sent.small = u32::MAX - 1;
    way.sent.small_bytes = u32::MAX - 70;
    way.arrived.bytes = u32::MAX - 20;
    assert!(!way.ask());
    let found = (0..4).any(|_| {
        way.large(6, 0);
        way.small(2, 2);
        way.ask()
    });
    assert!(found);
}

#[test]
fn one_large_packet_in_a_row_is_enough() {
    let mut way = Way::default();
    way.ask();
    for _ in 0..50 {
        way.large(5, 0);
        assert!(!way.ask());
        way.large(5, 1);
        assert!(!way.ask());
    }
}

#[test]
fn an_outage_is_none() {
    let mut way = Way::default();
    way.ask();
    // All of it was lost, with every question of the time.
    way.large(500, 0);
    way.small(100, 0);
    assert!(!way.ask());
    // The path is only probed.
    for _ in 0..20 {
        assert!(!way.ask());
    }
    way.large(1, 1);
    assert!(!way.ask());
}

#[test]
fn what_loses_small_packets_as_well_is_none() {
    let mut way = Way::default();
    way.ask();
    for _ in 0..20 {
        way.large(10, 0);
        way.small(10, 1);
        assert!(!way.ask());
    }
}

#[test]
fn messages_behind_small_packets_are_not_taken_for_large_ones() {
    let mut way = Way::default();
    way.ask();
    let found = (0..10).any(|_| {
        way.large(6, 0);
        way.small(3, 0);
        // With a number and an outer header.
        way.arrive(3, 52 + 37);
        way.ask()
    });
    assert!(found);
}

#[test]
fn many_small_packets_hide_nothing_for_ever() {
    let mut way = Way::default();
    way.ask();
    // A call with packets of 1250 bytes of which one in fifty is lost; now and then a large one.
    for n in 0..20_000 {
        way.small_of(1250, 1, u32::from(n % 50 != 0));
        if n % 100 == 0 {
            way.large(1, 1);
        }
        assert!(n % 20 != 0 || !way.ask(), "after {n}");
    }
    // The same call, and a transfer that nothing arrives of.
    let found = (0..2_000).any(|n| {
        way.small_of(1250, 1, u32::from(n % 50 != 0));
        way.large(3, 0);
        n % 20 == 0 && way.ask()
    });
    assert!(found);
}

#[test]
fn an_overtaken_question_says_nothing() {
    let mut way = Way::default();
    way.ask();
    way.large(40, 40);
    let (before, after) = (Sent::default(), way.arrived);
    assert!(!way.ask());
    for _ in 0..5 {
        assert!(!way.seen.sample(way.asked - S / 4, before, after));
    }
}

proptest! {
    /// Random loss of the same rate for all sizes is not taken for a black hole.
    #[test]
    fn random_loss_is_none(
        rate in 0u32..50,
        rounds in prop::collection::vec((0u32..12, 0u32..12, any::<u64>()), 1..60),
    ) {
        let mut way = Way::default();
        way.ask();
        for (large, small, dice) in rounds {
            let passes = |n: u32, seed: u64| {
                (0..n).filter(|i| (seed >> (i * 2)) as u32 % 100 >= rate).count() as u32
            };
            way.large(large, passes(large, dice));
            way.small(small, passes(small, dice.rotate_left(17)));
            prop_assert!(!way.ask() || rate > 30);
        }
    }
}
