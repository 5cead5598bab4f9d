//! Lets the reading and the unpacking of a large entry, and the hashing of what comes out, go on beside each other: one
//! stream can only be unpacked from its beginning to its end, but nothing says that the same thread has to hash it. The
//! engine owns no thread; whoever has one to spare gives an [`Aside`] to [`crate::Part::run_beside`].

use std::ops::Range;

/// Runs a maker and a taker of pieces.
pub trait Aside {
    /// Calls `make` once. It hands on pieces: a buffer, and which bytes of it are meant; it may be left another buffer of the
    /// same length instead. `take` is called with each piece, in order, here or on another thread, and with all of them
    /// before this returns.
    fn beside(&self, make: Make<'_>, take: Take<'_>);
}

/// Makes pieces, and hands each of them on.
pub type Make<'a> = &'a mut dyn FnMut(&mut HandOn<'_>);

/// Hands on these bytes of a buffer.
pub type HandOn<'a> = dyn FnMut(&mut Vec<u8>, Range<usize>) + Send + 'a;

/// Takes one piece.
pub type Take<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// Takes each piece where it was made.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Aside for Alone {
    fn beside(&self, make: Make<'_>, take: Take<'_>) {
        make(&mut |buffer, piece| take(buffer.get(piece).unwrap_or_default()));
    }
}
