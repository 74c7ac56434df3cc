//! What `decode` shows against three who were not asked to agree: the daemon's own decoder, bgpkit-parser and tshark.

use bgpkit_parser::models::{AsnLength, DissectionNode};
use bgpkit_parser::parser::bgp::dissect::dissect_bgp_message;

use super::*;

const CODEC: Codec = Codec { four_octet_asn: true, extended_message: true, extended_next_hop: true, internal: true };

/// Every BGP message, found by its marker: in our captures each lies in one segment, and none is sent twice.
fn messages(octets: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at + 19 <= octets.len() {
        let length = usize::from(u16::from_be_bytes([octets[at + 16], octets[at + 17]]));
        let is_one = octets[at..at + 16] == [0xFF; 16] && (1..=5).contains(&octets[at + 18]) && length >= 19;
        if is_one && let Some(message) = octets.get(at..at + length) {
            all.push(message.to_vec());
            at += length;
        } else {
            at += 1;
        }
    }
    all
}

/// The good ones, where nothing is malformed; with what `decode` says of each BGP message.
fn conversations() -> Vec<(String, Vec<Vec<u8>>, Vec<Value>)> {
    let kinds = ["open", "update", "notification", "keepalive", "route-refresh"];
    let captures = captures(&folder())
        .into_iter()
        .filter(|(name, _)| !name.starts_with("notifications-") && name.ends_with(".pcap"));
    let all: Vec<_> = captures
        .map(|(name, octets)| {
            let mut objects = objects(&name, &octets);
            objects.retain(|object| kinds.iter().any(|kind| object["type"] == *kind));
            (name, messages(&octets), objects)
        })
        .collect();
    assert!(all.iter().map(|(_, messages, _)| messages.len()).sum::<usize>() > 100);
    all
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// The strict decoder that sessions use reads each of them, and as the same.
#[test]
fn our_own_decoder_means_the_same() {
    let mut compared = 0;
    for (name, messages, objects) in conversations() {
        assert_eq!(messages.len(), objects.len(), "{name}");
        for (message, object) in messages.iter().zip(&objects) {
            let place = format!("{name}, frame {}", object["frame"]);
            let frame = wire::frame(&mut BytesMut::from(&message[..]), MAX_EXTENDED_MESSAGE).unwrap().unwrap();
            let families = strings(&object.get("families").cloned().unwrap_or_else(|| Value::Array(vec![])));
            let paths = object.to_string().contains(" path ");
            let ours = families
                .iter()
                .all(|family| Family::ALL.iter().any(|ours| format!("{} unicast", ours.name()) == *family));
            let read = wire::decode(&frame, &CODEC);
            match read {
                Ok(Message::Open(open)) => {
                    assert_eq!(object["type"], "open", "{place}");
                    let fields = [object["asn"].as_u64(), object["hold_time"].as_u64()];
                    assert_eq!(fields, [Some(open.asn.into()), Some(open.hold_time.into())], "{place}");
                    assert_eq!(object["id"], open.id.to_string(), "{place}");
                    let mut codes: Vec<u64> = object["capabilities"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|item| item["code"].as_u64().unwrap())
                        .collect();
                    codes.sort_unstable();
                    codes.dedup();
                    codes.retain(|code| ![1, 2, 5, 6, 65, 70].contains(code));
                    assert_eq!(
                        open.capabilities.unknown.iter().map(|code| u64::from(*code)).collect::<Vec<_>>(),
                        codes,
                        "{place}"
                    );
                }
                Ok(Message::Update(update)) if ours && !paths => {
                    assert_eq!(object["type"], "update", "{place}");
                    let told = |prefixes: &[ipnet::IpNet]| prefixes.iter().map(ToString::to_string).collect::<Vec<_>>();
                    assert_eq!(strings(&object["announced"]), told(&update.announced), "{place}");
                    assert_eq!(strings(&object["withdrawn"]), told(&update.withdrawn), "{place}");
                    let end = update.end_of_rib.map(|family| format!("{} unicast", family.name()));
                    assert_eq!(object["end_of_rib"].as_str().map(str::to_owned), end, "{place}");
                    assert_eq!(update.malformed, [], "{place}");
                    compared += 1;
                }
                Ok(Message::Update(_)) => assert_eq!(object["type"], "update", "{place}"),
                Ok(Message::Notification(notification)) => {
                    assert_eq!(object["type"], "notification", "{place}");
                    let codes = [object["code"].as_u64(), object["subcode"].as_u64()];
                    assert_eq!(codes, [Some(notification.code.into()), Some(notification.subcode.into())], "{place}");
                    assert_eq!(object["text"].as_str().map(str::to_owned), notification.shutdown_text(), "{place}");
                }
                Ok(Message::Keepalive) => assert_eq!(object["type"], "keepalive", "{place}"),
                Ok(Message::RouteRefresh(refresh)) => {
                    assert_eq!(object["subtype"].as_u64(), Some(refresh.subtype.into()), "{place}");
                    let family = refresh.family.map(|family| format!("{} unicast", family.name()));
                    assert_eq!(object["family"].as_str().map(str::to_owned), family, "{place}");
                }
                // Outbound filters are for those who offered to read them; and path identifiers are not ours to speak.
                Err(reply) => assert!(paths || object["filters"].is_array(), "{place}: {reply}"),
            }
        }
    }
    assert!(compared > 20, "{compared} updates compared");
}

/// The dissector of bgpkit-parser finds the same attributes in the same order.
#[test]
fn bgpkit_finds_the_same_attributes() {
    let mut compared = 0;
    for (name, messages, objects) in conversations() {
        for (message, object) in messages.iter().zip(&objects).filter(|(_, object)| object["type"] == "update") {
            let mut theirs = Vec::new();
            codes(&dissect_bgp_message(message, &AsnLength::Bits32, false), message, &mut theirs);
            let attributes = object["attributes"].as_array().unwrap();
            let ours: Vec<u64> = attributes.iter().map(|item| item["code"].as_u64().unwrap()).collect();
            assert_eq!(ours, theirs, "{name}, frame {}", object["frame"]);
            compared += ours.len();
        }
    }
    assert!(compared > 100, "{compared} attributes compared");
}

/// Of the nodes that are one attribute each, the octet behind the flags.
fn codes(node: &DissectionNode, message: &[u8], out: &mut Vec<u64>) {
    for child in &node.children {
        if node.field == "bgp.update.path_attributes" {
            out.push(message[usize::try_from(child.offset).unwrap() + 1].into());
        } else {
            codes(child, message, out);
        }
    }
}

/// Messages by type, as tshark counts them, in every capture.
#[test]
fn tshark_counts_the_same() {
    if Command::new("tshark").arg("--version").output().is_err() {
        return eprintln!("SKIPPED tshark_counts_the_same: tshark is not installed");
    }
    for (name, octets) in captures(&folder()) {
        if name.ends_with(".mrt") {
            continue;
        }
        let tshark = |filter: &str, field: &str| -> Vec<String> {
            let mut command = Command::new("tshark");
            command.args(["-n", "-r"]).arg(folder().join(&name)).args(["-Y", filter, "-T", "fields", "-e", field]);
            let output = command.output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            said.split(['\n', ',']).filter(|value| !value.is_empty()).map(str::to_owned).collect()
        };
        let mut theirs = BTreeMap::new();
        let mut count = |kind: &str, by: usize| {
            if by > 0 {
                *theirs.entry(kind.to_owned()).or_insert(0) += by;
            }
        };
        for kind in tshark("bgp", "bgp.type") {
            let kinds = ["open", "update", "notification", "keepalive", "route-refresh"];
            let number: usize = kind.parse().unwrap();
            count(number.checked_sub(1).and_then(|index| kinds.get(index)).unwrap_or(&"unknown-bgp"), 1);
        }
        count("bfd", tshark("bfd", "frame.number").len());
        let too_big = "(icmp.type == 3 && icmp.code == 4) || icmpv6.type == 2";
        count("packet-too-big", tshark(too_big, "frame.number").len());
        let mut ours = BTreeMap::new();
        for object in objects(&name, &octets) {
            let kind = object["type"].as_str().unwrap().to_owned();
            if !["connection", "note"].contains(&kind.as_str()) && !unseen_by_others(&object) {
                *ours.entry(kind).or_insert(0) += 1;
            }
        }
        assert_eq!(ours, theirs, "{name}");
    }
}

/// A header whose type is a real one but whose length cannot be counts there as its type; without a marker as nothing.
fn unseen_by_others(object: &Value) -> bool {
    object["type"] == "unknown-bgp" && object["code"].is_null()
}
