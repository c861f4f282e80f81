// SPDX-License-Identifier: GPL-2.0

//! Packets of our own: carriers of control messages.
//!
//! No lock may be held by the callers: sending may reach another host's input
//! on the same stack.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        peer::Peer,
        session::{
            Session,
            TcpPosition, //
        }, //
    },
    proto::{
        addr::{
            Endpoint,
            Tuple, //
        },
        counters::Counter,
        crypto::PUBLIC_KEY,
        packet,
        path::Standing,
        session::{
            LaneState,
            MAX_LANES, //
        },
        wire::{
            cm::{
                self,
                AddrList,
                Close,
                Cm,
                Entry,
                Header,
                Hello,
                Kind,
                OpenBlock,
                Raw,
                OBSERVED, //
            },
            surplus,
            MAX_ADDRS,
            MAX_LEN, //
        },
        wrap::{
            Place,
            Via, //
        }, //
    },
    sys::{
        clock,
        crypto::Algo,
        route::Dst,
        skb::OwnSkb, //
    },
};
use kernel::sync::Arc;

/// Room for a carrier: IPv6, UDP, surplus and the longest CM.
const MAX_CARRIER: usize = 40 + 20 + 8 + MAX_LEN;

/// Where a carrier goes.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The tuple on the wire, seen from this node.
    pub tuple: &'a Tuple,
    /// The interface to use; 0 for any.
    pub ifindex: u32,
    /// Whether the tuple is a session's own, whose peer may be a plain host.
    pub original: bool,
    /// For TCP: where in the stream it must lie.
    pub position: TcpPosition,
    /// The session, for a tuple that is not its own.
    pub session: Option<&'a Session>,
    /// Whether a peer has just asked there, which takes out messages: if one like this was sent
    /// there lately and it asks again, a UDP carrier needs no wrong checksum, which not all boxes
    /// let pass.
    pub asks: bool,
}

impl<'a> Target<'a> {
    /// A session's own tuple, or one that may become that of a session.
    pub fn own(tuple: &'a Tuple, position: TcpPosition) -> Target<'a> {
        Target {
            tuple,
            ifindex: 0,
            original: true,
            position,
            session: None,
            asks: false,
        }
    }

    /// The same, for the answer to a peer that has asked there.
    pub fn to_peer(self) -> Target<'a> {
        Target { asks: true, ..self }
    }

    /// The tuple of a session's lane on `path`; `original` says that it is the session's own.
    pub fn lane(session: &'a Session, path: &Path, tuple: &'a Tuple, original: bool) -> Target<'a> {
        Target {
            tuple,
            ifindex: if original { 0 } else { path.ifindex() },
            original,
            position: session.position(),
            session: Some(session),
            asks: false,
        }
    }
}

/// What a carrier looks like.
enum Shape {
    /// A segment of the session's stream that was acknowledged long ago.
    Segment,
    /// An empty datagram with something behind it.
    Surplus,
    /// A datagram.
    Datagram,
    /// A segment of a made-up connection.
    Stream(Place),
}

