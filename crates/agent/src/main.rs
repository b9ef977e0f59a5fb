//! The tetragon agent.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::run::main(|config| Ok(Box::new(agent::sensor::Sensor::load(config)?)))
}
