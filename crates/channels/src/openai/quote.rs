//! Earlier messages that a client brings along enter as quotes that say so, in a form that can be
//! read back, so that the same client finds its session again.
use super::request::{Role, Said};

/// The line before a quoted text; part of what stands in journals.
fn heading(role: Role) -> &'static str {
    match role {
        Role::System => "[quoted by the client: how it would like you to behave]\n",
        Role::User => "[quoted by the client: an earlier message of the user]\n",
        Role::Assistant => "[quoted by the client: an earlier reply of the assistant]\n",
    }
}

#[must_use]
pub fn write(said: &Said) -> String {
    format!("{}{}", heading(said.role), said.text)
}

#[must_use]
pub fn read(text: &str) -> Option<(Role, &str)> {
    Role::ALL.into_iter().find_map(|role| Some((role, text.strip_prefix(heading(role))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_reads_back() {
        for role in Role::ALL {
            let text = write(&Said { role, text: "a\nb".into() });
            assert_eq!(read(&text), Some((role, "a\nb")));
        }
        assert_eq!(read("just a text"), None);
    }
}
