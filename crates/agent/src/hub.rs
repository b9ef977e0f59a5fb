//! Where events go from the one thread that makes them to everybody who listens.
//!
//! Publishing never waits. Every listener has its own bounded queue; a full one loses this
//! listener's events only, which are counted, logged, and told to the listener as an `events_lost`
//! event as soon as it reads again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::Thread;
use std::time::{Duration, Instant};

use api::tetragon::{EventType, GetEventsResponse};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use crate::envelope::Envelope;
use crate::metrics::EventCounters;

/// Time between two log lines about one listener that loses events.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A listener that stays behind is told of its losses at most this often, so that the telling
/// does not take the room of what it could still read.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Most bytes, as protobuf has them, that wait for one listener, however few events that is: one
/// event may carry hundreds of kilobytes of arguments.
const MAX_BYTES: usize = 16 << 20;

/// What `EventsLost.ring` says of a listener's queue.
const QUEUE: &str = "listener";

/// What `EventsLost.cause` says when it was full.
const CAUSE: &str = "listener queue full";

/// Passes events on.
pub struct Hub {
    capacity: usize,
    envelope: Envelope,
    outlets: RwLock<Outlets>,
    published: AtomicU64,
    lost: AtomicU64,
    counters: Option<Arc<EventCounters>>,
}

#[derive(Default)]
struct Outlets {
    list: Vec<Outlet>,
    closed: bool,
}

/// The hub's end of a listener's queue.
struct Outlet {
    wants: Wants,
    sender: mpsc::Sender<Queued>,
    listener: Arc<Listener>,
}

/// An event in a queue, with its size in bytes as protobuf.
struct Queued {
    event: Arc<GetEventsResponse>,
    bytes: usize,
}

/// Which kinds of events a listener may want: a first look, on the publishing thread. What takes longer
/// is for the listener to find out.
pub type Wants = Box<dyn Fn(EventType) -> bool + Send + Sync>;

/// What both ends of a queue know.
struct Listener {
    name: String,
    /// Bytes in the queue.
    bytes: AtomicUsize,
    /// Lost and not told yet.
    untold: AtomicU64,
    log: Mutex<LossLog>,
}

#[derive(Default)]
struct LossLog {
    last: Option<Instant>,
    count: u64,
}

impl Hub {
    /// A hub whose listeners have queues of `capacity` events (at least 1).
    pub fn new(capacity: usize, envelope: Envelope) -> Arc<Self> {
        Self::counting(capacity, envelope, None)
    }

    /// The same; what is published is counted by kind.
    pub fn counting(
        capacity: usize,
        envelope: Envelope,
        counters: Option<Arc<EventCounters>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            envelope,
            outlets: RwLock::default(),
            published: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            counters,
        })
    }

    /// Gives `event` to every listener that wants its kind. Never waits; after [`Hub::close`] it
    /// does nothing.
    pub fn publish(&self, event: Arc<GetEventsResponse>) {
        self.published.fetch_add(1, Ordering::Relaxed);
        if let Some(counters) = &self.counters {
            counters.count(&event);
        }
        let outlets = self.outlets.read().unwrap_or_else(PoisonError::into_inner);
        if outlets.list.is_empty() {
            return;
        }
        let (kind, bytes) = (event.event_type(), event.encoded_len());
        for outlet in outlets.list.iter().filter(|outlet| (outlet.wants)(kind)) {
            match outlet.try_send(Queued { event: Arc::clone(&event), bytes }) {
                // A closed queue belongs to a listener that is just leaving.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(_)) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    outlet.listener.lose();
                }
            }
        }
    }

    /// Adds a listener. `name` is how the log calls it.
    pub fn subscribe(self: &Arc<Self>, name: String, wants: Wants) -> Subscription {
        let (sender, receiver) = mpsc::channel(self.capacity);
        let listener =
            Arc::new(Listener { name, bytes: 0.into(), untold: 0.into(), log: Mutex::default() });
        let mut outlets = self.outlets.write().unwrap_or_else(PoisonError::into_inner);
        if !outlets.closed {
            outlets.list.push(Outlet { wants, sender, listener: Arc::clone(&listener) });
        }
        drop(outlets);
        Subscription { hub: Arc::clone(self), listener, receiver, told: None }
    }

    /// Ends all subscriptions, once they have been read to their ends.
    pub fn close(&self) {
        let mut outlets = self.outlets.write().unwrap_or_else(PoisonError::into_inner);
        outlets.closed = true;
        outlets.list.clear();
    }

    /// Events published so far.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Events that listeners lost so far (`tetragon_notify_overflowed_events_total`).
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Where published events are counted by kind, if they are.
    pub fn counters(&self) -> Option<&Arc<EventCounters>> {
        self.counters.as_ref()
    }

    /// Listeners there are.
    pub fn listeners(&self) -> usize {
        self.outlets.read().unwrap_or_else(PoisonError::into_inner).list.len()
    }

    /// What the agent's own events are wrapped in.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    fn unsubscribe(&self, listener: &Arc<Listener>) {
        let mut outlets = self.outlets.write().unwrap_or_else(PoisonError::into_inner);
        outlets.list.retain(|outlet| !Arc::ptr_eq(&outlet.listener, listener));
    }
}

