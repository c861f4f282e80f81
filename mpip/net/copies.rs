// SPDX-License-Identifier: GPL-2.0

//! The same data on several lanes, for rules with mode protected. The receiver's
//! TCP takes what comes first and drops the rest; datagrams have a number, by
//! which MPIP does the same.

use crate::{
    net::{
        instance::Instance,
        numbered::NUMBER_ROOM,
        session::Session,
        tx::{
            is_whole,
            lane_has_room,
            original_carries,
            parse,
            rewrite, //
        }, //
    },
    proto::{
        counters::Counter,
        session::{
            PathInfo,
            MAX_LANES, //
        },
        wire::cm::Place, //
    },
    sys::{
        clock,
        route::Dst,
        skb::{
            KeptSkb,
            Skb, //
        }, //
    },
};
use kernel::sync::Arc;

impl Instance {
    /// Sends copies of a packet on the lanes in the mask; datagrams have a place, of a burst the
    /// first one's. Any context, no lock held.
    pub fn send_copies(
        &self,
        session: &Arc<Session>,
        skb: &mut Skb<'_>,
        lanes: u32,
        place: Option<Place>,
    ) {
        if lanes == 0 {
            return;
        }
        for index in (0..MAX_LANES).filter(|i| lanes & (1 << i) != 0) {
            match skb.keep() {
                Some(copy) => self.send_copy(session, copy, index, place),
                None => return self.count(Counter::NoMemory),
            }
        }
    }

    fn send_copy(
        &self,
        session: &Arc<Session>,
        mut copy: KeptSkb,
        index: usize,
        place: Option<Place>,
    ) {
        let family = session.family();
        let mut skb = copy.as_skb();
        // Its headers may be those of another lane by now.
        let Some(packet) = parse(&mut skb, family) else {
            return;
        };
        let (segments, len) = (skb.segments(), skb.len());
        let (tuple, path, whole) = {
            let mut inner = session.inner.lock();
            let Some(lane) = inner.s.lane_mut(index) else {
                return;
            };
            let more = place.map_or(0, |_| NUMBER_ROOM);
            let fits = match index {
                0 => original_carries(&skb, lane, more),
                _ => lane_has_room(self, &skb, &packet, lane, more),
            };
            if !fits {
                return;
            }
            let now = clock::now_us();
            lane.tx_packets = lane.tx_packets.wrapping_add(u64::from(segments));
            lane.tx_bytes = lane.tx_bytes.wrapping_add(len as u64);
            lane.note_sent(now);
            lane.path.queued(now, len as u32, 0);
            let whole = index == 0 || is_whole(&skb, lane);
            (lane.tuple(), lane.path.clone(), whole)
        };
        let ifindex = if index == 0 { 0 } else { path.ifindex() };
        let Some(route) = Dst::lookup(self.net, ifindex, &tuple) else {
            return self.count(Counter::TxNoRoute);
        };
        if whole && !rewrite(&mut skb, &packet, &tuple) {
            return self.count(Counter::NoMemory);
        }
        path.count_tx(segments, len, || false);
        self.count(Counter::TxCopy);
        let own = copy.into_own();
        if let Some(place) = place {
            let route = Some(&route).filter(|_| whole);
            return self.send_numbered(session, index, &path, own, place, route);
        }
        if whole {
            own.send(self.net, &route, family);
        } else {
            self.send_wrapped(session, index, own, &packet);
        }
    }
}
