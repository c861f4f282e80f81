// SPDX-License-Identifier: GPL-2.0

//! Lanes: where they come up, and that none carries data too early.

use crate::link::Shape;
use crate::scene::*;
use crate::wire;
use crate::wire::v4;
use crate::wire::v6;
use crate::wire::Wire;
use crate::world::tuple;
use crate::world::World;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet;
use mpip_host::proto::packet::TCP;
use mpip_host::proto::packet::UDP;
use mpip_host::proto::params::Param;
use mpip_host::proto::session::LaneState;
use mpip_host::proto::wire::cm::Kind;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Data from A to B, or both ways.
fn traffic(w: &mut World, t: Tuple, until: u64) {
    if t.proto == TCP {
        connect(w, t, u64::MAX >> 1);
    } else {
        stream(w, t, 4 * MBIT, until);
    }
}

/// Packets with user data by tuple, as their senders see it.
fn data_by_tuple(log: &[(u64, Wire)]) -> HashMap<Tuple, u64> {
    let mut out = HashMap::new();
    for (_, wire) in log {
        if wire.user_len() != 0 {
            *out.entry(wire.parse().unwrap().tx_tuple()).or_insert(0) += 1;
        }
    }
    out
}

#[test]
fn every_pair_gets_a_lane() {
    let v4s = |host: u8, n: u8| -> Vec<Addr> { (1..=n).map(|net| v4(net, host)).collect() };
    let v6s = |host: u8, n: u8| -> Vec<Addr> { (1..=n).map(|net| v6(net, host)).collect() };
    for (a, b, expected) in [
        (v4s(1, 1), v4s(2, 1), 1),
        (v4s(1, 2), v4s(2, 1), 2),
        (v4s(1, 1), v4s(2, 3), 3),
        (v4s(1, 2), v4s(2, 2), 4),
        (v6s(1, 2), v6s(2, 2), 4),
        // The ninth pair exceeds `max_lanes`.
        (v4s(1, 3), v4s(2, 3), 8),
        // Only addresses of the session's family count.
        (
            [v4s(1, 2), v6s(1, 2)].concat(),
            [v4s(2, 1), v6s(2, 2)].concat(),
            2,
        ),
    ] {
        for proto in [TCP, UDP] {
            let mut w = mesh(1, &a, &b, &Shape::shaped(5 * MBIT, 10 * MS, 50));
            let t = tuple(proto, (a[0], 50_000), (b[0], 80));
            // All are used.
            w.node_mut(A).set(Param::Scheduler, 1);
            let log = record(&mut w);
            traffic(&mut w, t, 30 * S);
            if expected == 1 {
                w.run(2 * S);
                assert!(agree(&w, 1));
                continue;
            }
            settle(&mut w, expected, 3 * S);
            log.borrow_mut().clear();
            w.pass(5 * S);
            assert!(agree(&w, expected));
            let data = data_by_tuple(&log.borrow());
            let out = data.keys().filter(|t| a.contains(&t.local.addr));
            assert_eq!(out.count(), expected, "{proto} {expected}: {data:?}");
        }
    }
}

#[test]
fn max_lanes_limits() {
    for limit in [1, 2, 3] {
        let shape = Shape::shaped(5 * MBIT, 10 * MS, 50);
        let mut w = mesh(1, &addrs(A, 2), &addrs(B, 2), &shape);
        w.node_mut(A).set(Param::MaxLanes, limit);
        traffic(&mut w, tcp_tuple(), 0);
        w.run(2 * S);
        assert!(agree(&w, limit as usize));
    }
}

/// When each kind of message of the lane exchange first left, and the first data, on the tuples
/// of added lanes: by sender and kind, data as `None`.
type Firsts = HashMap<(Addr, Option<u8>), u64>;

fn firsts(log: &[(u64, Wire)], original: &Tuple) -> Firsts {
    let mut out = HashMap::new();
    for (at, wire) in log {
        let tuple = wire.parse().unwrap().tx_tuple();
        if tuple == *original || tuple == original.reversed() {
            continue;
        }
        let what = match wire.kind() {
            Some(kind) if wire.is_carrier() => Some(kind.to_wire()),
            _ => None,
        };
        out.entry((tuple.local.addr, what)).or_insert(*at);
    }
    out
}

#[test]
fn no_data_before_the_challenge() {
    let delay = 10 * MS;
    for (proto, t) in [(TCP, tcp_tuple()), (UDP, udp_tuple())] {
        let shape = Shape::shaped(5 * MBIT, delay, 50);
        let mut w = straight(1, &[shape.clone(), shape]);
        let log = record(&mut w);
        traffic(&mut w, t, 5 * S);
        if proto == UDP {
            // Something for B to send.
            let back = crate::app::Source::app(t.reversed(), 1000, MBIT, MS, 5 * S);
            w.start(B, back);
        }
        w.run(3 * S);
        assert!(agree(&w, 2));
        let firsts = firsts(&log.borrow(), &t);
        let at = |host: u8, kind: Option<Kind>| firsts[&(v4(2, host), kind.map(Kind::to_wire))];
        let (lane, ack) = (at(1, Some(Kind::Lane)), at(2, Some(Kind::LaneAck)));
        let confirm = at(1, Some(Kind::LaneConfirm));
        assert!(lane + delay <= ack && ack + delay <= confirm);
        assert!(ack + delay <= at(1, None), "A sent too early");
        assert!(confirm + delay <= at(2, None), "B sent too early");
    }
}

