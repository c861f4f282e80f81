// SPDX-License-Identifier: GPL-2.0

//! What uses the network: a TCP and sources and sinks of datagrams.
//!
//! The TCP is an old one: cumulative acknowledgements, fast retransmit after three duplicates,
//! NewReno recovery, CUBIC growth, a retransmission timer of 200 ms at least. It knows no SACK and
//! undoes nothing, so that every change of order that it sees costs it.

use crate::wire;
use crate::wire::Seg;
use crate::wire::Wire;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet;
use mpip_host::proto::packet::Packet;
use mpip_host::proto::seq;
use std::collections::BTreeMap;

/// Who has a tuple.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A connection.
    Stream {
        /// The next sequence number that it expects.
        rcv_nxt: u32,
        /// What it knows to be acknowledged.
        snd_una: u32,
    },
    /// Another socket.
    Other,
}

/// An application with its socket.
pub enum App {
    /// One end of a TCP connection.
    Tcp(Box<Tcp>),
    /// Sends datagrams.
    Source(Source),
    /// Receives datagrams.
    Sink(Sink),
}

impl App {
    /// The TCP.
    pub fn tcp(&mut self) -> &mut Tcp {
        match self {
            App::Tcp(tcp) => tcp,
            _ => panic!("not TCP"),
        }
    }

    /// Whether packets on this tuple are for it.
    pub fn wants(&self, tuple: &Tuple) -> bool {
        match self {
            App::Tcp(tcp) => tcp.tuple == *tuple,
            App::Source(source) => source.tuple == *tuple,
            App::Sink(sink) => tuple.proto == packet::UDP && tuple.local == sink.local,
        }
    }

    /// Whether a tuple is its socket's, and where in the stream a connection is.
    pub fn owns(&self, tuple: &Tuple) -> Option<Owner> {
        match self {
            _ if !self.wants(tuple) => None,
            App::Tcp(tcp) if tcp.established => Some(Owner::Stream {
                rcv_nxt: tcp.rcv_nxt(),
                snd_una: tcp.seq_of(tcp.una),
            }),
            _ => Some(Owner::Other),
        }
    }

    /// What a connection knows to be acknowledged.
    pub fn una(&self) -> Option<u32> {
        match self {
            App::Tcp(tcp) if tcp.established => Some(tcp.seq_of(tcp.una)),
            _ => None,
        }
    }

    /// A packet came.
    pub fn receive(&mut self, now: u64, packet: &Packet, wire: &Wire) -> Vec<Wire> {
        match self {
            App::Tcp(tcp) => tcp.receive(now, packet, wire),
            App::Source(source) => {
                source.answers += 1;
                Vec::new()
            }
            App::Sink(sink) => {
                sink.receive(now, packet, wire);
                Vec::new()
            }
        }
    }

    /// Time has passed.
    pub fn on_timer(&mut self, now: u64) -> Vec<Wire> {
        match self {
            App::Tcp(tcp) => tcp.on_timer(now),
            App::Source(source) => source.on_timer(now),
            App::Sink(_) => Vec::new(),
        }
    }

    /// A way is open again.
    pub fn wake(&mut self, now: u64) -> Vec<Wire> {
        match self {
            App::Tcp(tcp) => tcp.wake(now),
            _ => Vec::new(),
        }
    }

    /// When to set a timer for; `None` if one is set that is early enough.
    pub fn due(&mut self, now: u64) -> Option<u64> {
        let (due, armed) = match self {
            App::Tcp(tcp) => (tcp.due(), &mut tcp.armed),
            App::Source(source) => (source.due(), &mut source.armed),
            App::Sink(_) => return None,
        };
        let due = due?.max(now);
        if *armed > now && *armed <= due {
            return None;
        }
        *armed = due;
        Some(due)
    }
}

/// Sends datagrams of one size at a constant rate.
pub struct Source {
    tuple: Tuple,
    size: usize,
    interval: f64,
    start: u64,
    end: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that came back.
    pub answers: u64,
    armed: u64,
}

impl Source {
    /// Datagrams of `size` bytes of payload at `rate` bit/s, UDP and IP headers included.
    pub fn app(tuple: Tuple, size: usize, rate: u64, start: u64, end: u64) -> App {
        let header = if tuple.local.addr.family() == 4 {
            28
        } else {
            48
        };
        App::Source(Source {
            tuple,
            size,
            interval: (size + header) as f64 * 8e6 / rate as f64,
            start,
            end,
            sent: 0,
            answers: 0,
            armed: 0,
        })
    }

