//! Statements that are known beforehand, what is expected of them, and their text.

use sea_orm::{
    ConnectionTrait, DbErr, QueryResult, Statement, Value,
    sea_query::{MysqlQueryBuilder, QueryBuilder as _},
};

use super::own::Text;

/// `ER_SUBQUERY_NO_1_ROW`, the error of [`expectation`].
const UNMET: u16 = 1242;

/// A statement for MySQL that fails, with an error of its own kind, unless the one before it changed
/// exactly so many rows: then nothing of what follows is carried out.
pub(super) fn expectation(rows: u64) -> String {
    format!("SELECT IF(ROW_COUNT() = {rows}, 1, (SELECT 1 UNION ALL SELECT 2))")
}

/// Statements that are sent together.
#[derive(Clone, Debug, Default)]
pub struct Bundle(Vec<Part>);

#[derive(Clone, Debug)]
struct Part {
    statement: Statement,
    answers: Answers,
}

#[derive(Clone, Copy, Debug)]
enum Answers {
    Rows,
    Changes,
    /// Everything is undone unless it changes so many rows.
    Exactly(u64),
}

/// What one statement of a bundle answered.
#[derive(Debug, Default)]
pub struct Done {
    /// The rows that were read.
    pub rows: Vec<QueryResult>,
    /// How many rows were changed.
    pub changed: u64,
}

impl Bundle {
    /// Reads rows.
    #[must_use]
    pub fn read(self, statement: Statement) -> Self {
        self.with(statement, Answers::Rows)
    }

    /// Changes any number of rows.
    #[must_use]
    pub fn write(self, statement: Statement) -> Self {
        self.with(statement, Answers::Changes)
    }

    /// Changes exactly so many rows, or everything is undone.
    #[must_use]
    pub fn write_exactly(self, rows: u64, statement: Statement) -> Self {
        self.with(statement, Answers::Exactly(rows))
    }

    fn with(mut self, statement: Statement, answers: Answers) -> Self {
        self.0.push(Part { statement, answers });
        self
    }

    /// The whole as MySQL takes it.
    pub(super) fn text(&self, before: &[&str], after: &[&str]) -> Text {
        let mut text = Text::default();
        before.iter().for_each(|sql| text.add(sql, false));
        for Part { statement, answers } in &self.0 {
            text.add(&literal(statement), true);
            if let Answers::Exactly(rows) = answers {
                text.add(&expectation(*rows), false);
            }
        }
        after.iter().for_each(|sql| text.add(sql, false));
        text
    }

    /// The same over a transaction; nothing when an expectation was not met.
    pub(super) async fn one_by_one(
        &self,
        tx: &impl ConnectionTrait,
    ) -> Result<Option<Vec<Done>>, DbErr> {
        let mut done = Vec::with_capacity(self.0.len());
        for Part { statement, answers } in &self.0 {
            let mut answer = Done::default();
            if matches!(answers, Answers::Rows) {
                answer.rows = tx.query_all_raw(statement.clone()).await?;
            } else {
                answer.changed = tx.execute_raw(statement.clone()).await?.rows_affected();
            }
            if let Answers::Exactly(rows) = answers
                && answer.changed != *rows
            {
                return Ok(None);
            }
            done.push(answer);
        }
        Ok(Some(done))
    }
}

/// Whether this says that an expectation was not met.
pub(super) fn is_unmet(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    let error = error.and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>());
    error.is_some_and(|error| error.number() == UNMET)
}

/// The statement with its values in it.
pub(in crate::db) fn literal(statement: &Statement) -> String {
    let values = statement
        .values
        .as_ref()
        .map_or(&[][..], |values| &values.0);
    let mut values = values.iter();
    let mut sql = String::with_capacity(statement.sql.len() + 24 * values.len());
    let mut quotation = None;
    for character in statement.sql.chars() {
        match (quotation, character) {
            (None, '?') => match values.next() {
                Some(value) => write_value(value, &mut sql),
                None => sql.push('?'),
            },
            (None, '\'' | '`' | '"') => {
                quotation = Some(character);
                sql.push(character);
            }
            _ => {
                quotation = quotation.filter(|quote| *quote != character);
                sql.push(character);
            }
        }
    }
    sql
}

fn write_value(value: &Value, sql: &mut String) {
    if let Value::String(Some(text)) = value {
        if text.bytes().all(is_harmless) {
            sql.extend(["'", text, "'"]);
        } else {
            sql.extend(["_utf8mb4 X'", &hex::encode(text.as_bytes()), "'"]);
        }
    } else if let Value::ChronoDateTimeUtc(moment) = value {
        // MySQL knows a moment with an offset only in later versions; ours are all in UTC.
        let moment = Value::ChronoDateTime(moment.map(|moment| moment.naive_utc()));
        sql.push_str(&MysqlQueryBuilder.value_to_string(&moment));
    } else {
        sql.push_str(&MysqlQueryBuilder.value_to_string(value));
    }
}

/// Means itself in a literal, however the server reads escapes.
fn is_harmless(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'\'' | b'\\')
}
