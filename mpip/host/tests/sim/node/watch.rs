// SPDX-License-Identifier: GPL-2.0

//! `net/watch.rs`: open questions.

use super::Node;
use super::Path;
use super::Peer;
use super::Session;
use crate::world::Cx;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::params::Param;
use mpip_host::proto::session::LaneState;
use mpip_host::proto::session::PathInfo;
use mpip_host::proto::session::MAX_LANES;
use std::rc::Rc;

/// Interval of the look at open questions, milliseconds.
pub const WATCH_MS: u32 = 20;
const FORGET_MS: u32 = 300_000;

/// A path with an open question, and how to ask again.
pub struct Watched {
    session: Rc<Session>,
    path: Path,
    tuple: Tuple,
    original: bool,
}

impl Node {
    /// Asks for a report on a path, and sees to it that silence is noticed.
    pub(super) fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Rc<Session>,
        path: &Path,
        tuple: &Tuple,
        original: bool,
        behind: u32,
    ) {
        path.asked(self.now_us(cx), behind);
        let added = match original {
            true => session.inner.borrow().s.added_on(path),
            false => None,
        };
        let (tuple, original) = (added.as_ref().unwrap_or(tuple), original && added.is_none());
        self.send_report(cx, session, path, tuple, original, None);
        if path.watched.replace(true) {
            return;
        }
        self.watched.push(Watched {
            session: session.clone(),
            path: path.clone(),
            tuple: *tuple,
            original,
        });
        self.kick(cx, WATCH_MS);
    }

    /// Looks at the paths with open questions; true if there still are some.
    pub(super) fn watch_paths(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut open = false;
        for watched in std::mem::take(&mut self.watched) {
            if self.watch_one(cx, &watched) {
                open = true;
                self.watched.push(watched);
            }
        }
        open
    }

    /// Measures the paths of sessions that are in use.
    pub(super) fn heartbeat(&mut self, cx: &mut Cx<'_>) {
        let interval = self.param(Param::Heartbeat) as u32 * 1000;
        let sessions: Vec<_> = self.sessions.values().cloned().collect();
        for session in sessions {
            let idle = session.idle_ms(self.now_ms(cx));
            if session.is_multi() && !session.closing.get() && idle <= super::QUIET_MS {
                self.beat(cx, &session, interval);
            }
        }
    }

    fn beat(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>, interval: u32) {
        for index in 0..MAX_LANES {
            let (tuple, path) = match session.inner.borrow().s.lane(index) {
                Some(l) if l.state == LaneState::Active => (l.tuple(), l.path.clone()),
                _ => continue,
            };
            if path.maybe_due(self.now_us(cx), interval - interval / 4) {
                self.ask(cx, session, &path, &tuple, index == 0, 0);
            }
        }
    }

    /// Looks at one path; false if it need not be looked at again.
    fn watch_one(&mut self, cx: &mut Cx<'_>, watched: &Watched) -> bool {
        let (path, session) = (&watched.path, &watched.session);
        let now = self.now_us(cx);
        let usable = {
            let inner = session.inner.borrow();
            let lane = inner.s.find(&watched.tuple).and_then(|i| inner.s.lane(i));
            let ours = lane.is_some_and(|l| l.state == LaneState::Active && l.path.is_same(path));
            let idle = session.idle_ms(self.now_ms(cx));
            !inner.dead && ours && session.is_multi() && idle < FORGET_MS
        };
        let (failed, again) = {
            let mut state = path.state.borrow_mut();
            let failed = state.check(now);
            if !usable || !(state.is_waiting() || path.is_busy(now)) {
                path.watched.set(false);
                (failed, None)
            } else {
                let ask_again = state.ask_again(now);
                drop(state);
                let interval = self.param(Param::CmInterval) as u32 * 1000;
                (failed, Some(ask_again || path.is_unasked(now, interval)))
            }
        };
        if failed {
            self.count(Counter::PathSuspect);
            self.events.push((cx.now, path.local, true));
            self.path_failed(cx, &session.peer, path);
        }
        match again {
            Some(true) => self.ask(cx, session, path, &watched.tuple, watched.original, 0),
            Some(false) => {}
            None => return false,
        }
        true
    }

    /// A path does not work any more: what is in flight on it leaves on others.
    fn path_failed(&mut self, cx: &mut Cx<'_>, peer: &Rc<Peer>, path: &Path) {
        for (session, lanes) in self.sessions_on(peer, path) {
            self.resend(cx, &session, lanes);
            if lanes & 1 != 0 {
                session.inner.borrow_mut().explored = false;
                self.attend(cx, &session);
            }
        }
    }

    /// A path works again: who has waited for that need not wait for its timers.
    pub(super) fn path_returned(&mut self, cx: &mut Cx<'_>, peer: &Rc<Peer>, path: &Path) {
        for (session, _) in self.sessions_on(peer, path) {
            session.expect_more();
            cx.woken.push(session.tuple);
        }
    }

    /// The sessions that have a lane on a path, with a bit for each such lane.
    fn sessions_on(&self, peer: &Rc<Peer>, path: &Path) -> Vec<(Rc<Session>, u32)> {
        let sessions = self.sessions.values();
        let sessions = sessions.filter(|s| Rc::ptr_eq(&s.peer, peer) && s.is_multi());
        let with_lanes = sessions.map(|session| {
            let inner = session.inner.borrow();
            let lanes = inner.s.lanes.iter().enumerate();
            let on = lanes.filter_map(|(i, lane)| lane.as_ref().map(|l| (i, l)));
            let on = on.filter(|(_, l)| l.state != LaneState::Pending && l.path.is_same(path));
            (session.clone(), on.map(|(i, _)| 1u32 << i).sum())
        });
        with_lanes.filter(|(_, lanes)| *lanes != 0).collect()
    }
}
