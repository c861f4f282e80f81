// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use crate::common::hex;
use crate::common::Host;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::crypto::PUBLIC_KEY;
use mpip_host::proto::wire::cm;
use mpip_host::proto::wire::cm::*;
use mpip_host::proto::wire::MAX_ADDRS;
use mpip_host::proto::wire::NO_PATH;
use proptest::prelude::*;

const NODE: u64 = 0x1122_3344_5566_7788;

const DATA_BYTES: &str = "a1b2c3d40102057801020304fffffffb000000076bdf3e32b6ce48764d501008";
const NUMBER_BYTES: &str = "a1b2c3d4000123458000000362d3d6f218836f454d501006";
const HELLO_BYTES: &str = "11223344556677880000000000000000010203040506070800000000000000000000\
    00000000000000000000000000000000000000000000000000000000000009c29293178e21524d501213";
const OPEN_BYTES: &str = "1122334455667788a1b2c3d4000000031000000204000000c0000201060000002001\
    0db8000000000000000000000001f46b149f6e0c19a74d50150f";
const ADDR_BYTES: &str = "1122334455667788000000000000000580000000000000051000ff0204000000c0000201\
    0600000020010db8000000000000000000000001400c485eaada57304d501a11";
const ADDR_ACK_BYTES: &str = "1122334455667788000000000000000600000005d967463315055fd14d501e08";
const MISSING_BYTES: &str =
    "1122334455667788a1b2c3d4000000080002000000000064000003e8fffffff0000000\
    10bbdc32cb8f81fcfb4d501f0c";
const REFUSED_BYTES: &str =
    "1122334455667788a1b2c3d4000000090101000000000064000003e88285a27ae2d2be\
    5e4d501f0a";

fn key() -> [u8; 16] {
    core::array::from_fn(|i| i as u8)
}

fn emit(key: &[u8; 16], proto: u8, cm: &Cm<'_>) -> Vec<u8> {
    let mut out = [0xaa; MAX_LEN];
    let len = cm::emit(&Host, key, NODE, proto, cm, &mut out);
    assert!(out[len..].iter().all(|b| *b == 0xaa));
    out[..len].to_vec()
}

/// Both ways against bytes that another implementation made.
fn literal(bytes: &str, key: &[u8; 16], proto: u8, cm: &Cm<'_>) {
    let bytes = hex(bytes);
    assert_eq!(emit(key, proto, cm), bytes);
    let raw = Raw::new(&bytes).unwrap();
    assert!(raw.verify(&Host, key, NODE, proto));
    assert_eq!(raw.kind(), cm.kind());
    assert_eq!(raw.parse().as_ref(), Some(cm));
}

#[test]
fn data_literal() {
    let data = Data {
        session: 0xa1b2_c3d4,
        path: 1,
        feedback: 2,
        length: 1400,
        timestamp: 0x0102_0304,
        delay: -5,
        number: 7,
    };
    literal(DATA_BYTES, &key(), 6, &Cm::Data(data));
    let bytes = hex(DATA_BYTES);
    assert_eq!(bytes.len(), DATA_LEN);
    let raw = Raw::new(&bytes).unwrap();
    assert_eq!(raw.session(), Some(0xa1b2_c3d4));
    assert_eq!(raw.node(), None);
    assert!(!raw.verify(&Host, &key(), NODE, 17));
    assert!(!raw.verify(&Host, &key(), NODE + 1, 6));
    assert!(!raw.verify(&Host, &PUBLIC_KEY, NODE, 6));
}

#[test]
fn number_literal() {
    let place = Place {
        number: 0x0001_2345,
        ordered: true,
        copied: false,
        distance: 3,
    };
    let number = Number {
        session: 0xa1b2_c3d4,
        place,
    };
    literal(NUMBER_BYTES, &key(), 17, &Cm::Number(number));
    let mut bytes = hex(NUMBER_BYTES);
    assert_eq!(bytes.len(), NUMBER_LEN);
    assert_eq!(Raw::new(&bytes).unwrap().session(), Some(0xa1b2_c3d4));
    bytes[8..12].fill(0x7f);
    let place = match Raw::new(&bytes).unwrap().parse() {
        Some(Cm::Number(number)) => number.place,
        other => panic!("{other:?}"),
    };
    assert!(place.copied && !place.ordered);
    assert_eq!(place.distance, 0x3f7f_7f7f);
    // 0 is no number.
    bytes[4..8].fill(0);
    assert!(Raw::new(&bytes).unwrap().parse().is_none());
}

