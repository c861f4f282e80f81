// SPDX-License-Identifier: GPL-2.0

//! Sessions and their lanes.

mod dispatch;
mod policy;
mod window;

use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::interface::Reserve;
use mpip_host::proto::path::Standing;
use mpip_host::proto::policy::Treatment;
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
use std::cell::Cell;
use std::rc::Rc;

struct Known {
    standing: Cell<Standing>,
    silent: Cell<u32>,
    strict: Cell<bool>,
    ifindex: Cell<u32>,
    reserve: Cell<Option<Reserve>>,
    excluded: Cell<bool>,
    disabled: Cell<bool>,
    cost: Cell<u32>,
    /// Whether a question is due while it carries nothing.
    due: Cell<bool>,
    /// Whether one is due behind a burst.
    behind: Cell<bool>,
    queue: Cell<u32>,
    /// How long ago that was measured, microseconds.
    measured_ago: Cell<u32>,
    delay: Cell<Option<i32>>,
    weight: Cell<u16>,
    /// What was set in its place; 0 for nothing.
    fixed: Cell<u16>,
    rate: Cell<u32>,
    loss: Cell<u32>,
    full: Cell<u32>,
    limit: Cell<u32>,
    rtt: Cell<u32>,
    /// How long its queue is thought to be, if not as long as it is.
    wait: Cell<Option<u32>>,
    /// Bytes for which it was chosen.
    sent: Cell<u64>,
    /// The rate that was assumed when it was chosen last, bytes per second.
    assumed: Cell<u32>,
    /// Whether something urgent was sent on it.
    urgent: Cell<bool>,
}

#[derive(Clone)]
struct Path(Rc<Known>);

impl Default for Path {
    fn default() -> Path {
        Path(Rc::new(Known {
            standing: Cell::new(Standing::Good),
            silent: Cell::default(),
            strict: Cell::default(),
            ifindex: Cell::default(),
            reserve: Cell::default(),
            excluded: Cell::default(),
            disabled: Cell::default(),
            cost: Cell::default(),
            due: Cell::default(),
            behind: Cell::default(),
            queue: Cell::default(),
            measured_ago: Cell::default(),
            delay: Cell::default(),
            weight: Cell::default(),
            fixed: Cell::default(),
            rate: Cell::default(),
            loss: Cell::default(),
            full: Cell::new(u32::MAX),
            limit: Cell::default(),
            rtt: Cell::default(),
            wait: Cell::default(),
            sent: Cell::default(),
            assumed: Cell::default(),
            urgent: Cell::default(),
        }))
    }
}

impl PathInfo for Path {
    fn ends(&self) -> (Addr, Addr) {
        ENDS
    }

    fn standing(&self) -> Standing {
        self.0.standing.get()
    }

    fn silent_us(&self, _now: u32) -> u32 {
        self.0.silent.get()
    }

    fn is_strict(&self) -> bool {
        self.0.strict.get()
    }

    fn ifindex(&self) -> u32 {
        self.0.ifindex.get()
    }

    fn reserve(&self) -> Option<Reserve> {
        self.0.reserve.get()
    }

    fn is_excluded(&self) -> bool {
        self.0.excluded.get()
    }

    fn is_disabled(&self) -> bool {
        self.0.disabled.get()
    }

    fn cost(&self) -> u32 {
        self.0.cost.get()
    }

    fn is_same(&self, other: &Path) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn queue_us(&self) -> u32 {
        self.0.queue.get()
    }

