// SPDX-License-Identifier: GPL-2.0

//! Dispatch by predicted arrival, and repair.

use crate::link::Shape;
use crate::scene::*;
use crate::world::World;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::params::Param;

/// A link: Mbit/s, one-way delay in milliseconds, queue in packets, loss in per mille.
#[derive(Clone, Copy, Debug)]
struct L(u64, u64, usize, u32);

impl L {
    fn shape(&self) -> Shape {
        Shape {
            loss: self.3,
            ..Shape::shaped(self.0 * MBIT, self.1 * MS, self.2)
        }
    }
}

/// What a transfer over these links got, Mbit/s, from `warm` seconds on for five.
fn goodput(seed: u64, links: &[L], warm: u64, repair: u64) -> (f64, World) {
    let mut w = straight(seed, &links.iter().map(L::shape).collect::<Vec<_>>());
    for host in [A, B] {
        w.node_mut(host).set(Param::Repair, repair);
    }
    let (_, b) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
    settle(&mut w, links.len(), 3 * S);
    w.pass(warm * S);
    let before = w.tcp(B, b).received();
    w.pass(5 * S);
    let got = (w.tcp(B, b).received() - before) as f64;
    (got * 1.6e-6, w)
}

/// What links of these rates carry, Mbit/s.
fn sum(links: &[L]) -> f64 {
    capacity(links.iter().map(|l| l.0 * MBIT).sum(), S) * 8e-6
}

#[test]
fn the_sum_whatever_the_distance() {
    let carries = |links: [L; 2], least| {
        for seed in seeds(1) {
            // This old TCP needs long to find out what a far path carries.
            let warm = if links[1].1 > 20 { 24 } else { 6 };
            let (rate, _) = goodput(seed, &links, warm, 1);
            let share = rate / sum(&links);
            println!("{links:?}: {:.1} %", share * 100.0);
            let least = if warm > 6 { 0.9 } else { least };
            assert!(share > least, "{links:?}: {share}");
        }
    };
    // All at once: one after the other they take a third of the time of all tests.
    std::thread::scope(|scope| {
        for (links, least) in [
            ([L(40, 0, 333, 0), L(40, 0, 333, 0)], 0.99),
            ([L(40, 10, 333, 0), L(40, 0, 333, 0)], 0.98),
            ([L(40, 10, 333, 0), L(40, 2, 333, 0)], 0.98),
            ([L(20, 0, 166, 0), L(40, 0, 333, 0)], 0.99),
            ([L(40, 5, 317, 0), L(20, 50, 83, 0)], 0.955),
            ([L(10, 1, 83, 0), L(10, 25, 83, 0)], 0.95),
            // A packet more or less in the queues makes it anything from 92 to 99 % here.
            ([L(10, 25, 83, 0), L(3, 1, 83, 0)], 0.9),
            // The near one's queue ends before the far one is as near.
            ([L(10, 1, 20, 0), L(10, 25, 50, 0)], 0.9),
        ] {
            scope.spawn(move || carries(links, least));
        }
    });
}

#[test]
fn never_below_the_best_path() {
    // Thin, far, or with little room in its queue: what cannot help does no harm.
    for links in [
        [L(40, 5, 60, 0), L(4, 60, 60, 0)],
        [L(40, 5, 60, 0), L(5, 60, 20, 0)],
        [L(40, 5, 30, 0), L(20, 50, 30, 0)],
        [L(40, 5, 30, 0), L(40, 50, 30, 0)],
        [L(10, 2, 16, 0), L(80, 50, 333, 0)],
        [L(40, 5, 150, 0), L(4, 5, 20, 0)],
    ] {
        let (rate, _) = goodput(1, &links, 6, 1);
        let (best, _) = goodput(1, &links[..1], 6, 1);
        println!("{links:?}: {:.1} % of the best", rate / best * 100.0);
        assert!(rate > 0.95 * best, "{links:?}: {rate} of {best}");
    }
}

