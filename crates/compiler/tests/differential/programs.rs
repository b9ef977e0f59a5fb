//! Functions and static probes of a program: it runs with a table of calls as its standard input, which it
//! maps to where the addresses in it are right, and makes one call after the other. Pages of what arguments
//! point to were never touched before.

use crate::campaign::Bench;
use crate::harness::{Harness, Place};
use crate::laboratory::{Failure, Kind, Verdict, read, short};
use crate::real::{Given, Image, Memory};
use elf::synthetic::{Section, Symbol, Synthetic, TEXT, probe_note};
use policy::evaluate::generate::Call;
use policy::evaluate::{Namespaces, Process, Selectors};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Arguments that it has in registers.
pub(crate) const ARGUMENTS: usize = 6;
/// Where the table is mapped.
const TABLE: u32 = 0x1000_0000;
/// How much room there is for it.
const ROOM: u32 = 1 << 26;
/// Bytes of an entry, the arguments and what the function returns, and of what stands before the first.
const ENTRY: usize = 64;
/// Where in the code the function is.
const WORK: u64 = 0x100;

/// Probes at the function: names and where their arguments are.
const PROBES: [(&str, &str); 3] = [
    ("registers", "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9"),
    ("memory", "8@(%rbx) 8@8(%rbx) 8@16(%rbx) 8@-16(%rbx,%r12,8) 8@32(%rbx) 8@40(%rbx)"),
    ("narrow", "-4@%edi -4@8(%rbx) -4@%edx -4@24(%rbx) -4@%r8d -4@(%rbx,%r12,8)"),
];

/// A program whose calls are tried.
pub(crate) struct Programs {
    harness: Harness,
    place: Place,
    path: PathBuf,
    memory: Memory,
    host: Namespaces,
}

impl Programs {
    pub(crate) fn new(harness: Harness) -> Self {
        let place = Place::new("differential-programs");
        let path = place.0.join("tried");
        let mut made = Synthetic::new();
        made.text(&code());
        made.symbol(Symbol::function("work", TEXT + WORK, 6));
        let notes = PROBES.map(|(name, args)| probe_note(TEXT + WORK, 0, 0, ["app", name, args]));
        made.section(Section::note(".note.stapsdt", &notes.concat()));
        made.write(&path);
        let memory = Memory::new(&harness.machine.btf);
        let host = harness.machine.host.clone();
        Self { harness, place, path, memory, host }
    }

    /// First fields of a hook on the function.
    pub(crate) fn function(&self) -> String {
        format!("uprobes: [{{path: {}, symbols: [work]", self.path.display())
    }

    /// First fields of a hook on a probe.
    pub(crate) fn probe(&self, name: &str) -> String {
        format!("usdts: [{{path: {}, provider: app, name: {name}", self.path.display())
    }

    /// Runs the program on calls; gives what is seen of them, in order, and what was captured, whether it
    /// is seen or not.
    fn run(&mut self, call: &Call, calls: &[Given]) -> (Vec<Verdict>, Vec<Verdict>) {
        let mut table = vec![0; ENTRY * (1 + calls.len())];
        table[..8].copy_from_slice(&(calls.len() as u64).to_le_bytes());
        self.memory.image = Some(Image { start: TABLE.into(), bytes: table });
        let mut captured = Vec::new();
        let mut entries = Vec::new();
        for given in calls {
            let made = given.call(call, &mut self.memory);
            let (args, returned) = given.captured(call, &self.memory);
            captured.push(Some((None, args, returned)));
            let words = made.arguments[..ARGUMENTS].iter().chain([&made.returned, &0]);
            entries.extend(words.flat_map(|word| word.to_le_bytes()));
        }
        let Some(Image { mut bytes, .. }) = self.memory.image.take() else { panic!("no image") };
        bytes[ENTRY..ENTRY + entries.len()].copy_from_slice(&entries);
        assert!(bytes.len() < ROOM as usize);
        let table = self.place.0.join("calls");
        std::fs::write(&table, bytes).unwrap();
        let mut command = Command::new(&self.path);
        let seen = self.harness.everything_during(|| {
            let status = command.stdin(Stdio::from(File::open(table).unwrap())).status().unwrap();
            assert!(status.success(), "{status}");
        });
        let seen = seen.into_iter().map(|seen| Some((seen.selector, seen.args, seen.returned)));
        (seen.collect(), captured)
    }
}

