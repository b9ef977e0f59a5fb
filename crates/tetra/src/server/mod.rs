//! The agent as commands see it: where it is, how to reach it, and what its errors mean.

mod address;
mod connect;
mod tls;

use std::io;
use std::path::Path;
use std::time::Duration;

use api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::cli::Global;
use crate::error::Error;
use crate::output::complain;

pub(crate) use address::Address;
pub(crate) use tls::Tls;

/// A client of the agent's service.
pub(crate) type Client = FineGuidanceSensorsClient<Channel>;

/// How to reach the agent.
pub(crate) struct Server {
    address: Address,
    tls: Option<Tls>,
    timeout: Duration,
    retries: u32,
    max_event: usize,
    debug: bool,
}

/// Why one attempt failed.
enum Failure {
    Connect(io::Error),
    Call(Status),
}

impl Failure {
    /// Another attempt may fare better.
    fn passes(&self) -> bool {
        match self {
            Self::Connect(cause) => cause.kind() != io::ErrorKind::PermissionDenied,
            Self::Call(status) => status.code() == Code::Unavailable,
        }
    }
}

impl Server {
    /// As the flags say.
    pub(crate) fn new(global: &Global) -> Result<Self, Error> {
        let address = Address::find(&global.server_address, Path::new(address::INFO_FILE))?;
        let tls = Tls::new(&global.tls, &address)?;
        Ok(Self {
            address,
            tls,
            timeout: global.timeout,
            retries: u32::try_from(global.retries).unwrap_or(0),
            max_event: global.max_recv_size,
            debug: global.debug,
        })
    }

    /// Connects and calls, again if the agent cannot be reached: after 1 s, 2 s, 4 s ...
    pub(crate) async fn call<T>(
        &self,
        call: impl AsyncFn(&mut Client) -> Result<Response<T>, Status>,
    ) -> Result<T, Error> {
        let client = |channel| Client::new(channel).max_decoding_message_size(self.max_event);
        self.call_with(client, call).await
    }

    /// The same for another of the agent's services, whose client `make` makes.
    pub(crate) async fn call_with<C, T>(
        &self,
        make: impl Fn(Channel) -> C,
        call: impl AsyncFn(&mut C) -> Result<Response<T>, Status>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, self.attempts(make, call)).await {
            Ok(result) => result,
            Err(_) => {
                Err(Error::Timeout { address: self.address.to_string(), after: self.timeout })
            }
        }
    }

    async fn attempts<C, T>(
        &self,
        make: impl Fn(Channel) -> C,
        call: impl AsyncFn(&mut C) -> Result<Response<T>, Status>,
    ) -> Result<T, Error> {
        let mut wait = Duration::from_secs(1);
        let mut left = self.retries;
        loop {
            let failure = match self.attempt(&make, &call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let passes = failure.passes();
            let error = self.error(failure);
            if left == 0 || !passes {
                return Err(error);
            }
            self.note(&format!("{error}; trying again in {wait:?}"));
            tokio::time::sleep(wait).await;
            wait *= 2;
            left -= 1;
        }
    }

    async fn attempt<C, T>(
        &self,
        make: &impl Fn(Channel) -> C,
        call: &impl AsyncFn(&mut C) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        self.note(&format!("connecting to {}", self.address));
        let channel =
            connect::connect(&self.address, self.tls.as_ref()).await.map_err(Failure::Connect)?;
        let mut client = make(channel);
        call(&mut client).await.map(Response::into_inner).map_err(Failure::Call)
    }

    fn error(&self, failure: Failure) -> Error {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let address = self.address.to_string();
        match failure {
            Failure::Connect(cause) => match (cause.kind(), &self.address) {
                (ConnectionRefused, _) => {
                    Error::NotListening { address, cause: "connection refused".to_owned() }
                }
                (NotFound, Address::Unix(_)) => {
                    Error::NotListening { address, cause: "no such socket".to_owned() }
                }
                (PermissionDenied, Address::Unix(_)) => Error::Denied { address },
                _ => Error::Connect { address, cause: root_cause(&cause) },
            },
            Failure::Call(status) => self.refused(&status),
        }
    }

    /// The agent answered with an error, or broke off while it did.
    pub(crate) fn refused(&self, status: &Status) -> Error {
        let address = self.address.to_string();
        match status.code() {
            Code::Unavailable => Error::Connect { address, cause: status.message().to_owned() },
            Code::OutOfRange => Error::TooLong { message: status.message().to_owned() },
            code => Error::Refused { address, code, message: status.message().to_owned() },
        }
    }

    /// The stream of events broke off: for what reason, or without one.
    pub(crate) fn went_away(&self, status: Option<&Status>) -> Error {
        let address = self.address.to_string();
        match status {
            None => Error::WentAway { address, cause: "it ended the stream".to_owned() },
            Some(status) => match status.code() {
                // What a broken connection becomes.
                Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
                    Error::WentAway { address, cause: root_cause(status) }
                }
                _ => self.refused(status),
            },
        }
    }

    /// The answer is not what it has to be.
    pub(crate) fn lacks(&self, call: &'static str, what: &'static str) -> Error {
        Error::Answer { address: self.address.to_string(), call, what }
    }

    fn note(&self, what: &str) {
        if self.debug {
            complain(&format!("tetra: {what}"));
        }
    }
}

/// The innermost of nested errors says most: the outer ones only that something failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    match inner.to_string() {
        text if text.is_empty() => error.to_string(),
        text => text,
    }
}
