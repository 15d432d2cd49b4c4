//! The steps of runs, and how they are closed when their run ends.

use slipway_core::{
    db,
    deployment::{
        entity::{deployment::Model, step::Model as StepRow},
        line::Source,
        reason::{Code, Reason},
        run::{Ended, Next, RunEnd},
        status::Transition,
        step::{Phase, StepStatus},
        store::{
            ending::{Ending, Last, leave_one, succeed_all},
            log::{Chunk, read_after},
            step::{self as store, Plan, PlannedStep, RunKey, StepEnd, begin, end, list_many},
        },
    },
    id::DeploymentId,
    project::policy::RetryPolicy,
    recovery::reaper,
};

use crate::rig::Rig;

on_both! {
    a_plan_keeps_its_order_however_long_it_is,
    a_run_that_was_replaced_plans_nothing,
    an_ended_run_leaves_no_step_open,
    a_lost_run_s_steps_are_lost,
    a_closed_step_is_not_opened_again,
    steps_of_earlier_runs_stay,
    a_run_that_begins_at_once_says_so_in_its_plan,
    the_last_step_and_the_last_lines_are_written_with_the_end,
    runs_that_end_together_keep_what_each_of_them_said_last,
    what_was_left_out_is_written_with_the_end_of_the_current_run,
    a_run_that_was_replaced_says_nothing_at_its_end,
}

fn planned(count: usize) -> Vec<PlannedStep> {
    let step = |number| PlannedStep {
        phase: Phase::Build,
        name: format!("step-{number}"),
        host: "local".to_owned(),
        begins: None,
    };
    (0..count).map(step).collect()
}

fn key(row: &Model) -> RunKey {
    RunKey {
        deployment: row.id,
        fence: row.fence,
        attempt: row.attempt,
    }
}

/// Plans so many steps, and answers their rows as they are stored.
async fn plan(rig: &Rig, run: RunKey, count: usize) -> Vec<StepRow> {
    let steps = planned(count);
    let plan = Plan {
        run,
        pipeline: "{}".to_owned(),
        steps,
        greeting: None,
    };
    let ids = store::plan(&rig.ctx.db, &[plan]).await.unwrap().remove(0);
    let rows = rig.steps(run.deployment).await;
    let planned = rows.into_iter().filter(|row| ids.contains(&row.id));
    planned.collect()
}

/// A run with three steps: one done, one under way, one not begun.
async fn half_way(rig: &Rig) -> Model {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim_next().await;
    assert_eq!(row.id, id);
    begin_three(rig, &row).await;
    row
}

async fn begin_three(rig: &Rig, row: &Model) {
    let conn = rig.ctx.db.writer();
    let steps = plan(rig, key(row), 3).await;
    begin(conn, &[steps[0].id], db::now()).await.unwrap();
    let done = StepEnd {
        status: StepStatus::Succeeded,
        exit_code: Some(0),
        signal: None,
    };
    end(conn, &[(steps[0].id, done)], db::now()).await.unwrap();
    begin(conn, &[steps[1].id], db::now()).await.unwrap();
}

async fn statuses(rig: &Rig, row: &Model) -> Vec<StepStatus> {
    rig.steps(row.id)
        .await
        .into_iter()
        .map(|step| step.status)
        .collect()
}

async fn a_plan_keeps_its_order_however_long_it_is(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let row = rig.claim(id).await;
    assert!(plan(&rig, key(&row), 0).await.is_empty());
    let steps = plan(&rig, key(&row), 250).await;
    let names: Vec<_> = steps.iter().map(|step| step.name.clone()).collect();
    let expected: Vec<_> = planned(250).into_iter().map(|step| step.name).collect();
    assert_eq!(names, expected);
    let first = &steps[0];
    assert_eq!(
        (first.fence, first.attempt, first.position),
        (row.fence, 1, 0)
    );
    assert_eq!(
        (first.phase, first.status),
        (Phase::Build, StepStatus::Pending)
    );
    let many = list_many(rig.ctx.db.reader(), &[id]).await.unwrap();
    assert_eq!(many, steps);
}

async fn a_run_that_was_replaced_plans_nothing(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let old = rig.claim(id).await;
    rig.finish(&old, RunEnd::HandedBack).await;
    assert!(plan(&rig, key(&old), 3).await.is_empty());
    rig.claim(id).await;
    assert!(plan(&rig, key(&old), 3).await.is_empty());
    assert!(rig.steps(id).await.is_empty());
}

