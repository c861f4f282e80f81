// SPDX-License-Identifier: GPL-2.0

//! `net/tx.rs`, `net/emit.rs` and `net/every.rs`: what leaves.

use super::resend::timestamp_of;
use super::work::Job;
use super::Algo;
use super::Node;
use super::Path;
use super::Peer;
use super::Session;
use super::SynSlot;
use super::TcpPosition;
use super::WireEntry;
use crate::wire::Wire;
use crate::world::Cx;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::avail::Availability;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::crypto::PUBLIC_KEY;
use mpip_host::proto::packet;
use mpip_host::proto::packet::Packet;
use mpip_host::proto::params::Param;
use mpip_host::proto::seq;
use mpip_host::proto::session::Class;
use mpip_host::proto::session::PathInfo;
use mpip_host::proto::session::State;
use mpip_host::proto::wire::cm;
use mpip_host::proto::wire::cm::AddrList;
use mpip_host::proto::wire::cm::Cm;
use mpip_host::proto::wire::cm::Entry;
use mpip_host::proto::wire::cm::Header;
use mpip_host::proto::wire::cm::Hello;
use mpip_host::proto::wire::cm::OpenBlock;
use mpip_host::proto::wire::option;
use mpip_host::proto::wire::option::SynOption;
use mpip_host::proto::wire::surplus;
use mpip_host::proto::wire::MAX_LEN;
use rand_chacha::rand_core::RngCore;
use std::rc::Rc;

const TCP_PATIENCE_MS: u32 = 2_000;
const UDP_PATIENCE: u32 = 3;

/// Whether this end asks about a flow that both ends may have found.
fn is_asker(tuple: &Tuple) -> bool {
    (tuple.local.port, tuple.local.addr.to_padded())
        > (tuple.remote.port, tuple.remote.addr.to_padded())
}

/// Puts a CM into the surplus area of a datagram.
fn ride(wire: &mut Wire, packet: &Packet, cm: &[u8]) {
    let udp_len = packet.payload_end - packet.l4;
    let mut behind = vec![0; MAX_LEN + 8];
    let n = surplus::build(udp_len, cm, &mut behind);
    assert_eq!(n, surplus::layout(udp_len, cm.len()));
    wire.fill();
    wire.bytes.extend_from_slice(&behind[..n]);
    let end = wire.len();
    packet::set_ip_len(&mut wire.bytes, packet.family, end);
}

/// Inserts an option behind the fixed TCP header.
fn add_option(wire: &mut Wire, packet: &Packet, option: &SynOption) {
    let fixed = packet.l4 + 20;
    wire.bytes.splice(fixed..fixed, option::emit(option));
    wire.bytes[packet.l4 + 12] += (option::LEN as u8 / 4) << 4;
    let end = wire.len();
    packet::set_ip_len(&mut wire.bytes, packet.family, end);
    packet::set_checksum(&mut wire.bytes, packet, end);
}

/// The addresses to announce for sessions of one family.
pub(super) fn entries(addrs: &[Addr], family: u8) -> Vec<Entry> {
    let of_family = addrs.iter().filter(|a| a.family() == family);
    of_family
        .map(|addr| Entry {
            flags: 0,
            port: 0,
            addr: *addr,
        })
        .collect()
}

/// The open block of a session.
pub(super) fn block(entries: &[Entry], path: u8) -> OpenBlock<'_> {
    OpenBlock {
        udp_port: super::UDP_PORT,
        path,
        addrs: AddrList::new(entries),
    }
}

impl Node {
    /// POST_ROUTING. `una` is what the socket knows to be acknowledged.
    pub fn post_routing(&mut self, cx: &mut Cx<'_>, mut wire: Wire, una: Option<u32>) {
        if let Ok(packet) = wire.parse() {
            if packet.dst.addr.is_usable_remote() {
                let tuple = packet.tx_tuple();
                match self.wire.get(&tuple).cloned() {
                    Some(entry) if entry.lane == 0 => {
                        return self.known(cx, wire, &packet, &entry, una);
                    }
                    Some(_) => {}
                    None => self.unknown_out(cx, &mut wire, &packet, &tuple, una),
                }
            }
        }
        cx.sent.push(wire);
    }

