// SPDX-License-Identifier: GPL-2.0

//! What a control message does.
//!
//! Softirq context. Whatever takes long (keys) or sends several packets (lanes)
//! is left to the worker; answers that need no state leave from here.

use crate::{
    net::{
        emit::Target,
        event::Reason,
        instance::Instance,
        peer::{
            Peer,
            MAX_PATHS, //
        },
        rows::{
            Destination,
            WireEntry, //
        },
        session::Session,
        work::{
            Job,
            Wire, //
        }, //
    },
    proto::{
        addr::Tuple,
        counters::Counter,
        packet,
        path::{
            Received,
            Standing, //
        },
        seq,
        wire::cm::{
            self,
            Cm,
            Header,
            Kind,
            Moved,
            MovedAck,
            Raw, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        clock,
        crypto::Algo, //
    },
};
use kernel::sync::{
    atomic::Relaxed,
    rcu,
    Arc, //
};

mod lanes;

/// What `session_message` has made of bytes that looked like a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// They are the user's.
    None,
    /// It was an authentic one, new or repeated: the packet is not the user's.
    Ours,
    /// As above, and the datagram that it is behind has come before.
    Copy,
    /// As above, and the peer's socket has reset the connection, with this sequence number.
    Reset(u32),
}

impl From<bool> for Message {
    fn from(ours: bool) -> Message {
        if ours {
            Message::Ours
        } else {
            Message::None
        }
    }
}

impl Instance {
    /// The peer's socket has reset the connection of a session.
    fn closed(&self, entry: &WireEntry, close: &cm::Close) -> Message {
        let session = &entry.session;
        if close.header.session != session.id || session.proto() != packet::TCP {
            self.count(Counter::CmMalformed);
            return Message::Ours;
        }
        if session.expects(close.seq) {
            session.set_closing();
        }
        Message::Reset(close.seq)
    }

    /// An authentic DATA of the session came.
    pub fn data_came(&self, entry: &WireEntry, data: &cm::Data) {
        let now = clock::now_us();
        let mut state = entry.path.state.lock();
        if state.on_data(now, entry.path.id, data) == Received::Replayed {
            // A copy made by the network: the CM is stale.
            self.count(Counter::CmReplayed);
        } else {
            entry.path.publish(&state);
            entry.session.peer.heard();
        }
    }

    /// What may be a message on a tuple of a session.
    pub fn session_message(&self, entry: &WireEntry, raw: &Raw<'_>, tuple: &Tuple) -> Message {
        let session = &entry.session;
        let peer = &session.peer;
        if matches!(raw.kind(), Kind::Hello | Kind::HelloReply | Kind::Confirm) {
            let rcu = rcu::read_lock();
            return self
                .stranger_raw(tuple, raw, session.position(), true, (&rcu).into())
                .into();
        }
        let node = raw.node().unwrap_or(peer.node);
        if node != peer.node || !raw.verify(&Algo, &peer.keys.rx, peer.node, tuple.proto) {
            if raw.kind() == Kind::Open {
                // Another peer may have come to this tuple.
                let rcu = rcu::read_lock();
                return self
                    .stranger_raw(tuple, raw, session.position(), true, (&rcu).into())
                    .into();
            }
            self.count(Counter::CmBadTag);
            return Message::None;
        }
        let Some(cm) = raw.parse() else {
            self.count(Counter::CmMalformed);
            return Message::None;
        };
        self.count(Counter::CmRx);
        match cm {
            Cm::Report(report) if report.session == session.id => {
                self.report_came(entry, &report, tuple);
                Message::Ours
            }
            Cm::Data(data) if data.session == session.id => {
                self.data_came(entry, &data);
                Message::Ours
            }
            Cm::Number(number)
                if number.session == session.id && session.proto() == packet::UDP =>
            {
                match self.number_came(entry, &number.place) {
                    true => Message::Copy,
                    false => Message::Ours,
                }
            }
            Cm::Report(_) | Cm::Data(_) | Cm::Number(_) => {
                self.count(Counter::CmMalformed);
                Message::Ours
            }
            cm => {
                let Some(header) = header_of(&cm) else {
                    return Message::Ours;
                };
                if !peer.accept(header.number) {
                    self.count(Counter::CmReplayed);
                    return Message::Ours;
                }
                peer.heard();
                if let Cm::Close(close) = cm {
                    return self.closed(entry, &close);
                }
                self.control(entry, tuple, raw, &cm, &header);
                Message::Ours
            }
        }
    }

