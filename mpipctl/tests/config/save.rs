// SPDX-License-Identifier: GPL-2.0

//! Files that are written, and where they are.

use mpipctl::nl::uapi::*;
use mpipctl::system::System;
use snapbox::assert_data_eq;
use snapbox::str;

use crate::common::dump;
use crate::common::u32;
use crate::common::u64;
use crate::common::Fake;
use crate::common::Kernel;
use crate::says;
use crate::state;
use crate::told;
use crate::MAIN;
use crate::SAME;

#[test]
fn namespaces_have_their_own() {
    let own = "/etc/netns/blue/mpip/mpip.toml";
    let system = Fake::changing(vec![])
        .file(MAIN, "enabled = 1")
        .file(own, "");
    let text = says("mpipctl -n blue config check", &system);
    assert!(text.starts_with(own), "{text}");
    let system = Fake::changing(vec![]).file(MAIN, "");
    let text = says("mpipctl -n blue config check", &system);
    assert!(text.starts_with(MAIN), "{text}");
    let system = Fake::new(state(Kernel::new()));
    says("mpipctl -n blue config save", &system);
    assert!(system.read(own).is_ok() && system.read(MAIN).is_err());
    let system = Fake::new(state(Kernel::new()));
    for name in ["/proc/1/ns/net", "4711"] {
        let told = told(&format!("mpipctl -n {name} config save"), &system);
        assert_eq!(told.error.unwrap().0, 1);
    }
}

#[test]
fn save_makes_a_file() {
    let system = Fake::new(state(Kernel::new()));
    assert_eq!(says("mpipctl config save", &system), "");
    let shown = says("mpipctl config", &Fake::new(state(Kernel::new())));
    assert_eq!(system.read(MAIN).unwrap(), shown);
    // And that is the same again.
    let again = Fake::new(state(Kernel::new())).file(MAIN, &shown);
    assert_eq!(says("mpipctl config diff", &again), "");
    let system = Fake::new(state(Kernel::new()));
    assert_eq!(says("mpipctl config save -f -", &system), shown);
    let system = Fake::new(state(Kernel::new())).read_only();
    let (status, message) = told("mpipctl config save", &system).error.unwrap();
    assert_eq!(status, 1);
    assert!(
        message.starts_with("cannot write \"/etc/mpip/mpip.toml\": "),
        "{message}"
    );
}

#[test]
fn save_keeps_what_was_right() {
    let system = Fake::new(state(Kernel::new())).file(MAIN, SAME).read_only();
    says("mpipctl config save", &system);
    let old = "\
# My settings
enabled = false # for now

[param]
# Algorithm 1
scheduler = \"earliest\" # or weighted
heartbeat = \"1s\" # what it is anyway

# Datagrams of calls
[[rule]]
size = \"0-400\"
proto = \"udp\"
priority = \"latency\"
dev = \"eth0,wwan0\"

# Away with it
[[rule]]
port = 80
mode = \"single\"
";
    let system = Fake::new(state(Kernel::new())).file(MAIN, old);
    says("mpipctl config save", &system);
    assert_data_eq!(
        system.read(MAIN).unwrap(),
        str![[r#"
# My settings
enabled = true # for now

[param]
# Algorithm 1
scheduler = "weighted" # or weighted
heartbeat = "1s" # what it is anyway

[ask]
prefixes = ["10.0.0.0/8"]

[[rule]]
port = 22
mode = "single"

# Datagrams of calls
[[rule]]
size = "0-400"
proto = "udp"
priority = "latency"
dev = "eth0,wwan0"

"#]]
    );
}

#[test]
fn save_leaves_drop_ins_alone() {
    let last = SAME
        .split_once("# Logins")
        .unwrap()
        .1
        .split_once("\n\n")
        .unwrap()
        .1;
    let more = format!("[param]\nscheduler = 'weighted'\n{last}");
    let system = Fake::new(state(Kernel::new())).file("/etc/mpip/mpip.d/a.toml", &more);
    says("mpipctl config save", &system);
    assert_data_eq!(
        system.read(MAIN).unwrap(),
        str![[r#"
# The configuration of MPIP, see mpip(5). What is not here has its default.
enabled = true

[ask]
prefixes = ["10.0.0.0/8"]

[[rule]]
port = 22
mode = "single"

"#]]
    );
    let system = Fake::new(state(Kernel::new())).file(
        "/etc/mpip/mpip.d/a.toml",
        "[param]\nscheduler = 'earliest'\n",
    );
    let (status, message) = told("mpipctl config save", &system).error.unwrap();
    assert_eq!(status, 1);
    assert_eq!(
        message,
        "/etc/mpip/mpip.d/a.toml:2:13: scheduler = earliest: not what the kernel has, and would win \
         over what is saved"
    );
    assert!(system.read(MAIN).is_err(), "nothing was written");
}

/// Rules keep their text though one before them has gone, from the kernel or for it.
#[test]
fn save_leaves_out_groups_that_have_gone() {
    let rule = |number, group: u64, mode| {
        let mode = u32(RULE_MODE, mode);
        vec![u32(RULE_NUMBER, number), u64(RULE_CGROUP, group), mode]
    };
    let state = || {
        let rules = [rule(1, 4711, 2), rule(2, 4712, 2), rule(3, 4711, 0)];
        let kernel = Kernel::new().answer(CMD_RULE_GET, dump(&rules));
        Fake::new(state(kernel))
    };
    let gone = "rule 2: control group 4712 has gone; the rule is left out";
    let left = "[[rule]]\ncgroup = 'no.slice'\nmode = 'never'\n\n";
    let first = "# One\n[[rule]]\ncgroup = 'user.slice' # of users\nmode = 'single'\n\n";
    let last = "# Two\n[[rule]]\ncgroup = 'user.slice' # of all\nmode = 'all'\n";
    let rest = "[param]\nscheduler = 'weighted'\n[ask]\nprefixes = ['10.0.0.0/8']\n\n";
    let system = state().file(MAIN, &format!("{rest}{left}{first}{last}"));
    let told = told("mpipctl config save", &system);
    let no_such = "/etc/mpip/mpip.toml:7:10: cgroup: no such control group: \"no.slice\"; the rule is left out";
    assert_eq!(
        (told.error, told.warnings),
        (None, vec![gone.into(), no_such.into()])
    );
    let saved = system.read(MAIN).unwrap();
    assert_eq!(saved, format!("{rest}{first}{last}"));
    // In drop-ins, too.
    let drop_in = format!("{left}{last}");
    let system = state()
        .file(MAIN, &format!("{rest}{first}"))
        .file("/etc/mpip/mpip.d/a.toml", &drop_in);
    let told = crate::told("mpipctl config save", &system);
    assert_eq!((told.error, told.warnings), (None, vec![gone.into()]));
    assert_eq!(system.read(MAIN).unwrap(), format!("{rest}{first}"));
}
