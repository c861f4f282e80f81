// SPDX-License-Identifier: GPL-2.0

//! Messages that are forged, changed, replayed or sent elsewhere.

use crate::app::Source;
use crate::link::Shape;
use crate::scene::*;
use crate::wire;
use crate::wire::v4;
use crate::wire::Wire;
use crate::world::tuple;
use crate::world::World;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet;
use mpip_host::proto::packet::TCP;
use mpip_host::proto::packet::UDP;
use mpip_host::proto::wire::cm::Kind;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// What a session needs from its first packet on; stops sending at `until`.
fn busy(seed: u64, t: Tuple, until: u64) -> World {
    let shape = Shape::shaped(5 * MBIT, 10 * MS, 50);
    let mut w = straight(seed, &[shape.clone(), shape]);
    if t.proto == TCP {
        connect(&mut w, t, 400_000);
    } else {
        stream(&mut w, t, MBIT, until);
        w.start(B, Source::app(t.reversed(), 1000, MBIT, MS, until));
    }
    w
}

/// The packet with the byte at `at` changed and its transport checksum mended if it was right.
fn flipped(wire: &Wire, at: usize, bit: u8) -> Wire {
    let mut out = wire.clone();
    out.bytes[at] ^= bit;
    let packet = wire.parse().unwrap();
    if wire.l4_ok(&packet) {
        packet::set_checksum(&mut out.bytes, &packet, packet.payload_end);
    }
    out
}

#[test]
fn every_byte_of_every_message_counts() {
    for t in [tcp_tuple(), udp_tuple()] {
        let mut w = busy(1, t, 3 * S);
        // The first message of each kind in each direction is held until it was forged.
        let held = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::new(RefCell::new(HashSet::new()));
        let (out, known) = (held.clone(), seen.clone());
        w.tap = Some(Box::new(move |_, wire| {
            let Some(kind) = wire.kind().filter(|_| wire.is_carrier()) else {
                return true;
            };
            let src = wire.parse().unwrap().src.addr;
            let new = known.borrow_mut().insert((kind.to_wire(), src));
            if new {
                out.borrow_mut().push(wire.clone());
            }
            !new
        }));
        let mut tried = 0;
        while w.now < 4 * S {
            w.pass(MS);
            let wires: Vec<_> = held.borrow_mut().drain(..).collect();
            for wire in wires {
                let (cm, _) = wire.cm().unwrap();
                let before = states(&w);
                for at in wire.len() - cm.len()..wire.len() {
                    for bit in [1, 0x80] {
                        // Straight into the host, or time would pass meanwhile.
                        w.deliver(flipped(&wire, at, bit));
                        tried += 1;
                    }
                }
                assert_same(&before, &w);
                w.inject(wire);
            }
        }
        let kinds: HashSet<u8> = seen.borrow().iter().map(|(kind, _)| *kind).collect();
        println!("{tried} changed messages of {} kinds", kinds.len());
        for kind in [
            Kind::Report,
            Kind::HelloReply,
            Kind::Confirm,
            Kind::OpenAck,
            Kind::Lane,
            Kind::LaneAck,
            Kind::LaneConfirm,
        ] {
            assert!(kinds.contains(&kind.to_wire()), "{kind:?}");
        }
        assert!(agree(&w, 2));
    }
}

/// All carriers of a whole session, and the world after it has fallen silent.
fn recorded(t: Tuple) -> (World, Vec<Wire>) {
    let mut w = busy(2, t, 3 * S);
    let log = record(&mut w);
    w.run(5 * S);
    assert!(agree(&w, 2));
    w.tap = None;
    let all = log.borrow();
    let carriers = all.iter().map(|(_, w)| w).filter(|w| w.is_carrier());
    let carriers = carriers.cloned().collect();
    (w, carriers)
}

#[test]
fn what_was_heard_is_not_heard_again() {
    for t in [tcp_tuple(), udp_tuple()] {
        let (mut w, carriers) = recorded(t);
        let before = states(&w);
        for wire in &carriers {
            w.deliver(wire.clone());
        }
        // The worker looks at what may be an answer to a question of ours; no heartbeat is due.
        w.pass(MS);
        assert_same(&before, &w);
        println!("{} messages replayed", carriers.len());
    }
}

