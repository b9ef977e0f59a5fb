//! Lines of kernel tracepoints. `raw_syscalls/sys_enter` shows the system call as it was called.

use api::tetragon::kprobe_argument::Arg;
use api::tetragon::{KprobeArgument, ProcessTracepoint};

use super::Subject;
use super::style::quoted;
use super::syscall;

pub(super) fn line(subject: &Subject<'_>, hit: &ProcessTracepoint) -> String {
    match (hit.subsys.as_str(), hit.event.as_str()) {
        ("raw_syscalls", "sys_enter") => {
            // Two spaces, for the emoji takes one column too few in many terminals.
            subject.line("☎ ", "syscall", &[&called(&hit.args)])
        }
        (subsystem, event) => {
            subject.line("⁉️", "tracepoint", &[&quoted(subsystem), &quoted(event)])
        }
    }
}

/// `name(type arg=value, ...)`; the first argument is the call's number, the others are its own.
fn called(args: &[KprobeArgument]) -> String {
    let native = syscall::native_abi();
    let (id, abi) = match args.first().and_then(|argument| argument.arg.as_ref()) {
        Some(Arg::LongArg(id)) => (*id, native),
        Some(Arg::SyscallId(id)) => (i64::from(id.id), id.abi.as_str()),
        _ => return "unknown".to_owned(),
    };
    let Some(name) = syscall::name(abi, id) else { return "unknown".to_owned() };
    if abi != native {
        return format!("{abi}/{name}");
    }
    match syscall::parameters(&name) {
        Some(parameters) => with_arguments(&name, &parameters, &args[1..]),
        None => name,
    }
}

fn with_arguments(
    name: &str,
    parameters: &[syscall::Parameter],
    args: &[KprobeArgument],
) -> String {
    let shown: Vec<String> = parameters
        .iter()
        .enumerate()
        .map(|(index, syscall::Parameter { kind, name })| {
            match args.get(index).and_then(|argument| argument.arg.as_ref()) {
                Some(Arg::SizeArg(value)) if kind.ends_with('*') => {
                    format!("{kind}{name}={value:#x}")
                }
                Some(Arg::SizeArg(value)) => format!("{kind} {name}={value}"),
                _ => format!("{kind} {name}=?"),
            }
        })
        .collect();
    format!("{name}({})", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(arg: Arg) -> KprobeArgument {
        KprobeArgument { arg: Some(arg), label: String::new() }
    }

    #[test]
    fn arguments_by_type() {
        let parameter = |kind: &str, name: &str| syscall::Parameter {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let parameters = [
            parameter("unsigned int", "fd"),
            parameter("const char *", "buf"),
            parameter("size_t", "count"),
            parameter("void *", "more"),
        ];
        let args =
            [argument(Arg::SizeArg(3)), argument(Arg::SizeArg(0x7ffe)), argument(Arg::IntArg(9))];
        assert_eq!(
            with_arguments("write", &parameters, &args),
            "write(unsigned int fd=3, const char *buf=0x7ffe, size_t count=?, void * more=?)"
        );
        assert_eq!(with_arguments("getpid", &[], &args), "getpid()");
    }
}
