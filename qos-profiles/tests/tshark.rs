//! The decoders against Wireshark's dissectors: every code of every octet of the quality of service element in every
//! length, of the two elements of LTE, and of the two that extend those. tshark runs once for each capture, as a process of its own; that it is missing is
//! a failure (tests/run installs it).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests that run outside tools"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use mexe_qos::eps_ie::{ApnAmbr, EpsQos};
use mexe_qos::extended_ie::{Count, ExtendedAmbr, ExtendedQos, Pair, fields as extended_fields};
use mexe_qos::umts_ie::{Field, Length, Part, fields};
use mexe_qos::{Rate, UmtsQos};

/// A field as tshark shows it.
#[derive(Debug)]
struct Theirs {
    name: String,
    /// `Label: what it means (code)`.
    text: String,
    /// The raw number.
    number: u64,
}

/// Has tshark read frames whose link type is a dissector of its own, and gives back each frame's fields.
fn dissected(dissector: &str, frames: &[Vec<u8>]) -> Vec<Vec<Theirs>> {
    let mut capture = Vec::new();
    // A classic capture file; link type 147 is the first of those that users give a meaning to.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 147] {
        capture.extend(word.to_le_bytes());
    }
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [0, 0, length, length] {
            capture.extend(word.to_le_bytes());
        }
        capture.extend(frame);
    }
    let link = format!("uat:user_dlts:\"User 0 (DLT=147)\",\"{dissector}\",\"0\",\"\",\"0\",\"\"");
    let mut tshark = Command::new("tshark")
        .args(["-n", "-r", "-", "-T", "pdml", "-o", &link])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tshark: install it (Debian: tshark), as tests/run does");
    let mut stdin = tshark.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&capture));
    let output = tshark.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pdml = String::from_utf8(output.stdout).unwrap();
    let packets: Vec<_> = pdml.split("<packet>").skip(1).map(read).collect();
    assert_eq!(packets.len(), frames.len());
    packets
}

fn read(packet: &str) -> Vec<Theirs> {
    let attribute = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let field = |line: &str| {
        let name = attribute(line, "name")?;
        let name = name.strip_prefix("gsm_a.gm.sm.qos.").or_else(|| name.strip_prefix("nas_eps.esm."))?;
        // A flag is shown as a truth.
        let number = match attribute(line, "show")?.as_str() {
            "True" => 1,
            "False" => 0,
            number => number.parse().ok()?,
        };
        Some(Theirs { name: name.to_owned(), text: attribute(line, "showname")?, number })
    };
    packet.lines().filter_map(field).collect()
}

fn part_of(name: &str) -> Part {
    match name {
        "delay_cls" => Part::DelayClass,
        "reliability_cls" => Part::ReliabilityClass,
        "peak_throughput" => Part::PeakThroughput,
        "prec_class" => Part::PrecedenceClass,
        "mean_throughput" => Part::MeanThroughput,
        "traffic_cls" => Part::TrafficClass,
        "del_order" => Part::DeliveryOrder,
        "del_of_err_sdu" => Part::ErroneousSdus,
        "maximum_sdu_size" => Part::MaxSdu,
        "max_bitrate_upl" => Part::MaxUp,
        "max_bitrate_downl" => Part::MaxDown,
        "ber" => Part::ResidualBer,
        "sdu_err_rat" => Part::SduErrorRatio,
        "trans_delay" => Part::TransferDelay,
        "traff_hdl_pri" => Part::TrafficHandlingPriority,
        "guar_bitrate_upl" => Part::GuaranteedUp,
        "guar_bitrate_downl" => Part::GuaranteedDown,
        "signalling_ind" => Part::Signalling,
        "source_stat_desc" => Part::SourceStatistics,
        "max_bitrate_downl_ext" => Part::MaxDownExt,
        "guar_bitrate_downl_ext" => Part::GuaranteedDownExt,
        "max_bitrate_upl_ext" => Part::MaxUpExt,
        "guar_bitrate_upl_ext" => Part::GuaranteedUpExt,
        "max_bitrate_downl_ext2" => Part::MaxDownExt2,
        "guar_bitrate_downl_ext2" => Part::GuaranteedDownExt2,
        "max_bitrate_upl_ext2" => Part::MaxUpExt2,
        "guar_bitrate_upl_ext2" => Part::GuaranteedUpExt2,
        other => panic!("tshark has a field that we have not: {other}"),
    }
}

