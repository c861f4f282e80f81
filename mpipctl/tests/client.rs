// SPDX-License-Identifier: GPL-2.0

//! Exchanges with a scripted kernel: requests as bytes, replies, dumps, refusals, damage.

mod common;

use std::ops::ControlFlow;

use common::*;
use mpipctl::nl::uapi::*;
use mpipctl::nl::Client;
use mpipctl::nl::Counter;
use mpipctl::nl::Error;
use mpipctl::nl::Prefix;
use mpipctl::nl::Session;

fn counter(name: &str, value: u64) -> Vec<Vec<u8>> {
    vec![string(COUNTER_NAME, name), u64(COUNTER_VALUE, value)]
}

fn refusal_of<T: std::fmt::Debug>(result: Result<T, Error>) -> mpipctl::nl::Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn module_absent() {
    let result = Client::new(Kernel::without_module()).err();
    assert!(matches!(result, Some(Error::FamilyMissing)), "{result:?}");
}

#[test]
fn reply_then_ack() {
    let node = [
        u8(NODE_ENABLED, 1),
        u32(NODE_PATHS, 4),
        string(99, "from the future"),
    ];
    let kernel = Kernel::new().answer(CMD_GET, vec![reply(0, &node), ack()]);
    let node = Client::new(kernel).unwrap().status().unwrap();
    assert!(node.enabled);
    assert_eq!(node.paths, Some(4));
    assert_eq!(node.id, None);
}

#[test]
fn requests_are_encoded() {
    let kernel = Kernel::new()
        .answer(CMD_SET, vec![ack()])
        .answer(CMD_PARAM_SET, vec![ack()])
        .answer(CMD_PREFIX_ADD, vec![ack()])
        .answer(CMD_PREFIX_DEL, vec![ack()])
        .answer(CMD_COUNTER_GET, dump(&[]));
    let requests = kernel.requests();
    let mut client = Client::new(kernel).unwrap();
    client.set_enabled(true).unwrap();
    client.set_param("ask", 2).unwrap();
    client.add_prefix(&"10.0.0.0/8".parse().unwrap()).unwrap();
    client
        .del_prefix(&"2001:db8::/32".parse().unwrap())
        .unwrap();
    client.list::<Counter>().unwrap();

    let v6 = "2001:db8::".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let expected = [
        [vec![2, 1, 0, 0], u8(NODE_ENABLED, 1)].concat(),
        [
            vec![8, 1, 0, 0],
            string(PARAM_NAME, "ask"),
            u64(PARAM_VALUE, 2),
        ]
        .concat(),
        [
            vec![11, 1, 0, 0],
            attr(PREFIX_ADDR, &[10, 0, 0, 0]),
            u8(PREFIX_LEN, 8),
        ]
        .concat(),
        [
            vec![12, 1, 0, 0],
            attr(PREFIX_ADDR, &v6),
            u8(PREFIX_LEN, 32),
        ]
        .concat(),
        vec![6, 1, 0, 0],
    ];
    assert_eq!(*requests.lock().unwrap(), expected);
}

#[test]
fn dump_in_several_datagrams() {
    let first = [
        reply(MULTI, &counter("a", 1)),
        reply(MULTI, &counter("b", 2)),
    ]
    .concat();
    let second = [reply(MULTI, &counter("c", 3)), done(0)].concat();
    let kernel = Kernel::new().answer(CMD_COUNTER_GET, vec![first, second]);
    let listing = Client::new(kernel).unwrap().list::<Counter>().unwrap();
    let values: Vec<u64> = listing.items.iter().map(|c| c.value).collect();
    assert_eq!(values, [1, 2, 3]);
    assert!(!listing.interrupted);
}

#[test]
fn interrupted_dump_is_begun_anew() {
    let interrupted = vec![reply(MULTI | DUMP_INTR, &counter("old", 1)), done(0)];
    let whole = dump(&[counter("new", 2)]);
    let kernel = Kernel::new()
        .answer(CMD_COUNTER_GET, interrupted)
        .answer(CMD_COUNTER_GET, vec![done(DUMP_INTR)])
        .answer(CMD_COUNTER_GET, whole);
    let listing = Client::new(kernel).unwrap().list::<Counter>().unwrap();
    assert_eq!(listing.items.len(), 1);
    assert_eq!(listing.items[0].name, "new");
    assert!(!listing.interrupted);
}

#[test]
fn restless_table_is_listed_all_the_same() {
    let mut kernel = Kernel::new();
    for _ in 0..5 {
        let answer = vec![reply(MULTI | DUMP_INTR, &counter("a", 1)), done(0)];
        kernel = kernel.answer(CMD_COUNTER_GET, answer);
    }
    let listing = Client::new(kernel).unwrap().list::<Counter>().unwrap();
    assert_eq!(listing.items.len(), 1);
    assert!(listing.interrupted);
}

