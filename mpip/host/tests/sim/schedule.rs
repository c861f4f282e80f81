// SPDX-License-Identifier: GPL-2.0

//! How much goes where: Algorithm 1, and the order that arrives.

use crate::app::Stats;
use crate::link::Shape;
use crate::scene::*;
use crate::world::World;
use mpip_host::proto::params::Param;
use mpip_host::proto::reorder::GivenUp;
use mpip_host::proto::weighted;

/// Weights of the first lanes of the sender's session; checks their bounds.
fn weights(w: &World, n: usize) -> Vec<u16> {
    let session = w.node(A).only();
    let inner = session.inner.borrow();
    let weights: Vec<_> = (0..n).map(|i| inner.s.weight(i)).collect();
    assert!(weights
        .iter()
        .all(|w| (weighted::MIN..=weighted::MAX).contains(w)));
    weights
}

/// What a bulk transfer came to.
#[derive(Debug)]
struct Outcome {
    /// Share of the capacity of all links.
    share: f64,
    sender: Stats,
    receiver: Stats,
    given_up: GivenUp,
    /// Most packets held at a time.
    held: usize,
    weights: Vec<u16>,
}

/// A bulk transfer over these links; measured from `warm` seconds on for `time` seconds.
fn bulk(seed: u64, links: &[(u64, u64)], reorder: bool, warm: u64, time: u64) -> Outcome {
    // Room for the bandwidth-delay product, 20 ms and 20 packets at least.
    let shape = |(mbit, ms): &(u64, u64)| {
        let queue = mbit * MBIT / 8 * (2 * ms).max(20) / 1000 / 1458;
        Shape::shaped(mbit * MBIT, ms * MS, queue.max(20) as usize)
    };
    let mut w = straight(seed, &links.iter().map(shape).collect::<Vec<_>>());
    for host in [A, B] {
        let packets = if reorder { 1024 } else { 0 };
        w.node_mut(host).set(Param::ReorderPackets, packets);
        w.node_mut(host).set(Param::Scheduler, 1);
    }
    let (a, b) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
    settle(&mut w, links.len(), 3 * S);
    w.run(warm * S);
    let before = w.tcp(B, b).received();
    for _ in 0..time * 10 {
        w.pass(100 * MS);
        weights(&w, links.len());
    }
    let got = (w.tcp(B, b).received() - before) as f64;
    let sum = links.iter().map(|(mbit, _)| mbit * MBIT).sum();
    let session = w.node(B).only();
    let rx = session.rx.borrow();
    Outcome {
        share: got / capacity(sum, time * S),
        sender: w.tcp(A, a).stats,
        receiver: w.tcp(B, b).stats,
        given_up: rx.given_up,
        held: rx.most,
        weights: weights(&w, links.len()),
    }
}

#[test]
fn tcp_uses_the_sum() {
    for delay in [2, 10] {
        let out = bulk(1, &[(40, delay), (20, delay)], true, 5, 10);
        println!(
            "40+20 Mbit/s, {delay} ms: {:.1} % {:?}",
            out.share * 100.0,
            out.weights
        );
        assert!(out.share >= 0.85, "{delay} ms: {out:?}");
        let (w0, w1) = (f64::from(out.weights[0]), f64::from(out.weights[1]));
        assert!((0.5..0.85).contains(&(w0 / (w0 + w1))), "{:?}", out.weights);
    }
}

#[test]
fn udp_uses_the_sum() {
    let links = [(40, 5), (20, 5)];
    let shape = |(mbit, ms): &(u64, u64)| Shape::shaped(mbit * MBIT, ms * MS, 60);
    let mut w = straight(1, &links.iter().map(shape).collect::<Vec<_>>());
    // A little less than the links carry, frames counted.
    let rate = 60 * MBIT * 1428 / 1446 * 99 / 100;
    let (source, app) = stream(&mut w, udp_tuple(), rate, 30 * S);
    settle(&mut w, 2, 3 * S);
    w.run(6 * S);
    let (offered, got) = (sent(&w, source), sink(&w, app).packets);
    for _ in 0..100 {
        w.pass(100 * MS);
        weights(&w, 2);
    }
    let share = (sink(&w, app).packets - got) as f64 / (sent(&w, source) - offered) as f64;
    println!(
        "UDP at 99 % of 40+20: {:.2} % arrive, {:?}",
        share * 100.0,
        weights(&w, 2)
    );
    assert!(share >= 0.95, "{share}");
}

