//! What the running kernel can do, found out by trying.
//!
//! A version number says little: distributions backport, builders leave out, security modules and
//! sandboxes forbid. So each question is answered by doing the thing on a small scale: loading a
//! program, attaching it to a place where it does no harm, creating a map. What was tried is undone
//! before the answer is given; nothing stays attached or pinned.
//!
//! Answers are three-valued ([`Probe`]): a probe that fails for want of privilege, memory or a mounted
//! file system has learned nothing about the kernel, and says so. Each question is asked once, when
//! its answer is first needed. All answers together are a [`Target`], which can be written to a file
//! and compiled for on another machine.

mod attach;
mod calls;
mod instruction;
mod kind;
mod list;
mod maps;
mod probe;
mod program;
mod target;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use kind::ProgramKind;
pub use list::Feature;
pub use probe::Probe;
pub use target::{Target, TargetError};

use crate::btf::Btf;

/// The features that `tetra probe` and `GetInfo` report, by the names that their users know, in order.
const COMPAT: [(&str, Feature); 22] = [
    ("override_return", Feature::OverrideReturn),
    ("buildid", Feature::BuildId),
    ("kprobe_multi", Feature::KprobeMulti),
    ("uprobe_multi", Feature::UprobeMulti),
    ("fmodret", Feature::FmodRet),
    ("fmodret_syscall", Feature::FmodRetSyscall),
    ("signal", Feature::SendSignal),
    ("large", Feature::LargePrograms),
    ("link_pin", Feature::LinkPinning),
    ("lsm", Feature::Lsm),
    ("missed_stats_kprobe_multi", Feature::MissedStatsKprobeMulti),
    ("missed_stats_kprobe", Feature::MissedStatsKprobe),
    ("batch_update", Feature::BatchOperations),
    ("uprobe_refctroff", Feature::UprobeRefCounter),
    ("audit_loginuid", Feature::AuditLoginuid),
    ("probe_write_user", Feature::ProbeWriteUser),
    ("uprobe_regs_change", Feature::UprobeRegisterChange),
    ("mix_bpf_and_tail_calls", Feature::TailCallsInSubprograms),
    ("fentry", Feature::Fentry),
    ("get_func_ret", Feature::GetFuncRet),
    ("substring_kfunc", Feature::SubstringKfunc),
    ("copy_from_user_str", Feature::CopyFromUserStr),
];

/// The features of one kernel: the running one, or one whose answers were recorded.
#[derive(Debug)]
pub struct Features {
    /// The kernel to ask; `None` for a recorded one.
    kernel: Option<Arc<Btf>>,
    answers: Mutex<BTreeMap<String, Probe>>,
    described: Described,
}

/// Whose features they are, for people.
#[derive(Clone, Debug)]
struct Described {
    release: String,
    architecture: String,
}

/// What probes of the running kernel work with.
struct Running<'a> {
    features: &'a Features,
    btf: &'a Btf,
}

impl Features {
    /// The running kernel's, asked as they are needed. `btf` is its BTF.
    pub fn running(btf: Arc<Btf>) -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let described = Described {
            release: release.trim().to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
        };
        Self { kernel: Some(btf), answers: Mutex::default(), described }
    }

    /// Those that were recorded.
    pub fn recorded(target: Target) -> Self {
        let Target { release, architecture, answers } = target;
        let described = Described { release, architecture };
        Self { kernel: None, answers: Mutex::new(answers), described }
    }

    /// The kernel's architecture, as Rust names it: `x86_64`, `aarch64`.
    pub fn architecture(&self) -> &str {
        &self.described.architecture
    }

    /// All features, which kinds of programs load, and what else was answered so far: ask for the
    /// helpers and kernel functions that matter before.
    pub fn record(&self) -> Target {
        for feature in Feature::ALL {
            self.probe(*feature);
        }
        for kind in ProgramKind::ALL {
            self.kind(kind);
        }
        let Described { release, architecture } = self.described.clone();
        Target { release, architecture, answers: self.answers().clone() }
    }

    /// Whether the kernel has a feature.
    pub fn probe(&self, feature: Feature) -> Probe {
        self.answer(feature.name().to_owned(), |kernel| feature.ask(kernel))
    }

    /// From now on answers that the kernel has not the feature; `why`: for people.
    pub fn forgo(&self, feature: Feature, why: &str) {
        self.answers().insert(feature.name().to_owned(), Probe::no(why));
    }

    /// Whether the kernel certainly has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.probe(feature).is_yes()
    }

    /// Whether programs of a kind can be loaded. Not, whether they can be attached.
    pub fn kind(&self, kind: ProgramKind) -> Probe {
        self.answer(format!("load {kind}"), |kernel| program::loads(kernel, kind))
    }

    /// Whether programs of a kind may call a helper, by its number (`BPF_FUNC_*`).
    pub fn helper(&self, helper: u32, kind: ProgramKind) -> Probe {
        self.answer(format!("helper {helper} in {kind}"), |kernel| {
            calls::helper(kernel, helper, kind)
        })
    }

    /// Whether programs of a kind may call a kernel function, by its name.
    pub fn kfunc(&self, name: &str, kind: ProgramKind) -> Probe {
        self.answer(format!("kfunc {name} in {kind}"), |kernel| calls::kfunc(kernel, name, kind))
    }

    /// The features that `tetra probe` reports, in its order.
    pub fn compat(&self) -> Vec<(&'static str, Probe)> {
        COMPAT.iter().map(|(name, feature)| (*name, self.probe(*feature))).collect()
    }

    fn answer(&self, question: String, ask: impl FnOnce(&Running<'_>) -> Probe) -> Probe {
        if let Some(answer) = self.answers().get(&question) {
            return answer.clone();
        }
        // The lock is not held while asking: questions lead to others. Two threads may ask the same
        // at the same time, and get the same answer.
        let answer = match &self.kernel {
            Some(btf) => ask(&Running { features: self, btf }),
            None => {
                let why = format!("`{question}` is not among what was recorded of that kernel");
                return Probe::Unknown { why };
            }
        };
        self.answers().insert(question, answer.clone());
        answer
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<String, Probe>> {
        // A map of answers is whole even if a thread panicked while it had the lock.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
