// SPDX-License-Identifier: GPL-2.0

//! Interfaces: what is typed, what is sent, what is shown.

mod common;

use common::*;
use mpipctl::nl::uapi::*;
use snapbox::assert_data_eq;
use snapbox::str;

/// The attributes that `interface set` sends for these words.
fn sent(words: &str) -> Vec<u8> {
    let kernel = Kernel::new().answer(CMD_INTERFACE_SET, vec![ack()]);
    let requests = kernel.requests();
    assert_eq!(run(&format!("mpipctl interface set {words}"), kernel), "");
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    requests[0][4..].to_vec()
}

/// An interface as the kernel lists it.
fn listed(name: &str, ifindex: u32, role: u32, more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut attrs = vec![string(INTERFACE_NAME, name)];
    if ifindex != 0 {
        attrs.push(u32(INTERFACE_IFINDEX, ifindex));
    }
    attrs.push(u32(INTERFACE_ROLE, role));
    attrs.extend(more.iter().cloned());
    attrs
}

fn kernel() -> Kernel {
    let plain = [
        u8(INTERFACE_BACKUP, 0),
        u32(INTERFACE_COST, 0),
        u64(INTERFACE_BUDGET, 0),
        u64(INTERFACE_PERIOD_MS, 30 * 86_400_000),
    ];
    let budget = [
        u8(INTERFACE_BACKUP, 0),
        u32(INTERFACE_COST, 5),
        u64(INTERFACE_BUDGET, 2 << 30),
        u64(INTERFACE_PERIOD_MS, 86_400_000),
        u64(INTERFACE_USED, (2 << 30) + 4711),
        u64(INTERFACE_LEFT_MS, 3_723_000),
    ];
    let gone = [
        u8(INTERFACE_EXCLUDED, 1),
        u32(INTERFACE_POWER_MW, 1076),
        u32(INTERFACE_BIT_NJ, 60),
    ];
    Kernel::new().answer(
        CMD_INTERFACE_GET,
        dump(&[
            listed("wwan0", 3, 2, &budget),
            listed("usb7", 0, 4, &gone),
            listed("eth0", 2, 0, &plain),
        ]),
    )
}

