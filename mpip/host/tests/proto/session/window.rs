// SPDX-License-Identifier: GPL-2.0

//! How TCP's window follows the paths, and its patience.

use super::*;

/// The window's growth for a segment of 100 bytes that begins at `from`, and may have been lost
/// nobody knows where.
fn grows(s: &mut Session<Path, ()>, from: u32, una: u32, again: bool) -> bool {
    grows_after(s, from, una, again.then_some(None))
}

/// The same for one that was lost on a lane.
fn grows_after(
    s: &mut Session<Path, ()>,
    from: u32,
    una: u32,
    lost: Option<Option<usize>>,
) -> bool {
    s.pick(0, 100, Class::Stream(100), &EARLIEST, |_, _| true);
    // Far more than the shortest time between two steps for each byte.
    let end = from.wrapping_add(100);
    s.may_grow(end.wrapping_mul(1000), end, una, lost).is_some()
}

#[test]
fn answers_lag_by_what_the_slowest_path_takes_longer() {
    let (mut s, paths) = open(3, 0);
    s.pick(0, 52, Class::Small, &DISPATCH, |_, _| true);
    let lags = |s: &Session<Path, ()>| [0, 1, 2, 3].map(|i| s.lag_us(0, i));
    assert_eq!(lags(&s), [0; 4]);
    for (path, rtt) in paths.iter().zip([2_000, 50_000, 10_000]) {
        path.0.rtt.set(rtt);
    }
    assert_eq!(lags(&s), [48_000, 0, 40_000, 50_000]);
    // The longer of the queue that is measured and the one that is thought of.
    paths[0].0.queue.set(20_000);
    assert_eq!(lags(&s), [28_000, 0, 40_000, 50_000]);
    paths[0].0.wait.set(Some(60_000));
    assert_eq!(lags(&s), [0, 12_000, 52_000, 62_000]);
    // Nobody waits for one that has failed.
    for poor in [Standing::Suspect, Standing::Down] {
        paths[0].0.standing.set(poor);
        assert_eq!(lags(&s)[1..], [0, 40_000, 50_000]);
    }
    // Nor for one that is kept in reserve.
    paths[0].0.standing.set(Standing::Good);
    paths[0].0.reserve.set(Some(Reserve::Backup));
    s.pick(0, 52, Class::Small, &DISPATCH, |_, _| true);
    assert_eq!(lags(&s)[1..], [0, 40_000, 50_000]);
}

#[test]
fn a_path_that_was_added_gets_a_slow_start() {
    for start in [1000, u32::MAX - 250, (1 << 31) - 250] {
        let at = |n: u32| start.wrapping_add(n);
        let (mut s, paths) = open(2, 0);
        // Once in each round trip.
        assert!(grows(&mut s, at(0), at(0), false));
        assert!(!grows(&mut s, at(100), at(0), false));
        assert!(!grows(&mut s, at(200), at(99), false));
        assert!(grows(&mut s, at(300), at(100), false));
        assert!(!grows(&mut s, at(400), at(399), false));
        // Until all have a queue, be it a thought one, if it is known how fast it becomes shorter.
        paths[0].0.queue.set(8_000);
        assert!(grows(&mut s, at(500), at(400), false));
        paths[1].0.wait.set(Some(8_000));
        assert!(grows(&mut s, at(600), at(600), false));
        paths[1].0.rate.set(1_000_000);
        assert!(!grows(&mut s, at(700), at(700), false));
        paths[1].0.wait.set(Some(0));
        assert!(!grows(&mut s, at(800), at(800), false), "it is over");
    }
}

#[test]
fn what_was_measured_long_ago_is_no_queue() {
    let (mut s, paths) = open(2, 0);
    for path in &paths {
        path.0.wait.set(Some(0));
        path.0.queue.set(20_000);
        path.0.measured_ago.set(13_000);
    }
    // Such as the last connection's.
    assert!(grows(&mut s, 0, 0, false));
    for path in &paths {
        path.0.measured_ago.set(12_000);
    }
    assert!(!grows(&mut s, 100, 100, false));
}

