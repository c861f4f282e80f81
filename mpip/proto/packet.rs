// SPDX-License-Identifier: GPL-2.0

//! IP packets that carry TCP or UDP: reading, rewriting and building them.
//!
//! Everything works on a slice that starts at the IP header. A packet is only
//! looked at when it is plain: no fragment, no IPv6 extension header.

use crate::proto::addr::Addr;
use crate::proto::addr::Endpoint;
use crate::proto::addr::Tuple;
use crate::proto::wrap::Place;
use crate::proto::wrap::SYN_OPTIONS;
use core::ops::Range;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Length of a TCP header without options.
pub const TCP_HEADER_LEN: usize = 20;
/// Length of the longest TCP header.
pub const TCP_HEADER_MAX: usize = 60;
/// Length of a UDP header.
pub const UDP_HEADER_LEN: usize = 8;

/// TCP flag FIN.
pub const FIN: u8 = 0x01;
/// TCP flag SYN.
pub const SYN: u8 = 0x02;
/// TCP flag RST.
pub const RST: u8 = 0x04;
/// TCP flag PSH.
pub const PSH: u8 = 0x08;
/// TCP flag ACK.
pub const ACK: u8 = 0x10;

/// Fields of a TCP header.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
}

/// What the headers of a packet say.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// 4 or 6.
    pub family: u8,
    /// IP protocol number.
    pub proto: u8,
    /// Source; port 0 for ICMP.
    pub src: Endpoint,
    /// Destination; port 0 for ICMP.
    pub dst: Endpoint,
    /// Offset of the transport header, bytes.
    pub l4: usize,
    /// Offset of the payload, bytes.
    pub payload: usize,
    /// Offset behind the payload: for UDP that of its length, bytes.
    pub payload_end: usize,
    /// Offset behind the packet, bytes.
    pub end: usize,
    /// The TCP header.
    pub tcp: Option<TcpHeader>,
}

/// Why a packet could not be read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// This many bytes from the IP header on are needed.
    Need(usize),
    /// Not a packet to look at.
    Skip,
}

fn get<const N: usize>(head: &[u8], at: usize) -> Result<[u8; N], ParseError> {
    let end = at.saturating_add(N);
    head.get(at..end)
        .and_then(|b| b.try_into().ok())
        .ok_or(ParseError::Need(end))
}

/// A header of `N` bytes in a packet of `len` bytes. All of it at once: every request costs the
/// caller a round.
fn header<const N: usize>(head: &[u8], at: usize, len: usize) -> Result<&[u8; N], ParseError> {
    let found = head.get(at..).and_then(|rest| rest.first_chunk());
    let end = at.saturating_add(N);
    let error = if end > len {
        ParseError::Skip
    } else {
        ParseError::Need(end)
    };
    found.ok_or(error)
}

fn be16(head: &[u8], at: usize) -> Result<u16, ParseError> {
    get(head, at).map(u16::from_be_bytes)
}

