// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::path::Standing;
use mpip_host::proto::session::Class;
use mpip_host::proto::session::Dispatch;
use mpip_host::proto::session::LaneState;
use mpip_host::proto::session::PathInfo;
use mpip_host::proto::session::Scheduler;
use mpip_host::proto::session::Session;
use mpip_host::proto::session::State;
use mpip_host::proto::session::Todo;
use mpip_host::proto::session::MAX_LANES;
use mpip_host::proto::wrap::Via;
use mpip_host::proto::wrap::Ways;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

struct Known {
    standing: Cell<Standing>,
    silent: Cell<u32>,
    strict: Cell<bool>,
    queue: Cell<u32>,
    delay: Cell<Option<i32>>,
    weight: Cell<u16>,
    rate: Cell<u32>,
    loss: Cell<u32>,
    full: Cell<u32>,
    rtt: Cell<u32>,
    /// How long its queue is thought to be, if not as long as it is.
    wait: Cell<Option<u32>>,
    /// Bytes for which it was chosen.
    sent: Cell<u64>,
}

#[derive(Clone)]
struct Path(Rc<Known>);

impl Default for Path {
    fn default() -> Path {
        Path(Rc::new(Known {
            standing: Cell::new(Standing::Good),
            silent: Cell::default(),
            strict: Cell::default(),
            queue: Cell::default(),
            delay: Cell::default(),
            weight: Cell::default(),
            rate: Cell::default(),
            loss: Cell::default(),
            full: Cell::new(u32::MAX),
            rtt: Cell::default(),
            wait: Cell::default(),
            sent: Cell::default(),
        }))
    }
}

impl PathInfo for Path {
    fn standing(&self) -> Standing {
        self.0.standing.get()
    }

    fn silent_us(&self, _now: u32) -> u32 {
        self.0.silent.get()
    }

    fn is_strict(&self) -> bool {
        self.0.strict.get()
    }

    fn is_same(&self, other: &Path) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn queue_us(&self) -> u32 {
        self.0.queue.get()
    }

    fn delay_us(&self) -> Option<i32> {
        self.0.delay.get()
    }

    fn base_us(&self) -> Option<i32> {
        self.0.delay.get()
    }

    fn base_rtt_us(&self) -> u32 {
        self.0.rtt.get()
    }

    fn rate(&self) -> u32 {
        self.0.rate.get()
    }

    fn is_forgotten(&self, _: u32, _: u32) -> bool {
        false
    }

    fn noise_us(&self) -> u32 {
        0
    }

    fn full_us(&self) -> u32 {
        self.0.full.get()
    }

    fn loss(&self) -> u32 {
        self.0.loss.get()
    }

    fn wait_us(&self, _: u32) -> u32 {
        self.0.wait.get().unwrap_or(self.0.queue.get())
    }

    fn queued(&self, _: u32, len: u32) {
        self.0.sent.set(self.0.sent.get() + u64::from(len));
    }

    fn weight(&self) -> u16 {
        self.0.weight.get()
    }

    fn learn(&self, weight: u16) {
        self.0.weight.set(weight);
    }
}

const DISPATCH: Dispatch = Dispatch {
    scheduler: Scheduler::Weighted,
    step: 10,
    interval: 100_000,
};

/// A lane that is tried as it is.
const RAW: Ways = Ways::only(Via::Raw);

fn tuple(n: u8) -> Tuple {
    let end = |host, port| Endpoint {
        addr: Addr::V4([10, 0, n, host]),
        port,
    };
    Tuple {
        proto: 6,
        local: end(1, 1000),
        remote: end(2, 80),
    }
}

/// An open session with `n` lanes that carry data, and their paths.
fn open(n: usize, now: u32) -> (Session<Path, ()>, Vec<Path>) {
    let paths: Vec<_> = (0..n).map(|_| Path::default()).collect();
    let mut s = Session::new(tuple(0), paths[0].clone(), true, now);
    assert_eq!(s.poll(now, 1), Some(Todo::Open));
    s.opened();
    for (i, path) in paths.iter().enumerate().skip(1) {
        let added = s.add_lane(tuple(i as u8), path.clone(), RAW, 7, true, MAX_LANES, now);
        assert_eq!(added, Some(i));
        assert!(s.on_lane_ack(i, 9, 7));
    }
    assert_eq!(s.active_lanes(), n);
    (s, paths)
}