#[test]
fn hello_literal() {
    let hello = Hello {
        header: Header {
            node: NODE,
            session: 0,
            number: 0,
        },
        nonce_a: 0x0102_0304_0506_0708,
    };
    literal(HELLO_BYTES, &PUBLIC_KEY, 0, &Cm::Hello(hello));
    assert_eq!(Raw::new(&hex(HELLO_BYTES)).unwrap().node(), Some(NODE));
}

/// The addresses in the literals.
fn addrs() -> [Entry; 2] {
    let mut v6 = [0; 16];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 1;
    [Addr::V4([192, 0, 2, 1]), Addr::V6(v6)].map(|addr| Entry {
        flags: 0,
        port: 0,
        addr,
    })
}

#[test]
fn open_literal() {
    let addrs = addrs();
    let open = Open {
        header: Header {
            node: NODE,
            session: 0xa1b2_c3d4,
            number: 3,
        },
        block: OpenBlock {
            udp_port: 4096,
            path: 0,
            addrs: AddrList::new(&addrs),
        },
    };
    literal(OPEN_BYTES, &key(), 17, &Cm::Open(open));
    let bytes = hex(OPEN_BYTES);
    assert_eq!(Raw::new(&bytes).unwrap().session(), Some(0xa1b2_c3d4));

    // A wrong count, an unknown family, an entry cut short.
    for (at, value) in [(19, 1), (19, 3), (19, 17), (20, 5), (28, 4)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert_eq!(Raw::new(&bytes).unwrap().parse(), None, "{at} {value}");
    }
}

#[test]
fn addr_literal() {
    let addrs = addrs();
    let header = |number| Header {
        node: NODE,
        session: 0,
        number,
    };
    let moved = Moved {
        header: header(5),
        down: (1 << 63) | (1 << 2) | 1,
        block: OpenBlock {
            udp_port: 4096,
            path: NO_PATH,
            addrs: AddrList::new(&addrs),
        },
    };
    literal(ADDR_BYTES, &key(), 6, &Cm::Addr(moved));
    let bytes = hex(ADDR_BYTES);
    let raw = Raw::new(&bytes).unwrap();
    assert_eq!((raw.session(), raw.node()), (Some(0), Some(NODE)));
    assert!(!raw.kind().is_unauthenticated());
    assert!(!raw.verify(&Host, &key(), NODE, 17));

    // A wrong count, an unknown family, an entry cut short.
    for (at, value) in [(27, 1), (27, 3), (28, 5), (36, 4)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert_eq!(Raw::new(&bytes).unwrap().parse(), None, "{at} {value}");
    }

    let ack = MovedAck {
        header: header(6),
        acked: 5,
    };
    literal(ADDR_ACK_BYTES, &key(), 17, &Cm::AddrAck(ack));
    let bytes = hex(ADDR_ACK_BYTES);
    let raw = Raw::new(&bytes).unwrap();
    assert_eq!((raw.session(), raw.node()), (Some(0), Some(NODE)));
    assert!(!raw.verify(&Host, &PUBLIC_KEY, NODE, 17));
}

#[test]
fn missing_literal() {
    let missing = |number, refused, parts: &[(u32, u32)]| {
        let mut ranges = Ranges::new();
        assert!(parts.iter().all(|(from, to)| ranges.push(*from, *to)));
        let header = Header {
            node: NODE,
            session: 0xa1b2_c3d4,
            number,
        };
        Cm::Missing(Missing {
            header,
            refused,
            ranges,
        })
    };
    // The second part wraps around.
    let asked = missing(8, false, &[(100, 1000), (0xffff_fff0, 16)]);
    literal(MISSING_BYTES, &key(), 6, &asked);
    literal(REFUSED_BYTES, &key(), 6, &missing(9, true, &[(100, 1000)]));
    let bytes = hex(MISSING_BYTES);
    let raw = Raw::new(&bytes).unwrap();
    assert_eq!((raw.session(), raw.node()), (Some(0xa1b2_c3d4), Some(NODE)));
    assert!(raw.kind().is_control() && !raw.kind().is_unauthenticated());
    assert!(!raw.verify(&Host, &PUBLIC_KEY, NODE, 6));

    // An unknown flag, and wrong counts.
    for (at, value) in [(16, 2), (16, 255), (17, 0), (17, 1), (17, 3), (17, 255)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert_eq!(Raw::new(&bytes).unwrap().parse(), None, "{at} {value}");
    }
}

