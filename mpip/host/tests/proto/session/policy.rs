// SPDX-License-Identifier: GPL-2.0

//! What rules do to the choice of lanes.

use super::*;
use crate::common::config;
use mpip_host::proto::interface::Reserve;
use mpip_host::proto::policy::Interfaces;
use mpip_host::proto::policy::Limits;
use mpip_host::proto::policy::Mode;
use mpip_host::proto::policy::Priority;
use mpip_host::proto::session::Unused;
use proptest::prelude::*;
use std::collections::BTreeSet;

const MS: i32 = 1000;

fn treated(treatment: Treatment) -> Dispatch {
    Dispatch {
        treatment,
        scheduler: Scheduler::Earliest,
        ..DISPATCH
    }
}

fn mode(mode: Mode) -> Treatment {
    Treatment {
        mode,
        ..Treatment::PLAIN
    }
}

fn selected(limits: Limits) -> Treatment {
    Treatment {
        limits,
        ..mode(Mode::Selected)
    }
}

/// An open session whose paths have these one-way delays, milliseconds, and an offset in them.
fn measured(delays: &[i32]) -> (Session<Path, ()>, Vec<Path>) {
    let (s, paths) = open(delays.len(), 0);
    for (i, (path, delay)) in paths.iter().zip(delays).enumerate() {
        set(path, *delay);
        path.0.rtt.set(20_000 * (i as u32 + 1));
        path.0.ifindex.set(i as u32 + 2);
    }
    (s, paths)
}

fn set(path: &Path, delay: i32) {
    path.0
        .delay
        .set(Some((i32::MAX - 20 * MS).wrapping_add(delay * MS)));
}

/// The lanes that twenty packets take.
fn taken(
    s: &mut Session<Path, ()>,
    now: u32,
    class: Class,
    dispatch: &Dispatch,
) -> BTreeSet<usize> {
    (0..20)
        .map(|_| s.pick(now, 1000, class, dispatch, |_, _| true))
        .collect()
}

#[test]
fn latency_takes_the_quickest_for_everything() {
    let (mut s, paths) = measured(&[80, 50, 51]);
    let plain = treated(Treatment::PLAIN);
    let urgent = treated(Treatment {
        priority: Priority::Latency,
        ..Treatment::PLAIN
    });
    let weighted = Dispatch {
        scheduler: Scheduler::Weighted,
        ..urgent
    };
    for class in [Class::Datagram, Class::Stream(1 << 24), Class::Small] {
        assert_eq!(taken(&mut s, 0, class, &urgent), [1].into(), "{class:?}");
        assert_eq!(taken(&mut s, 0, class, &weighted), [1].into(), "{class:?}");
    }
    assert!(taken(&mut s, 0, Class::Datagram, &plain).len() > 1);
    // The queue counts.
    paths[1].0.wait.set(Some(10_000));
    assert_eq!(taken(&mut s, 0, Class::Datagram, &urgent), [2].into());
    paths[2].0.standing.set(Standing::Suspect);
    paths[1].0.standing.set(Standing::Suspect);
    assert_eq!(taken(&mut s, 0, Class::Datagram, &urgent), [0].into());
}

