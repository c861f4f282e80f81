// SPDX-License-Identifier: GPL-2.0

//! PRE_ROUTING: what comes in.
//!
//! A packet on the tuple of an added lane gets its session's addresses back,
//! before connection tracking, the filter and the sockets see it. Control
//! messages are taken out. Everything else passes untouched.

use crate::{
    net::{
        control::Message,
        icmp,
        instance::Instance,
        rows::WireEntry,
        session::Session,
        tx::parse,
        unknown::{
            syn,
            unknown, //
        },
        Verdict, //
    },
    proto::{
        counters::Counter,
        packet::{
            self,
            Packet,
            TcpHeader, //
        },
        seq,
        wire::{
            cm::{
                trailer_len,
                Cm,
                Kind,
                Raw,
                NUMBER_LEN, //
            },
            surplus,
            MAX_LEN, //
        },
        wrap::{
            self,
            Via, //
        }, //
    },
    sys::{
        crypto::Algo,
        gate::Way,
        reading::Reading,
        skb::{
            Csum,
            Skb, //
        },
    },
};

/// The bytes of a CM found in a packet.
pub struct Found {
    buf: [u8; MAX_LEN],
    len: usize,
    /// Whether the packet carries nothing else.
    pub alone: bool,
}

impl Found {
    const fn empty() -> Found {
        Found {
            buf: [0; MAX_LEN],
            len: 0,
            alone: false,
        }
    }

    /// The CM's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or(&[])
    }
}

/// Looks for what may be a CM: behind the data of a TCP segment, or the whole of a UDP datagram.
/// Magic and length only; the tag is the caller's business.
fn find_trailer(skb: &Skb<'_>, packet: &Packet) -> Option<Found> {
    let available = packet.payload_len();
    let end = packet.payload_end;
    let mut tail = [0; 4];
    // The last bytes decide in nearly all cases.
    if available < tail.len() || !skb.copy(end.saturating_sub(tail.len()), &mut tail) {
        return None;
    }
    let len = trailer_len(&tail, available)?;
    let mut found = Found::empty();
    let to = found.buf.get_mut(..len)?;
    if !skb.copy(end.saturating_sub(len), to) {
        return None;
    }
    found.len = len;
    found.alone = len == available;
    Some(found)
}

/// As [`find_trailer`], and in the surplus area of a UDP datagram.
pub fn find(skb: &Skb<'_>, packet: &Packet) -> Option<Found> {
    if packet.proto == packet::TCP {
        return find_trailer(skb, packet);
    }
    let available = packet.surplus_len();
    if available == 0 || available > MAX_LEN + 8 {
        return None;
    }
    let mut buf = [0; MAX_LEN + 8];
    let behind = buf.get_mut(..available)?;
    if !skb.copy(packet.payload_end, behind) {
        return None;
    }
    let cm = surplus::cm_of(behind)?;
    let mut found = Found::empty();
    found.buf.get_mut(..cm.len())?.copy_from_slice(cm);
    found.len = cm.len();
    found.alone = packet.payload_len() == 0;
    Some(found)
}

/// PRE_ROUTING of an instance.
pub fn pre_routing(
    instance: &Instance,
    skb: &mut Skb<'_>,
    family: u8,
    rcu: Reading<'_>,
) -> Verdict {
    if !skb.rx_eligible() {
        return Verdict::Accept;
    }
    let Some(packet) = parse(skb, family) else {
        return Verdict::Accept;
    };
    if packet.proto != packet::TCP && packet.proto != packet::UDP {
        icmp::error(instance, skb, &packet, rcu);
        return Verdict::Accept;
    }
    let tuple = packet.rx_tuple();
    let entry = instance.wire.get(rcu, &tuple);
    if let Some(entry) = entry {
        entry.session.prefetch_in();
    }
    match entry {
        Some(entry) if entry.lane == 0 => original(instance, skb, &packet, entry),
        Some(entry) => lane(instance, skb, &packet, entry),
        None => {
            let verdict = unknown(instance, skb, &packet, &tuple, rcu);
            if verdict == Verdict::Accept {
                instance.gate.pass(skb, family, Way::In);
            }
            verdict
        }
    }
}

