//! `tetra tracingpolicy`: the agent's policies, and what a policy compiles to.

mod compile;
mod list;

use std::path::{Path, PathBuf};

use api::tetragon::{
    AddTracingPolicyRequest, ConfigureTracingPolicyRequest, DeleteTracingPolicyRequest,
    ListDomainsRequest, ListTracingPoliciesRequest, TracingPolicyMode,
};
use clap::{Args, Subcommand, ValueEnum};
use policy::checked::Mode;
use tonic::Code;

use crate::error::Error;
use crate::output::complain;
use crate::server::Server;

/// What the agent calls the text of a policy that it was sent.
const SENT: &str = "policy:";

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
        Policy::Add { file, mode, domain } => add(&server()?, file, *mode, domain).await,
        Policy::Delete(named) => delete(&server()?, named).await,
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
        Policy::SetMode { policy, mode } => configure(&server()?, policy, *mode).await,
        Policy::Modify { file, mode } => set_mode(file, *mode),
        Policy::Compile(flags) => compile::run(flags),
    }
}

async fn add(
    server: &Server,
    file: &Path,
    mode: Option<Chosen>,
    domain: &str,
) -> Result<String, Error> {
    let text = read(file)?;
    let yaml = match mode {
        Some(mode) => with_mode(file, &text, mode)?,
        None => text.clone(),
    };
    let added_lines = AddedLines::between(&text, &yaml);
    let request = AddTracingPolicyRequest { yaml, domain: domain.to_owned() };
    let added = server.call(async |client| client.add_tracing_policy(request.clone()).await).await;
    match added {
        Ok(_) => Ok(format!("tracing policy \"{}\" added\n", file.display())),
        // It is wrong; or the kernel does not take it.
        Err(Error::Refused {
            code: Code::InvalidArgument | Code::FailedPrecondition,
            message,
            ..
        }) => Err(Error::Policy(renamed(&message, &file.display().to_string(), added_lines))),
        Err(Error::Refused { code: Code::AlreadyExists, message, .. }) => Err(Error::Policy(
            format!("{message}:\n`tetra tracingpolicy delete` does, or choose another --domain"),
        )),
        Err(error) => Err(error),
    }
}

async fn delete(server: &Server, named: &Named) -> Result<String, Error> {
    let request = DeleteTracingPolicyRequest {
        name: named.name.clone(),
        namespace: named.namespace.clone(),
        domain: named.domain.clone(),
    };
    let call = async |client: &mut crate::server::Client| {
        client.delete_tracing_policy(request.clone()).await
    };
    match server.call(call).await {
        Ok(_) => Ok(format!("tracing policy \"{}\" deleted\n", named.name)),
        Err(Error::Refused { code: Code::NotFound, message, .. }) => Err(Error::Policy(format!(
            "{message}\n`tetra tracingpolicy list` prints all; --domain and --namespace choose"
        ))),
        Err(error) => Err(error),
    }
}

async fn configure(server: &Server, named: &Named, mode: Chosen) -> Result<String, Error> {
    let wanted = match mode {
        Chosen::Enforce => TracingPolicyMode::TpModeEnforce,
        Chosen::Monitor => TracingPolicyMode::TpModeMonitor,
    };
    let request = ConfigureTracingPolicyRequest {
        name: named.name.clone(),
        namespace: named.namespace.clone(),
        domain: named.domain.clone(),
        mode: Some(wanted.into()),
        enable: None,
    };
    let call = async |client: &mut crate::server::Client| {
        client.configure_tracing_policy(request.clone()).await
    };
    match server.call(call).await {
        Ok(_) => {
            let mode = match mode {
                Chosen::Enforce => "enforce",
                Chosen::Monitor => "monitor",
            };
            Ok(format!("tracing policy \"{}\" set to mode \"{mode}\"\n", named.name))
        }
        Err(Error::Refused { code: Code::NotFound, message, .. }) => Err(Error::Policy(format!(
            "{message}\n`tetra tracingpolicy list` prints all; --domain and --namespace choose"
        ))),
        Err(error) => Err(error),
    }
}

fn set_mode(file: &Path, mode: Chosen) -> Result<String, Error> {
    with_mode(file, &read(file)?, mode)
}

fn with_mode(file: &Path, text: &str, mode: Chosen) -> Result<String, Error> {
    policy::set_mode(&file.display().to_string(), text, mode.into())
        .map_err(|problems| Error::Policy(problems.to_string()))
}

fn read(file: &Path) -> Result<String, Error> {
    let failed = |cause| Error::PolicyFile { path: file.to_owned(), cause };
    std::fs::read_to_string(file).map_err(failed)
}

/// Lines that the text which is sent has and the file does not.
#[derive(Clone, Copy)]
struct AddedLines {
    /// How many lines stand before them.
    after: usize,
    number: usize,
}

impl AddedLines {
    fn between(file: &str, sent: &str) -> Self {
        let same = file.lines().zip(sent.lines()).take_while(|(file, sent)| file == sent);
        let number = sent.lines().count().saturating_sub(file.lines().count());
        Self { after: same.count(), number }
    }

    /// `LINE:COLUMN …` as of the file, of a place in what was sent.
    fn undo(self, place: &str) -> Option<String> {
        let (line, rest) = place.split_once(':')?;
        let line: usize = line.parse().ok()?;
        let behind = line > self.after + self.number;
        let line = if behind { line - self.number } else { line };
        Some(format!("{line}:{rest}"))
    }
}

/// The agent's message, with the file's name and lines where it speaks of the text that it was sent.
fn renamed(message: &str, file: &str, added: AddedLines) -> String {
    let line = |line: &str| match line.strip_prefix(SENT) {
        Some(rest) => format!("{file}:{}", added.undo(rest).unwrap_or_else(|| rest.to_owned())),
        None => line.to_owned(),
    };
    message.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_by_the_files_name() {
        let message = "policy:3:5 spec.x: wrong\npolicy: and 3 more\nelse";
        let expected = "a.yaml:3:5 spec.x: wrong\na.yaml: and 3 more\nelse";
        let none = AddedLines::between("a", "a");
        assert_eq!(renamed(message, "a.yaml", none), expected);
    }

    #[test]
    fn places_are_those_of_the_file_when_a_mode_is_set() {
        let file = "kind: X\nspec:\n  kprobes: 1\n  lists: 2\n";
        let sent = "kind: X\nspec:\n  options:\n  - a\n  kprobes: 1\n  lists: 2\n";
        let added = AddedLines::between(file, sent);
        let of_file = |message| renamed(message, "a.yaml", added);
        assert_eq!(of_file("policy:2:1 spec: x"), "a.yaml:2:1 spec: x");
        assert_eq!(of_file("policy:4:3 spec.options: x"), "a.yaml:4:3 spec.options: x");
        assert_eq!(of_file("policy:6:3 spec.lists: x"), "a.yaml:4:3 spec.lists: x");
        let changed = AddedLines::between(file, "kind: Y\nspec:\n  kprobes: 1\n  lists: 2\n");
        assert_eq!(renamed("policy:4:3 x", "a.yaml", changed), "a.yaml:4:3 x");
    }
}
