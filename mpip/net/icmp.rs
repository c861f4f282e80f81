// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about added lanes. Softirq context, from PRE_ROUTING.

use crate::{
    net::instance::Instance,
    proto::{
        addr::{
            Addr,
            Endpoint,
            Tuple, //
        },
        counters::Counter,
        packet::{
            self,
            Packet, //
        },
        wrap::Via, //
    },
    sys::{
        clock,
        reading::Reading,
        skb::Skb, //
    },
};

/// Length of an ICMP header.
const HEADER_LEN: usize = 8;

/// An ICMP error that quotes a packet of an added lane.
pub fn error(instance: &Instance, skb: &mut Skb<'_>, packet: &Packet, rcu: Reading<'_>) {
    // Its own header, the longest of the quoted packet, and of that one's transport the ports.
    const NEED: usize = HEADER_LEN + 60 + 8;
    if !skb.pull(packet.field(NEED).min(skb.len())) {
        return;
    }
    let head = skb.head();
    let icmp = head.get(packet.l4..).unwrap_or(&[]);
    let Some((icmp, quote)) = icmp.split_first_chunk::<HEADER_LEN>() else {
        return;
    };
    let (Some(kind), Some(&[a, b, c, d])) = (kind_of(packet.proto, icmp), icmp.get(4..8)) else {
        return;
    };
    let mtu = match packet.proto {
        packet::ICMP => u32::from(u16::from_be_bytes([c, d])),
        _ => u32::from_be_bytes([a, b, c, d]),
    };
    let Some(tuple) = quoted_tuple(quote, packet.family) else {
        return;
    };
    let at = quoted_seq(quote, packet.family);
    let Some(entry) = instance.wire.get(rcu, &tuple) else {
        return;
    };
    if entry.lane == 0 {
        // The socket's own business.
        return;
    }
    if !skb.csum_ok(packet.l4, packet.proto, packet.family) {
        instance.count(Counter::RxBadChecksum);
        return;
    }
    let session = &entry.session;
    if tuple.proto == packet::TCP {
        // Who has not seen the packet cannot know where in the stream it lay.
        let sent = |at| match entry.via {
            Via::Tcp => {
                let inner = session.inner.lock();
                let lane = inner.s.lane(usize::from(entry.lane));
                lane.is_some_and(|l| l.stream.has_sent(at))
            }
            _ => session.has_sent(at),
        };
        if !at.is_some_and(sent) {
            instance.count(Counter::RxUnexpected);
            return;
        }
    }
    match kind {
        Kind::TooBig => {
            if entry.path.lower_mtu(mtu) {
                instance.count(Counter::PathMtuLowered);
            }
        }
        // There is nothing in a datagram's header that others do not know.
        Kind::Refused if tuple.proto == packet::UDP => session.doubt_lane(instance, entry.lane),
        Kind::Refused => session.refuse_lane(instance, entry.lane, Counter::LaneRefusedIcmp),
        Kind::Doubt => {
            const PACE_US: u32 = 20_000;
            let now = clock::now_us();
            instance.count(Counter::PathDoubted);
            if entry.path.state.lock().question_due(now, PACE_US) {
                instance.ask(session, &entry.path, &tuple, false);
            }
        }
    }
}

/// What an ICMP error means to a lane.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its path carries smaller packets only.
    TooBig,
    /// Somebody does not want it: it will not get through.
    Refused,
    /// A router has, for the moment, no way. Such hints may be forged and such troubles pass (RFC
    /// 5461): the path is asked at once, and its silence decides.
    Doubt,
}

/// What the first eight bytes of an ICMP message say, if they are an error that concerns lanes
/// (RFC 792, 1122, 1812; RFC 4443).
fn kind_of(proto: u8, icmp: &[u8]) -> Option<Kind> {
    let (kind, code) = (*icmp.first()?, *icmp.get(1)?);
    Some(match (proto, kind, code) {
        (packet::ICMP, 3, 4) | (packet::ICMPV6, 2, _) => Kind::TooBig,
        // Protocol, port; forbidden for the network, for the host, at all.
        (packet::ICMP, 3, 2 | 3 | 9 | 10 | 13) => Kind::Refused,
        // Forbidden; port; by policy; by a route that refuses.
        (packet::ICMPV6, 1, 1 | 4 | 5 | 6) => Kind::Refused,
        (packet::ICMP, 3 | 11, _) | (packet::ICMPV6, 1 | 3, _) => Kind::Doubt,
        _ => return None,
    })
}

/// The sequence number of a quoted TCP segment.
fn quoted_seq(quote: &[u8], family: u8) -> Option<u32> {
    let transport = quote.get(quoted_header_len(quote, family)?..)?;
    let [_, _, _, _, seq @ ..] = transport.first_chunk::<8>()?;
    Some(u32::from_be_bytes(*seq))
}

/// Bytes of a quoted packet's IP header.
fn quoted_header_len(quote: &[u8], family: u8) -> Option<usize> {
    match family {
        4 => Some(usize::from(quote.first()? & 0x0f).saturating_mul(4)),
        _ => Some(packet::ip_header_len(family)),
    }
}

/// The tuple of a quoted packet of ours, seen from this node.
fn quoted_tuple(quote: &[u8], family: u8) -> Option<Tuple> {
    let (proto, src, dst) = if family == 4 {
        (
            *quote.get(9)?,
            Addr::from_bytes(quote.get(12..16)?)?,
            Addr::from_bytes(quote.get(16..20)?)?,
        )
    } else {
        (
            *quote.get(6)?,
            Addr::from_bytes(quote.get(8..24)?)?,
            Addr::from_bytes(quote.get(24..40)?)?,
        )
    };
    let transport = quote.get(quoted_header_len(quote, family)?..)?;
    let &[s0, s1, d0, d1] = transport.first_chunk()?;
    Some(Tuple {
        proto,
        local: Endpoint {
            addr: src,
            port: u16::from_be_bytes([s0, s1]),
        },
        remote: Endpoint {
            addr: dst,
            port: u16::from_be_bytes([d0, d1]),
        },
    })
}
