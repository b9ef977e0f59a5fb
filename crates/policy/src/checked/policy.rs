//! A policy that passed every check that needs no kernel.

use super::checker::{Checker, Place};
use super::hook::{self, Call, Hook, HookKind};
use super::list::{self, List, Members, SyscallName};
use super::scope::{self, Scope};
use super::selector::{self, Macros};
use super::settings::{self, Mode, OverrideMethod, Settings};
use crate::document::{Document, Kprobe, LabelSelector, Metadata, NamespacedDocument, Spec};
use crate::problem::{Path, Problem, Problems, Report, excerpt};
use crate::schema::Decode;
use crate::text::{Content, Node, read};
use std::ops::Deref;

/// The version of policies that is understood.
pub(crate) const API_VERSION: &str = "cilium.io/v1alpha1";

/// What a policy says, with everything in it read: names, numbers, addresses, references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name of its text, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Name.
    pub name: String,
    /// Namespace, for a TracingPolicyNamespaced.
    pub namespace: Option<String>,
    /// Labels, annotations and what else Kubernetes keeps.
    pub metadata: Metadata,
    /// Workloads it applies to.
    pub scope: Scope,
    /// Nodes it applies to.
    pub nodes: Option<LabelSelector>,
    /// Settings.
    pub settings: Settings,
    /// Set where it asks for reports of objects that are mapped into processes.
    pub loader: Option<Place>,
    /// Functions that NotifyEnforcer acts upon.
    pub enforcers: Vec<Enforcer>,
    /// Lists.
    pub lists: Vec<List>,
    /// Hooks, in the order kprobes, fentries, tracepoints, lsmhooks, uprobes, usdts.
    pub hooks: Vec<Hook>,
    /// What is worth knowing but not wrong.
    pub notes: Vec<Problem>,
}

/// Functions that NotifyEnforcer acts upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcer {
    /// Where it stands.
    pub place: Place,
    /// The functions.
    pub calls: Vec<Call>,
}

/// A policy that was checked. There is no other way to one than [`CheckedPolicy::read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPolicy(Policy);

impl Deref for CheckedPolicy {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.0
    }
}

impl Policy {
    /// The mode in force until it is changed.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let enforcing = self.hooks.iter().flat_map(|hook| &hook.selectors).any(|selector| {
            let actions = selector.actions.iter().chain(&selector.return_actions);
            actions.into_iter().any(|action| action.value.is_enforcing())
        });
        Mode::effective(self.settings.mode, enforcing)
    }

    /// The list of that name.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<&List> {
        self.lists.iter().find(|list| list.name == name)
    }

    /// The key among the policies of a domain.
    #[must_use]
    pub fn key(&self, domain: &str) -> PolicyKey {
        PolicyKey {
            domain: domain.to_owned(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone(),
        }
    }
}

/// What tells policies apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Where the policy comes from: `k8s`, `static`, `grpc` or what a client said.
    pub domain: String,
    /// Namespace; empty for policies of the whole cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl CheckedPolicy {
    /// Reads and checks a policy in YAML or JSON. `file` is the text's name in messages.
    ///
    /// # Errors
    /// Everything that is wrong with it. What depends on a value that could not be read is not judged.
    pub fn read(file: &str, text: &str) -> Result<Self, Problems> {
        let mut report = Report::default();
        let policy = match read(text, &mut report) {
            Some(root) => {
                let (policy, checked) = check(&root, report);
                report = checked;
                policy
            }
            None => {
                if report.count() == 0 {
                    let message = "the document is empty: a TracingPolicy is wanted";
                    report.error(crate::Mark::default(), &Path::ROOT, message);
                }
                None
            }
        };
        let notes = report.finish(file)?;
        match policy {
            Some(policy) => {
                let (file, text) = (file.to_owned(), text.to_owned());
                Ok(Self(Policy { file, text, notes, ..policy }))
            }
            // Without problems there is a policy; if ever there is not, that is a problem too.
            None => Err(Problems {
                file: file.to_owned(),
                list: vec![Problem {
                    mark: crate::Mark::default(),
                    path: String::new(),
                    message: "the document is no TracingPolicy".to_owned(),
                }],
                omitted: 0,
            }),
        }
    }

    /// The same policy in another mode than its text asks for. One without enforcing actions stays
    /// [`Mode::MonitorOnly`].
    pub fn in_mode(mut self, mode: Mode) -> Self {
        self.0.settings.mode = Some(mode);
        self
    }
}

