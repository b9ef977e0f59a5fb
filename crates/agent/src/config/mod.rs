//! Configuration: from flags, files and environment to one typed [`Config`].
//!
//! [`table::FLAGS`] declares every flag once. [`load`] reads all sources in their order of
//! precedence, lowest first: defaults, the [`Place`]s, the directory of `--config-dir`, the
//! environment, the command line. Everything wrong is reported at once, each with its source; what
//! can be lived with is a warning.

mod command_line;
mod duration;
mod flag;
mod groups;
pub mod help;
mod listen;
mod size;
mod source;
pub mod table;
mod yaml;

pub use duration::{format as format_duration, parse as parse_duration};
pub use flag::{Checked, Complaint, Effect, Flag, Kind, Raw, Value};
pub use listen::{Listen, TcpAddress};
pub use source::{Place, Source, variable};

use crate::logging::LogConfig;
use crate::metrics::LabelFilter;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything the agent can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// BTF file to use instead of the kernel's own.
    pub btf: Option<PathBuf>,
    /// Directory in which BTF is looked for where the kernel has none.
    pub bpf_lib: PathBuf,
    /// `cluster_name` of every event.
    pub cluster_name: String,
    /// `node_name` of every event and first part of every exec id: `HUBBLE_NODE_NAME`, else
    /// `NODE_NAME`, else the host's name.
    pub node_name: String,
    /// Where the host's procfs is mounted.
    pub procfs: PathBuf,
    /// The log.
    pub log: LogConfig,
    /// What processes are told with.
    pub process: ProcessConfig,
    /// Tell addresses in stacks.
    pub expose_stack_addresses: bool,
    /// The kernel's rings.
    pub ring: RingConfig,
    /// Events that wait for one listener before it loses some; at least 1.
    pub event_queue_size: usize,
    /// The gRPC server.
    pub server: ServerConfig,
    /// The gRPC health server.
    pub health: HealthConfig,
    /// The metrics server.
    pub metrics: MetricsConfig,
    /// JSON export.
    pub export: ExportConfig,
    /// Policies to load at start.
    pub policies: PolicyFiles,
    /// What stays in force when the agent ends.
    pub pins: PinConfig,
    /// What policies may ask of the network.
    pub requests: RequestConfig,
    /// The cluster.
    pub kubernetes: KubernetesConfig,
}

/// The cluster that this node belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// Whether the API server is asked.
    pub enabled: bool,
    /// How to reach it; `None`: as a pod's service account says.
    pub kubeconfig: Option<PathBuf>,
    /// Containers of deleted pods that are remembered.
    pub deleted_pods: usize,
    /// Whether events carry the annotations of pods.
    pub annotations: bool,
    /// Whether the cluster's policies are put in force.
    pub policies: bool,
}

/// What policies may ask of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestConfig {
    /// Whether they may.
    pub enabled: bool,
    /// The server that names are looked up at.
    pub dns_server: SocketAddr,
}

impl Default for RequestConfig {
    fn default() -> Self {
        Self { enabled: false, dns_server: SocketAddr::from(([1, 1, 1, 1], 53)) }
    }
}

/// What stays in force when the agent ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinConfig {
    /// Whether policies do.
    pub keep: bool,
    /// Name of the directory in the BPF file system where programs are pinned.
    pub dir: String,
}

/// Where the policies of the start are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// One file.
    pub file: Option<PathBuf>,
    /// An absolute directory of files.
    pub dir: Option<PathBuf>,
    /// Whether policies of clients are stored, and loaded at the next start.
    pub persist: bool,
    /// Where they are stored.
    pub persist_dir: PathBuf,
    /// Load policies also where their enforcing actions cannot all be carried out.
    pub allow_degraded: bool,
    /// An absolute directory of rules that admit policies and make them.
    pub rego_dir: Option<PathBuf>,
    /// Labels of this node; `None` when nothing is said of them.
    pub node_labels: Option<BTreeMap<String, String>>,
    /// Never hook many functions by one link of kprobe.multi.
    pub disable_kprobe_multi: bool,
}