    fn known(
        &mut self,
        cx: &mut Cx<'_>,
        mut wire: Wire,
        packet: &Packet,
        entry: &WireEntry,
        una: Option<u32>,
    ) {
        let session = &entry.session;
        session.used_ms.set(self.now_ms(cx));
        let mut reset = false;
        let mut data = None;
        if let Some(tcp) = packet.tcp {
            if tcp.flags & packet::SYN != 0 {
                if !session.is_syn_ack(&tcp) {
                    session.set_over();
                    self.attend(cx, session);
                }
                cx.sent.push(wire);
                return;
            }
            if tcp.flags & packet::ACK != 0 {
                session.sent_ack(tcp.ack, tcp.window);
            }
            if let Some(una) = una {
                session.saw_ack(una);
            }
            if packet.seq_len() != 0 {
                let end = tcp.seq.wrapping_add(packet.seq_len());
                data = Some((end, session.sends(end)));
            }
            reset = tcp.flags & packet::RST != 0;
            if reset || tcp.flags & packet::FIN != 0 {
                session.closing.set(true);
            }
        }
        if reset || !session.is_multi() || self.stopping {
            self.count(Counter::TxOriginal);
            session.count_tx(&entry.path, wire.len());
            self.question(cx, session, &entry.path, &session.tuple, true, 0);
            cx.sent.push(wire);
            return;
        }
        let every = self.param(Param::Cm) == 1;
        let now = self.now_us(cx);
        let dispatch = self.dispatch();
        let len = wire.len() as u32;
        let mut forgotten = None;
        let (chosen, path, tuple) = {
            let mut inner = session.inner.borrow_mut();
            if inner.s.state != State::Open {
                drop(inner);
                self.count(Counter::TxOriginal);
                session.count_tx(&entry.path, wire.len());
                cx.sent.push(wire);
                return;
            }
            let class = match data {
                Some((end, true)) => {
                    inner.repeated = timestamp_of(&wire, packet).or(inner.repeated);
                    let start = end.wrapping_sub(packet.seq_len());
                    let sent = inner.kept.last_sent(start).filter(|last| {
                        let lane = inner.s.lane(usize::from(last.lane));
                        let rtt = lane.map_or(0, |l| l.path.base_rtt_us());
                        last.again && seq::age(now, last.at) >= rtt
                    });
                    Class::Again(sent.map_or(0, |last| 1 << last.lane))
                }
                Some((end, false)) => Class::Stream(session.in_flight(end)),
                None if packet.tcp.is_some() => Class::Small,
                None => Class::Datagram,
            };
            let chosen = inner.s.pick(now, len, class, &dispatch, |index, lane| {
                index == 0 || cx.has_route(&lane.tuple().local.addr, &lane.tuple().remote.addr)
            });
            let interval = self.param(Param::CmInterval) as u32 * 1000;
            if let Some(index) = inner.s.forgotten(now, interval, chosen) {
                let lane = inner.s.lane(index).expect("the forgotten lane");
                forgotten = Some((index, lane.path.clone(), lane.tuple()));
            }
            let lane = inner.s.lane_mut(chosen).expect("the chosen lane");
            lane.tx_packets += 1;
            lane.tx_bytes += u64::from(len);
            (chosen, lane.path.clone(), lane.tuple())
        };
        if let Some((index, path, tuple)) = forgotten {
            self.ask(cx, session, &path, &tuple, index == 0, 0);
        }
        if chosen == 0 {
            self.keep(cx, session, &wire, 0, packet, data);
            self.count(Counter::TxOriginal);
            self.question(cx, session, &path, &tuple, true, len);
            path.count_tx(wire.len());
            if every && packet.proto == packet::UDP {
                let cm = self.data_cm(cx, session, &path, 0);
                ride(&mut wire, packet, &cm);
            }
            cx.sent.push(wire);
            return;
        }
        packet::rewrite(&mut wire.bytes, packet, &tuple.local, &tuple.remote, false);
        packet::set_dont_fragment(&mut wire.bytes, packet.family);
        self.keep(cx, session, &wire, chosen, packet, data);
        self.count(Counter::TxLane);
        self.question(cx, session, &path, &tuple, false, len);
        path.count_tx(wire.len());
        if every {
            let packet = wire.parse().expect("what was just rewritten");
            if packet.proto == packet::UDP {
                let cm = self.data_cm(cx, session, &path, 0);
                ride(&mut wire, &packet, &cm);
            } else {
                let cm = self.data_cm(cx, session, &path, packet.payload_len() as u16);
                wire.fill();
                wire.bytes.extend_from_slice(&cm);
                let end = wire.len();
                packet::set_ip_len(&mut wire.bytes, packet.family, end);
                packet::set_checksum(&mut wire.bytes, &packet, end);
            }
        }
        cx.sent.push(wire);
    }

