//! The tetragon agent.

use std::process::ExitCode;

/// Heaps that the agent's threads share: more would each keep what others could use.
const ARENAS: u16 = 2;

fn main() -> ExitCode {
    kernel::memory::limit_arenas(ARENAS);
    agent::run::main(|config| Ok(Box::new(agent::sensor::Sensor::load(config)?)))
}
