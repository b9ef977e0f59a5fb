//! System calls, one after the other, made by a child process; for tests of what becomes of them.
//!
//! The child is a copy of this process (fork(2)) with one thread, and does nothing else; it ends with the last
//! call, or after some seconds. So nothing happens to this process but what the calls do to other processes.
//! Marked calls are told from all others by a register that calls do not use: it has a value that nobody
//! else has there.

use std::ptr::NonNull;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::SeqCst;

use crate::errno::Errno;

/// What a marked call has in the register r15.
pub const MARK: u64 = 0x7e57_0000_0000_ca11;

/// What is found where a call did not come back, or was not reached.
pub const NOTHING: i64 = i64::MIN;

/// Seconds after which the child ends in any case.
const SECONDS: u32 = 10;

/// A number in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// This one.
    Number(i64),
    /// What a step gave, by its index.
    Result(usize),
    /// Address of a piece of memory, by its index.
    Address(usize),
    /// The 32-bit number at an offset in a piece of memory.
    Load(usize, usize),
}

/// A piece of memory of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Bytes, and so many zeros behind them.
    Bytes(Vec<u8>, usize),
    /// 64-bit words.
    Words(Vec<Word>),
}

/// A step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A system call. `marked`: as this module says.
    Call {
        /// Its number.
        number: u32,
        /// Its arguments; the others are 0.
        arguments: Vec<Word>,
        /// Whether it is marked.
        marked: bool,
    },
    /// Gives the 8 bytes at an offset in a piece of memory.
    Peek(usize, usize),
    /// Gives 0.
    Nothing,
}

/// What the child does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Memory that steps refer to.
    pub memory: Vec<Memory>,
    /// Steps.
    pub steps: Vec<Step>,
}

/// Calls that come back twice; 0 the second time.
const FORKS: [i64; 4] = [libc::SYS_fork, libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3];

impl Script {
    /// Runs it. Gives what each step gave: of calls errors as negative numbers, [`NOTHING`] if the child
    /// ended before.
    ///
    /// # Errors
    /// There is no memory, or no process can be made.
    pub fn run(&self) -> Result<Vec<i64>, Errno> {
        let arena = Arena::new(self)?;
        // SAFETY: the child makes only system calls and touches only the script and the arena, which needs
        // nothing of what other threads may have held when it was made.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(Errno::last()),
            0 => arena.act(),
            pid => {
                let mut status = 0;
                // SAFETY: the status is written to a local variable.
                while unsafe { libc::waitpid(pid, &raw mut status, 0) } == -1 {
                    match Errno::last() {
                        Errno::EINTR => {}
                        error => return Err(error),
                    }
                }
                Ok((0..self.steps.len()).map(|step| arena.result(step).load(SeqCst)).collect())
            }
        }
    }
}

/// Memory that this process and the child share: what came of the steps, then the script's.
struct Arena<'s> {
    script: &'s Script,
    start: NonNull<u8>,
    size: usize,
    /// Where pieces of memory begin.
    pieces: Vec<usize>,
}

impl<'s> Arena<'s> {
    fn new(script: &'s Script) -> Result<Self, Errno> {
        let mut size = 8 * script.steps.len();
        let mut pieces = Vec::new();
        for piece in &script.memory {
            pieces.push(size);
            let length = match piece {
                Memory::Bytes(bytes, zeros) => bytes.len() + zeros,
                Memory::Words(words) => 8 * words.len(),
            };
            // Eight bytes more, so that a word can be read wherever one begins.
            size += length.next_multiple_of(8) + 8;
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let size = size.max(1);
        // SAFETY: a new mapping; no existing memory is touched.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
        let start = match start {
            libc::MAP_FAILED => return Err(Errno::last()),
            start => NonNull::new(start.cast()).ok_or(Errno::ENOMEM)?,
        };
        let arena = Self { script, start, size, pieces };
        for step in 0..script.steps.len() {
            arena.result(step).store(NOTHING, SeqCst);
        }
        for (index, piece) in script.memory.iter().enumerate() {
            let Memory::Bytes(bytes, _) = piece else { continue };
            let to = arena.at(arena.pieces[index]);
            // SAFETY: the piece has room for its bytes.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        }
        Ok(arena)
    }

    /// Address of a byte of the mapping.
    fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.size);
        self.start.as_ptr().wrapping_add(offset)
    }

    /// A word of the mapping. `offset`: a multiple of 8.
    fn word(&self, offset: usize) -> &AtomicI64 {
        let at = self.at(offset).cast::<i64>();
        // SAFETY: it is in the mapping, which lives as long as this, and is aligned; the kernel and the child
        // write it like atomics.
        unsafe { AtomicI64::from_ptr(at) }
    }

    /// What came of a step.
    fn result(&self, step: usize) -> &AtomicI64 {
        self.word(8 * step)
    }

