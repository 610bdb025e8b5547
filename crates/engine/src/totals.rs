//! What the process has done since it began, counted where commits succeed.
use std::collections::BTreeMap;
use std::time::Duration;

use backstay_kernel::record::{End, Judged, Planned, Record, StopReason, Verdict};

use crate::limits::APPEND_BUCKETS;

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
    pub doubts: u64,
    pub appends: Latency,
}

/// How long appends took, from the hand-over to the commit that has them.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// How many ended within each of [`APPEND_BUCKETS`], and in none before it.
    pub within: [u64; APPEND_BUCKETS.len()],
    pub count: u64,
    pub sum: Duration,
}

impl Latency {
    pub(crate) fn note(&mut self, took: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
        let within = self.within.iter_mut().zip(APPEND_BUCKETS);
        if let Some((count, _)) = within.into_iter().find(|(_, bound)| took <= *bound) {
            *count += 1;
        }
    }
}

impl Totals {
    pub fn count(&mut self, records: &[Record]) {
        for record in records {
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
        let mut latency = Latency::default();
        let [first, .., last] = APPEND_BUCKETS;
        let took = [Duration::ZERO, first, first + Duration::from_nanos(1), last, last * 2];
        took.into_iter().for_each(|took| latency.note(took));
        assert_eq!((latency.within[0], latency.within[1], latency.within.last()), (2, 1, Some(&1)));
        assert_eq!((latency.count, latency.sum), (5, 2 * first + 3 * last + Duration::from_nanos(1)));
    }
}
