// SPDX-License-Identifier: GPL-2.0

//! The control message (CM): Table 1 of the paper, as authenticated messages.
//!
//! [`trailer_len`] finds a CM at the end of a packet, [`Raw`] views it and
//! verifies its tag, [`Raw::parse`] gives its meaning as a [`Cm`], and
//! [`emit`] writes one.

use super::bytes::Reader;
use super::bytes::Writer;
use super::raw::make_footer;
use super::NO_PATH;
use super::OVERHEAD;
use crate::proto::addr::Addr;
use crate::proto::addr::Endpoint;
use crate::proto::crypto;
use crate::proto::crypto::Crypto;

pub use super::list::AddrList;
pub use super::list::Entry;
pub use super::list::Iter;
pub use super::list::OBSERVED;
pub use super::raw::trailer_len;
pub use super::raw::Kind;
pub use super::raw::Raw;
pub use super::MAX_LEN;
pub use super::NUMBER_LEN;

/// Length of a DATA CM, bytes.
pub const DATA_LEN: usize = 32;

/// Length of a REPORT CM, bytes.
pub const REPORT_LEN: usize = 52;

/// Flag of REPORT: answer it at once.
pub const WANT: u16 = 1;

/// Flag of REPORT: the sender wants to use the path that this travels only when nothing else
/// works.
pub const RESERVE: u16 = 2;

/// The same in LANE, LANE_ACK and LANE_CONFIRM.
pub const LANE_RESERVE: u8 = 1;

/// What accompanies user data.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Data {
    /// Session id.
    pub session: u32,
    /// The sender's id of the path that the packet travels.
    pub path: u8,
    /// The addressee's id of the path that `delay` is about; [`NO_PATH`] if
    /// there is nothing to report.
    pub feedback: u8,
    /// TCP: bytes of user data in this segment, before the CM, so that a
    /// merge across a hole is noticed. UDP: 0.
    pub length: u16,
    /// The sender's time, microseconds.
    pub timestamp: u32,
    /// One-way delay of the path `feedback`, microseconds, with the offset
    /// between the two clocks in it (section 3.4.2 of the paper).
    pub delay: i32,
    /// Number against replays, per path.
    pub number: u32,
}

/// A datagram's number: the short form of DATA.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Number {
    /// Session id.
    pub session: u32,
    /// The datagram's place among those of the session.
    pub place: Place,
}

/// A datagram's place among those of its session that have a number.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its number, the same for all copies; never 0.
    pub number: u32,
    /// It is to be delivered behind those with lower numbers.
    pub ordered: bool,
    /// Copies may come on other lanes.
    pub copied: bool,
    /// How much lower the number of the datagram is that was the last to leave on this lane, in
    /// order and without copies; 0 if there was none, it was [`MAX_DISTANCE`] ago or more, or this
    /// one has copies.
    pub distance: u32,
}

/// See [`Place::distance`].
pub const MAX_DISTANCE: u32 = 1 << 30;

/// Marks of a number, above the distance.
const ORDERED: u32 = 1 << 31;
const COPIED: u32 = 1 << 30;

/// What is reported, or asked for, about a path.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Session id.
    pub session: u32,
    /// The sender's id of the path that the packet travels.
    pub path: u8,
    /// The addressee's id of the path that `delay` and the counts are about;
    /// [`NO_PATH`] if there is nothing to report.
    pub feedback: u8,
    /// [`WANT`], [`RESERVE`] or 0; others are ignored when received.
    pub flags: u16,
    /// The sender's time, microseconds.
    pub timestamp: u32,
    /// One-way delay of the path `feedback`, microseconds, as in [`Data`].
    pub delay: i32,
    /// Number against replays, per path.
    pub number: u32,
    /// Packets that the sender has sent on `path`, modulo 2^32.
    pub tx_packets: u32,
    /// Packets received on the path `feedback`, modulo 2^32.
    pub fb_rx_packets: u32,
    /// Bytes received on the path `feedback`, modulo 2^32.
    pub fb_rx_bytes: u32,
    /// `timestamp` of the REPORT that is answered; 0 for none.
    pub echo: u32,
    /// Time between the arrival of that REPORT and this answer, microseconds.
    pub hold: u32,
}