    fn due(&self) -> Option<u64> {
        let at = self.start + (self.sent as f64 * self.interval) as u64;
        (at < self.end).then_some(at)
    }

    fn on_timer(&mut self, now: u64) -> Vec<Wire> {
        let mut out = Vec::new();
        while self.due().is_some_and(|at| at <= now) {
            let number = self.sent.to_be_bytes();
            out.push(wire::udp(&self.tuple, &number, self.size - number.len()));
            self.sent += 1;
        }
        out
    }
}

/// Receives datagrams on a port.
pub struct Sink {
    local: Endpoint,
    /// Datagrams received.
    pub packets: u64,
    /// Bytes of payload received.
    pub bytes: u64,
    /// Datagrams that came after one that was sent later.
    pub late: u64,
    /// Datagrams with a number that came before.
    pub twice: u64,
    /// The longest time without a datagram, microseconds.
    pub gap: u64,
    /// Everything received, if it is to be kept.
    pub log: Option<Vec<Vec<u8>>>,
    last: Option<u64>,
    highest: Option<u64>,
    seen: std::collections::HashSet<u64>,
}

impl Sink {
    /// A socket.
    pub fn new(local: Endpoint) -> Sink {
        Sink {
            local,
            packets: 0,
            bytes: 0,
            late: 0,
            twice: 0,
            gap: 0,
            log: None,
            last: None,
            highest: None,
            seen: std::collections::HashSet::new(),
        }
    }

    fn receive(&mut self, now: u64, packet: &Packet, wire: &Wire) {
        self.packets += 1;
        self.bytes += packet.payload_len() as u64;
        if let Some(last) = self.last {
            self.gap = self.gap.max(now - last);
        }
        self.last = Some(now);
        let number = wire.copy(packet.payload, 8.min(packet.payload_len()));
        if let Ok(number) = <[u8; 8]>::try_from(number) {
            let number = u64::from_be_bytes(number);
            self.late += u64::from(self.highest.is_some_and(|h| h > number));
            self.highest = self.highest.max(Some(number));
            self.twice += u64::from(!self.seen.insert(number));
        }
        if let Some(log) = &mut self.log {
            log.push(wire.copy(packet.payload, packet.payload_len()));
        }
    }
}

/// Payload of a full segment, bytes.
pub const MSS: u64 = 1400;
/// Bytes in flight at most.
const WINDOW: f64 = 4e6;
const RTO_MIN: u64 = 200_000;
const DELACK: u64 = 40_000;
/// Of a window that met a loss, this is kept.
const BETA: f64 = 0.7;
const CUBIC: f64 = 0.4;

/// What happened to a connection.
#[derive(Copy, Clone, Debug, Default)]
pub struct Stats {
    /// Segments with data sent.
    pub sent: u64,
    /// Those of them sent before.
    pub again: u64,
    /// Fast retransmits.
    pub fast: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Segments received that held nothing new.
    pub old: u64,
    /// Segments received too early.
    pub early: u64,
    /// Bytes that were not those sent.
    pub wrong: u64,
    /// The longest time without progress at the receiver, microseconds.
    pub gap: u64,
    /// RSTs received.
    pub resets: u64,
    /// Segments with something new that were dropped because of an old time stamp.
    pub stale: u64,
}

/// One end of a TCP connection; offsets are those of bytes in the stream.
pub struct Tcp {
    tuple: Tuple,
    active: bool,
    established: bool,
    start: u64,
    limit: u64,
    pattern: bool,
    iss: u32,
    irs: u32,
    una: u64,
    nxt: u64,
    high: u64,
    cwnd: f64,
    ssthresh: f64,
    duplicates: u32,
    recover: Option<u64>,
    /// No fast retransmit before this is acknowledged.
    settled: u64,
    w_max: f64,
    epoch: Option<u64>,
    k: f64,
    w_est: f64,
    srtt: f64,
    rttvar: f64,
    backoff: u32,
    rto_at: Option<u64>,
    timed: Option<(u64, u64)>,
    rcv: u64,
    early: BTreeMap<u64, u64>,
    pending: u32,
    ack_at: Option<u64>,
    last: u64,
    armed: u64,
    /// The time, as far as the connection knows.
    time: u64,
    /// The latest time stamp of the other end, if they are used (RFC 7323).
    stamps: Option<u32>,
    syn_options: Vec<u8>,
    /// What happened.
    pub stats: Stats,
}