#[test]
fn the_window_grows_to_what_fills_all_paths() {
    let wanted = |s: &mut Session<Path, ()>| {
        s.pick(0, 100, Class::Stream(100), &EARLIEST, |_, _| true);
        s.may_grow(0, 100, 0, None)
    };
    // Nobody knows as long as one rate is unknown.
    let (mut s, paths) = open(2, 0);
    for (path, rtt) in paths.iter().zip([10_000, 92_000]) {
        path.0.rtt.set(rtt);
    }
    paths[0].0.rate.set(5_000_000);
    assert_eq!(wanted(&mut s), Some(0));
    // 7.5 MB/s for a round trip of the far one and a queue of 8 ms.
    let (mut s, paths) = open(2, 0);
    for (path, (rtt, rate)) in paths.iter().zip([(10_000, 5_000_000), (92_000, 2_500_000)]) {
        path.0.rtt.set(rtt);
        path.0.rate.set(rate);
    }
    assert_eq!(wanted(&mut s), Some(750_000));
    // It does not overflow.
    let (mut s, paths) = open(2, 0);
    for path in &paths {
        path.0.rtt.set(u32::MAX);
        path.0.rate.set(u32::MAX);
    }
    assert_eq!(wanted(&mut s), Some(u32::MAX));
}

#[test]
fn loss_ends_the_slow_start() {
    for early in [true, false] {
        let (mut s, _) = open(2, 0);
        if !early {
            assert!(grows(&mut s, 0, 0, false));
        }
        assert!(!grows(&mut s, 0, 0, true));
        assert!(!grows(&mut s, 100, 200, false));
    }
}

#[test]
fn loss_on_one_path_leaves_the_slow_start_to_the_others() {
    let (mut s, paths) = open(3, 0);
    assert!(grows(&mut s, 0, 0, false));
    // One loses something, one has a queue: the third is not filled yet.
    assert!(!grows_after(&mut s, 0, 0, Some(Some(1))));
    paths[0].0.queue.set(9_000);
    assert!(grows(&mut s, 100, 100, false));
    // A queue has to be there at the same time as the others'.
    paths[0].0.queue.set(0);
    paths[2].0.queue.set(9_000);
    assert!(grows(&mut s, 200, 200, false));
    paths[2].0.queue.set(0);
    assert!(!grows_after(&mut s, 200, 200, Some(Some(2))));
    assert!(grows(&mut s, 300, 300, false));
    paths[0].0.queue.set(9_000);
    assert!(!grows(&mut s, 400, 400, false), "all are");
}

#[test]
fn a_path_that_returns_gets_a_slow_start() {
    let (mut s, paths) = open(2, 0);
    assert!(!grows(&mut s, 0, 0, true));
    paths[1].0.standing.set(Standing::Doubtful);
    assert!(!grows(&mut s, 100, 100, false));
    paths[1].0.standing.set(Standing::Good);
    assert!(grows(&mut s, 200, 200, false));
    // Only paths that are in use have to be filled.
    paths[0].0.queue.set(9_000);
    paths[1].0.standing.set(Standing::Lossy);
    assert!(!grows(&mut s, 300, 300, false));
    // A session of one path has nothing to find out.
    let (mut s, _) = open(1, 0);
    assert!(!grows(&mut s, 0, 0, false));
}

/// Has the session notice what it can rely on.
fn look(s: &mut Session<Path, ()>) -> Option<(u32, u32)> {
    s.pick(0, 100, Class::Datagram, &EARLIEST, |_, _| true);
    s.take_shrink()
}

