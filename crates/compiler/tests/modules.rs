//! Modules of the kernel: one made byte by byte, which does nothing, is loaded and unloaded. Only in
//! test machines: it taints the kernel.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::Machine;
use compiler::observed::{Module, Observation, Observed};
use harness::{Harness, hook_number, hooks, own_thread};
use kernel::features::Feature;
use rustix::io::Errno;
use std::ffi::CString;

/// `TAINT_OOT_MODULE`, `TAINT_UNSIGNED_MODULE`
const TAINTS: u64 = 1 << 12 | 1 << 13;

/// A section of the module.
struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    content: Vec<u8>,
    /// Another section, for one with symbols.
    link: u32,
    entry_size: u64,
}

/// A relocatable ELF file with these sections behind an empty one; the last has the sections' names.
fn elf(mut sections: Vec<Section>) -> Vec<u8> {
    const HEADER: usize = 64;
    let mut names = vec![0];
    let mut name_at = Vec::new();
    for section in &sections {
        name_at.push(names.len() as u32);
        names.extend(section.name.bytes().chain([0]));
    }
    sections.last_mut().unwrap().content = names;
    let mut file = vec![0; HEADER];
    let mut table = vec![0_u8; 64];
    for (section, name) in sections.iter().zip(name_at) {
        file.resize(file.len().next_multiple_of(64), 0);
        let (offset, size) = (file.len() as u64, section.content.len() as u64);
        file.extend(&section.content);
        table.extend([name, section.kind].map(u32::to_le_bytes).concat());
        table.extend([section.flags, 0, offset, size].map(u64::to_le_bytes).concat());
        let info = u32::from(section.link != 0);
        table.extend([section.link, info].map(u32::to_le_bytes).concat());
        table.extend([64, section.entry_size].map(u64::to_le_bytes).concat());
    }
    file.resize(file.len().next_multiple_of(64), 0);
    let table_at = file.len() as u64;
    file.extend(table);
    // ELFCLASS64, ELFDATA2LSB, EV_CURRENT; ET_REL, EM_X86_64
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..24].copy_from_slice(&[1, 0, 62, 0, 1, 0, 0, 0]);
    file[40..48].copy_from_slice(&table_at.to_le_bytes());
    let count = sections.len() as u16 + 1;
    let halves = [HEADER as u16, 0, 0, 64, count, count - 1];
    file[52..64].copy_from_slice(&halves.map(u16::to_le_bytes).concat());
    file
}

/// The module, for a kernel that was built so.
fn module(machine: &Machine, name: &str, built: &str) -> Vec<u8> {
    const PROGBITS: u32 = 1;
    const ALLOCATED: u64 = 3;
    let release = rustix::system::uname().release().to_str().unwrap().to_owned();
    let about = format!("license=GPL\0name={name}\0vermagic={release} {built}\0");
    let btf = &machine.btf;
    let structure = btf.find_struct("module").unwrap();
    let mut this = vec![0; btf.size_of(structure).unwrap() as usize];
    let at = btf.field(structure, "name").unwrap().offset as usize;
    this[at..at + name.len()].copy_from_slice(name.as_bytes());
    let section =
        |name, kind, flags, content| Section { name, kind, flags, content, link: 0, entry_size: 0 };
    elf(vec![
        section(".modinfo", PROGBITS, 2, about.into_bytes()),
        section(".gnu.linkonce.this_module", PROGBITS, ALLOCATED, this),
        // One symbol, which is none.
        Section { link: 4, entry_size: 24, ..section(".symtab", 2, 0, vec![0; 24]) },
        section(".strtab", 3, 0, vec![0]),
        section(".shstrtab", 3, 0, Vec::new()),
    ])
}

/// Loads the module, whatever way the kernel was built.
fn load(machine: &Machine, name: &str) {
    let mut last = Errno::NOEXEC;
    for preemption in ["", "preempt ", "preempt_rt "] {
        for versions in ["", "modversions "] {
            let built = format!("SMP {preemption}mod_unload {versions}");
            match rustix::system::init_module(&module(machine, name, &built), c"") {
                Ok(()) => return,
                Err(error) => last = error,
            }
        }
    }
    panic!("{last}");
}

fn unload(name: &str) {
    let name = CString::new(name).unwrap();
    rustix::system::delete_module(&name, rustix::fs::OFlags::NONBLOCK.bits() as i32).unwrap();
}

fn harnesses() -> impl Iterator<Item = Harness> {
    let lacks = [Feature::Fentry, Feature::Fexit];
    let trampolines = Harness::with(Feature::Fexit);
    [trampolines, Harness::without(Feature::Kretprobe, &lacks)].into_iter().flatten()
}

#[test]
fn a_module_is_loaded_and_unloaded() {
    if !harness::is_emulated() {
        eprintln!("skipped: only test machines are to be tainted");
        return;
    }
    for mut harness in harnesses() {
        let hook = |call: &str, index: u32, kind: &str| {
            format!("call: {call}\nsyscall: false\nargs:\n- {{index: {index}, type: {kind}}}\n")
        };
        let mut wanted = vec![
            hook("do_init_module", 0, "module"),
            hook("free_module", 0, "module"),
            // Where it still has the name that it came with.
            format!(
                "{}- {{index: 1, type: string, resolve: name}}\nselectors:\n- matchArgs:\n  - {{args: [1], operator: Equal, values: [tested_one]}}\n",
                hook("layout_symtab", 1, "load_info")
            ),
        ];
        if harness.machine.btf.find_func("find_module_sections").is_ok() {
            wanted.push(hook("find_module_sections", 1, "load_info"));
        }
        let sections = wanted.len() > 3;
        harness.load(&hooks("modules", "kprobes", wanted));
        let names = ["tested_one", "tested_other"];
        let machine = harness.machine.clone();
        let seen = own_thread(harness.during(|| {
            for name in names {
                load(&machine, name);
                unload(name);
            }
        }));
        let of = |hook: usize| -> Vec<Module> {
            let module = |seen: &Observation| match &seen.args[0] {
                Some(Observed::Module(module)) => module.clone(),
                other => panic!("{other:?}"),
            };
            seen.iter().filter(|seen| hook_number(seen) == hook).map(module).collect()
        };
        let known = |modules: Vec<Module>, signature_ok: Option<bool>| {
            for module in &modules {
                assert_eq!(module.taints & TAINTS, TAINTS, "{module:?}");
                assert_eq!(module.signature_ok, signature_ok, "{module:?}");
            }
            let names: Vec<_> = modules.into_iter().map(|module| module.name).collect();
            assert_eq!(names, [&b"tested_one"[..], b"tested_other"]);
        };
        known(of(0), None);
        known(of(1), None);
        if sections {
            known(of(3), Some(false));
        }
        let [loading] = &of(2)[..] else { panic!("{seen:?}") };
        assert_eq!((&loading.name[..], loading.signature_ok), (&b"tested_one"[..], Some(false)));
    }
}
