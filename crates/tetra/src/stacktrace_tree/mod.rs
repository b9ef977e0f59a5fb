//! `tetra stacktrace-tree`: the stacks of many events as one tree.
//!
//! The tree is made here, of the events that come: nothing is kept in the agent, and events that were
//! exported before can be looked at too.

mod tree;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::Global;
use crate::duration;
use crate::error::Error;
use crate::getevents::{self, Selection, Source};
use crate::output;
use tree::Tree;

/// Which stack of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// The kernel's
    Kernel,
    /// The program's
    User,
    /// The program's, and below it the kernel's
    Both,
}

/// How the tree is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// As a tree
    Tree,
    /// A line for each stack, outermost function first, as flame graphs are made of
    Folded,
}

/// Flags of the command.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Which stacks
    #[arg(long, value_enum, default_value = "both")]
    stack: Which,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "tree")]
    output: Form,
    /// Innermost functions first: who calls this?
    #[arg(long)]
    callers: bool,
    /// How long to collect; 0 until Ctrl-C
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    time: Duration,
    #[command(flatten)]
    selection: Selection,
}

/// Collects until the time is over, the events end, or Ctrl-C; then prints.
pub(crate) async fn run(global: &Global, flags: Flags) -> Result<(), Error> {
    let tree = Arc::new(Mutex::new(Tree::new(flags.stack, flags.callers)));
    let (source, request) = (Source::new(None)?, flags.selection.request());
    let ended = async {
        match flags.time {
            Duration::ZERO => std::future::pending().await,
            time => tokio::time::sleep(time).await,
        }
    };
    let collected = tokio::select! {
        biased;
        signal = tokio::signal::ctrl_c() => signal.map_err(Error::Start),
        () = ended => Ok(()),
        result = getevents::collect(global, source, request, tree.clone()) => result,
    };
    let tree = tree.lock().unwrap_or_else(PoisonError::into_inner);
    output::print(&tree.print(flags.output))?;
    // What was collected before the agent went away is worth something too.
    collected
}
