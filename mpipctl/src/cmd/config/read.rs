// SPDX-License-Identifier: GPL-2.0

//! What a file says. Every mistake in it is found, with its place and with what is there.

use std::ops::Range;

use toml_edit::Document;
use toml_edit::Item;
use toml_edit::Key;
use toml_edit::TableLike;
use toml_edit::Value;

use super::Config;
use super::KeyFile;
use super::Mistake;
use super::Place;
use super::Placed;
use crate::cmd::interface;
use crate::cmd::param;
use crate::cmd::psk;
use crate::cmd::rule;
use crate::cmd::value;
use crate::nl::Interface;
use crate::nl::Param;
use crate::nl::Rule;
use crate::nl::RuleMode;
use crate::nl::RulePriority;
use crate::system::System;

/// The keys of a file and of its table `ask`.
const KEYS: &[&str] = &["enabled", "psk", "param", "ask", "interface", "rule"];
const ASK_KEYS: &[&str] = &["prefixes"];
/// What the module has room for.
const MAX_PREFIXES: usize = 64;
const MAX_INTERFACES: usize = 64;
pub(super) const MAX_RULES: usize = 10_000;

type Span = Option<Range<usize>>;

/// Reads files one after the other: what a later one says of a parameter counts, rules and prefixes
/// are added.
pub(super) struct Reader<'a> {
    params: &'a [Param],
    system: &'a dyn System,
    /// Interfaces need not be there, and rules for control groups that are not are left out.
    lenient: bool,
    /// Such rules are kept nevertheless, for a group that nothing has: each table has its rule.
    keeps: bool,
    file: String,
    text: String,
    config: Config,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(params: &'a [Param], system: &'a dyn System, lenient: bool) -> Self {
        Self {
            params,
            system,
            lenient,
            keeps: false,
            file: String::new(),
            text: String::new(),
            config: Config::default(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The same, with a rule for each table of a rule.
    pub(super) fn keeping(params: &'a [Param], system: &'a dyn System) -> Self {
        Self {
            keeps: true,
            ..Self::new(params, system, true)
        }
    }

    /// What all files said, or their mistakes; and remarks.
    pub(super) fn finish(self) -> (Result<Config, Vec<Mistake>>, Vec<String>) {
        let config = match self.mistakes.is_empty() {
            true => Ok(self.config),
            false => Err(self.mistakes),
        };
        (config, self.warnings)
    }

    pub(super) fn file(&mut self, name: &str, text: &str) {
        self.file = name.to_string();
        self.text = text.to_string();
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(error) => return self.no_toml(&error),
        };
        for (key, item) in document.iter() {
            let span = span_of(document.key(key), item);
            match key {
                "enabled" => self.enabled(item),
                "psk" => self.psk(item),
                "param" => self.params(item),
                "ask" => self.ask(item),
                "interface" => self.interfaces(item),
                "rule" => self.rules(item),
                _ => self.unknown(span, key, KEYS),
            }
        }
    }

    fn no_toml(&mut self, error: &toml_edit::TomlError) {
        let start = error.span().map_or(0, |span| span.start);
        let place = self.place(Some(start..start));
        let line = self.text.lines().nth(place.line.saturating_sub(1));
        let line = line.unwrap_or_default().trim();
        let why = error.message().replace('\n', "; ");
        self.wrong(Some(start..start), format!("{why}: \"{line}\""));
    }

    /// Lines and columns are counted from 1 on, columns in characters.
    fn place(&self, span: Span) -> Place {
        let start = span.map_or(0, |span| span.start);
        let before = self.text.get(..start).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }

    fn placed<T>(&self, value: T, span: Span) -> Placed<T> {
        let place = self.place(span);
        Placed { value, place }
    }

    fn wrong(&mut self, span: Span, text: String) {
        let place = self.place(span);
        self.mistakes.push(Mistake { place, text });
    }

    fn unknown(&mut self, span: Span, key: &str, keys: &[&str]) {
        let keys = keys.join(", ");
        self.wrong(span, format!("unknown key \"{key}\"; there are: {keys}"));
    }

    /// The text of something, on one line.
    fn raw(&self, span: Span) -> String {
        let raw = span
            .and_then(|span| self.text.get(span))
            .unwrap_or_default();
        raw.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn mistyped(&mut self, name: &str, wanted: &str, span: Span) {
        let raw = self.raw(span.clone());
        self.wrong(span, format!("{name}: not {wanted}: {raw}"));
    }

    /// The table that an item is to be.
    fn table<'t>(&mut self, name: &str, item: &'t Item) -> Option<&'t dyn TableLike> {
        let table = item.as_table_like();
        if table.is_none() {
            let what = format!("a table, which begins with [{name}]");
            self.mistyped(name, &what, item.span());
        }
        table
    }

    fn enabled(&mut self, item: &Item) {
        match item.as_bool() {
            Some(value) => self.config.enabled = Some(self.placed(value, item.span())),
            None => self.mistyped("enabled", "true or false", item.span()),
        }
    }

    /// Never left out: without its key MPIP would have anybody for a peer.
    fn psk(&mut self, item: &Item) {
        let Some(path) = item.as_str() else {
            return self.mistyped("psk", "the name of a file in quotes", item.span());
        };
        let psk = match self.system.read(path) {
            Ok(text) => text.parse().map_err(|why| format!("psk: {path:?}: {why}")),
            Err(error) => Err(format!("psk: cannot read {path:?}: {error}")),
        };
        match psk {
            Ok(psk) => {
                if let Some(text) = psk::exposed(self.system, path) {
                    let place = self.place(item.span());
                    self.warnings.push(format!("{place}: {text}"));
                }
                let path = path.to_string();
                self.config.psk = Some(self.placed(KeyFile { path, psk }, item.span()));
            }
            Err(why) => self.wrong(item.span(), why),
        }
    }

    fn params(&mut self, item: &Item) {
        let Some(table) = self.table("param", item) else {
            return;
        };
        for (name, item) in table.iter() {
            let params = self.params;
            let param = match param::find(params, name) {
                Ok(param) => param,
                Err(error) => {
                    self.wrong(span_of(table.key(name), item), error.to_string());
                    continue;
                }
            };
            let is_switch = param.choices.0 == ["off", "on"];
            let text = match item.as_bool() {
                Some(true) if is_switch => Some("on".to_string()),
                Some(false) if is_switch => Some("off".to_string()),
                _ => item.as_value().and_then(scalar),
            };
            let Some(text) = text else {
                self.mistyped(name, "a whole number or a string", item.span());
                continue;
            };
            match value::parse(param, &text) {
                Ok(value) => {
                    let value = self.placed(value, item.span());
                    self.config.params.retain(|(n, _)| n != name);
                    self.config.params.push((name.to_string(), value));
                }
                Err(why) => self.wrong(item.span(), why),
            }
        }
    }

    fn ask(&mut self, item: &Item) {
        let Some(table) = self.table("ask", item) else {
            return;
        };
        for (key, item) in table.iter() {
            if key != "prefixes" {
                self.unknown(span_of(table.key(key), item), key, ASK_KEYS);
                continue;
            }
            let Some(list) = item.as_array() else {
                self.mistyped(key, "a list such as [\"192.0.2.0/24\"]", item.span());
                continue;
            };
            for element in list {
                let span = element.span();
                let Some(text) = element.as_str() else {
                    self.mistyped(key, "an address or prefix in quotes", span);
                    continue;
                };
                match text.parse() {
                    Ok(prefix) => self.prefix(prefix, span),
                    Err(why) => self.wrong(span, format!("{key}: {why}")),
                }
            }
        }
    }

    /// One that is there several times counts once, as the kernel wants it.
    fn prefix(&mut self, prefix: crate::nl::Prefix, span: Span) {
        let mut others = self.config.prefixes.iter();
        if others.any(|other| other.value == prefix) {
            return;
        }
        if self.config.prefixes.len() >= MAX_PREFIXES {
            let text = format!("prefixes: more than {MAX_PREFIXES}: \"{prefix}\"");
            return self.wrong(span, text);
        }
        let prefix = self.placed(prefix, span);
        self.config.prefixes.push(prefix);
    }

    fn interfaces(&mut self, item: &Item) {
        let Some(table) = self.table("interface.NAME", item) else {
            return;
        };
        for (name, item) in table.iter() {
            let span = span_of(table.key(name), item);
            if let Err(why) = interface::check_name(name) {
                self.wrong(span, why);
                continue;
            }
            let heading = format!("interface.{name}");
            if let Some(table) = self.table(&heading, item) {
                self.interface(name, table, span);
            }
        }
    }

    /// What several files say of an interface is put together.
    fn interface(&mut self, name: &str, table: &dyn TableLike, span: Span) {
        let known = self.config.interface(name).map(|known| known.value.clone());
        let mut interface = known.unwrap_or_else(|| Interface {
            name: name.to_string(),
            ..Interface::default()
        });
        for (key, item) in table.iter() {
            // That is no setting.
            if key == interface::USED || !interface::NAMES.contains(&key) {
                let mut names = interface::NAMES.to_vec();
                names.retain(|name| *name != interface::USED);
                self.unknown(span_of(table.key(key), item), key, &names);
                continue;
            }
            let is_switch = matches!(key, "backup" | "exclude" | "enrol");
            let text = match item.as_bool() {
                Some(is) if is_switch => Some(if is { "on" } else { "off" }.to_string()),
                _ => item.as_value().and_then(scalar),
            };
            let Some(text) = text else {
                let wanted = match is_switch {
                    true => "true or false",
                    false => "a whole number or a string",
                };
                self.mistyped(key, wanted, item.span());
                continue;
            };
            if let Err(why) = interface::set(&mut interface, key, &text) {
                self.wrong(item.span(), why);
            }
        }
        if let Some((key, why)) = interface::flaw(&interface) {
            let at = table.get(key).and_then(Item::span).or(span);
            return self.wrong(at, format!("{key}: {why}: {name}"));
        }
        let interface = self.placed(interface, span);
        let list = &mut self.config.interfaces;
        if let Some(known) = list.iter_mut().find(|known| known.value.name == name) {
            *known = interface;
        } else if list.len() < MAX_INTERFACES {
            list.push(interface);
        } else {
            let place = interface.place;
            let text = format!("interface: more than {MAX_INTERFACES}: \"{name}\"");
            self.mistakes.push(Mistake { place, text });
        }
    }

    fn rules(&mut self, item: &Item) {
        let wanted = "tables, each of which begins with [[rule]]";
        if let Some(tables) = item.as_array_of_tables() {
            for table in tables {
                self.rule(table, table.span());
            }
        } else if let Some(list) = item.as_array() {
            for element in list {
                match element.as_inline_table() {
                    Some(table) => self.rule(table, element.span()),
                    None => self.mistyped("rule", wanted, element.span()),
                }
            }
        } else {
            self.mistyped("rule", wanted, item.span());
        }
    }

    fn rule(&mut self, table: &dyn TableLike, span: Span) {
        let count = self.mistakes.len();
        let mut rule = Rule::default();
        let mut gone = None;
        for (name, item) in table.iter() {
            // The order is that of the file.
            if name == "number" || !rule::NAMES.contains(&name) {
                let mut names = rule::NAMES.to_vec();
                names.retain(|name| *name != "number");
                self.unknown(span_of(table.key(name), item), name, &names);
                continue;
            }
            if name == "dev" {
                let names = self.devices(item).unwrap_or_default();
                if let Err(why) = rule::set_devices(&mut rule, names, self.system) {
                    self.wrong(item.span(), format!("dev: {why}"));
                }
                continue;
            }
            let Some(text) = self.rule_value(name, item) else {
                continue;
            };
            // Without this condition it would be for everybody.
            if name == "cgroup" && self.lenient && rule::is_gone(&text, self.system) {
                rule.cgroup = Some(0);
                gone = Some((text, item.span()));
                continue;
            }
            if let Err(why) = rule::set(&mut rule, name, &text, self.system) {
                self.wrong(item.span(), format!("{name}: {why}"));
            }
        }
        if self.mistakes.len() > count {
            return;
        }
        if !rule::ACTS.iter().any(|act| table.contains_key(act)) {
            let rule = self.raw(span.clone());
            return self.wrong(span, format!("{}: {rule}", rule::IDLE));
        }
        if let Some((name, why)) = flaw(&rule) {
            let at = table.get(name).and_then(Item::span).or(span);
            let raw = self.raw(at.clone());
            return self.wrong(at, format!("{name}: {why}: {raw}"));
        }
        if let Some((path, at)) = gone {
            let place = self.place(at);
            let text = format!("{place}: cgroup: no such control group: \"{path}\"");
            self.warnings.push(format!("{text}; the rule is left out"));
            if !self.keeps {
                return;
            }
        }
        if self.config.rules.len() >= MAX_RULES {
            return self.wrong(span, format!("rule: more than {MAX_RULES}"));
        }
        let rule = self.placed(rule, span);
        self.config.rules.push(rule);
    }

    /// The text of a value as `rule add` takes it.
    fn rule_value(&mut self, name: &str, item: &Item) -> Option<String> {
        let text = item.as_value().and_then(scalar);
        if text.is_none() {
            self.mistyped(name, "a whole number or a string", item.span());
        }
        text
    }

    /// A name, several with commas between, or a list.
    fn devices(&mut self, item: &Item) -> Option<Vec<String>> {
        let names: Vec<(String, Span)> = if let Some(text) = item.as_str() {
            let names = text.split(',');
            names.map(|name| (name.to_string(), item.span())).collect()
        } else if let Some(list) = item.as_array() {
            let names = list.iter();
            let names: Option<Vec<_>> = names
                .map(|element| Some((element.as_str()?.to_string(), element.span())))
                .collect();
            names.unwrap_or_default()
        } else {
            Vec::new()
        };
        if names.is_empty() {
            self.mistyped(
                "dev",
                "a list of names such as [\"eth0\", \"wwan0\"]",
                item.span(),
            );
            return None;
        }
        for (name, span) in &names {
            if self.system.interface_index(name).is_some() {
                continue;
            }
            let text = format!("dev: no such interface: \"{name}\"");
            if self.lenient && !self.keeps {
                let place = self.place(span.clone());
                self.warnings
                    .push(format!("{place}: {text}; it counts when there is"));
            } else if !self.lenient {
                self.wrong(span.clone(), text);
            }
        }
        Some(names.into_iter().map(|(name, _)| name).collect())
    }
}

