//! What has a path: files by `struct file`, descriptor, `struct path`, `struct dentry`,
//! `struct linux_binprm` or `struct kiocb`, brought down to a dentry and its mount.
//!
//! Pointers whose type the verifier knows are followed by plain loads, which cost one instruction each
//! and read 0 at a bad address. Others are given a type first, where the kernel has
//! `bpf_rdonly_cast()` (6.2), which costs nothing at run time; elsewhere they are read by
//! `bpf_probe_read_kernel()`.

use crate::Error;
use crate::emit::load::status;
use crate::emit::{Emitter, Loaded};
use crate::helper;
use crate::read::Base;
use ebpf::{Block, Cond, Kfunc, Size, Value};
use kernel::features::Feature;
use policy::document::TypeName;

/// A file, directory or whatever else has a dentry.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    /// `struct dentry`
    pub(crate) dentry: Base,
    /// `struct vfsmount`; `None`: only the place in its filesystem is known.
    pub(crate) mount: Option<Base>,
}

/// Members that the verifier takes never to be null where it trusts the structure, so that it removes tests
/// of them and lets loads from them fault: `BTF_TYPE_SAFE_TRUSTED` in kernel/bpf/verifier.c, since Linux 6.4,
/// before which nothing is trusted so. But negative dentries have no inode (a program that read its mode would
/// panic 6.12), and sockets that are being made have no sock.
const NULL_ALL_THE_SAME: [(&str, &str); 2] = [("dentry", "d_inode"), ("socket", "sk")];

