//! Numbers for tests that vary what they do: from a seed that is printed, and that `MEXEGATE_SEED` gives again.

/// A small generator (xorshift64*); good enough to vary a test, and nothing else.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From the variable `MEXEGATE_SEED`, else from the clock. Prints the seed.
    ///
    /// # Panics
    /// When the variable holds no number.
    pub fn new() -> Self {
        let seed = match std::env::var("MEXEGATE_SEED") {
            Ok(text) => text.parse().expect("MEXEGATE_SEED is a number"),
            Err(_) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.map_or(1, |now| now.as_nanos() as u64)
            }
        };
        println!("MEXEGATE_SEED={seed}");
        Self::from_seed(seed)
    }

    /// From that seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Another generator, for another thread.
    pub fn split(&mut self) -> Self {
        Self::from_seed(self.next())
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below that one.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
