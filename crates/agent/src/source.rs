//! What the service expects of the part that makes events: loaded programs, ring readers and the
//! pipeline behind them.

use std::error::Error;
use std::sync::Arc;

use api::tetragon::{DumpProcessCacheReqArgs, ProcessInternal};

use crate::cluster::Directory;
use crate::hub::Hub;
use crate::pipeline::Stats;
use crate::policies::Loader;

/// Makes events. Its programs are loaded already when the service gets it.
pub trait Source: Send {
    /// Begins to publish to `hub` from threads of its own, first what runs already. Called once,
    /// when all listeners that must not miss anything are there.
    fn start(&mut self, hub: Arc<Hub>) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Detaches, publishes what was seen until then, and ends its threads before it returns.
    fn stop(&mut self);

    /// Whom containers belong to, for its events. Called before [`Source::start`], where that is known.
    fn set_directory(&mut self, _directory: Arc<Directory>) {}

    /// What may be asked of it while it runs.
    fn inspect(&self) -> Arc<dyn Inspect>;

    /// Ends what earlier agents left in force, now that what is to be in force is.
    fn take_over(&mut self);

    /// Puts policies in force, from [`Source::start`] on.
    fn loader(&self) -> Box<dyn Loader>;
}

/// Questions to a running [`Source`], from any thread. Answers may take a moment.
pub trait Inspect: Send + Sync {
    /// Whether it works; if not, what is wrong.
    fn check(&self) -> Result<(), String>;

    /// The processes that it keeps. The error says why there are none to show.
    fn processes(&self, request: &DumpProcessCacheReqArgs) -> Result<Vec<ProcessInternal>, String>;

    /// What it counted. The error says why there is nothing to show.
    fn stats(&self) -> Result<Stats, String>;

    /// What this kernel has, by the names that `tetra probe` prints.
    fn probes(&self) -> Vec<(String, bool)>;
}
