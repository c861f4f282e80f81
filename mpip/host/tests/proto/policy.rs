// SPDX-License-Identifier: GPL-2.0

//! Rules: which packets they fit, which of them decides, and which make no sense.

use crate::common::config;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Prefix;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::packet::Packet;
use mpip_host::proto::packet::TCP;
use mpip_host::proto::packet::UDP;
use mpip_host::proto::policy;
use mpip_host::proto::policy::Flaw;
use mpip_host::proto::policy::Flow;
use mpip_host::proto::policy::Groups;
use mpip_host::proto::policy::Interfaces;
use mpip_host::proto::policy::Limits;
use mpip_host::proto::policy::Match;
use mpip_host::proto::policy::Mode;
use mpip_host::proto::policy::Names;
use mpip_host::proto::policy::Priority;
use mpip_host::proto::policy::Rule;
use mpip_host::proto::policy::Span;
use mpip_host::proto::policy::Traits;
use mpip_host::proto::policy::Treatment;
use proptest::prelude::*;

const ALL: Rule = Rule {
    matches: Match::ALL,
    treatment: Treatment::PLAIN,
};

fn v4(a: u8, b: u8, c: u8, d: u8) -> Addr {
    Addr::V4([a, b, c, d])
}

fn flow(proto: u8, local: (Addr, u16), remote: (Addr, u16)) -> Flow {
    let end = |(addr, port)| Endpoint { addr, port };
    Flow {
        tuple: Tuple {
            proto,
            local: end(local),
            remote: end(remote),
        },
        uid: Some(1000),
        groups: groups(&[77, 7, 1]),
    }
}

fn groups(ids: &[u64]) -> Groups {
    let mut groups = Groups::NONE;
    groups.0[..ids.len()].copy_from_slice(ids);
    groups
}

fn ssh() -> Flow {
    flow(TCP, (v4(10, 0, 0, 1), 40_000), (v4(192, 168, 1, 2), 22))
}

fn span(first: u16, last: u16) -> Span {
    Span { first, last }
}

fn prefix(addr: Addr, len: u8) -> Option<Prefix> {
    Some(Prefix { addr, len })
}

/// The number of the rule that a packet of this session and size falls under.
fn rule_of(rules: &[Rule], flow: &Flow, size: u16, dscp: u8) -> Option<usize> {
    let numbered = rules.iter().enumerate();
    let mut fitting = policy::candidates(numbered, |(_, rule)| rule, flow);
    let traits = Traits { size, dscp };
    fitting.find_map(|(i, rule)| rule.matches.fits_packet(&traits).then_some(i))
}

#[test]
fn prefixes() {
    let v6 = |last| Addr::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    for (addr, len, other, inside) in [
        (v4(10, 1, 2, 3), 32, v4(10, 1, 2, 3), true),
        (v4(10, 1, 2, 3), 32, v4(10, 1, 2, 2), false),
        (v4(10, 1, 2, 3), 31, v4(10, 1, 2, 2), true),
        (v4(10, 1, 2, 0), 23, v4(10, 1, 3, 9), true),
        (v4(10, 1, 2, 0), 23, v4(10, 1, 4, 9), false),
        (v4(0, 0, 0, 0), 0, v4(255, 1, 2, 3), true),
        (v4(0, 0, 0, 0), 0, v6(1), false),
        (v6(0x80), 121, v6(0xff), true),
        (v6(0x80), 121, v6(0x7f), false),
        (v6(0), 0, v4(1, 2, 3, 4), false),
    ] {
        let prefix = Prefix { addr, len };
        assert_eq!(prefix.contains(&other), inside, "{prefix:?} {other:?}");
    }
}

/// Table 6 of the paper.
#[test]
fn the_table_of_the_paper() {
    let video = v4(192, 168, 1, 2);
    let row = |dst, port, proto, sizes, priority| Rule {
        matches: Match {
            dst,
            dst_ports: span(port, port),
            proto,
            sizes,
            ..Match::ALL
        },
        treatment: Treatment {
            priority,
            ..Treatment::PLAIN
        },
    };
    let (fast, full) = (Priority::Latency, Priority::Throughput);
    let table = [
        row(None, 22, TCP, span(0, 200), fast),
        row(prefix(video, 32), 5222, UDP, span(200, u16::MAX), full),
        row(prefix(video, 32), 5221, UDP, span(0, 500), fast),
    ];
    assert!(table.iter().all(|rule| rule.flaw().is_none()));
    let to = |proto, port| flow(proto, (v4(10, 0, 0, 1), 9), (video, port));
    for (flow, size, rule) in [
        (to(TCP, 22), 0, Some(0)),
        (to(TCP, 22), 200, Some(0)),
        (to(TCP, 22), 201, None),
        (to(UDP, 22), 100, None),
        (to(UDP, 5222), 199, None),
        (to(UDP, 5222), 200, Some(1)),
        (to(UDP, 5222), 65_535, Some(1)),
        (to(UDP, 5221), 500, Some(2)),
        (to(UDP, 5221), 501, None),
        (to(UDP, 5220), 100, None),
    ] {
        assert_eq!(rule_of(&table, &flow, size, 0), rule, "{flow:?} {size}");
    }
}

