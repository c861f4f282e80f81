// SPDX-License-Identifier: GPL-2.0

//! Process context: keys, opening, lanes, retries, heartbeat, expiry.

use crate::{
    net::{
        emit::Target,
        instance::{
            Destination,
            Ids,
            Instance, //
        },
        peer::Peer,
        session::{
            Session,
            TcpPosition,
            QUIET_MS, //
        }, //
    },
    proto::{
        addr::{
            Endpoint,
            Tuple, //
        },
        counters::Counter,
        crypto::{
            self,
            HelloIds, //
        },
        hello,
        packet,
        params::Param,
        session::{
            LaneState,
            PathInfo,
            State,
            Todo, //
        },
        wire::{
            cm::{
                Cm,
                Confirm,
                HelloReply,
                Kind,
                Open,
                Raw, //
            },
            MAX_LEN, //
        }, //
    },
    sys::{
        clock,
        crypto::Algo,
        route::Dst, //
    },
};
use core::ops::ControlFlow;
use kernel::{
    alloc::flags::GFP_ATOMIC,
    prelude::*,
    sync::{
        atomic::Relaxed,
        rcu,
        Arc, //
    },
};

/// Interval of the look at addresses and of the expiry scan, milliseconds.
const TICK_MS: u32 = 1000;
/// Interval of the probes of suspect paths, milliseconds.
const PROBE_MS: u32 = 200;
/// When to look for lanes again if something was missing, milliseconds.
const AGAIN_MS: u32 = 500;
/// A peer that answers nothing for so long while its lanes are refused has lost its state.
const LOST_MS: u64 = 2_000;
/// A peer without sessions is forgotten after this time, milliseconds.
const PEER_LIFE_MS: u64 = 60_000;
/// How long a row of the availability table is kept that was never asked, milliseconds.
const UNUSED_MS: u32 = 10_000;
/// Exchanges of keys that begin within this time of each other may have crossed, milliseconds.
const CROSSING_MS: u64 = 3_000;
/// How long leaving waits for the peers to have heard of it, milliseconds.
const GOODBYE_MS: u32 = 300;
/// How long what is under way to us may take after that, milliseconds.
const DRAIN_MS: u32 = 60;

/// A copy of a CM as it came.
pub struct Wire {
    buf: [u8; MAX_LEN],
    len: usize,
}

impl Wire {
    /// Copies `bytes`, which are at most `MAX_LEN`. Any context.
    pub fn new(bytes: &[u8]) -> Option<KBox<Wire>> {
        let mut wire = Wire {
            buf: [0; MAX_LEN],
            len: bytes.len().min(MAX_LEN),
        };
        for (to, from) in wire.buf.iter_mut().zip(bytes) {
            *to = *from;
        }
        KBox::new(wire, GFP_ATOMIC).ok()
    }

    fn bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or(&[])
    }
}

/// Something that softirq leaves to process context: keys, and whatever makes a session, which
/// takes more stack than may be left below a deep output path.
pub enum Job {
    /// A TCP destination is to be asked. From here the question follows the segment that caused
    /// it: before the handshake's last segment it would find no socket yet.
    Ask {
        /// The flow's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
    },
    /// A flow to a known peer: open its session.
    Join {
        /// The session's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
        /// The peer.
        peer: Arc<Peer>,
    },
    /// A peer opens a session; the message is authentic and new.
    Open {
        /// The session's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
        /// The peer.
        peer: Arc<Peer>,
        /// The message.
        wire: KBox<Wire>,
    },
    /// HELLO_REPLY came: compute the keys and open the session.
    Initiate {
        /// The session's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
        /// The message.
        reply: HelloReply,
        /// Whether a socket or somebody else still owns the tuple.
        alive: bool,
    },
    /// CONFIRM with a good cookie came: compute the keys and let the session be opened.
    Confirm {
        /// The session's tuple.
        tuple: Tuple,
        /// Where in the stream carriers go.
        position: TcpPosition,
        /// The message.
        wire: KBox<Wire>,
        /// Whether a socket or somebody else still owns the tuple.
        alive: bool,
    },
}

