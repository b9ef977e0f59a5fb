//! The stream of events of one client: which kinds it wants, and what it gets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::tetragon::{EventType, Filter, GetEventsRequest, GetEventsResponse};
use tokio_stream::Stream;
use tonic::Status;

use crate::hub::{Subscription, Wants};

/// Events from the hub as a gRPC stream. It ends when the hub is closed.
pub(super) struct EventStream {
    subscription: Subscription,
}

impl EventStream {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self { subscription }
    }
}

impl Stream for EventStream {
    type Item = Result<GetEventsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.subscription.poll_next(context).map(|event| event.map(|e| Ok(Arc::unwrap_or_clone(e))))
    }
}

/// Which events a request asks for: those that an entry of the allow list takes (all, if it is
/// empty) and no entry of the deny list does. News of losses comes with any allow list, for a
/// client has to know what it misses; only a deny list that names its kind keeps it away.
pub(super) fn wants(request: &GetEventsRequest) -> Result<Wants, Status> {
    let GetEventsRequest { allow_list, deny_list, aggregation_options, field_filters } = request;
    if aggregation_options.is_some() {
        return Err(unsupported("aggregation_options"));
    }
    if !field_filters.is_empty() {
        return Err(unsupported("field_filters"));
    }
    let kinds = |list: &[Filter], name| {
        list.iter().map(|filter| kinds(filter, name)).collect::<Result<Vec<_>, Status>>()
    };
    let (allow, deny) = (kinds(allow_list, "allow_list")?, kinds(deny_list, "deny_list")?);
    Ok(Box::new(move |kind| {
        if kind == EventType::EventsLost {
            return !deny.iter().any(|entry| entry.contains(&kind));
        }
        let takes = |entry: &Vec<EventType>| entry.is_empty() || entry.contains(&kind);
        (allow.is_empty() || allow.iter().any(takes)) && !deny.iter().any(takes)
    }))
}

fn unsupported(field: &str) -> Status {
    Status::unimplemented(format!("{field} in GetEvents is not supported by this version"))
}

/// The kinds that a filter takes; none stands for all.
fn kinds(filter: &Filter, list: &str) -> Result<Vec<EventType>, Status> {
    // Named one by one, so that a new field cannot be forgotten here.
    let Filter {
        binary_regex,
        namespace,
        health_check,
        pid,
        pid_set,
        event_set,
        pod_regex,
        arguments_regex,
        labels,
        policy_names,
        capabilities,
        parent_binary_regex,
        cel_expression,
        parent_arguments_regex,
        container_id,
        in_init_tree,
        ancestor_binary_regex,
        container_name_regex,
        namespace_regex,
    } = filter;
    let used = [
        (!binary_regex.is_empty(), "binary_regex"),
        (!namespace.is_empty(), "namespace"),
        (health_check.is_some(), "health_check"),
        (!pid.is_empty(), "pid"),
        (!pid_set.is_empty(), "pid_set"),
        (!pod_regex.is_empty(), "pod_regex"),
        (!arguments_regex.is_empty(), "arguments_regex"),
        (!labels.is_empty(), "labels"),
        (!policy_names.is_empty(), "policy_names"),
        (capabilities.is_some(), "capabilities"),
        (!parent_binary_regex.is_empty(), "parent_binary_regex"),
        (!cel_expression.is_empty(), "cel_expression"),
        (!parent_arguments_regex.is_empty(), "parent_arguments_regex"),
        (!container_id.is_empty(), "container_id"),
        (in_init_tree.is_some(), "in_init_tree"),
        (!ancestor_binary_regex.is_empty(), "ancestor_binary_regex"),
        (!container_name_regex.is_empty(), "container_name_regex"),
        (!namespace_regex.is_empty(), "namespace_regex"),
    ];
    let used: Vec<&str> = used.iter().filter(|(used, _)| *used).map(|(_, name)| *name).collect();
    if !used.is_empty() {
        return Err(unsupported(&format!("{list}: {}", used.join(", "))));
    }
    let known = |number: &i32| {
        EventType::try_from(*number).map_err(|_| {
            Status::invalid_argument(format!("{list}: event_set: unknown event type {number}"))
        })
    };
    event_set.iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn of(kinds: &[EventType]) -> Filter {
        Filter { event_set: kinds.iter().map(|kind| *kind as i32).collect(), ..Filter::default() }
    }

    fn request(allow: Vec<Filter>, deny: Vec<Filter>) -> GetEventsRequest {
        GetEventsRequest { allow_list: allow, deny_list: deny, ..GetEventsRequest::default() }
    }

    #[test]
    fn allow_and_deny_by_kind() {
        use EventType::{EventsLost, ProcessExec, ProcessExit, ProcessKprobe};
        let table = [
            (request(vec![], vec![]), vec![ProcessExec, ProcessExit, ProcessKprobe, EventsLost]),
            (
                request(vec![of(&[])], vec![]),
                vec![ProcessExec, ProcessExit, ProcessKprobe, EventsLost],
            ),
            (request(vec![of(&[ProcessExec])], vec![]), vec![ProcessExec, EventsLost]),
            (
                request(vec![of(&[ProcessExec]), of(&[ProcessExit])], vec![of(&[ProcessExit])]),
                vec![ProcessExec, EventsLost],
            ),
            (
                request(vec![], vec![of(&[EventsLost, ProcessExec])]),
                vec![ProcessExit, ProcessKprobe],
            ),
            (request(vec![], vec![of(&[])]), vec![EventsLost]),
        ];
        for (request, wanted) in table {
            let wants = wants(&request).unwrap();
            let all = [ProcessExec, ProcessExit, ProcessKprobe, EventsLost];
            let got: Vec<_> = all.into_iter().filter(|kind| wants(*kind)).collect();
            assert_eq!(got, wanted, "{request:?}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let filter = Filter { pid: vec![1], namespace: vec!["a".into()], ..Filter::default() };
        let error = wants(&request(vec![], vec![filter])).err().unwrap();
        assert_eq!(error.code(), Code::Unimplemented);
        let wanted = "deny_list: namespace, pid in GetEvents is not supported by this version";
        assert_eq!(error.message(), wanted);
        let unknown = Filter { event_set: vec![77], ..Filter::default() };
        let error = wants(&request(vec![unknown], vec![])).err().unwrap();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
}
