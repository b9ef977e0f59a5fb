//! The command line: every command and flag, and how mistakes in it are told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use api::tetragon::LogLevel;
use clap::{ArgAction, Args, Command as Clap, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    config, debug, dump, duration, eventlog, getevents, pinned, replay, rthooks, schema, sensors,
    stacktrace_tree, top, tracingpolicy, tree,
};

/// Talk to the agent: watch events, ask for its state, see what the kernel can do.
#[derive(Debug, Parser)]
#[command(name = "tetra", disable_version_flag = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global flags")]
pub(crate) struct Global {
    /// Say on standard error what is being done
    #[arg(short, long, global = true)]
    pub(crate) debug: bool,
    /// Address of the agent, HOST:PORT or unix:///PATH [default: what the agent on this machine
    /// says, else localhost:54321]
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) server_address: String,
    /// How long to wait for an answer
    #[arg(long, global = true, default_value = "30s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// How often to try again when the agent cannot be reached; 0 for never
    #[arg(long, global = true, default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) retries: i64,
    /// Longest event in bytes
    #[arg(long, global = true, value_name = "BYTES", default_value_t = 10_485_760)]
    pub(crate) max_recv_size: usize,
    #[command(flatten)]
    pub(crate) tls: Tls,
}

/// Flags that ask for TLS.
#[derive(Debug, Args)]
pub(crate) struct Tls {
    /// PEM files of authorities to trust, instead of the system's
    #[arg(long, global = true, value_name = "FILES", value_delimiter = ',')]
    pub(crate) tls_ca_cert_files: Vec<PathBuf>,
    /// PEM file of our own certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_cert_file: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_key_file: Option<PathBuf>,
    /// Name that the agent's certificate has to have [default: the host of the address]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tls_server_name: Option<String>,
    /// Accept any certificate
    #[arg(long, global = true)]
    pub(crate) tls_skip_verify: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a script that completes commands and flags in a shell
    Completion {
        /// Shell
        #[arg(value_parser = ["bash", "zsh", "fish", "powershell"])]
        shell: String,
    },
    /// Print the agent's settings, and where each was found
    Config(config::Flags),
    /// Look into the agent
    #[command(hide = true, subcommand)]
    Debug(debug::Debug),
    /// Same as `debug dump`
    #[command(hide = true, subcommand)]
    Dump(dump::Dump),
    /// See or change how the file of exported events is rotated
    #[command(subcommand)]
    Eventlog(eventlog::Eventlog),
    /// Print what fields of policies mean
    Explain(schema::Flags),
    /// Print events as they happen, or those that come in JSON on standard input
    Getevents(Box<getevents::Flags>),
    /// Print what the agent is, what its kernel can do, and how it is set up
    Info,
    /// See or set how much the agent logs
    #[command(visible_alias = "log", subcommand)]
    Loglevel(Loglevel),
    /// See or end what agents left in force
    #[command(subcommand)]
    Pinned(pinned::Pinned),
    /// Print what this machine's kernel can do
    #[command(args_conflicts_with_subcommands = true)]
    Probe {
        /// Add the reason to each line
        #[arg(long)]
        why: bool,
        #[command(subcommand)]
        what: Option<Probe>,
    },
    /// Print which exported events a policy would have matched
    Replay(Box<replay::Flags>),
    /// Tell the agent what container runtimes tell it
    #[command(hide = true, subcommand)]
    Rthooks(rthooks::Rthooks),
    /// Manage sensors, which are deprecated
    #[command(hide = true, subcommand)]
    Sensors(sensors::Sensors),
    /// Collect the stacks of events, and print them as a tree
    StacktraceTree(Box<stacktrace_tree::Flags>),
    /// Print whether the agent is healthy
    Status,
    /// Write the manual's pages
    #[command(hide = true)]
    Man {
        /// Directory that they go to; it is made if need be
        directory: PathBuf,
    },
    /// Manage tracing policies
    #[command(visible_alias = "tp", subcommand)]
    Tracingpolicy(Box<tracingpolicy::Policy>),
    /// Watch the busiest processes, policies and hooks, and what is lost
    Top(Box<top::Flags>),
    /// Print processes and what they began, as a tree
    Tree(tree::Flags),
    /// Print the version
    Version {
        /// Also that of the agent
        #[arg(short, long)]
        server: bool,
        /// Also how tetra was built
        #[arg(short, long)]
        build: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Loglevel {
    /// Print the level
    Get,
    /// Set the level
    Set {
        /// One of trace, debug, info, warning, error, fatal, panic
        #[arg(value_parser = log_level)]
        level: LogLevel,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Probe {
    /// Print the settings that the kernel was built with
    Config,
    /// Print what the kernel can do as JSON, to compile policies for it elsewhere
    Record,
}

fn log_level(text: &str) -> Result<LogLevel, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" | "warning" => LogLevel::Warn,
        "error" => LogLevel::Error,
        "fatal" => LogLevel::Fatal,
        "panic" => LogLevel::Panic,
        _ => return Err("levels are trace, debug, info, warning, error, fatal, panic".to_owned()),
    })
}

/// What came of reading the command line.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command to run.
    Command(Box<Global>, Command),
    /// A text to print, such as the help.
    Text(String),
    /// A mistake, in words.
    Mistake(String),
}

/// All commands and flags. As scripts may have them, switches also take a value (`--host=false`),
/// and of a flag given twice the last counts.
pub(crate) fn command() -> Clap {
    fn switches(command: Clap) -> Clap {
        let command = command.mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_value("false")
                .default_missing_value("true")
                .hide_default_value(true)
                .hide_possible_values(true)
                .value_name("BOOL"),
            _ => arg,
        });
        command.mut_subcommands(switches)
    }
    switches(Cli::command()).args_override_self(true)
}

/// Reads the command line; the first argument is the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Parsed {
    let mut command = command();
    let parsed = command.try_get_matches_from_mut(args);
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(Cli { global, command: Some(command) }) => Parsed::Command(Box::new(global), command),
        Ok(Cli { command: None, .. }) => Parsed::Text(command.render_help().to_string()),
        Err(error) => {
            use clap::error::ErrorKind::{
                DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion,
            };
            let text = error.render().to_string();
            match error.kind() {
                DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion => {
                    Parsed::Text(text)
                }
                _ => Parsed::Mistake(mistake(&text)),
            }
        }
    }
}

/// The message of clap without its `error: ` and without the usage.
fn mistake(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|m| text.find(m)).min();
    text[..end.unwrap_or(text.len())].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_and_flags_do_not_clash() {
        super::command().debug_assert();
    }
}
