//! Watches: changes as they happen, an object per line.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::answer;
use crate::path::Target;
use crate::selector::Selector;
use crate::store::{Change, Store};

/// Time between bookmarks; real ones come every minute.
const BOOKMARKS_EVERY: Duration = Duration::from_millis(500);

/// What a watch has to know of the server.
#[derive(Clone)]
pub(crate) struct Bell {
    /// The store's version.
    pub(crate) version: watch::Receiver<u64>,
    /// How often watches were disconnected.
    pub(crate) disconnected: watch::Receiver<u64>,
}

/// A watch that is asked for.
pub(crate) struct Asked {
    pub(crate) target: Target,
    pub(crate) selector: Selector,
    /// Changes after this one; nothing: what there is first, as if it were new.
    pub(crate) since: Option<u64>,
    pub(crate) bookmarks: bool,
    pub(crate) kind: String,
}

/// Answers with what happens from now on.
pub(crate) fn start(store: Arc<Mutex<Store>>, bell: Bell, asked: Asked) -> Response<Body> {
    let (sender, receiver) = mpsc::channel::<Value>(1024);
    tokio::spawn(follow(store, bell, asked, sender));
    let lines = ReceiverStream::new(receiver)
        .map(|value| Ok::<Bytes, std::convert::Infallible>(Bytes::from(value.to_string() + "\n")));
    answer::stream(Body::from_stream(lines))
}

async fn follow(
    store: Arc<Mutex<Store>>,
    mut bell: Bell,
    asked: Asked,
    sender: mpsc::Sender<Value>,
) {
    bell.version.mark_unchanged();
    bell.disconnected.mark_unchanged();
    let (mut at, first) = {
        let store = store.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.since {
            Some(version) => (version, Vec::new()),
            None => {
                let objects = store.list(&asked.target).unwrap_or_default();
                let chosen = objects.into_iter().filter(|object| asked.selector.selects(object));
                let added = chosen.map(|object| json!({"type": "ADDED", "object": object}));
                (store.version(), added.collect())
            }
        }
    };
    for event in first {
        if sender.send(event).await.is_err() {
            return;
        }
    }
    let mut bookmarks = tokio::time::interval(BOOKMARKS_EVERY);
    loop {
        let events = {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let events: Vec<Value> = match store.since(at) {
                Ok(changes) => changes.iter().filter_map(|change| asked.event(change)).collect(),
                Err(refusal) => {
                    let gone = json!({"type": "ERROR", "object": answer::status(&refusal)});
                    let _ = sender.try_send(gone);
                    return;
                }
            };
            at = store.version();
            events
        };
        for event in events {
            if sender.send(event).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = bell.version.changed() => if changed.is_err() { return },
            _ = bell.disconnected.changed() => return,
            () = sender.closed() => return,
            _ = bookmarks.tick(), if asked.bookmarks => {
                let object = json!({
                    "kind": asked.kind, "apiVersion": asked.target.resource.api_version(),
                    "metadata": {"resourceVersion": at.to_string()},
                });
                if sender.send(json!({"type": "BOOKMARK", "object": object})).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Asked {
    /// What the watch says of a change. An object that is no longer selected is gone for it.
    fn event(&self, change: &Change) -> Option<Value> {
        let namespace = &change.object["metadata"]["namespace"];
        let here = change.resource == self.target.resource
            && self.target.namespace.as_ref().is_none_or(|wanted| namespace == wanted)
            && self
                .target
                .name
                .as_ref()
                .is_none_or(|name| change.object["metadata"]["name"] == *name);
        if !here {
            return None;
        }
        let now = change.kind != "DELETED" && self.selector.selects(&change.object);
        let before = change.before.as_ref().is_some_and(|before| self.selector.selects(before));
        let kind = match (before, now) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        Some(json!({"type": kind, "object": change.object}))
    }
}
