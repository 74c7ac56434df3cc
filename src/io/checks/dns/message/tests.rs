use proptest::prelude::*;
use simple_dns::rdata::{self, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use super::*;

const ID: u16 = 0x1234;

fn ask(record: Record) -> Vec<u8> {
    query(ID, "www.Example.net", record)
}

/// What another implementation answers to [`ask`].
fn reply<'a>(record: Record, answers: impl IntoIterator<Item = RData<'a>>) -> Packet<'a> {
    let mut packet = Packet::new_reply(ID);
    let name = Name::new_unchecked("www.example.net");
    let question = Question::new(name.clone(), QTYPE::TYPE(TYPE::from(record.number())), CLASS::IN.into(), false);
    packet.questions.push(question);
    packet.answers.extend(answers.into_iter().map(|data| ResourceRecord::new(name.clone(), CLASS::IN, 60, data)));
    packet
}

fn read(record: Record, packet: &Packet<'_>) -> [Result<Option<Answer>, Malformed>; 2] {
    let messages = [packet.build_bytes_vec().unwrap(), packet.build_bytes_vec_compressed().unwrap()];
    messages.map(|message| answer(&message, &ask(record), record))
}

fn answered(data: &[&str]) -> Result<Option<Answer>, Malformed> {
    Ok(Some(Answer { code: 0, truncated: false, data: data.iter().map(|text| (*text).to_owned()).collect() }))
}

#[test]
fn another_implementation_reads_our_question() {
    for record in [Record::A, Record::Https, Record::Caa] {
        let message = ask(record);
        let packet = Packet::parse(&message).unwrap();
        let [question] = packet.questions.as_slice() else { panic!("one question") };
        assert_eq!((packet.id(), packet.has_flags(PacketFlag::RECURSION_DESIRED)), (ID, true));
        assert_eq!(question.qname.to_string(), "www.Example.net");
        assert_eq!(
            (question.qtype, question.qclass),
            (QTYPE::TYPE(TYPE::from(record.number())), QCLASS::CLASS(CLASS::IN))
        );
        assert_eq!(packet.opt().map(|opt| (opt.udp_packet_size, opt.opt_codes.len())), Some((PAYLOAD, 0)));
        assert_eq!(packet.build_bytes_vec().unwrap(), message);
    }
    let root = query(0, ".", Record::Ns);
    assert_eq!(Packet::parse(&root).unwrap().questions[0].qname.to_string(), "");
}

#[test]
fn we_read_what_another_implementation_writes() {
    let name = Name::new_unchecked;
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let address6: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let soa = rdata::SOA {
        mname: name("ns.example.net"),
        rname: name("admin.example.net"),
        serial: 2_026_112_201,
        refresh: 1,
        retry: 2,
        expire: 3,
        minimum: 4,
    };
    let caa = rdata::CAA { flag: 0, tag: "issue".try_into().unwrap(), value: b"ca.example".as_slice().into() };
    let txt = rdata::TXT::new().with_string("v=spf1 ").unwrap().with_string("-all").unwrap();
    let svcb = || rdata::SVCB::new(1, name("www.example.net")).with_param(rdata::SVCParam::Port(8443));
    for (record, data, text) in [
        (Record::A, RData::A(address.into()), "192.0.2.1"),
        (Record::Aaaa, RData::AAAA(address6.into()), "2001:db8::1"),
        (Record::Cname, RData::CNAME(name("a.example.net").into()), "a.example.net"),
        (Record::Ns, RData::NS(name("ns.example.net").into()), "ns.example.net"),
        (Record::Ptr, RData::PTR(name("host.example.net").into()), "host.example.net"),
        (Record::Mx, RData::MX(rdata::MX { preference: 10, exchange: name("mx.example.net") }), "10 mx.example.net"),
        (
            Record::Srv,
            RData::SRV(rdata::SRV { priority: 1, weight: 2, port: 443, target: name("www.example.net") }),
            "1 2 443 www.example.net",
        ),
        (Record::Soa, RData::SOA(soa), "ns.example.net admin.example.net 2026112201 1 2 3 4"),
        (Record::Txt, RData::TXT(txt), "v=spf1 -all"),
        (Record::Caa, RData::CAA(caa), "0 issue ca.example"),
        (Record::Svcb, RData::SVCB(svcb()), "1 www.example.net"),
        (Record::Https, RData::HTTPS(svcb().into()), "1 www.example.net"),
    ] {
        let packet = reply(record, [data.clone(), RData::NULL(4711, rdata::NULL::new(b"?").unwrap()), data]);
        assert_eq!(read(record, &packet), [answered(&[text, text]), answered(&[text, text])]);
    }
}

#[test]
fn codes_flags_and_other_records_are_read() {
    let mut packet = reply(Record::A, [RData::CNAME(Name::new_unchecked("a.example").into())]);
    assert_eq!(read(Record::A, &packet), [answered(&[]), answered(&[])]);
    *packet.rcode_mut() = RCODE::NameError;
    packet.set_flags(PacketFlag::TRUNCATION);
    let expected = Ok(Some(Answer { code: 3, truncated: true, data: vec![] }));
    assert_eq!(read(Record::A, &packet), [expected.clone(), expected]);
    // EDNS: the upper bits of the code, and a version and flags that say nothing here.
    let mut message = ask(Record::A);
    message[2] |= 0x80;
    let length = message.len();
    message[length - 6..].copy_from_slice(&[1, 0, 0x80, 0, 0, 0]);
    let bad_version = Ok(Some(Answer { code: 16, truncated: false, data: vec![] }));
    assert_eq!(answer(&message, &ask(Record::A), Record::A), bad_version);
}

