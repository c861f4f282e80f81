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
        let main = given.map_or_else(|| default(context), str::to_string);
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
            let names = context.system.names(&folder).into_iter();
            let names = names.filter(|name| name.ends_with(".toml") && !name.starts_with('.'));
            paths.extend(names.map(|name| format!("{folder}/{name}")));
        }
        let mut texts = Vec::new();
        for path in paths {
            match context.system.read(&path) {
                Ok(text) => texts.push((shown(&path).to_string(), text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Error::Usage(format!("cannot read \"{path}\": {error}")));
                }
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
        let is_main = |name: &str| name == shown(&self.main);
        let part = |wanted: bool| {
            let mut reader = read::Reader::new(params, context.system, true);
            for (name, text) in &self.texts {
                if is_main(name) == wanted {
                    reader.file(name, text);
                }
            }
            reader.finish().0
        };
        Ok(part(true).and_then(|main| Ok((main, part(false)?))))
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

fn default(context: &Context<'_>) -> String {
    if let Some(name) = context
        .options
        .netns
        .as_deref()
        .filter(|name| is_plain(name))
    {
        let own = format!("{NAMESPACES}/{name}/mpip");
        if !context.system.names(&own).is_empty() {
            return format!("{own}/{NAME}");
        }
    }
    format!("{FOLDER}/{NAME}")
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
