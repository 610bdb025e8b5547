//! A range of a full output, as the model is shown it.
use crate::ReadOutput;
use crate::limits::TEXT_BYTES_MAX;

/// The bytes that were asked for, at most what one result holds, whole characters only; first says which they are.
#[must_use]
pub fn range(whole: &[u8], asked: ReadOutput) -> String {
    let whole = String::from_utf8_lossy(whole);
    let place = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(whole.len());
    let from = whole.ceil_char_boundary(place(asked.offset));
    let length = asked.limit.map_or(TEXT_BYTES_MAX, |limit| limit.get().min(TEXT_BYTES_MAX));
    let end = from.saturating_add(length);
    // A limit below one character still gets that character: whoever reads on comes to the end.
    let end = whole.floor_char_boundary(end).max(whole.ceil_char_boundary(from.saturating_add(1)));
    let shown = whole.get(from..end.min(whole.len())).unwrap_or_default();
    let end = from.saturating_add(shown.len());
    format!("[bytes {from} to {end} of {}]\n{shown}", whole.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(whole: &str, offset: u64, limit: Option<usize>) -> String {
        range(whole.as_bytes(), ReadOutput { id: 1, offset, limit: limit.and_then(std::num::NonZeroUsize::new) })
    }

    #[test]
    fn a_range_is_whole_characters_and_says_which() {
        assert_eq!(shown("abcdef", 1, Some(3)), "[bytes 1 to 4 of 6]\nbcd");
        assert_eq!(shown("aéz", 0, Some(2)), "[bytes 0 to 1 of 4]\na");
        assert_eq!(shown("aéz", 2, None), "[bytes 3 to 4 of 4]\nz");
        assert_eq!(shown("éé", 0, Some(1)), "[bytes 0 to 2 of 4]\né");
        assert_eq!(shown("abc", 9, None), "[bytes 3 to 3 of 3]\n");
        assert_eq!(shown("abc", u64::MAX, Some(usize::MAX)), "[bytes 3 to 3 of 3]\n");
        let long = shown(&"x".repeat(100_000), 10, Some(90_000));
        assert!(long.starts_with("[bytes 10 to 32778 of 100000]\nxxx") && long.len() < 33_000);
    }
}
