//! Operators, type by type.

use super::{evaluate, holds, read};
use policy::checked::{FileType, SyscallAbi};
use policy::evaluate::{End, Event, Selectors, Socket, Value};

/// Checks `value operator values` for values that match and ones that do not; the negated operator,
/// where there is one, says the opposite, and neither holds of what could not be read.
#[track_caller]
fn table(
    kind: &str,
    operator: &str,
    negated: &str,
    values: &str,
    matching: &[Value],
    other: &[Value],
) {
    for (list, wanted) in [(matching, true), (other, false)] {
        for value in list {
            assert_eq!(
                holds(kind, operator, values, value),
                wanted,
                "{kind} {operator} {values} {value:?}"
            );
            if !negated.is_empty() {
                assert_eq!(
                    holds(kind, negated, values, value),
                    !wanted,
                    "{kind} {negated} {values} {value:?}"
                );
            }
        }
    }
    for value in [Value::Fault, Value::Opaque] {
        assert!(!holds(kind, operator, values, &value), "{kind} {operator} {values} {value:?}");
        if !negated.is_empty() {
            assert!(!holds(kind, negated, values, &value), "{kind} {negated} {values} {value:?}");
        }
    }
}

fn ints(values: &[i128]) -> Vec<Value> {
    values.iter().map(|value| Value::Integer(*value)).collect()
}

fn texts(values: &[&str]) -> Vec<Value> {
    values.iter().map(|value| Value::Text(value.as_bytes().to_vec())).collect()
}

fn paths(values: &[&str]) -> Vec<Value> {
    values.iter().map(|value| Value::path(*value)).collect()
}

#[test]
fn integers() {
    let table = |kind, operator, negated, values, matching: &[i128], other: &[i128]| {
        table(kind, operator, negated, values, &ints(matching), &ints(other));
    };
    table("int", "Equal", "NotEqual", "['-1', '0x10', '010']", &[-1, 16, 8], &[1, 10, 0, -2]);
    table("uint32", "Equal", "NotEqual", "['4294967295']", &[4_294_967_295], &[-1, 0]);
    // More values than the four that others look at.
    table("int", "Equal", "NotEqual", "[1, 2, 3, 4, 5]", &[1, 5], &[0, 6]);
    table("int32", "InMap", "NotInMap", "['-5:-3', '9:7']", &[-5, -3, 7, 9], &[-6, -2, 6, 10]);
    table("sint16", "InRange", "NotInRange", "['-2:2']", &[-2, 2], &[-3, 3]);
    table("int8", "LT", "", "['0']", &[-1, -128], &[0, 127]);
    table("int8", "GT", "", "['-1']", &[0, 127], &[-1, -128]);
    table("uint8", "GT", "", "['127']", &[128, 255], &[127, 0]);
    // Alternatives: greater than the least of them.
    table("int64", "GT", "", "[9, 3]", &[4], &[3]);
    table("int64", "LT", "", "[9, 3]", &[8], &[9]);
    let max = i128::from(u64::MAX);
    table("size_t", "Equal", "NotEqual", "['0x100000001']", &[0x1_0000_0001], &[1]);
    table("size_t", "GT", "", "['0xffffffff']", &[0x1_0000_0000], &[0xffff_ffff]);
    table(
        "uint64",
        "InRange",
        "NotInRange",
        "['0x8000000000000000:0xffffffffffffffff']",
        &[max],
        &[0, max >> 1],
    );
    table("int", "Mask", "", "['0x40', '0x1']", &[0x40, 0x41, 1, -1], &[0, 0x3e, 0x80]);
    table("int8", "Mask", "", "['-128']", &[-1, -128], &[127]);
    table("int64", "Mask", "", "['0x8000000000000000']", &[-1], &[i128::from(i64::MAX)]);
}