/// A packet on the tuple that the sockets know.
fn original(instance: &Instance, skb: &mut Skb<'_>, packet: &Packet, entry: &WireEntry) -> Verdict {
    let session = &entry.session;
    if let Some(tcp) = packet.tcp {
        if tcp.flags & packet::SYN != 0 {
            // The socket decides whether this is a new connection: its own SYN or SYN-ACK ends
            // the session.
            syn(instance, skb, packet, &packet.rx_tuple(), &tcp);
            return Verdict::Accept;
        }
        // A carrier lies wholly below what this end has acknowledged; user data never does.
        if packet.payload_len() != 0 && below(packet, &tcp, session.acked()) {
            if let Some(found) = find(skb, packet).filter(|found| found.alone) {
                match message(instance, skb, packet, entry, &found, true) {
                    Message::None => {}
                    Message::Reset(seq) => return reset(instance, skb, packet, entry, seq),
                    Message::Ours | Message::Copy => return Verdict::Drop,
                }
            }
        }
        if tcp.flags & (packet::RST | packet::FIN) != 0
            && session.expects(end_of(packet, &tcp))
            && skb.csum_ok(packet.l4, packet.proto, packet.family)
        {
            if tcp.flags & packet::RST != 0 && is_doubtful_reset(session) {
                instance.count(Counter::ResetDoubted);
                instance.attend(session);
                return Verdict::Drop;
            }
            session.set_closing();
        }
        instance.saw(session);
        entry.count_rx(skb.segments(), skb.len());
        // Only what is intact tells how far a lane is, and what has come at the other end. The
        // result is kept in the packet: TCP does not sum again.
        let data = packet.payload_len() != 0;
        if session.is_multi()
            && (data || session.may_be_acked(&tcp))
            && skb.csum_ok(packet.l4, packet.proto, packet.family)
        {
            session.let_go(&tcp);
            if data && session.lane_progress(0, skb, packet, true) {
                return Verdict::Stolen;
            }
        }
        return Verdict::Accept;
    }
    if packet.payload_end != packet.end {
        // A carrier is wrong on purpose. The number of a datagram that the socket will drop must
        // not cost the copies.
        let right = packet.payload_len() == 0 || is_unchecked(skb, packet) || csum_ok(skb, packet);
        let found = find(skb, packet).filter(|_| right);
        let message = found.as_ref().map_or(Message::None, |found| {
            message(instance, skb, packet, entry, found, false)
        });
        match (message, found) {
            (Message::None, _) => {
                // The datagram may be right and only its number damaged: its copies would make two.
                let certain = right && !is_unchecked(skb, packet);
                if !certain && is_as_if_numbered(packet) && session.has_numbers() {
                    instance.count(Counter::RxBadChecksum);
                    return Verdict::Drop;
                }
            }
            (_, Some(found)) if found.alone => return Verdict::Drop,
            (Message::Copy, _) => {
                instance.saw(session);
                entry.count_rx(1, skb.len());
                return Verdict::Drop;
            }
            // The socket sees the datagram alone; it would ignore the rest anyway.
            _ => {}
        }
    }
    instance.saw(session);
    entry.count_rx(skb.segments(), skb.len());
    Verdict::Accept
}

/// Whether an RST on the session's own tuple is not to be believed: a peer that means it says so on
/// another lane that works, with CLOSE. A NAT that gives the connection a new port has the peer's
/// host answer so, to a connection that it does not know.
fn is_doubtful_reset(session: &Session) -> bool {
    if !session.is_multi() || session.is_closing() {
        return false;
    }
    let mut inner = session.inner.lock();
    let added = inner.s.best_added().and_then(|i| inner.s.lane(i));
    let Some(trip_us) = added.map(|l| l.path.answer_us().unwrap_or(0)) else {
        return false;
    };
    if session.doubts_again(trip_us / 1000) {
        // CLOSE would have come by now: the session's own tuple is of no use. What was in flight on
        // it is lost, and its path needs a lane of its own.
        if let Some(lane) = inner.s.lane(0) {
            lane.path.set_strict();
        }
        inner.lost |= 1;
        inner.explored_ms = 0;
    }
    true
}

/// The sequence number behind a segment's data.
fn end_of(packet: &Packet, tcp: &TcpHeader) -> u32 {
    tcp.seq.wrapping_add(packet.payload_len() as u32)
}

/// Whether a segment lies wholly below `acked`.
pub(super) fn below(packet: &Packet, tcp: &TcpHeader, acked: u32) -> bool {
    !seq::after(end_of(packet, tcp), acked)
        && tcp.flags & (packet::SYN | packet::FIN | packet::RST) == 0
}

