//! Filters by the process and its workload.

use super::{evaluate, read, selects};
use policy::CheckedPolicy;
use policy::document::NamespaceKind;
use policy::evaluate::{
    Capabilities, Container, Event, Image, Process, Recorded, Workload, applies, applies_to_node,
};
use std::collections::BTreeMap;

const HOST: u32 = 4_026_531_836;

fn image(pid: u32, nspid: u32, pid_namespace: u32, binary: &str) -> Image {
    let binary = (!binary.is_empty()).then(|| binary.as_bytes().to_vec());
    Image { pid, pid_in_namespace: nspid, pid_namespace, binary }
}

/// A process, its parent first among the ancestors.
fn family(images: &[Image]) -> Event {
    let [image, ancestors @ ..] = images else { panic!("a process is needed") };
    let process =
        Process { image: image.clone(), ancestors: ancestors.to_vec(), ..Process::default() };
    Event { process, ..Event::default() }
}

/// A shell in a container: its init, and the runtime and init of the host.
fn in_container() -> Event {
    family(&[
        image(900, 7, 5000, "/bin/sh"),
        image(800, 1, 5000, "/app"),
        image(700, 0, HOST, "/usr/bin/runtime"),
        image(1, 0, HOST, "/usr/lib/systemd"),
    ])
}

/// A command that was put into the same container from outside.
fn entered() -> Event {
    family(&[
        image(950, 12, 5000, "/bin/cat"),
        image(700, 0, HOST, "/usr/bin/runtime"),
        image(1, 0, HOST, "/usr/lib/systemd"),
    ])
}

fn on_host() -> Event {
    family(&[image(77, 0, HOST, "/usr/bin/id"), image(1, 0, HOST, "/usr/lib/systemd")])
}

#[test]
fn process_ids() {
    let event = in_container();
    let pids = |rest: &str| selects(&format!("matchPIDs: [{{{rest}}}]"), &event);
    assert!(pids("operator: In, values: [1, 2, 3, 4, 900]"), "more than four");
    assert!(!pids("operator: NotIn, values: [1, 900]"));
    assert!(!pids("operator: In, values: [901, 7]"));
    assert!(pids("operator: NotIn, values: [901, 7]"));
    assert!(!pids("operator: In, values: [800]"));
    assert!(pids("operator: In, values: [800], followForks: true"));
    assert!(pids("operator: In, values: [1], followForks: true"));
    assert!(!pids("operator: NotIn, values: [1], followForks: true"));
    assert!(!pids("operator: In, values: [801], followForks: true"));
    // Every entry must hold.
    assert!(pids("operator: In, values: [900]}, {operator: NotIn, values: [800]"));
    assert!(!pids("operator: In, values: [900]}, {operator: NotIn, values: [900]"));
    assert!(!pids("operator: NotIn, values: [900]}, {operator: In, values: [900]"));
}

#[test]
fn process_ids_in_their_namespace() {
    let (container, entered, host) = (in_container(), entered(), on_host());
    let pids = |event, rest: &str| {
        selects(&format!("matchPIDs: [{{isNamespacePID: true, {rest}}}]"), event)
    };
    assert!(pids(&container, "operator: In, values: [7]"));
    assert!(!pids(&container, "operator: In, values: [900]"));
    // Host processes have the id 0.
    assert!(pids(&host, "operator: In, values: [0]"));
    assert!(!pids(&host, "operator: In, values: [77]"));
    for follow in ["", ", followForks: true"] {
        assert!(!pids(&container, &format!("operator: In, values: [0]{follow}")), "{follow}");
        assert!(pids(&container, &format!("operator: NotIn, values: [0]{follow}")), "{follow}");
        assert!(!pids(&host, &format!("operator: NotIn, values: [0]{follow}")), "{follow}");
    }
    // Descendants of the container's first process, and what was not started by it.
    assert!(!pids(&container, "operator: NotIn, values: [1], followForks: true"));
    assert!(pids(&container, "operator: NotIn, values: [1]"));
    assert!(pids(&entered, "operator: NotIn, values: [1], followForks: true"));
    assert!(pids(&host, "operator: NotIn, values: [1], followForks: true"));
}

