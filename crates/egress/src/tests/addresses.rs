//! No name and no literal leads to this machine, its neighbours or a cloud's metadata, but where an operator
//! names the very address.
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backstay_kernel::url::Host;

use super::{LOOPBACK, Server, answer, get, grant, network, not_sent};
use crate::Network;
use crate::address::reserved;

/// Row D2: every way to write an address that is not public. The first group is none at all.
#[rustfmt::skip]
const LITERALS: [&str; 62] = [
    "0x7f.1", "0x7f000001", "0X7f.0.0.1", "2130706433", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.01", "1.2.3.4.5",
    "[::ffff:127.0.0.1%lo]", "[fe80::1%25eth0]", "127.0.0.1:80", "１２７.0.0.1", "127。0。0。1", "[127.0.0.1]",
    "0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "127.0.0.1.", "168.63.129.16", "169.254.169.254", "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "[::]", "[::1]", "[::ffff:169.254.169.254]", "[::ffff:8.8.8.8]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]",
    "[100::1]", "[2001::1]", "[2001:10::1]", "[2001:db8::1]", "[2002:7f00:1::1]", "[2a00:1450::5efe:127.0.0.1]", "[3fff:fff::1]", "[5f00::1]",
    "[fc00::1]", "[fd00:ec2::254]", "[fe80::1]", "[ff02::1]",
];

#[test]
fn no_literal_of_an_address_that_is_not_public_is_called() {
    let mut none = 0;
    for literal in LITERALS {
        let Some(host) = Host::read(literal) else {
            none += 1;
            continue;
        };
        let mut grant = grant(host.as_str(), 80);
        grant.allow_private.clear();
        let made = get(&network(), &format!("http://{}/", host.as_str()), &grant);
        assert!(made.connection.is_none(), "{literal}");
        assert!(not_sent(made).contains("allow_private"), "{literal}");
    }
    assert_eq!(none, 16);
}

#[test]
fn public_addresses_are_public_and_nat64_is_what_is_behind_it() {
    for address in [
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "192.0.1.1",
        "223.255.255.255",
        "2a00:1450::1",
        "2606:4700::1111",
        "64:ff9b::808:808",
    ] {
        assert_eq!(reserved(address.parse().unwrap()), None, "{address}");
    }
}

/// A network whose names lead to these addresses, and how often it was asked.
fn leading_to(answers: Vec<Vec<IpAddr>>) -> (Network, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let network = network().looking_up(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        Ok(answers[n.min(answers.len() - 1)].clone())
    });
    (network, asked)
}

#[test]
fn one_address_that_is_not_public_among_many_refuses_them_all() {
    let server = Server::ok("x");
    let mut grant = grant("a.test", 80);
    for bad in ["10.0.0.1", "fd00::1", "::ffff:127.0.0.1", "169.254.169.254"] {
        let answers = vec![LOOPBACK, "8.8.8.8".parse().unwrap(), bad.parse().unwrap()];
        let (network, _) = leading_to(vec![answers]);
        let made = get(&network, "http://a.test/", &grant);
        assert!(made.connection.is_none());
        assert!(not_sent(made).contains(bad));
    }
    grant.allow_private.clear();
    let (network, _) = leading_to(vec![vec![LOOPBACK]]);
    assert!(not_sent(get(&network, "http://a.test/", &grant)).contains("127.0.0.1"));
    assert!(server.heard().is_empty());
}

/// Row D4: the second answer of the name server would lead elsewhere; there is no second question.
#[test]
fn a_name_is_looked_up_once_and_called_at_the_address_that_was_checked() {
    let server = Server::ok("here");
    let (network, asked) = leading_to(vec![vec![LOOPBACK], vec!["169.254.169.254".parse().unwrap()]]);
    let grant = grant("a.test", server.at.port());
    let made = get(&network, &format!("http://a.test:{}/", server.at.port()), &grant);
    assert_eq!(made.connection.as_ref().unwrap().address, LOOPBACK);
    assert_eq!(answer(made).body, b"here");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_name_that_is_not_granted_is_never_looked_up() {
    let (network, asked) = leading_to(vec![vec![LOOPBACK]]);
    let mut granted = grant("a.test", 443);
    granted.path_prefix = "/v1".into();
    granted.methods = vec![backstay_kernel::destination::Method::Head];
    for url in ["https://b.test/v1", "https://a.test:8443/v1", "https://a.test/v2", "https://a.test/v1"] {
        assert!(not_sent(get(&network, url, &granted)).contains("not what was granted"), "{url}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn no_tool_calls_the_process_itself() {
    let server = Server::ok("own");
    for own in [server.at.to_string(), format!("0.0.0.0:{}", server.at.port()), format!("[::]:{}", server.at.port())] {
        let network = Network::new(None, vec![own.parse().unwrap()]).unwrap();
        assert!(not_sent(get(&network, &server.url("/"), &server.grant())).contains("Backstay itself"), "{own}");
    }
    assert!(server.heard().is_empty());
}
