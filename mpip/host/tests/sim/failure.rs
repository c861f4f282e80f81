// SPDX-License-Identifier: GPL-2.0

//! Paths that die and come back.

use crate::link::Shape;
use crate::scene::*;
use crate::wire::v4;
use crate::world::World;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::packet::TCP;
use mpip_host::proto::params::Param;

/// Two links of 20 Mbit/s. Packets go by weight, so that both are in use whatever happens.
fn two(seed: u64) -> World {
    let shape = Shape::shaped(20 * MBIT, 10 * MS, 60);
    by_weight(straight(seed, &[shape.clone(), shape]))
}

fn by_weight(mut w: World) -> World {
    for host in [A, B] {
        w.node_mut(host).set(Param::Scheduler, 1);
    }
    w
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

/// Two links of 40 Mbit/s and 5 ms, whose queues take 18 ms. By weight, as above.
fn wide(seed: u64) -> World {
    let shape = Shape::shaped(40 * MBIT, 5 * MS, 60);
    by_weight(straight(seed, &[shape.clone(), shape]))
}

/// Whether all that A sends to B, and B to A, has arrived, and as it was sent.
fn exact(w: &World, (a, b): (usize, usize), bytes: u64, back: u64) -> bool {
    let (a, b) = (w.tcp(A, a), w.tcp(B, b));
    for tcp in [a, b] {
        assert_eq!((tcp.stats.wrong, tcp.stats.resets), (0, 0));
    }
    b.received() == bytes && a.received() == back
}

/// What a receiver saw of a failure.
struct Seen {
    suspect: Option<u64>,
    back: Option<u64>,
    /// The longest time in which nothing new came, at either end.
    gap: u64,
    resent: u64,
    /// Of what both links carry, from one second after the return on.
    share: f64,
}

/// A transfer with a full window, during which a hole of three seconds opens at `start`.
fn transfer(mut w: World, start: u64, path: usize, directions: &[usize], back: u64) -> Seen {
    let bytes = 60_000_000;
    let apps = connect_exact(&mut w, tcp_tuple(), bytes, back);
    let ends = [(A, apps.0), (B, apps.1)];
    settle(&mut w, 2, 3 * S);
    w.run(start);
    let length = 3 * S;
    hole(&mut w, path, directions, length);
    for (host, app) in ends {
        let tcp = w.hosts[host].apps[app].tcp();
        tcp.reset_gap(start);
        tcp.stats.stale = 0;
    }
    w.run(start + length + S);
    let stats = ends.map(|(host, app)| w.tcp(host, app).stats);
    let before = w.tcp(B, apps.1).received();
    w.pass(2 * S);
    let share = (w.tcp(B, apps.1).received() - before) as f64 / capacity(80 * MBIT, 2 * S);
    assert!(agree(&w, 2));
    let done = w.until(20 * S, |w| exact(w, apps, bytes, back));
    assert!(done.is_some(), "{} bytes", w.tcp(B, apps.1).received());
    // What is sent again says what time it is; some come behind repetitions of TCP's own.
    assert!(stats.iter().all(|s| s.stale <= 400), "{stats:?}");
    let (suspect, returned) = events(&w, path, start);
    Seen {
        suspect,
        back: returned.map(|at| at.saturating_sub(length)),
        gap: stats.map(|s| s.gap).into_iter().max().unwrap_or(0),
        resent: [A, B]
            .map(|h| w.node(h).counter(Counter::Resent))
            .iter()
            .sum(),
        share,
    }
}

#[test]
fn a_full_window_moves_to_the_other_path() {
    for (path, directions) in HOLES {
        for seed in seeds(4) {
            // Wherever the transfer is.
            let start = 3 * S + seed * 37 * MS;
            let seen = transfer(wide(seed), start, path, directions, 0);
            let (suspect, back, gap) = (seen.suspect, seen.back, seen.gap);
            println!(
                "path {path}, {directions:?}: suspect {suspect:?}, back {back:?}, longest gap \
                 {gap}, {} sent again, then {:.2} of the sum",
                seen.resent, seen.share
            );
            // Half a round-trip time with full queues, and the silence. When acknowledgements alone
            // are lost, TCP's timer has to fire, after 200 ms and perhaps after 400 ms more.
            let bound = if directions == [1] { 650 } else { 300 };
            assert!(gap < bound * MS);
            assert!(suspect.is_some_and(|at| at <= 500 * MS), "{suspect:?}");
            assert!(back.is_some_and(|at| at <= 200 * MS), "{back:?}");
            // What got lost is sent again, and not more than was under way.
            let forth = directions.contains(&0);
            assert!(!forth || seen.resent > 0);
            assert!(seen.resent < 250);
            assert!(seen.share > 0.6);
        }
    }
}

#[test]
fn two_full_windows_move_to_the_other_path() {
    // Data both ways: acknowledgements ride on data.
    let mut resent = 0;
    for (path, directions) in HOLES {
        let seen = transfer(wide(1), 3 * S, path, directions, 40_000_000);
        println!(
            "path {path}, {directions:?}: longest gap {}, {} sent again, then {:.2}",
            seen.gap, seen.resent, seen.share
        );
        assert!(seen.gap < 300 * MS);
        resent += seen.resent;
    }
    assert!(resent > 0);
}

#[test]
fn flapping_every_second() {
    for path in [0, 1] {
        for seed in seeds(2) {
            let mut w = wide(seed);
            let bytes = 80_000_000;
            let apps = connect_exact(&mut w, tcp_tuple(), bytes, 0);
            settle(&mut w, 2, 2 * S);
            let start = 2 * S + seed * 300 * MS;
            w.run(start);
            w.hosts[B].apps[apps.1].tcp().reset_gap(start);
            let before = w.tcp(B, apps.1).received();
            for _ in 0..4 {
                hole(&mut w, path, &[0, 1], S);
                w.pass(2 * S);
            }
            let received = w.tcp(B, apps.1).received() - before;
            let share = received as f64 / capacity(40 * MBIT, 8 * S);
            let gap = w.tcp(B, apps.1).stats.gap;
            println!("path {path}: longest gap {gap}, {share:.2} of the other");
            assert!(gap < 400 * MS);
            // Little less than without the path.
            assert!(share > 0.6);
            let suspected = w.node(A).events.iter().filter(|(.., suspect)| *suspect);
            assert!(
                (4..=6).contains(&suspected.count()),
                "{:?}",
                w.node(A).events
            );
            assert!(w.until(20 * S, |w| exact(w, apps, bytes, 0)).is_some());
        }
    }
}

#[test]
fn a_third_is_lost_on_a_path() {
    let good = Shape::shaped(40 * MBIT, 5 * MS, 60);
    let poor = Shape {
        loss: 300,
        ..good.clone()
    };
    for path in [0, 1] {
        for seed in seeds(3) {
            let mut w = wide(seed);
            let bytes = 40_000_000;
            let apps = connect_exact(&mut w, tcp_tuple(), bytes, 0);
            settle(&mut w, 2, 3 * S);
            w.run(2 * S);
            for direction in [0, 1] {
                w.links[2 * path + direction].shape = poor.clone();
            }
            w.hosts[B].apps[apps.1].tcp().reset_gap(2 * S);
            let before = w.tcp(B, apps.1).received();
            w.run(6 * S);
            let stats = w.tcp(B, apps.1).stats;
            let share = (w.tcp(B, apps.1).received() - before) as f64 / capacity(40 * MBIT, 4 * S);
            println!(
                "path {path}: longest gap {}, {share:.2} of the other",
                stats.gap
            );
            // A retransmission timeout, and most of what the other link carries alone.
            assert!(stats.gap < 700 * MS);
            assert!(share > 0.4);
            assert!(w.until(60 * S, |w| exact(w, apps, bytes, 0)).is_some());
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
    hole(&mut w, 0, &[0, 1], 5 * S);
    hole(&mut w, 1, &[0, 1], 4 * S);
    w.hosts[B].apps[app].tcp().reset_gap(5 * S);
    w.run(12 * S);
    let gap = w.tcp(B, app).stats.gap;
    println!(
        "goes on {} us after the end of an outage of 4 s",
        gap - 4 * S
    );
    // The path is probed, and TCP woken: its own timer would fire after 6.2 s.
    assert!(gap < 4 * S + 300 * MS);
    assert!(w.until(10 * S, |w| agree(w, 2)).is_some());
    assert_eq!(w.tcp(B, app).stats.resets, 0);
}

#[test]
fn a_lossy_path_rests_while_another_is_good() {
    // One packet in ten is lost on one path: what is sent on it until that is known.
    let shape = Shape::shaped(20 * MBIT, 10 * MS, 60);
    let poor = Shape {
        loss: 100,
        ..shape.clone()
    };
    let (mut all_lost, mut all) = (0, 0);
    for seed in seeds(8) {
        let mut w = straight(seed, &[shape.clone(), poor.clone()]);
        let (source, app) = stream(&mut w, udp_tuple(), 10 * MBIT, 60 * S);
        settle(&mut w, 2, 5 * S);
        w.run(30 * S);
        let lost = sent(&w, source) - sink(&w, app).packets;
        let suspected = w.node(A).events.iter().filter(|(.., suspect)| *suspect);
        let suspected = suspected.count();
        println!(
            "{lost} of {} lost, suspected {suspected} times",
            sent(&w, source)
        );
        // It may look good for a while.
        assert!(lost * 50 < sent(&w, source));
        all_lost += lost;
        all += sent(&w, source);
        // It is asked every 60 ms while it rests: three lost answers in a row are no rarity.
        assert!(suspected <= 8);
        assert!(agree(&w, 2));
    }
    assert!(all_lost * 100 < all);
    // Where both are, both are used.
    let mut w = straight(1, &[poor.clone(), poor]);
    let (source, app) = stream(&mut w, udp_tuple(), 30 * MBIT, 60 * S);
    settle(&mut w, 2, 5 * S);
    w.run(10 * S);
    let (offered, got) = (sent(&w, source), sink(&w, app).packets);
    w.run(40 * S);
    let share = (sink(&w, app).packets - got) as f64 / (sent(&w, source) - offered) as f64;
    println!("UDP at 30 of 20+20 with loss: {:.1} %", share * 100.0);
    assert!(share > 0.6);
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