#[test]
fn executables() {
    let event = in_container();
    let binaries = |operator: &str, values: &str| {
        selects(&format!("matchBinaries: [{{operator: {operator}, values: {values}}}]"), &event)
    };
    for (operator, values, wanted) in [
        ("In", "[/x, /bin/sh]", true),
        ("In", "[/bin/s, /bin/sh2, /app]", false),
        ("Prefix", "[/bin/]", true),
        ("Prefix", "[/bin/sh/]", false),
        ("Postfix", "[/x, n/sh]", true),
        ("Postfix", "[/s]", false),
    ] {
        assert_eq!(binaries(operator, values), wanted, "{operator} {values}");
        assert_eq!(binaries(&format!("Not{operator}"), values), !wanted, "Not{operator} {values}");
    }
    let both = |first: &str, second: &str| {
        let entry = |path: &str| format!("{{operator: Prefix, values: [{path}]}}");
        selects(&format!("matchBinaries: [{}, {}]", entry(first), entry(second)), &event)
    };
    assert!(both("/bin", "/bin/s"));
    assert!(!both("/bin", "/sbin"));
    assert!(selects("matchBinaries: [{operator: In, values: []}]", &event), "filters nothing");
}

#[test]
fn an_unknown_executable_is_neither() {
    for unknown in [image(5, 0, HOST, ""), Image { binary: Some(Vec::new()), ..Image::default() }] {
        let event = family(&[unknown, image(4, 0, HOST, "/bin/sh")]);
        for operator in ["In", "NotIn", "Prefix", "NotPrefix", "Postfix", "NotPostfix"] {
            let filter = format!("[{{operator: {operator}, values: [/x]}}]");
            assert!(!selects(&format!("matchBinaries: {filter}"), &event), "{operator}");
        }
        let follow = |operator: &str, path: &str| {
            let filter =
                format!("{{operator: {operator}, values: [{path}], followChildren: true}}");
            selects(&format!("matchBinaries: [{filter}]"), &event)
        };
        assert!(follow("In", "/bin/sh"), "its descent is known");
        assert!(!follow("NotIn", "/bin/sh"));
        assert!(!follow("In", "/bin/zsh") && !follow("NotIn", "/bin/zsh"));
    }
}

#[test]
fn descendants() {
    let event = in_container();
    let follow = |key: &str, operator: &str, path: &str| {
        let filter = format!("{{operator: {operator}, values: [{path}], followChildren: true}}");
        selects(&format!("{key}: [{filter}]"), &event)
    };
    for (path, own, parent) in [
        ("/bin/sh", true, false),
        ("/app", true, true),
        ("/usr/bin/runtime", true, true),
        ("/usr/lib/systemd", true, true),
        ("/bin", false, false),
    ] {
        assert_eq!(follow("matchBinaries", "In", path), own, "{path}");
        assert_eq!(follow("matchBinaries", "NotIn", path), !own, "{path}");
        assert_eq!(follow("matchParentBinaries", "In", path), parent, "{path}");
        assert_eq!(follow("matchParentBinaries", "NotIn", path), !parent, "{path}");
    }
}

#[test]
fn parents() {
    let parent = |event: &Event, operator: &str, path: &str| {
        let filter = format!("{{operator: {operator}, values: [{path}]}}");
        selects(&format!("matchParentBinaries: [{filter}]"), event)
    };
    let event = in_container();
    assert!(parent(&event, "In", "/app") && !parent(&event, "NotIn", "/app"));
    assert!(!parent(&event, "In", "/bin/sh") && parent(&event, "NotIn", "/bin/sh"));
    assert!(parent(&event, "Prefix", "/a") && parent(&event, "NotPostfix", "sh"));
    let orphan = family(&[image(5, 0, HOST, "/bin/sh")]);
    let of_unknown = family(&[image(5, 0, HOST, "/bin/sh"), image(4, 0, HOST, "")]);
    for operator in ["In", "NotIn", "Prefix", "NotPrefix", "Postfix", "NotPostfix"] {
        assert!(!parent(&orphan, operator, "/x"), "{operator}");
        assert!(!parent(&of_unknown, operator, "/x"), "{operator}");
    }
}

