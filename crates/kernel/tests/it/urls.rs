//! One URL has one form, and every text that two readers could read in two ways has none.
use std::net::{Ipv4Addr, Ipv6Addr};

use backstay_kernel::destination::{Audience, Destination, HostGrant, Method};
use backstay_kernel::facts::Facts;
use backstay_kernel::judge::is_granted;
use backstay_kernel::tool::EffectClass;
use backstay_kernel::url::{BadUrl, Host, Scheme, Url, host_and_port};
use proptest::prelude::*;

use crate::harness::TestSession;

fn host(text: &str) -> Option<String> {
    Host::read(text).map(|host| host.as_str().to_owned())
}

#[test]
fn a_host_has_one_form() {
    for (written, form) in [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("bu\u{308}cher.example", "xn--bcher-kva.example"),
        ("xn--BCHER-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("r3---sn-4g5e.example", "r3---sn-4g5e.example"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7.", "192.0.2.7"),
        ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ("[::ffff:7f00:1]", "[::ffff:127.0.0.1]"),
    ] {
        assert_eq!(host(written).as_deref(), Some(form), "{written}");
        assert_eq!(host(form).as_deref(), Some(form), "again: {form}");
    }
}

/// What resolvers, browsers and shells have been made to read as an address, or as another name.
#[test]
fn a_host_that_is_read_in_two_ways_is_none() {
    #[rustfmt::skip]
    let odd = [
        "", ".", "..", "a..b", ".a", "a..", "example.com..", "2130706433", "017700000001", "0x7f000001", "0x7f.1", "0X7F.0.0.1",
        "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01", "0127.0.0.1", "1.2.3.4.5", "256.0.0.1", "1.2.3", "example.0x7f", "example.0x",
        "example.7", "127.0.0.1:80", "１２７.0.0.1", "127。0。0。1", "127.0.0.①", "ｅxample.com", "example。com", "exa\u{ad}mple.com",
        "exa\u{200d}mple.com", "exam ple.com", "example.com\0.c.test", "ok.test\0", "ok.test%00.c.test", "%6f%6b.test", "ok.test\r\n",
        "ok\t.test", "a@b.test", "a:b@c.test", "a/b", "a\\b", "a?b", "a#b", "-a.test", "a-.test", "a_b.test", "xn--a.test", "xn--.test",
        "xn--example-.test", "xn--ls8h=.test", "[::1", "::1", "[::1%eth0]", "[fe80::1%25lo]", "[127.0.0.1]", "[::1]x", "[]", "[[::1]]",
        "*.test", "test*",
    ];
    assert!(odd.len() >= 40);
    for written in odd {
        assert_eq!(host(written), None, "{written:?}");
    }
    assert_eq!(host(&format!("{}.test", "a".repeat(64))), None);
    assert_eq!(host(&["abcdefgh"; 30].join(".")), None);
}

#[test]
fn a_port_stands_behind_the_host_in_plain_digits() {
    let read = |text| host_and_port(text).map(|(host, port)| (host.as_str().to_owned(), port));
    assert_eq!(read("Example.com:443"), Ok(("example.com".into(), 443)));
    assert_eq!(read("[::1]:65535"), Ok(("[::1]".into(), 65_535)));
    for bad in
        ["example.com", "[::1]", "a.test:", "a.test:0", "a.test:0443", "a.test:+1", "a.test:65536", "a.test:4 43"]
    {
        assert_eq!(read(bad), Err(BadUrl::Port), "{bad}");
    }
    assert_eq!(read("::1:80"), Err(BadUrl::Host));
    assert_eq!(read(":80"), Err(BadUrl::Host));
}

