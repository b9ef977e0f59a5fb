//! Policies on the running kernel, for tests: load one, do something, see what was observed.
//!
//! Needs root; tests are skipped, with a word, without it or where the kernel lacks what they need.

#![allow(clippy::unwrap_used, dead_code)] // not every test uses all of it

use compiler::base::{Base, CgroupOf, Options, Rings};
use compiler::observed::Observation;
use compiler::plan::Plan;
use compiler::policies::Policies;
use compiler::{Decoder, Machine};
use kernel::btf::{Btf, BtfError, KERNEL_BTF};
use kernel::features::{Feature, Features, Probe};
use kernel::ringbuf::{RingBuffer, RingSet};
use policy::{CheckedPolicy, PolicyKey};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Whether this is an emulated machine, where everything takes twenty times longer: what is only a
/// matter of more of the same is left to others.
pub(crate) fn is_emulated() -> bool {
    std::env::var_os("VMTEST_IN_VM").is_some()
}

/// The running kernel's types, read once for all tests of an executable.
static BTF: OnceLock<Result<Arc<Btf>, BtfError>> = OnceLock::new();
/// What it can do, probed once.
static MACHINE: OnceLock<Arc<Machine>> = OnceLock::new();

fn running(btf: Arc<Btf>) -> Arc<Machine> {
    MACHINE.get_or_init(|| Arc::new(Machine::running(btf))).clone()
}

static ALONE: Mutex<()> = Mutex::new(());

/// While this is held no other test of the executable that asks for it runs. A trampoline of one agent has
/// a function run that another one, which knows nothing of it, replaces by `bpf_override_return`.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Base programs, policies and the ring of what they observe.
pub(crate) struct Harness {
    pub(crate) base: Base,
    pub(crate) machine: Arc<Machine>,
    pub(crate) policies: Policies,
    pub(crate) decoder: Decoder,
    pub(crate) ring: RingSet,
}

impl Harness {
    /// `None`, with a word on stderr: it cannot be done here.
    pub(crate) fn new() -> Option<Self> {
        Self::on(|btf| running(btf.clone()))
    }

    /// The same, for policies that are compiled as for a kernel without `feature`; `None` also where
    /// the kernel has none.
    pub(crate) fn lacking(feature: Feature) -> Option<Self> {
        let harness = Self::with(feature)?;
        let mut target = harness.machine.features.record();
        drop(harness);
        Self::on(|btf| {
            let no = Probe::No { why: "not wanted".to_owned() };
            target.answers.insert(feature.name().to_owned(), no);
            let features = Features::recorded(target);
            Arc::new(Machine { features, ..Machine::running(btf.clone()) })
        })
    }

    fn on(machine: impl FnOnce(&Arc<Btf>) -> Arc<Machine>) -> Option<Self> {
        let btf = match BTF.get_or_init(|| Btf::from_file(KERNEL_BTF).map(Arc::new)) {
            Ok(btf) => btf.clone(),
            Err(error) => {
                eprintln!("skipped: {error}");
                return None;
            }
        };
        // Some features are probed through tracefs and the BPF filesystem.
        let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let memory = cgroups.contains(":memory:").then_some("memory");
        let cgroup = CgroupOf::controller(&btf, memory).unwrap();
        let options = Options { cgroup, environment: false, data_max: 256 << 10 };
        let rings = Rings { base: 1 << 21, observation: 1 << 22 };
        let mut base = match Base::load(&btf, &options, rings) {
            Ok(base) => base,
            Err(compiler::Error::Kernel(error)) if error.errno() == Some(kernel::Errno::EPERM) => {
                eprintln!("skipped: {error}");
                return None;
            }
            Err(error) => panic!("{error}\n{error:?}"),
        };
        base.attach().unwrap();
        let machine = machine(&btf);
        let policies = Policies::new(machine.clone(), &base).unwrap();
        let decoder = policies.decoder();
        let ring = RingBuffer::new(base.observation_ring().try_clone().unwrap()).unwrap();
        let ring = RingSet::new(vec![ring]).unwrap();
        Some(Self { base, machine, policies, decoder, ring })
    }

    /// The same, where the kernel also has `feature`.
    pub(crate) fn with(feature: Feature) -> Option<Self> {
        let harness = Self::new()?;
        let probe = harness.machine.features.probe(feature);
        if !probe.is_yes() {
            eprintln!("skipped: no {feature}: {}", probe.why().unwrap_or_default());
            return None;
        }
        Some(harness)
    }

    /// The same on a kernel with `feature` that is made to look as if it had none of `lacks`.
    pub(crate) fn without(feature: Feature, lacks: &[Feature]) -> Option<Self> {
        let mut harness = Self::with(feature)?;
        let btf = harness.machine.btf.clone();
        let running = Machine::running(btf.clone());
        let mut target = running.features.record();
        for feature in lacks {
            target.answers.insert(feature.name().to_owned(), Probe::no("left out by a test"));
        }
        let machine = Machine { features: Features::recorded(target), ..running };
        harness.machine = Arc::new(machine);
        harness.policies = Policies::new(harness.machine.clone(), &harness.base).unwrap();
        harness.decoder = harness.policies.decoder();
        Some(harness)
    }

