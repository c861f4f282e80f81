// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use mpip_host::proto::earliest::choose;
use mpip_host::proto::earliest::shares;
use mpip_host::proto::earliest::Backlog;
use mpip_host::proto::earliest::Candidate;
use mpip_host::proto::earliest::Load;
use mpip_host::proto::earliest::DATAGRAM_PATIENCE_US;
use proptest::prelude::*;

const MS: u32 = 1_000;
const S: u32 = 1_000_000;
/// 10 Mbit/s, bytes per second: 1250 bytes take a millisecond.
const RATE: u32 = 1_250_000;
/// Times that wrap, or pass their middle, soon.
const CLOCKS: [u32; 4] = [0, 12_345, u32::MAX - 3 * MS, (1 << 31) - 3 * MS];

#[test]
fn a_queue_grows_by_what_is_sent_and_shrinks_with_time() {
    for now in CLOCKS {
        let at = |us: u32| now.wrapping_add(us);
        let b = Backlog::default().correct(now, 0);
        assert_eq!(b.wait(now), 0);
        let b = b.add(now, 12_500, RATE);
        assert_eq!(b.wait(now), 10 * MS);
        assert_eq!(b.wait(at(4 * MS)), 6 * MS);
        let b = b.add(at(4 * MS), 2_500, RATE);
        assert_eq!((b.wait(at(4 * MS)), b.wait(at(12 * MS))), (8 * MS, 0));
        assert_eq!(b.wait(at(S)), 0);
        // An idle time gives no credit.
        assert_eq!(b.add(at(S), 1_250, RATE).wait(at(S)), MS);
    }
}

#[test]
fn parts_of_a_microsecond_add_up() {
    // 1 Gbit/s: 100 bytes take 0.8 us.
    let mut b = Backlog::default();
    for _ in 0..1000 {
        b = b.add(0, 100, 125_000_000);
    }
    assert!((790..=800).contains(&b.wait(0)), "{}", b.wait(0));
}

#[test]
fn what_costs_nothing_adds_nothing() {
    let b = Backlog::default().add(5, 5_000, RATE);
    assert_eq!(b.add(5, 1_000_000, 0), b);
    assert_eq!(b.add(5, 0, RATE), b);
    assert_eq!(b.correct(5, 0), b);
}

#[test]
fn a_report_corrects_the_queue() {
    for now in CLOCKS {
        let at = |us: u32| now.wrapping_add(us);
        let b = Backlog::default().add(now, 12_500, RATE);
        assert_eq!(
            b.correct(at(2 * MS), 5 * MS as i32).wait(at(2 * MS)),
            13 * MS
        );
        assert_eq!(b.correct(at(2 * MS), -5_000).wait(at(2 * MS)), 3 * MS);
        assert_eq!(b.correct(at(2 * MS), -50_000).wait(at(2 * MS)), 0);
        // It was thought to have been empty for 2 ms, and was not.
        assert_eq!(
            b.correct(at(12 * MS), 5 * MS as i32).wait(at(12 * MS)),
            3 * MS
        );
    }
}

#[test]
fn a_queue_has_a_longest() {
    let b = Backlog::default();
    for full in [
        b.add(9, u32::MAX, 1),
        b.correct(9, i32::MAX),
        b.add(9, u32::MAX, 1).add(9, u32::MAX, 1),
        b.add(9, u32::MAX, 1).correct(9, i32::MAX),
    ] {
        assert_eq!((full.wait(9), full.wait(9 + S)), (4 * S, 3 * S));
    }
    assert_eq!(b.correct(9, i32::MIN).wait(9), 0);
}

#[test]
fn the_clocks_of_two_processors_differ() {
    // What was sent a little later counts as sent now.
    let b = Backlog::default().correct(100, 0).add(100, 1_250, RATE);
    assert_eq!(b.wait(40), MS);
    assert_eq!(b.add(40, 1_250, RATE).wait(40), 2 * MS);
}

/// A lane without queue and loss that is `ms` away.
fn lane(lane: usize, ms: i32, rate: u32) -> Candidate {
    Candidate {
        lane,
        service: 0,
        noise: 0,
        urgent: false,
        limit: 0,
        wait: 0,
        loss: 0,
        random_loss: 0,
        base: ms * MS as i32,
        rate,
        new: false,
        rtt: 2 * ms.unsigned_abs() * MS,
    }
}

