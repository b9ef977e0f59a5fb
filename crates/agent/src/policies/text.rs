//! A policy as text, and where the text comes from.

use policy::checked::Mode;

/// A policy as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What the text is called in messages.
    pub file: String,
    /// The text.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The mode that the policy shall have; else that of the text.
    pub mode: Option<Mode>,
    /// Whether it is to be in force.
    pub enabled: bool,
}

/// Where a policy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file that the agent was told of.
    File,
    /// A client by gRPC.
    Grpc,
    /// A client by HTTP.
    Http,
    /// A record of a policy that a client had added.
    Stored,
    /// A rule that makes policies.
    Rego,
    /// An object of the cluster.
    Kubernetes,
}

impl Origin {
    /// Its name, as admission rules see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Stored => "stored",
            Self::Rego => "rego",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl Text {
    /// A text that is to be in force in the mode that it says.
    pub fn new(origin: Origin, file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into(), origin, mode: None, enabled: true }
    }
}
