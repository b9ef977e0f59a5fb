//! Follows the files of policies and rules as they change.
//!
//! One thread waits for inotify. Whatever happens in a directory, it waits until nothing more does for a
//! moment, and then has everything looked at: so it does not matter in which way an editor writes, what
//! Kubernetes does to the links of a mounted ConfigMap, or whether the kernel's queue overflowed. What
//! inotify does not tell (files that links point to elsewhere, network file systems) is found by looking
//! again now and then.

use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::files::{Files, Look, is_left_over};
use super::rego::{Made, Rules};
use super::{DirError, Store};

/// How long nothing has to happen, and how long is waited for that at most.
const QUIET: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(400));

/// Time until something is looked at again that could not be done.
const AGAIN: Duration = Duration::from_millis(150);

/// Time between two looks when nothing is told.
const NOW_AND_THEN: Duration = Duration::from_secs(10);

/// The same where the kernel tells nothing at all.
const WITHOUT_INOTIFY: Duration = Duration::from_millis(700);

/// What is told of a directory.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Follows files until it is stopped.
pub struct Watcher {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// What is followed.
struct Followed {
    store: Arc<Store>,
    files: Files,
    rules: Option<(Arc<Rules>, Made)>,
    /// What was wrong the last time, so that it is told once.
    told: Option<String>,
}

impl Watcher {
    /// Begins to follow what was loaded.
    ///
    /// # Errors
    /// There is no thread, or no way to stop it.
    pub fn start(
        store: Arc<Store>,
        files: Files,
        rules: Option<(Arc<Rules>, Made)>,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let followed = Followed { store, files, rules, told: None };
        let thread = std::thread::Builder::new()
            .name("policy-files".to_owned())
            .spawn(move || followed.run(&stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Follows no more. What is just being loaded is waited for.
    pub fn stop(&mut self) {
        // The counter of an eventfd takes so many that this cannot fail.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows policy files had panicked");
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Followed {
    fn run(mut self, stop: &OwnedFd) {
        let watched = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let watched = watched.inspect_err(|error| {
            tracing::warn!(%error, "the kernel tells no changes of files: they are looked at now and then");
        });
        let watched = watched.ok();
        loop {
            let complete = watched.as_ref().is_some_and(|inotify| self.watch(inotify));
            let look = self.look();
            let wait = match (look, complete) {
                (Look::Again, _) => AGAIN,
                (Look::Done, true) => NOW_AND_THEN,
                (Look::Done, false) => WITHOUT_INOTIFY,
            };
            if !next_change(watched.as_ref(), stop, wait) {
                return;
            }
        }
    }

    /// Watches all directories there are, also those that are new. Doing so again changes nothing.
    /// False: not all could be.
    fn watch(&self, inotify: &OwnedFd) -> bool {
        let mut places = Vec::new();
        let (dir, file) = self.files.places();
        if let Some(dir) = dir {
            trees(dir, &mut places);
        }
        if let Some(parent) = file.and_then(Path::parent) {
            let here = parent.as_os_str().is_empty();
            places.push(if here { PathBuf::from(".") } else { parent.to_owned() });
        }
        if let Some((rules, _)) = &self.rules {
            trees(rules.dir(), &mut places);
        }
        places.iter().all(|place| match inotify::add_watch(inotify, place, EVENTS) {
            // Gone meanwhile: that is told.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => true,
            Err(error) => {
                tracing::debug!(place = %place.display(), %error, "the directory is not watched");
                false
            }
        })
    }

    /// Has everything be as the files say now.
    fn look(&mut self) -> Look {
        let mut look = Look::Done;
        let changed = self.rules.as_mut().is_some_and(|(rules, made)| {
            let changed = rules.follow();
            if changed {
                tell_denied(&self.store);
            }
            if changed || made.is_unfinished() {
                made.follow(rules, &self.store);
            }
            if made.is_unfinished() {
                look = Look::Again;
            }
            changed
        });
        match self.files.follow(&self.store, changed) {
            Ok(Look::Again) => {
                self.told = None;
                Look::Again
            }
            Ok(Look::Done) => {
                self.told = None;
                look
            }
            Err(error) => {
                self.tell(&error);
                look
            }
        }
    }

    fn tell(&mut self, error: &DirError) {
        let error = error.to_string();
        if self.told.as_ref() != Some(&error) {
            tracing::error!("{error}; policies stay as they are");
            self.told = Some(error);
        }
    }
}

/// Logs which policies in force new rules would not admit.
fn tell_denied(store: &Store) {
    for (key, denied) in store.judge_again() {
        tracing::warn!(
            policy = key.name,
            domain = key.domain,
            "the rules do not admit this policy any more: {denied}; it stays in force until it is \
             replaced or deleted"
        );
    }
}

/// The directory and those below it; where it is missing, the one in which it or its parent would appear.
fn trees(dir: &Path, places: &mut Vec<PathBuf>) {
    let there = dir.ancestors().find(|place| place.is_dir());
    match there {
        Some(place) if place == dir => below(dir, places),
        Some(place) => places.push(place.to_owned()),
        None => {}
    }
}

fn below(dir: &Path, places: &mut Vec<PathBuf>) {
    places.push(dir.to_owned());
    // What cannot be read is told when its files are looked at.
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && !is_left_over(entry.file_name().as_encoded_bytes()) {
            below(&entry.path(), places);
        }
    }
}

/// Waits until something has changed and no more does, or the time is over. False: it is to be stopped.
fn next_change(inotify: Option<&OwnedFd>, stop: &OwnedFd, wait: Duration) -> bool {
    let mut wait = wait;
    let mut first = None;
    loop {
        let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
        fds.extend(inotify.map(|inotify| PollFd::new(inotify, PollFlags::IN)));
        let timeout = Timespec::try_from(wait).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return true,
            Ok(_) if !fds[0].revents().is_empty() => return false,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot wait for changes of policy files: they are not followed");
                return false;
            }
        }
        if let Some(inotify) = inotify {
            drain(inotify);
        }
        let since = *first.get_or_insert_with(Instant::now);
        if since.elapsed() >= QUIET.1 {
            return true;
        }
        wait = QUIET.0;
    }
}

/// Takes all that is told; what it is does not matter.
fn drain(inotify: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    while reader.next().is_ok() {}
}
