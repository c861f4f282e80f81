// SPDX-License-Identifier: GPL-2.0

//! Rewriting against full recomputation of the checksums.

use crate::common::config;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// The folded one's complement sum, computed another way than the code under test does.
fn ones(bytes: &[u8]) -> u16 {
    let mut sum = 0u16;
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        let (next, carry) = sum.overflowing_add(word);
        sum = next + u16::from(carry);
    }
    sum
}

fn pseudo(src: &Addr, dst: &Addr, proto: u8, len: usize) -> Vec<u8> {
    let mut out = [src.as_bytes(), dst.as_bytes()].concat();
    out.extend((len as u32).to_be_bytes());
    out.extend([0, 0, 0, proto]);
    out
}

/// Where the transport checksum stands.
fn check_at(proto: u8, l4: usize) -> usize {
    l4 + if proto == TCP { 16 } else { 6 }
}

/// What the checksums of a packet are.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Check {
    /// Complete.
    Full,
    /// The sum of the pseudo header, for the device to complete.
    Partial,
    /// UDP without one.
    None,
}

/// A packet to be made.
#[derive(Clone, Debug)]
struct Plan {
    v6: bool,
    proto: u8,
    src: ([u8; 16], u16),
    dst: ([u8; 16], u16),
    ip_options: usize,
    tcp_options: usize,
    payload: Vec<u8>,
    surplus: Vec<u8>,
    check: Check,
    fragment: bool,
}

fn addr(v6: bool, bytes: &[u8; 16]) -> Addr {
    Addr::from_bytes(if v6 { bytes } else { &bytes[..4] }).unwrap()
}

fn plan() -> impl Strategy<Value = Plan> {
    let end = || (any::<[u8; 16]>(), any::<u16>());
    let check = prop_oneof![Just(Check::Full), Just(Check::Partial), Just(Check::None)];
    let shape = (
        any::<bool>(),
        any::<bool>(),
        0..11usize,
        0..11usize,
        any::<bool>(),
    );
    let data = (vec(any::<u8>(), 0..64), vec(any::<u8>(), 0..20));
    (shape, end(), end(), data, check).prop_map(|(shape, src, dst, (payload, surplus), check)| {
        let (v6, tcp, ip_options, tcp_options, fragment) = shape;
        Plan {
            v6,
            proto: if tcp { TCP } else { UDP },
            src,
            dst,
            ip_options: if v6 { 0 } else { ip_options },
            tcp_options: if tcp { tcp_options } else { 0 },
            payload,
            surplus: if tcp { Vec::new() } else { surplus },
            // Only IPv4 knows datagrams without a checksum, but nothing here depends on that.
            check: if tcp && check == Check::None {
                Check::Full
            } else {
                check
            },
            fragment,
        }
    })
}

impl Plan {
    fn ends(&self) -> (Endpoint, Endpoint) {
        let end = |(bytes, port): &([u8; 16], u16)| Endpoint {
            addr: addr(self.v6, bytes),
            port: *port,
        };
        (end(&self.src), end(&self.dst))
    }

    fn l4(&self) -> usize {
        if self.v6 {
            40
        } else {
            20 + 4 * self.ip_options
        }
    }

    /// Bytes that the transport checksum covers.
    fn covered(&self) -> usize {
        let header = if self.proto == TCP {
            20 + 4 * self.tcp_options
        } else {
            8
        };
        header + self.payload.len()
    }

    fn build(&self) -> Vec<u8> {
        let (src, dst) = self.ends();
        let mut l4 = Vec::new();
        l4.extend(src.port.to_be_bytes());
        l4.extend(dst.port.to_be_bytes());
        if self.proto == TCP {
            l4.extend([1, 2, 3, 4, 5, 6, 7, 8]);
            l4.push(((5 + self.tcp_options) as u8) << 4);
            l4.extend([ACK, 0x10, 0, 0, 0, 0, 0]);
            l4.extend(vec![1; 4 * self.tcp_options]);
        } else {
            l4.extend((self.covered() as u16).to_be_bytes());
            l4.extend([0, 0]);
        }
        l4.extend(&self.payload);
        let mut out = Vec::new();
        let len = self.l4() + l4.len() + self.surplus.len();
        if self.v6 {
            out.extend([0x60, 0, 0, 0]);
            out.extend(((len - 40) as u16).to_be_bytes());
            out.extend([self.proto, 64]);
        } else {
            out.extend([0x40 | (5 + self.ip_options) as u8, 0]);
            out.extend((len as u16).to_be_bytes());
            let flags = if self.fragment { 0x40 } else { 0 };
            out.extend([0xab, 0xcd, flags, 0, 64, self.proto, 0, 0]);
        }
        out.extend(src.addr.as_bytes());
        out.extend(dst.addr.as_bytes());
        out.extend(vec![1; 4 * self.ip_options]);
        if !self.v6 {
            let check = !ones(&out);
            out[10..12].copy_from_slice(&check.to_be_bytes());
        }
        let mut sum = pseudo(&src.addr, &dst.addr, self.proto, l4.len());
        if self.check == Check::Full {
            sum.extend(&l4);
        }
        let check = match self.check {
            Check::Full => match !ones(&sum) {
                0 if self.proto == UDP => 0xffff,
                check => check,
            },
            Check::Partial => ones(&sum),
            Check::None => 0,
        };
        let at = check_at(self.proto, 0);
        l4[at..at + 2].copy_from_slice(&check.to_be_bytes());
        out.extend(l4);
        out.extend(&self.surplus);
        out
    }

