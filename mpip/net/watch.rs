// SPDX-License-Identifier: GPL-2.0

//! Open questions: somebody has to notice that no answer comes, although no
//! packet is sent any more, and to ask again.
//!
//! A path on which much was sent since it was asked last is asked, too.
//!
//! A path is on the list while questions are asked or answered on it, until
//! the last answer, and while it is suspect. The worker goes through the list every [`WATCH_MS`].

use crate::{
    net::{
        event::{
            Event,
            Reason, //
        },
        instance::Instance,
        path::Path,
        peer::Peer,
        session::{
            Inner,
            Lane,
            Session,
            QUIET_MS, //
        },
        tx::cm_interval, //
    },
    proto::{
        addr::Tuple,
        counters::Counter,
        packet,
        path::Standing,
        seq,
        session::{
            LaneState,
            PathInfo,
            MAX_LANES, //
        },
        wrap::Via, //
    },
    sys::{
        atomic::MarkedAccess,
        clock,
        route::{
            self,
            Dst, //
        },
        socket, //
    },
};
use kernel::{
    alloc::flags::GFP_ATOMIC,
    prelude::*,
    sync::Arc, //
};

/// Interval of the look at open questions, milliseconds.
pub const WATCH_MS: u32 = 20;
/// A session without packets for so long waits for nothing, milliseconds.
const LIVELY_MS: u32 = 1_000;
/// A suspect path is not probed for sessions without packets for so long, milliseconds.
const FORGET_MS: u32 = 300_000;

/// A path with an open question, and how to ask again.
pub struct Watched {
    session: Arc<Session>,
    path: Arc<Path>,
    tuple: Tuple,
    original: bool,
    since_ms: u32,
}

/// After so long without an answer the boxes on the way may be to blame, microseconds.
const FORGOTTEN_US: u32 = 300_000;

/// Whether boxes on the way have to know a lane's tuple, which this end has shown to them.
fn is_kept_by_boxes(lane: &Lane) -> bool {
    lane.is_initiator() && (lane.ways.current() != Via::Raw || lane.path.is_translated())
}

/// Questions that are closer count as one where those without an answer are counted, microseconds.
const OFTEN_US: u32 = 20_000;

impl Inner {
    /// A question is about to leave on the session's own tuple: the tuple that it takes instead if
    /// there is a lane on the same path, and whether so many got no answer there that the tuple may
    /// be why, though its path works. `under_way` questions may just not be answered yet; `None` if
    /// this one does not count.
    fn ask_on_original(
        &mut self,
        path: &Arc<Path>,
        under_way: Option<u32>,
    ) -> (Option<Tuple>, bool) {
        const MANY: u32 = 16;
        // Where there is a box it is hardly chance. All of a path may stall for some of them.
        const ENOUGH: u32 = 8;
        let added = self.s.added_on(path);
        let Some(under_way) = under_way else {
            return (added, false);
        };
        if added.is_some() || path.standing() < Standing::Doubtful {
            return (added, false);
        }
        self.unanswered = self.unanswered.saturating_add(1);
        let most = if path.is_translated() { ENOUGH } else { MANY };
        let most = most.saturating_add(under_way).min(u8::MAX.into());
        (None, u32::from(self.unanswered) >= most && !self.doubted)
    }
}

/// A suspect path is probed by one session for so long, then by another, milliseconds: it may be
/// that session's tuple alone that does not get through.
const TURN_MS: u32 = 1_000;

impl Instance {
    /// Asks for a report on a path, and sees to it that silence is noticed. Any context, no lock
    /// held.
    pub fn ask(&self, session: &Arc<Session>, path: &Arc<Path>, tuple: &Tuple, original: bool) {
        self.ask_before(session, path, tuple, original, 0);
    }

    /// As [`Instance::ask`], just before a packet of `behind` bytes leaves there.
    pub fn ask_before(
        &self,
        session: &Arc<Session>,
        path: &Arc<Path>,
        tuple: &Tuple,
        original: bool,
        behind: u32,
    ) {
        let now = clock::now_us();
        // Of what is asked behind bursts many may be lost at once.
        let counts = path.asked_ago(now) >= cm_interval(self).min(OFTEN_US);
        path.asked(now, behind);
        // What is asked on a session's own tuple does not get through everywhere.
        let (added, unheard) = if original {
            let apart = cm_interval(self).max(1000);
            let under_way = path.answer_us().unwrap_or(0).div_ceil(apart);
            let mut inner = session.inner.lock();
            inner.ask_on_original(path, counts.then_some(under_way))
        } else {
            (None, false)
        };
        if unheard {
            self.doubt_original(session);
        }
        let (tuple, original) = (added.as_ref().unwrap_or(tuple), original && added.is_none());
        if path.standing() < Standing::Good {
            self.solicit(path, tuple, original);
        }
        self.send_report(session, path, tuple, original, None, behind);
        // After the question: who takes the path off the list looks whether one is open.
        self.watch(session, path, tuple, original);
    }

