// SPDX-License-Identifier: GPL-2.0

//! What nobody uses any more is forgotten.

use crate::{
    net::{
        event::Reason,
        instance::Instance,
        order::STORAGE_LIFE_MS,
        session::Session, //
    },
    proto::{
        counters::Counter,
        packet,
        params::Param, //
    },
    sys::{
        atomic::MarkedAccess,
        clock,
        socket::{
            self,
            Owner, //
        }, //
    },
};
use core::ops::ControlFlow;
use kernel::sync::rcu;

/// A peer without sessions is forgotten after this time, milliseconds.
const PEER_LIFE_MS: u64 = 60_000;
/// Buckets of sessions that are looked at in one go.
const SLICE: usize = 1024;
/// How long a row of the availability table is kept that was never asked, milliseconds.
const UNUSED_MS: u32 = 10_000;

impl Instance {
    /// Once a second: addresses, and what has expired. With many sessions it has to be called
    /// several times, until it returns false.
    pub fn tick(&self) -> bool {
        let from = self.session_scan.read_once();
        let to = from.saturating_add(SLICE);
        let more = to < self.sessions.buckets();
        self.session_scan.write_once(if more { to } else { 0 });
        self.expire_sessions(from, to);
        if !more {
            for peer in self.collect_peers().iter() {
                if peer.has_moved.read_once() {
                    self.follow(peer);
                }
            }
            self.expire_riders();
            self.expire_peers();
            self.expire_destinations();
        }
        more
    }

    /// Forgets what has expired in some buckets of the table of sessions.
    fn expire_sessions(&self, from: usize, to: usize) {
        let tcp_ms = (self.param(Param::SessionTimeoutTcp) as u32).saturating_mul(1000);
        let udp_ms = (self.param(Param::SessionTimeoutUdp) as u32).saturating_mul(1000);
        let close_ms = (self.param(Param::CloseTimeout) as u32).saturating_mul(1000);
        let least_ms = tcp_ms.min(udp_ms).min(close_ms).min(STORAGE_LIFE_MS);

        for bucket in from..to.min(self.sessions.buckets()) {
            loop {
                let mut expired = None;
                {
                    let rcu = rcu::read_lock();
                    let _ = self.sessions.for_bucket(&rcu, bucket, |session| {
                        let idle = session.idle_ms();
                        // With many sessions in use it pays to look at no more of each than this.
                        if idle < least_ms {
                            return ControlFlow::Continue(());
                        }
                        let limit = if session.is_closing() {
                            close_ms
                        } else if session.proto() == packet::TCP {
                            tcp_ms
                        } else {
                            udp_ms
                        };
                        if idle >= limit && self.goes_on(session) {
                            session.set_going_on();
                        } else if idle >= limit {
                            expired = Some(session.clone());
                            return ControlFlow::Break(());
                        }
                        session.save_memory();
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
    }

    /// Whether the session of a connection is needed as long as that is there. One end may go on
    /// sending for long after the other's FIN, and a FIN or RST may be somebody's guess. And what
    /// has lost its own path gets nowhere without its session, which nothing could open again.
    fn goes_on(&self, session: &Session) -> bool {
        let moved = || {
            let inner = session.inner.lock();
            inner.s.lane(0).is_some_and(|lane| lane.path.is_down())
        };
        session.proto() == packet::TCP
            && (session.is_closing() || moved())
            && matches!(
                socket::tcp_owner(self.net, &session.tuple(), 0),
                Owner::Stream { .. }
            )
    }

    fn expire_peers(&self) {
        let now = clock::now_us64() / 1000;
        for peer in self.collect_peers().iter() {
            if peer.is_long_gone() {
                self.forget_peer(peer, Reason::Goodbye);
            } else if peer.sessions.read_once() == 0
                && now.saturating_sub(peer.heard_ms()) >= PEER_LIFE_MS
            {
                self.forget_peer(peer, Reason::Idle);
            } else {
                peer.age(clock::now_us());
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
        let from = self.scan.read_once();
        let to = from.saturating_add(slice);
        self.scan.write_once(to.checked_rem(buckets).unwrap_or(0));
        for bucket in from..to.min(buckets) {
            let mut expired = [None; 16];
            let mut n = 0usize;
            {
                let rcu = rcu::read_lock();
                let _ = self.avail.for_bucket::<()>(&rcu, bucket, |(dest, entry)| {
                    let mut state = entry.state.lock();
                    state.silent(now, &policy);
                    // A row that was only looked up is not worth keeping.
                    let limit = if state.is_unused() { UNUSED_MS } else { limit };
                    if state.idle_ms(now) >= limit {
                        if let Some(slot) = expired.get_mut(n) {
                            *slot = Some(*dest);
                            n = n.saturating_add(1);
                        }
                    }
                    ControlFlow::Continue(())
                });
            }
            for dest in expired.into_iter().flatten() {
                self.avail.remove(&dest);
            }
        }
    }
}
