// SPDX-License-Identifier: GPL-2.0

//! mpip(5): the configuration file, whose parameters and keys are those of the program.

use std::io;
use std::io::Write;

use clap_mangen::roff::bold;
use clap_mangen::roff::italic;
use clap_mangen::roff::roman;
use clap_mangen::roff::Inline;
use clap_mangen::roff::Roff;

use crate::cmd::known_params;
use crate::nl::Param;

/// What a rule may say, as values look like and what they mean.
const RULE: &[(&str, &str, &str)] = &[
    (
        "dst",
        "\"203.0.113.0/24\"",
        "Remote address of the session: ADDRESS or ADDRESS/LENGTH",
    ),
    ("src", "\"192.0.2.2\"", "Local address of the session"),
    ("port", "443, \"5000-5999\"", "Remote port, or FIRST-LAST"),
    ("sport", "\"1024-\"", "Local port"),
    ("proto", "\"tcp\"", "One of tcp, udp"),
    (
        "size",
        "\"0-1400\"",
        "Length of the IP packet, header included, bytes",
    ),
    (
        "dscp",
        "46, \"ef\"",
        "Code point: 0 to 63, ef, cs0 to cs7, af11 to af43",
    ),
    (
        "uid",
        "1000, \"1000-1999\"",
        "User that the socket belongs to",
    ),
    (
        "cgroup",
        "\"/user.slice\"",
        "Control group of version 2 that the socket belongs to, or is below of",
    ),
    (
        "priority",
        "\"latency\"",
        "With throughput the paths share the packets, with latency each takes the quickest",
    ),
    (
        "mode",
        "\"single\"",
        "One of all, selected, single, protected or never",
    ),
    (
        "delay",
        "\"80ms\"",
        "With mode selected: largest one-way delay",
    ),
    ("loss", "\"2%\"", "With mode selected: largest loss"),
    ("rate", "\"2mbit\"", "With mode selected: least rate"),
    (
        "cost",
        "5",
        "With mode selected: largest cost of the interface",
    ),
    (
        "dev",
        "[\"eth0\", \"wwan0\"]",
        "Interfaces whose paths are used while one of them works",
    ),
    (
        "ordered",
        "\"on\"",
        "With on the receiver delivers datagrams in the order in which they were sent",
    ),
];

/// What may be said of an interface.
const INTERFACE: &[(&str, &str, &str)] = &[
    (
        "backup",
        "true",
        "Its paths are used only when no other path of a session works. The peer is told and does \
         the same",
    ),
    (
        "cost",
        "5",
        "What rules with cost compare; 0 if it is not there",
    ),
    (
        "budget",
        "\"2G\"",
        "Bytes that it may carry in a period, both directions together, as the interface counts \
         them, whoever sends them. When they are used up it is a backup until the next period. \
         What is used is forgotten when the module is unloaded",
    ),
    (
        "period",
        "\"30d\"",
        "Length of a period, which begins when the budget is set; 30 days if it is not there",
    ),
    (
        "exclude",
        "true",
        "It is not used for added paths. Sessions that routing sends out there are left alone",
    ),
    (
        "enrol",
        "true",
        "It is one of those that alone are used while the parameter interfaces is enrolled",
    ),
    (
        "power",
        "1070",
        "What it draws while in use, milliwatts, for the parameter energy; 1000 if neither it nor \
         energy is there",
    ),
    (
        "energy",
        "60",
        "What each bit takes on top of that, nanojoules",
    ),
];

/// Files, and what each is for. A test has them all read.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "Ask certain hosts only, and share packets out by Algorithm 1 of the paper:",
        "\
enabled = true

[param]
ask = \"listed\"
scheduler = \"weighted\"

