//! Stored output: numbered lines, many to a row.
//!
//! A row's body holds one line of text for each line of output: a letter for where it came from,
//! the microseconds since the row's own time, a space, and the text.

use std::fmt::Write as _;

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Statement, Value,
};

use crate::{
    db::{self, Bundle, Db, padded},
    deployment::{
        entity::log_chunk::{ActiveModel, Column, Entity, Model},
        line::{LogLine, Source},
        status::Status,
    },
    error::Result,
    id::{DeploymentId, StepId},
};

/// Chunks that one statement stores: its text is about so long, and MySQL takes no longer one than
/// 16 MiB unless it is told to.
pub(super) const TOGETHER_BYTES_MAX: usize = 1024 * 1024;

/// Lines that belong together: one run, one step, consecutive numbers.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The run that wrote them.
    pub fence: i64,
    /// The step that wrote them; none for the run itself.
    pub step: Option<StepId>,
    /// The first line's number.
    pub first: i64,
    /// When the first line came, in microseconds since 1970.
    pub written_at: i64,
    count: i64,
    body: String,
}

impl Chunk {
    /// A chunk without lines.
    #[must_use]
    pub fn new(
        deployment: DeploymentId,
        fence: i64,
        step: Option<StepId>,
        first: i64,
        written_at: i64,
    ) -> Self {
        Self {
            deployment,
            fence,
            step,
            first,
            written_at,
            count: 0,
            body: String::new(),
        }
    }

    /// Adds a line. Line breaks inside it would shift every later line, so they become spaces.
    pub fn push(&mut self, source: Source, at: i64, text: &str) {
        let delta = (at - self.written_at).max(0);
        // Writing to a String cannot fail.
        let _infallible = write!(self.body, "{}{delta} ", source.letter());
        if text.contains(['\n', '\r']) {
            self.body.push_str(&text.replace(['\n', '\r'], " "));
        } else {
            self.body.push_str(text);
        }
        self.body.push('\n');
        self.count += 1;
    }

    /// How many lines it holds.
    #[must_use]
    pub fn lines(&self) -> i64 {
        self.count
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.body.len()
    }

    /// The last line's number.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.first + self.count - 1
    }
}

/// Stores chunks of different runs, each only while its run is the current one; in order, false
/// for a run that was replaced.
pub async fn append_all(db: &Db, chunks: Vec<Chunk>) -> Vec<Result<bool>> {
    db::all_or_each(
        (chunks, 2),
        |chunks| async move {
            if chunks.iter().map(Chunk::size_bytes).sum::<usize>() > TOGETHER_BYTES_MAX {
                return Ok(None);
            }
            let stored = insertion(db.backend(), &chunks);
            let bundle = Bundle::default().write_exactly(chunks.len() as u64, stored);
            Ok(db.at_once(&bundle).await?.map(|_| vec![true; chunks.len()]))
        },
        |chunk| async move { append(db.writer(), &chunk).await },
    )
    .await
}

/// Stores a chunk, but only while its run is the current one: in one statement, so that a run that
/// was replaced cannot mix its lines into its successor's. False when it was replaced.
///
/// # Errors
/// When the database fails.
pub async fn append(conn: &impl ConnectionTrait, chunk: &Chunk) -> Result<bool> {
    if chunk.count == 0 {
        return Ok(true);
    }
    let stored = insertion(conn.get_database_backend(), std::slice::from_ref(chunk));
    Ok(conn.execute_raw(stored).await?.rows_affected() == 1)
}

