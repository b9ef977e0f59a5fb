//! Errors as the API answers them: `{"error": {"code", "message", "problems"}}`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use policy::Problems;
use serde::Serialize;
use tonic::{Code, Status};

use super::json;
use crate::policies::{AddError, ChangeError, LoadError};
use crate::server::policies::{of_add, of_change};

/// An answer that says what went wrong.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: Error,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    error: &'a Error,
}

#[derive(Debug, Serialize)]
struct Error {
    /// As gRPC calls it, in small letters.
    code: &'static str,
    /// All of it as text.
    message: String,
    /// The same one by one, where it is a policy's text that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Problem {
    /// Counted from 1.
    line: usize,
    column: usize,
    /// Place in the document, `spec.kprobes[0].call`.
    path: String,
    message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::FORBIDDEN => "permission_denied",
            StatusCode::METHOD_NOT_ALLOWED => "unimplemented",
            StatusCode::INTERNAL_SERVER_ERROR => "internal",
            _ => "invalid_argument",
        };
        Self { status, error: Error { code, message: message.into(), problems: Vec::new() } }
    }

    /// Adds to the message.
    pub(super) fn hint(mut self, text: &str) -> Self {
        self.error.message.push_str(text);
        self
    }

    fn with(mut self, problems: Option<&Problems>) -> Self {
        let list = problems.into_iter().flat_map(|problems| &problems.list);
        let problem = |problem: &policy::Problem| Problem {
            line: problem.mark.line,
            column: problem.mark.column,
            path: problem.path.clone(),
            message: problem.message.clone(),
        };
        self.error.problems = list.map(problem).collect();
        self
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let (http, code) = match status.code() {
            Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
            Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Code::AlreadyExists => (StatusCode::CONFLICT, "already_exists"),
            Code::Aborted => (StatusCode::CONFLICT, "aborted"),
            Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
            Code::FailedPrecondition => (StatusCode::UNPROCESSABLE_ENTITY, "failed_precondition"),
            Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted"),
            Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "unimplemented"),
            Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let message = status.message().to_owned();
        Self { status: http, error: Error { code, message, problems: Vec::new() } }
    }
}

impl From<AddError> for Failure {
    fn from(error: AddError) -> Self {
        let problems = match &error {
            AddError::Refused(problems) | AddError::Load(LoadError::Refused(problems)) => {
                Some(problems)
            }
            _ => None,
        };
        Self::from(of_add(&error)).with(problems)
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        let problems = match &error {
            ChangeError::Load(LoadError::Refused(problems)) => Some(problems),
            _ => None,
        };
        Self::from(of_change(&error)).with(problems)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        json(self.status, &Answer { error: &self.error })
    }
}
