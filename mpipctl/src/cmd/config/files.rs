// SPDX-License-Identifier: GPL-2.0

//! Which files there are: one, and drop-ins in the folder of its name.

use std::io;

use super::read;
use super::Config;
use super::Context;
use super::Mistake;
use crate::nl::Param;
use crate::Error;

/// Where the files are, and where network namespaces have their own, as ip-netns(8) has it.
const FOLDER: &str = "/etc/mpip";
const NAME: &str = "mpip.toml";
const NAMESPACES: &str = "/etc/netns";

/// A configuration, or what was wrong with it.
type Checked<T> = Result<T, Vec<Mistake>>;

/// The files of a configuration.
#[derive(Debug)]
pub(super) struct Files {
    /// The file that is saved.
    main: String,
    /// The texts that there are, by name: the main file's first.
    texts: Vec<(String, String)>,
}

impl Files {
    /// The files that count for the network namespace, or the given one; there may be none.
    pub(super) fn find(context: &Context<'_>, given: Option<&str>) -> Result<Self, Error> {
        let main = match given {
            Some(given) => given.to_string(),
            None => default(context)?,
        };
        Self::below(context, main)
    }

    /// True if there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// These files, of which there must be some: the main one, if it was named.
    pub(super) fn needed(self, given: Option<&str>) -> Result<Self, Error> {
        let main = &self.main;
        if given.is_some() && !self.has_main() {
            return Err(Error::Usage(format!("there is no file \"{main}\"")));
        }
        if self.is_empty() {
            return Err(Error::Usage(format!(
                "there is no configuration \"{main}\"; try: mpipctl config save"
            )));
        }
        Ok(self)
    }

    fn has_main(&self) -> bool {
        let mut names = self.texts.iter().map(|(name, _)| name);
        names.any(|name| name == shown(&self.main))
    }

    /// The files as they are, or are not yet. A namespace gets its own.
    pub(super) fn for_saving(context: &Context<'_>, given: Option<&str>) -> Result<Self, Error> {
        let main = match (given, &context.options.netns) {
            (Some("-"), _) => {
                return Ok(Self {
                    main: "-".to_string(),
                    texts: Vec::new(),
                })
            }
            (Some(given), _) => given.to_string(),
            (None, None) => format!("{FOLDER}/{NAME}"),
            (None, Some(name)) if is_plain(name) => format!("{NAMESPACES}/{name}/mpip/{NAME}"),
            (None, Some(name)) => {
                return Err(Error::Usage(format!(
                    "-n: \"{name}\" is no name under which a namespace has files; try: -f FILE"
                )));
            }
        };
        Self::below(context, main)
    }

    fn below(context: &Context<'_>, main: String) -> Result<Self, Error> {
        let mut paths = vec![main.clone()];
        if main != "-" {
            let folder = format!("{}.d", main.strip_suffix(".toml").unwrap_or(&main));
            let names = context.system.names(&folder);
            let names = names.map_err(|error| unreadable(&folder, &error))?;
            let names = names
                .into_iter()
                .filter(|name| name.ends_with(".toml") && !name.starts_with('.'));
            paths.extend(names.map(|name| format!("{folder}/{name}")));
        }
        let mut texts = Vec::new();
        for (i, path) in paths.into_iter().enumerate() {
            match context.system.read(&path) {
                // Nothing at all is what comes of a program that has failed.
                Ok(text) if path == "-" && text.is_empty() => {
                    let text =
                        "standard input is empty; a configuration without anything has a remark";
                    return Err(Error::Usage(text.to_string()));
                }
                Ok(text) => texts.push((shown(&path).to_string(), text)),
                // A name in the folder is there, and be it a link that leads nowhere.
                Err(error) if i == 0 && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path, &error)),
            }
        }
        Ok(Self { main, texts })
    }

    /// The files that were read.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.texts.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    /// What all files say together, as far as `params` are concerned.
    pub(super) fn read(
        &self,
        context: &mut Context<'_>,
        params: &[Param],
        lenient: bool,
    ) -> Result<Checked<Config>, Error> {
        let mut reader = read::Reader::new(params, context.system, lenient);
        for (name, text) in &self.texts {
            reader.file(name, text);
        }
        let (config, warnings) = reader.finish();
        context.warnings.extend(warnings);
        Ok(config)
    }

    /// What the main file says, and what the drop-ins say.
    pub(super) fn read_apart(
        &self,
        context: &mut Context<'_>,
        params: &[Param],
    ) -> Result<Checked<(Config, Config)>, Error> {
        // Rules of the main file are found again by their tables.
        let mut main = read::Reader::keeping(params, context.system);
        let mut others = read::Reader::new(params, context.system, true);
        for (name, text) in &self.texts {
            match name == shown(&self.main) {
                true => main.file(name, text),
                false => others.file(name, text),
            }
        }
        let (main, warnings) = main.finish();
        context.warnings.extend(warnings);
        Ok(main.and_then(|main| Ok((main, others.finish().0?))))
    }

    /// The text of the main file, empty if there is none.
    pub(super) fn text(&self) -> &str {
        let mut texts = self.texts.iter();
        let found = texts.find(|(name, _)| *name == shown(&self.main));
        found.map_or("", |(_, text)| text)
    }

    /// Writes the main file, unless it has this text.
    pub(super) fn save(&self, context: &mut Context<'_>, text: &str) -> Result<(), Error> {
        if self.main == "-" {
            return Ok(write!(context.out, "{text}")?);
        }
        if self.text() == text {
            return Ok(());
        }
        let main = &self.main;
        let saved = context.system.replace(main, text);
        saved.map_err(|error| Error::Usage(format!("cannot write \"{main}\": {error}")))
    }
}

fn unreadable(path: &str, error: &io::Error) -> Error {
    Error::Usage(format!("cannot read \"{path}\": {error}"))
}

fn default(context: &Context<'_>) -> Result<String, Error> {
    if let Some(name) = context
        .options
        .netns
        .as_deref()
        .filter(|name| is_plain(name))
    {
        let own = format!("{NAMESPACES}/{name}/mpip");
        let names = context.system.names(&own);
        if !names.map_err(|error| unreadable(&own, &error))?.is_empty() {
            return Ok(format!("{own}/{NAME}"));
        }
    }
    Ok(format!("{FOLDER}/{NAME}"))
}

/// True for a name that may be one of `ip netns`, and is neither a path nor a process id.
fn is_plain(name: &str) -> bool {
    let is_number = name.bytes().all(|b| b.is_ascii_digit());
    !is_number && !name.starts_with('.') && !name.contains('/')
}

/// How messages call a file.
fn shown(path: &str) -> &str {
    match path {
        "-" => "standard input",
        path => path,
    }
}
