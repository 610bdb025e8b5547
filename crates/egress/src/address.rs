//! Which addresses lie on the public Internet. What is not known to is refused: a name that anybody may set
//! must not lead to this machine, its neighbours or the cloud's metadata.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is instead of a public one; `None` for a public one. The ranges are those of the special
/// purpose registries (RFC 6890 and its updates).
#[must_use]
pub fn reserved(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(four) => of_four(four),
        IpAddr::V6(six) => of_six(six),
    }
}

fn of_four(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "an address of this network",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "an address of a carrier's own network",
        [127, ..] => "this machine",
        [169, 254, ..] => "a link-local address, where clouds serve metadata",
        [168, 63, 129, 16] => "a cloud's own service",
        [192, 0, 0, _] | [192, 88, 99, _] => "an address for protocols",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an address for documentation",
        [198, 18..=19, ..] => "an address for benchmarks",
        [224..=239, ..] => "a multicast address",
        [240..=255, ..] => "a reserved address",
        _ => return None,
    })
}

fn of_six(address: Ipv6Addr) -> Option<&'static str> {
    let tail = |six: Ipv6Addr| {
        let [.., a, b, c, d] = six.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => "this machine",
        [0, 0, 0, 0, 0, 0xffff, ..] => "an IPv4 address in the clothes of an IPv6 one",
        // NAT64: what is behind it is what is reached.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => return of_four(tail(address)),
        [0x64, 0xff9b, ..] => "a local translation of an IPv4 address",
        [0xfc00..=0xfdff, ..] => "a private address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        [0x2001, 0, ..] => "a Teredo tunnel",
        [0x2001, 1..=0x1ff, ..] => "an address for protocols",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "an address for documentation",
        [0x2002, ..] => "a 6to4 tunnel",
        // ISATAP, whatever network it is in.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => "an ISATAP tunnel",
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    })
}
