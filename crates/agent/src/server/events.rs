//! The stream of events of one client: which it wants, and what of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use api::tetragon::{GetEventsRequest, GetEventsResponse};
use filters::{FieldFilters, Selection};
use tokio_stream::Stream;
use tonic::Status;

use super::connection::Peer;
use crate::hub::{Hub, Subscription, Wants};

/// Event streams at once: each may hold a full queue of events.
const STREAMS: usize = 128;

/// Events that are passed over in one go; others get their turn then.
const AT_ONCE: usize = 256;

/// Events from the hub as a stream. It ends when the hub is closed.
///
/// Filters are evaluated here, by a thread that serves clients: an expensive one costs the client that
/// sent it, not the thread that makes events.
pub(super) struct EventStream {
    subscription: Subscription,
    selection: Arc<Selection>,
    fields: FieldFilters,
}

impl EventStream {
    /// Has a client listen to what it asks for.
    pub(super) fn open(
        hub: &Arc<Hub>,
        peer: Option<&Peer>,
        request: &GetEventsRequest,
    ) -> Result<Self, Status> {
        let wanted = Wanted::new(request)?;
        if hub.listeners() >= STREAMS {
            let full = format!("{STREAMS} clients listen to events already");
            return Err(Status::resource_exhausted(full));
        }
        let client = peer.map_or("client", |peer| &peer.name);
        tracing::debug!(client, "A client listens to events");
        Ok(Self::new(hub.subscribe(client.to_owned(), wanted.kinds()), wanted))
    }

    fn new(subscription: Subscription, wanted: Wanted) -> Self {
        Self { subscription, selection: wanted.selection, fields: wanted.fields }
    }
}

impl Stream for EventStream {
    type Item = Result<GetEventsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        for _ in 0..AT_ONCE {
            let Some(event) = ready!(self.subscription.poll_next(context)) else {
                return Poll::Ready(None);
            };
            if self.selection.takes(&event) {
                let event = if self.fields.is_empty() {
                    Arc::unwrap_or_clone(event)
                } else {
                    self.fields.apply(&event).into_owned()
                };
                return Poll::Ready(Some(Ok(event)));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What a request asks for.
#[derive(Debug)]
struct Wanted {
    selection: Arc<Selection>,
    fields: FieldFilters,
}

impl Wanted {
    /// Compiles a request's filters.
    fn new(request: &GetEventsRequest) -> Result<Self, Status> {
        let GetEventsRequest { allow_list, deny_list, aggregation_options, field_filters } =
            request;
        if aggregation_options.is_some() {
            let field = "aggregation_options in GetEvents";
            return Err(Status::unimplemented(format!("{field} is not supported by this version")));
        }
        let wrong = |error: filters::FilterError| Status::invalid_argument(error.to_string());
        Ok(Self {
            selection: Arc::new(Selection::new(allow_list, deny_list).map_err(wrong)?),
            fields: FieldFilters::new(field_filters).map_err(wrong)?,
        })
    }

    /// Kinds of events that may be wanted.
    fn kinds(&self) -> Wants {
        let selection = Arc::clone(&self.selection);
        Box::new(move |kind| selection.may_take(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use api::google::FieldMask;
    use api::tetragon::get_events_response::Event;
    use api::tetragon::{FieldFilter, Filter, Process, ProcessExec};
    use tokio_stream::StreamExt as _;
    use tonic::Code;

    fn exec(pid: u32) -> Arc<GetEventsResponse> {
        let process = Process { pid: Some(pid), binary: "/bin/a".into(), ..Process::default() };
        let exec = ProcessExec { process: Some(process), ..ProcessExec::default() };
        Arc::new(Envelope::default().wrap(Event::ProcessExec(exec)))
    }

    #[tokio::test]
    async fn what_passes_comes_with_the_fields_wanted() {
        let fields = FieldFilter {
            fields: Some(FieldMask { paths: vec!["process.pid".into()] }),
            ..FieldFilter::default()
        };
        let request = GetEventsRequest {
            allow_list: vec![Filter { pid: vec![700, 1999], ..Filter::default() }],
            field_filters: vec![fields],
            ..GetEventsRequest::default()
        };
        let wanted = Wanted::new(&request).unwrap();
        let hub = Hub::new(10_000, Envelope::default());
        let subscription = hub.subscribe("client".into(), wanted.kinds());
        (0..2000).for_each(|pid| hub.publish(exec(pid)));
        hub.close();
        let mut stream = EventStream::new(subscription, wanted);
        for pid in [700, 1999] {
            let event = stream.next().await.unwrap().unwrap();
            let process = event.process().unwrap();
            assert_eq!((process.pid, process.binary.as_str()), (Some(pid), ""));
        }
        assert!(stream.next().await.is_none());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let wrong = Filter { binary_regex: vec!["(".into()], ..Filter::default() };
        let request = GetEventsRequest { deny_list: vec![wrong], ..GetEventsRequest::default() };
        let error = Wanted::new(&request).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let start = "deny_list: filter 1: binary_regex: regular expression \"(\": ";
        assert!(error.message().starts_with(start), "{error}");
    }
}
