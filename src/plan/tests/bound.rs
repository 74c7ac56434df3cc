//! Where prefixes are, and where their listeners are asked for.

use super::*;

#[test]
fn a_prefix_is_where_an_address_or_a_local_route_is() {
    let addresses = |list: &[&str]| Bound::Addresses(list.iter().map(|text| ip(text)).collect());
    let many = [(1, "192.0.2.1"), (1, "192.0.2.9"), (2, "192.0.2.9"), (2, "198.51.100.1"), (1, "2001:db8::1")];
    let routes = [(1, "203.0.113.0/24"), (1, "203.0.113.128/25"), (2, "2001:db8:5::/48")];
    let table = [
        ("192.0.2.1/32", vec![], None, addresses(&["192.0.2.1"])),
        ("192.0.2.2/32", vec![], None, Bound::Nowhere),
        ("192.0.2.0/24", vec![], None, addresses(&["192.0.2.1", "192.0.2.9"])),
        ("192.0.2.0/24", vec!["192.0.2.1/32"], None, addresses(&["192.0.2.9"])),
        ("192.0.2.0/24", vec!["192.0.2.0/28"], None, Bound::Nowhere),
        ("192.0.2.0/24", vec![], Some("eth0"), addresses(&["192.0.2.9"])),
        ("192.0.2.1/32", vec![], Some("eth0"), Bound::Nowhere),
        ("192.0.2.1/32", vec![], Some("eth7"), Bound::Nowhere),
        ("2001:db8::/64", vec![], Some("lo"), addresses(&["2001:db8::1"])),
        ("203.0.113.0/24", vec![], None, Bound::Route(net("203.0.113.0/24"))),
        ("203.0.113.192/26", vec![], None, Bound::Route(net("203.0.113.128/25"))),
        ("203.0.113.7/32", vec![], None, addresses(&["203.0.113.7"])),
        ("203.0.112.0/23", vec![], None, Bound::Nowhere),
        ("203.0.113.0/24", vec![], Some("eth0"), Bound::Nowhere),
        ("2001:db8:5::/64", vec![], Some("eth0"), Bound::Route(net("2001:db8:5::/48"))),
    ];
    for (prefix, inner, interface, bound) in table {
        let inner: Vec<IpNet> = inner.into_iter().map(net).collect();
        let found = Bound::find(&net(prefix), &inner, interface, &facts(&many, &routes));
        assert_eq!(found, bound, "{prefix} without {inner:?} on {interface:?}");
    }
}

#[test]
fn listeners_are_asked_for_where_the_prefix_is() {
    let any = Listen { protocol: Protocol::Udp, port: 53, address: None };
    let fixed = Listen { address: Some(ip("127.0.0.1")), ..any };
    let two = Bound::Addresses(vec![ip("192.0.2.1"), ip("192.0.2.9")]);
    let route = Bound::Route(net("192.0.0.0/16"));
    let table = [
        (&two, any, vec!["192.0.2.1", "192.0.2.9"]),
        (&two, fixed, vec!["127.0.0.1"]),
        (&route, any, vec!["192.0.2.0"]),
        (&route, fixed, vec!["127.0.0.1"]),
        (&Bound::Nowhere, any, vec![]),
        (&Bound::Nowhere, fixed, vec![]),
    ];
    for (bound, listen, addresses) in table {
        let asked: Vec<IpAddr> =
            bound.watches(&net("192.0.2.0/24"), &listen).iter().map(|watch| watch.address).collect();
        assert_eq!(asked, addresses.into_iter().map(ip).collect::<Vec<_>>(), "{bound:?} {listen:?}");
    }
}
