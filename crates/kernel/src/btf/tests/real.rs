//! The running kernel's own BTF.

use std::time::{Duration, Instant};

use super::super::*;

/// The running kernel's BTF, or `None` after saying why the test is skipped.
fn vmlinux() -> Option<Btf> {
    match Btf::vmlinux::<&str>(&[]) {
        Ok(btf) => Some(btf),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

#[test]
fn is_ready_quickly() {
    let started = Instant::now();
    let Some(btf) = vmlinux() else { return };
    let read = started.elapsed();
    let timed = |find: &dyn Fn()| {
        let started = Instant::now();
        find();
        started.elapsed()
    };
    let first_struct = timed(&|| assert!(btf.find_struct("task_struct").is_ok()));
    let first_func = timed(&|| assert!(btf.find_func("do_exit").is_ok()));
    let next_func = timed(&|| assert!(btf.find_func("vfs_read").is_ok()));
    eprintln!(
        "{} types read in {read:?}; first struct {first_struct:?}, first function {first_func:?}, \
         next {next_func:?}",
        btf.len()
    );
    // Without optimisation, beside other tests, on an emulated machine; natively and optimised it is
    // some milliseconds.
    assert!(read < Duration::from_secs(10));
}

#[test]
fn members_stand_where_the_kernel_has_them() {
    let Some(btf) = vmlinux() else { return };
    let task = btf.find_struct("task_struct").unwrap();
    let comm = btf.field(task, "comm").unwrap();
    assert_eq!((comm.size, comm.bits), (16, None));
    assert_eq!(btf.display(comm.ty), "char [16]");
    assert!(comm.offset < btf.size_of(task).unwrap());
    assert_eq!(btf.field(task, "comm[3]").unwrap().offset, comm.offset + 3);
    assert_eq!(btf.field(task, "pid").unwrap().size, 4);
    let parent = btf.field(task, "real_parent").unwrap();
    assert_eq!(btf.pointee(parent.ty), Some(task));

    // `__sk_common` is embedded and has its addresses in an anonymous struct in an anonymous union.
    let sock = btf.find_struct("sock").unwrap();
    let daddr = btf.field(sock, "__sk_common.skc_daddr").unwrap();
    let pair = btf.field(sock, "__sk_common.skc_addrpair").unwrap();
    let rcv_saddr = btf.field(sock, "__sk_common.skc_rcv_saddr").unwrap();
    assert_eq!((daddr.size, pair.size, rcv_saddr.size), (4, 8, 4));
    assert_eq!((daddr.offset, rcv_saddr.offset), (pair.offset, pair.offset + 4));

    // A bitfield next to others.
    let bprm = btf.find_struct("linux_binprm").unwrap();
    let secureexec = btf.field(bprm, "secureexec").unwrap();
    let bits = secureexec.bits.unwrap();
    assert_eq!(bits.size, 1);
    assert!(bits.offset < secureexec.size * 8);
    let before = btf.field(bprm, "execfd_creds").unwrap().bits.unwrap();
    assert_eq!(before.offset + 1, bits.offset);

    // An array of pointers.
    let set = btf.find_struct("css_set").unwrap();
    let all = btf.field(set, "subsys").unwrap();
    let fifth = btf.field(set, "subsys[4]").unwrap();
    assert_eq!((fifth.offset, fifth.size), (all.offset + 32, 8));
    let hops = btf.path(task, "cgroups.subsys[0].cgroup.kn.id").unwrap();
    assert_eq!(hops.len(), 5);
    assert!(hops[..4].iter().all(|hop| hop.size == 8 && hop.pointee.is_some()));
    assert_eq!((hops[4].size, hops[4].pointee), (8, None));

    let hops = btf.path(task, "mm.exe_file.f_path.dentry").unwrap();
    assert_eq!(hops.len(), 3);
    assert_eq!(hops[2].pointee, Some(btf.find_struct("dentry").unwrap()));

    let error = btf.field(task, "real_parrent").unwrap_err().to_string();
    assert!(error.contains("`real_parent`"), "{error}");
}

#[test]
fn functions_and_tracepoints_have_their_prototypes() {
    let Some(btf) = vmlinux() else { return };
    let open = btf.find_func("security_file_open").unwrap();
    assert_eq!(btf.prototype_text(open), "int security_file_open(struct file *file)");

    let exec = btf.tracepoint_prototype("sched_process_exec").unwrap();
    let types: Vec<_> = exec.params.iter().map(|param| btf.display(param.ty)).collect();
    assert_eq!(types, ["struct task_struct *", "pid_t", "struct linux_binprm *"]);
    let fork = btf.tracepoint_prototype("sched_process_fork").unwrap();
    assert_eq!(fork.params.len(), 2);
    assert!(btf.tracepoint_prototype("sched_process_teleport").is_err());

    // Ids of helpers are the kernel's ABI.
    assert_eq!(btf.enumerator("bpf_func_id", "BPF_FUNC_map_lookup_elem"), Some(1));
    assert_eq!(btf.enumerator("bpf_func_id", "BPF_FUNC_ringbuf_output"), Some(130));
    assert_eq!(btf.constant("BPF_MAP_TYPE_RINGBUF"), Some(27));
    let funcs = btf.list_funcs().filter(|(_, name)| name.starts_with("security_")).count();
    assert!(funcs > 100, "{funcs} functions security_*");
}

#[test]
fn every_type_can_be_shown_and_found_again() {
    let Some(btf) = vmlinux() else { return };
    for id in (0..btf.len()).map(TypeId) {
        let ty = btf.ty(id).unwrap();
        assert!(!btf.display(id).is_empty(), "type {id}: {ty:?}");
        if let Type::Struct(composite) | Type::Union(composite) = ty {
            for member in composite.members().filter(|member| !member.name.is_empty()) {
                let place = btf.field(id, member.name);
                // Only members without a size cannot be placed: some headers declare such ones.
                assert!(
                    matches!(place, Ok(_) | Err(BtfError::NoSize(_))),
                    "type {id}, member {}: {place:?}",
                    member.name
                );
            }
        }
    }
    for kind in [Kind::Struct, Kind::Typedef, Kind::Func, Kind::Enum] {
        for id in btf.of_kind(kind).filter(|&id| !btf.name(id).is_empty()) {
            assert!(btf.find_all(kind, btf.name(id)).contains(&id), "{kind} {}", btf.name(id));
        }
    }
}
