use super::super::store_tests::{key, states, store, text};
use super::super::{STATIC, Watcher};
use super::*;
use api::tetragon::TracingPolicyState as State;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Instant;

/// Policies of a directory, with a loader that needs no kernel.
struct Lab {
    dir: tempfile::TempDir,
    store: Arc<Store>,
    files: Files,
    seen: Arc<std::sync::Mutex<super::super::store_tests::Seen>>,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, seen) = store();
        let files = PolicyFiles { dir: Some(dir.path().to_owned()), ..PolicyFiles::default() };
        Self { files: Files::new(&files), dir, store: Arc::new(store), seen }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Looks until nothing has just changed.
    fn follow(&mut self) {
        while self.files.follow(&self.store, false).unwrap() == Look::Again {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn loaded(&self) -> Vec<String> {
        self.seen.lock().unwrap().loaded.iter().map(|key| key.name.clone()).collect()
    }

    fn error(&self, name: &str) -> String {
        let list = self.store.list(None);
        list.into_iter().find(|status| status.name == name).unwrap().error
    }
}

/// Another text of the same policy.
fn changed(name: &str) -> String {
    text(name).replace("sys_mount", "sys_umount")
}

#[test]
fn files_come_change_and_go() {
    let mut lab = Lab::new();
    lab.write("a.yaml", &text("a"));
    lab.files.load(&lab.store).unwrap();
    fs::create_dir_all(lab.path("below/deeper")).unwrap();
    lab.write("below/deeper/b.yaml", &text("b"));
    lab.write(".c.yaml.swp", &text("c"));
    lab.write("c.yaml~", &text("c"));
    fs::create_dir(lab.path(".git")).unwrap();
    lab.write(".git/d.yaml", &text("d"));
    lab.follow();
    assert_eq!(lab.loaded(), ["a", "b"]);
    lab.write("a.yaml", &changed("a"));
    lab.follow();
    let ids: Vec<_> = lab.store.list(None).iter().map(|status| status.id).collect();
    assert_eq!(ids, [1, 2], "replaced, not deleted and added");
    fs::remove_file(lab.path("a.yaml")).unwrap();
    fs::remove_dir_all(lab.path("below")).unwrap();
    lab.follow();
    assert!(lab.loaded().is_empty() && states(&lab.store).is_empty());
}

#[test]
fn a_bad_edit_keeps_what_is_in_force_and_is_told() {
    let mut lab = Lab::new();
    lab.write("a.yaml", &text("a"));
    lab.files.load(&lab.store).unwrap();
    lab.write("a.yaml", "kind: [");
    lab.follow();
    assert_eq!(states(&lab.store), [("a".to_owned(), State::TpStateEnabled)]);
    let error = lab.error("a");
    assert!(
        error.starts_with("an earlier version stays, as ") && error.contains(".yaml:"),
        "{error}"
    );
    // Nothing of it is left when it is right again, be it as it was.
    lab.write("a.yaml", &text("a"));
    lab.follow();
    assert_eq!(lab.error("a"), "");
    // One that the kernel refuses.
    lab.seen.lock().unwrap().broken = true;
    lab.write("a.yaml", &changed("a"));
    lab.follow();
    assert!(lab.error("a").starts_with("an earlier version stays, as "), "{}", lab.error("a"));
    assert_eq!(lab.loaded(), ["a"]);
    lab.seen.lock().unwrap().broken = false;
    lab.write("a.yaml", &text("a"));
    lab.follow();
    assert_eq!(lab.error("a"), "");
    // One that never was in force is listed while its file is there.
    lab.write("f.yaml", &text("failing"));
    lab.follow();
    assert_eq!(lab.error("failing"), "the kernel says no");
    fs::remove_file(lab.path("f.yaml")).unwrap();
    lab.follow();
    assert_eq!(states(&lab.store).len(), 1);
}

#[test]
fn a_policy_moves_between_files_without_going() {
    let mut lab = Lab::new();
    lab.write("a.yaml", &text("a"));
    lab.files.load(&lab.store).unwrap();
    fs::rename(lab.path("a.yaml"), lab.path("z.yaml")).unwrap();
    lab.follow();
    let list = lab.store.list(None);
    assert_eq!((list.len(), list[0].id, list[0].state()), (1, 1, State::TpStateEnabled));
    // A second file of the same name waits until the first one is gone.
    lab.write("b.yaml", &changed("a"));
    lab.follow();
    assert_eq!(lab.store.list(None).len(), 1);
    fs::remove_file(lab.path("z.yaml")).unwrap();
    lab.follow();
    assert_eq!(states(&lab.store), [("a".to_owned(), State::TpStateEnabled)]);
    // The policy of a file gets another name.
    lab.write("b.yaml", &text("other"));
    lab.follow();
    assert_eq!(lab.loaded(), ["other"]);
    // Two files change names.
    lab.write("c.yaml", &text("third"));
    lab.follow();
    lab.write("b.yaml", &text("third"));
    lab.write("c.yaml", &text("other"));
    lab.follow();
    lab.follow();
    assert_eq!(lab.loaded(), ["other", "third"]);
}

#[test]
fn what_a_client_did_to_a_files_policy_stays_done_until_the_file_changes() {
    let mut lab = Lab::new();
    lab.write("a.yaml", &text("a"));
    lab.files.load(&lab.store).unwrap();
    lab.store.delete(&key(STATIC, "a")).unwrap();
    lab.follow();
    assert!(lab.loaded().is_empty());
    lab.write("a.yaml", &changed("a"));
    lab.follow();
    assert_eq!(lab.loaded(), ["a"]);
    lab.store.disable(&key(STATIC, "a")).unwrap();
    lab.write("a.yaml", &text("a"));
    lab.follow();
    assert_eq!(states(&lab.store), [("a".to_owned(), State::TpStateDisabled)]);
}

#[test]
fn what_is_just_being_changed_is_waited_for() {
    let mut lab = Lab::new();
    lab.write("a.yaml", &text("a"));
    lab.files.load(&lab.store).unwrap();
    let (open, gate) = std::sync::mpsc::channel();
    lab.seen.lock().unwrap().gate = Some(gate);
    let store = Arc::clone(&lab.store);
    let changing = std::thread::spawn(move || {
        let text = Text::new(Origin::Grpc, "policy", changed("a"));
        store.put(STATIC, &text).map(drop)
    });
    while lab.seen.lock().unwrap().gate.is_some() {
        std::thread::yield_now();
    }
    fs::remove_file(lab.path("a.yaml")).unwrap();
    assert_eq!(lab.files.follow(&lab.store, false).unwrap(), Look::Again);
    open.send(()).unwrap();
    changing.join().unwrap().unwrap();
    lab.follow();
    assert!(lab.loaded().is_empty() && states(&lab.store).is_empty());
}

/// Waits for what the watcher does, and says how long it took.
fn within_a_second(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(1), "{what} not within a second");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn changes_are_noticed_however_they_are_made() {
    let mut lab = Lab::new();
    lab.files.load(&lab.store).unwrap();
    let Lab { dir, store, files, seen } = lab;
    let single = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let loaded = || -> Vec<String> {
        seen.lock().unwrap().loaded.iter().map(|key| key.name.clone()).collect()
    };
    let files = Files { file: Some(single.path().join("one")), ..files };
    let mut watcher = Watcher::start(Arc::clone(&store), files, None).unwrap();
    // The thread may not watch yet; it looks at everything when it does.
    fs::write(path("a.yaml"), text("a")).unwrap();
    within_a_second("a new file", || loaded() == ["a"]);
    std::thread::sleep(Duration::from_millis(200));
    // As editors do: written beside, and moved into place.
    fs::write(path(".b.tmp"), text("b")).unwrap();
    fs::rename(path(".b.tmp"), path("a.yaml")).unwrap();
    within_a_second("a moved file", || loaded() == ["b"]);
    fs::create_dir(path("sub")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(path("sub/c.yaml"), text("c")).unwrap();
    within_a_second("a file in a new directory", || loaded() == ["b", "c"]);
    fs::remove_dir_all(path("sub")).unwrap();
    within_a_second("a removed directory", || loaded() == ["b"]);
    fs::write(single.path().join("one"), text("one")).unwrap();
    within_a_second("the single file", || loaded() == ["b", "one"]);

    // As kubelet does with a ConfigMap: links through a link that is exchanged.
    let version = |name: &str, policy: &str| {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("d.yaml"), text(policy)).unwrap();
        symlink(name, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    };
    version("..1", "d");
    symlink("..data/d.yaml", path("d.yaml")).unwrap();
    within_a_second("a mounted ConfigMap", || loaded() == ["b", "d", "one"]);
    version("..2", "e");
    fs::remove_dir_all(path("..1")).unwrap();
    within_a_second("its new version", || loaded() == ["b", "e", "one"]);
    watcher.stop();
}

#[test]
fn a_directory_that_is_not_there_yet_is_waited_for() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("tetragon/policies");
    let (store, seen) = store();
    let files = PolicyFiles { dir: Some(dir.clone()), ..PolicyFiles::default() };
    let files = Files::new(&files);
    let _watcher = Watcher::start(Arc::new(store), files, None).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("a.yaml"), text("a")).unwrap();
    within_a_second("the directory", || seen.lock().unwrap().loaded.len() == 1);
}

#[test]
fn more_changes_than_the_kernel_tells_are_noticed() {
    let mut lab = Lab::new();
    lab.files.load(&lab.store).unwrap();
    let Lab { dir, store, files, seen } = lab;
    let _watcher = Watcher::start(store, files, None).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    // /proc/sys/fs/inotify/max_queued_events is 16384 where nobody changed it.
    for n in 0..20_000 {
        let path = dir.path().join(format!(".{n}"));
        fs::write(&path, "").unwrap();
        fs::remove_file(path).unwrap();
    }
    fs::write(dir.path().join("last.yaml"), text("last")).unwrap();
    within_a_second("the last file", || seen.lock().unwrap().loaded.len() == 1);
}
