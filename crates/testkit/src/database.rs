//! An empty database for one test, gone when the test ends.
//!
//! Creates and drops; the schema is the caller's, because only `migration` knows it.

use std::{
    path::{Path, PathBuf},
    thread,
};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbErr};
use tempfile::TempDir;
use url::Url;

use crate::{MariadbServer, services};

/// How to sign in to the MySQL server, in the parts that the settings ask for.
#[derive(Clone, Debug)]
pub struct MysqlAccount {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Account.
    pub username: String,
    /// The account's password.
    pub password: String,
}

/// A database that belongs to one test.
#[derive(Debug)]
pub struct TestDatabase {
    place: Place,
    url: String,
}

#[derive(Debug)]
enum Place {
    Mysql {
        server_url: String,
        account: MysqlAccount,
        name: String,
    },
    Sqlite {
        _folder: TempDir,
        file: PathBuf,
    },
}

/// Creates a database with a name of its own on the MySQL server of this test run.
///
/// Blocks for some milliseconds, with or without a runtime around it.
///
/// # Panics
/// When the server is not there or refuses.
#[must_use]
pub fn mysql_database() -> TestDatabase {
    database_at(services::mysql_url())
}

/// The same on a server of one's own.
///
/// # Panics
/// When the server is not there or refuses.
#[must_use]
pub fn mysql_database_on(server: &MariadbServer) -> TestDatabase {
    let (user, password, port) = (MariadbServer::USER, server.password(), server.port());
    database_at(format!("mysql://{user}:{password}@127.0.0.1:{port}"))
}

fn database_at(server_url: String) -> TestDatabase {
    let mut url = Url::parse(&server_url).expect("a server has a URL");
    let account = MysqlAccount {
        host: url.host_str().unwrap_or("127.0.0.1").to_owned(),
        port: url.port().unwrap_or(3306),
        username: url.username().to_owned(),
        password: url.password().unwrap_or_default().to_owned(),
    };
    let name = unique_name();
    // The server's default compares text without case; Slipway's names and keys are exact.
    let create = format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    execute(&server_url, create).expect("the test account may create databases");
    url.set_path(&name);
    TestDatabase {
        url: url.into(),
        place: Place::Mysql {
            server_url,
            account,
            name,
        },
    }
}

/// Makes room for a SQLite database in a temporary folder.
///
/// # Panics
/// When there is no temporary folder.
#[must_use]
pub fn sqlite_database() -> TestDatabase {
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let file = folder.path().join("slipway.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    TestDatabase {
        url,
        place: Place::Sqlite {
            _folder: folder,
            file,
        },
    }
}

impl TestDatabase {
    /// Where it is, as sea-orm and sqlx write it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name, if it is on a MySQL server.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.place {
            Place::Mysql { name, .. } => Some(name),
            Place::Sqlite { .. } => None,
        }
    }

    /// How to sign in, if it is on a MySQL server.
    #[must_use]
    pub fn account(&self) -> Option<&MysqlAccount> {
        match &self.place {
            Place::Mysql { account, .. } => Some(account),
            Place::Sqlite { .. } => None,
        }
    }

    /// The file, if it is SQLite.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Mysql { .. } => None,
            Place::Sqlite { file, .. } => Some(file),
        }
    }

    /// The environment that makes a Slipway process use this database.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let pairs = match &self.place {
            Place::Mysql { account, name, .. } => vec![
                ("DIALECT", "mysql".to_owned()),
                ("HOST", account.host.clone()),
                ("PORT", account.port.to_string()),
                ("USERNAME", account.username.clone()),
                ("PASSWORD", account.password.clone()),
                ("DATABASE", name.clone()),
            ],
            Place::Sqlite { file, .. } => {
                vec![
                    ("DIALECT", "sqlite".to_owned()),
                    ("PATH", file.display().to_string()),
                ]
            }
        };
        let key = |name| format!("SLIPWAY__DATABASE__{name}");
        pairs
            .into_iter()
            .map(|(name, value)| (key(name), value))
            .collect()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Place::Mysql {
            server_url, name, ..
        } = &self.place
        {
            let dropped = execute(server_url, format!("DROP DATABASE `{name}`"));
            // A second panic would abort and hide the first.
            if !thread::panicking() {
                dropped.expect("the test's database can be dropped");
            }
        }
    }
}

fn unique_name() -> String {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    format!("slipway_test_{}", hex::encode(bytes))
}

/// Runs one statement on a thread of its own, because the caller may already be inside a runtime.
fn execute(url: &str, statement: String) -> Result<(), DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let work = async move {
        let connection = Database::connect(options).await?;
        connection.execute_unprepared(&statement).await?;
        connection.close().await
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    thread::spawn(move || runtime.block_on(work))
        .join()
        .expect("the statement's thread ends")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mysql_database_compares_bytes_and_is_dropped_at_the_end() {
        let database = mysql_database();
        let (url, name) = (
            database.url().to_owned(),
            database.name().unwrap().to_owned(),
        );
        let connection = Database::connect(&url).await.unwrap();
        for statement in [
            "CREATE TABLE t (name VARCHAR(20) PRIMARY KEY)",
            "INSERT INTO t VALUES ('p')",
            "INSERT INTO t VALUES ('P')",
        ] {
            connection.execute_unprepared(statement).await.unwrap();
        }
        connection.close().await.unwrap();
        drop(database);
        let gone = Database::connect(&url).await.unwrap_err().to_string();
        assert!(gone.contains(&name), "{gone}");
    }

    #[test]
    fn two_tests_never_share_a_mysql_database() {
        assert_ne!(mysql_database().name(), mysql_database().name());
    }

    #[tokio::test]
    async fn sqlite_database_is_a_file_that_goes_away() {
        let database = sqlite_database();
        let file = database.path().unwrap().to_owned();
        let connection = Database::connect(database.url()).await.unwrap();
        connection
            .execute_unprepared("CREATE TABLE t (id INTEGER)")
            .await
            .unwrap();
        connection.close().await.unwrap();
        assert!(file.exists());
        drop(database);
        assert!(!file.exists());
    }

    #[test]
    fn environment_names_every_part_that_the_settings_need() {
        let names = |database: &TestDatabase| -> Vec<String> {
            database
                .environment()
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        let prefixed = |parts: &[&str]| -> Vec<String> {
            parts
                .iter()
                .map(|part| format!("SLIPWAY__DATABASE__{part}"))
                .collect()
        };
        assert_eq!(names(&sqlite_database()), prefixed(&["DIALECT", "PATH"]));
        assert_eq!(
            names(&mysql_database()),
            prefixed(&[
                "DIALECT", "HOST", "PORT", "USERNAME", "PASSWORD", "DATABASE"
            ])
        );
    }
}
