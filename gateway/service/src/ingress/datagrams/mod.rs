//! SOCKS5 UDP ASSOCIATE (RFC 1928, sections 4 and 7). An association is one socket that takes datagrams from one app, for
//! as long as the connection that asked for it stands. Each destination of these is a flow of its own: decided on,
//! journalled and cut like any other ([`crate::flow`]), carried by a task that hands the answers back ([`passage`]).
//!
//! What goes up passes here: read the header, find the destination, look at its lease and its meter, send. For a destination
//! that is open nothing of that takes memory, a lock or a line in a log.

mod batch;
mod destinations;
mod passage;
mod sender;
mod tally;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mexe_journal::{Outcome, Record};
use mexe_model::{Instant, Reason};
use mexe_policy::{Decision, Target as Wanted};
use mexe_relay::{Lease, LeaseKeys};
use mexe_wire::Target;
use mexe_wire::socks5::{Datagram, datagram};
use socket2::SockRef;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use self::batch::{Arrived, BATCH};
use self::destinations::{Destinations, Fate};
use self::passage::{Errand, News};
use self::sender::{Sender, Whose};
use self::tally::Tally;
use crate::actions;
use crate::associations::Listed;
use crate::clock;
use crate::gate::Gate;
use crate::observe::metrics::Ingress;
use crate::permits::Place;
use crate::qos::Wish;
use crate::runs::Run;

/// The door's name.
pub(super) const DOOR: Ingress = Ingress::Socks5Udp;
/// Batches of datagrams that are moved before others have a turn.
const BATCHES: usize = 2;
/// Who was turned away is not looked at again for so long.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Whether the app still has the socket that it sends from is looked at so often while datagrams move,
const HELD: Duration = Duration::from_millis(500);
/// and whose it is at least so often.
const JUDGED: Duration = Duration::from_secs(10);
/// What flows may have to tell before they wait.
const NEWS: usize = 64;

/// One association.
pub(super) struct Association {
    gate: Arc<Gate>,
    run: Arc<Run>,
    /// What all its flows say about their quality.
    wish: Wish,
    /// Takes the app's datagrams, and gives it the answers.
    socket: Arc<UdpSocket>,
    client: Client,
    destinations: Destinations,
    tally: Tally,
    news: mpsc::Receiver<News>,
    to_here: mpsc::Sender<News>,
    /// Cancelled when the association ends.
    closing: CancellationToken,
    lease: Lease,
    _listed: Listed,
    _place: Place,
}

/// Who may send.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// Both ends of the control connection, the app's first.
    control: (SocketAddr, SocketAddr),
    /// The port that the app said it would send from; 0 when it did not.
    port: u16,
}

/// The app's socket, from the first datagram on.
struct Known {
    sender: Sender,
    /// Whether it was there at the last look.
    is_there: bool,
    /// When to look next.
    look: Instant,
    /// When to look whole again.
    judge: Instant,
}

impl Known {
    fn new(sender: Sender, now: Instant) -> Self {
        // Of another host nobody here can tell more than the kernel does, which lets no other address in.
        let far = if sender.is_remote { Duration::MAX } else { Duration::ZERO };
        Self { sender, is_there: true, look: now.after(HELD.max(far)), judge: now.after(JUDGED.max(far)) }
    }
}

impl Client {
    /// The app's host, IPv4 in its own form.
    fn ip(&self) -> IpAddr {
        self.control.0.ip().to_canonical()
    }

    fn may_be(&self, from: SocketAddr) -> bool {
        from.ip() == self.ip() && (self.port == 0 || self.port == from.port())
    }
}

impl Association {
    /// Begins one. What it refuses has been written down.
    ///
    /// # Errors
    /// The limits, what the policy refuses whatever the destination, [`Reason::UpstreamUnreachable`] when no socket can be
    /// had where the control connection came in.
    pub(super) async fn open(
        gate: &Arc<Gate>,
        run: &Arc<Run>,
        control: &TcpStream,
        asked: &Target,
        place: Result<Place, Reason>,
        wish: Wish,
    ) -> Result<Self, Reason> {
        let begun = place.and_then(|place| Self::begin(gate, run, control, asked, place, wish));
        if let Err(reason) = &begun {
            refuse(gate, run, *reason).await;
        }
        begun
    }

    fn begin(
        gate: &Arc<Gate>,
        run: &Arc<Run>,
        control: &TcpStream,
        asked: &Target,
        place: Place,
        wish: Wish,
    ) -> Result<Self, Reason> {
        if gate.is_stopping() {
            return Err(Reason::GateStopping);
        }
        // First the lease, then the decision: an end of the run in between is seen by one of the two.
        let keys = LeaseKeys {
            flow: gate.next_flow(),
            run: run.id,
            app: run.app.clone(),
            root: run.root.clone(),
            grant: None,
            qos_grant: None,
        };
        let lease = gate.leases.open_beside(keys, gate.policy().epoch(), clock::now());
        may_ever(gate, run)?;
        let ends = || Ok((control.peer_addr()?, control.local_addr()?));
        let no_socket = |_: io::Error| Reason::UpstreamUnreachable;
        let control: (SocketAddr, SocketAddr) = ends().map_err(no_socket)?;
        let (socket, address) = bind(control.1).map_err(no_socket)?;
        let (to_here, news) = mpsc::channel(NEWS);
        Ok(Self {
            socket: Arc::new(socket),
            client: Client { control, port: asked.port },
            destinations: Destinations::new(Arc::clone(run)),
            tally: Tally::new(Arc::clone(gate), Arc::clone(run)),
            news,
            to_here,
            closing: CancellationToken::new(),
            lease,
            _listed: gate.associations.list(address),
            _place: place,
            gate: Arc::clone(gate),
            run: Arc::clone(run),
            wish,
        })
    }

