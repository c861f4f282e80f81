// SPDX-License-Identifier: GPL-2.0

//! Delay of a path: the columns of Table 5 of the paper (section 3.5.1) and
//! the round-trip time.
//!
//! A one-way delay is the difference of two nodes' clocks, so an unknown offset
//! is in it; it may even wrap. Only differences of delays mean something, and
//! all of them are computed modulo 2^32.
//!
//! Where this differs from the paper: real-time delay is an exponentially
//! weighted average with gain 1/8 instead of a simple moving average, which
//! needs no history; minimum and maximum are those of the last 20 to 30 s
//! instead of all time, so that clock drift and changes of route do not poison
//! them.

use crate::proto::seq;

/// Length of one of the three parts of a window, microseconds.
const SPAN: u32 = 10_000_000;

/// A sample this far from the average, microseconds, means that a clock was
/// set: everything starts anew.
const STEP: u32 = 10_000_000;

/// Estimator of one path's one-way delay.
#[derive(Clone, Debug)]
pub struct Delay {
    smoothed: i32,
    /// What the average still lacks, in eighths; magnitude below 8.
    rest: i64,
    deviation: u32,
    min: WindowedMin,
    /// Maximum of the queueing delay, as the minimum of its negative.
    max_queue: WindowedMin,
    last: Option<u32>,
}

impl Delay {
    /// An estimator without samples.
    pub const fn new() -> Self {
        Self {
            smoothed: 0,
            rest: 0,
            deviation: 0,
            min: WindowedMin::new(),
            max_queue: WindowedMin::new(),
            last: None,
        }
    }

    /// Takes a sample: the one-way delay `d`, microseconds, learnt at `now`.
    pub fn sample(&mut self, now: u32, d: i32) {
        let error = diff(d, self.smoothed);
        if self.last.is_none() || error.unsigned_abs() > STEP {
            *self = Self::new();
            self.smoothed = d;
        } else {
            let deviation = i64::from(self.deviation);
            let gap = i64::from(error.unsigned_abs());
            let deviation = deviation.saturating_add(gap.saturating_sub(deviation) / 4);
            self.deviation = u32::try_from(deviation).unwrap_or(0);

            self.rest = self.rest.saturating_add(i64::from(error));
            let step = self.rest / 8;
            self.rest = self.rest.saturating_sub(step.saturating_mul(8));
            self.smoothed = self.smoothed.wrapping_add(step as i32);
        }
        self.last = Some(now);
        self.min.add(now, d);
        let queue = diff(d, self.min()).max(0);
        self.max_queue.add(now, queue.saturating_neg());
    }

    /// Real-time path delay: the smoothed delay, microseconds, with the clocks'
    /// offset; 0 before the first sample.
    pub fn smoothed(&self) -> i32 {
        self.smoothed
    }

    /// Minimum path delay, microseconds, with the clocks' offset; 0 before the
    /// first sample.
    pub fn min(&self) -> i32 {
        self.min.get().unwrap_or(0)
    }

    /// Real-time queueing delay: how far the smoothed delay is above the
    /// minimum, microseconds.
    pub fn queue(&self) -> u32 {
        diff(self.smoothed, self.min()).max(0).unsigned_abs()
    }

    /// Maximum queueing delay of a single sample, microseconds.
    pub fn max_queue(&self) -> u32 {
        self.max_queue.get().unwrap_or(0).unsigned_abs()
    }

    /// Mean deviation of the samples from the smoothed delay, microseconds.
    pub fn deviation(&self) -> u32 {
        self.deviation
    }

    /// When the last sample was taken.
    pub fn last(&self) -> Option<u32> {
        self.last
    }

    /// How much later, microseconds, a packet arrives on this path than on
    /// `other`, by the smoothed delays; negative if it arrives earlier. `None`
    /// while one of them has no sample.
    pub fn behind(&self, other: &Delay) -> Option<i32> {
        self.last.and(other.last)?;
        Some(diff(self.smoothed, other.smoothed))
    }
}

impl Default for Delay {
    fn default() -> Self {
        Self::new()
    }
}

/// `a - b` modulo 2^32.
const fn diff(a: i32, b: i32) -> i32 {
    a.wrapping_sub(b)
}

/// The minimum of what was added in the current and the two previous parts of
/// the window.
#[derive(Clone, Debug)]
struct WindowedMin {
    /// Minimum of the current part first.
    parts: [Option<i32>; 3],
    /// When the current part started.
    start: u32,
}

impl WindowedMin {
    const fn new() -> Self {
        Self {
            parts: [None; 3],
            start: 0,
        }
    }

    fn add(&mut self, now: u32, value: i32) {
        let [current, previous, oldest] = self.parts;
        let passed = seq::age(now, self.start) / SPAN;
        self.parts = match (current, passed) {
            (Some(part), 0) => [Some(min(part, value)), previous, oldest],
            (_, 1) => [Some(value), current, previous],
            (_, 2) => [Some(value), None, current],
            _ => [Some(value), None, None],
        };
        self.start = match (current, passed) {
            (Some(_), 0..=2) => self.start.wrapping_add(SPAN.saturating_mul(passed)),
            _ => now,
        };
    }

    fn get(&self) -> Option<i32> {
        self.parts.into_iter().flatten().reduce(min)
    }
}

/// The lower of two values less than 2^31 apart.
const fn min(a: i32, b: i32) -> i32 {
    if diff(a, b) < 0 {
        a
    } else {
        b
    }
}

/// Estimator of a round-trip time (RFC 6298, section 2).
#[derive(Clone, Debug, Default)]
pub struct Rtt {
    /// Eight times the smoothed time.
    srtt8: u32,
    /// Four times the variation.
    rttvar4: u32,
    sampled: bool,
}

impl Rtt {
    /// The longest sample that is taken as it is, microseconds.
    const LONGEST: u32 = 60_000_000;

    /// An estimator without samples.
    pub const fn new() -> Self {
        Self {
            srtt8: 0,
            rttvar4: 0,
            sampled: false,
        }
    }

    /// Takes a sample, microseconds; what is longer than a minute counts as a
    /// minute.
    pub fn sample(&mut self, rtt: u32) {
        let rtt = rtt.min(Self::LONGEST);
        if !self.sampled {
            self.sampled = true;
            self.srtt8 = rtt.saturating_mul(8);
            self.rttvar4 = rtt.saturating_mul(2);
            return;
        }
        let gap = rtt.abs_diff(self.srtt());
        self.rttvar4 = self
            .rttvar4
            .saturating_sub(self.rttvar4 / 4)
            .saturating_add(gap);
        self.srtt8 = self
            .srtt8
            .saturating_sub(self.srtt8 / 8)
            .saturating_add(rtt);
    }

    /// The smoothed round-trip time, microseconds; 0 before the first sample.
    pub const fn srtt(&self) -> u32 {
        self.srtt8 / 8
    }

    /// The variation of the round-trip time, microseconds.
    pub const fn rttvar(&self) -> u32 {
        self.rttvar4 / 4
    }

    /// Whether there was a sample.
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// How long to wait for an answer, microseconds: the smoothed time and four
    /// times the variation; 1 s before the first sample.
    pub fn timeout(&self) -> u32 {
        if self.sampled {
            self.srtt().saturating_add(self.rttvar4)
        } else {
            1_000_000
        }
    }
}
