// SPDX-License-Identifier: GPL-2.0

//! How sessions are opened.

use crate::app::App;
use crate::app::Sink;
use crate::app::Source;
use crate::app::Tcp;
use crate::common::Host as Algo;
use crate::link::Shape;
use crate::link::Which;
use crate::scene::*;
use crate::wire;
use crate::wire::v4;
use crate::wire::Wire;
use crate::world::tuple;
use crate::world::World;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::crypto::PUBLIC_KEY;
use mpip_host::proto::packet;
use mpip_host::proto::packet::TCP;
use mpip_host::proto::packet::UDP;
use mpip_host::proto::params::Param;
use mpip_host::proto::wire::cm;
use mpip_host::proto::wire::cm::Cm;
use mpip_host::proto::wire::cm::Header;
use mpip_host::proto::wire::cm::Hello;
use mpip_host::proto::wire::cm::Kind;
use mpip_host::proto::wire::surplus;
use mpip_host::proto::wire::MAX_LEN;
use std::cell::RefCell;
use std::rc::Rc;

/// Control messages suffer, data does not.
fn poor(delay: u64) -> Shape {
    Shape {
        loss: 300,
        duplicates: 200,
        jitter: delay / 2,
        overtake: true,
        which: Which::Carriers,
        ..Shape::ideal(delay)
    }
}

#[test]
fn tcp_opens_under_loss() {
    let mut times = Vec::new();
    for seed in seeds(20) {
        let mut w = straight(seed, &[poor(10 * MS), poor(20 * MS)]);
        let t = tcp_tuple();
        let b = w.start(B, Tcp::server(t.reversed(), 0).app());
        let a = w.start(A, Tcp::client(t, 1000, u64::MAX).app());
        // Slow enough to be quick to simulate.
        w.links[0].shape.rate = MBIT;
        w.links[2].shape.rate = MBIT;
        w.links[0].shape.queue_packets = 20;
        w.links[2].shape.queue_packets = 20;
        times.push(settle(&mut w, 2, 20 * S));
        assert_eq!(w.tcp(B, b).stats.resets + w.tcp(A, a).stats.resets, 0);
    }
    times.sort_unstable();
    println!("opened after {times:?} us");
    assert!(times[times.len() / 2] < 2 * S);
}

#[test]
fn udp_opens_under_loss() {
    let mut times = Vec::new();
    for seed in seeds(20) {
        let mut w = straight(seed, &[poor(10 * MS), poor(20 * MS)]);
        // One in 40 times three questions in a row stay unanswered, and then nobody asks for ten
        // minutes.
        w.node_mut(A).set(Param::QueryThreshold, 8);
        stream(&mut w, udp_tuple(), MBIT, 30 * S);
        times.push(settle(&mut w, 2, 25 * S));
    }
    times.sort_unstable();
    println!("opened after {times:?} us");
    assert!(times[times.len() / 2] < 2 * S);
}

#[test]
fn opens_in_a_few_round_trips() {
    let shape = Shape::ideal(10 * MS);
    let mut w = straight(1, &[shape.clone(), shape]);
    connect(&mut w, tcp_tuple(), u64::MAX >> 1);
    for link in &mut w.links {
        link.shape.rate = 10 * MBIT;
        link.shape.queue_packets = 50;
    }
    // SYN, HELLO, CONFIRM, LANE, and CONFIRM of the lane. The first HELLO overtakes the last
    // segment of the handshake and finds no connection: a second one follows after 200 ms.
    let took = settle(&mut w, 2, S);
    println!("two lanes after {took} us");
    assert!(took <= 350 * MS, "{took}");
}

/// Datagrams in both directions on one tuple from the same moment on.
fn both_ways(w: &mut World, until: u64) {
    let t = udp_tuple();
    w.start(A, Source::app(t, 200, MBIT, MS, until));
    w.start(B, Source::app(t.reversed(), 200, MBIT, MS, until));
}