impl Instance {
    /// The worker.
    pub fn on_work(&self) {
        if self.is_stopping() {
            return;
        }
        for job in self.take_jobs().drain_all() {
            self.run(job);
        }
        let mut next = self.attend_sessions();
        let now = clock::now_ms();
        let every = [
            TICK_MS,
            if self.probing.load(Relaxed) {
                PROBE_MS
            } else {
                self.param(Param::Heartbeat) as u32
            },
        ];
        for (i, interval) in every.into_iter().enumerate() {
            let Some(due) = self.due_ms.get(i) else {
                continue;
            };
            let late = now.wrapping_sub(due.load(Relaxed)) as i32;
            if late >= 0 {
                due.store(now.wrapping_add(interval), Relaxed);
                match i {
                    0 => self.tick(),
                    _ => self.heartbeat(),
                }
                next = next.min(interval);
            } else {
                next = next.min(late.unsigned_abs().min(interval));
            }
        }
        self.kick(next.max(1));
    }

    fn run(&self, job: Job) {
        match job {
            Job::Ask { tuple, position } => self.ask(&tuple, position),
            Job::Join {
                tuple,
                position,
                peer,
            } => self.open(&tuple, position, &peer, None, true),
            Job::Open {
                tuple,
                position,
                peer,
                wire,
            } => {
                let crossed = {
                    let rcu = rcu::read_lock();
                    self.wire.get(&rcu, &tuple).map(|e| e.session.clone())
                };
                if let Some(session) = crossed.filter(|s| s.is_over()) {
                    self.remove_session(&session);
                }
                if let Some(Cm::Open(m)) = Raw::new(wire.bytes()).and_then(|raw| raw.parse()) {
                    self.open_from(&peer, &tuple, position, &m.header, &m.block, true);
                }
            }
            Job::Initiate {
                tuple,
                position,
                reply,
                alive,
            } => self.initiate(&tuple, position, &reply, alive),
            Job::Confirm {
                tuple,
                position,
                wire,
                alive,
            } => self.confirm(&tuple, position, wire.bytes(), alive),
        }
    }

    /// Sends HELLO in a carrier of its own.
    fn ask(&self, tuple: &Tuple, position: TcpPosition) {
        self.send_public(
            &Target {
                tuple,
                ifindex: 0,
                original: true,
                position,
            },
            &self.hello(tuple),
        );
    }

    /// The pre-shared key; zeros while none can be configured.
    fn psk(&self) -> [u8; 32] {
        [0; 32]
    }

    /// Keys for a node that has answered our HELLO; then the session is opened with CONFIRM.
    ///
    /// The flow that caused the question may be over (`alive`): the keys are worth having all
    /// the same, for the next one.
    fn initiate(&self, tuple: &Tuple, position: TcpPosition, reply: &HelloReply, alive: bool) {
        let node = reply.header.node;
        if node == self.identity.node || node != hello::node_id(&Algo, &reply.public_key) {
            self.count(Counter::CmMalformed);
            return;
        }
        let known = {
            let rcu = rcu::read_lock();
            self.peers
                .get(&rcu, &Ids(node, 0))
                .filter(|p| !p.has_left())
                .cloned()
        };
        let (peer, confirm) = match known {
            Some(peer) => (peer, None),
            None => {
                let ids = HelloIds {
                    node_a: self.identity.node,
                    node_b: node,
                    nonce_a: reply.nonce_a,
                    nonce_b: reply.nonce_b,
                };
                let Some(peer) = self.new_peer(&reply.public_key, &ids, true) else {
                    return;
                };
                (peer, Some(ids))
            }
        };
        self.note_available(
            &Destination {
                proto: tuple.proto,
                end: tuple.remote,
            },
            Some(node),
        );
        self.open(tuple, position, &peer, confirm, alive);
    }

