// SPDX-License-Identifier: GPL-2.0

//! The reordering buffer under random traffic.

use crate::common::config;
use crate::reorder::buffer;
use crate::reorder::Buffer;
use mpip_host::proto::reorder::Limits;
use mpip_host::proto::reorder::Push;
use mpip_host::proto::reorder::Segment;
use mpip_host::proto::seq;
use proptest::prelude::*;
use std::collections::HashMap;

/// Arrival of a packet, numbered in the order of the stream, at a time.
#[derive(Clone, Debug)]
struct Arrival {
    at: u32,
    id: u32,
    seg: Segment,
}

#[derive(Clone, Debug)]
struct Traffic {
    start: u32,
    arrivals: Vec<Arrival>,
    limits: Limits,
}

/// Packets of one stream, each with a delay, or lost, or twice.
fn traffic(loss: bool, wait_us: std::ops::Range<u32>) -> impl Strategy<Value = Traffic> {
    let fate = if loss {
        prop_oneof![8 => Just(1), 1 => Just(0), 1 => Just(2)].boxed()
    } else {
        Just(1).boxed()
    };
    let packet = (1u32..3000, 0u8..4, 0u32..2000, 0u32..2000, fate);
    (
        any::<u32>(),
        any::<u32>(),
        proptest::collection::vec(packet, 1..150),
        proptest::array::uniform4(0u32..20_000),
        (2usize..200, 4000u32..200_000, wait_us),
    )
        .prop_map(|(start, time, packets, delays, limits)| {
            let mut arrivals = Vec::new();
            let mut seq = start;
            for (i, (len, lane, jitter, again, copies)) in packets.into_iter().enumerate() {
                let seg = Segment {
                    seq,
                    end: seq.wrapping_add(len),
                    lane,
                    bytes: len + 500,
                    rst: false,
                };
                seq = seg.end;
                let sent = i as u32 * 100;
                let delay = delays[usize::from(lane)] + jitter;
                for copy in 0..copies {
                    arrivals.push(Arrival {
                        at: time.wrapping_add(sent + delay + copy * again),
                        id: i as u32,
                        seg,
                    });
                }
            }
            arrivals.sort_by_key(|a| a.at.wrapping_sub(time));
            let (packets, bytes, wait_us) = limits;
            Traffic {
                start,
                arrivals,
                limits: Limits {
                    packets,
                    bytes,
                    wait_us,
                    spread_us: wait_us,
                    repair_us: 0,
                    settle_us: 0,
                },
            }
        })
}

/// A buffer that is used as the kernel does.
struct Receiver {
    buffer: Buffer,
    limits: Limits,
    /// Ids in the order of delivery.
    out: Vec<u32>,
    /// When the copies of a packet that are held came.
    held: HashMap<u32, Vec<u32>>,
    /// Whether what is in order is pushed all the same.
    pushes: bool,
}

impl Receiver {
    fn arrive(&mut self, arrival: &Arrival) -> Result<(), TestCaseError> {
        if !self.pushes && self.buffer.passes(arrival.at, &arrival.seg) {
            self.out.push(arrival.id);
            prop_assert!(self.buffer.is_empty());
            return Ok(());
        }
        match self.buffer.push(arrival.at, arrival.seg, arrival.id) {
            Push::Pass(id) => self.out.push(id),
            Push::Held => self.held.entry(arrival.id).or_default().push(arrival.at),
            other => prop_assert!(false, "{:?}", other),
        }
        self.deliver(arrival.at)
    }

    /// Delivers what is due, and checks the bounds.
    fn deliver(&mut self, now: u32) -> Result<(), TestCaseError> {
        while let Some(id) = self.buffer.pop(now) {
            let came = self.held.get_mut(&id).unwrap().remove(0);
            prop_assert!(now.wrapping_sub(came) <= self.limits.wait_us);
            self.out.push(id);
        }
        let held = self.held.values().flatten().count();
        prop_assert_eq!(self.buffer.len(), held);
        prop_assert!(held <= self.limits.packets);
        prop_assert!(self.buffer.bytes() <= self.limits.bytes);
        prop_assert_eq!(self.buffer.deadline(0).is_some(), held > 0);
        Ok(())
    }

    /// Lets the timer fire until `now`, or until it rests.
    fn timer(&mut self, now: Option<u32>) -> Result<(), TestCaseError> {
        while let Some(due) = self.buffer.deadline(0) {
            if now.is_some_and(|now| now.wrapping_sub(due) > 1 << 30) {
                break;
            }
            let before = self.buffer.len();
            self.deliver(due)?;
            prop_assert!(self.buffer.len() < before);
        }
        Ok(())
    }
}

