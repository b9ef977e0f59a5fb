//! From records to events: the single writer of the process table.
//!
//! One thread gives it every record of the base ring in order, the kernel side's loss counters and a tick
//! several times a second; it calls `emit` for every event. Within a record the table changes first, the
//! event follows; an event is made of what the table holds when it is sent.

mod bootstrap;
mod config;
mod images;
mod mappings;
mod observation;
mod podless;
mod recovery;
mod sending;
mod stats;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod model;
#[cfg(test)]
mod observation_tests;
#[cfg(test)]
mod pod_tests;
#[cfg(test)]
mod start_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use api::tetragon as wire;
use compiler::base::record::{
    DecodeError, Exec, Exit, Flags, Fork, Header, Identity, Record, at, kind,
};

use crate::cgroups::CgroupMap;
use crate::clock::Clock;
use crate::events::message::Messages;
use crate::events::waiting::{Body, Pending, WaitingEvents};
use crate::loss::{KernelLosses, Losses};
use crate::policies::losses::PolicyLosses;
use crate::process::dump;
use crate::process::entry::{Entry, Image};
use crate::process::identity::{ExecIds, KERNEL};
use crate::process::parts::Parts;
use crate::process::privileges;
use crate::process::table::{Limits, Table};
use crate::procfs::Procfs;
use crate::requests::Requests;
use crate::stacks::{Naming, Outbox, Settings};
use crate::users::Users;

pub use crate::stacks::Emit;
pub use config::PipelineConfig;
use podless::Podless;
pub use stats::{Counters, Stats};

/// Tells the present identity of a pid, as the kernel side knows it; `None` when there is no such process.
pub type Lookup = Arc<dyn Fn(u32) -> Option<Identity> + Send + Sync>;

/// Most bytes of arguments, paths and the like in the process table.
const MAX_IMAGE_BYTES: usize = 32 << 20;
/// Fewest entries the table may be limited to: a process needs its parents.
const MIN_ENTRIES: usize = 64;

/// The process model.
pub struct Pipeline {
    config: PipelineConfig,
    messages: Messages,
    clock: Clock,
    now: Instant,
    procfs: Procfs,
    table: Table,
    cgroups: CgroupMap,
    users: Users,
    parts: Parts,
    waiting: WaitingEvents,
    podless: Podless,
    losses: Losses,
    policy_losses: PolicyLosses,
    /// Image of processes that nothing is known of.
    unknown: Arc<Image>,
    counters: Counters,
    undecodable_logged: bool,
    undecodable_observation_logged: bool,
    eviction_logged: bool,
    next_collection: Instant,
    next_retry: Instant,
    next_reconciliation: Option<Instant>,
    reconciled: Option<Instant>,
    lookup: Option<Lookup>,
    /// What runs already is being told of: nothing is missing yet that may not come.
    starting: bool,
    naming: Naming,
    outbox: Outbox,
    requests: Arc<Requests>,
    mappings: mappings::Mappings,
}

impl Pipeline {
    /// A pipeline whose table holds nothing but the kernel.
    pub fn new(config: PipelineConfig, emit: Emit) -> Self {
        let now = Instant::now();
        let clock = Clock::read();
        let messages = Messages {
            exec_ids: ExecIds::new(config.node_name.clone()),
            node_name: config.node_name.clone(),
            cluster_name: config.cluster_name.clone(),
            full_container_id: config.full_container_id,
            host: config.host,
            directory: config.directory.clone(),
        };
        let limits =
            Limits { entries: config.process_cache_size.max(MIN_ENTRIES), bytes: MAX_IMAGE_BYTES };
        let mut table = Table::new(limits, config.ancestors);
        table.insert(Entry {
            process: KERNEL,
            parent: KERNEL,
            start: clock.boottime(0),
            image: Arc::new(Self::kernel_image("<kernel>")),
            container: None,
            cgroup: 0,
            flags: Flags::PROCFS | Flags::KTHREAD,
            nspid: 0,
        });
        let procfs = Procfs::new(&config.procfs);
        Self {
            messages,
            clock,
            now,
            table,
            cgroups: CgroupMap::new(config.hierarchy.clone()),
            users: Users::new(procfs.host_root().join("etc/passwd")),
            procfs,
            parts: Parts::new(usize::try_from(config.max_text).unwrap_or(usize::MAX)),
            waiting: WaitingEvents::new(config.event_cache_retries),
            podless: Podless::new(config.event_cache_retry_delay * config.event_cache_retries),
            losses: Losses::default(),
            policy_losses: PolicyLosses::default(),
            unknown: Arc::default(),
            counters: Counters::default(),
            undecodable_logged: false,
            undecodable_observation_logged: false,
            eviction_logged: false,
            next_collection: now + config.process_cache_gc_interval,
            next_retry: now + config.event_cache_retry_delay,
            next_reconciliation: None,
            reconciled: None,
            lookup: None,
            starting: false,
            naming: Naming::new(Settings {
                procfs: config.procfs.clone(),
                expose_addresses: config.expose_stack_addresses,
            }),
            outbox: Outbox::new(emit),
            requests: Arc::default(),
            mappings: mappings::Mappings::default(),
            config,
        }
    }

