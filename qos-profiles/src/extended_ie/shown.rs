//! Extended quality of service field by field, for people and for scripts. Called by the verb `qos decode`.

use super::{Count, DecodeError, ExtendedQos, Pair, Unit};

/// One field of the element.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Field {
    /// The octet in which it begins, as the standard counts: the value begins with 3.
    pub octet: u8,
    /// Its name.
    pub name: &'static str,
    /// The number that stands there.
    pub code: u16,
    /// What it means, with its unit.
    pub meaning: String,
    /// Whether the code is one that the standard does not define.
    pub odd: bool,
}

/// Every field, in the order of the octets.
///
/// # Errors
/// The value's length is not the element's.
pub fn fields(value: &[u8]) -> Result<Vec<Field>, DecodeError> {
    let said = ExtendedQos::decode(value)?;
    let code = |at: usize| value.get(at).copied().unwrap_or(0);
    let pair = |at: u8, names: [&'static str; 3], pair: Option<Pair>| {
        let unit = code(usize::from(at));
        let numbers = [1, 3].map(|behind| {
            let at = usize::from(at) + behind;
            u16::from_be_bytes([code(at), code(at + 1)])
        });
        let rate = |which: usize| {
            let count = pair.and_then(|pair| pair.counts().into_iter().nth(which));
            (count.map_or(NOT_USED.into(), |count| count.to_string()), false)
        };
        let meanings = [unit_shown(unit), rate(0), rate(1)];
        let places = [(at, u16::from(unit)), (at + 1, numbers[0]), (at + 3, numbers[1])];
        places.into_iter().zip(names).zip(meanings).map(|(((at, code), name), (meaning, odd))| Field {
            octet: FIRST + at,
            name,
            code,
            meaning,
            odd,
        })
    };
    let max = pair(0, ["max-bitrate-unit", "max-bitrate-up", "max-bitrate-down"], said.max);
    let names = ["guaranteed-bitrate-unit", "guaranteed-bitrate-up", "guaranteed-bitrate-down"];
    Ok(max.chain(pair(5, names, said.guaranteed)).collect())
}

/// The octet with which the value begins.
const FIRST: u8 = 3;
const NOT_USED: &str = "not used";

fn unit_shown(code: u8) -> (String, bool) {
    match Unit::of(code) {
        None => (NOT_USED.into(), false),
        Some(unit) if unit.code() == code => (one(unit), false),
        Some(unit) => (format!("not defined, read as {}", one(unit)), true),
    }
}

fn one(unit: Unit) -> String {
    Count { unit, number: 1 }.to_string()
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [(&str, u128); 5] = [
            ("Pbit/s", 1_000_000_000_000_000),
            ("Tbit/s", 1_000_000_000_000),
            ("Gbit/s", 1_000_000_000),
            ("Mbit/s", 1_000_000),
            ("kbit/s", 1_000),
        ];
        let bits = self.bits();
        let fits = |(_, scale): &(&str, u128)| bits > 0 && bits.is_multiple_of(*scale);
        let (unit, scale) = UNITS.into_iter().find(fits).unwrap_or(("kbit/s", 1_000));
        write!(f, "{} {unit}", bits / scale)
    }
}
