//! What tests of the audit trail write into it and read of it.

use sea_orm::{EntityTrait as _, QueryOrder as _};
use slipway_core::{
    audit::{
        entity::{Column, Entity as Rows, Model},
        entry::{Action, Entry, ObjectKind},
        seal as sealing, verify,
    },
    ctx::Ctx,
    db,
};

use crate::rig::Rig;

pub(crate) async fn entries(ctx: &Ctx) -> Vec<Model> {
    Rows::find()
        .order_by_asc(Column::Id)
        .all(ctx.db.reader())
        .await
        .unwrap()
}

pub(crate) async fn actions(ctx: &Ctx) -> Vec<String> {
    entries(ctx)
        .await
        .into_iter()
        .map(|row| row.action)
        .collect()
}

pub(crate) async fn findings(ctx: &Ctx) -> Vec<String> {
    let report = verify::run(ctx, None).await.unwrap();
    report.findings.iter().map(ToString::to_string).collect()
}

/// Some sealed entries, the numbers of which are answered.
pub(crate) async fn trail(rig: &Rig, count: usize) -> Vec<i64> {
    let before = entries(&rig.ctx).await.len();
    record(&rig.ctx, count).await;
    sealing::run_once(&rig.ctx).await.unwrap();
    let rows = entries(&rig.ctx).await;
    rows.iter().skip(before).map(|row| row.id.0).collect()
}

pub(crate) async fn record(ctx: &Ctx, count: usize) {
    let entries: Vec<Entry> = (0..count)
        .map(|number| {
            Entry::by_system(Action::ProjectUpdate, db::now())
                .on(ObjectKind::Project, 7, &format!("project {number}"))
                .after(&serde_json::json!({ "number": number }))
        })
        .collect();
    let tx = ctx.db.begin().await.unwrap();
    ctx.audit.record_all(&tx, &entries).await.unwrap();
    tx.commit().await.unwrap();
}
