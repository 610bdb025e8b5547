//! State files that are not what they should be: each is refused or found out, and none brings the
//! process down.
use std::fs;
use std::path::Path;

use backstay_store::{Cell, Options, Store};

use crate::Tally;
use crate::house::{House, civil, said};
use crate::outcome;
use crate::random::Random;
use crate::served::Served;

/// Places in the header of an SQLite file, and in its big-endian words.
const USER_VERSION: std::ops::Range<usize> = 60..64;
const APPLICATION_ID: std::ops::Range<usize> = 68..72;

/// Exit codes: fault, refused, waiting (for a journal that can be written), not found.
const FAULT: i32 = 1;
const REFUSED: i32 = 3;
const WAITING: i32 = 4;
const NOT_FOUND: i32 = 5;

/// `flips`: how many bits are turned in what the chain protects, and as many anywhere.
pub fn run(binary: &Path, flips: usize, seed: u64) -> Tally {
    println!("seed {seed}");
    let template = House::empty(binary);
    template.init();
    for words in ["/say one", "/call write_file {\"path\":\"a.txt\",\"content\":\"one\"}", "/big 20000"] {
        template.ok(&["run", words]);
    }
    let mut tally = Tally::default();
    for (name, change, code) in CASES {
        let bytes = fs::read(template.home().join("state.db")).expect("a state file");
        tally.note(name, refused(&template, &change(bytes), *code));
    }
    tally.note("a log of another home", foreign_log(&template));
    tally.note("a file without its last bytes", short(&template));
    let mut random = Random::new(seed);
    let needles = protected(&template);
    for flip in 1..=flips {
        tally.note(&format!("a bit of an entry or a body, {flip}"), found_out(&template, &needles, &mut random));
        tally.note(&format!("a bit anywhere, {flip}"), survived(&template, &mut random));
    }
    tally
}

type Change = fn(Vec<u8>) -> Vec<u8>;

const CASES: &[(&str, Change, i32)] = &[
    ("an empty file", |_| Vec::new(), NOT_FOUND),
    ("a text", |_| b"this is no database, but a text that is longer than a header of one\n".repeat(200), FAULT),
    ("another program's file", |bytes| with(bytes, APPLICATION_ID, 7), FAULT),
    ("a file of a newer version", |bytes| with(bytes, USER_VERSION, 1_000_000), REFUSED),
    ("half of a file", |bytes| cut(&bytes, bytes.len() / 2), FAULT),
    ("the first page alone", |bytes| cut(&bytes, 4096), FAULT),
    ("a file whose first page is zeros", |bytes| [vec![0; 4096], bytes[4096..].to_vec()].concat(), FAULT),
];

fn with(mut bytes: Vec<u8>, place: std::ops::Range<usize>, word: u32) -> Vec<u8> {
    bytes[place].copy_from_slice(&word.to_be_bytes());
    bytes
}

fn cut(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes[..length].to_vec()
}

/// Every way in refuses it with `code` and leaves it as it is.
fn refused(template: &House, bytes: &[u8], code: i32) -> Result<(), String> {
    let house = template.copy();
    let state = house.home().join("state.db");
    fs::write(&state, bytes).map_err(|error| error.to_string())?;
    match Served::start(&house, &[]) {
        Err(status) if status.code() == Some(code) => {}
        Err(status) => return Err(format!("serve: {status}")),
        Ok(served) => {
            served.kill();
            return Err("it is served".to_owned());
        }
    }
    for command in [&["status"][..], &["audit", "verify"], &["run", "/say more"]] {
        let output = house.run(command);
        if civil(&output)? != code {
            return Err(format!("{command:?}: {}", said(&output)));
        }
    }
    let after = fs::read(&state).map_err(|error| error.to_string())?;
    if after == bytes { Ok(()) } else { Err("the file was changed".to_owned()) }
}

