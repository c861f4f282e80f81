// SPDX-License-Identifier: GPL-2.0

//! Which paths a session could use (section 3.4.1), and how to get through.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        peer::Reach,
        session::Session, //
    },
    proto::{
        addr::{
            Addr,
            Endpoint,
            Tuple, //
        },
        counters::Counter,
        packet,
        params::Param,
        path::Standing,
        session::{
            State,
            MAX_LANES, //
        },
        wrap::{
            Via,
            Ways, //
        }, //
    },
    sys::{
        clock,
        route::{
            self,
            Dst,
            LocalAddr, //
        }, //
    },
};
use kernel::sync::{
    rcu,
    Arc, //
};

/// The end that did not open a session looks for paths this long after that, milliseconds.
const SECOND_MS: u64 = 400;

/// Whether a NAT on a path follows TCP's windows: it drops what it finds out of them once part of
/// the session takes other ways; of a lane that it did not see begin it does not know them.
fn follows(session: &Session, path: &Path) -> bool {
    session.proto() == packet::TCP && path.is_translated()
}

impl Instance {
    /// Looks for pairs of a local and a remote address that the session could use as well
    /// (section 3.4.1), and adds a lane for each. Process context.
    pub fn explore(&self, session: &Arc<Session>) {
        {
            let mut inner = session.inner.lock();
            // The end that opened the session begins. What it cannot reach, because of a NAT in
            // front of the other one, that one looks for.
            if inner.dead
                || session.is_never()
                || inner.s.state != State::Open
                || inner.explored_ms != 0
                || self.explores_in(session).is_some()
            {
                return;
            }
            inner.explored_ms = clock::now_ms().max(1);
        }
        if self.addrs_may_differ() {
            // What has changed comes first, and then this again.
            self.network_changed();
            session.inner.lock().explored_ms = 0;
            return;
        }
        if self.is_inside(session) || self.is_left_alone(session) {
            return;
        }
        let original = session.tuple();
        let reach = *session.peer.reach.lock();
        let locals = self.local_addrs();
        let known = reach.addrs.iter().flatten().map(|e| e.addr);
        // The address that the session uses need not be one that the peer has itself.
        let known = Iterator::chain(core::iter::once(original.remote.addr), known);
        for (i, remote) in known.enumerate() {
            // An address of our own is no way to the peer.
            if remote.family() != original.local.addr.family()
                || i != 0 && remote == original.remote.addr
                || locals.iter().flatten().any(|l| l.addr == remote)
            {
                continue;
            }
            for local in locals.iter().flatten() {
                if local.is_usable()
                    && local.addr.family() == remote.family()
                    && !self.has_lane(session, local, &remote)
                    && !self.add_lane(session, local, &remote, &reach)
                {
                    return;
                }
            }
        }
    }

    /// When this end begins to look for lanes of a session that the other end has opened,
    /// milliseconds, if it has to wait.
    pub fn explores_in(&self, session: &Session) -> Option<u32> {
        let left = SECOND_MS.saturating_sub(session.age_ms());
        (!session.initiator && left != 0).then_some(left as u32)
    }

    /// Whether a session goes through a tunnel of this host. What was put into a VPN must not leave
    /// it, so such a session keeps to its own path; and a tunnel is no path for others: its own
    /// packets would be sent through it again.
    pub fn is_inside(&self, session: &Session) -> bool {
        let own = session.inner.lock().s.lane(0).map(|l| l.path.clone());
        let Some(own) = own else { return false };
        if !own.is_tunnel() && route::is_tunnel(self.net, own.ifindex()) {
            own.set_tunnel();
        }
        own.is_tunnel()
    }

    /// A lane of a session works: another one is looked for on its own path if that is silent, or
    /// boxes there may not let all of the session pass. Any context, no lock held.
    pub fn replace_original(&self, session: &Arc<Session>) {
        let wanted = {
            let mut inner = session.inner.lock();
            let own = inner.s.lane(0).map(|l| l.path.clone());
            let lacking = own.is_some_and(|path| {
                path.standing() == Standing::Suspect || follows(session, &path) || inner.doubted
            });
            let wanted = lacking && !inner.s.is_replaced();
            if wanted {
                inner.explored_ms = 0;
            }
            wanted
        };
        if wanted {
            self.attend(session);
        }
    }

    /// Whether the session has a lane between two addresses by this interface.
    fn has_lane(&self, session: &Session, local: &LocalAddr, remote: &Addr) -> bool {
        let inner = session.inner.lock();
        let on = |tuple: &Tuple, ifindex: u32| {
            tuple.local.addr == local.addr
                && tuple.remote.addr == *remote
                && (ifindex == local.ifindex || ifindex == 0)
        };
        let shares = inner.s.best_added().is_some();
        let lanes = inner.s.lanes.iter().enumerate();
        lanes
            .filter_map(|(i, l)| Some((i, l.as_ref()?)))
            .any(|(i, l)| {
                // Boxes that keep track of connections stop a session's own tuple as soon as part
                // of it takes other ways, and carriers that do not look right to them: such a path
                // needs a lane of its own. Not when nothing works at all.
                let alone = l.path.standing() == Standing::Suspect
                    && inner.s.best_standing() >= Standing::Doubtful;
                let followed = shares && (follows(session, &l.path) || inner.doubted);
                let narrow = l.path.is_black_hole();
                let blind = i == 0 && (l.path.is_strict() || alone || followed || narrow);
                !blind && !l.is_forsaken() && on(&l.tuple(), l.path.ifindex())
            })
    }

