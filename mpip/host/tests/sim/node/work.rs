// SPDX-License-Identifier: GPL-2.0

//! `net/work.rs`: keys, opening, lanes, retries, heartbeat.

use super::tx::block;
use super::tx::entries;
use super::watch::WATCH_MS;
use super::Algo;
use super::Node;
use super::Path;
use super::Peer;
use super::Session;
use super::TcpPosition;
use super::QUIET_MS;
use crate::wire;
use crate::wire::Wire;
use crate::world::Cx;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::crypto;
use mpip_host::proto::crypto::HelloIds;
use mpip_host::proto::hello;
use mpip_host::proto::packet;
use mpip_host::proto::params::Param;
use mpip_host::proto::path::Standing;
use mpip_host::proto::replay::Window;
use mpip_host::proto::seq;
use mpip_host::proto::session::LaneState;
use mpip_host::proto::session::PathInfo;
use mpip_host::proto::session::State;
use mpip_host::proto::session::Todo;
use mpip_host::proto::wire::cm::Cm;
use mpip_host::proto::wire::cm::Confirm;
use mpip_host::proto::wire::cm::HelloReply;
use mpip_host::proto::wire::cm::Kind;
use mpip_host::proto::wire::cm::Open;
use mpip_host::proto::wire::cm::Raw;
use mpip_host::proto::wrap::Via;
use mpip_host::proto::wrap::Ways;
use rand_chacha::rand_core::RngCore;
use std::cell::Cell;
use std::cell::RefCell;
use std::iter;
use std::rc::Rc;

const TICK_MS: u32 = 1000;
const AGAIN_MS: u32 = 500;
const OPENING_MS: u32 = 200;
const SECOND_MS: u64 = 400;
const STORAGE_LIFE_MS: u32 = 5_000;
const LOST_MS: u64 = 2_000;
const DRAIN_MS: u64 = 500;
const CROSSING_MS: u64 = 3_000;

/// Something for process context.
pub enum Job {
    /// A flow to a known peer.
    Join {
        /// The session's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
        /// The peer.
        peer: Rc<Peer>,
    },
    /// A peer opens a session.
    Open {
        /// The session's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
        /// The peer.
        peer: Rc<Peer>,
        /// The message.
        cm: Vec<u8>,
    },
    /// HELLO_REPLY came.
    Initiate {
        /// The session's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
        /// The message.
        reply: HelloReply,
        /// Whether a socket still owns the tuple.
        alive: bool,
    },
    /// CONFIRM with a good cookie came.
    Confirm {
        /// The session's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
        /// The message.
        cm: Vec<u8>,
        /// Whether a socket still owns the tuple.
        alive: bool,
    },
    /// A path has answered again.
    Returned {
        /// The peer.
        peer: Rc<Peer>,
        /// The path.
        path: Path,
    },
}

impl Node {
    /// The worker; returns packets that were held for sessions that end.
    pub fn on_work(&mut self, cx: &mut Cx<'_>) -> Vec<Wire> {
        if cx.now < self.work_at {
            return Vec::new();
        }
        self.work_at = u64::MAX;
        let mut ready = self.run_jobs(cx);
        let mut next = self.attend_sessions(cx, &mut ready);
        if self.watch_paths(cx) {
            next = next.min(WATCH_MS);
        }
        let now = self.now_ms(cx);
        let every = [TICK_MS, self.param(Param::Heartbeat) as u32];
        for (i, interval) in every.into_iter().enumerate() {
            let late = now.wrapping_sub(self.due_ms[i]) as i32;
            if late >= 0 {
                self.due_ms[i] = now.wrapping_add(interval);
                match i {
                    0 => self.tick(cx, &mut ready),
                    _ => self.heartbeat(cx),
                }
                next = next.min(interval);
            } else {
                next = next.min(late.unsigned_abs().min(interval));
            }
        }
        self.kick(cx, next.max(1));
        ready
    }

    /// Runs what waits for the worker.
    pub fn run_jobs(&mut self, cx: &mut Cx<'_>) -> Vec<Wire> {
        let mut ready = Vec::new();
        for job in std::mem::take(&mut self.jobs) {
            self.run(cx, job, &mut ready);
        }
        ready
    }

