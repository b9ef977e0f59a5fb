//! Paths of the API: `/api/v1/namespaces/default/pods/web/status`.

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Which kind of object.
    pub(crate) resource: Resource,
    /// Namespace; nothing for all, or for what has none.
    pub(crate) namespace: Option<String>,
    /// Name; nothing for all.
    pub(crate) name: Option<String>,
    /// `status`, for example.
    pub(crate) part: Option<String>,
}

/// A kind of object, by its place in the API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    /// API group; empty for the core.
    pub(crate) group: String,
    /// Version.
    pub(crate) version: String,
    /// Name in paths, such as `pods`.
    pub(crate) plural: String,
}

impl Resource {
    /// A resource of a group; the core's is empty.
    pub(crate) fn new(group: &str, version: &str, plural: &str) -> Self {
        let [group, version, plural] = [group, version, plural].map(str::to_owned);
        Self { group, version, plural }
    }

    /// Group and version as `apiVersion` has them.
    pub(crate) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// Reads a path.
pub(crate) fn parse(path: &str) -> Option<Target> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        // Namespaces themselves are objects, too.
        ["namespaces", namespace, plural, rest @ ..] if *plural != "status" => {
            (Some((*namespace).to_owned()), [&[*plural], rest].concat())
        }
        rest => (None, rest.to_vec()),
    };
    let (plural, name, part) = match rest.as_slice() {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, part] => (*plural, Some(*name), Some(*part)),
        _ => return None,
    };
    Some(Target {
        resource: Resource::new(group, version, plural),
        namespace,
        name: name.map(str::to_owned),
        part: part.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(
        group: &str,
        plural: &str,
        namespace: Option<&str>,
        name: Option<&str>,
        part: Option<&str>,
    ) -> Option<Target> {
        Some(Target {
            resource: Resource::new(group, "v1", plural),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            part: part.map(str::to_owned),
        })
    }

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/api/v1/pods", target("", "pods", None, None, None)),
            ("/api/v1/namespaces/a/pods", target("", "pods", Some("a"), None, None)),
            ("/api/v1/namespaces/a/pods/b", target("", "pods", Some("a"), Some("b"), None)),
            (
                "/api/v1/namespaces/a/pods/b/status",
                target("", "pods", Some("a"), Some("b"), Some("status")),
            ),
            ("/api/v1/namespaces/a", target("", "namespaces", None, Some("a"), None)),
            ("/api/v1/namespaces", target("", "namespaces", None, None, None)),
            ("/apis/apps/v1/deployments", target("apps", "deployments", None, None, None)),
            ("/apis", None),
            ("/version", None),
            ("/api/v1", None),
        ] {
            assert_eq!(parse(path), expected, "{path}");
        }
    }
}
