//! Tables from RFC 1928 and RFC 1929, every wrong byte, every split.
use super::*;
use crate::{RawHost, Target};
use bytes::BytesMut;

/// Feeds a handshake in pieces of `size` bytes and lists what came out.
fn steps(bytes: &[u8], size: usize) -> (Vec<String>, Result<(), Malformed>, Vec<u8>) {
    let mut parser = Parser::new();
    let mut input = BytesMut::new();
    let mut seen = Vec::new();
    let mut pieces = bytes.chunks(size);
    loop {
        match parser.on_bytes(&mut input) {
            Ok(Step::NeedMore) => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => return (seen, Ok(()), input.to_vec()),
            },
            Ok(Step::Greeting(greeting)) => seen.push(format!("greeting {:?}", greeting.answer())),
            Ok(Step::Credentials(c)) => {
                seen.push(format!("{:?}:{:?}", c.user().unwrap(), String::from_utf8_lossy(c.password())));
            }
            Ok(Step::Request(request)) => {
                seen.push(format!("{:?} {}", request.command, request.target));
                pieces.for_each(|piece| input.extend_from_slice(piece));
                return (seen, Ok(()), input.to_vec());
            }
            Err(malformed) => return (seen, Err(malformed), input.to_vec()),
        }
    }
}

const PROLOGUE: &[u8] = b"\x05\x02\x00\x02\x01\x03app\x03pwd";

fn after_prologue(request: &[u8]) -> (Vec<String>, Result<(), Malformed>, Vec<u8>) {
    let (mut seen, result, rest) = steps(&[PROLOGUE, request].concat(), usize::MAX);
    assert_eq!(&seen[..2], ["greeting [5, 2]", "\"app\":\"pwd\""]);
    (seen.split_off(2), result, rest)
}