#[test]
fn both_ask_at_once() {
    // The nodes' ids decide, so that several identities are needed.
    for seed in seeds(8) {
        for delay in [MS, 20 * MS, 60 * MS] {
            let shape = Shape::ideal(delay);
            let mut w = straight(seed, &[shape.clone(), shape]);
            both_ways(&mut w, 20 * S);
            let took = settle(&mut w, 2, 10 * S);
            assert!(took < 2 * S, "seed {seed} delay {delay}: {took}");
            let asked = [A, B].map(|h| w.node(h).counter(Counter::QueryTxHello));
            assert!(delay == MS || asked.iter().all(|n| *n > 0), "{asked:?}");
            w.pass(5 * S);
            assert!(agree(&w, 2), "seed {seed} delay {delay}");
            assert_eq!(w.node(A).peers.len(), 1);
        }
    }
}

#[test]
fn both_ask_on_different_flows() {
    for seed in seeds(8) {
        let shape = Shape::shaped(5 * MBIT, 40 * MS, 50);
        let mut w = straight(seed, &[shape.clone(), shape]);
        let t = tcp_tuple();
        let u = tuple(TCP, (v4(1, 1), 22), (v4(1, 2), 50_000));
        w.start(B, Tcp::server(t.reversed(), 0).app());
        w.start(A, Tcp::server(u, 0).app());
        w.start(A, Tcp::client(t, MS, u64::MAX >> 1).app());
        w.start(B, Tcp::client(u.reversed(), MS, u64::MAX >> 1).app());
        let ready = |w: &World| {
            let (a, b) = (w.node(A), w.node(B));
            let ids = |h: usize| -> Vec<u32> { w.node(h).sessions.keys().map(|k| k.1).collect() };
            a.active_lanes() == 4 && b.active_lanes() == 4 && ids(A) == ids(B)
        };
        let took = w.until(12 * S, ready);
        let states = || [w.node(A).state(), w.node(B).state()];
        assert!(took.is_some(), "seed {seed}: {:#?}", states());
        println!("seed {seed}: {took:?}");
    }
}

#[test]
fn both_open_at_once() {
    // The nodes know each other; then both find a new flow at the same moment.
    for seed in seeds(8) {
        for delay in [MS, 30 * MS, 70 * MS] {
            let shape = Shape::ideal(delay);
            let mut w = straight(seed, &[shape.clone(), shape]);
            both_ways(&mut w, 3 * S);
            settle(&mut w, 2, 3 * S);
            w.run(4 * S);
            let t = udp_tuple();
            // Both know the destination: neither asks, both open.
            let first = [A, B].map(|h| w.node(h).only());
            w.node_mut(A).lose(&first[A]);
            w.node_mut(B).lose(&first[B]);
            w.start(A, Source::app(t, 200, MBIT, w.now + MS, 20 * S));
            w.start(B, Source::app(t.reversed(), 200, MBIT, w.now + MS, 20 * S));
            let took = settle(&mut w, 2, 10 * S);
            assert!(took < 2 * S, "seed {seed} delay {delay}: {took}");
            w.pass(3 * S);
            assert!(agree(&w, 2));
        }
    }
}

/// A HELLO from a made-up node in a carrier.
fn hello(t: &mpip_host::proto::addr::Tuple, node: u64) -> Wire {
    let message = Cm::Hello(Hello {
        header: Header {
            node,
            session: 0,
            number: 0,
        },
        nonce_a: node ^ 0x5555,
    });
    let mut buf = [0; MAX_LEN];
    let n = cm::emit(&Algo, &PUBLIC_KEY, node, t.proto, &message, &mut buf);
    if t.proto == TCP {
        let mut out = vec![0; 20 + packet::tcp_carrier_len(n)];
        packet::tcp_carrier(&mut out, t, 1, 1, 1000, &buf[..n]);
        return Wire::new(out);
    }
    let mut behind = [0; MAX_LEN + 8];
    let len = surplus::build(8, &buf[..n], &mut behind);
    let mut out = vec![0; 28 + len];
    packet::udp_carrier(&mut out, t, &behind[..len], true);
    Wire::new(out)
}

