// SPDX-License-Identifier: GPL-2.0

//! TCP options: the question in a SYN and its answer in the SYN-ACK, as an
//! experimental option (RFC 6994); and the maximum segment size.

use super::bytes::Reader;
use super::MAGIC;
use crate::proto::crypto;
use crate::proto::crypto::Crypto;

/// Length of the option, bytes.
pub const LEN: usize = 12;

/// Option kind "RFC3692-style experiment 1" (RFC 4727).
const KIND: u8 = 253;

/// ExID of the question.
const ASK: u16 = MAGIC;

/// ExID of the answer.
const ANSWER: u16 = MAGIC + 1;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const KIND_TIMESTAMP: u8 = 8;
const KIND_MD5: u8 = 19;
const KIND_AO: u8 = 29;

/// The option in a SYN or SYN-ACK.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SynOption {
    /// Whether it is the answer.
    pub answer: bool,
    /// The asker's random number, or [`answer_nonce`] of it.
    pub nonce: u64,
}

/// What the answer to a question with `nonce` must carry. It differs from the
/// question, so that a host that echoes options it does not know is not taken
/// for a peer.
pub fn answer_nonce(c: &impl Crypto, nonce: u64) -> u64 {
    let mut data = [0; 8 + 6];
    let (number, text) = data.split_at_mut(8);
    number.copy_from_slice(&nonce.to_be_bytes());
    text.copy_from_slice(b"answer");
    c.siphash(&crypto::PUBLIC_KEY, &data)
}

/// Finds our option among the options of a TCP header.
pub fn find(options: &[u8]) -> Option<SynOption> {
    Options::new(options).find_map(|option| {
        if option.kind != KIND || option.value.len() != LEN - 2 {
            return None;
        }
        let mut r = Reader(option.value);
        let answer = match r.u16()? {
            ASK => false,
            ANSWER => true,
            _ => return None,
        };
        let nonce = r.u64()?;
        Some(SynOption { answer, nonce })
    })
}

/// The option's bytes.
pub fn emit(option: &SynOption) -> [u8; LEN] {
    let [e0, e1] = if option.answer { ANSWER } else { ASK }.to_be_bytes();
    let [n0, n1, n2, n3, n4, n5, n6, n7] = option.nonce.to_be_bytes();
    [KIND, LEN as u8, e0, e1, n0, n1, n2, n3, n4, n5, n6, n7]
}

/// Finds the maximum segment size: the offset of its 16-bit value in `options`
/// and the value.
pub fn mss(options: &[u8]) -> Option<(usize, u16)> {
    Options::new(options).find_map(|option| {
        let value = <[u8; 2]>::try_from(option.value).ok()?;
        (option.kind == KIND_MSS).then_some((option.offset, u16::from_be_bytes(value)))
    })
}

/// Finds the time stamp (RFC 7323): the offset of its value in `options` and the value.
pub fn timestamp(options: &[u8]) -> Option<(usize, u32)> {
    // How nearly every segment looks (RFC 7323, appendix A).
    if let [KIND_NOP, KIND_NOP, KIND_TIMESTAMP, 10, a, b, c, d, _, _, _, _, ..] = *options {
        return Some((4, u32::from_be_bytes([a, b, c, d])));
    }
    Options::new(options).find_map(|option| {
        let (value, _) = option.value.split_first_chunk::<4>()?;
        let found = option.kind == KIND_TIMESTAMP && option.value.len() == 8;
        found.then_some((option.offset, u32::from_be_bytes(*value)))
    })
}

/// Whether the segment is signed (RFC 2385, RFC 5925): nothing in its header may be changed.
pub fn is_signed(options: &[u8]) -> bool {
    if let [KIND_NOP, KIND_NOP, KIND_TIMESTAMP, 10, _, _, _, _, _, _, _, _] = options {
        return false;
    }
    Options::new(options).any(|option| matches!(option.kind, KIND_MD5 | KIND_AO))
}

/// One option with a length.
struct TcpOption<'a> {
    kind: u8,
    /// Offset of `value` in the options.
    offset: usize,
    value: &'a [u8],
}

/// The options with a length; ends at the end of the list and at the first
/// malformed option.
struct Options<'a> {
    options: &'a [u8],
    at: usize,
}

impl<'a> Options<'a> {
    fn new(options: &'a [u8]) -> Self {
        Self { options, at: 0 }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        loop {
            let kind = *self.options.get(self.at)?;
            let offset = match kind {
                KIND_END => return None,
                KIND_NOP => {
                    self.at = self.at.checked_add(1)?;
                    continue;
                }
                _ => self.at.checked_add(2)?,
            };
            let len = usize::from(*self.options.get(offset.checked_sub(1)?)?);
            let end = self.at.checked_add(len)?;
            // A length below 2 makes an inverted range.
            let value = self.options.get(offset..end)?;
            self.at = end;
            return Some(TcpOption {
                kind,
                offset,
                value,
            });
        }
    }
}
