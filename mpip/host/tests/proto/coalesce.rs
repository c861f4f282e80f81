// SPDX-License-Identifier: GPL-2.0

//! Segments that become one: which may, and what the one says then.

use crate::common::config;
use mpip_host::proto::coalesce::Train;
use mpip_host::proto::packet;
use mpip_host::proto::packet::Packet;
use proptest::collection::vec;
use proptest::prelude::*;

const MSS: usize = 1000;

/// Headers of a segment with `len` bytes of data and a time stamp.
fn segment(family: u8, seq: u32, len: usize, flags: u8, hops: u8) -> Vec<u8> {
    let l4 = packet::ip_header_len(family);
    let mut head = vec![0u8; l4 + 32];
    match family {
        4 => {
            head[0] = 0x45;
            head[1] = 0x02;
            head[4..6].copy_from_slice(&(seq as u16).to_be_bytes());
            head[6] = 0x40;
            head[9] = packet::TCP;
            head[12..20].copy_from_slice(&[10, 0, 1, 1, 10, 0, 1, 2]);
        }
        _ => {
            head[0] = 0x60;
            head[1] = 0x20;
            head[6] = packet::TCP;
            head[23] = 1;
            head[39] = 2;
        }
    }
    packet::set_hops(&mut head, family, hops);
    packet::set_ip_len(&mut head, family, l4 + 32 + len);
    if family == 4 {
        head[10..12].fill(0);
        let check = !ones(&head[..20]);
        head[10..12].copy_from_slice(&check.to_be_bytes());
    }
    let tcp = &mut head[l4..];
    tcp[0..4].copy_from_slice(&[0x1f, 0x90, 0xc0, 0x01]);
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&77u32.to_be_bytes());
    tcp[12..16].copy_from_slice(&[0x80, flags, 0x01, 0xf5]);
    // The checksum is as good as random.
    tcp[16..18].copy_from_slice(&(seq as u16).to_be_bytes());
    tcp[20..32].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6]);
    head
}

/// The folded one's complement sum.
fn ones(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0, |sum, pair| {
        let (sum, carry) = u16::from_be_bytes([pair[0], pair[1]]).overflowing_add(sum);
        sum + u16::from(carry)
    })
}

fn parse(head: &[u8], len: usize, family: u8) -> Packet {
    Packet::parse(head, head.len() + len, family).unwrap()
}

fn begin(head: &[u8], len: usize, family: u8) -> Option<Train> {
    Train::begin(head, &parse(head, len, family))
}

/// Whether a segment with these headers goes on behind one of [`MSS`] bytes.
fn follows(family: u8, head: &[u8], len: usize) -> bool {
    let first = segment(family, 5, MSS, packet::ACK, 64);
    let train = begin(&first, MSS, family).unwrap();
    match Packet::parse(head, head.len() + len, family) {
        Ok(packet) => train.is_followed_by(&first, head, &packet),
        Err(_) => false,
    }
}

#[test]
fn nothing_follows_what_says_more() {
    for flags in 0..=255u8 {
        let head = segment(4, 5, MSS, flags, 64);
        assert_eq!(begin(&head, MSS, 4).is_some(), flags == packet::ACK);
        let next = segment(4, 5 + MSS as u32, MSS, flags, 64);
        let told = flags & !packet::PSH == packet::ACK;
        assert_eq!(follows(4, &next, MSS), told, "flags {flags:#x}");
    }
    assert!(begin(&segment(4, 5, 0, packet::ACK, 64), 0, 4).is_none());
}

/// Each bit of the headers matters, but for those that differ from segment to segment or lane to
/// lane.
#[test]
fn options_of_ip_could_say_anything() {
    let with_options = |seq| {
        let mut head = segment(4, seq, MSS, packet::ACK, 64);
        head[0] = 0x46;
        head.splice(20..20, [1; 4]);
        let len = head.len() + MSS;
        packet::set_ip_len(&mut head, 4, len);
        head
    };
    let (first, next) = (with_options(5), with_options(5 + MSS as u32));
    let train = begin(&first, MSS, 4).unwrap();
    assert!(!train.is_followed_by(&first, &next, &parse(&next, MSS, 4)));
}

#[test]
fn every_other_bit_matters() {
    for family in [4, 6] {
        let l4 = packet::ip_header_len(family);
        let next = segment(family, 5 + MSS as u32, MSS, packet::ACK, 64);
        assert!(follows(family, &next, MSS));
        for bit in 0..next.len() * 8 {
            let at = bit / 8;
            let mut other = next.clone();
            other[at] ^= 1 << (bit % 8);
            let free = match family {
                4 => [2..6, 8..9, 10..20],
                _ => [4..6, 7..40, 0..0],
            };
            let tcp = [l4..l4 + 4, l4 + 16..l4 + 18];
            // Data comes to an end, and that is told.
            let push = at == l4 + 13 && bit % 8 == 3;
            let free = push || free.iter().chain(&tcp).any(|range| range.contains(&at));
            assert_eq!(
                follows(family, &other, MSS),
                free,
                "family {family}, byte {at}"
            );
        }
    }
}