[ask]
prefixes = [\"192.0.2.0/24\", \"2001:db8::/32\"]
",
    ),
    (
        "A phone behind NAT: few heartbeats, and mappings kept open; only UDP gets through:",
        "\
[param]
heartbeat = \"5s\"
keepalive = 25
encap = \"udp\"
",
    ),
    (
        "Two gigabytes a month over the modem, and only when the Wi-Fi does not work; of two \
         interfaces the thriftier one, with the power that 3G and Wi-Fi drew on average in the \
         measurements of a paper on mobile MPTCP (1.24 Mb/s at 1.16 Mb/J, 1.55 Mb/s at 1.44 Mb/J):",
        "\
[param]
energy = \"on\"

[interface.wlan0]
power = 1076

[interface.eth0]
power = 1069

[interface.wwan0]
backup = true
budget = \"2G\"
period = \"30d\"
",
    ),
    (
        "Small packets by the quickest path, backups by one path, the printer without MPIP:",
        "\
[[rule]]
proto = \"udp\"
size = \"0-400\"
priority = \"latency\"

[[rule]]
port = 873
mode = \"single\"

[[rule]]
dst = \"192.168.1.20\"
mode = \"never\"
",
    ),
];

/// Writes mpip(5).
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let mut page = Roff::new();
    let version = concat!("mpip ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["mpip", "5", "", version, "MPIP"]);
    page.control("SH", ["NAME"]);
    page.text([roman(
        "mpip - configuration of MPIP, multipath transmission at the IP layer",
    )]);
    page.control("SH", ["SYNOPSIS"]);
    for file in ["/etc/mpip/mpip.toml", "/etc/mpip/mpip.d/*.toml"] {
        page.text([italic(file)]);
        page.control("br", []);
    }
    description(&mut page);
    top(&mut page);
    params(&mut page);
    ask(&mut page);
    interfaces(&mut page);
    rules(&mut page);
    later(&mut page);
    places(&mut page);
    exit_status(&mut page);
    examples(&mut page);
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("mpipctl"),
        roman("(8), "),
        bold("ip-netns"),
        roman("(8)"),
    ]);
    page.to_writer(out)
}

fn paragraph(page: &mut Roff, text: impl Into<Vec<Inline>>) {
    page.control("PP", []);
    page.text(text.into());
}

fn description(page: &mut Roff) {
    page.control("SH", ["DESCRIPTION"]);
    paragraph(
        page,
        [
            roman("What is set with "),
            bold("mpipctl"),
            roman(
                "(8) is gone when the module is unloaded or the machine is started anew. These \
                 files hold it. ",
            ),
            bold("mpipctl config apply"),
            roman(
                " makes what the kernel has as they want it, and the systemd unit mpip.service \
                 does so when the machine starts and when it is reloaded. Only what differs is \
                 changed, rules all at once, and no session ends because of it, unless MPIP is \
                 switched off.",
            ),
        ],
    );
    let text = "The files are in TOML. Those in mpip.d are read after mpip.toml, in the order of \
                their names: a parameter has the last value that one of them gives it, rules and \
                prefixes of all files are put together. What none of them names has its default: \
                a parameter that is not there is as after the module was loaded, and a rule or a \
                prefix that is not there is removed.";
    paragraph(page, [roman(text)]);
    paragraph(
        page,
        [
            roman("A mistake in any of the files changes nothing. "),
            bold("mpipctl config check"),
            roman(" finds all of them and tells file, line, column and value. "),
            bold("mpipctl config diff"),
            roman(" tells what would change, and "),
            bold("mpipctl config save"),
            roman(" makes mpip.toml as what the kernel has; remarks in it are kept."),
        ],
    );
}

fn entry(page: &mut Roff, name: &str, example: &str, text: String) {
    page.control("TP", []);
    page.text([bold(name), roman(format!(" = {example}"))]);
    page.text([roman(text)]);
}

