// SPDX-License-Identifier: GPL-2.0

//! Netlink messages, byte by byte.

use super::*;

/// An attribute, padded.
pub fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub fn u8(kind: u16, value: u8) -> Vec<u8> {
    attr(kind, &[value])
}

pub fn u16(kind: u16, value: u16) -> Vec<u8> {
    attr(kind, &value.to_ne_bytes())
}

pub fn u32(kind: u16, value: u32) -> Vec<u8> {
    attr(kind, &value.to_ne_bytes())
}

pub fn s32(kind: u16, value: i32) -> Vec<u8> {
    attr(kind, &value.to_ne_bytes())
}

pub fn u64(kind: u16, value: u64) -> Vec<u8> {
    attr(kind, &value.to_ne_bytes())
}

pub fn string(kind: u16, value: &str) -> Vec<u8> {
    attr(kind, format!("{value}\0").as_bytes())
}

pub fn nest(kind: u16, attrs: &[Vec<u8>]) -> Vec<u8> {
    attr(kind | 0x8000, &attrs.concat())
}

pub fn endpoint(kind: u16, addr: &[u8], port: u16) -> Vec<u8> {
    let addr = attr(ENDPOINT_ADDR, addr);
    nest(kind, &[addr, u16(ENDPOINT_PORT, port)])
}

/// A netlink message; the sequence number is that of the request unless one is given.
pub fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message of the family.
pub fn reply(flags: u16, attrs: &[Vec<u8>]) -> Vec<u8> {
    message(
        FAMILY,
        flags,
        0,
        &[&[1, 1, 0, 0], &attrs.concat()[..]].concat(),
    )
}

/// A message of the generic netlink controller.
pub fn controller(command: u8, attrs: &[Vec<u8>]) -> Vec<u8> {
    message(
        CTRL,
        0,
        0,
        &[&[command, 2, 0, 0], &attrs.concat()[..]].concat(),
    )
}

/// The controller's word that a family has gone.
pub fn family_gone(number: u16) -> Vec<u8> {
    controller(2, &[string(2, "some"), u16(1, number)])
}

pub fn group(index: u16, name: &str, number: u32) -> Vec<u8> {
    nest(index, &[u32(2, number), string(1, name)])
}

/// An event.
pub fn event(kind: u32, attrs: &[Vec<u8>]) -> Vec<u8> {
    let kind = u32(EVENT_KIND, kind);
    let time = u64(EVENT_TIME_US, 12_000_345);
    let attrs = [&[kind, time], attrs].concat().concat();
    message(FAMILY, 0, 0, &[&[13, 1, 0, 0], &attrs[..]].concat())
}

pub fn ack() -> Vec<u8> {
    message(ERROR, CAPPED, 0, &[0; 20])
}

pub fn refusal(errno: i32, tlvs: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.resize(20, 0);
    payload.extend(tlvs.concat());
    message(ERROR, CAPPED | ACK_TLVS, 0, &payload)
}

pub fn done(flags: u16) -> Vec<u8> {
    message(DONE, MULTI | flags, 0, &0i32.to_ne_bytes())
}

/// What the kernel sends for one request, datagram by datagram.
pub type Answer = Vec<Vec<u8>>;

/// A whole dump in two datagrams.
pub fn dump(records: &[Vec<Vec<u8>>]) -> Answer {
    let records: Vec<u8> = records
        .iter()
        .flat_map(|attrs| reply(MULTI, attrs))
        .collect();
    let mut answer = vec![records, done(0)];
    answer.retain(|datagram| !datagram.is_empty());
    answer
}
