// SPDX-License-Identifier: GPL-2.0

//! Numbers of datagrams, for rules that send copies or want the order kept.
//!
//! UDP has no numbers. Where a rule needs some, each datagram of the session
//! gets one in the order in which they are sent, whatever lane it takes. All
//! copies of a datagram have the same, so the receiver knows them.
//!
//! A datagram that leaves on one lane alone also says which was the last one
//! before it to do so. A lane keeps its order, so the receiver knows at once
//! what was lost there, and does not wait for other lanes.

use crate::proto::seq;
use crate::proto::session::MAX_LANES;
use crate::proto::wire::cm::Place;
use crate::proto::wire::cm::MAX_DISTANCE;

/// The sender's side.
#[derive(Clone, Debug)]
pub struct Numbers {
    last: u32,
    // The last one in order that left on this lane alone, 0 for none.
    alone: [u32; MAX_LANES],
    since: u32,
    state: Overlap,
}

/// Whether datagrams without a number may still be under way.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Overlap {
    /// One may just have been sent.
    Before,
    /// Only numbered ones have been sent for less than [`OVERLAP_US`].
    During,
    /// No.
    Over,
}

/// For so long datagrams without a number may still be under way, microseconds.
const OVERLAP_US: u32 = 200_000;

impl Numbers {
    /// Nothing was sent yet.
    pub const fn new() -> Numbers {
        Numbers {
            last: 0,
            alone: [0; MAX_LANES],
            since: 0,
            state: Overlap::Before,
        }
    }

    /// A datagram leaves without a number on the original lane, because there is no other.
    pub fn pass(&mut self) {
        self.state = Overlap::Before;
    }

    /// One is about to leave with a number, in order: whether it should take the original lane as
    /// well, because it might overtake some that have none.
    pub fn stays(&mut self, now: u32) -> bool {
        match self.state {
            Overlap::Before => {
                self.since = now;
                self.state = Overlap::During;
            }
            Overlap::During if seq::age(now, self.since) >= OVERLAP_US => {
                self.state = Overlap::Over;
            }
            _ => {}
        }
        self.state == Overlap::During
    }

    /// The place of the first of `count` datagrams that are about to leave on a lane, `copied` on
    /// others as well; [`Place::next`] gives those of the others.
    pub fn take(&mut self, lane: usize, count: u32, ordered: bool, copied: bool) -> Place {
        let mut place = Place {
            number: self.last,
            ordered,
            copied,
            distance: 0,
        };
        for i in 0..count.max(1) {
            self.last = after(self.last);
            if i == 0 {
                place.number = self.last;
            }
        }
        if let Some(alone) = self.alone.get_mut(lane).filter(|_| ordered && !copied) {
            let distance = place.number.wrapping_sub(*alone);
            if *alone != 0 && distance < MAX_DISTANCE {
                place.distance = distance;
            }
            *alone = self.last;
        }
        place
    }
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers::new()
    }
}

/// The number behind this one; 0 is none.
pub const fn after(number: u32) -> u32 {
    match number.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

impl Place {
    /// That of the next datagram, which leaves behind this one in the same way.
    pub fn next(self) -> Place {
        let number = after(self.number);
        let alone = self.ordered && !self.copied;
        let distance = number.wrapping_sub(self.number);
        Place {
            number,
            distance: if alone { distance } else { 0 },
            ..self
        }
    }

    /// The number of the last datagram in order that left on the same lane alone, if it says so.
    pub fn previous(&self) -> Option<u32> {
        let number = self.number.wrapping_sub(self.distance);
        (self.distance != 0 && number != 0 && !self.copied).then_some(number)
    }
}

/// What a receiver knows of a number.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Sight {
    /// It was not seen before.
    New,
    /// It was.
    Again,
    /// It is so old that nobody knows.
    Old,
}

const WORDS: usize = 128;

/// The receiver's side: which of the last numbers have come, as in RFC 6479.
#[derive(Clone, Debug)]
pub struct Seen {
    // The highest number that has come, 0 in the beginning.
    top: u32,
    // Bit `n % 64` of word `n / 64`, modulo their number.
    words: [u64; WORDS],
}

impl Seen {
    /// Numbers below the highest one that are remembered, at least.
    pub const LEAST: u32 = 64 * (WORDS as u32 - 1);

    /// Nothing has come.
    pub const fn new() -> Seen {
        Seen {
            top: 0,
            words: [0; WORDS],
        }
    }

    /// The highest number that has come; 0 if none has.
    pub const fn top(&self) -> u32 {
        self.top
    }

    /// Notes that a number has come, and says what was known of it.
    pub fn see(&mut self, number: u32) -> Sight {
        if seq::after(number, self.top) {
            let ahead = (number / 64).wrapping_sub(self.top / 64) % (1 << 26);
            for n in 1..=ahead.min(WORDS as u32) {
                let word = (self.top / 64).wrapping_add(n) as usize % WORDS;
                if let Some(word) = self.words.get_mut(word) {
                    *word = 0;
                }
            }
            self.top = number;
        }
        let sight = self.look(number);
        if let Some(word) = self.words.get_mut((number / 64) as usize % WORDS) {
            if sight == Sight::New {
                *word |= 1 << (number % 64);
            }
        }
        sight
    }

    /// What is known of a number.
    pub fn look(&self, number: u32) -> Sight {
        if seq::after(number, self.top) {
            return Sight::New;
        }
        let back = (self.top / 64).wrapping_sub(number / 64) % (1 << 26);
        if back >= WORDS as u32 {
            return Sight::Old;
        }
        let word = self.words.get((number / 64) as usize % WORDS);
        match word.is_some_and(|word| (word >> (number % 64)) & 1 == 1) {
            true => Sight::Again,
            false => Sight::New,
        }
    }
}

impl Default for Seen {
    fn default() -> Seen {
        Seen::new()
    }
}