/// A packet on the tuple of an added lane.
fn lane(instance: &Instance, skb: &mut Skb<'_>, packet: &Packet, entry: &WireEntry) -> Verdict {
    let session = &entry.session;
    if let Some(tcp) = packet.tcp {
        // What travels in made-up TCP comes to a port of our own.
        if entry.via == Via::Raw
            && !entry.is_up()
            && entry.belongs_to_a_socket(instance, packet, skb.ifindex_in())
        {
            return Verdict::Accept;
        }
        if tcp.flags & packet::RST != 0 {
            // Sessions never send theirs here: somebody does not know the lane.
            if !is_plausible_reset(session, entry, &tcp)
                || !skb.csum_ok(packet.l4, packet.proto, packet.family)
            {
                instance.count(Counter::RxUnexpected);
            } else {
                session.refuse_lane(instance, entry.lane, Counter::LaneRefusedRst);
            }
            return Verdict::Drop;
        }
        if tcp.flags & packet::SYN != 0 && entry.via != Via::Tcp {
            instance.count(Counter::RxUnexpected);
            return Verdict::Drop;
        }
    }
    if !is_unchecked(skb, packet) && !csum_ok(skb, packet) {
        instance.count(Counter::RxBadChecksum);
        return Verdict::Drop;
    }
    if must_come_apart(skb, packet, entry.via) {
        instance.count(Counter::RxMerged);
        // Of TCP's the pieces might be others than those that were sent.
        return match packet.proto {
            packet::UDP if skb.receive_apart() => Verdict::Stolen,
            _ => Verdict::Drop,
        };
    }
    if entry.via != Via::Raw {
        return wrapped(instance, skb, packet, entry);
    }
    let (mut end, mut keep) = (packet.end, false);
    let found = match packet.proto {
        packet::UDP => find_message(skb, packet).or_else(|| find(skb, packet)),
        _ => find(skb, packet),
    };
    if let Some(found) = found {
        match self::trailer(instance, skb, packet, entry, &found) {
            Trailer::None => {}
            Trailer::Consumed => return Verdict::Drop,
            Trailer::Copy => {
                instance.saw(session);
                entry.count_rx(1, skb.len());
                return Verdict::Drop;
            }
            Trailer::Reset(seq) => return reset(instance, skb, packet, entry, seq),
            Trailer::Strip(len) => end = end.saturating_sub(len),
            Trailer::Keep => keep = true,
        }
    }
    if packet.proto == packet::UDP && !keep {
        end = packet.payload_end;
    }
    instance.saw(session);
    entry.count_rx(skb.segments(), skb.len());
    if arrived(instance, entry, skb, packet, end) {
        return Verdict::Stolen;
    }
    if !skb.route_flow(packet.family, &entry.route, entry.path.ifindex()) {
        instance.count(Counter::RxNotLocal);
        return Verdict::Drop;
    }
    if end != packet.end && !skb.trim(end) {
        instance.count(Counter::NoMemory);
        return Verdict::Drop;
    }
    let partial = skb.csum() == Csum::Partial;
    let Some(head) = skb.writable(packet.payload) else {
        instance.count(Counter::NoMemory);
        return Verdict::Drop;
    };
    if end != packet.end {
        packet::set_ip_len(head, packet.family, end);
    }
    let tuple = session.tuple();
    packet::rewrite(head, packet, &tuple.remote, &tuple.local, partial);
    if !partial {
        skb.set_csum(Csum::Unnecessary);
    }
    skb.clear_hash();
    Verdict::Accept
}

/// Whether receive offload has merged packets of a lane which are to be looked at one by one: all
/// wrapped ones, and datagrams with a message among them. Only the last of those that are merged
/// can be shorter than the others, so that there is none if that one is longer than messages are.
fn must_come_apart(skb: &Skb<'_>, packet: &Packet, via: Via) -> bool {
    if !skb.is_gso() {
        return false;
    }
    let last = match packet.payload_len().checked_rem(skb.segment_size()) {
        Some(rest) if rest != 0 => rest,
        _ => skb.segment_size(),
    };
    via != Via::Raw || packet.proto == packet::UDP && last <= MAX_LEN
}

/// Whether it is one of IPv4's datagrams without a checksum.
fn is_unchecked(skb: &Skb<'_>, packet: &Packet) -> bool {
    packet.proto == packet::UDP
        && packet.family == 4
        && skb.head().get(packet.field(6)..packet.field(8)) == Some(&[0, 0])
}

/// Whether there is as much behind a datagram as a number takes.
fn is_as_if_numbered(packet: &Packet) -> bool {
    packet.payload_len() != 0
        && packet.surplus_len() == surplus::layout(packet.l4_len(), NUMBER_LEN)
}

fn csum_ok(skb: &mut Skb<'_>, packet: &Packet) -> bool {
    skb.csum_ok(packet.l4, packet.proto, packet.family)
}

