//! Programs made of a few system calls and nothing else (x86-64).
//!
//! They do what a Rust program cannot do without `unsafe`: leave only the first thread, share memory
//! with a vfork child, fork without exec. They also start as fast as a process can, which makes a
//! storm of them one for the agent and not for the loader. System call numbers and flags are those
//! of `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/linux/sched.h`.

/// Where the file is mapped.
const BASE: u64 = 0x40_0000;
/// Where data is mapped.
const DATA: u64 = 0x60_0000;
const PAGE: u64 = 0x1000;
const FILE_HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;

const POLL: u32 = 7;
const MMAP: u32 = 9;
const CLONE: u32 = 56;
const FORK: u32 = 57;
const VFORK: u32 = 58;
const EXECVE: u32 = 59;
const EXIT: u32 = 60;
const WAIT4: u32 = 61;
const UNLINK: u32 = 87;
const CLONE3: u32 = 435;

/// `CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM`
const THREAD: u32 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;

/// Exits with a status.
pub(crate) fn exit(status: u32) -> Vec<u8> {
    Code::default().exit(status).into_executable()
}

/// Sleeps, then exits with 0.
pub(crate) fn sleep(milliseconds: u32) -> Vec<u8> {
    Code::default().sleep(milliseconds).exit(0).into_executable()
}

/// Starts a thread, which exits with 7 after 300 ms, while the first thread exits at once with
/// `status`. The process ends with the thread. Which of the two is its status depends on the kernel
/// (`synchronize_group_exit` makes it the last thread's).
pub(crate) fn first_thread_leaves(status: u32) -> Vec<u8> {
    // The thread uses no stack, so it can do with the other's.
    let thread = Code::default().sleep(300).exit(7);
    Code::default().clone(THREAD).if_zero(&thread).exit(status).into_executable()
}

/// Calls vfork; the child executes the first argument with the rest of the arguments and no
/// environment; the parent waits for it and exits with 0.
pub(crate) fn vfork_and_exec() -> Vec<u8> {
    let child = Code::default().exec_first_argument().exit(127);
    Code::default().call(VFORK).if_zero(&child).wait().exit(0).into_executable()
}

/// Forks; the child exits with `status`; the parent waits for it and exits with 0.
pub(crate) fn fork_and_exit(status: u32) -> Vec<u8> {
    let child = Code::default().exit(status);
    Code::default().call(FORK).if_zero(&child).wait().exit(0).into_executable()
}

/// Starts a process with this id, which executes the first argument with the rest of the arguments and no
/// environment; waits for it and exits with 0, also when the id is in use.
pub(crate) fn start_as(pid: u32) -> Vec<u8> {
    let child = Code::default().exec_first_argument().exit(127);
    Code::default().clone_as(pid).if_zero(&child).wait().exit(0).into_executable()
}

/// Maps so many bytes of anonymous memory, to be read and private, and exits with 0, whether that works
/// or not.
pub(crate) fn map(length: u64) -> Vec<u8> {
    Code::default().map(length).exit(0).into_executable()
}

/// Removes the file of a name that nothing has read yet when the kernel is called, and exits with 0, whether
/// that works or not. The name is in a segment of its own, and on a page that no other fault brings in.
pub(crate) fn unlink_untouched(name: &str) -> Vec<u8> {
    let constant = u32::try_from(DATA).unwrap_or(0);
    let code = Code::default().with_constant(0xbf, constant).call(UNLINK).exit(0);
    code.into_executable_with(format!("{name}\0").as_bytes())
}

/// Machine code under construction.
#[derive(Default)]
struct Code(Vec<u8>);

impl Code {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// An instruction of one byte and a constant of four.
    fn with_constant(self, opcode: u8, constant: u32) -> Self {
        self.bytes(&[opcode]).bytes(&constant.to_le_bytes())
    }

    /// `mov eax, number; syscall`
    fn call(self, number: u32) -> Self {
        self.with_constant(0xb8, number).bytes(&[0x0f, 0x05])
    }

    /// `mov edi, status`
    fn exit(self, status: u32) -> Self {
        self.with_constant(0xbf, status).call(EXIT)
    }

    /// poll of no files: `xor edi, edi; xor esi, esi; mov edx, milliseconds`
    fn sleep(self, milliseconds: u32) -> Self {
        self.bytes(&[0x31, 0xff, 0x31, 0xf6]).with_constant(0xba, milliseconds).call(POLL)
    }

    /// mmap(0, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0): `xor edi, edi; mov rsi, length;
    /// mov edx, 1; mov r10d, 0x22; mov r8, -1; xor r9d, r9d`
    fn map(self, length: u64) -> Self {
        self.bytes(&[0x31, 0xff, 0x48, 0xbe])
            .bytes(&length.to_le_bytes())
            .with_constant(0xba, 1)
            .bytes(&[0x41])
            .with_constant(0xba, 0x22)
            .bytes(&[0x49, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff])
            .bytes(&[0x45, 0x31, 0xc9])
            .call(MMAP)
    }

    /// `mov edi, flags; xor esi, esi; xor edx, edx; xor r10d, r10d; xor r8d, r8d`
    fn clone(self, flags: u32) -> Self {
        self.with_constant(0xbf, flags)
            .bytes(&[0x31, 0xf6, 0x31, 0xd2, 0x45, 0x31, 0xd2, 0x45, 0x31, 0xc0])
            .call(CLONE)
    }

