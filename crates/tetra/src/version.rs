//! `tetra version`: of tetra, of the agent, and how tetra was built.

use api::tetragon::GetVersionRequest;

use crate::error::Error;
use crate::server::Server;

/// A line for each thing asked.
pub(crate) async fn run(server: Option<&Server>, build: bool) -> Result<String, Error> {
    let mut text = format!("CLI version: {}\n", env!("CARGO_PKG_VERSION"));
    if let Some(server) = server {
        let answer =
            server.call(async |client| client.get_version(GetVersionRequest {}).await).await?;
        text += &format!("Server version: {}\n", answer.version);
    }
    if build {
        text += &format!("Compiler: {}\n", env!("TETRA_COMPILER"));
        text += &format!("Target: {}\n", env!("TETRA_TARGET"));
        if let Some(commit) = option_env!("TETRAGON_COMMIT") {
            text += &format!("Commit: {commit}\n");
        }
    }
    Ok(text)
}
