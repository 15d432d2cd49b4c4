//! What a busy process reads and writes together has the same outcome as one by one.

use slipway_core::{
    db,
    deployment::{
        brief::{Brief, Known},
        entity::deployment::Model,
        line::Source,
        run::{RunEnd, prepare},
        status::Status,
        step::{Phase, StepStatus},
        store::{
            claim::{Claim, Claimant, Planner, Taken, Wanted, claim_all, held_by},
            ending::{Ending, Last, succeed_all},
            log::{Chunk, append_all, last_lines, read_after},
            read,
            snapshot::{Snapshot, set_snapshots},
            step::{Plan, PlannedStep, RunKey, StepEnd, begin, end, of_run, plan},
        },
    },
    id::{DeploymentId, TargetId},
    ports::LeaseToken,
    target,
    variable::service::{VariableInput, put},
};

use crate::rig::{LEASE, Rig, Site, token};

everywhere! {
    claims_made_together_are_judged_one_by_one,
    a_claim_that_changed_meanwhile_spoils_no_other,
    two_of_one_target_are_never_claimed_together,
    an_entry_with_another_target_is_judged_by_its_own,
    what_a_claim_has_seen_is_what_its_run_needs_to_know,
    claims_made_together_stop_at_the_limit,
    runs_that_end_together_free_their_targets,
    a_replaced_run_spoils_no_other_end,
    chunks_stored_together_are_kept_apart,
    plans_made_together_keep_their_order,
    plans_of_first_runs_are_written_with_their_claims,
    many_steps_are_written_with_claims,
    a_claim_that_fails_leaves_no_plan,
    what_was_written_with_a_claim_is_followed_though_the_project_has_changed,
    runs_that_begin_together_learn_their_own,
    what_runs_found_out_together_is_kept_apart,
}

/// Deployments of as many targets of one project.
async fn many(rig: &Rig, site: &Site, count: usize) -> Vec<DeploymentId> {
    let mut ids = Vec::new();
    for number in 0..count {
        let target = rig.target(&site.owner, "web", &format!("t{number}")).await;
        ids.push(rig.deploy(&site.at(target)).await);
    }
    ids
}

async fn take(rig: &Rig, ids: &[DeploymentId], max_running: u32) -> Vec<Claim> {
    let mut targets = Vec::new();
    for id in ids {
        let row = read::find(rig.ctx.db.reader(), *id).await.unwrap();
        targets.push(row.map_or(TargetId(0), |row| row.target_id));
    }
    let wanted: Vec<_> = ids.iter().copied().zip(targets).collect();
    let taken = take_from(rig, &wanted, max_running).await;
    taken.into_iter().map(|taken| taken.claim).collect()
}

async fn take_from(rig: &Rig, wanted: &[(DeploymentId, TargetId)], max_running: u32) -> Vec<Taken> {
    take_with(rig, wanted, max_running, &|_, _| None).await
}

async fn take_with(
    rig: &Rig,
    wanted: &[(DeploymentId, TargetId)],
    max_running: u32,
    planner: Planner<'_>,
) -> Vec<Taken> {
    let tokens: Vec<LeaseToken> = wanted.iter().map(|_| token()).collect();
    let wanted: Vec<_> = wanted
        .iter()
        .zip(&tokens)
        .map(|((id, target), token)| Wanted {
            id: *id,
            target: *target,
            by: Claimant {
                owner: "tests",
                token,
                lease: LEASE,
                max_running,
            },
        })
        .collect();
    claim_all(&rig.ctx.db, &wanted, planner, db::now())
        .await
        .unwrap()
}

