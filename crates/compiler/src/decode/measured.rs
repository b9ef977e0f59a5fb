//! Events whose file is being measured: they wait for the record with its digest.
//!
//! It follows soon, but reading a file may take a while; it is lost where the ring is full, or where another
//! program denied the call. So none waits for ever.

use crate::observed::{FileDigest, Observation};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long an event waits for its digest.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events that wait, at most.
const HELD_MAX: usize = 4096;

/// Which run of a hook: the thread, and its number there.
pub(super) type Run = (u32, u32);

/// Events that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Measured {
    held: VecDeque<Held>,
    ready: VecDeque<Observation>,
}

#[derive(Debug)]
struct Held {
    run: Run,
    since: Instant,
    observation: Observation,
}

impl Measured {
    /// Has an event wait.
    pub(super) fn hold(&mut self, run: Run, observation: Observation) {
        self.held.push_back(Held { run, since: Instant::now(), observation });
        if self.held.len() > HELD_MAX {
            self.ready.extend(self.held.pop_front().map(|held| held.observation));
        }
    }

    /// Takes in a digest: by the number of its algorithm in `enum hash_algo`, or an errno.
    pub(super) fn arrived(&mut self, run: Run, algorithm: i32, bytes: &[u8]) {
        let digest = digest(algorithm, bytes);
        let (theirs, others) =
            std::mem::take(&mut self.held).into_iter().partition(|held: &Held| held.run == run);
        self.held = others;
        let theirs: VecDeque<Held> = theirs;
        self.ready.extend(
            theirs
                .into_iter()
                .map(|held| Observation { measured: digest.clone(), ..held.observation }),
        );
    }

    /// The next one that waits no longer.
    pub(super) fn next(&mut self, now: Instant) -> Option<Observation> {
        let late = |held: &mut Held| now.saturating_duration_since(held.since) >= PATIENCE;
        self.ready.pop_front().or_else(|| self.held.pop_front_if(late).map(|held| held.observation))
    }

    /// Whether none is there.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.ready.is_empty()
    }
}

/// Names and lengths of digests by `enum hash_algo` (uapi/linux/hash_info.h), as hash_algo_name and
/// hash_digest_size have them.
const ALGORITHMS: [(&str, usize); 23] = [
    ("md4", 16),
    ("md5", 16),
    ("sha1", 20),
    ("rmd160", 20),
    ("sha256", 32),
    ("sha384", 48),
    ("sha512", 64),
    ("sha224", 28),
    ("rmd128", 16),
    ("rmd256", 32),
    ("rmd320", 40),
    ("wp256", 32),
    ("wp384", 48),
    ("wp512", 64),
    ("tgr128", 16),
    ("tgr160", 20),
    ("tgr192", 24),
    ("sm3", 32),
    ("streebog256", 32),
    ("streebog512", 64),
    ("sha3-256", 32),
    ("sha3-384", 48),
    ("sha3-512", 64),
];

fn digest(algorithm: i32, bytes: &[u8]) -> Option<FileDigest> {
    let (name, length) = ALGORITHMS.get(usize::try_from(algorithm).ok()?)?;
    Some(FileDigest { algorithm: name, digest: bytes.get(..*length)?.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_the_length_of_their_algorithm() {
        let bytes: Vec<u8> = (0..64).collect();
        let found =
            |algorithm| digest(algorithm, &bytes).map(|one| (one.algorithm, one.digest.len()));
        assert_eq!(found(4), Some(("sha256", 32)));
        assert_eq!(found(2), Some(("sha1", 20)));
        assert_eq!(found(1), Some(("md5", 16)));
        assert_eq!(found(17), Some(("sm3", 32)));
        assert_eq!(found(-95), None, "an errno");
        assert_eq!(found(1000), None);
        assert_eq!(digest(6, &bytes[..63]), None, "cut");
        assert_eq!(digest(4, &bytes).unwrap().digest, bytes[..32]);
    }
}
