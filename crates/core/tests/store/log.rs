//! Stored output: every line once, in order, and nothing from a run that was replaced.

use slipway_core::{
    deployment::{
        entity::deployment::Model,
        line::{LogLine, Source},
        run::RunEnd,
        store::log::{Chunk, append, last_line, read_after},
    },
    id::{DeploymentId, StepId},
};

use crate::rig::Rig;

on_both! {
    fifty_thousand_lines_come_back_in_order,
    every_text_comes_back_as_one_line,
    a_run_that_was_replaced_writes_no_line,
    numbers_go_on_over_attempts,
    paging_gives_each_line_once_wherever_it_begins,
    a_line_keeps_its_time_step_and_source,
    an_empty_chunk_is_no_row,
}

async fn running(rig: &Rig) -> Model {
    let site = rig.site("web").await;
    let id = rig.deploy(&site).await;
    rig.claim(id).await
}

fn chunk(row: &Model, first: i64, texts: &[&str]) -> Chunk {
    let mut chunk = Chunk::new(row.id, row.fence, None, first, 1_000_000);
    for text in texts {
        chunk.push(Source::Output, 1_000_000, text);
    }
    chunk
}

async fn write(rig: &Rig, row: &Model, texts: &[&str]) -> bool {
    let first = last_line(rig.ctx.db.writer(), row.id).await.unwrap() + 1;
    append(rig.ctx.db.writer(), &chunk(row, first, texts))
        .await
        .unwrap()
}

/// All lines after a number, some rows at a time as a follower reads them.
async fn read(rig: &Rig, id: DeploymentId, after: i64, rows: u64) -> Vec<LogLine> {
    let mut lines: Vec<LogLine> = Vec::new();
    loop {
        let last = lines.last().map_or(after, |line| line.number);
        let more = read_after(rig.ctx.db.reader(), id, last, rows)
            .await
            .unwrap();
        if more.is_empty() {
            return lines;
        }
        lines.extend(more);
    }
}

async fn fifty_thousand_lines_come_back_in_order(rig: Rig) {
    let row = running(&rig).await;
    let texts: Vec<String> = (1..=50_000)
        .map(|number| format!("line {number}"))
        .collect();
    let mut first = 1;
    for some in texts.chunks(4_000) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        let chunk = chunk(&row, first, &some);
        assert!(append(rig.ctx.db.writer(), &chunk).await.unwrap());
        first = chunk.last() + 1;
    }
    assert_eq!(
        last_line(rig.ctx.db.reader(), row.id).await.unwrap(),
        50_000
    );
    let lines = read(&rig, row.id, 0, 4).await;
    assert_eq!(lines.len(), 50_000);
    for (line, (number, text)) in lines.iter().zip((1..).zip(&texts)) {
        assert_eq!((line.number, &line.text), (number, text));
    }
}

async fn every_text_comes_back_as_one_line(rig: Rig) {
    let row = running(&rig).await;
    let texts = [
        ("plain", "plain"),
        ("", ""),
        (" leading and trailing ", " leading and trailing "),
        ("two\nlines", "two lines"),
        ("windows\r\n", "windows  "),
        ("progress 10%\rprogress 20%", "progress 10% progress 20%"),
        (
            "\u{2028}separators\u{85}stay\u{b}\u{c}",
            "\u{2028}separators\u{85}stay\u{b}\u{c}",
        ),
        ("Zoë 部署 🚀", "Zoë 部署 🚀"),
        ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
        ("nul\0byte", "nul\0byte"),
        ("o12 looks like a head", "o12 looks like a head"),
    ];
    let given: Vec<&str> = texts.iter().map(|(given, _)| *given).collect();
    assert!(write(&rig, &row, &given).await);
    let lines = read(&rig, row.id, 0, 4).await;
    let stored: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(stored, texts.map(|(_, stored)| stored));
}

async fn a_run_that_was_replaced_writes_no_line(rig: Rig) {
    let old = running(&rig).await;
    assert!(write(&rig, &old, &["first run"]).await);
    rig.finish(&old, RunEnd::HandedBack).await;
    assert!(!write(&rig, &old, &["nobody's run"]).await);
    let new = rig.claim(old.id).await;
    assert!(!write(&rig, &old, &["first run, late"]).await);
    assert!(write(&rig, &new, &["second run"]).await);
    rig.finish(&new, RunEnd::Succeeded).await;
    assert!(!write(&rig, &new, &["after the end"]).await);
    let lines = read(&rig, old.id, 0, 4).await;
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["first run", "second run"]);
}

async fn numbers_go_on_over_attempts(rig: Rig) {
    let row = running(&rig).await;
    write(&rig, &row, &["1", "2", "3"]).await;
    rig.finish(&row, RunEnd::HandedBack).await;
    let row = rig.claim(row.id).await;
    assert_eq!(last_line(rig.ctx.db.writer(), row.id).await.unwrap(), 3);
    write(&rig, &row, &["4", "5"]).await;
    let lines = read(&rig, row.id, 0, 4).await;
    assert!(
        lines
            .iter()
            .all(|line| line.number.to_string() == line.text)
    );
    assert_eq!(lines.len(), 5);
}

async fn paging_gives_each_line_once_wherever_it_begins(rig: Rig) {
    let row = running(&rig).await;
    for lines in [1, 4, 2, 7, 1, 5] {
        write(&rig, &row, &vec!["x"; lines]).await;
    }
    for after in 0..=21 {
        for rows in 1..=3 {
            let numbers: Vec<i64> = read(&rig, row.id, after, rows)
                .await
                .iter()
                .map(|line| line.number)
                .collect();
            assert_eq!(
                numbers,
                (after + 1..=20).collect::<Vec<_>>(),
                "after {after}"
            );
        }
    }
    let other = read(&rig, DeploymentId(row.id.0 + 1), 0, 4).await;
    assert!(other.is_empty());
}

async fn a_line_keeps_its_time_step_and_source(rig: Rig) {
    let row = running(&rig).await;
    let mut chunk = Chunk::new(row.id, row.fence, Some(StepId(42)), 1, 5_000_000);
    chunk.push(Source::Slipway, 5_000_000, "begins");
    chunk.push(Source::Output, 5_250_007, "later");
    // A clock that was set back never makes a line older than its chunk.
    chunk.push(Source::Output, 4_000_000, "earlier");
    assert!(append(rig.ctx.db.writer(), &chunk).await.unwrap());
    let lines = read(&rig, row.id, 0, 4).await;
    let kept: Vec<_> = lines
        .iter()
        .map(|line| (line.source, line.at, line.step))
        .collect();
    let step = Some(StepId(42));
    assert_eq!(
        kept,
        [
            (Source::Slipway, 5_000_000, step),
            (Source::Output, 5_250_007, step),
            (Source::Output, 5_000_000, step),
        ]
    );
}

async fn an_empty_chunk_is_no_row(rig: Rig) {
    let row = running(&rig).await;
    assert!(write(&rig, &row, &[]).await);
    assert_eq!(last_line(rig.ctx.db.reader(), row.id).await.unwrap(), 0);
}
