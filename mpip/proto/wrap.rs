// SPDX-License-Identifier: GPL-2.0

//! Ways through NATs and firewalls.
//!
//! A lane's packets are rewritten and sent as they are (`Raw`), or they travel
//! inside something that boxes on the way understand:
//!
//! ```text
//! Raw   IP | TCP header, data
//! Udp   IP | UDP header | session id, rest of the TCP header, data
//! Tcp   IP | TCP header | session id, rest of the TCP or UDP header, data
//! ```
//!
//! The four bytes of the inner ports hold the session id instead. The inner
//! checksum means nothing: the outer one covers all of it. The outer TCP header
//! is that of a connection of its own, with handshake, sequence numbers that
//! count the bytes on this lane and acknowledgments of what came on it, so
//! that a box which keeps track of connections finds nothing odd. Nothing is
//! ever sent again on it.

use crate::proto::addr::Tuple;
use crate::proto::packet;
use crate::proto::packet::fold;
use crate::proto::packet::sum;
use crate::proto::packet::ACK;
use crate::proto::packet::PSH;
use crate::proto::packet::SYN;
use crate::proto::packet::TCP;
use crate::proto::packet::UDP;
use crate::proto::seq;

/// How a lane's packets travel.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// As they are, with other addresses and ports.
    Raw,
    /// In UDP datagrams.
    Udp,
    /// In what looks like a TCP connection.
    Tcp,
}

impl Via {
    /// Bytes that it adds to a packet.
    pub const fn overhead(self) -> usize {
        match self {
            Via::Raw => 0,
            Via::Udp => 8,
            Via::Tcp => 20,
        }
    }

    /// The protocol on the wire, of a session of protocol `inner`.
    pub const fn proto(self, inner: u8) -> u8 {
        match self {
            Via::Raw => inner,
            Via::Udp => UDP,
            Via::Tcp => TCP,
        }
    }
}

/// The ways to be tried for a lane, in order.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    // Filled up with the first one.
    list: [Via; 3],
    at: u8,
}

impl Ways {
    /// One way only.
    pub const fn only(via: Via) -> Ways {
        Ways {
            list: [via; 3],
            at: 0,
        }
    }

    /// How many there are.
    fn len(&self) -> u8 {
        let [first, rest @ ..] = self.list;
        rest.iter()
            .fold(1u8, |n, via| n.saturating_add(u8::from(*via != first)))
    }

    /// All ways for a session of protocol `inner`; what has worked before, `known`, comes first.
    pub fn all(inner: u8, known: Option<Via>) -> Ways {
        let mut ways = Ways::only(known.unwrap_or(Via::Raw));
        for via in [Via::Raw, Via::Udp, Via::Tcp] {
            // A datagram in a datagram would be no better.
            let sensible = inner == TCP || via != Via::Udp;
            if sensible && !ways.list.contains(&via) {
                let len = usize::from(ways.len());
                if let Some(slot) = ways.list.get_mut(len) {
                    *slot = via;
                }
            }
        }
        ways
    }

    /// The way to be tried now.
    pub fn current(&self) -> Via {
        self.list
            .get(usize::from(self.at))
            .copied()
            .unwrap_or(Via::Raw)
    }

    /// Whether there is another one after it.
    pub fn has_next(&self) -> bool {
        self.at.saturating_add(1) < self.len()
    }

    /// Whether there is more than one.
    pub fn is_choice(&self) -> bool {
        self.len() > 1
    }

    /// The one after it, the first after the last.
    pub fn next(&self) -> Via {
        let mut next = *self;
        next.advance();
        next.current()
    }

    /// On to the next one, after the last to the first.
    pub fn advance(&mut self) {
        self.at = if self.has_next() {
            self.at.saturating_add(1)
        } else {
            0
        };
    }
}

/// The made-up connection of a lane that travels by [`Via::Tcp`].
///
/// Packed, because each lane has one.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
#[repr(C, packed)]
pub struct Stream {
    isn: u32,
    snd: u32,
    rcv: u32,
    /// The other end's SYN has come.
    synced: bool,
}

/// What a segment of it says.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
}

impl Stream {
    /// A connection that begins at `isn`.
    pub const fn new(isn: u32) -> Stream {
        Stream {
            isn,
            snd: isn,
            rcv: 0,
            synced: false,
        }
    }

    /// The place of a SYN with `len` bytes, or of a SYN-ACK if it answers the other end's. Sent
    /// again, it is the same.
    pub fn syn(&mut self, len: usize, answers: bool) -> Place {
        self.snd = self.isn.wrapping_add(1).wrapping_add(len as u32);
        let answers = answers && self.synced;
        Place {
            seq: self.isn,
            ack: if answers { self.rcv } else { 0 },
            flags: SYN | if answers { ACK } else { 0 },
        }
    }

    /// The place of the next segment, with `len` bytes.
    pub fn next(&mut self, len: usize) -> Place {
        let place = Place {
            seq: self.snd,
            ack: self.rcv,
            flags: ACK | PSH,
        };
        self.snd = self.snd.wrapping_add(len as u32);
        place
    }

