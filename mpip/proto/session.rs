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

use crate::proto::addr::Tuple;
use crate::proto::earliest;
use crate::proto::earliest::Candidate;
use crate::proto::earliest::Load;
use crate::proto::path::Standing;
use crate::proto::seq;
use crate::proto::weighted;
use crate::proto::weighted::Smooth;
use crate::proto::wrap::Stream;
use crate::proto::wrap::Via;
use crate::proto::wrap::Ways;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ops::DerefMut;

/// Lanes of one session, the original one included.
pub const MAX_LANES: usize = 8;

/// First interval between two tries, microseconds; it doubles.
const RETRY_US: u32 = 50_000;
/// Tries of OPEN, LANE and LANE_ACK.
const TRIES: u8 = 7;
/// Tries of LANE while there is another way to be tried.
const WAY_TRIES: u8 = 3;
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

/// State of a lane.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// A challenge is out.
    Pending,
    /// It may carry data.
    Active,
    /// Refused or unanswered.
    Gone,
}

/// What scheduling needs to know of a path.
pub trait PathInfo {
    /// How far it can be relied on.
    fn standing(&self) -> Standing;
    /// How long an answer has been overdue, microseconds; 0 while none is.
    fn silent_us(&self, now: u32) -> u32;
    /// Whether a session's own tuple does not get through while other lanes are used.
    fn is_strict(&self) -> bool;
    /// Whether it is the same path.
    fn is_same(&self, other: &Self) -> bool;
    /// Queueing delay towards the peer, microseconds.
    fn queue_us(&self) -> u32;
    /// Smoothed one-way delay towards the peer with the clocks' offset, microseconds, once known.
    fn delay_us(&self) -> Option<i32>;
    /// Least one-way delay towards the peer with the clocks' offset, microseconds, once known.
    fn base_us(&self) -> Option<i32>;
    /// Least round-trip time, microseconds; 0 while unknown.
    fn base_rtt_us(&self) -> u32;
    /// What it carries towards the peer, bytes per second; 0 while unknown.
    fn rate(&self) -> u32;
    /// The part of what is sent that is lost, in 1024ths.
    fn loss(&self) -> u32;
    /// How long a packet that is sent now is expected to wait in its queue, microseconds.
    fn wait_us(&self, now: u32) -> u32;
    /// So many more bytes are in its queue.
    fn queued(&self, now: u32, len: u32);
    /// The queue that counts as full, microseconds.
    fn full_us(&self) -> u32;
    /// Mean deviation of the one-way delay towards the peer, microseconds.
    fn noise_us(&self) -> u32;
    /// Whether a question is due on a path that carries nothing while others are in use.
    /// `interval` is that of paths in use, microseconds.
    fn is_forgotten(&self, now: u32, interval: u32) -> bool;
    /// The weight that sessions have learnt; 0 for none.
    fn weight(&self) -> u16;
    /// Keeps a weight for later sessions.
    fn learn(&self, weight: u16);
}

/// A lane. `P` is the path, `D` a route that the caller caches.
pub struct Lane<P, D> {
    /// The tuple on the wire.
    pub tuple: Tuple,
    /// The path.
    pub path: P,
    /// The caller's cached route.
    pub route: Option<D>,
    /// State.
    pub state: LaneState,
    /// How its packets travel, and how else they might.
    pub ways: Ways,
    /// The made-up connection, for [`Via::Tcp`].
    pub stream: Stream,
    /// The challenge that this end has out.
    pub challenge: u64,
    /// The challenge of the other end, to be echoed.
    pub echo: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    // When this end sent something last, in `SENT_BITS`th parts of the clock.
    sent: u8,
    // `ASKED`, `PROVEN`: lanes are many, and this is the byte that made them too large.
    marks: u8,
    tries: u8,
    refusals: u8,
    next_try: u32,
}

/// This end has asked for the lane.
const ASKED: u8 = 1;
/// See [`Lane::is_proven`].
const PROVEN: u8 = 2;

/// Bits of the clock, microseconds, that make no difference to when something was sent.
const SENT_BITS: u32 = 21;

impl<P, D> Lane<P, D> {
    /// Something is sent now: boxes on the way know the tuple.
    pub fn note_sent(&mut self, now: u32) {
        self.sent = (now >> SENT_BITS) as u8;
    }

