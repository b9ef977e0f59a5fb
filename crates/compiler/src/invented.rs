//! A kernel made up for tests: a few types, functions, system calls and tracepoints, so that what is
//! said about policies and what they compile to does not depend on the kernel that the tests run on.
//! Its structures have the members that programs read, at offsets that no kernel has.

use crate::{Functions, Machine};
use ebpf::btf::{Builder, Encoding, Linkage, TypeId};
use kernel::btf::Btf;
use kernel::features::{Feature, Probe, Target};
use kernel::tracefs::Tracefs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VOID: TypeId = TypeId::VOID;

/// What can be hooked with.
pub(crate) const ALL: &[Feature] = &[
    Feature::BuildId,
    Feature::Fentry,
    Feature::Fexit,
    Feature::Kprobe,
    Feature::Kretprobe,
    Feature::Lsm,
    Feature::ImaFileHash,
    Feature::TpBtf,
    Feature::Tracepoint,
    Feature::Uprobe,
    Feature::UprobeMulti,
    Feature::UprobeRefCounter,
];

struct Types {
    b: Builder,
}

impl Types {
    fn int(&mut self, name: &str, size: u32, encoding: Encoding) -> TypeId {
        self.b.int(name, size, encoding).unwrap()
    }

    fn pointer(&mut self, to: TypeId) -> TypeId {
        self.b.ptr(to).unwrap()
    }

    fn structure(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32)]) -> TypeId {
        let bits: Vec<_> = members.iter().map(|(name, ty, at)| (*name, *ty, at * 8)).collect();
        self.b.structure(name, size, &bits).unwrap()
    }

    fn prototype(&mut self, result: TypeId, params: &[(&str, TypeId)]) -> TypeId {
        self.b.func_proto(result, params).unwrap()
    }

    fn function(&mut self, name: &str, result: TypeId, params: &[(&str, TypeId)]) {
        let prototype = self.prototype(result, params);
        self.b.func(name, prototype, Linkage::Static).unwrap();
    }
}

