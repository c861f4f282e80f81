// SPDX-License-Identifier: GPL-2.0

//! One row of the availability table (Table 2 of the paper, section 3.2):
//! whether a destination speaks MPIP, and when to ask it.
//!
//! Times are milliseconds modulo 2^32.

use crate::proto::seq;

/// What is known of a destination. The numbers are those of the netlink family.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Availability {
    /// Not asked yet, or still being asked.
    Unknown = 0,
    /// It has answered.
    Available = 1,
    /// It stayed silent, or left; it is asked again after a while.
    Unavailable = 2,
}

/// How destinations are asked.
#[derive(Copy, Clone, Debug)]
pub struct AskPolicy {
    /// Unanswered questions after which a destination counts as unable.
    pub threshold: u8,
    /// Wait after the first question, milliseconds; it doubles with each
    /// further one.
    pub retry_ms: u32,
    /// How long a negative answer holds, milliseconds.
    pub ttl_ms: u32,
}

/// How long a destination that was a peer and left is not asked, milliseconds; it doubles as long
/// as it stays silent. A module that is loaded anew should be found soon.
const LEFT_MS: u32 = 1_000;

/// After so long without an answer there is no need to ask as often as the threshold allows,
/// milliseconds.
const QUIET_MS: u32 = 5_000;

/// A question that was counted: when the one before it was.
#[derive(Copy, Clone, Debug)]
pub struct Question {
    asked_ms: u32,
}

/// The state of one destination.
#[derive(Copy, Clone, Debug)]
pub struct Entry {
    state: Availability,
    queries: u8,
    changed_ms: u32,
    asked_ms: u32,
    used_ms: u32,
    /// How long a negative answer of a destination that was a peer holds, milliseconds; 0 for one
    /// that never was.
    hold_ms: u32,
    /// When a SYN with the option stayed unanswered.
    option_lost_ms: Option<u32>,
}

impl Entry {
    /// A destination of which nothing is known.
    pub const fn new(now_ms: u32) -> Self {
        Self {
            state: Availability::Unknown,
            queries: 0,
            changed_ms: now_ms,
            asked_ms: now_ms,
            used_ms: now_ms,
            hold_ms: 0,
            option_lost_ms: None,
        }
    }

    /// What is known.
    pub const fn state(&self) -> Availability {
        self.state
    }

    /// Questions asked since the last answer (Query Count in Table 2).
    pub const fn queries(&self) -> u8 {
        self.queries
    }

    /// When the state last changed.
    pub const fn changed_ms(&self) -> u32 {
        self.changed_ms
    }

    /// Whether to ask the destination now.
    pub fn should_ask(&self, now_ms: u32, policy: &AskPolicy) -> bool {
        match self.state {
            Availability::Available => false,
            Availability::Unavailable => {
                seq::age_ms(now_ms, self.changed_ms) >= self.negative_ms(policy)
            }
            Availability::Unknown => {
                self.queries == 0
                    || (self.queries < policy.threshold && self.waited(now_ms, policy))
            }
        }
    }

    /// A question is sent. What is returned takes it back if that fails.
    pub fn asked(&mut self, now_ms: u32) -> Question {
        let before = Question {
            asked_ms: self.asked_ms,
        };
        if self.state == Availability::Unavailable {
            self.set(Availability::Unknown, now_ms);
            self.queries = 0;
        }
        self.queries = self.queries.saturating_add(1);
        self.asked_ms = now_ms;
        before
    }

    /// A question that was counted was not sent.
    pub fn take_back(&mut self, question: Question) {
        self.queries = self.queries.saturating_sub(1);
        self.asked_ms = question.asked_ms;
    }

    /// The destination answered, or asked us, authentically or not: whether it
    /// is a peer is decided by the exchange of keys that follows.
    pub fn answered(&mut self, now_ms: u32) {
        self.set(Availability::Available, now_ms);
        self.queries = 0;
        self.hold_ms = LEFT_MS;
        self.option_lost_ms = None;
    }

    /// Gives up a destination that stayed silent after the last question; true
    /// when it just became unavailable.
    pub fn silent(&mut self, now_ms: u32, policy: &AskPolicy) -> bool {
        let enough = self.queries >= policy.threshold && self.waited(now_ms, policy);
        let quiet = self.queries > 0 && seq::age_ms(now_ms, self.asked_ms) >= QUIET_MS;
        let give_up = self.state == Availability::Unknown && (enough || quiet);
        if give_up {
            self.hold_ms = self.hold_ms.saturating_mul(2);
            self.set(Availability::Unavailable, now_ms);
        }
        give_up
    }

    /// The peer left or lost its state: the destination counts as unable for
    /// a while.
    pub fn left(&mut self, now_ms: u32) {
        self.set(Availability::Unavailable, now_ms);
        self.queries = 0;
    }

    fn negative_ms(&self, policy: &AskPolicy) -> u32 {
        match self.hold_ms {
            0 => policy.ttl_ms,
            hold => hold.min(policy.ttl_ms),
        }
    }

    /// Whether to ask a destination once more that has answered but is not, or no longer, a peer.
    /// After too many unanswered questions it counts as having left.
    pub fn may_repeat(&mut self, now_ms: u32, policy: &AskPolicy) -> bool {
        if self.queries == 0 {
            return true;
        }
        if !self.waited(now_ms, policy) {
            return false;
        }
        if self.queries >= policy.threshold {
            self.left(now_ms);
            return false;
        }
        true
    }

    /// A SYN with the option stayed unanswered and is sent again without: a
    /// middlebox may drop such SYNs.
    pub fn syn_timed_out(&mut self, now_ms: u32) {
        self.option_lost_ms = Some(now_ms);
    }

    /// Whether a SYN may carry the option: not for a while after one stayed
    /// unanswered.
    pub fn may_use_option(&self, now_ms: u32, policy: &AskPolicy) -> bool {
        self.option_lost_ms
            .is_none_or(|lost| seq::age_ms(now_ms, lost) >= policy.ttl_ms)
    }

    /// Whether the destination was known for so long without anything having been asked or
    /// answered.
    pub fn is_patient(&self, now_ms: u32, patience_ms: u32) -> bool {
        self.queries == 0 && seq::age_ms(now_ms, self.changed_ms) >= patience_ms
    }

    /// Whether nothing was ever asked or answered.
    pub const fn is_unused(&self) -> bool {
        matches!(self.state, Availability::Unknown)
            && self.queries == 0
            && self.option_lost_ms.is_none()
    }

    /// A packet went to the destination or came from it.
    pub fn touch(&mut self, now_ms: u32) {
        self.used_ms = now_ms;
    }

    /// Time since the last packet, milliseconds.
    pub fn idle_ms(&self, now_ms: u32) -> u32 {
        seq::age_ms(now_ms, self.used_ms)
    }

    fn set(&mut self, state: Availability, now_ms: u32) {
        if self.state != state || state == Availability::Unavailable {
            self.changed_ms = now_ms;
        }
        self.state = state;
    }

    /// Whether the last question has had its time.
    fn waited(&self, now_ms: u32, policy: &AskPolicy) -> bool {
        let doublings = u32::from(self.queries.saturating_sub(1).min(16));
        let wait = policy.retry_ms.saturating_mul(1 << doublings);
        seq::age_ms(now_ms, self.asked_ms) >= wait
    }
}