/// What all control CMs start with.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The sender's node id.
    pub node: u64,
    /// Session id; 0 for CMs about the peer.
    pub session: u32,
    /// Number against replays, per peer; 0 in HELLO and HELLO_REPLY.
    pub number: u32,
}

/// HELLO. Padded to the length of its answer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The header.
    pub header: Header,
    /// A random number.
    pub nonce_a: u64,
}

/// HELLO_REPLY.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct HelloReply {
    /// The header.
    pub header: Header,
    /// `nonce_a` of the HELLO.
    pub nonce_a: u64,
    /// The sender's cookie.
    pub nonce_b: u64,
    /// The sender's X25519 key.
    pub public_key: [u8; 32],
}

/// CONFIRM.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Confirm<'a> {
    /// The header.
    pub header: Header,
    /// `nonce_a` of the HELLO.
    pub nonce_a: u64,
    /// `nonce_b` of the HELLO_REPLY.
    pub nonce_b: u64,
    /// The sender's X25519 key.
    pub public_key: [u8; 32],
    /// How the sender can be reached.
    pub block: OpenBlock<'a>,
}

/// OPEN and OPEN_ACK.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Open<'a> {
    /// The header.
    pub header: Header,
    /// How the sender can be reached.
    pub block: OpenBlock<'a>,
}

/// ADDR.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Moved<'a> {
    /// The header.
    pub header: Header,
    /// The sender's paths whose local end is not there now: bit `i` is that of id `i`.
    pub down: u64,
    /// How the sender can be reached.
    pub block: OpenBlock<'a>,
}

/// ADDR_ACK.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct MovedAck {
    /// The header.
    pub header: Header,
    /// Number of the ADDR.
    pub acked: u32,
}

/// CLOSE: the TCP connection of a session was reset.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Close {
    /// The header.
    pub header: Header,
    /// Sequence number of the RST.
    pub seq: u32,
}

/// How a node can be reached.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct OpenBlock<'a> {
    /// The UDP port for paths of UDP sessions and for the wrapper.
    pub udp_port: u16,
    /// The sender's id of the session's original path; [`NO_PATH`] in ADDR.
    pub path: u8,
    /// The sender's addresses.
    pub addrs: AddrList<'a>,
}

/// LANE, LANE_ACK and LANE_CONFIRM.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Lane {
    /// The header.
    pub header: Header,
    /// The sender's id of the path that the packet travels.
    pub path: u8,
    /// [`LANE_RESERVE`] or 0; others are ignored when received.
    pub flags: u8,
    /// The sender's challenge; 0 in LANE_CONFIRM.
    pub challenge: u64,
    /// The challenge that is answered; 0 in LANE.
    pub echo: u64,
    /// The source that the sender saw on the packet that it answers.
    pub observed: Option<Endpoint>,
}

/// Most ranges in one MISSING.
pub const MAX_RANGES: usize = 16;

/// MISSING: parts of a TCP session's stream that were lost on the way, or, in the answer, that
/// will not be sent again.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The header.
    pub header: Header,
    /// Whether this is the answer.
    pub refused: bool,
    /// The parts.
    pub ranges: Ranges,
}

/// A list of parts of a stream.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Ranges {
    list: [(u32, u32); MAX_RANGES],
    len: usize,
}

impl Ranges {
    /// No part.
    pub const fn new() -> Ranges {
        Ranges {
            list: [(0, 0); MAX_RANGES],
            len: 0,
        }
    }

    /// Adds the part from the first sequence number to before the second; false if there are too
    /// many.
    pub fn push(&mut self, from: u32, to: u32) -> bool {
        let Some(slot) = self.list.get_mut(self.len) else {
            return false;
        };
        *slot = (from, to);
        self.len = self.len.saturating_add(1);
        true
    }

    /// Whether there is room for no more.
    pub fn is_full(&self) -> bool {
        self.len >= MAX_RANGES
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The parts, each as its first sequence number and the one behind it.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.list.iter().take(self.len).copied()
    }
}

