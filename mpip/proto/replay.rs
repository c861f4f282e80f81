// SPDX-License-Identifier: GPL-2.0

//! Protection against replays: a sliding window over CM numbers, as in
//! RFC 6479 but with a plain shift.
//!
//! Numbers are per key and start at 1; 0 is never valid, a sender skips it
//! when it wraps. A window tells old from new numbers while they are less than
//! 2^31 apart, so keys must be renewed before that many numbers are used.

use crate::proto::seq;

/// A window of `64 * WORDS` numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits<const WORDS: usize> {
    /// The highest number accepted so far, 0 in the beginning.
    top: u32,
    /// Bit `n` stands for the number `top - n`.
    bits: [u64; WORDS],
}

/// The window for control CMs, which may overtake each other on many paths.
pub type Window = Bits<4>;

/// The window for the CMs of one session.
pub type SmallWindow = Bits<1>;

impl<const WORDS: usize> Bits<WORDS> {
    /// An empty window.
    pub const fn new() -> Self {
        Self {
            top: 0,
            bits: [0; WORDS],
        }
    }

    /// Accepts `number` once; false when it was seen before, is older than the
    /// window, or is 0. Call it only for authentic CMs.
    pub fn check_and_set(&mut self, number: u32) -> bool {
        if number == 0 {
            return false;
        }
        if seq::after(number, self.top) {
            self.shift(number.wrapping_sub(self.top));
            self.top = number;
        }
        let back = self.top.wrapping_sub(number);
        let Some(word) = self.bits.get_mut((back / 64) as usize) else {
            return false;
        };
        let bit = 1u64 << (back % 64);
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        true
    }

    /// The highest number accepted so far; 0 if there was none.
    pub const fn top(&self) -> u32 {
        self.top
    }

    /// Makes every bit stand for a number lower by `by`.
    fn shift(&mut self, by: u32) {
        let words = (by / 64) as usize;
        let bits = by % 64;
        for i in (0..WORDS).rev() {
            let word = |at: Option<usize>| at.and_then(|n| self.bits.get(n)).map_or(0, |w| *w);
            let here = word(i.checked_sub(words));
            let below = word(i.checked_sub(words).and_then(|n| n.checked_sub(1)));
            // `checked_shr` drops the whole word when `bits` is 0.
            let down = u64::BITS.wrapping_sub(bits);
            let shifted = (here << bits) | below.checked_shr(down).unwrap_or(0);
            if let Some(out) = self.bits.get_mut(i) {
                *out = shifted;
            }
        }
    }
}

impl<const WORDS: usize> Default for Bits<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}
