// SPDX-License-Identifier: GPL-2.0

//! `net/control.rs`: what a control message does.

use super::tx::block;
use super::tx::entries;
use super::work::Job;
use super::Algo;
use super::Node;
use super::Path;
use super::Peer;
use super::Session;
use super::TcpPosition;
use super::WireEntry;
use crate::world::Cx;
use crate::world::Timer;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::crypto::PUBLIC_KEY;
use mpip_host::proto::packet;
use mpip_host::proto::params::Param;
use mpip_host::proto::path::Received;
use mpip_host::proto::path::Standing;
use mpip_host::proto::seq;
use mpip_host::proto::session::LaneState;
use mpip_host::proto::session::PathInfo;
use mpip_host::proto::session::MAX_LANES;
use mpip_host::proto::wire::cm::Cm;
use mpip_host::proto::wire::cm::Header;
use mpip_host::proto::wire::cm::HelloReply;
use mpip_host::proto::wire::cm::Kind;
use mpip_host::proto::wire::cm::Lane;
use mpip_host::proto::wire::cm::MovedAck;
use mpip_host::proto::wire::cm::Open;
use mpip_host::proto::wire::cm::OpenBlock;
use mpip_host::proto::wire::cm::Raw;
use mpip_host::proto::wrap::Via;
use mpip_host::proto::wrap::Ways;
use rand_chacha::rand_core::RngCore;
use std::rc::Rc;

impl Peer {
    fn learn(&self, number: u32, family: u8, block: &OpenBlock<'_>) {
        let mut reach = self.reach.borrow_mut();
        if reach.number != 0 && !seq::after(number, reach.number) {
            return;
        }
        reach.number = number;
        reach.udp_port = block.udp_port;
        reach.addrs.retain(|e| e.addr.family() != family);
        let announced = block.addrs.iter();
        let announced =
            announced.filter(|e| e.addr.family() == family && e.addr.is_usable_remote());
        reach.addrs.extend(announced);
    }
}

impl Node {
    pub(super) fn heard(&self, cx: &Cx<'_>, peer: &Peer) {
        peer.heard_ms.set(self.now64(cx) / 1000);
    }

    pub(super) fn session_message(
        &mut self,
        cx: &mut Cx<'_>,
        entry: &WireEntry,
        raw: &Raw<'_>,
        tuple: &Tuple,
    ) -> bool {
        let session = &entry.session;
        let peer = &session.peer;
        let position = session.position();
        if matches!(raw.kind(), Kind::Hello | Kind::HelloReply | Kind::Confirm) {
            return self.stranger_raw(cx, tuple, raw, position, true);
        }
        let node = raw.node().unwrap_or(peer.node);
        if node != peer.node || !raw.verify(&Algo, &peer.keys.rx, peer.node, tuple.proto) {
            if raw.kind() == Kind::Open {
                return self.stranger_raw(cx, tuple, raw, position, true);
            }
            self.count(Counter::CmBadTag);
            return false;
        }
        let Some(cm) = raw.parse() else {
            self.count(Counter::CmMalformed);
            return false;
        };
        self.count(Counter::CmRx);
        match cm {
            Cm::Report(report) if report.session == session.id => {
                let now = self.now_us(cx);
                let received = {
                    let mut state = entry.path.state.borrow_mut();
                    let before = state.standing();
                    let received = state.on_report(now, entry.path.id, &report);
                    entry.path.correct(now, state.take_error());
                    let returned = before == Standing::Suspect && state.standing() > before;
                    drop(state);
                    if returned {
                        self.events.push((cx.now, entry.path.local, false));
                        self.count(Counter::PathReturned);
                        let (peer, path) = (peer.clone(), entry.path.clone());
                        self.submit(cx, Job::Returned { peer, path });
                    }
                    received
                };
                let lane = usize::from(entry.lane);
                if received != Received::Replayed && session.inner.borrow_mut().s.heard_on(lane) {
                    self.attend(cx, session);
                }
                match received {
                    Received::Replayed => self.count(Counter::CmReplayed),
                    Received::Taken => self.heard(cx, peer),
                    Received::Answer(echo) => {
                        self.heard(cx, peer);
                        let original = entry.lane == 0;
                        self.send_report(cx, session, &entry.path, tuple, original, Some(echo));
                    }
                }
            }
            Cm::Data(data) if data.session == session.id => {
                let now = self.now_us(cx);
                let id = entry.path.id;
                match entry.path.state.borrow_mut().on_data(now, id, &data) {
                    Received::Replayed => self.count(Counter::CmReplayed),
                    _ => self.heard(cx, peer),
                }
            }
            Cm::Report(_) | Cm::Data(_) | Cm::Number(_) => self.count(Counter::CmMalformed),
            cm => {
                let Some(header) = header_of(&cm) else {
                    return true;
                };
                if !peer.accept(header.number) {
                    self.count(Counter::CmReplayed);
                    return true;
                }
                self.heard(cx, peer);
                self.control(cx, entry, tuple, raw, &cm, &header);
            }
        }
        true
    }

