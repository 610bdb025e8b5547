//! The lines of git's protocol: each begins with its length, in four hexadecimal digits that count themselves.

/// What a server said that no server says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the server's answer is none of git's protocol")]
pub struct Garbled;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    Line(&'a [u8]),
    /// The end of a message.
    Flush,
    /// The end of a section of one.
    Delimiter,
    /// The end of an answer.
    End,
}

impl<'a> Packet<'a> {
    /// Without the end of the line.
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Self::Line(line) => Some(line.strip_suffix(b"\n").unwrap_or(line)),
            Self::Flush | Self::Delimiter | Self::End => None,
        }
    }
}

/// The packets of an answer, one after the other.
#[derive(Clone, Debug)]
pub struct Packets<'a>(pub &'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let packet = self.packet();
        if packet.is_none() {
            self.0 = &[];
        }
        Some(packet.ok_or(Garbled))
    }
}

impl<'a> Packets<'a> {
    fn packet(&mut self) -> Option<Packet<'a>> {
        let (head, rest) = self.0.split_at_checked(4)?;
        let is_hex = head.iter().all(u8::is_ascii_hexdigit);
        let length = usize::from_str_radix(std::str::from_utf8(head).ok().filter(|_| is_hex)?, 16).ok()?;
        let (packet, rest) = match length {
            0 => (Packet::Flush, rest),
            1 => (Packet::Delimiter, rest),
            2 => (Packet::End, rest),
            3 => return None,
            more => {
                let (line, rest) = rest.split_at_checked(more.checked_sub(4)?)?;
                (Packet::Line(line), rest)
            }
        };
        self.0 = rest;
        Some(packet)
    }
}

/// Appends a line, which is far shorter than the longest.
pub fn line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("{:04x}{text}", text.len().saturating_add(4)).as_bytes());
}

pub const FLUSH: &[u8] = b"0000";
pub const DELIMITER: &[u8] = b"0001";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_one_by_one_and_what_is_none_ends_them() {
        let mut said = Vec::new();
        line(&mut said, "want\n");
        said.extend_from_slice(DELIMITER);
        said.extend_from_slice(b"0004");
        said.extend_from_slice(FLUSH);
        said.extend_from_slice(b"0002");
        let read: Vec<_> = Packets(&said).collect();
        let all = [Packet::Line(b"want\n"), Packet::Delimiter, Packet::Line(b""), Packet::Flush, Packet::End];
        assert_eq!(read, all.map(Ok));
        assert_eq!(Packet::Line(b"a\n").text(), Some(&b"a"[..]));
        for garbled in ["000", "0003", "0005", "zzzz", "+004", "00ffshort", "ffff"] {
            assert_eq!(Packets(garbled.as_bytes()).collect::<Vec<_>>(), [Err(Garbled)], "{garbled}");
        }
    }
}
