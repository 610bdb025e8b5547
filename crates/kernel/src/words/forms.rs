//! The normal form of each kind of value; two values are one only where these are equal, code point
//! by code point. What has no normal form is no value.
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::limits::ATOM_BYTES_MAX;

/// Composed, without characters that nobody sees, and not mixed of scripts that look alike.
pub fn clean(text: &str) -> Option<String> {
    let composed: String = text.nfc().collect();
    let fits = !composed.trim().is_empty() && composed.len() <= ATOM_BYTES_MAX;
    (fits && !composed.chars().any(is_hidden) && !mixes_scripts(&composed)).then_some(composed)
}

/// Controls, bidirectional marks, zero-width characters, fillers, tags, variation selectors, private
/// use, and every space but the plain one.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    let odd_space = c.is_whitespace() && c != ' ';
    c.is_control()
        || odd_space
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Other,
}

fn script(c: char) -> Option<Script> {
    if !c.is_alphabetic() {
        return None;
    }
    Some(match c {
        'a'..='z' | 'A'..='Z' | '\u{aa}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Script::Latin,
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Script::Greek,
        '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}' => {
            Script::Cyrillic
        }
        _ => Script::Other,
    })
}

/// Two scripts within one run of letters.
fn mixes_scripts(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|run| {
        let mut scripts = run.chars().filter_map(script);
        let first = scripts.next();
        scripts.any(|other| Some(other) != first)
    })
}

/// One addr-spec: no display name, comment, group, route or quoted local part.
pub fn email(text: &str) -> Option<String> {
    let (local, domain) = text.split_once('@')?;
    let is_atext = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_{|}~".contains(c);
    let is_dot_atom = local.split('.').all(|part| !part.is_empty() && part.chars().all(is_atext));
    is_dot_atom.then_some(())?;
    Some(format!("{local}@{}", name(domain)?))
}

/// A name with a dot, or a decimal IPv4 address; a port, where there is one, belongs to it.
pub fn host(text: &str) -> Option<String> {
    let (name_part, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(number_of_port(port)?)),
        None => (text, None),
    };
    let host = address(name_part).or_else(|| name(name_part))?;
    Some(port.map_or(host.clone(), |port| format!("{host}:{port}")))
}

fn number_of_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

fn address(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    let is_byte = |part: &&str| {
        part.bytes().all(|b| b.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
            && part.parse::<u8>().is_ok()
    };
    (parts.len() == 4 && parts.iter().all(is_byte)).then(|| text.to_owned())
}

/// Labels in lower case and as A-labels, at least two, the last of them no number.
fn name(text: &str) -> Option<String> {
    const NAME_BYTES_MAX: usize = 253;
    let labels: Vec<String> = text.split('.').map(label).collect::<Option<_>>()?;
    let last = labels.last()?;
    let is_name = labels.len() > 1 && !last.bytes().all(|b| b.is_ascii_digit()) && last.len() > 1;
    let joined = labels.join(".");
    (is_name && joined.len() <= NAME_BYTES_MAX).then_some(joined)
}

/// One part of a host's name, as an A-label where it has to be.
pub fn label(text: &str) -> Option<String> {
    const LABEL_BYTES_MAX: usize = 63;
    let lower: String = text.to_lowercase().nfc().collect();
    let is_plain = !lower.is_empty()
        && !lower.starts_with('-')
        && !lower.ends_with('-')
        && lower.chars().all(|c| c.is_alphanumeric() || c == '-')
        && lower.to_lowercase() == lower
        // A full-width letter is no second spelling of another one.
        && lower.nfkc().eq(lower.chars());
    is_plain.then_some(())?;
    if let Some(code) = lower.strip_prefix("xn--") {
        let meant = idna::punycode::decode_to_string(code).filter(|meant| !meant.is_ascii())?;
        let again = idna::punycode::encode_str(&meant)?;
        let is_letter = |c: char| c == '-' || c.is_alphanumeric() || is_combining_mark(c);
        let is_name = meant.nfkc().eq(meant.chars()) && meant.to_lowercase() == meant && meant.chars().all(is_letter);
        (again == code && is_name).then_some(())?;
    }
    let ascii = if lower.is_ascii() { lower } else { format!("xn--{}", idna::punycode::encode_str(&lower)?) };
    (ascii.len() <= LABEL_BYTES_MAX).then_some(ascii)
}

/// Parsed once: no userinfo, no fragment, nothing that two parsers read in two ways. The path and the
/// query stay as they are written.
pub fn url(text: &str) -> Option<String> {
    if is_bare_url(text) {
        // Which scheme is meant only its reader knows: it is a form of its own, and equals no other.
        let bare = text.strip_prefix("//").unwrap_or(text);
        return url(&format!("https://{bare}"))?.strip_prefix("https:").map(ToOwned::to_owned);
    }
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        "ftp" => ":21",
        "ssh" | "sftp" => ":22",
        "git" => ":9418",
        _ => return None,
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end)?;
    let is_odd = |c: char| matches!(c, '#' | '\\' | ' ' | '"' | '<' | '>' | '`' | '^' | '{' | '|' | '}');
    if target.chars().any(is_odd) || authority.contains('@') {
        return None;
    }
    let path = target.split('?').next().unwrap_or_default();
    let is_dot = |part: &str| matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(is_dot) {
        return None;
    }
    let host = host(authority)?;
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    let slash = if target.starts_with('/') { "" } else { "/" };
    Some(format!("{scheme}://{host}{slash}{target}"))
}

