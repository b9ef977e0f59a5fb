//! `tetra dump`: tables of the agent.

use api::tetragon::{
    ConfigFlag, DumpProcessCacheReqArgs, GetDebugRequest, get_debug_request, get_debug_response,
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
    let request = GetDebugRequest {
        flag: ConfigFlag::DumpProcessCache as i32,
        arg: Some(get_debug_request::Arg::Dump(DumpProcessCacheReqArgs {
            skip_zero_refcnt,
            exclude_execve_map_processes,
        })),
    };
    let answer = server.call(async |client| client.get_debug(request).await).await?;
    let Some(get_debug_response::Arg::Processes(table)) = answer.arg else {
        return Err(server.lacks("GetDebug", "the processes"));
    };
    let mut text = String::new();
    for process in &table.processes {
        text.push_str(&serde_json::to_string(process)?);
        text.push('\n');
    }
    Ok(text)
}
