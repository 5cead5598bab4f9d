//! Forward proxying over HTTP/1: `CONNECT host:port` and absolute-form requests (RFC 9112, 3.2). Reads where a request
//! wants to go, refuses what two parsers could read in two ways, and rewrites heads for the next hop. Bodies and framing
//! on the wire are hyper's. Called by the service's HTTP ingress, once for each request on a connection.
//!
//! hyper 1.12 resolves `Transfer-Encoding` against `Content-Length` before these functions see a head: it drops the
//! length and frames by chunks. [`Watch`] reads the raw bytes for that. The checks here hold whatever parser stands in
//! front.

mod chunks;
mod hop;
#[cfg(test)]
mod tests;
mod watch;

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, VIA};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, StatusCode, Version, request, response};
use mexe_model::Reason;

pub use watch::{Doubt, Watch};

use crate::{Target, TargetError};

/// An absolute-form request, ready for the next hop.
#[derive(Debug)]
pub struct Outbound {
    /// Where it wants to go.
    pub target: Target,
    /// The head to send there: origin-form, `Host` from the URI, nothing hop-by-hop, no proxy credentials.
    pub head: request::Parts,
}

/// Where a CONNECT request wants to go.
///
/// # Errors
/// [`Malformed`] unless the request target is `host:port` and nothing else, and no body is announced.
pub fn connect(head: &request::Parts) -> Result<Target, Malformed> {
    if head.method != Method::CONNECT || head.uri.scheme().is_some() || head.uri.path_and_query().is_some() {
        return Err(Malformed::ConnectForm);
    }
    let authority = head.uri.authority().ok_or(Malformed::ConnectForm)?;
    let target = Target::parse(authority.as_str(), None)?;
    // Simple clients send no Host with CONNECT, or one without the port; neither changes where the tunnel goes.
    if let Some(host) = single_host(&head.headers)?
        && !(Target::parse(host, Some(target.port))?.names_same(&target))
    {
        return Err(Malformed::HostDiffers);
    }
    // A tunnel's bytes begin right after the head: an announced body would be read twice.
    match framing(&head.headers, head.version)? {
        Framing::None | Framing::Length(0) => Ok(target),
        Framing::Length(_) | Framing::Chunked => Err(Malformed::ConnectBody),
    }
}

/// Turns an absolute-form request into what the next hop gets.
///
/// # Errors
/// [`Malformed`] for every other request form, another scheme than `http`, and whatever could smuggle a request.
pub fn request(mut head: request::Parts) -> Result<Outbound, Malformed> {
    if head.method == Method::CONNECT {
        return Err(Malformed::ConnectForm);
    }
    let (Some(scheme), Some(authority)) = (head.uri.scheme(), head.uri.authority()) else {
        return Err(Malformed::AbsoluteForm);
    };
    if *scheme != Scheme::HTTP {
        return Err(Malformed::Scheme);
    }
    let target = Target::parse(authority.as_str(), Some(HTTP_PORT))?;
    match single_host(&head.headers)? {
        Some(host) if Target::parse(host, Some(HTTP_PORT))?.names_same(&target) => {}
        Some(_) => return Err(Malformed::HostDiffers),
        None if head.version == Version::HTTP_10 => {}
        None => return Err(Malformed::HostMissing),
    }
    let framing = framing(&head.headers, head.version)?;
    if head.method == Method::TRACE && !matches!(framing, Framing::None | Framing::Length(0)) {
        return Err(Malformed::TraceBody);
    }
    hop::strip(&mut head.headers)?;
    let shown = target.to_string();
    let host = if target.port == HTTP_PORT { shown.strip_suffix(":80").unwrap_or(&shown) } else { &shown };
    head.headers.insert(HOST, HeaderValue::try_from(host).map_err(|_| Malformed::Target(TargetError::Host))?);
    head.headers.append(VIA, VIA_GATE);
    head.uri = origin_form(&head.uri)?;
    head.version = Version::HTTP_11;
    Ok(Outbound { target, head })
}

/// Turns the next hop's response head into what the app gets.
///
/// # Errors
/// [`Malformed`] for ambiguous framing, and for a switch of protocols that nobody asked for.
pub fn response(mut head: response::Parts) -> Result<response::Parts, Malformed> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed::Upgrade);
    }
    framing(&head.headers, head.version)?;
    hop::strip(&mut head.headers)?;
    head.headers.append(VIA, VIA_GATE);
    head.version = Version::HTTP_11;
    Ok(head)
}

