// SPDX-License-Identifier: GPL-2.0

use crate::common::hex;
use crate::common::hex32;
use crate::common::Host;
use mpip_host::proto::crypto;
use mpip_host::proto::crypto::Crypto;
use mpip_host::proto::crypto::HelloIds;
use mpip_host::proto::crypto::PSK_LEN;
use mpip_host::proto::wire::MAX_LEN;

/// RFC 7748, section 6.1.
const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
const ALICE_PUBLIC: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
const BOB_PUBLIC: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
const SHARED: &str = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

const IDS: HelloIds = HelloIds {
    node_a: 0x1111_1111_1111_1111,
    node_b: 0x2222_2222_2222_2222,
    nonce_a: 0x3333_3333_3333_3333,
    nonce_b: 0x4444_4444_4444_4444,
};

fn psk() -> [u8; 32] {
    core::array::from_fn(|i| i as u8)
}

#[test]
fn primitives() {
    // The reference vector of SipHash-2-4.
    let key: [u8; 16] = core::array::from_fn(|i| i as u8);
    let data: Vec<u8> = (0..15).collect();
    assert_eq!(Host.siphash(&key, &data), 0xa129_ca61_49be_45e5);
    // The first known answer of keyed BLAKE2s.
    assert_eq!(
        Host.blake2s(&psk(), b"").to_vec(),
        hex("48a8997da407876b3d79c0d92325ad3b89cbb754d86ab71aee047ad345fd2c49")
    );
    assert_eq!(Host.x25519_public(&hex32(ALICE)), hex32(ALICE_PUBLIC));
    assert_eq!(Host.x25519_public(&hex32(BOB)), hex32(BOB_PUBLIC));
    assert_eq!(
        Host.x25519(&hex32(ALICE), &hex32(BOB_PUBLIC)),
        Some(hex32(SHARED))
    );
}

/// The expected bytes were computed with another implementation of BLAKE2s.
#[test]
fn keys_from_known_secrets() {
    let keys = crypto::derive(&Host, &hex32(ALICE), &hex32(BOB_PUBLIC), &psk(), &IDS, true);
    let keys = keys.unwrap();
    assert_eq!(keys.tx.to_vec(), hex("1c2a1419e9a15b6d69db756b45e779cb"));
    assert_eq!(keys.rx.to_vec(), hex("e09602b10a55dbb9762d0db530b30c5a"));
}

#[test]
fn both_ends_agree() {
    let derive = |secret, public, psk: &[u8; 32], ids: &HelloIds, initiator| {
        crypto::derive(&Host, &hex32(secret), &hex32(public), psk, ids, initiator).unwrap()
    };
    let a = derive(ALICE, BOB_PUBLIC, &psk(), &IDS, true);
    let b = derive(BOB, ALICE_PUBLIC, &psk(), &IDS, false);
    assert!(a.tx == b.rx && a.rx == b.tx && a.tx != a.rx);

    let differ = |other: &HelloIds, psk: &[u8; 32]| {
        let keys = derive(ALICE, BOB_PUBLIC, psk, other, true);
        assert!(keys.tx != a.tx && keys.rx != a.rx);
    };
    differ(&IDS, &[0; 32]);
    differ(&HelloIds { node_a: 1, ..IDS }, &psk());
    differ(&HelloIds { node_b: 1, ..IDS }, &psk());
    differ(&HelloIds { nonce_a: 1, ..IDS }, &psk());
    differ(&HelloIds { nonce_b: 1, ..IDS }, &psk());
}

#[test]
fn small_order_is_refused() {
    let mut one = [0; 32];
    one[0] = 1;
    for public in [[0; 32], one] {
        assert!(crypto::derive(&Host, &hex32(ALICE), &public, &psk(), &IDS, true).is_none());
    }
}

#[test]
fn tag_depends_on_everything() {
    let key = [7; 16];
    for len in [0, 16, 20, 40, 51, 52, 56, MAX_LEN - 12] {
        let body = vec![3; len];
        let tag = crypto::tag(&Host, &key, 1, 6, &body, b"MP\x10\x08").unwrap();
        let others = [
            crypto::tag(&Host, &[8; 16], 1, 6, &body, b"MP\x10\x08"),
            crypto::tag(&Host, &key, 2, 6, &body, b"MP\x10\x08"),
            crypto::tag(&Host, &key, 1, 17, &body, b"MP\x10\x08"),
            crypto::tag(&Host, &key, 1, 6, &body, b"MP\x11\x08"),
        ];
        for other in others {
            assert!(!crypto::tag_eq(tag, other.unwrap()));
        }
        for i in 0..len {
            let mut body = body.clone();
            body[i] ^= 0x80;
            let other = crypto::tag(&Host, &key, 1, 6, &body, b"MP\x10\x08");
            assert!(!crypto::tag_eq(tag, other.unwrap()));
        }
        // As a plain hash of the concatenation.
        let mut input = 1u64.to_be_bytes().to_vec();
        input.push(6);
        input.extend(&body);
        input.extend(b"MP\x10\x08");
        assert!(crypto::tag_eq(tag, Host.siphash(&key, &input)));
    }
    let long = vec![0; MAX_LEN - 11];
    assert_eq!(crypto::tag(&Host, &key, 1, 6, &long, b"MP\x10\x08"), None);
}

#[test]
fn keys_that_are_the_same() {
    let key: [u8; PSK_LEN] = core::array::from_fn(|at| at as u8 ^ 0x5a);
    assert!(crypto::psk_eq(&key, &key));
    for at in 0..8 * PSK_LEN {
        let mut other = key;
        other[at / 8] ^= 1 << (at % 8);
        assert!(!crypto::psk_eq(&key, &other), "bit {at}");
    }
}
