//! A fake modem on a pseudo terminal, with an emulated card in its slot: AT+CIMI, AT+CCID, AT+CRSM, AT+CSIM and the
//! words that modems say on their own; and voice calls ([`crate::line`]). Its habits are switches, because no two modems
//! have the same. It keeps every line and every byte that it was ever sent. Data contexts are [`crate::contexts`]'.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mexe_forge::usim::Card;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::card::Emulator;
use crate::contexts::{ContextHabits, ContextSide, Profile, Wrong};
use crate::line::{Line, Progress, VoiceHabits};

/// What this modem does.
#[derive(Debug, Clone)]
pub struct Habits {
    /// Repeats what it is sent, until ATE0.
    pub echo: bool,
    /// Writes this many bytes at once; 0 writes all.
    pub piece: usize,
    /// Knows AT+CRSM.
    pub restricted: bool,
    /// Knows paths in AT+CRSM; without, it looks for each file in a folder of its own liking and finds none.
    pub paths: bool,
    /// Knows AT+CSIM.
    pub generic: bool,
    /// Says this before each answer.
    pub chatter: Vec<String>,
    /// Says `+CME ERROR: 14` to so many commands for the card.
    pub busy: u32,
    /// Says errors in words instead of numbers.
    pub verbose: bool,
    /// Answers nothing at all.
    pub silent: bool,
    /// Answers with this instead of what is right.
    pub instead: Option<String>,
    /// What it does about calls.
    pub calls: VoiceHabits,
    /// What it does about contexts; without, it knows none.
    pub contexts: Option<ContextHabits>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            echo: true,
            piece: 0,
            restricted: true,
            paths: true,
            generic: true,
            chatter: Vec::new(),
            busy: 0,
            verbose: false,
            silent: false,
            instead: None,
            calls: VoiceHabits::default(),
            contexts: None,
        }
    }
}

struct State {
    habits: Habits,
    card: Option<Emulator>,
    line: Line,
    contexts: ContextSide,
    bytes: Vec<u8>,
    heard: Vec<String>,
    to_card: Vec<Vec<u8>>,
}

/// The modem; gone when dropped.
pub struct FakeModem {
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    master: Arc<File>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    /// Without anyone on the other side the master would read errors.
    _other_side: OwnedFd,
}

impl FakeModem {
    /// Starts one with that card in it.
    pub fn start(card: Option<&Card>, habits: Habits) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let other_side = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        // A terminal would echo and translate; a serial line does neither.
        let mut raw = tcgetattr(&other_side).unwrap();
        raw.make_raw();
        tcsetattr(&other_side, OptionalActions::Now, &raw).unwrap();
        let mut state = State {
            habits,
            card: card.map(Emulator::new),
            line: Line::default(),
            contexts: ContextSide::default(),
            bytes: Vec::new(),
            heard: Vec::new(),
            to_card: Vec::new(),
        };
        if let Some(habits) = &state.habits.contexts {
            state.contexts.activate_first(habits);
        }
        let state = Arc::new(Mutex::new(state));
        let over = Arc::new(AtomicBool::new(false));
        let master = Arc::new(File::from(master));
        let thread = {
            let (state, over, master) = (state.clone(), over.clone(), master.clone());
            std::thread::spawn(move || serve(&master, &state, &over))
        };
        Self { state, over, master, thread: Some(thread), path, _other_side: other_side }
    }

    /// The port.
    pub fn port(&self) -> &Path {
        &self.path
    }

    /// Changes its habits.
    pub fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.state.lock().unwrap().habits);
    }

    /// Changes something about the card that is in.
    pub fn with_card(&self, change: impl FnOnce(&mut Emulator)) {
        change(self.state.lock().unwrap().card.as_mut().expect("a card is in"));
    }

    /// Puts another card in, or takes the card out, without a word.
    pub fn swap(&self, card: Option<&Card>) {
        let mut state = self.state.lock().unwrap();
        if let Some(old) = state.card.take() {
            state.to_card.extend(old.heard);
        }
        state.card = card.map(Emulator::new);
    }

    /// Says a line on its own.
    pub fn say(&self, line: &str) {
        write(&self.master, &format!("\r\n{line}\r\n"), 0);
    }

    /// Every line that it was ever sent.
    pub fn heard(&self) -> Vec<String> {
        self.state.lock().unwrap().heard.clone()
    }

    /// Every byte that it was ever sent.
    pub fn bytes(&self) -> Vec<u8> {
        self.state.lock().unwrap().bytes.clone()
    }

    /// Moves the call that was dialled on.
    pub fn progress(&self, progress: Progress) {
        let mut state = self.state.lock().unwrap();
        let said = state.line.progress(progress);
        write(&self.master, &said, 0);
    }

    /// Puts a call there that came in: 0 is active, 1 held, 4 ringing.
    pub fn comes_in(&self, stage: u8) {
        self.state.lock().unwrap().line.comes_in(stage);
    }

    /// How many calls it has.
    pub fn calls(&self) -> usize {
        self.state.lock().unwrap().line.calls()
    }

    /// The tones that went into calls.
    pub fn tones(&self) -> String {
        self.state.lock().unwrap().line.tones.clone()
    }

    /// The service codes that it sent to the network.
    pub fn codes(&self) -> Vec<String> {
        self.state.lock().unwrap().line.codes.clone()
    }

    /// Its contexts as they are now.
    pub fn contexts(&self) -> ContextSide {
        self.state.lock().unwrap().contexts.clone()
    }

    /// Changes something about its contexts without a word.
    pub fn with_contexts(&self, change: impl FnOnce(&mut ContextSide)) {
        change(&mut self.state.lock().unwrap().contexts);
    }

    /// Changes what its network does about contexts.
    pub fn with_network(&self, change: impl FnOnce(&mut ContextHabits)) {
        change(self.state.lock().unwrap().habits.contexts.as_mut().expect("it knows contexts"));
    }

    /// The network changes what a context has.
    pub fn network_modifies(&self, cid: u8, change: impl FnOnce(&mut Profile)) {
        let said = self.state.lock().unwrap().contexts.network_modifies(cid, change);
        write(&self.master, &said, 0);
    }

    /// The network takes a context away.
    pub fn network_drops(&self, cid: u8) {
        let said = self.state.lock().unwrap().contexts.network_drops(cid);
        write(&self.master, &said, 0);
    }

    /// The base station recommends a rate, kbit/s: direction 1 up, 2 down.
    pub fn recommends(&self, rate: u32, direction: u8) {
        let said = self.state.lock().unwrap().contexts.recommends(rate, direction);
        write(&self.master, &said, 0);
    }

    /// Every command that its cards were ever sent.
    pub fn sent_to_cards(&self) -> Vec<Vec<u8>> {
        let state = self.state.lock().unwrap();
        let now = state.card.iter().flat_map(|card| card.heard.clone());
        state.to_card.iter().cloned().chain(now).collect()
    }
}

