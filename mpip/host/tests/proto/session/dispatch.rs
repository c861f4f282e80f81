// SPDX-License-Identifier: GPL-2.0

//! Which lane a packet takes.

use super::*;
use crate::common::config;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn weights_start_from_what_is_known() {
    let (s, _) = open(4, 0);
    assert_eq!(
        [0, 1, 2, 3, 4].map(|i| s.weight(i)),
        [250, 250, 250, 250, 0]
    );
    let paths = [Path::default(), Path::default()];
    paths[0].learn(800);
    paths[1].learn(30);
    let mut s: Session<Path, ()> = Session::new(tuple(0), paths[0].clone(), true, 0);
    s.opened();
    s.add_lane(tuple(1), paths[1].clone(), RAW, 7, true, 8, 0);
    s.on_lane_ack(1, 9, 7);
    assert_eq!((s.weight(0), s.weight(1)), (800, 30));
}

#[test]
fn a_weight_that_was_set_counts_in_place_of_what_is_learnt() {
    let (mut s, paths) = open(3, 0);
    let weights = |s: &Session<Path, ()>| [0, 1, 2].map(|i| s.weight(i));
    assert_eq!(weights(&s), [333; 3]);
    // At once, before anything is learnt.
    paths[1].0.fixed.set(999);
    assert_eq!(weights(&s), [333, 999, 333]);
    let mut packets = [0u32; 3];
    for _ in 0..1665 {
        packets[s.pick(0, 1000, Class::Datagram, &DISPATCH, |_, _| true)] += 1;
    }
    assert!(packets[1].abs_diff(999) <= 3, "{packets:?}");
    // The others learn, also from its queue; it does not, nor is it kept for later sessions.
    paths[0].0.queue.set(50_000);
    paths[1].0.queue.set(90_000);
    for i in 1..=20 {
        s.pick(i * 100_000, 1000, Class::Datagram, &DISPATCH, |_, _| true);
    }
    assert_eq!(weights(&s), [133, 999, 533]);
    assert_eq!([0, 1, 2].map(|i: usize| paths[i].weight()), [133, 0, 533]);
    // What it had learnt before is still known, and it goes on from there.
    paths[1].0.fixed.set(0);
    assert_eq!(weights(&s), [133, 333, 533]);
    s.pick(2_100_000, 1000, Class::Datagram, &DISPATCH, |_, _| true);
    assert_eq!(weights(&s), [123, 323, 543]);
    // A lane that is not active has none.
    paths[1].0.fixed.set(500);
    s.refuse(1, 2_200_000);
    assert_eq!(s.weight(1), 0);
}

/// The lanes that ten full packets of a class take.
fn taken(s: &mut Session<Path, ()>, now: u32, class: Class) -> BTreeSet<usize> {
    (0..10)
        .map(|_| s.pick(now, 1000, class, &DISPATCH, |_, _| true))
        .collect()
}

#[test]
fn small_packets_take_the_quickest_path() {
    let (mut s, paths) = open(3, 0);
    // The offset of the clocks is in all of them, and may wrap.
    for offset in [0, i32::MAX - 15] {
        for (path, delay) in paths.iter().zip([30, 10, 20]) {
            path.0.delay.set(Some(offset.wrapping_add(delay)));
        }
        let mut pick = |fits: usize| s.pick(0, 52, Class::Small, &DISPATCH, |i, _| i != fits);
        assert_eq!((pick(9), pick(1)), (1, 2));
        for poor in [Standing::Doubtful, Standing::Suspect, Standing::Down] {
            paths[1].0.standing.set(poor);
            assert_eq!(pick(9), 2);
        }
        paths[1].0.standing.set(Standing::Good);
    }
    // One that nothing is known of is not preferred; without any, the weights decide.
    paths[1].0.delay.set(None);
    assert_eq!(taken(&mut s, 0, Class::Small), [2].into());
    paths.iter().for_each(|p| p.0.delay.set(None));
    assert_eq!(taken(&mut s, 0, Class::Small), [0, 1, 2].into());
}