impl Packet {
    /// Reads the headers in `head`, the first bytes of a packet of `len` bytes.
    // Else what it says is copied from frame to frame, for each packet of a session.
    #[inline(always)]
    pub fn parse(head: &[u8], len: usize, family: u8) -> Result<Packet, ParseError> {
        let mut packet = match family {
            4 => Packet::ipv4(head, len)?,
            _ => Packet::ipv6(head, len)?,
        };
        let l4 = packet.l4;
        match packet.proto {
            TCP => {
                let tcp: &[u8; 20] = header(head, l4, len)?;
                let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] =
                    *tcp;
                let doff = usize::from(offset >> 4).saturating_mul(4);
                packet.payload = l4.saturating_add(doff);
                if doff < 20 || packet.payload > len {
                    return Err(ParseError::Skip);
                }
                // Options are read as well.
                if head.len() < packet.payload {
                    return Err(ParseError::Need(packet.payload));
                }
                packet.tcp = Some(TcpHeader {
                    seq: u32::from_be_bytes([q0, q1, q2, q3]),
                    ack: u32::from_be_bytes([a0, a1, a2, a3]),
                    flags,
                    window: u16::from_be_bytes([w0, w1]),
                });
                packet.src.port = u16::from_be_bytes([s0, s1]);
                packet.dst.port = u16::from_be_bytes([d0, d1]);
            }
            UDP => {
                let udp: &[u8; 8] = header(head, l4, len)?;
                let [s0, s1, d0, d1, l0, l1, ..] = *udp;
                let udp_len = usize::from(u16::from_be_bytes([l0, l1]));
                packet.payload = l4.saturating_add(8);
                // A length of 0 stands for a jumbogram or a GSO packet: no surplus then.
                if udp_len != 0 {
                    packet.payload_end = l4.saturating_add(udp_len);
                }
                // GSO: the length is that of all segments; never beyond the packet.
                if packet.payload > packet.payload_end || packet.payload_end > len {
                    return Err(ParseError::Skip);
                }
                packet.src.port = u16::from_be_bytes([s0, s1]);
                packet.dst.port = u16::from_be_bytes([d0, d1]);
            }
            ICMP | ICMPV6 => {}
            _ => return Err(ParseError::Skip),
        }
        Ok(packet)
    }

    /// Reads an IPv4 header.
    fn ipv4(head: &[u8], len: usize) -> Result<Packet, ParseError> {
        let ip: &[u8; 20] = header(head, 0, usize::MAX)?;
        let [version_ihl, _, _, _, _, _, f0, f1, _, proto, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            *ip;
        let l4 = usize::from(version_ihl & 0x0f).saturating_mul(4);
        // More fragments, or an offset.
        let fragment = u16::from_be_bytes([f0, f1]) & 0x3fff != 0;
        if version_ihl >> 4 != 4 || l4 < 20 || fragment || l4 > len {
            return Err(ParseError::Skip);
        }
        let (src, dst) = (Addr::V4([s0, s1, s2, s3]), Addr::V4([d0, d1, d2, d3]));
        Ok(Packet::of(4, proto, src, dst, l4, len))
    }

    /// Reads an IPv6 header.
    fn ipv6(head: &[u8], len: usize) -> Result<Packet, ParseError> {
        let ip: &[u8; 40] = header(head, 0, usize::MAX)?;
        let [version, _, _, _, _, _, proto, ..] = *ip;
        if version >> 4 != 6 || len < 40 {
            return Err(ParseError::Skip);
        }
        let (src, dst) = (Addr::V6(get(ip, 8)?), Addr::V6(get(ip, 24)?));
        Ok(Packet::of(6, proto, src, dst, 40, len))
    }

    /// A packet of which only the IP header is known.
    const fn of(family: u8, proto: u8, src: Addr, dst: Addr, l4: usize, len: usize) -> Packet {
        Packet {
            family,
            proto,
            src: Endpoint { addr: src, port: 0 },
            dst: Endpoint { addr: dst, port: 0 },
            l4,
            payload: l4,
            payload_end: len,
            end: len,
            tcp: None,
        }
    }

    /// The tuple as the receiver of the packet sees it.
    pub fn rx_tuple(&self) -> Tuple {
        Tuple {
            proto: self.proto,
            local: self.dst,
            remote: self.src,
        }
    }

    /// The tuple as the sender of the packet sees it.
    pub fn tx_tuple(&self) -> Tuple {
        Tuple {
            proto: self.proto,
            local: self.src,
            remote: self.dst,
        }
    }

    /// Where the options of a TCP header are.
    pub fn options(&self) -> Range<usize> {
        self.field(TCP_HEADER_LEN)..self.payload
    }

    /// Where a field is whose place in the transport's header is `at`.
    pub fn field(&self, at: usize) -> usize {
        self.l4.saturating_add(at)
    }

    /// Bytes of the transport's header.
    pub fn header_len(&self) -> usize {
        self.payload.saturating_sub(self.l4)
    }

    /// Bytes of the transport's header and its payload, which is what UDP says its length is.
    pub fn l4_len(&self) -> usize {
        self.payload_end.saturating_sub(self.l4)
    }

    /// Bytes behind the payload.
    pub fn surplus_len(&self) -> usize {
        self.end.saturating_sub(self.payload_end)
    }

    /// Bytes of payload.
    pub fn payload_len(&self) -> usize {
        self.payload_end.saturating_sub(self.payload)
    }

    /// Sequence space that a TCP segment takes: its payload, SYN and FIN.
    pub fn seq_len(&self) -> u32 {
        let flags = self.tcp.map_or(0, |tcp| tcp.flags);
        (self.payload_len() as u32)
            .wrapping_add(u32::from(flags & SYN != 0))
            .wrapping_add(u32::from(flags & FIN != 0))
    }
}

