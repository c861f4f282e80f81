// SPDX-License-Identifier: GPL-2.0

//! Refusals and the extended acknowledgement that explains them.
//!
//! `NLMSG_ERROR` carries a negative errno, the header of the request it answers, the rest of that
//! request unless `NLM_F_CAPPED` is set, and then attributes if `NLM_F_ACK_TLVS` is set. The
//! `NLMSG_DONE` of a failed dump carries the errno followed by the attributes.

use std::fmt;

use netlink_packet_core::parse_i32;
use netlink_packet_core::parse_u32;
use netlink_packet_core::NLA_ALIGNTO;
use netlink_packet_core::NLM_F_ACK_TLVS;
use netlink_packet_core::NLM_F_CAPPED;
use nix::errno::Errno;

use super::attr::Attrs;
use super::error::strerror;
use super::uapi::AttributeSet;
use super::DecodeError;

/// Attributes of the extended acknowledgement (`enum nlmsgerr_attrs` of linux/netlink.h).
static NLMSGERR: AttributeSet = AttributeSet {
    name: "nlmsgerr",
    attributes: &[
        (NLMSGERR_ATTR_MSG, "msg"),
        (NLMSGERR_ATTR_OFFS, "offs"),
        (NLMSGERR_ATTR_MISS_TYPE, "miss-type"),
    ],
};
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;

const CODE_LEN: usize = 4;
const NLMSG_HDRLEN: usize = 16;
/// Where the attributes of a generic netlink request begin.
const REQUEST_ATTRS: usize = NLMSG_HDRLEN + 4;

/// Which kind of message ends an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// `NLMSG_ERROR`
    Error,
    /// `NLMSG_DONE`
    Done,
}

/// How the kernel ended an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It did what was asked, and may have a remark.
    Accepted {
        warning: Option<String>,
    },
    Refused(Refusal),
}

/// The kernel's reason to refuse a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The error number, positive.
    pub errno: i32,
    /// What the kernel says about it.
    pub message: Option<String>,
    /// The attribute at fault, as `set.attribute`.
    pub attribute: Option<String>,
    /// The attribute that should have been there, as `set.attribute`.
    pub missing: Option<String>,
}

impl Refusal {
    /// True if only rights were lacking.
    pub fn is_permission(&self) -> bool {
        self.errno == Errno::EPERM as i32
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_permission() {
            return f.write_str(
                "operation not permitted: needs CAP_NET_ADMIN in the network namespace; \
                 try: sudo mpipctl …",
            );
        }
        f.write_str("the kernel refused: ")?;
        if let Some(attribute) = &self.attribute {
            write!(f, "{attribute}: ")?;
        }
        if let Some(missing) = &self.missing {
            write!(f, "{missing} is missing: ")?;
        }
        if let Some(message) = &self.message {
            write!(f, "{message}: ")?;
        }
        f.write_str(&strerror(self.errno))
    }
}

/// Reads the `payload` of the message that ends the exchange begun by `request`, whose attributes
/// are those of `set`.
pub(super) fn parse(
    ending: Ending,
    flags: u16,
    payload: &[u8],
    request: &[u8],
    set: &AttributeSet,
) -> Result<Verdict, DecodeError> {
    let code = match payload.get(..CODE_LEN).map(parse_i32) {
        Some(Ok(code)) => code,
        // A NLMSG_DONE without a code is how old kernels end a dump.
        _ if ending == Ending::Done => 0,
        _ => return Err(DecodeError::new("nlmsgerr", "too short")),
    };
    let mut refusal = Refusal {
        errno: code.unsigned_abs().try_into().unwrap_or(i32::MAX),
        ..Refusal::default()
    };
    if flags & NLM_F_ACK_TLVS != 0 {
        // An explanation that cannot be read must not hide the refusal itself.
        let _ = explain(&mut refusal, tlvs(ending, flags, payload), request, set);
    }
    Ok(if code == 0 {
        let warning = refusal.message;
        Verdict::Accepted { warning }
    } else {
        Verdict::Refused(refusal)
    })
}

/// The bytes of the attributes.
fn tlvs(ending: Ending, flags: u16, payload: &[u8]) -> &[u8] {
    let start = match ending {
        Ending::Done => CODE_LEN,
        Ending::Error if flags & NLM_F_CAPPED != 0 => CODE_LEN + NLMSG_HDRLEN,
        Ending::Error => match payload.get(CODE_LEN..CODE_LEN + 4).map(parse_u32) {
            Some(Ok(length)) => CODE_LEN.saturating_add(align(length as usize)),
            _ => return &[],
        },
    };
    payload.get(start..).unwrap_or_default()
}

fn align(length: usize) -> usize {
    length.saturating_add(NLA_ALIGNTO - 1) & !(NLA_ALIGNTO - 1)
}