    /// In the child: what a word is worth now.
    fn value(&self, word: Word) -> i64 {
        let piece = |index: usize| self.pieces.get(index).copied().unwrap_or_default();
        match word {
            Word::Number(number) => number,
            Word::Result(step) if step < self.script.steps.len() => self.result(step).load(SeqCst),
            Word::Result(_) => 0,
            Word::Address(index) => self.at(piece(index)).expose_provenance() as i64,
            Word::Load(index, offset) => {
                let whole = self.word(piece(index) + offset / 8 * 8).load(SeqCst);
                i64::from((whole >> (8 * (offset % 8))) as i32)
            }
        }
    }

    /// In the child: takes the steps, and ends it.
    fn act(&self) -> ! {
        // SAFETY: changes only what this process is sent, and when.
        unsafe { libc::alarm(SECONDS) };
        for (index, step) in self.script.steps.iter().enumerate() {
            for (piece, memory) in self.pieces.iter().zip(&self.script.memory) {
                let Memory::Words(words) = memory else { continue };
                for (at, word) in words.iter().enumerate() {
                    if matches!(word, Word::Number(_) | Word::Address(_)) && index > 0 {
                        continue;
                    }
                    self.word(piece + 8 * at).store(self.value(*word), SeqCst);
                }
            }
            let value = match step {
                Step::Nothing => 0,
                Step::Peek(memory, offset) => {
                    let piece = self.pieces.get(*memory).copied().unwrap_or_default();
                    self.word(piece + offset / 8 * 8).load(SeqCst)
                }
                Step::Call { number, arguments, marked } => {
                    let mut values = [0; 6];
                    for (value, word) in values.iter_mut().zip(arguments) {
                        *value = self.value(*word);
                    }
                    let mark = if *marked { MARK } else { 0 };
                    call(i64::from(*number), values, mark)
                }
            };
            self.result(index).store(value, SeqCst);
        }
        call(libc::SYS_exit_group, [0; 6], 0);
        // Unless the policy that is tested forbids even that.
        loop {
            std::hint::spin_loop();
        }
    }
}

impl Drop for Arena<'_> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this arena's, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
    }
}

/// Makes a system call with this in r15. Where it comes back twice, the second time ends the process.
#[inline(never)]
fn call(number: i64, arguments: [i64; 6], mark: u64) -> i64 {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let mut result = number;
    let forks = i64::from(FORKS.contains(&number));
    // SAFETY: in the child process of a script. What the call does to this process's memory is as the script
    // has it; the code after it uses only registers, and the result. A child by vfork(2), which shares this
    // stack, ends without using it.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "test r14, r14",
            "jz 2f",
            "xor edi, edi",
            "mov eax, 231",
            "syscall",
            "2:",
            inout("rax") result,
            inout("rdi") first => _,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            in("r9") sixth,
            in("r14") forks,
            in("r15") mark,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: i64, arguments: Vec<Word>) -> Step {
        Step::Call { number: number as u32, arguments, marked: true }
    }

    #[test]
    fn calls_see_the_memory_and_results_of_those_before() {
        let pipe = Memory::Bytes(Vec::new(), 8);
        let text = Memory::Bytes(b"12345678".to_vec(), 0);
        let vector = Memory::Words(vec![Word::Address(1), Word::Number(8)]);
        let script = Script {
            memory: vec![pipe, text, vector, Memory::Bytes(Vec::new(), 8)],
            steps: vec![
                step(libc::SYS_pipe, vec![Word::Address(0)]),
                step(libc::SYS_writev, vec![Word::Load(0, 4), Word::Address(2), Word::Number(1)]),
                step(libc::SYS_read, vec![Word::Load(0, 0), Word::Address(3), Word::Result(1)]),
                Step::Peek(3, 0),
                step(libc::SYS_close, vec![Word::Number(-1)]),
                Step::Nothing,
            ],
        };
        let text = i64::from_ne_bytes(*b"12345678");
        assert_eq!(script.run(), Ok(vec![0, 8, 8, text, -9, 0]));
    }

    #[test]
    fn calls_that_do_not_come_back_and_those_that_do_twice() {
        let forks = FORKS[..2].iter().map(|call| step(*call, Vec::new()));
        let wait = || step(libc::SYS_wait4, vec![Word::Number(-1)]);
        let steps = forks.chain([wait(), wait(), wait(), step(libc::SYS_exit, Vec::new()), wait()]);
        let script = Script { memory: Vec::new(), steps: steps.collect() };
        let came = script.run().unwrap();
        let mut forked = came[..2].to_vec();
        let mut waited = came[2..4].to_vec();
        forked.sort_unstable();
        waited.sort_unstable();
        assert_eq!(forked, waited);
        assert!(forked[0] > 0, "{came:?}");
        assert_eq!(came[4..], [-10, NOTHING, NOTHING]);
    }
}
