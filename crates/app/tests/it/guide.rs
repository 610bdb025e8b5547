//! `backstay` alone says what to do next, and every command that it names exists.
use crate::place::{Place, Ran};

#[test]
fn the_guide_follows_the_state_of_the_home() {
    let place = Place::empty();
    assert_eq!(place.run(&["--json"]).json(0)["state"], "none");
    assert!(place.run(&[]).expect(0).stdout.contains("backstay quickstart"));
    std::fs::create_dir(place.home()).unwrap();
    std::fs::write(place.home().join("backstay.toml"), "").unwrap();
    assert_eq!(place.run(&["--json"]).json(0)["state"], "part");
    let place = Place::with_home();
    assert_eq!(place.run(&["--json"]).json(0)["state"], "stopped");
    let _served = place.serve();
    place.run(&["run", "write the report"]).expect(4);
    let guide = place.run(&["--json"]).json(0);
    assert_eq!(guide["state"], "running");
    assert_eq!(guide["next"][0]["command"], "backstay approvals");
}

#[test]
fn the_home_is_found_by_flag_variable_and_data_directory() {
    let place = Place::empty();
    let home = |command: &mut std::process::Command| -> String {
        let ran = Ran::of(&command.arg("--json").output().unwrap());
        ran.json(0)["home"].as_str().unwrap().to_owned()
    };
    let data = place.path("data");
    let mut bare = place.command(&[]);
    assert_eq!(home(bare.env_remove("BACKSTAY_HOME")), place.path(".local/share/backstay").to_str().unwrap());
    let mut bare = place.command(&[]);
    assert_eq!(
        home(bare.env_remove("BACKSTAY_HOME").env("XDG_DATA_HOME", &data)),
        data.join("backstay").to_str().unwrap()
    );
    let mut both = place.command(&["--home", "/flag"]);
    assert_eq!(home(both.env("XDG_DATA_HOME", &data)), "/flag");
    let mut none = place.command(&[]);
    Ran::of(&none.env_clear().output().unwrap()).expect(2);
}

#[test]
fn a_command_for_another_home_names_it() {
    let place = Place::with_home();
    let home = place.home();
    let mut command = place.command(&["--json", "--home", home.to_str().unwrap()]);
    let guide = Ran::of(&command.env_remove("BACKSTAY_HOME").output().unwrap()).json(0);
    let expected = format!("backstay --home {} chat", home.display());
    assert_eq!(guide["next"][0]["command"], expected);
}
