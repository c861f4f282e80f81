// SPDX-License-Identifier: GPL-2.0

//! Segments of a connection that follow each other become one.
//!
//! What the transport does for a segment it does once for many: looks for the socket, wakes the
//! reader, and above all acknowledges. The rules are those of the kernel's own merging of what
//! comes in (GRO): all but the last segment are of one length, and their headers are equal but for
//! what must differ.

use crate::proto::packet;
use crate::proto::packet::put;
use crate::proto::packet::Packet;

/// Longest packet that a length field of IP can tell of, bytes.
const MAX_LEN: usize = 0xffff;

/// In which bits of the first words of their IPv4 headers segments of a train are equal: not in
/// lengths and the identification. What follows is hops, the checksum and addresses.
const IPV4: [u32; 2] = [0xffff_0000, 0x0000_ffff];
/// The same for IPv6: not in the payload's length and hops.
const IPV6: [u32; 2] = [u32::MAX, 0x0000_ff00];
/// The same for the words of a TCP header from the acknowledgment on, options included: not in
/// flags and the checksum.
const TCP: [u32; 13] = {
    let mut masks = [u32::MAX; 13];
    (masks[1], masks[2]) = (0xff00_ffff, 0x0000_ffff);
    masks
};

/// Whether two headers are equal in these bits, a mask for each word. For a few bytes at a time a
/// call to compare them would cost more than that.
fn is_same(a: &[u8], b: &[u8], masks: &[u32]) -> bool {
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_be_bytes);
    let words = a.chunks_exact(4).zip(b.chunks_exact(4)).zip(masks);
    let differ = words.fold(0, |differ, ((a, b), mask)| {
        differ | (word(a) ^ word(b)) & mask
    });
    differ == 0
}

/// A segment, and those that have been appended to it.
#[derive(Clone, Debug)]
pub struct Train {
    family: u8,
    l4: usize,
    payload: usize,
    /// Data in each segment, bytes; in the last one maybe less.
    size: usize,
    /// Data in all of them, bytes.
    data: usize,
    seq: u32,
    appended: u32,
    /// Hop limit of the one that has come farthest.
    hops: u8,
    /// Nothing follows.
    closed: bool,
    push: bool,
}

impl Train {
    /// Begins with `first`, whose headers are in `head`; `None` if nothing can follow it: it has no
    /// data, or says more than that data comes.
    pub fn begin(head: &[u8], first: &Packet) -> Option<Train> {
        let tcp = first.tcp?;
        let size = first.payload_len();
        if size == 0 || tcp.flags != packet::ACK {
            return None;
        }
        Some(Train {
            family: first.family,
            l4: first.l4,
            payload: first.payload,
            size,
            data: size,
            seq: tcp.seq,
            appended: 0,
            hops: packet::hops(head, first.family),
            closed: false,
            push: false,
        })
    }

    /// Segments that have been appended.
    pub fn appended(&self) -> u32 {
        self.appended
    }

    /// Data in each segment, bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes before the data of each segment.
    pub fn header_len(&self) -> usize {
        self.payload
    }

    /// Where the data of the next segment begins.
    pub fn next_seq(&self) -> u32 {
        self.seq.wrapping_add(self.data as u32)
    }

    /// Whether `next`, with the headers `next_head`, goes on where the train ends; `head` are the
    /// headers of the first. Both belong to one session; addresses and ports differ with the lane.
    pub fn is_followed_by<'a>(&self, head: &'a [u8], next_head: &'a [u8], next: &Packet) -> bool {
        let Some(tcp) = next.tcp else { return false };
        let len = next.payload_len();
        let total = self.payload.saturating_add(self.data);
        let ack = self.l4.saturating_add(8);
        let tcp_of = |head: &'a [u8]| head.get(ack..self.payload);
        let (Some(ours), Some(theirs)) = (tcp_of(head), tcp_of(next_head)) else {
            return false;
        };
        !self.closed
            && tcp.seq == self.next_seq()
            && tcp.flags & !packet::PSH == packet::ACK
            && next.family == self.family
            && (next.l4, next.payload) == (self.l4, self.payload)
            && (1..=self.size).contains(&len)
            && total.saturating_add(len) <= MAX_LEN
            // Any difference that stays makes them different. Options of IP could be anything.
            && match self.family {
                4 => self.l4 == 20 && is_same(head, next_head, &IPV4),
                _ => is_same(head, next_head, &IPV6),
            }
            && is_same(ours, theirs, &TCP)
    }

    /// `next` has been appended; `hops` is how far it could still have gone.
    pub fn append(&mut self, hops: u8, next: &Packet) {
        let len = next.payload_len();
        self.data = self.data.saturating_add(len);
        self.appended = self.appended.saturating_add(1);
        self.hops = self.hops.min(hops);
        self.push = next.tcp.is_some_and(|tcp| tcp.flags & packet::PSH != 0);
        // Where segments end is known from their length.
        self.closed = self.push || len < self.size;
    }

    /// Nothing more can be appended.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Writes into the headers of the first what is true for all. TCP's checksum is left as it was:
    /// those of all segments have been verified.
    pub fn write(&self, head: &mut [u8]) {
        packet::set_hops(head, self.family, self.hops);
        packet::set_ip_len(head, self.family, self.payload.saturating_add(self.data));
        if self.push {
            put(
                head,
                self.l4.saturating_add(13),
                &[packet::ACK | packet::PSH],
            );
        }
    }
}
