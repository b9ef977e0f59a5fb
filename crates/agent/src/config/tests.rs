use super::*;
use std::fs;
use tempfile::TempDir;

/// The standard places, below a directory of the test.
struct Root {
    dir: TempDir,
}

impl Root {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn places(&self) -> Vec<Place> {
        let below = |path: &PathBuf| {
            let relative = path.strip_prefix("/").unwrap_or(path);
            self.dir.path().join(relative)
        };
        let moved = |place: &Place| match place {
            Place::DropIns(path) => Place::DropIns(below(path)),
            Place::Yaml(path) => Place::Yaml(below(path)),
        };
        Place::standard().iter().map(moved).collect()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn request(&self, arguments: &[&str], env: &[(&str, &str)]) -> Result<Request, ConfigErrors> {
        let arguments = arguments.iter().map(OsString::from);
        let env = env.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
        load(arguments, env, &self.places())
    }

    fn load(&self, arguments: &[&str], env: &[(&str, &str)]) -> Loaded {
        match self.request(arguments, env).unwrap() {
            Request::Run(loaded) => *loaded,
            other => panic!("{other:?}"),
        }
    }

    fn errors(&self, arguments: &[&str], env: &[(&str, &str)]) -> String {
        self.request(arguments, env).unwrap_err().to_string()
    }
}

const USR: &str = "usr/lib/tetragon/tetragon.conf.d/cluster-name";
const LOCAL: &str = "usr/local/lib/tetragon/tetragon.conf.d/cluster-name";
const HERE: &str = "tetragon.yaml";
const ETC: &str = "etc/tetragon/tetragon.yaml";
const ETC_D: &str = "etc/tetragon/tetragon.conf.d/cluster-name";

#[test]
fn later_sources_win() {
    let root = Root::new();
    let name = |root: &Root| root.load(&[], &[]).config.cluster_name;
    assert_eq!(name(&root), "");
    for (path, content, wanted) in [
        (USR, "usr\n", "usr"),
        (LOCAL, "local", "local"),
        (HERE, "cluster-name: here\n", "here"),
        (ETC, "cluster-name: etc\n", "etc"),
        (ETC_D, "etc.d\n", "etc.d"),
    ] {
        root.write(path, content);
        assert_eq!(name(&root), wanted, "{path}");
    }
    root.write("more/cluster-name", "more");
    let more = format!("--config-dir={}", root.dir.path().join("more").display());
    assert_eq!(root.load(&[&more], &[]).config.cluster_name, "more");
    let env = [("TETRAGON_CLUSTER_NAME", "env")];
    assert_eq!(root.load(&[&more], &env).config.cluster_name, "env");
    let loaded = root.load(&[&more, "--cluster-name", "line"], &env);
    assert_eq!(loaded.config.cluster_name, "line");
    let (_, value, source) =
        loaded.settings.iter().find(|(name, ..)| *name == "cluster-name").unwrap();
    assert_eq!((value, source), (&Value::Str("line".into()), &Source::CommandLine));
    // An empty variable is as good as none.
    assert_eq!(root.load(&[], &[("TETRAGON_CLUSTER_NAME", "")]).config.cluster_name, "etc.d");
}

#[test]
fn an_empty_drop_in_resets_to_zero() {
    let root = Root::new();
    root.write(ETC, "export-filename: /tmp/x\nserver-address: :1\nexport-file-max-backups: 3\n");
    for flag in ["export-filename", "server-address", "export-file-max-backups"] {
        root.write(&format!("etc/tetragon/tetragon.conf.d/{flag}"), "\n");
    }
    let config = root.load(&[], &[]).config;
    assert_eq!(config.export.file, None);
    assert_eq!(config.server.listen, Listen::None);
    assert_eq!(config.export.rotation.max_backups, 0);
}

#[test]
fn config_dir_may_come_from_a_file_and_must_exist() {
    let root = Root::new();
    root.write("more/cluster-name", "more");
    let more = root.dir.path().join("more");
    root.write(HERE, &format!("config-dir: {}\n", more.display()));
    assert_eq!(root.load(&[], &[]).config.cluster_name, "more");
    let error = root.errors(&["--config-dir", "/nonexistent/dir"], &[]);
    assert!(error.starts_with("/nonexistent/dir: "), "{error}");
}

#[test]
fn what_is_hidden_or_a_directory_is_no_drop_in() {
    let root = Root::new();
    root.write("etc/tetragon/tetragon.conf.d/..data/cluster-name", "no");
    root.write("etc/tetragon/tetragon.conf.d/.swp", "no");
    root.write("etc/tetragon/tetragon.conf.d/cluster-name", "yes");
    let loaded = root.load(&[], &[]);
    assert_eq!(loaded.config.cluster_name, "yes");
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = Root::new().load(&[], &[("NODE_NAME", "n1")]).config;
    assert_eq!(config.node_name, "n1");
    assert_eq!(config.procfs, Path::new("/proc/"));
    assert_eq!(config.event_queue_size, 10_000);
    assert_eq!(config.process.cache_size, 65536);
    assert_eq!(config.process.gc_interval, Duration::from_secs(30));
    assert_eq!(config.process.exec_data_max_size, 256 << 10);
    assert_eq!((config.process.retries, config.process.retry_delay), (15, Duration::from_secs(2)));
    assert_eq!(config.server.listen.to_string(), "localhost:54321");
    assert_eq!(config.health.address.unwrap().to_string(), ":6789");
    assert_eq!(config.export.rate_limit, None);
    assert_eq!(config.export.rotation.mode, 0o600);
    assert_eq!(config.ring.queue_size, 65535);
}

#[test]
fn node_name_prefers_the_first_variable() {
    let env = [("NODE_NAME", "n1"), ("HUBBLE_NODE_NAME", "n0")];
    assert_eq!(Root::new().load(&[], &env).config.node_name, "n0");
    assert!(!Root::new().load(&[], &[]).config.node_name.is_empty());
}

#[test]
fn everything_wrong_is_said_at_once_with_its_source() {
    let root = Root::new();
    root.write(ETC, "# head\nevent-queue-size: lots\n");
    root.write("etc/tetragon/tetragon.conf.d/log-level", "loud\n");
    let error = root.errors(
        &["--process-cache-gc-interval=10"],
        &[("TETRAGON_ENABLE_PROCESS_CRED", "maybe"), ("TETRAGON_RB_SIZE", "1x")],
    );
    let etc = root.dir.path().join(ETC);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 5, "{error}");
    for wanted in [
        format!(
            "--event-queue-size has \"lots\"; a whole number that is not negative is wanted \
             (from {}:2)",
            etc.display()
        ),
        "--enable-process-cred has \"maybe\"; true or false is wanted (from environment variable \
         TETRAGON_ENABLE_PROCESS_CRED)"
            .to_owned(),
    ] {
        assert!(lines.contains(&wanted.as_str()), "{wanted}\nin\n{error}");
    }
    assert!(error.contains("tetragon.conf.d/log-level)") && error.contains("trace, debug"));
    assert!(error.contains("10\"; a duration with unit") && error.contains("(from command line)"));
    assert!(error.contains("--rb-size has \"1x\""));
}

