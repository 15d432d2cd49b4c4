//! What somebody asks to deploy, and what becomes of it in a project: pure.

use super::{
    admission::{Idempotency, NewDeployment},
    detail::TargetName,
    store::scene::Scene,
    trigger::Trigger,
};
use crate::{
    access::Actor,
    audit::entry::{Action, Entry},
    db,
    error::{Error, Result},
    field::{IdempotencyKey, RefName, Remark},
};

/// A request to deploy.
#[derive(Clone, Debug)]
pub struct DeployInput {
    /// The target, by slug or id.
    pub target: String,
    /// The branch, tag or commit; the project's default branch otherwise.
    pub ref_name: Option<RefName>,
    /// A remark.
    pub note: Option<Remark>,
    /// How to recognise the same request again.
    pub key: Option<IdempotencyKey>,
}

/// What is asked for, if the project can do it, and where.
pub(super) fn wanted(
    actor: &Actor,
    scene: &Scene,
    input: DeployInput,
) -> Result<(NewDeployment, TargetName)> {
    let Some((target_id, target_slug)) = scene.target_id.zip(scene.target_slug.clone()) else {
        let message = format!("the project has no target `{}`", input.target);
        return Err(Error::invalid("target", message));
    };
    if scene.has_pipeline == 0 {
        let message = "the project has no pipeline yet; write one first";
        return Err(Error::conflict("pipeline_missing", message));
    }
    if scene.repository.is_none() && input.ref_name.is_some() {
        return Err(Error::invalid("ref", "the project has no repository"));
    }
    let ref_name = scene.repository.is_some().then(|| {
        let wanted = input.ref_name.as_ref().map(ToString::to_string);
        wanted.unwrap_or_else(|| scene.default_branch.clone())
    });
    let note = input.note.map(Remark::into_string);
    let idempotency = input.key.map(|key| Idempotency {
        request_hash: request_hash(&[
            &target_id.to_string(),
            ref_name.as_deref().unwrap_or_default(),
            note.as_deref().unwrap_or_default(),
        ]),
        key,
    });
    let now = db::now();
    let wanted = NewDeployment {
        project: scene.id,
        target: target_id,
        policy: scene.queue_policy,
        ref_name,
        commit_id: None,
        trigger: Trigger::Manual,
        note,
        requested_by: Some(actor.user),
        retry_of: None,
        idempotency,
        told: scene.told,
        premise: None,
        entry: Entry::by(actor, Action::DeploymentCreate, now),
    };
    let target = TargetName {
        id: target_id,
        slug: target_slug,
        holder_id: None,
    };
    Ok((wanted, target))
}

/// A hash of the parts of a request, told apart by their lengths.
fn request_hash(parts: &[&str]) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}
