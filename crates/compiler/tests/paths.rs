//! Paths of files: what is captured, and what the operators make of it.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{FilePath, Observation, Observed};
use harness::{Harness, policy};
use kernel::features::Feature;
use std::fs::File;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// An offset that nobody else seeks to.
const MARK: i64 = 0x7a7a_0000;

/// Runs a test with pointers that are given types, where the kernel can do that, and without.
fn in_both_ways(mut body: impl FnMut(&mut Harness)) {
    let harnesses = [Harness::new(), Harness::lacking(Feature::RdonlyCast)];
    harnesses.into_iter().flatten().for_each(|mut harness| body(&mut harness));
}

/// Moves a file to an offset; the system call is what policies here see.
fn seek(file: impl AsFd, offset: i64) {
    let file: BorrowedFd<'_> = file.as_fd();
    // Pipes and sockets cannot be moved; the call is made all the same.
    let _ = rustix::fs::seek(file, rustix::fs::SeekFrom::Start(offset as u64));
}

/// A policy on lseek with the descriptor's path, and a filter on it.
fn on_seek(filter: &str) -> String {
    let mut hook = format!(
        "call: sys_lseek\nsyscall: true\nargs:\n- {{index: 0, type: fd}}\n- {{index: 1, type: int64}}\nselectors:\n- matchArgs:\n  - {{index: 1, operator: Equal, values: ['{MARK}']}}\n"
    );
    if !filter.is_empty() {
        hook.push_str("  - ");
        hook.push_str(filter);
        hook.push('\n');
    }
    policy("seek", "kprobes", &hook)
}

/// What this thread did: other tests are other threads, which do the same.
fn own(seen: Vec<Observation>) -> Vec<Observation> {
    let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    seen.into_iter().filter(|seen| seen.tid == own).collect()
}

/// The path captured of the descriptor.
fn captured(harness: &mut Harness, file: impl AsFd) -> FilePath {
    let seen = own(harness.during(|| seek(file.as_fd(), MARK)));
    assert_eq!(seen.len(), 1, "{seen:?}");
    match &seen[0].args[0] {
        Some(Observed::File(path)) => path.clone(),
        other => panic!("{other:?}"),
    }
}

/// Whether the policy with a filter matches the descriptor.
fn matches(harness: &mut Harness, file: impl AsFd) -> bool {
    !own(harness.during(|| seek(file.as_fd(), MARK))).is_empty()
}

/// An operator, its values, and which files match.
type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a File, bool)]);

/// Loads a policy for each operator and values, and compares what it says of each file.
fn check(harness: &mut Harness, cases: &[Case<'_>]) {
    for (operator, values, files) in cases {
        let values = format!("{values:?}");
        let filter = format!("{{index: 0, operator: {operator}, values: {values}}}");
        harness.load(&on_seek(&filter));
        for (nth, (file, expected)) in files.iter().enumerate() {
            let found = matches(harness, file);
            assert_eq!(found, *expected, "{operator} {values}, file {nth}: {}", path_of(file));
        }
    }
}

/// The path that the kernel itself gives.
fn path_of(file: &File) -> String {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    String::from_utf8_lossy(std::fs::read_link(link).unwrap().as_os_str().as_encoded_bytes())
        .into_owned()
}

fn text(path: &FilePath) -> String {
    String::from_utf8_lossy(&path.path).into_owned()
}

/// A new directory for one test, removed with everything in it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/paths-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> File {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::options().create(true).truncate(false).read(true).write(true).open(path).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn captured_paths_are_those_of_the_kernel() {
    in_both_ways(|harness| {
        harness.load(&on_seek(""));
        let directory = Directory::new("captured");
        let plain = directory.file("a/b/plain");
        let gone = directory.file("a/b/gone");
        std::fs::remove_file(directory.0.join("a/b/gone")).unwrap();
        let long = directory.file(&"n".repeat(255));
        let files =
            [plain, gone, long, File::open("/").unwrap(), File::open("/proc/self/status").unwrap()];
        let devices =
            ["/dev/zero", "/dev/null", "/sys", "/etc"].map(|path| File::open(path).unwrap());
        for file in files.iter().chain(&devices) {
            let path = captured(harness, file);
            assert_eq!(text(&path), path_of(file));
            assert!(path.complete);
            assert_eq!(u32::from(path.mode), file.metadata().unwrap().mode());
        }
    });
}

