// SPDX-License-Identifier: GPL-2.0

//! Recognition of CMs: what can be said before the fields are parsed.

use super::bytes::Reader;
use super::MAGIC;
use super::MAX_ADDRS;
use super::NUMBER_LEN;
use super::OVERHEAD;
use super::VERSION;
use crate::proto::crypto;
use crate::proto::crypto::Crypto;

/// The type of a CM.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Path, delay and time of the packet it rides on.
    Data,
    /// As DATA, with the receiver's counts; in a carrier.
    Report,
    /// First message between two nodes; unauthenticated.
    Hello,
    /// Answer to HELLO, with a cookie and a public key; unauthenticated.
    HelloReply,
    /// Returns the cookie, agrees on the keys and opens the first session.
    Confirm,
    /// Opens a session.
    Open,
    /// Accepts a session.
    OpenAck,
    /// Challenge on a new path of a session.
    Lane,
    /// Answer to LANE, with the responder's own challenge.
    LaneAck,
    /// Answer to LANE_ACK.
    LaneConfirm,
    /// The sender's addresses changed (section 3.4.3 of the paper).
    Addr,
    /// A session is over, or its sender no longer handles it.
    Close,
    /// The sender leaves: every session goes back to its original path.
    Goodbye,
    /// Answer to GOODBYE.
    GoodbyeAck,
    /// Answer to ADDR.
    AddrAck,
    /// Parts of a session's stream are missing, or will not be sent again.
    Missing,
}

impl Kind {
    const ALL: [Kind; 16] = [
        Kind::Data,
        Kind::Report,
        Kind::Hello,
        Kind::HelloReply,
        Kind::Confirm,
        Kind::Open,
        Kind::OpenAck,
        Kind::Lane,
        Kind::LaneAck,
        Kind::LaneConfirm,
        Kind::Addr,
        Kind::Close,
        Kind::Goodbye,
        Kind::GoodbyeAck,
        Kind::AddrAck,
        Kind::Missing,
    ];

    /// The kind with this number on the wire.
    pub fn from_wire(number: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(number)).copied()
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// Whether the body starts with a control header: everything but DATA and
    /// REPORT.
    pub const fn is_control(self) -> bool {
        !matches!(self, Kind::Data | Kind::Report)
    }

    /// Whether the tag is made with [`crypto::PUBLIC_KEY`].
    pub const fn is_unauthenticated(self) -> bool {
        matches!(self, Kind::Hello | Kind::HelloReply)
    }

    /// Length of the body without its list, bytes, and whether a list may follow.
    const fn body(self) -> (usize, bool) {
        match self {
            Kind::Data => (20, false),
            Kind::Report => (40, false),
            Kind::Hello | Kind::HelloReply => (64, false),
            Kind::Confirm => (64 + 4, true),
            Kind::Open | Kind::OpenAck => (16 + 4, true),
            Kind::Addr => (16 + 8 + 4, true),
            Kind::Lane | Kind::LaneAck | Kind::LaneConfirm => (56, false),
            Kind::Goodbye | Kind::GoodbyeAck => (16, false),
            Kind::Close | Kind::AddrAck => (16 + 4, false),
            Kind::Missing => (16 + 4, true),
        }
    }

    /// Whether a CM of this kind can be `len` bytes long.
    pub fn fits(self, len: usize) -> bool {
        let (body, list) = self.body();
        match len.checked_sub(body.saturating_add(OVERHEAD)) {
            Some(rest) => rest == 0 || (list && rest % 4 == 0 && rest <= MAX_ADDRS * 20),
            // A datagram's number.
            None => self == Kind::Data && len == NUMBER_LEN,
        }
    }
}

/// Kind and whole length of the CM that ends with this footer.
fn footer(footer: &[u8; 4]) -> Option<(Kind, usize)> {
    let [m0, m1, vt, quads] = *footer;
    if u16::from_be_bytes([m0, m1]) != MAGIC || vt >> 4 != VERSION {
        return None;
    }
    let kind = Kind::from_wire(vt & 0xf)?;
    let len = usize::from(quads).checked_mul(4)?;
    kind.fits(len).then_some((kind, len))
}

/// The footer of a CM of `len` bytes, which is a multiple of 4.
pub(super) fn make_footer(kind: Kind, len: usize) -> [u8; 4] {
    let [m0, m1] = MAGIC.to_be_bytes();
    let quads = u8::try_from(len / 4).unwrap_or(u8::MAX);
    [m0, m1, (VERSION << 4) | kind.to_wire(), quads]
}

/// Length of the CM at the end of `available` bytes of which `tail` are the
/// last four; `None` if these cannot be a CM. Only the tag can tell whether it
/// is one.
pub fn trailer_len(tail: &[u8; 4], available: usize) -> Option<usize> {
    let (_, len) = footer(tail)?;
    (len <= available).then_some(len)
}

/// A view of the bytes of a CM with a plausible footer and length.
#[derive(Copy, Clone, Debug)]
pub struct Raw<'a> {
    kind: Kind,
    bytes: &'a [u8],
    body: &'a [u8],
    tag: u64,
    footer: &'a [u8; 4],
}

impl<'a> Raw<'a> {
    /// A view of exactly the bytes of a CM.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (rest, end) = bytes.split_last_chunk::<4>()?;
        let (kind, len) = footer(end)?;
        if len != bytes.len() {
            return None;
        }
        let (body, tag) = rest.split_last_chunk::<8>()?;
        Some(Self {
            kind,
            bytes,
            body,
            tag: u64::from_be_bytes(*tag),
            footer: end,
        })
    }

    /// All bytes of the CM.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The body, without tag and footer.
    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The session id; 0 in CMs about the peer.
    pub fn session(&self) -> Option<u32> {
        let mut reader = Reader(self.body);
        if self.kind.is_control() {
            reader.u64()?;
        }
        reader.u32()
    }

    /// The sender's node id, which only control CMs have.
    pub fn node(&self) -> Option<u64> {
        if self.kind.is_control() {
            Reader(self.body).u64()
        } else {
            None
        }
    }

    /// Whether the tag is valid. `node` is the sender's node id, `ip_proto` the
    /// protocol of the session, 0 for CMs about the peer.
    pub fn verify(&self, c: &impl Crypto, key: &[u8; 16], node: u64, ip_proto: u8) -> bool {
        crypto::tag(c, key, node, ip_proto, self.body, self.footer)
            .is_some_and(|tag| crypto::tag_eq(tag, self.tag))
    }
}
