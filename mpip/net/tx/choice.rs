// SPDX-License-Identifier: GPL-2.0

//! What is decided of a packet that leaves, while its session is locked: the lane, the lanes for
//! copies, and what TCP's window is to become.

use super::{
    cm_interval,
    rewrite,
    room::{
        fits_into,
        is_gone,
        is_whole,
        original_has_room,
        room, //
    },
    Data,
    Leaving, //
};
use crate::{
    net::{
        path::Path,
        resend::timestamp_of,
        session::{
            Inner,
            Session, //
        },
        Verdict, //
    },
    proto::{
        addr::Tuple,
        counters::Counter,
        packet::Packet,
        path::Standing,
        seq,
        session::{
            Class,
            PathInfo,
            State, //
        },
        wire::cm::Place, //
    },
    sys::{
        route::Dst,
        skb::Skb, //
    },
};
use core::cell::Cell;
use kernel::sync::Arc;

/// What was decided.
pub(super) struct Choice {
    /// Index of the lane.
    pub(super) lane: usize,
    /// Its path.
    pub(super) path: Arc<Path>,
    /// Its tuple.
    pub(super) tuple: Tuple,
    /// How long a packet may be there, bytes.
    pub(super) room: u32,
    /// The packet leaves as it is, with the lane's addresses.
    pub(super) whole: bool,
    /// It has those. False if there was no memory for that.
    pub(super) rewritten: bool,
    /// The lanes that take copies, one bit each.
    pub(super) copies: u32,
    /// Its place among the session's datagrams.
    pub(super) place: Option<Place>,
    /// What becomes of TCP's window.
    pub(super) window: Window,
    /// A lane that nothing is sent on, of which something is to be known: index, path and tuple.
    pub(super) forgotten: Option<(usize, Arc<Path>, Tuple)>,
}

/// What is known of data that was sent before.
#[derive(Default)]
struct Repeat {
    /// The lane that it was lost on, as far as that is known, if it was sent before.
    lost: Option<Option<usize>>,
    /// It may not have been lost at all.
    early: bool,
}

/// How TCP's window is to change.
#[derive(Default)]
pub(super) struct Window {
    /// By so many segments, a credit that it had.
    back: u32,
    /// To a part of what it is.
    shrinks: Option<(u32, u32)>,
    /// To so many bytes.
    grows: Option<u32>,
}

impl Window {
    /// Has the packet's TCP do so. No lock held: congestion control may be a program of somebody's
    /// that sends.
    pub(super) fn adjust(&self, session: &Session, skb: &mut Skb<'_>) {
        if self.back != 0 && !skb.take_back_credit(self.back) {
            session.inner.lock().credit.given(self.back);
        }
        if let Some((part, whole)) = self.shrinks {
            skb.shrink_window(part, whole);
        }
        if let Some(bytes) = self.grows {
            skb.grow_window(bytes);
        }
    }
}

