//! What a run is given: variables, secrets, and the reasons for which it cannot run.

use slipway_core::{
    db,
    deployment::{
        admission::Idempotency,
        brief::Known,
        line::Source,
        reason::Code,
        run::{Assignment, RunEnd, prepare},
        step::Phase,
        store::{
            log::{Chunk, append},
            release,
            step::{Plan, PlannedStep, RunKey, plan},
        },
    },
    project,
    variable::service::{VariableInput, put},
    vault,
};

use crate::rig::{PIPELINE, Rig, Site};

on_both! {
    a_target_s_own_value_wins_over_its_project_s,
    a_step_gets_the_secrets_that_it_names_and_no_others,
    a_secret_that_a_step_names_and_nobody_wrote_is_the_reason,
    a_project_without_a_usable_pipeline_cannot_run,
    the_commit_that_was_live_before_is_known,
    a_project_s_own_retry_numbers_win,
}

pub(crate) async fn put_variable(
    rig: &Rig,
    site: &Site,
    name: &str,
    value: &str,
    target: Option<&str>,
) {
    let input = VariableInput {
        name: name.parse().unwrap(),
        value: value.to_owned(),
        target: target.map(ToOwned::to_owned),
    };
    put(&rig.ctx, &site.owner, &site.project.slug, input, db::now())
        .await
        .unwrap();
}

pub(crate) async fn put_secret(
    rig: &Rig,
    site: &Site,
    name: &str,
    value: &str,
    target: Option<&str>,
) -> bool {
    let input = vault::service::SecretInput {
        name: name.parse().unwrap(),
        value: value.into(),
        target: target.map(ToOwned::to_owned),
    };
    vault::service::put(&rig.ctx, &site.owner, &site.project.slug, input, db::now())
        .await
        .unwrap()
}

pub(crate) async fn set_pipeline(rig: &Rig, site: &Site, source: &str) {
    let slug = &site.project.slug;
    project::service::set_pipeline(&rig.ctx, &site.owner, slug, source, db::now())
        .await
        .unwrap();
}

/// One row of every kind that belongs to a project.
pub(crate) async fn fill(rig: &Rig, site: &Site) {
    put_variable(rig, site, "MODE", "live", Some("live")).await;
    put_secret(rig, site, "TOKEN", "hunter22", None).await;
    let mut wanted = site.wanted();
    wanted.idempotency = Some(Idempotency {
        key: "once".parse().unwrap(),
        request_hash: "0".to_owned(),
    });
    let admitted = rig.ctx.admission.request(wanted).await.unwrap();
    let row = rig.claim(admitted.row.id).await;
    let conn = rig.ctx.db.writer();
    let key = RunKey {
        deployment: row.id,
        fence: row.fence,
        attempt: row.attempt,
    };
    let step = PlannedStep {
        phase: Phase::After,
        name: "restart".to_owned(),
        host: "local".to_owned(),
        begins: None,
    };
    let steps = vec![step];
    let plans = [Plan {
        run: key,
        pipeline: PIPELINE.to_owned(),
        steps,
        greeting: None,
    }];
    plan(&rig.ctx.db, &plans).await.unwrap();
    let mut chunk = Chunk::new(row.id, row.fence, None, 1, 0);
    chunk.push(Source::Slipway, 0, "hello");
    assert!(append(conn, &chunk).await.unwrap());
    let holder = release::Holder {
        target: site.target.id,
        deployment: row.id,
        fence: row.fence,
    };
    let noted = release::set_live(conn, holder, None, db::now()).await;
    assert!(noted.unwrap());
    rig.finish(&row, RunEnd::Succeeded).await;
}

/// What the next run of the site's target is given.
async fn assignment(rig: &Rig, site: &Site) -> Result<Assignment, Code> {
    let id = rig.deploy(site).await;
    let row = rig.claim(id).await;
    let prepared = prepare(&rig.ctx, row.clone(), Known::default())
        .await
        .unwrap();
    rig.finish(&row, RunEnd::Cancelled).await;
    prepared.map_err(|reason| reason.code)
}

