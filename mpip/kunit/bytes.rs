// SPDX-License-Identifier: GPL-2.0

//! Packets as bytes, made by hand.

use crate::{
    proto::addr::{
        Addr,
        Endpoint,
        Tuple, //
    },
    sys::{
        skb::{
            OwnSkb,
            Skb, //
        },
        testing::{
            self,
            Make, //
        }, //
    },
};
use kernel::prelude::*;

/// IP protocol number of TCP.
pub(super) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(super) const UDP: u8 = 17;
/// What most tests are repeated for.
pub(super) const FORMS: [(u8, u8); 4] = [(4, TCP), (4, UDP), (6, TCP), (6, UDP)];
/// TCP's timestamp option, with padding.
const OPTIONS: [u8; 12] = [1, 1, 8, 10, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];

/// A packet to be made.
#[derive(Clone, Copy)]
pub(super) struct Spec {
    /// 4 or 6.
    pub(super) family: u8,
    /// TCP or UDP.
    pub(super) proto: u8,
    /// Bytes of data.
    pub(super) data: usize,
    /// Sequence number, for TCP.
    pub(super) seq: u32,
    /// Flags, for TCP.
    pub(super) flags: u8,
    /// What the data begins with; it goes on from there.
    pub(super) first: u8,
    /// Identification, for IPv4.
    pub(super) id: u16,
}

impl Spec {
    /// A packet with so much data.
    pub(super) fn new(family: u8, proto: u8, data: usize) -> Spec {
        Spec {
            family,
            proto,
            data,
            seq: 0xffff_ff00,
            flags: 0x18,
            first: 3,
            id: 0x1234,
        }
    }

    /// Where the transport's header begins.
    pub(super) fn l4(&self) -> usize {
        if self.family == 4 {
            20
        } else {
            40
        }
    }

    /// Where the data begins.
    pub(super) fn payload(&self) -> usize {
        self.l4() + if self.proto == TCP { 32 } else { 8 }
    }

    /// Where its checksum is, from the transport's header on.
    pub(super) fn check(&self) -> usize {
        if self.proto == TCP {
            16
        } else {
            6
        }
    }