/// What tshark's text says in our words; `None` when it only says that the code is none.
fn in_our_words(part: Part, theirs: &Theirs) -> Option<String> {
    let (_, body) = theirs.text.split_once(": ").unwrap();
    let is_code = |end: &str| end.strip_suffix(')').is_some_and(|code| code.parse::<u8>().is_ok());
    let body = body.rsplit_once(" (").filter(|(_, end)| is_code(end)).map_or(body, |(body, _)| body);
    let body = body.strip_prefix("Interpreted as ").unwrap_or(body);
    let number = || body.chars().filter(char::is_ascii_digit).collect::<String>();
    let known = |table: &[(&str, &str)]| {
        let found = table.iter().find(|(theirs, _)| body == *theirs);
        found.unwrap_or_else(|| panic!("tshark says `{body}` of {part:?}")).1.to_owned()
    };
    if body.starts_with("Subscribed") {
        return Some("subscribed".into());
    }
    if body.starts_with("Use the value") {
        return Some("not used".into());
    }
    if ["Reserved", "Unknown", "Unspecified"].contains(&body) {
        return None;
    }
    Some(match part {
        Part::DelayClass if body.contains("best effort") => "4, best effort".into(),
        Part::DelayClass | Part::TrafficHandlingPriority => number(),
        Part::ReliabilityClass => known(&[
            // tshark still names the class that the standard no longer uses.
            ("Acknowledged GTP, LLC, and RLC; Protected data", "2, LLC and RLC acknowledged, data protected"),
            (
                "Unacknowledged GTP, Ack LLC/RLC, Protected data",
                "2, LLC and RLC acknowledged, data protected",
            ),
            ("Unacknowledged GTP/LLC, Ack RLC, Protected data", "3, RLC acknowledged, data protected"),
            ("Unacknowledged GTP/LLC/RLC, Protected data", "4, unacknowledged, data protected"),
            ("Unacknowledged GTP/LLC/RLC, Unprotected data", "5, unacknowledged, data unprotected"),
        ]),
        Part::PrecedenceClass => known(&[
            ("High priority", "1, high"),
            ("Normal priority", "2, normal"),
            ("Low priority", "3, low"),
        ]),
        Part::PeakThroughput => format!("{} octets/s", number()),
        Part::MeanThroughput if body == "Best effort" => "best effort".into(),
        Part::MeanThroughput => format!("{} octets/h", number()),
        Part::TrafficClass => known(&[
            ("Conversational class", "conversational"),
            ("Streaming class", "streaming"),
            ("Interactive class", "interactive"),
            ("Background class", "background"),
        ]),
        Part::DeliveryOrder => known(&[
            ("With delivery order (&#x27;yes&#x27;)", "yes"),
            ("Without delivery order (&#x27;no&#x27;)", "no"),
        ]),
        Part::ErroneousSdus => known(&[
            ("No detect(&#x27;-&#x27;)", "no-detect"),
            ("Erroneous SDUs are delivered(&#x27;yes&#x27;)", "yes"),
            ("Erroneous SDUs are not delivered(&#x27;No&#x27;)", "no"),
        ]),
        Part::Signalling => known(&[
            ("Not optimised for signalling traffic", "no"),
            ("Optimised for signalling traffic", "yes"),
        ]),
        Part::ResidualBer | Part::SduErrorRatio => body.replace("*10-", "e-"),
        Part::MaxSdu | Part::TransferDelay | Part::SourceStatistics => body.into(),
        _ => match kbits(body) {
            mbits if mbits >= 1_000 && mbits.is_multiple_of(1_000) => format!("{} Mbit/s", mbits / 1_000),
            kbits => format!("{kbits} kbit/s"),
        },
    })
}

/// `8640 kbps` or `16 Mbps`.
fn kbits(text: &str) -> u64 {
    let (number, unit) = text.split_once(' ').unwrap();
    let number: u64 = number.parse().unwrap();
    match unit {
        "kbps" => number,
        "Mbps" => number * 1_000,
        _ => panic!("{text}"),
    }
}

/// Where tshark differs, and what is right: it reads the five extensions that nobody defined as if the steps went on, and
/// looks at three of the four bits of the source statistics only.
fn exception(ours: &Field) -> Option<&'static str> {
    match ours.code {
        251.. if ours.name.ends_with("-extended") => Some("not defined, read as 256 Mbit/s"),
        9 if ours.name == "source-statistics" => Some("not defined, read as unknown"),
        _ => None,
    }
}