/// Its types.
fn types() -> Btf {
    let mut t = Types { b: Builder::new() };
    let int = t.int("int", 4, Encoding::Signed);
    let unsigned = t.int("unsigned int", 4, Encoding::Unsigned);
    let long = t.int("long int", 8, Encoding::Signed);
    let ulong = t.int("long unsigned int", 8, Encoding::Unsigned);
    let short = t.int("short unsigned int", 2, Encoding::Unsigned);
    let char = t.int("char", 1, Encoding::Signed);
    let uchar = t.int("unsigned char", 1, Encoding::Unsigned);
    let bool = t.int("_Bool", 1, Encoding::Bool);
    let u8 = t.b.typedef("u8", uchar).unwrap();
    t.b.typedef("__u8", uchar).unwrap();
    let u64 = t.b.typedef("u64", ulong).unwrap();
    let size_t = t.b.typedef("size_t", ulong).unwrap();
    let umode_t = t.b.typedef("umode_t", short).unwrap();
    let kuid = t.structure("", 4, &[("val", unsigned, 0)]);
    let kuid_t = t.b.typedef("kuid_t", kuid).unwrap();
    let cap = t.structure("", 8, &[("val", u64, 0)]);
    let kernel_cap_t = t.b.typedef("kernel_cap_t", cap).unwrap();
    let text = t.pointer(char);
    let name = t.pointer(uchar);
    let bytes = t.pointer(u8);
    let anything = t.pointer(VOID);
    let comm = t.b.array(char, int, 16).unwrap();
    let digest = t.b.array(u8, int, 32).unwrap();

    let qstr = t.structure("qstr", 16, &[("len", unsigned, 4), ("name", name, 8)]);
    let hash = t.structure("hlist_bl_node", 16, &[("next", anything, 0), ("pprev", anything, 8)]);
    let inode = t.structure("inode", 16, &[("i_mode", umode_t, 2)]);
    let to_inode = t.pointer(inode);
    let dentry = t.structure(
        "dentry",
        64,
        &[
            ("d_parent", anything, 0),
            ("d_inode", to_inode, 8),
            ("d_hash", hash, 16),
            ("d_name", qstr, 32),
        ],
    );
    let to_dentry = t.pointer(dentry);
    let vfsmount = t.structure("vfsmount", 8, &[("mnt_root", to_dentry, 0)]);
    let to_vfsmount = t.pointer(vfsmount);
    t.structure(
        "mount",
        32,
        &[("mnt_parent", anything, 0), ("mnt_mountpoint", to_dentry, 8), ("mnt", vfsmount, 16)],
    );
    let path = t.structure("path", 16, &[("mnt", to_vfsmount, 0), ("dentry", to_dentry, 8)]);
    let to_path = t.pointer(path);
    let file = t.structure("file", 64, &[("f_path", path, 16), ("f_flags", unsigned, 32)]);
    let to_file = t.pointer(file);
    let sock = t.structure("sock", 64, &[("sk_mark", unsigned, 8)]);
    t.structure("sk_buff", 64, &[("len", unsigned, 8)]);
    let to_sock = t.pointer(sock);
    let inet_sock = t.structure("inet_sock", 80, &[("sk", sock, 0)]);
    let tcp_sock = t.structure("tcp_sock", 96, &[("inet", inet_sock, 0)]);
    let to_tcp_sock = t.pointer(tcp_sock);
    let nameidata = t.structure("nameidata", 32, &[("path", path, 0)]);
    let to_nameidata = t.pointer(nameidata);
    let cred = t.structure("cred", 32, &[("uid", kuid_t, 4), ("cap", kernel_cap_t, 8)]);
    let to_cred = t.pointer(cred);
    let to_cap = t.pointer(kernel_cap_t);
    let ns_common = t.structure("ns_common", 16, &[("inum", unsigned, 8)]);
    let user_namespace =
        t.structure("user_namespace", 24, &[("level", int, 0), ("ns", ns_common, 8)]);
    let to_user_namespace = t.pointer(user_namespace);
    let binprm = t.structure("linux_binprm", 16, &[("file", to_file, 8)]);
    let to_binprm = t.pointer(binprm);
    let uts = t.structure("uts_namespace", 24, &[("ns", ns_common, 8)]);
    let to_uts = t.pointer(uts);
    let nsproxy = t.structure("nsproxy", 16, &[("uts_ns", to_uts, 8)]);
    let to_nsproxy = t.pointer(nsproxy);
    let fs = t.structure("fs_struct", 24, &[("root", path, 8)]);
    let to_fs = t.pointer(fs);
    let mm = t.structure("mm_struct", 16, &[("exe_file", to_file, 8)]);
    let to_mm = t.pointer(mm);
    let thread_info = t.structure("thread_info", 8, &[("status", unsigned, 4)]);
    let task = t.structure(
        "task_struct",
        160,
        &[
            ("thread_info", thread_info, 0),
            ("pid", int, 8),
            ("tgid", int, 12),
            ("comm", comm, 16),
            ("cred", to_cred, 32),
            ("exe", to_file, 40),
            ("digest", digest, 48),
            ("opaque", anything, 80),
            ("group_leader", anything, 88),
            ("start_boottime", u64, 96),
            ("nsproxy", to_nsproxy, 104),
            ("fs", to_fs, 112),
            ("mm", to_mm, 120),
        ],
    );
    let to_task = t.pointer(task);
    let registers =
        ["bx", "cx", "dx", "si", "di", "ax", "r8", "ip", "sp", "r9", "r10", "bp", "orig_ax"];
    let members: Vec<_> = (0..).zip(registers).map(|(at, name)| (name, ulong, at * 8)).collect();
    let pt_regs = t.structure("pt_regs", 104, &members);
    let to_regs = t.pointer(pt_regs);
    let pair = t.structure("pair", 16, &[("a", long, 0), ("b", long, 8)]);

    t.function("security_file_open", int, &[("file", to_file)]);
    t.function("security_file_permission", int, &[("file", to_file), ("mask", int)]);
    t.function("security_path_truncate", int, &[("path", to_path)]);
    t.function("tcp_connect", int, &[("sk", to_sock)]);
    t.function("tcp_rate", VOID, &[("tp", to_tcp_sock), ("fast", bool)]);
    t.function("walk", long, &[("nd", to_nameidata)]);
    t.function("capset", int, &[("cred", to_cred), ("effective", to_cap)]);
    t.function("from_kuid", unsigned, &[("to", to_user_namespace), ("uid", kuid_t)]);
    t.structure("btf_func_model", 8, &[("arg_flags", ulong, 0)]);
    t.function("bpf_lsm_swap", int, &[("pair", pair)]);
    t.function("swap", long, &[("pair", pair), ("by", int)]);
    t.function("log", int, &[("format", text), ("", VOID)]);
    let seven: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, int)).to_vec();
    t.function("seven", int, &seven);
    t.function(
        "copy",
        size_t,
        &[("buffer", anything), ("length", size_t), ("name", text), ("raw", bytes)],
    );
    t.function("notrace_me", VOID, &[("n", int)]);
    for call in ["openat", "newstat", "connect"] {
        t.function(&format!("__x64_sys_{call}"), long, &[("regs", to_regs)]);
    }
    t.function("__ia32_sys_openat", long, &[("regs", to_regs)]);
    t.function("__x64_sys_odd", long, &[("n", int)]);
    t.function(
        "__do_sys_openat",
        long,
        &[("dfd", int), ("filename", text), ("flags", int), ("mode", umode_t)],
    );
    t.function("bpf_lsm_file_open", int, &[("file", to_file)]);
    t.function("bpf_lsm_bprm_check_security", int, &[("bprm", to_binprm)]);
    let trace = t.prototype(VOID, &[("", anything), ("", to_task), ("", int), ("", to_binprm)]);
    let trace = t.pointer(trace);
    t.b.typedef("btf_trace_sched_process_exec", trace).unwrap();
    Btf::from_bytes(t.b.finish()).unwrap()
}

