// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use mpip_host::proto::kept::Kept;
use mpip_host::proto::kept::Segment;
use mpip_host::proto::kept::Sending;
use mpip_host::proto::seq;
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;

/// A packet is known by a number.
type Ring = Kept<u32, Box<[Option<Segment<u32>>]>>;

fn storage<T>(slots: usize) -> Box<[Option<Segment<T>>]> {
    (0..slots).map(|_| None).collect()
}

fn ring(slots: usize) -> Ring {
    let mut ring = Ring::new();
    assert!(ring.attach(storage(slots)).is_none());
    ring
}

/// A segment of 100 bytes that ends at `end`; the packet is that number.
fn seg(end: u32) -> Segment<u32> {
    Segment {
        start: end.wrapping_sub(100),
        end,
        lane: 0,
        bytes: 100,
        wait: 0,
        sent: 7,
        packet: end,
    }
}

/// What is kept, by packet, oldest first. It is put back.
fn kept(ring: &mut Ring) -> Vec<u32> {
    let all: Vec<_> = std::iter::from_fn(|| ring.pop()).collect();
    let packets = all.iter().map(|s| s.packet).collect();
    for segment in all {
        assert_eq!(ring.push(segment, u32::MAX), 0);
    }
    packets
}

#[test]
fn without_storage_nothing_is_kept() {
    let mut r = Ring::default();
    assert!(!r.has_storage() && r.is_empty());
    assert_eq!(r.push(seg(1), 1000), 0);
    r.acked(5);
    assert!(r.pop().is_none() && r.detach().is_none());
    assert_eq!((r.len(), r.bytes()), (0, 0));
    // No slots are as good as none.
    let mut r = ring(0);
    assert_eq!(r.push(seg(1), 1000), 0);
    assert!(r.is_empty() && r.pop().is_none());
    r.acked(5);
}

