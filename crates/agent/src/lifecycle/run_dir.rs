//! The run directory: pid file, info file and socket of the one agent of a machine.
//!
//! The pid file is locked (`flock`) as long as the agent lives, so a pid that was left behind and
//! belongs to another process by now, or to one in another pid namespace, deceives nobody. Agents
//! that do not lock are recognised by the pid they wrote and the name of that process.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where it is on every machine.
pub const PATH: &str = "/var/run/tetragon";

const PID: &str = "tetragon.pid";
const INFO: &str = "tetragon-info.json";
const SOCKET: &str = "tetragon.sock";

/// The agent cannot have the run directory.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// Another agent has it.
    #[error("another tetragon is running{}; it holds {}", with_pid(*.pid), path.display())]
    Running {
        /// Its pid file.
        path: PathBuf,
        /// Its pid, if it could be read.
        pid: Option<u32>,
    },
    /// It cannot be used.
    #[error("{}: {error}", path.display())]
    Failed {
        /// What in it.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn with_pid(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" with pid {pid}")).unwrap_or_default()
}

/// What clients and tools want to know of a running agent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Info {
    /// Pid.
    pub pid: u32,
    /// Where the gRPC server listens; empty for nowhere.
    pub server_address: String,
    /// Export file; empty for none.
    pub export_fname: String,
    /// BTF file; empty for the kernel's own.
    pub btf_fname: String,
}

/// The claimed directory. Dropping it removes the agent's files and ends the claim.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Locked.
    _pid: File,
}

impl RunDir {
    /// Makes the directory if need be and claims it for this process.
    pub fn claim(path: &Path) -> Result<Self, RunDirError> {
        let failed = |path: &Path, error| RunDirError::Failed { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| failed(path, e))?;
        let pid_path = path.join(PID);
        let pid = claim(&pid_path).map_err(|error| match error {
            Claim::Failed(error) => failed(&pid_path, error),
            Claim::Running(pid) => RunDirError::Running { path: pid_path.clone(), pid },
        })?;
        Ok(Self { path: path.to_owned(), _pid: pid })
    }

    /// Where the agent's unix socket belongs.
    pub fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Writes the info file, whole or not at all.
    pub fn write_info(&self, info: &Info) -> Result<(), RunDirError> {
        let path = self.path.join(INFO);
        let unfinished = self.path.join(format!("{INFO}.tmp"));
        let write = || {
            let mut text = serde_json::to_vec(info)?;
            text.push(b'\n');
            fs::write(&unfinished, text)?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(|error| RunDirError::Failed { path: path.clone(), error })
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // The pid file last: until then the directory is taken.
        for name in [INFO, PID] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "Cannot remove a file");
                }
                _ => {}
            }
        }
    }
}

enum Claim {
    Running(Option<u32>),
    Failed(io::Error),
}

impl From<io::Error> for Claim {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Locks the pid file and writes this process's pid to it.
fn claim(path: &Path) -> Result<File, Claim> {
    loop {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut file = options.open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let pid = text.trim().parse().ok();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Claim::Running(pid)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // An agent that ended between open and lock removed the file that is now locked.
        let locked = file.metadata()?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => {}
            _ => continue,
        }
        if pid.is_some_and(|pid| pid != std::process::id() && is_agent(pid)) {
            return Err(Claim::Running(pid));
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        return Ok(file);
    }
}

/// Whether a process of that pid lives and is called like the agent.
fn is_agent(pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let dead = field("State:").is_some_and(|state| state.starts_with(['Z', 'X']));
    field("Name:") == Some("tetragon") && !dead
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    #[test]
    fn one_claim_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/tetragon");
        let first = RunDir::claim(&path).unwrap();
        let pid = std::process::id().to_string();
        assert_eq!(fs::read_to_string(path.join(PID)).unwrap(), pid);
        let error = RunDir::claim(&path).unwrap_err().to_string();
        let wanted = format!("another tetragon is running with pid {pid}; it holds ");
        assert!(error.starts_with(&wanted), "{error}");
        first.write_info(&Info { server_address: "a:1".into(), ..Info::default() }).unwrap();
        let info = fs::read_to_string(path.join(INFO)).unwrap();
        assert!(info.contains("\"server_address\":\"a:1\""), "{info}");
        drop(first);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        RunDir::claim(&path).unwrap();
    }

    #[test]
    fn a_pid_that_is_another_programs_now_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        for stale in ["1", "999999999", "garbage", ""] {
            fs::write(dir.path().join(PID), stale).unwrap();
            let claimed = RunDir::claim(dir.path()).unwrap();
            let now = fs::read_to_string(dir.path().join(PID)).unwrap();
            assert_eq!(now, std::process::id().to_string(), "{stale:?}");
            drop(claimed);
        }
    }

    /// A process called `tetragon` that locks nothing.
    struct Other(Child);

    impl Other {
        fn start(dir: &Path) -> Self {
            let program = dir.join("tetragon");
            fs::copy("/bin/sleep", &program).unwrap();
            Self(Command::new(&program).arg("60").spawn().unwrap())
        }
    }

    impl Drop for Other {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn an_agent_that_does_not_lock_is_recognised_until_it_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        fs::create_dir(&run).unwrap();
        let mut other = Other::start(dir.path());
        let pid = other.0.id();
        fs::write(run.join(PID), format!("{pid}\n")).unwrap();
        let refused = || matches!(RunDir::claim(&run), Err(RunDirError::Running { pid: Some(p), .. }) if p == pid);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        // The child has its own name only after its exec.
        while fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() != "tetragon\n" {
            assert!(std::time::Instant::now() < end);
        }
        assert!(refused());
        assert_eq!(fs::read_to_string(run.join(PID)).unwrap(), format!("{pid}\n"));
        other.0.kill().unwrap();
        // Dead, but its parent has not asked yet.
        while !fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("State:\tZ") {
            assert!(std::time::Instant::now() < end);
        }
        RunDir::claim(&run).unwrap();
    }
}