#[test]
fn set() {
    assert_eq!(
        sent("wwan0 backup on cost 7 budget 2G period 30d"),
        [
            string(INTERFACE_NAME, "wwan0"),
            u8(INTERFACE_BACKUP, 1),
            u32(INTERFACE_COST, 7),
            u64(INTERFACE_BUDGET, 2 << 30),
            u64(INTERFACE_PERIOD_MS, 2_592_000_000),
        ]
        .concat()
    );
    assert_eq!(
        sent("eth0 exclude off enrol on used 1.5M power 1070mW energy 60"),
        [
            string(INTERFACE_NAME, "eth0"),
            u8(INTERFACE_ENROLLED, 1),
            u8(INTERFACE_EXCLUDED, 0),
            u32(INTERFACE_POWER_MW, 1070),
            u32(INTERFACE_BIT_NJ, 60),
            u64(INTERFACE_USED, 1_572_864),
        ]
        .concat()
    );
    let kernel = Kernel::new().answer(CMD_INTERFACE_RESET, vec![ack()]);
    let requests = kernel.requests();
    assert_eq!(run("mpipctl iface reset usb7", kernel), "");
    assert_eq!(
        requests.lock().unwrap()[0][4..],
        string(INTERFACE_NAME, "usb7")
    );
    // One that is not there yet is worth a remark.
    let kernel = Kernel::new().answer(CMD_INTERFACE_SET, vec![ack()]);
    let ran = try_run("mpipctl interface set usb7 backup on", kernel);
    assert!(ran.result.is_ok());
    assert_data_eq!(
        ran.warnings.join("\n"),
        str![[r#""usb7": no such interface now; it counts when there is"#]]
    );
}

#[test]
fn show() {
    assert_data_eq!(
        run("mpipctl interface", kernel()),
        str![[r#"
NAME  STATE  COST BUDGET USED LEFT
wwan0 budget 5    2G     2.0G 1h02m
usb7  absent -    -      -    -
eth0  used   0    -      -    -

"#]]
    );
    assert_data_eq!(
        run("mpipctl -d interface", kernel()),
        str![[r#"
NAME  STATE  COST BUDGET USED LEFT
wwan0 budget 5    2G     2.0G 1h02m
    cost 5 budget 2G period 1d
usb7  absent -    -      -    -
    exclude on power 1076mW energy 60nJ
eth0  used   0    -      -    -
    nothing set

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j interface show wwan0", kernel()),
        str![[r#"
[{"name":"wwan0","ifindex":3,"role":"budget","backup":false,"cost":5,"budget":2147483648,"period_ms":86400000,"used":2147488359,"left_ms":3723000}]

"#]]
    );
    assert_data_eq!(
        error("mpipctl interface show eth9", kernel()),
        str![[r#"
1 interface: nothing is set for "eth9", nor has it a usable address; try: mpipctl interface

"#]]
    );
}

#[test]
fn mistakes() {
    let mut told = String::new();
    for words in [
        "",
        "wwan0",
        "a/b backup on",
        "an-interface-too-long backup on",
        "wwan0 backup",
        "wwan0 backup maybe",
        "wwan0 backup on backup off",
        "wwan0 colour red",
        "wwan0 cost cheap",
        "wwan0 cost 4294967296",
        "wwan0 budget lots",
        "wwan0 budget 2X",
        "wwan0 budget -1",
        "wwan0 period 30",
        "wwan0 period 400d",
        "wwan0 power 3V",
        "wwan0 exclude on enrol on",
    ] {
        let line = format!("mpipctl interface set {words}");
        match <mpipctl::cli::Cli as clap::Parser>::try_parse_from(line.split_whitespace()) {
            Ok(_) => told += &error(&line, Kernel::new()),
            Err(error) => told += &format!("{:?}\n", error.kind()),
        }
    }
    let refused = [
        string(1, "an interface is either enrolled or excluded"),
        u32(2, 32),
    ];
    let kernel = Kernel::new().answer(CMD_INTERFACE_SET, vec![refusal(22, &refused)]);
    told += &error("mpipctl interface set eth0 enrol on", kernel);
    let refused = [string(1, "nothing is set for an interface of this name")];
    let kernel = Kernel::new().answer(CMD_INTERFACE_RESET, vec![refusal(2, &refused)]);
    told += &error("mpipctl interface reset eth0", kernel);
    assert_data_eq!(
        told,
        str![[r#"
MissingRequiredArgument
1 interface: nothing given; names are backup, cost, budget, period, exclude, enrol, power, energy, used
1 interface: not what an interface can be called, 1 to 15 bytes without spaces, / and :: "a/b"
1 interface: not what an interface can be called, 1 to 15 bytes without spaces, / and :: "an-interface-too-long"
1 backup: the value is missing
1 backup: not one of off, on: "maybe"
1 backup: given twice
1 interface: unknown name: "colour"; names are backup, cost, budget, period, exclude, enrol, power, energy, used
1 cost: not a number: "cheap"; allowed: 0 to 4294967295
1 cost: out of range: "4294967296"; allowed: 0 to 4294967295
1 budget: not a number: "lots"; allowed: 0 to 18446744073709551615 bytes
1 budget: unknown unit: "2X"; allowed: 0 to 18446744073709551615 bytes
1 budget: not a number: "-1"; allowed: 0 to 18446744073709551615 bytes
1 period: out of range: "30"; allowed: 1000 to 31622400000 ms
1 period: out of range: "400d"; allowed: 1000 to 31622400000 ms
1 power: unknown unit: "3V"; allowed: 0 to 4294967295 mW
1 enrol: an interface is either enrolled or excluded
2 interface "eth0": the kernel refused: interface.enrolled: an interface is either enrolled or excluded: Invalid argument
2 interface "eth0": the kernel refused: nothing is set for an interface of this name: No such file or directory; try: mpipctl interface

"#]]
    );
}

#[test]
fn events() {
    let link = |reason| {
        [
            u32(EVENT_IFINDEX, 3),
            string(EVENT_INTERFACE, "wwan0"),
            u32(EVENT_REASON, reason),
        ]
    };
    let budget = [u64(EVENT_USED, 2_147_488_359), u64(EVENT_BUDGET, 2 << 30)];
    let kernel = || {
        Kernel::new()
            .notice(event(7, &[&link(11)[..], &budget].concat()))
            .notice(event(8, &link(12)))
            .notice(event(6, &[u32(EVENT_ADDRESSES, 3)]))
            .notice(family_gone(FAMILY))
    };
    let heard = |line: &str| try_run(line, kernel()).text;
    assert_data_eq!(
        heard("mpipctl monitor interface"),
        str![[r#"
interface-demoted interface wwan0 used 2147488359 budget 2147483648 reason budget
interface-promoted interface wwan0 reason energy

"#]]
    );
    assert_data_eq!(
        heard("mpipctl -j monitor interface-demoted"),
        str![[r#"
{"kind":"interface-demoted","time_us":12000345,"ifindex":3,"reason":"budget","interface":"wwan0","used":2147488359,"budget":2147483648,"dev":"wwan0"}

"#]]
    );
}

#[test]
fn rules_limit_the_cost() {
    let kernel = Kernel::new().answer(CMD_RULE_ADD, vec![ack()]);
    let requests = kernel.requests();
    run("mpipctl rule add mode selected cost 5", kernel);
    let expected = [u32(RULE_MODE, 1), u32(RULE_MAX_COST, 5)].concat();
    assert_eq!(requests.lock().unwrap()[0][4..], expected);
    let rule = vec![
        u32(RULE_NUMBER, 1),
        u32(RULE_PRIORITY, 0),
        u32(RULE_MODE, 1),
        u32(RULE_MAX_COST, 5),
    ];
    let kernel = Kernel::new().answer(CMD_RULE_GET, dump(&[rule]));
    assert_data_eq!(
        run("mpipctl rule", kernel),
        str![[r#"
NUMBER RULE
1      mode selected cost 5

"#]]
    );
    assert_data_eq!(
        error("mpipctl rule add mode selected cost 5EUR", Kernel::new()),
        str![[r#"
1 cost: not a number from 0 to 4294967295: "5EUR"

"#]]
    );
}
