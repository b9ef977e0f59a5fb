//! Executables and libraries that hooks name: opened once for a policy, checked, and their functions
//! found by name.
//!
//! What is attached to is the file that was opened and looked at here, even if its name leads to another
//! one by then. Paths are those of the agent's own root: a file of a container is named by where its
//! layers are on the host, or as `/proc/PID/root/...`.

use super::attachment::lacks;
use super::planner::Planner;
use super::signature::{Origin, REGISTERS, Signature};
use super::{Attachment, Instruction};
use elf::{Architecture, Contents, Function, FunctionKind, Hash, ProgramFile};
use kernel::btf::Btf;
use kernel::features::Feature;
use policy::checked::{DigestAlgorithm, Hook, Place, Program, Source, Symbol};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Where perf's events have the counter's offset: in the upper half of a word.
const COUNTER_MAX: u64 = u32::MAX as u64;

/// A file that hooks name.
pub(super) struct Executable {
    /// Its absolute path.
    pub(super) path: String,
    pub(super) file: ProgramFile,
    pub(super) contents: Contents,
}

/// A place in a file, before it is attached to.
pub(super) struct Location {
    /// Where it stands in the policy.
    pub(super) place: Place,
    /// What people call it.
    pub(super) name: String,
    /// Bytes from the file's start.
    pub(super) offset: u64,
    /// The counter's, or 0.
    pub(super) counter: u64,
}

