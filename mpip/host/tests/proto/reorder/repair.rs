// SPDX-License-Identifier: GPL-2.0

//! What is asked for once it is known to be lost.

use super::*;

const REPAIR: Limits = Limits {
    wait_us: 10_000,
    spread_us: 4_000,
    repair_us: 30_000,
    ..LIMITS
};

/// A buffer whose lanes 0 and 1 have both just delivered something, and that asks.
fn asking(next: u32) -> Buffer {
    let mut b = two_lanes(next);
    b.set_limits(REPAIR);
    b
}

/// Pushes; what is asked for and what is delivered.
fn push_ask(b: &mut Buffer, now: u32, seg: Segment) -> (Vec<(u32, u32)>, Vec<u32>) {
    let mut out = match b.push(now, seg, seg.seq) {
        Push::Pass(t) | Push::Refused(t) | Push::Wild(t) => vec![t],
        Push::Held => vec![],
    };
    let asked = missing(b, now);
    out.extend(drain(b, now));
    (asked, out)
}

fn missing(b: &mut Buffer, now: u32) -> Vec<(u32, u32)> {
    std::iter::from_fn(|| b.next_missing(now)).collect()
}

const NOTHING: (Vec<(u32, u32)>, Vec<u32>) = (vec![], vec![]);

#[test]
fn what_was_lost_is_asked_for_and_repaired() {
    for start in [1000, u32::MAX - 15, u32::MAX - 5, (1 << 31) - 15] {
        let at = |n: u32| start.wrapping_add(n);
        let mut b = asking(start);
        assert_eq!(push_ask(&mut b, 100, seg(at(10), 10, 0)), NOTHING);
        // The other lane is ahead, too: it was lost. But two may have been swapped.
        assert_eq!(push_ask(&mut b, 200, seg(at(20), 10, 1)), NOTHING);
        assert_eq!(missing(&mut b, 1_099), []);
        let (asked, out) = push_ask(&mut b, 1_100, seg(at(30), 10, 0));
        assert_eq!((asked, out), (vec![(at(0), at(10))], vec![]));
        assert_eq!(b.deadline(1_100), Some(46_100));
        // Once.
        assert_eq!(push_ask(&mut b, 1_200, seg(at(40), 10, 1)), NOTHING);
        // It is waited for longer than for what may be under way.
        assert_eq!(drain(&mut b, 31_099), []);
        let all = [0, 10, 20, 30, 40].map(at).to_vec();
        assert_eq!(push_ask(&mut b, 31_099, seg(at(0), 10, 1)), (vec![], all));
        assert_eq!((b.next(), b.deadline(31_099)), (at(50), None));
        assert_eq!(b.take_given_up(), given_up(0, 0, 0));
    }
}

#[test]
fn what_does_not_come_is_given_up() {
    let mut b = asking(0);
    assert_eq!(push_ask(&mut b, 100, seg(10, 10, 0)), NOTHING);
    assert_eq!(push_ask(&mut b, 1_200, seg(20, 10, 1)).0, [(0, 10)]);
    // Half as long again, in which it may be asked for once more. Nobody does.
    assert_eq!(b.deadline(1_200), Some(46_200));
    assert_eq!(drain(&mut b, 46_199), []);
    assert_eq!(drain(&mut b, 46_200), [10, 20]);
    assert_eq!(b.take_given_up(), given_up(1, 0, 0));
    // It comes after all.
    assert_eq!(push_ask(&mut b, 47_000, seg(0, 10, 1)), (vec![], vec![0]));
    assert_eq!(b.next(), 30);
}

/// A buffer that waits for what was asked for twice, at 1200 and at 31200.
fn asked_twice(start: u32) -> Buffer {
    let at = |n: u32| start.wrapping_add(n);
    let mut b = asking(start);
    push_ask(&mut b, 100, seg(at(10), 10, 0));
    let hole = vec![(at(0), at(10))];
    assert_eq!(push_ask(&mut b, 1_200, seg(at(20), 10, 1)).0, hole);
    assert_eq!(missing(&mut b, 31_199), []);
    assert_eq!(missing(&mut b, 31_200), hole);
    assert_eq!(drain(&mut b, 31_200), []);
    assert_eq!(b.deadline(31_200), Some(61_200));
    b
}

