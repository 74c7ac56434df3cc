//! A DNS check: one question, and what the answer says.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Bad, Phase, Progress, dial, udp, words};
use crate::config::{DnsCheck, Protocol, Record, response_code};
use message::{Answer, Malformed};

mod message;

pub(super) async fn run(
    check: &DnsCheck,
    from: Option<IpAddr>,
    to: IpAddr,
    progress: &Progress,
) -> Result<String, Bad> {
    let to = SocketAddr::new(to, check.port);
    let query = message::query(id(), &check.query, check.record);
    let answer = match check.transport {
        Protocol::Udp => over_udp(check, &query, from, to, progress).await?,
        Protocol::Tcp => over_tcp(check, &query, from, to, progress).await?,
    };
    judge(check, &answer)
}

/// Nobody can guess it: the hash of nothing, with a key that std draws from the kernel.
fn id() -> u16 {
    u16::try_from(RandomState::new().hash_one(()) & 0xffff).unwrap_or(0)
}

/// RFC 5452 §9.1: what is not the answer, from a forger or to an earlier question, is not there.
async fn over_udp(
    check: &DnsCheck,
    query: &[u8],
    from: Option<IpAddr>,
    to: SocketAddr,
    progress: &Progress,
) -> Result<Answer, Bad> {
    let socket = dial::datagrams(from, to)?;
    udp::send(&socket, query, progress).await?;
    let mut heard = Vec::new();
    loop {
        udp::hear(&socket, &mut heard).await?;
        if let Some(answer) = message::answer(&heard, query, check.record).map_err(malformed)? {
            return Ok(answer);
        }
    }
}

/// RFC 7766: each message has its length in front.
async fn over_tcp(
    check: &DnsCheck,
    query: &[u8],
    from: Option<IpAddr>,
    to: SocketAddr,
    progress: &Progress,
) -> Result<Answer, Bad> {
    let failed = |error: std::io::Error| Bad::Fail(words::io(&error));
    let cut = || Bad::Fail("connection closed without an answer".to_owned());
    let mut stream = dial::connect(from, to).await?;
    progress.reached(Phase::Answer);
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await.map_err(failed)?;
    let mut length = Vec::new();
    (&mut stream).take(2).read_to_end(&mut length).await.map_err(failed)?;
    let length = u16::from_be_bytes(length.try_into().map_err(|_| cut())?);
    let mut heard = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut heard).await.map_err(failed)?;
    if heard.len() < usize::from(length) {
        return Err(cut());
    }
    let answer = message::answer(&heard, query, check.record).map_err(malformed)?;
    answer.ok_or_else(|| Bad::Fail("not an answer to the question".to_owned()))
}

fn malformed(_: Malformed) -> Bad {
    Bad::Fail("malformed answer".to_owned())
}

fn judge(check: &DnsCheck, answer: &Answer) -> Result<String, Bad> {
    let code = response_code(answer.code);
    let fail = |text: String| Err(Bad::Fail(words::clean(&text)));
    if !check.codes.contains(&answer.code) {
        let expected: Vec<String> = check.codes.iter().map(|code| response_code(*code)).collect();
        return fail(format!("{code}, expected {}", expected.join(" or ")));
    }
    let is_there = |expected: &&String| answer.data.iter().any(|data| holds(data, expected, check.record));
    if let Some(missing) = check.answers.iter().find(|expected| !is_there(expected)) {
        let missing = format!("{code}, but no answer {missing}");
        return fail(match answer.data.as_slice() {
            _ if answer.truncated => format!("{missing}: truncated, use transport = \"tcp\""),
            [] => format!("{missing}: no answers"),
            data => format!("{missing}: {}", data.join(", ")),
        });
    }
    let cut = if answer.truncated { ", truncated" } else { "" };
    Ok(match (answer.code, answer.data.len()) {
        (0, 0) => format!("{code}, no answers{cut}"),
        (0, 1) => format!("{code}, 1 answer{cut}"),
        (0, count) => format!("{code}, {count} answers{cut}"),
        (_, _) => code,
    })
}

/// Are the words of `expected` among those of the record, side by side? A mail exchange without its preference will do.
fn holds(data: &str, expected: &str, record: Record) -> bool {
    let [data, expected] = [data, expected].map(|text| text.split_whitespace().collect::<Vec<_>>());
    let exact = matches!(record, Record::Txt | Record::Caa);
    let same = |(a, b): (&&str, &&str)| if exact { a == b } else { a.eq_ignore_ascii_case(b) };
    data.windows(expected.len().max(1)).any(|window| window.iter().zip(&expected).all(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(codes: &[u16], answers: &[&str], record: Record, answer: (u16, bool, &[&str])) -> Result<String, Bad> {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let check = DnsCheck {
            port: 53,
            query: "example.net".to_owned(),
            record,
            codes: codes.to_vec(),
            answers: texts(answers),
            transport: Protocol::Udp,
        };
        let (code, truncated, data) = answer;
        judge(&check, &Answer { code, truncated, data: texts(data) })
    }

    #[test]
    fn codes_and_answers_decide() {
        let pass = |text: &str| Ok(text.to_owned());
        let fail = |text: &str| Err(Bad::Fail(text.to_owned()));
        let two = &["192.0.2.1", "192.0.2.2"][..];
        for (codes, answers, answer, verdict) in [
            (&[0][..], &[][..], (0, false, two), pass("NOERROR, 2 answers")),
            (&[0], &[], (0, false, &[][..]), pass("NOERROR, no answers")),
            (&[0], &two[..1], (0, false, two), pass("NOERROR, 2 answers")),
            (&[0], two, (0, false, &two[..1]), fail("NOERROR, but no answer 192.0.2.2: 192.0.2.1")),
            (&[0], two, (0, false, &[]), fail("NOERROR, but no answer 192.0.2.1: no answers")),
            (&[0], &[], (0, true, &two[..1]), pass("NOERROR, 1 answer, truncated")),
            (
                &[0],
                two,
                (0, true, &two[..1]),
                fail("NOERROR, but no answer 192.0.2.2: truncated, use transport = \"tcp\""),
            ),
            (&[0], &[], (2, false, &[]), fail("SERVFAIL, expected NOERROR")),
            (&[3, 5], &[], (3, false, &[]), pass("NXDOMAIN")),
            (&[3, 5], &[], (0, false, two), fail("NOERROR, expected NXDOMAIN or REFUSED")),
            (&[0], &[], (12, false, &[]), fail("RCODE 12, expected NOERROR")),
        ] {
            assert_eq!(judged(codes, answers, Record::A, answer), verdict);
        }
    }

    #[test]
    fn whole_words_side_by_side_are_an_answer() {
        for (record, data, expected, there) in [
            (Record::Mx, "10 mail.example.net", "MAIL.example.net", true),
            (Record::Mx, "10 mail.example.net", "10 mail.example.net", true),
            (Record::Mx, "10 mail.example.net", "0 mail.example.net", false),
            (Record::Mx, "10 mail.example.net", "example.net", false),
            (Record::Cname, "Www.example.net", "www.Example.net", true),
            (Record::Txt, "v=spf1 -all", "v=spf1 -all", true),
            (Record::Txt, "v=spf1 -all", "-all", true),
            (Record::Txt, "v=spf1 -all", "-ALL", false),
            (Record::Txt, "", "-all", false),
            (Record::Soa, "ns.example.net admin.example.net 7 1 2 3 4", "admin.example.net 7", true),
        ] {
            assert_eq!(holds(data, expected, record), there, "{data}: {expected}");
        }
    }
}