#[test]
fn others_make_way_when_the_scheduler_goes_by_weight() {
    let by_weight = |treatment| Dispatch {
        scheduler: Scheduler::Weighted,
        ..treated(treatment)
    };
    let plain = by_weight(Treatment::PLAIN);
    let urgent = by_weight(Treatment {
        priority: Priority::Latency,
        ..Treatment::PLAIN
    });
    let (mut s, paths) = measured(&[80, 50]);
    paths[1].0.wait.set(Some(5_000));
    for class in [Class::Datagram, Class::Stream(1 << 24), Class::Again(0)] {
        assert_eq!(taken(&mut s, 0, class, &plain), [0, 1].into(), "{class:?}");
    }
    assert_eq!(taken(&mut s, 0, Class::Datagram, &urgent), [1].into());
    for class in [Class::Datagram, Class::Stream(1 << 24)] {
        assert_eq!(taken(&mut s, 0, class, &plain), [0].into(), "{class:?}");
    }
    // What is sent again is in no less of a hurry.
    let again = taken(&mut s, 0, Class::Again(0), &plain);
    assert_eq!(again, [0, 1].into());
    // Next to no queue disturbs nobody.
    paths[1].0.wait.set(Some(1_000));
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [0, 1].into());
    // Where others are far longer, datagrams would be lost; TCP can slow down.
    paths[1].0.wait.set(Some(5_000));
    paths[0].0.wait.set(Some(40_000));
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [1, 0].into());
    let stream = taken(&mut s, 0, Class::Stream(1 << 24), &plain);
    assert_eq!(stream, [0].into());
    // With something urgent everywhere it is as if it were nowhere.
    paths[0].0.urgent.set(true);
    let stream = taken(&mut s, 0, Class::Stream(1 << 24), &plain);
    assert_eq!(stream, [0, 1].into());
}

#[test]
fn others_make_way_for_latency_on_the_nearest_path() {
    let (mut s, paths) = measured(&[80, 50]);
    let plain = treated(Treatment::PLAIN);
    let urgent = treated(Treatment {
        priority: Priority::Latency,
        ..Treatment::PLAIN
    });
    let by_protection = treated(mode(Mode::Protected));
    paths[1].0.wait.set(Some(5_000));
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [1].into());
    // Copies are sent everywhere, and ask nobody to make way.
    assert_eq!(
        taken(&mut s, 0, Class::Datagram, &by_protection),
        [1].into()
    );
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [1].into());
    assert_eq!(taken(&mut s, 0, Class::Datagram, &urgent), [1].into());
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [0].into());
    // What the nearest path's queue sends elsewhere is a guest there.
    paths[1].0.wait.set(Some(50_000));
    assert_eq!(taken(&mut s, 0, Class::Datagram, &urgent), [0].into());
    assert!(paths[1].0.urgent.get() && !paths[0].0.urgent.get());
    paths[0].0.wait.set(Some(5_000));
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [0].into());
}

#[test]
fn never_is_the_original_lane_whatever_it_is_like() {
    let (mut s, paths) = measured(&[80, 50]);
    let never = treated(mode(Mode::Never));
    assert_eq!(taken(&mut s, 0, Class::Datagram, &never), [0].into());
    paths[0].0.standing.set(Standing::Suspect);
    assert_eq!(taken(&mut s, 0, Class::Stream(9), &never), [0].into());
    assert_eq!(s.why_unused(0, 1, &never.treatment), Some(Unused::Never));
    assert_eq!(s.why_unused(0, 0, &never.treatment), None);
}

#[test]
fn single_takes_the_nearest_and_stays() {
    let (mut s, paths) = measured(&[30, 20, 24]);
    let single = treated(mode(Mode::Single));
    let pick = |s: &mut Session<Path, ()>, now| taken(s, now, Class::Datagram, &single);
    // It begins on the original lane and moves when another one has been better for a while.
    assert_eq!(pick(&mut s, 0), [0].into());
    assert_eq!(pick(&mut s, 480_000), [0].into());
    assert_eq!(pick(&mut s, 520_000), [1].into());
    assert_eq!(
        s.why_unused(520_000, 2, &single.treatment),
        Some(Unused::NotChosen)
    );
    // A little nearer is not worth it, nor for a moment.
    set(&paths[2], 16);
    assert_eq!(pick(&mut s, 2_000_000), [1].into());
    assert_eq!(pick(&mut s, 3_000_000), [1].into());
    set(&paths[2], 10);
    assert_eq!(pick(&mut s, 3_100_000), [1].into());
    set(&paths[2], 24);
    assert_eq!(pick(&mut s, 3_700_000), [1].into());
    set(&paths[2], 10);
    assert_eq!(pick(&mut s, 3_800_000), [1].into());
    assert_eq!(pick(&mut s, 4_330_000), [2].into());
    // When it fails another takes over at once, and back only when that is worth it.
    paths[2].0.standing.set(Standing::Doubtful);
    assert_eq!(pick(&mut s, 4_330_001), [1].into());
    paths[1].0.standing.set(Standing::Suspect);
    assert_eq!(pick(&mut s, 4_330_002), [0].into());
    for path in &paths {
        path.0.standing.set(Standing::Good);
    }
    assert_eq!(pick(&mut s, 4_330_003), [0].into());
    assert_eq!(pick(&mut s, 4_850_003), [2].into());
    // All data is there, so TCP's window is left as it is.
    assert_eq!(s.take_shrink(), None);
}