#[test]
fn what_is_sent_again_may_be_lost_as_well() {
    for start in [1000, u32::MAX - 15, u32::MAX - 5, (1 << 31) - 15] {
        let at = |n: u32| start.wrapping_add(n);
        // It comes.
        let mut b = asked_twice(start);
        assert_eq!(missing(&mut b, 61_199), []);
        let all = [0, 10, 20].map(at).to_vec();
        assert_eq!(push_ask(&mut b, 61_199, seg(at(0), 10, 1)), (vec![], all));
        assert_eq!(b.take_given_up(), given_up(0, 0, 0));
        // It does not: twice is enough.
        let mut b = asked_twice(start);
        assert_eq!(drain(&mut b, 61_199), []);
        assert_eq!(missing(&mut b, 61_200), []);
        assert_eq!(drain(&mut b, 61_200), [10, 20].map(at));
        assert_eq!(b.take_given_up(), given_up(1, 0, 0));
        // It is refused.
        let mut b = asked_twice(start);
        b.refused(0, at(0), at(10));
        assert_eq!(missing(&mut b, 31_300), []);
        assert_eq!(drain(&mut b, 31_300), [10, 20].map(at));
        assert_eq!(b.take_given_up(), given_up(0, 1, 0));
    }
}

#[test]
fn only_what_is_still_missing_is_asked_for_again() {
    let mut b = asking(0);
    push_ask(&mut b, 100, seg(40, 10, 0));
    assert_eq!(push_ask(&mut b, 1_200, seg(50, 10, 1)).0, [(0, 40)]);
    assert_eq!(push_ask(&mut b, 5_000, seg(10, 10, 1)), NOTHING);
    assert_eq!(missing(&mut b, 31_199), []);
    assert_eq!(missing(&mut b, 31_200), [(0, 10), (20, 40)]);
    // Each is given up for itself.
    assert_eq!(push_ask(&mut b, 40_000, seg(0, 10, 0)).1, [0, 10]);
    assert_eq!(b.deadline(40_000), Some(61_200));
    assert_eq!(drain(&mut b, 61_199), []);
    assert_eq!(drain(&mut b, 61_200), [40, 50]);
    assert_eq!(b.take_given_up(), given_up(1, 0, 0));
}

#[test]
fn what_is_refused_is_given_up_at_once() {
    for start in [1000, u32::MAX - 5] {
        let at = |n: u32| start.wrapping_add(n);
        let mut b = asking(start);
        push_ask(&mut b, 100, seg(at(10), 10, 0));
        push_ask(&mut b, 100, seg(at(30), 10, 0));
        let asked = push_ask(&mut b, 1_200, seg(at(50), 10, 1)).0;
        let holes = [(0, 10), (20, 30)].map(|(a, b)| (at(a), at(b)));
        assert_eq!(asked, holes);
        // The latest was not old enough, and lane 0 not ahead: there may be another one.
        assert_eq!(missing(&mut b, 2_300), []);
        b.lane_progress(2_300, 0, at(60));
        assert_eq!(missing(&mut b, 2_300), [(at(40), at(50))]);
        // Something else is refused.
        b.refused(0, at(200), at(300));
        b.refused(0, at(0), at(0));
        b.refused(0, at(10), at(0));
        assert_eq!(drain(&mut b, 3_000), []);
        b.refused(0, at(20), at(30));
        assert_eq!(drain(&mut b, 3_000), []);
        b.refused(0, at(0), at(10));
        assert_eq!(drain(&mut b, 3_000), [at(10), at(30)]);
        assert_eq!(b.take_given_up(), given_up(0, 2, 0));
        // It is not asked for again, and the last one still may come.
        assert_eq!(missing(&mut b, 3_000), []);
        assert_eq!(b.deadline(3_000), Some(47_300));
        let (asked, out) = push_ask(&mut b, 3_000, seg(at(40), 10, 1));
        assert_eq!((asked, out), (vec![], vec![at(40), at(50)]));
    }
}

