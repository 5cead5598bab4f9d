//! Quality of service from a modem: what is asked for, what the network makes of it, and that whatever goes wrong has its
//! name and leaves the modem in order. The gate's own control over a real serial port, against a fake network.

use std::sync::Arc;
use std::time::Duration;

use mexe_card::contexts::Patience;
use mexe_card::modem::Timing;
use mexe_card::{Modem, Watch};
use mexe_forge::usim::{Card, CardKind};
use mexe_model::BitRate;
use mexe_qos::attributes::{SourceStatistics, TransferDelay};
use mexe_qos::{Attributes, Rate, Thp, TrafficClass};
use mexe_wire::pdp::{Cause, PdpType};
use mexegate::bearer::{Bearer, BearerEvent, Bearers, Capacity, Packets, Request, What};
use mexegate::config::{self, BearerKind, ModemSettings};
use mexegate::observe::Metrics;
use rig::{ContextHabits, FakeModem, Habits, Wrong};
use tokio::sync::broadcast::Receiver;

struct Scene<'a> {
    modem: &'a FakeModem,
    bearer: &'a Bearer,
    events: Receiver<BearerEvent>,
}

impl Scene<'_> {
    /// Whatever but where the modem is registered: `accounting` has that.
    async fn event(&mut self) -> What {
        loop {
            let event = tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await;
            let what = event.expect("an event in time").unwrap().what;
            if !matches!(what, What::Roaming(_)) {
                return what;
            }
        }
    }

    fn heard(&self, begin: &str) -> Vec<String> {
        self.modem.heard().into_iter().filter(|line| line.starts_with(begin)).collect()
    }

    /// As before anybody asked: the first context alone.
    fn is_in_order(&self) {
        let contexts = self.modem.contexts().contexts;
        assert_eq!(contexts.keys().copied().collect::<Vec<_>>(), [1], "{contexts:?}");
        assert!(contexts[&1].active);
    }
}

fn settings() -> ModemSettings {
    ModemSettings { context: 1, apn: None, packets: PdpType::Ip }
}

fn timing() -> Timing {
    Timing {
        answer: Duration::from_millis(400),
        quiet: Duration::from_millis(20),
        contexts: Patience { network: Duration::from_millis(800), whole: Duration::from_secs(5) },
        ..Timing::default()
    }
}

/// Plays a scene on a bearer whose modem was found.
fn play(habits: ContextHabits, settings: ModemSettings, scene: impl AsyncFnOnce(Scene<'_>)) {
    let habits = Habits { contexts: Some(habits), ..Habits::default() };
    let modem = FakeModem::start(Some(&Card::new(CardKind::Usim)), habits);
    let configured = config::Bearer {
        name: "mobile".into(),
        kind: BearerKind::Modem,
        modem: settings,
        ..config::Bearer::unlimited()
    };
    let metrics = Metrics::new().unwrap();
    let bearers = Bearers::new(&[configured], metrics.bearers());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let port = mexe_card::serial::open(modem.port().to_str().unwrap(), 115_200).unwrap();
        let mut watch =
            Watch::new(Modem::open(port, timing()).await.unwrap(), mexe_card::watch::Options::default());
        let control = Arc::clone(bearers.modem("mobile").unwrap());
        let events = bearers.watch();
        control.attach(watch.contexts());
        tokio::spawn(control.run());
        let played = scene(Scene { modem: &modem, bearer: bearers.get("mobile").unwrap(), events });
        tokio::select! {
            () = played => {}
            () = async { while watch.next().await.is_ok() {} std::future::pending().await } => unreachable!(),
        }
    });
}

fn rate(text: &str) -> BitRate {
    text.parse().unwrap()
}

fn wished(class: TrafficClass, up: &str, down: &str) -> Attributes {
    let (up, down) = (Some(Rate::from(rate(up))), Some(Rate::from(rate(down))));
    Attributes {
        class: Some(class),
        max_bitrate_up: up,
        max_bitrate_down: down,
        guaranteed_bitrate_up: up,
        guaranteed_bitrate_down: down,
        ..Attributes::default()
    }
}

fn voice(up: &str, down: &str) -> Request {
    let wished = Attributes {
        transfer_delay: TransferDelay::new(130),
        source_statistics: SourceStatistics::Speech,
        ..wished(TrafficClass::Conversational, up, down)
    };
    let packets = Packets {
        remote: Some("192.0.2.7".parse().unwrap()),
        port: Some(5004),
        protocol: Some(17),
        dscp: Some(46),
    };
    Request { wished, least: Capacity::default(), packets }
}

fn capacity(up: &str, down: &str) -> Capacity {
    Capacity { up: Some(rate(up)), down: Some(rate(down)) }
}

