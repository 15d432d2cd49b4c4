//! Projects, their members and targets.

use std::sync::Arc;

use slipway_core::{
    access::{Actor, ProjectRole, SystemRole},
    db,
    deployment::run::RunEnd,
    error::{Error, Result},
    id::UserId,
    project::service::{self, ProjectChange},
    target,
};

use crate::rig::{Rig, conflict, nobody};

on_both! {
    the_last_owner_stays,
    two_owners_who_remove_each_other_leave_one,
    a_slug_belongs_to_one_project,
    a_target_slug_belongs_to_one_target_of_a_project,
    what_is_open_keeps_project_and_target,
    deleting_a_project_takes_everything_of_it_along,
    a_project_that_is_deleted_while_deployments_arrive_leaves_none_behind,
}

async fn the_last_owner_stays(rig: Rig) {
    let site = rig.site("web").await;
    let set = async |user: UserId, role: Option<ProjectRole>| {
        service::members::set(&rig.ctx, &site.owner, "web", (user, role), db::now()).await
    };
    assert_eq!(conflict(set(site.owner.user, None).await), "last_owner");
    let demoted = set(site.owner.user, Some(ProjectRole::Member)).await;
    assert_eq!(conflict(demoted), "last_owner");
    assert!(matches!(
        set(nobody(), Some(ProjectRole::Owner)).await,
        Err(Error::NotFound("user"))
    ));
    assert!(matches!(
        set(nobody(), None).await,
        Err(Error::NotFound("member"))
    ));
    let ann = rig.user("ann@example.com", SystemRole::Developer).await;
    set(ann.user, Some(ProjectRole::Owner)).await.unwrap();
    set(ann.user, Some(ProjectRole::Owner)).await.unwrap();
    set(site.owner.user, Some(ProjectRole::Member))
        .await
        .unwrap();
    let members = service::members::list(&rig.ctx, &ann, "web").await.unwrap();
    let roles: Vec<_> = members.iter().map(|row| (row.user_id, row.role)).collect();
    assert_eq!(
        roles,
        [
            (site.owner.user, ProjectRole::Member),
            (ann.user, ProjectRole::Owner)
        ]
    );
}

