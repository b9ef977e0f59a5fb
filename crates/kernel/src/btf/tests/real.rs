//! The running kernel's own BTF.

use std::time::Instant;

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
    let started = Instant::now();
    let task = btf.find_struct("task_struct").unwrap();
    let found = started.elapsed();
    let started = Instant::now();
    btf.find_func("do_exit").unwrap();
    eprintln!(
        "{} types read in {read:?}; first struct {found:?}, first function {:?}",
        btf.len(),
        started.elapsed()
    );
    let field = btf.field(task, "comm").unwrap();
    eprintln!("{field:?} {:?}", btf.path(task, "mm.exe_file.f_path.dentry"));
    for f in [
        "vfs_read",
        "security_file_open",
        "bpf_prog_load",
        "sys_call_table",
        "printk",
        "qsort",
        "sort",
    ] {
        if let Ok(f) = btf.find_func(f) {
            eprintln!("{}", btf.prototype_text(f));
        }
    }
    eprintln!("{:?}", btf.tracepoint_prototype("sched_process_exec"));
    eprintln!("{:?}", btf.field(task, "real_parrent").unwrap_err().to_string());
    eprintln!("{:?}", btf.field(task, "real_parent.pid").unwrap_err().to_string());
    eprintln!("{:?}", btf.field(task, "real_parent"));
    eprintln!("{:?}", btf.field(btf.find_struct("linux_binprm").unwrap(), "secureexec"));
    eprintln!("{:?}", btf.enumerator("bpf_func_id", "BPF_FUNC_loop"));
}
