//! The thread that finds names.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use compiler::base::record::Identity;
use compiler::observed::Stacks;

use super::kernel::KernelNames;
use super::trace::{Frames, Trace};
use super::user::{Owner, UserNames};
use crate::pipeline::Lookup;

/// Stacks that wait for the thread, at most.
const WAITING_MAX: usize = 4096;
/// When nobody has asked for so long, what was read is forgotten.
const IDLE: Duration = Duration::from_secs(60);

/// What names are found by.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the host's procfs is mounted.
    pub procfs: PathBuf,
    /// `--expose-stack-addresses`.
    pub expose_addresses: bool,
}

struct Job {
    owner: Owner,
    trace: Trace,
}

/// Hands stacks to the thread that finds their names, which starts with the first of them.
pub struct Naming {
    settings: Settings,
    lookup: Option<Lookup>,
    jobs: Option<SyncSender<Job>>,
}

impl Naming {
    /// Nothing runs yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, lookup: None, jobs: None }
    }

    /// Lets the thread ask who has a pid, if it does not run yet.
    pub fn set_lookup(&mut self, lookup: Lookup) {
        self.lookup = Some(lookup);
    }

    /// Has the names found of the stacks of a process, which runs `binary`. Where the thread has too much to
    /// do, they stay without.
    pub fn name(&mut self, process: Identity, binary: Option<String>, stacks: Stacks) -> Trace {
        let trace = Trace::new(stacks, self.settings.expose_addresses);
        let owner = Owner { process, binary };
        let mut job = Job { owner, trace: trace.clone() };
        for _ in 0..2 {
            let Some(jobs) = self.jobs.clone().or_else(|| self.start()) else { break };
            match jobs.try_send(job) {
                Ok(()) => return trace,
                Err(TrySendError::Full(_)) => break,
                Err(TrySendError::Disconnected(back)) => (self.jobs, job) = (None, back),
            }
        }
        trace.give_up();
        trace
    }

    fn start(&mut self) -> Option<SyncSender<Job>> {
        let (sender, jobs) = sync_channel(WAITING_MAX);
        let user = UserNames::new(self.settings.procfs.clone(), self.lookup.clone());
        let thread = std::thread::Builder::new().name("stack-names".to_owned());
        match thread.spawn(move || run(&jobs, user)) {
            Ok(_) => {
                self.jobs = Some(sender.clone());
                Some(sender)
            }
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that finds names of stacks");
                None
            }
        }
    }
}

/// Finds names until nobody can ask any more.
fn run(jobs: &Receiver<Job>, mut user: UserNames) {
    let mut kernel = KernelNames::default();
    loop {
        let Job { owner, trace } = match jobs.recv_timeout(IDLE) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                user.forget();
                kernel.forget();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let stacks = trace.addresses();
        // First what may be gone soon.
        let work =
            || Frames { user: user.frames(&owner, stacks), kernel: kernel.frames(&stacks.kernel) };
        // What is read is not ours. A mistake in reading it must not end the naming of all others.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(frames) => trace.name(frames),
            Err(_) => {
                tracing::error!(pid = owner.process.pid, "finding the names of a stack failed");
                user.forget();
                trace.give_up();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn names_come_from_another_thread() {
        let settings = Settings { procfs: "/proc".into(), expose_addresses: false };
        let mut naming = Naming::new(settings);
        let process = Identity { pid: std::process::id(), ktime: 1 };
        let address = names_come_from_another_thread as fn() as usize as u64;
        let stacks = Stacks { kernel: vec![1], user: vec![address], files: Vec::new() };
        let trace = naming.name(process, None, stacks);
        let end = Instant::now() + Duration::from_secs(60);
        while !trace.is_named() {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut event =
            api::tetragon::get_events_response::Event::ProcessKprobe(Default::default());
        trace.put_into(&mut event);
        let api::tetragon::get_events_response::Event::ProcessKprobe(event) = event else {
            panic!()
        };
        assert!(event.user_stack_trace[0].symbol.ends_with("names_come_from_another_thread"));
        assert_eq!(event.user_stack_trace[0].address, 0);
        assert_eq!(event.kernel_stack_trace.len(), 1);
    }
}
