//! From executable mappings to `process_loader` events.
//!
//! A mapping names its process by number and time. Which image of the process that is can be told only
//! when the records of the base ring up to that time have been read, and, of what an exec maps, when the
//! exec's own record has come, which is last. So mappings wait for some ticks. Each image tells of a file
//! once, as long as it is among those last told of.

use std::collections::{BTreeMap, HashMap, VecDeque};

use api::tetragon as wire;
use compiler::base::record::Identity;
use kernel::mappings::Mapped;
use wire::get_events_response::Event;

use super::Pipeline;
use crate::clock::WallTime;
use crate::events::waiting::{Body, Pending};
use crate::observation::Hit;
use crate::process::identity::is_start_time;

/// Files that are remembered as told of.
const REMEMBERED: usize = 1024;
/// Mappings that wait at most.
const WAITING: usize = 8192;
/// Ticks for which a mapping waits at least: what came before it is in the base ring by then.
const LEAST: u32 = 2;
/// Ticks after which it is sent with what is known.
const MOST: u32 = 30;

/// Mappings under way.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    waiting: VecDeque<Waiting>,
    told: Told,
}

#[derive(Debug)]
struct Waiting {
    mapped: Mapped,
    /// When the process began to execute the program that the mapping is of.
    exec: Option<u64>,
    ticks: u32,
}

/// Files that were told of; of more than can be remembered, those that were asked for last.
#[derive(Debug, Default)]
struct Told {
    order: BTreeMap<u64, (Identity, Box<[u8]>)>,
    files: HashMap<(Identity, Box<[u8]>), u64>,
    last: u64,
}

impl Told {
    /// Remembers it. Says whether it was known.
    fn repeats(&mut self, process: Identity, path: &[u8]) -> bool {
        self.last += 1;
        let file = (process, Box::from(path));
        let before = self.files.insert(file.clone(), self.last);
        if let Some(before) = before {
            self.order.remove(&before);
        }
        self.order.insert(self.last, file);
        if self.order.len() > REMEMBERED
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.files.remove(&oldest);
        }
        before.is_some()
    }
}

impl Pipeline {
    /// Takes in a mapping; of the program that its process began to execute at `exec` (CLOCK_MONOTONIC,
    /// ns), if it did. It is sent some ticks later, unless its process has told of the file before.
    pub fn mapped(&mut self, mapped: Mapped, exec: Option<u64>) {
        self.counters.mappings += 1;
        if self.mappings.waiting.len() >= WAITING
            && let Some(oldest) = self.mappings.waiting.pop_front()
        {
            self.send_mapping(oldest);
        }
        self.mappings.waiting.push_back(Waiting { mapped, exec, ticks: 0 });
    }

    /// Tells of mappings that the kernel's rings did not take.
    pub fn mappings_lost(&mut self, count: u64) {
        self.counters.mappings_lost += count;
        self.counters.loss_events += 1;
        let lost = wire::EventsLost {
            ring: "mappings".to_owned(),
            count,
            cause: "ring_full".to_owned(),
            ..wire::EventsLost::default()
        };
        let event = self.messages.envelope(Event::EventsLost(lost), WallTime::now());
        self.outbox.send(event, None);
    }

    /// Sends mappings that have waited long enough; with `all`, all of them.
    pub(super) fn send_mappings(&mut self, all: bool) {
        for mut waiting in std::mem::take(&mut self.mappings.waiting) {
            waiting.ticks += 1;
            let known = || self.image_of(&waiting.mapped, waiting.exec).is_some();
            let due = waiting.ticks >= MOST || (waiting.ticks >= LEAST && known());
            match all || due {
                true => self.send_mapping(waiting),
                false => self.mappings.waiting.push_back(waiting),
            }
        }
    }

    /// The image that mapped a file, if it is known.
    fn image_of(&self, mapped: &Mapped, exec: Option<u64>) -> Option<Identity> {
        let began = |image: Identity| if is_start_time(image) { 0 } else { image.ktime };
        let mut images = self.table.images(mapped.pid);
        match exec {
            Some(exec) => images.take_while(|image| began(*image) >= exec).last(),
            None => images.find(|image| began(*image) <= mapped.time),
        }
    }