#[test]
fn answers_to_other_questions_are_none() {
    let packet = reply(Record::A, []);
    let good = packet.build_bytes_vec().unwrap();
    let read = |message: &[u8]| answer(message, &ask(Record::A), Record::A);
    assert_eq!(read(&good), answered(&[]));
    assert_eq!(read(&good[..11]), Ok(None));
    // Its id, that it is an answer, its opcode, its name, type and class.
    for (at, bit) in [(0, 1), (1, 1), (2, 0x80), (2, 8), (13, 1), (30, 2), (32, 2)] {
        let mut other = good.clone();
        other[at] ^= bit;
        assert_eq!(read(&other), Ok(None), "octet {at}");
    }
    // Without the question: only with a failure.
    let header = |code| [0x12, 0x34, 0x80, code, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(read(&header(0)), Ok(None));
    assert_eq!(read(&header(5)), Ok(Some(Answer { code: 5, truncated: false, data: vec![] })));
}

#[test]
fn what_makes_no_sense_is_malformed() {
    let good = reply(Record::Ns, [RData::NS(Name::new_unchecked("ns.example.net").into())]);
    let good = good.build_bytes_vec().unwrap();
    let read = |message: &[u8]| answer(message, &ask(Record::Ns), Record::Ns);
    for length in 33..good.len() {
        assert_eq!(read(&good[..length]), Err(Malformed), "cut at {length}");
        let mut cut = good[..length].to_vec();
        cut[2] |= 2;
        assert_eq!(read(&cut), Ok(Some(Answer { code: 0, truncated: true, data: vec![] })));
    }
    let record = 33 + 17;
    let data = record + 10;
    // Names that lead to themselves, forwards, or in a circle with a label in it; a label of an unknown kind.
    for octets in [[0xc0, data as u8], [0xc0, data as u8 + 2], [0xc0, 0xff], [0x41, 0]] {
        let mut bad = good[..data].to_vec();
        bad[data - 1] = 2;
        bad.extend(octets);
        assert_eq!(read(&bad), Err(Malformed), "{octets:?}");
    }
    let mut circle = good[..data].to_vec();
    circle[data - 1] = 4;
    circle.extend([1, b'a', 0xc0, data as u8]);
    assert_eq!(read(&circle), Err(Malformed));
    // An address of five octets.
    let five = reply(Record::A, [RData::NULL(1, rdata::NULL::new(&[192, 0, 2, 1, 0]).unwrap())]);
    assert_eq!(answer(&five.build_bytes_vec().unwrap(), &ask(Record::A), Record::A), Err(Malformed));
}

#[test]
fn nothing_in_a_name_is_more_than_text() {
    let labels = [&b"a.b\\"[..], b"\x1b[2J", "ü".as_bytes()].map(simple_dns::Label::new_unchecked);
    let packet = reply(Record::Ptr, [RData::PTR(Name::new_with_labels(&labels).into())]);
    let text = r"a\.b\\.\027[2J.\195\188";
    assert_eq!(read(Record::Ptr, &packet), [answered(&[text]), answered(&[text])]);
}

/// The longest message, all of it records whose names lead through a chain of pointers: the steps are counted.
#[test]
fn chains_of_pointers_are_not_followed_for_long() {
    let mut message = ask(Record::Ns);
    message.truncate(33);
    message[2] |= 0x80;
    message[11] = 0;
    // One record of another type that is nothing but pointers, each to the one before it.
    message.extend([0, 0, 10, 0, 1, 0, 0, 0, 0]);
    let chain = message.len() + 2;
    let length = 0x3ff0 - chain;
    message.extend((length as u16).to_be_bytes());
    while message.len() < 0x3ff0 {
        let before = message.len() - 2;
        message.extend((0xc000 | before as u16).to_be_bytes());
    }
    let mut count = 1u16;
    while message.len() + 14 <= 65_535 {
        message.extend([0xff, 0xee, 0, 2, 0, 1, 0, 0, 0, 0, 0, 2, 0xff, 0xee]);
        count += 1;
    }
    message[6..8].copy_from_slice(&count.to_be_bytes());
    assert_eq!(answer(&message, &ask(Record::Ns), Record::Ns), Err(Malformed));
}

fn any_record() -> impl Strategy<Value = Record> {
    prop::sample::select(vec![
        Record::A,
        Record::Aaaa,
        Record::Caa,
        Record::Cname,
        Record::Https,
        Record::Mx,
        Record::Ns,
        Record::Ptr,
        Record::Soa,
        Record::Srv,
        Record::Svcb,
        Record::Txt,
    ])
}

proptest! {
    /// Behind a header and a question that fit: with those wrong, nothing is read.
    #[test]
    fn no_octets_make_it_panic(
        record in any_record(),
        counts in any::<[u8; 6]>(),
        behind in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut message = ask(record);
        message.truncate(33);
        message[2] |= 0x80;
        message[6..12].copy_from_slice(&counts.map(|count| count & 3));
        message.extend(&behind);
        let _read = answer(&message, &ask(record), record);
        let _read = answer(&behind, &ask(record), record);
    }

    /// Answers as a server sends them, but for a few octets.
    #[test]
    fn no_wrong_octets_make_it_panic(
        record in any_record(),
        data in prop::collection::vec(any::<u8>(), 1..80),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let data = RData::NULL(record.number(), rdata::NULL::new(&data).unwrap());
        let mut message = reply(record, [data.clone(), data]).build_bytes_vec_compressed().unwrap();
        for (at, octet) in wrong {
            let at = at.index(message.len());
            message[at] = octet;
        }
        let _read = answer(&message, &ask(record), record);
    }
}