#[test]
fn unknown_flags_are_errors_and_unknown_settings_warnings() {
    let root = Root::new();
    let error = root.errors(&["--export-filenam=x", "--zzz", "value", "-x", "stray"], &[]);
    let wanted = "unknown flag --export-filenam; is --export-filename meant?\n\
                  unknown flag --zzz; see --help\n\
                  unknown flag -x; see --help\n\
                  unexpected argument \"stray\"; settings are --flag=value";
    assert_eq!(error, wanted);
    root.write(ETC, "\nlog-levle: debug\n");
    let loaded = root.load(&[], &[("TETRAGON_LOG_LEVLE", "debug"), ("TETRAGON_SERVICE_HOST", "x")]);
    let path = root.dir.path().join(ETC);
    let wanted = [
        format!(
            "{}:2: unknown setting \"log-levle\" is ignored (is log-level meant?)",
            path.display()
        ),
        "environment variable TETRAGON_LOG_LEVLE is ignored (is TETRAGON_LOG_LEVEL meant?)".into(),
    ];
    assert_eq!(loaded.warnings, wanted);
}

#[test]
fn a_flag_without_effect_warns_when_it_is_set_to_something_else() {
    let root = Root::new();
    assert_eq!(root.load(&["--data-cache-size=1024"], &[]).warnings, Vec::<String>::new());
    let warnings = root.load(&["--gops-address", "localhost:8118"], &[]).warnings;
    assert_eq!(warnings, ["--gops-address (from command line) has no effect in this version"]);
}

