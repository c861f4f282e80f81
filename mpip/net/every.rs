// SPDX-License-Identifier: GPL-2.0

//! `cm=every`: a CM with every packet, as in the paper.
//!
//! On an added lane it is a trailer behind the user's data (TCP) or lies in
//! the surplus area (UDP). On the original tuple nothing is ever added to
//! user data: UDP has the surplus area there as well, TCP its carriers at the
//! usual cadence.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        rider::ride,
        session::Session,
        tx::parse,
        Verdict, //
    },
    proto::{
        counters::Counter,
        packet::{
            self,
            Packet, //
        },
        wire::{
            cm::{
                self,
                Cm, //
            },
            MAX_LEN, //
        }, //
    },
    sys::{
        clock,
        crypto::Algo,
        skb::Skb, //
    },
};
use kernel::sync::Arc;

fn data_cm(
    instance: &Instance,
    session: &Session,
    path: &Path,
    length: u16,
    out: &mut [u8; MAX_LEN],
) -> usize {
    let data = path
        .state
        .lock()
        .data(clock::now_us(), session.id, path.id, length);
    cm::emit(
        &Algo,
        &session.peer.keys.tx,
        instance.identity.node,
        session.proto(),
        &Cm::Data(data),
        out,
    )
}

/// Gives a packet on the original tuple its CM, where that is harmless.
pub fn on_original(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    session: &Session,
    path: &Arc<Path>,
) {
    if packet.proto != packet::UDP {
        return;
    }
    let mut buf = [0; MAX_LEN];
    let n = data_cm(instance, session, path, 0, &mut buf);
    if ride(skb, packet, buf.get(..n).unwrap_or(&[])) {
        instance.count(Counter::CmTx);
    }
}

/// Gives a packet on an added lane, rewritten already, its CM. A GSO packet is cut into segments,
/// which we then send ourselves.
pub fn on_lane(
    instance: &Instance,
    skb: &mut Skb<'_>,
    family: u8,
    session: &Session,
    path: &Arc<Path>,
) -> Verdict {
    let Some(packet) = parse(skb, family) else {
        return Verdict::Accept;
    };
    if packet.proto == packet::UDP {
        on_original(instance, skb, &packet, session, path);
        return Verdict::Accept;
    }
    if !skb.is_gso() {
        append(instance, skb, family, session, path);
        return Verdict::Accept;
    }
    let Some(route) = skb.dst() else {
        return Verdict::Accept;
    };
    let Some(segments) = skb.segment() else {
        return Verdict::Accept;
    };
    for mut segment in segments {
        append(instance, &mut segment.as_skb(), family, session, path);
        segment.send(instance.net, &route, family);
    }
    skb.discard();
    Verdict::Stolen
}

/// Puts a CM behind the data of one TCP segment if it fits.
fn append(instance: &Instance, skb: &mut Skb<'_>, family: u8, session: &Session, path: &Arc<Path>) {
    let Some(packet) = parse(skb, family) else {
        return;
    };
    if skb.len().saturating_add(cm::DATA_LEN) > (skb.dst_mtu().min(path.mtu())) as usize {
        return;
    }
    let Ok(length) = u16::try_from(packet.payload_len()) else {
        return;
    };
    let mut buf = [0; MAX_LEN];
    let n = data_cm(instance, session, path, length, &mut buf);
    if !skb.complete_csum() || !skb.append(buf.get(..n).unwrap_or(&[])) {
        instance.count(Counter::NoMemory);
        return;
    }
    let end = skb.len();
    let Some(bytes) = skb.writable(end) else {
        return;
    };
    packet::set_ip_len(bytes, family, end);
    packet::set_checksum(bytes, &packet, end);
    instance.count(Counter::CmTx);
}