    /// Opens a session with a peer unless the tuple has one.
    fn open(
        &self,
        tuple: &Tuple,
        position: TcpPosition,
        peer: &Arc<Peer>,
        confirm: Option<HelloIds>,
        alive: bool,
    ) {
        {
            let rcu = rcu::read_lock();
            if peer.has_left() || self.wire.get(&rcu, tuple).is_some() {
                return;
            }
        }
        let id = self.new_session_id(peer.node);
        if let Some(session) = self.add_session(id, *tuple, true, peer, position, confirm) {
            if !alive {
                session.set_closing();
            }
            self.attend(&session);
        }
    }

    /// Derives the keys of a peer and adds it to the table in place of what was known of the node.
    fn new_peer(&self, public: &[u8; 32], ids: &HelloIds, initiator: bool) -> Option<Arc<Peer>> {
        let keys = crypto::derive(
            &Algo,
            &self.identity.secret,
            public,
            &self.psk(),
            ids,
            initiator,
        )?;
        let node = if initiator { ids.node_b } else { ids.node_a };
        let peer = Peer::new(node, keys, (ids.nonce_a, ids.nonce_b), initiator).ok()?;
        let old = {
            let rcu = rcu::read_lock();
            self.peers.get(&rcu, &Ids(node, 0)).cloned()
        };
        if let Some(old) = old {
            self.forget_peer(&old, false);
        }
        self.make_room_for_peer();
        if self.peers.insert(Ids(node, 0), peer.clone()).is_err() {
            self.count(Counter::PeerRefusedCap);
            return None;
        }
        Some(peer)
    }

    /// When there are too many peers, the one without sessions that was heard least lately goes.
    fn make_room_for_peer(&self) {
        if !self.peers.is_full() {
            return;
        }
        let mut oldest: Option<Arc<Peer>> = None;
        {
            let rcu = rcu::read_lock();
            self.peers.for_each(&rcu, |_, peer| {
                let idle = peer.sessions.load(Relaxed) == 0;
                if idle
                    && oldest
                        .as_ref()
                        .is_none_or(|o| peer.heard_ms() < o.heard_ms())
                {
                    oldest = Some(peer.clone());
                }
            });
        }
        if let Some(peer) = oldest {
            self.forget_peer(&peer, false);
        }
    }

