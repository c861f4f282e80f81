// SPDX-License-Identifier: GPL-2.0

//! What a shell can offer for the next word of a command line.
//!
//! The shell asks the program itself: [`answer`] takes the words that are there from the grammar
//! ([`cli`](crate::cli)), and the values that only the system knows from the functions below. They
//! offer nothing where the kernel cannot be asked: without the module, or without the right to.

use std::env;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::CommandFactory;
use clap_complete::engine::CompletionCandidate as Candidate;
use clap_complete::env::Bash;
use clap_complete::env::EnvCompleter;
use clap_complete::env::Fish;
use clap_complete::env::Zsh;
use clap_complete::CompleteEnv;
use nix::net::if_::if_nameindex;

use crate::cli::Cli;
use crate::cli::Shell;
use crate::cmd;
use crate::nl::Client;
use crate::nl::EventKind;
use crate::nl::Param;
use crate::nl::Path;
use crate::nl::PathWish;
use crate::nl::Prefix;
use crate::nl::Record;
use crate::nl::Rule;
use crate::nl::RuleMode;
use crate::nl::RulePriority;
use crate::system::namespaces;
use crate::system::Real;

const NAME: &str = "mpipctl";
/// A shell that asks says here which one it is.
const VARIABLE: &str = "MPIPCTL_COMPLETE";
/// Which word is to be completed, unless it is the last one.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";

/// What makes a shell ask.
pub fn script(shell: Shell) -> Vec<u8> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    let written = shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script);
    written.expect("memory takes everything");
    if shell.is("zsh") {
        // zsh reads the script when the first word is to be completed, and that one is to be, too.
        script.extend_from_slice(
            b"[ \"$funcstack[1]\" = _mpipctl ] && _clap_dynamic_completer_mpipctl \"$@\"\n",
        );
    }
    script
}

/// If a shell asks, its answer is on standard output and this is the exit status.
pub fn answer() -> Option<ExitCode> {
    env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
    // Names of interfaces, and what the kernel is asked, belong to a namespace.
    let namespace = netns_of(&words());
    if Real::enter(namespace.as_deref()).is_err() {
        return Some(ExitCode::FAILURE);
    }
    let folder = env::current_dir().ok();
    let asked = CompleteEnv::with_factory(Cli::command).var(VARIABLE);
    Some(
        match asked.try_complete(env::args_os(), folder.as_deref()) {
            Ok(_) => ExitCode::SUCCESS,
            // Whatever was said would stand in the middle of the line that is typed.
            Err(_) => ExitCode::FAILURE,
        },
    )
}

/// The words before the one that is to be completed.
fn words() -> Vec<String> {
    let words = env::args_os().skip_while(|word| word != "--").skip(1);
    let words: Vec<String> = words.map(|w| w.to_string_lossy().into_owned()).collect();
    let index = env::var(INDEX).ok().and_then(|index| index.parse().ok());
    let index = index.unwrap_or(words.len().saturating_sub(1));
    words.into_iter().take(index).collect()
}

/// The network namespace that the words name.
fn netns_of(words: &[String]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "-n" || word == "--netns" {
            return words.next().cloned();
        }
        if let Some(name) = word.strip_prefix("--netns=") {
            return Some(name.to_string());
        }
    }
    None
}

/// The word before: whose value is to come.
fn before() -> String {
    words().pop().unwrap_or_default()
}

fn all<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<Candidate> {
    let values = values.into_iter().map(|value| value.to_string());
    values.map(Candidate::new).collect()
}

fn list<T: Record>() -> Vec<T> {
    let listing = Client::connect().and_then(|mut client| client.list());
    listing.map(|listing| listing.items).unwrap_or_default()
}

/// Network namespaces.
pub fn netns() -> Vec<Candidate> {
    all(namespaces())
}

/// Parameters, and what they do.
pub fn params() -> Vec<Candidate> {
    let of = |param: Param| {
        let help = param.help.map(StyledStr::from);
        Candidate::new(param.name).help(help)
    };
    list().into_iter().map(of).collect()
}

/// The values of a parameter, if they have names.
pub fn param_values() -> Vec<Candidate> {
    let name = before();
    let mut params = list::<Param>().into_iter();
    let param = params.find(|param| param.name == name);
    all(param.map(|param| param.choices.0).unwrap_or_default())
}

