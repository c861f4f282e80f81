// SPDX-License-Identifier: GPL-2.0

//! Numbers of datagrams, for rules that need them: a DATA message in the surplus
//! area of each, on whatever lane it leaves.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        rider::put_behind,
        rows::WireEntry,
        rx::find,
        session::{
            Inner,
            Session, //
        },
        tx::parse,
        Verdict, //
    },
    proto::{
        counters::Counter,
        datagrams::{
            self,
            Sight, //
        },
        packet::{
            self,
            Packet, //
        },
        params::Param,
        path::Standing,
        policy::{
            Mode,
            Traits,
            Treatment, //
        },
        session::{
            Dispatch,
            PathInfo, //
        },
        wire::{
            cm::{
                self,
                Cm,
                Kind,
                Number,
                Place,
                Raw, //
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

impl Session {
    /// The number that a datagram waits for its turn with, and the one behind it, as the message
    /// behind it says; `None` if there is none, or no order is wanted. LOCAL_IN.
    pub fn order_of(&self, skb: &Skb<'_>, packet: &Packet) -> Option<(u32, u32)> {
        let found = find(skb, packet)?;
        let raw = Raw::new(found.bytes()).filter(|raw| raw.kind() == Kind::Data)?;
        let peer = &self.peer;
        // It was looked at in PRE_ROUTING, which cannot leave a note.
        if !raw.verify(&Algo, &peer.keys.rx, peer.node, packet.proto) {
            return None;
        }
        match raw.parse()? {
            Cm::Number(n) if n.session == self.id && n.place.ordered => {
                Some((n.place.number, datagrams::after(n.place.number)))
            }
            _ => None,
        }
    }
}

impl Inner {
    /// A datagram leaves without a number, because there is one lane only.
    pub fn pass_unnumbered(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.numbers.pass();
        }
    }

    /// Whether a datagram that gets a number keeps to the original lane: what has just left there
    /// without one would be overtaken.
    fn stays(&mut self, now: u32) -> bool {
        let original = self.s.lane(0);
        let works = original.is_some_and(|lane| {
            lane.path.standing() >= Standing::Doubtful && lane.path.reserve().is_none()
        });
        let may = works && !self.s.is_replaced();
        may && self.rare().is_some_and(|rare| rare.numbers.stays(now))
    }

    /// The place of a datagram, or of the first one of a burst, that leaves on a lane and, as
    /// copies, on those in the mask. `None` if it needs none, or there is no memory and so are no
    /// copies.
    pub fn number(
        &mut self,
        treatment: &Treatment,
        lane: usize,
        count: u32,
        copies: &mut u32,
    ) -> Option<Place> {
        let ordered = treatment.ordered;
        if *copies == 0 && !ordered {
            return None;
        }
        let Some(rare) = self.rare() else {
            *copies = 0;
            return None;
        };
        Some(rare.numbers.take(lane, count, ordered, *copies != 0))
    }
}

impl Instance {
    /// A datagram came that has a number, as its authentic message says: whether it has come
    /// before.
    pub fn number_came(&self, entry: &WireEntry, place: &Place) -> bool {
        let session = &entry.session;
        session.peer.heard();
        let packets = self.param(Param::ReorderPackets) as usize;
        let sight = session.datagram_came(entry.lane, place, packets);
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
    /// 0 if it wants none, or there is no room. Says in `dispatch` which lanes it keeps to for the
    /// sake of order.
    pub fn number_room(
        &self,
        now: u32,
        inner: &mut Inner,
        dispatch: &mut Dispatch,
        skb: &Skb<'_>,
        packet: &Packet,
    ) -> usize {
        let treatment = &mut dispatch.treatment;
        let copied = treatment.mode == Mode::Protected;
        if packet.proto != packet::UDP || !copied && !treatment.ordered {
            return 0;
        }
        let size = Traits::read(skb.head(), packet, skb.len(), skb.segment_size()).size;
        // A message rides behind it already, or it has something of its own there. An empty one
        // would be a carrier.
        let free = skb.len() == packet.payload_end && packet.payload_len() != 0;
        let room = free && usize::from(size).saturating_add(NUMBER_ROOM) <= skb.dst_mtu() as usize;
        if !room {
            self.count(Counter::NumberNoRoom);
        }
        if treatment.ordered && !room {
            // On one lane they keep the order among themselves.
            treatment.mode = Mode::Single;
            dispatch.passing = true;
        } else if treatment.ordered && !copied && inner.stays(now) {
            treatment.mode = Mode::Never;
            dispatch.passing = true;
        }
        if room {
            NUMBER_ROOM
        } else {
            0
        }
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

    /// As [`Instance::numbered`], for a packet of our own; it leaves by `route` as it is, or else
    /// is wrapped. No lock held.
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
        let family = session.family();
        let numbered = self.put_number(session, &mut own.as_skb(), place, mtu);
        if place.copied && !numbered {
            // Without it the receiver would deliver it twice.
            return;
        }
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

    /// False if there was no room for it, or no memory.
    fn put_number(&self, session: &Session, skb: &mut Skb<'_>, place: &Place, mtu: u32) -> bool {
        let Some(packet) = parse(skb, session.family()) else {
            return false;
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
        let put = put_behind(skb, &packet, buf.get(..n).unwrap_or(&[]), mtu);
        self.count(if put {
            Counter::CmTx
        } else {
            Counter::NoMemory
        });
        put
    }
}
