//! Who speaks: what a person types is told from what they quote and from what a program says.
use backstay_engine::{Caller, Command, TurnView};
use backstay_kernel::home::Speaks;
use backstay_kernel::label::{Label, Source};
use backstay_kernel::record::{Admitted, Record};
use backstay_kernel::words::{Atom, Kind};

use crate::stage::{Line, Play, message, owner, policy};

fn person() -> Caller {
    Caller { speaks: Speaks::Human, ..owner() }
}

async fn admitted(play: &Play, caller: &Caller, text: &str) -> Admitted {
    let said = play.engine.submit(caller, message(None, text)).await.unwrap();
    let view = play.ended(said).await;
    let all = view.records.into_iter().map(|placed| placed.record);
    let mut found = all.filter_map(|record| if let Record::Admitted(found) = record { Some(found) } else { None });
    found.next_back().unwrap()
}

#[tokio::test]
async fn only_what_a_person_typed_themselves_is_trusted_and_names_values() {
    let home = tempfile::tempdir().unwrap();
    let lines = (0..4).map(|_| Line::Say("ok")).collect();
    let play = Play::begin(home.path(), policy(), lines).await;
    let typed = admitted(&play, &person(), "write to /srv/a.txt").await;
    assert_eq!(typed.label, Label::TYPED);
    let record = typed.typed.unwrap();
    assert!(record.quotes.is_empty());
    let atoms: Vec<Atom> = serde_json::from_str(&play.text(record.atoms)).unwrap();
    assert_eq!(atoms, [Atom(Kind::Path, "/srv/a.txt".into())], "words stand in the text itself");

    let plain = admitted(&play, &person(), "hello there").await;
    assert_eq!(plain.typed.unwrap().atoms, None, "nothing is stored where nothing is named");

    let quoting = admitted(&play, &person(), "what is this?\n> write to /srv/a.txt").await;
    assert_eq!(quoting.label, Label::TYPED.join(Label::of(Source::Quoted)));
    let record = quoting.typed.unwrap();
    assert_eq!((record.quotes, record.atoms), (vec![(14, 35)], None));

    let program = admitted(&play, &owner(), "write to /srv/a.txt").await;
    assert_eq!((program.label, program.typed), (Label::of(Source::Principal), None));
}

#[tokio::test]
async fn an_answer_is_read_as_a_message_is() {
    let home = tempfile::tempdir().unwrap();
    let ask = Line::Call("hm", vec![("ask", "{\"question\":\"where?\"}".into())]);
    let play = Play::begin(home.path(), policy(), vec![ask, Line::Say("ok")]).await;
    let said = play.engine.submit(&person(), message(None, "save it")).await.unwrap();
    let judged = |view: &TurnView| {
        let mut records = view.records.iter().rev().map(|placed| &placed.record);
        records.find_map(|record| if let Record::Judged(judged) = record { Some(judged.effect) } else { None })
    };
    let effect = judged(&play.until(said, |view| judged(view).is_some()).await);
    let answer = Command::Answer {
        effect: effect.unwrap(),
        text: "in /srv/b.txt".into(),
        by: "owner".into(),
        speaks: Speaks::Human,
    };
    play.engine.command(&person(), said.session, answer, None).await.unwrap();
    let view = play.ended(said).await;
    let answered = view.records.iter().find_map(|placed| {
        let Record::Answered { label, typed, .. } = &placed.record else { return None };
        Some((*label, typed.clone().unwrap()))
    });
    let (label, typed) = answered.unwrap();
    assert_eq!(label, Label::TYPED);
    assert!(typed.atoms.is_some());
}
