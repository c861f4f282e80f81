// SPDX-License-Identifier: GPL-2.0

//! Policy: which rule a packet falls under, and how the rule has it treated
//! (section 3.5.2 and Table 6 of the paper).
//!
//! Rules are looked at in their order, and the first that fits counts. What a
//! rule asks of the session - addresses, ports, protocol, user - is compared once;
//! what it asks of the packet - size, DSCP - with each packet. So a session
//! needs to remember the rules that fit it up to the first that asks nothing of
//! the packet, and these are few.

use crate::proto::addr::Prefix;
use crate::proto::addr::Tuple;
use crate::proto::interface::Name;
use crate::proto::interface::MAX_NAME;
use crate::proto::packet;

/// Rules of a namespace at most.
pub const MAX_RULES: usize = 10_000;

/// Interfaces that a rule names at most.
pub const MAX_INTERFACES: usize = 8;

/// Numbers from the first to the last, both included.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Span {
    /// All numbers.
    pub const ALL: Span = Span {
        first: 0,
        last: u16::MAX,
    };

    /// Whether the number is one of them.
    pub const fn contains(self, number: u16) -> bool {
        self.first <= number && number <= self.last
    }

    const fn is_empty(self) -> bool {
        self.first > self.last
    }

    const fn is_all(self) -> bool {
        self.first == 0 && self.last == u16::MAX
    }
}

/// What packets a rule is for. Everything has to fit.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Prefix of the remote address of the session; any if absent.
    pub dst: Option<Prefix>,
    /// Prefix of the local address of the session; any if absent.
    pub src: Option<Prefix>,
    /// Remote ports.
    pub dst_ports: Span,
    /// Local ports.
    pub src_ports: Span,
    /// IP protocol number, TCP or UDP; 0 for both.
    pub proto: u8,
    /// User ids of the socket's owner, the first and the last; any if absent.
    pub uids: Option<(u32, u32)>,
    /// The control group that the socket belongs to, or one above it; any if absent.
    pub group: Option<u64>,
    /// Lengths of the IP packet, header included, bytes.
    pub sizes: Span,
    /// Differentiated services code point; any if absent.
    pub dscp: Option<u8>,
}

impl Match {
    /// Every packet.
    pub const ALL: Match = Match {
        dst: None,
        src: None,
        dst_ports: Span::ALL,
        src_ports: Span::ALL,
        proto: 0,
        uids: None,
        group: None,
        sizes: Span::ALL,
        dscp: None,
    };

    /// Whether packets of a session may fit.
    pub fn fits_session(&self, flow: &Flow) -> bool {
        let tuple = &flow.tuple;
        let owned = |(first, last)| flow.uid.is_some_and(|uid| first <= uid && uid <= last);
        (self.proto == 0 || self.proto == tuple.proto)
            && self.dst_ports.contains(tuple.remote.port)
            && self.src_ports.contains(tuple.local.port)
            && self.dst.is_none_or(|p| p.contains(&tuple.remote.addr))
            && self.src.is_none_or(|p| p.contains(&tuple.local.addr))
            && self.uids.is_none_or(owned)
            && self.group.is_none_or(|id| flow.groups.contains(id))
    }

    /// Whether this packet of a session that may fit does.
    pub fn fits_packet(&self, packet: &Traits) -> bool {
        self.sizes.contains(packet.size) && self.dscp.is_none_or(|dscp| dscp == packet.dscp)
    }

    /// Whether it depends on the packet.
    pub const fn asks_packet(&self) -> bool {
        self.dscp.is_some() || !self.sizes.is_all()
    }
}

/// What rules may ask of a session.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The tuple that the sockets know.
    pub tuple: Tuple,
    /// The user that the socket belongs to; `None` while nothing was sent that tells, or if it is
    /// nobody's: no rule that asks for users fits.
    pub uid: Option<u32>,
    /// The control group of the socket, known as the user is, and those above it.
    pub groups: Groups,
}

/// Levels of control groups that are looked at, the lowest ones.
pub const MAX_LEVELS: usize = 24;

/// A control group and those above it, by their ids; 0 stands for none.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Groups(pub [u64; MAX_LEVELS]);

impl Groups {
    /// Not known, or none.
    pub const NONE: Groups = Groups([0; MAX_LEVELS]);

    /// Whether it is one of them.
    pub fn contains(&self, id: u64) -> bool {
        id != 0 && self.0.contains(&id)
    }
}

