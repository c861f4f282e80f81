// SPDX-License-Identifier: GPL-2.0

//! Paths of a simulated node.

use mpip_host::proto::addr::Addr;
use mpip_host::proto::blackhole::SMALL;
use mpip_host::proto::earliest::Backlog;
use mpip_host::proto::earliest::URGENT_US;
use mpip_host::proto::interface::Reserve;
use mpip_host::proto::loss::Sent;
use mpip_host::proto::path;
use mpip_host::proto::path::Standing;
use mpip_host::proto::rate::asks_behind;
use mpip_host::proto::rate::surely;
use mpip_host::proto::rate::TRAIN;
use mpip_host::proto::seq;
use mpip_host::proto::session::PathInfo;
use std::cell::Cell;
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

/// What [`Path`] shares.
pub struct PathCell {
    /// This node's id of it.
    pub id: u8,
    /// The local address.
    pub local: Addr,
    /// The remote address.
    pub remote: Addr,
    /// What is known of it.
    pub state: RefCell<path::Path>,
    pub(super) totals: Cell<path::Totals>,
    pub(super) backlog: Cell<Backlog>,
    /// The longest wait since the last question, microseconds.
    pub(super) longest: Cell<u32>,
    /// Bytes sent by choice.
    pub sent: Cell<Sent>,
    pub(super) asked_at: Cell<u32>,
    /// Bytes chosen since then, and when it was last asked because of them.
    unasked: Cell<u32>,
    behind_at: Cell<u32>,
    urgent_at: Cell<u32>,
    pub(super) strict: Cell<bool>,
    pub(super) watched: Cell<bool>,
}

/// A path.
#[derive(Clone)]
pub struct Path(Rc<PathCell>);

impl Path {
    pub(super) fn new(id: u8, local: Addr, remote: Addr, now: u32) -> Path {
        Path(Rc::new(PathCell {
            id,
            local,
            remote,
            state: RefCell::new(path::Path::new()),
            totals: Cell::default(),
            backlog: Cell::default(),
            longest: Cell::default(),
            sent: Cell::default(),
            asked_at: Cell::new(now.wrapping_sub(1 << 30)),
            unasked: Cell::new(0),
            behind_at: Cell::new(now.wrapping_sub(1 << 30)),
            urgent_at: Cell::new(now.wrapping_sub(1 << 30)),
            strict: Cell::new(false),
            watched: Cell::new(false),
        }))
    }
}

impl Deref for Path {
    type Target = PathCell;

    fn deref(&self) -> &PathCell {
        &self.0
    }
}

impl PathCell {
    /// Packets and bytes.
    pub fn totals(&self, now: u32) -> path::Totals {
        path::Totals {
            wait_us: self.backlog.get().wait(now),
            longest_us: self.longest.get(),
            ..self.totals.get()
        }
    }

    pub(super) fn correct(&self, now: u32, error: i32) {
        if error != 0 {
            self.backlog.set(self.backlog.get().correct(now, error));
        }
    }

    pub(super) fn count_tx(&self, bytes: usize) {
        let mut totals = self.totals.get();
        totals.tx_packets += 1;
        totals.tx_bytes += bytes as u64;
        if bytes > SMALL {
            totals.tx_large_packets += 1;
            totals.tx_long_packets += 1;
            totals.tx_long_bytes += bytes as u64;
        }
        self.totals.set(totals);
    }

    pub(super) fn count_rx(&self, bytes: usize) {
        let mut totals = self.totals.get();
        totals.rx_packets += 1;
        totals.rx_bytes += bytes as u64;
        self.totals.set(totals);
    }

    pub(super) fn asked(&self, now: u32, behind: u32) {
        self.asked_at.set(now);
        self.unasked.set(behind);
    }

    pub(super) fn is_unasked(&self, now: u32, interval: u32) -> bool {
        self.unasked.get() >= TRAIN && self.maybe_due(now, interval)
    }

    pub(super) fn is_busy(&self, now: u32) -> bool {
        seq::age(now, self.asked_at.get()) < 200_000
    }

    pub(super) fn maybe_due(&self, now: u32, interval: u32) -> bool {
        seq::age(now, self.asked_at.get()) >= interval.max(self.state.borrow().pace())
    }