fn waits(c: Candidate, ms: u32) -> Candidate {
    Candidate { wait: ms * MS, ..c }
}

/// The choice, whatever the order and the clocks' offset.
fn chosen(candidates: &[Candidate], load: Load) -> Option<u32> {
    chosen_by(candidates, load, false)
}

fn chosen_by(candidates: &[Candidate], load: Load, grows: bool) -> Option<u32> {
    let mut all = candidates.to_vec();
    let choice = choose(&mut all, load, grows);
    for offset in [0, i32::MAX - 7 * MS as i32, i32::MIN + 7, -20 * MS as i32] {
        let moved = candidates.iter().map(|c| Candidate {
            base: c.base.wrapping_add(offset),
            ..*c
        });
        let mut moved: Vec<_> = moved.collect();
        assert_eq!(choose(&mut moved, load, grows), choice, "{offset}");
        moved.reverse();
        if load != Load::Urgent {
            assert_eq!(choose(&mut moved, load, grows), choice, "{offset}");
        }
    }
    choice
}

#[test]
fn streams_spare_the_queue_of_a_path_that_loses_at_random() {
    let lossy = |ms| Candidate {
        random_loss: 10,
        ..waits(lane(0, 10, RATE), ms)
    };
    let clean = |ms| waits(lane(1, 10, RATE), ms);
    let fill = RATE / 1000 * 20;
    let stream = Load::Stream(fill);
    assert_eq!(chosen(&[lossy(1), clean(8)], stream), Some(1));
    assert_eq!(chosen(&[lossy(2), clean(30)], stream), Some(2));
    assert_eq!(chosen(&[lossy(2), clean(50)], stream), Some(1));
    // Nor does it take what is little, or a datagram, out of the way.
    for load in [Load::Stream(fill - 1), Load::Datagram, Load::Urgent] {
        assert_eq!(chosen(&[lossy(2), clean(30)], load), Some(1), "{load:?}");
    }
    // Both lose at random, or none does, or hardly: as usual.
    let also = |ms| Candidate {
        random_loss: 10,
        ..clean(ms)
    };
    assert_eq!(chosen(&[lossy(10), also(30)], stream), Some(1));
    let hardly = Candidate {
        random_loss: 2,
        ..lossy(10)
    };
    assert_eq!(chosen(&[hardly, clean(30)], stream), Some(1));
}

#[test]
fn where_a_queue_ends_the_far_path_takes_over() {
    let short = |ms| Candidate {
        limit: 24 * MS,
        ..waits(lane(0, 1, RATE), ms)
    };
    let far = lane(1, 25, RATE);
    // Enough for three quarters of the time that the far one takes.
    let enough = RATE / 1000 * 26 / 4 * 3;
    let slow = Candidate {
        rate: RATE - 1,
        ..far
    };
    assert_eq!(
        chosen(&[short(21), slow], Load::Stream(enough - 1)),
        Some(1)
    );
    assert_eq!(chosen(&[short(21), slow], Load::Stream(enough)), Some(2));
    // One that carries as much, or nobody knows how much, is worth a few slow round trips as long
    // as the window grows.
    let load = Load::Stream(1000);
    for (rate, new) in [(RATE, false), (0, true)] {
        let far = Candidate { rate, new, ..far };
        assert_eq!(chosen_by(&[short(21), far], load, true), Some(2));
        assert_eq!(chosen_by(&[short(21), far], load, false), Some(1));
        assert_eq!(chosen_by(&[short(5), far], load, true), Some(1));
    }
    let unknown = Candidate { rate: 0, ..far };
    for far in [slow, unknown] {
        assert_eq!(chosen_by(&[short(21), far], load, true), Some(1));
    }
    assert_eq!(chosen(&[short(21), far], Load::Urgent), Some(1));
    for load in [Load::Stream(enough), Load::Datagram] {
        assert_eq!(chosen(&[short(5), far], load), Some(1), "{load:?}");
        assert_eq!(chosen(&[short(21), far], load), Some(2), "{load:?}");
        // A stream does not make the far queue much longer than the near one.
        assert_eq!(chosen(&[short(21), waits(far, 37)], load), Some(2));
        let more = if load == Load::Datagram { 2 } else { 1 };
        assert_eq!(chosen(&[short(21), waits(far, 45)], load), Some(more));
        // Both are full: as if none were.
        let end = Candidate { limit: MS, ..far };
        assert_eq!(
            chosen(&[short(22), waits(end, 30)], load),
            Some(1),
            "{load:?}"
        );
    }
}

