//! Calls about tracing policies.

use api::tetragon as pb;
use pb::TracingPolicyMode;
use policy::PolicyKey;
use policy::checked::Mode;
use tonic::Status;

use crate::policies::{AddError, DeleteError, GRPC, LoadError, Store};

/// What the text of a request is called in messages.
const TEXT: &str = "policy";

pub(super) fn add(
    store: &Store,
    request: &pb::AddTracingPolicyRequest,
) -> Result<pb::AddTracingPolicyResponse, Status> {
    let added = store.add(domain(&request.domain), TEXT, &request.yaml);
    added.map(|_| pb::AddTracingPolicyResponse {}).map_err(|error| {
        let text = error.to_string();
        match error {
            AddError::Refused(_) | AddError::Domain => Status::invalid_argument(text),
            AddError::Exists { .. } => Status::already_exists(text),
            AddError::Load(error) => status(&error),
            AddError::Record(_) => Status::internal(text),
        }
    })
}

pub(super) fn delete(
    store: &Store,
    request: pb::DeleteTracingPolicyRequest,
) -> Result<pb::DeleteTracingPolicyResponse, Status> {
    let domain = domain(&request.domain).to_owned();
    let key = PolicyKey { domain, namespace: request.namespace, name: request.name };
    let deleted = store.delete(&key);
    deleted.map(|()| pb::DeleteTracingPolicyResponse {}).map_err(|error| {
        let text = error.to_string();
        match error {
            DeleteError::Missing { .. } => Status::not_found(text),
            DeleteError::Busy(_) => Status::aborted(text),
            DeleteError::Load(error) => status(&error),
            DeleteError::Record(_) => Status::internal(text),
        }
    })
}

pub(super) fn configure(
    store: &Store,
    request: pb::ConfigureTracingPolicyRequest,
) -> Result<pb::ConfigureTracingPolicyResponse, Status> {
    if request.enable.is_some() {
        let missing = "ConfigureTracingPolicy: policies cannot be disabled by this version; \
                       delete and add them";
        return Err(Status::unimplemented(missing));
    }
    let mode = match request.mode.map(TracingPolicyMode::try_from) {
        Some(Ok(TracingPolicyMode::TpModeEnforce)) => Mode::Enforce,
        Some(Ok(TracingPolicyMode::TpModeMonitor)) => Mode::Monitor,
        Some(_) => return Err(Status::invalid_argument("the mode has to be enforce or monitor")),
        None => return Err(Status::invalid_argument("nothing is asked for: give a mode")),
    };
    let domain = domain(&request.domain).to_owned();
    let key = PolicyKey { domain, namespace: request.namespace, name: request.name };
    let set = store.set_mode(&key, mode);
    set.map(|()| pb::ConfigureTracingPolicyResponse {}).map_err(|error| {
        let text = error.to_string();
        match error {
            DeleteError::Missing { .. } => Status::not_found(text),
            DeleteError::Busy(_) => Status::aborted(text),
            DeleteError::Load(error) => status(&error),
            DeleteError::Record(_) => Status::internal(text),
        }
    })
}

fn domain(asked: &str) -> &str {
    if asked.is_empty() { GRPC } else { asked }
}

fn status(error: &LoadError) -> Status {
    let text = error.to_string();
    match error {
        LoadError::Refused(_) => Status::invalid_argument(text),
        LoadError::Failed(_) => Status::failed_precondition(text),
        LoadError::NotReady(_) => Status::unavailable(text),
    }
}
