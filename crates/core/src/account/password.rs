//! Passwords: what is accepted, how they are stored, and that hashing cannot exhaust the machine.
//!
//! Argon2id takes 19 MiB and some tens of milliseconds each time, so that [`Passwords`] lets two
//! run at once and few wait. They run on two threads of their own, because an allocator keeps what
//! a thread has used: on many threads in turn, two at a time had taken half a gigabyte. Who has which password, and how often one may try, is decided
//! elsewhere.

use std::{
    cell::RefCell,
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use argon2::{
    Argon2, Block, Params,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Semaphore, oneshot};

const MIN_CHARS: usize = 12;
const MAX_CHARS: usize = 1024;
const RUNNING_MAX: usize = 2;
const WAITING_MAX: usize = 16;
/// Hashed along with a password that has nothing to be compared with.
const DUMMY_SALT: [u8; 16] = *b"slipway no hash.";

/// A password that may be set.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

/// A password of the wrong length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password has between {MIN_CHARS} and {MAX_CHARS} characters, this one has {0}")]
pub struct PasswordLength(pub usize);

impl Password {
    /// Accepts 12 to 1024 characters of any kind.
    ///
    /// # Errors
    ///
    /// When it is shorter or longer.
    pub fn new(plain: SecretString) -> Result<Self, PasswordLength> {
        let length = plain.expose_secret().chars().count();
        if (MIN_CHARS..=MAX_CHARS).contains(&length) {
            Ok(Self(plain))
        } else {
            Err(PasswordLength(length))
        }
    }
}

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many are waiting already; trying again in a second is right.
    #[error("too many passwords are being checked")]
    TooBusy,
    /// The hash function failed.
    #[error("the password could not be hashed")]
    Hash(#[from] argon2::password_hash::Error),
    /// The process is shutting down.
    #[error("the password check was interrupted")]
    Interrupted,
}

/// The password's hash to be stored, a PHC text with a salt of its own.
///
/// # Errors
///
/// When there is no randomness or no memory.
pub fn hash(password: &Password) -> Result<String, PasswordError> {
    let plain = password.0.expose_secret().as_bytes();
    Ok(Argon2::default().hash_password(plain)?.to_string())
}

/// Whether this is the password that was hashed; a damaged hash takes as long and matches nothing.
#[must_use]
pub fn verify(plain: &str, phc: &str) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else {
        return verify_dummy(plain);
    };
    match (&hash.salt, &hash.hash) {
        (Some(salt), Some(expected)) if is_todays(&hash) => {
            let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
            let is_done = compute(plain, salt, &mut output);
            is_done && output.ct_eq(expected.as_bytes()).into()
        }
        _ => Argon2::default()
            .verify_password(plain.as_bytes(), &hash)
            .is_ok(),
    }
}

/// Whether the hash was made as [`hash`] makes them today.
fn is_todays(hash: &PasswordHash) -> bool {
    let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    let is_known = hash.algorithm == argon2::ARGON2ID_IDENT && hash.version == Some(0x13);
    is_known
        && Params::try_from(hash).is_ok_and(|params| costs(&params) == costs(&Params::DEFAULT))
        && hash
            .hash
            .is_some_and(|output| output.as_bytes().len() == Params::DEFAULT_OUTPUT_LEN)
}

