//! The server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::path::{self, Target};
use crate::selector::Selector;
use crate::store::{Refusal, Store};
use crate::watch::{Asked, Bell};
use crate::{answer, patch, watch as watches};

/// Longest body that is read, in bytes.
const BODY_MAX: usize = 4 << 20;

/// A server at a port of the loopback device, until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    store: Arc<Mutex<Store>>,
    version: watch::Sender<u64>,
    disconnected: watch::Sender<u64>,
    /// Requests to refuse, with this HTTP status.
    failing: Mutex<(u64, u16)>,
    delay: Mutex<Duration>,
    requests: AtomicU64,
}

impl Server {
    /// Starts one.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            store: Arc::default(),
            version: watch::Sender::new(0),
            disconnected: watch::Sender::new(0),
            failing: Mutex::default(),
            delay: Mutex::default(),
            requests: AtomicU64::new(0),
        });
        let router = Router::new().fallback(serve).with_state(shared.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { shared, address, task })
    }

    /// Its address as URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig for it.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url()}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {}}],
        })
        .to_string()
    }

    /// Puts an object in, or in the place of the one of its name. `path` is that of its kind and namespace.
    ///
    /// # Panics
    /// When the path or the object is none.
    pub fn put(&self, path: &str, object: &Value) -> Value {
        let target = target(path);
        let name = object["metadata"]["name"].as_str().map(str::to_owned);
        let named = Target { name, ..target.clone() };
        self.shared.change(|store| {
            let result = match store.get(&named) {
                Ok(before) => {
                    let mut object = object.clone();
                    object["metadata"]["resourceVersion"] =
                        before["metadata"]["resourceVersion"].clone();
                    let status = object["status"].clone();
                    let replaced = store.replace(&named, object.clone());
                    match status {
                        Value::Null => replaced,
                        _ => {
                            object["metadata"]["resourceVersion"] = Value::Null;
                            let part = Some("status".to_owned());
                            store.replace(&Target { part, ..named.clone() }, object)
                        }
                    }
                }
                Err(_) => store.create(&target, object.clone()),
            };
            result.unwrap_or_else(|Refusal(_, _, message)| panic!("{path}: {message}"))
        })
    }

    /// Takes an object out; `path` names it.
    ///
    /// # Panics
    /// When there is none.
    pub fn remove(&self, path: &str) {
        let target = target(path);
        let result = self.shared.change(|store| store.delete(&target));
        assert!(result.is_ok(), "{path}: {result:?}");
    }

    /// An object, if it is there; `path` names it.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Value> {
        self.shared.store().get(&target(path)).ok().cloned()
    }

    /// All objects below a path.
    #[must_use]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let store = self.shared.store();
        let objects = store.list(&target(path)).unwrap_or_default();
        objects.into_iter().cloned().collect()
    }

    /// Forgets what happened: watches that ask for it are told 410 Gone.
    pub fn forget_history(&self) {
        self.shared.change(Store::forget);
    }

    /// Ends all watches.
    pub fn disconnect(&self) {
        self.shared.disconnected.send_modify(|count| *count += 1);
    }

    /// Refuses the next so many requests with this HTTP status.
    pub fn fail_next(&self, requests: u64, status: u16) {
        *lock(&self.shared.failing) = (requests, status);
    }

    /// Waits so long before every answer.
    pub fn delay(&self, time: Duration) {
        *lock(&self.shared.delay) = time;
    }

    /// How many requests there were.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.disconnect();
        self.task.abort();
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Changes the store and wakes watches.
    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let (result, version) = {
            let mut store = self.store();
            (change(&mut store), store.version())
        };
        self.version.send_replace(version);
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn target(path: &str) -> Target {
    path::parse(path).unwrap_or_else(|| panic!("{path} is no path of an API"))
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let delay = *lock(&shared.delay);
    tokio::time::sleep(delay).await;
    let failing = {
        let mut failing = lock(&shared.failing);
        let now = failing.0 > 0;
        failing.0 = failing.0.saturating_sub(1);
        now.then_some(failing.1)
    };
    if let Some(status) = failing {
        return answer::refusal(&Refusal(status, "InternalError", "as the test wants".to_owned()));
    }
    match handle(&shared, request).await {
        Ok(response) => response,
        Err(refusal) => answer::refusal(&refusal),
    }
}

