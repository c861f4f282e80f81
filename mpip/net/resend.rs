// SPDX-License-Identifier: GPL-2.0

//! What was in flight on a path that failed is sent again on the others.
//!
//! While a TCP session has more than one lane, each data segment is kept until
//! it is acknowledged: a copy that shares the data's pages with TCP's own. When
//! its path fails it leaves on another lane at once. The other end's TCP drops
//! what it has after all.

use crate::{
    net::{
        emit::Target,
        instance::Instance,
        session::{
            Inner,
            Session, //
        },
        tx::{
            is_whole,
            lane_fits,
            original_carries,
            parse,
            rewrite, //
        },
    },
    proto::{
        counters::Counter,
        kept::Segment,
        packet::{
            self,
            Packet,
            TcpHeader, //
        },
        path::Standing,
        seq,
        session::{
            Class,
            PathInfo, //
        },
        wire::{
            cm::{
                Cm,
                Missing,
                Ranges, //
            },
            option, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        clock,
        route::Dst,
        skb::{
            Csum,
            KeptSkb,
            Skb, //
        },
        socket::{
            self,
            Owner, //
        }, //
    },
};
use core::{
    borrow::{
        Borrow,
        BorrowMut, //
    },
    ops::Range, //
};
use kernel::{
    alloc::flags::{
        GFP_ATOMIC,
        __GFP_NOWARN, //
    },
    prelude::*,
    sync::{
        atomic::Relaxed,
        rcu,
        Arc, //
    },
};

/// Segments kept of a session at most; a burst that leaves whole counts as one.
const MAX_SEGMENTS: usize = 512;
/// Memory kept of a session at most, bytes.
const MAX_BYTES: u32 = 4 << 20;
/// Memory kept of all sessions of a namespace at most, bytes.
const MAX_ALL: i64 = 64 << 20;
/// What a kept segment takes besides its data, bytes.
const OVERHEAD: u32 = 1024;

type Slot = Option<Segment<KeptSkb>>;

/// Storage of kept segments.
pub struct Storage(KVec<Slot>);

impl Storage {
    fn new() -> Option<Storage> {
        let mut slots = KVec::with_capacity(MAX_SEGMENTS, GFP_ATOMIC | __GFP_NOWARN).ok()?;
        for _ in 0..MAX_SEGMENTS {
            slots.push_within_capacity(None).ok()?;
        }
        Some(Storage(slots))
    }
}

impl Borrow<[Slot]> for Storage {
    fn borrow(&self) -> &[Slot] {
        &self.0
    }
}

impl BorrowMut<[Slot]> for Storage {
    fn borrow_mut(&mut self) -> &mut [Slot] {
        &mut self.0
    }
}

impl Session {
    /// Keeps a segment, which holds the sequence numbers in `span`, that is about to leave on a
    /// lane. Any context, with `inner` locked.
    pub fn keep(
        &self,
        inner: &mut Inner,
        skb: &mut Skb<'_>,
        lane: usize,
        span: Range<u32>,
        now: u32,
    ) {
        let before = inner.kept.bytes();
        inner.kept.acked(self.position().una);
        if !inner.kept.has_storage() {
            match Storage::new() {
                Some(storage) => drop(inner.kept.attach(storage)),
                None => return self.shared.counters.add(Counter::NoMemory, 1),
            }
        }
        let full = self.shared.kept.read_once() > MAX_ALL;
        let kept = if full { None } else { skb.keep() };
        let gone = match kept {
            Some(packet) => {
                let segment = Segment {
                    start: span.start,
                    end: span.end,
                    wait: inner.s.lane(lane).map_or(0, |l| l.path.wait_us(now)),
                    sent: now,
                    lane: lane as u8,
                    bytes: (skb.len() as u32).saturating_add(OVERHEAD),
                    packet,
                };
                inner.kept.push(segment, MAX_BYTES)
            }
            None => 1,
        };
        if gone != 0 {
            self.shared
                .counters
                .add(Counter::KeptOverflow, u64::from(gone));
        }
        self.account_kept(before, inner.kept.bytes());
    }

    /// Lets go of what a segment that came acknowledges, if it seems to be the peer's. Were it not,
    /// TCP would have to send again by itself what gets lost now. TCP fills its pages anew
    /// as soon as nobody else has them: they should not wait for the next segment. Any context.
    pub fn let_go(&self, tcp: &TcpHeader) {
        if !self.is_multi() || !self.may_be_acked(tcp) {
            return;
        }
        let mut inner = self.inner.lock();
        let before = inner.kept.bytes();
        inner.kept.acked(tcp.ack);
        self.account_kept(before, inner.kept.bytes());
    }

    /// Whether data was sent, before this sequence number if one is given, that is not known to
    /// have arrived.
    pub fn has_outstanding(&self, before: Option<u32>) -> bool {
        let una = self.position().una;
        let mut inner = self.inner.lock();
        let bytes = inner.kept.bytes();
        inner.kept.acked(una);
        self.account_kept(bytes, inner.kept.bytes());
        let Some(before) = before else {
            return !inner.kept.is_empty();
        };
        let mut found = false;
        inner.kept.between(una, before, |_| found = true);
        found
    }

    /// Lets go of everything kept. No lock held.
    pub fn forget_kept(&self) {
        let storage = {
            let mut inner = self.inner.lock();
            self.account_kept(inner.kept.bytes(), 0);
            inner.kept.detach()
        };
        drop(storage);
    }

    fn account_kept(&self, before: u32, after: u32) {
        let delta = i64::from(after).wrapping_sub(before.into());
        if delta != 0 {
            self.shared.kept.add(delta, Relaxed);
        }
    }

    /// Takes out what was sent on the lanes in `mask` and not acknowledged, oldest first.
    fn take_kept(&self, mask: u32) -> KVec<Segment<KeptSkb>> {
        let una = self.position().una;
        let mut list = KVec::new();
        let mut inner = self.inner.lock();
        let before = inner.kept.bytes();
        inner.kept.acked(una);
        let n = inner.kept.len();
        if n != 0 && list.reserve(n, GFP_ATOMIC).is_ok() {
            for _ in 0..n {
                let Some(segment) = inner.kept.pop() else {
                    break;
                };
                if !seq::after(segment.end, una) {
                    continue;
                }
                if mask & (1 << segment.lane) == 0 {
                    inner.kept.push(segment, MAX_BYTES);
                } else {
                    // There is room for all.
                    let _ = list.push_within_capacity(segment);
                }
            }
        }
        self.account_kept(before, inner.kept.bytes());
        list
    }

    fn latest(&self) -> Latest {
        Latest {
            ack: self.acked(),
            timestamp: self.inner.lock().repeated,
        }
    }

    fn put_back(&self, segment: Segment<KeptSkb>) {
        let mut inner = self.inner.lock();
        let before = inner.kept.bytes();
        inner.kept.push(segment, MAX_BYTES);
        self.account_kept(before, inner.kept.bytes());
    }
}

/// What TCP would say now, besides the data.
#[derive(Clone, Copy)]
struct Latest {
    ack: u32,
    /// See [`Inner::repeated`]. Not more than that: what waits behind the segment is not younger.
    timestamp: Option<u32>,
}

impl Instance {
    /// Sends what was in flight on the lanes in `mask` again on others, if there are any that can
    /// be relied on. True if there is no room for all of it: the rest is noted for the worker.
    /// Process context.
    pub fn resend(&self, session: &Arc<Session>, mask: u32) -> bool {
        let reliable = {
            let inner = session.inner.lock();
            !inner.dead && inner.s.best_standing() >= Standing::Doubtful
        };
        if !reliable {
            return false;
        }
        let latest = session.latest();
        let mut waits = false;
        let mut segments = session.take_kept(mask);
        let mut sent = self.sent_by_tcp(session);
        for segment in segments.drain_all() {
            // It may have been on its way to the queue.
            if is_beyond(&segment, sent) {
                sent = self.sent_by_tcp(session);
            }
            if is_beyond(&segment, sent) {
                session.put_back(segment);
                continue;
            }
            // More than the queue holds would be lost again.
            waits = waits || !session.inner.lock().s.has_room(clock::now_us());
            if waits {
                session.put_back(segment);
                continue;
            }
            match self.send_again(session, segment, &latest, 0) {
                Ok(()) => self.count(Counter::Resent),
                Err(segment) => session.put_back(segment),
            }
        }
        if waits {
            session.inner.lock().lost |= mask;
        }
        waits
    }

    /// Up to where TCP has sent. What a queue of this host has refused was kept, and is not sent as
    /// TCP sees it: an acknowledgment of it TCP would take for a forged one, and all that comes
    /// later with it. Of a socket that is not found, because NAT of this host gives its packets
    /// another tuple, the last packet does not count: nobody knows what became of it. Any context,
    /// no lock held.
    pub fn sent_by_tcp(&self, session: &Session) -> u32 {
        // A socket may be bound to the interface.
        let inner = session.inner.lock();
        let ifindex = inner.s.lane(0).map_or(0, |lane| lane.path.ifindex());
        drop(inner);
        let _rcu = rcu::read_lock();
        match socket::tcp_owner(self.net, &session.tuple(), ifindex) {
            Owner::Stream { snd_nxt, .. } => snd_nxt,
            _ => session.taken(),
        }
    }

    /// Sends a kept segment on the lane that is best now, none of those in the mask `lost` if there
    /// is another; gives it back if there is no way. With such a mask it is a copy, and not kept.
    fn send_again(
        &self,
        session: &Arc<Session>,
        mut segment: Segment<KeptSkb>,
        latest: &Latest,
        lost: u32,
    ) -> Result<(), Segment<KeptSkb>> {
        let family = session.family();
        let mut skb = segment.packet.as_skb();
        let Some(packet) = parse(&mut skb, family) else {
            return Ok(());
        };
        let partial = skb.csum() == Csum::Partial;
        let Some(head) = skb.writable(packet.payload) else {
            self.count(Counter::NoMemory);
            return Err(segment);
        };
        bring_up_to_date(head, &packet, latest, partial);
        let mut dispatch = self.dispatch();
        let now = clock::now_us();
        let (lane, tuple, path, whole) = {
            let mut inner = session.inner.lock();
            (dispatch.treatment, dispatch.passing) = inner.treat(&skb, &packet, 0);
            let len = skb.len() as u32;
            let lane =
                inner.s.pick(
                    now,
                    len,
                    Class::Again(lost),
                    &dispatch,
                    |index, lane| match index {
                        0 => original_carries(&skb, lane, 0),
                        _ => lane_fits(self, &skb, &packet, lane),
                    },
                );
            match inner.s.lane_mut(lane) {
                Some(l) => {
                    l.tx_packets = l.tx_packets.wrapping_add(u64::from(skb.segments()));
                    l.tx_bytes = l.tx_bytes.wrapping_add(u64::from(len));
                    l.note_sent(now);
                    let whole = lane == 0 || is_whole(&skb, l);
                    (lane, l.tuple(), l.path.clone(), whole)
                }
                None => return Err(segment),
            }
        };
        let ifindex = if lane == 0 { 0 } else { path.ifindex() };
        let Some(route) = Dst::lookup(self.net, ifindex, &tuple) else {
            return Err(segment);
        };
        if whole && !rewrite(&mut skb, &packet, &tuple) {
            self.count(Counter::NoMemory);
            return Err(segment);
        }
        path.count_tx(skb.segments(), skb.len(), || false);
        let copy = if lost == 0 { skb.keep() } else { None };
        if let Some(copy) = copy {
            session.put_back(Segment {
                start: segment.start,
                end: segment.end,
                wait: 0,
                sent: now,
                lane: lane as u8,
                bytes: segment.bytes,
                packet: copy,
            });
        }
        let own = segment.packet.into_own();
        if whole {
            own.send(self.net, &route, family);
        } else {
            self.send_wrapped(session, lane, own, &packet);
        }
        Ok(())
    }
}

impl Instance {
    /// Tells the peer which parts of a session's stream are missing, or (`refused`) which will not
    /// be sent again. Any context, no lock held.
    pub fn send_missing(&self, session: &Session, refused: bool, ranges: Ranges) {
        let dispatch = self.dispatch();
        let (lane, tuple, path) = {
            let mut inner = session.inner.lock();
            let now = clock::now_us();
            let lane = inner.s.pick(now, 0, Class::Small, &dispatch, |_, lane| {
                lane.path.is_usable()
            });
            match inner.s.lane(lane) {
                Some(l) => (lane, l.tuple(), l.path.clone()),
                None => return,
            }
        };
        let missing = Missing {
            header: self.header(&session.peer, session.id),
            refused,
            ranges,
        };
        self.send_cm(
            &Target::lane(session, &path, &tuple, lane == 0),
            &session.peer,
            &Cm::Missing(missing),
        );
    }

    /// Something of the stream was lost, perhaps on the original lane, or what is asked there gets
    /// no answers: perhaps by a box that keeps track of connections and does not see all of this
    /// one, or that verifies checksums. Its path is to have a lane that such a box judges by
    /// itself. Once for a session; any context, no lock held.
    pub fn doubt_original(&self, session: &Arc<Session>) {
        {
            let mut inner = session.inner.lock();
            if inner.doubted || inner.s.is_replaced() {
                return;
            }
            inner.doubted = true;
            inner.explored_ms = 0;
        }
        self.attend(session);
    }

    /// The peer misses parts of the stream: sends them again unless TCP has to know. Any context,
    /// no lock held.
    pub fn repair(&self, session: &Arc<Session>, ranges: &Ranges) {
        let now = clock::now_us();
        let sent = self.sent_by_tcp(session);
        let mut refused = Ranges::new();
        let mut original = false;
        let mut lacks = false;
        for (from, to) in ranges.iter() {
            let mut found = KVec::new();
            let mut may = to.wrapping_sub(from) <= MAX_BYTES;
            {
                let mut inner = session.inner.lock();
                let inner = &mut *inner;
                let (s, kept) = (&inner.s, &mut inner.kept);
                kept.between(from, to, |segment| {
                    if is_beyond(segment, sent) {
                        return;
                    }
                    original |= segment.lane == 0;
                    let lane = s.lane(usize::from(segment.lane));
                    let lost = segment.overlap(from, to);
                    may &= lane.is_some_and(|l| l.path.may_repair(now, lost, segment.wait));
                    let copy = segment.packet.as_skb().keep();
                    let lane = usize::from(segment.lane);
                    may &= copy.is_some_and(|copy| found.push((copy, lane), GFP_ATOMIC).is_ok());
                });
            }
            if !may || found.is_empty() {
                self.count(Counter::RepairRefused);
                refused.push(from, to);
                continue;
            }
            lacks |= session.inner.lock().credit.sent_again(to);
            // The oldest comes last.
            while let Some((packet, lane)) = found.pop() {
                self.repair_one(session, packet, lane, from..to);
            }
        }
        if lacks {
            self.attend(session);
        }
        if original {
            self.doubt_original(session);
        }
        if !refused.is_empty() {
            self.send_missing(session, true, refused);
        }
    }

    /// Sends again what a kept packet, lost on a lane, holds of `span`.
    fn repair_one(
        &self,
        session: &Arc<Session>,
        mut packet: KeptSkb,
        lane: usize,
        span: Range<u32>,
    ) {
        let mut skb = packet.as_skb();
        if !skb.is_gso() {
            return self.repair_segment(session, packet, lane, &span);
        }
        let Some(segments) = skb.segment() else {
            return self.count(Counter::NoMemory);
        };
        for segment in segments {
            self.repair_segment(session, KeptSkb::new(segment), lane, &span);
        }
    }

    fn repair_segment(
        &self,
        session: &Arc<Session>,
        mut packet: KeptSkb,
        lane: usize,
        span: &Range<u32>,
    ) {
        let mut skb = packet.as_skb();
        let bytes = skb.len() as u32;
        let Some(parsed) = parse(&mut skb, session.family()) else {
            return;
        };
        let Some(tcp) = parsed.tcp else { return };
        let end = tcp.seq.wrapping_add(parsed.seq_len());
        if !seq::before(tcp.seq, span.end) || !seq::after(end, span.start) {
            return;
        }
        let segment = Segment {
            start: tcp.seq,
            end,
            lane: 0,
            bytes,
            wait: 0,
            sent: 0,
            packet,
        };
        let latest = session.latest();
        if self
            .send_again(session, segment, &latest, 1 << lane)
            .is_ok()
        {
            self.count(Counter::Repaired);
        }
    }
}

/// Whether TCP has sent only as far as `sent`, and not all of a segment.
fn is_beyond(segment: &Segment<KeptSkb>, sent: u32) -> bool {
    seq::after(segment.end, sent)
}

/// Has an old segment say what TCP would say now.
fn bring_up_to_date(head: &mut [u8], packet: &Packet, latest: &Latest, partial: bool) {
    let options = packet.options();
    if head.get(options.clone()).is_none_or(option::is_signed) {
        return;
    }
    packet::replace_tcp_long(head, packet, packet.field(8), latest.ack, partial);
    let at = head.get(options.clone()).and_then(option::timestamp);
    if let (Some((at, old)), Some(value)) = (at, latest.timestamp) {
        if seq::after(value, old) {
            let at = options.start.saturating_add(at);
            packet::replace_tcp_long(head, packet, at, value, partial);
        }
    }
}

/// The time stamp of a TCP segment (RFC 7323).
pub fn timestamp_of(head: &[u8], packet: &Packet) -> Option<u32> {
    let options = head.get(packet.options())?;
    option::timestamp(options).map(|(_, value)| value)
}
