// SPDX-License-Identifier: GPL-2.0

//! What doctor says of NATs, offloads and tunnels.

use mpipctl::network::Barrier;
use mpipctl::network::Network;
use mpipctl::network::Rule;
use mpipctl::nl::uapi::*;

use crate::common::attr;
use crate::common::u16;
use crate::common::u32;
use crate::common::u64;
use crate::common::u8;
use crate::common::Fake;
use crate::common::Kernel;
use crate::host::*;

/// A path that a kernel lists.
fn path(id: u8, ifindex: u32, local: [u8; 4], more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut attrs = vec![
        u8(PATH_ID, id),
        u64(PATH_PEER, 7),
        u32(PATH_IFINDEX, ifindex),
        attr(PATH_LOCAL, &local),
    ];
    attrs.extend(more.iter().cloned());
    attrs
}

const AUTO: (&str, u64, &str) = ("encap", 0, "auto,none,udp,tcp");

fn with(params: &[(&str, u64, &str)], paths: &[Vec<Vec<u8>>]) -> Fake {
    let version = env!("CARGO_PKG_VERSION");
    let kernel = with_paths(Kernel::new(), 1, version, params, paths);
    host(then(kernel, paths), network())
}

#[test]
fn disabled() {
    let path = |state: u32, id: u8, ifindex: u32| {
        path(id, ifindex, [192, 0, 2, 2], &[u32(PATH_STATE, state)])
    };
    let (active, suspect, disabled) = (1, 2, 5);
    says(
        &with(&[AUTO], &[path(active, 0, 2), path(disabled, 1, 3)]),
        "OK use wwan0: path 1 to peer 0000000000000007 is disabled: it carries nothing",
        0,
    );
    says(
        &with(&[AUTO], &[path(suspect, 0, 2), path(disabled, 1, 9)]),
        "WARN use path 1 to peer 0000000000000007 is disabled: it carries nothing but what has no \
         other path, and no other works \\ \
         fix: mpipctl path set 1 state active peer 0000000000000007",
        0,
    );
    let (text, _) = doctor(&with(&[AUTO], &[path(active, 0, 2)]));
    assert!(!text.contains(" use "), "{text}");
}

