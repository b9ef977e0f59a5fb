//! Rules in Rego: which policies are admitted, and policies that are made from data.
//!
//! `--policy-rego-dir` names a directory of modules (`*.rego`) and data (`*.json`, `*.yaml`, `*.yml`).
//! `data.tetragon.admission.deny` is asked before any policy is loaded, wherever it comes from: what it
//! contains are the reasons not to. `data.tetragon.policies.policy` contains policies, which belong to the
//! domain `rego`. The modules can read nothing but their input and data, and evaluation ends after
//! [`TIME`]. Where rules cannot be evaluated nothing is admitted.

mod bundle;
mod input;
mod made;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use policy::CheckedPolicy;
use serde_json::Value;

use super::text::Origin;
use bundle::{Bundle, Sources};
pub use made::Made;

/// Longest time for one question to the rules.
const TIME: Duration = Duration::from_secs(2);

/// The rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegoError {
    /// A file or directory cannot be read.
    #[error("cannot read {} (--policy-rego-dir): {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// A module or a data file is wrong.
    #[error("{}: {error}", path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// Together they cannot be evaluated.
    #[error("the rules of --policy-rego-dir cannot be evaluated: {0}")]
    Evaluation(String),
}

/// The rules in use.
pub struct Rules {
    dir: PathBuf,
    /// What is said of this node.
    node: Value,
    current: RwLock<Current>,
}

struct Current {
    bundle: Arc<Bundle>,
    /// What was last read, whether it could be used or not.
    read: Result<Sources, RegoError>,
}

impl Rules {
    /// Reads the rules of a directory. `node` is what they see as `data.node`.
    ///
    /// # Errors
    /// The directory cannot be read, or something in it is wrong: nothing would be admitted by rules that
    /// cannot be evaluated, and everything by none.
    pub fn open(dir: &Path, node: Value) -> Result<Self, RegoError> {
        let sources = Sources::read(dir)?;
        let bundle = Arc::new(Bundle::new(&sources, &node)?);
        let current = RwLock::new(Current { bundle, read: Ok(sources) });
        Ok(Self { dir: dir.to_owned(), node, current })
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).bundle)
    }

    /// Uses what the directory has now, if that is something else and can be used; if it cannot be, the
    /// former rules stay and that is logged. True: the rules are others.
    pub(super) fn follow(&self) -> bool {
        let read = Sources::read(&self.dir);
        let known = |current: &Current| current.read == read;
        if known(&self.current.read().unwrap_or_else(PoisonError::into_inner)) {
            return false;
        }
        let made = match &read {
            Ok(sources) => Bundle::new(sources, &self.node),
            Err(error) => Err(error.clone()),
        };
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.read = read;
        match made {
            Ok(bundle) => {
                current.bundle = Arc::new(bundle);
                tracing::info!(dir = %self.dir.display(), "the rules for policies were read again");
                true
            }
            Err(error) => {
                tracing::error!("the rules for policies stay as they were: {error}");
                false
            }
        }
    }

    /// Asks whether a policy may be loaded. The error says why not.
    pub fn judge(
        &self,
        policy: &CheckedPolicy,
        domain: &str,
        origin: Origin,
    ) -> Result<(), String> {
        let bundle = self.bundle();
        if !bundle.judges() {
            return Ok(());
        }
        let reasons = input::input(policy, domain, origin)
            .map_err(|error| error.to_string())
            .and_then(|input| bundle.denials(input).map_err(|error| error.to_string()))?;
        match reasons.is_empty() {
            true => Ok(()),
            false => Err(reasons.join("; ")),
        }
    }
}
