use super::*;
use crate::envelope::Envelope;
use api::tetragon::{EventsLost, Process, ProcessExec};
use std::fs;
use std::path::Path;

const SECOND: Duration = Duration::from_secs(1);

fn config(path: impl Into<PathBuf>) -> ExportConfig {
    let rotation = RotationConfig { mode: 0o600, max_backups: 5, ..RotationConfig::default() };
    ExportConfig { file: Some(path.into()), rotation, ..ExportConfig::default() }
}

fn hub() -> Arc<Hub> {
    let envelope = Envelope { node_name: "node".into(), cluster_name: "cluster".into() };
    Hub::new(100_000, envelope)
}

/// An exec event whose process has pid `n` and about `size` bytes of arguments.
fn exec(n: u32, size: usize) -> Arc<GetEventsResponse> {
    let arguments = "a".repeat(size);
    let process = Process { pid: Some(n), arguments, ..Process::default() };
    let exec = ProcessExec { process: Some(process), ..ProcessExec::default() };
    Arc::new(Envelope::default().wrap(Event::ProcessExec(exec)))
}

/// The events of a file; every line has to be one.
fn read(path: &Path) -> Vec<GetEventsResponse> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn pids(events: &[GetEventsResponse]) -> Vec<u32> {
    events.iter().filter_map(|event| event.process()?.pid).collect()
}

fn losses(events: &[GetEventsResponse]) -> Vec<EventsLost> {
    let lost = |event: &GetEventsResponse| match &event.event {
        Some(Event::EventsLost(lost)) => Some(lost.clone()),
        _ => None,
    };
    events.iter().filter_map(lost).collect()
}

fn finish(hub: &Hub, exporter: &Exporter) {
    hub.close();
    assert!(exporter.finish(10 * SECOND));
}

fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + 10 * SECOND;
    while !condition() {
        assert!(Instant::now() < end, "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn writes_lines_at_once_with_mode_and_directories() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("var/log/tetragon.log");
    let hub = hub();
    let mut config = config(&path);
    config.rotation.mode = 0o666;
    let exporter = Exporter::start(&config, &hub).unwrap().unwrap();
    (0..3).for_each(|n| hub.publish(exec(n, 10)));
    until(|| exporter.counters().events.load(Ordering::Relaxed) == 3);
    assert_eq!(pids(&read(&path)), [0, 1, 2]);
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o666);
    assert_eq!(exporter.counters().bytes.load(Ordering::Relaxed), metadata.len());
    assert!(exporter.counters().last.load(Ordering::Relaxed) > 1_700_000_000);
    finish(&hub, &exporter);
}

#[test]
fn rotates_by_size_keeps_some_and_compresses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.log");
    let hub = hub();
    let mut config = config(&path);
    config.rotation.max_size_mb = 1;
    config.rotation.max_backups = 2;
    config.rotation.compress = true;
    let exporter = Exporter::start(&config, &hub).unwrap().unwrap();
    (0..5000).for_each(|n| hub.publish(exec(n, 1000)));
    until(|| exporter.counters().events.load(Ordering::Relaxed) == 5000);
    assert!(fs::metadata(&path).unwrap().len() <= 1 << 20);
    assert_eq!(pids(&read(&path)).last(), Some(&4999));
    let names = || {
        let entries = fs::read_dir(dir.path()).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    until(|| names().len() == 3 && names().iter().filter(|n| n.ends_with(".log.gz")).count() == 2);
    finish(&hub, &exporter);
}

#[test]
fn rotates_by_time_and_takes_changes_while_running() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let hub = hub();
    let exporter = Exporter::start(&config(&path), &hub).unwrap().unwrap();
    exporter.set_rotation(|rotation| rotation.interval = Duration::from_millis(50));
    assert_eq!(exporter.rotation().interval, Duration::from_millis(50));
    hub.publish(exec(1, 1));
    let files = || fs::read_dir(dir.path()).unwrap().count();
    until(|| files() == 2);
    // An empty file is not rotated.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((files(), fs::metadata(&path).unwrap().len()), (2, 0));
    finish(&hub, &exporter);
}

#[test]
fn goes_on_in_a_new_file_when_somebody_moves_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let hub = hub();
    let exporter = Exporter::start(&config(&path), &hub).unwrap().unwrap();
    hub.publish(exec(1, 1));
    until(|| path.exists() && !read(&path).is_empty());
    fs::rename(&path, dir.path().join("moved")).unwrap();
    std::thread::sleep(output::LOOK_INTERVAL + Duration::from_millis(10));
    hub.publish(exec(2, 1));
    finish(&hub, &exporter);
    assert_eq!(pids(&read(&path)), [2]);
}

#[test]
fn half_a_line_of_a_killed_agent_gets_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    fs::write(&path, "{\"half\":").unwrap();
    let hub = hub();
    let exporter = Exporter::start(&config(&path), &hub).unwrap().unwrap();
    hub.publish(exec(7, 1));
    finish(&hub, &exporter);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "{\"half\":"));
    assert!(lines[1].contains("\"pid\":7"), "{text}");
}