#[test]
fn a_list_of_parts_is_bounded() {
    let mut ranges = Ranges::new();
    assert!(ranges.is_empty() && ranges == Ranges::default());
    for i in 0..MAX_RANGES as u32 {
        assert!(!ranges.is_full());
        assert!(ranges.push(i, i + 1));
    }
    let full = ranges;
    assert!(full.is_full());
    assert!(!ranges.push(7, 8));
    assert_eq!(ranges, full);
    assert!(full.iter().eq((0..MAX_RANGES as u32).map(|i| (i, i + 1))));
    // One more than may be, in a message of the right length.
    let header = Header {
        node: NODE,
        session: 1,
        number: 2,
    };
    let mut bytes = emit(
        &key(),
        6,
        &Cm::Missing(Missing {
            header,
            refused: false,
            ranges,
        }),
    );
    assert!(Raw::new(&bytes).unwrap().parse().is_some());
    bytes[17] += 1;
    let footer = bytes.len() - 1;
    bytes[footer] += 2;
    bytes.splice(20..20, [0; 8]);
    assert_eq!(Raw::new(&bytes).unwrap().parse(), None);
}

#[test]
fn lengths() {
    let header = Header {
        node: NODE,
        session: 1,
        number: 2,
    };
    let lane = Lane {
        header,
        path: 1,
        flags: 0,
        challenge: 2,
        echo: 3,
        observed: None,
    };
    let report = Report {
        session: 1,
        path: 2,
        feedback: NO_PATH,
        flags: WANT,
        timestamp: 4,
        delay: 5,
        number: 6,
        tx_packets: 7,
        fb_rx_packets: 8,
        fb_rx_bytes: 9,
        echo: 10,
        hold: 11,
    };
    assert!(!report.has_feedback());
    let reply = HelloReply {
        header,
        nonce_a: 1,
        nonce_b: 2,
        public_key: [3; 32],
    };
    let entry = Entry {
        flags: 1,
        port: 2,
        addr: Addr::V6([9; 16]),
    };
    let confirm = |addrs| Confirm {
        header,
        nonce_a: 1,
        nonce_b: 2,
        public_key: [3; 32],
        block: OpenBlock {
            udp_port: 1,
            path: 2,
            addrs,
        },
    };
    let many = [entry; 20];
    let moved = |addrs| Moved {
        header,
        down: u64::MAX,
        block: OpenBlock {
            udp_port: 1,
            path: NO_PATH,
            addrs,
        },
    };
    let ack = MovedAck { header, acked: 3 };
    let missing = |n: usize| {
        let mut ranges = Ranges::new();
        assert!((0..n as u32).all(|i| ranges.push(i, i + 1)));
        assert_eq!(ranges.push(0, 1), n < MAX_RANGES);
        Cm::Missing(Missing {
            header,
            refused: false,
            ranges: if n == 0 { Ranges::new() } else { ranges },
        })
    };
    let cases = [
        (Cm::Report(report), REPORT_LEN),
        (Cm::HelloReply(reply), 76),
        (Cm::Confirm(confirm(AddrList::new(&[]))), 80),
        (Cm::Confirm(confirm(AddrList::new(&many[..16]))), 400),
        (Cm::Confirm(confirm(AddrList::new(&many))), MAX_LEN),
        (Cm::Lane(lane), 68),
        (Cm::Addr(moved(AddrList::new(&[]))), 40),
        (Cm::Addr(moved(AddrList::new(&many))), 360),
        (Cm::AddrAck(ack), 32),
        (Cm::Close(Close { header, seq: 1 }), 32),
        (missing(0), 32),
        (missing(MAX_RANGES), 160),
    ];
    for (cm, len) in cases {
        assert_eq!(emit(&key(), 6, &cm).len(), len, "{cm:?}");
    }
    assert_eq!(usize::from(AddrList::new(&many).len()), MAX_ADDRS);
}

#[test]
fn what_the_addressee_is_seen_as() {
    let seen = Endpoint {
        addr: Addr::V4([192, 0, 2, 1]),
        port: 4711,
    };
    let own = Entry {
        flags: 0,
        port: 0,
        addr: Addr::V4([198, 51, 100, 1]),
    };
    let entry = Entry {
        flags: OBSERVED,
        port: seen.port,
        addr: seen.addr,
    };
    assert_eq!(AddrList::new(&[own]).observed(), None);
    assert_eq!(AddrList::new(&[own, entry]).observed(), Some(seen));
}

