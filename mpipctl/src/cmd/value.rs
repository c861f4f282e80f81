// SPDX-License-Identifier: GPL-2.0

//! Values of parameters as people write them.
//!
//! A number without a unit is in the parameter's own. Times may be written in another unit of
//! time if the result is a whole number of the parameter's. `k`, `M`, `G` and `T` are powers of
//! 1024 for bytes, as tc(8) has it, and of 1000 otherwise; `Ki`, `Mi`, `Gi` and `Ti` are always
//! powers of 1024. A number without a unit may be hexadecimal.

use crate::nl::Param;

/// Units of time in nanoseconds.
const TIMES: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];
const PREFIXES: &[(&str, u32)] = &[("k", 1), ("M", 2), ("G", 3), ("T", 4)];

/// Reads `text` as a value of `param`; the error quotes the text and says what is allowed.
pub(super) fn parse(param: &Param, text: &str) -> Result<u64, String> {
    let fail = |why: &str| {
        let (name, allowed) = (&param.name, allowed(param));
        let unit = match param.unit.as_deref() {
            Some(unit) => format!(" {unit}"),
            None => String::new(),
        };
        Err(format!(
            "{name}: {why}: \"{text}\"; allowed: {allowed}{unit}"
        ))
    };

    if let Some(index) = param.choices.0.iter().position(|name| name == text) {
        return Ok(param.minimum.unwrap_or(0).saturating_add(index as u64));
    }
    let value = match number(param, text) {
        Ok(value) => value,
        Err(why) if param.choices.0.is_empty() => return fail(why),
        Err(_) => return fail("not one of its choices"),
    };
    let range =
        u128::from(param.minimum.unwrap_or(0))..=u128::from(param.maximum.unwrap_or(u64::MAX));
    match u64::try_from(value) {
        Ok(value) if range.contains(&value.into()) => Ok(value),
        _ => fail("out of range"),
    }
}

/// What a parameter may be set to.
pub(super) fn allowed(param: &Param) -> String {
    let choices = &param.choices.0;
    if !choices.is_empty() {
        return choices.join(", ");
    }
    match (param.minimum, param.maximum) {
        (min, Some(max)) => format!("{} to {max}", min.unwrap_or(0)),
        (Some(min), None) => format!("{min} or more"),
        (None, None) => "any number".to_string(),
    }
}

/// The same in one word.
pub(super) fn range(param: &Param) -> String {
    let choices = &param.choices.0;
    if !choices.is_empty() {
        return choices.join(",");
    }
    let bound = |bound: Option<u64>| bound.map_or_else(String::new, |number| number.to_string());
    format!("{}..{}", bound(param.minimum), bound(param.maximum))
}

fn number(param: &Param, text: &str) -> Result<u128, &'static str> {
    if let (None, Some(digits)) = (&param.unit, text.strip_prefix("0x")) {
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = is_hex.then_some(digits).ok_or("not a number")?;
        return u128::from_str_radix(digits, 16).map_err(|_| "out of range");
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (digits, suffix) = text.split_at(end.unwrap_or(text.len()));
    let (multiply, divide) = scale(param.unit.as_deref(), suffix).ok_or(if digits.is_empty() {
        "not a number"
    } else {
        "unknown unit"
    })?;
    let (digits, tens) = decimal(digits).ok_or("not a number")?;
    let dividend = digits.checked_mul(multiply).ok_or("out of range")?;
    let divisor = tens.checked_mul(divide).ok_or("not a number")?;
    if dividend % divisor != 0 {
        return Err("not a whole number of its unit");
    }
    Ok(dividend / divisor)
}