/// A control message.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Cm<'a> {
    /// [`Kind::Data`].
    Data(Data),
    /// [`Kind::Data`] in its short form.
    Number(Number),
    /// [`Kind::Report`].
    Report(Report),
    /// [`Kind::Hello`].
    Hello(Hello),
    /// [`Kind::HelloReply`].
    HelloReply(HelloReply),
    /// [`Kind::Confirm`].
    Confirm(Confirm<'a>),
    /// [`Kind::Open`].
    Open(Open<'a>),
    /// [`Kind::OpenAck`].
    OpenAck(Open<'a>),
    /// [`Kind::Lane`].
    Lane(Lane),
    /// [`Kind::LaneAck`].
    LaneAck(Lane),
    /// [`Kind::LaneConfirm`].
    LaneConfirm(Lane),
    /// [`Kind::Addr`].
    Addr(Moved<'a>),
    /// [`Kind::Close`].
    Close(Close),
    /// [`Kind::Goodbye`].
    Goodbye(Header),
    /// [`Kind::GoodbyeAck`].
    GoodbyeAck(Header),
    /// [`Kind::AddrAck`].
    AddrAck(MovedAck),
    /// [`Kind::Missing`].
    Missing(Missing),
}

impl Cm<'_> {
    /// The type.
    pub fn kind(&self) -> Kind {
        match self {
            Cm::Data(_) | Cm::Number(_) => Kind::Data,
            Cm::Report(_) => Kind::Report,
            Cm::Hello(_) => Kind::Hello,
            Cm::HelloReply(_) => Kind::HelloReply,
            Cm::Confirm(_) => Kind::Confirm,
            Cm::Open(_) => Kind::Open,
            Cm::OpenAck(_) => Kind::OpenAck,
            Cm::Lane(_) => Kind::Lane,
            Cm::LaneAck(_) => Kind::LaneAck,
            Cm::LaneConfirm(_) => Kind::LaneConfirm,
            Cm::Addr(_) => Kind::Addr,
            Cm::Close(_) => Kind::Close,
            Cm::Goodbye(_) => Kind::Goodbye,
            Cm::GoodbyeAck(_) => Kind::GoodbyeAck,
            Cm::AddrAck(_) => Kind::AddrAck,
            Cm::Missing(_) => Kind::Missing,
        }
    }
}

impl<'a> Raw<'a> {
    /// The meaning; `None` if the body is malformed.
    pub fn parse(&self) -> Option<Cm<'a>> {
        let mut r = Reader(self.body());
        let cm = match self.kind() {
            Kind::Data if r.0.len() < DATA_LEN - OVERHEAD => Cm::Number(Number::read(&mut r)?),
            Kind::Data => Cm::Data(Data::read(&mut r)?),
            Kind::Report => Cm::Report(Report::read(&mut r)?),
            Kind::Hello => {
                let hello = Hello {
                    header: Header::read(&mut r)?,
                    nonce_a: r.u64()?,
                };
                r.bytes(HELLO_PADDING.len())?;
                Cm::Hello(hello)
            }
            Kind::HelloReply => Cm::HelloReply(HelloReply {
                header: Header::read(&mut r)?,
                nonce_a: r.u64()?,
                nonce_b: r.u64()?,
                public_key: r.array()?,
            }),
            Kind::Confirm => Cm::Confirm(Confirm {
                header: Header::read(&mut r)?,
                nonce_a: r.u64()?,
                nonce_b: r.u64()?,
                public_key: r.array()?,
                block: OpenBlock::read(&mut r)?,
            }),
            Kind::Open => Cm::Open(Open::read(&mut r)?),
            Kind::OpenAck => Cm::OpenAck(Open::read(&mut r)?),
            Kind::Lane => Cm::Lane(Lane::read(&mut r)?),
            Kind::LaneAck => Cm::LaneAck(Lane::read(&mut r)?),
            Kind::LaneConfirm => Cm::LaneConfirm(Lane::read(&mut r)?),
            Kind::Addr => Cm::Addr(Moved {
                header: Header::read(&mut r)?,
                down: r.u64()?,
                block: OpenBlock::read(&mut r)?,
            }),
            Kind::AddrAck => Cm::AddrAck(MovedAck {
                header: Header::read(&mut r)?,
                acked: r.u32()?,
            }),
            Kind::Missing => Cm::Missing(Missing::read(&mut r)?),
            Kind::Close => Cm::Close(Close {
                header: Header::read(&mut r)?,
                seq: r.u32()?,
            }),
            Kind::Goodbye => Cm::Goodbye(Header::read(&mut r)?),
            Kind::GoodbyeAck => Cm::GoodbyeAck(Header::read(&mut r)?),
        };
        r.0.is_empty().then_some(cm)
    }
}

/// Writes a CM to the front of `out` and returns its length, bytes.
///
/// `key` is the key towards the addressee, [`crypto::PUBLIC_KEY`] for HELLO
/// and HELLO_REPLY; `node` is this node's id; `ip_proto` is the protocol of the
/// session, 0 for CMs about the peer.
pub fn emit(
    c: &impl Crypto,
    key: &[u8; 16],
    node: u64,
    ip_proto: u8,
    cm: &Cm<'_>,
    out: &mut [u8; MAX_LEN],
) -> usize {
    let mut w = Writer::new(out);
    match cm {
        Cm::Data(data) => data.write(&mut w),
        Cm::Number(number) => number.write(&mut w),
        Cm::Report(report) => report.write(&mut w),
        Cm::Hello(hello) => {
            hello.header.write(&mut w);
            w.u64(hello.nonce_a);
            w.bytes(&HELLO_PADDING);
        }
        Cm::HelloReply(reply) => {
            reply.header.write(&mut w);
            w.u64(reply.nonce_a);
            w.u64(reply.nonce_b);
            w.bytes(&reply.public_key);
        }
        Cm::Confirm(confirm) => {
            confirm.header.write(&mut w);
            w.u64(confirm.nonce_a);
            w.u64(confirm.nonce_b);
            w.bytes(&confirm.public_key);
            confirm.block.write(&mut w);
        }
        Cm::Addr(moved) => {
            moved.header.write(&mut w);
            w.u64(moved.down);
            moved.block.write(&mut w);
        }
        Cm::AddrAck(ack) => {
            ack.header.write(&mut w);
            w.u32(ack.acked);
        }
        Cm::Open(open) | Cm::OpenAck(open) => {
            open.header.write(&mut w);
            open.block.write(&mut w);
        }
        Cm::Lane(lane) | Cm::LaneAck(lane) | Cm::LaneConfirm(lane) => lane.write(&mut w),
        Cm::Missing(missing) => missing.write(&mut w),
        Cm::Close(close) => {
            close.header.write(&mut w);
            w.u32(close.seq);
        }
        Cm::Goodbye(header) | Cm::GoodbyeAck(header) => header.write(&mut w),
    }
    let footer = make_footer(cm.kind(), w.len().saturating_add(OVERHEAD));
    // `MAX_LEN` holds every CM, so there always is a tag.
    let tag = crypto::tag(c, key, node, ip_proto, w.written(), &footer).unwrap_or(0);
    w.u64(tag);
    w.bytes(&footer);
    w.len()
}

/// Makes a HELLO as long as a HELLO_REPLY, so that nothing is gained by sending
/// one with somebody else's address.
const HELLO_PADDING: [u8; 40] = [0; 40];

impl Data {
    fn read(r: &mut Reader<'_>) -> Option<Data> {
        Some(Data {
            session: r.u32()?,
            path: r.u8()?,
            feedback: r.u8()?,
            length: r.u16()?,
            timestamp: r.u32()?,
            delay: r.u32()? as i32,
            number: r.u32()?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.session);
        w.u8(self.path);
        w.u8(self.feedback);
        w.u16(self.length);
        w.u32(self.timestamp);
        w.u32(self.delay as u32);
        w.u32(self.number);
    }
}

impl Number {
    fn read(r: &mut Reader<'_>) -> Option<Number> {
        let session = r.u32()?;
        let number = Some(r.u32()?).filter(|number| *number != 0)?;
        let marks = r.u32()?;
        let place = Place {
            number,
            ordered: marks & ORDERED != 0,
            copied: marks & COPIED != 0,
            distance: marks % MAX_DISTANCE,
        };
        Some(Number { session, place })
    }

    fn write(&self, w: &mut Writer<'_>) {
        let place = &self.place;
        let mark = |is: bool, mark: u32| if is { mark } else { 0 };
        let marks = mark(place.ordered, ORDERED) | mark(place.copied, COPIED);
        w.u32(self.session);
        w.u32(place.number);
        w.u32(marks | (place.distance % MAX_DISTANCE));
    }
}

impl Report {
    fn read(r: &mut Reader<'_>) -> Option<Report> {
        let data = Data::read(r)?;
        Some(Report {
            session: data.session,
            path: data.path,
            feedback: data.feedback,
            flags: data.length,
            timestamp: data.timestamp,
            delay: data.delay,
            number: data.number,
            tx_packets: r.u32()?,
            fb_rx_packets: r.u32()?,
            fb_rx_bytes: r.u32()?,
            echo: r.u32()?,
            hold: r.u32()?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        let data = Data {
            session: self.session,
            path: self.path,
            feedback: self.feedback,
            length: self.flags,
            timestamp: self.timestamp,
            delay: self.delay,
            number: self.number,
        };
        data.write(w);
        w.u32(self.tx_packets);
        w.u32(self.fb_rx_packets);
        w.u32(self.fb_rx_bytes);
        w.u32(self.echo);
        w.u32(self.hold);
    }

    /// Whether `delay` and the counts say something.
    pub fn has_feedback(&self) -> bool {
        self.feedback != NO_PATH
    }
}

impl Header {
    fn read(r: &mut Reader<'_>) -> Option<Header> {
        Some(Header {
            node: r.u64()?,
            session: r.u32()?,
            number: r.u32()?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.node);
        w.u32(self.session);
        w.u32(self.number);
    }
}

impl<'a> OpenBlock<'a> {
    fn read(r: &mut Reader<'a>) -> Option<OpenBlock<'a>> {
        let udp_port = r.u16()?;
        let path = r.u8()?;
        let count = r.u8()?;
        let addrs = AddrList::from_wire(r.bytes(r.0.len())?, count)?;
        Some(OpenBlock {
            udp_port,
            path,
            addrs,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u16(self.udp_port);
        w.u8(self.path);
        w.u8(self.addrs.len());
        self.addrs.write(w);
    }
}

impl<'a> Open<'a> {
    fn read(r: &mut Reader<'a>) -> Option<Open<'a>> {
        Some(Open {
            header: Header::read(r)?,
            block: OpenBlock::read(r)?,
        })
    }
}

impl Missing {
    fn read(r: &mut Reader<'_>) -> Option<Missing> {
        let header = Header::read(r)?;
        let refused = match r.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let count = usize::from(r.u8()?);
        r.u16()?;
        let mut ranges = Ranges::new();
        for _ in 0..count {
            if !ranges.push(r.u32()?, r.u32()?) {
                return None;
            }
        }
        Some(Missing {
            header,
            refused,
            ranges,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.header.write(w);
        w.u8(u8::from(self.refused));
        w.u8(u8::try_from(self.ranges.len).unwrap_or(0));
        w.u16(0);
        for (from, to) in self.ranges.iter() {
            w.u32(from);
            w.u32(to);
        }
    }
}

impl Lane {
    fn read(r: &mut Reader<'_>) -> Option<Lane> {
        let header = Header::read(r)?;
        let path = r.u8()?;
        let flags = r.u8()?;
        let port = r.u16()?;
        let challenge = r.u64()?;
        let echo = r.u64()?;
        let family = r.u32()?;
        let addr: [u8; 16] = r.array()?;
        let observed = match family {
            0 => None,
            4 => Some(Addr::V4(*addr.first_chunk()?)),
            6 => Some(Addr::V6(addr)),
            _ => return None,
        };
        Some(Lane {
            header,
            path,
            flags,
            challenge,
            echo,
            observed: observed.map(|addr| Endpoint { addr, port }),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        let (family, port, addr) = match self.observed {
            None => (0, 0, [0; 16]),
            Some(e) => (e.addr.family(), e.port, e.addr.to_padded()),
        };
        self.header.write(w);
        w.u8(self.path);
        w.u8(self.flags);
        w.u16(port);
        w.u64(self.challenge);
        w.u64(self.echo);
        w.u32(u32::from(family));
        w.bytes(&addr);
    }
}
