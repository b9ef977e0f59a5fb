//! Ways past a rule that attackers take: what holds against them, and that those are warned of which do
//! not.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::symlinkat;

use crate::lab::Lab;
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("evasion::paths_that_are_rewritten_meanwhile", rewritten).needs(&[Need::Vm]).tells(),
    Test::new("evasion::other_names_of_a_file_are_warned_of", warned).needs(&[Need::Vm]),
    Test::new("evasion::fifty_policies_each_hold", fifty).needs(&[Need::Vm]).seconds(240),
    Test::new("evasion::policies_on_paths_each_hold", paths)
        .needs(&[Need::Vm])
        .seconds(240)
        .tells(),
    Test::new("evasion::what_would_stop_everybody_is_refused", refused),
];

const RACE_FOR: Duration = Duration::from_secs(8);

/// A policy that denies opening what lies in a directory.
fn no_open(name: &str, directory: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         lsmhooks:\n  - hook: file_open\n    args: [{{index: 0, type: file}}]\n    selectors:\n    \
         - matchArgs: [{{index: 0, operator: Prefix, values: ['{directory}/']}}]\n      \
         matchActions: [{{action: NoPost}}, {{action: Override, argError: -13}}]\n"
    )
}

/// A directory with a file in it.
fn directory(lab: &Lab, name: &str) -> Result<PathBuf> {
    let directory = lab.path(name);
    fs::create_dir(&directory)?;
    fs::write(directory.join("file"), name)?;
    Ok(directory)
}

/// One thread opens a path while another rewrites it in memory. What was opened is known by the file.
fn rewritten(lab: &Lab) -> Result<()> {
    let (public, secret) = (directory(lab, "public")?, directory(lab, "secret")?);
    let name = |directory: &PathBuf| CString::new(directory.join("file").as_os_str().as_bytes());
    let (public, path, other) = (name(&public)?, name(&public)?, name(&secret)?);
    ensure!(public.as_bytes().len() == other.as_bytes().len(), "the paths have one length");
    let secret = secret.to_str().context("a path")?;
    let agent = lab.agent_with_policy(&no_open("secrets", secret))?;
    let address = path.as_ptr().addr() as u64;
    let over = AtomicBool::new(false);
    let (mut opened, mut denied, mut slipped) = (0, 0, 0);
    std::thread::scope(|scope| -> Result<()> {
        let rewriter = scope.spawn(|| -> Result<u64> {
            // By way of the file, as another process would: the language knows of no such writes.
            let memory = File::options().write(true).open("/proc/self/mem")?;
            let mut written = 0;
            while !over.load(Ordering::Relaxed) {
                memory.write_all_at(other.as_bytes(), address)?;
                memory.write_all_at(public.as_bytes(), address)?;
                written += 1;
            }
            Ok(written)
        });
        let until = Instant::now() + RACE_FOR;
        while Instant::now() < until && !rewriter.is_finished() {
            match open(path.as_c_str(), OFlag::O_RDONLY, Mode::empty()) {
                Ok(file) if is_below(&file, secret)? => slipped += 1,
                Ok(_) => opened += 1,
                Err(Errno::EACCES) => denied += 1,
                // A name of which one half was written.
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(error).context("opening"),
            }
        }
        over.store(true, Ordering::Relaxed);
        let written = rewriter.join().ok().context("the thread panicked")??;
        ensure!(written > 100, "rewritten {written} times only");
        Ok(())
    })?;
    println!("{opened} opened, {denied} denied, {slipped} slipped through");
    ensure!(slipped == 0 && opened > 0 && denied > 0, "{opened}, {denied}, {slipped}");
    agent.stop()?;
    Ok(())
}

/// Where the file that was opened is.
fn is_below(file: &OwnedFd, directory: &str) -> Result<bool> {
    Ok(fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?.starts_with(directory))
}

fn warned(lab: &Lab) -> Result<()> {
    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: weak}\nspec:\n  \
                kprobes:\n  - call: sys_symlinkat\n    syscall: true\n    args: [{index: 0, type: string}]\n    \
                selectors:\n    - matchArgs: [{index: 0, operator: Prefix, values: [/weak/]}]\n      \
                matchActions: [{action: Sigkill}]\n";
    let agent = lab.agent_with_policy(text)?;
    let log = agent.log();
    for wanted in [
        "Sigkill takes effect when the call returns",
        "args[0] of symlinkat is the caller's memory",
        "symlinkat is not the only way to its effect: hook symlink",
        "`lsmhooks` on inode_symlink",
    ] {
        ensure!(log.contains(wanted), "{wanted:?} is not in the log:\n{log}");
    }
    agent.stop()?;
    let path = lab.policy("paths.yaml", &no_open("paths", "/somewhere"))?;
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    agent.ask(&["tp", "add", path.to_str().context("a path")?])?.ok()?;
    let log = agent.log();
    ensure!(
        log.contains("a hard link (inode_link), a rename (inode_rename) or a bind mount"),
        "{log}"
    );
    agent.stop()?;
    Ok(())
}

