//! What a yes is said to: one action, named by a digest of all that makes it this one and no other.
use crate::effect::CallRef;
use crate::facts::Facts;
use crate::flow::Named;
use crate::id::{Digest, EffectId, Millis};
use crate::policy::Policy;
use crate::record::Reason;
use crate::rule::Approvers;
use crate::session::Session;

/// An action that somebody is asked about, and on what terms.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub session: &'a Session,
    /// The call that the model made, and where its arguments are: by the digest of their bytes.
    pub effect: EffectId,
    pub call: &'a CallRef,
    /// Paths, files of programs, places on the network and the sandbox, as they were found.
    pub facts: &'a Facts,
    /// Which of its values a person named, and in which message.
    pub named: &'a Named,
    pub by: &'a Reason,
    pub approvers: &'a Approvers,
    pub expires_at: Millis,
    /// All rules, grants, manifests of tools and directories.
    pub policy: &'a Policy,
}

impl Asking<'_> {
    /// Looked at twice: a yes must name it, and the action that then starts must still have it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let text = serde_json::to_string(&(self.named, self.by, self.approvers)).unwrap_or_default();
        Digest::of(
            "backstay approval v2",
            &[
                &self.session.lineage.to_be_bytes(),
                &self.session.id.0,
                &self.effect.0.to_be_bytes(),
                self.call.tool.as_deref().unwrap_or_default().as_bytes(),
                &self.call.calls.digest.0,
                &self.call.index.to_be_bytes(),
                &self.facts.digest().0,
                text.as_bytes(),
                &self.expires_at.to_be_bytes(),
                &self.policy.epoch.to_be_bytes(),
                &self.policy.digest.0,
            ],
        )
    }
}
