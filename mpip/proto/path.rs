// SPDX-License-Identifier: GPL-2.0

//! What is known of one path to a peer (Table 5 of the paper, and more).
//!
//! A path is a pair of a local and a remote address. Its measurements are
//! shared by all sessions with the peer, so a new session starts with what
//! others have learnt.
//!
//! Measuring is a conversation of REPORTs. While data flows, the sender asks
//! for an answer every `cm_interval` on each path; the answer brings back the
//! one-way delay that the question had, what arrived on the path so far, and,
//! by the echo, the round-trip time. Silence makes a path suspect.

use crate::proto::delay::Delay;
use crate::proto::delay::Rtt;
use crate::proto::replay::SmallWindow;
use crate::proto::seq;
use crate::proto::wire::cm::Data;
use crate::proto::wire::cm::Report;
use crate::proto::wire::cm::WANT;
use crate::proto::wire::NO_PATH;

/// Unanswered questions before a path is suspect.
const SUSPECT_AFTER: u8 = 3;
/// The least time without an answer before a path is suspect, microseconds.
const SUSPECT_MIN_US: u32 = 200_000;
/// The least time that the last of these has to be answered, microseconds.
const SUSPECT_LAST_US: u32 = 100_000;
/// Unanswered questions further apart than this have nothing to do with each other, microseconds.
const PAUSE_US: u32 = 3_000_000;
/// Questions whose answers may be under way.
const QUESTIONS: usize = 8;
/// How often a suspect path is probed, microseconds.
const PROBE_US: u32 = 200_000;

/// Totals of a path that its users keep, modulo 2^32 on the wire.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
}

/// What a received CM asks of its receiver.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Seen before or too old: nothing was changed.
    Replayed,
    /// Taken in.
    Taken,
    /// Taken in; to be answered at once with this time stamp as the echo.
    Answer(u32),
}

/// The state of a path.
pub struct Path {
    /// Delay towards the peer, as the peer reports it.
    pub tx: Delay,
    /// Delay from the peer, as measured here.
    pub rx: Delay,
    /// Round-trip time.
    pub rtt: Rtt,
    /// The weight that sessions have learnt, for the next one to start with; 0 for none.
    pub weight: u16,
    /// The peer's id of this path.
    pub peer_id: Option<u8>,
    /// Packets and bytes that the peer says it received.
    pub peer_rx_packets: u64,
    /// See above.
    pub peer_rx_bytes: u64,
    /// Packets that were sent and did not arrive.
    pub lost: u64,
    number: u32,
    window: SmallWindow,
    last_question: u32,
    first_unanswered: u32,
    // When there were enough of them.
    enough_unanswered: u32,
    unanswered: u8,
    suspect: bool,
    last_rx: (u32, i32),
    last_tx: i32,
    measured: bool,
    asked_before: bool,
    // The last questions: their time stamps and how many packets had been sent by then.
    questions: [(u32, u32); QUESTIONS],
    next_question: usize,
    // What had been sent but not counted by the peer when it first answered.
    uncounted: Option<u32>,
    reported: Option<(u32, u32)>,
}

impl Path {
    /// A path that nothing is known of.
    pub fn new() -> Path {
        Path {
            tx: Delay::new(),
            rx: Delay::new(),
            rtt: Rtt::new(),
            weight: 0,
            peer_id: None,
            peer_rx_packets: 0,
            peer_rx_bytes: 0,
            lost: 0,
            number: 0,
            window: SmallWindow::new(),
            last_question: 0,
            first_unanswered: 0,
            enough_unanswered: 0,
            unanswered: 0,
            suspect: false,
            last_rx: (0, 0),
            last_tx: 0,
            measured: false,
            asked_before: false,
            questions: [(0, 0); QUESTIONS],
            next_question: 0,
            uncounted: None,
            reported: None,
        }
    }

    /// Real-time queueing delay towards the peer, microseconds: what the last report says above
    /// the minimum. It is not smoothed: Algorithm 1 only asks which path is above the average,
    /// and a late answer makes it swing.
    pub fn queue(&self) -> u32 {
        seq::delta(self.last_tx as u32, self.tx.min() as u32).max(0) as u32
    }

    /// Whether data was sent and no answer came.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Whether a question is due `interval` after the last one.
    pub fn question_due(&self, now: u32, interval: u32) -> bool {
        let interval = if self.suspect { PROBE_US } else { interval };
        !self.asked_before || seq::age(now, self.last_question) >= interval
    }

    fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        if self.number == 0 {
            // 0 is never valid.
            self.number = 1;
        }
        self.number
    }

    /// The REPORT to send: a question, or the answer to `echo`.
    pub fn report(
        &mut self,
        now: u32,
        session: u32,
        own_id: u8,
        totals: &Totals,
        echo: Option<u32>,
    ) -> Report {
        // An echo of 0 would mean that nothing is answered.
        let timestamp = now.max(1);
        if echo.is_none() {
            // What was lost before a pause must not count against the first question after it.
            if self.unanswered == 0 || seq::age(now, self.last_question) > PAUSE_US {
                self.unanswered = 0;
                self.first_unanswered = now;
            }
            self.asked_before = true;
            self.last_question = now;
            self.unanswered = self.unanswered.saturating_add(1);
            if self.unanswered == SUSPECT_AFTER {
                self.enough_unanswered = now;
            }
            if let Some(slot) = self.questions.get_mut(self.next_question) {
                *slot = (timestamp, totals.tx_packets as u32);
            }
            self.next_question = self.next_question.wrapping_add(1) % QUESTIONS;
        }
        Report {
            session,
            path: own_id,
            feedback: self.feedback_id(),
            flags: if echo.is_none() { WANT } else { 0 },
            timestamp,
            delay: self.last_rx.1,
            number: self.next_number(),
            tx_packets: totals.tx_packets as u32,
            fb_rx_packets: totals.rx_packets as u32,
            fb_rx_bytes: totals.rx_bytes as u32,
            echo: echo.unwrap_or(0),
            hold: 0,
        }
    }

    /// The CM to put behind `length` bytes of user data.
    pub fn data(&mut self, now: u32, session: u32, own_id: u8, length: u16) -> Data {
        Data {
            session,
            path: own_id,
            feedback: self.feedback_id(),
            length,
            timestamp: now,
            delay: self.last_rx.1,
            number: self.next_number(),
        }
    }

    fn feedback_id(&self) -> u8 {
        match self.peer_id {
            Some(id) if self.measured => id,
            _ => NO_PATH,
        }
    }

    /// The peer's id of this path, from a message that came over it or is about it.
    pub fn bind(&mut self, peer_id: u8) {
        self.peer_id = Some(peer_id);
    }

    /// Takes in the stamp of a CM that came over this path. False for a replay, be it of another
    /// path's CM.
    fn on_stamp(&mut self, now: u32, number: u32, path: u8, timestamp: u32) -> bool {
        if self.peer_id.is_some_and(|id| id != path) || !self.window.check_and_set(number) {
            return false;
        }
        self.peer_id = Some(path);
        // Both clocks are modulo 2^32: their difference is, too.
        let delay = now.wrapping_sub(timestamp) as i32;
        self.rx.sample(now, delay);
        self.last_rx = (now, delay);
        self.measured = true;
        true
    }

    /// A DATA CM came over this path. `own_id` is this node's id of it.
    pub fn on_data(&mut self, now: u32, own_id: u8, data: &Data) -> Received {
        if !self.on_stamp(now, data.number, data.path, data.timestamp) {
            return Received::Replayed;
        }
        if data.feedback == own_id {
            self.tx.sample(now, data.delay);
            self.last_tx = data.delay;
        }
        Received::Taken
    }

    /// A REPORT came over this path. `own_id` is this node's id of it.
    pub fn on_report(&mut self, now: u32, own_id: u8, report: &Report) -> Received {
        if !self.on_stamp(now, report.number, report.path, report.timestamp) {
            return Received::Replayed;
        }
        if report.feedback == own_id {
            self.tx.sample(now, report.delay);
            self.last_tx = report.delay;
            self.on_counts(report.fb_rx_packets, report.fb_rx_bytes, report.echo);
        }
        if report.echo != 0 {
            let rtt = now.wrapping_sub(report.echo).wrapping_sub(report.hold);
            // A forged or ancient echo must not poison the estimate.
            if rtt < 60_000_000 {
                self.rtt.sample(rtt);
            }
            self.unanswered = 0;
            self.suspect = false;
        }
        if report.flags & WANT != 0 {
            Received::Answer(report.timestamp)
        } else {
            Received::Taken
        }
    }

    fn on_counts(&mut self, packets: u32, bytes: u32, echo: u32) {
        if let Some((last_packets, last_bytes)) = self.reported {
            let more = packets.wrapping_sub(last_packets);
            // Reports may overtake each other.
            if more < 1 << 31 {
                self.peer_rx_packets = self.peer_rx_packets.wrapping_add(u64::from(more));
                let bytes_more = bytes.wrapping_sub(last_bytes);
                self.peer_rx_bytes = self.peer_rx_bytes.wrapping_add(u64::from(bytes_more));
            } else {
                return;
            }
        } else {
            self.peer_rx_packets = u64::from(packets);
            self.peer_rx_bytes = u64::from(bytes);
        }
        self.reported = Some((packets, bytes));
        // What was sent before the question that this answers has arrived before it, or is lost.
        let sent = self
            .questions
            .iter()
            .find(|(at, _)| echo != 0 && *at == echo);
        if let Some((_, sent)) = sent {
            let missing = sent.wrapping_sub(packets);
            let base = *self.uncounted.get_or_insert(missing);
            self.lost = u64::from((missing.wrapping_sub(base) as i32).max(0) as u32);
        }
    }

    /// Whether the path has just become suspect, to be called now and then. `interval` is the
    /// time between questions.
    pub fn check(&mut self, now: u32, interval: u32) -> bool {
        if self.suspect || self.unanswered < SUSPECT_AFTER {
            return false;
        }
        let patience = SUSPECT_MIN_US
            .max(self.rtt.srtt().saturating_mul(4))
            .max(interval.saturating_mul(2));
        let last = SUSPECT_LAST_US.max(self.rtt.srtt().saturating_mul(2));
        if seq::age(now, self.first_unanswered) < patience
            || seq::age(now, self.enough_unanswered) < last
            || seq::age(now, self.last_question) > PAUSE_US
        {
            return false;
        }
        self.suspect = true;
        true
    }
}

impl Default for Path {
    fn default() -> Self {
        Path::new()
    }
}
