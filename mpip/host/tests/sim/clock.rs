// SPDX-License-Identifier: GPL-2.0

//! The nodes' clocks may show anything, and may wrap.

use crate::link::Shape;
use crate::scene::*;
use mpip_host::proto::session::LaneState;

/// All that happens in ten seconds, with an outage in the middle.
#[derive(Debug, PartialEq)]
struct Story {
    received: u64,
    sender: String,
    receiver: String,
    weights: Vec<u16>,
    lanes: [Vec<LaneState>; 2],
    events: Vec<(u64, bool)>,
    queues: Vec<u32>,
    delays: Vec<i32>,
    round_trips: Vec<u32>,
}

fn story(clock_a: u64, clock_b: u64) -> Story {
    let shape = |mbit, ms| Shape::shaped(mbit * MBIT, ms * MS, 60);
    let mut w = clocked(5, &[shape(20, 10), shape(10, 3)], clock_a, clock_b);
    for link in [2, 3] {
        w.links[link].shape.down = vec![(6 * S, 8 * S)];
    }
    let (a, b) = connect(&mut w, tcp_tuple(), u64::MAX >> 1);
    w.run(10 * S);
    let session = w.node(A).only();
    let inner = session.inner.borrow();
    let paths = session.peer.paths();
    let tx: Vec<_> = paths.iter().map(|p| p.state.borrow().tx.clone()).collect();
    let first = tx[0].smoothed();
    Story {
        received: w.tcp(B, b).received(),
        sender: format!("{:?}", w.tcp(A, a).stats),
        receiver: format!("{:?}", w.tcp(B, b).stats),
        weights: (0..2).map(|i| inner.s.weight(i)).collect(),
        lanes: [A, B].map(|h| lanes(&w.node(h).only())),
        events: w.node(A).events.iter().map(|e| (e.0, e.2)).collect(),
        queues: tx.iter().map(|d| d.queue()).collect(),
        // Only differences mean something.
        delays: tx
            .iter()
            .map(|d| d.smoothed().wrapping_sub(first))
            .collect(),
        round_trips: paths.iter().map(|p| p.state.borrow().rtt.srtt()).collect(),
    }
}

/// Clocks by what happens to them within the ten seconds. Full seconds, so that milliseconds
/// begin at the same moments.
const CLOCKS: [(&str, u64); 7] = [
    ("starts", 0),
    ("shows a day", 86_400 * S),
    ("passes 2^31 us", 2_143 * S),
    ("passes 2^32 us", 4_290 * S),
    ("passes 2^32 us during the outage", 4_287 * S),
    ("passes 2^31 ms", 2_147_480 * S),
    ("passes 2^32 ms", 4_294_962 * S),
];

#[test]
fn clocks_change_nothing() {
    let plain = story(0, 0);
    println!("{plain:?}");
    assert!(plain.received > 15_000_000);
    assert_eq!(plain.events.len(), 2);
    for (i, (name, clock)) in CLOCKS.into_iter().enumerate() {
        let (_, other) = CLOCKS[(i + 3) % CLOCKS.len()];
        assert_eq!(story(clock, 0), plain, "A's clock {name}");
        assert_eq!(story(0, clock), plain, "B's clock {name}");
        assert_eq!(story(clock, other), plain, "A's clock {name}, B's differs");
    }
}

#[test]
fn drifting_apart_is_not_a_queue() {
    // What makes up for drift is the window of the minimum; a clock that is off by a constant
    // needs nothing.
    use mpip_host::proto::path::Path;
    let mut path = Path::new();
    path.bind(0);
    for t in 0..3000u64 {
        // 50 ppm, a sample every 20 ms.
        let now = (t * 20_000) as u32;
        let sent = now
            .wrapping_sub(10_000)
            .wrapping_add((t * 20_000 * 50 / 1_000_000) as u32);
        path.on_report(
            now,
            0,
            &mpip_host::proto::wire::cm::Report {
                session: 1,
                path: 0,
                feedback: 0xff,
                flags: 0,
                timestamp: sent,
                delay: 0,
                number: t as u32 + 1,
                tx_packets: 0,
                fb_rx_packets: 0,
                fb_rx_bytes: 0,
                echo: 0,
                hold: 0,
            },
        );
        assert!(path.rx.queue() < 2_000, "{}", path.rx.queue());
    }
}
