// SPDX-License-Identifier: GPL-2.0

//! `psk`.

use serde::Serialize;

use super::Context;
use crate::cli::PskVerb;
use crate::nl::Psk;
use crate::Error;

#[derive(Serialize)]
struct Shown {
    set: bool,
}

pub(super) fn run(context: &mut Context<'_>, verb: Option<PskVerb>) -> Result<(), Error> {
    match verb.unwrap_or(PskVerb::Show) {
        PskVerb::Show => show(context),
        PskVerb::Set { file } => {
            let psk = read(context, &file)?;
            Ok(context.client()?.set_psk(Some(&psk))?)
        }
        PskVerb::Clear => Ok(context.client()?.set_psk(None)?),
        PskVerb::Generate => {
            let random = context.system.random();
            let psk = random.map(Psk::from_bytes).map_err(|error| {
                let text = format!("psk: no random numbers: {error}");
                Error::Usage(text)
            })?;
            let psk = psk.map_err(|why| Error::Usage(format!("psk: {why}")))?;
            Ok(writeln!(context.out, "{psk}")?)
        }
    }
}

fn show(context: &mut Context<'_>) -> Result<(), Error> {
    let node = context.client()?.status()?;
    let set = node.has_psk.unwrap_or(false);
    if context.options.is_json() {
        return context.write_json(&Shown { set });
    }
    let state = if set { "set" } else { "none" };
    Ok(writeln!(context.out, "pre-shared key: {state}")?)
}

/// The key in a file. No message quotes what is in there.
fn read(context: &Context<'_>, file: &str) -> Result<Psk, Error> {
    let text = context.system.read(file).map_err(|error| {
        let text = format!("psk: cannot read {file:?}: {error}");
        Error::Usage(text)
    })?;
    text.parse().map_err(|why| {
        let remedy = "try: mpipctl psk generate";
        Error::Usage(format!("psk: {file:?}: {why}; {remedy}"))
    })
}