    fn run(&mut self, cx: &mut Cx<'_>, job: Job, ready: &mut Vec<Wire>) {
        match job {
            Job::Join {
                tuple,
                position,
                peer,
            } => self.open(cx, &tuple, position, &peer, None, true),
            Job::Open {
                tuple,
                position,
                peer,
                cm,
            } => {
                let existing = self.wire.get(&tuple).map(|e| e.session.clone());
                if let Some(session) = existing.filter(|s| s.over.get()) {
                    ready.extend(self.remove_session(&session));
                }
                if let Some(Cm::Open(m)) = Raw::new(&cm).and_then(|raw| raw.parse()) {
                    self.open_from(cx, &peer, &tuple, position, &m.header, &m.block, true);
                }
            }
            Job::Initiate {
                tuple,
                position,
                reply,
                alive,
            } => self.initiate(cx, &tuple, position, &reply, alive, ready),
            Job::Confirm {
                tuple,
                position,
                cm,
                alive,
            } => self.confirm(cx, &tuple, position, &cm, alive, ready),
            Job::Returned { peer, path } => self.path_returned(cx, &peer, &path),
        }
    }

    fn initiate(
        &mut self,
        cx: &mut Cx<'_>,
        tuple: &Tuple,
        position: TcpPosition,
        reply: &HelloReply,
        alive: bool,
        ready: &mut Vec<Wire>,
    ) {
        let node = reply.header.node;
        if node == self.identity.node || node != hello::node_id(&Algo, &reply.public_key) {
            return self.count(Counter::CmMalformed);
        }
        let known = self.peers.get(&node).filter(|p| !p.left.get()).cloned();
        let (peer, confirm) = match known {
            Some(peer) => (peer, None),
            None => {
                let ids = HelloIds {
                    node_a: self.identity.node,
                    node_b: node,
                    nonce_a: reply.nonce_a,
                    nonce_b: reply.nonce_b,
                };
                let Some(peer) = self.new_peer(cx, &reply.public_key, &ids, true, ready) else {
                    return;
                };
                (peer, Some(ids))
            }
        };
        self.note_available(cx, &(tuple.proto, tuple.remote), Some(node));
        self.open(cx, tuple, position, &peer, confirm, alive);
    }

    fn open(
        &mut self,
        cx: &mut Cx<'_>,
        tuple: &Tuple,
        position: TcpPosition,
        peer: &Rc<Peer>,
        confirm: Option<HelloIds>,
        alive: bool,
    ) {
        if peer.left.get() || self.wire.contains_key(tuple) {
            return;
        }
        let id = self.new_session_id(peer.node);
        if let Some(session) = self.add_session(cx, id, *tuple, true, peer, position, confirm) {
            session.closing.set(!alive);
            self.attend(cx, &session);
        }
    }

    fn new_peer(
        &mut self,
        cx: &mut Cx<'_>,
        public: &[u8; 32],
        ids: &HelloIds,
        initiator: bool,
        ready: &mut Vec<Wire>,
    ) -> Option<Rc<Peer>> {
        let secret = &self.identity.secret;
        let keys = crypto::derive(&Algo, secret, public, &[0; 32], ids, initiator)?;
        let node = if initiator { ids.node_b } else { ids.node_a };
        let peer = Rc::new(Peer {
            node,
            keys,
            exchange: (ids.nonce_a, ids.nonce_b),
            reach: RefCell::default(),
            number: Cell::new(0),
            window: RefCell::new(Window::new()),
            paths: RefCell::default(),
            left: Cell::new(false),
            left_ms: Cell::new(0),
            initiated: initiator,
            born_ms: self.now64(cx) / 1000,
            heard_ms: Cell::new(self.now64(cx) / 1000),
        });
        if let Some(old) = self.peers.get(&node).cloned() {
            self.forget_peer(cx, &old, false, ready);
        }
        self.peers.insert(node, peer.clone());
        Some(peer)
    }