#[test]
fn what_was_lost_keeps_off_paths_that_are_overdue() {
    let now = 1_000_000;
    let (mut s, paths) = open(3, now);
    assert_eq!(taken(&mut s, now, Class::Again(0)), [0, 1, 2].into());
    // Little lateness is no matter.
    paths[1].0.silent.set(1_500);
    assert_eq!(taken(&mut s, now, Class::Again(0)), [0, 1, 2].into());
    paths[1].0.silent.set(2_500);
    assert_eq!(taken(&mut s, now, Class::Again(0)), [0, 2].into());
    // Data goes by weight all the same.
    assert_eq!(taken(&mut s, now, Class::Datagram), [0, 1, 2].into());
    // If all are late, the least.
    paths[0].0.silent.set(70_000);
    paths[2].0.silent.set(40_000);
    assert_eq!(taken(&mut s, now, Class::Again(0)), [1].into());
    // And of those that are not late one on which it was not lost, if there is one.
    for path in &paths {
        path.0.silent.set(0);
    }
    assert_eq!(taken(&mut s, now, Class::Again(0b001)), [1, 2].into());
    assert_eq!(taken(&mut s, now, Class::Again(0b110)), [0].into());
    assert_eq!(taken(&mut s, now, Class::Again(0b111)), [0, 1, 2].into());
    paths[2].0.silent.set(40_000);
    assert_eq!(taken(&mut s, now, Class::Again(0b001)), [1].into());
    assert_eq!(taken(&mut s, now, Class::Again(0b011)), [0, 1].into());
    paths[0].0.silent.set(70_000);
    // What is doubtful comes last, be it late or not.
    paths[1].0.standing.set(Standing::Doubtful);
    assert_eq!(taken(&mut s, now, Class::Again(0)), [2].into());
}

#[test]
fn only_the_best_paths_are_used() {
    use Standing::*;
    assert!(Down < Suspect && Suspect < Doubtful && Doubtful < Lossy && Lossy < Good);
    for (standings, best, lanes) in [
        ([Good, Good, Good], Good, &[0, 1, 2][..]),
        ([Good, Doubtful, Good], Good, &[0, 2]),
        ([Doubtful, Doubtful, Good], Good, &[2]),
        ([Lossy, Good, Lossy], Good, &[1]),
        ([Lossy, Doubtful, Lossy], Lossy, &[0, 2]),
        ([Doubtful, Suspect, Doubtful], Doubtful, &[0, 2]),
        ([Down, Doubtful, Suspect], Doubtful, &[1]),
        ([Suspect, Suspect, Suspect], Suspect, &[0, 1, 2]),
        ([Down, Suspect, Suspect], Suspect, &[1, 2]),
        ([Down, Down, Suspect], Suspect, &[2]),
        // The original one, for want of a better.
        ([Down, Down, Down], Down, &[0]),
    ] {
        let (mut s, paths) = open(3, 0);
        for (i, (path, standing)) in paths.iter().zip(standings).enumerate() {
            path.0.standing.set(standing);
            path.0.silent.set(300_000 - 100_000 * i as u32);
        }
        let lanes: BTreeSet<usize> = lanes.iter().copied().collect();
        assert_eq!(s.best_standing(), best, "{standings:?}");
        assert_eq!(taken(&mut s, 0, Class::Datagram), lanes, "{standings:?}");
        // The one that is least overdue; nothing is known of the delays.
        let last = *lanes.last().unwrap();
        assert_eq!(taken(&mut s, 500_000, Class::Again(0)), [last].into());
        assert_eq!(taken(&mut s, 0, Class::Small), lanes, "{standings:?}");
    }
}

#[test]
fn lanes_that_carry_nothing_do_not_count() {
    let (mut s, paths) = open(2, 0);
    let pending = Path::default();
    s.add_lane(tuple(9), pending.clone(), RAW, 7, true, MAX_LANES, 0);
    paths[0].0.standing.set(Standing::Suspect);
    paths[1].0.standing.set(Standing::Doubtful);
    assert_eq!(s.best_standing(), Standing::Doubtful);
    assert_eq!(taken(&mut s, 0, Class::Datagram), [1].into());
    s.refuse(1, 0);
    assert_eq!(s.best_standing(), Standing::Suspect);
    assert_eq!(taken(&mut s, 0, Class::Datagram), [0].into());
    assert!(s.on_lane_ack(2, 9, 7));
    assert_eq!(s.best_standing(), Standing::Good);
    assert_eq!(taken(&mut s, 0, Class::Datagram), [2].into());
}

