//! Voice calls and tones through a modem, over a real serial port (a pseudo terminal): every way in which modems dial, say
//! what becomes of a call, take tones and end it, beside the watch on the card that shares the port. The fake modem is
//! checked by Debian's `chat` first.

use std::process::{Command, Stdio};
use std::time::Duration;

use mexe_card::calls::Pace;
use mexe_card::modem::Timing;
use mexe_card::watch::Options;
use mexe_card::{Call, CallFault, End, Event, Modem, State, Voice, Watch};
use mexe_forge::usim::{Card, CardKind};
use mexe_model::CallId;
use mexe_wire::telephone::{EmergencyNumbers, Number, NumberError, ServiceCode, Tones};
use rig::{FakeModem, Habits, Obedience, Progress, VoiceHabits};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const HIS: &str = "+493012345";

fn timing() -> Timing {
    Timing {
        answer: Duration::from_secs(2),
        quiet: Duration::from_millis(30),
        busy: Duration::from_millis(5),
        calls: Pace {
            look: Duration::from_millis(20),
            refusal: Duration::from_millis(300),
            appear: Duration::from_secs(2),
            ringing: Duration::from_secs(20),
            tone: Duration::from_secs(2),
            stop: Duration::from_secs(10),
        },
        ..Timing::default()
    }
}

fn number(text: &str) -> Number {
    Number::parse(text, &EmergencyNumbers::default()).unwrap()
}

fn tones(text: &str) -> Tones {
    Tones::parse(text).unwrap()
}

/// A modem whose card is watched, and the line over it.
struct World {
    modem: FakeModem,
    voice: Voice,
    /// What the watch tells.
    events: mpsc::UnboundedReceiver<Event>,
    watching: JoinHandle<()>,
}

impl World {
    async fn with(habits: Habits, timing: Timing) -> Self {
        let modem = FakeModem::start(Some(&Card::new(CardKind::Usim)), habits);
        let port = mexe_card::serial::open(modem.port().to_str().unwrap(), 115_200).unwrap();
        let options = Options {
            poll: Duration::from_millis(20),
            between_readings: Duration::ZERO,
            ..Options::default()
        };
        let mut watch = Watch::new(Modem::open(port, timing).await.unwrap(), options);
        let voice = watch.voice();
        let (tell, events) = mpsc::unbounded_channel();
        let watching = tokio::spawn(async move {
            while let Ok(event) = watch.next().await {
                let _ = tell.send(event);
            }
        });
        Self { modem, voice, events, watching }
    }

    async fn new(calls: VoiceHabits) -> Self {
        Self::with(Habits { calls, ..Habits::default() }, timing()).await
    }

    async fn dial(&self) -> Result<Call, CallFault> {
        patiently(self.voice.dial(CallId(1), &number(HIS))).await
    }

    /// A call that was answered.
    async fn active(calls: VoiceHabits) -> (Self, Call) {
        let world = Self::new(calls).await;
        let mut call = world.dial().await.unwrap();
        world.modem.progress(Progress::Answered);
        reaches(&mut call, State::Active).await;
        (world, call)
    }

    async fn event(&mut self) -> Event {
        patiently(self.events.recv()).await.expect("the watch goes on")
    }