#[test]
fn capabilities() {
    let set = Value::CapabilitySet;
    let sets = ["kernel_cap_t", "cap_inheritable", "cap_permitted", "cap_effective"];
    for kind in sets {
        table(
            kind,
            "Equal",
            "NotEqual",
            "['CAP_CHOWN,CAP_KILL', '0x2']",
            &[set(33), set(2)],
            &[set(32), set(35)],
        );
        table(kind, "Mask", "", "[CAP_KILL]", &[set(32), set(63)], &[set(31), set(0)]);
        table(kind, "GT", "", "['0xff']", &[set(256), set(u64::MAX)], &[set(255)]);
        table(kind, "LT", "", "['0xff']", &[set(254)], &[set(255)]);
    }
    let one = Value::Capability;
    table("capability", "Equal", "NotEqual", "[CAP_SYS_ADMIN]", &[one(21)], &[one(20), one(1)]);
    table("capability", "InMap", "NotInMap", "['0:2']", &[one(2)], &[one(3)]);
}

#[test]
fn capabilities_gained() {
    let policy = read(
        "  kprobes:\n  - call: f\n    args: [{index: 0, type: cap_effective}, {index: 1, type: kernel_cap_t}]\n    \
         selectors: [{matchArgs: [{operator: CapabilitiesGained, args: [1, 0]}]}]\n",
    );
    let gained = |after, before| {
        evaluate(&policy, &Event { args: vec![after, before], ..Event::default() }).is_some()
    };
    let set = Value::CapabilitySet;
    assert!(gained(set(0b110), set(0b1010)));
    assert!(!gained(set(0b1010), set(0b1110)), "lost");
    assert!(!gained(set(5), set(5)), "the same");
    assert!(!gained(set(5), Value::Fault));
    assert!(!gained(Value::Fault, set(0)));
}

#[test]
fn texts_and_buffers() {
    for kind in ["string", "char_buf", "net_device", "data_loc", "filename"] {
        table(
            kind,
            "Equal",
            "NotEqual",
            "[/etc/passwd, ab]",
            &texts(&["/etc/passwd", "ab"]),
            &texts(&["/etc/passwd2", "/etc/passw", "", "aB"]),
        );
        table(kind, "Equal", "NotEqual", "['']", &texts(&[""]), &texts(&["a"]));
        table(
            kind,
            "Prefix",
            "NotPrefix",
            "[/etc/, /usr]",
            &texts(&["/etc/", "/etc/x", "/usr2"]),
            &texts(&["/etc", "/us", "x/etc/", ""]),
        );
        table(
            kind,
            "Postfix",
            "NotPostfix",
            "[.so]",
            &texts(&["a.so", ".so"]),
            &texts(&["so", "a.so.1", "a.SO", ""]),
        );
        table(
            kind,
            "SubString",
            "NotSubString",
            "[bcd, xx]",
            &texts(&["bcd", "abcde", "bcbcd", "xxx"]),
            &texts(&["bc", "bCd", "", "x"]),
        );
        table(
            kind,
            "SubStringIgnCase",
            "NotSubStringIgnCase",
            "[bCd]",
            &texts(&["BCD", "aBcDe"]),
            &texts(&["bc", "b\u{43f}d"]),
        );
    }
    // Upper and lower case are those of ASCII.
    table(
        "string",
        "SubStringIgnCase",
        "NotSubStringIgnCase",
        "[ä]",
        &texts(&["xä"]),
        &texts(&["xÄ"]),
    );
}

#[test]
fn long_texts_are_compared_whole() {
    let (a, b) = ("a".repeat(300), format!("{}b", "a".repeat(299)));
    let values = format!("[{a}]");
    for (operator, negated) in
        [("Equal", "NotEqual"), ("Prefix", "NotPrefix"), ("Postfix", "NotPostfix")]
    {
        table("string", operator, negated, &values, &texts(&[&a]), &texts(&[&b, &a[1..]]));
        table("file", operator, negated, &values, &paths(&[&a]), &paths(&[&b, &a[1..]]));
    }
    table("string", "SubString", "NotSubString", &values, &texts(&[&a]), &texts(&[&b]));
}

