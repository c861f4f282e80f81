// SPDX-License-Identifier: GPL-2.0

//! `rule`.

use super::interface::check_name;
use serde::Serialize;

use super::Context;
use crate::cli::RuleVerb;
use crate::nl::Client;
use crate::nl::Interfaces;
use crate::nl::Names;
use crate::nl::Prefix;
use crate::nl::Protocol;
use crate::nl::Rule;
use crate::nl::RuleMode;
use crate::nl::RulePriority;
use crate::out::text::or_none;
use crate::out::text::Table;
use crate::system::System;
use crate::Error;

/// The names of values, in the order in which they are shown.
pub(crate) const NAMES: &[&str] = &[
    "dst", "src", "port", "sport", "proto", "size", "dscp", "uid", "cgroup", "priority", "mode",
    "delay", "loss", "rate", "cost", "dev", "ordered", "number",
];
/// Those of which a rule needs one: what it does, and what is said of a rule without any.
pub(super) const ACTS: &[&str] = &["priority", "mode", "dev", "ordered"];
pub(super) const IDLE: &str =
    "rule: says nothing of what to do; give priority, mode, dev or ordered";
/// Shows what rules there are.
const LIST: &str = "mpipctl rule";
/// Units of time in microseconds.
const TIMES: &[(&str, f64)] = &[("us", 1.0), ("ms", 1e3), ("s", 1e6)];
/// Units of a rate in bits per second.
const RATES: &[(&str, f64)] = &[("bit", 1.0), ("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
/// Interfaces of a rule.
const MAX_INTERFACES: usize = 8;

/// A rule with what only the system can tell.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    rule: Rule,
    /// Of its control group, as long as that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_path: Option<String>,
}

pub(super) fn run(context: &mut Context<'_>, verb: Option<RuleVerb>) -> Result<(), Error> {
    match verb.unwrap_or(RuleVerb::Show) {
        RuleVerb::Show => show(context),
        RuleVerb::Add { words } => {
            let rule = parse(&words, context.system).map_err(Error::Usage)?;
            let refused = |error| Error::of(named_rule(&words.join(" ")), LIST, error);
            context.client()?.add_rule(&rule).map_err(refused)
        }
        RuleVerb::Change { number, words } => change(context, &number, &words),
        RuleVerb::Load { file, replace } => load(context, &file, replace),
        RuleVerb::Delete { number } => {
            let refused = |error| Error::of(named_rule(&number), LIST, error);
            let number = which(&number)?;
            context.client()?.del_rule(number).map_err(refused)
        }
        RuleVerb::Flush => Ok(context.client()?.flush_rules()?),
    }
}

fn show(context: &mut Context<'_>) -> Result<(), Error> {
    let mut rules: Vec<Rule> = context.list()?;
    if context.options.is_json() {
        // Indices mean nothing outside the namespace.
        for rule in rules.iter_mut().filter(|rule| rule.interfaces.is_some()) {
            rule.dev = Some(Names(interfaces(rule, context.system)));
        }
        let rows = rules.into_iter().map(|rule| {
            let path = rule.cgroup.and_then(|id| context.system.cgroup_path(id));
            Shown {
                rule,
                cgroup_path: path,
            }
        });
        let rows: Vec<Shown> = rows.collect();
        return context.write_json(&rows);
    }
    let mut header = vec!["NUMBER"];
    if context.options.statistics {
        header.push("HITS");
    }
    header.push("RULE");
    let mut table = Table::new(header);
    for rule in &rules {
        let mut cells = vec![or_none(rule.number)];
        if context.options.statistics {
            cells.push(or_none(rule.hits));
        }
        cells.push(words(rule, context.system));
        table.row(cells, Vec::new());
    }
    context.write_table(&table)
}

/// A rule as the user has named it.
fn named_rule(what: &str) -> String {
    format!("rule \"{what}\"")
}

/// The rule that is meant.
fn which(number: &str) -> Result<u32, Error> {
    parse_number(number).map_err(|why| Error::Usage(named("rule", why)))
}

/// How often rules are changed anew if others have changed them, or wanted to, meanwhile.
const ATTEMPTS: u32 = 5;

/// Does something again if others were quicker: a namespace has one draft of rules at a time.
fn again(mut attempt: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if error.is_about_draft() => {}
            result => return result,
        }
    }
    attempt()
}

