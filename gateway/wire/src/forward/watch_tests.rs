//! What the watch doubts, what it does not, and that neither depends on how the bytes are split.

use proptest::prelude::*;

use super::*;

/// What came of these bytes, for every way to cut them in two, and one by one.
#[track_caller]
fn watched(text: &str) -> (u64, Option<Doubt>) {
    let read = |pieces: &[&[u8]]| {
        let mut watch = Watch::default();
        for piece in pieces {
            watch.on_bytes(piece);
        }
        (watch.heads, watch.doubt())
    };
    let bytes = text.as_bytes();
    let whole = read(&[bytes]);
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(read(&[first, second]), whole, "cut at {cut}: {text:?}");
    }
    assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte: {text:?}");
    whole
}

#[track_caller]
fn doubts(text: &str, request: u64, why: Malformed) {
    assert_eq!(watched(text).1, Some(Doubt { request, why }), "{text:?}");
}

/// Requests that have one reading only, as often used on one connection.
const GOOD: &[&str] = &[
    "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/ HTTP/1.1\nHost: a\n\n",
    "\r\n\r\nGET http://a/ HTTP/1.1\r\n\r\n",
    "POST http://a/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "POST http://a/ HTTP/1.1\r\nContent-Length:0\r\n\r\n",
    "POST http://a/ HTTP/1.1\r\ncontent-length: \t 38 \t\r\n\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n\r\n",
    "POST http://a/ HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST http://a/ HTTP/1.1\r\ntransfer-encoding:chunked\r\n\r\n00A;x=\"y\"\r\n0123456789\r\n1 \r\n\n\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
    "POST http://a/ HTTP/1.1\r\nX-Content-Length: 7\r\nContent-Lengthy: 8\r\nTransfer-Encodings: gzip\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
];

#[test]
fn what_has_one_reading_raises_no_doubt_alone_or_in_a_row() {
    for text in GOOD {
        assert_eq!(watched(text), (1, None), "{text:?}");
    }
    assert_eq!(watched(&GOOD.concat()), (GOOD.len() as u64, None));
}

#[test]
fn length_and_coding_at_once_are_doubted_in_whichever_request() {
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "tRANSFER-eNCODING:\tCHUNKED\r\nX: y\r\ncONTENT-lENGTH:0\r\n",
        "Transfer-Encoding: chunked\nContent-Length: 4\n",
    ] {
        let bad = format!("POST http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n");
        doubts(&bad, 1, Malformed::Framing);
        for good in GOOD {
            doubts(&format!("{good}{bad}"), 2, Malformed::Framing);
        }
        doubts(&(GOOD.concat() + &bad), GOOD.len() as u64 + 1, Malformed::Framing);
    }
}

#[test]
fn any_other_framing_with_two_readings_is_doubted() {
    let length = Malformed::ContentLength;
    let coding = Malformed::TransferEncoding;
    let long = "9".repeat(40);
    for (fields, why) in [
        ("Content-Length: 5\r\nContent-Length: 6", length),
        ("Content-Length: 5\r\nContent-Length: 5", length),
        ("Content-Length: 5, 5", length),
        ("Content-Length: +5", length),
        ("Content-Length: 0x5", length),
        ("Content-Length:", length),
        ("Content-Length: 18446744073709551616", length),
        (&format!("Content-Length: {long}"), length),
        ("Transfer-Encoding: xchunked", coding),
        ("Transfer-Encoding: gzip, chunked", coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", coding),
        ("Transfer-Encoding:", coding),
        ("Content-Length : 5\r\nTransfer-Encoding: chunked", Malformed::Framing),
        ("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5", Malformed::Head),
        ("X\r\nContent-Length: 5", Malformed::Head),
        ("\rX: y", Malformed::Head),
    ] {
        doubts(&format!("POST http://a/ HTTP/1.1\r\n{fields}\r\n\r\nhello"), 1, why);
    }
    doubts(" GET http://a/ HTTP/1.1\r\n\r\nX: y\r\n\r\n", 1, Malformed::Head);
}

#[test]
fn after_a_broken_chunk_nothing_further_is_trusted() {
    for chunks in [
        "\r\n\r\n",
        "g\r\n",
        "-1\r\n",
        "5 5\r\nhello",
        "5\nhello\r\n",
        "5;a\nb\r\nhello\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX0\r\n",
        "5\r\nhello\rX",
        "10000000000000000\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\r\rZ",
        "0\r\n\r\r",
        ";a\r\n",
        " 5\r\nhello\r\n",
    ] {
        let text = format!("POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        doubts(&(text + GOOD[0]), 2, Malformed::Chunks);
    }
}

proptest! {
    #[test]
    fn a_body_of_any_bytes_ends_where_its_length_says(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        size in 1_usize..50,
        cut in 1_usize..40,
        chunked in any::<bool>(),
    ) {
        let mut bytes = b"POST http://a/ HTTP/1.1\r\n".to_vec();
        if chunked {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(size) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        } else {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(&body);
        }
        bytes.extend(b"POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut watch = Watch::default();
        for piece in bytes.chunks(cut) {
            watch.on_bytes(piece);
        }
        prop_assert_eq!(watch.doubt(), Some(Doubt { request: 2, why: Malformed::Framing }));
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_split_makes_a_difference(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cut in 1_usize..30,
    ) {
        let mut whole = Watch::default();
        whole.on_bytes(&bytes);
        let mut parts = Watch::default();
        for piece in bytes.chunks(cut) {
            parts.on_bytes(piece);
        }
        prop_assert_eq!((whole.heads, whole.doubt()), (parts.heads, parts.doubt()));
    }
}
