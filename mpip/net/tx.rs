// SPDX-License-Identifier: GPL-2.0

//! POST_ROUTING: what leaves the host. A packet of a session gets a lane.

use crate::{
    net::{
        ask,
        every,
        instance::Instance,
        path::Path,
        resend::timestamp_of,
        rows::WireEntry,
        session::Session,
        Verdict, //
    },
    proto::{
        addr::Tuple,
        counters::Counter,
        packet::{
            self,
            Packet,
            ParseError, //
        },
        params::Param,
        path::Standing,
        seq,
        session::{
            Class,
            Lane,
            PathInfo,
            State, //
        },
        wire::option,
        wrap::Via, //
    },
    sys::{
        clock,
        reading::Reading,
        route::{
            self,
            Dst, //
        },
        skb::{
            Csum,
            Skb, //
        }, //
    },
};
use core::cell::Cell;
use kernel::sync::Arc;

/// Reads the headers of a hook's packet, making them linear.
pub fn parse(skb: &mut Skb<'_>, family: u8) -> Option<Packet> {
    match Packet::parse(skb.head(), skb.len(), family) {
        Ok(packet) => Some(packet),
        Err(ParseError::Need(n)) => parse_pulled(skb, family, n),
        Err(ParseError::Skip) => None,
    }
}

/// As [`parse`], of a packet of which the first `need` bytes have to be made linear. Apart, as
/// hardly any is like that.
#[cold]
fn parse_pulled(skb: &mut Skb<'_>, family: u8, mut need: usize) -> Option<Packet> {
    // One round for the IP header, one for the transport's, one for TCP's options.
    for _ in 0..3 {
        if !skb.pull(need) {
            return None;
        }
        match Packet::parse(skb.head(), skb.len(), family) {
            Ok(packet) => return Some(packet),
            Err(ParseError::Need(n)) => need = n,
            Err(ParseError::Skip) => return None,
        }
    }
    None
}

/// POST_ROUTING of an instance.
pub fn post_routing(
    instance: &Instance,
    skb: &mut Skb<'_>,
    family: u8,
    rcu: Reading<'_>,
) -> Verdict {
    let verdict = match choose(instance, skb, family, rcu) {
        Verdict::Accept if instance.gate.is_forged(skb) => Verdict::Refuse,
        verdict => verdict,
    };
    if verdict == Verdict::Refuse {
        instance.count(Counter::SourceRefused);
    }
    verdict
}

fn choose(instance: &Instance, skb: &mut Skb<'_>, family: u8, rcu: Reading<'_>) -> Verdict {
    if !skb.tx_eligible(instance.param(Param::Marks) as u32) {
        return Verdict::Accept;
    }
    let Some(packet) = parse(skb, family) else {
        return Verdict::Accept;
    };
    if packet.proto != packet::TCP && packet.proto != packet::UDP {
        return Verdict::Accept;
    }
    if !packet.dst.addr.is_usable_remote() {
        return Verdict::Accept;
    }
    let tuple = packet.tx_tuple();
    if packet.proto == packet::UDP && !instance.gate.is_forged(skb) {
        instance.take_along(skb, &packet, &tuple);
    }
    match instance.wire.get(rcu, &tuple) {
        Some(entry) if entry.lane == 0 => known(instance, skb, &packet, entry),
        Some(_) => Verdict::Accept,
        None if instance.gate.is_forged(skb) => Verdict::Refuse,
        None => {
            ask::unknown(instance, skb, &packet, &tuple, rcu);
            Verdict::Accept
        }
    }
}

