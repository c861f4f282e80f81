// SPDX-License-Identifier: GPL-2.0

//! `psk`: the key goes to the kernel, and nowhere else.

mod common;

use clap::Parser;
use common::*;
use mpipctl::cli::Cli;
use mpipctl::cmd;
use mpipctl::cmd::Context;
use mpipctl::nl::uapi::*;
use snapbox::assert_data_eq;
use snapbox::str;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What a command says, or its exit status and message.
fn told(line: &str, system: &Fake) -> Result<String, (u8, String)> {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let mut out = Vec::new();
    let mut context = Context::new(cli.options, system, &mut out);
    let done = cmd::run(cli.object, &mut context);
    done.map_err(|error| (error.exit_status(), error.to_string()))?;
    Ok(String::from_utf8(out).unwrap())
}

fn state(enabled: u8, has_psk: u8) -> Answer {
    let attrs = [u8(NODE_ENABLED, enabled), u8(NODE_HAS_PSK, has_psk)];
    vec![reply(0, &attrs), ack()]
}

fn node(has_psk: u8) -> Fake {
    Fake::new(Kernel::new().answer(CMD_GET, state(1, has_psk)))
}

#[test]
fn only_whether_there_is_one_is_told() {
    let show = |line, has| told(line, &node(has)).unwrap();
    assert_eq!(show("mpipctl psk", 1), "pre-shared key: set\n");
    assert_eq!(show("mpipctl psk show", 0), "pre-shared key: none\n");
    assert_eq!(show("mpipctl -j psk", 1), "{\"set\":true}\n");
    // A module that knows of none has none.
    let attrs = [u8(NODE_ENABLED, 1)];
    let old = Fake::new(Kernel::new().answer(CMD_GET, vec![reply(0, &attrs), ack()]));
    assert_eq!(told("mpipctl psk", &old).unwrap(), "pre-shared key: none\n");
}

#[test]
fn what_is_generated_can_be_set() {
    let text = told("mpipctl psk generate", &Fake::new(Kernel::new())).unwrap();
    assert_eq!(text, format!("{KEY}\n"));
    for (line, file) in [
        ("mpipctl psk set /etc/mpip/psk", "/etc/mpip/psk"),
        ("mpipctl psk set -", "-"),
    ] {
        let kernel = Kernel::new()
            .answer(CMD_GET, state(1, 0))
            .answer(CMD_SET, vec![ack()]);
        let requests = kernel.requests();
        assert_eq!(
            told(line, &Fake::new(kernel).file(file, &text)).unwrap(),
            ""
        );
        let bytes: Vec<u8> = (0..32).collect();
        assert_eq!(requests.lock().unwrap()[1][4..], attr(NODE_PSK, &bytes));
    }
}

#[test]
fn clear_sends_zeros() {
    for verb in ["clear", "del"] {
        let kernel = Kernel::new()
            .answer(CMD_GET, state(1, 0))
            .answer(CMD_SET, vec![ack()]);
        let requests = kernel.requests();
        let line = format!("mpipctl psk {verb}");
        assert_eq!(told(&line, &Fake::new(kernel)).unwrap(), "");
        assert_eq!(requests.lock().unwrap()[1][4..], attr(NODE_PSK, &[0; 32]));
    }
}

