// SPDX-License-Identifier: GPL-2.0

//! The grammar of the command line: nouns, then verbs.

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use clap::ValueHint;
use clap_complete::ArgValueCandidates as Offer;

use crate::complete;

/// Control and inspect MPIP, multipath transmission at the IP layer.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "mpipctl",
    version,
    infer_subcommands = true,
    after_help = "\
Without OBJECT the status is shown; without a verb an object is shown. Names of objects and verbs
may be abbreviated while they are unambiguous.

Exit status: 0 success, 1 wrong usage or bad value, 2 refused by the kernel, 3 no mpip module,
4 doctor found a failure."
)]
#[command(subcommand_value_name = "OBJECT", subcommand_help_heading = "Objects")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub options: Options,

    /// Run the commands in FILE, one a line, - for standard input; the first that fails ends it
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub batch: Option<String>,

    /// What to do; nothing means status.
    #[command(subcommand)]
    pub object: Option<Object>,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Write JSON, in the kernel's units
    #[arg(short, long, global = true)]
    pub json: bool,

    /// Write JSON for people to read
    #[arg(short, long, global = true)]
    pub pretty: bool,

    /// Show statistics as well
    #[arg(short, long, global = true)]
    pub statistics: bool,

    /// Show more details
    #[arg(short, long, global = true)]
    pub details: bool,

    /// Write each record on one line, without a header
    #[arg(short, long, global = true)]
    pub oneline: bool,

    /// Act in the network namespace NAME: one of `ip netns`, a process id, or a path
    #[arg(short, long, global = true, value_name = "NAME", add = Offer::new(complete::netns))]
    pub netns: Option<String>,

    /// Use colours: always, never, or auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value_t, value_enum)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Color {
    /// Where the output can show them and nobody objects.
    #[default]
    Auto,
    /// Whatever the output is.
    Always,
    /// Not at all.
    Never,
}

impl Options {
    /// These options and those of a line of a batch, which are added to them.
    pub fn and(&self, line: &Options) -> Options {
        Options {
            json: self.json || line.json,
            pretty: self.pretty || line.pretty,
            statistics: self.statistics || line.statistics,
            details: self.details || line.details,
            oneline: self.oneline || line.oneline,
            netns: self.netns.clone(),
            color: match line.color {
                Color::Auto => self.color,
                color => color,
            },
        }
    }

    /// True if the output is JSON, pretty or not.
    pub fn is_json(&self) -> bool {
        self.json || self.pretty
    }
}

/// The nouns.
#[derive(Clone, Debug, Subcommand)]
pub enum Object {
    /// Show the state of MPIP in the network namespace
    Status,
    /// Enable MPIP in the network namespace
    Enable,
    /// Disable MPIP in the network namespace; its sessions end
    Disable,
    /// Peers and their addresses
    Peer(Shown),
    /// Sessions and how many of their paths are active; -d shows each path
    Session(Shown),
    /// Paths, with delays and weights
    #[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Path {
        /// What to do with paths; nothing means show.
        #[command(subcommand)]
        verb: Option<PathVerb>,
    },
    /// Counters
    Stats(Stats),
    /// Parameters
    #[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Param {
        /// What to do with parameters; nothing means show.
        #[command(subcommand)]
        verb: Option<ParamVerb>,
    },
    /// Rules: which packets take which paths
    #[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Rule {
        /// What to do with rules; nothing means show.
        #[command(subcommand)]
        verb: Option<RuleVerb>,
    },
    /// Interfaces of this host (also `iface`): which are backups, what they cost and may carry
    #[command(alias = "iface")]
    #[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Interface {
        /// What to do with interfaces; nothing means show.
        #[command(subcommand)]
        verb: Option<InterfaceVerb>,
    },
    /// Destinations and whether they speak MPIP
    Avail(Shown),
    /// Show what happens to peers, paths and addresses, as it happens
    Monitor(Monitor),
    /// Show paths and sessions as they are now, on the whole screen
    Top(Top),
    /// Prefixes that are asked when the parameter `ask` is `listed`
    #[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Ask {
        /// What to do with prefixes; nothing means show.
        #[command(subcommand)]
        verb: Option<AskVerb>,
    },
    /// The pre-shared key, without which nobody becomes a peer of who has it
    #[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
    Psk {
        /// What to do with the key; nothing means show.
        #[command(subcommand)]
        verb: Option<PskVerb>,
    },
    /// Configuration files: what holds after each start of the machine
    Config(Config),
    /// Check what MPIP needs of this host, and say how to mend what is wrong
    Doctor(Doctor),
    /// Write what a shell needs to complete command lines
    Completion {
        /// The shell: bash, zsh or fish
        #[arg(value_enum, hide_possible_values = true)]
        shell: Shell,
    },
    /// Write a manual page: mpipctl(8) or mpip(5)
    #[command(hide = true)]
    Man {
        /// The section: 8 or 5
        #[arg(default_value_t = 8, value_parser = sections())]
        section: u8,
    },
}

