//! Distances of jumps: labels to offsets, and what to do about those that are too far (see
//! [`layout`](super::layout)).

use super::allocate::Code;
use super::layout::{Item, Test};
use crate::insn::Insn;
use crate::ir::LineId;

/// The farthest a 16-bit jump goes, in slots.
const REACH: i64 = 1 << 14;
/// How far from a jump its island is put: less than it can reach, so that other islands in between do
/// not push it out of reach.
const ISLAND: i64 = REACH * 3 / 4;
/// Islands beget islands; after this many rounds something is wrong.
const ROUNDS: usize = 1000;

/// Turns labels, of which `labels` are used already, into offsets. Fails with the function's size.
pub(super) fn resolve(
    mut items: Vec<Item>,
    mut labels: usize,
    long_jumps: bool,
) -> Result<Vec<Code>, usize> {
    if long_jumps {
        let long = grow(&items, labels);
        return emit(&items, labels, &long);
    }
    for _ in 0..ROUNDS {
        let places = Places::new(&items, labels, &vec![false; items.len()]);
        let far: Vec<usize> = (0..items.len())
            .filter(|&index| places.distance(&items, index).is_some_and(too_far))
            .collect();
        if far.is_empty() {
            break;
        }
        items = add_islands(items, &mut labels, &places, &far);
    }
    let short = vec![false; items.len()];
    emit(&items, labels, &short)
}

fn too_far(distance: i64) -> bool {
    distance.abs() > REACH
}

/// Slots of an item; `long` for jumps that need `gotol`.
fn slots(item: &Item, long: bool) -> i64 {
    match item {
        Item::Label(_) => 0,
        Item::Code(code) => code.insn.slots() as i64,
        Item::Jump { .. } => 1,
        Item::Branch { test, .. } => match (long, test.cond.inverse()) {
            (false, _) => 1,
            (true, Some(_)) => 2,
            (true, None) => 3,
        },
    }
}

/// Where everything is, in slots from the function's start.
struct Places {
    /// Of each item.
    items: Vec<i64>,
    /// Of each label.
    labels: Vec<i64>,
    end: i64,
}

impl Places {
    fn new(items: &[Item], labels: usize, long: &[bool]) -> Self {
        let mut places =
            Self { items: Vec::with_capacity(items.len()), labels: vec![0; labels], end: 0 };
        for (item, &long) in items.iter().zip(long) {
            if let Item::Label(label) = *item {
                places.labels[label] = places.end;
            }
            places.items.push(places.end);
            places.end += slots(item, long);
        }
        places
    }

    /// How far the jump at `index` goes, counted from its own place; `None` if it is none.
    fn distance(&self, items: &[Item], index: usize) -> Option<i64> {
        match items[index] {
            Item::Jump { to, .. } | Item::Branch { to, .. } => {
                Some(self.labels[to] - self.items[index])
            }
            Item::Label(_) | Item::Code(_) => None,
        }
    }
}

/// Which jumps have to be long. A long one makes the program longer, which can make others long.
fn grow(items: &[Item], labels: usize) -> Vec<bool> {
    let mut long = vec![false; items.len()];
    loop {
        let places = Places::new(items, labels, &long);
        let mut changed = false;
        for (index, long) in long.iter_mut().enumerate() {
            let far = places.distance(items, index).is_some_and(too_far);
            if far && !*long {
                *long = true;
                changed = true;
            }
        }
        if !changed {
            return long;
        }
    }
}

/// Sends each jump in `far` over an island, its own or one that is on the way already.
fn add_islands(items: Vec<Item>, labels: &mut usize, places: &Places, far: &[usize]) -> Vec<Item> {
    // Islands by the item they stand before, with their label and where they go.
    let mut islands: Vec<(usize, usize, usize)> = Vec::new();
    let mut items = items;
    for &index in far {
        let here = places.items[index];
        let (Item::Jump { to, .. } | Item::Branch { to, .. }) = &mut items[index] else { continue };
        let there = places.labels[*to];
        let wanted = if there > here { here + ISLAND } else { here - ISLAND };
        let near = |&&(before, _, goes): &&(usize, usize, usize)| {
            let at = places.items[before];
            let between = (at - here) * (at - there) < 0;
            goes == *to && between && (at - here).abs() <= ISLAND && (at - here).abs() > ISLAND / 2
        };
        if let Some(&(_, label, _)) = islands.iter().find(near) {
            *to = label;
            continue;
        }
        // The last item that starts at or before the wanted place, so never farther than wanted when
        // going forward, and by at most one instruction when going back.
        let before = places.items.partition_point(|&at| at <= wanted).saturating_sub(1);
        islands.push((before, *labels, *to));
        *to = *labels;
        *labels += 1;
    }
    islands.sort_unstable();
    let mut out = Vec::with_capacity(items.len() + islands.len() * 3);
    let mut islands = islands.into_iter().peekable();
    for (index, item) in items.into_iter().enumerate() {
        if islands.peek().is_some_and(|&(before, ..)| before == index) {
            // What runs into the islands goes around them.
            let around = *labels;
            let falls = !ends_flow(out.last());
            let line = line_of(out.last());
            if falls {
                *labels += 1;
                out.push(Item::Jump { to: around, line });
            }
            while let Some((_, label, to)) = islands.next_if(|&(before, ..)| before == index) {
                out.extend([Item::Label(label), Item::Jump { to, line: None }]);
            }
            if falls {
                out.push(Item::Label(around));
            }
        }
        out.push(item);
    }
    out
}

/// Whether execution never goes on behind this item.
fn ends_flow(item: Option<&Item>) -> bool {
    match item {
        Some(Item::Jump { .. }) => true,
        Some(Item::Code(code)) => code.insn == Insn::Exit,
        _ => false,
    }
}

fn line_of(item: Option<&Item>) -> Option<LineId> {
    match item {
        Some(Item::Code(code)) => code.line,
        Some(Item::Jump { line, .. } | Item::Branch { line, .. }) => *line,
        _ => None,
    }
}

fn emit(items: &[Item], labels: usize, long: &[bool]) -> Result<Vec<Code>, usize> {
    let places = Places::new(items, labels, long);
    let too_large = places.end as usize;
    let short = |distance: i64| i16::try_from(distance).map_err(|_| too_large);
    let wide = |distance: i64| i32::try_from(distance).map_err(|_| too_large);
    let mut out = Vec::with_capacity(items.len());
    for (index, (item, &long)) in items.iter().zip(long).enumerate() {
        let mut push = |insn, line| out.push(Code { insn, line, link: None });
        match *item {
            Item::Label(_) => {}
            Item::Code(code) => out.push(code),
            Item::Jump { to, line } => {
                let distance = places.labels[to] - places.items[index] - 1;
                if long {
                    push(Insn::JumpLong { off: wide(distance)? }, line);
                } else {
                    push(Insn::Jump { off: short(distance)? }, line);
                }
            }
            Item::Branch { test, to, line } => {
                let behind = places.items[index] + slots(item, long);
                let distance = places.labels[to] - behind;
                if !long {
                    push(test.insn(short(distance)?), line);
                    continue;
                }
                match test.cond.inverse() {
                    Some(cond) => push(Test { cond, ..test }.insn(1), line),
                    None => {
                        push(test.insn(1), line);
                        push(Insn::Jump { off: 1 }, line);
                    }
                }
                push(Insn::JumpLong { off: wide(distance)? }, line);
            }
        }
    }
    Ok(out)
}