async fn an_ended_run_leaves_no_step_open(rig: Rig) {
    use StepStatus::{Cancelled, Failed, Lost, Skipped, Succeeded};
    let failed = || RunEnd::Failed(Reason::new(Code::SecretMissing, "TOKEN"));
    let retried = || RunEnd::Failed(Reason::new(Code::StepFailed, "exit code 1"));
    let mut row = half_way(&rig).await;
    for (end, second) in [
        (RunEnd::HandedBack, Lost),
        (retried(), Failed),
        (failed(), Failed),
        (RunEnd::Cancelled, Cancelled),
    ] {
        rig.finish(&row, end).await;
        let steps = rig.steps(row.id).await;
        let newest: Vec<_> = steps
            .iter()
            .filter(|step| step.fence == row.fence)
            .collect();
        let closed: Vec<_> = newest.iter().map(|step| step.status).collect();
        assert_eq!(closed, [Succeeded, second, Skipped]);
        assert!(newest.iter().all(|step| step.finished_at.is_some()));
        if rig.row(row.id).await.status.is_terminal() {
            let site = rig.site(&format!("web-{}", row.id)).await;
            let id = rig.deploy(&site).await;
            row = rig.claim(id).await;
        } else {
            rig.make_due(row.id).await;
            row = rig.claim(row.id).await;
        }
        begin_three(&rig, &row).await;
    }
}

async fn a_lost_run_s_steps_are_lost(rig: Rig) {
    let row = half_way(&rig).await;
    rig.expire(row.id).await;
    reaper::reap(&rig.ctx, db::now()).await.unwrap();
    let expected = [StepStatus::Succeeded, StepStatus::Lost, StepStatus::Skipped];
    assert_eq!(statuses(&rig, &row).await, expected);
}

/// What a worker writes that does not know yet that it was replaced.
async fn a_closed_step_is_not_opened_again(rig: Rig) {
    let row = half_way(&rig).await;
    rig.finish(&row, RunEnd::HandedBack).await;
    let before = rig.steps(row.id).await;
    let conn = rig.ctx.db.writer();
    for step in &before {
        begin(conn, &[step.id], db::now()).await.unwrap();
        let end_of_it = StepEnd {
            status: StepStatus::Failed,
            exit_code: Some(1),
            signal: None,
        };
        end(conn, &[(step.id, end_of_it)], db::now()).await.unwrap();
    }
    assert_eq!(rig.steps(row.id).await, before);
}

async fn steps_of_earlier_runs_stay(rig: Rig) {
    let row = half_way(&rig).await;
    rig.finish(&row, RunEnd::HandedBack).await;
    let row = rig.claim(row.id).await;
    begin_three(&rig, &row).await;
    let fences: Vec<_> = rig
        .steps(row.id)
        .await
        .iter()
        .map(|step| step.fence)
        .collect();
    assert_eq!(fences, [1, 1, 1, 2, 2, 2]);
}

fn said(row: &Model, first: i64, text: &str) -> Chunk {
    let mut chunk = Chunk::new(row.id, row.fence, None, first, 1);
    chunk.push(Source::Slipway, 1, text);
    chunk
}

async fn log_of(rig: &Rig, id: DeploymentId) -> Vec<String> {
    let lines = read_after(rig.ctx.db.reader(), id, 0, 100).await.unwrap();
    lines.into_iter().map(|line| line.text).collect()
}

async fn a_run_that_begins_at_once_says_so_in_its_plan(rig: Rig) {
    let site = rig.site("web").await;
    rig.deploy(&site).await;
    let row = rig.claim_next().await;
    let mut steps = planned(2);
    let now = db::now();
    steps[0].begins = Some(now);
    let plan = |row: &Model| Plan {
        run: key(row),
        pipeline: "{}".to_owned(),
        steps: steps.clone(),
        greeting: Some(said(row, 1, "hello")),
    };
    store::plan(&rig.ctx.db, &[plan(&row)]).await.unwrap();
    let found = rig.steps(row.id).await;
    let seen: Vec<_> = found
        .iter()
        .map(|step| (step.status, step.started_at))
        .collect();
    assert_eq!(
        seen,
        [
            (StepStatus::Running, Some(now)),
            (StepStatus::Pending, None)
        ]
    );
    assert_eq!(log_of(&rig, row.id).await, ["hello"]);
    rig.finish(&row, RunEnd::HandedBack).await;
    store::plan(&rig.ctx.db, &[plan(&row)]).await.unwrap();
    assert_eq!(rig.steps(row.id).await.len(), 2);
    assert_eq!(log_of(&rig, row.id).await, ["hello"]);
}

/// A run with two steps of which the first one is under way, and what it says last.
async fn nearly_done(rig: &Rig, row: &Model) -> Last {
    let steps = plan(rig, key(row), 2).await;
    begin(rig.ctx.db.writer(), &[steps[0].id], db::now())
        .await
        .unwrap();
    let end = StepEnd {
        status: StepStatus::Succeeded,
        exit_code: Some(0),
        signal: None,
    };
    Last {
        plan: None,
        step: Some((steps[0].id, end, db::now())),
        output: Some(said(row, 1, &format!("bye from {}", row.id))),
    }
}

