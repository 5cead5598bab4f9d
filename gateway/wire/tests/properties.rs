//! Round trips, every split, and garbage: what comes in never makes a codec panic, stall or read too far.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use http::header::{HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use http::{Request, Uri};
use mexe_wire::socks5::{
    Command, MAX_HANDSHAKE, MAX_REPLY_HEADER, MAX_REQUEST_HEADER, Malformed, Parser, ReplyHeader, Step,
    client, datagram,
};
use mexe_wire::telephone::{EmergencyNumbers, Number, Tones};
use mexe_wire::{RawHost, Target, basic, forward};
use proptest::prelude::*;

fn raw_host() -> impl Strategy<Value = RawHost> {
    prop_oneof![
        any::<IpAddr>().prop_map(RawHost::Address),
        "\\PC{1,60}".prop_map(RawHost::Name),
        "[a-z0-9.-]{1,255}".prop_map(RawHost::Name),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    (raw_host(), 1u16..).prop_map(|(host, port)| Target { host, port })
}

/// One handshake by a well-behaved client, and where it is cut into pieces.
fn handshake() -> impl Strategy<Value = (String, String, Target, Vec<u8>, Vec<usize>)> {
    (
        "[a-z0-9._-]{0,255}",
        "[ -~]{0,255}",
        target(),
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(1usize..40, 1..80),
    )
}

proptest! {
    #[test]
    fn a_handshake_reads_back_however_it_is_split((user, password, target, early, cuts) in handshake()) {
        let mut bytes = client::greeting().to_vec();
        bytes.extend(client::credentials(&user, &password).unwrap());
        bytes.extend(client::request(Command::Connect, &target).unwrap());
        bytes.extend(&early);
        let mut rest = &bytes[..];
        let mut cuts = cuts.iter().cycle();
        let (mut parser, mut input, mut messages) = (Parser::new(), BytesMut::new(), 0);
        let request = loop {
            match parser.on_bytes(&mut input).unwrap() {
                Step::NeedMore => {
                    prop_assert!(input.len() < 513, "a message larger than any message");
                    prop_assert!(!rest.is_empty(), "the handshake never ends");
                    let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                    input.extend_from_slice(piece);
                    rest = after;
                }
                Step::Greeting(greeting) => prop_assert_eq!(greeting.answer(), [5, 2]),
                Step::Credentials(credentials) => {
                    messages += 1;
                    prop_assert_eq!(credentials.user(), Some(user.as_str()));
                    prop_assert_eq!(credentials.password(), password.as_bytes());
                }
                Step::Request(request) => break request,
            }
        };
        prop_assert_eq!(messages, 1);
        prop_assert_eq!((request.command, request.target), (Command::Connect, target));
        prop_assert_eq!([&input[..], rest].concat(), early);
    }

    #[test]
    fn garbage_ends_a_handshake_within_its_bound(
        prologue in 0usize..4,
        garbage in proptest::collection::vec(any::<u8>(), 0..1200),
    ) {
        let good = b"\x05\x01\x02\x01\x03app\x03pwd\x05\x01\x00";
        let mut bytes = good[..[0, 3, 12, 15][prologue]].to_vec();
        bytes.extend(&garbage);
        let (mut parser, mut input, mut fed) = (Parser::new(), BytesMut::new(), 0);
        for byte in &bytes {
            input.extend_from_slice(&[*byte]);
            fed += 1;
            match parser.on_bytes(&mut input) {
                Ok(Step::Request(_)) => break,
                Ok(Step::Greeting(greeting)) if greeting.refusal().is_some() => break,
                Ok(_) => {}
                Err(malformed) => {
                    prop_assert!(parser.on_bytes(&mut input).is_err_and(|e| e == Malformed::AfterEnd));
                    prop_assert!(malformed.reply().len() <= 10);
                    break;
                }
            }
        }
        prop_assert!(fed <= MAX_HANDSHAKE);
    }

    #[test]
    fn a_datagram_reads_back_and_so_does_the_header_of_its_answer(
        target in target(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        from in (any::<IpAddr>(), 1u16..).prop_map(SocketAddr::from),
    ) {
        let mut bytes = client::datagram(&target, &payload).unwrap();
        prop_assert!(bytes.len() - payload.len() <= MAX_REQUEST_HEADER);
        let read = datagram(&mut bytes).unwrap();
        prop_assert_eq!(read.payload, &payload[..]);
        let again = read.destination.target().unwrap();
        prop_assert!(again.port == target.port && again.host.same_as(&target.host), "{} {}", again, target);
        let header = ReplyHeader::new(from);
        prop_assert!(header.as_slice().len() <= MAX_REPLY_HEADER);
        let mut answer = [header.as_slice(), &payload].concat();
        let read = datagram(&mut answer).unwrap();
        prop_assert_eq!(read.payload, &payload[..]);
        let sender = Target { host: RawHost::Address(from.ip()), port: from.port() };
        prop_assert_eq!(read.destination.target().unwrap(), sender);
    }

    #[test]
    fn no_bytes_make_the_datagram_reader_panic_or_invent_a_payload(
        start in 0usize..6,
        garbage in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes = [&b"\0\0\0\x03\xff"[..start.min(5)], &garbage].concat();
        let mut copy = bytes.clone();
        if let Ok(read) = datagram(&mut copy) {
            let header = 3 + read.destination.as_bytes().len();
            prop_assert!(header <= MAX_REQUEST_HEADER);
            prop_assert_eq!(read.payload, &bytes[header..]);
            if let Ok(target) = read.destination.target() {
                let mut again = client::datagram(&target, read.payload).unwrap();
                prop_assert_eq!(datagram(&mut again).unwrap(), read);
            }
        }
    }

    #[test]
    fn a_target_shown_is_a_target_read(
        target in (prop_oneof![any::<IpAddr>().prop_map(RawHost::Address), "[a-z][a-z0-9.-]{0,60}".prop_map(RawHost::Name)], 1u16..)
            .prop_map(|(host, port)| Target { host, port })
    ) {
        prop_assert_eq!(Target::parse(&target.to_string(), None), Ok(target));
    }

    #[test]
    fn no_text_makes_the_target_reader_panic_or_find_port_0(text in "\\PC{0,40}|[\\[\\]:@.0-9a-f]{0,24}") {
        if let Ok(target) = Target::parse(&text, Some(80)) {
            prop_assert_ne!(target.port, 0);
            prop_assert!(!text.contains('@'));
        }
    }

    #[test]
    fn basic_credentials_read_back(user in "[^:]{0,60}", password in "\\PC{0,60}") {
        let mut headers = HeaderMap::new();
        headers.insert(PROXY_AUTHORIZATION, basic::value(&user, &password).unwrap());
        let read = basic::credentials(&headers, &PROXY_AUTHORIZATION).unwrap();
        prop_assert_eq!((read.user(), read.password()), (Some(user.as_str()), password.as_bytes()));
    }

    #[test]
    fn no_authorization_value_makes_the_reader_panic(value in proptest::collection::vec(32u8..=126, 0..900)) {
        let mut headers = HeaderMap::new();
        let value = [b"Basic ".to_vec(), value].concat();
        headers.insert(PROXY_AUTHORIZATION, HeaderValue::from_bytes(&value).unwrap());
        let _ = basic::credentials(&headers, &PROXY_AUTHORIZATION);
    }

    #[test]
    fn whatever_is_forwarded_is_unambiguous(
        uri in "http://[a-z0-9.:@\\[\\]]{1,20}(/[a-z?]{0,10})?",
        headers in proptest::collection::vec(
            (
                prop_oneof![
                    Just("host"), Just("connection"), Just("content-length"), Just("transfer-encoding"),
                    Just("proxy-authorization"), Just("te"), Just("upgrade"), Just("x-other"),
                ],
                prop_oneof![
                    Just("chunked".to_owned()), Just("5".to_owned()), Just("x-other".to_owned()),
                    Just("content-length".to_owned()), "[ -~]{0,12}",
                ],
            ),
            0..6,
        ),
        own_host in any::<bool>(),
    ) {
        let Ok(parsed) = uri.parse::<Uri>() else { return Ok(()) };
        let mut request = Request::builder().method("POST").uri(parsed.clone());
        if own_host && let Some(authority) = parsed.authority() {
            request = request.header("host", authority.as_str());
        }
        for (name, value) in &headers {
            request = request.header(*name, value.trim());
        }
        let Ok(out) = forward::request(request.body(()).unwrap().into_parts().0) else { return Ok(()) };
        let headers = &out.head.headers;
        prop_assert_eq!(headers.get_all("host").iter().count(), 1);
        prop_assert!(headers.get_all("content-length").iter().count() <= 1);
        for name in ["connection", "transfer-encoding", "te", "upgrade", "proxy-authorization"] {
            prop_assert!(!headers.contains_key(HeaderName::from_static(name)), "{} passed", name);
        }
        prop_assert!(out.head.uri.scheme().is_none() && out.head.uri.authority().is_none());
        prop_assert!(out.head.uri.path().starts_with('/'));
        let host = headers["host"].to_str().unwrap();
        prop_assert_eq!(Target::parse(host, Some(80)).unwrap(), out.target);
    }

    #[test]
    fn no_text_yields_a_number_or_tones_with_other_bytes(
        text in prop_oneof![
            any::<String>(),
            "\\PC{0,40}",
            "[-+ .()0-9]{0,30}",
            "[-+ .()0-9*#;,pwATDH\r\n\"\x00\x1a\x1b٠-٩０-９]{0,30}",
        ],
    ) {
        if let Ok(number) = Number::parse(&text, &EmergencyNumbers::default()) {
            let digits = number.as_str().strip_prefix('+').unwrap_or(number.as_str());
            prop_assert!((1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()), "{:?}", number);
            // The same digits in the same order, and nothing left out but what separates.
            let kept: String = text.chars().filter(|c| !" -.()".contains(*c)).collect();
            prop_assert_eq!(number.as_str(), kept);
            prop_assert_eq!(Number::parse(number.as_str(), &EmergencyNumbers::default()), Ok(number));
        }
        if let Ok(tones) = Tones::parse(&text) {
            prop_assert!((1..=32).contains(&tones.as_str().len()));
            prop_assert!(tones.as_str().bytes().all(|b| b"0123456789*#ABCD".contains(&b)));
            prop_assert!(tones.as_str().eq_ignore_ascii_case(&text));
        }
    }

    #[test]
    fn separators_make_no_other_number_and_hide_no_emergency(
        digits in "[0-9]{1,20}",
        separators in proptest::collection::vec("[ .()-]{0,2}", 21),
    ) {
        let spaced: String = digits.chars().zip(&separators).flat_map(|(d, s)| [s.clone(), d.to_string()]).collect();
        prop_assert_eq!(
            Number::parse(&spaced, &EmergencyNumbers::default()),
            Number::parse(&digits, &EmergencyNumbers::default())
        );
    }
}
