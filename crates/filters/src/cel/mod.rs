//! Expressions in CEL about events, such as
//! `process_exec.process.binary.endsWith("/curl") && process_exec.process.uid == 0u`.
//!
//! An event is the variable of its kind; the variables of other kinds are there as well and empty, so
//! that an expression that asks for one kind is false for the others. Fields are those of the API.
//! Names are checked when an expression is compiled; what goes wrong later (a comparison of a text
//! with a number) makes it false and is logged once.

mod check;
mod library;
mod record;

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use api::tetragon::GetEventsResponse;
use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::{Context, Env, Value};
use prost::Message as _;

use crate::error::FilterError;
use crate::{schema, wire};
use record::Record;

/// What all expressions share: operators, functions, macros.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(library::environment()));

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: String,
    expression: IdedExpr,
    failed: AtomicBool,
}

impl Expression {
    /// Compiles an expression.
    pub fn new(text: &str) -> Result<Self, FilterError> {
        let error = |why: String| FilterError::Expression { expression: text.to_owned(), why };
        let parsed = ENVIRONMENT.parser().parse(text);
        let mut expression = parsed.map_err(|errors| error(errors.to_string()))?;
        check::check(&mut expression).map_err(error)?;
        Ok(Self { text: text.to_owned(), expression, failed: AtomicBool::new(false) })
    }

    /// Whether it is true of an event.
    pub fn holds(&self, event: &GetEventsResponse) -> bool {
        let bytes = event.encode_to_vec();
        let own = wire::fields(&bytes).find(|field| schema::is_kind(field.number));
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        for (kind, message) in schema::kinds() {
            let bytes = own.filter(|own| own.number == kind.number).map(|own| own.value.bytes());
            let record = Record::new(message, bytes.unwrap_or_default());
            context.add_variable_as_val(&kind.name, Box::new(record));
        }
        let why = match Value::resolve_val(&self.expression, &context) {
            Ok(value) => match value.downcast_ref::<CelBool>() {
                Some(value) => return *value.inner(),
                None => format!("it is of type {}, not bool", value.get_type().name()),
            },
            Err(error) => error.to_string(),
        };
        if !self.failed.swap(true, Ordering::Relaxed) {
            let expression = &self.text;
            tracing::warn!(
                expression,
                why,
                "An expression of a filter cannot be evaluated, so it is false"
            );
        }
        false
    }
}

#[cfg(test)]
mod tests;