#[test]
fn a_url_is_sent_as_it_was_judged() {
    for (written, form, path) in [
        ("HTTPS://Example.com", "https://example.com/", "/"),
        ("https://example.com:443/a", "https://example.com/a", "/a"),
        ("http://example.com:443", "http://example.com:443/", "/"),
        ("https://example.com?q=1", "https://example.com/?q=1", "/"),
        ("https://example.com/%7Ea/%c3%bc%20b?x=%2F;y#part", "https://example.com/~a/%C3%BC%20b?x=%2F;y", "/~a/ü b"),
        ("https://example.com/ü?q=ü\"[1]", "https://example.com/%C3%BC?q=%C3%BC%22[1]", "/ü"),
        ("https://example.com/a/?b?c", "https://example.com/a/?b?c", "/a/"),
        ("https://example.com#@other.test/", "https://example.com/", "/"),
        ("https://example.com/..a/b..", "https://example.com/..a/b..", "/..a/b.."),
        ("https://example.com/a%3Fb%23c", "https://example.com/a%3Fb%23c", "/a?b#c"),
    ] {
        let url = Url::read(written).unwrap();
        assert_eq!((url.text().as_str(), url.path.as_str()), (form, path), "{written}");
        assert_eq!(Url::read(form).unwrap().text(), form, "again: {form}");
    }
}

#[test]
fn a_url_that_is_read_in_two_ways_is_none() {
    for (written, why) in [
        ("file:///etc/passwd", BadUrl::Scheme),
        ("data:text/html,x", BadUrl::Scheme),
        ("javascript:alert(1)", BadUrl::Scheme),
        ("ftp://example.com", BadUrl::Scheme),
        ("//example.com/", BadUrl::Scheme),
        ("https:/example.com", BadUrl::Scheme),
        ("https:example.com", BadUrl::Scheme),
        (" https://example.com", BadUrl::Character),
        ("https://example.com/a b", BadUrl::Character),
        ("https://example.com/\r\nHost: c.test", BadUrl::Character),
        ("https://ok.test\\@c.test/", BadUrl::Character),
        ("https://ok.test\0.c.test/", BadUrl::Character),
        ("https://me@example.com/", BadUrl::User),
        ("https://ok.test:443@c.test/", BadUrl::User),
        ("https:///etc/passwd", BadUrl::Host),
        ("https://?a", BadUrl::Host),
        ("https://ok.test%2ec.test/", BadUrl::Host),
        ("https://ok.test:443:80/", BadUrl::Host),
        ("https://0x7f.1/", BadUrl::Host),
        ("https://ok.test:/", BadUrl::Port),
        ("https://ok.test/%zz", BadUrl::Escape),
        ("https://ok.test/?%2", BadUrl::Escape),
        ("https://ok.test/%+1", BadUrl::Escape),
        ("https://ok.test/a%2fb", BadUrl::Path),
        ("https://ok.test/a%5Cb", BadUrl::Path),
        ("https://ok.test/a%00", BadUrl::Path),
        ("https://ok.test/%252e%252e/a", BadUrl::Path),
        ("https://ok.test/%3b", BadUrl::Path),
        ("https://ok.test/a;b", BadUrl::Path),
        ("https://ok.test//a", BadUrl::Path),
        ("https://ok.test/a//", BadUrl::Path),
        ("https://ok.test//", BadUrl::Path),
        ("https://ok.test/a/../b", BadUrl::Path),
        ("https://ok.test/%2e%2E/b", BadUrl::Path),
        ("https://ok.test/a/.", BadUrl::Path),
        ("https://ok.test/%ff", BadUrl::Path),
        ("https://ok.test/%0d%0a", BadUrl::Path),
    ] {
        assert_eq!(Url::read(written), Err(why), "{written:?}");
    }
    assert_eq!(Url::read(&format!("https://ok.test/{}", "a".repeat(8_192))), Err(BadUrl::TooLong));
    assert_eq!(Url::read(&format!("https://ok.test/{}", "ü".repeat(2_000))), Err(BadUrl::TooLong));
}

fn to(url: &str, method: Method) -> Destination {
    Destination::of(&Url::read(url).unwrap(), method, 0)
}

fn grant(host: &str, port: u16, methods: &[Method], path_prefix: &str) -> HostGrant {
    HostGrant {
        host: host.to_owned(),
        port,
        methods: methods.to_vec(),
        path_prefix: path_prefix.to_owned(),
        allow_private: Vec::new(),
        audience: Audience::Public,
        secrets: false,
        tunnel: false,
    }
}

