//! `tetra dump`: tables of the agent.

use api::tetragon::{
    ConfigFlag, DumpProcessCacheReqArgs, GetDebugRequest, ProcessInternal, get_debug_request,
    get_debug_response,
};

use clap::Subcommand;

use crate::error::Error;
use crate::server::Server;

/// Which table.
#[derive(Debug, Subcommand)]
pub(crate) enum Dump {
    /// Print the agent's process table, a JSON object per line
    Processcache {
        /// Leave out processes that nothing refers to any more
        #[arg(long)]
        skip_zero_refcnt: bool,
        /// Leave out processes that still run
        #[arg(long)]
        exclude_execve_map_processes: bool,
    },
}

/// The table, a JSON object per line.
pub(crate) async fn run(server: &Server, table: &Dump) -> Result<String, Error> {
    let &Dump::Processcache { skip_zero_refcnt, exclude_execve_map_processes } = table;
    let which = DumpProcessCacheReqArgs { skip_zero_refcnt, exclude_execve_map_processes };
    let mut text = String::new();
    for process in processes(server, which).await? {
        text.push_str(&serde_json::to_string(&process)?);
        text.push('\n');
    }
    Ok(text)
}

/// The agent's process table.
pub(crate) async fn processes(
    server: &Server,
    which: DumpProcessCacheReqArgs,
) -> Result<Vec<ProcessInternal>, Error> {
    let request = GetDebugRequest {
        flag: ConfigFlag::DumpProcessCache as i32,
        arg: Some(get_debug_request::Arg::Dump(which)),
    };
    let answer = server.call(async |client| client.get_debug(request).await).await?;
    match answer.arg {
        Some(get_debug_response::Arg::Processes(table)) => Ok(table.processes),
        _ => Err(server.lacks("GetDebug", "the processes")),
    }
}