impl Instance {
    /// Sends the bytes of a CM in a carrier of its own.
    pub fn send_raw(&self, target: &Target<'_>, cm: &[u8]) {
        let tuple = target.tuple;
        let family = tuple.local.addr.family();
        let Some(dst) = Dst::lookup(self.net, target.ifindex, tuple) else {
            self.count(Counter::CmNoRoute);
            return;
        };
        let Some(shape) = self.shape(target, cm) else {
            return;
        };
        let header = packet::UDP_HEADER_LEN;
        let l4_len = match &shape {
            Shape::Segment => packet::tcp_carrier_len(cm.len()),
            Shape::Surplus => header.saturating_add(surplus::layout(header, cm.len())),
            Shape::Datagram => header.saturating_add(cm.len()),
            Shape::Stream(place) => packet::tcp_message_len(cm.len(), place),
        };
        let len = packet::ip_header_len(family).saturating_add(l4_len);
        let mut buf = [0u8; MAX_CARRIER];
        let Some(out) = buf.get_mut(..len) else {
            return;
        };
        let again = matches!(shape, Shape::Surplus) && self.wait_for_ride(tuple, cm);
        match &shape {
            Shape::Segment => {
                let p = &target.position;
                let seq = p.una.wrapping_sub(cm.len() as u32);
                packet::tcp_carrier(out, tuple, seq, p.ack, p.window, cm);
            }
            Shape::Surplus => {
                let mut behind = [0u8; MAX_LEN + 8];
                let n = surplus::build(8, cm, &mut behind);
                let behind = behind.get(..n).unwrap_or(&[]);
                packet::udp_carrier(out, tuple, behind, !(target.asks && again));
            }
            Shape::Datagram => packet::udp_message(out, tuple, cm),
            Shape::Stream(place) => packet::tcp_message(out, tuple, place, cm),
        }
        let Some(mut skb) = OwnSkb::alloc(len) else {
            self.count(Counter::NoMemory);
            return;
        };
        {
            let mut view = skb.as_skb();
            let Some(bytes) = view.writable(len) else {
                return;
            };
            bytes.copy_from_slice(out);
        }
        self.count(Counter::CmTx);
        skb.send(self.net, &dst, family);
    }

    /// What a carrier to `target` has to look like; `None` if its lane is gone.
    fn shape(&self, target: &Target<'_>, cm: &[u8]) -> Option<Shape> {
        if target.original {
            return Some(if target.tuple.proto == packet::TCP {
                Shape::Segment
            } else {
                Shape::Surplus
            });
        }
        let mut inner = target.session?.inner.lock();
        let index = inner.s.find(target.tuple)?;
        let lane = inner.s.lane_mut(index)?;
        lane.note_sent(clock::now_us());
        Some(match lane.ways.current() {
            Via::Raw if target.tuple.proto == packet::TCP => Shape::Segment,
            Via::Raw | Via::Udp => Shape::Datagram,
            Via::Tcp => {
                let kind = Raw::new(cm).map(|raw| raw.kind());
                Shape::Stream(match kind {
                    Some(Kind::Lane) => lane.stream.syn(cm.len(), false),
                    Some(Kind::LaneAck) => lane.stream.syn(cm.len(), true),
                    _ => lane.stream.next(cm.len()),
                })
            }
        })
    }

    /// Sends a CM that is not authenticated: HELLO and HELLO_REPLY.
    pub fn send_public(&self, target: &Target<'_>, message: &Cm<'_>) {
        let mut buf = [0u8; MAX_LEN];
        let n = cm::emit(
            &Algo,
            &PUBLIC_KEY,
            self.identity.node,
            target.tuple.proto,
            message,
            &mut buf,
        );
        self.send_raw(target, buf.get(..n).unwrap_or(&[]));
    }

    /// Sends a CM of a session to its peer.
    pub fn send_cm(&self, target: &Target<'_>, peer: &Peer, message: &Cm<'_>) {
        let mut buf = [0u8; MAX_LEN];
        let n = cm::emit(
            &Algo,
            &peer.keys.tx,
            self.identity.node,
            target.tuple.proto,
            message,
            &mut buf,
        );
        self.send_raw(target, buf.get(..n).unwrap_or(&[]));
    }

