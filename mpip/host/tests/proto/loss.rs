// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use mpip_host::proto::loss::full;
use mpip_host::proto::loss::Losses;
use mpip_host::proto::loss::Queue;
use mpip_host::proto::loss::Sent;
use proptest::prelude::*;

const MS: u32 = 1_000;
const S: u32 = 1_000_000;
/// Bytes that may be sent again at first.
const ALLOWANCE: u64 = 1 << 16;

#[test]
fn a_queue_is_full_near_its_longest() {
    assert_eq!(full(80_000), 70_000);
    assert_eq!(full(8), 1_000);
    assert_eq!(full(0), 1_000);
    assert_eq!(full(1_144), 1_001);
    assert_eq!(full(u32::MAX), u32::MAX - u32::MAX / 8);
}

/// Samples of a queue, one every 10 ms; whether it stands after each.
fn standing(start: u32, queues: impl IntoIterator<Item = u32>) -> Vec<bool> {
    let mut queue = Queue::new();
    let samples = queues.into_iter().enumerate();
    samples
        .map(|(i, us)| {
            queue.sample(start.wrapping_add(i as u32 * 10 * MS), us);
            queue.is_standing()
        })
        .collect()
}

#[test]
fn a_queue_that_stays_is_standing() {
    for start in [2 * S, u32::MAX - 1_500 * MS, (1 << 31) - 150 * MS] {
        let stands = standing(start, [6 * MS; 200]);
        // Not before a whole tenth of a second has passed, and not later than two.
        let first = stands.iter().position(|s| *s).unwrap();
        assert!((10..=20).contains(&first), "{first}");
        assert!(stands[first..].iter().all(|s| *s));
        // A short one is none, however long it stays.
        assert!(!standing(start, [4_999; 200]).contains(&true));
        // One that empties now and then is none, however long it grows.
        let saw = (0..200).map(|i| i % 9 * 20 * MS);
        assert!(!standing(start, saw).contains(&true));
    }
    assert!(!Queue::new().is_standing());
}

#[test]
fn a_queue_that_empties_stands_no_more() {
    let stands = standing(S, (0..80).map(|i| if i == 40 { 0 } else { 9 * MS }));
    assert!(stands[39] && !stands[40]);
    // It counts for that tenth of a second and the next one.
    let again = stands[40..].iter().position(|s| *s).unwrap();
    assert!((10..=20).contains(&again), "{again}");
}

/// So much was sent, none of which found the queue full.
fn sent(all: u64) -> Sent {
    Sent { all, full: 0 }
}

#[test]
fn a_little_random_loss_is_repaired() {
    for start in [0, 5 * S, u32::MAX - S, (1 << 31) - S] {
        let mut l = Losses::new();
        // 1 % for a minute.
        for i in 0..6_000u32 {
            let now = start.wrapping_add(i * 10 * MS);
            assert!(l.may_repair(now, 1_000, false, sent(u64::from(i) * 100_000)));
        }
    }
}

#[test]
fn how_much_is_lost_at_random_is_known_for_a_while() {
    let mut l = Losses::new();
    assert_eq!(l.random(), 0);
    // 1 %, a minute long, after a minute without.
    for i in 6_000..12_000u32 {
        let now = i * 10 * MS;
        assert!(l.may_repair(now, 1_000, false, sent(u64::from(i) * 100_000)));
        assert!(
            i < 8_000 || (9..=10).contains(&l.random()),
            "{i}: {}",
            l.random()
        );
    }
    // Congestion adds nothing.
    let queue =
        |l: &mut Losses| (0..50).for_each(|i| l.queue.sample(120 * S + i * 10 * MS, 20 * MS));
    queue(&mut l);
    assert!(!l.may_repair(121 * S, 100_000, true, sent(1_210_000_000)));
    assert!((9..=10).contains(&l.random()));
    // While nothing else is lost it becomes less with what is sent.
    assert!(!l.may_repair(122 * S, 100_000, true, sent(1_400_000_000)));
    assert!((3..=6).contains(&l.random()), "{}", l.random());
    l.age(125 * S);
    assert_ne!(l.random(), 0);
    l.age(141 * S);
    assert_eq!(l.random(), 0);
}

#[test]
fn only_so_much_is_repaired() {
    let mut l = Losses::new();
    // At first, without anything sent.
    let mut bytes = 0;
    while l.may_repair(S, 1_000, false, sent(0)) {
        bytes += 1_000;
    }
    assert_eq!(bytes, ALLOWANCE / 1_000 * 1_000);
    // One in 25 of what is sent from then on.
    assert!(!l.may_repair(S, 1_000, false, sent(10_000)));
    assert!(l.may_repair(S, 1_000, false, sent(25_000)));
    assert!(!l.may_repair(S, 1_000, false, sent(25_000)));
    // A tenth is lost: two fifths of it are.
    let (mut l, mut repaired) = (Losses::new(), 0u64);
    for i in 0..100_000u64 {
        let may = l.may_repair(S, 1_000, false, sent(i * 10_000));
        repaired += u64::from(may) * 1_000;
    }
    let most = 1_000_000_000 / 25 + ALLOWANCE;
    assert!((most - 5_000..=most).contains(&repaired), "{repaired}");
}

