//! Voice calls of apps: who may call whom is decided as everything else is, the modem dials (crate mexe-card), and what ends
//! the right ends the call. Tones go only into a call that the same run opened, each burst permitted by itself (S24).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mexe_card::calls::{Call, CallFault, End, State, Voice};
use mexe_journal::Record;
use mexe_model::{AppId, CallId, Permission, Reason, RunId, WallTime};
use mexe_policy::prompts::Subject;
use mexe_policy::{ActionId, Target, Ticket};
use mexe_relay::{Lease, LeaseKeys};
use mexe_wire::telephone::{EmergencyNumbers, Number, ServiceCode, Tones};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::actions::{self, Wished};
use crate::clock;
use crate::events::Event;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::runs::Run;

/// Calls that are open now.
#[derive(Debug, Default)]
pub struct Calls {
    last: AtomicU64,
    live: Mutex<BTreeMap<CallId, Arc<Live>>>,
}

/// One of them.
#[derive(Debug)]
struct Live {
    id: CallId,
    app: AppId,
    run: RunId,
    number: String,
    began: WallTime,
    state: Mutex<&'static str>,
    wants: mpsc::Sender<Want>,
    /// One burst of tones at a time: what the user sees is what is sent.
    tones: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Want {
    HangUp(oneshot::Sender<Result<(), Refused>>),
    Tones(Tones, Box<Right>, oneshot::Sender<Result<(), Refused>>),
}

/// The right to send a burst.
#[derive(Debug)]
struct Right {
    lease: Lease,
    /// It is for this burst alone. Then its time is the time until it is used, and used it is.
    single: bool,
}

/// What the gate carries out itself, and nobody else.
pub const ACTIONS: [&str; 3] = [CALL, TONES, SERVICE];
const CALL: &str = "network.call";
const TONES: &str = "network.dtmf";
const SERVICE: &str = "network.supplementary-service";

/// The canonical number or code that an action with such a target is asked about.
///
/// # Errors
/// [`Reason::RequestMalformed`] or [`Reason::EmergencyNumber`].
pub fn number(action: &str, text: &str) -> Result<String, Refused> {
    let canonical = match action {
        SERVICE => ServiceCode::parse(text).map(|code| code.to_string()),
        _ => Number::parse(text, &EmergencyNumbers::default()).map(|number| number.to_string()),
    };
    canonical.map_err(|error| Refused::about(error.reason(), error.to_string()))
}

impl Live {
    fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "app": self.app,
            "run": self.run,
            "number": self.number,
            "state": *self.state.lock().unwrap_or_else(PoisonError::into_inner),
            "began_at": self.began.to_string(),
        })
    }

    fn is_active(&self) -> bool {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) == word(&State::Active)
    }
}

impl Calls {
    fn get(&self, id: CallId) -> Option<Arc<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Every open call, as the API shows it.
    pub fn list(&self) -> Vec<Value> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).values().map(|call| call.shown()).collect()
    }
}

const fn word(state: &State) -> &'static str {
    match state {
        State::Dialling => "dialling",
        State::Alerting => "alerting",
        State::Active => "active",
        State::Held => "held",
        State::Ended(_) => "ended",
    }
}

/// Calls that number for the run, and says so as the API does; comes back when the modem dials.
///
/// # Errors
/// [`Reason::RequestMalformed`] or [`Reason::EmergencyNumber`] for what is not dialled, [`Reason::NoVoiceBearer`], every
/// reason of the policy and of the questions, [`Reason::LineBusy`] and what else the modem says.
pub async fn begin(
    gate: &Arc<Gate>,
    run: &Arc<Run>,
    text: &str,
    gone: &CancellationToken,
) -> Result<Value, Refused> {
    if ServiceCode::is_meant(text) {
        return request(gate, run, text, gone).await;
    }
    let number = Number::parse(text, &EmergencyNumbers::default())
        .map_err(|error| Refused::about(error.reason(), error.to_string()))?;
    let (voice, ticket) = permitted(gate, run, CALL, number.as_str(), gone).await?;
    let id = CallId(gate.calls.last.fetch_add(1, Ordering::Relaxed).saturating_add(1));
    let mut lease = lease(gate, run, &ticket)?;
    let dialled = tokio::select! {
        biased;
        reason = lease.cancelled() => Err(Refused::from(reason)),
        dialled = voice.dial(id, &number) => dialled.map_err(|fault| said_by_the_modem(&fault)),
    };
    let call = match dialled {
        Ok(call) => call,
        Err(refused) => {
            note_end(gate, run, number.as_str(), id, "not-dialled", Some(refused.reason));
            return Err(refused);
        }
    };
    let (wants, wanted) = mpsc::channel(4);
    let live = Arc::new(Live {
        id,
        app: run.app.clone(),
        run: run.id,
        number: number.as_str().to_owned(),
        began: clock::wall(),
        state: Mutex::new(word(&call.state())),
        wants,
        tones: tokio::sync::Mutex::default(),
    });
    gate.calls.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&live));
    gate.events.tell(Event::Call(id, word(&State::Dialling)));
    let shown = live.shown();
    gate.spawn(follow(Arc::clone(gate), Arc::clone(run), live, call, lease, wanted));
    Ok(shown)
}

