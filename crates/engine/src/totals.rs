//! What the process has done since it began, counted where commits succeed.
use std::collections::BTreeMap;
use std::time::Duration;

use backstay_kernel::record::{Decision, End, Judged, Planned, Record, StopReason, Verdict};

use crate::limits::{ANSWER_BUCKETS, APPEND_BUCKETS};

#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By the word of their reason.
    pub turns_ended: BTreeMap<&'static str, u64>,
    pub model_calls: u64,
    pub model_failures: u64,
    pub tool_calls: u64,
    /// Billed.
    pub tokens: u64,
    pub micro_usd: u64,
    pub approvals_asked: u64,
    /// By the word of the decision.
    pub approvals_decided: BTreeMap<&'static str, u64>,
    pub doubts: u64,
    /// From the hand-over to the commit that has it.
    pub appends: Latency,
    /// From opening an ask to each answer to it.
    pub answers: Latency,
}

/// How long things took.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// Upper ends of what they are counted in.
    pub bounds: &'static [Duration],
    /// How many ended within each of the bounds, and in none before it.
    pub within: Vec<u64>,
    pub count: u64,
    pub sum: Duration,
}

impl Latency {
    fn new(bounds: &'static [Duration]) -> Self {
        Self { bounds, within: vec![0; bounds.len()], ..Self::default() }
    }

    pub(crate) fn note(&mut self, took: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
        let within = self.within.iter_mut().zip(self.bounds);
        if let Some((count, _)) = within.into_iter().find(|(_, bound)| took <= **bound) {
            *count += 1;
        }
    }
}

impl Totals {
    pub fn new() -> Self {
        let (appends, answers) = (Latency::new(&APPEND_BUCKETS), Latency::new(&ANSWER_BUCKETS));
        Self { appends, answers, ..Self::default() }
    }

    /// With how long the asks were open that were answered in them.
    pub fn count(&mut self, records: &[Record], answered: &[Duration]) {
        answered.iter().for_each(|waited| self.answers.note(*waited));
        for record in records {
            if let Record::Decided { decision, .. } = record {
                let word = match decision {
                    Decision::Approve => "approved",
                    Decision::Deny => "denied",
                    Decision::Expire => "expired",
                };
                *self.approvals_decided.entry(word).or_default() += 1;
            }
            if let Record::TurnEnded(ended) = record {
                *self.turns_ended.entry(word(ended.reason)).or_default() += 1;
            }
            if let Record::Ended(ended) = record {
                let spent = ended.spent.unwrap_or_default();
                self.tokens = self.tokens.saturating_add(spent.tokens);
                self.micro_usd = self.micro_usd.saturating_add(spent.micro_usd);
                self.model_failures += u64::from(matches!(ended.end, End::ModelFailed { .. }));
            }
            let is_ask = |judged: &Judged| matches!(judged.verdict, Verdict::Ask { .. });
            self.model_calls += u64::from(matches!(record, Record::Started(s) if s.request.is_some()));
            self.model_failures += u64::from(matches!(record, Record::Retried(_)));
            self.tool_calls +=
                u64::from(matches!(record, Record::Planned(Planned::Tool { .. } | Planned::Lookup { .. })));
            self.approvals_asked += u64::from(matches!(record, Record::Judged(j) if is_ask(j)));
            self.doubts += u64::from(matches!(record, Record::Doubted { .. }));
        }
    }
}

/// One word for each reason, for metrics.
fn word(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Claimed => "claimed",
        StopReason::StoppedByUser => "stopped_by_user",
        StopReason::Cap(_) => "cap",
        StopReason::Loop(_) => "loop",
        StopReason::ContextBlocked => "context_blocked",
        StopReason::OutputLimit => "output_limit",
        StopReason::Refusal => "refusal",
        StopReason::ProviderUnavailable => "provider_unavailable",
        StopReason::Auth => "auth",
        StopReason::Quota => "quota",
        StopReason::Policy => "policy",
        StopReason::Invalid => "invalid",
        StopReason::Erased => "erased",
        StopReason::Clearance => "clearance",
        StopReason::Denials => "denials",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_counted_in_the_first_bucket_that_holds_it() {
        let mut latency = Latency::new(&APPEND_BUCKETS);
        let [first, .., last] = APPEND_BUCKETS;
        let took = [Duration::ZERO, first, first + Duration::from_nanos(1), last, last * 2];
        took.into_iter().for_each(|took| latency.note(took));
        assert_eq!((latency.within[0], latency.within[1], latency.within.last()), (2, 1, Some(&1)));
        assert_eq!((latency.count, latency.sum), (5, 2 * first + 3 * last + Duration::from_nanos(1)));
    }
}