fn in_namespaces(own: &[(NamespaceKind, u32)]) -> Event {
    let mut event = Event::default();
    event.process.namespaces = own.iter().copied().collect();
    event.host = [(NamespaceKind::Pid, 100), (NamespaceKind::User, 101), (NamespaceKind::Net, 102)]
        .into_iter()
        .collect();
    event
}

#[test]
fn namespaces() {
    let event = in_namespaces(&[(NamespaceKind::Pid, 100), (NamespaceKind::Net, 55)]);
    let matches = |rest: &str| selects(&format!("matchNamespaces: [{{{rest}}}]"), &event);
    assert!(matches("namespace: Pid, operator: In, values: [host_ns]"));
    assert!(!matches("namespace: Pid, operator: NotIn, values: [host_ns]"));
    assert!(matches("namespace: Net, operator: NotIn, values: [host_ns, '54']"));
    assert!(!matches("namespace: Net, operator: NotIn, values: [host_ns, '55']"));
    assert!(matches("namespace: Net, operator: In, values: ['1', '2', '3', '4', '55']"));
    assert!(!matches("namespace: Net, operator: In, values: ['56']"));
    // The kernel has no time namespaces: it is in none, and in no other.
    assert!(!matches("namespace: Time, operator: In, values: ['1']"));
    assert!(!matches("namespace: Time, operator: NotIn, values: ['1']"));
    // All entries must hold.
    let pid = "namespace: Pid, operator: In, values: [host_ns]";
    assert!(!matches(&format!("{pid}}}, {{namespace: Net, operator: In, values: [host_ns]")));
    assert!(matches(&format!("{pid}}}, {{namespace: Net, operator: In, values: ['55']")));
    // What the host's is, is not known.
    let mut unknown = event.clone();
    unknown.host.clear();
    for (values, wanted) in [("[host_ns]", false), ("[host_ns, '100']", true)] {
        let filter =
            format!("matchNamespaces: [{{namespace: Pid, operator: In, values: {values}}}]");
        assert_eq!(selects(&filter, &unknown), wanted, "{values}");
    }
    let filter = "matchNamespaces: [{namespace: Pid, operator: NotIn, values: [host_ns]}]";
    assert!(!selects(filter, &unknown));
}

#[test]
fn changes_of_namespaces() {
    use NamespaceKind::{Mnt, Net};
    let changed = |before: Option<&[(NamespaceKind, u32)]>, rest: &str| {
        let mut event = in_namespaces(&[(Mnt, 2), (Net, 3)]);
        event.process.recorded_namespaces = before.map(|all| all.iter().copied().collect());
        selects(&format!("matchNamespaceChanges: [{{{rest}}}]"), &event)
    };
    let mount = Some(&[(Mnt, 1), (Net, 3)][..]);
    let both = Some(&[(Mnt, 1), (Net, 1)][..]);
    let same = Some(&[(Mnt, 2), (Net, 3)][..]);
    assert!(changed(mount, "operator: In, values: [Net, Mnt]"));
    assert!(!changed(mount, "operator: In, values: [Net, Uts]"));
    assert!(changed(mount, "operator: NotIn, values: [Net]"));
    assert!(!changed(mount, "operator: NotIn, values: [Mnt]"));
    assert!(changed(both, "operator: NotIn, values: [Mnt]"), "Net changed, too");
    for rest in ["operator: In, values: [Mnt]", "operator: NotIn, values: [Mnt]"] {
        assert!(!changed(same, rest) && !changed(None, rest), "{rest}");
    }
}

