// SPDX-License-Identifier: GPL-2.0

//! Rules: what is typed, what is sent, what is shown.

mod common;

use common::*;
use mpipctl::nl::uapi::*;
use snapbox::assert_data_eq;
use snapbox::str;

/// The attributes that `rule add` sends for these words.
fn sent(words: &str) -> Vec<u8> {
    let kernel = Kernel::new().answer(CMD_RULE_ADD, vec![ack()]);
    let requests = kernel.requests();
    assert_eq!(run(&format!("mpipctl rule add {words}"), kernel), "");
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    requests[0][4..].to_vec()
}

#[test]
fn add() {
    assert_eq!(
        sent("dst 203.0.113.0/24 port 443 proto tcp size 0-1400 priority latency"),
        [
            attr(RULE_DST, &[203, 0, 113, 0]),
            u8(RULE_DST_LEN, 24),
            u8(RULE_PROTOCOL, 6),
            u16(RULE_DST_PORT_MIN, 443),
            u16(RULE_DST_PORT_MAX, 443),
            u16(RULE_SIZE_MIN, 0),
            u16(RULE_SIZE_MAX, 1400),
            u32(RULE_PRIORITY, 1),
        ]
        .concat()
    );
    assert_eq!(
        sent("number 3 mode selected delay 80ms loss 2.5% rate 1.5Mbit/s dev eth0,wwan0 dscp AF41"),
        [
            u8(RULE_DSCP, 34),
            u32(RULE_NUMBER, 3),
            u32(RULE_MODE, 1),
            u32(RULE_MAX_DELAY_US, 80_000),
            u32(RULE_MAX_LOSS, 25),
            u32(RULE_MIN_RATE, 187_500),
            attr(RULE_INTERFACES, &[2, 0, 0, 0, 3, 0, 0, 0]),
            string(RULE_INTERFACE_NAMES, "eth0 wwan0"),
        ]
        .concat()
    );
    // IPv6, and the order does not matter.
    assert_eq!(
        sent("mode never src fd00::/64 uid 1000-1999"),
        [
            attr(
                RULE_SRC,
                &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            ),
            u8(RULE_SRC_LEN, 64),
            u32(RULE_UID_MIN, 1000),
            u32(RULE_UID_MAX, 1999),
            u32(RULE_MODE, 4),
        ]
        .concat()
    );
}

