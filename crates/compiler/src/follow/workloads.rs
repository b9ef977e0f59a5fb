//! What workload each cgroup belongs to, and which restrictions of policies include it.
//!
//! User space says of the cgroups of containers what they are; whatever is in none of them is the
//! host. A cgroup that is made below one of them belongs to the same workload, from its first moment
//! on: a program on `cgroup_mkdir` sees to that, one on `cgroup_release` forgets cgroups that are gone.
//! Cgroups have the number of their workload, and workloads have the set of restrictions that include
//! them, so a restriction that comes or goes changes as many elements as there are workloads.

use super::maps::{Shape, Wanted};
use super::program::{Emitter, Follower, Hook};
use super::scopes::Scopes;
use crate::base::CgroupOf;
use crate::flow::return_if;
use crate::read::Base;
use crate::{Error, helper};
use ebpf::{Cond, Function, MapRef, Module, Size, Value};
use kernel::btf::{Btf, BtfError};
use kernel::map::{Map, Update};
use policy::evaluate::Workload;
use std::collections::HashMap;

/// Hash from the id of a cgroup (u64) to the number of its workload (u64).
pub(crate) const CGROUPS: &str = "tg_cgroups";
/// Hash from the number of a workload (u64) to the set of restrictions that include it.
pub(crate) const WORKLOADS: &str = "tg_workloads";
/// Words in the set. A power of two.
pub(crate) const WORDS: usize = 64;
/// Cgroups of containers, at most.
const CGROUPS_MAX: u32 = 65536;
/// Workloads at most: containers that differ in what policies can ask for.
const WORKLOADS_MAX: u32 = 32768;

pub(super) fn maps() -> Vec<Wanted> {
    let hash = |max_entries| Shape::Hash { key_size: 8, max_entries };
    vec![
        Wanted::new(CGROUPS, hash(CGROUPS_MAX), 8),
        Wanted::new(WORKLOADS, hash(WORKLOADS_MAX), 8 * WORDS as u32),
    ]
}

pub(super) fn followers(btf: &Btf, of: CgroupOf) -> Result<Vec<Follower>, Error> {
    type Body = fn(Emitter<'_>, MapRef, CgroupOf) -> Result<Function, Error>;
    let follower = |name, hook, body: Body| -> Result<Follower, Error> {
        let mut module = Module::new(name);
        let cgroups = module.map(CGROUPS);
        let main = module.declare(name, 1);
        let emitter = Emitter::new(name, 1, btf, &mut module);
        module.define(main, body(emitter, cgroups, of)?);
        Ok(Follower { hook: Hook::Tracepoint(hook), module })
    };
    Ok(vec![
        follower("tg_scope_mkdir", "cgroup_mkdir", mkdir)?,
        follower("tg_scope_free", "cgroup_release", release)?,
    ])
}

/// The cgroup that a tracepoint is about. Returns from the function unless it is in the hierarchy that
/// matters: ids are unique in theirs only.
fn cgroup(e: &mut Emitter<'_>, of: CgroupOf) -> Result<Value, BtfError> {
    let context = e.b.param(0);
    let cgroup = e.b.load(Size::U64, context, 0);
    let (path, cond) = match of {
        CgroupOf::Unified => ("root.hierarchy_id".to_owned(), Cond::Ne),
        CgroupOf::Controller(id) => (format!("subsys[{id}]"), Cond::Eq),
    };
    let found = e.read.get(&mut e.b, Base::Typed(cgroup), "cgroup", &path)?;
    return_if(&mut e.b, cond, found, 0, 0);
    Ok(cgroup)
}

/// The address of a copy of the cgroup's id.
fn key(e: &mut Emitter<'_>, cgroup: Value, path: &str) -> Result<Value, BtfError> {
    let id = e.read.get(&mut e.b, Base::Typed(cgroup), "cgroup", path)?;
    let slot = e.b.slot(8, 8);
    e.b.slot_store(Size::U64, slot, 0, id);
    Ok(e.b.slot_addr(slot, 0))
}

/// `cgroup_mkdir`: it belongs where its parent does.
fn mkdir(mut e: Emitter<'_>, cgroups: MapRef, of: CgroupOf) -> Result<Function, Error> {
    let cgroup = cgroup(&mut e, of)?;
    let parent = key(&mut e, cgroup, "self.parent.cgroup.kn.id")?;
    let map = e.b.map(cgroups);
    let workload = e.b.call(helper::MAP_LOOKUP_ELEM, &[map, parent]);
    return_if(&mut e.b, Cond::Eq, workload, 0, 0);
    let own = key(&mut e, cgroup, "kn.id")?;
    let map = e.b.map(cgroups);
    let flags = e.b.iconst(0);
    let failed = e.b.call(helper::MAP_UPDATE_ELEM, &[map, own, workload, flags]);
    return_if(&mut e.b, Cond::Eq, failed, 0, 0);
    e.count_lost();
    e.finish()
}

/// `cgroup_release`: it is gone.
fn release(mut e: Emitter<'_>, cgroups: MapRef, of: CgroupOf) -> Result<Function, Error> {
    let cgroup = cgroup(&mut e, of)?;
    let own = key(&mut e, cgroup, "kn.id")?;
    let map = e.b.map(cgroups);
    e.b.call(helper::MAP_DELETE_ELEM, &[map, own]);
    e.finish()
}

/// The workloads that user space has told of.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    /// By number: a workload, and how many cgroups are said to be its own.
    numbered: Vec<Option<(Workload, usize)>>,
    /// Numbers by cgroup.
    cgroups: HashMap<u64, usize>,
}

