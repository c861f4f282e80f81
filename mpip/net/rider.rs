// SPDX-License-Identifier: GPL-2.0

//! Messages that wait for a datagram to ride on.
//!
//! On a UDP session's own tuple a carrier has a wrong checksum, so that a plain
//! host drops it. So do boxes on the way that verify checksums. Answers, and what
//! had to be sent there twice, therefore also leave in the surplus area behind the
//! next datagram of the user, which gets through wherever the datagram does.
//!
//! The answer to a stranger's question is kept here as well: the slots are few
//! and the latest has it.

use crate::{
    net::instance::Instance,
    proto::{
        addr::Tuple,
        packet::{
            self,
            Packet, //
        },
        seq,
        wire::{
            cm::{
                Kind,
                Raw, //
            },
            surplus,
            MAX_LEN, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        clock,
        skb::Skb, //
    },
};
use kernel::prelude::*;

/// Messages that wait at most.
pub const SLOTS: usize = 64;
/// A message is sent again if it is the same kind as one this long ago, milliseconds.
const REPEAT_MS: u32 = 5_000;
/// How long a message waits, milliseconds.
const WAIT_MS: u32 = 5_000;

/// What was last sent on a tuple.
pub struct Rider {
    tuple: Tuple,
    kind: Kind,
    at_ms: u32,
    // Its length, 0 when nothing waits.
    len: usize,
    cm: [u8; MAX_LEN],
}

/// One of 64 bits, by which most datagrams show that nothing waits for them: the slot takes a keyed
/// hash.
const fn mark(tuple: &Tuple) -> u64 {
    1 << ((tuple.local.port ^ tuple.remote.port.rotate_left(3)) % 64)
}

/// Empty slots. Process context.
pub fn slots() -> Result<KVec<Option<Rider>>> {
    let mut slots = KVec::with_capacity(SLOTS, GFP_KERNEL)?;
    for _ in 0..SLOTS {
        slots.push(None, GFP_KERNEL)?;
    }
    Ok(slots)
}

impl Instance {
    /// A message is sent in a carrier on a UDP session's own tuple: if it is an answer or not the
    /// first of its kind, it waits for a datagram as well. True if it is not the first of its kind.
    /// Any context.
    pub fn wait_for_ride(&self, tuple: &Tuple, cm: &[u8]) -> bool {
        let Some(kind) = Raw::new(cm).map(|raw| raw.kind()) else {
            return false;
        };
        if !matches!(
            kind,
            Kind::HelloReply | Kind::Confirm | Kind::Open | Kind::OpenAck | Kind::Goodbye
        ) {
            return false;
        }
        // Who is asked seldom may not be asked again while there is a datagram to ride on.
        let answer = matches!(kind, Kind::HelloReply | Kind::Confirm | Kind::OpenAck);
        let now = clock::now_ms();
        let at = self.tuple_slot(tuple) % SLOTS;
        let mut rider = Rider {
            tuple: *tuple,
            kind,
            at_ms: now,
            len: 0,
            cm: [0; MAX_LEN],
        };
        let mut slots = self.riders.lock();
        let Some(slot) = slots.get_mut(at) else {
            return false;
        };
        let again = slot.as_ref().is_some_and(|last| {
            let lately = seq::age_ms(now, last.at_ms) < REPEAT_MS;
            last.tuple == *tuple && last.kind == kind && lately
        });
        if let Some(to) = rider.cm.get_mut(..cm.len()).filter(|_| answer || again) {
            to.copy_from_slice(cm);
            rider.len = cm.len();
            self.set_riding(self.riding.read_once() | mark(tuple));
        }
        *slot = Some(rider);
        again
    }

    /// Puts a waiting message behind a datagram of the same tuple. Output hook.
    pub fn take_along(&self, skb: &mut Skb<'_>, packet: &Packet, tuple: &Tuple) {
        if self.riding.read_once() & mark(tuple) == 0 {
            return;
        }
        let now = clock::now_ms();
        let at = self.tuple_slot(tuple) % SLOTS;
        let mut cm = [0; MAX_LEN];
        let len = {
            let mut slots = self.riders.lock();
            match slots.get_mut(at) {
                Some(Some(rider)) if rider.tuple == *tuple && rider.len != 0 => {
                    let len = if seq::age_ms(now, rider.at_ms) < WAIT_MS {
                        cm = rider.cm;
                        rider.len
                    } else {
                        0
                    };
                    rider.len = 0;
                    len
                }
                _ => 0,
            }
        };
        let Some(cm) = cm.get(..len).filter(|cm| !cm.is_empty()) else {
            return;
        };
        if !ride(skb, packet, cm) {
            // No room behind this one.
            self.wait_for_ride(tuple, cm);
        }
    }

    /// Forgets what has waited for too long. Once a second.
    pub fn expire_riders(&self) {
        let now = clock::now_ms();
        let mut slots = self.riders.lock();
        let mut waiting = 0;
        for rider in slots.iter_mut().flatten() {
            if seq::age_ms(now, rider.at_ms) >= WAIT_MS {
                rider.len = 0;
            }
            if rider.len != 0 {
                waiting |= mark(&rider.tuple);
            }
        }
        self.set_riding(waiting);
    }
}

/// Puts a CM into the surplus area of a datagram, if there is room. The datagram stays as it is
/// to every receiver.
pub fn ride(skb: &mut Skb<'_>, packet: &Packet, cm: &[u8]) -> bool {
    let mtu = skb.dst_mtu();
    put_behind(skb, packet, cm, mtu)
}

/// As [`ride`], for a packet that may have no route of its own.
pub fn put_behind(skb: &mut Skb<'_>, packet: &Packet, cm: &[u8], mtu: u32) -> bool {
    if packet.payload_len() == 0 {
        // An empty datagram with something behind it would be a carrier.
        return false;
    }
    let more = surplus::layout(packet.l4_len(), cm.len());
    // Another message may have been put behind it since the headers were read: the sums would not
    // fit two.
    let taken = skb.len() != packet.payload_end;
    if skb.is_gso() || taken || skb.len().saturating_add(more) > mtu as usize {
        return false;
    }
    // The checksum does not cover the surplus: it has to be complete before that is there.
    if !skb.complete_csum() {
        return false;
    }
    let mut behind = [0u8; MAX_LEN + 8];
    let n = surplus::build(packet.l4_len(), cm, &mut behind);
    if !skb.append(behind.get(..n).unwrap_or(&[])) {
        return false;
    }
    let end = skb.len();
    if let Some(head) = skb.writable(packet.payload) {
        packet::set_ip_len(head, packet.family, end);
    }
    true
}
