//! `tetra rthooks`: what container runtimes tell the agent, told by hand.

use std::collections::BTreeMap;

use api::tetragon::{CreateContainer, RuntimeHookRequest, runtime_hook_request};
use clap::Subcommand;

use crate::error::Error;
use crate::server::Server;

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Rthooks {
    /// Tell of a container that is being created
    CreateContainer {
        /// Path of its cgroup, below that of the hierarchy
        #[arg(long, value_name = "PATH")]
        container_id: String,
        /// Its root directory
        #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
        root_dir: String,
        /// Annotations, KEY=VALUE
        #[arg(long, value_delimiter = ',', value_parser = annotation)]
        annotations: Vec<(String, String)>,
    },
}

fn annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("annotations are KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Tells the agent. Prints nothing.
pub(crate) async fn run(server: &Server, command: Rthooks) -> Result<String, Error> {
    let Rthooks::CreateContainer { container_id, root_dir, annotations } = command;
    let container = CreateContainer {
        cgroups_path: container_id,
        root_dir,
        annotations: annotations.into_iter().collect::<BTreeMap<_, _>>(),
        ..CreateContainer::default()
    };
    let event = Some(runtime_hook_request::Event::CreateContainer(container));
    let request = RuntimeHookRequest { event };
    server.call(async |client| client.runtime_hook(request.clone()).await).await?;
    Ok(String::new())
}
