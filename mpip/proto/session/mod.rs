// SPDX-License-Identifier: GPL-2.0

//! One session and its lanes.
//!
//! A *lane* is a session's use of a path: a tuple on the wire (a row of Table
//! 5 of the paper). Lane 0 is the original one, whose tuple is the session's
//! own. An added lane carries data only after a challenge went out on it and
//! came back, in both directions:
//!
//! ```text
//! initiator                          responder
//! LANE {challenge x}         ->      registers the tuple
//! <-  LANE_ACK {echo x, challenge y} initiator may send data
//! LANE_CONFIRM {echo y}      ->      responder may send data
//! ```

mod dispatch;
mod lane;
mod policy;

pub use dispatch::Class;
pub use dispatch::Dispatch;
pub use dispatch::Scheduler;
pub use lane::Hold;
pub use lane::Inline;
pub use lane::Lane;
pub use lane::LaneState;
pub use lane::PathInfo;
pub use policy::Unused;

use crate::proto::addr::PortPair;
use crate::proto::addr::Tuple;
use crate::proto::bits::bits;
use crate::proto::packet;
use crate::proto::path::Standing;
use crate::proto::seq;
use crate::proto::weighted::Smooth;
use crate::proto::wrap::Stream;
use crate::proto::wrap::Via;
use crate::proto::wrap::Ways;
use core::marker::PhantomData;
use dispatch::Probing;
use policy::Habits;

/// Lanes of one session, the original one included.
pub const MAX_LANES: usize = 8;

/// First interval between two tries, microseconds; it doubles.
const RETRY_US: u32 = 50_000;
/// Tries of OPEN, LANE and LANE_ACK.
const TRIES: u8 = 7;
/// How long OPEN is tried, microseconds.
const OPENING_US: u32 = RETRY_US * ((1 << TRIES) - 1);
/// After so many tries, of which one should have been answered, OPEN is tried with every so many
/// datagrams that leave, but not more often than that, microseconds.
const SOONER: (u8, u32, u32) = (3, 32, 5_000);
/// Doublings of the interval between two tries on a lane that is up.
const RENEWALS: u8 = 4;
/// A lane that is up is not asked for more often than that, microseconds.
const RENEW_US: u32 = 2_000_000;
/// How long a refused lane is left alone, microseconds; it doubles up to 64 times that.
const REVIVE_US: u32 = 2_000_000;

/// A lane that was up for so long is tried again at once when it is refused, microseconds.
const LONG_UP_US: u32 = 10_000_000;

/// State of a session.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Keys are being agreed, or OPEN is out.
    Opening,
    /// Both ends know it.
    Open,
    /// The transport has finished.
    Closing,
}

/// What is to be done, from [`Session::poll`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Send OPEN (or CONFIRM).
    Open,
    /// Send LANE on this lane.
    Lane(usize),
    /// Send LANE_ACK on this lane.
    LaneAck(usize),
    /// This lane does not get through: give it a tuple for its next way, then call
    /// [`Session::switched`].
    Switch(usize),
    /// This lane did not get through in any way; it is tried again later.
    GaveUp(usize),
    /// A lane of the other end came to nothing, and it may have no part in it any more: look for
    /// lanes again, as if there were none between those addresses (see [`Lane::is_forsaken`]).
    Explore,
    /// The peer does not answer: forget the session.
    Abandon,
}

/// Lanes, one bit each: sessions are many, and this byte is all it takes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Mask(u8);

impl Mask {
    const fn new(lanes: u32) -> Mask {
        Mask(lanes as u8)
    }

    const fn get(self) -> u32 {
        self.0 as u32
    }
}

const _: () = assert!(MAX_LANES <= 8);

/// All lanes.
const ALL: u32 = (1 << MAX_LANES) - 1;

