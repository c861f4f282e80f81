// SPDX-License-Identifier: GPL-2.0

//! The program itself: usage, help, exit status. Nothing here needs the module.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use clap::CommandFactory;
use clap::Parser;
use mpipctl::cli::Cli;
use snapbox::cmd::cargo_bin;
use snapbox::cmd::Command;
use snapbox::str;

fn mpipctl(line: &str) -> Command {
    Command::new(cargo_bin!("mpipctl")).args(line.split_whitespace())
}

#[test]
fn version() {
    let version = concat!("mpipctl ", env!("CARGO_PKG_VERSION"), "\n");
    mpipctl("-V").assert().success().stdout_eq(version);
}

#[test]
fn help() {
    mpipctl("--help").assert().success().stdout_eq(str![[r#"
Control and inspect MPIP, multipath transmission at the IP layer

Usage: mpipctl [OPTIONS] [OBJECT]

Objects:
  status      Show the state of MPIP in the network namespace
  enable      Enable MPIP in the network namespace
  disable     Disable MPIP in the network namespace; its sessions end
  peer        Peers and their addresses
  session     Sessions and how many of their paths are active; -d shows each path
  path        Paths, with delays and weights
  stats       Counters
  param       Parameters
  rule        Rules: which packets take which paths
  interface   Interfaces of this host (also `iface`): which are backups, what they cost and may carry
  avail       Destinations and whether they speak MPIP
  monitor     Show what happens to peers, paths and addresses, as it happens
  top         Show paths and sessions as they are now, on the whole screen
  ask         Prefixes that are asked when the parameter `ask` is `listed`
  psk         The pre-shared key, without which nobody becomes a peer of who has it
  config      Configuration files: what holds after each start of the machine
  doctor      Check what MPIP needs of this host, and say how to mend what is wrong
  completion  Write what a shell needs to complete command lines
  help        Print this message or the help of the given subcommand(s)

Options:
  -j, --json          Write JSON, in the kernel's units
  -p, --pretty        Write JSON for people to read
  -s, --statistics    Show statistics as well
  -d, --details       Show more details
  -o, --oneline       Write each record on one line, without a header
  -n, --netns <NAME>  Act in the network namespace NAME: one of `ip netns`, a process id, or a path
      --color <WHEN>  Use colours: always, never, or auto: on a terminal, unless NO_COLOR is set
  -b, --batch <FILE>  Run the commands in FILE, one a line, - for standard input; the first that fails ends it
  -h, --help          Print help
  -V, --version       Print version

Without OBJECT the status is shown; without a verb an object is shown. Names of objects and verbs
may be abbreviated while they are unambiguous.

Exit status: 0 success, 1 wrong usage or bad value, 2 refused by the kernel, 3 no mpip module,
4 doctor found a failure.

"#]]);
    mpipctl("param set -h")
        .assert()
        .success()
        .stdout_eq(str![[r#"
Change one

Usage: mpipctl param set [OPTIONS] <NAME> <VALUE>

Arguments:
  <NAME>   Name of a parameter
  <VALUE>  A number in the parameter's unit, a number with a unit (100ms, 2s, 64k) or the name of a choice. k, M and G are powers of 1024 for bytes and of 1000 otherwise

Options:
  -j, --json          Write JSON, in the kernel's units
  -p, --pretty        Write JSON for people to read
  -s, --statistics    Show statistics as well
  -d, --details       Show more details
  -o, --oneline       Write each record on one line, without a header
  -n, --netns <NAME>  Act in the network namespace NAME: one of `ip netns`, a process id, or a path
      --color <WHEN>  Use colours: always, never, or auto: on a terminal, unless NO_COLOR is set
  -h, --help          Print help

"#]]);
}

#[test]
fn help_of_objects() {
    mpipctl("path -h").assert().success().stdout_eq(str![[r#"
Paths, with delays and weights

Usage: mpipctl path [OPTIONS] [VERB]

Verbs:
  show  List them, or only some; -d shows what is set
  set   Change what is wanted of one; what is not given stays
  help  Print this message or the help of the given subcommand(s)

Options:
  -j, --json          Write JSON, in the kernel's units
  -p, --pretty        Write JSON for people to read
  -s, --statistics    Show statistics as well
  -d, --details       Show more details
  -o, --oneline       Write each record on one line, without a header
  -n, --netns <NAME>  Act in the network namespace NAME: one of `ip netns`, a process id, or a path
      --color <WHEN>  Use colours: always, never, or auto: on a terminal, unless NO_COLOR is set
  -h, --help          Print help

"#]]);
    mpipctl("ask -h").assert().success().stdout_eq(str![[r#"
Prefixes that are asked when the parameter `ask` is `listed`

Usage: mpipctl ask [OPTIONS] [VERB]

Verbs:
  show  List them
  add   Add one
  del   Remove one
  help  Print this message or the help of the given subcommand(s)

Options:
  -j, --json          Write JSON, in the kernel's units
  -p, --pretty        Write JSON for people to read
  -s, --statistics    Show statistics as well
  -d, --details       Show more details
  -o, --oneline       Write each record on one line, without a header
  -n, --netns <NAME>  Act in the network namespace NAME: one of `ip netns`, a process id, or a path
      --color <WHEN>  Use colours: always, never, or auto: on a terminal, unless NO_COLOR is set
  -h, --help          Print help

"#]]);
}

fn written(line: &str) -> String {
    let output = mpipctl(line).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for words of which the last one is to be completed.
fn offered(script: &str, words: &str) -> Vec<String> {
    let last = words.rsplit(' ').next().unwrap();
    let count = words.split(' ').count() - 1;
    let ask = format!(
        "{script}\nCOMP_WORDS=({words}) COMP_CWORD={count}\n\
         _clap_complete_mpipctl mpipctl {last} x\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = std::process::Command::new("bash")
        .args(["--norc", "-c", &ask])
        .env("PATH", path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.split_whitespace().map(str::to_string).collect()
}

/// Where shells find the program.
fn path() -> String {
    let folder = cargo_bin!("mpipctl").parent().unwrap();
    let others = std::env::var("PATH").unwrap_or_default();
    format!("{}:{others}", folder.display())
}

/// What the program tells a shell, of which only the words count.
fn told(shell: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new(cargo_bin!("mpipctl"))
        .env("MPIPCTL_COMPLETE", shell)
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_IFS", "\n")
        .arg("--")
        .args(words)
        .assert()
        .success();
    let said = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let words = said
        .lines()
        .map(|line| line.split(['\t', ':']).next().unwrap().to_string());
    words.collect()
}

/// The commands below one, but for those that are not for people.
fn below(command: &clap::Command) -> Vec<&clap::Command> {
    let all = command.get_subcommands();
    all.filter(|c| !c.is_hide_set() && c.get_name() != "help")
        .collect()
}

#[test]
fn completion_in_bash() {
    let script = written("completion bash");
    for (words, expected) in [
        ("mpipctl pe", "peer"),
        ("mpipctl param s", "show set"),
        ("mpipctl completion ''", "bash zsh fish"),
        ("mpipctl stats --p", "--prometheus"),
        ("mpipctl rule load --r", "--replace"),
        ("mpipctl rule add m", "mode"),
        (
            "mpipctl rule add port 22 mode ''",
            "all selected single protected never",
        ),
        ("mpipctl rule add mode single pr", "proto priority"),
        ("mpipctl path set 1 state s", "standby"),
        ("mpipctl monitor path-", "path-up path-down path-suspect"),
        ("mpipctl top --sort i", "idle"),
        ("mpipctl interface set wwan0 backup o", "on off"),
        ("mpipctl psk set Cargo.t", "Cargo.toml"),
    ] {
        let offered = offered(&script, words);
        for word in expected.split(' ') {
            assert!(offered.iter().any(|w| w == word), "{words}: {offered:?}");
        }
    }
    let given = offered(&script, "mpipctl rule add mode single m");
    assert_eq!(given, [""; 0], "what was given is not offered again");
}

/// Every object and every verb, in every shell.
#[test]
fn completion_is_complete() {
    let cli = Cli::command();
    for shell in ["bash", "zsh", "fish"] {
        let objects = told(shell, &["mpipctl", ""]);
        for object in below(&cli) {
            let name = object.get_name();
            assert!(objects.iter().any(|word| word == name), "{shell}: {name}");
            let verbs = told(shell, &["mpipctl", name, ""]);
            for verb in below(object) {
                let verb = verb.get_name();
                assert!(
                    verbs.iter().any(|word| word == verb),
                    "{shell}: {name} {verb}"
                );
            }
        }
    }
}

/// The commands of a document, from the name of the program on.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("$ ");
        let line = line.trim_start_matches("sudo ");
        let line = line.trim_start_matches("(umask 077; ");
        let is_one = line.strip_prefix("mpipctl")?.starts_with([' ', '\0']);
        let end = line.find(['#', '>', '|', '&', ')', ';', '`', '…', '[', '<']);
        is_one.then(|| line[..end.unwrap_or(line.len())].trim().to_string())
    });
    lines.collect()
}

/// What documents show can be typed, and names parameters that there are.
#[test]
fn documents_are_right() {
    let names = written("man 5");
    let mut count = 0;
    for file in [
        "README.md",
        "../README.md",
        "../docs/quickstart.md",
        "../docs/cookbook.md",
        "../docs/protocol.md",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(path).unwrap();
        // Prose that begins a line with the program's name is no command.
        let mut is_code = false;
        let lines = text.lines().filter(|line| {
            is_code ^= line.starts_with("```");
            is_code || line.starts_with("    ")
        });
        for line in commands(&lines.collect::<Vec<_>>().join("\n")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{file}: {line}: {}", parsed.unwrap_err());
            if let Some(at) = words.windows(2).position(|pair| pair == ["param", "set"]) {
                let name = format!("\\fB{}\\fR = ", words[at + 2]);
                assert!(names.contains(&name), "{file}: {line}");
            }
            count += 1;
        }
    }
    assert!(count > 80, "only {count} commands");
}

#[test]
fn completion_in_other_shells() {
    assert!(written("completion zsh").starts_with("#compdef mpipctl\n"));
    assert!(written("comp fish").contains("complete --keep-order --exclusive --command mpipctl"));
    mpipctl("completion tcsh").assert().code(1);
}

#[test]
fn manual_page() {
    assert!(written("man").contains(".TH mpipctl 8"));
}

/// What a program that has failed leaves is no configuration, nor is what a batch has left of its own
/// file.
#[test]
fn empty_standard_input() {
    mpipctl("config check -f -")
        .stdin("")
        .assert()
        .code(1)
        .stderr_eq(
            "Error: standard input is empty; a configuration without anything has a remark\n",
        );
    mpipctl("config check -f -")
        .stdin("# nothing\n")
        .assert()
        .success();
    mpipctl("-b -")
        .stdin("config check -f -\n")
        .assert()
        .code(1)
        .stderr_eq(
            "Error: standard input:1: cannot read \"-\": standard input was read before, and has nothing more\n",
        );
}

/// Whoever reads the output may stop early.
#[test]
fn closed_output() {
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let status = std::process::Command::new(cargo_bin!("mpipctl"))
        .arg("--help")
        .stdout(OwnedFd::from(writer))
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn unknown_object() {
    mpipctl("pth")
        .assert()
        .code(1)
        .stdout_eq("")
        .stderr_eq(str![[r#"
Error: unrecognized subcommand 'pth'

  tip: a similar subcommand exists: 'path'

Usage: mpipctl [OPTIONS] [OBJECT]

For more information, try '--help'.

"#]]);
}

#[test]
fn ambiguous_verb() {
    mpipctl("param s").assert().code(1).stderr_eq(str![[r#"
Error: unrecognized subcommand 's'

  tip: some similar subcommands exist: 'show', 'set'

Usage: mpipctl param [OPTIONS] [VERB]

For more information, try '--help'.

"#]]);
}

#[test]
fn missing_value() {
    mpipctl("param set ask")
        .assert()
        .code(1)
        .stderr_eq(str![[r#"
Error: the following required arguments were not provided:
  <VALUE>

Usage: mpipctl param set <NAME> <VALUE>

For more information, try '--help'.

"#]]);
}

/// Bad values are found before the kernel is asked.
#[test]
fn bad_prefix() {
    mpipctl("ask add 203.0.113.999")
        .assert()
        .code(1)
        .stdout_eq("")
        .stderr_eq(str![[r#"
Error: ask: not an IP address or prefix: "203.0.113.999"

"#]]);
}

#[test]
fn unknown_namespace() {
    mpipctl("-n no-such-namespace status")
        .assert()
        .code(1)
        .stderr_eq(str![[r#"
Error: network namespace "no-such-namespace": neither in /var/run/netns nor a process; try: ip netns list

"#]]);
}

#[test]
fn module_absent() {
    if Path::new("/sys/module/mpip").exists() {
        return;
    }
    for line in [
        "",
        "status",
        "-j session",
        "enable",
        "ask add 10.0.0.0/8",
        "monitor",
    ] {
        mpipctl(line)
            .assert()
            .code(3)
            .stdout_eq("")
            .stderr_eq("Error: generic netlink family \"mpip\" not found; try: modprobe mpip\n");
    }
}
