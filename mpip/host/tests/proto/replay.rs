// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use mpip_host::proto::replay::Bits;
use mpip_host::proto::replay::SmallWindow;
use mpip_host::proto::replay::Window;
use proptest::prelude::*;
use std::collections::HashSet;

#[test]
fn each_number_once() {
    let mut window = Window::new();
    assert!(!window.check_and_set(0));
    for number in [1, 2, 4, 3, 300, 299, 45, 46] {
        assert!(window.check_and_set(number), "{number}");
        assert!(!window.check_and_set(number), "{number}");
    }
    // 256 numbers, 300 included: 45 is the oldest.
    assert!(!window.check_and_set(44));
    assert!(window.check_and_set(298));
    assert_eq!(window.top(), 300);
    assert!(window.check_and_set(556));
    assert!(!window.check_and_set(300));
    assert!(window.check_and_set(301));
}

#[test]
fn edges_of_words() {
    for step in [1u32, 63, 64, 65, 127, 128, 191, 192, 255, 256, 257, 1 << 30] {
        let mut window = Window::new();
        assert!(window.check_and_set(1000));
        assert!(window.check_and_set(1000 + step));
        assert!(!window.check_and_set(1000), "{step}");
        assert_eq!(window.check_and_set(1001), step > 1 && step < 257, "{step}");
        let mut window = SmallWindow::new();
        assert!(window.check_and_set(1000));
        assert!(window.check_and_set(1000 + step));
        assert!(!window.check_and_set(1000), "{step}");
        assert_eq!(window.check_and_set(1001), step > 1 && step < 65, "{step}");
    }
}

#[test]
fn wraps() {
    let mut window = SmallWindow::new();
    for number in [0x4000_0000, 0x8000_0000, 0xc000_0000, u32::MAX - 1] {
        assert!(window.check_and_set(number));
    }
    assert!(window.check_and_set(3));
    assert!(!window.check_and_set(0));
    assert!(window.check_and_set(u32::MAX));
    assert!(!window.check_and_set(u32::MAX - 1));
    assert!(window.check_and_set(1));
}

fn model<const WORDS: usize>(start: u32, steps: &[i32]) -> Result<(), TestCaseError> {
    let mut window = Bits::<WORDS>::new();
    // Walk there; steps are below 2^31.
    for quarter in 1..=3 {
        window.check_and_set((start / 4) * quarter);
    }
    window.check_and_set(start);
    let mut seen: HashSet<u32> = HashSet::from([start]);
    let mut top = start;
    for step in steps {
        let number = top.wrapping_add(*step as u32);
        let age = -i64::from(*step);
        let fresh = number != 0 && age < 64 * WORDS as i64 && seen.insert(number);
        prop_assert_eq!(window.check_and_set(number), fresh, "{} {}", top, step);
        if fresh && *step > 0 {
            top = number;
        }
        prop_assert_eq!(window.top(), top);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn as_a_set(
        start in prop_oneof![2_000_000u32..3_000_000, u32::MAX - 3000..=u32::MAX],
        steps in proptest::collection::vec(
            prop_oneof![4 => -300i32..20, 2 => -70i32..70, 1 => -300i32..600],
            1..300,
        ),
    ) {
        model::<4>(start, &steps)?;
        model::<1>(start, &steps)?;
    }
}