    fn confirm(
        &mut self,
        cx: &mut Cx<'_>,
        tuple: &Tuple,
        position: TcpPosition,
        bytes: &[u8],
        alive: bool,
        ready: &mut Vec<Wire>,
    ) {
        let Some(raw) = Raw::new(bytes) else { return };
        let Some(Cm::Confirm(m)) = raw.parse() else {
            return;
        };
        let node = m.header.node;
        if node == self.identity.node || node != hello::node_id(&Algo, &m.public_key) {
            return self.count(Counter::CmMalformed);
        }
        let ids = HelloIds {
            node_a: node,
            node_b: self.identity.node,
            nonce_a: m.nonce_a,
            nonce_b: m.nonce_b,
        };
        let exchange = (m.nonce_a, m.nonce_b);
        let known = self.peers.get(&node).cloned();
        if let Some(peer) = &known {
            let age = (self.now64(cx) / 1000).saturating_sub(peer.born_ms);
            let other = peer.exchange != exchange;
            if other && peer.initiated && age < CROSSING_MS && self.identity.node > node {
                return;
            }
        }
        let peer = match known.filter(|p| p.exchange == exchange) {
            Some(peer) => {
                if !raw.verify(&Algo, &peer.keys.rx, node, tuple.proto) {
                    return self.count(Counter::CmBadTag);
                }
                peer
            }
            None => {
                let secret = &self.identity.secret;
                let derived = crypto::derive(&Algo, secret, &m.public_key, &[0; 32], &ids, false);
                let Some(keys) = derived else { return };
                if !raw.verify(&Algo, &keys.rx, node, tuple.proto) {
                    return self.count(Counter::CmBadTag);
                }
                if self.used_exchanges.contains(&exchange) {
                    return self.count(Counter::CmReplayed);
                }
                self.used_exchanges.push(exchange);
                let Some(peer) = self.new_peer(cx, &m.public_key, &ids, false, ready) else {
                    return;
                };
                peer
            }
        };
        if !peer.accept(m.header.number) {
            return self.count(Counter::CmReplayed);
        }
        self.heard(cx, &peer);
        let existing = self.wire.get(tuple).map(|e| e.session.clone());
        if let Some(session) = existing {
            if session.id == m.header.session && Rc::ptr_eq(&session.peer, &peer) {
                return self.send_open_ack(cx, &session, position);
            }
            let silent = (self.now64(cx) / 1000).saturating_sub(session.peer.heard_ms.get());
            if session.peer.node != peer.node && silent < LOST_MS {
                return self.count(Counter::RxUnexpected);
            }
            ready.extend(self.remove_session(&session));
        }
        self.open_from(cx, &peer, tuple, position, &m.header, &m.block, alive);
    }

    fn forget_peer(&mut self, cx: &mut Cx<'_>, peer: &Rc<Peer>, left: bool, ready: &mut Vec<Wire>) {
        peer.leave(self.now64(cx) / 1000);
        let now = self.now_ms(cx);
        if self
            .peers
            .get(&peer.node)
            .is_some_and(|p| Rc::ptr_eq(p, peer))
        {
            self.peers.remove(&peer.node);
        }
        let sessions: Vec<_> = self.sessions.values().cloned().collect();
        for session in sessions {
            if Rc::ptr_eq(&session.peer, peer) {
                let dest = (session.tuple.proto, session.tuple.remote);
                self.note_available(cx, &dest, None);
                if let Some(entry) = self.avail.get_mut(&dest).filter(|_| left) {
                    entry.state.left(now);
                }
                ready.extend(self.remove_session(&session));
            }
        }
    }

    fn attend_sessions(&mut self, cx: &mut Cx<'_>, ready: &mut Vec<Wire>) -> u32 {
        let now = self.now_ms(cx);
        let mut list = std::mem::take(&mut self.attention);
        self.waiting.retain(|(until, session)| {
            let due = seq::until(now, *until) == 0;
            if due {
                list.push(session.clone());
            }
            !due
        });
        for session in list {
            if session.over.get() {
                ready.extend(self.remove_session(&session));
                continue;
            }
            if session.inner.borrow().dead {
                continue;
            }
            let wait = self.look_after(cx, &session, ready);
            self.waiting.retain(|(_, s)| !Rc::ptr_eq(s, &session));
            if let Some(ms) = wait {
                self.waiting.push((now.wrapping_add(ms), session));
            }
        }
        let waits = self
            .waiting
            .iter()
            .map(|(until, _)| seq::until(now, *until));
        waits.min().unwrap_or(u32::MAX)
    }

