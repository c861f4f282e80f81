// SPDX-License-Identifier: GPL-2.0

//! What rules name and is not there, or not any more.

use super::*;

/// A kernel with one rule.
fn with_rule(interfaces: &[Vec<u8>]) -> Kernel {
    let mut rule = vec![
        u32(RULE_NUMBER, 1),
        u32(RULE_PRIORITY, 0),
        u32(RULE_MODE, 2),
    ];
    rule.extend(interfaces.iter().cloned());
    Kernel::new()
        .answer(CMD_GET, vec![reply(0, &[u8(NODE_ENABLED, 1)]), ack()])
        .answer(CMD_PARAM_GET, dump(&[]))
        .answer(CMD_PREFIX_GET, dump(&[]))
        .answer(CMD_INTERFACE_GET, dump(&[]))
        .answer(CMD_RULE_GET, dump(&[rule]))
}

/// They count by their names when they are there.
#[test]
fn interfaces_that_are_not_there() {
    let file = "[[rule]]\nmode = 'single'\ndev = ['eth0', 'usb7']\n";
    let names = string(RULE_INTERFACE_NAMES, "usb7 eth0");
    let named = || with_rule(&[names.clone(), attr(RULE_INTERFACES, &[2, 0, 0, 0])]);
    let warning =
        "/etc/mpip/mpip.toml:3:16: dev: no such interface: \"usb7\"; it counts when there is";
    let same = told(
        "mpipctl config diff --lenient",
        &Fake::new(named()).file(MAIN, file),
    );
    assert_eq!((same.error, same.text.as_str()), (None, ""));
    assert_eq!(same.warnings, [warning]);

    let less = with_rule(&[attr(RULE_INTERFACES, &[2, 0, 0, 0])]);
    let other = told(
        "mpipctl config diff --lenient",
        &Fake::new(less).file(MAIN, file),
    );
    let lines: Vec<&str> = other.text.lines().collect();
    assert_eq!(
        lines,
        [
            "rule add number 1 mode single dev eth0,usb7",
            "rule delete 2  # mode single dev eth0"
        ]
    );
    for (line, status) in [("config check", Some(1)), ("config check --lenient", None)] {
        let system = Fake::changing(vec![]).file(MAIN, file);
        let told = told(&format!("mpipctl {line}"), &system);
        assert_eq!(told.error.map(|(status, _)| status), status, "{line}");
    }
    // What may come again is saved.
    let system = Fake::new(named());
    let saved = told("mpipctl config save", &system);
    assert_eq!((saved.error, saved.warnings.len()), (None, 0));
    let text = system.read(MAIN).unwrap();
    assert!(text.contains("dev = [\"eth0\", \"usb7\"]"), "{text}");
    let wrong = "[[rule]]\nmode = 'single'\ndev = 'a/b'\n";
    let told = told(
        "mpipctl config check --lenient",
        &Fake::changing(vec![]).file(MAIN, wrong),
    );
    let (_, message) = told.error.unwrap();
    assert!(message.contains("3:7: dev: "), "{message}");
}

/// Rules that have them by index: what is missing is put in, and nothing else is touched; one that
/// went and came again has another index.
#[test]
fn interfaces_that_come_later() {
    for listed in [[2, 2], [2, 77]] {
        let indices: Vec<u8> = listed.iter().flat_map(|i: &u32| i.to_ne_bytes()).collect();
        let kernel = with_rule(&[attr(RULE_INTERFACES, &indices)]);
        let file = "[[rule]]\nmode = 'single'\ndev = ['eth0', 'wwan0']\n";
        let system = Fake::new(kernel).file(MAIN, file);
        let told = told("mpipctl config diff --lenient", &system);
        assert_eq!(told.error.map(|(status, _)| status), Some(1));
        let mut lines = told.text.lines();
        assert_eq!(
            lines.next(),
            Some("rule add number 1 mode single dev eth0,wwan0")
        );
        let deleted = lines.next().unwrap();
        assert!(
            deleted.starts_with("rule delete 2  # mode single dev eth0"),
            "{deleted}"
        );
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn control_groups_that_are_not_there() {
    let gone = "[[rule]]\ncgroup = 'no.slice'\nmode = 'never'\n";
    let file = SAME.replace("# Logins\n", &format!("{gone}# Logins\n"));
    let system = Fake::new(state(Kernel::new())).file(MAIN, &file);
    let told = told("mpipctl config diff --lenient", &system);
    // Nothing differs: the whole rule is left out, not its condition.
    assert_eq!((told.error, told.text.as_str()), (None, ""));
    let expected = "/etc/mpip/mpip.toml:8:10: cgroup: no such control group: \"no.slice\"; the rule is left out";
    assert_eq!(told.warnings, [expected]);
    assert!(mistakes(&file).contains("no such control group of version 2: \"no.slice\""));
}
