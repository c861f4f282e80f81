// SPDX-License-Identifier: GPL-2.0

//! The hook at LOCAL_IN: what is in order goes on at once, the rest waits in the session.

use super::{
    attach,
    stamp,
    Known,
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
        clock,
        reading::Reading,
        skb::Skb, //
    },
};
use kernel::sync::Arc;

/// LOCAL_IN of an instance.
pub fn local_in(instance: &Instance, skb: &mut Skb<'_>, family: u8, rcu: Reading<'_>) -> Verdict {
    let len = skb.len();
    let Ok(packet) = Packet::parse(skb.head(), len, family) else {
        return Verdict::Accept;
    };
    // Only what has a place in the stream, or behind it something that may tell of one.
    let rst = packet.tcp.is_some_and(|tcp| tcp.flags & packet::RST != 0);
    let placed = match packet.tcp {
        Some(tcp) => (packet.seq_len() != 0 || rst) && tcp.flags & packet::SYN == 0,
        None => packet.proto == packet::UDP && packet.payload_end != packet.end,
    };
    if !placed {
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
    let stream = session.is_stream();
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
    if stream && !skb.csum_ok(packet.l4, packet.proto, packet.family) {
        return Verdict::Accept;
    }
    let now = clock::now_us();
    let max_wait = (instance.param(Param::ReorderWaitMax) as u32).saturating_mul(1000);
    let segment = Segment {
        seq: start,
        end,
        // The lane was reported at PRE_ROUTING.
        lane: u8::MAX,
        bytes: 0,
        rst,
    };

    let mut rx = session.rx().lock();
    if rx.dead {
        return Verdict::Accept;
    }
    let state = &mut *rx;
    let old = seq::age(now, state.waited_at) >= WAIT_LIFE_US;
    let fresh = !state.started || old || core::mem::take(&mut state.stale);
    let started = state.started;
    if fresh {
        state.started = true;
        state.waited_at = now;
    }
    if !started && stream {
        state.known = Known::Stream(Stamps::new(session.acked()));
    }
    let delivering = state.delivering;
    let much = session.shared.held.read_once() > MAX_HELD;
    let in_burst = stream && !much && state.is_burst(now);
    let Some(buffer) = state.buffer(if stream { session.acked() } else { start }) else {
        instance.count(Counter::NoMemory);
        return Verdict::Accept;
    };
    if !started && stream && buffer.is_empty() {
        // The stream has gone on while nobody looked.
        *buffer = Reorder::new(session.acked());
    }
    if fresh {
        let silent = |lane| buffer.is_silent(now, lane);
        let lanes = session.inner.lock().s.expected_mask(silent);
        let (wait_us, spread_us) = session.wait_us(lanes, max_wait);
        // What is sent again has no CM behind it.
        let every = instance.param(Param::Cm) == 1;
        let repair_us = match instance.param(Param::Repair) {
            0 => 0,
            _ if every || !stream => 0,
            _ => session.repair_us(lanes, max_wait),
        };
        let limits = Limits {
            packets,
            bytes: instance.param(Param::ReorderBytes) as u32,
            wait_us,
            spread_us,
            repair_us,
            settle_us: if stream { 0 } else { DATAGRAM_SETTLE_US },
        };
        buffer.set_limits(limits);
        buffer.expect_lanes(now, lanes as u8);
    }
    if stream {
        buffer.acked(session.acked());
    } else if seq::before(start, buffer.next()) {
        instance.count(Counter::ReorderLate);
    }
    if !skb.may_leave() {
        return Verdict::Accept;
    }
    // Nearly all are in order. Others queue behind it while it is under way.
    if !delivering && buffer.passes(now, &segment) {
        if let Known::Stream(stamps) = &mut state.known {
            stamp(stamps, session.acked(), skb, &packet);
        }
        state.delivering = true;
        if in_burst && !skb.is_gso() && Train::begin(skb.head(), &packet).is_some() {
            if let Some(held) = skb.hold() {
                if state.await_others(held, &packet).is_err() {
                    instance.count(Counter::NoMemory);
                }
                drop(rx);
                if !instance.bursts.add(instance, session.clone()) {
                    session.passed_on(session.rx().lock(), instance);
                }
                return Verdict::Stolen;
            }
        }
        drop(rx);
        skb.pass_on();
        session.passed_on(session.rx().lock(), instance);
        return Verdict::Stolen;
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
    session.account(before, buffer.bytes());
    let missing = session.deliver(rx, first, stream);
    instance.ask_for(session, missing);
    Verdict::Stolen
}
