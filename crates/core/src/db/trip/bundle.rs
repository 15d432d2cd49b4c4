//! Statements that are known beforehand, what is expected of them, and their text.

use sea_orm::{
    ConnectionTrait, DbErr, QueryResult, Statement, Value,
    sea_query::{MysqlQueryBuilder, QueryBuilder as _},
};

use super::own::Text;

/// `ER_SUBQUERY_NO_1_ROW`, which says that an expectation was not met.
const UNMET: u16 = 1242;
/// A value that cannot be computed, with that error.
const UNLESS: &str = "(SELECT 1 UNION ALL SELECT 2)";

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
    Nothing,
    /// Everything is undone unless it changes so many rows.
    Exactly(u64),
}

/// What a question of a bundle was answered.
#[derive(Debug, Default)]
pub struct Done {
    /// The rows that were read.
    pub rows: Vec<QueryResult>,
}

/// Where in its transaction a bundle stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// It begins with it.
    pub(super) begins: bool,
    /// It ends with it.
    pub(super) ends: bool,
}

impl Bundle {
    /// Reads rows.
    #[must_use]
    pub fn read(self, statement: Statement) -> Self {
        self.with(statement, Answers::Rows)
    }

    /// Changes any number of rows; nobody learns how many.
    #[must_use]
    pub fn write(self, statement: Statement) -> Self {
        self.with(statement, Answers::Nothing)
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

    /// The whole as MySQL takes it, which answers each statement with a packet of its own.
    pub(super) fn text(&self, span: Span) -> Text {
        let mut text = Text::default();
        if span.begins {
            text.add("BEGIN", false);
        }
        for Part { statement, answers } in &self.0 {
            text.add(&literal(statement), matches!(answers, Answers::Rows));
            if let Answers::Exactly(rows) = answers {
                let expectation = format!("SELECT IF(ROW_COUNT() = {rows}, 1, {UNLESS})");
                text.add(&expectation, false);
            }
        }
        if span.ends {
            text.add("COMMIT", false);
        }
        text
    }

    /// The whole as one statement, which `MariaDB` answers with nothing but what was read: fewer
    /// packets to send and to wake up for.
    pub(super) fn compound(&self, span: Span) -> Text {
        let mut sql = String::from("BEGIN NOT ATOMIC ");
        if span.begins {
            sql.push_str("START TRANSACTION;");
        }
        let mut answers = Vec::new();
        for part in &self.0 {
            sql.push_str(&literal(&part.statement));
            sql.push(';');
            match part.answers {
                Answers::Rows => answers.push(true),
                Answers::Nothing => {}
                Answers::Exactly(rows) => sql.extend([
                    "IF ROW_COUNT()<>",
                    &rows.to_string(),
                    " THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO=",
                    &UNMET.to_string(),
                    ";END IF;",
                ]),
            }
        }
        sql.push_str(if span.ends { "COMMIT;END" } else { "END" });
        answers.push(false);
        Text::new(sql, answers)
    }

    /// The same over a transaction; nothing when an expectation was not met.
    pub(super) async fn one_by_one(
        &self,
        tx: &impl ConnectionTrait,
    ) -> Result<Option<Vec<Done>>, DbErr> {
        let mut done = Vec::new();
        for Part { statement, answers } in &self.0 {
            if matches!(answers, Answers::Rows) {
                let rows = tx.query_all_raw(statement.clone()).await?;
                done.push(Done { rows });
                continue;
            }
            let changed = tx.execute_raw(statement.clone()).await?.rows_affected();
            if let Answers::Exactly(rows) = answers
                && changed != *rows
            {
                return Ok(None);
            }
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