    /// An authentic report of the session came.
    fn report_came(&self, entry: &WireEntry, report: &cm::Report, tuple: &Tuple) {
        let session = &entry.session;
        let peer = &session.peer;
        let now = clock::now_us();
        let (received, returned, black_hole) = {
            let mut state = entry.path.state.lock();
            let before = state.standing();
            let received = state.on_report(now, entry.path.id, report);
            entry.path.publish(&state);
            entry.path.correct(now, state.take_error());
            // Late answers on a path without one of its ends bring nothing back.
            let returned = before == Standing::Suspect
                && state.standing() > Standing::Suspect
                && !entry.path.is_down();
            (received, returned, state.take_black_hole())
        };
        if black_hole && entry.path.set_black_hole() {
            self.count(Counter::PathBlackHole);
            // The session's own tuple cannot carry smaller packets than the socket makes: the path
            // is to have a lane that can.
            session.inner.lock().explored_ms = 0;
            self.attend(session);
        }
        if returned {
            entry.path.empty_queue();
            self.count(Counter::PathReturned);
            self.submit(Job::Returned {
                peer: peer.clone(),
                path: entry.path.clone(),
            });
        }
        if entry.lane == 0 && received == Received::Taken {
            session.inner.lock().unanswered = 0;
        }
        if entry.lane != 0 && received != Received::Replayed {
            let lane = usize::from(entry.lane);
            if session.inner.lock().s.heard_on(lane) {
                self.attend(session);
            }
        }
        match received {
            Received::Replayed => self.count(Counter::CmReplayed),
            Received::Taken => peer.heard(),
            Received::Answer(echo) => {
                peer.heard();
                let original = entry.lane == 0;
                self.send_report(session, &entry.path, tuple, original, Some(echo), 0);
                entry.path.answered(clock::now_us());
                self.watch(session, &entry.path, tuple, original);
            }
        }
    }

    /// An authentic and new control message on a tuple of a session.
    fn control(
        &self,
        entry: &WireEntry,
        tuple: &Tuple,
        raw: &Raw<'_>,
        cm: &Cm<'_>,
        header: &Header,
    ) {
        let session = &entry.session;
        match cm {
            Cm::Goodbye(_) => return self.goodbye_from(&session.peer, tuple, entry, session),
            Cm::GoodbyeAck(_) => {
                session.peer.goodbye_acked.write_once(true);
                return;
            }
            Cm::Addr(moved) => return self.peer_moved(entry, tuple, moved),
            Cm::AddrAck(ack) => return session.peer.announced(ack.acked),
            Cm::Open(open) => return self.open_came(entry, tuple, raw, open, header),
            _ => {}
        }
        if header.session != session.id {
            self.count(Counter::CmMalformed);
            return;
        }
        let lane = usize::from(entry.lane);
        match cm {
            Cm::Missing(m) if m.refused => session.refused(&m.ranges),
            Cm::Missing(m) => self.repair(session, &m.ranges),
            Cm::OpenAck(open) if lane == 0 => self.open_ack_came(entry, tuple, open, header),
            Cm::Lane(m) if lane != 0 => self.lane_came(entry, m),
            Cm::LaneAck(m) if lane != 0 => self.lane_ack_came(entry, tuple, m),
            Cm::LaneConfirm(m) if lane != 0 => self.lane_confirm_came(entry, tuple, m),
            _ => self.count(Counter::CmMalformed),
        }
    }

    /// The peer opens a session on a tuple that has one.
    fn open_came(
        &self,
        entry: &WireEntry,
        tuple: &Tuple,
        raw: &Raw<'_>,
        open: &cm::Open<'_>,
        header: &Header,
    ) {
        let session = &entry.session;
        if entry.lane != 0 {
            return;
        }
        if header.session != session.id {
            // Both ends have opened: the session that the node with the larger id opened stays.
            if session.initiator && session.peer.node < self.identity.node {
                return;
            }
            // At once, or the next packet opens another session before theirs is sent again.
            session.set_over();
            if let Some(wire) = Wire::new(raw.bytes()) {
                self.submit(Job::Open {
                    tuple: *tuple,
                    position: session.position(),
                    peer: session.peer.clone(),
                    wire,
                });
            }
            // It goes in any case.
            self.attend(session);
            return;
        }
        let family = Some(tuple.local.addr.family());
        session.peer.learn(header.number, family, &open.block);
        self.send_open_ack(session, session.position());
    }

