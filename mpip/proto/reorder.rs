// SPDX-License-Identifier: GPL-2.0

//! Receive buffer that restores the order of a TCP session (section 4.2 of the
//! paper).
//!
//! Segments that come too early are held back until the hole before them is
//! filled or given up. A hole is given up when
//!
//! - every lane that delivers has delivered something behind it: lanes are
//!   first-in-first-out, so what is missing was lost;
//! - a segment behind it has waited for the longest difference between the
//!   lanes' delays;
//! - too many packets or bytes are held.
//!
//! What was lost can be asked for before it is given up ([`Reorder::next_missing`]): the sender
//! still has it, and TCP need not see that it was missing.
//!
//! The paper gives up only when 100 packets are held, and then releases all of
//! them; here what lies behind a later hole stays.
//!
//! Datagrams with numbers are put in order as segments of one byte each. Their sender tells what
//! was lost on a lane ([`Reorder::lost`]); that is not waited for.
//!
//! Nothing is ever dropped, and nothing that TCP needs for its own recovery is
//! delayed: segments at or before the expected number pass at once, and so do
//! pure acknowledgments.
//!
//! After each call of [`Reorder::push`], [`Reorder::acked`],
//! [`Reorder::flush`] and at each [`Reorder::deadline`] the caller calls
//! [`Reorder::pop`] until it returns `None`, and delivers in that order.

use crate::proto::seq;
use core::borrow::BorrowMut;
use core::marker::PhantomData;

/// Most lanes that are told apart.
pub const MAX_LANES: usize = 8;

/// A segment further than this ahead of the expected number is not held, bytes.
/// No hole between two lanes is that large; what lies further ahead is forged,
/// or the expected number has fallen behind and the next acknowledgment
/// corrects it.
pub const MAX_HOLE: u32 = 1 << 26;

/// A lane that has delivered nothing for so long is not thought to bring anything, microseconds.
const IDLE_US: u32 = 1_000_000;

/// How often something that is missing is asked for.
const ASKS: u8 = 2;

/// Where all come by one lane nothing is asked for in this time, microseconds, after a refusal or
/// after the other lanes have gone: what is lost then is lost to congestion, and the sooner TCP
/// sees it the better.
const REFRAIN_US: u32 = 1_000_000;

/// What is missing is asked for after this time, microseconds: two processors may have swapped two
/// packets.
const SETTLE_US: u32 = 1_000;

/// Numbers further apart than this do not belong to the same window (RFC 7323).
const MAX_WINDOW: u32 = 1 << 30;

/// A segment's place in the stream.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// First sequence number.
    pub seq: u32,
    /// Sequence number behind the segment, SYN and FIN counted.
    pub end: u32,
    /// Index of the lane that it came on, below [`MAX_LANES`].
    pub lane: u8,
    /// Memory that it takes.
    pub bytes: u32,
    /// Whether it is an RST, which keeps its place in the stream although it is
    /// empty: TCP wants it exactly at the expected number.
    pub rst: bool,
}

/// Limits of what is held.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Packets; at most the number of storage slots less one.
    pub packets: usize,
    /// Bytes of memory.
    pub bytes: u32,
    /// Longest wait, microseconds; below 2^30.
    pub wait_us: u32,
    /// How much later than on the quickest lane something may come on the slowest one,
    /// microseconds.
    pub spread_us: u32,
    /// How long it may take until something that is asked for has come, microseconds; 0 if nothing
    /// is to be asked for.
    pub repair_us: u32,
    /// How long what counts as lost is waited for all the same, microseconds: processors may have
    /// swapped packets.
    pub settle_us: u32,
}

/// A held packet in the storage, or what stands for one that was lost.
#[derive(Debug)]
pub struct Held<T> {
    seq: u32,
    end: u32,
    bytes: u32,
    /// When the first of this packet and all those behind it came.
    oldest: u32,
    /// What is known of the hole before it, if there is one.
    hole: Hole,
    packet: Option<T>,
}

/// What is known of a hole.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Hole {
    /// What is missing may be under way.
    Open,
    /// It was lost, and asked for at this time, and so many times in all.
    Asked(u32, u8),
    /// It will not be sent again.
    Refused,
}

