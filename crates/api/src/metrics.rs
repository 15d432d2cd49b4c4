//! Numbers for Prometheus, in its text format.
//!
//! They tell names of workers and how much goes on, so they are for those who may see the queue: a
//! scraper sends the API token of an Admin or a Manager.

use std::fmt::{Display, Write as _};

use actix_web::{HttpResponse, get, web::Data};
use slipway_core::{
    ctx::Ctx,
    db,
    deployment::queue::{Summary, summary},
    notify::outbox::queue::{Backlog, backlog},
    process::{
        counters::{BOUNDS_MS, Counted},
        service::{Seen, Standing, processes},
    },
};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{auth::SignedIn, error::Problem};

/// The route `/metrics`.
pub fn routes(service: &mut ServiceConfig<'_>) {
    service.service(show);
}

/// What scrapers expect.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Numbers for Prometheus: queue, leases, recoveries, ends and start latencies.
#[utoipa::path(tag = "metrics",
    responses((status = 200, content_type = "text/plain", body = String), (status = 401),
    (status = 403)))]
#[get("/metrics")]
async fn show(ctx: Data<Ctx>, SignedIn(actor): SignedIn) -> Result<HttpResponse, Problem> {
    let summary = summary(&ctx, &actor, db::now()).await?;
    let processes = processes(&ctx, &actor).await?;
    let mut text = Text::default();
    queue(&mut text, &summary);
    leases(&mut text, &ctx, &summary);
    of_processes(&mut text, &processes);
    counted(&mut text, &processes);
    messages(&mut text, &backlog(&ctx).await?, &processes);
    Ok(HttpResponse::Ok().content_type(TEXT_FORMAT).body(text.0))
}

fn queue(text: &mut Text, summary: &Summary) {
    let depth = &summary.depth;
    text.family("slipway_queue_deployments", "gauge", "Open deployments.");
    for (state, number) in [
        ("awaiting_approval", depth.awaiting_approval),
        ("queued", depth.queued),
        ("running", depth.running),
    ] {
        text.sample("slipway_queue_deployments", &[("state", state)], number);
    }
    let oldest = summary.oldest_age().unwrap_or_default();
    text.gauge(
        "slipway_queue_oldest_waiting_seconds",
        "How long the oldest queued deployment has waited.",
        seconds(oldest.num_microseconds().unwrap_or(i64::MAX)),
    );
    text.gauge(
        "slipway_queue_backlog_limit",
        "Deployments that may wait.",
        summary.limit,
    );
    text.gauge(
        "slipway_queue_running_limit",
        "Deployments that may run at once.",
        summary.max_running,
    );
    text.gauge(
        "slipway_queue_healthy",
        "Whether this process can queue deployments.",
        u8::from(summary.is_healthy),
    );
    text.gauge("slipway_locks", "Locks that hold.", summary.locks.len());
}

fn leases(text: &mut Text, ctx: &Ctx, summary: &Summary) {
    let mut owners: Vec<&str> = summary
        .runs
        .iter()
        .filter_map(|run| run.owner.as_deref())
        .collect();
    owners.sort_unstable();
    text.family("slipway_leases", "gauge", "Deployments that a worker runs.");
    for held in owners.chunk_by(|one, next| one == next) {
        let worker = held.first().copied().unwrap_or_default();
        text.sample("slipway_leases", &[("worker", worker)], held.len());
    }
    let lease = ctx.settings.queue.lease();
    let oldest = summary.runs.iter().map(|run| run.age(lease)).max();
    let oldest = oldest.and_then(|age| age.num_microseconds());
    text.gauge(
        "slipway_lease_oldest_age_seconds",
        "Time since the renewal that is longest ago.",
        seconds(oldest.unwrap_or_default()),
    );
}

fn of_processes(text: &mut Text, processes: &[Seen]) {
    text.family(
        "slipway_process_up",
        "gauge",
        "1 while the process is heard of, also while it drains.",
    );
    for seen in processes {
        let row = &seen.row;
        let labels = [
            ("process", row.name.as_str()),
            ("kind", row.kind.as_str()),
            ("host", row.host.as_str()),
            ("version", row.version.as_str()),
        ];
        let is_up = seen.standing != Standing::Lost;
        text.sample("slipway_process_up", &labels, u8::from(is_up));
    }
    text.family(
        "slipway_worker_concurrency",
        "gauge",
        "Deployments that a worker runs at once.",
    );
    for seen in processes.iter().filter(|seen| seen.row.concurrency > 0) {
        let labels = [("process", seen.row.name.as_str())];
        text.sample("slipway_worker_concurrency", &labels, seen.row.concurrency);
    }
}