/// The statement that stores chunks, each only while its run is the current one.
pub(super) fn insertion(backend: DbBackend, chunks: &[Chunk]) -> Statement {
    // Without the lock MySQL would judge by what was committed before it waited for the row.
    let lock = if backend == DbBackend::MySql {
        " LOCK IN SHARE MODE"
    } else {
        ""
    };
    let row = format!(
        "SELECT id, ?, ?, fence, ?, ?, ? FROM deployments \
         WHERE id = ? AND fence = ? AND status = ?{lock}"
    );
    let length = chunks.len().next_power_of_two();
    // MySQL takes a lock in a part of a union only between brackets, which SQLite does not take.
    let row = if backend == DbBackend::MySql && length > 1 {
        format!("({row})")
    } else {
        row
    };
    let sql = format!(
        "INSERT INTO log_chunks \
         (deployment_id, last_line, first_line, fence, step_id, written_at, body) {}",
        vec![row; length].join(" UNION ALL ")
    );
    let mut values: Vec<Value> = chunks
        .iter()
        .flat_map(|chunk| places(chunk, chunk.deployment))
        .collect();
    let nowhere = Chunk::new(DeploymentId(0), 0, None, 0, 0);
    for _ in chunks.len()..length {
        // No deployment has this id, so nothing is stored for it.
        values.extend(places(&nowhere, DeploymentId(0)));
    }
    Statement::from_sql_and_values(backend, sql, values)
}

/// The statement that stores chunks whose runs were proven current in the same transaction.
pub(super) fn proven(backend: DbBackend, chunks: &[Chunk]) -> Statement {
    let rows = chunks.iter().map(|chunk| ActiveModel {
        deployment_id: Set(chunk.deployment),
        last_line: Set(chunk.last()),
        first_line: Set(chunk.first),
        fence: Set(chunk.fence),
        step_id: Set(chunk.step),
        written_at: Set(chunk.written_at),
        body: Set(chunk.body.clone()),
        ..ActiveModel::default()
    });
    Entity::insert_many(rows).build(backend)
}

fn places(chunk: &Chunk, deployment: DeploymentId) -> [Value; 8] {
    [
        chunk.last().into(),
        chunk.first.into(),
        chunk.step.into(),
        chunk.written_at.into(),
        chunk.body.as_str().into(),
        deployment.into(),
        chunk.fence.into(),
        Status::Running.as_str().into(),
    ]
}

/// The number of the newest stored line of each of these deployments that has one.
///
/// # Errors
/// When the database fails.
pub async fn last_lines(
    conn: &impl ConnectionTrait,
    deployments: &[DeploymentId],
) -> Result<Vec<(DeploymentId, i64)>> {
    Ok(Entity::find()
        .select_only()
        .column(Column::DeploymentId)
        .column_as(Column::LastLine.max(), "last_line")
        .filter(Column::DeploymentId.is_in(padded(deployments.to_vec())))
        .group_by(Column::DeploymentId)
        .into_tuple()
        .all(conn)
        .await?)
}

/// The number of the newest stored line; 0 when there is none.
///
/// # Errors
/// When the database fails.
pub async fn last_line(conn: &impl ConnectionTrait, deployment: DeploymentId) -> Result<i64> {
    let last: Option<i64> = Entity::find()
        .select_only()
        .column(Column::LastLine)
        .filter(Column::DeploymentId.eq(deployment))
        .order_by_desc(Column::LastLine)
        .limit(1)
        .into_tuple()
        .one(conn)
        .await?;
    Ok(last.unwrap_or_default())
}

/// Lines after a number, in order: whole rows, so as many as `chunks` rows hold, and nothing when
/// there are no more.
///
/// # Errors
/// When the database fails.
pub async fn read_after(
    conn: &impl ConnectionTrait,
    deployment: DeploymentId,
    after: i64,
    chunks: u64,
) -> Result<Vec<LogLine>> {
    let rows = Entity::find()
        .filter(Column::DeploymentId.eq(deployment))
        .filter(Column::LastLine.gt(after))
        .order_by_asc(Column::LastLine)
        .limit(chunks)
        .all(conn)
        .await?;
    Ok(rows
        .iter()
        .flat_map(lines)
        .filter(|line| line.number > after)
        .collect())
}

/// The lines of a row.
pub(crate) fn lines(row: &Model) -> impl Iterator<Item = LogLine> + '_ {
    row.body
        .lines()
        .zip(row.first_line..)
        .map(|(stored, number)| {
            let (head, text) = stored.split_once(' ').unwrap_or((stored, ""));
            let mut head = head.chars();
            let source = head
                .next()
                .and_then(Source::from_letter)
                .unwrap_or(Source::Output);
            let delta: i64 = head.as_str().parse().unwrap_or_default();
            LogLine {
                number,
                step: row.step_id,
                source,
                at: row.written_at + delta,
                text: text.to_owned(),
            }
        })
}