/// Puts another rule in the place of one, in one go. What is not given stays.
fn change(context: &mut Context<'_>, number: &str, words: &[String]) -> Result<(), Error> {
    let system = context.system;
    let place = which(number)?;
    // Whatever is wrong with the words is wrong with those of any rule.
    read(&mut Rule::default(), words, system, true).map_err(Error::Usage)?;
    let client = context.client()?;
    again(|| change_once(client, place, number, words, system))
}

fn change_once(
    client: &mut Client,
    number: u32,
    name: &str,
    words: &[String],
    system: &dyn System,
) -> Result<(), Error> {
    let refused = |error| Error::of(named_rule(name), LIST, error);
    let mut draft = client.draft_rules()?;
    let rules = draft.in_force()?.items;
    // The kernel says so if there is none.
    draft.delete(number).map_err(refused)?;
    let old = rules.into_iter().find(|rule| rule.number == Some(number));
    let mut rule = old.unwrap_or_default();
    read(&mut rule, words, system, true).map_err(Error::Usage)?;
    draft.add(&rule).map_err(refused)?;
    Ok(draft.commit()?)
}

/// All lines are read before the first rule is sent, and the kernel takes all of them or none.
fn load(context: &mut Context<'_>, file: &str, replace: bool) -> Result<(), Error> {
    let text = context.system.read(file);
    let text = text.map_err(|error| Error::Usage(format!("cannot read \"{file}\": {error}")))?;
    let mut rules = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        if words.is_empty() {
            continue;
        }
        let rule = parse(&words, context.system)
            .map_err(|why| Error::Usage(format!("{file}:{}: {why}", i + 1)))?;
        rules.push((i + 1, rule));
    }
    let client = context.client()?;
    let loaded = again(|| {
        let mut wrong = None;
        let sent = rules.iter().map(|(_, rule)| rule);
        let loaded = client.load_rules(sent, replace, |i| wrong = Some(i));
        match (loaded, wrong.and_then(|i| rules.get(i))) {
            (Err(error), Some((line, _))) => Err(Error::Line {
                place: format!("{file}:{line}"),
                error: Box::new(error.into()),
            }),
            (loaded, _) => Ok(loaded?),
        }
    });
    if let Err(Error::Line { place, .. }) = &loaded {
        let warning = format!("{place}: refused; the rules are as they were");
        context.warnings.push(warning);
    }
    loaded
}

/// The names of its interfaces, also of those that it has by index.
pub(super) fn interfaces(rule: &Rule, system: &dyn System) -> Vec<String> {
    if let Some(Names(names)) = &rule.dev {
        return names.clone();
    }
    let name = |index: &u32| match system.interface(*index) {
        Some(name) => name,
        None => format!("if{index}"),
    };
    let list = rule.interfaces.iter().flat_map(|list| &list.0);
    list.map(name).collect()
}