/// Adds `bytes`, taken as 16-bit words, to a one's complement sum.
pub fn sum(mut acc: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    for word in words.by_ref() {
        if let [a, b] = word {
            acc = acc.wrapping_add(u64::from(u16::from_be_bytes([*a, *b])));
        }
    }
    if let [last] = words.remainder() {
        acc = acc.wrapping_add(u64::from(*last) << 8);
    }
    acc
}

/// Folds a one's complement sum to 16 bits.
pub fn fold(mut acc: u64) -> u16 {
    while acc > 0xffff {
        acc = (acc & 0xffff).wrapping_add(acc >> 16);
    }
    acc as u16
}

/// The one's complement sum of an address.
fn addr_sum(addr: &Addr) -> u64 {
    // As good as 16 bits at a time, after folding.
    match addr {
        Addr::V4(a) => u64::from(u32::from_be_bytes(*a)),
        Addr::V6(a) => sum(0, a),
    }
}

fn pseudo(src: &Addr, dst: &Addr, proto: u8, len: usize) -> u64 {
    addr_sum(src)
        .wrapping_add(addr_sum(dst))
        .wrapping_add(u64::from(proto))
        .wrapping_add(len as u64)
}

/// `!(!check - old + new)` (RFC 1624, equation 3).
fn update(check: u16, old: u64, new: u64) -> u16 {
    let old = fold(old);
    !fold(
        u64::from(!check)
            .wrapping_add(u64::from(!old))
            .wrapping_add(new),
    )
}

/// Writes `bytes` at an offset; nothing if they do not fit.
pub(super) fn put(head: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = head.get_mut(at..at.saturating_add(bytes.len())) {
        to.copy_from_slice(bytes);
    }
}

fn check_at(proto: u8) -> usize {
    if proto == TCP {
        16
    } else {
        6
    }
}

/// Changes the addresses and ports of `packet` in its headers `head`, which
/// reach to the payload at least. `partial` says that the checksum field holds
/// only the pseudo header's sum, which covers no ports.
pub fn rewrite(head: &mut [u8], packet: &Packet, src: &Endpoint, dst: &Endpoint, partial: bool) {
    let addrs_old = addr_sum(&packet.src.addr).wrapping_add(addr_sum(&packet.dst.addr));
    let addrs_new = addr_sum(&src.addr).wrapping_add(addr_sum(&dst.addr));
    let l4 = packet.l4;
    if packet.family == 4 {
        put(head, 12, src.addr.as_bytes());
        put(head, 16, dst.addr.as_bytes());
        if let Ok(check) = be16(head, 10) {
            put(head, 10, &update(check, addrs_old, addrs_new).to_be_bytes());
        }
    } else {
        put(head, 8, src.addr.as_bytes());
        put(head, 24, dst.addr.as_bytes());
    }
    put(head, l4, &src.port.to_be_bytes());
    put(head, l4.saturating_add(2), &dst.port.to_be_bytes());

    let at = l4.saturating_add(check_at(packet.proto));
    let Ok(check) = be16(head, at) else { return };
    let new = if partial {
        // The seed is the sum itself, not its complement.
        !update(!check, addrs_old, addrs_new)
    } else if packet.proto == UDP && check == 0 {
        // No checksum in use.
        return;
    } else {
        let ports_old = u64::from(packet.src.port).wrapping_add(u64::from(packet.dst.port));
        let ports_new = u64::from(src.port).wrapping_add(u64::from(dst.port));
        let new = update(
            check,
            addrs_old.wrapping_add(ports_old),
            addrs_new.wrapping_add(ports_new),
        );
        if packet.proto == UDP && new == 0 {
            0xffff
        } else {
            new
        }
    };
    put(head, at, &new.to_be_bytes());
}