#[test]
fn combinations_that_make_no_sense_are_refused() {
    for (arguments, wanted) in [
        (&["--rb-size=1M", "--rb-size-total=1M"][..], "--rb-size and --rb-size-total"),
        (&["--execve-map-entries=9", "--execve-map-size=1M"], "exclude each other"),
        (&["--force-small-progs", "--force-large-progs"], "exclude each other"),
        (&["--enable-ancestors=base", "--disable-process-cache"], "needs the process cache"),
        (&["--server-tls-cert-file=c"], "need each other"),
        (&["--server-tls-key-file=k"], "need each other"),
        (&["--server-tls-client-ca-files=a"], "needs --server-tls-require-client-cert"),
        (&["--server-tls-require-client-cert"], "needs --server-tls-client-ca-files"),
        (
            &["--server-tls-cert-file=c", "--server-tls-key-file=k", "--server-address="],
            "needs a TCP address",
        ),
        (
            &["--server-tls-cert-file=c", "--server-tls-key-file=k", "--server-address=unix:///s"],
            "needs a TCP address",
        ),
        (&["--export-filename=/tmp"], "is a directory"),
        (&["--process-cache-gc-interval=0"], "not positive"),
        (&["--export-file-rotation-interval=-1s"], "negative"),
        (&["--event-queue-size=0"], "at least 1"),
        (&["--username-metadata=ldap"], "disabled or unix"),
        (&["--enable-ancestors=base,files"], "has \"files\""),
        (&["--health-server-address=unix:///x"], "host:port is wanted"),
        (&["--cluster-name"], "needs a value"),
        (&["--tracing-policy-dir=policies"], "an absolute path is wanted"),
        (&["--policy-rego-dir=rules"], "an absolute path is wanted"),
        (&["--node-labels=a=b,c"], "has \"c\"; KEY=VALUE is wanted"),
    ] {
        let error = Root::new().errors(arguments, &[]);
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
}

#[test]
fn values_may_be_replaced_with_a_warning() {
    let root = Root::new();
    let loaded = root.load(&["--export-file-perm=9"], &[]);
    assert_eq!(loaded.config.export.rotation.mode, 0o600);
    let warning = "--export-file-perm has \"9\", which is no octal mode; 600 is used \
                   (from command line)";
    assert_eq!(loaded.warnings, [warning]);
    assert_eq!(root.load(&["--export-file-perm=0644"], &[]).config.export.rotation.mode, 0o644);
    let loaded = root.load(&["--enable-ancestors=kprobe"], &[]);
    assert!(!loaded.config.process.enable_ancestors);
    assert!(loaded.warnings[0].contains("without base"), "{:?}", loaded.warnings);
}

#[test]
fn policies_and_their_ancestors() {
    let root = Root::new();
    let config = root.load(&[], &[]).config;
    assert_eq!(config.policies.file, None);
    assert_eq!(config.policies.dir.unwrap().to_str(), Some("/etc/tetragon/tetragon.tp.d"));
    let flags = ["--tracing-policy=p.yaml", "--tracing-policy-dir=", "--enable-ancestors=base,lsm"];
    let loaded = root.load(&flags, &[]);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.policies.file.unwrap().to_str(), Some("p.yaml"));
    assert_eq!(config.policies.dir, None);
    let of = config.process.ancestors_of_hits;
    assert!(config.process.enable_ancestors && of.lsm && !of.kprobe && !of.tracepoint);
    let loaded = root.load(&["--enable-ancestors=base,usdt"], &[]);
    let of = loaded.config.process.ancestors_of_hits;
    assert!(loaded.warnings.is_empty() && of.usdt && !of.uprobe, "{:?}", loaded.warnings);
}

#[test]
fn booleans_lists_and_levels_on_the_command_line() {
    let root = Root::new();
    let config = root
        .load(
            &[
                "--enable-process-ns",
                "--filter-environment-variables=A,B",
                "--filter-environment-variables",
                "C",
                "-d",
                "--log-level=warning",
            ],
            &[],
        )
        .config;
    assert!(config.process.enable_ns);
    assert_eq!(config.process.filter_environment, ["A", "B", "C"]);
    assert_eq!(config.log.level, crate::logging::Level::Debug);
    let config = root.load(&["--log-level=warning", "--enable-process-ns=false"], &[]).config;
    assert_eq!(config.log.level, crate::logging::Level::Warn);
    assert!(!config.process.enable_ns);
    assert_eq!(root.load(&["--export-rate-limit=0"], &[]).config.export.rate_limit, Some(0));
}

#[test]
fn help_and_docs_name_every_visible_flag_once() {
    let root = Root::new();
    let printed = |argument| match root.request(&[argument], &[]).unwrap() {
        Request::Print(text) => text,
        other => panic!("{other:?}"),
    };
    let (help, docs) = (printed("--help"), printed("--generate-docs"));
    for flag in table::FLAGS {
        let lines = |text: &str, needle: &str| text.lines().filter(|l| l.contains(needle)).count();
        let in_help = help
            .lines()
            .filter(|line| line.split_whitespace().any(|word| word == format!("--{}", flag.name)))
            .count();
        assert_eq!(in_help, usize::from(!flag.hidden), "{}", flag.name);
        let exact = docs.lines().filter(|l| *l == format!("    - name: {}", flag.name)).count();
        assert_eq!(exact, usize::from(!flag.hidden), "{}", flag.name);
        assert_eq!(lines(&docs, "default_value:"), lines(&docs, "usage: '"));
    }
    assert!(help.contains("--cluster-name string"));
    assert!(help.contains("(default \"localhost:54321\")"));
    assert!(printed("--version").starts_with("tetragon v"));
}

#[test]
fn names_are_unique_and_defaults_are_accepted() {
    let mut names: Vec<_> = table::FLAGS.iter().map(|flag| flag.name).collect();
    assert_eq!(names.len(), 93 + 2 + 6, "93 visible, 2 hidden, 6 of our own");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 101);
    assert_eq!(Root::new().load(&[], &[]).warnings, Vec::<String>::new());
}

#[test]
fn broken_yaml_names_file_and_line() {
    let root = Root::new();
    root.write(ETC, "log-level: debug\nserver-address: [a\n");
    let error = root.errors(&[], &[]);
    assert!(error.starts_with(&format!("{}:", root.dir.path().join(ETC).display())), "{error}");
    assert!(error.contains("is no YAML"), "{error}");
}