/// What rules may ask of a packet.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Length of the IP packet, header included, bytes; of a burst that is cut later that of one of
    /// its packets.
    pub size: u16,
    /// Differentiated services code point.
    pub dscp: u8,
}

impl Traits {
    /// Reads them from a packet's headers in `head`. `len` is the length of the packet and
    /// `segment` the data in each of its segments, 0 if it is one only, bytes.
    pub fn read(head: &[u8], packet: &packet::Packet, len: usize, segment: usize) -> Traits {
        let size = match segment {
            0 => len,
            data => packet.payload.saturating_add(data).min(len),
        };
        let class = match head {
            // The traffic class begins in the middle of the first byte.
            [a, b, ..] if packet.family == 6 => (a << 4) | (b >> 4),
            [_, b, ..] => *b,
            _ => 0,
        };
        Traits {
            size: u16::try_from(size).unwrap_or(u16::MAX),
            dscp: class >> 2,
        }
    }
}

/// What counts most.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Priority {
    /// All lanes share the packets: the paper's T_f.
    Throughput,
    /// Each packet takes the lane on which it arrives first: the paper's R_f.
    Latency,
}

/// Which lanes are used.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All.
    All,
    /// Those whose paths keep to the limits; if none does the quickest.
    Selected,
    /// One, the quickest, until it fails or another is clearly quicker.
    Single,
    /// Copies of a stream's data, or of datagrams, on all.
    Protected,
    /// The original one, and no session is opened.
    Never,
}

/// What a path must keep to in order to be used.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest one-way delay towards the peer, microseconds.
    pub delay_us: u32,
    /// Largest part of what is sent that is lost, in thousandths.
    pub loss: u32,
    /// Least rate, bytes per second, if a rate is known.
    pub rate: u32,
    /// Largest cost of the interface.
    pub cost: u32,
}

impl Limits {
    /// Whatever a path is like.
    pub const NONE: Limits = Limits {
        delay_us: u32::MAX,
        loss: 1000,
        rate: 0,
        cost: u32::MAX,
    };
}

/// Interfaces by their index; 0 stands for none.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Interfaces(pub [u32; MAX_INTERFACES]);

impl Interfaces {
    /// No choice is made.
    pub const ANY: Interfaces = Interfaces([0; MAX_INTERFACES]);

    /// Some, which their [`Names`] tell: an index that none has.
    pub const NAMED: Interfaces = Interfaces([u32::MAX, 0, 0, 0, 0, 0, 0, 0]);

    /// Whether no choice is made.
    pub fn is_any(&self) -> bool {
        self.0 == [0; MAX_INTERFACES]
    }

    /// Whether it is one of them.
    pub fn contains(&self, ifindex: u32) -> bool {
        ifindex != 0 && self.0.contains(&ifindex)
    }
}

/// Interfaces by their names, be they there or not.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Names([Option<Name>; MAX_INTERFACES]);

impl Names {
    /// Bytes of a list at most.
    pub const MAX_LEN: usize = MAX_INTERFACES * (MAX_NAME + 1) - 1;

    /// Reads a list with blanks between the names. `None` if there is none, if there are too many,
    /// or if one is not what an interface can be called.
    pub fn parse(list: &[u8]) -> Option<Names> {
        let mut names = [None; MAX_INTERFACES];
        let mut slots = names.iter_mut();
        for text in list.split(|b| *b == b' ').filter(|text| !text.is_empty()) {
            *slots.next()? = Some(Name::new(text)?);
        }
        names.first()?.is_some().then_some(Names(names))
    }

    /// The list as it is read, and its length; behind it are zeros, at least one.
    pub fn list(&self) -> ([u8; Names::MAX_LEN + 1], usize) {
        let mut list = [0; Names::MAX_LEN + 1];
        let mut len = 0;
        for name in self.iter() {
            let gap: &[u8] = if len == 0 { b"" } else { b" " };
            for text in [gap, name.as_bytes()] {
                for (to, from) in list.iter_mut().skip(len).zip(text) {
                    *to = *from;
                }
                len = len.saturating_add(text.len());
            }
        }
        (list, len)
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().flatten()
    }
}

/// What becomes of packets.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// What counts most.
    pub priority: Priority,
    /// Which lanes are used.
    pub mode: Mode,
    /// For [`Mode::Selected`].
    pub limits: Limits,
    /// Lanes on paths by these are used, while one of them works.
    pub interfaces: Interfaces,
    /// The receiver puts datagrams in order.
    pub ordered: bool,
}

