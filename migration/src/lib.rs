//! The schema, as an ordered list of migrations that each make one change.
//!
//! It knows no domain type: a migration must not change its meaning when the domain does.

#![expect(
    elided_lifetimes_in_paths,
    reason = "async-trait wants the methods declared as the migration trait declares them"
)]

use sea_orm_migration::prelude::*;
pub use sea_orm_migration::{MigratorTrait, SchemaManager};

mod m20261123_000001_create_users;
mod m20261123_000002_create_sessions;
mod m20261123_000003_create_api_tokens;
mod m20261123_000004_create_projects;
mod m20261123_000005_create_memberships;
mod m20261123_000006_create_targets;
mod m20261123_000007_create_variables;
mod m20261123_000008_create_secrets;
mod m20261123_000009_create_vault_keys;
mod m20261123_000010_create_deployments;
mod m20261123_000011_create_steps;
mod m20261123_000012_create_log_chunks;
mod m20261123_000013_create_releases;
mod m20261123_000014_create_idempotency_keys;
mod m20261123_000015_create_queue_gate;
mod m20261125_000016_create_locks;
mod m20261125_000017_create_processes;
mod m20261125_000018_add_running_gate;
mod m20261125_000030_number_deployments_at_the_gate;
mod m20261125_000031_drop_lease_indexes;
mod m20261125_000040_create_sealed_values;
mod m20261125_000041_keep_versions_of_secrets;
mod m20261125_000042_add_states_of_keys;
mod m20261125_000043_add_loaded_keys;
mod m20261125_000044_move_key_of_the_trail;
mod m20261125_000045_create_deployment_secrets;
mod m20261125_000046_create_ssh_keys;
mod m20261125_000047_create_host_keys;
mod m20261125_000050_create_audit_entries;
mod m20261125_000051_create_audit_seals;
mod m20261125_000052_create_audit_chain;
mod m20261125_000053_add_limits_of_tokens;
mod m20261125_000054_create_sign_in_throttles;
mod m20261125_000055_add_kind_of_users;
mod m20261125_000056_create_password_links;
mod m20261125_000060_add_factor_of_users;
mod m20261125_000061_add_factor_step_of_users;
mod m20261125_000062_create_recovery_codes;
mod m20261125_000063_create_challenges;
mod m20261125_000064_create_identities;
mod m20261125_000065_create_provider_starts;
mod m20261125_000070_create_providers;
mod m20261125_000071_create_channels;
mod m20261125_000072_create_subscriptions;
mod m20261125_000073_create_subscription_channels;
mod m20261125_000074_create_notices;
mod m20261125_000075_create_deliveries;
mod m20261125_000076_add_events_told_of_projects;
mod m20261126_000080_count_changes_at_the_gate;
mod m20261126_000081_drop_index_of_key_times;
mod schema;

/// Every migration, oldest first. A shipped one is never edited.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_users::Migration),
            Box::new(m20261123_000002_create_sessions::Migration),
            Box::new(m20261123_000003_create_api_tokens::Migration),
            Box::new(m20261123_000004_create_projects::Migration),
            Box::new(m20261123_000005_create_memberships::Migration),
            Box::new(m20261123_000006_create_targets::Migration),
            Box::new(m20261123_000007_create_variables::Migration),
            Box::new(m20261123_000008_create_secrets::Migration),
            Box::new(m20261123_000009_create_vault_keys::Migration),
            Box::new(m20261123_000010_create_deployments::Migration),
            Box::new(m20261123_000011_create_steps::Migration),
            Box::new(m20261123_000012_create_log_chunks::Migration),
            Box::new(m20261123_000013_create_releases::Migration),
            Box::new(m20261123_000014_create_idempotency_keys::Migration),
            Box::new(m20261123_000015_create_queue_gate::Migration),
            Box::new(m20261125_000016_create_locks::Migration),
            Box::new(m20261125_000017_create_processes::Migration),
            Box::new(m20261125_000018_add_running_gate::Migration),
            Box::new(m20261125_000030_number_deployments_at_the_gate::Migration),
            Box::new(m20261125_000031_drop_lease_indexes::Migration),
            Box::new(m20261125_000040_create_sealed_values::Migration),
            Box::new(m20261125_000041_keep_versions_of_secrets::Migration),
            Box::new(m20261125_000042_add_states_of_keys::Migration),
            Box::new(m20261125_000043_add_loaded_keys::Migration),
            Box::new(m20261125_000050_create_audit_entries::Migration),
            Box::new(m20261125_000051_create_audit_seals::Migration),
            Box::new(m20261125_000052_create_audit_chain::Migration),
            // After the table that it changes.
            Box::new(m20261125_000044_move_key_of_the_trail::Migration),
            Box::new(m20261125_000045_create_deployment_secrets::Migration),
            Box::new(m20261125_000046_create_ssh_keys::Migration),
            Box::new(m20261125_000047_create_host_keys::Migration),
            Box::new(m20261125_000053_add_limits_of_tokens::Migration),
            Box::new(m20261125_000054_create_sign_in_throttles::Migration),
            Box::new(m20261125_000055_add_kind_of_users::Migration),
            Box::new(m20261125_000056_create_password_links::Migration),
            Box::new(m20261125_000060_add_factor_of_users::Migration),
            Box::new(m20261125_000061_add_factor_step_of_users::Migration),
            Box::new(m20261125_000062_create_recovery_codes::Migration),
            Box::new(m20261125_000063_create_challenges::Migration),
            Box::new(m20261125_000064_create_identities::Migration),
            Box::new(m20261125_000065_create_provider_starts::Migration),
            Box::new(m20261125_000070_create_providers::Migration),
            Box::new(m20261125_000071_create_channels::Migration),
            Box::new(m20261125_000072_create_subscriptions::Migration),
            Box::new(m20261125_000073_create_subscription_channels::Migration),
            Box::new(m20261125_000074_create_notices::Migration),
            Box::new(m20261125_000075_create_deliveries::Migration),
            Box::new(m20261125_000076_add_events_told_of_projects::Migration),
            Box::new(m20261126_000080_count_changes_at_the_gate::Migration),
            Box::new(m20261126_000081_drop_index_of_key_times::Migration),
        ]
    }
}
