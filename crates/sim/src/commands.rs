//! What must hold of the reading of any command, whoever wrote it: the laws that the loop of `words` holds made-up
//! commands to, and the commands that it keeps.
use backstay_shell::{EffectClass, Plain, Reading, read};

/// Pieces that commands are made of besides those that are kept.
pub const PIECES: [&str; 74] = [
    "ls",
    "cat a",
    "rm -rf x",
    "cp a b",
    "git status",
    "git log --oneline",
    "grep -rn x .",
    "sort -o b a",
    "head -n 3",
    "find . -name a",
    "tar -cf a.tar b",
    "sed -n 1p a",
    "touch x",
    "mkdir -p d/e",
    "echo hi",
    "timeout 5 ls",
    "wc -l",
    "env",
    "xargs",
    "sh -c",
    "bash",
    "eval",
    "exec",
    "./x",
    "/bin/ls",
    "A=b",
    "RUST_LOG=debug ",
    "LC_ALL=C ",
    "| ",
    "|& ",
    "&& ",
    "|| ",
    "; ",
    "& ",
    "> out",
    ">> out",
    "< in",
    "2>&1",
    "2> err",
    "&> all",
    "<<E\n",
    "<<<",
    "<(ls)",
    "$(touch x)",
    "`touch x`",
    "$x",
    "${x}",
    "$((1))",
    "~",
    "*",
    "?",
    "[ab]",
    "{a,b}",
    "!",
    "#",
    "'",
    "\"",
    "\\",
    "\\\n",
    "\n",
    " ",
    "\t",
    "--",
    "-",
    "--output=",
    "=",
    "(",
    ")",
    "[[",
    "\r",
    "\0",
    "\u{200b}",
    "\u{a0}",
    "\u{e9}",
];

/// What two commands must differ in to be worth keeping both: what they are, and how many simple commands.
pub type Shape = (u8, usize, bool);

/// # Errors
/// The law that the command breaks.
pub fn check(text: &str) -> Result<Shape, String> {
    let marks = text.contains('\'') || text.contains('"') || text.contains('\\');
    if !matches!(read(format!("{text}\u{200b}").as_bytes()), Reading::Refused(_)) {
        return Err("with a character that nobody sees it is not refused".to_owned());
    }
    match read(text.as_bytes()) {
        Reading::Refused(_) => Ok((0, 0, marks)),
        Reading::Opaque(_) => Ok((1, 0, marks)),
        Reading::Plain(plain) => {
            holds(text, &plain)?;
            Ok((2 + plain.class() as u8, plain.commands.len(), marks))
        }
    }
}

fn holds(text: &str, plain: &Plain) -> Result<(), String> {
    let shown = plain.display();
    let again = read(shown.as_bytes());
    if again != Reading::Plain(plain.clone()) {
        return Err(format!("shown as {shown:?} it is {again:?}"));
    }
    for command in &plain.commands {
        let program = command.argv.first().map_or("", |word| word.text.as_str());
        if program.is_empty()
            || program.contains('/')
            || program != command.facts.wrapper.as_deref().unwrap_or(&command.facts.program)
        {
            return Err(format!("its program is {program:?}, and {:?} in its facts", command.facts.program));
        }
        if command.facts.class > plain.class() {
            return Err("it is milder than a part of it".to_owned());
        }
    }
    // What follows is on a line of its own, or goes on with the last one: it is there in any case.
    for worse in ["$(touch x)", "`touch x`", "./x", "ls & rm x"] {
        if let Reading::Plain(more) = read(format!("{text}\n{worse}").as_bytes()) {
            return Err(format!("followed by {worse} it is still {more:?}"));
        }
    }
    match read(format!("{text}\nrm x").as_bytes()) {
        Reading::Plain(more) if more.class() < EffectClass::Write => {
            Err("followed by a removal it only reads".to_owned())
        }
        Reading::Plain(_) | Reading::Opaque(_) | Reading::Refused(_) => Ok(()),
    }
}
