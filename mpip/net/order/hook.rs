// SPDX-License-Identifier: GPL-2.0

//! The hook at LOCAL_IN: what is in order goes on at once, the rest waits in the session.

use super::{
    attach,
    stamp,
    Known,
    Rx,
    Storage,
    DATAGRAM_SETTLE_US,
    MAX_HELD,
    WAIT_LIFE_US, //
};
use crate::{
    net::{
        instance::Instance,
        session::Session,
        Verdict, //
    },
    proto::{
        coalesce::Train,
        counters::Counter,
        packet::{
            self,
            Packet, //
        },
        params::Param,
        reorder::{
            Limits,
            Push,
            Reorder,
            Segment, //
        },
        seq,
        stamps::Stamps, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhGuard,
        clock,
        reading::Reading,
        skb::{
            Held,
            Skb, //
        }, //
    },
};
use kernel::sync::Arc;

/// LOCAL_IN of an instance.
pub fn local_in(instance: &Instance, skb: &mut Skb<'_>, family: u8, rcu: Reading<'_>) -> Verdict {
    let Ok(packet) = Packet::parse(skb.head(), skb.len(), family) else {
        return Verdict::Accept;
    };
    if !may_have_place(&packet) {
        return Verdict::Accept;
    }
    // To the wire a session has the addresses in front of this host's own NAT.
    let tuple = skb.tuple_before_nat().unwrap_or(packet.rx_tuple());
    let Some(entry) = instance.wire.get(rcu, &tuple) else {
        return Verdict::Accept;
    };
    let session: &Arc<Session> = &entry.session;
    if entry.lane != 0 {
        return Verdict::Accept;
    }
    let place = match packet.tcp {
        Some(tcp) => session
            .is_multi()
            .then(|| (tcp.seq, tcp.seq.wrapping_add(packet.seq_len()))),
        None => session.order_of(skb, &packet),
    };
    let Some((start, end)) = place else {
        return Verdict::Accept;
    };
    let packets = instance.param(Param::ReorderPackets) as usize;
    if packets == 0 {
        return Verdict::Accept;
    }
    // TCP drops what is damaged; neither its place in the stream nor its time stamp is to be
    // believed. On added lanes this was looked at before.
    if session.is_stream() && !skb.csum_ok(packet.l4, packet.proto, packet.family) {
        return Verdict::Accept;
    }
    let segment = Segment {
        seq: start,
        end,
        // The lane was reported at PRE_ROUTING.
        lane: u8::MAX,
        bytes: 0,
        rst: is_reset(&packet),
    };
    session.arrive(instance, skb, &packet, segment, packets)
}

fn is_reset(packet: &Packet) -> bool {
    packet.tcp.is_some_and(|tcp| tcp.flags & packet::RST != 0)
}

/// Whether it has a place in a stream, or behind its data something that may tell of one.
fn may_have_place(packet: &Packet) -> bool {
    match packet.tcp {
        Some(tcp) => (packet.seq_len() != 0 || is_reset(packet)) && tcp.flags & packet::SYN == 0,
        None => packet.proto == packet::UDP && packet.payload_end != packet.end,
    }
}

impl Session {
    /// What has a place in the stream goes on, or waits for what is before it. `packets` are held
    /// at most.
    fn arrive(
        self: &Arc<Session>,
        instance: &Instance,
        skb: &mut Skb<'_>,
        packet: &Packet,
        segment: Segment,
        packets: usize,
    ) -> Verdict {
        let stream = self.is_stream();
        let now = clock::now_us();
        let mut rx = self.rx().lock();
        if rx.dead {
            return Verdict::Accept;
        }
        let much = self.shared.held.read_once() > MAX_HELD;
        let in_burst = stream && !much && rx.is_burst(now);
        let delivering = rx.delivering;
        let Some(buffer) = self.expecting(instance, &mut rx, now, segment.seq, packets) else {
            instance.count(Counter::NoMemory);
            return Verdict::Accept;
        };
        if !stream && seq::before(segment.seq, buffer.next()) {
            instance.count(Counter::ReorderLate);
        }
        if !skb.may_leave() {
            return Verdict::Accept;
        }
        // Nearly all are in order. Others queue behind it while it is under way.
        if !delivering && buffer.passes(now, &segment) {
            return self.go_on(instance, rx, skb, packet, in_burst);
        }
        if buffer.wants_storage(&segment) {
            attach(buffer, packets);
            if !buffer.has_storage() {
                instance.count(Counter::NoMemory);
            }
        }
        // What is next does not stay.
        if much && buffer.is_early(&segment) {
            // All sessions together hold enough: TCP has to sort this out by itself.
            instance.count(Counter::ReorderOverflow);
            return Verdict::Accept;
        }
        let Some(held) = skb.hold() else {
            return Verdict::Accept;
        };
        let segment = Segment {
            bytes: held.bytes(),
            ..segment
        };
        let before = buffer.bytes();
        let first = match buffer.push(now, segment, held) {
            Push::Held => {
                instance.count(Counter::ReorderHeld);
                None
            }
            Push::Pass(held) | Push::Refused(held) | Push::Wild(held) => Some(held),
        };
        self.account(before, buffer.bytes());
        let missing = self.deliver(rx, first, stream);
        instance.ask_for(self, missing);
        Verdict::Stolen
    }