fn top(page: &mut Roff) {
    page.control("SH", ["MPIP ON OR OFF"]);
    let text = "Whether MPIP is on; true if it is not there. It stands before all tables.";
    entry(page, "enabled", "true", text.to_string());
    page.control("SH", ["PRE-SHARED KEY"]);
    let text = "A file with the pre-shared key, as mpipctl psk generate writes it; a warning says if \
                others than its owner can read or change it. Only who has the same key becomes a \
                peer. Without this line there is none. It stands before all tables. A module that is \
                loaded with enabled=0 has no peers before the key is there.";
    entry(page, "psk", "\"/etc/mpip/psk\"", text.to_string());
}

fn params(page: &mut Roff) {
    page.control("SH", ["PARAMETERS"]);
    paragraph(
        page,
        [
            roman("In the table "),
            bold("[param]"),
            roman(": a number in the parameter's unit, or a string as "),
            bold("mpipctl param set"),
            roman(
                " takes it, such as \"1500ms\", \"2s\", \"64k\" or the name of a choice. Of the \
                 choices off and on, false and true do as well. What is given here is the default.",
            ),
        ],
    );
    for param in known_params() {
        let default = match param.choice(param.value) {
            Some(name) => format!("\"{name}\""),
            None => param.value.to_string(),
        };
        let text = format!(
            "{} {}.",
            param.help.clone().unwrap_or_default(),
            range(&param)
        );
        entry(page, &param.name, &default, text);
    }
}

fn range(param: &Param) -> String {
    let choices = &param.choices.0;
    if !choices.is_empty() {
        return format!("One of {}", choices.join(", "));
    }
    let unit = param.unit.as_ref().map(|unit| format!(" {unit}"));
    let (least, most) = (
        param.minimum.unwrap_or(0),
        param.maximum.unwrap_or(u64::MAX),
    );
    format!("From {least} to {most}{}", unit.unwrap_or_default())
}

fn ask(page: &mut Roff) {
    page.control("SH", ["WHOM TO ASK"]);
    paragraph(page, [roman("In the table "), bold("[ask]"), roman(":")]);
    let text = "Addresses of hosts that are asked while the parameter ask is listed.";
    entry(
        page,
        "prefixes",
        "[\"192.0.2.0/24\", \"2001:db8::/32\"]",
        text.to_string(),
    );
}

fn interfaces(page: &mut Roff) {
    page.control("SH", ["INTERFACES"]);
    paragraph(
        page,
        [
            roman("Each has a table "),
            bold("[interface.NAME]"),
            roman(
                ", with a name that need not exist when the file is applied: it counts as soon as \
                 there is such an interface. What is not there has its default, as ",
            ),
            bold("mpipctl interface reset"),
            roman(" leaves it. What several files say of an interface is put together."),
        ],
    );
    for (name, example, meaning) in INTERFACE {
        entry(page, name, example, format!("{meaning}."));
    }
}

fn rules(page: &mut Roff) {
    page.control("SH", ["RULES"]);
    paragraph(
        page,
        [
            roman("Each begins with "),
            bold("[[rule]]"),
            roman(
                ". The first that fits a packet counts, in the order in which they stand. All \
                 conditions have to be met; what is not there is met by all packets. A rule says \
                 priority, mode, dev or ordered. The interfaces and the control group of a rule have to \
                 be there when the file is applied, or it is taken for a mistake; with ",
            ),
            bold("mpipctl config apply --lenient"),
            roman(
                ", as the systemd unit has it, interfaces may come later, and rules for control groups \
                 that are not there are left out. What else rules can do is told by ",
            ),
            bold("mpipctl rule add --help"),
            roman("."),
        ],
    );
    for (name, example, meaning) in RULE {
        entry(page, name, example, format!("{meaning}."));
    }
}

