//! The modem's list of calls: lines of `+CLCC:` (TS 27.007, 7.18), and what else a modem says about calls on its own.

use super::End;

/// One voice call of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// The modem's number for it.
    pub(super) index: u8,
    /// Whether it was dialled here.
    pub(super) outgoing: bool,
    /// How far it is.
    pub(super) stage: Stage,
}

/// How far a listed call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Active,
    Held,
    Dialling,
    Alerting,
    /// It came in and was not answered.
    Incoming,
}

/// Reads a line; `None` when it makes no sense or is no voice call: some modems list their data sessions too.
pub(super) fn read(line: &str) -> Option<Listed> {
    let (_, fields) = line.split_once(':')?;
    let mut fields = fields.split(',').map(|field| field.trim().parse::<u8>().ok());
    let mut next = || fields.next().flatten();
    let (index, direction, stage, mode) = (next()?, next()?, next()?, next()?);
    let stage = match stage {
        0 => Stage::Active,
        1 => Stage::Held,
        2 => Stage::Dialling,
        3 => Stage::Alerting,
        4 | 5 => Stage::Incoming,
        _ => return None,
    };
    (mode == 0 && direction <= 1).then_some(Listed { index, outgoing: direction == 0, stage })
}

/// What a line says about a call, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It is over, and how.
    Over(Over),
    /// Something is new with it: the list says what.
    News,
}

/// How a modem says that a call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Busy,
    NoAnswer,
    /// The other side has ended it, or it never came about.
    NoCarrier,
    /// It would not dial.
    Refused(Option<u16>),
}

impl Over {
    /// As an end of a call that was answered, or was not.
    pub(super) const fn end(self, answered: bool) -> End {
        match self {
            Self::NoCarrier | Self::Busy | Self::NoAnswer if answered => End::HungUpThere,
            Self::Busy => End::Busy,
            Self::NoAnswer => End::NotAnswered,
            Self::NoCarrier => End::NotConnected,
            Self::Refused(number) => End::Refused(number),
        }
    }
}

/// What a line that came on its own says about a call. The makers' own words are recalled, not read.
pub(super) fn said(line: &str) -> Option<Said> {
    let line = line.to_ascii_uppercase();
    let over = match line.as_str() {
        "BUSY" => Over::Busy,
        "NO ANSWER" => Over::NoAnswer,
        "NO CARRIER" | "NO DIALTONE" | "NO DIAL TONE" => Over::NoCarrier,
        _ => {
            let news =
                ["VOICE CALL:", "^CEND:", "^CONF:", "^CONN:"].iter().any(|begin| line.starts_with(begin));
            return news.then_some(Said::News);
        }
    };
    Some(Said::Over(over))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_modems_write_them() {
        let listed = |index, outgoing, stage| Some(Listed { index, outgoing, stage });
        for (line, call) in [
            ("+CLCC: 1,0,2,0,0,\"+493012345\",145", listed(1, true, Stage::Dialling)),
            ("+CLCC:2,0,3,0,0", listed(2, true, Stage::Alerting)),
            ("+CLCC: 1, 0, 0, 0, 0, \"\", 129, \"\"", listed(1, true, Stage::Active)),
            ("+CLCC: 1,0,1,0,1", listed(1, true, Stage::Held)),
            ("+CLCC: 7,1,4,0,0,\"030,1\",129", listed(7, false, Stage::Incoming)),
            ("+CLCC: 7,1,5,0,0", listed(7, false, Stage::Incoming)),
            // A data session, a call that is being cleared, and nonsense.
            ("+CLCC: 1,0,0,1,0", None),
            ("+CLCC: 1,0,6,0,0", None),
            ("+CLCC: 1,2,0,0,0", None),
            ("+CLCC: 300,0,0,0,0", None),
            ("+CLCC: ", None),
            ("+CLCC: 1,0,0", None),
            ("+CLCC", None),
        ] {
            assert_eq!(read(line), call, "{line}");
        }
    }

    #[test]
    fn what_is_said_about_a_call_depends_on_whether_it_was_answered() {
        assert_eq!(said("NO CARRIER"), Some(Said::Over(Over::NoCarrier)));
        assert_eq!(said("^CEND:1,0,67"), Some(Said::News));
        assert_eq!(said("RING"), None);
        assert_eq!(Over::NoCarrier.end(false), End::NotConnected);
        assert_eq!(Over::NoCarrier.end(true), End::HungUpThere);
        assert_eq!(Over::Busy.end(false), End::Busy);
        assert_eq!(Over::NoAnswer.end(false), End::NotAnswered);
    }
}
