//! Calls on the home as a whole: their keys outlive the process.
use http::StatusCode;
use serde_json::{Value, json};

use crate::house::{House, call};

#[tokio::test]
async fn a_keyed_call_on_the_home_is_done_once_whatever_process_hears_it() {
    let house = House::new(&[]).await;
    let wanted = json!({ "principal": "ann", "speaks": "program", "scope": "chat" });
    let frozen = house.post("oper", "/api/home/freeze").key("f").none().await;
    let made = house.locally_keyed("/api/tokens", "t", wanted.clone()).await;
    assert_eq!((frozen.status, made.status), (StatusCode::OK, StatusCode::CREATED));
    house.post("oper", "/api/home/unfreeze").key("u").none().await;
    let again = house.locally_keyed("/api/tokens", "t", wanted.clone()).await;
    assert_eq!(again.json, made.json, "the same process shows the same token");

    let tokens = house.get("owner", "/api/tokens").none().await.json;
    let next = house.reopened();
    assert_eq!(next.post("oper", "/api/home/freeze").key("f").none().await.json, frozen.json);
    assert_eq!(next.get("oper", "/api/status").none().await.json["frozen"], false, "it is not done again");
    let told = next.locally_keyed("/api/tokens", "t", wanted).await;
    assert_eq!((told.status, told.code()), (StatusCode::GONE, "token_shown"));
    assert!(told.text.contains(made.json["id"].as_str().unwrap()), "{}", told.text);
    let other = json!({ "principal": "bob", "speaks": "program", "scope": "chat" });
    assert_eq!(next.locally_keyed("/api/tokens", "t", other).await.code(), "key_reused");
    assert_eq!(next.post("oper", "/api/home/unfreeze").key("f").none().await.code(), "key_reused");
    assert_eq!(next.get("owner", "/api/tokens").none().await.json, tokens, "no second token");

    let revoke = format!("/api/tokens/{}/revoke", made.json["id"].as_str().unwrap());
    let revoked = next.post("owner", &revoke).key("r").none().await;
    let last = next.reopened();
    assert_eq!(last.post("owner", &revoke).key("r").none().await.json, revoked.json);
    assert_eq!(last.post("owner", &revoke).none().await.code(), "no_such_token");
}

#[tokio::test]
async fn everything_is_stopped_by_who_says_so_and_by_no_empty_body() {
    let house = House::new(&[call("guarded", "{}")]).await;
    let (session, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let stop = |body: Value| house.post("oper", "/api/home/stop").json(body);
    assert_eq!(house.post("oper", "/api/home/stop").none().await.code(), "malformed");
    for body in [
        json!({}),
        json!({ "all": false }),
        json!({ "agent": null }),
        json!({ "all": true, "agent": "main" }),
        json!({ "all": true, "channel": "api" }),
        json!({ "agent": "main", "channel": "api" }),
    ] {
        assert_eq!(stop(body.clone()).await.code(), "malformed", "{body}");
    }
    house.turn(&turn, "waiting").await;
    let told = stop(json!({ "all": true })).await;
    assert_eq!((told.status, told.json), (StatusCode::OK, json!({ "scope": "home", "stopped": [session] })));
}
