// SPDX-License-Identifier: GPL-2.0

//! Sockets whose own way has gone.
//!
//! A socket whose own address or route has vanished could not send any more.
//! One that is connected gets the route of a working lane, so that its packets
//! reach our hook. One of UDP that is not asks for a route with each datagram:
//! over IPv4 it is allowed to send from an address that is none of this host's,
//! and the hook lets none through but those of sessions, which leave by lanes.

use crate::{
    net::{
        instance::Instance,
        session::Session, //
    },
    proto::{
        addr::Tuple,
        counters::Counter,
        path::Standing,
        session::LaneState, //
    },
    sys::{
        route::Dst,
        socket::{
            self,
            LentSource, //
        }, //
    },
};
use kernel::sync::Arc;

impl Instance {
    /// Sees to it that the session's own socket can send although its own way has gone; true if
    /// that has to be looked at again soon. Process context.
    pub fn lend_route(&self, session: &Arc<Session>) -> bool {
        let displaced = {
            let inner = session.inner.lock();
            if inner.dead {
                return false;
            }
            inner.s.lane(0).is_some_and(|l| l.path.is_down_here())
        };
        if !displaced || Dst::lookup(self.net, 0, &session.tuple()).is_some() {
            return false;
        }
        let mut best: Option<(Standing, u32, Tuple)> = None;
        {
            let inner = session.inner.lock();
            for lane in inner.s.lanes.iter().skip(1).flatten() {
                let standing = lane.path.standing();
                let better = best.as_ref().is_none_or(|(b, _, _)| standing > *b);
                if lane.state == LaneState::Active && standing > Standing::Down && better {
                    best = Some((standing, lane.path.ifindex(), lane.tuple()));
                }
            }
        }
        let Some((_, ifindex, tuple)) = best else {
            return true;
        };
        let lent = match Dst::lookup(self.net, ifindex, &tuple) {
            Some(route) => socket::lend_route(self.net, &session.tuple(), &route),
            None => false,
        };
        if lent || self.lend_source(&session.tuple(), ifindex) {
            self.count(Counter::RouteLent);
        }
        true
    }

    /// The same for a UDP socket without a connection, which keeps no route; true if it needed it.
    fn lend_source(&self, tuple: &Tuple, ifindex: u32) -> bool {
        let Some(mut fresh) = LentSource::find(self.net, tuple) else {
            return false;
        };
        let mut lent = self.lent.lock();
        // One socket has many sessions.
        if let Some(old) = lent.iter_mut().flatten().find(|old| old.is_same(&fresh)) {
            old.lend(ifindex);
            return false;
        }
        if fresh.is_free() {
            return false;
        }
        let Some((index, slot)) = lent.iter_mut().enumerate().find(|(_, slot)| slot.is_none())
        else {
            self.count(Counter::SourceOverflow);
            return false;
        };
        // What it sends is looked at before it can send from anywhere.
        self.gate.set_lent(index, Some(&fresh));
        fresh.lend(ifindex);
        *slot = Some(fresh);
        true
    }

    /// Takes back from sockets what they do not need any more because their address is there again.
    /// Until it is closed a socket is kept an eye on: it may have been about to send. Process
    /// context.
    pub fn take_sources(&self) {
        for (index, slot) in self.lent.lock().iter_mut().enumerate() {
            let Some(source) = slot else { continue };
            if !source.is_open() {
                self.gate.set_lent(index, None);
                *slot = None;
            } else if !source.is_needed() {
                source.take();
            }
        }
    }

    /// Takes everything back, before the hook goes that looks at what they send. Process context.
    pub fn take_all_sources(&self) {
        for (index, slot) in self.lent.lock().iter_mut().enumerate() {
            if let Some(mut source) = slot.take() {
                source.take();
                self.gate.set_lent(index, None);
            }
        }
    }
}