/// Whether an RST on an added lane can come from somebody who has seen its packets: such a host
/// takes the sequence number from an acknowledgment of ours.
fn is_plausible_reset(session: &Session, entry: &WireEntry, tcp: &TcpHeader) -> bool {
    if entry.via == Via::Raw {
        return session.acked().wrapping_sub(tcp.seq) <= 1 << 20;
    }
    let inner = session.inner.lock();
    let lane = inner.s.lane(usize::from(entry.lane));
    lane.is_some_and(|l| l.stream.is_near(tcp.seq))
}

/// A datagram that may be a CM as a whole.
pub(super) fn find_message(skb: &Skb<'_>, packet: &Packet) -> Option<Found> {
    find_trailer(skb, packet).filter(|found| found.alone)
}

/// A packet of the session has come on a lane, with the user's bytes up to `end`. True if it is
/// used up: it goes on where one ends that waits.
fn arrived(
    instance: &Instance,
    entry: &WireEntry,
    skb: &mut Skb<'_>,
    packet: &Packet,
    end: usize,
) -> bool {
    let session = &entry.session;
    instance.count(Counter::RxLane);
    let Some(tcp) = packet.tcp else { return false };
    let data = end.saturating_sub(packet.payload);
    if tcp.flags & packet::FIN != 0 && session.expects(tcp.seq.wrapping_add(data as u32)) {
        session.set_closing();
    }
    session.let_go(&tcp);
    data != 0 && session.lane_progress(entry.lane, skb, packet, end == packet.end)
}

/// A packet on a lane that travels inside something else; its checksum is right.
fn wrapped(instance: &Instance, skb: &mut Skb<'_>, packet: &Packet, entry: &WireEntry) -> Verdict {
    let session = &entry.session;
    // What is acknowledged too far is wrong for ever: only the other end can have us do that.
    let came = |certain: bool| {
        if let Some(tcp) = packet.tcp {
            let mut inner = session.inner.lock();
            if let Some(lane) = inner.s.lane_mut(usize::from(entry.lane)) {
                let len = packet.payload_len();
                match certain {
                    true => lane.stream.came(tcp.seq, tcp.flags, len),
                    // Answers to it leave before it is known to be authentic.
                    false => lane.stream.may_begin(tcp.seq, tcp.flags, len),
                }
            }
        }
    };
    if packet.tcp.is_some_and(|tcp| tcp.flags & packet::SYN != 0) {
        came(false);
    }
    if let Some(found) = find_message(skb, packet) {
        let message = message(instance, skb, packet, entry, &found, false);
        if message != Message::None {
            came(true);
        }
        match message {
            Message::None => {}
            Message::Ours | Message::Copy => return Verdict::Drop,
            Message::Reset(seq) => return reset(instance, skb, packet, entry, seq),
        }
    }
    let proto = session.proto();
    let mut id = [0; 4];
    let least = wrap::inner_rest(proto).saturating_add(id.len());
    let inner = packet.payload_len() >= least && skb.copy(packet.payload, &mut id);
    if !inner || u32::from_be_bytes(id) != session.id {
        instance.count(Counter::RxUnexpected);
        return Verdict::Drop;
    }
    came(true);
    instance.saw(session);
    entry.count_rx(1, skb.len());
    if !skb.route_flow(packet.family, &entry.route, entry.path.ifindex()) {
        instance.count(Counter::RxNotLocal);
        return Verdict::Drop;
    }
    let more = packet.header_len();
    if !skb.remove(packet.l4, more) {
        instance.count(Counter::NoMemory);
        return Verdict::Drop;
    }
    let end = packet.payload_end.saturating_sub(more);
    if end != skb.len() && !skb.trim(end) {
        instance.count(Counter::NoMemory);
        return Verdict::Drop;
    }
    let Some(head) = skb.writable(packet.field(least)) else {
        instance.count(Counter::NoMemory);
        return Verdict::Drop;
    };
    wrap::unwrap(head, packet.l4, end, &session.tuple());
    let at = if proto == packet::TCP { 16 } else { 6 };
    skb.clear_hash();
    // The outer checksum was right: the inner one need not be looked at.
    if !skb.set_partial(packet.l4, at) {
        instance.count(Counter::RxUnexpected);
        return Verdict::Drop;
    }
    let Some(inner) = parse(skb, packet.family) else {
        instance.count(Counter::RxUnexpected);
        return Verdict::Drop;
    };
    if inner.tcp.is_some_and(|tcp| tcp.flags & packet::SYN != 0) {
        instance.count(Counter::RxUnexpected);
        return Verdict::Drop;
    }
    // What is behind a datagram the socket ignores.
    if inner.payload_end != inner.end {
        if let Some(found) = find(skb, &inner) {
            if trailer(instance, skb, &inner, entry, &found) == Trailer::Copy {
                return Verdict::Drop;
            }
        }
    }
    match arrived(instance, entry, skb, &inner, inner.end) {
        true => Verdict::Stolen,
        false => Verdict::Accept,
    }
}

