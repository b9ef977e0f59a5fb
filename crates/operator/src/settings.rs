//! Settings: from the directory of `--config-dir`, where a file is named for a flag and holds its value,
//! as a ConfigMap is mounted; from variables `TETRAGON_OPERATOR_…`; from flags. Later ones win.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// What variables begin with.
const PREFIX: &str = "TETRAGON_OPERATOR_";

/// Keeps what tetragon needs in a cluster.
#[derive(Debug, Parser)]
#[command(name = "tetragon-operator", version, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work until it is told to end
    #[command(args_override_self = true)]
    Serve(Settings),
    /// Print the definitions of custom resources, as JSON documents
    Definitions,
}

/// How to work.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Directory with a file for each setting
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Kubeconfig; without it, that of the pod's service account
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    kube_config: String,
    /// Put no definitions in
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub skip_crd_creation: bool,
    /// No PodInfo, neither its definition nor the objects
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub skip_pod_info_crd: bool,
    /// No definitions of policies
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub skip_tracing_policy_crd: bool,
    /// Replace definitions that are as new as ours, or newer
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub force_update_crds: bool,
    /// Address for Prometheus, [HOST]:PORT; 0 for none
    #[arg(long, value_name = "ADDRESS", default_value = "0")]
    metrics_bind_address: String,
    /// Address for kubelet's probes, [HOST]:PORT; 0 for none
    #[arg(long, value_name = "ADDRESS", default_value = ":8081")]
    health_probe_bind_address: String,
    /// Work only as the one of several replicas that holds the lease
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub leader_election: bool,
    /// Namespace of the lease [default: the pod's own]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    leader_election_namespace: String,
    /// How long a lease lasts that is not renewed
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub leader_election_lease_duration: Duration,
    /// How long the holder tries to renew it before it gives up
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub leader_election_renew_deadline: Duration,
    /// Time between tries
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub leader_election_retry_period: Duration,
    /// What was left out of the settings, and why.
    #[arg(skip)]
    pub warnings: Vec<String>,
}

/// What is asked for.
#[derive(Debug)]
pub enum Parsed {
    /// To work.
    Serve(Box<Settings>),
    /// A text to print.
    Text(String),
}

/// Settings that are none, each with the place that it comes from.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The command line, the environment or a file.
    #[error("{0}")]
    Usage(String),
    /// The directory cannot be read.
    #[error("cannot read the settings in {path}: {cause}")]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

impl Settings {
    /// Reads all of them.
    ///
    /// # Errors
    /// Flags that are not known, and values that are none. Files and variables that belong to no flag are
    /// only warned of: a ConfigMap may hold more.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Parsed, SettingsError> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let first = match Cli::try_parse_from(&arguments) {
            Ok(cli) => cli,
            Err(error) if error.use_stderr() => return Err(usage(&error)),
            Err(error) => return Ok(Parsed::Text(error.to_string())),
        };
        let Command::Serve(first) = first.command else {
            let text = definitions().iter().map(|document| format!("{document}\n")).collect();
            return Ok(Parsed::Text(text));
        };
        let mut warnings = Vec::new();
        let known = known();
        let mut all: Vec<OsString> = ["tetragon-operator", "serve"].map(OsString::from).to_vec();
        if let Some(directory) = &first.config_dir {
            for (name, value) in files(directory)? {
                match known.contains(&name) {
                    true => all.push(format!("--{name}={value}").into()),
                    false => warnings.push(format!(
                        "{}: there is no setting {name}: left out",
                        directory.join(&name).display()
                    )),
                }
            }
        }
        for (variable, value) in variables {
            let Some(name) = variable.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            let flag = name.to_lowercase().replace('_', "-");
            if known.contains(&flag) {
                let mut argument = OsString::from(format!("--{flag}="));
                argument.push(value);
                all.push(argument);
            } else {
                warnings.push(format!("{PREFIX}{name}: there is no setting {flag}: left out"));
            }
        }
        // Whatever follows the command itself.
        let command = arguments.iter().position(|argument| argument == "serve").unwrap_or(0);
        all.extend(arguments.into_iter().skip(command + 1));
        match Cli::try_parse_from(all).map_err(|error| usage(&error))?.command {
            Command::Serve(settings) => Ok(Parsed::Serve(Box::new(Self { warnings, ..settings }))),
            Command::Definitions => Ok(Parsed::Text(String::new())),
        }
    }

    /// The kubeconfig, if one is named.
    #[must_use]
    pub fn kubeconfig(&self) -> Option<&Path> {
        (!self.kube_config.is_empty()).then(|| Path::new(&self.kube_config))
    }

    /// The address for Prometheus.
    #[must_use]
    pub fn metrics_address(&self) -> Option<String> {
        address(&self.metrics_bind_address)
    }

    /// The address for probes.
    #[must_use]
    pub fn health_address(&self) -> Option<String> {
        address(&self.health_probe_bind_address)
    }

    /// The namespace of the lease, if one is named.
    #[must_use]
    pub fn lease_namespace(&self) -> Option<&str> {
        Some(self.leader_election_namespace.as_str()).filter(|name| !name.is_empty())
    }

    /// The definitions that these settings ask for.
    #[must_use]
    pub fn definitions(&self) -> Vec<serde_json::Value> {
        let policies =
            [policy::crd::Kind::TracingPolicy, policy::crd::Kind::TracingPolicyNamespaced];
        let policies = policies.into_iter().filter(|_| !self.skip_tracing_policy_crd);
        let mut all: Vec<_> = policies.map(policy::crd::definition).collect();
        if !self.skip_pod_info_crd {
            all.push(crate::pod_info::definition());
        }
        all
    }
}

