// SPDX-License-Identifier: GPL-2.0

//! Packets as they are on the wire, and how the hosts of the simulator make theirs.
//!
//! The builders share nothing with `proto::packet`, so that each checks the other.

use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet::Packet;
use mpip_host::proto::packet::ParseError;
use mpip_host::proto::packet::TCP;
use mpip_host::proto::packet::UDP;
use mpip_host::proto::wire::cm::trailer_len;
use mpip_host::proto::wire::cm::Kind;
use mpip_host::proto::wire::cm::Raw;
use mpip_host::proto::wire::surplus;

/// An IP packet: bytes, and zeros behind them that are not stored. Bulk data is made of these
/// zeros, which change no checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// From the IP header on.
    pub bytes: Vec<u8>,
    /// Zeros behind them.
    pub pad: usize,
}

impl Wire {
    /// A packet of these bytes.
    pub fn new(bytes: Vec<u8>) -> Wire {
        Wire { bytes, pad: 0 }
    }

    /// 4 or 6.
    pub fn family(&self) -> u8 {
        self.bytes[0] >> 4
    }

    /// Length, bytes.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.pad
    }

    /// What the headers say.
    pub fn parse(&self) -> Result<Packet, ParseError> {
        Packet::parse(&self.bytes, self.len(), self.family())
    }

    /// Copies of the bytes of a range.
    pub fn copy(&self, at: usize, len: usize) -> Vec<u8> {
        (at..at + len)
            .map(|i| self.bytes.get(i).copied().unwrap_or(0))
            .collect()
    }

    /// Stores the zeros.
    pub fn fill(&mut self) {
        self.bytes.resize(self.len(), 0);
        self.pad = 0;
    }

    /// Cuts everything from `len` on.
    pub fn trim(&mut self, len: usize) {
        let pad = self.pad;
        self.pad = 0;
        if len > self.bytes.len() {
            self.pad = pad.min(len - self.bytes.len());
        } else {
            self.bytes.truncate(len);
        }
    }

    /// Whether the checksums of both headers are right; a UDP checksum of 0 is none.
    pub fn checksums_ok(&self) -> bool {
        let Ok(packet) = self.parse() else {
            return false;
        };
        if packet.family == 4 && ones(&self.bytes[..packet.l4]) != 0xffff {
            return false;
        }
        self.l4_ok(&packet)
    }

    /// Whether the transport checksum is right.
    pub fn l4_ok(&self, packet: &Packet) -> bool {
        let covered = packet.payload_end - packet.l4;
        let at = packet.l4 + if packet.proto == TCP { 16 } else { 6 };
        if packet.proto == UDP && self.bytes[at..at + 2] == [0, 0] {
            return true;
        }
        let stored = self.bytes.len().min(packet.payload_end);
        let mut all = pseudo(&packet.src.addr, &packet.dst.addr, packet.proto, covered);
        all.extend_from_slice(&self.bytes[packet.l4..stored]);
        ones(&all) == 0xffff
    }

    /// What looks like a CM in the packet, and whether the packet carries nothing else.
    pub fn cm(&self) -> Option<(Vec<u8>, bool)> {
        let packet = self.parse().ok()?;
        if packet.proto == TCP {
            let available = packet.payload_len();
            let tail = self.copy(packet.end.checked_sub(4)?, 4);
            let len = trailer_len(&tail.try_into().ok()?, available)?;
            return Some((self.copy(packet.end - len, len), len == available));
        }
        if packet.proto != UDP {
            return None;
        }
        if packet.end == packet.payload_end {
            // The whole of a datagram, on added lanes.
            let all = self.copy(packet.payload, packet.payload_len());
            let len = trailer_len(all.last_chunk()?, all.len())?;
            return (len == all.len()).then_some((all, true));
        }
        let behind = self.copy(packet.payload_end, packet.end - packet.payload_end);
        Some((surplus::cm_of(&behind)?.to_vec(), packet.payload_len() == 0))
    }

    /// The kind of CM that the packet seems to carry.
    pub fn kind(&self) -> Option<Kind> {
        Some(Raw::new(&self.cm()?.0)?.kind())
    }

    /// Whether the packet seems to carry a CM and nothing else.
    pub fn is_carrier(&self) -> bool {
        self.cm().is_some_and(|(_, alone)| alone)
    }

    /// Bytes of the user's in the packet, trailers counted as such.
    pub fn user_len(&self) -> usize {
        match self.parse() {
            Ok(packet) if !self.is_carrier() => packet.payload_len(),
            _ => 0,
        }
    }
}

/// The folded one's complement sum (RFC 1071).
pub fn ones(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
        sum += u64::from(u16::from_be_bytes(word));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The pseudo header.
pub fn pseudo(src: &Addr, dst: &Addr, proto: u8, len: usize) -> Vec<u8> {
    let mut out = [src.as_bytes(), dst.as_bytes()].concat();
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, proto]);
    out
}