    /// Where the app is to send to.
    ///
    /// # Errors
    /// The socket's own.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until the control connection ends, or the run, or the gate.
    pub(super) async fn serve(mut self, control: TcpStream) {
        let mut closed = pin!(ended(&control));
        let gate = Arc::clone(&self.gate);
        let mut stopped = pin!(gate.stopped());
        let (mut is_stopping, mut known, mut turned_away) = (false, None::<Known>, None);
        let (mut timer, mut armed) = (pin!(sleep_until(tokio::time::Instant::now())), None);
        loop {
            // A graceful stop waits for flows, not for somebody who might open one.
            if is_stopping && !self.destinations.any_live() {
                return;
            }
            let look = known.as_ref().filter(|_| self.destinations.any_live()).map(|known| known.look);
            if look != armed {
                armed = look;
                timer.as_mut().reset(mexe_relay::clock::deadline(look.unwrap_or_default()));
            }
            tokio::select! {
                biased;
                _ = self.lease.cancelled() => return,
                () = &mut closed => return,
                () = &mut stopped, if !is_stopping => is_stopping = true,
                Some(news) = self.news.recv() => self.learn(news),
                ready = self.socket.readable() => match ready {
                    Ok(()) => match &mut known {
                        None => known = self.meet(&mut turned_away).await,
                        Some(known) => {
                            if !self.look_again(known).await {
                                return;
                            }
                            if self.take(known.is_there) {
                                tokio::task::yield_now().await;
                            }
                        }
                    },
                    Err(_) => return,
                },
                () = &mut timer, if look.is_some() => {
                    armed = None;
                    // Answers must not go to whoever has the port by now.
                    if let Some(known) = &mut known
                        && !self.look_again(known).await
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Looks at who sends before the first datagram is read. From the first that is the app's on, the kernel lets nobody
    /// else's in. `turned_away` is who was looked at last and was not it.
    async fn meet(&mut self, turned_away: &mut Option<(SocketAddr, Instant)>) -> Option<Known> {
        let Ok(from) = self.socket.try_peek_sender() else { return None };
        let now = clock::now();
        let just_now = |(who, at): (SocketAddr, Instant)| who == from && now.since(at) < LOOK_AGAIN;
        let is_candidate = self.client.may_be(from) && !turned_away.is_some_and(just_now);
        if is_candidate
            && let Whose::Apps(sender) = sender::whose(self.client.control, from).await
            && SockRef::from(&*self.socket).connect(&from.into()).is_ok()
        {
            self.client.port = from.port();
            return Some(Known::new(sender, clock::now()));
        }
        if is_candidate {
            *turned_away = Some((from, now));
        }
        // That one alone: the next may be the app's.
        if self.socket.try_recv_from(&mut [0; 1]).is_ok() {
            self.tally.unasked(Reason::CredentialsMissing, clock::now());
        }
        None
    }

    /// Looks whether the port is still the app's, when it is time to; false when somebody else has it: an app that gave its
    /// port away is not spoken for, nor to, by who took it.
    async fn look_again(&mut self, known: &mut Known) -> bool {
        let now = clock::now();
        if now < known.look {
            return true;
        }
        if known.is_there && now < known.judge && known.sender.is_held() {
            known.look = now.after(HELD);
            return true;
        }
        let from = SocketAddr::new(self.client.ip(), self.client.port);
        match sender::whose(self.client.control, from).await {
            Whose::Apps(sender) => *known = Known::new(sender, now),
            Whose::Nobodys => (known.is_there, known.look) = (false, now.after(LOOK_AGAIN)),
            Whose::Others => {
                self.tally.unasked(Reason::CredentialsMissing, now);
                return false;
            }
        }
        true
    }

    /// Takes what has arrived, and drops it when it is not known whose it is; true when there may be more.
    fn take(&mut self, is_the_apps: bool) -> bool {
        let now = clock::now();
        batch::with(|batch| {
            for _ in 0..BATCHES {
                let mut arrived = match batch.receive(&self.socket, 0) {
                    Ok(arrived) => arrived,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    // The app's socket was not there for an answer; it may be again.
                    Err(_) => continue,
                };
                let read: [Option<Datagram<'_>>; BATCH] =
                    std::array::from_fn(|_| self.read(arrived.next()?, is_the_apps, now));
                // What goes to one destination, one behind the other, goes together.
                let mut left = read.as_slice();
                while let [first, behind @ ..] = left {
                    let Some(first) = first else {
                        left = behind;
                        continue;
                    };
                    let is_same = |one: &&Option<Datagram<'_>>| {
                        one.is_some_and(|one| one.destination == first.destination)
                    };
                    let (together, others) = left.split_at(left.iter().take_while(is_same).count());
                    self.pass_on(first, together.iter().flatten(), now);
                    left = others;
                }
            }
            true
        })
    }

    fn read<'b>(&mut self, arrived: Arrived<'b>, is_the_apps: bool, now: Instant) -> Option<Datagram<'b>> {
        let Arrived { room, length, from } = arrived;
        // What came from others before the socket was connected is still in its queue.
        if !is_the_apps || !self.client.may_be(from) {
            self.tally.unasked(Reason::CredentialsMissing, now);
            return None;
        }
        let read = datagram(room.get_mut(..length).unwrap_or_default());
        read.inspect_err(|bad| self.tally.unasked(bad.reason(), now)).ok()
    }

    /// Passes on what goes to the destination of `first`.
    fn pass_on<'b>(
        &mut self,
        first: &Datagram<'b>,
        all: impl Iterator<Item = &'b Datagram<'b>>,
        now: Instant,
    ) {
        let Self { destinations, tally, .. } = self;
        if let Some(passage) = destinations.open(first.destination.as_bytes()) {
            return passage.send(all.map(|one| one.payload), now, |reason| tally.count(reason, 1));
        }
        all.for_each(|one| self.offer(*one, now));
    }

    /// One for a destination that is not open.
    fn offer(&mut self, read: Datagram<'_>, now: Instant) {
        match self.destinations.offer(read, now, || self.gate.policy().epoch()) {
            Fate::Done => {}
            Fate::Dropped(reason) => self.tally.count(reason, 1),
            Fate::NoRoom => self.tally.unasked(Reason::LimitConnections, now),
            Fate::Begins(key) => {
                let endpoint = read.destination.target().map_err(|bad| bad.reason());
                match endpoint.and_then(|target| super::endpoint(&target)) {
                    Ok(endpoint) => {
                        let errand = Errand {
                            gate: Arc::clone(&self.gate),
                            run: Arc::clone(&self.run),
                            wish: self.wish.clone(),
                            endpoint,
                            key,
                            news: self.to_here.clone(),
                            closing: self.closing.clone(),
                            client: Arc::clone(&self.socket),
                        };
                        self.gate.spawn(errand.run());
                    }
                    Err(reason) => {
                        self.tally.unasked(reason, now);
                        let _ = self.destinations.refused(&key, reason, self.refusal_stands(reason), now);
                    }
                }
            }
        }
    }

    fn learn(&mut self, news: News) {
        let now = clock::now();
        match news {
            News::Opened(key, passage) => {
                for reason in self.destinations.opened(&key, *passage, now) {
                    self.tally.count(reason, 1);
                }
            }
            News::Refused(key, reason) => {
                let lost = self.destinations.refused(&key, reason, self.refusal_stands(reason), now);
                self.tally.count(reason, lost);
            }
            News::Ended(key) => self.destinations.ended(&key),
        }
    }

    /// For how long, and in which state of the policy, a refusal answers for the next datagrams as well. A question that
    /// nobody answered is not asked again for every datagram.
    fn refusal_stands(&self, reason: Reason) -> destinations::Stands {
        let patience = self.gate.config().policy.prompt_wait;
        let least = destinations::REFUSAL_STANDS;
        let time = if reason == Reason::PromptTimeout { patience.max(least) } else { least };
        destinations::Stands { time, epoch: self.gate.policy().epoch() }
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Completes when the control connection has ended. What an app sends on it means nothing.
async fn ended(control: &TcpStream) {
    loop {
        if control.readable().await.is_err() {
            return;
        }
        match control.try_read(&mut [0; 256]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// A socket where the control connection came in, on a port of the kernel's choice.
fn bind(local: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let mut address = local;
    address.set_port(0);
    if let IpAddr::V4(ip) = local.ip().to_canonical() {
        address = SocketAddr::new(ip.into(), 0);
    }
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok((UdpSocket::from_std(socket)?, address))
}

/// Whether any destination could be permitted: who may send nothing at all is told so at once.
fn may_ever(gate: &Gate, run: &Run) -> Result<(), Reason> {
    let facts = run.wants(gate.actions.datagram, Wanted::None);
    match gate.policy().decide(clock::now(), &facts) {
        Decision::Refuse(reason, _) => Err(reason),
        Decision::Allow(_) | Decision::Ask(_) => Ok(()),
    }
}

async fn refuse(gate: &Gate, run: &Run, reason: Reason) {
    gate.metrics.refused(DOOR, reason);
    let record = Record {
        decision: Some(Outcome::Deny),
        reason: Some(reason),
        ingress: Some(DOOR.as_str().into()),
        ..actions::record_of(gate, run, gate.actions.datagram)
    };
    if let Err(error) = gate.journal.record(record).await {
        tracing::warn!(%error, %reason, "a refusal could not be written down");
    }
}
