//! Locks: nothing under one starts, everything else goes on, and its end is noticed.

use std::time::Duration;

use slipway_core::{
    access::{Actor, Permission, ProjectRole, SystemRole, allows},
    db,
    deployment::{
        queue_place::WaitingFor,
        run::RunEnd,
        service::get,
        status::Status,
        store::claim::{Claim, Claimant, claim},
    },
    error::{Error, Result},
    id::DeploymentId,
    lock::{
        covering::Lock,
        service::{self, Address, LockInput},
    },
    ports::{Authority, Claimed, JobQueue as _, Place},
    recovery::reconciler,
};

use crate::rig::{LEASE, Rig, Site, minutes_later, token};

on_both! {
    what_a_lock_covers_waits_and_the_rest_goes_on,
    nothing_starts_once_a_lock_was_answered,
    what_runs_goes_on_under_a_lock,
    lifting_a_lock_puts_up_what_waited_for_it,
    a_lost_hint_of_a_lift_is_made_up_for,
    a_lock_ends_at_its_time,
    another_lock_takes_the_place_of_the_first,
    a_waiting_deployment_says_which_lock_it_waits_for,
    only_those_who_govern_lock,
    a_lock_goes_with_what_it_covers,
    no_more_run_than_may_whatever_the_index_says,
}

const WEB: Address<'static> = Address::Project("web");
const LIVE: Address<'static> = Address::Target("web", "live");

async fn lock(rig: &Rig, by: &Actor, address: Address<'_>, minutes: Option<i64>) -> Result<Lock> {
    let input = LockInput {
        reason: "stocktaking".parse().unwrap(),
        expires_at: minutes.map(minutes_later),
    };
    service::put(&rig.ctx, by, address, input, db::now()).await
}

async fn admin(rig: &Rig) -> Actor {
    rig.user("admin@example.com", SystemRole::Admin).await
}

/// How long a deployment is kept from starting; the outer nothing when it starts.
async fn locked_for(rig: &Rig, id: DeploymentId) -> Option<Option<Duration>> {
    match rig.try_claim(id, &token()).await.unwrap() {
        Claim::Won(_) => None,
        Claim::Locked(left) => Some(left),
        other => panic!("{other:?}"),
    }
}

/// Does what a worker does with an entry that is locked.
async fn meet_the_lock(rig: &Rig) -> DeploymentId {
    let token = token();
    let Claimed::Entry(entry) = rig.queue.claim(&token, LEASE, 100).await.unwrap() else {
        panic!("the index has nothing to claim");
    };
    let Claim::Locked(left) = rig.try_claim(entry.id, &token).await.unwrap() else {
        panic!("it is not locked");
    };
    let by = Authority::Lease(token);
    let delay = left.unwrap_or(Duration::from_secs(3600));
    rig.queue.retry(entry, &by, delay).await.unwrap();
    entry.id
}

async fn place(rig: &Rig, id: DeploymentId) -> Place {
    rig.queue.places(&[id]).await.unwrap()[&id]
}

async fn what_a_lock_covers_waits_and_the_rest_goes_on(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    let staging = web.at(rig.target(&web.owner, "web", "staging").await);
    for (address, covered) in [
        (LIVE, [true, false, false]),
        (WEB, [true, true, false]),
        (Address::Everything, [true, true, true]),
    ] {
        let by = rig
            .user(&format!("{address:?}@example.com"), SystemRole::Admin)
            .await;
        lock(&rig, &by, address, None).await.unwrap();
        for (site, is_covered) in [&web, &staging, &shop].into_iter().zip(covered) {
            let id = rig.deploy(site).await;
            let answer = locked_for(&rig, id).await;
            assert_eq!(answer, is_covered.then_some(None), "{address:?}");
            assert_eq!(rig.row(id).await.attempt, i64::from(!is_covered));
            if is_covered {
                service::lift(&rig.ctx, &by, address).await.unwrap();
                assert_eq!(locked_for(&rig, id).await, None);
                lock(&rig, &by, address, None).await.unwrap();
            }
            rig.finish(&rig.row(id).await, RunEnd::Succeeded).await;
        }
        service::lift(&rig.ctx, &by, address).await.unwrap();
    }
}