fn ip(src: &Addr, dst: &Addr, proto: u8, l4: Vec<u8>, pad: usize) -> Wire {
    let len = l4.len() + pad;
    let mut bytes = Vec::new();
    if src.family() == 4 {
        bytes.extend_from_slice(&[0x45, 0]);
        bytes.extend_from_slice(&((len + 20) as u16).to_be_bytes());
        bytes.extend_from_slice(&[0x12, 0x34, 0, 0, 64, proto, 0, 0]);
        bytes.extend_from_slice(src.as_bytes());
        bytes.extend_from_slice(dst.as_bytes());
        let check = !ones(&bytes);
        bytes[10..12].copy_from_slice(&check.to_be_bytes());
    } else {
        bytes.extend_from_slice(&[0x60, 0, 0, 0]);
        bytes.extend_from_slice(&(len as u16).to_be_bytes());
        bytes.extend_from_slice(&[proto, 64]);
        bytes.extend_from_slice(src.as_bytes());
        bytes.extend_from_slice(dst.as_bytes());
    }
    bytes.extend_from_slice(&l4);
    Wire { bytes, pad }
}

fn finish(tuple: &Tuple, mut l4: Vec<u8>, pad: usize) -> Wire {
    let (src, dst) = (tuple.local.addr, tuple.remote.addr);
    let at = if tuple.proto == TCP { 16 } else { 6 };
    let mut all = pseudo(&src, &dst, tuple.proto, l4.len() + pad);
    all.extend_from_slice(&l4);
    let check = match !ones(&all) {
        0 if tuple.proto == UDP => 0xffff,
        check => check,
    };
    l4[at..at + 2].copy_from_slice(&check.to_be_bytes());
    ip(&src, &dst, tuple.proto, l4, pad)
}

/// The fields of a TCP segment.
#[derive(Copy, Clone, Default)]
pub struct Seg<'a> {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Options, a multiple of four bytes.
    pub options: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
    /// Zeros behind the payload.
    pub pad: usize,
}

/// A TCP segment.
pub fn tcp(tuple: &Tuple, seg: &Seg<'_>) -> Wire {
    let mut l4 = Vec::new();
    l4.extend_from_slice(&tuple.local.port.to_be_bytes());
    l4.extend_from_slice(&tuple.remote.port.to_be_bytes());
    l4.extend_from_slice(&seg.seq.to_be_bytes());
    l4.extend_from_slice(&seg.ack.to_be_bytes());
    l4.push(((20 + seg.options.len()) as u8 / 4) << 4);
    l4.push(seg.flags);
    l4.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0]);
    l4.extend_from_slice(seg.options);
    l4.extend_from_slice(seg.payload);
    finish(tuple, l4, seg.pad)
}

/// A UDP datagram with zeros behind its payload.
pub fn udp(tuple: &Tuple, payload: &[u8], pad: usize) -> Wire {
    let mut l4 = Vec::new();
    l4.extend_from_slice(&tuple.local.port.to_be_bytes());
    l4.extend_from_slice(&tuple.remote.port.to_be_bytes());
    l4.extend_from_slice(&((8 + payload.len() + pad) as u16).to_be_bytes());
    l4.extend_from_slice(&[0, 0]);
    l4.extend_from_slice(payload);
    finish(tuple, l4, pad)
}

/// "Port unreachable" for a packet.
pub fn unreachable(about: &Wire, packet: &Packet) -> Wire {
    let quote = about.copy(0, (packet.l4 + 8).min(about.len()));
    let (kind, code, proto) = if packet.family == 4 {
        (3, 3, 1)
    } else {
        (1, 4, 58)
    };
    let mut l4 = vec![kind, code, 0, 0, 0, 0, 0, 0];
    l4.extend_from_slice(&quote);
    let check = if packet.family == 4 {
        !ones(&l4)
    } else {
        let mut all = pseudo(&packet.dst.addr, &packet.src.addr, proto, l4.len());
        all.extend_from_slice(&l4);
        !ones(&all)
    };
    l4[2..4].copy_from_slice(&check.to_be_bytes());
    ip(&packet.dst.addr, &packet.src.addr, proto, l4, 0)
}

/// `10.0.NET.HOST`.
pub fn v4(net: u8, host: u8) -> Addr {
    Addr::V4([10, 0, net, host])
}

/// `2001:db8:NET::HOST`.
pub fn v6(net: u8, host: u8) -> Addr {
    Addr::V6([0x20, 1, 0xd, 0xb8, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, host])
}

/// An address and a port.
pub fn end(addr: Addr, port: u16) -> Endpoint {
    Endpoint { addr, port }
}