#[test]
fn datagrams_up_to_the_sum_of_unequal_links() {
    // Half of what the links carry gets through whole once the weights are learnt, although one
    // link alone, or equal shares, would lose a lot.
    let mut w = straight(
        1,
        &[
            Shape::shaped(40 * MBIT, 5 * MS, 60),
            Shape::shaped(4 * MBIT, 5 * MS, 60),
        ],
    );
    let (source, app) = stream(&mut w, udp_tuple(), 30 * MBIT, 30 * S);
    settle(&mut w, 2, 3 * S);
    w.run(10 * S);
    let (offered, got) = (sent(&w, source), sink(&w, app).packets);
    w.run(20 * S);
    let share = (sink(&w, app).packets - got) as f64 / (sent(&w, source) - offered) as f64;
    println!(
        "UDP at 30 of 40+4: {:.2} % arrive, {:?}",
        share * 100.0,
        weights(&w, 2)
    );
    assert!(share >= 0.95, "{share}");
}

/// A transfer with and without the buffer.
fn compare(links: &[(u64, u64)], warm: u64) -> [Outcome; 2] {
    // At once: the longest of these is among the last tests, and would be alone at the end.
    let outcomes = std::thread::scope(|scope| {
        [true, false]
            .map(|reorder| scope.spawn(move || bulk(1, links, reorder, warm, 10)))
            .map(|outcome| outcome.join().unwrap())
    });
    for (out, name) in outcomes.iter().zip(["with", "without"]) {
        println!(
            "{links:?} {name}: {:.1} %, {} of {} sent again, {} fast, {} timeouts, {} needless, \
             {} early, {} held, {:?}, {:?}",
            out.share * 100.0,
            out.sender.again,
            out.sender.sent,
            out.sender.fast,
            out.sender.timeouts,
            out.receiver.old,
            out.receiver.early,
            out.held,
            out.given_up,
            out.weights,
        );
    }
    outcomes
}

#[test]
fn equal_rates_unequal_delays_arrive_in_order() {
    let [with, without] = compare(&[(40, 10), (40, 2)], 5);
    assert!(with.share >= 0.9, "{with:?}");
    // One window that is sent again for nothing, in the beginning, is more than a thousandth.
    assert!(with.receiver.old * 200 <= with.sender.sent, "{with:?}");
    // TCP may live with what comes out of order, and does not get much of it.
    let early = |o: &Outcome| o.receiver.early as f64 / o.sender.sent as f64;
    assert!(early(&with) * 4.0 < early(&without), "{without:?}");
}

#[test]
fn unequal_rates_and_delays_arrive_in_order() {
    let links = |delay| [(40, 5), (20, delay)];
    let [with, without] = compare(&links(50), 20);
    // A packet more or less in the beginning decides whether this sender, whose window grows by a
    // segment per round trip, ever makes the queues by which weights are learnt: the middle of
    // three counts.
    let others = std::thread::scope(|scope| {
        [49, 51]
            .map(|delay| scope.spawn(move || bulk(1, &links(delay), true, 20, 10)))
            .map(|outcome| outcome.join().unwrap())
    });
    let mut all: Vec<_> = others.into_iter().chain([with]).collect();
    all.sort_by(|a, b| a.share.total_cmp(&b.share));
    let with = &all[1];
    assert!(with.share >= 0.85, "{with:?}");
    assert!(with.receiver.old * 1000 <= with.sender.sent, "{with:?}");
    assert!(without.share < with.share);
    assert!(without.receiver.old > with.receiver.old);
}

/// What two links give, as a share of what the first, which is the best, gives alone.
fn gain(links: [(u64, u64); 2]) -> f64 {
    let alone = bulk(1, &links[..1], true, 5, 10);
    let both = bulk(1, &links, true, 20, 10);
    let sum = (links[0].0 + links[1].0) as f64;
    let gain = both.share * sum / (alone.share * links[0].0 as f64);
    println!(
        "{links:?}: {:.1} % of the best link alone, {:?}",
        gain * 100.0,
        both.weights
    );
    gain
}

#[test]
fn a_thin_link_does_no_harm() {
    assert!(gain([(40, 5), (2, 5)]) > 0.97);
}

#[test]
fn a_thin_and_far_link_costs() {
    // Algorithm 1 knows queues but no distances: all of the connection gets the round-trip time
    // of the far link, and its window is too large for the queues of the near one. Nor is it told
    // often of queues on a path with a long round trip.
    assert!(gain([(40, 5), (5, 60)]) > 0.2);
}

#[test]
fn a_cm_with_every_packet_costs_little() {
    let mut shares = Vec::new();
    for every in [0, 1] {
        let shape = Shape::shaped(10 * MBIT, 5 * MS, 40);
        let mut w = straight(1, &[shape.clone(), shape]);
        for host in [A, B] {
            w.node_mut(host).set(Param::Cm, every);
        }
        let (_, b) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
        settle(&mut w, 2, 3 * S);
        w.run(5 * S);
        let before = w.tcp(B, b).received();
        w.run(15 * S);
        let share = (w.tcp(B, b).received() - before) as f64 / capacity(20 * MBIT, 10 * S);
        println!("cm {every}: {:.1} %", share * 100.0);
        assert!(share > 0.9, "{share}");
        shares.push(share);
    }
    assert!(shares[1] > shares[0] - 0.05);
}
