//! What a system call's pointers lead to belongs to the caller. Another of its threads can change it after
//! the policy has read it and before the kernel does.

use policy::checked::{Filter, Subject};
use policy::document::TypeName;

use super::{At, Rule};
use crate::plan::gates;

pub(super) fn judge(rule: &Rule<'_>) -> Option<String> {
    let At::Syscall(name) = rule.at else { return None };
    let of_user = |filter: &&Filter| match filter.subject {
        Subject::Argument(index) => {
            rule.hook.args.get(index).is_some_and(|input| in_user_memory(input.kind))
        }
        _ => false,
    };
    let filter = rule.selector.filters.iter().find(of_user)?;
    let Subject::Argument(index) = filter.subject else { return None };
    let instead = match gates::of(name).ok().and_then(|gates| gates.hooks(rule.btf).ok()) {
        Some(hooks) if !hooks.is_empty() => {
            format!("decide in `lsmhooks`, on {}, about what the kernel uses", hooks.join(" or "))
        }
        _ => "decide where the kernel has made its own copy".to_owned(),
    };
    Some(format!(
        "args[{index}] of {name} is the caller's memory, which another of its threads can change between \
         the policy's look and the kernel's: {instead}"
    ))
}

fn in_user_memory(kind: TypeName) -> bool {
    matches!(
        kind,
        TypeName::String
            | TypeName::CharBuf
            | TypeName::CharIovec
            | TypeName::Sockaddr
            | TypeName::SockaddrUn
            | TypeName::BpfAttr
    )
}
