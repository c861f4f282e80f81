// SPDX-License-Identifier: GPL-2.0

//! Interfaces in configuration files.

use super::*;

/// A kernel with settings for two interfaces, and another interface.
fn kernel() -> Kernel {
    let listed = |name: &str, more: &[Vec<u8>]| {
        let mut attrs = vec![string(INTERFACE_NAME, name), u32(INTERFACE_ROLE, 0)];
        attrs.extend(more.iter().cloned());
        attrs
    };
    let budget = [
        u8(INTERFACE_BACKUP, 1),
        u64(INTERFACE_BUDGET, 2 << 30),
        u64(INTERFACE_PERIOD_MS, 30 * 86_400_000),
        u64(INTERFACE_USED, 4711),
    ];
    let excluded = [u8(INTERFACE_EXCLUDED, 1), u32(INTERFACE_COST, 3)];
    state_with(
        Kernel::new(),
        &[
            listed("wwan0", &budget),
            listed("usb7", &excluded),
            listed("eth0", &[]),
        ],
    )
}

/// The same as a file.
fn same() -> String {
    let interfaces = "\
[interface.wwan0]
backup = true
budget = \"2G\"   # as the contract has it

[interface.usb7]
exclude = \"on\"
cost = 3

";
    let at = SAME.find("# Logins").unwrap();
    format!("{}{interfaces}{}", &SAME[..at], &SAME[at..])
}

fn diff(text: &str) -> String {
    let system = Fake::new(kernel()).file(MAIN, text);
    told("mpipctl config diff", &system).text
}

#[test]
fn what_is_there_makes_no_difference() {
    assert_eq!(diff(&same()), "");
    // Neither does saying what goes without saying, nor what is used.
    let more = same().replace("cost = 3", "cost = 3\nperiod = \"30d\"\nbackup = false");
    assert_eq!(diff(&more), "");
}