impl Outlet {
    fn try_send(&self, queued: Queued) -> Result<(), TrySendError<Queued>> {
        // Only the reader makes it smaller meanwhile, so the bound holds. It says nothing about other
        // memory: relaxed is enough.
        let waiting = self.listener.bytes.load(Ordering::Relaxed);
        if waiting > 0 && waiting + queued.bytes > MAX_BYTES {
            return Err(TrySendError::Full(queued));
        }
        let bytes = queued.bytes;
        self.listener.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.sender.try_send(queued).inspect_err(|_| {
            self.listener.bytes.fetch_sub(bytes, Ordering::Relaxed);
        })
    }
}

impl Listener {
    /// Counts one lost event, and logs the first and then what gathered in an interval.
    fn lose(&self) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.count += 1;
        if log.last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            tracing::warn!(
                listener = self.name,
                lost = log.count,
                "A listener reads too slowly and loses events; --event-queue-size sets how many wait"
            );
            *log = LossLog { last: Some(Instant::now()), count: 0 };
        }
    }

    /// Logs what was not logged yet.
    fn log_rest(&self) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.count > 0 {
            let (listener, lost) = (&self.name, log.count);
            tracing::warn!(listener, lost, "A listener that ended had lost more events");
        }
    }
}

/// A listener's end of its queue. Dropping it ends the listening.
pub struct Subscription {
    hub: Arc<Hub>,
    listener: Arc<Listener>,
    receiver: mpsc::Receiver<Queued>,
    told: Option<Instant>,
}

impl Subscription {
    /// The next event; `None` after the hub was closed and all was read.
    pub async fn next(&mut self) -> Option<Arc<GetEventsResponse>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The next event, as [`std::task::Poll`]s go.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<GetEventsResponse>>> {
        if let Some(loss) = self.loss() {
            return Poll::Ready(Some(loss));
        }
        let queued = ready!(self.receiver.poll_recv(context));
        // What was lost just before the end has to be told too.
        Poll::Ready(queued.map(|queued| self.taken(queued)).or_else(|| self.loss()))
    }

    /// The next event if there is one now. `Err` as [`Subscription::next`]'s `None`.
    pub fn try_next(&mut self) -> Result<Option<Arc<GetEventsResponse>>, Ended> {
        if let Some(loss) = self.loss() {
            return Ok(Some(loss));
        }
        match self.receiver.try_recv() {
            Ok(queued) => Ok(Some(self.taken(queued))),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => self.loss().map(Some).ok_or(Ended),
        }
    }

    /// As [`Subscription::try_next`], but waits for an event `at_most` so long. For threads of
    /// their own.
    pub fn wait(&mut self, at_most: Duration) -> Result<Option<Arc<GetEventsResponse>>, Ended> {
        let end = Instant::now() + at_most;
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.poll_next(&mut context) {
                Poll::Ready(Some(event)) => return Ok(Some(event)),
                Poll::Ready(None) => return Err(Ended),
                Poll::Pending => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::park_timeout(left);
        }
    }

    fn taken(&self, queued: Queued) -> Arc<GetEventsResponse> {
        self.listener.bytes.fetch_sub(queued.bytes, Ordering::Relaxed);
        queued.event
    }

    /// The event that tells of losses, when it is time to.
    fn loss(&mut self) -> Option<Arc<GetEventsResponse>> {
        if self.listener.untold.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let due = self.told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL);
        if !due && !self.receiver.is_empty() {
            return None;
        }
        self.told = Some(Instant::now());
        let count = self.listener.untold.swap(0, Ordering::Relaxed);
        Some(Arc::new(self.hub.envelope.events_lost(QUEUE, CAUSE, count)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.listener);
        self.listener.log_rest();
    }
}

/// Wakes a thread that waits in [`Subscription::wait`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The hub was closed and everything was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

#[cfg(test)]
mod tests {
    use super::*;
    use api::tetragon::get_events_response::Event;
    use api::tetragon::{EventsLost, ProcessExec, ProcessExit};

    fn exec() -> Arc<GetEventsResponse> {
        Arc::new(Envelope::default().wrap(Event::ProcessExec(ProcessExec::default())))
    }

