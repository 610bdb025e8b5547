//! Who speaks: what a person types is told from what they quote and from what a program says.
use backstay_engine::{Caller, Command, TurnView};
use backstay_kernel::flow::{Flow, Origin};
use backstay_kernel::home::Speaks;
use backstay_kernel::label::{Label, Source};
use backstay_kernel::record::{Admitted, Judged, Reason, Record, Verdict};
use backstay_kernel::words::{Atom, Kind};

use crate::stage::{Line, Play, asked, call, decide, message, owner, policy};

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

#[tokio::test]
async fn a_tainted_session_asks_for_a_path_that_nobody_named_and_its_record_says_who_named_one() {
    let home = tempfile::tempdir().unwrap();
    let mut policy = policy();
    policy.workspace = "/elsewhere".into();
    let put = |tool| call(tool, "{}");
    let lines = vec![call("look", "{}"), put("put"), Line::Say("ok"), put("send"), Line::Say("ok")];
    let play = Play::begin(home.path(), policy, lines).await;
    let said = play.engine.submit(&person(), message(None, "look around, then write /home/put")).await.unwrap();
    let view = play.ended(said).await;
    let grounds = |view: &TurnView| {
        let records = view.records.iter().map(|placed| &placed.record);
        records
            .filter_map(|record| if let Record::Judged(judged) = record { judged.grounds.clone() } else { None })
            .next_back()
    };
    assert_eq!(grounds(&view).unwrap().origins, [Origin { path: 0, from: said.turn }]);
    assert_eq!(play.stage.acts_of("put"), 1);

    let more = play.engine.submit(&person(), message(Some(said.session), "> write /home/send\n\nwell?")).await.unwrap();
    let view = play.until(more, |view| asked(view).is_some()).await;
    assert!(grounds(&view).unwrap().origins.is_empty());
    let by = view.records.iter().find_map(|placed| {
        let Record::Judged(Judged { verdict: Verdict::Ask { by, .. }, .. }) = &placed.record else { return None };
        Some(by.clone())
    });
    assert_eq!(by, Some(Reason::Flow(Flow::UnnamedPath)));
    assert_eq!(play.stage.acts_of("send"), 0);
    let yes = decide(asked(&view).unwrap(), true);
    play.engine.command(&owner(), more.session, yes, None).await.unwrap();
    play.ended(more).await;
    assert_eq!(play.stage.acts_of("send"), 1, "a person's yes is a yes");
}