#[test]
fn nuls_at_the_end_of_values() {
    let value = "[\"/a\\0\"]";
    table("string", "Equal", "NotEqual", value, &texts(&["/a"]), &texts(&["/a\0", "/"]));
    table("char_buf", "Equal", "NotEqual", value, &texts(&["/a\0"]), &texts(&["/a"]));
    table("file", "Equal", "NotEqual", value, &[], &paths(&["/a"]));
    table("string", "Prefix", "NotPrefix", value, &texts(&["/a\0b"]), &texts(&["/a", "/ab"]));
    table("string", "Postfix", "NotPostfix", value, &texts(&["/b/a"]), &texts(&["/b/"]));
    table("path", "Postfix", "NotPostfix", value, &paths(&["/b/a"]), &paths(&["/b/"]));
    table("char_buf", "Postfix", "NotPostfix", value, &texts(&["x/a\0"]), &texts(&["x/a"]));
}

#[test]
fn what_has_a_path() {
    for kind in ["fd", "file", "path", "dentry", "linux_binprm", "kiocb"] {
        table(
            kind,
            "Equal",
            "NotEqual",
            "[/etc/passwd]",
            &paths(&["/etc/passwd"]),
            &paths(&["/etc/passwd (deleted)", "/etc"]),
        );
        table(kind, "Prefix", "NotPrefix", "[/etc]", &paths(&["/etcetera"]), &paths(&["/et"]));
        table(kind, "Postfix", "NotPostfix", "[wd]", &paths(&["/pwd"]), &paths(&["/wdx"]));
        table(kind, "SubString", "NotSubString", "[bin]", &paths(&["/sbin/x"]), &paths(&["/bi/n"]));
        table(
            kind,
            "SubStringIgnCase",
            "NotSubStringIgnCase",
            "[BIN]",
            &paths(&["/sbin"]),
            &paths(&["/bi"]),
        );
        // A pipe has no path, so it has no other path either.
        let pipe = Value::path("");
        for operator in ["Equal", "NotEqual", "Prefix", "NotPrefix", "Postfix", "NotPostfix"] {
            assert!(!holds(kind, operator, "[/x]", &pipe), "{kind} {operator}");
        }
        assert!(!holds(kind, "Equal", "['']", &pipe), "{kind}");
    }
}

#[test]
fn types_of_files() {
    let file = |path: &str, file_type| Value::Path {
        path: path.as_bytes().to_vec(),
        file_type: Some(file_type),
    };
    for kind in ["file", "path"] {
        table(
            kind,
            "FileType",
            "NotFileType",
            "[fifo, dir]",
            &[file("", FileType::Fifo), file("/d", FileType::Directory)],
            &[file("/f", FileType::Regular), file("", FileType::Socket)],
        );
        for (name, file_type) in [
            ("sock", FileType::Socket),
            ("link", FileType::Link),
            ("reg", FileType::Regular),
            ("blk", FileType::Block),
            ("dir", FileType::Directory),
            ("chr", FileType::Character),
            ("pipe", FileType::Fifo),
        ] {
            assert!(holds(kind, "FileType", &format!("[{name}]"), &file("/", file_type)));
        }
        for operator in ["FileType", "NotFileType"] {
            assert!(!holds(kind, operator, "[reg]", &Value::path("/f")), "the type is not known");
        }
    }
}

fn end(address: &str, port: u16) -> End {
    let parsed = address.parse().unwrap_or_else(|error| panic!("{address}: {error}"));
    End { address: Some(parsed), port: Some(port) }
}

fn socket(source: End, destination: End) -> Value {
    let (family, protocol, state) = (2, Some(6), Some(1));
    Value::Socket(Socket { family, protocol, state, source, destination })
}