impl Leaving<'_> {
    /// Chooses a lane at the time `now`, and puts its addresses on the packet. An error is what
    /// becomes of it if it takes none.
    pub(super) fn decide(&self, skb: &mut Skb<'_>, now: u32) -> Result<Choice, Verdict> {
        let Leaving {
            instance,
            entry,
            packet,
            segments,
            len,
            data,
        } = *self;
        let session = &entry.session;
        let mut dispatch = instance.dispatch();
        let mut inner = session.inner.lock();
        (dispatch.treatment, dispatch.passing) = inner.treat(skb, packet, segments);
        // What its number takes, if it gets one.
        let more = instance.number_room(now, &mut inner, &mut dispatch, skb, packet);
        let (class, repeat) = self.classify(&mut inner, skb, now);
        if inner.s.state != State::Open {
            inner.pass_unnumbered();
            drop(inner);
            instance.count(Counter::TxOriginal);
            session.count_tx(&entry.path, skb);
            return Err(Verdict::Accept);
        }
        // A lane that works is there, and would take it if it were shorter.
        let too_long = Cell::new(false);
        let pick = inner
            .s
            .pick(now, len as u32, class, &dispatch, |index, lane| {
                if index == 0 {
                    return original_has_room(instance, skb, lane, more);
                }
                let Some(room) = room(instance, lane, more) else {
                    return false;
                };
                let fits = fits_into(skb, packet, room);
                if !fits && lane.standing() > Standing::Suspect {
                    too_long.set(true);
                }
                fits
            });
        let longer = pick == 0 && packet.tcp.is_none() && too_long.get();
        if longer && is_gone(skb, &entry.path, now) {
            // As if the route had such an MTU: sent on its own way it would be lost without a word.
            instance.count(Counter::TxTooLong);
            return Err(Verdict::TooLong);
        }
        // Acknowledgments need none, because the next one says the same, unless the rule is for
        // them. Without SACK TCP would count them.
        let wanted = || dispatch.passing && packet.tcp.is_some() && skb.has_sack();
        let mut copies = match data {
            None if more == 0 && !wanted() => 0,
            _ => inner.s.copies(now, 1 << pick, &dispatch.treatment),
        };
        let place = match more {
            0 => None,
            _ => inner.number(&dispatch.treatment, pick, segments, &mut copies),
        };
        let window = match data {
            Some(data) => inner.window(session, skb, now, pick, data, &repeat),
            None => Window::default(),
        };
        let forgotten = inner.s.forgotten(now, cm_interval(instance), pick);
        let forgotten = forgotten
            .and_then(|index| Some((index, inner.s.lane(index)?)))
            .map(|(index, lane)| (index, lane.path.clone(), lane.tuple()));
        let Some(lane) = inner.s.lane_mut(pick) else {
            return Err(Verdict::Accept);
        };
        lane.tx_packets = lane.tx_packets.wrapping_add(u64::from(segments));
        lane.tx_bytes = lane.tx_bytes.wrapping_add(len as u64);
        lane.note_sent(now);
        let path = lane.path.clone();
        let tuple = lane.tuple();
        let original = pick == 0;
        if original && instance.gate.is_forged(skb) {
            return Err(Verdict::Refuse);
        }
        let (mtu, outer) = match &lane.route {
            Some(route) if !original => (route.mtu(), lane.ways.current().overhead()),
            _ => (skb.dst_mtu(), 0),
        };
        let room = mtu.min(path.mtu()).saturating_sub(outer as u32);
        let whole = original || is_whole(skb, lane);
        let rewritten = match &lane.route {
            Some(route) if whole && !original => redirect(skb, packet, &tuple, route),
            _ => true,
        };
        if let (Some(data), true) = (data, rewritten) {
            session.keep(&mut inner, skb, pick, data.start..data.end, now);
        }
        Ok(Choice {
            lane: pick,
            path,
            tuple,
            room,
            whole,
            rewritten,
            copies,
            place,
            window,
            forgotten,
        })
    }

    /// What kind of packet it is to the scheduler.
    fn classify(&self, inner: &mut Inner, skb: &Skb<'_>, now: u32) -> (Class, Repeat) {
        let session = &self.entry.session;
        let Some(data) = self.data else {
            let class = match self.packet.tcp {
                Some(_) => Class::Small,
                None => Class::Datagram,
            };
            return (class, Repeat::default());
        };
        if !data.again {
            let class = Class::Stream(session.in_flight(data.end));
            return (class, Repeat::default());
        }
        inner.repeated = timestamp_of(skb.head(), self.packet).or(inner.repeated);
        let sent = inner.kept.last_sent(data.start);
        let lane = sent.map(|last| usize::from(last.lane));
        // What was overtaken passes for lost: nobody can know yet what became of this one.
        let early = sent.zip(lane).is_some_and(|(last, lane)| {
            let lane = inner.s.lane(lane);
            lane.is_some_and(|l| seq::age(now, last.at) < l.path.base_rtt_us())
        });
        let lost_again = sent.zip(lane).filter(|(last, _)| last.again && !early);
        let class = Class::Again(lost_again.map_or(0, |(_, lane)| 1 << lane));
        let repeat = Repeat {
            lost: Some(lane),
            early,
        };
        (class, repeat)
    }
}

impl Inner {
    /// How TCP's window is to change with a segment that leaves on the lane `pick`.
    fn window(
        &mut self,
        session: &Session,
        skb: &mut Skb<'_>,
        now: u32,
        pick: usize,
        data: Data,
        repeat: &Repeat,
    ) -> Window {
        let una = session.position().una;
        if data.again {
            skb.be_patient(self.s.lag_us(now, pick));
        }
        Window {
            back: self.credit.take_back(una),
            shrinks: self.s.take_shrink(),
            grows: match repeat.early {
                true => None,
                false => self.s.may_grow(now, data.end, una, repeat.lost),
            },
        }
    }
}

/// Puts the lane's addresses and route on a packet.
fn redirect(skb: &mut Skb<'_>, packet: &Packet, tuple: &Tuple, route: &Dst) -> bool {
    let rewritten = rewrite(skb, packet, tuple);
    if rewritten {
        skb.set_dst(route);
    }
    rewritten
}
