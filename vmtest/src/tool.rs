//! The workload: `vmtest tool COMMAND`, for what tests want to see processes do.
//!
//! What cannot be done without `unsafe` is in [`crate::elf`].

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, raise};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use nix::unistd::{
    AccessFlags, Gid, Uid, access, setfsgid, setfsuid, setgid, setresgid, setresuid, setuid,
    symlinkat,
};

const COMMANDS: &str = "\
true [...]           exit with 0, whatever the arguments
exit STATUS          exit with a status
sleep MILLISECONDS   exit after a while
kill-self SIGNAL     die of a signal, such as SIGTERM
exec FILE [...]      execute FILE, without a fork
thread-exec FILE ... the same, from a thread that is not the first
memfd-exec FILE ...  the same from a copy of FILE that has no name
no-arguments FILE    execute FILE with an empty argument list
unshare FILE ...     execute FILE in new uts, ipc and net namespaces
start N FILE ...     start FILE N times at once, wait for all
orphan FILE ...      start FILE and exit at once
thread-link TO NAME  make a symbolic link, from a thread that is not the first
ask-parent N         ask for the parent's process id N times
connect ADDRESS      connect by TCP
send ADDRESS         send a datagram by UDP
duplicate            duplicate a file descriptor, by dup and by dup2
trace-me             ask to be traced by the parent
set-user ID          change to a user and its group, in all ways
set-clock            set a clock that cannot be set
may-read FILE        ask whether the real user can read FILE, with another user's file permissions
pid-namespace FILE   execute FILE in a new pid namespace, in which it is not the first process";

/// Runs a command.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    match try_run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vmtest tool: {error:#}\n{COMMANDS}");
            ExitCode::from(2)
        }
    }
}

fn try_run(arguments: &[OsString]) -> Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else { bail!("no command") };
    match command.to_str().context("a command that is not UTF-8")? {
        "true" => {}
        "exit" => return Ok(ExitCode::from(number::<u8>(rest)?)),
        "sleep" => thread::sleep(Duration::from_millis(number(rest)?)),
        "kill-self" => {
            let signal: Signal = first(rest)?.to_str().context("a signal")?.parse()?;
            raise(signal)?;
            // A core dump may take a moment to stop the other threads, of which there are none.
            bail!("survived {signal}");
        }
        "exec" => return Err(exec(rest)?),
        "thread-exec" => {
            let rest = rest.to_owned();
            let failed = thread::spawn(move || exec(&rest)).join();
            return Err(failed.ok().context("the thread panicked")??);
        }
        "memfd-exec" => return Err(memfd_exec(rest)?),
        "no-arguments" => {
            let file = CString::new(first(rest)?.as_bytes())?;
            nix::unistd::execv::<CString>(&file, &[])?;
        }
        "unshare" => {
            unshare(
                CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET,
            )?;
            return Err(exec(rest)?);
        }
        "start" => start(number(rest)?, &rest[1..])?,
        "orphan" => {
            command_of(rest)?.spawn()?;
        }
        "thread-link" => {
            let (to, name) = (first(rest)?.clone(), first(&rest[1..])?.clone());
            let linked = thread::spawn(move || symlinkat(&*to, AT_FDCWD, &*name)).join();
            linked.ok().context("the thread panicked")??;
        }
        "ask-parent" => {
            for _ in 0..number(rest)? {
                // Nothing keeps the answer: each is a call.
                nix::unistd::getppid();
            }
        }
        "connect" => {
            TcpStream::connect(first(rest)?.to_str().context("an address")?)?;
        }
        "send" => {
            let to = first(rest)?.to_str().context("an address")?;
            UdpSocket::bind("0.0.0.0:0")?.send_to(b"datagram", to)?;
        }
        "duplicate" => {
            let file = File::open("/dev/null")?;
            let mut other = nix::unistd::dup(&file)?;
            nix::unistd::dup2(&file, &mut other)?;
        }
        "trace-me" => nix::sys::ptrace::traceme()?,
        "set-user" => set_user(number(rest)?)?,
        "set-clock" => {
            let refused = clock_settime(ClockId::CLOCK_MONOTONIC, TimeSpec::new(0, 0));
            ensure!(refused == Err(Errno::EINVAL), "it could be set: {refused:?}");
        }
        "may-read" => {
            // Otherwise the kernel answers without taking the real user's credentials.
            setfsuid(Uid::from_raw(1));
            access(&**first(rest)?, AccessFlags::R_OK)?;
        }
        "pid-namespace" => return in_pid_namespace(rest),
        other => bail!("no command {other:?}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn set_user(id: u32) -> Result<()> {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    setfsgid(group);
    setfsuid(user);
    setgid(group)?;
    setresgid(group, group, group)?;
    setuid(user)?;
    setresuid(user, user, user)?;
    Ok(())
}

/// As those do that enter a container: the namespace's first process is another.
fn in_pid_namespace(arguments: &[OsString]) -> Result<ExitCode> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    // Not this executable, which takes a process with the id 1 for a machine's first.
    let mut first = Command::new("sleep").arg("60").spawn()?;
    let status = command_of(arguments)?.status();
    first.kill()?;
    first.wait()?;
    Ok(ExitCode::from(if status?.success() { 0 } else { 1 }))
}

fn first(arguments: &[OsString]) -> Result<&OsString> {
    arguments.first().context("an argument is missing")
}

fn number<N: std::str::FromStr>(arguments: &[OsString]) -> Result<N>
where
    N::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(first(arguments)?.to_str().context("a number")?.parse()?)
}

fn command_of(arguments: &[OsString]) -> Result<Command> {
    let mut command = Command::new(first(arguments)?);
    command.args(&arguments[1..]);
    Ok(command)
}

/// Returns, with the reason, only when it did not work.
fn exec(arguments: &[OsString]) -> Result<anyhow::Error> {
    Ok(command_of(arguments)?.exec().into())
}

fn memfd_exec(arguments: &[OsString]) -> Result<anyhow::Error> {
    let mut file = File::from(memfd_create(c"nameless", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&std::fs::read(first(arguments)?)?)?;
    // The link in /proc leads to the file itself.
    let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(command.args(&arguments[1..]).exec().into())
}

fn start(times: usize, arguments: &[OsString]) -> Result<()> {
    let mut children = Vec::new();
    for _ in 0..times {
        children.push(command_of(arguments)?.spawn()?);
    }
    for mut child in children {
        let status = child.wait()?;
        ensure!(status.success(), "a child ended with {status}");
    }
    Ok(())
}
