// SPDX-License-Identifier: GPL-2.0

//! Configuration files: what is understood, what is wrong, what it leads to.

mod absent;
#[path = "../common/mod.rs"]
mod common;
mod interface;
mod psk;
mod save;

use clap::Parser;
use common::*;
use mpipctl::cli::Cli;
use mpipctl::cli::Options;
use mpipctl::cmd;
use mpipctl::cmd::Context;
use mpipctl::nl::uapi::*;
use mpipctl::system::Real;
use mpipctl::system::System;
use snapbox::assert_data_eq;
use snapbox::cmd::cargo_bin;
use snapbox::str;

const MAIN: &str = "/etc/mpip/mpip.toml";

/// The kernel's side: on, three parameters, a prefix, two rules.
fn state(kernel: Kernel) -> Kernel {
    state_with(kernel, &[])
}

/// The same, with these interfaces.
fn state_with(kernel: Kernel, interfaces: &[Vec<Vec<u8>>]) -> Kernel {
    let param = |name: &str, value, default, max, unit: &[Vec<u8>]| {
        let mut attrs = vec![
            string(PARAM_NAME, name),
            u64(PARAM_VALUE, value),
            u64(PARAM_DEFAULT, default),
            u64(PARAM_MINIMUM, 0),
            u64(PARAM_MAXIMUM, max),
        ];
        attrs.extend(unit.iter().cloned());
        attrs
    };
    let choices = |names: &str| [string(PARAM_CHOICES, names)];
    let node = [string(NODE_VERSION, "0.1.0"), u8(NODE_ENABLED, 1)];
    kernel
        .answer(CMD_GET, vec![reply(0, &node), ack()])
        .answer(
            CMD_PARAM_GET,
            dump(&[
                param("scheduler", 1, 0, 1, &choices("earliest,weighted")),
                param("heartbeat", 1000, 1000, 15000, &[string(PARAM_UNIT, "ms")]),
                param("max_peers", 1024, 1024, 65536, &[]),
                param("repair", 1, 1, 1, &choices("off,on")),
            ]),
        )
        .answer(
            CMD_PREFIX_GET,
            dump(&[vec![attr(PREFIX_ADDR, &[10, 0, 0, 0]), u8(PREFIX_LEN, 8)]]),
        )
        .answer(CMD_INTERFACE_GET, dump(interfaces))
        .answer(CMD_RULE_GET, two_rules())
}

fn two_rules() -> Answer {
    dump(&[
        vec![
            u32(RULE_NUMBER, 1),
            u16(RULE_DST_PORT_MIN, 22),
            u16(RULE_DST_PORT_MAX, 22),
            u32(RULE_PRIORITY, 0),
            u32(RULE_MODE, 2),
            u64(RULE_HITS, 7),
        ],
        vec![
            u32(RULE_NUMBER, 2),
            u8(RULE_PROTOCOL, 17),
            u16(RULE_SIZE_MIN, 0),
            u16(RULE_SIZE_MAX, 400),
            u32(RULE_PRIORITY, 1),
            u32(RULE_MODE, 0),
            attr(RULE_INTERFACES, &[3, 0, 0, 0, 2, 0, 0, 0]),
            u64(RULE_HITS, 0),
        ],
    ])
}

/// What that is as a file.
const SAME: &str = "\
[param]
scheduler = \"weighted\"   # as in the paper