/// Claims all of these and answers their rows as the claim told them.
async fn taken(rig: &Rig, ids: &[DeploymentId]) -> Vec<Model> {
    let claims = take(rig, ids, 1000).await;
    claims
        .into_iter()
        .map(|claim| match claim {
            Claim::Won(row) => *row,
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn claims_made_together_are_judged_one_by_one(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 6).await;
    let found = target::store::find(rig.ctx.db.reader(), site.project.id, "t0").await;
    let behind = rig.deploy(&site.at(found.unwrap().unwrap())).await;
    rig.claim(ids[1]).await;
    let ended = rig.claim(ids[2]).await;
    rig.finish(&ended, RunEnd::Succeeded).await;
    let missing = DeploymentId(behind.0 + 1000);
    let wanted = [ids[1], ids[2], ids[3], missing, behind, ids[4], ids[5]];
    let claims = take(&rig, &wanted, 1000).await;
    assert!(matches!(claims[0], Claim::Held(..)), "{:?}", claims[0]);
    assert!(matches!(claims[1], Claim::Ended), "{:?}", claims[1]);
    assert!(matches!(claims[3], Claim::Ended), "{:?}", claims[3]);
    assert!(
        matches!(&claims[4], Claim::Behind(older) if older.id == ids[0]),
        "{:?}",
        claims[4]
    );
    for (index, id) in [(2, ids[3]), (5, ids[4]), (6, ids[5])] {
        let Claim::Won(told) = &claims[index] else {
            panic!("{:?}", claims[index]);
        };
        let stored = rig.row(id).await;
        assert_eq!(**told, stored, "the row is known without reading it again");
    }
    assert_eq!(rig.row(ids[0]).await.status, Status::Queued);
}

async fn a_claim_that_changed_meanwhile_spoils_no_other(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 3).await;
    // Only its own row says so; nothing that is looked at before the writes does.
    let statement = "UPDATE deployments SET cancel_requested_at = created_at WHERE id = ?";
    rig.execute(statement, [ids[1].into()]).await;
    let claims = take(&rig, &ids, 1000).await;
    assert!(matches!(claims[0], Claim::Won(_)));
    assert!(matches!(claims[1], Claim::Raced), "{:?}", claims[1]);
    assert!(matches!(claims[2], Claim::Won(_)));
    let row = rig.row(ids[1]).await;
    assert_eq!((row.status, row.attempt), (Status::Queued, 0));
}

async fn two_of_one_target_are_never_claimed_together(rig: Rig) {
    let site = rig.site("web").await;
    let (first, second) = (rig.deploy(&site).await, rig.deploy(&site).await);
    let claims = take(&rig, &[first, second, first], 1000).await;
    assert!(matches!(claims[0], Claim::Won(_)));
    assert!(!matches!(claims[1], Claim::Won(_)), "{:?}", claims[1]);
    assert!(!matches!(claims[2], Claim::Won(_)), "{:?}", claims[2]);
    assert_eq!(rig.row(second).await.status, Status::Queued);
}

/// An index may remember a target that is not the deployment's.
async fn an_entry_with_another_target_is_judged_by_its_own(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 3).await;
    let held = rig.row(ids[0]).await.target_id;
    let nowhere = TargetId(held.0 + 1000);
    let wanted = [(ids[1], held), (ids[2], nowhere), (ids[0], held)];
    for Taken { claim, .. } in take_from(&rig, &wanted, 1000).await {
        assert!(matches!(claim, Claim::Won(_)), "{claim:?}");
    }
}

async fn what_a_claim_has_seen_is_what_its_run_needs_to_know(rig: Rig) {
    let web = rig.site("web").await;
    let other = rig.site("other").await;
    let ids = many(&rig, &web, 3).await;
    let given = rig.deploy(&other).await;
    let values = [("web", Some("t1")), ("other", None)];
    for (site, (slug, target)) in [&web, &other].into_iter().zip(values) {
        let input = VariableInput {
            name: "WHO".parse().unwrap(),
            value: "somebody".to_owned(),
            target: target.map(str::to_owned),
        };
        put(&rig.ctx, &site.owner, slug, input, db::now())
            .await
            .unwrap();
    }
    let before = rig.claim(ids[2]).await;
    rig.finish(&before, RunEnd::HandedBack).await;
    let mut wanted = Vec::new();
    for id in [ids[0], ids[1], ids[2], given] {
        wanted.push((id, rig.row(id).await.target_id));
    }
    let taken = take_from(&rig, &wanted, 1000).await;
    let is_known = taken.iter().map(|taken| taken.known.brief.is_some());
    let is_known: Vec<bool> = is_known.collect();
    // One that is given values, or ran before, asks.
    assert_eq!(is_known, [true, false, false, false]);
    for Taken { claim, known } in taken {
        let Claim::Won(row) = claim else {
            panic!("{claim:?}");
        };
        let known = prepare(&rig.ctx, (*row).clone(), known).await;
        let asked = prepare(&rig.ctx, (*row).clone(), Known::default()).await;
        let (mut known, asked) = (known.unwrap().unwrap(), asked.unwrap().unwrap());
        // The claim that saw it went on to hold it.
        known.target.epoch = asked.target.epoch;
        known.target.holder_id = asked.target.holder_id;
        assert_eq!(format!("{known:?}"), format!("{asked:?}"));
    }
}

