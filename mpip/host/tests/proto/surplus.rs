// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use crate::common::Host;
use mpip_host::proto::wire::cm;
use mpip_host::proto::wire::surplus;
use proptest::prelude::*;

/// The Internet checksum (RFC 1071) over a pseudo header and a datagram.
fn checksum(pseudo: &[u8], bytes: &[u8], len: usize) -> u16 {
    let word = |pair: &[u8]| (u64::from(pair[0]) << 8) | pair.get(1).map_or(0, |b| u64::from(*b));
    let mut sum = len as u64;
    sum += pseudo.chunks(2).map(word).sum::<u64>();
    sum += bytes.chunks(2).map(word).sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn literal() {
    let bytes: Vec<u8> = (0..32).collect();
    for (udp_len, head) in [
        (100, &[0x0e, 0xdb, 0, 0][..]),
        (101, &[0, 0x0e, 0xda, 0, 0][..]),
    ] {
        let mut out = [0xaa; 64];
        let len = surplus::build(udp_len, &bytes, &mut out);
        assert_eq!(len, head.len() + 32);
        assert_eq!(surplus::layout(udp_len, 32), len);
        assert_eq!(&out[..head.len()], head);
        assert_eq!(&out[head.len()..len], &bytes[..]);
        assert!(out[len..].iter().all(|b| *b == 0xaa));
        assert_eq!(surplus::build(udp_len, &bytes, &mut out[..len - 1]), 0);
    }
}

fn hello(node: u64, nonce_a: u64) -> Vec<u8> {
    let header = cm::Header {
        node,
        session: 0,
        number: 0,
    };
    let hello = cm::Cm::Hello(cm::Hello { header, nonce_a });
    let mut out = [0; cm::MAX_LEN];
    let len = cm::emit(&Host, &[1; 16], node, 0, &hello, &mut out);
    out[..len].to_vec()
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn neutral_and_found(
        pseudo: [u8; 10],
        user in proptest::collection::vec(any::<u8>(), 8..1500),
        node: u64,
        nonce: u64,
    ) {
        let bytes = hello(node, nonce);
        let mut area = [0; 512];
        let len = surplus::build(user.len(), &bytes, &mut area);
        let area = &area[..len];
        prop_assert_eq!(surplus::cm_of(area), Some(&bytes[..]));

        // As valid with the area as without it.
        let mut user = user;
        user[6] = 0;
        user[7] = 0;
        let sum = checksum(&pseudo, &user, user.len()).to_be_bytes();
        user[6] = sum[0];
        user[7] = sum[1];
        prop_assert_eq!(checksum(&pseudo, &user, user.len()), 0);
        let whole = [&user[..], area].concat();
        let over_all = checksum(&pseudo, &whole, whole.len());
        prop_assert!(over_all == 0 || over_all == 0xffff, "{:04x}", over_all);
    }

    #[test]
    fn foreign_areas(mut area: Vec<u8>, front in 0usize..9, byte: u8) {
        surplus::cm_of(&area);
        let bytes = hello(1, 2);
        area.truncate(front);
        area.resize(front, byte);
        area.extend(&bytes);
        let ours = matches!(&area[..front], [_, _, 0, 0] | [0, _, _, 0, 0]);
        prop_assert_eq!(surplus::cm_of(&area).is_some(), ours);
    }
}
