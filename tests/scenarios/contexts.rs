//! Asking a modem about data contexts over a real serial port (a pseudo terminal) that card and calls share: answers reach
//! whoever asked, what the modem says on its own is heard, and nothing hangs on a modem that answers wrongly or not at all.
//! The fake modem is checked by Debian's `chat` first.

use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use mexe_card::contexts::Patience;
use mexe_card::modem::Timing;
use mexe_card::watch::Options;
use mexe_card::{ContextFault, Contexts, Modem, Watch};
use mexe_forge::usim::{Card, CardKind};
use mexe_model::CallId;
use mexe_wire::pdp::{self, Cause, Command, Event};
use mexe_wire::telephone::{EmergencyNumbers, Number};
use rig::{ContextHabits, FakeModem, Habits, VoiceHabits, Wrong};

fn modem(contexts: ContextHabits) -> FakeModem {
    let habits = Habits { contexts: Some(contexts), ..Habits::default() };
    FakeModem::start(Some(&Card::new(CardKind::Usim)), habits)
}

fn timing() -> Timing {
    Timing {
        answer: Duration::from_millis(300),
        quiet: Duration::from_millis(30),
        busy: Duration::from_millis(5),
        contexts: Patience { network: Duration::from_millis(600), whole: Duration::from_secs(5) },
        ..Timing::default()
    }
}

/// Runs a conversation beside a watch on the card, which owns the port.
fn talk<T>(modem: &FakeModem, talk: impl AsyncFnOnce(Contexts, mexe_card::Voice) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let port = mexe_card::serial::open(modem.port().to_str().unwrap(), 115_200).unwrap();
        let opened = Modem::open(port, timing()).await.unwrap();
        let mut watch = Watch::new(opened, Options { poll: Duration::from_millis(50), ..Options::default() });
        let (contexts, voice) = (watch.contexts(), watch.voice());
        tokio::select! {
            said = talk(contexts, voice) => said,
            () = async { while watch.next().await.is_ok() {} std::future::pending().await } => unreachable!(),
        }
    })
}

#[test]
fn debians_chat_negotiates_with_the_fake_modem() {
    let modem = modem(ContextHabits::default());
    let port = std::fs::OpenOptions::new().read(true).write(true).open(modem.port()).unwrap();
    let script = [
        "ABORT",
        "ERROR",
        "TIMEOUT",
        "5",
        "",
        "ATE0",
        "OK",
        "AT+CMEE=1",
        "OK",
        "AT+CGEREP=2,1",
        "OK",
        "AT+CGACT?",
        "+CGACT: 1,1",
        "",
        "OK",
        "AT+CGDSCONT=2,1",
        "OK",
        // More than there is: 200 of the 128 kbit/s up.
        "AT+CGEQREQ=2,0,200,64,200,64,0,1400,\"7E3\",\"1E5\",0,130,0,1,0",
        "OK",
        "AT+CGTFT=2,1,0,,,,,,\"184.252\"",
        "OK",
        "AT+CGACT=1,2",
        "+CGEV: ME ACT 1,2,0",
        "",
        "OK",
        "AT+CGEQNEG=2",
        "+CGEQNEG: 2,0,200,64,128,64,0,1400,\"7E3\",\"1E5\",0,130,0",
        "",
        "OK",
        "AT+CGACT=0,2",
        "OK",
        "AT+CGDSCONT=2",
        "OK",
        "AT+CGACT=1,9",
        "+CME ERROR: 143",
    ];
    let script: Vec<&str> =
        script.into_iter().map(|word| if word == "ERROR" { "NO CARRIER" } else { word }).collect();
    let status = Process::new("/usr/sbin/chat")
        .args(["-v", "-s"])
        .args(script)
        .stdin(Stdio::from(port.try_clone().unwrap()))
        .stdout(Stdio::from(port))
        .stderr(Stdio::null())
        .status()
        .expect("chat is installed (Debian: ppp)");
    assert!(status.success(), "{status}; it heard {:?}", modem.heard());
}

#[test]
fn contexts_are_asked_about_while_the_card_is_watched() {
    for (piece, echo) in [(0, true), (1, false), (3, true)] {
        let modem = modem(ContextHabits::default());
        modem.change(|habits| {
            (habits.piece, habits.echo) = (piece, echo);
            habits.chatter = vec!["+CREG: 1".to_owned(), "+CGEV: NW CLASS \"B\"".to_owned()];
        });
        talk(&modem, async |contexts, _| {
            let states = contexts.ask(Command::States).await.unwrap();
            assert_eq!(pdp::context_states(&states), [pdp::ContextState { cid: 1, active: true }]);
            assert_eq!(
                contexts.ask(Command::SecondaryRange).await.map(|l| pdp::cids_of_range(&l)),
                Ok(vec![1, 2, 3, 4])
            );
            let given = contexts.ask(Command::Negotiated(1)).await.unwrap();
            assert!(pdp::negotiated(&given, 1).unwrap().starts_with("3,2000,8000,0,0,"), "{given:?}");
        });
        assert!(modem.heard().iter().any(|line| line.starts_with("AT+CRSM")), "the card was read meanwhile");
    }
}

