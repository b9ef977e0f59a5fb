//! What is printed of the verdicts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::tetragon::GetEventsResponse;
use policy::CheckedPolicy;
use serde_json::json;

use super::verdict::{Judge, Judged, Verdict};
use crate::compact::{Compact, Style};
use crate::error::Error;
use crate::getevents::Consumer;
use crate::output::Output;
use crate::table;
use crate::tracingpolicy::Form;

/// How an event looks as a line.
const LINE: Compact =
    Compact { style: Style::Plain, timestamps: true, stack_traces: false, ima_hash: false };

/// Verdicts of one hook.
#[derive(Debug, Default)]
struct Counted {
    matching: u64,
    other: u64,
    unknown: u64,
    /// What was lacking, and how often.
    lacking: BTreeMap<String, u64>,
}

/// Judges events, prints verdicts, and counts them.
pub(super) struct Report {
    policies: &'static [CheckedPolicy],
    judges: Vec<Judge<'static>>,
    /// By policy and hook.
    counted: BTreeMap<(usize, usize), Counted>,
    events: u64,
    /// Events that come from no hook of the policies.
    elsewhere: u64,
    form: Form,
    all: bool,
    summary: bool,
    output: Output,
}

impl Report {
    /// Of these policies; `recorders` made the recording. `all`: every verdict is printed, not only
    /// matches; `summary`: none is.
    pub(super) fn new(
        policies: &'static [CheckedPolicy],
        recorders: &'static [CheckedPolicy],
        form: Form,
        all: bool,
        summary: bool,
    ) -> Result<Self, Error> {
        let judges = policies.iter().map(|policy| Judge::new(policy, recorders)).collect();
        // What no event comes from counts as well.
        let hooks = policies.iter().enumerate().flat_map(|(number, policy)| {
            (0..policy.hooks.len()).map(move |hook| ((number, hook), Counted::default()))
        });
        let counted = hooks.collect();
        let output = Output::stdout()?;
        Ok(Self { policies, judges, counted, events: 0, elsewhere: 0, form, all, summary, output })
    }

    fn add(&mut self, event: &GetEventsResponse) -> Result<(), Error> {
        self.events += 1;
        let mut text = String::new();
        let mut anywhere = false;
        for number in 0..self.judges.len() {
            let judged = self.judges[number].judge(event);
            for Judged { hook, verdict } in judged {
                anywhere = true;
                let counted = self.counted.entry((number, hook)).or_default();
                match &verdict {
                    Verdict::Matches(_) => counted.matching += 1,
                    Verdict::No => counted.other += 1,
                    Verdict::Unknown(what) => {
                        counted.unknown += 1;
                        *counted.lacking.entry(what.clone()).or_default() += 1;
                    }
                }
                if !self.summary && (self.all || matches!(verdict, Verdict::Matches(_))) {
                    text.push_str(&self.line(number, hook, &verdict, event, text.is_empty())?);
                }
            }
        }
        self.elsewhere += u64::from(!anywhere);
        self.output.write(text.as_bytes())
    }

    /// A verdict as text; `first`: it is the first one on the event, which is printed before.
    fn line(
        &self,
        policy: usize,
        hook: usize,
        verdict: &Verdict,
        event: &GetEventsResponse,
        first: bool,
    ) -> Result<String, Error> {
        let policy = &self.policies[policy];
        let place = policy.hooks.get(hook).map_or("", |hook| hook.place.path.as_str());
        if self.form == Form::Json {
            let (name, selector, lacks) = match verdict {
                Verdict::Matches(selector) => ("matches", *selector, None),
                Verdict::No => ("no", None, None),
                Verdict::Unknown(what) => ("unknown", None, Some(what)),
            };
            let mut object = json!({
                "policy": policy.name, "hook": place, "verdict": name, "event": event,
            });
            if let serde_json::Value::Object(object) = &mut object {
                selector.map(|selector| object.insert("selector".to_owned(), json!(selector)));
                lacks.map(|lacks| object.insert("lacks".to_owned(), json!(lacks)));
            }
            return Ok(serde_json::to_string(&object)? + "\n");
        }
        let mut text = match LINE.encode(event) {
            Ok(line) if first => line,
            _ => String::new(),
        };
        let verdict = match verdict {
            Verdict::Matches(Some(selector)) => format!("matches, selectors[{selector}]"),
            Verdict::Matches(None) => "matches".to_owned(),
            Verdict::No => "does not match".to_owned(),
            Verdict::Unknown(what) => format!("cannot be told without {what}"),
        };
        text.push_str(&format!("    {}: {place}: {verdict}\n", policy.name));
        Ok(text)
    }

    /// How many there are of each.
    pub(super) fn summary(&self) -> Result<String, Error> {
        let hooks = self.counted.iter().filter_map(|((policy, hook), counted)| {
            let policy = &self.policies[*policy];
            Some((policy, policy.hooks.get(*hook)?, counted))
        });
        if self.form == Form::Json {
            if !self.summary {
                return Ok(String::new());
            }
            let lines: Result<Vec<String>, _> = hooks
                .map(|(policy, hook, counted)| {
                    serde_json::to_string(&json!({
                        "policy": policy.name, "hook": hook.place.path,
                        "matches": counted.matching, "no": counted.other,
                        "unknown": counted.unknown, "lacks": counted.lacking,
                    }))
                })
                .collect();
            return Ok(lines?.into_iter().map(|line| line + "\n").collect());
        }
        let head = ["POLICY", "HOOK", "MATCHES", "DOES NOT", "CANNOT BE TOLD"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let mut lacking = String::new();
        for (policy, hook, counted) in hooks {
            rows.push(vec![
                policy.name.clone(),
                hook.place.path.clone(),
                counted.matching.to_string(),
                counted.other.to_string(),
                counted.unknown.to_string(),
            ]);
            for (what, count) in &counted.lacking {
                let place = &hook.place.path;
                lacking
                    .push_str(&format!("{}: {place}: {count} events lack {what}\n", policy.name));
            }
        }
        let mut text: String = table::lines(&rows).into_iter().map(|line| line + "\n").collect();
        text.push_str(&lacking);
        if lacking.contains("args[") || lacking.contains("data[") {
            text.push_str("--recorded-by FILE names the policy that recorded values, so that they are known\n");
        }
        if self.elsewhere > 0 {
            let (elsewhere, events) = (self.elsewhere, self.events);
            text.push_str(&format!(
                "{elsewhere} of {events} events come from none of these hooks\n"
            ));
        }
        Ok(text)
    }
}

/// A report that events are put into.
pub(super) struct Shared(pub(super) Arc<Mutex<Report>>);

impl Consumer for Shared {
    fn put(&mut self, event: &GetEventsResponse) -> Result<(), Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(event)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).output.flush()
    }
}
