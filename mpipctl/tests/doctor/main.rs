// SPDX-License-Identifier: GPL-2.0

//! Every finding of doctor, on systems that are made up.

#[path = "../common/mod.rs"]
mod common;
mod host;
mod paths;
mod roles;

use common::dump;
use common::refusal;
use common::Fake;
use common::Kernel;
use host::*;
use mpipctl::network::Address;
use mpipctl::network::DefaultRoute;
use mpipctl::network::Network;
use mpipctl::network::Rule;
use mpipctl::nl::uapi::*;
use snapbox::assert_data_eq;
use snapbox::str;

#[test]
fn all_is_well() {
    let (text, result) = run("mpipctl doctor", &host(kernel(), network()));
    assert_data_eq!(
        text,
        str![[r#"
RESULT CHECK      FINDING
OK     module     version 0.1.0 on kernel 7.3.4+deb13-amd64
OK     signature  the module is not signed, and this kernel does not ask for that
OK     enabled    on in this network namespace
OK     interfaces eth0, wwan0 can carry paths
OK     rp_filter  no reverse-path filter is in the way
OK     route      every interface has a default route
OK     mtu        1500 bytes everywhere
OK     address    no address is there twice
OK     firewall   no rules
OK     clock      tsc is read quickly

"#]]
    );
    result.unwrap();
    let signed = host(kernel(), network()).file("/sys/module/mpip/taint", "O\n");
    says(
        &signed,
        "OK signature the kernel trusts the module's signature",
        0,
    );
}

/// As text and as JSON, with the remedies, and with those for a namespace.
#[test]
fn a_sick_host() {
    let system = || {
        let mut network = network();
        network.defaults.pop();
        host(kernel(), network).file(&format!("{CONF}/wwan0/rp_filter"), "1\n")
    };
    let (text, result) = run("mpipctl doctor", &system());
    assert_data_eq!(
        text,
        str![[r#"
RESULT CHECK      FINDING
OK     module     version 0.1.0 on kernel 7.3.4+deb13-amd64
OK     signature  the module is not signed, and this kernel does not ask for that
OK     enabled    on in this network namespace
OK     interfaces eth0, wwan0 can carry paths
FAIL   rp_filter  wwan0: strict reverse-path filter: drops what another interface's route leads back to
    fix: sysctl -w net.ipv4.conf.wwan0.rp_filter=2
FAIL   route      wwan0: no IPv4 default route: paths lead only to hosts on the same link
    fix: ip route add default via GATEWAY dev wwan0 metric 1000
OK     mtu        1500 bytes everywhere
OK     address    no address is there twice
OK     firewall   no rules
OK     clock      tsc is read quickly

"#]]
    );
    let error = result.unwrap_err();
    assert_eq!(error.exit_status(), 4);
    assert_eq!(error.to_string(), "2 checks failed");

    let (json, _) = run("mpipctl -j doctor", &system());
    let findings: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        findings[4],
        serde_json::json!({
            "result": "fail",
            "check": "rp_filter",
            "dev": "wwan0",
            "text": "strict reverse-path filter: drops what another interface's route leads back to",
            "fix": "sysctl -w net.ipv4.conf.wwan0.rp_filter=2",
        })
    );
    let mut without = network();
    without.addresses.clear();
    let (text, _) = run("mpipctl -o -n blue doctor", &host(kernel(), without));
    let fix = "fix: ip netns exec blue ip link set DEV up && \
               ip netns exec blue ip address add ADDRESS/LENGTH dev DEV";
    assert!(text.contains(fix), "{text}");
    let (text, _) = run("mpipctl -o -n blue doctor", &system());
    let fix = "fix: ip netns exec blue sysctl -w net.ipv4.conf.wwan0.rp_filter=2";
    assert!(text.contains(fix), "{text}");
}

#[test]
fn what_is_safe_is_mended() {
    let path = format!("{CONF}/wwan0/rp_filter");
    let system = host(kernel(), network()).file(&path, "1\n");
    let (text, result) = run("mpipctl doctor -o --fix", &system);
    result.unwrap();
    let doing = "Doing: sysctl -w net.ipv4.conf.wwan0.rp_filter=2\nFIXED rp_filter wwan0: strict ";
    assert!(text.starts_with(doing), "{text}");
    assert!(text.contains("\nOK rp_filter "), "{text}");
    assert_eq!(mpipctl::system::System::read(&system, &path).unwrap(), "2");
    let (text, _) = run("mpipctl -j doctor --fix", &{
        host(kernel(), network()).file(&path, "1\n")
    });
    assert!(
        text.starts_with(r#"[{"result":"fixed","check":"rp_filter","dev":"wwan0","#),
        "{text}"
    );
    // There is nothing to be done where all is well.
    let (text, _) = run("mpipctl doctor -o --fix", &host(kernel(), network()));
    assert!(!text.contains("Doing") && !text.contains("FIXED"), "{text}");
}

#[test]
fn what_cannot_be_mended_remains() {
    let system = host(kernel(), network())
        .file(&format!("{CONF}/wwan0/rp_filter"), "1\n")
        .read_only();
    let (text, result) = run("mpipctl doctor -o --fix", &system);
    assert_eq!(result.unwrap_err().exit_status(), 4);
    assert!(text.contains("could not be mended: "), "{text}");
}

#[test]
fn module_and_instance() {
    let absent = || host(Kernel::without_module(), network());
    let line = format!(
        "FAIL module not loaded, and not installed for kernel {RELEASE} \\ \
         fix: make MPIP_KERNEL={RELEASE} && make install && modprobe mpip"
    );
    says(&absent(), &line, 4);
    let of = |release: &str| {
        absent().file(
            &format!("/lib/modules/{release}/modules.dep"),
            "updates/mpip.ko: kernel/lib/crypto/libcurve25519.ko\n",
        )
    };
    says(
        &of(RELEASE),
        "FAIL module not loaded \\ fix: modprobe mpip",
        4,
    );
    let line = format!(
        "FAIL module installed for kernel 7.2.1, but {RELEASE} is running \\ \
         fix: make MPIP_KERNEL={RELEASE} && make install && modprobe mpip"
    );
    says(&of("7.2.1"), &line, 4);
    let off = Kernel::new()
        .answer(CMD_GET, answer(0, env!("CARGO_PKG_VERSION")))
        .answer(CMD_INTERFACE_GET, dump(&[]))
        .answer(CMD_RULE_GET, dump(&[]));
    let line = "FAIL enabled off in this network namespace \\ fix: mpipctl enable";
    says(&host(off, network()), line, 4);
    let refused = Kernel::new().answer(CMD_GET, vec![refusal(1, &[])]);
    let (text, status) = doctor(&host(refused, network()));
    assert!(text.contains("\nFAIL enabled ") && status == 4, "{text}");
    let newer = with_paths(Kernel::new(), 1, "9.0.0", &[], &[]);
    let line = format!(
        "WARN module version 9.0.0, but mpipctl is {}: one may not know what the other does \\ \
         fix: make MPIP_KERNEL={RELEASE} && make install",
        env!("CARGO_PKG_VERSION")
    );
    says(&host(newer, network()), &line, 0);
}

/// The text of a system without a loaded module, and with these files.
fn unloaded(files: &[(&str, &str)]) -> String {
    let mut system = Fake::new(Kernel::without_module())
        .network(network())
        .ruleset(NO_RULES);
    for (path, text) in files {
        system = system.file(path, text);
    }
    doctor(&system).0
}

#[test]
fn signatures_that_are_asked_for() {
    let enforced = "/sys/module/module/parameters/sig_enforce";
    let lockdown = "/sys/kernel/security/lockdown";
    for (files, asked) in [
        (
            &[(enforced, "N\n"), (lockdown, "[none] integrity\n")][..],
            false,
        ),
        (&[(enforced, "Y\n")], true),
        (&[(lockdown, "none [integrity] confidentiality\n")], true),
        (&[], false),
    ] {
        let text = unloaded(files);
        assert_eq!(
            text.contains("WARN signature this kernel"),
            asked,
            "{files:?}: {text}"
        );
    }
    for (signer, said) in [
        ("", "FAIL signature this kernel loads only modules signed with a key that it trusts, and the installed one is not signed"),
        ("Us", "OK signature this kernel loads only modules signed with a key that it trusts; the installed one is signed by \"Us\""),
    ] {
        let system = Fake::new(Kernel::without_module()).network(network()).ruleset(NO_RULES);
        let (text, _) = doctor(&system.file(enforced, "Y\n").signer(signer));
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn a_kernel_without_rust() {
    let config = format!("/boot/config-{RELEASE}");
    let release = ("/proc/sys/kernel/osrelease", RELEASE);
    let said = format!("kernel {RELEASE} is built without Rust");
    for (text, lacks) in [
        ("CONFIG_RUST=y\n", false),
        ("# CONFIG_RUST is not set\n", true),
    ] {
        let told = unloaded(&[release, (&config, text)]);
        assert_eq!(told.contains(&said), lacks, "{told}");
    }
}

#[test]
fn interfaces() {
    let line = "FAIL interfaces no interface is up and has an address for paths \\ \
                fix: ip link set DEV up && ip address add ADDRESS/LENGTH dev DEV";
    says(&host(kernel(), Network::default()), line, 4);

    let mut one = network();
    one.links[2].running = false;
    let line = "WARN interfaces only eth0 can carry paths: there are several only to hosts with \
                several addresses";
    says(&host(kernel(), one.clone()), line, 0);
    one.links[2].up = false;
    let line = "WARN interfaces wwan0: not up \\ fix: ip link set wwan0 up";
    says(&host(kernel(), one), line, 0);

    // What belongs to a VRF, and the VRF itself, carry no paths.
    let mut vrf = network();
    vrf.links[2].master = Some(9);
    let mut master = link(9, "vrf0");
    master.kind = Some("vrf".to_string());
    vrf.links.push(master);
    vrf.addresses.push(address(9, "203.0.113.9", 24));
    let (text, _) = doctor(&host(kernel(), vrf));
    assert!(text.contains("WARN interfaces only eth0 "), "{text}");

    let mut many = network();
    many.addresses
        .extend((1..=32).map(|i| address(2, &format!("10.{i}.0.1"), 24)));
    let line = "WARN interfaces 34 addresses for paths, of which only 32 are looked at";
    says(&host(kernel(), many), line, 0);
}

#[test]
fn reverse_path_filters() {
    let with = |name: &str, value: &str| {
        host(kernel(), network()).file(&format!("{CONF}/{name}/rp_filter"), value)
    };
    let failed = |system: &Fake, dev: &str| {
        let (text, _) = doctor(system);
        text.contains(&format!("FAIL rp_filter {dev}: "))
    };
    // The larger value counts: eth0 is loose whatever `all` says, unless that is strict alone.
    assert!(failed(&with("all", "1\n"), "wwan0") && !failed(&with("all", "1\n"), "eth0"));
    assert!(!failed(
        &with("all", "2\n").file(&format!("{CONF}/wwan0/rp_filter"), "1"),
        "wwan0"
    ));
    // With a table of its own, what arrives on an interface is expected there.
    let mut own = network();
    own.rules.push(Rule {
        table: 100,
        source: Some(("198.51.100.2".parse().unwrap(), 32)),
        ..Rule::default()
    });
    let own = host(kernel(), own).file(&format!("{CONF}/wwan0/rp_filter"), "1\n");
    assert!(!failed(&own, "wwan0"));
    // A name with a dot needs slashes; one interface alone does not fail.
    let mut vlan = network();
    vlan.links.remove(1);
    vlan.links[1].name = "eth0.5".to_string();
    let vlan = host(kernel(), vlan).file(&format!("{CONF}/eth0.5/rp_filter"), "1\n");
    let (text, status) = doctor(&vlan);
    assert!(text.contains("WARN rp_filter eth0.5: "), "{text}");
    assert!(
        text.contains("sysctl -w net/ipv4/conf/eth0.5/rp_filter=2"),
        "{text}"
    );
    assert_eq!(status, 0);
}

#[test]
fn routes() {
    let line =
        "FAIL route wwan0: no IPv4 default route: paths lead only to hosts on the same link \
                \\ fix: ip route add default via GATEWAY dev wwan0 metric 1000";
    let mut lacking = network();
    lacking.defaults.pop();
    says(&host(kernel(), lacking.clone()), line, 4);
    // A table that nothing leads to does not help, one with a rule does.
    lacking.defaults.push(default(3, 100));
    says(&host(kernel(), lacking.clone()), line, 4);
    lacking.rules.push(Rule {
        table: 100,
        ..Rule::default()
    });
    says(
        &host(kernel(), lacking),
        "OK route every interface has a default route",
        0,
    );

    let mut bridge = network();
    bridge.defaults.pop();
    bridge.links[2].kind = Some("bridge".to_string());
    says(&host(kernel(), bridge), &line.replace("FAIL", "WARN"), 0);

    let mut none = network();
    none.defaults.clear();
    let line = "WARN route no default route at all: paths lead only to hosts on the same links \\ \
                fix: ip route add default via GATEWAY dev DEV";
    says(&host(kernel(), none), line, 0);

    let mut v6 = network();
    v6.addresses.push(address(2, "2001:db8:1::2", 64));
    v6.addresses.push(address(3, "2001:db8:2::2", 64));
    v6.addresses.push(address(3, "fd00::2", 64));
    v6.defaults.push(DefaultRoute {
        v6: true,
        ..default(2, 254)
    });
    let line =
        "FAIL route wwan0: no IPv6 default route: paths lead only to hosts on the same link \
                \\ fix: ip -6 route add default via GATEWAY dev wwan0 metric 1000";
    says(&host(kernel(), v6), line, 4);
}

#[test]
fn mtus() {
    let mut network = network();
    network.links[2].mtu = 1420;
    let line = "WARN mtu wwan0 has 1420 bytes and eth0 1500: TCP keeps to the smaller, larger \
                datagrams to the wider paths \\ fix: ip link set eth0 mtu 1420";
    says(&host(kernel(), network), line, 0);
}

#[test]
fn addresses() {
    let mut twice = network();
    twice.addresses[2].addr = twice.addresses[1].addr;
    let line = "FAIL address wwan0: 192.0.2.2 is an address of eth0, too \\ \
                fix: ip address del 192.0.2.2/24 dev wwan0";
    says(&host(kernel(), twice), line, 4);

    let mut foreign = network();
    foreign.addresses.push(Address {
        usable: false,
        duplicate: true,
        ..address(3, "2001:db8::2", 64)
    });
    let line = "FAIL address wwan0: another host has 2001:db8::2, too \\ \
                fix: ip address del 2001:db8::2/64 dev wwan0";
    says(&host(kernel(), foreign), line, 4);

    let mut same = network();
    same.addresses[2] = address(3, "192.0.2.3", 24);
    let (text, status) = doctor(&host(kernel(), same.clone()));
    assert!(
        text.contains("WARN address wwan0: same network as eth0"),
        "{text}"
    );
    assert_eq!(status, 0);
    let quiet = host(kernel(), same).file(&format!("{CONF}/all/arp_ignore"), "1\n");
    says(&quiet, "OK address no address is there twice", 0);
}

/// Those of other kinds, such as a bridge of Ethernet inside GRE, are.
#[test]
fn tunnels_are_no_paths() {
    for (kind, names) in [
        ("wireguard", "eth0, wwan0"),
        ("tun", "eth0, wwan0"),
        ("ovpn", "eth0, wwan0"),
        ("xfrm", "eth0, wwan0"),
        ("vti", "eth0, wwan0"),
        ("vti6", "eth0, wwan0"),
        ("ipip", "eth0, wwan0"),
        ("sit", "eth0, wwan0"),
        ("ip6tnl", "eth0, wwan0"),
        ("gre", "eth0, wwan0"),
        ("ip6gre", "eth0, wwan0"),
        ("gretap", "eth0, wwan0, t0"),
    ] {
        let mut network = network();
        let mut tunnel = link(4, "t0");
        tunnel.kind = Some(kind.to_string());
        tunnel.mtu = 1420;
        network.links.push(tunnel);
        network.addresses.push(address(4, "10.9.0.1", 24));
        let is_left_out = !names.contains("t0");
        let (text, _) = doctor(&host(kernel(), network));
        let line = format!("OK interfaces {names} can carry paths");
        assert!(text.lines().any(|l| l == line), "{kind}: {text}");
        assert_eq!(!text.contains("t0: "), is_left_out, "{kind}: {text}");
        assert_eq!(text.contains("OK mtu "), is_left_out, "{kind}: {text}");
    }
}

#[test]
fn clocks() {
    let with = |current: &str, available: &str| {
        host(kernel(), network())
            .file(&format!("{CLOCK}/current_clocksource"), current)
            .file(&format!("{CLOCK}/available_clocksource"), available)
    };
    says(
        &with("kvm-clock\n", "kvm-clock tsc\n"),
        "OK clock kvm-clock is read quickly",
        0,
    );
    let slow = "is slow to read or coarse: delays are measured badly, packets cost more";
    let line = format!("WARN clock hpet {slow} \\ fix: echo tsc >{CLOCK}/current_clocksource");
    says(&with("hpet\n", "hpet tsc\n"), &line, 0);
    let line = format!(
        "WARN clock hpet {slow} \\ fix: look for what the kernel said of it: dmesg | grep -i clocksource"
    );
    says(&with("hpet\n", "hpet acpi_pm\n"), &line, 0);
}

fn port(value: &str) -> String {
    format!(
        r#"{{"match":{{"op":"==","left":{{"payload":{{"protocol":"udp","field":"dport"}}}},"right":{value}}}}}"#
    )
}

#[test]
fn firewalls_that_drop_what_is_invalid() {
    let state = |op: &str, right: &str| {
        format!(
            r#"{{"match":{{"op":"{op}","left":{{"ct":{{"key":"state"}}}},"right":{right}}}}},{{"drop":null}}"#
        )
    };
    let map = r#"{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[["established",{"accept":null}],["invalid",{"drop":null}]]}}}"#;
    for (rule, found) in [
        (state("in", r#""invalid""#), true),
        (state("in", r#"["invalid","untracked"]"#), true),
        (state("==", r#"{"set":["invalid","new"]}"#), true),
        (state("!=", r#""invalid""#), false),
        (state("in", r#""new""#), false),
        (map.to_string(), true),
        (map.replace("drop", "accept"), false),
        (
            state("in", r#""invalid""#).replace("drop", "counter"),
            false,
        ),
    ] {
        let json = ruleset("inet", "input", 0, "accept", &[&rule]);
        let (text, status) = doctor(&host(kernel(), network()).ruleset(&json));
        let line =
            "WARN firewall chain inet t c drops what connection tracking calls invalid, which \
                    may hit TCP that comes late on a slow path \\ \
                    fix: sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1";
        assert_eq!(text.contains(line), found, "{rule}: {text}");
        assert_eq!(status, 0);
        let liberal = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";
        let system = host(kernel(), network())
            .ruleset(&json)
            .file(liberal, "1\n");
        says(&system, "OK firewall 1 chain, and nothing in the way", 0);
    }
}

#[test]
fn firewalls_that_look_for_the_way_back() {
    let rule = |flags: &str, op: &str, right: &str| {
        format!(
            r#"{{"match":{{"op":"{op}","left":{{"fib":{{"result":"oif","flags":{flags}}}}},"right":{right}}}}},{{"drop":null}}"#
        )
    };
    let strict = r#"["saddr","mark","iif"]"#;
    for (rule, found) in [
        (rule(strict, "==", "false"), true),
        (rule(strict, "==", "0"), true),
        (rule(r#"["saddr","iif"]"#, "==", "false"), true),
        // Loose: there is a way back, whichever.
        (rule(r#""saddr""#, "==", "false"), false),
        (rule(r#"["daddr","iif"]"#, "==", "false"), false),
        (rule(strict, "!=", "false"), false),
        (rule(strict, "==", "true"), false),
        (rule(strict, "==", "false").replace("drop", "accept"), false),
    ] {
        let json = ruleset("inet", "prerouting", 10, "accept", &[&rule]);
        let json = json.replace(r#""expr""#, r#""handle":7,"expr""#);
        let (text, status) = doctor(&host(kernel(), network()).ruleset(&json));
        let line = "FAIL firewall chain inet t c drops what came on another interface than the route \
                    back takes: all that added paths carry \\ fix: nft delete rule inet t c handle 7";
        assert_eq!(text.contains(line), found, "{rule}: {text}");
        assert_eq!(status, if found { 4 } else { 0 });
        let of_firewalld = json.replace(r#""t""#, r#""firewalld""#);
        let (text, _) = doctor(&host(kernel(), network()).ruleset(&of_firewalld));
        assert_eq!(text.contains("firewall-cmd --reload"), found, "{text}");
    }
    // Only what comes after MPIP sees the session's sender.
    let rule = rule(strict, "==", "false");
    for (hook, priority, found) in [
        ("ingress", 0, false),
        ("prerouting", -300, false),
        ("prerouting", -290, false),
        ("prerouting", -251, false),
        ("prerouting", -250, true),
        ("prerouting", -150, true),
        ("prerouting", 0, true),
        ("input", -300, true),
    ] {
        let json = ruleset("inet", hook, priority, "accept", &[&rule]);
        let (text, status) = doctor(&host(kernel(), network()).ruleset(&json));
        let is_told = text.contains("FAIL firewall chain inet t c drops what came on another");
        assert_eq!(is_told, found, "{hook} {priority}: {text}");
        assert_eq!(status, if found { 4 } else { 0 });
    }
}

#[test]
fn firewalls_that_close_the_port() {
    let drop = |value: &str| format!(r#"{},{{"drop":null}}"#, port(value));
    let accept = |value: &str| format!(r#"{},{{"accept":null}}"#, port(value));
    let of_one = format!(
        r#"{{"match":{{"op":"==","left":{{"payload":{{"protocol":"ip","field":"saddr"}}}},"right":"192.0.2.9"}}}},{}"#,
        accept("29170")
    );
    let all_udp =
        r#"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"udp"}},{"reject":null}"#;
    for (hook, priority, policy, rules, closed) in [
        ("ingress", 0, "drop", vec![], true),
        ("ingress", 0, "drop", vec![accept("29170")], false),
        (
            "ingress",
            0,
            "drop",
            vec![accept(r#"{"range":[29000,29999]}"#)],
            false,
        ),
        (
            "ingress",
            0,
            "drop",
            vec![accept(r#"{"set":[53,443]}"#)],
            true,
        ),
        // Only for one host: others meet the policy.
        ("ingress", 0, "drop", vec![of_one], true),
        ("ingress", 0, "accept", vec![drop("29170")], true),
        (
            "ingress",
            0,
            "accept",
            vec![accept("29170"), drop("29170")],
            false,
        ),
        (
            "ingress",
            0,
            "accept",
            vec![drop(r#"{"set":[53,{"range":[1,9]}]}"#)],
            false,
        ),
        ("ingress", 0, "accept", vec![all_udp.to_string()], true),
        ("prerouting", -450, "accept", vec![drop("29170")], true),
        ("prerouting", -300, "accept", vec![drop("29170")], true),
        ("prerouting", -290, "drop", vec![accept("29170")], false),
        // These see what the sockets know, not what is wrapped.
        ("prerouting", -250, "drop", vec![], false),
        ("prerouting", -150, "drop", vec![], false),
        ("prerouting", 0, "drop", vec![drop("29170")], false),
        ("input", 0, "drop", vec![drop("29170")], false),
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let json = ruleset("netdev", hook, priority, policy, &rules);
        let (text, status) = doctor(&host(kernel(), network()).ruleset(&json));
        let line = "FAIL firewall chain netdev t c comes before MPIP and drops UDP port 29170, which \
                    carries wrapped paths \\ fix: nft insert rule netdev t c udp dport 29170 accept";
        assert_eq!(text.contains(line), closed, "{json}: {text}");
        assert_eq!(status, if closed { 4 } else { 0 });
    }
}

#[test]
fn without_rights() {
    let denied = || vec![refusal(1, &[])];
    let kernel = Kernel::new()
        .answer(CMD_GET, answer(1, env!("CARGO_PKG_VERSION")))
        .answer(CMD_INTERFACE_GET, dump(&[]))
        .answer(CMD_RULE_GET, denied())
        .answer(CMD_PARAM_GET, dump(&[]))
        .answer(CMD_PATH_GET, denied());
    let line = "WARN rights paths and rules are told to root only: they were not checked \\ \
                fix: sudo mpipctl doctor";
    says(&host(kernel, network()), line, 0);
}

#[test]
fn a_host_without_nft() {
    let system = Fake::new(kernel()).network(network());
    let (text, status) = doctor(&system);
    assert!(
        text.contains("OK firewall not looked at: there is no nft here"),
        "{text}"
    );
    assert_eq!(status, 0);
}
