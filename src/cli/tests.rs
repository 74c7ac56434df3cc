use super::*;

#[test]
fn the_parser_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn options_stand_before_or_after_the_command() {
    for words in [
        ["anycaster", "--socket", "/s", "--json", "explain", "dns"],
        ["anycaster", "explain", "dns", "--json", "--socket", "/s"],
        ["anycaster", "--json", "explain", "--socket", "/s", "dns"],
    ] {
        let cli = Cli::try_parse_from(words).unwrap();
        assert_eq!((cli.socket.as_deref(), cli.json), (Some("/s".as_ref()), true), "{words:?}");
        assert!(matches!(cli.command, Command::Explain { subject } if subject == "dns"));
    }
}

#[test]
fn an_option_that_would_do_nothing_is_refused() {
    let unused = |line: &str| unused(&Cli::try_parse_from(line.split(' ')).unwrap());
    assert_eq!(unused("anycaster -c f status"), Some(("-c", "status")));
    assert_eq!(unused("anycaster run --socket /s"), Some(("--socket", "run")));
    assert_eq!(unused("anycaster run --json"), Some(("--json", "run")));
    assert_eq!(unused("anycaster completions bash --json"), Some(("--json", "completions")));
    for fine in [
        "anycaster run -c f --strict",
        "anycaster check -c f --json",
        "anycaster status --socket /s --json",
        "anycaster routes --json",
        "anycaster completions zsh",
    ] {
        assert_eq!(unused(fine), None, "{fine}");
    }
}

#[test]
fn subjects_are_encoded_for_a_path() {
    assert_eq!(ask::encode("192.0.2.0/24"), "192.0.2.0/24");
    assert_eq!(ask::encode("2001:db8::53"), "2001:db8::53");
    assert_eq!(ask::encode("a b?#%é"), "a%20b%3F%23%25%C3%A9");
}