    /// The bytes from the IP header on, with right checksums.
    pub(super) fn bytes(&self) -> Result<KVec<u8>> {
        let (l4, payload) = (self.l4(), self.payload());
        let len = payload + self.data;
        let tuple = session(self.family, self.proto);
        let mut out = KVec::from_elem(0u8, len, GFP_KERNEL)?;
        let (from, to) = (tuple.local.addr, tuple.remote.addr);
        if self.family == 4 {
            out[0] = 0x45;
            out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            out[4..6].copy_from_slice(&self.id.to_be_bytes());
            out[8] = 63;
            out[9] = self.proto;
            out[12..16].copy_from_slice(from.as_bytes());
            out[16..20].copy_from_slice(to.as_bytes());
            let check = !total(&out[..20], 0);
            out[10..12].copy_from_slice(&check.to_be_bytes());
        } else {
            out[0] = 0x60;
            out[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
            out[6] = self.proto;
            out[7] = 63;
            out[8..24].copy_from_slice(from.as_bytes());
            out[24..40].copy_from_slice(to.as_bytes());
        }
        out[l4..l4 + 2].copy_from_slice(&tuple.local.port.to_be_bytes());
        out[l4 + 2..l4 + 4].copy_from_slice(&tuple.remote.port.to_be_bytes());
        if self.proto == TCP {
            out[l4 + 4..l4 + 8].copy_from_slice(&self.seq.to_be_bytes());
            out[l4 + 8..l4 + 12].copy_from_slice(&0x0102_0304u32.to_be_bytes());
            out[l4 + 12] = 8 << 4;
            out[l4 + 13] = self.flags;
            out[l4 + 14..l4 + 16].copy_from_slice(&0x2000u16.to_be_bytes());
            out[l4 + 20..payload].copy_from_slice(&OPTIONS);
        } else {
            out[l4 + 4..l4 + 6].copy_from_slice(&((len - l4) as u16).to_be_bytes());
        }
        for (n, byte) in out[payload..].iter_mut().enumerate() {
            *byte = self.byte(n);
        }
        let check = !total(&out[l4..], seed(&tuple, len - l4));
        let at = l4 + self.check();
        // For UDP 0 would mean that there is none.
        let check = if self.proto == UDP && check == 0 {
            0xffff
        } else {
            check
        };
        out[at..at + 2].copy_from_slice(&check.to_be_bytes());
        Ok(out)
    }

    /// The byte of the data at this offset.
    pub(super) fn byte(&self, n: usize) -> u8 {
        // 251 is prime: no two segments begin alike.
        ((n + usize::from(self.first)) % 251) as u8
    }

    /// A packet of this make, with a complete checksum.
    pub(super) fn packet(&self, make: Make) -> Result<OwnSkb> {
        testing::packet(&self.bytes()?, make)
    }

    /// A packet as TCP and UDP send it: the checksum field has the seed, the device does the rest.
    pub(super) fn unfinished(&self, make: Make) -> Result<OwnSkb> {
        let mut bytes = self.bytes()?;
        let at = self.l4() + self.check();
        let len = bytes.len() - self.l4();
        let seed = seed(&session(self.family, self.proto), len);
        bytes[at..at + 2].copy_from_slice(&seed.to_be_bytes());
        let mut own = testing::packet(&bytes, make)?;
        own.make_partial(self.l4(), self.check());
        Ok(own)
    }

    /// Makes of such a packet: in one piece, with nothing but headers in the head, with nothing but
    /// the IP header there, and in pages with odd sizes.
    pub(super) fn makes(&self) -> [Make; 4] {
        let make = |linear, page, headroom| Make {
            linear,
            page,
            headroom,
        };
        [
            make(usize::MAX >> 33, 4096, 128),
            make(self.payload(), 4096, 0),
            make(self.l4(), 4096, 64),
            make(self.payload() + self.data / 3, 997, 16),
        ]
    }
}

/// Adds up 16-bit words as the Internet checksum does, one byte after the other.
pub(super) fn total(bytes: &[u8], start: u16) -> u16 {
    let mut sum = u64::from(start);
    for (n, byte) in bytes.iter().enumerate() {
        sum += if n % 2 == 0 {
            u64::from(*byte) * 256
        } else {
            u64::from(*byte)
        };
    }
    // 2^16 counts as 1.
    while sum > 65535 {
        sum = sum % 65536 + sum / 65536;
    }
    sum as u16
}

/// The pseudo header's sum.
pub(super) fn seed(tuple: &Tuple, len: usize) -> u16 {
    let start = total(&(len as u32).to_be_bytes(), u16::from(tuple.proto));
    let start = total(tuple.local.addr.as_bytes(), start);
    total(tuple.remote.addr.as_bytes(), start)
}

/// The tuple that packets are made with, as their sender sees it.
pub(super) fn session(family: u8, proto: u8) -> Tuple {
    tuple(
        family,
        proto,
        [[10, 0, 1, 7], [198, 51, 100, 9]],
        [40001, 5201],
    )
}

/// The tuple of another path.
pub(super) fn lane(family: u8, proto: u8) -> Tuple {
    tuple(
        family,
        proto,
        [[192, 168, 255, 254], [203, 0, 113, 77]],
        [65535, 443],
    )
}

fn tuple(family: u8, proto: u8, ends: [[u8; 4]; 2], ports: [u16; 2]) -> Tuple {
    let [local, remote] = ends.map(|[a, b, c, d]| {
        if family == 4 {
            Addr::V4([a, b, c, d])
        } else {
            let mut long = [0; 16];
            long[0] = 0x20;
            long[1] = 0x01;
            long[2..6].copy_from_slice(&[a, b, c, d]);
            long[15] = d;
            Addr::V6(long)
        }
    });
    Tuple {
        proto,
        local: Endpoint {
            addr: local,
            port: ports[0],
        },
        remote: Endpoint {
            addr: remote,
            port: ports[1],
        },
    }
}

/// All of a packet's bytes, wherever they are.
pub(super) fn all(skb: &Skb<'_>) -> Result<KVec<u8>> {
    let mut out = KVec::from_elem(0u8, skb.len(), GFP_KERNEL)?;
    ensure!(
        skb.copy(0, &mut out),
        "a packet of {} bytes cannot be read",
        skb.len()
    );
    Ok(out)
}

/// Whether the headers have these ends.
pub(super) fn has_ends(bytes: &[u8], l4: usize, tuple: &Tuple) -> bool {
    let (from, to) = (tuple.local.addr.as_bytes(), tuple.remote.addr.as_bytes());
    let at = if tuple.local.addr.family() == 4 {
        12
    } else {
        8
    };
    bytes[at..at + from.len()] == *from
        && bytes[at + from.len()..at + 2 * from.len()] == *to
        && bytes[l4..l4 + 2] == tuple.local.port.to_be_bytes()
        && bytes[l4 + 2..l4 + 4] == tuple.remote.port.to_be_bytes()
}