    /// Whether nothing was sent for so long, microseconds, to about two seconds.
    pub fn is_silent_for(&self, now: u32, us: u32) -> bool {
        let since = ((now >> SENT_BITS) as u8).wrapping_sub(self.sent);
        u32::from(since) >= us >> SENT_BITS
    }

    /// Whether this end asked for it.
    pub fn is_initiator(&self) -> bool {
        self.marks & ASKED != 0
    }

    /// Whether the other end has answered a challenge on this tuple, or uses it.
    fn is_proven(&self) -> bool {
        self.marks & PROVEN != 0
    }
}

impl<P: PathInfo, D> Lane<P, D> {
    /// Whether this end has asked for it and it works, or may still be answered: for a few tries.
    pub fn is_begun_here(&self) -> bool {
        self.is_initiator()
            && match self.state {
                LaneState::Pending => self.tries < WAY_TRIES,
                LaneState::Active => self.path.standing() > Standing::Suspect,
                LaneState::Gone => false,
            }
    }
}

/// Where a lane is kept, which is the caller's business: most sessions have few.
pub trait Hold<T>: DerefMut<Target = T> + Sized {
    /// Finds a place for `value`; `None` if there is none.
    fn hold(value: T) -> Option<Self>;
}

/// A value that is kept where it is.
pub struct Inline<T>(T);

impl<T> Deref for Inline<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Inline<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Hold<T> for Inline<T> {
    fn hold(value: T) -> Option<Self> {
        Some(Inline(value))
    }
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
    /// The peer does not answer: forget the session.
    Abandon,
}

/// What kind of packet is to be dispatched.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// A datagram.
    Datagram,
    /// Data of a stream, of which so many bytes are in flight with this packet.
    Stream(u32),
    /// A segment without data: it needs no capacity, and a late acknowledgement is dropped, so it
    /// takes the quickest path.
    Small,
    /// Data that was sent before: the path that it was lost on may be dead without anybody having
    /// noticed yet, so it takes one of those whose answers are not overdue.
    Again,
}

/// Who chooses the lane.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// By weight (section 3.5.1).
    Weighted,
    /// By predicted arrival.
    Earliest,
}

/// How packets are dispatched, from the parameters.
#[derive(Copy, Clone, Debug)]
pub struct Dispatch {
    /// Who chooses.
    pub scheduler: Scheduler,
    /// Algorithm 1's step S.
    pub step: u16,
    /// Algorithm 1's interval T, microseconds.
    pub interval: u32,
}

/// Whether a stream is finding out how much a path carries that has just been added.
///
/// TCP ends its slow start when the round-trip time grows, which it does as soon as the nearest
/// path has a queue, whatever the others could carry. So each path that is added, or returns, gets
/// a slow start of its own, until all have a queue or something is lost.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Probing {
    /// No.
    Done,
    /// Its window may grow now.
    Due,
    /// Its window may grow when everything before this sequence number is acknowledged, and not
    /// sooner than [`PROBE_US`] after this time: reports tell of a queue that late.
    Until(u32, u32),
}

/// Shortest time between two steps of a window that grows, microseconds.
const PROBE_US: u32 = 25_000;

/// With so much queue on all paths, microseconds, they are filled.
const FILLED_US: u32 = 8_000;

/// A session. `H` holds its lanes.
pub struct Session<P, D, H = Inline<Lane<P, D>>> {
    /// State.
    pub state: State,
    /// Whether this end opened it.
    pub initiator: bool,
    /// The lanes; 0 is the original one.
    pub lanes: [Option<H>; MAX_LANES],
    weights: [u16; MAX_LANES],
    smooth: Smooth<MAX_LANES>,
    last_adjust: u32,
    active: u32,
    eligible: u32,
    probing: Probing,
    shrink: Option<(u32, u32)>,
    looked_at: u32,
    tries: u8,
    next_try: u32,
    kinds: PhantomData<fn() -> (P, D)>,
}

