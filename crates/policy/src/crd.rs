//! The custom resource definitions of both kinds, generated from the declarations of their fields.

use crate::document::{Document, NamespacedDocument};
use crate::schema::Decode;
use serde_json::{Value, json};

/// The version of the schema, which the definitions carry as a label; raised with every change so
/// that an operator knows whether to replace what is installed.
pub const SCHEMA_VERSION: &str = "1.8.13";

/// Kind of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// For the whole cluster.
    TracingPolicy,
    /// For the pods of one namespace.
    TracingPolicyNamespaced,
}

/// The OpenAPI v3 schema of a kind.
#[must_use]
pub fn schema(kind: Kind) -> Value {
    match kind {
        Kind::TracingPolicy => Document::schema(),
        Kind::TracingPolicyNamespaced => NamespacedDocument::schema(),
    }
}

/// The CustomResourceDefinition of a kind, as the API server takes it.
#[must_use]
pub fn definition(kind: Kind) -> Value {
    let (name, plural, singular, short, scope) = match kind {
        Kind::TracingPolicy => {
            ("TracingPolicy", "tracingpolicies", "tracingpolicy", "tgtp", "Cluster")
        }
        Kind::TracingPolicyNamespaced => (
            "TracingPolicyNamespaced",
            "tracingpoliciesnamespaced",
            "tracingpolicynamespaced",
            "tgtpn",
            "Namespaced",
        ),
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.cilium.io"),
            "labels": {"cilium.io.k8s.crd.schema.version": SCHEMA_VERSION},
        },
        "spec": {
            "group": "cilium.io",
            "names": {
                "kind": name,
                "listKind": format!("{name}List"),
                "plural": plural,
                "singular": singular,
                "shortNames": [short],
                "categories": ["tetragon"],
            },
            "scope": scope,
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": schema(kind)},
            }],
        },
    })
}