#[test]
fn what_fits_only_a_lesser_path_takes_it() {
    use Standing::*;
    for (standings, chosen) in [
        ([Good, Good, Lossy], 2),
        ([Good, Good, Suspect], 2),
        ([Down, Good, Lossy], 2),
        ([Lossy, Good, Down], 0),
    ] {
        let (mut s, paths) = open(3, 0);
        for (path, standing) in paths.iter().zip(standings) {
            path.0.standing.set(standing);
        }
        for dispatch in [&DISPATCH, &EARLIEST] {
            let lane = s.pick(0, 1400, Class::Datagram, dispatch, |i, _| i == 2);
            assert_eq!(lane, chosen, "{standings:?}");
        }
    }
}

#[test]
fn a_lane_in_doubt_is_a_last_resort() {
    let (mut s, paths) = open(3, 0);
    let later = 10_000_000;
    assert!(s.renew(1, false, 77, later));
    assert!(!s.renew(1, false, 78, later), "it is asked for already");
    assert!(
        !s.renew(0, false, 78, later),
        "the original one is never asked for"
    );
    assert_eq!(taken(&mut s, later, Class::Datagram), [0, 2].into());
    assert_eq!(s.best_added(), Some(2));
    paths[0].0.standing.set(Standing::Down);
    paths[2].0.standing.set(Standing::Down);
    assert_eq!(s.best_standing(), Standing::Suspect);
    assert_eq!(taken(&mut s, later, Class::Datagram), [1].into());
    // It is as good as silent; that of another one is.
    paths[0].0.standing.set(Standing::Suspect);
    assert_eq!(taken(&mut s, later, Class::Datagram), [1].into());
    assert!(s.on_lane_ack(1, 9, 77));
    assert_eq!(s.best_standing(), Standing::Good);
    // One that was called unwanted comes last of all.
    let later = later + 10_000_000;
    assert!(s.renew(1, true, 79, later));
    assert_eq!(taken(&mut s, later, Class::Datagram), [0].into());
}

const STANDINGS: [Standing; 5] = [
    Standing::Down,
    Standing::Suspect,
    Standing::Doubtful,
    Standing::Lossy,
    Standing::Good,
];

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn pick_is_sound(
        n in 1..=MAX_LANES,
        steps in prop::collection::vec(any::<(u8, u32, u16)>(), 1..200),
        class in prop::sample::select(vec![Class::Datagram, Class::Small, Class::Again(0)]),
    ) {
        let (mut s, paths) = open(n, 0);
        let mut now = 0u32;
        for (which, value, len) in steps {
            let path = &paths[usize::from(which) % n];
            match which / 51 {
                0 => path.0.standing.set(STANDINGS[value as usize % 5]),
                1 => path.0.queue.set(value),
                2 => path.0.delay.set(Some(value as i32 >> 1)),
                3 => path.0.silent.set(value >> 4),
                _ => now = now.wrapping_add(value >> 8),
            }
            let unfit = usize::from(which / 7) % (n + 1);
            let chosen = s.pick(now, u32::from(len), class, &DISPATCH, |i, _| i != unfit);
            prop_assert!(chosen < n);
            let best = paths.iter().map(|p| p.standing()).max().unwrap();
            prop_assert_eq!(s.best_standing(), best);
            // What does not fit one takes another, of those that can be relied on less if need be.
            let fit = (0..n).filter(|i| *i != unfit).map(|i| paths[i].standing());
            let best = fit.max().unwrap_or(Standing::Down);
            let fine = |i: usize| {
                best > Standing::Down && paths[i].standing() == best && i != unfit
            };
            // The original one is the last resort.
            prop_assert!(fine(chosen) || chosen == 0 && !(0..n).any(fine) || n == 1);
            let others = || (0..n).filter(|i| n > 1 && fine(chosen) && fine(*i));
            match class {
                Class::Datagram | Class::Stream(_) => {}
                Class::Small => {
                    let delay = |i: usize| paths[i].delay_us();
                    let quickest = others().filter_map(delay).min();
                    prop_assert!(quickest.is_none() || delay(chosen) == quickest);
                }
                Class::Again(_) => {
                    let silent = |i: usize| paths[i].silent_us(now);
                    prop_assert!(others().all(|i| silent(chosen) <= silent(i)));
                }
            }
            for i in 0..n {
                prop_assert!(n == 1 || (1..=1000).contains(&s.weight(i)));
            }
        }
    }

    #[test]
    fn bytes_follow_the_weights(weights in prop::collection::vec(1..=1000u16, 2..=8)) {
        let paths: Vec<_> = weights.iter().map(|_| Path::default()).collect();
        for (path, weight) in paths.iter().zip(&weights) {
            path.learn(*weight);
        }
        let mut s: Session<Path, ()> = Session::new(tuple(0), paths[0].clone(), true, 0);
        s.opened();
        for (i, path) in paths.iter().enumerate().skip(1) {
            s.add_lane(tuple(i as u8), path.clone(), RAW, 7, true, 8, 0);
            s.on_lane_ack(i, 9, 7);
        }
        let mut bytes = vec![0u64; weights.len()];
        for i in 0..20_000u32 {
            // No time passes: the weights stay.
            let len = 200 + i * 7919 % 1300;
            bytes[s.pick(0, len, Class::Datagram, &DISPATCH, |_, _| true)] += u64::from(len);
        }
        let (all, sum) = (bytes.iter().sum::<u64>() as f64, weights.iter().map(|w| u32::from(*w)).sum::<u32>());
        for (bytes, weight) in bytes.iter().zip(&weights) {
            let share = all * f64::from(*weight) / f64::from(sum);
            prop_assert!((*bytes as f64 - share).abs() < 20_000.0, "{bytes} instead of {share}");
        }
    }
}

