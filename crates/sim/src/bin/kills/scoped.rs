//! A task in its scope, cut anywhere: what the person's words want is done as often as they want it, and no more
//! without a yes.
use std::fs;

use serde_json::json;

use crate::house::House;
use crate::outcome;
use crate::scenarios::{ended, talk, waiting};
use crate::served::{Door, Said, text};

/// A directory beside the home, in which the agent may write what somebody named.
const OUTSIDE: &str = "outside";
const WANTED: &str = "wanted.txt";
const BEYOND: &str = "beyond.txt";

pub fn prepare(house: &House) {
    talk(house);
    fs::create_dir(house.path().join(OUTSIDE)).expect("a directory");
    let path = house.home().join("backstay.toml");
    let config = fs::read_to_string(&path).expect("a config");
    let writes = format!("write = [\"workspace\", \"../{OUTSIDE}\"]");
    let config = config.replace("write = [\"workspace\"]", &writes);
    let config = config.replace("[agents.main]\n", "[agents.main]\nscope = true\n");
    assert!(config.contains(&writes) && config.contains("scope = true"), "the config that `init` writes has changed");
    fs::write(&path, config).expect("the config is written");
}

/// Both files are named; the plan has one call, so the second asks, and is refused.
pub fn task(_: &Door, house: &House) -> Said<()> {
    let door = Door::at_terminal(&house.home());
    let write = |file| {
        let path = house.path().join(OUTSIDE).join(file);
        format!("/call write_file {}\n/then\n", json!({ "path": path, "content": "x" }))
    };
    let plan = json!({ "tools": [{ "name": "list_dir", "count": 9 }, { "name": "write_file", "count": 1 }] });
    let reads = "/call list_dir {\"path\":\".\"}";
    let words = format!("/plan {plan}\n{reads}\n/then\n{}{}/say done", write(WANTED), write(BEYOND));
    let turn = door.say(&house.session(), "k1", &words)?;
    door.settle(&turn)?;
    if let Some(item) = waiting(&door, "approvals", &turn)? {
        let answer = json!({ "decision": "deny", "digest": text(&item, "digest") });
        door.post(&format!("/api/approvals/{}", text(&item, "id")), "k2", &answer)?;
    }
    ended(&door, &turn)
}

pub fn held(house: &House) -> Result<(), String> {
    let is_there = |file| house.path().join(OUTSIDE).join(file).exists();
    if is_there(BEYOND) {
        return Err("more was written than the words want".to_owned());
    }
    // Where the disk failed under the tool, it was said.
    if is_there(WANTED) || outcome::is_told(&house.home())? {
        return Ok(());
    }
    Err("what the words want was not written".to_owned())
}
