// SPDX-License-Identifier: GPL-2.0

//! What each command writes, as text and as JSON, with a scripted kernel behind it.

mod common;

use clap::Parser;
use common::*;
use mpipctl::cli::Cli;
use mpipctl::cmd;
use mpipctl::cmd::Context;
use mpipctl::nl::uapi::*;
use snapbox::assert_data_eq;
use snapbox::str;
use snapbox::IntoData;

#[test]
fn status() {
    assert_data_eq!(
        run("mpipctl", node()),
        str![[r#"
mpip 0.1.0 enabled  netns init  peers 1  sessions 3  paths 4 (3 active)

"#]]
    );
    assert_data_eq!(
        run("mpipctl status -d", node()),
        str![[r#"
mpip 0.1.0 enabled  netns init  peers 1  sessions 3  paths 4 (3 active)  id 0123456789abcdef  udp-port 45678

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j", node()),
        str![[r#"
{"version":"0.1.0","enabled":true,"id":"0123456789abcdef","peers":1,"sessions":3,"paths":4,"active_paths":3,"udp_port":45678,"netns":"init"}

"#]]
    );
    assert_data_eq!(
        run("mpipctl status -p", node()),
        str![[r#"
{
  "version": "0.1.0",
  "enabled": true,
  "id": "0123456789abcdef",
  "peers": 1,
  "sessions": 3,
  "paths": 4,
  "active_paths": 3,
  "udp_port": 45678,
  "netns": "init"
}

"#]]
    );
}

#[test]
fn status_while_disabled() {
    let node = || {
        let node = [string(NODE_VERSION, "0.1.0"), u8(NODE_ENABLED, 0)];
        Kernel::new().answer(CMD_GET, vec![reply(0, &node), ack()])
    };
    assert_data_eq!(
        run("mpipctl -d", node()),
        str![[r#"
mpip 0.1.0 disabled  netns init  peers 0  sessions 0  paths 0 (0 active)  id -  udp-port -

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j", node()),
        str![[r#"
{"version":"0.1.0","enabled":false,"netns":"init"}

"#]]
    );
}

#[test]
fn enable_and_disable() {
    for (line, value) in [("mpipctl enable", 1), ("mpipctl disable", 0)] {
        let kernel = Kernel::new().answer(CMD_SET, vec![ack()]);
        let requests = kernel.requests();
        assert_eq!(run(line, kernel), "");
        assert_eq!(requests.lock().unwrap()[0][4..], u8(NODE_ENABLED, value));
    }
}

fn peers() -> Kernel {
    let v6 = "2001:db8::9"
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets();
    Kernel::new().answer(
        CMD_PEER_GET,
        dump(&[
            vec![
                u64(PEER_ID, 0xfedc_ba98_7654_3210),
                u32(PEER_SESSIONS, 3),
                u32(PEER_PATHS, 4),
                u16(PEER_UDP_PORT, 45678),
                u64(PEER_AGE_MS, 11_520_000),
                u64(PEER_IDLE_MS, 420),
                endpoint(PEER_ADDRESS, &[192, 0, 2, 9], 0),
                endpoint(PEER_ADDRESS, &v6, 443),
            ],
            vec![u64(PEER_ID, 0x42)],
        ]),
    )
}

#[test]
fn peer() {
    assert_data_eq!(
        run("mpipctl peer", peers()),
        str![[r#"
ID               SESSIONS PATHS IDLE  ADDRESSES
fedcba9876543210 3        4     420ms 192.0.2.9,[2001:db8::9]:443
0000000000000042 -        -     -     -

"#]]
    );
    assert_data_eq!(
        run("mpipctl peer show -d", peers()),
        str![[r#"
ID               SESSIONS PATHS IDLE  AGE   UDP-PORT ADDRESSES
fedcba9876543210 3        4     420ms 3h12m 45678    192.0.2.9,[2001:db8::9]:443
0000000000000042 -        -     -     -     -        -

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j peer", peers()),
        str![[r#"
[{"id":"fedcba9876543210","sessions":3,"paths":4,"udp_port":45678,"age_ms":11520000,"idle_ms":420,"address":[{"addr":"192.0.2.9","port":0},{"addr":"2001:db8::9","port":443}]},{"id":"0000000000000042","address":[]}]

"#]]
    );
}

fn lane(path: u8, remote: [u8; 4], state: u32, weight: u32) -> Vec<u8> {
    nest(
        SESSION_LANE,
        &[
            u8(LANE_PATH, path),
            u8(LANE_ORIGINAL, (path == 1).into()),
            endpoint(LANE_LOCAL, &[10, 0, 0, 2], 40000 + u16::from(path)),
            endpoint(LANE_REMOTE, &remote, 443),
            u32(LANE_STATE, state),
            u32(LANE_WEIGHT, weight),
            u64(LANE_TX_PACKETS, 70_000),
            u64(LANE_TX_BYTES, 81_234_567),
            u64(LANE_RX_PACKETS, 900),
            u64(LANE_RX_BYTES, 64_000),
            // Kept back by a rule's limits.
            if state == 3 {
                u32(LANE_UNUSED, 2)
            } else {
                Vec::new()
            },
        ],
    )
}

fn sessions() -> Kernel {
    Kernel::new().answer(
        CMD_SESSION_GET,
        dump(&[
            vec![
                u32(SESSION_ID, 7),
                u64(SESSION_PEER, 0xfedc_ba98_7654_3210),
                u8(SESSION_PROTOCOL, 6),
                endpoint(SESSION_LOCAL, &[10, 0, 0, 2], 40001),
                endpoint(SESSION_REMOTE, &[192, 0, 2, 9], 443),
                u32(SESSION_STATE, 1),
                u8(SESSION_INITIATOR, 1),
                u32(SESSION_NEXT_SEQ, 4_000_000_000),
                u64(SESSION_AGE_MS, 125_000),
                u64(SESSION_IDLE_MS, 40),
                u32(SESSION_HELD, 2),
                u32(SESSION_HELD_BYTES, 2896),
                lane(1, [192, 0, 2, 9], 1, 620),
                lane(2, [198, 51, 100, 9], 3, 380),
                u32(SESSION_RULE, 2),
                u32(SESSION_RULE, 5),
            ],
            vec![
                u32(SESSION_ID, 1200),
                u64(SESSION_PEER, 0),
                u8(SESSION_PROTOCOL, 17),
                endpoint(SESSION_LOCAL, &[10, 0, 0, 2], 5000),
                endpoint(SESSION_REMOTE, &[198, 51, 100, 77], 53),
                u32(SESSION_STATE, 0),
            ],
        ]),
    )
}

#[test]
fn session() {
    assert_data_eq!(
        run("mpipctl session", sessions()),
        str![[r#"
ID   PROTO LOCAL          REMOTE           STATE   PATHS IDLE
7    tcp   10.0.0.2:40001 192.0.2.9:443    open    1/2   40ms
1200 udp   10.0.0.2:5000  198.51.100.77:53 opening 0/0   -

"#]]
    );
    assert_data_eq!(
        run("mpipctl -s session", sessions()),
        str![[r#"
ID   PROTO LOCAL          REMOTE           STATE   PATHS IDLE TX     RX     HELD
7    tcp   10.0.0.2:40001 192.0.2.9:443    open    1/2   40ms 162.5M 128.0k 2
1200 udp   10.0.0.2:5000  198.51.100.77:53 opening 0/0   -    0      0      -

"#]]
    );
    assert_data_eq!(
        run("mpipctl -d session show", sessions()),
        str![[r#"
ID   PROTO LOCAL          REMOTE           STATE   PATHS IDLE
7    tcp   10.0.0.2:40001 192.0.2.9:443    open    1/2   40ms
    peer fedcba9876543210 opened here age 2m05s next-seq 4000000000 held 2 (2896 bytes) rule 2,5
    path 1 10.0.0.2:40001 > 192.0.2.9:443 active weight 620 tx 81.2M rx 64.0k original
    path 2 10.0.0.2:40002 > 198.51.100.9:443 standby weight 380 tx 81.2M rx 64.0k unused limits
1200 udp   10.0.0.2:5000  198.51.100.77:53 opening 0/0   -
    peer - opened - age - next-seq - held - (- bytes) rule -

"#]]
    );
    assert_data_eq!(
        run("mpipctl -s -d -o session", sessions()),
        str![[r#"
7 tcp 10.0.0.2:40001 192.0.2.9:443 open 1/2 40ms 162.5M 128.0k 2 \ peer fedcba9876543210 opened here age 2m05s next-seq 4000000000 held 2 (2896 bytes) rule 2,5 \ path 1 10.0.0.2:40001 > 192.0.2.9:443 active weight 620 tx 81.2M rx 64.0k tx-packets 70000 rx-packets 900 original \ path 2 10.0.0.2:40002 > 198.51.100.9:443 standby weight 380 tx 81.2M rx 64.0k tx-packets 70000 rx-packets 900 unused limits
1200 udp 10.0.0.2:5000 198.51.100.77:53 opening 0/0 - 0 0 - \ peer - opened - age - next-seq - held - (- bytes) rule -

"#]]
        .raw()
    );
    assert_data_eq!(
        run("mpipctl -p session", sessions()),
        str![[r#"
[
  {
    "id": 7,
    "peer": "fedcba9876543210",
    "protocol": "tcp",
    "local": {
      "addr": "10.0.0.2",
      "port": 40001
    },
    "remote": {
      "addr": "192.0.2.9",
      "port": 443
    },
    "state": "open",
    "initiator": true,
    "next_seq": 4000000000,
    "age_ms": 125000,
    "idle_ms": 40,
    "held": 2,
    "held_bytes": 2896,
    "lane": [
      {
        "path": 1,
        "original": true,
        "local": {
          "addr": "10.0.0.2",
          "port": 40001
        },
        "remote": {
          "addr": "192.0.2.9",
          "port": 443
        },
        "state": "active",
        "weight": 620,
        "tx_packets": 70000,
        "tx_bytes": 81234567,
        "rx_packets": 900,
        "rx_bytes": 64000
      },
      {
        "path": 2,
        "original": false,
        "local": {
          "addr": "10.0.0.2",
          "port": 40002
        },
        "remote": {
          "addr": "198.51.100.9",
          "port": 443
        },
        "state": "standby",
        "weight": 380,
        "tx_packets": 70000,
        "tx_bytes": 81234567,
        "rx_packets": 900,
        "rx_bytes": 64000,
        "unused": "limits"
      }
    ],
    "rule": [
      2,
      5
    ]
  },
  {
    "id": 1200,
    "peer": "0000000000000000",
    "protocol": "udp",
    "local": {
      "addr": "10.0.0.2",
      "port": 5000
    },
    "remote": {
      "addr": "198.51.100.77",
      "port": 53
    },
    "state": "opening",
    "lane": [],
    "rule": []
  }
]

"#]]
    );
}

fn paths(other_peer: u64) -> Kernel {
    Kernel::new().answer(
        CMD_PATH_GET,
        dump(&[
            path_attrs(1, 0x42, 2, 12_400),
            path_attrs(2, 0x42, 3, 0),
            path_attrs(3, other_peer, 77, 1_250_000),
        ]),
    )
}

#[test]
fn path() {
    assert_data_eq!(
        run("mpipctl path", paths(0x42)),
        str![[r#"
ID DEV   LOCAL    REMOTE    WEIGHT RTT    QUEUE STATE
1  eth0  10.1.0.2 192.0.2.9 620    12.4ms 900us active
2  wwan0 10.2.0.2 192.0.2.9 620    -      900us active
3  if77  10.3.0.2 192.0.2.9 620    1.3s   900us active

"#]]
    );
    assert_data_eq!(
        run("mpipctl -s path", paths(0x42)),
        str![[r#"
ID DEV   LOCAL    REMOTE    WEIGHT RTT    QUEUE STATE  RATE       TX    RX    LOST
1  eth0  10.1.0.2 192.0.2.9 620    12.4ms 900us active 37.6Mbit/s 81.2M 64.0k 3
2  wwan0 10.2.0.2 192.0.2.9 620    -      900us active 37.6Mbit/s 81.2M 64.0k 3
3  if77  10.3.0.2 192.0.2.9 620    1.3s   900us active 37.6Mbit/s 81.2M 64.0k 3

"#]]
    );
    assert_data_eq!(
        run("mpipctl -s -d path", paths(0x43)),
        str![[r#"
PEER             ID DEV   LOCAL    REMOTE    WEIGHT RTT    QUEUE STATE  RATE       TX    RX    LOST
0000000000000042 1  eth0  10.1.0.2 192.0.2.9 620    12.4ms 900us active 37.6Mbit/s 81.2M 64.0k 3
    peer 0000000000000042 mtu 1500 max-queue 35.0ms
    one-way, with the clocks' offset: delay -41.0ms min-delay -41.9ms rx-delay 53.0ms
    rate 37.6Mbit/s queue-limit 33.1ms unanswered 1.2%
    packets tx 70000 rx 900 peer-rx 69997 bytes tx 81234567 rx 64000 peer-rx 81230000
0000000000000042 2  wwan0 10.2.0.2 192.0.2.9 620    -      900us active 37.6Mbit/s 81.2M 64.0k 3
    peer 0000000000000042 mtu 1500 max-queue 35.0ms
    one-way, with the clocks' offset: delay -41.0ms min-delay -41.9ms rx-delay 53.0ms
    rate 37.6Mbit/s queue-limit 33.1ms unanswered 1.2%
    packets tx 70000 rx 900 peer-rx 69997 bytes tx 81234567 rx 64000 peer-rx 81230000
0000000000000043 3  if77  10.3.0.2 192.0.2.9 620    1.3s   900us active 37.6Mbit/s 81.2M 64.0k 3
    peer 0000000000000043 mtu 1500 max-queue 35.0ms
    one-way, with the clocks' offset: delay -41.0ms min-delay -41.9ms rx-delay 53.0ms
    rate 37.6Mbit/s queue-limit 33.1ms unanswered 1.2%
    packets tx 70000 rx 900 peer-rx 69997 bytes tx 81234567 rx 64000 peer-rx 81230000

"#]]
    );
    assert_data_eq!(
        run("mpipctl -o path", paths(0x43)),
        str![[r#"
0000000000000042 1 eth0 10.1.0.2 192.0.2.9 620 12.4ms 900us active
0000000000000042 2 wwan0 10.2.0.2 192.0.2.9 620 - 900us active
0000000000000043 3 if77 10.3.0.2 192.0.2.9 620 1.3s 900us active

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j path", paths(0x42)),
        str![[r#"
[{"id":1,"peer":"0000000000000042","ifindex":2,"local":"10.1.0.2","remote":"192.0.2.9","state":"active","weight":620,"delay_us":-41000,"min_delay_us":-41900,"queue_us":900,"max_queue_us":35000,"srtt_us":12400,"mtu":1500,"tx_packets":70000,"tx_bytes":81234567,"rx_packets":900,"rx_bytes":64000,"peer_rx_packets":69997,"peer_rx_bytes":81230000,"lost":3,"rx_delay_us":53000,"rate":4700000,"queue_limit_us":33100,"unanswered":12,"dev":"eth0"},{"id":2,"peer":"0000000000000042","ifindex":3,"local":"10.2.0.2","remote":"192.0.2.9","state":"active","weight":620,"delay_us":-41000,"min_delay_us":-41900,"queue_us":900,"max_queue_us":35000,"srtt_us":0,"mtu":1500,"tx_packets":70000,"tx_bytes":81234567,"rx_packets":900,"rx_bytes":64000,"peer_rx_packets":69997,"peer_rx_bytes":81230000,"lost":3,"rx_delay_us":53000,"rate":4700000,"queue_limit_us":33100,"unanswered":12,"dev":"wwan0"},{"id":3,"peer":"0000000000000042","ifindex":77,"local":"10.3.0.2","remote":"192.0.2.9","state":"active","weight":620,"delay_us":-41000,"min_delay_us":-41900,"queue_us":900,"max_queue_us":35000,"srtt_us":1250000,"mtu":1500,"tx_packets":70000,"tx_bytes":81234567,"rx_packets":900,"rx_bytes":64000,"peer_rx_packets":69997,"peer_rx_bytes":81230000,"lost":3,"rx_delay_us":53000,"rate":4700000,"queue_limit_us":33100,"unanswered":12}]

"#]]
    );
}

fn params() -> Kernel {
    Kernel::new().answer(
        CMD_PARAM_GET,
        dump(&[
            vec![
                string(PARAM_NAME, "ask"),
                u64(PARAM_VALUE, 1),
                u64(PARAM_DEFAULT, 2),
                u64(PARAM_MINIMUM, 0),
                u64(PARAM_MAXIMUM, 2),
                string(PARAM_CHOICES, "never,listed,every"),
                string(PARAM_HELP, "which destinations are asked"),
            ],
            vec![
                string(PARAM_NAME, "hold-time"),
                u64(PARAM_VALUE, 100),
                u64(PARAM_DEFAULT, 100),
                u64(PARAM_MINIMUM, 1),
                u64(PARAM_MAXIMUM, 5000),
                string(PARAM_UNIT, "ms"),
                string(PARAM_HELP, "how long packets may wait for earlier ones"),
            ],
        ]),
    )
}

#[test]
fn param_show() {
    assert_data_eq!(
        run("mpipctl param", params()),
        str![[r#"
NAME      VALUE  UNIT DEFAULT ALLOWED
ask       listed -    every   never,listed,every
hold-time 100    ms   100     1..5000

"#]]
    );
    assert_data_eq!(
        run("mpipctl param show hold-time -d", params()),
        str![[r#"
NAME      VALUE UNIT DEFAULT ALLOWED
hold-time 100   ms   100     1..5000
    how long packets may wait for earlier ones

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j param", params()),
        str![[r#"
[{"name":"ask","value":1,"default":2,"minimum":0,"maximum":2,"choices":["never","listed","every"],"help":"which destinations are asked"},{"name":"hold-time","value":100,"default":100,"minimum":1,"maximum":5000,"unit":"ms","choices":[],"help":"how long packets may wait for earlier ones"}]

"#]]
    );
    assert_data_eq!(
        error("mpipctl param show hold", params()),
        str![[r#"
1 no parameter "hold"; there are: ask, hold-time

"#]]
    );
}

#[test]
fn param_set() {
    for (line, value) in [
        ("mpipctl param set ask every", 2),
        ("mpipctl param set hold-time 2s", 2000),
        ("mpipctl param set hold-time 250", 250),
    ] {
        let kernel = params().answer(CMD_PARAM_SET, vec![ack()]);
        let requests = kernel.requests();
        assert_eq!(run(line, kernel), "");
        assert!(requests.lock().unwrap()[1].ends_with(&u64(PARAM_VALUE, value)));
    }
}

/// The kernel has no answer prepared: it must not be asked.
#[test]
fn param_set_to_a_bad_value() {
    assert_data_eq!(
        error("mpipctl param set hold-time 9s", params()),
        str![[r#"
1 hold-time: out of range: "9s"; allowed: 1 to 5000 ms

"#]]
    );
    assert_data_eq!(
        error("mpipctl param set hold-time -5", params()),
        str![[r#"
1 hold-time: not a number: "-5"; allowed: 1 to 5000 ms

"#]]
    );
    assert_data_eq!(
        error("mpipctl param set ask always", params()),
        str![[r#"
1 ask: not one of its choices: "always"; allowed: never, listed, every

"#]]
    );
}

#[test]
fn param_set_refused_by_the_kernel() {
    let tlvs = [string(1, "not while sessions are open"), u32(2, 28)];
    let kernel = params().answer(CMD_PARAM_SET, vec![refusal(16, &tlvs)]);
    assert_data_eq!(
        error("mpipctl param set ask never", kernel),
        str![[r#"
2 param "ask": the kernel refused: param.value: not while sessions are open: Device or resource busy

"#]]
    );
}

#[test]
fn avail() {
    let rows = || {
        let row = vec![
            attr(AVAIL_ADDR, &[192, 0, 2, 9]),
            u16(AVAIL_PORT, 443),
            u8(AVAIL_PROTOCOL, 6),
            u32(AVAIL_AVAILABILITY, 2),
            u32(AVAIL_QUERIES, 3),
            u64(AVAIL_AGE_MS, 90_000),
        ];
        Kernel::new().answer(CMD_AVAIL_GET, dump(&[row]))
    };
    assert_data_eq!(
        run("mpipctl avail", rows()),
        str![[r#"
ADDR      PORT PROTO AVAILABILITY QUERIES AGE
192.0.2.9 443  tcp   unavailable  3       1m30s

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j avail list", rows()),
        str![[r#"
[{"addr":"192.0.2.9","port":443,"protocol":"tcp","availability":"unavailable","queries":3,"age_ms":90000}]

"#]]
    );
}

#[test]
fn ask() {
    let prefixes = || {
        let prefix = vec![attr(PREFIX_ADDR, &[10, 0, 0, 0]), u8(PREFIX_LEN, 8)];
        Kernel::new().answer(CMD_PREFIX_GET, dump(&[prefix]))
    };
    assert_eq!(run("mpipctl ask", prefixes()), "10.0.0.0/8\n");
    assert_data_eq!(
        run("mpipctl -j ask show", prefixes()),
        str![[r#"
[{"addr":"10.0.0.0","len":8}]

"#]]
    );
    let kernel = Kernel::new().answer(CMD_PREFIX_ADD, vec![ack()]);
    assert_eq!(run("mpipctl ask add 10.0.0.0/8", kernel), "");
    let kernel = Kernel::new().answer(CMD_PREFIX_DEL, vec![refusal(2, &[])]);
    assert_data_eq!(
        error("mpipctl ask del 10.0.0.0/8", kernel),
        str![[r#"
2 prefix "10.0.0.0/8": the kernel refused: No such file or directory; try: mpipctl ask

"#]]
    );
}

#[test]
fn empty_tables() {
    for (object, command, header) in [
        ("peer", CMD_PEER_GET, "ID SESSIONS PATHS IDLE ADDRESSES\n"),
        (
            "session",
            CMD_SESSION_GET,
            "ID PROTO LOCAL REMOTE STATE PATHS IDLE\n",
        ),
        (
            "path",
            CMD_PATH_GET,
            "ID DEV LOCAL REMOTE WEIGHT RTT QUEUE STATE\n",
        ),
        (
            "avail",
            CMD_AVAIL_GET,
            "ADDR PORT PROTO AVAILABILITY QUERIES AGE\n",
        ),
        ("ask", CMD_PREFIX_GET, ""),
    ] {
        let kernel = || Kernel::new().answer(command, dump(&[]));
        assert_eq!(run(&format!("mpipctl {object}"), kernel()), header);
        assert_eq!(run(&format!("mpipctl -j {object}"), kernel()), "[]\n");
        assert_eq!(run(&format!("mpipctl -o {object}"), kernel()), "");
    }
    let kernel = Kernel::new().answer(CMD_COUNTER_GET, dump(&[]));
    assert_eq!(run("mpipctl -j stats", kernel), "{}\n");
}

#[test]
fn module_absent() {
    assert_data_eq!(
        error("mpipctl", Kernel::without_module()),
        str![[r#"
3 generic netlink family "mpip" not found; try: modprobe mpip

"#]]
    );
}

#[test]
fn rights_lacking() {
    let kernel = Kernel::new().answer(CMD_SET, vec![refusal(1, &[])]);
    assert_data_eq!(
        error("mpipctl enable", kernel),
        str![[r#"
2 operation not permitted: needs CAP_NET_ADMIN in the network namespace; try: sudo mpipctl …

"#]]
    );
}

#[test]
fn restless_table_is_remarked() {
    let mut kernel = Kernel::new();
    for _ in 0..5 {
        kernel = kernel.answer(CMD_PATH_GET, vec![done(DUMP_INTR)]);
    }
    let ran = try_run("mpipctl path", kernel);
    ran.result.unwrap();
    assert_eq!(ran.warnings.len(), 1);
}

struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn broken_pipe_is_told_apart() {
    for (line, kernel) in [
        ("mpipctl", node()),
        ("mpipctl -j", node()),
        ("mpipctl -p", node()),
        ("mpipctl monitor", events()),
        ("mpipctl -j monitor", events()),
    ] {
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let system = Fake::new(kernel);
        let mut out = Full;
        let mut context = Context::new(cli.options, &system, &mut out);
        let error = cmd::run(cli.object, &mut context).unwrap_err();
        assert!(error.is_broken_pipe(), "{error:?}");
    }
}