async fn claims_made_together_stop_at_the_limit(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 5).await;
    rig.claim(ids[0]).await;
    let claims = take(&rig, &ids[1..], 3).await;
    let won = claims.iter().filter(|claim| matches!(claim, Claim::Won(_)));
    assert_eq!(won.count(), 2, "{claims:?}");
}

async fn runs_that_end_together_free_their_targets(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 5).await;
    let rows = taken(&rig, &ids).await;
    let now = db::now();
    let endings = rows.iter().map(|row| Ending {
        row: row.clone(),
        last: Last::default(),
        now,
    });
    for ended in succeed_all(&rig.ctx.db, endings.collect()).await {
        assert!(ended.unwrap());
    }
    for row in &rows {
        let stored = rig.row(row.id).await;
        assert_eq!(stored.status, Status::Succeeded);
        assert_eq!(stored.finished_at, Some(now));
        assert_eq!((&stored.lease_token, &stored.lease_owner), (&None, &None));
        let target = target::store::by_id(rig.ctx.db.writer(), row.target_id).await;
        assert_eq!(target.unwrap().unwrap().holder_id, None);
    }
}

async fn a_replaced_run_spoils_no_other_end(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 4).await;
    let rows = taken(&rig, &ids).await;
    rig.finish(&rows[2], RunEnd::HandedBack).await;
    let successor = rig.claim(ids[2]).await;
    let endings = rows.iter().map(|row| Ending {
        row: row.clone(),
        last: Last::default(),
        now: db::now(),
    });
    let ended = succeed_all(&rig.ctx.db, endings.collect()).await;
    let ended: Vec<bool> = ended.into_iter().map(Result::unwrap).collect();
    assert_eq!(ended, [true, true, false, true]);
    assert_eq!(rig.row(ids[2]).await, successor);
    assert_eq!(rig.row(ids[3]).await.status, Status::Succeeded);
}

async fn chunks_stored_together_are_kept_apart(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 3).await;
    let rows = taken(&rig, &ids).await;
    let chunk = |row: &Model, text: &str| {
        let mut chunk = Chunk::new(row.id, row.fence, None, 1, 0);
        chunk.push(Source::Output, 0, text);
        chunk
    };
    let all = rows.iter().map(|row| chunk(row, &format!("of {}", row.id)));
    for stored in append_all(&rig.ctx.db, all.collect()).await {
        assert!(stored.unwrap());
    }
    rig.finish(&rows[1], RunEnd::HandedBack).await;
    let later = rows.iter().map(|row| {
        let mut chunk = Chunk::new(row.id, row.fence, None, 2, 0);
        chunk.push(Source::Output, 0, "later");
        chunk
    });
    let stored = append_all(&rig.ctx.db, later.collect()).await;
    let stored: Vec<bool> = stored.into_iter().map(Result::unwrap).collect();
    assert_eq!(stored, [true, false, true]);
    let conn = rig.ctx.db.reader();
    let mut lines = last_lines(conn, &ids).await.unwrap();
    lines.sort_unstable();
    assert_eq!(lines, [(ids[0], 2), (ids[1], 1), (ids[2], 2)]);
    for row in &rows {
        let first = &read_after(conn, row.id, 0, 10).await.unwrap()[0];
        assert_eq!(first.text, format!("of {}", row.id));
    }
}