/// A packet of a session.
fn known(instance: &Instance, skb: &mut Skb<'_>, packet: &Packet, entry: &WireEntry) -> Verdict {
    let session = &entry.session;
    session.prefetch_out();
    // By a rule for its user, perhaps, a VPN has taken the connection over since it began: what is
    // in there must not come out again by another way.
    if skb.enters_tunnel(entry.path.ifindex()) {
        instance.count(Counter::TxOriginal);
        return Verdict::Accept;
    }
    instance.saw(session);
    let rules = &instance.shared.rules;
    if rules.ask_owners() && !session.has_owner(rules.ask_groups()) {
        if let Some(uid) = skb.user() {
            if !session.set_owner(uid, rules.ask_groups().then(|| skb.cgroup())) {
                instance.count(Counter::NoMemory);
            }
        }
    }
    if !session.is_judged(rules.generation()) {
        // The worker does it at once: that may take a while.
        instance.attend(session);
    }
    let mut reset = false;
    // Where a segment with data ends, and whether it was sent before.
    let mut data = None;
    let mut start = 0;
    if let Some(tcp) = packet.tcp {
        if tcp.flags & packet::SYN != 0 {
            // A new connection on an old tuple: the session is over.
            if !session.is_syn_ack(&tcp) {
                session.set_over();
                instance.attend(session);
            }
            return Verdict::Accept;
        }
        if tcp.flags & packet::ACK != 0 {
            session.sent_ack(tcp.ack, tcp.window);
        }
        // Never from what comes over the wire: a carrier must lie below it for certain.
        if let Some((una, nxt)) = skb.socket_sent() {
            session.saw_ack(una);
            session.saw_sent(nxt);
        }
        if packet.seq_len() != 0 {
            start = tcp.seq;
            let end = tcp.seq.wrapping_add(packet.seq_len());
            data = Some((end, session.sends(end)));
        }
        reset = tcp.flags & packet::RST != 0;
        if reset || tcp.flags & packet::FIN != 0 {
            session.set_closing();
        }
    }
    let segments = skb.segments();
    let len = skb.len();
    if let (true, true, Some(tcp)) = (reset, session.is_multi(), packet.tcp) {
        instance.send_close(session, tcp.seq);
    }
    let never = session.is_never();
    // A reset on an added tuple would mean that the lane is refused.
    if reset || never || !session.is_multi() || instance.is_stopping() {
        if instance.has_rules() {
            let mut inner = session.inner.lock();
            inner.treat(skb, packet, segments);
            inner.pass_unnumbered();
        }
        instance.count(Counter::TxOriginal);
        if !never && session.is_multi() {
            let now = clock::now_us();
            question(
                instance,
                session,
                &entry.path,
                &session.tuple(),
                true,
                0,
                now,
            );
        }
        session.count_tx(&entry.path, skb);
        return Verdict::Accept;
    }

    let every = instance.param(Param::Cm) == 1;
    let now = clock::now_us();
    let mut dispatch = instance.dispatch();
    let mut inner = session.inner.lock();
    (dispatch.treatment, dispatch.passing) = inner.treat(skb, packet, segments);
    // What its number takes, if it gets one.
    let more = instance.number_room(now, &mut inner, &mut dispatch, skb, packet);
    // If it was sent before, the lane that it was lost on, as far as that is known, and whether
    // it may not have been lost at all.
    let (mut lost, mut early) = (None, false);
    let class = match data {
        Some((_, true)) => {
            inner.repeated = timestamp_of(skb.head(), packet).or(inner.repeated);
            let sent = inner.kept.last_sent(start);
            let sent = sent.map(|last| (usize::from(last.lane), last));
            // What was overtaken passes for lost: nobody can know yet what became of this one.
            early = sent.is_some_and(|(lane, last)| {
                let lane = inner.s.lane(lane);
                lane.is_some_and(|l| seq::age(now, last.at) < l.path.base_rtt_us())
            });
            lost = Some(sent.map(|(lane, _)| lane));
            let lost_again = sent.filter(|(_, last)| last.again && !early);
            Class::Again(lost_again.map_or(0, |(lane, _)| 1 << lane))
        }
        Some((end, false)) => Class::Stream(session.in_flight(end)),
        None if packet.tcp.is_some() => Class::Small,
        None => Class::Datagram,
    };
    if inner.s.state != State::Open {
        inner.pass_unnumbered();
        drop(inner);
        instance.count(Counter::TxOriginal);
        session.count_tx(&entry.path, skb);
        return Verdict::Accept;
    }
    // A lane that works is there, and would take it if it were shorter.
    let too_long = Cell::new(false);
    let chosen = inner
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
    let longer = chosen == 0 && packet.tcp.is_none() && too_long.get();
    if longer && is_gone(skb, &entry.path, now) {
        // As if the route had such an MTU: sent on its own way it would be lost without a word.
        instance.count(Counter::TxTooLong);
        return Verdict::TooLong;
    }
    // Acknowledgments need none, because the next one says the same, unless the rule is for them.
    // Without SACK TCP would count them.
    let wanted = || dispatch.passing && packet.tcp.is_some() && skb.has_sack();
    let mut copies = match data {
        None if more == 0 && !wanted() => 0,
        _ => inner.s.copies(now, 1 << chosen, &dispatch.treatment),
    };
    let place = match more {
        0 => None,
        _ => inner.number(&dispatch.treatment, chosen, segments, &mut copies),
    };
    let has_left = copies != 0 && packet.tcp.is_some();
    let mut window = Window::default();
    if let Some((end, again)) = data {
        window.back = inner.credit.take_back(session.position().una);
        if again {
            skb.be_patient(inner.s.lag_us(now, chosen));
        }
        window.shrinks = inner.s.take_shrink();
        if !early {
            window.grows = inner.s.may_grow(now, end, session.position().una, lost);
        }
    }
    let forgotten = inner.s.forgotten(now, cm_interval(instance), chosen);
    let forgotten = forgotten
        .and_then(|index| Some((index, inner.s.lane(index)?)))
        .map(|(index, lane)| (index, lane.path.clone(), lane.tuple()));
    let Some(lane) = inner.s.lane_mut(chosen) else {
        return Verdict::Accept;
    };
    lane.tx_packets = lane.tx_packets.wrapping_add(u64::from(segments));
    lane.tx_bytes = lane.tx_bytes.wrapping_add(len as u64);
    lane.note_sent(now);
    let path = lane.path.clone();
    let tuple = lane.tuple();
    let room = {
        let (mtu, outer) = match &lane.route {
            Some(route) if chosen != 0 => (route.mtu(), lane.ways.current().overhead()),
            _ => (skb.dst_mtu(), 0),
        };
        mtu.min(path.mtu()).saturating_sub(outer as u32)
    };
    if chosen == 0 {
        if instance.gate.is_forged(skb) {
            return Verdict::Refuse;
        }
        if let Some((end, _)) = data {
            session.keep(&mut inner, skb, 0, start..end, now);
        }
        drop(inner);
        window.adjust(session, skb);
        instance.send_copies(session, skb, copies, place);
        if !skb.is_ready() {
            // No way at all. In a queue of the dead device it would keep TCP from sending it again.
            instance.count(Counter::TxNoRoute);
            skb.discard();
            return Verdict::Stolen;
        }
        link_back(instance, skb, &path, now);
        // A question leaves before the packet, and tells of those before it.
        question(instance, session, &path, &tuple, true, len as u32, now);
        path.count_tx(segments, len, || skb.fits(room));
        instance.count(Counter::TxOriginal);
        if let Some((index, path, tuple)) = forgotten {
            instance.ask(session, &path, &tuple, index == 0);
        }
        if let Some(place) = place {
            return instance.numbered(session, 0, &path, skb, place, true);
        }
        if every {
            every::on_original(instance, skb, packet, session, &path);
        }
        return match has_left {
            true => leave(instance, skb, packet.family),
            false => Verdict::Accept,
        };
    }

    let whole = is_whole(skb, lane);
    let sent = match &lane.route {
        Some(route) if whole => redirect(skb, packet, &tuple, route),
        _ => true,
    };
    if let (Some((end, _)), true) = (data, sent) {
        session.keep(&mut inner, skb, chosen, start..end, now);
    }
    drop(inner);
    window.adjust(session, skb);
    instance.send_copies(session, skb, copies, place);
    question(instance, session, &path, &tuple, false, len as u32, now);
    path.count_tx(segments, len, || skb.fits(room));
    if !sent {
        // No memory for a header of its own: the original way needs none.
        instance.count(Counter::NoMemory);
        return Verdict::Accept;
    }
    instance.count(Counter::TxLane);
    if let Some((index, path, tuple)) = forgotten {
        instance.ask(session, &path, &tuple, index == 0);
    }
    if let Some(place) = place {
        return instance.numbered(session, chosen, &path, skb, place, whole);
    }
    if !whole {
        instance.send_wrapped(session, chosen, skb.take(), packet);
        return Verdict::Stolen;
    }
    let verdict = match every {
        true => every::on_lane(instance, skb, packet.family, session, &path),
        false => Verdict::Accept,
    };
    match verdict {
        Verdict::Accept if has_left => leave(instance, skb, packet.family),
        verdict => verdict,
    }
}

