// SPDX-License-Identifier: GPL-2.0

//! What is wanted of paths: what is typed, what is sent, what is shown.

mod common;

use common::*;
use mpipctl::nl::uapi::*;
use snapbox::assert_data_eq;
use snapbox::str;

/// A kernel that takes a change, and whose scheduler is one of earliest and weighted.
fn kernel(scheduler: u64) -> Kernel {
    let param = vec![
        string(PARAM_NAME, "scheduler"),
        u64(PARAM_VALUE, scheduler),
        u64(PARAM_MINIMUM, 0),
        u64(PARAM_MAXIMUM, 1),
        string(PARAM_CHOICES, "earliest,weighted"),
    ];
    Kernel::new()
        .answer(CMD_PATH_SET, vec![ack()])
        .answer(CMD_PARAM_GET, dump(&[param]))
}

/// The attributes that `path set` sends for these words.
fn sent(words: &str) -> Vec<u8> {
    let kernel = kernel(1);
    let requests = kernel.requests();
    let ran = try_run(&format!("mpipctl path set {words}"), kernel);
    assert!(ran.result.is_ok() && ran.text.is_empty() && ran.warnings.is_empty());
    let requests = requests.lock().unwrap();
    requests[0][4..].to_vec()
}

#[test]
fn set() {
    assert_eq!(
        sent("3 weight 300 state standby"),
        [
            u8(PATH_ID, 3),
            u32(PATH_SET_WEIGHT, 300),
            u32(PATH_SET_STATE, 1)
        ]
        .concat()
    );
    for (words, attr) in [
        ("0 state active", u32(PATH_SET_STATE, 0)),
        ("0 state disabled", u32(PATH_SET_STATE, 2)),
        ("0 weight auto", u32(PATH_SET_WEIGHT, 0)),
        ("0 weight 1", u32(PATH_SET_WEIGHT, 1)),
        ("0 weight 1000", u32(PATH_SET_WEIGHT, 1000)),
    ] {
        assert_eq!(sent(words), [u8(PATH_ID, 0), attr].concat(), "{words}");
    }
    assert_eq!(
        sent("63 state standby peer fedcba9876543210"),
        [
            u8(PATH_ID, 63),
            u64(PATH_PEER, 0xfedc_ba98_7654_3210),
            u32(PATH_SET_STATE, 1)
        ]
        .concat()
    );
}

#[test]
fn remarks() {
    let warned = |line: &str, kernel| {
        let ran = try_run(line, kernel);
        assert!(ran.result.is_ok(), "{line}");
        ran.warnings.join("\n")
    };
    // A weight that nobody uses.
    assert_data_eq!(
        warned("mpipctl path set 1 weight 300", kernel(0)),
        str!["weight: the scheduler weighted uses it, and the scheduler is earliest now; try: mpipctl param set scheduler weighted"]
    );
    for line in ["1 weight auto", "1 state standby"] {
        assert_eq!(warned(&format!("mpipctl path set {line}"), kernel(0)), "");
    }
    // The last one.
    let remark = string(
        1,
        "no other path to the peer works now: sessions without one go on here",
    );
    let last = Kernel::new().answer(CMD_PATH_SET, vec![refusal(0, &[remark])]);
    assert_data_eq!(
        warned("mpipctl path set 1 state disabled", last),
        str!["no other path to the peer works now: sessions without one go on here"]
    );
}

