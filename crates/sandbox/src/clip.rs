//! One stream of a command: its beginning and its end are kept, what lies between is counted.
use std::collections::VecDeque;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clip {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes between the two.
    pub dropped: u64,
}

impl Clip {
    pub(crate) fn push(&mut self, bytes: &[u8], bytes_max: usize) {
        let half = bytes_max / 2;
        let room = half.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(half);
        self.tail.drain(..over);
        self.dropped = self.dropped.saturating_add(u64::try_from(over).unwrap_or(u64::MAX));
    }

    /// What was kept, with a line where something is missing.
    #[must_use]
    pub fn text(&self) -> String {
        let mut all = self.head.clone();
        if self.dropped > 0 {
            all.extend_from_slice(format!("\n[{} bytes are missing here]\n", self.dropped).as_bytes());
        }
        all.extend(&self.tail);
        String::from_utf8_lossy(&all).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Clip;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let mut clip = Clip::default();
        for piece in [&b"abc"[..], b"defghij", b"klm", b""] {
            clip.push(piece, 8);
        }
        assert_eq!(clip.text(), "abcd\n[5 bytes are missing here]\njklm");
        let mut short = Clip::default();
        short.push(b"ab\xff", 8);
        assert_eq!((short.text().as_str(), short.dropped), ("ab\u{fffd}", 0));
    }
}