impl Emitter<'_> {
    /// An address as a pointer of a type that the verifier knows, where the kernel has such a thing.
    pub(crate) fn typed(&mut self, address: Value, structure: &str) -> Result<Base, Error> {
        if !self.machine.features.probe(Feature::RdonlyCast).is_yes() {
            return Ok(Base::Address(address));
        }
        let btf = &self.machine.btf;
        let cast = Kfunc { btf_id: btf.find_func("bpf_rdonly_cast")?.0, btf_fd_index: 0 };
        let ty = btf.find_struct(structure)?;
        let ty = self.b.iconst(ty.0.into());
        Ok(Base::Typed(self.b.call_kfunc(cast, &[address, ty])))
    }

    /// The pointer in a member of the structure itself; `to` is the structure that it points to. Its
    /// type is known when that of `base` is.
    pub(crate) fn pointer(
        &mut self,
        base: Base,
        structure: &str,
        member: &str,
        to: &str,
    ) -> Result<Base, Error> {
        let pointer = self.member(base, structure, member)?;
        match base {
            // A cast pointer is one that the verifier trusts nothing of: loads of it read 0 at null.
            Base::Typed(_) if NULL_ALL_THE_SAME.contains(&(structure, member)) => {
                Ok(match self.typed(pointer, to)? {
                    Base::Address(pointer) => Base::Typed(pointer),
                    cast => cast,
                })
            }
            Base::Typed(_) => Ok(Base::Typed(pointer)),
            Base::Address(_) => self.typed(pointer, to),
        }
    }

    /// The pointer in a member of the structure itself, whatever it points to.
    pub(crate) fn member(
        &mut self,
        base: Base,
        structure: &str,
        member: &str,
    ) -> Result<Value, Error> {
        let offset = self.read.offset(structure, member)?;
        Ok(match base {
            Base::Typed(pointer) => self.b.load(Size::U64, pointer, offset as i16),
            Base::Address(address) => {
                self.read.probe(&mut self.b, address, offset as u32, Size::U64)
            }
        })
    }

    /// The dentry and the mount of a value of a type that has a path. Goes to `fault`, which takes a
    /// status, where there is none.
    pub(crate) fn object(
        &mut self,
        kind: TypeName,
        loaded: Loaded,
        fault: Block,
    ) -> Result<Object, Error> {
        let structure = match kind {
            TypeName::Fd => {
                let file = self.descriptor(loaded.value, fault)?;
                return self.of_file(file, fault);
            }
            TypeName::File => "file",
            TypeName::Path => "path",
            TypeName::Dentry => "dentry",
            TypeName::LinuxBinprm => "linux_binprm",
            _ => "kiocb",
        };
        self.fault_if(Cond::Eq, loaded.value, 0, fault, status::ADDRESS);
        let base = match loaded.base() {
            Base::Address(address) => self.typed(address, structure)?,
            typed => typed,
        };
        match kind {
            TypeName::File => self.of_file(base, fault),
            TypeName::Path => {
                let dentry = self.pointer(base, "path", "dentry", "dentry")?;
                let mount = self.pointer(base, "path", "mnt", "vfsmount")?;
                self.present(dentry, fault);
                Ok(Object { dentry, mount: Some(mount) })
            }
            TypeName::Dentry => Ok(Object { dentry: base, mount: None }),
            TypeName::LinuxBinprm => {
                let file = self.pointer(base, structure, "file", "file")?;
                self.of_file(file, fault)
            }
            _ => {
                let file = self.pointer(base, structure, "ki_filp", "file")?;
                self.of_file(file, fault)
            }
        }
    }

    fn of_file(&mut self, file: Base, fault: Block) -> Result<Object, Error> {
        self.present(file, fault);
        let dentry = self.pointer(file, "file", "f_path.dentry", "dentry")?;
        let mount = self.pointer(file, "file", "f_path.mnt", "vfsmount")?;
        self.present(dentry, fault);
        Ok(Object { dentry, mount: Some(mount) })
    }

    /// A fault where a pointer is null.
    fn present(&mut self, pointer: Base, fault: Block) {
        self.fault_if(Cond::Eq, pointer.value(), 0, fault, status::ADDRESS);
    }

    /// The file behind a descriptor of the current process: `files->fdt->fd[n]`.
    fn descriptor(&mut self, number: Value, fault: Block) -> Result<Base, Error> {
        let task = self.current();
        let number = self.b.zext(number, Size::U32);
        let table = self.read.get(&mut self.b, Base::Typed(task), "task_struct", "files.fdt")?;
        let table = Base::Address(table);
        let size = self.read.get(&mut self.b, table, "fdtable", "max_fds")?;
        let on = self.b.create_block();
        let code = self.b.iconst(status::ADDRESS.into());
        self.b.branch(Cond::Uge, number, size, fault, &[code], on, &[]);
        self.b.switch_to(on);
        let files = self.read.get(&mut self.b, table, "fdtable", "fd")?;
        let offset = self.b.shl(number, 3);
        let at = self.b.add(files, offset);
        let file = self.probe(at, 0, Size::U64, fault, status::ADDRESS);
        self.fault_if(Cond::Eq, file, 0, fault, status::ADDRESS);
        self.typed(file, "file")
    }

    /// `i_mode` of a dentry's inode; 0 when it has none.
    pub(crate) fn mode(&mut self, dentry: Base) -> Result<Value, Error> {
        let inode = self.pointer(dentry, "dentry", "d_inode", "inode")?;
        let offset = self.read.offset("inode", "i_mode")?;
        let (there, done) = (self.b.create_block(), self.b.create_block());
        let mode = self.b.append_param(done);
        let none = self.b.iconst(0);
        // A negative dentry has none; the verifier asks where it knows that.
        self.b.branch(Cond::Ne, inode.value(), 0, there, &[], done, &[none]);
        self.b.switch_to(there);
        let value = match inode {
            Base::Typed(inode) => self.b.load(Size::U16, inode, offset as i16),
            Base::Address(inode) => self.read.probe(&mut self.b, inode, offset as u32, Size::U16),
        };
        self.b.jump(done, &[value]);
        self.b.switch_to(done);
        Ok(mode)
    }

    /// Address of the root of the current process, a `struct path`.
    pub(crate) fn root(&mut self) -> Result<Value, Error> {
        let task = self.current();
        let fs = self.read.offset("task_struct", "fs")?;
        let root = self.read.offset("fs_struct", "root")?;
        let fs = self.b.load(Size::U64, task, fs as i16);
        Ok(self.b.add(fs, root))
    }

    /// Copies kernel memory.
    pub(crate) fn copy(&mut self, to: Value, length: Value, from: Value) {
        self.b.call(helper::PROBE_READ_KERNEL, &[to, length, from]);
    }
}