/// A message that is no proxy request, or that two parsers could read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not absolute-form.
    #[error("the request names no server: write `GET http://host/path`, or use CONNECT")]
    AbsoluteForm,
    /// The body ends in the middle, or its chunks break their grammar.
    #[error("the request's body breaks off, or its chunks are malformed")]
    Body,
    /// The chunks of the request before break their grammar.
    #[error("the chunks of the request before this one are malformed")]
    Chunks,
    /// A tunnel with a body.
    #[error("a CONNECT request has no body: leave Content-Length and Transfer-Encoding out")]
    ConnectBody,
    /// Not `CONNECT host:port`.
    #[error("not `CONNECT host:port`")]
    ConnectForm,
    /// The `Connection` header is unreadable, or names a header that frames or addresses the message.
    #[error("the Connection header is unreadable or names a header that every hop needs")]
    Connection,
    /// Several `Content-Length` values, or one that is no number.
    #[error("the Content-Length is not one decimal number")]
    ContentLength,
    /// Both ways of framing at once.
    #[error("both Content-Length and Transfer-Encoding: send one of them")]
    Framing,
    /// A line of the head is no header line.
    #[error("a header line is folded, begins with a blank, or has no colon")]
    Head,
    /// The Host header contradicts the request target.
    #[error("the Host header and the request target differ")]
    HostDiffers,
    /// More than one Host header.
    #[error("more than one Host header")]
    HostDuplicated,
    /// No Host header in HTTP/1.1.
    #[error("the Host header is missing")]
    HostMissing,
    /// Another scheme than http.
    #[error("only http:// is forwarded: use CONNECT for everything else")]
    Scheme,
    /// Host or port are wrong.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// TRACE with a body.
    #[error("a TRACE request has no body")]
    TraceBody,
    /// Another transfer coding than chunked, or chunked twice, or in HTTP/1.0.
    #[error("the Transfer-Encoding is not `chunked` alone")]
    TransferEncoding,
    /// 101 without an upgrade being asked for.
    #[error("the server switched protocols although nobody asked")]
    Upgrade,
}

impl Malformed {
    /// The reason to journal and count when an app's request was malformed.
    pub const fn reason(self) -> Reason {
        Reason::RequestMalformed
    }

    /// The reason when it was the server's response.
    pub const fn upstream_reason(self) -> Reason {
        Reason::UpstreamMalformed
    }
}

impl Target {
    fn names_same(&self, other: &Self) -> bool {
        self.port == other.port && self.host.same_as(&other.host)
    }
}

enum Framing {
    None,
    Length(u64),
    Chunked,
}

fn framing(headers: &HeaderMap, version: Version) -> Result<Framing, Malformed> {
    let length = one(headers, &CONTENT_LENGTH).map_err(|_| Malformed::ContentLength)?;
    let coding = one(headers, &TRANSFER_ENCODING).map_err(|_| Malformed::TransferEncoding)?;
    match (length, coding) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(Malformed::Framing),
        (Some(length), None) => decimal(length).map(Framing::Length),
        (None, Some(coding))
            if version != Version::HTTP_10 && coding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(Framing::Chunked)
        }
        (None, Some(_)) => Err(Malformed::TransferEncoding),
    }
}

fn decimal(value: &HeaderValue) -> Result<u64, Malformed> {
    // `parse` alone would take `+5`.
    let text = value.to_str().ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|t| t.parse().ok()).ok_or(Malformed::ContentLength)
}

fn single_host(headers: &HeaderMap) -> Result<Option<&str>, Malformed> {
    let host = one(headers, &HOST).map_err(|_| Malformed::HostDuplicated)?;
    host.map(|value| value.to_str().map_err(|_| Malformed::Target(TargetError::Host))).transpose()
}

/// The only value of a header, when there is one; an error when there are several.
fn one<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Result<Option<&'a HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Several) } else { Ok(first) }
}

struct Several;

fn origin_form(uri: &Uri) -> Result<Uri, Malformed> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    path.parse::<PathAndQuery>().map(Uri::from).map_err(|_| Malformed::AbsoluteForm)
}

const HTTP_PORT: u16 = 80;
const VIA_GATE: HeaderValue = HeaderValue::from_static("1.1 mexegate");
