//! The BTF that probes load with their maps and programs: an `int`, a `u64`, and two functions that take
//! nothing and return `int`.

use crate::btf::TypeId;

/// `int`, 4 bytes.
pub(super) const INT: TypeId = TypeId(1);
/// `u64`, 8 bytes.
pub(super) const U64: TypeId = TypeId(2);
/// The functions.
pub(super) const FUNCTIONS: [TypeId; 2] = [TypeId(4), TypeId(5)];

/// The blob.
pub(super) fn blob() -> Vec<u8> {
    const KIND_INT: u32 = 1 << 24;
    const KIND_FUNC: u32 = 12 << 24;
    const KIND_FUNC_PROTO: u32 = 13 << 24;
    const SIGNED: u32 = 1 << 24;
    let strings = b"\0int\0u64\0first\0second\0";
    let prototype = 3;
    #[rustfmt::skip]
    let types = [
        1, KIND_INT, 4, SIGNED | 32,
        5, KIND_INT, 8, 64,
        0, KIND_FUNC_PROTO, INT.0,
        9, KIND_FUNC, prototype,
        15, KIND_FUNC, prototype,
    ];
    let types_len = size_of_val(&types) as u32;
    let header = [24, 0, types_len, types_len, strings.len() as u32];
    let mut blob = 0xeb9f_u16.to_ne_bytes().to_vec();
    // Version and flags.
    blob.extend([1, 0]);
    header.into_iter().chain(types).for_each(|word: u32| blob.extend(word.to_ne_bytes()));
    blob.extend(strings);
    blob
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Btf;

    #[test]
    fn describes_what_it_says() {
        let btf = Btf::from_bytes(blob()).unwrap();
        assert_eq!((btf.display(INT), btf.size_of(INT).unwrap()), ("int".to_owned(), 4));
        assert_eq!((btf.display(U64), btf.size_of(U64).unwrap()), ("u64".to_owned(), 8));
        let shown = FUNCTIONS.map(|function| btf.prototype_text(function));
        assert_eq!(shown, ["int first(void)", "int second(void)"]);
    }
}
