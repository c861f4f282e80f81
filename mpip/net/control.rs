// SPDX-License-Identifier: GPL-2.0

//! What a control message does.
//!
//! Softirq context. Whatever takes long (keys) or sends several packets (lanes)
//! is left to the worker; answers that need no state leave from here.

use crate::{
    net::{
        emit::Target,
        event::Reason,
        instance::{
            Destination,
            Ids,
            Instance,
            WireEntry, //
        },
        peer::{
            Path,
            Peer,
            MAX_PATHS, //
        },
        rx::Found,
        session::{
            Inner,
            Session,
            TcpPosition, //
        },
        work::{
            Job,
            Wire, //
        }, //
    },
    proto::{
        addr::{
            Endpoint,
            Tuple, //
        },
        counters::Counter,
        crypto::PUBLIC_KEY,
        packet::{
            self, //
        },
        params::Param,
        path::{
            Received,
            Standing, //
        },
        seq,
        session::{
            Lane,
            LaneState,
            PathInfo,
            MAX_LANES, //
        },
        wire::{
            cm::{
                self,
                Cm,
                Entry,
                Header,
                HelloReply,
                Kind,
                Moved,
                MovedAck,
                OpenBlock,
                Raw, //
            }, //
            MAX_ADDRS, //
        },
        wrap::{
            Via,
            Ways, //
        }, //
    },
    sys::{
        clock,
        crypto::Algo,
        route::Dst, //
    },
};
use kernel::sync::{
    atomic::Relaxed,
    rcu,
    Arc, //
};

impl Session {
    /// A lane was refused by the other end or on the way, as `counter` counts.
    pub fn refuse_lane(self: &Arc<Session>, instance: &Instance, lane: u8, counter: Counter) {
        let now = clock::now_us();
        let lane = usize::from(lane);
        let refused = {
            let mut inner = self.inner.lock();
            let fresh = inner.s.refuse(lane, now);
            let lane = inner.s.lane(lane).filter(|_| fresh);
            lane.map(|l| (l.path.clone(), l.state == LaneState::Gone))
        };
        if let Some((path, gone)) = refused {
            let reason = match counter {
                Counter::LaneRefusedRst => Reason::Reset,
                _ => Reason::Unreachable,
            };
            instance.count(counter);
            // There may be another way.
            if gone {
                instance.tell_path_down(&self.peer, &path, reason);
            }
            // What was in flight there is lost.
            self.wants_resend(lane);
            instance.attend(self);
        }
    }
}

impl Peer {
    /// Takes in how the peer can be reached, for one family.
    /// False if a newer message has told already, or nothing is new.
    fn learn(&self, number: u32, family: u8, block: &OpenBlock<'_>) -> bool {
        let mut reach = self.reach.lock();
        if reach.number != 0 && !seq::after(number, reach.number) {
            return false;
        }
        reach.number = number;
        reach.udp_port = block.udp_port;
        let mut fresh = [None; MAX_ADDRS];
        let kept = reach
            .addrs
            .iter()
            .flatten()
            .filter(|e| e.addr.family() != family)
            .copied();
        let announced = block
            .addrs
            .iter()
            .filter(|e| e.addr.family() == family && e.addr.is_usable_remote());
        for (slot, entry) in fresh.iter_mut().zip(Iterator::chain(announced, kept)) {
            *slot = Some(entry);
        }
        let known = |e: &Entry| reach.addrs.iter().flatten().any(|k| k.addr == e.addr);
        let more = !fresh.iter().flatten().all(known);
        reach.addrs = fresh;
        more
    }
}

