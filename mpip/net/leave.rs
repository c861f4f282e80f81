// SPDX-License-Identifier: GPL-2.0

//! Leaving: the peers are told, then everything is forgotten.

use crate::{
    net::{
        emit::Target,
        event::Reason,
        instance::Instance,
        path::Path,
        peer::Peer,
        session::Session, //
    },
    proto::{
        addr::Tuple,
        counters::Counter,
        session::{
            LaneState,
            MAX_LANES, //
        },
        wire::cm::Cm, //
    },
    sys::{
        atomic::MarkedAccess,
        clock, //
    }, //
};
use core::ops::ControlFlow;
use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
};

/// How long leaving waits for the peers to have heard of it, milliseconds.
const GOODBYE_MS: u32 = 300;
/// How long what is under way to us may take after that, milliseconds.
const DRAIN_MS: u32 = 60;

/// A lane by which a peer may be reached.
pub struct Way {
    tuple: Tuple,
    /// Its path.
    pub path: Arc<Path>,
    original: bool,
}

impl Way {
    /// Where a carrier for it goes.
    pub fn target<'a>(&'a self, session: &'a Session) -> Target<'a> {
        Target::lane(session, &self.path, &self.tuple, self.original)
    }
}

impl Instance {
    /// Tells the peers that this node leaves, and waits a moment for them to have heard it.
    pub fn goodbye(&self) {
        let mut waited = 0;
        let mut rounds = 0u32;
        loop {
            let mut open = 0u32;
            let mut busy = false;
            let rcu_free = self.collect_peers();
            for peer in rcu_free.iter() {
                if peer.sessions.read_once() == 0 {
                    continue;
                }
                busy = true;
                if peer.goodbye_acked.read_once() || peer.has_left() {
                    continue;
                }
                open = open.saturating_add(1);
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
            waited = waited.saturating_add(20);
            rounds = rounds.wrapping_add(1);
        }
        // What they sent before they knew is still under way.
        clock::sleep_ms(DRAIN_MS);
    }

    /// All peers. Process context.
    pub fn collect_peers(&self) -> KVec<Arc<Peer>> {
        let mut peers = KVec::new();
        // A few may come meanwhile.
        if peers
            .reserve(self.peers.len().saturating_add(16), GFP_KERNEL)
            .is_err()
        {
            self.count(Counter::NoMemory);
            return peers;
        }
        let rcu = rcu::read_lock();
        self.peers.for_each(&rcu, |peer| {
            if peers.push_within_capacity(peer.clone()).is_err() {
                self.count(Counter::NoMemory);
            }
        });
        peers
    }

    /// GOODBYE on every usable lane of one session of a peer: any of them will do.
    fn goodbye_to(&self, peer: &Arc<Peer>) {
        self.each_way_to(peer, |session, way| {
            let header = self.header(peer, 0);
            self.send_cm(&way.target(session), peer, &Cm::Goodbye(header));
        });
    }

    /// Calls `f` for the active lanes of one of a peer's sessions. Process context, no lock held.
    pub fn each_way_to(&self, peer: &Arc<Peer>, mut f: impl FnMut(&Session, &Way)) {
        let mut best: Option<Arc<Session>> = None;
        {
            let rcu = rcu::read_lock();
            self.sessions.for_each(&rcu, |session| {
                if !Arc::ptr_eq(&session.peer, peer) {
                    return;
                }
                // One that goes on, with several lanes, of these the one used last.
                let key = |s: &Session| (!s.is_closing(), s.is_multi(), !s.idle_ms());
                if best.as_ref().is_none_or(|b| key(session) > key(b)) {
                    best = Some(session.clone());
                }
            });
        }
        let Some(session) = best else { return };
        for index in 0..MAX_LANES {
            let way = {
                let inner = session.inner.lock();
                match inner.s.lane(index) {
                    Some(lane) if lane.state == LaneState::Active => Way {
                        tuple: lane.tuple(),
                        path: lane.path.clone(),
                        original: index == 0,
                    },
                    _ => continue,
                }
            };
            f(&session, &way);
        }
    }

    /// Forgets everything. Process context, no hook and no work is running any more.
    pub fn clear(&self) {
        while !self.peers.is_empty() {
            let peers = self.collect_peers();
            for peer in peers.iter() {
                self.forget_peer(peer, Reason::Stopped);
            }
            if peers.is_empty() {
                // No memory: the tables let go of what is left.
                break;
            }
        }
        // Sessions of peers that were replaced.
        let mut bucket = 0;
        while bucket < self.sessions.buckets() {
            let mut found = None;
            {
                let rcu = rcu::read_lock();
                let _ = self.sessions.for_bucket(&rcu, bucket, |session| {
                    found = Some(session.clone());
                    ControlFlow::Break(())
                });
            }
            match found {
                Some(session) => self.remove_session(&session),
                None => bucket = bucket.saturating_add(1),
            }
        }
        let mut list = KVec::new();
        core::mem::swap(&mut *self.attention.lock(), &mut list);
        drop(list);
        let waiting = core::mem::take(&mut *self.waiting.lock());
        drop(waiting);
        let mut list = KVec::new();
        core::mem::swap(&mut *self.watched.lock(), &mut list);
        drop(list);
        drop(self.take_jobs());
    }
}
