// SPDX-License-Identifier: GPL-2.0

//! A session's use of a path.

use crate::proto::addr::Addr;
use crate::proto::addr::PortPair;
use crate::proto::addr::Tuple;
use crate::proto::interface::Reserve;
use crate::proto::path::Standing;
use crate::proto::wrap::Stream;
use crate::proto::wrap::Ways;
use core::ops::Deref;
use core::ops::DerefMut;

/// Tries of LANE while there is another way to be tried.
pub(super) const WAY_TRIES: u8 = 3;

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
    /// The local and the remote address.
    fn ends(&self) -> (Addr, Addr);
    /// How far it can be relied on.
    fn standing(&self) -> Standing;
    /// How long an answer has been overdue, microseconds; 0 while none is.
    fn silent_us(&self, now: u32) -> u32;
    /// Whether a session's own tuple does not get through while other lanes are used.
    fn is_strict(&self) -> bool;
    /// The interface it leaves by; 0 while unknown.
    fn ifindex(&self) -> u32;
    /// Why it is used only when nothing else works.
    fn reserve(&self) -> Option<Reserve>;
    /// Whether its interface is not to be used for lanes.
    fn is_excluded(&self) -> bool;
    /// Whether the path itself is not to be used.
    fn is_disabled(&self) -> bool;
    /// What its interface is said to cost.
    fn cost(&self) -> u32;
    /// Whether it is the same path.
    fn is_same(&self, other: &Self) -> bool;
    /// Queueing delay towards the peer, microseconds.
    fn queue_us(&self) -> u32;
    /// What time has left of that since it was measured, microseconds: an old one says nothing.
    fn queue_left_us(&self, now: u32) -> u32;
    /// Smoothed one-way delay towards the peer with the clocks' offset, microseconds, once known.
    fn delay_us(&self) -> Option<i32>;
    /// Least one-way delay towards the peer with the clocks' offset, microseconds, once known.
    fn base_us(&self) -> Option<i32>;
    /// Least round-trip time, microseconds; 0 while unknown.
    fn base_rtt_us(&self) -> u32;
    /// What it carries towards the peer, bytes per second; 0 while unknown.
    fn rate(&self) -> u32;
    /// What a single packet that finds nothing waiting may expect, bytes per second; 0 while
    /// unknown.
    fn prospect(&self) -> u32;
    /// Whether its rate is unknown, and may soon be known.
    fn is_new(&self) -> bool;
    /// The part of what is sent that is lost, in 1024ths.
    fn loss(&self) -> u32;
    /// The part of what TCP sends that is lost and is not congestion, in 1024ths.
    fn random_loss(&self) -> u32;
    /// How long a packet that is sent now is expected to wait in its queue, microseconds.
    fn wait_us(&self, now: u32) -> u32;
    /// So many more bytes are in its queue. `assumed` is its rate, bytes per second, until it may
    /// be known; 0 for none, and they take no time then.
    fn queued(&self, now: u32, len: u32, assumed: u32);
    /// Whether something urgent was sent on it lately, which others leave its queue to.
    fn is_urgent(&self, now: u32) -> bool;
    /// Something urgent is sent on it.
    fn hurry(&self, now: u32);
    /// The queue that counts as full, microseconds.
    fn full_us(&self) -> u32;
    /// The queue in which packets get lost, microseconds; 0 while none did lately.
    fn limit_us(&self) -> u32;
    /// Mean deviation of the one-way delay towards the peer, microseconds.
    fn noise_us(&self) -> u32;
    /// Whether a question is due on a path that carries nothing while others are in use.
    /// `interval` is that of paths in use, microseconds.
    fn is_forgotten(&self, now: u32, interval: u32) -> bool;
    /// Whether a question is due because of what was sent since the last one, but for the last
    /// `len` bytes: see [`asks_behind`](crate::proto::rate::asks_behind). It is asked then.
    fn take_behind(&self, now: u32, len: u32) -> bool;
    /// The weight that sessions have learnt; 0 for none.
    fn weight(&self) -> u16;
    /// Keeps a weight for later sessions.
    fn learn(&self, weight: u16);
    /// The weight that was set and counts in place of what is learnt; 0 for none.
    fn fixed_weight(&self) -> u16;
}

