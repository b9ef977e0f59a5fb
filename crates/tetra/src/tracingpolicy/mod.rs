//! `tetra tracingpolicy`: the agent's policies, and help with writing them.
//!
//! - `add`, `list`, `show`, `named`: what is asked of the agent
//! - `check`, `explain`, `new`, `compile`, `hooks`, `generate`: what needs no agent, for the kernel that `kernel` says

mod add;
mod check;
mod compile;
mod explain;
mod generate;
mod hooks;
mod kernel;
mod list;
mod named;
mod new;
mod show;

use std::path::{Path, PathBuf};

use api::tetragon::{ListDomainsRequest, ListTracingPoliciesRequest};
use clap::{Args, Subcommand, ValueEnum};
use policy::checked::Mode;

use crate::error::Error;
use crate::output::complain;
use crate::server::Server;
pub(crate) use list::{done, lower, size};

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Put a policy in force
    Add {
        /// YAML or JSON
        file: PathBuf,
        /// Mode, whatever the policy asks for
        #[arg(short, long)]
        mode: Option<Chosen>,
        /// Domain that it shall belong to [default: grpc]
        #[arg(long, default_value = "", hide_default_value = true)]
        domain: String,
        /// Take the place of the policy of the same name, if there is one, without a gap
        #[arg(long)]
        replace: bool,
    },
    /// Take a policy out of force
    #[command(visible_alias = "del")]
    Delete(Named),
    /// Print the policies that the agent has
    List {
        /// Only those of a domain
        #[arg(long, default_value = "", hide_default_value = true)]
        domain: String,
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t = Form::Text)]
        output: Form,
    },
    /// Print the domains that policies belong to
    Domains {
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t = Form::Text)]
        output: Form,
    },
    /// Change the mode of a policy that the agent has
    SetMode {
        #[command(flatten)]
        policy: Named,
        /// The mode
        mode: Chosen,
    },
    /// Print a policy with another mode
    Modify {
        /// YAML or JSON
        file: PathBuf,
        /// The mode
        #[arg(short, long)]
        mode: Chosen,
    },
    /// Put a policy that was disabled into force again
    Enable(Named),
    /// Take a policy out of force, without forgetting it
    Disable(Named),
    /// Print all that the agent says of a policy
    Show {
        #[command(flatten)]
        policy: Named,
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t = Form::Text)]
        output: Form,
    },
    /// Print all that is wrong with policies, or weaker than it looks, on this machine's kernel
    Check(check::Flags),
    /// Print in words what a policy watches, matches and does on this machine's kernel, and what it costs
    Explain(explain::Flags),
    /// Print a policy, with comments, from what it is to be for
    New(Box<new::Flags>),
    /// Print the functions, tracepoints, LSM hooks and system calls of a name, ready for a policy
    Hooks(hooks::Flags),
    /// Print a policy with many hooks, from what the kernel or a program has
    Generate(generate::Flags),
    /// Print what a policy becomes on this machine's kernel, without loading it
    Compile(compile::Flags),
}

/// A policy of the agent.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Name of the policy
    name: String,
    /// Its namespace, for a TracingPolicyNamespaced
    #[arg(short, long, default_value = "", hide_default_value = true)]
    namespace: String,
    /// Its domain [default: grpc]
    #[arg(long, default_value = "", hide_default_value = true)]
    domain: String,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A mode that can be asked for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Chosen {
    /// Actions take effect.
    Enforce,
    /// Actions are only told.
    Monitor,
}

impl From<Chosen> for Mode {
    fn from(chosen: Chosen) -> Self {
        match chosen {
            Chosen::Enforce => Self::Enforce,
            Chosen::Monitor => Self::Monitor,
        }
    }
}

/// Runs a command. `server` is how to reach the agent, for those that need it.
pub(crate) async fn run(
    server: impl FnOnce() -> Result<Server, Error>,
    command: &Policy,
) -> Result<String, Error> {
    match command {
        Policy::Add { file, mode, domain, replace } => {
            add::add(&server()?, file, *mode, domain, *replace).await
        }
        Policy::Delete(named) => named::delete(&server()?, named).await,
        Policy::List { domain, output } => {
            let request = ListTracingPoliciesRequest { domain: domain.clone() };
            let call = async |client: &mut crate::server::Client| {
                client.list_tracing_policies(request.clone()).await
            };
            let answer = server()?.call(call).await?;
            if *output == Form::Json {
                return Ok(serde_json::to_string(&answer)? + "\n");
            }
            list::failures(&answer.policies).iter().for_each(|line| complain(line));
            Ok(list::text(&answer.policies))
        }
        Policy::Domains { output } => {
            let call = async |client: &mut crate::server::Client| {
                client.list_domains(ListDomainsRequest {}).await
            };
            let answer = server()?.call(call).await?;
            Ok(match output {
                Form::Text => format!("[{}]\n", answer.domains.join(" ")),
                Form::Json => serde_json::to_string(&answer)? + "\n",
            })
        }
        Policy::SetMode { policy, mode } => named::set_mode(&server()?, policy, *mode).await,
        Policy::Modify { file, mode } => add::set_mode(file, *mode),
        Policy::Enable(named) => named::enable(&server()?, named, true).await,
        Policy::Disable(named) => named::enable(&server()?, named, false).await,
        Policy::Check(flags) => check::run(flags).map(|()| String::new()),
        Policy::Explain(flags) => explain::run(flags),
        Policy::New(flags) => new::run(flags),
        Policy::Show { policy, output } => show::run(&server()?, policy, *output).await,
        Policy::Generate(flags) => generate::run(flags),
        Policy::Hooks(flags) => hooks::run(flags),
        Policy::Compile(flags) => compile::run(flags),
    }
}

/// The text of a policy file.
pub(crate) fn read(file: &Path) -> Result<String, Error> {
    let failed = |cause| Error::PolicyFile { path: file.to_owned(), cause };
    std::fs::read_to_string(file).map_err(failed)
}
