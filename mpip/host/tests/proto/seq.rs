// SPDX-License-Identifier: GPL-2.0

use mpip_host::proto::seq;

#[test]
fn order_wraps() {
    let cases: [(u32, u32, i32); 7] = [
        (0, 0, 0),
        (1, 0, 1),
        (0, 1, -1),
        (0, u32::MAX, 1),
        (u32::MAX, 0, -1),
        (0x8000_0000, 0x7fff_ffff, 1),
        (0x4000_0000, 0xc000_0001, 0x7fff_ffff),
    ];
    for (a, b, delta) in cases {
        assert_eq!(seq::delta(a, b), delta, "{a} {b}");
        assert_eq!(seq::before(a, b), delta < 0);
        assert_eq!(seq::after(a, b), delta > 0);
        assert_eq!(seq::before_eq(a, b), delta <= 0);
        assert_eq!(seq::max(a, b), if delta < 0 { b } else { a });
    }
}

#[test]
fn age_tolerates_skew() {
    assert_eq!(seq::age(10, 3), 7);
    assert_eq!(seq::age(3, 10), 0);
    assert_eq!(seq::age(5, u32::MAX), 6);
    assert_eq!(seq::age(0, 1_000_000), 0);
    assert_eq!(seq::age(0, 1_000_001), u32::MAX - 1_000_000);
    assert_eq!(seq::age(4_000_000_000, 0), 4_000_000_000);
    assert_eq!(seq::age_ms(10, 3), 7);
    assert_eq!(seq::age_ms(0, 60_000), 0);
    assert_eq!(seq::age_ms(0, 60_001), u32::MAX - 60_000);
}

#[test]
fn what_seems_far_ahead_is_long_past() {
    for now in [0, 7, u32::MAX - 3] {
        assert_eq!(seq::until(now, now), 0);
        assert_eq!(seq::until(now, now.wrapping_add(10)), 10);
        assert_eq!(seq::until(now, now.wrapping_add(128_000_000)), 128_000_000);
        for ago in [1, 1 << 20, 1 << 31, (1 << 31) + 5, 3_600_000_000] {
            assert_eq!(seq::until(now, now.wrapping_sub(ago)), 0, "{ago} us ago");
        }
    }
}
