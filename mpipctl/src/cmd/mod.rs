// SPDX-License-Identifier: GPL-2.0

//! The commands, one file per object.

mod ask;
mod avail;
pub mod batch;
mod completion;
mod config;
mod doctor;
mod enable;
mod interface;
mod monitor;
mod param;
mod path;
mod peer;
mod psk;
mod rule;
mod select;
mod session;
mod stats;
mod status;
mod top;
mod value;

use std::collections::HashSet;
use std::io::Write;

use serde::Serialize;

use crate::cli::Color;
use crate::cli::Object;
use crate::cli::Options;
use crate::man;
use crate::nl::Client;
use crate::nl::Record;
use crate::out::json;
use crate::out::text::Table;
use crate::system::System;
use crate::Error;

pub(crate) use config::known as known_params;
#[cfg(test)]
pub(crate) use config::mistakes_in as config_mistakes;
pub(crate) use interface::NAMES as INTERFACE_NAMES;
pub(crate) use path::NAMES as PATH_NAMES;
pub(crate) use rule::NAMES as RULE_NAMES;

/// What commands work with. It outlives a command, so that several can share a connection.
pub struct Context<'a> {
    options: Options,
    system: &'a dyn System,
    out: &'a mut dyn Write,
    client: Option<Client>,
    warnings: Vec<String>,
}

impl<'a> Context<'a> {
    /// Nothing is connected yet: bad values are reported even where no module is loaded.
    pub fn new(options: Options, system: &'a dyn System, out: &'a mut dyn Write) -> Self {
        Self {
            options,
            system,
            out,
            client: None,
            warnings: Vec::new(),
        }
    }

    /// Takes the remarks that belong on standard error.
    pub fn take_warnings(&mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if let Some(client) = &mut self.client {
            warnings.extend(client.take_warnings());
        }
        // What is tried again says the same again.
        let mut seen = HashSet::new();
        warnings.retain(|warning| seen.insert(warning.clone()));
        warnings
    }

    fn client(&mut self) -> Result<&mut Client, Error> {
        if self.client.is_none() {
            self.client = Some(self.system.connect()?);
        }
        Ok(self.client.as_mut().expect("connected above"))
    }

    fn list<T: Record>(&mut self) -> Result<Vec<T>, Error> {
        self.list_as(Some)
    }

    fn list_as<T: Record, R>(&mut self, pick: impl FnMut(T) -> Option<R>) -> Result<Vec<R>, Error> {
        let listing = self.client()?.list_as(pick)?;
        if listing.interrupted {
            self.warnings.push(
                "the table changed while it was read: entries may be missing or appear twice"
                    .to_string(),
            );
        }
        Ok(listing.items)
    }

    fn write_json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        Ok(json::write(self.out, value, self.options.pretty)?)
    }

    fn write_table(&mut self, table: &Table) -> Result<(), Error> {
        let color = self.color();
        Ok(table.write(self.out, self.options.oneline, color)?)
    }

    fn color(&self) -> bool {
        match self.options.color {
            Color::Auto => self.system.likes_color(),
            Color::Always => true,
            Color::Never => false,
        }
    }
}

/// Does what the command line asks for.
pub fn run(object: Option<Object>, context: &mut Context<'_>) -> Result<(), Error> {
    match object.unwrap_or(Object::Status) {
        Object::Status => status::show(context),
        Object::Enable => enable::set(context, true),
        Object::Disable => enable::set(context, false),
        Object::Peer(what) => peer::show(context, what.words()),
        Object::Session(what) => session::show(context, what.words()),
        Object::Path { verb } => path::run(context, verb),
        Object::Stats(how) => stats::show(context, &how),
        Object::Param { verb } => param::run(context, verb),
        Object::Avail(what) => avail::show(context, what.words()),
        Object::Monitor(what) => monitor::run(context, &what),
        Object::Top(how) => top::run(context, &how),
        Object::Ask { verb } => ask::run(context, verb),
        Object::Config(how) => config::run(context, &how),
        Object::Doctor(how) => doctor::run(context, how),
        Object::Completion { shell } => completion::write(context, shell),
        Object::Man { section } => Ok(man::write(context.out, section)?),
        Object::Rule { verb } => rule::run(context, verb),
        Object::Psk { verb } => psk::run(context, verb),
        Object::Interface { verb } => interface::run(context, verb),
    }
}