fn compare(ours: &Field, theirs: &Theirs) {
    let part = part_of(&theirs.name);
    assert_eq!((ours.name, u64::from(ours.code)), (part.name(), theirs.number));
    let said = in_our_words(part, theirs);
    if let Some(right) = exception(ours) {
        assert_eq!(ours.meaning, right);
        assert!(
            !said.is_some_and(|said| right.ends_with(&format!("read as {said}"))),
            "no exception: {theirs:?}"
        );
        return;
    }
    match said {
        Some(said) if !ours.odd => assert_eq!(ours.meaning, said, "{ours:?} {theirs:?}"),
        Some(said) => assert!(ours.meaning.ends_with(&format!("read as {said}")), "{ours:?} {theirs:?}"),
        None => assert!(ours.odd, "{ours:?} {theirs:?}"),
    }
}

#[test]
fn every_code_of_every_octet_in_every_length_means_what_tshark_says() {
    // 256 values of each length: in each of them every octet goes through all its codes, no two in step.
    let mut values = Vec::new();
    for length in Length::ALL {
        for n in 0..=u8::MAX {
            let octet = |at: usize| n.wrapping_add(u8::try_from(at * 37 % 256).unwrap());
            values.push((0..length.octets()).map(octet).collect::<Vec<_>>());
        }
    }
    let frame = |value: &Vec<u8>| {
        // Activate PDP context request: access points 5 and 3, the element, and an address that the network chooses.
        let length = u8::try_from(value.len()).unwrap();
        [&[0x0a, 0x41, 0x05, 0x03, length], value.as_slice(), &[0x02, 0x01, 0x21]].concat()
    };
    let frames: Vec<_> = values.iter().map(frame).collect();
    let mut seen: BTreeMap<&str, BTreeSet<u8>> = BTreeMap::new();
    for (value, theirs) in values.iter().zip(dissected("gsm_a_dtap", &frames)) {
        let ours = fields(value).unwrap();
        assert!(UmtsQos::decode(value).is_ok());
        // As many fields, in the same order.
        assert_eq!(ours.len(), theirs.len(), "{theirs:?}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            compare(ours, theirs);
            seen.entry(ours.name).or_default().insert(ours.code);
        }
    }
    let codes: BTreeMap<_, _> = seen.iter().map(|(name, codes)| (*name, codes.len())).collect();
    let all = Part::all()
        .map(|part| (part.name(), usize::from(part.code(&[0xff; 20]).unwrap()) + 1))
        .collect::<BTreeMap<_, _>>();
    assert_eq!(codes, all);
}

#[test]
fn the_elements_of_lte_mean_what_tshark_says() {
    let mut values = Vec::new();
    for n in 0..=u8::MAX {
        let octet = |at: u8| n.wrapping_add(at.wrapping_mul(37));
        for (eps, ambr) in [(1, 2), (5, 4), (9, 6), (13, 6)] {
            let mut eps: Vec<u8> = (0..eps).map(octet).collect();
            let mut ambr: Vec<u8> = (13..13 + ambr).map(octet).collect();
            values.push((eps.clone(), ambr.clone()));
            // And with the second extensions unused, so that those before count.
            eps.iter_mut().skip(9).for_each(|octet| *octet = 0);
            ambr.iter_mut().skip(4).for_each(|octet| *octet = 0);
            values.push((eps, ambr));
        }
    }
    let element =
        |kind: u8, value: &Vec<u8>| [&[kind, u8::try_from(value.len()).unwrap()], value.as_slice()].concat();
    // Modify EPS bearer context request for bearer 5, with both elements.
    let frame = |(eps, ambr): &(Vec<u8>, Vec<u8>)| {
        [vec![0x52, 0x00, 0xc9], element(0x5b, eps), element(0x5e, ambr)].concat()
    };
    let frames: Vec<_> = values.iter().map(frame).collect();
    let mut compared = 0;
    for ((eps, ambr), theirs) in values.iter().zip(dissected("nas-eps_plain", &frames)) {
        // The last octet that is used counts; a base of 0 says nothing.
        let said = |base: &str, ext: &str| {
            let used =
                theirs.iter().rfind(|field| field.name == ext && !field.text.starts_with("Use the value"));
            let field =
                used.or_else(|| theirs.iter().find(|field| field.name == base && field.number != 0))?;
            let (_, rate) = field.text.rsplit_once(": ").unwrap();
            Some(kbits(rate) * 1_000)
        };
        let ours = EpsQos::decode(eps).unwrap();
        for (rate, base, ext) in [
            (ours.max_bitrate_up, "mbr_ul", "embr_ul"),
            (ours.max_bitrate_down, "mbr_dl", "embr_dl"),
            (ours.guaranteed_bitrate_up, "gbr_ul", "egbr_ul"),
            (ours.guaranteed_bitrate_down, "gbr_dl", "egbr_dl"),
        ] {
            assert_eq!(rate.map(Rate::get), said(base, ext), "{base} of {eps:02x?}: {theirs:?}");
            compared += usize::from(rate.is_some());
        }
        let ours = ApnAmbr::decode(ambr).unwrap();
        for (rate, way) in [(ours.down, "dl"), (ours.up, "ul")] {
            let total = theirs.iter().find(|field| field.name == format!("apn_ambr_{way}_total"));
            let theirs = match total {
                Some(total) => Some(total.number * 1_000).filter(|total| *total != 0),
                None => said(&format!("apn_ambr_{way}"), &format!("apn_ambr_{way}_ext")),
            };
            // tshark adds up a closed direction and one of which nothing is said alike.
            let ours = rate.map(Rate::get).filter(|bits| total.is_none() || *bits != 0);
            assert_eq!(ours, theirs, "{way} of {ambr:02x?}");
            compared += usize::from(rate.is_some());
        }
    }
    assert!(compared > 8_000, "{compared}");
}

