// SPDX-License-Identifier: GPL-2.0

//! How far a session's stream is: TCP's numbers at both ends, resets that are not believed, and
//! the reordering buffer. Datagrams without numbers need nothing of it, so that it is not in the
//! first cache lines of a session.

use super::Session;
use crate::{
    net::order::Rx,
    new_bh_lock,
    proto::{
        packet::{
            self,
            TcpHeader, //
        },
        seq, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        clock, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// What a TCP segment of our own needs.
#[derive(Clone, Copy)]
pub struct TcpPosition {
    /// Everything before it was acknowledged by the other end.
    pub una: u32,
    /// What this end has acknowledged last.
    pub ack: u32,
    /// The window of this end, unscaled.
    pub window: u16,
}

impl TcpPosition {
    /// For UDP.
    pub const NONE: TcpPosition = TcpPosition {
        una: 0,
        ack: 0,
        window: 0,
    };
}

/// CLOSE is sent so often at most: what a socket without a session answers to it may be answered
/// with another reset.
const CLOSES: i8 = 8;
/// In which CLOSE comes if the peer means a reset, milliseconds.
const CLOSE_MS: u32 = 300;
/// A reset so long ago says nothing of the next one, milliseconds.
const DOUBT_MS: u32 = 60_000;
/// How often the peer is asked about it.
const CHALLENGES: i8 = 3;

/// What numbers need that say in which order things go: TCP's, and those of datagrams.
#[pin_data]
pub(super) struct Stream {
    una: Atomic<u32>,
    // The end of what has passed the hook, and of what TCP had sent when something passed it last.
    sent: Atomic<u32>,
    taken: Atomic<u32>,
    acked: Atomic<u32>,
    window: Atomic<u32>,
    // When a reset was not believed and the peer was asked; 0 for never.
    doubted_ms: Atomic<u32>,
    // How often the socket is to ask whether the peer still has the connection.
    challenges: Atomic<i8>,
    // How often CLOSE may be sent yet.
    closes: Atomic<i8>,
    // The reordering buffer.
    #[pin]
    rx: BhLock<Rx>,
}

impl Stream {
    /// One of which so much is known.
    pub(super) fn new(position: TcpPosition) -> impl PinInit<Stream> {
        pin_init!(Stream {
            una: Atomic::new(position.una),
            sent: Atomic::new(position.una),
            taken: Atomic::new(position.una),
            acked: Atomic::new(position.ack),
            window: Atomic::new(u32::from(position.window)),
            doubted_ms: Atomic::new(0),
            challenges: Atomic::new(0),
            closes: Atomic::new(CLOSES),
            rx <- new_bh_lock!(Rx::default(), "mpip_session_rx"),
        })
    }
}

impl Session {
    /// Input side: the reordering buffer.
    pub fn rx(&self) -> &BhLock<Rx> {
        &self.stream.rx
    }

    /// Whether a FIN or RST at `seq` can come from the other end: whoever has seen nothing of the
    /// stream cannot know what this end expects.
    pub fn expects(&self, seq: u32) -> bool {
        const FAR: i32 = 1 << 24;
        (0..FAR).contains(&seq::delta(seq, self.acked()))
    }

    /// The other end has acknowledged everything before `una`, as the socket knows.
    pub fn saw_ack(&self, una: u32) {
        if seq::after(una, self.stream.una.read_once()) {
            self.stream.una.write_once(una);
        }
    }

    /// The socket sends what lies at `nxt` next, as it says itself.
    pub fn saw_sent(&self, nxt: u32) {
        self.stream.taken.write_once(nxt);
    }

    /// The end of what the socket had sent for certain when it sent the last packet, without that.
    pub fn taken(&self) -> u32 {
        self.stream.taken.read_once()
    }

    /// A segment came that acknowledges what lies before `tcp.ack`, if it is to be believed; that
    /// is not certain before the socket has looked at it. True if it is new, can be true and could
    /// be the other end's, which is all that TCP asks for.
    pub fn may_be_acked(&self, tcp: &TcpHeader) -> bool {
        tcp.flags & packet::ACK != 0
            && seq::after(tcp.ack, self.stream.una.read_once())
            && !seq::after(tcp.ack, self.stream.sent.read_once())
            && self.expects(tcp.seq)
    }

    /// Whether this is the connection's own SYN-ACK, sent again: a session may be opened before the
    /// handshake has ended.
    pub fn is_syn_ack(&self, tcp: &TcpHeader) -> bool {
        tcp.flags & packet::ACK != 0 && tcp.seq.wrapping_add(1) == self.stream.una.read_once()
    }

    /// A segment with data that ends at `end` is sent. Whether that was sent before.
    pub fn sends(&self, end: u32) -> bool {
        let again = !seq::after(end, self.stream.sent.read_once());
        if !again {
            self.stream.sent.write_once(end);
        }
        again
    }

    /// Whether a segment at this sequence number, or a carrier, can be on its way.
    pub fn has_sent(&self, at: u32) -> bool {
        const CARRIED: u32 = 1 << 20;
        let oldest = self.stream.una.read_once().wrapping_sub(CARRIED);
        !seq::before(at, oldest) && !seq::after(at, self.stream.sent.read_once())
    }

    /// Bytes in flight once everything before `end` has been sent.
    pub fn in_flight(&self, end: u32) -> u32 {
        seq::delta(end, self.stream.una.read_once()).max(0) as u32
    }

    /// This end has acknowledged everything before `ack`, with this window.
    pub fn sent_ack(&self, ack: u32, window: u16) {
        if seq::after(ack, self.stream.acked.read_once()) {
            self.stream.acked.write_once(ack);
        }
        self.stream.window.write_once(u32::from(window));
    }

    /// What this end has acknowledged.
    pub fn acked(&self) -> u32 {
        self.stream.acked.read_once()
    }

    /// Where a TCP segment of our own belongs.
    pub fn position(&self) -> TcpPosition {
        TcpPosition {
            una: self.stream.una.read_once(),
            ack: self.stream.acked.read_once(),
            window: self.stream.window.read_once() as u16,
        }
    }

    /// The socket resets the connection: whether the peer may be told once more.
    pub fn may_close(&self) -> bool {
        let left = self.stream.closes.read_once();
        if left > 0 {
            self.stream.closes.write_once(left.saturating_sub(1));
        }
        left > 0
    }

    /// A reset is not believed: whether one was not believed a while ago either, and the peer,
    /// which answers within `trip_ms` milliseconds, would have said meanwhile that it means it. It
    /// is asked whether it still has the connection.
    pub fn doubts_again(&self, trip_ms: u32) -> bool {
        let now = clock::now_ms().max(1);
        let last = self.stream.doubted_ms.read_once();
        let age = seq::age_ms(now, last);
        let old = last == 0 || age >= DOUBT_MS;
        let again = !old && age >= CLOSE_MS.saturating_add(trip_ms);
        if old || again {
            self.stream.doubted_ms.write_once(now);
            self.stream.challenges.write_once(CHALLENGES);
        }
        again
    }

    /// When the socket is to acknowledge once more what it has received, milliseconds from now, 0
    /// once for each time: a peer without the connection answers that with another reset. The
    /// worker's.
    pub fn challenge_in(&self) -> Option<u32> {
        let left = self.stream.challenges.read_once();
        if left == 0 || self.is_closing() {
            return None;
        }
        let age = seq::age_ms(clock::now_ms(), self.stream.doubted_ms.read_once());
        let due = (CHALLENGES.saturating_sub(left) as u32).saturating_mul(CLOSE_MS);
        let wait = due.saturating_sub(age);
        if wait == 0 {
            // Another reset may have begun anew meanwhile.
            let less = left.saturating_sub(1);
            let _ = self.stream.challenges.cmpxchg(left, less, Relaxed);
        }
        Some(wait)
    }
}