#[test]
fn single_with_times_of_another_cpu() {
    let (mut s, _paths) = measured(&[30, 20]);
    let single = treated(mode(Mode::Single));
    // A path has just become better, and the next packet's clock was read a moment before.
    for now in [1 << 20, (1 << 20) - 1, 200_000, 1 << 20] {
        assert_eq!(taken(&mut s, now, Class::Datagram, &single), [0].into());
    }
}

#[test]
fn single_without_measures() {
    let (mut s, paths) = open(3, 0);
    let single = treated(mode(Mode::Single));
    assert_eq!(taken(&mut s, 0, Class::Datagram, &single), [0].into());
    paths[0].0.standing.set(Standing::Down);
    assert_eq!(taken(&mut s, 0, Class::Datagram, &single), [1].into());
    set(&paths[2], 10);
    assert_eq!(taken(&mut s, 0, Class::Datagram, &single), [1].into());
    assert_eq!(taken(&mut s, 520_000, Class::Datagram, &single), [2].into());
}

#[test]
fn limits_of_delay_have_an_edge() {
    let (mut s, paths) = measured(&[0, 40, 10]);
    // Half of the nearest path's round trip of 20 ms, and what the others are behind.
    let limits = selected(Limits {
        delay_us: 60_000,
        ..Limits::NONE
    });
    let picks = |s: &mut Session<Path, ()>| s.lanes_for(0, &limits);
    assert_eq!(picks(&mut s), 0b111);
    set(&paths[1], 50);
    assert_eq!(picks(&mut s), 0b111);
    set(&paths[1], 51);
    assert_eq!(picks(&mut s), 0b101);
    assert_eq!(s.why_unused(0, 1, &limits), Some(Unused::Limits));
    // It comes back when it is better by a quarter.
    set(&paths[1], 36);
    assert_eq!(picks(&mut s), 0b101);
    set(&paths[1], 35);
    assert_eq!(picks(&mut s), 0b111);
    // Nothing is known of it: it has to wait.
    paths[1].0.delay.set(None);
    assert_eq!(picks(&mut s), 0b101);
    let tight = selected(Limits {
        delay_us: 5_000,
        ..Limits::NONE
    });
    // None keeps to it: the quickest.
    assert_eq!(s.lanes_for(0, &tight), 0b001);
    set(&paths[0], 20);
    assert_eq!(s.lanes_for(0, &tight), 0b100);
}

#[test]
fn limits_of_loss_and_rate() {
    let (mut s, paths) = measured(&[10, 10, 10]);
    let limits = selected(Limits {
        loss: 50,
        rate: 1000,
        ..Limits::NONE
    });
    paths[1].0.loss.set(53);
    assert_eq!(s.lanes_for(0, &limits), 0b101);
    paths[1].0.loss.set(45);
    assert_eq!(s.lanes_for(0, &limits), 0b101);
    paths[1].0.loss.set(38);
    assert_eq!(s.lanes_for(0, &limits), 0b111);
    paths[2].0.rate.set(999);
    assert_eq!(s.lanes_for(0, &limits), 0b011);
    paths[2].0.rate.set(1249);
    assert_eq!(s.lanes_for(0, &limits), 0b011);
    paths[2].0.rate.set(1250);
    assert_eq!(s.lanes_for(0, &limits), 0b111);
}