/// What those before `other` follow is theirs alone.
fn three_steps(row: &Model, other: DeploymentId) -> Plan {
    let step = |name| PlannedStep {
        phase: Phase::After,
        name: format!("{name} of {}", row.id),
        host: "local".to_owned(),
        begins: None,
    };
    Plan {
        run: RunKey {
            deployment: row.id,
            fence: row.fence,
            attempt: row.attempt,
        },
        pipeline: format!("{{\"of\": \"{}\"}}", row.id.min(other)),
        steps: ["one", "two", "three"].map(step).to_vec(),
        greeting: None,
    }
}

async fn plans_made_together_keep_their_order(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 3).await;
    let rows = taken(&rig, &ids).await;
    rig.finish(&rows[1], RunEnd::HandedBack).await;
    let plans = rows.iter().map(|row| three_steps(row, rows[1].id));
    let plans: Vec<Plan> = plans.collect();
    let conn = rig.ctx.db.writer();
    let planned = plan(&rig.ctx.db, &plans).await.unwrap();
    assert_eq!(planned.iter().map(Vec::len).collect::<Vec<_>>(), [3, 0, 3]);
    for (row, plan) in rows.iter().zip(&plans) {
        let followed = rig.row(row.id).await.pipeline;
        let is_current = row.id != rows[1].id;
        assert_eq!(followed, is_current.then(|| plan.pipeline.clone()));
    }
    let (first, last) = (&planned[0], &planned[2]);
    begin(conn, &[first[0], last[0]], db::now()).await.unwrap();
    let exited = |code| StepEnd {
        status: if code == 0 {
            StepStatus::Succeeded
        } else {
            StepStatus::Failed
        },
        exit_code: Some(code),
        signal: None,
    };
    let ends = [
        (first[0], exited(0)),
        (last[0], exited(7)),
        (last[1], exited(0)),
    ];
    end(conn, &ends, db::now()).await.unwrap();
    let steps = rig.steps(rows[2].id).await;
    let seen: Vec<_> = steps
        .iter()
        .map(|step| (step.status, step.exit_code))
        .collect();
    assert_eq!(
        seen,
        [
            (StepStatus::Failed, Some(7)),
            (StepStatus::Succeeded, Some(0)),
            (StepStatus::Pending, None)
        ]
    );
    let names: Vec<_> = steps.iter().map(|step| step.name.clone()).collect();
    let own = rows[2].id;
    assert_eq!(
        names,
        ["one", "two", "three"].map(|name| format!("{name} of {own}"))
    );
    assert_eq!(rig.steps(rows[0].id).await[0].exit_code, Some(0));
}

/// What a worker would have written with a claim: `three_steps`, the first of which begins.
fn planner(row: &Model, brief: &Brief) -> Option<Plan> {
    assert_eq!((row.status, row.attempt), (Status::Running, 1));
    let mut greeting = Chunk::new(row.id, row.fence, None, 1, 0);
    greeting.push(Source::Slipway, 0, &format!("It's {}.", brief.target.slug));
    greeting.push(Source::Slipway, 0, "Grün \\ 😀");
    let mut plan = three_steps(row, DeploymentId(i64::MAX));
    plan.steps[0].begins = row.started_at;
    plan.pipeline = serde_json::to_string(&*brief.pipeline.clone().unwrap()).unwrap();
    plan.greeting = Some(greeting);
    Some(plan)
}

async fn places(rig: &Rig, ids: &[DeploymentId]) -> Vec<(DeploymentId, TargetId)> {
    let mut places = Vec::new();
    for id in ids {
        places.push((*id, rig.row(*id).await.target_id));
    }
    places
}

