//! Each type with each of its operators: values that match and values that just do not, told by hand, asked of
//! the evaluator and of a program in the kernel. A type or operator without a case fails here, or does not
//! build.

use crate::campaign::Bench;
use crate::files::Root;
use crate::laboratory::{self, Laboratory};
use crate::real::{Given, Words};
use policy::checked::{FileType, SyscallAbi, ValueKind};
use policy::document::{Operator, TypeName};
use policy::evaluate::generate::Call;
use policy::evaluate::{End, Event, Selectors, Socket, Value};
use std::net::IpAddr;

/// A filter by hand.
struct Case {
    /// The operator's values, in YAML.
    values: &'static str,
    /// Values of which it holds.
    holds: Vec<Value>,
    /// Values of which it just does not.
    fails: Vec<Value>,
}

/// The operator of which another is the negation.
fn positive(operator: Operator) -> Option<Operator> {
    let name = operator.name().strip_prefix("Not")?;
    // One of them is spelled in another way.
    let found = Operator::ALL.iter().find(|other| other.name().eq_ignore_ascii_case(name));
    Some(*found.unwrap_or_else(|| panic!("{operator} negates nothing")))
}

fn case(kind: TypeName, operator: Operator) -> Case {
    use Operator as O;
    if let Some(positive) = positive(operator) {
        let Case { values, holds, fails } = case(kind, positive);
        return Case { values, holds: fails, fails: holds };
    }
    let is = kind.kind();
    let numbers = |values, holds: &[i128], fails: &[i128]| {
        let all = |numbers: &[i128]| numbers.iter().map(|number| of_number(is, *number)).collect();
        Case { values, holds: all(holds), fails: all(fails) }
    };
    let texts = |values, holds: &[&str], fails: &[&str]| {
        let all = |texts: &[&str]| texts.iter().map(|text| of_text(is, text)).collect();
        Case { values, holds: all(holds), fails: all(fails) }
    };
    let sockets = |values, holds: &[Socket], fails: &[Socket]| {
        let all = |sockets: &[Socket]| sockets.iter().map(|it| of_socket(is, it)).collect();
        Case { values, holds: all(holds), fails: all(fails) }
    };
    match operator {
        O::Equal if is.is_text() => {
            texts("[/tested, /t]", &["/tested", "/t"], &["/teste", "/tested2", "/Tested", "/q"])
        }
        O::Equal => numbers("['5', '0x20']", &[5, 32], &[4, 6, 33, 0]),
        O::Prefix => texts("[/tes]", &["/tes", "/test/x"], &["/te", "/x/tes", "/Tes"]),
        O::Postfix => texts("[ted]", &["/ted", "/x/ted"], &["/tedx", "/te", "/teD"]),
        O::SubString => texts("[est]", &["/est", "/tested"], &["/es", "/eST", "/e/st"]),
        O::SubStringIgnCase => texts("[eSt]", &["/est", "/tEsTed"], &["/es", "/e[t", "/ets"]),
        O::GreaterThan => numbers("['5', '9']", &[6, 9, 100], &[5, 0]),
        O::LessThan => numbers("['5', '2']", &[4, 0], &[5, 100]),
        O::Mask => numbers("['6', '0x40']", &[2, 4, 7, 64], &[1, 8, 0]),
        O::InMap => numbers("['5:7', '9', '12:11']", &[5, 7, 9, 11, 12], &[4, 8, 10, 13]),
        O::InRange => numbers("['5:7', '9:9']", &[5, 6, 7, 9], &[4, 8, 10]),
        O::SAddr | O::DAddr => {
            let other = if is == ValueKind::SocketAddress { "10.9.9.9" } else { "10.0.0.1" };
            let at = |address: &str| match operator {
                O::SAddr => ends(address, 1, other, 2),
                _ => ends("10.9.9.9", 1, address, 2),
            };
            sockets(
                "[10.0.0.0/30, 'fd00:0:0:1::/64']",
                &["10.0.0.0", "10.0.0.3", "fd00:0:0:1::", "fd00:0:0:1:ffff::1", "::ffff:10.0.0.2"]
                    .map(at),
                &["10.0.0.4", "9.255.255.255", "fd00:0:0:2::", "fd00::ffff", "::ffff:10.0.0.4"]
                    .map(at),
            )
        }
        O::SPort | O::DPort => {
            let at = |port| match operator {
                O::SPort => ends("10.0.0.1", port, "10.0.0.2", 5),
                _ => ends("10.0.0.1", 5, "10.0.0.2", port),
            };
            sockets("['80:81', '443']", &[80, 81, 443].map(at), &[79, 82, 442, 0x5000].map(at))
        }
        O::SPortPriv => {
            let at = |port| ends("fd00::1", port, "fd00::2", 2000);
            sockets("", &[0, 1023].map(at), &[1024, 65_535].map(at))
        }
        O::DPortPriv => {
            let at = |port| ends("fd00::1", 2000, "fd00::2", port);
            sockets("", &[0, 1023].map(at), &[1024, 65_535].map(at))
        }
        O::Protocol => {
            let of = |protocol| Socket {
                protocol: Some(protocol),
                ..ends("10.0.0.1", 1, "10.0.0.2", 2)
            };
            sockets("[IPPROTO_UDP, '132']", &[17, 132].map(of), &[6, 136].map(of))
        }
        O::Family if is == ValueKind::UnixAddress => Case {
            values: "[AF_UNIX]",
            holds: vec![Value::UnixAddress { family: 1, path: b"/tested".to_vec() }],
            fails: vec![Value::UnixAddress { family: 2, path: b"/tested".to_vec() }],
        },
        O::Family => {
            let (four, six) =
                (ends("10.0.0.1", 1, "10.0.0.2", 2), ends("fd00::1", 1, "fd00::2", 2));
            sockets("[AF_INET6]", &[six], &[four])
        }
        O::State => {
            let of = |state| Socket { state: Some(state), ..ends("10.0.0.1", 1, "10.0.0.2", 2) };
            sockets("[TCP_LISTEN, '1']", &[10, 1].map(of), &[9, 11, 2].map(of))
        }
        O::FileType => {
            use FileType as F;
            let of = |file_type| Value::Path {
                path: format!("/tested-{file_type:?}").into_bytes(),
                file_type: Some(file_type),
            };
            Case {
                values: "[dir, lnk, blk]",
                holds: [F::Directory, F::Link, F::Block].map(of).to_vec(),
                fails: [F::Regular, F::Character, F::Fifo, F::Socket].map(of).to_vec(),
            }
        }
        // What the set before has is in `pair`.
        O::CapabilitiesGained => numbers("", &[8, 0b1100_0001], &[0, 0b0100_0001, 1]),
        O::CelExpr if is.is_text() => texts(
            "[\"size(arg0) == 5 && arg0.matches('^/t[a-e]+s?t$')\"]",
            &["/tast", "/teet"],
            &["/tests", "/tett", "/xest"],
        ),
        O::CelExpr => {
            let unsigned = matches!(is, ValueKind::Integer(width) if !width.signed);
            let values = if unsigned {
                "['arg0 * 3u % 7u in [1u, 2u]']"
            } else {
                "['arg0 * 3 % 7 in [1, 2]']"
            };
            numbers(values, &[5, 3], &[4, 6, 0])
        }
        O::NotEqual
        | O::NotPrefix
        | O::NotPostfix
        | O::NotSPort
        | O::NotSPortPriv
        | O::NotDPort
        | O::NotDPortPriv
        | O::NotSAddr
        | O::NotDAddr
        | O::NotProtocol
        | O::NotFamily
        | O::NotState
        | O::NotInMap
        | O::NotInRange
        | O::NotSubString
        | O::NotSubStringIgnCase
        | O::NotFileType => panic!("{operator} is the negation of none"),
    }
}

