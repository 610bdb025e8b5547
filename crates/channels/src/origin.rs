//! Whether a browser may be behind a request, and from which page: a page of another origin, or a
//! name that was bent to this machine, is turned away before any credential is looked at.
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

use crate::error::{Problem, Why};

/// # Errors
/// 403 where the origin is not this listener, or where the host is a name that this machine, known
/// only to itself, does not have.
pub fn check(headers: &HeaderMap, listen: SocketAddr, behind_proxy: bool) -> Result<(), Problem> {
    let hosts: Vec<&str> = headers.get_all(HOST).iter().filter_map(|value| value.to_str().ok()).collect();
    // A proxy that the operator trusts gives its own public name.
    if listen.ip().is_loopback() && !behind_proxy {
        let known = |host: &&str| authority(host).is_some_and(|found| is_own_name(found.host()));
        if !hosts.iter().all(known) {
            let next = "use 127.0.0.1, or name the proxy in [server] trusted_proxies";
            return Err(Problem::new(Why::ForeignHost, "this host name is not this listener's", next));
        }
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let ours = |origin: &str| {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        rest.and_then(authority).is_some_and(|found| is_listener(&found, listen))
    };
    if origins.all(|origin| origin.to_str().is_ok_and(ours)) {
        return Ok(());
    }
    let next = "call the API from a program, or from a page of this listener";
    Err(Problem::new(Why::ForeignOrigin, "requests from other origins are refused", next))
}

fn authority(text: &str) -> Option<Authority> {
    text.parse().ok()
}

/// An address cannot be bent to another machine; of names, only this one is certain.
fn is_own_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || ip(host).is_some()
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_listener(origin: &Authority, listen: SocketAddr) -> bool {
    let named = match ip(origin.host()) {
        Some(address) if listen.ip().is_unspecified() => !address.is_unspecified(),
        Some(address) => address == listen.ip(),
        None => {
            origin.host().eq_ignore_ascii_case("localhost")
                && (listen.ip().is_loopback() || listen.ip().is_unspecified())
        }
    };
    named && origin.port_u16() == Some(listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(listen: &str, host: &str, origin: Option<&str>, proxy: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        check(&headers, listen.parse().unwrap(), proxy).is_ok()
    }

    #[test]
    fn only_this_listener_is_an_origin() {
        let listen = "127.0.0.1:7717";
        for (host, origin, expected) in [
            ("127.0.0.1:7717", None, true),
            ("localhost:7717", None, true),
            ("127.0.0.1:7717", Some("http://127.0.0.1:7717"), true),
            ("127.0.0.1:7717", Some("http://localhost:7717"), true),
            ("127.0.0.1:7717", Some("http://127.0.0.1:8080"), false),
            ("127.0.0.1:7717", Some("http://127.0.0.1"), false),
            ("127.0.0.1:7717", Some("https://evil.example"), false),
            ("127.0.0.1:7717", Some("null"), false),
            ("127.0.0.1:7717", Some("http://127.0.0.1:7717.evil.example"), false),
            ("127.0.0.1:7717", Some("http://127.0.0.1:7717@evil.example"), false),
            ("evil.example:7717", None, false),
            ("evil.example:7717", Some("http://evil.example:7717"), false),
        ] {
            assert_eq!(allowed(listen, host, origin, false), expected, "{host} {origin:?}");
        }
    }

    #[test]
    fn an_open_listener_has_names_that_it_does_not_know() {
        assert!(allowed("0.0.0.0:7717", "agent.example:7717", None, false));
        assert!(allowed("0.0.0.0:7717", "192.0.2.1:7717", Some("https://192.0.2.1:7717"), false));
        assert!(!allowed("0.0.0.0:7717", "evil.example:7717", Some("http://evil.example:7717"), false));
        assert!(allowed("127.0.0.1:7717", "agent.example", None, true));
        assert!(!allowed("127.0.0.1:7717", "agent.example", Some("http://evil.example"), true));
    }
}