thread_local! {
    /// What a thread computes in, kept for the next time: an allocator asked for 19 MiB again and
    /// again does not give them back.
    static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Computes a hash with today's costs; false when that is not possible.
/// How often this process has compared a password. The clock is a poor witness that an account that
/// does not exist takes as long as one that does; the work is a good one.
static COMPARED: AtomicU64 = AtomicU64::new(0);

/// How often this process has compared a password with a hash, or with none.
#[must_use]
pub fn compared() -> u64 {
    COMPARED.load(Ordering::Relaxed)
}

fn compute(plain: &str, salt: &[u8], output: &mut [u8]) -> bool {
    COMPARED.fetch_add(1, Ordering::Relaxed);
    MEMORY.with_borrow_mut(|memory| {
        memory.resize(Params::DEFAULT.block_count(), Block::default());
        let plain = plain.as_bytes();
        let memory = memory.as_mut_slice();
        Argon2::default()
            .hash_password_into_with_memory(plain, salt, output, memory)
            .is_ok()
    })
}

/// Takes as long as [`verify`] and is never true: for accounts that do not exist.
#[must_use]
pub fn verify_dummy(plain: &str) -> bool {
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    let hashed = compute(plain, &DUMMY_SALT, &mut hash);
    let _ = black_box((hashed, hash));
    false
}

/// Whether the hash was made with weaker parameters than today's, to be renewed at the next login.
#[must_use]
pub fn needs_rehash(phc: &str) -> bool {
    let parameters = |hash: PasswordHash| {
        let params = Params::try_from(&hash).ok()?;
        let known = hash.algorithm == argon2::ARGON2ID_IDENT && hash.version == Some(0x13);
        known.then_some((params.m_cost(), params.t_cost(), params.p_cost()))
    };
    let today = Params::DEFAULT;
    PasswordHash::new(phc)
        .ok()
        .and_then(parameters)
        .is_none_or(|(memory, passes, lanes)| {
            memory < today.m_cost() || passes < today.t_cost() || lanes != today.p_cost()
        })
}

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and compares off the async threads, two at a time.
#[derive(Clone, Debug)]
pub struct Passwords {
    admitted: Arc<Semaphore>,
    jobs: Arc<OnceLock<mpsc::Sender<Job>>>,
}

impl Passwords {
    /// One for the whole process.
    #[must_use]
    pub fn new() -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(RUNNING_MAX + WAITING_MAX)),
            jobs: Arc::default(),
        }
    }

    /// [`hash`] in its turn.
    ///
    /// # Errors
    ///
    /// `TooBusy` when 16 are waiting.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        self.run(move || hash(&password)).await?
    }

    /// [`verify`] in its turn, or [`verify_dummy`] where the account has no hash.
    ///
    /// # Errors
    ///
    /// `TooBusy` when 16 are waiting.
    pub async fn verify(
        &self,
        plain: SecretString,
        phc: Option<String>,
    ) -> Result<bool, PasswordError> {
        let compare = move || match &phc {
            Some(phc) => verify(plain.expose_secret(), phc),
            None => verify_dummy(plain.expose_secret()),
        };
        self.run(compare).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned();
        let admitted = admitted.or(Err(PasswordError::TooBusy))?;
        let (answer, done) = oneshot::channel();
        let job: Job = Box::new(move || {
            // A caller that goes away does not stop the work, so the work keeps the permit.
            let _admitted = admitted;
            let _gone = answer.send(work());
        });
        let jobs = self.jobs.get_or_init(start);
        jobs.send(job).or(Err(PasswordError::Interrupted))?;
        done.await.or(Err(PasswordError::Interrupted))
    }
}

/// Starts the threads; they end with the last of those who send them jobs.
fn start() -> mpsc::Sender<Job> {
    let (jobs, waiting) = mpsc::channel::<Job>();
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..RUNNING_MAX {
        let waiting = Arc::clone(&waiting);
        let started = thread::Builder::new()
            .name("passwords".to_owned())
            .spawn(move || {
                while let Some(job) = next(&waiting) {
                    // Whoever waits for it learns that it did not end.
                    let _panicked = catch_unwind(AssertUnwindSafe(job));
                }
            });
        if let Err(error) = started {
            tracing::error!(error = %error, "a thread for passwords could not be started");
        }
    }
    jobs
}