/// What processes are told with, and how they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Processes that are kept at most; at least 1.
    pub cache_size: usize,
    /// Time between two sweeps of processes that nothing refers to.
    pub gc_interval: Duration,
    /// Keep no processes.
    pub disable_cache: bool,
    /// Add ancestors to exec and exit events.
    pub enable_ancestors: bool,
    /// Add them to events of policies too.
    pub ancestors_of_hits: AncestorsOfHits,
    /// Add credentials and capabilities.
    pub enable_cred: bool,
    /// Add namespaces.
    pub enable_ns: bool,
    /// Add environment variables to exec events.
    pub enable_environment: bool,
    /// Names of the variables to keep; empty keeps all.
    pub filter_environment: Vec<String>,
    /// Where user names come from.
    pub username_metadata: UsernameMetadata,
    /// JSON filters for what to hide in arguments and environment; they can be parsed.
    pub redaction_filters: String,
    /// Bytes of arguments, and as many of environment, that are captured of one exec.
    pub exec_data_max_size: u64,
    /// How often an event waits for what is not known yet.
    pub retries: u64,
    /// Time between two such attempts.
    pub retry_delay: Duration,
}

/// Which events of policies carry ancestors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AncestorsOfHits {
    /// `process_kprobe`.
    pub kprobe: bool,
    /// `process_tracepoint`.
    pub tracepoint: bool,
    /// `process_lsm`.
    pub lsm: bool,
    /// `process_uprobe`.
    pub uprobe: bool,
    /// `process_usdt`.
    pub usdt: bool,
}

/// Where user names come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsernameMetadata {
    /// There are none.
    #[default]
    Disabled,
    /// The host's user database.
    Unix,
}

/// Sizes of the rings between kernel and agent. At most one of the two ring sizes is not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingConfig {
    /// Bytes per CPU; 0 for the default.
    pub size_per_cpu: u64,
    /// Bytes in all; 0 for the default.
    pub size_total: u64,
    /// Records between the ring's reader and their handler.
    pub queue_size: u64,
}

/// The gRPC server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens. A TCP address adds the unix socket of the run directory.
    pub listen: Listen,
    /// Certificate (PEM); with it the TCP address speaks TLS only. Set together with the key.
    pub tls_cert_file: Option<PathBuf>,
    /// Key (PEM) of the certificate.
    pub tls_key_file: Option<PathBuf>,
    /// Authorities (PEM) of client certificates; not empty when these are required.
    pub tls_client_ca_files: Vec<PathBuf>,
    /// Whether clients need a certificate.
    pub tls_require_client_cert: bool,
    /// Whether EnableTracingPolicy and DisableTracingPolicy are answered.
    pub deprecated_calls: bool,
}

/// The gRPC health server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthConfig {
    /// Where it listens; `None` for nowhere.
    pub address: Option<TcpAddress>,
    /// Time between two checks.
    pub interval: Duration,
}

/// The metrics server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where it listens; `None` for nowhere.
    pub address: Option<TcpAddress>,
    /// Whether events are counted by process and policy.
    pub events: bool,
    /// By which labels of processes.
    pub labels: LabelFilter,
}

/// JSON export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportConfig {
    /// File that events go to; `-` or `/dev/stdout` for standard output; `None` for no export.
    pub file: Option<PathBuf>,
    /// Events per minute; `None` for all, 0 for no export.
    pub rate_limit: Option<u64>,
    /// How the file is rotated.
    pub rotation: RotationConfig,
    /// `Filter`s in JSON: only events that pass one are exported; all, when there is none.
    pub allow_list: String,
    /// `Filter`s in JSON: events that pass one are not exported.
    pub deny_list: String,
    /// `FieldFilter`s in JSON.
    pub field_filters: String,
    /// Whether the lists may follow processes by `pid_set`.
    pub pid_set: bool,
}

/// How the export file is rotated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationConfig {
    /// Megabytes (2^20) at which the file is rotated; 0 stands for 100.
    pub max_size_mb: u64,
    /// Rotated files that are kept; 0 keeps all.
    pub max_backups: u64,
    /// Whether rotated files are compressed.
    pub compress: bool,
    /// Mode of new files.
    pub mode: u32,
    /// Time after which the file is rotated whatever its size; 0 for never.
    pub interval: Duration,
}