#[test]
fn no_packet_is_longer_than_its_length_can_say() {
    for family in [4, 6] {
        let first = segment(family, 0, MSS, packet::ACK, 64);
        let mut train = begin(&first, MSS, family).unwrap();
        let mut len = first.len() + MSS;
        for n in 1..100u32 {
            let next = segment(family, n * MSS as u32, MSS, packet::ACK, 64);
            let packet = parse(&next, MSS, family);
            let fits = len + MSS <= 0xffff;
            assert_eq!(
                train.is_followed_by(&first, &next, &packet),
                fits,
                "after {n}"
            );
            if fits {
                train.append(64, &packet);
                len += MSS;
            }
        }
    }
}

proptest! {
    #![proptest_config(config(512))]

    /// Whatever comes in whatever order: the packets that are made have the same bytes of the stream
    /// in the same order as the segments, and their headers are right.
    #[test]
    fn one_stands_for_all(
        v6: bool,
        start: u32,
        pieces in vec((1..=MSS, any::<bool>(), 1..=255u8, 0..20u8, any::<bool>()), 1..60),
    ) {
        let family = if v6 { 6 } else { 4 };
        let l4 = packet::ip_header_len(family);
        let mut seq = start;
        let mut came = Vec::new();
        for (len, whole, hops, push, jump) in pieces {
            let len = if whole { MSS } else { len };
            let flags = packet::ACK | if push == 0 { packet::PSH } else { 0 };
            let hops = if push < 10 { 64 } else { hops };
            // Something is missing, now and then.
            seq = seq.wrapping_add(if jump && push == 1 { 700 } else { 0 });
            came.push((segment(family, seq, len, flags, hops), len));
            seq = seq.wrapping_add(len as u32);
        }
        let mut made: Vec<(Vec<u8>, usize, Vec<usize>)> = Vec::new();
        let mut train: Option<Train> = None;
        let finish = |train: Option<Train>, made: &mut Vec<(Vec<u8>, usize, Vec<usize>)>| {
            if let (Some(train), Some((head, _, _))) = (train, made.last_mut()) {
                train.write(head);
            }
        };
        for (i, (head, len)) in came.iter().enumerate() {
            let next = parse(head, *len, family);
            if let (Some(train), Some((first, all, of))) = (&mut train, made.last_mut()) {
                if train.is_followed_by(first, head, &next) {
                    train.append(packet::hops(head, family), &next);
                    *all += len;
                    of.push(i);
                    prop_assert_eq!(train.appended() as usize, of.len() - 1);
                    continue;
                }
            }
            finish(train.take(), &mut made);
            train = Train::begin(head, &next);
            made.push((head.clone(), *len, vec![i]));
        }
        finish(train.take(), &mut made);
        let order: Vec<usize> = made.iter().flat_map(|(_, _, of)| of.clone()).collect();
        prop_assert_eq!(order, (0..came.len()).collect::<Vec<_>>());
        for (head, len, of) in &made {
            let packet = parse(head, *len, family);
            let tcp = packet.tcp.unwrap();
            let parts: Vec<_> = of.iter().map(|i| &came[*i]).collect();
            let said = match family {
                4 => usize::from(u16::from_be_bytes([head[2], head[3]])),
                _ => 40 + usize::from(u16::from_be_bytes([head[4], head[5]])),
            };
            prop_assert_eq!(said, head.len() + len);
            prop_assert_eq!(packet.payload_len(), parts.iter().map(|(_, len)| len).sum::<usize>());
            prop_assert!(v6 || ones(&head[..20]) == 0xffff, "checksum of the header");
            let hops = parts.iter().map(|(head, _)| packet::hops(head, family)).min();
            prop_assert_eq!(Some(packet::hops(head, family)), hops);
            // Told at the end or not at all, and only the last may be shorter.
            let mut next = tcp.seq;
            for (n, (part, len)) in parts.iter().enumerate() {
                let one = parse(part, *len, family).tcp.unwrap();
                prop_assert_eq!(one.seq, next);
                next = next.wrapping_add(*len as u32);
                let last = n + 1 == parts.len();
                prop_assert!(last || one.flags == packet::ACK && *len == parts[0].1);
                prop_assert!(!last || one.flags == tcp.flags);
            }
            prop_assert_eq!(head[l4 + 20..].to_vec(), parts[0].0[l4 + 20..].to_vec());
        }
        // What could be one is: two in a row that are alike are never apart.
        for pair in made.windows(2) {
            let ((_, _, a), (_, _, b)) = (&pair[0], &pair[1]);
            let (last, next) = (&came[*a.last().unwrap()], &came[b[0]]);
            let (l, n) = (parse(&last.0, last.1, family), parse(&next.0, next.1, family));
            let (l, n) = (l.tcp.unwrap(), n.tcp.unwrap());
            let size = came[a[0]].1;
            let alike = l.flags == packet::ACK
                && l.seq.wrapping_add(last.1 as u32) == n.seq
                && last.1 == size
                && next.1 <= size;
            let full = a.iter().map(|i| came[*i].1).sum::<usize>() + l4 + 32 + next.1 > 0xffff;
            prop_assert!(!alike || full);
        }
    }
}
