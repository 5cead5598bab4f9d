//! Runs: who is behind a connection. A run is one execution of an app, from start to stop; its token is the password on
//! the proxies. Only a hash of a token is kept, in memory, so a restart of the gate ends every run (S3). Decides nothing
//! about actions: that is the policy's; here is only "which live run is this".

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::{digest, rand};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use mexe_model::{AppId, Groups, Instant, Reason, RunId, Trust, WallTime};
use mexe_policy::{ActionId, Facts, RunBinding, RunFacts, Target};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A run that no program holds ends after this long without a connection.
pub const IDLE_END: Duration = Duration::from_secs(30 * 60);
/// A run that no program holds ends after this long whatever it does.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// One execution of an app.
#[derive(Debug)]
pub struct Run {
    /// Its identity; never used again.
    pub id: RunId,
    /// The app that runs.
    pub app: AppId,
    /// The app's column of the security table, as judged when the run began.
    pub trust: Trust,
    /// The traffic profile that the app's signed manifest asks for.
    pub qos_profile: Option<String>,
    /// The root that vouched for the app, when one did.
    pub root: Option<mexe_model::RootId>,
    /// The action groups that the app's certificates leave to it.
    pub groups: Groups,
    /// Whether the app is vouched for only because the owner lets old algorithms count.
    pub legacy: bool,
    /// What ties the run to its package (S1).
    pub binding: RunBinding,
    /// When it began.
    pub started: WallTime,
    /// The process that ends the run with its exit; 0 while there is none.
    process: AtomicU32,
    /// Connections open now, of this run.
    pub open: AtomicUsize,
    /// Connections open now, of all runs of the app.
    pub open_in_app: Arc<AtomicUsize>,
    /// Bytes of datagrams that wait until it is decided whether they may go.
    pub held: AtomicUsize,
    rate: Option<DefaultDirectRateLimiter>,
    token: [u8; 32],
    began: Instant,
    last_used: AtomicU64,
    ended: AtomicBool,
}

impl Run {
    /// What the policy needs to know of this run.
    pub fn facts(&self) -> RunFacts {
        RunFacts { id: self.id, binding: self.binding, ended: self.has_ended() }
    }

    /// What the policy is asked when this run wants to do that.
    pub fn wants<'a>(&'a self, action: ActionId, target: Target<'a>) -> Facts<'a> {
        Facts {
            app: &self.app,
            trust: self.trust,
            groups: self.groups,
            legacy: self.legacy,
            suspended: false,
            run: Some(self.facts()),
            action,
            target,
        }
    }

    /// Whether the run is over. Never becomes false again.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether one more new connection is within the run's rate, counting it.
    pub fn within_rate(&self) -> bool {
        self.rate.as_ref().is_none_or(|limiter| limiter.check().is_ok())
    }

    /// The process that ends the run with its exit, when there is one.
    pub fn process(&self) -> Option<u32> {
        Some(self.process.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }

    fn overdue(&self, now: Instant) -> bool {
        let idle = now.since(Instant::from_nanos(self.last_used.load(Ordering::Relaxed)));
        let quiet = self.open.load(Ordering::Relaxed) == 0 && idle >= IDLE_END;
        self.process().is_none() && (quiet || now.since(self.began) >= LONGEST)
    }
}

/// What begins a run.
#[derive(Debug)]
pub struct NewRun {
    /// The app.
    pub app: AppId,
    /// Its column, judged just now.
    pub trust: Trust,
    /// The profile of its signed manifest.
    pub qos_profile: Option<String>,
    /// The root that vouched.
    pub root: Option<mexe_model::RootId>,
    /// The action groups that the app's certificates leave to it.
    pub groups: Groups,
    /// Whether it is vouched for only because the owner lets old algorithms count.
    pub legacy: bool,
    /// What ties it to its package.
    pub binding: RunBinding,
    /// The process that holds it, if known already.
    pub process: Option<u32>,
    /// New connections per second, when limited.
    pub rate: Option<std::num::NonZeroU32>,
}

/// The token of a run, shown once to whoever started it. Wiped from memory when dropped.
pub type Token = Zeroizing<String>;

/// Every live run.
#[derive(Debug, Default)]
pub struct Runs {
    live: RwLock<Live>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Live {
    by_token: HashMap<[u8; 32], Arc<Run>>,
    by_id: HashMap<RunId, Arc<Run>>,
    open_by_app: HashMap<AppId, Arc<AtomicUsize>>,
}

impl Runs {
    /// No runs; ids are counted from `first`, which the journal never gave out before.
    pub fn new(first: u64) -> Self {
        Self { live: RwLock::default(), next: AtomicU64::new(first) }
    }

