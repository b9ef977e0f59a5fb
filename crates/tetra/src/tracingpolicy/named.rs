//! Policies that the agent has: deleted, enabled, disabled, given another mode.

use api::tetragon::{ConfigureTracingPolicyRequest, DeleteTracingPolicyRequest, TracingPolicyMode};
use tonic::{Code, Response, Status};

use super::{Chosen, Named};
use crate::error::Error;
use crate::server::{Client, Server};

/// Takes a policy out of force.
pub(super) async fn delete(server: &Server, named: &Named) -> Result<String, Error> {
    let request = DeleteTracingPolicyRequest {
        name: named.name.clone(),
        namespace: named.namespace.clone(),
        domain: named.domain.clone(),
    };
    ask(server, async |client| client.delete_tracing_policy(request.clone()).await).await?;
    Ok(format!("tracing policy \"{}\" deleted\n", named.name))
}

/// Changes the mode of a policy.
pub(super) async fn set_mode(
    server: &Server,
    named: &Named,
    mode: Chosen,
) -> Result<String, Error> {
    let (wanted, word) = match mode {
        Chosen::Enforce => (TracingPolicyMode::TpModeEnforce, "enforce"),
        Chosen::Monitor => (TracingPolicyMode::TpModeMonitor, "monitor"),
    };
    configure(server, named, |request| request.mode = Some(wanted.into())).await?;
    Ok(format!("tracing policy \"{}\" set to mode \"{word}\"\n", named.name))
}

/// Puts a policy that the agent has into force, or takes it out of force without forgetting it.
pub(super) async fn enable(server: &Server, named: &Named, on: bool) -> Result<String, Error> {
    configure(server, named, |request| request.enable = Some(on)).await?;
    let word = if on { "enabled" } else { "disabled" };
    Ok(format!("tracing policy \"{}\" {word}\n", named.name))
}

async fn configure(
    server: &Server,
    named: &Named,
    change: impl FnOnce(&mut ConfigureTracingPolicyRequest),
) -> Result<(), Error> {
    let mut request = ConfigureTracingPolicyRequest {
        name: named.name.clone(),
        namespace: named.namespace.clone(),
        domain: named.domain.clone(),
        mode: None,
        enable: None,
    };
    change(&mut request);
    ask(server, async |client| client.configure_tracing_policy(request.clone()).await).await
}

/// Calls the agent about a policy by its name.
async fn ask<T>(
    server: &Server,
    call: impl AsyncFn(&mut Client) -> Result<Response<T>, Status>,
) -> Result<(), Error> {
    match server.call(call).await {
        Ok(_) => Ok(()),
        Err(Error::Refused { code: Code::NotFound, message, .. }) => Err(Error::Policy(format!(
            "{message}\n`tetra tracingpolicy list` prints all; --domain and --namespace choose"
        ))),
        Err(error) => Err(error),
    }
}