/// The same transport payload on another tuple.
fn moved(wire: &Wire, t: &Tuple) -> Wire {
    let packet = wire.parse().unwrap();
    if packet.proto == UDP {
        let mut out = wire::udp(t, &wire.copy(packet.payload, packet.payload_len()), 0);
        let behind = wire.copy(packet.payload_end, packet.end - packet.payload_end);
        out.bytes.extend(behind);
        let len = out.len();
        packet::set_ip_len(&mut out.bytes, 4, len);
        return out;
    }
    let tcp = packet.tcp.unwrap();
    let seg = wire::Seg {
        seq: tcp.seq,
        ack: tcp.ack,
        flags: tcp.flags,
        payload: &wire.copy(packet.payload, packet.payload_len()),
        ..wire::Seg::default()
    };
    wire::tcp(t, &seg)
}

#[test]
fn nothing_comes_back_to_its_sender() {
    for t in [tcp_tuple(), udp_tuple()] {
        let (mut w, carriers) = recorded(t);
        let before = states(&w);
        for wire in &carriers {
            let reflected = moved(wire, &wire.parse().unwrap().rx_tuple());
            w.deliver(reflected);
        }
        w.pass(MS);
        assert_same(&before, &w);
    }
}

/// Holds back `n` messages of a kind from A on the path of this address, and returns them.
fn withheld(w: &mut World, kind: Kind, from: u8, n: usize) -> Vec<Wire> {
    let held = Rc::new(RefCell::new(Vec::new()));
    let out = held.clone();
    w.tap = Some(Box::new(move |_, wire| {
        let mine = wire.kind() == Some(kind)
            && wire.is_carrier()
            && wire.parse().unwrap().src.addr == v4(from, 1);
        if mine && out.borrow().len() < n {
            out.borrow_mut().push(wire.clone());
            return false;
        }
        true
    }));
    let limit = w.now + 3 * S;
    while held.borrow().len() < n && w.now < limit {
        w.pass(MS);
    }
    w.tap = None;
    let held = held.borrow_mut().drain(..).collect();
    held
}

#[test]
fn a_report_counts_on_its_own_path_only() {
    // Numbers and delays are per path: a report that is carried over to another path must not
    // push on the window there, or take over the path's name.
    for t in [tcp_tuple(), udp_tuple()] {
        let mut w = busy(3, t, 20 * S);
        settle(&mut w, 2, 3 * S);
        w.pass(2 * S);
        if t.proto == TCP {
            // Heartbeats go on.
            w.pass(S);
        }
        let reports = withheld(&mut w, Kind::Report, 1, 2);
        assert!(!reports.is_empty());
        let session = w.node(A).only();
        let other = session.inner.borrow().s.lane(1).unwrap().tuple();
        let before = states(&w);
        for report in &reports {
            w.deliver(moved(report, &other));
        }
        assert_same(&before, &w);
        assert_eq!(w.node(B).only().id, session.id);
    }
}

#[test]
fn a_message_of_another_session_changes_none() {
    for proto in [TCP, UDP] {
        let shape = Shape::shaped(5 * MBIT, 10 * MS, 50);
        let mut w = straight(4, &[shape.clone(), shape]);
        let one = tuple(proto, (v4(1, 1), 50_000), (v4(1, 2), 80));
        let two = tuple(proto, (v4(1, 1), 50_001), (v4(1, 2), 80));
        for t in [one, two] {
            if proto == TCP {
                connect(&mut w, t, u64::MAX >> 1);
            } else {
                stream(&mut w, t, MBIT, 20 * S);
            }
        }
        w.until(3 * S, |w| w.node(B).active_lanes() == 4).unwrap();
        w.pass(2 * S);
        let reports = withheld(&mut w, Kind::Report, 1, 3);
        assert!(!reports.is_empty());
        let before = states(&w);
        for report in &reports {
            let own = report.parse().unwrap().tx_tuple();
            let other = if own == one { two } else { one };
            w.deliver(moved(report, &other));
        }
        assert_same(&before, &w);
    }
}

#[test]
fn made_up_messages_change_nothing() {
    use rand_chacha::rand_core::RngCore;
    for t in [tcp_tuple(), udp_tuple()] {
        let (mut w, carriers) = recorded(t);
        let before = states(&w);
        for wire in &carriers {
            let (cm, _) = wire.cm().unwrap();
            let mut forged = wire.clone();
            let start = wire.len() - cm.len();
            // All but the footer, which makes it look like one of its kind.
            w.rng.fill_bytes(&mut forged.bytes[start..wire.len() - 4]);
            let packet = wire.parse().unwrap();
            if wire.l4_ok(&packet) {
                packet::set_checksum(&mut forged.bytes, &packet, packet.payload_end);
            }
            w.deliver(forged);
        }
        w.pass(MS);
        assert_same(&before, &w);
    }
}