#[test]
fn interfaces_are_kept_to_while_one_works() {
    let (mut s, paths) = measured(&[10, 20, 30]);
    let by = |list: &[u32]| {
        let mut all = [0; 8];
        all[..list.len()].copy_from_slice(list);
        Treatment {
            interfaces: Interfaces(all),
            ..Treatment::PLAIN
        }
    };
    assert_eq!(s.lanes_for(0, &by(&[3])), 0b010);
    assert_eq!(s.why_unused(0, 0, &by(&[3])), Some(Unused::Interface));
    assert_eq!(s.lanes_for(0, &by(&[3, 4])), 0b110);
    // One that is no more, or has no lane, makes no session stand still.
    assert_eq!(s.lanes_for(0, &by(&[77])), 0b111);
    for poor in [Standing::Suspect, Standing::Down] {
        paths[1].0.standing.set(poor);
        assert_eq!(s.lanes_for(0, &by(&[3])), 0b101);
        assert_eq!(s.lanes_for(0, &by(&[3, 4])), 0b100);
    }
    paths[1].0.standing.set(Standing::Doubtful);
    assert_eq!(s.lanes_for(0, &by(&[3])), 0b010);
    assert_eq!(
        s.why_unused(0, 1, &Treatment::PLAIN),
        Some(Unused::Unreliable)
    );
    // With a mode as well.
    let single = Treatment {
        mode: Mode::Single,
        ..by(&[3, 4])
    };
    paths[1].0.standing.set(Standing::Good);
    assert_eq!(s.lanes_for(0, &single), 0b010);
}

#[test]
fn copies_go_wherever_somebody_answers() {
    let (mut s, paths) = measured(&[30, 10, 20, 40]);
    let protected = mode(Mode::Protected);
    let dispatch = treated(protected);
    // The packet itself takes the quickest.
    assert_eq!(taken(&mut s, 0, Class::Stream(1), &dispatch), [1].into());
    assert_eq!(s.copies(0, 0b0010, &protected), 0b1101);
    paths[0].0.standing.set(Standing::Lossy);
    paths[2].0.standing.set(Standing::Suspect);
    paths[2].0.silent.set(1_999_999);
    paths[3].0.standing.set(Standing::Doubtful);
    assert_eq!(s.copies(0, 0b0010, &protected), 0b1101);
    paths[2].0.silent.set(2_000_000);
    assert_eq!(taken(&mut s, 0, Class::Stream(1), &dispatch), [1].into());
    assert_eq!(s.copies(0, 0b0010, &protected), 0b1001);
    assert_eq!(s.why_unused(0, 0, &protected), None);
    assert_eq!(s.why_unused(0, 2, &protected), Some(Unused::Unreliable));
    // Of its interfaces as long as one of them works.
    let by = |ifindex| Treatment {
        interfaces: Interfaces([2, ifindex, 0, 0, 0, 0, 0, 0]),
        ..protected
    };
    assert_eq!(s.lanes_for(0, &by(5)), 0b0001);
    assert_eq!(s.copies(0, 0b0001, &by(5)), 0b1000);
    assert_eq!(s.why_unused(0, 1, &by(5)), Some(Unused::Interface));
    paths[0].0.standing.set(Standing::Suspect);
    paths[0].0.silent.set(u32::MAX);
    assert_eq!(s.lanes_for(0, &by(4)), 0b0010);
    assert_eq!(s.copies(0, 0b0010, &by(4)), 0b1000);
    // Others make none.
    for other in [Mode::All, Mode::Single, Mode::Never] {
        assert_eq!(s.copies(0, 0b0010, &mode(other)), 0);
    }
}

/// Packets that a rule treats otherwise do not make TCP's window follow them.
#[test]
fn rules_of_packets_leave_the_window_alone() {
    let (mut s, _) = measured(&[10, 10]);
    let plain = treated(Treatment::PLAIN);
    taken(&mut s, 0, Class::Stream(1000), &plain);
    let own = Dispatch {
        passing: true,
        ..treated(mode(Mode::Single))
    };
    taken(&mut s, 0, Class::Stream(1000), &own);
    assert_eq!(s.take_shrink(), None);
    // The rule of the session does: what was in flight on the other path does not fit into this.
    let own = treated(mode(Mode::Single));
    taken(&mut s, 0, Class::Stream(1000), &own);
    assert_eq!(s.take_shrink(), Some((1, 2)));
}

