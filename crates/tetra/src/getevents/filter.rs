//! Which events, and which of their fields, to ask the agent for. All flags together make one
//! filter: an event has to pass every one of them.

use api::google::FieldMask;
use api::tetragon::{EventType, FieldFilter, FieldFilterAction, Filter, GetEventsRequest};
use clap::Args;

/// Flags that select events and fields. Those with lists take several values, separated by commas.
#[derive(Debug, Default, Args)]
pub(crate) struct Selection {
    /// Only events of these types, such as PROCESS_EXEC
    #[arg(short, long, value_name = "TYPES", value_delimiter = ',', value_parser = event_type)]
    event_types: Vec<EventType>,
    /// Only these fields of events, such as process.binary,parent.pid
    #[arg(short = 'f', long, value_name = "FIELDS", value_delimiter = ',')]
    include_fields: Vec<String>,
    /// Not these fields of events
    #[arg(short = 'F', long, value_name = "FIELDS", value_delimiter = ',')]
    exclude_fields: Vec<String>,
    /// Only events of processes in these Kubernetes namespaces
    #[arg(short, long, alias = "namespaces", value_name = "NAMES", value_delimiter = ',')]
    namespace: Vec<String>,
    /// The same by regular expressions
    #[arg(long, value_name = "REGEXES", value_delimiter = ',')]
    namespace_regex: Vec<String>,
    /// Only events of processes whose binary matches
    #[arg(long, alias = "processes", value_name = "REGEXES", value_delimiter = ',')]
    process: Vec<String>,
    /// Only events of processes whose pod's name matches
    #[arg(long, alias = "pods", value_name = "REGEXES", value_delimiter = ',')]
    pod: Vec<String>,
    /// Only events of processes whose container's name matches
    #[arg(long, hide = true, value_name = "REGEXES", value_delimiter = ',')]
    containers: Vec<String>,
    /// Only events of processes outside pods (with --namespace: these as well)
    #[arg(long)]
    host: bool,
    /// Only events that these policies made
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    policy_names: Vec<String>,
    /// Only events for which this expression is true
    #[arg(long, value_name = "EXPRESSION")]
    cel_expression: Vec<String>,
}

/// An event type by its name.
fn event_type(name: &str) -> Result<EventType, String> {
    if let Some(kind) = EventType::ALL.into_iter().find(|kind| kind.as_str_name() == name) {
        return Ok(kind);
    }
    let likeness =
        |kind: &EventType| strsim::jaro_winkler(&name.to_uppercase(), kind.as_str_name());
    let best = EventType::ALL
        .into_iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|kind| likeness(kind) > 0.7);
    Err(match best {
        Some(kind) => format!("no such event type; did you mean {}?", kind.as_str_name()),
        None => {
            let names: Vec<_> = EventType::ALL.iter().map(EventType::as_str_name).collect();
            format!("no such event type; there are {}", names.join(", "))
        }
    })
}

impl Selection {
    /// The request for the agent.
    pub(crate) fn request(self) -> GetEventsRequest {
        let mut namespace = self.namespace;
        if self.host {
            namespace.push(String::new());
        }
        let filter = Filter {
            binary_regex: self.process,
            namespace,
            event_set: self.event_types.into_iter().map(i32::from).collect(),
            pod_regex: self.pod,
            policy_names: self.policy_names,
            cel_expression: self.cel_expression,
            container_name_regex: self.containers,
            namespace_regex: self.namespace_regex,
            ..Filter::default()
        };
        let fields = |paths: Vec<String>, action| {
            (!paths.is_empty()).then(|| FieldFilter {
                fields: Some(FieldMask { paths }),
                action: i32::from(action),
                ..FieldFilter::default()
            })
        };
        let include = fields(self.include_fields, FieldFilterAction::Include);
        let exclude = fields(self.exclude_fields, FieldFilterAction::Exclude);
        GetEventsRequest {
            allow_list: if filter == Filter::default() { vec![] } else { vec![filter] },
            field_filters: include.into_iter().chain(exclude).collect(),
            ..GetEventsRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(event_type("PROCESS_EXEC"), Ok(EventType::ProcessExec));
        assert!(event_type("process_exek").unwrap_err().contains("did you mean PROCESS_EXEC?"));
        assert!(event_type("zzz").unwrap_err().contains("PROCESS_KPROBE"));
    }

    #[test]
    fn flags_make_one_filter() {
        assert_eq!(Selection::default().request(), GetEventsRequest::default());
        let flags = Selection {
            event_types: vec![EventType::ProcessExit],
            process: vec!["curl".into(), "wget".into()],
            namespace: vec!["default".into()],
            host: true,
            include_fields: vec!["process.binary".into(), "parent".into()],
            exclude_fields: vec!["parent.pod".into()],
            ..Selection::default()
        };
        let request = flags.request();
        assert_eq!(request.allow_list.len(), 1);
        assert_eq!(request.allow_list[0].event_set, [5]);
        assert_eq!(request.allow_list[0].binary_regex, ["curl", "wget"]);
        assert_eq!(request.allow_list[0].namespace, ["default", ""]);
        let actions: Vec<_> = request.field_filters.iter().map(FieldFilter::action).collect();
        assert_eq!(actions, [FieldFilterAction::Include, FieldFilterAction::Exclude]);
        assert_eq!(request.field_filters[0].fields.as_ref().unwrap().paths.len(), 2);
    }
}
