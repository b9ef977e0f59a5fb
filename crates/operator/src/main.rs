//! The `tetragon-operator` executable.

use std::process::ExitCode;

use operator::settings::{Parsed, Settings};

fn main() -> ExitCode {
    let variables = std::env::vars_os();
    let settings = match Settings::parse(std::env::args_os(), variables) {
        Ok(Parsed::Serve(settings)) => settings,
        Ok(Parsed::Text(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("Error: {error}");
            return ExitCode::FAILURE;
        }
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(operator::serve(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