[ask]
prefixes = [\"10.0.0.0/8\"]

# Logins
[[rule]]
port = 22
mode = \"single\"

[[rule]]
proto = \"udp\"
size = \"0-400\"
priority = \"latency\"
dev = [\"eth0\", \"wwan0\"]
";

struct Told {
    text: String,
    warnings: Vec<String>,
    /// Exit status and message.
    error: Option<(u8, String)>,
}

fn told(line: &str, system: &dyn System) -> Told {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let mut out = Vec::new();
    let mut context = Context::new(cli.options, system, &mut out);
    let error = cmd::run(cli.object, &mut context).err();
    let warnings = context.take_warnings();
    Told {
        text: String::from_utf8(out).unwrap(),
        warnings,
        error: error.map(|error| (error.exit_status(), error.to_string())),
    }
}

/// What a command says that works.
fn says(line: &str, system: &Fake) -> String {
    let told = told(line, system);
    assert_eq!((told.error, told.warnings), (None, vec![]), "{}", told.text);
    told.text
}

fn mistakes(text: &str) -> String {
    let system = Fake::changing(vec![]).file(MAIN, text);
    let (status, message) = told("mpipctl config check", &system).error.unwrap();
    assert_eq!(status, 1);
    message
}

#[test]
fn show_is_a_file() {
    let system = Fake::new(state(Kernel::new()));
    assert_data_eq!(
        says("mpipctl config", &system),
        str![[r#"
# The configuration of MPIP, see mpip(5). What is not here has its default.
enabled = true

[param]
scheduler = "weighted"

[ask]
prefixes = ["10.0.0.0/8"]

[[rule]]
port = 22
mode = "single"

[[rule]]
proto = "udp"
size = "0-400"
priority = "latency"
dev = ["eth0", "wwan0"]

"#]]
    );
    let system = Fake::new(state(Kernel::new()));
    assert_data_eq!(
        says("mpipctl -j config show", &system),
        str![[r#"
{"enabled":true,"param":{"scheduler":"weighted"},"ask":{"prefixes":["10.0.0.0/8"]},"rule":[{"port":22,"mode":"single"},{"proto":"udp","size":"0-400","priority":"latency","dev":["eth0","wwan0"]}]}

"#]]
    );
}

#[test]
fn check_needs_no_kernel() {
    let system = Fake::changing(vec![])
        .file(MAIN, SAME)
        .file(
            "/etc/mpip/mpip.d/50-more.toml",
            "[ask]\nprefixes = ['fd00::/8']\n",
        )
        .file("/etc/mpip/mpip.d/readme.txt", "this is no TOML");
    assert_eq!(
        says("mpipctl config check", &system),
        "/etc/mpip/mpip.toml, /etc/mpip/mpip.d/50-more.toml: no mistake; \
         1 parameter, 2 prefixes, 0 interfaces, 2 rules\n"
    );
    assert_eq!(says("mpipctl -j config check", &system), "[]\n");
    let alone = Fake::changing(vec![])
        .file("x.toml", "")
        .file("x.d/y.toml", "");
    let text = says("mpipctl config check -f x.toml", &alone);
    assert!(
        text.starts_with("x.toml, x.d/y.toml: no mistake; "),
        "{text}"
    );
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let text = "\
enabled = \"yes\"
colour = 1
[param]
heartbeat = \"100us\"
scheduler = 'best'
max_peers = true
frobnicate = 3
repair = false
[ask]
prefixes = [\"10.0.0.0/8\", \"10.0.0.1/8\", 7]
more = []
[[rule]]
port = 70000
mode = \"single\"
[[rule]]
port = 22
[[rule]]
mode = \"protected\"
number = 4
[[rule]]
mode = \"never\"
dev = [\"eth0\", \"eth7\"]
";
    assert_data_eq!(
        mistakes(text) + "\n",
        str![[r#"
/etc/mpip/mpip.toml:1:11: enabled: not true or false: "yes"
/etc/mpip/mpip.toml:2:1: unknown key "colour"; there are: enabled, psk, param, ask, interface, rule
/etc/mpip/mpip.toml:4:13: heartbeat: not a whole number of its unit: "100us"; allowed: 100 to 15000 ms
/etc/mpip/mpip.toml:5:13: scheduler: not one of its choices: "best"; allowed: earliest, weighted
/etc/mpip/mpip.toml:6:13: max_peers: not a whole number or a string: true
/etc/mpip/mpip.toml:7:1: no parameter "frobnicate"; there are: [..]
/etc/mpip/mpip.toml:10:27: prefixes: bits set beyond the prefix length: "10.0.0.1/8"; try: 10.0.0.0/8
/etc/mpip/mpip.toml:10:41: prefixes: not an address or prefix in quotes: 7
/etc/mpip/mpip.toml:11:1: unknown key "more"; there are: prefixes
/etc/mpip/mpip.toml:13:8: port: not one of the numbers 0 to 65535 or a range of them: "70000"
/etc/mpip/mpip.toml:15:1: rule: says nothing of what to do; give priority, mode, dev or ordered: [[rule]]
/etc/mpip/mpip.toml:19:1: unknown key "number"; there are: dst, src, port, sport, proto, size, dscp, uid, cgroup, priority, mode, delay, loss, rate, cost, dev, ordered
/etc/mpip/mpip.toml:22:16: dev: no such interface: "eth7"

"#]]
    );
}

/// What the kernel would refuse is found without it.
#[test]
fn rules_that_make_no_sense() {
    for (rule, place, message) in [
        (
            "ordered = 'on'\nproto = 'tcp'",
            "2:11",
            "ordered: TCP is put in order anyway: ordered is for UDP: 'on'",
        ),
        (
            "mode = 'never'\nordered = 'on'",
            "3:11",
            "ordered: with mode never datagrams stay as they are",
        ),
        (
            "mode = 'single'\npriority = 'latency'",
            "3:12",
            "priority: latency leaves the mode no say",
        ),
        (
            "mode = 'single'\ndelay = '80ms'",
            "3:9",
            "delay: only mode selected has limits",
        ),
        (
            "priority = 'latency'\nrate = '2mbit'",
            "3:8",
            "rate: only mode selected has limits",
        ),
        ("mode = 'selected'", "2:8", "mode: selected needs a limit"),
        (
            "mode = 'selected'\nloss = '100%'",
            "2:8",
            "mode: selected needs a limit",
        ),
        (
            "mode = 'never'\ndev = 'eth0'",
            "3:7",
            "dev: mode never keeps to the interface",
        ),
        (
            "mode = 'all'\ndst = '10.0.0.1'\nsrc = 'fd00::1'",
            "4:7",
            "src: one address is IPv4",
        ),
    ] {
        let found = mistakes(&format!("[[rule]]\n{rule}\n"));
        let expected = format!("{MAIN}:{place}: {message}");
        assert!(found.starts_with(&expected), "{rule}: {found}");
        assert_eq!(found.lines().count(), 1, "{rule}: {found}");
    }
}

#[test]
fn what_is_no_toml() {
    for (text, place, line) in [
        ("enabled = true\n[param\nask = 1\n", "2:", "\"[param\""),
        ("[param]\nheartbeat = 2s\n", "2:", "\"heartbeat = 2s\""),
        (
            "[param]\nask = 'listed'\nask = 'listed'\n",
            "3:1",
            "\"ask = 'listed'\"",
        ),
        ("enabled = tru", "1:11", "\"enabled = tru\""),
    ] {
        let found = mistakes(text);
        assert!(
            found.starts_with(&format!("{MAIN}:{place}")),
            "{text}: {found}"
        );
        assert!(found.ends_with(line), "{text}: {found}");
    }
    // Other types than tables where tables are to be.
    let found = mistakes("param = 3\nask = true\nrule = [1]\n");
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 3, "{found}");
    assert!(
        lines[2].starts_with(&format!("{MAIN}:3:9: rule: not tables")),
        "{found}"
    );
}

#[test]
fn mistakes_as_json() {
    let system = Fake::changing(vec![]).file(MAIN, "[param]\nask = \"all\"\n");
    let told = told("mpipctl -j config check", &system);
    let found: serde_json::Value = serde_json::from_str(&told.text).unwrap();
    let expected = serde_json::json!([{
        "file": MAIN,
        "line": 2,
        "column": 7,
        "text": "ask: not one of its choices: \"all\"; allowed: everybody, listed, nobody",
    }]);
    assert_eq!(found, expected);
    assert_eq!(told.error.unwrap().0, 1);
}

#[test]
fn files_that_are_not_there() {
    for (line, message) in [
        (
            "mpipctl config check",
            "there is no configuration \"/etc/mpip/mpip.toml\"; try: mpipctl config save",
        ),
        (
            "mpipctl config apply -f no.toml",
            "there is no file \"no.toml\"",
        ),
        (
            "mpipctl config -f no.toml diff",
            "there is no file \"no.toml\"",
        ),
        (
            "mpipctl config apply --lenient -f no.toml",
            "there is no file \"no.toml\"",
        ),
    ] {
        let told = told(line, &Fake::changing(vec![]));
        assert_eq!(told.error, Some((1, message.to_string())), "{line}");
    }
    // For the start of the machine MPIP is switched on at least.
    let kernel = Kernel::new().answer(CMD_SET, vec![ack()]);
    let requests = kernel.requests();
    says("mpipctl config apply --lenient", &Fake::new(kernel));
    assert_eq!(requests.lock().unwrap()[0][4..], u8(NODE_ENABLED, 1));
}

#[test]
fn nothing_differs() {
    let kernel = state(state(Kernel::new()));
    let requests = kernel.requests();
    let system = Fake::changing(vec![kernel]).file(MAIN, SAME);
    assert_eq!(says("mpipctl config diff", &system), "");
    let system = Fake::new(state(Kernel::new())).file(MAIN, SAME);
    assert_eq!(says("mpipctl -j config diff", &system), "[]\n");
    let kernel = state(Kernel::new());
    let asked = kernel.requests();
    says("mpipctl config apply", &Fake::new(kernel).file(MAIN, SAME));
    // Questions only.
    assert_eq!(asked.lock().unwrap().len(), requests.lock().unwrap().len());
}

const OTHER: &str = "\
enabled = false
[param]
heartbeat = \"2s\"
repair = false
[ask]
prefixes = [\"10.0.0.0/8\", \"fd00::/8\"]
[[rule]]
dst = \"203.0.113.0/24\"
mode = \"never\"
[[rule]]
port = 22
mode = \"single\"
";

#[test]
fn diff_tells_the_commands() {
    let system = Fake::new(state(Kernel::new())).file(MAIN, OTHER);
    let first = told("mpipctl config diff", &system);
    assert_data_eq!(
        &first.text,
        str![[r#"
rule add number 1 dst 203.0.113.0/24 mode never
rule delete 3  # proto udp size 0-400 priority latency dev eth0,wwan0
param set scheduler earliest  # weighted
param set heartbeat 2000ms  # 1000ms
param set repair off  # on
ask add fd00::/8
disable

"#]]
    );
    assert_eq!(first.error.unwrap().0, 1);
    let system = Fake::new(state(Kernel::new())).file("-", OTHER);
    let json = told("mpipctl -j config diff -f -", &system).text;
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    let row = serde_json::json!({
        "command": "param set heartbeat 2000ms", "change": "param-set", "name": "heartbeat",
        "from": 1000, "to": 2000,
    });
    assert_eq!(rows[3], row);
    let row = serde_json::json!({
        "command": "rule delete 3", "change": "rule-delete", "number": 3,
        "rule": "proto udp size 0-400 priority latency dev eth0,wwan0",
    });
    assert_eq!(rows[1], row);
    assert_eq!(
        rows[6],
        serde_json::json!({"command": "disable", "change": "disable"})
    );
}

/// Rules in a draft: all at once, or not at all.
/// A batch understands the commands, whatever is in a name.
#[test]
fn names_are_quoted() {
    let name = r"/system.slice/my\x2dbackup one.service";
    let file = format!("[[rule]]\ncgroup = '{name}'\nmode = 'single'\n");
    let system = Fake::new(state(Kernel::new())).file(MAIN, &file);
    let told = told("mpipctl config diff", &system).text;
    let add = format!("rule add number 1 cgroup '{name}' mode single\n");
    assert!(told.starts_with(&add), "{told}");
    let kernel = Kernel::new().answer(CMD_RULE_ADD, vec![ack()]);
    let requests = kernel.requests();
    let system = Fake::new(kernel).file("/batch", &add);
    let mut out = Vec::new();
    let mut context = Context::new(Options::default(), &system, &mut out);
    cmd::batch::run(&mut context, "/batch").unwrap();
    let group = u64(RULE_CGROUP, 4713);
    assert!(requests.lock().unwrap()[0]
        .windows(group.len())
        .any(|part| part == group));
}

#[test]
fn apply_sends_what_diff_tells() {
    let kernel = state(Kernel::new())
        .answer(CMD_RULE_DRAFT, vec![ack()])
        .answer(CMD_RULE_GET, two_rules())
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_DEL, vec![ack()])
        .answer(CMD_RULE_COMMIT, vec![ack()])
        .answer(CMD_PARAM_SET, vec![ack()])
        .answer(CMD_PARAM_SET, vec![ack()])
        .answer(CMD_PARAM_SET, vec![ack()])
        .answer(CMD_PREFIX_ADD, vec![ack()])
        .answer(CMD_SET, vec![ack()]);
    let requests = kernel.requests();
    says("mpipctl config apply", &Fake::new(kernel).file(MAIN, OTHER));
    let commands: Vec<u8> = requests
        .lock()
        .unwrap()
        .iter()
        .map(|bytes| bytes[0])
        .collect();
    let questions = [
        CMD_GET,
        CMD_PARAM_GET,
        CMD_PREFIX_GET,
        CMD_INTERFACE_GET,
        CMD_RULE_GET,
    ];
    let changes = [
        CMD_RULE_DRAFT,
        CMD_RULE_GET,
        CMD_RULE_ADD,
        CMD_RULE_DEL,
        CMD_RULE_COMMIT,
        CMD_PARAM_SET,
        CMD_PARAM_SET,
        CMD_PARAM_SET,
        CMD_PREFIX_ADD,
        CMD_SET,
    ];
    let all = questions
        .iter()
        .chain(&changes)
        .map(|command| command.number);
    assert_eq!(commands, all.collect::<Vec<_>>());
    let sent = requests.lock().unwrap();
    let draft = &sent[5][4..];
    assert_eq!(draft[..4], u32(RULE_DRAFT, 0)[..4]);
    for request in [7, 8, 9] {
        assert!(sent[request].ends_with(draft), "{:?}", sent[request]);
    }
    assert!(
        sent[7].windows(8).any(|w| w == u32(RULE_NUMBER, 1)),
        "{:?}",
        sent[7]
    );
    assert!(sent[8][4..].starts_with(&u32(RULE_NUMBER, 3)));
}

/// Whoever changes the rules at the same time loses nothing: it is planned anew.
#[test]
fn rules_that_others_change_meanwhile() {
    const ATTR_OFFS: u16 = 2;
    let file = SAME.replace("port = 22", "port = 22\nproto = \"tcp\"");
    let others = || dump(&[vec![u32(RULE_NUMBER, 1), u32(RULE_MODE, 2)]]);
    // Where the attribute stands: alone in one request, behind the number in another.
    let at = |offset| vec![u32(ATTR_OFFS, offset)];
    let begun = |kernel: Kernel, rules: Answer| {
        state(kernel)
            .answer(CMD_RULE_DRAFT, vec![ack()])
            .answer(CMD_RULE_GET, rules)
    };
    // They change before the draft is begun.
    let kernel = begun(Kernel::new(), others());
    // Then after that.
    let kernel = begun(kernel, two_rules())
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_DEL, vec![ack()])
        .answer(CMD_RULE_COMMIT, vec![refusal(11, &at(20))]);
    // Then somebody else has begun a draft.
    let kernel = begun(kernel, two_rules())
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_DEL, vec![refusal(2, &at(28))]);
    let kernel = begun(kernel, two_rules())
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_DEL, vec![ack()])
        .answer(CMD_RULE_COMMIT, vec![ack()])
        // The other thing that differs, of which nothing has been done until now.
        .answer(CMD_PREFIX_DEL, vec![ack()]);
    let requests = kernel.requests();
    let file = file.replace("\"10.0.0.0/8\"", "");
    says("mpipctl config apply", &Fake::new(kernel).file(MAIN, &file));
    let last = requests.lock().unwrap().last().map(|request| request[0]);
    assert_eq!(last, Some(CMD_PREFIX_DEL.number));
    // It is not tried for ever.
    let mut kernel = Kernel::new();
    for _ in 0..5 {
        kernel = begun(kernel, others());
    }
    let told = told("mpipctl config apply", &Fake::new(kernel).file(MAIN, &file));
    let (status, message) = told.error.unwrap();
    assert_eq!(status, 1);
    assert!(message.contains("kept changing"), "{message}");
}

/// Mistakes are found before anything is sent, in drop-ins, too.
#[test]
fn a_mistake_changes_nothing() {
    for kernel in [state(Kernel::new()), Kernel::without_module()] {
        let system = Fake::new(kernel)
            .file(MAIN, OTHER)
            .file("/etc/mpip/mpip.d/90.toml", "[param]\nheartbeat = 99999\n");
        let (status, message) = told("mpipctl config apply", &system).error.unwrap();
        assert_eq!(status, 1);
        let expected =
            "/etc/mpip/mpip.d/90.toml:2:13: heartbeat: out of range: \"99999\"; allowed: ";
        assert!(message.starts_with(expected), "{message}");
    }
    let system = Fake::new(Kernel::without_module()).file(MAIN, OTHER);
    assert_eq!(told("mpipctl config apply", &system).error.unwrap().0, 3);
}

/// What a newer module knows counts.
#[test]
fn the_module_has_the_last_word() {
    let system = Fake::new(state(Kernel::new())).file(MAIN, "[param]\nmax_lanes = 4\n");
    let (status, message) = told("mpipctl config apply", &system).error.unwrap();
    assert_eq!(status, 1);
    let expected = "/etc/mpip/mpip.toml:2:1: no parameter \"max_lanes\"; there are: scheduler, ";
    assert!(message.starts_with(expected), "{message}");
}

/// The kernel refuses in the middle: what was done is undone, and the error names the line.
#[test]
fn a_refusal_is_undone() {
    let file =
        "[param]\nscheduler = 'weighted'\nheartbeat = '2s'\nmax_peers = 7\n[ask]\nprefixes = ['10.0.0.0/8']\n";
    let kernel = state(Kernel::new())
        .answer(CMD_RULE_DRAFT, vec![ack()])
        .answer(CMD_RULE_GET, two_rules())
        .answer(CMD_RULE_DEL, vec![ack()])
        .answer(CMD_RULE_DEL, vec![ack()])
        .answer(CMD_RULE_COMMIT, vec![ack()])
        .answer(CMD_PARAM_SET, vec![ack()])
        .answer(CMD_PARAM_SET, vec![refusal(12, &[])]);
    // Then it has the new heartbeat and no rules, and everything else as before.
    let param = vec![
        string(PARAM_NAME, "heartbeat"),
        u64(PARAM_VALUE, 2000),
        u64(PARAM_DEFAULT, 1000),
    ];
    let node = [u8(NODE_ENABLED, 1)];
    let kernel = kernel
        .answer(CMD_GET, vec![reply(0, &node), ack()])
        .answer(CMD_PARAM_GET, dump(&[param]))
        .answer(CMD_INTERFACE_GET, dump(&[]))
        .answer(
            CMD_PREFIX_GET,
            dump(&[vec![attr(PREFIX_ADDR, &[10, 0, 0, 0]), u8(PREFIX_LEN, 8)]]),
        )
        .answer(CMD_RULE_GET, dump(&[]))
        .answer(CMD_RULE_DRAFT, vec![ack()])
        .answer(CMD_RULE_GET, dump(&[]))
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_COMMIT, vec![ack()])
        .answer(CMD_PARAM_SET, vec![ack()]);
    let requests = kernel.requests();
    let told = told("mpipctl config apply", &Fake::new(kernel).file(MAIN, file));
    let (status, message) = told.error.unwrap();
    assert_eq!(status, 2, "{message}");
    assert!(message.starts_with("/etc/mpip/mpip.toml:4:"), "{message}");
    assert_eq!(told.warnings, Vec::<String>::new());
    let sent = requests.lock().unwrap();
    let sets: Vec<&Vec<u8>> = sent
        .iter()
        .filter(|r| r[0] == CMD_PARAM_SET.number)
        .collect();
    assert_eq!(sets.len(), 3);
    assert!(
        sets[2].windows(12).any(|w| w == u64(PARAM_VALUE, 1000)),
        "{:?}",
        sets[2]
    );
    let adds = sent.iter().filter(|r| r[0] == CMD_RULE_ADD.number).count();
    assert_eq!(adds, 2, "both rules are there again");
}

/// A draft is never in force unless it is committed: there is nothing to undo.
#[test]
fn a_refused_rule_changes_nothing() {
    let kernel = state(Kernel::new())
        .answer(CMD_RULE_DRAFT, vec![ack()])
        .answer(CMD_RULE_GET, two_rules())
        .answer(CMD_RULE_ADD, vec![refusal(12, &[])]);
    let requests = kernel.requests();
    // Undoing begins with looking, and ends there.
    let kernel = state(kernel);
    let file = format!("{SAME}[[rule]]\nport = 80\nmode = 'single'\n");
    let file = file.replace("[ask]", "heartbeat = '2s'\n[ask]");
    let told = told("mpipctl config apply", &Fake::new(kernel).file(MAIN, &file));
    let (status, message) = told.error.unwrap();
    assert_eq!(status, 2, "{message}");
    assert!(
        message.starts_with(
            "/etc/mpip/mpip.toml:18:1: rule add number 3 port 80 mode single: the kernel"
        ),
        "{message}"
    );
    let sent = requests.lock().unwrap();
    assert!(sent
        .iter()
        .all(|request| request[0] != CMD_PARAM_SET.number));
}

/// Rules are named by numbers: these have to be right.
#[test]
fn what_does_not_hold_still_is_left_alone() {
    let node = [u8(NODE_ENABLED, 1)];
    let mut kernel = Kernel::new()
        .answer(CMD_GET, vec![reply(0, &node), ack()])
        .answer(CMD_PARAM_GET, dump(&[]))
        .answer(CMD_PREFIX_GET, dump(&[]))
        .answer(CMD_INTERFACE_GET, dump(&[]));
    for _ in 0..5 {
        let changing = vec![reply(MULTI | DUMP_INTR, &[u32(RULE_NUMBER, 1)]), done(0)];
        kernel = kernel.answer(CMD_RULE_GET, changing);
    }
    let requests = kernel.requests();
    let told = told("mpipctl config apply", &Fake::new(kernel).file(MAIN, ""));
    let (status, message) = told.error.unwrap();
    assert_eq!(status, 1);
    assert!(message.contains("kept changing"), "{message}");
    assert_eq!(requests.lock().unwrap().len(), 9, "questions only");
}

#[test]
fn drop_ins_that_cannot_be_read() {
    let folder = std::env::temp_dir().join(format!("mpipctl-drop-ins-{}", std::process::id()));
    let below = folder.join("it.d");
    std::fs::create_dir_all(&below).unwrap();
    let file = folder.join("it.toml");
    std::fs::write(&file, "").unwrap();
    let check = || {
        let line = format!("mpipctl config check -f {}", file.display());
        told(&line, &Real::default()).error
    };
    assert_eq!(check(), None);
    let link = below.join("a.toml");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let (status, message) = check().unwrap();
    let expected = format!("cannot read \"{}\": ", link.display());
    assert!(status == 1 && message.starts_with(&expected), "{message}");
    std::fs::remove_dir_all(&below).unwrap();
    std::fs::write(&below, "no folder").unwrap();
    let (status, message) = check().unwrap();
    let expected = format!("cannot read \"{}\": ", below.display());
    assert!(status == 1 && message.starts_with(&expected), "{message}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn drop_ins_come_later() {
    let system = || {
        Fake::new(state(Kernel::new()))
            .file(MAIN, &SAME.replace("weighted", "earliest"))
            .file(
                "/etc/mpip/mpip.d/20.toml",
                "[param]\nscheduler = 'weighted'\n[[rule]]\nmode = 'all'\n",
            )
            .file(
                "/etc/mpip/mpip.d/10.toml",
                "[param]\nscheduler = 'earliest'\n",
            )
    };
    let told = told("mpipctl config diff", &system());
    assert_eq!(told.text, "rule add number 3 priority throughput\n");
}

/// The installed example is right as it is, and with all that is commented out.
#[test]
fn the_example_is_complete() {
    let example = include_str!("../../../packaging/mpip.toml");
    let uncommented: Vec<&str> = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
            _ => line,
        })
        .collect();
    let uncommented = uncommented.join("\n");
    let folder = std::env::temp_dir().join(format!("mpipctl-example-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text, parameters) in [("one", example, 0), ("two", &uncommented, 31)] {
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        let output = std::process::Command::new(cargo_bin!("mpipctl"))
            .args(["config", "check", "-f"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let expected = format!("no mistake; {parameters} parameters, ");
        assert!(said.contains(&expected), "{said}{:?}", output.stderr);
    }
    // They are the defaults: a module that was just loaded has nothing else.
    let module = include_str!("../../../mpip/proto/params.rs");
    for line in module
        .lines()
        .filter(|line| line.contains("..=") && line.contains('"'))
    {
        let name = line.split('"').nth(1).unwrap();
        let default = line.split(": ").nth(1).unwrap().split(' ').next().unwrap();
        let said = uncommented
            .lines()
            .find(|l| l.starts_with(&format!("{name} = ")))
            .unwrap();
        let is_number = said.ends_with(&format!("= {default}"));
        let choices = line.rsplit('"').nth(1).unwrap();
        let choice = choices
            .split(',')
            .nth(default.parse().unwrap())
            .unwrap_or_default();
        let is_choice = !choice.is_empty() && said.ends_with(&format!("\"{choice}\""));
        assert!(is_number || is_choice, "{said}: {line}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
