//! Policies on files and links.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, ensure};
use kernel::btf::{Btf, KERNEL_BTF};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{linkat, symlinkat, truncate};

use super::case::{Case, Report, put};
use crate::lab::{Lab, run};

pub(super) const CASES: &[Case] = &[
    Case::new("filename_monitoring.yaml")
        .prepare(|_| put("/etc/field/program", &crate::elf::exit(0)))
        .provoke(use_files)
        .reports(&[
            Report::call(&[
                ("policy_name", "file-monitoring"),
                ("function_name", "security_file_permission"),
                ("args.0.file_arg.path", "/etc/field/file"),
                ("args.1.int_arg", "2"), // MAY_WRITE
                ("return.int_arg", "0"),
            ]),
            Report::call(&[
                ("function_name", "security_file_permission"),
                ("args.0.file_arg.path", "/etc/field/file"),
                ("args.1.int_arg", "4"), // MAY_READ
            ]),
            Report::call(&[
                ("function_name", "security_mmap_file"),
                ("args.0.file_arg.path", "/etc/field/program"),
                ("args.1.uint_arg", "5"), // PROT_READ, PROT_EXEC
                ("return.int_arg", "0"),
            ]),
            Report::call(&[
                ("function_name", "security_path_truncate"),
                ("args.0.path_arg.path", "/etc/field/file"),
                ("return.int_arg", "0"),
            ]),
        ]),
    Case::new("hardlink-observe.yaml").provoke(|lab| hard_link(lab, false)).reports(HARD_LINK),
    Case::new("hardlink-override.yaml").stops(|lab| hard_link(lab, true)).reports(HARD_LINK),
    Case::new("symlink-observe.yaml").provoke(|lab| symbolic_link(lab, false)).reports(SYM_LINK),
    Case::new("symlink-override.yaml").stops(|lab| symbolic_link(lab, true)).reports(SYM_LINK),
    Case::new("openat_write.yaml").provoke(open_to_write).reports(&[Report::call(&[
        ("policy_name", "sys-openat"),
        ("function_name", "__x64_sys_openat"),
        ("args.0.int_arg", "-100"),
        ("args.1.string_arg", "/etc/passwd"),
        ("args.2.int_arg", "524290"), // O_RDWR, O_CLOEXEC
    ])]),
    Case::new("security_inode_follow_link.yaml").provoke(follow_link).reports(&[Report::call(&[
        ("policy_name", "follow-symlink"),
        ("function_name", "security_inode_follow_link"),
        ("args.0.path_arg.path", "*/field-link"),
    ])]),
    Case::new("open_dnsrequest.yaml").provoke(open_passwd).reports(&[Report::call(&[
        ("policy_name", "dns"),
        ("function_name", "fd_install"),
        ("args.1.file_arg.path", "/etc/passwd"),
        ("action", "KPROBE_ACTION_DNSLOOKUP"),
    ])]),
    Case::new("open_geturl.yaml").provoke(open_passwd).reports(&[Report::call(&[
        ("policy_name", "url"),
        ("function_name", "fd_install"),
        ("args.1.file_arg.path", "/etc/passwd"),
        ("action", "KPROBE_ACTION_GETURL"),
    ])]),
    Case::new("fd_install_ns_host.yaml").provoke(open_passwd).reports(FILE_OPENED),
    Case::new("fd_install_ns.yaml").provoke(open_passwd).reports(FILE_OPENED).never(|| {
        Ok(Some("the numbers are of the first pid, cgroup and time namespace: no mount namespace has one"
            .to_owned()))
    }),
    Case::new("fd_install_caps.yaml").provoke(open_as_own_root).reports(&[Report::call(&[
        ("policy_name", "fd-install"),
        ("function_name", "fd_install"),
        ("process.arguments", "cat /etc/hosts"),
        ("args.1.file_arg.path", "/etc/hosts"),
    ])]),
    // The capabilities come when the namespace is made; the next file is the map of users.
    Case::new("fd_install_cap_changes.yaml").provoke(open_as_own_root).reports(&[Report::call(&[
        ("policy_name", "fd-install"),
        ("function_name", "fd_install"),
        ("process.arguments", "unshare -U -r *"),
    ])]),
    Case::new("tty_54.yaml").provoke(write_to_terminal).reports(&[Report::call(&[
        ("policy_name", "tty"),
        ("function_name", "tty_write"),
    ])]),
    Case::new("cve-2023-2640-overlayfs-ubuntu.yaml").never(no_copy_up),
];

