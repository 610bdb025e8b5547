//! The forms in which a value may stand in a text that somebody has encoded: what a program, a server
//! or a model does without much thought. Whoever means to hide a value can always find another form:
//! this is a net, and the wall is that nobody is given the value.
use std::collections::BTreeSet;
use std::fmt::Write as _;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters that an encoder of URLs may leave as they are, from the strictest to the laxest.
const LEFT: [&[u8]; 3] = [b"-_.~", b"-_.~!'()*", b"-_.~!'()*;/?:@&=+$,#"];

/// All of them, each also backwards, and each also within a string of JSON.
pub fn forms(value: &str) -> BTreeSet<String> {
    let backwards = |text: &String| text.chars().rev().collect::<String>();
    let mut all = encoded(value);
    let reversed: Vec<String> = all.iter().map(backwards).collect();
    all.extend(reversed);
    all.extend(encoded(&backwards(&value.to_owned())));
    let quoted: Vec<String> = all.iter().map(|form| json(form, false)).collect();
    all.extend(quoted);
    all
}

fn encoded(value: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([value.to_owned(), value.to_lowercase(), value.to_uppercase()]);
    all.insert(value.replace('\n', "\r\n"));
    for alphabet in [STANDARD, URL] {
        (0..3).for_each(|before| all.extend(base64(value.as_bytes(), before, alphabet)));
    }
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    all.extend([hex.to_uppercase(), hex]);
    for left in LEFT {
        let encoded = percent(value, |byte| byte.is_ascii_alphanumeric() || left.contains(&byte));
        all.extend([lower_escapes(&encoded), encoded.replace("%20", "+"), encoded]);
    }
    let every = percent(value, |_| false);
    all.extend([every.to_lowercase(), every]);
    for escaped in [json(value, false), json(value, true)] {
        all.extend([escaped.replace('/', "\\/"), escaped]);
    }
    all
}

/// What is the same whatever stands around the value, which begins `before` bytes after a group of three;
/// and the same up to the end of what is encoded.
fn base64(value: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<String> {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(value.iter().copied()).collect();
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let [a, b, c] = std::array::from_fn(|at| u32::from(group.get(at).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for shift in [18, 12, 6, 0].into_iter().take(group.len() + 1) {
            let at = usize::try_from(bits >> shift & 63).unwrap_or(0);
            text.push(char::from(alphabet.get(at).copied().unwrap_or(b'=')));
        }
    }
    // The first characters hold bits of what stands before, the last one bits of what comes after.
    let begin = (before * 8).div_ceil(6);
    let sure = bytes.len() * 8 / 6;
    let part = |end: usize| text.get(begin..end).unwrap_or_default().to_owned();
    let whole = part(text.len());
    let padding = "=".repeat((3 - bytes.len() % 3) % 3);
    vec![part(sure), format!("{whole}{padding}"), whole]
}

fn percent(value: &str, is_left: impl Fn(u8) -> bool) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        if is_left(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn lower_escapes(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut out, part| {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        out.extend(["%", &digits.to_lowercase(), rest]);
        out
    })
}

/// As a string of JSON, without the quotes around it.
fn json(value: &str, only_ascii: bool) -> String {
    value.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || (only_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
        out
    })
}
