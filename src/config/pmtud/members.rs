//! Who else there is: a list, a file or a name.

use std::net::IpAddr;

use super::super::Members;
use super::super::report::{At, Fault, Report};
use super::super::tree::{Table, Value};
use super::super::values;
use super::unicast;

/// One error costs a datagram to each: as many as the relay keeps.
pub(crate) const MEMBERS_AT_MOST: usize = 1024;

const SOURCES: [&str; 3] = ["members", "members-file", "members-dns"];

/// The members, and those of a list with where each stands.
pub(super) fn members(table: &Table<'_>, own: Option<IpAddr>, report: &mut Report) -> (Members, Vec<(At, IpAddr)>) {
    let given: Vec<_> = SOURCES.iter().filter_map(|key| table.get(key)).collect();
    if let [first, others @ ..] = given.as_slice() {
        for other in others {
            let fault =
                Fault::new(format!("`{}` contradicts `{}`", other.key, first.key), "only one can name the members");
            report.push(fault.at(&other.at).also(&first.at, "and this one"));
        }
    }
    let list = list(table, own, report);
    let file = table.read("members-file", report, values::path);
    let name = table.read("members-dns", report, name);
    if given.is_empty() {
        let fault = Fault::new("the relay has no members", "errors are counted, and go to nobody");
        report.push(fault.help("members, members-file or members-dns").at(&table.at).missing().warning());
    } else if table.get("members").is_some() && list.iter().all(|(_, member)| Some(*member) == own) && given.len() == 1
    {
        let fault = Fault::new("the relay has no other member", "errors are counted, and go to nobody");
        report.push(fault.at(&table.at("members")).warning());
    }
    let members = match (file, name) {
        (Some(path), _) => Members::File(path),
        (None, Some(name)) => Members::Dns(name),
        (None, None) => Members::List(list.iter().map(|(_, member)| *member).collect()),
    };
    (members, list)
}

/// Our own address and duplicates are as they should be: one list serves the fleet.
fn list(table: &Table<'_>, own: Option<IpAddr>, report: &mut Report) -> Vec<(At, IpAddr)> {
    let list = table.list("members", report, unicast).unwrap_or_default();
    if list.len() > MEMBERS_AT_MOST {
        let label = format!("should be at most {MEMBERS_AT_MOST}: one error costs a datagram to each");
        report.push(Fault::new(format!("{} members", list.len()), label).at(&table.at("members")));
    }
    if let Some(own) = own {
        let other = |address: &IpAddr| address.is_ipv4() != own.is_ipv4();
        for (at, member) in list.iter().filter(|(_, member)| other(member)) {
            let fault = Fault::new(format!("{member} cannot be reached from {own}"), "not the family of `address`");
            let fault = fault.help("errors of both families travel between addresses of one");
            report.push(fault.at(at));
        }
    }
    list
}

/// A name of the DNS, as getaddrinfo(3) takes it.
fn name(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.text()?;
    if text.parse::<IpAddr>().is_ok() {
        return Err(Fault::new(format!("{text} is an address"), format!("did you mean members = [\"{text}\"]?")));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    // RFC 1035 §2.3.4
    if text.len() > 253 || !text.strip_suffix('.').unwrap_or(text).split('.').all(label) {
        return Err(Fault::new(format!("not a name of the DNS: {text:?}"), "should be like \"members.example.net\""));
    }
    Ok(text.to_owned())
}
