//! GetUrl and DnsLookup: what policies want to be asked of the network when they match.
//!
//! Requests leave the machine, so they are sent only with `--enable-policy-requests`. They never hold up
//! events: what the queue does not take, or a policy wants too often, is dropped and counted for the
//! policy, as are all of them without the flag. Nothing is done with answers but to count them.
//!
//! - `http`: what GetUrl sends
//! - `dns`: what DnsLookup sends
//! - `allowance`: how often a policy may ask

mod allowance;
mod dns;
mod http;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use compiler::observed::Observation;
use policy::checked::{Action, Placed};
use policy::{CheckedPolicy, Policy, Problem};
use tokio::sync::{Semaphore, mpsc};

use crate::config::RequestConfig;
use allowance::Allowance;

/// Requests that wait to be sent, at most.
const QUEUE: usize = 64;
/// Requests under way, at most.
const AT_A_TIME: usize = 8;
/// How long one may take, from the first look for its host to the answer.
const TIME: Duration = Duration::from_secs(5);

/// Sends requests, in a thread of its own.
#[derive(Debug, Default)]
pub struct Requests {
    queue: Option<mpsc::Sender<Wanted>>,
    policies: Mutex<Vec<(Weak<CheckedPolicy>, Arc<Asking>)>>,
}

/// What became of a policy's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answered, whatever the answer.
    pub answered: u64,
    /// Sent, or tried to be, and not answered.
    pub failed: u64,
    /// Not sent: there were too many, or the agent may not.
    pub suppressed: u64,
}

/// What is known of a policy that wants requests.
#[derive(Debug, Default)]
struct Asking {
    answered: AtomicU64,
    failed: AtomicU64,
    suppressed: AtomicU64,
    allowance: Mutex<Allowance>,
}

/// A request.
#[derive(Debug)]
struct Wanted {
    what: What,
    by: Arc<Asking>,
}

#[derive(Debug)]
enum What {
    Url(String),
    Name(String),
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    /// As the policy has it.
    #[error("`{0}` is no URL that can be fetched")]
    Url(String),
    /// As the policy has it.
    #[error("`{0}` is no name of a host")]
    Name(String),
    /// Of the machine, or on the way.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// What answered does not speak HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// It took longer than it may.
    #[error("no answer within {} s", TIME.as_secs())]
    Late,
}

/// What to tell of a policy where requests are not sent: where it first wants one.
pub fn not_sent(policy: &Policy) -> Option<Problem> {
    let selectors = policy.hooks.iter().flat_map(|hook| &hook.selectors);
    let mut actions = selectors.flat_map(|one| one.actions.iter().chain(&one.return_actions));
    let Placed { place, .. } = actions.find(|action| what(&action.value).is_some())?;
    let message = "GetUrl and DnsLookup leave the machine: unless the agent runs with \
                   --enable-policy-requests they are only counted (requests_suppressed)";
    Some(Problem { mark: place.mark, path: place.path.clone(), message: message.to_owned() })
}

fn what(action: &Action) -> Option<What> {
    match action {
        Action::GetUrl(url) => Some(What::Url(url.clone())),
        Action::DnsLookup(name) => Some(What::Name(name.clone())),
        _ => None,
    }
}

impl Requests {
    /// Starts the thread, if requests may be sent.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(config: &RequestConfig) -> std::io::Result<Self> {
        if !config.enabled {
            return Ok(Self::default());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (queue, wanted) = mpsc::channel(QUEUE);
        let config = config.clone();
        std::thread::Builder::new().name("requests".to_owned()).spawn(move || {
            runtime.block_on(send(wanted, config));
            // Looking for a host may take longer than anybody waits.
            runtime.shutdown_background();
        })?;
        Ok(Self { queue: Some(queue), ..Self::default() })
    }

    /// Whether requests are sent.
    pub fn are_sent(&self) -> bool {
        self.queue.is_some()
    }

    /// Sends what the selector that matched wants.
    pub fn carry_out(&self, observation: &Observation) {
        let selectors = &observation.hook.selectors;
        let Some(selector) = observation.selector.and_then(|index| selectors.get(index)) else {
            return;
        };
        for action in selector.actions.iter().chain(&selector.return_actions) {
            if let Some(what) = what(&action.value) {
                self.enqueue(&observation.policy, what);
            }
        }
    }

    fn enqueue(&self, policy: &Arc<CheckedPolicy>, what: What) {
        let by = self.asking(policy);
        let allowed = {
            let mut allowance = by.allowance.lock().unwrap_or_else(PoisonError::into_inner);
            self.queue.as_ref().filter(|_| allowance.take(Instant::now()))
        };
        let sent = allowed.map(|queue| queue.try_send(Wanted { what, by: by.clone() }));
        if !matches!(sent, Some(Ok(()))) {
            by.suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is known of a policy; policies that are no more are forgotten.
    fn asking(&self, policy: &Arc<CheckedPolicy>) -> Arc<Asking> {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, asking)) = policies.iter().find(|(one, _)| is(one, policy)) {
            return asking.clone();
        }
        policies.retain(|(policy, _)| policy.strong_count() > 0);
        let asking = Arc::<Asking>::default();
        policies.push((Arc::downgrade(policy), asking.clone()));
        asking
    }

    /// What became of a policy's requests since it was loaded.
    pub fn counters(&self, policy: &Arc<CheckedPolicy>) -> Counters {
        let policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        let asking = policies.iter().find(|(one, _)| is(one, policy));
        asking.map_or(Counters::default(), |(_, asking)| Counters {
            answered: asking.answered.load(Ordering::Relaxed),
            failed: asking.failed.load(Ordering::Relaxed),
            suppressed: asking.suppressed.load(Ordering::Relaxed),
        })
    }
}

fn is(one: &Weak<CheckedPolicy>, policy: &Arc<CheckedPolicy>) -> bool {
    std::ptr::eq(one.as_ptr(), Arc::as_ptr(policy))
}

/// Sends requests, a few at a time, until there will be no more.
async fn send(mut wanted: mpsc::Receiver<Wanted>, config: RequestConfig) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    while let Some(Wanted { what, by }) = wanted.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let server = config.dns_server;
        tokio::spawn(async move {
            let one = async {
                match &what {
                    What::Url(url) => http::get(url).await,
                    What::Name(name) => dns::lookup(name, server).await,
                }
            };
            let answer = tokio::time::timeout(TIME, one).await;
            match answer.unwrap_or(Err(RequestError::Late)) {
                Ok(()) => by.answered.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    tracing::debug!(?what, %error, "a policy's request was not answered");
                    by.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
            drop(place);
        });
    }
}
