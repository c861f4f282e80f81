// SPDX-License-Identifier: GPL-2.0

//! What interfaces do with packets, as the kernel's family `ethtool` lists it.

use std::collections::HashMap;

use netlink_packet_core::NLM_F_DUMP;

use super::attr::Attrs;
use super::attr::Request;
use super::uapi::AttributeSet;
use super::uapi::Command;
use super::Client;
use super::DecodeError;
use super::Error;
use super::Socket;

const FAMILY: &str = "ethtool";
const VERSION: u8 = 1;

// Numbers of linux/ethtool_netlink_generated.h.
const FEATURES_GET: Command = Command {
    number: 11,
    name: "features-get",
    attributes: &FEATURES,
};
const FEATURES_HEADER: u16 = 1;
const FEATURES_ACTIVE: u16 = 4;
const HEADER_DEV_INDEX: u16 = 1;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;

static FEATURES: AttributeSet = AttributeSet {
    name: "features",
    attributes: &[(FEATURES_HEADER, "header"), (FEATURES_ACTIVE, "active")],
};
static HEADER: AttributeSet = AttributeSet {
    name: "header",
    attributes: &[(HEADER_DEV_INDEX, "dev-index")],
};
static BITSET: AttributeSet = AttributeSet {
    name: "bitset",
    attributes: &[(BITSET_BITS, "bits")],
};
static BITS: AttributeSet = AttributeSet {
    name: "bitset-bits",
    attributes: &[(BITS_BIT, "bit")],
};
static BIT: AttributeSet = AttributeSet {
    name: "bitset-bit",
    attributes: &[(BIT_NAME, "name")],
};

/// Names of the features that are active, by index of the interface.
pub(crate) fn features() -> Result<HashMap<u32, Vec<String>>, Error> {
    let mut client = Client::of_family(Socket::open()?, FAMILY)?;
    let mut found = HashMap::new();
    let request = Request::new(FEATURES_GET);
    client.exchange(&request, VERSION, NLM_F_DUMP, |attrs| {
        found.extend(of_interface(attrs)?);
        Ok(())
    })?;
    Ok(found)
}

fn of_interface(attrs: Attrs<'_>) -> Result<Option<(u32, Vec<String>)>, DecodeError> {
    let (mut index, mut active) = (None, Vec::new());
    for attr in attrs {
        let attr = attr?;
        match attr.kind() {
            FEATURES_HEADER => {
                for attr in attr.nest(&HEADER) {
                    let attr = attr?;
                    if attr.kind() == HEADER_DEV_INDEX {
                        index = Some(attr.u32()?);
                    }
                }
            }
            FEATURES_ACTIVE => active = names(attr.nest(&BITSET))?,
            _ => {}
        }
    }
    Ok(index.map(|index| (index, active)))
}

/// The names in a set of bits that is given as a list.
fn names(bitset: Attrs<'_>) -> Result<Vec<String>, DecodeError> {
    let mut names = Vec::new();
    for bits in bitset {
        let bits = bits?;
        if bits.kind() != BITSET_BITS {
            continue;
        }
        for bit in bits.nest(&BITS) {
            for attr in bit?.nest(&BIT) {
                let attr = attr?;
                if attr.kind() == BIT_NAME {
                    names.push(attr.string()?);
                }
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every system has an interface that leads to itself; it cuts segments by software.
    #[test]
    fn this_system() {
        let features = match features() {
            // A kernel may be without it.
            Err(Error::FamilyMissing) => return,
            features => features.unwrap(),
        };
        let known = |names: &Vec<String>| names.iter().any(|name| name.starts_with("tx-"));
        assert!(features.values().any(known), "{features:?}");
    }
}
