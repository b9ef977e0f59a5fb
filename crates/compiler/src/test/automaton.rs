//! Whether a regular expression matches a part of a text: the automaton's table is a map, and a `bpf_loop`
//! callback goes from state to state, a few bytes at a time, until it is decided.
//!
//! States are places in the table, where their rows begin. The one that it is in is kept in the scratch area:
//! of what is on the caller's stack, the verifier of before Linux 6.7 thinks that it stays as it was before
//! the first step.

use crate::Error;
use crate::emit::record::Bytes;
use crate::emit::scratch::{PLACE_MASK, PLACES, STATE};
use crate::emit::table::{TableKind, TableSpec};
use crate::emit::{Emitter, Targets};
use crate::helper;
use ebpf::{Cond, Function, FunctionBuilder, MapRef, Size, Value};
use policy::checked::Automaton;

/// What the callback finds on the stack.
mod at {
    /// The text (pointer).
    pub(super) const START: i16 = 0;
    /// The scratch area (pointer).
    pub(super) const AREA: i16 = 8;
    /// The text's length (u64).
    pub(super) const LENGTH: i16 = 16;
    /// Size.
    pub(super) const SIZE: u32 = 24;
}

/// Tables that a program may have before no more of these are added: the kernel takes 64 maps
/// (`MAX_USED_MAPS`), some of which are shared by all programs.
const TABLES_MAX: usize = 40;

/// In the map: the column of each byte, then the rows, whose entries are places of rows (u16).
const ROWS: u32 = 256;

/// A table in a map.
#[derive(Clone, Copy)]
struct Table {
    map: MapRef,
    /// Bounds places.
    mask: i32,
    /// Entries in a row.
    columns: i32,
}

/// Goes to `yes` when a part of the text matches, else to `no`.
pub(crate) fn matches(
    e: &mut Emitter<'_>,
    text: Bytes,
    automaton: &Automaton,
    to: Targets,
) -> Result<(), Error> {
    if e.table_count() >= TABLES_MAX {
        let pattern = automaton.pattern();
        return Err(Error::Unsupported(format!(
            "`{pattern}` besides {TABLES_MAX} other tables of one program"
        )));
    }
    let columns = automaton.columns();
    let entries = automaton.next().len().next_power_of_two();
    let place = |state: &u16| (usize::from(*state) * columns) as u16;
    let mut bytes = automaton.classes().to_vec();
    bytes.extend(automaton.next().iter().flat_map(|state| place(state).to_ne_bytes()));
    bytes.resize(ROWS as usize + 2 * entries, 0);
    let map = e.table(TableSpec {
        kind: TableKind::Array,
        key_size: 4,
        value_size: bytes.len() as u32,
        entries: vec![(0_u32.to_ne_bytes().to_vec(), bytes)],
    });
    let table = Table { map, mask: entries as i32 - 1, columns: columns as i32 };
    let step = e.function("tg_match", step(table)?);
    let area = e.scratch();
    let b = &mut e.b;
    b.store(Size::U64, area, STATE as i16, 2 * table.columns);
    let given = b.temporary(at::SIZE, 8);
    b.slot_store(Size::U64, given, at::START, text.start);
    b.slot_store(Size::U64, given, at::AREA, area);
    b.slot_store(Size::U64, given, at::LENGTH, text.length);
    let step = b.func_addr(step);
    let given = b.slot_addr(given, 0);
    let flags = b.iconst(0);
    let steps = b.add(text.length, PLACES - 1);
    let steps = b.lshr(steps, PLACES.trailing_zeros() as i32);
    b.call(helper::LOOP, &[steps, step, given, flags]);
    let state = b.load(Size::U64, area, STATE as i16);
    // Of the two states that decide nothing leads out, so that the end may be asked in any case.
    let last = b.iconst(i64::from(table.columns) - 1);
    let state = table.follow(b, state, last);
    e.b.brif(Cond::Eq, state, table.columns, to.yes, to.no);
    Ok(())
}

impl Table {
    /// The state that a column leads to.
    fn follow(self, b: &mut FunctionBuilder, state: Value, column: Value) -> Value {
        let at = b.add(state, column);
        let at = b.and(at, self.mask);
        let at = b.shl(at, 1);
        let rows = b.map_value(self.map, ROWS);
        let entry = b.add(rows, at);
        b.load(Size::U16, entry, 0)
    }
}

/// The callback: goes on by a few bytes. Gives 1, to stop, when it is decided.
fn step(table: Table) -> Result<Function, Error> {
    let mut b = FunctionBuilder::new("tg_match", 2);
    let (index, given) = (b.param(0), b.param(1));
    let place = b.shl(index, PLACES.trailing_zeros() as i32);
    let start = b.load(Size::U64, given, at::START);
    let area = b.load(Size::U64, given, at::AREA);
    let length = b.load(Size::U64, given, at::LENGTH);
    let rest = b.sub(length, place);
    let place = b.and(place, PLACE_MASK);
    let here = b.add(start, place);
    let columns = b.map_value(table.map, 0);
    let mut state = b.load(Size::U64, area, STATE as i16);
    let [stop, last] = [(); 2].map(|()| b.create_block());
    let (stopped, reached) = (b.append_param(stop), b.append_param(last));
    for after in 0..PLACES {
        let on = b.create_block();
        if after > 0 {
            let there = b.create_block();
            b.branch(Cond::Ugt, rest, after, there, &[], last, &[state]);
            b.switch_to(there);
        }
        let byte = b.load(Size::U8, here, after as i16);
        let column = b.add(columns, byte);
        let column = b.load(Size::U8, column, 0);
        state = table.follow(&mut b, state, column);
        b.branch(Cond::Ugt, state, table.columns, on, &[], stop, &[state]);
        b.switch_to(on);
    }
    b.jump(last, &[state]);
    for (block, state, result) in [(stop, stopped, 1), (last, reached, 0)] {
        b.switch_to(block);
        b.store(Size::U64, area, STATE as i16, state);
        b.ret(result);
    }
    Ok(b.finish()?)
}