/// Interfaces.
pub fn interfaces() -> Vec<Candidate> {
    let there = if_nameindex();
    let names = there.iter().flatten().map(|one| one.name());
    all(names
        .map(|name| name.to_string_lossy())
        .filter(|name| name != "lo"))
}

/// Ids of paths, and where each goes.
pub fn paths() -> Vec<Candidate> {
    let of = |path: Path| {
        let help = path.local.zip(path.remote);
        let help = help.map(|(local, remote)| format!("{local} to {remote}").into());
        Candidate::new(path.id.to_string()).help(help)
    };
    list().into_iter().map(of).collect()
}

/// Numbers of rules.
pub fn rules() -> Vec<Candidate> {
    all(list::<Rule>().into_iter().filter_map(|rule| rule.number))
}

/// Prefixes that are asked.
pub fn prefixes() -> Vec<Candidate> {
    all(list::<Prefix>())
}

/// Events, and what they are about.
pub fn events() -> Vec<Candidate> {
    all(["peer", "path", "address", "interface"]
        .iter()
        .chain(EventKind::NAMES))
}

/// Names and values of a rule by turns.
pub fn rule_words() -> Vec<Candidate> {
    turns(cmd::RULE_NAMES, |name| match name {
        "proto" => all(["tcp", "udp"]),
        "priority" => all(RulePriority::NAMES),
        "mode" => all(RuleMode::NAMES),
        "ordered" => all(["on", "off"]),
        "dev" => interfaces(),
        _ => Vec::new(),
    })
}

/// Names and values of what is set for an interface by turns.
pub fn interface_words() -> Vec<Candidate> {
    turns(cmd::INTERFACE_NAMES, |name| match name {
        "backup" | "exclude" | "enrol" => all(["on", "off"]),
        _ => Vec::new(),
    })
}

/// Names and values of what is set for a path by turns.
pub fn path_words() -> Vec<Candidate> {
    turns(cmd::PATH_NAMES, |name| match name {
        "state" => all(PathWish::NAMES),
        "weight" => all(["auto"]),
        "peer" => all(list::<Path>().into_iter().map(|path| path.peer)),
        _ => Vec::new(),
    })
}

/// The values of the name that stands before, or the names that were not given.
fn turns(names: &[&str], values: impl Fn(&str) -> Vec<Candidate>) -> Vec<Candidate> {
    match turn(&words(), names) {
        Turn::Value(name) => values(&name),
        Turn::Name(given) => all(names
            .iter()
            .filter(|name| !given.contains(&name.to_string()))),
    }
}

/// What is to come.
#[derive(Debug, PartialEq)]
enum Turn {
    /// The value of this one.
    Value(String),
    /// A name that is none of these.
    Name(Vec<String>),
}

fn turn(words: &[String], names: &[&str]) -> Turn {
    let first = words.iter().position(|word| names.contains(&word.as_str()));
    let pairs = first.map_or(&[][..], |first| &words[first..]);
    match pairs.last().filter(|_| pairs.len() % 2 == 1) {
        Some(name) => Turn::Value(name.clone()),
        None => Turn::Name(pairs.iter().step_by(2).cloned().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn names_and_values_by_turns() {
        let value = |name: &str| Turn::Value(name.to_string());
        for (line, to_come) in [
            ("mpipctl rule add", Turn::Name(Vec::new())),
            ("mpipctl rule add mode", value("mode")),
            ("mpipctl rule add mode single", Turn::Name(split("mode"))),
            ("mpipctl rule change 3 dev mode mode", value("mode")),
            (
                "mpipctl rule add port 1 mode single",
                Turn::Name(split("port mode")),
            ),
        ] {
            assert_eq!(turn(&split(line), cmd::RULE_NAMES), to_come, "{line}");
        }
    }

    #[test]
    fn namespace_of_the_line() {
        for (line, name) in [
            ("mpipctl path", None),
            ("mpipctl -n blue path", Some("blue")),
            ("mpipctl path --netns=7", Some("7")),
            ("mpipctl path --netns", None),
        ] {
            assert_eq!(netns_of(&split(line)).as_deref(), name, "{line}");
        }
    }
}
