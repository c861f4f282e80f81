// SPDX-License-Identifier: GPL-2.0

//! The MTU that a path was found to have, with its end in one word: who reads it while another
//! writes sees no part of either.

/// A path MTU that is less than what the interface says (RFC 1191, RFC 8201, RFC 8899).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LearntMtu {
    /// Bytes.
    pub mtu: u16,
    /// What is longer is lost and nobody tells the sockets: a black hole (RFC 2923).
    pub silent: bool,
    /// It counts until then, milliseconds since boot: 47 bits.
    pub until_ms: u64,
}

/// Bits of the time.
const TIME_BITS: u32 = 47;

impl LearntMtu {
    /// Nothing was learnt.
    pub const NONE: u64 = 0;

    /// As a word; not [`LearntMtu::NONE`] unless the MTU is 0.
    pub const fn to_word(self) -> u64 {
        let time = self.until_ms & ((1 << TIME_BITS) - 1);
        (time << 17) | ((self.silent as u64) << 16) | self.mtu as u64
    }

    /// What a word says.
    pub const fn from_word(word: u64) -> Option<LearntMtu> {
        if word == LearntMtu::NONE {
            return None;
        }
        Some(LearntMtu {
            mtu: word as u16,
            silent: word & (1 << 16) != 0,
            until_ms: word >> 17,
        })
    }
}
