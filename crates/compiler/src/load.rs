//! From a module to a program in the kernel.

use crate::Error;
use ebpf::Module;
use ebpf::program::Line;
use kernel::btf::TypeId;
use kernel::btf_object::BtfObject;
use kernel::features::ProgramKind;
use kernel::map::Map;
use kernel::program::{Program, ProgramBtf, ProgramSpec, Target};
use std::os::fd::{AsFd, AsRawFd};

/// Compiles and loads a program. `target`: what it is for, for kinds that fix that when loaded.
pub(crate) fn program(
    module: &Module,
    kind: ProgramKind,
    target: Option<TypeId>,
    maps: &[&Map],
) -> Result<Program, Error> {
    let name = module.name();
    let fail = |error| Error::Program { program: name.to_owned(), error };
    let mut program = module.compile(&ebpf::Options::default()).map_err(fail)?;
    program
        .relocate(|wanted| {
            let map = maps.iter().find(|map| map.name() == wanted)?;
            Some(map.as_fd().as_raw_fd())
        })
        .map_err(fail)?;
    let types = program.btf()?;
    let object = BtfObject::load(&types.blob)?;
    let spec = ProgramSpec {
        name,
        program_type: kind.program_type(),
        attach_type: kind.attach_type(),
        flags: kind.flags(),
        target: target.map_or(Target::None, Target::Kernel),
        instructions: &program.bytes(),
        btf: Some(ProgramBtf {
            object: &object,
            func_info: &types.func_info,
            func_info_record: types.func_info_rec_size,
            line_info: &types.line_info,
            line_info_record: types.line_info_rec_size,
        }),
        ..ProgramSpec::default()
    };
    Program::load(&spec).map_err(|error| {
        let kernel::Error::Rejected(rejected) = &error else { return error.into() };
        // The verifier's log itself names the line only since Linux 6.9.
        match rejected.instruction().and_then(|slot| program.line_at(slot)) {
            Some(Line { file, line, column, .. }) => Error::Hook {
                place: format!("{file}:{line}:{column}"),
                cause: Box::new(error.into()),
            },
            None => error.into(),
        }
    })
}