/// Policies that are in force together.
const MANY: usize = 50;

fn fifty(lab: &Lab) -> Result<()> {
    let policies = lab.path("policies");
    fs::create_dir(&policies)?;
    for number in 0..MANY {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p{number}}}\nspec:\n  \
             kprobes:\n  - call: sys_symlinkat\n    syscall: true\n    args: [{{index: 0, type: string}}]\n    \
             selectors:\n    - matchArgs: [{{index: 0, operator: Equal, values: [/no/{number}]}}]\n      \
             matchActions: [{{action: NoPost}}, {{action: Override, argError: -13}}]\n"
        );
        fs::write(policies.join(format!("p{number}.yaml")), text)?;
    }
    let mut agent = lab.agent(&[&format!("--tracing-policy-dir={}", policies.display())])?;
    let name = lab.path("link");
    let denied = |number: usize| match symlinkat(format!("/no/{number}").as_str(), AT_FDCWD, &name)
    {
        Ok(()) => fs::remove_file(&name).map(|()| false).context("removing the link"),
        Err(Errno::EACCES) => Ok(true),
        Err(error) => Err(error).context("making a link"),
    };
    let mut gone = Vec::new();
    for round in [vec![], vec![0], vec![17, 49], vec![1, 2, 3]] {
        for number in round {
            let name = format!("p{number}");
            agent.ask(&["tp", "delete", &name, "--domain", "static"])?.ok()?;
            gone.push(number);
        }
        for number in 0..MANY {
            let wanted = !gone.contains(&number);
            ensure!(denied(number)? == wanted, "policy {number}, after {gone:?} were deleted");
        }
    }
    agent.events()?;
    agent.stop()?;
    Ok(())
}

/// Policies on paths that are in force together: more than go into one program.
const PATHS: usize = 70;

fn paths(lab: &Lab) -> Result<()> {
    let policies = lab.path("policies");
    fs::create_dir(&policies)?;
    // Of lengths that differ, so that no two are tested by the same instructions.
    let place = |number: usize| {
        lab.path(&format!("{}/{}", "a".repeat(1 + number % 9), "b".repeat(1 + number / 9)))
    };
    for number in 0..PATHS {
        fs::create_dir_all(place(number))?;
        fs::write(place(number).join("file"), "text")?;
        let text = no_open(&format!("p{number}"), place(number).to_str().context("a path")?);
        fs::write(policies.join(format!("p{number}.yaml")), text)?;
    }
    let started = Instant::now();
    let agent = lab.agent(&[&format!("--tracing-policy-dir={}", policies.display())])?;
    println!("ready with {PATHS} policies after {:.1?}", started.elapsed());
    let mut gone = Vec::new();
    for round in [vec![], vec![0], vec![17, 69], vec![1, 2, 3, 4, 5, 6]] {
        for number in round {
            let name = format!("p{number}");
            agent.ask(&["tp", "delete", &name, "--domain", "static"])?.ok()?;
            gone.push(number);
        }
        for number in 0..PATHS {
            let denied = match fs::read(place(number).join("file")) {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => true,
                Err(error) => return Err(error).context("reading"),
            };
            ensure!(
                denied != gone.contains(&number),
                "policy {number}, after {gone:?} were deleted"
            );
        }
    }
    agent.stop()?;
    Ok(())
}

fn refused(lab: &Lab) -> Result<()> {
    let text = |options: &str, mode: &str| {
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: all}}\nspec:\n  \
             options: [{options}{{name: policy-mode, value: {mode}}}]\n  kprobes:\n  - call: sys_openat\n    \
             syscall: true\n    selectors: [{{matchActions: [{{action: Signal, argSig: 23}}]}}]\n"
        )
    };
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let add = |text: &str| -> Result<_> {
        let path = lab.policy("all.yaml", text)?;
        agent.ask(&["tp", "add", path.to_str().context("a path")?])
    };
    let refused = add(&text("", "enforce"))?;
    let told = "this stops every process at the system call openat";
    ensure!(!refused.status.success() && refused.stderr.contains(told), "{refused:?}");
    ensure!(refused.stderr.contains("all.yaml:9:17 spec.kprobes[0].selectors[0]"), "{refused:?}");
    // To watch it is allowed, but not to change one's mind.
    add(&text("", "monitor"))?.ok()?;
    let changed = agent.ask(&["tp", "set-mode", "all", "enforce"])?;
    ensure!(!changed.status.success() && changed.stderr.contains(told), "{changed:?}");
    agent.ask(&["tp", "delete", "all"])?.ok()?;
    // SIGURG does nothing by default: the machine survives who insists.
    add(&text("{name: allow-unrestricted-enforcement, value: 'true'}, ", "enforce"))?.ok()?;
    agent.stop()?;
    Ok(())
}