/// What becomes of a pushed packet.
#[derive(PartialEq, Eq, Debug)]
pub enum Push<T> {
    /// Deliver it now.
    Pass(T),
    /// It is held.
    Held,
    /// Deliver it now: there was no room, so the hole before it was given up.
    /// Give the buffer storage, see [`Reorder::wants_storage`].
    Refused(T),
    /// Deliver it now: it does not belong to the stream as far as this is
    /// known, and changed nothing.
    Wild(T),
}

/// How often holes were given up, by reason.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct GivenUp {
    /// After the longest wait.
    pub timeout: u32,
    /// Because every lane had delivered later packets.
    pub lost: u32,
    /// Because too much was held, or there was no storage.
    pub overflow: u32,
}

/// What a lane has delivered.
#[derive(Copy, Clone, Debug)]
struct Lane {
    /// Highest sequence number that everything delivered came before.
    high: u32,
    /// When it last delivered something.
    at: u32,
}

impl Lane {
    /// Whether it has brought nothing for longer than `wait`, microseconds.
    fn is_silent(&self, now: u32, wait: u32) -> bool {
        seq::age(now, self.at) > wait
    }
}

/// The buffer. `B` is its storage, supplied by the caller when it is needed.
///
/// Invariants: the `len` slots from `head` on, modulo the number of slots, are
/// `Some`, sorted by `seq`, and those of equal `seq` in the order of their
/// arrival; `bytes` is the sum of theirs.
#[derive(Debug)]
pub struct Reorder<T, B> {
    next: u32,
    limits: Limits,
    lanes: [Option<Lane>; MAX_LANES],
    expected: u8,
    /// Since when all come by one lane, or when the peer last would not send something again.
    refrained: Option<u32>,
    given_up: GivenUp,
    bytes: u32,
    head: usize,
    len: usize,
    storage: Option<B>,
    packets: PhantomData<T>,
}

impl<T, B: BorrowMut<[Option<Held<T>>]>> Reorder<T, B> {
    /// A buffer without storage. `next` is the expected sequence number. The
    /// limits are the paper's 100 packets, 1 MiB and 100 ms.
    pub const fn new(next: u32) -> Self {
        Self {
            next,
            limits: Limits {
                packets: 100,
                bytes: 1 << 20,
                wait_us: 100_000,
                spread_us: 50_000,
                repair_us: 0,
                settle_us: 0,
            },
            lanes: [None; MAX_LANES],
            expected: 0,
            refrained: None,
            given_up: GivenUp {
                timeout: 0,
                lost: 0,
                overflow: 0,
            },
            bytes: 0,
            head: 0,
            len: 0,
            storage: None,
            packets: PhantomData,
        }
    }

    /// The next sequence number that is expected in order.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Packets held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no packet is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory held, bytes.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Sets all limits.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Sets the longest wait, microseconds, to the largest difference between
    /// the delays of the lanes.
    pub fn set_wait(&mut self, wait_us: u32) {
        self.limits.wait_us = wait_us;
    }

