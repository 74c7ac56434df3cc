//! Deadlines, waits and the window.

use super::*;

#[test]
fn every_deadline_does_what_it_is_there_for() {
    let table = [
        (At::Idle, 1, (vec![dial(1)], "Connect")),
        (At::Active, 5, (vec![dial(1)], "Connect")),
        (At::Connect, 5, (vec![Action::Close { connection: FIRST }, failed()], "Active")),
        (At::OpenSent, 240, ended(At::OpenSent, 4, 0, &[])),
        (At::OpenConfirm, 9, ended(At::OpenConfirm, 4, 0, &[])),
        (At::Established, 9, ended(At::Established, 4, 0, &[])),
    ];
    for (state, seconds, expected) in table {
        assert_eq!(play(state, |session| session.tick(at(seconds))), expected, "{state:?}");
    }
    let keepalive = (vec![send(wire::keepalive()), sent(Kind::Keepalive)], "Established");
    assert_eq!(play(At::Established, |session| session.tick(at(3))), keepalive);
}

#[test]
fn an_update_sent_stands_for_a_keepalive() {
    let mut session = led_to(settings(), At::Established);
    session.send(at(2), update(), 7);
    assert!(session.deadline() >= at(2) + Duration::from_millis(2250), "{:?}", session.deadline());
    let expected = [send(update()), Action::Sent { kind: Kind::Update, messages: 1 }];
    assert_eq!(drain(&mut session), expected);
    session.written(at(2), FIRST, 19 + 22);
    assert_eq!(drain(&mut session), []);
    session.written(at(2), FIRST, 10_000);
    assert_eq!(drain(&mut session), [Action::Flushed { mark: 7 }]);
}

#[test]
fn the_marks_of_a_refresh_are_no_updates() {
    let mut session = led_to(settings(), At::Established);
    let before = session.deadline();
    let mark = wire::route_refresh(Family::Ipv4, 1);
    session.send(at(2), mark.clone(), 7);
    assert_eq!(session.deadline(), before);
    assert_eq!(drain(&mut session), [send(mark.clone()), sent(Kind::RouteRefresh)]);
    let both = Bytes::from([&mark[..], &update()[..], &mark[..]].concat());
    session.send(at(2), both.clone(), 8);
    let refreshes = Action::Sent { kind: Kind::RouteRefresh, messages: 2 };
    assert_eq!(drain(&mut session), [send(both), sent(Kind::Update), refreshes]);
}

#[test]
fn a_peer_that_takes_nothing_is_left() {
    let no_hold = Settings { hold_time: 0, min_hold_time: 0, ..settings() };
    let table = [(no_hold.clone(), 480), (Settings { send_hold_time: Some(Duration::from_secs(2)), ..no_hold }, 2)];
    for (settings, patience) in table {
        let mut session = led_to(settings, At::Established);
        session.written(at(10), FIRST, 10_000);
        assert_eq!(session.deadline(), Time::MAX);
        session.send(at(1000), update(), 7);
        session.written(at(1100), FIRST, 3);
        drain(&mut session);
        assert_eq!(session.deadline(), at(1100 + patience));
        session.tick(at(1100 + patience));
        let expected = ended(At::Established, 8, 0, &[]);
        assert_eq!((outline(drain(&mut session)), session.status().state), expected);
    }
}

#[test]
fn a_full_window_takes_no_more_keepalives() {
    let mut session = led_to(settings(), At::Established);
    session.written(at(0), FIRST, 10_000);
    assert_eq!(session.room(), WINDOW);
    let full = Bytes::from(update().repeat(WINDOW / 23 + 1));
    session.send(at(0), full.clone(), 1);
    assert_eq!(session.room(), 0);
    drain(&mut session);
    for _ in 0..3 {
        let deadline = session.deadline();
        session.received(deadline, FIRST, &wire::keepalive());
        session.tick(deadline);
        assert_eq!(drain(&mut session), [Action::Received(Received::Keepalive)]);
        assert!(session.deadline() > deadline);
    }
}

#[test]
fn waits_of_zero_end_at_the_next_tick_and_remember_nothing() {
    let zero = Duration::ZERO;
    let settings = Settings { connect_retry: zero, idle_hold: zero, idle_hold_max: zero, ..settings() };
    let mut session = Session::new(settings);
    session.start(at(0), US);
    for n in 0..1000 {
        assert_eq!(drain(&mut session), [dial(n)]);
        let connection = ConnectionId(FIRST.0 + n);
        session.connected(at(1), connection, local());
        session.received(at(1), connection, &[0; 19]);
        assert_eq!(session.deadline(), at(1));
        assert_eq!(drain(&mut session).len(), 6);
        session.tick(at(1));
    }
}

