// SPDX-License-Identifier: GPL-2.0

//! Lanes that come up, and that are refused: LANE, LANE_ACK and LANE_CONFIRM.

use crate::{
    net::{
        emit::Target,
        event::Reason,
        instance::Instance,
        path::Path,
        rows::WireEntry,
        session::Session, //
    },
    proto::{
        addr::{
            Endpoint,
            Tuple, //
        },
        counters::Counter,
        path::Standing,
        session::{
            LaneState,
            PathInfo,
            MAX_LANES, //
        },
        wire::cm::{
            self,
            Cm,
            Kind, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        clock, //
    },
};
use kernel::sync::Arc;

impl Session {
    /// A lane was refused by the other end or on the way, as `counter` counts.
    pub fn refuse_lane(self: &Arc<Session>, instance: &Instance, lane: u8, counter: Counter) {
        let now = clock::now_us();
        let lane = usize::from(lane);
        let refused = {
            let mut inner = self.inner.lock();
            let fresh = inner.s.refuse(lane, now);
            let lane = inner.s.lane(lane).filter(|_| fresh);
            lane.map(|l| (l.path.clone(), l.state == LaneState::Gone))
        };
        if let Some((path, gone)) = refused {
            let reason = match counter {
                Counter::LaneRefusedRst => Reason::Reset,
                _ => Reason::Unreachable,
            };
            instance.count(counter);
            // There may be another way.
            if gone {
                instance.tell_path_down(&self.peer, &path, reason);
            }
            // What was in flight there is lost.
            self.wants_resend(lane);
            instance.attend(self);
        }
    }

    /// Somebody, it may be anybody, says that a lane is not wanted: one that is up is asked for
    /// once more.
    pub fn doubt_lane(self: &Arc<Session>, instance: &Instance, lane: u8) {
        let (random, now) = (clock::random_u64(), clock::now_us());
        let index = usize::from(lane);
        let renewed = {
            let mut inner = self.inner.lock();
            let up = inner.s.active_mask().checked_shr(lane.into()).unwrap_or(0) & 1 == 1;
            up.then(|| inner.s.renew(index, true, random, now))
        };
        match renewed {
            None => self.refuse_lane(instance, lane, Counter::LaneRefusedIcmp),
            Some(renewed) => {
                instance.count(Counter::PathDoubted);
                if renewed {
                    // What was in flight there may be lost.
                    self.wants_resend(index);
                    instance.attend(self);
                }
            }
        }
    }
}

impl Instance {
    /// The peer asks for a lane, on its tuple.
    pub(super) fn lane_came(&self, entry: &WireEntry, m: &cm::Lane) {
        let session = &entry.session;
        let lane = usize::from(entry.lane);
        entry.path.bind(m);
        let (challenge, now) = (clock::random_u64(), clock::now_us());
        let mut inner = session.inner.lock();
        let fresh = inner.s.on_lane(lane, m.challenge, challenge, now);
        drop(inner);
        if fresh {
            self.attend(session);
        }
    }

    /// The peer answers a lane that this end has asked for.
    pub(super) fn lane_ack_came(&self, entry: &WireEntry, tuple: &Tuple, m: &cm::Lane) {
        let session = &entry.session;
        let lane = usize::from(entry.lane);
        entry.path.bind(m);
        entry.path.saw_translation(tuple, m.observed);
        let accepted = {
            let mut inner = session.inner.lock();
            inner.s.on_lane_ack(lane, m.challenge, m.echo)
        };
        if accepted {
            self.lane_is_up(entry);
            let (kind, observed) = (Kind::LaneConfirm, Some(tuple.remote));
            self.send_lane(session, entry, tuple, kind, 0, m.challenge, observed);
            // Measure it before data relies on it.
            self.ask(session, &entry.path, tuple, false);
        }
    }

    /// What was sent on a lane gets to the peer, which has asked for it.
    pub(super) fn lane_confirm_came(&self, entry: &WireEntry, tuple: &Tuple, m: &cm::Lane) {
        let session = &entry.session;
        let lane = usize::from(entry.lane);
        let now = clock::now_us();
        let accepted = {
            let mut inner = session.inner.lock();
            let accepted = inner.s.on_lane_confirm(lane, m.echo);
            if accepted {
                // Its other end has given up the tuple that it used for this path before.
                for i in (1..MAX_LANES).filter(|i| *i != lane) {
                    let same = inner.s.lane(i).is_some_and(|l| {
                        l.state == LaneState::Active
                            && !l.is_initiator()
                            && Arc::ptr_eq(&l.path, &entry.path)
                    });
                    if same && inner.s.refuse(i, now) {
                        // What was in flight there does not arrive.
                        inner.lost |= 1 << i;
                    }
                }
            }
            accepted
        };
        if accepted {
            if session.inner.lock().lost != 0 {
                self.attend(session);
            }
            self.lane_is_up(entry);
            self.ask(session, &entry.path, tuple, false);
        }
    }

    fn lane_is_up(&self, entry: &WireEntry) {
        if entry.session.is_over() || entry.session.peer.has_left() {
            return;
        }
        let first = entry.set_up();
        entry.path.confirm();
        entry.path.set_via(entry.session.proto(), entry.via);
        let suspect = first && entry.path.standing() == Standing::Suspect;
        if suspect && entry.session.inner.lock().s.is_replaced() {
            entry.path.set_strict();
        }
        self.tell_path_up(&entry.session.peer, &entry.path);
        entry.session.set_multi(true);
        entry.session.expect_more();
        if first {
            self.count(Counter::LaneOpened);
        }
        if entry.session.replaces_own(&entry.path) {
            entry.path.forgive();
        }
        self.end_outage(entry);
        // There is a choice from now on: the session's own path has to be measured, too.
        let session = &entry.session;
        let own = session.inner.lock().s.lane(0).map(|l| l.path.clone());
        self.replace_original(session);
        if let Some(own) = own.filter(|path| path.base_us().is_none()) {
            self.ask(session, &own, &session.tuple(), true);
        }
    }

    /// A lane is up: what was in flight on those that do not work leaves on it. After an outage
    /// nobody else would send anything before TCP's timer expires, which grows with the outage.
    fn end_outage(&self, entry: &WireEntry) {
        let session = &entry.session;
        let stranded = {
            let mut inner = session.inner.lock();
            let stranded = inner.s.unusable();
            inner.lost |= stranded;
            stranded != 0
        };
        if !stranded {
            return;
        }
        if entry.path.is_usable() {
            session.wants_wake();
            if session.peer.announce_again() {
                self.announcing.write_once(true);
            }
        }
        self.attend(session);
    }

    /// Sends a message of the lane exchange.
    #[expect(clippy::too_many_arguments)]
    pub fn send_lane(
        &self,
        session: &Session,
        entry: &WireEntry,
        tuple: &Tuple,
        kind: Kind,
        challenge: u64,
        echo: u64,
        observed: Option<Endpoint>,
    ) {
        self.send_lane_on(session, &entry.path, tuple, kind, challenge, echo, observed);
    }

    /// As [`Instance::send_lane`], for those who have no table entry at hand.
    #[expect(clippy::too_many_arguments)]
    pub fn send_lane_on(
        &self,
        session: &Session,
        path: &Arc<Path>,
        tuple: &Tuple,
        kind: Kind,
        challenge: u64,
        echo: u64,
        observed: Option<Endpoint>,
    ) {
        let lane = cm::Lane {
            header: self.header(&session.peer, session.id),
            path: path.id,
            flags: if path.is_reserve_here() {
                cm::LANE_RESERVE
            } else {
                0
            },
            challenge,
            echo,
            observed,
        };
        let cm = match kind {
            Kind::Lane => Cm::Lane(lane),
            Kind::LaneAck => Cm::LaneAck(lane),
            _ => Cm::LaneConfirm(lane),
        };
        self.send_cm(
            &Target::lane(session, path, tuple, false),
            &session.peer,
            &cm,
        );
    }
}
