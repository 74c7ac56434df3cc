//! What must hold for any history of one session.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Start,
    Stop,
    Connected,
    Hear(Vec<u8>),
    Written(usize),
    Closed,
    Wait(u64),
    Deadline,
    Send,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let broken = |bytes: Bytes| {
        (0..bytes.len(), any::<u8>()).prop_map(move |(at, octet)| {
            let mut bytes = bytes.to_vec();
            bytes[at] = octet;
            bytes
        })
    };
    let whole = prop::sample::select(vec![
        wire::keepalive(),
        wire::keepalive(),
        wire::open(&peer_open()),
        update(),
        wire::route_refresh(Family::Ipv4, 0),
        wire::notification(&Notification::cease(2)),
    ]);
    let hear = prop_oneof![
        6 => whole.clone().prop_map(|bytes| bytes.to_vec()),
        1 => whole.prop_flat_map(broken),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let step = prop_oneof![
        2 => Just(Step::Start),
        1 => Just(Step::Stop),
        6 => Just(Step::Connected),
        20 => hear.prop_map(Step::Hear),
        2 => (0_usize..200).prop_map(Step::Written),
        1 => Just(Step::Closed),
        2 => (0_u64..10_000_000_000).prop_map(Step::Wait),
        4 => Just(Step::Deadline),
        2 => Just(Step::Send),
    ];
    let up = [wire::open(&peer_open()), wire::keepalive()].map(|bytes| Step::Hear(bytes.to_vec()));
    let up = [vec![Step::Start, Step::Connected], up.to_vec()].concat();
    // Half of them begin with a session that is up, or much would be about dialling only.
    (prop::sample::select(vec![Vec::new(), up]), prop::collection::vec(step, 0..120))
        .prop_map(|(begin, then)| [begin, then].concat())
}

/// Plays one history and checks what must hold after each step; returns all actions.
fn history(settings: Settings, steps: &[Step], cut: usize) -> Vec<Action> {
    let timed = settings.hold_time != 0;
    let mut session = Session::new(settings);
    let (mut now, mut current, mut up, mut all) = (at(0), FIRST, false, Vec::new());
    for step in steps {
        match step {
            Step::Start => session.start(now, US),
            Step::Stop => session.stop(now, Notification::cease(2)),
            Step::Connected => session.connected(now, current, local()),
            Step::Hear(bytes) => {
                bytes.chunks(cut).for_each(|part| session.received(now, current, part));
            }
            Step::Written(bytes) => session.written(now, current, *bytes),
            Step::Closed => session.closed(now, current, &Closed::ByPeer),
            Step::Wait(nanoseconds) => {
                now = now + Duration::from_nanos(*nanoseconds);
                session.tick(now);
            }
            Step::Deadline => {
                let deadline = session.deadline();
                if deadline != Time::MAX {
                    now = now.max(deadline);
                    session.tick(now);
                    assert_ne!(session.deadline(), deadline, "the deadline did not move");
                }
            }
            Step::Send => session.send(now, update(), 1),
        }
        for action in drain(&mut session) {
            match &action {
                Action::Dial { connection, .. } => current = *connection,
                Action::Up(_) => {
                    assert!(!up, "up twice");
                    up = true;
                }
                Action::Down { .. } => {
                    assert!(up, "down without up");
                    up = false;
                }
                _ => {}
            }
            all.push(action);
        }
        assert_eq!(up, session.status().state == "Established");
        assert!(timed || !up || session.room() < WINDOW || session.deadline() == Time::MAX);
    }
    all
}

proptest! {
    #[test]
    fn no_history_breaks_it(steps in steps(), cut in 1_usize..50) {
        history(settings(), &steps, cut);
    }

    #[test]
    fn hold_time_zero_has_no_timers(steps in steps()) {
        let settings = Settings { hold_time: 0, min_hold_time: 0, ..settings() };
        let expired = wire::notification(&Notification::hold_timer_expired());
        let up_for_ever = history(settings, &steps, 4096);
        let mut up = false;
        for action in up_for_ever {
            match action {
                Action::Up(_) => up = true,
                Action::Down { .. } => up = false,
                Action::Send { bytes, .. } => prop_assert!(!up || (bytes != expired && bytes != wire::keepalive())),
                _ => {}
            }
        }
    }

    #[test]
    fn waits_of_zero_hold_no_surprise(steps in steps()) {
        let zero = Duration::ZERO;
        let settings = Settings { connect_retry: zero, idle_hold: zero, idle_hold_max: zero, ..settings() };
        history(settings, &steps, 4096);
    }

    #[test]
    fn where_tcp_cuts_does_not_matter(steps in steps(), cut in 1_usize..50) {
        prop_assert_eq!(history(settings(), &steps, cut), history(settings(), &steps, 65536));
    }
}
