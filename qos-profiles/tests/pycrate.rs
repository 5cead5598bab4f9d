//! The encoders and decoders against pycrate, another implementation of the same tables: it finds the same codes in our
//! octets, and makes the same octets of these codes. One Python process for each test; that pycrate is missing is a failure
//! (tests/run installs it). pycrate cannot do the short form of Release 97 and gives rates no meaning; tshark.rs has both.

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

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mexe_qos::eps_ie::{ApnAmbr, EpsQos};
use mexe_qos::extended_ie::{Count, ExtendedAmbr, ExtendedQos, Pair, Unit};
use mexe_qos::umts_ie::{Length, Part};
use mexe_qos::{ProfileSet, Qci, Rate, Release97, UmtsQos, qci::ArpBorders};

/// Reads `KIND HEX` lines; answers with the octets that it encodes of what it decoded, those that it
/// makes of the bare codes (never shorter than 12 octets, or 6 of an APN-AMBR), and the codes by name.
const SCRIPT: &str = "
import sys
from pycrate_mobile.TS24008_IE import QoS
from pycrate_mobile.TS24301_IE import APN_AMBR, EPSQoS, ExtAPN_AMBR, ExtEPSQoS
kinds = {'umts': QoS, 'eps': EPSQoS, 'ambr': APN_AMBR, 'extended-qos': ExtEPSQoS, 'extended-ambr': ExtAPN_AMBR}
for line in sys.stdin:
    kind, octets = line.split()
    read = kinds[kind]()
    read.from_bytes(bytes.fromhex(octets))
    codes = read.get_val_d()
    codes.pop('spare', None)
    made = kinds[kind](val=codes)
    flat = {}
    for name, code in codes.items():
        if isinstance(code, dict):
            flat.update({name + '.' + inner: value for inner, value in code.items()})
        else:
            flat[name] = code
    print(read.to_bytes().hex(), made.to_bytes().hex(), *[f'{name}={code}' for name, code in flat.items()])
";

