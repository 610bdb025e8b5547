//! `[notify]`: an address for what waits, and the key by which it can tell who speaks.
use super::check::Checker;
use super::mistake::Code;
use super::{KeyName, NotifyConfig};

impl Checker<'_> {
    pub fn notify(&mut self) -> Option<NotifyConfig> {
        let table = self.root.table("notify")?;
        let (url, variable, secret) = (table.text("url"), table.text("key_env"), table.text("key_secret"));
        // What is wrong with a URL may be a password in it: the text does not repeat it.
        if let Some(url) = url.as_ref().filter(|url| !backstay_providers::is_collector(url.value)) {
            let message = "`url`: notices go out by https, without a user or a password in the URL";
            self.mistakes.add(url.place, Code::BadValue, message);
        }
        if let Some(secret) = &secret {
            self.own_secret(secret, variable.is_some().then_some(["key_env", "key_secret"]));
        }
        if variable.is_none() && secret.is_none() && table.is_sound() {
            let message =
                "`key_env` or `key_secret` is missing: a notice is signed, so that its receiver can believe it";
            self.mistakes.add(table.place, Code::MissingKey, message);
        }
        let key = variable.map(|name| KeyName::Variable(name.value.to_owned()));
        let key = key.or_else(|| secret.map(|name| KeyName::Secret(name.value.to_owned())));
        Some(NotifyConfig { url: url?.value.to_owned(), key: key? })
    }
}