    fn control(
        &mut self,
        cx: &mut Cx<'_>,
        entry: &WireEntry,
        tuple: &Tuple,
        raw: &Raw<'_>,
        cm: &Cm<'_>,
        header: &Header,
    ) {
        let session = &entry.session;
        let family = tuple.local.addr.family();
        let now = self.now_us(cx);
        match cm {
            Cm::Goodbye(_) => {
                session.peer.leave(self.now64(cx) / 1000);
                for other in self.sessions.values() {
                    if Rc::ptr_eq(&other.peer, &session.peer) {
                        other.multi.set(false);
                    }
                }
                let ack = Cm::GoodbyeAck(self.header(&session.peer, 0));
                let original = entry.lane == 0;
                self.send_cm(cx, &session.peer, tuple, original, session.position(), &ack);
                return;
            }
            Cm::GoodbyeAck(_) | Cm::AddrAck(_) => return,
            Cm::Addr(moved) => {
                // Unlike `net`, which looks for lanes and leaves paths: no address comes or goes.
                session.peer.learn(header.number, family, &moved.block);
                let ack = Cm::AddrAck(MovedAck {
                    header: self.header(&session.peer, 0),
                    acked: header.number,
                });
                let original = entry.lane == 0;
                self.send_cm(cx, &session.peer, tuple, original, session.position(), &ack);
                return;
            }
            Cm::Open(open) => {
                if entry.lane != 0 {
                    return;
                }
                if header.session != session.id {
                    if session.initiator && session.peer.node < self.identity.node {
                        return;
                    }
                    session.set_over();
                    let job = Job::Open {
                        tuple: *tuple,
                        position: session.position(),
                        peer: session.peer.clone(),
                        cm: raw.bytes().to_vec(),
                    };
                    return self.submit(cx, job);
                }
                session.peer.learn(header.number, family, &open.block);
                return self.send_open_ack(cx, session, session.position());
            }
            _ => {}
        }
        if header.session != session.id {
            return self.count(Counter::CmMalformed);
        }
        let lane = usize::from(entry.lane);
        match cm {
            Cm::Missing(m) if m.refused => {
                let now = self.now_us(cx);
                let mut rx = session.rx.borrow_mut();
                for (from, to) in m.ranges.iter() {
                    rx.refused(now, from, to);
                }
                drop(rx);
                let timer = Timer::Reorder(session.peer.node, session.id);
                cx.timers.push((cx.now, timer));
            }
            Cm::Missing(m) => self.repair(cx, session, &m.ranges),
            Cm::OpenAck(open) if lane == 0 => {
                entry.path.state.borrow_mut().bind(open.block.path);
                session.peer.learn(header.number, family, &open.block);
                let opened = {
                    let mut inner = session.inner.borrow_mut();
                    let was = inner.s.state;
                    inner.confirm = None;
                    inner.s.opened();
                    was != inner.s.state
                };
                if opened {
                    self.count(Counter::SessionOpened);
                    let dest = (tuple.proto, tuple.remote);
                    self.note_available(cx, &dest, Some(session.peer.node));
                    self.attend(cx, session);
                }
            }
            Cm::Lane(m) if lane != 0 => {
                entry.path.state.borrow_mut().bind(m.path);
                let challenge = cx.rng.next_u64();
                let mut inner = session.inner.borrow_mut();
                let taken = inner.s.on_lane(lane, m.challenge, challenge, now);
                drop(inner);
                if taken {
                    self.attend(cx, session);
                }
            }
            Cm::LaneAck(m) if lane != 0 => {
                entry.path.state.borrow_mut().bind(m.path);
                let mut inner = session.inner.borrow_mut();
                let accepted = inner.s.on_lane_ack(lane, m.challenge, m.echo);
                drop(inner);
                if accepted {
                    self.lane_is_up(cx, entry);
                    let observed = Some(tuple.remote);
                    let confirm = Kind::LaneConfirm;
                    let (path, echo) = (&entry.path, m.challenge);
                    self.send_lane_on(cx, session, path, tuple, confirm, 0, echo, observed);
                    self.send_report(cx, session, path, tuple, false, None);
                }
            }
            Cm::LaneConfirm(m) if lane != 0 => {
                let accepted = {
                    let mut inner = session.inner.borrow_mut();
                    let accepted = inner.s.on_lane_confirm(lane, m.echo);
                    for i in (1..MAX_LANES).filter(|i| accepted && *i != lane) {
                        let same = inner.s.lane(i).is_some_and(|l| {
                            l.state == LaneState::Active
                                && !l.is_initiator()
                                && l.path.is_same(&entry.path)
                        });
                        if same {
                            inner.s.refuse(i, now);
                        }
                    }
                    accepted
                };
                if accepted {
                    self.lane_is_up(cx, entry);
                    self.send_report(cx, session, &entry.path, tuple, false, None);
                }
            }
            Cm::Close(_) => {
                session.set_over();
                self.attend(cx, session);
            }
            _ => self.count(Counter::CmMalformed),
        }
    }

