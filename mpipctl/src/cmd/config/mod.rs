// SPDX-License-Identifier: GPL-2.0

//! `config`: the configuration files, and what the kernel has.
//!
//! [`files`] finds and reads the files, [`read`] understands one, [`plan`] says what leads from
//! what the kernel has to what they want, [`mod@write`] makes a file of what the kernel has.

mod builtin;
mod files;
mod plan;
mod read;
mod write;

use std::fmt;

use serde::Serialize;

use self::files::Files;
use self::plan::Step;
use self::plan::Stopped;
use super::Context;
use crate::cli;
use crate::cli::ConfigVerb;
use crate::nl::Interface;
use crate::nl::Param;
use crate::nl::Prefix;
use crate::nl::Psk;
use crate::nl::Record;
use crate::nl::Rule;
use crate::Error;

pub(crate) use self::builtin::known;

/// How often it is tried to change rules that others change meanwhile.
const ATTEMPTS: u32 = 5;

/// Where something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Place {
    file: String,
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Something, and where it stands.
#[derive(Clone, Debug)]
struct Placed<T> {
    value: T,
    place: Place,
}

/// What is wrong, and where.
#[derive(Clone, Debug, Serialize)]
struct Mistake {
    #[serde(flatten)]
    place: Place,
    text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A pre-shared key, and the file that has it.
#[derive(Clone, Debug)]
struct KeyFile {
    path: String,
    psk: Psk,
}

/// What is known of the kernel's pre-shared key, which it does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// There is none.
    None,
    /// It is that of the files.
    Same,
    /// It is none that is known here.
    Other,
}

/// What files say.
#[derive(Clone, Debug, Default)]
struct Config {
    enabled: Option<Placed<bool>>,
    psk: Option<Placed<KeyFile>>,
    params: Vec<(String, Placed<u64>)>,
    prefixes: Vec<Placed<Prefix>>,
    interfaces: Vec<Placed<Interface>>,
    rules: Vec<Placed<Rule>>,
}

impl Config {
    /// What is wanted of an interface.
    fn interface(&self, name: &str) -> Option<&Placed<Interface>> {
        let mut interfaces = self.interfaces.iter();
        interfaces.find(|interface| interface.value.name == name)
    }