/// A byte of the stream.
fn byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

impl Tcp {
    fn new(tuple: Tuple, active: bool, start: u64, limit: u64) -> Tcp {
        Tcp {
            tuple,
            active,
            established: false,
            start,
            limit,
            pattern: false,
            // Near the end, so that every test sees the numbers wrap.
            iss: 0xffff_f000 ^ u32::from(tuple.local.port),
            irs: 0,
            una: 0,
            nxt: 0,
            high: 0,
            cwnd: 10.0 * MSS as f64,
            ssthresh: f64::INFINITY,
            duplicates: 0,
            recover: None,
            settled: 0,
            w_max: 0.0,
            epoch: None,
            k: 0.0,
            w_est: 0.0,
            srtt: 0.0,
            rttvar: 0.0,
            backoff: 0,
            rto_at: None,
            timed: None,
            rcv: 0,
            early: BTreeMap::new(),
            pending: 0,
            ack_at: None,
            last: start,
            armed: 0,
            time: 0,
            stamps: None,
            syn_options: vec![2, 4, 5, 0xb4],
            stats: Stats::default(),
        }
    }

    /// The end that connects at `start` and sends `limit` bytes.
    pub fn client(tuple: Tuple, start: u64, limit: u64) -> Tcp {
        Tcp::new(tuple, true, start, limit)
    }

    /// The end that is connected to; it sends `limit` bytes.
    pub fn server(tuple: Tuple, limit: u64) -> Tcp {
        Tcp::new(tuple, false, 0, limit)
    }

    /// Sends a pattern instead of zeros, and expects one.
    pub fn with_pattern(mut self) -> Tcp {
        self.pattern = true;
        self
    }

    /// Puts time stamps on its segments, and drops what has an older one than what came before.
    /// Both ends have to.
    pub fn with_stamps(mut self) -> Tcp {
        self.stamps = Some(0);
        self
    }

    /// An application.
    pub fn app(self) -> App {
        App::Tcp(Box::new(self))
    }

    /// The options of a segment.
    fn options(&self) -> Vec<u8> {
        let Some(echo) = self.stamps else {
            return Vec::new();
        };
        let value = (self.time / 1000) as u32;
        [
            &[1, 1, 8, 10][..],
            &value.to_be_bytes(),
            &echo.to_be_bytes(),
        ]
        .concat()
    }

    /// Bytes received in order.
    pub fn received(&self) -> u64 {
        self.rcv
    }

    /// Forgets the longest gap.
    pub fn reset_gap(&mut self, now: u64) {
        self.stats.gap = 0;
        self.last = now;
    }

    fn seq_of(&self, offset: u64) -> u32 {
        self.iss.wrapping_add(1).wrapping_add(offset as u32)
    }

    fn rcv_nxt(&self) -> u32 {
        self.irs.wrapping_add(1).wrapping_add(self.rcv as u32)
    }

    fn due(&self) -> Option<u64> {
        let start =
            (self.active && !self.established && self.rto_at.is_none()).then_some(self.start);
        [self.rto_at, self.ack_at, start]
            .into_iter()
            .flatten()
            .min()
    }

    fn syn(&self) -> Wire {
        let flags = if self.active {
            packet::SYN
        } else {
            packet::SYN | packet::ACK
        };
        let seg = Seg {
            seq: self.iss,
            ack: if self.active { 0 } else { self.rcv_nxt() },
            flags,
            options: &self.syn_options,
            ..Seg::default()
        };
        wire::tcp(&self.tuple, &seg)
    }

    fn ack(&mut self) -> Wire {
        self.pending = 0;
        self.ack_at = None;
        let seg = Seg {
            seq: self.seq_of(self.nxt),
            ack: self.rcv_nxt(),
            flags: packet::ACK,
            options: &self.options(),
            ..Seg::default()
        };
        wire::tcp(&self.tuple, &seg)
    }

    fn segment(&mut self, now: u64, offset: u64) -> Wire {
        let len = MSS.min(self.limit - offset);
        self.stats.sent += 1;
        if offset < self.high {
            self.stats.again += 1;
            // A retransmission must not be timed (Karn).
            self.timed = None;
        } else if self.timed.is_none() {
            self.timed = Some((offset + len, now));
        }
        self.high = self.high.max(offset + len);
        self.pending = 0;
        self.ack_at = None;
        let payload: Vec<u8> = if self.pattern {
            (offset..offset + len).map(byte).collect()
        } else {
            Vec::new()
        };
        let seg = Seg {
            seq: self.seq_of(offset),
            ack: self.rcv_nxt(),
            flags: packet::ACK,
            options: &self.options(),
            pad: len as usize - payload.len(),
            payload: &payload,
        };
        wire::tcp(&self.tuple, &seg)
    }