/// Sends a service code to the network: an action of its own, which an untrusted app never has (S24).
async fn request(
    gate: &Arc<Gate>,
    run: &Arc<Run>,
    text: &str,
    gone: &CancellationToken,
) -> Result<Value, Refused> {
    let code = ServiceCode::parse(text).map_err(|error| Refused::about(error.reason(), error.to_string()))?;
    let (voice, ticket) = permitted(gate, run, SERVICE, code.as_str(), gone).await?;
    let mut lease = lease(gate, run, &ticket)?;
    tokio::select! {
        biased;
        reason = lease.cancelled() => return Err(reason.into()),
        sent = voice.request(&code) => sent.map_err(|fault| said_by_the_modem(&fault))?,
    }
    Ok(json!({ "app": run.app, "run": run.id, "number": code.as_str(), "state": "sent" }))
}

/// The voice bearer and the right to use it for that.
async fn permitted(
    gate: &Arc<Gate>,
    run: &Arc<Run>,
    name: &'static str,
    number: &str,
    gone: &CancellationToken,
) -> Result<(Arc<Voice>, Ticket), Refused> {
    // Nobody is asked about what cannot be done.
    let voice = gate.voice().ok_or(Reason::NoVoiceBearer)?;
    let wished = Wished {
        run,
        action: action(gate, name)?,
        target: Target::Number(number),
        subject: Subject::Number(number.into()),
        final_word: true,
        gone,
    };
    let ticket = actions::decide(gate, &wished).await?;
    Ok((voice, ticket))
}

fn action(gate: &Gate, name: &'static str) -> Result<ActionId, Refused> {
    let missing = || Refused::about(Reason::ActionUnknown, format!("the security table has no `{name}`"));
    gate.policy().table().action(name).ok_or_else(missing)
}

/// The right to call, registered so that whatever ends it ends the call (S7).
fn lease(gate: &Gate, run: &Run, ticket: &Ticket) -> Result<Lease, Refused> {
    let keys = LeaseKeys {
        flow: gate.next_flow(),
        run: run.id,
        app: run.app.clone(),
        root: run.root.clone(),
        grant: Some(ticket.grant),
        qos_grant: None,
    };
    let lease = gate.leases.open_beside(keys, ticket.epoch, clock::now());
    // A change between the decision and here has not found the lease.
    if run.has_ended() {
        return Err(Reason::RunEnded.into());
    }
    if gate.apps.get(&run.app).is_none_or(|app| app.suspended.is_some()) {
        return Err(Reason::AppSuspended.into());
    }
    match gate.policy().grant(ticket.grant) {
        None => Err(Reason::PermissionRevoked.into()),
        Some(grant) if grant.is_expired(clock::now()) => Err(Reason::PermissionExpired.into()),
        Some(_) => Ok(lease),
    }
}

fn said_by_the_modem(fault: &CallFault) -> Refused {
    Refused::about(fault.reason(), fault.to_string())
}

/// Sees a call through to its end.
async fn follow(
    gate: Arc<Gate>,
    run: Arc<Run>,
    live: Arc<Live>,
    mut call: Call,
    mut lease: Lease,
    mut wanted: mpsc::Receiver<Want>,
) {
    let mut cut = None;
    let end = loop {
        let state = tokio::select! {
            biased;
            reason = lease.cancelled(), if cut.is_none() => {
                cut = Some(reason);
                let _ = call.hang_up().await;
                call.state()
            }
            state = call.next_state() => state,
            Some(want) = wanted.recv() => {
                match want {
                    Want::HangUp(done) => drop(done.send(heard(call.hang_up().await))),
                    Want::Tones(tones, right, done) => {
                        let sent = send(&call, &tones, &mut lease, *right, &mut wanted).await;
                        drop(done.send(sent));
                    }
                }
                call.state()
            }
        };
        if let State::Ended(end) = state {
            break end;
        }
        let state = word(&state);
        let before =
            std::mem::replace(&mut *live.state.lock().unwrap_or_else(PoisonError::into_inner), state);
        if before != state {
            gate.events.tell(Event::Call(live.id, state));
        }
    };
    gate.calls.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&live.id);
    gate.events.tell(Event::Call(live.id, word(&State::Ended(end))));
    note_end(&gate, &run, &live.number, live.id, end.code(), cut);
}