/// The bytes that each lane gets of a hundred packets of a class.
fn shared(s: &mut Session<Path, ()>, paths: &[Path], class: Class) -> Vec<u64> {
    paths.iter().for_each(|p| p.0.sent.set(0));
    let mut bytes = vec![0; paths.len()];
    for _ in 0..100 {
        bytes[s.pick(0, 1000, class, &EARLIEST, |_, _| true)] += 1000;
    }
    // The path that was chosen is told.
    assert!(paths
        .iter()
        .map(|p| p.0.sent.get())
        .eq(bytes.iter().copied()));
    bytes
}

const CLASSES: [Class; 4] = [
    Class::Datagram,
    Class::Stream(1000),
    Class::Small,
    Class::Again(0),
];

#[test]
fn the_earliest_path_takes_it() {
    // The clocks' offset is in all delays, and may wrap.
    for offset in [0, i32::MAX - 15_000] {
        let (mut s, paths) = open(3, 0);
        for (path, delay) in paths.iter().zip([18_000, 10_000, 14_000]) {
            path.0.delay.set(Some(offset.wrapping_add(delay)));
            path.0.rate.set(1_000_000);
        }
        for class in CLASSES {
            for (queues, bytes) in [
                ([0, 0, 0], [0, 100_000, 0]),
                ([0, 1_000, 0], [0, 100_000, 0]),
                ([0, 7_000, 0], [0, 0, 100_000]),
            ] {
                paths
                    .iter()
                    .zip(queues)
                    .for_each(|(p, us)| p.0.queue.set(us));
                assert_eq!(shared(&mut s, &paths, class), bytes, "{class:?}");
            }
        }
        // Nearer than the rest, but in doubt.
        paths[1].0.queue.set(0);
        paths[1].0.standing.set(Standing::Lossy);
        for class in CLASSES {
            assert_eq!(shared(&mut s, &paths, class), [0, 0, 100_000]);
        }
        paths[1].0.standing.set(Standing::Good);
        // Much is lost there: 20 ms.
        paths[1].0.loss.set(1024 * 2);
        assert_eq!(shared(&mut s, &paths, Class::Datagram), [0, 0, 100_000]);
    }
}