#[test]
fn every_condition_counts() {
    let fits = |m: Match| {
        let rules = [Rule { matches: m, ..ALL }];
        rule_of(&rules, &ssh(), 100, 46).is_some()
    };
    let all = Match::ALL;
    assert!(fits(all));
    let owned = |first, last| Match {
        uids: Some((first, last)),
        ..all
    };
    // Who nobody knows is none of anybody's.
    let nobody = Flow { uid: None, ..ssh() };
    assert!(!owned(0, u32::MAX).fits_session(&nobody) && all.fits_session(&nobody));
    // The group itself and those above; none of what nobody knows.
    let of = |id| Match {
        group: Some(id),
        ..all
    };
    for (id, good) in [(77, true), (7, true), (1, true), (78, false), (0, false)] {
        assert_eq!(of(id).fits_session(&ssh()), good, "{id}");
    }
    let unknown = Flow {
        groups: Groups::NONE,
        ..ssh()
    };
    assert!(!of(1).fits_session(&unknown) && !of(0).fits_session(&unknown));
    assert!(!of(77).asks_packet());
    let local = v4(10, 0, 0, 0);
    for (m, good) in [
        (
            Match {
                src: prefix(local, 8),
                ..all
            },
            true,
        ),
        (
            Match {
                src: prefix(local, 32),
                ..all
            },
            false,
        ),
        (
            Match {
                dst: prefix(local, 8),
                ..all
            },
            false,
        ),
        (
            Match {
                src_ports: span(1, 39_999),
                ..all
            },
            false,
        ),
        (
            Match {
                src_ports: span(40_000, 40_000),
                ..all
            },
            true,
        ),
        (
            Match {
                dst_ports: span(23, 99),
                ..all
            },
            false,
        ),
        (Match { proto: TCP, ..all }, true),
        (Match { proto: UDP, ..all }, false),
        (owned(1000, 1000), true),
        (owned(0, u32::MAX), true),
        (owned(0, 999), false),
        (owned(1001, 2000), false),
        (
            Match {
                dscp: Some(46),
                ..all
            },
            true,
        ),
        (
            Match {
                dscp: Some(0),
                ..all
            },
            false,
        ),
        (
            Match {
                sizes: span(100, 100),
                ..all
            },
            true,
        ),
        (
            Match {
                sizes: span(101, 200),
                ..all
            },
            false,
        ),
    ] {
        assert_eq!(fits(m), good, "{m:?}");
    }
}

#[test]
fn the_search_ends_at_the_first_rule_that_asks_nothing_of_the_packet() {
    let sized = |first, last| Rule {
        matches: Match {
            sizes: span(first, last),
            ..Match::ALL
        },
        ..ALL
    };
    let udp = Rule {
        matches: Match {
            proto: UDP,
            ..Match::ALL
        },
        ..ALL
    };
    let rules = [udp, sized(0, 100), sized(50, 200), ALL, sized(0, 9), ALL];
    let seen = std::cell::Cell::new(0);
    let each = rules.iter().inspect(|_| seen.set(seen.get() + 1));
    let flow = ssh();
    let found: Vec<_> = policy::candidates(each, |rule| rule, &flow).collect();
    assert_eq!(found, [&rules[1], &rules[2], &rules[3]]);
    // One more than these is looked at, at most.
    assert!(seen.get() <= 5, "{}", seen.get());
}

#[test]
fn never_is_for_whole_sessions() {
    let never = Treatment {
        mode: Mode::Never,
        ..Treatment::PLAIN
    };
    let whole = Rule {
        treatment: never,
        ..ALL
    };
    let small = Rule {
        matches: Match {
            sizes: span(0, 100),
            ..Match::ALL
        },
        treatment: never,
    };
    let small_plain = Rule {
        treatment: Treatment::PLAIN,
        ..small
    };
    for (rules, is) in [
        (&[][..], false),
        (&[whole], true),
        (&[ALL], false),
        (&[small], false),
        (&[small, whole], true),
        (&[small, ALL], false),
        (&[small_plain, whole], false),
    ] {
        assert_eq!(policy::is_never(rules.iter()), is, "{rules:?}");
    }
}

