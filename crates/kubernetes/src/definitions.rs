//! Custom resource definitions: put in, and renewed when they are older than ours.
//!
//! A definition carries the version of its schema as a label. One of the same version or a newer one stays
//! as it is, so that operators of several versions do not undo each other's work.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::Value;

use crate::client::Error;

/// The label that tells the version of the schema.
pub const VERSION_LABEL: &str = "cilium.io.k8s.crd.schema.version";

/// How long to wait until a definition is served.
const WITHIN: Duration = Duration::from_secs(60);
/// How often to look.
const EVERY: Duration = Duration::from_millis(500);

/// What became of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was older.
    Renewed,
    /// It was as new as ours, or newer.
    Kept,
}

/// Why a definition is not in force.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The server refuses.
    #[error("{name}: {cause}")]
    Server {
        /// The definition.
        name: String,
        /// What it says.
        cause: Error,
    },
    /// It is there but not served.
    #[error("{name} is not served within {} seconds: {state}", WITHIN.as_secs())]
    NotServed {
        /// The definition.
        name: String,
        /// Its conditions.
        state: String,
    },
    /// It is none.
    #[error("a definition is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Puts a definition in or renews it, and waits until its objects can be made. `force`: whatever is there is
/// replaced.
///
/// # Errors
/// When the server refuses it or does not serve it.
pub async fn ensure(
    client: &Client,
    definition: &Value,
    force: bool,
) -> Result<Outcome, DefinitionError> {
    let wanted: CustomResourceDefinition = serde_json::from_value(definition.clone())?;
    let name = wanted.metadata.name.clone().unwrap_or_default();
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let failed = |cause: kube::Error| DefinitionError::Server {
        name: name.clone(),
        cause: Error::Request(cause),
    };
    let deadline = tokio::time::Instant::now() + WITHIN;
    let mut outcome = Outcome::Kept;
    loop {
        let there = api.get_opt(&name).await.map_err(failed)?;
        let state = match there {
            None => {
                match api.create(&PostParams::default(), &wanted).await {
                    Ok(_) => outcome = Outcome::Created,
                    // Somebody else was faster.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    Err(cause) => return Err(failed(cause)),
                }
                continue;
            }
            Some(there) if outcome == Outcome::Kept && (force || is_older(&there, &wanted)) => {
                let mut new = there.clone();
                new.spec = wanted.spec.clone();
                new.spec.preserve_unknown_fields = Some(false);
                let labels = new.metadata.labels.get_or_insert_default();
                labels.extend(wanted.metadata.labels.clone().unwrap_or_default());
                match api.replace(&name, &PostParams::default(), &new).await {
                    Ok(_) => outcome = Outcome::Renewed,
                    // It changed meanwhile: it may be renewed already.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    Err(cause) => return Err(failed(cause)),
                }
                String::new()
            }
            Some(there) => match is_served(&there) {
                Ok(()) => return Ok(outcome),
                Err(state) => state,
            },
        };
        if tokio::time::Instant::now() >= deadline {
            return Err(DefinitionError::NotServed { name, state });
        }
        if !state.is_empty() {
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Whether what is there has no schema, no version that can be read, or one before ours.
fn is_older(there: &CustomResourceDefinition, wanted: &CustomResourceDefinition) -> bool {
    let has_schema = there.spec.versions.iter().any(|version| version.schema.is_some());
    let version = |definition: &CustomResourceDefinition| {
        definition.metadata.labels.as_ref()?.get(VERSION_LABEL).and_then(|text| parse(text))
    };
    !has_schema || version(there).is_none_or(|there| Some(there) < version(wanted))
}

/// Major, minor and patch of a version such as `1.8.13`.
fn parse(text: &str) -> Option<[u64; 3]> {
    let core = text.trim_start_matches('v').split(['-', '+']).next()?;
    let mut numbers = core.split('.').map(|number| number.parse().ok());
    let version = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(version)
}

/// Whether its objects can be made, or its conditions.
fn is_served(there: &CustomResourceDefinition) -> Result<(), String> {
    let conditions = there.status.as_ref().and_then(|status| status.conditions.as_deref());
    let conditions = conditions.unwrap_or_default();
    if conditions.iter().any(|one| one.type_ == "Established" && one.status == "True") {
        return Ok(());
    }
    let said: Vec<String> = conditions
        .iter()
        .map(|one| {
            format!("{} is {} ({})", one.type_, one.status, one.message.as_deref().unwrap_or(""))
        })
        .collect();
    Err(if said.is_empty() { "it has no condition yet".to_owned() } else { said.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse("1.8.13"), Some([1, 8, 13]));
        assert_eq!(parse("v1.2.3-rc.1"), Some([1, 2, 3]));
        for bad in ["", "1.2", "1.2.3.4", "a.b.c"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse("1.8.9") < parse("1.8.13"));
    }
}