#[test]
fn what_has_no_path_is_captured_without() {
    in_both_ways(|harness| {
        harness.load(&on_seek(""));
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        for (file, kind) in [(reader, 0o010_000), (OwnedFd::from(socket), 0o140_000)] {
            let path = captured(harness, &file);
            assert_eq!((text(&path).as_str(), path.complete), ("", true));
            assert_eq!(u32::from(path.mode) & 0o170_000, kind);
        }
        let memory = rustix::fs::memfd_create("code", rustix::fs::MemfdFlags::empty()).unwrap();
        assert_eq!(text(&captured(harness, &memory)), "/memfd:code");
    });
}

#[test]
fn operators_agree_with_the_path() {
    in_both_ways(|harness| {
        let directory = Directory::new("operators");
        let base = directory.0.to_str().unwrap().to_owned();
        let file = directory.file("one/two.conf");
        let other = directory.file("one/two.config");
        let deep = directory.file("one/two/three/four/five/six/seven/eight/nine.conf");
        let zero = File::open("/dev/zero").unwrap();
        let root = File::open("/").unwrap();
        let top = File::open("/tmp").unwrap();
        let at = |rest: &str| format!("{base}{rest}");
        let own = base.trim_start_matches("/tmp/").to_owned();
        let (f, o, d, z, r, t) = (&file, &other, &deep, &zero, &root, &top);
        check(
            harness,
            &[
                // A directory by its slash: not itself, not what begins alike.
                ("Prefix", &[&at("/")], &[(f, true), (o, true), (d, true), (z, false), (r, false)]),
                ("Prefix", &["/tmp/"], &[(f, true), (t, false), (z, false), (r, false)]),
                ("Prefix", &["/tmp"], &[(f, true), (t, true), (z, false), (r, false)]),
                ("Prefix", &["/tm"], &[(f, true), (t, true), (z, false)]),
                ("Prefix", &["/tmpx", "/tmp/x"], &[(f, false), (t, false)]),
                ("Prefix", &["/"], &[(f, true), (t, true), (r, true), (z, true)]),
                ("Prefix", &["tmp", "//tmp", "/tmp//"], &[(f, false), (t, false), (r, false)]),
                ("Prefix", &[&at("/one/two.conf")], &[(f, true), (o, true), (d, false)]),
                ("Prefix", &[&at("/one/two.confi")], &[(f, false), (o, true), (d, false)]),
                ("Prefix", &[&at("/one/two.conf/")], &[(f, false), (o, false), (d, false)]),
                ("Prefix", &["/dev/", "/sys/", "/dev/zero"], &[(f, false), (z, true)]),
                ("Prefix", &["/dev/zero0", "/dex/", "/de/"], &[(f, false), (z, false)]),
                // More components than the walk keeps.
                (
                    "Prefix",
                    &[&at("/one/two/three/four/five/six/seven/eight/")],
                    &[(f, false), (d, true)],
                ),
                ("NotPrefix", &[&at("/")], &[(f, false), (d, false), (z, true), (r, true)]),
                ("NotPrefix", &["/dev/", "/tmp/"], &[(f, false), (z, false), (r, true), (t, true)]),
                (
                    "Equal",
                    &[&at("/one/two.conf")],
                    &[(f, true), (o, false), (d, false), (z, false)],
                ),
                ("Equal", &["/one/two.conf", "/two.conf"], &[(f, false), (o, false)]),
                ("Equal", &["/", "/dev/zero"], &[(r, true), (z, true), (f, false), (t, false)]),
                ("Equal", &["/tmp", "/dev/zero"], &[(r, false), (z, true), (t, true)]),
                (
                    "NotEqual",
                    &["/tmp", "/dev/zero"],
                    &[(r, true), (z, false), (t, false), (f, true)],
                ),
                ("Postfix", &[".conf"], &[(f, true), (o, false), (d, true), (z, false)]),
                ("Postfix", &["/two.conf"], &[(f, true), (o, false), (d, false)]),
                ("Postfix", &["o/two.conf", "e/two.config"], &[(f, false), (o, true)]),
                ("Postfix", &["/tmp", "/"], &[(t, true), (r, true), (f, false)]),
                (
                    "NotPostfix",
                    &[".conf"],
                    &[(f, false), (o, true), (d, false), (z, true), (r, true)],
                ),
                ("SubString", &["/three/fo"], &[(f, false), (d, true)]),
                ("SubString", &[&own], &[(f, true), (d, true), (z, false)]),
                ("SubStringIgnCase", &["TWO.Conf"], &[(f, true), (o, true), (d, false)]),
                ("CelExpr", &["arg0.endsWith('/two.conf')"], &[(f, true), (o, false), (d, false)]),
                ("CelExpr", &["size(arg0) > 6 && arg0 != '/tmp'"], &[(f, true), (t, false)]),
                (
                    "CelExpr",
                    &["arg0.matches('/t[a-z]o[.]conf(ig)?$')"],
                    &[(f, true), (o, true), (d, false), (z, false)],
                ),
            ],
        );
    });
}