    /// A path that has failed is asked: it may just have got its carrier back, and the first
    /// question for the next hop's link address been lost. The kernel repeats that after a second.
    fn solicit(&self, path: &Path, tuple: &Tuple, original: bool) {
        const PACE_US: u32 = 50_000;
        if !path.may_solicit(clock::now_us(), PACE_US) {
            return;
        }
        let ifindex = if original { 0 } else { path.ifindex() };
        if let Some(route) = Dst::lookup(self.net, ifindex, tuple) {
            route.solicit(&path.remote);
        }
    }

    /// Has the worker look at a path that is in use. Any context.
    pub fn watch(&self, session: &Arc<Session>, path: &Arc<Path>, tuple: &Tuple, original: bool) {
        if !path.watch() {
            return;
        }
        let watched = Watched {
            session: session.clone(),
            path: path.clone(),
            tuple: *tuple,
            original,
            since_ms: clock::now_ms(),
        };
        if self.watched.lock().push(watched, GFP_ATOMIC).is_err() {
            path.unwatch();
            self.count(Counter::NoMemory);
        }
        self.kick(WATCH_MS);
    }

    /// Looks at the paths with open questions; true if there still are some. Process context.
    pub fn watch_paths(&self) -> bool {
        let mut list = KVec::new();
        core::mem::swap(&mut *self.watched.lock(), &mut list);
        let mut open = false;
        for mut watched in list.drain_all() {
            let turn = seq::age_ms(clock::now_ms(), watched.since_ms);
            if turn >= TURN_MS && !watched.path.is_usable() {
                self.take_turns(&mut watched);
            }
            if self.watch_one(&watched) {
                open = true;
                let path = watched.path.clone();
                if self.watched.lock().push(watched, GFP_ATOMIC).is_err() {
                    path.unwatch();
                    self.count(Counter::NoMemory);
                }
            }
        }
        open
    }

    /// Has another session probe a path, if there is one that uses it.
    fn take_turns(&self, watched: &mut Watched) {
        watched.since_ms = clock::now_ms();
        let peer = watched.session.peer.clone();
        let path = watched.path.clone();
        let mut candidates = KVec::new();
        self.each_session_on(&peer, &path, |session, lanes| {
            let lane = (0..MAX_LANES).rev().find(|i| lanes & (1 << i) != 0);
            let tuple = lane.and_then(|i| {
                let inner = session.inner.lock();
                let lane = inner.s.lane(i).filter(|l| l.state == LaneState::Active);
                lane.map(|l| (session.clone(), l.tuple(), i == 0))
            });
            if let Some(way) = tuple.filter(|_| candidates.len() < 16 && !session.is_closing()) {
                // Without memory it stays with this session.
                let _ = candidates.push(way, GFP_ATOMIC);
            }
        });
        let n = (clock::random_u64() as usize).checked_rem(candidates.len());
        if let Some((session, tuple, original)) = n.and_then(|n| candidates.get(n)) {
            watched.session = session.clone();
            watched.tuple = *tuple;
            watched.original = *original;
        }
    }

    /// Looks at one path; false if it need not be looked at again.
    fn watch_one(&self, watched: &Watched) -> bool {
        let path = &watched.path;
        let session = &watched.session;
        let now = clock::now_us();
        // Another session's question puts it on the list again if this one has ended.
        let usable = {
            let inner = session.inner.lock();
            let lane = inner.s.find(&watched.tuple).and_then(|i| inner.s.lane(i));
            let ours =
                lane.is_some_and(|l| l.state == LaneState::Active && Arc::ptr_eq(&l.path, path));
            !inner.dead && ours && session.is_multi() && session.idle_ms() < FORGET_MS
        };
        let (failed, doubted, again) = {
            let mut state = path.state.lock();
            let relied_on = state.standing() > Standing::Doubtful;
            let failed = state.check(now);
            let doubted = relied_on && state.standing() == Standing::Doubtful;
            path.publish(&state);
            if !usable || path.is_down() || !(state.is_waiting() || path.is_busy(now)) {
                path.unwatch();
                (failed, doubted, None)
            } else {
                let again = state.ask_again(now) || path.is_unasked(now, cm_interval(self));
                (failed, doubted, Some(again))
            }
        };
        // The kernel may tell of a lost carrier up to a second late.
        if !path.is_down() && !route::is_alive(self.net, path.ifindex(), &path.local) {
            self.follow_changes();
        }
        if failed {
            self.count(Counter::PathSuspect);
            path.set_reason(Some(Reason::Silent));
            self.notify(Event::PathSuspect {
                peer: &session.peer,
                path,
                reason: Reason::Silent,
            });
            self.path_failed(&session.peer, path);
        }
        if doubted {
            self.path_doubted(&session.peer, path);
        }
        match again {
            Some(true) if self.renew_probed(watched, now) => {}
            Some(true) => {
                self.ask(session, path, &watched.tuple, watched.original);
            }
            Some(false) => {}
            None => return false,
        }
        true
    }

