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

/// There are settings for an interface of this name, which is not there.
fn all_numbers(absent: &str) -> Kernel {
    let counter = |name, value| vec![string(COUNTER_NAME, name), u64(COUNTER_VALUE, value)];
    let counters = [counter("tx-lane", u64::MAX), counter("cm-bad-tag", 0)];
    let budget = [
        u32(INTERFACE_COST, 5),
        u64(INTERFACE_BUDGET, 2 << 30),
        u64(INTERFACE_USED, (2 << 30) + 4711),
        u64(INTERFACE_LEFT_MS, 3_723_500),
    ];
    let interface = |name, index: Option<u32>, role, more: &[Vec<u8>]| {
        let mut attrs = vec![string(INTERFACE_NAME, name), u32(INTERFACE_ROLE, role)];
        attrs.extend(index.map(|index| u32(INTERFACE_IFINDEX, index)));
        attrs.extend(more.iter().cloned());
        attrs
    };
    let plain = [u32(INTERFACE_COST, 0), u64(INTERFACE_BUDGET, 0)];
    let interfaces = [
        interface("wwan0", Some(3), 2, &budget),
        interface(absent, None, 4, &plain),
        interface("eth0", Some(2), 0, &plain),
    ];
    let node = node()
        .answer(CMD_COUNTER_GET, dump(&counters))
        .answer(CMD_INTERFACE_GET, dump(&interfaces));
    let paths = [path_attrs(1, 0x42, 2, 12_400), path_attrs(2, 0x42, 77, 0)];
    node.answer(CMD_PATH_GET, dump(&paths))
}

type Labels = Vec<(String, String)>;

/// Splits `{name="value",…} rest`, by the format's own rules.
fn labels(text: &str) -> (Labels, &str) {
    let mut labels = Vec::new();
    let mut rest = text.strip_prefix('{').expect("labels");
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return (labels, rest);
        }
        rest = rest.strip_prefix(',').unwrap_or(rest);
        let (name, value) = rest.split_once("=\"").expect("a value in quotes");
        let mut text = String::new();
        let mut chars = value.char_indices();
        rest = loop {
            match chars.next().expect("a quote at the end") {
                (at, '"') => break &value[at + 1..],
                (_, '\\') => match chars.next().expect("something behind the backslash").1 {
                    'n' => text.push('\n'),
                    c @ ('\\' | '"') => text.push(c),
                    c => panic!("unknown escape: {c}"),
                },
                (_, c) => text.push(c),
            }
        };
        labels.push((name.to_string(), text));
    }
}

fn is_name(text: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(starts) && text.chars().all(|c| starts(c) || c.is_ascii_digit())
}

#[test]
fn the_format_is_kept() {
    // The kernel lets interfaces be called that.
    let odd = "u\"s\\b";
    let text = run("mpipctl -d stats --prometheus", all_numbers(odd));
    assert!(text.ends_with('\n'));
    let mut metrics: Vec<(&str, Vec<Labels>)> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").expect(line);
        let (name, _) = help.split_once(' ').unwrap();
        assert!(is_name(name), "{name}");
        assert!(
            metrics.iter().all(|(other, _)| *other != name),
            "{name}: twice"
        );
        let kind = match name.ends_with("_total") {
            true => "counter",
            false => "gauge",
        };
        let line = lines.next().unwrap();
        assert_eq!(line, format!("# TYPE {name} {kind}"));
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (labels, value) = labels(line.strip_prefix(name).expect(line));
            assert!(value[1..].parse::<f64>().is_ok(), "{line}");
            assert!(labels.iter().all(|(name, _)| is_name(name)), "{line}");
            assert!(!samples.contains(&labels), "{line}: twice");
            samples.push(labels);
        }
        assert!(!samples.is_empty(), "{name}");
        metrics.push((name, samples));
    }
    let of = |name: &str| &metrics.iter().find(|(other, _)| *other == name).unwrap().1;
    let devs = of("mpip_interface_present")
        .iter()
        .map(|labels| labels[1].1.as_str());
    assert_eq!(devs.collect::<Vec<_>>(), ["wwan0", odd, "eth0"]);
}

#[test]
fn stats_for_prometheus() {
    assert_data_eq!(
        run("mpipctl stats --prometheus", all_numbers("usb7")),
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
# HELP mpip_interface_present 1 if the interface is there.
# TYPE mpip_interface_present gauge
mpip_interface_present{netns="init",dev="wwan0"} 1
mpip_interface_present{netns="init",dev="usb7"} 0
mpip_interface_present{netns="init",dev="eth0"} 1
# HELP mpip_interface_backup 1 if the interface is used only when nothing else works, for whatever reason.
# TYPE mpip_interface_backup gauge
mpip_interface_backup{netns="init",dev="wwan0"} 1
mpip_interface_backup{netns="init",dev="usb7"} 0
mpip_interface_backup{netns="init",dev="eth0"} 0
# HELP mpip_interface_over_budget 1 if that is because its budget is used up.
# TYPE mpip_interface_over_budget gauge
mpip_interface_over_budget{netns="init",dev="wwan0"} 1
mpip_interface_over_budget{netns="init",dev="usb7"} 0
mpip_interface_over_budget{netns="init",dev="eth0"} 0
# HELP mpip_interface_excluded 1 if the interface is not used for added paths.
# TYPE mpip_interface_excluded gauge
mpip_interface_excluded{netns="init",dev="wwan0"} 0
mpip_interface_excluded{netns="init",dev="usb7"} 1
mpip_interface_excluded{netns="init",dev="eth0"} 0
# HELP mpip_interface_cost Cost of the interface, which rules may limit.
# TYPE mpip_interface_cost gauge
mpip_interface_cost{netns="init",dev="wwan0"} 5
mpip_interface_cost{netns="init",dev="usb7"} 0
mpip_interface_cost{netns="init",dev="eth0"} 0
# HELP mpip_interface_budget_bytes Bytes that the interface may carry in a period.
# TYPE mpip_interface_budget_bytes gauge
mpip_interface_budget_bytes{netns="init",dev="wwan0"} 2147483648
# HELP mpip_interface_used_bytes Bytes that the interface has carried in the present period.
# TYPE mpip_interface_used_bytes gauge
mpip_interface_used_bytes{netns="init",dev="wwan0"} 2147488359
# HELP mpip_interface_period_left_seconds Time until the next period begins.
# TYPE mpip_interface_period_left_seconds gauge
mpip_interface_period_left_seconds{netns="init",dev="wwan0"} 3723.5

"##]]
    );
    // With -d that, and the paths.
    let brief = run("mpipctl stats --prometheus", all_numbers("usb7"));
    let detailed = run("mpipctl stats show --prometheus -d", all_numbers("usb7"));
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
# HELP mpip_path_capacity_bytes_per_second What the path carries, as far as this is known.
# TYPE mpip_path_capacity_bytes_per_second gauge
mpip_path_capacity_bytes_per_second{netns="init",peer="0000000000000042",path="1",dev="eth0",local="10.1.0.2",remote="192.0.2.9"} 4700000
mpip_path_capacity_bytes_per_second{netns="init",peer="0000000000000042",path="2",dev="",local="10.2.0.2",remote="192.0.2.9"} 4700000
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