#[test]
fn long_lists_of_paths() {
    in_both_ways(|harness| {
        let directory = Directory::new("lists");
        let base = directory.0.to_str().unwrap().to_owned();
        let listed = directory.file("bin/tool-150");
        let absent = directory.file("bin/tool-1500");
        let values: Vec<String> = (0..300).map(|n| format!("{base}/bin/tool-{n}")).collect();
        let all: Vec<&str> = values.iter().map(String::as_str).collect();
        let some = &all[100..200];
        let (l, a) = (&listed, &absent);
        check(
            harness,
            &[
                ("Equal", &all, &[(l, true), (a, false)]),
                ("Equal", some, &[(l, true), (a, false)]),
                ("NotEqual", &all, &[(l, false), (a, true)]),
                ("Postfix", some, &[(l, true), (a, false)]),
                ("Prefix", &all, &[(l, true), (a, true)]),
                ("Prefix", &all[20..70], &[(l, false), (a, false)]),
                ("Prefix", &all[140..160], &[(l, true), (a, true)]),
            ],
        );
    });
}

#[test]
fn deleted_files() {
    in_both_ways(|harness| {
        let directory = Directory::new("deleted");
        let base = directory.0.to_str().unwrap().to_owned();
        let gone = directory.file("x");
        std::fs::remove_file(directory.0.join("x")).unwrap();
        let named = directory.file("x (deleted)");
        let there = directory.file("y");
        let at = |rest: &str| format!("{base}{rest}");
        let (g, n, t) = (&gone, &named, &there);
        check(
            harness,
            &[
                ("Equal", &[&at("/x")], &[(g, false), (n, false), (t, false)]),
                ("Equal", &[&at("/x (deleted)")], &[(g, true), (n, true), (t, false)]),
                ("NotEqual", &[&at("/x")], &[(g, true), (n, true), (t, true)]),
                ("Prefix", &[&at("/")], &[(g, true), (n, true), (t, true)]),
                ("Prefix", &[&at("/x (del")], &[(g, true), (n, true), (t, false)]),
                ("Prefix", &[&at("/x (delx")], &[(g, false), (n, false), (t, false)]),
                ("Postfix", &["/x"], &[(g, false), (n, false), (t, false)]),
                ("Postfix", &["deleted)"], &[(g, true), (n, true), (t, false)]),
                ("Postfix", &["/x (deleted)"], &[(g, true), (n, true), (t, false)]),
            ],
        );
    });
}

#[test]
fn no_path_operator_holds_for_what_has_no_path() {
    in_both_ways(|harness| {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let memory = rustix::fs::memfd_create("code", rustix::fs::MemfdFlags::empty()).unwrap();
        let pipe = File::from(reader);
        let socket = File::from(OwnedFd::from(socket));
        let udp = File::from(OwnedFd::from(udp));
        let memory = File::from(memory);
        let (p, s, u, m) = (&pipe, &socket, &udp, &memory);
        let none: &[(&File, bool)] = &[(p, false), (s, false), (u, false), (m, false)];
        let memory_only: &[(&File, bool)] = &[(p, false), (s, false), (u, false), (m, true)];
        check(
            harness,
            &[
                ("Prefix", &["/"], memory_only),
                ("Prefix", &["/mem"], memory_only),
                ("Prefix", &["/usr/"], none),
                ("NotPrefix", &["/usr/"], memory_only),
                ("NotPrefix", &["/memfd:"], none),
                ("Equal", &["/", "/UDP", "/memfd:code"], memory_only),
                ("Equal", &["/UDP", "/memfd:code"], memory_only),
                ("NotEqual", &["/usr"], memory_only),
                ("NotEqual", &["/"], memory_only),
                ("Postfix", &["UDP", "e"], memory_only),
                ("NotPostfix", &["x"], memory_only),
                ("SubString", &["U", "p"], none),
                ("CelExpr", &["arg0 != '/usr'"], memory_only),
                ("CelExpr", &["!arg0.matches('[A-Z]+')"], memory_only),
            ],
        );
    });
}

