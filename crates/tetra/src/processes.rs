//! Processes as events tell of them: who began whom, when, and what was seen of each.
//!
//! Images are told apart by `exec_id`, so that a process that executes another program without a fork is
//! two of them, the second one below the first. Bounded: beyond [`IMAGES_MAX`] the ones that ended first
//! and have nothing below them go; events of those are counted with nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use api::google::Timestamp;
use api::tetragon::get_events_response::Event;
use api::tetragon::{GetEventsResponse, Process, ProcessInternal};

use crate::getevents::Collect;

/// Images that are kept, at most.
const IMAGES_MAX: usize = 100_000;

/// A program in execution.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Image {
    /// Process id; 0: not known.
    pub(crate) pid: u32,
    /// Path of the executable.
    pub(crate) binary: String,
    /// Arguments.
    pub(crate) arguments: String,
    /// Pod, as `namespace/name`, else the container, else empty.
    pub(crate) workload: String,
    /// When it began.
    pub(crate) started: Option<Timestamp>,
    /// When and how it ended, if it did.
    pub(crate) ended: Option<Ended>,
    /// Who began it; empty: not known.
    pub(crate) parent: String,
    /// Events of policies by type, such as `kprobe`.
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

/// How an image ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    /// When.
    pub(crate) time: Option<Timestamp>,
    /// `exit 0`, a signal's name, or `exec`.
    pub(crate) how: String,
}

/// All that were seen.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    images: HashMap<String, Image>,
    below: HashMap<String, BTreeSet<String>>,
    /// Those that ended, in that order.
    ended: VecDeque<String>,
    left_out: u64,
}

impl Processes {
    /// Adds a process, or what is new about it.
    pub(crate) fn add_process(&mut self, process: &Process) {
        if process.exec_id.is_empty() {
            return;
        }
        if !self.images.contains_key(&process.exec_id) {
            self.make_room();
        }
        let image = self.images.entry(process.exec_id.clone()).or_default();
        image.pid = process.pid.unwrap_or(image.pid);
        for (own, new) in
            [(&mut image.binary, &process.binary), (&mut image.arguments, &process.arguments)]
        {
            if !new.is_empty() {
                own.clone_from(new);
            }
        }
        if let Some(pod) = &process.pod {
            image.workload = format!("{}/{}", pod.namespace, pod.name);
        } else if image.workload.is_empty() {
            image.workload.clone_from(&process.docker);
        }
        image.started = process.start_time.or(image.started);
        let parent = &process.parent_exec_id;
        if image.parent.is_empty() && !parent.is_empty() && *parent != process.exec_id {
            image.parent.clone_from(parent);
            self.below.entry(parent.clone()).or_default().insert(process.exec_id.clone());
        }
    }

    /// Adds those of an agent's table that run.
    pub(crate) fn add_table(&mut self, table: &[ProcessInternal]) {
        // Those that nothing refers to any more have ended.
        let running = table.iter().filter(|entry| entry.color == "inUse");
        running.filter_map(|entry| entry.process.as_ref()).for_each(|one| self.add_process(one));
    }