#[derive(PartialEq, Eq)]
enum Trailer {
    /// Every byte is the user's.
    None,
    /// The packet was for us alone.
    Consumed,
    /// The datagram has come before.
    Copy,
    /// So many bytes at the end are ours.
    Strip(usize),
    /// What is behind the datagram is looked at again when it is put in order.
    Keep,
    /// The packet was for us alone, and the peer's socket has reset the connection.
    Reset(u32),
}

/// What may be a CM was found on an added lane.
fn trailer(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    entry: &WireEntry,
    found: &Found,
) -> Trailer {
    let Some(raw) = Raw::new(found.bytes()) else {
        return Trailer::None;
    };
    let session = &entry.session;
    if raw.kind() != Kind::Data {
        let mine = match packet.tcp {
            Some(tcp) => found.alone && below(packet, &tcp, session.acked()),
            None => found.alone,
        };
        let checked = false;
        if !mine {
            return Trailer::None;
        }
        return match message(instance, skb, packet, entry, found, checked) {
            Message::None => Trailer::None,
            Message::Ours | Message::Copy => Trailer::Consumed,
            Message::Reset(seq) => Trailer::Reset(seq),
        };
    }
    let peer = &session.peer;
    if !raw.verify(&Algo, &peer.keys.rx, peer.node, packet.proto) {
        instance.count(Counter::CmBadTag);
        return Trailer::None;
    }
    let tcp = packet.proto == packet::TCP;
    let data = match raw.parse() {
        Some(Cm::Data(data)) if data.session == session.id => data,
        Some(Cm::Number(number)) if number.session == session.id && !tcp => {
            instance.count(Counter::CmRx);
            return match instance.number_came(entry, &number.place) {
                true => Trailer::Copy,
                false if number.place.ordered => Trailer::Keep,
                false => Trailer::Strip(0),
            };
        }
        _ => {
            instance.count(Counter::CmMalformed);
            return Trailer::None;
        }
    };
    let user = packet.payload_len().saturating_sub(found.bytes().len());
    if tcp && (usize::from(data.length) != user || skb.is_gso()) {
        // Segments were merged across a hole: another CM lies in the middle of the data.
        instance.count(Counter::RxMergedHole);
        return Trailer::Consumed;
    }
    instance.count(Counter::CmRx);
    // If the network has made a copy, the data is TCP's to judge.
    instance.data_came(entry, &data);
    Trailer::Strip(if tcp { found.bytes().len() } else { 0 })
}

/// The message in this packet says that the connection was reset: makes an RST of the session of
/// it. Firewall, connection tracking and the socket judge it like any other.
fn reset(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    entry: &WireEntry,
    seq: u32,
) -> Verdict {
    let tuple = entry.session.tuple().reversed();
    let ip_len = packet::ip_header_len(packet.family);
    let len = ip_len.saturating_add(packet::TCP_HEADER_LEN);
    if packet.l4 != ip_len {
        // Options, which an RST of our making does not have.
        instance.count(Counter::RxUnexpected);
        return Verdict::Drop;
    }
    if !skb.route_local(packet.family) {
        instance.count(Counter::RxNotLocal);
        return Verdict::Drop;
    }
    if !skb.trim(len) {
        instance.count(Counter::NoMemory);
        return Verdict::Drop;
    }
    let Some(head) = skb.writable(len) else {
        instance.count(Counter::NoMemory);
        return Verdict::Drop;
    };
    packet::tcp_reset(head, &tuple, seq);
    skb.set_csum(Csum::Unnecessary);
    skb.clear_hash();
    Verdict::Accept
}

/// What may be a message on a tuple of a session.
fn message(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    entry: &WireEntry,
    found: &Found,
    check: bool,
) -> Message {
    let Some(raw) = Raw::new(found.bytes()) else {
        return Message::None;
    };
    // A carrier on the original tuple of UDP has a wrong checksum on purpose; its tag is enough.
    // On added lanes everything was checked before.
    if check && !skb.csum_ok(packet.l4, packet.proto, packet.family) {
        return Message::None;
    }
    instance.session_message(entry, &raw, &packet.rx_tuple())
}