    /// Says on which lanes, one bit each, the peer may send. One that is new counts as if it
    /// had just delivered something: what comes on it first may have been overtaken. Nothing is
    /// waited for on one that has gone.
    pub fn expect_lanes(&mut self, now: u32, lanes: u8) {
        let fresh = lanes & !self.expected;
        let gone = self.expected & !lanes;
        if gone != 0 && Self::is_alone(lanes) {
            self.refrained = Some(now);
        } else if !self.refrains(now) {
            self.refrained = None;
        }
        self.expected = lanes;
        let (high, wait) = (self.next, self.limits.wait_us);
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            if (gone >> i) & 1 == 1 && lane.is_some_and(|lane| lane.is_silent(now, wait)) {
                *lane = None;
            }
            if (fresh >> i) & 1 == 1 {
                let high = lane.map_or(high, |known| known.high);
                *lane = Some(Lane { high, at: now });
            }
        }
    }

    /// Whether the peer is expected to send on a lane.
    pub fn expects(&self, lane: u8) -> bool {
        1u8.checked_shl(lane.into()).unwrap_or(0) & self.expected != 0
    }

    /// Whether a lane has brought nothing for longer than anything is waited for.
    pub fn is_silent(&self, now: u32, lane: usize) -> bool {
        let lane = self.lanes.get(lane).copied().flatten();
        lane.is_none_or(|lane| lane.is_silent(now, self.limits.wait_us))
    }

    /// Whether there is storage.
    pub fn has_storage(&self) -> bool {
        self.storage.is_some()
    }

    /// Whether this segment would be held if there were storage.
    pub fn wants_storage(&self, seg: &Segment) -> bool {
        self.storage.is_none() && !self.is_wild(seg) && self.is_early(seg)
    }

    /// Supplies the storage, whose slots must be `None`. Given back if there is
    /// some already.
    pub fn attach(&mut self, storage: B) -> Option<B> {
        if self.storage.is_some() {
            return Some(storage);
        }
        self.head = 0;
        self.storage = Some(storage);
        None
    }

    /// Takes the storage away if nothing is held.
    pub fn detach(&mut self) -> Option<B> {
        if self.len == 0 {
            self.storage.take()
        } else {
            None
        }
    }

    /// How often holes were given up since the last call.
    pub fn take_given_up(&mut self) -> GivenUp {
        core::mem::take(&mut self.given_up)
    }

    /// As [`push`](Self::push), for what is in order while nothing waits: true if it is to be
    /// delivered now. Else it has to be pushed.
    pub fn passes(&mut self, now: u32, seg: &Segment) -> bool {
        let passes = self.is_empty() && !self.is_wild(seg) && !self.is_early(seg);
        if passes {
            self.advance(now, seg);
        }
        passes
    }

    /// A segment that does not have to wait goes past.
    fn advance(&mut self, now: u32, seg: &Segment) {
        self.lane_progress(now, seg.lane, seg.end);
        // A pure acknowledgment may come before the data that it follows.
        if seq::before_eq(seg.seq, self.next) {
            self.next = seq::max(self.next, seg.end);
        }
    }

    /// Takes a segment that came at `now`.
    pub fn push(&mut self, now: u32, seg: Segment, packet: T) -> Push<T> {
        if self.is_wild(&seg) {
            return Push::Wild(packet);
        }
        if !self.is_early(&seg) {
            self.advance(now, &seg);
            return Push::Pass(packet);
        }
        self.lane_progress(now, seg.lane, seg.end);
        if !self.has_room() {
            self.given_up.overflow = self.given_up.overflow.wrapping_add(1);
            self.next = seg.end;
            return Push::Refused(packet);
        }
        self.insert(now, &seg, Some(packet));
        Push::Held
    }

    /// What lies between two numbers was lost, as is known since `now`: nothing waits for it. Needs
    /// storage.
    pub fn lost(&mut self, now: u32, seq: u32, end: u32) {
        let seg = Segment {
            seq,
            end,
            lane: u8::MAX,
            bytes: 0,
            rst: false,
        };
        if !self.is_wild(&seg) && !seq::before(seq, self.next) && self.has_room() {
            self.insert(now, &seg, None);
        }
    }

    /// The next packet to deliver: it is in order, or the hole before it is
    /// given up.
    pub fn pop(&mut self, now: u32) -> Option<T> {
        loop {
            if let Some(packet) = self.pop_one(now)? {
                return Some(packet);
            }
        }
    }

    /// As [`pop`](Self::pop), or `Some(None)` for one that was lost.
    fn pop_one(&mut self, now: u32) -> Option<Option<T>> {
        let front = self.front()?;
        let (seq, oldest) = (front.seq, front.oldest);
        if seq::after(seq, self.next) {
            let full = self.is_full();
            let (late, lost) = match front.hole {
                Hole::Asked(at, times) => (seq::age(now, at) >= self.patience(times), false),
                Hole::Refused => (false, true),
                Hole::Open => (
                    seq::age(now, oldest) >= self.limits.wait_us,
                    !self.is_repairing(now)
                        && seq::age(now, oldest) >= self.limits.settle_us
                        && self.is_lost(now, self.next, oldest),
                ),
            };
            let reason = if full {
                &mut self.given_up.overflow
            } else if late {
                &mut self.given_up.timeout
            } else if lost {
                &mut self.given_up.lost
            } else {
                return None;
            };
            *reason = reason.wrapping_add(1);
        } else if front.packet.is_none() && seq == self.next {
            if seq::age(now, oldest) < self.limits.settle_us && !self.is_full() {
                return None;
            }
            self.given_up.lost = self.given_up.lost.wrapping_add(1);
        }
        let held = self.remove_front()?;
        self.next = seq::max(self.next, held.end);
        Some(held.packet)
    }

    /// When [`pop`](Self::pop) has to be called even if nothing comes; `None`
    /// if nothing is held.
    pub fn deadline(&self, now: u32) -> Option<u32> {
        let front = self.front()?;
        Some(match front.hole {
            Hole::Open if seq::age(now, front.oldest) < self.limits.settle_us => {
                front.oldest.wrapping_add(self.limits.settle_us)
            }
            Hole::Asked(at, times) => at.wrapping_add(self.patience(times)),
            _ if seq::age(now, front.oldest) < self.limits.spread_us => {
                front.oldest.wrapping_add(self.limits.spread_us)
            }
            _ => front.oldest.wrapping_add(self.limits.wait_us),
        })
    }

    /// How long something is waited for that was asked for so many times, microseconds. Only an
    /// arrival leads to another request: there is some time for one.
    fn patience(&self, times: u8) -> u32 {
        let once = self.limits.repair_us;
        if times < ASKS {
            once.saturating_add(once / 2)
        } else {
            once
        }
    }

    /// Whether there is one lane only.
    fn is_alone(lanes: u8) -> bool {
        lanes.count_ones() < 2
    }

    /// Whether nothing is asked for just now if there is one lane only.
    fn refrains(&self, now: u32) -> bool {
        let lately = |at| seq::age(now, at) < REFRAIN_US;
        self.refrained.is_some_and(lately)
    }

    /// Whether what was lost is asked for.
    fn is_repairing(&self, now: u32) -> bool {
        self.limits.repair_us != 0 && !(Self::is_alone(self.expected) && self.refrains(now))
    }

    /// The next hole that is known to be lost and was not asked for yet: the first sequence number
    /// that is missing, and the one behind. To be called until it returns `None` before
    /// [`pop`](Self::pop).
    pub fn next_missing(&mut self, now: u32) -> Option<(u32, u32)> {
        let oldest = self.front()?.oldest;
        // In nearly all cases nothing was.
        if !self.is_repairing(now) || !self.is_lost(now, self.next, oldest) {
            return None;
        }
        let mut end = self.next;
        for i in 0..self.len {
            let held = self.at(i)?;
            if seq::after(held.seq, end) {
                if !self.is_lost(now, end, held.oldest) {
                    return None;
                }
                let times = match held.hole {
                    Hole::Open if seq::age(now, held.oldest) < SETTLE_US => return None,
                    Hole::Open => Some(1),
                    // What was sent again may be lost as well.
                    Hole::Asked(at, times) => (times < ASKS
                        && seq::age(now, at) >= self.limits.repair_us)
                        .then(|| times.saturating_add(1)),
                    Hole::Refused => None,
                };
                if let Some(times) = times {
                    let hole = (end, held.seq);
                    self.at_mut(i)?.hole = Hole::Asked(now, times);
                    return Some(hole);
                }
            }
            end = seq::max(end, held.end);
        }
        None
    }

    /// What is missing between two sequence numbers will not be sent again, as is known since
    /// `now`.
    pub fn refused(&mut self, now: u32, from: u32, to: u32) {
        self.refrained = Some(now);
        for i in 0..self.len {
            let Some(held) = self.at_mut(i) else { return };
            if seq::after(held.seq, to) {
                return;
            }
            if seq::after(held.seq, from) && matches!(held.hole, Hole::Asked(..)) {
                held.hole = Hole::Refused;
            }
        }
    }

    /// The local TCP has acknowledged everything before `ack`: the expected
    /// number cannot be lower, even if packets took another way.
    pub fn acked(&mut self, ack: u32) {
        if ack.wrapping_sub(self.next) <= MAX_WINDOW {
            self.next = ack;
        }
    }

    /// Gives up all holes, for example because the session ends.
    pub fn flush(&mut self) {
        if let Some(last) = self.len.checked_sub(1).and_then(|i| self.at(i)) {
            self.next = seq::max(self.next, last.seq);
        }
    }

    /// A lane has delivered at `now` what was sent after everything before
    /// `seq`. [`push`](Self::push) does this for its own segments.
    pub fn lane_progress(&mut self, now: u32, lane: u8, seq: u32) {
        let Some(lane) = self.lanes.get_mut(usize::from(lane)) else {
            return;
        };
        // A retransmission tells nothing about what was sent before it. But the
        // number of a lane that was silent for long may have wrapped.
        let high = match lane {
            Some(old)
                if seq::after(old.high, seq)
                    && seq::delta(old.high, self.next) <= MAX_HOLE as i32 =>
            {
                old.high
            }
            _ => seq,
        };
        *lane = Some(Lane { high, at: now });
    }

    /// Whether the segment cannot belong to the stream.
    fn is_wild(&self, seg: &Segment) -> bool {
        let ahead = seq::delta(seg.seq, self.next);
        ahead > MAX_HOLE as i32
            || ahead.unsigned_abs() > MAX_WINDOW
            || seg.end.wrapping_sub(seg.seq) > MAX_HOLE
    }

    /// Whether the segment has to wait for what comes before it.
    pub fn is_early(&self, seg: &Segment) -> bool {
        seq::after(seg.seq, self.next) && (seg.seq != seg.end || seg.rst)
    }

    /// Whether more is held than may be.
    fn is_full(&self) -> bool {
        let slots = self.storage.as_ref().map_or(0, |s| s.borrow().len());
        self.len > self.limits.packets.min(slots.saturating_sub(1))
            || self.bytes > self.limits.bytes
    }

    /// Whether what is missing from `start` on was lost: every lane that delivers is ahead of it.
    /// One that delivers now and then may bring it as long as something behind it, which came at
    /// `oldest`, has not waited for what the slowest lane needs.
    fn is_lost(&self, now: u32, start: u32, oldest: u32) -> bool {
        let mut ahead = false;
        let early = seq::age(now, oldest) < self.limits.spread_us;
        for lane in &self.lanes {
            match lane {
                Some(lane) if seq::after(lane.high, start) => ahead = true,
                Some(lane) if !lane.is_silent(now, self.limits.wait_us) => return false,
                None => {}
                Some(lane) if seq::age(now, lane.at) > IDLE_US => {}
                _ if early => return false,
                _ => {}
            }
        }
        ahead
    }

    /// The slot of the `i`th packet held, or of the first one free if `i` is
    /// their number.
    fn slot(head: usize, i: usize, slots: usize) -> usize {
        let at = head.saturating_add(i);
        at.checked_sub(slots).unwrap_or(at)
    }

    fn at(&self, i: usize) -> Option<&Held<T>> {
        let slots = self.storage.as_ref()?.borrow();
        slots.get(Self::slot(self.head, i, slots.len()))?.as_ref()
    }

    fn at_mut(&mut self, i: usize) -> Option<&mut Held<T>> {
        let head = self.head;
        let slots = self.storage.as_mut()?.borrow_mut();
        let slot = Self::slot(head, i, slots.len());
        slots.get_mut(slot)?.as_mut()
    }

    fn front(&self) -> Option<&Held<T>> {
        if self.len == 0 {
            return None;
        }
        self.at(0)
    }

    /// Whether there is a free slot.
    fn has_room(&self) -> bool {
        let slots = self.storage.as_ref().map_or(0, |s| s.borrow().len());
        self.len < slots
    }

    /// Inserts a packet in its place; there must be a free slot.
    fn insert(&mut self, now: u32, seg: &Segment, packet: Option<T>) {
        let Some(storage) = &mut self.storage else {
            return;
        };
        let slots = storage.borrow_mut();
        // Most packets belong at the back.
        let mut place = Self::slot(self.head, self.len, slots.len());
        let mut oldest = now;
        let mut hole = Hole::Open;
        for i in (0..self.len).rev() {
            let before = Self::slot(self.head, i, slots.len());
            let Some(Some(held)) = slots.get(before) else {
                break;
            };
            if !seq::after(held.seq, seg.seq) {
                break;
            }
            (oldest, hole) = (held.oldest, held.hole);
            let moved = slots.get_mut(before).and_then(Option::take);
            if let Some(slot) = slots.get_mut(place) {
                *slot = moved;
            }
            place = before;
        }
        let Some(slot) = slots.get_mut(place) else {
            return;
        };
        *slot = Some(Held {
            seq: seg.seq,
            end: seg.end,
            bytes: seg.bytes,
            oldest,
            hole,
            packet,
        });
        self.len = self.len.saturating_add(1);
        self.bytes = self.bytes.saturating_add(seg.bytes);
    }

    fn remove_front(&mut self) -> Option<Held<T>> {
        let slots = self.storage.as_mut()?.borrow_mut();
        let held = slots.get_mut(self.head)?.take()?;
        self.head = Self::slot(self.head, 1, slots.len());
        self.len = self.len.saturating_sub(1);
        self.bytes = if self.len == 0 {
            0
        } else {
            self.bytes.saturating_sub(held.bytes)
        };
        Some(held)
    }
}
