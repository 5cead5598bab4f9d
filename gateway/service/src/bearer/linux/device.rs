//! The queues of one device as they are: asks `tc`, tells it what is to be there, and remembers what came of it. Nothing that
//! somebody else has put on the device is touched, and without the right or the program the device is used as it is.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mexe_model::BitRate;
use serde_json::{Value, json};

use super::queues::{Root, changing, question, root, setting_up, taking_away};
use crate::bearer::Why;
use crate::launch;

/// A device whose queues the gate may set.
#[derive(Debug)]
pub(super) struct Queues {
    device: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The rate of the queues that the gate has put there.
    at: Option<BitRate>,
    /// Why there are none.
    why: Option<Why>,
    /// The gate stops, and they are not to come back.
    is_over: bool,
}

impl Queues {
    pub(super) fn new(device: String) -> Self {
        let why = Some(Why::new("starting", "the device was not looked at yet"));
        Self { device, state: Mutex::new(State { why, ..State::default() }) }
    }

    /// Sees to it that the device has queues of that rate. To be called when it may have changed, and whenever it is looked at.
    pub(super) fn fit(&self, uplink: Option<BitRate>) {
        let mut state = self.lock();
        if state.is_over {
            return;
        }
        let done = match uplink {
            Some(uplink) => self.put(state.at, uplink).map(|()| Some(uplink)),
            None => Err(Why::new("no-rate", "set `uplink`: without a rate there is nothing to share")),
        };
        match done {
            Ok(at) => (state.at, state.why) = (at, None),
            Err(why) => {
                if state.why.as_ref() != Some(&why) {
                    tracing::warn!(
                        device = self.device,
                        why = why.code,
                        says = why.says,
                        "no queues on the device"
                    );
                }
                (state.at, state.why) = (None, Some(why));
            }
        }
    }

    fn put(&self, before: Option<BitRate>, uplink: BitRate) -> Result<(), Why> {
        let there = root(&tc(&question(&self.device))?);
        let lines = match (there, before) {
            (Some(Root::Own), Some(before)) if before == uplink => return Ok(()),
            (Some(Root::Own), Some(_)) => changing(&self.device, uplink),
            // What a gate left that was killed is taken away first: it may have been another version.
            (Some(Root::Own), None) => {
                tc(&taking_away(&self.device))?;
                setting_up(&self.device, uplink)
            }
            (Some(Root::Usual), _) => setting_up(&self.device, uplink),
            (Some(Root::Others), _) => {
                let says = format!("`{}` has queues that somebody else has put there", self.device);
                return Err(Why::new("queues-of-others", says));
            }
            (None, _) => return Err(Why::new("tc-nonsense", "the answer of `tc` makes no sense")),
        };
        for line in &lines {
            if let Err(why) = tc(line) {
                // Half of it is nothing.
                let _ = tc(&taking_away(&self.device));
                return Err(why);
            }
        }
        tracing::info!(device = self.device, rate = %uplink, "the device has queues by class");
        Ok(())
    }

    /// Takes away what the gate has put there, for good.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        if state.at.take().is_some()
            && let Err(why) = tc(&taking_away(&self.device))
        {
            tracing::warn!(device = self.device, says = why.says, "the queues could not be taken away");
        }
    }

    pub(super) fn shown(&self) -> Value {
        let state = self.lock();
        json!({
            "kind": state.at.map(|_| "htb"),
            "why": state.why.as_ref().map(|why| why.code),
            "detail": state.why.as_ref().map(|why| &why.says),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `tc`, and says what it answered.
fn tc(arguments: &[String]) -> Result<String, Why> {
    let mut command = Command::new("tc");
    command.args(arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = launch::helper(&mut command)
        .map_err(|error| Why::new("tc-missing", format!("`tc` cannot be run: {error}; install iproute2")))?;
    let ended = end_of(&mut child);
    launch::forget(child.id());
    let failed = |says: String| Why::new("tc-failed", says);
    let status = ended.map_err(|error| failed(format!("`tc {}`: {error}", arguments.join(" "))))?;
    let answer = read(child.stdout.take());
    if status.success() {
        return Ok(answer);
    }
    let error = read(child.stderr.take());
    let line = error.lines().next().unwrap_or("no reason given").trim();
    match line.contains("Operation not permitted") {
        true => {
            Err(Why::new("tc-not-permitted", format!("`tc`: {line}: the gate needs CAP_NET_ADMIN for it")))
        }
        false => Err(failed(format!("`tc {}`: {line}", arguments.join(" ")))),
    }
}

/// Waits for its end. What it says is short enough for a pipe, so it does not wait for us.
fn end_of(child: &mut Child) -> io::Result<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if began.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    if let Some(pipe) = pipe {
        // As much of it as there is and makes sense.
        let _ = pipe.take(MOST).read_to_string(&mut text);
    }
    text
}

/// Where administrators' programs are: not where whoever started the gate says.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// For one command.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any answer, bytes; less than a pipe holds.
const MOST: u64 = 32 << 10;