#[test]
fn open_is_repeated_and_given_up() {
    for start in [0, u32::MAX - 1_000_000] {
        let mut s: Session<Path, ()> = Session::new(tuple(0), Path::default(), true, start);
        let mut now = start;
        let mut sent = Vec::new();
        loop {
            match s.poll(now, 1) {
                Some(Todo::Open) => sent.push(now.wrapping_sub(start)),
                Some(Todo::Abandon) => break,
                None => now = now.wrapping_add(s.poll_in(now).expect("something to wait for")),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, [0, 50, 150, 350, 750, 1550, 3150].map(|ms| ms * 1000));
        assert_eq!(now.wrapping_sub(start), 6_350_000);
        assert_eq!(s.state, State::Opening);
    }
}

#[test]
fn the_responder_opens_nothing() {
    let mut s: Session<Path, ()> = Session::new(tuple(0), Path::default(), false, 0);
    assert_eq!(s.poll(1 << 30, 1), None);
    assert_eq!(s.poll_in(0), None);
}

/// Both ends of one lane.
fn ends() -> (Session<Path, ()>, Session<Path, ()>) {
    let mut a = open(1, 0).0;
    let mut b = Session::new(tuple(0).reversed(), Path::default(), false, 0);
    b.opened();
    assert_eq!(
        a.add_lane(tuple(1), Path::default(), RAW, 11, true, 8, 0),
        Some(1)
    );
    let lane = tuple(1).reversed();
    assert_eq!(
        b.add_lane(lane, Path::default(), RAW, 22, false, 8, 0),
        Some(1)
    );
    (a, b)
}

#[test]
fn a_lane_wants_both_answers() {
    let (mut a, mut b) = ends();
    assert_eq!(a.poll(0, 1), Some(Todo::Lane(1)));
    assert!(b.on_lane(1, 11, 22, 0));
    assert_eq!(b.poll(0, 1), Some(Todo::LaneAck(1)));
    assert_eq!((a.active_lanes(), b.active_lanes()), (1, 1));
    // Wrong answers, and messages to the wrong end.
    let challenge = b.lane(1).unwrap().challenge;
    assert!(!a.on_lane_ack(1, challenge, 12));
    assert!(!a.on_lane_confirm(1, 11));
    assert!(!a.on_lane(1, 5, 6, 0));
    assert!(!b.on_lane_ack(1, 5, challenge));
    assert!(!b.on_lane_confirm(1, challenge ^ 1));
    assert_eq!((a.active_lanes(), b.active_lanes()), (1, 1));
    // The right ones.
    assert!(a.on_lane_ack(1, challenge, 11));
    assert_eq!((a.active_lanes(), b.active_lanes()), (2, 1));
    assert!(b.on_lane_confirm(1, challenge));
    assert_eq!((a.active_lanes(), b.active_lanes()), (2, 2));
    assert_eq!((a.poll(1 << 30, 1), b.poll(1 << 30, 1)), (None, None));
    assert_eq!((a.poll_in(0), b.poll_in(0)), (None, None));
    // A repeated LANE changes nothing; a new challenge does.
    assert!(b.on_lane(1, 11, 33, 0));
    assert_eq!(b.active_lanes(), 2);
    assert!(b.on_lane(1, 12, 33, 0));
    assert_eq!(b.active_lanes(), 1);
    assert_eq!(b.lane(1).unwrap().challenge, 33);
    assert!(!b.on_lane_confirm(1, challenge));
}

/// Follows a session for `time`; when it sent LANE or LANE_ACK.
fn sends(s: &mut Session<Path, ()>, from: u32, time: u32) -> Vec<u32> {
    let mut out = Vec::new();
    let mut now = from;
    while now.wrapping_sub(from) < time {
        match s.poll(now, 0x55) {
            Some(Todo::Lane(1) | Todo::LaneAck(1)) => out.push(now.wrapping_sub(from)),
            Some(Todo::GaveUp(1)) => assert_eq!(s.lane(1).unwrap().state, LaneState::Gone),
            None => match s.poll_in(now) {
                Some(us) => now = now.wrapping_add(us.max(1)),
                None => break,
            },
            other => panic!("{other:?}"),
        }
    }
    out
}

#[test]
fn an_unanswered_lane_is_left_alone_for_longer_and_longer() {
    for start in [0, u32::MAX - 3_000_000] {
        let mut a = open(1, start).0;
        a.add_lane(tuple(1), Path::default(), RAW, 11, true, 8, start);
        let sent = sends(&mut a, start, 600_000_000);
        assert_eq!(
            sent[..7],
            [0, 50, 150, 350, 750, 1550, 3150].map(|ms| ms * 1000)
        );
        assert_eq!(sent[7], 8_350_000);
        assert_ne!(a.lane(1).unwrap().challenge, 11);
        // Seven tries in 130 s at last.
        assert!(sent.len() < 7 * 11, "{}", sent.len());
    }
}

#[test]
fn a_responder_that_nobody_confirmed_stops() {
    let (_, mut b) = ends();
    b.on_lane(1, 11, 22, 0);
    // Whoever sent that LANE from somebody else's address makes this end send seven answers.
    assert_eq!(sends(&mut b, 0, 1 << 30).len(), 7);
    assert_eq!(b.lane(1).unwrap().state, LaneState::Gone);
    assert_eq!(b.poll_in(1 << 30), None);
}

#[test]
fn a_lane_that_the_other_end_uses_is_tried_again() {
    let (mut a, mut b) = ends();
    assert!(b.on_lane(1, 11, 22, 0));
    assert!(a.on_lane_ack(1, 22, 11));
    assert!(!b.heard_on(1), "it is still being tried");
    // No LANE_CONFIRM arrives.
    assert_eq!(sends(&mut b, 0, 10_000_000).len(), 7);
    assert!(b.heard_on(1) && !b.heard_on(1));
    assert!(!b.heard_on(0) && !b.heard_on(5) && !a.heard_on(1));
    assert_eq!(b.poll(10_000_000, 5), Some(Todo::LaneAck(1)));
    let lane = b.lane(1).unwrap();
    let (challenge, echo) = (lane.challenge, lane.echo);
    assert!(a.on_lane_ack(1, challenge, echo) && b.on_lane_confirm(1, challenge));
    assert_eq!((a.active_lanes(), b.active_lanes()), (2, 2));
}

#[test]
fn a_lane_that_was_up_is_tried_by_either_end() {
    let (mut a, mut b) = ends();
    assert!(b.on_lane(1, 11, 22, 0));
    assert!(a.on_lane_ack(1, 22, 11));
    assert!(b.on_lane_confirm(1, 22));
    // Refused at the responder only.
    b.refuse(1, 0);
    assert_eq!((a.active_lanes(), b.active_lanes()), (2, 1));
    // It has worked: at once. Refused again, it is left alone for longer and longer.
    let mut now = 0;
    for rest in [0, 4_000_000, 8_000_000] {
        if rest != 0 {
            assert!(b.refuse(1, now));
            assert!(!b.refuse(1, now), "that is known");
            assert_eq!(b.poll(now + rest - 1, 5), None);
        }
        assert_eq!(b.poll_in(now), Some(rest));
        now += rest;
        assert_eq!(b.poll(now, 5), Some(Todo::LaneAck(1)));
    }
    let lane = b.lane(1).unwrap();
    let (challenge, echo) = (lane.challenge, lane.echo);
    assert_ne!(challenge, 22);
    assert!(a.on_lane_ack(1, challenge, echo));
    assert!(!b.on_lane_confirm(1, 22), "an old answer");
    assert!(b.on_lane_confirm(1, challenge));
    assert_eq!((a.active_lanes(), b.active_lanes()), (2, 2));
    // Refused at once again, it rests; after it has worked for long it does not.
    let mut c = now;
    assert!(b.refuse(1, c));
    let rest = b.poll_in(c).unwrap();
    assert!(rest >= 2_000_000, "{rest}");
    c += rest;
    assert_eq!(b.poll(c, 6), Some(Todo::LaneAck(1)));
    let lane = b.lane(1).unwrap();
    let challenge = lane.challenge;
    assert!(b.on_lane_confirm(1, challenge));
    c += 11_000_000;
    assert!(b.refuse(1, c));
    assert_eq!(b.poll_in(c), Some(0));
}

#[test]
fn the_original_lane_is_never_refused() {
    let (mut s, _) = open(2, 0);
    s.refuse(0, 0);
    s.remove_lane(0);
    assert_eq!(s.lane(0).unwrap().state, LaneState::Active);
    s.refuse(1, 0);
    assert_eq!(s.active_lanes(), 1);
    assert_eq!(s.pick(0, 1000, Class::Datagram, &DISPATCH, |_, _| true), 0);
}

#[test]
fn no_more_lanes_than_allowed() {
    let (mut s, _) = open(MAX_LANES, 0);
    assert_eq!(
        s.add_lane(tuple(99), Path::default(), RAW, 1, true, 99, 0),
        None
    );
    s.remove_lane(3);
    assert_eq!(
        s.add_lane(tuple(99), Path::default(), RAW, 1, true, 3, 0),
        None
    );
    assert_eq!(
        s.add_lane(tuple(99), Path::default(), RAW, 1, true, 99, 0),
        Some(3)
    );
    assert_eq!(s.find(&tuple(99)), Some(3));
}

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
    assert_eq!(taken(&mut s, now, Class::Again), [0, 1, 2].into());
    // Little lateness is no matter.
    paths[1].0.silent.set(1_500);
    assert_eq!(taken(&mut s, now, Class::Again), [0, 1, 2].into());
    paths[1].0.silent.set(2_500);
    assert_eq!(taken(&mut s, now, Class::Again), [0, 2].into());
    // Data goes by weight all the same.
    assert_eq!(taken(&mut s, now, Class::Datagram), [0, 1, 2].into());
    // If all are late, the least.
    paths[0].0.silent.set(70_000);
    paths[2].0.silent.set(40_000);
    assert_eq!(taken(&mut s, now, Class::Again), [1].into());
    // What is doubtful comes last, be it late or not.
    paths[1].0.standing.set(Standing::Doubtful);
    assert_eq!(taken(&mut s, now, Class::Again), [2].into());
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
        assert_eq!(taken(&mut s, 500_000, Class::Again), [last].into());
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
        class in prop::sample::select(vec![Class::Datagram, Class::Small, Class::Again]),
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
                Class::Again => {
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

#[test]
fn places_are_reused_when_their_lanes_are_of_no_use() {
    let (mut s, paths) = open(MAX_LANES, 0);
    assert_eq!(s.place(MAX_LANES, true), None);
    assert_eq!(s.place(1, true), None, "the original one stays");
    // One that is not up yet makes room for what the other end asks for, not for our own.
    s.refuse(3, 0);
    s.remove_lane(3);
    let ways = Ways::only(Via::Raw);
    s.add_lane(tuple(77), Path::default(), ways, 1, true, MAX_LANES, 0);
    assert_eq!(s.place(MAX_LANES, false), None);
    assert_eq!(s.place(MAX_LANES, true), Some(3));
    // Rather one that got through in no way,
    s.refuse(3, 0);
    assert_eq!(s.place(MAX_LANES, false), Some(3));
    // rather one that has lost an end,
    paths[5].0.standing.set(Standing::Down);
    assert_eq!(s.place(MAX_LANES, false), Some(5));
    // and rather a free one.
    s.remove_lane(6);
    assert_eq!(s.place(MAX_LANES, true), Some(6));
}

const EARLIEST: Dispatch = Dispatch {
    scheduler: Scheduler::Earliest,
    ..DISPATCH
};

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
    Class::Again,
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
fn equally_early_paths_take_turns() {
    let (mut s, paths) = open(3, 0);
    for (path, rate) in paths.iter().zip([3_000_000, 1_000_000, 6_000_000]) {
        path.0.delay.set(Some(5_000));
        path.0.rate.set(rate);
    }
    for class in [Class::Datagram, Class::Stream(1000)] {
        let bytes = shared(&mut s, &paths, class);
        let even = |b: &u64| b.abs_diff(33_333) < 1_000;
        assert!(bytes.iter().all(even), "{bytes:?}");
    }
    // What is urgent does not wait for its turn: the link that is quickest.
    for class in [Class::Small, Class::Again] {
        assert_eq!(shared(&mut s, &paths, class), [0, 0, 100_000]);
    }
    // One rate is not known: alike.
    paths[2].0.rate.set(0);
    let bytes = shared(&mut s, &paths, Class::Datagram);
    assert!(
        bytes.iter().all(|b| b.abs_diff(33_333) < 3_000),
        "{bytes:?}"
    );
    // Two are as early, one is not.
    paths[1].0.queue.set(5_000);
    let bytes = shared(&mut s, &paths, Class::Datagram);
    assert!(
        bytes[1] == 0 && bytes[0].abs_diff(50_000) < 3_000,
        "{bytes:?}"
    );
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
        (0..10).map(pick).filter(|lane| *lane == 0).count()
    };
    // The difference is 4.9 us for each byte: 2 ms are 408 bytes.
    assert_eq!((pick(40), pick(408), pick(409)), (5, 5, 0));
    // It is near enough to be worth it.
    paths[1].0.delay.set(Some(8_000));
    let bytes = shared(&mut s, &paths, Class::Datagram);
    assert_eq!(bytes, [50_000, 50_000]);
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
fn a_stream_that_fills_the_near_paths_goes_far() {
    let (mut s, paths) = open(2, 0);
    for (path, delay) in paths.iter().zip([5_000, 105_000]) {
        path.0.delay.set(Some(delay));
        path.0.rate.set(1_000_000);
        path.0.rtt.set(2 * delay as u32);
    }
    paths[0].0.queue.set(20_000);
    // 10 ms and 100 ms at 1 MB/s.
    assert_eq!(shared(&mut s, &paths, Class::Stream(109_999)), [100_000, 0]);
    assert_eq!(shared(&mut s, &paths, Class::Stream(110_000)), [0, 100_000]);
    for class in [Class::Small, Class::Again] {
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

/// The window's growth for a segment of 100 bytes that begins at `from`.
fn grows(s: &mut Session<Path, ()>, from: u32, una: u32, again: bool) -> bool {
    s.pick(0, 100, Class::Stream(100), &EARLIEST, |_, _| true);
    // Far more than the shortest time between two steps for each byte.
    let end = from.wrapping_add(100);
    s.may_grow(end.wrapping_mul(1000), end, una, again)
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
        // Until all have a queue, be it a thought one.
        paths[0].0.queue.set(8_000);
        assert!(grows(&mut s, at(500), at(400), false));
        paths[1].0.wait.set(Some(8_000));
        assert!(!grows(&mut s, at(600), at(600), false));
        paths[1].0.wait.set(Some(0));
        assert!(!grows(&mut s, at(700), at(700), false), "it is over");
    }
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
            let best = paths.iter().map(|p| p.standing()).max().unwrap();
            let fine = |i: usize| {
                best > Standing::Down && paths[i].standing() == best && i != unfit
            };
            prop_assert!(fine(chosen) || chosen == 0 && !(0..n).any(fine) || n == 1);
            // It counts for nobody else, and once.
            let after: u64 = paths.iter().map(|p| p.0.sent.get()).sum();
            prop_assert!(after - before == u64::from(len) || after == before);
            if class == Class::Again && n > 1 && fine(chosen) {
                let silent = |i: usize| paths[i].silent_us(now);
                let most = silent(chosen).saturating_sub(2_000);
                prop_assert!((0..n).filter(|i| fine(*i)).all(|i| most <= silent(i)));
            }
            if let Some((part, whole)) = s.take_shrink() {
                prop_assert!(part <= whole);
            }
            s.may_grow(now, value, value.wrapping_sub(u32::from(len)), which % 5 == 0);
            s.has_room(now);
        }
    }
}
