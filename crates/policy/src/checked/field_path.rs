//! Paths of fields through kernel or program structures: `mm.owner.comm`, `f_path.mnt[0]`.

use crate::problem::excerpt;

/// One step of a path of fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FieldStep {
    /// To a member of a structure or union, through a pointer if there is one.
    Member(String),
    /// To an element of an array.
    Element(u32),
}

/// Reads a path.
pub(crate) fn parse(text: &str) -> Result<Vec<FieldStep>, String> {
    let wrong = |part: &str| {
        format!(
            "`{}` is no field: write names with dots between, array elements as name[n]",
            excerpt(part)
        )
    };
    let mut steps = Vec::new();
    for part in text.split('.') {
        let name_end = part.find('[').unwrap_or(part.len());
        let (name, mut elements) = part.split_at(name_end);
        let identifier = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty()
            || !name.bytes().all(identifier)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(wrong(part));
        }
        steps.push(FieldStep::Member(name.to_owned()));
        while !elements.is_empty() {
            let (number, rest) = elements
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .ok_or_else(|| wrong(part))?;
            if !number.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(wrong(part));
            }
            steps.push(FieldStep::Element(number.parse().map_err(|_| wrong(part))?));
            elements = rest;
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements() {
        let member = |name: &str| FieldStep::Member(name.to_owned());
        assert_eq!(
            parse("mm.exe_file[3][0].f").unwrap(),
            [
                member("mm"),
                member("exe_file"),
                FieldStep::Element(3),
                FieldStep::Element(0),
                member("f")
            ]
        );
        for wrong in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a[",
            "a[]",
            "a[x]",
            "a[1",
            "[1]",
            "a[1]b",
            "1a",
            "a b",
            "a[4294967296]",
            "a[-1]",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
