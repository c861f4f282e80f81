// SPDX-License-Identifier: GPL-2.0

//! What was in flight on a path that failed is sent again on the others.
//!
//! While a TCP session has more than one lane, each data segment is kept until
//! it is acknowledged: a clone that shares the data with TCP's own. When its
//! path fails it leaves on another lane at once. The other end's TCP drops
//! what it has after all.

use crate::{
    net::{
        instance::Instance,
        session::{
            Inner,
            Session, //
        },
        tx::{
            is_whole,
            lane_fits,
            parse, //
        },
    },
    proto::{
        counters::Counter,
        kept::Segment,
        packet,
        path::Standing,
        seq,
        session::Class,
        wire::option, //
    },
    sys::{
        clock,
        route::Dst,
        skb::{
            Csum,
            KeptSkb,
            Skb, //
        }, //
    },
};
use core::borrow::{
    Borrow,
    BorrowMut, //
};
use kernel::{
    alloc::flags::{
        GFP_ATOMIC,
        __GFP_NOWARN, //
    },
    prelude::*,
    sync::{
        atomic::Relaxed,
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
const OVERHEAD: u32 = 512;

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
    /// Keeps a segment that is about to leave on a lane. `end` is the sequence number behind it.
    /// Any context, with `inner` locked.
    pub fn keep(&self, inner: &mut Inner, skb: &mut Skb<'_>, lane: usize, end: u32) {
        let before = inner.kept.bytes();
        inner.kept.acked(self.position().una);
        if !inner.kept.has_storage() {
            match Storage::new() {
                Some(storage) => drop(inner.kept.attach(storage)),
                None => return self.shared.counters.add(Counter::NoMemory, 1),
            }
        }
        let full = self.shared.kept.load(Relaxed) > MAX_ALL;
        let kept = if full { None } else { skb.keep() };
        let gone = match kept {
            Some(packet) => {
                let segment = Segment {
                    end,
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

    /// Whether data was sent that is not known to have arrived.
    pub fn has_outstanding(&self) -> bool {
        let mut inner = self.inner.lock();
        let before = inner.kept.bytes();
        inner.kept.acked(self.position().una);
        self.account_kept(before, inner.kept.bytes());
        !inner.kept.is_empty()
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
        let delta = i64::from(after) - i64::from(before);
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

    fn put_back(&self, segment: Segment<KeptSkb>) {
        let mut inner = self.inner.lock();
        let before = inner.kept.bytes();
        inner.kept.push(segment, MAX_BYTES);
        self.account_kept(before, inner.kept.bytes());
    }
}

/// What TCP's latest segment said besides its data.
#[derive(Clone, Copy)]
struct Latest {
    ack: u32,
    /// RFC 7323: an older time stamp than others that have arrived would have the segment dropped.
    timestamp: Option<u32>,
}

impl Instance {
    /// Sends what was in flight on the lanes in `mask` again on others, if there are any that can
    /// be relied on. Process context.
    pub fn resend(&self, session: &Arc<Session>, mask: u32) {
        let reliable = {
            let inner = session.inner.lock();
            !inner.dead && inner.s.best_standing() >= Standing::Doubtful
        };
        if !reliable {
            return;
        }
        let timestamp = {
            let mut inner = session.inner.lock();
            let newest = inner.kept.newest();
            newest.and_then(|s| timestamp_of(&mut s.packet.as_skb(), session))
        };
        let latest = Latest {
            ack: session.acked(),
            timestamp,
        };
        for segment in session.take_kept(mask).drain_all() {
            if let Err(segment) = self.send_again(session, segment, &latest) {
                session.put_back(segment);
            }
        }
    }

    /// Sends a kept segment on the lane that is best now; gives it back if there is no way.
    fn send_again(
        &self,
        session: &Arc<Session>,
        mut segment: Segment<KeptSkb>,
        latest: &Latest,
    ) -> Result<(), Segment<KeptSkb>> {
        let family = session.tuple.local.addr.family();
        let mut skb = segment.packet.as_skb();
        let Some(packet) = parse(&mut skb, family) else {
            return Ok(());
        };
        let partial = skb.csum() == Csum::Partial;
        let Some(head) = skb.writable(packet.payload) else {
            self.count(Counter::NoMemory);
            return Err(segment);
        };
        let options = packet.l4 + 20..packet.payload;
        let signed = head.get(options.clone()).is_none_or(option::is_signed);
        if !signed {
            packet::replace_tcp_long(head, &packet, packet.l4 + 8, latest.ack, partial);
            let at = head.get(options.clone()).and_then(option::timestamp);
            if let (Some((at, _)), Some(value)) = (at, latest.timestamp) {
                packet::replace_tcp_long(head, &packet, options.start + at, value, partial);
            }
        }
        let dispatch = self.dispatch();
        let (lane, tuple, path, whole) = {
            let mut inner = session.inner.lock();
            let len = skb.len() as u32;
            let now = clock::now_us();
            let lane = inner
                .s
                .pick(now, len, Class::Data, &dispatch, |index, lane| {
                    index == 0 || lane_fits(self, &skb, &packet, lane)
                });
            match inner.s.lane_mut(lane) {
                Some(l) => {
                    l.tx_packets = l.tx_packets.wrapping_add(u64::from(skb.segments()));
                    l.tx_bytes = l.tx_bytes.wrapping_add(u64::from(len));
                    let whole = lane == 0 || is_whole(&skb, l);
                    (lane, l.tuple, l.path.clone(), whole)
                }
                None => return Err(segment),
            }
        };
        let ifindex = if lane == 0 { 0 } else { path.ifindex() };
        let Some(route) = Dst::lookup(self.net, ifindex, &tuple) else {
            return Err(segment);
        };
        if whole {
            let Some(head) = skb.writable(packet.payload) else {
                self.count(Counter::NoMemory);
                return Err(segment);
            };
            packet::rewrite(head, &packet, &tuple.local, &tuple.remote, partial);
            packet::set_dont_fragment(head, family);
            skb.clear_hash();
        }
        path.count_tx(skb.segments(), skb.len());
        if let Some(copy) = skb.keep() {
            session.put_back(Segment {
                end: segment.end,
                lane: lane as u8,
                bytes: segment.bytes,
                packet: copy,
            });
        }
        self.count(Counter::Resent);
        let own = segment.packet.into_own();
        if whole {
            own.send(self.net, &route, family);
        } else {
            self.send_wrapped(session, lane, own, &packet);
        }
        Ok(())
    }
}

fn timestamp_of(skb: &mut Skb<'_>, session: &Session) -> Option<u32> {
    let packet = parse(skb, session.tuple.local.addr.family())?;
    let options = skb.head().get(packet.l4 + 20..packet.payload)?;
    option::timestamp(options).map(|(_, value)| value)
}