    pub(super) fn rx_delay(&self) -> Option<(i32, u32)> {
        let state = self.state.borrow();
        state.rx.last()?;
        Some((state.rx.smoothed(), state.rx.deviation()))
    }
}

impl PathInfo for Path {
    fn ends(&self) -> (Addr, Addr) {
        (self.local, self.remote)
    }

    fn standing(&self) -> Standing {
        self.state.borrow().standing()
    }

    fn silent_us(&self, now: u32) -> u32 {
        self.state.borrow().silence(now)
    }

    fn is_strict(&self) -> bool {
        self.strict.get()
    }

    fn ifindex(&self) -> u32 {
        0
    }

    fn reserve(&self) -> Option<Reserve> {
        None
    }

    fn is_excluded(&self) -> bool {
        false
    }

    fn is_disabled(&self) -> bool {
        false
    }

    fn cost(&self) -> u32 {
        0
    }

    fn is_same(&self, other: &Path) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn queue_us(&self) -> u32 {
        self.state.borrow().queue()
    }

    fn queue_left_us(&self, now: u32) -> u32 {
        let state = self.state.borrow();
        let passed = state.heard().map_or(u32::MAX, |at| seq::age(now, at));
        state.queue().saturating_sub(passed)
    }

    fn delay_us(&self) -> Option<i32> {
        let state = self.state.borrow();
        state.tx.last().map(|_| state.tx.smoothed())
    }

    fn base_us(&self) -> Option<i32> {
        let state = self.state.borrow();
        state.tx.last().map(|_| state.tx.min())
    }

    fn base_rtt_us(&self) -> u32 {
        self.state.borrow().base_rtt()
    }

    fn rate(&self) -> u32 {
        self.state.borrow().rate()
    }

    fn prospect(&self) -> u32 {
        self.state.borrow().prospect()
    }

    fn is_new(&self) -> bool {
        self.state.borrow().is_new()
    }

    fn is_forgotten(&self, now: u32, interval: u32) -> bool {
        self.maybe_due(now, self.state.borrow().idle_interval(interval))
    }

    fn take_behind(&self, now: u32, len: u32) -> bool {
        let state = self.state.borrow();
        let after = state.asks_after();
        if after == 0 || state.tx.last().is_none() {
            return false;
        }
        let sent = self.unasked.get().saturating_sub(len);
        let is_due = asks_behind(
            sent,
            after,
            seq::age(now, self.behind_at.get()),
            state.pace(),
        );
        if is_due {
            self.behind_at.set(now);
        }
        is_due
    }

    fn noise_us(&self) -> u32 {
        self.state.borrow().tx.deviation()
    }

    fn is_urgent(&self, now: u32) -> bool {
        seq::age(now, self.urgent_at.get()) < URGENT_US
    }

    fn hurry(&self, now: u32) {
        self.urgent_at.set(now);
    }

    fn full_us(&self) -> u32 {
        self.state.borrow().full_queue()
    }

    fn limit_us(&self) -> u32 {
        self.state.borrow().queue_limit()
    }

    fn loss(&self) -> u32 {
        self.state.borrow().loss()
    }

    fn random_loss(&self) -> u32 {
        self.state.borrow().losses.random()
    }

    fn wait_us(&self, now: u32) -> u32 {
        self.backlog.get().wait(now)
    }

    fn queued(&self, now: u32, len: u32, assumed: u32) {
        let wait = self.wait_us(now);
        self.longest.set(self.longest.get().max(wait));
        let full = wait >= self.state.borrow().full_queue();
        let mut sent = self.sent.get();
        sent.all += u64::from(len);
        sent.full += if full { u64::from(len) } else { 0 };
        self.sent.set(sent);
        self.unasked.set(self.unasked.get().saturating_add(len));
        let rate = match self.rate() {
            0 if self.state.borrow().is_new() => assumed,
            known => surely(known, self.state.borrow().prospect()),
        };
        if rate != 0 {
            self.backlog.set(self.backlog.get().add(now, len, rate));
        }
    }

    fn weight(&self) -> u16 {
        self.state.borrow().weight
    }

    fn learn(&self, weight: u16) {
        self.state.borrow_mut().weight = weight;
    }

    fn fixed_weight(&self) -> u16 {
        0
    }
}
