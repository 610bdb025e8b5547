//! How names and outputs are shown to a model: bounded, and without characters that could pass for
//! something else.
use crate::limits;

/// Cuts at a character boundary, at most `bytes_max` bytes.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

/// A file name on one line: control characters, line ends among them, are written as escapes.
pub fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// A list of lines as a result.
#[derive(Debug)]
pub struct Lines {
    pub text: String,
    /// All lines, where not all are shown.
    pub spill: Option<Vec<u8>>,
}

/// Shows the first `shown_max` of `lines`, or fewer where they are long; says how many more there
/// are, `uncounted` with them.
pub fn lines(lines: &[String], shown_max: usize, uncounted: usize) -> Lines {
    let mut text = String::new();
    let mut shown = 0usize;
    for line in lines.iter().take(shown_max) {
        if text.len().saturating_add(line.len()) > limits::TEXT_BYTES_MAX {
            break;
        }
        text.push_str(line);
        text.push('\n');
        shown = shown.saturating_add(1);
    }
    let more = lines.len().saturating_sub(shown);
    let spill = (more > 0).then(|| {
        let mut full = Vec::new();
        for line in lines {
            if full.len().saturating_add(line.len()) >= limits::SPILL_BYTES_MAX {
                break;
            }
            full.extend_from_slice(line.as_bytes());
            full.push(b'\n');
        }
        full
    });
    let more = more.saturating_add(uncounted);
    if more > 0 {
        text.push_str(&format!("… and {more} more\n"));
    }
    Lines { text, spill }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_shown_in_part_and_spilt_whole() {
        let all: Vec<_> = (0..50).map(|n| format!("line {n}")).collect();
        let out = lines(&all, 3, 4);
        assert_eq!(out.text, "line 0\nline 1\nline 2\n… and 51 more\n");
        assert_eq!(out.spill.unwrap(), (all.join("\n") + "\n").into_bytes());
        assert!(lines(&all, 50, 0).spill.is_none());
    }

    #[test]
    fn long_lines_bound_the_text_and_the_spill() {
        let all = vec!["x".repeat(300); 10_000];
        let out = lines(&all, usize::MAX, 0);
        assert!(out.text.len() < limits::TEXT_BYTES_MAX + 100);
        assert!(out.spill.unwrap().len() <= limits::SPILL_BYTES_MAX);
    }

    #[test]
    fn names_stay_on_one_line_and_cuts_keep_characters_whole() {
        assert_eq!(plain("a\nb\u{1b}ä"), "a\\u{a}b\\u{1b}ä");
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 99), "aä");
    }
}
