//! An entry as it is shown and exported: the same shape everywhere.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::entity::Model;
use crate::id::{AuditId, ProjectId, UserId};

/// An entry of the audit trail.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Line {
    /// Its number.
    pub id: AuditId,
    /// When it was done.
    pub at: DateTime<Utc>,
    /// The account that did it; null for Slipway itself, its command line, and strangers.
    pub actor_id: Option<UserId>,
    /// That account's address then.
    pub actor: String,
    /// Its role then.
    pub role: String,
    /// The address that it came from.
    pub address: String,
    /// `session`, `token`, `console` or `system`.
    pub credential: String,
    /// The session or token.
    pub credential_id: Option<i64>,
    /// What was done, such as `project.update`.
    pub action: String,
    /// What kind of thing it was done to, such as `target`.
    pub object_kind: String,
    /// That thing's id.
    pub object_id: Option<i64>,
    /// That thing's name then.
    pub object: String,
    /// The project that it belongs to.
    pub project_id: Option<ProjectId>,
    /// What the changed fields were.
    #[schema(value_type = Object)]
    pub before: Option<Value>,
    /// What the changed fields became.
    #[schema(value_type = Object)]
    pub after: Option<Value>,
    /// The link of the chain that holds it; null for a second or so.
    pub seal: Option<i64>,
    /// The proof of its content, in hexadecimal.
    pub mac: String,
}

impl From<Model> for Line {
    fn from(row: Model) -> Self {
        // Text that is no JSON was put there by somebody else, and is shown as it is.
        let state = |text: Option<String>| {
            text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)))
        };
        Self {
            id: row.id,
            at: row.at,
            actor_id: row.actor_id,
            actor: row.actor,
            role: row.role,
            address: row.address,
            credential: row.credential,
            credential_id: row.credential_id,
            action: row.action,
            object_kind: row.object_kind,
            object_id: row.object_id,
            object: row.object,
            project_id: row.project_id,
            before: state(row.before),
            after: state(row.after),
            seal: row.seal,
            mac: hex::encode(row.mac),
        }
    }
}