/// Has a packet leave as TCP's without telling it what the queue says: a copy has left already, and
/// TCP takes no acknowledgment of what it was told has not been sent.
fn leave(instance: &Instance, skb: &mut Skb<'_>, family: u8) -> Verdict {
    let Some(route) = skb.dst() else {
        return Verdict::Accept;
    };
    skb.take().send(instance.net, &route, family);
    Verdict::Stolen
}

/// How TCP's window is to change.
#[derive(Default)]
struct Window {
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
    fn adjust(&self, session: &Session, skb: &mut Skb<'_>) {
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

/// Whether a packet can leave on a lane as it is, with other addresses.
pub fn is_whole(skb: &Skb<'_>, lane: &Lane<Arc<Path>, Dst>) -> bool {
    lane.ways.current() == Via::Raw
        && lane
            .route
            .as_ref()
            .is_some_and(|route| skb.fits(route.mtu().min(lane.path.mtu())))
}

/// Whether a lane has a route and the packet fits it. TCP segments can be cut to fit.
pub fn lane_fits(
    instance: &Instance,
    skb: &Skb<'_>,
    packet: &Packet,
    lane: &mut Lane<Arc<Path>, Dst>,
) -> bool {
    lane_has_room(instance, skb, packet, lane, 0)
}

/// As [`lane_fits`], with so many bytes more.
pub fn lane_has_room(
    instance: &Instance,
    skb: &Skb<'_>,
    packet: &Packet,
    lane: &mut Lane<Arc<Path>, Dst>,
    more: usize,
) -> bool {
    room(instance, lane, more).is_some_and(|room| fits_into(skb, packet, room))
}

/// How long a packet may be that takes a lane, with so many bytes more, if there is a route.
fn room(instance: &Instance, lane: &mut Lane<Arc<Path>, Dst>, more: usize) -> Option<u32> {
    if !lane.route.as_ref().is_some_and(Dst::is_valid) {
        lane.route = Dst::lookup(instance.net, lane.path.ifindex(), &lane.tuple());
    }
    let route = lane.route.as_ref()?;
    if !route.is_ready() {
        link_lost(instance, &lane.path);
        return None;
    }
    let mtu = route.mtu().min(lane.path.mtu()) as usize;
    Some(mtu.saturating_sub(lane.ways.current().overhead() + more) as u32)
}

/// Whether a packet fits, or can be cut into pieces that do.
fn fits_into(skb: &Skb<'_>, packet: &Packet, room: u32) -> bool {
    skb.fits(room) || packet.proto == packet::TCP && can_cut(skb, packet)
}

/// Whether a TCP packet can be cut into smaller segments.
fn can_cut(skb: &Skb<'_>, packet: &Packet) -> bool {
    let options = skb.head().get(packet.l4 + 20..packet.payload);
    skb.csum() == Csum::Partial
        && packet.payload_len() > 1
        && !options.is_none_or(option::is_signed)
}

/// Whether the session's own way is there and does not swallow packets of this size.
/// `more` bytes are to be put behind it.
fn original_has_room(
    instance: &Instance,
    skb: &Skb<'_>,
    lane: &Lane<Arc<Path>, Dst>,
    more: usize,
) -> bool {
    let ready = skb.is_ready();
    if !ready {
        link_lost(instance, &lane.path);
    }
    ready && original_carries(skb, lane, more)
}

/// Whether what takes the session's own way goes nowhere, for certain or in all likelihood.
fn is_gone(skb: &Skb<'_>, path: &Arc<Path>, now: u32) -> bool {
    const SILENT_US: u32 = 1_000_000;
    let silent = || path.standing() <= Standing::Suspect && path.silent_us(now) >= SILENT_US;
    !skb.is_ready() || path.is_down() || silent()
}

/// Whether the session's own way does not swallow packets of this size with `more` bytes behind.
pub fn original_carries(skb: &Skb<'_>, lane: &Lane<Arc<Path>, Dst>, more: usize) -> bool {
    !lane.path.is_black_hole() || skb.fits(lane.path.mtu().saturating_sub(more as u32))
}

/// An interface was found without carrier before the kernel has told of it: that may take it a
/// second.
fn link_lost(instance: &Instance, path: &Path) {
    // A route may be without carrier where the path is not: every packet would have all followed.
    if !path.is_down() && !route::is_alive(instance.net, path.ifindex(), &path.local) {
        instance.network_changed();
    }
}

/// The session's own interface has a carrier although its path does not work: perhaps the kernel
/// has not told of it yet. The first question for the next hop's link address may have been lost,
/// because a switch needs a moment, too; the kernel asks again after a second.
fn link_back(instance: &Instance, skb: &Skb<'_>, path: &Path, now: u32) {
    const PACE_US: u32 = 50_000;
    if path.standing() > Standing::Suspect || !path.may_solicit(now, PACE_US) {
        return;
    }
    if let Some(route) = skb.dst() {
        route.solicit(&path.remote);
    }
    if path.is_down()
        && !path.is_shut()
        && route::is_alive(instance.net, path.ifindex(), &path.local)
    {
        instance.network_changed();
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

/// Gives a packet the addresses and ports of a lane; false if there is no memory for a header of
/// its own.
pub fn rewrite(skb: &mut Skb<'_>, packet: &Packet, tuple: &Tuple) -> bool {
    let partial = skb.csum() == Csum::Partial;
    let Some(head) = skb.writable(packet.payload) else {
        return false;
    };
    packet::rewrite(head, packet, &tuple.local, &tuple.remote, partial);
    // A fragment could not be told to belong to a session.
    packet::set_dont_fragment(head, packet.family);
    skb.clear_hash();
    true
}

/// Shortest time between two questions on a path, microseconds.
pub(super) fn cm_interval(instance: &Instance) -> u32 {
    (instance.param(Param::CmInterval) as u32).saturating_mul(1000)
}

/// Asks for a report on a path when one is due. A packet follows, which was looked at `now`; if the
/// path was chosen for it, its length is `behind`.
fn question(
    instance: &Instance,
    session: &Arc<Session>,
    path: &Arc<Path>,
    tuple: &Tuple,
    original: bool,
    behind: u32,
    now: u32,
) {
    if !session.is_multi() {
        return;
    }
    let interval = cm_interval(instance);
    let is_due = || path.maybe_due(now, interval) && path.state.lock().question_due(now, interval);
    if path.take_behind(now, behind) || is_due() {
        instance.ask_before(session, path, tuple, original, behind);
    }
}
