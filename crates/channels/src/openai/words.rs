//! What this door says in a turn's place: while it waits, and when it has ended without a reply.
//! A client sends these words back as the assistant's, so they follow from the records alone.
use backstay_kernel::id::{Place, SessionId};
use backstay_kernel::record::{Cap, LoopRule, StopReason};

#[must_use]
pub fn approval(tool: &str, place: Place) -> String {
    format!(
        "This waits for a person to approve a call of `{tool}`: `backstay approve {place}` or `backstay deny {place}`."
    )
}

#[must_use]
pub fn doubt(tool: &str, place: Place) -> String {
    format!(
        "Whether a call of `{tool}` has happened is unknown. This waits for a person to find out: `backstay resolve {place} done|not-done|retry --note TEXT`."
    )
}

#[must_use]
pub fn parked(tool: &str) -> String {
    format!(
        "A call of `{tool}` is to be approved by a person, and enough was asked of people for now. This waits, and the question is put when there is room for it."
    )
}

#[must_use]
pub fn provider() -> String {
    "The model's provider does not answer. This waits and goes on by itself when it is back.".into()
}

#[must_use]
pub fn stopped(session: SessionId) -> String {
    format!("This session is stopped. The message waits for `backstay resume {session}`.")
}

#[must_use]
pub fn frozen() -> String {
    "This home is frozen: nothing starts in it. The turn goes on after `backstay unfreeze`.".into()
}

#[must_use]
pub fn ended(reason: StopReason) -> String {
    let why = match reason {
        StopReason::Claimed => "the model said nothing",
        StopReason::StoppedByUser => "it was stopped",
        StopReason::Cap(Cap::Steps) => "it used up its steps",
        StopReason::Cap(Cap::ToolCalls) => "it used up its tool calls",
        StopReason::Cap(Cap::Wall) => "it used up its working time",
        StopReason::Cap(Cap::TurnBudget) => "the turn's budget is used up",
        StopReason::Cap(Cap::SessionBudget) => "the session's budget is used up",
        StopReason::Cap(Cap::SharedBudget) => "a budget is used up",
        StopReason::Loop(LoopRule::ExactRepeat) => "it made the same call again and again",
        StopReason::Loop(LoopRule::FailingCalls) => "its calls failed or were refused, one after another",
        StopReason::ContextBlocked => "the conversation no longer fits the model",
        StopReason::OutputLimit => "the reply was cut at the output limit",
        StopReason::Refusal => "the model refused",
        StopReason::ProviderUnavailable => "the model's provider stayed away",
        StopReason::Auth => "the model's provider does not take the credentials",
        StopReason::Quota => "the account at the model's provider is used up",
        StopReason::Policy => "the model's provider or the policy does not allow it",
        StopReason::Invalid => "the model's provider found the request wrong",
        StopReason::Erased => "a text of the conversation was erased",
        StopReason::Clearance => "the model's provider is not cleared for what the conversation has seen",
        StopReason::Denials => "what it asked for was denied or not answered again and again",
    };
    format!("This turn ended without a reply: {why}.")
}

/// The texts of a turn's steps as a stream shows them.
#[must_use]
pub fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.join(BETWEEN)
}

/// Between the texts of two steps.
pub const BETWEEN: &str = "\n\n";
