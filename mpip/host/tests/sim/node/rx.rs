// SPDX-License-Identifier: GPL-2.0

//! `net/rx.rs`: what comes in.

use super::Algo;
use super::Node;
use super::Session;
use super::TcpPosition;
use super::WireEntry;
use crate::app::Owner;
use crate::wire;
use crate::wire::Wire;
use crate::world::Cx;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::packet;
use mpip_host::proto::packet::Packet;
use mpip_host::proto::packet::TcpHeader;
use mpip_host::proto::path::Received;
use mpip_host::proto::seq;
use mpip_host::proto::wire::cm::Cm;
use mpip_host::proto::wire::cm::Kind;
use mpip_host::proto::wire::cm::Raw;
use mpip_host::proto::wire::option;
use mpip_host::proto::wire::MAX_LEN;
use std::rc::Rc;

enum Trailer {
    None,
    Consumed,
    Strip(usize),
}

/// Whether a segment lies wholly below `acked`.
fn below(packet: &Packet, tcp: &TcpHeader, acked: u32) -> bool {
    let end = tcp.seq.wrapping_add(packet.payload_len() as u32);
    !seq::after(end, acked) && tcp.flags & (packet::SYN | packet::FIN | packet::RST) == 0
}

impl Node {
    /// PRE_ROUTING: what goes on. `owner` is whose the tuple is on this host.
    pub fn pre_routing(
        &mut self,
        cx: &mut Cx<'_>,
        wire: Wire,
        packet: &Packet,
        owner: Option<Owner>,
    ) -> Option<Wire> {
        if packet.proto != packet::TCP && packet.proto != packet::UDP {
            self.icmp_error(cx, &wire, packet);
            return Some(wire);
        }
        let tuple = packet.rx_tuple();
        match self.wire.get(&tuple).cloned() {
            Some(entry) if entry.lane == 0 => self.original(cx, wire, packet, &entry),
            Some(entry) => self.lane(cx, wire, packet, &entry, owner),
            None => self.unknown_in(cx, wire, packet, &tuple, owner),
        }
    }

    fn original(
        &mut self,
        cx: &mut Cx<'_>,
        wire: Wire,
        packet: &Packet,
        entry: &WireEntry,
    ) -> Option<Wire> {
        let session = &entry.session;
        let now_ms = self.now_ms(cx);
        if let Some(tcp) = packet.tcp {
            if tcp.flags & packet::SYN != 0 {
                self.syn(cx, &wire, packet, &packet.rx_tuple(), &tcp);
                return Some(wire);
            }
            if packet.payload_len() != 0 && below(packet, &tcp, session.acked()) {
                if let Some((cm, true)) = wire.cm() {
                    if self.message(cx, &wire, packet, entry, &cm, true) {
                        return None;
                    }
                }
            }
            if tcp.flags & (packet::RST | packet::FIN) != 0 {
                session.closing.set(true);
            }
            session.used_ms.set(now_ms);
            entry.path.count_rx(wire.len());
            if session.is_multi() && packet.payload_len() != 0 && wire.l4_ok(packet) {
                session.lane_progress(self.now_us(cx), 0, tcp.seq);
            }
            return Some(wire);
        }
        if let Some((cm, alone)) = wire.cm().filter(|_| packet.payload_end != packet.end) {
            if self.message(cx, &wire, packet, entry, &cm, false) && alone {
                return None;
            }
        }
        session.used_ms.set(now_ms);
        entry.path.count_rx(wire.len());
        Some(wire)
    }