    fn look_after(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Rc<Session>,
        ready: &mut Vec<Wire>,
    ) -> Option<u32> {
        self.explore(cx, session);
        let now = self.now_us(cx);
        loop {
            let random = cx.rng.next_u64();
            let todo = session.inner.borrow_mut().s.poll(now, random);
            match todo {
                None => break,
                Some(Todo::Abandon) => {
                    self.abandon(cx, session, ready);
                    return None;
                }
                Some(Todo::Open) => self.send_open(cx, session),
                Some(Todo::Explore) => {
                    session.inner.borrow_mut().explored = false;
                    self.explore(cx, session);
                }
                // Unlike `net`, which tells listeners.
                Some(Todo::GaveUp(_)) => {}
                Some(Todo::Switch(i)) => unreachable!("lane {i} has one way only"),
                Some(Todo::Lane(i)) => self.send_lane_todo(cx, session, i, Kind::Lane),
                Some(Todo::LaneAck(i)) => self.send_lane_todo(cx, session, i, Kind::LaneAck),
            }
        }
        let (wait, lost) = {
            let mut inner = session.inner.borrow_mut();
            if session.tuple.proto == packet::UDP {
                inner.s.try_sooner(now, session.packets.get());
            }
            let added = || inner.s.lanes.iter().skip(1).flatten();
            let gone = added().all(|l| l.state == LaneState::Gone);
            (inner.s.poll_in(now), added().next().is_some() && gone)
        };
        let silent = (self.now64(cx) / 1000).saturating_sub(session.peer.heard_ms.get());
        let idle = session.idle_ms(self.now_ms(cx));
        if idle > QUIET_MS {
            return None;
        }
        let alone = lost && session.is_multi();
        if alone && idle < TICK_MS && silent > LOST_MS {
            self.forget_peer(cx, &session.peer, false, ready);
            return None;
        }
        let (opening, unexplored) = {
            let inner = session.inner.borrow();
            let unexplored = inner.s.state == State::Open && !inner.explored;
            (inner.s.state == State::Opening, unexplored)
        };
        let wait = wait.map(|us| us / 1000 + 1);
        let sooner = [
            alone.then_some(TICK_MS),
            (opening && session.tuple.proto == packet::UDP).then_some(OPENING_MS),
            unexplored.then(|| self.explores_in(cx, session).unwrap_or(AGAIN_MS)),
        ];
        sooner.into_iter().flatten().chain(wait).min()
    }

    fn abandon(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>, ready: &mut Vec<Wire>) {
        self.count(Counter::SessionUnanswered);
        let now = self.now_ms(cx);
        let dest = (session.tuple.proto, session.tuple.remote);
        if let Some(entry) = self.avail.get_mut(&dest) {
            entry.node = None;
            entry.state.left(now);
        }
        ready.extend(self.remove_session(session));
        let peer = &session.peer;
        if !self.sessions.values().any(|s| Rc::ptr_eq(&s.peer, peer)) {
            self.forget_peer(cx, peer, false, ready);
        }
    }

    fn send_open(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>) {
        let (confirm, path) = {
            let inner = session.inner.borrow();
            (inner.confirm, inner.s.lane(0).map_or(0, |l| l.path.id))
        };
        let header = self.header(&session.peer, session.id);
        let entries = entries(&self.addrs, session.tuple.local.addr.family());
        let block = block(&entries, path);
        let cm = match confirm {
            Some(ids) => Cm::Confirm(Confirm {
                header,
                nonce_a: ids.nonce_a,
                nonce_b: ids.nonce_b,
                public_key: self.identity.public,
                block,
            }),
            None => Cm::Open(Open { header, block }),
        };
        let (peer, position) = (&session.peer, session.position());
        self.send_cm(cx, peer, &session.tuple, true, position, &cm);
    }

    fn send_lane_todo(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>, index: usize, kind: Kind) {
        let (tuple, path, challenge, echo) = {
            let inner = session.inner.borrow();
            let Some(lane) = inner.s.lane(index) else {
                return;
            };
            (lane.tuple(), lane.path.clone(), lane.challenge, lane.echo)
        };
        let ack = kind == Kind::LaneAck;
        let echo = if ack { echo } else { 0 };
        let observed = ack.then_some(tuple.remote);
        self.send_lane_on(cx, session, &path, &tuple, kind, challenge, echo, observed);
    }

    /// Looks for pairs of a local and a remote address that the session could use as well.
    fn explores_in(&self, cx: &Cx<'_>, session: &Session) -> Option<u32> {
        let age = (self.now64(cx) / 1000).saturating_sub(session.born_ms);
        let left = SECOND_MS.saturating_sub(age);
        (!session.initiator && left != 0).then_some(left as u32)
    }

