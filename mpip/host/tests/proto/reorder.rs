// SPDX-License-Identifier: GPL-2.0

mod repair;

use mpip_host::proto::reorder::GivenUp;
use mpip_host::proto::reorder::Held;
use mpip_host::proto::reorder::Limits;
use mpip_host::proto::reorder::Push;
use mpip_host::proto::reorder::Reorder;
use mpip_host::proto::reorder::Segment;
use mpip_host::proto::reorder::MAX_HOLE;

/// A packet is known by its first sequence number.
pub type Buffer = Reorder<u32, Box<[Option<Held<u32>>]>>;

pub fn storage(slots: usize) -> Box<[Option<Held<u32>>]> {
    (0..slots).map(|_| None).collect()
}

pub fn buffer(next: u32, limits: Limits) -> Buffer {
    let mut buffer = Buffer::new(next);
    buffer.set_limits(limits);
    assert!(buffer.attach(storage(limits.packets + 1)).is_none());
    buffer
}

const LIMITS: Limits = Limits {
    packets: 100,
    bytes: 1 << 20,
    wait_us: 1000,
    spread_us: 1000,
    repair_us: 0,
    settle_us: 0,
};

fn seg(seq: u32, len: u32, lane: u8) -> Segment {
    Segment {
        seq,
        end: seq.wrapping_add(len),
        lane,
        bytes: 2000,
        rst: false,
    }
}

/// Pushes and pops like the kernel: what is delivered, in order.
fn push(buffer: &mut Buffer, now: u32, seg: Segment) -> Vec<u32> {
    let mut out = match buffer.push(now, seg, seg.seq) {
        Push::Pass(t) | Push::Refused(t) | Push::Wild(t) => vec![t],
        Push::Held => vec![],
    };
    out.extend(drain(buffer, now));
    out
}

fn drain(buffer: &mut Buffer, now: u32) -> Vec<u32> {
    std::iter::from_fn(|| buffer.pop(now)).collect()
}

fn given_up(timeout: u32, lost: u32, overflow: u32) -> GivenUp {
    GivenUp {
        timeout,
        lost,
        overflow,
    }
}

/// A buffer whose lanes 0 and 1 have both just delivered something.
fn two_lanes(next: u32) -> Buffer {
    let mut b = buffer(next.wrapping_sub(20), LIMITS);
    assert_eq!(push(&mut b, 0, seg(next.wrapping_sub(20), 10, 0)).len(), 1);
    assert_eq!(push(&mut b, 0, seg(next.wrapping_sub(10), 10, 1)).len(), 1);
    assert_eq!(b.next(), next);
    b
}

#[test]
fn in_order_passes() {
    let mut b = Buffer::new(100);
    for seq in [100, 110, 120] {
        assert_eq!(b.push(0, seg(seq, 10, 0), seq), Push::Pass(seq));
        assert_eq!(b.pop(0), None);
    }
    assert_eq!((b.next(), b.len(), b.deadline(0)), (130, 0, None));
    assert!(!b.has_storage());
}

#[test]
fn only_what_is_in_order_while_nothing_waits_passes() {
    let mut b = two_lanes(100);
    assert!(b.passes(0, &seg(100, 10, 0)));
    assert!(b.passes(0, &seg(90, 10, 0)));
    assert!(b.passes(0, &seg(300, 0, 0)));
    assert_eq!(b.next(), 110);
    assert!(!b.passes(0, &seg(120, 10, 0)));
    assert!(!b.passes(0, &seg(110 + MAX_HOLE + 1, 10, 0)));
    assert_eq!(push(&mut b, 0, seg(120, 10, 0)), []);
    assert!(!b.passes(0, &seg(110, 10, 1)));
    assert_eq!(push(&mut b, 0, seg(110, 10, 1)), [110, 120]);
    assert!(b.passes(0, &seg(130, 10, 1)));
}

#[test]
fn a_hole_is_filled() {
    for start in [100, u32::MAX - 15] {
        let at = |n: u32| start.wrapping_add(n);
        let mut b = two_lanes(start);
        assert_eq!(push(&mut b, 10, seg(at(10), 10, 0)), []);
        assert_eq!(push(&mut b, 20, seg(at(20), 10, 0)), []);
        assert_eq!((b.len(), b.bytes(), b.deadline(0)), (2, 4000, Some(1010)));
        assert_eq!(push(&mut b, 30, seg(at(0), 10, 1)), [at(0), at(10), at(20)]);
        assert_eq!((b.next(), b.len(), b.bytes()), (at(30), 0, 0));
        assert_eq!(b.take_given_up(), GivenUp::default());
    }
}