/// Feeds the traffic to a buffer that expects these lanes; what is delivered,
/// in order.
fn run(traffic: &Traffic, lanes: u8) -> Result<Vec<u32>, TestCaseError> {
    let short = run_as(traffic, lanes, false)?;
    let pushed = run_as(traffic, lanes, true)?;
    prop_assert_eq!(&short, &pushed);
    Ok(short)
}

/// The same; `pushes` says whether what is in order is pushed, too.
fn run_as(traffic: &Traffic, lanes: u8, pushes: bool) -> Result<Vec<u32>, TestCaseError> {
    let mut r = Receiver {
        buffer: buffer(traffic.start, traffic.limits),
        limits: traffic.limits,
        out: Vec::new(),
        held: HashMap::new(),
        pushes,
    };
    let start = traffic.arrivals.first().map_or(0, |a| a.at);
    r.buffer.expect_lanes(start, lanes);
    for arrival in &traffic.arrivals {
        r.timer(Some(arrival.at))?;
        r.arrive(arrival)?;
    }
    r.timer(None)?;
    prop_assert!(r.buffer.is_empty());

    // Everything that arrived was delivered, each exactly as often.
    let mut expected: Vec<u32> = traffic.arrivals.iter().map(|a| a.id).collect();
    let mut delivered = r.out.clone();
    expected.sort();
    delivered.sort();
    prop_assert_eq!(delivered, expected);
    Ok(r.out)
}

/// Makes the lanes first-in-first-out and the limits wide enough.
fn orderly(mut traffic: Traffic) -> Traffic {
    traffic.limits.packets = 200;
    traffic.limits.bytes = 1 << 20;
    let mut latest = [0; 4];
    let first = traffic.arrivals[0].at;
    traffic.arrivals.sort_by_key(|a| a.id);
    for arrival in &mut traffic.arrivals {
        let latest = &mut latest[usize::from(arrival.seg.lane)];
        *latest = arrival.at.wrapping_sub(first).max(*latest);
        arrival.at = first.wrapping_add(*latest);
    }
    traffic.arrivals.sort_by_key(|a| a.at.wrapping_sub(first));
    traffic
}

/// Something that reaches the receiver.
enum Event {
    Came(Arrival),
    Refused(u32, u32),
}