    /// A parameter's value.
    fn param(&self, name: &str) -> Option<&Placed<u64>> {
        let mut params = self.params.iter();
        params.find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

/// What the kernel has, or is to have.
#[derive(Clone, Debug)]
struct State {
    enabled: bool,
    psk: Known,
    params: Vec<Param>,
    prefixes: Vec<Prefix>,
    /// Those that something is set for.
    interfaces: Vec<Interface>,
    rules: Vec<Rule>,
}

impl State {
    fn read(context: &mut Context<'_>) -> Result<Self, Error> {
        let node = context.client()?.status()?;
        let mut state = Self {
            enabled: node.enabled,
            psk: match node.has_psk {
                Some(true) => Known::Other,
                _ => Known::None,
            },
            params: whole(context)?,
            prefixes: whole(context)?,
            interfaces: whole(context)?,
            rules: whole(context)?,
        };
        state.interfaces.retain(|interface| !interface.is_plain());
        Ok(state)
    }

    /// Finds out whether the kernel has the pre-shared key of this configuration.
    fn compare_psk(&mut self, context: &mut Context<'_>, config: &Config) -> Result<(), Error> {
        if let (Some(wanted), Known::Other) = (&config.psk, self.psk) {
            if context.client()?.has_psk(&wanted.value.psk)? {
                self.psk = Known::Same;
            }
        }
        Ok(())
    }

    /// The same as a configuration that leaves nothing to chance, but for the pre-shared key.
    fn config(&self) -> Config {
        fn placed<T>(value: T) -> Placed<T> {
            let place = Place::default();
            Placed { value, place }
        }
        let params = self.params.iter();
        Config {
            enabled: Some(placed(self.enabled)),
            psk: None,
            params: params
                .map(|param| (param.name.clone(), placed(param.value)))
                .collect(),
            prefixes: self.prefixes.iter().cloned().map(placed).collect(),
            interfaces: self
                .interfaces
                .iter()
                .map(|interface| placed(interface.settings()))
                .collect(),
            rules: self.rules.iter().cloned().map(placed).collect(),
        }
    }
}

/// A list that did not change while it was read: what is planned by its numbers has to fit.
fn whole<T: Record>(context: &mut Context<'_>) -> Result<Vec<T>, Error> {
    let listing = context.client()?.list()?;
    match listing.interrupted {
        true => Err(changing()),
        false => Ok(listing.items),
    }
}

fn changing() -> Error {
    let text = "what the kernel has kept changing while it was read; try again";
    Error::Usage(text.to_string())
}

pub(super) fn run(context: &mut Context<'_>, how: &cli::Config) -> Result<(), Error> {
    let file = how.file.as_deref();
    match how.verb.unwrap_or(ConfigVerb::Show) {
        ConfigVerb::Show if file.is_some() => Err(Error::Usage(
            "-f: show tells what the kernel has; try: mpipctl config diff -f FILE".to_string(),
        )),
        ConfigVerb::Show => show(context),
        ConfigVerb::Check => check(context, file, how.lenient),
        ConfigVerb::Diff => diff(context, file, how.lenient),
        ConfigVerb::Apply => apply(context, file, how.lenient),
        ConfigVerb::Save => save(context, file),
    }
}

fn show(context: &mut Context<'_>) -> Result<(), Error> {
    let state = State::read(context)?;
    let (document, warnings) = write::fresh(&state, context.system);
    context.warnings.extend(warnings);
    if context.options.is_json() {
        return context.write_json(&write::Json(&document));
    }
    Ok(write!(context.out, "{}{document}", write::HEADER)?)
}

/// Mistakes are the answer here: with -j they are told as JSON, too.
fn check(context: &mut Context<'_>, file: Option<&str>, lenient: bool) -> Result<(), Error> {
    let files = Files::find(context, file)?.needed(file)?;
    let checked = files.read(context, &known(), lenient)?;
    if context.options.is_json() {
        let mistakes = checked.as_ref().err().cloned().unwrap_or_default();
        context.write_json(&mistakes)?;
    }
    let config = checked.map_err(mistakes)?;
    if !context.options.is_json() {
        writeln!(
            context.out,
            "{}: no mistake; {}, {}, {}, {}",
            files.names(),
            several(config.params.len(), "parameter"),
            several(config.prefixes.len(), "prefix"),
            several(config.interfaces.len(), "interface"),
            several(config.rules.len(), "rule"),
        )?;
    }
    Ok(())
}

fn several(count: usize, what: &str) -> String {
    let plural = if what.ends_with('x') { "es" } else { "s" };
    let plural = if count == 1 { "" } else { plural };
    format!("{count} {what}{plural}")
}

fn mistakes(all: Vec<Mistake>) -> Error {
    Error::Mistakes(all.iter().map(ToString::to_string).collect())
}

/// What the kernel has, and the steps from there to what the files say.
fn prepare(
    context: &mut Context<'_>,
    files: &Files,
    lenient: bool,
) -> Result<(State, Vec<Step>), Error> {
    let mut state = match State::read(context) {
        Ok(state) => state,
        // Mistakes are told where there is no module, too.
        Err(error) => {
            let checked = files.read(context, &known(), lenient)?;
            return Err(checked.map_or_else(mistakes, |_| error));
        }
    };
    let checked = files.read(context, &state.params, lenient)?;
    let config = checked.map_err(mistakes)?;
    state.compare_psk(context, &config)?;
    let steps = plan::plan(&state, &config, context.system);
    Ok((state, steps))
}

fn diff(context: &mut Context<'_>, file: Option<&str>, lenient: bool) -> Result<(), Error> {
    let files = Files::find(context, file)?.needed(file)?;
    let (_, steps) = prepare(context, &files, lenient)?;
    tell(context, &steps)?;
    match steps.len() {
        0 => Ok(()),
        _ => Err(Error::Differs),
    }
}

/// Writes steps as commands, which a batch would take.
fn tell(context: &mut Context<'_>, steps: &[Step]) -> Result<(), Error> {
    if context.options.is_json() {
        let rows: Vec<plan::Row> = steps.iter().map(|step| step.row(context.system)).collect();
        return context.write_json(&rows);
    }
    for step in steps {
        writeln!(context.out, "{}", step.line(context.system))?;
    }
    Ok(())
}

fn apply(context: &mut Context<'_>, file: Option<&str>, lenient: bool) -> Result<(), Error> {
    let files = Files::find(context, file)?;
    if lenient && file.is_none() && files.is_empty() {
        return Ok(context.client()?.set_enabled(true)?);
    }
    let files = files.needed(file)?;
    let (mut now, mut steps) = prepare(context, &files, lenient)?;
    for attempts in 1.. {
        let outcome = plan::carry_out(context.client()?, &now, &steps);
        match outcome {
            Ok(()) => break,
            Err(Stopped::Changed) if attempts < ATTEMPTS => {
                (now, steps) = prepare(context, &files, lenient)?;
            }
            Err(Stopped::Changed) => return Err(changing()),
            Err(Stopped::Failed(error)) => return Err(undo(context, &now, error.into())),
            Err(Stopped::At(step, error)) => {
                let mut before = steps.iter().take_while(|s| !std::ptr::eq(*s, step));
                // With another key MPIP begins anew: what fails then has changed it.
                if before.any(Step::is_of_psk) || step.has_set_psk(context.client()?) {
                    let text = "the pre-shared key was changed before the error, and stays so";
                    context.warnings.push(text.to_string());
                }
                let error = Error::of(step.command(context.system), "mpipctl config show", error);
                let error = match step.place().map(ToString::to_string) {
                    Some(place) => Error::Line {
                        place,
                        error: Box::new(error),
                    },
                    None => error,
                };
                return Err(undo(context, &now, error));
            }
        }
    }
    if context.options.is_json() || context.options.details {
        tell(context, &steps)?;
    }
    Ok(())
}

/// Goes back to what there was before a step failed. Gives the error back; a warning says if this
/// fails, too. MPIP is not left off where that can be helped.
fn undo(context: &mut Context<'_>, before: &State, error: Error) -> Error {
    let undone = State::read(context).and_then(|now| {
        let mut steps = plan::plan(&now, &before.config(), context.system);
        // The old one is not known.
        steps.retain(|step| !step.is_of_psk());
        plan::carry_out(context.client()?, &now, &steps).map_err(|stopped| match stopped {
            Stopped::Changed => changing(),
            Stopped::Failed(error) | Stopped::At(_, error) => error.into(),
        })
    });
    if let Err(why) = undone {
        let text = format!("what was changed before the error could not be undone: {why}");
        context.warnings.push(text);
        if before.enabled && !is_on_again(context) {
            return Error::LeftOff(Box::new(error));
        }
    }
    error
}

/// Enables MPIP if it is off. False if it is off then as well.
fn is_on_again(context: &mut Context<'_>) -> bool {
    let Ok(client) = context.client() else {
        return true;
    };
    match client.status() {
        Ok(node) if !node.enabled => client.set_enabled(true).is_ok(),
        _ => true,
    }
}

/// Drop-ins are left alone: the file gets what they do not say.
fn save(context: &mut Context<'_>, file: Option<&str>) -> Result<(), Error> {
    let files = Files::for_saving(context, file)?;
    let mut state = State::read(context)?;
    // What has gone is not in the drop-ins either, as they are understood here.
    let (rules, warnings) = write::lasting(&state.rules, context.system);
    context.warnings.extend(warnings);
    state.rules = rules;
    let (main, others) = files
        .read_apart(context, &state.params)?
        .map_err(mistakes)?;
    for config in [&main, &others] {
        state.compare_psk(context, config)?;
    }
    let rest = plan::without(&state, &others, context.system).map_err(mistakes)?;
    let (text, warnings) =
        write::updated(files.text(), &main, &rest, context.system).map_err(Error::Usage)?;
    context.warnings.extend(warnings);
    files.save(context, &text)
}

/// The mistakes in a text, for those who write examples.
#[cfg(test)]
pub(crate) fn mistakes_in(text: &str) -> Vec<String> {
    let (params, system) = (known(), crate::system::Real::default());
    let mut reader = read::Reader::new(&params, &system, true);
    reader.file("text", text);
    let mistakes = reader.finish().0.err().unwrap_or_default();
    mistakes.iter().map(ToString::to_string).collect()
}
