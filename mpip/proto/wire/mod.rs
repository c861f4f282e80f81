// SPDX-License-Identifier: GPL-2.0

//! Everything that MPIP puts on the wire.
//!
//! A CM (control message, section 3.1 of the paper) stands at the very end of
//! a packet and is read from its end:
//!
//! ```text
//! | body | tag u64 | magic u16 | version and type u8 | length / 4 u8 |
//! ```
//!
//! All numbers are big endian. Bytes that do not make up a CM with a valid tag
//! are the user's.

mod bytes;
mod list;
mod raw;

pub mod cm;
pub mod option;
pub mod surplus;

/// The first two bytes of the footer, "MP", and of the SYN option's ExID.
pub const MAGIC: u16 = 0x4d50;

/// The version in the footer.
pub const VERSION: u8 = 1;

/// Length of tag and footer, bytes.
pub const OVERHEAD: usize = 8 + 4;

/// Length of a datagram's number, the shortest CM, bytes.
pub const NUMBER_LEN: usize = 4 + 4 + 4 + OVERHEAD;

/// Length of the longest CM, bytes: a CONFIRM with 16 IPv6 addresses.
pub const MAX_LEN: usize = 64 + 4 + MAX_ADDRS * 20 + OVERHEAD;

/// Most addresses in one CM.
pub const MAX_ADDRS: usize = 16;

/// The path id that stands for no path.
pub const NO_PATH: u8 = 0xff;