#[test]
fn keepalive_and_update_restart_the_hold_timer_and_nothing_else_does() {
    let table = [
        (wire::keepalive(), 9 + 4),
        (update(), 9 + 4),
        (wire::route_refresh(Family::Ipv4, 0), 9),
        (wire::keepalive().slice(..18), 9),
    ];
    for (bytes, expires) in table {
        let mut session = led_to(settings(), At::Established);
        session.received(at(4), FIRST, &bytes);
        let mut now = at(4);
        while session.status().state == "Established" {
            now = session.deadline();
            session.tick(now);
        }
        assert_eq!(now, at(expires), "{bytes:?}");
    }
}

#[test]
fn keepalives_come_every_third_of_the_hold_time_with_jitter_and_never_faster_than_one_a_second() {
    for (hold_time, least, most) in [(90, 22_500, 30_000), (9, 2_250, 3_000), (3, 1_000, 1_000)] {
        let mut session = led_to(Settings { hold_time, ..settings() }, At::Established);
        let mut last = at(0);
        let mut gaps = Vec::new();
        for _ in 0..200 {
            let now = session.deadline();
            session.received(now, FIRST, &wire::keepalive());
            session.tick(now);
            session.written(now, FIRST, 100);
            gaps.push(now.since(last));
            last = now;
        }
        let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
        assert!(gaps.iter().all(|&gap| gap >= least && gap <= most), "{hold_time}: {gaps:?}");
        gaps.dedup();
        assert_eq!(gaps.len() > 1, least < most, "{hold_time}: jitter");
    }
}

#[test]
fn only_a_session_that_lasts_forgets_the_errors() {
    // (idle-hold-max, uptime, the wait after the next error at most)
    let table = [(60, 59, 4), (60, 60, 1), (0, 59, 0), (20, 20, 1)];
    for (longest, uptime, wait) in table {
        let settings = Settings { idle_hold_max: Duration::from_secs(longest), ..settings() };
        let (mut backoff, mut dice) = (Backoff::default(), Dice::new(1));
        for _ in 0..2 {
            backoff.wait(&settings, Pause::Hold, &mut dice);
        }
        backoff.lasted(&settings, Duration::from_secs(uptime));
        let next = backoff.wait(&settings, Pause::Hold, &mut dice);
        let most = Duration::from_secs(wait);
        assert!(next >= most * 3 / 4 && next <= most, "{longest} {uptime}: {next:?}");
    }
}

#[test]
fn patience_is_eight_minutes_or_twice_the_hold_time() {
    let given = Some(Duration::from_millis(500));
    // (our hold time, send-hold-time, patience)
    let table = [
        (0, None, Duration::from_secs(480)),
        (9, None, Duration::from_secs(480)),
        (300, None, Duration::from_secs(600)),
        (300, given, Duration::from_millis(500)),
    ];
    for (hold_time, send_hold_time, expected) in table {
        let settings = Settings { hold_time, send_hold_time, ..settings() };
        let open = Open { hold_time: 65535, ..peer_open() };
        let session = Session::new(settings);
        let agreed = open::judge(&session.settings, US, local(), &open).unwrap();
        assert_eq!(session.patience(&agreed), expected, "{hold_time}");
    }
}

#[test]
fn without_a_hold_time_only_the_first_keepalive_is_waited_for() {
    let no_hold = Settings { hold_time: 0, min_hold_time: 0, ..settings() };
    let mut session = led_to(no_hold.clone(), At::OpenConfirm);
    assert_eq!(session.deadline(), at(240));
    session.tick(at(240));
    let expected = ended(At::OpenConfirm, 4, 0, &[]);
    assert_eq!((outline(drain(&mut session)), session.status().state), expected);
    let mut session = led_to(no_hold, At::Established);
    session.written(at(0), FIRST, 10_000);
    assert_eq!(session.deadline(), Time::MAX);
}

#[test]
fn a_start_by_hand_forgets_the_errors() {
    let mut session = Session::new(settings());
    for n in 0..5 {
        session.start(at(n), US);
        let connection = ConnectionId(FIRST.0 + n);
        session.connected(at(n), connection, local());
        session.received(at(n), connection, &[0; 19]);
        assert!(session.deadline() <= at(n + 1), "{n}");
        session.stop(at(n), Notification::cease(2));
    }
}