impl<P: PathInfo, D, H: Hold<Lane<P, D>>> Session<P, D, H> {
    /// A session that is being opened, with its original lane; without any if that has no place.
    pub fn new(tuple: Tuple, path: P, initiator: bool, now: u32) -> Self {
        let mut lanes = [const { None }; MAX_LANES];
        lanes[0] = H::hold(Lane {
            tuple,
            path,
            route: None,
            state: LaneState::Active,
            ways: Ways::only(Via::Raw),
            stream: Stream::new(0),
            challenge: 0,
            echo: 0,
            tx_packets: 0,
            tx_bytes: 0,
            sent: (now >> SENT_BITS) as u8,
            marks: if initiator { ASKED } else { 0 },
            tries: 0,
            refusals: 0,
            next_try: now,
        });
        let mut session = Session {
            state: State::Opening,
            initiator,
            lanes,
            weights: [0; MAX_LANES],
            smooth: Smooth::new(),
            last_adjust: now,
            active: 0,
            eligible: 1,
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

    /// The lane with this tuple.
    pub fn find(&self, tuple: &Tuple) -> Option<usize> {
        self.lanes
            .iter()
            .position(|l| l.as_ref().is_some_and(|l| l.tuple == *tuple))
    }

    /// The weight of a lane.
    pub fn weight(&self, index: usize) -> u16 {
        self.weights.get(index).copied().unwrap_or(0)
    }

    /// The lanes that may carry data, one bit each.
    pub fn active_mask(&self) -> u32 {
        self.active
    }

    /// Number of lanes that may carry data.
    pub fn active_lanes(&self) -> usize {
        self.active.count_ones() as usize
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
        let lane = H::hold(Lane {
            tuple,
            path,
            route: None,
            state: LaneState::Pending,
            ways,
            stream: Stream::new((random >> 32) as u32),
            challenge: random,
            echo: 0,
            tx_packets: 0,
            tx_bytes: 0,
            sent: (now >> SENT_BITS) as u8,
            marks: if initiator { ASKED } else { 0 },
            tries: 0,
            refusals: 0,
            next_try: now,
        })?;
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
            lane.state = LaneState::Pending;
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
        lane.marks |= PROVEN;
        if lane.state != LaneState::Active {
            lane.state = LaneState::Active;
            self.relearn();
        }
        true
    }

    /// LANE_CONFIRM came in: true if it answers our challenge.
    pub fn on_lane_confirm(&mut self, index: usize, echo: u64) -> bool {
        let Some(lane) = self.lane_mut(index) else {
            return false;
        };
        if lane.is_initiator() || lane.challenge != echo || lane.state == LaneState::Gone {
            return false;
        }
        lane.marks |= PROVEN;
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
                l.marks |= PROVEN;
                true
            }
            _ => false,
        }
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

    /// Recomputes the set of active lanes; when it changes, the weights start anew: from what
    /// was learnt if that is known of all of them, else from 1000/N (section 3.5.1).
    fn relearn(&mut self) {
        let mut active = 0u32;
        for (i, lane) in self.lanes.iter().enumerate() {
            if lane.as_ref().is_some_and(|l| l.state == LaneState::Active) {
                active |= 1 << i;
            }
        }
        if active == self.active {
            return;
        }
        self.active = active;
        let known = self
            .lanes
            .iter()
            .flatten()
            .filter(|l| l.state == LaneState::Active)
            .all(|l| l.path.weight() != 0);
        let initial = weighted::initial(active.count_ones() as usize);
        for (weight, lane) in self.weights.iter_mut().zip(&self.lanes) {
            *weight = match lane {
                Some(l) if l.state == LaneState::Active && known => l.path.weight(),
                Some(l) if l.state == LaneState::Active => initial,
                _ => 0,
            };
        }
        self.smooth = Smooth::new();
    }

    /// The tuple of an active added lane on a path.
    pub fn added_on(&self, path: &P) -> Option<Tuple> {
        let mut added = self.lanes.iter().skip(1).flatten();
        added
            .find(|l| l.state == LaneState::Active && l.path.is_same(path))
            .map(|l| l.tuple)
    }

    /// Whether other lanes have taken the original one's place: what keeps track of
    /// connections there lets the session's own tuple pass only while all of the session does.
    pub fn is_replaced(&self) -> bool {
        let Some(original) = self.lane(0) else {
            return false;
        };
        let mut added = self.lanes.iter().skip(1).flatten();
        added.any(|l| {
            l.state == LaneState::Active
                && (original.path.is_strict() || l.path.is_same(&original.path))
        })
    }

    /// The lanes whose paths do not answer, one bit each.
    pub fn unusable(&self) -> u32 {
        let lanes = self.lanes.iter().enumerate();
        lanes
            .filter_map(|(i, lane)| Some((i, lane.as_ref()?)))
            .filter(|(_, lane)| lane.path.standing() < Standing::Doubtful)
            .fold(0, |mask, (i, _)| mask | (1 << i))
    }

    /// How far the best of the active lanes' paths can be relied on.
    pub fn best_standing(&self) -> Standing {
        self.lanes
            .iter()
            .flatten()
            .filter(|l| l.state == LaneState::Active)
            .map(|l| l.path.standing())
            .max()
            .unwrap_or(Standing::Down)
    }

    /// Whether a burst may leave now: the queue of one of the paths in use is far from full, or it
    /// is short.
    pub fn has_room(&self, now: u32) -> bool {
        const SHORT_US: u32 = 10_000;
        let used = self.eligible();
        let lanes = self.lanes.iter().enumerate();
        let mut lanes = lanes.filter(|(i, _)| used & (1 << i) != 0);
        lanes.any(|(_, lane)| {
            lane.as_ref().is_some_and(|l| {
                let full = l.path.full_us();
                l.path.wait_us(now) < full.saturating_sub(full / 4).max(SHORT_US)
            })
        })
    }

    /// The active lanes whose paths can be relied on best; the original one if all are down.
    fn eligible(&self) -> u32 {
        let (mut best, mut lanes) = (Standing::Down, 1u32);
        for (i, lane) in self.lanes.iter().enumerate() {
            let Some(lane) = lane else { continue };
            if self.active & (1 << i) == 0 || i == 0 && self.is_replaced() {
                continue;
            }
            let standing = lane.path.standing();
            if standing > best {
                (best, lanes) = (standing, 1 << i);
            } else if standing == best && best != Standing::Down {
                lanes |= 1 << i;
            }
        }
        lanes
    }

    /// Algorithm 1 for the eligible lanes, every interval T.
    fn adjust(&mut self, now: u32, eligible: u32, dispatch: &Dispatch) {
        if seq::age(now, self.last_adjust) < dispatch.interval {
            return;
        }
        self.last_adjust = now;
        let mut weights = [0u16; MAX_LANES];
        let mut queues = [0u32; MAX_LANES];
        let mut index = [0usize; MAX_LANES];
        let mut n = 0;
        for (i, lane) in self.lanes.iter().enumerate() {
            let Some(lane) = lane else { continue };
            if eligible & (1 << i) == 0 {
                continue;
            }
            weights[n] = self.weights[i];
            queues[n] = lane.path.queue_us();
            index[n] = i;
            n += 1;
        }
        if n < 2 {
            return;
        }
        weighted::adjust(&mut weights[..n], &queues[..n], dispatch.step);
        for (weight, i) in weights[..n].iter().zip(&index[..n]) {
            self.weights[*i] = *weight;
            if let Some(lane) = self.lane(*i) {
                lane.path.learn(*weight);
            }
        }
    }

    /// Chooses the lane for a packet of `len` bytes. `fits` says whether a lane can carry the
    /// packet.
    pub fn pick(
        &mut self,
        now: u32,
        len: u32,
        class: Class,
        dispatch: &Dispatch,
        fits: impl Fn(usize, &mut Lane<P, D>) -> bool,
    ) -> usize {
        let mut eligible = self.eligible();
        if eligible != self.eligible {
            self.on_change(eligible);
        }
        if self.active == 1 {
            return 0;
        }
        if dispatch.scheduler == Scheduler::Weighted {
            self.adjust(now, eligible, dispatch);
        }
        while eligible != 0 {
            let among = match class {
                Class::Again => self.lively(now, eligible),
                _ => eligible,
            };
            let choice = match dispatch.scheduler {
                Scheduler::Weighted => self.by_weight(class, among, len),
                Scheduler::Earliest => self.by_arrival(now, class, among, len),
            };
            let Some(index) = choice else { break };
            if let Some(lane) = self.lane_mut(index) {
                if fits(index, lane) {
                    lane.path.queued(now, len);
                    return index;
                }
            }
            eligible &= !(1 << index);
        }
        0
    }

    /// The set of paths in use changes. Those that come are filled anew; what was in flight on
    /// those that go does not fit into the others.
    fn on_change(&mut self, eligible: u32) {
        let before = self.eligible;
        self.eligible = eligible;
        if eligible & !before != 0 {
            self.probing = Probing::Due;
        }
        let gone = before & !eligible;
        if gone != 0 && eligible & before != 0 {
            // Bytes per second, in thousands; as good as the others where nothing is known.
            let sum = |mask: u32| {
                let lanes = self.lanes.iter().enumerate();
                let used = lanes.filter(|(i, _)| mask & (1 << i) != 0);
                let rates = used.filter_map(|(_, l)| Some(l.as_ref()?.path.rate() / 1000));
                rates.fold((0u32, false), |(sum, unknown), rate| {
                    (sum.saturating_add(rate), unknown || rate == 0)
                })
            };
            let (all, unknown) = sum(before);
            let (rest, _) = sum(before & eligible);
            self.shrink = Some(if unknown {
                ((before & eligible).count_ones(), before.count_ones())
            } else {
                (rest, all)
            });
        }
    }

    /// A lane in use on which a question is due although nothing is sent there: what is known of
    /// its path must not grow old while others are better. To be asked for each packet.
    pub fn forgotten(&mut self, now: u32, interval: u32) -> Option<usize> {
        if self.eligible.is_power_of_two() || seq::age(now, self.looked_at) < interval {
            return None;
        }
        self.looked_at = now;
        let lanes = self.lanes.iter().enumerate();
        let mut used = lanes.filter(|(i, _)| self.eligible & (1 << i) != 0);
        used.find(|(_, lane)| {
            lane.as_ref()
                .is_some_and(|l| l.path.is_forgotten(now, interval))
        })
        .map(|(i, _)| i)
    }

    /// The part of TCP's window that is left after paths have gone, as a fraction, once.
    pub fn take_shrink(&mut self) -> Option<(u32, u32)> {
        self.shrink.take()
    }

    /// Whether TCP's window should grow by a part because a path that was added is not filled yet.
    /// To be asked for each segment with data, which ends at `end`, after [`Session::pick`]; `again`
    /// says that it was sent before, `una` what is acknowledged.
    pub fn may_grow(&mut self, now: u32, end: u32, una: u32, again: bool) -> bool {
        match self.probing {
            Probing::Done => return false,
            Probing::Until(mark, since)
                if !again && (seq::before(una, mark) || seq::age(now, since) < PROBE_US) =>
            {
                return false
            }
            _ => {}
        }
        let lanes = self.lanes.iter().enumerate();
        let mut used = lanes.filter(|(i, _)| self.eligible & (1 << i) != 0);
        let filled = used.all(|(_, lane)| {
            let queue = |l: &Lane<P, D>| l.path.wait_us(now).max(l.path.queue_us());
            lane.as_deref().is_none_or(|l| queue(l) >= FILLED_US)
        });
        self.probing = if again || filled {
            Probing::Done
        } else {
            Probing::Until(end, now)
        };
        self.probing != Probing::Done
    }

    fn by_weight(&mut self, class: Class, among: u32, len: u32) -> Option<usize> {
        let quickest = match class {
            Class::Small => self.quickest(among),
            _ => None,
        };
        quickest.or_else(|| self.smooth.pick(&self.weights, among, len))
    }

    fn by_arrival(&mut self, now: u32, class: Class, among: u32, len: u32) -> Option<usize> {
        const NONE: Candidate = Candidate {
            lane: 0,
            wait: 0,
            loss: 0,
            base: 0,
            rate: 0,
            service: 0,
            rtt: 0,
            noise: 0,
        };
        let mut candidates = [NONE; MAX_LANES];
        let mut n = 0;
        let lanes = self.lanes.iter().enumerate();
        for (i, lane) in lanes.filter(|(i, _)| among & (1 << i) != 0) {
            let Some(lane) = lane else { continue };
            // One that was never measured has to wait until it is.
            let (Some(base), Some(slot)) = (lane.path.base_us(), candidates.get_mut(n)) else {
                continue;
            };
            let rate = lane.path.rate();
            let service = u64::from(len).saturating_mul(1_000_000);
            let service = service.checked_div(u64::from(rate)).unwrap_or(0);
            *slot = Candidate {
                lane: i,
                wait: lane.path.wait_us(now),
                loss: lane.path.loss(),
                base,
                rate,
                service: u32::try_from(service).unwrap_or(u32::MAX),
                rtt: lane.path.base_rtt_us(),
                noise: lane.path.noise_us(),
            };
            n += 1;
        }
        let load = match class {
            Class::Small | Class::Again => Load::Urgent,
            Class::Datagram => Load::Datagram,
            Class::Stream(flight) => Load::Stream(flight),
        };
        let candidates = candidates.get_mut(..n)?;
        let Some(chosen) = earliest::choose(candidates, load) else {
            return (0..MAX_LANES).find(|i| among & (1 << i) != 0);
        };
        if chosen.is_power_of_two() {
            return Some(chosen.trailing_zeros() as usize);
        }
        self.smooth.pick(&[weighted::MAX; MAX_LANES], chosen, len)
    }

    fn quickest(&self, eligible: u32) -> Option<usize> {
        self.lanes
            .iter()
            .enumerate()
            .filter(|(i, _)| eligible & (1 << i) != 0)
            .filter_map(|(i, lane)| Some((i, lane.as_ref()?.path.delay_us()?)))
            .min_by(|(_, a), (_, b)| a.wrapping_sub(*b).cmp(&0))
            .map(|(i, _)| i)
    }

    /// The lanes whose paths do not keep us waiting for an answer, or not longer than the others.
    fn lively(&self, now: u32, eligible: u32) -> u32 {
        const LATE_US: u32 = 2_000;
        let silent = |i: &usize| Some(self.lane(*i)?.path.silent_us(now));
        let lanes = || (0..MAX_LANES).filter(|i| eligible & (1 << i) != 0);
        let Some(least) = lanes().filter_map(|i| silent(&i)).min() else {
            return eligible;
        };
        let recent = |i: &usize| silent(i).is_some_and(|us| us <= least.saturating_add(LATE_US));
        lanes().filter(recent).fold(0, |mask, i| mask | (1 << i))
    }

    /// The next thing to be done, if any; to be called until it returns `None`. `random` is for a
    /// new challenge.
    pub fn poll(&mut self, now: u32, random: u64) -> Option<Todo> {
        if self.state == State::Opening && self.initiator && !seq::before(now, self.next_try) {
            if self.tries >= TRIES {
                return Some(Todo::Abandon);
            }
            self.next_try = now.wrapping_add(RETRY_US << self.tries);
            self.tries = self.tries.saturating_add(1);
            return Some(Todo::Open);
        }
        if self.state != State::Open {
            return None;
        }
        let mut dropped = None;
        for (i, slot) in self.lanes.iter_mut().enumerate() {
            let Some(lane) = slot else { continue };
            if i == 0 || lane.state == LaneState::Active || seq::before(now, lane.next_try) {
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
            if lane.is_initiator() && lane.ways.has_next() && lane.tries >= WAY_TRIES {
                return Some(Todo::Switch(i));
            }
            if lane.tries >= TRIES {
                dropped = Some(i);
                break;
            }
            lane.next_try = now.wrapping_add(RETRY_US << lane.tries);
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

    /// The lane has got the tuple of its next way; without one it is given up for a while.
    pub fn switched(&mut self, index: usize, tuple: Option<Tuple>, random: u64, now: u32) {
        if let Some(lane) = self.lane_mut(index) {
            lane.ways.advance();
            lane.tries = 0;
            lane.next_try = now;
            lane.route = None;
            lane.challenge = random;
            lane.stream = Stream::new((random >> 32) as u32);
            match tuple {
                Some(tuple) => lane.tuple = tuple,
                // The next one, if there is any.
                None => lane.tries = TRIES,
            }
        }
    }

    /// Microseconds until [`Session::poll`] has something to do; `None` for never.
    pub fn poll_in(&self, now: u32) -> Option<u32> {
        let until = |at: u32| seq::delta(at, now).max(0) as u32;
        match self.state {
            State::Opening => self.initiator.then(|| until(self.next_try)),
            State::Closing => None,
            State::Open => self
                .lanes
                .iter()
                .skip(1)
                .flatten()
                .filter(|l| match l.state {
                    LaneState::Active => false,
                    LaneState::Pending => true,
                    LaneState::Gone => l.is_initiator() || l.is_proven(),
                })
                .map(|l| until(l.next_try))
                .min(),
        }
    }
}