/// A Python that has pycrate: MEXEGATE_PYCRATE names it, or it is where tests/run puts it, or the system's.
fn python() -> PathBuf {
    let named = std::env::var_os("MEXEGATE_PYCRATE").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let tools = home.map(|home| home.join(".cache/mexegate-tools/venv/bin/python"));
    let has_it = |python: &PathBuf| {
        let import = ["-c", "import pycrate_mobile"];
        Command::new(python).args(import).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    [named, tools, Some("python3".into())].into_iter().flatten().find(has_it).expect(
        "no Python has pycrate: install it as tests/run does, and name that Python by MEXEGATE_PYCRATE",
    )
}

/// The codes that pycrate finds in each element. That it encodes the same octets again, of what it read and of the bare
/// codes, is asserted.
fn judged(elements: &[(&str, Vec<u8>)]) -> Vec<BTreeMap<String, u16>> {
    let mut child = Command::new(python())
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = elements.iter().map(|(kind, value)| format!("{kind} {}\n", hex(value))).collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<_> = text.lines().collect();
    assert_eq!(answers.len(), elements.len());
    let judged = |((_, value), answer): (&(&str, Vec<u8>), &str)| {
        let mut words = answer.split(' ');
        let (again, made) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!(again, hex(value));
        let more = made.strip_prefix(again).unwrap_or_else(|| panic!("{made} of the codes of {again}"));
        assert!(more.bytes().all(|digit| digit == b'0'), "{made} of the codes of {again}");
        let codes = words.map(|word| word.split_once('=').unwrap());
        codes.map(|(name, code)| (name.to_owned(), code.parse().unwrap())).collect()
    };
    elements.iter().zip(answers).map(judged).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn their_name(part: Part) -> &'static str {
    match part {
        Part::DelayClass => "DelayClass",
        Part::ReliabilityClass => "ReliabilityClass",
        Part::PeakThroughput => "PeakThroughput",
        Part::PrecedenceClass => "PrecedenceClass",
        Part::MeanThroughput => "MeanThroughput",
        Part::TrafficClass => "TrafficClass",
        Part::DeliveryOrder => "DeliveryOrder",
        Part::ErroneousSdus => "ErroneousSDU",
        Part::MaxSdu => "MaxSDUSize",
        Part::MaxUp => "MaxULBitrate",
        Part::MaxDown => "MaxDLBitrate",
        Part::ResidualBer => "ResidualBER",
        Part::SduErrorRatio => "SDUErrorRatio",
        Part::TransferDelay => "TransferDelay",
        Part::TrafficHandlingPriority => "TrafficHandlingPriority",
        Part::GuaranteedUp => "GuaranteedULBitrate",
        Part::GuaranteedDown => "GuaranteedDLBitrate",
        Part::Signalling => "SignallingInd",
        Part::SourceStatistics => "SourceStatsDesc",
        Part::MaxDownExt => "MaxDLBitrateExt",
        Part::GuaranteedDownExt => "GuaranteedDLBitrateExt",
        Part::MaxUpExt => "MaxULBitrateExt",
        Part::GuaranteedUpExt => "GuaranteedULBitrateExt",
        Part::MaxDownExt2 => "MaxDLBitrateExt2",
        Part::GuaranteedDownExt2 => "GuaranteedDLBitrateExt2",
        Part::MaxUpExt2 => "MaxULBitrateExt2",
        Part::GuaranteedUpExt2 => "GuaranteedULBitrateExt2",
    }
}

/// Octets with every field going through its codes, and no spare bit set.
fn octets(length: Length, n: u8) -> Vec<u8> {
    const SPARE: [(usize, u8); 4] = [(0, 0xc0), (1, 0x08), (2, 0xe0), (11, 0xe0)];
    let octet = |at: usize| n.wrapping_add(u8::try_from(at * 37 % 256).unwrap());
    let mut value: Vec<_> = (0..length.octets()).map(octet).collect();
    for (at, spare) in SPARE {
        if let Some(octet) = value.get_mut(at) {
            *octet &= !spare;
        }
    }
    value
}

#[test]
fn pycrate_finds_the_same_codes_and_makes_the_same_octets() {
    let mut elements = Vec::new();
    for length in Length::ALL.into_iter().skip(1) {
        elements.extend((0..=u8::MAX).map(|n| ("umts", octets(length, n))));
    }
    // What our own encoder makes of what it read.
    let written: Vec<_> =
        elements.iter().map(|(kind, value)| (*kind, UmtsQos::decode(value).unwrap().encode())).collect();
    elements.extend(written);
    for profile in ProfileSet::shipped().iter() {
        let attributes = profile.attributes();
        let release97 = Release97::of(&attributes, ArpBorders::default());
        elements.push(("umts", UmtsQos { release97, attributes: Some(attributes) }.encode()));
    }
    for ((_, value), codes) in elements.iter().zip(judged(&elements)) {
        let ours: BTreeMap<_, _> = Part::all()
            .filter_map(|part| Some((their_name(part).to_owned(), part.code(value)?.into())))
            .collect();
        assert_eq!(codes, ours, "{}", hex(value));
    }
}

#[test]
fn pycrate_reads_the_elements_of_lte_as_we_write_them() {
    let rate = |mbits: u64| Rate::bits_per_second(mbits * 1_000_000);
    let mut elements = Vec::new();
    for mbits in [0, 1, 8, 16, 200, 256, 300, 700, 9_000, 65_280] {
        let qos = EpsQos {
            qci: Qci::new(1),
            max_bitrate_up: rate(mbits),
            max_bitrate_down: rate(mbits / 2),
            guaranteed_bitrate_up: rate(mbits / 3),
            guaranteed_bitrate_down: rate(mbits / 4),
        };
        elements.push(("eps", qos.encode()));
        elements.push(("ambr", ApnAmbr { up: rate(mbits), down: rate(mbits / 2) }.encode()));
    }
    elements.push(("eps", EpsQos { qci: Qci::new(9), ..EpsQos::default() }.encode()));
    const EPS: [&str; 4] = ["MaxULBitrate", "MaxDLBitrate", "GuaranteedULBitrate", "GuaranteedDLBitrate"];
    for ((kind, value), mut codes) in elements.iter().zip(judged(&elements)) {
        let names: Vec<String> = if *kind == "eps" {
            let groups = ["EPSQoSBitrate", "EPSQoSBitrateExt", "EPSQoSBitrateExt2"];
            let rates = groups.iter().flat_map(|group| EPS.map(|name| format!("{group}.{name}")));
            ["QCI".to_owned()].into_iter().chain(rates).collect()
        } else {
            ["DL", "UL", "DLExt", "ULExt", "DLExt2", "ULExt2"].map(str::to_owned).to_vec()
        };
        let ours: BTreeMap<_, _> = names.into_iter().zip(value.iter().copied().map(u16::from)).collect();
        // It counts the octets that a short APN-AMBR has not as 0.
        codes.retain(|name, code| *code != 0 || ours.contains_key(name));
        assert_eq!(codes, ours, "{kind} {}", hex(value));
    }
}

#[test]
fn pycrate_reads_extended_rates_as_we_write_them() {
    let rate = |gbits: u64| Rate::bits_per_second(gbits * 1_000_000_000);
    let mut elements = Vec::new();
    let mut said = Vec::new();
    for code in 0..=Unit::MOST.code() {
        for number in [0, 1, 256, 40_000, u16::MAX] {
            let unit = Unit::of(code);
            let pair = |up, down| unit.map(|unit| Pair { unit, up, down });
            let qos = ExtendedQos { max: pair(number, 7), guaranteed: pair(5, number) };
            elements.push(("extended-qos", qos.encode()));
            let numbers = if unit.is_some() { [number, 7, 5, number] } else { [0; 4] };
            said.push(vec![
                ("UnitMaxBitrate", u16::from(code)),
                ("MaxULBitrate", numbers[0]),
                ("MaxDLBitrate", numbers[1]),
                ("UnitGuaranteedBitrate", u16::from(code)),
                ("GuaranteedULBitrate", numbers[2]),
                ("GuaranteedDLBitrate", numbers[3]),
            ]);
        }
    }
    for gbits in [66, 300, 1_000] {
        let ambr = ExtendedAmbr::beside(&ApnAmbr { up: rate(gbits), down: rate(1) }).unwrap();
        let Count { unit, number } = ambr.up.unwrap();
        elements.push(("extended-ambr", ambr.encode()));
        let code = u16::from(unit.code());
        said.push(vec![("UnitDL", 0), ("DL", 0), ("UnitUL", code), ("UL", number)]);
    }
    for (((kind, value), codes), said) in elements.iter().zip(judged(&elements)).zip(said) {
        let said = said.into_iter().map(|(name, code)| (name.to_owned(), code)).collect();
        assert_eq!(codes, said, "{kind} {}", hex(value));
    }
}

#[test]
fn pycrate_has_the_same_units() {
    let script = "from pycrate_mobile.TS24301_IE import _UnitBitrate_dict as units\n\
                  for code, unit in units.items(): print(code, unit)";
    let output = Command::new(python()).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let theirs = text.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let power =
            ["kbps", "Mbps", "Gbps", "Tbps", "Pbps"].iter().position(|unit| *unit == words[2]).unwrap();
        let scale = 1_000_u64.pow(u32::try_from(power).unwrap() + 1);
        (words[0].parse::<u8>().unwrap(), words[1].parse::<u64>().unwrap() * scale)
    });
    let ours = (1..=Unit::MOST.code()).filter_map(|code| Some((code, Unit::of(code)?.bits())));
    assert!(theirs.eq(ours), "{text}");
}
