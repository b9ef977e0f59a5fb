//! Addresses, ports, protocols, families and TCP states in filters.

use crate::problem::{did_you_mean, excerpt};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A network: an address of which the first `prefix` bits count; the rest are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The network's address.
    pub address: IpAddr,
    /// How many bits count.
    pub prefix: u8,
}

impl Cidr {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no address: write an IPv4 or IPv6 address or a CIDR, e.g. 10.0.0.0/8",
                excerpt(text)
            )
        };
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) if prefix.bytes().all(|digit| digit.is_ascii_digit()) => {
                prefix.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(|| {
                    format!("/{} is no prefix of this address: 0 to {longest}", excerpt(prefix))
                })?
            }
            Some(_) => return Err(wrong()),
        };
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::from((address.to_bits() & mask).to_be_bytes())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::from((address.to_bits() & mask).to_be_bytes())
            }
        };
        Ok(Self { address, prefix })
    }
}

impl std::str::FromStr for Cidr {
    type Err = String;

    /// An address, or a network as CIDR; bits beyond the prefix are dropped.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// Reads a port or a range of ports, `least:most`.
pub(crate) fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten().ok_or_else(|| {
            format!("`{}` is no port: 0 to 65535, or a range least:most", excerpt(text))
        })
    };
    let (least, most) = match text.trim().split_once(':') {
        Some((least, most)) => (port(least)?, port(most)?),
        None => (port(text.trim())?, port(text.trim())?),
    };
    if least > most {
        return Err(format!("the range {least}:{most} is reversed: write {most}:{least}"));
    }
    Ok(least..=most)
}

/// A table of names and numbers.
pub(crate) struct Names {
    what: &'static str,
    example: &'static str,
    most: u16,
    table: &'static [(&'static str, u16)],
}

impl Names {
    /// Reads a name, upper and lower case taken as equal, or a number.
    pub(crate) fn parse(&self, text: &str) -> Result<u16, String> {
        let text = text.trim();
        if let Some((_, number)) =
            self.table.iter().find(|(name, _)| name.eq_ignore_ascii_case(text))
        {
            return Ok(*number);
        }
        if let Some(number) = crate::text::integer(text) {
            return u16::try_from(number)
                .ok()
                .filter(|number| *number <= self.most)
                .ok_or_else(|| format!("{number} is no {}: 0 to {}", self.what, self.most));
        }
        let near = did_you_mean(text, self.table.iter().map(|(name, _)| *name));
        let hint = near.map_or_else(
            || format!("write a name, e.g. {}, or a number", self.example),
            |near| format!("did you mean `{near}`?"),
        );
        Err(format!("`{}` is no {}: {hint}", excerpt(text), self.what))
    }
}

impl Names {
    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<u16> {
        self.table.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }

    /// The name of a number; the first where there are several.
    pub(crate) fn of(&self, number: u16) -> Option<&'static str> {
        self.table.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
    }
}

/// IPPROTO_* of `linux/in.h` and `linux/in6.h`.
pub(crate) const PROTOCOLS: Names = Names {
    what: "protocol",
    example: "IPPROTO_TCP",
    most: u16::MAX,
    table: &[
        ("IPPROTO_IP", 0),
        ("IPPROTO_HOPOPTS", 0),
        ("IPPROTO_ICMP", 1),
        ("IPPROTO_IGMP", 2),
        ("IPPROTO_IPIP", 4),
        ("IPPROTO_TCP", 6),
        ("IPPROTO_EGP", 8),
        ("IPPROTO_PUP", 12),
        ("IPPROTO_UDP", 17),
        ("IPPROTO_IDP", 22),
        ("IPPROTO_TP", 29),
        ("IPPROTO_DCCP", 33),
        ("IPPROTO_IPV6", 41),
        ("IPPROTO_ROUTING", 43),
        ("IPPROTO_FRAGMENT", 44),
        ("IPPROTO_RSVP", 46),
        ("IPPROTO_GRE", 47),
        ("IPPROTO_ESP", 50),
        ("IPPROTO_AH", 51),
        ("IPPROTO_ICMPV6", 58),
        ("IPPROTO_NONE", 59),
        ("IPPROTO_DSTOPTS", 60),
        ("IPPROTO_MTP", 92),
        ("IPPROTO_BEETPH", 94),
        ("IPPROTO_ENCAP", 98),
        ("IPPROTO_PIM", 103),
        ("IPPROTO_COMP", 108),
        ("IPPROTO_L2TP", 115),
        ("IPPROTO_SCTP", 132),
        ("IPPROTO_MH", 135),
        ("IPPROTO_UDPLITE", 136),
        ("IPPROTO_MPLS", 137),
        ("IPPROTO_ETHERNET", 143),
        ("IPPROTO_AGGFRAG", 144),
        ("IPPROTO_RAW", 255),
        ("IPPROTO_SMC", 256),
        ("IPPROTO_MPTCP", 262),
    ],
};