async fn plans_of_first_runs_are_written_with_their_claims(rig: Rig) {
    let (web, other) = (rig.site("web").await, rig.site("other").await);
    let mut ids = many(&rig, &web, 4).await;
    ids.push(rig.deploy(&other).await);
    let before = rig.claim(ids[1]).await;
    rig.finish(&before, RunEnd::HandedBack).await;
    rig.claim(ids[2]).await;
    let unknown = ids[3];
    let but_one = move |row: &Model, brief: &Brief| {
        let is_known = row.id != unknown;
        is_known.then(|| planner(row, brief))?
    };
    let wanted = places(&rig, &ids).await;
    let taken = take_with(&rig, &wanted, 1000, &but_one).await;
    for (index, Taken { claim, known }) in taken.into_iter().enumerate() {
        let id = ids[index];
        let stored = rig.row(id).await;
        match claim {
            Claim::Won(row) => assert_eq!(*row, stored),
            other => assert_eq!(index, 2, "{other:?}"),
        }
        let steps = rig.steps(id).await;
        let rows: Vec<_> = steps.iter().map(|step| step.id).collect();
        assert_eq!(known.planned, rows);
        let conn = rig.ctx.db.reader();
        assert_eq!(of_run(conn, id, stored.fence).await.unwrap(), rows);
        let lines = read_after(conn, id, 0, 10).await.unwrap();
        let lines: Vec<_> = lines.into_iter().map(|line| line.text).collect();
        if [1, 2, 3].contains(&index) {
            // A later run, one that runs already, and one whose run does it itself.
            assert_eq!((rows.len(), lines.len(), stored.pipeline), (0, 0, None));
            continue;
        }
        let brief = known.brief.expect("its plan was made of it");
        let target = &brief.target.slug;
        assert_eq!(lines, [format!("It's {target}."), "Grün \\ 😀".to_owned()]);
        assert_eq!(brief.last_line, 2);
        let pipeline = serde_json::to_string(&*brief.pipeline.unwrap()).unwrap();
        assert_eq!(stored.pipeline, Some(pipeline));
        let told = steps.iter().map(|step| {
            assert_eq!((step.fence, step.attempt), (stored.fence, 1));
            let begun = stored.started_at.filter(|_| step.position == 0);
            assert_eq!(step.started_at, begun);
            (step.name.clone(), step.status)
        });
        let expected = [
            ("one", StepStatus::Running),
            ("two", StepStatus::Pending),
            ("three", StepStatus::Pending),
        ];
        let expected = expected.map(|(name, status)| (format!("{name} of {id}"), status));
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}

/// More than one statement takes.
async fn many_steps_are_written_with_claims(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 3).await;
    let long = |row: &Model, brief: &Brief| {
        let mut plan = planner(row, brief)?;
        plan.steps = plan.steps.iter().cycle().take(100).cloned().collect();
        plan.greeting = None;
        Some(plan)
    };
    let wanted = places(&rig, &ids).await;
    let taken = take_with(&rig, &wanted, 1000, &long).await;
    for (id, Taken { known, .. }) in ids.iter().zip(taken) {
        let steps = rig.steps(*id).await;
        let rows: Vec<_> = steps.iter().map(|step| step.id).collect();
        assert_eq!((rows.len(), known.planned), (100, rows));
        assert_eq!(known.brief.map(|brief| brief.last_line), Some(0));
    }
}

async fn a_claim_that_fails_leaves_no_plan(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 3).await;
    let statement = "UPDATE deployments SET cancel_requested_at = created_at WHERE id = ?";
    rig.execute(statement, [ids[1].into()]).await;
    let wanted = places(&rig, &ids).await;
    let taken = take_with(&rig, &wanted, 1000, &planner).await;
    let planned = taken.iter().map(|taken| taken.known.planned.len());
    assert_eq!(planned.collect::<Vec<_>>(), [3, 0, 3]);
    assert!(matches!(taken[1].claim, Claim::Raced));
    for (id, count) in ids.iter().zip([3, 0, 3]) {
        assert_eq!(rig.steps(*id).await.len(), count);
        let lines = read_after(rig.ctx.db.reader(), *id, 0, 10).await.unwrap();
        assert_eq!(lines.len(), count.min(2));
    }
    assert_eq!(rig.row(ids[1]).await.pipeline, None);
}

