//! The encoding of messages: fields one after the other, each with its number.
//!
//! Only what this process encoded itself is read here, so a malformed rest ends the reading and is no
//! error of its own.

/// A field as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Encoded<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    /// All of it, with its number.
    pub(crate) whole: &'a [u8],
}

/// A value as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Eight(u64),
    Four(u32),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number of a varint; 0 otherwise.
    pub(crate) fn number(self) -> u64 {
        if let Self::Varint(number) = self { number } else { 0 }
    }

    /// The bytes of a string, bytes or message; none otherwise.
    pub(crate) fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }
}

/// The fields of an encoded message, in their order.
pub(crate) fn fields(bytes: &[u8]) -> impl Iterator<Item = Encoded<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let start = rest;
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => Value::Eight(u64::from_le_bytes(array(&mut rest)?)),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (value, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(value)
            }
            5 => Value::Four(u32::from_le_bytes(array(&mut rest)?)),
            _ => return None,
        };
        let whole = &start[..start.len() - rest.len()];
        Some(Encoded { number: u32::try_from(tag >> 3).ok()?, value, whole })
    })
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (value, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*value)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The numbers of a packed field.
pub(crate) fn varints(packed: &[u8]) -> impl Iterator<Item = u64> {
    let mut rest = packed;
    std::iter::from_fn(move || varint(&mut rest))
}

/// Appends a field that holds bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::tetragon::{GetEventsResponse, Process, ProcessExec, get_events_response::Event};
    use prost::Message as _;

    #[test]
    fn what_prost_wrote() {
        let process = Process { pid: Some(7), binary: "/bin/a".into(), ..Process::default() };
        let event = GetEventsResponse {
            event: Some(Event::ProcessExec(ProcessExec {
                process: Some(process.clone()),
                ..ProcessExec::default()
            })),
            node_name: "node".into(),
            ..GetEventsResponse::default()
        };
        let bytes = event.encode_to_vec();
        let all: Vec<_> = fields(&bytes).collect();
        assert_eq!(all.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 1000]);
        assert_eq!(all[1].value, Value::Bytes(b"node"));
        let inner = fields(all[0].value.bytes()).next().unwrap();
        assert_eq!(inner.value.bytes(), process.encode_to_vec());
        let whole: Vec<u8> = all.iter().flat_map(|field| field.whole).copied().collect();
        assert_eq!(whole, bytes);
        let mut again = Vec::new();
        put_bytes(&mut again, 1, all[0].value.bytes());
        assert_eq!(again, all[0].whole);
    }

    proptest::proptest! {
        #[test]
        fn anything_ends(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let read: usize = fields(&bytes).map(|field| field.whole.len()).sum();
            assert!(read <= bytes.len());
        }
    }
}