/// The sections in which there is a page.
fn sections() -> impl TypedValueParser {
    PossibleValuesParser::new(["8", "5"]).try_map(|text| text.parse::<u8>())
}

/// How to show counters.
#[derive(Args, Clone, Debug)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub struct Stats {
    /// Write the text format of Prometheus; with -d also the traffic and the delays of each path
    #[arg(long, global = true)]
    pub prometheus: bool,

    /// What to do with it; nothing means show.
    #[command(subcommand)]
    pub verb: Option<ShowVerb>,
}

/// Which configuration, and what to do with it.
#[derive(Args, Clone, Debug)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub struct Config {
    /// Use FILE and its drop-ins in place of those below /etc/mpip; - is standard input
    #[arg(short, long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<String>,

    /// Take interfaces that are not there, and leave out rules for control groups that are not, with
    /// a warning; and have apply only enable MPIP if there is no file at all
    #[arg(long, global = true)]
    pub lenient: bool,

    /// What to do with it; nothing means show.
    #[command(subcommand)]
    pub verb: Option<ConfigVerb>,
}

/// Verbs of the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigVerb {
    /// Write what the kernel has now as a configuration file
    #[command(aliases = ["list", "ls"])]
    Show,
    /// Look for mistakes in the files; needs neither the module nor special rights
    Check,
    /// Write the commands with which apply would change what the kernel has; status 1 if any
    Diff,
    /// Make what the kernel has as the files want it, and change only what differs
    Apply,
    /// Make the file as what the kernel has; remarks in it are kept
    Save,
}

/// What to do beyond looking.
#[derive(Args, Clone, Copy, Debug)]
pub struct Doctor {
    /// Mend what is safe to mend, until the next start: make reverse-path filters loose, and switch
    /// MPIP on
    #[arg(long)]
    pub fix: bool,
}

/// A shell that can complete command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Shell {
    /// GNU Bourne-again shell.
    Bash,
    /// Z shell.
    Zsh,
    /// Friendly interactive shell.
    Fish,
}

/// What to show of what happens.
#[derive(Args, Clone, Debug)]
pub struct Monitor {
    /// Begin each line with the time, in seconds since the system started
    #[arg(short, long)]
    pub timestamps: bool,

    /// Only these: an event such as path-down, or what events are about: peer, path, address,
    /// interface
    #[arg(value_name = "EVENT", add = Offer::new(complete::events))]
    pub events: Vec<String>,
}

/// What to show of the present, and how often.
#[derive(Args, Clone, Debug)]
pub struct Top {
    /// Look every TIME, in seconds unless it has a unit (500ms, 2s)
    #[arg(
        short,
        long,
        value_name = "TIME",
        default_value = "1s",
        allow_hyphen_values = true
    )]
    #[arg(hide_default_value = true)]
    pub interval: String,

    /// Write N intervals as text, or as JSON with -j, instead of filling the screen
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,

    /// Order sessions by proto, local, remote, state, paths, tx, rx, held or idle
    #[arg(long, value_name = "COLUMN", default_value_t, value_enum)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub sort: Column,

    /// Show only sessions that have all these words in their protocol, addresses, state or id
    #[arg(value_name = "WORD")]
    pub filter: Vec<String>,
}