#[test]
fn capabilities() {
    let mut event = in_namespaces(&[(NamespaceKind::User, 101)]);
    event.process.capabilities =
        Capabilities { effective: 1 << 21, permitted: 1 << 21 | 1 << 13, inheritable: 0 };
    let matches =
        |event: &Event, rest: &str| selects(&format!("matchCapabilities: [{{{rest}}}]"), event);
    assert!(matches(&event, "operator: In, values: [CAP_CHOWN, CAP_SYS_ADMIN]"));
    assert!(!matches(&event, "operator: NotIn, values: [CAP_CHOWN, CAP_SYS_ADMIN]"));
    assert!(!matches(&event, "operator: In, values: [CAP_NET_RAW]"));
    assert!(matches(&event, "operator: NotIn, values: [CAP_NET_RAW]"));
    assert!(matches(&event, "type: Permitted, operator: In, values: [CAP_NET_RAW]"));
    assert!(matches(&event, "type: Inheritable, operator: NotIn, values: [CAP_NET_RAW]"));
    let both = "operator: In, values: [CAP_SYS_ADMIN]}, {operator: In, values: [CAP_CHOWN]";
    assert!(!matches(&event, both));
    let outside = "isNamespaceCapability: true, operator";
    for operator in ["In", "NotIn"] {
        let values = if operator == "In" { "[CAP_SYS_ADMIN]" } else { "[CAP_CHOWN]" };
        let filter = format!("{outside}: {operator}, values: {values}");
        assert!(!matches(&event, &filter), "{operator} on the host");
        event.process.namespaces.insert(NamespaceKind::User, 9);
        assert!(matches(&event, &filter), "{operator} elsewhere");
        event.process.namespaces.clear();
        assert!(!matches(&event, &filter), "{operator}, where is not known");
        event.process.namespaces.insert(NamespaceKind::User, 101);
    }
}

#[test]
fn changes_of_capabilities() {
    let changed = |before: Option<u64>, now: u64, rest: &str| {
        let mut event = in_namespaces(&[(NamespaceKind::User, 9)]);
        event.process.capabilities.effective = now;
        event.process.recorded_capabilities =
            before.map(|effective| Capabilities { effective, ..Capabilities::default() });
        selects(&format!("matchCapabilityChanges: [{{{rest}}}]"), &event)
    };
    let (listed, others) =
        ("operator: In, values: [CAP_CHOWN]", "operator: NotIn, values: [CAP_CHOWN]");
    for (before, now, wanted) in [
        (Some(0), 1, (true, false)),
        (Some(1), 0, (true, false)),
        (Some(0), 2, (false, true)),
        (Some(0), 3, (true, false)),
        (Some(3), 3, (false, false)),
        (None, 3, (false, false)),
    ] {
        let found = (changed(before, now, listed), changed(before, now, others));
        assert_eq!(found, wanted, "{before:?} {now}");
    }
    assert!(changed(Some(0), 1, &format!("isNamespaceCapability: true, {listed}")));
    assert!(!changed(Some(0), 1, &format!("type: Permitted, {listed}")));
}

#[test]
fn a_change_is_used_up_by_the_whole_selector() {
    let policy = read(
        "  kprobes:\n  - call: f\n    selectors:\n    \
         - matchNamespaceChanges: [{operator: In, values: [Net]}]\n      \
         matchPIDs: [{operator: In, values: [5]}]\n    \
         - matchCapabilityChanges: [{operator: In, values: [CAP_CHOWN]}]\n    - {}\n",
    );
    let mut event = in_namespaces(&[(NamespaceKind::Net, 3)]);
    event.process.recorded_namespaces = Some([(NamespaceKind::Net, 2)].into_iter().collect());
    event.process.recorded_capabilities = Some(Capabilities::default());
    let nothing = Recorded::default();
    let found =
        |event: &Event| evaluate(&policy, event).map(|found| (found.selector, found.recorded));
    assert_eq!(found(&event), Some((Some(2), nothing)), "of another process");
    event.process.capabilities.effective = 1;
    let recorded = Recorded { capabilities: true, ..nothing };
    assert_eq!(found(&event), Some((Some(1), recorded)));
    event.process.image.pid = 5;
    let recorded = Recorded { namespaces: true, ..nothing };
    assert_eq!(found(&event), Some((Some(0), recorded)));
}