#[test]
fn a_full_disk_costs_events_that_are_counted_and_told() {
    // The device stands for a disk that is full and then is not: a link is moved from it to a file.
    let dir = tempfile::tempdir().unwrap();
    let (link, path) = (dir.path().join("t"), dir.path().join("real"));
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let hub = hub();
    let exporter = Exporter::start(&config(&link), &hub).unwrap().unwrap();
    (0..10).for_each(|n| hub.publish(exec(n, 1)));
    until(|| exporter.counters().lost.load(Ordering::Relaxed) == 10);
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    fs::write(&path, "").unwrap();
    // No further event is needed for the loss to be told.
    until(|| !read(&path).is_empty());
    hub.publish(exec(10, 1));
    finish(&hub, &exporter);
    let events = read(&path);
    let lost = losses(&events);
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].count, lost[0].ring.as_str()), (10, "export"));
    assert!(lost[0].cause.contains("No space left"), "{}", lost[0].cause);
    assert_eq!(
        (events[0].node_name.as_str(), events[0].cluster_name.as_str()),
        ("node", "cluster")
    );
    assert_eq!(pids(&events), [10]);
}

/// A file system of 1 MB; `None` where it cannot be mounted.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        let dir = tempfile::tempdir().unwrap();
        let flags = MountFlags::empty();
        mount("tmpfs", dir.path(), "tmpfs", flags, Some(c"size=1m")).ok()?;
        Some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn no_line_is_cut_when_the_disk_fills_up() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: cannot mount a tmpfs here");
        return;
    };
    let path = disk.0.path().join("t");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 500 << 10]).unwrap();
    let hub = hub();
    let exporter = Exporter::start(&config(&path), &hub).unwrap().unwrap();
    (0..2000).for_each(|n| hub.publish(exec(n, 1000)));
    let counted = || {
        let counters = exporter.counters();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&counters.events), count(&counters.lost))
    };
    until(|| counted().0 + counted().1 == 2000);
    let (written, lost) = counted();
    assert!(written > 0 && lost > 0, "{written} {lost}");
    assert_eq!(pids(&read(&path)).len() as u64, written);
    fs::remove_file(&ballast).unwrap();
    hub.publish(exec(2000, 1));
    finish(&hub, &exporter);
    let events = read(&path);
    assert_eq!(losses(&events).iter().map(|loss| loss.count).sum::<u64>(), lost);
    assert_eq!(pids(&events).len() as u64, written + 1);
}

#[test]
fn the_rate_limit_passes_so_many_and_tells_the_rest() {
    for (limit, wanted) in [(None, 10), (Some(4), 4)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let hub = hub();
        let config = ExportConfig { rate_limit: limit, ..config(&path) };
        let exporter = Exporter::start(&config, &hub).unwrap().unwrap();
        (0..10).for_each(|n| hub.publish(exec(n, 1)));
        hub.publish(Arc::new(hub.envelope().events_lost("base", "ring full", 3)));
        finish(&hub, &exporter);
        let events = read(&path);
        assert_eq!(pids(&events).len(), wanted, "{limit:?}");
        assert_eq!(losses(&events).len(), 1, "losses are not limited");
        let told = events.iter().find_map(|event| match &event.event {
            Some(Event::RateLimitInfo(info)) => Some(info.number_of_dropped_process_events),
            _ => None,
        });
        assert_eq!(told, limit.map(|_| 6));
    }
    let none = ExportConfig { rate_limit: Some(0), ..config("/nonexistent/dir/t") };
    assert!(Exporter::start(&none, &hub()).unwrap().is_none());
}

#[test]
fn what_cannot_be_encoded_is_counted_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let hub = hub();
    let exporter = Exporter::start(&config(&path), &hub).unwrap().unwrap();
    let mut bad = (*exec(1, 1)).clone();
    bad.time = Some(api::google::Timestamp { seconds: i64::MAX, nanos: 0 });
    hub.publish(Arc::new(bad));
    hub.publish(exec(2, 1));
    finish(&hub, &exporter);
    let events = read(&path);
    assert_eq!(pids(&events), [2]);
    assert_eq!(losses(&events)[0].count, 1);
}

#[test]
fn filters_choose_events_and_fields() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.json");
    let hub = hub();
    let config = ExportConfig {
        allow_list: "{\"pid\":[1,2]}\n{\"pid\":[3]}".to_owned(),
        deny_list: "{\"cel_expression\":[\"process_exec.process.pid == 2u\"]}".to_owned(),
        field_filters: "{\"fields\":\"process.arguments\",\"action\":\"EXCLUDE\"}".to_owned(),
        // What is filtered out does not count.
        rate_limit: Some(2),
        ..config(&path)
    };
    let exporter = Exporter::start(&config, &hub).unwrap().unwrap();
    (0..10).for_each(|n| hub.publish(exec(n, 10)));
    finish(&hub, &exporter);
    let events = read(&path);
    assert_eq!(pids(&events), [1, 3]);
    assert!(events.iter().all(|event| event.process().unwrap().arguments.is_empty()));
    assert!(events.iter().all(|event| event.node_name.is_empty() || event.time.is_some()));
    assert_eq!(exporter.counters().rate_limited.load(Ordering::Relaxed), 0);
}
