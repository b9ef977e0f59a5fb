//! Hooks on static probes of programs.

use super::executable::{Executable, Location};
use super::planner::{Found, Inputs, Planner};
use super::shape::Shape;
use super::signature::Parameter;
use super::{EventKind, Input, Operand, OperandPlace, Source, register};
use elf::StaticProbe;
use policy::checked::{Argument, Hook};
use std::collections::BTreeSet;

impl Planner<'_> {
    /// Hooks the static probes of this name: inlined functions have theirs at several places.
    pub(super) fn usdt(
        &mut self,
        hook: &Hook,
        path: &str,
        provider: &str,
        name: &str,
        btf_path: Option<&str>,
    ) {
        let Some(executable) = self.executable(path, &hook.place) else { return };
        if !self.reads(hook, &executable) {
            return;
        }
        let probes = match find(&executable, provider, name) {
            Ok(probes) => probes,
            Err(message) => return self.error(&hook.place, message),
        };
        for probe in probes {
            let Some(offset) = probe.offset else {
                let message = format!(
                    "the probe {provider}:{name} of {} says to be at address {:#x}, where no code is",
                    executable.path, probe.address
                );
                self.error(&hook.place, message);
                continue;
            };
            let location = Location {
                place: hook.place.clone(),
                name: format!("{provider}:{name}"),
                offset,
                counter: probe.counter,
            };
            let event = EventKind::Usdt {
                path: executable.path.clone(),
                provider: provider.to_owned(),
                name: name.to_owned(),
            };
            self.static_probe(hook, &executable, probe, &location, event, btf_path);
        }
    }

    fn static_probe(
        &mut self,
        hook: &Hook,
        executable: &Executable,
        probe: &StaticProbe,
        location: &Location,
        event: EventKind,
        btf_path: Option<&str>,
    ) {
        let text = format!("{}({})", location.name, probe.arguments.join(", "));
        let place = &hook.place;
        let Some(mut signature) = self.program_signature(executable, &text, btf_path, place) else {
            return;
        };
        let before = self.problems();
        let mut operands = Vec::new();
        let mut parameters = Vec::new();
        for (index, text) in probe.arguments.iter().enumerate() {
            let operand = self.operand(executable, probe, text);
            let (size, signed) = operand.as_ref().map_or((8, false), |it| (it.size, it.signed));
            parameters.push(Parameter {
                ty: None,
                shape: Shape::Integer { size, signed, size_t: false },
                text: text.clone(),
            });
            // What nobody asks for need not be readable.
            if let (Err(message), Some(argument)) = (&operand, asks_for(hook, index as u32)) {
                self.error(&argument.place, format!("argument {index}: {message}"));
            }
            operands.push(operand.ok());
        }
        signature.params = Some(parameters);
        signature.readable = None;
        let Some((attachment, reason)) = self.instruction(executable, location) else { return };
        let found = Found { event, attachment, reason };
        let Some(mut inputs) = self.inputs(hook, &signature, &found.attachment) else { return };
        if self.problems() > before {
            return;
        }
        place_operands(&mut inputs, &operands);
        self.add(hook, found, inputs);
    }

    /// Where an argument is at a probe.
    fn operand(
        &self,
        executable: &Executable,
        probe: &StaticProbe,
        text: &str,
    ) -> Result<Operand, String> {
        let parsed = elf::Operand::parse(text, executable.contents.architecture)
            .map_err(|error| error.to_string())?;
        let architecture = self.machine.features.architecture();
        let register = |name: &String| register::locate(&self.machine.btf, architecture, name);
        let place = match &parsed.place {
            elf::Place::Constant(value) => OperandPlace::Constant(*value),
            elf::Place::Register(name) => {
                let (offset, size) = register(name)?;
                OperandPlace::Register((offset, size.min(parsed.size)))
            }
            elf::Place::Memory { base, index, symbol, displacement } => {
                let counted = base.as_deref().is_some_and(|base| base == "rip");
                let address = match symbol {
                    None if counted => {
                        return Err(format!(
                            "`{text}` is relative to an instruction that is not known"
                        ));
                    }
                    None => 0,
                    Some(name) => {
                        let known = probe.symbols.iter().find(|(known, _)| known == name);
                        let known = known.map(|(_, address)| *address as i64);
                        known.ok_or_else(|| {
                            format!(
                                "`{text}` names a symbol that {} does not have",
                                executable.path
                            )
                        })?
                    }
                };
                // The instruction pointer is at the probe, wherever the file was loaded to.
                let from = if counted { probe.address as i64 } else { 0 };
                let index = match index {
                    Some((name, scale)) => Some((register(name)?, *scale)),
                    None => None,
                };
                OperandPlace::Memory {
                    base: base.as_ref().map(register).transpose()?,
                    index,
                    displacement: displacement.wrapping_add(address).wrapping_sub(from),
                }
            }
        };
        Ok(Operand { size: parsed.size, signed: parsed.signed, place })
    }
}

/// An argument of the policy that reads the probe's argument `index`, or has its length there.
fn asks_for(hook: &Hook, index: u32) -> Option<&Argument> {
    hook.args.iter().find(|arg| arg.index == index || arg.size_argument == Some(index))
}

/// Says of values that were told by their number where they are.
fn place_operands(inputs: &mut Inputs, operands: &[Option<Operand>]) {
    let place = |source: &mut Source| {
        if let Source::Argument { index, .. } = source
            && let Some(Some(operand)) = operands.get(*index as usize)
        {
            *source = Source::Operand(operand.clone());
        }
    };
    for Input { source, length, .. } in &mut inputs.args {
        place(source);
        if let Some(length) = length {
            place(&mut length.source);
        }
    }
}

/// The probes of a name.
fn find<'a>(
    executable: &'a Executable,
    provider: &str,
    name: &str,
) -> Result<Vec<&'a StaticProbe>, String> {
    let path = &executable.path;
    let probes = executable.contents.probes.as_ref().map_err(|why| format!("{path}: {why}"))?;
    let found: Vec<&StaticProbe> =
        probes.iter().filter(|probe| probe.provider == provider && probe.name == name).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let wanted = format!("{provider}:{name}");
    let known: BTreeSet<String> =
        probes.iter().map(|probe| format!("{}:{}", probe.provider, probe.name)).collect();
    let few: Vec<&str> = known.iter().map(String::as_str).take(8).collect();
    Err(match (policy::did_you_mean(&wanted, known.iter().map(String::as_str)), few.as_slice()) {
        (_, []) => format!("{path} has no static probes at all"),
        (Some(near), _) => format!("{path} has no probe {wanted}: did you mean {near}?"),
        (None, few) => {
            let more = if known.len() > few.len() { ", ..." } else { "" };
            format!("{path} has no probe {wanted}; it has {}{more}", few.join(", "))
        }
    })
}