    fn queue_left_us(&self, _: u32) -> u32 {
        self.0.queue.get().saturating_sub(self.0.measured_ago.get())
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

    fn prospect(&self) -> u32 {
        self.rate()
    }

    fn is_new(&self) -> bool {
        self.0.rate.get() == 0
    }

    fn is_forgotten(&self, _: u32, _: u32) -> bool {
        self.0.due.get()
    }

    fn take_behind(&self, _: u32, _: u32) -> bool {
        self.0.behind.take()
    }

    fn noise_us(&self) -> u32 {
        0
    }

    fn is_urgent(&self, _: u32) -> bool {
        self.0.urgent.get()
    }

    fn hurry(&self, _: u32) {
        self.0.urgent.set(true);
    }

    fn full_us(&self) -> u32 {
        self.0.full.get()
    }

    fn limit_us(&self) -> u32 {
        self.0.limit.get()
    }

    fn loss(&self) -> u32 {
        self.0.loss.get()
    }

    fn random_loss(&self) -> u32 {
        0
    }

    fn wait_us(&self, _: u32) -> u32 {
        self.0.wait.get().unwrap_or(self.0.queue.get())
    }

    fn queued(&self, _: u32, len: u32, assumed: u32) {
        self.0.assumed.set(assumed);
        self.0.sent.set(self.0.sent.get() + u64::from(len));
    }

    fn weight(&self) -> u16 {
        self.0.weight.get()
    }

    fn learn(&self, weight: u16) {
        self.0.weight.set(weight);
    }

    fn fixed_weight(&self) -> u16 {
        self.0.fixed.get()
    }
}

const DISPATCH: Dispatch = Dispatch {
    scheduler: Scheduler::Weighted,
    step: 10,
    interval: 100_000,
    treatment: Treatment::PLAIN,
    passing: false,
};

const EARLIEST: Dispatch = Dispatch {
    scheduler: Scheduler::Earliest,
    ..DISPATCH
};

/// A lane that is tried as it is.
const RAW: Ways = Ways::only(Via::Raw);

/// The addresses of all paths here.
const ENDS: (Addr, Addr) = (Addr::V4([10, 0, 0, 1]), Addr::V4([10, 0, 0, 2]));

fn tuple(n: u8) -> Tuple {
    Tuple {
        proto: 6,
        local: Endpoint {
            addr: ENDS.0,
            port: 1000 + u16::from(n),
        },
        remote: Endpoint {
            addr: ENDS.1,
            port: 80,
        },
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
fn what_sends_a_lot_opens_more_often() {
    // Packets a second, and how far tries are apart then, milliseconds.
    for (rate, least, most) in [
        (50, 640, 1300),
        (500, 64, 130),
        (2_000, 16, 33),
        (50_000, 5, 11),
    ] {
        for start in [0, u32::MAX - 1_000_000] {
            let mut s: Session<Path, ()> = Session::new(tuple(0), Path::default(), true, start);
            let mut now = start;
            let mut tries = Vec::new();
            loop {
                match s.poll(now, 1) {
                    Some(Todo::Open) => tries.push(now.wrapping_sub(start)),
                    Some(Todo::Abandon) => break,
                    None => {
                        let age = u64::from(now.wrapping_sub(start));
                        s.try_sooner(now, age * rate / 1_000_000);
                        now = now.wrapping_add(s.poll_in(now).expect("something to wait for"));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(tries[..3], [0, 50_000, 150_000]);
            let early = |pair: &&[u32]| pair[1] < 3_150_000;
            for pair in tries[2..].windows(2).take_while(early).take(252) {
                let apart = pair[1] - pair[0];
                let most = most.min(3_200) * 1_000;
                // Those in their turn are as early as ever.
                assert!(apart <= most, "{rate}: {apart} us");
                assert!(apart >= least * 1_000 || rate == 50, "{rate}: {apart} us");
            }
            let age = now.wrapping_sub(start);
            assert!((6_350_000..10_000_000).contains(&age), "{rate}: {age}");
        }
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
    assert!(b.lane(1).unwrap().is_renewed());
    assert_eq!(b.poll(0, 1), Some(Todo::LaneAck(1)));
    assert_eq!(b.lane(1).unwrap().challenge, 33);
    assert!(!b.on_lane_confirm(1, challenge));
    assert!(b.on_lane_confirm(1, 33));
    assert!(!b.lane(1).unwrap().is_renewed());
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

/// A lane that both ends use, and the time.
fn used() -> (Session<Path, ()>, Session<Path, ()>, u32) {
    let (mut a, mut b) = ends();
    assert!(b.on_lane(1, 11, 22, 0));
    assert!(a.on_lane_ack(1, 22, 11));
    assert!(b.on_lane_confirm(1, 22));
    (a, b, 20_000_000)
}

#[test]
fn a_lane_that_boxes_may_have_forgotten_is_asked_for_again() {
    let (mut a, mut b, now) = used();
    assert!(a.renew(1, false, 33, now));
    assert_eq!(a.lane(1).unwrap().state, LaneState::Active);
    assert_eq!(a.poll(now, 1), Some(Todo::Lane(1)));
    // The other end has to be shown that it gets through, too.
    assert!(b.on_lane(1, 33, 44, now));
    assert_eq!(b.poll(now, 1), Some(Todo::LaneAck(1)));
    assert!(!a.on_lane_ack(1, 44, 11), "the answer to an old question");
    assert!(a.on_lane_ack(1, 44, 33));
    assert!(b.on_lane_confirm(1, 44));
    assert_eq!((a.active_lanes(), b.active_lanes()), (2, 2));
    assert_eq!((a.poll_in(now), b.poll_in(now)), (None, None));
    // Whoever makes us doubt it all the time has us ask now and then.
    assert!(!a.renew(1, false, 55, now + 1_000_000));
    assert!(a.renew(1, false, 55, now + 3_000_000));

    // The end that was asked does it without a word of the other.
    let (mut a, mut b, now) = used();
    assert!(b.renew(1, false, 66, now));
    assert_eq!(b.poll(now, 1), Some(Todo::LaneAck(1)));
    assert!(a.on_lane_ack(1, 66, 11));
    assert!(b.on_lane_confirm(1, 66));
    assert_eq!((a.poll_in(now), b.poll_in(now)), (None, None));
}

#[test]
fn a_lane_that_is_forgotten_for_good_is_given_up() {
    let (mut a, _, now) = used();
    assert!(a.renew(1, false, 33, now));
    let tries = sends(&mut a, now, 3_000_000);
    assert_eq!(
        tries,
        [0, 50, 150, 350, 750, 1550, 2350].map(|ms| ms * 1000)
    );
    assert_eq!(a.lane(1).unwrap().state, LaneState::Active);
    // Then as any lane that was up, from the beginning.
    assert_eq!(sends(&mut a, now + 3_000_000, 300_000)[0], 150_000);
    assert_eq!(a.lane(1).unwrap().state, LaneState::Pending);

    // Where all of the path is silent it is the path that is asked.
    let (mut a, _, now) = used();
    a.lane(1).unwrap().path.0.standing.set(Standing::Suspect);
    assert!(a.renew(1, false, 33, now));
    assert_eq!(sends(&mut a, now, 60_000_000).len(), 7);
    let lane = a.lane(1).unwrap();
    assert!(lane.state == LaneState::Active && !lane.is_renewed());
    // Unless somebody has said that the lane is to blame.
    assert!(a.renew(1, true, 34, now + 70_000_000));
    assert_eq!(sends(&mut a, now + 70_000_000, 3_000_000).len(), 7);
    sends(&mut a, now + 73_000_000, 150_001);
    assert_ne!(a.lane(1).unwrap().state, LaneState::Active);
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
fn a_lane_that_is_answered_at_the_last_moment_stays() {
    let mut s = open(1, 0).0;
    let ways = Ways::all(17, None);
    s.add_lane(tuple(1), Path::default(), ways, 11, true, 8, 0);
    let mut now = 0;
    loop {
        match s.poll(now, 1) {
            Some(Todo::Lane(1)) => {}
            Some(Todo::Switch(1)) => break,
            None => now += s.poll_in(now).expect("something to wait for"),
            other => panic!("{other:?}"),
        }
    }
    // Another tuple is looked for. If it is found before the answer comes:
    let mut late = open(1, 0).0;
    late.add_lane(tuple(1), Path::default(), ways, 11, true, 8, 0);
    assert!(late.switched(1, &tuple(1), Some(tuple(2)), 12, now));
    assert_eq!(late.lane(1).unwrap().ways.current(), ways.next());
    assert!(
        !late.on_lane_ack(1, 9, 11),
        "an answer to what was asked before"
    );
    assert!(!late.switched(1, &tuple(1), Some(tuple(3)), 13, now));
    assert_eq!(late.lane(1).unwrap().tuple(), tuple(2));
    // And if it comes meanwhile:
    assert!(s.on_lane_ack(1, 9, 11));
    assert!(!s.switched(1, &tuple(1), Some(tuple(2)), 12, now));
    let lane = s.lane(1).unwrap();
    assert_eq!((lane.state, lane.tuple()), (LaneState::Active, tuple(1)));
    assert_eq!(lane.ways.current(), Via::Raw);
    assert!(!s.switched(2, &tuple(2), None, 12, now), "there is none");
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
fn a_reset_does_not_make_ends_disagree() {
    let (mut a, mut b) = ends();
    assert!(b.on_lane(1, 11, 22, 0));
    assert!(a.on_lane_ack(1, 22, 11));
    // It comes between LANE_ACK and LANE_CONFIRM.
    assert!(b.refuse(1, 0));
    assert_eq!((a.active_lanes(), b.active_lanes()), (2, 1));
    assert!(b.on_lane_confirm(1, 22));
    assert_eq!((a.active_lanes(), b.active_lanes()), (2, 2));
    assert_eq!((a.poll_in(0), b.poll_in(0)), (None, None));
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
fn a_lane_that_rests_is_tried_when_its_path_returns() {
    let (mut s, paths) = open(3, 0);
    for _ in 0..4 {
        s.refuse(1, 0);
        while s.poll(60_000_000, 1).is_some() {}
    }
    s.refuse(1, 60_000_000);
    assert_ne!(s.poll_in(60_000_000), Some(0));
    assert!(
        !s.revive(&Path::default(), 60_000_000),
        "a path that it does not use"
    );
    assert!(s.revive(&paths[1], 60_000_000));
    assert_eq!(s.poll_in(60_000_000), Some(0));
    // One that works is left alone.
    assert!(!s.revive(&paths[2], 60_000_000));
}

#[test]
fn messages_take_the_added_lane_that_can_be_relied_on() {
    let (mut s, paths) = open(3, 0);
    paths[1].0.rtt.set(20_000);
    paths[2].0.rtt.set(10_000);
    assert_eq!(s.best_added(), Some(2), "the quicker one");
    paths[2].0.standing.set(Standing::Doubtful);
    assert_eq!(s.best_added(), Some(1));
    paths[1].0.standing.set(Standing::Suspect);
    assert_eq!(s.best_added(), Some(2));
    s.refuse(2, 0);
    assert_eq!(
        s.best_added(),
        None,
        "never the original one, nor one that does not answer"
    );
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

#[test]
fn the_peer_is_expected_on_all_active_lanes_but_those_it_has_left() {
    let (mut s, paths) = open(4, 0);
    assert_eq!(s.expected_mask(|_| true), 0b1111);
    // A path that fails may still bring what was under way.
    for poor in [Standing::Down, Standing::Suspect] {
        paths[2].0.standing.set(poor);
        assert_eq!(s.expected_mask(|_| false), 0b1111);
        assert_eq!(s.expected_mask(|i| i == 2), 0b1011);
        assert_eq!(s.expected_mask(|i| i == 1), 0b1111);
    }
    // An answer to this end that is late says little of what the peer sends.
    paths[2].0.standing.set(Standing::Doubtful);
    assert_eq!(s.expected_mask(|_| true), 0b1111);
    s.refuse(3, 0);
    assert_eq!(s.expected_mask(|_| false), 0b0111);
    // Nobody uses the original lane where boxes judge connections.
    paths[0].0.strict.set(true);
    assert_eq!(s.expected_mask(|_| false), 0b0111);
    assert_eq!(s.expected_mask(|_| true), 0b0110);
}
