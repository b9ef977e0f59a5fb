//! The base programs in place: maps, programs, links, and what user space asks of them.

use super::cgroup::CgroupOf;
use super::maps::{BaseMaps, Rings};
use super::programs::{BaseProgram, Hook, Options, programs};
use super::record::{Flags, Identity, Task, kind};
use super::{emit, state};
use crate::keep::{Keep, Pin};
use crate::{Error, load};
use kernel::btf::Btf;
use kernel::features::ProgramKind;
use kernel::link::{Link, Over};
use kernel::map::{Map, Update};
use kernel::program::Program;
use kernel::{Errno, pidfd};
use std::collections::HashMap;
use std::io::Read;
use std::os::fd::AsFd;

/// The base programs, verified by the kernel.
#[derive(Debug)]
pub struct Base {
    maps: BaseMaps,
    cgroup: CgroupOf,
    programs: Vec<(Hook, Program)>,
    /// One for each attached tracepoint.
    links: Vec<Link>,
}

/// What the programs counted on one CPU since they were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Sequence number of the last record, sent or lost.
    pub seq: u64,
    /// Records that the full ring did not take, by [`kind`].
    pub lost: [u64; kind::COUNT as usize],
    /// Processes for which no state could be allocated.
    pub no_state: u64,
    /// Processes whose state could not be kept when their leader ended before its threads.
    pub no_handover: u64,
}

