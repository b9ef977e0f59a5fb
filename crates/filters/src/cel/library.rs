//! What expressions can call: the standard library of CEL, and IP addresses and networks as Kubernetes
//! has them in CEL: `ip()`, `isIP()`, `cidr()`, `isCIDR()` and their methods.

use std::any::Any;
use std::net::IpAddr;

use cel::common::types::{CelBool, CelInt, CelString, Type};
use cel::common::value::{StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

static IP: Type = Type::new_unspecified_type("net.IP");
static CIDR: Type = Type::new_unspecified_type("net.CIDR");

/// An address.
#[derive(Clone, Debug, PartialEq)]
struct Ip(IpAddr);

/// An address and the length of a prefix in bits.
#[derive(Clone, Debug, PartialEq)]
struct Cidr {
    address: IpAddr,
    length: u8,
}

/// The environment of all expressions.
pub(super) fn environment() -> Env {
    let mut environment = Env::stdlib();
    if let Err(error) = declare(&mut environment) {
        // A test declares them all.
        tracing::error!(%error, "Functions about addresses are missing in expressions");
    }
    environment
}

fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_type(IP.to_owned())?;
    env.add_type(CIDR.to_owned())?;
    cel::add_overload!(env, fn ip: (CelString) -> Result<Ip>)?;
    cel::add_overload!(env, fn cidr: (CelString) -> Result<Cidr>)?;
    cel::add_overload!(env, fn is_ip: (CelString) -> CelBool, name = "isIP")?;
    cel::add_overload!(env, fn is_cidr: (CelString) -> CelBool, name = "isCIDR")?;
    cel::add_overload!(env, fn ip_text: (Ip) -> CelString, name = "string")?;
    cel::add_overload!(env, fn cidr_text: (Cidr) -> CelString, name = "string")?;
    cel::add_member_overload!(env, fn family: (Ip) -> CelInt)?;
    cel::add_member_overload!(env, fn is_unspecified: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn is_loopback: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn is_global_unicast: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn is_link_local_unicast: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn is_link_local_multicast: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn contains_ip: (Cidr, Ip) -> CelBool, name = "containsIP")?;
    cel::add_member_overload!(
        env, fn contains_ip_text: (Cidr, CelString) -> Result<CelBool>, name = "containsIP"
    )?;
    cel::add_member_overload!(env, fn contains_cidr: (Cidr, Cidr) -> CelBool, name = "containsCIDR")?;
    cel::add_member_overload!(
        env, fn contains_cidr_text: (Cidr, CelString) -> Result<CelBool>, name = "containsCIDR"
    )?;
    cel::add_member_overload!(env, fn ip_of: (Cidr) -> Ip, name = "ip")?;
    cel::add_member_overload!(env, fn masked: (Cidr) -> Cidr)?;
    cel::add_member_overload!(env, fn prefix_length: (Cidr) -> CelInt)
}

fn ip(text: &CelString<'_>) -> Result<Ip, ExecutionError> {
    read_ip(text.inner()).ok_or_else(|| error("ip", text))
}

fn cidr(text: &CelString<'_>) -> Result<Cidr, ExecutionError> {
    read_cidr(text.inner()).ok_or_else(|| error("cidr", text))
}

fn is_ip(text: &CelString<'_>) -> CelBool {
    CelBool::from(read_ip(text.inner()).is_some())
}

fn is_cidr(text: &CelString<'_>) -> CelBool {
    CelBool::from(read_cidr(text.inner()).is_some())
}

fn error(function: &str, text: &CelString<'_>) -> ExecutionError {
    ExecutionError::function_error(function, format!("{:?} is none", text.inner()))
}

fn read_ip(text: &str) -> Option<Ip> {
    text.parse().ok().map(Ip)
}

fn read_cidr(text: &str) -> Option<Cidr> {
    let (address, length) = text.split_once('/')?;
    let cidr = Cidr { address: address.parse().ok()?, length: length.parse().ok()? };
    (cidr.length <= bits(cidr.address)).then_some(cidr)
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn ip_text(ip: &Ip) -> CelString<'static> {
    CelString::from(ip.0.to_string())
}

fn cidr_text(cidr: &Cidr) -> CelString<'static> {
    CelString::from(format!("{}/{}", cidr.address, cidr.length))
}

fn family(ip: &Ip) -> CelInt {
    CelInt::from(if ip.0.is_ipv4() { 4 } else { 6 })
}

fn is_unspecified(ip: &Ip) -> CelBool {
    CelBool::from(ip.0.is_unspecified())
}

fn is_loopback(ip: &Ip) -> CelBool {
    CelBool::from(ip.0.is_loopback())
}

fn link_local_unicast(ip: &Ip) -> bool {
    match ip.0 {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_link_local_unicast(ip: &Ip) -> CelBool {
    CelBool::from(link_local_unicast(ip))
}

/// What Go's `net.IP.IsGlobalUnicast` says, which Kubernetes refers to: private addresses are global.
fn is_global_unicast(ip: &Ip) -> CelBool {
    let broadcast = matches!(ip.0, IpAddr::V4(ip) if ip.is_broadcast());
    let other = ip.0.is_unspecified() || ip.0.is_loopback() || ip.0.is_multicast();
    CelBool::from(!broadcast && !other && !link_local_unicast(ip))
}

fn is_link_local_multicast(ip: &Ip) -> CelBool {
    CelBool::from(match ip.0 {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    })
}

fn contains_ip(cidr: &Cidr, ip: &Ip) -> CelBool {
    CelBool::from(cidr.contains(ip.0))
}

fn contains_ip_text(cidr: &Cidr, text: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    ip(text).map(|ip| contains_ip(cidr, &ip))
}

fn contains_cidr(cidr: &Cidr, other: &Cidr) -> CelBool {
    CelBool::from(cidr.length <= other.length && cidr.contains(other.address))
}

fn contains_cidr_text(this: &Cidr, text: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    cidr(text).map(|other| contains_cidr(this, &other))
}

fn ip_of(cidr: &Cidr) -> Ip {
    Ip(cidr.address)
}

fn masked(cidr: &Cidr) -> Cidr {
    cidr.masked()
}

fn prefix_length(cidr: &Cidr) -> CelInt {
    CelInt::from(i64::from(cidr.length))
}

impl Cidr {
    fn contains(&self, address: IpAddr) -> bool {
        let same_family = self.address.is_ipv4() == address.is_ipv4();
        let network = |address| Self { address, length: self.length }.masked();
        same_family && network(address) == network(self.address)
    }

    /// With nothing but zeros after the prefix.
    fn masked(&self) -> Self {
        let unused = u32::from(bits(self.address) - self.length);
        let address = match self.address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(unused).unwrap_or(0);
                IpAddr::V4((ip.to_bits() & mask).into())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(unused).unwrap_or(0);
                IpAddr::V6((ip.to_bits() & mask).into())
            }
        };
        Self { address, length: self.length }
    }
}

macro_rules! value {
    ($type:ident, $cel:ident) => {
        impl Val for $type {
            fn get_type(&self) -> &Type {
                &$cel
            }

            fn cel_type() -> &'static Type {
                &$cel
            }

            fn equals(&self, other: &dyn Val) -> bool {
                other.downcast_ref::<$type>() == Some(self)
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                Box::new(self.clone())
            }

            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }

        impl StaticVal for $type {}
    };
}

value!(Ip, IP);
value!(Cidr, CIDR);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_can_be_declared() {
        declare(&mut Env::stdlib()).unwrap();
    }
}