#[test]
fn recognition() {
    let tail = |vt, quads| [0x4d, 0x50, vt, quads];
    assert_eq!(trailer_len(&tail(0x10, 8), 32), Some(32));
    assert_eq!(trailer_len(&tail(0x10, 8), 1000), Some(32));
    assert_eq!(trailer_len(&tail(0x10, 8), 31), None);
    assert_eq!(trailer_len(&[0x4d, 0x51, 0x10, 8], 32), None);
    // Another version, an unknown type, another length than the type's.
    assert_eq!(trailer_len(&tail(0x20, 8), 32), None);
    assert_eq!(trailer_len(&tail(0x00, 8), 32), None);
    assert_eq!(trailer_len(&tail(0x1e, 7), 32), None);
    assert_eq!(trailer_len(&tail(0x1f, 7), 32), None);
    assert_eq!(trailer_len(&tail(0x1f, 8), 32), Some(32));
    assert!(Kind::Open.fits(32) && !Kind::Open.fits(33) && !Kind::Open.fits(0));
    for (kind, len) in (0..16).flat_map(|k| (0..=255).map(move |l| (k, l))) {
        let whole = usize::from(len) * 4;
        let known = match kind {
            0 => whole == 24 || whole == 32,
            1 => whole == 52,
            2 | 3 => whole == 76,
            4 => (80..=400).contains(&whole),
            5 | 6 => (32..=352).contains(&whole),
            7..=9 => whole == 68,
            10 => (40..=360).contains(&whole),
            12 | 13 => whole == 28,
            11 | 14 => whole == 32,
            15 => (32..=352).contains(&whole),
            _ => false,
        };
        let found = trailer_len(&tail(0x10 | kind, len), 2000);
        assert_eq!(found, known.then_some(whole), "{kind} {len}");
    }
}

fn addr() -> impl Strategy<Value = Addr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(Addr::V4),
        any::<[u8; 16]>().prop_map(Addr::V6),
    ]
}

/// Numbers to fill the fields of any CM, and addresses.
#[derive(Debug, Clone)]
struct Fields {
    kind: u8,
    n: [u64; 4],
    w: [u32; 10],
    b: [u8; 2],
    public_key: [u8; 32],
    observed: Option<Endpoint>,
    entries: Vec<Entry>,
}

fn fields() -> impl Strategy<Value = Fields> {
    let entry = (any::<u8>(), any::<u16>(), addr()).prop_map(|(flags, port, addr)| Entry {
        flags,
        port,
        addr,
    });
    let endpoint = (addr(), any::<u16>()).prop_map(|(addr, port)| Endpoint { addr, port });
    (
        0u8..16,
        any::<[u64; 4]>(),
        any::<[u32; 10]>(),
        any::<[u8; 2]>(),
        any::<[u8; 32]>(),
        proptest::option::of(endpoint),
        proptest::collection::vec(entry, 0..=MAX_ADDRS),
    )
        .prop_map(|(kind, n, w, b, public_key, observed, entries)| Fields {
            kind,
            n,
            w,
            b,
            public_key,
            observed,
            entries,
        })
}

