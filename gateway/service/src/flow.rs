//! One connection, from the request to its last byte. Read it top-down: a place, a decision on the name, the addresses, a
//! decision on each address, a traffic class, a lease, a journal record, the connection, one more look at the policy,
//! and then bytes. Whatever says no on the way is written down and ends it.

mod beyond;
mod confirm;
mod datagrams;
mod no;
mod quality;
mod tuning;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mexe_journal::{Change, Outcome, Record};
use mexe_model::{Endpoint, FlowId, GrantId, Host, Instant, Reason};
use mexe_policy::{ActionId, Decision, Target, Ticket};
use mexe_qos::{Marking, Profile};
use mexe_relay::{Early, End, Lease, LeaseKeys, Limits, Options, Outcome as Moved, Side, relay};
use tokio::net::TcpStream;

use self::beyond::{Beyond, beyond};
use self::confirm::confirm;
use self::no::No;
use self::quality::{Quality, quality};
use self::tuning::limits;
use crate::actions;
use crate::bearer::Bearer;
use crate::clock;
use crate::flows::Entry;
use crate::gate::Gate;
use crate::observe::metrics::{FlowResult, Ingress};
use crate::permits::Place;
use crate::prompts::{Held, Wishing};
use crate::qos::{InUse, Wish, network};
use crate::refused::Refused;
use crate::runs::Run;
use crate::schedules::{self, Used};
use crate::upstream::{self, Upstream, Way};

/// What an app asked for.
pub struct Asked {
    /// The flow that it may become.
    pub flow: FlowId,
    /// Who asks.
    pub run: Arc<Run>,
    /// What it is to the policy.
    pub action: ActionId,
    /// Where to.
    pub endpoint: Endpoint,
    /// What it says about its quality.
    wish: Wish,
    /// The same as text, which is written down more than once.
    target: Arc<str>,
    /// By which door.
    pub ingress: Ingress,
    began: Instant,
}

/// A connection that everything agreed on, and that is there.
pub struct Flow<S = TcpStream> {
    /// The connection to the destination.
    pub upstream: S,
    /// This end of it.
    pub local: SocketAddr,
    /// The right to move bytes; dropping it ends the flow's books.
    pub lease: Lease,
    /// What stays to be written when it ends.
    pub books: Books,
    limits: Limits,
    /// The stream that it is one of.
    stream: Option<InUse>,
}

/// Opens a connection for `run`, or says why not. What it says has been written down. `place` is what the door has found
/// for the connection: a place, none needed because the connection is counted already, or none left.
///
/// # Errors
/// Every reason of the policy, the limits, the resolver and the destination, and [`Reason::JournalUnavailable`].
pub async fn open<S: Upstream>(
    gate: &Arc<Gate>,
    run: &Arc<Run>,
    endpoint: Endpoint,
    ingress: Ingress,
    place: Result<Option<Place>, Reason>,
    wish: Wish,
) -> Result<Flow<S>, Refused> {
    let target = endpoint.to_string().into();
    let (flow, run, began) = (gate.next_flow(), Arc::clone(run), clock::now());
    let asked = Asked { flow, run, action: S::action(&gate.actions), endpoint, wish, target, ingress, began };
    match settle(gate, &asked, place).await {
        Ok(agreed) => connect(gate, asked, agreed).await,
        Err(no) => {
            write_refusal(gate, &asked, no).await;
            Err(Refused::about(no, explain(&asked, no)))
        }
    }
}

/// Everything that has to agree before a packet leaves.
struct Agreed {
    place: Option<Place>,
    ticket: Ticket,
    addresses: Vec<SocketAddr>,
    /// What carries it, and how often that was lost before.
    bearer: (Arc<Bearer>, u64),
    quality: Quality,
    beyond: Beyond,
    lease: Lease,
    /// Of a schedule.
    used: Used,
    /// How long the user took.
    held: Duration,
}