#[test]
fn what_is_kept_back_is_looked_after() {
    let (mut s, paths) = measured(&[10, 90]);
    let limits = selected(Limits {
        delay_us: 50_000,
        ..Limits::NONE
    });
    assert_eq!(s.lanes_for(0, &limits), 0b01);
    paths[1].0.due.set(true);
    assert_eq!(s.forgotten(1 << 20, 1000, 0), Some(1));
    // What the packet itself takes is asked there anyway.
    assert_eq!(s.forgotten(2 << 20, 1000, 1), None);
    // What lies on other interfaces is not: it may cost.
    let elsewhere = Treatment {
        interfaces: Interfaces([2, 0, 0, 0, 0, 0, 0, 0]),
        ..Treatment::PLAIN
    };
    assert_eq!(s.lanes_for(0, &elsewhere), 0b01);
    assert_eq!(s.forgotten(3 << 20, 1000, 0), None);
    // Other rules know nothing of what was.
    set(&paths[1], 40);
    assert_eq!(s.lanes_for(0, &limits), 0b01);
    s.forget_habits();
    assert_eq!(s.lanes_for(0, &limits), 0b11);
}

#[test]
fn behind_a_burst_the_others_are_asked_at_once() {
    let (mut s, paths) = measured(&[10, 10]);
    s.lanes_for(0, &Treatment::PLAIN);
    assert_eq!(s.forgotten(1 << 20, 1000, 0), None);
    for path in &paths {
        path.0.behind.set(true);
    }
    // Without waiting for the next interval, but not before the packet that is chosen for it.
    assert_eq!(s.forgotten(1 << 20, 1000, 0), Some(1));
    assert_eq!(s.forgotten(1 << 20, 1000, 0), None);
    assert!(paths[0].0.behind.get());
    assert_eq!(s.forgotten(1 << 20, 1000, 1), Some(0));
}

const STANDINGS: [Standing; 5] = [
    Standing::Down,
    Standing::Suspect,
    Standing::Doubtful,
    Standing::Lossy,
    Standing::Good,
];

#[test]
fn a_backup_waits_until_nothing_else_works() {
    let now = 1_000_000;
    for reason in [
        Reserve::Backup,
        Reserve::Budget,
        Reserve::Energy,
        Reserve::Peer,
        Reserve::Standby,
    ] {
        let (mut s, paths) = measured(&[50, 5, 40]);
        paths[1].0.reserve.set(Some(reason));
        let by_1 = Treatment {
            interfaces: Interfaces([3, 0, 0, 0, 0, 0, 0, 0]),
            ..Treatment::PLAIN
        };
        let cheap = Limits {
            cost: 0,
            ..Limits::NONE
        };
        let urgent = Treatment {
            priority: Priority::Latency,
            ..Treatment::PLAIN
        };
        let all = [
            Treatment::PLAIN,
            urgent,
            mode(Mode::Single),
            mode(Mode::Protected),
            selected(cheap),
            by_1,
        ];
        for treatment in all {
            let dispatch = treated(treatment);
            for class in [Class::Datagram, Class::Small, Class::Again(0b101)] {
                assert!(!taken(&mut s, now, class, &dispatch).contains(&1));
            }
            assert_eq!(s.copies(now, 1, &treatment) & 2, 0);
            let why = s.why_unused(now, 1, &treatment);
            assert_eq!(why, Some(Unused::Reserve(reason)), "{treatment:?}");
            assert!(why.is_some_and(Unused::is_policy));
        }
        // While one of the others may yet answer, it is used.
        paths[0].0.standing.set(Standing::Suspect);
        paths[2].0.standing.set(Standing::Doubtful);
        let plain = treated(Treatment::PLAIN);
        assert_eq!(taken(&mut s, now, Class::Datagram, &plain), [2].into());
        for (i, path) in paths.iter().enumerate().filter(|(i, _)| *i != 1) {
            path.0
                .standing
                .set([Standing::Down, Standing::Good, Standing::Suspect][i]);
        }
        for treatment in all {
            let dispatch = treated(treatment);
            assert_eq!(taken(&mut s, now, Class::Datagram, &dispatch), [1].into());
            assert_eq!(s.why_unused(now, 1, &treatment), None);
        }
        // And not any more once something else is back.
        paths[0].0.standing.set(Standing::Lossy);
        assert_eq!(taken(&mut s, now, Class::Datagram, &plain), [0].into());
        // If nothing works at all, everything is tried.
        paths[0].0.standing.set(Standing::Suspect);
        paths[1].0.standing.set(Standing::Suspect);
        assert_eq!(s.lanes_for(now, &Treatment::PLAIN), 0b111);
    }
}

