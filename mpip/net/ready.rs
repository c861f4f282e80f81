// SPDX-License-Identifier: GPL-2.0

//! What is in order and not delivered yet, in which segments of a burst become one.

use crate::{
    proto::{
        coalesce::Train,
        packet::{
            self,
            Packet, //
        },
        seq, //
    },
    sys::skb::{
        Held,
        Skb, //
    },
};
use kernel::{
    alloc::flags::GFP_ATOMIC,
    prelude::*, //
};

/// Segments that come so soon after each other are a burst, microseconds: the next ones are waited
/// for until the round of receiving is over. Where they come more slowly there is nobody to wait
/// for, and to find that out costs more than it saves.
const BURST_US: u32 = 100;
/// Segments that are not waited with at most when it was in vain before.
const MAX_REST: u8 = 63;

/// Packets in order, to be delivered by whoever is delivering.
#[derive(Default)]
pub(super) struct Ready {
    packets: KVec<Held>,
    /// What the last of them has become the first part of.
    train: Option<Train>,
    /// When a segment came in its order.
    came_at: u32,
    /// So many more are not waited with.
    rest: u8,
    /// From what `rest` was set when nobody came to the last one that was waited with.
    in_vain: u8,
    /// Somebody did.
    joined: bool,
}

impl Ready {
    /// A segment came in its order: whether to wait for others until the burst is over.
    pub(super) fn is_burst(&mut self, now: u32) -> bool {
        let before = core::mem::replace(&mut self.came_at, now);
        if seq::age(now, before) >= BURST_US {
            return false;
        }
        let rest = self.rest;
        self.rest = rest.saturating_sub(1);
        rest == 0
    }

    /// A burst is over: if nobody came to the first, it is tried less often.
    pub(super) fn burst_over(&mut self) {
        self.in_vain = match core::mem::take(&mut self.joined) {
            true => 0,
            false => self.in_vain.saturating_mul(2).saturating_add(1),
        };
        self.rest = self.in_vain.min(MAX_REST);
    }

    /// Appends a segment's data to the last packet if it goes on where that ends; true if it is
    /// used up. Its checksum is right.
    pub(super) fn join(&mut self, skb: &mut Skb<'_>, packet: &Packet) -> bool {
        let (Some(train), Some(first)) = (&mut self.train, self.packets.last_mut()) else {
            return false;
        };
        if !train.is_followed_by(first.as_skb().head(), skb.head(), packet) {
            return false;
        }
        let hops = packet::hops(skb.head(), packet.family);
        let joined = first.as_skb().join(skb, train);
        self.joined |= joined;
        match joined {
            true => train.append(hops, packet),
            false => train.close(),
        }
        joined
    }

    /// As [`join`](Self::join), for a segment that came in its order.
    pub(super) fn join_at(&mut self, now: u32, skb: &mut Skb<'_>, packet: &Packet) -> bool {
        let joined = self.join(skb, packet);
        if joined {
            self.came_at = now;
        }
        joined
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// All that is there, and how many segments have been appended to the last packet.
    pub(super) fn take(&mut self) -> (KVec<Held>, u32) {
        let appended = self.end_train();
        (core::mem::take(&mut self.packets), appended)
    }

    /// Takes the memory of what has been delivered for the next ones, unless there are some.
    pub(super) fn give_back(&mut self, empty: KVec<Held>) {
        if self.packets.capacity() == 0 {
            self.packets = empty;
        }
    }

    /// Writes what the last packet has become into its headers. Returns how many segments have
    /// been appended to it.
    fn end_train(&mut self) -> u32 {
        let (Some(train), Some(first)) = (self.train.take(), self.packets.last_mut()) else {
            return 0;
        };
        if train.appended() != 0 {
            let mut skb = first.as_skb();
            if let Some(head) = skb.writable(train.header_len()) {
                train.write(head);
            }
        }
        train.appended()
    }

    /// Puts a packet behind the others. Returns how many segments have been appended to the one
    /// before.
    pub(super) fn push(&mut self, mut held: Held, packet: Option<&Packet>) -> Result<u32> {
        let appended = self.end_train();
        let skb = held.as_skb();
        let packet = packet.filter(|_| !skb.is_gso());
        let train = packet.and_then(|packet| Train::begin(skb.head(), packet));
        self.packets.push(held, GFP_ATOMIC)?;
        self.train = train;
        Ok(appended)
    }
}
