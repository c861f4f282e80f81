// SPDX-License-Identifier: GPL-2.0

//! Commands from a file, and colours.

mod common;

use clap::Parser;
use common::*;
use mpipctl::cli::Cli;
use mpipctl::cmd;
use mpipctl::cmd::Context;
use mpipctl::nl::uapi::*;
use mpipctl::Error;

/// What a batch wrote, and how it ended.
fn batch(line: &str, file: &str, kernel: Kernel) -> (String, Result<(), Error>) {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let system = Fake::new(kernel).file(cli.batch.as_ref().unwrap(), file);
    let mut out = Vec::new();
    let mut context = Context::new(cli.options, &system, &mut out);
    let result = cmd::batch::run(&mut context, &cli.batch.unwrap());
    (String::from_utf8(out).unwrap(), result)
}

fn node() -> Answer {
    let node = [string(NODE_VERSION, "0.1.0"), u8(NODE_ENABLED, 1)];
    vec![reply(0, &node), ack()]
}

#[test]
fn lines_are_run_one_after_the_other() {
    let kernel = Kernel::new()
        .answer(CMD_SET, vec![ack()])
        .answer(CMD_GET, node())
        .answer(CMD_PATH_GET, vec![done(0)]);
    let file = "# switch it on\nenable\n\n  stat -j # a word\npath list -o\n";
    let file = file.replace("stat ", "status ");
    let (text, result) = batch("mpipctl -b some.batch", &file, kernel);
    result.unwrap();
    assert_eq!(
        text,
        "{\"version\":\"0.1.0\",\"enabled\":true,\"netns\":\"init\"}\n"
    );
}

#[test]
fn common_options_hold_for_all_lines() {
    let kernel = Kernel::new()
        .answer(CMD_PATH_GET, vec![done(0)])
        .answer(CMD_PEER_GET, vec![done(0)]);
    let (text, result) = batch("mpipctl -j -b some.batch", "path\npeer", kernel);
    result.unwrap();
    assert_eq!(text, "[]\n[]\n");
}

/// A mistake in the last line is found before the first one is run.
#[test]
fn a_mistake_changes_nothing() {
    let kernel = Kernel::new();
    let requests = kernel.requests();
    let (text, result) = batch("mpipctl -b some.batch", "enable\npth\n", kernel);
    let error = result.unwrap_err();
    assert_eq!(error.exit_status(), 1);
    assert_eq!(
        error.to_string(),
        "some.batch:2: unrecognized subcommand 'pth'\n\n  tip: a similar subcommand exists: 'path'"
    );
    assert_eq!((text.as_str(), requests.lock().unwrap().len()), ("", 0));
}

#[test]
fn the_first_failure_ends_it() {
    let kernel = Kernel::new().answer(CMD_SET, vec![refusal(1, &[])]);
    let requests = kernel.requests();
    let (_, result) = batch("mpipctl -b some.batch", "disable\nenable\n", kernel);
    let error = result.unwrap_err();
    assert_eq!(error.exit_status(), 2);
    let said = error.to_string();
    assert!(said.starts_with("some.batch:1: "), "{said}");
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[test]
fn a_file_that_is_not_there() {
    let cli = Cli::try_parse_from(["mpipctl", "-b", "none"]).unwrap();
    let system = Fake::new(Kernel::new());
    let mut out = Vec::new();
    let error = cmd::batch::run(&mut Context::new(cli.options, &system, &mut out), "none");
    let error = error.unwrap_err();
    assert_eq!(error.exit_status(), 1);
    let said = error.to_string();
    assert!(said.starts_with("-b: cannot read \"none\": "), "{said}");
}

#[test]
fn status_has_a_color() {
    for (enabled, state) in [
        (1, "\x1b[32menabled\x1b[0m"),
        (0, "\x1b[33mdisabled\x1b[0m"),
    ] {
        let node = [string(NODE_VERSION, "0.1.0"), u8(NODE_ENABLED, enabled)];
        let kernel = Kernel::new().answer(CMD_GET, vec![reply(0, &node), ack()]);
        let (text, result) = batch("mpipctl --color always -b x", "status", kernel);
        result.unwrap();
        assert!(
            text.starts_with(&format!("mpip 0.1.0 {state}  netns")),
            "{text}"
        );
    }
}

#[test]
fn colors_when_they_are_asked_for() {
    let path = [
        u8(PATH_ID, 1),
        u64(PATH_PEER, 0x42),
        u32(PATH_STATE, 1),
        u32(PATH_WEIGHT, 620),
    ];
    for (option, colored) in [
        ("", false),
        ("--color=always", true),
        ("--color=never", false),
    ] {
        let kernel = Kernel::new().answer(CMD_PATH_GET, dump(&[path.to_vec()]));
        let line = format!("path -o {option}");
        let (text, result) = batch("mpipctl -b some.batch", &line, kernel);
        result.unwrap();
        let state = if colored {
            "\x1b[32mactive\x1b[0m"
        } else {
            "active"
        };
        assert_eq!(text, format!("1 - - - 620 - - {state}\n"), "{option}");
    }
}