#[test]
fn no_message_quotes_a_key() {
    let set = |text: &str| {
        let system = Fake::new(Kernel::new()).file("key", text);
        let (status, message) = told("mpipctl psk set key", &system).unwrap_err();
        assert_eq!(status, 1);
        message
    };
    assert_data_eq!(
        set(&KEY[1..]),
        str![[
            r#"psk: "key": 63 hexadecimal digits instead of 64 hexadecimal digits; try: mpipctl psk generate"#
        ]]
    );
    assert_data_eq!(
        set(&KEY.replace('f', "x")),
        str![[
            r#"psk: "key": 64 characters instead of 64 hexadecimal digits; try: mpipctl psk generate"#
        ]]
    );
    assert_data_eq!(
        set(&"0".repeat(64)),
        str![[r#"psk: "key": all zeros, which stands for no key; try: mpipctl psk generate"#]]
    );
    let (status, message) = told("mpipctl psk set nowhere", &Fake::new(Kernel::new())).unwrap_err();
    assert!(
        status == 1 && message.starts_with("psk: cannot read \"nowhere\": "),
        "{message}"
    );
    let kernel = Kernel::new()
        .answer(CMD_GET, state(1, 1))
        .answer(CMD_SET, vec![refusal(1, &[])])
        .answer(CMD_GET, state(1, 1));
    let (status, message) = told("mpipctl psk clear", &Fake::new(kernel)).unwrap_err();
    assert!(
        status == 2 && message.contains("not permitted"),
        "{message}"
    );
}

/// The old key is not known: what can be put back is that MPIP is on.
#[test]
fn mpip_is_not_left_off() {
    const NO_MEMORY: i32 = 12;
    let failing = |was_on: u8| {
        Kernel::new()
            .answer(CMD_GET, state(was_on, 0))
            .answer(CMD_SET, vec![refusal(NO_MEMORY, &[])])
            .answer(CMD_GET, state(0, 1))
    };
    let set = |kernel: Kernel| {
        let requests = kernel.requests();
        let ran = try_run_on("mpipctl psk set key", Fake::new(kernel).file("key", KEY));
        let result = ran
            .result
            .map_err(|error| (error.exit_status(), error.to_string()));
        let requests = requests.lock().unwrap();
        let sent: Vec<u8> = requests.iter().map(|request| request[0]).collect();
        (result, ran.warnings, sent)
    };
    let [get, set_] = [CMD_GET.number, CMD_SET.number];

    let kernel = failing(1)
        .answer(CMD_SET, vec![ack()])
        .answer(CMD_GET, state(1, 1));
    let (result, warnings, sent) = set(kernel);
    assert_eq!(result, Ok(()));
    assert_eq!(sent, [get, set_, get, set_, get]);
    assert_data_eq!(
        warnings.join("\n"),
        str!["MPIP did not begin anew at once, and was enabled again: the kernel refused: Cannot allocate memory"]
    );

    let kernel = failing(1).answer(CMD_SET, vec![refusal(NO_MEMORY, &[])]);
    let (result, warnings, _) = set(kernel);
    let (status, message) = result.unwrap_err();
    assert_eq!((status, warnings.len()), (2, 0));
    assert_data_eq!(
        message,
        str!["the kernel refused: Cannot allocate memory; MPIP has ended and could not begin anew: it is off; try: mpipctl enable"]
    );

    // On again, but without the new key: that it failed counts.
    let kernel = failing(1)
        .answer(CMD_SET, vec![ack()])
        .answer(CMD_GET, state(1, 0));
    let (result, ..) = set(kernel);
    assert_eq!(
        result,
        Err((2, "the kernel refused: Cannot allocate memory".to_string()))
    );

    // Who had it off wants it off.
    let (result, _, sent) = set(failing(0));
    assert_eq!(result.unwrap_err().0, 2);
    assert_eq!(sent, [get, set_]);
}

#[test]
fn others_should_not_be_able_to_read_it() {
    for (mode, warned) in [
        (0o600, false),
        (0o400, false),
        (0o711, false),
        (0o640, true),
        (0o604, true),
        (0o620, true),
    ] {
        let kernel = Kernel::new()
            .answer(CMD_GET, state(1, 0))
            .answer(CMD_SET, vec![ack()]);
        let system = Fake::new(kernel).file("my_key", KEY).mode("my_key", mode);
        let ran = try_run_on("mpipctl psk set my_key", system);
        ran.result.unwrap();
        let text = format!(
            "psk: \"my_key\": its mode {mode:03o} lets others than its owner have the key; \
             try: chmod 600 my_key"
        );
        let expected: Vec<String> = warned.then_some(text).into_iter().collect();
        assert_eq!(ran.warnings, expected, "{mode:o}");
    }
}