    /// Puts a policy in force, under its own name.
    pub(crate) fn load(&mut self, yaml: &str) {
        self.try_load(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    }

    /// The same, which may fail.
    pub(crate) fn try_load(&mut self, yaml: &str) -> Result<(), String> {
        let policy = CheckedPolicy::read("test.yaml", yaml).map_err(|e| e.to_string())?;
        let key = policy.key("static");
        let plan = Plan::new(Arc::new(policy), &self.machine).map_err(|e| e.to_string())?;
        self.policies.add_plan(key, plan).map_err(|error| format!("{error}\n{error:?}"))
    }

    /// Takes a policy out of force.
    pub(crate) fn remove(&mut self, name: &str) {
        let key = PolicyKey {
            domain: "static".to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        assert!(self.policies.remove(&key).unwrap());
    }

    /// What is observed in this process while `body` runs.
    pub(crate) fn during(&mut self, body: impl FnOnce()) -> Vec<Observation> {
        let own = std::process::id();
        self.everything_during(body).into_iter().filter(|seen| seen.process.pid == own).collect()
    }

    /// What is observed in any process while `body` runs.
    pub(crate) fn everything_during(&mut self, body: impl FnOnce()) -> Vec<Observation> {
        self.drain();
        body();
        self.drain()
    }

    fn drain(&mut self) -> Vec<Observation> {
        let mut seen = Vec::new();
        let end = Instant::now() + Duration::from_secs(1);
        // Records are in the ring when the call that wrote them is over.
        while Instant::now() < end {
            self.ring.wait(Some(Duration::ZERO)).unwrap();
            let mut some = false;
            let decoder = &mut self.decoder;
            self.ring.consume(|_, bytes| {
                some = true;
                seen.extend(decoder.decode(bytes).unwrap());
                seen.extend(std::iter::from_fn(|| decoder.measured()));
            });
            if !some {
                break;
            }
        }
        seen
    }
}

/// A policy with one hook in a section; `hook` is YAML, indented by nothing.
pub(crate) fn policy(name: &str, section: &str, hook: &str) -> String {
    hooks(name, section, [hook])
}

/// A policy with several hooks in a section.
pub(crate) fn hooks<H: AsRef<str>>(
    name: &str,
    section: &str,
    hooks: impl IntoIterator<Item = H>,
) -> String {
    let mut text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n  {section}:\n"
    );
    for hook in hooks {
        for (index, line) in hook.as_ref().trim_matches('\n').lines().enumerate() {
            text.push_str(if index == 0 { "  - " } else { "    " });
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Which hook of its section saw it, from 0.
pub(crate) fn hook_number(seen: &Observation) -> usize {
    let path = &seen.hook.place.path;
    let number = path.rsplit_once('[').and_then(|(_, number)| number.strip_suffix(']'));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{path}"))
}

/// What was observed in this thread: tests run at the same time in one process.
pub(crate) fn own_thread(seen: Vec<Observation>) -> Vec<Observation> {
    let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    seen.into_iter().filter(|seen| seen.tid == thread).collect()
}

/// A policy that sees umask(2) with `mask`, in processes that `filter` (a part of a selector) is about.
pub(crate) fn umask_hook(name: &str, mask: u32, filter: &str) -> String {
    let hook = format!(
        "call: sys_umask\nsyscall: true\nargs:\n- {{index: 0, type: int}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{mask}']}}\n  {filter}\n"
    );
    policy(name, "kprobes", &hook)
}

/// Names of the policies that saw something while `body` ran, in any process; in order.
pub(crate) fn told(harness: &mut Harness, body: impl FnOnce()) -> Vec<String> {
    let seen = harness.everything_during(body);
    let mut names: Vec<String> = seen.iter().map(|seen| seen.policy.name.clone()).collect();
    names.sort();
    names
}

/// Calls umask(2) in the current thread. Tests run at the same time: each has its own masks.
pub(crate) fn umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// Runs a command to its end.
pub(crate) fn shell(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Path of an executable as the kernel knows it.
pub(crate) fn resolved(path: impl AsRef<Path>) -> String {
    std::fs::canonicalize(path).unwrap().to_str().unwrap().to_owned()
}

/// A directory that goes with the test.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(PathBuf::from(resolved(path)))
    }

    /// A copy of the shell.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy("/bin/sh", &path).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A copy of the shell, which goes by its name whatever the file is called.
pub(crate) fn command(path: &Path, script: &str) -> Command {
    let mut command = Command::new(path);
    command.arg0("sh").args(["-c", script]);
    command
}

/// A shell that waits for a line and then runs the script. It is past its exec.
pub(crate) fn waiting(path: &Path, script: &str) -> Child {
    let mut command = command(path, &format!("echo; read line; {script}"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    child
}

/// Lets it go on, and waits for its end.
pub(crate) fn go(mut child: Child) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
}

/// Loads policies that differ in one element of a part of their selector: name, operator, values.
pub(crate) fn load(harness: &mut Harness, mask: u32, section: &str, cases: &[(&str, &str, &str)]) {
    for (name, operator, value) in cases {
        let filter = format!("{section}: [{{operator: {operator}, values: {value}}}]");
        harness.load(&umask_hook(name, mask, &filter));
    }
}

/// unshare(1), or busybox's where that is all there is.
pub(crate) fn unshare_command() -> Command {
    if Path::new("/usr/bin/unshare").exists() {
        return Command::new("/usr/bin/unshare");
    }
    let mut command = Command::new("/bin/busybox");
    command.arg("unshare");
    command
}
