//! Post with stacks: the addresses of the kernel's functions, or of the program's, that led to the hook.
//!
//! `bpf_get_stack()` writes them straight into the record, as an item of its own. Nothing is kept in a map,
//! where stacks of equal hash would displace each other. They are taken last, when it is settled that the
//! event is sent, and are no part of what makes events equal (`rateLimit`).
//!
//! The program's is taken twice: by addresses, and by what they are in files (build id and offset), which
//! means something without the process too, should it be gone or run another program when it is looked at.
//!
//! Where the return is awaited, `matchActions` asks for the stack at the entry, `matchReturnActions` for
//! that at the return; of both the entry's is taken, on which the function itself still is.

use crate::emit::Emitter;
use crate::emit::load::status;
use crate::emit::record::{Position, item};
use crate::emit::scratch::{ITEM_MASK, TEXT_MAX};
use crate::emit::section::{Role, Section};
use crate::helper;
use ebpf::{Cond, Size, Value};
use policy::checked::{Action, Placed, Post, Selector};

/// Frames of a stack: what `kernel.perf_event_max_stack` is unless raised.
const FRAMES_MAX: i32 = 127;

// Behind any item there is room for the longest text.
const _: () = assert!(Stack::UserFiles.size() <= TEXT_MAX);

/// Byte offsets in `struct bpf_stack_build_id` (uapi/linux/bpf.h).
pub(crate) mod file {
    /// `BPF_STACK_BUILD_ID_*` (u32).
    pub(crate) const STATUS: usize = 0;
    /// What it says where the rest means something; else the frame is in no file, or in one without
    /// build id.
    pub(crate) const VALID: u32 = 1;
    /// The build id, with zeros behind shorter ones.
    pub(crate) const BUILD_ID: usize = 4;
    /// Where in the file (u64).
    pub(crate) const OFFSET: usize = 24;
    /// Size.
    pub(crate) const SIZE: usize = 32;
}

/// One of the stacks of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stack {
    /// The kernel's.
    Kernel,
    /// The program's.
    User,
    /// The same, by files.
    UserFiles,
}

impl Stack {
    const ALL: [Self; 3] = [Self::Kernel, Self::User, Self::UserFiles];

    /// Flags of `bpf_get_stack()`.
    fn flags(self) -> i64 {
        const USER_STACK: i64 = 1 << 8;
        const USER_BUILD_ID: i64 = 1 << 11;
        match self {
            Self::Kernel => 0,
            Self::User => USER_STACK,
            Self::UserFiles => USER_STACK | USER_BUILD_ID,
        }
    }

    /// Size of all frames: of addresses, or of `struct bpf_stack_build_id`.
    const fn size(self) -> i32 {
        match self {
            Self::Kernel | Self::User => 8 * FRAMES_MAX,
            Self::UserFiles => file::SIZE as i32 * FRAMES_MAX,
        }
    }

    fn asked(self, post: &Post) -> bool {
        match self {
            Self::Kernel => post.kernel_stack,
            Self::User | Self::UserFiles => post.user_stack,
        }
    }

    fn asked_by(self, actions: &[Placed<Action>]) -> bool {
        actions.iter().any(|action| match &action.value {
            Action::Post(post) => self.asked(post),
            _ => false,
        })
    }

    /// Whether a selector's events have it.
    pub(crate) fn of(self, selector: &Selector) -> bool {
        self.asked_by(&selector.actions) || self.asked_by(&selector.return_actions)
    }

    /// Whether a part of a hook takes it.
    fn taken(self, selector: &Selector, role: Role) -> bool {
        match role {
            Role::Whole => self.of(selector),
            Role::Entry => self.asked_by(&selector.actions),
            Role::Return => !self.asked_by(&selector.actions) && self.of(selector),
            Role::Gate(_) | Role::Unmark | Role::Measure | Role::Replace | Role::Enforce => false,
        }
    }
}

impl Emitter<'_> {
    /// Appends the stacks that the selector asks for; `selector` as [`Emitter::act`] has it.
    pub(crate) fn stacks(&mut self, section: &Section, selector: Value) {
        for stack in Stack::ALL {
            let selectors = section.hook.selectors.iter().enumerate();
            let asking = selectors.filter(|(_, one)| stack.taken(one, section.role));
            let asking: Vec<usize> = asking.map(|(index, _)| index).collect();
            if asking.is_empty() {
                continue;
            }
            let (take, done) = (self.b.create_block(), self.b.create_block());
            for index in asking {
                let next = self.b.create_block();
                self.is_selector(section.role, selector, index, take, next);
                self.b.switch_to(next);
            }
            self.b.jump(done, &[]);
            self.b.switch_to(take);
            self.append_stack(stack, done);
            self.b.jump(done, &[]);
            self.b.switch_to(done);
        }
    }

    /// Appends a stack; goes to `none` when there is no room for it, or none can be had: that of a kernel
    /// thread's program, that of the kernel at a program's instruction.
    fn append_stack(&mut self, stack: Stack, none: ebpf::Block) {
        let area = self.scratch();
        let offset = self.b.get(self.length);
        self.unless(Cond::Ugt, offset, ITEM_MASK, none);
        let b = &mut self.b;
        let offset = b.and(offset, ITEM_MASK);
        let at = b.add(area, offset);
        let to = b.add(at, i32::from(item::SIZE));
        let size = b.iconst(stack.size().into());
        let flags = b.iconst(stack.flags());
        let length = b.call(helper::GET_STACK, &[self.raw_context, to, size, flags]);
        self.require(Cond::Sgt, length, 0, none);
        self.unless(Cond::Ugt, length, stack.size(), none); // cannot be; the verifier asks
        let b = &mut self.b;
        b.store(Size::U16, at, item::POSITION, i32::from(Position::Stack(stack).code()));
        b.store(Size::U16, at, item::STATUS, i32::from(status::OK));
        b.store(Size::U32, at, item::LENGTH, length);
        let end = b.add(offset, length);
        let end = b.add(end, i32::from(item::SIZE));
        b.def(self.length, end);
    }
}