#[test]
fn what_makes_no_sense() {
    let (v4, v6) = (v4(10, 0, 0, 0), Addr::V6([0; 16]));
    let m = Match::ALL;
    let t = Treatment::PLAIN;
    let limits = Limits {
        delay_us: 1000,
        ..Limits::NONE
    };
    let dev = Interfaces([3, 0, 0, 0, 0, 0, 0, 0]);
    let bad = [
        (
            Match {
                dst: prefix(v4, 33),
                ..m
            },
            t,
            Flaw::DstLength,
        ),
        (
            Match {
                src: prefix(v6, 129),
                ..m
            },
            t,
            Flaw::SrcLength,
        ),
        (
            Match {
                dst: prefix(v4, 8),
                src: prefix(v6, 8),
                ..m
            },
            t,
            Flaw::Families,
        ),
        (
            Match {
                dst_ports: span(2, 1),
                ..m
            },
            t,
            Flaw::DstPorts,
        ),
        (
            Match {
                src_ports: span(2, 1),
                ..m
            },
            t,
            Flaw::SrcPorts,
        ),
        (
            Match {
                sizes: span(2, 1),
                ..m
            },
            t,
            Flaw::Sizes,
        ),
        (
            Match {
                uids: Some((2, 1)),
                ..m
            },
            t,
            Flaw::Users,
        ),
        (Match { proto: 1, ..m }, t, Flaw::Protocol),
        (
            m,
            Treatment {
                mode: Mode::Single,
                priority: Priority::Latency,
                ..t
            },
            Flaw::NoChoice,
        ),
        (m, Treatment { limits, ..t }, Flaw::LimitsUnused),
        (
            m,
            Treatment {
                mode: Mode::Selected,
                ..t
            },
            Flaw::LimitsMissing,
        ),
        (
            m,
            Treatment {
                mode: Mode::Never,
                interfaces: dev,
                ..t
            },
            Flaw::InterfacesUnused,
        ),
        (
            Match { proto: TCP, ..m },
            Treatment { ordered: true, ..t },
            Flaw::OrderedStream,
        ),
        (
            m,
            Treatment {
                mode: Mode::Never,
                ordered: true,
                ..t
            },
            Flaw::OrderedNever,
        ),
    ];
    for (matches, treatment, flaw) in bad {
        let rule = Rule { matches, treatment };
        assert_eq!(rule.flaw(), Some(flaw), "{rule:?}");
    }
    for treatment in [
        t,
        Treatment {
            mode: Mode::Selected,
            limits,
            priority: Priority::Latency,
            interfaces: dev,
            ordered: true,
        },
        Treatment {
            mode: Mode::Single,
            interfaces: dev,
            ..t
        },
        Treatment {
            mode: Mode::Never,
            ..t
        },
    ] {
        let rule = Rule { treatment, ..ALL };
        assert_eq!(rule.flaw(), None, "{rule:?}");
    }
    for proto in [0, TCP, UDP] {
        let rule = Rule {
            matches: Match { proto, ..m },
            treatment: Treatment {
                mode: Mode::Protected,
                ..t
            },
        };
        assert_eq!(rule.flaw(), None);
    }
}

#[test]
fn interfaces() {
    assert!(Interfaces::ANY.is_any() && !Interfaces::ANY.contains(0));
    let two = Interfaces([7, 9, 0, 0, 0, 0, 0, 0]);
    assert!(!two.is_any() && two.contains(7) && two.contains(9));
    assert!(!two.contains(0) && !two.contains(8));
}

