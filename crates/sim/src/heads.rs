//! What must hold of the head of any request that a command might write: the laws that the loop of `words` holds
//! made-up heads to, and the heads that it keeps.
use backstay_egress::proxy::{Refused, reading};
use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::url::{Host, host_and_port};

/// Pieces that heads are made of besides those that are kept.
pub const PIECES: [&str; 64] = [
    "GET ",
    "HEAD ",
    "POST ",
    "CONNECT ",
    "TRACE ",
    "get ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/2.0\r\n",
    "/",
    "/p/a",
    "/p/../a",
    "/%2e%2e/",
    "%2f",
    "%00",
    "?q=1",
    "#f",
    ";x",
    "//",
    "\\",
    "http://ok.test/",
    "http://ok.test:443/",
    "http://10.0.0.5/x",
    "https://ok.test/",
    "ok.test",
    "ok.test:443",
    "OK.TEST.:443",
    "a.b.test:443",
    "b.test:443",
    "10.0.0.5:80",
    "[::ffff:10.0.0.5]:80",
    "0x0a.5",
    "2130706433",
    "evil.test",
    "evil.test:443",
    "ok.test\0.evil.test:443",
    "user@ok.test:443",
    "ok.test:443@evil.test",
    "ok.test:0443",
    "xn--bcher-kva.test",
    "b\u{fc}cher.test",
    "ok\u{3002}test",
    "Host: ",
    "host:",
    "Host : ",
    "Content-Length: ",
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "Upgrade: h2c",
    "Accept: */*",
    "Authorization: Bearer x",
    "0",
    "5",
    "+5",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\r\n ",
    ",",
    ":",
];

/// What two heads must differ in to be worth keeping both: what becomes of them, alone and within a connection, and
/// what kind of words they hold.
pub type Shape = (u16, u16, bool, bool);

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

fn open() -> [HostGrant; 4] {
    use Method::{Get, Head, Post};
    [
        grant("ok.test", 443, &[Get, Head], "/"),
        grant("ok.test", 80, &[Get], "/"),
        grant("*.b.test", 443, &[Get, Post], "/p"),
        grant("10.0.0.5", 80, &[Get], "/"),
    ]
}

/// # Errors
/// The law that the head breaks.
pub fn check(text: &str) -> Result<Shape, String> {
    let (open, within) = (open(), Host::read("ok.test").ok_or("the host of the test")?);
    let mut become_of = Vec::new();
    for within in [None, Some((&within, 443))] {
        become_of.push(match reading(text.as_bytes(), within, &open) {
            Ok(said) => {
                holds(text, &said, within.is_some(), &open).map_err(|law| format!("{law}: {said:?}"))?;
                if said.starts_with("CONNECT") { 201 } else { 200 }
            }
            Err(Refused { status: status @ 400..=505, .. }) => status,
            Err(Refused { status, .. }) => return Err(format!("it is refused with {status}")),
        });
    }
    for word in text.split([' ', '\r', '\n', '/']) {
        let Some(host) = Host::read(word) else { continue };
        if Host::read(host.as_str()).as_ref() != Some(&host) {
            return Err(format!("{:?} is not its own normal form", host.as_str()));
        }
        if !host.as_str().bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"@%/\\".contains(&b)) {
            return Err(format!("{:?} is no name", host.as_str()));
        }
    }
    let [alone, inside] = <[u16; 2]>::try_from(become_of).map_err(|_| "two readings")?;
    Ok((alone, inside, text.contains("Host"), text.contains('%')))
}

/// What passes on is granted, and is what another reader reads.
fn holds(text: &str, said: &str, is_within: bool, open: &[HostGrant]) -> Result<(), String> {
    let parts: Vec<&str> = said.split(' ').collect();
    let (method, place) = (parts.first().ok_or("no method")?, parts.get(1).ok_or("no place")?);
    let (host, port) = host_and_port(place).map_err(|error| error.to_string())?;
    if !open.iter().any(|grant| grant.is_at(host.as_str(), port)) {
        return Err("it goes where nothing is granted".to_owned());
    }
    let end = text.find("\r\n\r\n").ok_or("it passed without an end")? + 4;
    let head = text.get(..end).unwrap_or_default();
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut fields);
    if other.parse(head.as_bytes()) != Ok(httparse::Status::Complete(head.len())) {
        return Err("another reader finds no head, or another end".to_owned());
    }
    if other.method != Some(*method) {
        return Err("another reader finds another method".to_owned());
    }
    let named = |name: &str| other.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
    if named("host") > 1 || named("content-length") > 1 || named("transfer-encoding") > 0 {
        return Err("another reader may find another request in it".to_owned());
    }
    let target = other.path.unwrap_or_default();
    let authority = if is_within { place } else { target.split(['/', '?']).nth(2).unwrap_or(target) };
    let bare = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if Host::read(bare).as_ref() != Some(&host) {
        return Err("another reader finds another host".to_owned());
    }
    let host_of = |value: &[u8]| {
        Host::read(std::str::from_utf8(value).ok()?.rsplit_once(':').map_or_else(|| "", |(host, _)| host))
    };
    let says_other = other.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host")).any(|field| {
        let whole = std::str::from_utf8(field.value).ok().and_then(Host::read);
        whole.or_else(|| host_of(field.value)).as_ref() != Some(&host)
    });
    if says_other { Err("its host is another one".to_owned()) } else { Ok(()) }
}
