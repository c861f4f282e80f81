// SPDX-License-Identifier: GPL-2.0

//! What leaves the host and belongs to no session: is the destination asked whether it speaks MPIP?
//!
//! A SYN or a datagram may carry the question, a SYN-ACK the answer; for connections that are open
//! already, and datagrams without room, it goes in a carrier. POST_ROUTING, softirq context.

use crate::{
    net::{
        emit::Target,
        instance::Instance,
        rider::ride,
        rows::{
            Destination,
            SynSlot, //
        },
        session::TcpPosition,
        tx::parse,
        work::Job, //
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
            Packet, //
        },
        params::Param,
        wire::{
            cm,
            option::{
                self,
                SynOption, //
            },
            MAX_LEN, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        clock,
        crypto::Algo,
        gate::Way,
        reading::Reading,
        skb::{
            Csum,
            Skb, //
        }, //
    },
};

/// How long a TCP flow whose other end looks like the client goes on before this end asks, once,
/// milliseconds.
const TCP_PATIENCE_MS: u32 = 2_000;
/// Datagrams that a destination with a higher port gets before it is asked: whoever sends from
/// the lower port is likely to answer somebody's short question.
const UDP_PATIENCE: u32 = 3;
/// Datagrams in a row without room behind them after which a question goes alone.
const UDP_ROOM: u32 = 8;

/// A packet that belongs to no session.
pub fn unknown(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    rcu: Reading<'_>,
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
            let Some((una, _)) = skb.socket_sent() else {
                return;
            };
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
    rcu: Reading<'_>,
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
    // Counted before it is sent: another CPU may be about to ask the same.
    let question = {
        let mut state = entry.state.lock();
        state.touch(now);
        match state.state() {
            Availability::Available => {
                drop(state);
                // Known peers open their own sessions, but here no socket has the addresses that
                // they see if this host's NAT has changed them.
                if tcp && !is_asker(tuple) && !skb.is_translated() {
                    return;
                }
                if let Some(peer) = instance.peer_of(rcu, &entry) {
                    if instance.start_joining(tuple) {
                        instance.submit(Job::Join {
                            tuple: *tuple,
                            position,
                            peer,
                        });
                    }
                    return;
                }
                // It speaks MPIP but the keys are gone or not agreed yet. They soon are: nothing
                // is to keep this flow from being looked at then.
                let mut state = entry.state.lock();
                if !state.may_repeat(now, &policy) {
                    return;
                }
                state.asked(now)
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
                    let sent = entry.sent.read_once().saturating_add(1);
                    entry.sent.write_once(sent);
                    if sent < UDP_PATIENCE {
                        return;
                    }
                }
                state.asked(now)
            }
        }
    };
    if tcp {
        let asked = instance.submit(Job::Ask {
            tuple: *tuple,
            position,
        });
        if asked {
            instance.count(Counter::QueryTxHello);
        } else {
            entry.state.lock().take_back(question);
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
            entry.full.write_once(0);
        } else {
            // Not behind this datagram: one of the next may have room. If none has, a carrier goes
            // with it, which a plain host drops.
            let full = entry.full.read_once().saturating_add(1);
            entry.full.write_once(full % UDP_ROOM);
            if full < UDP_ROOM {
                entry.state.lock().take_back(question);
                return;
            }
            instance.send_raw(&Target::own(tuple, position), cm);
        }
        instance.count(Counter::QueryTxHello);
    }
}

/// Adds our option to a SYN of a destination that may be asked.
fn ask_by_syn(
    instance: &Instance,
    skb: &mut Skb<'_>,
    packet: &Packet,
    tuple: &Tuple,
    dest: &Destination,
    rcu: Reading<'_>,
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
    if let Some((_, known)) = instance.avail.get(rcu, &host) {
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
        clamp_mss(instance, skb, packet.family, &tuple.remote);
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
    clamp_mss(instance, skb, packet.family, &tuple.remote);
}

/// Inserts an option behind the fixed TCP header of a segment without data.
fn add_option(skb: &mut Skb<'_>, packet: &Packet, option: &SynOption) -> bool {
    let options = skb.head().get(packet.options());
    if options.is_none_or(option::is_signed) {
        return false;
    }
    let room = packet::TCP_HEADER_MAX.saturating_sub(packet.header_len());
    if packet.payload_len() != 0 || room < option::LEN || skb.is_gso() {
        return false;
    }
    if !skb.complete_csum() || !skb.append(&[0; option::LEN]) {
        return false;
    }
    let end = skb.len();
    let Some(bytes) = skb.writable(end) else {
        return false;
    };
    if !packet::insert_tcp_option(bytes, packet, &option::emit(option)) {
        return false;
    }
    packet::set_ip_len(bytes, packet.family, end);
    packet::set_checksum(bytes, packet, end);
    true
}

/// Lowers the maximum segment size in a SYN or SYN-ACK to what the narrowest interface of this
/// host carries, in what segments for the other end are known to be wrapped in; never raises it.
pub fn clamp_mss(instance: &Instance, skb: &mut Skb<'_>, family: u8, remote: &Endpoint) {
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
        .get(packet.options())
        .is_none_or(option::is_signed)
    {
        return;
    }
    let headers = packet::ip_header_len(family).saturating_add(packet::TCP_HEADER_LEN);
    let outer = headers.saturating_add(instance.wrapper_len(remote));
    let mut room = (mtu as usize).saturating_sub(outer);
    if instance.param(Param::Cm) == 1 {
        room = room.saturating_sub(cm::DATA_LEN);
    }
    let options = packet.options();
    let Some((at, mss)) = skb.head().get(options.clone()).and_then(option::mss) else {
        return;
    };
    if usize::from(mss) <= room {
        return;
    }
    let partial = skb.csum() == Csum::Partial;
    let Some(head) = skb.writable(packet.payload) else {
        return;
    };
    let at = options.start.saturating_add(at);
    packet::replace_tcp_word(head, &packet, at, room as u16, partial);
    instance.count(Counter::MssClamped);
}
