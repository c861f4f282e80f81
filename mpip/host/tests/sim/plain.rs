// SPDX-License-Identifier: GPL-2.0

//! Hosts without MPIP, and hosts that lose it.

use crate::app::App;
use crate::app::Sink;
use crate::app::Source;
use crate::app::Tcp;
use crate::link::Shape;
use crate::scene::*;
use crate::world::World;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::avail::Availability;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::packet::TCP;

/// A connection on which A sends a pattern and B sends one back.
fn patterns(w: &mut World, t: Tuple, bytes: u64) {
    let server = Tcp::server(t.reversed(), bytes).with_pattern();
    w.start(B, server.app());
    let client = Tcp::client(t, w.now + MS, bytes).with_pattern();
    w.start(A, client.app());
}

/// Whether both ends have received exactly what was sent.
fn exact(w: &World, bytes: u64) -> bool {
    [A, B].iter().all(|host| {
        let tcp = w.tcp(*host, 0);
        tcp.received() == bytes && tcp.stats.wrong == 0 && tcp.stats.resets == 0
    })
}

#[test]
fn tcp_gets_exact_bytes() {
    // The host without MPIP is the one that is connected to, then the one that connects.
    for plain in [B, A] {
        for loss in [0, 20] {
            let shape = Shape {
                loss,
                ..Shape::shaped(20 * MBIT, 10 * MS, 50)
            };
            let mut w = straight(1, &[shape.clone(), shape]);
            w.hosts[plain].node = None;
            let log = record(&mut w);
            patterns(&mut w, tcp_tuple(), 1_000_000);
            w.run(60 * S);
            assert!(exact(&w, 1_000_000), "plain {plain} loss {loss}");
            let node = w.node(1 - plain);
            assert!(node.sessions.is_empty() && node.wire.is_empty());
            let log = log.borrow();
            let carriers = log.iter().filter(|(_, w)| w.is_carrier()).count();
            // As many questions as Table 2 allows, and none of them moved data.
            assert!(carriers <= 3, "{carriers}");
            if plain == B {
                let known = node.availability(&(TCP, tcp_tuple().remote));
                assert_eq!(known, Some(Availability::Unavailable));
            }
        }
    }
}

#[test]
fn udp_gets_exact_datagrams() {
    for size in [8, 9, 100, 1001, 1400] {
        let shape = Shape::ideal(10 * MS);
        let mut w = straight(1, &[shape.clone(), shape]);
        w.hosts[B].node = None;
        let t = udp_tuple();
        let mut receiver = Sink::new(t.remote);
        receiver.log = Some(Vec::new());
        let app = w.start(B, App::Sink(receiver));
        let source = w.start(A, Source::app(t, size, MBIT, MS, 2 * S));
        w.run(3 * S);
        let sink = sink(&w, app);
        assert_eq!(sink.packets, sent(&w, source));
        for (i, datagram) in sink.log.as_ref().unwrap().iter().enumerate() {
            let mut expected = (i as u64).to_be_bytes().to_vec();
            expected.resize(size, 0);
            assert_eq!(*datagram, expected);
        }
        assert_eq!(w.node(A).counter(Counter::QueryTxHello), 3);
        assert!(w.node(A).sessions.is_empty());
    }
}

#[test]
fn a_peer_may_lose_mpip_in_mid_session() {
    // Both ends, with and without a goodbye.
    for loser in [A, B] {
        for polite in [false, true] {
            let shape = Shape::shaped(20 * MBIT, 10 * MS, 50);
            let mut w = straight(1, &[shape.clone(), shape.clone(), shape]);
            let bytes = 20_000_000;
            patterns(&mut w, tcp_tuple(), bytes);
            settle(&mut w, 3, 3 * S);
            w.pass(S);
            if polite {
                w.with(loser, |host, cx| {
                    host.node.as_mut().unwrap().goodbye(cx);
                });
                w.pass(400 * MS);
            }
            w.hosts[loser].node = None;
            assert!(!exact(&w, bytes));
            let lost = w.now;
            let before = w.tcp(B, 0).received();
            let took = w.until(10 * S, |w| w.tcp(B, 0).received() > before + 100_000);
            println!("loser {loser} polite {polite}: goes on after {took:?} us");
            w.until(60 * S, |w| exact(w, bytes))
                .unwrap_or_else(|| panic!("loser {loser} polite {polite}"));
            println!("done after {} us more", w.now - lost);
            // Nobody is taken for a peer who is none.
            w.pass(10 * S);
            let node = w.node(1 - loser);
            assert_eq!(node.active_lanes(), 0, "{:#?}", node.state());
        }
    }
}

#[test]
fn udp_goes_on_when_the_peer_loses_mpip() {
    let shape = Shape::shaped(20 * MBIT, 10 * MS, 50);
    let mut w = straight(1, &[shape.clone(), shape]);
    let (_, app) = stream(&mut w, udp_tuple(), 4 * MBIT, 20 * S);
    settle(&mut w, 2, 3 * S);
    w.run(5 * S);
    w.hosts[B].node = None;
    w.run(8 * S);
    let before = sink(&w, app).packets;
    w.run(10 * S);
    // All of them arrive again, though every second one travelled to a port that is nobody's.
    let got = (sink(&w, app).packets - before) as f64;
    let all = 4e6 * 2.0 / 8.0 / 1428.0;
    assert!(got > all * 0.99, "{got} of {all}");
}

#[test]
fn a_peer_that_comes_back_is_found() {
    let shape = Shape::shaped(20 * MBIT, 10 * MS, 50);
    let mut w = straight(1, &[shape.clone(), shape]);
    connect(&mut w, tcp_tuple(), u64::MAX >> 1);
    settle(&mut w, 2, 3 * S);
    w.pass(S);
    w.hosts[B].node = None;
    w.pass(4 * S);
    w.load(B, 77);
    let took = settle(&mut w, 2, 30 * S);
    println!("found after {took} us");
}
