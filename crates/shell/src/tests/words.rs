//! Words, redirections and facts, one by one.
use super::{argv, plain};
use crate::limits::{COMMAND_BYTES_MAX, COMMANDS_MAX, WORDS_MAX};
use crate::{EffectClass, Opaque, Reading, Redirect, Refused, Stream, Word, read};

fn words(command: &str) -> Vec<String> {
    argv(&plain(command)).remove(0)
}

fn opaque(command: &str) -> Opaque {
    let reading = read(command.as_bytes());
    let Reading::Opaque(reason) = reading else { panic!("`{command}`: {reading:?}") };
    reason
}

fn refused(command: &str) -> Refused {
    let reading = read(command.as_bytes());
    let Reading::Refused(reason) = reading else { panic!("{reading:?}") };
    reason
}

fn texts<'a>(words: impl Iterator<Item = &'a Word>) -> Vec<&'a str> {
    words.map(|word| word.text.as_str()).collect()
}

#[test]
fn quotes_come_off_as_they_do_in_bash() {
    assert_eq!(words(r#"echo 'a b'"c d"e"#), ["echo", "a bc de"]);
    assert_eq!(words(r#"echo "a\"b\\c\d\$e""#), ["echo", "a\"b\\c\\d$e"]);
    assert_eq!(words(r"echo a\ b \(c\) \'"), ["echo", "a b", "(c)", "'"]);
    assert_eq!(words("echo '' \"\""), ["echo", "", ""]);
    assert_eq!(words("echo 'two\nlines'"), ["echo", "two\nlines"]);
    assert_eq!(words(r#"echo "end$" "a$|b$""#), ["echo", "end$", "a$|b$"]);
    assert_eq!(
        words("echo HEAD~3 a~ stash@{0} x@{u} a#b 100% a=b +1"),
        ["echo", "HEAD~3", "a~", "stash@{0}", "x@{u}", "a#b", "100%", "a=b", "+1"]
    );
}

#[test]
fn what_bash_would_expand_is_opaque() {
    for word in [
        "$x", "${x}", "\"$x\"", "$'x'", "$\"x\"", "`x`", "\"`x`\"", "~", "~ann", "a=~", "PATH=a:~", "{a,b}", "a{1..3}",
        "{a}", "@{}", "@{a,b}", "a!b", "!!", "\"!!\"", "a\\b", "*'a'", "\"a\"?", "$", "$$", "$?", "$#", "\"$-\"",
    ] {
        assert!(
            matches!(opaque(&format!("echo {word}")), Opaque::Expansion(_)),
            "{word}: {:?}",
            opaque(&format!("echo {word}"))
        );
    }
}

#[test]
fn a_glob_is_a_path_among_many_and_nothing_else() {
    let facts = plain("head *").commands.remove(0).facts;
    assert_eq!(facts.reads, [Word { text: "*".to_owned(), is_glob: true }]);
    assert_eq!(plain("head '*'").commands[0].facts.reads, [Word { text: "*".to_owned(), is_glob: false }]);
    for command in [
        "echo *",
        "grep *.rs a",
        "diff *.a b",
        "ls > *.txt",
        "find . -name *.rs",
        "head -n ? a",
        "head -*",
        "strings @list",
        "cat '*'*.rs",
        "cat \"a b\"*",
        "head -n* a",
        "mv a b*",
    ] {
        assert!(matches!(read(command.as_bytes()), Reading::Opaque(_)), "{command}");
    }
    // No file has an option's name: the pattern is meant for the program.
    assert_eq!(plain("grep -rn x --include=*.rs .").display(), "grep -rn x '--include=*.rs' .");
}

#[test]
fn redirections_are_read_as_bash_makes_them() {
    let output = |stream, is_append, path: &str| Redirect::Output { stream, is_append, path: path.to_owned() };
    let cases = [
        ("echo 2 > x", vec!["echo", "2"], vec![output(Stream::Output, false, "x")]),
        ("echo 2> x", vec!["echo"], vec![output(Stream::Errors, false, "x")]),
        ("echo a2> x", vec!["echo", "a2"], vec![output(Stream::Output, false, "x")]),
        ("echo a >>'x y' b", vec!["echo", "a", "b"], vec![output(Stream::Output, true, "x y")]),
        (
            "cat <a 1>b 2>>c",
            vec!["cat"],
            vec![
                Redirect::Input("a".to_owned()),
                output(Stream::Output, false, "b"),
                output(Stream::Errors, true, "c"),
            ],
        ),
        ("ls >a 2>&1", vec!["ls"], vec![output(Stream::Output, false, "a"), Redirect::ErrorsToOutput]),
        ("ls 2>&1 >a", vec!["ls"], vec![Redirect::ErrorsToOutput, output(Stream::Output, false, "a")]),
    ];
    for (command, argv, redirects) in cases {
        let simple = plain(command).commands.remove(0);
        assert_eq!(texts(simple.argv.iter()), argv, "{command}");
        assert_eq!(simple.redirects, redirects, "{command}");
    }
    for command in [
        "ls &> a",
        "ls >& a",
        "ls >| a",
        "ls 3> a",
        "ls <> a",
        "ls 2>&3",
        "ls 1>&2",
        "ls > ''",
        "ls > *",
        "ls > $x",
        "ls <&0",
        "> a",
        "> a ls",
        "ls > /dev/tcp/a/1",
        "ls 2 >&1",
        "ls >",
        "ls 12> a",
        "ls 99999999999> a",
        "cat <<< x",
        "ls > ~/x",
    ] {
        assert!(matches!(read(command.as_bytes()), Reading::Opaque(_)), "{command}");
    }
}

#[test]
fn facts_name_what_is_read_and_written() {
    let all = plain("grep -f words -rn src > out.txt 2>/dev/null && cp -r a b c && timeout 5 git status --short");
    assert_eq!(texts(all.reads()), ["words", "src", "a", "b"]);
    assert_eq!(texts(all.writes()), ["out.txt", "c"]);
    assert_eq!(all.class(), EffectClass::Execute);
    let classes: Vec<_> = all.commands.iter().map(|command| command.facts.class).collect();
    assert_eq!(classes, [EffectClass::Write, EffectClass::Write, EffectClass::Execute]);
    let last = &all.commands[2].facts;
    assert_eq!(
        (last.wrapper.as_deref(), last.program.as_str(), last.subcommand.as_deref()),
        (Some("timeout"), "git", Some("status"))
    );
    assert_eq!(texts(plain("mv a b").reads()), ["a"]);
    assert_eq!(texts(plain("mv a b").writes()), ["a", "b"]);
    assert_eq!(texts(plain("sed -i s/a/b/ x").writes()), ["x"]);
    assert_eq!(plain("ls > out").class(), EffectClass::Write);
    assert_eq!(plain("cat a < b").class(), EffectClass::Read);
    for here in ["ls", "rg x", "find -name x", "grep -r x", "grep -nr x"] {
        assert_eq!(texts(plain(here).reads()), ["."], "{here}");
    }
    assert_eq!(plain("grep x -").reads().count(), 0);
}

#[test]
fn packages_are_named_as_they_are_written_by_whatever_word_or_option() {
    for (command, expected) in [
        ("npm install", &[][..]),
        ("npm ci --ignore-scripts", &[]),
        ("cargo fetch --locked", &[]),
        ("pip install --require-hashes -r requirements.txt", &[]),
        ("cargo add -p app serde@1 --features derive anyhow", &["serde@1", "anyhow"]),
        ("cargo install ripgrep --version=14.1.0", &["14.1.0", "ripgrep"]),
        ("cargo update --precise 1.0.2 -p serde", &["1.0.2", "serde"]),
        ("npm i -D @types/node -- left-pad@^1", &["@types/node", "left-pad@^1"]),
        ("npm install https://c.test/x.tgz c/x 'y@npm:z'", &["https://c.test/x.tgz", "c/x", "y@npm:z"]),
        ("timeout 60 pip install --only-binary :all: 'a[b]>=2' -r x.txt", &["a[b]>=2"]),
        ("ls app && go get example.com/x@v1; gem install rake -v 13.2", &["example.com/x@v1", "13.2", "rake"]),
        ("cargo test name -p app", &[]),
    ] {
        let all = plain(command);
        let named: Vec<&String> = all.commands.iter().flat_map(|simple| &simple.facts.packages).collect();
        assert_eq!(named, expected, "{command}");
    }
}

#[test]
fn commands_are_named_by_their_programs_and_subcommands_without_options() {
    for (command, expected) in [
        ("git status --short", &["git status"][..]),
        ("git --no-pager log -p", &["git log"]),
        ("git stash list", &["git stash list"]),
        ("git --version", &["git"]),
        ("sed -i s/a/b/ x", &["sed"]),
        ("cargo nextest run -p a", &["cargo nextest run"]),
        ("timeout 5 git diff && ls | cat", &["timeout", "git diff", "ls", "cat"]),
    ] {
        let all = plain(command);
        let named: Vec<String> = all.commands.iter().flat_map(|simple| simple.facts.commands()).collect();
        assert_eq!(named, expected, "{command}");
    }
    let of = |words: &[&str]| crate::commands(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    assert_eq!(of(&["timeout", "5", "git", "log"]).unwrap(), ["timeout", "git log"]);
    // No shell reads these.
    assert_eq!(of(&["cat", "$HOME", "*"]).unwrap(), ["cat"]);
    assert_eq!((of(&["git", "-C", "x", "log"]), of(&["timeout", "5", "./x"]), of(&[])), (None, None, None));
    assert!(crate::stands_alone("ls") && crate::stands_alone("timeout"));
    assert!(!crate::stands_alone("git") && !crate::stands_alone("push") && !crate::stands_alone("nobody"));
}

#[test]
fn a_known_variable_is_set_for_its_program_alone_and_no_other_is() {
    let all = plain("RUST_LOG=app=debug,db::pool=trace NO_COLOR=1 cargo test | TZ=Europe/Zurich cat; ls");
    let set: Vec<Vec<(&str, &str)>> = all
        .commands
        .iter()
        .map(|simple| simple.variables.iter().map(|set| (set.name.as_str(), set.value.as_str())).collect())
        .collect();
    assert_eq!(
        set,
        [vec![("RUST_LOG", "app=debug,db::pool=trace"), ("NO_COLOR", "1")], vec![("TZ", "Europe/Zurich")], vec![]]
    );
    assert_eq!(all.display(), "RUST_LOG=app=debug,db::pool=trace NO_COLOR=1 cargo test | TZ=Europe/Zurich cat; ls");
    assert_eq!(
        plain("LC_ALL=C timeout 5 sort a").commands[0].facts.commands().collect::<Vec<_>>(),
        ["timeout", "sort"]
    );
    for command in [
        "RUST_LOG=debug",
        "RUST_LOG=debug; ls",
        "RUST_LOG= ls",
        "RUST_LOG+=debug ls",
        "RUST_LOG[0]=debug ls",
        "RUST_LOG=(debug) ls",
        "RUST_LOG='debug' ls",
        "RUST_LOG=de\\bug ls",
        "RUST_LOG=$x ls",
        "RUST_LOG=debug RUST_LOG=info ls",
        "RUST_LOG=debug LD_PRELOAD=./x.so ls",
        "LD_PRELOAD=./x.so RUST_LOG=debug ls",
        "RUST_LOG=debug > out ls",
        "RUST_LOG=debug ./x",
        "RUST_LOG=debug time ls",
        "RUST_LOG=debug { ls; }",
        "RUST_LOG=debug if true",
        "timeout 5 RUST_LOG=debug ls",
        "MODE=1 ls",
        "rust_log=debug ls",
        "XRUST_LOG=debug ls",
        "TZ=/etc/passwd date",
        "TZ=:Europe/Zurich date",
        "LC_ALL=../x ls",
        "CI=1x ls",
    ] {
        assert!(matches!(read(command.as_bytes()), Reading::Opaque(_)), "{command}: {:?}", read(command.as_bytes()));
    }
}

#[test]
fn the_display_is_made_from_the_words() {
    let text = "  ls   -l\t'src'   ;cat \"a b\"  it\\'s *.rs|grep  -- \"$\"  2>&1\n";
    assert_eq!(plain(text).display(), "ls -l src; cat 'a b' 'it'\\''s' *.rs | grep -- '$' 2>&1");
}

#[test]
fn the_caps_refuse_and_never_ask() {
    let chain = |count: usize| vec!["true"; count].join(";");
    assert_eq!(plain(&chain(COMMANDS_MAX)).commands.len(), COMMANDS_MAX);
    assert_eq!(refused(&chain(COMMANDS_MAX + 1)), Refused::TooManyCommands);
    // Also where the rest is not plain.
    assert_eq!(refused(&format!("{};$(x)", chain(COMMANDS_MAX))), Refused::TooManyCommands);
    let echo = |count: usize| format!("echo{}", " a".repeat(count));
    assert_eq!(words(&echo(WORDS_MAX - 1)).len(), WORDS_MAX);
    assert_eq!(refused(&echo(WORDS_MAX)), Refused::TooManyWords);
    let long = |bytes: usize| format!("echo {}", "a".repeat(bytes - 5));
    assert_eq!(words(&long(COMMAND_BYTES_MAX)).len(), 2);
    assert_eq!(refused(&long(COMMAND_BYTES_MAX + 1)), Refused::TooLong { bytes: COMMAND_BYTES_MAX + 1 });
    for empty in ["", " ", "\n\n", ";"] {
        assert_eq!(refused(empty), Refused::Empty, "{empty:?}");
    }
    assert!(matches!(read(b"ls \xff"), Reading::Refused(Refused::NotUtf8)));
}

/// On a small stack: what nests is turned away before anything recurses into it.
#[test]
fn nesting_does_not_overflow_the_stack() {
    let deep = |open: &str| open.repeat(COMMAND_BYTES_MAX / open.len());
    let texts = [
        "(",
        "{ ",
        "$(",
        "`",
        "\"$(",
        "${",
        "((",
        "<(",
        "$((",
        "[[ ! ( ",
        "! ",
        "if ",
        "while ",
        "a=( ",
        "{",
        "\\`",
        "case x in ",
    ];
    let texts: Vec<String> = texts
        .iter()
        .flat_map(|open| {
            [
                deep(open),
                open.repeat(60),
                format!("{}\n", open.repeat(60)).repeat(16),
                format!("ls {}", open.repeat(15)),
            ]
        })
        .collect();
    let run = move || texts.into_iter().filter(|text| matches!(read(text.as_bytes()), Reading::Plain(_))).collect();
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    let plain: Vec<String> = thread.join().unwrap();
    assert!(plain.iter().all(|text| text.starts_with("ls ")), "what opens something else was read: {plain:?}");
}