impl Drop for FakeModem {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(master: &File, state: &Mutex<State>, over: &AtomicBool) {
    let mut buffer = Vec::new();
    let tick = rustix::time::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !over.load(Ordering::SeqCst) {
        {
            // Said before anybody else looks at the list.
            let mut state = state.lock().unwrap();
            let said = state.line.tick();
            write(master, &said, state.habits.piece);
        }
        let mut ready = [PollFd::new(master, PollFlags::IN)];
        if !matches!(poll(&mut ready, Some(&tick)), Ok(1..)) {
            continue;
        }
        let mut piece = [0; 1024];
        let mut reading = master;
        let Ok(read @ 1..) = reading.read(&mut piece) else { continue };
        {
            let mut state = state.lock().unwrap();
            state.bytes.extend_from_slice(&piece[..read]);
            if state.line.waits {
                // Whatever it was.
                let said = state.line.stop();
                write(master, &said, state.habits.piece);
                continue;
            }
        }
        buffer.extend_from_slice(&piece[..read]);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\r') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            let pause = {
                let habits = &state.lock().unwrap().habits;
                match &habits.contexts {
                    _ if line.starts_with("AT+VTS") => habits.calls.tone,
                    Some(contexts) if line.starts_with("AT+CGACT=") || line.starts_with("AT+CGCMOD") => {
                        contexts.network
                    }
                    _ => Duration::ZERO,
                }
            };
            std::thread::sleep(pause);
            let (answer, piece) = state.lock().unwrap().answer(&line);
            write(master, &answer, piece);
        }
    }
}

