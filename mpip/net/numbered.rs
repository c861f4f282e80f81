// SPDX-License-Identifier: GPL-2.0

//! Numbers of datagrams, for rules that need them: a DATA message in the surplus
//! area of each, on whatever lane it leaves.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        rows::WireEntry,
        session::{
            Inner,
            Session, //
        },
        tx::{
            parse,
            put_behind, //
        },
        Verdict, //
    },
    proto::{
        counters::Counter,
        datagrams::Sight,
        packet::{
            self,
            Packet, //
        },
        policy::{
            Mode,
            Traits, //
        },
        session::Dispatch,
        wire::{
            cm::{
                self,
                Cm,
                Number,
                Place, //
            },
            surplus,
            MAX_LEN, //
        }, //
    },
    sys::{
        crypto::Algo,
        route::Dst,
        skb::{
            OwnSkb,
            Skb, //
        }, //
    },
};
use kernel::sync::Arc;

/// What a number takes behind a datagram at most, bytes.
pub const NUMBER_ROOM: usize = surplus::layout(1, cm::NUMBER_LEN);

impl Inner {
    /// The place of a datagram, or of the first one of a burst, that leaves on a lane and, as
    /// copies, on those in the mask. `None` if it needs none, or there is no memory and so are no
    /// copies.
    pub fn number(&mut self, lane: usize, count: u32, copies: &mut u32) -> Option<Place> {
        if *copies == 0 {
            return None;
        }
        let Some(rare) = self.rare() else {
            *copies = 0;
            return None;
        };
        Some(rare.numbers.take(lane, count, false, *copies != 0))
    }
}

impl Instance {
    /// A datagram came that has a number, as its authentic message says: whether it has come
    /// before.
    pub fn number_came(&self, entry: &WireEntry, place: &Place) -> bool {
        let session = &entry.session;
        session.peer.heard();
        let sight = session.rx.lock().see(place.number);
        let copy = match sight {
            Some(Sight::New) => false,
            Some(Sight::Again) => true,
            Some(Sight::Old) => place.copied,
            None => {
                self.count(Counter::NoMemory);
                false
            }
        };
        if copy {
            self.count(Counter::RxCopy);
        }
        copy
    }

    /// The bytes that are needed behind a packet of a session for the number that its rule wants;
    /// 0 if it wants none, or there is no room.
    pub fn number_room(&self, dispatch: &Dispatch, skb: &Skb<'_>, packet: &Packet) -> usize {
        if dispatch.treatment.mode != Mode::Protected || packet.proto != packet::UDP {
            return 0;
        }
        let size = Traits::read(skb.head(), packet, skb.len(), skb.segment_size()).size;
        // A message rides behind it already, or it has something of its own there. An empty one
        // would be a carrier.
        let free = skb.len() == packet.payload_end && packet.payload_len() != 0;
        if !free || usize::from(size) + NUMBER_ROOM > skb.dst_mtu() as usize {
            self.count(Counter::NumberNoRoom);
            return 0;
        }
        NUMBER_ROOM
    }

    /// Gives a packet of the output hook, which has the addresses of its lane if it is `whole`, its
    /// number and has it leave; a burst is cut into its datagrams.
    pub fn numbered(
        &self,
        session: &Arc<Session>,
        lane: usize,
        path: &Path,
        skb: &mut Skb<'_>,
        place: Place,
        whole: bool,
    ) -> Verdict {
        if whole && !skb.is_gso() {
            let mtu = skb.dst_mtu();
            self.put_number(session, skb, &place, mtu);
            return Verdict::Accept;
        }
        let route = skb.dst().filter(|_| whole);
        self.send_numbered(session, lane, path, skb.take(), place, route.as_ref());
        Verdict::Stolen
    }

    /// As [`Instance::numbered`], for a packet of our own; it leaves by `route` as it is, or else is
    /// wrapped. No lock held.
    pub fn send_numbered(
        &self,
        session: &Arc<Session>,
        lane: usize,
        path: &Path,
        mut own: OwnSkb,
        place: Place,
        route: Option<&Dst>,
    ) {
        let mtu = route.map_or(path.mtu(), |route| route.mtu().min(path.mtu()));
        if !own.as_skb().is_gso() {
            return self.send_one(session, lane, own, &place, mtu, route);
        }
        let Some(datagrams) = own.as_skb().segment() else {
            return self.count(Counter::NoMemory);
        };
        let mut place = place;
        for datagram in datagrams {
            self.send_one(session, lane, datagram, &place, mtu, route);
            place = place.next();
        }
    }

    fn send_one(
        &self,
        session: &Arc<Session>,
        lane: usize,
        mut own: OwnSkb,
        place: &Place,
        mtu: u32,
        route: Option<&Dst>,
    ) {
        let family = session.tuple.local.addr.family();
        self.put_number(session, &mut own.as_skb(), place, mtu);
        match route {
            Some(route) => own.send(self.net, route, family),
            None => {
                let packet = parse(&mut own.as_skb(), family);
                if let Some(packet) = packet {
                    self.send_wrapped(session, lane, own, &packet);
                }
            }
        }
    }

    fn put_number(&self, session: &Session, skb: &mut Skb<'_>, place: &Place, mtu: u32) {
        let Some(packet) = parse(skb, session.tuple.local.addr.family()) else {
            return;
        };
        let number = Number {
            session: session.id,
            place: *place,
        };
        let mut buf = [0; MAX_LEN];
        let n = cm::emit(
            &Algo,
            &session.peer.keys.tx,
            self.identity.node,
            packet.proto,
            &Cm::Number(number),
            &mut buf,
        );
        if put_behind(skb, &packet, buf.get(..n).unwrap_or(&[]), mtu) {
            self.count(Counter::CmTx);
        } else {
            self.count(Counter::NoMemory);
        }
    }
}
