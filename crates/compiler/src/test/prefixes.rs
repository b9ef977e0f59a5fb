//! Tables of prefixes: networks, and ranges of numbers.

use crate::emit::Emitter;
use crate::emit::table::{TableKind, TableSpec};
use crate::helper;
use ebpf::{Block, Cond, Size, Value};

/// The first bits of a number.
pub(crate) struct Prefix {
    /// How many count.
    pub(crate) bits: u32,
    /// The number, its most significant byte first.
    pub(crate) bytes: Vec<u8>,
}

/// Goes to `yes` when the number begins with one of the prefixes, else to `no`. `words`: the number in
/// parts of 64 bits, most significant first, each in host order; the prefixes are as long.
pub(crate) fn lookup(
    e: &mut Emitter<'_>,
    words: &[Value],
    prefixes: &[Prefix],
    yes: Block,
    no: Block,
) {
    let key_size = 4 + 8 * words.len() as u32;
    let entry = |prefix: &Prefix| {
        let key = [&prefix.bits.to_ne_bytes()[..], &prefix.bytes].concat();
        (key, vec![1])
    };
    let table = e.table(TableSpec {
        kind: TableKind::Prefixes,
        key_size,
        value_size: 1,
        entries: prefixes.iter().map(entry).collect(),
    });
    let b = &mut e.b;
    let key = b.temporary(key_size, 4);
    b.slot_store(Size::U32, key, 0, 64 * words.len() as i32);
    for (index, word) in words.iter().enumerate() {
        let upper = b.lshr(*word, 32);
        for (half, part) in [upper, *word].into_iter().enumerate() {
            let part = b.to_be(part, Size::U32);
            b.slot_store(Size::U32, key, (4 + 8 * index + 4 * half) as i16, part);
        }
    }
    let map = b.map(table);
    let key = b.slot_addr(key, 0);
    let found = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]);
    b.brif(Cond::Ne, found, 0, yes, no);
}