#[test]
fn what_was_not_asked_for_cannot_be_refused() {
    let mut b = asking(0);
    push_ask(&mut b, 100, seg(10, 10, 0));
    b.refused(0, 0, 10);
    assert_eq!(drain(&mut b, 200), []);
    // It may be under way on the other lane.
    assert_eq!(push_ask(&mut b, 300, seg(0, 10, 1)).1, [0, 10]);
}

#[test]
fn several_holes_are_asked_for_at_once() {
    let mut b = asking(0);
    for seq in [10, 30, 40, 60] {
        assert_eq!(push_ask(&mut b, 100, seg(seq, 10, 0)), NOTHING);
    }
    // Lane 1 is ahead of two of them only.
    assert_eq!(
        push_ask(&mut b, 1_500, seg(35, 5, 1)).0,
        [(0, 10), (20, 30)]
    );
    assert_eq!(push_ask(&mut b, 1_600, seg(80, 10, 1)).0, [(50, 60)]);
    // The last one is young, and then lane 0 has to be ahead of it, too.
    assert_eq!(missing(&mut b, 2_600), []);
    b.lane_progress(2_599, 0, 90);
    assert_eq!(missing(&mut b, 2_599), []);
    assert_eq!(missing(&mut b, 2_600), [(70, 80)]);
    // Each has its own time.
    assert_eq!(push_ask(&mut b, 3_000, seg(0, 10, 1)).1, [0, 10]);
    assert_eq!(b.deadline(3_000), Some(46_500));
    assert_eq!(
        push_ask(&mut b, 31_500, seg(90, 10, 1)),
        (vec![(20, 30)], vec![])
    );
    assert_eq!(b.deadline(31_500), Some(61_500));
    assert_eq!(
        push_ask(&mut b, 31_600, seg(70, 10, 0)),
        (vec![(50, 60)], vec![])
    );
    assert_eq!(drain(&mut b, 61_499), []);
    assert_eq!(drain(&mut b, 61_500), [30, 35, 40]);
    assert_eq!(b.deadline(61_500), Some(61_600));
    assert_eq!(drain(&mut b, 61_599), []);
    assert_eq!(drain(&mut b, 61_600), [60, 70, 80, 90]);
    assert_eq!(b.take_given_up(), given_up(2, 0, 0));
}

#[test]
fn a_hole_that_is_filled_in_part_is_not_asked_for_again() {
    for (part, rest) in [
        ((0, 10), (10, 30)),
        ((10, 10), (0, 40)),
        ((20, 20), (0, 20)),
    ] {
        let mut b = asking(0);
        push_ask(&mut b, 100, seg(40, 10, 0));
        assert_eq!(push_ask(&mut b, 1_200, seg(50, 10, 1)).0, [(0, 40)]);
        let (asked, _) = push_ask(&mut b, 5_000, seg(part.0, part.1, 1));
        assert_eq!(asked, []);
        // The rest is waited for as long as all of it would have been.
        assert_eq!(b.deadline(5_000), Some(46_200));
        let (asked, out) = push_ask(&mut b, 9_000, seg(rest.0, rest.1, 0));
        assert_eq!(asked, []);
        assert_eq!((out.last(), b.next()), (Some(&50), 60), "{part:?}");
        assert_eq!(b.take_given_up(), given_up(0, 0, 0));
    }
    // A part of it comes, and what is left is refused.
    let mut b = asking(0);
    push_ask(&mut b, 100, seg(40, 10, 0));
    push_ask(&mut b, 1_200, seg(50, 10, 1));
    push_ask(&mut b, 2_000, seg(10, 10, 1));
    b.refused(0, 0, 40);
    assert_eq!(drain(&mut b, 2_000), [10, 40, 50]);
    assert_eq!(b.take_given_up(), given_up(0, 2, 0));
}

