// SPDX-License-Identifier: GPL-2.0

//! POST_ROUTING: what leaves the host. A packet of a session gets a lane.

use crate::{
    net::{
        ask,
        every,
        instance::Instance,
        path::Path,
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
            ParseError,
            TcpHeader, //
        },
        params::Param,
        path::Standing,
        session::PathInfo, //
    },
    sys::{
        clock,
        reading::Reading,
        route,
        skb::{
            Csum,
            Skb, //
        }, //
    },
};
use kernel::sync::Arc;

mod choice;
mod room;

use choice::Choice;
pub use room::{
    is_whole,
    lane_fits,
    lane_has_room,
    original_carries, //
};

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

/// A packet of a session on its way out.
struct Leaving<'a> {
    instance: &'a Instance,
    /// The session's own tuple.
    entry: &'a WireEntry,
    packet: &'a Packet,
    /// Packets on the wire, if it is a burst.
    segments: u32,
    /// Bytes.
    len: usize,
    /// If it is a segment with data.
    data: Option<Data>,
}

/// A segment with data.
#[derive(Clone, Copy)]
struct Data {
    /// Sequence number of the first byte.
    start: u32,
    /// That behind the last one.
    end: u32,
    /// It was sent before.
    again: bool,
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
    judge(instance, session, skb);
    let (mut data, mut reset) = (None, false);
    if let Some(tcp) = &packet.tcp {
        if tcp.flags & packet::SYN != 0 {
            // A new connection on an old tuple: the session is over.
            if !session.is_syn_ack(tcp) {
                session.set_over();
                instance.attend(session);
            }
            return Verdict::Accept;
        }
        data = overhear(session, skb, packet, tcp);
        reset = tcp.flags & packet::RST != 0;
        if reset && session.is_multi() {
            instance.send_close(session, tcp.seq);
        }
    }
    let leaving = Leaving {
        instance,
        entry,
        packet,
        segments: skb.segments(),
        len: skb.len(),
        data,
    };
    // A reset on an added tuple would mean that the lane is refused.
    if reset || session.is_never() || !session.is_multi() || instance.is_stopping() {
        leaving.unchosen(skb);
        return Verdict::Accept;
    }
    let now = clock::now_us();
    match leaving.decide(skb, now) {
        Ok(choice) => leaving.go(skb, now, choice),
        Err(verdict) => verdict,
    }
}

/// Sees to it that the rules for the packet's session are found, and that they know whose it is.
fn judge(instance: &Instance, session: &Arc<Session>, skb: &Skb<'_>) {
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
}

/// Notes what a segment of this host's TCP says, and returns the data that it carries.
fn overhear(session: &Session, skb: &Skb<'_>, packet: &Packet, tcp: &TcpHeader) -> Option<Data> {
    if tcp.flags & packet::ACK != 0 {
        session.sent_ack(tcp.ack, tcp.window);
    }
    // Never from what comes over the wire: a carrier must lie below it for certain.
    if let Some((una, nxt)) = skb.socket_sent() {
        session.saw_ack(una);
        session.saw_sent(nxt);
    }
    if tcp.flags & (packet::RST | packet::FIN) != 0 {
        session.set_closing();
    }
    (packet.seq_len() != 0).then(|| {
        let end = tcp.seq.wrapping_add(packet.seq_len());
        Data {
            start: tcp.seq,
            end,
            again: session.sends(end),
        }
    })
}

impl Leaving<'_> {
    /// It takes the session's own way, because there is no other one, or because no other one may
    /// be taken.
    fn unchosen(&self, skb: &mut Skb<'_>) {
        let Leaving {
            instance, entry, ..
        } = *self;
        let session = &entry.session;
        if instance.has_rules() {
            let mut inner = session.inner.lock();
            inner.treat(skb, self.packet, self.segments);
            inner.pass_unnumbered();
        }
        instance.count(Counter::TxOriginal);
        if session.is_multi() && !session.is_never() {
            let (tuple, now) = (session.tuple(), clock::now_us());
            question(instance, session, &entry.path, &tuple, true, 0, now);
        }
        session.count_tx(&entry.path, skb);
    }

    /// It leaves on the lane that was chosen at the time `now`, or what is sent in its place does.
    // Else all that was decided is written and read, for each packet.
    #[inline(always)]
    fn go(&self, skb: &mut Skb<'_>, now: u32, choice: Choice) -> Verdict {
        let Leaving {
            instance,
            packet,
            len,
            ..
        } = *self;
        let session = &self.entry.session;
        let (lane, path) = (choice.lane, &choice.path);
        let original = lane == 0;
        choice.window.adjust(session, skb);
        instance.send_copies(session, skb, choice.copies, choice.place);
        if original {
            if !skb.is_ready() {
                // No way at all. In a queue of the dead device it would keep TCP from sending it
                // again.
                instance.count(Counter::TxNoRoute);
                skb.discard();
                return Verdict::Stolen;
            }
            link_back(instance, skb, path, now);
        }
        // A question leaves before the packet, and tells of those before it.
        let behind = len as u32;
        question(
            instance,
            session,
            path,
            &choice.tuple,
            original,
            behind,
            now,
        );
        path.count_tx(self.segments, len, || skb.fits(choice.room));
        if !choice.rewritten {
            // No memory for a header of its own: the original way needs none.
            instance.count(Counter::NoMemory);
            return Verdict::Accept;
        }
        instance.count(match original {
            true => Counter::TxOriginal,
            false => Counter::TxLane,
        });
        if let Some((index, path, tuple)) = &choice.forgotten {
            instance.ask(session, path, tuple, *index == 0);
        }
        if let Some(place) = choice.place {
            return instance.numbered(session, lane, path, skb, place, choice.whole);
        }
        if !choice.whole {
            instance.send_wrapped(session, lane, skb.take(), packet);
            return Verdict::Stolen;
        }
        let verdict = match instance.param(Param::Cm) == 1 {
            true if original => {
                every::on_original(instance, skb, packet, session, path);
                Verdict::Accept
            }
            true => every::on_lane(instance, skb, packet.family, session, path),
            false => Verdict::Accept,
        };
        let has_left = choice.copies != 0 && packet.tcp.is_some();
        match verdict {
            Verdict::Accept if has_left => leave(instance, skb, packet.family),
            verdict => verdict,
        }
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