fn of_number(kind: ValueKind, number: i128) -> Value {
    match kind {
        ValueKind::Integer(_) => Value::Integer(number),
        ValueKind::CapabilitySet => Value::CapabilitySet(number as u64),
        ValueKind::Capability => Value::Capability(number as u32),
        ValueKind::Syscall => {
            Value::Syscall { number: number as u32, abi: SyscallAbi::X64, name: None }
        }
        other => panic!("{other:?} has no numbers"),
    }
}

fn of_text(kind: ValueKind, text: &str) -> Value {
    match kind {
        ValueKind::Text => Value::Text(text.into()),
        ValueKind::Path => Value::path(text),
        ValueKind::File => Value::Path { path: text.into(), file_type: Some(FileType::Regular) },
        ValueKind::UnixAddress => Value::UnixAddress { family: 1, path: text.into() },
        other => panic!("{other:?} has no texts"),
    }
}

/// A connection of TCP over IPv4 or IPv6.
fn ends(source: &str, from: u16, destination: &str, to: u16) -> Socket {
    let address = |text: &str| {
        let address: IpAddr = text.parse().unwrap();
        address
    };
    let (source, destination) = (address(source), address(destination));
    // Both ends are of one family.
    let six = source.is_ipv6() || destination.is_ipv6();
    let end = |address: IpAddr, port| {
        let address = match address {
            IpAddr::V4(address) if six => IpAddr::V6(address.to_ipv6_mapped()),
            address => address,
        };
        End { address: Some(address), port: Some(port) }
    };
    Socket {
        family: if six { 10 } else { 2 },
        protocol: Some(6),
        state: Some(1),
        source: end(source, from),
        destination: end(destination, to),
    }
}

