//! The end of a deployment's log, ready to be shown.

use chrono::DateTime;
use slipway_core::{
    ctx::Ctx,
    deployment::{
        self,
        line::{LogLine, Source},
        store,
    },
    error::Result,
    id::DeploymentId,
};

use super::{
    ansi::{Span, spans},
    visitor::Visitor,
};
use crate::json::log::StepNames;

/// Most lines that a page shows; the download has them all.
const LINES_MAX: i64 = 2000;

/// The last lines of a log.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) lines: Vec<Line>,
    /// Lines before the first one shown.
    pub(super) earlier: i64,
    /// The number to go on after.
    pub(super) last: i64,
    /// The step whose heading was shown last.
    pub(super) step: String,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: i64,
    pub(super) time: String,
    /// The step that begins to write here.
    pub(super) heading: Option<String>,
    pub(super) is_ours: bool,
    pub(super) spans: Vec<Span>,
}

/// Reads the last lines.
pub(super) async fn read(ctx: &Ctx, visitor: &Visitor, id: DeploymentId) -> Result<Output> {
    let end = store::log::last_line(ctx.db.reader(), id).await?;
    let earlier = (end - LINES_MAX).max(0);
    let mut output = Output {
        lines: Vec::new(),
        earlier,
        last: earlier,
        step: String::new(),
    };
    // Read after `end`, so that every line up to there has its step's name.
    let steps = store::step::list(ctx.db.reader(), id).await?;
    let names = steps.into_iter().map(|step| (step.id, step.name)).collect();
    // Lines that come while this reads arrive as live events; `end` keeps it from chasing them.
    while output.last < end {
        let lines = deployment::service::log(ctx, &visitor.actor, id, output.last).await?;
        if lines.is_empty() {
            break;
        }
        for line in lines {
            output.push(&line, &names);
        }
    }
    Ok(output)
}

impl Output {
    fn push(&mut self, line: &LogLine, names: &StepNames) {
        let step = line.step.and_then(|id| names.get(&id));
        let heading = step.filter(|name| **name != self.step).cloned();
        if let Some(name) = &heading {
            self.step.clone_from(name);
        }
        self.last = line.number;
        let time = DateTime::from_timestamp_micros(line.at);
        self.lines.push(Line {
            number: line.number,
            time: time.map_or_else(String::new, |at| at.format("%H:%M:%S UTC").to_string()),
            heading,
            is_ours: line.source == Source::Slipway,
            spans: spans(&line.text),
        });
    }
}