async fn nothing_starts_once_a_lock_was_answered(rig: Rig) {
    let admin = admin(&rig).await;
    let site = rig.site("web").await;
    let mut sites = Vec::new();
    for target in 0..6 {
        let slug = format!("t{target}");
        sites.push(site.at(rig.target(&site.owner, "web", &slug).await));
    }
    let running = async || {
        let rows = rig.all(&site).await;
        let running = rows.iter().filter(|row| row.status == Status::Running);
        running.map(|row| row.id).collect::<Vec<_>>()
    };
    for round in 0..12_usize {
        let mut claims = Vec::new();
        for site in &sites {
            let (id, db) = (rig.deploy(site).await, rig.ctx.db.clone());
            claims.push(tokio::spawn(async move {
                let token = token();
                let by = Claimant {
                    owner: "worker-1",
                    token: &token,
                    lease: LEASE,
                    max_running: 100,
                };
                claim(&db, id, &by, db::now()).await.unwrap()
            }));
        }
        let address = [Address::Everything, WEB][round % 2];
        lock(&rig, &admin, address, None).await.unwrap();
        let started = running().await;
        for claim in claims {
            claim.await.unwrap();
        }
        assert_eq!(running().await, started, "round {round}");
        service::lift(&rig.ctx, &admin, address).await.unwrap();
        for row in rig.all(&site).await {
            if row.status == Status::Queued {
                rig.claim(row.id).await;
            }
            let row = rig.row(row.id).await;
            if row.status == Status::Running {
                rig.finish(&row, RunEnd::Succeeded).await;
            }
        }
    }
}

async fn what_runs_goes_on_under_a_lock(rig: Rig) {
    let site = rig.site("web").await;
    let (id, next) = (rig.deploy(&site).await, rig.deploy(&site).await);
    let row = rig.claim(id).await;
    lock(&rig, &site.owner, WEB, None).await.unwrap();
    assert!(
        slipway_core::deployment::store::claim::is_current(&rig.ctx.db, id, row.fence)
            .await
            .unwrap()
    );
    rig.finish(&row, RunEnd::Succeeded).await;
    assert_eq!(rig.row(id).await.status, Status::Succeeded);
    assert_eq!(locked_for(&rig, next).await, Some(None));
}

async fn lifting_a_lock_puts_up_what_waited_for_it(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    lock(&rig, &web.owner, WEB, None).await.unwrap();
    lock(&rig, &shop.owner, Address::Target("shop", "live"), None)
        .await
        .unwrap();
    let (first, second) = (rig.deploy(&web).await, rig.deploy(&web).await);
    let elsewhere = rig.deploy(&shop).await;
    assert_eq!(meet_the_lock(&rig).await, first);
    assert_eq!(meet_the_lock(&rig).await, elsewhere);
    // Locked targets are asked about once, however many wait behind.
    let claimed = rig.queue.claim(&token(), LEASE, 100).await.unwrap();
    assert!(matches!(claimed, Claimed::Empty(Some(_))), "{claimed:?}");

    service::lift(&rig.ctx, &web.owner, WEB).await.unwrap();
    service::lift(&rig.ctx, &web.owner, WEB).await.unwrap();
    let row = rig.claim_next().await;
    assert_eq!(row.id, first);
    assert_eq!(place(&rig, elsewhere).await, Place::Delayed);
    assert_eq!(place(&rig, second).await, Place::Pending);
}

async fn a_lost_hint_of_a_lift_is_made_up_for(rig: Rig) {
    let site = rig.site("web").await;
    lock(&rig, &site.owner, LIVE, None).await.unwrap();
    let id = rig.deploy(&site).await;
    meet_the_lock(&rig).await;
    let reconcile = async || {
        let (grace, later) = (chrono::Duration::seconds(5), minutes_later(1));
        reconciler::run_once(&rig.ctx, grace, later).await.unwrap()
    };
    assert_eq!(reconcile().await.lifted, 0, "it is locked");
    rig.execute("DELETE FROM locks WHERE 1 = ?", [1.into()])
        .await;
    assert_eq!(reconcile().await.lifted, 1);
    assert_eq!(reconcile().await.lifted, 0);
    assert_eq!(rig.claim_next().await.id, id);
}

async fn a_lock_ends_at_its_time(rig: Rig) {
    let site = rig.site("web").await;
    let past = lock(&rig, &site.owner, LIVE, Some(-1)).await;
    assert!(matches!(past, Err(Error::Invalid(_))), "{past:?}");
    lock(&rig, &site.owner, LIVE, Some(10)).await.unwrap();
    let id = rig.deploy(&site).await;
    let left = locked_for(&rig, id).await.unwrap().expect("it has an end");
    let minute = Duration::from_secs(60);
    assert!(left > minute * 8 && left <= minute * 10, "{left:?}");
    // A wider lock that lasts longer is the one that counts.
    lock(&rig, &site.owner, WEB, Some(20)).await.unwrap();
    let left = locked_for(&rig, id).await.unwrap().expect("it has an end");
    assert!(left > minute * 18 && left <= minute * 20, "{left:?}");

    rig.execute("UPDATE locks SET expires_us = ?", [1.into()])
        .await;
    let gone = service::get(&rig.ctx, &site.owner, LIVE).await;
    assert!(matches!(gone, Err(Error::NotFound("lock"))), "{gone:?}");
    assert_eq!(locked_for(&rig, id).await, None);
    let pruned = slipway_core::notify::outbox::lock::expire(&rig.ctx, db::now()).await;
    assert_eq!(pruned.unwrap(), 2);
}

