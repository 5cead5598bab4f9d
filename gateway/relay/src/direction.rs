//! One direction of a flow: reads from one socket, writes to the other, asks the limit before each write and looks at the
//! lease before each write. Decides how much to move in one turn, whether to copy or to splice, and when the direction has
//! ended. Called by `relay`, twice for each turn of a flow's task.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mexe_model::{Instant, Reason};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::allowance::{Allowance, Taken};
use crate::back_pressure::{Sender, fit, free};
use crate::clock;
use crate::copy::{BUFFER, Held};
use crate::lease::Lease;
use crate::limit::{Limit, Room};
use crate::pacing::pace;
use crate::pipe::{Pipe, PipePool};
use crate::queue::{Delivery, delivery};
use crate::relay::Strategy;
use crate::splice;

/// Bytes one direction may move before it lets other flows have the thread: raw splices do not count for tokio.
const TURN: usize = 2 << 20;
/// So many full buffers in a row are bulk.
const FULL_READS: u8 = 4;
/// So many splices in a row that a buffer would have held are no bulk any more.
const SMALL_SPLICES: u8 = 8;
/// How long until an empty allowance is looked at again: whoever fills it waits for the disk meanwhile.
const REFILL: Duration = Duration::from_millis(2);

/// One direction of a flow.
#[derive(Debug)]
pub(crate) struct Direction {
    held: Held,
    pipe: Option<Pipe>,
    limit: Option<Limit>,
    sender: Sender,
    /// The chunk that the queues of the kernel are fitted to; 0 when they are as they were.
    fitted: u64,
    allowance: Option<Arc<Allowance>>,
    /// The limit or the allowance lets nothing through before this instant.
    pub(crate) wait: Option<Instant>,
    /// Bytes that were written.
    pub(crate) moved: u64,
    stage: Stage,
    /// The receiver was told that nothing more comes.
    told: bool,
    mover: Mover,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The sender has finished; bytes may still wait to be written.
    Ending,
    Ended,
}

/// How bytes are moved, and what speaks for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mover {
    Copy { full_reads: u8 },
    CopyOnly,
    Splice { small_splices: u8 },
    SpliceOnly,
}

/// What became of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The lease has been taken back.
    Cut,
    /// The direction has ended: the sender finished, and all is written.
    Ended,
    /// The turn is over, and there is more to do at once.
    More,
    /// Nothing can move now; the task will be woken, or [`Direction::wait`] says when to look again.
    Pending,
    /// The socket that is read is broken.
    ReadFailed,
    /// The socket that is written is broken.
    WriteFailed,
}

/// What a direction sees of its flow for one turn.
pub(crate) struct Sight<'a> {
    pub(crate) from: &'a mut TcpStream,
    pub(crate) to: &'a mut TcpStream,
    pub(crate) pipes: &'a PipePool,
    pub(crate) lease: &'a Lease,
    /// Where the lease counts what this direction writes.
    pub(crate) count: fn(&Lease, u64),
    /// The other direction has ended.
    pub(crate) last: bool,
}

impl Direction {
    pub(crate) fn new(
        early: Vec<u8>,
        sender: Sender,
        limit: Option<Limit>,
        allowance: Option<Arc<Allowance>>,
        strategy: Strategy,
    ) -> Self {
        let mover = match strategy {
            Strategy::Auto => Mover::Copy { full_reads: 0 },
            Strategy::Copy => Mover::CopyOnly,
            Strategy::Splice => Mover::SpliceOnly,
        };
        let held = Held::early(early);
        let stage = Stage::Open;
        Self {
            held,
            pipe: None,
            limit,
            sender,
            fitted: 0,
            allowance,
            wait: None,
            moved: 0,
            stage,
            told: false,
            mover,
        }
    }

    /// Moves what can be moved now.
    pub(crate) fn turn(&mut self, sight: &mut Sight<'_>, cx: &mut Context<'_>) -> Turn {
        if self.stage == Stage::Ended {
            return Turn::Ended;
        }
        let mut left = TURN;
        loop {
            if sight.lease.is_cancelled() {
                return Turn::Cut;
            }
            if self.waiting() > 0 {
                match self.write(sight, cx) {
                    Poll::Pending => return Turn::Pending,
                    Poll::Ready(Ok(n)) => left = left.saturating_sub(n),
                    Poll::Ready(Err(_)) => return Turn::WriteFailed,
                }
            } else if self.stage == Stage::Ending {
                self.stage = Stage::Ended;
                // The end of the second direction is the end of the flow, and the close will tell the receiver.
                if !sight.last {
                    self.tell(sight.to);
                }
                return Turn::Ended;
            } else if left == 0 {
                return Turn::More;
            } else {
                match self.read(sight, cx) {
                    Poll::Pending => return Turn::Pending,
                    Poll::Ready(Ok(0)) => self.stage = Stage::Ending,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Turn::ReadFailed,
                }
            }
        }
    }