    /// HELLO on a tuple.
    pub fn hello(&self, tuple: &Tuple) -> Cm<'static> {
        let now_s = clock::now_us64() / 1_000_000;
        let salt = clock::random_u64() as u16;
        Cm::Hello(Hello {
            header: Header {
                node: self.identity.node,
                session: 0,
                number: 0,
            },
            nonce_a: self.identity.nonce_a(&Algo, tuple, now_s, salt),
        })
    }

    /// The header of a control message to `peer`.
    pub fn header(&self, peer: &Peer, session: u32) -> Header {
        Header {
            node: self.identity.node,
            session,
            number: peer.next_number(),
        }
    }

    /// The addresses to announce to a peer: those of one family, or half as many of each.
    fn announce(&self, family: Option<u8>, out: &mut [Entry]) -> usize {
        let locals = self.local_addrs();
        let of = |each: u8| {
            let room = match family {
                Some(only) if only == each => MAX_ADDRS,
                Some(_) => 0,
                None => MAX_ADDRS / 2,
            };
            let usable = locals.iter().flatten().filter(|local| local.is_usable());
            let list = usable.map(|local| local.addr);
            list.filter(move |addr| addr.family() == each).take(room)
        };
        let mut n = 0usize;
        for (slot, addr) in out.iter_mut().zip(of(4).chain(of(6))) {
            *slot = Entry {
                flags: 0,
                port: 0,
                addr,
            };
            n = n.saturating_add(1);
        }
        n
    }

    /// Calls `f` with the open block of a session with this tuple.
    pub fn with_open_block<R>(
        &self,
        peer: &Peer,
        tuple: &Tuple,
        path: u8,
        f: impl FnOnce(OpenBlock<'_>) -> R,
    ) -> R {
        // What the peer lists itself it need not be told.
        let observed = {
            let reach = peer.reach.lock();
            let listed = |e: &Entry| e.addr == tuple.remote.addr;
            let known = reach.addrs.iter().flatten().any(listed);
            (!known).then_some(tuple.remote)
        };
        self.with_block(Some(tuple.local.addr.family()), path, observed, f)
    }

    /// Calls `f` with an open block: what a session of one family needs to know, or all.
    pub fn with_block<R>(
        &self,
        family: Option<u8>,
        path: u8,
        observed: Option<Endpoint>,
        f: impl FnOnce(OpenBlock<'_>) -> R,
    ) -> R {
        const NONE: Entry = Entry {
            flags: 0,
            port: 0,
            addr: crate::proto::addr::Addr::V4([0; 4]),
        };
        let mut entries = [NONE; MAX_ADDRS];
        let mut n = 0;
        if let (Some(end), Some(slot)) = (observed, entries.first_mut()) {
            *slot = Entry {
                flags: OBSERVED,
                port: end.port,
                addr: end.addr,
            };
            n = 1;
        }
        let more = self.announce(family, entries.get_mut(n..).unwrap_or(&mut []));
        n = more.saturating_add(n);
        f(OpenBlock {
            udp_port: self.ports.own(),
            path,
            addrs: AddrList::new(entries.get(..n).unwrap_or(&[])),
        })
    }

    /// The session's socket resets the connection: tells the peer on every lane that may work, for
    /// the RST is sent once, on the original way, where what keeps track of connections, or has
    /// forgotten them, may not let it through. Any context, no lock held.
    pub fn send_close(&self, session: &Session, seq: u32) {
        if !session.may_close() {
            return;
        }
        for index in 0..MAX_LANES {
            let way = {
                let inner = session.inner.lock();
                let lane = inner.s.lane(index);
                lane.filter(|l| l.state == LaneState::Active && l.path.standing() > Standing::Down)
                    .map(|l| (l.tuple(), l.path.clone()))
            };
            let Some((tuple, path)) = way else { continue };
            let mut target = Target::lane(session, &path, &tuple, index == 0);
            // The socket, whose user or mark its route may depend on, is not to be found any more.
            target.ifindex = path.ifindex();
            self.send_cm(
                &target,
                &session.peer,
                &Cm::Close(Close {
                    header: self.header(&session.peer, session.id),
                    seq,
                }),
            );
        }
    }

    /// Sends a REPORT on a lane: a question, or the answer to `echo`. A packet of `behind` bytes,
    /// for which the path was chosen but which is not counted yet, follows it.
    pub fn send_report(
        &self,
        session: &Session,
        path: &Arc<Path>,
        tuple: &Tuple,
        original: bool,
        echo: Option<u32>,
        behind: u32,
    ) {
        let now = clock::now_us();
        let mut totals = path.totals(now);
        totals.wait_us = totals.wait_us.saturating_sub(path.service_us(behind));
        let report = {
            let mut state = path.state.lock();
            let report = state.report(now, session.id, path.id, &totals, echo);
            if echo.is_none() {
                path.publish(&state);
                path.ask_anew(totals.wait_us);
            }
            report
        };
        self.send_cm(
            &Target::lane(session, path, tuple, original),
            &session.peer,
            &Cm::Report(report),
        );
    }
}