#[test]
fn random_loss_on_one_path_does_not_slow_down_both() {
    for loss in [1, 10] {
        let links = [L(40, 10, 150, 0), L(40, 10, 150, loss)];
        let (rate, w) = goodput(1, &links, 14, 1);
        let (without, _) = goodput(1, &links, 14, 0);
        let best = sum(&links[..1]);
        println!("{loss} per mille: {rate:.1} Mbit/s, {without:.1} without repair");
        assert!(rate > best && rate > without);
        let [asked, repaired] = [
            w.node(B).counter(Counter::RepairAsked),
            w.node(A).counter(Counter::Repaired),
        ];
        assert!(asked > 0 && repaired > 0);
    }
}

#[test]
fn congestion_is_not_hidden() {
    // Nothing is lost but where a queue is full.
    let links = [L(40, 10, 100, 0), L(20, 10, 50, 0)];
    let (rate, w) = goodput(1, &links, 6, 1);
    let overflowed: u64 = w.links.iter().map(|l| l.overflowed).sum();
    let repaired = w.node(A).counter(Counter::Repaired);
    println!("{rate:.1} Mbit/s, {overflowed} lost in full queues, {repaired} repaired");
    assert!(repaired * 2 < overflowed);
}

/// The part of a stream's datagrams that arrives, from the fifth second on for five.
fn arrives(w: &mut World, source: usize, app: usize) -> f64 {
    w.run(5 * S);
    let (offered, got) = (sent(w, source), sink(w, app).packets);
    w.pass(5 * S);
    (sink(w, app).packets - got) as f64 / (sent(w, source) - offered) as f64
}

#[test]
fn datagrams_use_the_sum() {
    // Delays, milliseconds, and packets that a queue holds. All go to the near link at first, and
    // many of its queues are full before anything is known of it.
    let pairs = [
        (5, 50, 40),
        (5, 50, 60),
        (5, 50, 100),
        (5, 30, 60),
        (2, 25, 50),
    ];
    let more = [(1, 10, 20), (1, 10, 40), (30, 80, 60), (20, 20, 60)];
    for (near, far, room) in pairs.into_iter().chain(more) {
        for percent in [80, 90, 98] {
            let links = [L(40, near, room, 0), L(20, far, room, 0)];
            let mut w = straight(1, &links.iter().map(L::shape).collect::<Vec<_>>());
            let rate = 60 * MBIT * 1428 / 1446 * percent / 100;
            let (source, app) = stream(&mut w, udp_tuple(), rate, 30 * S);
            settle(&mut w, 2, 3 * S);
            let share = arrives(&mut w, source, app);
            println!("{percent} % of {links:?}: {:.2} % arrive", share * 100.0);
            assert!(share >= 0.99, "{percent} % of {links:?}: {share}");
        }
    }
}

/// Two or three links, and a stream of a part of what they carry.
fn any_links(seed: u64) -> (Vec<L>, u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut one_of = |what: &[u64]| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        what[(state >> 20) as usize % what.len()]
    };
    let links = (0..one_of(&[2, 3])).map(|_| {
        let rate = one_of(&[2, 5, 10, 20, 40, 100]);
        let delay = one_of(&[0, 1, 2, 5, 10, 25, 50, 100]);
        let room = rate * one_of(&[5, 10, 20, 50, 100, 200]) * 1000 / 8 / 1446;
        L(rate, delay, room.max(16) as usize, 0)
    });
    (links.collect(), one_of(&[50, 80, 90, 95]))
}

#[test]
fn datagrams_arrive_whatever_the_links() {
    // The first link is the one that all take until there are others, and may carry a fiftieth.
    let (mut all, mut lossy) = (0, 0);
    for seed in seeds(40) {
        let (links, percent) = any_links(seed);
        let mut w = straight(seed, &links.iter().map(L::shape).collect::<Vec<_>>());
        let rate = links.iter().map(|l| l.0).sum::<u64>() * MBIT * 1428 / 1446 * percent / 100;
        let (source, app) = stream(&mut w, udp_tuple(), rate, 20 * S);
        let share = arrives(&mut w, source, app);
        println!(
            "{seed}: {percent} % of {links:?}: {:.2} % arrive",
            share * 100.0
        );
        assert!(share > 0.9, "{seed}: {percent} % of {links:?}: {share}");
        all += 1;
        lossy += u32::from(share < 0.99);
    }
    assert!(lossy * 25 <= all, "{lossy} of {all} lose more than 1 %");
}

