// SPDX-License-Identifier: GPL-2.0

//! Process context: keys, opening, lanes, retries, heartbeat, expiry.

use crate::{
    net::{
        emit::Target,
        event::Reason,
        instance::Instance,
        path::Path,
        peer::Peer,
        rows::{
            Destination,
            Ids, //
        },
        session::{
            Session,
            TcpPosition,
            QUIET_MS, //
        },
        watch::WATCH_MS, //
    },
    proto::{
        addr::Tuple,
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
        atomic::MarkedAccess,
        clock,
        crypto::Algo,
        socket, //
    },
};
use core::ops::ControlFlow;
use kernel::{
    alloc::flags::GFP_ATOMIC,
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
};

/// Interval of the look at addresses and of the expiry scan, milliseconds.
const TICK_MS: u32 = 1000;
/// Time between two parts of that scan, milliseconds.
const SLICE_MS: u32 = 10;
/// When to look again at a session whose socket has lost its way, milliseconds.
const LENT_MS: u32 = 50;
/// When to go on sending again what did not fit into the queues, milliseconds.
const RESEND_MS: u32 = 5;
/// When to look again how many datagrams a session that is being opened has sent, milliseconds.
const OPENING_MS: u32 = 200;
/// When to look for lanes again if something was missing, milliseconds.
const AGAIN_MS: u32 = 500;
/// A peer that answers nothing for so long while its lanes are refused has lost its state.
const LOST_MS: u64 = 2_000;
/// Exchanges of keys that begin within this time of each other may have crossed, milliseconds.
const CROSSING_MS: u64 = 3_000;

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
    /// The peer's end of a path has gone.
    Down {
        /// The peer.
        peer: Arc<Peer>,
        /// The path.
        path: Arc<Path>,
    },
    /// The peer's end of a path is back.
    Up {
        /// The peer.
        peer: Arc<Peer>,
        /// The path.
        path: Arc<Path>,
    },
    /// A path has answered again.
    Returned {
        /// The peer.
        peer: Arc<Peer>,
        /// The path.
        path: Arc<Path>,
    },
    /// A peer has told of new addresses.
    Follow {
        /// The peer.
        peer: Arc<Peer>,
    },
}

