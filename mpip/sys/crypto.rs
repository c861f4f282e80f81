// SPDX-License-Identifier: GPL-2.0

//! The kernel's SipHash, BLAKE2s and X25519 for [`crate::proto::crypto`].

use super::bindings;
use crate::proto::crypto::Crypto;

/// The kernel's algorithms. X25519 is in a module of its own, which ours depends on.
#[derive(Clone, Copy)]
pub struct Algo;

impl Crypto for Algo {
    fn siphash(&self, key: &[u8; 16], data: &[u8]) -> u64 {
        // SAFETY: Both pointers are valid for reads of the lengths that the function uses.
        unsafe { bindings::mpip_shim_siphash(key.as_ptr(), data.as_ptr(), data.len()) }
    }

    fn blake2s(&self, key: &[u8; 32], data: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        // SAFETY: `key` and `out` have the sizes of a BLAKE2s key and hash, `data` its length.
        unsafe {
            bindings::mpip_shim_blake2s(key.as_ptr(), data.as_ptr(), data.len(), out.as_mut_ptr())
        };
        out
    }

    fn x25519(&self, secret: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
        let mut out = [0; 32];
        // SAFETY: All three have the size of a Curve25519 key.
        let ok = unsafe {
            bindings::mpip_shim_x25519(out.as_mut_ptr(), secret.as_ptr(), public.as_ptr())
        };
        ok.then_some(out)
    }

    fn x25519_public(&self, secret: &[u8; 32]) -> [u8; 32] {
        let mut base = [0; 32];
        base[0] = 9;
        // The base point never gives the null value.
        self.x25519(secret, &base).unwrap_or(base)
    }
}

/// A keyed hash for tables, quicker than that of [`Crypto`]: nobody learns more of it than how
/// long a lookup takes.
pub fn short_hash(key: &[u64; 2], data: &[u8]) -> u32 {
    // SAFETY: Both are valid for reads; the key is 16 bytes, which is the most that is read.
    unsafe { bindings::mpip_shim_hsiphash(key.as_ptr().cast(), data.as_ptr(), data.len()) }
}
