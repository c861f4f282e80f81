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
//! by the echo, the round-trip time. Silence makes a path doubtful, then suspect.

mod standing;

pub use standing::Standing;
pub use standing::LONG_AGO_US;

use crate::proto::addr::Endpoint;
use crate::proto::blackhole;
use crate::proto::blackhole::BlackHole;
use crate::proto::delay::Delay;
use crate::proto::delay::Rtt;
use crate::proto::loss;
use crate::proto::loss::Losses;
use crate::proto::loss::Missing;
use crate::proto::loss::Queue;
use crate::proto::loss::QueueEnd;
use crate::proto::rate::Arrival;
use crate::proto::rate::Rate;
use crate::proto::replay::SmallWindow;
use crate::proto::seq;
use crate::proto::wire::cm::Data;
use crate::proto::wire::cm::Report;
use crate::proto::wire::cm::RESERVE;
use crate::proto::wire::cm::WANT;
use crate::proto::wire::NO_PATH;

/// Unanswered questions that it takes for a path to be suspect.
const SUSPECT_AFTER: usize = 3;
/// The longest time between two questions that a long round trip is a reason for, microseconds.
const SELDOM_US: u32 = 50_000;
/// Questions that are closer count as one where those without an answer are counted, microseconds.
const CLOSE_US: u32 = 5_000;
/// Questions whose answers may be under way.
const QUESTIONS: usize = 32;

/// Samples until a path counts as measured.
const FIRST_SAMPLES: u32 = 8;
/// A path that carries nothing is asked so many times less often.
const IDLE_INTERVALS: u32 = 10;

/// Where the peer sees a port of this node that is behind a NAT.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What the NAT has made of it.
    pub end: Endpoint,
    /// The port of this node.
    pub port: u16,
    /// Its protocol: TCP or UDP.
    pub proto: u8,
}

/// Totals of a path that its users keep, modulo 2^32 on the wire.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets among them that were larger than [`blackhole::SMALL`].
    pub tx_long_packets: u64,
    /// Bytes of those.
    pub tx_long_bytes: u64,
    /// Packets among those that should get through as they are.
    pub tx_large_packets: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// How long what is sent now is expected to wait in the queue, microseconds.
    pub wait_us: u32,
    /// The longest that anything sent since the last question was expected to, microseconds.
    pub longest_us: u32,
}

impl Totals {
    /// What was sent, by size.
    fn sent(&self) -> blackhole::Sent {
        blackhole::Sent {
            large: self.tx_large_packets as u32,
            small: self.tx_packets.wrapping_sub(self.tx_long_packets) as u32,
            small_bytes: self.tx_bytes.wrapping_sub(self.tx_long_bytes) as u32,
        }
    }
}

/// A question that was asked.
#[derive(Copy, Clone, Debug, Default)]
struct Question {
    /// Its time stamp; 0, which no question has, if there was none.
    at: u32,
    /// Whether it tells what part of the questions gets no answer.
    counts: bool,
    /// Packets sent by then.
    packets: u32,
    /// What had been sent by then, by size.
    sent: blackhole::Sent,
    /// How long it was expected to wait in the queue, microseconds.
    wait: u32,
    /// The longest that anything sent since the question before was expected to, microseconds.
    longest: u32,
}

impl Question {
    /// None was asked.
    const NONE: Question = Question {
        at: 0,
        counts: false,
        packets: 0,
        sent: blackhole::Sent {
            large: 0,
            small: 0,
            small_bytes: 0,
        },
        wait: 0,
        longest: 0,
    };

    /// The queue was longer by `error`, microseconds, than it was thought to be.
    fn correct(&mut self, error: i32) {
        self.wait = off(self.wait, error);
        self.longest = off(self.longest, error);
    }
}