#[test]
fn nats() {
    let active = u32(PATH_STATE, 1);
    let seen = |addr: [u8; 4]| attr(PATH_OBSERVED, &addr);
    let way = |way: u32| u32(PATH_WAY, way);
    let eth0 = |more: &[Vec<u8>]| path(0, 2, [192, 0, 2, 2], more);
    let wwan0 = |more: &[Vec<u8>]| path(1, 3, [198, 51, 100, 2], more);
    let plain = with(
        &[AUTO],
        &[eth0(&[active.clone()]), wwan0(&[active.clone()])],
    );
    says(
        &plain,
        "OK nat none: peers see 192.0.2.2, 198.51.100.2 as they are",
        0,
    );
    let one = || {
        let wwan0 = wwan0(&[active.clone(), seen([203, 0, 113, 7]), way(1)]);
        [eth0(&[active.clone()]), wwan0]
    };
    let line =
        "OK nat wwan0: NAT: 198.51.100.2 is seen as 203.0.113.7; what gets through goes inside udp";
    says(&with(&[AUTO], &one()), line, 0);
    says(
        &with(&[AUTO], &one()),
        "OK nat none: peers see 192.0.2.2 as they are",
        0,
    );
    let line = "WARN nat wwan0: a NAT forgets what is idle, and nothing keeps its memory fresh: keepalive is \
                off \\ fix: mpipctl param set keepalive 15";
    says(&with(&[("keepalive", 0, "")], &one()), line, 0);

    let two = [
        wwan0(&[active.clone(), seen([203, 0, 113, 7]), way(0)]),
        wwan0(&[active.clone(), seen([203, 0, 113, 8]), way(2)]),
    ];
    let line = "OK nat wwan0: NAT with several addresses: 198.51.100.2 is seen as 203.0.113.7, 203.0.113.8; \
                what gets through goes as plain packets and inside tcp";
    says(&with(&[AUTO], &two), line, 0);
    // What it does with ports: two destinations of one port tell.
    let mapped = |id, remote: [u8; 4], own, port| {
        let known = [
            active.clone(),
            seen([203, 0, 113, 7]),
            way(1),
            attr(PATH_REMOTE, &remote),
            u16(PATH_LOCAL_PORT, own),
            u8(PATH_LOCAL_PROTOCOL, 17),
            u16(PATH_OBSERVED_PORT, port),
        ];
        path(id, 3, [198, 51, 100, 2], &known)
    };
    let (here, there) = ([192, 0, 2, 9], [192, 0, 2, 10]);
    for (first, second, words) in [
        (
            (here, 29170, 29170),
            (there, 29170, 29170),
            "its ports kept",
        ),
        (
            (here, 29170, 4000),
            (there, 29170, 4000),
            "with one other port for all destinations",
        ),
        (
            (here, 29170, 4000),
            (there, 29170, 4001),
            "with another port for each destination",
        ),
        (
            (here, 29170, 4000),
            (there, 29171, 4001),
            "with other ports",
        ),
        ((here, 29170, 4000), (here, 29170, 4001), "with other ports"),
    ] {
        let paths = [
            mapped(1, first.0, first.1, first.2),
            mapped(2, second.0, second.1, second.2),
        ];
        let line = format!(
            "OK nat wwan0: NAT: 198.51.100.2 is seen as 203.0.113.7, {words}; what gets through goes inside udp"
        );
        says(&with(&[AUTO], &paths), &line, 0);
    }
    let inner = [wwan0(&[active.clone(), seen([10, 1, 2, 3]), way(1)])];
    let (text, _) = doctor(&with(&[AUTO], &inner));
    assert!(
        text.contains("wwan0: NAT inside a private network: "),
        "{text}"
    );

    // Silent, and only one way may be tried.
    let silent = || {
        [wwan0(&[
            u32(PATH_STATE, 2),
            seen([203, 0, 113, 7]),
            u32(PATH_REASON, 4),
        ])]
    };
    let line =
        "FAIL nat wwan0: a path has fallen silent, and encap none lets no other way be tried \\ \
                fix: mpipctl param set encap auto";
    says(&with(&[("encap", 1, AUTO.2)], &silent()), line, 4);
    let (text, status) = doctor(&with(&[AUTO], &silent()));
    assert!(
        text.contains("; nothing has got through yet\n") && status == 0,
        "{text}"
    );
    // Without a NAT as well; and nobody has seen such an address as it is.
    let lost = [eth0(&[u32(PATH_STATE, 2), u32(PATH_REASON, 4)])];
    says(
        &with(&[("encap", 1, AUTO.2)], &lost),
        &line.replace("wwan0", "eth0"),
        4,
    );
    let (text, _) = doctor(&with(&[AUTO], &lost));
    assert!(!text.contains(" nat "), "{text}");
    // For a moment.
    let version = env!("CARGO_PKG_VERSION");
    let kernel = with_paths(Kernel::new(), 1, version, &[("encap", 1, AUTO.2)], &lost);
    let kernel = then(kernel, &[eth0(&[active.clone()])]);
    says(
        &host(kernel, network()),
        "OK nat none: peers see 192.0.2.2 as they are",
        0,
    );
    // The address of a carrier's inner network.
    let mut carrier = network();
    carrier.addresses[2] = address(3, "100.65.0.9", 10);
    let kernel = with_paths(
        Kernel::new(),
        1,
        env!("CARGO_PKG_VERSION"),
        &[AUTO],
        &[path(
            1,
            3,
            [100, 65, 0, 9],
            &[active, seen([203, 0, 113, 7])],
        )],
    );
    let (text, _) = doctor(&host(kernel, carrier));
    assert!(
        text.contains("wwan0: NAT of a carrier: 100.65.0.9 "),
        "{text}"
    );
}

#[test]
fn ports_that_are_taken() {
    let line =
        "WARN port UDP port 4500 is taken by another program, and 29170 used in its place: a \
                firewall that is open for 4500 closes it \\ fix: mpipctl param set port PORT";
    says(&with(&[("port", 4500, "")], &[]), line, 0);
    let (text, _) = doctor(&with(&[("port", 29170, "")], &[]));
    assert!(!text.contains(" port "), "{text}");
}

