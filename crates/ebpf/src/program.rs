//! A compiled program: instructions, and what goes with them to the kernel.
//!
//! Places are counted in slots of 8 bytes, as the kernel counts instructions; a 16-byte load has two.

use std::fmt::Write as _;

use crate::btf::{self, Builder, Linkage};
use crate::error::Error;
use crate::insn::{self, Imm64, Insn};
use crate::ir::Param;

/// A program for the kernel, but for the maps, which [`relocate`](Self::relocate) fills in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// All functions, one behind the other.
    pub insns: Vec<Insn>,
    /// The functions in their order; the first is the entry.
    pub functions: Vec<ProgramFunction>,
    /// Instructions that refer to maps.
    pub relocations: Vec<Relocation>,
    /// Names of the maps, by the index in [`Relocation::map`].
    pub maps: Vec<String>,
    /// Which slot starts a new source line, in order.
    pub lines: Vec<ProgramLine>,
    /// The source lines, by the index in [`ProgramLine::line`].
    pub sources: Vec<Line>,
}

/// A function of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFunction {
    /// Its name.
    pub name: String,
    /// How many parameters it takes.
    pub params: usize,
    /// What they are, of a function that is verified once.
    pub once: Option<Vec<Param>>,
    /// Where it starts, in slots from the program's start.
    pub slot: usize,
    /// Bytes of stack that its frame has.
    pub stack: u32,
}

/// An instruction that refers to a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Index in [`Program::insns`]: a load of [`Imm64::MapFd`] (the map itself) or
    /// [`Imm64::MapValue`] (an address in its value, with the offset).
    pub insn: usize,
    /// Index in [`Program::maps`].
    pub map: usize,
}

/// The start of a source line's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramLine {
    /// In slots from the program's start.
    pub slot: usize,
    /// Index in [`Program::sources`].
    pub line: usize,
}

/// A source line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// File name.
    pub file: String,
    /// Line, from 1. The kernel keeps 22 bits of it.
    pub line: u32,
    /// Column, from 1. The kernel keeps 10 bits of it.
    pub column: u32,
    /// Text of the line, which the verifier's log shows.
    pub text: String,
}

/// Type information in the form of `bpf(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramBtf {
    /// For `BPF_BTF_LOAD`; the file descriptor that gives is `prog_btf_fd`.
    pub blob: Vec<u8>,
    /// `func_info`: records of `struct bpf_func_info`.
    pub func_info: Vec<u8>,
    /// `func_info_rec_size`.
    pub func_info_rec_size: u32,
    /// `func_info_cnt`.
    pub func_info_cnt: u32,
    /// `line_info`: records of `struct bpf_line_info`. Empty when the module has no lines.
    pub line_info: Vec<u8>,
    /// `line_info_rec_size`.
    pub line_info_rec_size: u32,
    /// `line_info_cnt`.
    pub line_info_cnt: u32,
}

impl Program {
    /// Writes the maps' file descriptors into the instructions that refer to them. Can be repeated
    /// with others.
    ///
    /// # Errors
    ///
    /// [`Error::UnresolvedMap`] for the first map that has none; nothing has changed then.
    pub fn relocate(&mut self, fd_of: impl Fn(&str) -> Option<i32>) -> Result<(), Error> {
        let mut fds = vec![None; self.maps.len()];
        for relocation in &self.relocations {
            let name = &self.maps[relocation.map];
            let fd = fd_of(name).ok_or_else(|| Error::UnresolvedMap(name.clone()))?;
            fds[relocation.map] = Some(fd);
        }
        for relocation in &self.relocations {
            if let (
                Insn::LoadImm64 { imm: Imm64::MapFd(fd) | Imm64::MapValue { fd, .. }, .. },
                Some(new),
            ) = (&mut self.insns[relocation.insn], fds[relocation.map])
            {
                *fd = new;
            }
        }
        Ok(())
    }

    /// Names of the maps that the program really uses, each once.
    pub fn used_maps(&self) -> impl Iterator<Item = &str> {
        let used = |index: usize| self.relocations.iter().any(|r| r.map == index);
        self.maps
            .iter()
            .enumerate()
            .filter(move |(index, _)| used(*index))
            .map(|(_, name)| name.as_str())
    }

    /// The program as `bpf(2)` takes it.
    pub fn bytes(&self) -> Vec<u8> {
        insn::encode(&self.insns)
    }

    /// How many slots it has: `insn_cnt`.
    pub fn slots(&self) -> usize {
        self.insns.iter().map(Insn::slots).sum()
    }

    /// The source line that the code at a slot comes from; `None` where its function has none up to there.
    pub fn line_at(&self, slot: usize) -> Option<&Line> {
        let line = self.lines.iter().rev().find(|line| line.slot <= slot)?;
        let function = self.functions.iter().rev().find(|function| function.slot <= slot)?;
        (line.slot >= function.slot).then(|| self.sources.get(line.line))?
    }