impl Instance {
    /// A message on a tuple of a session. True if it was an authentic one, new or repeated: the
    /// packet is not the user's then.
    pub fn session_message(&self, entry: &WireEntry, raw: &Raw<'_>, tuple: &Tuple) -> bool {
        let session = &entry.session;
        let peer = &session.peer;
        if matches!(raw.kind(), Kind::Hello | Kind::HelloReply | Kind::Confirm) {
            let rcu = rcu::read_lock();
            return self.stranger_raw(tuple, raw, session.position(), true, &rcu);
        }
        let node = raw.node().unwrap_or(peer.node);
        if node != peer.node || !raw.verify(&Algo, &peer.keys.rx, peer.node, tuple.proto) {
            if raw.kind() == Kind::Open {
                // Another peer may have come to this tuple.
                let rcu = rcu::read_lock();
                return self.stranger_raw(tuple, raw, session.position(), true, &rcu);
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
                let now = clock::now_us();
                let (received, returned) = {
                    let mut state = entry.path.state.lock();
                    let before = state.standing();
                    let received = state.on_report(now, entry.path.id, &report);
                    entry.path.publish(&state);
                    entry.path.correct(now, state.take_error());
                    // Late answers on a path without one of its ends bring nothing back.
                    let returned = before == Standing::Suspect
                        && state.standing() > Standing::Suspect
                        && !entry.path.is_down();
                    (received, returned)
                };
                if returned {
                    entry.path.empty_queue();
                    self.count(Counter::PathReturned);
                    self.submit(Job::Returned {
                        peer: peer.clone(),
                        path: entry.path.clone(),
                    });
                }
                if entry.lane != 0 && received != Received::Replayed {
                    let lane = usize::from(entry.lane);
                    if session.inner.lock().s.heard_on(lane) {
                        self.attend(session);
                    }
                }
                match received {
                    Received::Replayed => self.count(Counter::CmReplayed),
                    Received::Taken => peer.heard(),
                    Received::Answer(echo) => {
                        peer.heard();
                        let original = entry.lane == 0;
                        self.send_report(session, &entry.path, tuple, original, Some(echo));
                        entry.path.answered(clock::now_us());
                        self.watch(session, &entry.path, tuple, original);
                    }
                }
                true
            }
            Cm::Data(data) if data.session == session.id => {
                let mut state = entry.path.state.lock();
                let now = clock::now_us();
                if state.on_data(now, entry.path.id, &data) == Received::Replayed {
                    self.count(Counter::CmReplayed);
                } else {
                    entry.path.publish(&state);
                    peer.heard();
                }
                true
            }
            Cm::Report(_) | Cm::Data(_) => {
                self.count(Counter::CmMalformed);
                true
            }
            cm => {
                let Some(header) = header_of(&cm) else {
                    return true;
                };
                if !peer.accept(header.number) {
                    self.count(Counter::CmReplayed);
                    return true;
                }
                peer.heard();
                self.control(entry, tuple, raw, &cm, &header);
                true
            }
        }
    }