    /// Begins a run and makes its token: 256 random bits, of which only a hash stays here.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn begin(&self, new: NewRun, now: Instant, at: WallTime) -> Result<(Arc<Run>, Token), RandomFailed> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        rand::fill(secret.as_mut_slice()).map_err(|_| RandomFailed)?;
        let mut token = Zeroizing::new(String::with_capacity(64));
        for byte in secret.iter() {
            token.push_str(&format!("{byte:02x}"));
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let run = Arc::new(Run {
            id: RunId(self.next.fetch_add(1, Ordering::Relaxed)),
            open_in_app: Arc::clone(live.open_by_app.entry(new.app.clone()).or_default()),
            app: new.app,
            trust: new.trust,
            qos_profile: new.qos_profile,
            root: new.root,
            groups: new.groups,
            legacy: new.legacy,
            binding: new.binding,
            started: at,
            process: AtomicU32::new(new.process.unwrap_or(0)),
            open: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            rate: new.rate.map(|rate| RateLimiter::direct(Quota::per_second(rate))),
            token: hash(&token),
            began: now,
            last_used: AtomicU64::new(now.as_nanos()),
            ended: AtomicBool::new(false),
        });
        live.by_token.insert(run.token, Arc::clone(&run));
        live.by_id.insert(run.id, Arc::clone(&run));
        Ok((run, token))
    }

    /// The live run that these credentials name. The token is looked up by its hash and compared in constant time; the
    /// user name must be the run's app.
    ///
    /// # Errors
    /// [`Reason::CredentialsWrong`] for anything else: which half was wrong is not told.
    pub fn authenticate(&self, user: &str, token: &str, now: Instant) -> Result<Arc<Run>, Reason> {
        let hash = hash(token);
        let run = {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            live.by_token.get(&hash).cloned()
        };
        let run = run.ok_or(Reason::CredentialsWrong)?;
        let same = run.token.ct_eq(&hash) & run.app.as_str().as_bytes().ct_eq(user.as_bytes());
        if !bool::from(same) || run.has_ended() {
            return Err(Reason::CredentialsWrong);
        }
        run.last_used.store(now.as_nanos(), Ordering::Relaxed);
        Ok(run)
    }

    /// The live run whose token this is, whatever its app: for an app that calls the API with its token alone.
    pub fn by_token(&self, token: &str) -> Option<Arc<Run>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.by_token.get(&hash(token)).filter(|run| !run.has_ended()).cloned()
    }

    /// The live run of that id.
    pub fn get(&self, id: RunId) -> Option<Arc<Run>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    /// Ends a run: from here on it authenticates nobody. `None` when it was over already. Cutting its flows and dropping
    /// its session grants is the caller's, who sees the whole gate.
    pub fn end(&self, id: RunId) -> Option<Arc<Run>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let run = live.by_id.remove(&id)?;
        live.by_token.remove(&run.token);
        if !live.by_id.values().any(|other| other.app == run.app) {
            live.open_by_app.remove(&run.app);
        }
        run.ended.store(true, Ordering::Release);
        Some(run)
    }

    /// From now on that process is the run's program.
    pub fn hold(&self, id: RunId, pid: u32) {
        if let Some(run) = self.get(id) {
            run.process.store(pid, Ordering::Release);
        }
    }