/// A column that sessions can be ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Column {
    /// Protocol.
    Proto,
    /// This end.
    Local,
    /// The other end.
    Remote,
    /// State.
    State,
    /// Paths in use.
    Paths,
    /// What is sent.
    #[default]
    Tx,
    /// What is received.
    Rx,
    /// Packets that wait for others.
    Held,
    /// Time since the last packet.
    Idle,
}

/// An object that can only be shown.
#[derive(Args, Clone, Debug)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub struct Shown {
    /// What to do with it; nothing means show.
    #[command(subcommand)]
    pub verb: Option<SelectVerb>,
}

impl Shown {
    /// The words that all have to have that are shown.
    pub fn words(&self) -> &[String] {
        match &self.verb {
            Some(SelectVerb::Show { words }) => words,
            None => &[],
        }
    }
}

/// The verb of objects of which some can be shown.
#[derive(Clone, Debug, Subcommand)]
pub enum SelectVerb {
    /// List them, or only some
    #[command(aliases = ["list", "ls"])]
    Show {
        /// Only those that have all these words: an id, a state, a protocol, an interface, a peer,
        /// an ADDRESS or ADDRESS/LENGTH of either end, ADDRESS:PORT or :PORT
        #[arg(value_name = "WORD")]
        words: Vec<String>,
    },
}

/// Verbs of paths.
#[derive(Clone, Debug, Subcommand)]
pub enum PathVerb {
    /// List them, or only some; -d shows what is set
    #[command(aliases = ["list", "ls"])]
    Show {
        /// Only those that have all these words: an id, a state, an interface, a peer, an ADDRESS or
        /// ADDRESS/LENGTH of either end
        #[arg(value_name = "WORD")]
        words: Vec<String>,
    },
    /// Change what is wanted of one; what is not given stays
    ///
    /// Names and values by turns. state standby: sessions use it, in both directions, only when no
    /// other path of theirs works. state disabled: it is not used, in either direction, and what is
    /// in flight there is sent again on others; what has no other path at all goes on there all the
    /// same. state active: it is used as the settings of its interface say. weight NUMBER from 1 to
    /// 1000, in place of the one that is learnt, which weight auto brings back: the scheduler weighted
    /// uses it, earliest, the default, does not. peer ID says whose path it is, if several peers have
    /// one with the id. It acts at once and lasts as long as the path: until the peer is forgotten,
    /// MPIP is disabled, or the address or its interface is not there any more. A configuration has
    /// nothing of it; what is to last is set for the interface.
    #[command(override_usage = "mpipctl path set [OPTIONS] ID [NAME VALUE]…")]
    Set {
        /// Id of the path
        #[arg(add = Offer::new(complete::paths))]
        id: String,
        /// Names and values by turns
        #[arg(value_name = "NAME VALUE", allow_hyphen_values = true)]
        #[arg(add = Offer::new(complete::path_words))]
        words: Vec<String>,
    },
}

/// The verb of objects that can only be shown as a whole.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ShowVerb {
    /// List them
    #[command(aliases = ["list", "ls"])]
    Show,
}

/// Verbs of parameters.
#[derive(Clone, Debug, Subcommand)]
pub enum ParamVerb {
    /// List them, or only one
    #[command(aliases = ["list", "ls"])]
    Show {
        /// Name of a parameter
        #[arg(add = Offer::new(complete::params))]
        name: Option<String>,
    },
    /// Change one
    Set {
        /// Name of a parameter
        #[arg(add = Offer::new(complete::params))]
        name: String,
        /// A number in the parameter's unit, a number with a unit (100ms, 2s, 64k) or the name
        /// of a choice. k, M and G are powers of 1024 for bytes and of 1000 otherwise
        #[arg(allow_hyphen_values = true, add = Offer::new(complete::param_values))]
        value: String,
    },
}