/// The value of a key of the root.
fn root_text<'n>(root: &'n Node, key: &str) -> Option<&'n str> {
    let Content::Mapping(entries) = &root.content else { return None };
    let entry = entries.iter().find(|entry| entry.key == key)?;
    match &entry.value.content {
        Content::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

fn check(root: &Node, mut report: Report) -> (Option<Policy>, Report) {
    let path = Path::ROOT;
    if !matches!(root.content, Content::Mapping(_)) {
        let message = format!("a TracingPolicy is wanted, not {}", root.what());
        report.error(root.mark, &path, message);
        return (None, report);
    }
    let namespaced = match root_text(root, "kind") {
        Some("TracingPolicy") => false,
        Some("TracingPolicyNamespaced") => true,
        other => {
            let message = other.map_or_else(
                || "`kind` is missing: write TracingPolicy or TracingPolicyNamespaced".to_owned(),
                |kind| {
                    format!(
                        "kind `{}` is unknown: it can be TracingPolicy or TracingPolicyNamespaced",
                        excerpt(kind)
                    )
                },
            );
            report.error(root.find(&path.key("kind")), &path.key("kind"), message);
            return (None, report);
        }
    };
    if root_text(root, "apiVersion") != Some(API_VERSION) {
        let at = path.key("apiVersion");
        report.error(root.find(&at), &at, format!("apiVersion must be {API_VERSION}"));
    }
    let (metadata, spec) = if namespaced {
        let document = NamespacedDocument::decode(root, &path, &mut report);
        (document.metadata, document.spec)
    } else {
        let document = Document::decode(root, &path, &mut report);
        (document.metadata, document.spec)
    };
    let mut checker = Checker::new(root, report, namespaced);
    let policy = check_document(metadata, &spec, &mut checker);
    (Some(policy), checker.report)
}

fn check_document(metadata: Metadata, spec: &Spec, checker: &mut Checker<'_>) -> Policy {
    let metadata_at = Path::ROOT.key("metadata");
    check_metadata(&metadata, &metadata_at, checker);
    let path = Path::ROOT.key("spec");
    let written = scope::Written {
        pods: spec.pod_selector.as_ref(),
        containers: spec.container_selector.as_ref(),
        // The document's own rule speaks of a host selector in a namespaced policy.
        host: spec.host_selector.is_some() && !checker.namespaced,
    };
    let scope = scope::check(&written, &path, checker);
    if let Some(nodes) = &spec.node_selector {
        scope::check_nodes(nodes, &path.key("nodeSelector"), checker);
    }
    if checker.namespaced {
        for (given, key) in
            [(!spec.uprobes.is_empty(), "uprobes"), (!spec.usdts.is_empty(), "usdts")]
        {
            if given {
                let message =
                    format!("a TracingPolicyNamespaced cannot have {key}: use a TracingPolicy");
                checker.error(&path.key(key), message);
            }
        }
    }
    if spec.loader && (scope.is_restricted() || checker.namespaced) {
        let message = "loader cannot be restricted to workloads: use a TracingPolicy without \
                       podSelector, containerSelector and hostSelector";
        checker.error(&path.key("loader"), message);
    }
    list::check(&spec.lists, &path.key("lists"), checker);
    let enforcers = check_enforcers(spec, &path, checker);
    let settings = settings::check(&spec.options, &path.key("options"), checker);
    check_override_method(&enforcers, settings, &path, checker);
    let hooks = check_hooks(spec, &path, checker);
    Policy {
        file: String::new(),
        text: String::new(),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone().filter(|_| checker.namespaced),
        metadata,
        scope,
        nodes: spec.node_selector.clone(),
        settings,
        loader: spec.loader.then(|| checker.place(&path.key("loader"))),
        enforcers,
        lists: std::mem::take(&mut checker.lists),
        hooks,
        notes: Vec::new(),
    }
}

fn check_metadata(metadata: &Metadata, path: &Path<'_>, checker: &mut Checker<'_>) {
    if !checker.report.has_replaced(&path.key("name")) && !is_subdomain(&metadata.name) {
        let message = format!(
            "`{}` is no DNS-1123 subdomain: at most 253 lower-case letters, digits, `-` and `.`, \
             with a letter or digit at both ends of each part",
            excerpt(&metadata.name)
        );
        checker.error(&path.key("name"), message);
    }
    let at = path.key("namespace");
    match metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        None if checker.namespaced => {
            checker.error(&at, "a TracingPolicyNamespaced needs a namespace");
        }
        Some(namespace)
            if checker.namespaced
                && (namespace.contains('.')
                    || namespace.len() > 63
                    || !is_subdomain(namespace)) =>
        {
            let message = format!(
                "`{}` is no DNS-1123 label: at most 63 lower-case letters, digits and `-`, with a \
                 letter or digit at both ends",
                excerpt(namespace)
            );
            checker.error(&at, message);
        }
        Some(_) if !checker.namespaced => {
            checker.note(&at, "a TracingPolicy applies to all namespaces: this one has no effect");
        }
        _ => {}
    }
}

