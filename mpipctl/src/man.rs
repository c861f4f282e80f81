// SPDX-License-Identifier: GPL-2.0

//! The manual pages: mpipctl(8), made from the grammar of the command line, and mpip(5).

mod file;

use std::io;
use std::io::Write;

use clap::Arg;
use clap::Command;
use clap::CommandFactory;
use clap_mangen::roff::bold;
use clap_mangen::roff::italic;
use clap_mangen::roff::roman;
use clap_mangen::roff::Inline;
use clap_mangen::roff::Roff;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::error::STATUSES;

/// Commands, and what each does. A test has them all parsed.
const EXAMPLES: &[(&str, &str)] = &[
    ("mpipctl", "Say in one line how things are."),
    ("mpipctl -s path", "Show all paths with their traffic."),
    (
        "mpipctl -n blue -d session",
        "Show the sessions of the network namespace blue, and how each uses its paths.",
    ),
    (
        "mpipctl session show tcp :443",
        "Show the sessions of TCP with port 443 at either end.",
    ),
    (
        "mpipctl param set scheduler weighted",
        "Share packets out by Algorithm 1 of the paper.",
    ),
    (
        "mpipctl param set ask listed",
        "Look for MPIP only where it was said to be.",
    ),
    (
        "mpipctl ask add 192.0.2.0/24",
        "It may be there: ask these hosts.",
    ),
    (
        "mpipctl interface set wwan0 backup on budget 2G period 30d",
        "Use the modem only when nothing else works, and for 2 GiB in 30 days.",
    ),
    (
        "mpipctl path set 1 state standby",
        "Use this path only when nothing else works, until it goes; mpipctl path shows the ids.",
    ),
    (
        "mpipctl interface set wlan0 power 1076mW",
        "Say what Wi-Fi draws in use, for param set energy on; the paper on mobile MPTCP has it at 1076 mW and 3G at 1069 mW.",
    ),
    (
        "mpipctl -j monitor path",
        "Write a line of JSON whenever something happens to a path.",
    ),
    (
        "mpipctl top",
        "Watch paths and sessions: rates, delays, weights and losses as moving graphs; h shows the keys.",
    ),
    (
        "mpipctl -j top -i 10",
        "Write a line of JSON with what happened in each 10 seconds.",
    ),
    (
        "mpipctl -b /etc/mpip.batch",
        "Run the commands in a file, after all its lines were understood.",
    ),
    (
        "mpipctl -d stats --prometheus",
        "Write all numbers there are in the text format of Prometheus.",
    ),
    (
        "mpipctl config save",
        "Keep what was set for the next start of the machine.",
    ),
    (
        "mpipctl config diff -f new.toml",
        "Say what would change with that file.",
    ),
    (
        "mpipctl doctor",
        "Look for what keeps MPIP from using all paths, and say how to mend it.",
    ),
    (
        "mpipctl completion bash",
        "Write what bash needs to complete such command lines.",
    ),
];

/// Writes the page of a section: mpip(5), else mpipctl(8).
pub fn write(out: &mut dyn Write, section: u8) -> io::Result<()> {
    match section {
        5 => file::write(out),
        _ => write_tool(out),
    }
}

fn write_tool(out: &mut dyn Write) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone()).section("8").manual("MPIP");
    man.render_title(out)?;
    man.render_name_section(out)?;
    let mut page = Roff::new();
    page.control("SH", ["SYNOPSIS"]);
    page.text([
        bold("mpipctl"),
        roman(" ["),
        italic("OPTION"),
        roman(" ...] ["),
        italic("OBJECT"),
        roman(" ["),
        italic("VERB"),
        roman(" [...]]]"),
    ]);
    page.control("br", []);
    page.text([
        bold("mpipctl"),
        roman(" ["),
        italic("OPTION"),
        roman(" ...] "),
        bold("-b"),
        roman(" "),
        italic("FILE"),
    ]);
    description(&mut page);
    page.to_writer(out)?;
    man.render_options_section(out)?;

    let mut page = Roff::new();
    page.control("SH", ["OBJECTS"]);
    for object in visible(&command) {
        describe(&mut page, object, vec![bold(object.get_name())], &command);
    }
    environment(&mut page);
    files(&mut page);
    exit_status(&mut page);
    examples(&mut page);
    see_also(&mut page);
    page.to_writer(out)
}

