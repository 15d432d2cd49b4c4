//! One channel's messages, one after the other; one attempt, from the claim to its record.

use std::{sync::Arc, time::Duration};

use slipway_core::{
    error::Result,
    fail,
    id::ChannelId,
    notify::{
        Field, Notice, Parcel, Provider, Values, Verdict,
        outbox::{
            queue::{self, Job, Opened},
            record,
        },
    },
};
use slipway_redact::{Matcher, redacted};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Sender, slots::Slot};

/// The longest that an attempt may take, whatever its provider does.
const LONGEST: Duration = Duration::from_secs(30);
/// After this an attempt makes room for others.
const QUICK: Duration = Duration::from_secs(2);
/// How long to wait before an answer is recorded once more.
const RECORD_PAUSE: Duration = Duration::from_millis(250);
/// Messages that a channel gets without a pause, so that others get their turn.
const IN_A_ROW: usize = 20;

impl Sender {
    /// Sends what a channel has to get, one message after the other.
    pub(super) async fn serve(&self, channel: ChannelId, mut slot: Slot) {
        for _ in 0..IN_A_ROW {
            if self.stop.is_cancelled() {
                return;
            }
            match self.serve_one(channel, &mut slot).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(channel.id = channel.0, error = ?error, "sending was cut short");
                    return;
                }
            }
        }
        self.ctx.outbox.notify_one();
    }

    /// False when there was nothing to send.
    async fn serve_one(&self, channel: ChannelId, slot: &mut Slot) -> Result<bool> {
        let until = Instant::now() + queue::LEASE;
        let job = {
            let _turn = self.database.acquire().await;
            queue::take(&self.ctx, channel).await?
        };
        let Some(job) = job else {
            return Ok(false);
        };
        if self.stop.is_cancelled() {
            record::hand_back(&self.ctx, &job).await?;
            return Ok(false);
        }
        fail::point("notify.before_send");
        let verdict = self.attempt(&job, slot).await;
        fail::point("notify.after_send");
        let state = kept_at(until, &self.stop, || async {
            let _turn = self.database.acquire().await;
            record::record(&self.ctx, &job, &verdict).await
        })
        .await?;
        self.ctx.process.counters.sent(state);
        Ok(true)
    }

    async fn attempt(&self, job: &Job, slot: &mut Slot) -> Verdict {
        let Some(service) = self.ctx.providers.get(&job.provider.kind).cloned() else {
            let answer = format!("This worker has no service `{}`.", job.provider.kind);
            return Verdict::Later {
                answer,
                after: None,
            };
        };
        let opened = {
            let _turn = self.database.acquire().await;
            queue::open(&self.ctx, job).await
        };
        let opened = match opened {
            Ok(opened) => Arc::new(opened),
            Err(error) => {
                tracing::error!(channel.id = job.channel.id.0, error = ?error, "credentials");
                let answer = "The credentials could not be decrypted.".to_owned();
                return Verdict::Later {
                    answer,
                    after: None,
                };
            }
        };
        let mut notice = job.notice.clone();
        notice.url = self.url(&notice);
        let verdict = send(
            Arc::clone(&service),
            Arc::clone(&opened),
            (notice, job.row.key.clone()),
            slot,
        )
        .await;
        masked(verdict, &*service, &opened)
    }

    /// The page that shows what a message is about.
    fn url(&self, notice: &Notice) -> Option<String> {
        let base = self.ctx.settings.server.public_url.as_deref()?;
        let base = base.trim_end_matches('/');
        Some(match &notice.deployment {
            Some(facts) => format!("{base}/deployments/{}", facts.id),
            None => base.to_owned(),
        })
    }
}

/// Repeats it while the database is away, as what is not recorded is sent once more: until the lease
/// has run out, and once more when the sender stops.
async fn kept_at<T, F: Future<Output = Result<T>>>(
    until: Instant,
    stop: &CancellationToken,
    record: impl Fn() -> F,
) -> Result<T> {
    loop {
        let is_last = stop.is_cancelled() || Instant::now() >= until;
        match record().await {
            Err(error) if !is_last && (error.is_database_away() || error.is_transient()) => {
                tracing::warn!(error = ?error, "what became of a message cannot be recorded yet");
            }
            ended => return ended,
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(RECORD_PAUSE) => {}
        }
    }
}

