//! Hooks on functions of programs.

use super::EventKind;
use super::executable::{Executable, Location};
use super::planner::{Found, Planner};
use policy::checked::{Hook, Locations, Program, Symbol};

impl Planner<'_> {
    /// Hooks each of the places in a program that the policy names.
    pub(super) fn uprobe(&mut self, hook: &Hook, program: &Program) {
        let Some(executable) = self.executable(&program.path, &hook.place) else { return };
        match self.is_accepted(&executable, program, &hook.place) {
            Some(true) => {}
            Some(false) | None => return,
        }
        if !self.reads(hook, &executable) {
            return;
        }
        let mut hooked: Vec<u64> = Vec::new();
        for (index, place) in program.places.iter().enumerate() {
            let counter = program.reference_counters.get(index).copied().unwrap_or(0);
            let wanted = wanted(&program.locations, index);
            let offsets = match find(&executable, &wanted) {
                Ok(offsets) => offsets,
                Err(message) => {
                    self.error(place, message);
                    continue;
                }
            };
            if offsets.len() > 1 {
                let message = format!(
                    "{} has {} functions {}: all of them are hooked",
                    executable.path,
                    offsets.len(),
                    wanted.name()
                );
                self.note(place, message);
            }
            if let Wanted::Symbol(symbol) = wanted
                && let Some(message) = executable.also_chosen(symbol)
            {
                self.note(place, message);
            }
            for offset in offsets {
                if hooked.contains(&offset) {
                    self.note(place, "an earlier element of this list is the same place");
                    continue;
                }
                hooked.push(offset);
                let location =
                    Location { place: place.clone(), name: wanted.name(), offset, counter };
                self.function_of_program(hook, program, &executable, &wanted, &location);
            }
        }
    }

    fn function_of_program(
        &mut self,
        hook: &Hook,
        program: &Program,
        executable: &Executable,
        wanted: &Wanted<'_>,
        location: &Location,
    ) {
        let returns = hook.return_arg.is_some() || hook.args.iter().any(|arg| arg.return_copy);
        if returns && let Err(message) = returns_at(executable, location) {
            return self.error(&location.place, message);
        }
        if executable.contents.is_go && !hook.args.is_empty() {
            self.note(&location.place, GO_ARGUMENTS);
        }
        let btf = program.btf_path.as_deref();
        let place = &hook.place;
        let Some(signature) = self.program_signature(executable, &location.name, btf, place) else {
            return;
        };
        let Some((attachment, reason)) = self.instruction(executable, location) else { return };
        let (symbol, offset) = match wanted {
            Wanted::Symbol(_) => (location.name.clone(), 0),
            Wanted::Offset(_) | Wanted::Address(_) => (String::new(), location.offset),
        };
        let event = EventKind::Uprobe {
            path: executable.path.clone(),
            symbol,
            offset,
            counter: location.counter,
        };
        let found = Found { event, attachment, reason };
        if let Some(inputs) = self.inputs(hook, &signature, &found.attachment) {
            self.add(hook, found, inputs);
        }
    }
}

/// Functions of Go have had their arguments in registers since Go 1.17, but in others than those of C.
const GO_ARGUMENTS: &str = "arguments are read from the registers that C functions have them in; those \
                            of Go's own functions are in rax, rbx, rcx, rdi, rsi, r8, r9, r10 and r11 \
                            (on ARM in x0 to x15), which `data` with source pt_regs reads";

/// One place that the policy names.
enum Wanted<'a> {
    Symbol(&'a Symbol),
    Offset(u64),
    Address(u64),
}

impl Wanted<'_> {
    /// As people write it.
    fn name(&self) -> String {
        match self {
            Self::Symbol(Symbol { name, offset: 0 }) => name.clone(),
            Self::Symbol(Symbol { name, offset }) => format!("{name}+{offset:#x}"),
            Self::Offset(offset) | Self::Address(offset) => format!("{offset:#x}"),
        }
    }
}

fn wanted(locations: &Locations, index: usize) -> Wanted<'_> {
    match locations {
        Locations::Symbols(symbols) => Wanted::Symbol(&symbols[index]),
        Locations::Offsets(offsets) => Wanted::Offset(offsets[index]),
        Locations::Addresses(addresses) => Wanted::Address(addresses[index]),
    }
}

/// Where in the file it is.
fn find(executable: &Executable, wanted: &Wanted<'_>) -> Result<Vec<u64>, String> {
    let (path, contents) = (&executable.path, &executable.contents);
    match *wanted {
        Wanted::Symbol(symbol) => executable.find(symbol),
        Wanted::Offset(offset) if contents.is_code(offset) => Ok(vec![offset]),
        Wanted::Offset(offset) => Err(match contents.code_offset(offset) {
            Some(_) => format!(
                "there is no code at offset {offset:#x} of {path}, but at that address: say `addrs`"
            ),
            None => format!("there is no code at offset {offset:#x} of {path}"),
        }),
        Wanted::Address(address) => contents
            .code_offset(address)
            .map(|offset| vec![offset])
            .ok_or_else(|| format!("{path} has no code at address {address:#x}, as it is linked")),
    }
}

/// Whether the return of what begins at a place can be seen. What a return probe finds at the top of the
/// stack it takes for the return address and replaces: at another instruction than a function's first,
/// that would break the program. So it would in Go, whose stacks move.
fn returns_at(executable: &Executable, location: &Location) -> Result<(), String> {
    let (path, contents) = (&executable.path, &executable.contents);
    let name = &location.name;
    if contents.is_go {
        return Err(format!(
            "the return of functions of {path} cannot be hooked: it is a Go program, which moves its \
             stacks, and would crash"
        ));
    }
    match contents.containing(location.offset) {
        Some(function) if function.offset == Some(location.offset) => Ok(()),
        Some(function) => Err(format!(
            "`{name}` is within `{}` and not its first instruction, so its return cannot be hooked",
            function.name
        )),
        None => Err(format!(
            "nothing tells that a function of {path} begins at `{name}`, and a return hooked elsewhere \
             would crash the program"
        )),
    }
}