/// The rule as `add` takes it.
pub(super) fn words(rule: &Rule, system: &dyn System) -> String {
    let pairs = pairs(rule, system).into_iter();
    let pairs = pairs.map(|(name, value)| format!("{name} {value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

/// The names and values of a rule, but for its number.
pub(super) fn pairs(rule: &Rule, system: &dyn System) -> Vec<(&'static str, String)> {
    let span = |min: Option<u16>, max: Option<u16>| {
        let (min, max) = (min.unwrap_or(0), max.unwrap_or(u16::MAX));
        match (min, max) {
            (0, u16::MAX) => None,
            _ if min == max => Some(min.to_string()),
            (_, u16::MAX) => Some(format!("{min}-")),
            _ => Some(format!("{min}-{max}")),
        }
    };
    let devices = interfaces(rule, system).join(",");
    let users = rule.uid_min.zip(rule.uid_max);
    let users = users.map(|(first, last)| match last {
        last if last == first => first.to_string(),
        u32::MAX => format!("{first}-"),
        last => format!("{first}-{last}"),
    });
    // What goes without saying is said if there is nothing else.
    let plain = rule.priority == Some(RulePriority::Throughput);
    let all = rule.mode == Some(RuleMode::All);
    let ordered = rule.ordered == Some(true);
    let pairs = [
        ("dst", rule.dst_prefix().map(|prefix| short(&prefix))),
        ("src", rule.src_prefix().map(|prefix| short(&prefix))),
        ("port", span(rule.dst_port_min, rule.dst_port_max)),
        ("sport", span(rule.src_port_min, rule.src_port_max)),
        ("proto", rule.protocol.map(|p| p.to_string())),
        ("size", span(rule.size_min, rule.size_max)),
        ("dscp", rule.dscp.map(|dscp| dscp.to_string())),
        ("uid", users),
        ("cgroup", rule.cgroup.map(|id| group(id, system))),
        (
            "priority",
            rule.priority
                .filter(|_| !plain || all && devices.is_empty() && !ordered)
                .map(|priority| priority.to_string()),
        ),
        ("mode", rule.mode.filter(|_| !all).map(|m| m.to_string())),
        ("delay", rule.max_delay_us.map(time)),
        (
            "loss",
            rule.max_loss.map(|n| format!("{}%", f64::from(n) / 10.0)),
        ),
        ("rate", rule.min_rate.map(rate)),
        ("cost", rule.max_cost.map(|cost| cost.to_string())),
        ("dev", Some(devices.clone()).filter(|d| !d.is_empty())),
        ("ordered", ordered.then(|| "on".to_string())),
    ];
    let pairs = pairs.into_iter();
    pairs
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// The control group's path, or its id if it has gone.
fn group(id: u64, system: &dyn System) -> String {
    system.cgroup_path(id).unwrap_or_else(|| id.to_string())
}

fn short(prefix: &Prefix) -> String {
    let most = if prefix.addr.is_ipv4() { 32 } else { 128 };
    if prefix.len == most {
        prefix.addr.to_string()
    } else {
        prefix.to_string()
    }
}

fn time(us: u32) -> String {
    match us {
        us if us % 1000 == 0 => format!("{}ms", us / 1000),
        us => format!("{us}us"),
    }
}

fn rate(bytes: u32) -> String {
    let bits = u64::from(bytes) * 8;
    let units = RATES.iter().rev();
    let whole = |unit: f64| bits % (unit as u64) == 0;
    let unit = units.clone().find(|(_, unit)| whole(*unit) && bits != 0);
    let (name, unit) = unit.unwrap_or(&RATES[0]);
    format!("{}{name}", bits / (*unit as u64))
}

fn named(name: &str, why: String) -> String {
    format!("{name}: {why}")
}

/// Reads a whole rule; the error quotes what is wrong.
fn parse(words: &[String], system: &dyn System) -> Result<Rule, String> {
    let mut rule = Rule::default();
    let seen = read(&mut rule, words, system, false)?;
    match ACTS.iter().any(|act| seen.contains(act)) {
        true => Ok(rule),
        false => Err(IDLE.to_string()),
    }
}

/// Reads names and values by turns, and tells which names there were. Where a rule is changed, `*`
/// takes away what there was of anything.
fn read<'a>(
    rule: &mut Rule,
    words: &'a [String],
    system: &dyn System,
    is_change: bool,
) -> Result<Vec<&'a str>, String> {
    let mut seen = Vec::new();
    if words.is_empty() {
        return Err(format!(
            "rule: nothing given; names are {}",
            NAMES.join(", ")
        ));
    }
    for pair in words.chunks(2) {
        let name = pair[0].as_str();
        if !NAMES.contains(&name) {
            let names = NAMES.join(", ");
            return Err(format!("rule: unknown name: \"{name}\"; names are {names}"));
        }
        let [_, value] = pair else {
            return Err(format!("{name}: the value is missing"));
        };
        if seen.contains(&name) {
            return Err(format!("{name}: given twice"));
        }
        seen.push(name);
        let is_none = is_change && name != "number" && matches!(value.as_str(), "*" | "any");
        if is_none {
            clear(rule, name);
        } else {
            set(rule, name, value, system).map_err(|why| named(name, why))?;
        }
    }
    Ok(seen)
}

/// Takes a value away.
fn clear(rule: &mut Rule, name: &str) {
    match name {
        "dst" => (rule.dst, rule.dst_len) = (None, None),
        "src" => (rule.src, rule.src_len) = (None, None),
        "port" => (rule.dst_port_min, rule.dst_port_max) = (None, None),
        "sport" => (rule.src_port_min, rule.src_port_max) = (None, None),
        "proto" => rule.protocol = None,
        "size" => (rule.size_min, rule.size_max) = (None, None),
        "dscp" => rule.dscp = None,
        "uid" => (rule.uid_min, rule.uid_max) = (None, None),
        "cgroup" => rule.cgroup = None,
        "priority" => rule.priority = None,
        "mode" => rule.mode = None,
        "delay" => rule.max_delay_us = None,
        "loss" => rule.max_loss = None,
        "rate" => rule.min_rate = None,
        "cost" => rule.max_cost = None,
        "dev" => (rule.interfaces, rule.dev) = (None, None),
        _ => rule.ordered = None,
    }
}

/// True for the path of a control group that is not there.
pub(super) fn is_gone(value: &str, system: &dyn System) -> bool {
    let is_path = !matches!(value, "*" | "any") && value.parse::<u64>().is_err();
    is_path && system.cgroup_id(value).is_none()
}

/// Reads one value.
pub(super) fn set(
    rule: &mut Rule,
    name: &str,
    value: &str,
    system: &dyn System,
) -> Result<(), String> {
    // As the paper's table has it; for what is done there is no such thing.
    if matches!(value, "*" | "any") && NAMES.iter().take(9).any(|n| *n == name) {
        return Ok(());
    }
    match name {
        "dst" => (rule.dst, rule.dst_len) = prefix(value)?,
        "src" => (rule.src, rule.src_len) = prefix(value)?,
        "port" => (rule.dst_port_min, rule.dst_port_max) = span(value)?,
        "sport" => (rule.src_port_min, rule.src_port_max) = span(value)?,
        "size" => (rule.size_min, rule.size_max) = span(value)?,
        "proto" => {
            rule.protocol = Some(match value.to_lowercase().as_str() {
                "tcp" => Protocol(6),
                "udp" => Protocol(17),
                _ => return Err(format!("neither tcp nor udp: \"{value}\"")),
            });
        }
        "dscp" => rule.dscp = Some(dscp(value)?),
        "uid" => {
            let (first, last) = range(value, u32::MAX, "users")?;
            (rule.uid_min, rule.uid_max) = (Some(first), Some(last));
        }
        "cgroup" => {
            let id = match value.parse() {
                Ok(id) => Some(id),
                Err(_) => system.cgroup_id(value),
            };
            let id = id.filter(|id| *id != 0);
            let wrong = || format!("no such control group of version 2: \"{value}\"");
            rule.cgroup = Some(id.ok_or_else(wrong)?);
        }
        "priority" => rule.priority = Some(choice(value, RulePriority::NAMES)?.into()),
        "mode" => rule.mode = Some(choice(value, RuleMode::NAMES)?.into()),
        "delay" => rule.max_delay_us = Some(quantity(value, TIMES, 1.0, "a time such as 100ms")?),
        "loss" => {
            let what = "a percentage from 0% to 100%";
            let loss = quantity(value, &[("%", 10.0)], 1.0, what)?;
            if loss > 1000 {
                return Err(format!("not {what}: \"{value}\""));
            }
            rule.max_loss = Some(loss);
        }
        "rate" => {
            let value = value.strip_suffix("/s").unwrap_or(value).to_lowercase();
            rule.min_rate = Some(quantity(&value, RATES, 8.0, "a rate such as 2mbit")?);
        }
        "cost" => {
            let wrong = |_| format!("not a number from 0 to {}: \"{value}\"", u32::MAX);
            rule.max_cost = Some(value.parse().map_err(wrong)?);
        }
        "ordered" => rule.ordered = Some(choice(value, &["off", "on"])? == 1),
        "dev" => {
            let names: Vec<String> = value.split(',').map(str::to_string).collect();
            // A typing error is more likely than an interface that is to come.
            let absent = |name: &&String| system.interface_index(name).is_none();
            if let Some(name) = names.iter().find(absent) {
                return Err(format!("no such interface: \"{name}\""));
            }
            set_devices(rule, names, system)?;
        }
        _ => rule.number = Some(parse_number(value)?),
    }
    Ok(())
}

fn parse_number(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if number != 0 => Ok(number),
        _ => Err(format!("not the number of a rule, from 1 on: \"{text}\"")),
    }
}

fn prefix(text: &str) -> Result<(Option<std::net::IpAddr>, Option<u8>), String> {
    let prefix: Prefix = text
        .parse()
        .map_err(|why: crate::nl::PrefixError| why.to_string())?;
    Ok((Some(prefix.addr), Some(prefix.len)))
}

fn span(text: &str) -> Result<(Option<u16>, Option<u16>), String> {
    let (first, last) = range(text, u16::MAX.into(), "numbers")?;
    let short = |n: u32| u16::try_from(n).ok();
    Ok((short(first), short(last)))
}

/// `FIRST`, `FIRST-LAST`, `FIRST-` or `FIRST-*`.
fn range(text: &str, most: u32, what: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("not one of the {what} 0 to {most} or a range of them: \"{text}\"");
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().ok().filter(|n| *n <= most).ok_or_else(wrong),
        false => Err(wrong()),
    };
    let (first, last) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some((first, "" | "*")) => (number(first)?, most),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    if first > last {
        return Err(format!("the first is above the last: \"{text}\""));
    }
    Ok((first, last))
}