    fn lane(
        &mut self,
        cx: &mut Cx<'_>,
        mut wire: Wire,
        packet: &Packet,
        entry: &WireEntry,
        owner: Option<Owner>,
    ) -> Option<Wire> {
        let session = &entry.session;
        if let Some(tcp) = packet.tcp {
            if !entry.up.get() && (tcp.flags & packet::SYN != 0 || owner.is_some()) {
                return Some(wire);
            }
            if tcp.flags & packet::RST != 0 {
                let age = session.acked().wrapping_sub(tcp.seq);
                if age > 1 << 20 || !wire.l4_ok(packet) {
                    self.count(Counter::RxUnexpected);
                } else {
                    self.refuse_lane(cx, session, entry.lane, Counter::LaneRefusedRst);
                }
                return None;
            }
            if tcp.flags & packet::SYN != 0 {
                self.count(Counter::RxUnexpected);
                return None;
            }
        }
        if !wire.l4_ok(packet) {
            self.count(Counter::RxBadChecksum);
            return None;
        }
        let mut end = packet.end;
        if let Some((cm, alone)) = wire.cm() {
            match self.trailer(cx, &wire, packet, entry, &cm, alone) {
                Trailer::None => {}
                Trailer::Consumed => return None,
                Trailer::Strip(len) => end -= len,
            }
        }
        if packet.proto == packet::UDP {
            end = packet.payload_end;
        }
        session.used_ms.set(self.now_ms(cx));
        entry.path.count_rx(wire.len());
        let stripped = end != packet.end;
        if stripped {
            wire.trim(end);
            packet::set_ip_len(&mut wire.bytes, packet.family, end);
        }
        packet::rewrite(
            &mut wire.bytes,
            packet,
            &session.tuple.remote,
            &session.tuple.local,
            false,
        );
        if stripped {
            // Unlike `net`, which says that the checksum is right, the sockets here verify it.
            let now = wire.parse().expect("what was just rewritten");
            wire.fill();
            packet::set_checksum(&mut wire.bytes, &now, now.payload_end);
        }
        self.count(Counter::RxLane);
        if let Some(tcp) = packet.tcp {
            let data = end - packet.payload;
            if tcp.flags & packet::FIN != 0 {
                session.closing.set(true);
            }
            if data != 0 {
                session.lane_progress(self.now_us(cx), entry.lane, tcp.seq);
            }
        }
        Some(wire)
    }

    fn trailer(
        &mut self,
        cx: &mut Cx<'_>,
        wire: &Wire,
        packet: &Packet,
        entry: &WireEntry,
        cm: &[u8],
        alone: bool,
    ) -> Trailer {
        let Some(raw) = Raw::new(cm) else {
            return Trailer::None;
        };
        let session = &entry.session;
        if raw.kind() != Kind::Data {
            let mine = match packet.tcp {
                Some(tcp) => alone && below(packet, &tcp, session.acked()),
                None => alone,
            };
            return if mine && self.message(cx, wire, packet, entry, cm, false) {
                Trailer::Consumed
            } else {
                Trailer::None
            };
        }
        let peer = &session.peer;
        if !raw.verify(&Algo, &peer.keys.rx, peer.node, packet.proto) {
            self.count(Counter::CmBadTag);
            return Trailer::None;
        }
        let Some(Cm::Data(data)) = raw.parse() else {
            return Trailer::None;
        };
        if data.session != session.id {
            self.count(Counter::CmMalformed);
            return Trailer::None;
        }
        let tcp = packet.proto == packet::TCP;
        if tcp && usize::from(data.length) != packet.payload_len() - cm.len() {
            self.count(Counter::RxMergedHole);
            return Trailer::Consumed;
        }
        self.count(Counter::CmRx);
        let now = self.now_us(cx);
        let received = entry
            .path
            .state
            .borrow_mut()
            .on_data(now, entry.path.id, &data);
        if received == Received::Replayed {
            self.count(Counter::CmReplayed);
        } else {
            self.heard(cx, peer);
        }
        Trailer::Strip(if tcp { cm.len() } else { 0 })
    }

    fn unknown_in(
        &mut self,
        cx: &mut Cx<'_>,
        wire: Wire,
        packet: &Packet,
        tuple: &Tuple,
        owner: Option<Owner>,
    ) -> Option<Wire> {
        let Some(tcp) = packet.tcp else {
            return self.unknown_udp(cx, wire, packet, tuple, owner.is_some());
        };
        if tcp.flags & packet::SYN != 0 {
            self.syn(cx, &wire, packet, tuple, &tcp);
            return Some(wire);
        }
        let len = packet.payload_len();
        if len == 0 || len > MAX_LEN || tcp.flags & packet::RST != 0 {
            return Some(wire);
        }
        let Some((cm, true)) = wire.cm() else {
            return Some(wire);
        };
        let position = match owner {
            Some(Owner::Stream { rcv_nxt, snd_una }) => {
                if !below(packet, &tcp, rcv_nxt) {
                    return Some(wire);
                }
                TcpPosition {
                    una: snd_una,
                    ack: rcv_nxt,
                    window: tcp.window,
                }
            }
            Some(Owner::Other) => return Some(wire),
            None => TcpPosition {
                una: tcp.ack,
                ack: tcp.seq.wrapping_add(len as u32),
                window: tcp.window,
            },
        };
        if !wire.l4_ok(packet) {
            return Some(wire);
        }
        let ours = self.stranger(cx, tuple, &cm, position, owner.is_some());
        (!ours).then_some(wire)
    }