async fn settle(
    gate: &Arc<Gate>,
    asked: &Asked,
    place: Result<Option<Place>, Reason>,
) -> Result<Agreed, Reason> {
    if gate.is_stopping() {
        return Err(Reason::GateStopping);
    }
    let place = place?;
    let mut held = Held::default();
    let mut won = None;
    loop {
        // Before deciding: what changes from here on is not overlooked.
        let changed = gate.prompts.changed.notified();
        let found = permitted(gate, asked).await.and_then(|found| datagrams::fit(gate, asked, found));
        let (ticket, addresses, bearer, beyond) = match found.and_then(|(ticket, addresses)| {
            let bearer = gate.bearers.choose().ok_or(Reason::BearerLost)?;
            let beyond = won.map_or_else(|| beyond(gate, asked, bearer), Ok)?;
            Ok((ticket, addresses, (Arc::clone(bearer), bearer.losses()), beyond))
        }) {
            Ok(permitted) => permitted,
            Err(No::Refused(reason)) => {
                held.settled();
                return Err(reason);
            }
            Err(No::Unanswered(rule)) => {
                let subject = beyond::subject(gate, asked, rule.action);
                let wishing = Wishing { run: &asked.run, flow: asked.flow, subject };
                let waited = held.wait(gate, wishing, &rule, changed).await;
                waited.map_err(|reason| beyond::unasked(gate, &rule, reason))?;
                continue;
            }
        };
        // A right that is used up by one flow is won before anything else is, and kept while the rest is decided again.
        if won.is_none() && beyond.spends().is_some() {
            if !beyond.is_won(gate) {
                continue;
            }
            won = Some(beyond);
        }
        let mut quality = quality(gate, asked);
        let mut lease = register(gate, asked, &ticket, &quality);
        // One performance, one winner: who comes second decides again, without this grant.
        if ticket.single && !gate.policy().spend(ticket.grant) {
            continue;
        }
        // Likewise, but the right to connect was won: only the class is decided again.
        while let Some(grant) = quality.grant.filter(|_| quality.single)
            && !gate.policy().spend(grant)
        {
            quality = self::quality::quality(gate, asked);
            lease = register(gate, asked, &ticket, &quality);
        }
        // Likewise a schedule's last performance.
        let Ok(used) = gate.schedules.perform(ticket.grant, quality.grant).await else {
            schedules::settle(gate).await;
            continue;
        };
        let held = held.settled();
        return Ok(Agreed { place, ticket, addresses, bearer, quality, beyond, lease, used, held });
    }
}

/// The lease of a flow that is about to be made (S7).
fn register(gate: &Gate, asked: &Asked, ticket: &Ticket, quality: &Quality) -> Lease {
    let keys = LeaseKeys {
        flow: asked.flow,
        run: asked.run.id,
        app: asked.run.app.clone(),
        root: asked.run.root.clone(),
        grant: Some(ticket.grant),
        qos_grant: quality.grant,
    };
    gate.leases.open(keys, ticket.epoch, asked.began)
}

/// Decides on the name, only then resolves, decides on every address (S6).
async fn permitted(gate: &Gate, asked: &Asked) -> Result<(Ticket, Vec<SocketAddr>), No> {
    let port = asked.endpoint.port;
    match &asked.endpoint.host {
        Host::Address(address) => {
            let ticket = decide(gate, asked, asked.action, Target::Address { address: *address, port })?;
            Ok((ticket, vec![SocketAddr::new(*address, port)]))
        }
        Host::Name(name) => {
            decide(gate, asked, asked.action, Target::Name { name, port })?;
            let found = upstream::resolve(name, gate.config().limits.connect).await?;
            let resolved = Target::Resolved { name, port, addresses: &found };
            let ticket = decide(gate, asked, asked.action, resolved)?;
            let chosen = ticket.addresses.choose(&found);
            Ok((ticket, chosen.map(|address| SocketAddr::new(address, port)).collect()))
        }
    }
}

fn decide(gate: &Gate, asked: &Asked, action: ActionId, target: Target<'_>) -> Result<Ticket, No> {
    let facts = asked.run.wants(action, target);
    let began = clock::now();
    let decision = gate.policy().decide(began, &facts);
    gate.beside.observe(began, &facts, &decision);
    gate.metrics.decision_seconds.observe(clock::now().since(began).as_secs_f64());
    match decision {
        Decision::Allow(ticket) => Ok(ticket),
        Decision::Ask(rule) => Err(No::Unanswered(rule)),
        Decision::Refuse(reason, _) => Err(No::Refused(reason)),
    }
}

