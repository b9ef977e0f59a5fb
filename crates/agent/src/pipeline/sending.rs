//! Sending events: at once when all is known, else after a bounded wait.

use api::google::Timestamp;
use api::tetragon as wire;
use compiler::base::record::{Flags, Identity};
use wire::get_events_response::Event;

use super::Pipeline;
use crate::clock::WallTime;
use crate::events::waiting::{Body, Pending};
use crate::loss::Loss;
use crate::observation::Hit;
use crate::process::end::status_and_signal;
use crate::process::flags;

impl Pipeline {
    /// Sends an event, now or when what it lacks has come.
    pub(super) fn send(&mut self, mut event: Pending) {
        // An exec is its image's first event; what waits was seen afterwards.
        let follows = !matches!(event.body, Body::Exec(_));
        let awaited = match follows && self.waiting.holds(event.process) {
            true => Some(event.process),
            false => self.lacking(&mut event, false),
        };
        match awaited {
            None => self.send_now(event),
            Some(awaited) => {
                for event in self.waiting.push(event, awaited) {
                    self.send_now(event);
                }
            }
        }
    }

    /// Sends waiting events that lack nothing any more and, with `attempt`, those that waited long enough.
    pub(super) fn retry(&mut self, attempt: bool) {
        if self.waiting.is_empty() {
            return;
        }
        let mut pass = self.waiting.begin_pass();
        while let Some(mut waiting) = pass.next() {
            let lacks = self.lacking(&mut waiting.event, attempt);
            self.waiting.settle(&mut pass, waiting, lacks, attempt);
        }
        for event in pass.sent {
            self.send_now(event);
        }
    }

    /// Sends what waited for this process, which the table has now.
    pub(super) fn wake(&mut self, process: Identity) {
        if self.waiting.awaits(process) {
            self.retry(false);
        }
    }

    /// What an event has to wait for, if anything. Fills in what has come since. `waited`: it is time to
    /// ask elsewhere for what the records have not told.
    fn lacking(&mut self, event: &mut Pending, waited: bool) -> Option<Identity> {
        if self.config.disable_process_cache {
            return None;
        }
        if let Body::Hit(..) = &event.body {
            if let Some(missing) = self.awaited_by_hit(event.process, waited) {
                return Some(missing);
            }
            // Of an unknown process's parent there is nothing to wait for.
            event.parent = self.table.get(event.process)?.parent;
        }
        if let Body::Exit(process @ None, _) = &mut event.body {
            if let Some(missing) = self.awaited(event.process) {
                return Some(missing);
            }
            if let Some(entry) = self.table.get(event.process) {
                event.parent = entry.parent;
                let references = self.table.references(event.process);
                *process = Some(Box::new(self.messages.process(entry, references)));
                self.table.end(event.process);
            }
        }
        if let Some(missing) = self.awaited(event.parent) {
            return Some(missing);
        }
        if self.lacks_pod(event) {
            return Some(event.process);
        }
        while self.config.ancestors
            && let Err(broken) = self.table.ancestors(event.parent)
        {
            match self.awaited(broken.missing) {
                Some(missing) => return Some(missing),
                // Waited for in vain before.
                None if self.table.get(broken.missing).is_none() => break,
                None => {}
            }
        }
        None
    }

    /// Whether the event should wait for the pod of its process. Fills it in where the process is told
    /// already.
    fn lacks_pod(&mut self, event: &mut Pending) -> bool {
        let Some(directory) = &self.config.directory else { return false };
        let told = match &mut event.body {
            Body::Exec(process) | Body::Exit(Some(process), _) => Some(process),
            Body::Exit(None, _) => return false,
            Body::Hit(..) => None,
        };
        if told.as_ref().is_some_and(|process| process.pod.is_some()) {
            return false;
        }
        // Of an exit that waits, the entry may be gone; its process was told when it came.
        let Some(entry) = self.table.get(event.process) else { return false };
        let Some(container) = entry.container.clone() else { return false };
        if self.waiting.gave_up(event.process) {
            return false;
        }
        match self.messages.pod(entry) {
            Some(pod) => {
                if let Some(process) = told {
                    process.pod = Some(pod);
                }
                self.podless.found(&container);
                false
            }
            None => self.podless.awaits(&container, directory, self.now),
        }
    }

    /// What it makes sense to wait for. The ring is in order, so a record that has not come before the
    /// one that needs it was lost; if the kernel side says that the image does not run any more either,
    /// nothing can ever tell of it.
    fn awaited(&mut self, process: Identity) -> Option<Identity> {
        let missing = self.missing(process)?;
        let gone = !self.starting
            && self.lookup.as_ref().is_some_and(|lookup| lookup(missing.pid) != Some(missing));
        (!gone && !self.waiting.gave_up(missing)).then_some(missing)
    }

