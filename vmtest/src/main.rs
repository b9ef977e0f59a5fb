//! System tests of the agent and the command line, on a real kernel and as root.
//!
//! One executable with four uses: as pid 1 it is the init of a test VM; `run` runs tests, each in a
//! process of its own; `one` is such a process; `tool` is the workload that tests observe. The other
//! executables (`tetragon`, `tetra`, `busybox`) lie beside it.

mod agent;
mod bench;
mod elf;
mod event;
mod http;
mod init;
mod lab;
mod runner;
mod test;
mod tests;
mod tool;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

const USAGE: &str = "\
usage: vmtest run [--keep] [FILTER...]   run the tests whose names contain a filter; all without one
       vmtest run --skip=PART            run all tests but those whose names contain PART
       vmtest run --kernel=NAME          compare with what is recorded of that kernel
       vmtest list                       print the tests' names and what they need
       vmtest tool COMMAND [ARGUMENT...] do what the tests observe";

fn main() -> ExitCode {
    if std::process::id() == 1 {
        return init::run();
    }
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    match command.to_str() {
        Some("run") => runner::run(&rest),
        Some("list") => runner::list(),
        Some("one") => runner::one(&rest),
        Some("tool") => tool::run(&rest),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