    /// A SYN with `len` bytes has come, by somebody who may not be the other end: it counts as long
    /// as none has.
    pub fn may_begin(&mut self, seq: u32, flags: u8, len: usize) {
        if flags & SYN != 0 && !self.synced {
            self.came(seq, flags, len);
        }
    }

    /// A segment with `len` bytes has come from the other end.
    pub fn came(&mut self, seq: u32, flags: u8, len: usize) {
        let end = seq
            .wrapping_add(len as u32)
            .wrapping_add(u32::from(flags & SYN != 0));
        if flags & SYN != 0 {
            // Whatever came before was somebody else's.
            self.synced = true;
            self.rcv = end;
        } else if self.synced && seq::after(end, self.rcv) {
            self.rcv = end;
        }
    }

    /// Whether a segment at this sequence number can have been sent lately.
    pub fn has_sent(&self, seq: u32) -> bool {
        const LATELY: u32 = 1 << 27;
        self.snd.wrapping_sub(seq) <= LATELY
    }

    /// Whether an RST with this sequence number can be from somebody who sees the connection.
    pub fn is_near(&self, seq: u32) -> bool {
        const NEAR: u32 = 1 << 20;
        // Who does not know the connection takes the number from our acknowledgment.
        self.synced && self.rcv.wrapping_sub(seq) <= NEAR || !self.synced && seq == 0
    }
}

/// Options of a SYN: an MSS that fits everywhere and the largest window scale, so that no box
/// finds the window exceeded.
pub const SYN_OPTIONS: [u8; 8] = [2, 4, 0x04, 0xd8, 1, 3, 3, 14];

/// Writes the outer headers in front of an inner one. `head` begins at the IP header of the
/// session's packet, `l4` is the offset of the room for the outer header, behind which the inner
/// one begins; `len` is the length of the packet with it. The checksum field of the outer header
/// gets the pseudo header's sum: a device or the kernel has to complete it.
pub fn wrap(
    head: &mut [u8],
    l4: usize,
    len: usize,
    via: Via,
    tuple: &Tuple,
    session: u32,
    place: &Place,
) {
    let proto = tuple.proto;
    packet::set_ip(head, l4, len, proto, &tuple.local.addr, &tuple.remote.addr);
    let family = tuple.local.addr.family();
    packet::set_dont_fragment(head, family);
    let covered = len.saturating_sub(l4);
    let seed = pseudo_sum(tuple, proto, covered);
    packet::put(head, l4, &tuple.local.port.to_be_bytes());
    packet::put(head, l4.saturating_add(2), &tuple.remote.port.to_be_bytes());
    match via {
        Via::Tcp => {
            packet::put(head, l4.saturating_add(4), &place.seq.to_be_bytes());
            packet::put(head, l4.saturating_add(8), &place.ack.to_be_bytes());
            packet::put(
                head,
                l4.saturating_add(12),
                &[0x50, place.flags, 0xff, 0xff],
            );
            packet::put(head, l4.saturating_add(16), &seed.to_be_bytes());
            packet::put(head, l4.saturating_add(18), &[0, 0]);
        }
        _ => {
            packet::put(head, l4.saturating_add(4), &(covered as u16).to_be_bytes());
            packet::put(head, l4.saturating_add(6), &seed.to_be_bytes());
        }
    }
    let inner = l4.saturating_add(via.overhead());
    packet::put(head, inner, &session.to_be_bytes());
}

/// Undoes [`wrap`] after the outer header was removed: `head` begins at the IP header, `l4` is the
/// offset of the inner header, `len` the length of the packet without the outer one. `tuple` is
/// the session's, seen from this node. The checksum field gets the pseudo header's sum.
pub fn unwrap(head: &mut [u8], l4: usize, len: usize, tuple: &Tuple) {
    let proto = tuple.proto;
    packet::set_ip(head, l4, len, proto, &tuple.remote.addr, &tuple.local.addr);
    packet::put(head, l4, &tuple.remote.port.to_be_bytes());
    packet::put(head, l4.saturating_add(2), &tuple.local.port.to_be_bytes());
    let seed = pseudo_sum(tuple, proto, len.saturating_sub(l4));
    let at = l4.saturating_add(if proto == TCP { 16 } else { 6 });
    packet::put(head, at, &seed.to_be_bytes());
}

fn pseudo_sum(tuple: &Tuple, proto: u8, len: usize) -> u16 {
    let addrs = sum(
        sum(0, tuple.local.addr.as_bytes()),
        tuple.remote.addr.as_bytes(),
    );
    fold(
        addrs
            .wrapping_add(u64::from(proto))
            .wrapping_add(len as u64),
    )
}

/// Shortest inner header behind the session id, bytes.
pub const fn inner_rest(inner: u8) -> usize {
    if inner == TCP {
        16
    } else {
        4
    }
}