    /// Keeps a segment with data.
    fn keep(
        &mut self,
        cx: &Cx<'_>,
        session: &Session,
        wire: &Wire,
        lane: usize,
        packet: &Packet,
        data: Option<(u32, bool)>,
    ) {
        if let (Some((end, _)), Some(tcp)) = (data, packet.tcp) {
            let now = self.now_us(cx);
            let mut inner = session.inner.borrow_mut();
            let gone = session.keep(&mut inner, wire, lane, tcp.seq, end, now);
            self.counters[Counter::KeptOverflow.index()] += u64::from(gone);
        }
    }

    fn data_cm(&mut self, cx: &Cx<'_>, session: &Session, path: &Path, length: u16) -> Vec<u8> {
        let now = self.now_us(cx);
        let data = path
            .state
            .borrow_mut()
            .data(now, session.id, path.id, length);
        self.count(Counter::CmTx);
        let proto = session.tuple.proto;
        self.emit(&session.peer.keys.tx, proto, &Cm::Data(data))
    }

    /// Asks for a report on a path when one is due.
    fn question(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Rc<Session>,
        path: &Path,
        tuple: &Tuple,
        original: bool,
        behind: u32,
    ) {
        if !session.is_multi() {
            return;
        }
        let interval = self.param(Param::CmInterval) as u32 * 1000;
        let now = self.now_us(cx);
        let is_due =
            || path.maybe_due(now, interval) && path.state.borrow().question_due(now, interval);
        if path.take_behind(now, behind) || is_due() {
            self.ask(cx, session, path, tuple, original, behind);
        }
    }

    fn unknown_out(
        &mut self,
        cx: &mut Cx<'_>,
        wire: &mut Wire,
        packet: &Packet,
        tuple: &Tuple,
        una: Option<u32>,
    ) {
        if self.stopping {
            return;
        }
        match packet.tcp {
            Some(tcp) if tcp.flags & packet::RST != 0 => {}
            Some(tcp) if tcp.flags & packet::SYN != 0 => {
                if tcp.flags & packet::ACK != 0 {
                    if let Some(slot) = self.syns.remove(tuple) {
                        let nonce = option::answer_nonce(&Algo, slot.nonce);
                        let answer = true;
                        add_option(wire, packet, &SynOption { answer, nonce });
                    }
                } else {
                    self.ask_by_syn(cx, wire, packet, tuple, tcp.seq);
                }
            }
            Some(tcp) => {
                let Some(una) = una else { return };
                let position = TcpPosition {
                    una,
                    ack: tcp.ack,
                    window: tcp.window,
                };
                if tcp.flags & packet::FIN == 0 {
                    self.join(cx, wire, packet, tuple, position);
                }
            }
            None => self.join(cx, wire, packet, tuple, TcpPosition::default()),
        }
    }

    fn join(
        &mut self,
        cx: &mut Cx<'_>,
        wire: &mut Wire,
        packet: &Packet,
        tuple: &Tuple,
        position: TcpPosition,
    ) {
        let dest = (packet.proto, packet.dst);
        let tcp = packet.tcp.is_some();
        if self.param(Param::Ask) != 0 {
            return;
        }
        let now = self.now_ms(cx);
        let policy = self.ask_policy();
        let entry = self.avail_entry(now, &dest);
        entry.state.touch(now);
        if entry.state.state() == Availability::Available {
            if tcp && !is_asker(tuple) {
                return;
            }
            if let Some(peer) = self.peer_of(&dest) {
                if self.start_joining(cx, tuple) {
                    let job = Job::Join {
                        tuple: *tuple,
                        position,
                        peer,
                    };
                    self.submit(cx, job);
                }
                return;
            }
            let entry = self.avail_entry(now, &dest);
            if !entry.state.may_repeat(now, &policy) {
                return;
            }
            entry.state.asked(now);
        } else {
            entry.state.silent(now, &policy);
            if !entry.state.should_ask(now, &policy) {
                return;
            }
            if tcp && !is_asker(tuple) && !entry.state.is_patient(now, TCP_PATIENCE_MS) {
                return;
            }
            if !tcp && !is_asker(tuple) {
                entry.sent += 1;
                if entry.sent < UDP_PATIENCE {
                    return;
                }
            }
            entry.state.asked(now);
        }
        let (salt, now) = (cx.rng.next_u32() as u16, self.now_s(cx));
        let nonce_a = self.identity.nonce_a(&Algo, tuple, now, salt);
        let hello = Cm::Hello(Hello {
            header: Header {
                node: self.identity.node,
                session: 0,
                number: 0,
            },
            nonce_a,
        });
        self.count(Counter::QueryTxHello);
        if tcp {
            self.send_public(cx, tuple, position, &hello);
        } else {
            let cm = self.emit(&PUBLIC_KEY, packet.proto, &hello);
            ride(wire, packet, &cm);
        }
    }