/// Flags with their values and where these were found, in the order of [`table::FLAGS`].
pub type Settings = Vec<(&'static str, Value, Source)>;

/// A configuration that may be run with, and what to tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// All flags.
    pub settings: Settings,
    /// What was ignored or replaced; to be logged.
    pub warnings: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Run the agent.
    Run(Box<Loaded>),
    /// Print this text, and exit.
    Print(String),
}

/// What is wrong with one source.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory is there, or was asked for, but cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A source does not read as what it should be.
    #[error("{origin}: {problem}")]
    Malformed {
        /// Which.
        origin: Source,
        /// What is wrong.
        problem: String,
    },
    /// The command line.
    #[error("{0}")]
    CommandLine(String),
    /// A flag's value.
    #[error("--{flag} {problem} (from {origin})")]
    Value {
        /// Which flag.
        flag: &'static str,
        /// Where the value was found.
        origin: Source,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Flags that do not go together.
    #[error("{0}")]
    Combination(String),
}

/// Everything wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// Reads the configuration from `arguments` (after the program's name), `environment` and
/// `places` (lowest precedence first).
pub fn load(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    places: &[Place],
) -> Result<Request, ConfigErrors> {
    let mut found = source::Found::default();
    let mut above = Vec::new();
    let asked = command_line::parse(arguments, &mut above, &mut found.errors);
    if !found.errors.is_empty() {
        return Err(ConfigErrors(found.errors));
    }
    if asked.help {
        return Ok(Request::Print(help::help()));
    }
    if asked.version {
        return Ok(Request::Print(format!("{}\n", help::version())));
    }
    if asked.docs {
        return Ok(Request::Print(help::docs()));
    }
    let environment: Vec<_> = environment.into_iter().collect();
    let node_name = node_name(&environment);
    let mut outer = source::Found::default();
    outer.read_environment(environment);
    outer.settings.append(&mut above);
    for place in places {
        found.read(place);
    }
    // The directory may itself be named in any of the other sources.
    let directory = found
        .settings
        .iter()
        .chain(&outer.settings)
        .rfind(|setting| setting.flag.name == "config-dir")
        .and_then(|setting| setting.flag.kind.parse(&setting.raw).ok());
    if let Some(Value::Str(directory)) = directory.filter(|value| *value != Value::Str("".into())) {
        found.read_asked(Path::new(&directory));
    }
    found.settings.append(&mut outer.settings);
    found.warnings.append(&mut outer.warnings);
    found.errors.append(&mut outer.errors);
    resolve(found, node_name)
}

/// Applies the last setting of every flag, or its default.
fn resolve(found: source::Found, node_name: String) -> Result<Request, ConfigErrors> {
    let source::Found { settings: found, mut warnings, mut errors } = found;
    let mut config = Config { node_name, ..Config::default() };
    let mut settings = Vec::with_capacity(table::FLAGS.len());
    for flag in table::FLAGS {
        let setting = found.iter().rfind(|setting| setting.flag.name == flag.name);
        let (value, origin) = match setting {
            Some(setting) => (flag.kind.parse(&setting.raw), setting.source.clone()),
            None => (Ok(flag.kind.default_value()), Source::Default),
        };
        let checked = match value {
            Ok(value) => {
                if !flag.kind.acts() && value != flag.kind.default_value() {
                    let name = flag.name;
                    warnings
                        .push(format!("--{name} (from {origin}) has no effect in this version"));
                }
                let checked = flag.kind.apply(&mut config, &value);
                settings.push((flag.name, value, origin.clone()));
                checked
            }
            Err(problem) => Err(Complaint::Wrong(problem)),
        };
        match checked {
            Ok(()) => {}
            Err(Complaint::Replaced(problem)) => {
                warnings.push(format!("--{} {problem} (from {origin})", flag.name));
            }
            Err(Complaint::Wrong(problem)) => {
                errors.push(ConfigError::Value { flag: flag.name, origin, problem });
            }
        }
    }
    errors.extend(combinations(&config).into_iter().map(ConfigError::Combination));
    errors.extend(exclusions(&settings).into_iter().map(ConfigError::Combination));
    if errors.is_empty() {
        Ok(Request::Run(Box::new(Loaded { config, settings, warnings })))
    } else {
        Err(ConfigErrors(errors))
    }
}

