//! The voice side of the fake modem: ATD, ATH, AT+CHUP, AT+CLCC, AT+VTS and AT+CUSD, with the habits in which modems differ. What
//! becomes of a call is a course of steps in time, and a test may push it on by hand.

use std::time::{Duration, Instant};

/// What this modem does about calls.
#[derive(Debug, Clone)]
pub struct VoiceHabits {
    /// Knows calls at all.
    pub voice: bool,
    /// Answers ATD only when the call is answered or over, and takes any byte before that as a wish to stop.
    pub answers_late: bool,
    /// Will not dial: `ERROR`, or `+CME ERROR:` with that number.
    pub refuses: Option<Option<u16>>,
    /// What ATH does.
    pub ath: Obedience,
    /// What AT+CHUP does.
    pub chup: Obedience,
    /// How it wants a tone: `"_"` stands for `AT+VTS="5"`, `_` for `AT+VTS=5`.
    pub tones: &'static str,
    /// How long one tone takes.
    pub tone: Duration,
    /// So many tones are taken, and then none.
    pub tones_max: usize,
    /// What becomes of a call: how long after the step before, and what.
    pub course: Vec<(Duration, Progress)>,
    /// Lists a data session as well.
    pub session: bool,
    /// Says this between an answer and its `OK`.
    pub midway: Vec<String>,
}

impl Default for VoiceHabits {
    fn default() -> Self {
        Self {
            voice: true,
            answers_late: false,
            refuses: None,
            ath: Obedience::Obeys,
            chup: Obedience::Obeys,
            tones: "_",
            tone: Duration::ZERO,
            tones_max: usize::MAX,
            course: Vec::new(),
            session: false,
            midway: Vec::new(),
        }
    }
}

/// What a modem does when it is told to end a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obedience {
    /// It ends it.
    Obeys,
    /// It says `OK` and does nothing (AT+CVHU=1).
    SaysOk,
    /// It says `ERROR`.
    Refuses,
}

/// A step of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It rings there.
    Alerting,
    /// It is answered.
    Answered,
    /// Something else on the device holds it.
    Held,
    /// It is over, with these words or none.
    Over(&'static str),
}

/// The calls of a modem.
#[derive(Default)]
pub(crate) struct Line {
    calls: Vec<Talk>,
    /// ATD was not answered yet.
    pub(crate) waits: bool,
    course: Vec<(Duration, Progress)>,
    since: Option<Instant>,
    pub(crate) tones: String,
    /// The service codes that it was asked for.
    pub(crate) codes: Vec<String>,
}

struct Talk {
    outgoing: bool,
    stage: u8,
    number: String,
}

impl Line {
    /// Puts a call there that came in.
    pub(crate) fn comes_in(&mut self, stage: u8) {
        self.calls.push(Talk { outgoing: false, stage, number: "+493099999".to_owned() });
    }

    /// How many calls there are.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// A byte while ATD waits for its answer: it stops.
    pub(crate) fn stop(&mut self) -> String {
        self.progress(Progress::Over("NO CARRIER"))
    }

    /// Moves our call on; what the modem says about it.
    pub(crate) fn progress(&mut self, progress: Progress) -> String {
        let Some(at) = self.calls.iter().position(|call| call.outgoing) else { return String::new() };
        match progress {
            Progress::Alerting => self.calls[at].stage = 3,
            Progress::Answered => {
                self.calls[at].stage = 0;
                if std::mem::take(&mut self.waits) {
                    return "\r\nOK\r\n".to_owned();
                }
            }
            Progress::Held => self.calls[at].stage = 1,
            Progress::Over(words) => {
                self.calls.remove(at);
                self.waits = false;
                self.course.clear();
                if !words.is_empty() {
                    return format!("\r\n{words}\r\n");
                }
            }
        }
        String::new()
    }

    /// What is due of the course by now.
    pub(crate) fn tick(&mut self) -> String {
        let mut said = String::new();
        while let (Some(since), Some((after, progress))) = (self.since, self.course.first().copied()) {
            if since.elapsed() < after {
                break;
            }
            self.course.remove(0);
            self.since = Some(since + after);
            said += &self.progress(progress);
        }
        said
    }

    /// Answers a command for calls; `None` when it is another.
    pub(crate) fn done(
        &mut self,
        line: &str,
        habits: &VoiceHabits,
    ) -> Option<Result<Option<String>, Option<u16>>> {
        if !habits.voice {
            return None;
        }
        if let Some(number) = line.strip_prefix("ATD") {
            // Without the semicolon it would be a data call.
            let Some(number) = number.strip_suffix(';') else { return Some(Err(None)) };
            return Some(self.dial(number, habits));
        }
        let (name, argument) = line.split_once('=').unwrap_or((line, ""));
        match name {
            "ATH" => Some(self.end(habits.ath)),
            "AT+CHUP" => Some(self.end(habits.chup)),
            "AT+CLCC" => Some(Ok(self.list(habits))),
            "AT+VTS" => Some(self.tone(argument, habits)),
            "AT+CUSD" => Some(self.code(argument)),
            _ => None,
        }
    }

    fn dial(&mut self, number: &str, habits: &VoiceHabits) -> Result<Option<String>, Option<u16>> {
        if let Some(refuses) = habits.refuses {
            return Err(refuses);
        }
        self.calls.push(Talk { outgoing: true, stage: 2, number: number.to_owned() });
        self.waits = habits.answers_late;
        self.course = habits.course.clone();
        self.since = Some(Instant::now());
        Ok(None)
    }

    fn end(&mut self, obedience: Obedience) -> Result<Option<String>, Option<u16>> {
        match obedience {
            Obedience::Obeys => self.calls.retain(|call| !call.outgoing),
            Obedience::SaysOk => {}
            Obedience::Refuses => return Err(None),
        }
        Ok(None)
    }

    fn list(&self, habits: &VoiceHabits) -> Option<String> {
        let calls = self.calls.iter().enumerate().map(|(at, call)| {
            let (direction, stage, number) = (u8::from(!call.outgoing), call.stage, &call.number);
            format!("+CLCC: {},{direction},{stage},0,0,\"{number}\",145", at + 1)
        });
        let session = habits.session.then(|| "+CLCC: 9,0,0,1,0".to_owned());
        let lines: Vec<String> = session.into_iter().chain(calls).collect();
        (!lines.is_empty()).then(|| lines.join("\r\n"))
    }

    fn code(&mut self, argument: &str) -> Result<Option<String>, Option<u16>> {
        let code =
            argument.strip_prefix("1,\"").and_then(|rest| rest.strip_suffix("\",15")).ok_or(Some(50))?;
        self.codes.push(code.to_owned());
        Ok(None)
    }

    fn tone(&mut self, argument: &str, habits: &VoiceHabits) -> Result<Option<String>, Option<u16>> {
        if !self.calls.iter().any(|call| call.stage == 0) {
            return Err(Some(3));
        }
        let (before, after) = habits.tones.split_once('_').expect("a form");
        let tone = argument.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).ok_or(None)?;
        if !(tone.len() == 1 && "0123456789*#ABCD".contains(tone)) || self.tones.len() >= habits.tones_max {
            return Err(None);
        }
        self.tones.push_str(tone);
        Ok(None)
    }
}