#[test]
fn equally_early_paths_share_by_what_they_carry() {
    let near = |bytes: &[u64], all: [u64; 3]| {
        let mut pairs = bytes.iter().zip(all);
        pairs.all(|(b, all)| b.abs_diff(all) < 3_000)
    };
    let (mut s, paths) = open(3, 0);
    for (path, rate) in paths.iter().zip([3_000_000, 1_000_000, 6_000_000]) {
        path.0.delay.set(Some(5_000));
        path.0.rate.set(rate);
    }
    for class in [Class::Datagram, Class::Stream(1000)] {
        let bytes = shared(&mut s, &paths, class);
        assert!(near(&bytes, [42_857, 14_286, 42_857]), "{bytes:?}");
    }
    // What is urgent does not wait for its turn: the link that is quickest.
    for class in [Class::Small, Class::Again(0)] {
        assert_eq!(shared(&mut s, &paths, class), [0, 0, 100_000]);
    }
    // Two are as early, one is not.
    paths[1].0.queue.set(5_000);
    let bytes = shared(&mut s, &paths, Class::Datagram);
    assert!(near(&bytes, [50_000, 0, 50_000]), "{bytes:?}");
    paths[1].0.queue.set(0);
    // One rate is not known: as good as the best.
    paths[2].0.rate.set(0);
    let bytes = shared(&mut s, &paths, Class::Datagram);
    assert!(near(&bytes, [37_500, 25_000, 37_500]), "{bytes:?}");
    // None is.
    paths.iter().for_each(|p| p.0.rate.set(0));
    let bytes = shared(&mut s, &paths, Class::Datagram);
    assert!(near(&bytes, [33_333; 3]), "{bytes:?}");
}

#[test]
fn a_rate_that_is_unknown_is_taken_for_more_than_the_others() {
    let (mut s, paths) = open(3, 0);
    for path in &paths {
        path.0.delay.set(Some(5_000));
    }
    // The last takes turns with the others, and has no queue.
    for (rates, assumed) in [
        ([0, 0, 0], 0),
        ([2_000_000, 0, 0], 4_000_000),
        ([2_000_000, 3_000_000, 0], 6_000_000),
        ([2_000_000, u32::MAX / 4 * 3, 0], u32::MAX),
        ([2_000_000, 3_000_000, 1_000_000], 0),
    ] {
        paths.iter().zip(rates).for_each(|(p, r)| p.0.rate.set(r));
        shared(&mut s, &paths, Class::Datagram);
        assert_eq!(paths[2].0.assumed.get(), assumed, "{rates:?}");
    }
    // One that is not to be used says nothing.
    paths
        .iter()
        .zip([2_000_000, 3_000_000, 0])
        .for_each(|(p, r)| p.0.rate.set(r));
    paths[1].0.standing.set(Standing::Suspect);
    shared(&mut s, &paths, Class::Datagram);
    assert_eq!(paths[2].0.assumed.get(), 4_000_000);
}

#[test]
fn a_slow_link_takes_small_packets_only() {
    let (mut s, paths) = open(2, 0);
    for (path, rate) in paths.iter().zip([200_000, 10_000_000]) {
        path.0.delay.set(Some(5_000));
        path.0.rate.set(rate);
    }
    // 5 ms for 1000 bytes, and 0.1 ms.
    for class in CLASSES {
        assert_eq!(shared(&mut s, &paths, class), [0, 100_000]);
    }
    let mut pick = |len| {
        let pick = |_| s.pick(0, len, Class::Datagram, &EARLIEST, |_, _| true);
        (0..102).map(pick).filter(|lane| *lane == 0).count()
    };
    // The difference is 4.9 us for each byte: 2 ms are 408 bytes. It gets one of 26.
    assert_eq!((pick(40), pick(408), pick(409)), (4, 4, 0));
    // It is near enough to be worth it.
    paths[1].0.delay.set(Some(8_000));
    let bytes = shared(&mut s, &paths, Class::Datagram);
    assert_eq!(bytes, [4_000, 96_000]);
    // What a link needs is not known.
    paths[1].0.delay.set(Some(5_000));
    paths[0].0.rate.set(0);
    let bytes = shared(&mut s, &paths, Class::Datagram);
    assert_eq!(bytes, [50_000, 50_000]);
}

#[test]
fn paths_that_were_never_measured_wait() {
    let (mut s, paths) = open(3, 0);
    // None was: the first one.
    for class in CLASSES {
        assert_eq!(shared(&mut s, &paths, class), [100_000, 0, 0]);
        paths[0].0.standing.set(Standing::Suspect);
        assert_eq!(shared(&mut s, &paths, class), [0, 100_000, 0]);
        paths[0].0.standing.set(Standing::Good);
    }
    // One was.
    paths[2].0.delay.set(Some(500_000));
    for class in CLASSES {
        assert_eq!(shared(&mut s, &paths, class), [0, 0, 100_000]);
    }
}

