//! Random filters by process, near what a process is.

use super::random::Random;
use crate::checked::capability;
use crate::document::{BinaryOperator, CapabilitySet, NamespaceKind, SetOperator};
use crate::evaluate::{Image, Namespaces, Process};

/// Some of a selector's parts about processes: key and content.
pub(super) fn draw(
    random: &mut Random,
    process: &Process,
    host: &Namespaces,
) -> Vec<(&'static str, String)> {
    let mut parts = Vec::new();
    let mut add = |random: &mut Random, key, draw: &dyn Fn(&mut Random) -> String| {
        if random.once_in(4) {
            let count = 1 + random.below(2);
            let entries: Vec<String> = (0..count).map(|_| draw(random)).collect();
            parts.push((key, format!("[{}]", entries.join(", "))));
        }
    };
    let parents = process.ancestors.as_slice();
    add(random, "matchPIDs", &|random| pids(random, process));
    add(random, "matchBinaries", &|random| binaries(random, &process.image, parents));
    if let Some((parent, above)) = parents.split_first() {
        add(random, "matchParentBinaries", &|random| binaries(random, parent, above));
    }
    add(random, "matchNamespaces", &|random| namespace(random, process, host));
    add(random, "matchNamespaceChanges", &namespace_change);
    add(random, "matchCapabilities", &|random| capabilities(random, process));
    add(random, "matchCapabilityChanges", &|random| capabilities(random, process));
    if random.once_in(8) {
        let scopes = ["{hostSelector: {}}", "{podSelector: {}}", "{}"];
        parts.push(("matchWorkloads", random.pick_or(&scopes, "{}").to_owned()));
    }
    parts
}

fn set_operator(random: &mut Random) -> SetOperator {
    random.pick_or(SetOperator::ALL, SetOperator::In)
}

fn list(values: &[String]) -> String {
    let quoted: Vec<String> =
        values.iter().map(|value| serde_json::Value::from(value.as_str()).to_string()).collect();
    format!("[{}]", quoted.join(", "))
}

fn pids(random: &mut Random, process: &Process) -> String {
    let images: Vec<&Image> = std::iter::once(&process.image).chain(&process.ancestors).collect();
    let mut ids: Vec<u32> =
        images.iter().flat_map(|image| [image.pid, image.pid_in_namespace]).collect();
    ids.extend([0, 1, process.image.pid.wrapping_add(1) & 0x7fff_ffff]);
    let values: Vec<String> =
        (0..1 + random.below(3)).map(|_| random.pick_or(&ids, 1).to_string()).collect();
    format!(
        "{{operator: {}, values: [{}], isNamespacePID: {}, followForks: {}}}",
        set_operator(random),
        values.join(", "),
        random.once_in(2),
        random.once_in(2)
    )
}

fn binaries(random: &mut Random, image: &Image, ancestors: &[Image]) -> String {
    use BinaryOperator as O;
    let operator = random.pick_or(O::ALL, O::In);
    let exact = matches!(operator, O::In | O::NotIn);
    let end = matches!(operator, O::Postfix | O::NotPostfix);
    let mut values = Vec::new();
    for _ in 0..1 + random.below(3) {
        let of = if random.once_in(2) { image } else { random.pick(ancestors).unwrap_or(image) };
        let path = of.binary.clone().unwrap_or_default();
        let path = String::from_utf8_lossy(&path).into_owned();
        let length = path.chars().count();
        let cut = random.below(length);
        let mut value: String = match (exact, end, random.below(4)) {
            (_, _, 0) => path,
            (true, ..) => path.chars().take(length.saturating_sub(random.below(2))).collect(),
            (_, true, _) => path.chars().skip(cut).collect(),
            (_, false, _) => path.chars().take(cut + 1).collect(),
        };
        if random.once_in(5) {
            value.push('x');
        }
        // Only ends of paths begin with something else, and nothing is empty.
        if value.is_empty() || !end && !value.starts_with('/') {
            value.insert(0, '/');
        }
        values.push(value);
    }
    let follow = exact && random.once_in(2);
    format!("{{operator: {operator}, values: {}, followChildren: {follow}}}", list(&values))
}

fn namespace(random: &mut Random, process: &Process, host: &Namespaces) -> String {
    let kind = random.pick_or(NamespaceKind::ALL, NamespaceKind::Pid);
    let known = [process.namespaces.get(&kind), host.get(&kind)];
    let mut inodes: Vec<String> = known.into_iter().flatten().map(ToString::to_string).collect();
    inodes.extend(["host_ns".to_owned(), "7".to_owned()]);
    let values: Vec<String> =
        (0..1 + random.below(3)).map(|_| random.pick_or(&inodes, String::new())).collect();
    let operator = set_operator(random);
    format!("{{namespace: {kind}, operator: {operator}, values: {}}}", list(&values))
}

fn namespace_change(random: &mut Random) -> String {
    let kinds: Vec<&str> = (0..1 + random.below(3))
        .map(|_| random.pick_or(NamespaceKind::ALL, NamespaceKind::Net).name())
        .collect();
    format!("{{operator: {}, values: [{}]}}", set_operator(random), kinds.join(", "))
}

fn capabilities(random: &mut Random, process: &Process) -> String {
    let set = random.pick_or(CapabilitySet::ALL, CapabilitySet::Effective);
    let had = process.capabilities.set(set);
    let names: Vec<&str> = (0..1 + random.below(3))
        .filter_map(|_| {
            // One that it has or one that it has not, as often.
            let wanted = random.once_in(2);
            let fitting: Vec<&str> = (0..)
                .zip(capability::NAMES)
                .filter(|(number, _)| (had >> number & 1 == 1) == wanted)
                .map(|(_, name)| name)
                .collect();
            random.pick(&fitting).copied()
        })
        .collect();
    let names = if names.is_empty() { vec!["CAP_CHOWN"] } else { names };
    format!(
        "{{type: {set}, operator: {}, values: [{}], isNamespaceCapability: {}}}",
        set_operator(random),
        names.join(", "),
        random.once_in(4)
    )
}
