//! What is said to a modem and how its answers are told apart (TS 27.007), without any port: commands as text, and lines
//! out of bytes. The one place that makes text for a modem. [`Command`] has no form for a PIN.

use mexe_certs::usim::CardKind;
use mexe_wire::pdp;
use mexe_wire::telephone::{Number, ServiceCode, Tone};

use crate::apdu::Apdu;

/// A command to the modem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Is anyone there.
    Attention,
    /// Do not repeat what is sent.
    EchoOff,
    /// Say errors as numbers.
    NumericErrors,
    /// The subscriber's identity.
    Imsi,
    /// The card's number.
    CardNumber,
    /// One access to a file of the card, done by the modem itself.
    Restricted {
        /// What to do.
        access: Access,
        /// The path from the master file, the file last.
        path: Vec<u16>,
    },
    /// A command for the card.
    Generic {
        /// The command.
        apdu: Apdu,
        /// The kind of card that it is for.
        kind: CardKind,
    },
    /// For a data context.
    Context(pdp::Command),
    /// A voice call.
    Dial(Number),
    /// A request to the network, in the form that can begin no call. Its answer is not waited for.
    ServiceCode(ServiceCode),
    /// End the call, as modems have always been told.
    HangUp,
    /// End the voice call, where a modem says yes to [`Command::HangUp`] and does nothing (+CVHU).
    HangUpVoice,
    /// Which calls there are.
    CurrentCalls,
    /// One tone into the call.
    Tone {
        /// Which.
        tone: Tone,
        /// How this modem wants it written.
        form: ToneForm,
    },
}

/// How a tone is written; modems differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToneForm {
    /// `AT+VTS=5`.
    Plain,
    /// `AT+VTS="5"`.
    Quoted,
    /// `AT+VTS={5,2}`: for two tenths of a second.
    Timed,
}

impl ToneForm {
    /// Every form, the most common first.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Quoted, Self::Timed];
}

/// An access of AT+CRSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// What the file is.
    GetResponse {
        /// Bytes; 0 is all.
        length: u8,
    },
    /// Bytes of a transparent file.
    ReadBinary {
        /// Where to begin.
        offset: u16,
        /// How many.
        length: u8,
    },
    /// A record of a linear fixed file.
    ReadRecord {
        /// Its number, from 1 on.
        number: u8,
        /// Its length.
        length: u8,
    },
}

impl Command {
    /// The text, without the carriage return that ends it.
    pub fn text(&self) -> String {
        match self {
            Self::Attention => "AT".to_owned(),
            Self::EchoOff => "ATE0".to_owned(),
            Self::NumericErrors => "AT+CMEE=1".to_owned(),
            Self::Imsi => "AT+CIMI".to_owned(),
            Self::CardNumber => "AT+CCID".to_owned(),
            Self::Restricted { access, path } => {
                let (command, p1, p2, p3) = match access {
                    Access::GetResponse { length } => (192, 0, 0, *length),
                    Access::ReadBinary { offset, length } => {
                        let [high, low] = offset.to_be_bytes();
                        (176, high & 0x7F, low, *length)
                    }
                    Access::ReadRecord { number, length } => (178, *number, 4, *length),
                };
                let (file, folders) =
                    path.split_last().map_or((0, &[][..]), |(file, folders)| (*file, folders));
                let folders: String = folders.iter().map(|id| format!("{id:04X}")).collect();
                let of = if folders.is_empty() { String::new() } else { format!(",,\"{folders}\"") };
                format!("AT+CRSM={command},{file},{p1},{p2},{p3}{of}")
            }
            Self::Generic { apdu, kind } => {
                let hex: String =
                    apdu.encode(*kind, false).iter().map(|byte| format!("{byte:02X}")).collect();
                format!("AT+CSIM={},\"{hex}\"", hex.len())
            }
            Self::Context(command) => command.text(),
            Self::Dial(number) => format!("ATD{number};"),
            Self::ServiceCode(code) => format!("AT+CUSD=1,\"{code}\",15"),
            Self::HangUp => "ATH".to_owned(),
            Self::HangUpVoice => "AT+CHUP".to_owned(),
            Self::CurrentCalls => "AT+CLCC".to_owned(),
            Self::Tone { tone, form } => {
                let tone = tone.as_char();
                match form {
                    ToneForm::Plain => format!("AT+VTS={tone}"),
                    ToneForm::Quoted => format!("AT+VTS=\"{tone}\""),
                    ToneForm::Timed => format!("AT+VTS={{{tone},2}}"),
                }
            }
        }
    }

    /// What may stand in an error or a log: a number is the user's business, and tones may be a PIN.
    pub fn name(&self) -> String {
        match self {
            Self::Context(command) => command.name(),
            Self::Dial(_) => "ATD".to_owned(),
            Self::ServiceCode(_) => "AT+CUSD".to_owned(),
            Self::Tone { .. } => "AT+VTS".to_owned(),
            other => other.text(),
        }
    }