    fn lane_is_up(&mut self, cx: &mut Cx<'_>, entry: &WireEntry) {
        if entry.session.over.get() || entry.session.peer.left.get() {
            return;
        }
        let first = !entry.up.replace(true);
        let replaced = entry.session.inner.borrow().s.is_replaced();
        if entry.path.standing() == Standing::Suspect && replaced {
            entry.path.strict.set(true);
        }
        entry.session.multi.set(true);
        entry.session.expect_more();
        if first {
            self.count(Counter::LaneOpened);
        }
        let stranded = entry.session.inner.borrow().s.unusable();
        if stranded != 0 && entry.path.standing() >= Standing::Doubtful {
            self.resend(cx, &entry.session, stranded);
            cx.woken.push(entry.session.tuple);
        }
    }

    #[expect(clippy::too_many_arguments)]
    pub(super) fn send_lane_on(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Session,
        path: &Path,
        tuple: &Tuple,
        kind: Kind,
        challenge: u64,
        echo: u64,
        observed: Option<Endpoint>,
    ) {
        let lane = Lane {
            header: self.header(&session.peer, session.id),
            path: path.id,
            flags: 0,
            challenge,
            echo,
            observed,
        };
        let cm = match kind {
            Kind::Lane => Cm::Lane(lane),
            Kind::LaneAck => Cm::LaneAck(lane),
            _ => Cm::LaneConfirm(lane),
        };
        self.send_cm(cx, &session.peer, tuple, false, session.position(), &cm);
    }

    pub(super) fn send_open_ack(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Session,
        position: TcpPosition,
    ) {
        let header = self.header(&session.peer, session.id);
        let path = session.inner.borrow().s.lane(0).map_or(0, |l| l.path.id);
        let (peer, tuple) = (&session.peer, &session.tuple);
        let entries = entries(&self.addrs, tuple.local.addr.family());
        let block = block(&entries, path);
        let cm = Cm::OpenAck(Open { header, block });
        self.send_cm(cx, peer, tuple, true, position, &cm);
    }