async fn connect<S: Upstream>(gate: &Arc<Gate>, asked: Asked, agreed: Agreed) -> Result<Flow<S>, Refused> {
    let Agreed { place, ticket, addresses, bearer, quality, beyond, mut lease, mut used, held } = agreed;
    let (bearer, losses) = bearer;
    // From here on whoever drops this half-way, because the app has left, closes the books by it.
    let mut books = Books {
        gate: Arc::clone(gate),
        detail: None,
        asked,
        place,
        profile: Arc::clone(&quality.profile),
        bearer: Arc::clone(&bearer),
        held,
        open: None,
        closed: false,
    };
    if let Err(error) =
        write_permit(gate, &books.asked, &ticket, (&quality, &beyond), &used, &addresses).await
    {
        // What could not be written down was not permitted: there is nothing to close.
        books.closed = true;
        gate.metrics.decided(books.asked.run.trust, "network", false, Some(Reason::JournalUnavailable));
        return Err(crate::grants::unavailable(error));
    }
    used.is_written();
    gate.metrics.decided(books.asked.run.trust, "network", true, None);
    let marking = Marking::from(quality.profile.class);
    let way = Way { marking, device: bearer.bound_to(), down: bearer.shaping().down() };
    let connected = tokio::select! {
        biased;
        reason = lease.cancelled() => Err(reason),
        connected = S::connect(&addresses, way, gate.config().limits.connect) => connected,
        () = bearer.lost(losses) => Err(Reason::BearerLost),
    };
    // A change of the policy while we connected counts (S7): nothing has been sent yet.
    let confirmed = match connected {
        Ok(stream) => confirm(gate, &books.asked, &ticket, &addresses, &mut lease).map(|()| stream),
        Err(reason) => Err(reason),
    };
    let upstream = match confirmed {
        Ok(upstream) => upstream,
        Err(reason) => {
            let detail = explain(&books.asked, reason);
            books.failed(reason);
            return Err(Refused::about(reason, detail));
        }
    };
    let books = books.opened(&lease, (ticket.grant, beyond.grant), upstream.remote);
    // Lost before it was among the open flows, where it would have been found.
    if bearer.losses() != losses {
        lease.handle().cancel(Reason::BearerLost);
    }
    let stream = quality.stream.as_ref().map(|stream| stream.id);
    let [up, down] = limits((gate, &books.asked.run.app), &bearer, (&quality.profile, stream), true);
    let limits = Limits { up, down, allowance: used.allowance() };
    let stream = quality.stream;
    Ok(Flow { upstream: upstream.stream, local: upstream.local, lease, books, limits, stream })
}

impl<S> Flow<S> {
    /// Takes the flow apart for a door that moves the bytes itself.
    pub fn into_parts(self) -> (S, Lease, Books, Limits) {
        (self.upstream, self.lease, self.books, self.limits)
    }
}

impl Flow {
    /// Moves bytes between the app and the destination until one of them, or the gate, ends it. `early` is what the app
    /// sent right behind its request.
    pub async fn carry(mut self, client: TcpStream, early: Bytes) {
        let gate = Arc::clone(&self.books.gate);
        let options = Options {
            limits: self.limits,
            early: Early { up: early.into(), down: Vec::new() },
            ..Options::new(gate.config().limits.idle, gate.pipes.clone())
        };
        let mut moving = relay::run(client, self.upstream, &mut self.lease, options);
        let moved = match &mut self.stream {
            Some(stream) => loop {
                tokio::select! {
                    biased;
                    moved = &mut moving => break moved,
                    () = stream.changed() => self.books.tune(&mut moving, stream),
                }
            },
            None => moving.await,
        };
        self.books.close(&moved);
    }

    /// The app went away before its flow began.
    pub fn client_left(self) {
        let handle = self.lease.handle();
        let moved = Moved {
            bytes_up: handle.bytes_up(),
            bytes_down: handle.bytes_down(),
            end: End::Reset(Side::Client),
        };
        self.books.close(&moved);
    }
}

/// What has to be written down when a flow ends.
pub struct Books {
    /// The gate.
    pub gate: Arc<Gate>,
    /// What its last record tells besides.
    pub detail: Option<serde_json::Value>,
    asked: Asked,
    place: Option<Place>,
    profile: Arc<Profile>,
    bearer: Arc<Bearer>,
    held: Duration,
    open: Option<Instant>,
    closed: bool,
}

impl Books {
    fn opened(
        mut self,
        lease: &Lease,
        (grant, beyond): (GrantId, Option<GrantId>),
        address: SocketAddr,
    ) -> Self {
        let now = clock::now();
        let (run, class) = (&self.asked.run, self.profile.class);
        // The user's own time is not the gate's.
        let setup = now.since(self.asked.began).saturating_sub(self.held);
        let series = self.gate.metrics.flow_opened(run.trust, class, self.asked.ingress, setup);
        let entry = Entry {
            id: self.asked.flow,
            run: run.id,
            app: run.app.clone(),
            trust: run.trust,
            target: Arc::clone(&self.asked.target),
            address,
            class,
            stream: self.asked.wish.stream().map(|stream| stream.id),
            ingress: self.asked.ingress,
            grant,
            bearer: Arc::clone(&self.bearer),
            beyond,
            opened: clock::wall(),
            lease: lease.handle(),
            series,
            since: now,
            told: Arc::default(),
        };
        self.gate.flows.add(entry, &self.gate.accounts);
        self.open = Some(now);
        self.tell_stream();
        self
    }