fn description(page: &mut Roff) {
    page.control("SH", ["DESCRIPTION"]);
    for text in [
        "mpipctl shows and steers MPIP, which sends the packets of one TCP connection or one UDP flow \
         over several paths between two hosts. MPIP is a module of the Linux kernel; mpipctl speaks \
         its generic netlink family.",
        "Without an object the status is shown; without a verb an object is shown. Names of objects \
         and verbs may be abbreviated while they are unambiguous, list and ls mean show, and options \
         may stand before or after the object. What belongs to the kernel is kept for each network \
         namespace, and is gone when the module is unloaded.",
        "Everybody may see status, stats, param, ask and interface. Whatever shows addresses of \
         others, and all that changes something, needs CAP_NET_ADMIN in the network namespace; \
         -n needs CAP_SYS_ADMIN. root has both.",
    ] {
        page.control("PP", []);
        page.text([roman(text)]);
    }
}

/// The commands below one that are for people.
fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let all = command.get_subcommands();
    all.filter(|c| !c.is_hide_set() && c.get_name() != "help")
}

/// One paragraph for a command with its own arguments, then those for its verbs.
fn describe(page: &mut Roff, command: &Command, mut words: Vec<Inline>, above: &Command) {
    let own = own_arguments(command, above);
    let prefix = words.clone();
    // What is done without a verb is not told twice.
    let is_plain =
        |verb: &Command| verb.get_name() == "show" && own_arguments(verb, command).is_empty();
    if visible(command).any(is_plain) {
        words.extend(show());
    }
    for arg in &own {
        words.push(roman(" "));
        words.extend(synopsis(arg));
    }
    page.control("TP", []);
    page.text(words);
    let about = command.get_about().map(ToString::to_string);
    page.text([roman(sentence(about.unwrap_or_default()))]);
    // What --help tells beyond that begins with the same line.
    let more = command.get_long_about().map(ToString::to_string);
    for paragraph in more.iter().flat_map(|text| text.split("\n\n").skip(1)) {
        page.control("br", []);
        page.text([roman(paragraph)]);
    }
    for arg in own {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        page.control("br", []);
        page.text([heading(arg), roman(format!(": {}", sentence(help)))]);
    }
    for verb in visible(command).filter(|verb| !is_plain(verb)) {
        let mut words = prefix.clone();
        if verb.get_name() == "show" {
            words.extend(show());
        } else {
            words.extend([roman(" "), bold(verb.get_name())]);
        }
        describe(page, verb, words, command);
    }
}

/// The verb that is meant when there is none.
fn show() -> [Inline; 3] {
    [roman(" ["), bold("show"), roman("]")]
}

/// Arguments that are not those of the command above it.
fn own_arguments<'a>(command: &'a Command, above: &Command) -> Vec<&'a Arg> {
    let is_above = |arg: &Arg| above.get_arguments().any(|a| a.get_id() == arg.get_id());
    let all = command.get_arguments();
    all.filter(|a| !a.is_hide_set() && a.get_id() != "help")
        .filter(|a| !(a.is_global_set() && is_above(a)))
        .collect()
}

fn heading(arg: &Arg) -> Inline {
    match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => bold(format!("-{short}, --{long}")),
        (None, Some(long)) => bold(format!("--{long}")),
        (Some(short), None) => bold(format!("-{short}")),
        (None, None) => italic(value_name(arg)),
    }
}