fn ended(end: RunEnd, last: Last) -> Ended {
    let retry = RetryPolicy {
        attempts: 3,
        delays_ms: vec![1],
    };
    Ended { end, retry, last }
}

async fn the_last_step_and_the_last_lines_are_written_with_the_end(rig: Rig) {
    let failed = Reason::new(Code::StepFailed, "exit code 1");
    for (number, end) in [
        RunEnd::Succeeded,
        RunEnd::Failed(failed),
        RunEnd::HandedBack,
    ]
    .into_iter()
    .enumerate()
    {
        let site = rig.site(&format!("web-{number}")).await;
        let id = rig.deploy(&site).await;
        let row = rig.claim(id).await;
        let last = nearly_done(&rig, &row).await;
        rig.end(&row, ended(end, last)).await;
        let expected = [StepStatus::Succeeded, StepStatus::Skipped];
        assert_eq!(statuses(&rig, &row).await, expected);
        assert_eq!(rig.steps(id).await[0].exit_code, Some(0));
        assert_eq!(log_of(&rig, id).await, [format!("bye from {id}")]);
    }
}

async fn runs_that_end_together_keep_what_each_of_them_said_last(rig: Rig) {
    let mut rows = Vec::new();
    for number in 0..3 {
        let site = rig.site(&format!("web-{number}")).await;
        let id = rig.deploy(&site).await;
        rows.push(rig.claim(id).await);
    }
    let mut endings = Vec::new();
    for row in &rows {
        endings.push(Ending {
            row: row.clone(),
            last: nearly_done(&rig, row).await,
            now: db::now(),
        });
    }
    let written = succeed_all(&rig.ctx.db, endings).await;
    assert!(written.into_iter().all(|written| written.unwrap()));
    for row in &rows {
        let expected = [StepStatus::Succeeded, StepStatus::Skipped];
        assert_eq!(statuses(&rig, row).await, expected);
        let bye = format!("bye from {}", row.id);
        assert_eq!(log_of(&rig, row.id).await, [bye]);
    }
}

async fn what_was_left_out_is_written_with_the_end_of_the_current_run(rig: Rig) {
    for (number, together) in [(0, true), (1, false)] {
        let site = rig.site(&format!("web-{number}")).await;
        let id = rig.deploy(&site).await;
        let old = rig.claim(id).await;
        rig.finish(&old, RunEnd::HandedBack).await;
        let new = rig.claim(id).await;
        for (row, is_current) in [(&old, false), (&new, true)] {
            let last = Last {
                plan: Some(Plan {
                    run: key(row),
                    pipeline: format!("{{\"of\":{}}}", row.fence),
                    steps: planned(2),
                    greeting: None,
                }),
                step: None,
                output: Some(said(row, 1, "nothing to do")),
            };
            let now = db::now();
            let written = if together {
                let row = row.clone();
                let written = succeed_all(&rig.ctx.db, vec![Ending { row, last, now }]).await;
                written.into_iter().next().unwrap().unwrap()
            } else {
                let end = &Transition::Succeed;
                let left = leave_one(&rig.ctx.db, (row, &last), end, now).await;
                left.unwrap().is_some()
            };
            assert_eq!(written, is_current);
        }
        let found = rig.steps(id).await;
        let seen: Vec<_> = found.iter().map(|step| (step.fence, step.status)).collect();
        let skipped = (new.fence, StepStatus::Skipped);
        assert_eq!(seen, [skipped, skipped]);
        assert!(found.iter().all(|step| step.finished_at.is_some()));
        let pipeline = format!("{{\"of\":{}}}", new.fence);
        assert_eq!(rig.row(id).await.pipeline, Some(pipeline));
        assert_eq!(log_of(&rig, id).await, ["nothing to do"]);
    }
}

async fn a_run_that_was_replaced_says_nothing_at_its_end(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let old = rig.claim(id).await;
    let last = nearly_done(&rig, &old).await;
    rig.finish(&old, RunEnd::HandedBack).await;
    let new = rig.claim(id).await;
    for end in [RunEnd::Succeeded, RunEnd::HandedBack] {
        let next = rig.end(&old, ended(end, last.clone())).await;
        assert_eq!(next, Next::Lost);
    }
    let lost = [StepStatus::Lost, StepStatus::Skipped];
    assert_eq!(statuses(&rig, &old).await, lost);
    assert!(log_of(&rig, id).await.is_empty());
    assert_eq!(rig.row(id).await.fence, new.fence);
}
