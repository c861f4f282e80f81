// SPDX-License-Identifier: GPL-2.0

//! What scheduling needs to know of a path.

use super::Path;
use crate::{
    proto::{
        addr::Addr,
        earliest::URGENT_US,
        interface::Reserve,
        path::Standing,
        rate,
        seq,
        session::PathInfo, //
    },
    sys::atomic::MarkedAccess, //
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
        self.cost.read_once()
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }

    fn silent_us(&self, now: u32) -> u32 {
        if !self.waiting.read_once() {
            return 0;
        }
        let overdue = seq::delta(now, self.expected.read_once()).max(0) as u32;
        overdue.min(seq::age(now, self.heard.read_once()))
    }

    fn queue_us(&self) -> u32 {
        self.queue.read_once()
    }

    fn queue_left_us(&self, now: u32) -> u32 {
        let passed = seq::age(now, self.heard.read_once());
        self.queue.read_once().saturating_sub(passed)
    }

    fn delay_us(&self) -> Option<i32> {
        self.measured.read_once().then(|| self.delay.read_once())
    }

    fn base_us(&self) -> Option<i32> {
        self.measured.read_once().then(|| self.base.read_once())
    }

    fn base_rtt_us(&self) -> u32 {
        self.base_rtt.read_once()
    }

    fn rate(&self) -> u32 {
        self.rate.read_once()
    }

    fn prospect(&self) -> u32 {
        self.prospect.read_once()
    }

    fn is_new(&self) -> bool {
        self.new.read_once()
    }

    fn is_forgotten(&self, now: u32, interval: u32) -> bool {
        let times = self.idle_times.read_once();
        self.maybe_due(now, interval.saturating_mul(times))
    }

    fn take_behind(&self, now: u32, len: u32) -> bool {
        let after = self.asks_after.read_once();
        if after == 0 || !self.measured.read_once() {
            return false;
        }
        let sent = self.unasked().saturating_sub(len);
        let ago = seq::age(now, self.behind_at.read_once());
        let is_due = rate::asks_behind(sent, after, ago, self.pace.read_once());
        if is_due {
            self.behind_at.write_once(now);
        }
        is_due
    }

    fn noise_us(&self) -> u32 {
        self.noise.read_once()
    }

    fn is_urgent(&self, now: u32) -> bool {
        seq::age(now, self.urgent_at.read_once()) < URGENT_US
    }

    fn hurry(&self, now: u32) {
        self.urgent_at.write_once(now);
    }

    fn full_us(&self) -> u32 {
        self.full_queue.read_once()
    }

    fn limit_us(&self) -> u32 {
        self.queue_limit.read_once()
    }

    fn loss(&self) -> u32 {
        self.loss.read_once()
    }

    fn random_loss(&self) -> u32 {
        self.random_loss.read_once()
    }

    fn wait_us(&self, now: u32) -> u32 {
        self.backlog().wait(now)
    }

    fn queued(&self, now: u32, len: u32, assumed: u32) {
        let backlog = self.backlog();
        self.chosen_bytes.add(u64::from(len), Relaxed);
        let wait = backlog.wait(now);
        if wait > self.longest.read_once() {
            self.longest.write_once(wait);
        }
        if wait >= self.full_queue.read_once() {
            self.crowded_bytes.add(u64::from(len), Relaxed);
        }
        let rate = match self.rate.read_once() {
            0 if self.new.read_once() => assumed,
            _ => self.sure_rate(),
        };
        if rate != 0 {
            self.set_backlog(backlog.add(now, len, rate));
        }
    }

    fn weight(&self) -> u16 {
        self.weight.read_once() as u16
    }

    fn learn(&self, weight: u16) {
        self.weight.write_once(u32::from(weight));
    }

    fn fixed_weight(&self) -> u16 {
        self.fixed_weight.read_once() as u16
    }
}
