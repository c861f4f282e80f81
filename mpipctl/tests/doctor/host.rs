// SPDX-License-Identifier: GPL-2.0

//! Systems that are made up, and what doctor says of them.

use clap::Parser;
use mpipctl::cli::Cli;
use mpipctl::cmd;
use mpipctl::cmd::Context;
use mpipctl::network::Address;
use mpipctl::network::DefaultRoute;
use mpipctl::network::Link;
use mpipctl::network::Network;
use mpipctl::nl::uapi::*;
use mpipctl::Error;

use crate::common::ack;
use crate::common::dump;
use crate::common::reply;
use crate::common::string;
use crate::common::u16;
use crate::common::u64;
use crate::common::u8;
use crate::common::Answer;
use crate::common::Fake;
use crate::common::Kernel;

pub const CONF: &str = "/proc/sys/net/ipv4/conf";
pub const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0";
pub const RELEASE: &str = "7.3.4+deb13-amd64";
pub const NO_RULES: &str = r#"{"nftables": [{"metainfo": {"json_schema_version": 1}}]}"#;

pub fn run(line: &str, system: &Fake) -> (String, Result<(), Error>) {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let mut out = Vec::new();
    let mut context = Context::new(cli.options, system, &mut out);
    let result = cmd::run(cli.object, &mut context);
    (String::from_utf8(out).unwrap(), result)
}

/// What is said on a system, and the exit status.
pub fn doctor(system: &Fake) -> (String, u8) {
    let (text, result) = run("mpipctl doctor -o", system);
    let status = result.map_or_else(|error| error.exit_status(), |()| 0);
    (text, status)
}

#[track_caller]
pub fn says(system: &Fake, line: &str, status: u8) {
    let (text, ended) = doctor(system);
    assert!(text.lines().any(|l| l == line), "no line: {line}\n{text}");
    assert_eq!(ended, status, "{text}");
}

pub fn answer(enabled: u8, version: &str) -> Answer {
    let node = [
        string(NODE_VERSION, version),
        u8(NODE_ENABLED, enabled),
        u16(NODE_UDP_PORT, 29170),
    ];
    vec![reply(0, &node), ack()]
}

/// A kernel that is asked before and after mending.
pub fn kernel() -> Kernel {
    let once = |kernel: Kernel| with_paths(kernel, 1, env!("CARGO_PKG_VERSION"), &[], &[]);
    once(once(Kernel::new()))
}

/// A kernel with parameters by name, with choices if they have some, and these paths.
pub fn with_paths(
    kernel: Kernel,
    enabled: u8,
    version: &str,
    params: &[(&str, u64, &str)],
    paths: &[Vec<Vec<u8>>],
) -> Kernel {
    let params = params.iter().map(|(name, value, choices)| {
        let mut attrs = vec![string(PARAM_NAME, name), u64(PARAM_VALUE, *value)];
        if !choices.is_empty() {
            attrs.push(string(PARAM_CHOICES, choices));
        }
        attrs
    });
    let params: Vec<_> = params.collect();
    kernel
        .answer(CMD_GET, answer(enabled, version))
        .answer(CMD_INTERFACE_GET, dump(&[]))
        .answer(CMD_RULE_GET, dump(&[]))
        .answer(CMD_PARAM_GET, dump(&params))
        .answer(CMD_PATH_GET, dump(paths))
}

/// The kernel, which from then on tells of these paths, as often as it is asked in two seconds.
pub fn then(kernel: Kernel, paths: &[Vec<Vec<u8>>]) -> Kernel {
    (0..20).fold(kernel, |kernel, _| kernel.answer(CMD_PATH_GET, dump(paths)))
}

/// A kernel that knows of interfaces, and of no paths.
pub fn with_interfaces(interfaces: &[Vec<Vec<u8>>]) -> Kernel {
    Kernel::new()
        .answer(CMD_GET, answer(1, env!("CARGO_PKG_VERSION")))
        .answer(CMD_INTERFACE_GET, dump(interfaces))
        .answer(CMD_RULE_GET, dump(&[]))
        .answer(CMD_PARAM_GET, dump(&[]))
        .answer(CMD_PATH_GET, dump(&[]))
}

pub fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_string(),
        mtu: 1500,
        up: true,
        running: true,
        ..Link::default()
    }
}

pub fn address(index: u32, addr: &str, len: u8) -> Address {
    Address {
        index,
        addr: addr.parse().unwrap(),
        len,
        usable: true,
        duplicate: false,
    }
}

pub fn default(index: u32, table: u32) -> DefaultRoute {
    DefaultRoute {
        v6: false,
        links: vec![index],
        table,
    }
}

/// Two interfaces, each with an address and a default route.
pub fn network() -> Network {
    let mut lo = link(1, "lo");
    lo.loopback = true;
    Network {
        links: vec![lo, link(2, "eth0"), link(3, "wwan0")],
        addresses: vec![
            address(1, "127.0.0.1", 8),
            address(2, "192.0.2.2", 24),
            address(3, "198.51.100.2", 24),
        ],
        defaults: vec![default(2, 254), default(3, 254)],
        ..Network::default()
    }
}

/// A host on which nothing is wrong, but for what the caller adds.
pub fn host(kernel: Kernel, network: Network) -> Fake {
    Fake::changing(vec![kernel])
        .network(network)
        .ruleset(NO_RULES)
        .file("/proc/sys/kernel/osrelease", &format!("{RELEASE}\n"))
        .file(&format!("{CONF}/all/rp_filter"), "0\n")
        .file(&format!("{CONF}/eth0/rp_filter"), "2\n")
        .file(&format!("{CONF}/wwan0/rp_filter"), "0\n")
        .file(&format!("{CLOCK}/current_clocksource"), "tsc\n")
        .file(&format!("{CLOCK}/available_clocksource"), "tsc hpet\n")
        .file("/sys/module/mpip/taint", "OE\n")
}

/// A chain of a rule set, and a rule in it.
pub fn ruleset(
    family: &str,
    hook: &str,
    priority: i32,
    policy: &str,
    expressions: &[&str],
) -> String {
    let place = format!(r#""family":"{family}","table":"t""#);
    let mut text = format!(
        r#"{{"nftables":[{{"chain":{{{place},"name":"c","hook":"{hook}","prio":{priority},"policy":"{policy}"}}}}"#
    );
    for expression in expressions {
        text += &format!(r#",{{"rule":{{{place},"chain":"c","expr":[{expression}]}}}}"#);
    }
    text + "]}"
}