#[test]
fn offloads() {
    // Of the second interface; the first one is well.
    let with = |features: &[&str], kind: Option<&str>| {
        let mut network = network();
        let of = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect());
        network.links[1].features = of(&["rx-gro", "tx-generic-segmentation"]);
        network.links[2].features = of(features);
        network.links[2].kind = kind.map(str::to_string);
        host(kernel(), network)
    };
    let well = "OK offload nothing is merged that must not be, and bursts stay whole";
    says(&with(&["rx-gro", "tx-generic-segmentation"], None), well, 0);
    for (features, fix) in [
        (
            &["rx-gro", "tx-generic-segmentation", "rx-lro"][..],
            "lro off",
        ),
        (
            &["rx-gro", "tx-generic-segmentation", "rx-gro-list"],
            "rx-gro-list off",
        ),
        (
            &["rx-gro", "tx-generic-segmentation", "rx-udp-gro-forwarding"],
            "rx-udp-gro-forwarding off",
        ),
        (&["tx-generic-segmentation"], "gro on"),
        (&["rx-gro"], "gso on"),
    ] {
        let (text, status) = doctor(&with(features, None));
        let found: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(" offload "))
            .collect();
        assert_eq!(found.len(), 1, "{text}");
        assert!(found[0].starts_with("WARN offload wwan0: "), "{text}");
        assert!(
            found[0].ends_with(&format!(" \\ fix: ethtool -K wwan0 {fix}")),
            "{text}"
        );
        assert_eq!(status, 0);
    }
    // What has no hardware merges nothing on receipt by itself.
    says(&with(&["tx-generic-segmentation"], Some("veth")), well, 0);
}

/// The network with a tunnel, as wg-quick makes it for all traffic if it is asked to.
fn vpn(all: bool) -> Network {
    let mut network = network();
    let mut tunnel = link(4, "wg0");
    tunnel.kind = Some("wireguard".to_string());
    network.links.push(tunnel);
    network.addresses.push(address(4, "10.9.0.2", 32));
    let rule = |table, priority| Rule {
        table,
        priority,
        ..Rule::default()
    };
    network
        .rules
        .extend([rule(255, 0), rule(254, 32766), rule(253, 32767)]);
    if all {
        let without_mark = Some(0xca6c);
        network.rules.extend([
            rule(254, 32764),
            Rule {
                without_mark,
                ..rule(51820, 32765)
            },
        ]);
        network.defaults.push(default(4, 51820));
    }
    network
}

#[test]
fn tunnels_that_take_everything() {
    says(
        &host(kernel(), vpn(false)),
        "OK vpn what goes through wg0 stays in it",
        0,
    );
    let line = "WARN vpn wg0: all IPv4 traffic goes into the tunnel, and the tunnel's own has the mark 0xca6c: \
                both keep to one path; after the fix all else leaves beside the tunnel \\ fix: wg-quick down wg0 && wg-quick up wg0, with the networks \
                behind it in AllowedIPs";
    says(&host(kernel(), vpn(true)), line, 0);
    // Not a tunnel's table, or not asked for.
    let mut other = vpn(true);
    other.defaults.last_mut().unwrap().links = vec![3];
    let (text, _) = doctor(&host(kernel(), other));
    assert!(text.contains("OK vpn "), "{text}");
    let mut late = vpn(true);
    late.rules.last_mut().unwrap().priority = 40_000;
    let (text, _) = doctor(&host(kernel(), late));
    assert!(text.contains("OK vpn "), "{text}");
}