fn urgent(c: Candidate) -> Candidate {
    Candidate { urgent: true, ..c }
}

const LOADS: [Load; 3] = [Load::Urgent, Load::Datagram, Load::Stream(1000)];

#[test]
fn who_can_wait_makes_way() {
    let (near, far) = (lane(0, 10, RATE), lane(1, 60, RATE));
    // A stream's window shrinks when the other queue is full; datagrams would be lost there.
    for (load, most) in [(Load::Datagram, 15), (Load::Stream(1000), 300)] {
        // What is left of the near path is not wasted, but its queue is not theirs.
        for (wait, choice) in [(0, 1 << 0), (2, 1 << 0), (3, 1 << 1), (400, 1 << 1)] {
            let list = [urgent(waits(near, wait)), far];
            assert_eq!(chosen(&list, load), Some(choice), "{wait} ms, {load:?}");
        }
        let list = [urgent(waits(near, 3)), waits(far, most)];
        assert_eq!(chosen(&list, load), Some(1 << 1), "{load:?}");
        let list = [urgent(waits(near, 3)), waits(far, 4 * most)];
        assert_eq!(chosen(&list, load), Some(1 << 0), "{load:?}");
        // With something urgent everywhere it is as if it were nowhere.
        let list = [urgent(waits(near, 3)), urgent(waits(far, 3))];
        assert_eq!(chosen(&list, load), Some(1 << 0), "{load:?}");
        assert_eq!(chosen(&[urgent(waits(near, 50))], load), Some(1 << 0));
    }
    assert_eq!(
        chosen(&[urgent(waits(near, 40)), far], Load::Urgent),
        Some(1 << 0)
    );
    assert_eq!(
        chosen(&[urgent(waits(near, 60)), far], Load::Urgent),
        Some(1 << 1)
    );
}

#[test]
fn without_a_choice() {
    for load in LOADS {
        assert_eq!(chosen(&[], load), None);
        assert_eq!(chosen(&[lane(5, 30, 0)], load), Some(1 << 5));
        assert_eq!(chosen(&[waits(lane(0, 3, 9), 4000)], load), Some(1));
    }
}

#[test]
fn where_it_arrives_first() {
    for load in LOADS {
        let (near, far) = (lane(0, 5, RATE), lane(1, 10, RATE));
        assert_eq!(chosen(&[near, far], load), Some(1));
        assert_eq!(chosen(&[waits(near, 2), far], load), Some(1));
        assert_eq!(chosen(&[waits(near, 8), far], load), Some(2));
        assert_eq!(chosen(&[waits(near, 8), waits(far, 6)], load), Some(1));
    }
}

#[test]
fn those_that_are_as_good_share() {
    let equal = [
        waits(lane(0, 5, RATE), 5),
        lane(1, 10, RATE),
        lane(2, 12, RATE),
    ];
    // Two milliseconds are no difference; a little more is.
    assert_eq!(chosen(&equal, Load::Datagram), Some(0b111));
    assert_eq!(chosen(&equal, Load::Stream(1)), Some(0b111));
    let mut farther = equal;
    farther[2].base += 1;
    assert_eq!(chosen(&farther, Load::Datagram), Some(0b011));
    // What is urgent takes the first of those that are best.
    assert_eq!(chosen(&equal, Load::Urgent).map(u32::count_ones), Some(1));
    let mut late = equal;
    late[0].wait += 1;
    assert_eq!(chosen(&late, Load::Urgent), Some(0b010));
}

fn lossy_by(loss: u32) -> Candidate {
    Candidate {
        loss,
        ..lane(0, 5, RATE)
    }
}

#[test]
fn loss_counts_as_delay() {
    for load in LOADS {
        // 301 of 1024 are worth 3.01 ms.
        assert_eq!(chosen(&[lossy_by(301), lane(1, 6, RATE)], load), Some(0b10));
        assert_eq!(
            chosen(&[lossy_by(299), lane(1, 10, RATE)], load),
            Some(0b01)
        );
    }
    let near = [lossy_by(300), lane(1, 6, RATE)];
    assert_eq!(chosen(&near, Load::Datagram), Some(0b11));
    let far = [lossy_by(300), lane(1, 10, RATE)];
    assert_eq!(chosen(&far, Load::Datagram), Some(0b11));
}

