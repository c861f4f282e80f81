// SPDX-License-Identifier: GPL-2.0

//! From attributes to typed records.
//!
//! [`record!`] takes a structure whose fields name their attribute, and writes its decoding. The
//! type of a field says what happens when the attribute is absent: `T` is an error, `Option<T>`
//! is `None` (and no key in JSON), `Vec<T>` collects an attribute that may come several times.

use std::net::IpAddr;

use super::attr::Attr;
use super::attr::Attrs;
use super::uapi::Availability;
use super::uapi::Command;
use super::uapi::EventKind;
use super::uapi::EventReason;
use super::uapi::InterfaceRole;
use super::uapi::LaneReason;
use super::uapi::PathState;
use super::uapi::PathWay;
use super::uapi::PathWish;
use super::uapi::RuleMode;
use super::uapi::RulePriority;
use super::uapi::SessionState;
use super::DecodeError;
use super::Interfaces;
use super::NodeId;
use super::Protocol;

/// Something the kernel lists.
pub trait Record: Sized {
    /// The command that lists it.
    const COMMAND: Command;

    /// Builds it from the attributes of one message. Unknown attributes are skipped, so that a
    /// newer module can be read.
    fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError>;
}

/// What one attribute holds.
pub trait Value: Sized {
    /// Reads the attribute.
    fn read(attr: &Attr<'_>) -> Result<Self, DecodeError>;
}

macro_rules! values {
    ($($type:ty = |$attr:ident| $read:expr;)*) => {
        $(impl Value for $type {
            fn read($attr: &Attr<'_>) -> Result<Self, DecodeError> {
                Ok($read)
            }
        })*
    };
}

values! {
    u8 = |attr| attr.u8()?;
    u16 = |attr| attr.u16()?;
    u32 = |attr| attr.u32()?;
    u64 = |attr| attr.u64()?;
    i32 = |attr| attr.i32()?;
    bool = |attr| attr.u8()? != 0;
    String = |attr| attr.string()?;
    IpAddr = |attr| attr.addr()?;
    NodeId = |attr| Self(attr.u64()?);
    Protocol = |attr| Self(attr.u8()?);
    Availability = |attr| attr.u32()?.into();
    PathState = |attr| attr.u32()?.into();
    PathWay = |attr| attr.u32()?.into();
    PathWish = |attr| attr.u32()?.into();
    SessionState = |attr| attr.u32()?.into();
    EventKind = |attr| attr.u32()?.into();
    EventReason = |attr| attr.u32()?.into();
    RulePriority = |attr| attr.u32()?.into();
    RuleMode = |attr| attr.u32()?.into();
    LaneReason = |attr| attr.u32()?.into();
    InterfaceRole = |attr| attr.u32()?.into();
    Interfaces = |attr| Self(attr.u32s()?);
}

/// A field of a record under construction; `slot` is `None` until the attribute was seen.
pub(super) trait Field: Sized {
    /// Takes the value of the attribute.
    fn take(slot: &mut Option<Self>, attr: &Attr<'_>) -> Result<(), DecodeError>;

    /// What the field is when the attribute is absent; `None` if it must not be.
    fn absent() -> Option<Self> {
        None
    }

    /// True if the field stands for an absent attribute and has no place in JSON.
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T: Value> Field for T {
    fn take(slot: &mut Option<Self>, attr: &Attr<'_>) -> Result<(), DecodeError> {
        *slot = Some(T::read(attr)?);
        Ok(())
    }
}

impl<T: Value> Field for Option<T> {
    fn take(slot: &mut Option<Self>, attr: &Attr<'_>) -> Result<(), DecodeError> {
        *slot = Some(Some(T::read(attr)?));
        Ok(())
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Value> Field for Vec<T> {
    fn take(slot: &mut Option<Self>, attr: &Attr<'_>) -> Result<(), DecodeError> {
        let list = slot.get_or_insert_default();
        // Of a hundred thousand records each has one or two: room for more would be most of all.
        list.reserve_exact(1);
        list.push(T::read(attr)?);
        Ok(())
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

macro_rules! record {
    (
        $(#[$doc:meta])*
        pub struct $record:ident: $set:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $attr:ident,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        pub struct $record {
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "crate::nl::record::Field::is_absent")]
                pub $field: $type,
            )*
        }

        impl $record {
            pub(super) fn from_attrs(
                attrs: crate::nl::attr::Attrs<'_>,
            ) -> Result<Self, crate::nl::DecodeError> {
                use crate::nl::record::Field;
                use crate::nl::uapi;

                $(let mut $field: Option<$type> = None;)*
                for attr in attrs {
                    let attr = attr?;
                    match attr.kind() {
                        $(uapi::$attr => Field::take(&mut $field, &attr)?,)*
                        _ => {}
                    }
                }
                Ok(Self {
                    $(
                        $field: $field.or_else(Field::absent).ok_or_else(|| {
                            crate::nl::DecodeError::missing(&uapi::$set, uapi::$attr)
                        })?,
                    )*
                })
            }
        }
    };
    // The same for what is listed by a command.
    (
        $(#[$doc:meta])*
        pub struct $record:ident: $set:ident by $command:ident {
            $($fields:tt)*
        }
    ) => {
        record! {
            $(#[$doc])*
            pub struct $record: $set { $($fields)* }
        }

        impl crate::nl::Record for $record {
            const COMMAND: crate::nl::uapi::Command = crate::nl::uapi::$command;

            fn decode(
                attrs: crate::nl::attr::Attrs<'_>,
            ) -> Result<Self, crate::nl::DecodeError> {
                Self::from_attrs(attrs)
            }
        }
    };
    // The same for what is nested in another record.
    (
        $(#[$doc:meta])*
        pub struct $record:ident: nested $set:ident {
            $($fields:tt)*
        }
    ) => {
        record! {
            $(#[$doc])*
            pub struct $record: $set { $($fields)* }
        }

        impl crate::nl::record::Value for $record {
            fn read(
                attr: &crate::nl::attr::Attr<'_>,
            ) -> Result<Self, crate::nl::DecodeError> {
                Self::from_attrs(attr.nest(&crate::nl::uapi::$set))
            }
        }
    };
}
pub(super) use record;

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::super::uapi;
    use super::super::Counter;
    use super::super::Param;
    use super::super::Path;
    use super::super::Session;
    use super::*;

    #[rustfmt::skip]
    const SESSION: &[u8] = &[
        8, 0, 1, 0,  7, 0, 0, 0,                                    // id 7
        12, 0, 2, 0,  0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 1,  // peer
        5, 0, 3, 0,  6, 0, 0, 0,                                    // protocol tcp
        20, 0, 4, 0x80,                                             // local, nested
            8, 0, 1, 0,  10, 0, 0, 2,                               //   addr 10.0.0.2
            6, 0, 2, 0,  0x90, 0x1f, 0, 0,                          //   port 8080
        8, 0, 6, 0,  1, 0, 0, 0,                                    // state open
        8, 0, 99, 0,  1, 2, 3, 4,                                   // from the future
        44, 0, 13, 0x80,                                            // lane, nested
            5, 0, 1, 0,  1, 0, 0, 0,                                //   path 1
            32, 0, 4, 0x80,                                         //   remote, nested
                20, 0, 1, 0,  0x20, 1, 0xd, 0xb8, 0, 0, 0, 0,
                              0, 0, 0, 0, 0, 0, 0, 1,               //     addr 2001:db8::1
                6, 0, 2, 0,  0xbb, 1, 0, 0,                         //     port 443
        12, 0, 13, 0x80,                                            // lane, nested
            5, 0, 1, 0,  2, 0, 0, 0,                                //   path 2
    ];

    fn session(bytes: &[u8]) -> Result<Session, DecodeError> {
        Session::decode(Attrs::new(&uapi::SESSION, bytes))
    }

    #[test]
    fn nested_and_repeated() {
        let session = session(SESSION).unwrap();
        assert_eq!(session.id, 7);
        assert_eq!(session.peer, Some(NodeId(0x0123_4567_89ab_cdef)));
        assert_eq!(session.protocol, Some(Protocol(6)));
        assert_eq!(session.local.unwrap().to_string(), "10.0.0.2:8080");
        assert_eq!(session.remote, None);
        assert_eq!(session.state, Some(SessionState::Open));
        assert_eq!(session.lane.len(), 2);
        let remote = session.lane[0].remote.as_ref().unwrap();
        assert_eq!(remote.to_string(), "[2001:db8::1]:443");
        assert_eq!(session.lane[1].path, 2);
        assert_eq!(session.lane[1].remote, None);
    }

    #[test]
    fn json_has_what_was_reported() {
        let session = session(&SESSION[..8]).unwrap();
        let json = serde_json::to_string(&session).unwrap();
        assert_eq!(json, r#"{"id":7,"lane":[],"rule":[]}"#);
    }

    /// Neither truncation nor damage to any byte may panic, at any depth.
    #[test]
    fn damage_is_an_error_at_worst() {
        let boundaries = [8, 20, 28, 48, 56, 64, 108];
        for length in 0..SESSION.len() {
            let whole = boundaries.contains(&length);
            let padding_cut = [26, 27, 25].contains(&length);
            let result = session(&SESSION[..length]);
            assert_eq!(result.is_ok(), whole || padding_cut, "{length}: {result:?}");
        }
        for i in 0..SESSION.len() {
            for value in 0..=255 {
                let mut bytes = SESSION.to_vec();
                bytes[i] = value;
                let _ = session(&bytes);
            }
        }
    }

    #[test]
    fn errors_name_the_attribute() {
        let missing = Counter::decode(Attrs::new(&uapi::COUNTER, &[])).unwrap_err();
        assert_eq!(missing.to_string(), "counter.name: missing");
        let bytes = &[6, 0, 1, 0, 10, 0, 0, 0];
        let path = Path::decode(Attrs::new(&uapi::PATH, bytes)).unwrap_err();
        assert!(path.to_string().starts_with("path.id: "), "{path}");
        // An address of 5 bytes inside a nest.
        let bytes = &[16, 0, 4, 0x80, 9, 0, 1, 0, 1, 2, 3, 4, 5, 0, 0, 0];
        let addr = session(bytes).unwrap_err();
        assert!(addr.to_string().starts_with("endpoint.addr: "), "{addr}");
    }

    #[test]
    fn choices_are_split() {
        let mut bytes = vec![5, 0, 1, 0, 0, 0, 0, 0];
        bytes.extend([12, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(b"\x0b\0\x07\0off,on\0\0");
        let param = Param::decode(Attrs::new(&uapi::PARAM, &bytes)).unwrap();
        assert_eq!(param.choices.0, ["off", "on"]);
        assert_eq!(param.choice(1), Some("on"));
        assert_eq!(param.choice(2), None);
        assert_eq!(param.unit, None);
    }
}