#[test]
fn what_is_read_of_a_packet() {
    let mut ip = vec![0u8; 20 + 20];
    ip[..10].copy_from_slice(&[0x45, (46 << 2) | 1, 0, 40, 0, 0, 0, 0, 64, 6]);
    ip[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    ip[32] = 0x50;
    let packet = Packet::parse(&ip, 40, 4).unwrap();
    let read = |len, segment| Traits::read(&ip, &packet, len, segment);
    let dscp = 46;
    assert_eq!(read(40, 0), Traits { size: 40, dscp });
    // A burst: what leaves in the end.
    assert_eq!(read(64_000, 1448), Traits { size: 1488, dscp });
    // One that is shorter than what it may be cut into, and one that is too large for a number.
    assert_eq!(read(600, 1448).size, 600);
    assert_eq!(read(100_000, 0).size, u16::MAX);

    let mut ip = vec![0u8; 40 + 8];
    ip[..8].copy_from_slice(&[0x60 | 0xb, 0x80, 0, 0, 0, 8, 17, 64]);
    ip[44..46].copy_from_slice(&[0, 8]);
    let packet = Packet::parse(&ip, 48, 6).unwrap();
    let traits = Traits { size: 48, dscp };
    assert_eq!(Traits::read(&ip, &packet, 48, 0), traits);
}

#[test]
fn names_of_interfaces() {
    let read = |list: &[u8]| {
        let names = Names::parse(list)?;
        let (text, len) = names.list();
        assert!(text[len..].iter().all(|b| *b == 0) && text.len() > len);
        Some((names.iter().count(), text[..len].to_vec()))
    };
    for (list, n, text) in [
        ("eth0", 1, "eth0"),
        ("usb7 eth0", 2, "usb7 eth0"),
        ("  a   b ", 2, "a b"),
        ("1 2 3 4 5 6 7 8", 8, "1 2 3 4 5 6 7 8"),
    ] {
        assert_eq!(read(list.as_bytes()), Some((n, text.as_bytes().to_vec())));
    }
    let longest = ["fifteen-letters"; 8].join(" ");
    assert_eq!(longest.len(), Names::MAX_LEN);
    assert_eq!(read(longest.as_bytes()), Some((8, longest.into_bytes())));
    for wrong in [
        "",
        " ",
        "1 2 3 4 5 6 7 8 9",
        "eth0 a/b",
        "..",
        "sixteen-letters-",
    ] {
        assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
    }
    // A rule with names has a choice of interfaces, which none fits before it is known.
    assert!(!Interfaces::NAMED.is_any());
    assert!((0..1000).all(|index| !Interfaces::NAMED.contains(index)));
    let rule = Rule {
        matches: Match::ALL,
        treatment: Treatment {
            mode: Mode::Never,
            interfaces: Interfaces::NAMED,
            ..Treatment::PLAIN
        },
    };
    assert_eq!(rule.flaw(), Some(Flaw::InterfacesUnused));
}

fn any_match() -> impl Strategy<Value = Match> {
    let spans = || (0u16..5, 0u16..5).prop_map(|(a, b)| span(a.min(b), a.max(b)));
    let prefixes = || {
        let addr = any::<u8>().prop_map(|n| v4(n & 3, 0, 0, n & 3));
        prop::option::of((addr, 0u8..=32).prop_map(|(addr, len)| Prefix { addr, len }))
    };
    let proto = prop::sample::select(vec![0, TCP, UDP]);
    let sizes = prop_oneof![Just(Span::ALL), spans()];
    let dscp = prop::option::of(0u8..2);
    let ports = (spans(), spans());
    let uids = prop::option::of((0u32..3, 0u32..3));
    let group = prop::option::of(76u64..79);
    let owner = (uids, group);
    (prefixes(), prefixes(), ports, proto, owner, sizes, dscp).prop_map(
        |(dst, src, (dst_ports, src_ports), proto, (uids, group), sizes, dscp)| Match {
            dst,
            src,
            dst_ports,
            src_ports,
            proto,
            uids,
            group,
            sizes,
            dscp,
        },
    )
}

proptest! {
    #![proptest_config(config(500))]

    /// What is cached for a session decides as a look through all rules would.
    #[test]
    fn the_first_that_fits_counts(
        matches in prop::collection::vec(any_match(), 0..30),
        ends in any::<(u8, u8)>(),
        ports in (0u16..6, 0u16..6),
        udp in any::<bool>(),
        uid in prop::option::of(0u32..3),
        size in 0u16..6,
        dscp in 0u8..3,
    ) {
        let rules: Vec<_> = matches.into_iter().map(|matches| Rule { matches, ..ALL }).collect();
        let end = |n: u8, port| (v4(n & 3, 0, 0, (n >> 2) & 3), port);
        let proto = if udp { UDP } else { TCP };
        let mut flow = flow(proto, end(ends.0, ports.0), end(ends.1, ports.1));
        flow.uid = uid;
        let traits = Traits { size, dscp };
        let first = rules.iter().position(|rule| {
            rule.matches.fits_session(&flow) && rule.matches.fits_packet(&traits)
        });
        prop_assert_eq!(rule_of(&rules, &flow, size, dscp), first);
    }
}