#[test]
fn few_datagrams_take_the_near_path() {
    let links = [L(40, 5, 60, 0), L(40, 50, 60, 0)];
    let mut w = straight(1, &links.iter().map(L::shape).collect::<Vec<_>>());
    stream(&mut w, udp_tuple(), 20 * MBIT, 30 * S);
    settle(&mut w, 2, 3 * S);
    w.run(3 * S);
    let offered = |w: &World| w.links[2].offered;
    let before = offered(&w);
    w.pass(5 * S);
    // Questions only.
    assert!(offered(&w) - before < 40, "{}", offered(&w) - before);
}

#[test]
fn a_link_that_halves_or_doubles() {
    for (first, then) in [(40, 20), (20, 40), (2, 40)] {
        let links = [L(first, 5, 150, 0), L(40, 5, 150, 0)];
        let mut w = straight(1, &links.iter().map(L::shape).collect::<Vec<_>>());
        let (_, b) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
        settle(&mut w, 2, 3 * S);
        w.pass(6 * S);
        for direction in [0, 1] {
            w.links[direction].shape.rate = then * MBIT;
        }
        w.pass(S / 2);
        let before = w.tcp(B, b).received();
        w.pass(3 * S);
        let got = (w.tcp(B, b).received() - before) as f64;
        let share = got / capacity((then + 40) * MBIT, 3 * S);
        println!("{first} to {then} Mbit/s: {:.1} %", share * 100.0);
        assert!(share > 0.8, "{share}");
    }
}

/// A link of 3 Mbit/s that carries `least` kbit/s from one moment to the next, for 40 s, beside one of 1.5 Mbit/s:
/// what a transfer got each five seconds, as a share of what the better one carries. Delays in milliseconds.
fn thin(near: u64, far: u64, least: u64) -> Vec<f64> {
    let links = [L(3, near, 40, 0), L(2, far, 40, 0)];
    let mut w = straight(1, &links.iter().map(L::shape).collect::<Vec<_>>());
    let set = |w: &mut World, link: usize, kbit: u64| {
        for direction in [2 * link, 2 * link + 1] {
            w.links[direction].shape.rate = kbit * 1000;
        }
    };
    set(&mut w, 1, 1500);
    let (_, b) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
    settle(&mut w, 2, 3 * S);
    w.pass(6 * S);
    let share = |five| {
        let kbit = if five < 8 { least } else { 3000 };
        set(&mut w, 0, kbit);
        let before = w.tcp(B, b).received();
        w.pass(5 * S);
        (w.tcp(B, b).received() - before) as f64 / capacity(kbit.max(1500) * 1000, 5 * S)
    };
    (0..10).map(share).collect()
}

#[test]
fn a_link_that_gets_thin_does_no_harm_and_comes_back() {
    for (near, far) in [(15, 45), (5, 50), (45, 15), (15, 15)] {
        for least in [100, 200, 300] {
            let shares = thin(near, far, least);
            println!("{near}/{far} ms, to {least} kbit/s: {shares:.2?}");
            // This old TCP takes its time with what was lost in the queue that became so slow.
            let settled = &shares[2..8];
            let mean = settled.iter().sum::<f64>() / settled.len() as f64;
            let gain = 0.5 * least as f64 / 1500.0;
            // It fills one gap each round trip, and what is behind it counts then.
            let mut pairs = settled.windows(2).map(|pair| pair.iter().sum::<f64>());
            assert!(
                mean > 0.9 + gain && pairs.all(|sum| sum > 1.0),
                "{shares:?}"
            );
            assert!(shares[8] > 1.1 && shares[9] > 1.3, "{shares:?}");
        }
    }
}
