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
use mpip_host::proto::packet::Packet;
use mpip_host::proto::path::Standing;
use mpip_host::proto::seq;
use mpip_host::proto::session::Class;
use mpip_host::proto::session::PathInfo;
use mpip_host::proto::wire::cm::Cm;
use mpip_host::proto::wire::cm::Missing;
use mpip_host::proto::wire::cm::Ranges;
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
    pub(super) fn keep(
        &self,
        inner: &mut Inner,
        wire: &Wire,
        lane: usize,
        start: u32,
        end: u32,
        now: u32,
    ) -> u32 {
        inner.kept.acked(self.position().una);
        if !inner.kept.has_storage() {
            let storage: Storage = (0..MAX_SEGMENTS).map(|_| None).collect();
            assert!(inner.kept.attach(storage).is_none());
        }
        let wait = inner.s.lane(lane).map_or(0, |l| l.path.wait_us(now));
        let segment = Segment {
            start,
            end,
            wait,
            sent: now,
            lane: lane as u8,
            bytes: wire.len() as u32 + OVERHEAD,
            packet: wire.clone(),
        };
        inner.kept.push(segment, MAX_BYTES)
    }

    fn latest(&self) -> Latest {
        Latest {
            ack: self.acked(),
            timestamp: self.inner.borrow().repeated,
        }
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
        {
            let inner = session.inner.borrow();
            if inner.dead || inner.s.best_standing() < Standing::Doubtful {
                return;
            }
        }
        let latest = session.latest();
        for segment in session.take_kept(mask) {
            self.send_again(cx, session, segment, &latest, 0);
            self.count(Counter::Resent);
        }
    }

    /// Sends a kept segment on the lane that is best now.
    fn send_again(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Rc<Session>,
        mut segment: Segment<Wire>,
        latest: &Latest,
        lost: u32,
    ) {
        let wire = &mut segment.packet;
        let packet = wire.parse().expect("what was sent before");
        let dispatch = self.dispatch();
        let now = self.now_us(cx);
        let len = wire.len() as u32;
        let mut inner = session.inner.borrow_mut();
        let s = &mut inner.s;
        let chosen = s.pick(now, len, Class::Again(lost), &dispatch, |index, lane| {
            let (local, remote) = (&lane.tuple().local.addr, &lane.tuple().remote.addr);
            index == 0 || cx.has_route(local, remote)
        });
        let lane = s.lane_mut(chosen).expect("the chosen lane");
        lane.tx_packets += 1;
        lane.tx_bytes += u64::from(len);
        let (tuple, path) = (lane.tuple(), lane.path.clone());
        packet::rewrite(&mut wire.bytes, &packet, &tuple.local, &tuple.remote, false);
        packet::set_dont_fragment(&mut wire.bytes, packet.family);
        let options = wire.copy(packet.l4 + 20, packet.payload - packet.l4 - 20);
        if !option::is_signed(&options) {
            let head = &mut wire.bytes;
            packet::replace_tcp_long(head, &packet, packet.l4 + 8, latest.ack, false);
            let stamp = option::timestamp(&options).zip(latest.timestamp);
            if let Some(((at, _), value)) = stamp.filter(|((_, old), new)| seq::after(*new, *old)) {
                packet::replace_tcp_long(head, &packet, packet.l4 + 20 + at, value, false);
            }
        }
        path.count_tx(wire.len());
        segment.lane = chosen as u8;
        cx.sent.push(segment.packet.clone());
        if lost == 0 {
            inner.kept.push(segment, MAX_BYTES);
        }
        drop(inner);
    }
}

impl Node {
    /// Tells the peer what is missing, or (`refused`) what will not be sent again.
    pub(super) fn send_missing(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Session,
        refused: bool,
        ranges: Ranges,
    ) {
        let now = self.now_us(cx);
        let dispatch = self.dispatch();
        let (lane, tuple) = {
            let mut inner = session.inner.borrow_mut();
            let lane = inner.s.pick(now, 100, Class::Small, &dispatch, |_, _| true);
            (lane, inner.s.lane(lane).expect("the chosen lane").tuple())
        };
        let header = self.header(&session.peer, session.id);
        let cm = Cm::Missing(Missing {
            header,
            refused,
            ranges,
        });
        let position = session.position();
        self.send_cm(cx, &session.peer, &tuple, lane == 0, position, &cm);
    }

    /// The peer misses parts of the stream.
    pub(super) fn repair(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>, ranges: &Ranges) {
        let mut refused = Ranges::new();
        let now = self.now_us(cx);
        for (from, to) in ranges.iter() {
            let mut again = Vec::new();
            let mut congested = false;
            {
                let mut inner = session.inner.borrow_mut();
                let inner = &mut *inner;
                let (s, kept) = (&inner.s, &mut inner.kept);
                kept.between(from, to, |segment| {
                    let path = s.lane(usize::from(segment.lane)).map(|l| l.path.clone());
                    congested |= path.is_none_or(|path| {
                        let sent = path.sent.get();
                        let mut state = path.state.borrow_mut();
                        let full = segment.wait >= state.full_queue();
                        let lost = segment.overlap(from, to);
                        !state.losses.may_repair(now, lost, full, sent)
                    });
                    let lane = usize::from(segment.lane);
                    again.push((segment.start, segment.end, lane, segment.packet.clone()));
                });
            }
            if congested || again.is_empty() {
                self.count(Counter::RepairRefused);
                refused.push(from, to);
                continue;
            }
            again.reverse();
            for (start, end, lane, wire) in again {
                self.count(Counter::Repaired);
                let segment = Segment {
                    start,
                    end,
                    lane: 0,
                    bytes: wire.len() as u32 + OVERHEAD,
                    wait: 0,
                    sent: 0,
                    packet: wire,
                };
                let latest = session.latest();
                self.send_again(cx, session, segment, &latest, 1 << lane);
            }
        }
        if !refused.is_empty() {
            self.send_missing(cx, session, true, refused);
        }
    }
}

pub(super) fn timestamp_of(wire: &Wire, packet: &Packet) -> Option<u32> {
    let options = wire.copy(packet.l4 + 20, packet.payload - packet.l4 - 20);
    option::timestamp(&options).map(|(_, value)| value)
}