/// A code point by number or by its name: ef, cs0 to cs7, af11 to af43.
fn dscp(text: &str) -> Result<u8, String> {
    let wrong = || format!("not a code point, 0 to 63 or a name such as ef, cs1, af41: \"{text}\"");
    let number = match text.to_lowercase().as_bytes() {
        b"ef" => 46,
        [b'c', b's', class @ b'0'..=b'7'] => 8 * (class - b'0'),
        [b'a', b'f', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => {
            8 * (class - b'0') + 2 * (drop - b'0')
        }
        _ => text.parse().map_err(|_| wrong())?,
    };
    Some(number).filter(|n| *n < 64).ok_or_else(wrong)
}

pub(super) fn choice(text: &str, names: &[&str]) -> Result<u32, String> {
    let at = names.iter().position(|name| *name == text);
    let at = at.and_then(|at| at.try_into().ok());
    at.ok_or_else(|| format!("not one of {}: \"{text}\"", names.join(", ")))
}

/// A number with a unit; how many of the result's units (`divide` of the smallest) that is.
fn quantity(text: &str, units: &[(&str, f64)], divide: f64, what: &str) -> Result<u32, String> {
    let wrong = || format!("not {what}: \"{text}\"");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (digits, unit) = text.split_at(end.ok_or_else(wrong)?);
    let (_, scale) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    let given: f64 = digits.parse().map_err(|_| wrong())?;
    let number = (given * scale / divide).round();
    let most = f64::from(u32::MAX);
    if number > most {
        let most = (most * divide / scale).floor();
        return Err(format!("more than {most}{unit}: \"{text}\""));
    }
    if number == 0.0 && given != 0.0 {
        return Err(format!("too little to be told from nothing: \"{text}\""));
    }
    Ok(number as u32)
}

/// Has it use the paths by these interfaces, of which some may not be there.
pub(super) fn set_devices(
    rule: &mut Rule,
    names: Vec<String>,
    system: &dyn System,
) -> Result<(), String> {
    for name in &names {
        check_name(name)?;
    }
    if names.len() > MAX_INTERFACES {
        let list = names.join(",");
        return Err(format!("more than {MAX_INTERFACES} interfaces: \"{list}\""));
    }
    let there = names.iter().filter_map(|name| system.interface_index(name));
    let there = Interfaces(there.collect());
    rule.interfaces = Some(there).filter(|there| !there.0.is_empty());
    rule.dev = Some(Names(names));
    Ok(())
}
