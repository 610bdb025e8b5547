//! Takes values out of texts, in whatever form they stand there, and puts `[secret:NAME#VERSION]` in
//! their place. A stream is held back by no more than it must: the longest end that a form may begin with.
//!
//! Found are the leftmost forms, at each place the longest, none over another. A form that ends in what has
//! come cannot become another by what follows, unless it begins in the end that is held back: so how a
//! stream is cut into pieces changes nothing.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::forms::forms;
use crate::limits::VALUE_BYTES_MIN;

/// Bytes by which a form is looked for; no form is shorter.
const HEAD: usize = VALUE_BYTES_MIN;

type Head = [u8; HEAD];

/// How many forms were taken out, by the names of the values.
pub type Taken = BTreeMap<String, u64>;

/// A value that must not appear.
#[derive(Clone, Debug)]
pub struct Watched {
    pub name: String,
    /// Tells two values of one name apart; nothing that is computed of a value that could be guessed.
    pub version: String,
    pub value: SecretString,
}

impl Watched {
    /// One that nobody has given a version: a few bits of its digest. It is a key, not something that
    /// could be guessed by them.
    pub(crate) fn unnumbered(name: &str, value: &SecretString) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, value.expose_secret().as_bytes());
        let version = digest.as_ref().iter().take(2).map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.to_owned(), version, value: value.clone() }
    }

    /// What stands in its place.
    fn mark(&self) -> Mark {
        let version = self.version.get(..4).unwrap_or(&self.version);
        Mark { name: self.name.clone(), text: format!("[secret:{}#{version}]", self.name) }
    }
}

#[derive(Debug)]
struct Mark {
    name: String,
    text: String,
}

struct Form {
    bytes: Zeroizing<Vec<u8>>,
    /// Index of the mark.
    mark: usize,
}

/// Finds a fixed set of values.
#[derive(Default)]
pub struct Redactor {
    marks: Vec<Mark>,
    /// By their first bytes; longest first.
    forms: BTreeMap<Head, Vec<Form>>,
    heads: Option<AhoCorasick>,
    longest: usize,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("marks", &self.marks).finish_non_exhaustive()
    }
}

/// Where a form stands.
struct Found {
    start: usize,
    end: usize,
    mark: usize,
}