    /// Lets the pipeline ask the kernel side for the identity of a pid, so that it can tell whether what
    /// `/proc` shows belongs to a process that no record told of.
    pub fn set_lookup(&mut self, lookup: Lookup) {
        self.naming.set_lookup(lookup.clone());
        self.lookup = Some(lookup);
    }

    /// What sends the requests that policies want; without it they are counted only.
    pub fn set_requests(&mut self, requests: Arc<Requests>) {
        self.requests = requests;
    }

    /// Takes in one record of the base ring.
    pub fn record(&mut self, bytes: &[u8]) {
        let record = match Record::decode(bytes) {
            Ok(record) => record,
            Err(error) => return self.undecodable(bytes, &error),
        };
        self.losses.arrived(record.header(), self.now);
        let number = match &record {
            Record::Exec(_) => kind::EXEC,
            Record::Part(_) => kind::PART,
            Record::Fork(_) => kind::FORK,
            Record::Exit(_) => kind::EXIT,
            Record::Cgroup(_) => kind::CGROUP,
        };
        self.counters.records[number as usize] += 1;
        match record {
            Record::Exec(exec) => self.exec(&exec),
            Record::Part(part) => self.parts.add(&part, self.now),
            Record::Fork(fork) => self.fork(&fork),
            Record::Exit(exit) => self.exit(&exit),
            Record::Cgroup(cgroup) => self.cgroups.apply(&cgroup, self.now),
        }
    }

    /// Takes in the kernel side's counters. With these, losses that no record followed yet are reported
    /// too, and each loss only once.
    pub fn kernel_losses(&mut self, losses: &KernelLosses) {
        self.losses.kernel(losses, self.now);
    }