#[test]
fn the_time_for_the_packet_itself_counts() {
    let slow = |us| Candidate {
        service: us,
        ..lane(0, 5, RATE)
    };
    for load in LOADS {
        // 4 ms for the packet, 1 ms farther.
        let second = lane(1, 6, RATE);
        assert_eq!(chosen(&[slow(4_000), second], load), Some(0b10));
        // It comes on top of the queue, and of the distance.
        let both = waits(slow(2_000), 2);
        assert_eq!(chosen(&[both, second], load), Some(0b10));
        let far = Candidate {
            service: 4_000,
            ..second
        };
        assert_eq!(chosen(&[slow(2_000), far], load), Some(0b01));
        // Both need as long.
        let far = lane(1, 10, RATE);
        let far = Candidate {
            service: 9_000,
            ..far
        };
        assert_eq!(chosen(&[slow(9_000), far], load), Some(0b01));
        // A link that would never end.
        let never = waits(slow(u32::MAX), 5);
        assert_eq!(chosen(&[never, far], load), Some(0b10));
    }
    assert_eq!(
        chosen(&[slow(2_000), lane(1, 5, RATE)], Load::Datagram),
        Some(0b11)
    );
    assert_eq!(
        chosen(&[slow(2_001), lane(1, 5, RATE)], Load::Datagram),
        Some(0b10)
    );
    assert_eq!(
        chosen(&[slow(1), lane(1, 5, RATE)], Load::Urgent),
        Some(0b10)
    );
}

#[test]
fn a_datagram_waits_little_longer_for_a_near_path() {
    assert_eq!(DATAGRAM_PATIENCE_US, 10 * MS);
    let far = lane(1, 205, RATE);
    let near = |ms| waits(lane(0, 5, RATE), ms);
    assert_eq!(chosen(&[near(7), far], Load::Datagram), Some(0b01));
    for ms in [8, 10, 12] {
        assert_eq!(chosen(&[near(ms), far], Load::Datagram), Some(0b11));
    }
    assert_eq!(chosen(&[near(13), far], Load::Datagram), Some(0b10));
    assert_eq!(chosen(&[near(13), far], Load::Urgent), Some(0b01));
    assert_eq!(chosen(&[near(13), far], Load::Stream(1)), Some(0b01));
}

#[test]
fn nobody_waits_for_what_comes_from_afar_while_enough_is_in_flight() {
    // 10 ms there and back on the near one, 100 ms farther on the other: 110 ms, in which two such
    // paths carry this.
    let (near, far) = (waits(lane(0, 5, RATE), 20), lane(1, 105, RATE));
    let fill = RATE / 1000 * 110 * 2;
    assert_eq!(chosen(&[near, far], Load::Stream(fill - 1)), Some(0b01));
    assert_eq!(chosen(&[near, far], Load::Stream(fill)), Some(0b10));
    assert_eq!(chosen(&[near, far], Load::Stream(u32::MAX)), Some(0b10));
    // Both have no queue: there is no difference.
    assert_eq!(
        chosen(&[lane(0, 5, RATE), far], Load::Stream(fill)),
        Some(0b11)
    );
    // What waits there already takes longer, and so does the packet itself.
    let longer = RATE / 1000 * 115 * 2;
    let slow = Candidate {
        service: 5 * MS,
        ..far
    };
    for far in [waits(far, 5), slow] {
        assert_eq!(chosen(&[near, far], Load::Stream(longer - 1)), Some(0b01));
        assert_eq!(chosen(&[near, far], Load::Stream(longer)), Some(0b10));
    }
    // Only data of a stream has something in flight.
    assert_eq!(chosen(&[near, far], Load::Urgent), Some(0b01));
    // The rates of all nearer ones count.
    let second = waits(lane(2, 5, RATE), 20);
    let all = [near, second, far];
    assert_eq!(chosen(&all, Load::Stream(fill)), Some(0b101));
    assert_eq!(chosen(&all, Load::Stream(fill / 2 * 3)), Some(0b010));
    // Of a far one that carries more no more counts than of those.
    let wide = Candidate {
        rate: 10 * RATE,
        ..far
    };
    assert_eq!(chosen(&[near, wide], Load::Stream(fill - 1)), Some(0b01));
    assert_eq!(chosen(&[near, wide], Load::Stream(fill)), Some(0b10));
    // What a near path carries is not known: it may be enough.
    let unknown = Candidate { rate: 0, ..near };
    assert_eq!(chosen(&[unknown, far], Load::Stream(u32::MAX)), Some(0b01));
    // A path that is unknown itself is used all the same.
    let unknown = Candidate { rate: 0, ..far };
    assert_eq!(chosen(&[near, unknown], Load::Stream(fill / 2)), Some(0b10));
}

