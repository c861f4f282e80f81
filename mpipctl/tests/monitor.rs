// SPDX-License-Identifier: GPL-2.0

//! What `monitor` writes of events, and what becomes of those that were lost.

mod common;

use common::*;
use mpipctl::nl::uapi::*;
use snapbox::assert_data_eq;
use snapbox::str;

fn monitor(line: &str) -> String {
    let ran = try_run(line, events());
    assert!(ran.warnings.is_empty(), "{:?}", ran.warnings);
    let error = ran.result.unwrap_err();
    assert_eq!(error.to_string(), "the module mpip was unloaded");
    assert_eq!(error.exit_status(), 3);
    ran.text
}

#[test]
fn monitor_shows_events() {
    assert_data_eq!(
        monitor("mpipctl monitor"),
        str![[r#"
peer-up peer fedcba9876543210
path-up peer fedcba9876543210 path 1 dev eth0 local 10.0.1.1 remote 10.0.1.2
path-up peer fedcba9876543210 path 9 dev if10 local 10.0.9.1 remote 10.0.9.2
path-suspect peer fedcba9876543210 path 1 dev eth0 local 10.0.1.1 remote 10.0.1.2 reason silent
address-change addresses 3
77
peer-down peer fedcba9876543210 reason goodbye

"#]]
    );
    assert_data_eq!(
        monitor("mpipctl -j monitor"),
        str![[r#"
{"kind":"peer-up","time_us":12000345,"peer":"fedcba9876543210"}
{"kind":"path-up","time_us":12000345,"peer":"fedcba9876543210","path":1,"ifindex":2,"local":"10.0.1.1","remote":"10.0.1.2","dev":"eth0"}
{"kind":"path-up","time_us":12000345,"peer":"fedcba9876543210","path":9,"ifindex":10,"local":"10.0.9.1","remote":"10.0.9.2"}
{"kind":"path-suspect","time_us":12000345,"peer":"fedcba9876543210","path":1,"ifindex":2,"local":"10.0.1.1","remote":"10.0.1.2","reason":"silent","dev":"eth0"}
{"kind":"address-change","time_us":12000345,"addresses":3}
{"kind":"77","time_us":12000345}
{"kind":"peer-down","time_us":12000345,"peer":"fedcba9876543210","reason":"goodbye"}

"#]]
    );
}

#[test]
fn monitor_selects_events_and_shows_times() {
    assert_data_eq!(
        monitor("mpipctl monitor -t peer address-change"),
        str![[r#"
[12.000345] peer-up peer fedcba9876543210
[12.000345] address-change addresses 3
[12.000345] peer-down peer fedcba9876543210 reason goodbye

"#]]
    );
    assert_data_eq!(
        error("mpipctl monitor path paths", Kernel::new()),
        str![[r#"
1 monitor: no such event: "paths"; there are peer, path, address, interface, peer-up, peer-down, path-up, path-suspect, path-return, path-down, address-change, interface-demoted, interface-promoted

"#]]
    );
}

#[test]
fn monitor_survives_lost_events() {
    let kernel = || {
        Kernel::new()
            .overflow()
            .notice(event(0, &[u64(EVENT_PEER, EVENT_NODE)]))
            .notice(family_gone(FAMILY))
    };
    let ran = try_run_on(
        "mpipctl -j monitor",
        Fake::changing(vec![kernel(), Kernel::new()]),
    );
    assert_eq!(ran.result.unwrap_err().exit_status(), 3);
    assert_eq!(ran.warnings.len(), 1);
    assert!(
        ran.warnings[0].starts_with("events were lost"),
        "{:?}",
        ran.warnings
    );
    assert_data_eq!(
        ran.text,
        str![[r#"
{"kind":"lost"}
{"kind":"peer-up","time_us":12000345,"peer":"fedcba9876543210"}

"#]]
    );
}

/// The news that the module went may be what was lost.
#[test]
fn monitor_ends_if_the_module_went_unheard() {
    for second in [Kernel::without_module(), Kernel::with_module_again()] {
        let kernel = Kernel::new().overflow().notice(event(0, &[]));
        let system = Fake::changing(vec![kernel, second]);
        let ran = try_run_on("mpipctl monitor", system);
        assert_eq!(ran.result.unwrap_err().exit_status(), 3);
        assert_eq!(ran.text, "");
    }
}

#[test]
fn monitor_is_refused() {
    assert_data_eq!(
        error("mpipctl monitor", Kernel::without_module()),
        str![[r#"
3 generic netlink family "mpip" not found; try: modprobe mpip

"#]]
    );
    assert_data_eq!(
        error("mpipctl monitor", Kernel::without_rights()),
        str![[r#"
2 operation not permitted: needs CAP_NET_ADMIN in the network namespace; try: sudo mpipctl …

"#]]
    );
    assert_data_eq!(
        error("mpipctl monitor", Kernel::without_events()),
        str![[r#"
2 the module mpip sends no events: it is too old

"#]]
    );
}

#[test]
fn damaged_notices_are_an_error() {
    let whole = path_event(3, 1, &[u32(EVENT_REASON, 4)]);
    for length in 1..whole.len() {
        let kernel = Kernel::new().notice(whole[..length].to_vec());
        let ran = try_run("mpipctl monitor", kernel);
        assert_eq!(ran.result.unwrap_err().exit_status(), 2, "{length}");
    }
    for i in 16..whole.len() {
        let mut bytes = whole.clone();
        bytes[i] = 0xff;
        let kernel = Kernel::new().notice(bytes);
        assert!(try_run("mpipctl monitor", kernel).result.is_err());
    }
}