/// A host that begins with `www.`, without a port, and what comes after it: nobody takes it for anything else.
pub fn is_bare_url(text: &str) -> bool {
    let text = text.strip_prefix("//").unwrap_or(text);
    let begins = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("www."));
    let host = text.split(['/', '?']).next().unwrap_or(text);
    begins && !host.contains(':') && (host.len() < text.len() || !is_file_name(text))
}

/// Absolute, or relative to where the reader stands; without `.`, double or trailing slashes. What
/// climbs, starts from somebody's home or is escaped means different files to different readers.
pub fn path(text: &str) -> Option<String> {
    let is_odd = |c: char| matches!(c, '\\' | '~' | '*' | '?' | '$' | '|' | '<' | '>' | '"');
    if text.contains("://") || text.starts_with(['-', '@']) || text.chars().any(is_odd) {
        return None;
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let joined = parts.join("/");
    if parts.is_empty() || parts.contains(&"..") || joined.starts_with(['-', '@']) && !text.starts_with('/') {
        return None;
    }
    if text.starts_with('/') {
        return Some(format!("/{joined}"));
    }
    // `11/21/2026`, `and/or`, `24/7`: what is relative names a file.
    let is_file = joined.chars().any(char::is_alphabetic) && (is_file_name(&joined) || parts.len() > 2);
    is_file.then_some(joined)
}

/// Endings by which a bare name is a file's and no host's, though some of them are domains too.
const FILE_ENDINGS: &[&str] = &[
    "app", "bak", "bin", "bz2", "c", "cc", "cfg", "conf", "cpp", "css", "csv", "db", "doc", "docx", "env", "gif", "go",
    "gz", "h", "html", "ics", "ini", "java", "jpeg", "jpg", "js", "json", "jsonl", "key", "lock", "log", "lua", "md",
    "mov", "mp3", "mp4", "odt", "pdf", "pem", "php", "pl", "png", "ppt", "pptx", "ps", "py", "rb", "rs", "rtf", "sh",
    "sql", "svg", "tar", "tgz", "toml", "ts", "tsv", "txt", "wasm", "xls", "xlsx", "xml", "yaml", "yml", "zip",
];

pub fn is_file_name(text: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or(text);
    last.rsplit_once('.')
        .is_some_and(|(stem, ending)| !stem.is_empty() && FILE_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// An IBAN whose check digits are right, or an account's digits as they are written.
pub fn account(text: &str) -> Option<String> {
    let joined: String = text.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_uppercase();
    let is_digits = joined.bytes().all(|b| b.is_ascii_digit()) && (6..=20).contains(&joined.len());
    let as_written = joined.len() == text.len();
    (is_iban(&joined) || (is_digits && as_written)).then_some(joined)
}

pub fn is_iban(text: &str) -> bool {
    let Some((head, tail)) = text.split_at_checked(4) else { return false };
    let (country, check) = head.split_at_checked(2).unwrap_or_default();
    let is_shaped = (15..=34).contains(&text.len())
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && check.bytes().all(|b| b.is_ascii_digit())
        && tail.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let rest = tail.chars().chain(head.chars()).filter_map(|c| c.to_digit(36));
    let remainder = rest.fold(0u32, |all, digit| (all * if digit > 9 { 100 } else { 10 } + digit) % 97);
    is_shaped && remainder == 1
}

/// A person's name on some service; the sign before it is not part of it.
pub fn handle(text: &str) -> Option<String> {
    let name = text.strip_prefix('@').unwrap_or(text);
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let is_whole = name.starts_with(char::is_alphanumeric) && name.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    (is_plain && is_whole).then(|| name.to_owned())
}

/// What a system gives to a thing: digits, with letters or without.
pub fn id(text: &str) -> Option<String> {
    const ID_CHARS_MAX: usize = 64;
    let bare = text.strip_prefix('#').unwrap_or(text);
    let is_plain = bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let has_digit = bare.bytes().any(|b| b.is_ascii_digit());
    let digits = bare.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_phrase = digits.len() < bare.len()
        && matches!(digits.to_ascii_lowercase().as_str(), "st" | "nd" | "rd" | "th" | "am" | "pm" | "h");
    let is_date = bare.contains('-') && bare.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let is_id = is_plain && has_digit && !is_phrase && !is_date && bare.len() <= ID_CHARS_MAX;
    is_id.then(|| bare.to_owned())
}
