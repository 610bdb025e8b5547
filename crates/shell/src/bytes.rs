//! The first look: bytes that no honest command holds. They are refused, not asked about, because they
//! exist to make a person, a pattern or a second parser see something else than what runs.
use crate::Refused;
use crate::limits::COMMAND_BYTES_MAX;

pub fn check(bytes: &[u8]) -> Result<&str, Refused> {
    if bytes.len() > COMMAND_BYTES_MAX {
        return Err(Refused::TooLong { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::NotUtf8)?;
    match text.chars().find(|c| is_deceptive(*c)) {
        Some(c) => Err(Refused::Character { code: u32::from(c) }),
        None => Ok(text),
    }
}

fn is_deceptive(c: char) -> bool {
    let is_control = c.is_control() && !matches!(c, '\n' | '\t');
    let is_blank = !c.is_ascii() && c.is_whitespace();
    is_control || is_blank || is_unseen(c)
}

/// Characters that have no shape of their own or change the order of others (Unicode's format characters,
/// default ignorables, blank fillers). U+FE0E and U+FE0F stay: they choose between two faces of one emoji.
fn is_unseen(c: char) -> bool {
    matches!(u32::from(c),
        0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F
        | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFE00..=0xFE0D | 0xFEFF | 0xFFA0
        | 0xFFF0..=0xFFFB | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}
