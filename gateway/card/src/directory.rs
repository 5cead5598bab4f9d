//! A card as a directory, for labs and for looking at one: a file for each elementary file, named as `docs/usim.md` says,
//! holding hexadecimal digits. Who may read which directory is the caller's business, who hands in the reading.

use std::io;

use mexe_certs::usim::{CardKind, File, Image, Part, Unread};

use crate::Fault;

/// Reads a card from files by their names; `read` gives a file's bytes, or nothing when there is no such file.
///
/// ```
/// let files = [("UST", "000000000001"), ("4F40", "00")];
/// let image = mexe_card::directory::read(|name| {
///     Ok(files.iter().find(|(n, _)| *n == name).map(|(_, text)| text.as_bytes().to_vec()))
/// });
/// assert!(image.unwrap().has_mexe());
/// ```
///
/// # Errors
/// A file cannot be read, or is not of the format; both service tables are there, or none.
pub fn read(mut read: impl FnMut(&str) -> io::Result<Option<Vec<u8>>>) -> Result<Image, Fault> {
    let mut lines_of = |name: &str| match read(name) {
        Ok(Some(bytes)) => {
            lines(&bytes).map(Some).map_err(|what| Fault::LocalFile { name: name.to_owned(), what })
        }
        Ok(None) => Ok(None),
        Err(error) => Err(Fault::LocalFile { name: name.to_owned(), what: error.to_string() }),
    };
    let usim = lines_of("UST")?;
    let gsm = lines_of("SST")?;
    let (kind, service_table) = match (usim, gsm) {
        (Some(lines), None) => (CardKind::Usim, bytes("UST", &lines)?),
        (None, Some(lines)) => (CardKind::GsmSim, bytes("SST", &lines)?),
        (Some(_), Some(_)) => {
            return Err(no_card("there are both UST and SST; keep the one of the card's kind"));
        }
        (None, None) => return Err(no_card("there is neither UST nor SST; name the directory of a card")),
    };
    let mut image = Image { service_table, ..Image::new(kind) };
    image.iccid = digits("ICCID", lines_of("ICCID")?)?;
    image.imsi = digits("IMSI", lines_of("IMSI")?)?;
    for (name, field) in [
        ("AD", &mut image.administrative_data),
        ("SPN", &mut image.provider_name),
        ("GID1", &mut image.group_identifier),
    ] {
        *field = bytes(name, &lines_of(name)?.unwrap_or_default())?;
    }
    while let Some(wanted) = image.wanted() {
        let name = wanted.file.to_string();
        let file = match (lines_of(&name)?, wanted.part) {
            (None, _) => File::Unread(Unread::Absent),
            (Some(lines), Part::First(length)) => {
                let mut bytes = bytes(&name, &lines)?;
                bytes.truncate(length);
                File::Bytes(bytes)
            }
            (Some(lines), Part::Records) => {
                let records: Vec<_> = lines.iter().map(|line| hex(&name, line)).collect::<Result<_, _>>()?;
                let length = records.first().map(Vec::len);
                match records.iter().all(|record| Some(record.len()) == length) {
                    true => File::Records(records),
                    false => File::Unread(Unread::Misshapen),
                }
            }
        };
        image.files.insert(wanted.file, file);
    }
    Ok(image)
}

fn no_card(what: &str) -> Fault {
    Fault::LocalFile { name: "UST".to_owned(), what: what.to_owned() }
}

/// The lines that say something: without comments and blanks.
fn lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    if bytes.len() > TEXT_MAX {
        return Err(format!("it has {} bytes, {TEXT_MAX} are allowed", bytes.len()));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| "it is not text; write hexadecimal digits".to_owned())?;
    let said = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    Ok(said
        .map(|line| line.chars().filter(|c| !c.is_whitespace()).collect::<String>())
        .filter(|line| !line.is_empty())
        .collect())
}

fn digits(name: &str, lines: Option<Vec<String>>) -> Result<String, Fault> {
    let text = lines.unwrap_or_default().concat();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 20 {
        Ok(text)
    } else {
        Err(Fault::LocalFile {
            name: name.to_owned(),
            what: "it is not a number of at most 20 digits".to_owned(),
        })
    }
}

fn bytes(name: &str, lines: &[String]) -> Result<Vec<u8>, Fault> {
    hex(name, &lines.concat())
}

fn hex(name: &str, text: &str) -> Result<Vec<u8>, Fault> {
    from_hex(text).ok_or_else(|| Fault::LocalFile {
        name: name.to_owned(),
        what: "a line is not pairs of hexadecimal digits".to_owned(),
    })
}

/// Pairs of hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Twice the largest file of a card, and room for comments.
const TEXT_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn image(files: &[(&str, &str)]) -> Result<Image, Fault> {
        read(|name| Ok(files.iter().find(|(n, _)| *n == name).map(|(_, text)| text.as_bytes().to_vec())))
    }

    #[test]
    fn comments_and_blanks_are_left_out_and_each_line_is_a_record() {
        let image = image(&[
            ("UST", "00 00 00 00 00 01 # service 41\n"),
            ("ICCID", "8988211000000000017\n"),
            ("4F40", "01"),
            ("4F41", "# two records\nFE01014F50000000020142\n\nFFFFFFFFFFFFFFFFFFFFFF\n"),
            ("4F50", "AA\nBB\nCC\n"),
        ])
        .unwrap();
        assert_eq!(image.iccid, "8988211000000000017");
        let File::Records(records) = &image.files[&mexe_certs::usim::FileId(0x4F41)] else { panic!() };
        assert_eq!(records.iter().map(Vec::len).collect::<Vec<_>>(), [11, 11]);
        // No more of the certificate file than the record names.
        assert_eq!(image.files[&mexe_certs::usim::FileId(0x4F50)], File::Bytes(vec![0xAA, 0xBB]));
    }

    #[test]
    fn records_of_unlike_lengths_are_no_linear_fixed_file() {
        let image = image(&[("UST", "000000000001"), ("4F40", "01"), ("4F41", "FFFF\nFF\n")]).unwrap();
        assert_eq!(image.files[&mexe_certs::usim::FileId(0x4F41)], File::Unread(Unread::Misshapen));
    }

    #[test]
    fn what_is_no_card_names_the_file() {
        for (files, name) in [
            (&[][..], "UST"),
            (&[("UST", "00"), ("SST", "00")], "UST"),
            (&[("UST", "0")], "UST"),
            (&[("UST", "zz")], "UST"),
            (&[("UST", "00"), ("IMSI", "00101x")], "IMSI"),
            (&[("UST", "00"), ("ICCID", "123456789012345678901")], "ICCID"),
        ] {
            match image(files) {
                Err(Fault::LocalFile { name: found, .. }) => assert_eq!(found, name),
                other => panic!("{files:?}: {other:?}"),
            }
        }
    }
}