#[test]
fn a_near_queue_that_is_too_short_is_filled_by_half() {
    // 110 ms, in which the near path carries this, and both together twice as much.
    let far = lane(1, 105, RATE);
    let carried = Load::Stream(RATE / 1000 * 110);
    let near = |wait, limit_ms| Candidate {
        limit: limit_ms * MS,
        ..waits(lane(0, 5, RATE), wait)
    };
    let choice = |wait, limit, load| chosen(&[near(wait, limit), far], load);
    for (wait, expected) in [(10, 0b01), (19, 0b11), (21, 0b11), (23, 0b10)] {
        assert_eq!(choice(wait, 40, carried), Some(expected), "{wait}");
    }
    // It gets as long as that, or nobody knows where it ends.
    for limit in [115, 0] {
        assert_eq!(choice(90, limit, carried), Some(0b01));
    }
    // So little is in flight that nothing would be, when something comes from there.
    let little = Load::Stream(RATE / 1000 * 80);
    assert_eq!(choice(23, 40, little), Some(0b01));
    // The window has to grow somewhere, but not with what would not half fill that queue.
    for (flight, expected) in [(1_500, 0b01), (RATE / 1000 * 30, 0b10)] {
        let mut list = [near(23, 40), far];
        let choice = choose(&mut list, Load::Stream(flight), true);
        assert_eq!(choice, Some(expected), "{flight}");
    }
}

#[test]
fn all_near_queues_have_to_be_too_short() {
    let limited = |c, limit_ms| Candidate {
        limit: limit_ms * MS,
        ..c
    };
    let far = lane(1, 105, RATE);
    let load = Load::Stream(RATE / 1000 * 220);
    let two = |wait, a, b| {
        let [a, b] =
            [(0, 5, a), (2, 6, b)].map(|(i, ms, end)| limited(waits(lane(i, ms, RATE), wait), end));
        chosen(&[a, b, far], load)
    };
    // The longest counts.
    assert_eq!(two(27, 40, 60), Some(0b101));
    assert_eq!(two(33, 60, 60), Some(0b010));
    assert_eq!(two(33, 60, 115), Some(0b101));
    assert_eq!(two(33, 60, 0), Some(0b101));
    // A farther one is not preferred to a nearer one because its distance is more: half of a queue
    // is 20 ms, and 30 of the second's distance count.
    let near = limited(waits(lane(0, 5, RATE), 33), 40);
    let second = limited(lane(1, 35, RATE), 41);
    let third = lane(2, 41, RATE);
    let load = Load::Stream(RATE / 1000 * 75);
    assert_eq!(chosen(&[near, second, third], load), Some(0b110));
    let second = waits(second, 5);
    assert_eq!(chosen(&[near, second, third], load), Some(0b100));
}