#[test]
fn a_grant_covers_its_host_port_methods_and_path_and_nothing_else() {
    use Method::{Delete, Get, Post};
    let api = grant("api.test", 443, &[Get, Post], "/v1");
    for (url, method, covered) in [
        ("https://API.test./v1", Get, true),
        ("https://api.test/v1/a?b", Post, true),
        ("https://api.test/v1/a", Delete, false),
        ("https://api.test/v10", Get, false),
        ("https://api.test/", Get, false),
        ("https://api.test:8443/v1", Get, false),
        ("https://x.api.test/v1", Get, false),
        ("https://api.test.c.test/v1", Get, false),
        ("http://api.test:443/v1", Get, false),
        ("http://api.test/v1", Get, false),
    ] {
        assert_eq!(api.covers(&to(url, method)), covered, "{url} {method:?}");
    }
    let below = grant("*.test", 443, &[Get], "/");
    for (url, covered) in [
        ("https://a.test/", true),
        ("https://b.a.test/x", true),
        ("https://test/", false),
        ("https://atest/", false),
        ("https://[::1]/", false),
    ] {
        assert_eq!(below.covers(&to(url, Get)), covered, "{url}");
    }
    assert!(grant("a.test", 80, &[Get], "/").covers(&to("http://a.test/", Get)));
    let inside = HostGrant { allow_private: vec![[10, 0, 0, 5].into()], ..grant("a.test", 8_080, &[Get], "/") };
    assert!(inside.covers(&to("http://a.test:8080/", Get)));
}

/// Whatever a rule says: the gate looks at grants first.
#[test]
fn a_call_to_a_host_that_is_not_granted_is_not_possible() {
    let t = TestSession::new();
    let mut agent = t.policy.agents.values().next().unwrap().clone();
    let facts = |url| Facts { destination: Some(to(url, Method::Get)), ..Facts::new(EffectClass::Read, Vec::new()) };
    assert!(!is_granted(&agent, Some("read"), &facts("https://a.test/"), &t.policy), "an empty list is none");
    agent.grants.hosts = vec![grant("b.test", 443, &[Method::Get], "/"), grant("a.test", 443, &[Method::Get], "/x")];
    for (url, possible) in [("https://a.test/x", true), ("https://a.test/y", false), ("https://b.test/y", true)] {
        assert_eq!(is_granted(&agent, Some("read"), &facts(url), &t.policy), possible, "{url}");
    }
}

#[test]
fn what_can_carry_a_message_is_counted() {
    let url = Url::read("https://a.test/?q=12345").unwrap();
    assert_eq!(Destination::of(&url, Method::Get, 7).url_bytes, 23 + 7);
    assert_eq!(url.scheme, Scheme::Https);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// Whatever is read has one form, and that form holds nothing that another parser could split at.
    #[test]
    fn what_is_read_is_read_again_as_the_same(text in "(https?://)?[a-zA-Z0-9.:@%/?#\\[\\]\\\\;ü。xn\\-]{0,40}|\\PC{0,20}") {
        let Ok(url) = Url::read(&text) else { return Ok(()) };
        let form = url.text();
        prop_assert_eq!(Url::read(&form), Ok(url.clone()), "{}", form);
        prop_assert!(form.bytes().all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'#'), "{}", form);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'[' | b']' | b':');
        prop_assert!(url.host.as_str().bytes().all(plain), "{}", form);
    }

    #[test]
    fn a_host_is_read_again_as_the_same(text in "[a-zA-Z0-9.\\-:\\[\\]xX]{0,24}|[\\PC.]{0,12}|(xn--)?[a-z0-9\\-]{1,12}\\.test") {
        if let Some(form) = host(&text) {
            prop_assert_eq!(host(&form), Some(form.clone()));
        }
    }

    #[test]
    fn every_address_is_one(four: [u8; 4], six: [u8; 16]) {
        let (four, six) = (Ipv4Addr::from(four), Ipv6Addr::from(six));
        prop_assert_eq!(Host::read(&four.to_string()).unwrap().address(), Some(four.into()));
        prop_assert_eq!(Host::read(&format!("[{six}]")).unwrap().address(), Some(six.into()));
    }
}
