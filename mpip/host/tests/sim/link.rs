// SPDX-License-Identifier: GPL-2.0

//! One direction of a link: rate, delay, queue, loss, duplication, jitter and outages.

use crate::wire::Wire;
use rand_chacha::rand_core::RngCore;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// Which packets a link loses and duplicates at random.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those that carry a CM and nothing else.
    Carriers,
}

/// How a link is.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Bit/s; 0 for no limit.
    pub rate: u64,
    /// One way, microseconds.
    pub delay: u64,
    /// Uniformly added to the delay, at most, microseconds.
    pub jitter: u64,
    /// Whether jitter lets packets overtake each other.
    pub overtake: bool,
    /// Most packets in the queue.
    pub queue_packets: usize,
    /// Most bytes in the queue.
    pub queue_bytes: usize,
    /// Share of packets lost, per mille.
    pub loss: u32,
    /// Share of packets that arrive twice, per mille.
    pub duplicates: u32,
    /// Which packets the two are about.
    pub which: Which,
    /// Times during which nothing passes, microseconds.
    pub down: Vec<(u64, u64)>,
}

impl Shape {
    /// A link that is never busy.
    pub fn ideal(delay: u64) -> Shape {
        Shape {
            rate: 0,
            delay,
            jitter: 0,
            overtake: false,
            queue_packets: usize::MAX,
            queue_bytes: usize::MAX,
            loss: 0,
            duplicates: 0,
            which: Which::All,
            down: Vec::new(),
        }
    }

    /// A link with a drop-tail queue of `queue` packets.
    pub fn shaped(rate: u64, delay: u64, queue: usize) -> Shape {
        Shape {
            rate,
            queue_packets: queue,
            ..Shape::ideal(delay)
        }
    }

    fn is_down(&self, at: u64) -> bool {
        self.down
            .iter()
            .any(|(from, to)| (*from..*to).contains(&at))
    }
}

/// Overhead of a frame, bytes: Ethernet header and checksum.
const FRAME: usize = 18;

/// One direction of a link.
pub struct Link {
    /// How it is.
    pub shape: Shape,
    /// When and how large the packets in the queue leave.
    queue: VecDeque<(u64, usize)>,
    queued: usize,
    free_at: u64,
    last_arrival: u64,
    /// Packets offered.
    pub offered: u64,
    /// Packets that found the queue full.
    pub overflowed: u64,
}

impl Link {
    /// An idle link.
    pub fn new(shape: Shape) -> Link {
        Link {
            shape,
            queue: VecDeque::new(),
            queued: 0,
            free_at: 0,
            last_arrival: 0,
            offered: 0,
            overflowed: 0,
        }
    }

    /// A packet enters at `now`: when it arrives, once or twice, or never.
    pub fn send(&mut self, now: u64, wire: &Wire, rng: &mut ChaCha8Rng) -> Vec<u64> {
        self.offered += 1;
        while let Some((leaves, len)) = self.queue.front().copied() {
            if leaves > now {
                break;
            }
            self.queued -= len;
            self.queue.pop_front();
        }
        let len = wire.len() + FRAME;
        if self.shape.is_down(now) {
            return Vec::new();
        }
        if self.queue.len() >= self.shape.queue_packets
            || self.queued.saturating_add(len) > self.shape.queue_bytes
        {
            self.overflowed += 1;
            return Vec::new();
        }
        let mut leaves = now;
        if let Some(time) = (len as u64 * 8_000_000).checked_div(self.shape.rate) {
            leaves = self.free_at.max(now) + time;
            self.free_at = leaves;
            self.queue.push_back((leaves, len));
            self.queued += len;
        }
        if self.shape.is_down(leaves) {
            return Vec::new();
        }
        let chosen = self.shape.which == Which::All || wire.is_carrier();
        let mut roll = |share: u32| chosen && share != 0 && rng.next_u32() % 1000 < share;
        if roll(self.shape.loss) {
            return Vec::new();
        }
        let copies = if roll(self.shape.duplicates) { 2 } else { 1 };
        (0..copies)
            .map(|_| {
                let more = match self.shape.jitter {
                    0 => 0,
                    jitter => rng.next_u64() % (jitter + 1),
                };
                let mut at = leaves + self.shape.delay + more;
                if !self.shape.overtake {
                    at = at.max(self.last_arrival);
                    self.last_arrival = at;
                }
                at
            })
            .collect()
    }
}