/// A wait that was longer by `error`, microseconds.
fn off(wait: u32, error: i32) -> u32 {
    (wait as i32).saturating_add(error).max(0) as u32
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
    /// Where the peer sees this node, if not at the local address.
    pub observed: Option<Observed>,
    /// Packets and bytes that the peer says it received.
    pub peer_rx_packets: u64,
    /// See above.
    pub peer_rx_bytes: u64,
    /// Packets that were sent and did not arrive.
    pub lost: u64,
    /// Whether what is lost is congestion.
    pub losses: Losses,
    /// This end wants to use it only when nothing else works, and says so in each report.
    pub reserve: bool,
    // The peer does, and the number of the report that said so last.
    peer_reserve: (u32, bool),
    number: u32,
    window: SmallWindow,
    last_question: u32,
    last_counted: u32,
    // The oldest questions that neither their own answer nor a later one's has settled.
    open: [Option<u32>; SUSPECT_AFTER],
    // When the last answer came.
    heard: Option<u32>,
    looked: u32,
    standing: Standing,
    suspect_since: u32,
    // When it returned from its last failure, and how long it is kept back since then.
    returned: Option<u32>,
    rest: u32,
    // The part of the questions without answer, in 1024ths, an average with gain 1/16.
    missed: u32,
    lossy: bool,
    last_rx: (u32, i32),
    last_tx: i32,
    measured: bool,
    asked_before: bool,
    // The last questions.
    questions: [Question; QUESTIONS],
    next_question: usize,
    missing: Missing,
    // The question that was answered last.
    answered: Option<u32>,
    reported: Option<(u32, u32)>,
    rate: Rate,
    rx_queue: Queue,
    samples: u32,
    // Something was lost since the last answer that told of the queue, with so much queue,
    // microseconds.
    overflow: Option<u32>,
    queue_end: QueueEnd,
    // How much longer the queue has turned out to be than it was thought to be, microseconds.
    error: i32,
    sizes: BlackHole,
    is_black_hole: bool,
    found_at: Option<u32>,
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
            observed: None,
            peer_rx_packets: 0,
            peer_rx_bytes: 0,
            lost: 0,
            number: 0,
            window: SmallWindow::new(),
            last_question: 0,
            last_counted: 0,
            open: [None; SUSPECT_AFTER],
            heard: None,
            looked: 0,
            standing: Standing::Good,
            suspect_since: 0,
            returned: None,
            rest: 0,
            missed: 0,
            lossy: false,
            last_rx: (0, 0),
            last_tx: 0,
            measured: false,
            asked_before: false,
            questions: [Question::NONE; QUESTIONS],
            next_question: 0,
            missing: Missing::new(),
            answered: None,
            reported: None,
            rate: Rate::new(),
            losses: Losses::new(),
            reserve: false,
            peer_reserve: (0, false),
            rx_queue: Queue::new(),
            samples: 0,
            overflow: None,
            queue_end: QueueEnd::new(),
            error: 0,
            sizes: BlackHole::new(),
            is_black_hole: false,
            found_at: None,
        }
    }

    /// Real-time queueing delay towards the peer, microseconds: what the last report says above
    /// the minimum. It is not smoothed: Algorithm 1 only asks which path is above the average,
    /// and a late answer makes it swing.
    pub fn queue(&self) -> u32 {
        seq::delta(self.last_tx as u32, self.tx.min() as u32).max(0) as u32
    }

    /// How often it is asked while it carries nothing and others are in use, microseconds: first
    /// samples may be far from the truth. `interval` is that of paths in use.
    pub fn idle_interval(&self, interval: u32) -> u32 {
        if self.samples < FIRST_SAMPLES {
            interval
        } else {
            interval.saturating_mul(IDLE_INTERVALS)
        }
    }

    /// How often it is asked at most, microseconds. What is far or has a long queue is slow to
    /// change, and often thin: a few questions in each round trip are enough.
    pub fn pace(&self) -> u32 {
        if self.samples < FIRST_SAMPLES {
            0
        } else {
            (self.rtt.srtt() / 10).min(SELDOM_US)
        }
    }

    /// What it carries towards the peer, bytes per second; 0 while unknown.
    pub fn rate(&self) -> u32 {
        self.rate.get()
    }

    /// What a single packet may expect, bytes per second; see [`Rate::prospect`].
    pub fn prospect(&self) -> u32 {
        self.rate.prospect()
    }

    /// See [`Rate::asks_after`].
    pub fn asks_after(&self) -> u32 {
        self.rate.asks_after()
    }

    /// Whether its rate is unknown, and may soon be known.
    pub fn is_new(&self) -> bool {
        self.rate.is_new()
    }

    /// The part of the questions that gets no answer, in 1024ths.
    pub fn loss(&self) -> u32 {
        self.missed
    }

    /// Least round-trip time, microseconds; 0 while unknown. The clocks' offset cancels out.
    pub fn base_rtt(&self) -> u32 {
        match (self.tx.last(), self.rx.last()) {
            (Some(_), Some(_)) => self.tx.min().wrapping_add(self.rx.min()).max(0) as u32,
            _ => 0,
        }
    }

    /// Queueing delay from the peer, microseconds, as the last message had it.
    fn queue_from_peer(&self) -> u32 {
        seq::delta(self.last_rx.1 as u32, self.rx.min() as u32).max(0) as u32
    }

    /// Whether what is lost on the way from the peer is likely to be congestion.
    pub fn is_crowded_from_peer(&self) -> bool {
        self.queue_from_peer() >= loss::full(self.rx.max_queue()) || self.rx_queue.is_standing()
    }

    /// The queue that counts as full, microseconds.
    pub fn full_queue(&self) -> u32 {
        loss::full(self.tx.max_queue())
    }

    /// How long the queue is when packets get lost in it, microseconds; 0 while that is unknown.
    pub fn queue_limit(&self) -> u32 {
        self.queue_end.get()
    }

    /// How much longer the queue is than it was thought to be, microseconds, since the last call.
    pub fn take_error(&mut self) -> i32 {
        core::mem::take(&mut self.error)
    }

    /// Whether it has turned out, since the last call, to lose all packets larger than
    /// [`blackhole::SMALL`].
    pub fn take_black_hole(&mut self) -> bool {
        core::mem::take(&mut self.is_black_hole)
    }

    /// The number of the last REPORT.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its numbers follow the last one of a path that had the same id: the peer may still know that
    /// path, and take what has a lower number for repeated.
    pub fn follow(&mut self, number: u32) {
        self.number = number;
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
            // Of those that are asked behind bursts many are lost at once, if any.
            let counts = !self.asked_before || seq::age(now, self.last_counted) >= CLOSE_US;
            if counts {
                self.last_counted = now;
            }
            self.asked_before = true;
            self.last_question = now;
            if self.open_since().is_none() {
                self.looked = now;
            }
            if let Some(slot) = self.open.iter_mut().find(|slot| slot.is_none()) {
                *slot = Some(timestamp);
            }
            if let Some(slot) = self.questions.get_mut(self.next_question) {
                *slot = Question {
                    at: timestamp,
                    counts,
                    packets: totals.tx_packets as u32,
                    sent: totals.sent(),
                    wait: totals.wait_us,
                    longest: totals.longest_us,
                };
            }
            self.next_question = self.next_question.wrapping_add(1) % QUESTIONS;
        }
        Report {
            session,
            path: own_id,
            feedback: self.feedback_id(),
            flags: if echo.is_none() { WANT } else { 0 } | if self.reserve { RESERVE } else { 0 },
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

    /// Whether the peer wants to use it only when nothing else works, as its latest report says.
    pub fn is_peer_reserve(&self) -> bool {
        self.peer_reserve.1
    }

    /// The peer says so, or not, before it has sent a report.
    pub fn set_peer_reserve(&mut self, reserve: bool) {
        if self.peer_reserve.0 == 0 {
            self.peer_reserve.1 = reserve;
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
        self.rx_queue.sample(now, self.queue_from_peer());
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
        // Reports may overtake each other: the newest counts.
        let (newest, _) = self.peer_reserve;
        if newest == 0 || seq::after(report.number, newest) {
            self.peer_reserve = (report.number, report.flags & RESERVE != 0);
        }
        if report.feedback == own_id {
            self.tx.sample(now, report.delay);
            self.last_tx = report.delay;
            self.on_counts(now, report.fb_rx_packets, report.fb_rx_bytes, report.echo);
            self.on_queue(now, report);
        }
        if report.echo != 0 {
            let rtt = now.wrapping_sub(report.echo).wrapping_sub(report.hold);
            // A forged or ancient echo must not poison the estimate.
            if rtt < 60_000_000 {
                self.rtt.sample(rtt);
            }
            self.settle(now, report.echo);
        }
        if report.flags & WANT != 0 {
            Received::Answer(report.timestamp)
        } else {
            Received::Taken
        }
    }

    fn on_counts(&mut self, now: u32, packets: u32, bytes: u32, echo: u32) {
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
        let asked = self.questions.iter().find(|q| echo != 0 && q.at == echo);
        if let Some(asked) = asked.copied() {
            let missing = asked.packets.wrapping_sub(packets);
            // What a path that had failed has swallowed says nothing of its queue.
            let longest = match self.standing {
                Standing::Suspect => self.queue(),
                _ => self.longest_until(&asked),
            };
            self.answered = Some(echo);
            if let Some((lost, queue)) = self.missing.answer(missing, longest) {
                self.lost = self.lost.wrapping_add(u64::from(lost));
                self.overflow = Some(queue);
            }
            let arrived = blackhole::Arrived { packets, bytes };
            // What was asked before it was found tells of the same packets.
            let anew = self.found_at.is_none_or(|at| seq::after(asked.at, at));
            if anew && self.sizes.sample(asked.at, asked.sent, arrived) {
                self.is_black_hole = true;
                self.found_at = Some(now);
            }
        }
    }

    /// The longest that the queue was since the question that was answered before this one,
    /// microseconds: a queue in which something was lost is shorter again when the next question
    /// gets there. What was thought too long, as what is lost does not wait, was so then as well.
    fn longest_until(&self, asked: &Question) -> u32 {
        let since = |q: &&Question| {
            let later = self.answered.is_none_or(|at| seq::after(q.at, at));
            q.at != 0 && later && !seq::after(q.at, asked.at)
        };
        let longest = self.questions.iter().filter(since).map(|q| q.longest).max();
        let queue = self.queue();
        let error = seq::delta(queue, asked.wait);
        longest.map_or(queue, |longest| queue.max(off(longest, error)))
    }

    /// An answer says how long its question has waited in the queue, and how much has arrived by
    /// then.
    fn on_queue(&mut self, now: u32, report: &Report) {
        self.samples = self.samples.saturating_add(1);
        let queue = self.queue();
        self.losses.queue.sample(now, queue);
        self.losses.age(now);
        let asked = |q: &&Question| report.echo != 0 && q.at == report.echo;
        let Some(wait) = self.questions.iter().find(asked).map(|q| q.wait) else {
            return;
        };
        let lost = self.overflow.take();
        // A queue that stays as it is while packets get lost has no room for more, however short
        // it seems: if it was full when it was measured first, it is longer by what it was then.
        let full = lost.is_some() && self.losses.queue.is_flat(self.tx.max_queue());
        let longest = lost.filter(|_| !full).map_or(queue, |then| queue.max(then));
        self.queue_end.sample(now, longest, lost.is_some(), full);
        self.rate.sample(Arrival {
            at: report.timestamp,
            bytes: report.fb_rx_bytes,
            queue,
            full,
        });
        let error = seq::delta(queue, wait);
        self.error = self.error.saturating_add(error);
        // Those that are still open were asked with the same error.
        for later in &mut self.questions {
            if later.at != 0 && seq::after(later.at, report.echo) {
                later.correct(error);
            }
        }
    }

    /// The question asked at `echo` was answered: it and all before it are settled.
    fn settle(&mut self, now: u32, echo: u32) {
        self.count_missed(echo);
        self.heard = Some(now);
        if self.standing == Standing::Suspect {
            self.returned = Some(now);
            // Whatever was in its queue has gone.
            self.error = 0;
            for question in &mut self.questions {
                (question.wait, question.longest) = (0, 0);
            }
        }
        self.standing = self.good(now);
        let later = |at: &u32| seq::after(*at, echo);
        let open = self.questions.iter().map(|q| q.at).filter(later);
        // Those that were never used have time stamp 0, which no question has.
        let open = open.filter(|at| *at != 0 && !seq::after(*at, self.last_question.max(1)));
        self.open = [None; SUSPECT_AFTER];
        for at in open {
            // Sorted in, the oldest first; the latest falls out.
            let mut at = Some(at);
            for slot in &mut self.open {
                let earlier = match (at, *slot) {
                    (Some(a), Some(b)) => seq::before(a, b),
                    (at, None) => at.is_some(),
                    _ => false,
                };
                if earlier {
                    core::mem::swap(slot, &mut at);
                }
            }
        }
    }

    /// A lane on it has come up in the place of another, which something on the way may have
    /// forgotten: the questions that were lost there say nothing of the path.
    pub fn forgive(&mut self, now: u32) {
        self.missed = 0;
        self.lossy = false;
        if self.standing == Standing::Lossy {
            self.standing = self.good(now);
        }
    }
}

impl Default for Path {
    fn default() -> Self {
        Path::new()
    }
}
