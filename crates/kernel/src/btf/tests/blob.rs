//! Writes BTF, for tests.

use super::super::TypeId;

/// BTF in the making. Type ids are given out in order.
pub(super) struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
    next: u32,
    string_start: u32,
}

impl Blob {
    pub(super) fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], next: 1, string_start: 0 }
    }

    /// A blob whose types continue `base`.
    pub(super) fn on(base: &Blob) -> Self {
        let string_start = base.string_start + base.strings.len() as u32;
        Self { types: Vec::new(), strings: Vec::new(), next: base.next, string_start }
    }

    pub(super) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let offset = self.string_start + self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        offset
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.types.extend_from_slice(&word.to_ne_bytes()));
    }

    /// A record: kind number, flag, count, size or type, and the words behind.
    pub(super) fn raw(
        &mut self,
        name: &str,
        kind: u32,
        flag: bool,
        count: usize,
        word: u32,
        tail: &[u32],
    ) -> TypeId {
        let name = self.string(name);
        self.words(&[name, u32::from(flag) << 31 | kind << 24 | count as u32, word]);
        self.words(tail);
        self.next += 1;
        TypeId(self.next - 1)
    }

    pub(super) fn next(&self) -> TypeId {
        TypeId(self.next)
    }

    pub(super) fn int(&mut self, name: &str, size: u32) -> TypeId {
        self.raw(name, 1, false, 0, size, &[size * 8])
    }

    /// An integer type as old compilers describe a bitfield with.
    pub(super) fn int_bits(&mut self, name: &str, size: u32, offset: u32, bits: u32) -> TypeId {
        self.raw(name, 1, false, 0, size, &[offset << 16 | bits])
    }

    pub(super) fn pointer(&mut self, to: TypeId) -> TypeId {
        self.raw("", 2, false, 0, to.0, &[])
    }

    pub(super) fn array(&mut self, element: TypeId, length: u32) -> TypeId {
        self.raw("", 3, false, 0, 0, &[element.0, 1, length])
    }

    /// Members: name, type, offset in bits.
    pub(super) fn structure(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, TypeId, u32)],
    ) -> TypeId {
        let tail = self.named(members);
        self.raw(name, 4, false, members.len(), size, &tail)
    }

    pub(super) fn union(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, TypeId, u32)],
    ) -> TypeId {
        let tail = self.named(members);
        self.raw(name, 5, false, members.len(), size, &tail)
    }

    /// Members: name, type, offset in bits, width in bits or 0.
    pub(super) fn bitfields(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, TypeId, u32, u32)],
    ) -> TypeId {
        let members: Vec<_> = members.iter().map(|m| (m.0, m.1, m.3 << 24 | m.2)).collect();
        let tail = self.named(&members);
        self.raw(name, 4, true, members.len(), size, &tail)
    }

    fn named(&mut self, entries: &[(&str, TypeId, u32)]) -> Vec<u32> {
        entries.iter().flat_map(|&(name, ty, last)| [self.string(name), ty.0, last]).collect()
    }

    pub(super) fn enumeration(
        &mut self,
        name: &str,
        signed: bool,
        values: &[(&str, i32)],
    ) -> TypeId {
        let tail: Vec<_> = values.iter().flat_map(|v| [self.string(v.0), v.1 as u32]).collect();
        self.raw(name, 6, signed, values.len(), 4, &tail)
    }

    pub(super) fn enumeration64(
        &mut self,
        name: &str,
        signed: bool,
        values: &[(&str, u64)],
    ) -> TypeId {
        let tail: Vec<_> = values
            .iter()
            .flat_map(|v| [self.string(v.0), v.1 as u32, (v.1 >> 32) as u32])
            .collect();
        self.raw(name, 19, signed, values.len(), 8, &tail)
    }

    pub(super) fn forward(&mut self, name: &str) -> TypeId {
        self.raw(name, 7, false, 0, 0, &[])
    }

    pub(super) fn typedef(&mut self, name: &str, ty: TypeId) -> TypeId {
        self.raw(name, 8, false, 0, ty.0, &[])
    }

    pub(super) fn volatile(&mut self, ty: TypeId) -> TypeId {
        self.raw("", 9, false, 0, ty.0, &[])
    }

    pub(super) fn constant(&mut self, ty: TypeId) -> TypeId {
        self.raw("", 10, false, 0, ty.0, &[])
    }

    pub(super) fn type_tag(&mut self, tag: &str, ty: TypeId) -> TypeId {
        self.raw(tag, 18, false, 0, ty.0, &[])
    }

    pub(super) fn prototype(&mut self, ret: TypeId, params: &[(&str, TypeId)]) -> TypeId {
        let tail: Vec<_> = params.iter().flat_map(|p| [self.string(p.0), p.1.0]).collect();
        self.raw("", 13, false, params.len(), ret.0, &tail)
    }

    pub(super) fn func(&mut self, name: &str, prototype: TypeId) -> TypeId {
        self.raw(name, 12, false, 1, prototype.0, &[])
    }

    /// The bytes, header first.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&0xeb9f_u16.to_ne_bytes());
        out.extend_from_slice(&[1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            out.extend_from_slice(&u32::to_ne_bytes(word));
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }
}