#[test]
fn a_backup_among_backups_is_as_good_as_any() {
    let (mut s, paths) = measured(&[5, 5]);
    for path in &paths {
        path.0.reserve.set(Some(Reserve::Backup));
    }
    let plain = treated(Treatment::PLAIN);
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [0, 1].into());
    assert_eq!(s.why_unused(0, 1, &Treatment::PLAIN), None);
    assert_eq!(s.best_added(), Some(1));
}

#[test]
fn a_backup_replaces_nothing_that_datagrams_can_use() {
    for (proto, lane) in [(6, 1), (17, 0)] {
        let (mut s, paths) = measured(&[5, 5]);
        if let Some(own) = s.lane_mut(0) {
            own.ports.proto = proto;
        }
        paths[0].0.strict.set(true);
        assert_eq!(s.lanes_for(0, &Treatment::PLAIN), 0b10);
        paths[1].0.reserve.set(Some(Reserve::Backup));
        assert_eq!(s.lanes_for(0, &Treatment::PLAIN), 1 << lane);
    }
}

#[test]
fn what_is_not_to_be_used_says_so() {
    let (mut s, paths) = measured(&[5, 5]);
    paths[1].0.excluded.set(true);
    paths[1].0.standing.set(Standing::Down);
    let plain = treated(Treatment::PLAIN);
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [0].into());
    let why = |s: &mut Session<Path, ()>, index| s.why_unused(0, index, &Treatment::PLAIN);
    assert_eq!(why(&mut s, 1), Some(Unused::Excluded));
    // What was said of the path itself comes after that, and before a setting that keeps it back.
    paths[1].0.disabled.set(true);
    paths[1].0.reserve.set(Some(Reserve::Backup));
    assert_eq!(why(&mut s, 1), Some(Unused::Excluded));
    paths[1].0.excluded.set(false);
    assert_eq!(why(&mut s, 1), Some(Unused::Disabled));
    assert!(!Unused::Disabled.is_policy());
    // What has no other way goes on by the session's own.
    paths[0].0.disabled.set(true);
    paths[0].0.standing.set(Standing::Down);
    assert_eq!(taken(&mut s, 0, Class::Datagram, &plain), [0].into());
    assert_eq!(why(&mut s, 0), None);
}

#[test]
fn messages_about_lanes_take_a_backup_last() {
    let (mut s, paths) = measured(&[5, 5, 90]);
    assert_eq!(s.best_added(), Some(1));
    paths[1].0.reserve.set(Some(Reserve::Backup));
    assert_eq!(s.best_added(), Some(2));
    paths[2].0.standing.set(Standing::Suspect);
    assert_eq!(s.best_added(), Some(1));
    let _ = &mut s;
}

#[test]
fn cost_is_limited() {
    let (mut s, paths) = measured(&[5, 5, 5]);
    for (path, cost) in paths.iter().zip([3, 5, 6]) {
        path.0.cost.set(cost);
    }
    let limited = |cost| {
        selected(Limits {
            cost,
            ..Limits::NONE
        })
    };
    for (cost, lanes) in [(6, 0b111), (5, 0b011), (3, 0b001), (5, 0b011)] {
        assert_eq!(s.lanes_for(0, &limited(cost)), lanes, "{cost}");
    }
    assert_eq!(s.why_unused(0, 2, &limited(5)), Some(Unused::Limits));
    // If none is cheap enough, the nearest.
    set(&paths[1], 2);
    assert_eq!(s.lanes_for(0, &limited(1)), 0b010);
}

