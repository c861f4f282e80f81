// SPDX-License-Identifier: GPL-2.0

//! Keys and tags.
//!
//! Two nodes agree on a pair of SipHash keys, one per direction, from an
//! X25519 exchange and an optional pre-shared key. Every later CM bears a
//! 64-bit SipHash-2-4 tag under them.

use crate::proto::wire::MAX_LEN;
use crate::proto::wire::OVERHEAD;

/// The primitives, supplied by the kernel or by the host tests.
pub trait Crypto {
    /// SipHash-2-4 of `data`.
    fn siphash(&self, key: &[u8; 16], data: &[u8]) -> u64;

    /// BLAKE2s-256 of `data` with a key (RFC 7693).
    fn blake2s(&self, key: &[u8; 32], data: &[u8]) -> [u8; 32];

    /// The X25519 function (RFC 7748); `None` when the result is all zero,
    /// which a public key of small order causes.
    fn x25519(&self, secret: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]>;

    /// The public key that belongs to `secret` (RFC 7748).
    fn x25519_public(&self, secret: &[u8; 32]) -> [u8; 32];
}

/// The key of the tags of HELLO and HELLO_REPLY, and of the answer in the SYN
/// option. Everybody knows it: such a tag tells a CM from user data, it
/// proves nothing.
pub const PUBLIC_KEY: [u8; 16] = *b"mpip public key1";

/// Length of a pre-shared key, bytes.
pub const PSK_LEN: usize = 32;

/// The context string of [`derive()`].
const CONTEXT: &[u8; 11] = b"mpip keys 1";

/// The keys for the tags of one peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// For CMs that this node sends.
    pub tx: [u8; 16],
    /// For CMs that the peer sends.
    pub rx: [u8; 16],
}

/// What both ends put into their HELLO exchange; `a` is the node that sent the
/// HELLO.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct HelloIds {
    /// Node id of the sender of the HELLO.
    pub node_a: u64,
    /// Node id of the sender of the HELLO_REPLY.
    pub node_b: u64,
    /// The random number of `a`.
    pub nonce_a: u64,
    /// The cookie of `b`.
    pub nonce_b: u64,
}

/// Derives the keys of a peer from this node's secret and the peer's public
/// key. `psk` is the pre-shared key, zeros if there is none; `initiator` says
/// whether this node is `a`.
///
/// `None` when the peer's public key is of small order.
pub fn derive(
    c: &impl Crypto,
    secret: &[u8; 32],
    peer_public: &[u8; 32],
    psk: &[u8; PSK_LEN],
    ids: &HelloIds,
    initiator: bool,
) -> Option<Keys> {
    let shared = c.x25519(secret, peer_public)?;
    let mut data = [0; CONTEXT.len() + PSK_LEN + 4 * 8];
    let (context, rest) = data.split_at_mut(CONTEXT.len());
    context.copy_from_slice(CONTEXT);
    let (psk_out, rest) = rest.split_at_mut(PSK_LEN);
    psk_out.copy_from_slice(psk);
    let numbers = [ids.node_a, ids.node_b, ids.nonce_a, ids.nonce_b];
    for (out, number) in rest.chunks_exact_mut(8).zip(numbers) {
        out.copy_from_slice(&number.to_be_bytes());
    }

    let material = c.blake2s(&shared, &data);
    let mut a_to_b = [0; 16];
    let mut b_to_a = [0; 16];
    let (first, last) = material.split_at(16);
    a_to_b.copy_from_slice(first);
    b_to_a.copy_from_slice(last);
    Some(if initiator {
        Keys {
            tx: a_to_b,
            rx: b_to_a,
        }
    } else {
        Keys {
            tx: b_to_a,
            rx: a_to_b,
        }
    })
}

/// The tag of a CM: SipHash over the sender's node id, the protocol number of
/// the session (0 for CMs about the peer), the body and the footer.
///
/// `None` when the body is longer than that of any CM.
pub fn tag(
    c: &impl Crypto,
    key: &[u8; 16],
    node: u64,
    ip_proto: u8,
    body: &[u8],
    footer: &[u8; 4],
) -> Option<u64> {
    // The CMs that accompany data are small; do not clear a large buffer for
    // each of them.
    const SMALL: usize = 64;
    const LARGE: usize = 9 + MAX_LEN - OVERHEAD + 4;
    if body.len() <= SMALL - 9 - 4 {
        tag_in::<SMALL>(c, key, node, ip_proto, body, footer)
    } else {
        tag_in::<LARGE>(c, key, node, ip_proto, body, footer)
    }
}

fn tag_in<const N: usize>(
    c: &impl Crypto,
    key: &[u8; 16],
    node: u64,
    ip_proto: u8,
    body: &[u8],
    footer: &[u8; 4],
) -> Option<u64> {
    let mut input = [0; N];
    let (node_out, rest) = input.split_first_chunk_mut::<8>()?;
    *node_out = node.to_be_bytes();
    let (proto_out, rest) = rest.split_first_mut()?;
    *proto_out = ip_proto;
    rest.get_mut(..body.len())?.copy_from_slice(body);
    let (footer_out, _) = rest.get_mut(body.len()..)?.split_first_chunk_mut::<4>()?;
    *footer_out = *footer;
    let len = body.len().checked_add(9 + 4)?;
    Some(c.siphash(key, input.get(..len)?))
}

/// Compares two pre-shared keys in constant time: whoever may ask whether it is this one must not
/// learn how much of it is.
pub fn psk_eq(a: &[u8; PSK_LEN], b: &[u8; PSK_LEN]) -> bool {
    let differ = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    core::hint::black_box(differ) == 0
}

/// Compares two tags in constant time.
pub fn tag_eq(a: u64, b: u64) -> bool {
    core::hint::black_box(a ^ b) == 0
}