impl Workloads {
    /// Says what a cgroup belongs to. `maps`: where that is written, if there is anything to write to.
    pub(super) fn set(
        &mut self,
        cgroup: u64,
        workload: &Workload,
        scopes: &Scopes,
        maps: Option<&[Map]>,
    ) -> Result<(), Error> {
        if *workload == Workload::Host {
            return self.remove(cgroup, maps);
        }
        let known = |slot: &Option<(Workload, usize)>| {
            slot.as_ref().is_some_and(|(known, _)| known == workload)
        };
        let number = self.numbered.iter().position(known).unwrap_or_else(|| {
            let number = self.numbered.iter().position(Option::is_none);
            let number = number.unwrap_or(self.numbered.len());
            if number == self.numbered.len() {
                self.numbered.push(None);
            }
            self.numbered[number] = Some((workload.clone(), 0));
            number
        });
        if self.cgroups.get(&cgroup) == Some(&number) {
            return Ok(());
        }
        if let Some(maps) = maps {
            write_workload(maps, number, workload, scopes)?;
            write_cgroup(maps, cgroup, number)?;
        }
        let before = self.cgroups.insert(cgroup, number);
        if let Some((_, count)) = &mut self.numbered[number] {
            *count += 1;
        }
        before.map_or(Ok(()), |before| self.release(before, maps))
    }

    /// Says that a cgroup belongs to the host, or is gone.
    pub(super) fn remove(&mut self, cgroup: u64, maps: Option<&[Map]>) -> Result<(), Error> {
        if let Some([cgroups, ..]) = maps {
            cgroups.delete(&cgroup.to_ne_bytes())?;
        }
        match self.cgroups.remove(&cgroup) {
            Some(number) => self.release(number, maps),
            None => Ok(()),
        }
    }

    fn release(&mut self, number: usize, maps: Option<&[Map]>) -> Result<(), Error> {
        let Some(Some((_, count))) = self.numbered.get_mut(number) else { return Ok(()) };
        *count -= 1;
        if *count == 0 {
            self.numbered[number] = None;
            if let Some([_, workloads, ..]) = maps {
                workloads.delete(&(number as u64).to_ne_bytes())?;
            }
        }
        Ok(())
    }

    /// Writes everything to maps that know nothing yet.
    pub(super) fn write_all(&self, scopes: &Scopes, maps: &[Map]) -> Result<(), Error> {
        self.write_workloads(scopes, maps)?;
        self.cgroups.iter().try_for_each(|(&cgroup, &number)| write_cgroup(maps, cgroup, number))
    }

    /// Writes which restrictions include each workload.
    pub(super) fn write_workloads(&self, scopes: &Scopes, maps: &[Map]) -> Result<(), Error> {
        let mut numbered = self.numbered.iter().enumerate();
        numbered.try_for_each(|(number, slot)| match slot {
            Some((workload, _)) => write_workload(maps, number, workload, scopes),
            None => Ok(()),
        })
    }
}

fn write_workload(
    maps: &[Map],
    number: usize,
    workload: &Workload,
    scopes: &Scopes,
) -> Result<(), Error> {
    let Some(map) = maps.get(1) else { return Ok(()) };
    let bytes: Vec<u8> =
        scopes.including(workload).iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(map.update(&(number as u64).to_ne_bytes(), &bytes, Update::Any)?)
}

fn write_cgroup(maps: &[Map], cgroup: u64, number: usize) -> Result<(), Error> {
    let Some(map) = maps.first() else { return Ok(()) };
    Ok(map.update(&cgroup.to_ne_bytes(), &(number as u64).to_ne_bytes(), Update::Any)?)
}
