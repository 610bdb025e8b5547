//! The text of a page, as a person would read it: what is script, style or markup is left out.
use html5gum::{DefaultEmitter, Token, Tokenizer};

/// What is in them is for programs.
const SILENT: [&[u8]; 8] = [b"script", b"style", b"noscript", b"template", b"svg", b"head", b"iframe", b"object"];
/// Silent elements inside each other that are told apart: a page that nests more wants to be slow.
const DEPTH_MAX: usize = 32;
/// They begin and end a line.
const BLOCKS: [&[u8]; 31] = [
    b"address",
    b"article",
    b"aside",
    b"blockquote",
    b"br",
    b"caption",
    b"dd",
    b"div",
    b"dl",
    b"dt",
    b"fieldset",
    b"figure",
    b"footer",
    b"form",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"header",
    b"hr",
    b"li",
    b"main",
    b"nav",
    b"ol",
    b"p",
    b"section",
    b"table",
    b"tr",
    b"ul",
];

/// With the page's title first, a `- ` before items of lists, and where a link leads behind it.
#[must_use]
pub fn text_of_html(html: &str) -> String {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut page = Page::default();
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let href = tag.attributes.get(b"href".as_slice()).map(|href| lossy(href));
                page.begin(&tag.name, tag.self_closing, href);
            }
            Token::EndTag(tag) => page.end(&tag.name),
            Token::String(text) => page.say(&lossy(&text)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    page.out.trim().to_owned()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[derive(Default)]
struct Page {
    out: String,
    /// Open silent elements.
    silent: Vec<Vec<u8>>,
    in_title: bool,
    in_pre: bool,
    href: Option<String>,
}

impl Page {
    fn begin(&mut self, name: &[u8], is_closed: bool, href: Option<String>) {
        if SILENT.contains(&name) && !is_closed {
            // What lies deeper ends with what is around it.
            if self.silent.len() < DEPTH_MAX {
                self.silent.push(name.to_vec());
            }
            return;
        }
        // A page that forgets to end its head has a body all the same.
        if name == b"body" {
            self.silent.retain(|open| open != b"head");
        }
        match name {
            b"title" => self.in_title = true,
            b"pre" => self.in_pre = true,
            b"a" => self.href = href.filter(|href| href.starts_with("http") || href.starts_with('/')),
            b"td" | b"th" => self.space(),
            _ => {}
        }
        if BLOCKS.contains(&name) {
            self.line();
        }
        if name == b"li" && self.silent.is_empty() {
            self.out.push_str("- ");
        }
    }

    fn end(&mut self, name: &[u8]) {
        if let Some(at) = self.silent.iter().rposition(|open| open == name) {
            self.silent.truncate(at);
            return;
        }
        match name {
            b"title" => {
                self.in_title = false;
                self.line();
            }
            b"pre" => {
                self.in_pre = false;
                self.line();
            }
            b"a" if self.silent.is_empty() => {
                if let Some(href) = self.href.take() {
                    self.out.push_str(&format!(" ({href})"));
                }
            }
            _ => {}
        }
        if BLOCKS.contains(&name) {
            self.line();
        }
    }

    fn say(&mut self, text: &str) {
        let is_heard = self.silent.is_empty() || (self.in_title && self.silent.iter().all(|open| open == b"head"));
        if !is_heard {
            return;
        }
        if self.in_pre {
            self.out.push_str(text);
            return;
        }
        if text.starts_with(char::is_whitespace) {
            self.space();
        }
        let mut words = text.split_whitespace().peekable();
        while let Some(word) = words.next() {
            self.out.push_str(word);
            if words.peek().is_some() {
                self.out.push(' ');
            }
        }
        if text.ends_with(char::is_whitespace) {
            self.space();
        }
    }

    fn space(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with(char::is_whitespace) {
            self.out.push(' ');
        }
    }

    fn line(&mut self) {
        if !self.silent.iter().all(|open| open == b"head") {
            return;
        }
        while self.out.ends_with(' ') {
            self.out.pop();
        }
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }
}
