// SPDX-License-Identifier: GPL-2.0

//! What rules name and is not there, or not any more.

use super::*;

#[test]
fn interfaces_that_are_not_there() {
    let file = SAME.replace("\"eth0\", \"wwan0\"", "\"eth0\", \"usb7\", \"wwan0\"");
    let system = Fake::new(state(Kernel::new())).file(MAIN, &file);
    let told = told("mpipctl config apply --lenient", &system);
    assert_eq!(told.error, None);
    let expected = "/etc/mpip/mpip.toml:16:16: dev: no such interface: \"usb7\"; it is left out \
                    until this is applied again";
    assert_eq!(told.warnings, [expected]);
    for (line, status) in [("config check", Some(1)), ("config check --lenient", None)] {
        let system = Fake::changing(vec![]).file(MAIN, &file);
        let told = self::told(&format!("mpipctl {line}"), &system);
        assert_eq!(told.error.map(|(status, _)| status), status, "{line}");
    }
}

/// What is left out at the start is put in when it is there, and nothing else is touched; one that
/// went and came again has another index.
#[test]
fn interfaces_that_come_later() {
    for listed in [[2, 2], [2, 77]] {
        let indices: Vec<u8> = listed.iter().flat_map(|i: &u32| i.to_ne_bytes()).collect();
        let rule = [
            u32(RULE_NUMBER, 1),
            u32(RULE_PRIORITY, 0),
            u32(RULE_MODE, 2),
            attr(RULE_INTERFACES, &indices),
        ];
        let kernel = Kernel::new()
            .answer(CMD_GET, vec![reply(0, &[u8(NODE_ENABLED, 1)]), ack()])
            .answer(CMD_PARAM_GET, dump(&[]))
            .answer(CMD_PREFIX_GET, dump(&[]))
            .answer(CMD_INTERFACE_GET, dump(&[]))
            .answer(CMD_RULE_GET, dump(&[rule.to_vec()]));
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
