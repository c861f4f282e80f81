// SPDX-License-Identifier: GPL-2.0

//! What doctor says of interfaces that are excluded, in reserve, or over their budget.

use mpipctl::nl::uapi::*;

use crate::common::attr;
use crate::common::dump;
use crate::common::string;
use crate::common::u32;
use crate::common::u64;
use crate::common::u8;
use crate::common::Fake;
use crate::common::Kernel;
use crate::host::*;

const USED: u32 = 0;
const BACKUP: u32 = 1;
const BUDGET: u32 = 2;
const ENERGY: u32 = 3;
const EXCLUDED: u32 = 4;

fn interface(index: u32, name: &str, role: u32, more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut attrs = vec![
        string(INTERFACE_NAME, name),
        u32(INTERFACE_IFINDEX, index),
        u32(INTERFACE_ROLE, role),
    ];
    attrs.extend(more.iter().cloned());
    attrs
}

fn excluded(index: u32, name: &str) -> Vec<Vec<u8>> {
    interface(index, name, EXCLUDED, &[u8(INTERFACE_EXCLUDED, 1)])
}

/// A host with a third interface that lacks whatever a path needs.
fn ill(interfaces: &[Vec<Vec<u8>>]) -> Fake {
    let mut network = network();
    let mut third = link(4, "mgmt0");
    third.mtu = 9000;
    third.features = Some(vec!["rx-lro".to_string()]);
    network.links.push(third);
    network.addresses.push(address(4, "203.0.113.2", 24));
    let mut twice = address(4, "203.0.113.3", 24);
    twice.duplicate = true;
    network.addresses.push(twice);
    host(with_interfaces(interfaces), network).file(&format!("{CONF}/mgmt0/rp_filter"), "1\n")
}

#[test]
fn nothing_is_missed_where_nothing_is_wanted() {
    let (text, status) = doctor(&ill(&[interface(4, "mgmt0", USED, &[])]));
    for check in [
        "FAIL rp_filter",
        "FAIL route",
        "WARN mtu",
        "FAIL address",
        "WARN offload",
    ] {
        assert!(text.contains(&format!("\n{check} ")), "{check}: {text}");
    }
    assert_eq!(status, 4);

    let (text, status) = doctor(&ill(&[excluded(4, "mgmt0")]));
    assert!(!text.contains("FAIL") && !text.contains("WARN"), "{text}");
    assert!(
        text.contains("\nOK interfaces eth0, wwan0 can carry paths\n"),
        "{text}"
    );
    let line = "\nOK use mgmt0: excluded: it gets no added paths\n";
    assert!(text.contains(line), "{text}");
    assert_eq!(status, 0);
    // The same where only enrolled ones are used.
    let (text, status) = doctor(&ill(&[interface(4, "mgmt0", EXCLUDED, &[])]));
    let line = "\nOK use mgmt0: not enrolled, and only enrolled interfaces get added paths\n";
    assert!(text.contains(line) && status == 0, "{text}");
    // What is set for an interface that is not there is of no concern.
    let absent = [
        string(INTERFACE_NAME, "usb7"),
        u32(INTERFACE_ROLE, EXCLUDED),
    ];
    let (text, _) = doctor(&host(with_interfaces(&[absent.to_vec()]), network()));
    assert!(!text.contains(" use "), "{text}");
}

#[test]
fn excluded_interfaces_are_missed_where_few_are_left() {
    let one = || host(with_interfaces(&[excluded(3, "wwan0")]), network());
    says(
        &one(),
        "WARN interfaces only eth0 can carry paths: there are several only to hosts with several \
         addresses",
        0,
    );
    says(
        &one(),
        "WARN use wwan0: excluded: it gets no added paths \\ \
         fix: mpipctl interface set wwan0 exclude off",
        0,
    );
    // Nobody is enrolled.
    let none = || {
        let interfaces = [
            interface(2, "eth0", EXCLUDED, &[]),
            interface(3, "wwan0", EXCLUDED, &[]),
        ];
        host(with_interfaces(&interfaces), network())
    };
    says(
        &none(),
        "FAIL interfaces every interface that is up and has an address for paths is left out \\ \
         fix: mpipctl interface set eth0 enrol on",
        4,
    );
    says(
        &none(),
        "WARN use wwan0: not enrolled, and only enrolled interfaces get added paths \\ \
         fix: mpipctl interface set wwan0 enrol on",
        4,
    );
    let (text, _) = run("mpipctl -o -n blue doctor", &one());
    let fix = "fix: ip netns exec blue mpipctl interface set wwan0 exclude off\n";
    assert!(text.contains(fix), "{text}");
}