#[test]
fn what_the_modem_says_on_its_own_is_heard() {
    let modem = modem(ContextHabits::default());
    talk(&modem, async |contexts, _| {
        let mut events = contexts.listen();
        contexts.ask(Command::ReportEvents).await.unwrap();
        contexts.ask(Command::ReportRates).await.unwrap();
        modem.network_modifies(1, |given| given.maximum = (64, 128));
        assert_eq!(events.recv().await, Ok(Event::Modified { cid: 1, reasons: Some(2) }));
        modem.recommends(500, 1);
        assert_eq!(events.recv().await, Ok(Event::Recommended { rate: 500, up: true, cids: vec![1] }));
        modem.network_drops(1);
        assert_eq!(events.recv().await, Ok(Event::Changed));
    });
}

#[test]
fn every_error_of_the_standard_comes_back_by_its_name() {
    let modem = modem(ContextHabits::default());
    talk(&modem, async |contexts, _| {
        for cause in Cause::all() {
            let wrong = Wrong::Error(Some(cause.number()));
            modem.with_network(|network| network.wrong = vec![("AT+CGACT=", wrong)]);
            let fault = contexts.ask(Command::Activate { cid: 1, active: true }).await.unwrap_err();
            let ContextFault::Refused { cause: named, .. } = fault else { panic!("{fault}") };
            assert_eq!(named, Some(cause));
        }
        // In words, and without any.
        modem.change(|habits| habits.verbose = true);
        modem.with_network(|network| network.wrong = vec![("AT+CGACT=", Wrong::Error(Some(148)))]);
        let fault = contexts.ask(Command::Activate { cid: 1, active: true }).await.unwrap_err();
        assert!(matches!(fault, ContextFault::Refused { cause: Some(cause), .. } if cause.number() == 148));
        modem.with_network(|network| network.wrong = vec![("AT+CGACT=", Wrong::Error(None))]);
        let fault = contexts.ask(Command::Activate { cid: 1, active: true }).await.unwrap_err();
        assert!(matches!(fault, ContextFault::Refused { cause: None, .. }), "{fault}");
    });
}

#[test]
fn a_modem_that_answers_nothing_half_a_line_or_late_is_given_up_in_time_and_asked_again() {
    let modem = modem(ContextHabits::default());
    talk(&modem, async |contexts, _| {
        for wrong in [Wrong::Silent, Wrong::Half] {
            modem.with_network(|network| network.wrong = vec![("AT+CGEQNEG", wrong)]);
            let begun = Instant::now();
            let fault = contexts.ask(Command::Negotiated(1)).await.unwrap_err();
            assert!(matches!(fault, ContextFault::Silent { .. }), "{fault}");
            assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
            modem.with_network(|network| network.wrong.clear());
            let given = contexts.ask(Command::Negotiated(1)).await.unwrap();
            assert!(pdp::negotiated(&given, 1).is_some(), "{given:?}");
        }
        // Longer than anybody waits; its late answer is nobody's.
        modem.with_network(|network| network.network = Duration::from_millis(900));
        let fault = contexts.ask(Command::Modify(1)).await.unwrap_err();
        assert!(matches!(fault, ContextFault::Silent { .. }), "{fault}");
        assert_eq!(pdp::context_states(&contexts.ask(Command::States).await.unwrap()).len(), 1);
    });
}

#[test]
fn nothing_waits_for_the_network_while_there_is_a_call() {
    let modem = modem(ContextHabits::default());
    modem.change(|habits| habits.calls = VoiceHabits::default());
    talk(&modem, async |contexts, voice| {
        let number = Number::parse("+4930123456", &EmergencyNumbers::default()).unwrap();
        let call = voice.dial(CallId(1), &number).await.unwrap();
        let fault = contexts.ask(Command::Activate { cid: 1, active: true }).await.unwrap_err();
        assert!(matches!(fault, ContextFault::ModemBusy { .. }), "{fault}");
        // What the modem answers by itself, it is asked.
        assert!(contexts.ask(Command::States).await.is_ok());
        call.hang_up().await.unwrap();
        assert!(contexts.ask(Command::Activate { cid: 1, active: true }).await.is_ok());
    });
}

#[test]
fn whoever_asks_a_modem_that_is_gone_is_told() {
    let modem = modem(ContextHabits::default());
    let contexts = talk(&modem, async |contexts, _| contexts);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        contexts.closed().await;
        assert_eq!(contexts.ask(Command::States).await, Err(ContextFault::ModemGone));
    });
}