impl Bench for Programs {
    fn process(&self) -> Option<&Process> {
        None
    }

    fn host(&self) -> &Namespaces {
        &self.host
    }

    fn time(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn check(
        &mut self,
        yaml: &str,
        call: &Call,
        calls: &[Given],
    ) -> Result<Option<usize>, Failure> {
        let policy = read(yaml).map_err(|problems| Failure::new(Kind::Policy, None, problems))?;
        self.harness
            .try_load(yaml)
            .map_err(|error| Failure::new(Kind::Program, calls.first(), error))?;
        let hook = &policy.hooks[0];
        let selectors = Selectors::new(&hook.selectors, &policy.lists, |_| None).unwrap();
        let (seen, captured) = self.run(call, calls);
        let mut result = Ok(());
        let mut seen = seen.into_iter();
        let mut matched = 0;
        for (given, captured) in calls.iter().zip(captured) {
            let Some(expected) = selectors.evaluate(&given.event) else { continue };
            matched += 1;
            let expected = captured.map(|(_, args, returned)| (expected.selector, args, returned));
            let said = seen.next().flatten();
            if said != expected {
                let text = format!(
                    "the evaluator says {}\nthe program says   {}",
                    short(&expected),
                    short(&said)
                );
                result = Err(Failure::new(Kind::Verdict, Some(given), text));
                break;
            }
        }
        if let (Ok(()), Some(more)) = (&result, seen.next()) {
            let text = format!("the program says {} once more", short(&more));
            result = Err(Failure::new(Kind::Verdict, calls.last(), text));
        }
        self.harness.remove("drawn");
        result.map(|()| Some(matched))
    }
}

/// Maps the table, then makes the calls that are in it: arguments in registers, `rbx` at the entry, 5 in
/// `r12`.
fn code() -> Vec<u8> {
    let [table, room] = [TABLE, ROOM].map(u32::to_le_bytes);
    let mut code: Vec<u8> = Vec::new();
    code.extend([0xb8, 9, 0, 0, 0]); // mov eax, mmap
    code.push(0xbf);
    code.extend(table); // mov edi, table
    code.push(0xbe);
    code.extend(room); // mov esi, room
    code.extend([0xba, 3, 0, 0, 0]); // mov edx, PROT_READ | PROT_WRITE
    code.extend([0x41, 0xba, 0x12, 0, 0, 0]); // mov r10d, MAP_PRIVATE | MAP_FIXED
    code.extend([0x45, 0x31, 0xc0]); // xor r8d, r8d: standard input
    code.extend([0x45, 0x31, 0xc9]); // xor r9d, r9d
    code.extend([0x0f, 0x05]); // syscall
    code.push(0xbb);
    code.extend(table); // mov ebx, table
    code.extend([0x8b, 0x2b]); // mov ebp, [rbx]
    code.extend([0x41, 0xbc, 5, 0, 0, 0]); // mov r12d, 5
    let again = code.len();
    code.extend([0x48, 0x83, 0xc3, ENTRY as u8]); // add rbx, ENTRY
    code.extend([0x48, 0x8b, 0x3b]); // mov rdi, [rbx]
    code.extend([0x48, 0x8b, 0x73, 8]); // mov rsi, [rbx + 8]
    code.extend([0x48, 0x8b, 0x53, 16]); // mov rdx, [rbx + 16]
    code.extend([0x48, 0x8b, 0x4b, 24]); // mov rcx, [rbx + 24]
    code.extend([0x4c, 0x8b, 0x43, 32]); // mov r8, [rbx + 32]
    code.extend([0x4c, 0x8b, 0x4b, 40]); // mov r9, [rbx + 40]
    code.push(0xe8); // call work
    let to = WORK as i32 - (code.len() as i32 + 4);
    code.extend(to.to_le_bytes());
    code.extend([0xff, 0xcd]); // dec ebp
    let back = again as i32 - (code.len() as i32 + 2);
    code.extend([0x75, back as i8 as u8]); // jnz again
    code.extend([0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit(0)
    code.resize(WORK as usize, 0xcc);
    code.extend([0x90, 0x48, 0x8b, 0x43, 48, 0xc3]); // nop; mov rax, [rbx + 48]; ret
    code
}
