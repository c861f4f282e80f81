// SPDX-License-Identifier: GPL-2.0

//! Going through all sessions.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        peer::Peer,
        session::Session, //
    },
    proto::{
        counters::Counter,
        session::{
            LaneState,
            MAX_LANES, //
        }, //
    },
    sys::clock,
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

impl Instance {
    /// Calls `f` for every session, beginning anywhere: what is lost on one session's account is
    /// soon done on another's. Process context, no lock held.
    pub fn each_session(&self, mut f: impl FnMut(&Arc<Session>)) {
        let _ = self.each_session_where(
            |_| Some(()),
            |session, ()| {
                f(session);
                ControlFlow::Continue(())
            },
        );
    }

    /// Calls `f` for the sessions that have a lane on a path that was up, with a bit for each such
    /// lane. Process context, no lock held.
    pub fn each_session_on(
        &self,
        peer: &Arc<Peer>,
        path: &Arc<Path>,
        mut f: impl FnMut(&Arc<Session>, u32),
    ) {
        let lanes_on = |session: &Arc<Session>| {
            if !Arc::ptr_eq(&session.peer, peer) || !session.is_multi() {
                return None;
            }
            let inner = session.inner.lock();
            let on = |i: &usize| {
                let lane = inner.s.lane(*i);
                lane.is_some_and(|l| l.state != LaneState::Pending && Arc::ptr_eq(&l.path, path))
            };
            let lanes = (0..MAX_LANES).filter(on).fold(0, |all, i| all | 1 << i);
            (lanes != 0).then_some(lanes)
        };
        let _ = self.each_session_where(lanes_on, |session, lanes| {
            f(session, lanes);
            ControlFlow::Continue(())
        });
    }

    /// Calls `f` for the sessions of which `pick` says something, and with that, until it breaks.
    /// `pick` runs under RCU for every session, of which there may be a hundred thousand; `f` runs
    /// without, and only for those picked. Process context, no lock held.
    pub fn each_session_where<T>(
        &self,
        mut pick: impl FnMut(&Arc<Session>) -> Option<T>,
        mut f: impl FnMut(&Arc<Session>, T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let buckets = self.sessions.buckets();
        let start = (clock::random_u64() as usize)
            .checked_rem(buckets)
            .unwrap_or(0);
        let mut found = KVec::new();
        for bucket in Iterator::chain(start..buckets, 0..start) {
            {
                let rcu = rcu::read_lock();
                let _ = self.sessions.for_bucket::<()>(&rcu, bucket, |session| {
                    if let Some(what) = pick(session) {
                        if found.push((session.clone(), what), GFP_ATOMIC).is_err() {
                            self.count(Counter::NoMemory);
                        }
                    }
                    ControlFlow::Continue(())
                });
            }
            for (session, what) in found.drain_all() {
                f(&session, what)?;
            }
        }
        ControlFlow::Continue(())
    }
}