fn explain(
    refusal: &mut Refusal,
    tlvs: &[u8],
    request: &[u8],
    set: &AttributeSet,
) -> Result<(), DecodeError> {
    for attr in Attrs::new(&NLMSGERR, tlvs) {
        let attr = attr?;
        match attr.kind() {
            NLMSGERR_ATTR_MSG => refusal.message = Some(attr.string()?),
            NLMSGERR_ATTR_OFFS => {
                refusal.attribute = attribute_at(attr.u32()? as usize, request, set);
            }
            NLMSGERR_ATTR_MISS_TYPE => {
                let number = attr.u32()?.try_into().unwrap_or(u16::MAX);
                refusal.missing = Some(set.name_of(number));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Names the attribute of `request` that begins at or contains `offset`.
fn attribute_at(offset: usize, request: &[u8], set: &AttributeSet) -> Option<String> {
    let mut start = REQUEST_ATTRS;
    loop {
        let header: [u8; 4] = request.get(start..start + 4)?.try_into().ok()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]);
        let end = start + align(length.max(header.len()));
        if (start..end).contains(&offset) {
            return Some(set.name_of(kind & netlink_packet_core::NLA_TYPE_MASK));
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::attr::push_attr;
    use super::super::uapi;
    use super::*;

    /// nlmsghdr and genlmsghdr, then `name` at 20 and `value` at 28.
    fn request() -> Vec<u8> {
        let mut bytes = vec![0; REQUEST_ATTRS];
        push_attr(&mut bytes, uapi::PARAM_NAME, b"ask\0");
        push_attr(&mut bytes, uapi::PARAM_VALUE, &9u64.to_ne_bytes());
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    fn tlv_bytes() -> Vec<u8> {
        let mut tlvs = Vec::new();
        push_attr(&mut tlvs, NLMSGERR_ATTR_MSG, b"integer out of range\0");
        push_attr(&mut tlvs, NLMSGERR_ATTR_OFFS, &28u32.to_ne_bytes());
        tlvs
    }

    fn refused(ending: Ending, flags: u16, payload: &[u8]) -> Refusal {
        match parse(ending, flags, payload, &request(), &uapi::PARAM).unwrap() {
            Verdict::Refused(refusal) => refusal,
            accepted => panic!("{accepted:?}"),
        }
    }

    #[test]
    fn capped_and_uncapped_requests() {
        let code = (-(Errno::ERANGE as i32)).to_ne_bytes();
        let full = [&code[..], &request(), &tlv_bytes()].concat();
        let capped = [&code[..], &request()[..16], &tlv_bytes()].concat();
        let expected = Refusal {
            errno: Errno::ERANGE as i32,
            message: Some("integer out of range".to_string()),
            attribute: Some("param.value".to_string()),
            missing: None,
        };
        let flags = NLM_F_ACK_TLVS;
        assert_eq!(refused(Ending::Error, flags, &full), expected);
        let flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
        assert_eq!(refused(Ending::Error, flags, &capped), expected);
        assert_eq!(
            expected.to_string(),
            "the kernel refused: param.value: integer out of range: \
             Numerical result out of range"
        );
    }

    #[test]
    fn failed_dump() {
        let code = (-(Errno::EINVAL as i32)).to_ne_bytes();
        let payload = [&code[..], &tlv_bytes()].concat();
        let refusal = refused(Ending::Done, NLM_F_ACK_TLVS, &payload);
        assert_eq!(refusal.message.as_deref(), Some("integer out of range"));
        assert_eq!(refused(Ending::Done, 0, &payload).message, None);
    }

    #[test]
    fn missing_attribute() {
        let mut payload = (-(Errno::EINVAL as i32)).to_ne_bytes().to_vec();
        payload.resize(CODE_LEN + NLMSG_HDRLEN, 0);
        push_attr(&mut payload, NLMSGERR_ATTR_MISS_TYPE, &2u32.to_ne_bytes());
        let refusal = refused(Ending::Error, NLM_F_ACK_TLVS | NLM_F_CAPPED, &payload);
        assert_eq!(refusal.missing.as_deref(), Some("param.value"));
        assert_eq!(
            refusal.to_string(),
            "the kernel refused: param.value is missing: Invalid argument"
        );
    }

    #[test]
    fn success_with_a_remark() {
        let payload = [&[0; 20][..], &tlv_bytes()].concat();
        let flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
        let warning = Some("integer out of range".to_string());
        let verdict = parse(Ending::Error, flags, &payload, &request(), &uapi::PARAM);
        assert_eq!(verdict, Ok(Verdict::Accepted { warning }));
    }

    #[test]
    fn damage_does_not_hide_the_refusal() {
        let code = (-(Errno::ERANGE as i32)).to_ne_bytes();
        let whole = [&code[..], &request(), &tlv_bytes()].concat();
        for length in 0..whole.len() {
            for flags in [0, NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED] {
                let verdict = parse(
                    Ending::Error,
                    flags,
                    &whole[..length],
                    &request()[..length.min(request().len())],
                    &uapi::PARAM,
                );
                match verdict {
                    Ok(Verdict::Refused(refusal)) => {
                        assert_eq!(refusal.errno, Errno::ERANGE as i32);
                    }
                    Err(_) => assert!(length < CODE_LEN),
                    Ok(accepted) => panic!("{accepted:?}"),
                }
            }
        }
        // A length field of 2^32 - 1 in the echoed request.
        let mut payload = code.to_vec();
        payload.resize(60, 0xff);
        refused(Ending::Error, NLM_F_ACK_TLVS, &payload);
    }

    #[test]
    fn offsets_outside_name_nothing() {
        for offset in [0, 16, 19, 40, 4096, usize::MAX] {
            assert_eq!(attribute_at(offset, &request(), &uapi::PARAM), None);
        }
        let name = attribute_at(20, &request(), &uapi::PARAM);
        assert_eq!(name.as_deref(), Some("param.name"));
    }

    #[test]
    fn lacking_rights_get_a_remedy() {
        let refusal = Refusal {
            errno: Errno::EPERM as i32,
            ..Refusal::default()
        };
        assert!(refusal.to_string().ends_with("try: sudo mpipctl …"));
    }
}