#[test]
fn addresses() {
    let to = |address: &str| socket(end("10.0.0.1", 1), end(address, 1));
    let from = |address: &str| socket(end(address, 1), end("10.0.0.1", 1));
    for kind in ["sock", "socket", "skb"] {
        table(
            kind,
            "DAddr",
            "NotDAddr",
            "[192.168.4.0/22, 'fd00::/8', 1.2.3.4]",
            &[to("192.168.4.0"), to("192.168.7.255"), to("fdff::1"), to("1.2.3.4")],
            &[to("192.168.8.0"), to("192.168.3.255"), to("fe00::"), to("1.2.3.5"), to("::")],
        );
        let none = socket(End::default(), End::default());
        for operator in ["SAddr", "NotSAddr", "DAddr", "NotDAddr"] {
            assert!(!holds(kind, operator, "[0.0.0.0/0, '::/0']", &none), "{kind} {operator}");
        }
    }
    for kind in ["sock", "socket", "skb", "sockaddr"] {
        let values = "[127.0.0.0/8, '::1']";
        let (local, other) = (&[from("127.1.1.1"), from("::1")], &[from("128.0.0.1"), from("::2")]);
        table(kind, "SAddr", "NotSAddr", values, local, other);
        // Everything of one version, nothing of the other.
        table(kind, "SAddr", "NotSAddr", "[0.0.0.0/0]", &[from("1.2.3.4")], &[from("::1")]);
        table(kind, "SAddr", "NotSAddr", "['::/0']", &[from("::1")], &[from("1.2.3.4")]);
        // IPv4 in IPv6's clothes.
        let mapped = from("::ffff:169.254.169.254");
        table(kind, "SAddr", "NotSAddr", "[169.254.169.254]", std::slice::from_ref(&mapped), &[]);
        table(kind, "SAddr", "NotSAddr", "['::ffff:0:0/96']", std::slice::from_ref(&mapped), &[]);
        table(kind, "SAddr", "NotSAddr", "[169.254.169.253]", &[], &[mapped]);
    }
}

#[test]
fn ports() {
    let to = |port| socket(end("::1", 5), end("::1", port));
    let from = |port| socket(end("::1", port), end("::1", 5));
    for kind in ["sock", "socket", "skb"] {
        let (values, inside, outside) = ("['80:82', 443]", [80, 82, 443], [79, 83, 0]);
        table(kind, "DPort", "NotDPort", values, &inside.map(to), &outside.map(to));
        table(kind, "DPortPriv", "NotDPortPriv", "[]", &[to(0), to(1023)], &[to(1024)]);
    }
    for kind in ["sock", "socket", "skb", "sockaddr"] {
        table(kind, "SPort", "NotSPort", "['80:82']", &[from(80), from(82)], &[from(83)]);
        table(kind, "SPortPriv", "NotSPortPriv", "[]", &[from(1023)], &[from(1024)]);
        let none = socket(End::default(), End::default());
        for operator in ["SPort", "NotSPort"] {
            assert!(!holds(kind, operator, "['0:65535']", &none), "{kind} {operator}");
        }
    }
}

#[test]
fn protocols_families_and_states() {
    let with = |change: fn(&mut Socket)| {
        let mut socket =
            Socket { family: 2, protocol: Some(6), state: Some(1), ..Socket::default() };
        change(&mut socket);
        Value::Socket(socket)
    };
    let plain = with(|_| {});
    for kind in ["sock", "socket", "skb"] {
        let udp = with(|socket| socket.protocol = Some(17));
        let unknown = with(|socket| socket.protocol = None);
        let plain = std::slice::from_ref(&plain);
        table(kind, "Protocol", "NotProtocol", "[IPPROTO_TCP, 1]", plain, &[udp]);
        assert!(!holds(kind, "NotProtocol", "[1]", &unknown));
    }
    for kind in ["sock", "socket", "skb", "sockaddr"] {
        let v6 = with(|socket| socket.family = 10);
        let plain = std::slice::from_ref(&plain);
        table(kind, "Family", "NotFamily", "[AF_INET, AF_UNIX]", plain, &[v6]);
    }
    for kind in ["sock", "socket"] {
        let listening = with(|socket| socket.state = Some(10));
        let unknown = with(|socket| socket.state = None);
        let plain = std::slice::from_ref(&plain);
        table(kind, "State", "NotState", "[TCP_ESTABLISHED, 2]", plain, &[listening]);
        assert!(!holds(kind, "NotState", "[TCP_LISTEN]", &unknown));
    }
}