/// Whether a text is a DNS-1123 subdomain.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        label.bytes().all(|c| byte(c) || c == b'-')
            && label.bytes().next().is_some_and(byte)
            && label.bytes().last().is_some_and(byte)
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn check_enforcers(spec: &Spec, path: &Path<'_>, checker: &mut Checker<'_>) -> Vec<Enforcer> {
    checker.has_enforcers = !spec.enforcers.is_empty();
    let enforcers_at = path.key("enforcers");
    if checker.report.has_replaced(&enforcers_at) || checker.report.has_replaced(&path.key("lists"))
    {
        return Vec::new();
    }
    let mut enforcers = Vec::new();
    for (index, enforcer) in spec.enforcers.iter().enumerate() {
        let path = enforcers_at.index(index);
        let calls_at = path.key("calls");
        if enforcer.calls.is_empty() {
            checker.error(&calls_at, "an enforcer needs calls");
        }
        let mut calls = Vec::new();
        for (index, call) in enforcer.calls.iter().enumerate() {
            let at = calls_at.index(index);
            let listed = call.starts_with("list:");
            // Calls by one ABI only are what lists are for.
            let syscall = !call.contains('/') && SyscallName::parse(call).is_ok();
            if listed || syscall || call.starts_with("security_") {
                calls.extend(hook::check_call(call, &at, checker));
            } else {
                let message = format!(
                    "`{}` cannot be enforced: write a system call (sys_NAME), a security_* \
                     function or list:NAME",
                    excerpt(call)
                );
                checker.error(&at, message);
            }
        }
        enforcers.push(Enforcer { place: checker.place(&path), calls });
    }
    enforcers
}

/// `bpf_override_return` does not reach security functions.
fn check_override_method(
    enforcers: &[Enforcer],
    settings: Settings,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) {
    if settings.override_method != Some(OverrideMethod::OverrideReturn) {
        return;
    }
    let security = |call: &Call| match call {
        Call::Function(name) => name.starts_with("security_"),
        Call::List(name) => checker.lists.iter().any(|list| {
            let Members::Functions(names) = &list.members else { return false };
            list.name == *name && names.iter().any(|name| name.starts_with("security_"))
        }),
    };
    if enforcers.iter().flat_map(|enforcer| &enforcer.calls).any(security) {
        let message = "override-method override-return cannot enforce security_* functions: \
                       use fmod-ret or leave it out";
        checker.error(&path.key("options"), message);
    }
}

fn check_hooks(spec: &Spec, path: &Path<'_>, checker: &mut Checker<'_>) -> Vec<Hook> {
    let macros = Macros { written: &spec.selectors_macros, path: path.key("selectorsMacros") };
    selector::check_macros(&macros, checker);
    // Hooks are built on lists and macros, so without those there is nothing to judge.
    if [path.key("lists"), macros.path].iter().any(|path| checker.report.has_replaced(path)) {
        return Vec::new();
    }
    let mut hooks = Vec::new();
    let function = |kind| {
        move |written: &Kprobe, macros: &Macros<'_>, path: &Path<'_>, checker: &mut Checker<'_>| {
            hook::check_function(written, kind, macros, path, checker)
        }
    };
    let mut section = Section { path, macros: &macros, hooks: &mut hooks };
    section.check("kprobes", &spec.kprobes, checker, function(HookKind::Kprobe));
    section.check("fentries", &spec.fentries, checker, function(HookKind::Fentry));
    section.check("tracepoints", &spec.tracepoints, checker, |written, macros, path, checker| {
        Some(hook::check_tracepoint(written, macros, path, checker))
    });
    section.check("lsmhooks", &spec.lsm_hooks, checker, |written, macros, path, checker| {
        Some(hook::check_lsm(written, macros, path, checker))
    });
    section.check("uprobes", &spec.uprobes, checker, hook::check_uprobe);
    section.check("usdts", &spec.usdts, checker, |written, macros, path, checker| {
        Some(hook::check_usdt(written, macros, path, checker))
    });
    hooks
}

struct Section<'a> {
    path: &'a Path<'a>,
    macros: &'a Macros<'a>,
    hooks: &'a mut Vec<Hook>,
}

impl Section<'_> {
    /// Checks the hooks of one section, except those of which a part could not be read.
    fn check<T>(
        &mut self,
        key: &str,
        written: &[T],
        checker: &mut Checker<'_>,
        check: impl Fn(&T, &Macros<'_>, &Path<'_>, &mut Checker<'_>) -> Option<Hook>,
    ) {
        let section = self.path.key(key);
        for (index, written) in written.iter().enumerate() {
            let path = section.index(index);
            if !checker.report.has_replaced(&path) {
                self.hooks.extend(check(written, self.macros, &path, checker));
            }
        }
    }
}