fn counted(text: &mut Text, processes: &[Seen]) {
    text.family(
        "slipway_recoveries_total",
        "counter",
        "What recovery did, by cause.",
    );
    for seen in processes {
        for (cause, number) in &seen.counted.recoveries {
            let labels = [("process", seen.row.name.as_str()), ("cause", cause)];
            text.sample("slipway_recoveries_total", &labels, number);
        }
    }
    text.family(
        "slipway_deployments_ended_total",
        "counter",
        "Deployments that came to an end, by status.",
    );
    for seen in processes {
        for (status, number) in &seen.counted.ended {
            let labels = [("process", seen.row.name.as_str()), ("status", status)];
            text.sample("slipway_deployments_ended_total", &labels, number);
        }
    }
    text.family(
        "slipway_start_latency_seconds",
        "histogram",
        "From acceptance to the first start.",
    );
    for seen in processes {
        latency(text, &seen.row.name, &seen.counted);
    }
}

fn messages(text: &mut Text, backlog: &Backlog, processes: &[Seen]) {
    text.family(
        "slipway_notifications_sent_total",
        "counter",
        "Attempts to send a message, by outcome.",
    );
    for seen in processes {
        for (outcome, number) in &seen.counted.sent {
            let labels = [("process", seen.row.name.as_str()), ("outcome", outcome)];
            text.sample("slipway_notifications_sent_total", &labels, number);
        }
    }
    text.gauge(
        "slipway_notifications_pending",
        "Messages that are not delivered yet.",
        backlog.waiting,
    );
    text.gauge(
        "slipway_notifications_oldest_pending_seconds",
        "How long the oldest of them has waited.",
        seconds(i64::try_from(backlog.oldest_us).unwrap_or(i64::MAX)),
    );
    text.gauge(
        "slipway_notifications_circuits_open",
        "Providers with which nothing is sent for a while, as everything failed lately.",
        backlog.circuits_open,
    );
}

fn latency(text: &mut Text, process: &str, counted: &Counted) {
    let mut below = 0;
    let bounds = BOUNDS_MS.iter().map(|ms| (*ms as f64 / 1000.0).to_string());
    let bounds = bounds.chain(std::iter::once("+Inf".to_owned()));
    for (bound, number) in bounds.zip(&counted.started) {
        below += number;
        let labels = [("process", process), ("le", bound.as_str())];
        text.sample("slipway_start_latency_seconds_bucket", &labels, below);
    }
    let labels = [("process", process)];
    let sum = seconds(i64::try_from(counted.started_us).unwrap_or(i64::MAX));
    text.sample("slipway_start_latency_seconds_sum", &labels, sum);
    text.sample("slipway_start_latency_seconds_count", &labels, below);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody reads microseconds of a span of centuries"
)]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}

/// Text in the format, written family by family.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.0, "{line}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_counts_what_is_below_each_bound() {
        let mut started = vec![0; BOUNDS_MS.len() + 1];
        started[0] = 2;
        started[2] = 1;
        started[BOUNDS_MS.len()] = 4;
        let counted = Counted {
            started,
            started_us: 1_500_000,
            ..Counted::default()
        };
        let mut text = Text::default();
        latency(&mut text, "a", &counted);
        let name = "slipway_start_latency_seconds";
        for line in [
            format!("{name}_bucket{{process=\"a\",le=\"0.005\"}} 2"),
            format!("{name}_bucket{{process=\"a\",le=\"0.025\"}} 3"),
            format!("{name}_bucket{{process=\"a\",le=\"600\"}} 3"),
            format!("{name}_bucket{{process=\"a\",le=\"+Inf\"}} 7"),
            format!("{name}_sum{{process=\"a\"}} 1.5"),
            format!("{name}_count{{process=\"a\"}} 7"),
        ] {
            assert!(text.0.lines().any(|it| it == line), "{line}\n{}", text.0);
        }
    }

    #[test]
    fn labels_cannot_break_out_of_their_line() {
        let mut text = Text::default();
        text.sample("x", &[("a", "q\"\\\nslipway_queue_healthy 0")], 1);
        assert_eq!(text.0, "x{a=\"q\\\"\\\\\\nslipway_queue_healthy 0\"} 1\n");
    }
}
