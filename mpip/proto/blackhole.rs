// SPDX-License-Identifier: GPL-2.0

//! Notices a path that carries small packets and loses large ones without an
//! ICMP error (a black hole, RFC 2923).
//!
//! The peer's answers say how many bytes have arrived by the time of the
//! question. As long as all of them can be small packets, of which the sender
//! knows how many bytes it has sent, there is no sign that a large one got
//! through. Large ones that were sent before several such questions, and none
//! of which arrived, met a black hole (the passive side of RFC 8899, section 4.3).
//!
//! Loss of small packets can hide large ones that arrive. So the large ones must
//! be more than all that could hide them: then a third of all packets has to be
//! lost to look like a black hole.
//!
//! A full queue can look like one for a moment: what finds the place that has
//! just become free is the question, and the large packet behind it is lost. But
//! it gets emptier, and the next large ones arrive. So the questions count that
//! are some time apart, with large packets before each.

use crate::proto::seq;

/// The largest packet that is small, bytes: the least MTU of IPv6.
pub const SMALL: usize = 1280;
/// So many large packets must have been lost in a row.
const LARGE: u32 = 16;
/// Before so many questions that got through. An outage takes the questions as well, so that what
/// it swallows lies between two that are answered.
const ROUNDS: u32 = 3;
/// So long after each other at least, microseconds, each after more large ones.
const APART_US: u32 = 500_000;
/// What was lost so long before the next is another matter, microseconds.
const FORGOTTEN_US: u32 = 60_000_000;
/// Bytes that the peer may count with a packet and the sender does not, such as an outer header or
/// a message behind a datagram.
const EXTRA: u32 = 40;
/// Small packets may hide so many bytes more than the large ones have before the count begins anew.
const SURPLUS: u32 = 1 << 16;
/// How long it is taken for one when it was found first, milliseconds. Only large packets can tell
/// that it is none any more, or never was.
const FIRST_MS: u32 = 60_000;
/// And at most, milliseconds (PMTU_RAISE_TIMER of RFC 8899, section 5.1.1).
const MOST_MS: u32 = 600_000;

/// What was sent on a path, modulo 2^32.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets larger than [`SMALL`] that should get through as they are.
    pub large: u32,
    /// Packets not larger than that.
    pub small: u32,
    /// Bytes of those.
    pub small_bytes: u32,
}

/// What the peer has received on a path, modulo 2^32.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Packets.
    pub packets: u32,
    /// Bytes.
    pub bytes: u32,
}

/// How long a path that was just found to be one is taken for a black hole, milliseconds. It was
/// for `last` before, 0 for never, beginning `age` milliseconds ago.
pub fn life_ms(last: u32, age: u32) -> u32 {
    if last == 0 || age / 2 >= last {
        FIRST_MS
    } else {
        last.saturating_mul(2).min(MOST_MS)
    }
}

/// Looks for a black hole.
#[derive(Debug, Default)]
pub struct BlackHole {
    // The last time there was a sign that large packets get through, or none was sent.
    since: Option<(Sent, Arrived)>,
    large: u32,
    rounds: u32,
    // The question that was counted last.
    last: u32,
}

impl BlackHole {
    /// Nothing was sent yet.
    pub const fn new() -> BlackHole {
        BlackHole {
            since: None,
            large: 0,
            rounds: 0,
            last: 0,
        }
    }

    /// The path has failed: what was lost says nothing about sizes.
    pub fn reset(&mut self) {
        *self = BlackHole::new();
    }

    /// By the time of a question, `asked`, `sent` had been sent and `arrived` arrived. True if the
    /// path has turned out to be a black hole for large packets.
    pub fn sample(&mut self, asked: u32, sent: Sent, arrived: Arrived) -> bool {
        let (before, had) = *self.since.get_or_insert((sent, arrived));
        let large = sent.large.wrapping_sub(before.large);
        let small = sent.small.wrapping_sub(before.small);
        let small_bytes = sent.small_bytes.wrapping_sub(before.small_bytes);
        let packets = arrived.packets.wrapping_sub(had.packets);
        let bytes = arrived.bytes.wrapping_sub(had.bytes);
        if [large, small, small_bytes].iter().any(|n| *n > 1 << 31) {
            // The question was overtaken by the last one.
            return false;
        }
        let hidden = small_bytes.saturating_add(packets.saturating_mul(EXTRA));
        let lost = large.saturating_mul(SMALL as u32);
        let since = seq::age(asked, self.last);
        let forgotten = self.rounds != 0 && since >= FORGOTTEN_US;
        if large == 0 || bytes > hidden || hidden > lost.saturating_add(SURPLUS) || forgotten {
            self.since = Some((sent, arrived));
            (self.large, self.rounds) = (0, 0);
            return false;
        }
        if large > self.large && (self.rounds == 0 || since >= APART_US) {
            self.rounds = self.rounds.saturating_add(1);
            self.last = asked;
        }
        self.large = large;
        let most = packets >= small / 2 && lost > hidden;
        let found = large >= LARGE && self.rounds >= ROUNDS && most;
        if found {
            self.reset();
        }
        found
    }
}
