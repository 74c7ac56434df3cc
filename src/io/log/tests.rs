use super::record::Record;
use super::sink::{journald, json, text};
use super::*;

fn held() -> Record {
    Record {
        at: Duration::from_millis(1_795_302_420_123),
        level: Level::WARN,
        target: EVENT.to_owned(),
        message: "prefix announced -> held".to_owned(),
        fields: vec![
            ("kind", "prefix".into()),
            ("service", "dns".into()),
            ("from", "announced".into()),
            ("to", "held".into()),
            ("reason", "not-listening".into()),
            ("detail", "no socket\nfor udp/53".into()),
            ("tries", 3.into()),
        ],
    }
}

#[test]
fn the_three_formats() {
    let expected = "2026-11-21T23:07:00.123Z WARN  prefix announced -> held service=dns reason=not-listening \
                    detail=\"no socket\\nfor udp/53\" tries=3\n";
    assert_eq!(text(&held(), false), expected);
    assert_eq!(text(&held(), true), expected.replace("WARN ", "\u{1b}[33mWARN \u{1b}[0m"));
    assert_eq!(
        json(&held()),
        "{\"at\":\"2026-11-21T23:07:00.123Z\",\"level\":\"warn\",\"target\":\"anycaster::event\",\
         \"message\":\"prefix announced -> held\",\"kind\":\"prefix\",\"service\":\"dns\",\"from\":\"announced\",\
         \"to\":\"held\",\"reason\":\"not-listening\",\"detail\":\"no socket\\nfor udp/53\",\"tries\":3}\n"
    );
    assert_eq!(
        String::from_utf8(journald(&held())).unwrap(),
        "MESSAGE=prefix announced -> held service=dns reason=not-listening detail=\"no socket\\nfor udp/53\" tries=3\n\
         PRIORITY=4\nSYSLOG_IDENTIFIER=anycaster\nTARGET=anycaster::event\nANYCASTER_KIND=prefix\n\
         ANYCASTER_SERVICE=dns\nANYCASTER_FROM=announced\nANYCASTER_TO=held\nANYCASTER_REASON=not-listening\n\
         ANYCASTER_DETAIL\n\u{14}\0\0\0\0\0\0\0no socket\nfor udp/53\nANYCASTER_TRIES=3\n"
    );
}

#[test]
fn a_peers_text_stays_on_its_line() {
    let record =
        Record { message: "peer says \"bye\u{1b}[2J\nERROR forged\"".to_owned(), fields: Vec::new(), ..held() };
    assert_eq!(text(&record, false), "2026-11-21T23:07:00.123Z WARN  peer says \"bye\\u{1b}[2J\\nERROR forged\"\n");
}

#[test]
fn a_full_queue_costs_records_and_no_time() {
    let (queue, receiver) = Queue::new(2);
    let start = Instant::now();
    for _ in 0..100 {
        queue.push(held());
    }
    assert!(start.elapsed() < FLUSH / 10, "nobody reads, and still it took {:?}", start.elapsed());
    queue.flush();
    assert!(start.elapsed() < FLUSH * 2, "the end waited {:?}", start.elapsed());
    assert_eq!(receiver.try_iter().count(), 2);
    assert_eq!(queue.dropped.load(Ordering::Relaxed), 98);
}

#[test]
fn engine_events_become_records() {
    let (queue, receiver) = Queue::new(8);
    let subscriber = tracing_subscriber::registry().with(Recorder { queue });
    let told = Event {
        kind: EventKind::Prefix,
        service: Some("dns".to_owned()),
        prefix: Some("192.0.2.53/32".to_owned()),
        neighbor: None,
        from: "announced".to_owned(),
        to: "held".to_owned(),
        reason: "not-listening".to_owned(),
        detail: String::new(),
    };
    let drained = Event { reason: "drained".to_owned(), ..told.clone() };
    tracing::subscriber::with_default(subscriber, || {
        event(&told);
        event(&drained);
    });
    let records: Vec<String> = receiver
        .try_iter()
        .map(|message| match message {
            Message::Record(record) => text(&Record { at: Duration::ZERO, ..*record }, false),
            Message::Flush(_) => "flush".to_owned(),
        })
        .collect();
    assert_eq!(
        records,
        [
            "1970-01-01T00:00:00.000Z WARN  prefix announced -> held service=dns prefix=192.0.2.53/32 \
             reason=not-listening\n",
            "1970-01-01T00:00:00.000Z INFO  prefix announced -> held service=dns prefix=192.0.2.53/32 \
             reason=drained\n",
        ]
    );
}

#[test]
fn trouble_is_what_nobody_asked_for() {
    use EventKind::{Check, Config, Netlink, Prefix, Session};
    for (kind, from, to, reason, expected) in [
        (Prefix, "announced", "held", "unhealthy", true),
        (Prefix, "announced", "held", "drained", false),
        (Prefix, "held", "announced", "", false),
        (Prefix, "announced", "kept", "grace", true),
        (Session, "down", "up", "", false),
        (Session, "up", "down", "", true),
        (Session, "up", "down", "stopping", false),
        (Prefix, "held", "held", "unproven", false),
        (Prefix, "announced", "held", "unproven", true),
        (Session, "down", "down", "", true),
        (Check, "up", "down", "", true),
        (Check, "unknown", "up", "", false),
        (Config, "", "current", "", false),
        (Netlink, "", "resync", "", true),
    ] {
        let event = Event {
            kind,
            service: None,
            prefix: None,
            neighbor: None,
            from: from.to_owned(),
            to: to.to_owned(),
            reason: reason.to_owned(),
            detail: String::new(),
        };
        assert_eq!(is_trouble(&event), expected, "{event:?}");
    }
}