    /// A path is to be asked again. If it has been silent for long, a box may have forgotten the
    /// tuple that this end has begun there: then the lane is asked for anew. Process context.
    fn renew_probed(&self, watched: &Watched, now: u32) -> bool {
        let Watched { session, path, .. } = watched;
        let forgotten = path.standing() == Standing::Suspect && path.silent_us(now) >= FORGOTTEN_US;
        // Nobody looks after the lanes of a session that ends.
        if !forgotten || session.is_closing() {
            return false;
        }
        let renewed = {
            let mut inner = session.inner.lock();
            let index = inner.s.find(&watched.tuple);
            index.is_some_and(|i| {
                inner.s.lane(i).is_some_and(is_kept_by_boxes)
                    && inner.s.renew(i, false, clock::random_u64(), now)
            })
        };
        if renewed {
            self.attend(session);
        }
        renewed
    }

    /// An answer is overdue on a path. Sessions that use one path at a time have moved to another
    /// one, if there is one that answers, on which nothing is in the way: what is in flight need
    /// not wait for certainty. Else the doubtful one would carry it twice, perhaps only because of
    /// a queue, such as what came from a path that has failed makes there. Process context.
    fn path_doubted(&self, peer: &Arc<Peer>, path: &Arc<Path>) {
        if !self.shared.rules.know_single() {
            return;
        }
        self.each_session_on(peer, path, |session, lanes| {
            let has_moved = {
                let inner = session.inner.lock();
                inner.s.best_standing() > Standing::Doubtful
            };
            if has_moved && session.is_single() && self.resend(session, lanes) {
                self.attend(session);
            }
        });
    }

    /// A path does not work any more: what is in flight on it leaves on others. Process context.
    pub fn path_failed(&self, peer: &Arc<Peer>, path: &Arc<Path>) {
        self.each_session_on(peer, path, |session, lanes| {
            if self.resend(session, lanes) {
                self.attend(session);
            }
            if session.proto() == packet::TCP && session.idle_ms() < LIVELY_MS {
                // Acknowledgments were in flight there, too, and are not kept.
                socket::acknowledge(self.net, &session.tuple());
            }
            if !session.has_outstanding(Some(self.sent_by_tcp(session))) {
                // Nothing was kept while there was one lane only, or it was refused: TCP has to
                // send it.
                socket::wake(self.net, &session.tuple());
            }
            if lanes & 1 != 0 {
                // It may be the session's own tuple alone that does not get through.
                session.inner.lock().explored_ms = 0;
                self.attend(session);
            }
        });
    }

    /// A path works again: who has waited for that need not wait for its timers. Process context.
    pub fn path_returned(&self, peer: &Arc<Peer>, path: &Arc<Path>) {
        self.tell_path_return(peer, path);
        if peer.announce_again() {
            self.announcing.write_once(true);
            self.kick(0);
        }
        self.each_session_on(peer, path, |session, lanes| {
            let (dead, mut revived) = {
                let mut inner = session.inner.lock();
                (inner.s.unusable(), inner.s.revive(path, clock::now_us()))
            };
            // Another session's tuple got through; boxes may have forgotten this one's.
            for i in (1..MAX_LANES).filter(|i| lanes & (1 << i) != 0) {
                let (random, now) = (clock::random_u64(), clock::now_us());
                let mut inner = session.inner.lock();
                // A box that knows a connection still may not let another begin in its middle.
                let kept = |l: &Lane| is_kept_by_boxes(l) && l.ways.current() != Via::Tcp;
                revived |= session.idle_ms() < QUIET_MS
                    && !session.is_closing()
                    && inner.s.lane(i).is_some_and(kept)
                    && inner.s.renew(i, false, random, now);
            }
            session.expect_more();
            if self.resend(session, dead) || revived {
                self.attend(session);
            }
            self.replace_original(session);
            if session.proto() == packet::TCP && session.idle_ms() < LIVELY_MS {
                // The other end may have been quicker to see that it works, and the answer to what
                // it sent gone where nothing works yet.
                socket::acknowledge(self.net, &session.tuple());
            }
            socket::wake(self.net, &session.tuple());
        });
    }
}
