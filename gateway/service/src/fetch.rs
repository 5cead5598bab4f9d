//! Fetches a package from where the user says (decision 18: received in a secure manner): over HTTPS only, from a server
//! whose certificate leads to the device's list of authorities, at a global address and never back into the device, and
//! within the size that a package may have. What came is judged and kept aside until the user has decided; nothing is
//! installed by fetching it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{HOST, LOCATION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use mexe_journal::{Outcome, Record};
use mexe_model::{Host, Instant, Reason, SecurityDomain};
use mexe_policy::parse_host;
use mexe_qos::{Marking, TrafficClass};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::apps::{self, Offered};
use crate::gate::Gate;
use crate::refused::Refused;
use crate::{clock, upstream};

/// How many fetched packages wait for the user's decision.
const WAITING: usize = 4;
/// How long each waits.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often a server may send us elsewhere.
const REDIRECTS: usize = 3;
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a whole fetch may take.
const LONGEST: Duration = Duration::from_secs(1800);
/// The file of authorities is never larger, bytes.
const LARGEST_LIST: u64 = 4 << 20;

/// Packages that were fetched and not decided on.
#[derive(Debug, Default)]
pub struct Fetched(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    packages: BTreeMap<u64, Package>,
}

#[derive(Debug)]
struct Package {
    file: NamedTempFile,
    name: Option<String>,
    /// The domain that the user was shown: what they agree to.
    domain: Option<SecurityDomain>,
    since: Instant,
}

impl Fetched {
    /// Throws away what nobody decided on in time.
    pub fn sweep(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sweep(now);
    }

    fn put(&self, package: Package, now: Instant) -> u64 {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sweep(now);
        while kept.packages.len() >= WAITING {
            kept.packages.pop_first();
        }
        kept.next += 1;
        let number = kept.next;
        kept.packages.insert(number, package);
        number
    }

    fn take(&self, number: u64, now: Instant) -> Option<Package> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sweep(now);
        kept.packages.remove(&number)
    }
}

impl Kept {
    fn sweep(&mut self, now: Instant) {
        self.packages.retain(|_, package| now.since(package.since) < PATIENCE);
    }
}

/// Fetches a package, judges it and keeps it aside. What the user needs to decide, as the API shows it.
///
/// # Errors
/// [`Reason::RequestMalformed`] for an address that is none; [`Reason::FetchFailed`], [`Reason::AddressNotPublic`],
/// [`Reason::OwnAddress`], [`Reason::NameUnresolvable`], [`Reason::PackageTooLarge`] with what happened; whatever is wrong
/// with the package.
pub async fn fetch(gate: &Arc<Gate>, url: &str) -> Result<Value, Refused> {
    let fetched = match tokio::time::timeout(LONGEST, download(gate, url)).await {
        Ok(fetched) => fetched,
        Err(_) => Err(failed("it took longer than half an hour")),
    };
    let judged = match fetched {
        Ok((file, name)) => {
            let offered = Offered { file_name: name, ..Offered::package(file) };
            apps::look_at(gate, &offered).await.map(|looked| (offered, looked))
        }
        Err(refused) => Err(refused),
    };
    let reason = judged.as_ref().err().map(|refused| refused.reason);
    let record = Record {
        decision: Some(if reason.is_none() { Outcome::Allow } else { Outcome::Deny }),
        reason,
        detail: Some(json!({ "url": url, "why": judged.as_ref().err().map(|refused| &refused.detail) })),
        ..Record::change(clock::wall(), "app.fetch")
    };
    gate.journal.record(record).await.map_err(crate::grants::unavailable)?;
    let (Offered { package: file, file_name: name, .. }, (domain, mut shown)) = judged?;
    let package = Package { file, name: name.clone(), domain, since: clock::now() };
    let number = gate.fetched.put(package, clock::now());
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("id".to_owned(), json!(number));
        fields.insert("url".to_owned(), json!(url));
        fields.insert("file".to_owned(), json!(name));
    }
    Ok(shown)
}

/// Installs what was fetched, or throws it away.
///
/// # Errors
/// [`Reason::NotFound`] when it is not there any more; as [`apps::install`].
pub async fn decide(gate: &Arc<Gate>, number: u64, install: bool) -> Result<Option<Arc<apps::App>>, Refused> {
    let gone = || Refused::about(Reason::NotFound, format!("there is no fetched package {number}"));
    let package = gate.fetched.take(number, clock::now()).ok_or_else(gone)?;
    if !install {
        return Ok(None);
    }
    let agreed = Some(package.domain);
    let offered = Offered { file_name: package.name, agreed, ..Offered::package(package.file) };
    apps::install(gate, offered).await.map(Some)
}

fn failed(why: impl std::fmt::Display) -> Refused {
    Refused::about(Reason::FetchFailed, why.to_string())
}

