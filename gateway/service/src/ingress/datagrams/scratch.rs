//! Room for one datagram, lent to whoever moves one: each thread has one piece, however many associations it serves. What
//! is in it is of no use to anybody after the call.

use std::cell::RefCell;

/// Larger than any datagram with any header in front.
const ROOM: usize = 66 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into_boxed_slice());
}

/// Lends the thread's room. Not to be asked for inside `act`, which would get none.
pub(super) fn with<T: Default>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with(|buffer| buffer.try_borrow_mut().map(|mut buffer| act(&mut buffer)).unwrap_or_default())
}