    /// The image of this `exec_id`.
    pub(crate) fn get(&self, id: &str) -> Option<&Image> {
        self.images.get(id)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Those that are no longer here.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Those whose beginners are not known, the oldest first.
    pub(crate) fn roots(&self) -> Vec<&str> {
        let known = |image: &Image| self.images.contains_key(&image.parent);
        let roots = self.images.iter().filter(|(_, image)| !known(image));
        self.by_age(roots.map(|(id, _)| id.as_str()).collect())
    }

    /// Those that an image began, the oldest first.
    pub(crate) fn below(&self, id: &str) -> Vec<&str> {
        let ids = self.below.get(id).into_iter().flatten().map(String::as_str);
        self.by_age(ids.filter(|id| self.images.contains_key(*id)).collect())
    }

    fn by_age<'s>(&'s self, mut ids: Vec<&'s str>) -> Vec<&'s str> {
        ids.sort_by_key(|id| {
            let image = self.images.get(*id);
            let time = image.and_then(|image| image.started).unwrap_or_default();
            (time.seconds, time.nanos, image.map(|image| image.pid), *id)
        });
        ids
    }

    fn end(&mut self, id: &str, ended: Ended) {
        if let Some(image) = self.images.get_mut(id)
            && image.ended.is_none()
        {
            image.ended = Some(ended);
            self.ended.push_back(id.to_owned());
        }
    }

    /// Makes room for one more, if there are too many. Those with somebody below go with the last of these.
    fn make_room(&mut self) {
        for _ in 0..self.ended.len() {
            if self.images.len() < IMAGES_MAX {
                return;
            }
            let Some(id) = self.ended.pop_front() else { return };
            if !self.below(&id).is_empty() {
                self.ended.push_back(id);
                continue;
            }
            self.below.remove(&id);
            if let Some(image) = self.images.remove(&id) {
                self.left_out += 1;
                if let Some(siblings) = self.below.get_mut(&image.parent) {
                    siblings.remove(&id);
                }
            }
        }
    }
}

impl Collect for Processes {
    fn add(&mut self, event: &GetEventsResponse) {
        let Some(body) = &event.event else { return };
        let Some(process) = body.process() else { return };
        body.ancestors().iter().chain(body.parent()).for_each(|one| self.add_process(one));
        self.add_process(process);
        match body {
            // Without a fork it takes the place of what the process ran before.
            Event::ProcessExec(_) => {
                let before = self.images.get(&process.parent_exec_id);
                if before.is_some_and(|before| Some(before.pid) == process.pid) {
                    let ended = Ended { time: process.start_time, how: "exec".to_owned() };
                    self.end(&process.parent_exec_id, ended);
                }
            }
            Event::ProcessExit(exit) => {
                let how = match exit.signal.as_str() {
                    "" => format!("exit {}", exit.status),
                    signal => signal.to_owned(),
                };
                self.end(&process.exec_id, Ended { time: exit.time.or(event.time), how });
            }
            _ => {
                if let (Some(kind), Some(image)) =
                    (kind(body), self.images.get_mut(&process.exec_id))
                {
                    *image.seen.entry(kind).or_default() += 1;
                }
            }
        }
    }
}

/// The type of a policy's event, in a word.
fn kind(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::ProcessKprobe(_) => "kprobe",
        Event::ProcessTracepoint(_) => "tracepoint",
        Event::ProcessUprobe(_) => "uprobe",
        Event::ProcessUsdt(_) => "usdt",
        Event::ProcessLsm(_) => "lsm",
        Event::ProcessLoader(_) => "loader",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use api::tetragon::{ProcessExec, ProcessExit};

    use super::*;

    fn process(id: &str, parent: &str, pid: u32) -> Process {
        Process {
            exec_id: id.to_owned(),
            parent_exec_id: parent.to_owned(),
            pid: Some(pid),
            ..Process::default()
        }
    }

    fn exec(id: &str, parent: &str, pid: u32) -> GetEventsResponse {
        let process = Some(process(id, parent, pid));
        let event = Some(Event::ProcessExec(ProcessExec { process, ..Default::default() }));
        GetEventsResponse { event, ..Default::default() }
    }

    fn exit(id: &str) -> GetEventsResponse {
        let event = ProcessExit { process: Some(process(id, "", 0)), ..Default::default() };
        GetEventsResponse { event: Some(Event::ProcessExit(event)), ..Default::default() }
    }

    #[test]
    fn an_exec_without_fork_ends_the_image_before() {
        let mut all = Processes::default();
        all.add(&exec("a", "", 5));
        all.add(&exec("b", "a", 6));
        all.add(&exec("c", "b", 6));
        assert_eq!(
            (all.roots(), all.below("a"), all.below("b")),
            (vec!["a"], vec!["b"], vec!["c"])
        );
        assert_eq!(all.get("a").unwrap().ended, None);
        assert_eq!(all.get("b").unwrap().ended.as_ref().unwrap().how, "exec");
    }

    #[test]
    fn those_that_ended_first_make_room() {
        let mut all = Processes::default();
        all.add(&exec("root", "", 1));
        for number in 0..IMAGES_MAX + 10 {
            let id = number.to_string();
            all.add(&exec(&id, "root", 2 + number as u32));
            all.add(&exit(&id));
        }
        assert_eq!(all.images.len(), IMAGES_MAX);
        assert_eq!(all.left_out(), 11);
        assert!(all.get("0").is_none() && all.get("root").is_some());
        assert_eq!(all.below("root").len(), IMAGES_MAX - 1);
    }
}
