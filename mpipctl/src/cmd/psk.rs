// SPDX-License-Identifier: GPL-2.0

//! `psk`.

use serde::Serialize;

use super::doctor::word;
use super::Context;
use crate::cli::PskVerb;
use crate::nl::Client;
use crate::nl::Psk;
use crate::system::System;
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
            let exposed = exposed(context.system, &file);
            context.warnings.extend(exposed);
            change(context, Some(&psk))
        }
        PskVerb::Clear => change(context, None),
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

/// Sets the key, or takes it away. MPIP begins anew with another one: if it cannot, it goes on as it
/// was, but for older modules; then it is not left off where that can be helped.
fn change(context: &mut Context<'_>, psk: Option<&Psk>) -> Result<(), Error> {
    let client = context.client()?;
    let was_on = client.status()?.enabled;
    let Err(error) = client.set_psk(psk) else {
        return Ok(());
    };
    let error = Error::from(error);
    // Where it was refused nothing has changed.
    if !was_on || client.status().map_or(true, |node| node.enabled) {
        return Err(error);
    }
    if client.set_enabled(true).is_err() {
        return Err(Error::LeftOff(Box::new(error)));
    }
    if !is(client, psk) {
        return Err(error);
    }
    let text = format!("MPIP did not begin anew at once, and was enabled again: {error}");
    context.warnings.push(text);
    Ok(())
}

/// Whether the kernel has this key, or none.
pub(super) fn is(client: &mut Client, psk: Option<&Psk>) -> bool {
    match psk {
        Some(psk) => client.has_psk(psk).unwrap_or(false),
        None => client
            .status()
            .is_ok_and(|node| node.has_psk == Some(false)),
    }
}

/// What there is to be said of a file with a key that others than its owner can get at.
pub(super) fn exposed(system: &dyn System, file: &str) -> Option<String> {
    let mode = system.mode(file)?;
    (mode & 0o066 != 0).then(|| {
        format!(
            "psk: {file:?}: its mode {mode:03o} lets others than its owner have the key; \
             try: chmod 600 {}",
            word(file)
        )
    })
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