const EXEC: &str = "\
name: sched_process_exec
ID: 315
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;
\tfield:const char * comment;\toffset:16;\tsize:8;\tsigned:0;
\tfield:char comm[16];\toffset:24;\tsize:16;\tsigned:0;
\tfield:size_t length;\toffset:40;\tsize:8;\tsigned:0;
\tfield:void * skbaddr;\toffset:48;\tsize:8;\tsigned:0;
\tfield:__u8 saddr[4];\toffset:56;\tsize:4;\tsigned:0;

print fmt: \"\"
";

const ENTER: &str = "\
name: sys_enter
ID: 443
format:
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;
\tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;

print fmt: \"\"
";

const CONNECT: &str = "\
name: sys_enter_connect
ID: 2230
format:
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int fd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:struct sockaddr * uservaddr;\toffset:24;\tsize:8;\tsigned:0;
\tfield:int addrlen;\toffset:32;\tsize:8;\tsigned:0;

print fmt: \"\"
";

/// Functions that are no types: without arguments, of a module, twice there, made by the compiler.
const SYMBOLS: &str = "\
ffffffff81000000 T security_file_open
ffffffff81000010 T tcp_connect
ffffffff81000020 T __x64_sys_openat
ffffffff81000030 T __x64_sys_getuid
ffffffff81000038 T __x64_sys_exit_group
ffffffff81000040 t untyped
ffffffff81000050 t twice
ffffffff81000060 t twice
ffffffff81000070 t parted.isra.0
ffffffff81000080 T capset
ffffffff81000090 t capset
ffffffff81000098 d table
ffffffffc0000000 t of_module\t[there_is_no_such_module]
";

const TRACEABLE: &str = "\
security_file_open
from_kuid
security_file_permission
security_path_truncate
tcp_connect
tcp_rate
walk
capset
copy
__x64_sys_openat
__x64_sys_connect
";

const BLACKLIST: &str = "0xffffffff81000040-0xffffffff81000050\tuntyped\n";

/// The files of its tracing file system, in a directory of their own that goes with it.
pub(crate) struct Invented {
    root: PathBuf,
}

impl Invented {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("plan-test-{}-{test}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("events/sched/sched_process_exec/format", EXEC);
        write("events/raw_syscalls/sys_enter/format", ENTER);
        write("events/syscalls/sys_enter_connect/format", CONNECT);
        write("available_filter_functions", TRACEABLE);
        write("kallsyms", SYMBOLS);
        write("blacklist", BLACKLIST);
        Self { root }
    }

    /// It, with these features only.
    pub(crate) fn machine(&self, features: &[Feature]) -> Machine {
        let tracefs = Tracefs::at(&self.root);
        let file = |name: &str| Path::new(&self.root).join(name);
        let functions =
            Functions::listed(file("kallsyms"), file("blacklist"), Some(tracefs.clone()));
        Machine {
            functions,
            tracefs: Some(tracefs),
            ..Machine::recorded(Arc::new(types()), target(features))
        }
    }
}

impl Drop for Invented {
    fn drop(&mut self) {
        // What is left over lies in a directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// The features that a case's first comment names: `# with kprobe kretprobe`; otherwise [`ALL`].
pub(crate) fn features(case: &str) -> Vec<Feature> {
    let Some(names) = case.lines().next().and_then(|line| line.strip_prefix("# with")) else {
        return ALL.to_vec();
    };
    let named = |name: &str| {
        let found = Feature::ALL.iter().find(|feature| feature.name() == name);
        *found.unwrap_or_else(|| panic!("no feature {name}"))
    };
    names.split_whitespace().map(named).collect()
}

/// These features of x86-64 and no others.
pub(crate) fn target(features: &[Feature]) -> Target {
    let no = || Probe::No { why: "not in this test".to_owned() };
    let answers = Feature::ALL.iter().map(|feature| {
        let answer = if features.contains(feature) { Probe::Yes } else { no() };
        (feature.name().to_owned(), answer)
    });
    Target {
        release: "test".to_owned(),
        architecture: "x86_64".to_owned(),
        answers: answers.collect(),
    }
}