/// A lane. `P` is the path, `D` a route that the caller caches.
///
/// What each choice of a lane looks at comes first, then what is noted of the one that was chosen.
#[repr(C)]
pub struct Lane<P, D> {
    /// The path.
    pub path: P,
    /// The caller's cached route.
    pub route: Option<D>,
    /// State.
    pub state: LaneState,
    // `ASKED`, `PROVEN` and so on in one byte, because lanes are many.
    marks: u8,
    /// How its packets travel, and how else they might.
    pub ways: Ways,
    /// What its tuple on the wire is beside the path's addresses.
    pub ports: PortPair,
    // When this end sent something last, in `SENT_BITS`th parts of the clock.
    sent: u8,
    pub(super) tries: u8,
    pub(super) refusals: u8,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    pub(super) next_try: u32,
    /// The made-up connection, for [`Via::Tcp`](crate::proto::wrap::Via::Tcp).
    pub stream: Stream,
    /// The challenge that this end has out.
    pub challenge: u64,
    /// The challenge of the other end, to be echoed.
    pub echo: u64,
}

/// This end has asked for the lane.
const ASKED: u8 = 1;
/// See [`Lane::is_proven`].
const PROVEN: u8 = 2;
/// See [`Lane::is_forsaken`].
const FORSAKEN: u8 = 4;
/// See [`Lane::is_renewed`].
const RENEWED: u8 = 8;
/// Somebody says that the lane is not wanted, and may be right.
const UNWANTED: u8 = 16;

/// Bits of the clock, microseconds, that make no difference to when something was sent.
const SENT_BITS: u32 = 21;

impl<P: PathInfo, D> Lane<P, D> {
    /// The tuple on the wire.
    pub fn tuple(&self) -> Tuple {
        let (local, remote) = self.path.ends();
        self.ports.between(local, remote)
    }
}

impl<P, D> Lane<P, D> {
    /// A lane on a tuple between the path's addresses that is asked for: `challenge` is random,
    /// `asked` says that this end does it.
    pub(super) fn new(
        tuple: Tuple,
        path: P,
        ways: Ways,
        challenge: u64,
        asked: bool,
        now: u32,
    ) -> Lane<P, D> {
        Lane {
            ports: PortPair::of(&tuple),
            path,
            route: None,
            state: LaneState::Pending,
            ways,
            stream: Stream::new((challenge >> 32) as u32),
            challenge,
            echo: 0,
            tx_packets: 0,
            tx_bytes: 0,
            sent: (now >> SENT_BITS) as u8,
            marks: if asked { ASKED } else { 0 },
            tries: 0,
            refusals: 0,
            next_try: now,
        }
    }

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
    pub(super) fn is_proven(&self) -> bool {
        self.marks & PROVEN != 0
    }

    pub(super) fn set_proven(&mut self) {
        self.marks |= PROVEN;
    }

    /// Whether the other end asked for it, it never came up, and this end no longer waits for the
    /// other to ask again: that one may have taken a lane that this end asked for, as this end has
    /// taken this one. Then there are two, each known to one end only.
    pub fn is_forsaken(&self) -> bool {
        self.state == LaneState::Gone && self.marks & FORSAKEN != 0
    }

    /// Whether the lane is to be forsaken: once.
    pub(super) fn may_be_forsaken(&self) -> bool {
        self.state == LaneState::Gone && self.marks & (ASKED | PROVEN | FORSAKEN) == 0
    }

    pub(super) fn forsake(&mut self) {
        self.marks |= FORSAKEN;
    }

    /// Whether it is up and was asked for once more, because somebody on the way may have forgotten
    /// its tuple, and that was not answered yet.
    pub fn is_renewed(&self) -> bool {
        self.state == LaneState::Active && self.marks & RENEWED != 0
    }

    pub(super) fn set_renewed(&mut self, unwanted: bool) {
        self.marks |= RENEWED | if unwanted { UNWANTED } else { 0 };
    }

    pub(super) fn end_renewal(&mut self) {
        self.marks &= !(RENEWED | UNWANTED);
    }

    /// Whether it was renewed because somebody said that it is not wanted.
    pub(super) fn is_unwanted(&self) -> bool {
        self.is_renewed() && self.marks & UNWANTED != 0
    }
}

impl<P: PathInfo, D> Lane<P, D> {
    /// How far it can be relied on: as far as its path, unless its own tuple is in doubt.
    pub fn standing(&self) -> Standing {
        self.standing_on(self.path.standing())
    }

    /// The same, for who has asked its path.
    pub(super) fn standing_on(&self, path: Standing) -> Standing {
        match self.is_renewed() {
            true => path.min(Standing::Suspect),
            false => path,
        }
    }

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