#[test]
fn what_may_be_under_way_is_not_asked_for() {
    // Lane 1 has brought something lately, and is not ahead.
    let mut b = asking(0);
    push_ask(&mut b, 100, seg(10, 10, 0));
    assert_eq!(push_ask(&mut b, 5_000, seg(20, 10, 0)), NOTHING);
    // It waits for the wait.
    assert_eq!(b.deadline(5_000), Some(10_100));
    assert_eq!(drain(&mut b, 10_100), [10, 20]);
    assert_eq!(b.take_given_up(), given_up(1, 0, 0));
    // It has brought nothing for a while: for what the slowest lane needs.
    let mut b = asking(0);
    assert_eq!(push_ask(&mut b, 20_000, seg(10, 10, 0)), NOTHING);
    assert_eq!(b.deadline(20_000), Some(24_000));
    assert_eq!(push_ask(&mut b, 23_999, seg(20, 10, 0)), NOTHING);
    assert_eq!(push_ask(&mut b, 24_000, seg(30, 10, 0)).0, [(0, 10)]);
    // It has brought nothing for a second: it does not count at all.
    let mut b = asking(0);
    assert_eq!(push_ask(&mut b, 1_000_001, seg(10, 10, 0)), NOTHING);
    assert_eq!(missing(&mut b, 1_001_000), []);
    assert_eq!(missing(&mut b, 1_001_001), [(0, 10)]);
}

#[test]
fn nothing_is_asked_for_unless_it_is_wanted() {
    let mut b = two_lanes(0);
    push(&mut b, 100, seg(10, 10, 0));
    assert_eq!(b.push(2_000, seg(20, 10, 1), 20), Push::Held);
    assert_eq!(missing(&mut b, 2_000), []);
    assert_eq!(drain(&mut b, 2_000), [10, 20]);
    // It has come to an end while something was asked for: that is not waited for any more.
    let mut b = asking(0);
    push_ask(&mut b, 100, seg(10, 10, 0));
    assert_eq!(push_ask(&mut b, 1_200, seg(20, 10, 1)).0, [(0, 10)]);
    b.set_limits(Limits {
        repair_us: 0,
        ..REPAIR
    });
    assert_eq!(missing(&mut b, 1_201), []);
    assert_eq!(drain(&mut b, 1_201), [10, 20]);
    // What was asked for twice is given up at once.
    let mut b = asked_twice(0);
    b.set_limits(Limits {
        repair_us: 0,
        ..REPAIR
    });
    assert_eq!(drain(&mut b, 31_201), [10, 20]);
    // Nothing is held, or there is nowhere to hold it.
    assert_eq!(missing(&mut asking(0), 5_000), []);
    assert_eq!(missing(&mut Buffer::new(0), 5_000), []);
}

#[test]
fn too_much_is_held_while_something_is_asked_for() {
    let mut b = asking(0);
    b.set_limits(Limits {
        packets: 3,
        ..REPAIR
    });
    push_ask(&mut b, 100, seg(10, 10, 0));
    assert_eq!(push_ask(&mut b, 1_200, seg(20, 10, 1)).0, [(0, 10)]);
    assert_eq!(push_ask(&mut b, 1_300, seg(30, 10, 0)), NOTHING);
    assert_eq!(push_ask(&mut b, 1_400, seg(40, 10, 0)).1, [10, 20, 30, 40]);
    assert_eq!(b.take_given_up(), given_up(0, 0, 1));
}

