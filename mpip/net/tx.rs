// SPDX-License-Identifier: GPL-2.0

//! POST_ROUTING: what leaves the host.
//!
//! A packet of a session gets a lane; one of a destination of which nothing is
//! known may carry, or be followed by, the question whether it speaks MPIP.

use crate::{
    net::{
        emit::Target,
        instance::Instance,
        path::Path,
        resend::timestamp_of,
        rows::{
            Destination,
            SynSlot,
            WireEntry, //
        },
        session::{
            Session,
            TcpPosition, //
        },
        work::Job,
        Verdict, //
    },
    proto::{
        addr::{
            Endpoint,
            Tuple, //
        },
        avail::Availability,
        counters::Counter,
        crypto::PUBLIC_KEY,
        packet::{
            self,
            Packet,
            ParseError, //
        },
        params::Param,
        path::Standing,
        session::{
            Class,
            Lane,
            State, //
        },
        wire::{
            cm,
            option::{
                self,
                SynOption, //
            },
            surplus,
            MAX_LEN, //
        },
        wrap::Via, //
    },
    sys::{
        clock,
        crypto::Algo,
        gate::Way,
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
use kernel::sync::{
    atomic::Relaxed,
    rcu,
    Arc, //
};

/// How long a TCP flow whose other end looks like the client goes on before this end asks, once,
/// milliseconds.
const TCP_PATIENCE_MS: u32 = 2_000;
/// Datagrams that a destination with a higher port gets before it is asked: whoever sends from
/// the lower port is likely to answer somebody's short question.
const UDP_PATIENCE: u32 = 3;
/// Datagrams in a row without room behind them after which a question goes alone.
const UDP_ROOM: u32 = 8;

/// Reads the headers of a hook's packet, making them linear.
pub fn parse(skb: &mut Skb<'_>, family: u8) -> Option<Packet> {
    // One round for the IP header, one for the transport's, one for TCP's options.
    for _ in 0..3 {
        match Packet::parse(skb.head(), skb.len(), family) {
            Ok(packet) => return Some(packet),
            Err(ParseError::Need(n)) if skb.pull(n) => {}
            Err(_) => return None,
        }
    }
    None
}

/// POST_ROUTING of an instance.
pub fn post_routing(instance: &Instance, skb: &mut Skb<'_>, family: u8) -> Verdict {
    if !skb.tx_eligible() {
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
    let rcu = rcu::read_lock();
    let tuple = packet.tx_tuple();
    if packet.proto == packet::UDP {
        instance.take_along(skb, &packet, &tuple);
    }
    match instance.wire.get(&rcu, &tuple) {
        Some(entry) if entry.lane == 0 => known(instance, skb, &packet, entry),
        Some(_) => Verdict::Accept,
        None => {
            unknown(instance, skb, &packet, &tuple, &rcu);
            Verdict::Accept
        }
    }
}

/// A packet of a session.
fn known(instance: &Instance, skb: &mut Skb<'_>, packet: &Packet, entry: &WireEntry) -> Verdict {
    let session = &entry.session;
    session.prefetch();
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
            session.set_over();
            instance.attend(session);
            return Verdict::Accept;
        }
        if tcp.flags & packet::ACK != 0 {
            session.sent_ack(tcp.ack, tcp.window);
        }
        // Never from what comes over the wire: a carrier must lie below it for certain.
        if let Some(una) = skb.socket_una() {
            session.saw_ack(una);
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
        session.count_tx(&entry.path, skb);
        if !never {
            question(instance, session, &entry.path, &session.tuple, true);
        }
        return Verdict::Accept;
    }

    let every = instance.param(Param::Cm) == 1;
    let now = clock::now_us();
    let mut dispatch = instance.dispatch();
    let mut inner = session.inner.lock();
    (dispatch.treatment, dispatch.passing) = inner.treat(skb, packet, segments);
    // What its number takes, if it gets one.
    let more = instance.number_room(now, &mut inner, &mut dispatch, skb, packet);
    let class = match data {
        Some((_, true)) => {
            inner.repeated = timestamp_of(skb.head(), packet).or(inner.repeated);
            let lost = inner.kept.lost_again(start);
            Class::Again(lost.map_or(0, |lane| 1 << lane))
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
    let chosen = inner
        .s
        .pick(now, len as u32, class, &dispatch, |index, lane| {
            if index == 0 {
                original_has_room(instance, skb, lane, more)
            } else {
                lane_has_room(instance, skb, packet, lane, more)
            }
        });
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
    if let Some((end, again)) = data {
        if let Some((part, whole)) = inner.s.take_shrink() {
            skb.shrink_window(part, whole);
        }
        if inner.s.may_grow(now, end, session.position().una, again) {
            skb.grow_window();
        }
    }
    let forgotten = inner.s.forgotten(now, cm_interval(instance));
    let forgotten = forgotten
        .filter(|index| *index != chosen)
        .and_then(|index| Some((index, inner.s.lane(index)?)))
        .map(|(index, lane)| (index, lane.path.clone(), lane.tuple));
    let Some(lane) = inner.s.lane_mut(chosen) else {
        return Verdict::Accept;
    };
    lane.tx_packets = lane.tx_packets.wrapping_add(u64::from(segments));
    lane.tx_bytes = lane.tx_bytes.wrapping_add(len as u64);
    lane.note_sent(now);
    let path = lane.path.clone();
    let tuple = lane.tuple;
    let (mtu, outer) = match &lane.route {
        Some(route) if chosen != 0 => (route.mtu(), lane.ways.current().overhead()),
        _ => (skb.dst_mtu(), 0),
    };
    path.count_tx(segments, len, || {
        skb.fits(mtu.min(path.mtu()).saturating_sub(outer as u32))
    });
    if chosen == 0 {
        if let Some((end, _)) = data {
            session.keep(&mut inner, skb, 0, start..end, now);
        }
        drop(inner);
        instance.send_copies(session, skb, copies, place);
        if !skb.is_ready() {
            // No way at all. In a queue of the dead device it would keep TCP from sending it again.
            instance.count(Counter::TxNoRoute);
            skb.discard();
            return Verdict::Stolen;
        }
        link_back(instance, skb, &path);
        instance.count(Counter::TxOriginal);
        question(instance, session, &path, &tuple, true);
        if let Some((index, path, tuple)) = forgotten {
            instance.ask(session, &path, &tuple, index == 0);
        }
        if let Some(place) = place {
            return instance.numbered(session, 0, &path, skb, place, true);
        }
        if every {
            crate::net::every::on_original(instance, skb, packet, session, &path);
        }
        return Verdict::Accept;
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
    instance.send_copies(session, skb, copies, place);
    if !sent {
        // No memory for a header of its own: the original way needs none.
        instance.count(Counter::NoMemory);
        return Verdict::Accept;
    }
    instance.count(Counter::TxLane);
    question(instance, session, &path, &tuple, false);
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
    if every {
        return crate::net::every::on_lane(instance, skb, packet.family, session, &path);
    }
    Verdict::Accept
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
    if !lane.route.as_ref().is_some_and(Dst::is_valid) {
        lane.route = Dst::lookup(instance.net, lane.path.ifindex(), &lane.tuple);
    }
    match &lane.route {
        Some(route) if !route.is_ready() => {
            link_lost(instance, &lane.path);
            false
        }
        Some(route) => {
            let mtu = route.mtu().min(lane.path.mtu()) as usize;
            let room = mtu.saturating_sub(lane.ways.current().overhead() + more);
            skb.fits(room as u32) || packet.proto == packet::TCP && can_cut(skb, packet)
        }
        None => false,
    }
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

/// The session's own interface has a carrier although its path does not work: perhaps the kernel has
/// not told of it yet. The first question for the next hop's link address may have been lost,
/// because a switch needs a moment, too; the kernel asks again after a second.
fn link_back(instance: &Instance, skb: &Skb<'_>, path: &Path) {
    const PACE_US: u32 = 50_000;
    let now = clock::now_us();
    if path.standing() > Standing::Suspect || !path.may_solicit(now, PACE_US) {
        return;
    }
    if let Some(route) = skb.dst() {
        route.solicit(&path.remote);
    }
    if path.is_down() && route::is_alive(instance.net, path.ifindex(), &path.local) {
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

/// Gives a packet the addresses and ports of a lane; false if there is no memory for a header of its
/// own.
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
fn cm_interval(instance: &Instance) -> u32 {
    (instance.param(Param::CmInterval) as u32).saturating_mul(1000)
}

/// Asks for a report on a path when one is due.
fn question(
    instance: &Instance,
    session: &Arc<Session>,
    path: &Arc<Path>,
    tuple: &Tuple,
    original: bool,
) {
    if !session.is_multi() {
        return;
    }
    let interval = cm_interval(instance);
    let now = clock::now_us();
    if !path.maybe_due(now, interval) {
        return;
    }
    if !path.state.lock().question_due(now, interval) {
        return;
    }
    instance.ask(session, path, tuple, original);
}

/// A packet that belongs to no session.
fn unknown(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    rcu: &rcu::Guard,
) {
    if instance.is_stopping() {
        return;
    }
    let dest = Destination {
        proto: packet.proto,
        end: packet.dst,
    };
    match packet.tcp {
        Some(tcp) if tcp.flags & packet::RST != 0 => {}
        Some(tcp) if tcp.flags & packet::SYN != 0 => {
            if tcp.flags & packet::ACK != 0 {
                answer_syn(instance, skb, packet, tuple);
            } else {
                ask_by_syn(instance, skb, packet, tuple, &dest, rcu);
            }
        }
        Some(tcp) => {
            // The socket is busy elsewhere if it is not ours to look into.
            let Some(una) = skb.socket_una() else { return };
            let position = TcpPosition {
                una,
                ack: tcp.ack,
                window: tcp.window,
            };
            if tcp.flags & packet::FIN == 0 {
                join(instance, skb, packet, tuple, &dest, position, rcu);
            }
        }
        None => {
            let position = TcpPosition {
                una: 0,
                ack: 0,
                window: 0,
            };
            join(instance, skb, packet, tuple, &dest, position, rcu);
        }
    }
}

/// Whether this end is the one to ask about a flow that both ends may just have found: the one
/// that looks like a client.
fn is_asker(tuple: &Tuple) -> bool {
    let key = |end: &Endpoint| (end.port, end.addr.to_padded());
    key(&tuple.local) > key(&tuple.remote)
}

/// Opens the session of a flow if the other end is known to speak MPIP, or asks it.
fn join(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    dest: &Destination,
    position: TcpPosition,
    rcu: &rcu::Guard,
) {
    if !instance.may_ask(&dest.end.addr) {
        instance.gate.pass(skb, packet.family, Way::Out);
        return;
    }
    let tcp = packet.tcp.is_some();
    let Some(entry) = instance.avail_entry(rcu, dest) else {
        return;
    };
    let now = clock::now_ms();
    if entry.is_quiet(now) || instance.is_never(tuple, Some(skb)) {
        instance.gate.pass(skb, packet.family, Way::Out);
        return;
    }
    let policy = instance.ask_policy();
    {
        let mut state = entry.state.lock();
        state.touch(now);
        match state.state() {
            Availability::Available => {
                drop(state);
                if tcp && !is_asker(tuple) {
                    // Known peers open their own sessions.
                    return;
                }
                if let Some(peer) = instance.peer_of(rcu, dest) {
                    if instance.start_joining(tuple) {
                        instance.submit(Job::Join {
                            tuple: *tuple,
                            position,
                            peer,
                        });
                    }
                    return;
                }
                // It speaks MPIP but the keys are gone or not agreed yet.
                let mut state = entry.state.lock();
                if !state.may_repeat(now, &policy) {
                    entry.be_quiet(now);
                    return;
                }
            }
            _ => {
                state.silent(now, &policy);
                if !state.should_ask(now, &policy) {
                    entry.be_quiet(now);
                    return;
                }
                if tcp && !is_asker(tuple) && !state.is_patient(now, TCP_PATIENCE_MS) {
                    // One end is enough: the one that looks like a client. But it may have asked
                    // before this end could answer.
                    entry.be_quiet(now);
                    return;
                }
                if !tcp && !is_asker(tuple) {
                    let sent = entry.sent.load(Relaxed).saturating_add(1);
                    entry.sent.store(sent, Relaxed);
                    if sent < UDP_PATIENCE {
                        return;
                    }
                }
            }
        }
    }
    if tcp {
        let asked = instance.submit(Job::Ask {
            tuple: *tuple,
            position,
        });
        if asked {
            entry.state.lock().asked(now);
            instance.count(Counter::QueryTxHello);
        }
    } else {
        let mut buf = [0u8; MAX_LEN];
        let n = cm::emit(
            &Algo,
            &PUBLIC_KEY,
            instance.identity.node,
            packet.proto,
            &instance.hello(tuple),
            &mut buf,
        );
        let cm = buf.get(..n).unwrap_or(&[]);
        if ride(skb, packet, cm) {
            entry.full.store(0, Relaxed);
        } else {
            // Not behind this datagram: one of the next may have room. If none has, a carrier goes
            // with it, which a plain host drops.
            let full = entry.full.load(Relaxed).saturating_add(1);
            entry.full.store(full % UDP_ROOM, Relaxed);
            if full < UDP_ROOM {
                return;
            }
            instance.send_raw(&Target::own(tuple, position), cm);
        }
        entry.state.lock().asked(now);
        instance.count(Counter::QueryTxHello);
    }
}

/// Puts a CM into the surplus area of a datagram, if there is room. The datagram stays as it is
/// to every receiver.
pub fn ride(skb: &mut Skb<'_>, packet: &Packet, cm: &[u8]) -> bool {
    let mtu = skb.dst_mtu();
    put_behind(skb, packet, cm, mtu)
}

/// As [`ride`], for a packet that may have no route of its own.
pub fn put_behind(skb: &mut Skb<'_>, packet: &Packet, cm: &[u8], mtu: u32) -> bool {
    if packet.payload_len() == 0 {
        // An empty datagram with something behind it would be a carrier.
        return false;
    }
    let udp_len = packet.payload_end - packet.l4;
    let more = surplus::layout(udp_len, cm.len());
    // Another message may have been put behind it since the headers were read: the sums would not
    // fit two.
    let taken = skb.len() != packet.payload_end;
    if skb.is_gso() || taken || skb.len() + more > mtu as usize {
        return false;
    }
    // The checksum does not cover the surplus: it has to be complete before that is there.
    if !skb.complete_csum() {
        return false;
    }
    let mut behind = [0u8; MAX_LEN + 8];
    let n = surplus::build(udp_len, cm, &mut behind);
    if !skb.append(behind.get(..n).unwrap_or(&[])) {
        return false;
    }
    let end = skb.len();
    if let Some(head) = skb.writable(packet.payload) {
        packet::set_ip_len(head, packet.family, end);
    }
    true
}

/// Adds our option to a SYN of a destination that may be asked.
fn ask_by_syn(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    dest: &Destination,
    rcu: &rcu::Guard,
) {
    if !instance.may_ask(&dest.end.addr) || instance.is_never(tuple, Some(skb)) {
        return;
    }
    let Some(entry) = instance.avail_entry(rcu, dest) else {
        return;
    };
    let now = clock::now_ms();
    let policy = instance.ask_policy();
    // What drops SYNs with the option does so for every port of the address.
    let host = Destination {
        proto: dest.proto,
        end: Endpoint {
            addr: dest.end.addr,
            port: 0,
        },
    };
    if let Some(known) = instance.avail.get(rcu, &host) {
        if !known.state.lock().may_use_option(now, &policy) {
            return;
        }
    }
    let available = {
        let mut state = entry.state.lock();
        state.touch(now);
        if !state.may_use_option(now, &policy) {
            return;
        }
        // The same SYN again: the one with the option may have been dropped for it.
        let isn = packet.tcp.map_or(0, |tcp| tcp.seq);
        if instance
            .asked_by_syn(&tuple.reversed())
            .is_some_and(|slot| slot.isn == isn)
        {
            state.syn_timed_out(now);
            drop(state);
            if let Some(known) = instance.avail_entry(rcu, &host) {
                let mut known = known.state.lock();
                known.touch(now);
                known.syn_timed_out(now);
            }
            return;
        }
        let available = state.state() == Availability::Available;
        if !available {
            if !state.should_ask(now, &policy) {
                return;
            }
            state.asked(now);
        }
        available
    };
    let now_s = clock::now_us64() / 1_000_000;
    let salt = clock::random_u64() as u16;
    let nonce = instance.identity.nonce_a(&Algo, tuple, now_s, salt);
    if add_option(
        skb,
        packet,
        &SynOption {
            answer: false,
            nonce,
        },
    ) {
        instance.count(Counter::QueryTxSyn);
        instance.remember_syn(SynSlot {
            tuple: tuple.reversed(),
            nonce,
            isn: packet.tcp.map_or(0, |tcp| tcp.seq),
            answered: false,
        });
    }
    if available {
        clamp_mss(instance, skb, packet.family);
    }
}

/// Answers a SYN that asked, in its SYN-ACK.
fn answer_syn(instance: &Instance, skb: &mut Skb<'_>, packet: &Packet, tuple: &Tuple) {
    if instance.is_never(tuple, Some(skb)) {
        return;
    }
    let Some(slot) = instance.answer_syn_once(tuple) else {
        return;
    };
    if packet
        .tcp
        .is_none_or(|tcp| tcp.ack != slot.isn.wrapping_add(1))
    {
        return;
    }
    let nonce = option::answer_nonce(&Algo, slot.nonce);
    add_option(
        skb,
        packet,
        &SynOption {
            answer: true,
            nonce,
        },
    );
    clamp_mss(instance, skb, packet.family);
}

/// Inserts an option behind the fixed TCP header of a segment without data.
fn add_option(skb: &mut Skb<'_>, packet: &Packet, option: &SynOption) -> bool {
    let header = packet.payload - packet.l4;
    let options = skb.head().get(packet.l4 + 20..packet.payload);
    if options.is_none_or(option::is_signed) {
        return false;
    }
    if packet.payload_len() != 0 || header + option::LEN > 60 || skb.is_gso() {
        return false;
    }
    if !skb.complete_csum() || !skb.append(&[0; option::LEN]) {
        return false;
    }
    let end = skb.len();
    let Some(bytes) = skb.writable(end) else {
        return false;
    };
    let fixed = packet.l4 + 20;
    bytes.copy_within(fixed..packet.payload, fixed + option::LEN);
    bytes[fixed..fixed + option::LEN].copy_from_slice(&option::emit(option));
    // Data offset, in words of four bytes, is in the upper half of this byte.
    bytes[packet.l4 + 12] += (option::LEN as u8 / 4) << 4;
    packet::set_ip_len(bytes, packet.family, end);
    packet::set_checksum(bytes, packet, end);
    true
}

/// Lowers the maximum segment size in a SYN or SYN-ACK to what the narrowest interface of this
/// host carries; never raises it.
pub fn clamp_mss(instance: &Instance, skb: &mut Skb<'_>, family: u8) {
    if instance.param(Param::MssClamp) == 0 {
        return;
    }
    let Some(mtu) = instance.narrowest_mtu(family) else {
        return;
    };
    let Some(packet) = parse(skb, family) else {
        return;
    };
    if skb
        .head()
        .get(packet.l4 + 20..packet.payload)
        .is_none_or(option::is_signed)
    {
        return;
    }
    let mut room = (mtu as usize).saturating_sub(packet::ip_header_len(family) + 20);
    if instance.param(Param::Cm) == 1 {
        room = room.saturating_sub(cm::DATA_LEN);
    }
    let fixed = packet.l4 + 20;
    let Some((at, mss)) = skb.head().get(fixed..packet.payload).and_then(option::mss) else {
        return;
    };
    if usize::from(mss) <= room {
        return;
    }
    let partial = skb.csum() == Csum::Partial;
    let Some(head) = skb.writable(packet.payload) else {
        return;
    };
    packet::replace_tcp_word(head, &packet, fixed + at, room as u16, partial);
    instance.count(Counter::MssClamped);
}
