//! What a test is: a function with a name, with conditions on where it can run.

use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;

/// One system test.
pub(crate) struct Test {
    /// `subject::behaviour`.
    pub(crate) name: &'static str,
    /// Fails by returning an error or by panicking.
    pub(crate) run: fn(&Lab) -> Result<()>,
    /// All of these have to hold for the test to run; otherwise it is skipped.
    pub(crate) needs: &'static [Need],
    /// After this it is stopped and has failed.
    pub(crate) timeout: Duration,
    /// Whether its output is of interest when it passes, too.
    pub(crate) tells: bool,
}

impl Test {
    /// A test that runs everywhere and takes less than two minutes, also in an emulated VM.
    pub(crate) const fn new(name: &'static str, run: fn(&Lab) -> Result<()>) -> Self {
        Self { name, run, needs: &[], timeout: Duration::from_secs(120), tells: false }
    }

    /// The same with conditions.
    pub(crate) const fn needs(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }

    /// The same with another limit.
    pub(crate) const fn seconds(self, seconds: u64) -> Self {
        Self { timeout: Duration::from_secs(seconds), ..self }
    }

    /// The same with output that is shown when it passes, too.
    pub(crate) const fn tells(self) -> Self {
        Self { tells: true, ..self }
    }

    /// Why it cannot run here, if so.
    pub(crate) fn obstacle(&self) -> Option<&'static str> {
        self.needs.iter().find_map(|need| need.obstacle())
    }
}

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It changes the system in ways that a machine in use would feel.
    Vm,
    /// It measures time or memory, which emulation distorts.
    Host,
    /// It needs the policies of the introductory article.
    Intro,
    /// It needs the policies that users write.
    Field,
}

impl Need {
    fn obstacle(self) -> Option<&'static str> {
        let in_vm = in_vm();
        match self {
            Self::Vm if !in_vm => Some("runs only in a VM"),
            Self::Host if in_vm => Some("runs only on the host"),
            Self::Intro if !is_beside("intro-tcp-connect.yaml") => {
                Some("the policies are not there")
            }
            Self::Field if !is_beside("field-tcp-connect.yaml") => {
                Some("the policies are not there")
            }
            Self::Vm | Self::Host | Self::Intro | Self::Field => None,
        }
    }
}

/// Whether this is a test VM.
pub(crate) fn in_vm() -> bool {
    std::env::var_os(crate::init::IN_VM).is_some()
}

/// What xtask calls this kernel; empty when it does not say.
pub(crate) fn kernel() -> String {
    std::env::var(KERNEL).unwrap_or_default()
}

/// Where the tests' processes find that name.
pub(crate) const KERNEL: &str = "VMTEST_KERNEL";

/// Whether a file lies beside this executable.
fn is_beside(name: &str) -> bool {
    let own = std::env::current_exe().ok();
    own.is_some_and(|own| own.with_file_name(name).exists())
}
