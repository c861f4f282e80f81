// SPDX-License-Identifier: GPL-2.0

//! Paths in use that carry nothing are asked now and then, and boxes on the way reminded of lanes.
//!
//! A path has one question for all sessions, but a box that translates or keeps track has to hear
//! of each lane.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        session::{
            Inner,
            Session,
            QUIET_MS, //
        }, //
    },
    proto::{
        bits::bits,
        params::Param,
        seq,
        session::{
            LaneState,
            MAX_LANES, //
        },
        wrap::Via, //
    },
    sys::{
        atomic::MarkedAccess,
        clock, //
    }, //
};
use core::ops::ControlFlow;
use kernel::sync::{
    atomic::Atomic,
    rcu,
    Arc, //
};

/// The echo of a report that answers nothing; without the flag that wants an answer it asks nothing
/// either.
const NO_QUESTION: u32 = 0;
/// A path that is kept in reserve is asked this long after the last time, microseconds.
const SPARING_US: u32 = 10_000_000;
/// If no box was on the way of any lane, it is looked again whether there is one after this time,
/// milliseconds.
const BOXES_MS: u32 = 5_000;

/// The last time that a heartbeat looked at all sessions.
pub struct LastWalk {
    /// When, milliseconds.
    at_ms: Atomic<u32>,
    /// Whether there was a lane of which boxes have to hear.
    boxes: Atomic<bool>,
}

impl LastWalk {
    /// None so far.
    pub fn new(now_ms: u32) -> LastWalk {
        LastWalk {
            at_ms: Atomic::new(now_ms),
            boxes: Atomic::new(true),
        }
    }
}

/// Times of heartbeats, microseconds.
struct Pace {
    /// Between questions on a path of a session that is in use.
    interval: u32,
    /// Between packets on a lane of one that is not; 0 if there need not be any.
    keep: u32,
}

/// What a session needs.
#[derive(Copy, Clone)]
struct Care {
    /// Whether its paths are to be measured.
    measure: bool,
    /// What was done so long ago has to be done again, microseconds.
    old: u32,
}

impl Care {
    fn new(measure: bool, interval: u32) -> Care {
        // What is not quite due now would have to wait for a whole interval more.
        let old = interval.saturating_sub(interval / 4);
        Care { measure, old }
    }
}

impl Pace {
    /// What a session needs, if anything.
    fn care(&self, session: &Session) -> Option<Care> {
        if !session.is_multi() || session.is_over() || session.is_never() {
            None
        } else if session.idle_ms() <= QUIET_MS {
            Some(Care::new(true, self.interval))
        } else if self.keep != 0 && !session.is_closing() {
            Some(Care::new(false, self.keep.max(self.interval)))
        } else {
            None
        }
    }
}

impl Path {
    /// What may be paid for by the byte is only kept known: `interval`, or a longer one,
    /// microseconds.
    fn spare(&self, interval: u32) -> u32 {
        match self.reserve() {
            Some(_) => interval.max(SPARING_US),
            None => interval,
        }
    }

    /// Whether lanes use it, it is there, and was not asked for so long, microseconds.
    pub fn wants_beat(&self, now: u32, old: u32) -> bool {
        // Most have been asked: that has to be seen at once.
        self.maybe_due(now, old)
            && !self.is_down()
            && self.is_used()
            && self.maybe_due(now, self.spare(old))
    }
}

impl Inner {
    /// Whether boxes on the way have to hear of its lanes.
    fn has_boxes(&self) -> bool {
        let mut lanes = self.s.lanes.iter().flatten();
        lanes.any(|l| l.path.is_translated() || l.ways.current() != Via::Raw)
    }

    /// Whether something is due on a lane, and whether that is a question.
    fn due(&self, index: usize, care: Care, has_boxes: bool, now: u32) -> Option<bool> {
        let lane = self.s.lane(index)?;
        if lane.state != LaneState::Active {
            return None;
        }
        if care.measure && lane.path.wants_beat(now, care.old) {
            return Some(true);
        }
        let fades = || {
            let unused = index == 0 && self.s.is_replaced();
            !unused && !lane.path.is_down() && lane.is_silent_for(now, lane.path.spare(care.old))
        };
        (has_boxes && fades()).then_some(false)
    }
}

impl Instance {
    /// Measures the paths of sessions that are in use (section 3.4.4), and keeps those of idle ones
    /// open. Process context.
    pub fn heartbeat(&self) {
        let pace = Pace {
            interval: (self.param(Param::Heartbeat) as u32).saturating_mul(1000),
            keep: (self.param(Param::Keepalive) as u32).saturating_mul(1_000_000),
        };
        let (now, now_ms) = (clock::now_us(), clock::now_ms());
        let last = &self.last_walk;
        // With as many sessions as there may be it pays to know when there is nothing more to do.
        let mut unasked = 0u32;
        {
            let rcu = rcu::read_lock();
            let old = Care::new(true, pace.interval).old;
            self.peers.for_each(&rcu, |peer| {
                unasked = unasked.saturating_add(peer.due_paths(now, old));
            });
        }
        let whole =
            last.boxes.read_once() || seq::age_ms(now_ms, last.at_ms.read_once()) >= BOXES_MS;
        if unasked == 0 && !whole {
            return;
        }
        let mut boxes = false;
        let needs = |session: &Arc<Session>| {
            let care = pace.care(session)?;
            let inner = session.inner.lock();
            let has_boxes = inner.has_boxes();
            boxes |= has_boxes;
            if !care.measure && !has_boxes {
                return None;
            }
            let due = |i: &usize| inner.due(*i, care, has_boxes, now).is_some();
            let lanes = (0..MAX_LANES).filter(due).fold(0, |all, i| all | 1 << i);
            (lanes != 0).then_some((care, lanes))
        };
        let end = self.each_session_where(needs, |session, (care, lanes)| {
            for index in bits(lanes) {
                if self.beat(session, index, care) {
                    unasked = unasked.saturating_sub(1);
                }
            }
            match unasked {
                0 if !whole => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        if boxes || end.is_continue() {
            last.boxes.write_once(boxes);
        }
        if end.is_continue() {
            last.at_ms.write_once(now_ms);
        }
    }

    /// Does what is due on a lane, if it still is: the path may have been asked for another session
    /// meanwhile. True if it was asked now.
    fn beat(&self, session: &Arc<Session>, index: usize, care: Care) -> bool {
        let now = clock::now_us();
        let (tuple, path, question) = {
            let mut inner = session.inner.lock();
            let Some(question) = inner.due(index, care, inner.has_boxes(), now) else {
                return false;
            };
            let Some(lane) = inner.s.lane_mut(index) else {
                return false;
            };
            lane.note_sent(now);
            (lane.tuple(), lane.path.clone(), question)
        };
        let original = index == 0;
        if question {
            self.ask(session, &path, &tuple, original);
        } else {
            self.send_report(session, &path, &tuple, original, Some(NO_QUESTION), 0);
        }
        question
    }
}