/// Runs in a mount namespace of its own.
#[allow(deprecated)] // for the sake of CLONE_FILES, which is not asked for
fn with_own_mounts(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use rustix::mount::MountPropagationFlags as M;
            use rustix::thread::UnshareFlags as U;
            rustix::thread::unshare(U::NEWNS | U::FS).unwrap();
            rustix::mount::mount_change("/", M::PRIVATE | M::REC).unwrap();
            body();
        });
    });
}

#[test]
fn paths_cross_mounts_and_end_at_the_root() {
    in_both_ways(|harness| {
        let directory = Directory::new("mounts");
        let base = directory.0.to_str().unwrap().to_owned();
        let at = |rest: &str| format!("{base}{rest}");
        with_own_mounts(|| {
            use rustix::mount::{MountFlags, mount, mount_bind};
            drop(directory.file("from/inner/file"));
            drop(directory.file("to"));
            for made in ["/bound", "/tmpfs", "/jail"] {
                std::fs::create_dir(at(made)).unwrap();
            }
            mount_bind(at("/from"), at("/bound")).unwrap();
            mount_bind(at("/from/inner/file"), at("/to")).unwrap();
            mount("none", at("/tmpfs"), "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>)
                .unwrap();
            std::fs::create_dir_all(at("/tmpfs/a")).unwrap();
            mount("none", at("/tmpfs/a"), "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>)
                .unwrap();
            let bound = File::open(at("/bound/inner/file")).unwrap();
            let from = File::open(at("/from/inner/file")).unwrap();
            let single = File::open(at("/to")).unwrap();
            let nested = directory.file("tmpfs/a/b");
            let mount_root = File::open(at("/tmpfs/a")).unwrap();
            harness.load(&on_seek(""));
            for file in [&bound, &from, &single, &nested, &mount_root] {
                assert_eq!(text(&captured(harness, file)), path_of(file));
            }
            let (b, f, s, n, r) = (&bound, &from, &single, &nested, &mount_root);
            check(
                harness,
                &[
                    ("Prefix", &[&at("/bound/")], &[(b, true), (f, false), (s, false), (n, false)]),
                    ("Prefix", &[&at("/bound/inner/file")], &[(b, true), (f, false)]),
                    ("Prefix", &[&at("/to")], &[(b, false), (s, true)]),
                    ("Prefix", &[&at("/tmpfs/a/")], &[(n, true), (r, false), (b, false)]),
                    ("Prefix", &[&at("/tmpfs/a")], &[(n, true), (r, true), (b, false)]),
                    ("Equal", &[&at("/bound/inner/file")], &[(b, true), (f, false), (s, false)]),
                    ("Equal", &[&at("/to")], &[(b, false), (f, false), (s, true)]),
                    ("Equal", &[&at("/tmpfs/a")], &[(n, false), (r, true)]),
                    ("Postfix", &["inner/file"], &[(b, true), (f, true), (s, false)]),
                    ("Postfix", &["/to"], &[(b, false), (f, false), (s, true)]),
                    ("NotPostfix", &["file"], &[(b, false), (f, false), (s, true), (n, true)]),
                ],
            );
            // Inside a root of its own a process names files from there.
            harness.load(&on_seek(""));
            rustix::process::chroot(at("/bound")).unwrap();
            assert_eq!(text(&captured(harness, &bound)), "/inner/file");
            check(
                harness,
                &[
                    ("Prefix", &["/inner/"], &[(b, true), (n, false)]),
                    ("Equal", &["/inner/file"], &[(b, true), (f, false)]),
                    ("NotPrefix", &["/inner/"], &[(b, false)]),
                ],
            );
        });
    });
}

#[test]
fn depth_hides_nothing() {
    in_both_ways(|harness| {
        let directory = Directory::new("depth");
        let base = directory.0.to_str().unwrap().to_owned();
        // Deeper than the loop goes: 40 components; longer than a path: 25 of 200 bytes.
        let deep = directory.file("d/".repeat(40).trim_end_matches('/'));
        let mut at = File::open(&base).unwrap();
        let name = "l".repeat(200);
        for _ in 0..25 {
            use rustix::fs::{Mode, OFlags};
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, &name, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
                .unwrap()
                .into();
        }
        let prefix = format!("{base}/");
        let (d, l) = (&deep, &at);
        harness.load(&on_seek(""));
        assert_eq!(text(&captured(harness, d)), path_of(d));
        let cut = captured(harness, l);
        assert!(!cut.complete);
        // Whole components from the end.
        assert_eq!(text(&cut), format!("/{name}").repeat(20));
        let listed = format!("{base}/{}", "d/".repeat(39));
        let file = path_of(d);
        check(
            harness,
            &[
                ("Prefix", &[&prefix], &[(d, true), (l, true)]),
                ("Prefix", &["/tmpx/"], &[(d, false), (l, false)]),
                ("NotPrefix", &[&prefix], &[(d, false), (l, false)]),
                ("NotPrefix", &["/usr/"], &[(d, true), (l, true)]),
                ("Prefix", &[&listed], &[(d, true), (l, false)]),
                ("Equal", &[&file], &[(d, true), (l, false)]),
                ("NotEqual", &[&file], &[(d, false), (l, true)]),
                ("Postfix", &["/d/d/d", "lll"], &[(d, true), (l, true)]),
                ("SubString", &["l/l"], &[(d, false), (l, true)]),
            ],
        );
        // The longest there is: 4095 bytes.
        let mut path = format!("{base}/whole");
        std::fs::create_dir(&path).unwrap();
        while path.len() + 201 < 4095 {
            path.push('/');
            path.push_str(&"w".repeat(199));
            std::fs::create_dir(&path).unwrap();
        }
        let rest = 4095 - path.len() - 1;
        path.push('/');
        path.push_str(&"f".repeat(rest));
        let whole = File::create(&path).unwrap();
        harness.load(&on_seek(""));
        let seen = captured(harness, &whole);
        assert_eq!((text(&seen).len(), text(&seen) == path, seen.complete), (4095, true, true));
        let other = format!("{}g", &path[..4094]);
        let begin = &path[..300];
        check(
            harness,
            &[
                ("Equal", &[&path], &[(&whole, true), (d, false)]),
                ("Equal", &[&other], &[(&whole, false)]),
                ("Prefix", &[begin], &[(&whole, true), (d, false)]),
                ("Postfix", &[&path[1..]], &[(&whole, true)]),
                ("Postfix", &[&other[1..]], &[(&whole, false)]),
                ("SubString", &[&path[..4094]], &[(&whole, true)]),
                ("SubString", &[&other], &[(&whole, false)]),
            ],
        );
    });
}

/// Runs a program and gives back whether a policy on executions matches.
fn executes(harness: &mut Harness, program: &str) -> Vec<FilePath> {
    let seen = harness.everything_during(|| {
        std::process::Command::new(program).arg("0").status().unwrap();
    });
    let path = |seen: &Observation| match &seen.args[0] {
        Some(Observed::Binprm(path)) => path.clone(),
        other => panic!("{other:?}"),
    };
    let paths = seen.iter().map(path);
    paths.filter(|path| path.path.ends_with(b"/a-program")).collect()
}

/// Here the verifier knows the type of the structure.
#[test]
fn programs_about_to_run() {
    in_both_ways(|harness| {
        let directory = Directory::new("programs");
        let base = directory.0.to_str().unwrap().to_owned();
        let copy = |rest: &str| {
            let to = directory.0.join(rest);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy("/bin/sleep", &to).unwrap();
            to.to_str().unwrap().to_owned()
        };
        let shallow = copy("a-program");
        let deep = copy(&format!("{}a-program", "d/".repeat(40)));
        let within = |rest: &str| format!("{base}/{rest}");
        let cases: &[(&str, &[&str], bool, bool)] = &[
            ("Prefix", &[&within("")], true, true),
            ("Prefix", &[&within("d/")], false, true),
            ("Prefix", &["/usr/", "/bin/"], false, false),
            ("NotPrefix", &[&within("d/")], true, false),
            ("Equal", &[&shallow], true, false),
            ("NotEqual", &[&shallow], false, true),
            ("Postfix", &["/d/a-program", "/no-program"], false, true),
            ("SubString", &["/d/d/d/"], false, true),
        ];
        for (operator, values, of_shallow, of_deep) in cases {
            let hook = format!(
                "subsystem: sched\nevent: sched_process_exec\nraw: true\nargs:\n- {{index: 2, type: linux_binprm}}\nselectors:\n- matchArgs:\n  - {{args: [0], operator: {operator}, values: {values:?}}}\n"
            );
            harness.load(&policy("exec", "tracepoints", &hook));
            for (program, expected) in [(&shallow, of_shallow), (&deep, of_deep)] {
                let seen = executes(harness, program);
                let wanted = if *expected { vec![program.clone()] } else { Vec::new() };
                let paths: Vec<String> = seen.iter().map(text).collect();
                assert_eq!(paths, wanted, "{operator} {values:?}");
                assert!(seen.iter().all(|path| path.complete && path.mode & 0o111 != 0));
            }
        }
    });
}

/// What a policy on a function captures first, while `body` runs.
fn captured_during(harness: &mut Harness, body: impl FnOnce()) -> Vec<Observed> {
    let seen = harness.during(body);
    let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    seen.into_iter()
        .filter(|seen| seen.tid == own)
        .map(|seen| seen.args[0].clone().unwrap())
        .collect()
}

#[test]
fn files_paths_and_dentries_of_functions() {
    let Some(mut harness) = Harness::with(Feature::Fentry) else { return };
    let harness = &mut harness;
    let directory = Directory::new("functions");
    let base = directory.0.to_str().unwrap().to_owned();
    let function = |call: &str, kind: &str, operator: &str, values: &[&str]| {
        policy(
            "function",
            "kprobes",
            &format!(
                "call: {call}\nsyscall: false\nargs:\n- {{index: 0, type: {kind}}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: {operator}, values: {values:?}}}\n"
            ),
        )
    };
    let mut file = directory.file("a/file");
    let mut deep = directory.file(&format!("{}file", "d/".repeat(40)));
    let mut zero = File::open("/dev/zero").unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    let cases: &[(&str, &[&str], [bool; 4])] = &[
        ("Prefix", &["/data/"], [false; 4]),
        ("Prefix", &[&format!("{base}/")], [true, true, false, false]),
        ("Prefix", &[&format!("{base}/a/")], [true, false, false, false]),
        ("NotPrefix", &[&format!("{base}/")], [false, false, true, false]),
        ("Equal", &[&format!("{base}/a/file")], [true, false, false, false]),
        ("NotEqual", &[&format!("{base}/a/file"), "/dev/null"], [false, true, true, false]),
        ("Postfix", &["/zero", "d/file"], [false, true, true, false]),
        ("FileType", &["reg"], [true, true, false, false]),
        ("FileType", &["chr", "fifo"], [false, false, true, true]),
        ("NotFileType", &["reg", "chr"], [false, false, false, true]),
    ];
    for (operator, values, expected) in cases {
        harness.load(&function("security_file_permission", "file", operator, values));
        let mut byte = [0];
        for (nth, wanted) in expected.iter().enumerate() {
            if nth == 3 {
                writer.write_all(b"x").unwrap();
            }
            let file = [&mut file, &mut deep, &mut zero, &mut reader][nth].try_clone().unwrap();
            let seen = captured_during(harness, || drop((&file).read(&mut byte)));
            assert_eq!(!seen.is_empty(), *wanted, "{operator} {values:?}, file {nth}: {seen:?}");
            for seen in seen {
                let Observed::File(path) = seen else { panic!("{seen:?}") };
                let whole = if nth == 3 { String::new() } else { path_of(&file) };
                assert_eq!(text(&path), whole);
            }
        }
    }
    harness.load(&function("security_inode_getattr", "path", "Prefix", &[&format!("{base}/a")]));
    let seen = captured_during(harness, || {
        for name in ["a", "a/file", "d", "absent"] {
            let _ = std::fs::metadata(directory.0.join(name));
        }
    });
    let paths: Vec<String> = seen
        .iter()
        .map(|seen| match seen {
            Observed::Path(path) => text(path),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(paths, [format!("{base}/a"), format!("{base}/a/file")]);
    // A dentry is known by its place in its filesystem, which begins at its root.
    std::os::unix::fs::symlink("a/file", directory.0.join("link")).unwrap();
    harness.load(&function("security_inode_readlink", "dentry", "Postfix", &["/link"]));
    let seen = captured_during(harness, || {
        std::fs::read_link(directory.0.join("link")).unwrap();
    });
    let [Observed::Path(path)] = seen.as_slice() else { panic!("{seen:?}") };
    let within = text(path);
    assert!(format!("{base}/link").ends_with(&within), "{within}");
    for (operator, values, expected) in [
        ("Prefix", within.as_str(), true),
        ("Prefix", "/elsewhere", false),
        ("NotPrefix", "/elsewhere", true),
        ("Equal", &within, true),
        ("Equal", "/link", within == "/link"),
    ] {
        harness.load(&function("security_inode_readlink", "dentry", operator, &[values]));
        let seen = captured_during(harness, || {
            std::fs::read_link(directory.0.join("link")).unwrap();
        });
        assert_eq!(!seen.is_empty(), expected, "{operator} {values}");
    }
}
