//! Every metric of the process: its name, its labels, and where its value comes from. Labels come
//! from closed lists, so that no caller can make a new series.
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use backstay_engine::{Engine, Latency};
use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use crate::error::Problem;
use crate::notices::Telling;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Call {
    /// The path of the route, or `other`.
    route: String,
    /// `2xx` to `5xx`.
    status: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Ended {
    reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Decided {
    decision: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Of {
    /// As the config has it.
    name: String,
}

/// A histogram, as it was read last.
#[derive(Clone, Default, Debug)]
struct Durations(Arc<Mutex<Latency>>);

impl Durations {
    fn set(&self, latency: Latency) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Latency { bounds, within, count, sum } = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let slower = count.saturating_sub(within.iter().sum());
        let bounds = bounds.iter().map(std::time::Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(within.into_iter().chain([slower])).collect();
        encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<Call, Counter>,
    pub auth_failures: Counter,
    sessions_live: Gauge,
    frozen: Gauge,
    journal_writable: Gauge,
    db_bytes: Gauge<u64, AtomicU64>,
    free_bytes: Gauge<u64, AtomicU64>,
    commits: Counter,
    appends: Durations,
    answers: Durations,
    turns_ended: Family<Ended, Counter>,
    model_calls: Counter,
    model_failures: Counter,
    tool_calls: Counter,
    tokens: Counter,
    micro_usd: Counter,
    approvals_asked: Counter,
    approvals_decided: Family<Decided, Counter>,
    redactions: Family<Of, Counter>,
    doubts: Counter,
    notices_sent: Counter,
    notices_failed: Counter,
    notices_untold: Gauge,
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("backstay");
        macro_rules! metric {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        let (appends, answers) = (Durations::default(), Durations::default());
        let help = "From handing an append over to the commit that has it";
        registry.register_with_unit("journal_append", help, Unit::Seconds, appends.clone());
        let help = "From opening an ask to each yes or no that it was given";
        registry.register_with_unit("approval_wait", help, Unit::Seconds, answers.clone());
        Self {
            appends,
            answers,
            calls: metric!("http_requests", "Requests answered, by route and class of status"),
            auth_failures: metric!("auth_failures", "Requests without a valid token"),
            sessions_live: metric!("sessions_live", "Sessions in memory"),
            frozen: metric!("home_frozen", "1 while the home is frozen"),
            journal_writable: metric!("journal_writable", "1 while the journal can be written"),
            db_bytes: metric!("db_bytes", "Size of the state file and its log"),
            free_bytes: metric!("disk_free_bytes", "Free on the home's file system"),
            commits: metric!("journal_commits", "Commits since the process began"),
            turns_ended: metric!("turns_ended", "Turns ended, by reason"),
            model_calls: metric!("model_calls", "Model calls started"),
            model_failures: metric!("model_failures", "Attempts of model calls that failed"),
            tool_calls: metric!("tool_calls", "Tool calls planned"),
            tokens: metric!("billed_tokens", "Tokens billed"),
            micro_usd: metric!("billed_micro_usd", "Millionths of a dollar billed"),
            approvals_asked: metric!("approvals_asked", "Approvals asked for"),
            approvals_decided: metric!("approvals_decided", "Answers to asks, and asks that ran out, by decision"),
            redactions: metric!("redactions", "Forms of a secret's value that were taken out of texts, by its name"),
            doubts: metric!("doubts", "Effects whose outcome became unknown"),
            notices_sent: metric!("notices_sent", "Notices of what waits that `[notify] url` has taken"),
            notices_failed: metric!("notices_failed", "Tries of telling that failed"),
            notices_untold: metric!("notices_untold", "What waits and was not told yet"),
            registry,
        }
    }

    /// A request was answered; `route` is its path in the table, or `other`.
    pub fn answered(&self, route: String, status: StatusCode) {
        let status = match status.as_u16() {
            0..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            500..=u16::MAX => "5xx",
        };
        self.calls.get_or_create(&Call { route, status }).inc();
    }

    /// All of them as a scraper reads them, with what others count.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read(&self, engine: &Engine, telling: Option<Telling>) -> Result<String, Problem> {
        let telling = telling.unwrap_or_default();
        set(&self.notices_sent, telling.sent);
        set(&self.notices_failed, telling.failed);
        self.notices_untold.set(i64::try_from(telling.untold).unwrap_or(i64::MAX));
        let totals = engine.totals();
        for (reason, count) in totals.turns_ended {
            set(&self.turns_ended.get_or_create(&Ended { reason }), count);
        }
        set(&self.model_calls, totals.model_calls);
        set(&self.model_failures, totals.model_failures);
        set(&self.tool_calls, totals.tool_calls);
        set(&self.tokens, totals.tokens);
        set(&self.micro_usd, totals.micro_usd);
        set(&self.approvals_asked, totals.approvals_asked);
        for (decision, count) in totals.approvals_decided {
            set(&self.approvals_decided.get_or_create(&Decided { decision }), count);
        }
        self.appends.set(totals.appends);
        self.answers.set(totals.answers);
        for (name, count) in engine.redactions() {
            set(&self.redactions.get_or_create(&Of { name }), count);
        }
        set(&self.doubts, totals.doubts);
        let stats = engine.store().stats().map_err(|error| Problem::unreadable(&error))?;
        set(&self.commits, stats.commits);
        self.db_bytes.set(stats.db_bytes.saturating_add(stats.wal_bytes));
        self.free_bytes.set(stats.free_bytes);
        self.sessions_live.set(i64::try_from(engine.live_sessions()).unwrap_or(i64::MAX));
        self.frozen.set(i64::from(engine.home().switches().frozen));
        self.journal_writable.set(i64::from(engine.store().writable().is_ok()));
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(|error| Problem::internal(&error))?;
        Ok(text)
    }
}

/// The total is counted elsewhere; here it is only told.
fn set(counter: &Counter, total: u64) {
    counter.inner().store(total, std::sync::atomic::Ordering::Relaxed);
}
