//! Repositories as they are written, in grants and in rules, in the one form in which they are compared.
use backstay_kernel::destination::{Audience, Destination, HostGrant, Method};
use backstay_kernel::git::{GitGrant, compared, repository};
use backstay_kernel::rule::{Field, Test};
use backstay_kernel::url::Url;

use super::check::Checker;
use super::mistake::{Code, Place, quoted};
use super::raw::View;
use super::value::Spot;

const REFS: &str = "refs/";

impl<'a> Checker<'a> {
    /// What is mistaken is reported and left out.
    pub fn repositories(&mut self, grants: View<'a>) -> Vec<GitGrant> {
        grants.rows("git").into_iter().filter_map(|row| self.git_grant(row)).collect()
    }

    fn git_grant(&mut self, row: View<'a>) -> Option<GitGrant> {
        let written = row.text("url")?;
        let Some((url, repo)) = named(written.value) else {
            let message = format!("`git`: {} is no URL of a repository", quoted(written.value));
            self.mistakes.suggest(
                written.place,
                Code::BadValue,
                message,
                "such as \"https://git.example.com/team/app\"",
            );
            return None;
        };
        let audience = row.text("audience").and_then(|word| Audience::read(word.value)).unwrap_or_default();
        let secrets = row.flag("secrets");
        self.told_to_some(written.place, audience, secrets);
        let at = HostGrant {
            host: url.host.as_str().to_owned(),
            port: url.port,
            methods: vec![Method::Get, Method::Post],
            path_prefix: "/".to_owned(),
            allow_private: row.addresses("allow_private"),
            audience,
            secrets,
            tunnel: false,
        };
        Some(GitGrant { repo, at, push: self.pushed(row) })
    }

    fn pushed(&mut self, row: View<'a>) -> Vec<String> {
        let written = row.texts("push").map_or(&[][..], |spot| spot.value);
        for Spot { place, value } in written {
            if !value.starts_with(REFS) {
                let message = format!("`push`: {} is no glob of refs", quoted(value));
                self.mistakes.suggest(*place, Code::BadValue, message, "in full, such as \"refs/heads/agent/*\"");
            }
        }
        written.iter().map(|spot| spot.value.clone()).collect()
    }

    /// What a rule says of a repository, of refs and of paths in it: what could never hold is a mistake. A glob is
    /// compared as it is written, but for the form of a repository's name.
    pub fn repositories_of_rule(&mut self, field: Field, place: Place, test: &Test) -> Option<Test> {
        let (form, read): (_, fn(&String) -> Option<String>) = if field == Field::Repo {
            ("a host and a path, such as \"git.example.com/team/app\"", |text| {
                named(&format!("https://{text}")).map(|(_, repo)| compared(&repo))
            })
        } else if field == Field::Ref {
            ("in full, such as \"refs/heads/main\"", |text| {
                Some(text).filter(|text| text.starts_with(REFS) || *text == "HEAD").cloned()
            })
        } else {
            ("a path in the repository, such as \"src/main.rs\"", |text| {
                Some(text).filter(|text| !text.starts_with('/')).cloned()
            })
        };
        let glob = |glob: &String| Ok(if field == Field::Repo { compared(glob) } else { glob.clone() });
        let read = test.map(|text| read(text).ok_or(()), glob).ok();
        if read.is_none() {
            self.mistakes.add(place, Code::BadValue, format!("`{}` must be {form}", field.word()));
        }
        read
    }
}

/// A URL of a repository, with its name.
fn named(text: &str) -> Option<(Url, String)> {
    let url = Url::read(text).ok().filter(|url| !url.text().contains('?'))?;
    let repo = repository(&Destination::of(&url, Method::Get, 0));
    Some((url, repo))
}