#[test]
fn the_socket_needs_no_repair() {
    let mut b = asking(0);
    push_ask(&mut b, 100, seg(10, 10, 0));
    assert_eq!(push_ask(&mut b, 1_200, seg(20, 10, 1)).0, [(0, 10)]);
    b.acked(10);
    assert_eq!(missing(&mut b, 1_300), []);
    assert_eq!(drain(&mut b, 1_300), [10, 20]);
    assert_eq!(b.take_given_up(), given_up(0, 0, 0));
}

#[test]
fn where_all_come_by_one_lane_a_refusal_ends_the_asking_for_a_while() {
    let alone = |lanes| {
        let mut b = asking(0);
        b.expect_lanes(0, 3);
        b.expect_lanes(20_000, lanes);
        for lane in (0..2).filter(|lane| (lanes >> lane) & 1 == 1) {
            b.lane_progress(2_000_000, lane, 0);
        }
        b
    };
    // Two lanes: refused or not, what is lost next may not be the same queue's doing.
    let mut b = alone(3);
    assert_eq!(push_ask(&mut b, 2_000_100, seg(10, 10, 0)), NOTHING);
    assert_eq!(push_ask(&mut b, 2_001_200, seg(20, 10, 1)).0, [(0, 10)]);
    b.refused(2_030_000, 0, 10);
    assert_eq!(drain(&mut b, 2_030_000), [10, 20]);
    assert_eq!(push_ask(&mut b, 2_030_100, seg(40, 10, 0)), NOTHING);
    assert_eq!(push_ask(&mut b, 2_031_200, seg(50, 10, 1)).0, [(30, 40)]);
    // One.
    let mut b = alone(1);
    assert_eq!(push_ask(&mut b, 2_000_100, seg(10, 10, 0)), NOTHING);
    b.expect_lanes(2_020_000, 1);
    assert_eq!(push_ask(&mut b, 2_020_000, seg(20, 10, 0)).0, [(0, 10)]);
    b.refused(2_030_000, 0, 10);
    assert_eq!(drain(&mut b, 2_030_000), [10, 20]);
    // TCP sees the next ones at once.
    assert_eq!(
        push_ask(&mut b, 2_040_000, seg(40, 10, 0)),
        (vec![], vec![40])
    );
    assert_eq!(
        push_ask(&mut b, 3_029_999, seg(60, 10, 0)),
        (vec![], vec![60])
    );
    assert_eq!(push_ask(&mut b, 3_030_000, seg(80, 10, 0)), NOTHING);
    assert_eq!(push_ask(&mut b, 3_031_000, seg(90, 10, 0)).0, [(70, 80)]);
}

#[test]
fn nothing_waits_for_a_lane_that_has_gone() {
    let mut b = asking(0);
    b.expect_lanes(0, 3);
    // It still brings what was under way.
    b.lane_progress(95_000, 1, 0);
    assert!(!b.is_silent(105_000, 1) && b.is_silent(105_001, 1) && b.is_silent(0, 2));
    b.expect_lanes(100_000, 1);
    assert_eq!(push_ask(&mut b, 100_000, seg(10, 10, 0)), NOTHING);
    assert_eq!(push_ask(&mut b, 101_000, seg(0, 10, 1)).1, [0, 10]);
    // It brings no more.
    b.expect_lanes(101_000, 3);
    b.expect_lanes(120_000, 1);
    let lost = push_ask(&mut b, 120_000, seg(30, 10, 0));
    // Nor is the window of the remaining one to be kept from TCP, which has to make it smaller.
    assert_eq!(lost, (vec![], vec![30]));
    // After a while it asks again.
    assert_eq!(push_ask(&mut b, 1_120_000, seg(50, 10, 0)), NOTHING);
    assert_eq!(push_ask(&mut b, 1_121_000, seg(60, 10, 0)).0, [(40, 50)]);
    // A lane that comes back counts as if it had just delivered something.
    assert!(b.expects(0) && !b.expects(1) && !b.expects(8));
    b.expect_lanes(1_122_000, 3);
    assert!(!b.is_silent(1_122_000, 1) && b.expects(1));
}
