//! Calls about tracing policies.

use api::tetragon as pb;
use policy::PolicyKey;
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