#[test]
fn the_window_shrinks_with_the_paths() {
    let (mut s, paths) = open(3, 0);
    assert_eq!(look(&mut s), None);
    // Nothing is known of the rates: by number.
    paths[2].0.standing.set(Standing::Suspect);
    assert_eq!((look(&mut s), look(&mut s)), (Some((2, 3)), None));
    // One that returns changes nothing.
    paths[2].0.standing.set(Standing::Good);
    assert_eq!(look(&mut s), None);
    for (path, rate) in paths.iter().zip([5_000_000, 3_000_000, 2_000_000]) {
        path.0.rate.set(rate);
    }
    paths[0].0.standing.set(Standing::Doubtful);
    assert_eq!(look(&mut s), Some((5_000, 10_000)));
    paths[1].0.standing.set(Standing::Doubtful);
    assert_eq!(look(&mut s), Some((2_000, 5_000)));
    // Both before TCP was told of the first.
    paths.iter().for_each(|p| p.0.standing.set(Standing::Good));
    assert_eq!(look(&mut s), None);
    let pick = |s: &mut Session<Path, ()>| s.pick(0, 100, Class::Small, &EARLIEST, |_, _| true);
    paths[0].0.standing.set(Standing::Doubtful);
    pick(&mut s);
    paths[1].0.standing.set(Standing::Doubtful);
    pick(&mut s);
    let (part, whole) = s.take_shrink().expect("a part of the window");
    assert!((part * 5).abs_diff(whole) < 10, "{part}/{whole}");
    // One goes and is there again before TCP was told.
    paths.iter().for_each(|p| p.0.standing.set(Standing::Good));
    assert_eq!(look(&mut s), None);
    paths[0].0.standing.set(Standing::Doubtful);
    pick(&mut s);
    paths[0].0.standing.set(Standing::Good);
    assert_eq!(look(&mut s), None);
    for path in &paths[..2] {
        path.0.standing.set(Standing::Doubtful);
    }
    look(&mut s);
    // None of the old ones is left: there is nothing to compare with.
    paths[0].0.standing.set(Standing::Good);
    paths[2].0.standing.set(Standing::Suspect);
    assert_eq!(look(&mut s), None);
    // One goes while another one returns.
    paths.iter().for_each(|p| p.0.standing.set(Standing::Good));
    assert_eq!(look(&mut s), None);
    paths[0].0.standing.set(Standing::Down);
    look(&mut s);
    paths[0].0.standing.set(Standing::Good);
    paths[1].0.standing.set(Standing::Down);
    assert_eq!(look(&mut s), Some((2_000, 5_000)));
    // One without a known rate among those that go.
    let (mut s, paths) = open(2, 0);
    look(&mut s);
    paths[0].0.rate.set(5_000_000);
    paths[1].0.standing.set(Standing::Suspect);
    assert_eq!(look(&mut s), Some((1, 2)));
}

#[test]
fn the_last_added_lane_goes_and_returns() {
    let (mut s, paths) = open(2, 0);
    for (path, rate) in paths.iter().zip([1_000_000, 3_000_000]) {
        path.0.rate.set(rate);
    }
    assert_eq!(look(&mut s), None);
    // Its slow start is over.
    assert!(!grows(&mut s, 0, 0, true));
    s.refuse(1, 0);
    assert_eq!(s.active_lanes(), 1);
    assert_eq!(look(&mut s), Some((1_000, 4_000)));
    assert_eq!(look(&mut s), None);
    assert!(!grows(&mut s, 100, 100, false));
    // Another one comes in its place.
    s.remove_lane(1);
    let added = s.add_lane(tuple(2), paths[1].clone(), RAW, 8, true, MAX_LANES, 0);
    assert_eq!(added, Some(1));
    assert!(s.on_lane_ack(1, 9, 8));
    assert_eq!(look(&mut s), None);
    assert!(grows(&mut s, 200, 200, false));
}

#[test]
fn there_is_room_while_one_queue_is_far_from_full() {
    let (mut s, paths) = open(2, 0);
    look(&mut s);
    for path in &paths {
        path.0.full.set(80_000);
    }
    for (waits, room) in [
        ([0, 0], true),
        ([59_999, 100_000], true),
        ([100_000, 59_999], true),
        ([60_000, 60_000], false),
    ] {
        paths
            .iter()
            .zip(waits)
            .for_each(|(p, us)| p.0.wait.set(Some(us)));
        assert_eq!(s.has_room(0), room, "{waits:?}");
    }
    // Only those that are used count.
    paths[1].0.wait.set(Some(0));
    assert!(s.has_room(0));
    paths[1].0.standing.set(Standing::Suspect);
    assert!(!s.has_room(0));
    // A short queue is no matter, however short the longest one was.
    paths[0].0.full.set(1_000);
    for (wait, room) in [(9_999, true), (10_000, false)] {
        paths[0].0.wait.set(Some(wait));
        assert_eq!(s.has_room(0), room);
    }
    // Nothing is known of it.
    paths[0].0.full.set(u32::MAX);
    paths[0].0.wait.set(Some(4_000_000));
    assert!(s.has_room(0));
}
