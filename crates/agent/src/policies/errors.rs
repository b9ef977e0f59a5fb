//! Why a policy cannot be added or changed.

use policy::{PolicyKey, Problems};

use super::loader::LoadError;
use super::records::RecordError;
use super::{REGO, STATIC};

/// A policy cannot be added.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddError {
    /// It is wrong, or asks for what this kernel or this agent does not have.
    #[error("{0}")]
    Refused(Problems),
    /// The domain is not for users.
    #[error("the domain `{0}` is the agent's own: choose another one")]
    Domain(String),
    /// There is one of the same key.
    #[error("{}; delete it first", exists(.key, .file))]
    Exists {
        /// Its key.
        key: PolicyKey,
        /// Where the one that is there came from.
        file: String,
    },
    /// The one that it is to replace is just being changed.
    #[error("policy `{}` is just being changed: try again", shown(.0))]
    Busy(PolicyKey),
    /// Loading failed.
    #[error(transparent)]
    Load(LoadError),
    /// It is to be stored and cannot be.
    #[error("{0}; the policy was not added")]
    Record(RecordError),
}

impl From<LoadError> for AddError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Refused(problems) => Self::Refused(problems),
            other => Self::Load(other),
        }
    }
}

fn exists(key: &PolicyKey, file: &str) -> String {
    // Only the names of files say where a text came from.
    let named = key.domain == STATIC || key.domain == REGO;
    let from = if named { format!(", from {file}") } else { String::new() };
    format!("there is a policy `{}` in domain {} already{from}", shown(key), key.domain)
}

/// Name, with the namespace if there is one.
pub(super) fn shown(key: &PolicyKey) -> String {
    match key.namespace.as_str() {
        "" => key.name.clone(),
        namespace => format!("{namespace}/{}", key.name),
    }
}

/// A policy cannot be changed or deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is none of this key.
    #[error("there is no policy `{}` in domain {}{hint}", shown(.key), .key.domain)]
    Missing {
        /// The key.
        key: PolicyKey,
        /// Where there is one of that name.
        hint: String,
    },
    /// It is just being loaded, changed or deleted.
    #[error("policy `{}` is just being changed: try again", shown(.0))]
    Busy(PolicyKey),
    /// Its state does not allow that.
    #[error("policy `{}` {reason}", shown(.key))]
    State {
        /// The key.
        key: PolicyKey,
        /// What keeps it from being changed, and what would help.
        reason: &'static str,
    },
    /// The kernel, or what the policy says, does not allow it.
    #[error(transparent)]
    Load(LoadError),
    /// It was done, but what is stored of the policy cannot be changed.
    #[error("done, but the next start of the agent will not know: {0}")]
    Record(RecordError),
}