/// A session. `H` holds its lanes.
///
/// What each choice of a lane looks at comes first, in one cache line with the first lanes, and
/// then what decides between lanes that are alike: with many sessions none of it is in the
/// processor's cache.
#[repr(C)]
pub struct Session<P, D, H = Inline<Lane<P, D>>> {
    /// State.
    pub state: State,
    /// Whether this end opened it.
    pub initiator: bool,
    active: Mask,
    eligible: Mask,
    watched: Mask,
    tries: u8,
    habits: Habits,
    looked_at: u32,
    /// The lanes; 0 is the original one.
    pub lanes: [Option<H>; MAX_LANES],
    probing: Probing,
    smooth: Smooth<MAX_LANES>,
    // Both parts of the fraction, made small enough.
    shrink: Option<(u16, u16)>,
    weights: [u16; MAX_LANES],
    // When the weights were adjusted last, or it was made.
    last_adjust: u32,
    next_try: u32,
    kinds: PhantomData<fn() -> (P, D)>,
}

impl<P: PathInfo, D, H: Hold<Lane<P, D>>> Session<P, D, H> {
    /// A session that is being opened, with its original lane; without any if that has no place.
    pub fn new(tuple: Tuple, path: P, initiator: bool, now: u32) -> Self {
        let mut lanes = [const { None }; MAX_LANES];
        let mut original = Lane::new(tuple, path, Ways::only(Via::Raw), 0, initiator, now);
        original.state = LaneState::Active;
        lanes[0] = H::hold(original);
        let mut session = Session {
            state: State::Opening,
            initiator,
            lanes,
            weights: [0; MAX_LANES],
            smooth: Smooth::new(),
            last_adjust: now,
            active: Mask(0),
            eligible: Mask(1),
            watched: Mask(1),
            habits: Habits::new(),
            probing: Probing::Done,
            shrink: None,
            looked_at: now,
            tries: 0,
            next_try: now,
            kinds: PhantomData,
        };
        session.relearn();
        session
    }

    /// The lane with this id.
    pub fn lane(&self, index: usize) -> Option<&Lane<P, D>> {
        self.lanes.get(index)?.as_deref()
    }

    /// The lane with this id, to be changed.
    pub fn lane_mut(&mut self, index: usize) -> Option<&mut Lane<P, D>> {
        self.lanes.get_mut(index)?.as_deref_mut()
    }

    /// The lanes in a mask.
    fn those(&self, mask: u32) -> impl Iterator<Item = (usize, &Lane<P, D>)> {
        bits(mask & ALL).filter_map(|i| Some((i, self.lane(i)?)))
    }

    /// The lane with this tuple.
    pub fn find(&self, tuple: &Tuple) -> Option<usize> {
        self.lanes
            .iter()
            .position(|l| l.as_ref().is_some_and(|l| l.tuple() == *tuple))
    }

    /// The weight of a lane: what was set for its path, or was learnt; 0 if it is not active.
    pub fn weight(&self, index: usize) -> u16 {
        let learnt = self.weights.get(index).copied().unwrap_or(0);
        let fixed = || self.lane(index).map_or(0, |lane| lane.path.fixed_weight());
        match learnt {
            0 => 0,
            _ => Some(fixed()).filter(|set| *set != 0).unwrap_or(learnt),
        }
    }

    /// The lanes that may carry data, one bit each.
    pub fn active_mask(&self) -> u32 {
        self.active.get()
    }

    /// Number of lanes that may carry data.
    pub fn active_lanes(&self) -> usize {
        self.active.get().count_ones() as usize
    }

    /// The active lanes on which the peer may send, one bit each. On one whose path has failed, or
    /// whose place others have taken, it does not as far as it is `silent`.
    pub fn expected_mask(&self, silent: impl Fn(usize) -> bool) -> u32 {
        let left = |i: usize, lane: &Lane<P, D>| {
            lane.path.standing() <= Standing::Suspect || i == 0 && self.is_replaced()
        };
        let lanes = self.lanes.iter().enumerate();
        lanes.fold(self.active.get(), |mask, (i, lane)| match lane {
            Some(lane) if left(i, lane) && silent(i) => mask & !(1 << i),
            _ => mask,
        })
    }

    /// The peer has answered OPEN.
    pub fn opened(&mut self) {
        if self.state == State::Opening {
            self.state = State::Open;
        }
    }