impl Fields {
    fn cm(&self) -> Cm<'_> {
        let (n, w, b) = (&self.n, &self.w, &self.b);
        let header = Header {
            node: n[0],
            session: w[0],
            number: w[1],
        };
        let block = OpenBlock {
            udp_port: w[2] as u16,
            path: b[0],
            addrs: AddrList::new(&self.entries),
        };
        let open = Open { header, block };
        let lane = Lane {
            header,
            path: b[0],
            flags: b[1],
            challenge: n[1],
            echo: n[2],
            observed: self.observed,
        };
        match self.kind {
            0 if b[1] & 8 == 8 => Cm::Number(Number {
                session: w[0],
                place: Place {
                    number: w[1].max(1),
                    ordered: b[0] & 1 == 1,
                    copied: b[1] & 1 == 1,
                    distance: w[2] % MAX_DISTANCE,
                },
            }),
            0 => Cm::Data(Data {
                session: w[0],
                path: b[0],
                feedback: b[1],
                length: w[1] as u16,
                timestamp: w[2],
                delay: w[3] as i32,
                number: w[4],
            }),
            1 => Cm::Report(Report {
                session: w[0],
                path: b[0],
                feedback: b[1],
                flags: w[1] as u16,
                timestamp: w[2],
                delay: w[3] as i32,
                number: w[4],
                tx_packets: w[5],
                fb_rx_packets: w[6],
                fb_rx_bytes: w[7],
                echo: w[8],
                hold: w[9],
            }),
            2 => Cm::Hello(Hello {
                header,
                nonce_a: n[1],
            }),
            3 => Cm::HelloReply(HelloReply {
                header,
                nonce_a: n[1],
                nonce_b: n[2],
                public_key: self.public_key,
            }),
            4 => Cm::Confirm(Confirm {
                header,
                nonce_a: n[1],
                nonce_b: n[2],
                public_key: self.public_key,
                block,
            }),
            5 => Cm::Open(open),
            6 => Cm::OpenAck(open),
            7 => Cm::Lane(lane),
            8 => Cm::LaneAck(lane),
            9 => Cm::LaneConfirm(lane),
            10 => Cm::Addr(Moved {
                header,
                down: n[1],
                block,
            }),
            11 => Cm::Close(Close { header, seq: w[2] }),
            12 => Cm::Goodbye(header),
            13 => Cm::GoodbyeAck(header),
            14 => Cm::AddrAck(MovedAck {
                header,
                acked: w[2],
            }),
            _ => {
                let mut ranges = Ranges::new();
                for pair in w[..2 * (b[0] as usize % 6)].chunks(2) {
                    ranges.push(pair[0], pair[1]);
                }
                Cm::Missing(Missing {
                    header,
                    refused: b[1] & 1 == 1,
                    ranges,
                })
            }
        }
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn round_trip(fields in fields(), key: [u8; 16], node: u64, proto: u8, user: Vec<u8>) {
        let cm = fields.cm();
        let mut out = [0; MAX_LEN];
        let len = cm::emit(&Host, &key, node, proto, &cm, &mut out);
        prop_assert_eq!(len % 4, 0);

        // Read from the end of a packet.
        let packet = [&user[..], &out[..len]].concat();
        let tail = packet.last_chunk().unwrap();
        prop_assert_eq!(trailer_len(tail, packet.len()), Some(len));
        prop_assert_eq!(trailer_len(tail, len - 1), None);
        let raw = Raw::new(&packet[user.len()..]).unwrap();
        prop_assert!(raw.verify(&Host, &key, node, proto));
        prop_assert_eq!(raw.kind(), cm.kind());
        prop_assert_eq!(raw.session(), Some(fields.w[0]));
        prop_assert_eq!(raw.node(), cm.kind().is_control().then_some(fields.n[0]));
        prop_assert_eq!(raw.parse(), Some(cm));
    }

    #[test]
    fn a_flipped_bit_is_noticed(fields in fields(), at: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = emit(&key(), 6, &fields.cm());
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        if let Some(raw) = Raw::new(&bytes) {
            prop_assert!(!raw.verify(&Host, &key(), NODE, 6));
        }
    }

    #[test]
    fn a_cut_is_noticed(fields in fields(), at: prop::sample::Index, front: bool) {
        let bytes = emit(&key(), 6, &fields.cm());
        let at = at.index(bytes.len());
        let (head, tail) = bytes.split_at(at);
        let rest = if front && at > 0 { tail } else { head };
        if let Some(raw) = Raw::new(rest) {
            prop_assert!(!raw.verify(&Host, &key(), NODE, 6));
        }
    }

    #[test]
    fn random_bytes_never_verify(mut bytes: Vec<u8>, kind in 0u8..16, fit: bool) {
        if fit && bytes.len() >= 4 {
            let (len, n) = (bytes.len() / 4, bytes.len());
            bytes.truncate(len * 4);
            let end = bytes.len() - 4;
            bytes[end..].copy_from_slice(&[0x4d, 0x50, 0x10 | kind, len as u8]);
            prop_assert!(bytes.len() <= n);
        }
        if let Some(raw) = Raw::new(&bytes) {
            prop_assert!(!raw.verify(&Host, &key(), NODE, 6));
            prop_assert!(!raw.verify(&Host, &PUBLIC_KEY, NODE, 0));
            let _ = (raw.session(), raw.node(), raw.kind());
            // What parses can be sent again and means the same.
            if let Some(cm) = raw.parse() {
                let again = emit(&key(), 6, &cm);
                prop_assert_eq!(again.len(), bytes.len());
                prop_assert_eq!(Raw::new(&again).unwrap().parse(), Some(cm));
            }
        }
    }

    #[test]
    fn random_bodies(kind in 0u8..16, bytes in proptest::collection::vec(any::<u8>(), 400)) {
        for quads in 0..=100usize {
            let mut bytes = bytes[..quads * 4].to_vec();
            let Some(end) = bytes.len().checked_sub(4) else { continue };
            bytes[end..].copy_from_slice(&[0x4d, 0x50, 0x10 | kind, quads as u8]);
            if let Some(raw) = Raw::new(&bytes) {
                let block = match raw.parse() {
                    Some(Cm::Open(open)) => open.block,
                    Some(Cm::Addr(moved)) => moved.block,
                    _ => continue,
                };
                prop_assert_eq!(block.addrs.iter().count(), usize::from(block.addrs.len()));
            }
        }
    }
}