    /// Lanes may travel in other ways from now on: those that this end has asked for in vain so far
    /// are looked for anew. The others stay as they are. Process context, no lock held.
    pub fn ways_changed(&self) {
        self.each_session(|session| {
            {
                let mut inner = session.inner.lock();
                for index in 1..MAX_LANES {
                    if inner.s.is_in_vain(index) {
                        self.evict_lane(session, &mut inner, index);
                    }
                }
                inner.explored_ms = 0;
            }
            self.attend(session);
        });
    }

    /// Adds a lane between two addresses if there is a route; false if there is no use in trying
    /// more.
    fn add_lane(
        &self,
        session: &Arc<Session>,
        local: &LocalAddr,
        remote: &Addr,
        reach: &Reach,
    ) -> bool {
        let max_paths = self.param(Param::MaxPaths) as usize;
        let limit = self.param(Param::MaxLanes) as usize;
        let proto = session.proto();
        let probe = Tuple {
            proto,
            local: Endpoint {
                addr: local.addr,
                port: 0,
            },
            remote: Endpoint {
                addr: *remote,
                port: session.tuple().remote.port,
            },
        };
        if Dst::lookup(self.net, local.ifindex, &probe).is_none() {
            return true;
        }
        let place = session.inner.lock().s.place(limit, false);
        let Some(place) = place else { return false };
        let peer = &session.peer;
        let Some(path) = peer.path(local.addr, *remote, local.ifindex, None, max_paths) else {
            return false;
        };
        self.assign_role(&path);
        if path.is_disabled() {
            return true;
        }
        let encap = self.param(Param::Encap);
        let mut ways = match encap {
            1 => Ways::only(Via::Raw),
            2 if proto == packet::TCP => Ways::only(Via::Udp),
            2 => Ways::only(Via::Raw),
            3 => Ways::only(Via::Tcp),
            _ => Ways::all(proto, path.via(proto)),
        };
        // A way for which there is no port, at either end, is left out.
        let tuple = loop {
            match self.lane_tuple(session, &path, ways.current(), &probe, reach) {
                Some(tuple) => break tuple,
                None if ways.has_next() => ways.advance(),
                None => return true,
            }
        };
        let mut inner = session.inner.lock();
        if inner.dead {
            return false;
        }
        if self.param(Param::Encap) != encap {
            // Who has changed it may have been here already.
            inner.explored_ms = 0;
            drop(inner);
            self.attend(session);
            return false;
        }
        let place = inner.s.forsaken_on(&path).unwrap_or(place);
        self.evict_lane(session, &mut inner, place);
        let (random, now) = (clock::random_u64(), clock::now_us());
        let via = ways.current();
        let Some(index) = inner
            .s
            .add_lane(tuple, path.clone(), ways, random, true, limit, now)
        else {
            return false;
        };
        if !self.add_wire(tuple, session, index, via, path) {
            inner.s.remove_lane(index);
        }
        true
    }

    /// The tuple of a lane between the addresses of `probe` that travels by `via`, with a port of
    /// our own that is free; `None` if there is none, or the peer has none. Process context.
    fn lane_tuple(
        &self,
        session: &Session,
        path: &Path,
        via: Via,
        probe: &Tuple,
        reach: &Reach,
    ) -> Option<Tuple> {
        let inner = session.proto();
        let mut tuple = *probe;
        tuple.proto = via.proto(inner);
        tuple.remote.port = if via == Via::Raw && inner == packet::TCP {
            session.tuple().remote.port
        } else {
            reach.udp_port
        };
        let (proto, port) = (tuple.proto, tuple.remote.port);
        let now = clock::now_ms();
        if port == 0 {
            return None;
        }
        if path.lacks_ports(proto, port, now) {
            self.count(Counter::PortExhausted);
            return None;
        }
        let free = |port: u16| {
            let rcu = rcu::read_lock();
            tuple.local.port = port;
            self.wire.get(&rcu, &tuple).is_none()
        };
        let Some(port) = self.ports.pick(self.net, proto, free) else {
            self.count(Counter::PortExhausted);
            path.found_no_port(proto, port, now);
            return None;
        };
        tuple.local.port = port;
        Some(tuple)
    }

    /// A lane does not get through: has it travel its next way. Process context.
    pub fn switch_lane(&self, session: &Arc<Session>, index: usize) {
        let reach = *session.peer.reach.lock();
        let (old, path, via) = {
            let inner = session.inner.lock();
            let Some(lane) = inner.s.lane(index) else {
                return;
            };
            (lane.tuple(), lane.path.clone(), lane.ways.next())
        };
        // This may take a while: it may be answered meanwhile.
        let tuple = self.lane_tuple(session, &path, via, &old, &reach);
        let mut inner = session.inner.lock();
        let (random, now) = (clock::random_u64(), clock::now_us());
        if inner.dead || !inner.s.switched(index, &old, tuple, random, now) {
            return;
        }
        if let Some(tuple) = tuple {
            self.remove_wire(&old, session);
            if !self.add_wire(tuple, session, index, via, path) {
                inner.s.remove_lane(index);
            }
        }
    }
}
