//! Calls about tracing policies, by gRPC and HTTP.

use api::tetragon as pb;
use pb::TracingPolicyMode;
use policy::PolicyKey;
use policy::checked::Mode;
use tonic::Status;

use crate::policies::{AddError, ChangeError, GRPC, LoadError, Origin, Store, Text};

/// What the text of a request is called in messages.
pub(super) const TEXT: &str = "policy";

pub(super) fn add(
    store: &Store,
    request: pb::AddTracingPolicyRequest,
) -> Result<pb::AddTracingPolicyResponse, Status> {
    let domain = named(&request.domain, GRPC);
    let text = Text::new(Origin::Grpc, TEXT, request.yaml);
    let added = match request.replace {
        true => store.put(domain, &text),
        false => store.add(domain, &text),
    };
    added.map(|_| pb::AddTracingPolicyResponse {}).map_err(|error| of_add(&error))
}

pub(super) fn delete(
    store: &Store,
    request: pb::DeleteTracingPolicyRequest,
) -> Result<pb::DeleteTracingPolicyResponse, Status> {
    let key = key(request.name, request.namespace, &request.domain, GRPC);
    let deleted = store.delete(&key);
    deleted.map(|()| pb::DeleteTracingPolicyResponse {}).map_err(|error| of_change(&error))
}

pub(super) fn configure(
    store: &Store,
    request: pb::ConfigureTracingPolicyRequest,
) -> Result<pb::ConfigureTracingPolicyResponse, Status> {
    let key = key(request.name, request.namespace, &request.domain, GRPC);
    let mode = request.mode.map(|mode| match TracingPolicyMode::try_from(mode) {
        Ok(TracingPolicyMode::TpModeEnforce) => Ok(Mode::Enforce),
        Ok(TracingPolicyMode::TpModeMonitor) => Ok(Mode::Monitor),
        _ => Err(Status::invalid_argument("the mode has to be enforce or monitor")),
    });
    change(store, &key, mode.transpose()?, request.enable).map_err(|error| match error {
        Some(error) => of_change(&error),
        None => Status::invalid_argument("nothing is asked for: give a mode, or enable"),
    })?;
    Ok(pb::ConfigureTracingPolicyResponse {})
}

/// Sets the mode first, so that a policy is enabled in the mode that is asked for. `None` as error:
/// nothing is asked for.
pub(super) fn change(
    store: &Store,
    key: &PolicyKey,
    mode: Option<Mode>,
    enable: Option<bool>,
) -> Result<(), Option<ChangeError>> {
    if mode.is_none() && enable.is_none() {
        return Err(None);
    }
    if let Some(mode) = mode {
        store.set_mode(key, mode)?;
    }
    match enable {
        Some(true) => store.enable(key)?,
        Some(false) => store.disable(key)?,
        None => {}
    }
    Ok(())
}

/// The key of a request; `default` stands for a domain that is not given.
pub(super) fn key(name: String, namespace: String, domain: &str, default: &str) -> PolicyKey {
    PolicyKey { domain: named(domain, default).to_owned(), namespace, name }
}

pub(super) fn named<'a>(asked: &'a str, default: &'a str) -> &'a str {
    if asked.is_empty() { default } else { asked }
}

pub(super) fn of_add(error: &AddError) -> Status {
    let text = error.to_string();
    match error {
        AddError::Refused(_) | AddError::Domain(_) => Status::invalid_argument(text),
        AddError::Exists { .. } => Status::already_exists(text),
        AddError::Busy(_) => Status::aborted(text),
        AddError::Load(error) => of_load(error),
        AddError::Record(_) => Status::internal(text),
    }
}

pub(super) fn of_change(error: &ChangeError) -> Status {
    let text = error.to_string();
    match error {
        ChangeError::Missing { .. } => Status::not_found(text),
        ChangeError::Busy(_) => Status::aborted(text),
        ChangeError::State { .. } => Status::failed_precondition(text),
        ChangeError::Load(error) => of_load(error),
        ChangeError::Record(_) => Status::internal(text),
    }
}

fn of_load(error: &LoadError) -> Status {
    let text = error.to_string();
    match error {
        LoadError::Refused(_) => Status::invalid_argument(text),
        LoadError::Failed(_) => Status::failed_precondition(text),
        LoadError::Denied(_) => Status::permission_denied(text),
        LoadError::NotReady(_) => Status::unavailable(text),
    }
}