#[test]
fn hello_leaves_no_state() {
    let mut w = World::new(1);
    let b = w.multi(&[v4(1, 2)], 0);
    w.start(b, App::Sink(Sink::new(wire::end(v4(1, 2), 80))));
    for i in 0..200 {
        w.one_way(v4(1, 2), v4(i, 99), Shape::ideal(MS));
    }
    let before = w.node(b).state();
    let log = record(&mut w);
    let mut asked = 0;
    for i in 0..1000u32 {
        let from = v4((i % 200) as u8, 99);
        for proto in [TCP, UDP] {
            let t = tuple(proto, (from, 1000 + i as u16), (v4(1, 2), 80));
            let request = hello(&t, u64::from(i) + 1);
            w.inject(request.clone());
            w.pass(MS);
            let replies = std::mem::take(&mut *log.borrow_mut());
            assert_eq!(replies.len(), 1);
            let reply = &replies[0].1;
            assert_eq!(reply.kind(), Some(Kind::HelloReply));
            assert!(reply.len() <= request.len());
            asked += 1;
        }
    }
    w.pass(5 * S);
    assert!(log.borrow().is_empty(), "more than one answer");
    assert_eq!(w.node(b).state(), before);
    assert_eq!(w.node(b).counter(Counter::QueryRx), asked);
}

#[test]
fn no_state_before_confirm() {
    let shape = Shape::ideal(10 * MS);
    for t in [tcp_tuple(), udp_tuple()] {
        let mut w = straight(1, &[shape.clone(), shape.clone()]);
        w.links[0].shape.rate = MBIT;
        // After two seconds B would ask by itself.
        w.node_mut(B).set(Param::Ask, 2);
        let confirms = Rc::new(RefCell::new(Vec::new()));
        let kept = confirms.clone();
        w.tap = Some(Box::new(move |_, wire| {
            if wire.kind() == Some(Kind::Confirm) {
                kept.borrow_mut().push(wire.clone());
                return false;
            }
            true
        }));
        if t.proto == TCP {
            connect(&mut w, t, 1 << 20);
        } else {
            stream(&mut w, t, MBIT, 10 * S);
        }
        w.run(10 * S);
        let state = w.node(B).state();
        assert_eq!(state, ["0 tuples, 0 peers, 0 joining, 0 jobs"]);
        assert!(confirms.borrow().len() >= 7);
        // Two minutes later the cookie in them is worth nothing.
        w.run(140 * S);
        let old: Vec<_> = confirms.borrow_mut().drain(..).take(7).collect();
        for wire in old {
            w.inject(wire);
            w.pass(10 * MS);
        }
        assert_eq!(w.node(B).state(), state);
        assert!(w.node(B).counter(Counter::CmBadTag) >= 7);
    }
}

#[test]
fn confirm_in_time_is_enough() {
    let shape = Shape::ideal(10 * MS);
    let mut w = straight(1, &[shape.clone(), shape]);
    let held = Rc::new(RefCell::new(None));
    let kept = held.clone();
    w.tap = Some(Box::new(move |_, wire| {
        let confirm = wire.kind() == Some(Kind::Confirm);
        if confirm {
            kept.borrow_mut().get_or_insert(wire.clone());
        }
        !confirm
    }));
    stream(&mut w, udp_tuple(), MBIT, 2 * S);
    w.run(30 * S);
    assert_eq!(w.node(B).sessions.len(), 0);
    let wire = held.borrow_mut().take().unwrap();
    w.inject(wire);
    w.pass(S);
    assert_eq!(w.node(B).sessions.len(), 1);
    assert_eq!(w.node(B).peers.len(), 1);
}

#[test]
fn answers_are_no_larger_than_questions() {
    // While nobody has shown that he receives at his address.
    let shape = Shape::ideal(10 * MS);
    for t in [tcp_tuple(), udp_tuple()] {
        let mut w = straight(1, &[shape.clone(), shape.clone()]);
        w.links[0].shape.rate = MBIT;
        let log = record(&mut w);
        if t.proto == TCP {
            connect(&mut w, t, 1 << 20);
        } else {
            stream(&mut w, t, MBIT, 10 * S);
        }
        settle(&mut w, 2, 3 * S);
        let len = |kind: Kind| -> Vec<usize> {
            let log = log.borrow();
            let of_kind = log.iter().filter(|(_, w)| w.kind() == Some(kind));
            of_kind.map(|(_, w)| w.len()).collect()
        };
        for (question, answer) in [
            (Kind::Hello, Kind::HelloReply),
            (Kind::Confirm, Kind::OpenAck),
            (Kind::Lane, Kind::LaneAck),
            (Kind::LaneAck, Kind::LaneConfirm),
        ] {
            let (questions, answers) = (len(question), len(answer));
            assert!(answers.iter().max() <= questions.iter().min(), "{answer:?}");
            assert!(answers.len() <= questions.len(), "{answer:?}");
            assert!(!answers.is_empty());
        }
    }
}

