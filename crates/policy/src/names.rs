//! Names of the kernel's numbers, the same that policies are written with.

use crate::checked::{CAPABILITIES, FAMILIES, PROTOCOLS, STATES};

/// Name of an address family: AF_*.
#[must_use]
pub fn family(number: u16) -> Option<&'static str> {
    FAMILIES.of(number)
}

/// Name of a protocol of IP: IPPROTO_*.
#[must_use]
pub fn protocol(number: u16) -> Option<&'static str> {
    PROTOCOLS.of(number)
}

/// Name of a capability: CAP_*.
#[must_use]
pub fn capability(number: u32) -> Option<&'static str> {
    CAPABILITIES.get(number as usize).copied()
}

/// Name of the state of a TCP socket: TCP_*.
#[must_use]
pub fn tcp_state(number: u8) -> Option<&'static str> {
    STATES.of(number.into())
}

/// Number of an address family, by its name.
#[must_use]
pub fn family_number(name: &str) -> Option<u16> {
    FAMILIES.number(name)
}

/// Number of a protocol of IP, by its name.
#[must_use]
pub fn protocol_number(name: &str) -> Option<u16> {
    PROTOCOLS.number(name)
}

/// Number of the state of a TCP socket, by its name.
#[must_use]
pub fn tcp_state_number(name: &str) -> Option<u8> {
    STATES.number(name).and_then(|number| u8::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_of_several_names() {
        assert_eq!(super::family(1), Some("AF_UNIX"));
        assert_eq!(super::family(16), Some("AF_NETLINK"));
        assert_eq!(super::protocol(0), Some("IPPROTO_IP"));
        assert_eq!(super::tcp_state(10), Some("TCP_LISTEN"));
        assert_eq!(super::tcp_state(0), None);
        assert_eq!(super::capability(1), Some("CAP_DAC_OVERRIDE"));
        assert_eq!(super::capability(41), None);
        assert_eq!(super::family_number("AF_INET6"), Some(10));
        assert_eq!(super::protocol_number("IPPROTO_UDP"), Some(17));
        assert_eq!(super::tcp_state_number("TCP_CLOSE"), Some(7));
        assert_eq!(super::family_number("10"), None);
    }
}
