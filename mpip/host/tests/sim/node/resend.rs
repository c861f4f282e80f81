// SPDX-License-Identifier: GPL-2.0

//! `net/resend.rs`: what was in flight on a path that failed is sent again on the others.

use super::Inner;
use super::Node;
use super::Session;
use crate::wire::Wire;
use crate::world::Cx;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::kept::Segment;
use mpip_host::proto::packet;
use mpip_host::proto::path::Standing;
use mpip_host::proto::seq;
use mpip_host::proto::session::Class;
use mpip_host::proto::wire::option;
use std::rc::Rc;

const MAX_SEGMENTS: usize = 512;
const MAX_BYTES: u32 = 4 << 20;
const OVERHEAD: u32 = 512;

/// Storage of kept segments.
pub type Storage = Box<[Option<Segment<Wire>>]>;

impl Session {
    /// Keeps a segment that is about to leave on a lane. Unlike `net`, which bounds the memory of
    /// all sessions together as well. Returns how many could not be kept.
    pub(super) fn keep(&self, inner: &mut Inner, wire: &Wire, lane: usize, end: u32) -> u32 {
        inner.kept.acked(self.position().una);
        if !inner.kept.has_storage() {
            let storage: Storage = (0..MAX_SEGMENTS).map(|_| None).collect();
            assert!(inner.kept.attach(storage).is_none());
        }
        let segment = Segment {
            end,
            lane: lane as u8,
            bytes: wire.len() as u32 + OVERHEAD,
            packet: wire.clone(),
        };
        inner.kept.push(segment, MAX_BYTES)
    }

    /// Lets go of everything kept.
    pub(super) fn forget_kept(&self) {
        self.inner.borrow_mut().kept.detach();
    }

    /// Takes out what was sent on the lanes in `mask` and not acknowledged, oldest first.
    fn take_kept(&self, mask: u32) -> Vec<Segment<Wire>> {
        let una = self.position().una;
        let mut list = Vec::new();
        let mut inner = self.inner.borrow_mut();
        inner.kept.acked(una);
        for _ in 0..inner.kept.len() {
            let segment = inner.kept.pop().expect("one of those kept");
            if !seq::after(segment.end, una) {
                continue;
            }
            if mask & (1 << segment.lane) == 0 {
                inner.kept.push(segment, MAX_BYTES);
            } else {
                list.push(segment);
            }
        }
        list
    }
}

/// What TCP's latest segment said besides its data.
struct Latest {
    ack: u32,
    timestamp: Option<u32>,
}

impl Node {
    /// Sends what was in flight on the lanes in `mask` again on others, if there are any that can
    /// be relied on.
    pub(super) fn resend(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>, mask: u32) {
        let timestamp = {
            let mut inner = session.inner.borrow_mut();
            if inner.dead || inner.s.best_standing() < Standing::Doubtful {
                return;
            }
            inner.kept.newest().and_then(|s| timestamp_of(&s.packet))
        };
        let latest = Latest {
            ack: session.acked(),
            timestamp,
        };
        for segment in session.take_kept(mask) {
            self.send_again(cx, session, segment, &latest);
        }
    }

    /// Sends a kept segment on the lane that is best now.
    fn send_again(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Rc<Session>,
        mut segment: Segment<Wire>,
        latest: &Latest,
    ) {
        let wire = &mut segment.packet;
        let packet = wire.parse().expect("what was sent before");
        let dispatch = self.dispatch();
        let now = self.now_us(cx);
        let len = wire.len() as u32;
        let mut inner = session.inner.borrow_mut();
        let s = &mut inner.s;
        let chosen = s.pick(now, len, Class::Data, &dispatch, |index, lane| {
            index == 0 || cx.has_route(&lane.tuple.local.addr, &lane.tuple.remote.addr)
        });
        let lane = s.lane_mut(chosen).expect("the chosen lane");
        lane.tx_packets += 1;
        lane.tx_bytes += u64::from(len);
        let (tuple, path) = (lane.tuple, lane.path.clone());
        packet::rewrite(&mut wire.bytes, &packet, &tuple.local, &tuple.remote, false);
        packet::set_dont_fragment(&mut wire.bytes, packet.family);
        let options = wire.copy(packet.l4 + 20, packet.payload - packet.l4 - 20);
        if !option::is_signed(&options) {
            let head = &mut wire.bytes;
            packet::replace_tcp_long(head, &packet, packet.l4 + 8, latest.ack, false);
            if let (Some((at, _)), Some(value)) = (option::timestamp(&options), latest.timestamp) {
                packet::replace_tcp_long(head, &packet, packet.l4 + 20 + at, value, false);
            }
        }
        path.count_tx();
        segment.lane = chosen as u8;
        cx.sent.push(segment.packet.clone());
        inner.kept.push(segment, MAX_BYTES);
        drop(inner);
        self.count(Counter::Resent);
    }
}

fn timestamp_of(wire: &Wire) -> Option<u32> {
    let packet = wire.parse().ok()?;
    let options = wire.copy(packet.l4 + 20, packet.payload - packet.l4 - 20);
    option::timestamp(&options).map(|(_, value)| value)
}