    /// An authentic and new control message on a tuple of a session.
    fn control(
        &self,
        entry: &WireEntry,
        tuple: &Tuple,
        raw: &Raw<'_>,
        cm: &Cm<'_>,
        header: &Header,
    ) {
        let session = &entry.session;
        let now = clock::now_us();
        match cm {
            Cm::Goodbye(_) => return self.goodbye_from(&session.peer, tuple, entry, session),
            Cm::GoodbyeAck(_) => {
                session.peer.goodbye_acked.store(true, Relaxed);
                return;
            }
            Cm::Addr(moved) => return self.peer_moved(entry, tuple, moved),
            Cm::AddrAck(ack) => return session.peer.announced(ack.acked),
            Cm::Open(open) => {
                if entry.lane != 0 {
                    return;
                }
                if header.session != session.id {
                    // Both ends have opened: the session that the node with the larger id opened
                    // stays.
                    if session.initiator && session.peer.node < self.identity.node {
                        return;
                    }
                    // At once, or the next packet opens another session before theirs is sent again.
                    session.set_over();
                    if let Some(wire) = Wire::new(raw.bytes()) {
                        self.submit(Job::Open {
                            tuple: *tuple,
                            position: session.position(),
                            peer: session.peer.clone(),
                            wire,
                        });
                    }
                    return;
                }
                let family = tuple.local.addr.family();
                session.peer.learn(header.number, family, &open.block);
                return self.send_open_ack(session, session.position());
            }
            _ => {}
        }
        if header.session != session.id {
            self.count(Counter::CmMalformed);
            return;
        }
        let lane = usize::from(entry.lane);
        match cm {
            Cm::Missing(m) if m.refused => session.refused(&m.ranges),
            Cm::Missing(m) => self.repair(session, &m.ranges),
            Cm::OpenAck(open) if lane == 0 => {
                entry.path.state.lock().bind(open.block.path);
                let family = tuple.local.addr.family();
                session.peer.learn(header.number, family, &open.block);
                let opened = {
                    let mut inner = session.inner.lock();
                    let was = inner.s.state;
                    inner.confirm = None;
                    inner.s.opened();
                    was != inner.s.state
                };
                if opened {
                    self.count(Counter::SessionOpened);
                    entry.path.confirm();
                    self.tell_peer_up(&session.peer);
                    self.tell_path_up(&session.peer, &entry.path);
                    self.note_available(
                        &Destination {
                            proto: tuple.proto,
                            end: tuple.remote,
                        },
                        Some(session.peer.node),
                    );
                    self.attend(session);
                }
            }
            Cm::Lane(m) if lane != 0 => {
                entry.path.state.lock().bind(m.path);
                let challenge = clock::random_u64();
                if session
                    .inner
                    .lock()
                    .s
                    .on_lane(lane, m.challenge, challenge, now)
                {
                    self.attend(session);
                }
            }
            Cm::LaneAck(m) if lane != 0 => {
                {
                    let mut state = entry.path.state.lock();
                    state.bind(m.path);
                    let seen = m.observed.map(|end| end.addr);
                    state.observed = seen.filter(|addr| *addr != entry.path.local);
                    entry.path.set_translated(state.observed.is_some());
                }
                let (accepted, echo) = {
                    let mut inner = session.inner.lock();
                    (inner.s.on_lane_ack(lane, m.challenge, m.echo), m.challenge)
                };
                if accepted {
                    self.lane_is_up(entry);
                    self.send_lane(
                        session,
                        entry,
                        tuple,
                        Kind::LaneConfirm,
                        0,
                        echo,
                        Some(tuple.remote),
                    );
                    // Measure it before data relies on it.
                    self.ask(session, &entry.path, tuple, false);
                }
            }
            Cm::LaneConfirm(m) if lane != 0 => {
                let accepted = {
                    let mut inner = session.inner.lock();
                    let accepted = inner.s.on_lane_confirm(lane, m.echo);
                    if accepted {
                        // Its other end has given up the tuple that it used for this path before.
                        for i in (1..MAX_LANES).filter(|i| *i != lane) {
                            let same = inner.s.lane(i).is_some_and(|l| {
                                l.state == LaneState::Active
                                    && !l.is_initiator()
                                    && Arc::ptr_eq(&l.path, &entry.path)
                            });
                            if same && inner.s.refuse(i, now) {
                                // What was in flight there does not arrive.
                                inner.lost |= 1 << i;
                            }
                        }
                    }
                    accepted
                };
                if accepted {
                    if session.inner.lock().lost != 0 {
                        self.attend(session);
                    }
                    self.lane_is_up(entry);
                    self.ask(session, &entry.path, tuple, false);
                }
            }
            Cm::Close(_) => {
                session.set_over();
                self.attend(session);
            }
            _ => self.count(Counter::CmMalformed),
        }
    }

    fn lane_is_up(&self, entry: &WireEntry) {
        if entry.session.is_over() || entry.session.peer.has_left() {
            return;
        }
        let first = entry.set_up();
        entry.path.confirm();
        entry.path.set_via(entry.session.tuple.proto, entry.via);
        if entry.path.standing() == Standing::Suspect && entry.session.inner.lock().s.is_replaced()
        {
            entry.path.set_strict();
        }
        self.tell_path_up(&entry.session.peer, &entry.path);
        entry.session.set_multi(true);
        if first {
            self.count(Counter::LaneOpened);
        }
        self.end_outage(entry);
        // There is a choice from now on: the session's own path has to be measured, too.
        let own = entry.session.inner.lock().s.lane(0).map(|l| l.path.clone());
        if let Some(own) = own.filter(|path| path.base_us().is_none()) {
            self.ask(&entry.session, &own, &entry.session.tuple, true);
        }
    }

    /// A lane is up: what was in flight on those that do not work leaves on it. After an outage
    /// nobody else would send anything before TCP's timer expires, which grows with the outage.
    fn end_outage(&self, entry: &WireEntry) {
        let session = &entry.session;
        let stranded = {
            let mut inner = session.inner.lock();
            let stranded = inner.s.unusable();
            inner.lost |= stranded;
            stranded != 0
        };
        if stranded && entry.path.is_usable() {
            session.wants_wake();
            if session.peer.announce_again() {
                self.announcing.store(true, Relaxed);
            }
            self.attend(session);
        }
    }

    /// Sends a message of the lane exchange.
    #[expect(clippy::too_many_arguments)]
    pub fn send_lane(
        &self,
        session: &Session,
        entry: &WireEntry,
        tuple: &Tuple,
        kind: Kind,
        challenge: u64,
        echo: u64,
        observed: Option<Endpoint>,
    ) {
        self.send_lane_on(session, &entry.path, tuple, kind, challenge, echo, observed);
    }

