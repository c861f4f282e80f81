// SPDX-License-Identifier: GPL-2.0

//! The HELLO exchange: how two nodes that never met agree on keys.
//!
//! ```text
//! A                                              B
//! HELLO {nonce_a}                    ->              no state at B
//! <-  HELLO_REPLY {nonce_a, nonce_b, public_b}       nonce_b is a cookie
//! CONFIRM {nonce_a, nonce_b, public_a, …} tagged  -> B checks its cookie, then computes
//! <-  OPEN_ACK tagged
//! ```
//!
//! Neither end keeps anything before the other has shown that it receives at
//! its address: both nonces are recomputed from a secret instead of stored.

use crate::proto::addr::Tuple;
use crate::proto::crypto::Crypto;

/// How long a nonce lives at least, seconds; twice that at most.
pub const EPOCH_SECONDS: u64 = 60;

/// What a node is to others: made when an instance is enabled.
pub struct Identity {
    /// X25519 secret.
    pub secret: [u8; 32],
    /// X25519 public key.
    pub public: [u8; 32],
    /// Node id, bound to the public key by [`node_id`].
    pub node: u64,
    /// Secret of the nonces.
    pub cookie: [u8; 16],
}

impl Identity {
    /// An identity from 48 random bytes.
    pub fn new(c: &impl Crypto, secret: [u8; 32], cookie: [u8; 16]) -> Identity {
        let public = c.x25519_public(&secret);
        Identity {
            secret,
            public,
            node: node_id(c, &public),
            cookie,
        }
    }

    /// 16 bits of salt, so that no two exchanges are the same, and 48 bits that only this node
    /// can compute.
    fn nonce(
        &self,
        c: &impl Crypto,
        label: u8,
        tuple: &Tuple,
        epoch: u64,
        salt: u16,
        extra: [u64; 2],
    ) -> u64 {
        let mut input = [0; 40 + 3 * 8 + 2 + 1];
        let (head, rest) = input.split_at_mut(40);
        head.copy_from_slice(&tuple.encode());
        let fields = [epoch, extra[0], extra[1]];
        let (numbers, rest) = rest.split_at_mut(24);
        for (out, field) in numbers.chunks_exact_mut(8).zip(fields) {
            out.copy_from_slice(&field.to_be_bytes());
        }
        let (salt_out, label_out) = rest.split_at_mut(2);
        salt_out.copy_from_slice(&salt.to_be_bytes());
        label_out.copy_from_slice(&[label]);
        (u64::from(salt) << 48) | (c.siphash(&self.cookie, &input) >> 16)
    }

    /// `nonce_a` of a HELLO on `tuple` (seen from this node), and the nonce of a SYN option.
    /// `now_s` is any clock in seconds, `salt` random.
    pub fn nonce_a(&self, c: &impl Crypto, tuple: &Tuple, now_s: u64, salt: u16) -> u64 {
        self.nonce(c, b'a', tuple, now_s / EPOCH_SECONDS, salt, [0; 2])
    }

    /// Whether `nonce` was made by [`Identity::nonce_a`] lately.
    pub fn check_a(&self, c: &impl Crypto, tuple: &Tuple, now_s: u64, nonce: u64) -> bool {
        let salt = (nonce >> 48) as u16;
        recent(now_s).any(|epoch| self.nonce(c, b'a', tuple, epoch, salt, [0; 2]) == nonce)
    }

    /// `nonce_b` for a HELLO that came in on `tuple` (seen from this node); `salt` is random.
    pub fn nonce_b(
        &self,
        c: &impl Crypto,
        tuple: &Tuple,
        now_s: u64,
        salt: u16,
        node_a: u64,
        nonce_a: u64,
    ) -> u64 {
        let epoch = now_s / EPOCH_SECONDS;
        self.nonce(c, b'b', tuple, epoch, salt, [node_a, nonce_a])
    }

    /// Whether `nonce_b` was made by [`Identity::nonce_b`] lately for the same HELLO.
    pub fn check_b(
        &self,
        c: &impl Crypto,
        tuple: &Tuple,
        now_s: u64,
        node_a: u64,
        nonce_a: u64,
        nonce_b: u64,
    ) -> bool {
        let salt = (nonce_b >> 48) as u16;
        let extra = [node_a, nonce_a];
        recent(now_s).any(|epoch| self.nonce(c, b'b', tuple, epoch, salt, extra) == nonce_b)
    }
}

fn recent(now_s: u64) -> impl Iterator<Item = u64> {
    let epoch = now_s / EPOCH_SECONDS;
    [epoch, epoch.wrapping_sub(1)].into_iter()
}

/// The node id that belongs to a public key. Binding the two keeps anybody
/// else from taking a node's place in the tables.
pub fn node_id(c: &impl Crypto, public: &[u8; 32]) -> u64 {
    let hash = c.blake2s(b"mpip node id from the public key", public);
    let mut id = [0; 8];
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    // 0 stands for "none" elsewhere.
    u64::from_be_bytes(id).max(1)
}