/// A log says nothing of whose it is: SQLite takes it over the file, page by page, and what comes of it
/// may even be sound. All that is asked is that nothing crashes; `restore` refuses to leave one there.
fn foreign_log(template: &House) -> Result<(), String> {
    let other = House::empty(template.binary());
    other.init();
    let served = Served::start(&other, &[]).map_err(|status| status.to_string())?;
    other.ok(&["run", "/say from another home"]);
    served.kill();
    let house = template.copy();
    let log = |house: &House| house.home().join("state.db-wal");
    fs::copy(log(&other), log(&house)).map_err(|error| error.to_string())?;
    civil(&house.run(&["audit", "verify"]))?;
    starts_or_says_why(&house)
}

/// The page count still fits; only whoever reads the last page can know.
fn short(template: &House) -> Result<(), String> {
    let house = template.copy();
    let state = house.home().join("state.db");
    let bytes = fs::read(&state).map_err(|error| error.to_string())?;
    fs::write(&state, cut(&bytes, bytes.len() - 100)).map_err(|error| error.to_string())?;
    let verified = house.run(&["audit", "verify"]);
    if civil(&verified)? == 0 {
        return Err("it verifies".to_owned());
    }
    starts_or_says_why(&house)
}

/// Texts, hashes, salts and bodies, as they stand in the file.
fn protected(template: &House) -> Vec<Vec<u8>> {
    let store = Store::open(&template.home(), Options::default()).expect("it opens");
    let columns =
        ["SELECT body, hash FROM entries", "SELECT digest, salt, bytes FROM bodies", "SELECT hash FROM heads"];
    let rows = columns.iter().flat_map(|sql| store.query(sql).expect("a SELECT").rows);
    let needles = rows.flatten().filter_map(|cell| match cell {
        Cell::Text(text) => Some(text.into_bytes()),
        Cell::Blob(bytes) => Some(bytes),
        Cell::Null | Cell::Integer(_) | Cell::Real(_) => None,
    });
    let needles = needles.collect();
    store.close().expect("it closes");
    needles
}

/// Turns one bit of one of `needles`, which the file has in one piece.
fn found_out(template: &House, needles: &[Vec<u8>], random: &mut Random) -> Result<(), String> {
    let house = template.copy();
    let state = house.home().join("state.db");
    let mut bytes = fs::read(&state).map_err(|error| error.to_string())?;
    let (needle, at) = loop {
        let needle = &needles[random.index(needles.len())];
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            break (needle, at);
        }
    };
    let byte = at + random.index(needle.len());
    bytes[byte] ^= 1 << random.index(8);
    fs::write(&state, bytes).map_err(|error| error.to_string())?;
    let verified = house.run(&["audit", "verify"]);
    if civil(&verified)? == 0 {
        return Err(format!("byte {byte} was changed and nobody noticed"));
    }
    starts_or_says_why(&house)
}

fn survived(template: &House, random: &mut Random) -> Result<(), String> {
    let house = template.copy();
    let state = house.home().join("state.db");
    let mut bytes = fs::read(&state).map_err(|error| error.to_string())?;
    let byte = random.index(bytes.len());
    bytes[byte] ^= 1 << random.index(8);
    fs::write(&state, bytes).map_err(|error| error.to_string())?;
    let verified = house.run(&["audit", "verify"]);
    let code = civil(&verified)?;
    starts_or_says_why(&house).map_err(|why| format!("byte {byte}: {why}"))?;
    // A byte that nothing uses is no damage; but then all is as it was.
    if code == 0 && outcome::of(&house.home())? != outcome::of(&template.home())? {
        return Err(format!("byte {byte} was changed, it verifies, and is another home"));
    }
    Ok(())
}

fn starts_or_says_why(house: &House) -> Result<(), String> {
    match Served::start(house, &[]) {
        Ok(served) => served.kill(),
        Err(status) if status.code().is_some_and(|code| (1..=WAITING).contains(&code)) => {}
        Err(status) => return Err(format!("a start ended with {status}")),
    }
    let log = fs::read_to_string(house.path().join("serve.log")).unwrap_or_default();
    if log.contains("panicked at") { Err(format!("a start panicked: {log}")) } else { Ok(()) }
}