impl Treatment {
    /// That of packets that no rule fits.
    pub const PLAIN: Treatment = Treatment {
        priority: Priority::Throughput,
        mode: Mode::All,
        limits: Limits::NONE,
        interfaces: Interfaces::ANY,
        ordered: false,
    };
}

/// Why a rule makes no sense.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The destination prefix is longer than its address.
    DstLength,
    /// The source prefix is longer than its address.
    SrcLength,
    /// One address is IPv4, the other one IPv6: no packet has both.
    Families,
    /// The first remote port is above the last.
    DstPorts,
    /// The first local port is above the last.
    SrcPorts,
    /// Neither TCP nor UDP.
    Protocol,
    /// The smallest size is above the largest.
    Sizes,
    /// The first user is above the last.
    Users,
    /// The priority is latency, and the mode leaves no choice.
    NoChoice,
    /// Limits, but another mode than selected.
    LimitsUnused,
    /// Mode selected without a limit.
    LimitsMissing,
    /// Mode never with a set of interfaces.
    InterfacesUnused,
    /// Order for TCP, which has it anyway.
    OrderedStream,
    /// Mode never and order: nothing is added to what takes its own way.
    OrderedNever,
}

/// A rule.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What packets it is for.
    pub matches: Match,
    /// What becomes of them.
    pub treatment: Treatment,
}

impl Rule {
    /// What is wrong with it, if anything.
    pub fn flaw(&self) -> Option<Flaw> {
        let (m, t) = (&self.matches, &self.treatment);
        let long = |p: Option<Prefix>| p.is_some_and(|p| p.len > Prefix::longest(&p.addr));
        let mixed = |a: Prefix, b: Prefix| a.addr.family() != b.addr.family();
        let limited = t.limits != Limits::NONE;
        let choice = matches!(t.mode, Mode::All | Mode::Selected);
        let flaws = [
            (long(m.dst), Flaw::DstLength),
            (long(m.src), Flaw::SrcLength),
            (
                m.dst.zip(m.src).is_some_and(|(a, b)| mixed(a, b)),
                Flaw::Families,
            ),
            (m.dst_ports.is_empty(), Flaw::DstPorts),
            (m.src_ports.is_empty(), Flaw::SrcPorts),
            (
                !matches!(m.proto, 0 | packet::TCP | packet::UDP),
                Flaw::Protocol,
            ),
            (m.sizes.is_empty(), Flaw::Sizes),
            (
                m.uids.is_some_and(|(first, last)| first > last),
                Flaw::Users,
            ),
            (t.priority == Priority::Latency && !choice, Flaw::NoChoice),
            (limited && t.mode != Mode::Selected, Flaw::LimitsUnused),
            (!limited && t.mode == Mode::Selected, Flaw::LimitsMissing),
            (
                t.mode == Mode::Never && !t.interfaces.is_any(),
                Flaw::InterfacesUnused,
            ),
            (t.ordered && m.proto == packet::TCP, Flaw::OrderedStream),
            (t.ordered && t.mode == Mode::Never, Flaw::OrderedNever),
        ];
        flaws.into_iter().find(|(is, _)| *is).map(|(_, flaw)| flaw)
    }
}

/// Of `rules`, in their order, those that may decide over packets of a session: all that fit it,
/// up to the first that asks nothing of the packet. `rule` says which rule an item is.
pub fn candidates<'a, T>(
    rules: impl Iterator<Item = T> + 'a,
    rule: impl Fn(&T) -> &Rule + 'a,
    flow: &'a Flow,
) -> impl Iterator<Item = T> + 'a {
    let mut decided = false;
    let fitting = rules.map_while(move |item| {
        if decided {
            return None;
        }
        let matches = &rule(&item).matches;
        let fits = matches.fits_session(flow);
        decided = fits && !matches.asks_packet();
        Some(fits.then_some(item))
    });
    fitting.flatten()
}

/// Whether the candidates of a session leave none of its packets any lane but the original one.
pub fn is_never<'a>(mut candidates: impl Iterator<Item = &'a Rule>) -> bool {
    let mut decided = false;
    let all = candidates.all(|rule| {
        decided |= !rule.matches.asks_packet();
        rule.treatment.mode == Mode::Never
    });
    // Packets that no rule fits may take any.
    all && decided
}