#[test]
fn a_stream_that_has_enough_in_flight_for_all_goes_far() {
    let (mut s, paths) = open(2, 0);
    for (path, delay) in paths.iter().zip([5_000, 105_000]) {
        path.0.delay.set(Some(delay));
        path.0.rate.set(1_000_000);
        path.0.rtt.set(2 * delay as u32);
    }
    paths[0].0.queue.set(20_000);
    // 10 ms, 100 ms and 1 ms for the packet, at 2 MB/s.
    assert_eq!(shared(&mut s, &paths, Class::Stream(221_999)), [100_000, 0]);
    assert_eq!(shared(&mut s, &paths, Class::Stream(222_000)), [0, 100_000]);
    for class in [Class::Small, Class::Again(0)] {
        assert_eq!(shared(&mut s, &paths, class), [100_000, 0]);
    }
}

#[test]
fn earliest_tries_the_next_one_that_fits() {
    let (mut s, paths) = open(4, 0);
    for (path, delay) in paths.iter().zip([12_000, 4_000, 8_000, 1_000]) {
        path.0.delay.set(Some(delay));
    }
    let mut pick = |unfit: &[usize]| {
        let fits = |i: usize, _: &mut _| !unfit.contains(&i);
        s.pick(0, 1000, Class::Datagram, &EARLIEST, fits)
    };
    assert_eq!((pick(&[]), pick(&[3]), pick(&[1, 3])), (3, 1, 2));
    // The original one is the last resort, whether it fits or not.
    assert_eq!(pick(&[0, 1, 2, 3]), 0);
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn earliest_is_sound(
        n in 1..=MAX_LANES,
        steps in prop::collection::vec(any::<(u8, u32, u16, u8)>(), 1..200),
    ) {
        let (mut s, paths) = open(n, 0);
        let mut now = 0u32;
        for (which, value, len, class) in steps {
            let path = &paths[usize::from(which) % n];
            match which / 32 {
                0 => path.0.standing.set(STANDINGS[value as usize % 5]),
                1 => path.0.wait.set(Some(value)),
                2 => path.0.delay.set(Some(value as i32)),
                3 => path.0.silent.set(value >> 4),
                4 => path.0.rate.set(value),
                5 => path.0.loss.set(value % 1025),
                6 => path.0.rtt.set(value),
                _ => now = now.wrapping_add(value >> 8),
            }
            let class = match CLASSES[usize::from(class) % 4] {
                Class::Stream(_) => Class::Stream(value.rotate_left(7)),
                class => class,
            };
            let unfit = usize::from(which / 7) % (n + 1);
            let before: u64 = paths.iter().map(|p| p.0.sent.get()).sum();
            let chosen = s.pick(now, u32::from(len), class, &EARLIEST, |i, _| i != unfit);
            prop_assert!(chosen < n);
            // What does not fit one takes another, of those that can be relied on less if need be.
            let fit = (0..n).filter(|i| *i != unfit).map(|i| paths[i].standing());
            let best = fit.max().unwrap_or(Standing::Down);
            let fine = |i: usize| {
                best > Standing::Down && paths[i].standing() == best && i != unfit
            };
            prop_assert!(fine(chosen) || chosen == 0 && !(0..n).any(fine) || n == 1);
            // It counts for nobody else, and once.
            let after: u64 = paths.iter().map(|p| p.0.sent.get()).sum();
            prop_assert!(after - before == u64::from(len) || after == before);
            if class == Class::Again(0) && n > 1 && fine(chosen) {
                let silent = |i: usize| paths[i].silent_us(now);
                let most = silent(chosen).saturating_sub(2_000);
                prop_assert!((0..n).filter(|i| fine(*i)).all(|i| most <= silent(i)));
            }
            if let Some((part, whole)) = s.take_shrink() {
                prop_assert!(part <= whole);
            }
            let lane = Some(usize::from(which)).filter(|lane| *lane < MAX_LANES);
            let lost = (which % 5 == 0).then_some(lane);
            s.may_grow(now, value, value.wrapping_sub(u32::from(len)), lost);
            s.has_room(now);
        }
    }
}