    fn send_mapping(&mut self, Waiting { mapped, exec, .. }: Waiting) {
        let process = self.image_of(&mapped, exec).or_else(|| self.present(mapped.pid));
        let Mapped { pid, tid, time, path, build_id } = mapped;
        // Nothing tells of it: its number and the time are all there is.
        let process = process.unwrap_or(Identity { ktime: time, pid });
        if self.mappings.told.repeats(process, &path) {
            self.counters.mappings_repeated += 1;
            return;
        }
        let event = wire::ProcessLoader {
            path: String::from_utf8_lossy(&path).into_owned(),
            buildid: build_id,
            ..wire::ProcessLoader::default()
        };
        let parent = self.table.get(process).map_or(process, |entry| entry.parent);
        let (body, time) =
            (Body::Hit(Hit::Loader(Box::new(event)), tid), self.clock.monotonic(time));
        self.send(Pending { process, parent, body, time, trace: None });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Harness, exec_id, id};
    use super::*;

    fn mapped(pid: u32, time: u64, path: &str) -> Mapped {
        let (path, build_id) = (path.as_bytes().to_vec(), vec![0xab; 20]);
        Mapped { pid, tid: pid, time, path, build_id }
    }

    /// The image that each event is of, and the file.
    fn told(h: &mut Harness, ticks: u32) -> Vec<(String, String)> {
        (0..ticks).for_each(|_| h.pipeline.send_mappings(false));
        let event = |event: wire::GetEventsResponse| match event.event {
            Some(Event::ProcessLoader(event)) => {
                assert_eq!(event.buildid, [0xab; 20]);
                assert!(event.process.is_some());
                Some((event.process.unwrap().exec_id, event.path))
            }
            _ => None,
        };
        h.events().into_iter().filter_map(event).collect()
    }

    #[test]
    fn a_mapping_is_of_the_image_of_its_time() {
        let mut h = Harness::plain();
        let init = h.init();
        let (first, second) = (id(10, 1003), id(10, 2007));
        h.exec(first, Identity::default(), init);
        h.exec(second, first, first);
        h.exit(second, first, 0);
        let (before, after) = (first.ktime + 5, second.ktime + 5);
        // Of an exec that began before its record, and of one that is still to come.
        let exec = Some(second.ktime - 5);
        h.pipeline.mapped(mapped(10, before, "/old"), None);
        h.pipeline.mapped(mapped(10, after, "/new"), None);
        h.pipeline.mapped(mapped(10, second.ktime - 1, "/exe"), exec);
        h.pipeline.mapped(mapped(10, after, "/exe"), exec);
        let of = |image, path: &str| (exec_id(image), path.to_owned());
        let expected = [of(first, "/old"), of(second, "/new"), of(second, "/exe")];
        assert_eq!(told(&mut h, LEAST), expected, "each file once");
        assert_eq!(h.pipeline.stats().pipeline.mappings_repeated, 1);
    }

    #[test]
    fn what_an_exec_maps_waits_for_its_record_but_not_for_ever() {
        let mut h = Harness::plain();
        let init = h.init();
        let (shell, program) = (id(10, 1003), id(10, 2007));
        h.exec(shell, Identity::default(), init);
        let began = Some(shell.ktime + 10);
        h.pipeline.mapped(mapped(10, shell.ktime + 11, "/exe"), began);
        assert_eq!(told(&mut h, LEAST + 3), []);
        h.exec(program, shell, shell);
        assert_eq!(told(&mut h, 1), [(exec_id(program), "/exe".to_owned())]);
        h.pipeline.mapped(mapped(10, program.ktime + 11, "/b"), Some(program.ktime + 10));
        assert_eq!(told(&mut h, MOST - 1), []);
        assert_eq!(told(&mut h, 1), [(exec_id(program), "/b".to_owned())], "the exec failed");
    }

    #[test]
    fn what_was_asked_for_last_is_remembered() {
        let of = |pid| Identity { ktime: 9, pid };
        let mut told = Told::default();
        assert!(!told.repeats(of(1), b"/a"));
        assert!(told.repeats(of(1), b"/a"));
        assert!(!told.repeats(of(1), b"/b") && !told.repeats(of(2), b"/a"));
        for n in 0..REMEMBERED - 2 {
            assert!(!told.repeats(of(3), n.to_string().as_bytes()));
            assert!(told.repeats(of(1), b"/a"));
        }
        assert!(!told.repeats(of(1), b"/b"), "forgotten, as the one longest ago");
        assert!(told.repeats(of(1), b"/a"));
        assert_eq!((told.order.len(), told.files.len()), (REMEMBERED, REMEMBERED));
    }
}