    fn ask_by_syn(
        &mut self,
        cx: &mut Cx<'_>,
        wire: &mut Wire,
        packet: &Packet,
        tuple: &Tuple,
        isn: u32,
    ) {
        if self.param(Param::Ask) != 0 {
            return;
        }
        let now = self.now_ms(cx);
        let policy = self.ask_policy();
        let again = self.syns.get(&tuple.reversed());
        let again = again.is_some_and(|slot| slot.isn == isn);
        let state = &mut self.avail_entry(now, &(packet.proto, packet.dst)).state;
        state.touch(now);
        if !state.may_use_option(now, &policy) {
            return;
        }
        if again {
            state.syn_timed_out(now);
            return;
        }
        if state.state() != Availability::Available {
            if !state.should_ask(now, &policy) {
                return;
            }
            state.asked(now);
        }
        let (salt, now) = (cx.rng.next_u32() as u16, self.now_s(cx));
        let nonce = self.identity.nonce_a(&Algo, tuple, now, salt);
        let answer = false;
        add_option(wire, packet, &SynOption { answer, nonce });
        self.count(Counter::QueryTxSyn);
        self.syns.insert(tuple.reversed(), SynSlot { nonce, isn });
    }

    pub(super) fn remember_syn(&mut self, tuple: &Tuple, nonce: u64, isn: u32) {
        self.syns.insert(*tuple, SynSlot { nonce, isn });
    }

    fn emit(&self, key: &[u8; 16], proto: u8, message: &Cm<'_>) -> Vec<u8> {
        let mut buf = [0; MAX_LEN];
        let n = cm::emit(&Algo, key, self.identity.node, proto, message, &mut buf);
        buf[..n].to_vec()
    }

    fn send_raw(
        &mut self,
        cx: &mut Cx<'_>,
        tuple: &Tuple,
        original: bool,
        position: TcpPosition,
        cm: &[u8],
    ) {
        if !cx.has_route(&tuple.local.addr, &tuple.remote.addr) {
            self.count(Counter::CmNoRoute);
            return;
        }
        let ip = packet::ip_header_len(tuple.local.addr.family());
        let out = if tuple.proto == packet::TCP {
            let mut out = vec![0; ip + packet::tcp_carrier_len(cm.len())];
            let seq = position.una.wrapping_sub(cm.len() as u32);
            packet::tcp_carrier(&mut out, tuple, seq, position.ack, position.window, cm);
            out
        } else if original {
            // Unlike `net`, which lets a repeated message ride behind the next datagram as well.
            let mut behind = vec![0; MAX_LEN + 8];
            let n = surplus::build(8, cm, &mut behind);
            let mut out = vec![0; ip + 8 + n];
            packet::udp_carrier(&mut out, tuple, &behind[..n], true);
            out
        } else {
            let mut out = vec![0; ip + 8 + cm.len()];
            packet::udp_message(&mut out, tuple, cm);
            out
        };
        self.count(Counter::CmTx);
        cx.sent.push(Wire::new(out));
    }

    pub(super) fn send_public(
        &mut self,
        cx: &mut Cx<'_>,
        tuple: &Tuple,
        position: TcpPosition,
        message: &Cm<'_>,
    ) {
        let cm = self.emit(&PUBLIC_KEY, tuple.proto, message);
        self.send_raw(cx, tuple, true, position, &cm);
    }

    pub(super) fn send_cm(
        &mut self,
        cx: &mut Cx<'_>,
        peer: &Peer,
        tuple: &Tuple,
        original: bool,
        position: TcpPosition,
        message: &Cm<'_>,
    ) {
        let cm = self.emit(&peer.keys.tx, tuple.proto, message);
        self.send_raw(cx, tuple, original, position, &cm);
    }

    pub(super) fn header(&self, peer: &Peer, session: u32) -> Header {
        Header {
            node: self.identity.node,
            session,
            number: peer.next_number(),
        }
    }

    pub(super) fn send_report(
        &mut self,
        cx: &mut Cx<'_>,
        session: &Session,
        path: &Path,
        tuple: &Tuple,
        original: bool,
        echo: Option<u32>,
    ) {
        let now = self.now_us(cx);
        let totals = path.totals(now);
        let report = {
            let mut state = path.state.borrow_mut();
            state.report(now, session.id, path.id, &totals, echo)
        };
        if echo.is_none() {
            path.longest.set(totals.wait_us);
        }
        let position = session.position();
        let report = Cm::Report(report);
        self.send_cm(cx, &session.peer, tuple, original, position, &report);
    }
}
