use toml::de::DeTable;

use super::super::report::{At, Report};
use super::super::tree;
use super::*;

/// Reads `x = TEXT` with one of the functions; `None` where it is refused.
fn read<T>(text: &str, parse: impl Fn(&Value<'_>) -> Result<T, Fault>) -> Option<T> {
    let text = format!("x = {text}");
    let files = [DeTable::parse(&text).unwrap()];
    let mut report = Report::new(&[]);
    let root = tree::merge(&files, &[], &mut report);
    root.read("x", &mut report, |v| parse(v))
}

#[test]
fn durations_have_a_unit() {
    for (text, milliseconds) in [
        (r#""500ms""#, Some(500)),
        (r#""10s""#, Some(10_000)),
        (r#""2m""#, Some(120_000)),
        (r#""1h""#, Some(3_600_000)),
        (r#""0ms""#, Some(0)),
        (r#""8784h""#, Some(8_784 * 3_600_000)),
        (r#""8785h""#, None),
        (r#""""#, None),
        (r#""s""#, None),
        (r#"" 1s""#, None),
        (r#""1 s""#, None),
        (r#""1.5s""#, None),
        (r#""+1s""#, None),
        (r#""1S""#, None),
        (r#""1sé""#, None),
        ("10", None),
        ("1.0", None),
    ] {
        assert_eq!(read(text, duration), milliseconds.map(Duration::from_millis), "{text}");
    }
    for text in ["0s", "1ms", "1s", "90s", "2m", "36h", "1500ms"] {
        assert_eq!(read(&format!("{text:?}"), duration).map(written).as_deref(), Some(text));
    }
}

#[test]
fn bandwidths_are_exact() {
    for (text, bytes_per_second) in [
        ("10Gbit", Some(1_250_000_000)),
        ("1.5Gbit", Some(187_500_000)),
        ("100Mbit", Some(12_500_000)),
        ("0.1Gbit", Some(12_500_000)),
        ("8bit", Some(1)),
        ("7bit", None),
        ("1000Tbit", Some(125_000_000_000_000)),
        ("1001Tbit", None),
        ("999999999Tbit", None),
        ("1..5Gbit", None),
        (".5Gbit", None),
        ("5.Gbit", None),
        ("1.2.3Gbit", None),
        ("10gbit", None),
        ("10 Gbit", None),
        ("-1Gbit", None),
        ("1e3Mbit", None),
    ] {
        let expected = bytes_per_second.map(|bytes_per_second| Bandwidth { bytes_per_second });
        assert_eq!(read(&format!("{text:?}"), bandwidth), expected, "{text}");
    }
}

#[test]
fn prefixes_are_what_may_be_announced() {
    for (text, expected) in [
        ("192.0.2.53", Some("192.0.2.53/32")),
        ("2001:db8::53", Some("2001:db8::53/128")),
        ("10.0.0.0/8", Some("10.0.0.0/8")),
        ("240.0.0.1", Some("240.0.0.1/32")),
        ("8000::/2", Some("8000::/2")),
        ("10.0.0.1/8", None),
        ("0.0.0.0/1", None),
        ("240.0.0.0/4", None),
        ("8000::/1", None),
        ("::/0", None),
        ("::/128", None),
        ("192.0.2.0/33", None),
        ("192.0.2.0/", None),
        ("fe80::1%eth0", None),
    ] {
        let prefix = read(&format!("{text:?}"), prefix).map(|prefix| prefix.to_string());
        assert_eq!(prefix.as_deref(), expected, "{text}");
    }
}

#[test]
fn communities_come_back_as_written() {
    let shown = |text: &str| read(&format!("{text:?}"), community).map(show_community);
    for text in ["65000:100", "0:0", "65535:65535", "no-export", "graceful-shutdown", "blackhole"] {
        assert_eq!(shown(text).as_deref(), Some(text));
    }
    for text in ["65000", "65536:1", "1:65536", "+1:1", ":1", "1:", "1:1:1:1", ""] {
        assert_eq!(shown(text), None, "{text}");
    }
}

#[test]
fn a_value_has_its_place() {
    let files = [DeTable::parse("a = 1\nx = 10").unwrap()];
    let mut report = Report::new(&[]);
    let root = tree::merge(&files, &[], &mut report);
    assert_eq!(root.at("x"), At { file: 0, start: 10, end: 12 });
}

#[test]
fn a_bandwidth_is_shown_as_it_is_written() {
    for (bytes_per_second, text) in [
        (0, "0bit"),
        (1, "8bit"),
        (125, "1kbit"),
        (1_250_000_000, "10Gbit"),
        (312_500_000, "2.5Gbit"),
        (1_250_001, "10000008bit"),
        (u64::MAX, "147573952589676412.92kbit"),
    ] {
        assert_eq!(Bandwidth { bytes_per_second }.to_string(), text);
    }
}