    /// How many lines may answer it.
    pub(crate) const fn answers_max(&self) -> usize {
        match self {
            // TS 22.030 knows of seven calls at a time and a waiting one.
            Self::CurrentCalls => 16,
            Self::Context(command) => command.answers_max(),
            _ => 1,
        }
    }

    /// Whether a line is this command's answer; every other line came on its own.
    pub(crate) fn is_answer(&self, line: &str) -> bool {
        let begins =
            |prefix: &str| line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let is_digits = || !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            Self::Attention
            | Self::EchoOff
            | Self::NumericErrors
            | Self::Dial(_)
            | Self::ServiceCode(_)
            | Self::HangUp
            | Self::HangUpVoice
            | Self::Tone { .. } => false,
            Self::Context(command) => command.is_answer(line),
            Self::CurrentCalls => begins("+CLCC:"),
            Self::Imsi => is_digits() || begins("+CIMI:"),
            Self::CardNumber => is_digits() || ["+CCID:", "+ICCID:", "^ICCID:"].into_iter().any(begins),
            Self::Restricted { .. } => begins("+CRSM:"),
            Self::Generic { .. } => begins("+CSIM:"),
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Final {
    /// It was done.
    Done,
    /// It was not: the number of the error (TS 27.007, 9.2), when there is one, and the line.
    Failed(Option<u16>, String),
}

impl Final {
    /// Reads a line, if it is one that ends a command. How a call ended (`NO CARRIER` and the like) is none: it may come
    /// in the middle of any answer.
    pub fn read(line: &str) -> Option<Self> {
        let failed = |number| Some(Self::Failed(number, line.to_owned()));
        match line {
            "OK" => Some(Self::Done),
            "ERROR" | "COMMAND NOT SUPPORT" => failed(None),
            _ => {
                let cme = line.strip_prefix("+CME ERROR:").or_else(|| line.strip_prefix("+CMS ERROR:"))?;
                let cme = cme.trim();
                failed(cme.parse().ok().or_else(|| number_of(cme)))
            }
        }
    }
}

/// The numbers of the texts that modems say with AT+CMEE=2, of those that matter here.
fn number_of(text: &str) -> Option<u16> {
    let text = text.to_ascii_lowercase();
    let numbers = [
        ("operation not allowed", 3),
        ("operation not supported", 4),
        ("sim not inserted", SIM_NOT_INSERTED),
        ("sim pin required", SIM_PIN_REQUIRED),
        ("sim puk required", SIM_PUK_REQUIRED),
        ("sim failure", SIM_FAILURE),
        ("sim busy", SIM_BUSY),
        ("sim wrong", 15),
    ];
    numbers.into_iter().find(|(known, _)| *known == text).map(|(_, number)| number)
}

/// TS 27.007, 9.2.1.
pub(crate) const SIM_NOT_INSERTED: u16 = 10;
pub(crate) const SIM_PIN_REQUIRED: u16 = 11;
pub(crate) const SIM_PUK_REQUIRED: u16 = 12;
pub(crate) const SIM_FAILURE: u16 = 13;
pub(crate) const SIM_BUSY: u16 = 14;
pub(crate) const SIM_PIN2_REQUIRED: u16 = 17;
pub(crate) const SIM_PUK2_REQUIRED: u16 = 18;

/// Lines out of bytes, however they come cut.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// The line that is coming in is too long to be anything: dropped to its end.
    skipping: bool,
}

impl Lines {
    /// Takes what came in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line that is not empty, without its end and with nothing but printable ASCII in it.
    pub fn next_line(&mut self) -> Option<String> {
        loop {
            let Some(end) = self.buffer.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
                if self.buffer.len() > LINE_MAX {
                    self.buffer.clear();
                    self.skipping = true;
                }
                return None;
            };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if std::mem::take(&mut self.skipping) || line.len() > LINE_MAX {
                continue;
            }
            let line: String = line
                .iter()
                .filter(|byte| matches!(byte, b' '..=b'~'))
                .map(|byte| char::from(*byte))
                .collect();
            let line = line.trim();
            if !line.is_empty() {
                return Some(line.to_owned());
            }
        }
    }