    /// The peer knows the session.
    fn open_ack_came(
        &self,
        entry: &WireEntry,
        tuple: &Tuple,
        open: &cm::Open<'_>,
        header: &Header,
    ) {
        let session = &entry.session;
        entry.path.state.lock().bind(open.block.path);
        let observed = open.block.addrs.observed();
        entry.path.saw_translation(tuple, observed);
        let family = Some(tuple.local.addr.family());
        session.peer.learn(header.number, family, &open.block);
        let opened = {
            let mut inner = session.inner.lock();
            let was = inner.s.state;
            if let Some(rare) = &mut inner.rare {
                rare.confirm = None;
            }
            inner.s.opened();
            was != inner.s.state
        };
        if opened {
            session.set_known();
            self.count(Counter::SessionOpened);
            entry.path.confirm();
            self.tell_peer_up(&session.peer);
            self.tell_path_up(&session.peer, &entry.path);
            self.note_available(
                &Destination {
                    proto: tuple.proto,
                    end: tuple.remote,
                },
                Some(session.peer.node),
            );
            self.attend(session);
        }
    }

    /// The peer's addresses have changed: only the paths concerned go.
    fn peer_moved(&self, entry: &WireEntry, tuple: &Tuple, moved: &Moved<'_>) {
        let session = &entry.session;
        let peer = &session.peer;
        let ack = MovedAck {
            header: self.header(peer, 0),
            acked: moved.header.number,
        };
        self.send_cm(
            &Target::lane(session, &entry.path, tuple, entry.lane == 0),
            peer,
            &Cm::AddrAck(ack),
        );
        if !peer.is_newest_move(moved.header.number) {
            return;
        }
        let more = peer.learn(moved.header.number, None, &moved.block);
        for id in 0..MAX_PATHS {
            let Some(path) = peer.path_by_id(id) else {
                continue;
            };
            let Some(theirs) = path.state.lock().peer_id else {
                continue;
            };
            let gone = moved.down.checked_shr(u32::from(theirs)).unwrap_or(0) & 1 == 1;
            if path.set_gone(gone) {
                let peer = peer.clone();
                self.submit(if gone {
                    Job::Down { peer, path }
                } else {
                    Job::Up { peer, path }
                });
            }
        }
        if more {
            self.follow_peer(peer);
        }
    }

    /// Has lanes looked for with what a peer has told, not more often than is sensible.
    fn follow_peer(&self, peer: &Arc<Peer>) {
        const PACE_MS: u32 = 100;
        let now = clock::now_ms();
        let soon = seq::age_ms(now, peer.followed_ms.read_once()) >= PACE_MS;
        if !peer.has_moved.xchg(true, Relaxed) && soon {
            peer.followed_ms.write_once(now);
            self.submit(Job::Follow { peer: peer.clone() });
        }
        // Otherwise the next tick does it.
    }

    /// The peer leaves: its sessions go back to their original tuples, at once for output and
    /// soon for the tables.
    fn goodbye_from(
        &self,
        peer: &Arc<Peer>,
        tuple: &Tuple,
        entry: &WireEntry,
        session: &Arc<Session>,
    ) {
        peer.leave();
        self.tell_peer_down(peer, Reason::Goodbye);
        let header = self.header(peer, 0);
        self.send_cm(
            &Target::lane(session, &entry.path, tuple, entry.lane == 0),
            peer,
            &Cm::GoodbyeAck(header),
        );
        // What it sent on slower lanes is still under way: the tables follow with the next tick.
    }
}

fn header_of(cm: &Cm<'_>) -> Option<Header> {
    match cm {
        Cm::Hello(m) => Some(m.header),
        Cm::HelloReply(m) => Some(m.header),
        Cm::Confirm(m) => Some(m.header),
        Cm::Open(m) | Cm::OpenAck(m) => Some(m.header),
        Cm::Addr(m) => Some(m.header),
        Cm::AddrAck(m) => Some(m.header),
        Cm::Lane(m) | Cm::LaneAck(m) | Cm::LaneConfirm(m) => Some(m.header),
        Cm::Missing(m) => Some(m.header),
        Cm::Close(m) => Some(m.header),
        Cm::Goodbye(h) | Cm::GoodbyeAck(h) => Some(*h),
        Cm::Data(_) | Cm::Number(_) | Cm::Report(_) => None,
    }
}
