//! `tetra debug`: what the agent has in the kernel, without asking the agent.

mod maps;
mod programs;

use clap::Subcommand;

use crate::dump;
use crate::error::Error;
use crate::server::Server;

/// How names of the agent's programs and maps begin.
const OURS: &str = "tg_";

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Debug {
    /// Print tables of the agent
    #[command(subcommand)]
    Dump(dump::Dump),
    /// Have the kernel count runs and time of BPF programs, until Ctrl-C
    EnableStats,
    /// Print the agent's BPF maps, the largest first
    Maps(maps::Flags),
    /// Print what the agent's BPF programs do, again and again
    #[command(visible_alias = "top")]
    Progs(programs::Flags),
}

/// Runs a command. `server` is how to reach the agent, for those that need it.
pub(crate) async fn run(
    server: impl FnOnce() -> Result<Server, Error>,
    command: Debug,
) -> Result<String, Error> {
    match command {
        Debug::Dump(table) => dump::run(&server()?, &table).await,
        Debug::EnableStats => programs::enable_stats().await,
        Debug::Maps(flags) => maps::run(&flags),
        Debug::Progs(flags) => programs::run(&flags).await,
    }
}

fn kernel(cause: kernel::Error) -> Error {
    Error::Kernel(cause.to_string())
}
