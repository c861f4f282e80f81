// SPDX-License-Identifier: GPL-2.0

//! Packets of lanes that travel inside UDP or a made-up TCP connection, and
//! segments that have to be cut because a path is narrower than the session.

use crate::{
    net::{
        instance::Instance,
        session::Session,
        tx::parse, //
    },
    proto::{
        addr::Tuple,
        counters::Counter,
        packet::{
            self,
            Packet, //
        },
        wrap::{
            self,
            Place,
            Via, //
        }, //
    },
    sys::{
        route::Dst,
        skb::{
            Csum,
            OwnSkb,
            Skb, //
        }, //
    },
};
use kernel::sync::Arc;

/// A TCP header without payload that is left for data at least, bytes.
const LEAST: usize = 64;

impl Instance {
    /// Sends a packet of a session on an added lane in whatever it needs there. `packet` is what
    /// its headers say, be they the session's or another lane's. No lock held.
    pub fn send_wrapped(
        &self,
        session: &Arc<Session>,
        lane: usize,
        mut own: OwnSkb,
        packet: &Packet,
    ) {
        let (tuple, via, path) = {
            let inner = session.inner.lock();
            match inner.s.lane(lane) {
                Some(l) => (l.tuple(), l.ways.current(), l.path.clone()),
                None => return,
            }
        };
        let Some(route) = Dst::lookup(self.net, path.ifindex(), &tuple) else {
            self.count(Counter::TxNoRoute);
            return;
        };
        let mtu = route.mtu().min(path.mtu()) as usize;
        let head = packet.payload.saturating_add(via.overhead());
        let room = mtu.saturating_sub(head).max(LEAST);
        let too_long = packet.payload_len() > room;
        let mut skb = own.as_skb();
        if !too_long && !skb.is_gso() {
            self.wrap_one(session, lane, own, &tuple, via, &route, packet.family);
            return;
        }
        let segments = if packet.proto == packet::TCP {
            skb.cut(room)
        } else {
            skb.segment()
        };
        let Some(segments) = segments else {
            self.count(Counter::NoMemory);
            return;
        };
        for segment in segments {
            self.wrap_one(session, lane, segment, &tuple, via, &route, packet.family);
        }
    }

    #[expect(clippy::too_many_arguments)]
    fn wrap_one(
        &self,
        session: &Arc<Session>,
        lane: usize,
        mut own: OwnSkb,
        tuple: &Tuple,
        via: Via,
        route: &Dst,
        family: u8,
    ) {
        if self
            .dress(session, lane, &mut own.as_skb(), tuple, via, route, family)
            .is_none()
        {
            self.count(Counter::NoMemory);
            return;
        }
        own.send(self.net, route, family);
    }

    #[expect(clippy::too_many_arguments)]
    fn dress(
        &self,
        session: &Arc<Session>,
        lane: usize,
        skb: &mut Skb<'_>,
        tuple: &Tuple,
        via: Via,
        route: &Dst,
        family: u8,
    ) -> Option<()> {
        let packet = parse(skb, family)?;
        skb.clear_hash();
        if via == Via::Raw {
            let partial = skb.csum() == Csum::Partial;
            let head = skb.writable(packet.payload)?;
            packet::rewrite(head, &packet, &tuple.local, &tuple.remote, partial);
            packet::set_dont_fragment(head, family);
            return Some(());
        }
        let more = via.overhead();
        // What follows the outer header: the inner one, whose ports become the session id.
        let len = packet.end.saturating_sub(packet.l4);
        let place = match via {
            Via::Tcp => {
                let mut inner = session.inner.lock();
                inner.s.lane_mut(lane)?.stream.next(len)
            }
            _ => Place::default(),
        };
        skb.set_dst(route);
        skb.insert(packet.l4, more).then_some(())?;
        let end = packet.end.saturating_add(more);
        let head = skb.writable(packet.field(more).saturating_add(4))?;
        wrap::wrap(head, packet.l4, end, via, tuple, session.id, &place);
        let at = if via == Via::Tcp { 16 } else { 6 };
        skb.set_partial(packet.l4, at).then_some(())
    }
}