async fn two_owners_who_remove_each_other_leave_one(rig: Rig) {
    let site = rig.site("web").await;
    let ann = rig.user("ann@example.com", SystemRole::Developer).await;
    rig.member(&site, &ann, ProjectRole::Owner).await;
    let rig = Arc::new(rig);
    for round in 0..10 {
        let outcomes = [
            tokio::spawn(remove(Arc::clone(&rig), ann.clone(), site.owner.user)),
            tokio::spawn(remove(Arc::clone(&rig), site.owner.clone(), ann.user)),
        ];
        let mut won = 0;
        for outcome in outcomes {
            match outcome.await.unwrap() {
                Ok(()) => won += 1,
                // Whoever comes second is no Owner any more, or would take the last one away.
                Err(Error::NotFound("project") | Error::Conflict { .. }) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(won, 1, "round {round}");
        for owner in [&ann, &site.owner] {
            rig.member(&site, owner, ProjectRole::Owner).await;
        }
    }
}

async fn remove(rig: Arc<Rig>, by: Actor, whom: UserId) -> Result<()> {
    service::members::set(&rig.ctx, &by, "web", (whom, None), db::now()).await
}

async fn a_slug_belongs_to_one_project(rig: Rig) {
    let (web, _shop) = (rig.site("web").await, rig.site("shop").await);
    let rename = |slug: &str| ProjectChange {
        slug: Some(slug.parse().unwrap()),
        ..ProjectChange::default()
    };
    let taken = service::update(&rig.ctx, &web.owner, "web", rename("shop"), db::now()).await;
    assert_eq!(conflict(taken), "slug_taken");
    let moved = service::update(&rig.ctx, &web.owner, "web", rename("site"), db::now()).await;
    assert_eq!(moved.unwrap().slug, "site");
    let id = web.project.id.to_string();
    let same = service::update(&rig.ctx, &web.owner, &id, rename("site"), db::now()).await;
    assert_eq!(same.unwrap().id, web.project.id);
}

async fn a_target_slug_belongs_to_one_target_of_a_project(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    let staging = rig.target(&web.owner, "web", "staging").await;
    let change = target::service::TargetChange {
        slug: Some("live".parse().unwrap()),
        ..Default::default()
    };
    let address = ("web", "staging");
    let taken =
        target::service::update(&rig.ctx, &web.owner, address, change.clone(), db::now()).await;
    assert_eq!(conflict(taken), "slug_taken");
    // Another project's target is out of reach, by slug and by id.
    let id = staging.id.to_string();
    for key in ["staging", id.as_str()] {
        let found = target::service::get(&rig.ctx, &shop.owner, "shop", key).await;
        assert!(matches!(found, Err(Error::NotFound("target"))), "{key}");
    }
}

async fn what_is_open_keeps_project_and_target(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    let project = async || service::delete(&rig.ctx, &site.owner, "web").await;
    let target = async || target::service::delete(&rig.ctx, &site.owner, "web", "live").await;
    assert_eq!(conflict(project().await), "deployments_open");
    assert_eq!(conflict(target().await), "deployments_open");
    let row = rig.claim(id).await;
    assert_eq!(conflict(project().await), "deployments_open");
    rig.finish(&row, RunEnd::Succeeded).await;
    target().await.unwrap();
    project().await.unwrap();
}

async fn deleting_a_project_takes_everything_of_it_along(rig: Rig) {
    use sea_orm::{EntityTrait as _, PaginatorTrait as _};
    use slipway_core::{deployment::entity as deployment, project, variable, vault};
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    for site in [&web, &shop] {
        crate::run_input::fill(&rig, site).await;
    }
    service::delete(&rig.ctx, &web.owner, "web").await.unwrap();
    let conn = rig.ctx.db.reader();
    let left = [
        project::entity::Entity::find().count(conn).await.unwrap(),
        project::entity::membership::Entity::find()
            .count(conn)
            .await
            .unwrap(),
        target::entity::Entity::find().count(conn).await.unwrap(),
        variable::entity::Entity::find().count(conn).await.unwrap(),
        vault::entity::Entity::find().count(conn).await.unwrap(),
        deployment::deployment::Entity::find()
            .count(conn)
            .await
            .unwrap(),
        deployment::step::Entity::find().count(conn).await.unwrap(),
        deployment::log_chunk::Entity::find()
            .count(conn)
            .await
            .unwrap(),
        deployment::release::Entity::find()
            .count(conn)
            .await
            .unwrap(),
        deployment::idempotency_key::Entity::find()
            .count(conn)
            .await
            .unwrap(),
    ];
    assert_eq!(left, [1; 10], "only the other project's rows are left");
}

/// One transaction decides many requests: those of other projects must not fail with this one's.
async fn a_project_that_is_deleted_while_deployments_arrive_leaves_none_behind(rig: Rig) {
    let shop = rig.site("shop").await;
    let rig = Arc::new(rig);
    for round in 0..5 {
        let web = rig.site(&format!("web-{round}")).await;
        let requests: Vec<_> = (0..20)
            .map(|number| {
                let admission = rig.ctx.admission.clone();
                let wanted = if number % 2 == 0 {
                    web.wanted()
                } else {
                    shop.wanted()
                };
                tokio::spawn(async move { (number, admission.request(wanted).await) })
            })
            .collect();
        let deleted = service::delete(&rig.ctx, &web.owner, &web.project.slug).await;
        let mut accepted = 0;
        for request in requests {
            match request.await.unwrap() {
                (number, Ok(_)) => accepted += usize::from(number % 2 == 0),
                (number, Err(Error::NotFound("target"))) => assert_eq!(number % 2, 0),
                (number, Err(error)) => panic!("request {number}: {error:?}"),
            }
        }
        match deleted {
            Ok(()) => assert_eq!(accepted, 0, "round {round}"),
            refused => assert_eq!(conflict(refused), "deployments_open", "round {round}"),
        }
    }
    assert_eq!(rig.all(&shop).await.len(), 50);
}
