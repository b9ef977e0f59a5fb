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
    }
}
