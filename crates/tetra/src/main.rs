//! The `tetra` command line.
//!
//! Every command prints to standard output, and its mistakes to standard error as `Error: ...`
//! with exit code 1. Nobody reading the output any more, and Ctrl-C, end it with exit code 0.

mod cli;
mod compact;
mod config;
mod debug;
mod dump;
mod duration;
mod error;
mod eventlog;
mod getevents;
mod hook_name;
mod info;
mod loglevel;
mod output;
mod pinned;
mod probe;
mod processes;
mod replay;
mod rthooks;
mod schema;
mod sensors;
mod server;
mod stacktrace_tree;
mod status;
mod table;
mod top;
mod tracingpolicy;
mod tree;
mod version;

use std::path::Path;
use std::process::ExitCode;

use cli::{Command, Global, Loglevel, Parsed, Probe};
use error::Error;
use server::Server;

fn main() -> ExitCode {
    let result = match cli::parse(std::env::args_os()) {
        Parsed::Command(global, command) => run(*global, command),
        Parsed::Text(text) => output::print(&text),
        Parsed::Mistake(text) => Err(Error::Usage(text)),
    };
    match result {
        Ok(()) | Err(Error::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("Error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(global: Global, command: Command) -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let result = runtime.block_on(async {
        tokio::select! {
            // What collects until then has something to say at Ctrl-C.
            biased;
            result = dispatch(global, command) => result,
            signal = tokio::signal::ctrl_c() => signal.map_err(Error::Start),
        }
    });
    // A thread may still wait for standard input; nothing of it is needed any more.
    runtime.shutdown_background();
    result
}

async fn dispatch(global: Global, command: Command) -> Result<(), Error> {
    let server = || Server::new(&global);
    let text = match command {
        Command::Completion { shell } => completion(&shell)?,
        Command::Config(flags) => config::run(&server()?, &flags).await?,
        Command::Debug(command) => debug::run(server, command).await?,
        Command::Dump(table) => dump::run(&server()?, &table).await?,
        Command::Eventlog(command) => eventlog::run(&server()?, command).await?,
        Command::Explain(flags) => schema::run(&flags)?,
        Command::Getevents(flags) => return getevents::run(&global, *flags).await,
        Command::Info => info::run(&server()?).await?,
        Command::Loglevel(Loglevel::Get) => loglevel::get(&server()?).await?,
        Command::Loglevel(Loglevel::Set { level }) => loglevel::set(&server()?, level).await?,
        Command::Man { directory } => man(&directory)?,
        Command::Pinned(command) => pinned::run(command)?,
        Command::Probe { what: Some(Probe::Config), .. } => probe::config()?,
        Command::Probe { what: Some(Probe::Record), .. } => probe::record()?,
        Command::Probe { what: None, why } => probe::features(why)?,
        Command::Rthooks(command) => rthooks::run(&server()?, command).await?,
        Command::Sensors(command) => sensors::run(&server()?, command).await?,
        Command::StacktraceTree(flags) => return stacktrace_tree::run(&global, *flags).await,
        Command::Status => status::run(&server()?).await?,
        Command::Tracingpolicy(command) => tracingpolicy::run(server, &command).await?,
        Command::Replay(flags) => return replay::run(&global, *flags).await,
        Command::Top(flags) => return top::run(&global, *flags).await,
        Command::Tree(flags) => return tree::run(&global, flags).await,
        Command::Version { server: ask, build } => {
            let server = if ask { Some(server()?) } else { None };
            version::run(server.as_ref(), build).await?
        }
    };
    output::print(&text)
}

/// A page for each command, in a directory. Prints nothing.
fn man(directory: &Path) -> Result<String, Error> {
    let failed = |cause| Error::Directory { path: directory.to_owned(), cause };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(cli::command(), directory).map_err(failed)?;
    Ok(String::new())
}

fn completion(shell: &str) -> Result<String, Error> {
    use clap_complete::Shell;
    let shell: Shell = shell.parse().map_err(Error::Usage)?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "tetra", &mut script);
    Ok(String::from_utf8_lossy(&script).into_owned())
}
