//! A tar archive as every tar reads it (POSIX ustar): regular files for their owner alone, without a time, so that
//! the same content is the same archive.
use std::io::{Result, Write};

const BLOCK: usize = 512;

pub struct Archive<W>(W);

impl<W: Write> Archive<W> {
    pub fn new(to: W) -> Self {
        Self(to)
    }

    /// `name` has at most 100 bytes.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut header = [0u8; BLOCK];
        let mut put = |at: usize, text: &str| {
            header.iter_mut().skip(at).zip(text.bytes()).for_each(|(to, from)| *to = from);
        };
        put(0, name);
        put(100, "0000600\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", bytes.len()));
        put(136, "00000000000\0");
        // The sum is taken with blanks in its own place.
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\0");
        put(263, "00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        header.iter_mut().skip(148).zip(sum.bytes()).for_each(|(to, from)| *to = from);
        self.0.write_all(&header)?;
        self.0.write_all(bytes)?;
        let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.0.write_all(&vec![0; rest])
    }

    pub fn finish(mut self) -> Result<W> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        Ok(self.0)
    }
}