/// All definitions there are.
fn definitions() -> [serde_json::Value; 3] {
    [
        policy::crd::definition(policy::crd::Kind::TracingPolicy),
        policy::crd::definition(policy::crd::Kind::TracingPolicyNamespaced),
        crate::pod_info::definition(),
    ]
}

fn usage(error: &clap::Error) -> SettingsError {
    let text = error.to_string();
    SettingsError::Usage(text.trim_start_matches("error: ").trim_end().to_owned())
}

/// Names of all flags of `serve`.
fn known() -> Vec<String> {
    let command = Cli::command();
    let serve = command.find_subcommand("serve");
    let flags = serve.into_iter().flat_map(clap::Command::get_arguments);
    flags.filter_map(|flag| flag.get_long().map(str::to_owned)).collect()
}

/// The files of a directory with their texts. Kubernetes mounts a ConfigMap as links into a hidden
/// directory.
fn files(directory: &Path) -> Result<Vec<(String, String)>, SettingsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| SettingsError::Directory { path, cause }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with('.') || path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        files.push((name.to_owned(), text.trim().to_owned()));
    }
    files.sort();
    Ok(files)
}

/// `:8081` is all addresses; `0` and nothing are none.
fn address(text: &str) -> Option<String> {
    match text {
        "" | "0" => None,
        text if text.starts_with(':') => Some(format!("[::]{text}")),
        text => Some(text.to_owned()),
    }
}

/// `15s`, `500ms`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration such as 15s, 500ms or 2m");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(bad)?;
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    match &text[digits..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(bad),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
        let arguments = ["tetragon-operator", "serve"].iter().chain(arguments);
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        match Settings::parse(arguments.map(OsString::from), variables) {
            Ok(Parsed::Serve(settings)) => Ok(*settings),
            Ok(Parsed::Text(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn later_ones_win() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("skip-pod-info-crd", "false\n");
        write("metrics-bind-address", ":2113");
        write("leader-election-retry-period", "3s");
        write("not-ours", "1");
        let config = format!("--config-dir={}", directory.path().display());
        let settings = parse(
            &[&config, "--leader-election-retry-period", "500ms"],
            &[
                ("TETRAGON_OPERATOR_METRICS_BIND_ADDRESS", "127.0.0.1:1"),
                ("TETRAGON_OPERATOR_ODD", ""),
                ("HOME", "/"),
            ],
        )
        .unwrap();
        assert!(!settings.skip_pod_info_crd);
        assert_eq!(settings.metrics_address().as_deref(), Some("127.0.0.1:1"));
        assert_eq!(settings.leader_election_retry_period, Duration::from_millis(500));
        assert_eq!(settings.health_address().as_deref(), Some("[::]:8081"));
        assert_eq!(settings.warnings.len(), 2, "{:?}", settings.warnings);
        assert_eq!(settings.definitions().len(), 3);
        assert_eq!(parse(&[], &[]).unwrap().definitions().len(), 2);
    }

    #[test]
    fn mistakes_are_told() {
        let variable = ("TETRAGON_OPERATOR_LEADER_ELECTION", "perhaps");
        assert!(parse(&[], &[variable]).unwrap_err().contains("leader-election"));
        assert!(parse(&["--nonsense"], &[]).unwrap_err().contains("--nonsense"));
        assert!(parse(&["--config-dir=/no/such"], &[]).unwrap_err().contains("/no/such"));
        assert!(parse(&["--leader-election-retry-period=3"], &[]).unwrap_err().contains("15s"));
        assert!(parse(&["--help"], &[]).unwrap_err().contains("--skip-crd-creation"));
    }
}
