//! Workers stand back for everything else that their machine serves.

use std::fs;

use crate::rig::{Installation, Redis, records};

/// How far each thread of a process stands back.
fn threads(id: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let nice = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).ok()?;
        let after_name = stat.rsplit_once(") ")?.1.to_owned();
        // The 19th field; the third is the first one behind the name.
        after_name.split_whitespace().nth(16).map(str::to_owned)
    });
    nice.collect()
}

#[tokio::test]
async fn worker_and_its_steps_stand_back_as_far_as_they_are_told() {
    let installation = Installation::migrated(&Redis::shared()).set("SLIPWAY__WORKER__NICE", "7");
    let api = installation.start_api();
    let worker = installation.start_worker();
    let client = api.client().await;
    let pipeline = installation.pipeline("nice >\"$PLACE/nice\"");
    client.create_project("shop", &pipeline).await;
    let folder = installation.path("web");
    client.create_target("shop", "web", &folder).await;
    let id = client.deploy("shop", "web").await;
    assert_eq!(client.ended(id).await["status"], "succeeded");

    assert_eq!(records(&installation.path("nice")), [["7"]]);
    let of_worker = threads(worker.id());
    assert!(of_worker.len() > 2, "{of_worker:?}");
    assert!(of_worker.iter().all(|nice| nice == "7"), "{of_worker:?}");
    let (of_api, own) = (threads(api.program.id()), threads(std::process::id()));
    assert!(of_api.iter().all(|nice| *nice == own[0]), "{of_api:?}");
}
