//! What holds for every bearer: changes are told once, a static bearer grants what it carries, and a control that never
//! answers is given up.

use std::sync::Arc;

use futures_util::FutureExt;
use mexe_qos::{Attributes, Rate, TrafficClass};
use prometheus::{IntCounterVec, Opts};
use tokio::sync::broadcast;

use super::fixed::Fixed;
use super::*;
use crate::config;
use crate::observe::Metrics;

fn rate(text: &str) -> BitRate {
    text.parse().unwrap()
}

fn negotiations() -> IntCounterVec {
    IntCounterVec::new(Opts::new("negotiations", "none"), &["bearer", "result"]).unwrap()
}

fn bearers(up: Option<&str>) -> (Bearers, IntCounterVec) {
    let metrics = Metrics::new().unwrap();
    let bearer = config::Bearer { name: "wire".into(), uplink: up.map(rate), ..config::Bearer::unlimited() };
    (Bearers::new(&[bearer], metrics.bearers()), metrics.bearers().negotiations.clone())
}

fn request(up: &str, least: Option<&str>) -> Request {
    Request {
        wished: Attributes {
            class: Some(TrafficClass::Streaming),
            max_bitrate_up: Some(Rate::from(rate(up))),
            guaranteed_bitrate_up: Some(Rate::from(rate(up))),
            ..Attributes::default()
        },
        least: Capacity { up: least.map(rate), down: None },
        packets: Packets::default(),
    }
}

#[tokio::test]
async fn a_static_bearer_grants_what_it_carries_and_counts_it() {
    let (bearers, counted) = bearers(Some("1 Mbit/s"));
    let bearer = bearers.get("wire").unwrap();
    let whole = bearer.negotiate(&request("64 kbit/s", None)).await.unwrap();
    assert_eq!(whole.attributes, request("64 kbit/s", None).wished);
    let less = bearer.negotiate(&request("2 Mbit/s", Some("1 Mbit/s"))).await.unwrap();
    assert_eq!(less.attributes.guaranteed_up(), Some(rate("1 Mbit/s")));
    assert_ne!(whole.session, less.session);
    let fault = bearer.negotiate(&request("2 Mbit/s", Some("2 Mbit/s"))).await.unwrap_err();
    assert_eq!(fault.code(), "too-little");
    let given = bearer.modify(less.session, &request("32 kbit/s", None)).await.unwrap();
    assert_eq!(given.max_up(), Some(rate("32 kbit/s")));
    assert_eq!(bearers.list()[0]["sessions"].as_array().unwrap().len(), 2);
    for granted in [whole, less.clone()] {
        bearer.release(granted.session).await.unwrap();
    }
    assert_eq!(bearers.list()[0]["sessions"], serde_json::json!([]));
    let fault = bearer.modify(less.session, &request("32 kbit/s", None)).await.unwrap_err();
    assert_eq!(fault.code(), "no-session");
    let count = |result: &str| counted.with_label_values(&["wire", result]).get();
    let counts = ["granted", "granted-otherwise", "too-little", "no-session", "silent"].map(count);
    assert_eq!(counts, [2, 1, 1, 1, 0]);
}

#[test]
fn without_a_configuration_there_is_one_bearer_without_limits() {
    let bearers = Bearers::new(&[], Metrics::new().unwrap().bearers());
    let shown = bearers.list();
    assert_eq!(shown.len(), 1);
    assert_eq!((&shown[0]["name"], &shown[0]["state"]), (&"default".into(), &"up".into()));
    assert_eq!((&shown[0]["uplink"], &shown[0]["downlink"]), (&Value::Null, &Value::Null));
    assert!(!bearers.reload(&[]));
}

