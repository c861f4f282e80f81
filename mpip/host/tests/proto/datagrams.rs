// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use mpip_host::proto::datagrams::after;
use mpip_host::proto::datagrams::Numbers;
use mpip_host::proto::datagrams::Seen;
use mpip_host::proto::datagrams::Sight;
use mpip_host::proto::wire::cm::Place;
use proptest::prelude::*;
use std::collections::HashSet;

#[test]
fn numbers_begin_at_one_and_tell_the_last_on_the_lane() {
    let mut numbers = Numbers::new();
    let first = numbers.take(0, 1, true, false);
    assert_eq!((first.number, first.previous()), (1, None));
    assert!(first.ordered && !first.copied);
    // Another lane's first.
    let other = numbers.take(3, 1, true, false);
    assert_eq!((other.number, other.previous()), (2, None));
    assert_eq!(numbers.take(0, 1, true, false).previous(), Some(1));
    // What goes everywhere tells nothing of one lane, nor what is in no order.
    assert_eq!(numbers.take(0, 1, true, true).previous(), None);
    assert_eq!(numbers.take(0, 1, false, true).previous(), None);
    let next = numbers.take(0, 1, true, false);
    assert_eq!((next.number, next.previous()), (6, Some(3)));
    assert_eq!(numbers.take(3, 1, true, false).previous(), Some(2));
    // A lane that there is not.
    assert_eq!(numbers.take(99, 1, true, false).previous(), None);
}

#[test]
fn those_without_a_number_are_not_overtaken() {
    let mut numbers = Numbers::new();
    let start = u32::MAX - 50_000;
    let at = |us: u32| start.wrapping_add(us);
    assert!(numbers.stays(at(0)) && numbers.stays(at(199_999)));
    // Nor does it begin anew when the clock wraps.
    for us in [200_000, 200_001, 1 << 30, 1 << 31, 0, u32::MAX, 5] {
        assert!(!numbers.stays(at(us)), "{us}");
    }
    numbers.pass();
    numbers.pass();
    assert!(numbers.stays(at(7)) && numbers.stays(at(8)));
    assert!(!numbers.stays(at(200_007)));
}

#[test]
fn a_burst_has_numbers_in_a_row() {
    let mut numbers = Numbers::new();
    numbers.take(1, 1, true, false);
    let first = numbers.take(1, 3, true, false);
    let all = [first, first.next(), first.next().next()];
    assert_eq!(all.map(|p| p.number), [2, 3, 4]);
    assert_eq!(all.map(|p| p.previous()), [Some(1), Some(2), Some(3)]);
    assert_eq!(numbers.take(1, 0, true, false).previous(), Some(4));
    let copied = numbers.take(1, 2, true, true);
    assert_eq!(copied.next().previous(), None);
    assert_eq!(copied.next().number, copied.number + 1);
}

#[test]
fn zero_is_left_out() {
    assert_eq!(
        [after(0), after(u32::MAX - 1), after(u32::MAX)],
        [1, u32::MAX, 1]
    );
    let place = Place {
        number: u32::MAX,
        ordered: true,
        copied: false,
        distance: 1,
    };
    assert_eq!(place.next().number, 1);
    assert_eq!(place.next().previous(), Some(u32::MAX));
}

#[test]
fn each_number_is_new_once() {
    let mut seen = Seen::new();
    for number in [1, 2, 5, 3, 4, 64, 63, 65, 300, 128, 8000, 7999] {
        assert_eq!(seen.look(number), Sight::New, "{number}");
        assert_eq!(seen.see(number), Sight::New, "{number}");
        assert_eq!(seen.see(number), Sight::Again, "{number}");
        assert_eq!(seen.look(number), Sight::Again, "{number}");
    }
    assert_eq!(seen.top(), 8000);
    // As far back as it says, and further when it does not matter.
    let far = 1_000_000;
    assert_eq!(seen.see(far), Sight::New);
    assert_eq!(seen.see(far - Seen::LEAST), Sight::New);
    assert_eq!(seen.see(far - Seen::LEAST), Sight::Again);
    assert_eq!(seen.see(far - Seen::LEAST - 64), Sight::Old);
    assert_eq!(seen.see(8000), Sight::Old);
    assert_eq!(seen.top(), far);
}

proptest! {
    #![proptest_config(config(300))]

    /// Against a set, from any number on, with steps forth and back.
    #[test]
    fn as_a_set(start: u32, steps in prop::collection::vec(-9000i32..9000, 1..300)) {
        let mut seen = Seen::new();
        // To there, as a sender gets there.
        for quarter in 1..=4 {
            seen.see((start / 4).wrapping_mul(quarter).max(1));
        }
        let base = seen.top();
        let mut known = HashSet::from([base]);
        let mut at = base;
        for step in steps {
            at = at.wrapping_add(step as u32);
            let behind = seen.top().wrapping_sub(at) as i32;
            let sight = seen.see(at);
            if base.wrapping_sub(at) as i32 <= 0 {
                let fresh = known.insert(at);
                // Of one that is too old it may say so, or still know.
                let old = behind > Seen::LEAST as i32 && sight == Sight::Old;
                prop_assert!(old || (sight == Sight::New) == fresh, "{}", at);
            }
            at = seen.top();
        }
    }
}