    /// A place for another lane: a free one; that of a lane which has lost an end of its path, or
    /// got through in no way; for a lane that the other end asks for (`asked`), which has shown
    /// that it gets through this way, also that of one which has not yet.
    /// [`Session::remove_lane`] has to be called for what is there.
    pub fn place(&self, limit: usize, asked: bool) -> Option<usize> {
        let rank = |lane: &Lane<P, D>| match lane.state {
            _ if lane.path.standing() == Standing::Down => Some(1),
            LaneState::Gone if !lane.is_initiator() || !lane.is_proven() => Some(2),
            LaneState::Pending if asked && lane.is_initiator() && !lane.is_proven() => Some(3),
            _ => None,
        };
        let lanes = self.lanes.iter().take(limit.min(MAX_LANES)).enumerate();
        lanes
            .skip(1)
            .filter_map(|(i, l)| Some((l.as_deref().map_or(Some(0), rank)?, i)))
            .min()
            .map(|(_, i)| i)
    }

    /// Adds a lane that this end (`initiator`) or the other one asked for, in a free place from
    /// [`Session::place`]. `random` is for its challenge and its made-up connection. Returns its
    /// index.
    #[expect(clippy::too_many_arguments)]
    pub fn add_lane(
        &mut self,
        tuple: Tuple,
        path: P,
        ways: Ways,
        random: u64,
        initiator: bool,
        limit: usize,
        now: u32,
    ) -> Option<usize> {
        let index = self
            .lanes
            .iter()
            .take(limit.min(MAX_LANES))
            .position(Option::is_none)?;
        let lane = H::hold(Lane::new(tuple, path, ways, random, initiator, now))?;
        *self.lanes.get_mut(index)? = Some(lane);
        Some(index)
    }

    /// Takes back a lane that was just added.
    pub fn remove_lane(&mut self, index: usize) {
        if index == 0 {
            return;
        }
        if let Some(slot) = self.lanes.get_mut(index) {
            *slot = None;
        }
        self.relearn();
    }

    /// LANE came in on a lane that the other end asked for: answer with LANE_ACK.
    pub fn on_lane(&mut self, index: usize, challenge: u64, new_challenge: u64, now: u32) -> bool {
        let Some(lane) = self.lane_mut(index) else {
            return false;
        };
        if lane.is_initiator() {
            return false;
        }
        if lane.echo != challenge || lane.state == LaneState::Gone {
            // A new try of the other end: it has to be shown again that it receives.
            lane.echo = challenge;
            lane.challenge = new_challenge;
            lane.stream = Stream::new((new_challenge >> 32) as u32);
            if lane.state == LaneState::Active {
                // Until then it is better than nothing.
                lane.set_renewed(false);
            } else {
                lane.state = LaneState::Pending;
            }
            lane.tries = 0;
        }
        lane.next_try = now;
        self.relearn();
        true
    }

    /// LANE_ACK came in: true if it answers our challenge. LANE_CONFIRM is to be sent then.
    pub fn on_lane_ack(&mut self, index: usize, challenge: u64, echo: u64) -> bool {
        let Some(lane) = self.lane_mut(index) else {
            return false;
        };
        if !lane.is_initiator() || lane.challenge != echo {
            return false;
        }
        lane.echo = challenge;
        lane.set_proven();
        lane.end_renewal();
        if lane.state != LaneState::Active {
            lane.state = LaneState::Active;
            self.relearn();
        }
        true
    }

    /// LANE_CONFIRM came in: true if it answers our challenge. Then the initiator uses the lane,
    /// even if it has been given up here: a reset may be older, or be somebody's guess.
    pub fn on_lane_confirm(&mut self, index: usize, echo: u64) -> bool {
        let Some(lane) = self.lane_mut(index) else {
            return false;
        };
        if lane.is_initiator() || lane.challenge != echo {
            return false;
        }
        lane.set_proven();
        lane.end_renewal();
        if lane.state != LaneState::Active {
            lane.state = LaneState::Active;
            self.relearn();
        }
        true
    }