#[test]
fn a_voice_stream_gets_a_context_of_its_own_and_gives_it_back() {
    play(ContextHabits::default(), settings(), async |mut scene| {
        assert_eq!(scene.event().await, What::Found(capacity("2 Mbit/s", "8 Mbit/s")));
        let granted = scene.bearer.negotiate(&voice("31 kbit/s", "32 kbit/s")).await.unwrap();
        assert_eq!(granted.attributes.guaranteed_up(), Some(rate("31 kbit/s")));
        assert_eq!(granted.attributes.guaranteed_down(), Some(rate("32 kbit/s")));
        assert_eq!(granted.attributes.transfer_delay, TransferDelay::new(130));
        let context = &scene.modem.contexts().contexts[&2];
        assert_eq!((context.primary, context.active), (Some(1), true));
        let filter = r#"1,2,"192.0.2.7.255.255.255.255",17,,"5004.5004",,"184.252""#;
        assert_eq!(context.filter.as_deref(), Some(filter));
        // The AT values, which are not those of the information element; uplink first (traps 1 and 2).
        assert_eq!(
            scene.heard("AT+CGEQREQ=2"),
            [r#"AT+CGEQREQ=2,0,31,32,31,32,2,0,"0E0","0E0",3,130,0,1,0"#]
        );
        scene.bearer.release(granted.session).await.unwrap();
        scene.is_in_order();
    });
}

/// Trap 1 and the mapping of classes, where the modem knows EPS profiles only.
#[test]
fn trap_1_where_a_modem_knows_eps_alone_it_is_asked_downlink_first() {
    let eps = ContextHabits { umts: false, eps: true, ..ContextHabits::default() };
    play(eps, settings(), async |mut scene| {
        assert_eq!(scene.event().await, What::Found(capacity("2 Mbit/s", "8 Mbit/s")));
        let granted = scene.bearer.negotiate(&voice("31 kbit/s", "32 kbit/s")).await.unwrap();
        assert_eq!(scene.heard("AT+CGEQOS="), ["AT+CGEQOS=?", "AT+CGEQOS=2,1,32,31,32,31"]);
        assert_eq!(granted.attributes.guaranteed_up(), Some(rate("31 kbit/s")));
        assert_eq!(granted.attributes.class, Some(TrafficClass::Conversational));
        let web = Attributes { traffic_handling_priority: Some(Thp::SECOND), ..Attributes::default() };
        let web = Attributes { class: Some(TrafficClass::Interactive), ..web };
        let request = Request { wished: web, ..voice("1 kbit/s", "1 kbit/s") };
        let granted = scene.bearer.negotiate(&request).await.unwrap();
        assert_eq!(scene.heard("AT+CGEQOS=3"), ["AT+CGEQOS=3,7"], "no rates where none are guaranteed");
        assert_eq!(
            granted.attributes.max_down(),
            Some(rate("8 Mbit/s")),
            "what all of them may use together"
        );
    });
}

/// Trap 8.
#[test]
fn trap_8_the_first_context_is_never_asked_for_conversational_or_streaming() {
    let single = ContextHabits { secondary: false, ..ContextHabits::default() };
    play(single, settings(), async |mut scene| {
        scene.event().await;
        for class in [TrafficClass::Conversational, TrafficClass::Streaming] {
            let request =
                Request { wished: wished(class, "1 kbit/s", "1 kbit/s"), ..voice("1 kbit/s", "1 kbit/s") };
            let fault = scene.bearer.negotiate(&request).await.unwrap_err();
            assert_eq!(fault.code(), "not-supported", "{fault}");
        }
        assert_eq!(scene.heard("AT+CGEQREQ="), ["AT+CGEQREQ=?"], "it was not even asked");
        // Interactive it is asked for, by one at a time, and afterwards it is as before.
        let web = wished(TrafficClass::Interactive, "1 Mbit/s", "4 Mbit/s");
        let web = Request { wished: web, ..voice("1 kbit/s", "1 kbit/s") };
        let granted = scene.bearer.negotiate(&web).await.unwrap();
        assert_eq!(granted.attributes.max_down(), Some(rate("4 Mbit/s")));
        assert_eq!(scene.bearer.negotiate(&web).await.unwrap_err().code(), "busy");
        let live = Request { wished: wished(TrafficClass::Streaming, "1 kbit/s", "1 kbit/s"), ..web };
        let fault = scene.bearer.modify(granted.session, &live).await.unwrap_err();
        assert_eq!(fault.code(), "not-supported");
        scene.bearer.release(granted.session).await.unwrap();
        let first = scene.modem.contexts().contexts[&1].given.clone().unwrap();
        assert_eq!((first.class, first.maximum), (3, (2000, 8000)));
    });
}

#[test]
fn the_subscription_lowers_a_request_and_the_least_that_is_wanted_counts() {
    play(ContextHabits::default(), settings(), async |mut scene| {
        scene.event().await;
        // 128 kbit/s up and 256 down are guaranteed in all.
        let granted = scene.bearer.negotiate(&voice("100 kbit/s", "300 kbit/s")).await.unwrap();
        assert_eq!(granted.attributes.guaranteed_down(), Some(rate("256 kbit/s")));
        let least = capacity("64 kbit/s", "64 kbit/s");
        let picky = Request { least, ..voice("100 kbit/s", "100 kbit/s") };
        let fault = scene.bearer.negotiate(&picky).await.unwrap_err();
        assert_eq!(fault.code(), "not-accepted", "{fault}");
        assert!(scene.heard("AT+CGEQMIN=3").contains(&"AT+CGEQMIN=3,0,64,64,64,64".to_owned()));
        // A modem that does not look at the minimum is looked at.
        scene.bearer.release(granted.session).await.unwrap();
        scene.modem.with_network(|network| network.wrong = vec![("AT+CGEQMIN", Wrong::Error(None))]);
        let least = capacity("129 kbit/s", "1 kbit/s");
        let fault = scene
            .bearer
            .negotiate(&Request { least, ..voice("200 kbit/s", "200 kbit/s") })
            .await
            .unwrap_err();
        assert_eq!(
            (fault.code(), fault.to_string().contains("128 kbit/s up")),
            ("too-little", true),
            "{fault}"
        );
        scene.is_in_order();
    });
}

#[test]
fn a_session_is_modified_and_stays_as_it_was_when_that_is_refused() {
    play(ContextHabits::default(), settings(), async |mut scene| {
        scene.event().await;
        let granted = scene.bearer.negotiate(&voice("31 kbit/s", "31 kbit/s")).await.unwrap();
        let given = scene.bearer.modify(granted.session, &voice("64 kbit/s", "64 kbit/s")).await.unwrap();
        assert_eq!(given.guaranteed_up(), Some(rate("64 kbit/s")));
        let least = capacity("500 kbit/s", "1 kbit/s");
        let more = Request { least, ..voice("500 kbit/s", "64 kbit/s") };
        assert!(scene.bearer.modify(granted.session, &more).await.is_err());
        let context = scene.modem.contexts().contexts[&2].clone();
        assert_eq!((context.active, context.given.unwrap().guaranteed), (true, (64, 64)));
    });
}

#[test]
fn what_the_network_changes_is_told() {
    play(ContextHabits::default(), settings(), async |mut scene| {
        scene.event().await;
        let granted = scene.bearer.negotiate(&voice("64 kbit/s", "64 kbit/s")).await.unwrap();
        scene.modem.network_modifies(2, |given| given.guaranteed = (16, 64));
        let What::Renegotiated(session, given) = scene.event().await else { panic!("renegotiated") };
        assert_eq!((session, given.guaranteed_up()), (granted.session, Some(rate("16 kbit/s"))));
        // The base station's word is the capacity while it is less than what was given.
        scene.modem.recommends(500, 1);
        assert_eq!(scene.event().await, What::Capacity(capacity("500 kbit/s", "8 Mbit/s")));
        scene.modem.recommends(4000, 2);
        assert_eq!(scene.event().await, What::Capacity(capacity("500 kbit/s", "4 Mbit/s")));
        scene.modem.network_modifies(1, |given| given.maximum = (100, 8000));
        assert_eq!(scene.event().await, What::Capacity(capacity("100 kbit/s", "4 Mbit/s")));
        scene.modem.network_drops(2);
        let What::SessionLost(session, why) = scene.event().await else { panic!("ended") };
        assert_eq!((session, why.code), (granted.session, "network-ended"));
        scene.modem.network_drops(1);
        let What::Lost(why) = scene.event().await else { panic!("lost") };
        assert_eq!(why.code, "no-context");
        let fault = scene.bearer.negotiate(&voice("1 kbit/s", "1 kbit/s")).await.unwrap_err();
        assert_eq!(fault.code(), "bearer-down");
        scene.bearer.release(granted.session).await.unwrap();
    });
}

#[test]
fn the_gate_connects_the_context_where_it_is_told_the_access_point() {
    let own = ModemSettings { context: 3, apn: Some("internet".into()), ..settings() };
    play(ContextHabits::default(), own, async |mut scene| {
        assert!(matches!(scene.event().await, What::Found(_)));
        assert_eq!(scene.heard("AT+CGDCONT="), [r#"AT+CGDCONT=3,"IP","internet""#]);
        assert!(scene.modem.contexts().contexts[&3].active);
        // And again when the network took it away.
        scene.modem.network_drops(3);
        // What it carries may be told before.
        while !matches!(scene.event().await, What::Lost(_)) {}
        while !matches!(scene.event().await, What::Found(_)) {}
    });
    let wrong = ModemSettings { context: 3, apn: Some("elsewhere".into()), ..settings() };
    play(ContextHabits::default(), wrong, async |scene| {
        let mut status = scene.bearer.watch();
        let down = status
            .wait_for(|status| status.down.as_ref().is_some_and(|why| why.says.contains("apn-unknown")));
        tokio::time::timeout(Duration::from_secs(10), down).await.unwrap().unwrap();
    });
}

#[test]
fn trap_9_every_error_of_the_network_has_a_named_reason_and_leaves_the_modem_in_order() {
    play(ContextHabits::default(), settings(), async |mut scene| {
        scene.event().await;
        let request = voice("31 kbit/s", "31 kbit/s");
        let numbers = Cause::all().map(|cause| Some(cause.number())).chain([None, Some(999)]);
        let mut named = Vec::new();
        for number in numbers {
            scene.modem.with_network(|network| network.wrong = vec![("AT+CGACT=1", Wrong::Error(number))]);
            let fault = scene.bearer.negotiate(&request).await.unwrap_err();
            named.push((number.unwrap_or(0), fault.code()));
            scene.is_in_order();
        }
        let code = |number| named.iter().find(|(known, _)| *known == number).unwrap().1;
        // On UMTS, "QoS not accepted" has no number: ERROR, 131 and 148 stand for it.
        for number in [0, 126, 131, 137, 148] {
            assert_eq!(code(number), "not-accepted", "{number}");
        }
        let others = [
            (53, "bearer-down"),
            (133, "not-permitted"),
            (178, "busy"),
            (181, "not-supported"),
            (127, "failed"),
        ];
        for (number, expected) in others {
            assert_eq!(code(number), expected, "{number}");
        }
        scene.modem.with_network(|network| network.wrong.clear());
        assert!(scene.bearer.negotiate(&request).await.is_ok());
    });
}

#[test]
fn garbage_silence_and_half_a_line_are_named_and_nothing_hangs() {
    let cases = [
        (("AT+CGEQNEG=2", Wrong::Says("+CGEQNEG: 2,what?")), "nonsense"),
        (("AT+CGEQNEG=2", Wrong::Says("+CGEQNEG: 7,0,1,1,1,1")), "nonsense"),
        (("AT+CGEQNEG=2", Wrong::Silent), "silent"),
        (("AT+CGEQNEG=2", Wrong::Half), "silent"),
        (("AT+CGACT=1", Wrong::Silent), "silent"),
        (("AT+CGEQREQ=2", Wrong::Error(None)), "not-supported"),
        (("AT+CGTFT", Wrong::Error(Some(142))), "failed"),
        (("AT+CGDSCONT=2,1", Wrong::Error(Some(3))), "failed"),
    ];
    play(ContextHabits::default(), settings(), async |mut scene| {
        scene.event().await;
        for (wrong, code) in cases {
            scene.modem.with_network(|network| network.wrong = vec![wrong.clone()]);
            let request = voice("31 kbit/s", "31 kbit/s");
            let asked = scene.bearer.negotiate(&request);
            let fault =
                tokio::time::timeout(Duration::from_secs(8), asked).await.expect("in time").unwrap_err();
            assert_eq!(fault.code(), code, "{wrong:?}: {fault}");
            scene.is_in_order();
        }
        scene.modem.with_network(|network| network.wrong.clear());
        scene.modem.change(|habits| habits.piece = 2);
        assert!(scene.bearer.negotiate(&voice("31 kbit/s", "31 kbit/s")).await.is_ok());
    });
}

#[test]
fn a_request_that_is_given_up_leaves_no_context_behind() {
    let slow = ContextHabits { network: Duration::from_millis(400), ..ContextHabits::default() };
    play(slow, settings(), async |mut scene| {
        scene.event().await;
        let request = voice("31 kbit/s", "31 kbit/s");
        let asked = scene.bearer.negotiate(&request);
        assert!(tokio::time::timeout(Duration::from_millis(200), asked).await.is_err());
        tokio::time::timeout(Duration::from_secs(5), async {
            while scene.modem.contexts().contexts.contains_key(&2) || scene.heard("AT+CGACT=0,2").is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("it is given back");
        scene.is_in_order();
    });
}