/// Verbs of prefixes.
#[derive(Clone, Debug, Subcommand)]
pub enum AskVerb {
    /// List them
    #[command(aliases = ["list", "ls"])]
    Show,
    /// Add one
    Add {
        /// ADDRESS or ADDRESS/LENGTH
        prefix: String,
    },
    /// Remove one
    #[command(aliases = ["delete", "remove"])]
    Del {
        /// ADDRESS or ADDRESS/LENGTH
        #[arg(add = Offer::new(complete::prefixes))]
        prefix: String,
    },
}

/// Verbs of the pre-shared key.
#[derive(Clone, Debug, Subcommand)]
pub enum PskVerb {
    /// Tell whether there is one; it is never shown
    #[command(aliases = ["list", "ls"])]
    Show,
    /// Set the one in a file; where MPIP is on its sessions end and are made anew
    ///
    /// From then on only who has the same key becomes a peer. It has 64 hexadecimal digits. A warning
    /// says if others than the file's owner can read or change it.
    Set {
        /// A file, or - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
    },
    /// Take it away; where MPIP is on its sessions end and are made anew
    #[command(aliases = ["del", "delete", "remove"])]
    Clear,
    /// Write a new one, of random digits, to standard output
    Generate,
}

/// Verbs of rules.
#[derive(Clone, Debug, Subcommand)]
pub enum RuleVerb {
    /// List them; -s shows how many packets fell under each
    #[command(aliases = ["list", "ls"])]
    Show,
    /// Add one, at the end unless it is given a number
    ///
    /// Names and values by turns. What packets it is for: dst and src ADDRESS[/LENGTH]; port (of
    /// the destination) and sport FIRST[-LAST]; proto tcp or udp; size FIRST-LAST in bytes with the
    /// IP header; dscp NUMBER or name; uid FIRST[-LAST], whose socket it is; cgroup PATH, to which
    /// or below which it belongs. `*` means any.
    ///
    /// What becomes of them: priority throughput or latency; mode all, selected, single, protected
    /// or never; for selected the limits delay TIME, loss PERCENT%, rate RATE such as 2mbit and cost
    /// NUMBER of the interface; dev INTERFACE[,INTERFACE…]; ordered on, to have datagrams arrive in
    /// order. `number N` gives it that place: rules from there on move up.
    #[command(override_usage = "mpipctl rule add [OPTIONS] [NAME VALUE]…")]
    Add {
        /// Names and values by turns
        #[arg(value_name = "NAME VALUE", allow_hyphen_values = true)]
        #[arg(add = Offer::new(complete::rule_words))]
        words: Vec<String>,
    },
    /// Change one: what is not given stays, and `*` takes away what there was
    ///
    /// Names and values are those of add. The rule keeps its place unless it is given another
    /// number, and its packets are counted anew. No packet meets the rules without it.
    #[command(override_usage = "mpipctl rule change [OPTIONS] NUMBER [NAME VALUE]…")]
    Change {
        /// Number of the rule
        #[arg(add = Offer::new(complete::rules))]
        number: String,
        /// Names and values by turns
        #[arg(value_name = "NAME VALUE", allow_hyphen_values = true)]
        #[arg(add = Offer::new(complete::rule_words))]
        words: Vec<String>,
    },
    /// Add the rules in a file, one per line as for add; all of them or, if one is refused, none
    Load {
        /// Name of the file; - is standard input. # begins a comment
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
        /// In the place of the rules that there are, without a moment between
        #[arg(long)]
        replace: bool,
    },
    /// Remove one
    #[command(aliases = ["del", "remove"])]
    Delete {
        /// Number of the rule
        #[arg(add = Offer::new(complete::rules))]
        number: String,
    },
    /// Remove all
    Flush,
}

