//! Post with a rate limit: an event is not sent when an equal one was within the interval. It is counted.
//!
//! Equal are events of the same hook and selector by the same thread, process or anybody, with equal
//! values: a hash over what was captured, so that long values that differ late are not taken for equal.
//! When events were last sent is kept in an LRU map; what falls out of it is sent again.

use crate::Error;
use crate::emit::Emitter;
use crate::emit::map::{counter, limit};
use crate::emit::record::at;
use crate::emit::scratch::RECORD_SIZE;
use crate::emit::section::Section;
use crate::flow::return_if;
use crate::helper;
use ebpf::{Block, Cond, Function, FunctionBuilder, Size, Value};
use policy::checked::{Action, RateLimit, RateLimitScope, Selector};

/// The limit of a selector's events.
pub(crate) fn of(selector: &Selector) -> Option<RateLimit> {
    let mut actions = selector.actions.iter().chain(&selector.return_actions);
    actions.find_map(|action| match &action.value {
        Action::Post(post) => post.rate_limit,
        _ => None,
    })
}

/// Whether events of a hook have limits.
pub(crate) fn any(selectors: &[Selector]) -> bool {
    selectors.iter().any(|selector| of(selector).is_some())
}

/// FNV-1a over 64-bit words.
const SEED: i64 = 0xcbf2_9ce4_8422_2325_u64 as i64;
const PRIME: i64 = 0x0000_0100_0000_01b3;

impl Emitter<'_> {
    /// Zeroes what stands behind the end of an item, up to the next multiple of 8: equal items of
    /// events with a limit have equal words. `offset`: where the item's value starts in the record.
    pub(crate) fn zero_behind(&mut self, area: Value, offset: Value, length: Value) {
        let done = self.b.create_block();
        let rest = self.b.and(length, 7);
        self.unless(Cond::Eq, rest, 0, done);
        let whole = self.b.sub(length, rest);
        let last = self.b.add(offset, whole);
        self.unless(Cond::Ugt, last, RECORD_SIZE - 8, done);
        let b = &mut self.b;
        let at = b.add(area, last);
        let word = b.load(Size::U64, at, 0);
        let unused = b.iconst(8);
        let unused = b.sub(unused, rest);
        let bits = b.shl(unused, 3);
        let word = if cfg!(target_endian = "little") {
            let word = b.shl(word, bits);
            b.lshr(word, bits)
        } else {
            let word = b.lshr(word, bits);
            b.shl(word, bits)
        };
        b.store(Size::U64, at, 0, word);
        b.jump(done, &[]);
        b.switch_to(done);
    }

    /// Goes to `limited` when the selector has a limit and an equal event was sent within it. The
    /// record is complete but for its header. `entry`: on a return, the digest of the entry's record.
    pub(crate) fn unless_limited(
        &mut self,
        section: &Section,
        selector: Value,
        now: Value,
        entry: Option<Value>,
        limited: Block,
    ) {
        let hook = section.hook.clone();
        for (index, one) in hook.selectors.iter().enumerate() {
            let Some(limit) = of(one) else { continue };
            let (mine, other) = (self.b.create_block(), self.b.create_block());
            self.b.brif(Cond::Eq, selector, index as i32 + 1, mine, other);
            self.b.switch_to(mine);
            let hash = self.digest();
            let hash = match entry {
                Some(entry) => self.b.xor(hash, entry),
                None => hash,
            };
            self.limited((section.number, selector), limit, now, hash, limited);
            self.b.jump(other, &[]);
            self.b.switch_to(other);
        }
    }

    /// A hash of the record's items.
    pub(crate) fn digest(&mut self) -> Value {
        let area = self.scratch();
        let length = self.b.get(self.length);
        self.b.call_func(self.functions.digest, &[area, length])
    }

    fn limited(
        &mut self,
        (section, selector): (u32, Value),
        rate: RateLimit,
        now: Value,
        hash: Value,
        limited: Block,
    ) {
        let b = &mut self.b;
        let who = match rate.scope {
            RateLimitScope::Global => b.iconst(0),
            RateLimitScope::Thread => b.call(helper::GET_CURRENT_PID_TGID, &[]),
            RateLimitScope::Process => {
                let ids = b.call(helper::GET_CURRENT_PID_TGID, &[]);
                b.lshr(ids, 32)
            }
        };
        let key = b.slot(limit::KEY_SIZE as u32, 8);
        let own = b.iconst(i64::from(section) << 32);
        let own = b.or(own, selector);
        b.slot_store(Size::U64, key, limit::SELECTOR, own);
        b.slot_store(Size::U64, key, limit::WHO, who);
        b.slot_store(Size::U64, key, limit::VALUES, hash);
        let limits = b.map(self.maps.limits);
        let at = b.slot_addr(key, 0);
        let last = b.call(helper::MAP_LOOKUP_ELEM, &[limits, at]);
        let [known, first, again, send] = [(); 4].map(|()| b.create_block());
        b.brif(Cond::Ne, last, 0, known, first);
        b.switch_to(known);
        let before = b.load(Size::U64, last, 0);
        let passed = b.sub(now, before);
        let interval = b.iconst(rate.interval.as_nanos().min(i64::MAX as u128) as i64);
        b.brif(Cond::Ult, passed, interval, again, first);
        b.switch_to(again);
        self.count_of(selector, counter::LIMITED);
        self.b.jump(limited, &[]);
        let b = &mut self.b;
        b.switch_to(first);
        let time = b.temporary(8, 8);
        b.slot_store(Size::U64, time, 0, now);
        let limits = b.map(self.maps.limits);
        let (at, time) = (b.slot_addr(key, 0), b.slot_addr(time, 0));
        let flags = b.iconst(0);
        b.call(helper::MAP_UPDATE_ELEM, &[limits, at, time, flags]);
        b.jump(send, &[]);
        b.switch_to(send);
    }
}