/// Runs two seconds in which messages of one kind get lost; who sent data on an added lane.
fn without(kind: Kind, t: Tuple) -> [bool; 2] {
    let shape = Shape::shaped(5 * MBIT, 10 * MS, 50);
    let mut w = straight(1, &[shape.clone(), shape]);
    let seen = Rc::new(RefCell::new([false; 2]));
    let out = seen.clone();
    w.tap = Some(Box::new(move |_, wire| {
        if wire.kind() == Some(kind) && wire.is_carrier() {
            return false;
        }
        let tuple = wire.parse().unwrap().tx_tuple();
        if !wire.is_carrier() && tuple.local.addr == v4(2, 1) {
            out.borrow_mut()[A] = true;
        }
        if !wire.is_carrier() && tuple.local.addr == v4(2, 2) {
            out.borrow_mut()[B] = true;
        }
        true
    }));
    traffic(&mut w, t, 10 * S);
    if t.proto == UDP {
        let back = crate::app::Source::app(t.reversed(), 1000, MBIT, MS, 10 * S);
        w.start(B, back);
    }
    w.run(10 * S);
    let seen = *seen.borrow();
    seen
}

#[test]
fn both_ends_want_their_answer() {
    for t in [tcp_tuple(), udp_tuple()] {
        assert_eq!(without(Kind::Lane, t), [false, false]);
        assert_eq!(without(Kind::LaneAck, t), [false, false]);
        assert_eq!(without(Kind::LaneConfirm, t), [true, false]);
    }
}

/// The packet with another source, checksums mended.
fn from(wire: &Wire, source: Addr, port: u16) -> Wire {
    let packet = wire.parse().unwrap();
    let t = tuple(
        packet.proto,
        (source, port),
        (packet.dst.addr, packet.dst.port),
    );
    if packet.proto == UDP {
        // The same datagram from elsewhere, with the same surplus area.
        let payload = wire.copy(packet.payload, packet.payload_len());
        let mut out = wire::udp(&t, &payload, 0);
        out.bytes
            .extend(wire.copy(packet.payload_end, packet.end - packet.payload_end));
        let len = out.len();
        packet::set_ip_len(&mut out.bytes, 4, len);
        return out;
    }
    let tcp = packet.tcp.unwrap();
    let seg = wire::Seg {
        seq: tcp.seq,
        ack: tcp.ack,
        flags: tcp.flags,
        payload: &wire.copy(packet.payload, packet.payload_len()),
        ..wire::Seg::default()
    };
    wire::tcp(&t, &seg)
}

#[test]
fn a_replayed_lane_brings_nothing_elsewhere() {
    let thief = v4(66, 66);
    for first in [false, true] {
        for t in [tcp_tuple(), udp_tuple()] {
            let shape = Shape::shaped(5 * MBIT, 10 * MS, 50);
            let mut w = straight(1, &[shape.clone(), shape]);
            w.plain(&[thief]);
            w.one_way(v4(2, 2), thief, Shape::ideal(MS));
            w.hosts[2].log = Some(Vec::new());
            let lanes = Rc::new(RefCell::new(Vec::new()));
            let out = lanes.clone();
            w.tap = Some(Box::new(move |_, wire| {
                let is_lane = wire.kind() == Some(Kind::Lane);
                let take = is_lane && out.borrow().is_empty();
                if take {
                    out.borrow_mut().push(wire.clone());
                }
                // The thief may be quicker than the original.
                !(take && first)
            }));
            traffic(&mut w, t, 30 * S);
            if t.proto == UDP {
                let back = crate::app::Source::app(t.reversed(), 1000, 4 * MBIT, MS, 30 * S);
                w.start(B, back);
            }
            while lanes.borrow().is_empty() {
                w.pass(MS);
            }
            let lane = lanes.borrow()[0].clone();
            let forged = from(&lane, thief, 4000);
            assert!(forged.checksums_ok());
            if !first {
                w.pass(S);
            }
            w.inject(forged.clone());
            settle(&mut w, 2, 3 * S);
            let before = w.node(B).state();
            for port in 4000..4010 {
                w.inject(from(&lane, thief, port));
            }
            w.pass(20 * MS);
            assert_eq!(before.len(), w.node(B).state().len());
            w.pass(20 * S);
            let received = w.hosts[2].log.take().unwrap();
            let bytes: usize = received.iter().map(Wire::len).sum();
            println!("first {first}: {} packets, {bytes} bytes", received.len());
            // LANE_ACKs to the first try, and for UDP "port unreachable" to the others: the tuple
            // is not known, as on a host without MPIP.
            let acks = received.iter().filter(|w| w.kind() == Some(Kind::LaneAck));
            assert_eq!(acks.count(), if first { 7 } else { 0 });
            assert!(received
                .iter()
                .all(|w| w.user_len() == 0 && w.len() <= forged.len()));
            assert!(agree(&w, 2));
        }
    }
}