/// Puts an option in front of those of a TCP segment without data, behind which `bytes` has room
/// for it. The length of IP and the checksum are left to the caller. False without that room.
pub fn insert_tcp_option<const N: usize>(
    bytes: &mut [u8],
    packet: &Packet,
    option: &[u8; N],
) -> bool {
    let options = packet.options();
    let fixed = options.start;
    if fixed > options.end || bytes.len() < options.end.saturating_add(N) {
        return false;
    }
    bytes.copy_within(options, fixed.saturating_add(N));
    put(bytes, fixed, option);
    // The length of the header, in words of four bytes, is in the upper half of this byte.
    if let Some(offset) = bytes.get_mut(packet.field(12)) {
        *offset = offset.wrapping_add(((N / 4) << 4) as u8);
    }
    true
}

/// Writes the IP length of a packet of `len` bytes and mends the header's
/// checksum.
pub fn set_ip_len(head: &mut [u8], family: u8, len: usize) {
    if family == 4 {
        let old = be16(head, 2).unwrap_or(0);
        put(head, 2, &(len as u16).to_be_bytes());
        if let Ok(check) = be16(head, 10) {
            let new = update(check, u64::from(old), u64::from(len as u16));
            put(head, 10, &new.to_be_bytes());
        }
    } else {
        put(head, 4, &(len.saturating_sub(40) as u16).to_be_bytes());
    }
}

/// The time to live, or hop limit, in an IP header.
pub fn hops(head: &[u8], family: u8) -> u8 {
    head.get(hops_at(family)).copied().unwrap_or(0)
}

/// Where it is.
const fn hops_at(family: u8) -> usize {
    match family {
        4 => 8,
        _ => 7,
    }
}

/// Writes the time to live, or hop limit, and mends the header's checksum.
pub fn set_hops(head: &mut [u8], family: u8, hops: u8) {
    let at = hops_at(family);
    let word = |head: &[u8]| u64::from(be16(head, at).unwrap_or(0));
    let old = word(head);
    put(head, at, &[hops]);
    if family == 4 {
        if let Ok(check) = be16(head, 10) {
            let new = update(check, old, word(head));
            put(head, 10, &new.to_be_bytes());
        }
    }
}

/// Writes length, protocol and addresses into an IP header of `l4` bytes.
pub(super) fn set_ip(head: &mut [u8], l4: usize, len: usize, proto: u8, src: &Addr, dst: &Addr) {
    if src.family() == 4 {
        put(head, 2, &(len as u16).to_be_bytes());
        put(head, 9, &[proto, 0, 0]);
        put(head, 12, src.as_bytes());
        put(head, 16, dst.as_bytes());
        let check = !fold(sum(0, head.get(..l4).unwrap_or(&[])));
        put(head, 10, &check.to_be_bytes());
    } else {
        put(head, 4, &(len.saturating_sub(l4) as u16).to_be_bytes());
        put(head, 6, &[proto]);
        put(head, 8, src.as_bytes());
        put(head, 24, dst.as_bytes());
    }
}

/// Sets "don't fragment" on an IPv4 packet.
pub fn set_dont_fragment(head: &mut [u8], family: u8) {
    if family != 4 {
        return;
    }
    let Ok(old) = be16(head, 6) else { return };
    if old & 0x4000 != 0 {
        return;
    }
    put(head, 6, &(old | 0x4000).to_be_bytes());
    if let Ok(check) = be16(head, 10) {
        let new = update(check, u64::from(old), u64::from(old | 0x4000));
        put(head, 10, &new.to_be_bytes());
    }
}

/// Computes and writes the transport checksum of a whole linear packet.
/// `covered` is the offset behind what it covers.
pub fn set_checksum(bytes: &mut [u8], packet: &Packet, covered: usize) {
    let at = packet.l4.saturating_add(check_at(packet.proto));
    put(bytes, at, &[0, 0]);
    let Some(segment) = bytes.get(packet.l4..covered) else {
        return;
    };
    let acc = pseudo(
        &packet.src.addr,
        &packet.dst.addr,
        packet.proto,
        segment.len(),
    );
    let mut check = !fold(sum(acc, segment));
    if packet.proto == UDP && check == 0 {
        check = 0xffff;
    }
    put(bytes, at, &check.to_be_bytes());
}

/// Length of a TCP carrier of a CM of `cm` bytes, without the IP header.
pub const fn tcp_carrier_len(cm: usize) -> usize {
    20usize.saturating_add(cm)
}