fn later(page: &mut Roff) {
    page.control("SH", ["INTERFACES THAT COME LATER"]);
    paragraph(
        page,
        [
            roman(
                "The systemd unit applies the files before the network is configured. Rules and \
                 tables ",
            ),
            bold("[interface.NAME]"),
            roman(
                " know interfaces by their names: they count as soon as there is one that is made, \
                 plugged in, or gets the name, and for one that goes and comes again. Where a rule's \
                 interface is not there when the files are applied, the journal has a warning with \
                 file, line and name, and until it comes the rule does without it: MPIP uses all \
                 that there is.",
            ),
        ],
    );
}

fn listing(page: &mut Roff, text: &str) {
    page.control("PP", []);
    page.control("RS", ["4"]);
    page.control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
    page.control("RE", []);
}

fn places(page: &mut Roff) {
    page.control("SH", ["FILES"]);
    for (file, meaning) in [
        ("/etc/mpip/mpip.toml", "The configuration."),
        ("/etc/mpip/mpip.d/*.toml", "Drop-ins: what packages and other programs add to it."),
        (
            "/etc/netns/NAME/mpip/mpip.toml, /etc/netns/NAME/mpip/mpip.d/*.toml",
            "The same for the network namespace NAME, with mpipctl -n NAME. Where there is no such \
             folder, the files below /etc/mpip count there, too.",
        ),
    ] {
        page.control("TP", []);
        page.text([italic(file)]);
        page.text([roman(meaning)]);
    }
}

/// Of the commands that read the files. Those of all commands are in mpipctl(8).
fn exit_status(page: &mut Roff) {
    page.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in [
        (
            "0",
            "config check: there is no mistake. config diff: there is no difference. config apply: all \
             that the files say counts.",
        ),
        (
            "1",
            "There is a mistake in a file, or the file cannot be read: nothing was changed. config diff: \
             there is a difference.",
        ),
        (
            "2",
            "The kernel refused something: what had been changed before was undone, and what could not \
             be is said.",
        ),
        ("3", "The module is not loaded."),
    ] {
        page.control("TP", []);
        page.text([bold(status)]);
        page.text([roman(meaning)]);
    }
}

fn examples(page: &mut Roff) {
    page.control("SH", ["EXAMPLES"]);
    for (meaning, text) in EXAMPLES {
        paragraph(page, [roman(*meaning)]);
        listing(page, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::config_mistakes;
    use crate::cmd::INTERFACE_NAMES;
    use crate::cmd::RULE_NAMES;

    #[test]
    fn examples_are_right() {
        for (meaning, text) in EXAMPLES {
            assert_eq!(config_mistakes(text), [""; 0], "{meaning}");
        }
    }

    /// The keys are those that are understood, and so are the values given as examples.
    #[test]
    fn rules_are_complete() {
        let names: Vec<&str> = RULE.iter().map(|(name, ..)| *name).collect();
        let known: Vec<&str> = RULE_NAMES
            .iter()
            .copied()
            .filter(|n| *n != "number")
            .collect();
        assert_eq!(names, known);
        let names: Vec<&str> = INTERFACE.iter().map(|(name, ..)| *name).collect();
        let known: Vec<&str> = INTERFACE_NAMES
            .iter()
            .copied()
            .filter(|n| *n != "used")
            .collect();
        assert_eq!(names, known);
    }

    #[test]
    fn nothing_is_left_out() {
        let mut page = Vec::new();
        write(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        let headings = page.lines().filter_map(|line| line.strip_prefix(".SH "));
        let headings: Vec<&str> = headings.map(|h| h.trim_matches('"')).collect();
        let expected = [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "MPIP ON OR OFF",
            "PRE-SHARED KEY",
            "PARAMETERS",
            "WHOM TO ASK",
            "INTERFACES",
            "RULES",
            "INTERFACES THAT COME LATER",
            "FILES",
            "EXIT STATUS",
            "EXAMPLES",
            "SEE ALSO",
        ];
        assert_eq!(headings, expected);
        for param in known_params() {
            assert!(
                page.contains(&format!("\\fB{}\\fR = ", param.name)),
                "{}",
                param.name
            );
        }
    }
}
