//! What a test works with: a scratch directory, programs in it whose paths nothing else on the
//! machine has (so that events about them can be told from all others), and the agent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::agent::Agent;

/// A test's surroundings.
pub(crate) struct Lab {
    directory: PathBuf,
    /// Where the executables lie.
    binaries: PathBuf,
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) pid: u64,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    /// A lab in an existing directory.
    pub(crate) fn new(directory: PathBuf) -> Result<Self> {
        let own = std::env::current_exe()?;
        let binaries = own.parent().context("this executable lies in no directory")?.to_owned();
        Ok(Self { directory, binaries })
    }

    /// Whether this is a VM, where nobody else does anything.
    pub(crate) fn in_vm(&self) -> bool {
        crate::test::in_vm()
    }

    /// Path in the scratch directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// One of the executables under test, or busybox.
    pub(crate) fn binary(&self, name: &str) -> Result<PathBuf> {
        let path = self.binaries.join(name);
        ensure!(path.exists(), "no executable {}", path.display());
        Ok(path)
    }

    /// A copy of this executable for use as `tool`, under a path of its own.
    pub(crate) fn tool(&self, name: &str) -> Result<String> {
        self.copy(&std::env::current_exe()?, name)
    }

    /// A copy of busybox under a path of its own; run as `sh` it is a shell.
    pub(crate) fn busybox(&self, name: &str) -> Result<String> {
        self.copy(&self.binary("busybox")?, name)
    }

    fn copy(&self, from: &Path, name: &str) -> Result<String> {
        self.program(name, &fs::read(from)?)
    }

    /// Writes an executable file and returns its path.
    pub(crate) fn program(&self, name: &str, content: &[u8]) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path.to_str().context("a scratch path is not UTF-8")?.to_owned())
    }

    /// Starts the agent with more flags than a test agent always has, and waits until it answers.
    pub(crate) fn agent(&self, flags: &[&str]) -> Result<Agent> {
        Agent::start(self, "agent", flags)
    }

    /// Starts an agent with one policy and no other.
    pub(crate) fn agent_with_policy(&self, policy: &str) -> Result<Agent> {
        let path = self.policy("policy.yaml", policy)?;
        self.agent(&["--tracing-policy-dir=", &format!("--tracing-policy={}", path.display())])
    }

    /// Writes a policy into a file.
    pub(crate) fn policy(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Runs a shell script.
    pub(crate) fn shell(&self, script: &str) -> Result<Done> {
        run(Command::new(self.binary("busybox")?).args(["sh", "-c", script]))
    }
}

/// Runs a command to its end. Its failure is not an error: see [`Done::ok`].
pub(crate) fn run(command: &mut Command) -> Result<Done> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?} does not start"))?;
    let pid = child.id().into();
    let output = child.wait_with_output()?;
    Ok(Done {
        pid,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Done {
    /// Fails unless the exit status is 0.
    pub(crate) fn ok(self) -> Result<Self> {
        ensure!(self.status.success(), "{}: {}{}", self.status, self.stdout, self.stderr);
        Ok(self)
    }
}

/// A child that is killed when it goes out of scope.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself, then both do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again and again until the answer is yes or the time is over.
pub(crate) fn within(
    limit: Duration,
    what: &str,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        ensure!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