    /// The buffer, which knows what may be under way on the lanes now; `None` without memory. What
    /// has come begins at `start`.
    fn expecting<'a>(
        &self,
        instance: &Instance,
        rx: &'a mut Rx,
        now: u32,
        start: u32,
        packets: usize,
    ) -> Option<&'a mut Reorder<Held, Storage>> {
        let stream = self.is_stream();
        let started = rx.started;
        let old = seq::age(now, rx.waited_at) >= WAIT_LIFE_US;
        let fresh = !started || old || core::mem::take(&mut rx.stale);
        if fresh {
            rx.started = true;
            rx.waited_at = now;
        }
        if !started && stream {
            rx.known = Known::Stream(Stamps::new(self.acked()));
        }
        let buffer = rx.buffer(if stream { self.acked() } else { start })?;
        if !started && stream && buffer.is_empty() {
            // The stream has gone on while nobody looked.
            *buffer = Reorder::new(self.acked());
        }
        if fresh {
            let silent = |lane| buffer.is_silent(now, lane);
            let lanes = self.inner.lock().s.expected_mask(silent);
            buffer.set_limits(self.limits(instance, lanes, packets));
            buffer.expect_lanes(now, lanes as u8);
        }
        if stream {
            buffer.acked(self.acked());
        }
        Some(buffer)
    }

    /// How much and how long is waited for what may be under way on these lanes, one bit each.
    fn limits(&self, instance: &Instance, lanes: u32, packets: usize) -> Limits {
        let stream = self.is_stream();
        let max_wait = (instance.param(Param::ReorderWaitMax) as u32).saturating_mul(1000);
        let (wait_us, spread_us) = self.wait_us(lanes, max_wait);
        // What is sent again has no CM behind it.
        let every = instance.param(Param::Cm) == 1;
        let repair_us = match instance.param(Param::Repair) {
            0 => 0,
            _ if every || !stream => 0,
            _ => self.repair_us(lanes, max_wait),
        };
        Limits {
            packets,
            bytes: instance.param(Param::ReorderBytes) as u32,
            wait_us,
            spread_us,
            repair_us,
            settle_us: if stream { 0 } else { DATAGRAM_SETTLE_US },
        }
    }

    /// What is next in the stream goes on; in a burst it waits for others of it, to become one with
    /// them.
    fn go_on(
        self: &Arc<Session>,
        instance: &Instance,
        mut rx: BhGuard<'_, Rx>,
        skb: &mut Skb<'_>,
        packet: &Packet,
        in_burst: bool,
    ) -> Verdict {
        if let Known::Stream(stamps) = &mut rx.known {
            stamp(stamps, self.acked(), skb, packet);
        }
        rx.delivering = true;
        if in_burst && !skb.is_gso() && Train::begin(skb.head(), packet).is_some() {
            if let Some(held) = skb.hold() {
                if rx.await_others(held, packet).is_err() {
                    instance.count(Counter::NoMemory);
                }
                drop(rx);
                if !instance.bursts.add(instance, self.clone()) {
                    self.passed_on(self.rx().lock(), instance);
                }
                return Verdict::Stolen;
            }
        }
        drop(rx);
        skb.pass_on();
        self.passed_on(self.rx().lock(), instance);
        Verdict::Stolen
    }
}
