//! Orders, tolerance and bounds of the codec, by what the standard says and what modems in the field were seen to say.

use proptest::prelude::*;

use super::*;

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn speech() -> UmtsQuality {
    UmtsQuality {
        class: 0,
        maximum: Rates { up: 31, down: 32 },
        guaranteed: Rates { up: 29, down: 30 },
        delivery_order: Some(0),
        sdu_size: Some(1400),
        sdu_error: Some(ErrorRatio { mantissa: 7, exponent: 3 }),
        residual_error: Some(ErrorRatio { mantissa: 1, exponent: 5 }),
        erroneous: Some(0),
        delay: Some(130),
        priority: Some(0),
        source: Some(1),
        signalling: Some(0),
    }
}

/// Trap 1 of the standards.
#[test]
fn cgeqreq_has_uplink_first_and_cgeqos_downlink_first() {
    assert_eq!(
        Command::Request(2, speech()).text(),
        r#"AT+CGEQREQ=2,0,31,32,29,30,0,1400,"7E3","1E5",0,130,0,1,0"#
    );
    let eps = EpsQuality {
        qci: 1,
        guaranteed: Rates { up: 29, down: 30 },
        maximum: Rates { up: 31, down: 32 },
        aggregate: None,
    };
    assert_eq!(Command::EpsRequest(2, eps).text(), "AT+CGEQOS=2,1,30,29,32,31");
    // And back, each in its own order.
    let said = lines(&[r#"+CGEQNEG: 2,0,31,32,29,30,0,1400,"7E3","1E5",0,130,0"#]);
    let read = umts_quality(&said, 2).unwrap();
    assert_eq!((read.maximum, read.guaranteed), (speech().maximum, speech().guaranteed));
    let read = eps_quality(&lines(&["+CGEQOSRDP: 2,1,30,29,32,31,50,40"]), 2).unwrap();
    assert_eq!((read.maximum, read.guaranteed), (eps.maximum, eps.guaranteed));
    assert_eq!(read.aggregate, Some(Rates { up: 40, down: 50 }));
}

#[test]
fn rates_are_written_only_for_a_qci_that_guarantees_them() {
    let rates = Rates { up: 1, down: 2 };
    let quality = |qci| EpsQuality { qci, guaranteed: rates, maximum: rates, aggregate: None };
    for qci in [1, 4, 71, 76, 82, 85] {
        assert_eq!(Command::EpsRequest(3, quality(qci)).text(), format!("AT+CGEQOS=3,{qci},2,1,2,1"));
    }
    for qci in [0, 5, 9, 10, 79, 80, 128, 254] {
        assert_eq!(Command::EpsRequest(3, quality(qci)).text(), format!("AT+CGEQOS=3,{qci}"));
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
    // What is left out at the end is not written; in between, its place stays.
    let subscribed = UmtsQuality { class: UmtsQuality::SUBSCRIBED, ..UmtsQuality::default() };
    assert_eq!(Command::Request(1, subscribed).text(), "AT+CGEQREQ=1,4,0,0,0,0");
    let gap = UmtsQuality { delay: Some(100), ..subscribed };
    assert_eq!(Command::Minimum(1, gap).text(), "AT+CGEQMIN=1,4,0,0,0,0,,,,,,100");
}

#[test]
fn what_the_field_sends_is_read() {
    // Seen in logs: no blank and six fields, and zeros where the standard leaves out.
    let read = eps_quality(&lines(&["+CGEQOSRDP:3,5,0,0,0,0"]), 3).unwrap();
    assert_eq!((read.qci, read.aggregate), (5, None));
    let read = eps_quality(&lines(&["+CGEQOSRDP: 1,9,0,0,0,0,300000,100000"]), 1).unwrap();
    assert_eq!(read.aggregate, Some(Rates { up: 100_000, down: 300_000 }));
    assert_eq!(eps_quality(&lines(&["+cgeqosrdp: 1,9,,,,,300000,100000"]), 1).unwrap(), read);
    assert_eq!(eps_quality(&lines(&["+CGEQOSRDP: 1,9"]), 1).unwrap().qci, 9);
    // A small e, an empty field, ratios without quotes.
    let read = umts_quality(&lines(&[r#"+CGEQNEG: 1,2,64,64,0,0,0,1500,"1e4",0E0,,0,3"#]), 1).unwrap();
    assert_eq!(read.sdu_error, Some(ErrorRatio { mantissa: 1, exponent: 4 }));
    assert_eq!((read.residual_error, read.erroneous), (Some(ErrorRatio::SUBSCRIBED), None));
    assert_eq!((read.priority, read.source, read.signalling), (Some(3), None, None));
    // The older command's name in the answer to a test.
    let old = r#"+CGQREQ: "IP",(0-3),(0-4)"#;
    assert!(Command::RequestRange.is_answer(old) && !Command::States.is_answer(old));
    // Of several contexts, the one that was asked about.
    let several = lines(&["+CGEQNEG: 1,3,8,8,0,0", "+CGEQNEG: 2,1,64,128,64,128"]);
    assert_eq!(umts_quality(&several, 2).unwrap().class, 1);
    assert_eq!(umts_quality(&several, 3), None);
    let states = lines(&["+CGACT: 1,1", "+CGACT:2,0", "+CGACT: x", "+CGACT: 3,7"]);
    let one = |cid, active| ContextState { cid, active };
    assert_eq!(context_states(&states), [one(1, true), one(2, false)]);
    assert_eq!(cids_of_range(&lines(&["+CGDSCONT: (1-3),(1),\"IP\",(0-2)"])), [1, 2, 3]);
    assert_eq!(cids_of_range(&lines(&["+CGDSCONT: (5,6,9-10),(1)"])), [5, 6, 9, 10]);
    assert_eq!(cids_of_range(&lines(&["+CGDSCONT: (0-255)"])).len(), 16);
}

#[test]
fn what_makes_no_sense_is_nothing() {
    for line in [
        "+CGEQNEG:",
        "+CGEQNEG: 1",
        "+CGEQNEG: 1,9,0,0,0,0",
        "+CGEQNEG: 1,0,-1,0,0,0",
        "+CGEQNEG: 1,0,99999999999,0,0,0",
        "+CGEQNEG: 1,0,1,1,1,1,0,1500,\"7E33\"",
        "+CGEQNEG: 1,0,1,1,1,1,0,1500,\"7E3",
        "+CGEQNEG 1,0,1,1,1,1",
        "CGEQNEG: 1,0,1,1,1,1",
    ] {
        assert_eq!(umts_quality(&lines(&[line]), 1), None, "{line}");
    }
    for line in
        ["+CGEQOSRDP: 1", "+CGEQOSRDP: 1,256", "+CGEQOSRDP: 1,9,x", "+CGEQOSRDP: 1,9,,,,,4294967296,1"]
    {
        assert_eq!(eps_quality(&lines(&[line]), 1), None, "{line}");
    }
    let endless = format!("+CGEQNEG: 1,0{}", ",1".repeat(200));
    assert_eq!(umts_quality(&lines(&[&endless]), 1), None);
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
        ["+CGBRRREP: 1", "+CGBRRREP: x,1", "+CGBRRREP: 1,3", "+CGBRRREP: 1,1,1,x", "+CGREG: 1", "OK", ""]
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
        let _ = (umts_quality(&lines, 1), eps_quality(&lines, 1), context_states(&lines), Event::read(&line));
        prop_assert!(cids_of_range(&lines).len() <= 16);
    }

    #[test]
    fn what_is_asked_for_reads_back_when_it_is_given(
        class in 0_u8..5, rates in prop::array::uniform4(0_u32..=10_000_000), rest in any::<[Option<u8>; 6]>(),
        delay in prop::option::of(0_u32..=4000), ratio in (0_u8..10, 0_u8..10),
    ) {
        let [up, down, guaranteed_up, guaranteed_down] = rates;
        let [order, size, erroneous, priority, source, signalling] = rest;
        let asked = UmtsQuality {
            class,
            maximum: Rates { up, down },
            guaranteed: Rates { up: guaranteed_up, down: guaranteed_down },
            delivery_order: order,
            sdu_size: size.map(u32::from),
            sdu_error: Some(ErrorRatio { mantissa: ratio.0, exponent: ratio.1 }),
            residual_error: None,
            erroneous, delay, priority, source, signalling,
        };
        let text = Command::Request(7, asked).text();
        let said = text.replace("AT+CGEQREQ=", "+CGEQNEG: ");
        prop_assert_eq!(umts_quality(&[said], 7), Some(asked));
    }
}