    fn exit() -> Arc<GetEventsResponse> {
        Arc::new(Envelope::default().wrap(Event::ProcessExit(ProcessExit::default())))
    }

    fn drain(subscription: &mut Subscription) -> (usize, Vec<EventsLost>) {
        let (mut events, mut losses) = (0, Vec::new());
        while let Ok(Some(event)) = subscription.try_next() {
            match &event.event {
                Some(Event::EventsLost(lost)) => losses.push(lost.clone()),
                _ => events += 1,
            }
        }
        (events, losses)
    }

    #[test]
    fn a_slow_listener_loses_its_own_events_only_and_is_told() {
        let envelope = Envelope { node_name: "n".into(), cluster_name: "c".into() };
        let hub = Hub::new(4, envelope);
        let mut slow = hub.subscribe("slow".into(), Box::new(|_| true));
        let mut quick = hub.subscribe("quick".into(), Box::new(|_| true));
        for _ in 0..10 {
            hub.publish(exec());
            assert_eq!(drain(&mut quick), (1, Vec::new()));
        }
        assert_eq!((hub.published(), hub.lost()), (10, 6));
        let first = slow.try_next().unwrap().unwrap();
        assert_eq!((first.node_name.as_str(), first.cluster_name.as_str()), ("n", "c"));
        assert!(first.time.is_some());
        let Some(Event::EventsLost(lost)) = &first.event else { panic!("{first:?}") };
        assert_eq!((lost.count, lost.cause.as_str()), (6, "listener queue full"));
        assert_eq!(drain(&mut slow), (4, Vec::new()));
        hub.publish(exec());
        assert_eq!(drain(&mut slow), (1, Vec::new()));
    }

    #[test]
    fn few_large_events_fill_a_queue_too() {
        let hub = Hub::new(1000, Envelope::default());
        let mut reader = hub.subscribe("reader".into(), Box::new(|_| true));
        let large = || {
            let arguments = "x".repeat(MAX_BYTES / 4);
            let process = Some(api::tetragon::Process { arguments, ..Default::default() });
            let exec = ProcessExec { process, ..Default::default() };
            Arc::new(Envelope::default().wrap(Event::ProcessExec(exec)))
        };
        (0..10).for_each(|_| hub.publish(large()));
        let (read, lost) = drain(&mut reader);
        assert_eq!((read, lost[0].count), (3, 7));
        hub.publish(large());
        assert_eq!(drain(&mut reader), (1, Vec::new()));
    }

    #[test]
    fn every_event_is_either_read_or_told_as_lost() {
        let hub = Hub::new(8, Envelope::default());
        let mut reader = hub.subscribe("reader".into(), Box::new(|_| true));
        let publisher = {
            let hub = Arc::clone(&hub);
            std::thread::spawn(move || {
                (0..50_000).for_each(|_| hub.publish(exec()));
                hub.close();
            })
        };
        let (mut read, mut lost) = (0, 0);
        loop {
            match reader.try_next() {
                Ok(Some(event)) => match &event.event {
                    Some(Event::EventsLost(loss)) => lost += loss.count,
                    _ => read += 1,
                },
                Ok(None) => std::thread::yield_now(),
                Err(Ended) => break,
            }
        }
        publisher.join().unwrap();
        assert_eq!(read + lost, 50_000);
        assert_eq!(lost, hub.lost());
    }

    #[test]
    fn kinds_that_nobody_wants_take_no_room() {
        let hub = Hub::new(1, Envelope::default());
        let wants = |kind| kind == EventType::ProcessExit;
        let mut listener = hub.subscribe("exits".into(), Box::new(wants));
        (0..5).for_each(|_| hub.publish(exec()));
        hub.publish(exit());
        assert_eq!(hub.lost(), 0);
        assert_eq!(listener.try_next().unwrap().unwrap().event_type(), EventType::ProcessExit);
    }

    #[test]
    fn closing_ends_listeners_after_what_waits() {
        let hub = Hub::new(4, Envelope::default());
        let mut listener = hub.subscribe("a".into(), Box::new(|_| true));
        hub.publish(exec());
        hub.close();
        hub.publish(exec());
        assert!(matches!(listener.try_next(), Ok(Some(_))));
        assert_eq!(listener.try_next(), Err(Ended));
        let mut late = hub.subscribe("late".into(), Box::new(|_| true));
        assert_eq!(late.try_next(), Err(Ended));
    }

    #[test]
    fn leaving_unsubscribes() {
        let hub = Hub::new(4, Envelope::default());
        let listener = hub.subscribe("a".into(), Box::new(|_| true));
        assert_eq!(hub.listeners(), 1);
        drop(listener);
        assert_eq!(hub.listeners(), 0);
    }
}