fn any_treatment() -> impl Strategy<Value = Treatment> {
    let modes = vec![
        Mode::All,
        Mode::Selected,
        Mode::Single,
        Mode::Protected,
        Mode::Never,
    ];
    let priorities = vec![Priority::Latency, Priority::Throughput];
    (
        prop::sample::select(modes),
        prop::sample::select(priorities),
        (0u32..200_000, 0u32..1000, 0u32..2000, 0u32..8),
        any::<[u8; 8]>(),
    )
        .prop_map(
            |(mode, priority, (delay_us, loss, rate, cost), dev)| Treatment {
                mode,
                priority,
                limits: Limits {
                    delay_us,
                    loss,
                    rate,
                    cost,
                },
                interfaces: Interfaces(dev.map(|n| if n < 200 { 0 } else { u32::from(n % 9) })),
                ordered: false,
            },
        )
}

proptest! {
    #![proptest_config(config(300))]

    /// Whatever rules want and paths are like: there is a lane, it is one of the session's, and
    /// what it is used for agrees with what is said of it.
    #[test]
    fn no_session_stands_still(
        n in 1..=MAX_LANES,
        steps in prop::collection::vec((any::<(u8, u32)>(), any_treatment()), 1..100),
        scheduler in prop::sample::select(vec![Scheduler::Weighted, Scheduler::Earliest]),
    ) {
        let (mut s, paths) = open(n, 0);
        let mut now = 0u32;
        for ((which, value), treatment) in steps {
            let path = &paths[usize::from(which) % n];
            match which / 43 {
                0 => path.0.standing.set(STANDINGS[value as usize % 5]),
                1 => path.0.ifindex.set(value % 9),
                2 => path.0.delay.set(Some(value as i32 >> 3)),
                3 => path.0.loss.set(value % 1024),
                4 if value % 4 == 0 => path.0.reserve.set(Reserve::from_number(value / 4 % 8)),
                4 if value % 4 == 1 => path.0.cost.set(value / 4 % 8),
                4 => path.0.rate.set(value % 4000),
                _ => now = now.wrapping_add(value >> 8),
            }
            let dispatch = Dispatch { scheduler, ..treated(treatment) };
            let lane = s.pick(now, 1000, Class::Datagram, &dispatch, |_, _| true);
            prop_assert!(lane < n);
            let lanes = s.lanes_for(now, &treatment);
            prop_assert!(lanes != 0 && lanes >> n == 0, "{lanes:b}");
            prop_assert!(lanes & (1 << lane) != 0, "{lane} of {lanes:b}");
            for i in 0..n {
                let used = s.lanes_for(now, &treatment);
                let used = (used | s.copies(0, used, &treatment)) & (1 << i) != 0;
                prop_assert_eq!(s.why_unused(now, i, &treatment).is_none(), used);
            }
            let best = paths.iter().map(|p| p.standing()).max().unwrap();
            if best > Standing::Suspect && treatment.mode != Mode::Never {
                // Nobody is sent where nothing answers while something else does.
                prop_assert!(paths[lane].standing() > Standing::Suspect);
                // Nor where nobody is to be sent while something else answers.
                let plain = |p: &Path| p.reserve().is_none() && p.standing() > Standing::Suspect;
                let reserve = paths.iter().any(plain) && paths[lane].reserve().is_some();
                prop_assert!(!reserve);
                let copies = s.copies(now, 1 << lane, &treatment);
                for (i, path) in paths.iter().enumerate() {
                    let reserve = paths.iter().any(plain) && path.reserve().is_some();
                    prop_assert!(!reserve || copies & (1 << i) == 0);
                }
            }
        }
    }
}
