// SPDX-License-Identifier: GPL-2.0

//! Addresses and interfaces come and go (section 3.4.3).
//!
//! The kernel tells of each change; the worker then finds out which paths have
//! lost or regained their local end, moves what was in flight, tells the peers
//! and looks for new paths. Only the paths concerned are touched.

use crate::{
    net::{
        event::Reason,
        instance::Instance,
        path::Path,
        peer::{
            Peer,
            MAX_PATHS, //
        },
    },
    proto::{
        counters::Counter,
        seq,
        session::{
            LaneState,
            MAX_LANES, //
        },
        wire::{
            cm::{
                Cm,
                Header,
                Moved, //
            },
            NO_PATH, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        clock,
        route, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
};

/// Shortest time between two looks at the addresses that nobody has asked for, milliseconds.
const LOOK_MS: u32 = 100;

/// Shortest time between two looks at all sessions because routes have changed, milliseconds.
const ROUTES_MS: u32 = 500;
/// The same after an address or a device has come, whose routes follow, and for how long.
const SETTLE_PACE_MS: u32 = 40;
const SETTLE_MS: u32 = 1_000;

impl Instance {
    /// A device or an address has changed. Any context.
    pub fn network_changed(&self) {
        self.changed.write_once(true);
        self.kick(0);
    }

    /// Whether something has changed since the last call, be it a route only.
    pub fn has_changed(&self) -> bool {
        // Some changes are told by nobody, such as an address that becomes deprecated.
        let now = clock::now_ms();
        let look = seq::age_ms(now, self.looked_ms.read_once()) >= LOOK_MS;
        if look {
            self.looked_ms.write_once(now);
        }
        let told = self.changed.xchg(false, Relaxed) || look && self.addrs_differ();
        // Routes alone may change all the time, and all sessions are looked at then.
        if told {
            self.told_ms.write_once(now);
        }
        let pace = match self.settles_in() {
            Some(_) => SETTLE_PACE_MS,
            None => ROUTES_MS,
        };
        let generation = route::generation(self.net);
        let routes = generation != self.generation.read_once()
            && seq::age_ms(now, self.followed_ms.read_once()) >= pace;
        if told || routes {
            self.generation.write_once(generation);
            self.followed_ms.write_once(now);
        }
        told || routes
    }

    /// When to look again because an address or a device has changed lately, milliseconds: nobody
    /// tells of routes.
    pub fn settles_in(&self) -> Option<u32> {
        let since = seq::age_ms(clock::now_ms(), self.told_ms.read_once());
        (since < SETTLE_MS).then_some(SETTLE_PACE_MS)
    }

    /// Takes in what has changed. Process context.
    pub fn follow_changes(&self) {
        self.find_interfaces();
        let moved = self.refresh_addrs();
        self.assign_roles();
        let mut failed = KVec::new();
        let mut returned = KVec::new();
        for peer in self.collect_peers().iter() {
            let mut changed = moved;
            for id in 0..MAX_PATHS {
                let Some(path) = peer.path_by_id(id) else {
                    continue;
                };
                let down =
                    path.is_shut() || !route::is_alive(self.net, path.ifindex(), &path.local);
                if !path.set_down(down) {
                    continue;
                }
                changed = true;
                let list = if down { &mut failed } else { &mut returned };
                if list.push((peer.clone(), path), GFP_KERNEL).is_err() {
                    self.count(Counter::NoMemory);
                }
            }
            if changed {
                peer.want_announcement();
            }
        }
        for (peer, path) in failed.iter() {
            self.path_down(peer, path);
        }
        self.announcing.write_once(true);
        self.announce_moves();
        for (peer, path) in returned.iter() {
            self.path_up(peer, path);
        }
        self.each_session(|session| {
            session.inner.lock().explored_ms = 0;
            self.lend_route(session);
            self.attend(session);
        });
    }

    /// Looks for lanes with the addresses that a peer has told of.
    pub fn follow(&self, peer: &Arc<Peer>) {
        peer.has_moved.write_once(false);
        self.each_session(|session| {
            if Arc::ptr_eq(&session.peer, peer) {
                session.inner.lock().explored_ms = 0;
                self.attend(session);
            }
        });
    }

    /// Tells peers of changed addresses; returns when to do so again, milliseconds.
    pub fn announce_moves(&self) -> u32 {
        let mut next = u32::MAX;
        if !self.announcing.read_once() {
            return next;
        }
        for peer in self.collect_peers().iter() {
            match peer.next_announcement() {
                Ok(number) => {
                    self.announce_to(peer, number);
                    next = 1;
                }
                Err(Some(ms)) => next = next.min(ms),
                Err(None) => {}
            }
        }
        if next == u32::MAX {
            self.announcing.write_once(false);
        }
        next
    }

    fn announce_to(&self, peer: &Arc<Peer>, number: u32) {
        let mut down = 0u64;
        for id in 0..MAX_PATHS {
            let is_down = peer.path_by_id(id).is_some_and(|p| p.is_down_here());
            down |= u64::from(is_down) << id;
        }
        let mut first = Some(number);
        self.each_way_to(peer, |session, way| {
            // One that is only not to be used can tell of that.
            if way.path.is_down() && !way.path.is_disabled() {
                return;
            }
            let header = Header {
                node: self.identity.node,
                session: 0,
                number: first.take().unwrap_or_else(|| peer.next_number()),
            };
            self.with_block(None, NO_PATH, None, |block| {
                let moved = Moved {
                    header,
                    down,
                    block,
                };
                self.send_cm(&way.target(session), peer, &Cm::Addr(moved));
            });
        });
    }

    /// An end of a path has gone. Process context.
    pub fn path_down(&self, peer: &Arc<Peer>, path: &Arc<Path>) {
        self.count(Counter::PathDown);
        let reason = if path.is_excluded() {
            Reason::Excluded
        } else if path.is_disabled() {
            Reason::Disabled
        } else if path.is_down_here() {
            Reason::LocalGone
        } else {
            Reason::RemoteGone
        };
        self.tell_path_down(peer, path, reason);
        {
            let mut state = path.state.lock();
            state.fail(clock::now_us(), false);
            path.publish(&state);
        }
        self.path_failed(peer, path);
    }

    /// Both ends of a path are there again: it has to answer before it is used. Process context.
    pub fn path_up(&self, peer: &Arc<Peer>, path: &Arc<Path>) {
        if path.is_down() {
            return;
        }
        {
            // A late answer to what was asked before may have made it good while it was down: then
            // nothing that comes now would be a return.
            let mut state = path.state.lock();
            state.fail(clock::now_us(), false);
            path.publish(&state);
        }
        let mut asked = false;
        self.each_session(|session| {
            if !Arc::ptr_eq(&session.peer, peer) {
                return;
            }
            if session.inner.lock().s.revive(path, clock::now_us()) {
                self.attend(session);
            }
            if asked || !session.is_multi() {
                return;
            }
            for index in 0..MAX_LANES {
                let tuple = {
                    let inner = session.inner.lock();
                    match inner.s.lane(index) {
                        Some(l) if l.state == LaneState::Active && Arc::ptr_eq(&l.path, path) => {
                            l.tuple()
                        }
                        _ => continue,
                    }
                };
                self.ask(session, path, &tuple, index == 0);
                asked = true;
                return;
            }
        });
    }
}