/// Sends tones as long as both rights last, to call and to send them; the call goes with the next turn if it has to.
async fn send(
    call: &Call,
    tones: &Tones,
    lease: &mut Lease,
    mut right: Right,
    wanted: &mut mpsc::Receiver<Want>,
) -> Result<(), Refused> {
    let mut sending = std::pin::pin!(call.tones(tones));
    let mut used_up = false;
    loop {
        tokio::select! {
            biased;
            reason = lease.cancelled() => return Err(reason.into()),
            reason = right.lease.cancelled(), if !used_up => match reason {
                Reason::PermissionExpired if right.single => used_up = true,
                reason => return Err(reason.into()),
            },
            Some(want) = wanted.recv() => match want {
                Want::HangUp(done) => drop(done.send(heard(call.hang_up().await))),
                Want::Tones(.., done) => drop(done.send(heard(Err(CallFault::TonesPending)))),
            },
            sent = sending.as_mut() => return heard(sent),
        }
    }
}

fn heard(answer: Result<(), CallFault>) -> Result<(), Refused> {
    answer.map_err(|fault| said_by_the_modem(&fault))
}

fn note_end(gate: &Gate, run: &Run, number: &str, id: CallId, how: &str, reason: Option<Reason>) {
    gate.journal.note(Record {
        app: Some(run.app.clone()),
        run: Some(run.id),
        domain: Some(run.trust),
        reason,
        target: Some(number.to_owned()),
        detail: Some(json!({ "call": id, "end": how })),
        ..Record::change(clock::wall(), "call.end")
    });
}

/// Whose call it has to be.
pub enum Owner<'a> {
    /// This run's.
    Run(&'a Run),
    /// Anybody's: the user asks.
    Anybody,
}

fn find(gate: &Gate, id: CallId, owner: &Owner<'_>) -> Result<Arc<Live>, Refused> {
    let own = |call: &Arc<Live>| match owner {
        Owner::Run(run) => call.run == run.id,
        Owner::Anybody => true,
    };
    let none = || Refused::about(Reason::NotFound, format!("there is no call `{id}`"));
    gate.calls.get(id).filter(own).ok_or_else(none)
}

/// Sends tones into a call, if the user permits these tones.
///
/// # Errors
/// [`Reason::NotFound`] for another run's call, [`Reason::RequestMalformed`], [`Reason::CallNotActive`], every reason of the
/// policy and of the questions, and what the modem says.
pub async fn tones(
    gate: &Arc<Gate>,
    id: CallId,
    owner: Owner<'_>,
    text: &str,
    gone: &CancellationToken,
) -> Result<(), Refused> {
    let call = find(gate, id, &owner)?;
    let tones = Tones::parse(text).map_err(|error| Refused::about(error.reason(), error.to_string()))?;
    let run = gate.runs.get(call.run).ok_or(Reason::RunEnded)?;
    let busy = || Refused::about(Reason::CallNotActive, "other tones for this call are asked about or sent");
    let _turn = call.tones.try_lock().map_err(|_| busy())?;
    if !call.is_active() {
        return Err(Reason::CallNotActive.into());
    }
    let wished = Wished {
        run: &run,
        action: action(gate, TONES)?,
        target: Target::None,
        subject: Subject::Tones(tones.as_str().into()),
        final_word: true,
        gone,
    };
    let ticket = actions::decide(gate, &wished).await?;
    let single = ticket.permission == Permission::SingleAction;
    let right = Right { lease: lease(gate, &run, &ticket)?, single };
    tell(&call, |done| Want::Tones(tones, Box::new(right), done)).await
}

/// Ends a call.
///
/// # Errors
/// [`Reason::NotFound`] for another run's call, and what the modem says.
pub async fn hang_up(gate: &Gate, id: CallId, owner: Owner<'_>) -> Result<(), Refused> {
    let call = find(gate, id, &owner)?;
    tell(&call, Want::HangUp).await
}

async fn tell(
    call: &Live,
    want: impl FnOnce(oneshot::Sender<Result<(), Refused>>) -> Want,
) -> Result<(), Refused> {
    let (done, answer) = oneshot::channel();
    let over = || said_by_the_modem(&CallFault::Over(End::HungUp));
    call.wants.send(want(done)).await.map_err(|_| over())?;
    answer.await.unwrap_or_else(|_| Err(over()))
}
