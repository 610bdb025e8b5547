//! Whoever works in the workspace can let its objects and their indexes say what they like: then nothing that was not
//! judged and shown is sent.
use super::*;

/// Lets a bitmap of the only pack say that all of the pack belongs to the first commit that it knows of, and to each other.
const FORGE: &str = r#"
import glob, hashlib, os, struct
[path] = glob.glob('.git/objects/pack/*.bitmap')
all = struct.unpack('>I', open(path[:-6] + 'idx', 'rb').read()[1028:1032])[0]
bits = bytearray(open(path, 'rb').read())
def bitmap(at):
    size, words = struct.unpack('>II', bits[at:at + 8])
    return words, at + 8, at + 12 + 8 * words
at = 32
for kind in range(4): _, _, at = bitmap(at)
for entry in range(struct.unpack('>I', bits[8:12])[0]):
    words, first, after = bitmap(at + 6)
    assert words == 2 and struct.unpack('>Q', bits[first:first + 8])[0] >> 33 == 1
    bits[first + 8:first + 16] = struct.pack('>Q', (1 << all) - 1)
    bits[at + 4], bits[at + 6:at + 10] = 0, struct.pack('>I', all)
    at = after
bits[-20:] = hashlib.sha1(bytes(bits[:-20])).digest()
os.chmod(path, 0o644)
open(path, 'wb').write(bits)
"#;

impl Forge {
    fn object(&self, id: &str) -> std::path::PathBuf {
        self.home.workspace().join(format!(".git/objects/{}/{}", &id[..2], &id[2..]))
    }

    /// Lets one object say what is in another.
    fn lies(&self, of: &str, other: &str) {
        std::fs::remove_file(self.object(of)).unwrap();
        std::fs::copy(self.object(other), self.object(of)).unwrap();
        self.owned();
    }

    fn tree(&self, commit: &str) -> String {
        git(&self.home.workspace(), &["rev-parse", &format!("{commit}^{{tree}}")])
    }

    /// A commit that adds a file on a branch which nobody pushes, and the file's name as an object.
    fn keeps(&self, one: &str) -> (String, String) {
        let commit = self.commits("secret", one, &[("secret.txt", "of another branch")]);
        (commit, git(&self.home.workspace(), &["rev-parse", "secret:secret.txt"]))
    }
}

/// All that a repository holds, whatever refers to it.
fn holds(bare: &Path, object: &str) -> bool {
    git(bare, &["cat-file", "--batch-all-objects", "--batch-check"]).contains(object)
}

fn is_refused(said: &Value, why: &str) {
    assert!(said.as_str().is_some_and(|text| text.contains(why)), "{said}");
}

#[test]
fn a_store_that_lies_about_an_object_sends_nothing() {
    let (t, one) = pushing("");
    let harmless = t.commits("harmless", &one, &[("src/a.rs", "a")]);
    let evil = t.commits("agent/x", &one, &[(".github/workflows/ci.yml", "x"), ("src/a.rs", "a")]);
    t.lies(&t.tree(&evil), &t.tree(&harmless));
    is_refused(&t.push(&json!({ "url": t.url(), "ref": "agent/x", "base": one })), "git says: ");
    assert_eq!(t.stands("refs/heads/agent/x"), None);
}

/// Of the commits between, no tree is compared; what belongs to them is looked at all the same.
#[test]
fn a_store_that_lies_about_a_commit_between_sends_nothing() {
    let (t, one) = pushing("");
    let (secret, text) = t.keeps(&one);
    let between = t.commits("agent/x", &one, &[("src/a.rs", "a")]);
    t.commits("agent/x", &between, &[("src/b.rs", "b")]);
    t.lies(&t.tree(&between), &t.tree(&secret));
    is_refused(
        &t.push(&json!({ "url": t.url(), "ref": "agent/x", "base": one })),
        "is not what belongs to this commit",
    );
    assert!(t.stands("refs/heads/agent/x").is_none() && !holds(&t.bare(), &text));
}

/// With the control that it would: a git of the workspace sends it.
#[test]
fn a_bitmap_that_lies_sends_nothing_of_another_branch() {
    let (t, one) = pushing("");
    let workspace = t.home.workspace();
    let two = t.commits("agent/x", &one, &[("src/a.rs", "a")]);
    let (_, text) = t.keeps(&one);
    git(&workspace, &["repack", "-adbq"]);
    let forged = Command::new("python3").args(["-c", FORGE]).current_dir(&workspace).status().unwrap();
    assert!(forged.success());
    t.owned();
    let elsewhere = tempfile::tempdir().unwrap();
    git(elsewhere.path(), &["init", "-q", "--bare"]);
    let at = (workspace.display(), elsewhere.path().display());
    let pipe = format!(
        "printf {two} | git -C '{}' pack-objects -q --revs --stdout | git -C '{}' index-pack --stdin",
        at.0, at.1
    );
    let safe = [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")];
    assert!(Command::new("sh").args(["-c", &pipe]).envs(safe).status().unwrap().success());
    assert!(holds(elsewhere.path(), &text), "the forged bitmap is no bitmap to git");
    let said = t.pushed(&json!({ "url": t.url(), "ref": "agent/x" }));
    assert_eq!((t.stands("refs/heads/agent/x"), holds(&t.bare(), &text)), (Some(two), false), "{said}");
}

/// A commit of a stranger's, which the other side keeps under a name of its own, is nothing to begin at.
#[test]
fn what_a_stranger_has_sent_there_is_not_known() {
    let (t, one) = pushing("");
    let evil = t.commits("agent/x", &one, &[(".github/workflows/x.yml", "x")]);
    for (name, is_known) in [("refs/pull/7/head", false), ("refs/changes/1", false), ("refs/tags/v1", true)] {
        git(&t.home.workspace(), &["push", "-q", &t.bare().display().to_string(), &format!("agent/x:{name}")]);
        let call = json!({ "url": t.url(), "ref": format!("agent/{is_known}"), "from": evil, "base": evil });
        let said = t.pushed(&call);
        if is_known {
            assert_eq!(t.stands("refs/heads/agent/true"), Some(evil.clone()), "{said}");
        } else {
            is_refused(&said, "no branch and no tag stands at");
        }
    }
    assert_eq!(t.stands("refs/heads/agent/false"), None);
}

#[test]
fn a_tag_is_pushed_with_what_it_says() {
    let t = Forge::new(", push = [\"refs/tags/*\"], audience = \"home\"", "");
    let one = t.fetch(&json!({ "url": t.url() }))["refs"][0]["id"].as_str().unwrap().to_owned();
    t.commits("agent/x", &one, &[("src/a.rs", "a")]);
    let workspace = t.home.workspace();
    git(&workspace, &["tag", "-a", "-m", "first", "v1"]);
    t.owned();
    let tag = git(&workspace, &["rev-parse", "v1"]);
    let said = t.pushed(&json!({ "url": t.url(), "ref": "refs/tags/v1", "base": one }));
    assert_eq!(t.stands("refs/tags/v1"), Some(tag), "{said}");
    let tree = t.tree("agent/x");
    is_refused(&t.push(&json!({ "url": t.url(), "ref": "refs/tags/v2", "from": tree, "base": one })), "is no commit");
}
