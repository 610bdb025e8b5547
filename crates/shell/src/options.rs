//! An argv against what is known about its program: each word is an option that is known in full, its value,
//! or a word in a known place. Nothing is guessed: a program may take `--output` for what is here called
//! unknown, so an unknown word ends the reading.
use crate::grammar::Parsed;
use crate::spec::{self, Tool};
use crate::{EffectClass, Facts, Opaque, Redirect, Word};

pub fn facts(command: &mut Parsed) -> Result<Facts, Opaque> {
    for word in &mut command.argv {
        // An option with a pattern for its value: no file has such a name, and none is looked for.
        word.is_glob &= !(word.text.starts_with('-') && word.text.contains('='));
    }
    let mut facts = of_argv(&command.argv)?;
    for redirect in &command.redirects {
        redirected(redirect, &mut facts);
    }
    Ok(facts)
}

fn redirected(redirect: &Redirect, facts: &mut Facts) {
    let (path, paths) = match redirect {
        Redirect::Input(path) => (path, &mut facts.reads),
        Redirect::Output { path, .. } => (path, &mut facts.writes),
        Redirect::ErrorsToOutput => return,
    };
    if path != "/dev/null" {
        let is_write = matches!(redirect, Redirect::Output { .. });
        facts.class = if is_write { facts.class.max(EffectClass::Write) } else { facts.class };
        paths.push(Word { text: path.clone(), is_glob: false });
    }
}

pub fn of_argv(argv: &[Word]) -> Result<Facts, Opaque> {
    let texts: Vec<&str> = argv.iter().map(|word| word.text.as_str()).collect();
    let program = texts.first().copied().unwrap_or_default();
    let (tool, named) = spec::find(&texts).ok_or_else(|| Opaque::Program(describe(&texts)))?;
    let mut call = Call::new(tool);
    let rest = call.take(argv.get(named..).unwrap_or_default())?;
    if tool.wraps {
        return wrapped(program, rest);
    }
    call.place()?;
    // Its row may be one for an option: `git --no-pager log` is a `git log`.
    let words: Vec<&str> = tool.name.split(' ').skip(1).filter(|word| !word.starts_with('-')).collect();
    let subcommand = (!words.is_empty()).then(|| words.join(" "));
    let Call { reads, writes, packages, .. } = call;
    Ok(Facts { wrapper: None, program: program.to_owned(), subcommand, class: tool.class, reads, writes, packages })
}

fn wrapped(wrapper: &str, inner: &[Word]) -> Result<Facts, Opaque> {
    let facts = of_argv(inner)?;
    if facts.wrapper.is_some() {
        return Err(Opaque::Word { program: wrapper.to_owned(), word: facts.program });
    }
    Ok(Facts { wrapper: Some(wrapper.to_owned()), ..facts })
}

/// The program, with its first word where the table knows others of it.
fn describe(texts: &[&str]) -> String {
    texts.get(..texts.len().min(2)).unwrap_or_default().join(" ")
}

struct Call<'a> {
    tool: &'static Tool,
    seen: Vec<&'a str>,
    words: Vec<&'a Word>,
    reads: Vec<Word>,
    writes: Vec<Word>,
    packages: Vec<String>,
}

impl<'a> Call<'a> {
    fn new(tool: &'static Tool) -> Self {
        Self { tool, seen: Vec::new(), words: Vec::new(), reads: Vec::new(), writes: Vec::new(), packages: Vec::new() }
    }

    fn no(&self, word: &str) -> Opaque {
        Opaque::Word { program: self.tool.name.clone(), word: word.to_owned() }
    }

    /// Takes all words, or, of a wrapper, those before the command that it runs, which it hands back.
    fn take(&mut self, mut rest: &'a [Word]) -> Result<&'a [Word], Opaque> {
        while let Some((word, after)) = rest.split_first() {
            let text = word.text.as_str();
            if text == "--" && !self.tool.is_single_dash && !self.tool.is_verbatim && !self.tool.wraps {
                self.words.extend(after);
                return Ok(&[]);
            }
            let is_option = text.len() > 1 && text.starts_with('-') || self.is_flag(text);
            if is_option && (!self.tool.is_verbatim || self.is_flag(text)) {
                if word.is_glob {
                    return Err(self.no(text));
                }
                rest = self.option(text, after)?;
                continue;
            }
            if self.tool.wraps {
                return self.own_words(rest);
            }
            self.words.push(word);
            rest = after;
        }
        Ok(rest)
    }

    fn own_words(&mut self, rest: &'a [Word]) -> Result<&'a [Word], Opaque> {
        let (own, inner) = rest
            .split_at_checked(self.tool.words.len())
            .ok_or_else(|| Opaque::Count { program: self.tool.name.clone() })?;
        for (role, word) in self.tool.words.iter().zip(own) {
            self.give(role, word, false)?;
        }
        Ok(inner)
    }

    fn is_flag(&self, text: &str) -> bool {
        self.tool.flags.iter().any(|flag| flag == text)
    }

    /// One option with its value; what is left after it.
    fn option(&mut self, text: &'a str, after: &'a [Word]) -> Result<&'a [Word], Opaque> {
        let is_digits = text.len() > 1 && text.bytes().skip(1).all(|b| b.is_ascii_digit());
        if self.is_flag(text) || self.tool.attached.contains_key(text) || (self.tool.takes_digits && is_digits) {
            self.seen.push(text);
            return Ok(after);
        }
        if let Some(role) = self.tool.values.get(text) {
            return self.value_after(text, role, after);
        }
        if let Some((name, value)) = text.split_once('=')
            && (name.starts_with("--") || self.tool.is_single_dash)
        {
            let role = self.tool.values.get(name).or_else(|| self.tool.attached.get(name));
            self.seen.push(name);
            self.give_text(role.ok_or_else(|| self.no(text))?, value)?;
            return Ok(after);
        }
        if text.starts_with("--") || self.tool.is_single_dash {
            return Err(self.no(text));
        }
        self.cluster(text, after)
    }

    fn value_after(&mut self, name: &'a str, role: &str, after: &'a [Word]) -> Result<&'a [Word], Opaque> {
        let (value, after) = after.split_first().ok_or_else(|| self.no(name))?;
        self.seen.push(name);
        self.give(role, value, false)?;
        Ok(after)
    }

