// SPDX-License-Identifier: GPL-2.0

//! What the tests share.

use blake2::digest::consts::U32;
use blake2::digest::Mac;
use blake2::Blake2sMac;
use core::hash::Hasher;
use mpip_host::proto::crypto::Crypto;
use proptest::test_runner::Config;
use proptest::test_runner::RngSeed;
use siphasher::sip::SipHasher24;
use x25519_dalek::PublicKey;
use x25519_dalek::StaticSecret;

/// The primitives from published crates.
pub struct Host;

impl Crypto for Host {
    fn siphash(&self, key: &[u8; 16], data: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(key);
        hasher.write(data);
        hasher.finish()
    }

    fn blake2s(&self, key: &[u8; 32], data: &[u8]) -> [u8; 32] {
        let mut mac = <Blake2sMac<U32> as Mac>::new(key.into());
        mac.update(data);
        mac.finalize().into_bytes().into()
    }

    fn x25519(&self, secret: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
        let shared = StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(*public));
        shared.was_contributory().then(|| shared.to_bytes())
    }

    fn x25519_public(&self, secret: &[u8; 32]) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
    }
}

/// Always the same cases, so that a run can be repeated.
pub fn config(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(0x4d50_4950),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Bytes from hexadecimal digits.
pub fn hex(digits: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).unwrap() as u8;
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| (digit(pair[0]) << 4) | digit(pair[1]))
        .collect()
}

/// 32 bytes from hexadecimal digits.
pub fn hex32(digits: &str) -> [u8; 32] {
    hex(digits).try_into().unwrap()
}
