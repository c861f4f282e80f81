// SPDX-License-Identifier: GPL-2.0

//! `doctor`: looks, explains, and says what would help.
//!
//! [`facts`] asks the system, the checks judge what it said and ask nothing themselves.

mod checks;
mod facts;
mod firewall;
mod links;
mod offload;
mod paths;
mod roles;
mod vpn;

use std::fmt;

use serde::Serialize;

use self::facts::Facts;
use self::facts::Told;
use super::Context;
use crate::cli;
use crate::nl;
use crate::nl::Client;
use crate::nl::Record;
use crate::out::text::Table;
use crate::Error;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// All is well.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work, or not on all paths.
    Fail,
    /// It was mended.
    Fixed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
            Self::Fixed => "FIXED",
        })
    }
}

/// What a check has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    result: Outcome,
    check: &'static str,
    /// The interface, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
    text: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    /// What --fix does instead of that command.
    #[serde(skip)]
    mend: Option<Mend>,
}

/// What is changed without risk: nothing but how MPIP works depends on it, or it only lets more
/// through of what the routes ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mend {
    /// A file is written.
    Write { path: String, value: &'static str },
    /// The module is switched on.
    Enable,
}

impl Finding {
    fn new(result: Outcome, check: &'static str, text: impl Into<String>) -> Self {
        Self {
            result,
            check,
            dev: None,
            text: text.into(),
            fix: None,
            mend: None,
        }
    }

    fn dev(mut self, dev: &str) -> Self {
        self.dev = Some(dev.to_string());
        self
    }

    fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix = Some(command.into());
        self
    }

    fn mend(mut self, mend: Mend) -> Self {
        self.mend = Some(mend);
        self
    }
}

pub(super) fn run(context: &mut Context<'_>, how: cli::Doctor) -> Result<(), Error> {
    let mut findings = examine(context);
    if how.fix {
        let mended = mend(context, &mut findings)?;
        if !mended.is_empty() {
            findings = [mended, examine(context)].concat();
        }
    }
    show(context, &findings)?;
    let failed = |finding: &&Finding| finding.result == Outcome::Fail;
    match findings.iter().filter(failed).count() {
        0 => Ok(()),
        count => Err(Error::Unwell(count)),
    }
}

fn examine(context: &mut Context<'_>) -> Vec<Finding> {
    // Whether there is a module is what is asked here: no reason to end.
    let node = context.client().and_then(|client| Ok(client.status()?));
    let is_on = node.as_ref().is_ok_and(|node| node.enabled);
    let mut told = Told::default();
    if let Some(client) = context.client.as_mut().filter(|_| node.is_ok()) {
        let denied = &mut told.denied;
        (told.interfaces, told.rules) = (items(client, denied), items(client, denied));
        if is_on {
            told.params = items(client, denied);
            told.paths = paths::settled(client, context.system, denied);
        }
    }
    let facts = Facts::gather(context.system, node, told);
    let mut findings = checks::all(&facts);
    if let Some(name) = &context.options.netns {
        let prefix = entering(name);
        for finding in &mut findings {
            // The module and the clock are the same everywhere.
            if !["module", "signature", "clock"].contains(&finding.check) {
                let fix = finding.fix.take();
                let next = format!(" && {prefix} ");
                finding.fix = fix.map(|fix| format!("{prefix} {}", fix.replace(" && ", &next)));
            }
        }
    }
    findings
}

/// A name as the shell takes it for one word.
pub(super) fn word(name: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._@/:,%+=-".contains(&b);
    match !name.is_empty() && name.bytes().all(is_plain) {
        true => name.to_string(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

/// What the kernel lists, as far as it does; `denied` becomes true if rights are lacking.
fn items<T: Record>(client: &mut Client, denied: &mut bool) -> Vec<T> {
    match client.list() {
        Ok(listing) => listing.items,
        Err(error) => {
            *denied |= matches!(&error, nl::Error::Refused(why) if why.is_permission());
            Vec::new()
        }
    }
}

/// What has a command run in a network namespace that was given by the option -n.
fn entering(name: &str) -> String {
    let word = word(name);
    if name.contains('/') {
        format!("nsenter --net={word}")
    } else if name.bytes().all(|b| b.is_ascii_digit()) {
        format!("nsenter --net --target {name}")
    } else {
        format!("ip netns exec {word}")
    }
}

/// Mends what can be mended without risk, and says so before. What could not be mended remains
/// a failure, with the reason.
fn mend(context: &mut Context<'_>, findings: &mut [Finding]) -> Result<Vec<Finding>, Error> {
    let mut mended = Vec::new();
    for finding in findings {
        let (Some(mend), Some(fix)) = (&finding.mend, &finding.fix) else {
            continue;
        };
        if !context.options.is_json() {
            writeln!(context.out, "Doing: {fix}")?;
            context.out.flush()?;
        }
        match change(context, mend) {
            Ok(()) => mended.push(Finding {
                result: Outcome::Fixed,
                fix: None,
                mend: None,
                ..finding.clone()
            }),
            Err(error) => finding.text += &format!("; could not be mended: {error}"),
        }
    }
    Ok(mended)
}

fn change(context: &mut Context<'_>, mend: &Mend) -> Result<(), Box<dyn std::error::Error>> {
    match mend {
        Mend::Write { path, value } => context.system.write(path, value)?,
        Mend::Enable => context.client()?.set_enabled(true)?,
    }
    Ok(())
}

fn show(context: &mut Context<'_>, findings: &[Finding]) -> Result<(), Error> {
    if context.options.is_json() {
        return context.write_json(&findings);
    }
    let mut table = Table::new(vec!["RESULT", "CHECK", "FINDING"]);
    for finding in findings {
        let text = match &finding.dev {
            Some(dev) => format!("{dev}: {}", finding.text),
            None => finding.text.clone(),
        };
        let cells = vec![finding.result.to_string(), finding.check.to_string(), text];
        let fix = finding.fix.as_ref().map(|fix| format!("fix: {fix}"));
        table.row(cells, fix.into_iter().collect());
    }
    context.write_table(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (name, expected) in [
            ("eth0.7@a:b-c/d_e", "eth0.7@a:b-c/d_e"),
            ("", "''"),
            ("wg$(id)", "'wg$(id)'"),
            ("it's;", r"'it'\''s;'"),
        ] {
            assert_eq!(word(name), expected);
        }
        assert_eq!(entering("a;b"), "ip netns exec 'a;b'");
        assert_eq!(entering("/a b"), "nsenter --net='/a b'");
    }
}
