// SPDX-License-Identifier: GPL-2.0

//! Counters, as text, as JSON and for Prometheus.

mod common;

use common::*;
use mpipctl::nl::uapi::*;
use snapbox::assert_data_eq;
use snapbox::str;

#[test]
fn stats() {
    let counters = || {
        let counter = |name, value| vec![string(COUNTER_NAME, name), u64(COUNTER_VALUE, value)];
        let counters = [counter("tx-packets", u64::MAX), counter("cm-rx-bad", 0)];
        Kernel::new().answer(CMD_COUNTER_GET, dump(&counters))
    };
    assert_data_eq!(
        run("mpipctl stats", counters()),
        str![[r#"
NAME       VALUE
tx-packets 18446744073709551615
cm-rx-bad  0

"#]]
    );
    assert_data_eq!(
        run("mpipctl -j stats", counters()),
        str![[r#"
{"tx_packets":18446744073709551615,"cm_rx_bad":0}

"#]]
    );
}

fn all_numbers() -> Kernel {
    let counter = |name, value| vec![string(COUNTER_NAME, name), u64(COUNTER_VALUE, value)];
    let counters = [counter("tx-lane", u64::MAX), counter("cm-bad-tag", 0)];
    let node = node().answer(CMD_COUNTER_GET, dump(&counters));
    let paths = [path_attrs(1, 0x42, 2, 12_400), path_attrs(2, 0x42, 77, 0)];
    node.answer(CMD_PATH_GET, dump(&paths))
}

#[test]
fn stats_for_prometheus() {
    assert_data_eq!(
        run("mpipctl stats --prometheus", all_numbers()),
        str![[r##"
# HELP mpip_info The module.
# TYPE mpip_info gauge
mpip_info{netns="init",version="0.1.0"} 1
# HELP mpip_enabled 1 if the instance is on.
# TYPE mpip_enabled gauge
mpip_enabled{netns="init"} 1
# HELP mpip_peers Peers.
# TYPE mpip_peers gauge
mpip_peers{netns="init"} 1
# HELP mpip_sessions Sessions.
# TYPE mpip_sessions gauge
mpip_sessions{netns="init"} 3
# HELP mpip_paths Paths.
# TYPE mpip_paths gauge
mpip_paths{netns="init"} 4
# HELP mpip_paths_active Paths that carry data.
# TYPE mpip_paths_active gauge
mpip_paths_active{netns="init"} 3
# HELP mpip_tx_lane_total Counter tx-lane of the instance.
# TYPE mpip_tx_lane_total counter
mpip_tx_lane_total{netns="init"} 18446744073709551615
# HELP mpip_cm_bad_tag_total Counter cm-bad-tag of the instance.
# TYPE mpip_cm_bad_tag_total counter
mpip_cm_bad_tag_total{netns="init"} 0

"##]]
    );
    // With -d that, and the paths.
    let brief = run("mpipctl stats --prometheus", all_numbers());
    let detailed = run("mpipctl stats show --prometheus -d", all_numbers());
    assert_data_eq!(
        detailed.strip_prefix(&brief).unwrap().to_string(),
        str![[r##"
# HELP mpip_path_sent_bytes_total Bytes sent on the path.
# TYPE mpip_path_sent_bytes_total counter
mpip_path_sent_bytes_total{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 81234567
mpip_path_sent_bytes_total{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 81234567
# HELP mpip_path_received_bytes_total Bytes received on the path.
# TYPE mpip_path_received_bytes_total counter
mpip_path_received_bytes_total{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 64000
mpip_path_received_bytes_total{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 64000
# HELP mpip_path_sent_packets_total Packets sent on the path.
# TYPE mpip_path_sent_packets_total counter
mpip_path_sent_packets_total{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 70000
mpip_path_sent_packets_total{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 70000
# HELP mpip_path_received_packets_total Packets received on the path.
# TYPE mpip_path_received_packets_total counter
mpip_path_received_packets_total{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 900
mpip_path_received_packets_total{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 900
# HELP mpip_path_lost_packets_total Packets lost on the path.
# TYPE mpip_path_lost_packets_total counter
mpip_path_lost_packets_total{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 3
mpip_path_lost_packets_total{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 3
# HELP mpip_path_active 1 if the path carries data.
# TYPE mpip_path_active gauge
mpip_path_active{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 1
mpip_path_active{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 1
# HELP mpip_path_weight Weight of the path, in thousandths.
# TYPE mpip_path_weight gauge
mpip_path_weight{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 620
mpip_path_weight{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 620
# HELP mpip_path_rtt_seconds Smoothed round-trip time of the path.
# TYPE mpip_path_rtt_seconds gauge
mpip_path_rtt_seconds{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 0.0124
# HELP mpip_path_queue_seconds Queueing delay of the path.
# TYPE mpip_path_queue_seconds gauge
mpip_path_queue_seconds{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 0.0009
mpip_path_queue_seconds{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 0.0009

"##]]
    );
    assert_eq!(
        error("mpipctl -j stats --prometheus", Kernel::new()),
        "1 --prometheus: a format of its own; leave out -j and -p\n"
    );
}
