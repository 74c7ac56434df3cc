use std::collections::BTreeMap;

use super::super::render;
use super::*;
use crate::status::{Counters, PmtudHost, PmtudInterface, PmtudMember, Status};

fn map(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn lines(pmtud: Pmtud) -> Vec<String> {
    let sample: Status = serde_json::from_str(include_str!("../../../../proto-tests/status.json")).unwrap();
    let snapshot = Snapshot { status: Status { pmtud, ..sample }, counters: Counters::default(), max_prefixes: 1000 };
    let text = render(snapshot);
    text.lines().filter(|line| line.starts_with("anycaster_pmtud")).map(str::to_owned).collect()
}

fn sample() -> Pmtud {
    Pmtud {
        enabled: true,
        interfaces: vec![PmtudInterface {
            name: "eth0".to_owned(),
            mtu: Some(1500),
            packets: BTreeMap::from([("ipv6".to_owned(), map(&[("relayed", 41), ("owned", 7)]))]),
        }],
        members: vec![PmtudMember { address: "2001:db8::12".parse().unwrap(), relayed: 41, send_errors: 3 }],
        received: map(&[("injected", 30)]),
        mtus: BTreeMap::from([("ipv4".to_owned(), map(&[("1400", 41), ("other", 2)]))]),
        host: PmtudHost { ipv4_errors: Some(9), ipv6_errors: None, out_of_window: Some(4) },
        ..Pmtud::default()
    }
}

#[test]
fn the_names_and_labels_of_contract() {
    let lines = lines(sample());
    let zeros = |line: &&String| line.ends_with(" 0");
    let counted: Vec<&String> = lines.iter().filter(|line| !zeros(line)).collect();
    assert_eq!(
        counted,
        [
            "anycaster_pmtud_packets_total{interface=\"eth0\",family=\"ipv6\",verdict=\"relayed\"} 41",
            "anycaster_pmtud_packets_total{interface=\"eth0\",family=\"ipv6\",verdict=\"owned\"} 7",
            "anycaster_pmtud_relay_received_total{verdict=\"injected\"} 30",
            "anycaster_pmtud_relayed_total{member=\"2001:db8::12\"} 41",
            "anycaster_pmtud_mtu_total{family=\"ipv4\",mtu=\"1400\"} 41",
            "anycaster_pmtud_mtu_total{family=\"ipv4\",mtu=\"other\"} 2",
            "anycaster_pmtud_host_icmp_errors_total{family=\"ipv4\"} 9",
            "anycaster_pmtud_host_out_of_window_total 4",
        ]
    );
    // Every verdict of both families and every fate of a datagram, from the beginning.
    assert_eq!(lines.iter().filter(zeros).count(), 2 * 18 - 2 + 11 - 1);
}

#[test]
fn without_a_relay_only_the_host_is_counted() {
    let host = Pmtud { enabled: false, ..sample() };
    assert_eq!(
        lines(host),
        ["anycaster_pmtud_host_icmp_errors_total{family=\"ipv4\"} 9", "anycaster_pmtud_host_out_of_window_total 4"]
    );
}