    fn push(&mut self, now: u64, out: &mut Vec<Wire>) {
        while self.nxt < self.limit
            && ((self.nxt - self.una) as f64) + MSS as f64 <= self.cwnd.min(WINDOW)
        {
            let offset = self.nxt;
            out.push(self.segment(now, offset));
            self.nxt += MSS.min(self.limit - offset);
        }
        if self.una == self.nxt {
            self.rto_at = None;
        } else if self.rto_at.is_none() {
            self.rto_at = Some(now + self.rto());
        }
    }

    fn rto(&self) -> u64 {
        let base = if self.srtt == 0.0 {
            1_000_000
        } else {
            RTO_MIN.max((self.srtt + 4.0 * self.rttvar) as u64)
        };
        (base << self.backoff.min(8)).min(60_000_000)
    }

    fn on_timer(&mut self, now: u64) -> Vec<Wire> {
        let mut out = Vec::new();
        self.time = now;
        if self.active && !self.established {
            if self.rto_at.map_or(now >= self.start, |at| now >= at) {
                self.rto_at = Some(now + self.rto());
                self.backoff += 1;
                out.push(self.syn());
            }
            return out;
        }
        if self.ack_at.is_some_and(|at| now >= at) {
            out.push(self.ack());
        }
        if self.rto_at.is_some_and(|at| now >= at) {
            self.stats.timeouts += 1;
            self.ssthresh = (self.cwnd * BETA).max(2.0 * MSS as f64);
            self.w_max = self.cwnd;
            self.epoch = None;
            self.cwnd = MSS as f64;
            self.recover = None;
            self.settled = self.high;
            self.duplicates = 0;
            self.nxt = self.una;
            self.backoff += 1;
            self.timed = None;
            self.rto_at = None;
            self.push(now, &mut out);
        }
        out
    }

    /// Sends at once what waits for its timer to fire again, or says again what was received.
    fn wake(&mut self, now: u64) -> Vec<Wire> {
        if self.established && self.backoff != 0 && self.rto_at.is_some() {
            self.backoff = 0;
            self.rto_at = Some(now);
        }
        let mut out = self.on_timer(now);
        if self.established && self.rto_at.is_none() {
            out.push(self.ack());
        }
        out
    }

    fn receive(&mut self, now: u64, packet: &Packet, wire: &Wire) -> Vec<Wire> {
        let mut out = Vec::new();
        self.time = now;
        let Some(header) = packet.tcp else { return out };
        if header.flags & packet::RST != 0 {
            self.stats.resets += 1;
            return out;
        }
        if header.flags & packet::SYN != 0 {
            self.irs = header.seq;
            if self.active {
                self.established = true;
                self.rto_at = None;
                self.backoff = 0;
                self.last = now;
                out.push(self.ack());
                self.push(now, &mut out);
            } else {
                out.push(self.syn());
            }
            return out;
        }
        if !self.active && !self.established {
            self.established = true;
            self.last = now;
        }
        if packet.payload_len() != 0 {
            self.data(now, header.seq, packet, wire, &mut out);
        }
        if header.flags & packet::ACK != 0 {
            self.on_ack(now, header.ack, packet.payload_len() != 0, &mut out);
        }
        out
    }

