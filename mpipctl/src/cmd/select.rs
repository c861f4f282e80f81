// SPDX-License-Identifier: GPL-2.0

//! Which records are shown, where words say that it is not all of them.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::network::same_prefix;
use crate::nl::Endpoint;
use crate::nl::Prefix;
use crate::Error;

/// What of a record words are compared with.
#[derive(Debug, Default)]
pub(super) struct Traits {
    texts: Vec<String>,
    ends: Vec<(IpAddr, Option<u16>)>,
}

impl Traits {
    /// A number or a name, if there is one.
    pub(super) fn text(mut self, text: Option<impl ToString>) -> Self {
        self.texts.extend(text.map(|text| text.to_string()));
        self
    }

    /// An address with its port, if there is one.
    pub(super) fn end(mut self, addr: Option<IpAddr>, port: Option<u16>) -> Self {
        self.ends.extend(addr.map(|addr| (addr, port)));
        self
    }

    /// The same.
    pub(super) fn endpoint(self, end: Option<&Endpoint>) -> Self {
        self.end(end.map(|end| end.addr), end.and_then(|end| end.port))
    }

    /// Whether it has all words.
    pub(super) fn have(&self, words: &[String]) -> bool {
        words.iter().all(|word| self.has(word))
    }

    /// The text itself, an address or its prefix, both address and port, or the port behind a colon.
    fn has(&self, word: &str) -> bool {
        let mut ends = self.ends.iter();
        if self
            .texts
            .iter()
            .any(|text| text.eq_ignore_ascii_case(word))
        {
            return true;
        }
        if let Some(port) = word.strip_prefix(':').and_then(|port| port.parse().ok()) {
            return ends.any(|(_, own)| *own == Some(port));
        }
        if let Ok(end) = word.parse::<SocketAddr>() {
            return ends.any(|(addr, port)| (*addr, *port) == (end.ip(), Some(end.port())));
        }
        match word.parse::<Prefix>() {
            Ok(Prefix { addr, len }) => ends.any(|(own, _)| same_prefix(*own, addr, len)),
            Err(_) => false,
        }
    }
}

/// Leaves those that have all words.
pub(super) fn retain<T>(records: &mut Vec<T>, words: &[String], traits: impl Fn(&T) -> Traits) {
    if words.is_empty() {
        return;
    }
    records.retain(|record| traits(record).have(words));
}

/// A word that looks like an address, a prefix or a port and is none is a mistake: nothing has it.
pub(super) fn check(words: &[String]) -> Result<(), Error> {
    match words.iter().find_map(|word| flaw(word)) {
        Some(why) => Err(Error::Usage(why)),
        None => Ok(()),
    }
}

fn flaw(word: &str) -> Option<String> {
    if let Some(port) = word.strip_prefix(':').filter(|port| !port.contains(':')) {
        return match port.parse::<u16>() {
            Ok(_) => None,
            Err(_) => Some(format!(
                "not a port from 0 to 65535 behind a colon: \"{word}\""
            )),
        };
    }
    // Interfaces may have names such as be.10.
    let digits = |c: char| match word.contains(':') {
        true => c.is_ascii_hexdigit() || ":./[]".contains(c),
        false => c.is_ascii_digit() || "./".contains(c),
    };
    let is_like_one = word.chars().all(digits) && word.contains(['.', ':', '/']);
    if !is_like_one || word.parse::<SocketAddr>().is_ok() {
        return None;
    }
    word.parse::<Prefix>().err().map(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let end = |text: &str| {
            let end: SocketAddr = text.parse().unwrap();
            (Some(end.ip()), Some(end.port()))
        };
        let (near, far) = (end("10.0.0.2:40001"), end("[2001:db8::9]:443"));
        let traits = Traits::default()
            .text(Some(7))
            .text(Some("active"))
            .text(None::<u32>)
            .end(near.0, near.1)
            .end(far.0, far.1)
            .end(None, Some(5000));
        for (word, has) in [
            ("7", true),
            ("77", false),
            ("ACTIVE", true),
            ("act", false),
            ("10.0.0.2", true),
            ("10.0.0.20", false),
            ("10.0.0.0/8", true),
            ("11.0.0.0/8", false),
            ("::/0", true),
            ("2001:db8::9", true),
            (":443", true),
            ("443", false),
            (":40001", true),
            (":5000", false),
            ("10.0.0.2:40001", true),
            ("10.0.0.2:443", false),
            ("[2001:db8::9]:443", true),
            ("", false),
        ] {
            assert_eq!(traits.has(word), has, "{word}");
        }
    }

    #[test]
    fn what_nothing_can_have() {
        for word in [
            "7",
            "wlan0",
            "active",
            "10.0.0.2",
            "10.0.0.0/8",
            "2001:db8::9",
            "::/0",
            ":443",
            "10.0.0.2:443",
            "[2001:db8::9]:443",
            "deadbeef",
            "",
            "::",
            "be.10",
        ] {
            assert_eq!(flaw(word), None, "{word}");
        }
        for word in [
            "10.0.0.999",
            "10.0.0",
            "10.0.0.2/24",
            "10.0.0.0/33",
            "/8",
            ":99999",
            ":",
            "10.0.0.2:99999",
            "2001:db8:::9",
        ] {
            let why = flaw(word).unwrap_or_else(|| panic!("{word}"));
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn all_words_count() {
        let left = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            let mut numbers = vec![1, 2, 3, 11];
            retain(&mut numbers, &words, |n| {
                let parity = if n % 2 == 0 { "even" } else { "odd" };
                Traits::default().text(Some(n)).text(Some(parity))
            });
            numbers
        };
        assert_eq!(left(&[]), [1, 2, 3, 11]);
        assert_eq!(left(&["odd"]), [1, 3, 11]);
        assert_eq!(left(&["odd", "3"]), [3]);
        assert_eq!(left(&["even", "3"]), [0; 0]);
    }
}
