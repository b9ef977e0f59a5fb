//! Events as the agent exports them: JSON objects, looked at by path.

use std::fmt;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One event. Its debug form is its JSON.
#[derive(Clone)]
pub(crate) struct Event {
    kind: String,
    body: Value,
    whole: Value,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.whole)
    }
}

/// What is not there.
const NOTHING: Value = Value::Null;

impl Event {
    /// Reads one line of the export.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let whole: Value = serde_json::from_str(line).with_context(|| format!("event {line}"))?;
        let Some(members) = whole.as_object() else { bail!("an event that is no object: {line}") };
        // The body is the only member that is an object, beside the node's labels.
        let mut bodies =
            members.iter().filter(|(name, value)| value.is_object() && *name != "node_labels");
        let (Some((kind, body)), None) = (bodies.next(), bodies.next()) else {
            bail!("an event without one body: {line}");
        };
        Ok(Self { kind: kind.clone(), body: body.clone(), whole: whole.clone() })
    }

    /// `process_exec` and so on.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether it tells of an exec.
    pub(crate) fn is_exec(&self) -> bool {
        self.kind == "process_exec"
    }

    /// Whether it tells of an exit.
    pub(crate) fn is_exit(&self) -> bool {
        self.kind == "process_exit"
    }

    /// A member of the body, by dotted path with elements of lists by number; null when it is not there.
    pub(crate) fn at(&self, path: &str) -> &Value {
        path.split('.').fold(&self.body, |value, name| {
            let element = || value.get(name.parse::<usize>().ok()?);
            value.get(name).or_else(element).unwrap_or(&NOTHING)
        })
    }

    /// A string; empty when it is not there, as strings without content are left out.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    /// A number; 64-bit ones are written as strings.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        let value = self.at(path);
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }

    /// A member of the envelope, such as `time`.
    pub(crate) fn envelope(&self, name: &str) -> &Value {
        self.whole.get(name).unwrap_or(&NOTHING)
    }

    /// `process.binary`
    pub(crate) fn binary(&self) -> &str {
        self.text("process.binary")
    }

    /// `process.exec_id`
    pub(crate) fn exec_id(&self) -> &str {
        self.text("process.exec_id")
    }

    /// `process.pid`, or 0.
    pub(crate) fn pid(&self) -> u64 {
        self.number("process.pid").unwrap_or(0)
    }

    /// `process.flags`, word by word.
    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.text("process.flags").split(' ').any(|word| word == flag)
    }
}

/// Events, with questions that tests ask of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(pub(crate) Vec<Event>);

impl Events {
    /// Execs of the binary with this path.
    pub(crate) fn execs_of(&self, binary: &str) -> Vec<&Event> {
        self.0.iter().filter(|event| event.is_exec() && event.binary() == binary).collect()
    }

    /// Exits of the binary with this path.
    pub(crate) fn exits_of(&self, binary: &str) -> Vec<&Event> {
        self.0.iter().filter(|event| event.is_exit() && event.binary() == binary).collect()
    }

    /// The exec of a binary that is executed once.
    pub(crate) fn exec_of(&self, binary: &str) -> Result<&Event> {
        only("exec", binary, &self.execs_of(binary))
    }

    /// The exit of a binary that is executed once.
    pub(crate) fn exit_of(&self, binary: &str) -> Result<&Event> {
        only("exit", binary, &self.exits_of(binary))
    }

    /// Events of a policy, of whatever kind.
    pub(crate) fn of_policy(&self, policy: &str) -> Vec<&Event> {
        self.0.iter().filter(|event| event.text("policy_name") == policy).collect()
    }

    /// Events of a kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Event> {
        self.0.iter().filter(|event| event.kind() == kind).collect()
    }
}

fn only<'a>(what: &str, binary: &str, events: &[&'a Event]) -> Result<&'a Event> {
    match events {
        [event] => Ok(event),
        [] => bail!("no {what} of {binary}"),
        _ => bail!("{} {what} events of {binary}: {events:#?}", events.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"process_exec":{"process":{"pid":7,"flags":"execve clone"},
        "n":"18446744073709551615"},"node_name":"x","node_labels":{"a":"b"}}"#;

    #[test]
    fn members_are_found_by_path() {
        let event = Event::parse(LINE).unwrap();
        assert!(event.is_exec());
        assert_eq!(event.pid(), 7);
        assert_eq!(event.number("n"), Some(u64::MAX));
        assert_eq!(event.text("process.binary"), "");
        assert!(event.has_flag("clone") && !event.has_flag("clon"));
        assert_eq!(event.envelope("node_name"), "x");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for line in ["[]", "{}", "not json", r#"{"a":{},"b":{}}"#] {
            assert!(Event::parse(line).is_err(), "{line}");
        }
    }
}