#[test]
fn groups() {
    let request = [u32(RULE_MODE, 4), u64(RULE_CGROUP, 4711)].concat();
    for words in ["/user.slice", "user.slice", "4711"] {
        assert_eq!(sent(&format!("cgroup {words} mode never")), request);
    }
    let rule = |number, id| {
        let plain = [u32(RULE_PRIORITY, 0), u32(RULE_MODE, 2)].concat();
        vec![u32(RULE_NUMBER, number), plain, u64(RULE_CGROUP, id)]
    };
    let rules = [rule(1, 4711), rule(2, 4712)];
    let kernel = Kernel::new().answer(CMD_RULE_GET, dump(&rules));
    assert_data_eq!(
        run("mpipctl rule", kernel),
        str![[r#"
NUMBER RULE
1      cgroup /user.slice mode single
2      cgroup 4712 mode single

"#]]
    );
}

#[test]
fn order() {
    assert_eq!(
        sent("proto udp ordered on"),
        [u8(RULE_PROTOCOL, 17), u8(RULE_ORDERED, 1)].concat()
    );
    assert_eq!(
        sent("ordered off mode all"),
        [u8(RULE_ORDERED, 0), u32(RULE_MODE, 0)].concat()
    );
    let rule = |number, mode| {
        let plain = u32(RULE_PRIORITY, 0);
        let mode = u32(RULE_MODE, mode);
        vec![u32(RULE_NUMBER, number), plain, mode, u8(RULE_ORDERED, 1)]
    };
    let kernel = Kernel::new().answer(CMD_RULE_GET, dump(&[rule(1, 0), rule(2, 3)]));
    assert_data_eq!(
        run("mpipctl rule", kernel),
        str![[r#"
NUMBER RULE
1      ordered on
2      mode protected ordered on

"#]]
    );
    let kernel = Kernel::new().answer(CMD_RULE_GET, dump(&[rule(1, 0)]));
    assert_data_eq!(
        run("mpipctl -j rule", kernel),
        str![[r#"
[{"number":1,"priority":"throughput","mode":"all","ordered":true}]

"#]]
    );
}

/// Table 6 of the paper, as it stands.
#[test]
fn the_table_of_the_paper() {
    assert_eq!(
        sent("dst * port 22 proto TCP size 0-200 priority latency"),
        sent("port 22 size 0-200 proto tcp priority latency")
    );
    assert_eq!(
        sent("dst 192.168.1.2 port 5222 proto UDP size 200-* priority throughput"),
        [
            attr(RULE_DST, &[192, 168, 1, 2]),
            u8(RULE_DST_LEN, 32),
            u8(RULE_PROTOCOL, 17),
            u16(RULE_DST_PORT_MIN, 5222),
            u16(RULE_DST_PORT_MAX, 5222),
            u16(RULE_SIZE_MIN, 200),
            u16(RULE_SIZE_MAX, 65535),
            u32(RULE_PRIORITY, 0),
        ]
        .concat()
    );
    assert_eq!(
        sent("port * proto any sport 7- dscp * mode single"),
        sent("sport 7-65535 mode single")
    );
}

/// Nothing is sent: there is no kernel that would answer.
#[test]
fn bad_values_are_quoted() {
    for (words, message) in [
        (
            "dst 203.0.113.999 port 443",
            "dst: not an IP address or prefix: \"203.0.113.999\"",
        ),
        (
            "dst 10.0.0.1/8 mode all",
            "dst: bits set beyond the prefix length: \"10.0.0.1/8\"; try: 10.0.0.0/8",
        ),
        (
            "port http mode all",
            "port: not one of the numbers 0 to 65535 or a range of them: \"http\"",
        ),
        (
            "sport 1-65536 mode all",
            "sport: not one of the numbers 0 to 65535 or a range of them: \"1-65536\"",
        ),
        (
            "size 9-7 mode all",
            "size: the first is above the last: \"9-7\"",
        ),
        (
            "proto icmp mode all",
            "proto: neither tcp nor udp: \"icmp\"",
        ),
        (
            "dscp 64 mode all",
            "dscp: not a code point, 0 to 63 or a name such as ef, cs1, af41: \"64\"",
        ),
        (
            "priority high",
            "priority: not one of throughput, latency: \"high\"",
        ),
        (
            "mode two",
            "mode: not one of all, selected, single, protected, never: \"two\"",
        ),
        (
            "mode selected delay 80",
            "delay: not a time such as 100ms: \"80\"",
        ),
        (
            "mode selected delay 2h",
            "delay: not a time such as 100ms: \"2h\"",
        ),
        (
            "mode selected loss 101%",
            "loss: not a percentage from 0% to 100%: \"101%\"",
        ),
        (
            "mode selected delay 5000s",
            "delay: more than 4294s: \"5000s\"",
        ),
        (
            "mode selected rate 40gbit",
            "rate: more than 34gbit: \"40gbit\"",
        ),
        (
            "mode selected rate 3bit",
            "rate: too little to be told from nothing: \"3bit\"",
        ),
        (
            "mode selected rate 2mb",
            "rate: not a rate such as 2mbit: \"2mb\"",
        ),
        ("dev eth7", "dev: no such interface: \"eth7\""),
        (
            "dev eth0,eth0,eth0,eth0,eth0,eth0,eth0,eth0,eth0",
            "dev: more than 8 interfaces: \"eth0,eth0,eth0,eth0,eth0,eth0,eth0,eth0,eth0\"",
        ),
        (
            "number 0 mode all",
            "number: not the number of a rule, from 1 on: \"0\"",
        ),
        (
            "cgroup nosuch.slice mode all",
            "cgroup: no such control group of version 2: \"nosuch.slice\"",
        ),
        (
            "cgroup 0 mode all",
            "cgroup: no such control group of version 2: \"0\"",
        ),
        ("ordered yes", "ordered: not one of off, on: \"yes\""),
        ("mode", "mode: the value is missing"),
        ("mode all mode all", "mode: given twice"),
        (
            "port 22",
            "rule: says nothing of what to do; give priority, mode, dev or ordered",
        ),
        (
            "colour red",
            "rule: unknown name: \"colour\"; names are dst, src, port, sport, proto, size, dscp, \
             uid, cgroup, priority, mode, delay, loss, rate, cost, dev, ordered, number",
        ),
    ] {
        let got = error(&format!("mpipctl rule add {words}"), Kernel::new());
        assert_eq!(got, format!("1 {message}\n"), "{words}");
    }
    assert_data_eq!(
        error("mpipctl rule delete first", Kernel::new()),
        str![[r#"
1 rule: not the number of a rule, from 1 on: "first"

"#]]
    );
}

#[test]
fn refusals() {
    let kernel = Kernel::new().answer(
        CMD_RULE_ADD,
        vec![refusal(
            22,
            &[
                string(1, "mode selected needs a limit of delay, loss or rate"),
                u32(2, 20),
            ],
        )],
    );
    assert_data_eq!(
        error("mpipctl rule add mode selected", kernel),
        str![[r#"
2 rule "mode selected": the kernel refused: rule.mode: mode selected needs a limit of delay, loss or rate: Invalid argument

"#]]
    );
}

#[test]
fn delete_and_flush() {
    let kernel = Kernel::new().answer(CMD_RULE_DEL, vec![ack()]);
    let requests = kernel.requests();
    assert_eq!(run("mpipctl rule del 7", kernel), "");
    assert_eq!(requests.lock().unwrap()[0][4..], u32(RULE_NUMBER, 7));
    let kernel = Kernel::new().answer(CMD_RULE_FLUSH, vec![ack()]);
    assert_eq!(run("mpipctl rule flush", kernel), "");
}

/// What `rule change` sends for a rule: its attributes without those of the draft.
fn changed(line: &str) -> Vec<Vec<u8>> {
    let kernel = rules()
        .answer(CMD_RULE_DRAFT, vec![ack()])
        .answer(CMD_RULE_DEL, vec![ack()])
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_COMMIT, vec![ack()]);
    let requests = kernel.requests();
    assert_eq!(run(line, kernel), "");
    let requests = requests.lock().unwrap();
    let commands: Vec<u8> = requests.iter().map(|request| request[0]).collect();
    let expected = [
        CMD_RULE_DRAFT,
        CMD_RULE_GET,
        CMD_RULE_DEL,
        CMD_RULE_ADD,
        CMD_RULE_COMMIT,
    ];
    assert_eq!(commands, expected.map(|command| command.number));
    let draft = &requests[0][4..];
    let of = |at: usize| {
        let request: &[u8] = &requests[at];
        request[4..].strip_suffix(draft).unwrap().to_vec()
    };
    vec![of(2), of(3)]
}

#[test]
fn change() {
    assert_eq!(
        changed("mpipctl rule change 1 port 80-90 dst * size any"),
        [
            u32(RULE_NUMBER, 1),
            [
                u8(RULE_PROTOCOL, 6),
                u16(RULE_DST_PORT_MIN, 80),
                u16(RULE_DST_PORT_MAX, 90),
                u32(RULE_NUMBER, 1),
                u32(RULE_PRIORITY, 1),
                u32(RULE_MODE, 0),
            ]
            .concat(),
        ]
    );
    // An interface that has gone stays, if nothing is said of interfaces.
    assert_eq!(
        changed("mpipctl rule c 2 number 3 mode all delay * loss * rate *")[1],
        [
            attr(RULE_SRC, &[10, 0, 0, 1]),
            u8(RULE_SRC_LEN, 32),
            u8(RULE_DSCP, 46),
            u16(RULE_SRC_PORT_MIN, 1024),
            u16(RULE_SRC_PORT_MAX, 65535),
            u32(RULE_NUMBER, 3),
            u32(RULE_PRIORITY, 0),
            u32(RULE_MODE, 0),
            attr(RULE_INTERFACES, &[3, 0, 0, 0, 9, 0, 0, 0]),
        ]
        .concat()
    );
    // What makes no sense is refused before the kernel is asked.
    for (words, message) in [
        (
            "0 port 22",
            "rule: not the number of a rule, from 1 on: \"0\"",
        ),
        ("1", "rule: nothing given; names are "),
        ("1 prot tcp", "rule: unknown name: \"prot\""),
        ("1 port", "port: the value is missing"),
        ("1 mode some", "mode: not one of "),
        (
            "1 number *",
            "number: not the number of a rule, from 1 on: \"*\"",
        ),
    ] {
        let said = error(&format!("mpipctl rule change {words}"), Kernel::new());
        assert!(said.starts_with(&format!("1 {message}")), "{words}: {said}");
    }
    let none = rules().answer(CMD_RULE_DRAFT, vec![ack()]).answer(
        CMD_RULE_DEL,
        vec![refusal(
            2,
            &[string(1, "there is no rule with this number")],
        )],
    );
    let said = error("mpipctl rule change 9 port 22", none);
    assert!(
        said.starts_with("2 rule \"9\": the kernel refused: there is no rule")
            && said.trim_end().ends_with("; try: mpipctl rule"),
        "{said}"
    );
}

fn rules() -> Kernel {
    Kernel::new().answer(
        CMD_RULE_GET,
        dump(&[
            vec![
                u32(RULE_NUMBER, 1),
                attr(RULE_DST, &[203, 0, 113, 0]),
                u8(RULE_DST_LEN, 24),
                u16(RULE_DST_PORT_MIN, 443),
                u16(RULE_DST_PORT_MAX, 443),
                u8(RULE_PROTOCOL, 6),
                u16(RULE_SIZE_MIN, 0),
                u16(RULE_SIZE_MAX, 1400),
                u32(RULE_PRIORITY, 1),
                u32(RULE_MODE, 0),
                u64(RULE_HITS, 81_234_567),
            ],
            vec![
                u32(RULE_NUMBER, 2),
                attr(RULE_SRC, &[10, 0, 0, 1]),
                u8(RULE_SRC_LEN, 32),
                u16(RULE_SRC_PORT_MIN, 1024),
                u16(RULE_SRC_PORT_MAX, 65535),
                u8(RULE_DSCP, 46),
                u32(RULE_PRIORITY, 0),
                u32(RULE_MODE, 1),
                u32(RULE_MAX_DELAY_US, 80_000),
                u32(RULE_MAX_LOSS, 25),
                u32(RULE_MIN_RATE, 187_500),
                attr(RULE_INTERFACES, &[3, 0, 0, 0, 9, 0, 0, 0]),
                u64(RULE_HITS, 0),
            ],
            vec![
                u32(RULE_NUMBER, 3),
                u32(RULE_UID_MIN, 1000),
                u32(RULE_UID_MAX, 1000),
                u32(RULE_PRIORITY, 0),
                u32(RULE_MODE, 0),
                u64(RULE_HITS, 5),
            ],
        ]),
    )
}

#[test]
fn show() {
    assert_data_eq!(
        run("mpipctl rule", rules()),
        str![[r#"
NUMBER RULE
1      dst 203.0.113.0/24 port 443 proto tcp size 0-1400 priority latency
2      src 10.0.0.1 sport 1024- dscp 46 mode selected delay 80ms loss 2.5% rate 1500kbit dev wwan0,if9
3      uid 1000 priority throughput

"#]]
    );
    assert_data_eq!(
        run("mpipctl -s rule show", rules()),
        str![[r#"
NUMBER HITS     RULE
1      81234567 dst 203.0.113.0/24 port 443 proto tcp size 0-1400 priority latency
2      0        src 10.0.0.1 sport 1024- dscp 46 mode selected delay 80ms loss 2.5% rate 1500kbit dev wwan0,if9
3      5        uid 1000 priority throughput

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j rule", rules()),
        str![[r#"
[{"number":1,"dst":"203.0.113.0","dst_len":24,"dst_port_min":443,"dst_port_max":443,"protocol":"tcp","size_min":0,"size_max":1400,"priority":"latency","mode":"all","hits":81234567},{"number":2,"src":"10.0.0.1","src_len":32,"src_port_min":1024,"src_port_max":65535,"dscp":46,"priority":"throughput","mode":"selected","max_delay_us":80000,"max_loss":25,"min_rate":187500,"interfaces":[3,9],"hits":0,"dev":["wwan0","if9"]},{"number":3,"uid_min":1000,"uid_max":1000,"priority":"throughput","mode":"all","hits":5}]

"#]]
    );
    let none = Kernel::new().answer(CMD_RULE_GET, dump(&[]));
    assert_eq!(run("mpipctl -j rule", none), "[]\n");
}

/// What is shown can be typed.
#[test]
fn what_is_shown_is_understood() {
    let shown = run("mpipctl -o rule", rules());
    let words: Vec<&str> = shown
        .lines()
        .map(|l| l.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(words.len(), 3);
    // The second one names an interface that has gone.
    for words in [words[0], words[2]] {
        sent(words);
    }
    sent(words[1].strip_suffix(",if9").unwrap());
}

/// The kernel keeps names, of interfaces that are there and of others.
#[test]
fn interfaces_by_name() {
    let rules = || {
        let rule = |number, more: &[Vec<u8>]| {
            let mut attrs = vec![
                u32(RULE_NUMBER, number),
                u32(RULE_PRIORITY, 0),
                u32(RULE_MODE, 2),
            ];
            attrs.extend(more.iter().cloned());
            attrs
        };
        let names = |list| string(RULE_INTERFACE_NAMES, list);
        Kernel::new().answer(
            CMD_RULE_GET,
            dump(&[
                rule(
                    1,
                    &[names("usb7 eth0"), attr(RULE_INTERFACES, &[2, 0, 0, 0])],
                ),
                rule(2, &[names("usb7")]),
            ]),
        )
    };
    assert_data_eq!(
        run("mpipctl rule", rules()),
        str![[r#"
NUMBER RULE
1      mode single dev usb7,eth0
2      mode single dev usb7

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j rule", rules()),
        str![[r#"
[{"number":1,"priority":"throughput","mode":"single","interfaces":[2],"dev":["usb7","eth0"]},{"number":2,"priority":"throughput","mode":"single","dev":["usb7"]}]

"#]]
    );
    // A change of something else keeps them.
    let kernel = rules()
        .answer(CMD_RULE_DRAFT, vec![ack()])
        .answer(CMD_RULE_DEL, vec![ack()])
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_COMMIT, vec![ack()]);
    let requests = kernel.requests();
    assert_eq!(run("mpipctl rule change 1 port 22", kernel), "");
    let requests = requests.lock().unwrap();
    let mut added = requests.iter().filter(|r| r[0] == CMD_RULE_ADD.number);
    let added = added.next().unwrap();
    let has = |attr: Vec<u8>| added.windows(attr.len()).any(|part| part == attr);
    assert!(has(string(RULE_INTERFACE_NAMES, "usb7 eth0")));
}

#[test]
fn load() {
    let text = "# our rules\n\nport 22 priority latency # ssh\n  mode single\n";
    let line = "mpipctl rule load /rules";
    let on = |kernel| Fake::new(kernel).file("/rules", text);
    let kernel = || {
        Kernel::new()
            .answer(CMD_RULE_DRAFT, vec![ack()])
            .answer(CMD_RULE_FLUSH, vec![ack()])
            .answer(CMD_RULE_COMMIT, vec![ack()])
            .answer(CMD_RULE_ADD, vec![ack()])
    };
    for replace in [false, true] {
        let kernel = kernel().answer(CMD_RULE_ADD, vec![ack()]);
        let requests = kernel.requests();
        let more = if replace { " --replace" } else { "" };
        let ran = try_run_on(&format!("{line}{more}"), on(kernel));
        ran.result.unwrap();
        assert_eq!((ran.text, ran.warnings), (String::new(), vec![]));
        let requests = requests.lock().unwrap();
        let (add, flush) = (CMD_RULE_ADD.number, CMD_RULE_FLUSH.number);
        let mut commands = vec![
            CMD_RULE_DRAFT.number,
            flush,
            add,
            add,
            CMD_RULE_COMMIT.number,
        ];
        commands.retain(|command| replace || *command != flush);
        let sent: Vec<_> = requests.iter().map(|request| request[0]).collect();
        assert_eq!(sent, commands);
        // All of them name the draft.
        let draft = &requests[0][4..];
        assert_eq!(draft[..4], u32(RULE_DRAFT, 0)[..4]);
        assert!(requests.iter().all(|request| request.ends_with(draft)));
        let last = &requests[commands.len() - 2][4..];
        assert_eq!(last[..last.len() - draft.len()], u32(RULE_MODE, 2));
    }

    let kernel = kernel().answer(CMD_RULE_ADD, vec![refusal(28, &[string(1, "full")])]);
    let ran = try_run_on(line, on(kernel));
    assert_eq!(
        ran.warnings,
        ["/rules:4: refused; the rules are as they were"]
    );
    let refused = ran.result.unwrap_err();
    assert_eq!(refused.exit_status(), 2);
    assert_eq!(
        refused.to_string(),
        "/rules:4: the kernel refused: full: No space left on device"
    );

    // Somebody else had a draft of his own meanwhile: once more.
    let taken = || refusal(11, &[string(1, "others have changed it"), u32(2, 20)]);
    let kernel = Kernel::new()
        .answer(CMD_RULE_DRAFT, vec![ack()])
        .answer(CMD_RULE_DRAFT, vec![ack()])
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_ADD, vec![ack()])
        .answer(CMD_RULE_COMMIT, vec![taken()])
        .answer(CMD_RULE_COMMIT, vec![ack()]);
    try_run_on(line, on(kernel)).result.unwrap();

    // Nothing is sent unless all make sense.
    let wrong = format!("{text}port 0x16 mode all\n");
    let wrong = Fake::new(Kernel::new()).file("/rules", &wrong);
    assert_eq!(
        try_run_on(line, wrong).result.unwrap_err().to_string(),
        "/rules:5: port: not one of the numbers 0 to 65535 or a range of them: \"0x16\""
    );
    let gone = error(line, Kernel::new());
    assert!(gone.starts_with("1 cannot read \"/rules\": "), "{gone}");
}
