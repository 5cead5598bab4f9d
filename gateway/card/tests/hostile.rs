//! What a hostile card, modem or directory may do: nothing but be refused by name, in bounded time and memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "tests")]

use std::time::Duration;

use mexe_card::apdu::{Apdu, Commands, Exchange};
use mexe_card::modem::Timing;
use mexe_card::watch::{Options, Watch};
use mexe_card::{Call, Fault, Modem, State, Voice, read_image};
use mexe_certs::usim::{CardKind, decode};
use mexe_model::CallId;
use mexe_wire::telephone::{EmergencyNumbers, Number, Tones};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(task)
}

/// A card that answers with whatever comes next, and in the end with nothing.
struct Scripted {
    answers: std::vec::IntoIter<Vec<u8>>,
    sent: Vec<Apdu>,
}

impl Exchange for &mut Scripted {
    async fn exchange(&mut self, apdu: &Apdu, _: CardKind) -> Result<Vec<u8>, Fault> {
        self.sent.push(apdu.clone());
        self.answers.next().ok_or(Fault::CardGone)
    }
}

fn scripted(answers: &[&[u8]]) -> Scripted {
    Scripted { answers: answers.iter().map(|a| a.to_vec()).collect::<Vec<_>>().into_iter(), sent: Vec::new() }
}

#[test]
fn a_card_that_always_says_that_there_is_more_is_given_up() {
    for more in [&[0x61, 0x10][..], &[0x9F, 0x10], &[0x6C, 0x10]] {
        let mut card = scripted(&vec![more; 1000]);
        let opened = run(Commands::open(&mut card)).map(|commands| commands.kind());
        if more[0] == 0x6C {
            // No answer to SELECT: it is the end of it, and the card no USIM.
            assert_eq!(opened.unwrap(), CardKind::GsmSim);
        } else {
            assert_eq!(opened.unwrap_err().code(), "card-malformed");
        }
        assert!(card.sent.len() <= 8, "{}", card.sent.len());
    }
}

