// SPDX-License-Identifier: GPL-2.0

//! Messages on tuples that stand for nothing yet: questions, the agreement on keys, new sessions,
//! new lanes.
//!
//! Softirq context, unless said otherwise. What needs keys is left to the worker.

use crate::{
    net::{
        emit::Target,
        instance::Instance,
        path::Path,
        peer::Peer,
        rows::{
            Destination,
            Ids, //
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
        addr::Tuple,
        counters::Counter,
        crypto::PUBLIC_KEY,
        packet,
        params::Param,
        seq,
        session::{
            Lane,
            LaneState,
            MAX_LANES, //
        },
        wire::{
            cm::{
                Cm,
                Entry,
                Header,
                HelloReply,
                Kind,
                Open,
                OpenBlock,
                Raw,
                OBSERVED, //
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
        reading::Reading,
        route::{
            Dst,
            LocalAddr, //
        }, //
    },
};
use kernel::sync::Arc;

impl Peer {
    /// Takes in how the peer can be reached, for one family or for both.
    /// False if newer messages have told already, or nothing is new.
    pub fn learn(&self, number: u32, family: Option<u8>, block: &OpenBlock<'_>) -> bool {
        let mut reach = self.reach.lock();
        let newer = |than: u32| than == 0 || seq::after(number, than);
        if reach.numbers.iter().all(|n| newer(*n)) {
            reach.udp_port = block.udp_port;
        }
        // Each family has a newest message of its own: one of the other may have overtaken this.
        let mut told = [false; 2];
        for ((told, newest), each) in told.iter_mut().zip(&mut reach.numbers).zip([4, 6]) {
            *told = family.is_none_or(|only| only == each) && newer(*newest);
            if *told {
                *newest = number;
            }
        }
        let told = |e: &Entry| told[usize::from(e.addr.family() == 6)];
        let own = |e: &Entry| e.flags & OBSERVED == 0;
        let mut fresh = [None; MAX_ADDRS];
        let kept = reach.addrs.iter().flatten().filter(|e| !told(e)).copied();
        let announced = block
            .addrs
            .iter()
            .filter(|e| own(e) && told(e) && e.addr.is_usable_remote());
        for (slot, entry) in fresh.iter_mut().zip(Iterator::chain(announced, kept)) {
            *slot = Some(entry);
        }
        let known = |e: &Entry| reach.addrs.iter().flatten().any(|k| k.addr == e.addr);
        let more = !fresh.iter().flatten().all(known);
        reach.addrs = fresh;
        more
    }
}

/// New sessions and lanes.
impl Instance {
    /// A message on a tuple that stands for nothing here. `position` is where answers go;
    /// `owned` says that a socket here has the tuple. True if the packet is not the user's.
    pub fn stranger(
        &self,
        tuple: &Tuple,
        found: &Found,
        position: TcpPosition,
        owned: bool,
        rcu: Reading<'_>,
    ) -> bool {
        match Raw::new(found.bytes()) {
            Some(raw) => self.stranger_raw(tuple, &raw, position, owned, rcu),
            None => false,
        }
    }

    /// As [`Instance::stranger`], for a message that was recognised.
    pub fn stranger_raw(
        &self,
        tuple: &Tuple,
        raw: &Raw<'_>,
        position: TcpPosition,
        owned: bool,
        rcu: Reading<'_>,
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
                // To this flow the node is a plain host.
                if self.is_never(tuple, None) {
                    return true;
                }
                let salt = clock::random_u64() as u16;
                let nonce_b = self.identity.nonce_b(
                    &Algo,
                    tuple,
                    now_s,
                    salt,
                    hello.header.node,
                    hello.nonce_a,
                );
                let own = Target::own(tuple, position);
                let known = self.peers.get(rcu, &Ids(hello.header.node, 0));
                let target = match known.filter(|peer| !peer.has_left()) {
                    Some(_) => own.to_peer(),
                    None => own,
                };
                self.send_public(
                    &target,
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
        peer.learn(header.number, Some(tuple.local.addr.family()), block);
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
                lane.path
                    .saw_translation(&lane.tuple(), block.addrs.observed());
                lane.path.clone()
            })
        };
        self.count(Counter::SessionOpened);
        self.tell_peer_up(peer);
        if let Some(path) = path {
            self.tell_path_up(peer, &path);
        }
        self.note_caller(
            &Destination {
                proto: tuple.proto,
                end: tuple.remote,
            },
            peer.node,
        );
        self.send_open_ack(&session, position);
        self.attend(&session);
    }

    /// Takes away what is in a lane's place, if anything is. With `inner` locked.
    pub fn evict_lane(&self, session: &Arc<Session>, inner: &mut Inner, index: usize) {
        let Some(tuple) = inner.s.lane(index).map(|l| l.tuple()) else {
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
        rcu: Reading<'_>,
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
        let own = tuple.local.port == self.ports.own();
        let via = match (session.proto(), tuple.proto) {
            (packet::TCP, packet::TCP) if place.is_none() => Via::Raw,
            (_, packet::TCP) if own && place.is_some() => Via::Tcp,
            (packet::UDP, packet::UDP) if own => Via::Raw,
            (packet::TCP, packet::UDP) if own => Via::Udp,
            _ => return true,
        };
        if via == Via::Raw && !own && tuple.local.port != session.tuple().local.port
            || session.family() != tuple.local.addr.family()
        {
            return true;
        }
        let locals = self.local_addrs();
        let by_tunnel = |l: &LocalAddr| l.addr == tuple.local.addr && l.tunnel;
        if self.is_inside(session) || locals.iter().flatten().any(by_tunnel) {
            self.count(Counter::LaneRefusedTunnel);
            return true;
        }
        let limit = self.param(Param::MaxPaths) as usize;
        let ifindex = match self.ifindex_of(&tuple.local.addr) {
            // None of those that are announced: a temporary or a deprecated address.
            0 => Dst::lookup(self.net, 0, tuple).map_or(0, |route| route.ifindex()),
            known => known,
        };
        if self.is_left_alone(session) || self.role_of(ifindex).excluded {
            self.count(Counter::LaneRefusedInterface);
            return true;
        }
        let (local, remote) = (tuple.local.addr, tuple.remote.addr);
        let Some(path) = peer.path(local, remote, ifindex, Some(m.path), limit) else {
            return true;
        };
        self.assign_role(&path);
        if path.is_disabled() {
            self.count(Counter::LaneRefusedInterface);
            return true;
        }
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
            inner.s.on_lane(index, m.challenge, challenge, now);
            if let (Some((seq, flags, len)), Some(lane)) = (place, inner.s.lane_mut(index)) {
                lane.stream.came(seq, flags, len);
            }
        }
        session.set_multi(true);
        path_bound.bind(&m);
        self.attend(session);
        true
    }

    /// Tells the peer that its session is known here.
    pub fn send_open_ack(&self, session: &Session, position: TcpPosition) {
        let header = self.header(&session.peer, session.id);
        let path = session.inner.lock().s.lane(0).map_or(0, |l| l.path.id);
        let tuple = session.tuple();
        self.with_open_block(&session.peer, &tuple, path, |block| {
            let target = Target::own(&tuple, position).to_peer();
            let answer = Cm::OpenAck(Open { header, block });
            self.send_cm(&target, &session.peer, &answer);
        });
    }
}