fn next(waiting: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.recv().ok()
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    const PLAIN: &str = "correct horse battery";

    fn password(plain: &str) -> Password {
        Password::new(plain.into()).unwrap()
    }

    #[test]
    fn memory_that_was_used_before_changes_nothing() {
        let (first, second) = (
            hash(&password(PLAIN)).unwrap(),
            hash(&password("another horse battery")).unwrap(),
        );
        for _ in 0..2 {
            assert!(verify(PLAIN, &first) && !verify(PLAIN, &second));
            assert!(!verify_dummy(PLAIN));
            assert!(verify("another horse battery", &second));
        }
        let reference = PasswordHash::new(&first).unwrap();
        assert!(is_todays(&reference));
        assert!(
            Argon2::default()
                .verify_password(PLAIN.as_bytes(), &reference)
                .is_ok()
        );
    }

    #[test]
    fn length_is_counted_in_characters() {
        let length = |count: usize| Password::new("é".repeat(count).into()).map(drop);
        assert_eq!(length(11), Err(PasswordLength(11)));
        assert_eq!(length(12), Ok(()));
        assert_eq!(length(1024), Ok(()));
        assert_eq!(length(1025), Err(PasswordLength(1025)));
        assert_eq!(
            PasswordLength(3).to_string(),
            "a password has between 12 and 1024 characters, this one has 3"
        );
    }

    #[test]
    fn hash_is_argon2id_with_its_own_salt() {
        let (first, second) = (
            hash(&password(PLAIN)).unwrap(),
            hash(&password(PLAIN)).unwrap(),
        );
        assert!(
            first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{first}"
        );
        assert_ne!(first, second);
    }

    #[test]
    fn only_the_password_itself_matches() {
        let phc = hash(&password(PLAIN)).unwrap();
        assert!(verify(PLAIN, &phc));
        for other in ["", "correct horse batterY", "correct horse battery "] {
            assert!(!verify(other, &phc), "{other}");
        }
        assert!(!verify(PLAIN, "not a hash"));
        assert!(!verify(PLAIN, ""));
        assert!(!verify_dummy(PLAIN));
    }

    #[test]
    fn hash_of_another_implementation_matches() {
        // From the tests of the reference implementation.
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                   $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(verify("password", phc));
        assert!(!verify("passwort", phc));
    }

    #[test]
    fn weaker_hashes_are_to_be_renewed() {
        let phc = hash(&password(PLAIN)).unwrap();
        assert!(!needs_rehash(&phc));
        assert!(needs_rehash(&phc.replace("m=19456", "m=8192")));
        assert!(needs_rehash(&phc.replace("t=2", "t=1")));
        assert!(needs_rehash(&phc.replace("argon2id", "argon2i")));
        assert!(!needs_rehash(&phc.replace("m=19456", "m=65536")));
        assert!(needs_rehash("not a hash"));
    }

    #[test]
    fn password_does_not_print_itself() {
        let shown = format!("{:?}", password(PLAIN));
        assert!(!shown.contains("horse"), "{shown}");
    }

    #[tokio::test]
    async fn passwords_are_hashed_and_compared_in_turn() {
        let passwords = Passwords::new();
        let phc = passwords.hash(password(PLAIN)).await.unwrap();
        assert!(
            passwords
                .verify(PLAIN.into(), Some(phc.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify("something else".into(), Some(phc))
                .await
                .unwrap()
        );
        assert!(!passwords.verify(PLAIN.into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn two_run_sixteen_wait_and_the_next_is_turned_away() {
        let passwords = Passwords::new();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (started, mut starts) = unbounded_channel();
        let mut gates = Vec::new();
        let mut jobs = Vec::new();
        for _ in 0..RUNNING_MAX + WAITING_MAX {
            let (open, gate) = mpsc::channel::<()>();
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let (started, passwords) = (started.clone(), passwords.clone());
            let work = move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let told = started.send(());
                let opened = gate.recv();
                running.fetch_sub(1, Ordering::SeqCst);
                told.is_ok() && opened.is_ok()
            };
            gates.push(open);
            jobs.push(tokio::spawn(async move { passwords.run(work).await }));
        }
        for _ in 0..RUNNING_MAX {
            starts.recv().await.unwrap();
        }
        while passwords.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.verify(PLAIN.into(), None).await;
        assert!(
            matches!(refused, Err(PasswordError::TooBusy)),
            "{refused:?}"
        );
        assert!(starts.try_recv().is_err());

        for gate in gates {
            gate.send(()).unwrap();
        }
        for job in jobs {
            assert!(job.await.unwrap().unwrap());
        }
        assert_eq!(most.load(Ordering::SeqCst), RUNNING_MAX);
        assert!(!passwords.verify(PLAIN.into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn abandoned_check_keeps_its_place_until_it_is_done() {
        let passwords = Passwords::new();
        let (open, gate) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let waiting = passwords.clone();
        let job = tokio::spawn(async move {
            let work = move || (started.send(()), gate.recv());
            waiting.run(work).await
        });
        has_started.await.unwrap();
        job.abort();
        assert!(job.await.unwrap_err().is_cancelled());
        let free = RUNNING_MAX + WAITING_MAX - 1;
        assert_eq!(passwords.admitted.available_permits(), free);

        open.send(()).unwrap();
        let all = u32::try_from(RUNNING_MAX + WAITING_MAX).unwrap();
        drop(passwords.admitted.acquire_many(all).await.unwrap());
    }

    #[tokio::test]
    async fn a_check_that_panics_does_not_take_its_thread_along() {
        let passwords = Passwords::new();
        for _ in 0..2 * RUNNING_MAX {
            let broken = passwords.run(|| panic!("on purpose")).await;
            let broken: Result<(), PasswordError> = broken;
            assert!(matches!(broken, Err(PasswordError::Interrupted)));
        }
        assert!(!passwords.verify(PLAIN.into(), None).await.unwrap());
    }
}