/// Hop limit of packets of our own.
const TTL: u8 = 64;

/// Length of the IP header of packets of our own, bytes.
pub const fn ip_header_len(family: u8) -> usize {
    if family == 4 {
        20
    } else {
        40
    }
}

fn ip_header(out: &mut [u8], src: &Addr, dst: &Addr, proto: u8) {
    let len = out.len();
    if let Addr::V4(_) = src {
        put(out, 0, &[0x45, 0]);
        put(out, 2, &(len as u16).to_be_bytes());
        // No identification, "don't fragment" (RFC 6864).
        put(out, 4, &[0, 0, 0x40, 0, TTL, proto, 0, 0]);
        put(out, 12, src.as_bytes());
        put(out, 16, dst.as_bytes());
        let check = !fold(sum(0, out.get(..20).unwrap_or(&[])));
        put(out, 10, &check.to_be_bytes());
    } else {
        put(out, 0, &[0x60, 0, 0, 0]);
        put(out, 4, &(len.saturating_sub(40) as u16).to_be_bytes());
        put(out, 6, &[proto, TTL]);
        put(out, 8, src.as_bytes());
        put(out, 24, dst.as_bytes());
    }
}

/// Writes a TCP segment that only carries a CM: `seq` is such that all of it
/// lies below what its receiver expects, which makes a plain host drop it. It
/// bears no timestamp, so that it cannot disturb the receiver's.
///
/// `out` must have the length of IP header and [`tcp_carrier_len`].
pub fn tcp_carrier(out: &mut [u8], tuple: &Tuple, seq: u32, ack: u32, window: u16, cm: &[u8]) {
    let l4 = ip_header_len(tuple.local.addr.family());
    ip_header(out, &tuple.local.addr, &tuple.remote.addr, TCP);
    put(out, l4, &tuple.local.port.to_be_bytes());
    put(out, l4.saturating_add(2), &tuple.remote.port.to_be_bytes());
    put(out, l4.saturating_add(4), &seq.to_be_bytes());
    put(out, l4.saturating_add(8), &ack.to_be_bytes());
    put(out, l4.saturating_add(12), &[0x50, ACK]);
    put(out, l4.saturating_add(14), &window.to_be_bytes());
    put(out, l4.saturating_add(20), cm);
    finish(out, tuple, TCP, l4);
}

/// Writes an RST of a connection, as the end `tuple.local` would send it. It has no ACK: the
/// sequence number decides (RFC 9293, section 3.10.7.4).
///
/// `out` must have the length of IP header and a TCP header without options.
pub fn tcp_reset(out: &mut [u8], tuple: &Tuple, seq: u32) {
    let l4 = ip_header_len(tuple.local.addr.family());
    ip_header(out, &tuple.local.addr, &tuple.remote.addr, TCP);
    put(out, l4, &tuple.local.port.to_be_bytes());
    put(out, l4.saturating_add(2), &tuple.remote.port.to_be_bytes());
    put(out, l4.saturating_add(4), &seq.to_be_bytes());
    put(out, l4.saturating_add(8), &[0; 4]);
    put(out, l4.saturating_add(12), &[0x50, RST, 0, 0, 0, 0, 0, 0]);
    finish(out, tuple, TCP, l4);
}

/// Writes a UDP datagram that is a CM. `out` must have the length of IP header, UDP header and CM.
pub fn udp_message(out: &mut [u8], tuple: &Tuple, cm: &[u8]) {
    let l4 = ip_header_len(tuple.local.addr.family());
    ip_header(out, &tuple.local.addr, &tuple.remote.addr, UDP);
    put(out, l4, &tuple.local.port.to_be_bytes());
    put(out, l4.saturating_add(2), &tuple.remote.port.to_be_bytes());
    let len = out.len().saturating_sub(l4);
    put(out, l4.saturating_add(4), &(len as u16).to_be_bytes());
    put(out, l4.saturating_add(8), cm);
    finish(out, tuple, UDP, l4);
}

/// Length of [`tcp_message`] without the IP header, bytes.
pub const fn tcp_message_len(cm: usize, place: &Place) -> usize {
    let options = if place.flags & SYN != 0 {
        SYN_OPTIONS.len()
    } else {
        0
    };
    20usize.saturating_add(options).saturating_add(cm)
}

