// SPDX-License-Identifier: GPL-2.0

//! What the kernel has as a file. What is right in an old file stays as it is written there.

use std::collections::HashMap;
use std::collections::VecDeque;

use serde::Serialize;
use serde::Serializer;
use toml_edit::Array;
use toml_edit::ArrayOfTables;
use toml_edit::DocumentMut;
use toml_edit::Item;
use toml_edit::Table;
use toml_edit::TableLike;
use toml_edit::Value;

use super::plan::by_name;
use super::plan::key;
use super::plan::shown;
use super::Config;
use super::Known;
use super::State;
use crate::cmd::interface;
use crate::cmd::rule;
use crate::nl::Interface;
use crate::nl::Interfaces;
use crate::nl::Param;
use crate::nl::Rule;
use crate::system::System;

/// What a new file begins with.
pub(super) const HEADER: &str =
    "# The configuration of MPIP, see mpip(5). What is not here has its default.\n";

/// A new file, without its header, and remarks.
pub(super) fn fresh(state: &State, system: &dyn System) -> (DocumentMut, Vec<String>) {
    let mut document = DocumentMut::new();
    let warnings = update(&mut document, &Config::default(), state, system);
    (document, warnings)
}

/// A file that says what there is, with what its old text, which says `old`, has for it.
pub(super) fn updated(
    text: &str,
    old: &Config,
    state: &State,
    system: &dyn System,
) -> Result<(String, Vec<String>), String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| e.to_string())?;
    let header = if text.is_empty() { HEADER } else { "" };
    let warnings = update(&mut document, old, state, system);
    Ok((format!("{header}{document}"), warnings))
}

/// A document that is written as JSON with the same structure, in its order.
pub(super) struct Json<'a>(pub(super) &'a DocumentMut);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Node::Table(self.0.as_table()).serialize(serializer)
    }
}

/// A part of a document.
enum Node<'a> {
    Table(&'a dyn TableLike),
    Tables(&'a ArrayOfTables),
    Value(&'a Value),
}

impl<'a> Node<'a> {
    fn of(item: &'a Item) -> Option<Self> {
        Some(match item {
            Item::None => return None,
            Item::Value(value) => Self::Value(value),
            Item::Table(table) => Self::Table(table),
            Item::ArrayOfTables(tables) => Self::Tables(tables),
        })
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Table(table) => {
                let pairs = table.iter();
                to.collect_map(pairs.filter_map(|(name, item)| Some((name, Node::of(item)?))))
            }
            Self::Tables(tables) => to.collect_seq(tables.iter().map(|table| Node::Table(table))),
            Self::Value(Value::String(text)) => to.serialize_str(text.value()),
            Self::Value(Value::Integer(number)) => to.serialize_i64(*number.value()),
            Self::Value(Value::Float(number)) => to.serialize_f64(*number.value()),
            Self::Value(Value::Boolean(is)) => to.serialize_bool(*is.value()),
            Self::Value(Value::Datetime(time)) => to.collect_str(time.value()),
            Self::Value(Value::Array(list)) => to.collect_seq(list.iter().map(Node::Value)),
            Self::Value(Value::InlineTable(table)) => Node::Table(table).serialize(to),
        }
    }
}

fn update(
    document: &mut DocumentMut,
    old: &Config,
    state: &State,
    system: &dyn System,
) -> Vec<String> {
    let said = old.enabled.as_ref().map(|enabled| enabled.value);
    // On is what goes without saying, but for a new file.
    let is_new = document.is_empty();
    if said.unwrap_or(!is_new || !state.enabled) != state.enabled {
        set(document.as_table_mut(), "enabled", state.enabled.into());
    }
    for param in &state.params {
        let said = old.param(&param.name).map(|value| value.value);
        if said.or(param.default) != Some(param.value) {
            if let Some(table) = table(document, "param") {
                set(table, &param.name, value_of(param));
            }
        }
    }
    let mut said = old.prefixes.iter().map(|prefix| &prefix.value);
    if state.prefixes.len() != old.prefixes.len() || !said.all(|p| state.prefixes.contains(p)) {
        let list: Array = state.prefixes.iter().map(ToString::to_string).collect();
        if let Some(table) = table(document, "ask") {
            set(table, "prefixes", list.into());
        }
    }
    interfaces(document, old, &state.interfaces);
    let (wanted, mut warnings) = lasting(&state.rules, system);
    match (&old.psk, state.psk) {
        (Some(_), Known::None) => {
            document.remove("psk");
        }
        (Some(_), Known::Same) | (None, Known::None) => {}
        (Some(key), Known::Other) => warnings.push(format!(
            "the pre-shared key is another one than that in {:?}, and is not told",
            key.value.path
        )),
        (None, _) => warnings.push(
            "the pre-shared key is not told; name the file that has it: psk = \"FILE\"".to_string(),
        ),
    }
    let keys = |rules: &mut dyn Iterator<Item = &Rule>| -> Vec<String> {
        rules.map(|rule| key(rule, system)).collect()
    };
    let said = keys(&mut old.rules.iter().map(|rule| &rule.value));
    if said != keys(&mut wanted.iter()) {
        rules(document, said, &wanted, system);
    }
    warnings
}

/// What is set for interfaces. Of an old table what is right stays as it is written.
fn interfaces(document: &mut DocumentMut, old: &Config, wanted: &[Interface]) {
    let gone = old.interfaces.iter().map(|old| &old.value);
    let gone = gone.filter(|old| !wanted.iter().any(|new| new.name == old.name));
    for old in gone.filter(|old| !old.is_plain()) {
        if let Some(all) = document
            .get_mut("interface")
            .and_then(Item::as_table_like_mut)
        {
            all.remove(&old.name);
        }
    }
    for new in wanted {
        let said = old.interface(&new.name).map(|old| old.value.settings());
        if said.as_ref() == Some(&new.settings()) {
            continue;
        }
        let all = document.entry("interface").or_insert_with(|| {
            // It has no heading of its own.
            let mut all = Table::new();
            all.set_implicit(true);
            all.into()
        });
        let Some(all) = all.as_table_like_mut() else {
            continue;
        };
        let one = all.entry(&new.name).or_insert_with(toml_edit::table);
        let Some(one) = one.as_table_like_mut() else {
            continue;
        };
        let pairs = interface::pairs(new);
        for name in interface::NAMES {
            match pairs.iter().find(|(key, _)| key == name) {
                Some((_, text)) => set(one, name, interface_value(name, text)),
                None => {
                    one.remove(name);
                }
            }
        }
    }
}

fn interface_value(name: &str, text: &str) -> Value {
    match text.parse::<i64>() {
        _ if matches!(name, "backup" | "exclude" | "enrol") => (text == "on").into(),
        Ok(number) => number.into(),
        Err(_) => text.into(),
    }
}

/// None for control groups that have gone, and without interfaces that have which a rule has by
/// index: only a number is left of these.
pub(super) fn lasting(rules: &[Rule], system: &dyn System) -> (Vec<Rule>, Vec<String>) {
    let mut warnings = Vec::new();
    let mut keep = |rule: &Rule| {
        let mut rule = rule.clone();
        if let Some(id) = rule.cgroup.filter(|id| system.cgroup_path(*id).is_none()) {
            let number = rule.number.unwrap_or_default();
            let text = format!("rule {number}: control group {id} has gone");
            warnings.push(format!("{text}; the rule is left out"));
            return None;
        }
        // Those that it names may come again.
        if rule.dev.is_some() {
            rule.interfaces = None;
        }
        let mut list = rule.interfaces.take().unwrap_or_default().0;
        list.retain(|index| {
            let is_there = system.interface(*index).is_some();
            if !is_there {
                let number = rule.number.unwrap_or_default();
                let text = format!("rule {number}: interface {index} has gone and is left out");
                warnings.push(text);
            }
            is_there
        });
        rule.interfaces = Some(Interfaces(list)).filter(|list| !list.0.is_empty());
        Some(rule)
    };
    let rules = rules.iter().filter_map(&mut keep).collect();
    (rules, warnings)
}

/// The table with this name, a new one if there is none.
fn table<'a>(document: &'a mut DocumentMut, name: &str) -> Option<&'a mut dyn TableLike> {
    let table = document.entry(name).or_insert_with(toml_edit::table);
    table.as_table_like_mut()
}

