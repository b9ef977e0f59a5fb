//! Developer tasks, run as `cargo xtask TASK`.
//!
//! What needs more than cargo lives here, in Rust and not in shell: booting kernels with the tests
//! inside, and trying the agent by hand. Everything that is fetched or made goes to `build/`.

mod artifacts;
mod bench;
mod cpio;
mod debian;
mod field_table;
mod initramfs;
mod kernels;
mod man;
mod qemu;
mod report;
mod run;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the system tests in virtual machines and on this machine's kernel
    Vm(vm::Args),
    /// Measure what things cost, as Markdown and JSON
    Bench(bench::Args),
    /// Try policies that users write, and make the table of what becomes of them on which kernel
    FieldTable(field_table::Args),
    /// Write the manual's pages of tetra
    Man(man::Args),
    /// Start the agent and print its events until Ctrl-C
    Run(run::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Vm(args) => vm::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::FieldTable(args) => field_table::run(&args),
        Task::Man(args) => man::run(&args),
        Task::Run(args) => run::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