#[test]
fn a_wrong_length_is_asked_for_again_with_the_right_one() {
    let facts = [0x62, 0x08, 0x82, 0x02, 0x41, 0x21, 0x80, 0x02, 0x00, 0x04, 0x90, 0x00];
    let mut card = scripted(&[&[0x90, 0], &facts, &[0x6C, 0x02], &[1, 2, 0x90, 0], &[3, 4, 0x90, 0]]);
    let file = run(async {
        let mut commands = Commands::open(&mut card).await.unwrap();
        mexe_card::Source::read(&mut commands, &[0x7FFF, 0x6F46], mexe_certs::usim::Part::First(17)).await
    });
    assert_eq!(file.unwrap(), mexe_certs::usim::File::Bytes(vec![1, 2, 3, 4]));
    let wanted = [(0, 4), (0, 2), (2, 2)].map(|(offset, length)| Apdu::ReadBinary { offset, length });
    assert_eq!(card.sent[2..], wanted);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_answers_of_a_card_make_reading_panic_or_run_on(
        answers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..200),
        sound in any::<bool>(),
    ) {
        let mut answers = answers;
        if sound {
            for answer in &mut answers {
                answer.extend([0x90, 0x00]);
            }
        }
        let mut card = Scripted { answers: answers.into_iter(), sent: Vec::new() };
        let image = run(async {
            let mut commands = Commands::open(&mut card).await?;
            read_image(&mut commands).await
        });
        if let Ok(image) = image {
            let _ = decode(&image);
        }
    }

    #[test]
    fn no_words_of_a_modem_make_reading_panic_or_run_on(
        words in proptest::collection::vec(prop_oneof![
            Just("OK".to_owned()), Just("ERROR".to_owned()), Just("+CME ERROR: 14".to_owned()),
            "[+]CRSM: 1[0-9]{2},[0-9]{1,3},\"[0-9A-F]{0,40}\"", "[+]CSIM: [0-9]{1,2},\"[0-9A-F]{0,12}\"",
            "[ -~]{0,40}", "[0-9]{1,20}",
        ], 0..60),
        raw in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        run(async {
            let (here, mut there) = tokio::io::duplex(4096);
            let modem = tokio::spawn(async move {
                let mut heard = [0; 256];
                let mut words = words.into_iter();
                while there.read(&mut heard).await.is_ok_and(|read| read > 0) {
                    let Some(word) = words.next() else { break };
                    // The other side may have given up already.
                    let _ = there.write_all(format!("\r\n{word}\r\nOK\r\n").as_bytes()).await;
                }
                let _ = there.write_all(&raw).await;
                // Until the other side has given up.
                while there.read(&mut heard).await.is_ok_and(|read| read > 0) {}
            });
            let timing = Timing { answer: Duration::from_secs(1), tries: 3, ..Timing::default() };
            let fault = tokio::time::timeout(Duration::from_secs(600), async {
                let mut modem = Modem::open(here, timing).await?;
                read_image(&mut modem).await
            }).await;
            assert!(fault.is_ok(), "it came to an end");
            drop(fault);
            modem.await.unwrap();
        });
    }

    #[test]
    fn no_words_of_a_modem_make_a_call_panic_run_on_or_say_anything_else(
        words in proptest::collection::vec(prop_oneof![
            Just("OK".to_owned()), Just("ERROR".to_owned()), Just("+CME ERROR: 30".to_owned()),
            Just("NO CARRIER".to_owned()), Just("BUSY".to_owned()), Just("RING".to_owned()), Just(String::new()),
            "[+]CLCC: 1,0,[0-3],0,0", "[+]CLCC: [1-3],[01],[0-6],[01],0",
            "[ -~]{0,40}",
        ], 0..120),
        ok in any::<bool>(),
    ) {
        run(async {
            let (here, mut there) = tokio::io::duplex(4096);
            let modem = tokio::spawn(async move {
                let (mut heard, mut piece) = (Vec::new(), [0; 256]);
                let mut words = words.into_iter();
                while let Ok(read @ 1..) = there.read(&mut piece).await {
                    heard.extend_from_slice(&piece[..read]);
                    // In the end it lists nothing and says yes to everything.
                    let word = words.next().unwrap_or_default();
                    let end = if ok || words.len() == 0 { "OK" } else { "" };
                    let _ = there.write_all(format!("\r\n{word}\r\n{end}\r\n").as_bytes()).await;
                }
                heard
            });
            let timing = Timing { answer: Duration::from_secs(1), tries: 3, ..Timing::default() };
            let Ok(opened) = Modem::open(here, timing).await else { return };
            let mut watch = Watch::new(opened, Options::default());
            let voice = watch.voice();
            let watching = async { while watch.next().await.is_ok() {} };
            let calling = tokio::time::timeout(Duration::from_secs(3600), call(voice));
            tokio::select! {
                () = watching => panic!("the port is there"),
                ended = calling => assert!(ended.is_ok(), "it came to an end"),
            }
            drop(watch);
            let heard = String::from_utf8(modem.await.unwrap()).unwrap();
            for line in heard.split('\r') {
                let reads = ["AT+CRSM=", "AT+CSIM="].iter().any(|access| line.starts_with(access));
                let known = [
                    "", "AT", "ATE0", "AT+CMEE=1", "AT+CIMI", "AT+CCID", "AT+CLCC", "ATH", "AT+CHUP",
                    "ATD+493012345;", "AT+VTS=1", "AT+VTS=\"1\"", "AT+VTS={1,2}", "AT+VTS=#", "AT+VTS=\"#\"",
                    "AT+VTS={#,2}",
                ];
                assert!(reads || known.contains(&line), "{line}");
            }
        });
    }
}

/// Dials, sends tones when it may, ends the call, and waits for its end.
async fn call(voice: Voice) {
    let number = Number::parse("+493012345", &EmergencyNumbers::default()).unwrap();
    let Ok(mut call) = voice.dial(CallId(1), &number).await else { return };
    let tones = Tones::parse("1#").unwrap();
    let talk = async |call: &Call| {
        let _ = call.tones(&tones).await;
        let _ = call.hang_up().await;
    };
    talk(&call).await;
    while !matches!(call.state(), State::Ended(_)) {
        call.next_state().await;
    }
}
