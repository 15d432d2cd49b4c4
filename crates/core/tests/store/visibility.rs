//! Who sees what: 404 for what one may not see, 403 for what one may see and not do.

use slipway_core::{
    access::{Actor, Permission, ProjectRole, SystemRole, allows},
    db,
    deployment::service as deployments,
    error::Error,
    id::ProjectId,
    project::service,
};

use crate::rig::{Rig, deploy_input, new_project};

on_both! {
    every_role_meets_404_403_or_the_project,
    a_deployment_is_as_visible_as_its_project,
    lists_hold_only_what_the_reader_may_see,
    a_viewer_creates_nothing,
}

/// Everybody that the permission table knows, with their role in the project.
async fn people(rig: &Rig, site: &crate::rig::Site) -> Vec<(Actor, Option<ProjectRole>)> {
    let mut people = Vec::new();
    for role in SystemRole::ALL {
        for (suffix, project) in [
            ("neither", None),
            ("member", Some(ProjectRole::Member)),
            ("owner", Some(ProjectRole::Owner)),
        ] {
            let email = format!("{}-{suffix}@example.com", role.as_str());
            let actor = rig.user(&email, role).await;
            if let Some(role) = project {
                rig.member(site, &actor, role).await;
            }
            people.push((actor, project));
        }
    }
    people
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Forbidden,
    NotFound,
}

fn answer<T: std::fmt::Debug>(outcome: slipway_core::error::Result<T>) -> Answer {
    match outcome {
        Ok(_) => Answer::Done,
        Err(Error::Forbidden(_)) => Answer::Forbidden,
        Err(Error::NotFound(_)) => Answer::NotFound,
        Err(error) => panic!("{error:?}"),
    }
}

fn expected(actor: &Actor, role: Option<ProjectRole>, permission: Permission) -> Answer {
    if !allows(actor.role, role, Permission::ViewProject) {
        Answer::NotFound
    } else if allows(actor.role, role, permission) {
        Answer::Done
    } else {
        Answer::Forbidden
    }
}

async fn every_role_meets_404_403_or_the_project(rig: Rig) {
    let site = rig.site("web").await;
    for (actor, role) in people(&rig, &site).await {
        for permission in Permission::ALL {
            let opened = service::open(&rig.ctx, &actor, "web", permission).await;
            let wanted = expected(&actor, role, permission);
            assert_eq!(answer(opened), wanted, "{} {permission:?}", actor.email);
        }
        let absent = service::open(&rig.ctx, &actor, "none", Permission::ViewProject).await;
        assert_eq!(answer(absent), Answer::NotFound);
    }
}

async fn a_deployment_is_as_visible_as_its_project(rig: Rig) {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    for (actor, role) in people(&rig, &site).await {
        let seen = expected(&actor, role, Permission::ViewProject);
        assert_eq!(answer(deployments::get(&rig.ctx, &actor, id).await), seen);
        assert_eq!(
            answer(deployments::log(&rig.ctx, &actor, id, 0).await),
            seen
        );
        let input = deploy_input("live");
        let asked = deployments::request(&rig.ctx, &actor, "web", input).await;
        let wanted = expected(&actor, role, Permission::Deploy);
        assert_eq!(answer(asked), wanted, "{}", actor.email);
        let own = rig.deploy(&site).await;
        let cancelled = deployments::cancel(&rig.ctx, &actor, own, db::now()).await;
        let wanted = expected(&actor, role, Permission::Deploy);
        assert_eq!(answer(cancelled), wanted, "{}", actor.email);
    }
}

async fn lists_hold_only_what_the_reader_may_see(rig: Rig) {
    let (web, shop) = (rig.site("web").await, rig.site("shop").await);
    let (one, _) = (rig.deploy(&web).await, rig.deploy(&shop).await);
    let input = deployments::ListInput {
        limit: 10,
        ..Default::default()
    };
    let listed = deployments::list(&rig.ctx, &web.owner, &input)
        .await
        .unwrap();
    assert_eq!(listed.iter().map(|it| it.row.id).collect::<Vec<_>>(), [one]);
    let outsider = rig.user("eve@example.com", SystemRole::Developer).await;
    assert!(
        deployments::list(&rig.ctx, &outsider, &input)
            .await
            .unwrap()
            .is_empty()
    );
    let projects = async |actor: &Actor| {
        let rows = service::list(&rig.ctx, actor, ProjectId(0), 10)
            .await
            .unwrap();
        rows.into_iter().map(|row| row.slug).collect::<Vec<_>>()
    };
    assert_eq!(projects(&web.owner).await, ["web"]);
    assert!(projects(&outsider).await.is_empty());
    let viewer = rig.user("vic@example.com", SystemRole::Viewer).await;
    assert_eq!(projects(&viewer).await, ["web", "shop"]);
    assert_eq!(
        deployments::list(&rig.ctx, &viewer, &input)
            .await
            .unwrap()
            .len(),
        2
    );
}

async fn a_viewer_creates_nothing(rig: Rig) {
    let viewer = rig.user("vic@example.com", SystemRole::Viewer).await;
    let made = service::create(&rig.ctx, &viewer, new_project("mine"), db::now()).await;
    assert_eq!(answer(made), Answer::Forbidden);
}