async fn another_lock_takes_the_place_of_the_first(rig: Rig) {
    let site = rig.site("web").await;
    let first = lock(&rig, &site.owner, WEB, None).await.unwrap();
    assert_eq!(
        (first.by.as_deref(), first.expires_at()),
        (Some("web@example.com"), None)
    );
    let id = rig.deploy(&site).await;
    meet_the_lock(&rig).await;
    lock(&rig, &site.owner, WEB, Some(5)).await.unwrap();
    // The index is told, because the new one may end sooner.
    assert_eq!(place(&rig, id).await, Place::Pending);
    let second = service::get(&rig.ctx, &site.owner, WEB).await.unwrap();
    assert!(second.expires_at().is_some());
    service::lift(&rig.ctx, &site.owner, WEB).await.unwrap();
    assert_eq!(locked_for(&rig, id).await, None);
}

async fn a_waiting_deployment_says_which_lock_it_waits_for(rig: Rig) {
    let site = rig.site("web").await;
    let (first, second) = (rig.deploy(&site).await, rig.deploy(&site).await);
    lock(&rig, &site.owner, LIVE, None).await.unwrap();
    for (id, position) in [(first, 1), (second, 2)] {
        let detail = get(&rig.ctx, &site.owner, id).await.unwrap();
        let place = detail.queue.unwrap();
        assert_eq!(
            (place.position, place.waiting_for),
            (position, WaitingFor::Lock)
        );
        assert_eq!(
            place.waiting_text,
            "The target is locked by web@example.com: stocktaking"
        );
    }
}

async fn only_those_who_govern_lock(rig: Rig) {
    let site = rig.site("web").await;
    for role in SystemRole::ALL {
        for project in [None, Some(ProjectRole::Member), Some(ProjectRole::Owner)] {
            let email = format!("{}-{project:?}@example.com", role.as_str());
            let actor = rig.user(&email, role).await;
            if let Some(project) = project {
                rig.member(&site, &actor, project).await;
            }
            let may_see = allows(role, project, Permission::ViewProject);
            let may_govern = allows(role, project, Permission::GovernProject);
            for address in [WEB, LIVE] {
                let answer = lock(&rig, &actor, address, None).await;
                match (may_see, may_govern) {
                    (_, true) => drop(answer.unwrap()),
                    (true, false) => assert!(matches!(answer, Err(Error::Forbidden(_)))),
                    (false, false) => assert!(matches!(answer, Err(Error::NotFound(_)))),
                }
                let lifted = service::lift(&rig.ctx, &actor, address).await;
                assert_eq!(lifted.is_ok(), may_govern, "{email}");
            }
            let all = lock(&rig, &actor, Address::Everything, None).await;
            assert_eq!(all.is_ok(), role == SystemRole::Admin, "{email}");
            if all.is_ok() {
                let lift = service::lift(&rig.ctx, &actor, Address::Everything);
                lift.await.unwrap();
            }
        }
    }
}

async fn a_lock_goes_with_what_it_covers(rig: Rig) {
    let site = rig.site("web").await;
    lock(&rig, &site.owner, WEB, None).await.unwrap();
    lock(&rig, &site.owner, LIVE, None).await.unwrap();
    slipway_core::project::service::delete(&rig.ctx, &site.owner, "web")
        .await
        .unwrap();
    let left = service::active(&rig.ctx).await.unwrap();
    assert_eq!(left.0, []);
}

async fn no_more_run_than_may_whatever_the_index_says(rig: Rig) {
    const LIMIT: u32 = 3;
    let site = rig.site("web").await;
    let mut ids = Vec::new();
    for target in 0..12 {
        let site: Site = site.at(rig.target(&site.owner, "web", &format!("t{target}")).await);
        ids.push(rig.deploy(&site).await);
    }
    let claims = ids.iter().map(|id| {
        let (id, db) = (*id, rig.ctx.db.clone());
        tokio::spawn(async move {
            let token = token();
            let by = Claimant {
                owner: "worker-1",
                token: &token,
                lease: LEASE,
                max_running: LIMIT,
            };
            claim(&db, id, &by, db::now()).await.unwrap()
        })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        won += u32::from(matches!(claim.await.unwrap(), Claim::Won(_)));
    }
    assert_eq!(won, LIMIT);
}
