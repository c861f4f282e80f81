// SPDX-License-Identifier: GPL-2.0

//! Path weights (Algorithm 1 of the paper) and dispatch by weight.

use crate::proto::bits::bits;

/// Largest weight.
pub const MAX: u16 = 1000;

/// Smallest weight: a congested path is kept in view.
pub const MIN: u16 = 1;

/// The weight of each of `n` paths in the beginning, 1000 / n.
pub fn initial(n: usize) -> u16 {
    let n = u16::try_from(n).unwrap_or(u16::MAX).max(1);
    MAX.checked_div(n).unwrap_or(MAX).max(MIN)
}

/// One iteration of Algorithm 1: the weights of paths with at most the average
/// queueing delay rise by `step`, those of the others fall by it.
///
/// `queues` are the paths' queueing delays, microseconds. If the slices differ
/// in length, what is beyond the shorter one is left alone.
pub fn adjust(weights: &mut [u16], queues: &[u32], step: u16) {
    let n = weights.len().min(queues.len());
    let sum = queues
        .iter()
        .take(n)
        .fold(0u64, |sum, q| sum.saturating_add(u64::from(*q)));
    let Some(average) = sum.checked_div(n as u64) else {
        return;
    };
    for (weight, queue) in weights.iter_mut().zip(queues) {
        *weight = if u64::from(*queue) <= average {
            weight.saturating_add(step).min(MAX)
        } else {
            weight.saturating_sub(step).max(MIN)
        };
    }
}

/// Dispatches packets to paths by weight, smoothly instead of by dice.
///
/// Each path has a credit of bytes. A packet's length is shared out among the
/// paths that may take it, by weight; the path with the most credit takes the
/// packet and pays its length. Over any run of packets a path's bytes therefore
/// differ from its share by no more than a few packets, whatever the lengths.
///
/// A path that cannot be chosen neither gains nor loses, so it does not
/// return with a burst.
#[derive(Clone, Debug)]
pub struct Smooth<const N: usize> {
    // Credit of each path, in 1024ths of a byte: at most `CREDIT_MAX`, at least its negative less a
    // packet.
    credit: [i32; N],
}

/// 1024ths of a byte.
const SCALE_BITS: u32 = 10;

/// Bound of a credit: 1 MiB.
const CREDIT_MAX: i64 = 1 << (20 + SCALE_BITS);

/// A sum of credits that counts as zero: 64 bytes.
const DRIFT: u64 = 64 << SCALE_BITS;

/// Lengths beyond this count as this; no packet is longer.
const LEN_MAX: u32 = 1 << 19;

const _: () = assert!(CREDIT_MAX + ((LEN_MAX as i64) << SCALE_BITS) <= i32::MAX as i64);

impl<const N: usize> Smooth<N> {
    /// No credit for anyone.
    pub const fn new() -> Self {
        Self { credit: [0; N] }
    }

    /// Forgets the credit of a path, because another takes its place.
    pub fn reset(&mut self, path: usize) {
        if let Some(credit) = self.credit.get_mut(path) {
            *credit = 0;
        }
    }

    /// Chooses a path for `len` bytes. Bit `i` of `eligible` says whether path
    /// `i` may be chosen; a weight of 0 counts as [`MIN`]. `None` when no path
    /// may.
    pub fn pick(&mut self, weights: &[u16; N], eligible: u32, len: u32) -> Option<usize> {
        let weight = |w: &u16| u32::from((*w).max(MIN));
        let among = bits(eligible).take_while(|i| *i < N);

        let mut total = 0u32;
        let mut count = 0i64;
        let mut sum = 0i64;
        let mut only = None;
        for i in among.clone() {
            let (Some(w), Some(credit)) = (weights.get(i), self.credit.get(i)) else {
                continue;
            };
            total = total.saturating_add(weight(w));
            count = count.saturating_add(1);
            sum = sum.saturating_add(i64::from(*credit));
            only = Some(i);
        }
        if count <= 1 {
            return only;
        }

        // Only differences of credits count. Those who may be chosen now are
        // kept around zero, or the sum would drift by roundings and resets.
        // Divisions are slow; a few bytes do not matter.
        let mean = if sum.unsigned_abs() < DRIFT {
            0
        } else {
            sum.checked_div(count).unwrap_or(0)
        };
        let len = u64::from(len.clamp(1, LEN_MAX)) << SCALE_BITS;
        // Below 2^29 times a share of at most 2^32: no overflow.
        let per_weight = u32::MAX.checked_div(total).unwrap_or(0);
        let mut best: Option<(usize, i32)> = None;
        for i in among {
            let (Some(w), Some(credit)) = (weights.get(i), self.credit.get_mut(i)) else {
                continue;
            };
            let share = u64::from(weight(w).saturating_mul(per_weight));
            let gain = (len.saturating_mul(share) >> 32) as i64;
            *credit = i64::from(*credit)
                .saturating_sub(mean)
                .saturating_add(gain)
                .clamp(-CREDIT_MAX, CREDIT_MAX) as i32;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((i, *credit));
            }
        }
        let (path, _) = best?;
        if let Some(credit) = self.credit.get_mut(path) {
            *credit = credit.saturating_sub(len as i32);
        }
        Some(path)
    }
}

impl<const N: usize> Default for Smooth<N> {
    fn default() -> Self {
        Self::new()
    }
}