#[test]
fn routes_that_lead_nowhere() {
    let barrier = |table, priority, kind| Barrier {
        v6: false,
        table,
        priority,
        kind,
    };
    for (found, line) in [
        (
            barrier(Some(51820), 0, "blackhole"),
            Some("the default route of table 51820 throws away what does not go through a tunnel (a kill \
                  switch): paths have no IPv4 route; the fix ends that protection, and what is to be hidden may leak \\ fix: ip route del blackhole default table 51820"),
        ),
        (
            barrier(None, 500, "prohibit"),
            Some("the rule with priority 500 throws away what does not go through a tunnel (a kill switch): \
                  paths have no IPv4 route; the fix ends that protection, and what is to be hidden may leak \\ fix: ip rule del priority 500"),
        ),
        // Behind the main table, and in tables that nothing leads to.
        (barrier(None, 40_000, "unreachable"), None),
        (barrier(Some(7), 0, "unreachable"), None),
        (barrier(Some(254), 0, "unreachable"), None),
    ] {
        let mut network = vpn(true);
        network.barriers.push(found.clone());
        let (text, status) = doctor(&host(kernel(), network));
        let said = text.lines().find(|line| line.contains("(a kill switch)"));
        let expected = line.map(|line| format!("WARN vpn {line}"));
        assert_eq!(said.map(str::to_string), expected, "{found:?}: {text}");
        assert_eq!(status, 0);
    }
}

#[test]
fn kill_switches() {
    const NEXT: &str = " next ";
    const MARKED: &str = r#"{"match":{"op":"==","left":{"meta":{"key":"mark"}},"right":51820}}"#;
    let name = |op: &str, name: &str| {
        format!(
            r#"{{"match":{{"op":"{op}","left":{{"meta":{{"key":"oifname"}}}},"right":{name}}}}}"#
        )
    };
    let accept = |right: &str| format!(r#"{},{{"accept":null}}"#, name("==", right));
    let reject = |right: &str| format!(r#"{},{{"reject":null}}"#, name("!=", right));
    for (hook, policy, rule, found) in [
        ("output", "drop", accept(r#""wg0""#), true),
        ("output", "drop", accept(r#"{"set":["lo","wg0"]}"#), true),
        ("output", "drop", accept(r#""wg*""#), true),
        ("output", "accept", reject(r#""wg0""#), true),
        (
            "postrouting",
            "accept",
            reject(r#"{"set":["lo","wg0"]}"#),
            true,
        ),
        (
            "output",
            "drop",
            accept(r#""wg0""#) + NEXT + &accept(r#""lo""#),
            true,
        ),
        (
            "output",
            "drop",
            accept(r#""wg0""#) + NEXT + &accept(r#"{"set":["lo","eth0"]}"#),
            false,
        ),
        (
            "output",
            "drop",
            accept(r#""wg0""#) + NEXT + r#"{"counter":null},{"accept":null}"#,
            false,
        ),
        (
            "output",
            "drop",
            accept(r#""wg0""#) + NEXT + r#"{"xt":null},{"accept":null}"#,
            true,
        ),
        // What the tunnel itself sends.
        (
            "output",
            "drop",
            format!(
                r#"{}{NEXT}{MARKED},{}"#,
                accept(r#""wg0""#),
                accept(r#""eth0""#)
            ),
            true,
        ),
        ("output", "accept", accept(r#""wg0""#), false),
        ("output", "drop", accept(r#""eth0""#), false),
        ("output", "accept", reject(r#""eth0""#), false),
        ("input", "drop", accept(r#""wg0""#), false),
    ] {
        let rules: Vec<&str> = rule.split(NEXT).collect();
        let json = ruleset("inet", hook, 0, policy, &rules);
        let quiet = host(kernel(), vpn(false)).ruleset(&json);
        let (text, _) = doctor(&quiet);
        let line = "OK vpn chain inet t c is a kill switch, and no path is beside the tunnel";
        assert_eq!(text.lines().any(|l| l == line), found, "{rule}: {text}");
        let beside = [path(0, 2, [192, 0, 2, 2], &[u32(PATH_STATE, 1)])];
        let kernel = with_paths(
            Kernel::new(),
            1,
            env!("CARGO_PKG_VERSION"),
            &[AUTO],
            &beside,
        );
        let (text, status) = doctor(&host(kernel, vpn(false)).ruleset(&json));
        let line = "WARN vpn chain inet t c is a kill switch, but added paths pass no filter: what is older \
                    than the tunnel may leave beside it (1 active path outside) \\ \
                    fix: mpipctl disable && mpipctl enable";
        assert_eq!(text.lines().any(|l| l == line), found, "{rule}: {text}");
        assert_eq!(status, 0);
    }
}
