//! Which events somebody wants, by lists of filters.

use api::tetragon::{EventType, Filter, GetEventsResponse};

use crate::error::FilterError;
use crate::event::EventFilter;

/// Takes events that a filter of the allow list takes (all, if it is empty) and no filter of the deny
/// list does. News of losses (`events_lost`) comes with any allow list, for who listens has to know
/// what was missed; only a deny list with a filter that names its type keeps it away.
#[derive(Debug, Default)]
pub struct Selection {
    allow: Vec<EventFilter>,
    deny: Vec<EventFilter>,
}

impl Selection {
    /// Compiles both lists. An error says which filter of which list it is about.
    pub fn new(allow: &[Filter], deny: &[Filter]) -> Result<Self, FilterError> {
        Ok(Self { allow: compile("allow_list", allow)?, deny: compile("deny_list", deny)? })
    }

    /// Whether an event is wanted. It allocates only for expressions in CEL, and for the processes
    /// that `pid_set` follows.
    pub fn takes(&self, event: &GetEventsResponse) -> bool {
        if event.event_type() == EventType::EventsLost {
            return !self.deny.iter().any(|filter| filter.names(EventType::EventsLost));
        }
        // All filters of the list see every event: `pid_set` learns of processes from those that it
        // does not take, too.
        let any =
            |list: &[EventFilter]| list.iter().fold(false, |any, filter| filter.takes(event) | any);
        (self.allow.is_empty() || any(&self.allow)) & !any(&self.deny)
    }

    /// Whether it may take an event of a kind, or has to see it: a first look, before the event itself.
    pub fn may_take(&self, kind: EventType) -> bool {
        if kind == EventType::EventsLost {
            return !self.deny.iter().any(|filter| filter.names(kind));
        }
        let allowed =
            self.allow.is_empty() || self.allow.iter().any(|filter| filter.may_take(kind));
        (allowed && !self.deny.iter().any(|filter| filter.takes_all_of(kind)))
            || self.follows_processes()
    }

    /// Whether a filter follows processes by `pid_set`, which is not exact and takes memory.
    pub fn follows_processes(&self) -> bool {
        self.allow.iter().chain(&self.deny).any(EventFilter::follows_processes)
    }
}

fn compile(name: &'static str, list: &[Filter]) -> Result<Vec<EventFilter>, FilterError> {
    let compile = |(at, filter): (usize, &Filter)| {
        EventFilter::new(filter).map_err(|source| FilterError::InList {
            list: name,
            number: at + 1,
            source: Box::new(source),
        })
    };
    list.iter().enumerate().map(compile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventType::{EventsLost, ProcessExec, ProcessExit, ProcessKprobe};
    use api::tetragon::get_events_response::Event;

    fn of(kinds: &[EventType]) -> Filter {
        Filter { event_set: kinds.iter().map(|kind| *kind as i32).collect(), ..Filter::default() }
    }

    fn event(kind: EventType) -> GetEventsResponse {
        let event = match kind {
            ProcessExec => Event::ProcessExec(Default::default()),
            ProcessExit => Event::ProcessExit(Default::default()),
            ProcessKprobe => Event::ProcessKprobe(Default::default()),
            _ => Event::EventsLost(Default::default()),
        };
        GetEventsResponse { event: Some(event), ..GetEventsResponse::default() }
    }

    #[test]
    fn allow_and_deny_by_kind() {
        let all = [ProcessExec, ProcessExit, ProcessKprobe, EventsLost];
        let table = [
            (vec![], vec![], all.to_vec()),
            (vec![of(&[])], vec![], all.to_vec()),
            (vec![of(&[ProcessExec])], vec![], vec![ProcessExec, EventsLost]),
            (
                vec![of(&[ProcessExec]), of(&[ProcessExit])],
                vec![of(&[ProcessExit])],
                vec![ProcessExec, EventsLost],
            ),
            (vec![], vec![of(&[EventsLost, ProcessExec])], vec![ProcessExit, ProcessKprobe]),
            (vec![], vec![of(&[])], vec![EventsLost]),
        ];
        for (allow, deny, wanted) in table {
            let selection = Selection::new(&allow, &deny).unwrap();
            let got: Vec<_> =
                all.into_iter().filter(|kind| selection.takes(&event(*kind))).collect();
            assert_eq!(got, wanted, "{allow:?} {deny:?}");
            let got: Vec<_> = all.into_iter().filter(|kind| selection.may_take(*kind)).collect();
            assert_eq!(got, wanted, "{allow:?} {deny:?}");
        }
    }

    #[test]
    fn a_first_look_keeps_away_only_what_no_filter_takes() {
        let mut exec = of(&[ProcessExec]);
        exec.pid = vec![1];
        let may = |allow: &[Filter], deny: &[Filter], kind| {
            Selection::new(allow, deny).unwrap().may_take(kind)
        };
        let exec = std::slice::from_ref(&exec);
        assert!(may(exec, &[], ProcessExec) && !may(exec, &[], ProcessExit));
        assert!(may(&[], exec, ProcessExec), "not all of them are denied");
        let mut follows = of(&[ProcessExec]);
        follows.pid_set = vec![1];
        assert!(may(&[follows], &[], ProcessExit), "who follows processes has to see them end");
    }

    #[test]
    fn an_error_names_the_filter() {
        let wrong = Filter { binary_regex: vec!["(".into()], ..Filter::default() };
        let error = Selection::new(&[of(&[]), wrong], &[]).unwrap_err().to_string();
        assert!(
            error.starts_with("allow_list: filter 2: binary_regex: regular expression \"(\":"),
            "{error}"
        );
        let error = Selection::new(&[], &[Filter { event_set: vec![77], ..Filter::default() }]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "deny_list: filter 1: event_set: unknown number 77"
        );
    }
}
