//! What one parser reads as a host, every other one that stands on the way must read as the same.
use std::net::IpAddr;

use backstay_kernel::url::{Host, Url};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn no_other_parser_reads_another_host(
        text in "(https?://)?[a-zA-Z0-9.:@%/?#\\[\\]\\\\;ü。xn\\-]{1,40}|https?://\\PC{1,20}|http://([0-9a-fx]{1,4}\\.){0,4}[0-9a-fx]{1,10}",
    ) {
        let Ok(ours) = Url::read(&text) else { return Ok(()) };
        let form = ours.text();
        if let Ok(theirs) = url::Url::parse(&form) {
            prop_assert_eq!(theirs.host_str().map(str::to_owned), Some(same(&ours.host)), "{}", form);
            prop_assert_eq!(theirs.port_or_known_default(), Some(ours.port), "{}", form);
            prop_assert!(theirs.username().is_empty() && theirs.fragment().is_none(), "{}", form);
        }
        let uri: http::Uri = form.parse().unwrap();
        prop_assert_eq!(uri.host(), Some(ours.host.as_str()), "{}", form);
        prop_assert_eq!(uri.port_u16().unwrap_or(ours.scheme.port()), ours.port, "{}", form);
        // The standard library, which looks names up, takes a host for an address only where we do.
        let bare = ours.host.as_str().trim_matches(['[', ']']);
        prop_assert_eq!(bare.parse::<IpAddr>().ok(), ours.host.address(), "{}", form);
    }
}

/// As the other parser writes an address of version 4 in one of version 6.
fn same(host: &Host) -> String {
    url::Host::parse(host.as_str()).map_or_else(|_| host.as_str().to_owned(), |host| host.to_string())
}
