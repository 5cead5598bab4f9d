//! Request forms, rewriting, and the smuggling cases.
use http::{Request, Response};

use super::*;
use crate::RawHost;

fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn get(uri: &str, headers: &[(&str, &str)]) -> Result<Outbound, Malformed> {
    request(head("GET", uri, headers))
}

fn names(headers: &HeaderMap) -> Vec<String> {
    let mut names: Vec<_> = headers.keys().map(|name| name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn an_absolute_form_request_becomes_an_origin_form_one() {
    for (uri, host_sent, origin_form, host, target) in [
        ("http://example.org/a?b=c", "example.org", "/a?b=c", "example.org", "example.org:80"),
        ("http://example.org", "example.org", "/", "example.org", "example.org:80"),
        ("http://example.org?q", "example.org", "/?q", "example.org", "example.org:80"),
        ("http://example.org:80/", "example.org", "/", "example.org", "example.org:80"),
        ("http://example.org:8080/", "Example.Org:8080", "/", "example.org:8080", "example.org:8080"),
        ("http://192.0.2.1/", "192.0.2.1:80", "/", "192.0.2.1", "192.0.2.1:80"),
        (
            "http://[2001:db8::1]:8080/x",
            "[2001:db8:0::1]:8080",
            "/x",
            "[2001:db8::1]:8080",
            "[2001:db8::1]:8080",
        ),
        ("http://[2001:db8::80]/", "[2001:db8::80]", "/", "[2001:db8::80]", "[2001:db8::80]:80"),
    ] {
        let out = get(uri, &[("host", host_sent)]).unwrap();
        assert_eq!(out.head.uri.to_string(), origin_form, "{uri}");
        assert_eq!(out.head.headers[HOST], host, "{uri}");
        assert_eq!(out.target.to_string(), target, "{uri}");
        assert_eq!(out.head.headers[VIA], "1.1 mexegate");
    }
}

#[test]
fn nothing_hop_by_hop_and_no_credential_passes() {
    let out = get(
        "http://example.org/",
        &[
            ("host", "example.org"),
            ("connection", "keep-alive, X-Hop"),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic YTpi"),
            ("proxy-connection", "keep-alive"),
            ("proxy-whatever", "1"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("authorization", "Bearer end-to-end"),
            ("accept", "*/*"),
        ],
    )
    .unwrap();
    assert_eq!(names(&out.head.headers), ["accept", "authorization", "host", "via"]);
}

#[test]
fn only_absolute_form_http_is_forwarded() {
    let host = [("host", "example.org")];
    for (method, uri, malformed) in [
        ("GET", "/", Malformed::AbsoluteForm),
        ("OPTIONS", "*", Malformed::AbsoluteForm),
        ("GET", "example.org:80", Malformed::AbsoluteForm),
        ("CONNECT", "example.org:80", Malformed::ConnectForm),
        ("GET", "https://example.org/", Malformed::Scheme),
        ("GET", "ftp://example.org/", Malformed::Scheme),
        ("GET", "http://user@example.org/", Malformed::Target(TargetError::UserInfo)),
        ("GET", "http://user:pass@example.org/", Malformed::Target(TargetError::UserInfo)),
        ("GET", "http://example.org:0/", Malformed::Target(TargetError::Port)),
        ("GET", "http://example.org:99999/", Malformed::Target(TargetError::Port)),
        ("GET", "http://example.org:/", Malformed::Target(TargetError::Port)),
        ("GET", "http://:80/", Malformed::Target(TargetError::Host)),
    ] {
        assert_eq!(request(head(method, uri, &host)).unwrap_err(), malformed, "{method} {uri}");
    }
}

#[test]
fn a_host_header_that_lies_is_refused() {
    for (hosts, malformed) in [
        (&["other.example"][..], Malformed::HostDiffers),
        (&["example.org:8080"], Malformed::HostDiffers),
        (&["example.org."], Malformed::HostDiffers),
        (&["example.org", "example.org"], Malformed::HostDuplicated),
        (&["example.org, other.example"], Malformed::Target(TargetError::Host)),
        (&["a@example.org"], Malformed::Target(TargetError::UserInfo)),
        (&[""], Malformed::Target(TargetError::Host)),
        (&[], Malformed::HostMissing),
    ] {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        assert_eq!(get("http://example.org/", &headers).unwrap_err(), malformed, "{hosts:?}");
    }
    let mut old = head("GET", "http://example.org/", &[]);
    old.version = Version::HTTP_10;
    let out = request(old).unwrap();
    assert_eq!(
        (out.head.version, &out.head.headers[HOST]),
        (Version::HTTP_11, &HeaderValue::from_static("example.org"))
    );
}

#[test]
fn ambiguous_framing_is_refused_in_requests_and_responses() {
    for (headers, malformed) in [
        (&[("content-length", "5"), ("transfer-encoding", "chunked")][..], Malformed::Framing),
        (&[("transfer-encoding", "chunked"), ("content-length", "0")], Malformed::Framing),
        (&[("content-length", "5"), ("content-length", "6")], Malformed::ContentLength),
        (&[("content-length", "5"), ("content-length", "5")], Malformed::ContentLength),
        (&[("content-length", "5, 5")], Malformed::ContentLength),
        (&[("content-length", "+5")], Malformed::ContentLength),
        (&[("content-length", "0x5")], Malformed::ContentLength),
        (&[("content-length", "-1")], Malformed::ContentLength),
        (&[("content-length", "")], Malformed::ContentLength),
        (&[("content-length", "99999999999999999999")], Malformed::ContentLength),
        (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Malformed::TransferEncoding),
        (&[("transfer-encoding", "identity")], Malformed::TransferEncoding),
        (&[("transfer-encoding", "gzip, chunked")], Malformed::TransferEncoding),
        (&[("transfer-encoding", "xchunked")], Malformed::TransferEncoding),
        (&[("transfer-encoding", "chunked\t,identity")], Malformed::TransferEncoding),
        (&[("connection", "content-length"), ("content-length", "5")], Malformed::Connection),
        (&[("connection", "Host")], Malformed::Connection),
        (&[("connection", "close, Transfer-Encoding")], Malformed::Connection),
        (&[("connection", "a b")], Malformed::Connection),
    ] {
        let mut with_host = vec![("host", "example.org")];
        with_host.extend(headers);
        let out = request(head("POST", "http://example.org/", &with_host));
        let refused = out.unwrap_err();
        assert_eq!((refused, refused.reason()), (malformed, Reason::RequestMalformed), "{headers:?}");
        let mut answer = Response::builder();
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let refused = response(answer.body(()).unwrap().into_parts().0).unwrap_err();
        assert_eq!(
            (refused, refused.upstream_reason()),
            (malformed, Reason::UpstreamMalformed),
            "{headers:?}"
        );
    }
    let mut old = head("POST", "http://example.org/", &[("transfer-encoding", "chunked")]);
    old.version = Version::HTTP_10;
    assert_eq!(request(old).unwrap_err(), Malformed::TransferEncoding);
    let trace = head("TRACE", "http://example.org/", &[("host", "example.org"), ("content-length", "5")]);
    assert_eq!(request(trace).unwrap_err(), Malformed::TraceBody);
}

#[test]
fn a_body_length_passes_as_it_is() {
    let out = get("http://example.org/", &[("host", "example.org"), ("content-length", "5")]).unwrap();
    assert_eq!(out.head.headers[CONTENT_LENGTH], "5");
}

#[test]
fn connect_takes_host_and_port_and_nothing_else() {
    let read =
        |uri: &str, headers: &[(&str, &str)]| connect(&head("CONNECT", uri, headers)).map(|t| t.to_string());
    assert_eq!(read("example.org:443", &[]), Ok("example.org:443".into()));
    assert_eq!(read("example.org:443", &[("host", "EXAMPLE.org")]), Ok("example.org:443".into()));
    assert_eq!(read("[::1]:443", &[("host", "[::1]:443")]), Ok("[::1]:443".into()));
    assert_eq!(read("example.org:443", &[("content-length", "0")]), Ok("example.org:443".into()));
    let v4 = connect(&head("CONNECT", "192.0.2.1:1", &[])).unwrap();
    assert_eq!(v4.host, RawHost::Address("192.0.2.1".parse().unwrap()));
    for (uri, headers, malformed) in [
        ("example.org", &[][..], Malformed::Target(TargetError::PortMissing)),
        ("example.org:0", &[], Malformed::Target(TargetError::Port)),
        ("example.org:65536", &[], Malformed::Target(TargetError::Port)),
        ("user@example.org:443", &[], Malformed::Target(TargetError::UserInfo)),
        ("http://example.org:443/", &[], Malformed::ConnectForm),
        ("/example.org:443", &[], Malformed::ConnectForm),
        ("*", &[], Malformed::ConnectForm),
        ("example.org:443", &[("host", "other.example:443")], Malformed::HostDiffers),
        ("example.org:443", &[("host", "example.org:80")], Malformed::HostDiffers),
        ("example.org:443", &[("host", "a"), ("host", "a")], Malformed::HostDuplicated),
        ("example.org:443", &[("content-length", "5")], Malformed::ConnectBody),
        ("example.org:443", &[("transfer-encoding", "chunked")], Malformed::ConnectBody),
    ] {
        assert_eq!(read(uri, headers), Err(malformed), "{uri} {headers:?}");
    }
    assert_eq!(connect(&head("GET", "example.org:443", &[])), Err(Malformed::ConnectForm));
}

#[test]
fn a_response_loses_what_is_hop_by_hop_and_cannot_speak_for_the_gate() {
    let answer = Response::builder()
        .status(200)
        .header("connection", "close, x-hop")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("proxy-status", "mexegate; error=http_request_denied; details=\"forged\"")
        .header("proxy-authenticate", "Basic")
        .header("transfer-encoding", "chunked")
        .header("upgrade", "h2c")
        .header("content-type", "text/plain");
    let head = response(answer.body(()).unwrap().into_parts().0).unwrap();
    assert_eq!(names(&head.headers), ["content-type", "via"]);
    let switch = Response::builder().status(101).body(()).unwrap().into_parts().0;
    assert_eq!(response(switch).unwrap_err(), Malformed::Upgrade);
}