/// In a task of its own, so that a service's own fault is an answer like any other.
async fn send(
    service: Arc<dyn Provider>,
    opened: Arc<Opened>,
    (notice, key): (Notice, String),
    slot: &mut Slot,
) -> Verdict {
    let later = |answer: &str| Verdict::Later {
        answer: answer.to_owned(),
        after: None,
    };
    let mut sending = tokio::spawn(async move {
        let parcel = Parcel {
            provider: &opened.provider,
            channel: &opened.channel,
            notice: &notice,
            key: &key,
        };
        timeout(LONGEST, service.send(parcel)).await
    });
    let sent = if let Ok(sent) = timeout(QUICK, &mut sending).await {
        sent
    } else {
        slot.slow_down();
        sending.await
    };
    match sent {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_late)) => later("There was no answer within 30 s."),
        Err(_panic) => later("Slipway's own code for this service failed; see the worker's log."),
    }
}

/// The same without anything secret that the service may have repeated.
fn masked(verdict: Verdict, service: &dyn Provider, opened: &Opened) -> Verdict {
    let mut secrets: Vec<String> = Vec::new();
    let both = [
        (service.provider_fields(), &opened.provider),
        (service.channel_fields(), &opened.channel),
    ];
    for (fields, values) in both {
        secrets.extend(secrets_of(fields, values));
    }
    let hide = |answer: String| hidden(&secrets, answer);
    match verdict {
        Verdict::Delivered { answer } => Verdict::Delivered {
            answer: hide(answer),
        },
        Verdict::Refused { answer } => Verdict::Refused {
            answer: hide(answer),
        },
        Verdict::Later { answer, after } => Verdict::Later {
            answer: hide(answer),
            after,
        },
    }
}

/// Secret values, and the parts of those that are addresses: a token is often one of them.
fn secrets_of<'a>(fields: &'a [Field], values: &'a Values) -> impl Iterator<Item = String> + 'a {
    let secret = fields.iter().filter(|field| field.secret);
    secret.flat_map(|field| {
        let value = values.get(field.name).unwrap_or_default();
        let parts = value.split(['/', '?', '&', '=']).skip(3);
        let long = parts.filter(|part| part.len() >= 8);
        std::iter::once(value)
            .chain(long)
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>()
    })
}

fn hidden(secrets: &[String], answer: String) -> String {
    match Matcher::new(secrets.iter().map(String::as_bytes)) {
        Ok(matcher) => match redacted([&Arc::new(matcher)], answer.as_bytes()) {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => answer,
        },
        // More than can be looked for; then nothing of the answer is kept.
        Err(_too_large) => "The answer is not shown: it may hold secrets.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use slipway_core::error::Error;

    use super::*;

    /// How often it is recorded when the database is away the first two times.
    async fn recorded(until: Instant, stop: &CancellationToken) -> (u32, bool) {
        let calls = AtomicU32::new(0);
        let ended = kept_at(until, stop, || async {
            if calls.fetch_add(1, Ordering::Relaxed) < 2 {
                let away = sea_orm::ConnAcquireErr::Timeout;
                Err(Error::from(sea_orm::DbErr::ConnectionAcquire(away)))
            } else {
                Ok(())
            }
        });
        let is_recorded = ended.await.is_ok();
        (calls.load(Ordering::Relaxed), is_recorded)
    }

    #[tokio::test]
    async fn answer_is_kept_while_the_database_is_away() {
        let stop = CancellationToken::new();
        let until = Instant::now() + queue::LEASE;
        assert_eq!(recorded(until, &stop).await, (3, true));
        assert_eq!(
            recorded(Instant::now(), &stop).await,
            (1, false),
            "the lease is over"
        );
        stop.cancel();
        assert_eq!(recorded(until, &stop).await, (1, false));
    }

    #[test]
    fn tokens_of_addresses_are_hidden_too() {
        let url = "https://hooks.example.com/services/T0000/abcdefgh12345678";
        let secrets = [url.to_owned(), "abcdefgh12345678".to_owned()];
        let answer = |text: &str| hidden(&secrets, text.to_owned());
        assert_eq!(
            answer("no such hook abcdefgh12345678"),
            "no such hook [REDACTED]"
        );
        assert_eq!(answer(&format!("at {url}")), "at [REDACTED]");
        assert_eq!(answer("ok"), "ok");
    }
}