    pub(super) fn stranger(
        &mut self,
        cx: &mut Cx<'_>,
        tuple: &Tuple,
        cm: &[u8],
        position: TcpPosition,
        owned: bool,
    ) -> bool {
        match Raw::new(cm) {
            Some(raw) => self.stranger_raw(cx, tuple, &raw, position, owned),
            None => false,
        }
    }

    fn stranger_raw(
        &mut self,
        cx: &mut Cx<'_>,
        tuple: &Tuple,
        raw: &Raw<'_>,
        position: TcpPosition,
        owned: bool,
    ) -> bool {
        if self.stopping {
            return false;
        }
        match raw.kind() {
            Kind::Lane => {
                return !(owned && tuple.proto == packet::TCP) && self.new_lane(cx, tuple, raw);
            }
            Kind::Hello | Kind::HelloReply | Kind::Confirm
                if owned || tuple.proto == packet::TCP => {}
            Kind::Open if owned => {}
            _ => return false,
        }
        let now_s = self.now_s(cx);
        if raw.kind().is_unauthenticated() {
            let node = raw.node().unwrap_or(0);
            if !raw.verify(&Algo, &PUBLIC_KEY, node, tuple.proto) {
                self.count(Counter::CmBadTag);
                return false;
            }
        }
        match raw.parse() {
            Some(Cm::Hello(hello)) => {
                let node = hello.header.node;
                if node == self.identity.node {
                    return true;
                }
                self.count(Counter::QueryRx);
                let nonce_a = hello.nonce_a;
                let (salt, id) = (cx.rng.next_u32() as u16, &self.identity);
                let nonce_b = id.nonce_b(&Algo, tuple, now_s, salt, node, nonce_a);
                let reply = Cm::HelloReply(HelloReply {
                    header: Header {
                        node: self.identity.node,
                        session: 0,
                        number: 0,
                    },
                    nonce_a,
                    nonce_b,
                    public_key: self.identity.public,
                });
                self.send_public(cx, tuple, position, &reply);
                true
            }
            Some(Cm::HelloReply(reply)) => {
                if !self.identity.check_a(&Algo, tuple, now_s, reply.nonce_a) {
                    self.count(Counter::CmBadTag);
                    return false;
                }
                self.note_available(cx, &(tuple.proto, tuple.remote), None);
                let job = Job::Initiate {
                    tuple: *tuple,
                    position,
                    reply,
                    alive: owned,
                };
                self.submit(cx, job);
                true
            }
            Some(Cm::Confirm(confirm)) => {
                let (node, nonce_a) = (confirm.header.node, confirm.nonce_a);
                let nonce_b = confirm.nonce_b;
                let identity = &self.identity;
                if !identity.check_b(&Algo, tuple, now_s, node, nonce_a, nonce_b) {
                    self.count(Counter::CmBadTag);
                    return false;
                }
                let job = Job::Confirm {
                    tuple: *tuple,
                    position,
                    cm: raw.bytes().to_vec(),
                    alive: owned,
                };
                self.submit(cx, job);
                true
            }
            Some(Cm::Open(open)) => {
                let Some(peer) = self.peers.get(&open.header.node).cloned() else {
                    return false;
                };
                if !raw.verify(&Algo, &peer.keys.rx, peer.node, tuple.proto) {
                    self.count(Counter::CmBadTag);
                    return false;
                }
                if !peer.accept(open.header.number) {
                    self.count(Counter::CmReplayed);
                    return true;
                }
                self.count(Counter::CmRx);
                self.heard(cx, &peer);
                if !peer.left.get() {
                    let job = Job::Open {
                        tuple: *tuple,
                        position,
                        peer,
                        cm: raw.bytes().to_vec(),
                    };
                    self.submit(cx, job);
                }
                true
            }
            _ => false,
        }
    }

