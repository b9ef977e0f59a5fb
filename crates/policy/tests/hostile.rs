//! Whatever the text: an answer, in bounded time, and never a panic.

use policy::checked::Mode;
use policy::{CheckedPolicy, set_mode};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const SEED: &str = r#"apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: seed
spec:
  podSelector: {matchLabels: {app: "a"}, matchExpressions: [{key: b, operator: In, values: [c]}]}
  options: [{name: policy-mode, value: monitor}]
  lists: [{name: l, type: syscalls, values: [sys_dup, i386/sys_dup2]}]
  selectorsMacros:
    m: &m {matchPIDs: [{operator: In, values: [1, 0x2]}]}
  enforcers: [{calls: ["list:l"]}]
  kprobes:
  - call: "list:l"
    message: "a \"text\""
    tags: [observed]
    return: true
    returnArg: {index: 0, type: int}
    args:
    - {index: 0, type: int, label: a}
    - {index: 1, type: string}
    - {index: 2, type: sock}
    data: [{index: 0, type: auto, source: current_task, resolve: "mm.owner.pid[1]"}]
    selectors:
    - macros: [m]
      matchBinaries: [{operator: NotIn, values: [/bin/sh], followChildren: true}]
      matchNamespaces: [{namespace: Pid, operator: In, values: [host_ns, "4026531836"]}]
      matchCapabilities: [{operator: In, values: [CAP_SYS_ADMIN]}]
      matchArgs:
      - {index: 0, operator: InMap, values: ["1:3", "0x10"]}
      - {index: 1, operator: Prefix, values: ["/etc/", "/usr"]}
      - {args: [2], operator: DAddr, values: ["10.0.0.0/8", "::1"]}
      - {operator: CelExpr, values: ["arg0 == 5 && !(arg0 < -1)"]}
      matchReturnArgs: [{index: 0, operator: LT, values: ["0"]}]
      matchActions:
      - {action: Override, argError: -1}
      - {action: NotifyEnforcer, argSig: 9}
      - {action: Post, rateLimit: 5m, rateLimitScope: global}
  tracepoints:
  - {subsystem: raw_syscalls, event: sys_enter, args: [{index: 4, type: syscall64}],
     selectors: [{matchArgs: [{index: 0, operator: InMap, values: ["list:l"]}]}]}
  uprobes:
  - path: /bin/sh
    symbols: [main+0x10]
    binaryDigests: ["build-id:00ff"]
    selectors: [{matchActions: [{action: Override, argRegs: ["rax=8(%rsp)"]}]}]
"#;

fn read(text: &str) {
    let start = Instant::now();
    match CheckedPolicy::read("hostile", text) {
        Ok(_) => match set_mode("hostile", text, Mode::Enforce) {
            Ok(changed) => {
                let changed = CheckedPolicy::read("hostile", &changed)
                    .unwrap_or_else(|problems| panic!("{problems}\n{changed}"));
                assert_eq!(changed.settings.mode, Some(Mode::Enforce));
            }
            Err(problems) => assert!(problems.to_string().contains("the mode cannot be set")),
        },
        Err(problems) => {
            assert!(!problems.list.is_empty() && problems.list.len() <= policy::LIMIT);
            assert!(problems.to_string().len() < 200_000);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
}

#[test]
fn the_seed_is_valid() {
    CheckedPolicy::read("seed", SEED).unwrap_or_else(|problems| panic!("{problems}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn text_of_yaml(text in "[-a-z:{}\\[\\],&*!|>'\"%@#?~<= \n\t0-9]{0,200}") {
        read(&text);
    }

    #[test]
    fn mutated(edits in prop::collection::vec((0..SEED.len(), 0..SEED.len(), 0_usize..40, 0..3), 1..6)) {
        let mut text = SEED.as_bytes().to_vec();
        for (at, from, len, how) in edits {
            let end = (at + len).min(text.len());
            let at = at.min(end);
            let piece = SEED.as_bytes()[from..(from + len).min(SEED.len())].to_vec();
            match how {
                0 => drop(text.splice(at..end, [])),
                1 => drop(text.splice(at..at, piece)),
                _ => drop(text.splice(at..end, piece)),
            }
        }
        read(&String::from_utf8(text).expect("the seed is ASCII"));
    }

    #[test]
    fn values_replaced(
        which in any::<prop::sample::Index>(),
        value in prop_oneof![any::<String>(), "[-+0-9a-zA-Z_:./%()=,<>!&|~ ]{0,24}"],
    ) {
        // Values begin after `: `, `[` or `, `; those within quotes keep the quotes' rest.
        let starts: Vec<usize> = [": ", "[", ", "]
            .iter()
            .flat_map(|mark| SEED.match_indices(mark).map(|(at, mark)| at + mark.len()))
            .collect();
        let at = *which.get(&starts);
        let end = SEED[at..].find([',', '\n', ']', '}']).map_or(SEED.len(), |end| at + end);
        let quoted = serde_json::to_string(&value).expect("a string is JSON");
        read(&format!("{}{quoted}{}", &SEED[..at], &SEED[end..]));
    }
}

#[test]
fn large_policies() {
    let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: large}\nspec:\n  \
                kprobes:\n  - call: f\n    args: [{index: 0, type: int}]\n    selectors:\n    \
                - matchArgs:\n      - index: 0\n        operator: InMap\n        values:\n";
    let good: String = (0..60_000).map(|value| format!("        - \"{value}\"\n")).collect();
    let policy = CheckedPolicy::read("large", &format!("{head}{good}"));
    policy.unwrap_or_else(|problems| panic!("{problems}"));
    let bad = "        - x\n".repeat(60_000);
    let problems = CheckedPolicy::read("large", &format!("{head}{bad}")).unwrap_err();
    assert_eq!(problems.list.len() + problems.omitted, 60_000);
    for text in ["[".repeat(1 << 20), "{a: ".repeat(1 << 18), "- ".repeat(1 << 19)] {
        read(&text);
    }
    read(&format!("{}x", "? ".repeat(100_000)));
    read(&"a: 1\n".repeat(1 << 17));
    for piece in
        ["a\n", "- a\n", "a,", "&a ", "*a\n", "!a ", "%TAG ! a\n", "# \n", "|\n", "? a\n", "\t"]
    {
        read(&piece.repeat((1 << 19) / piece.len()));
        read(&format!("[{}]", piece.repeat((1 << 19) / piece.len())));
    }
    let anchors: String =
        (0..30_000).map(|n| format!("a{n}: &a{n} [*a{}]\n", n.max(1) - 1)).collect();
    read(&anchors);
    read(&format!("\"{}\"", "x".repeat(1 << 20)));
}
