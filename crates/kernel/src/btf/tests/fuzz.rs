//! Random damage to BTF: whatever is read as sound can be asked anything, without a panic and in
//! bounded time.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::blob::Blob;

/// A blob with every kind of record.
fn everything() -> Blob {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let char = blob.int("char", 1);
    let bits = blob.int_bits("unsigned int", 4, 3, 5);
    let array = blob.array(char, 16);
    let next = TypeId(blob.next().0 + 4);
    let pointer = blob.pointer(next);
    let constant = blob.constant(char);
    let tag = blob.type_tag("rcu", constant);
    let string = blob.pointer(tag);
    blob.structure(
        "task_struct",
        64,
        &[("comm", array, 0), ("parent", pointer, 128), ("name", string, 192), ("", next, 256)],
    );
    blob.bitfields("flags", 8, &[("a", int, 0, 3), ("b", int, 3, 7), ("c", bits, 32, 0)]);
    blob.union("either", 4, &[("x", int, 0), ("y", bits, 0)]);
    blob.enumeration("colour", true, &[("RED", -1), ("GREEN", 2)]);
    blob.enumeration64("wide", false, &[("BIG", u64::MAX)]);
    blob.forward("later");
    let proto = blob.prototype(int, &[("task", pointer), ("name", string), ("", TypeId::VOID)]);
    let func = blob.func("do_it", proto);
    let to_proto = blob.pointer(proto);
    blob.typedef("btf_trace_tick", to_proto);
    blob.volatile(int);
    let variable = blob.raw("current", 14, false, 0, pointer.0, &[1]);
    blob.raw(".data", 15, false, 1, 8, &[variable.0, 0, 8]);
    blob.raw("double", 16, false, 0, 8, &[]);
    blob.raw("bpf_kfunc", 17, false, 0, func.0, &[u32::MAX]);
    blob.raw("", 11, false, 0, string.0, &[]);
    blob
}

/// Asks all there is to ask of up to `most` types.
fn ask_everything(btf: &Btf, most: u32) {
    for id in (0..btf.len().min(most)).chain([u32::MAX]).map(TypeId) {
        match btf.ty(id) {
            Ok(Type::Struct(composite) | Type::Union(composite)) => {
                for member in composite.members().take(100) {
                    let _ = btf.field(id, member.name);
                    let _ = btf.path(id, &format!("{}.comm[3]", member.name));
                }
                assert!(btf.field(id, "no_such_member").is_err());
            }
            Ok(Type::Enum(of)) => assert!(of.values().take(1000).all(|(name, _)| name != "\0")),
            Ok(Type::DataSection(section)) => drop(section.variables().take(1000).count()),
            Ok(_) => {}
            Err(_) => assert!(id.0 >= btf.len(), "type {id}"),
        }
        let _ = (btf.size_of(id), btf.prototype(id), btf.tags(id), btf.pointee(id));
        assert!(!btf.kind(btf.peel(id)).is_modifier());
        // Names are as long as the data says; what nesting adds is bounded.
        let _ = (btf.display(id), btf.prototype_text(id));
    }
    for name in ["task_struct", "do_it", "colour", ""] {
        let _ = (btf.find_struct(name), btf.find_func(name), btf.enumerator(name, "RED"));
    }
    let _ = (btf.tracepoint_prototype("tick"), btf.constant("BIG"), btf.list_funcs().count());
}

/// Places and values to overwrite, as fractions of the length.
fn damage() -> impl Strategy<Value = Vec<(f64, u32, bool)>> {
    let value = prop_oneof![0_u32..64, any::<u32>(), (0_u32..21).prop_map(|kind| kind << 24 | 3)];
    vec((0.0..1.0, value, any::<bool>()), 1..8)
}

fn apply(bytes: &mut [u8], damage: &[(f64, u32, bool)]) {
    for &(place, value, whole_word) in damage {
        let at = (place * bytes.len() as f64) as usize;
        match whole_word {
            true => {
                let at = at / 4 * 4;
                if let Some(word) = bytes.get_mut(at..at + 4) {
                    word.copy_from_slice(&value.to_ne_bytes());
                }
            }
            false => bytes[at] = value as u8,
        }
    }
}

#[test]
fn everything_is_sound() {
    let blob = everything();
    let btf = Btf::from_bytes(blob.bytes()).unwrap();
    ask_everything(&btf, u32::MAX);
    assert_eq!(btf.len(), blob.next().0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_data_is_refused_or_answers(damage in damage(), cut in 0.0..4.0) {
        let mut bytes = everything().bytes();
        apply(&mut bytes, &damage);
        if cut < 1.0 {
            bytes.truncate((cut * bytes.len() as f64) as usize);
        }
        if let Ok(btf) = Btf::from_bytes(bytes) {
            ask_everything(&btf, u32::MAX);
        }
    }

    #[test]
    fn damaged_modules_are_refused_or_answer(damage in damage()) {
        let base = everything();
        let mut module = Blob::on(&base);
        let alias = module.typedef("alias", TypeId(9));
        module.structure("own", 64, &[("it", alias, 0), ("", TypeId(9), 0)]);
        let mut bytes = module.bytes();
        apply(&mut bytes, &damage);
        let base = Arc::new(Btf::from_bytes(base.bytes()).unwrap());
        if let Ok(btf) = Btf::split(base, bytes) {
            ask_everything(&btf, u32::MAX);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_answer(types in vec(0_u32..64, 0..200), raw in any::<bool>()) {
        let mut bytes = Blob::new().bytes();
        if raw {
            bytes.clear();
        }
        bytes.splice(bytes.len().min(24)..bytes.len().min(24), types.iter().flat_map(|word| {
            // Mostly small words, with a kind in the upper byte of every third.
            ((word << 24) | (word % 5)).to_ne_bytes()
        }));
        if !raw {
            let length = types.len() as u32 * 4;
            bytes[12..16].copy_from_slice(&length.to_ne_bytes());
            bytes[16..20].copy_from_slice(&length.to_ne_bytes());
        }
        if let Ok(btf) = Btf::from_bytes(bytes) {
            ask_everything(&btf, u32::MAX);
        }
    }

    #[test]
    fn any_path_is_refused_or_followed(path in "[a-z_.\\[\\]0-9]{0,24}|\\PC{0,12}") {
        let btf = Btf::from_bytes(everything().bytes()).unwrap();
        let task = btf.find_struct("task_struct").unwrap();
        let _ = (btf.field(task, &path), btf.path(task, &path));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_kernels_damaged_btf_is_refused_or_answers(damage in damage()) {
        let Ok(mut bytes) = std::fs::read(KERNEL_BTF) else {
            eprintln!("skipped: no {KERNEL_BTF}");
            return Ok(());
        };
        apply(&mut bytes, &damage);
        if let Ok(btf) = Btf::from_bytes(bytes) {
            ask_everything(&btf, 300);
        }
    }
}