fn synopsis(arg: &Arg) -> Vec<Inline> {
    let mut words = match (arg.get_short(), arg.get_long()) {
        (Some(short), _) => vec![bold(format!("-{short}"))],
        (None, Some(long)) => vec![bold(format!("--{long}"))],
        (None, None) => vec![italic(value_name(arg))],
    };
    if !arg.is_positional() && arg.get_action().takes_values() {
        words.extend([roman(" "), italic(value_name(arg))]);
    }
    if arg.get_num_args().is_some_and(|n| n.max_values() > 1) {
        words.push(roman(" ..."));
    }
    if !arg.is_required_set() {
        words.insert(0, roman("["));
        words.push(roman("]"));
    }
    words
}

fn value_name(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    match names.first() {
        Some(name) => name.to_string(),
        None => arg.get_id().to_string().to_uppercase(),
    }
}

/// Help of the command line has no full stop; a page has.
fn sentence(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('.') {
        text.push('.');
    }
    text
}

fn environment(page: &mut Roff) {
    page.control("SH", ["ENVIRONMENT"]);
    page.control("TP", []);
    page.text([bold("NO_COLOR")]);
    page.text([roman(
        "If set and not empty, there are no colours unless --color always asks for them.",
    )]);
}

fn files(page: &mut Roff) {
    page.control("SH", ["FILES"]);
    page.control("TP", []);
    page.text([
        italic("/etc/mpip/mpip.toml"),
        roman(", "),
        italic("/etc/mpip/mpip.d/*.toml"),
    ]);
    page.text([
        roman("The configuration, see "),
        bold("mpip"),
        roman("(5)."),
    ]);
}

fn exit_status(page: &mut Roff) {
    page.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in STATUSES {
        page.control("TP", []);
        page.text([bold(status.to_string())]);
        page.text([roman(meaning)]);
    }
}

fn examples(page: &mut Roff) {
    page.control("SH", ["EXAMPLES"]);
    for (command, meaning) in EXAMPLES {
        page.control("TP", []);
        page.text([bold(*command)]);
        page.text([roman(*meaning)]);
    }
}

fn see_also(page: &mut Roff) {
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("mpip"),
        roman("(5), "),
        bold("ip"),
        roman("(8), "),
        bold("ip-netns"),
        roman("(8), "),
        bold("modprobe"),
        roman("(8)"),
    ]);
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn examples_can_be_typed() {
        for (command, _) in EXAMPLES {
            let parsed = Cli::try_parse_from(command.split_whitespace());
            parsed.unwrap_or_else(|error| panic!("{command}: {error}"));
        }
    }

    /// Whatever the grammar has is on the page, in its section.
    #[test]
    fn nothing_is_left_out() {
        let mut page = Vec::new();
        write(&mut page, 8).unwrap();
        let page = String::from_utf8(page).unwrap();
        let headings = page.lines().filter_map(|line| line.strip_prefix(".SH "));
        let headings: Vec<&str> = headings.map(|h| h.trim_matches('"')).collect();
        assert_eq!(
            headings,
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "OBJECTS",
                "ENVIRONMENT",
                "FILES",
                "EXIT STATUS",
                "EXAMPLES",
                "SEE ALSO"
            ]
        );
        let objects = page.split("OBJECTS").nth(1).unwrap();
        for object in visible(&Cli::command()) {
            let name = format!("\\fB{}\\fR", object.get_name());
            assert!(objects.contains(&name), "{name}");
        }
        assert!(!objects.contains("\\fBman\\fR"));
        use crate::cmd;
        for names in [cmd::RULE_NAMES, cmd::INTERFACE_NAMES, cmd::PATH_NAMES] {
            for name in names {
                assert!(objects.contains(&format!("{name} ")), "{name}");
            }
        }
        assert!(objects.contains("\\fBstats\\fR [\\fBshow\\fR] [\\fB\\-\\-prometheus\\fR]"));
        assert!(objects.contains("\\fBparam\\fR \\fBset\\fR \\fINAME\\fR \\fIVALUE\\fR"));
    }
}
