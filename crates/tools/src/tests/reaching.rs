//! What a command may reach of what is granted, by the words of its call.
use backstay_egress::Network;
use backstay_kernel::destination::{Audience, HostGrant, Method, Reachable};
use backstay_kernel::facts::{Facts, Invalid};
use backstay_kernel::tool::EffectClass;

use crate::command::reaching;
use crate::fetch::Hosts;
use crate::limits::NETWORK_HOSTS_MAX;
use crate::network::named;

fn grant(host: &str, methods: &[Method], tunnel: bool) -> HostGrant {
    HostGrant {
        host: host.to_owned(),
        port: 443,
        methods: methods.to_vec(),
        path_prefix: "/".to_owned(),
        allow_private: Vec::new(),
        audience: Audience::Public,
        secrets: false,
        tunnel,
    }
}

fn hosts(granted: Vec<HostGrant>) -> Hosts {
    Hosts { network: Network::default(), granted, repositories: Vec::new(), credentials: None }
}

#[test]
fn a_call_names_its_hosts_and_is_given_those_alone() {
    use Method::{Get, Head, Post};
    let granted = vec![
        grant("*.b.test", &[Get], false),
        grant("a.test", &[Get, Head], false),
        grant("a.test", &[Post], false),
        grant("c.test", &[Get], true),
    ];
    let hosts = hosts(granted);
    let of = |texts: &[&str]| named(Some(&hosts), &texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let found = of(&["X.b.test.:443", "a.test:443", "x.b.test:443"]).unwrap();
    let place = |host: &str, methods: &[Method], tunnel| Reachable {
        host: host.to_owned(),
        port: 443,
        methods: methods.to_vec(),
        tunnel,
    };
    assert_eq!(found.places, [place("a.test", &[Get, Head, Post], false), place("x.b.test", &[Get], false)]);
    let mut open: Vec<&str> = found.open.iter().map(|grant| grant.host.as_str()).collect();
    open.sort_unstable();
    assert_eq!(open, ["a.test", "a.test", "x.b.test"], "of a domain the one name that the call says");
    assert_eq!(of(&["c.test:443"]).unwrap().places, [place("c.test", &[Get], true)]);
    assert!(of(&[]).unwrap().open.is_empty());
    for (texts, why) in [
        (&["d.test:443"][..], Invalid::OutsideGrants),
        (&["b.test:443"], Invalid::OutsideGrants),
        (&["a.test:80"], Invalid::OutsideGrants),
        (&["a.test:443", "d.test:443"], Invalid::OutsideGrants),
        (&["a.test"], Invalid::BadArguments),
        (&["https://a.test:443"], Invalid::BadArguments),
        (&["a.test:443/x"], Invalid::BadArguments),
        (&["*.b.test:443"], Invalid::BadArguments),
        (&["a.test:443"; NETWORK_HOSTS_MAX + 1], Invalid::BadArguments),
    ] {
        assert_eq!(of(texts).unwrap_err().why, why, "{texts:?}");
    }
    assert_eq!(named(None, &["a.test:443".to_owned()]).unwrap_err().why, Invalid::OutsideGrants);
}

#[test]
fn packages_are_asked_for_where_there_is_a_network() {
    let hosts = hosts(vec![grant("a.test", &[Method::Get], false), grant("b.test", &[Method::Post], false)]);
    for (named_hosts, class, packages) in [
        (&[][..], EffectClass::Execute, &[][..]),
        (&["a.test:443"], EffectClass::Execute, &["x"]),
        (&["a.test:443", "b.test:443"], EffectClass::Send, &["x"]),
    ] {
        let texts: Vec<String> = named_hosts.iter().map(|text| (*text).to_owned()).collect();
        let facts = Facts::new(EffectClass::Execute, Vec::new());
        let facts = reaching(facts, named(Some(&hosts), &texts).unwrap().places, vec!["x".to_owned()]);
        assert_eq!((facts.class, facts.network.len()), (class, named_hosts.len()));
        assert_eq!(&*facts.packages, packages);
    }
}