/// As much of it as such an object has.
fn of_socket(kind: ValueKind, socket: &Socket) -> Value {
    let mut socket = socket.clone();
    if kind != ValueKind::Socket {
        socket.state = None;
    }
    if kind == ValueKind::SocketAddress {
        (socket.protocol, socket.destination) = (None, End::default());
    }
    Value::Socket(socket)
}

/// The call of a hook with one argument of a type, or two of which the other is the set before.
fn call(kind: TypeName, operator: Operator) -> Call {
    let hook = match kind {
        TypeName::Syscall64 => "tracepoints: [{subsystem: raw_syscalls, event: tried, raw: true",
        _ => "kprobes: [{call: tried, syscall: false",
    };
    let count = if operator == Operator::CapabilitiesGained { 2 } else { 1 };
    Call { hook: hook.to_owned(), args: vec![kind; count], returned: None, max_data: false }
}

/// The policy with the filter.
fn policy(call: &Call, operator: Operator, values: &str) -> String {
    let (kind, hook) = (call.args[0], &call.hook);
    let size = match kind {
        TypeName::CharBuf | TypeName::CharIovec => ", sizeArgIndex: 2",
        _ => "",
    };
    let args: Vec<String> =
        (0..call.args.len()).map(|at| format!("{{index: {at}, type: {kind}{size}}}")).collect();
    let subject = match call.args.len() {
        1 => "args: [0]",
        _ => "args: [1, 0]",
    };
    let values = if values.is_empty() { String::new() } else { format!(", values: {values}") };
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: case}}\nspec:\n  \
         {hook}, args: [{}],\n    selectors: [{{matchArgs: [{{{subject}, operator: {operator}{values}}}]}}]}}]\n",
        args.join(", ")
    )
}

/// A call with these values, made real as they are.
fn given(words: &mut Words, root: Option<&Root>, call: &Call, value: &Value) -> Given {
    let mut args = vec![value.clone()];
    if call.args.len() > 1 {
        args.push(Value::CapabilitySet(0b0100_0001));
    }
    let event = Event { args, ..Event::default() };
    if let (Value::Path { .. }, Some(root)) = (value, root) {
        let (event, files) = root.open(None, call, event);
        assert_eq!(event.args[0], *value);
        return Given { files, ..Given::new(words, call, event) };
    }
    // Not all that can be made of a type can hold any value.
    let fitting = (0..1000).map(|_| Given::new(words, call, event.clone()));
    fitting.into_iter().find(|given| given.event == event).unwrap_or_else(|| panic!("{value:?}"))
}

/// Tries the cases of all types that are, or are not, files.
pub(crate) fn run(laboratory: &mut Laboratory, root: Option<&Root>) {
    let mut words = Words::new(0);
    let files = |kind: ValueKind| matches!(kind, ValueKind::Path | ValueKind::File);
    let mut tried = 0;
    for kind in TypeName::ALL.iter().copied() {
        // What it is depends on the function.
        if kind == TypeName::Auto || files(kind.kind()) != root.is_some() {
            continue;
        }
        for operator in kind.kind().operators() {
            let Case { values, holds, fails } = case(kind, operator);
            assert!(!holds.is_empty() && !fails.is_empty(), "{kind} {operator}");
            let call = call(kind, operator);
            let yaml = policy(&call, operator, values);
            let checked = laboratory::read(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
            let hook = &checked.hooks[0];
            let selectors = Selectors::new(&hook.selectors, &checked.lists, |_| None).unwrap();
            let expected = holds.iter().map(|value| (value, true));
            let expected = expected.chain(fails.iter().map(|value| (value, false)));
            let mut calls = Vec::new();
            for (value, wanted) in expected {
                let given = given(&mut words, root, &call, value);
                let matches = selectors.evaluate(&given.event).is_some();
                assert_eq!(matches, wanted, "{kind} {operator} {values} {value:?}");
                calls.push(given);
            }
            let matched = laboratory.check(&yaml, &call, &calls);
            let matched = matched.unwrap_or_else(|failure| panic!("{yaml}\n{failure}"));
            assert_eq!(matched, Some(holds.len()), "{yaml}");
            tried += 1;
        }
    }
    eprintln!("{tried} types with operators");
}