#[test]
fn only_what_differs_is_changed() {
    let text = same()
        .replace("budget = \"2G\"", "budget = \"512M\"\nperiod = \"1d\"")
        .replace(
            "[interface.usb7]\nexclude = \"on\"\ncost = 3",
            "[interface.eth0]\nenrol = true",
        );
    assert_data_eq!(
        diff(&text),
        str![[r#"
interface reset usb7  # cost 3 exclude on
interface set wwan0 budget 512M period 1d  # backup on budget 2G period 30d
interface set eth0 enrol on

"#]]
    );
    let system = Fake::new(kernel()).file(MAIN, &text);
    assert_data_eq!(
        told("mpipctl -j config diff", &system).text,
        str![[r#"
[{"command":"interface reset usb7","change":"interface-reset","name":"usb7"},{"command":"interface set wwan0 budget 512M period 1d","change":"interface-set","name":"wwan0","interface":"backup on budget 512M period 1d"},{"command":"interface set eth0 enrol on","change":"interface-set","name":"eth0","interface":"enrol on"}]

"#]]
    );
}

#[test]
fn apply_sets_everything_that_is_not_as_it_was() {
    let text = same().replace("budget = \"2G\"", "budget = \"512M\"");
    let kernel = kernel().answer(CMD_INTERFACE_SET, vec![ack()]);
    let requests = kernel.requests();
    let system = Fake::new(kernel).file(MAIN, &text);
    assert_eq!(says("mpipctl config apply", &system), "");
    let requests = requests.lock().unwrap();
    let expected = [
        string(INTERFACE_NAME, "wwan0"),
        u8(INTERFACE_ENROLLED, 0),
        u8(INTERFACE_EXCLUDED, 0),
        u8(INTERFACE_BACKUP, 1),
        u32(INTERFACE_COST, 0),
        u32(INTERFACE_POWER_MW, 0),
        u32(INTERFACE_BIT_NJ, 0),
        u64(INTERFACE_BUDGET, 512 << 20),
        u64(INTERFACE_PERIOD_MS, 30 * 86_400_000),
    ];
    assert_eq!(requests.last().unwrap()[4..], expected.concat());
}

#[test]
fn save_keeps_what_is_written() {
    let old = same()
        .replace("cost = 3", "cost = 4  # dear")
        .replace("budget = \"2G\"   # as the contract has it\n", "");
    let system = Fake::new(kernel()).file(MAIN, &old);
    says("mpipctl config save", &system);
    assert_data_eq!(
        system.read(MAIN).unwrap(),
        str![[r#"
[param]
scheduler = "weighted"   # as in the paper

[ask]
prefixes = ["10.0.0.0/8"]

[interface.wwan0]
backup = true
budget = "2G"
period = "30d"

[interface.usb7]
exclude = true
cost = 3  # dear

# Logins
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
    let system = Fake::new(kernel());
    says("mpipctl config save", &system);
    assert_data_eq!(
        system.read(MAIN).unwrap(),
        str![[r##"
# The configuration of MPIP, see mpip(5). What is not here has its default.
enabled = true

[param]
scheduler = "weighted"

[ask]
prefixes = ["10.0.0.0/8"]

[interface.wwan0]
backup = true
budget = "2G"
period = "30d"

[interface.usb7]
cost = 3
exclude = true

[[rule]]
port = 22
mode = "single"

[[rule]]
proto = "udp"
size = "0-400"
priority = "latency"
dev = ["eth0", "wwan0"]

"##]]
    );
    // What has gone goes.
    let more = same() + "\n[interface.tun3]\nbackup = true\n";
    let system = Fake::new(kernel()).file(MAIN, &more);
    says("mpipctl config save", &system);
    assert!(!system.read(MAIN).unwrap().contains("tun3"));
}

#[test]
fn drop_ins_add_to_it() {
    let drop_in = "/etc/mpip/mpip.d/tariff.toml";
    let main = same().replace("budget = \"2G\"   # as the contract has it\n", "");
    let system = Fake::new(kernel())
        .file(MAIN, &main)
        .file(drop_in, "[interface.wwan0]\nbudget = \"2G\"\n");
    assert_eq!(says("mpipctl config diff", &system), "");
}

#[test]
fn mistakes_have_their_place() {
    assert_data_eq!(
        mistakes(
            "\
interface = 7
"
        ),
        str!["/etc/mpip/mpip.toml:1:13: interface.NAME: not a table, which begins with [interface.NAME]: 7"]
    );
    assert_data_eq!(
        mistakes(
            "\
[interface]
wwan0 = \"backup\"
[interface.\"a/b\"]
backup = true
[interface.wwan1]
backup = \"maybe\"
cost = -1
budget = \"2X\"
period = 1.5
used = 3
colour = \"red\"
[interface.wwan2]
exclude = true
enrol = true
"
        ),
        str![[r#"
/etc/mpip/mpip.toml:2:9: interface.wwan0: not a table, which begins with [interface.wwan0]: "backup"
/etc/mpip/mpip.toml:3:12: interface: not what an interface can be called, 1 to 15 bytes without spaces, / and :: "a/b"
/etc/mpip/mpip.toml:6:10: backup: not one of off, on: "maybe"
/etc/mpip/mpip.toml:7:8: cost: not a number: "-1"; allowed: 0 to 4294967295
/etc/mpip/mpip.toml:8:10: budget: unknown unit: "2X"; allowed: 0 to 18446744073709551615 bytes
/etc/mpip/mpip.toml:9:10: period: not a whole number or a string: 1.5
/etc/mpip/mpip.toml:10:1: unknown key "used"; there are: backup, cost, budget, period, exclude, enrol, power, energy
/etc/mpip/mpip.toml:11:1: unknown key "colour"; there are: backup, cost, budget, period, exclude, enrol, power, energy
/etc/mpip/mpip.toml:14:9: enrol: an interface is either enrolled or excluded: wwan2
"#]]
    );
    let many: Vec<String> = (0..65)
        .map(|n| format!("[interface.e{n}]\ncost = 1\n"))
        .collect();
    assert_data_eq!(
        mistakes(&many.concat()),
        str![[r#"/etc/mpip/mpip.toml:129:12: interface: more than 64: "e64""#]]
    );
}