/// The function that digests the items of a record: `(area, length)` gives a hash.
pub(crate) fn digest(step: ebpf::FuncId) -> Result<Function, Error> {
    let mut b = FunctionBuilder::new("tg_digest", 2);
    let (area, length) = (b.param(0), b.param(1));
    let slot = b.slot(DIGEST_SIZE, 8);
    b.slot_store(Size::U64, slot, AREA, area);
    let seed = b.iconst(SEED);
    b.slot_store(Size::U64, slot, HASH, seed);
    b.slot_store(Size::U64, slot, WORD, i32::from(at::SIZE) / 8);
    let words = b.sub(length, i32::from(at::SIZE));
    let words = b.lshr(words, 3);
    let words = b.and(words, WORDS_MASK);
    let step = b.func_addr(step);
    let context = b.slot_addr(slot, 0);
    let flags = b.iconst(0);
    b.call(helper::LOOP, &[words, step, context, flags]);
    let hash = b.slot_load(Size::U64, slot, HASH);
    b.ret(hash);
    Ok(b.finish()?)
}

/// What the step finds: address of the area, the hash so far, the next word's number (u64 each).
const AREA: i16 = 0;
const HASH: i16 = 8;
const WORD: i16 = 16;
const DIGEST_SIZE: u32 = 24;
/// Words that a record can have.
const WORDS: i32 = RECORD_SIZE / 8;
/// More than that; a power of two, less one.
const WORDS_MASK: i32 = 4095;

/// The step of [`digest`].
pub(crate) fn digest_step() -> Result<Function, Error> {
    let mut b = FunctionBuilder::new("tg_digest_step", 2);
    let context = b.param(1);
    let area = b.load(Size::U64, context, AREA);
    let number = b.load(Size::U64, context, WORD);
    let next = b.add(number, 1);
    b.store(Size::U64, context, WORD, next);
    return_if(&mut b, Cond::Uge, number, WORDS, 1);
    let offset = b.shl(number, 3);
    let from = b.add(area, offset);
    let word = b.load(Size::U64, from, 0);
    let hash = b.load(Size::U64, context, HASH);
    let hash = b.xor(hash, word);
    let prime = b.iconst(PRIME);
    let hash = b.mul(hash, prime);
    // Multiplying carries upwards only: without this, low bits would never see high ones.
    let high = b.lshr(hash, 29);
    let hash = b.xor(hash, high);
    b.store(Size::U64, context, HASH, hash);
    b.ret(0);
    Ok(b.finish()?)
}
