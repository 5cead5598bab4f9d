//! Orders, tolerance and bounds of the codec, by what the standard says and what modems in the field were seen to say.

use proptest::prelude::*;

use super::*;

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn parameters_are_nothing_that_could_be_a_command() {
    let speech = Parameters::new(r#"0,31,32,31,32,0,1400,"7E3","1E5",0,130,0,1,0"#).unwrap();
    let text = r#"AT+CGEQREQ=2,0,31,32,31,32,0,1400,"7E3","1E5",0,130,0,1,0"#;
    assert_eq!(Command::Request(2, speech.clone()).text(), text);
    assert_eq!(Command::Minimum(2, speech).text(), text.replace("EQREQ", "EQMIN"));
    assert_eq!(
        Command::EpsRequest(3, Parameters::new("1,30,29,32,31").unwrap()).text(),
        "AT+CGEQOS=3,1,30,29,32,31"
    );
    for bad in ["1;D112", "1\rATD112;", "1 ", "1\u{e9}", &"1,".repeat(101)] {
        assert_eq!(Parameters::new(bad), None, "{bad}");
    }
}

#[test]
fn the_other_texts_are_those_of_the_standard() {
    let apn = apn("internet.example").unwrap().to_owned();
    let define = Command::Define { cid: 1, kind: PdpType::Ipv4v6, apn };
    assert_eq!(define.text(), r#"AT+CGDCONT=1,"IPV4V6","internet.example""#);
    assert_eq!(Command::DefineSecondary { cid: 2, primary: 1 }.text(), "AT+CGDSCONT=2,1");
    assert_eq!(Command::UndefineSecondary(2).text(), "AT+CGDSCONT=2");
    assert_eq!(Command::Activate { cid: 2, active: true }.text(), "AT+CGACT=1,2");
    assert_eq!(Command::NoMinimum(2).text(), "AT+CGEQMIN=2");
    let everything = Filter {
        remote: Some("192.0.2.7".parse().unwrap()),
        protocol: Some(17),
        port: Some(5004),
        dscp: Some(46),
    };
    let filter = Command::Filter { cid: 2, precedence: 9, filter: everything };
    assert_eq!(filter.text(), r#"AT+CGTFT=2,1,9,"192.0.2.7.255.255.255.255",17,,"5004.5004",,"184.252""#);
    assert_eq!(filter.name(), "AT+CGTFT=2", "who is connected to is no matter of the log");
    let marks = Filter { remote: None, protocol: None, port: None, dscp: Some(34) };
    let filter = Command::Filter { cid: 2, precedence: 9, filter: marks };
    assert_eq!(filter.text(), r#"AT+CGTFT=2,1,9,,,,,,"136.252""#);
    let six = Filter { remote: Some("2001:db8::1".parse().unwrap()), dscp: None, ..marks };
    let text = Command::Filter { cid: 2, precedence: 9, filter: six }.text();
    assert_eq!(text.matches('.').count(), 31, "sixteen octets and their mask: {text}");
}

#[test]
fn what_the_field_sends_is_read() {
    // Seen in logs: no blank, small letters.
    assert_eq!(eps_dynamic(&lines(&["+CGEQOSRDP:3,5,0,0,0,0"]), 3), Some("5,0,0,0,0"));
    assert_eq!(eps_dynamic(&lines(&["+cgeqosrdp: 1 ,9,,,,,300000,100000"]), 1), Some("9,,,,,300000,100000"));
    // The older command's name in the answer to a test.
    let old = r#"+CGQREQ: "IP",(0-3),(0-4)"#;
    assert!(Command::RequestRange.is_answer(old) && !Command::States.is_answer(old));
    // Of several contexts, the one that was asked about.
    let several = lines(&["+CGEQNEG: 1,3,8,8,0,0", "+CGEQNEG: 2,1,64,128,64,128"]);
    assert_eq!(negotiated(&several, 2), Some("1,64,128,64,128"));
    assert_eq!(negotiated(&several, 3), None);
    let states = lines(&["+CGACT: 1,1", "+CGACT:2,0", "+CGACT: x", "+CGACT: 3,7"]);
    let one = |cid, active| ContextState { cid, active };
    assert_eq!(context_states(&states), [one(1, true), one(2, false)]);
    assert_eq!(cids_of_range(&lines(&["+CGDSCONT: (1-3),(1),\"IP\",(0-2)"])), [1, 2, 3]);
    assert_eq!(cids_of_range(&lines(&["+CGDSCONT: (5,6,9-10),(1)"])), [5, 6, 9, 10]);
    assert_eq!(cids_of_range(&lines(&["+CGDSCONT: (0-255)"])).len(), 16);
}

#[test]
fn what_makes_no_sense_is_nothing() {
    for line in
        ["+CGEQNEG:", "+CGEQNEG: 1", "+CGEQNEG 1,0", "CGEQNEG: 1,0", "+CGEQNEG: x,0", "+CGEQNEG: 257,0"]
    {
        assert_eq!(negotiated(&lines(&[line]), 1), None, "{line}");
    }
    for range in ["+CGDSCONT: ", "+CGDSCONT: 1-3", "+CGDSCONT: (3-1)", "+CGDSCONT: (a)", "+CGDSCONT: (1-3"] {
        assert_eq!(cids_of_range(&lines(&[range])), [0_u8; 0], "{range}");
    }
    for bad in ["", ".", "a..b", "a b", "a\"", "a\r", "ä", "x;AT+CGACT=0", &"a.".repeat(60)] {
        assert_eq!(apn(bad), Err(NameError), "{bad}");
    }
}

#[test]
fn events_are_told_from_everything_else() {
    let modified = |cid, reasons| Some(Event::Modified { cid, reasons });
    assert_eq!(Event::read("+CGEV: NW MODIFY 2,2,0"), modified(2, Some(2)));
    assert_eq!(Event::read("+CGEV:nw modify 2"), modified(2, None));
    assert_eq!(Event::read("+CGEV: ME MODIFY 1,3,0"), modified(1, Some(3)));
    for line in [
        "+CGEV: NW DETACH",
        "+CGEV: ME DETACH",
        "+CGEV: NW PDN DEACT 1",
        "+CGEV: ME PDN ACT 1,0",
        "+CGEV: NW DEACT 1,2,0",
        "+CGEV: NW DEACT \"IP\",\"10.0.0.1\",1",
        "+CGEV: NW MODIFY",
        "+CGEV: NW MODIFY x,y",
        "+CGEV: what?",
    ] {
        assert_eq!(Event::read(line), Some(Event::Changed), "{line}");
    }
    let recommended = |rate, up, cids| Some(Event::Recommended { rate, up, cids });
    assert_eq!(Event::read("+CGBRRREP: 2000,2,1,1"), recommended(2000, false, vec![1]));
    assert_eq!(Event::read("+CGBRRREP: 64,1"), recommended(64, true, vec![]));
    for line in
        ["+CGBRRREP: 1", "+CGBRRREP: x,1", "+CGBRRREP: 1,3", "+CGBRRREP: 1,1,1,x", "+CIEV: 1", "OK", ""]
    {
        assert_eq!(Event::read(line), None, "{line}");
    }
}

#[test]
fn every_error_has_its_own_number_name_and_words() {
    let all: Vec<Cause> = Cause::all().collect();
    for cause in &all {
        assert_eq!(Cause::of(cause.number()), Some(*cause));
        assert!(all.iter().all(|other| other == cause || other.code() != cause.code()), "{}", cause.code());
    }
    assert_eq!(Cause::of(14), None, "a busy card is no matter of a context's");
    assert_eq!(Cause::of_text("Unspecified GPRS error").map(Cause::number), Some(148));
    // Trap 9: cause 37 has no number on UMTS.
    for number in [131, 137, 148] {
        assert!(Cause::of(number).unwrap().means_no_such_quality());
    }
}

proptest! {
    #[test]
    fn no_line_is_too_strange(line in "[ -~]{0,200}", name in 0_usize..6) {
        let begins = ["", "+CGEQNEG:", "+CGEQOSRDP: ", "+CGDSCONT: (", "+CGEV: NW MODIFY ", "+CGBRRREP: "];
        let line = format!("{}{line}", begins[name]);
        let lines = [line.clone()];
        let _ = (negotiated(&lines, 1), eps_dynamic(&lines, 1), context_states(&lines), Event::read(&line));
        prop_assert!(cids_of_range(&lines).len() <= 16);
    }
}

#[test]
fn a_registration_is_read_as_modems_say_it() {
    use Registration::{Home, None as Nowhere, Roaming};
    for (line, service, expected) in [
        ("+CEREG: 0,1", Service::Eps, Some(Home)),
        ("+CEREG:2,5,\"1A2B\",\"01D9C001\",7", Service::Eps, Some(Roaming)),
        ("+cereg: 0, 5", Service::Eps, Some(Roaming)),
        ("+C5GREG: 0,10", Service::FiveG, Some(Roaming)),
        ("+CGREG: 0,9", Service::Gprs, Some(Home)),
        ("+CREG: 0,5", Service::Circuit, Some(Roaming)),
        // Registered for messages or emergencies, not at all, or trying to be.
        ("+CEREG: 0,7", Service::Eps, Some(Nowhere)),
        ("+CEREG: 0,8", Service::Eps, Some(Nowhere)),
        ("+CEREG: 4,2", Service::Eps, Some(Nowhere)),
        // Said by the modem on its own: the state comes first.
        ("+CEREG: 5", Service::Eps, Some(Roaming)),
        ("+CEREG: 5,\"0001\",\"01D9C001\",7", Service::Eps, Some(Roaming)),
        ("+CEREG: 0,5", Service::Gprs, None),
        ("+CEREG: 0,11", Service::Eps, None),
        ("+CEREG: 0,x", Service::Eps, None),
        ("+CEREG:", Service::Eps, None),
        ("+CEREG: 300", Service::Eps, None),
    ] {
        assert_eq!(registration(&lines(&[line]), service), expected, "{line}");
    }
    // What was asked for goes before what came on its own.
    assert_eq!(registration(&lines(&["+CEREG: 1", "+CEREG: 1,5"]), Service::Eps), Some(Roaming));
    let asked = Command::Registration(Service::Eps);
    assert_eq!(asked.text(), "AT+CEREG?");
    assert!(asked.is_answer("+CEREG: 0,1") && !asked.is_answer("+CGREG: 0,1"));
    for line in ["+CEREG: 5", "+CREG: 1", "+C5GREG: 5,\"1A\""] {
        assert_eq!(Event::read(line), Some(Event::Changed), "{line}");
    }
}