#[test]
fn mistakes() {
    let mut told = String::new();
    for words in [
        "",
        "1",
        "one state standby",
        "-1 state standby",
        "256 state standby",
        "1 state",
        "1 state off",
        "1 state standby state active",
        "1 colour red",
        "1 weight heavy",
        "1 weight 0",
        "1 weight 1001",
        "1 weight -5",
        "1 weight 50%",
        "1 peer 0000000000000042",
        "1 state active peer example.org",
        "1 state active peer +42",
        "1 state active peer fedcba98765432100",
    ] {
        let line = format!("mpipctl path set {words}");
        match <mpipctl::cli::Cli as clap::Parser>::try_parse_from(line.split_whitespace()) {
            Ok(_) => told += &error(&line, Kernel::new()),
            Err(error) => told += &format!("{:?}\n", error.kind()),
        }
    }
    let refused = |errno, text, offset| {
        let why = [string(1, text), u32(2, offset)];
        Kernel::new().answer(CMD_PATH_SET, vec![refusal(errno, &why)])
    };
    let absent = || refused(2, "no such path", 20);
    told += &error("mpipctl path set 9 state standby", absent());
    told += &error("mpipctl path set 9 state standby peer 42", absent());
    let several = "several peers have a path with this id: say which peer";
    told += &error("mpipctl path set 1 state standby", refused(22, several, 20));
    let range = refused(34, "integer out of range", 28);
    told += &error("mpipctl path set 1 weight 300", range);
    assert_data_eq!(
        told,
        str![[r#"
MissingRequiredArgument
1 path: nothing to change; give weight or state
1 path: not the id of a path: "one"; try: mpipctl path
UnknownArgument
1 path: not the id of a path: "256"; try: mpipctl path
1 state: the value is missing
1 state: not one of active, standby, disabled: "off"
1 state: given twice
1 path: unknown name: "colour"; names are weight, state, peer
1 weight: not a number: "heavy"; allowed: 1 to 1000, or auto
1 weight: out of range: "0"; allowed: 1 to 1000, or auto
1 weight: out of range: "1001"; allowed: 1 to 1000, or auto
1 weight: not a number: "-5"; allowed: 1 to 1000, or auto
1 weight: unknown unit: "50%"; allowed: 1 to 1000, or auto
1 path: nothing to change; give weight or state
1 peer: not a node id of up to 16 hexadecimal digits: "example.org"; try: mpipctl peer
1 peer: not a node id of up to 16 hexadecimal digits: "+42"; try: mpipctl peer
1 peer: not a node id of up to 16 hexadecimal digits: "fedcba98765432100"; try: mpipctl peer
2 path "9": the kernel refused: path.id: no such path: No such file or directory; try: mpipctl path
2 path "9" of peer 0000000000000042: the kernel refused: path.id: no such path: No such file or directory; try: mpipctl path
2 path "1": the kernel refused: path.id: several peers have a path with this id: say which peer: Invalid argument
2 path "1": the kernel refused: path.set-weight: integer out of range: Numerical result out of range

"#]]
    );
}

/// A path as the kernel lists it.
fn listed(id: u8, state: u32, weight: u32, more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut attrs = vec![
        u8(PATH_ID, id),
        u64(PATH_PEER, 0x42),
        u32(PATH_IFINDEX, 2),
        attr(PATH_LOCAL, &[10, 1, 0, id]),
        attr(PATH_REMOTE, &[192, 0, 2, 9]),
        u32(PATH_STATE, state),
        u32(PATH_WEIGHT, weight),
    ];
    attrs.extend(more.iter().cloned());
    attrs
}

#[test]
fn show() {
    let kernel = || {
        let both = [
            u32(PATH_UNUSED, 11),
            u32(PATH_SET_WEIGHT, 300),
            u32(PATH_SET_STATE, 1),
        ];
        let shut = [u32(PATH_REASON, 13), u32(PATH_SET_STATE, 2)];
        Kernel::new().answer(
            CMD_PATH_GET,
            dump(&[
                listed(0, 1, 620, &[]),
                listed(1, 3, 300, &both),
                listed(2, 5, 500, &shut),
                listed(3, 1, 7, &[u32(PATH_SET_WEIGHT, 7)]),
            ]),
        )
    };
    assert_data_eq!(
        run("mpipctl path", kernel()),
        str![[r#"
ID DEV  LOCAL    REMOTE    WEIGHT RTT QUEUE STATE
0  eth0 10.1.0.0 192.0.2.9 620    -   -     active
1  eth0 10.1.0.1 192.0.2.9 =300   -   -     standby
2  eth0 10.1.0.2 192.0.2.9 500    -   -     disabled
3  eth0 10.1.0.3 192.0.2.9 =7     -   -     active

"#]]
    );
    assert_data_eq!(
        run("mpipctl -d path show", kernel()),
        str![[r#"
ID DEV  LOCAL    REMOTE    WEIGHT RTT QUEUE STATE
0  eth0 10.1.0.0 192.0.2.9 620    -   -     active
    peer 0000000000000042 mtu - max-queue -
    one-way, with the clocks' offset: delay - min-delay - rx-delay -
1  eth0 10.1.0.1 192.0.2.9 =300   -   -     standby
    peer 0000000000000042 mtu - max-queue -
    one-way, with the clocks' offset: delay - min-delay - rx-delay -
    unused standby
    set: state standby weight 300, which only the scheduler weighted uses
2  eth0 10.1.0.2 192.0.2.9 500    -   -     disabled
    peer 0000000000000042 mtu - max-queue -
    one-way, with the clocks' offset: delay - min-delay - rx-delay -
    reason disabled
    set: state disabled
3  eth0 10.1.0.3 192.0.2.9 =7     -   -     active
    peer 0000000000000042 mtu - max-queue -
    one-way, with the clocks' offset: delay - min-delay - rx-delay -
    set: weight 7, which only the scheduler weighted uses

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j path show disabled", kernel()),
        str![[r#"
[{"id":2,"peer":"0000000000000042","ifindex":2,"local":"10.1.0.2","remote":"192.0.2.9","state":"disabled","weight":500,"reason":"disabled","set_state":"disabled","dev":"eth0"}]

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j path show 1", kernel()),
        str![[r#"
[{"id":1,"peer":"0000000000000042","ifindex":2,"local":"10.1.0.1","remote":"192.0.2.9","state":"standby","weight":300,"unused":"standby","set_weight":300,"set_state":"standby","dev":"eth0"}]

"#]]
    );
}

#[test]
fn events() {
    let down = event(
        5,
        &[
            u64(EVENT_PEER, 0x42),
            u8(EVENT_PATH, 1),
            u32(EVENT_IFINDEX, 3),
            attr(EVENT_LOCAL, &[10, 2, 0, 2]),
            attr(EVENT_REMOTE, &[192, 0, 2, 9]),
            u32(EVENT_REASON, 13),
        ],
    );
    let kernel = Kernel::new().notice(down).notice(family_gone(FAMILY));
    let heard = try_run("mpipctl monitor path", kernel).text;
    assert_data_eq!(
        heard,
        str![[r#"
path-down peer 0000000000000042 path 1 dev wwan0 local 10.2.0.2 remote 192.0.2.9 reason disabled

"#]]
    );
}