    /// Its stream may be asked for elsewhere now.
    fn tell_stream(&self) {
        if let Some(stream) = self.asked.wish.stream().filter(|_| self.bearer.needs_remote()) {
            network::flows_changed(&self.gate, stream.id);
        }
    }

    /// The flow moved its last byte.
    pub fn close(mut self, moved: &Moved) {
        let (result, reason) = match moved.end {
            End::Closed => (FlowResult::Closed, None),
            End::Cut(reason) => (FlowResult::Cut, Some(reason)),
            End::Idle => (FlowResult::Idle, Some(Reason::IdleTimeout)),
            End::Reset(_) => (FlowResult::Reset, None),
        };
        if let (FlowResult::Cut, Some(reason)) = (result, reason) {
            self.gate.metrics.flow_was_cut(reason);
            let took = clock::now().since(self.gate.last_cut());
            self.gate.metrics.flow_cut_seconds.observe(took.as_secs_f64());
        }
        self.end(result, reason, moved.bytes_up, moved.bytes_down);
    }

    /// It was allowed, but no connection came about.
    fn failed(mut self, reason: Reason) {
        self.end(FlowResult::Failed, Some(reason), 0, 0);
    }

    fn end(&mut self, result: FlowResult, reason: Option<Reason>, up: u64, down: u64) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if self.open.is_some() {
            self.gate.flows.remove(self.asked.flow, &self.gate.accounts);
            self.tell_stream();
        }
        let run = &self.asked.run;
        self.gate.metrics.flow_ended(run.trust, self.profile.class, self.asked.ingress, result);
        let now = clock::now();
        let lived = now.since(self.open.unwrap_or(self.asked.began));
        let record = Record {
            flow: Some(self.asked.flow),
            domain: Some(run.trust),
            reason,
            ingress: Some(self.asked.ingress.as_str().into()),
            class: Some(self.profile.class.as_str().into()),
            bytes_up: Some(up),
            bytes_down: Some(down),
            duration_ms: Some(u64::try_from(lived.as_millis()).unwrap_or(u64::MAX)),
            app: Some(run.app.clone()),
            run: Some(run.id),
            target: Some(self.asked.target.to_string()),
            detail: self.detail.take(),
            ..Record::flow_end(clock::wall())
        };
        self.gate.journal.note(record);
        self.place = None;
    }
}

impl Drop for Books {
    /// The app left before its flow was carried, and whoever held the books was dropped.
    fn drop(&mut self) {
        self.end(if self.open.is_some() { FlowResult::Reset } else { FlowResult::Failed }, None, 0, 0);
    }
}

/// One line for the person who reads the proxy's answer.
fn explain(asked: &Asked, reason: Reason) -> String {
    format!("{}: {} ({})", asked.endpoint, reason.says(), reason.help())
}

fn record_of(gate: &Gate, asked: &Asked) -> Record {
    Record {
        flow: Some(asked.flow),
        ingress: Some(asked.ingress.as_str().into()),
        target: Some(asked.target.to_string()),
        ..actions::record_of(gate, &asked.run, asked.action)
    }
}

async fn write_permit(
    gate: &Gate,
    asked: &Asked,
    ticket: &Ticket,
    (quality, beyond): (&Quality, &Beyond),
    used: &Used,
    addresses: &[SocketAddr],
) -> Result<(), mexe_journal::Unavailable> {
    let record = Record {
        decision: Some(Outcome::Allow),
        grant: Some(ticket.grant),
        class: Some(quality.profile.class.as_str().into()),
        addresses: addresses.to_vec(),
        detail: beyond.detail(quality),
        ..record_of(gate, asked)
    };
    let mut spent: Vec<Change> = used.changes().collect();
    if ticket.single {
        spent.push(Change::SpendGrant(ticket.grant));
    }
    if let Some(grant) = quality.grant.filter(|_| quality.single) {
        spent.push(Change::SpendGrant(grant));
    }
    spent.extend(beyond.spends().map(Change::SpendGrant));
    if spent.is_empty() {
        gate.journal.record(record).await?;
    } else {
        // The use of a single-action grant, or of a budget, is on disk before anything happens (S26).
        gate.journal.change(Change::Several(spent), record).await?;
    }
    Ok(())
}

async fn write_refusal(gate: &Gate, asked: &Asked, reason: Reason) {
    gate.metrics.decided(asked.run.trust, "network", false, Some(reason));
    let record = Record { decision: Some(Outcome::Deny), reason: Some(reason), ..record_of(gate, asked) };
    if let Err(error) = gate.journal.record(record).await {
        tracing::warn!(%error, %reason, "a refusal could not be written down");
    }
}