    /// clone3 with `exit_signal` SIGCHLD and `set_tid` (Linux 5.5), both structures on the stack: `xor eax, eax;
    /// push pid; mov rcx, rsp; push rax` (cgroup)`; push 1; push rcx` (set_tid)`; push rax; push rax;
    /// push rax; push 17; push rax; push rax; push rax; push rax; mov rdi, rsp; mov esi, 88`, and the stack
    /// as it was: `add rsp, 96`
    fn clone_as(self, pid: u32) -> Self {
        self.bytes(&[0x31, 0xc0])
            .with_constant(0x68, pid)
            .bytes(&[0x48, 0x89, 0xe1, 0x50, 0x6a, 1, 0x51, 0x50, 0x50, 0x50, 0x6a, 17])
            .bytes(&[0x50, 0x50, 0x50, 0x50, 0x48, 0x89, 0xe7])
            .with_constant(0xbe, 88)
            .call(CLONE3)
            .bytes(&[0x48, 0x83, 0xc4, 0x60])
    }

    /// For any child: `mov edi, -1; xor esi, esi; xor edx, edx; xor r10d, r10d`
    fn wait(self) -> Self {
        self.with_constant(0xbf, u32::MAX)
            .bytes(&[0x31, 0xf6, 0x31, 0xd2, 0x45, 0x31, 0xd2])
            .call(WAIT4)
    }

    /// At entry `argc`, `argv[0]`, `argv[1]` are on the stack: `mov rdi, [rsp+16]; lea rsi, [rsp+16];
    /// xor edx, edx`
    fn exec_first_argument(self) -> Self {
        self.bytes(&[0x48, 0x8b, 0x7c, 0x24, 0x10])
            .bytes(&[0x48, 0x8d, 0x74, 0x24, 0x10])
            .bytes(&[0x31, 0xd2])
            .call(EXECVE)
    }

    /// Runs `other`, which has to end in an exit, if the last call returned 0: `test eax, eax;
    /// jnz behind it`
    fn if_zero(self, other: &Self) -> Self {
        self.bytes(&[0x85, 0xc0, 0x75, other.0.len() as u8]).bytes(&other.0)
    }

    /// An ELF file that maps itself and starts with the code.
    fn into_executable(self) -> Vec<u8> {
        self.into_executable_with(&[])
    }

    /// The same with data to be read, at [`DATA`].
    fn into_executable_with(self, data: &[u8]) -> Vec<u8> {
        let headers = if data.is_empty() { 1 } else { 2 };
        let start = FILE_HEADER + headers * PROGRAM_HEADER;
        let size = start + self.0.len() as u64;
        let mut file = Vec::new();
        let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
        put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bits, little-endian
        put(&2_u16.to_le_bytes()); // executable
        put(&62_u16.to_le_bytes()); // x86-64
        put(&1_u32.to_le_bytes()); // version
        put(&(BASE + start).to_le_bytes()); // entry
        put(&FILE_HEADER.to_le_bytes()); // program headers
        put(&0_u64.to_le_bytes()); // no section headers
        put(&0_u32.to_le_bytes()); // flags
        for half in [FILE_HEADER as u16, PROGRAM_HEADER as u16, headers as u16, 0, 0, 0] {
            put(&half.to_le_bytes()); // sizes and numbers of headers
        }
        put(&1_u32.to_le_bytes()); // to be loaded
        put(&5_u32.to_le_bytes()); // readable, executable
        for word in [0, BASE, BASE, size, size, PAGE] {
            put(&word.to_le_bytes()); // offset, addresses, sizes, alignment
        }
        if !data.is_empty() {
            put(&1_u32.to_le_bytes()); // to be loaded
            put(&4_u32.to_le_bytes()); // readable
            let length = data.len() as u64;
            for word in [PAGE, DATA, DATA, length, length, PAGE] {
                put(&word.to_le_bytes());
            }
        }
        put(&self.0);
        if !data.is_empty() {
            file.resize(PAGE as usize, 0);
            file.extend_from_slice(data);
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, ExitStatus};

    use super::*;

    fn run(name: &str, program: &[u8], arguments: &[&str]) -> ExitStatus {
        let path = std::env::temp_dir().join(format!("vmtest-elf-{name}-{}", std::process::id()));
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let status = loop {
            match Command::new(&path).args(arguments).status() {
                // Another test's child may still hold the file open for writing.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                result => break result.unwrap(),
            }
        };
        fs::remove_file(&path).unwrap();
        status
    }

    #[test]
    fn programs_do_what_they_say() {
        assert_eq!(run("exit", &exit(42), &[]).code(), Some(42));
        assert_eq!(run("fork", &fork_and_exit(3), &[]).code(), Some(0));
        let start = std::time::Instant::now();
        assert!(run("leaves", &first_thread_leaves(3), &[]).code().is_some());
        assert!(start.elapsed().as_millis() >= 300, "the thread did not outlive the first");
        let victim = std::env::temp_dir().join(format!("vmtest-victim-{}", std::process::id()));
        fs::write(&victim, "").unwrap();
        let unlink = unlink_untouched(victim.to_str().unwrap());
        assert_eq!(run("unlink", &unlink, &[]).code(), Some(0));
        assert!(!victim.exists());
        assert_eq!(run("vfork", &vfork_and_exec(), &["/bin/true"]).code(), Some(0));
    }
}