#[test]
fn what_is_told_to_be_lost_is_not_waited_for() {
    let mut b = two_lanes(100);
    b.set_limits(Limits {
        wait_us: 100_000,
        spread_us: 50_000,
        settle_us: 10_000,
        ..LIMITS
    });
    b.lost(10, 100, 101);
    assert_eq!(push(&mut b, 10, seg(101, 1, 0)), []);
    assert_eq!(b.deadline(10), Some(10_010));
    assert_eq!(drain(&mut b, 10_009), []);
    assert_eq!(drain(&mut b, 10_010), [101]);
    assert_eq!(b.take_given_up(), given_up(0, 1, 0));
    // Two processors have swapped it with the one that told.
    b.lost(12_000, 102, 103);
    assert_eq!(push(&mut b, 12_000, seg(103, 1, 0)), []);
    assert_eq!(push(&mut b, 12_500, seg(102, 1, 0)), [102, 103]);
    // Behind a hole of which nothing is known.
    b.lost(13_000, 105, 106);
    assert_eq!(push(&mut b, 13_000, seg(106, 1, 0)), []);
    assert_eq!(push(&mut b, 13_500, seg(104, 1, 1)), [104]);
    assert_eq!((b.next(), b.len()), (105, 2));
    assert_eq!(drain(&mut b, 22_999), []);
    assert_eq!(drain(&mut b, 23_000), [106]);
    assert_eq!(b.take_given_up(), given_up(0, 1, 0));
    // It comes after all; what is told of the past has no effect.
    assert_eq!(push(&mut b, 23_100, seg(105, 1, 1)), [105]);
    b.lost(23_100, 106, 107);
    assert_eq!((b.next(), b.len(), b.bytes()), (107, 0, 0));
    // Both at once: the one that is known, and the one before it that is given up.
    b.lost(25_000, 108, 109);
    assert_eq!(push(&mut b, 25_000, seg(109, 1, 0)), []);
    assert_eq!(drain(&mut b, 120_000), []);
    assert_eq!(drain(&mut b, 125_000), [109]);
    assert_eq!(b.take_given_up(), given_up(1, 0, 0));
    // Nor is what all lanes have gone past believed to be lost at once.
    assert_eq!(push(&mut b, 130_000, seg(112, 1, 0)), []);
    assert_eq!(push(&mut b, 130_001, seg(113, 1, 1)), []);
    assert_eq!(b.deadline(130_001), Some(140_000));
    assert_eq!(push(&mut b, 139_000, seg(110, 1, 0)), [110]);
    assert_eq!(drain(&mut b, 139_999), []);
    assert_eq!(drain(&mut b, 140_000), [112, 113]);
    assert_eq!(b.take_given_up(), given_up(0, 1, 0));
}

#[test]
fn what_is_told_to_be_lost_needs_room() {
    let mut b = Buffer::new(100);
    b.lost(0, 100, 101);
    assert_eq!((b.len(), b.next()), (0, 100));
    let limits = Limits {
        packets: 2,
        ..LIMITS
    };
    let mut b = buffer(100, limits);
    for n in [101, 103, 105, 107] {
        b.lost(0, n, n + 1);
    }
    // No slot is left for the last; the buffer is as full as it may be, and gives up at once.
    assert_eq!(b.len(), 3);
    assert_eq!(push(&mut b, 1, seg(102, 1, 0)), [102]);
    assert_eq!(push(&mut b, 1, seg(100, 1, 0)), [100]);
    b.flush();
    assert_eq!(drain(&mut b, 2), []);
    assert!(b.next() >= 103);
}

#[test]
fn two_holes_filled_from_the_back() {
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 1, seg(30, 10, 0)), []);
    assert_eq!(push(&mut b, 2, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 3, seg(20, 10, 0)), []);
    // The oldest packet decides, wherever it stands.
    assert_eq!(b.deadline(0), Some(1001));
    assert_eq!(push(&mut b, 4, seg(0, 10, 1)), [0, 10, 20, 30]);
}