    /// Forgets what came in so far.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The two status bytes and the data of a `+CRSM:` line: `144,0,"..."`.
pub(crate) fn restricted_answer(line: &str) -> Option<(u16, Vec<u8>)> {
    let (_, rest) = line.split_once(':')?;
    let mut fields = rest.splitn(3, ',').map(str::trim);
    let sw1: u8 = fields.next()?.parse().ok()?;
    let sw2: u8 = fields.next()?.parse().ok()?;
    let data = crate::directory::from_hex(fields.next().unwrap_or_default().trim_matches('"'))?;
    Some((u16::from_be_bytes([sw1, sw2]), data))
}

/// The bytes of a `+CSIM:` line: `4,"9000"`.
pub(crate) fn generic_answer(line: &str) -> Option<Vec<u8>> {
    let (_, rest) = line.split_once(':')?;
    let (length, data) = rest.split_once(',')?;
    let data = data.trim().trim_matches('"');
    let length: usize = length.trim().parse().ok()?;
    (data.len() == length).then(|| crate::directory::from_hex(data)).flatten()
}

/// An answer of 258 bytes in AT+CSIM, with room to spare.
const LINE_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use mexe_wire::telephone::{EmergencyNumbers, Tones};

    use super::*;

    #[test]
    fn the_texts_are_those_of_the_standard() {
        let path = vec![0x7FFF, 0x5F3C, 0x4F41];
        let restricted = |access| Command::Restricted { access, path: path.clone() }.text();
        assert_eq!(restricted(Access::GetResponse { length: 0 }), r#"AT+CRSM=192,20289,0,0,0,,"7FFF5F3C""#);
        assert_eq!(
            restricted(Access::ReadRecord { number: 2, length: 30 }),
            r#"AT+CRSM=178,20289,2,4,30,,"7FFF5F3C""#
        );
        assert_eq!(
            restricted(Access::ReadBinary { offset: 0x0102, length: 255 }),
            r#"AT+CRSM=176,20289,1,2,255,,"7FFF5F3C""#
        );
        let top =
            Command::Restricted { access: Access::ReadBinary { offset: 0, length: 10 }, path: vec![0x2FE2] };
        assert_eq!(top.text(), "AT+CRSM=176,12258,0,0,10");
        let select = Command::Generic { apdu: Apdu::SelectPath(path), kind: CardKind::Usim };
        assert_eq!(select.text(), r#"AT+CSIM=22,"00A40804067FFF5F3C4F41""#);
        let number = Number::parse("+49 30 12345", &EmergencyNumbers::default()).unwrap();
        let dial = Command::Dial(number);
        assert_eq!((dial.text(), dial.name()), ("ATD+493012345;".to_owned(), "ATD".to_owned()));
        let tones = Tones::parse("#").unwrap();
        let sent = ToneForm::ALL.map(|form| {
            let tone = tones.iter().next().unwrap();
            let command = Command::Tone { tone, form };
            assert!(!format!("{command:?}{}", command.name()).contains('#'));
            command.text()
        });
        assert_eq!(sent, ["AT+VTS=#", "AT+VTS=\"#\"", "AT+VTS={#,2}"]);
    }

    #[test]
    fn final_results_are_told_from_everything_else() {
        assert_eq!(Final::read("OK"), Some(Final::Done));
        assert_eq!(Final::read("+CME ERROR: 14"), Some(Final::Failed(Some(14), "+CME ERROR: 14".to_owned())));
        let text = "+CME ERROR: SIM not inserted";
        assert_eq!(Final::read(text), Some(Final::Failed(Some(10), text.to_owned())));
        for line in
            ["+CRSM: 144,0", "001010123456789", "+CPIN: READY", "OKAY", "", "NO CARRIER", "BUSY", "RING"]
        {
            assert_eq!(Final::read(line), None, "{line}");
        }
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let bytes = b"\r\n+CRSM: 144,0,\"AB\"\r\n\r\nOK\r\nAT+CIMI\r\r\n00101\r\n";
        for piece in 1..bytes.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for part in bytes.chunks(piece) {
                lines.push(part);
                found.extend(std::iter::from_fn(|| lines.next_line()));
            }
            assert_eq!(found, ["+CRSM: 144,0,\"AB\"", "OK", "AT+CIMI", "00101"]);
        }
    }

    #[test]
    fn endless_lines_are_dropped_and_the_next_one_is_read() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.push(&[b'x'; 1000]);
            assert_eq!(lines.next_line(), None);
            assert!(lines.buffer.len() <= LINE_MAX);
        }
        lines.push(b"\r\nOK\r\n");
        assert_eq!(lines.next_line().as_deref(), Some("OK"));
    }

    #[test]
    fn answers_that_make_no_sense_are_none() {
        assert_eq!(restricted_answer("+CRSM: 144,0,\"AB01\""), Some((0x9000, vec![0xAB, 1])));
        assert_eq!(restricted_answer("+CRSM: 106,130"), Some((0x6A82, vec![])));
        assert_eq!(restricted_answer("+CRSM: 144,0,\"AB0\""), None);
        assert_eq!(restricted_answer("+CRSM: 300,0"), None);
        assert_eq!(generic_answer("+CSIM: 4,\"9000\""), Some(vec![0x90, 0]));
        assert_eq!(generic_answer("+CSIM: 6,\"9000\""), None);
        assert_eq!(generic_answer("+CSIM: 4"), None);
    }
}