    /// As [`Instance::send_lane`], for those who have no table entry at hand.
    #[expect(clippy::too_many_arguments)]
    pub fn send_lane_on(
        &self,
        session: &Session,
        path: &Arc<crate::net::peer::Path>,
        tuple: &Tuple,
        kind: Kind,
        challenge: u64,
        echo: u64,
        observed: Option<Endpoint>,
    ) {
        let lane = cm::Lane {
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
        self.send_cm(
            &Target {
                tuple,
                ifindex: path.ifindex(),
                original: false,
                position: session.position(),
                session: Some(session),
            },
            &session.peer,
            &cm,
        );
    }

    /// The peer's addresses have changed: only the paths concerned go.
    fn peer_moved(&self, entry: &WireEntry, tuple: &Tuple, moved: &Moved<'_>) {
        let session = &entry.session;
        let peer = &session.peer;
        let ack = MovedAck {
            header: self.header(peer, 0),
            acked: moved.header.number,
        };
        self.send_cm(
            &Target {
                tuple,
                ifindex: if entry.lane == 0 {
                    0
                } else {
                    entry.path.ifindex()
                },
                original: entry.lane == 0,
                position: session.position(),
                session: Some(session),
            },
            peer,
            &Cm::AddrAck(ack),
        );
        if !peer.is_newest_move(moved.header.number) {
            return;
        }
        let more = peer.learn(moved.header.number, tuple.local.addr.family(), &moved.block);
        for id in 0..MAX_PATHS {
            let Some(path) = peer.path_by_id(id) else {
                continue;
            };
            let Some(theirs) = path.state.lock().peer_id else {
                continue;
            };
            let gone = moved.down.checked_shr(u32::from(theirs)).unwrap_or(0) & 1 == 1;
            if path.set_gone(gone) {
                let peer = peer.clone();
                self.submit(if gone {
                    Job::Down { peer, path }
                } else {
                    Job::Up { peer, path }
                });
            }
        }
        if more {
            self.follow_peer(peer);
        }
    }

    /// Has lanes looked for with what a peer has told, not more often than is sensible.
    fn follow_peer(&self, peer: &Arc<Peer>) {
        const PACE_MS: u32 = 100;
        let now = clock::now_ms();
        let soon = now.wrapping_sub(peer.followed_ms.load(Relaxed)) >= PACE_MS;
        if !peer.has_moved.xchg(true, Relaxed) && soon {
            peer.followed_ms.store(now, Relaxed);
            self.submit(Job::Follow { peer: peer.clone() });
        }
        // Otherwise the next tick does it.
    }

    fn send_open_ack(&self, session: &Session, position: TcpPosition) {
        let header = self.header(&session.peer, session.id);
        let path = session.inner.lock().s.lane(0).map_or(0, |l| l.path.id);
        self.with_block(session.tuple.local.addr.family(), path, |block| {
            self.send_cm(
                &Target {
                    tuple: &session.tuple,
                    ifindex: 0,
                    original: true,
                    position,
                    session: None,
                },
                &session.peer,
                &Cm::OpenAck(crate::proto::wire::cm::Open { header, block }),
            );
        });
    }

    /// The peer leaves: its sessions go back to their original tuples, at once for output and
    /// soon for the tables.
    fn goodbye_from(
        &self,
        peer: &Arc<Peer>,
        tuple: &Tuple,
        entry: &WireEntry,
        session: &Arc<Session>,
    ) {
        peer.leave();
        self.tell_peer_down(peer, Reason::Goodbye);
        let header = self.header(peer, 0);
        self.send_cm(
            &Target {
                tuple,
                ifindex: if entry.lane == 0 {
                    0
                } else {
                    entry.path.ifindex()
                },
                original: entry.lane == 0,
                position: session.position(),
                session: Some(session),
            },
            peer,
            &Cm::GoodbyeAck(header),
        );
        // What it sent on slower lanes is still under way: the tables follow with the next tick.
    }

    /// A message on a tuple that stands for nothing here. `position` is where answers go;
    /// `owned` says that a socket here has the tuple. True if the packet is not the user's.
    pub fn stranger(
        &self,
        tuple: &Tuple,
        found: &Found,
        position: TcpPosition,
        owned: bool,
        rcu: &rcu::Guard,
    ) -> bool {
        match Raw::new(found.bytes()) {
            Some(raw) => self.stranger_raw(tuple, &raw, position, owned, rcu),
            None => false,
        }
    }

    fn stranger_raw(
        &self,
        tuple: &Tuple,
        raw: &Raw<'_>,
        position: TcpPosition,
        owned: bool,
        rcu: &rcu::Guard,
    ) -> bool {
        if self.is_stopping() {
            // Nobody starts with us any more.
            return false;
        }
        match raw.kind() {
            // A tuple that a socket has is never a lane's.
            Kind::Lane => {
                return !(owned && tuple.proto == packet::TCP)
                    && self.new_lane(tuple, raw, None, rcu)
            }
            // These prove by their nonce that they belong to the tuple; a socket that was quicker
            // to finish than they to come does not make them the user's.
            Kind::Hello | Kind::HelloReply | Kind::Confirm
                if owned || tuple.proto == packet::TCP => {}
            Kind::Open if owned => {}
            _ => return false,
        }
        let now_s = clock::now_us64() / 1_000_000;
        if matches!(raw.kind(), Kind::Hello | Kind::HelloReply) {
            let node = raw.node().unwrap_or(0);
            if !raw.verify(&Algo, &PUBLIC_KEY, node, tuple.proto) {
                self.count(Counter::CmBadTag);
                return false;
            }
        }
        match raw.parse() {
            Some(Cm::Hello(hello)) => {
                if hello.header.node == self.identity.node {
                    return true;
                }
                self.count(Counter::QueryRx);
                let salt = clock::random_u64() as u16;
                let nonce_b = self.identity.nonce_b(
                    &Algo,
                    tuple,
                    now_s,
                    salt,
                    hello.header.node,
                    hello.nonce_a,
                );
                self.send_public(
                    &Target {
                        tuple,
                        ifindex: 0,
                        original: true,
                        position,
                        session: None,
                    },
                    &Cm::HelloReply(HelloReply {
                        header: Header {
                            node: self.identity.node,
                            session: 0,
                            number: 0,
                        },
                        nonce_a: hello.nonce_a,
                        nonce_b,
                        public_key: self.identity.public,
                    }),
                );
                true
            }
            Some(Cm::HelloReply(reply)) => {
                if !self.identity.check_a(&Algo, tuple, now_s, reply.nonce_a) {
                    self.count(Counter::CmBadTag);
                    return false;
                }
                self.note_available(
                    &Destination {
                        proto: tuple.proto,
                        end: tuple.remote,
                    },
                    None,
                );
                self.submit(Job::Initiate {
                    tuple: *tuple,
                    position,
                    reply,
                    alive: owned,
                });
                true
            }
            Some(Cm::Confirm(confirm)) => {
                if !self.identity.check_b(
                    &Algo,
                    tuple,
                    now_s,
                    confirm.header.node,
                    confirm.nonce_a,
                    confirm.nonce_b,
                ) {
                    self.count(Counter::CmBadTag);
                    return false;
                }
                if let Some(wire) = Wire::new(raw.bytes()) {
                    self.submit(Job::Confirm {
                        tuple: *tuple,
                        position,
                        wire,
                        alive: owned,
                    });
                }
                true
            }
            Some(Cm::Open(open)) => {
                let Some(peer) = self.peers.get(rcu, &Ids(open.header.node, 0)) else {
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
                peer.heard();
                if peer.has_left() {
                    return true;
                }
                if let Some(wire) = Wire::new(raw.bytes()) {
                    self.submit(Job::Open {
                        tuple: *tuple,
                        position,
                        peer: peer.clone(),
                        wire,
                    });
                }
                true
            }
            _ => false,
        }
    }

    /// A peer opens a session on `tuple`. Process context.
    pub fn open_from(
        &self,
        peer: &Arc<Peer>,
        tuple: &Tuple,
        position: TcpPosition,
        header: &Header,
        block: &OpenBlock<'_>,
        alive: bool,
    ) {
        if peer.has_left() {
            return;
        }
        peer.learn(header.number, tuple.local.addr.family(), block);
        let Some(session) = self.add_session(
            header.session,
            *tuple,
            false,
            peer,
            position,
            None,
            Some(block.path),
        ) else {
            return;
        };
        if !alive {
            session.set_closing();
        }
        let path = {
            let mut inner = session.inner.lock();
            inner.s.opened();
            inner.s.lane(0).map(|lane| {
                lane.path.confirm();
                lane.path.state.lock().bind(block.path);
                lane.path.clone()
            })
        };
        self.count(Counter::SessionOpened);
        self.tell_peer_up(peer);
        if let Some(path) = path {
            self.tell_path_up(peer, &path);
        }
        self.note_available(
            &Destination {
                proto: tuple.proto,
                end: tuple.remote,
            },
            Some(peer.node),
        );
        self.send_open_ack(&session, position);
        self.attend(&session);
    }

    /// Takes away what is in a lane's place, if anything is. With `inner` locked.
    pub fn evict_lane(&self, session: &Arc<Session>, inner: &mut Inner, index: usize) {
        let Some(tuple) = inner.s.lane(index).map(|l| l.tuple) else {
            return;
        };
        inner.s.remove_lane(index);
        self.remove_wire(&tuple, session);
    }

    /// LANE on a tuple that stands for nothing yet.
    /// `place` tells of the SYN that brought it, if one did: sequence number, flags and length.
    pub fn new_lane(
        &self,
        tuple: &Tuple,
        raw: &Raw<'_>,
        place: Option<(u32, u8, usize)>,
        rcu: &rcu::Guard,
    ) -> bool {
        let (Some(node), Some(id)) = (raw.node(), raw.session()) else {
            return false;
        };
        let Some(session) = self.sessions.get(rcu, &Ids(node, id)) else {
            return false;
        };
        let peer = &session.peer;
        if !raw.verify(&Algo, &peer.keys.rx, peer.node, tuple.proto) {
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
        peer.heard();
        let own = tuple.local.port == self.own_port();
        let via = match (session.tuple.proto, tuple.proto) {
            (packet::TCP, packet::TCP) if place.is_none() => Via::Raw,
            (_, packet::TCP) if own && place.is_some() => Via::Tcp,
            (packet::UDP, packet::UDP) if own => Via::Raw,
            (packet::TCP, packet::UDP) if own => Via::Udp,
            _ => return true,
        };
        if via == Via::Raw && !own && tuple.local.port != session.tuple.local.port
            || session.tuple.local.addr.family() != tuple.local.addr.family()
        {
            return true;
        }
        let limit = self.param(Param::MaxPaths) as usize;
        let ifindex = self.ifindex_of(&tuple.local.addr);
        let (local, remote) = (tuple.local.addr, tuple.remote.addr);
        let Some(path) = peer.path(local, remote, ifindex, Some(m.path), limit) else {
            return true;
        };
        let path_bound = path.clone();
        let lanes = self.param(Param::MaxLanes) as usize;
        let now = clock::now_us();
        {
            let mut inner = session.inner.lock();
            if inner.dead {
                return true;
            }
            // Another way of a lane that did not get through takes its place. If both ends have
            // asked for a lane between the same addresses, that of the end that opened the session
            // counts while it may be answered; the other end gives way at once, because what
            // comes shows that it gets through.
            let same = |l: &&Lane<Arc<Path>, Dst>| Arc::ptr_eq(&l.path, &path);
            let stale = (1..MAX_LANES).find(|i| {
                let lane = inner.s.lane(*i).filter(same);
                lane.is_some_and(|l| l.state != LaneState::Active)
            });
            let crossed = (1..MAX_LANES).any(|i| {
                let lane = inner.s.lane(i).filter(same);
                lane.is_some_and(|l| l.is_begun_here())
            });
            if crossed && session.initiator {
                return true;
            }
            if let Some(index) = stale.or_else(|| inner.s.place(lanes, true)) {
                self.evict_lane(session, &mut inner, index);
            }
            let challenge = clock::random_u64();
            let Some(index) = inner.s.add_lane(
                *tuple,
                path.clone(),
                Ways::only(via),
                challenge,
                false,
                lanes,
                now,
            ) else {
                self.count(Counter::LaneRefusedCap);
                return true;
            };
            if !self.add_wire(*tuple, session, index, via, path) {
                inner.s.remove_lane(index);
                return true;
            }
            if let (Some((seq, flags, len)), Some(lane)) = (place, inner.s.lane_mut(index)) {
                lane.stream.came(seq, flags, len);
            }
            inner.s.on_lane(index, m.challenge, challenge, now);
        }
        session.set_multi(true);
        path_bound.state.lock().bind(m.path);
        self.attend(session);
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
        Cm::Close(h) | Cm::Goodbye(h) | Cm::GoodbyeAck(h) => Some(*h),
        Cm::Data(_) | Cm::Report(_) => None,
    }
}
