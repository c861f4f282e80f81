// SPDX-License-Identifier: GPL-2.0

//! What scheduling needs to know of a path.

use super::Path;
use crate::proto::{
    addr::Addr,
    earliest::URGENT_US,
    interface::Reserve,
    path::Standing,
    rate,
    seq,
    session::PathInfo, //
};
use kernel::sync::{
    atomic::Relaxed,
    Arc, //
};

impl PathInfo for Arc<Path> {
    fn ends(&self) -> (Addr, Addr) {
        (self.local, self.remote)
    }

    fn standing(&self) -> Standing {
        Path::standing(self)
    }

    fn is_strict(&self) -> bool {
        Path::is_strict(self)
    }

    fn ifindex(&self) -> u32 {
        Path::ifindex(self)
    }

    fn reserve(&self) -> Option<Reserve> {
        Path::reserve(self)
    }

    fn is_excluded(&self) -> bool {
        Path::is_excluded(self)
    }

    fn is_disabled(&self) -> bool {
        Path::is_disabled(self)
    }

    fn cost(&self) -> u32 {
        self.cost.load(Relaxed)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }

    fn silent_us(&self, now: u32) -> u32 {
        if !self.waiting.load(Relaxed) {
            return 0;
        }
        let overdue = seq::delta(now, self.expected.load(Relaxed)).max(0) as u32;
        overdue.min(seq::age(now, self.heard.load(Relaxed)))
    }

    fn queue_us(&self) -> u32 {
        self.queue.load(Relaxed)
    }

    fn queue_left_us(&self, now: u32) -> u32 {
        let passed = seq::age(now, self.heard.load(Relaxed));
        self.queue.load(Relaxed).saturating_sub(passed)
    }

    fn delay_us(&self) -> Option<i32> {
        self.measured
            .load(Relaxed)
            .then(|| self.delay.load(Relaxed))
    }

    fn base_us(&self) -> Option<i32> {
        self.measured.load(Relaxed).then(|| self.base.load(Relaxed))
    }

    fn base_rtt_us(&self) -> u32 {
        self.base_rtt.load(Relaxed)
    }

    fn rate(&self) -> u32 {
        self.rate.load(Relaxed)
    }

    fn prospect(&self) -> u32 {
        self.prospect.load(Relaxed)
    }

    fn is_new(&self) -> bool {
        self.new.load(Relaxed)
    }

    fn is_forgotten(&self, now: u32, interval: u32) -> bool {
        let times = self.idle_times.load(Relaxed);
        self.maybe_due(now, interval.saturating_mul(times))
    }

    fn take_behind(&self, now: u32, len: u32) -> bool {
        let after = self.asks_after.load(Relaxed);
        if after == 0 || !self.measured.load(Relaxed) {
            return false;
        }
        let sent = self.unasked().saturating_sub(len);
        let ago = seq::age(now, self.behind_at.load(Relaxed));
        let is_due = rate::asks_behind(sent, after, ago, self.pace.load(Relaxed));
        if is_due {
            self.behind_at.store(now, Relaxed);
        }
        is_due
    }

    fn noise_us(&self) -> u32 {
        self.noise.load(Relaxed)
    }

    fn is_urgent(&self, now: u32) -> bool {
        seq::age(now, self.urgent_at.load(Relaxed)) < URGENT_US
    }

    fn hurry(&self, now: u32) {
        self.urgent_at.store(now, Relaxed);
    }

    fn full_us(&self) -> u32 {
        self.full_queue.load(Relaxed)
    }

    fn limit_us(&self) -> u32 {
        self.queue_limit.load(Relaxed)
    }

    fn loss(&self) -> u32 {
        self.loss.load(Relaxed)
    }

    fn random_loss(&self) -> u32 {
        self.random_loss.load(Relaxed)
    }

    fn wait_us(&self, now: u32) -> u32 {
        self.backlog().wait(now)
    }

    fn queued(&self, now: u32, len: u32, assumed: u32) {
        let backlog = self.backlog();
        self.chosen_bytes.add(u64::from(len), Relaxed);
        let wait = backlog.wait(now);
        if wait > self.longest.load(Relaxed) {
            self.longest.store(wait, Relaxed);
        }
        if wait >= self.full_queue.load(Relaxed) {
            self.crowded_bytes.add(u64::from(len), Relaxed);
        }
        let rate = match self.rate.load(Relaxed) {
            0 if self.new.load(Relaxed) => assumed,
            _ => self.sure_rate(),
        };
        if rate != 0 {
            self.set_backlog(backlog.add(now, len, rate));
        }
    }

    fn weight(&self) -> u16 {
        self.weight.load(Relaxed) as u16
    }

    fn learn(&self, weight: u16) {
        self.weight.store(u32::from(weight), Relaxed);
    }

    fn fixed_weight(&self) -> u16 {
        self.fixed_weight.load(Relaxed) as u16
    }
}