/// AF_* of `linux/socket.h`.
pub(crate) const FAMILIES: Names = Names {
    what: "address family",
    example: "AF_INET",
    most: u16::MAX,
    table: &[
        ("AF_UNSPEC", 0),
        ("AF_UNIX", 1),
        ("AF_LOCAL", 1),
        ("AF_INET", 2),
        ("AF_AX25", 3),
        ("AF_IPX", 4),
        ("AF_APPLETALK", 5),
        ("AF_NETROM", 6),
        ("AF_BRIDGE", 7),
        ("AF_ATMPVC", 8),
        ("AF_X25", 9),
        ("AF_INET6", 10),
        ("AF_ROSE", 11),
        ("AF_DECnet", 12),
        ("AF_NETBEUI", 13),
        ("AF_SECURITY", 14),
        ("AF_KEY", 15),
        ("AF_NETLINK", 16),
        ("AF_ROUTE", 16),
        ("AF_PACKET", 17),
        ("AF_ASH", 18),
        ("AF_ECONET", 19),
        ("AF_ATMSVC", 20),
        ("AF_RDS", 21),
        ("AF_SNA", 22),
        ("AF_IRDA", 23),
        ("AF_PPPOX", 24),
        ("AF_WANPIPE", 25),
        ("AF_LLC", 26),
        ("AF_IB", 27),
        ("AF_MPLS", 28),
        ("AF_CAN", 29),
        ("AF_TIPC", 30),
        ("AF_BLUETOOTH", 31),
        ("AF_IUCV", 32),
        ("AF_RXRPC", 33),
        ("AF_ISDN", 34),
        ("AF_PHONET", 35),
        ("AF_IEEE802154", 36),
        ("AF_CAIF", 37),
        ("AF_ALG", 38),
        ("AF_NFC", 39),
        ("AF_VSOCK", 40),
        ("AF_KCM", 41),
        ("AF_QIPCRTR", 42),
        ("AF_SMC", 43),
        ("AF_XDP", 44),
        ("AF_MCTP", 45),
    ],
};

/// TCP_* of `net/tcp_states.h`.
pub(crate) const STATES: Names = Names {
    what: "state",
    example: "TCP_ESTABLISHED",
    most: 255,
    table: &[
        ("TCP_ESTABLISHED", 1),
        ("TCP_SYN_SENT", 2),
        ("TCP_SYN_RECV", 3),
        ("TCP_FIN_WAIT1", 4),
        ("TCP_FIN_WAIT2", 5),
        ("TCP_TIME_WAIT", 6),
        ("TCP_CLOSE", 7),
        ("TCP_CLOSE_WAIT", 8),
        ("TCP_LAST_ACK", 9),
        ("TCP_LISTEN", 10),
        ("TCP_CLOSING", 11),
        ("TCP_NEW_SYN_RECV", 12),
        ("TCP_BOUND_INACTIVE", 13),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_cut_to_their_prefix() {
        let cidr = |text: &str| {
            let Cidr { address, prefix } = Cidr::parse(text).unwrap();
            format!("{address}/{prefix}")
        };
        assert_eq!(cidr("127.0.0.1/8"), "127.0.0.0/8");
        assert_eq!(cidr("10.1.2.3"), "10.1.2.3/32");
        assert_eq!(cidr("0.0.0.0/0"), "0.0.0.0/0");
        assert_eq!(cidr("::1/128"), "::1/128");
        assert_eq!(cidr("fe80::1/10"), "fe80::/10");
        assert_eq!(cidr("::/0"), "::/0");
        for wrong in ["", "10.0.0", "10.0.0.0/", "10.0.0.0/33", "::/129", "a/8", "1.2.3.4/+8"] {
            assert!(Cidr::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_and_names() {
        assert_eq!(ports("80:90"), Ok(80..=90));
        assert_eq!(ports("53"), Ok(53..=53));
        assert_eq!(ports("2:1").unwrap_err(), "the range 2:1 is reversed: write 1:2");
        for wrong in ["65536", "-1", "http", ":", "1:", "+5", ""] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
        assert_eq!(PROTOCOLS.parse("ipproto_udp"), Ok(17));
        assert_eq!(PROTOCOLS.parse("6"), Ok(6));
        assert_eq!(
            FAMILIES.parse("AF_INTE6").unwrap_err(),
            "`AF_INTE6` is no address family: did you mean `AF_INET6`?"
        );
        assert_eq!(STATES.parse("256").unwrap_err(), "256 is no state: 0 to 255");
    }
}
