//! Verdicts on made-up recordings.

use api::tetragon::GetEventsResponse;
use policy::CheckedPolicy;

use super::verdict::{Judge, Verdict};

fn policy(name: &str, hooks: &str) -> CheckedPolicy {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n{hooks}"
    );
    CheckedPolicy::read("test.yaml", &text).unwrap()
}

/// Opening files for writing, by path and by who does it.
const OPENS: &str = "
  kprobes:
  - call: security_file_permission
    syscall: false
    args: [{index: 0, type: file}, {index: 1, type: int}]
    selectors:
    - matchArgs:
      - {index: 0, operator: Prefix, values: [/etc/]}
      - {index: 1, operator: Equal, values: ['2']}
    - matchBinaries: [{operator: In, values: [/bin/sh]}]
      matchCapabilities: [{type: Effective, operator: In, values: [CAP_SYS_ADMIN]}]
";

fn event(policy: &str, binary: &str, rest: &str) -> GetEventsResponse {
    let json = format!(
        r#"{{"process_kprobe":{{"process":{{"binary":"{binary}","pid":7}},"policy_name":"{policy}",
           "function_name":"security_file_permission",{rest}}}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

fn verdict(tried: &CheckedPolicy, by: &[CheckedPolicy], event: &GetEventsResponse) -> Verdict {
    let tried: &'static CheckedPolicy = Box::leak(Box::new(tried.clone()));
    let by: &'static [CheckedPolicy] = by.to_vec().leak();
    let mut judged = Judge::new(tried, by).judge(event);
    assert_eq!(judged.len(), 1);
    judged.remove(0).verdict
}

const SHADOW: &str = r#""args":[{"file_arg":{"path":"/etc/shadow"}},{"int_arg":2}]"#;
const HOME: &str = r#""args":[{"file_arg":{"path":"/home/a"}},{"int_arg":2}]"#;

#[test]
fn recordings_of_the_policy_itself() {
    let opens = policy("opens", OPENS);
    let of = |binary, rest| verdict(&opens, &[], &event("opens", binary, rest));
    assert_eq!(of("/bin/cat", SHADOW), Verdict::Matches(Some(0)));
    assert_eq!(of("/bin/cat", HOME), Verdict::No);
    let lacks = Verdict::Unknown("the capabilities (--enable-process-cred)".to_owned());
    assert_eq!(of("/bin/sh", HOME), lacks);
    // The first one acts, whatever the second would have said.
    assert_eq!(of("/bin/sh", SHADOW), Verdict::Matches(Some(0)));
    let read = SHADOW.replace(":2}", ":4}");
    assert_eq!(of("/bin/cat", &read), Verdict::No);
}

#[test]
fn recordings_of_others() {
    let opens = policy("opens", OPENS);
    let other = policy(
        "other",
        "
  kprobes:
  - call: security_file_permission
    syscall: false
    args: [{index: 1, type: int}, {index: 0, type: file}]
",
    );
    let swapped =
        event("other", "/bin/cat", r#""args":[{"int_arg":2},{"file_arg":{"path":"/etc/shadow"}}]"#);
    let lacks = Verdict::Unknown("args[0], args[1]".to_owned());
    assert_eq!(verdict(&opens, &[], &swapped), lacks, "which is which is not known");
    assert_eq!(verdict(&opens, &[other], &swapped), Verdict::Matches(Some(0)));
    // Labels tell.
    let labelled = policy("labelled", &OPENS.replace("type: file}", "type: file, label: f}"));
    let event = event(
        "other",
        "/bin/cat",
        r#""args":[{"int_arg":4},{"file_arg":{"path":"/home"},"label":"f"}]"#,
    );
    assert_eq!(verdict(&labelled, &[], &event), Verdict::No);
}

#[test]
fn values_that_were_not_read_match_nothing() {
    let opens = policy("opens", OPENS);
    let fault = r#""args":[{"error_arg":{"Message":"x"}},{"int_arg":2}]"#;
    assert_eq!(verdict(&opens, &[], &event("opens", "/bin/cat", fault)), Verdict::No);
}

#[test]
fn ancestors_that_are_not_recorded() {
    let hooks = OPENS.split("selectors:").next().unwrap().to_owned();
    let follows = |operator: &str| {
        let filter = format!("{{operator: {operator}, values: [/bin/sh], followChildren: true}}");
        policy("p", &format!("{hooks}selectors:\n    - matchBinaries: [{filter}]\n"))
    };
    let of = |operator, parents: &str| {
        verdict(&follows(operator), &[], &event("p", "/bin/cat", &format!("{SHADOW}{parents}")))
    };
    let shell = r#","parent":{"binary":"/bin/sh","pid":5,"parent_exec_id":"x"}"#;
    let init = r#","parent":{"binary":"/sbin/init","pid":1,"parent_exec_id":"x"}"#;
    let lacks = Verdict::Unknown("all ancestors (--enable-ancestors)".to_owned());
    assert_eq!(of("In", shell), Verdict::Matches(Some(0)));
    assert_eq!(of("NotIn", shell), Verdict::No);
    assert_eq!(of("In", init), Verdict::No);
    assert_eq!(of("NotIn", init), Verdict::Matches(Some(0)));
    assert_eq!(of("In", r#","parent":{"binary":"/bin/a","pid":5,"parent_exec_id":"x"}"#), lacks);
    assert_eq!(of("NotIn", r#","parent":{"binary":"/bin/a","pid":5,"parent_exec_id":"x"}"#), lacks);
}

#[test]
fn other_hooks_have_no_say() {
    let opens = policy("opens", OPENS);
    let opens: &'static CheckedPolicy = Box::leak(Box::new(opens));
    let mut judge = Judge::new(opens, &[]);
    let other = event("opens", "/bin/sh", r#""args":[]"#);
    let json = serde_json::to_string(&other).unwrap().replace("security_file_permission", "other");
    assert_eq!(judge.judge(&serde_json::from_str(&json).unwrap()), []);
    assert_eq!(judge.judge(&GetEventsResponse::default()), []);
}