    /// CONFIRM with a good cookie.
    fn confirm(&self, tuple: &Tuple, position: TcpPosition, bytes: &[u8], alive: bool) {
        let Some(raw) = Raw::new(bytes) else { return };
        let Some(Cm::Confirm(m)) = raw.parse() else {
            return;
        };
        let node = m.header.node;
        if node == self.identity.node || node != hello::node_id(&Algo, &m.public_key) {
            self.count(Counter::CmMalformed);
            return;
        }
        let ids = HelloIds {
            node_a: node,
            node_b: self.identity.node,
            nonce_a: m.nonce_a,
            nonce_b: m.nonce_b,
        };
        let known = {
            let rcu = rcu::read_lock();
            self.peers.get(&rcu, &Ids(node, 0)).cloned()
        };
        if let Some(peer) = &known {
            // Both ends have asked each other at once: one of the two exchanges counts, that of the
            // node with the larger id. A peer that has lost the keys keeps trying for longer.
            let age = (clock::now_us64() / 1000).saturating_sub(peer.born_ms);
            let other = peer.exchange != (m.nonce_a, m.nonce_b);
            if other && peer.initiated && age < CROSSING_MS && self.identity.node > node {
                return;
            }
        }
        let known = known.filter(|p| p.exchange == (m.nonce_a, m.nonce_b));
        let peer = match known {
            // Sent again because our answer was lost.
            Some(peer) => {
                if !raw.verify(&Algo, &peer.keys.rx, node, tuple.proto) {
                    self.count(Counter::CmBadTag);
                    return;
                }
                peer
            }
            None => {
                // Only who has the secret of the public key can have made the tag.
                let Some(keys) = crypto::derive(
                    &Algo,
                    &self.identity.secret,
                    &m.public_key,
                    &self.psk(),
                    &ids,
                    false,
                ) else {
                    return;
                };
                if !raw.verify(&Algo, &keys.rx, node, tuple.proto) {
                    self.count(Counter::CmBadTag);
                    return;
                }
                if !self.use_exchange((m.nonce_a, m.nonce_b)) {
                    self.count(Counter::CmReplayed);
                    return;
                }
                let Some(peer) = self.new_peer(&m.public_key, &ids, false) else {
                    return;
                };
                peer
            }
        };
        if !peer.accept(m.header.number) {
            self.count(Counter::CmReplayed);
            return;
        }
        peer.heard();
        let existing = {
            let rcu = rcu::read_lock();
            self.wire.get(&rcu, tuple).map(|e| e.session.clone())
        };
        if let Some(session) = existing {
            if session.id == m.header.session && Arc::ptr_eq(&session.peer, &peer) {
                // A repetition; the answer to OPEN is repeated by sending it again.
                let header = self.header(&peer, session.id);
                let path = session.inner.lock().s.lane(0).map_or(0, |l| l.path.id);
                self.with_block(tuple.local.addr.family(), path, |block| {
                    self.send_cm(
                        &Target {
                            tuple,
                            ifindex: 0,
                            original: true,
                            position,
                        },
                        &peer,
                        &Cm::OpenAck(Open { header, block }),
                    );
                });
                return;
            }
            // A tuple whose session's peer is alive is not taken over by another node.
            let now = clock::now_us64() / 1000;
            let silent = now.saturating_sub(session.peer.heard_ms());
            if session.peer.node != peer.node && silent < LOST_MS {
                self.count(Counter::RxUnexpected);
                return;
            }
            self.remove_session(&session);
        }
        self.open_from(&peer, tuple, position, &m.header, &m.block, alive);
    }

