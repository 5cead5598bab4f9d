//! `qos decode`: shows what a quality of service element says, offline: field by field, and what it comes to. What the
//! octets mean is decided in `mexe_qos::umts_ie` and `extended_ie`; docs/qos-coding.md explains it.

use mexe_qos::UmtsQos;
use mexe_qos::extended_ie::{self, ExtendedQos, Pair};
use mexe_qos::umts_ie::fields;
use serde_json::{Map, Value, json};

use super::fault::{Fault, Stop};
use super::{Exit, Global, output};

/// Show what a quality of service element says (TS 24.008, or the extended one of TS 24.301), offline
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The value of the element in hexadecimal digits: without its identifier and its length octet
    #[arg(value_name = "HEX")]
    hex: String,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let value = octets(&args.hex)?;
    let wrong = |error| {
        Fault::usage("cannot read the element")
            .because(error)
            .help("give the value alone, without identifier and length octet")
    };
    // No element of TS 24.008 has as many octets as this one.
    if let Ok(said) = ExtendedQos::decode(&value) {
        return global.print(&extended(&value, said), text);
    }
    let fields = fields(&value).map_err(wrong)?;
    let said = UmtsQos::decode(&value).map_err(wrong)?;
    let answer = json!({
        "element": "qos",
        "octets": value.len(),
        "fields": fields,
        "release97": said.release97,
        "attributes": said.attributes,
        "findings": said.attributes.map(|attributes| attributes.check()).unwrap_or_default(),
    });
    global.print(&answer, text)
}

/// Rates that are not said are left out.
fn extended(value: &[u8], said: ExtendedQos) -> Value {
    let mut attributes = Map::new();
    let pairs: [(&[&str; 2], Option<Pair>); 2] = [
        (&["max_bitrate_up", "max_bitrate_down"], said.max),
        (&["guaranteed_bitrate_up", "guaranteed_bitrate_down"], said.guaranteed),
    ];
    for (names, pair) in pairs {
        let counts = pair.map(Pair::counts).into_iter().flatten();
        attributes
            .extend(names.iter().zip(counts).map(|(name, count)| ((*name).into(), count.to_string().into())));
    }
    json!({
        "element": "extended-qos",
        "octets": value.len(),
        "fields": extended_ie::fields(value).unwrap_or_default(),
        "release97": null,
        "attributes": attributes,
        "findings": [],
    })
}

/// The longest value there is, in digits; what is longer is not looked at.
const DIGITS_MAX: usize = 40;

fn octets(hex: &str) -> Result<Vec<u8>, Fault> {
    let wrong = |why: String| Fault::usage("cannot read the element").because(why);
    let digit = |digit: char| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if hex.len() > DIGITS_MAX && hex.is_ascii() {
        return Err(wrong(format!("{} digits are more than the {DIGITS_MAX} of the longest", hex.len())));
    }
    let digits = hex.chars().map(|c| digit(c).ok_or(c)).collect::<Result<Vec<_>, _>>();
    let digits = digits.map_err(|c| {
        wrong(format!("`{c}` is no hexadecimal digit"))
            .help("write the octets one after the other, as in 23931f")
    })?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong(format!("{} digits are no whole octets", digits.len()))
            .help("write two digits for each octet"));
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// For people: the fields, then what rates and the rest come to, then what is to be said about it.
fn text(answer: &Value) -> String {
    const COLUMNS: [output::Column; 4] =
        [("octet", "OCTET"), ("name", "FIELD"), ("code", "CODE"), ("meaning", "MEANING")];
    let fields = json!({ "items": answer.get("fields") });
    let mut parts = vec![output::list(&fields, &COLUMNS, "")];
    let rate = |(key, what): (&str, &str)| {
        let rate = answer.get("attributes")?.get(key)?;
        Some(format!("{what}  {}", rate.as_str().unwrap_or("subscribed")))
    };
    let rates: Vec<_> = [
        ("max_bitrate_up", "maximum uplink       "),
        ("max_bitrate_down", "maximum downlink     "),
        ("guaranteed_bitrate_up", "guaranteed uplink    "),
        ("guaranteed_bitrate_down", "guaranteed downlink  "),
    ]
    .into_iter()
    .filter_map(rate)
    .collect();
    if !rates.is_empty() {
        parts.push(format!("all in all\n{}", rates.join("\n")));
    }
    let findings = answer.get("findings").and_then(Value::as_array).into_iter().flatten();
    let findings: Vec<_> = findings
        .map(|finding| {
            let part = |key| output::cell(finding.get(key));
            format!("{} ({}): {}", part("attribute"), part("weight"), part("what"))
        })
        .collect();
    if !findings.is_empty() {
        parts.push(findings.join("\n"));
    }
    parts.join("\n\n")
}