#[test]
fn what_tcp_needs_passes_at_once() {
    let mut b = two_lanes(1000);
    assert_eq!(push(&mut b, 1, seg(1100, 10, 0)), []);
    // A pure acknowledgement, a keepalive, a retransmission, a part of one.
    assert_eq!(push(&mut b, 2, seg(1110, 0, 0)), [1110]);
    assert_eq!(push(&mut b, 2, seg(999, 1, 0)), [999]);
    assert_eq!(push(&mut b, 2, seg(500, 300, 1)), [500]);
    assert_eq!(push(&mut b, 2, seg(990, 20, 1)), [990]);
    assert_eq!((b.next(), b.len()), (1010, 1));
    assert_eq!(push(&mut b, 3, seg(1000, 100, 1)), [1000, 1100]);
}

#[test]
fn rst_keeps_its_place() {
    let rst = |seq| Segment {
        rst: true,
        ..seg(seq, 0, 0)
    };
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 1, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 2, rst(20)), []);
    assert_eq!(push(&mut b, 3, seg(0, 10, 1)), [0, 10, 20]);
    assert_eq!(push(&mut b, 4, rst(20)), [20]);
}

#[test]
fn timeout_gives_up_one_hole_at_a_time() {
    let mut b = two_lanes(0);
    b.expect_lanes(0, 0b11);
    assert_eq!(push(&mut b, 100, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 500, seg(30, 10, 0)), []);
    assert_eq!(drain(&mut b, 1099), []);
    assert_eq!(b.deadline(0), Some(1100));
    assert_eq!(drain(&mut b, 1100), [10]);
    assert_eq!((b.next(), b.deadline(0)), (20, Some(1500)));
    assert_eq!(drain(&mut b, 1499), []);
    assert_eq!(drain(&mut b, 1500), [30]);
    assert_eq!(b.take_given_up(), given_up(2, 0, 0));
    assert_eq!(b.take_given_up(), given_up(0, 0, 0));
    // The retransmission comes later and passes.
    assert_eq!(push(&mut b, 3000, seg(0, 10, 1)), [0]);
    assert_eq!(b.next(), 40);
}

#[test]
fn lost_when_every_lane_is_ahead() {
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 10, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 20, seg(20, 10, 0)), []);
    assert_eq!(push(&mut b, 30, seg(30, 10, 1)), [10, 20, 30]);
    assert_eq!(b.take_given_up(), given_up(0, 1, 0));
}

#[test]
fn an_acknowledgement_shows_progress_too() {
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 10, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 20, seg(20, 0, 1)), [20, 10]);
    assert_eq!(b.take_given_up(), given_up(0, 1, 0));
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 10, seg(10, 10, 0)), []);
    b.lane_progress(20, 1, 20);
    assert_eq!(drain(&mut b, 20), [10]);
}

#[test]
fn what_is_between_two_hooks_is_not_lost() {
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 10, seg(10, 10, 0)), []);
    b.lane_progress(20, 1, 0);
    assert_eq!(drain(&mut b, 20), []);
    assert_eq!(push(&mut b, 21, seg(0, 10, 1)), [0, 10]);
    assert_eq!(b.take_given_up(), given_up(0, 0, 0));
}

#[test]
fn a_retransmission_shows_no_progress() {
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 10, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 20, seg(0u32.wrapping_sub(20), 10, 1)).len(), 1);
    assert_eq!(b.len(), 1);
    // And does not undo any.
    assert_eq!(push(&mut b, 30, seg(20, 10, 0)), []);
    assert_eq!(push(&mut b, 40, seg(0u32.wrapping_sub(20), 10, 0)).len(), 1);
    assert_eq!(push(&mut b, 50, seg(30, 10, 1)), [10, 20, 30]);
}

#[test]
fn silent_lanes_do_not_count() {
    let spread = Limits {
        spread_us: 300,
        ..LIMITS
    };
    // Lane 1 has been silent for longer than the wait, but may bring something after all.
    let mut b = two_lanes(0);
    b.set_limits(spread);
    assert_eq!(push(&mut b, 2000, seg(10, 10, 0)), []);
    assert_eq!(b.deadline(2000), Some(2300));
    assert_eq!(push(&mut b, 2299, seg(30, 10, 0)), []);
    assert_eq!(b.pop(2300), Some(10));
    assert_eq!(b.take_given_up(), given_up(0, 1, 0));
    // It does.
    let mut b = two_lanes(0);
    b.set_limits(spread);
    assert_eq!(push(&mut b, 2000, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 2010, seg(0, 10, 1)), [0, 10]);
    // A lane that is just begun.
    b.expect_lanes(2010, 0b111);
    assert_eq!(push(&mut b, 2020, seg(30, 10, 0)), []);
    assert_eq!(push(&mut b, 2021, seg(40, 10, 1)), []);
    assert_eq!(push(&mut b, 2030, seg(20, 10, 2)), [20, 30, 40]);
}