#[test]
fn a_reload_changes_rates_at_once_and_names_what_waits() {
    let (bearers, _) = bearers(Some("1 Mbit/s"));
    let mut events = bearers.watch();
    let watch = bearers.get("wire").unwrap().watch();
    let faster =
        config::Bearer { name: "wire".into(), uplink: Some(rate("2 Mbit/s")), ..config::Bearer::unlimited() };
    assert!(!bearers.reload(std::slice::from_ref(&faster)));
    assert_eq!(watch.borrow().capacity.up, Some(rate("2 Mbit/s")));
    assert_eq!(events.try_recv().unwrap().what.code(), "capacity");
    assert!(!bearers.reload(std::slice::from_ref(&faster)));
    assert!(events.try_recv().is_err(), "nothing changed");
    let other = config::Bearer { name: "other".into(), ..faster.clone() };
    assert!(bearers.reload(&[faster, other]), "a bearer that comes does so at the next start");
}

#[test]
fn every_change_is_told_once() {
    let (tell, mut told) = broadcast::channel(16);
    let ceiling = Capacity { up: Some(rate("1 Mbit/s")), down: None };
    let report = Report::new("m", ceiling, tell, Why::new("starting", ""));
    let mut next = || told.try_recv().map(|event| event.what);
    report.down(Why::new("modem-gone", ""));
    assert!(next().is_err(), "it was not up");
    let offered = Capacity { up: Some(rate("2 Mbit/s")), down: Some(rate("8 Mbit/s")) };
    let carries = Capacity { up: ceiling.up, ..offered };
    report.up(offered);
    report.up(offered);
    assert_eq!((next(), next().is_err()), (Ok(What::Found(carries)), true));
    let session = Report::next_session();
    let given = request("64 kbit/s", None).wished;
    report.granted(session, given, given);
    report.gives(session, given);
    assert!(next().is_err(), "as before");
    let less = request("32 kbit/s", None).wished;
    report.gives(session, less);
    assert_eq!(next(), Ok(What::Renegotiated(session, Box::new(less))));
    report.offers(Capacity { up: Some(rate("64 kbit/s")), ..offered });
    assert_eq!(next().unwrap().code(), "capacity");
    let why = Why::new("network-ended", "");
    report.ended(session, why.clone());
    report.ended(session, why.clone());
    assert_eq!((next(), next().is_err()), (Ok(What::SessionLost(session, why.clone())), true));
    report.granted(session, given, given);
    report.down(why.clone());
    report.down(why.clone());
    assert_eq!((next(), next().is_err()), (Ok(What::Lost(why)), true));
    assert!(report.sessions().is_empty(), "they went with the bearer");
}

struct Deaf;

impl NetworkControl for Deaf {
    fn negotiate<'a>(&'a self, _: &'a Request) -> Negotiating<'a, Granted> {
        std::future::pending().boxed()
    }

    fn modify<'a>(&'a self, _: SessionId, _: &'a Request) -> Negotiating<'a, Attributes> {
        std::future::pending().boxed()
    }

    fn release(&self, _: SessionId) -> Negotiating<'_, ()> {
        std::future::pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_never_answers_is_given_up() {
    let (tell, _) = broadcast::channel(16);
    let report = Arc::new(Report::new("deaf", Capacity::default(), tell, Why::new("starting", "")));
    drop(Fixed::new(Arc::clone(&report)));
    let bearer = Bearer::of(report, Arc::new(Deaf), negotiations());
    assert_eq!(bearer.negotiate(&request("1 kbit/s", None)).await.unwrap_err().code(), "silent");
    assert_eq!(bearer.modify(SessionId(1), &request("1 kbit/s", None)).await.unwrap_err().code(), "silent");
    assert_eq!(bearer.release(SessionId(1)).await.unwrap_err().code(), "silent");
}

#[test]
fn every_fault_has_a_name_of_its_own() {
    let text = String::new;
    let all = [
        NegotiationFault::BearerDown(Why::new("x", "")),
        NegotiationFault::Busy(text()),
        NegotiationFault::Failed(text()),
        NegotiationFault::NoSession,
        NegotiationFault::Nonsense(text()),
        NegotiationFault::NotAccepted(text()),
        NegotiationFault::NotPermitted(text()),
        NegotiationFault::NotSupported(text()),
        NegotiationFault::Silent(text()),
        NegotiationFault::TooLittle(text()),
    ];
    assert_eq!(all.map(|fault| fault.code()), NegotiationFault::CODES);
}