    /// The program as text, like `bpftool prog dump xlated linum`: functions by name, source lines
    /// behind `;`, each instruction with its slot. Maps are shown by name.
    pub fn disassemble(&self) -> String {
        let mut out = String::new();
        let mut functions = self.functions.iter().peekable();
        let mut lines = self.lines.iter().peekable();
        let mut relocations = self.relocations.iter().peekable();
        let mut slot = 0;
        for (index, insn) in self.insns.iter().enumerate() {
            while let Some(function) = functions.next_if(|function| function.slot <= slot) {
                // Writing to a String cannot fail, here and below.
                let _ = writeln!(out, "{}: ; {} bytes of stack", function.name, function.stack);
            }
            while let Some(line) = lines.next_if(|line| line.slot <= slot) {
                let Line { file, line, column, text } = &self.sources[line.line];
                let _ = writeln!(out, "; {} @ {file}:{line}:{column}", text.trim());
            }
            let relocation = relocations.next_if(|relocation| relocation.insn == index);
            let map = relocation.map(|relocation| self.maps[relocation.map].as_str());
            let _ = match (insn, map) {
                (Insn::LoadImm64 { dst, imm: Imm64::MapValue { offset, .. } }, Some(map)) => {
                    writeln!(out, "{slot:5}: {dst} = map[{map}][0]+{offset}")
                }
                (Insn::LoadImm64 { dst, .. }, Some(map)) => {
                    writeln!(out, "{slot:5}: {dst} = map[{map}]")
                }
                _ => writeln!(out, "{slot:5}: {insn}"),
            };
            slot += insn.slots();
        }
        out
    }

    /// Types of the functions, and where they and the source lines start. Every parameter and result
    /// is a `long long`, but for the memory that functions take that are verified once: the verifier
    /// checks the bodies of the others where they are called.
    ///
    /// # Errors
    ///
    /// [`btf::BtfError`] when the strings do not fit.
    pub fn btf(&self) -> Result<ProgramBtf, btf::BtfError> {
        let mut types = Builder::new();
        let word = types.int("long long", 8, btf::Encoding::Signed)?;
        let mut func_info = Vec::new();
        for (index, function) in self.functions.iter().enumerate() {
            let names: Vec<String> = (0..function.params).map(|n| format!("arg{n}")).collect();
            let mut params: Vec<(&str, btf::TypeId)> =
                names.iter().map(|name| (name.as_str(), word)).collect();
            for (param, what) in params.iter_mut().zip(function.once.iter().flatten()) {
                if let Param::Memory(bytes) = what {
                    let words = types.array(word, word, bytes / 8)?;
                    let memory = types.structure(
                        &format!("memory_{bytes}"),
                        *bytes,
                        &[("words", words, 0)],
                    )?;
                    param.1 = types.ptr(memory)?;
                }
            }
            let proto = types.func_proto(word, &params)?;
            let once = index == 0 || function.once.is_some();
            let linkage = if once { Linkage::Global } else { Linkage::Static };
            let id = types.func(&btf::identifier(&function.name), proto, linkage)?;
            func_info.extend((function.slot as u32).to_ne_bytes());
            func_info.extend(id.raw().to_ne_bytes());
        }
        let line_info = self.line_info(&mut types)?;
        Ok(ProgramBtf {
            blob: types.finish(),
            func_info_rec_size: 8,
            func_info_cnt: self.functions.len() as u32,
            func_info,
            line_info_rec_size: 16,
            line_info_cnt: (line_info.len() / 16) as u32,
            line_info,
        })
    }

    fn line_info(&self, types: &mut Builder) -> Result<Vec<u8>, btf::BtfError> {
        let mut out = Vec::new();
        if self.lines.is_empty() {
            return Ok(out);
        }
        let mut record = |slot: usize, file: u32, text: u32, line: u32, column: u32| {
            let position = line.min((1 << 22) - 1) << 10 | column.min((1 << 10) - 1);
            for field in [slot as u32, file, text, position] {
                out.extend(field.to_ne_bytes());
            }
        };
        let mut functions = self.functions.iter().peekable();
        let empty = types.string("")?;
        for line in &self.lines {
            // A function none of whose instructions has a line: the kernel wants one all the same.
            while let Some(function) = functions.next_if(|function| function.slot < line.slot) {
                record(function.slot, empty, empty, 0, 0);
            }
            functions.next_if(|function| function.slot == line.slot);
            let source = &self.sources[line.line];
            let (file, text) = (types.string(&source.file)?, types.string(&source.text)?);
            record(line.slot, file, text, source.line, source.column);
        }
        for function in functions {
            record(function.slot, empty, empty, 0, 0);
        }
        Ok(out)
    }
}
