//! What is kept of processes, in place: maps, programs, links.

use super::ancestry::Ancestry;
use super::enforcers::{self, Missed};
use super::image;
use super::maps::{Shape, Wanted};
use super::needs::Needs;
use super::privileges;
use super::program::{Follower, Hook, LOST};
use super::scopes::Scopes;
use super::sockets;
use super::workloads::{self, Workloads};
use crate::base::Base;
use crate::emit::section::Section;
use crate::keep::{Keep, KeptLink};
use crate::{Error, Machine, load};
use kernel::features::ProgramKind;
use kernel::link::{Link, Over};
use kernel::map::Map;
use policy::PolicyKey;
use policy::evaluate::Workload;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// All that is kept.
#[derive(Debug)]
pub(crate) struct Followers {
    machine: Arc<Machine>,
    keep: Option<Keep>,
    states: Map,
    lost: Map,
    images: Option<Kept>,
    ancestries: BTreeMap<Ancestry, Kept>,
    privileges: BTreeMap<String, Kept>,
    enforcers: BTreeMap<(String, String), Kept>,
    sockets: BTreeMap<String, Kept>,
    pub(crate) scopes: Scopes,
    workloads: Workloads,
    cgroups: Option<Kept>,
}

/// One kind of it. Dropped, it is kept no longer.
#[derive(Debug)]
struct Kept {
    maps: Vec<Map>,
    /// The last first: they are detached in this order.
    _links: Vec<KeptLink>,
}

impl Kept {
    /// Creates the maps, attaches the programs, then gives every process its record. The programs may
    /// refer to `others` as well.
    fn start(
        wanted: &[Wanted],
        followers: Vec<Follower>,
        others: &[&Map],
        machine: &Machine,
        keep: Option<&Keep>,
    ) -> Result<Self, Error> {
        let maps = wanted.iter().map(Wanted::create).collect::<Result<Vec<_>, Error>>()?;
        let mut links = Vec::new();
        let all: Vec<&Map> = maps.iter().chain(others.iter().copied()).collect();
        for Follower { hook, module } in followers {
            let btf = &machine.btf;
            match hook {
                Hook::Tracepoint(name) => {
                    let target = btf.find_typedef(&format!("btf_trace_{name}"))?;
                    let program = load::program(&module, ProgramKind::TpBtf, Some(target), &all)?;
                    let link = Link::tracing(&program, name, 0)?;
                    links.insert(0, KeptLink::new(link, name, keep)?);
                }
                Hook::Tasks => {
                    let target = btf.find_func("bpf_iter_task")?;
                    let program =
                        load::program(&module, ProgramKind::IterTask, Some(target), &all)?;
                    let link = Link::iterator(&program, "task", Over::All)?;
                    let mut nothing = Vec::new();
                    link.iterate()?.read_to_end(&mut nothing).map_err(Error::Iterator)?;
                }
            }
        }
        Ok(Self { maps, _links: links })
    }
}

impl Followers {
    /// Nothing is kept yet.
    pub(crate) fn new(machine: Arc<Machine>, base: &Base) -> Result<Self, Error> {
        Ok(Self {
            machine,
            keep: None,
            states: base.states().try_clone()?,
            lost: Wanted::new(LOST, Shape::One, 8).create()?,
            images: None,
            ancestries: BTreeMap::new(),
            privileges: BTreeMap::new(),
            enforcers: BTreeMap::new(),
            sockets: BTreeMap::new(),
            scopes: Scopes::new(base.cgroup()),
            workloads: Workloads::default(),
            cgroups: None,
        })
    }

    /// From now on pins what is attached, which stays when the agent ends.
    pub(crate) fn keep(&mut self, keep: Keep) {
        self.keep = Some(keep);
    }