/// Writes a segment of a made-up connection that is a CM.
pub fn tcp_message(out: &mut [u8], tuple: &Tuple, place: &Place, cm: &[u8]) {
    let l4 = ip_header_len(tuple.local.addr.family());
    let header = tcp_message_len(0, place);
    ip_header(out, &tuple.local.addr, &tuple.remote.addr, TCP);
    put(out, l4, &tuple.local.port.to_be_bytes());
    put(out, l4.saturating_add(2), &tuple.remote.port.to_be_bytes());
    put(out, l4.saturating_add(4), &place.seq.to_be_bytes());
    put(out, l4.saturating_add(8), &place.ack.to_be_bytes());
    let words = (header / 4) as u8;
    put(
        out,
        l4.saturating_add(12),
        &[words << 4, place.flags, 0xff, 0xff],
    );
    if place.flags & SYN != 0 {
        put(out, l4.saturating_add(20), &SYN_OPTIONS);
    }
    put(out, l4.saturating_add(header), cm);
    finish(out, tuple, TCP, l4);
}

/// Writes an empty UDP datagram with `surplus` behind it (RFC 9868).
///
/// With `poison` its checksum is wrong on purpose: on the tuple of a session a
/// plain host would hand an empty datagram to the application, but drops one
/// with a wrong checksum. `out` must have the length of all of it.
pub fn udp_carrier(out: &mut [u8], tuple: &Tuple, surplus: &[u8], poison: bool) {
    let l4 = ip_header_len(tuple.local.addr.family());
    ip_header(out, &tuple.local.addr, &tuple.remote.addr, UDP);
    put(out, l4, &tuple.local.port.to_be_bytes());
    put(out, l4.saturating_add(2), &tuple.remote.port.to_be_bytes());
    put(out, l4.saturating_add(4), &8u16.to_be_bytes());
    put(out, l4.saturating_add(8), surplus);
    let covered = l4.saturating_add(8);
    finish_covered(out, tuple, UDP, l4, covered);
    if poison {
        let at = l4.saturating_add(6);
        let check = be16(out, at).unwrap_or(0);
        let wrong = match check ^ 0x5a5a {
            // 0 would mean "no checksum".
            0 => 0x1234,
            other => other,
        };
        put(out, at, &wrong.to_be_bytes());
    }
}

fn finish(out: &mut [u8], tuple: &Tuple, proto: u8, l4: usize) {
    let covered = out.len();
    finish_covered(out, tuple, proto, l4, covered);
}

fn finish_covered(out: &mut [u8], tuple: &Tuple, proto: u8, l4: usize, covered: usize) {
    let packet = Packet {
        family: tuple.local.addr.family(),
        proto,
        src: tuple.local,
        dst: tuple.remote,
        l4,
        payload: l4,
        payload_end: covered,
        end: out.len(),
        tcp: None,
    };
    set_checksum(out, &packet, covered);
}

/// Replaces four bytes of a TCP header; see [`replace_tcp_word`].
pub fn replace_tcp_long(head: &mut [u8], packet: &Packet, at: usize, value: u32, partial: bool) {
    replace_tcp_word(head, packet, at, (value >> 16) as u16, partial);
    replace_tcp_word(head, packet, at.saturating_add(2), value as u16, partial);
}

/// Replaces two bytes of a TCP header, at any offset, and mends the checksum. `partial` as in
/// [`rewrite`]: the field then covers nothing of the header.
pub fn replace_tcp_word(head: &mut [u8], packet: &Packet, at: usize, word: u16, partial: bool) {
    let Ok(old) = be16(head, at) else { return };
    put(head, at, &word.to_be_bytes());
    if partial {
        return;
    }
    // At an odd offset the two bytes belong to different words: their sum is that of the swapped
    // word.
    let odd = at.wrapping_sub(packet.l4) & 1 == 1;
    let order = |w: u16| u64::from(if odd { w.swap_bytes() } else { w });
    let check_at = packet.l4.saturating_add(16);
    if let Ok(check) = be16(head, check_at) {
        let new = update(check, order(old), order(word));
        put(head, check_at, &new.to_be_bytes());
    }
}
