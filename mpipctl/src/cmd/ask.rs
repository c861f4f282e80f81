// SPDX-License-Identifier: GPL-2.0

//! `ask`.

use super::Context;
use crate::cli::AskVerb;
use crate::nl;
use crate::nl::Prefix;
use crate::Error;

pub(super) fn run(context: &mut Context<'_>, verb: Option<AskVerb>) -> Result<(), Error> {
    match verb.unwrap_or(AskVerb::Show) {
        AskVerb::Show => show(context),
        AskVerb::Add { prefix } => {
            let parsed = parse(&prefix)?;
            let client = context.client()?;
            client.add_prefix(&parsed).map_err(refused(&prefix))
        }
        AskVerb::Del { prefix } => {
            let parsed = parse(&prefix)?;
            let client = context.client()?;
            client.del_prefix(&parsed).map_err(refused(&prefix))
        }
    }
}

/// What the kernel said of a prefix.
fn refused(prefix: &str) -> impl FnOnce(nl::Error) -> Error + '_ {
    move |error| Error::of(format!("prefix \"{prefix}\""), "mpipctl ask", error)
}

fn show(context: &mut Context<'_>) -> Result<(), Error> {
    let prefixes: Vec<Prefix> = context.list()?;
    if context.options.is_json() {
        return context.write_json(&prefixes);
    }
    for prefix in prefixes {
        writeln!(context.out, "{prefix}")?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Prefix, Error> {
    text.parse()
        .map_err(|why| Error::Usage(format!("ask: {why}")))
}