/// Sets a value; a remark behind the old one stays.
fn set(table: &mut dyn TableLike, name: &str, mut value: Value) {
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            table.insert(name, value.into());
        }
    }
}

fn value_of(param: &Param) -> Value {
    let text = shown(param, param.value);
    match text.parse::<i64>() {
        Ok(number) => number.into(),
        Err(_) => text.into(),
    }
}

/// Puts rules into the order that is wanted. `said` are the keys of those that there are.
fn rules(document: &mut DocumentMut, said: Vec<String>, wanted: &[Rule], system: &dyn System) {
    let old: Vec<Table> = match document.remove("rule") {
        Some(Item::ArrayOfTables(tables)) => tables.into_iter().collect(),
        Some(Item::Value(Value::Array(list))) => {
            let tables = list.into_iter();
            tables
                .filter_map(|value| Item::Value(value).into_table().ok())
                .collect()
        }
        _ => Vec::new(),
    };
    let mut there: HashMap<String, VecDeque<Table>> = HashMap::new();
    for (key, table) in said.into_iter().zip(old) {
        there.entry(key).or_default().push_back(table);
    }
    let mut tables = ArrayOfTables::new();
    for rule in wanted {
        let found = there.get_mut(&key(rule, system));
        let mut table = match found.and_then(VecDeque::pop_front) {
            Some(table) => table,
            None => table_of(rule, system),
        };
        // Where it stands in the text is where it stands in the list.
        table.set_position(None);
        tables.push(table);
    }
    if !tables.is_empty() {
        document.insert("rule", Item::ArrayOfTables(tables));
    }
}

fn table_of(rule: &Rule, system: &dyn System) -> Table {
    let mut table = Table::new();
    for (name, text) in rule::pairs(&by_name(rule, system), system) {
        let value: Value = match text.parse::<i64>() {
            _ if name == "dev" => text.split(',').collect::<Array>().into(),
            Ok(number) => number.into(),
            Err(_) => text.into(),
        };
        table.insert(name, value.into());
    }
    table
}