    /// Holds it to another rate.
    pub(crate) fn limit(&mut self, limit: Option<Limit>) {
        self.limit = limit;
        self.wait = None;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// How far the bytes have come that this direction wrote to `to`.
    pub(crate) fn delivery(&self, to: &TcpStream) -> Delivery {
        delivery(to, self.told)
    }

    /// Tells the receiver, once, that nothing more comes.
    pub(crate) fn tell(&mut self, to: &TcpStream) {
        if !std::mem::replace(&mut self.told, true) {
            // Fails only when the connection is gone; then the other direction finds out why.
            let _ = SockRef::from(to).shutdown(Shutdown::Write);
        }
    }

    /// Gives up whatever is held, and tells how many bytes that were; a pipe with bytes in it is destroyed.
    pub(crate) fn abandon(&mut self, pipes: &PipePool) -> u64 {
        let given_up = wide(self.waiting());
        self.held = Held::default();
        if let Some(pipe) = self.pipe.take() {
            pipes.give_back(pipe);
        }
        given_up
    }

    /// Bytes that were read and not yet written.
    fn waiting(&self) -> usize {
        self.pipe.as_ref().map_or(self.held.len(), |pipe| pipe.filled)
    }

    /// Writes what the allowance and the limit let through, and charges what was written.
    fn write(&mut self, sight: &mut Sight<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut due = self.waiting();
        self.wait = None;
        let mut taken = 0;
        if let Some(allowance) = &self.allowance {
            match allowance.take(wide(due)) {
                Taken::Bytes(bytes) => (taken, due) = (bytes, narrow(bytes)),
                Taken::Later => {
                    self.wait = Some(clock::now().after(REFILL));
                    return Poll::Pending;
                }
                Taken::Never => {
                    sight.lease.handle().cancel(Reason::BudgetUsedUp);
                    return Poll::Ready(Ok(0));
                }
            }
        }
        if let Some(limit) = &mut self.limit {
            match limit.ask(wide(due), cx.waker()) {
                Room::Bytes(granted) => due = narrow(granted),
                later => {
                    if let Room::NotBefore(until) = later {
                        self.wait = Some(until);
                    }
                    self.allowance.iter().for_each(|allowance| allowance.give_back(taken));
                    return Poll::Pending;
                }
            }
        }
        let result = match &mut self.pipe {
            Some(pipe) => splice::drain(pipe, sight.to, due, cx),
            None => self.held.drain(sight.to, due, cx),
        };
        let written = if let Poll::Ready(Ok(n)) = result { n } else { 0 };
        if let Some(limit) = &mut self.limit {
            limit.settle(wide(due), wide(written));
        }
        if let Some(allowance) = &self.allowance {
            allowance.give_back(taken.saturating_sub(wide(written)));
        }
        if written > 0 {
            self.moved = self.moved.saturating_add(wide(written));
            (sight.count)(sight.lease, wide(written));
        }
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.filled == 0) {
            sight.pipes.give_back(pipe);
        }
        result
    }

    fn read(&mut self, sight: &mut Sight<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // What is read waits here for the limit, so it should not be more than that lets through soon.
        let most = self.limit.as_ref().map_or(usize::MAX, |limit| narrow(limit.quantum()));
        self.fit(sight);
        if matches!(self.mover, Mover::Splice { .. } | Mover::SpliceOnly) {
            // An idle flow holds no pipe: first see whether there is anything to read.
            ready!(sight.from.poll_read_ready(cx))?;
            if let Some(mut pipe) = sight.pipes.take() {
                let read = splice::fill(&mut pipe, sight.from, most, cx);
                match read {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.pipe = Some(pipe);
                        self.judge_splice(n);
                    }
                    _ => sight.pipes.give_back(pipe),
                }
                return read;
            }
        }
        let read = ready!(self.held.fill(sight.from, most, cx))?;
        self.judge_copy(read);
        Poll::Ready(Ok(read))
    }

    /// Fits the queues of the kernel to the bearer, when there is one and when it has changed.
    fn fit(&mut self, sight: &Sight<'_>) {
        let Some(chunk) = self.limit.as_ref().and_then(Limit::bearer_chunk) else { return };
        if chunk == self.fitted {
            return;
        }
        match (self.fitted, chunk) {
            // One that never had a limit keeps what the kernel chose.
            (0, u64::MAX) => free(sight.from),
            _ => fit(sight.from, sight.to, self.sender, chunk),
        }
        // What comes from the network is paced by who sends it.
        if self.sender == Sender::Near && self.limit.as_ref().is_some_and(Limit::is_paced) {
            pace(sight.to, pace_of(chunk));
        }
        self.fitted = chunk;
    }

    fn judge_copy(&mut self, read: usize) {
        if let Mover::Copy { full_reads } = &mut self.mover {
            *full_reads = if read == BUFFER { full_reads.saturating_add(1) } else { 0 };
            if *full_reads >= FULL_READS {
                self.mover = Mover::Splice { small_splices: 0 };
            }
        }
    }

    fn judge_splice(&mut self, read: usize) {
        if let Mover::Splice { small_splices } = &mut self.mover {
            *small_splices = if read < BUFFER { small_splices.saturating_add(1) } else { 0 };
            if *small_splices >= SMALL_SPLICES {
                self.mover = Mover::Copy { full_reads: 0 };
            }
        }
    }
}

/// Bytes a second for chunks of that many bytes, which take two milliseconds at least; a quarter more, for headers. Without a
/// limit there is none.
fn pace_of(chunk: u64) -> Option<u64> {
    (chunk != u64::MAX).then(|| chunk.saturating_mul(500).saturating_mul(5) / 4)
}

fn narrow(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