#[test]
fn sessions_keep_to_an_excluded_default_route() {
    let mut network = network();
    network.links.push(link(4, "mgmt0"));
    network.addresses.push(address(4, "203.0.113.2", 24));
    network.defaults = vec![default(4, 254)];
    says(
        &host(with_interfaces(&[excluded(4, "mgmt0")]), network),
        "WARN route mgmt0: the default route leaves by it, but it gets no added paths: what goes \
         there keeps to it \\ fix: mpipctl interface set mgmt0 exclude off",
        0,
    );
}

#[test]
fn why_an_interface_carries_nothing() {
    let with = |role: u32, more: &[Vec<u8>]| {
        let interfaces = [interface(3, "wwan0", role, more)];
        host(with_interfaces(&interfaces), network())
    };
    let budget = [
        u64(INTERFACE_BUDGET, 2 << 30),
        u64(INTERFACE_USED, (2 << 30) + (300 << 20)),
        u64(INTERFACE_LEFT_MS, 3_723_000),
    ];
    says(
        &with(BUDGET, &budget),
        "WARN use wwan0: carries nothing while another interface works: its budget of 2G is used \
         up (2.3G); the next period begins in 1h02m \\ \
         fix: mpipctl interface set wwan0 budget BYTES",
        0,
    );
    says(
        &with(BACKUP, &[u8(INTERFACE_BACKUP, 1)]),
        "OK use wwan0: a backup: carries nothing while another interface works",
        0,
    );
    says(
        &with(ENERGY, &[]),
        "OK use wwan0: carries nothing for now: to save energy, another interface does that has \
         more bits per joule",
        0,
    );
    let (text, _) = doctor(&with(USED, &budget));
    assert!(!text.contains(" use "), "{text}");
}

#[test]
fn rules_that_name_what_has_gone() {
    let rule = |number: u32, indices: &[u32]| {
        let bytes: Vec<u8> = indices.iter().flat_map(|i| i.to_ne_bytes()).collect();
        vec![u32(RULE_NUMBER, number), attr(RULE_INTERFACES, &bytes)]
    };
    let rules = [
        rule(1, &[2, 3]),
        rule(2, &[2, 9, 3]),
        rule(3, &[9, 10]),
        vec![u32(RULE_NUMBER, 4)],
        vec![
            u32(RULE_NUMBER, 5),
            string(RULE_INTERFACE_NAMES, "usb7 eth0 usb8"),
        ],
        vec![u32(RULE_NUMBER, 6), string(RULE_INTERFACE_NAMES, "eth0")],
        vec![u32(RULE_NUMBER, 7), u64(RULE_CGROUP, 4711)],
        vec![u32(RULE_NUMBER, 8), u64(RULE_CGROUP, 4712)],
    ];
    let kernel = || {
        Kernel::new()
            .answer(CMD_GET, answer(1, env!("CARGO_PKG_VERSION")))
            .answer(CMD_INTERFACE_GET, dump(&[]))
            .answer(CMD_RULE_GET, dump(&rules))
            .answer(CMD_PARAM_GET, dump(&[]))
            .answer(CMD_PATH_GET, dump(&[]))
    };
    for line in [
        "WARN rule rule 2 names if9, gone by now: an interface that comes again has another number \\ \
         fix: mpipctl rule change 2 dev eth0,wwan0,DEV",
        "WARN rule rule 3 names if9 and if10, gone by now: an interface that comes again has another number \\ \
         fix: mpipctl rule change 3 dev DEV",
        "WARN rule rule 8 is for a control group that has gone: one that comes again, when its \
         service starts, is another \\ fix: mpipctl rule change 8 cgroup PATH",
        "OK rule rule 5 names usb7 and usb8: it counts when there is such an interface",
    ] {
        says(&host(kernel(), network()), line, 0);
    }
    let (text, _) = doctor(&host(kernel(), network()));
    assert!(
        !["rule 1 ", "rule 4 ", "rule 6 ", "rule 7 "]
            .iter()
            .any(|rule| text.contains(rule)),
        "{text}"
    );
}
