// SPDX-License-Identifier: GPL-2.0

//! Which paths a session could use (section 3.4.1).

use crate::{
    net::{
        instance::Instance,
        session::Session, //
    },
    proto::{
        addr::{
            Endpoint,
            Tuple, //
        },
        packet,
        params::Param,
        session::{
            State,
            MAX_LANES, //
        }, //
    },
    sys::{
        clock,
        route::Dst, //
    },
};
use kernel::sync::{
    rcu,
    Arc, //
};

impl Instance {
    /// Looks for pairs of a local and a remote address that the session could use as well
    /// (section 3.4.1), and adds a lane for each.
    pub fn explore(&self, session: &Arc<Session>) {
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
        let mut pairs = [None; MAX_LANES];
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
}
