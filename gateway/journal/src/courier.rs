//! Brings answers to threads on which many wait. To wake a task from another thread costs a system call and often a
//! context switch, each time; the answers of one commit are put down together instead, and one task of the thread in
//! question, woken once, hands them out. A thread has a courier when somebody runs [`deliver`] on it; the others are
//! answered one by one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::oneshot;

use crate::Unavailable;

/// What a caller is told: the record's number.
pub(crate) type Told = Result<u64, Unavailable>;

/// Where the outcome of a job goes.
#[derive(Debug)]
pub(crate) struct Answer {
    to: oneshot::Sender<Told>,
    by: Option<Arc<Courier>>,
}

impl Answer {
    /// An answer to be sent, and where it will arrive.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Told>) {
        let (to, arrives) = oneshot::channel();
        (Self { to, by: HERE.with_borrow(Clone::clone) }, arrives)
    }

    /// Sends it at once. Who does not wait any more needs no answer.
    pub(crate) fn send(self, told: Told) {
        let _ = self.to.send(told);
    }
}

/// Sends many answers.
pub(crate) fn send_all(answers: impl IntoIterator<Item = (Answer, u64)>) {
    let mut couriers: Vec<Arc<Courier>> = Vec::new();
    for (answer, seq) in answers {
        match answer.by {
            None => answer.send(Ok(seq)),
            Some(courier) => {
                courier.put(answer.to, seq);
                if !couriers.iter().any(|known| Arc::ptr_eq(known, &courier)) {
                    couriers.push(courier);
                }
            }
        }
    }
    for courier in couriers {
        courier.call();
    }
}

thread_local! {
    static HERE: RefCell<Option<Arc<Courier>>> = const { RefCell::new(None) };
}

/// What lies ready for one thread.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    bag: Mutex<Bag>,
}

#[derive(Debug, Default)]
struct Bag {
    answers: Vec<(oneshot::Sender<Told>, u64)>,
    waker: Option<Waker>,
    /// Nobody comes for them any more.
    gone: bool,
}

impl Courier {
    fn put(&self, to: oneshot::Sender<Told>, seq: u64) {
        let mut bag = self.bag();
        if bag.gone {
            drop(bag);
            let _ = to.send(Ok(seq));
        } else {
            bag.answers.push((to, seq));
        }
    }

    fn call(&self) {
        let waker = self.bag().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn bag(&self) -> MutexGuard<'_, Bag> {
        self.bag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands out what the journal answers to callers on this thread. Never completes: for a runtime that has one thread, to
/// be spawned on it. Without it, or after it was dropped, answers arrive all the same.
pub async fn deliver() {
    let here = OnDuty(Arc::default());
    HERE.set(Some(Arc::clone(&here.0)));
    let mut answers = Vec::new();
    poll_fn(|cx| {
        loop {
            let mut bag = here.0.bag();
            if bag.answers.is_empty() {
                bag.waker = Some(cx.waker().clone());
                return Poll::<()>::Pending;
            }
            std::mem::swap(&mut bag.answers, &mut answers);
            drop(bag);
            hand_out(answers.drain(..));
        }
    })
    .await;
}

fn hand_out(answers: impl IntoIterator<Item = (oneshot::Sender<Told>, u64)>) {
    for (to, seq) in answers {
        // Who does not wait any more needs no answer.
        let _ = to.send(Ok(seq));
    }
}

/// A courier, for as long as it comes.
struct OnDuty(Arc<Courier>);

impl Drop for OnDuty {
    fn drop(&mut self) {
        // The thread itself may be ending.
        let _ = HERE.try_with(|here| here.take());
        let left = {
            let mut bag = self.0.bag();
            bag.gone = true;
            std::mem::take(&mut bag.answers)
        };
        hand_out(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(count: u64) -> (Vec<(Answer, u64)>, Vec<oneshot::Receiver<Told>>) {
        (0..count)
            .map(|seq| {
                let (answer, arrives) = Answer::new();
                ((answer, seq), arrives)
            })
            .unzip()
    }

    #[tokio::test]
    async fn a_courier_hands_out_what_was_asked_for_on_its_thread() {
        let courier = tokio::spawn(deliver());
        tokio::task::yield_now().await;
        let here = HERE.with_borrow(Clone::clone).unwrap();
        let (answers, arrivals) = asked(3);
        std::thread::spawn(move || send_all(answers)).join().unwrap();
        assert_eq!(here.bag().answers.len(), 3, "none of them was sent by the other thread");
        for (seq, arrives) in (0..).zip(arrivals) {
            assert_eq!(arrives.await.unwrap(), Ok(seq));
        }
        courier.abort();
    }

    #[tokio::test]
    async fn answers_arrive_though_the_courier_left() {
        let courier = tokio::spawn(deliver());
        tokio::task::yield_now().await;
        let (before, mut arrivals) = asked(1);
        let (after, later) = asked(1);
        arrivals.extend(later);
        send_all(before);
        courier.abort();
        let _ = courier.await;
        send_all(after);
        assert!(HERE.with_borrow(Option::is_none));
        for arrives in arrivals {
            assert_eq!(arrives.await.unwrap(), Ok(0));
        }
    }
}
