//! What must hold of any text that is read as a URL: the laws that the loop of `words` holds made-up URLs to, and those
//! that it keeps.
use backstay_kernel::url::{Host, Url};

/// Pieces that URLs are made of besides those that are kept.
pub const PIECES: [&str; 60] = [
    "https://",
    "http://",
    "HTTPS://",
    "ftp://",
    "//",
    "a.example",
    "b.a.example",
    "A.EXAMPLE.",
    "localhost",
    "10.0.0.5",
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "169.254.169.254",
    "[::1]",
    "[::ffff:10.0.0.5]",
    "[fe80::1%25eth0]",
    "xn--bcher-kva",
    "b\u{fc}cher",
    "\u{3002}",
    "\u{ff0e}",
    "\u{2488}",
    "\u{200b}",
    "\u{ad}",
    ":443",
    ":80",
    ":0443",
    ":0",
    ":65536",
    ":",
    "@",
    "user:pass@",
    "/",
    "/v1",
    "/v1/../v2",
    "/./",
    "//x",
    "/%2e%2e/",
    "%2f",
    "%5c",
    "%00",
    "%",
    "%zz",
    "\\",
    "?",
    "?q=1&r=2",
    "?@x",
    "#",
    "#@evil.example",
    ";",
    ";jsessionid=1",
    ".",
    "..",
    "-",
    "_",
    "*",
    "\t",
    "\n",
    " ",
];

/// What two texts must differ in to be worth keeping both: whether they pass, and what kind of host they have.
pub type Shape = (bool, bool, bool, u8);

/// # Errors
/// The law that the text breaks.
pub fn check(text: &str) -> Result<Shape, String> {
    let Ok(url) = Url::read(text) else { return Ok((false, text.contains('@'), text.contains('%'), 0)) };
    let form = url.text();
    if Url::read(&form).as_ref() != Ok(&url) {
        return Err(format!("{form:?} is not its own normal form"));
    }
    let theirs = url::Url::parse(&form).map_err(|error| format!("another reader: {error}"))?;
    let host = url::Host::parse(url.host.as_str()).map_err(|error| format!("another reader of its host: {error}"))?;
    if theirs.host_str().map(str::to_owned) != Some(host.to_string()) {
        return Err(format!("another reader goes to {:?}", theirs.host_str()));
    }
    if theirs.port_or_known_default() != Some(url.port) {
        return Err(format!("another reader goes to port {:?}", theirs.port_or_known_default()));
    }
    if !theirs.username().is_empty() || theirs.password().is_some() || theirs.fragment().is_some() {
        return Err("another reader finds a user or a fragment".to_owned());
    }
    if theirs.path().contains("/../") || url.path.contains("//") || url.path.contains("/../") {
        return Err("its path is not one path".to_owned());
    }
    if Host::read(url.host.as_str()).as_ref() != Some(&url.host) {
        return Err("its host is not its own normal form".to_owned());
    }
    let labels = u8::try_from(url.host.as_str().split('.').count().min(5)).unwrap_or(5);
    Ok((true, url.host.address().is_some(), form.contains('?'), labels))
}