async fn handle(shared: &Arc<Shared>, request: Request) -> Result<Response<Body>, Refusal> {
    let bad = |text: String| Refusal(400, "BadRequest", text);
    let uri = request.uri().clone();
    let Some(target) = path::parse(uri.path()) else {
        let found = answer::discovery(&shared.store(), uri.path());
        let found = found.ok_or_else(|| Refusal(404, "NotFound", "no such path".to_owned()))?;
        return Ok(answer::object(200, &found));
    };
    let query = query(uri.query().unwrap_or_default());
    let method = request.method().clone();
    let body = axum::body::to_bytes(request.into_body(), BODY_MAX).await;
    let body = body.map_err(|error| bad(error.to_string()))?;
    let body = || serde_json::from_slice::<Value>(&body).map_err(|error| bad(error.to_string()));
    let named = target.name.is_some();
    Ok(match method {
        Method::GET if query.get("watch").is_some_and(|value| value == "true" || value == "1") => {
            watch(shared, target, &query)?
        }
        Method::GET if named => answer::object(200, shared.store().get(&target)?),
        Method::GET => answer::object(200, &list(&shared.store(), &target, &query)?),
        Method::POST => {
            let object = body()?;
            answer::object(201, &shared.change(|store| store.create(&target, object))?)
        }
        Method::PUT => {
            let object = body()?;
            answer::object(200, &shared.change(|store| store.replace(&target, object))?)
        }
        Method::PATCH => {
            let change = body()?;
            answer::object(200, &shared.change(|store| patched(store, &target, &change))?)
        }
        Method::DELETE if named => {
            answer::object(200, &shared.change(|store| store.delete(&target))?)
        }
        _ => return Err(Refusal(405, "MethodNotAllowed", method.to_string())),
    })
}

/// Server-side apply creates what is not there.
fn patched(store: &mut Store, target: &Target, change: &Value) -> Result<Value, Refusal> {
    let before = match store.get(target) {
        Ok(before) => before.clone(),
        Err(_) if change["apiVersion"].is_string() && target.part.is_none() => {
            return store.create(&Target { name: None, ..target.clone() }, change.clone());
        }
        Err(refusal) => return Err(refusal),
    };
    let mut object = before;
    patch::merge(&mut object, change);
    store.replace(target, object)
}

fn watch(
    shared: &Arc<Shared>,
    target: Target,
    query: &HashMap<String, String>,
) -> Result<Response<Body>, Refusal> {
    let selector = selector(query)?;
    let since = match query.get("resourceVersion").map(String::as_str) {
        None | Some("" | "0") => None,
        Some(version) => Some(
            version
                .parse()
                .map_err(|_| Refusal(400, "BadRequest", format!("resourceVersion {version:?}")))?,
        ),
    };
    let bell =
        Bell { version: shared.version.subscribe(), disconnected: shared.disconnected.subscribe() };
    // That a version is forgotten is told by the watch itself.
    let kind = shared.store().kind(&target.resource)?;
    let bookmarks = query.get("allowWatchBookmarks").is_some_and(|value| value == "true");
    let asked = Asked { target, selector, since, bookmarks, kind };
    Ok(watches::start(shared.store.clone(), bell, asked))
}

fn selector(query: &HashMap<String, String>) -> Result<Selector, Refusal> {
    let text = |key: &str| query.get(key).map(String::as_str);
    Selector::new(text("labelSelector"), text("fieldSelector"))
        .map_err(|message| Refusal(400, "BadRequest", message))
}

/// A list or a page of it. A page goes on where the one before ended; what changed meanwhile may be seen.
fn list(store: &Store, target: &Target, query: &HashMap<String, String>) -> Result<Value, Refusal> {
    let selector = selector(query)?;
    let objects = store.list(target)?;
    let chosen: Vec<&Value> =
        objects.into_iter().filter(|object| selector.selects(object)).collect();
    let number = |key: &str| query.get(key).and_then(|text| text.parse::<usize>().ok());
    let from = number("continue").unwrap_or(0).min(chosen.len());
    let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let to = from.saturating_add(limit).min(chosen.len());
    let mut metadata = json!({"resourceVersion": store.version().to_string()});
    if to < chosen.len() {
        metadata["continue"] = json!(to.to_string());
        metadata["remainingItemCount"] = json!(chosen.len() - to);
    }
    Ok(json!({
        "kind": format!("{}List", store.kind(&target.resource)?),
        "apiVersion": target.resource.api_version(),
        "metadata": metadata,
        "items": &chosen[from..to],
    }))
}

/// The pairs of a query, percent signs decoded.
fn query(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decode(key), decode(value))).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let hex = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
