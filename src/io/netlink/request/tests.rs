use super::*;

fn message(kind: i32, flags: u16, payload: &[u8]) -> Message<'_> {
    Message { kind: u16::try_from(kind).unwrap(), flags, sequence: 1, payload }
}

fn outcome(messages: &[Message<'_>]) -> Result<(), String> {
    for message in messages {
        if take(message, &mut Snapshot::default()).map_err(|error| error.to_string())? {
            return Ok(());
        }
    }
    Err("not at its end".to_owned())
}

#[test]
fn a_dump_counts_only_where_it_ends_well_and_nothing_interrupted_it() {
    let good = 0_i32.to_ne_bytes();
    let bad = (-libc::ENOBUFS).to_ne_bytes();
    let other = [0; 16];
    let part = message(99, 0, &other);
    let done = message(libc::NLMSG_DONE, 0, &good);
    assert_eq!(outcome(&[part, done]), Ok(()));
    let interrupted = Err("a change interrupted it".to_owned());
    // The kernel may say so in any message: in the middle, or only at the end.
    assert_eq!(outcome(&[message(99, NLM_F_DUMP_INTR, &other), part, done]), interrupted);
    let done = message(libc::NLMSG_DONE, NLM_F_DUMP_INTR, &good);
    assert_eq!(outcome(&[part, done]), interrupted);
    assert_eq!(outcome(&[part, message(libc::NLMSG_OVERRUN, 0, &good)]), interrupted);
    let failed = Err("No buffer space available (os error 105)".to_owned());
    assert_eq!(outcome(&[part, message(libc::NLMSG_DONE, 0, &bad)]), failed);
    assert_eq!(outcome(&[message(libc::NLMSG_ERROR, 0, &bad)]), failed);
    assert_eq!(outcome(&[part, part]), Err("not at its end".to_owned()));
}
