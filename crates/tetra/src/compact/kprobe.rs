//! Lines of kernel functions. The well-known ones show what their arguments mean; of the others
//! there is the name.

use api::tetragon::kprobe_argument::Arg;
use api::tetragon::{KprobeArgument, ProcessKprobe};

use super::Subject;
use super::style::{quoted, quoted_words};

/// Name of a function without the prefix that the architecture gives system calls.
fn plain_name(name: &str) -> &str {
    let prefixes = ["__x64_", "__arm64_", "__ia32_"];
    match prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        Some(call) if call.starts_with("sys_") => call,
        _ => name,
    }
}

/// Namespace that a clone flag stands for, as setns(2) takes it.
fn namespace(flag: i64) -> &'static str {
    match flag {
        0 => "any",
        0x80 => "time",
        0x2_0000 => "mnt",
        0x200_0000 => "cgroup",
        0x400_0000 => "uts",
        0x800_0000 => "ipc",
        0x1000_0000 => "user",
        0x2000_0000 => "pid",
        0x4000_0000 => "net",
        _ => "",
    }
}

/// The arguments of a call, as text; what is not there, or of another type, is empty.
struct Arguments<'a> {
    subject: &'a Subject<'a>,
    arguments: &'a [KprobeArgument],
}

impl<'a> Arguments<'a> {
    fn get(&self, index: usize) -> Option<&'a Arg> {
        self.arguments.get(index)?.arg.as_ref()
    }

    fn paint(&self, text: &str) -> String {
        self.subject.value(text)
    }

    fn file(&self, index: usize) -> String {
        match self.get(index) {
            Some(Arg::FileArg(file)) => self.paint(&quoted(&file.path)),
            Some(Arg::PathArg(path)) => self.paint(&quoted(&path.path)),
            _ => String::new(),
        }
    }

    fn string(&self, index: usize) -> String {
        match self.get(index) {
            Some(Arg::StringArg(text)) => self.paint(&quoted(text)),
            _ => String::new(),
        }
    }

    fn number(&self, index: usize) -> Option<i64> {
        match *self.get(index)? {
            Arg::IntArg(number) => Some(number.into()),
            Arg::UintArg(number) => Some(number.into()),
            Arg::LongArg(number) => Some(number),
            _ => None,
        }
    }

    fn integer(&self, index: usize) -> String {
        self.number(index).map_or_else(String::new, |number| self.paint(&number.to_string()))
    }

    fn bytes(&self, index: usize) -> String {
        match self.get(index) {
            Some(Arg::SizeArg(size)) => self.paint(&format!("{size} bytes")),
            _ => String::new(),
        }
    }

    fn connection(&self, index: usize) -> String {
        match self.get(index) {
            Some(Arg::SockArg(sock)) => self.paint(&format!(
                "tcp {}:{} -> {}:{}",
                quoted(&sock.saddr),
                sock.sport,
                quoted(&sock.daddr),
                sock.dport
            )),
            _ => String::new(),
        }
    }

    fn program(&self, index: usize) -> String {
        let (kind, name, count) = match self.get(index) {
            Some(Arg::BpfAttrArg(attr)) => (&attr.prog_type, &attr.prog_name, attr.insn_cnt),
            Some(Arg::BpfProgArg(prog)) => (&prog.prog_type, &prog.prog_name, prog.insn_cnt),
            _ => return String::new(),
        };
        self.paint(&format!("{} {} instruction count {count}", quoted(kind), quoted(name)))
    }

    fn perf_event(&self, index: usize) -> String {
        match self.get(index) {
            Some(Arg::PerfEventArg(event)) => {
                let (kind, function) = (quoted(&event.r#type), quoted(&event.kprobe_func));
                self.paint(&format!("{kind} {function}"))
            }
            _ => String::new(),
        }
    }

    fn map(&self, index: usize) -> String {
        match self.get(index) {
            Some(Arg::BpfMapArg(map)) => self.paint(&format!(
                "{} {} key size {} value size {} max entries {}",
                quoted(&map.map_type),
                quoted(&map.map_name),
                map.key_size,
                map.value_size,
                map.max_entries
            )),
            _ => String::new(),
        }
    }
}

pub(super) fn line(subject: &Subject<'_>, call: &ProcessKprobe) -> String {
    let args = Arguments { subject, arguments: &call.args };
    match plain_name(&call.function_name) {
        "sys_write" => subject.line("📝", "write", &[&args.file(0), &args.bytes(2)]),
        "sys_read" => subject.line("📚", "read", &[&args.file(0), &args.bytes(2)]),
        "fd_install" => subject.line("📬", "open", &[&args.file(1)]),
        "sys_openat" => subject.line("📬\u{fe0f}", "openat", &[&args.string(1)]),
        "sys_open" => subject.line("📬\u{fe0f}", "open", &[&args.string(1)]),
        "sys_close" => subject.line("📪", "close", &[&args.file(0)]),
        "sys_mount" => subject.line("💾", "mount", &[&args.string(0), &args.string(1)]),
        "sys_pivot_root" => subject.line("💾", "pivot_root", &[&args.string(0), &args.string(1)]),
        "sys_setuid" => subject.line("🔑", "setuid", &[&args.integer(0)]),
        "sys_clock_settime" => subject.line("⏰", "clock_settime", &[]),
        "proc_exec_connector" => subject.line("🔧", "proc_exec_connector", &[]),
        "sys_setns" => subject.line("🔧", "setns", &[args.number(1).map_or("", namespace)]),
        "tcp_connect" => subject.line("🔌", "connect", &[&args.connection(0)]),
        "tcp_close" => subject.line("🧹", "close", &[&args.connection(0)]),
        "tcp_sendmsg" => {
            let bytes = args.number(1).unwrap_or(0).to_string();
            subject.line("📤", "sendmsg", &[&args.connection(0), "bytes", &bytes])
        }
        "bpf_check" => subject.line("🐝", "bpf_load", &[&args.program(0)]),
        "security_perf_event_alloc" => {
            subject.line("🐝", "perf_event_alloc", &[&args.perf_event(0)])
        }
        "security_bpf_map_alloc" | "security_bpf_map_create" => {
            subject.line("🗺", "bpf_map_create", &[&args.map(0)])
        }
        "security_file_permission" => {
            // MAY_WRITE and MAY_READ of include/linux/fs.h.
            let (emoji, name) = match args.number(1) {
                Some(2) => ("📝", "write"),
                Some(4) => ("📚", "read"),
                _ => ("❓", "security_file_permission"),
            };
            subject.line(emoji, name, &[&args.file(0)])
        }
        "security_mmap_file" => match args.number(1) {
            Some(protection) => {
                let bits = [(1, 'r'), (2, 'w'), (4, 'x')];
                let set = bits.iter().filter(|(bit, _)| protection & bit != 0);
                let name: String = "mmap-".chars().chain(set.map(|(_, letter)| *letter)).collect();
                subject.line("📝", &name, &[&args.file(0)])
            }
            None => subject.line("❓", "security_mmap_file", &[""]),
        },
        name @ ("security_path_truncate" | "security_file_truncate") => match args.file(0) {
            file if file.is_empty() => subject.line("❓", name, &[""]),
            file => subject.line("📝", "truncate", &[&file]),
        },
        _ => subject.line("❓", "syscall", &[&quoted_words(&call.function_name)]),
    }
}