/// Whoever got no answer to its claim finds what was written with it.
async fn what_was_written_with_a_claim_is_followed_though_the_project_has_changed(rig: Rig) {
    let site = rig.site("web").await;
    let (id, token) = (rig.deploy(&site).await, token());
    let by = Claimant {
        owner: "tests",
        token: &token,
        lease: LEASE,
        max_running: 1000,
    };
    let target = rig.row(id).await.target_id;
    let wanted = [Wanted { id, target, by }];
    let taken = claim_all(&rig.ctx.db, &wanted, &planner, db::now()).await;
    let known = taken.unwrap().remove(0).known;
    let changed = "UPDATE projects SET pipeline_source = ?";
    let other = "after:\n  - { name: other, run: 'true' }\n";
    rig.execute(changed, [other.into()]).await;
    let conn = rig.ctx.db.writer();
    let row = held_by(conn, id, &token).await.unwrap().unwrap();
    let found = Known {
        brief: None,
        planned: of_run(conn, id, row.fence).await.unwrap(),
    };
    assert_eq!(found.planned, known.planned);
    let known = prepare(&rig.ctx, row.clone(), known)
        .await
        .unwrap()
        .unwrap();
    let found = prepare(&rig.ctx, row.clone(), found)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.pipeline, known.pipeline);
    assert_eq!((found.last_line, known.last_line), (2, 2));
    assert_eq!(found.planned, known.planned);
    let anew = prepare(&rig.ctx, row, Known::default()).await;
    assert_ne!(anew.unwrap().unwrap().pipeline, known.pipeline);
}

async fn runs_that_begin_together_learn_their_own(rig: Rig) {
    let web = rig.site("web").await;
    let other = rig.site("other").await;
    let now = db::now();
    for (site, slug, value) in [(&web, "web", "hers"), (&other, "other", "his")] {
        let input = VariableInput {
            name: "WHO".parse().unwrap(),
            value: value.to_owned(),
            target: None,
        };
        put(&rig.ctx, &site.owner, slug, input, now).await.unwrap();
    }
    let mut ids = many(&rig, &web, 3).await;
    ids.push(rig.deploy(&other).await);
    let rows = taken(&rig, &ids).await;
    let all: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let ctx = rig.ctx.clone();
            tokio::spawn(async move { prepare(&ctx, row, Known::default()).await })
        })
        .collect();
    let mut seen = Vec::new();
    for prepared in all {
        let assignment = prepared.await.unwrap().unwrap().unwrap();
        assert_eq!(assignment.target.id, assignment.row.target_id);
        seen.push((
            assignment.project.slug.clone(),
            assignment.variables["WHO"].clone(),
        ));
    }
    let expected = [
        ("web", "hers"),
        ("web", "hers"),
        ("web", "hers"),
        ("other", "his"),
    ];
    assert_eq!(
        seen,
        expected.map(|(slug, value)| (slug.to_owned(), value.to_owned()))
    );
}

async fn what_runs_found_out_together_is_kept_apart(rig: Rig) {
    let site = rig.site("web").await;
    let ids = many(&rig, &site, 3).await;
    let rows = taken(&rig, &ids).await;
    let found = |text: &str| Snapshot {
        commit_id: None,
        commit_subject: Some(text.to_owned()),
        commit_author: None,
    };
    let seen = |texts: [&str; 3]| {
        let each = rows.iter().zip(texts);
        each.map(|(row, text)| (row.id, row.fence, found(text)))
            .collect()
    };
    let record = async |texts| {
        let written = set_snapshots(&rig.ctx.db, seen(texts)).await;
        let written: Vec<bool> = written.into_iter().map(Result::unwrap).collect();
        let mut stored = Vec::new();
        for id in &ids {
            stored.push(rig.row(*id).await.commit_subject.unwrap_or_default());
        }
        (written, stored)
    };
    let (written, stored) = record(["same", "same", "same"]).await;
    assert_eq!(written, [true, true, true]);
    assert_eq!(stored, ["same", "same", "same"]);
    let (_, stored) = record(["one", "two", "one"]).await;
    assert_eq!(stored, ["one", "two", "one"]);
    rig.finish(&rows[1], RunEnd::HandedBack).await;
    let (written, stored) = record(["late", "late", "late"]).await;
    assert_eq!(written, [true, false, true]);
    assert_eq!(stored, ["late", "two", "late"]);
}