    fn data(&mut self, now: u64, seq: u32, packet: &Packet, wire: &Wire, out: &mut Vec<Wire>) {
        let from = self.rcv as i64 + i64::from(seq::delta(seq, self.rcv_nxt()));
        let to = from + packet.payload_len() as i64;
        if to <= self.rcv as i64 {
            self.stats.old += 1;
            out.push(self.ack());
            return;
        }
        let (from, to) = (from.max(0) as u64, to as u64);
        if let Some(latest) = &mut self.stamps {
            let options = wire.copy(packet.l4 + 20, packet.payload - packet.l4 - 20);
            let at = options.len() - 8;
            let stamp = u32::from_be_bytes(options[at..at + 4].try_into().expect("four bytes"));
            if stamp < *latest {
                self.stats.stale += 1;
                out.push(self.ack());
                return;
            }
            if from <= self.rcv {
                *latest = stamp;
            }
        }
        if self.pattern {
            let bytes = wire.copy(packet.payload, packet.payload_len());
            let first = to - bytes.len() as u64;
            let wrong = bytes.iter().zip(first..).filter(|(b, i)| **b != byte(*i));
            self.stats.wrong += wrong.count() as u64;
        }
        if from > self.rcv {
            self.stats.early += 1;
            let end = self.early.entry(from).or_insert(to);
            *end = to.max(*end);
            out.push(self.ack());
            return;
        }
        self.stats.gap = self.stats.gap.max(now - self.last);
        self.last = now;
        self.rcv = to;
        let holes = !self.early.is_empty();
        while let Some((from, to)) = self.early.first_key_value().map(|(f, t)| (*f, *t)) {
            if from > self.rcv {
                break;
            }
            self.rcv = self.rcv.max(to);
            self.early.pop_first();
        }
        self.pending += 1;
        if holes || self.pending >= 2 {
            out.push(self.ack());
        } else {
            self.ack_at = Some(now + DELACK);
        }
    }

    fn on_ack(&mut self, now: u64, ack: u32, with_data: bool, out: &mut Vec<Wire>) {
        let ack = self.una as i64 + i64::from(seq::delta(ack, self.seq_of(self.una)));
        let Ok(ack) = u64::try_from(ack) else { return };
        if ack > self.high || ack < self.una {
            return;
        }
        if ack == self.una {
            if !with_data && self.high > self.una {
                self.on_duplicate(now, out);
            }
            self.push(now, out);
            return;
        }
        let acked = (ack - self.una) as f64;
        self.una = ack;
        self.nxt = self.nxt.max(ack);
        self.duplicates = 0;
        self.backoff = 0;
        if let Some((end, at)) = self.timed {
            if ack >= end {
                self.timed = None;
                self.sample((now - at) as f64);
            }
        }
        self.rto_at = Some(now + self.rto());
        match self.recover {
            Some(recover) if ack < recover => {
                // Partial: the next hole starts here.
                let wire = self.segment(now, ack);
                out.push(wire);
                self.cwnd = (self.cwnd - acked).max(MSS as f64) + MSS as f64;
            }
            Some(_) => {
                self.recover = None;
                self.cwnd = self.ssthresh;
            }
            None => self.grow(now, acked),
        }
        self.push(now, out);
    }

    fn on_duplicate(&mut self, now: u64, out: &mut Vec<Wire>) {
        self.duplicates += 1;
        if self.recover.is_some() {
            self.cwnd += MSS as f64;
            return;
        }
        if self.duplicates == 3 && self.una >= self.settled {
            self.stats.fast += 1;
            self.recover = Some(self.high);
            self.settled = self.high;
            self.w_max = self.cwnd;
            self.epoch = None;
            self.ssthresh = (self.cwnd * BETA).max(2.0 * MSS as f64);
            self.cwnd = self.ssthresh + 3.0 * MSS as f64;
            let una = self.una;
            let wire = self.segment(now, una);
            out.push(wire);
            self.rto_at = Some(now + self.rto());
        }
    }

    fn sample(&mut self, rtt: f64) {
        if self.srtt == 0.0 {
            self.srtt = rtt;
            self.rttvar = rtt / 2.0;
        } else {
            self.rttvar += ((rtt - self.srtt).abs() - self.rttvar) / 4.0;
            self.srtt += (rtt - self.srtt) / 8.0;
        }
    }

    fn grow(&mut self, now: u64, acked: f64) {
        let mss = MSS as f64;
        if self.cwnd < self.ssthresh {
            self.cwnd += acked.min(2.0 * mss);
            return;
        }
        let epoch = *self.epoch.get_or_insert_with(|| {
            self.w_max = self.w_max.max(self.cwnd);
            self.k = ((self.w_max - self.cwnd) / mss / CUBIC).cbrt();
            self.w_est = self.cwnd;
            now
        });
        let t = ((now - epoch) as f64 + self.srtt) / 1e6;
        let target = self.w_max + CUBIC * (t - self.k).powi(3) * mss;
        self.w_est += 0.53 * mss * acked / self.cwnd;
        let step = ((target - self.cwnd) / self.cwnd * acked).clamp(0.0, acked / 2.0);
        self.cwnd = (self.cwnd + step).max(self.w_est).min(WINDOW);
    }
}
