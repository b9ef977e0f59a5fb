//! Commands against an agent.

#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

mod fake;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::tetragon::get_debug_request::Arg;
use api::tetragon::{DumpProcessCacheReqArgs, EventType, FieldFilterAction, LogLevel};
use fake::{Fake, State, Then, exec, outcome, run, tetra};
use tokio_rustls::rustls;

fn ok(text: &str) -> (Option<i32>, String, String) {
    (Some(0), text.into(), String::new())
}

#[test]
fn status_and_version() {
    let fake = Fake::new(State { healthy: true, ..State::default() });
    assert_eq!(run(fake.tetra(&["status"])), ok("Health Status: running\n"));
    fake.agent.0.lock().unwrap().healthy = false;
    assert_eq!(run(fake.tetra(&["status"])), ok("no status available\n"));
    let own = format!("CLI version: {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(tetra(&["version"])), ok(&own));
    let both = format!("{own}Server version: v9.8.7\n");
    assert_eq!(run(fake.tetra(&["version", "-s"])), ok(&both));
    assert!(run(tetra(&["version", "--build"])).1.contains("Compiler: rustc "));
}

#[test]
fn info_is_one_object() {
    let fake = Fake::new(State::default());
    let (code, text, _) = run(fake.tetra(&["info"]));
    assert_eq!(code, Some(0));
    let info: serde_json::Value = serde_json::from_str(&text).unwrap();
    let places = ["Name", "Version", "Probes", "Conf", "Build"].map(|key| text.find(key).unwrap());
    assert!(places.is_sorted(), "{text}");
    assert_eq!(info["Name"], "tetragon");
    assert_eq!(info["Version"], "v9.8.7");
    assert_eq!(info["Probes"], serde_json::json!({"fentry": true, "lsm": null}));
    assert_eq!(info["Conf"], serde_json::json!({"export-file-max-size-mb": 10, "debug": false}));
}

#[test]
fn log_level() {
    let fake = Fake::new(State { level: LogLevel::Info as i32, ..State::default() });
    assert_eq!(run(fake.tetra(&["loglevel", "get"])), ok("Current log level: LOG_LEVEL_INFO\n"));
    let set = run(fake.tetra(&["log", "set", "warning"]));
    assert_eq!(set, ok("Log level set to: LOG_LEVEL_WARN\n"));
    assert_eq!(fake.agent.0.lock().unwrap().level, LogLevel::Warn as i32);
    let (code, _, error) = run(fake.tetra(&["loglevel", "set", "loud"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("loud") && error.contains("warning, error"), "{error}");
}

#[test]
fn process_table() {
    let fake = Fake::new(State::default());
    let line = "{\"process\":{\"pid\":1},\"color\":\"inUse\",\"refcnt\":2,\
                \"refcnt_ops\":{\"process++\":1}}\n";
    assert_eq!(run(fake.tetra(&["dump", "processcache", "--skip-zero-refcnt"])), ok(line));
    assert_eq!(run(fake.tetra(&["debug", "dump", "processcache"])), ok(line));
    let requests = &fake.agent.0.lock().unwrap().debug_requests;
    let asked: Vec<_> = requests.iter().map(|request| request.arg).collect();
    let arg = |skip_zero_refcnt| {
        Some(Arg::Dump(DumpProcessCacheReqArgs {
            skip_zero_refcnt,
            exclude_execve_map_processes: false,
        }))
    };
    assert_eq!(asked, [arg(true), arg(false)]);
}

#[test]
fn events_until_the_agent_goes_away() {
    let fake =
        Fake::new(State { events: vec![exec("/bin/a"), exec("/bin/b")], ..State::default() });
    let (code, text, error) = run(fake.tetra(&["getevents", "-o", "compact"]));
    assert_eq!(text, "🚀 process node /bin/a \n🚀 process node /bin/b \n");
    assert_eq!(code, Some(1));
    assert!(error.starts_with("Error: the agent at 127.0.0.1:"), "{error}");
    assert!(error.contains("went away") && error.contains("--reconnect"), "{error}");

    let (_, text, _) = run(fake.tetra(&["getevents"]));
    let line = "{\"process_exec\":{\"process\":{\"pid\":7,\"binary\":\"/bin/a\"}},\
                \"node_name\":\"node\"}";
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(parse(text.lines().next().unwrap()), parse(line));
}

#[test]
fn an_event_that_is_too_long_is_told() {
    let fake = Fake::new(State { events: vec![exec(&"x".repeat(2000))], ..State::default() });
    let (code, text, error) = run(fake.tetra(&["getevents", "--max-recv-size", "1000"]));
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(error.contains("longer than --max-recv-size"), "{error}");
}

#[test]
fn flags_reach_the_agent() {
    let fake = Fake::new(State::default());
    run(fake.tetra(&[
        "getevents",
        "-e",
        "PROCESS_EXEC,PROCESS_EXIT",
        "--process",
        "curl",
        "--host",
        "-n",
        "a,b",
        "-F",
        "parent",
        "--namespaces",
        "c",
        "--host=true",
    ]));
    run(fake.tetra(&["getevents", "--host=false"]));
    let requests = &fake.agent.0.lock().unwrap().requests;
    assert_eq!(requests.len(), 2);
    let filter = &requests[0].allow_list[0];
    assert_eq!(filter.event_set, [EventType::ProcessExec as i32, EventType::ProcessExit as i32]);
    assert_eq!(filter.binary_regex, ["curl"]);
    assert_eq!(filter.namespace, ["a", "b", "c", ""]);
    assert_eq!(requests[0].field_filters[0].action(), FieldFilterAction::Exclude);
    assert_eq!(requests[1], Default::default());
}

#[test]
fn a_waiting_stream_shows_what_came_and_ends_on_interrupt() {
    let state = State { events: vec![exec("/bin/a")], then: Some(Then::Stay), ..State::default() };
    let fake = Fake::new(state);
    let mut child = fake.tetra(&["getevents", "-o", "compact"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "🚀 process node /bin/a \n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(outcome(child.wait_with_output().unwrap()), (Some(0), "".into(), "".into()));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let state =
        State { events: vec![exec("/bin/a")], then: Some(Then::Repeat), ..State::default() };
    let fake = Fake::new(state);
    let mut child = fake.tetra(&["getevents"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("/bin/a"));
    assert_eq!(outcome(child.wait_with_output().unwrap()), (Some(0), "".into(), "".into()));
}

#[test]
fn reconnects_when_asked() {
    let fake = Fake::new(State { events: vec![exec("/bin/a")], ..State::default() });
    let mut child = fake
        .tetra(&["getevents", "-o", "compact", "--reconnect", "--reconnect-wait", "10ms"])
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(stdout.lines().take(3).count(), 3);
    let (code, _, error) = outcome(child.wait_with_output().unwrap());
    assert_eq!(code, Some(0));
    assert!(error.contains("getevents: err:") && error.contains("retrying in 10ms"), "{error}");
    assert!(fake.agent.0.lock().unwrap().requests.len() >= 3);
}

#[test]
fn no_agent() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, text, error) = run(tetra(&["status", "--server-address", &address, "--retries=0"]));
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(error.starts_with(&format!("Error: no agent listens at {address}")), "{error}");
    assert!(error.contains("`tetragon` as root"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}/x.sock", dir.path().display());
    let (code, _, error) = run(tetra(&["status", "--server-address", &socket, "--retries", "-1"]));
    assert_eq!(code, Some(1));
    assert!(error.contains(&socket) && error.contains("no such socket"), "{error}");
}

#[test]
fn retries_after_a_second() {
    let fake = Fake::new(State { healthy: true, refuse: 1, ..State::default() });
    let start = Instant::now();
    assert_eq!(run(fake.tetra(&["status"])), ok("Health Status: running\n"));
    assert!(start.elapsed() >= Duration::from_secs(1));
    fake.agent.0.lock().unwrap().refuse = 1;
    let (code, _, error) = run(fake.tetra(&["status", "--retries=0"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("not ready"), "{error}");
    fake.agent.0.lock().unwrap().refuse = 1;
    let (code, _, error) = run(fake.tetra(&["status", "--timeout", "200ms"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("no answer") && error.contains("200ms"), "{error}");
}

#[test]
fn sockets() {
    let fake = Fake::new(State { healthy: true, ..State::default() });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tetragon.sock");
    fake.listen(&path);
    let address = format!("unix://{}", path.display());
    assert_eq!(
        run(tetra(&["status", "--server-address", &address])),
        ok("Health Status: running\n")
    );
    if !rustix::process::geteuid().is_root() {
        return;
    }
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    // A copy, for the build directory may be closed to others.
    let copy = dir.path().join("tetra");
    std::fs::copy(env!("CARGO_BIN_EXE_tetra"), &copy).unwrap();
    let mut command = std::process::Command::new(&copy);
    command.args(["status", "--server-address", &address]).uid(65534).gid(65534);
    let (code, _, error) = outcome(command.current_dir("/").output().unwrap());
    assert_eq!(code, Some(1));
    assert!(error.starts_with("Error: permission denied at unix:///"), "{error}");
    assert!(error.contains("root"), "{error}");
}

/// Ends TLS in front of the agent; gives its address and the file of its certificate.
fn tls_front(fake: &Fake, dir: &std::path::Path) -> (String, String) {
    let key = rcgen::generate_simple_self_signed(vec!["agent.test".into()]).unwrap();
    let file = dir.join("ca.pem");
    std::fs::write(&file, key.cert.pem()).unwrap();
    let private =
        rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let behind = fake.address;
    let listener = fake.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    fake.runtime.spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut inside = tokio::net::TcpStream::connect(behind).await?;
                let mut outside = acceptor.accept(tcp).await?;
                tokio::io::copy_bidirectional(&mut inside, &mut outside).await
            });
        }
    });
    (address, file.display().to_string())
}

#[test]
fn tls() {
    let fake = Fake::new(State { healthy: true, ..State::default() });
    let dir = tempfile::tempdir().unwrap();
    let (address, ca) = tls_front(&fake, dir.path());
    let status = |flags: &[&str]| {
        let mut command = tetra(&["status", "--retries=0", "--server-address", &address]);
        command.args(flags);
        run(command)
    };
    let running = ok("Health Status: running\n");
    let named = ["--tls-ca-cert-files", ca.as_str(), "--tls-server-name", "agent.test"];
    assert_eq!(status(&named), running);
    assert_eq!(status(&["--tls-skip-verify"]), running);
    let (code, _, error) = status(&named[..2]);
    assert_eq!(code, Some(1));
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(status(&["--timeout=2s"]).0, Some(1), "plain text to a TLS port");

    for (flags, part) in [
        (vec!["--tls-skip-verify", "--tls-ca-cert-files", &ca], "contradict"),
        (vec!["--tls-cert-file", &ca], "only go together"),
        (vec!["--tls-ca-cert-files", "/nonexistent.pem"], "/nonexistent.pem"),
        (vec!["--tls-skip-verify", "--server-address=unix:///x"], "unix socket"),
    ] {
        let mut command = tetra(&["status"]);
        command.args(&flags);
        if !flags.iter().any(|flag| flag.starts_with("--server")) {
            command.args(["--server-address", &address]);
        }
        let (code, _, error) = run(command);
        assert_eq!(code, Some(1));
        assert!(error.contains(part), "{flags:?}: {error}");
    }
}
