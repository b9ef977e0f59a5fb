//! Loading in front of a fake kernel: when a log is asked for, and how it grows.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::sys::attr::ProgramLoad;
use crate::sys::{Call, Command, fake};

const EXIT: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

fn spec() -> ProgramSpec<'static> {
    let program_type = ProgramType::RAW_TRACEPOINT;
    ProgramSpec { name: "p", program_type, instructions: &EXIT, ..ProgramSpec::default() }
}

/// A verifier that rejects with `log`; since Linux 6.4 (`tells_size`) it says how long that is.
/// Gives the log sizes it was asked with.
fn rejecting(log: String, tells_size: bool) -> (fake::FakeKernel, Rc<RefCell<Vec<u32>>>) {
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&sizes);
    let kernel = fake::install(move |call| {
        let Call::Bpf { command: Command::ProgramLoad, attr } = call else { panic!() };
        let mut load: ProgramLoad = fake::read_attr(attr);
        seen.borrow_mut().push(load.log_size);
        assert_eq!(load.log_level == 0, load.log_size == 0);
        if load.log_size == 0 {
            return Err(Errno::EACCES);
        }
        if tells_size {
            load.log_true_size = log.len() as u32 + 1;
            fake::write_attr(attr, &load);
        }
        let fits = log.len().min(load.log_size as usize - 1);
        let buffer = fake::memory(load.log_buf, load.log_size as usize);
        buffer[..fits].copy_from_slice(&log.as_bytes()[log.len() - fits..]);
        Err(if fits == log.len() { Errno::EACCES } else { Errno::ENOSPC })
    });
    (kernel, sizes)
}

fn rejection(error: Error) -> VerifierError {
    match error {
        Error::Rejected(rejected) => *rejected,
        other => panic!("{other}"),
    }
}

#[test]
fn a_good_program_is_loaded_without_log() {
    let mut calls = 0;
    let _kernel = fake::install(move |call| {
        let Call::Bpf { command: Command::ProgramLoad, attr } = call else { panic!() };
        let load: ProgramLoad = fake::read_attr(attr);
        calls += 1;
        assert_eq!((calls, load.log_level, load.log_buf), (1, 0, 0));
        assert_eq!((load.prog_type, load.insn_cnt), (17, 2));
        assert_eq!(fake::memory(load.insns, 16), EXIT);
        assert_eq!(fake::memory(load.license, 4), b"GPL\0");
        Ok(fake::descriptor())
    });
    let program = Program::load(&spec()).unwrap();
    assert_eq!((program.name(), program.log()), ("p", ""));
}

#[test]
fn the_log_grows_until_it_fits() {
    let log = format!("{}R1 !read_ok\n", "x\n".repeat(200_000));
    let (_kernel, sizes) = rejecting(log.clone(), false);
    let error = rejection(Program::load(&spec()).unwrap_err());
    assert_eq!((error.log(), error.cause()), (&*log, "R1 !read_ok"));
    assert_eq!(*sizes.borrow(), [0, 1 << 16, 1 << 18, 1 << 20]);
}

#[test]
fn the_log_grows_at_once_where_the_kernel_tells_its_size() {
    let log = format!("{}R1 !read_ok\n", "x\n".repeat(200_000));
    let (_kernel, sizes) = rejecting(log.clone(), true);
    let error = rejection(Program::load(&spec()).unwrap_err());
    assert!(error.log() == log && !error.is_truncated());
    assert_eq!(*sizes.borrow(), [0, 1 << 16, log.len() as u32 + 1]);
}

#[test]
fn a_log_beyond_the_largest_is_kept_in_part() {
    let log = format!("{}R1 !read_ok\n", "x\n".repeat(9_000_000));
    let (_kernel, sizes) = rejecting(log, true);
    let error = rejection(Program::load(&spec()).unwrap_err());
    assert!(error.is_truncated());
    assert_eq!((error.cause(), error.errno()), ("R1 !read_ok", Errno::ENOSPC));
    assert_eq!(sizes.borrow().last(), Some(&((1 << 24) - 1)));
}

#[test]
fn a_kernel_without_words_gets_a_hint() {
    let _kernel = fake::install(|_| Err(Errno::EINVAL));
    let error = Program::load(&spec()).unwrap_err();
    assert!(
        error.to_string().starts_with(
            "cannot load program `p` (raw_tracepoint): Invalid argument (EINVAL): this kernel \
             does not know the program type"
        ),
        "{error}"
    );
}

#[test]
fn eagain_is_tried_again() {
    let mut calls = 0;
    let _kernel = fake::install(move |_| {
        calls += 1;
        if calls < 4 { Err(Errno::EAGAIN) } else { Ok(fake::descriptor()) }
    });
    assert!(Program::load(&spec()).is_ok());
}

#[test]
fn a_log_that_was_asked_for_is_kept() {
    let _kernel = fake::install(|call| {
        let Call::Bpf { attr, .. } = call else { panic!() };
        let load: ProgramLoad = fake::read_attr(attr);
        assert_eq!(load.log_level, 4);
        fake::memory(load.log_buf, 5).copy_from_slice(b"stats");
        Ok(fake::descriptor())
    });
    let log_level = LogLevel::STATISTICS;
    let program = Program::load(&ProgramSpec { log_level, ..spec() }).unwrap();
    assert_eq!(program.log(), "stats");
}

#[test]
fn what_the_kernel_could_read_beyond_is_refused() {
    let _kernel = fake::install(|_| panic!("the kernel must not see it"));
    let load = |instructions| Program::load(&ProgramSpec { instructions, ..spec() });
    assert!(matches!(load(&EXIT[..12]), Err(Error::Malformed { .. })));
    assert!(matches!(load(&[]), Err(Error::Malformed { .. })));
    let license = "GP\0L";
    let error = Program::load(&ProgramSpec { license, ..spec() }).unwrap_err();
    assert_eq!(error.to_string(), "the program's license holds a NUL byte at 2");
}

#[test]
fn targets_and_descriptors_are_passed() {
    use std::os::fd::AsRawFd;
    let null = std::fs::File::open("/dev/null").unwrap();
    let number = null.as_raw_fd();
    let _kernel = fake::install(move |call| {
        let Call::Bpf { attr, .. } = call else { panic!() };
        let load: ProgramLoad = fake::read_attr(attr);
        assert_eq!((load.attach_btf_id, load.attach_fd), (77, 0));
        assert_eq!((load.prog_flags, load.expected_attach_type), (1 << 4, 27));
        let fds = fake::memory(load.fd_array, 8);
        assert_eq!(fds[..4], [0; 4]);
        assert_eq!(fds[4..], number.to_ne_bytes());
        Ok(fake::descriptor())
    });
    let program = Program::load(&ProgramSpec {
        program_type: ProgramType::LSM,
        attach_type: AttachType::LSM_MAC,
        target: Target::Kernel(TypeId(77)),
        flags: ProgramFlags::SLEEPABLE,
        fd_array: &[None, Some(null.as_fd())],
        ..spec()
    });
    assert!(program.is_ok());
}
