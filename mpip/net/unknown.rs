// SPDX-License-Identifier: GPL-2.0

//! What comes in on tuples that stand for nothing here: SYNs that ask or answer, and messages of
//! strangers. Softirq context, from PRE_ROUTING; see [`stranger`](crate::net::stranger) for what
//! becomes of them.

use crate::{
    net::{
        ask::clamp_mss,
        instance::Instance,
        rows::{
            Destination,
            SynSlot, //
        },
        rx::{
            below,
            find,
            find_message, //
        },
        session::TcpPosition,
        Verdict, //
    },
    proto::{
        addr::Tuple,
        counters::Counter,
        packet::{
            self,
            Packet,
            TcpHeader, //
        },
        wire::{
            cm::{
                Kind,
                Raw, //
            },
            option,
            MAX_LEN, //
        }, //
    },
    sys::{
        crypto::Algo,
        reading::Reading,
        skb::Skb,
        socket::{
            self,
            Owner, //
        }, //
    },
};

/// PRE_ROUTING of a packet on a tuple that stands for nothing here.
pub fn unknown(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    rcu: Reading<'_>,
) -> Verdict {
    let Some(tcp) = packet.tcp else {
        return unknown_udp(instance, skb, packet, tuple, rcu);
    };
    if tcp.flags & packet::SYN != 0 {
        if tuple.local.port == instance.ports.own() && new_stream(instance, skb, packet, tuple, rcu)
        {
            return Verdict::Drop;
        }
        syn(instance, skb, packet, tuple, &tcp);
        return Verdict::Accept;
    }
    let len = packet.payload_len();
    if len == 0 || len > MAX_LEN || tcp.flags & packet::RST != 0 || skb.is_gso() {
        return Verdict::Accept;
    }
    let Some(found) = find(skb, packet) else {
        return Verdict::Accept;
    };
    if !found.alone {
        return Verdict::Accept;
    }
    // What is for somebody else is only passing through.
    if !socket::is_local(instance.net, &tuple.local.addr) {
        return Verdict::Accept;
    }
    // On the tuple of a socket, only what lies below what the socket expects can be a carrier.
    let owner = socket::tcp_owner(instance.net, tuple, skb.ifindex_in());
    let position = match owner {
        Owner::Stream {
            rcv_nxt, snd_una, ..
        } => {
            if !below(packet, &tcp, rcv_nxt) {
                return Verdict::Accept;
            }
            TcpPosition {
                una: snd_una,
                ack: rcv_nxt,
                window: tcp.window,
            }
        }
        Owner::None => TcpPosition {
            una: tcp.ack,
            ack: tcp.seq.wrapping_add(len as u32),
            window: tcp.window,
        },
        Owner::Other => return Verdict::Accept,
    };
    if !skb.csum_ok(packet.l4, packet.proto, packet.family) {
        return Verdict::Accept;
    }
    let owned = owner != Owner::None;
    if instance.stranger(tuple, &found, position, owned, rcu) {
        Verdict::Drop
    } else {
        Verdict::Accept
    }
}

/// A SYN to our own port: true if it begins a made-up connection of a lane.
fn new_stream(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    rcu: Reading<'_>,
) -> bool {
    let Some(tcp) = packet.tcp else { return false };
    let Some(found) = find_message(skb, packet) else {
        return false;
    };
    let Some(raw) = Raw::new(found.bytes()) else {
        return false;
    };
    if instance.is_stopping()
        || raw.kind() != Kind::Lane
        || !socket::is_local(instance.net, &tuple.local.addr)
        || !skb.csum_ok(packet.l4, packet.proto, packet.family)
    {
        return false;
    }
    let place = (tcp.seq, tcp.flags, packet.payload_len());
    instance.new_lane(tuple, &raw, Some(place), rcu)
}

fn unknown_udp(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    rcu: Reading<'_>,
) -> Verdict {
    if packet.payload_end != packet.end {
        if let Some(found) = find(skb, packet) {
            let local = socket::is_local(instance.net, &tuple.local.addr);
            let owned = local && socket::udp_owned(instance.net, tuple, skb.ifindex_in());
            if local
                && instance.stranger(tuple, &found, TcpPosition::NONE, owned, rcu)
                && found.alone
            {
                return Verdict::Drop;
            }
        }
    }
    if tuple.local.port == instance.ports.own()
        && tuple.local.port != 0
        && socket::is_local(instance.net, &tuple.local.addr)
    {
        if let Some(found) = find_message(skb, packet) {
            let raw = Raw::new(found.bytes()).filter(|raw| raw.kind() == Kind::Lane);
            if raw.is_some()
                && skb.csum_ok(packet.l4, packet.proto, packet.family)
                && instance.stranger(tuple, &found, TcpPosition::NONE, false, rcu)
            {
                return Verdict::Drop;
            }
        }
        // The port is ours, but no lane is known: tell the sender, as a host without MPIP would.
        if skb.csum_ok(packet.l4, packet.proto, packet.family) && skb.route_local(packet.family) {
            instance.count(Counter::RxUnexpected);
            skb.send_unreachable(packet.family);
        }
        return Verdict::Drop;
    }
    Verdict::Accept
}

/// A SYN may ask, a SYN-ACK may answer.
pub fn syn(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    tcp: &TcpHeader,
) {
    let is_answer = tcp.flags & packet::ACK != 0;
    let Some(found) = skb.head().get(packet.options()).and_then(option::find) else {
        if !is_answer {
            // Whoever asks no more is not answered any more.
            instance.forget_syn(tuple);
        }
        return;
    };
    if instance.is_stopping() || !socket::is_local(instance.net, &tuple.local.addr) {
        return;
    }
    if found.answer != is_answer {
        return;
    }
    if is_answer {
        let asked = instance.asked_by_syn(&tuple.reversed());
        let right = asked.is_some_and(|slot| {
            tcp.ack == slot.isn.wrapping_add(1)
                && option::answer_nonce(&Algo, slot.nonce) == found.nonce
        });
        if !right {
            instance.count(Counter::CmMalformed);
            return;
        }
        instance.note_available(
            &Destination {
                proto: packet.proto,
                end: tuple.remote,
            },
            None,
        );
    } else {
        instance.count(Counter::QueryRx);
        instance.remember_syn(SynSlot {
            tuple: *tuple,
            nonce: found.nonce,
            isn: tcp.seq,
            answered: false,
        });
    }
    clamp_mss(instance, skb, packet.family, &tuple.remote);
}