    /// As [`Self::awaited`], for the process of a hit. Its record is in the other ring, and may be on its
    /// way yet.
    fn awaited_by_hit(&mut self, process: Identity, waited: bool) -> Option<Identity> {
        let on_its_way = self.table.get(process).is_none()
            && !waited
            && !self.starting
            && !self.waiting.gave_up(process);
        if on_its_way { Some(process) } else { self.awaited(process) }
    }

    /// What has to come before this process can be shown: itself, or, if only its fork is known, the
    /// process it was forked from. What `/proc` can tell is brought in.
    pub(super) fn missing(&mut self, process: Identity) -> Option<Identity> {
        let Some(entry) = self.table.get(process) else {
            return (!self.recover(process)).then_some(process);
        };
        // Of an image that came otherwise than by a fork nothing more will come.
        if entry.is_known() || entry.flags & (Flags::CLONE | Flags::EXECVE) != Flags::CLONE {
            return None;
        }
        let parent = entry.parent;
        let Some(found) = self.table.get(parent) else {
            return if self.recover(parent) { self.missing(process) } else { Some(parent) };
        };
        if !found.is_known() {
            return Some(parent);
        }
        let (image, container) = (found.image.clone(), found.container.clone());
        self.table.learn(process, image, container);
        None
    }

    /// Sends an event with what is known.
    pub(super) fn send_now(&mut self, event: Pending) {
        let Pending { process, parent, body, time, trace } = event;
        let parent = match &body {
            Body::Hit(..) => self.table.get(process).map(|entry| entry.parent),
            Body::Exec(_) | Body::Exit(..) => Some(parent),
        };
        let parent = parent.filter(|_| !self.config.disable_process_cache);
        let mut complete = true;
        let mut ancestors = Vec::new();
        let parent = parent.map(|parent| {
            self.table.touch(parent);
            if self.has_ancestors(&body) {
                let found = self.table.ancestors(parent).unwrap_or_else(|broken| {
                    complete = false;
                    broken.found
                });
                ancestors.extend(found.into_iter().map(|id| self.message(id).0));
            }
            let (message, known) = self.message(parent);
            complete &= known;
            message
        });
        let event = match body {
            Body::Exec(process) => {
                self.counters.exec_events += 1;
                complete &= !process.binary.is_empty();
                Event::ProcessExec(wire::ProcessExec { process: Some(*process), parent, ancestors })
            }
            Body::Exit(known, code) => {
                self.counters.exit_events += 1;
                complete &= known.is_some();
                let process = match known {
                    Some(process) => *process,
                    None => self.messages.unknown(process, &self.clock),
                };
                let (status, signal) = status_and_signal(code);
                Event::ProcessExit(wire::ProcessExit {
                    process: Some(process),
                    parent,
                    signal,
                    status,
                    time: Some(Timestamp::from(time)),
                    ancestors,
                })
            }
            Body::Hit(hit, tid) => {
                self.counters.policy_events += 1;
                self.table.touch(process);
                let (mut message, known) = self.message(process);
                if !known && !self.config.disable_process_cache {
                    complete = false;
                    flags::add_unknown(&mut message.flags);
                }
                message.tid = Some(tid);
                hit.of(message, parent, ancestors)
            }
        };
        if let Some(directory) = &self.config.directory
            && let Some(process) = event.process()
            && !process.docker.is_empty()
            && process.pod.is_none()
        {
            directory.count_missed();
        }
        self.counters.incomplete_events += u64::from(!complete);
        self.outbox.send(self.messages.envelope(event, time), trace);
    }

    /// Whether events of this kind carry ancestors.
    fn has_ancestors(&self, body: &Body) -> bool {
        let of = self.config.ancestors_of_hits;
        self.config.ancestors
            && match body {
                Body::Exec(_) | Body::Exit(..) => true,
                Body::Hit(hit, _) => match hit {
                    Hit::Kprobe(_) => of.kprobe,
                    Hit::Tracepoint(_) => of.tracepoint,
                    Hit::Lsm(_) => of.lsm,
                    Hit::Uprobe(_) => of.uprobe,
                    Hit::Usdt(_) => of.usdt,
                    // The option has no word for them: they are of the process, as execs are.
                    Hit::Loader(_) => true,
                },
            }
    }

    /// A process as the table has it, or with its identity alone; and whether the table knows it.
    fn message(&self, process: Identity) -> (wire::Process, bool) {
        match self.table.get(process) {
            Some(entry) => {
                let references = self.table.references(process);
                (self.messages.process(entry, references), entry.is_known())
            }
            None => (self.messages.unknown(process, &self.clock), false),
        }
    }

    /// Sends what was lost, once the burst is over.
    pub(super) fn report_losses(&mut self) {
        let losses = self.losses.report(self.now);
        self.losses.log(self.now);
        if !losses.is_empty() {
            self.send_losses(&losses);
            self.schedule_reconciliation();
        }
    }

    pub(super) fn send_losses(&mut self, losses: &[Loss]) {
        let time = WallTime::now();
        for loss in losses {
            self.counters.loss_events += 1;
            self.outbox.send(self.messages.loss(loss, time), None);
        }
    }
}