/// A decimal fraction as an integer and the power of ten to divide it by.
fn decimal(text: &str) -> Option<(u128, u128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || (fraction.is_empty() && text.contains('.')) {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse().ok()?;
    let tens = 10u128.checked_pow(fraction.len().try_into().ok()?)?;
    Some((digits, tens))
}

/// What a number with `suffix` is to be multiplied with and divided by to have the unit `unit`.
fn scale(unit: Option<&str>, suffix: &str) -> Option<(u128, u128)> {
    if suffix.is_empty() || Some(suffix) == unit {
        return Some((1, 1));
    }
    let time = |name: &str| TIMES.iter().find(|(n, _)| *n == name).map(|(_, ns)| *ns);
    if let Some(own) = unit.and_then(time) {
        return Some((time(suffix)?, own));
    }
    if unit == Some("percent") && suffix == "%" {
        return Some((1, 1));
    }
    let is_bytes = matches!(unit, Some("bytes" | "byte" | "B"));
    // The unit may follow the prefix: 64kB, 64kbytes.
    let prefix = suffix
        .strip_suffix(unit.unwrap_or_default())
        .unwrap_or(suffix);
    let prefix = if is_bytes {
        prefix.strip_suffix('B').unwrap_or(prefix)
    } else {
        prefix
    };
    if prefix.is_empty() {
        return Some((1, 1));
    }
    let (base, prefix) = match prefix.strip_suffix('i') {
        Some(prefix) => (1024u128, prefix),
        None if is_bytes => (1024, prefix),
        None => (1000, prefix),
    };
    let prefix = if prefix == "K" { "k" } else { prefix };
    let (_, power) = PREFIXES.iter().find(|(name, _)| *name == prefix)?;
    Some((base.pow(*power), 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nl::Choices;

    fn param(unit: Option<&str>, min: u64, max: u64) -> Param {
        Param {
            name: "it".to_string(),
            value: min,
            default: Some(min),
            minimum: Some(min),
            maximum: Some(max),
            unit: unit.map(str::to_string),
            choices: Choices::default(),
            help: None,
        }
    }

    #[test]
    fn times() {
        let ms = param(Some("ms"), 1, 60_000);
        for (text, value) in [
            ("1", 1),
            ("100", 100),
            ("100ms", 100),
            ("2s", 2000),
            ("1.5s", 1500),
            ("0.25s", 250),
            ("1min", 60_000),
            ("5000us", 5),
        ] {
            assert_eq!(parse(&ms, text), Ok(value), "{text}");
        }
        for (text, why) in [
            ("", "not a number"),
            ("-5", "not a number"),
            ("abc", "not a number"),
            ("ms", "not a number"),
            (".5s", "not a number"),
            ("1.s", "not a number"),
            ("1.2.3s", "not a number"),
            ("5 s", "unknown unit"),
            ("5k", "unknown unit"),
            ("5é", "unknown unit"),
            ("100us", "not a whole number of its unit"),
            ("1.5", "not a whole number of its unit"),
            ("0", "out of range"),
            ("61s", "out of range"),
            ("99999999999999999999", "out of range"),
            ("340282366920938463463374607431768211455h", "out of range"),
        ] {
            let message = format!("it: {why}: \"{text}\"; allowed: 1 to 60000 ms");
            assert_eq!(parse(&ms, text), Err(message));
        }
        assert_eq!(parse(&param(Some("s"), 0, 9), "3000ms"), Ok(3));
        assert_eq!(parse(&param(Some("us"), 0, 9_000), "2.5ms"), Ok(2500));
    }

    #[test]
    fn hexadecimal() {
        let mask = param(None, 0, u32::MAX.into());
        for (text, value) in [("0x1effff", 0x1e_ffff), ("0xFFFFFFFF", u32::MAX.into())] {
            assert_eq!(parse(&mask, text), Ok(value), "{text}");
        }
        let long = format!("0x{}", "f".repeat(40));
        for (text, why) in [
            ("0x", "not a number"),
            ("0x+1", "not a number"),
            ("0xg", "not a number"),
            ("1effff", "unknown unit"),
            ("0x100000000", "out of range"),
            (long.as_str(), "out of range"),
        ] {
            let message = format!("it: {why}: \"{text}\"; allowed: 0 to 4294967295");
            assert_eq!(parse(&mask, text), Err(message));
        }
        assert!(parse(&param(Some("ms"), 0, 9), "0x5").is_err());
    }

    #[test]
    fn sizes() {
        let bytes = param(Some("bytes"), 0, 1 << 30);
        for (text, value) in [
            ("64k", 65_536),
            ("64K", 65_536),
            ("64KiB", 65_536),
            ("64kbytes", 65_536),
            ("1.5M", 1_572_864),
            ("1G", 1 << 30),
            ("512B", 512),
            ("512bytes", 512),
        ] {
            assert_eq!(parse(&bytes, text), Ok(value), "{text}");
        }
        assert!(parse(&bytes, "2s").is_err());
    }

    #[test]
    fn plain_numbers() {
        let plain = param(None, 0, u64::MAX);
        assert_eq!(parse(&plain, "64k"), Ok(64_000));
        assert_eq!(parse(&plain, "1Ki"), Ok(1024));
        assert_eq!(parse(&plain, "18446744073709551615"), Ok(u64::MAX));
        assert!(parse(&plain, "18446744073709551616").is_err());
        assert!(parse(&plain, "i").is_err());
        let packets = param(Some("packets"), 0, 10_000);
        assert_eq!(parse(&packets, "64"), Ok(64));
        assert_eq!(parse(&packets, "64packets"), Ok(64));
        assert_eq!(parse(&packets, "1k"), Ok(1000));
        let percent = param(Some("percent"), 0, 100);
        assert_eq!(parse(&percent, "50%"), Ok(50));
    }

    #[test]
    fn choices() {
        let mut ask = param(None, 1, 3);
        ask.choices = Choices(["never", "listed", "every"].map(str::to_string).to_vec());
        assert_eq!(parse(&ask, "never"), Ok(1));
        assert_eq!(parse(&ask, "every"), Ok(3));
        assert_eq!(parse(&ask, "2"), Ok(2));
        assert_eq!(
            parse(&ask, "always").unwrap_err(),
            "it: not one of its choices: \"always\"; allowed: never, listed, every"
        );
        assert_eq!(
            parse(&ask, "4").unwrap_err(),
            "it: out of range: \"4\"; allowed: never, listed, every"
        );
    }
}