#[test]
fn refusal_names_message_and_attribute() {
    // The value's attribute begins after 16 + 4 bytes of headers and 8 of the name.
    let tlvs = [string(1, "integer out of range"), u32(2, 28)];
    let kernel = Kernel::new().answer(CMD_PARAM_SET, vec![refusal(34, &tlvs)]);
    let refusal = refusal_of(Client::new(kernel).unwrap().set_param("ask", 9));
    assert_eq!(refusal.errno, 34);
    assert_eq!(refusal.message.as_deref(), Some("integer out of range"));
    assert_eq!(refusal.attribute.as_deref(), Some("param.value"));
}

#[test]
fn dump_may_be_refused_at_either_end() {
    let code = (-12i32).to_ne_bytes();
    let late = [
        reply(MULTI, &counter("a", 1)),
        message(DONE, MULTI, 0, &code),
    ]
    .concat();
    let kernel = Kernel::new()
        .answer(CMD_COUNTER_GET, vec![refusal(1, &[])])
        .answer(CMD_COUNTER_GET, vec![late]);
    let mut client = Client::new(kernel).unwrap();
    assert!(refusal_of(client.list::<Counter>()).is_permission());
    assert_eq!(refusal_of(client.list::<Counter>()).errno, 12);
}

#[test]
fn warnings_are_kept() {
    let mut payload = vec![0; 20];
    payload.extend(string(1, "port in use, chose another"));
    let warned = message(ERROR, CAPPED | ACK_TLVS, 0, &payload);
    let kernel = Kernel::new().answer(CMD_SET, vec![warned]);
    let mut client = Client::new(kernel).unwrap();
    client.set_enabled(true).unwrap();
    assert_eq!(client.take_warnings(), ["port in use, chose another"]);
    assert!(client.take_warnings().is_empty());
}

#[test]
fn stale_messages_are_skipped() {
    let stale = message(DONE, MULTI, 4711, &[0; 4]);
    let mut answer = dump(&[counter("a", 1)]);
    answer.insert(0, stale);
    let kernel = Kernel::new().answer(CMD_COUNTER_GET, answer);
    let listing = Client::new(kernel).unwrap().list::<Counter>().unwrap();
    assert_eq!(listing.items.len(), 1);
}

#[test]
fn senseless_record_does_not_disturb_the_next_exchange() {
    let nameless = vec![u64(COUNTER_VALUE, 1)];
    let kernel = Kernel::new()
        .answer(CMD_COUNTER_GET, dump(&[nameless, counter("a", 1)]))
        .answer(CMD_COUNTER_GET, dump(&[counter("a", 1)]));
    let mut client = Client::new(kernel).unwrap();
    let error = client.list::<Counter>().unwrap_err().to_string();
    assert!(error.ends_with("counter.name: missing"), "{error}");
    assert_eq!(client.list::<Counter>().unwrap().items.len(), 1);
}

#[test]
fn damaged_framing_is_an_error() {
    let short = vec![0; 15];
    let mut tiny = message(FAMILY, MULTI, 0, &[0; 8]);
    tiny[0] = 15;
    let mut long = message(FAMILY, MULTI, 0, &[0; 8]);
    long[0] = 0xff;
    let headless = message(FAMILY, MULTI, 0, &[1, 1]);
    for bytes in [vec![], short, tiny, long, [headless, done(0)].concat()] {
        let kernel = Kernel::new().answer(CMD_COUNTER_GET, vec![bytes]);
        let result = Client::new(kernel).unwrap().list::<Counter>();
        assert!(matches!(result, Err(Error::Malformed(_))), "{result:?}");
    }
}

#[test]
fn large_dump() {
    const SESSIONS: u32 = 100_000;
    const PER_DATAGRAM: u32 = 100;
    let datagram = |first: u32| -> Vec<u8> {
        let ids = first..first + PER_DATAGRAM;
        ids.flat_map(|id| reply(MULTI, &[u32(SESSION_ID, id)]))
            .collect()
    };
    let firsts = (0..SESSIONS).step_by(PER_DATAGRAM as usize);
    let mut answer: Answer = firsts.map(datagram).collect();
    answer.push(done(0));
    let kernel = Kernel::new().answer(CMD_SESSION_GET, answer);
    let mut next = 0;
    let whole = Client::new(kernel).unwrap().scan(|session: Session| {
        assert_eq!(session.id, next);
        next += 1;
    });
    assert!(whole.unwrap());
    assert_eq!(next, SESSIONS);
}

#[test]
fn a_dump_is_left_when_there_is_enough() {
    let kernel = Kernel::new().endless(CMD_SESSION_GET, &[u32(SESSION_ID, 7)]);
    let mut client = Client::new(kernel).unwrap();
    let mut count = 0;
    let done = client.scan_until(|session: Session| {
        assert_eq!(session.id, 7);
        count += 1;
        match count {
            100 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert!(done.is_ok());
    assert_eq!(count, 100);
}

#[test]
fn prefixes_are_listed() {
    let v4 = vec![attr(PREFIX_ADDR, &[10, 0, 0, 0]), u8(PREFIX_LEN, 8)];
    let kernel = Kernel::new().answer(CMD_PREFIX_GET, dump(&[v4]));
    let listing = Client::new(kernel).unwrap().list::<Prefix>().unwrap();
    assert_eq!(listing.items[0].to_string(), "10.0.0.0/8");
}
