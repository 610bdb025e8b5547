//! The head of a request as a command wrote it. Two readers of one head must not find two requests in it: what
//! could be read in two ways is refused, however many servers would let it pass.
use super::Refused;
use crate::limits::{ASKED_BYTES_MAX, ASKED_FIELDS_MAX};

/// A request's first line and its fields, whose names are in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub method: String,
    pub target: String,
    /// HTTP/1.1; otherwise 1.0, which keeps no connection and knows no pieces.
    pub is_one_one: bool,
    pub fields: Vec<(String, String)>,
}

/// Takes the bytes of a head one by one, and says at the first wrong one that it is none.
#[derive(Debug, Default)]
pub struct Scan(Vec<u8>);

impl Scan {
    /// The head, with its last byte.
    ///
    /// # Errors
    /// It is none, or too long.
    pub fn push(&mut self, byte: u8) -> Result<Option<Head>, Refused> {
        let ends_line = self.0.last() == Some(&b'\r');
        if ends_line != (byte == b'\n') {
            return Err(bad("a line ends with CR and LF, and holds neither"));
        }
        if self.0.len() >= ASKED_BYTES_MAX {
            return Err(Refused::new(431, format!("the head of a request holds at most {ASKED_BYTES_MAX} bytes")));
        }
        self.0.push(byte);
        if self.0.ends_with(b"\r\n\r\n") { read(&self.0).map(Some) } else { Ok(None) }
    }
}

fn bad(why: &str) -> Refused {
    Refused::new(400, why)
}

fn read(bytes: &[u8]) -> Result<Head, Refused> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
    let text = text.and_then(|text| text.strip_suffix("\r\n\r\n"));
    let mut lines = text.ok_or_else(|| bad("a head is written in ASCII"))?.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (first.next(), first.next(), first.next(), first.next())
    else {
        return Err(bad("the first line is a method, a target and a version, with one space between them"));
    };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_method || target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("the first line holds no method, or no target"));
    }
    let is_one_one = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return Err(Refused::new(505, "only HTTP/1.1 and 1.0 are spoken")),
    };
    let fields = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    if fields.len() > ASKED_FIELDS_MAX {
        return Err(Refused::new(431, format!("a request holds at most {ASKED_FIELDS_MAX} fields")));
    }
    let head = Head { method: method.to_owned(), target: target.to_owned(), is_one_one, fields };
    head.is_said_once()?;
    Ok(head)
}

fn field(line: &str) -> Result<(String, String), Refused> {
    let (name, value) = line.split_once(':').ok_or_else(|| bad("a field is a name, a colon and a value"))?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    // A line that begins with a space would go on with the one before it, for some.
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(bad("a field's name holds letters, digits and hyphens, with nothing before or behind it"));
    }
    let value = value.trim_matches([' ', '\t']);
    if !value.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic()) {
        return Err(bad("a field's value holds a control character"));
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

impl Head {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Of the fields that say where a request goes and where it ends, none is there twice, and there is one way
    /// only to say the latter.
    fn is_said_once(&self) -> Result<(), Refused> {
        for name in ["host", "content-length"] {
            if self.fields.iter().filter(|(known, _)| known == name).count() > 1 {
                return Err(bad(&format!("`{name}` is there twice")));
            }
        }
        if self.field("transfer-encoding").is_some() {
            return Err(Refused::new(411, "a body is announced by `content-length`, and by nothing else"));
        }
        if self.is_one_one && self.field("host").is_none() {
            return Err(bad("`host` is missing"));
        }
        Ok(())
    }

    /// Bytes of the body.
    pub fn length(&self) -> Result<usize, Refused> {
        let Some(length) = self.field("content-length") else { return Ok(0) };
        let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        length.parse().ok().filter(|_| is_number).ok_or_else(|| bad("`content-length` is no number"))
    }

    pub fn says_close(&self) -> bool {
        let says = |value: &str| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
        !self.is_one_one || self.fields.iter().any(|(name, value)| name == "connection" && says(value))
    }
}