impl Instance {
    /// The worker.
    pub fn on_work(&self) {
        if self.is_stopping() {
            return;
        }
        self.fit_tables();
        let mut jobs = self.take_jobs();
        for job in jobs.drain_all() {
            self.run(job);
        }
        self.reuse_jobs(jobs);
        if self.has_changed() {
            self.follow_changes();
        }
        self.take_sources();
        let mut next = self.attend_sessions();
        self.fit_hooks();
        if self.watch_paths() {
            next = next.min(WATCH_MS);
        }
        next = next.min(self.look_after_interfaces());
        next = next.min(self.announce_moves());
        next = next.min(self.settles_in().unwrap_or(u32::MAX));
        let now = clock::now_ms();
        let every = [TICK_MS, self.param(Param::Heartbeat) as u32];
        for (i, interval) in every.into_iter().enumerate() {
            let Some(due) = self.due_ms.get(i) else {
                continue;
            };
            let late = now.wrapping_sub(due.read_once()) as i32;
            if late >= 0 {
                due.write_once(now.wrapping_add(interval));
                match i {
                    0 if self.tick() => {
                        // The rest of the sessions soon, and others' business first.
                        due.write_once(now.wrapping_add(SLICE_MS));
                        next = next.min(SLICE_MS);
                    }
                    0 => {}
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
            Job::Ask { tuple, position } => self.say_hello(&tuple, position),
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
            Job::Down { peer, path } => self.path_down(&peer, &path),
            Job::Up { peer, path } => self.path_up(&peer, &path),
            Job::Returned { peer, path } => self.path_returned(&peer, &path),
            Job::Follow { peer } => self.follow(&peer),
        }
    }

    /// Sends HELLO in a carrier of its own.
    fn say_hello(&self, tuple: &Tuple, position: TcpPosition) {
        self.send_public(&Target::own(tuple, position), &self.hello(tuple));
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
        if let Some(session) = self.add_session(id, *tuple, true, peer, position, confirm, None) {
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
            &self.psk,
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
            self.forget_peer(&old, Reason::Replaced);
        }
        self.make_room_for_peer();
        if self.peers.insert(peer.clone()).is_err() {
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
            self.peers.for_each(&rcu, |peer| {
                let idle = peer.sessions.read_once() == 0;
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
            self.forget_peer(&peer, Reason::Crowded);
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
                    &self.psk,
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
                return self.send_open_ack(&session, position);
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

    /// Removes a peer and its sessions. One that said goodbye is not asked again for a while.
    pub fn forget_peer(&self, peer: &Arc<Peer>, reason: Reason) {
        peer.leave();
        self.tell_peer_down(peer, reason);
        let left = reason == Reason::Goodbye;
        self.peers
            .remove_if(&Ids(peer.node, 0), |p| Arc::ptr_eq(p, peer));
        let mut bucket = 0;
        while bucket < self.sessions.buckets() {
            let mut found = None;
            {
                let rcu = rcu::read_lock();
                let _ = self.sessions.for_bucket(&rcu, bucket, |session| {
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
                    let dest = Destination {
                        proto: session.proto(),
                        end: session.tuple().remote,
                    };
                    // A caller may have had no row: from now on it is one that was a peer, and
                    // asked again sooner than a stranger.
                    let rcu = rcu::read_lock();
                    if let Some(entry) = self.avail_entry((&rcu).into(), &dest) {
                        entry.be_available(None);
                        if left {
                            entry.state.lock().left(clock::now_ms());
                        }
                    }
                    drop(rcu);
                    self.remove_session(&session);
                }
                None => bucket = bucket.saturating_add(1),
            }
        }
    }

    /// Looks at the sessions on the list, and at those that have waited long enough; returns when
    /// it has to be done again, milliseconds.
    fn attend_sessions(&self) -> u32 {
        let mut list = KVec::new();
        core::mem::swap(&mut *self.attention.lock(), &mut list);
        for session in list.drain_all() {
            session.unattend();
            self.attend_to(&session);
        }
        for session in self.take_due().drain_all() {
            self.attend_to(&session);
        }
        self.next_due().unwrap_or(u32::MAX)
    }

    /// Does what a session needs now, and sees to it that it is looked at again in time.
    fn attend_to(&self, session: &Arc<Session>) {
        if session.is_over() {
            self.remove_session(session);
            return;
        }
        // It may have been removed while it was on the list.
        let dead = session.inner.lock().dead;
        if dead {
            return;
        }
        let challenge = self.challenge(session);
        let due = Iterator::chain(self.look_after(session).into_iter(), challenge).min();
        match due {
            Some(ms) => self.look_later(session, ms),
            None => session.wait_until(0),
        }
    }

    /// A reset was not believed: asks whether the peer has the connection; returns when to do so
    /// again, milliseconds.
    fn challenge(&self, session: &Session) -> Option<u32> {
        let mut wait = session.challenge_in();
        while wait == Some(0) {
            socket::acknowledge(self.net, &session.tuple());
            wait = session.challenge_in();
        }
        wait
    }

    /// Something is sent again for which what has come waits at the other end: TCP may send as much
    /// more.
    fn give_credit(&self, session: &Arc<Session>) {
        let una = session.position().una;
        let wait_us = {
            let mut inner = session.inner.lock();
            inner.credit.is_wanted(una).then(|| inner.s.repair_us())
        };
        if let Some(wait_us) = wait_us {
            let segments = socket::credit(self.net, &session.tuple(), wait_us);
            session.inner.lock().credit.given(segments);
            if segments != 0 {
                self.count(Counter::WindowCredit);
            }
        }
    }

    /// Does what a session needs now; returns when to look again, milliseconds.
    fn look_after(&self, session: &Arc<Session>) -> Option<u32> {
        self.judge(session);
        let lost = session.take_resend();
        if lost != 0 {
            self.resend(session, lost);
        }
        self.give_credit(session);
        if session.take_wake() {
            // A socket without a way of its own would try in vain.
            self.lend_route(session);
            socket::wake(self.net, &session.tuple());
        }
        self.explore(session);
        loop {
            let now = clock::now_us();
            let todo = {
                let mut inner = session.inner.lock();
                // In most cases there is nothing to do yet, and random numbers cost.
                match inner.s.poll_in(now) {
                    Some(0) => inner.s.poll(now, clock::random_u64()),
                    _ => None,
                }
            };
            match todo {
                None => break,
                Some(Todo::Abandon) => {
                    self.abandon(session);
                    return None;
                }
                Some(Todo::Open) => self.send_open(session),
                Some(Todo::Lane(index)) => self.send_lane_todo(session, index, Kind::Lane),
                Some(Todo::GaveUp(index)) => self.lane_gave_up(session, index),
                Some(Todo::Explore) => {
                    session.inner.lock().explored_ms = 0;
                    self.explore(session);
                }
                Some(Todo::Switch(index)) => self.switch_lane(session, index),
                Some(Todo::LaneAck(index)) => self.send_lane_todo(session, index, Kind::LaneAck),
            }
        }
        let (wait, pending, lost) = {
            let mut inner = session.inner.lock();
            if session.proto() == packet::UDP {
                inner.s.try_sooner(clock::now_us(), session.tx().0);
            }
            let added = || inner.s.lanes.iter().skip(1).flatten();
            let all_gone = added().next().is_some() && added().all(|l| l.state == LaneState::Gone);
            let pending = added().any(|l| l.state == LaneState::Pending || l.is_renewed());
            (inner.s.poll_in(clock::now_us()), pending, all_gone)
        };
        if session.inner.lock().lost != 0 {
            return Some(RESEND_MS);
        }
        let silent = || (clock::now_us64() / 1000).saturating_sub(session.peer.heard_ms());
        let quiet = session.idle_ms();
        if self.lend_route(session) {
            // TCP lets go of a route when its timer expires.
            let busy = quiet < TICK_MS || session.has_outstanding(None);
            let again = if busy { LENT_MS } else { AGAIN_MS };
            return Some(wait.map_or(again, |us| (us / 1000).saturating_add(1).min(again)));
        }
        // What was begun is finished: TCP may wait for longer than that for the lane that is asked
        // for.
        if quiet > QUIET_MS && !pending {
            return None;
        }
        // Only once a lane was up are questions asked on the original one, too.
        let alone = lost && session.is_multi();
        if alone && quiet < TICK_MS && silent() > LOST_MS {
            self.forget_peer(&session.peer.clone(), Reason::Silent);
            return None;
        }
        let (opening, unexplored) = {
            let inner = session.inner.lock();
            let unexplored = inner.s.state == State::Open && inner.explored_ms == 0;
            (inner.s.state == State::Opening, unexplored)
        };
        let wait = wait.map(|us| (us / 1000).saturating_add(1));
        let sooner = [
            // Even if this end has nothing to try.
            alone.then_some(TICK_MS),
            // How many datagrams have left meanwhile.
            (opening && session.proto() == packet::UDP).then_some(OPENING_MS),
            // It is not this end's turn yet, or something was missing, such as a port.
            unexplored.then(|| self.explores_in(session).unwrap_or(AGAIN_MS)),
        ];
        Iterator::chain(sooner.into_iter().flatten(), wait).min()
    }

    /// A session was not answered. If there is no other with the peer, the peer has lost its keys;
    /// otherwise only this destination is left alone for a while: it may have told us of a node
    /// that it is not.
    fn abandon(&self, session: &Arc<Session>) {
        self.count(Counter::SessionUnanswered);
        let dest = Destination {
            proto: session.proto(),
            end: session.tuple().remote,
        };
        {
            let rcu = rcu::read_lock();
            if let Some((_, entry)) = self.avail.get(&rcu, &dest) {
                entry.set_node(0);
                entry.state.lock().left(clock::now_ms());
            }
        }
        self.remove_session(session);
        if session.peer.sessions.read_once() == 0 {
            self.forget_peer(&session.peer.clone(), Reason::Silent);
        }
    }

    fn send_open(&self, session: &Arc<Session>) {
        let (confirm, path) = {
            let inner = session.inner.lock();
            (
                inner.rare.as_ref().and_then(|rare| rare.confirm),
                inner.s.lane(0).map_or(0, |lane| lane.path.id),
            )
        };
        let header = self.header(&session.peer, session.id);
        let tuple = session.tuple();
        self.with_open_block(&session.peer, &tuple, path, |block| {
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
            let target = Target::own(&tuple, session.position());
            self.send_cm(&target, &session.peer, &cm);
        });
    }

    /// A lane got through in no way. Its path is down unless others use it.
    fn lane_gave_up(&self, session: &Session, index: usize) {
        let path = {
            let mut inner = session.inner.lock();
            // It may have been up, and asked for in vain once more.
            inner.lost |= 1 << index;
            inner.s.lane(index).map(|l| l.path.clone())
        };
        if let Some(path) = path.filter(|p| !p.is_confirmed()) {
            self.tell_path_down(&session.peer, &path, Reason::Silent);
        }
    }

    fn send_lane_todo(&self, session: &Arc<Session>, index: usize, kind: Kind) {
        let (tuple, path, challenge, echo) = {
            let inner = session.inner.lock();
            let Some(lane) = inner.s.lane(index) else {
                return;
            };
            let echo = if kind == Kind::LaneAck { lane.echo } else { 0 };
            (lane.tuple(), lane.path.clone(), lane.challenge, echo)
        };
        let observed = (kind == Kind::LaneAck).then_some(tuple.remote);
        self.send_lane_on(session, &path, &tuple, kind, challenge, echo, observed);
    }
}
