//! The secrets of one home: sealed in a file, open in this process's memory and nowhere else.
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::SecretError;
use crate::key::{Key, KeySource};
use crate::limits::{FILE_BYTES_MAX, LAST_MAX, SECRETS_MAX, VALUE_BYTES_MAX, VALUE_BYTES_MIN};
use crate::redactor::{Redactor, Taken, Watched};
use crate::sealed::{self, All, Sealed, Shut};

/// In the home.
pub const FILE: &str = "secrets.sealed";
/// The next one until it is whole.
const PARTIAL: &str = "secrets.sealed.new";

/// What may be told of a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub version: String,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// Clones share one store. It shows names, never values, but to who asks for one by its name.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// Or why there is none.
    key: Result<Key, Option<String>>,
    all: Mutex<All>,
    /// Values that must not appear anywhere: those in `all`, those that were there before, and others'.
    watched: Mutex<Vec<Watched>>,
    redactor: RwLock<Arc<Redactor>>,
    taken: Mutex<Taken>,
    /// Told of what was taken out, where somebody wants to know.
    teller: OnceLock<Teller>,
}

/// A name, and how many forms of its value were taken out of what belongs together.
pub type Teller = fn(&str, u64);

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens what is sealed in `home`. Where nothing is, no key is needed until something is to be kept.
    ///
    /// # Errors
    /// The file is there and does not open, or there is no key for it.
    pub fn open(home: &Path, key: Option<Key>) -> Result<Self, SecretError> {
        let path = home.join(FILE);
        let all = match (read(&path)?, &key) {
            (None, _) => All::new(),
            (Some(_), None) => return Err(SecretError::NoKey),
            (Some(bytes), Some(key)) => sealed::open(key.bytes(), &bytes).map_err(|shut| match shut {
                Shut::Foreign => SecretError::NotSealed { path: path.clone() },
                Shut::WrongKey => SecretError::WrongKey { path: path.clone(), from: key.source.to_string() },
            })?,
        };
        Ok(Self::new(path, key.ok_or(None), all))
    }

    /// For somebody who only looks and cannot open it, and why: no secret is known in it, and none kept.
    #[must_use]
    pub fn shut(home: &Path, why: &SecretError) -> Self {
        Self::new(home.join(FILE), Err(Some(why.to_string())), All::new())
    }

    fn new(path: PathBuf, key: Result<Key, Option<String>>, all: All) -> Self {
        let (watched, redactor, all) = (Mutex::default(), RwLock::default(), Mutex::new(all));
        let (taken, teller) = (Mutex::default(), OnceLock::new());
        let vault = Self(Arc::new(Inner { path, key, all, watched, redactor, taken, teller }));
        let kept: Vec<Watched> = vault.all().iter().map(watch).collect();
        vault.look_for(kept);
        if let Ok(key) = &vault.0.key {
            vault.watch_key("secrets-key", key);
        }
        vault
    }

    /// Looks for a key, where it is a text.
    pub fn watch_key(&self, name: &str, key: &Key) {
        if let Ok(text) = std::str::from_utf8(key.bytes()) {
            self.watch(name, &SecretString::from(text));
        }
    }

    /// Looks for a value that is kept elsewhere, such as a provider's key from the environment.
    pub fn watch(&self, name: &str, value: &SecretString) {
        self.look_for([Watched::unnumbered(name, value)]);
    }

    /// The same for values that others soon take the place of, for as long as this process lives: the last of the name
    /// are looked for.
    pub fn watch_last(&self, name: &str, values: &[SecretString]) {
        self.look_for(values.iter().map(|value| Watched::unnumbered(name, value)));
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = watched.iter().filter(|known| known.name == name).count();
        let mut over = of_name.saturating_sub(LAST_MAX);
        watched.retain(|known| {
            let goes = over > 0 && known.name == name;
            over -= usize::from(goes);
            !goes
        });
    }

    /// What finds every value that this process has been told of since it began.
    #[must_use]
    pub fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.0.redactor.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who is told of what is taken out; the first counts.
    pub fn tell(&self, teller: Teller) {
        let _ = self.0.teller.set(teller);
    }

    /// Counts what was taken out of something, and tells of it.
    pub fn took(&self, taken: &Taken) {
        self.count(taken);
        if let Some(tell) = self.0.teller.get() {
            taken.iter().for_each(|(name, forms)| tell(name, *forms));
        }
    }

    /// The same for whoever tells.
    pub fn count(&self, taken: &Taken) {
        let mut all = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, forms) in taken {
            *all.entry(name.clone()).or_default() += forms;
        }
    }

    /// What was taken out since this process began.
    #[must_use]
    pub fn taken(&self) -> Taken {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_for(&self, values: impl IntoIterator<Item = Watched>) {
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let before = watched.len();
        for value in values {
            let is_same = |known: &Watched| (&known.name, &known.version) == (&value.name, &value.version);
            if !watched.iter().any(is_same) {
                watched.push(value);
            }
        }
        if watched.len() > before {
            let redactor = Arc::new(Redactor::new(watched.iter()));
            *self.0.redactor.write().unwrap_or_else(PoisonError::into_inner) = redactor;
        }
    }

    /// Whether something lies in the home that only a key opens.
    #[must_use]
    pub fn is_sealed_in(home: &Path) -> bool {
        home.join(FILE).symlink_metadata().is_ok()
    }

    /// Where the key came from that everything is sealed with.
    #[must_use]
    pub fn key_source(&self) -> Option<&KeySource> {
        self.0.key.as_ref().ok().map(|key| &key.source)
    }

    fn key(&self) -> Result<&Key, SecretError> {
        let none = |why: &Option<String>| why.clone().map_or(SecretError::NoKey, SecretError::Shut);
        self.0.key.as_ref().map_err(none)
    }

    /// Names, with what may be told.
    #[must_use]
    pub fn list(&self) -> BTreeMap<String, Kept> {
        let kept = |secret: &Sealed| Kept { version: secret.version.clone(), at: secret.at };
        self.all().iter().map(|(name, secret)| (name.clone(), kept(secret))).collect()
    }

    #[must_use]
    pub fn value(&self, name: &str) -> Option<SecretString> {
        self.all().get(name).map(|secret| secret.value.clone())
    }

    /// A name for the next value; see [`Vault::put`].
    ///
    /// # Errors
    /// The value is none that can be kept, or there is no key to seal it with.
    pub fn version_for(&self, name: &str, value: &SecretString) -> Result<String, SecretError> {
        let (length, all) = (value.expose_secret().len(), self.all());
        if !(VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&length) || value.expose_secret().contains('\0') {
            return Err(SecretError::BadValue);
        }
        if !all.contains_key(name) && all.len() >= SECRETS_MAX {
            return Err(SecretError::TooMany);
        }
        self.key()?;
        let mut version = [0u8; 4];
        SystemRandom::new().fill(&mut version).map_err(|_| SecretError::NoRandom)?;
        Ok(version.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Keeps a value under its name in place of an older one, on disk before it is in force.
    ///
    /// # Errors
    /// There is no key, or the file cannot be written; then all is as it was.
    pub fn put(&self, name: &str, version: String, at: u64, value: SecretString) -> Result<(), SecretError> {
        self.change(|all| drop(all.insert(name.to_owned(), Sealed { version, at, value })))
    }

    /// # Errors
    /// There is no key, or the file cannot be written; then all is as it was.
    pub fn remove(&self, name: &str) -> Result<(), SecretError> {
        self.change(|all| drop(all.remove(name)))
    }

    fn change(&self, change: impl FnOnce(&mut All)) -> Result<(), SecretError> {
        let key = self.key()?;
        let mut all = self.all();
        let mut next = all.clone();
        change(&mut next);
        let bytes = sealed::seal(key.bytes(), &next).ok_or(SecretError::NoRandom)?;
        write(&self.0.path, &bytes)?;
        // Before anybody could be given it.
        self.look_for(next.iter().map(watch));
        *all = next;
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch((name, secret): (&String, &Sealed)) -> Watched {
    Watched { name: name.clone(), version: secret.version.clone(), value: secret.value.clone() }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, SecretError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SecretError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(SecretError::io(path))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(SecretError::NotSealed { path: path.to_owned() });
    }
    Ok(Some(bytes))
}

/// The whole file or the old one, also after a loss of power.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    let partial = path.with_file_name(PARTIAL);
    let written = || {
        let _ = fs::remove_file(&partial);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    written().map_err(SecretError::io(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            place.write_key("k");
            std::fs::create_dir(place.home()).unwrap();
            place
        }

        fn home(&self) -> PathBuf {
            self.0.path().join("home")
        }

        fn write_key(&self, of: &str) {
            let path = self.0.path().join("key");
            let _ = fs::remove_file(&path);
            fs::write(&path, of.repeat(40)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }

        fn open(&self) -> Result<Vault, SecretError> {
            Vault::open(&self.home(), Key::find(Some(&self.0.path().join("key")))?)
        }
    }

    fn put(vault: &Vault, name: &str, value: &str) -> Result<(), SecretError> {
        let value = SecretString::from(value);
        vault.put(name, vault.version_for(name, &value)?, 7, value)
    }

    fn value(vault: &Vault, name: &str) -> Option<String> {
        vault.value(name).map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn a_value_is_there_after_a_start_and_gone_after_its_removal() {
        let place = Place::new();
        let vault = place.open().unwrap();
        put(&vault, "crm", "first value").unwrap();
        let before = vault.list();
        put(&vault, "crm", "second value").unwrap();
        assert_ne!(before, vault.list(), "a new value has a new version");
        let again = place.open().unwrap();
        assert_eq!((value(&again, "crm").as_deref(), again.list()), (Some("second value"), vault.list()));
        again.remove("crm").unwrap();
        assert_eq!(value(&place.open().unwrap(), "crm"), None);
        let mode = fs::metadata(place.home().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_sealed_does_not_open_without_its_key() {
        let place = Place::new();
        put(&place.open().unwrap(), "crm", "a secret value").unwrap();
        assert!(matches!(Vault::open(&place.home(), None), Err(SecretError::NoKey)));
        place.write_key("other");
        assert!(matches!(place.open(), Err(SecretError::WrongKey { .. })));
        fs::write(place.home().join(FILE), "something else").unwrap();
        assert!(matches!(place.open(), Err(SecretError::NotSealed { .. })));
    }

    #[test]
    fn without_a_key_nothing_is_kept() {
        let place = Place::new();
        let vault = Vault::open(&place.home(), None).unwrap();
        assert!(matches!(put(&vault, "crm", "a secret value"), Err(SecretError::NoKey)));
        assert!(!Vault::is_sealed_in(&place.home()));
    }

    #[test]
    fn a_value_has_its_bounds() {
        let place = Place::new();
        let vault = place.open().unwrap();
        for bad in ["1234567", &"x".repeat(VALUE_BYTES_MAX + 1), "with\0a zero"] {
            assert!(matches!(put(&vault, "crm", bad), Err(SecretError::BadValue)));
        }
        put(&vault, "crm", "12345678").unwrap();
        put(&vault, "crm", &"x".repeat(VALUE_BYTES_MAX)).unwrap();
        for n in 1..SECRETS_MAX {
            let value = SecretString::from("12345678");
            vault.all().insert(format!("s{n}"), Sealed { version: String::new(), at: 0, value });
        }
        assert!(matches!(put(&vault, "one-more", "12345678"), Err(SecretError::TooMany)));
        put(&vault, "crm", "another value").unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_value_in_force() {
        let place = Place::new();
        let vault = place.open().unwrap();
        put(&vault, "crm", "first value").unwrap();
        // A directory in the way: also root cannot write there.
        fs::create_dir_all(place.home().join(PARTIAL).join("in the way")).unwrap();
        assert!(matches!(put(&vault, "crm", "second value"), Err(SecretError::Io { .. })));
        assert_eq!(value(&vault, "crm").as_deref(), Some("first value"));
        assert_eq!(value(&place.open().unwrap(), "crm").as_deref(), Some("first value"));
    }

    #[test]
    fn a_value_is_looked_for_from_when_it_is_known_and_also_when_it_was_replaced() {
        let place = Place::new();
        let vault = place.open().unwrap();
        put(&vault, "crm", "first value").unwrap();
        put(&vault, "crm", "second value").unwrap();
        vault.watch("provider.p", &SecretString::from("third value"));
        let clean = |vault: &Vault, text: &str| vault.redactor().clean(text, &mut Taken::new()).into_owned();
        for text in ["first value", "second value", "third value", &"k".repeat(40)] {
            assert!(clean(&vault, text).starts_with("[secret:"), "{text}");
        }
        let again = place.open().unwrap();
        assert_eq!(clean(&again, "first value"), "first value");
        let version = again.list()["crm"].version[..4].to_owned();
        assert_eq!(clean(&again, "x second value"), format!("x [secret:crm#{version}]"));
    }

    #[test]
    fn of_values_that_come_and_go_the_last_are_looked_for_and_all_of_other_names() {
        let vault = Place::new().open().unwrap();
        vault.watch("other", &SecretString::from("another value"));
        let value = |n: usize| SecretString::from(format!("value number {n:04}"));
        (0..=LAST_MAX).for_each(|n| vault.watch_last("mcp.far.token", &[value(n)]));
        let clean = |text: &str| vault.redactor().clean(text, &mut Taken::new()).into_owned();
        // What is looked for is drawn up anew with the next value.
        vault.watch_last("mcp.far.token", &[value(LAST_MAX + 1)]);
        assert_eq!(clean("value number 0000"), "value number 0000");
        for known in ["another value", "value number 0002", &format!("value number {:04}", LAST_MAX + 1)] {
            assert!(clean(known).starts_with("[secret:"), "{known}");
        }
    }

    #[test]
    fn a_vault_does_not_show_its_values() {
        let place = Place::new();
        let vault = place.open().unwrap();
        put(&vault, "crm", "a secret value").unwrap();
        assert!(!format!("{vault:?} {:?} {:?}", vault.list(), vault.value("crm")).contains("secret value"));
    }
}