impl Base {
    /// Creates the maps and loads the programs; nothing runs yet.
    pub fn load(btf: &Btf, options: &Options, rings: Rings) -> Result<Self, Error> {
        let maps = BaseMaps::create(rings)?;
        let shared = maps.all();
        let programs = programs(btf, options)?
            .into_iter()
            .map(|BaseProgram { hook, module, .. }| {
                let (kind, target) = match hook {
                    Hook::Tracepoint(name) => {
                        let target = btf.find_typedef(&format!("btf_trace_{name}"))?;
                        (ProgramKind::TpBtf, target)
                    }
                    Hook::Tasks => (ProgramKind::IterTask, btf.find_func("bpf_iter_task")?),
                };
                let program = load::program(&module, kind, Some(target), &shared)?;
                Ok((hook, program))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { maps, cgroup: options.cgroup, programs, links: Vec::new() })
    }

    /// Attaches the tracepoints: records flow from now on.
    pub fn attach(&mut self) -> Result<(), Error> {
        for (hook, program) in &self.programs {
            if let Hook::Tracepoint(name) = hook {
                self.links.push(Link::tracing(program, name, 0)?);
            }
        }
        Ok(())
    }

    /// Pins the links, so that what policies need of the base programs stays when the agent ends.
    pub(crate) fn pin(&self, keep: &Keep) -> Result<Vec<Pin>, Error> {
        self.links.iter().map(|link| keep.link(link, link.target())).collect()
    }

    /// Every process there is. Call it after [`Self::attach`]: then each is either in this list with
    /// [`Flags::PROCFS`], or announced by records. Parents stand before their children.
    pub fn scan(&self) -> Result<Vec<Task>, Error> {
        let mut bytes = Vec::new();
        for (hook, program) in &self.programs {
            if *hook == Hook::Tasks {
                let link = Link::iterator(program, "task", Over::All)?;
                let mut output = link.iterate()?;
                output.read_to_end(&mut bytes).map_err(Error::Iterator)?;
            }
        }
        let mut tasks = Task::decode_all(&bytes)?;
        mark_init_trees(&mut tasks);
        Ok(tasks)
    }

    /// Gives the processes of a scan the state that the programs did not create, so that their
    /// descendants find it. One that has called exec meanwhile keeps what its exec made.
    pub fn adopt(&self, tasks: &[Task]) -> Result<(), Error> {
        for task in tasks.iter().filter(|task| task.flags.contains(Flags::PROCFS)) {
            let Some(pidfd) = pidfd::open(task.process.pid)? else { continue };
            match self.maps.states.update_task(pidfd.as_fd(), &stored(task), Update::Create) {
                Ok(()) => {}
                // It has state already, or has ended.
                Err(error) if matches!(error.errno(), Some(Errno::EEXIST | Errno::ESRCH)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The identity of a process's image at this moment. `None`: it has ended, or has no state.
    pub fn identity(&self, pid: u32) -> Result<Option<Identity>, Error> {
        let Some(pidfd) = pidfd::open(pid)? else { return Ok(None) };
        let state = self.maps.states.lookup_task(pidfd.as_fd())?;
        Ok(state.and_then(|state| {
            let ktime = state.get(state::at::KTIME as usize..)?.first_chunk()?;
            let pid = state.get(state::at::PID as usize..)?.first_chunk()?;
            Some(Identity { ktime: u64::from_ne_bytes(*ktime), pid: u32::from_ne_bytes(*pid) })
        }))
    }

    /// The hierarchy that says what container a process is in.
    pub(crate) fn cgroup(&self) -> CgroupOf {
        self.cgroup
    }

    /// The ring of process records and enforcement.
    pub fn ring(&self) -> &Map {
        &self.maps.ring
    }

    /// The state of processes, in task storage.
    pub(crate) fn states(&self) -> &Map {
        &self.maps.states
    }

    /// The ring of what policies observe.
    pub fn observation_ring(&self) -> &Map {
        &self.maps.observation
    }

    /// What was lost, for each possible CPU.
    pub fn losses(&self) -> Result<Vec<Losses>, Error> {
        let values = self.maps.cpu.lookup_per_cpu(&0_u32.to_ne_bytes())?;
        let word = |value: &[u8], offset: i16| {
            let bytes = value.get(offset as usize..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
        };
        Ok(values
            .iter()
            .flat_map(|values| values.iter())
            .map(|value| {
                let mut lost = [0; kind::COUNT as usize];
                for (kind, count) in lost.iter_mut().enumerate() {
                    *count = word(value, emit::cpu::LOST + 8 * kind as i16);
                }
                Losses {
                    seq: word(value, emit::cpu::SEQ),
                    lost,
                    no_state: word(value, emit::cpu::NO_STATE),
                    no_handover: word(value, emit::cpu::NO_HANDOVER),
                }
            })
            .collect())
    }

    /// Times that the kernel did not run a program because it was running on that CPU already
    /// (Linux 5.12 counts them, `bpf_prog_inc_misses_counter()`).
    pub fn missed_runs(&self) -> Result<u64, Error> {
        let mut sum = 0;
        for (_, program) in &self.programs {
            sum += program.statistics()?.recursion_misses;
        }
        Ok(sum)
    }

    /// Bytes of kernel memory that the maps take.
    pub fn memory_bytes(&self) -> Result<u64, Error> {
        let mut sum = 0;
        for map in self.maps.all() {
            sum += map.memory_bytes()?;
        }
        Ok(sum)
    }
}

/// Puts parents before children and passes [`Flags::IN_INIT_TREE`] down.
fn mark_init_trees(tasks: &mut Vec<Task>) {
    let by_pid: HashMap<u32, usize> =
        tasks.iter().enumerate().map(|(i, task)| (task.process.pid, i)).collect();
    // Distance from the root; a cycle cannot be (a parent started before its child), but a wrong
    // reading of a tree that changes must not hang: nobody is deeper than there are tasks.
    let depth = |mut i: usize| {
        let mut depth = 0;
        while let Some(&up) = by_pid.get(&tasks[i].parent.pid) {
            if up == i || depth > tasks.len() {
                break;
            }
            (i, depth) = (up, depth + 1);
        }
        depth
    };
    let mut order: Vec<(usize, Task)> =
        tasks.iter().enumerate().map(|(i, task)| (depth(i), *task)).collect();
    order.sort_by_key(|(depth, task)| (*depth, task.process.pid));
    *tasks = order.into_iter().map(|(_, task)| task).collect();
    let mut inside = std::collections::HashSet::new();
    for task in tasks {
        if inside.contains(&task.parent.pid) {
            task.flags |= Flags::IN_INIT_TREE;
        }
        if task.flags.contains(Flags::IN_INIT_TREE) {
            inside.insert(task.process.pid);
        }
    }
}

/// The state of a process that was found, as the programs would write it.
fn stored(task: &Task) -> [u8; state::at::SIZE as usize] {
    use state::at;
    let mut bytes = [0; at::SIZE as usize];
    let mut put = |offset: i16, value: &[u8]| {
        bytes[offset as usize..offset as usize + value.len()].copy_from_slice(value);
    };
    put(at::KTIME, &task.process.ktime.to_ne_bytes());
    put(at::PID, &task.process.pid.to_ne_bytes());
    put(at::FLAGS, &task.flags.bits().to_ne_bytes());
    put(at::PARENT_KTIME, &task.parent.ktime.to_ne_bytes());
    put(at::PARENT_PID, &task.parent.pid.to_ne_bytes());
    put(at::NSPID, &task.nspid.to_ne_bytes());
    bytes
}
