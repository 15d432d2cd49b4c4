//! However many deployments have ended, MariaDB finds the few that a query is about by an index:
//! counted are the rows that its storage engine hands out, not the plan that it announces.

use sea_orm::{ConnectionTrait as _, Statement};
use slipway_core::{
    db::{Db, now},
    deployment::{
        admission::{Idempotency, NewDeployment},
        status::Status,
        store::{
            admission::{Door, admit},
            claim::{expired, held_by},
            open::{open_rows, still_open},
            read::{Filter, Lines, ahead, count_open, last_success, list, waiting},
        },
    },
    id::{DeploymentId, ProjectId, UserId},
};

use crate::rig::{Rig, Site, token};

/// Rows that a query for a page of twenty may touch; the table has thousands.
const FEW: u64 = 150;

/// Doubles what is there, as ended deployments, until the table is large.
async fn fill(rig: &Rig, sites: &[Site]) {
    for site in sites {
        rig.deploy_unpushed(site).await;
    }
    for _ in 0..11 {
        let copies = "INSERT INTO deployments (project_id, target_id, status, trigger_kind, \
                      attempt, interruptions, fence, not_before, created_at) \
                      SELECT project_id, target_id, 'failed', trigger_kind, 1, 0, 1, 0, created_at \
                      FROM deployments";
        rig.execute(copies, []).await;
    }
    for site in sites {
        rig.deploy_unpushed(site).await;
    }
    rig.execute(
        "UPDATE deployments SET status = 'succeeded' WHERE id = 17",
        [],
    )
    .await;
    let keys = "INSERT INTO idempotency_keys \
                (project_id, user_id, `key`, request_hash, deployment_id, created_at) \
                SELECT project_id, 1, CONCAT('key-', id), '', id, created_at FROM deployments";
    rig.execute(keys, []).await;
    rig.execute("ANALYZE TABLE deployments, idempotency_keys", [])
        .await;
}

/// A request that nobody has sent before, though many were sent with other keys.
fn keyed(site: &Site) -> NewDeployment {
    NewDeployment {
        requested_by: Some(UserId(1)),
        idempotency: Some(Idempotency {
            key: "another".parse().unwrap(),
            request_hash: String::new(),
        }),
        ..site.wanted()
    }
}

/// Rows that the storage engine handed to the one session of this pool.
async fn rows_read(db: &Db) -> u64 {
    let sql = "SHOW SESSION STATUS LIKE 'Handler_read%'";
    let statement = Statement::from_string(db.backend(), sql);
    let rows = db.reader().query_all_raw(statement).await.unwrap();
    let value = |row: &sea_orm::QueryResult| row.try_get_by_index::<String>(1).unwrap();
    rows.iter()
        .map(|row| value(row).parse::<u64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_of_queue_or_lists_reads_the_whole_table() {
    let rig = Rig::mysql().await;
    let mut sites = Vec::new();
    for slug in ["web", "shop", "blog"] {
        sites.push(rig.site(slug).await);
    }
    fill(&rig, &sites).await;
    let (_, db) = rig
        .restarted(|settings| settings.database.max_connections = 1)
        .await;
    let conn = db.reader();
    let (project, target) = (sites[0].project.id, sites[0].target.id);
    let two: Vec<ProjectId> = sites.iter().take(2).map(|site| site.project.id).collect();
    let ids: Vec<DeploymentId> = rig.all(&sites[0]).await.iter().map(|row| row.id).collect();
    assert!(ids.len() > 1_000);
    let newest = ids[ids.len() - 1];
    let before = Some(ids[ids.len() - 21]);
    let page = async |filter: Filter| {
        list(conn, &filter, 20).await.unwrap();
    };
    let base = || Filter::default();
    let request = [keyed(&sites[0])];
    let mut touched: Vec<(&str, u64)> = Vec::new();
    macro_rules! measure {
        ($($name:literal: $query:expr),+ $(,)?) => {$(
            let start = rows_read(&db).await;
            $query;
            let own = rows_read(&db).await;
            let overhead = rows_read(&db).await - own;
            touched.push(($name, (own - start).saturating_sub(overhead)));
        )+};
    }
    measure! {
        "waiting": waiting(conn).await.unwrap(),
        "open rows": open_rows(conn, DeploymentId(0), 500).await.unwrap(),
        "expired leases": expired(conn, DeploymentId(0), 100).await.unwrap(),
        "lease by token": held_by(conn, newest, &token()).await.unwrap(),
        "still open": still_open(conn, &[newest, DeploymentId(5)]).await.unwrap(),
        "places": ahead(conn, &[newest], Lines::Counted).await.unwrap(),
        "place of a new one": ahead(conn, &[newest], Lines::Uncounted).await.unwrap(),
        "open of a project": count_open(conn, project, None).await.unwrap(),
        "open of a target": count_open(conn, project, Some(target)).await.unwrap(),
        "last success": last_success(conn, target, newest).await.unwrap(),
        "all": page(base()).await,
        "all, second page": page(Filter { before, ..base() }).await,
        "one project": page(Filter { projects: Some(vec![project]), ..base() }).await,
        "two projects": page(Filter { projects: Some(two.clone()), ..base() }).await,
        "two projects, second page":
            page(Filter { projects: Some(two.clone()), before, ..base() }).await,
        "a target": page(Filter { target: Some(target), ..base() }).await,
        "a target, second page": page(Filter { target: Some(target), before, ..base() }).await,
        "queued": page(Filter { status: Some(Status::Queued), ..base() }).await,
        "failed": page(Filter { status: Some(Status::Failed), ..base() }).await,
        "running in two projects":
            page(Filter { projects: Some(two), status: Some(Status::Running), ..base() }).await,
        "a request with a key": admit(&db, &request, &Door::new(1000, rig.ctx.audit.clone()), now()).await.unwrap(),
    }
    let many: Vec<_> = touched.iter().filter(|(_, rows)| *rows > FEW).collect();
    assert!(many.is_empty(), "{many:?} of {touched:?}");
}
