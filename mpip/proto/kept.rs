// SPDX-License-Identifier: GPL-2.0

//! Sent segments that are kept until they are acknowledged, so that what a
//! path has swallowed can be sent again on another one, at once and not when
//! TCP's own timers expire.
//!
//! A ring in the order of sending, bounded in packets and bytes. When it is
//! full the oldest make room: TCP still has them.

use crate::proto::seq;
use core::borrow::BorrowMut;
use core::marker::PhantomData;

/// A kept segment.
#[derive(Debug)]
pub struct Segment<T> {
    /// First sequence number.
    pub start: u32,
    /// Sequence number behind it.
    pub end: u32,
    /// Index of the lane that it was sent on.
    pub lane: u8,
    /// Memory that it takes.
    pub bytes: u32,
    /// How long it was expected to wait in the queue of its path, microseconds.
    pub wait: u32,
    /// When it was sent, microseconds.
    pub sent: u32,
    /// The packet.
    pub packet: T,
}

/// How something was sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Index of the lane.
    pub lane: u8,
    /// When, microseconds.
    pub at: u32,
    /// It had been sent before.
    pub again: bool,
}

impl<T> Segment<T> {
    /// How much of what lies between two sequence numbers it holds, bytes.
    pub fn overlap(&self, from: u32, to: u32) -> u32 {
        let first = seq::max(self.start, from);
        let last = if seq::before(self.end, to) {
            self.end
        } else {
            to
        };
        seq::delta(last, first).max(0) as u32
    }
}

/// The ring. `B` is its storage, supplied by the caller when it is needed.
///
/// Invariants: the `len` slots from `head` on, modulo the number of slots, are
/// `Some`, the others `None`; `bytes` is the sum of theirs.
#[derive(Debug)]
pub struct Kept<T, B> {
    // Of these there is one in every session.
    head: u32,
    len: u32,
    bytes: u32,
    storage: Option<B>,
    packets: PhantomData<T>,
}

impl<T, B: BorrowMut<[Option<Segment<T>>]>> Kept<T, B> {
    /// A ring without storage, which keeps nothing.
    pub const fn new() -> Self {
        Self {
            head: 0,
            len: 0,
            bytes: 0,
            storage: None,
            packets: PhantomData,
        }
    }

    /// Segments kept.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory of what is kept, bytes.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Whether there is storage.
    pub fn has_storage(&self) -> bool {
        self.storage.is_some()
    }

    /// Supplies the storage, whose slots must be `None`. Given back if there is some already.
    pub fn attach(&mut self, storage: B) -> Option<B> {
        if self.storage.is_some() {
            return Some(storage);
        }
        (self.head, self.len, self.bytes) = (0, 0, 0);
        self.storage = Some(storage);
        None
    }

    /// Takes the storage away, with what is kept in it.
    pub fn detach(&mut self) -> Option<B> {
        (self.head, self.len, self.bytes) = (0, 0, 0);
        self.storage.take()
    }

    /// Keeps a segment. Returns how many older ones had to go to keep to `max_bytes` and to the
    /// number of slots; without storage nothing is kept.
    pub fn push(&mut self, segment: Segment<T>, max_bytes: u32) -> u32 {
        let slots = self.storage.as_ref().map_or(0, |s| s.borrow().len());
        if slots == 0 || segment.bytes > max_bytes {
            return 0;
        }
        let mut gone = 0u32;
        while self.len() >= slots || self.bytes.saturating_add(segment.bytes) > max_bytes {
            if self.pop().is_none() {
                break;
            }
            gone = gone.saturating_add(1);
        }
        let at = Self::slot(self.head, self.len, slots) as usize;
        self.bytes = self.bytes.saturating_add(segment.bytes);
        if let Some(slot) = self
            .storage
            .as_mut()
            .and_then(|s| s.borrow_mut().get_mut(at))
        {
            *slot = Some(segment);
            self.len = self.len.saturating_add(1);
        }
        gone
    }

    /// Lets go of the oldest segments that lie before `una`, which the other end has acknowledged.
    pub fn acked(&mut self, una: u32) {
        while self.front().is_some_and(|s| !seq::after(s.end, una)) {
            self.pop();
        }
    }

    /// Takes the oldest segment out.
    pub fn pop(&mut self) -> Option<Segment<T>> {
        let slots = self.storage.as_mut()?.borrow_mut();
        let segment = slots.get_mut(self.head as usize)?.take()?;
        self.head = Self::slot(self.head, 1, slots.len());
        self.len = self.len.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(segment.bytes);
        Some(segment)
    }

    /// Calls `f` with the segments that hold something between two sequence numbers, those that
    /// were sent last first.
    pub fn between(&mut self, from: u32, to: u32, mut f: impl FnMut(&mut Segment<T>)) {
        let (head, len) = (self.head, self.len);
        let Some(storage) = self.storage.as_mut() else {
            return;
        };
        let slots = storage.borrow_mut();
        for i in (0..len).rev() {
            let at = Self::slot(head, i, slots.len()) as usize;
            if let Some(Some(segment)) = slots.get_mut(at) {
                if seq::before(segment.start, to) && seq::after(segment.end, from) {
                    f(segment);
                }
            }
        }
    }

    /// How the byte at a sequence number was sent last, as far as is kept.
    pub fn last_sent(&mut self, seq: u32) -> Option<Sending> {
        let mut last: Option<Sending> = None;
        self.between(seq, seq.wrapping_add(1), |segment| match &mut last {
            Some(last) => last.again = true,
            None => {
                last = Some(Sending {
                    lane: segment.lane,
                    at: segment.sent,
                    again: false,
                })
            }
        });
        last
    }

    fn front(&self) -> Option<&Segment<T>> {
        let slots = self.storage.as_ref()?.borrow();
        slots.get(self.head as usize)?.as_ref()
    }

    /// The slot of the `i`th segment, or of the first one free if `i` is their number.
    fn slot(head: u32, i: u32, slots: usize) -> u32 {
        let at = head.saturating_add(i);
        at.checked_sub(slots as u32).unwrap_or(at)
    }
}

impl<T, B: BorrowMut<[Option<Segment<T>>]>> Default for Kept<T, B> {
    fn default() -> Self {
        Self::new()
    }
}