#[test]
fn unix_addresses() {
    let at = |path: &str| Value::UnixAddress { family: 1, path: path.as_bytes().to_vec() };
    let kind = "sockaddr_un";
    let table = |operator, negated, values, matching: &[Value], other: &[Value]| {
        table(kind, operator, negated, values, matching, other);
    };
    table("Equal", "NotEqual", "[/run/a]", &[at("/run/a")], &[at("/run/ab"), at("\0run/a")]);
    table("Prefix", "NotPrefix", "[/run/]", &[at("/run/a")], &[at("/tmp")]);
    table("Postfix", "NotPostfix", "[.sock]", &[at("a.sock")], &[at("a.sock2")]);
    table("SubString", "NotSubString", "[dbus]", &[at("\0/tmp/dbus-1")], &[at("/tmp/dbu")]);
    table("Equal", "NotEqual", "['@abc']", &[at("\0abc")], &[at("abc"), at("\0abcd")]);
    table("Family", "NotFamily", "[AF_UNIX]", &[at(""), at("/x")], &[]);
    for operator in ["Equal", "NotEqual", "Prefix", "NotPrefix"] {
        assert!(!holds(kind, operator, "[/x]", &at("")), "{operator} of an unnamed socket");
    }
    let inet = Value::UnixAddress { family: 2, path: b"/x".to_vec() };
    assert!(!holds(kind, "Equal", "[/x]", &inet) && !holds(kind, "NotEqual", "[/y]", &inet));
    assert!(holds(kind, "NotFamily", "[AF_UNIX]", &inet));
}

#[test]
fn system_calls() {
    let call = |number, abi, name: &str| Value::Syscall {
        number,
        abi,
        name: (!name.is_empty()).then(|| name.to_owned()),
    };
    use SyscallAbi::{Arm64, I386, X64};
    table(
        "syscall64",
        "Equal",
        "NotEqual",
        "[32, 0x8000003f]",
        &[call(32, X64, "dup"), call(63, I386, "dup2")],
        &[call(32, I386, "creat"), call(63, X64, "uname")],
    );
    table(
        "syscall64",
        "InRange",
        "NotInRange",
        "['0x80000000:0x80000010']",
        &[call(0, I386, ""), call(16, I386, "lchown")],
        &[call(0, X64, "read"), call(17, I386, "")],
    );
    table(
        "syscall64",
        "InMap",
        "NotInMap",
        "['list:dups', 7]",
        &[
            call(32, X64, "dup"),
            call(23, Arm64, "dup"),
            call(63, I386, "dup2"),
            call(7, X64, "poll"),
        ],
        &[call(41, I386, "dup"), call(33, X64, "dup2"), call(999, X64, ""), call(0, X64, "read")],
    );
    table(
        "syscall64",
        "InMap",
        "NotInMap",
        "['list:all']",
        &[call(0, X64, "read")],
        &[call(999, X64, ""), call(3, I386, "read")],
    );
}

#[test]
fn expressions() {
    let policy = read(
        "  kprobes:\n  - call: f\n    args: [{index: 2, type: int}, {index: 0, type: uint64}]\n    \
         selectors: [{matchArgs: [{operator: CelExpr, values: ['arg0 == -1 && arg1 > 5u']}]}]\n",
    );
    let holds = |args: [Value; 2]| {
        evaluate(&policy, &Event { args: args.to_vec(), ..Event::default() }).is_some()
    };
    let int = Value::Integer;
    assert!(holds([int(-1), int(6)]));
    assert!(!holds([int(-1), int(5)]));
    assert!(!holds([int(0), int(6)]));
    assert!(!holds([Value::Fault, int(6)]));
    assert!(!holds([int(0), Value::Fault]));
}

