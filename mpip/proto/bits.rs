// SPDX-License-Identifier: GPL-2.0

//! Small sets as masks.

/// The members of a set of numbers below 32, one bit each, from the least on.
pub fn bits(mut mask: u32) -> impl Iterator<Item = usize> + Clone {
    core::iter::from_fn(move || {
        let least = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        Some(least as usize)
    })
}