fn write(mut master: &File, text: &str, piece: usize) {
    let piece = if piece == 0 { text.len().max(1) } else { piece };
    for part in text.as_bytes().chunks(piece) {
        let _ = master.write_all(part);
        if piece < text.len() {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl State {
    fn answer(&mut self, line: &str) -> (String, usize) {
        if line.is_empty() {
            return (String::new(), 0);
        }
        self.heard.push(line.to_owned());
        let mut out = String::new();
        if self.habits.echo {
            out += &format!("{line}\r");
        }
        if self.habits.silent {
            return (out, 0);
        }
        let wrong = self.habits.contexts.iter().flat_map(|contexts| &contexts.wrong);
        match wrong.into_iter().find(|(begin, _)| line.starts_with(begin)).map(|(_, wrong)| wrong.clone()) {
            Some(Wrong::Silent) => return (out, 0),
            Some(Wrong::Says(lines)) => {
                return (format!("{out}\r\n{lines}\r\n\r\nOK\r\n"), self.habits.piece);
            }
            Some(Wrong::Error(number)) => return (out + &self.error(number), self.habits.piece),
            Some(Wrong::Half) => {
                let answer = self.done(line).ok().flatten().unwrap_or_else(|| "OK".to_owned());
                return (format!("{out}\r\n{}", &answer[..answer.len() / 2]), self.habits.piece);
            }
            None => {}
        }
        for chatter in &self.habits.chatter {
            out += &format!("\r\n{chatter}\r\n");
        }
        if line.eq_ignore_ascii_case("ATE0") {
            self.habits.echo = false;
        }
        let midway: String = self.habits.calls.midway.iter().map(|line| format!("\r\n{line}\r\n")).collect();
        let done = self.done(line);
        if self.line.waits {
            return (out, self.habits.piece);
        }
        out += &match done {
            Ok(None) => format!("{midway}\r\nOK\r\n"),
            Ok(Some(answer)) => format!("\r\n{answer}\r\n{midway}\r\nOK\r\n"),
            Err(number) => self.error(number),
        };
        (out, self.habits.piece)
    }

    fn error(&self, number: Option<u16>) -> String {
        match number {
            None => "\r\nERROR\r\n".to_owned(),
            Some(number) if self.habits.verbose => format!("\r\n+CME ERROR: {}\r\n", in_words(number)),
            Some(number) => format!("\r\n+CME ERROR: {number}\r\n"),
        }
    }

    /// The line that answers, or the number of an error.
    fn done(&mut self, line: &str) -> Result<Option<String>, Option<u16>> {
        if let Some(done) = self.line.done(line, &self.habits.calls) {
            return done;
        }
        if let Some(habits) = &self.habits.contexts
            && let Some(done) = self.contexts.done(line, habits)
        {
            return done;
        }
        let (name, arguments) = line.split_once('=').unwrap_or((line, ""));
        match name.to_ascii_uppercase().as_str() {
            "AT" | "ATE0" | "AT+CMEE" => return Ok(None),
            "AT+CIMI" | "AT+CCID" => {}
            "AT+CRSM" if self.habits.restricted => {}
            "AT+CSIM" if self.habits.generic => {}
            "AT+CRSM" | "AT+CSIM" => return Err(Some(4)),
            _ => return Err(None),
        }
        if self.habits.busy > 0 {
            self.habits.busy -= 1;
            return Err(Some(14));
        }
        let card = self.card.as_mut().ok_or(Some(10))?;
        if let Some(instead) = &self.habits.instead {
            return Ok(Some(instead.clone()));
        }
        match name.to_ascii_uppercase().as_str() {
            "AT+CIMI" if card.locked => Err(Some(11)),
            "AT+CIMI" => Ok(Some(mexe_digits(card.imsi_file()))),
            "AT+CCID" => Err(None),
            "AT+CRSM" => {
                let fields: Vec<&str> = arguments.split(',').map(str::trim).collect();
                let number =
                    |at: usize| fields.get(at).and_then(|field| field.parse::<u16>().ok()).unwrap_or(0);
                let mut path = fields.get(6).map_or(String::new(), |path| path.trim_matches('"').to_owned());
                if !self.habits.paths {
                    path = "7F10".to_owned();
                }
                let folders: Vec<u16> =
                    hex(&path).chunks_exact(2).map(|id| u16::from_be_bytes([id[0], id[1]])).collect();
                // The number of the card is found by every modem.
                let folders = if number(1) == 0x2FE2 { Vec::new() } else { folders };
                let p = [number(2) as u8, number(3) as u8, number(4) as u8];
                let (sw, data) = card.restricted(&folders, number(0), number(1), p);
                let [sw1, sw2] = sw.to_be_bytes();
                let data: String = data.iter().map(|byte| format!("{byte:02X}")).collect();
                let data = if data.is_empty() { data } else { format!(",\"{data}\"") };
                Ok(Some(format!("+CRSM: {sw1},{sw2}{data}")))
            }
            _ => {
                let (length, command) = arguments.split_once(',').ok_or(Some(50))?;
                let command = command.trim_matches('"');
                if length.parse() != Ok(command.len()) {
                    return Err(Some(50));
                }
                let answer: String = card.command(&hex(command)).iter().map(|b| format!("{b:02X}")).collect();
                Ok(Some(format!("+CSIM: {},\"{answer}\"", answer.len())))
            }
        }
    }
}

fn in_words(number: u16) -> &'static str {
    match number {
        3 => "operation not allowed",
        4 => "operation not supported",
        10 => "SIM not inserted",
        11 => "SIM PIN required",
        14 => "SIM busy",
        53 => "not attached to network",
        126 => "insufficient resources",
        133 => "requested service option not subscribed",
        137 => "EPS QoS not accepted",
        148 => "unspecified GPRS error",
        _ => "unknown",
    }
}

fn mexe_digits(file: &[u8]) -> String {
    let halves = file[1..].iter().flat_map(|byte| [byte & 0x0F, byte >> 4]);
    halves.skip(1).take_while(|half| *half < 10).map(|half| char::from(b'0' + half)).collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).filter_map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}