#[test]
fn expressions_over_texts() {
    let holds = |condition: &str, args: [Value; 2]| {
        let policy = read(&format!(
            "  kprobes:\n  - call: f\n    args: [{{index: 0, type: int}}, {{index: 1, type: string}}]\n    \
             selectors: [{{matchArgs: [{{operator: CelExpr, values: ['{}']}}]}}]\n",
            condition.replace('\'', "''")
        ));
        evaluate(&policy, &Event { args: args.to_vec(), ..Event::default() }).is_some()
    };
    let text = |text: &str| Value::Text(text.into());
    for (condition, number, given, wanted) in [
        ("arg1 == 'a'", 0, "a", true),
        ("arg1 == 'a'", 0, "ab", false),
        ("arg1 != 'a'", 0, "ab", true),
        ("arg1 in ['b', 'c']", 0, "c", true),
        ("arg1 in ['b', 'c']", 0, "a", false),
        ("arg1.startsWith('a')", 0, "ab", true),
        ("arg1.endsWith('a')", 0, "ab", false),
        ("arg1.contains('b')", 0, "abc", true),
        ("arg1.matches('^(a|b)c$')", 0, "bc", true),
        ("arg1.matches('^(a|b)c$')", 0, "bcd", false),
        ("arg0 == 1 ? arg1 == 'a' : arg1 == 'b'", 1, "a", true),
        ("arg0 == 1 ? arg1 == 'a' : arg1 == 'b'", 2, "a", false),
        ("(arg0 == 1 ? 5 : 6) == 6", 2, "", true),
        ("arg0 in [1, 2] && arg1 == ''", 2, "", true),
    ] {
        let args = [Value::Integer(number), text(given)];
        assert_eq!(holds(condition, args), wanted, "{condition} of {number} {given}");
    }
    let fault = || [Value::Integer(1), Value::Fault];
    assert!(!holds("arg0 == 1 || arg1 == 'a'", fault()));
    assert!(!holds("arg0 == 1 ? true : arg1 == 'a'", fault()));
}

#[test]
fn types_that_the_kernel_tells() {
    let policy = read(
        "  kprobes:\n  - call: f\n    args: [{index: 0}]\n    selectors:\n    \
         - matchArgs: [{index: 0, operator: Equal, values: ['5', '0x10']}]\n",
    );
    let hook = &policy.hooks[0];
    let problems = Selectors::new(&hook.selectors, &policy.lists, |_| None).unwrap_err();
    assert_eq!(
        problems[0].line("p"),
        "p:9:19 spec.kprobes[0].selectors[0].matchArgs[0]: the type of the value is not known: give \
         it a type"
    );
    let matches = |kind, value: Value| {
        let selectors = Selectors::new(&hook.selectors, &policy.lists, |_| Some(kind)).unwrap();
        selectors.evaluate(&Event { args: vec![value], ..Event::default() }).is_some()
    };
    use policy::document::TypeName;
    assert!(matches(TypeName::Uint8, Value::Integer(16)));
    assert!(!matches(TypeName::Uint8, Value::Integer(10)));
    assert!(matches(TypeName::String, Value::Text(b"0x10".to_vec())));
    assert!(!matches(TypeName::String, Value::Integer(5)));
    let refused = Selectors::new(&hook.selectors, &policy.lists, |_| Some(TypeName::Sock));
    assert_eq!(refused.unwrap_err().len(), 1);
}

#[test]
fn all_filters_must_hold() {
    let policy = read(
        "  kprobes:\n  - call: f\n    args: [{index: 0, type: int}, {index: 1, type: string}]\n    \
         data: [{index: 0, type: int, source: current_task, resolve: pid}]\n    selectors:\n    \
         - matchArgs: [{index: 0, operator: GT, values: [1]}, {index: 0, operator: LT, values: [4]}, \
         {args: [1], operator: Equal, values: [a]}]\n      \
         matchData: [{index: 0, operator: Equal, values: [7]}]\n",
    );
    let matches = |int, text: &str, data| {
        let args = vec![Value::Integer(int), Value::Text(text.as_bytes().to_vec())];
        let event = Event { args, data: vec![Value::Integer(data)], ..Event::default() };
        evaluate(&policy, &event).is_some()
    };
    assert!(matches(2, "a", 7) && matches(3, "a", 7));
    assert!(!matches(1, "a", 7) && !matches(4, "a", 7));
    assert!(!matches(2, "b", 7));
    assert!(!matches(2, "a", 8));
    assert!(evaluate(&policy, &Event::default()).is_none(), "nothing was captured");
}