    fn unknown_udp(
        &mut self,
        cx: &mut Cx<'_>,
        wire: Wire,
        packet: &Packet,
        tuple: &Tuple,
        owned: bool,
    ) -> Option<Wire> {
        if packet.payload_end != packet.end {
            if let Some((cm, alone)) = wire.cm() {
                let position = TcpPosition::default();
                if self.stranger(cx, tuple, &cm, position, owned) && alone {
                    return None;
                }
            }
        }
        if tuple.local.port == super::UDP_PORT {
            if let Some((cm, true)) = wire.cm() {
                let lane = Raw::new(&cm).is_some_and(|raw| raw.kind() == Kind::Lane);
                let position = TcpPosition::default();
                if lane && wire.l4_ok(packet) && self.stranger(cx, tuple, &cm, position, false) {
                    return None;
                }
            }
            if wire.l4_ok(packet) {
                self.count(Counter::RxUnexpected);
                cx.sent.push(wire::unreachable(&wire, packet));
            }
            return None;
        }
        Some(wire)
    }

    fn syn(
        &mut self,
        cx: &mut Cx<'_>,
        wire: &Wire,
        packet: &Packet,
        tuple: &Tuple,
        tcp: &TcpHeader,
    ) {
        let options = wire.copy(packet.l4 + 20, packet.payload - packet.l4 - 20);
        let is_answer = tcp.flags & packet::ACK != 0;
        let Some(found) = option::find(&options) else {
            if !is_answer {
                self.syns.remove(tuple);
            }
            return;
        };
        if self.stopping || found.answer != is_answer {
            return;
        }
        if !is_answer {
            self.count(Counter::QueryRx);
            self.remember_syn(tuple, found.nonce, tcp.seq);
            return;
        }
        let asked = self.syns.get(&tuple.reversed());
        let right = asked.is_some_and(|slot| {
            tcp.ack == slot.isn.wrapping_add(1)
                && option::answer_nonce(&Algo, slot.nonce) == found.nonce
        });
        if right {
            self.note_available(cx, &(packet.proto, tuple.remote), None);
        } else {
            self.count(Counter::CmMalformed);
        }
    }

    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        wire: &Wire,
        packet: &Packet,
        entry: &WireEntry,
        cm: &[u8],
        check: bool,
    ) -> bool {
        let Some(raw) = Raw::new(cm) else {
            return false;
        };
        if check && !wire.l4_ok(packet) {
            return false;
        }
        self.session_message(cx, entry, &raw, &packet.rx_tuple())
    }

    fn icmp_error(&mut self, cx: &mut Cx<'_>, wire: &Wire, packet: &Packet) {
        let unreachable = if packet.family == 4 { [3, 3] } else { [1, 4] };
        if wire.copy(packet.l4, 2) != unreachable {
            return;
        }
        let quote = wire.copy(packet.l4 + 8, wire.len() - packet.l4 - 8);
        let l4 = if packet.family == 4 { 20 } else { 40 };
        let Some(tuple) = quoted_tuple(&quote, packet.family) else {
            return;
        };
        if let Some(entry) = self.wire.get(&tuple).cloned() {
            let una = entry.session.position().una;
            let at = match <[u8; 4]>::try_from(&quote[l4 + 4..l4 + 8]) {
                Ok(seq) if tuple.proto == packet::TCP => u32::from_be_bytes(seq),
                _ => una,
            };
            let seen = (-(1 << 20)..1 << 27).contains(&seq::delta(at, una));
            if entry.lane != 0 && seen {
                self.refuse_lane(cx, &entry.session, entry.lane, Counter::LaneRefusedIcmp);
            }
        }
    }

    fn refuse_lane(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>, lane: u8, counter: Counter) {
        let now = self.now_us(cx);
        let fresh = session.inner.borrow_mut().s.refuse(usize::from(lane), now);
        if fresh {
            self.count(counter);
            self.attend(cx, session);
        }
    }
}

fn quoted_tuple(quote: &[u8], family: u8) -> Option<Tuple> {
    let (proto, src, dst, l4) = if family == 4 {
        (9, 12..16, 16..20, 20)
    } else {
        (6, 8..24, 24..40, 40)
    };
    let port = |at: usize| Some(u16::from_be_bytes(quote.get(at..at + 2)?.try_into().ok()?));
    Some(Tuple {
        proto: *quote.get(proto)?,
        local: wire::end(Addr::from_bytes(quote.get(src)?)?, port(l4)?),
        remote: wire::end(Addr::from_bytes(quote.get(dst)?)?, port(l4 + 2)?),
    })
}
