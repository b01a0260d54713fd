//! The network of a client: what is kept of its address.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The network of a client: the first 24 bits of its IPv4 address, or the first 48 of its IPv6 address. Whole addresses
/// are neither stored nor logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientNetwork {
    /// Of an IPv4 address.
    V4([u8; 3]),
    /// Of an IPv6 address.
    V6([u8; 6]),
}

impl ClientNetwork {
    /// The network of `address`. An IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let mut network = [0; 6];
                network.copy_from_slice(&address.octets()[..6]);
                Self::V6(network)
            }
        }
    }

    /// Its first address.
    pub fn first_address(self) -> IpAddr {
        match self {
            Self::V4([a, b, c]) => [a, b, c, 0].into(),
            Self::V6(octets) => {
                let mut address = [0; 16];
                address[..6].copy_from_slice(&octets);
                Ipv6Addr::from(address).into()
            }
        }
    }
}

/// Its first address.
impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first_address().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_address_is_cut_off() {
        for (address, network) in [
            ("203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(ClientNetwork::of(address).to_string(), network);
        }
    }
}