fn pod(namespace: &str, labels: &[(&str, &str)], name: &str, repository: &str) -> Workload {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Workload::Container(Container {
        namespace: namespace.to_owned(),
        labels: labels.collect(),
        name: name.to_owned(),
        repository: repository.to_owned(),
    })
}

#[test]
fn workloads() {
    let web = pod("shop", &[("app", "web")], "main", "docker.io/nginx");
    let sidecar = pod("shop", &[("app", "web")], "proxy", "docker.io/envoy");
    let database = pod("shop", &[("app", "db")], "main", "docker.io/postgres");
    let bare = pod("lab", &[], "main", "docker.io/nginx");
    let all = [&Workload::Host, &web, &sidecar, &database, &bare, &Workload::Unknown];
    let web_pods = "podSelector: {matchLabels: {app: web}}";
    let main = "containerSelector: {matchExpressions: [{key: name, operator: In, values: [main]}]}";
    let expressions = |text: &str| format!("podSelector: {{matchExpressions: [{{{text}}}]}}");
    for (scope, wanted) in [
        (String::new(), [1, 1, 1, 1, 1, 1]),
        ("podSelector: null".to_owned(), [1, 1, 1, 1, 1, 1]),
        ("podSelector: {}, containerSelector: {}, hostSelector: {}".to_owned(), [1, 1, 1, 1, 1, 0]),
        ("hostSelector: {}".to_owned(), [1, 0, 0, 0, 0, 0]),
        ("podSelector: {}".to_owned(), [0, 1, 1, 1, 1, 0]),
        (web_pods.to_owned(), [0, 1, 1, 0, 0, 0]),
        (main.to_owned(), [0, 1, 0, 1, 1, 0]),
        (format!("{web_pods}, {main}"), [0, 1, 0, 0, 0, 0]),
        (format!("{web_pods}, {main}, hostSelector: {{}}"), [1, 1, 0, 0, 0, 0]),
        ("containerSelector: {matchLabels: {repo: x}}".to_owned(), [0, 0, 0, 0, 0, 0]),
        (expressions("key: app, operator: In, values: [db, x]"), [0, 0, 0, 1, 0, 0]),
        (expressions("key: app, operator: NotIn, values: [db]"), [0, 1, 1, 0, 1, 0]),
        (expressions("key: app, operator: Exists"), [0, 1, 1, 1, 0, 0]),
        (expressions("key: app, operator: DoesNotExist"), [0, 0, 0, 0, 1, 0]),
        (
            expressions("key: 'k8s:io.kubernetes.pod.namespace', operator: NotIn, values: [lab]"),
            [0, 1, 1, 1, 0, 0],
        ),
    ] {
        let selector = format!("matchWorkloads: {{{scope}}}");
        let policy = read(&format!("  {{{scope}}}\n"));
        for (workload, wanted) in all.iter().zip(wanted) {
            let mut event = Event::default();
            event.process.workload = (*workload).clone();
            assert_eq!(selects(&selector, &event), wanted == 1, "{scope} {workload:?}");
            assert_eq!(applies(&policy, workload), wanted == 1, "{scope} {workload:?}");
        }
    }
}

#[test]
fn policies_of_a_namespace_and_of_nodes() {
    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicyNamespaced\n\
                metadata: {name: p, namespace: shop}\nspec: {podSelector: {matchLabels: {app: web}}, \
                nodeSelector: {matchLabels: {disk: ssd}}}\n";
    let policy = CheckedPolicy::read("p", text).unwrap();
    assert!(applies(&policy, &pod("shop", &[("app", "web")], "a", "b")));
    assert!(!applies(&policy, &pod("shop", &[], "a", "b")));
    assert!(!applies(&policy, &pod("lab", &[("app", "web")], "a", "b")));
    assert!(!applies(&policy, &Workload::Host));
    let labels = |value: &str| BTreeMap::from([("disk".to_owned(), value.to_owned())]);
    assert!(applies_to_node(&policy, &labels("ssd")));
    assert!(!applies_to_node(&policy, &labels("hdd")));
    assert!(!applies_to_node(&policy, &BTreeMap::new()));
    assert!(applies_to_node(&read("  {}\n"), &BTreeMap::new()));
}