    /// Removes a peer and its sessions. With `left` it is not asked again for a while.
    pub fn forget_peer(&self, peer: &Arc<Peer>, left: bool) {
        peer.leave();
        self.peers
            .remove_if(&Ids(peer.node, 0), |p| Arc::ptr_eq(p, peer));
        let mut bucket = 0;
        while bucket < self.sessions.buckets() {
            let mut found = None;
            {
                let rcu = rcu::read_lock();
                let _ = self.sessions.for_bucket(&rcu, bucket, |_, session| {
                    if Arc::ptr_eq(&session.peer, peer) {
                        found = Some(session.clone());
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
            }
            match found {
                Some(session) => {
                    if left {
                        let dest = Destination {
                            proto: session.tuple.proto,
                            end: session.tuple.remote,
                        };
                        let rcu = rcu::read_lock();
                        if let Some(entry) = self.avail.get(&rcu, &dest) {
                            entry.state.lock().left(clock::now_ms());
                        }
                    }
                    self.remove_session(&session);
                }
                None => bucket += 1,
            }
        }
    }

    /// Looks at the sessions on the list; returns when it has to be done again, milliseconds.
    fn attend_sessions(&self) -> u32 {
        let mut next = u32::MAX;
        let mut list = KVec::new();
        core::mem::swap(&mut *self.attention.lock(), &mut list);
        for session in list.drain_all() {
            session.unattend();
            if session.is_over() {
                self.remove_session(&session);
                continue;
            }
            // It may have been removed while it was on the list.
            let dead = session.inner.lock().dead;
            if dead {
                continue;
            }
            if let Some(ms) = self.look_after(&session) {
                next = next.min(ms);
                if session.attend() {
                    let again = self.attention.lock().push(session.clone(), GFP_ATOMIC);
                    if again.is_err() {
                        session.unattend();
                        self.count(Counter::NoMemory);
                    }
                }
            }
        }
        next
    }

    /// Does what a session needs now; returns when to look again, milliseconds.
    fn look_after(&self, session: &Arc<Session>) -> Option<u32> {
        self.explore(session);
        loop {
            let now = clock::now_us();
            let todo = session.inner.lock().s.poll(now, clock::random_u64());
            match todo {
                None => break,
                Some(Todo::Abandon) => {
                    self.abandon(session);
                    return None;
                }
                Some(Todo::Open) => self.send_open(session),
                Some(Todo::Lane(index)) => self.send_lane_todo(session, index, Kind::Lane),
                Some(Todo::LaneAck(index)) => self.send_lane_todo(session, index, Kind::LaneAck),
            }
        }
        let (wait, lost) = {
            let inner = session.inner.lock();
            let added = || inner.s.lanes.iter().skip(1).flatten();
            let all_gone = added().next().is_some() && added().all(|l| l.state == LaneState::Gone);
            (inner.s.poll_in(clock::now_us()), all_gone)
        };
        let silent = (clock::now_us64() / 1000).saturating_sub(session.peer.heard_ms());
        let quiet = session.idle_ms();
        if quiet > QUIET_MS {
            return None;
        }
        // Only once a lane was up are questions asked on the original one, too.
        if lost && session.is_multi() && quiet < TICK_MS {
            if silent > LOST_MS {
                self.forget_peer(&session.peer.clone(), false);
                return None;
            }
            // Look again, even if this end has nothing to try.
            return Some(wait.map_or(TICK_MS, |us| (us / 1000).saturating_add(1).min(TICK_MS)));
        }
        let wait = wait.map(|us| (us / 1000).saturating_add(1));
        let unexplored = {
            let inner = session.inner.lock();
            session.initiator && inner.s.state == State::Open && inner.explored_ms == 0
        };
        if unexplored {
            // Something was missing, such as a port.
            return Some(wait.map_or(AGAIN_MS, |ms| ms.min(AGAIN_MS)));
        }
        wait
    }

    /// A session was not answered. If there is no other with the peer, the peer has lost its keys;
    /// otherwise only this destination is left alone for a while: it may have told us of a node
    /// that it is not.
    fn abandon(&self, session: &Arc<Session>) {
        self.count(Counter::SessionUnanswered);
        let dest = Destination {
            proto: session.tuple.proto,
            end: session.tuple.remote,
        };
        self.nodes.remove(&dest);
        {
            let rcu = rcu::read_lock();
            if let Some(entry) = self.avail.get(&rcu, &dest) {
                entry.state.lock().left(clock::now_ms());
            }
        }
        self.remove_session(session);
        if session.peer.sessions.load(Relaxed) == 0 {
            self.forget_peer(&session.peer.clone(), false);
        }
    }

    fn send_open(&self, session: &Arc<Session>) {
        let (confirm, path) = {
            let inner = session.inner.lock();
            (
                inner.confirm,
                inner.s.lane(0).map_or(0, |lane| lane.path.id),
            )
        };
        let header = self.header(&session.peer, session.id);
        self.with_block(session.tuple.local.addr.family(), path, |block| {
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
            self.send_cm(
                &Target {
                    tuple: &session.tuple,
                    ifindex: 0,
                    original: true,
                    position: session.position(),
                },
                &session.peer,
                &cm,
            );
        });
    }

    fn send_lane_todo(&self, session: &Arc<Session>, index: usize, kind: Kind) {
        let (tuple, path, challenge, echo) = {
            let inner = session.inner.lock();
            let Some(lane) = inner.s.lane(index) else {
                return;
            };
            let echo = if kind == Kind::LaneAck { lane.echo } else { 0 };
            (lane.tuple, lane.path.clone(), lane.challenge, echo)
        };
        let observed = (kind == Kind::LaneAck).then_some(tuple.remote);
        self.send_lane_on(session, &path, &tuple, kind, challenge, echo, observed);
    }

    /// Looks for pairs of a local and a remote address that the session could use as well
    /// (section 3.4.1), and adds a lane for each.
    fn explore(&self, session: &Arc<Session>) {
        let now_ms = clock::now_ms();
        {
            let mut inner = session.inner.lock();
            if inner.dead
                || !session.initiator
                || inner.s.state != State::Open
                || inner.explored_ms != 0
            {
                return;
            }
            inner.explored_ms = now_ms.max(1);
        }
        self.refresh_addrs();
        let limit = self.param(Param::MaxLanes) as usize;
        let max_paths = self.param(Param::MaxPaths) as usize;
        let original = session.tuple;
        let family = original.local.addr.family();
        let reach = *session.peer.reach.lock();
        let remote_port = if original.proto == packet::TCP {
            original.remote.port
        } else {
            reach.udp_port
        };
        if remote_port == 0 {
            return;
        }
        let locals = self.local_addrs();
        let mut pairs = [None; crate::proto::session::MAX_LANES];
        let mut n = 0;
        for local in locals.iter().flatten() {
            for entry in reach.addrs.iter().flatten() {
                if local.addr.family() != family || entry.addr.family() != family {
                    continue;
                }
                if local.addr == original.local.addr && entry.addr == original.remote.addr {
                    continue;
                }
                // An address of our own is no way to the peer.
                if locals.iter().flatten().any(|l| l.addr == entry.addr) {
                    continue;
                }
                let tuple = Tuple {
                    proto: original.proto,
                    local: Endpoint {
                        addr: local.addr,
                        port: 0,
                    },
                    remote: Endpoint {
                        addr: entry.addr,
                        port: remote_port,
                    },
                };
                if session
                    .inner
                    .lock()
                    .s
                    .lanes
                    .iter()
                    .flatten()
                    .any(|l| l.tuple.local.addr == local.addr && l.tuple.remote.addr == entry.addr)
                {
                    continue;
                }
                if Dst::lookup(self.net, local.ifindex, &tuple).is_none() {
                    continue;
                }
                if n + 1 < limit {
                    if let Some(slot) = pairs.get_mut(n) {
                        *slot = Some((tuple, local.ifindex));
                        n += 1;
                    }
                }
            }
        }
        if n == 0 {
            return;
        }
        let mut port = session.inner.lock().port;
        if port == 0 {
            let free = |port: u16| {
                let rcu = rcu::read_lock();
                pairs.iter().flatten().all(|(tuple, _)| {
                    let mut tuple = *tuple;
                    tuple.local.port = port;
                    self.wire.get(&rcu, &tuple).is_none()
                })
            };
            port = match self.pick_port(original.proto, free) {
                Some(port) => port,
                None => {
                    let grown = self.grow_ports(original.proto);
                    match self.pick_port(original.proto, free) {
                        Some(port) if grown => port,
                        _ => {
                            // Once more when there may be some.
                            session.inner.lock().explored_ms = 0;
                            return;
                        }
                    }
                }
            };
        }
        for (mut tuple, ifindex) in pairs.into_iter().flatten() {
            tuple.local.port = port;
            let Some(path) =
                session
                    .peer
                    .path(tuple.local.addr, tuple.remote.addr, ifindex, max_paths)
            else {
                continue;
            };
            let mut inner = session.inner.lock();
            if inner.dead {
                return;
            }
            inner.port = port;
            let now = clock::now_us();
            let challenge = clock::random_u64();
            let Some(index) = inner
                .s
                .add_lane(tuple, path.clone(), challenge, true, limit, now)
            else {
                return;
            };
            if !self.add_wire(tuple, session, index, path) {
                inner.s.remove_lane(index);
            }
        }
    }

    /// Once a second: addresses, and what has expired.
    fn tick(&self) {
        self.refresh_addrs();
        let changed = self.addrs_changed.xchg(false, Relaxed);
        let tcp_ms = (self.param(Param::SessionTimeoutTcp) as u32).saturating_mul(1000);
        let udp_ms = (self.param(Param::SessionTimeoutUdp) as u32).saturating_mul(1000);
        let close_ms = (self.param(Param::CloseTimeout) as u32).saturating_mul(1000);

        for bucket in 0..self.sessions.buckets() {
            loop {
                let mut expired = None;
                {
                    let rcu = rcu::read_lock();
                    let _ = self.sessions.for_bucket(&rcu, bucket, |_, session| {
                        let idle = session.idle_ms();
                        let limit = if session.is_closing() {
                            close_ms
                        } else if session.tuple.proto == packet::TCP {
                            tcp_ms
                        } else {
                            udp_ms
                        };
                        if idle >= limit {
                            expired = Some(session.clone());
                            return ControlFlow::Break(());
                        }
                        session.save_memory();
                        if changed {
                            session.inner.lock().explored_ms = 0;
                            self.attend(session);
                        }
                        ControlFlow::Continue(())
                    });
                }
                match expired {
                    Some(session) => {
                        self.count(Counter::SessionExpired);
                        self.remove_session(&session);
                    }
                    None => break,
                }
            }
        }
        self.expire_peers();
        self.expire_destinations();
    }

    fn expire_peers(&self) {
        let now = clock::now_us64() / 1000;
        for peer in self.collect_peers().iter() {
            if peer.is_long_gone() {
                self.forget_peer(peer, true);
            } else if peer.sessions.load(Relaxed) == 0
                && now.saturating_sub(peer.heard_ms()) >= PEER_LIFE_MS
            {
                self.forget_peer(peer, false);
            }
        }
    }

    /// One slice of the availability table per second.
    fn expire_destinations(&self) {
        let limit = (self.param(Param::AvailTimeout) as u32).saturating_mul(1000);
        let policy = self.ask_policy();
        let now = clock::now_ms();
        let buckets = self.avail.buckets();
        let slice = buckets / 8;
        let from = self.scan.load(Relaxed);
        self.scan.store((from + slice) % buckets, Relaxed);
        for bucket in from..(from + slice).min(buckets) {
            let mut expired = [None; 16];
            let mut n = 0;
            {
                let rcu = rcu::read_lock();
                let _ = self.avail.for_bucket::<()>(&rcu, bucket, |dest, entry| {
                    let mut state = entry.state.lock();
                    state.silent(now, &policy);
                    // A row that was only looked up is not worth keeping.
                    let limit = if state.is_unused() { UNUSED_MS } else { limit };
                    if state.idle_ms(now) >= limit {
                        if let Some(slot) = expired.get_mut(n) {
                            *slot = Some(*dest);
                            n += 1;
                        }
                    }
                    ControlFlow::Continue(())
                });
            }
            for dest in expired.into_iter().flatten() {
                self.avail.remove(&dest);
                self.nodes.remove(&dest);
            }
        }
    }

    /// Measures the paths of sessions that are in use, and probes suspect ones.
    fn heartbeat(&self) {
        let now = clock::now_us();
        let interval = (self.param(Param::Heartbeat) as u32).saturating_mul(1000);
        let mut suspects = false;
        // From another place each time: paths are shared, and one session's questions may be
        // lost on its own account.
        let buckets = self.sessions.buckets();
        let start = clock::random_u64() as usize % buckets;
        for bucket in 0..buckets {
            let bucket = (start + bucket) % buckets;
            let mut index = 0;
            // Sending must not happen with the table's entries in hand for long: one at a time.
            loop {
                let mut found = None;
                {
                    let rcu = rcu::read_lock();
                    let mut i = 0;
                    let _ = self.sessions.for_bucket(&rcu, bucket, |_, session| {
                        if i == index {
                            found = Some(session.clone());
                            return ControlFlow::Break(());
                        }
                        i += 1;
                        ControlFlow::Continue(())
                    });
                }
                let Some(session) = found else { break };
                index += 1;
                if !session.is_multi() || session.is_closing() || session.idle_ms() > QUIET_MS {
                    continue;
                }
                suspects |= self.beat(&session, now, interval);
            }
        }
        self.probing.store(suspects, Relaxed);
    }

    /// Asks on the lanes of a session whose paths were not asked lately; true if one is suspect.
    fn beat(&self, session: &Arc<Session>, now: u32, interval: u32) -> bool {
        let mut suspects = false;
        for index in 0..crate::proto::session::MAX_LANES {
            let (tuple, path) = {
                let inner = session.inner.lock();
                match inner.s.lane(index) {
                    Some(lane) if lane.state == LaneState::Active => {
                        (lane.tuple, lane.path.clone())
                    }
                    _ => continue,
                }
            };
            let suspect = !path.usable();
            suspects |= suspect;
            let interval = if suspect { PROBE_MS * 1000 } else { interval };
            if !path.maybe_due(now, interval) {
                continue;
            }
            {
                let mut state = path.state.lock();
                path.asked(now);
                if state.check(now, interval) {
                    path.publish(&state);
                    self.count(Counter::PathSuspect);
                    suspects = true;
                }
            }
            self.send_report(session, &path, &tuple, index == 0, None);
        }
        suspects
    }

    /// Tells the peers that this node leaves, and waits a moment for them to have heard it.
    pub fn goodbye(&self) {
        let mut waited = 0;
        let mut rounds = 0u32;
        loop {
            let mut open = 0;
            let mut busy = false;
            let rcu_free = self.collect_peers();
            for peer in rcu_free.iter() {
                if peer.sessions.load(Relaxed) == 0 {
                    continue;
                }
                busy = true;
                if peer.goodbye_acked.load(Relaxed) || peer.has_left() {
                    continue;
                }
                open += 1;
                if rounds % 5 == 0 {
                    self.goodbye_to(peer);
                }
            }
            if !busy {
                return;
            }
            if open == 0 || waited >= GOODBYE_MS {
                break;
            }
            clock::sleep_ms(20);
            waited += 20;
            rounds += 1;
        }
        // What they sent before they knew is still under way.
        clock::sleep_ms(DRAIN_MS);
    }

    fn collect_peers(&self) -> KVec<Arc<Peer>> {
        let mut peers = KVec::new();
        let rcu = rcu::read_lock();
        self.peers.for_each(&rcu, |_, peer| {
            let _ = peers.push(peer.clone(), GFP_ATOMIC);
        });
        peers
    }

    /// GOODBYE on every usable lane of one session of a peer: any of them will do.
    fn goodbye_to(&self, peer: &Arc<Peer>) {
        let mut found = None;
        {
            let rcu = rcu::read_lock();
            for bucket in 0..self.sessions.buckets() {
                let _ = self.sessions.for_bucket(&rcu, bucket, |_, session| {
                    if Arc::ptr_eq(&session.peer, peer) && !session.is_closing() {
                        found = Some(session.clone());
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                });
            }
        }
        let Some(session) = found else { return };
        for index in 0..crate::proto::session::MAX_LANES {
            let (tuple, ifindex) = {
                let inner = session.inner.lock();
                match inner.s.lane(index) {
                    Some(lane) if lane.state == LaneState::Active => {
                        (lane.tuple, if index == 0 { 0 } else { lane.path.ifindex() })
                    }
                    _ => continue,
                }
            };
            let header = self.header(peer, 0);
            self.send_cm(
                &Target {
                    tuple: &tuple,
                    ifindex,
                    original: index == 0,
                    position: session.position(),
                },
                peer,
                &Cm::Goodbye(header),
            );
        }
    }

    /// Forgets everything. Process context, no hook and no work is running any more.
    pub fn clear(&self) {
        for peer in self.collect_peers().iter() {
            self.forget_peer(peer, false);
        }
        // Sessions of peers that were replaced.
        let mut bucket = 0;
        while bucket < self.sessions.buckets() {
            let mut found = None;
            {
                let rcu = rcu::read_lock();
                let _ = self.sessions.for_bucket(&rcu, bucket, |_, session| {
                    found = Some(session.clone());
                    ControlFlow::Break(())
                });
            }
            match found {
                Some(session) => self.remove_session(&session),
                None => bucket += 1,
            }
        }
        let mut list = KVec::new();
        core::mem::swap(&mut *self.attention.lock(), &mut list);
        drop(list);
        drop(self.take_jobs());
    }
}