    /// `-abc`: letters without a value, the last of which may have one, `-abc VALUE`; or `-nVALUE`.
    fn cluster(&mut self, text: &'a str, after: &'a [Word]) -> Result<&'a [Word], Opaque> {
        let letters: Vec<(usize, char)> = text.char_indices().skip(1).collect();
        for (at, letter) in &letters {
            if self.tool.short.contains(*letter) {
                let end = at + letter.len_utf8();
                self.seen.push(text.get(*at..end).unwrap_or_default());
                continue;
            }
            let role = self.tool.values.get(&format!("-{letter}")).ok_or_else(|| self.no(text))?;
            let value = text.get(at + letter.len_utf8()..).unwrap_or_default();
            if value.is_empty() {
                return self.value_after(text.get(*at..).unwrap_or_default(), role, after);
            }
            // A value inside a cluster reads like more letters: only `-nVALUE` is clear.
            if *at > 1 {
                return Err(self.no(text));
            }
            self.seen.push(text.get(1..2).unwrap_or_default());
            self.give_text(role, value)?;
            return Ok(after);
        }
        Ok(after)
    }

    fn has_seen(&self, option: &str) -> bool {
        let is_it = |seen: &&str| *seen == option || (option.len() == 2 && *seen == option.trim_start_matches('-'));
        self.seen.iter().any(is_it)
    }

    /// Gives each word that is no option its role.
    fn place(&mut self) -> Result<(), Opaque> {
        let is_given = self.tool.instead.iter().any(|option| self.has_seen(option));
        let roles = self.tool.words.get(usize::from(is_given)..).unwrap_or_default();
        let count = || Opaque::Count { program: self.tool.name.clone() };
        let least = roles.iter().filter(|role| !role.ends_with(['?', '*'])).count();
        let words = std::mem::take(&mut self.words);
        let mut more = words.len().checked_sub(least).ok_or_else(count)?;
        let mut words = words.into_iter();
        for role in roles {
            let (name, suffix) = split(role);
            let takes = match suffix {
                None => 1,
                Some('?') => more.min(1),
                Some('*') => more,
                Some(_) => more + 1,
            };
            more -= if suffix.is_some() { takes - usize::from(suffix == Some('+')) } else { 0 };
            for word in words.by_ref().take(takes) {
                self.give(name, word, matches!(suffix, Some('*' | '+')))?;
            }
        }
        if more > 0 {
            return Err(Opaque::Count { program: self.tool.name.clone() });
        }
        let is_here = self.tool.here.iter().any(|option| option == "*" || self.has_seen(option));
        if is_here && self.reads.is_empty() {
            self.reads.push(Word { text: ".".to_owned(), is_glob: false });
        }
        Ok(())
    }

    fn give_text(&mut self, role: &str, text: &str) -> Result<(), Opaque> {
        self.give(role, &Word { text: text.to_owned(), is_glob: false }, false)
    }

    fn give(&mut self, role: &str, word: &Word, takes_many: bool) -> Result<(), Opaque> {
        let text = word.text.as_str();
        let is_path = matches!(role, "read" | "write" | "change");
        if word.is_glob && !(is_path && takes_many) {
            return Err(Opaque::Expansion(text.to_owned()));
        }
        let is_known = match role {
            "text" => true,
            // Some programs take `@FILE` for a file that holds more options.
            "read" | "write" | "change" => {
                !text.is_empty() && !text.starts_with('@') && (text != "-" || role == "read")
            }
            form => spec::has_form(form, text),
        };
        if !is_known {
            return Err(self.no(text));
        }
        if matches!(role, "read" | "change") && !matches!(text, "-" | "/dev/null") {
            self.reads.push(word.clone());
        }
        if matches!(role, "write" | "change") {
            self.writes.push(word.clone());
        }
        if role == "package" {
            self.packages.push(text.to_owned());
        }
        Ok(())
    }
}

/// `read+` is the role `read` for one word or more.
pub fn split(role: &str) -> (&str, Option<char>) {
    match role.chars().next_back() {
        Some(suffix @ ('?' | '*' | '+')) => (role.strip_suffix(suffix).unwrap_or(role), Some(suffix)),
        _ => (role, None),
    }
}