    /// Whether the checksums of `bytes`, a packet as planned but maybe changed, are right.
    fn verify(&self, bytes: &[u8]) -> Result<(), TestCaseError> {
        let l4 = self.l4();
        let at = if self.v6 { (8, 24, 40) } else { (12, 16, 20) };
        let src = Addr::from_bytes(&bytes[at.0..at.1]).unwrap();
        let dst = Addr::from_bytes(&bytes[at.1..at.2]).unwrap();
        if !self.v6 {
            prop_assert_eq!(ones(&bytes[..l4]), 0xffff, "IP header");
        }
        let at = check_at(self.proto, l4);
        let check = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let mut sum = pseudo(&src, &dst, self.proto, self.covered());
        match self.check {
            Check::Full => {
                sum.extend(&bytes[l4..l4 + self.covered()]);
                prop_assert_eq!(ones(&sum), 0xffff, "transport");
                prop_assert!(self.proto == TCP || check != 0);
            }
            // Both zeros of one's complement are the same seed.
            Check::Partial => prop_assert_eq!(ones(&sum) % 0xffff, check % 0xffff, "seed"),
            Check::None => prop_assert_eq!(check, 0),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn parse_reads_what_was_built(plan in plan()) {
        let bytes = plan.build();
        let family = if plan.v6 { 6 } else { 4 };
        let packet = Packet::parse(&bytes, bytes.len(), family).unwrap();
        let (src, dst) = plan.ends();
        prop_assert_eq!((packet.src, packet.dst), (src, dst));
        prop_assert_eq!((packet.proto, packet.l4, packet.end), (plan.proto, plan.l4(), bytes.len()));
        prop_assert_eq!(packet.payload_len(), plan.payload.len());
        prop_assert_eq!(&bytes[packet.payload..packet.payload_end], &plan.payload[..]);
        prop_assert_eq!(packet.seq_len(), plan.payload.len() as u32);
        prop_assert_eq!(packet.tx_tuple(), packet.rx_tuple().reversed());
        plan.verify(&bytes)?;
    }

    #[test]
    fn rewrite_keeps_checksums(
        plan in plan(),
        src in (any::<[u8; 16]>(), any::<u16>()),
        dst in (any::<[u8; 16]>(), any::<u16>()),
    ) {
        let mut bytes = plan.build();
        let original = bytes.clone();
        let family = if plan.v6 { 6 } else { 4 };
        let packet = Packet::parse(&bytes, bytes.len(), family).unwrap();
        let other = Plan { src, dst, ..plan.clone() };
        let (src, dst) = other.ends();
        let partial = plan.check == Check::Partial;
        rewrite(&mut bytes[..packet.payload], &packet, &src, &dst, partial);
        other.verify(&bytes)?;
        let now = Packet::parse(&bytes, bytes.len(), family).unwrap();
        prop_assert_eq!((now.src, now.dst), (src, dst));
        prop_assert_eq!(&bytes[packet.payload..], &original[packet.payload..]);
        // And back.
        rewrite(&mut bytes[..now.payload], &now, &packet.src, &packet.dst, partial);
        plan.verify(&bytes)?;
        let at = check_at(plan.proto, plan.l4());
        bytes[at..at + 2].copy_from_slice(&original[at..at + 2]);
        if !plan.v6 {
            bytes[10..12].copy_from_slice(&original[10..12]);
        }
        prop_assert_eq!(bytes, original);
    }

    #[test]
    fn lengths_and_flags_keep_checksums(plan in plan(), more in 0..1000usize) {
        let mut bytes = plan.build();
        let family = if plan.v6 { 6 } else { 4 };
        let len = bytes.len() + more;
        set_ip_len(&mut bytes, family, len);
        plan.verify(&bytes)?;
        let (at, extra) = if plan.v6 { (4, 40) } else { (2, 0) };
        let written = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        prop_assert_eq!(usize::from(written) + extra, len);
        set_dont_fragment(&mut bytes, family);
        plan.verify(&bytes)?;
        prop_assert!(plan.v6 || bytes[6] & 0x40 != 0);
        let once = bytes.clone();
        set_dont_fragment(&mut bytes, family);
        prop_assert_eq!(bytes, once);
    }

    #[test]
    fn a_word_of_a_header_keeps_the_checksum(plan in plan(), at in 0..39usize, word in any::<u16>()) {
        let plan = Plan {
            proto: TCP,
            surplus: Vec::new(),
            tcp_options: plan.tcp_options.max(5),
            check: if plan.check == Check::None { Check::Full } else { plan.check },
            ..plan
        };
        // Ports, the data offset and the checksum itself are nobody's to replace.
        let at = match at {
            0..=3 => at + 4,
            11..=13 | 15..=17 => 18,
            at => at,
        };
        let mut bytes = plan.build();
        let family = if plan.v6 { 6 } else { 4 };
        let packet = Packet::parse(&bytes, bytes.len(), family).unwrap();
        let at = packet.l4 + at;
        let partial = plan.check == Check::Partial;
        replace_tcp_word(&mut bytes[..packet.payload], &packet, at, word, partial);
        prop_assert_eq!(&bytes[at..at + 2], &word.to_be_bytes());
        plan.verify(&bytes)?;
    }

    #[test]
    fn four_bytes_of_a_header_keep_the_checksum(
        plan in plan(),
        at in 0..37usize,
        value in any::<u32>(),
    ) {
        let plan = Plan {
            proto: TCP,
            surplus: Vec::new(),
            tcp_options: plan.tcp_options.max(5),
            check: if plan.check == Check::None { Check::Full } else { plan.check },
            ..plan
        };
        // Ports, the data offset and the checksum itself are nobody's to replace.
        let at = match at {
            0..=3 => at + 4,
            9..=17 => at + 9,
            at => at,
        };
        let mut bytes = plan.build();
        let before = bytes.clone();
        let family = if plan.v6 { 6 } else { 4 };
        let packet = Packet::parse(&bytes, bytes.len(), family).unwrap();
        let at = packet.l4 + at;
        let partial = plan.check == Check::Partial;
        replace_tcp_long(&mut bytes[..packet.payload], &packet, at, value, partial);
        prop_assert_eq!(&bytes[at..at + 4], &value.to_be_bytes());
        plan.verify(&bytes)?;
        // Nothing else has changed, the checksum only if it covers the header.
        let check = check_at(TCP, packet.l4);
        let mut others = bytes.clone();
        others[at..at + 4].copy_from_slice(&before[at..at + 4]);
        if !partial {
            others[check..check + 2].copy_from_slice(&before[check..check + 2]);
        }
        prop_assert_eq!(&others, &before);
        // And back.
        let old = u32::from_be_bytes(before[at..at + 4].try_into().unwrap());
        replace_tcp_long(&mut bytes[..packet.payload], &packet, at, old, partial);
        plan.verify(&bytes)?;
    }

    #[test]
    fn an_option_goes_in_front_of_the_others(plan in plan(), option in any::<[u8; 12]>()) {
        let plan = Plan {
            proto: TCP,
            tcp_options: plan.tcp_options.min(7),
            payload: Vec::new(),
            surplus: Vec::new(),
            ..plan
        };
        let before = plan.build();
        let family = if plan.v6 { 6 } else { 4 };
        let packet = Packet::parse(&before, before.len(), family).unwrap();
        let mut after = before.clone();
        prop_assert!(!insert_tcp_option(&mut after, &packet, &option));
        prop_assert_eq!(&after, &before);
        after.extend([0xee; 12]);
        prop_assert!(insert_tcp_option(&mut after, &packet, &option));
        let len = after.len();
        set_ip_len(&mut after, family, len);
        set_checksum(&mut after, &packet, len);
        let longer = Packet::parse(&after, len, family).unwrap();
        prop_assert_eq!(longer.payload, packet.payload + 12);
        prop_assert_eq!(longer.tcp, packet.tcp);
        let options = &after[longer.options()];
        prop_assert_eq!(&options[..12], &option[..]);
        prop_assert_eq!(&options[12..], &before[packet.options()]);
    }

    #[test]
    fn set_checksum_agrees(plan in plan()) {
        let plan = Plan { check: Check::Full, ..plan };
        let bytes = plan.build();
        let family = if plan.v6 { 6 } else { 4 };
        let packet = Packet::parse(&bytes, bytes.len(), family).unwrap();
        let mut again = bytes.clone();
        let at = check_at(plan.proto, plan.l4());
        again[at] ^= 0x55;
        set_checksum(&mut again, &packet, packet.payload_end);
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn parse_never_panics(mut bytes in vec(any::<u8>(), 0..120), len in 0..200usize, kind in 0..6u8) {
        // Most random bytes are refused at once: make some of them look right.
        let family = if kind % 2 == 0 { 4 } else { 6 };
        if let Some(first) = bytes.first_mut() {
            match kind / 2 {
                0 => {}
                1 => *first = if family == 4 { 0x45 } else { 0x60 },
                _ => *first = (family << 4) | (*first & 0x0f),
            }
        }
        for at in [6, 9] {
            if let Some(byte) = bytes.get_mut(at).filter(|_| kind > 1) {
                *byte = match (at, family) {
                    (6, 4) => 0,
                    (_, _) => if *byte % 2 == 0 { TCP } else { UDP },
                };
            }
        }
        match Packet::parse(&bytes, len, family) {
            Ok(packet) => {
                prop_assert!(packet.l4 <= packet.payload && packet.payload <= packet.payload_end);
                prop_assert!(packet.payload_end <= packet.end && packet.end == len);
                let ends = (packet.src, packet.dst);
                if packet.proto == TCP || packet.proto == UDP {
                    rewrite(&mut bytes, &packet, &ends.1, &ends.0, false);
                }
                set_ip_len(&mut bytes, family, len);
                set_dont_fragment(&mut bytes, family);
            }
            Err(ParseError::Need(n)) => prop_assert!(n > bytes.len()),
            Err(ParseError::Skip) => {}
        }
    }

    #[test]
    fn a_truncated_packet_asks_for_more(plan in plan(), cut in 0..200usize) {
        let bytes = plan.build();
        let family = if plan.v6 { 6 } else { 4 };
        let whole = Packet::parse(&bytes, bytes.len(), family).unwrap();
        let mut head = cut.min(bytes.len());
        // Three rounds of pulling are enough.
        for _ in 0..3 {
            match Packet::parse(&bytes[..head], bytes.len(), family) {
                Ok(packet) => {
                    prop_assert_eq!(packet, whole);
                    return Ok(());
                }
                Err(ParseError::Need(n)) => {
                    prop_assert!(head < n && n <= bytes.len());
                    head = n;
                }
                Err(ParseError::Skip) => prop_assert!(false, "skipped"),
            }
        }
        let last = Packet::parse(&bytes[..head], bytes.len(), family);
        prop_assert_eq!(last, Ok(whole), "after three rounds");
    }

    #[test]
    fn a_shortened_packet_is_skipped_or_read(plan in plan(), len in 0..200usize) {
        // The length is that of the packet: what the headers promise may not be there.
        let bytes = plan.build();
        let len = len.min(bytes.len());
        let family = if plan.v6 { 6 } else { 4 };
        if let Ok(packet) = Packet::parse(&bytes[..len], len, family) {
            prop_assert!(packet.payload_end <= len);
        }
    }

    #[test]
    fn carriers_are_right(
        v6 in any::<bool>(),
        src in (any::<[u8; 16]>(), any::<u16>()),
        dst in (any::<[u8; 16]>(), any::<u16>()),
        cm in vec(any::<u8>(), 1..100),
        numbers in any::<(u32, u32, u16)>(),
    ) {
        let end = |(bytes, port): ([u8; 16], u16)| Endpoint { addr: addr(v6, &bytes), port };
        let (local, remote) = (end(src), end(dst));
        let family = if v6 { 6 } else { 4 };
        let ip = ip_header_len(family);
        let ip_ok = |out: &[u8]| v6 || ones(&out[..20]) == 0xffff;

        let tuple = Tuple { proto: TCP, local, remote };
        let mut out = vec![0; ip + tcp_carrier_len(cm.len())];
        tcp_carrier(&mut out, &tuple, numbers.0, numbers.1, numbers.2, &cm);
        let packet = Packet::parse(&out, out.len(), family).unwrap();
        prop_assert_eq!(packet.tx_tuple(), tuple);
        prop_assert_eq!(&out[packet.payload..], &cm[..]);
        let tcp = packet.tcp.unwrap();
        prop_assert_eq!((tcp.seq, tcp.ack, tcp.window, tcp.flags), (numbers.0, numbers.1, numbers.2, ACK));
        let mut sum = pseudo(&local.addr, &remote.addr, TCP, out.len() - ip);
        sum.extend(&out[ip..]);
        prop_assert!(ip_ok(&out) && ones(&sum) == 0xffff);

        let mut out = vec![0; ip + 20];
        tcp_reset(&mut out, &tuple, numbers.0);
        let packet = Packet::parse(&out, out.len(), family).unwrap();
        prop_assert_eq!(packet.tx_tuple(), tuple);
        let tcp = packet.tcp.unwrap();
        prop_assert_eq!((tcp.seq, tcp.ack, tcp.flags), (numbers.0, 0, RST));
        let mut sum = pseudo(&local.addr, &remote.addr, TCP, 20);
        sum.extend(&out[ip..]);
        prop_assert!(ip_ok(&out) && ones(&sum) == 0xffff);

        for poison in [false, true] {
            let tuple = Tuple { proto: UDP, local, remote };
            let mut out = vec![0; ip + 8 + cm.len()];
            udp_carrier(&mut out, &tuple, &cm, poison);
            let packet = Packet::parse(&out, out.len(), family).unwrap();
            prop_assert_eq!(packet.tx_tuple(), tuple);
            prop_assert_eq!(packet.payload_len(), 0);
            prop_assert_eq!(&out[packet.payload_end..], &cm[..]);
            let mut sum = pseudo(&local.addr, &remote.addr, UDP, 8);
            sum.extend(&out[ip..ip + 8]);
            prop_assert!(ip_ok(&out));
            prop_assert_eq!(ones(&sum) == 0xffff, !poison);
            prop_assert!(out[ip + 6..ip + 8] != [0, 0], "no checksum would be as good as a right one");
        }
    }
}

#[test]
fn acknowledgement_and_timestamp_are_replaced() {
    // As a kept segment is brought up to date: an even offset, and an odd one behind a NOP.
    let plan = Plan {
        v6: false,
        proto: TCP,
        src: ([1; 16], 1000),
        dst: ([2; 16], 80),
        ip_options: 0,
        tcp_options: 3,
        payload: vec![7; 33],
        surplus: Vec::new(),
        check: Check::Full,
        fragment: false,
    };
    let mut bytes = plan.build();
    // The options are NOPs: a time stamp at the first odd offset.
    bytes[41..51].copy_from_slice(&[8, 10, 1, 2, 3, 4, 0, 0, 0, 0]);
    let packet = Packet::parse(&bytes, bytes.len(), 4).unwrap();
    let end = packet.payload_end;
    set_checksum(&mut bytes, &packet, end);
    plan.verify(&bytes).unwrap();
    for (ack, stamp) in [
        (0xffff_ffff, 0),
        (0, 0xffff_0000),
        (0x1234_5678, 0x0001_ffff),
    ] {
        replace_tcp_long(&mut bytes, &packet, packet.l4 + 8, ack, false);
        replace_tcp_long(&mut bytes, &packet, packet.l4 + 23, stamp, false);
        let now = Packet::parse(&bytes, bytes.len(), 4).unwrap();
        assert_eq!(now.tcp.unwrap().ack, ack);
        assert_eq!(bytes[43..47], stamp.to_be_bytes());
        assert_eq!((bytes[40], bytes[51]), (1, 1));
        plan.verify(&bytes).unwrap();
    }
}

#[test]
fn fragments_and_extension_headers_are_skipped() {
    let base = Plan {
        v6: false,
        proto: UDP,
        src: ([1; 16], 1),
        dst: ([2; 16], 2),
        ip_options: 0,
        tcp_options: 0,
        payload: vec![0; 20],
        surplus: Vec::new(),
        check: Check::Full,
        fragment: false,
    };
    let mut bytes = base.build();
    for fragment in [0x2000u16, 0x0001, 0x1fff, 0x3fff] {
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        assert_eq!(Packet::parse(&bytes, bytes.len(), 4), Err(ParseError::Skip));
    }
    let plan = Plan { v6: true, ..base };
    let mut bytes = plan.build();
    for next in [0, 43, 44, 50, 51, 60, 135] {
        bytes[6] = next;
        assert_eq!(Packet::parse(&bytes, bytes.len(), 6), Err(ParseError::Skip));
    }
}