#[test]
fn lanes_share_by_what_their_paths_carry() {
    let by = |rates: [u32; 2]| {
        // One that is not chosen is not looked at.
        let list = [
            lane(5, 5, rates[0]),
            lane(7, 5, u32::MAX),
            lane(1, 5, rates[1]),
        ];
        let shares = shares(&list, (1 << 5) | (1 << 1));
        (shares[5], shares[1])
    };
    for (rates, ratio) in [
        ([RATE, RATE], 1.0),
        // Twice for who carries less, but no more than the best.
        ([RATE, RATE * 3], 1.5),
        ([RATE * 3, RATE], 2.0 / 3.0),
        ([RATE * 3, RATE * 2], 1.0),
        ([u32::MAX, u32::MAX / 10], 0.2),
        ([1000, 250], 0.5),
        // One that is unknown counts as the best.
        ([RATE, 0], 1.0),
        ([0, RATE], 1.0),
        ([0, 0], 1.0),
    ] {
        let (first, second) = by(rates);
        let got = f64::from(second) / f64::from(first);
        assert!((got / ratio - 1.0).abs() < 0.02, "{rates:?}: {got}");
    }
    // One that carries next to nothing.
    assert_eq!(by([u32::MAX, 1]).1, 0);
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let lanes = prop::sample::subsequence((0..8usize).collect::<Vec<_>>(), 0..=8).prop_shuffle();
    let number = || prop_oneof![Just(0), Just(u32::MAX), any::<u32>(), 0u32..100_000];
    let fields = prop::collection::vec(
        (
            (number(), number()),
            0u32..=1024,
            any::<i32>(),
            number(),
            number(),
        ),
        8,
    );
    (lanes, fields).prop_map(|(lanes, fields)| {
        let one = |(lane, ((wait, service), loss, base, rate, rtt))| Candidate {
            lane,
            service,
            wait,
            loss,
            base,
            rate,
            new: false,
            rtt,
            noise: 0,
            urgent: lane % 3 == 1,
            limit: if lane % 2 == 1 { rtt } else { 0 },
            random_loss: if lane % 4 == 2 { loss } else { 0 },
        };
        lanes.into_iter().zip(fields).map(one).collect()
    })
}

fn load() -> impl Strategy<Value = Load> {
    prop_oneof![
        Just(Load::Urgent),
        Just(Load::Datagram),
        any::<u32>().prop_map(Load::Stream),
    ]
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn only_candidates_are_chosen(list in candidates(), load in load()) {
        let mask = list.iter().fold(0u32, |mask, c| mask | (1 << c.lane));
        let mut sorted = list.clone();
        let choice = choose(&mut sorted, load, false);
        prop_assert_eq!(choice.is_none(), list.is_empty());
        let choice = choice.unwrap_or(0);
        prop_assert_eq!(choice & !mask, 0);
        prop_assert_eq!(choice == 0, list.is_empty());
        if load == Load::Urgent {
            prop_assert!(choice.count_ones() <= 1);
        }
        // They may have been sorted, nothing else.
        let key = |c: &Candidate| (c.lane, c.wait, c.service, c.loss, c.base, c.rate, c.rtt);
        let (mut before, mut after): (Vec<_>, Vec<_>) =
            (list.iter().map(key).collect(), sorted.iter().map(key).collect());
        before.sort();
        after.sort();
        prop_assert_eq!(before, after);
    }

    /// The longer a lane would keep a packet, in its queue or on its link, the less it is chosen.
    #[test]
    fn a_longer_queue_attracts_nothing(list in candidates(), load in load(), more in 1u32..S, link: bool) {
        let Some(before) = choose(&mut list.clone(), load, false) else { return Ok(()) };
        for at in 0..list.len() {
            let mut longer = list.clone();
            let time = if link { &mut longer[at].service } else { &mut longer[at].wait };
            *time = time.saturating_add(more);
            let bit = 1 << list[at].lane;
            let after = choose(&mut longer, load, false).unwrap_or(0);
            prop_assert!(before & bit != 0 || after & bit == 0);
        }
    }

    #[test]
    fn a_queue_never_grows_by_waiting(
        start: u32,
        steps in prop::collection::vec((0u32..30_000_000, 0u32..100_000, any::<u32>(), any::<i32>(), 0..3), 1..50),
    ) {
        let (mut now, mut b) = (start, Backlog::default().correct(start, 0));
        for (time, len, rate, error, what) in steps {
            let before = b.wait(now);
            prop_assert!(before <= 4 * S);
            prop_assert_eq!(b.wait(now.wrapping_add(time)), before.saturating_sub(time));
            now = now.wrapping_add(time);
            let before = b.wait(now);
            match what {
                0 => b = b.add(now, len, rate),
                1 => b = b.correct(now, error >> 8),
                _ => b = b.correct(now, error),
            }
            match what {
                0 => prop_assert!(b.wait(now) >= before),
                _ if error >= 0 => prop_assert!(b.wait(now) >= before),
                _ => prop_assert!(b.wait(now) <= before),
            }
        }
    }
}