async fn download(gate: &Arc<Gate>, url: &str) -> Result<(NamedTempFile, Option<String>), Refused> {
    gate.clock_holds()?;
    let mut uri: Uri = url.parse().map_err(|_| malformed("it is no address"))?;
    let tls = tls(gate)?;
    for _ in 0..=REDIRECTS {
        let response = ask(gate, &tls, &uri).await?;
        let status = response.status();
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            uri = elsewhere(&uri, to.unwrap_or_default())?;
            continue;
        }
        if !status.is_success() {
            return Err(failed(format!("the server answered {status}")));
        }
        let name = uri.path().rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
        return Ok((receive(gate, response.into_body()).await?, name));
    }
    Err(failed("the server sends us from one place to another"))
}

fn malformed(why: &str) -> Refused {
    Refused::about(Reason::RequestMalformed, format!("{why}: write https://HOST/PATH"))
}

/// Where a redirect leads: another path there, or another address, which has to be one of HTTPS as well.
fn elsewhere(from: &Uri, to: &str) -> Result<Uri, Refused> {
    let whole = match (to.strip_prefix('/'), from.authority()) {
        (Some(rest), Some(authority)) if !rest.starts_with('/') => format!("https://{authority}/{rest}"),
        _ => to.to_owned(),
    };
    let uri: Uri = whole.parse().map_err(|_| failed("the server sends us to an address that is none"))?;
    if uri.scheme_str() != Some("https") {
        return Err(failed("the server sends us away from HTTPS"));
    }
    Ok(uri)
}

async fn ask(gate: &Arc<Gate>, tls: &TlsConnector, uri: &Uri) -> Result<hyper::Response<Incoming>, Refused> {
    if uri.scheme_str() != Some("https") {
        return Err(malformed("only HTTPS is fetched from"));
    }
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or_else(|| malformed("it names no host"))?;
    let port = authority.port_u16().unwrap_or(443);
    let host = authority.host();
    let patience = gate.config().limits.connect;
    let parsed = parse_host(host.trim_start_matches('[').trim_end_matches(']')).map_err(Refused::from)?;
    let found = match &parsed {
        Host::Address(address) => vec![*address],
        Host::Name(name) => upstream::resolve(name, patience).await.map_err(Refused::from)?,
    };
    let candidates = reachable(gate, &found, port)?;
    let connected =
        upstream::connect(&candidates, Marking::from(TrafficClass::Background).into(), patience).await;
    let connected = connected.map_err(|reason| failed(format!("{host}: {}", reason.says())))?;
    let server = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned())
        .map_err(|_| malformed("the host has no name"))?;
    let stream = tokio::time::timeout(patience, tls.connect(server, connected.stream)).await;
    let stream = stream
        .map_err(|_| failed(format!("{host} does not answer")))?
        .map_err(|error| failed(format!("{host} is not who it says: {error}")))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(format!("{host}: {error}")))?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(USER_AGENT, concat!("mexegate/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(error.to_string()))?;
    let response = tokio::time::timeout(SILENCE, sender.send_request(request)).await;
    response
        .map_err(|_| failed(format!("{host} is silent")))?
        .map_err(|error| failed(format!("{host}: {error}")))
}

/// Only global addresses, and never the gate's own: what a name leads to is not for its owner to choose (S6).
fn reachable(gate: &Gate, found: &[IpAddr], port: u16) -> Result<Vec<SocketAddr>, Refused> {
    let policy = gate.policy();
    let here = policy.surroundings();
    if found.iter().any(|address| here.is_listener(*address, port)) {
        return Err(Reason::OwnAddress.into());
    }
    let public = found.iter().filter(|address| here.is_public(**address));
    let candidates: Vec<_> = public.map(|address| SocketAddr::new(*address, port)).collect();
    if candidates.is_empty() { Err(Reason::AddressNotPublic.into()) } else { Ok(candidates) }
}

async fn receive(gate: &Gate, mut body: Incoming) -> Result<NamedTempFile, Refused> {
    let no_room = |error: std::io::Error| {
        let detail = format!("the package cannot be stored: {error}; free some space");
        Refused::about(Reason::JournalUnavailable, detail)
    };
    let most = gate.config().limits.package;
    let mut file = apps::incoming_file(gate).map_err(no_room)?;
    let mut size = 0_u64;
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let frame = match frame.map_err(|_| failed("the server fell silent"))? {
            None => return Ok(file),
            Some(frame) => frame.map_err(|error| failed(format!("the download broke off: {error}")))?,
        };
        let Some(data) = frame.data_ref() else { continue };
        size = size.saturating_add(data.len() as u64);
        if size > most {
            let detail = format!("the package is larger than limits.package = {most} bytes");
            return Err(Refused::about(Reason::PackageTooLarge, detail));
        }
        file.write_all(data).map_err(no_room)?;
    }
}

/// The authorities that servers may lead to are the device's, as its owner keeps them; nothing is built in.
fn tls(gate: &Gate) -> Result<TlsConnector, Refused> {
    let path = gate.config().trust.servers.clone();
    let unusable = |why: String| failed(format!("`{}`: {why}; see trust.servers", path.display()));
    let bytes = gate.guard.read(&path, LARGEST_LIST).map_err(|error| failed(error.to_string()))?;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        // One that cannot be read keeps only itself out.
        let _ = authorities.add(certificate);
    }
    if authorities.is_empty() {
        return Err(unusable("there is no authority in it".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
