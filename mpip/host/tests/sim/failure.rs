// SPDX-License-Identifier: GPL-2.0

//! Paths that die and come back.

use crate::link::Shape;
use crate::scene::*;
use crate::wire::v4;
use crate::world::World;
use mpip_host::proto::packet::TCP;

/// Two links of 20 Mbit/s.
fn two(seed: u64) -> World {
    let shape = Shape::shaped(20 * MBIT, 10 * MS, 60);
    straight(seed, &[shape.clone(), shape])
}

/// Nothing passes on the links of this path, one direction or both, from now on for `time`.
fn hole(w: &mut World, path: usize, directions: &[usize], time: u64) {
    let span = (w.now, w.now + time);
    for direction in directions {
        w.links[2 * path + direction].shape.down.push(span);
    }
}

/// When A's path became suspect and returned, from `start` on, microseconds after it.
fn events(w: &World, path: usize, start: u64) -> (Option<u64>, Option<u64>) {
    let addr = v4(path as u8 + 1, 1);
    let first = |suspect: bool| {
        let mut events = w.node(A).events.iter();
        let event = events.find(|(at, a, s)| *at >= start && *a == addr && *s == suspect);
        event.map(|(at, ..)| at - start)
    };
    (first(true), first(false))
}

/// Where and in which directions nothing passes.
const HOLES: [(usize, &[usize]); 6] = [
    (0, &[0, 1]),
    (0, &[0]),
    (0, &[1]),
    (1, &[0, 1]),
    (1, &[0]),
    (1, &[1]),
];

#[test]
fn a_black_hole_is_noticed_and_forgotten() {
    for (path, directions) in HOLES {
        let mut w = two(1);
        stream(&mut w, udp_tuple(), 10 * MBIT, 60 * S);
        settle(&mut w, 2, 3 * S);
        w.run(10 * S);
        let (start, length) = (w.now, 3 * S);
        hole(&mut w, path, directions, length);
        w.run(start + length + 3 * S);
        let (suspect, returned) = events(&w, path, start);
        let back = returned.map(|at| at.saturating_sub(length));
        println!("path {path}, {directions:?}: suspect {suspect:?}, back {back:?}");
        assert!(suspect.is_some_and(|at| at <= 300 * MS), "{suspect:?}");
        assert!(back.is_some_and(|at| at <= S), "{back:?}");
        assert!(agree(&w, 2));
    }
}

#[test]
fn tcp_outlives_a_black_hole() {
    // A TCP stops sending when its window is full of what got lost, so that nothing is asked on
    // the dead path until its timer fires: with `watch` the worker asks.
    for watch in [false, true] {
        for (path, directions) in HOLES {
            let mut w = two(1);
            for host in [A, B] {
                w.node_mut(host).watch = watch;
            }
            let (_, app) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
            settle(&mut w, 2, 3 * S);
            w.run(6 * S);
            let (start, length) = (w.now, 3 * S);
            hole(&mut w, path, directions, length);
            w.hosts[B].apps[app].tcp().reset_gap(start);
            w.run(start + length + 2 * S);
            let (suspect, returned) = events(&w, path, start);
            let back = returned.map(|at| at.saturating_sub(length));
            let gap = w.tcp(B, app).stats.gap;
            println!(
                "watch {watch}, path {path}, {directions:?}: suspect {suspect:?}, back {back:?}, \
                 longest gap {gap}"
            );
            if watch {
                // Four round-trip times with full queues.
                assert!(suspect.is_some_and(|at| at <= 500 * MS), "{suspect:?}");
                assert!(back.is_some_and(|at| at <= S), "{back:?}");
                assert!(gap < S);
            }
            assert!(gap < 4 * S);
            assert!(agree(&w, 2));
            let before = w.tcp(B, app).received();
            w.pass(2 * S);
            let share = (w.tcp(B, app).received() - before) as f64 / capacity(40 * MBIT, 2 * S);
            assert!(share > 0.5, "{share}");
        }
    }
}

#[test]
fn datagrams_are_lost_for_a_moment_only() {
    let mut w = two(1);
    let (source, app) = stream(&mut w, udp_tuple(), 10 * MBIT, 60 * S);
    settle(&mut w, 2, 3 * S);
    w.run(5 * S);
    hole(&mut w, 1, &[0, 1], 10 * S);
    let (offered, got) = (sent(&w, source), sink(&w, app).packets);
    w.run(14 * S);
    let offered = sent(&w, source) - offered;
    let lost = offered - (sink(&w, app).packets - got);
    let each_ms = offered as f64 / 9000.0;
    println!("lost: the traffic of {:.0} ms", lost as f64 / each_ms);
    assert!((lost as f64) < each_ms * 150.0, "{lost} of {offered}");
}

#[test]
fn an_outage_of_everything_is_survived() {
    let mut w = two(1);
    let (_, app) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
    settle(&mut w, 2, 3 * S);
    w.run(5 * S);
    hole(&mut w, 0, &[0, 1], 4 * S);
    hole(&mut w, 1, &[0, 1], 3 * S);
    w.run(9 * S);
    let before = w.tcp(B, app).received();
    let took = w.until(20 * S, |w| w.tcp(B, app).received() > before + 1_000_000);
    println!("goes on {took:?} us after the end of an outage of 4 s");
    assert!(took.is_some());
    assert!(w.until(10 * S, |w| agree(w, 2)).is_some());
    assert_eq!(w.tcp(B, app).stats.resets, 0);
}

#[test]
fn loss_is_no_outage() {
    // A path that loses one packet in ten stays in use.
    let shape = Shape::shaped(20 * MBIT, 10 * MS, 60);
    let poor = Shape {
        loss: 100,
        ..shape.clone()
    };
    for seed in seeds(3) {
        let mut w = straight(seed, &[shape.clone(), poor.clone()]);
        stream(&mut w, udp_tuple(), 10 * MBIT, 60 * S);
        settle(&mut w, 2, 5 * S);
        w.run(30 * S);
        // B, which has only heartbeats to tell, may lose three of them in a row.
        assert_eq!(w.node(A).events, []);
    }
}

#[test]
fn a_quiet_session_is_not_suspected() {
    // Questions that stayed unanswered before a pause say nothing about the path after it.
    let slow = Shape::ideal(60 * MS);
    let mut w = straight(1, &[slow.clone(), slow]);
    let t = crate::world::tuple(TCP, (v4(1, 1), 50_000), (v4(1, 2), 80));
    connect(&mut w, t, 200_000);
    settle(&mut w, 2, 5 * S);
    w.pass(S);
    // The last heartbeats before the session counts as quiet are lost.
    let u = udp_tuple();
    w.until(40 * S, |w| w.now > 28 * S);
    hole(&mut w, 0, &[0, 1], 6 * S);
    hole(&mut w, 1, &[0, 1], 6 * S);
    w.run(60 * S);
    let before = [A, B].map(|h| w.node(h).events.len());
    stream(&mut w, u, 10 * MBIT, 70 * S);
    w.run(70 * S);
    let after = [A, B].map(|h| w.node(h).events.len());
    let suspected = w.node(A).events.iter().filter(|e| e.0 >= 60 * S && e.2);
    assert_eq!(
        suspected.count(),
        0,
        "{before:?} {after:?} {:?}",
        w.node(A).events
    );
}
