// SPDX-License-Identifier: GPL-2.0

//! Pre-shared keys.

use std::fmt;
use std::str::FromStr;

/// Length of a pre-shared key, bytes.
pub(super) const PSK_LEN: usize = 32;

/// A pre-shared key. Only who has it can become a peer of who has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Psk([u8; PSK_LEN]);

impl Psk {
    /// From random bytes.
    pub fn from_bytes(bytes: [u8; PSK_LEN]) -> Result<Self, PskError> {
        match bytes {
            // This is how the kernel is told that there is none.
            [0, ..] if bytes == [0; PSK_LEN] => Err(PskError::Zeros),
            bytes => Ok(Self(bytes)),
        }
    }

    pub(super) fn bytes(&self) -> &[u8; PSK_LEN] {
        &self.0
    }
}

/// Nothing of it.
impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(…)")
    }
}

/// As text: 64 hexadecimal digits.
impl fmt::Display for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Psk {
    type Err = PskError;

    fn from_str(text: &str) -> Result<Self, PskError> {
        let digits = text.trim_end();
        let mut bytes = [0; PSK_LEN];
        let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if digits.len() != 2 * PSK_LEN || !hexadecimal {
            return Err(PskError::Form {
                length: digits.chars().count(),
                hexadecimal,
            });
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_default();
        }
        Self::from_bytes(bytes)
    }
}

/// Why a text is no pre-shared key. It does not quote the text: it may be one with a slip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PskError {
    /// It does not have 64 hexadecimal digits and nothing else.
    Form {
        /// How many characters it has.
        length: usize,
        /// Whether they are hexadecimal digits.
        hexadecimal: bool,
    },
    /// It is all zeros, which stands for no key.
    Zeros,
}

impl fmt::Display for PskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form {
                length,
                hexadecimal,
            } => {
                let what = if *hexadecimal {
                    "hexadecimal digits"
                } else {
                    "characters"
                };
                let wanted = 2 * PSK_LEN;
                write!(f, "{length} {what} instead of {wanted} hexadecimal digits")
            }
            Self::Zeros => f.write_str("all zeros, which stands for no key"),
        }
    }
}

impl std::error::Error for PskError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = "00112233445566778899aabbccddeeff00112233445566778899aabbccddee0f";
        let psk: Psk = format!("{text}\n").parse().unwrap();
        assert_eq!(psk.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(psk.clone()));
        assert_eq!(format!("{psk:?}"), "Psk(…)");
    }

    #[test]
    fn what_is_none() {
        let wrong = |text: &str| text.parse::<Psk>().unwrap_err().to_string();
        assert_eq!(
            wrong(""),
            "0 hexadecimal digits instead of 64 hexadecimal digits"
        );
        assert_eq!(
            wrong(&"é".repeat(32)),
            "32 characters instead of 64 hexadecimal digits"
        );
        assert_eq!(
            wrong(&"g".repeat(64)),
            "64 characters instead of 64 hexadecimal digits"
        );
        assert_eq!(wrong(&"0".repeat(64)), "all zeros, which stands for no key");
        assert!(
            !wrong(&"5ec4e7".repeat(10)).contains("5ec4e7"),
            "it is not quoted"
        );
    }
}