    /// Does what is due: loss reports, events that waited, removal of ended processes. To be called
    /// several times a second.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        self.clock = Clock::read();
        self.report_losses();
        self.report_policy_losses();
        self.parts.tick(now);
        self.cgroups.tick(now);
        self.send_mappings(false);
        if let Some(directory) = &self.config.directory
            && self.podless.changed(directory.changes())
        {
            self.retry(false);
        }
        if now >= self.next_retry {
            self.next_retry = now + self.config.event_cache_retry_delay;
            self.retry(true);
        }
        if now >= self.next_collection {
            self.next_collection = now + self.config.process_cache_gc_interval;
            self.table.collect();
        }
        if self.next_reconciliation.is_some_and(|due| now >= due) {
            self.next_reconciliation = None;
            self.reconcile();
        }
        if self.table.counters().evicted_live > 0 && !self.eviction_logged {
            self.eviction_logged = true;
            tracing::warn!(
                entries = self.table.len(),
                bytes = self.table.bytes(),
                "the process table is full of running processes; the ones longest unused are dropped \
                 and their events will lack details; raise --process-cache-size"
            );
        }
    }

    /// Sends what still waits, incomplete as it is, and what was lost. To be called behind the last record.
    pub fn finish(&mut self) {
        let losses = self.losses.report_rest(self.now);
        self.send_losses(&losses);
        self.report_policy_losses();
        self.send_mappings(true);
        for event in self.waiting.drain() {
            self.send_now(event);
        }
        self.outbox.finish();
    }

    /// Sends events that waited for the names of their stacks, now that there are some. Gives whether others
    /// still wait.
    pub fn send_named(&mut self) -> bool {
        if !self.outbox.is_empty() {
            self.outbox.release(Instant::now());
        }
        !self.outbox.is_empty()
    }

    /// The process table, as the request asks for it.
    pub fn dump(&self, request: &wire::DumpProcessCacheReqArgs) -> Vec<wire::ProcessInternal> {
        dump::dump(&self.table, request, |entry, references| {
            self.messages.process(entry, references)
        })
    }

    /// All counters.
    pub fn stats(&self) -> Stats {
        Stats {
            pipeline: self.counters,
            table_size: self.table.len(),
            table_capacity: self.config.process_cache_size.max(MIN_ENTRIES),
            table_running: self.table.running(),
            table_bytes: self.table.bytes(),
            table: self.table.counters(),
            waiting_size: self.waiting.len(),
            waiting: self.waiting.counters(),
            parts_bytes: self.parts.bytes(),
            parts: self.parts.counters(),
            cgroups_size: self.cgroups.len(),
            cgroups: self.cgroups.counters(),
            stacks: self.outbox.counters(),
            losses: self.losses.counters(),
            policy_events_lost: self.policy_losses.total(),
        }
    }

    fn exec(&mut self, exec: &Exec<'_>) {
        let (image, flags) = self.image_of_exec(exec);
        let parent = self.parent_of_exec(exec);
        let before = self.table.get(exec.previous).or_else(|| self.table.get(parent));
        let inherited = before
            .filter(|before| exec.cgroup_id == 0 || before.cgroup == exec.cgroup_id)
            .and_then(|before| before.container.clone());
        let pid = exec.process.pid;
        let entry = Entry {
            process: exec.process,
            parent,
            start: self.clock.start(exec.process),
            image: Arc::new(image),
            container: self.container(exec.cgroup_id, exec.cgroup_name, pid, inherited),
            cgroup: exec.cgroup_id,
            flags,
            nspid: exec.nspid,
        };
        let mut process = self.messages.process(&entry, 1);
        if self.config.credentials {
            process.binary_properties = privileges::binary_properties(exec);
        }
        self.insert(entry, Some(exec.previous));
        self.send(Pending {
            process: exec.process,
            parent,
            body: Body::Exec(Box::new(process)),
            time: self.clock.monotonic(exec.header.time),
            trace: None,
        });
        self.wake(exec.process);
    }

    fn fork(&mut self, fork: &Fork) {
        if self.config.disable_process_cache {
            return;
        }
        // Brings the parent in if /proc still can.
        let _ = self.missing(fork.parent);
        let parent = self.table.get(fork.parent);
        let image = parent.map_or_else(|| self.unknown.clone(), |parent| parent.image.clone());
        let parents_cgroup = parent.map(|parent| parent.cgroup);
        let inherited = parent.and_then(|parent| parent.container.clone());
        let pid = fork.process.pid;
        let container = match parents_cgroup {
            Some(cgroup) if cgroup == fork.cgroup_id || fork.cgroup_id == 0 => inherited,
            _ => self.container(fork.cgroup_id, b"", pid, None),
        };
        let entry = Entry {
            process: fork.process,
            parent: fork.parent,
            start: self.clock.start(fork.process),
            image,
            container,
            cgroup: fork.cgroup_id,
            flags: fork.flags,
            nspid: fork.nspid,
        };
        self.insert(entry, None);
        self.wake(fork.process);
    }

    fn exit(&mut self, exit: &Exit) {
        let process = match self.table.current(exit.process.pid) {
            // Its fork was announced, but the kernel side could not keep what it was announced as.
            Some(announced) if exit.flags.contains(Flags::NO_STATE) => announced,
            _ => exit.process,
        };
        let known = self.missing(process).is_none();
        let entry = self.table.get(process).filter(|_| known);
        let message = entry
            .map(|entry| Box::new(self.messages.process(entry, self.table.references(process))));
        let parent = entry.map_or(exit.parent, |entry| entry.parent);
        self.send(Pending {
            process,
            parent,
            body: Body::Exit(message, exit.code),
            time: self.clock.monotonic(exit.header.time),
            trace: None,
        });
        self.table.end(process);
    }

    /// Puts an image into the table, and ends the one that it replaces.
    fn insert(&mut self, entry: Entry, replaces: Option<Identity>) {
        if self.config.disable_process_cache {
            return;
        }
        let process = entry.process;
        let displaced = self.table.insert(entry);
        if displaced.is_some() && displaced != replaces {
            self.counters.exits_missed += 1;
        }
        if let Some(replaced) = replaces.filter(|&replaced| replaced != process) {
            self.table.end(replaced);
        }
    }

    fn undecodable(&mut self, bytes: &[u8], error: &DecodeError) {
        self.losses.undecodable(header(bytes), self.now);
        if !self.undecodable_logged {
            self.undecodable_logged = true;
            tracing::error!(%error, "a base record cannot be read; such records count as lost");
        }
    }
}

/// The header of a record whose rest cannot be read.
fn header(bytes: &[u8]) -> Option<Header> {
    let field = |at: i16| bytes.get(at as usize..);
    let u64 = |at| Some(u64::from_ne_bytes(*field(at)?.first_chunk()?));
    Some(Header {
        cpu: u32::from_ne_bytes(*field(at::CPU)?.first_chunk()?),
        seq: u64(at::SEQ)?,
        time: u64(at::TIME)?,
    })
}