    /// Keeps what these sections need, beside what is kept already. When it returns, every process has
    /// its records.
    pub(crate) fn follow<'s>(
        &mut self,
        sections: impl IntoIterator<Item = &'s Section>,
    ) -> Result<(), Error> {
        let needs = Needs::of(sections);
        if needs.images && self.images.is_none() {
            let followers = image::followers(&self.machine.btf)?;
            let kept = Kept::start(
                &image::maps(),
                followers,
                &[&self.states, &self.lost],
                &self.machine,
                self.keep.as_ref(),
            )?;
            self.images = Some(kept);
        }
        for ancestry in needs.ancestries {
            if !self.ancestries.contains_key(&ancestry) {
                let mut others = vec![&self.states, &self.lost];
                others.extend(self.images.iter().flat_map(|kept| &kept.maps));
                let followers = ancestry.followers(&self.machine.btf)?;
                let kept = Kept::start(
                    &ancestry.maps(),
                    followers,
                    &others,
                    &self.machine,
                    self.keep.as_ref(),
                )?;
                self.ancestries.insert(ancestry, kept);
            }
        }
        for name in needs.privileges {
            if !self.privileges.contains_key(&name) {
                let followers = privileges::followers(&name, &self.machine.btf)?;
                let kept = Kept::start(
                    &privileges::maps(&name),
                    followers,
                    &[&self.lost],
                    &self.machine,
                    self.keep.as_ref(),
                )?;
                self.privileges.insert(name, kept);
            }
        }
        for names in needs.enforcers {
            if !self.enforcers.contains_key(&names) {
                let (maps, keep) = (enforcers::maps(&names), self.keep.as_ref());
                let kept = Kept::start(&maps, Vec::new(), &[], &self.machine, keep)?;
                self.enforcers.insert(names, kept);
            }
        }
        for name in needs.sockets {
            if !self.sockets.contains_key(&name) {
                let maps = [sockets::map(&name)];
                let kept = Kept::start(&maps, Vec::new(), &[], &self.machine, self.keep.as_ref())?;
                self.sockets.insert(name, kept);
            }
        }
        let mut changed = false;
        for restriction in needs.restrictions {
            changed |= self.scopes.add(restriction)?;
        }
        match &self.cgroups {
            Some(kept) if changed => self.workloads.write_workloads(&self.scopes, &kept.maps),
            None if changed => self.follow_cgroups(),
            _ => Ok(()),
        }
    }

    fn follow_cgroups(&mut self) -> Result<(), Error> {
        let machine = &self.machine;
        let followers = workloads::followers(&machine.btf, self.scopes.cgroup)?;
        let kept =
            Kept::start(&workloads::maps(), followers, &[&self.lost], machine, self.keep.as_ref())?;
        self.workloads.write_all(&self.scopes, &kept.maps)?;
        self.cgroups = Some(kept);
        Ok(())
    }

    /// Says what workload a cgroup belongs to, and all that are made below it from now on.
    pub(crate) fn set_workload(&mut self, cgroup: u64, workload: &Workload) -> Result<(), Error> {
        // From the first container on, whether or not a policy asks: what is made below must follow.
        if self.cgroups.is_none() && *workload != Workload::Host {
            self.follow_cgroups()?;
        }
        let maps = self.cgroups.as_ref().map(|kept| &*kept.maps);
        self.workloads.set(cgroup, workload, &self.scopes, maps)
    }

    /// Keeps no more than what these sections need.
    pub(crate) fn keep_only<'s>(&mut self, sections: impl IntoIterator<Item = &'s Section>) {
        let needs = Needs::of(sections);
        self.scopes.keep_only(&needs.restrictions);
        self.ancestries.retain(|ancestry, _| needs.ancestries.contains(ancestry));
        self.privileges.retain(|name, _| needs.privileges.contains(name));
        self.enforcers.retain(|names, _| needs.enforcers.contains(names));
        self.sockets.retain(|name, _| needs.sockets.contains(name));
        if !needs.images {
            self.images = None;
        }
    }

    /// Records that could not be kept, for want of memory or of room in a table.
    pub(crate) fn lost(&self) -> Result<u64, Error> {
        let value = self.lost.lookup(&0_u32.to_ne_bytes())?.unwrap_or_default();
        Ok(value.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes)))
    }

    /// The notifications of a policy's enforcer that took no effect.
    pub(crate) fn missed(&self, key: &PolicyKey) -> Result<Vec<Missed>, Error> {
        let own = super::digest(key);
        let names = (enforcers::notices(&own), enforcers::missed(&own));
        let Some(Kept { maps, .. }) = self.enforcers.get(&names) else { return Ok(Vec::new()) };
        maps.last().map_or(Ok(Vec::new()), enforcers::read)
    }

    /// The maps that programs of policies read.
    pub(crate) fn maps(&self) -> impl Iterator<Item = &Map> {
        let kept = self.images.iter().chain(self.ancestries.values());
        let kept = kept.chain(self.privileges.values()).chain(self.enforcers.values());
        let kept = kept.chain(self.sockets.values());
        kept.chain(&self.cgroups).flat_map(|kept| &kept.maps)
    }
}
