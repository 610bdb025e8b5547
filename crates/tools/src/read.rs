//! `read_file`: a page of lines, and where to go on.
use std::fs::File;
use std::num::NonZeroUsize;

use crate::limits;
use crate::open::contents;
use crate::run::Ran;
use crate::text::cut;

#[derive(Debug)]
pub struct Page {
    /// The first line, counted from 1.
    pub offset: Option<NonZeroUsize>,
    /// Lines at most.
    pub limit: Option<NonZeroUsize>,
}

pub fn read(mut file: File, page: &Page) -> Ran {
    match contents(&mut file, "the file") {
        Ok(bytes) => shown(&bytes, page),
        Err(refused) => Ran::failed(refused.detail),
    }
}

/// No spill: the file is its own full text.
fn shown(bytes: &[u8], page: &Page) -> Ran {
    let all = String::from_utf8_lossy(bytes);
    let lossy = matches!(all, std::borrow::Cow::Owned(_));
    let lines: Vec<&str> = all.split_inclusive('\n').collect();
    let first = page.offset.map_or(1, NonZeroUsize::get);
    if lines.is_empty() {
        return Ran::Done { text: "[the file is empty]".to_owned(), spill: None };
    }
    let Some(rest) = lines.get(first.saturating_sub(1)..).filter(|rest| !rest.is_empty()) else {
        return Ran::failed(format!("there is no line {first}: the file has {} lines", lines.len()));
    };
    let (mut text, mut taken, mut note) = (String::new(), 0usize, String::new());
    for line in rest.iter().take(page.limit.map_or(usize::MAX, NonZeroUsize::get)) {
        let room = limits::TEXT_BYTES_MAX.saturating_sub(text.len());
        if line.len() > room {
            if taken == 0 {
                let number = first.saturating_add(taken);
                let part = cut(line, room);
                note = format!("[line {number} is cut: {} of {} bytes]\n", part.len(), line.len());
                text.push_str(part);
                taken = 1;
            }
            break;
        }
        text.push_str(line);
        taken = taken.saturating_add(1);
    }
    let left = rest.len().saturating_sub(taken);
    if left > 0 {
        let (last, next) = (first.saturating_add(taken).saturating_sub(1), first.saturating_add(taken));
        let of = lines.len();
        note.push_str(&format!("[lines {first} to {last} of {of}; go on with offset {next}]\n"));
    }
    if lossy {
        note.push_str("[not UTF-8: bytes that are no text are shown as \u{fffd}]\n");
    }
    if !note.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&note);
    Ran::Done { text, spill: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: &[u8], offset: usize, limit: usize) -> String {
        let page = Page { offset: NonZeroUsize::new(offset), limit: NonZeroUsize::new(limit) };
        let ran = shown(bytes, &page);
        if let Ran::Done { text, spill: None } = ran { text } else { format!("{ran:?}") }
    }

    #[test]
    fn a_small_file_is_shown_as_it_is() {
        assert_eq!(page(b"a\nb", 0, 0), "a\nb");
        assert_eq!(page(b"a\r\nb\r\n", 0, 0), "a\r\nb\r\n");
        assert_eq!(page(b"", 0, 0), "[the file is empty]");
    }

    #[test]
    fn a_page_says_where_to_go_on() {
        let text = b"1\n2\n3\n4\n";
        assert_eq!(page(text, 2, 2), "2\n3\n[lines 2 to 3 of 4; go on with offset 4]\n");
        assert_eq!(page(text, 4, 2), "4\n");
        assert!(page(text, 5, 0).contains("there is no line 5: the file has 4 lines"));
        assert!(page(text, usize::MAX, usize::MAX).contains("there is no line"));
    }

    #[test]
    fn every_line_of_a_long_file_is_reached_by_going_on() {
        let lines: Vec<String> = (0..9_000).map(|n| format!("line {n}\n")).collect();
        let all = lines.concat();
        let (mut offset, mut seen) = (1, String::new());
        loop {
            let text = page(all.as_bytes(), offset, 0);
            assert!(text.len() < limits::TEXT_BYTES_MAX + 100);
            match text.rsplit_once("[lines ") {
                Some((shown, note)) => {
                    seen.push_str(shown);
                    let next = note.split("offset ").nth(1).unwrap().trim_end_matches("]\n");
                    offset = next.parse().unwrap();
                }
                None => {
                    seen.push_str(&text);
                    break;
                }
            }
        }
        assert!(seen == all);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_said() {
        let long = format!("{}\nnext\n", "ä".repeat(40_000));
        let text = page(long.as_bytes(), 1, 0);
        assert!(text.contains("[line 1 is cut: 32768 of 80001 bytes]"));
        assert!(text.ends_with("[lines 1 to 1 of 2; go on with offset 2]\n"));
        assert_eq!(page(long.as_bytes(), 2, 0), "next\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_and_said() {
        assert_eq!(
            page(b"a\xff\xfeb", 0, 0),
            "a\u{fffd}\u{fffd}b\n[not UTF-8: bytes that are no text are shown as \u{fffd}]\n"
        );
    }
}
