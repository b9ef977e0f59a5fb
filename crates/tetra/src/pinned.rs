//! `tetra pinned`: what agents left in force, without asking an agent.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use compiler::keep::Earlier;

use crate::error::Error;
use crate::table;

/// What to do about what is pinned.
#[derive(Debug, Subcommand)]
pub(crate) enum Pinned {
    /// List what agents keep in force beyond their end, and what they left
    List {
        #[command(flatten)]
        place: Place,
    },
    /// End what an agent left in force
    Remove {
        /// Names, as listed
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        names: Vec<String>,
        /// All that has no agent
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Where pins are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Directory in a BPF file system, the agent's --bpf-dir
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/tetragon")]
    bpf_dir: PathBuf,
}

/// Does it; gives what to print.
pub(crate) fn run(command: Pinned) -> Result<String, Error> {
    match command {
        Pinned::List { place } => list(&place.bpf_dir),
        Pinned::Remove { names, all: _, place } => remove(&place.bpf_dir, &names),
    }
}

fn all(dir: &Path) -> Result<Vec<Earlier>, Error> {
    Earlier::list(dir).map_err(failed)
}

fn list(dir: &Path) -> Result<String, Error> {
    let mut rows = vec![["NAME", "AGENT", "HOOKS", "POLICIES"].map(str::to_owned).to_vec()];
    for one in all(dir)? {
        let agent = agent(&one.name()).map_or("gone".to_owned(), |pid| format!("pid {pid}"));
        let links = one.links().map_err(failed)?.len().to_string();
        let policies = one.policies().map_err(failed)?;
        let policies = policies.iter().map(|policy| shown(policy)).collect::<Vec<_>>();
        rows.push(vec![one.name(), agent, links, policies.join(", ")]);
    }
    if rows.len() == 1 {
        return Ok(format!("nothing is pinned in {}\n", dir.display()));
    }
    Ok(table::lines(&rows).iter().map(|line| format!("{line}\n")).collect())
}

fn remove(dir: &Path, names: &[String]) -> Result<String, Error> {
    let all = all(dir)?;
    if let Some(name) = names.iter().find(|name| !all.iter().any(|one| one.name() == **name)) {
        let text = format!("nothing of the name {name:?} is pinned in {}", dir.display());
        return Err(Error::Usage(text));
    }
    let mut text = String::new();
    for one in all {
        let name = one.name();
        let named = names.contains(&name);
        match agent(&name) {
            Some(pid) if named => {
                let text = format!(
                    "{name} is of an agent that runs (pid {pid}): delete its policies by \
                     `tetra tracingpolicy delete`, or stop it first"
                );
                return Err(Error::Usage(text));
            }
            None if named || names.is_empty() => {
                one.remove().map_err(failed)?;
                text.push_str(&format!("{name} removed\n"));
            }
            _ => {}
        }
    }
    Ok(text)
}

/// The pid of the agent whose pins have this name, `PID-SINCE`, if it runs.
fn agent(name: &str) -> Option<u32> {
    let pid: u32 = name.split_once('-')?.0.parse().ok()?;
    let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (program.trim_end() == "tetragon").then_some(pid)
}

/// A policy `domain:namespace:name`, as users name it.
fn shown(policy: &str) -> String {
    let mut parts = policy.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(domain), Some(""), Some(name)) => format!("{name} ({domain})"),
        (Some(domain), Some(namespace), Some(name)) => format!("{namespace}/{name} ({domain})"),
        _ => policy.to_owned(),
    }
}

fn failed(error: compiler::Error) -> Error {
    Error::Kernel(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let none = list(&dir.path().join("none")).unwrap();
        assert!(none.starts_with("nothing is pinned in /"), "{none}");
        let error = remove(dir.path(), &["1-2".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("nothing of the name \"1-2\" is pinned in "), "{error}");
        assert_eq!(remove(dir.path(), &[]).unwrap(), "");
    }

    #[test]
    fn what_is_left_is_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        for policy in ["grpc::links", "k8s:web:no%2eexec"] {
            std::fs::create_dir_all(dir.path().join("4194305-77/policies").join(policy)).unwrap();
        }
        let listed = list(dir.path()).unwrap();
        let lines: Vec<_> = listed.lines().collect();
        assert_eq!(lines[0], "NAME         AGENT   HOOKS   POLICIES");
        assert_eq!(lines[1], "4194305-77   gone    0       links (grpc), web/no.exec (k8s)");
    }
}