#[test]
fn a_lane_that_returns_counts() {
    let spread = Limits {
        spread_us: 300,
        ..LIMITS
    };
    for returns in [false, true] {
        let mut b = two_lanes(0);
        b.set_limits(spread);
        b.expect_lanes(0, 0b11);
        b.expect_lanes(1_000, 0b01);
        b.expect_lanes(5_000, if returns { 0b11 } else { 0b01 });
        assert_eq!(push(&mut b, 5_010, seg(10, 10, 0)), []);
        assert_eq!(drain(&mut b, 5_309), []);
        // What comes on it first may have been overtaken.
        let early: &[u32] = if returns { &[] } else { &[10] };
        assert_eq!(drain(&mut b, 5_310), early);
        if returns {
            assert_eq!(push(&mut b, 5_900, seg(0, 10, 1)), [0, 10]);
        }
    }
    // It stays silent.
    let mut b = two_lanes(0);
    b.set_limits(spread);
    b.expect_lanes(0, 0b11);
    b.expect_lanes(1_000, 0b01);
    b.expect_lanes(5_000, 0b11);
    assert_eq!(push(&mut b, 5_010, seg(10, 10, 0)), []);
    assert_eq!(drain(&mut b, 6_000), []);
    assert_eq!(drain(&mut b, 6_001), [10]);
    assert_eq!(b.take_given_up(), given_up(0, 1, 0));
    // What it had delivered before is not forgotten.
    let mut b = two_lanes(0);
    b.expect_lanes(0, 0b11);
    assert_eq!(push(&mut b, 10, seg(20, 10, 1)), []);
    b.expect_lanes(20, 0b01);
    b.expect_lanes(30, 0b11);
    assert_eq!(push(&mut b, 40, seg(10, 10, 0)), [10, 20]);
    assert_eq!(b.take_given_up(), given_up(0, 1, 0));
}

#[test]
fn a_lane_whose_number_wrapped_is_no_progress() {
    let mut b = two_lanes(0);
    // 3.5 GB on lane 0 while lane 1 is silent.
    for n in 0..56u32 {
        let seq = n << 26;
        assert_eq!(push(&mut b, 5000 + n, seg(seq, 1 << 26, 0)), [seq]);
    }
    let next = b.next();
    assert_eq!(push(&mut b, 6000, seg(next - 10, 10, 1)).len(), 1);
    assert_eq!(push(&mut b, 6001, seg(next + 10, 10, 0)), []);
    assert_eq!(push(&mut b, 6002, seg(next, 10, 1)), [next, next + 10]);
}

#[test]
fn too_many_packets() {
    let mut b = two_lanes(0);
    let mut limits = LIMITS;
    limits.packets = 3;
    b.set_limits(limits);
    for seq in [10, 20, 40] {
        assert_eq!(push(&mut b, 1, seg(seq, 10, 0)), []);
    }
    // Only what lies before the next hole goes.
    assert_eq!(push(&mut b, 1, seg(60, 10, 0)), [10, 20]);
    assert_eq!((b.next(), b.len()), (30, 2));
    assert_eq!(b.take_given_up(), given_up(0, 0, 1));
    // Fewer slots than the limit.
    let mut b = Buffer::new(0);
    b.attach(storage(3));
    b.expect_lanes(0, 2);
    assert_eq!(push(&mut b, 1, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 1, seg(30, 10, 0)), []);
    assert_eq!(push(&mut b, 1, seg(50, 10, 0)), [10]);
    assert_eq!(b.len(), 2);
}

#[test]
fn too_many_bytes() {
    let mut b = two_lanes(0);
    let mut limits = LIMITS;
    limits.bytes = 5000;
    b.set_limits(limits);
    assert_eq!(push(&mut b, 1, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 1, seg(30, 10, 0)), []);
    assert_eq!(push(&mut b, 1, seg(50, 10, 0)), [10]);
    assert_eq!(b.bytes(), 4000);
    // One packet that is too large alone.
    let huge = Segment {
        bytes: u32::MAX,
        ..seg(70, 10, 0)
    };
    assert_eq!(push(&mut b, 1, huge), [30, 50, 70]);
    assert_eq!((b.bytes(), b.next()), (0, 80));
}

