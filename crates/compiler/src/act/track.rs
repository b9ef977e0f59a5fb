//! TrackSock, UntrackSock and `returnArgAction`: which process a socket belongs to.
//!
//! Packets are often seen where some other process runs, or none. The events of a policy that tracks
//! sockets are about the process that its socket was tracked for, if it was. That process is looked up
//! before the actions: the event that ends tracking is the last one that tells it. Filters are about the
//! process that runs.

use crate::Error;
use crate::emit::Emitter;
use crate::emit::load::status;
use crate::emit::map::{counter, owner};
use crate::emit::record::{Position, item};
use crate::emit::scratch::ITEM_MASK;
use crate::emit::section::Section;
use crate::follow::sockets;
use crate::helper;
use crate::plan::Input;
use ebpf::{Block, Cond, Size, Value, Var};
use policy::checked::{ReturnAction, ValueKind};

/// The owner of a section's socket, once it was looked up; all 0: there is none.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// Start time of the process.
    ktime: Var,
    /// Its pid, and the thread (u32 each, as [`owner`] has them).
    ids: Var,
}

impl Emitter<'_> {
    /// Looks up whom the socket among the values of the hook belongs to; the first one that is tracked.
    pub(crate) fn find_owner(&mut self, section: &Section) -> Result<(), Error> {
        if !sockets::asked(section) {
            return Ok(());
        }
        let found = Owner { ktime: self.b.var(), ids: self.b.var() };
        let none = self.b.iconst(0);
        self.b.def(found.ktime, none);
        self.b.def(found.ids, none);
        let done = self.b.create_block();
        let inputs = section.hook.args.iter();
        for input in inputs.filter(|input| input.kind.kind() == ValueKind::Socket) {
            let next = self.b.create_block();
            let known = self.with_owner(section, input, next)?;
            let ktime = self.b.load(Size::U64, known, owner::KTIME);
            let ids = self.b.load(Size::U64, known, owner::PID);
            self.b.def(found.ktime, ktime);
            self.b.def(found.ids, ids);
            self.b.jump(done, &[]);
            self.b.switch_to(next);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        self.owner = Some(found);
        Ok(())
    }

    /// What is known of a socket; goes to `otherwise` where that is nothing.
    fn with_owner(
        &mut self,
        section: &Section,
        input: &Input,
        otherwise: Block,
    ) -> Result<Value, Error> {
        let key = self.socket_key(input, otherwise)?;
        let owners = self.kept(&sockets::name(&section.own));
        let owners = self.b.map(owners);
        let known = self.b.call(helper::MAP_LOOKUP_ELEM, &[owners, key]);
        self.unless(Cond::Eq, known, 0, otherwise);
        Ok(known)
    }

    /// The key of a socket: its address, on the stack. Goes to `none` where there is none.
    fn socket_key(&mut self, input: &Input, none: Block) -> Result<Value, Error> {
        let fault = self.fault_to(none);
        let loaded = self.load(input, fault)?;
        let socket = self.socket(input.kind, loaded, fault)?;
        let b = &mut self.b;
        let key = b.temporary(owner::KEY_SIZE as u32, 8);
        b.slot_store(Size::U64, key, 0, socket.value());
        Ok(b.slot_addr(key, 0))
    }

    /// Makes the current process the owner of a socket, or nobody. A null pointer, which a function that
    /// failed returns, is no socket.
    pub(super) fn track(
        &mut self,
        section: &Section,
        selector: Value,
        input: &Input,
        track: bool,
    ) -> Result<(), Error> {
        let done = self.b.create_block();
        let key = self.socket_key(input, done)?;
        let owners = self.kept(&sockets::name(&section.own));
        if track {
            let value = self.b.slot(owner::SIZE as u32, 8);
            let at = self.b.slot_addr(value, 0);
            self.process(at, owner::KTIME)?;
            let b = &mut self.b;
            let ids = b.call(helper::GET_CURRENT_PID_TGID, &[]);
            b.slot_store(Size::U32, value, owner::TID, ids);
            let owners = b.map(owners);
            let at = b.slot_addr(value, 0);
            let flags = b.iconst(0);
            let refused = b.call(helper::MAP_UPDATE_ELEM, &[owners, key, at, flags]);
            self.unless(Cond::Eq, refused, 0, done);
            self.count_of(selector, counter::FAILED);
        } else {
            let owners = self.b.map(owners);
            self.b.call(helper::MAP_DELETE_ELEM, &[owners, key]);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        Ok(())
    }

    /// Does with the socket that the function returned what its hook says; `selector` as in records.
    pub(crate) fn track_returned(
        &mut self,
        section: &Section,
        selector: Value,
    ) -> Result<(), Error> {
        let hook = section.hook.clone();
        let (Some(action), Some(input)) = (hook.return_action, &hook.returned) else {
            return Ok(());
        };
        self.at(&input.place);
        self.track(section, selector, input, action == ReturnAction::TrackSock)
    }

    /// Appends the owner to the record, if one was found.
    pub(crate) fn append_owner(&mut self) {
        let Some(Owner { ktime, ids }) = self.owner else { return };
        let area = self.scratch();
        let done = self.b.create_block();
        let ktime = self.b.get(ktime);
        self.unless(Cond::Eq, ktime, 0, done);
        let offset = self.b.get(self.length);
        self.unless(Cond::Ugt, offset, ITEM_MASK, done);
        let b = &mut self.b;
        let offset = b.and(offset, ITEM_MASK);
        let at = b.add(area, offset);
        let ids = b.get(ids);
        b.store(Size::U16, at, item::POSITION, i32::from(Position::Owner.code()));
        b.store(Size::U16, at, item::STATUS, i32::from(status::OK));
        b.store(Size::U32, at, item::LENGTH, i32::from(owner::SIZE));
        b.store(Size::U64, at, item::SIZE + owner::KTIME, ktime);
        b.store(Size::U64, at, item::SIZE + owner::PID, ids);
        let end = b.add(offset, i32::from(item::SIZE + owner::SIZE));
        b.def(self.length, end);
        b.jump(done, &[]);
        b.switch_to(done);
    }
}