/// Feeds the traffic, of which some is lost, to a buffer that asks for it. What is asked for comes
/// on some lane after some time, or is refused then, or lost again.
fn repair(
    traffic: &Traffic,
    lost: &[bool],
    fates: &[(u8, u32, u8)],
    narrow: bool,
) -> Result<(), TestCaseError> {
    let zero = traffic.arrivals.first().map_or(0, |a| a.at);
    let mut events: Vec<(u32, Event)> = traffic
        .arrivals
        .iter()
        .filter(|a| !lost[a.id as usize])
        .map(|a| (a.at.wrapping_sub(zero), Event::Came(a.clone())))
        .collect();
    let mut b = buffer(traffic.start, traffic.limits);
    b.expect_lanes(zero, 0b1111);
    let (mut out, mut came) = (Vec::new(), Vec::new());
    let mut asked = Vec::<(u32, u32, u32, bool)>::new();
    let mut last = 0;
    while !events.is_empty() || !b.is_empty() {
        let next = (0..events.len()).min_by_key(|i| (events[*i].0, *i));
        let deadline = b.deadline(zero).map(|at| at.wrapping_sub(zero));
        // The timer is set to 50 us at least.
        let due = deadline.map(|due| due.max(last + 50));
        let first = next.map(|i| events[i].0);
        let timer = due.is_some_and(|due| first.is_none_or(|first| due < first));
        let time = if timer { due } else { first }.unwrap_or(0);
        let now = zero.wrapping_add(time);
        last = time;
        if let Some(next) = next.filter(|_| !timer) {
            match events.remove(next).1 {
                Event::Refused(from, to) => b.refused(now, from, to),
                Event::Came(arrival) => {
                    came.push(arrival.id);
                    match b.push(now, arrival.seg, arrival.id) {
                        Push::Pass(id) => out.push(id),
                        Push::Held => {}
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
        }
        while let Some((from, to)) = b.next_missing(now) {
            // It is not empty and did not come; what was asked for once, some time ago, may be
            // asked for once more.
            prop_assert!(seq::before(from, to));
            let mut again = false;
            for &(a, z, at, twice) in &asked {
                if seq::before(from, z) && seq::before(a, to) {
                    prop_assert!(!twice, "{from} {to} a third time");
                    prop_assert!(seq::before_eq(a, from) && seq::before_eq(to, z));
                    prop_assert!(time - at >= traffic.limits.repair_us, "{from} {to} early");
                    again = true;
                }
            }
            asked.push((from, to, time, again));
            let inside = |a: &&Arrival| seq::before(a.seg.seq, to) && seq::after(a.seg.end, from);
            for a in traffic.arrivals.iter().filter(inside) {
                prop_assert!(lost[a.id as usize], "{} was not lost", a.id);
                let which = if again {
                    fates.len() - 1 - a.id as usize
                } else {
                    a.id as usize
                };
                let (fate, after, lane) = fates[which];
                let at = time + after;
                let seg = Segment { lane, ..a.seg };
                match fate {
                    0 => {}
                    1 => events.push((at, Event::Refused(from, to))),
                    _ => events.push((at, Event::Came(Arrival { seg, ..*a }))),
                }
            }
        }
        let before = b.len();
        while let Some(id) = b.pop(now) {
            out.push(id);
        }
        prop_assert!(b.len() <= traffic.limits.packets);
        // What was asked for once is waited for a millisecond longer if it is not asked for again:
        // a lane may have shown up that is not ahead.
        if timer && deadline == b.deadline(zero).map(|at| at.wrapping_sub(zero)) {
            let late = deadline.map_or(0, |due| time - due);
            prop_assert!(b.len() < before || late < 1_000, "a timer for nothing");
        }
    }
    // Everything that came was delivered, once; and in order, but for what came too late.
    let late = came.iter().filter(|id| lost[**id as usize]);
    let late: Vec<u32> = late.copied().collect();
    let mut delivered = out.clone();
    delivered.sort();
    came.sort();
    prop_assert_eq!(delivered, came);
    if !narrow {
        out.retain(|id| !late.contains(id));
        prop_assert!(out.is_sorted(), "{:?}", out);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn nothing_is_lost(traffic in traffic(true, 0..30_000), lanes: u8) {
        run(&traffic, lanes)?;
    }

    #[test]
    fn everything_in_order(traffic in traffic(false, 22_000..30_000)) {
        let out = run(&orderly(traffic), 0b1111)?;
        prop_assert!(out.is_sorted(), "{:?}", out);
    }

    /// Only packets that were lost are given up.
    #[test]
    fn in_order_in_spite_of_loss(
        traffic in traffic(false, 22_000..30_000),
        lost in proptest::collection::vec(proptest::bool::weighted(0.1), 150),
    ) {
        let mut traffic = orderly(traffic);
        traffic.arrivals.retain(|a| !lost[a.id as usize]);
        let out = run(&traffic, 0b1111)?;
        prop_assert!(out.is_sorted(), "{:?}", out);
    }

    /// What is asked for and sent again, or refused, or lost once more.
    #[test]
    fn a_repair_loses_and_swaps_nothing(
        traffic in traffic(false, 22_000..30_000),
        lost in proptest::collection::vec(proptest::bool::weighted(0.15), 150),
        fates in proptest::collection::vec((0u8..4, 0u32..60_000, 0u8..4), 150),
        narrow: bool,
    ) {
        let mut sent = orderly(traffic.clone());
        if narrow {
            sent.limits.packets = traffic.limits.packets;
        }
        sent.limits.repair_us = 40_000;
        repair(&sent, &lost, &fates, narrow)?;
    }

    #[test]
    fn any_input(
        start: u32,
        calls in proptest::collection::vec(
            (any::<u32>(), 0u32..8, any::<u32>(), -70_000i32..70_000, any::<u32>(), any::<u8>()),
            0..200,
        ),
        slots in 0usize..20,
        wait_us: u32,
    ) {
        let mut b = Buffer::new(start);
        b.attach(crate::reorder::storage(slots));
        b.set_wait(wait_us);
        let (mut given, mut taken) = (0, 0);
        for (now, what, number, near, len, lane) in calls {
            let seq = match what {
                0 | 1 => number,
                _ => b.next().wrapping_add(near as u32),
            };
            match what {
                7 => b.acked(seq),
                6 => b.flush(),
                _ => {
                    let len = if what == 5 { len } else { len % 5000 };
                    let end = seq.wrapping_add(len);
                    let seg = Segment { seq, end, lane, bytes: len, rst: what == 4 };
                    given += 1;
                    match b.push(now, seg, number) {
                        Push::Held => {}
                        _ => taken += 1,
                    }
                }
            }
            b.deadline(0);
            if lane % 4 != 0 {
                while b.pop(now).is_some() {
                    taken += 1;
                }
            }
            prop_assert_eq!(given - taken, b.len());
        }
        b.flush();
        while b.pop(0).is_some() {
            taken += 1;
        }
        prop_assert_eq!(given, taken);
    }
}