    /// Something authentic came on a lane outside of its exchange: its initiator uses it. True if
    /// this end has given it up, because no LANE_CONFIRM arrived, and will now ask for one again.
    pub fn heard_on(&mut self, index: usize) -> bool {
        match self.lane_mut(index) {
            Some(l) if !l.is_initiator() && !l.is_proven() && l.state == LaneState::Gone => {
                l.set_proven();
                true
            }
            _ => false,
        }
    }

    /// Somebody on the way may have forgotten the tuple of a lane that is up: both ends show each
    /// other once more that it gets through, and as long as there are others it is not used. If
    /// it is `unwanted`, as somebody says, it is given up unless it is answered. False if the lane
    /// is not up, or that was done a moment ago.
    pub fn renew(&mut self, index: usize, unwanted: bool, random: u64, now: u32) -> bool {
        let Some(lane) = self.lane_mut(index).filter(|_| index != 0) else {
            return false;
        };
        // Who has not begun a made-up connection cannot begin it anew.
        let cannot = !lane.is_initiator() && lane.ways.current() == Via::Tcp;
        if lane.state != LaneState::Active
            || lane.is_renewed()
            || cannot
            || seq::age(now, lane.next_try) < RENEW_US
        {
            return false;
        }
        if seq::age(now, lane.next_try) >= LONG_UP_US {
            lane.refusals = 0;
        }
        lane.set_renewed(unwanted);
        lane.challenge = random;
        if lane.is_initiator() {
            lane.stream = Stream::new((random >> 32) as u32);
        }
        lane.tries = 0;
        lane.next_try = now;
        true
    }

    /// The peer (or somebody on the way) refuses this lane. False if that was known.
    pub fn refuse(&mut self, index: usize, now: u32) -> bool {
        if index == 0 {
            return false;
        }
        let mut fresh = false;
        if let Some(lane) = self.lane_mut(index) {
            if lane.state == LaneState::Gone {
                return false;
            }
            fresh = true;
            let was_up = lane.state == LaneState::Active;
            // Since the last try: one that is refused again and again has to rest all the same.
            if was_up && seq::age(now, lane.next_try) >= LONG_UP_US {
                lane.refusals = 0;
            }
            lane.state = LaneState::Gone;
            lane.end_renewal();
            lane.tries = 0;
            lane.route = None;
            // One that has worked may only have lost its place in a table on the way; one that has
            // not may get through another way. Both are tried at once.
            let other = lane.is_initiator() && !was_up && lane.ways.has_next();
            if other {
                lane.state = LaneState::Pending;
                lane.tries = u8::MAX;
            }
            let rest = if other || was_up && lane.refusals == 0 {
                0
            } else {
                REVIVE_US << lane.refusals.min(6)
            };
            lane.next_try = now.wrapping_add(rest);
            if !other {
                lane.refusals = lane.refusals.saturating_add(1);
            }
        }
        self.relearn();
        fresh
    }

    /// A path is there again: lanes on it that were given up need not rest any longer. False if
    /// there is none.
    pub fn revive(&mut self, path: &P, now: u32) -> bool {
        let mut any = false;
        for lane in self.lanes.iter_mut().skip(1).flatten() {
            let up = lane.state == LaneState::Active;
            if !lane.path.is_same(path) || up && !lane.is_renewed() {
                continue;
            }
            lane.refusals = 0;
            lane.next_try = now;
            if up {
                lane.tries = 0;
            }
            any = true;
        }
        any
    }

    /// Whether this end has asked for a lane, and it never came up.
    pub fn is_in_vain(&self, index: usize) -> bool {
        self.lane(index)
            .is_some_and(|l| l.is_initiator() && !l.is_proven() && l.state != LaneState::Active)
    }

    /// Where a lane on a path is kept that counts as none, see [`Lane::is_forsaken`].
    pub fn forsaken_on(&self, path: &P) -> Option<usize> {
        let mut lanes = self.lanes.iter().enumerate().skip(1);
        lanes.find_map(|(i, lane)| {
            let lane = lane.as_ref()?;
            (lane.is_forsaken() && lane.path.is_same(path)).then_some(i)
        })
    }