    #[expect(clippy::too_many_arguments)]
    pub(super) fn open_from(
        &mut self,
        cx: &mut Cx<'_>,
        peer: &Rc<Peer>,
        tuple: &Tuple,
        position: TcpPosition,
        header: &Header,
        block: &OpenBlock<'_>,
        alive: bool,
    ) {
        if peer.left.get() {
            return;
        }
        peer.learn(header.number, tuple.local.addr.family(), block);
        let Some(session) =
            self.add_session(cx, header.session, *tuple, false, peer, position, None)
        else {
            return;
        };
        session.closing.set(!alive);
        session.inner.borrow_mut().s.opened();
        if let Some(lane) = session.inner.borrow().s.lane(0) {
            lane.path.state.borrow_mut().bind(block.path);
        }
        self.count(Counter::SessionOpened);
        self.note_caller(cx, &(tuple.proto, tuple.remote), peer.node);
        self.send_open_ack(cx, &session, position);
        self.attend(cx, &session);
    }

    fn new_lane(&mut self, cx: &mut Cx<'_>, tuple: &Tuple, raw: &Raw<'_>) -> bool {
        let (Some(node), Some(id)) = (raw.node(), raw.session()) else {
            return false;
        };
        let Some(session) = self.sessions.get(&(node, id)).cloned() else {
            return false;
        };
        let peer = &session.peer;
        if session.tuple.proto != tuple.proto
            || !raw.verify(&Algo, &peer.keys.rx, peer.node, tuple.proto)
        {
            self.count(Counter::CmBadTag);
            return false;
        }
        let Some(Cm::Lane(m)) = raw.parse() else {
            return false;
        };
        if !peer.accept(m.header.number) {
            self.count(Counter::CmReplayed);
            return true;
        }
        self.count(Counter::CmRx);
        self.heard(cx, peer);
        let port = if tuple.proto == packet::TCP {
            session.tuple.local.port
        } else {
            super::UDP_PORT
        };
        let family = tuple.local.addr.family();
        if tuple.local.port != port || session.tuple.local.addr.family() != family {
            return true;
        }
        let now = self.now_us(cx);
        let limit = self.param(Param::MaxPaths) as usize;
        let Some(path) = peer.path(tuple.local.addr, tuple.remote.addr, limit, now) else {
            return true;
        };
        let bound = path.clone();
        let lanes = self.param(Param::MaxLanes) as usize;
        {
            let mut inner = session.inner.borrow_mut();
            let stale = (1..MAX_LANES).find(|i| {
                let lane = inner.s.lane(*i);
                lane.is_some_and(|l| l.state != LaneState::Active && l.path.is_same(&path))
            });
            let crossed = (1..MAX_LANES).any(|i| {
                let lane = inner.s.lane(i);
                lane.is_some_and(|l| l.is_begun_here() && l.path.is_same(&path))
            });
            if crossed && session.initiator {
                return true;
            }
            if let Some(index) = stale.or_else(|| inner.s.place(lanes, true)) {
                self.evict_lane(&session, &mut inner, index);
            }
            let s = &mut inner.s;
            let random = cx.rng.next_u64();
            let raw = Ways::only(Via::Raw);
            let Some(index) = s.add_lane(*tuple, path.clone(), raw, random, false, lanes, now)
            else {
                return true;
            };
            if !self.add_wire(*tuple, &session, index, path) {
                s.remove_lane(index);
                return true;
            }
            s.on_lane(index, m.challenge, random, now);
        }
        session.multi.set(true);
        bound.state.borrow_mut().bind(m.path);
        self.attend(cx, &session);
        true
    }
}

fn header_of(cm: &Cm<'_>) -> Option<Header> {
    match cm {
        Cm::Hello(m) => Some(m.header),
        Cm::HelloReply(m) => Some(m.header),
        Cm::Confirm(m) => Some(m.header),
        Cm::Open(m) | Cm::OpenAck(m) => Some(m.header),
        Cm::Addr(m) => Some(m.header),
        Cm::AddrAck(m) => Some(m.header),
        Cm::Lane(m) | Cm::LaneAck(m) | Cm::LaneConfirm(m) => Some(m.header),
        Cm::Missing(m) => Some(m.header),
        Cm::Close(m) => Some(m.header),
        Cm::Goodbye(h) | Cm::GoodbyeAck(h) => Some(*h),
        Cm::Data(_) | Cm::Number(_) | Cm::Report(_) => None,
    }
}
