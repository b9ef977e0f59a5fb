//! Golden files: a module's text, what the passes make of it, and the program. Each file in
//! `tests/golden` holds all three, so that a change of the compiler shows as a change of these files.
//!
//! `BLESS=1 cargo test -p ebpf --test golden` writes what the compiler gives now.
//!
//! A line `; options:` in the text names the [`Options`] that are on.

#![allow(clippy::unwrap_used)] // helpers of tests, outside test functions

use std::fs;
use std::path::Path;

use ebpf::{Module, Options};

const PASSES: &str = "\n;;; after passes\n";
const PROGRAM: &str = "\n;;; program\n";

fn options(text: &str) -> Options {
    let line = text.lines().find_map(|line| line.strip_prefix("; options:")).unwrap_or_default();
    let mut options = Options { check_registers: true, ..Options::default() };
    for word in line.split_whitespace() {
        match word {
            "long_jumps" => options.long_jumps = true,
            "sign_extension" => options.sign_extension = true,
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn run(input: &str) -> String {
    let options = options(input);
    let module: Module = input.parse().unwrap();
    let mut optimized = module.clone();
    optimized.optimize(&options).unwrap();
    let program = module.compile(&options).unwrap();
    format!("{input}{PASSES}{optimized}{PROGRAM}{}", program.disassemble())
}

#[test]
fn golden_files_are_what_the_compiler_gives() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bless = std::env::var_os("BLESS").is_some();
    let mut seen = 0;
    let mut differ = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let input = text.split(PASSES).next().unwrap_or_default().trim_end().to_owned() + "\n";
        let now = run(&input);
        seen += 1;
        if bless {
            fs::write(&path, now).unwrap();
        } else if now != text {
            differ.push(format!("{}:\n{now}", path.display()));
        }
    }
    assert!(seen > 0, "no golden files");
    assert!(differ.is_empty(), "BLESS=1 accepts what follows.\n{}", differ.join("\n"));
}

/// Text that is printed reads as the same module.
#[test]
fn printed_text_reads_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let input = text.split(PASSES).next().unwrap_or_default();
        let module: Module = input.parse().unwrap();
        let printed = module.to_string();
        let again: Module = printed.parse().unwrap();
        assert_eq!(again.to_string(), printed);
    }
}
