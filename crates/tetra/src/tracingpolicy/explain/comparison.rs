//! What is asked of a value, in words.

use std::ops::RangeInclusive;

use policy::checked::{Cidr, Comparison, FileType, Test};
use policy::names;

use super::words::{joined, quoted};

/// What has to hold of a value, behind its name: `begins with /etc/ or /usr/`.
pub(super) fn text(test: &Test, input: &dyn Fn(usize) -> String) -> String {
    let not = test.negated;
    let verb = |yes: &str, no: &str| if not { no.to_owned() } else { yes.to_owned() };
    let is = verb("is", "is not");
    let texts = |all: &[Vec<u8>]| any(all.iter().map(|one| quoted(one)));
    match &test.comparison {
        Comparison::Integers(ranges) => format!("{is} {}", any(ranges.iter().map(range))),
        Comparison::Greater(values) => {
            let more = verb("is greater than", "is not greater than");
            format!("{more} {}", any(values.iter().map(ToString::to_string)))
        }
        Comparison::Less(values) => {
            let less = verb("is less than", "is not less than");
            format!("{less} {}", any(values.iter().map(ToString::to_string)))
        }
        Comparison::Mask(values) => {
            let has = verb("has a bit of", "has no bit of");
            format!("{has} {}", any(values.iter().map(|mask| format!("{mask:#x}"))))
        }
        Comparison::Syscalls { numbers, lists } => {
            let numbers = numbers.iter().map(range);
            let lists = lists.iter().map(|list| format!("one of the list `{list}`"));
            format!("{is} {}", any(numbers.chain(lists)))
        }
        Comparison::Equal(values) => format!("{is} {}", texts(values)),
        Comparison::Prefix(values) => {
            format!("{} {}", verb("begins with", "does not begin with"), texts(values))
        }
        Comparison::Postfix(values) => {
            format!("{} {}", verb("ends with", "does not end with"), texts(values))
        }
        Comparison::Contains(values) => {
            format!("{} {}", verb("contains", "does not contain"), texts(values))
        }
        Comparison::ContainsIgnoringCase(values) => format!(
            "{} {}, upper and lower case taken as equal",
            verb("contains", "does not contain"),
            texts(values)
        ),
        Comparison::Matches(_) => {
            verb("matches a regular expression", "does not match a regular expression")
        }
        Comparison::SourceAddress(nets) => {
            format!("{} {}", verb("comes from", "does not come from"), any(nets.iter().map(cidr)))
        }
        Comparison::DestinationAddress(nets) => {
            format!("{} {}", verb("goes to", "does not go to"), any(nets.iter().map(cidr)))
        }
        Comparison::SourcePort(all) => format!(
            "{} {}",
            verb("comes from port", "does not come from port"),
            any(all.iter().map(range))
        ),
        Comparison::DestinationPort(all) => format!(
            "{} {}",
            verb("goes to port", "does not go to port"),
            any(all.iter().map(range))
        ),
        Comparison::Protocol(all) => {
            format!("{is} of protocol {}", any(all.iter().map(|n| named(*n, names::protocol))))
        }
        Comparison::Family(all) => {
            format!("{is} of family {}", any(all.iter().map(|n| named(*n, names::family))))
        }
        Comparison::State(all) => {
            let name = |n: u16| u8::try_from(n).ok().and_then(names::tcp_state);
            format!("{is} in state {}", any(all.iter().map(|n| named(*n, name))))
        }
        Comparison::FileType(all) => format!("{is} {}", any(all.iter().map(file_type))),
        Comparison::CapabilitiesGained { before } => {
            let has = verb("has a capability", "has no capability");
            format!("{has} that {} lacks", input(*before))
        }
        Comparison::Cel(_) => verb("fulfils the expression", "does not fulfil the expression"),
    }
}

/// `a, b or c`
fn any(all: impl Iterator<Item = String>) -> String {
    joined(&all.collect::<Vec<_>>(), "or")
}

fn range<T: PartialEq + std::fmt::Display>(range: &RangeInclusive<T>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{} to {}", range.start(), range.end()),
    }
}

fn cidr(net: &Cidr) -> String {
    format!("{}/{}", net.address, net.prefix)
}

fn named(number: u16, name: impl Fn(u16) -> Option<&'static str>) -> String {
    name(number).map_or_else(|| number.to_string(), ToOwned::to_owned)
}

fn file_type(kind: &FileType) -> String {
    match kind {
        FileType::Socket => "a socket",
        FileType::Link => "a symbolic link",
        FileType::Regular => "a regular file",
        FileType::Block => "a block device",
        FileType::Directory => "a directory",
        FileType::Character => "a character device",
        FileType::Fifo => "a FIFO",
    }
    .to_owned()
}