/// Where a key stands, or what it is for.
fn span_of(key: Option<&Key>, item: &Item) -> Span {
    key.and_then(Key::span).or_else(|| item.span())
}

/// A number or a string as it would be typed.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        _ => None,
    }
}

/// What the kernel would refuse: the key, and why.
fn flaw(rule: &Rule) -> Option<(&'static str, &'static str)> {
    let rule = super::plan::plain(rule);
    let mode = rule.mode.unwrap_or(RuleMode::All);
    let limit = [
        ("delay", rule.max_delay_us.is_some()),
        ("loss", rule.max_loss.is_some()),
        ("rate", rule.min_rate.is_some()),
        ("cost", rule.max_cost.is_some()),
    ];
    let limit = limit.iter().find(|(_, is_given)| *is_given);
    let is_limited = limit.is_some();
    let chooses = matches!(mode, RuleMode::All | RuleMode::Selected);
    let families = rule.dst.zip(rule.src);
    let ordered = rule.ordered == Some(true);
    let flaws = [
        (
            families.is_some_and(|(dst, src)| dst.is_ipv4() != src.is_ipv4()),
            ("src", "one address is IPv4, the other one IPv6"),
        ),
        (
            rule.priority == Some(RulePriority::Latency) && !chooses,
            (
                "priority",
                "latency leaves the mode no say: only all and selected go with it",
            ),
        ),
        (
            is_limited && mode != RuleMode::Selected,
            (
                limit.map_or("mode", |(name, _)| name),
                "only mode selected has limits of delay, loss, rate and cost",
            ),
        ),
        (
            !is_limited && mode == RuleMode::Selected,
            (
                "mode",
                "selected needs a limit of delay, loss, rate or cost",
            ),
        ),
        (
            mode == RuleMode::Never && rule.dev.is_some(),
            (
                "dev",
                "mode never keeps to the interface that routing chooses",
            ),
        ),
        (
            ordered && rule.protocol.is_some_and(|protocol| protocol.0 == 6),
            ("ordered", "TCP is put in order anyway: ordered is for UDP"),
        ),
        (
            ordered && mode == RuleMode::Never,
            (
                "ordered",
                "with mode never datagrams stay as they are and have no numbers",
            ),
        ),
    ];
    flaws.into_iter().find(|(is, _)| *is).map(|(_, flaw)| flaw)
}
