//! Messages of the API from table entries.

use std::sync::Arc;

use api::google::Timestamp;
use api::tetragon as wire;
use compiler::base::record::{Flags, Identity};
use wire::get_events_response::Event;

use crate::cgroups::container;
use crate::clock::{Clock, WallTime};
use crate::cluster::Directory;
use crate::loss::Loss;
use crate::process::entry::Entry;
use crate::process::identity::ExecIds;
use crate::process::{arguments, flags, privileges};
use crate::procfs::HostNamespaces;

/// What all messages of a node share.
#[derive(Clone, Debug)]
pub struct Messages {
    /// Composes exec_ids.
    pub exec_ids: ExecIds,
    /// Name of the node.
    pub node_name: String,
    /// Name of the cluster; may be empty.
    pub cluster_name: String,
    /// The whole container identifier in `docker`, not its start.
    pub full_container_id: bool,
    /// What `is_host` compares with.
    pub host: HostNamespaces,
    /// Whom containers belong to, in a cluster.
    pub directory: Option<Arc<Directory>>,
}

impl Messages {
    /// A process, with so many references in the table.
    pub fn process(&self, entry: &Entry, references: u32) -> wire::Process {
        let image = &*entry.image;
        let pid = entry.process.pid;
        wire::Process {
            exec_id: self.exec_ids.of(entry.process),
            pid: Some(pid),
            uid: image.uid,
            cwd: image.cwd.to_string(),
            binary: image.binary.to_string(),
            arguments: image.arguments.to_string(),
            flags: flags::text(entry.flags, &image.cwd),
            start_time: Some(Timestamp::from(entry.start)),
            auid: image.auid,
            pod: self.pod(entry),
            docker: entry.container.as_deref().map_or_else(String::new, |id| {
                if self.full_container_id { id } else { container::short(id) }.to_owned()
            }),
            parent_exec_id: match pid {
                0 => String::new(),
                _ => self.exec_ids.of(entry.parent),
            },
            refcnt: references,
            cap: image.creds.as_deref().map(privileges::capabilities),
            ns: image.namespaces.as_deref().map(|ns| privileges::namespaces(ns, &self.host)),
            tid: Some(pid),
            process_credentials: image
                .creds
                .as_deref()
                .map(|creds| privileges::credentials(creds, &self.host)),
            binary_properties: None,
            user: image.user.as_ref().map(|name| wire::UserRecord { name: name.to_string() }),
            in_init_tree: Some(entry.flags.contains(Flags::IN_INIT_TREE)),
            environment_variables: image
                .environment
                .iter()
                .map(|entry| {
                    let (key, value) = arguments::variable(entry);
                    wire::EnvVar { key: key.to_owned(), value: value.to_owned() }
                })
                .collect(),
        }
    }

    /// The pod of a process, if it is known.
    pub fn pod(&self, entry: &Entry) -> Option<wire::Pod> {
        let (directory, container) = (self.directory.as_ref()?, entry.container.as_deref()?);
        let image = &*entry.image;
        directory.pod(container, entry.nspid, &image.binary, &image.arguments)
    }

    /// A process of which only the identity is known.
    pub fn unknown(&self, process: Identity, clock: &Clock) -> wire::Process {
        wire::Process {
            exec_id: self.exec_ids.of(process),
            pid: Some(process.pid),
            start_time: Some(Timestamp::from(clock.start(process))),
            ..wire::Process::default()
        }
    }

    /// An event in its envelope.
    pub fn envelope(&self, event: Event, time: WallTime) -> wire::GetEventsResponse {
        wire::GetEventsResponse {
            event: Some(event),
            node_name: self.node_name.clone(),
            time: Some(Timestamp::from(time)),
            cluster_name: self.cluster_name.clone(),
            ..wire::GetEventsResponse::default()
        }
    }

    /// A loss of base records.
    pub fn loss(&self, loss: &Loss, time: WallTime) -> wire::GetEventsResponse {
        let lost = wire::EventsLost {
            ring: "base".to_owned(),
            count: loss.count,
            cause: loss.cause.to_owned(),
            cpu: loss.cpu,
            first_seq: loss.first,
            last_seq: loss.last,
        };
        self.envelope(Event::EventsLost(lost), time)
    }
}