#[test]
fn storage_comes_and_goes() {
    let mut r = ring(2);
    assert!(r.has_storage());
    r.push(seg(1), 1000);
    // Another one is given back as it was.
    let second = r.attach(storage(7)).unwrap();
    assert_eq!(second.len(), 7);
    assert_eq!((r.len(), r.bytes()), (1, 100));
    let first = r.detach().unwrap();
    assert_eq!(first.iter().flatten().count(), 1);
    assert_eq!((r.len(), r.bytes(), r.has_storage()), (0, 0, false));
    assert!(r.attach(second).is_none());
    for end in 1..=9 {
        assert_eq!(r.push(seg(end), 10_000), u32::from(end > 7));
    }
    assert_eq!(kept(&mut r), [3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn the_oldest_make_room() {
    // For one more in the slots.
    let mut r = ring(3);
    for end in [10, 20, 30] {
        assert_eq!(r.push(seg(end), 1000), 0);
    }
    assert_eq!(r.push(seg(40), 1000), 1);
    assert_eq!(kept(&mut r), [20, 30, 40]);
    // For its bytes: as many as it takes, and no more.
    let large = |bytes| Segment { bytes, ..seg(50) };
    assert_eq!(r.push(large(150), 350), 1);
    assert_eq!((kept(&mut r), r.bytes()), (vec![30, 40, 50], 350));
    assert_eq!(r.push(large(350), 350), 3);
    assert_eq!((kept(&mut r), r.bytes()), (vec![50], 350));
    // One that never fits drives nobody out.
    assert_eq!(r.push(large(351), 350), 0);
    assert_eq!((r.len(), r.bytes()), (1, 350));
    // A smaller limit than before.
    assert_eq!(r.push(seg(60), 100), 1);
    assert_eq!(kept(&mut r), [60]);
}

#[test]
fn what_was_acknowledged_goes() {
    for start in [1000, u32::MAX - 25, 0x7fff_fff0] {
        let at = |n: u32| start.wrapping_add(n);
        let mut r = ring(8);
        for n in [10, 20, 30, 40] {
            r.push(seg(at(n)), 10_000);
        }
        for (una, left) in [(0, 4), (9, 4), (10, 3), (29, 2), (15, 2), (30, 1)] {
            r.acked(at(una));
            assert_eq!((r.len(), r.bytes()), (left, 100 * left as u32), "{una}");
        }
        // An older one behind a newer one, as after a resending, stays until that goes.
        r.push(seg(at(20)), 10_000);
        r.acked(at(39));
        assert_eq!(kept(&mut r), [at(40), at(20)]);
        r.acked(at(40));
        assert!(r.is_empty());
    }
}

#[test]
fn taking_out_some_keeps_the_order_of_the_rest() {
    // What the kernel does when a lane fails.
    let mut r = ring(7);
    for end in 0..10 {
        let lane = (end % 3) as u8;
        r.push(Segment { lane, ..seg(end) }, 10_000);
    }
    let mut out = Vec::new();
    for _ in 0..r.len() {
        let segment = r.pop().unwrap();
        if segment.lane == 1 {
            out.push(segment.packet);
        } else {
            assert_eq!(r.push(segment, 10_000), 0);
        }
    }
    assert_eq!(out, [4, 7]);
    assert_eq!(kept(&mut r), [3, 5, 6, 8, 9]);
    assert_eq!(r.bytes(), 500);
}

/// The packets that hold something between two numbers.
fn between(ring: &mut Ring, from: u32, to: u32) -> Vec<u32> {
    let mut found = Vec::new();
    ring.between(from, to, |segment| found.push(segment.packet));
    found
}

#[test]
fn what_lies_between_is_found() {
    for start in [1000, u32::MAX - 250, 0x7fff_ff00] {
        let at = |n: u32| start.wrapping_add(n);
        let mut r = ring(4);
        // The ring has turned: 0 to 100 has gone.
        for n in [100, 200, 300, 400, 500] {
            r.push(
                Segment {
                    packet: n,
                    ..seg(at(n))
                },
                10_000,
            );
        }
        for (from, to, found) in [
            (100, 500, &[500, 400, 300, 200][..]),
            (0, 600, &[500, 400, 300, 200]),
            (0, 100, &[]),
            (0, 101, &[200]),
            (200, 300, &[300]),
            (199, 300, &[300, 200]),
            (200, 301, &[400, 300]),
            (250, 251, &[300]),
            (300, 300, &[]),
            (500, 900, &[]),
            // The wrong way round.
            (400, 300, &[]),
        ] {
            assert_eq!(between(&mut r, at(from), at(to)), found, "{from} {to}");
        }
        // What was sent again stands last, beside what was sent before.
        let sent = |lane, at, again| Some(Sending { lane, at, again });
        assert_eq!(r.last_sent(at(250)), sent(0, 7, false));
        r.push(
            Segment {
                packet: 7,
                lane: 5,
                sent: 9,
                ..seg(at(300))
            },
            10_000,
        );
        assert_eq!(between(&mut r, at(200), at(300)), [7, 300]);
        for (seq, sent) in [
            (199, None),
            (200, sent(5, 9, true)),
            (299, sent(5, 9, true)),
            (300, sent(0, 7, false)),
        ] {
            assert_eq!(r.last_sent(at(seq)), sent, "{seq}");
        }
        // What is found can be changed.
        r.between(at(400), at(500), |segment| segment.wait = 5);
        let waits: Vec<_> = std::iter::from_fn(|| r.pop()).map(|s| s.wait).collect();
        assert_eq!(waits, [0, 0, 5, 0]);
        assert_eq!(between(&mut r, at(0), at(600)), []);
    }
    assert_eq!(between(&mut Ring::new(), 0, 100), []);
    assert_eq!(between(&mut ring(0), 0, 100), []);
}

#[test]
fn a_segment_is_charged_its_own_part() {
    for start in [1000, u32::MAX - 250, u32::MAX - 150, 0x7fff_ff80] {
        let at = |n: u32| start.wrapping_add(n);
        // It holds 100 to 200.
        let segment = seg(at(200));
        for (from, to, bytes) in [
            (100, 200, 100),
            (0, 300, 100),
            (0, 150, 50),
            (150, 300, 50),
            (120, 130, 10),
            (199, 200, 1),
            (0, 101, 1),
            (0, 100, 0),
            (200, 300, 0),
            (0, 50, 0),
            (250, 300, 0),
            (150, 150, 0),
            // The wrong way round.
            (180, 120, 0),
        ] {
            assert_eq!(segment.overlap(at(from), at(to)), bytes, "{from} {to}");
        }
        // Those of a ring hold all of a part together.
        let mut r = ring(4);
        for n in [100, 200, 300, 400] {
            r.push(seg(at(n)), 10_000);
        }
        let mut all = Vec::new();
        r.between(at(50), at(320), |s| all.push(s.overlap(at(50), at(320))));
        assert_eq!(all, [20, 100, 100, 50]);
    }
}

/// Counts those that were dropped.
struct Packet(Rc<Cell<usize>>);

impl Drop for Packet {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn packets_are_let_go_of() {
    let gone = Rc::new(Cell::new(0));
    let mut r = Kept::<Packet, Box<[Option<Segment<Packet>>]>>::new();
    r.attach(storage(2));
    for end in [10, 20, 30, 40] {
        let segment = Segment {
            start: end - 10,
            end,
            lane: 0,
            bytes: 1,
            wait: 0,
            sent: 0,
            packet: Packet(gone.clone()),
        };
        r.push(segment, 10);
    }
    assert_eq!(gone.get(), 2, "driven out");
    r.acked(30);
    assert_eq!(gone.get(), 3, "acknowledged");
    drop(r.detach());
    assert_eq!(gone.get(), 4, "with the storage");
}

/// What is done with a ring.
#[derive(Clone, Debug)]
enum Step {
    Push { more: u32, lane: u8, bytes: u32 },
    Acked(i32),
    Pop,
    Cap(u32),
    Storage(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u32..3000, 0u8..8, 0u32..2500).prop_map(|(more, lane, bytes)| Step::Push {
            more,
            lane,
            bytes,
        }),
        2 => (-20_000i32..2000).prop_map(Step::Acked),
        1 => Just(Step::Pop),
        1 => (0u32..30_000).prop_map(Step::Cap),
        1 => (0usize..20).prop_map(Step::Storage),
    ]
}

proptest! {
    #![proptest_config(config(2000))]

    /// Against a list without a ring.
    #[test]
    fn like_a_list(start: u32, steps in prop::collection::vec(step(), 0..150)) {
        let mut ring = Ring::new();
        let (mut list, mut slots) = (Vec::<(u32, u8, u32, u32)>::new(), None);
        let (mut end, mut cap, mut next) = (start, 20_000, 0);
        for step in steps {
            match step {
                Step::Push { more, lane, bytes } => {
                    end = end.wrapping_add(more);
                    next += 1;
                    let start = end.wrapping_sub(more);
                    let segment = Segment { start, end, lane, bytes, wait: 0, sent: 0, packet: next };
                    let gone = ring.push(segment, cap);
                    let slots = slots.unwrap_or(0);
                    let before = list.len();
                    if slots > 0 && bytes <= cap {
                        list.push((end, lane, bytes, next));
                        while list.len() > slots || list.iter().map(|s| s.2).sum::<u32>() > cap {
                            list.remove(0);
                        }
                        prop_assert_eq!(gone as usize, before + 1 - list.len());
                    } else {
                        prop_assert_eq!(gone, 0);
                    }
                }
                Step::Acked(at) => {
                    let una = end.wrapping_add(at as u32);
                    ring.acked(una);
                    let left = list.iter().position(|s| seq::after(s.0, una));
                    list.drain(..left.unwrap_or(list.len()));
                }
                Step::Pop => {
                    let segment = ring.pop().map(|s| (s.end, s.lane, s.bytes, s.packet));
                    let expected = (!list.is_empty()).then(|| list.remove(0));
                    prop_assert_eq!(segment, expected);
                }
                Step::Cap(bytes) => cap = bytes,
                Step::Storage(n) => {
                    let had = ring.detach();
                    prop_assert_eq!(had.as_ref().map(|s| s.len()), slots);
                    let held = had.iter().flatten().flatten();
                    prop_assert_eq!(held.count(), list.len());
                    prop_assert!(ring.attach(storage(n)).is_none());
                    slots = Some(n);
                    list.clear();
                }
            }
            let mut all = Vec::new();
            let last = end.wrapping_add(1);
            ring.between(last.wrapping_sub(1 << 30), last, |s| all.push(s.packet));
            prop_assert!(all.iter().eq(list.iter().rev().map(|s| &s.3)));
            prop_assert_eq!(ring.len(), list.len());
            prop_assert_eq!(ring.is_empty(), list.is_empty());
            prop_assert_eq!(ring.bytes(), list.iter().map(|s| s.2).sum::<u32>());
        }
        let left: Vec<_> = std::iter::from_fn(|| ring.pop()).map(|s| s.packet).collect();
        prop_assert_eq!(left, list.iter().map(|s| s.3).collect::<Vec<_>>());
    }
}
