// SPDX-License-Identifier: GPL-2.0

//! Scenes that the tests share.

use crate::app::App;
use crate::app::Sink;
use crate::app::Source;
use crate::app::Tcp;
use crate::link::Shape;
use crate::node::Session;
use crate::wire::v4;
use crate::wire::Wire;
use crate::world::tuple;
use crate::world::World;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet::TCP;
use mpip_host::proto::packet::UDP;
use mpip_host::proto::session::LaneState;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// The host that connects.
pub const A: usize = 0;
/// The host that is connected to.
pub const B: usize = 1;

/// A second, microseconds.
pub const S: u64 = 1_000_000;
/// A millisecond, microseconds.
pub const MS: u64 = 1_000;

/// Mbit/s.
pub const MBIT: u64 = 1_000_000;

/// Addresses of a host, the first ones of `n` networks.
pub fn addrs(host: usize, n: u8) -> Vec<Addr> {
    (1..=n).map(|net| v4(net, host as u8 + 1)).collect()
}

/// Two nodes, one link for each shape.
pub fn straight(seed: u64, shapes: &[Shape]) -> World {
    clocked(seed, shapes, 0, 3_141_592_653)
}

/// As [`straight`], with clocks that start at these times.
pub fn clocked(seed: u64, shapes: &[Shape], clock_a: u64, clock_b: u64) -> World {
    let mut world = World::new(seed);
    let n = shapes.len() as u8;
    world.multi(&addrs(A, n), clock_a);
    world.multi(&addrs(B, n), clock_b);
    for (i, shape) in shapes.iter().enumerate() {
        let net = i as u8 + 1;
        world.link(v4(net, 1), v4(net, 2), shape.clone());
    }
    world
}

/// Two nodes with these addresses, links between all pairs.
pub fn mesh(seed: u64, a: &[Addr], b: &[Addr], shape: &Shape) -> World {
    let mut world = World::new(seed);
    world.multi(a, 0);
    world.multi(b, 3_141_592_653);
    for a in a {
        for b in b {
            world.link(*a, *b, shape.clone());
        }
    }
    world
}

/// The tuple of a TCP connection on the first link, seen from A.
pub fn tcp_tuple() -> Tuple {
    tuple(TCP, (v4(1, 1), 50_000), (v4(1, 2), 80))
}

/// The tuple of datagrams on the first link, seen from A.
pub fn udp_tuple() -> Tuple {
    tuple(UDP, (v4(1, 1), 50_000), (v4(1, 2), 5004))
}

/// A connection on which A sends `bytes` from 1 ms on; the indices at A and B.
pub fn connect(world: &mut World, tuple: Tuple, bytes: u64) -> (usize, usize) {
    let server = world.start(B, Tcp::server(tuple.reversed(), 0).app());
    let at = world.now + MS;
    let client = world.start(A, Tcp::client(tuple, at, bytes).app());
    (client, server)
}

/// As [`connect`], with bytes that are compared with those sent, time stamps, and as many bytes
/// back.
pub fn connect_exact(world: &mut World, tuple: Tuple, bytes: u64, back: u64) -> (usize, usize) {
    let server = Tcp::server(tuple.reversed(), back);
    let server = world.start(B, server.with_pattern().with_stamps().app());
    let client = Tcp::client(tuple, world.now + MS, bytes);
    let client = world.start(A, client.with_pattern().with_stamps().app());
    (client, server)
}

/// Datagrams of 1400 bytes from A to B at `rate` bit/s until `until`.
pub fn stream(world: &mut World, tuple: Tuple, rate: u64, until: u64) -> (usize, usize) {
    let sink = world.start(B, App::Sink(Sink::new(tuple.remote)));
    let at = world.now + MS;
    let source = world.start(A, Source::app(tuple, 1400, rate, at, until));
    (source, sink)
}

/// The sink at `app` of B.
pub fn sink(world: &World, app: usize) -> &Sink {
    match &world.hosts[B].apps[app] {
        App::Sink(sink) => sink,
        _ => panic!("not a sink"),
    }
}

/// Datagrams sent by the source at `app` of A.
pub fn sent(world: &World, app: usize) -> u64 {
    match &world.hosts[A].apps[app] {
        App::Source(source) => source.sent,
        _ => panic!("not a source"),
    }
}

/// The states of a session's lanes.
pub fn lanes(session: &Session) -> Vec<LaneState> {
    let inner = session.inner.borrow();
    inner.s.lanes.iter().flatten().map(|l| l.state).collect()
}

/// Paths of a session on which a lane may carry data. After a failure there may be another lane
/// beside the original one.
fn paths(session: &Session) -> usize {
    let inner = session.inner.borrow();
    let lanes = inner.s.lanes.iter().flatten();
    let active = lanes.filter(|l| l.state == LaneState::Active);
    active.map(|l| l.path.id).collect::<HashSet<_>>().len()
}

/// Whether A and B have one session and the same, with lanes that carry data on `n` paths at both.
pub fn agree(world: &World, n: usize) -> bool {
    let (a, b) = (world.node(A), world.node(B));
    let (Some(x), Some(y)) = (a.sessions.values().next(), b.sessions.values().next()) else {
        return false;
    };
    a.sessions.len() == 1
        && b.sessions.len() == 1
        && x.id == y.id
        && x.tuple == y.tuple.reversed()
        && x.initiator != y.initiator
        && paths(x) == n
        && paths(y) == n
}

/// Runs until [`agree`], for `limit` at most; the time it took.
pub fn settle(world: &mut World, n: usize, limit: u64) -> u64 {
    let took = world.until(limit, |w| agree(w, n));
    took.unwrap_or_else(|| {
        panic!(
            "no agreement on {n} lanes\nA: {:#?}\nB: {:#?}",
            world.node(A).state(),
            world.node(B).state()
        )
    })
}

/// Keeps all packets that are sent from now on, with their times.
pub fn record(world: &mut World) -> Rc<RefCell<Vec<(u64, Wire)>>> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let copy = log.clone();
    world.tap = Some(Box::new(move |now, wire| {
        copy.borrow_mut().push((now, wire.clone()));
        true
    }));
    log
}

/// Seeds to try: `few`, or ten times as many if `MPIP_SWEEP` is set.
pub fn seeds(few: u64) -> std::ops::Range<u64> {
    match std::env::var_os("MPIP_SWEEP") {
        Some(_) => 0..few * 10,
        None => 0..few,
    }
}

/// What a link of `rate` bit/s carries of the TCP's payload in `time` microseconds, bytes.
pub fn capacity(rate: u64, time: u64) -> f64 {
    rate as f64 * time as f64 / 8e6 * 1400.0 / 1458.0
}

/// Fails unless the two nodes are in these states; shows what differs.
pub fn assert_same(before: &[Vec<String>; 2], world: &World) {
    for (host, before) in before.iter().enumerate() {
        let after = world.node(host).state();
        let differs: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
        assert!(*before == after, "host {host}: {differs:#?}");
    }
}

/// The states of the two nodes.
pub fn states(world: &World) -> [Vec<String>; 2] {
    [A, B].map(|host| world.node(host).state())
}