/// An RST on a tuple, as its sender sees it, to a node: as from a host that does not know the
/// tuple and takes the sequence number from an acknowledgement.
fn reset(w: &World, host: usize, t: &Tuple) -> Wire {
    let seg = wire::Seg {
        seq: w.node(host).only().acked(),
        flags: packet::RST,
        ..wire::Seg::default()
    };
    wire::tcp(t, &seg)
}

/// The tuple of the added lane that ends at B's `addr`, seen from A.
fn lane_to(w: &World, addr: Addr) -> Tuple {
    let inner = w.node(A).only();
    let inner = inner.inner.borrow();
    let mut lanes = inner.s.lanes.iter().flatten();
    lanes
        .find(|l| l.tuple().remote.addr == addr)
        .unwrap()
        .tuple()
}

#[test]
fn rst_refuses_one_lane_for_a_while() {
    // To the end that asked for the lane, to the other one, and to both.
    for (to_a, to_b) in [(true, false), (false, true), (true, true)] {
        let shape = Shape::shaped(5 * MBIT, 10 * MS, 50);
        let mut w = straight(1, &[shape.clone(), shape.clone(), shape]);
        let (a, b) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
        settle(&mut w, 3, 3 * S);
        w.pass(S);
        let t = lane_to(&w, v4(2, 2));
        if to_a {
            w.inject(reset(&w, A, &t.reversed()));
        }
        if to_b {
            w.inject(reset(&w, B, &t));
        }
        w.pass(MS);
        let count = |w: &World, host| w.node(host).active_lanes();
        assert_eq!(count(&w, A), if to_a { 2 } else { 3 });
        assert_eq!(count(&w, B), if to_b { 2 } else { 3 });
        let third = lane_to(&w, v4(3, 2));
        for host in [A, B] {
            let session = w.node(host).only();
            let inner = session.inner.borrow();
            let mine = if host == A { third } else { third.reversed() };
            let index = inner.s.find(&mine).unwrap();
            assert_eq!(inner.s.lane(index).unwrap().state, LaneState::Active);
        }
        let took = w.until(10 * S, |w| agree(w, 3));
        println!("to A {to_a}, to B {to_b}: back after {took:?} us");
        assert!(took.is_some_and(|t| t < 3 * S), "to A {to_a}, to B {to_b}");
        assert_eq!(w.tcp(A, a).stats.resets + w.tcp(B, b).stats.resets, 0);
        let before = w.tcp(B, b).received();
        w.pass(S);
        assert!(w.tcp(B, b).received() > before);
    }
}

#[test]
fn lanes_that_cross_end_in_one() {
    // Most of what asks for a lane gets lost, until both ends ask: what they send may be on its way
    // at the same time, when the one that opened the session no longer insists on its own lane.
    for (seed, t) in (0..200).flat_map(|n| [(n, tcp_tuple()), (n, udp_tuple())]) {
        let delay = 20 + seed % 40 * 10;
        let shape = Shape::shaped(5 * MBIT, delay * MS, 50);
        let mut w = straight(1, &[shape.clone(), shape]);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        w.tap = Some(Box::new(move |_, wire| {
            wire.kind() != Some(Kind::Lane) || rng.next_u32() % 5 == 0
        }));
        traffic(&mut w, t, 60 * S);
        if t.proto == UDP {
            w.start(
                B,
                crate::app::Source::app(t.reversed(), 1000, MBIT, MS, 60 * S),
            );
        }
        let took = w.until(60 * S, |w| agree(w, 2));
        assert!(took.is_some(), "{} {delay} ms, seed {seed}", t.proto);
    }
}

#[test]
fn a_lane_that_came_up_at_one_end_comes_up_at_the_other() {
    // LANE_CONFIRM is lost until both ends have stopped trying.
    for t in [tcp_tuple(), udp_tuple()] {
        let shape = Shape::shaped(5 * MBIT, 10 * MS, 50);
        let mut w = straight(1, &[shape.clone(), shape]);
        w.tap = Some(Box::new(|now, wire| {
            now > 8 * S || wire.kind() != Some(Kind::LaneConfirm)
        }));
        traffic(&mut w, t, 30 * S);
        w.run(8 * S);
        assert_eq!(w.node(A).active_lanes(), 2);
        assert_eq!(w.node(B).active_lanes(), 1);
        let took = w.until(5 * S, |w| agree(w, 2));
        println!("up after {took:?} us more");
        assert!(took.is_some());
    }
}