#[test]
fn the_three_address_types_are_read_and_early_data_is_left() {
    for (request, shown) in [
        (&b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50hello"[..], "Connect 192.0.2.1:80"),
        (b"\x05\x01\x00\x03\x0bexample.org\x01\xbbhello", "Connect example.org:443"),
        (
            b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xffhello",
            "Connect [2001:db8::1]:65535",
        ),
        (b"\x05\x02\x00\x01\xc0\x00\x02\x01\x00\x00hello", "Bind 192.0.2.1:0"),
        (b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00hello", "UdpAssociate 0.0.0.0:0"),
        (b"\x05\x09\x00\x01\xc0\x00\x02\x01\x00\x50hello", "Unknown(9) 192.0.2.1:80"),
    ] {
        assert_eq!(after_prologue(request), (vec![shown.to_owned()], Ok(()), b"hello".to_vec()));
    }
}

#[test]
fn any_split_gives_the_same_steps() {
    let whole = [PROLOGUE, b"\x05\x01\x00\x03\x0bexample.org\x01\xbbhello"].concat();
    let at_once = steps(&whole, usize::MAX);
    assert_eq!(at_once.0.len(), 3);
    for size in 1..whole.len() {
        assert_eq!(steps(&whole, size), at_once, "pieces of {size}");
    }
}

#[test]
fn only_user_and_password_is_ever_chosen() {
    for (greeting, answer) in [
        (&b"\x05\x01\x02"[..], [5, 2]),
        (b"\x05\x03\x00\x01\x02", [5, 2]),
        (b"\x05\x01\x00", [5, 0xff]),
        (b"\x05\x02\x00\x01", [5, 0xff]),
        (b"\x05\x01\xff", [5, 0xff]),
    ] {
        let mut input = BytesMut::from(greeting);
        let Ok(Step::Greeting(read)) = Parser::new().on_bytes(&mut input) else { panic!("{greeting:?}") };
        assert_eq!(read.answer(), answer, "{greeting:?}");
        let refused = (answer[1] == 0xff).then_some(Reason::CredentialsMissing);
        assert_eq!(read.refusal(), refused);
    }
}

#[test]
fn after_a_refused_greeting_nothing_more_is_read() {
    let mut parser = Parser::new();
    let mut input = BytesMut::from(&b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"[..]);
    assert!(matches!(parser.on_bytes(&mut input), Ok(Step::Greeting(_))));
    assert!(matches!(parser.on_bytes(&mut input), Err(Malformed::AfterEnd)));
    assert_eq!(input.len(), 10);
}

#[test]
fn a_wrong_first_byte_is_refused_without_waiting() {
    for first in [0u8, 1, 4, 6, b'G', 0x16, 0xff] {
        let (_, result, _) = steps(&[first], 1);
        assert_eq!(result, Err(Malformed::Version));
        assert_eq!(Malformed::Version.reply(), b"");
    }
}

#[test]
fn each_broken_message_has_its_own_name_and_reply() {
    assert_eq!(steps(b"\x05\x00", 1).1, Err(Malformed::NoMethods));
    assert_eq!(steps(b"\x05\x01\x02\x05", 1).1, Err(Malformed::CredentialsVersion));
    let general = [5, 1, 0, 1, 0, 0, 0, 0, 0, 0];
    for (request, malformed) in [
        (&b"\x04"[..], Malformed::RequestVersion),
        (b"\x05\x01\x01", Malformed::Reserved),
        (b"\x05\x01\x00\x03\x00", Malformed::Name),
        (b"\x05\x01\x00\x03\x02\xc3\x28\x00\x50", Malformed::Name),
        (b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x00", Malformed::Port),
    ] {
        assert_eq!(after_prologue(request).1, Err(malformed), "{request:?}");
        assert_eq!(malformed.reply(), general);
    }
    for kind in [0u8, 2, 5, 0xff] {
        assert_eq!(after_prologue(&[5, 1, 0, kind]).1, Err(Malformed::AddressType));
    }
    assert_eq!(Malformed::AddressType.reply(), [5, 8, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Malformed::NoMethods.reply(), [5, 0xff]);
    assert_eq!(Malformed::CredentialsVersion.reply(), [1, 1]);
    assert_eq!(Malformed::Port.reason(), Reason::RequestMalformed);
}

#[test]
fn empty_credentials_are_read_as_wrong_ones_would_be() {
    let (seen, result, _) = steps(b"\x05\x01\x02\x01\x00\x00", usize::MAX);
    assert_eq!((seen.len(), result), (2, Ok(())));
}

#[test]
fn the_longest_handshake_fits_the_stated_bound() {
    let long = "x".repeat(255);
    let target = Target { host: RawHost::Name(long.clone()), port: 1 };
    let mut bytes = vec![5, 255];
    bytes.extend(0..=254);
    bytes.extend(client::credentials(&long, &long).unwrap());
    bytes.extend(client::request(Command::Connect, &target).unwrap());
    assert_eq!(bytes.len(), MAX_HANDSHAKE);
    let (seen, result, rest) = steps(&bytes, usize::MAX);
    assert_eq!((seen.len(), result, rest), (3, Ok(()), vec![]));
}

#[test]
fn replies_are_encoded_as_rfc_1928_shows() {
    let v4 = "192.0.2.7:1080".parse().unwrap();
    assert_eq!(ReplyCode::Succeeded.encode(v4), [5, 0, 0, 1, 192, 0, 2, 7, 4, 56]);
    let v6 = ReplyCode::HostUnreachable.encode("[2001:db8::1]:443".parse().unwrap());
    assert_eq!(v6, b"\x05\x04\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb");
    for (number, code) in (0u8..).zip(ReplyCode::ALL) {
        assert_eq!(code.code(), number);
        assert_eq!(client::reply(&code.encode(v4)), Some((number, v4, 10)));
        assert_eq!(client::reply(&code.encode(v4)[..9]), None);
    }
}

#[test]
fn whatever_the_gate_refuses_is_reply_2_and_the_rest_has_its_own() {
    let others: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| (reason.code(), reply_for(*reason).code()))
        .filter(|(_, code)| *code != 2)
        .collect();
    assert_eq!(
        others,
        [
            ("bearer-lost", 3),
            ("command-unsupported", 7),
            ("handshake-timeout", 1),
            ("name-unresolvable", 4),
            ("request-malformed", 1),
            ("upstream-malformed", 1),
            ("upstream-refused", 5),
            ("upstream-timeout", 6),
            ("upstream-unreachable", 4),
        ]
    );
}
