//! What a home has come to, in a form in which a cut run equals the uncut one.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use backstay_store::{Options, Store};

/// Effects may start twice and their numbers move; what they came to must not differ.
const QUESTIONS: &[&str] = &[
    "SELECT reason, body(reply) FROM v_turns ORDER BY session, CAST(turn AS INTEGER)",
    // What a person said of a doubt is an end too: those of the scenarios say what is so.
    "SELECT kind, name, CASE WHEN end = 'concluded' OR state = 'resolved' THEN 'done' ELSE end END FROM v_effects ORDER BY 1, 2, 3",
    "SELECT decision FROM v_approvals ORDER BY 1",
    "SELECT text FROM memories ORDER BY 1",
    "SELECT count(*) FROM inbox",
];

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Of the workspace, by path, with their content.
    pub files: BTreeMap<String, String>,
    pub answers: Vec<String>,
}

/// Reads a home that nobody holds.
///
/// # Errors
/// What in it is not sound.
pub fn of(home: &Path) -> Result<Outcome, String> {
    let store = open(home)?;
    let mut outcome = Outcome::default();
    for question in QUESTIONS {
        let answer = store.query(question).map_err(|error| format!("{question}: {error}"))?;
        outcome.answers.extend(answer.rows.iter().map(|row| format!("{row:?}")));
    }
    store.close().map_err(|error| error.to_string())?;
    let workspace = home.join("workspace");
    walk(&workspace, &workspace, &mut outcome.files);
    Ok(outcome)
}

/// # Errors
/// It does not open, or does not verify.
pub fn open(home: &Path) -> Result<Store, String> {
    let store = Store::open(home, Options::default()).map_err(|error| format!("opening: {error}"))?;
    let report = store.verify().map_err(|error| format!("verifying: {error}"))?;
    if report.is_sound() { Ok(store) } else { Err(format!("not sound: {:?}", report.faults)) }
}

/// Whether a tool met the fault itself and has said so to the model: an end as good as "done".
pub fn is_told(home: &Path) -> Result<bool, String> {
    let store = open(home)?;
    let told = store.query("SELECT 1 FROM v_effects WHERE end = 'failed' OR verdict = 'invalid'");
    let told = told.map_err(|error| error.to_string())?;
    store.close().map_err(|error| error.to_string())?;
    Ok(!told.rows.is_empty())
}

fn walk(root: &Path, directory: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.insert(name, fs::read_to_string(&path).unwrap_or_default());
        }
    }
}