impl Redactor {
    /// Values shorter than eight bytes are not looked for: they would be found in everything. Of equal
    /// forms the first value's counts.
    #[must_use]
    pub fn new<'w>(values: impl IntoIterator<Item = &'w Watched>) -> Self {
        let mut new = Self::default();
        for watched in values {
            if watched.value.expose_secret().len() < VALUE_BYTES_MIN {
                continue;
            }
            let mark = new.marks.len();
            new.marks.push(watched.mark());
            for form in forms(watched.value.expose_secret()) {
                new.add(Zeroizing::new(form.into_bytes()), mark);
            }
        }
        for forms in new.forms.values_mut() {
            // Stable: of equal ones the first stays the first.
            forms.sort_by_key(|form| std::cmp::Reverse(form.bytes.len()));
            forms.dedup_by(|later, first| later.bytes == first.bytes);
        }
        let heads = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(new.forms.keys());
        // No pattern is longer than a head, and there are far fewer of them than the crate's limits.
        new.heads = heads.ok().filter(|_| !new.forms.is_empty());
        new
    }

    fn add(&mut self, bytes: Zeroizing<Vec<u8>>, mark: usize) {
        let Some(head) = bytes.first_chunk::<HEAD>() else { return };
        self.longest = self.longest.max(bytes.len());
        self.forms.entry(*head).or_default().push(Form { bytes, mark });
    }

    /// The text without the values; borrowed where there was none.
    #[must_use]
    pub fn clean<'t>(&self, text: &'t str, taken: &mut Taken) -> Cow<'t, str> {
        match self.clean_bytes(text.as_bytes(), taken) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Forms are texts, so they begin and end between characters.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    #[must_use]
    pub fn clean_bytes<'t>(&self, bytes: &'t [u8], taken: &mut Taken) -> Cow<'t, [u8]> {
        if self.find(bytes, 0).is_none() {
            return Cow::Borrowed(bytes);
        }
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(found) = self.find(bytes, at) {
            self.replace(bytes, &mut at, &found, &mut out, taken);
        }
        out.extend_from_slice(bytes.get(at..).unwrap_or_default());
        Cow::Owned(out)
    }

    #[must_use]
    pub fn stream(self: &Arc<Self>) -> Stream {
        Stream { redactor: Arc::clone(self), held: Zeroizing::default(), taken: Taken::new() }
    }

    fn replace(&self, bytes: &[u8], at: &mut usize, found: &Found, out: &mut Vec<u8>, taken: &mut Taken) {
        out.extend_from_slice(bytes.get(*at..found.start).unwrap_or_default());
        if let Some(mark) = self.marks.get(found.mark) {
            out.extend_from_slice(mark.text.as_bytes());
            *taken.entry(mark.name.clone()).or_default() += 1;
        }
        *at = found.end;
    }

    /// The first whole form from `from` on.
    fn find(&self, bytes: &[u8], mut from: usize) -> Option<Found> {
        loop {
            let (start, forms) = self.next_head(bytes, from)?;
            let rest = bytes.get(start..)?;
            if let Some(form) = forms.iter().find(|form| rest.starts_with(&form.bytes)) {
                return Some(Found { start, end: start + form.bytes.len(), mark: form.mark });
            }
            from = start + 1;
        }
    }

    /// Where the longest end of `bytes` begins that a form begins with and goes on beyond.
    fn open_end(&self, bytes: &[u8], from: usize) -> usize {
        let mut at = from.max((bytes.len() + 1).saturating_sub(self.longest));
        while let Some((start, forms)) = self.next_head(bytes, at) {
            let rest = bytes.get(start..).unwrap_or_default();
            if forms.iter().any(|form| form.bytes.len() > rest.len() && form.bytes.starts_with(rest)) {
                return start;
            }
            at = start + 1;
        }
        let short = (bytes.len() + 1).saturating_sub(HEAD).max(from);
        (short..bytes.len())
            .find(|start| self.begins_a_head(bytes.get(*start..).unwrap_or_default()))
            .unwrap_or(bytes.len())
    }

    fn next_head(&self, bytes: &[u8], from: usize) -> Option<(usize, &[Form])> {
        let found = self.heads.as_ref()?.find(bytes.get(from..)?)?;
        let start = from + found.start();
        let head = bytes.get(start..)?.first_chunk::<HEAD>()?;
        Some((start, self.forms.get(head)?))
    }

    fn begins_a_head(&self, end: &[u8]) -> bool {
        let mut lowest = Head::default();
        lowest.iter_mut().zip(end).for_each(|(to, from)| *to = *from);
        self.forms.range(lowest..).next().is_some_and(|(head, _)| head.starts_with(end))
    }
}

/// One text that comes in pieces.
#[derive(Debug)]
pub struct Stream {
    redactor: Arc<Redactor>,
    held: Zeroizing<Vec<u8>>,
    /// Out of what has come.
    pub taken: Taken,
}

impl Stream {
    /// What can be said now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.extend_from_slice(piece.as_bytes());
        let (mut out, mut at) = (Vec::new(), 0);
        let open = loop {
            let open = self.redactor.open_end(&self.held, at);
            match self.redactor.find(&self.held, at).filter(|found| found.start < open) {
                Some(found) => self.redactor.replace(&self.held, &mut at, &found, &mut out, &mut self.taken),
                None => break open,
            }
        };
        out.extend_from_slice(self.held.get(at..open).unwrap_or_default());
        self.held.drain(..open);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What was held back, now that nothing follows.
    #[must_use]
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut *self.held);
        String::from_utf8_lossy(&self.redactor.clean_bytes(&rest, &mut self.taken)).into_owned()
    }
}

#[cfg(test)]
#[path = "redactor_tests.rs"]
mod tests;