    fn explore(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>) {
        {
            let mut inner = session.inner.borrow_mut();
            let waits = self.explores_in(cx, session).is_some();
            if inner.dead || inner.s.state != State::Open || inner.explored || waits {
                return;
            }
            inner.explored = true;
        }
        let original = session.tuple;
        let reach = session.peer.reach.borrow().clone();
        let known = reach.addrs.iter().map(|e| e.addr);
        for (i, remote) in iter::once(original.remote.addr).chain(known).enumerate() {
            if remote.family() != original.local.addr.family()
                || i != 0 && remote == original.remote.addr
                || self.addrs.contains(&remote)
            {
                continue;
            }
            for local in self.addrs.clone() {
                if local.family() == remote.family()
                    && !has_lane(session, &local, &remote)
                    && !self.add_lane(cx, session, local, remote, reach.udp_port)
                {
                    return;
                }
            }
        }
    }

    /// Adds a lane between two addresses if there is a route; false if there is no use in trying
    /// more. Unlike `net`, which has other ways than raw packets.
    fn add_lane(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Rc<Session>,
        local: Addr,
        remote: Addr,
        udp_port: u16,
    ) -> bool {
        if !cx.has_route(&local, &remote) {
            return true;
        }
        let now = self.now_us(cx);
        let max_paths = self.param(Param::MaxPaths) as usize;
        let limit = self.param(Param::MaxLanes) as usize;
        let Some(place) = session.inner.borrow().s.place(limit, false) else {
            return false;
        };
        let Some(path) = session.peer.path(local, remote, max_paths, now) else {
            return false;
        };
        let remote_port = if session.tuple.proto == packet::TCP {
            session.tuple.remote.port
        } else {
            udp_port
        };
        self.next_port += 1;
        let tuple = Tuple {
            proto: session.tuple.proto,
            local: wire::end(local, self.next_port),
            remote: wire::end(remote, remote_port),
        };
        let mut inner = session.inner.borrow_mut();
        let place = inner.s.forsaken_on(&path).unwrap_or(place);
        self.evict_lane(session, &mut inner, place);
        let (s, random) = (&mut inner.s, cx.rng.next_u64());
        let raw = Ways::only(Via::Raw);
        let Some(index) = s.add_lane(tuple, path.clone(), raw, random, true, limit, now) else {
            return false;
        };
        if !self.add_wire(tuple, session, index, path) {
            s.remove_lane(index);
        }
        true
    }

    fn tick(&mut self, cx: &mut Cx<'_>, ready: &mut Vec<Wire>) {
        let (now, policy) = (self.now_ms(cx), self.ask_policy());
        for entry in self.avail.values_mut() {
            entry.state.silent(now, &policy);
        }
        for session in self.sessions.values() {
            if session.idle_ms(now) >= STORAGE_LIFE_MS {
                session.forget_kept();
            }
        }
        let now = self.now64(cx) / 1000;
        let peers: Vec<_> = self.peers.values().cloned().collect();
        for peer in peers {
            if peer.left.get() && now.saturating_sub(peer.left_ms.get()) >= DRAIN_MS {
                self.forget_peer(cx, &peer, true, ready);
            }
        }
    }

    /// Says goodbye to all peers, once on every lane of one session.
    pub fn goodbye(&mut self, cx: &mut Cx<'_>) {
        self.stopping = true;
        let sessions: Vec<_> = self.sessions.values().cloned().collect();
        for session in sessions {
            let header = self.header(&session.peer, 0);
            let (peer, position) = (&session.peer, session.position());
            self.send_cm(
                cx,
                peer,
                &session.tuple,
                true,
                position,
                &Cm::Goodbye(header),
            );
        }
    }
}

/// Whether the session has a lane between two addresses.
fn has_lane(session: &Session, local: &Addr, remote: &Addr) -> bool {
    let inner = session.inner.borrow();
    let mut lanes = inner.s.lanes.iter().enumerate();
    lanes.any(|(i, lane)| {
        lane.as_ref().is_some_and(|l| {
            let blind = i == 0 && (l.path.is_strict() || l.path.standing() == Standing::Suspect);
            !blind
                && !l.is_forsaken()
                && l.tuple().local.addr == *local
                && l.tuple().remote.addr == *remote
        })
    })
}