/// `262140 Mbps (65535)` as bits per second; `None` when no unit is used.
fn bits(theirs: &Theirs) -> Option<u128> {
    const UNITS: [&str; 5] = ["kbps", "Mbps", "Gbps", "Tbps", "Pbps"];
    let (_, body) = theirs.text.rsplit_once(": ").unwrap();
    let (number, rest) = body.split_once(' ').unwrap();
    let (unit, _) = rest.split_once(' ').unwrap();
    let power = UNITS.iter().position(|name| *name == unit)?;
    Some(number.parse::<u128>().unwrap() * 1_000_u128.pow(u32::try_from(power).unwrap() + 1))
}

#[test]
fn extended_rates_mean_what_tshark_says_in_every_unit() {
    const NUMBERS: [u16; 9] = [0, 1, 5, 255, 256, 1_000, 16_384, 40_000, u16::MAX];
    let mut values = Vec::new();
    for unit in 0..=u8::MAX {
        for (at, up) in NUMBERS.into_iter().enumerate() {
            let (up, down) = (up.to_be_bytes(), NUMBERS[(at + 4) % NUMBERS.len()].to_be_bytes());
            let other = unit.wrapping_mul(3);
            let qos =
                [[unit, up[0], up[1], down[0], down[1]], [other, down[0], down[1], up[0], up[1]]].concat();
            values.push((qos, [unit, down[0], down[1], other, up[0], up[1]]));
        }
    }
    // Modify EPS bearer context request for bearer 5, with both elements.
    let frame = |(qos, ambr): &(Vec<u8>, [u8; 6])| {
        [&[0x52, 0x00, 0xc9, 0x5f, 6], ambr.as_slice(), &[0x5c, 10], qos.as_slice()].concat()
    };
    let frames: Vec<_> = values.iter().map(frame).collect();
    let mut compared = 0;
    for ((qos, ambr), theirs) in values.iter().zip(dissected("nas-eps_plain", &frames)) {
        let said = |name: &str| bits(theirs.iter().find(|field| field.name == name).unwrap());
        let read = ExtendedQos::decode(qos).unwrap();
        let counts =
            |pair: Option<Pair>| pair.map_or([None; 2], |pair| pair.counts().map(|c| Some(c.bits())));
        assert_eq!(counts(read.max), ["ext_mbr_ul", "ext_mbr_dl"].map(said), "{qos:02x?}");
        assert_eq!(counts(read.guaranteed), ["ext_gbr_ul", "ext_gbr_dl"].map(said), "{qos:02x?}");
        let read = ExtendedAmbr::decode(ambr).unwrap();
        let ours = [read.down, read.up].map(|count| count.map(Count::bits));
        assert_eq!(ours, ["ext_apn_ambr_dl", "ext_apn_ambr_ul"].map(said), "{ambr:02x?}");
        // Field by field: the same numbers in the same order, and a unit is odd that tshark reads as another's.
        let shown = extended_fields(qos).unwrap();
        let names = ["mbr_unit", "mbr_ul", "mbr_dl", "gbr_unit", "gbr_ul", "gbr_dl"];
        for (field, name) in shown.iter().zip(names) {
            let theirs = theirs.iter().find(|theirs| theirs.name == format!("ext_{name}")).unwrap();
            assert_eq!(u64::from(field.code), theirs.number, "{name} of {qos:02x?}");
            assert_eq!(field.odd, name.ends_with("unit") && field.code > 21, "{name} of {qos:02x?}");
        }
        compared += 1;
    }
    assert_eq!(compared, 256 * NUMBERS.len());
}
