// SPDX-License-Identifier: GPL-2.0

use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet;
use mpip_host::proto::packet::Packet;
use mpip_host::proto::wrap::unwrap;
use mpip_host::proto::wrap::wrap;
use mpip_host::proto::wrap::Place;
use mpip_host::proto::wrap::Stream;
use mpip_host::proto::wrap::Via;
use mpip_host::proto::wrap::Ways;

fn end(family: u8, n: u8, port: u16) -> Endpoint {
    let addr = if family == 4 {
        Addr::V4([192, 0, 2, n])
    } else {
        let mut addr = [0; 16];
        addr[..2].copy_from_slice(&[0x20, 0x01]);
        addr[15] = n;
        Addr::V6(addr)
    };
    Endpoint { addr, port }
}

fn tuple(proto: u8, family: u8, local: (u8, u16), remote: (u8, u16)) -> Tuple {
    Tuple {
        proto,
        local: end(family, local.0, local.1),
        remote: end(family, remote.0, remote.1),
    }
}

/// Completes a checksum whose field holds the pseudo header's sum, as a device would.
fn complete(bytes: &mut [u8], l4: usize, at: usize) {
    let sum = packet::fold(packet::sum(0, &bytes[l4..]));
    bytes[l4 + at..l4 + at + 2].copy_from_slice(&(!sum).to_be_bytes());
}

/// Whether the transport checksum of a packet is right.
fn is_right(bytes: &[u8], family: u8) -> bool {
    let p = Packet::parse(bytes, bytes.len(), family).unwrap();
    let mut again = bytes.to_vec();
    packet::set_checksum(&mut again, &p, bytes.len());
    again == bytes
}

#[test]
fn what_is_wrapped_comes_out_as_it_went_in() {
    for family in [4, 6] {
        for (inner, vias) in [
            (packet::TCP, &[Via::Udp, Via::Tcp][..]),
            (packet::UDP, &[Via::Tcp]),
        ] {
            for via in vias {
                round(family, inner, *via);
            }
        }
    }
}

fn round(family: u8, inner: u8, via: Via) {
    // A behind a NAT: B knows the session by other addresses and another port.
    let at_a = tuple(inner, family, (1, 5000), (9, 80));
    let at_b = tuple(inner, family, (9, 80), (77, 6000));
    let lane = tuple(via.proto(inner), family, (2, 40000), (9, 29170));
    let l4 = packet::ip_header_len(family);
    let data = b"some data of odd length";
    let mut sent = vec![0; l4 + if inner == packet::TCP { 20 } else { 8 } + data.len()];
    if inner == packet::TCP {
        packet::tcp_carrier(&mut sent, &at_a, 12345, 678, 90, data);
    } else {
        packet::udp_message(&mut sent, &at_a, data);
    }
    // Room for the outer header, then the header itself.
    let more = via.overhead();
    let mut wire = [&sent[..l4], &vec![0xaa; more][..], &sent[l4..]].concat();
    let place = Place {
        seq: 111,
        ack: 222,
        flags: packet::ACK | packet::PSH,
    };
    let len = wire.len();
    wrap(&mut wire, l4, len, via, &lane, 0x1234_5678, &place);
    complete(&mut wire, l4, if via == Via::Tcp { 16 } else { 6 });
    assert!(is_right(&wire, family), "{family} {inner} {via:?}");
    let outer = Packet::parse(&wire, len, family).unwrap();
    assert_eq!(outer.tx_tuple(), lane);
    assert_eq!(outer.payload, l4 + more);
    assert_eq!(wire[l4 + more..l4 + more + 4], 0x1234_5678u32.to_be_bytes());
    if via == Via::Tcp {
        let tcp = outer.tcp.unwrap();
        assert_eq!((tcp.seq, tcp.ack, tcp.flags), (111, 222, place.flags));
    }
    // At the other end.
    let mut came = [&wire[..l4], &wire[l4 + more..]].concat();
    let len = came.len();
    unwrap(&mut came, l4, len, &at_b);
    complete(&mut came, l4, if inner == packet::TCP { 16 } else { 6 });
    assert!(is_right(&came, family));
    let inside = Packet::parse(&came, len, family).unwrap();
    assert_eq!(inside.rx_tuple(), at_b);
    assert_eq!(&came[inside.payload..], data);
    assert_eq!(
        inside.tcp.map(|t| (t.seq, t.ack)),
        (inner == packet::TCP).then_some((12345, 678))
    );
    if family == 4 {
        assert_eq!(packet::fold(packet::sum(0, &came[..l4])), 0xffff);
        assert_eq!(packet::fold(packet::sum(0, &wire[..l4])), 0xffff);
    }
}

#[test]
fn a_made_up_connection_looks_like_one() {
    for isn in [0, 7, u32::MAX - 30] {
        let (mut a, mut b) = (Stream::new(isn), Stream::new(1000));
        let syn = a.syn(68, false);
        assert_eq!((syn.seq, syn.ack, syn.flags), (isn, 0, packet::SYN));
        assert_eq!(a.syn(68, false), syn, "sent again, it is the same");
        b.came(syn.seq, syn.flags, 68);
        let answer = b.syn(68, true);
        let end = isn.wrapping_add(69);
        assert_eq!((answer.ack, answer.flags), (end, packet::SYN | packet::ACK));
        a.came(answer.seq, answer.flags, 68);
        let first = a.next(100);
        assert_eq!((first.seq, first.ack), (end, 1069));
        let second = a.next(50);
        assert_eq!(second.seq, end.wrapping_add(100));
        // The first got lost; the second and then a copy of something old arrive.
        b.came(second.seq, second.flags, 50);
        b.came(first.seq, first.flags, 10);
        assert_eq!(b.next(1).ack, end.wrapping_add(150));
        assert!(b.is_near(end) && !b.is_near(end.wrapping_add(1 << 21)));
        assert!(a.has_sent(first.seq) && !a.has_sent(second.seq.wrapping_add(1000)));
    }
}

#[test]
fn a_made_up_connection_begins_with_the_first_syn() {
    let mut a = Stream::new(5);
    a.may_begin(900, packet::ACK, 10);
    assert_eq!(a.next(1).ack, 0, "no SYN");
    a.may_begin(900, packet::SYN, 10);
    assert_eq!(a.next(1).ack, 911);
    a.may_begin(90_000, packet::SYN, 10);
    a.may_begin(90_000, packet::ACK, 10);
    assert_eq!(a.next(1).ack, 911, "somebody's guess");
    a.came(911, packet::ACK, 100);
    assert_eq!(a.next(1).ack, 1011);
}

#[test]
fn each_way_is_tried_once_what_has_worked_first() {
    let order = |mut ways: Ways| {
        let mut all = vec![ways.current()];
        while ways.has_next() {
            assert_eq!(ways.next(), {
                ways.advance();
                ways.current()
            });
            all.push(ways.current());
        }
        let first = all[0];
        ways.advance();
        assert_eq!(ways.current(), first, "from the first one again");
        all
    };
    use Via::*;
    assert_eq!(order(Ways::all(packet::TCP, None)), [Raw, Udp, Tcp]);
    assert_eq!(order(Ways::all(packet::TCP, Some(Tcp))), [Tcp, Raw, Udp]);
    assert_eq!(order(Ways::all(packet::UDP, None)), [Raw, Tcp]);
    assert_eq!(order(Ways::all(packet::UDP, Some(Tcp))), [Tcp, Raw]);
    assert_eq!(order(Ways::only(Udp)), [Udp]);
    assert!(!Ways::only(Udp).is_choice() && Ways::all(packet::UDP, None).is_choice());
}