impl Planner<'_> {
    /// The file of a path; `None` where something is wrong with it, which is said.
    pub(super) fn executable(&mut self, path: &str, place: &Place) -> Option<Arc<Executable>> {
        if let Some(known) = self.executables.get(path) {
            return Some(known.clone());
        }
        match open(path) {
            Ok(opened) => {
                let opened = Arc::new(opened);
                self.executables.insert(path.to_owned(), opened.clone());
                Some(opened)
            }
            Err(message) => {
                self.error(place, message);
                None
            }
        }
    }

    /// Whether values of a hook can be read in programs of this file; says so where not.
    pub(super) fn reads(&mut self, hook: &Hook, executable: &Executable) -> bool {
        let native = match self.machine.features.architecture() {
            "aarch64" => Architecture::Aarch64,
            _ => Architecture::X86_64,
        };
        let values = hook.args.iter().chain(&hook.return_arg);
        let read = values.chain(&hook.data).find(|arg| arg.source != Source::CurrentTask);
        match read {
            Some(argument) if executable.contents.architecture != native => {
                let message = format!(
                    "{} is not made for this machine's 64-bit mode: where its functions have their \
                     arguments is not known to this build; hook it without them",
                    executable.path
                );
                self.error(&argument.place, message);
                false
            }
            _ => true,
        }
    }

    /// How to attach to a place in a file, and why so.
    pub(super) fn instruction(
        &mut self,
        executable: &Executable,
        location: &Location,
    ) -> Option<(Attachment, String)> {
        let machine = self.machine;
        let wanted = !self.policy.settings.disable_uprobe_multi;
        let multi = match wanted {
            true => lacks(machine, Feature::UprobeMulti),
            false => Err("the policy says disable-uprobe-multi".to_owned()),
        };
        let attached = match &multi {
            Ok(()) => Ok("a uprobe of its own link (uprobe.multi), the cheapest way".to_owned()),
            Err(why) => lacks(machine, Feature::Uprobe)
                .map(|()| format!("a uprobe of perf's: {why}"))
                .map_err(|also| {
                    format!("this kernel has no uprobes, neither links ({why}) nor perf's ({also})")
                }),
        };
        let counted = match location.counter {
            0 => Ok(()),
            counter if multi.is_err() && counter > COUNTER_MAX => {
                Err(format!("the counter at {counter:#x} is beyond the 4 GiB that perf can name"))
            }
            _ => lacks(machine, Feature::UprobeRefCounter)
                .map_err(|why| format!("this kernel keeps no counters for probes ({why})")),
        };
        match (attached, counted) {
            (Ok(reason), Ok(())) => {
                let attachment = Attachment::Uprobe(Instruction {
                    file: executable.file.clone(),
                    offset: location.offset,
                    counter: location.counter,
                    multi: multi.is_ok(),
                    name: location.name.clone(),
                });
                Some((attachment, reason))
            }
            (attached, counted) => {
                for message in attached.err().into_iter().chain(counted.err()) {
                    self.error(&location.place, message);
                }
                None
            }
        }
    }

    /// What is known of a program's values: nothing, and perhaps the types of its memory.
    pub(super) fn program_signature(
        &mut self,
        executable: &Executable,
        name: &str,
        btf_path: Option<&str>,
        place: &Place,
    ) -> Option<Signature> {
        let types = match (btf_path, &executable.contents.btf) {
            (Some(path), _) => Btf::from_file(path).map(Some),
            (None, Some(own)) => Btf::from_bytes(own.clone()).map(Some),
            (None, None) => Ok(None),
        };
        let types = match types {
            Ok(types) => types,
            Err(error) => {
                let of = btf_path.unwrap_or(&executable.path);
                self.error(place, format!("types of {of}: {error}"));
                return None;
            }
        };
        let btf = types.map_or_else(|| self.machine.btf.clone(), Arc::new);
        Some(Signature {
            origin: Origin::Program,
            readable: Some(REGISTERS),
            ..Signature::unknown(btf, name)
        })
    }

    /// Whether the file has one of the digests that the policy accepts. `None`: it cannot be told, which
    /// is said.
    pub(super) fn is_accepted(
        &mut self,
        executable: &Executable,
        program: &Program,
        place: &Place,
    ) -> Option<bool> {
        let mut found = String::new();
        let mut asked: Vec<DigestAlgorithm> = Vec::new();
        for digest in &program.digests {
            if asked.contains(&digest.algorithm) {
                continue;
            }
            asked.push(digest.algorithm);
            let (name, bytes) = match of_file(executable, digest.algorithm) {
                Ok(known) => known,
                Err(message) => {
                    self.error(place, message);
                    return None;
                }
            };
            let same = |other: &&policy::checked::Digest| other.algorithm == digest.algorithm;
            if program.digests.iter().filter(same).any(|other| Some(&other.bytes) == bytes.as_ref())
            {
                return Some(true);
            }
            let hex = bytes.map_or_else(|| "none".to_owned(), |bytes| hexadecimal(&bytes));
            let comma = if found.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(found, "{comma}{name}:{hex}");
        }
        if program.digests.is_empty() {
            return Some(true);
        }
        let message = format!(
            "{} has none of the digests that the policy accepts; its own are {found}",
            executable.path
        );
        match program.ignore_digest_failure {
            true => self.note(place, message),
            false => self.error(place, message),
        }
        Some(false)
    }
}

fn open(path: &str) -> Result<Executable, String> {
    let absolute = std::path::absolute(Path::new(path))
        .map_err(|error| format!("`{path}` cannot be made absolute: {error}"))?;
    let file = ProgramFile::open(&absolute).map_err(|error| error.to_string())?;
    let contents = file.contents().map_err(|error| error.to_string())?;
    Ok(Executable { path: absolute.to_string_lossy().into_owned(), file, contents })
}

