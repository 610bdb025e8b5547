//! Tells Rust code from what it says in comments and strings, as far as tidy needs: so that a rule about
//! code is not broken by a sentence, and a rule's own words do not break it.

/// The same text with every comment, string and character literal blanked; lines stay where they are.
pub fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = blank_length(rest, after_word);
        let (token, after) = rest.split_at_checked(length.max(first.len_utf8())).unwrap_or((rest, ""));
        if length == 0 {
            code.push(first);
        } else {
            code.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    code
}

/// Bytes of the comment or literal that `rest` begins with; 0 where it begins with code.
fn blank_length(rest: &str, after_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if rest.starts_with('"') {
        return quoted_length(rest);
    }
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !after_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let open = format!("r{}\"", "#".repeat(hashes));
        let close = format!("\"{}", "#".repeat(hashes));
        let Some(inside) = rest.strip_prefix(open.as_str()) else { return 0 };
        return inside.find(&close).map_or(rest.len(), |end| open.len() + end + close.len());
    }
    character_length(rest)
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut length = 0;
    while let Some(tail) = rest.get(length..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            depth += 1;
            length += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            length += 2;
        } else {
            length += tail.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    length
}

fn quoted_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters; `'a` alone is a lifetime.
fn character_length(rest: &str) -> usize {
    let Some(inside) = rest.strip_prefix('\'') else { return 0 };
    let mut chars = inside.char_indices();
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((_, escaped))) => {
            let from = 1 + escaped.len_utf8();
            inside.get(from..).and_then(|tail| tail.find('\'')).map_or(0, |end| 1 + from + end + 1)
        }
        (Some(_), Some((at, '\''))) => 1 + at + 1,
        _ => 0,
    }
}

/// The product's lines and the tests at their end: the module behind `#[cfg(test)]`, with the braces of a
/// module that stands in the file itself.
pub fn split_tests(text: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|tail| tail.find("#[cfg(test)]\n")) {
        let start = from + at;
        let module = text.get(start..).and_then(|tail| tail.lines().find(|line| !line.starts_with("#[")));
        if module.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{')) {
            return text.split_at(start);
        }
        from = start + 1;
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_code_stays() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"x \\\" y\") + g", "f(        ) + g"),
            ("r\"a\\\" + b", "      + b"),
            ("x = r#\"say \"hi\"\"# + y", "x =                + y"),
            ("for 'a in '\\'' 'b' '\"' \"c\"", "for 'a in                  "),
            ("\"never closed", "             "),
            ("bar\"s\" é", "bar    é"),
        ] {
            assert_eq!(code_only(text), code, "{text}");
        }
    }

    #[test]
    fn tests_are_told_from_the_product() {
        let text = "fn a() {}\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n";
        let (product, tests) = split_tests(text);
        assert_eq!(product, "fn a() {}\n#[cfg(test)]\nmod b;\n");
        assert!(tests.starts_with("#[cfg(test)]\n#[allow(x)]\nmod tests {"));
        assert_eq!(split_tests("fn a() {}\n").1, "");
    }
}
