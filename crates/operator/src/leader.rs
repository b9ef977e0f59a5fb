//! One of several replicas works: the one that holds a Lease.
//!
//! The holder renews it; who finds that it has not been renewed for as long as it lasts takes it. Times are
//! compared by this machine's own clock, from when a change of the lease was seen, so that clocks need not
//! agree.

use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

/// The lease's name.
pub const NAME: &str = "tetragon-operator-resource-lock";

/// How to lead.
#[derive(Debug, Clone)]
pub struct Election {
    /// Who wants to.
    pub identity: String,
    /// The lease's namespace.
    pub namespace: String,
    /// How long a lease lasts that is not renewed.
    pub lasts: Duration,
    /// How long the holder tries to renew it before it gives up.
    pub renew_within: Duration,
    /// Time between tries.
    pub every: Duration,
}

/// A replica's part in it.
pub struct Candidate {
    api: Api<Lease>,
    election: Election,
    /// What the lease said, and when that was first seen.
    seen: Option<(Option<LeaseSpec>, Instant)>,
}

impl Candidate {
    /// One that does not lead yet.
    #[must_use]
    pub fn new(client: Client, election: Election) -> Self {
        Self { api: Api::namespaced(client, &election.namespace), election, seen: None }
    }

    /// Waits until this replica leads.
    pub async fn lead(&mut self) {
        loop {
            match self.take().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the lease cannot be had; trying again"),
            }
            tokio::time::sleep(self.election.every).await;
        }
    }

    /// Renews the lease until that fails for too long, or somebody else holds it.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.election.every).await;
            match tokio::time::timeout(self.election.renew_within, self.take()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be renewed"),
                Err(_) => tracing::warn!("the lease cannot be renewed: no answer"),
            }
            if renewed.elapsed() > self.election.renew_within {
                return;
            }
        }
    }

    /// Takes or renews the lease, if it is free or our own. Whether it is ours now.
    async fn take(&mut self) -> Result<bool, kube::Error> {
        let Some(there) = self.api.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return conflict_is_no(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = there.spec.clone();
        let changed = self.seen.as_ref().is_none_or(|(seen, _)| *seen != spec);
        if changed {
            self.seen = Some((spec.clone(), Instant::now()));
        }
        let holder =
            spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        let own = holder == self.election.identity;
        let lasts = spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let lasts = lasts.and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = lasts.map_or(self.election.lasts, Duration::from_secs);
        let expired = self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() >= lasts);
        if !own && !holder.is_empty() && !expired {
            return Ok(false);
        }
        // The version that was read goes with it: whoever was faster wins.
        let lease = Lease { spec: Some(self.spec(spec.as_ref())), ..there };
        conflict_is_no(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(SystemTime::now().try_into().unwrap_or_default());
        let own =
            before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.election.identity));
        let transitions = before.map_or(0, |spec| spec.lease_transitions.unwrap_or(0));
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: i32::try_from(self.election.lasts.as_secs()).ok(),
            acquire_time: own.and_then(|spec| spec.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(before.is_some() && own.is_none())),
            ..LeaseSpec::default()
        }
    }
}

fn conflict_is_no(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
