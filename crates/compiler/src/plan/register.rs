//! Registers by name: where `struct pt_regs` has them.

use kernel::btf::Btf;

/// Offset and size, in bytes, of a register of an architecture; on little-endian machines a part of one
/// starts where the whole does, but for `ah` and its like.
pub(super) fn locate(btf: &Btf, architecture: &str, name: &str) -> Result<(u32, u32), String> {
    let found = match architecture {
        "aarch64" => arm64(name),
        _ => x86_64(name),
    };
    let (member, start, size) =
        found.ok_or_else(|| format!("`{name}` is no register of this machine ({architecture})"))?;
    let field = btf
        .find_struct("pt_regs")
        .and_then(|registers| btf.field(registers, &member))
        .map_err(|error| format!("register `{name}`: {error}"))?;
    Ok((field.offset + start, size))
}

/// Member, first byte in it, and size.
type Part = (String, u32, u32);

fn x86_64(name: &str) -> Option<Part> {
    if let Some(number) =
        name.strip_prefix('r').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        let digits = number.trim_end_matches(['d', 'w', 'b']);
        let size = match &number[digits.len()..] {
            "" => 8,
            "d" => 4,
            "w" => 2,
            "b" => 1,
            _ => return None,
        };
        let number: u32 = digits.parse().ok()?;
        return (8..=15).contains(&number).then(|| (format!("r{number}"), 0, size));
    }
    if name == "rip" || name == "eip" {
        return Some(("ip".to_owned(), 0, if name == "rip" { 8 } else { 4 }));
    }
    for letter in ["a", "b", "c", "d"] {
        let member = format!("{letter}x");
        for (part, start, size) in [
            (format!("r{letter}x"), 0, 8),
            (format!("e{letter}x"), 0, 4),
            (member.clone(), 0, 2),
            (format!("{letter}l"), 0, 1),
            (format!("{letter}h"), 1, 1),
        ] {
            if part == name {
                return Some((member, start, size));
            }
        }
    }
    ["si", "di", "bp", "sp"].iter().find_map(|member| {
        let size = match name.strip_suffix(member) {
            Some("r") => 8,
            Some("e") => 4,
            Some("") => 2,
            _ if name.strip_suffix('l') == Some(*member) => 1,
            _ => return None,
        };
        Some(((*member).to_owned(), 0, size))
    })
}

fn arm64(name: &str) -> Option<Part> {
    match name {
        "sp" | "x31" => return Some(("sp".to_owned(), 0, 8)),
        "pc" => return Some(("pc".to_owned(), 0, 8)),
        _ => {}
    }
    let (number, size) = match (name.strip_prefix('x'), name.strip_prefix('w')) {
        (Some(number), _) => (number, 8),
        (_, Some(number)) => (number, 4),
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    (number <= 30).then(|| (format!("regs[{number}]"), 0, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_register_has_its_place() {
        let part =
            |name: &str| x86_64(name).map(|(member, at, size)| format!("{member}+{at}:{size}"));
        for (name, place) in [
            ("rax", "ax+0:8"),
            ("eax", "ax+0:4"),
            ("ax", "ax+0:2"),
            ("al", "ax+0:1"),
            ("ah", "ax+1:1"),
            ("dh", "dx+1:1"),
            ("rdi", "di+0:8"),
            ("edi", "di+0:4"),
            ("di", "di+0:2"),
            ("dil", "di+0:1"),
            ("bpl", "bp+0:1"),
            ("rsp", "sp+0:8"),
            ("rip", "ip+0:8"),
            ("eip", "ip+0:4"),
            ("r8", "r8+0:8"),
            ("r15d", "r15+0:4"),
            ("r10b", "r10+0:1"),
        ] {
            assert_eq!(part(name).as_deref(), Some(place), "{name}");
        }
        for name in ["x0", "w3", "pc", "r7", "r16", "zax", "rl"] {
            assert_eq!(part(name), None, "{name}");
        }
        assert_eq!(arm64("x3"), Some(("regs[3]".to_owned(), 0, 8)));
        assert_eq!(arm64("w30"), Some(("regs[30]".to_owned(), 0, 4)));
        assert_eq!(arm64("x31"), Some(("sp".to_owned(), 0, 8)));
        assert_eq!(arm64("rax"), None);
    }
}