async fn a_target_s_own_value_wins_over_its_project_s(rig: Rig) {
    let site = rig.site("web").await;
    let staging = site.at(rig.target(&site.owner, "web", "staging").await);
    // Written in either order: what counts is whose they are.
    put_variable(&rig, &site, "MODE", "production", Some("live")).await;
    put_variable(&rig, &site, "MODE", "common", None).await;
    put_variable(&rig, &site, "REGION", "eu", None).await;
    put_secret(&rig, &site, "TOKEN", "live-token", Some("live")).await;
    put_secret(&rig, &site, "TOKEN", "common-token", None).await;
    for (site, mode, token) in [
        (&site, "production", "live-token"),
        (&staging, "common", "common-token"),
    ] {
        let given = assignment(&rig, site).await.unwrap();
        assert_eq!(given.variables["MODE"], mode);
        assert_eq!(given.variables["REGION"], "eu");
        assert_eq!(given.secrets["TOKEN"].expose(), token.as_bytes());
    }
}

async fn a_step_gets_the_secrets_that_it_names_and_no_others(rig: Rig) {
    let site = rig.site("web").await;
    put_secret(&rig, &site, "WANTED", "value-1", None).await;
    put_secret(&rig, &site, "OTHER", "value-2", None).await;
    set_pipeline(
        &rig,
        &site,
        "after:\n  - name: go\n    run: 'true'\n    secrets: [WANTED]\n",
    )
    .await;
    let given = assignment(&rig, &site).await.unwrap();
    assert_eq!(given.secrets.keys().collect::<Vec<_>>(), ["WANTED"]);
}

async fn a_secret_that_a_step_names_and_nobody_wrote_is_the_reason(rig: Rig) {
    let site = rig.site("web").await;
    rig.target(&site.owner, "web", "staging").await;
    // Another target's secret does not count.
    put_secret(&rig, &site, "TOKEN", "value-1", Some("staging")).await;
    set_pipeline(
        &rig,
        &site,
        "after:\n  - name: go\n    run: 'true'\n    secrets: [TOKEN]\n",
    )
    .await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    let reason = prepare(&rig.ctx, row, Known::default())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(reason.code, Code::SecretMissing);
    assert!(reason.text.contains("TOKEN"), "{}", reason.text);
}

async fn a_project_without_a_usable_pipeline_cannot_run(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    for source in [
        None,
        Some("build: 7"),
        Some("build:\n  - name: b\n    run: make\n"),
    ] {
        let sql = "UPDATE projects SET pipeline_source = ? WHERE id = ?";
        rig.execute(
            sql,
            [source.map(ToOwned::to_owned).into(), site.project.id.into()],
        )
        .await;
        let reason = prepare(&rig.ctx, row.clone(), Known::default())
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(reason.code, Code::PipelineInvalid, "{source:?}");
        assert!(!reason.code.may_retry());
    }
}

async fn the_commit_that_was_live_before_is_known(rig: Rig) {
    let site = rig.site("web").await;
    rig.execute(
        "UPDATE projects SET repository = 'https://example.com/web.git'",
        [],
    )
    .await;
    assert_eq!(assignment(&rig, &site).await.unwrap().previous_commit, None);
    for commit in ["aaaa", "bbbb"] {
        let mut wanted = site.wanted();
        wanted.commit_id = Some(commit.to_owned());
        let admitted = rig.ctx.admission.request(wanted).await.unwrap();
        let row = rig.claim(admitted.row.id).await;
        rig.finish(&row, RunEnd::Succeeded).await;
    }
    let given = assignment(&rig, &site).await.unwrap();
    assert_eq!(given.previous_commit.as_deref(), Some("bbbb"));
}

async fn a_project_s_own_retry_numbers_win(rig: Rig) {
    let site = rig.site("web").await;
    let usual = assignment(&rig, &site).await.unwrap().retry;
    assert_eq!(
        (usual.attempts, usual.delays_ms),
        (3, vec![1000, 5000, 25_000])
    );
    let change = project::service::ProjectChange {
        retry_attempts: Some(Some(5)),
        retry_delays: Some(Some(vec![10, 20])),
        ..Default::default()
    };
    project::service::update(&rig.ctx, &site.owner, "web", change, db::now())
        .await
        .unwrap();
    let own = assignment(&rig, &site).await.unwrap().retry;
    assert_eq!((own.attempts, own.delays_ms), (5, vec![10, 20]));
}
