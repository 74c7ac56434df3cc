//! The command line against the real server: exit codes, JSON, colours, and daemons that are not there or not ours.

use super::*;

#[test]
fn exit_codes_and_json() {
    let (bad, good) = (Server::answering(status()), Server::answering(well()));
    for (server, words, code) in [
        (&good, &["status"][..], 0),
        (&bad, &["status"], 1),
        (&bad, &["neighbors"], 0),
        (&bad, &["services"], 0),
        (&bad, &["routes"], 0),
        (&bad, &["explain", "192.0.2.53"], 0),
        (&bad, &["explain", "192.0.2.80/32"], 1),
        (&bad, &["explain", "dns"], 1),
        (&bad, &["explain", "nosuch"], 2),
        (&bad, &["status", "extra"], 2),
        (&bad, &["drain", "dns"], 2),
    ] {
        let output = server.cli(words);
        assert_eq!(output.status.code(), Some(code), "{words:?} {output:?}");
        assert_eq!(output.stdout.is_empty(), code == 2, "{words:?}");
        assert_eq!(output.stderr.is_empty(), code != 2, "{words:?}");
        assert!(!output.stdout.contains(&0x1b), "a pipe gets no colour");
        if code != 2 {
            let text = [words, &["--json"]].concat();
            let json = server.cli(&text);
            assert_eq!(json.status.code(), Some(code), "{words:?}");
            let path = format!("/{}", words.join("/"));
            assert_eq!(String::from_utf8(json.stdout).unwrap(), server.control("GET", &path).1);
        }
    }
    let unknown = bad.cli(&["explain", "nosuch"]).stderr;
    assert_eq!(
        String::from_utf8(unknown).unwrap(),
        "no service announces nosuch and none has that name; `anycaster services` lists what there is\n"
    );
}

#[test]
fn no_daemon() {
    let dir = directory();
    let path = dir.path().join("control.sock");
    let expected =
        format!("no anycaster answers on {}: is the daemon running? (start it with `anycaster run`)\n", path.display());
    for stale in [false, true] {
        if stale {
            drop(UnixListener::bind(&path).unwrap());
        }
        for words in [&["status"][..], &["explain", "dns"], &["routes", "--json"]] {
            let output = cli().args(words).arg("--socket").arg(&path).output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
        }
    }
}

#[test]
fn a_daemon_that_speaks_otherwise() {
    let dir = directory();
    let path = dir.path().join("control.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let answer = |text: &str| {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
        };
        answer("SSH-2.0-OpenSSH\r\n\r\n");
        answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        answer("HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\noops");
        answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}");
    });
    for expected in [
        "does not speak as anycaster does",
        "is it another version?",
        "the daemon answers 502 to /status",
        "does not speak as anycaster does",
    ] {
        let output = cli().args(["status", "--socket"]).arg(&path).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected) && text.lines().count() == 1, "{text}");
    }
    thread.join().unwrap();
}

#[test]
fn colour_on_a_terminal_only_and_never_against_the_users_will() {
    let server = Server::answering(status());
    let line = format!("{} --socket {} status", env!("CARGO_BIN_EXE_anycaster"), server.socket.display());
    let on_terminal = |no_color: Option<&str>| {
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR");
        script.envs(no_color.map(|value| ("NO_COLOR", value)));
        let output = script.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        output.stdout.contains(&0x1b)
    };
    assert_eq!([None, Some(""), Some("1")].map(on_terminal), [true, true, false]);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let server = Server::answering(well());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = cli();
    command.arg("--socket").arg(&server.socket).arg("status").stdout(writer);
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn first_run_and_completions() {
    let alone = cli().output().unwrap();
    let text = String::from_utf8(alone.stderr).unwrap();
    assert_eq!(alone.status.code(), Some(2));
    for start in ["anycaster check", "anycaster run", "anycaster status"] {
        assert!(text.contains(start), "{text}");
    }
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c")] {
        let output = cli().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(script.contains(word) && script.contains("explain"), "{shell}");
        assert!(!script.contains("undrain"), "{shell} completes what is not there");
    }
    let later = cli().args(["drain", "dns", "--for", "10m"]).output().unwrap();
    assert_eq!(later.stderr, b"`drain` is not supported yet\n");
    let later = cli().args(["status", "--watch"]).output().unwrap();
    assert_eq!(later.stderr, b"`--watch` is not supported yet\n");
}