    /// The tuple of an active added lane on a path.
    pub fn added_on(&self, path: &P) -> Option<Tuple> {
        let mut added = self.lanes.iter().skip(1).flatten();
        added
            .find(|l| l.state == LaneState::Active && l.path.is_same(path))
            .map(|l| l.tuple())
    }

    /// Whether other lanes have taken the original one's place: what keeps track of
    /// connections there lets the session's own tuple pass only while all of the session does.
    pub fn is_replaced(&self) -> bool {
        let Some(original) = self.lane(0) else {
            return false;
        };
        // Datagrams that took another way meanwhile do not matter to those boxes: a lane that is
        // kept in reserve, or does not answer, is no reason to leave a path that works.
        let datagrams = original.ports.proto == packet::UDP;
        let lesser =
            |l: &Lane<P, D>| l.path.reserve().is_some() || l.standing() <= Standing::Suspect;
        let strict = |l: &Lane<P, D>| original.path.is_strict() && !(datagrams && lesser(l));
        let mut added = self.those(self.active.get() & !1);
        added.any(|(_, l)| strict(l) || l.path.is_same(&original.path))
    }

    /// The lanes whose paths do not answer, one bit each.
    pub fn unusable(&self) -> u32 {
        self.mask(ALL, |lane| lane.path.standing() < Standing::Doubtful)
    }

    /// The active added lane that can be relied on best, of equals the quickest, if any answers;
    /// one that is kept in reserve only if no other does.
    pub fn best_added(&self) -> Option<usize> {
        let lanes = self.lanes.iter().enumerate().skip(1);
        lanes
            .filter_map(|(i, lane)| Some((i, lane.as_ref()?)))
            .filter(|(_, l)| l.state == LaneState::Active && l.standing() > Standing::Suspect)
            .max_by_key(|(_, l)| {
                let plain = l.path.reserve().is_none();
                (plain, l.standing(), !l.path.base_rtt_us())
            })
            .map(|(i, _)| i)
    }

    /// How far the best of the active lanes' paths can be relied on.
    pub fn best_standing(&self) -> Standing {
        self.lanes
            .iter()
            .flatten()
            .filter(|l| l.state == LaneState::Active)
            .map(|l| l.standing())
            .max()
            .unwrap_or(Standing::Down)
    }

    /// So many datagrams have left since the session was made. While it is opening it may be they
    /// that fill the queue in which the tries get lost: one of many gets through then, so there
    /// have to be many, up to 255.
    pub fn try_sooner(&mut self, now: u32, datagrams: u64) {
        let (tries, every, least) = SOONER;
        if self.state != State::Opening || !(tries..u8::MAX).contains(&self.tries) {
            return;
        }
        let age = u64::from(seq::age(now, self.last_adjust));
        let apart = age.saturating_mul(every.into()).checked_div(datagrams);
        let apart = apart.map_or(u32::MAX, |us| u32::try_from(us).unwrap_or(u32::MAX));
        // Datagrams of one size at one rate leave a gap at regular times, which is to be met.
        let unlike = (now >> 8) % 8;
        let wait = (apart.max(least) / 8).saturating_mul(unlike.saturating_add(8));
        if seq::until(now, self.next_try) > wait {
            self.next_try = now.wrapping_add(wait);
        }
    }

