//! Small BTF with known answers.

use std::sync::Arc;

use super::super::*;
use super::blob::Blob;

fn read(blob: &Blob) -> Btf {
    Btf::from_bytes(blob.bytes()).unwrap()
}

fn no_bits(offset: u32, ty: TypeId, size: u32) -> Field {
    Field { offset, ty, size, bits: None, tags: Tags::default() }
}

#[test]
fn finds_types_by_kind_and_name() {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let first = blob.structure("twin", 4, &[("a", int, 0)]);
    let second = blob.structure("twin", 8, &[("b", int, 0)]);
    let alias = blob.typedef("twin", second);
    let only_union = blob.union("either", 4, &[]);
    blob.structure("", 4, &[]);
    let btf = read(&blob);

    assert_eq!(btf.find(Kind::Struct, "twin"), Some(first));
    assert_eq!(btf.find_all(Kind::Struct, "twin"), [first, second]);
    assert_eq!(btf.find_typedef("twin").unwrap(), alias);
    assert_eq!(btf.find_struct("either").unwrap(), only_union);
    assert_eq!(btf.find(Kind::Struct, ""), None);
    assert_eq!(btf.find(Kind::Float, "twin"), None);
    assert_eq!(btf.name(alias), "twin");
    assert_eq!(btf.peel(alias), second);
    assert_eq!(btf.size_of(alias).unwrap(), 8);
    assert_eq!(btf.len(), 7);
    let error = btf.find_func("twin").unwrap_err().to_string();
    assert_eq!(error, "this kernel has no function `twin`");
}

#[test]
fn finds_members_across_anonymous_embedded_and_arrays() {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let inner = blob.structure("inner", 8, &[("x", int, 0), ("y", int, 32)]);
    let grid = blob.array(inner, 3);
    let rows = blob.array(grid, 2);
    let flexible = blob.array(int, 0);
    let nameless_struct = blob.structure("", 8, &[("p", int, 0), ("q", int, 32)]);
    let nameless = blob.union("", 8, &[("whole", inner, 0), ("", nameless_struct, 0)]);
    let outer = blob.structure(
        "outer",
        64,
        &[("head", int, 0), ("", nameless, 32), ("rows", rows, 128), ("tail", flexible, 512)],
    );
    let alias = blob.typedef("outer_t", outer);
    let btf = read(&blob);

    assert_eq!(btf.field(outer, "head").unwrap(), no_bits(0, int, 4));
    assert_eq!(btf.field(outer, "q").unwrap(), no_bits(8, int, 4));
    assert_eq!(btf.field(alias, "whole.y").unwrap(), no_bits(8, int, 4));
    assert_eq!(btf.field(outer, "rows[1][2].y").unwrap(), no_bits(16 + 24 + 16 + 4, int, 4));
    assert_eq!(btf.field(outer, "rows[1]").unwrap(), no_bits(16 + 24, grid, 24));
    assert_eq!(btf.field(outer, "tail").unwrap(), no_bits(64, flexible, 0));
    assert_eq!(btf.field(outer, "tail[5]").unwrap(), no_bits(64 + 20, int, 4));
    assert!(btf.member_exists(outer, "whole.x"));
    assert!(!btf.member_exists(outer, "whole.z"));
}

