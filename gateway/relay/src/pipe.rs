//! A bounded pool of pipes for splicing. Decides when a flow gets a pipe and when it has to copy instead; moves nothing.
//! A flow holds a pipe only while bytes are in it or about to be. A pipe that still holds bytes is never given to another
//! flow, it is destroyed.
//!
//! The kernel gives each unprivileged user 64 MiB of pipes (`fs.pipe-user-pages-soft`) and then hands out pipes of one or
//! two pages, with which splicing is slower than copying: so the pool ends below that, and small pipes are not used.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

/// A pool of pipes. Cheap to clone; all clones are one pool.
#[derive(Clone)]
pub struct PipePool(Arc<Inner>);

struct Inner {
    idle: Mutex<Vec<Pipe>>,
    /// Pipes that exist, in use and idle.
    made: AtomicUsize,
    most: usize,
    size: usize,
}

impl PipePool {
    /// The size that pipes should have, bytes: the largest that an unprivileged process may ask for by default.
    pub const SIZE: usize = 1 << 20;
    /// How many pipes of that size leave something for the user's other programs.
    pub const MOST: usize = 48;
    /// Idle pipes above this are destroyed: each is two descriptors.
    const IDLE: usize = 8;
    /// A pipe of less than this is not worth splicing through.
    const LEAST: usize = 1 << 16;

    /// A pool of at most `most` pipes (0: every flow copies) of about `size` bytes each.
    pub fn new(most: usize, size: usize) -> Self {
        Self(Arc::new(Inner { idle: Mutex::new(Vec::new()), made: AtomicUsize::new(0), most, size }))
    }

    /// How many pipes exist.
    pub fn made(&self) -> usize {
        self.0.made.load(Ordering::Relaxed)
    }

    /// An empty pipe, or `None` when the pool is dry or the kernel is.
    pub(crate) fn take(&self) -> Option<Pipe> {
        // Its own statement: the lock is not held while a pipe is made.
        let idle = self.idle().pop();
        idle.or_else(|| self.make())
    }

    /// Takes a pipe back. One that holds bytes is destroyed, since they belong to its flow.
    pub(crate) fn give_back(&self, pipe: Pipe) {
        let mut idle = self.idle();
        if pipe.filled == 0 && idle.len() < Self::IDLE {
            idle.push(pipe);
        } else {
            drop(idle);
            self.destroy(pipe);
        }
    }

    /// Closes the pipe and the bytes in it.
    pub(crate) fn destroy(&self, pipe: Pipe) {
        drop(pipe);
        self.0.made.fetch_sub(1, Ordering::Relaxed);
    }

    fn make(&self) -> Option<Pipe> {
        let (made, most) = (&self.0.made, self.0.most);
        made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then(|| n.saturating_add(1)))
            .ok()?;
        let pipe = Pipe::open(self.0.size).filter(|pipe| pipe.size >= Self::LEAST);
        if pipe.is_none() {
            made.fetch_sub(1, Ordering::Relaxed);
        }
        pipe
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Pipe>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for PipePool {
    fn default() -> Self {
        Self::new(Self::MOST, Self::SIZE)
    }
}

impl fmt::Debug for PipePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipePool").field("made", &self.made()).field("most", &self.0.most).finish()
    }
}

/// A pipe and how many bytes it holds. Belongs to a pool: it goes back by [`PipePool::give_back`] or ends by
/// [`PipePool::destroy`], so that the pool's count is right.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
    pub(crate) size: usize,
    pub(crate) filled: usize,
}

impl Pipe {
    fn open(size: usize) -> Option<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Refused above the limits of the user; the size that it has then is still good.
        let _ = fcntl_setpipe_size(&write, size);
        let size = fcntl_getpipe_size(&write).ok()?;
        Some(Self { read, write, size, filled: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_pool_gives_nothing_and_fills_again() {
        let pool = PipePool::new(2, PipePool::LEAST);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        pool.give_back(a);
        let c = pool.take().unwrap();
        assert!(pool.take().is_none());
        pool.destroy(b);
        assert_eq!(pool.made(), 1);
        pool.give_back(c);
        assert_eq!(pool.made(), 1);
    }

    #[test]
    fn a_pipe_that_holds_bytes_is_never_given_on() {
        let pool = PipePool::new(1, PipePool::LEAST);
        let mut pipe = pool.take().unwrap();
        rustix::io::write(&pipe.write, b"secret").unwrap();
        pipe.filled = 6;
        pool.give_back(pipe);
        assert_eq!(pool.made(), 0);
        let next = pool.take().unwrap();
        let mut bytes = [0; 8];
        assert_eq!(rustix::io::read(&next.read, &mut bytes), Err(rustix::io::Errno::AGAIN));
    }

    #[test]
    fn idle_pipes_are_few() {
        let pool = PipePool::new(40, PipePool::LEAST);
        let pipes: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(pipes.len(), 40);
        pipes.into_iter().for_each(|pipe| pool.give_back(pipe));
        assert_eq!(pool.made(), PipePool::IDLE);
    }
}