/// Verbs of interfaces.
#[derive(Clone, Debug, Subcommand)]
pub enum InterfaceVerb {
    /// List them, or only one; -d shows what is set
    #[command(aliases = ["list", "ls"])]
    Show {
        /// Name of an interface
        #[arg(add = Offer::new(complete::interfaces))]
        name: Option<String>,
    },
    /// Change what is set for one, which need not be there; what is not given stays
    ///
    /// Names and values by turns. backup on: its paths are used only when no other path of a session
    /// works, in both directions. cost NUMBER, which rules may limit. budget BYTES such as 2G for
    /// each period TIME such as 30d: what it carries in both directions is counted, and when that is
    /// used up the interface is a backup until the next period begins; a budget of 0 is none. exclude
    /// on: it is not used for added paths. enrol on: it is one of those that are used while the
    /// parameter interfaces is enrolled. power NUMBER in mW while in use, and energy NUMBER in nJ for
    /// each bit on top of that: for the parameter energy. used BYTES corrects what was counted, which
    /// does not outlive the module.
    #[command(override_usage = "mpipctl interface set [OPTIONS] NAME [NAME VALUE]…")]
    Set {
        /// Name of an interface
        #[arg(add = Offer::new(complete::interfaces))]
        name: String,
        /// Names and values by turns
        #[arg(value_name = "NAME VALUE", allow_hyphen_values = true)]
        #[arg(add = Offer::new(complete::interface_words))]
        words: Vec<String>,
    },
    /// Forget what is set for one
    Reset {
        /// Name of an interface
        #[arg(add = Offer::new(complete::interfaces))]
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn abbreviations() {
        for (line, object) in [
            ("mpipctl se", "Session"),
            ("mpipctl sess l", "Session"),
            ("mpipctl pe sh", "Peer"),
            ("mpipctl path ls", "Path"),
            ("mpipctl path se 1 state standby", "Path"),
            ("mpipctl av list", "Avail"),
            ("mpipctl statu", "Status"),
            ("mpipctl par se ask every", "Param"),
            ("mpipctl as d 10.0.0.0/8", "Ask"),
            ("mpipctl ask delete 10.0.0.0/8", "Ask"),
            ("mpipctl en", "Enable"),
            ("mpipctl mon -t path", "Monitor"),
            ("mpipctl conf ch -f x.toml", "Config"),
            ("mpipctl conf -f x.toml ap --lenient", "Config"),
            ("mpipctl to -i 2 tcp", "Top"),
            ("mpipctl ru li", "Rule"),
            ("mpipctl int se wwan0 backup on", "Interface"),
            ("mpipctl iface r wwan0", "Interface"),
            ("mpipctl rule d 3", "Rule"),
            ("mpipctl rule c 3 port 22", "Rule"),
            ("mpipctl rule a port 22 mode single", "Rule"),
        ] {
            let cli = parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let parsed = format!("{:?}", cli.object.unwrap());
            assert!(parsed.starts_with(object), "{line}: {parsed}");
        }
        for line in ["mpipctl s", "mpipctl stat", "mpipctl pa", "mpipctl param s"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn options_may_follow_the_noun() {
        let options = parse("mpipctl path show -s -d -n blue -j").unwrap().options;
        assert!(options.statistics && options.details && options.json && !options.oneline);
        assert_eq!(options.netns.as_deref(), Some("blue"));
        assert!(parse("mpipctl -p").unwrap().options.is_json());
    }

    #[test]
    fn color_may_stand_anywhere() {
        for (line, color) in [
            ("mpipctl path", Color::Auto),
            ("mpipctl --color never path show", Color::Never),
            ("mpipctl path --color=always", Color::Always),
        ] {
            assert_eq!(parse(line).unwrap().options.color, color, "{line}");
        }
        assert!(parse("mpipctl --color sometimes").is_err());
    }

    #[test]
    fn options_of_a_line_are_added() {
        let of = |line| parse(line).unwrap().options;
        let both = of("mpipctl -j --color always").and(&of("mpipctl path -s -d"));
        assert!(both.json && both.statistics && both.details && !both.oneline);
        assert_eq!(both.color, Color::Always);
        let both = of("mpipctl --color always").and(&of("mpipctl path --color never"));
        assert_eq!(both.color, Color::Never);
    }
}