#[test]
fn what_was_not_needed_is_not_saved_up() {
    let mut l = Losses::new();
    // After a gigabyte without loss.
    let mut bytes = 0;
    while l.may_repair(S, 1_000, false, sent(1 << 30)) {
        bytes += 1_000;
        assert!(bytes < 1 << 22);
    }
    assert!(bytes <= 2 * ALLOWANCE + 1_000, "{bytes}");
    assert!(bytes >= ALLOWANCE, "{bytes}");
}

#[test]
fn a_standing_queue_is_congestion() {
    let mut l = Losses::new();
    for i in 0..50 {
        l.queue.sample(S + i * 10 * MS, 20 * MS);
    }
    assert!(!l.may_repair(2 * S, 1_000, false, sent(1 << 30)));
    l.queue.sample(2 * S, 0);
    assert!(l.may_repair(2 * S, 1_000, false, sent(1 << 30)));
}

/// Losses of 1000 bytes each, spread evenly over 100 MB of which a tenth found the queue full:
/// how many of those with a full queue, and of the others, may be repaired.
fn spread(at_full: u32, others: u32) -> (u32, u32) {
    let mut l = Losses::new();
    let (mut full, mut rest) = (0, 0);
    for i in 0..10_000u32 {
        let all = u64::from(i) * 10_000;
        let sent = Sent {
            all,
            full: all / 10,
        };
        let now = S + i * MS / 2;
        let lost = |n: u32| n != 0 && i % (10_000 / n) == 0;
        if lost(at_full) {
            full += u32::from(l.may_repair(now, 1_000, true, sent));
        }
        if lost(others) {
            rest += u32::from(l.may_repair(now, 1_000, false, sent));
        }
    }
    (full, rest)
}

#[test]
fn loss_at_a_full_queue_is_congestion() {
    // Nothing else is lost.
    assert_eq!(spread(500, 0), (0, 0));
    // As often as else: it has nothing to do with the queue.
    let (full, rest) = spread(100, 900);
    assert!(full > 80 && rest > 800, "{full} {rest}");
    // Ten times as often: the others are still repaired.
    let (full, rest) = spread(500, 500);
    assert!(full < 30 && rest > 450, "{full} {rest}");
}

#[test]
fn old_losses_are_forgotten() {
    let at = |all: u64| Sent {
        all,
        full: all / 10,
    };
    let mut l = Losses::new();
    // A full queue drops much.
    for i in 0..100 {
        assert!(!l.may_repair(S, 1_000, true, at(1_000_000 + i)));
    }
    // As many of the others get lost soon after, and a third more: ten times as often at the full
    // queue all the same.
    for _ in 0..50 {
        assert!(l.may_repair(5 * S, 1_000, false, at(2_000_000)));
    }
    assert!(!l.may_repair(5 * S, 1_000, true, at(2_000_000)));
    // Half a minute later it is even.
    for i in 0..4 {
        let now = (15 + i * 11) * S;
        for _ in 0..9 {
            assert!(l.may_repair(now, 1_000, false, at(3_000_000 + u64::from(i) * 1_000_000)));
        }
    }
    assert!(l.may_repair(50 * S, 1_000, true, at(7_000_000)));
}

proptest! {
    #![proptest_config(config(1000))]

    /// Whatever happens, no more than one in 25 and the allowance, twice, are sent again.
    #[test]
    fn the_budget_holds(
        start: u32,
        steps in prop::collection::vec(
            (0u32..2_000_000, 0u32..200_000, 0u32..20_000, any::<bool>(), any::<bool>(), 0u32..20_000),
            1..200,
        ),
    ) {
        let (mut now, mut total, mut repaired) = (start, Sent::default(), 0u64);
        let mut l = Losses::default();
        for (time, more, lost, full, crowded, queue) in steps {
            now = now.wrapping_add(time);
            total.all += u64::from(more);
            total.full += if crowded { u64::from(more) } else { 0 };
            l.queue.sample(now, queue);
            let standing = l.queue.is_standing();
            if l.may_repair(now, lost, full, total) {
                repaired += u64::from(lost);
                prop_assert!(!standing);
            }
            prop_assert!(repaired <= total.all / 25 + ALLOWANCE);
        }
    }

    #[test]
    fn any_numbers(calls in prop::collection::vec(any::<(u32, u32, bool, u64, u64, u32)>(), 0..60)) {
        let mut l = Losses::new();
        for (now, bytes, full, all, crowded, queue) in calls {
            l.queue.sample(now, queue);
            l.may_repair(now, bytes, full, Sent { all, full: crowded });
        }
    }
}