/// The name of an algorithm, and the digest of a file by it.
fn of_file(
    executable: &Executable,
    algorithm: DigestAlgorithm,
) -> Result<(&'static str, Option<Vec<u8>>), String> {
    let (name, hash) = match algorithm {
        DigestAlgorithm::Sha1 => ("sha1", Hash::Sha1),
        DigestAlgorithm::Sha256 => ("sha256", Hash::Sha256),
        DigestAlgorithm::Sha384 => ("sha384", Hash::Sha384),
        DigestAlgorithm::Sha512 => ("sha512", Hash::Sha512),
        DigestAlgorithm::BuildId => return Ok(("build-id", executable.contents.build_id.clone())),
    };
    let digest = executable.file.digest(hash).map_err(|error| error.to_string())?;
    Ok((name, Some(digest)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Executable {
    /// Where a symbol's code is: at several places, where several functions have the name.
    pub(super) fn find(&self, symbol: &Symbol) -> Result<Vec<u64>, String> {
        let name = &symbol.name;
        let found: Vec<&Function> = self.contents.named(name).collect();
        let of = |kind: FunctionKind| found.iter().filter(move |function| function.kind == kind);
        let mut code: Vec<&Function> = of(FunctionKind::Code).copied().collect();
        if code.iter().any(|function| function.global) {
            code.retain(|function| function.global);
        }
        let mut offsets: Vec<u64> = code
            .iter()
            .filter_map(|function| {
                let inside = function.size == 0 || symbol.offset < function.size;
                function.offset.filter(|_| inside)?.checked_add(symbol.offset)
            })
            .filter(|offset| self.contents.is_code(*offset))
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        if !offsets.is_empty() {
            return Ok(offsets);
        }
        let path = &self.path;
        Err(match code.first() {
            Some(function) if function.size > 0 => format!(
                "`{name}` of {path} has {} bytes: {} is behind its end",
                function.size, symbol.offset
            ),
            Some(_) => {
                format!("{} bytes behind `{name}` there is no code in {path}", symbol.offset)
            }
            None if of(FunctionKind::Chooser).next().is_some() => format!(
                "`{name}` of {path} only chooses, when a program starts, which function is called by \
                 that name (an indirect function): hook the one that it chooses{}",
                self.chosen(name)
            ),
            None if of(FunctionKind::Elsewhere).next().is_some() => {
                format!("`{name}` is called by {path} but is part of a library: hook it there")
            }
            None if of(FunctionKind::Data).next().is_some() => {
                format!("`{name}` of {path} is no function but data")
            }
            None => self.unknown(name),
        })
    }

    /// What is worth knowing of a name by which several things go: of two versions of `memcpy` in the
    /// C library one is a function, for old programs, and the other chooses.
    pub(super) fn also_chosen(&self, symbol: &Symbol) -> Option<String> {
        let name = &symbol.name;
        let mut found = self.contents.named(name);
        found.any(|function| function.kind == FunctionKind::Chooser).then(|| {
            format!(
                "`{name}` of {} is hooked in one version; by the other, programs call a function that \
                 is chosen when they start (an indirect function): hook that one too{}",
                self.path,
                self.chosen(name)
            )
        })
    }

    /// Functions that a chooser may mean, by their names.
    fn chosen(&self, name: &str) -> String {
        let part = format!("{name}_");
        let functions = self.contents.functions.iter().filter(|function| {
            function.kind == FunctionKind::Code
                && function.name.trim_start_matches('_').starts_with(&part)
        });
        let mut names: Vec<&str> = functions.map(|function| function.name.as_str()).collect();
        names.dedup();
        match names.as_slice() {
            [] => String::new(),
            names => format!(", such as {}", names[..names.len().min(4)].join(", ")),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let path = &self.path;
        let functions = || {
            let code = |function: &&Function| function.kind == FunctionKind::Code;
            self.contents.functions.iter().filter(code).map(|function| function.name.as_str())
        };
        if functions().next().is_none() {
            return format!(
                "{path} has no `{name}`, and no names of functions at all: it is stripped; say \
                 `offsets` or `addrs`"
            );
        }
        let near = functions().filter(|other| other.len().abs_diff(name.len()) <= 3);
        let hint = match policy::did_you_mean(name, near) {
            Some(near) => format!("; the nearest name is `{near}`"),
            None => String::new(),
        };
        format!(
            "{path} has no function `{name}`: it is misspelt, its name was stripped, it is part of a \
             library, or the compiler put it into its callers{hint}"
        )
    }
}