    fn dialled(&self) -> Vec<String> {
        self.modem.heard().into_iter().filter(|line| line.starts_with("ATD")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it comes")
}

async fn reaches(call: &mut Call, wanted: State) {
    while call.state() != wanted {
        let state = patiently(call.next_state()).await;
        assert!(state == wanted || !matches!(state, State::Ended(_)), "{state:?} and never {wanted:?}");
    }
}

async fn ends(call: &mut Call) -> End {
    loop {
        if let State::Ended(end) = call.state() {
            return end;
        }
        patiently(call.next_state()).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    patiently(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[test]
fn debians_chat_dials_the_fake_modem() {
    let over = |words| vec![(Duration::from_millis(50), Progress::Over(words))];
    let cases = [
        (VoiceHabits::default(), 0),
        (
            VoiceHabits {
                answers_late: true,
                course: vec![(Duration::ZERO, Progress::Answered)],
                ..VoiceHabits::default()
            },
            0,
        ),
        // The codes of chat: 4 is the first word that it gives up at, 5 the second and so on.
        (VoiceHabits { answers_late: true, course: over("BUSY"), ..VoiceHabits::default() }, 4),
        (VoiceHabits { answers_late: true, course: over("NO CARRIER"), ..VoiceHabits::default() }, 5),
        (VoiceHabits { answers_late: true, course: over("NO ANSWER"), ..VoiceHabits::default() }, 6),
        (VoiceHabits { refuses: Some(Some(30)), ..VoiceHabits::default() }, 7),
    ];
    for (calls, code) in cases {
        let shown = format!("{calls:?}");
        let modem = FakeModem::start(None, Habits { calls, ..Habits::default() });
        let port = std::fs::OpenOptions::new().read(true).write(true).open(modem.port()).unwrap();
        let aborts =
            ["ABORT", "BUSY", "ABORT", "NO CARRIER", "ABORT", "NO ANSWER", "ABORT", "+CME ERROR: 30"];
        let script = ["TIMEOUT", "5", "", "ATE0", "OK", "AT+CMEE=1", "OK", "ATD+493012345;", "OK", "AT+CLCC"];
        let end = ["+CLCC: 1,0,", "", "OK", "ATH", "OK", "AT+CLCC", "OK"];
        let status = Command::new("/usr/sbin/chat")
            .args(["-v", "-s"])
            .args(aborts)
            .args(script)
            .args(end)
            .stdin(Stdio::from(port.try_clone().unwrap()))
            .stdout(Stdio::from(port))
            .stderr(Stdio::null())
            .status()
            .expect("chat is installed (Debian: ppp)");
        assert_eq!(status.code(), Some(code), "{shown}: it heard {:?}", modem.heard());
        assert_eq!(modem.calls(), 0, "{shown}");
    }
}

#[tokio::test]
async fn a_call_is_followed_from_dialling_to_its_end() {
    let chatter = ["+CREG: 1", "NO CARRIER", "BUSY", "RING"].map(str::to_owned).to_vec();
    let midway = VoiceHabits { midway: chatter.clone(), session: true, ..VoiceHabits::default() };
    let ways = [
        Habits::default(),
        Habits { echo: false, ..Habits::default() },
        Habits { piece: 3, ..Habits::default() },
        // What is said before and in the middle of each answer is said of something else: the list counts.
        Habits { piece: 7, chatter, calls: midway, ..Habits::default() },
        Habits { verbose: true, busy: 3, ..Habits::default() },
    ];
    for habits in ways {
        let shown = format!("{habits:?}");
        let world = World::with(habits, timing()).await;
        let mut call = world.dial().await.unwrap();
        assert_eq!((call.id(), call.state()), (CallId(1), State::Dialling), "{shown}");
        for (progress, state) in [
            (Progress::Alerting, State::Alerting),
            (Progress::Answered, State::Active),
            (Progress::Held, State::Held),
            (Progress::Answered, State::Active),
        ] {
            world.modem.progress(progress);
            reaches(&mut call, state).await;
        }
        patiently(call.hang_up()).await.unwrap();
        assert_eq!((ends(&mut call).await, world.modem.calls()), (End::HungUp, 0), "{shown}");
        // Again and again, and an end of what is over is no error.
        assert_eq!(patiently(call.next_state()).await, State::Ended(End::HungUp));
        assert_eq!(patiently(call.hang_up()).await, Ok(()));
        assert_eq!(world.dialled(), ["ATD+493012345;"], "{shown}");
    }
}

#[tokio::test]
async fn what_becomes_of_a_call_has_its_name() {
    let over = |words| (Duration::from_millis(60), Progress::Over(words));
    let (alerting, answered) =
        ((Duration::from_millis(60), Progress::Alerting), (Duration::from_millis(60), Progress::Answered));
    for (course, end) in [
        (vec![over("BUSY")], "busy"),
        (vec![alerting, over("BUSY")], "busy"),
        (vec![alerting, over("NO ANSWER")], "not-answered"),
        (vec![over("NO CARRIER")], "not-connected"),
        (vec![over("")], "not-connected"),
        (vec![alerting, answered, over("NO CARRIER")], "hung-up-there"),
        (vec![alerting, answered, over("")], "hung-up-there"),
    ] {
        for answers_late in [false, true] {
            if answers_late && course.last() == Some(&over("")) && course.len() == 1 {
                // Such a modem has to answer something.
                continue;
            }
            let world =
                World::new(VoiceHabits { answers_late, course: course.clone(), ..VoiceHabits::default() })
                    .await;
            let mut call = world.dial().await.unwrap();
            assert_eq!(ends(&mut call).await.code(), end, "{course:?}, late {answers_late}");
            // The line is free again.
            let again = world.dial().await.unwrap();
            drop(again);
            until(|| world.modem.calls() == 0).await;
        }
    }
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_ended_in_time() {
    for answers_late in [false, true] {
        let mut timing = timing();
        timing.calls.ringing = Duration::from_millis(500);
        let calls = VoiceHabits { answers_late, ..VoiceHabits::default() };
        let world = World::with(Habits { calls, ..Habits::default() }, timing).await;
        let mut call = world.dial().await.unwrap();
        assert_eq!(ends(&mut call).await, End::NotAnswered);
        assert_eq!(world.modem.calls(), 0);
    }
}

#[tokio::test]
async fn a_modem_that_answers_late_is_told_nothing_while_it_rings() {
    let mut world = World::new(VoiceHabits { answers_late: true, ..VoiceHabits::default() }).await;
    assert!(matches!(world.event().await, Event::Inserted(_)));
    let mut call = world.dial().await.unwrap();
    let told = world.modem.bytes().len();
    // The card is still watched, by ear.
    world.modem.say("+CPIN: NOT READY");
    assert!(matches!(world.event().await, Event::Removed(_)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.modem.bytes().len(), told, "a byte would have ended the call");
    world.modem.progress(Progress::Answered);
    reaches(&mut call, State::Active).await;
    // And asked again.
    assert!(matches!(world.event().await, Event::Inserted(_)));
    assert_eq!(patiently(call.tones(&tones("1"))).await, Ok(()));
    patiently(call.hang_up()).await.unwrap();

    // One that rings still is stopped by a byte.
    let mut call = world.dial().await.unwrap();
    patiently(call.hang_up()).await.unwrap();
    assert_eq!((ends(&mut call).await, world.modem.calls()), (End::HungUp, 0));
    assert_eq!(world.dialled().len(), 2);
}

#[tokio::test]
async fn a_modem_without_voice_and_a_dial_that_is_refused_have_their_reasons() {
    let world = World::new(VoiceHabits { voice: false, ..VoiceHabits::default() }).await;
    let fault = world.dial().await.unwrap_err();
    assert_eq!((fault.reason().code(), world.dialled().len()), ("no-voice-bearer", 0), "{fault}");

    for (refuses, answer) in [(None, "ERROR"), (Some(30), "+CME ERROR: 30")] {
        for answers_late in [false, true] {
            let calls = VoiceHabits { refuses: Some(refuses), answers_late, ..VoiceHabits::default() };
            let world = World::new(calls).await;
            let fault = world.dial().await.unwrap_err();
            let said = CallFault::ModemRefused { command: "ATD".to_owned(), answer: answer.to_owned() };
            assert_eq!(fault, said);
            assert!(!fault.to_string().contains("12345"));
        }
    }

    let world = World::new(VoiceHabits::default()).await;
    world.modem.change(|habits| habits.silent = true);
    let fault = world.dial().await.unwrap_err();
    assert_eq!((fault.reason().code(), world.dialled().len()), ("upstream-timeout", 0), "{fault}");
}

#[tokio::test]
async fn one_call_at_a_time_and_none_beside_the_users() {
    let (world, call) = World::active(VoiceHabits::default()).await;
    let fault = world.dial().await.unwrap_err();
    assert_eq!((&fault, fault.reason().code()), (&CallFault::LineBusy, "line-busy"));
    patiently(call.hang_up()).await.unwrap();
    world.modem.comes_in(4);
    assert_eq!(world.dial().await.unwrap_err(), CallFault::LineBusy);
    assert_eq!((world.dialled().len(), world.modem.calls()), (1, 1));
}

#[tokio::test]
async fn a_call_that_comes_in_is_told_once_and_left_to_the_user() {
    let mut world = World::new(VoiceHabits::default()).await;
    assert!(matches!(world.event().await, Event::Inserted(_)));
    world.modem.comes_in(4);
    for _ in 0..3 {
        world.modem.say("RING");
        world.modem.say("+CLIP: \"+493099999\",145");
    }
    assert!(matches!(world.event().await, Event::Ringing));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(world.events.try_recv().is_err());
    assert_eq!(world.modem.calls(), 1);
    let answers =
        |line: &String| ["ATA", "ATH", "AT+CHUP", "AT+CHLD"].iter().any(|word| line.starts_with(word));
    assert!(!world.modem.heard().iter().any(answers), "{:?}", world.modem.heard());
}

#[tokio::test]
async fn tones_are_sent_as_the_modem_wants_them() {
    for form in ["_", "\"_\"", "{_,2}"] {
        for piece in [0, 3] {
            let calls = VoiceHabits { tones: form, ..VoiceHabits::default() };
            let world = World::with(Habits { piece, calls, ..Habits::default() }, timing()).await;
            let mut call = world.dial().await.unwrap();
            world.modem.progress(Progress::Answered);
            reaches(&mut call, State::Active).await;
            patiently(call.tones(&tones("0123456789*#ABCD"))).await.unwrap();
            patiently(call.tones(&tones("d42"))).await.unwrap();
            assert_eq!(world.modem.tones(), "0123456789*#ABCDD42", "{form}");
            let asked = world.modem.heard().into_iter().filter(|line| line.starts_with("AT+VTS=")).count();
            // What the modem wants is found out with the first tone.
            assert!(asked <= 19 + 2, "{asked}");
        }
    }
}

#[tokio::test]
async fn tones_go_only_into_the_own_call_and_only_when_it_is_the_open_one() {
    let mut world = World::new(VoiceHabits::default()).await;
    let mut call = world.dial().await.unwrap();
    let fault = patiently(call.tones(&tones("1"))).await.unwrap_err();
    assert_eq!((&fault, fault.reason().code()), (&CallFault::NotActive, "call-not-active"));
    world.modem.progress(Progress::Answered);
    reaches(&mut call, State::Active).await;
    // The user took another call: the tones would go there.
    world.modem.progress(Progress::Held);
    world.modem.comes_in(0);
    assert_eq!(patiently(call.tones(&tones("2"))).await, Err(CallFault::NotActive));
    world.modem.progress(Progress::Answered);
    assert_eq!(patiently(call.tones(&tones("3"))).await, Err(CallFault::NotActive), "two are open");
    world.modem.progress(Progress::Over("NO CARRIER"));
    assert_eq!(ends(&mut call).await, End::HungUpThere);
    assert_eq!(patiently(call.tones(&tones("4"))).await, Err(CallFault::Over(End::HungUpThere)));
    assert_eq!((world.modem.tones(), world.modem.calls()), (String::new(), 1));
    assert!(matches!(world.event().await, Event::Inserted(_)));
}

#[tokio::test]
async fn tones_that_a_modem_does_not_take_are_said_and_never_shown() {
    let (world, call) = World::active(VoiceHabits { tones_max: 2, ..VoiceHabits::default() }).await;
    let fault = patiently(call.tones(&tones("9876"))).await.unwrap_err();
    assert!(matches!(&fault, CallFault::ModemRefused { command, .. } if command == "AT+VTS"), "{fault}");
    assert!(!format!("{fault} {fault:?}").contains(['9', '8', '7', '6']));
    assert_eq!(world.modem.tones(), "98");
    assert_eq!(call.state(), State::Active);
}

#[tokio::test]
async fn a_burst_that_nobody_waits_for_stops_before_its_next_tone() {
    let calls = VoiceHabits { tone: Duration::from_millis(50), ..VoiceHabits::default() };
    let (world, call) = World::active(calls).await;
    let burst = tones("1234567890123456");
    tokio::select! {
        sent = call.tones(&burst) => panic!("{sent:?} before anybody left"),
        () = until(|| world.modem.tones().len() >= 2) => {}
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(world.modem.tones().len() <= 4, "{}", world.modem.tones());
    assert_eq!(call.state(), State::Active);
    assert_eq!(patiently(call.tones(&tones("#"))).await, Ok(()));
}

#[tokio::test]
async fn a_service_code_is_no_call_and_waits_for_none() {
    let (world, call) = World::active(VoiceHabits::default()).await;
    let code = ServiceCode::parse("*100#").unwrap();
    assert_eq!(patiently(world.voice.request(&code)).await, Err(CallFault::LineBusy));
    patiently(call.hang_up()).await.unwrap();
    assert_eq!(patiently(world.voice.request(&code)).await, Ok(()));
    assert_eq!((world.modem.codes(), world.modem.calls()), (vec!["*100#".to_owned()], 0));
    world.modem.change(|habits| habits.silent = true);
    let fault = patiently(world.voice.request(&code)).await.unwrap_err();
    assert!(
        fault.reason().code() == "upstream-timeout" && !format!("{fault:?}").contains("100"),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_modem_is_told_to_end_a_call_until_it_does() {
    use Obedience::{Obeys, Refuses, SaysOk};
    for (ath, chup) in [(Obeys, Refuses), (SaysOk, Obeys), (Refuses, Obeys)] {
        let (world, mut call) = World::active(VoiceHabits { ath, chup, ..VoiceHabits::default() }).await;
        patiently(call.hang_up()).await.unwrap();
        assert_eq!((ends(&mut call).await, world.modem.calls()), (End::HungUp, 0), "{ath:?}, {chup:?}");
    }
    let (world, mut call) =
        World::active(VoiceHabits { ath: SaysOk, chup: SaysOk, ..VoiceHabits::default() }).await;
    assert_eq!(patiently(call.hang_up()).await, Err(CallFault::NotHungUp));
    assert_eq!((call.state(), world.modem.calls()), (State::Active, 1), "it is not called over");
    world.modem.change(|habits| habits.calls.chup = Obeys);
    assert_eq!(ends(&mut call).await, End::HungUp);
    assert_eq!(world.modem.calls(), 0);
}

#[tokio::test]
async fn a_call_ends_with_its_handle() {
    let (world, call) = World::active(VoiceHabits::default()).await;
    drop(call);
    until(|| world.modem.calls() == 0).await;
    // And when whoever wanted it no longer waits.
    let world = World::new(VoiceHabits { answers_late: true, ..VoiceHabits::default() }).await;
    let given_up = tokio::time::timeout(Duration::from_millis(150), world.dial()).await;
    assert!(given_up.is_err());
    until(|| world.modem.calls() == 0).await;
}

#[tokio::test]
async fn a_modem_that_goes_away_ends_the_call_by_name() {
    let (world, mut call) = World::active(VoiceHabits::default()).await;
    world.watching.abort();
    assert_eq!(ends(&mut call).await, End::ModemGone);
    assert_eq!(patiently(call.next_state()).await, State::Ended(End::ModemGone));
    assert_eq!(patiently(call.tones(&tones("1"))).await, Err(CallFault::ModemGone));
    let fault = world.dial().await.unwrap_err();
    assert_eq!((&fault, fault.reason().code()), (&CallFault::ModemGone, "no-voice-bearer"));
    assert!(!world.voice.is_open());
}

#[tokio::test]
async fn a_watch_that_stops_ends_the_call_first() {
    let modem = FakeModem::start(Some(&Card::new(CardKind::Usim)), Habits::default());
    let port = mexe_card::serial::open(modem.port().to_str().unwrap(), 115_200).unwrap();
    let mut watch = Watch::new(Modem::open(port, timing()).await.unwrap(), Options::default());
    let voice = watch.voice();
    let dialling = tokio::spawn(async move { voice.dial(CallId(7), &number(HIS)).await });
    // A wait that is given up again and again loses no request either.
    let mut call = patiently(async {
        while !dialling.is_finished() {
            let _ = tokio::time::timeout(Duration::from_millis(7), watch.next()).await;
        }
        dialling.await.unwrap().unwrap()
    })
    .await;
    assert_eq!(modem.calls(), 1);
    patiently(watch.stop()).await;
    assert_eq!((ends(&mut call).await, modem.calls()), (End::Stopped, 0));
    let dialled = modem.heard().into_iter().filter(|line| line.contains("ATD")).collect::<Vec<_>>();
    assert_eq!(dialled, ["ATD+493012345;"]);
}

#[tokio::test]
async fn nothing_but_a_number_reaches_the_port() {
    let world = World::new(VoiceHabits::default()).await;
    for (text, reason) in [
        ("112", "emergency-number"),
        ("+49 30;AT+CMGS=\"1\"", "request-malformed"),
        ("123\rATD0900;", "request-malformed"),
        ("123\u{1a}", "request-malformed"),
        ("*100#", "request-malformed"),
        ("١٢٣", "request-malformed"),
    ] {
        let fault: NumberError = Number::parse(text, &EmergencyNumbers::default()).unwrap_err();
        assert_eq!(fault.reason().code(), reason, "{text:?}");
    }
    let call = patiently(world.voice.dial(CallId(1), &number(" (0900) 12-34.5 "))).await.unwrap();
    patiently(call.hang_up()).await.unwrap();
    let bytes = world.modem.bytes();
    let dialled = b"ATD090012345;\r";
    assert_eq!(bytes.windows(dialled.len()).filter(|window| window == dialled).count(), 1);
    assert!(bytes.iter().all(|byte| matches!(byte, b'\r' | b' '..=b'~')));
    assert_eq!(bytes.windows(3).filter(|window| window == b"ATD").count(), 1);
}
