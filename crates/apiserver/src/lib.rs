//! A Kubernetes API server for tests: objects in memory, and the protocol of lists and watches as the real
//! one speaks it, with its troubles on demand.
//!
//! What it has: create, get, list, replace, patch and delete of any object by any path of the API;
//! `resourceVersion` and conflicts, pages (`limit`, `continue`), watches with bookmarks, label and field
//! selectors (`metadata.name`, `metadata.namespace`, `spec.nodeName`), generations, owner references
//! (what a deleted object owns goes with it), custom resources that exist once their definition does,
//! discovery, `/version`.
//!
//! What it does not have: authentication, admission, schemas and defaults. [`Server`] is the entry; its
//! methods make the troubles that clients have to live with: [`Server::forget_history`] answers old watches
//! with 410 Gone, [`Server::disconnect`] ends all of them, [`Server::fail_next`] refuses requests,
//! [`Server::delay`] makes it slow.

mod answer;
mod patch;
mod path;
mod selector;
mod server;
mod store;
mod watch;

pub use server::Server;