    /// Every live run, oldest first.
    pub fn list(&self) -> Vec<Arc<Run>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let mut runs: Vec<_> = live.by_id.values().cloned().collect();
        runs.sort_by_key(|run| run.id);
        runs
    }

    /// The live runs of one app, oldest first.
    pub fn of(&self, app: &AppId) -> Vec<Arc<Run>> {
        self.list().into_iter().filter(|run| run.app == *app).collect()
    }

    /// Runs held by no program that are idle or too old: to be ended.
    pub fn overdue(&self, now: Instant) -> Vec<RunId> {
        self.list().iter().filter(|run| run.overdue(now)).map(|run| run.id).collect()
    }

    /// The processes that hold runs.
    pub fn processes(&self) -> Vec<u32> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.by_id.values().filter_map(|run| run.process()).collect()
    }
}

fn hash(token: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    let mut bytes = [0_u8; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// The system gave no random bytes, so no token can be made.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system's random source failed, so no run can begin; try again")]
pub struct RandomFailed;

#[cfg(test)]
mod tests {
    use super::*;

    fn new(app: &str) -> NewRun {
        NewRun {
            app: app.parse().unwrap(),
            trust: Trust::Untrusted,
            qos_profile: None,
            root: None,
            groups: mexe_model::Groups::ALL,
            legacy: false,
            binding: RunBinding::Token,
            process: None,
            rate: None,
        }
    }

    fn begin(runs: &Runs, app: &str) -> (Arc<Run>, Token) {
        runs.begin(new(app), Instant::from_nanos(0), WallTime::from_secs(0)).unwrap()
    }

    /// A limiter that is asked for more than it can ever hold says so by an error; who passes over it limits nothing. Ours
    /// is asked for one at a time, and every answer but yes is no.
    #[test]
    fn trap_11_what_the_limiter_does_not_let_through_is_refused() {
        let runs = Runs::new(1);
        for rate in [1_u32, 5] {
            let new = NewRun { rate: rate.try_into().ok(), ..new("limited") };
            let run = runs.begin(new, Instant::from_nanos(0), WallTime::from_secs(0)).unwrap().0;
            let passed = (0..rate + 20).filter(|_| run.within_rate()).count();
            // A second's worth at once, and what comes while it is asked.
            assert!((1..=rate as usize + 1).contains(&passed), "{passed} of {rate}");
        }
    }

    #[test]
    fn only_the_right_app_with_the_right_token_is_a_run() {
        let runs = Runs::new(1);
        let (one, token) = begin(&runs, "one");
        let (_, other) = begin(&runs, "two");
        let now = Instant::from_nanos(1);
        assert_eq!(runs.authenticate("one", &token, now).unwrap().id, one.id);
        for (user, password) in [
            ("two", &*token),
            ("one", &*other),
            ("one", &token.chars().skip(1).collect::<String>()),
            ("", &String::new()),
        ] {
            assert_eq!(runs.authenticate(user, password, now).unwrap_err(), Reason::CredentialsWrong);
        }
    }

    #[test]
    fn an_ended_run_authenticates_nobody_and_tokens_are_not_kept() {
        let runs = Runs::new(1);
        let (run, token) = begin(&runs, "one");
        assert_eq!(token.len(), 64);
        assert!(!format!("{runs:?}").contains(&**token));
        assert!(runs.end(run.id).is_some());
        assert!(run.has_ended());
        assert!(runs.end(run.id).is_none());
        assert!(runs.authenticate("one", &token, Instant::from_nanos(1)).is_err());
    }

    #[test]
    fn a_run_without_a_program_ends_after_half_an_idle_hour_or_a_day() {
        let runs = Runs::new(1);
        let (run, token) = begin(&runs, "one");
        let at = |secs: u64| Instant::from_nanos(secs * 1_000_000_000);
        assert!(runs.overdue(at(1799)).is_empty());
        assert_eq!(runs.overdue(at(1800)), [run.id]);
        runs.authenticate("one", &token, at(1700)).unwrap();
        assert!(runs.overdue(at(1800)).is_empty());
        run.open.store(1, Ordering::Relaxed);
        assert!(runs.overdue(at(86_399)).is_empty());
        assert_eq!(runs.overdue(at(86_400)), [run.id]);
    }
}
