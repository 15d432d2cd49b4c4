//! A channel and a project that can be told of, and what a test does with them.

use slipway_core::{
    db,
    deployment::{
        reason::{Code, Reason},
        run::RunEnd,
    },
    id::ChannelId,
    notify::{
        Verdict,
        delivery::{
            service::{self as delivery, Detail, ListInput},
            state::State,
        },
        outbox::{
            queue::{self, Job},
            record::record,
        },
        subscription::service::{self as subscription, NewSubscription},
    },
};

use crate::{
    notify_model::{Scene, scene},
    rig::{Rig, Site},
};

pub(crate) struct Place {
    pub(crate) scene: Scene,
    pub(crate) site: Site,
    pub(crate) roof: ChannelId,
}

pub(crate) async fn place(rig: Rig) -> Place {
    let scene = scene(rig).await;
    let loft = scene.provider("Loft").await;
    let roof = scene.channel(loft, "Roof").await;
    let site = scene.rig.site("web").await;
    Place { scene, site, roof }
}

impl Place {
    pub(crate) async fn subscribe(&self, input: NewSubscription) -> subscription::Detail {
        let (ctx, owner) = (&self.scene.ctx, &self.site.owner);
        let made = subscription::create(ctx, owner, "web", input, db::now()).await;
        made.unwrap()
    }

    pub(crate) async fn all(&self) -> Vec<Detail> {
        let input = ListInput {
            limit: 100,
            ..ListInput::default()
        };
        let listed = delivery::list(&self.scene.ctx, &self.scene.manager, &input).await;
        let mut listed = listed.unwrap();
        listed.reverse();
        listed
    }

    pub(crate) async fn events(&self) -> Vec<String> {
        let all = self.all().await;
        all.iter().map(|it| it.notice.event.to_string()).collect()
    }

    pub(crate) async fn run(&self, end: RunEnd) {
        let id = self.scene.rig.deploy(&self.site).await;
        let row = self.scene.rig.claim(id).await;
        self.scene.rig.finish(&row, end).await;
    }

    pub(crate) async fn take(&self) -> Option<Job> {
        queue::take(&self.scene.ctx, self.roof).await.unwrap()
    }

    pub(crate) async fn due(&self) -> Vec<ChannelId> {
        let due = queue::due(self.scene.ctx.db.reader(), 100).await.unwrap();
        due.into_iter().map(|(id, _)| id).collect()
    }

    pub(crate) async fn record(&self, job: &Job, verdict: &Verdict) -> Option<State> {
        record(&self.scene.ctx, job, verdict).await.unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) -> u64 {
        self.scene.rig.execute(sql, []).await
    }
}

pub(crate) fn failed(code: Code) -> RunEnd {
    RunEnd::Failed(Reason::new(code, "It broke."))
}

pub(crate) fn delivered() -> Verdict {
    Verdict::Delivered {
        answer: "200".to_owned(),
    }
}

pub(crate) fn later() -> Verdict {
    Verdict::Later {
        answer: "500".to_owned(),
        after: None,
    }
}
