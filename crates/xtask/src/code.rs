//! Tells Rust code from what it says in comments and strings, line by line, as far as tidy needs: so that a
//! sentence does not break a rule about code, and a rule's own words do not break it.

/// The code of each line. A string that goes on over a line's end is taken for code from there.
pub fn code_only(text: &str) -> String {
    text.lines().map(|line| code_of(&line.replace("'\"'", "' '")) + "\n").collect()
}

fn code_of(line: &str) -> String {
    let mut code = String::new();
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '/' if line.get(at..).is_some_and(|rest| rest.starts_with("//")) => break,
            _ => code.push(c),
        }
    }
    code
}

/// The product's lines, and the test module that stands at their end.
pub fn split_tests(text: &str) -> (&str, &str) {
    const ATTRIBUTE: &str = "#[cfg(test)]\n";
    // A test module in a file of its own is declared without braces.
    let holds_tests = |at: &usize| {
        let module = text.get(*at..).and_then(|tail| tail.lines().find(|line| !line.starts_with("#[")));
        module.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    let start = text.match_indices(ATTRIBUTE).map(|(at, _)| at).find(holds_tests);
    text.split_at(start.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_left_out_and_code_stays() {
        for (text, code) in [
            ("a // b\nc /// d", "a \nc \n"),
            ("f(\"x \\\" // y\") + g", "f() + g\n"),
            ("match c { '\"' => d, 'e' }", "match c { ' ' => d, 'e' }\n"),
            ("r\"a\" / 'b \"never closed", "r / 'b \n"),
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