const FILE_OPENED: &[Report] = &[Report::call(&[
    ("policy_name", "fd-install"),
    ("function_name", "fd_install"),
    ("args.1.file_arg.path", "/etc/passwd"),
])];

const HARD_LINK: &[Report] = &[Report::call(&[
    ("policy_name", "sys-linkat-passwd"),
    ("function_name", "__x64_sys_linkat"),
    ("args.0.int_arg", "-100"),
    ("args.1.string_arg", "/etc/passwd"),
    ("args.2.int_arg", "-100"),
    ("args.3.string_arg", "/etc/field-link"),
    ("args.4.int_arg", "0"),
])];

const SYM_LINK: &[Report] = &[Report::call(&[
    ("policy_name", "sys-symlink-passwd"),
    ("function_name", "__x64_sys_symlinkat"),
    ("args.0.string_arg", "/etc/passwd"),
    ("args.1.int_arg", "-100"),
    ("args.2.string_arg", "*/field-link"),
])];

fn use_files(_: &Lab) -> Result<()> {
    let path = "/etc/field/file";
    File::create(path)?.write_all(b"text")?;
    truncate(path, 2)?;
    ensure!(fs::read(path)? == b"te");
    run(&mut Command::new("/etc/field/program"))?.ok()?;
    Ok(())
}

fn hard_link(_: &Lab, denied: bool) -> Result<()> {
    let link = "/etc/field-link";
    let made = linkat(AT_FDCWD, "/etc/passwd", AT_FDCWD, link, AtFlags::empty());
    finish_link(link.as_ref(), made, denied)
}

fn symbolic_link(lab: &Lab, denied: bool) -> Result<()> {
    let link = lab.path("field-link");
    let made = symlinkat("/etc/passwd", AT_FDCWD, &link);
    finish_link(&link, made, denied)
}

fn finish_link(link: &std::path::Path, made: nix::Result<()>, denied: bool) -> Result<()> {
    let there = link.symlink_metadata().is_ok();
    if there {
        fs::remove_file(link)?;
    }
    let wanted = if denied { Err(Errno::EPERM) } else { Ok(()) };
    ensure!(made == wanted, "{made:?}");
    ensure!(there != denied, "whether it is there is not what was said");
    Ok(())
}

fn open_to_write(_: &Lab) -> Result<()> {
    fs::read("/etc/passwd")?;
    File::options().read(true).write(true).open("/etc/passwd")?;
    Ok(())
}

fn open_passwd(_: &Lab) -> Result<()> {
    fs::read("/etc/passwd")?;
    Ok(())
}

fn follow_link(lab: &Lab) -> Result<()> {
    let link = lab.path("field-link");
    symlinkat("/etc/hosts", AT_FDCWD, &link)?;
    fs::read(&link)?;
    fs::remove_file(&link)?;
    Ok(())
}

/// A user without capabilities makes a user namespace, in which it has all.
fn open_as_own_root(lab: &Lab) -> Result<()> {
    let mut command = Command::new(lab.binary("busybox")?);
    command.args(["unshare", "-U", "-r", "/bin/busybox", "cat", "/etc/hosts"]).current_dir("/");
    run(command.uid(1000).gid(1000))?.ok()?;
    Ok(())
}

fn write_to_terminal(_: &Lab) -> Result<()> {
    // The other end of a terminal that nobody reads.
    let _reader = File::options().read(true).write(true).open("/dev/ptmx")?;
    File::options().write(true).open("/dev/console")?.write_all(b"provoked\n")?;
    Ok(())
}

/// The hook reports the name of the attribute where it is its first argument; since Linux 6.10 the file is.
fn no_copy_up() -> Result<Option<String>> {
    let btf = Btf::from_file(KERNEL_BTF)?;
    let hook = btf.find_func("security_inode_copy_up_xattr")?;
    let known = fs::read_to_string("/proc/filesystems")?;
    let overlay = known.lines().any(|line| line.ends_with("\toverlay"));
    let reason = match (btf.prototype_text(hook).contains("(struct dentry *"), overlay) {
        (true, _) => "the argument that is to be the attribute's name is the file on this kernel",
        (false, false) => "overlayfs is a module, which the machine does not have",
        (false, true) => "no file with capabilities is copied up here",
    };
    Ok(Some(reason.to_owned()))
}
