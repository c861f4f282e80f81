// SPDX-License-Identifier: GPL-2.0

//! Addresses, endpoints and tuples.

/// An IPv4 or IPv6 address in network order.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Addr {
    /// An IPv4 address.
    V4([u8; 4]),
    /// An IPv6 address.
    V6([u8; 16]),
}

impl Addr {
    /// The version of IP: 4 or 6.
    pub const fn family(&self) -> u8 {
        match self {
            Addr::V4(_) => 4,
            Addr::V6(_) => 6,
        }
    }

    /// The 4 or 16 bytes of the address.
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Addr::V4(a) => a,
            Addr::V6(a) => a,
        }
    }

    /// An address from 4 or 16 bytes; `None` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Addr> {
        if let Ok(a) = <[u8; 4]>::try_from(bytes) {
            return Some(Addr::V4(a));
        }
        <[u8; 16]>::try_from(bytes).ok().map(Addr::V6)
    }

    /// The address in 16 bytes, an IPv4 address in the first four and zeros
    /// behind it.
    pub const fn to_padded(&self) -> [u8; 16] {
        match self {
            Addr::V4([a, b, c, d]) => [*a, *b, *c, *d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            Addr::V6(a) => *a,
        }
    }

    /// Whether a packet may be sent to this address because a peer announced
    /// it.
    ///
    /// Refused are unspecified, loopback, multicast, broadcast and link-local
    /// addresses and IPv6 addresses with an IPv4 address inside (`::/96`,
    /// `::ffff:0:0/96`). Broadcast addresses of subnets are known to routing
    /// only.
    pub const fn is_usable_remote(&self) -> bool {
        match self {
            Addr::V4(a) => !matches!(
                a,
                [0 | 127, ..] | [169, 254, ..] | [224..=239, ..] | [255, 255, 255, 255]
            ),
            Addr::V6(a) => !matches!(
                a,
                [0xff, ..]
                    | [0xfe, 0x80..=0xbf, ..]
                    | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ..]
                    | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..]
            ),
        }
    }
}

/// An address and a port.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// The address.
    pub addr: Addr,
    /// The port, host order.
    pub port: u16,
}

/// What identifies a session to the sockets, or one path of a session on the
/// wire: both endpoints and the protocol, seen from this node.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    /// The protocol number of IP: 6 (TCP) or 17 (UDP).
    pub proto: u8,
    /// This node's end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
}

impl Tuple {
    /// The same tuple seen from the other end.
    pub const fn reversed(&self) -> Tuple {
        Tuple {
            proto: self.proto,
            local: self.remote,
            remote: self.local,
        }
    }

    /// A canonical encoding: equal tuples, and only they, have equal bytes. It
    /// is meant as the input of a keyed hash.
    pub fn encode(&self) -> [u8; 40] {
        let mut out = [0; 40];
        let (head, addrs) = out.split_at_mut(8);
        let (local, remote) = addrs.split_at_mut(16);
        let [lp0, lp1] = self.local.port.to_be_bytes();
        let [rp0, rp1] = self.remote.port.to_be_bytes();
        head.copy_from_slice(&[
            self.proto,
            self.local.addr.family(),
            self.remote.addr.family(),
            0,
            lp0,
            lp1,
            rp0,
            rp1,
        ]);
        local.copy_from_slice(&self.local.addr.to_padded());
        remote.copy_from_slice(&self.remote.addr.to_padded());
        out
    }
}

/// What a tuple is beside its addresses: protocol and ports.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct PortPair {
    /// The protocol number of IP.
    pub proto: u8,
    /// This node's port.
    pub local: u16,
    /// The other end's port.
    pub remote: u16,
}

impl PortPair {
    /// Those of a tuple.
    pub const fn of(tuple: &Tuple) -> PortPair {
        PortPair {
            proto: tuple.proto,
            local: tuple.local.port,
            remote: tuple.remote.port,
        }
    }

    /// The tuple with these addresses.
    pub const fn between(&self, local: Addr, remote: Addr) -> Tuple {
        Tuple {
            proto: self.proto,
            local: Endpoint {
                addr: local,
                port: self.local,
            },
            remote: Endpoint {
                addr: remote,
                port: self.remote,
            },
        }
    }
}

/// A prefix of addresses.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// Network address; what lies beyond the length does not matter.
    pub addr: Addr,
    /// Its length, bits.
    pub len: u8,
}

impl Prefix {
    /// The longest length that a prefix of this family may have.
    pub const fn longest(addr: &Addr) -> u8 {
        match addr {
            Addr::V4(_) => 32,
            Addr::V6(_) => 128,
        }
    }

    /// Whether `addr` lies in it.
    pub fn contains(&self, addr: &Addr) -> bool {
        if self.addr.family() != addr.family() {
            return false;
        }
        let bits = usize::from(self.len);
        let (a, b) = (self.addr.as_bytes(), addr.as_bytes());
        a.iter().zip(b).enumerate().all(|(i, (x, y))| {
            let left = bits.saturating_sub(i.saturating_mul(8)).min(8) as u32;
            let mask = !(0xffu32 >> left) as u8;
            x & mask == y & mask
        })
    }
}
