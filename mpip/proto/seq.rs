// SPDX-License-Identifier: GPL-2.0

//! Serial number arithmetic (RFC 1982) on 32 bits: TCP sequence numbers, CM
//! numbers and times in microseconds or milliseconds.
//!
//! All comparisons are meaningful while the two values are less than 2^31
//! apart.

/// `a - b` as a signed distance.
pub const fn delta(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// Whether `a` comes before `b`.
pub const fn before(a: u32, b: u32) -> bool {
    delta(a, b) < 0
}

/// Whether `a` comes after `b`.
pub const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// Whether `a` comes before `b` or is equal to it.
pub const fn before_eq(a: u32, b: u32) -> bool {
    !before(b, a)
}

/// The later of `a` and `b`.
pub const fn max(a: u32, b: u32) -> u32 {
    if before(a, b) {
        b
    } else {
        a
    }
}

/// The time from `then` to `now`, microseconds.
///
/// Times are read on several CPUs before a lock is taken: a `then` that lies up to a second in the
/// future counts as now, not as long ago.
pub const fn age(now: u32, then: u32) -> u32 {
    since(now, then, 1_000_000)
}

/// Microseconds until `at`, which was set less than 2^28 of them (4 minutes) ahead: what seems to
/// lie further ahead than that is long past.
pub const fn until(now: u32, at: u32) -> u32 {
    let ahead = at.wrapping_sub(now);
    if ahead < 1 << 28 {
        ahead
    } else {
        0
    }
}

/// As [`age`], in milliseconds. Up to a minute in the future counts as now.
pub const fn age_ms(now: u32, then: u32) -> u32 {
    since(now, then, 60_000)
}

const fn since(now: u32, then: u32, skew: u32) -> u32 {
    if then.wrapping_sub(now) <= skew {
        0
    } else {
        now.wrapping_sub(then)
    }
}