/// Says which flags do not go together.
fn combinations(config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut refuse = |condition: bool, text: &str| {
        if condition {
            wrong.push(text.to_owned());
        }
    };
    refuse(
        config.ring.size_per_cpu != 0 && config.ring.size_total != 0,
        "--rb-size and --rb-size-total exclude each other: set one of them",
    );
    refuse(
        config.process.enable_ancestors && config.process.disable_cache,
        "--enable-ancestors needs the process cache: remove --disable-process-cache",
    );
    let server = &config.server;
    let tls = server.tls_cert_file.is_some() || server.tls_key_file.is_some();
    refuse(
        server.tls_cert_file.is_some() != server.tls_key_file.is_some(),
        "--server-tls-cert-file and --server-tls-key-file need each other: set both",
    );
    refuse(
        !server.tls_client_ca_files.is_empty() && !server.tls_require_client_cert,
        "--server-tls-client-ca-files needs --server-tls-require-client-cert",
    );
    refuse(
        server.tls_require_client_cert && server.tls_client_ca_files.is_empty(),
        "--server-tls-require-client-cert needs --server-tls-client-ca-files",
    );
    refuse(
        server.tls_require_client_cert && !tls,
        "--server-tls-require-client-cert needs --server-tls-cert-file and --server-tls-key-file",
    );
    refuse(
        tls && !matches!(server.listen, Listen::Tcp(_)),
        "--server-tls-cert-file needs a TCP address in --server-address",
    );
    refuse(
        config.policies.persist && !config.policies.persist_dir.is_absolute(),
        "--persist-grpc-policies needs an absolute path in --persist-grpc-policies-dir",
    );
    let export = config.export.file.as_deref();
    let follows = |list: &str| {
        let filters = filters::json::filters(list).unwrap_or_default();
        filters.iter().any(|filter| !filter.pid_set.is_empty())
    };
    let ExportConfig { allow_list, deny_list, pid_set, .. } = &config.export;
    refuse(
        !pid_set && (follows(allow_list) || follows(deny_list)),
        "pid_set in export filters needs --enable-pid-set-filter",
    );
    refuse(export.is_some_and(Path::is_dir), "--export-filename is a directory: name a file in it");
    wrong
}

/// Flags that say the same in two ways, also where they have no effect in this version.
const EXCLUSIVE: [(&str, &str); 3] = [
    ("execve-map-entries", "execve-map-size"),
    ("parents-map-entries", "parents-map-size"),
    ("force-small-progs", "force-large-progs"),
];

fn exclusions(settings: &Settings) -> Vec<String> {
    let given = |name: &str| {
        let flag = table::find(name).map(|flag| flag.kind.default_value());
        settings.iter().any(|(of, value, _)| *of == name && Some(value) != flag.as_ref())
    };
    let both = EXCLUSIVE.iter().filter(|(one, other)| given(one) && given(other));
    both.map(|(one, other)| format!("--{one} and --{other} exclude each other: set one of them"))
        .collect()
}

/// The flag whose name is nearest to `name`, when it is near.
fn nearest(name: &str) -> Option<&'static str> {
    let distance = |flag: &Flag| strsim::damerau_levenshtein(name, flag.name);
    let flag = table::FLAGS.iter().min_by_key(|flag| distance(flag))?;
    let near = (name.len() / 4).clamp(1, 3);
    (distance(flag) <= near).then_some(flag.name)
}

fn node_name(environment: &[(OsString, OsString)]) -> String {
    let variable = |name: &str| {
        let found = environment.iter().find(|(key, value)| key == name && !value.is_empty())?;
        Some(found.1.to_string_lossy().into_owned())
    };
    variable("HUBBLE_NODE_NAME")
        .or_else(|| variable("NODE_NAME"))
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
