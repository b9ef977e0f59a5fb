//! Unix socket addresses: `struct sockaddr_un`, in memory of the process or of the kernel.
//!
//! In the record: the family (u16), whether the name is abstract (u16), padding, then the path as
//! filters see it: of an abstract name with `@` where the address has NUL. Addresses of other families
//! and of unnamed sockets have no path. Where the length of the address is not known, an abstract name
//! ends at its next NUL.

use super::network::UNIX;
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::Emitter;
use crate::emit::load::status;
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Cond, Size, Value};

/// Bytes before the path.
const HEAD: i32 = 8;
/// Whether the name is abstract, in the head.
const ABSTRACT: i16 = 2;
/// Where the path is in the address: `offsetof(struct sockaddr_un, sun_path)`.
const PATH: i32 = 2;
/// Longest path: `UNIX_PATH_MAX`.
const PATH_MAX: i32 = 108;

/// A Unix socket address.
pub(crate) struct Unix;

impl Kind for Unix {
    fn head(&self) -> i32 {
        HEAD
    }

    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let Capture { input, loaded, to, fault } = *capture;
        let address = e.socket_address(input, loaded, fault);
        let memory = address.memory;
        // The family in the low half of the word; zero above.
        e.b.store(Size::U64, to, 0, address.family);
        let done = e.b.create_block();
        let total = e.b.append_param(done);
        let none = e.b.iconst(HEAD.into());
        let on = e.b.create_block();
        e.b.branch(Cond::Ne, address.family, UNIX, done, &[none], on, &[]);
        e.b.switch_to(on);
        let from = e.b.add(address.start, PATH);
        let path = e.b.add(to, HEAD);
        let known = match &input.length {
            Some(length) => {
                let length = e.length_of(length)?;
                let on = e.b.create_block();
                e.b.branch(Cond::Ule, length, PATH, done, &[none], on, &[]);
                e.b.switch_to(on);
                let length = e.b.sub(length, PATH);
                let most = |b: &mut ebpf::FunctionBuilder| b.iconst(PATH_MAX.into());
                Some(crate::flow::choose(&mut e.b, Cond::Ugt, length, PATH_MAX, most, |_| length))
            }
            None => None,
        };
        let one = e.b.iconst(1);
        let failed = e.read_memory(memory, path, one, from);
        e.fault_if(Cond::Ne, failed, 0, fault, status::ADDRESS);
        let first = e.b.load(Size::U8, path, 0);
        let (name, path_name) = (e.b.create_block(), e.b.create_block());
        e.b.brif(Cond::Eq, first, 0, name, path_name);

        e.b.switch_to(path_name);
        let room = match known {
            Some(length) => e.b.add(length, 1),
            None => e.b.iconst(i64::from(PATH_MAX) + 1),
        };
        let copied = e.read_text(memory, path, room, from);
        e.fault_if(Cond::Sle, copied, 0, fault, status::ADDRESS);
        e.fault_if(Cond::Sgt, copied, PATH_MAX + 1, fault, status::ADDRESS);
        let length = e.b.add(copied, HEAD - 1);
        e.b.jump(done, &[length]);

        e.b.switch_to(name);
        let length = match known {
            Some(length) => {
                let failed = e.read_memory(memory, path, length, from);
                e.fault_if(Cond::Ne, failed, 0, fault, status::ADDRESS);
                length
            }
            None => {
                let (to, from) = (e.b.add(path, 1), e.b.add(from, 1));
                let length = e.copy_text(memory, to, from, PATH_MAX - 1, fault);
                let on = e.b.create_block();
                e.b.branch(Cond::Eq, length, 0, done, &[none], on, &[]);
                e.b.switch_to(on);
                e.b.add(length, 1)
            }
        };
        e.b.store(Size::U8, path, 0, i32::from(b'@'));
        e.b.store(Size::U16, to, ABSTRACT, 1);
        let length = e.b.add(length, HEAD);
        e.b.jump(done, &[length]);
        e.b.switch_to(done);
        Ok(total)
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let family = bytes::array(bytes, 0).map(u16::from_ne_bytes)?;
        let is_abstract = bytes::array::<2>(bytes, ABSTRACT as usize)? != [0; 2];
        let mut path = bytes.get(HEAD as usize..)?.to_vec();
        if let (true, Some(first)) = (is_abstract, path.first_mut()) {
            *first = 0;
        }
        Some(Observed::UnixAddress { family, path })
    }
}