#[test]
fn a_third_node_is_not_let_in() {
    // Somebody else's key does not fit the node id, so that nobody takes another's place.
    let shape = Shape::ideal(10 * MS);
    let mut w = straight(1, &[shape.clone(), shape]);
    let swapped = Rc::new(RefCell::new(0));
    let count = swapped.clone();
    let forged = Rc::new(RefCell::new(Vec::new()));
    let out = forged.clone();
    w.tap = Some(Box::new(move |_, wire| {
        if wire.kind() != Some(Kind::HelloReply) {
            return true;
        }
        *count.borrow_mut() += 1;
        let (bytes, _) = wire.cm().unwrap();
        let raw = cm::Raw::new(&bytes).unwrap();
        let Some(Cm::HelloReply(mut reply)) = raw.parse() else {
            return true;
        };
        reply.public_key[0] ^= 1;
        let mut buf = [0; MAX_LEN];
        let message = Cm::HelloReply(reply);
        let node = reply.header.node;
        let n = cm::emit(&Algo, &PUBLIC_KEY, node, UDP, &message, &mut buf);
        let mut forged = wire.clone();
        let at = forged.bytes.len() - n;
        forged.bytes[at..].copy_from_slice(&buf[..n]);
        out.borrow_mut().push(forged);
        false
    }));
    stream(&mut w, udp_tuple(), MBIT, S);
    for _ in 0..200 {
        w.pass(10 * MS);
        let wires: Vec<_> = forged.borrow_mut().drain(..).collect();
        for wire in wires {
            w.inject(wire);
        }
    }
    assert!(*swapped.borrow() > 0);
    assert!(w.node(A).counter(Counter::CmMalformed) > 0);
    assert_eq!(w.node(A).peers.len(), 0);
    assert_eq!(w.node(A).sessions.len(), 0);
}

#[test]
fn the_option_is_no_echo() {
    // A host that echoes options it does not know is not taken for a peer.
    let shape = Shape::ideal(10 * MS);
    let mut w = straight(1, &[shape.clone(), shape]);
    w.hosts[B].node = None;
    let echo = Rc::new(RefCell::new(Vec::new()));
    let out = echo.clone();
    let t = tcp_tuple();
    w.tap = Some(Box::new(move |_, wire| {
        let packet = wire.parse().unwrap();
        let Some(tcp) = packet.tcp else { return true };
        if tcp.flags == packet::SYN {
            let options = wire.copy(packet.l4 + 20, packet.payload - packet.l4 - 20);
            assert_eq!(options.len(), 16);
            let seg = wire::Seg {
                seq: 77,
                ack: tcp.seq.wrapping_add(1),
                flags: packet::SYN | packet::ACK,
                options: &options,
                ..wire::Seg::default()
            };
            out.borrow_mut().push(wire::tcp(&t.reversed(), &seg));
        }
        false
    }));
    w.start(A, Tcp::client(t, MS, 1000).app());
    w.run(10 * MS);
    let wire = echo.borrow_mut().pop().unwrap();
    w.inject(wire);
    w.run(20 * MS);
    let known = w.node(A).availability(&(TCP, t.remote));
    let available = mpip_host::proto::avail::Availability::Available;
    assert!(known.is_some_and(|a| a != available));
}

#[test]
fn a_datagram_with_a_question_is_delivered_once() {
    let shape = Shape::ideal(10 * MS);
    let mut w = straight(1, &[shape.clone(), shape]);
    let t = udp_tuple();
    let sink_app = w.start(B, App::Sink(Sink::new(t.remote)));
    let source = w.start(A, Source::app(t, 333, MBIT, MS, 5 * S));
    w.run(6 * S);
    assert_eq!(sink(&w, sink_app).packets, sent(&w, source));
    assert_eq!(sink(&w, sink_app).bytes, sent(&w, source) * 333);
    assert_eq!(sink(&w, sink_app).twice, 0);
    assert!(agree(&w, 2));
}