#[test]
fn without_storage() {
    let mut b = Buffer::new(0);
    let early = seg(10, 10, 0);
    assert!(b.wants_storage(&early));
    assert!(!b.wants_storage(&seg(0, 10, 0)));
    assert!(!b.wants_storage(&seg(10, 0, 0)));
    assert!(!b.wants_storage(&seg(MAX_HOLE + 1, 10, 0)));
    assert_eq!(b.push(0, early, 10), Push::Refused(10));
    assert_eq!((b.next(), b.pop(0)), (20, None));
    assert_eq!(b.take_given_up(), given_up(0, 0, 1));
    for slots in [0, 1] {
        let mut b = Buffer::new(0);
        b.attach(storage(slots));
        assert_eq!(push(&mut b, 0, early), [10]);
        assert_eq!((b.next(), b.len()), (20, 0));
    }
}

#[test]
fn storage_comes_and_goes() {
    let mut b = buffer(0, LIMITS);
    b.expect_lanes(0, 2);
    assert!(b.has_storage());
    assert_eq!(b.attach(storage(5)).map(|s| s.len()), Some(5));
    assert_eq!(push(&mut b, 0, seg(10, 10, 0)), []);
    assert!(b.detach().is_none());
    assert_eq!(push(&mut b, 0, seg(0, 10, 1)), [0, 10]);
    let slots = b.detach().unwrap();
    assert!(slots.len() == 101 && slots.iter().all(Option::is_none));
    assert!(!b.has_storage());
    assert!(b.attach(slots).is_none());
    assert_eq!(push(&mut b, 0, seg(30, 10, 0)), []);
    assert_eq!(push(&mut b, 0, seg(20, 10, 1)), [20, 30]);
}

#[test]
fn the_socket_knows_better() {
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 1, seg(10, 10, 0)), []);
    assert_eq!(push(&mut b, 1, seg(30, 10, 0)), []);
    b.acked(10);
    assert_eq!(drain(&mut b, 1), [10]);
    b.acked(5);
    assert_eq!(b.next(), 20);
    b.acked(100);
    assert_eq!(drain(&mut b, 1), [30]);
    assert_eq!(b.next(), 100);
    b.acked(100u32.wrapping_add((1 << 30) + 1));
    assert_eq!(b.next(), 100);
}

#[test]
fn flush_releases_all_in_order() {
    let mut b = two_lanes(0);
    b.flush();
    assert_eq!(b.next(), 0);
    for seq in [50, 10, 30] {
        assert_eq!(push(&mut b, 1, seg(seq, 10, 0)), []);
    }
    b.flush();
    assert_eq!(drain(&mut b, 1), [10, 30, 50]);
    assert_eq!((b.next(), b.len(), b.bytes()), (60, 0, 0));
    assert_eq!(b.take_given_up(), GivenUp::default());
}

#[test]
fn wild_numbers_change_nothing() {
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 1, seg(10, 10, 0)), []);
    for (seq, len) in [
        (MAX_HOLE + 1, 10),
        (1 << 30, 10),
        (1 << 31, 10),
        (0xbfff_ffff, 10),
        (20, u32::MAX),
        (0, MAX_HOLE + 1),
    ] {
        let wild = seg(seq, len, 1);
        assert_eq!(b.push(1, wild, 7), Push::Wild(7), "{seq}");
        assert_eq!((b.next(), b.len(), b.pop(1)), (0, 1, None));
    }
    let old = seg(0xc000_0000, 10, 0);
    assert_eq!(b.push(1, old, 7), Push::Pass(7));
    assert_eq!((b.next(), b.len(), b.pop(1)), (0, 1, None));
}

#[test]
fn duplicates_are_kept_in_order() {
    let mut b = two_lanes(0);
    let copy = |buffer: &mut Buffer, seq, len, id| {
        assert_eq!(buffer.push(1, seg(seq, len, 0), id), Push::Held);
        assert_eq!(buffer.pop(1), None);
    };
    copy(&mut b, 10, 10, 1);
    copy(&mut b, 20, 10, 2);
    copy(&mut b, 10, 10, 3);
    copy(&mut b, 15, 10, 4);
    assert_eq!(push(&mut b, 1, seg(0, 10, 1)), [0, 1, 3, 4, 2]);
    assert_eq!(b.next(), 30);
}

#[test]
fn clocks_of_two_cpus_differ() {
    let mut b = two_lanes(0);
    assert_eq!(push(&mut b, 100, seg(20, 10, 0)), []);
    assert_eq!(push(&mut b, 90, seg(30, 10, 0)), []);
    assert_eq!(drain(&mut b, 80), []);
    assert_eq!(b.len(), 2);
}
