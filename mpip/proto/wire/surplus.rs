// SPDX-License-Identifier: GPL-2.0

//! The surplus area of UDP: bytes behind the UDP length but inside the IP
//! length, which a plain host trims silently (RFC 9868).
//!
//! ```text
//! | pad, 0 or 1 byte | compensator u16 | zero u16 | CM |
//! ```
//!
//! The pad makes the rest start at an even offset of the datagram. The
//! compensator takes the place of RFC 9868's option checksum: the one's
//! complement sum of the surplus area and of its length is 0, so that a
//! middlebox that computes the UDP checksum over the IP payload, with that
//! length in the pseudo header, finds it as valid as over the UDP length. The
//! zeros end the (empty) list of UDP options.

use super::cm;

/// Length of compensator and zeros, bytes.
const HEAD: usize = 4;

/// Length of the surplus area that carries a CM of `cm_len` bytes behind a
/// datagram of `udp_len` bytes, UDP header included.
pub const fn layout(udp_len: usize, cm_len: usize) -> usize {
    (udp_len % 2).saturating_add(HEAD).saturating_add(cm_len)
}

/// Writes the surplus area to the front of `out` and returns its length; 0 if
/// it does not fit.
pub fn build(udp_len: usize, cm: &[u8], out: &mut [u8]) -> usize {
    let head_len = layout(udp_len, 0);
    let Some((head, tail)) = out.split_at_mut_checked(head_len) else {
        return 0;
    };
    let Some(tail) = tail.get_mut(..cm.len()) else {
        return 0;
    };
    tail.copy_from_slice(cm);
    head.fill(0);
    let len = head_len.saturating_add(cm.len());
    let compensator = !sum(cm, len as u16);
    if let Some((field, _)) = head
        .get_mut(udp_len % 2..)
        .and_then(|aligned| aligned.split_first_chunk_mut())
    {
        *field = compensator.to_be_bytes();
    }
    len
}

/// The CM in a surplus area, by its footer; only its tag can tell whether it
/// is one.
pub fn cm_of(surplus: &[u8]) -> Option<&[u8]> {
    let tail = surplus.last_chunk::<4>()?;
    let len = cm::trailer_len(tail, surplus.len())?;
    let (head, cm) = surplus.split_at(surplus.len().checked_sub(len)?);
    match head {
        [_, _, 0, 0] | [0, _, _, 0, 0] => Some(cm),
        _ => None,
    }
}

/// The folded one's complement sum (RFC 1071) of `bytes` and `start`.
fn sum(bytes: &[u8], start: u16) -> u16 {
    let mut sum = u64::from(start);
    for pair in bytes.chunks(2) {
        let word = match pair {
            [a, b] => u16::from_be_bytes([*a, *b]),
            [a] => u16::from_be_bytes([*a, 0]),
            _ => 0,
        };
        sum = sum.wrapping_add(u64::from(word));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
    }
    sum as u16
}