#[test]
fn says_what_is_wrong_with_a_path() {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let pair = blob.array(int, 2);
    let pointer = blob.pointer(TypeId(5));
    let nameless = blob.structure("", 4, &[("loginuid", int, 0)]);
    let task = blob.structure(
        "task",
        24,
        &[("parent", pointer, 0), ("pair", pair, 64), ("", nameless, 128)],
    );
    let btf = read(&blob);
    let error = |path: &str| btf.field(task, path).unwrap_err().to_string();

    let expected = "`struct task` has no member `loginuit`; nearest: `loginuid`";
    assert_eq!(error("loginuit"), expected);
    assert_eq!(error("zzz"), "`struct task` has no member `zzz`");
    assert_eq!(
        error("parent.pair"),
        "`parent` in `parent.pair` is `struct task *`, which has no members in the same object: it is \
         a pointer"
    );
    assert_eq!(error("pair.x"), "`pair` in `pair.x` is `int [2]`, which has no members");
    assert_eq!(
        error("parent[1]"),
        "`parent` in `parent[1]` is `struct task *`, which cannot be indexed"
    );
    assert_eq!(error("pair[2]"), "index 2 in `pair[2]` is out of bounds: `int [2]`");
    for (path, at) in [
        ("", 0),
        (".pair", 0),
        ("pair.", 5),
        ("pair..x", 5),
        ("pair[", 4),
        ("pair[]", 5),
        ("pair[-1]", 5),
        ("pair[+1]", 5),
        ("pair[4294967296]", 5),
        ("pair[1]x", 7),
        ("pa ir", 0),
        ("pair[1", 4),
        ("pär", 0),
    ] {
        match btf.field(task, path) {
            Err(BtfError::BadPath { at: place, .. }) => assert_eq!(place, at, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[test]
fn reads_bitfields_of_both_forms() {
    let mut blob = Blob::new();
    let int = blob.int("unsigned int", 4);
    let char = blob.int("unsigned char", 1);
    // The width stands in the member.
    let marked = blob.bitfields(
        "marked",
        16,
        &[("plain", int, 0, 0), ("a", int, 32, 1), ("b", int, 39, 30), ("c", char, 98, 3)],
    );
    // The width stands in the type.
    let three = blob.int_bits("unsigned int", 4, 0, 3);
    let shifted = blob.int_bits("unsigned int", 4, 5, 3);
    let unmarked =
        blob.structure("unmarked", 8, &[("a", three, 32), ("b", three, 35), ("c", shifted, 32)]);
    let btf = read(&blob);
    let bits = |container, path| {
        let field = btf.field(container, path).unwrap();
        (field.offset, field.size, field.bits.map(|bits| (bits.offset, bits.size)))
    };

    assert_eq!(bits(marked, "plain"), (0, 4, None));
    if cfg!(target_endian = "little") {
        assert_eq!(bits(marked, "a"), (4, 4, Some((0, 1))));
        // Bits 39 to 68 cross the 32-bit unit and then the 64-bit one from 0, so do not fit.
        assert!(matches!(btf.field(marked, "b"), Err(BtfError::NoSize(_))));
        assert_eq!(bits(marked, "c"), (12, 1, Some((2, 3))));
        assert_eq!(bits(unmarked, "a"), (4, 4, Some((0, 3))));
        assert_eq!(bits(unmarked, "b"), (4, 4, Some((3, 3))));
        assert_eq!(bits(unmarked, "c"), (4, 4, Some((5, 3))));
    }
}

#[test]
fn widens_the_load_of_a_bitfield_that_crosses_its_unit() {
    let mut blob = Blob::new();
    let char = blob.int("unsigned char", 1);
    let packed = blob.bitfields("packed", 2, &[("low", char, 0, 6), ("across", char, 6, 5)]);
    let btf = read(&blob);
    let field = btf.field(packed, "across").unwrap();
    assert_eq!((field.offset, field.size), (0, 2));
    if cfg!(target_endian = "little") {
        assert_eq!(field.bits, Some(BitField { offset: 6, size: 5 }));
    }
}

#[test]
fn follows_pointers_and_keeps_their_marks() {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let cgroup = blob.structure("cgroup", 16, &[("pad", int, 0), ("id", int, 64)]);
    let cgroup_pointer = blob.pointer(cgroup);
    let array = blob.array(cgroup_pointer, 4);
    let set = blob.structure("set", 40, &[("pad", int, 0), ("all", array, 64)]);
    let tagged = blob.type_tag("rcu", set);
    let set_pointer = blob.pointer(tagged);
    let constant = blob.constant(set);
    let tagged_user = blob.type_tag("user", constant);
    let user_pointer = blob.pointer(tagged_user);
    let embedded = blob.structure("embedded", 16, &[("x", int, 0), ("sets", set_pointer, 64)]);
    let task = blob.structure(
        "task",
        64,
        &[("pad", int, 0), ("in", embedded, 128), ("user", user_pointer, 256)],
    );
    let task_pointer = blob.pointer(task);
    let btf = read(&blob);

    let rcu = Tags { rcu: true, ..Tags::default() };
    let load = |offset, ty, pointee| Hop {
        offset,
        size: 8,
        ty,
        pointee: Some(pointee),
        bits: None,
        tags: Tags::default(),
        in_place: false,
    };
    let expected = [
        Hop { tags: rcu, ..load(24, set_pointer, set) },
        load(8 + 16, cgroup_pointer, cgroup),
        Hop { size: 4, pointee: None, ..load(8, int, TypeId::VOID) },
    ];
    for start in [task, task_pointer] {
        assert_eq!(btf.path(start, "in.sets.all[2].id").unwrap(), expected);
    }
    // A pointer may be indexed: it points to the first of many.
    let indexed = btf.path(task, "in.sets[3].pad").unwrap();
    assert_eq!((indexed.len(), indexed[1].offset), (2, 3 * 40));
    // The last hop may be a pointer, and then says what it points to.
    let last = btf.path(task, "user").unwrap();
    let user = Tags { user: true, ..Tags::default() };
    assert_eq!(last, [Hop { tags: user, ..load(32, user_pointer, set) }]);

    let error = btf.path(task, "in.sets.all[2].id.x").unwrap_err().to_string();
    assert_eq!(
        error,
        "`in.sets.all[2].id` in `in.sets.all[2].id.x` is `int`, which has no members"
    );
}

#[test]
fn reads_enums_of_both_widths() {
    let mut blob = Blob::new();
    blob.enumeration("signed", true, &[("MINUS", -1), ("ONE", 1)]);
    blob.enumeration("unsigned", false, &[("ALL", -1)]);
    blob.enumeration64("wide", false, &[("TOP", 1 << 63 | 5)]);
    blob.enumeration("", false, &[("NAMELESS", 7)]);
    let btf = read(&blob);

    assert_eq!(btf.enumerator("signed", "MINUS"), Some(-1));
    assert_eq!(btf.enumerator("unsigned", "ALL"), Some(0xffff_ffff));
    assert_eq!(btf.enumerator("wide", "TOP"), Some((1_u64 << 63 | 5) as i64));
    assert_eq!(btf.enumerator("signed", "ALL"), None);
    assert_eq!(btf.constant("NAMELESS"), Some(7));
    assert_eq!(btf.constant("TOP"), Some((1_u64 << 63 | 5) as i64));

    // From a maker that marks no enum, plain C rules: constants are `int`.
    let mut old = Blob::new();
    old.enumeration("unmarked", false, &[("MINUS", -1)]);
    assert_eq!(read(&old).enumerator("unmarked", "MINUS"), Some(-1));
}

#[test]
fn writes_types_as_c_does() {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let char = blob.int("char", 1);
    let task = blob.structure("task_struct", 8, &[]);
    let const_char = blob.constant(char);
    let string = blob.pointer(const_char);
    let strings = blob.array(string, 16);
    let to_strings = blob.pointer(strings);
    let task_pointer = blob.pointer(task);
    let const_pointer = blob.constant(task_pointer);
    let compare = blob.prototype(int, &[("", task_pointer), ("key", string)]);
    let callback = blob.pointer(compare);
    let volatile = blob.volatile(int);
    let user = blob.type_tag("user", const_char);
    let user_string = blob.pointer(user);
    let variadic = blob.prototype(TypeId::VOID, &[("format", string), ("", TypeId::VOID)]);
    let print = blob.func("print", variadic);
    let nothing = blob.prototype(TypeId::VOID, &[]);
    let exit = blob.func("exit", nothing);
    let nameless = blob.union("", 4, &[]);
    let forward = blob.forward("hidden");
    let btf = read(&blob);

    let shown = [
        (TypeId::VOID, "void"),
        (string, "const char *"),
        (strings, "const char *[16]"),
        (to_strings, "const char *(*)[16]"),
        (const_pointer, "struct task_struct *const"),
        (callback, "int (*)(struct task_struct *, const char *key)"),
        (volatile, "volatile int"),
        (user_string, "__user const char *"),
        (print, "void print(const char *format, ...)"),
        (exit, "void exit(void)"),
        (nameless, "union (anonymous)"),
        (forward, "struct hidden"),
        (TypeId(999), "?"),
    ];
    for (id, text) in shown {
        assert_eq!(btf.display(id), text);
    }
    assert_eq!(
        btf.declaration(callback, "cmp"),
        "int (*cmp)(struct task_struct *, const char *key)"
    );
    assert_eq!(btf.prototype_text(exit), "void exit(void)");
    assert!(btf.prototype(print).unwrap().variadic);
    assert_eq!(btf.prototype(print).unwrap().params.len(), 1);
    assert_eq!(btf.prototype(callback).unwrap().ret, int);
    assert!(matches!(btf.prototype(task_pointer), Err(BtfError::NotFunction(_))));
}

#[test]
fn drops_the_kernels_own_parameter_of_a_tracepoint_and_names_the_rest() {
    let mut blob = Blob::new();
    let data = blob.pointer(TypeId::VOID);
    let int = blob.int("int", 4);
    let unnamed = blob.prototype(TypeId::VOID, &[("", data), ("", int)]);
    let pointer = blob.pointer(unnamed);
    blob.typedef("btf_trace_tick", pointer);
    let named = blob.prototype(TypeId::VOID, &[("__data", data), ("cpu", int)]);
    blob.func("__bpf_trace_tick", named);
    blob.typedef("btf_trace_silent", pointer);
    let empty = blob.prototype(TypeId::VOID, &[]);
    let to_empty = blob.pointer(empty);
    blob.typedef("btf_trace_empty", to_empty);
    let btf = read(&blob);

    let param = |name: &str| Param { name: name.into(), ty: int };
    assert_eq!(btf.tracepoint_prototype("tick").unwrap().params, [param("cpu")]);
    assert_eq!(btf.tracepoint_prototype("silent").unwrap().params, [param("")]);
    assert!(matches!(btf.tracepoint_prototype("empty"), Err(BtfError::NoTracepoint(_))));
    assert!(matches!(btf.tracepoint_prototype("tack"), Err(BtfError::NoTracepoint(_))));
}

#[test]
fn a_module_continues_its_base() {
    let mut base = Blob::new();
    let int = base.int("int", 4);
    let shared = base.structure("shared", 4, &[("x", int, 0)]);
    base.structure("twin", 4, &[]);
    let mut module = Blob::on(&base);
    let twin = module.structure("twin", 16, &[("inner", shared, 64)]);
    let proto = module.prototype(int, &[("arg", twin)]);
    let func = module.func("module_func", proto);
    let base = Arc::new(read(&base));
    let btf = Btf::split(base.clone(), module.bytes()).unwrap();

    assert_eq!(twin, TypeId(base.len()));
    assert_eq!(btf.find_struct("shared").unwrap(), shared);
    assert_eq!(btf.find_all(Kind::Struct, "twin"), [twin, TypeId(3)]);
    assert_eq!(btf.field(twin, "inner.x").unwrap(), no_bits(8, int, 4));
    assert_eq!(btf.prototype_text(func), "int module_func(struct twin arg)");
    assert!(base.find(Kind::Func, "module_func").is_none());
    assert_eq!(btf.list_funcs().collect::<Vec<_>>(), [(func, "module_func")]);
    assert_eq!(btf.of_kind(Kind::Struct).count(), 3);
}

#[test]
fn a_missing_kernel_btf_says_what_to_do() {
    let missing = "/nonexistent/vmlinux";
    let error = Btf::from_file(missing).unwrap_err().to_string();
    assert!(error.starts_with("cannot read BTF from /nonexistent/vmlinux: "), "{error}");
    let error = BtfError::NoKernelBtf { tried: vec![missing.into()] }.to_string();
    assert!(error.contains(missing) && error.contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
}