    /// The next thing to be done, if any; to be called until it returns `None`. `random` is for a
    /// new challenge.
    pub fn poll(&mut self, now: u32, random: u64) -> Option<Todo> {
        if self.state == State::Opening && self.initiator && seq::until(now, self.next_try) == 0 {
            if self.tries >= TRIES && seq::age(now, self.last_adjust) >= OPENING_US {
                return Some(Todo::Abandon);
            }
            self.next_try = now.wrapping_add(RETRY_US << self.tries.min(TRIES - 1));
            self.tries = self.tries.saturating_add(1);
            return Some(Todo::Open);
        }
        if self.state != State::Open {
            return None;
        }
        // One end is enough: both would be at cross purposes again.
        let first = self.initiator;
        let mut added = self.lanes.iter_mut().skip(1).flatten();
        if let Some(lane) = added.find(|l| first && l.may_be_forsaken()) {
            lane.forsake();
            return Some(Todo::Explore);
        }
        let mut dropped = None;
        for (i, slot) in self.lanes.iter_mut().enumerate() {
            let Some(lane) = slot else { continue };
            let up = lane.state == LaneState::Active;
            if i == 0 || up && !lane.is_renewed() || seq::until(now, lane.next_try) != 0 {
                continue;
            }
            let silent = lane.path.standing() <= Standing::Suspect && !lane.is_unwanted();
            if up && lane.tries >= TRIES && silent {
                // It is the path that does not answer, and that is asked again and again.
                lane.end_renewal();
                continue;
            }
            if lane.state == LaneState::Gone {
                // The initiator tries again. The responder waits to be asked, unless the lane was
                // up: the initiator may not know that it was refused here.
                if !lane.is_initiator() && !lane.is_proven() {
                    continue;
                }
                lane.state = LaneState::Pending;
                lane.challenge ^= random;
                lane.stream = Stream::new(lane.challenge as u32);
                lane.tries = 0;
                if lane.is_initiator() && !lane.is_proven() && lane.ways.is_choice() {
                    // None of the ways was open: from the first one again.
                    lane.tries = u8::MAX;
                    return Some(Todo::Switch(i));
                }
            }
            if !up && lane.is_initiator() && lane.ways.has_next() && lane.tries >= lane::WAY_TRIES {
                return Some(Todo::Switch(i));
            }
            if lane.tries >= TRIES {
                dropped = Some(i);
                break;
            }
            let doublings = if up {
                lane.tries.min(RENEWALS)
            } else {
                lane.tries
            };
            lane.next_try = now.wrapping_add(RETRY_US << doublings);
            lane.tries = lane.tries.saturating_add(1);
            return Some(if lane.is_initiator() {
                Todo::Lane(i)
            } else {
                Todo::LaneAck(i)
            });
        }
        if let Some(i) = dropped {
            self.refuse(i, now);
            return Some(Todo::GaveUp(i));
        }
        None
    }

    /// The lane that is pending on the tuple `old` has got that of its next way; without one it is
    /// given up for a while. False if it is not pending there any more: it was answered meanwhile.
    pub fn switched(
        &mut self,
        index: usize,
        old: &Tuple,
        tuple: Option<Tuple>,
        random: u64,
        now: u32,
    ) -> bool {
        let pending =
            |lane: &&mut Lane<P, D>| lane.state == LaneState::Pending && lane.tuple() == *old;
        let Some(lane) = self.lane_mut(index).filter(pending) else {
            return false;
        };
        lane.ways.advance();
        lane.tries = 0;
        lane.next_try = now;
        lane.route = None;
        lane.challenge = random;
        lane.stream = Stream::new((random >> 32) as u32);
        match tuple {
            Some(tuple) => lane.ports = PortPair::of(&tuple),
            // The next one, if there is any.
            None => lane.tries = TRIES,
        }
        true
    }

    /// Microseconds until [`Session::poll`] has something to do; `None` for never.
    pub fn poll_in(&self, now: u32) -> Option<u32> {
        let until = |at: u32| seq::until(now, at);
        match self.state {
            State::Opening => self.initiator.then(|| until(self.next_try)),
            State::Closing => None,
            State::Open => self
                .lanes
                .iter()
                .skip(1)
                .flatten()
                .filter_map(|l| match l.state {
                    LaneState::Active => l.is_renewed().then(|| until(l.next_try)),
                    LaneState::Pending => Some(until(l.next_try)),
                    LaneState::Gone if l.is_initiator() || l.is_proven() => Some(until(l.next_try)),
                    LaneState::Gone => (self.initiator && l.may_be_forsaken()).then_some(0),
                })
                .min(),
        }
    }
}
