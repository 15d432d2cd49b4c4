//! Values that must not be anywhere, through everything that an installation does; then every place
//! that keeps something is searched: the database, Redis with each command that it ever got, logs,
//! folders, answers, pages, and the process table while a step has the values.

use std::{fs, path::Path, process::Output};

use serde_json::{Value, json};
use slipway_testkit::{Canaries, Program, RedisServer, RunningProgram, eventually};

use crate::rig::{Api, Client, DEADLINE, Installation, Redis};

/// Prints its secrets in the ways in which programs do, one that it makes itself among them.
const TELLTALE: &str = r#"
made=$(cat "$PLACE/made" | tr a-z n-za-m)
printf '%s\n' "$made" > "$SLIPWAY_MASK"
set -x
echo "value: $CANARY $FOR_TARGET $made" >&2
printf '%s' "$CANARY" | base64
printf 'x%s' "$CANARY$made" | base64 -w 64
printf 'a rather long beginning, xy%s' "$FOR_TARGET" | base64 -w 40
printf '%s' "$CANARY" | od -An -v -tx1 | tr -d ' \n'; echo
printf '{"outer": "{\\"inner\\": \\"%s\\"}"}\n' "$CANARY"
printf '%s\033[1;31m%s\033[0m\n' "${CANARY%????????}" "${CANARY#"${CANARY%????????}"}"
printf '%s' "${CANARY%?????}"; sleep 0.7; printf '%s\n' "${CANARY#"${CANARY%?????}"}"
touch "$PLACE/begun"
while [ ! -e "$PLACE/go" ] && [ -e "$PLACE" ]; do sleep 0.05; done
exit 3
"#;

/// What nobody else has.
struct Values {
    secret: String,
    for_target: String,
    made: String,
    password: String,
    key: String,
    session_secret: String,
    database_password: String,
}

impl Values {
    fn random(database_password: &str) -> Self {
        let random = |what: &str| format!("{what}-{}", letters(20));
        Self {
            secret: random("canary+/secret"),
            for_target: random("canary=target"),
            made: random("canary-made"),
            password: random("canary-password"),
            key: hex(64),
            session_secret: hex(64),
            database_password: database_password.to_owned(),
        }
    }

    fn canaries(&self) -> Canaries {
        let mut canaries = Canaries::default();
        for (name, value) in [
            ("the secret", self.secret.as_str()),
            ("the target's secret", &self.for_target),
            ("the value made by a step", &self.made),
            ("the Admin's password", &self.password),
            ("the encryption key", &self.key),
            ("the session secret", &self.session_secret),
            ("the database's password", &self.database_password),
        ] {
            canaries.add(name, value);
        }
        canaries
    }
}

fn hex(length: usize) -> String {
    let command = format!(
        "od -An -v -N{} -tx1 /dev/urandom | tr -d ' \\n'",
        length / 2
    );
    let output = Program::new("sh").args(["-c", &command]).run();
    String::from_utf8(output.stdout).unwrap()
}

fn letters(length: usize) -> String {
    let digits = hex(length).into_bytes();
    let letters = digits
        .into_iter()
        .map(|digit| char::from(digit % 26 + b'a'));
    letters.collect()
}

fn rotated(text: &str) -> String {
    let rotate = |c: char| match c {
        'a'..='m' => char::from(c as u8 + 13),
        'n'..='z' => char::from(c as u8 - 13),
        c => c,
    };
    text.chars().map(rotate).collect()
}

/// An installation whose keys and passwords are files, as systemd gives them; its Admin is there.
fn prepared(installation: Installation, values: &Values, keys: &Path) -> Installation {
    for (name, value) in [
        ("key", &values.key),
        ("session", &values.session_secret),
        ("database", &values.database_password),
    ] {
        fs::write(keys.join(name), format!("{value}\n")).unwrap();
    }
    let file = |name: &str| keys.join(name).display().to_string();
    fs::create_dir(installation.path("tmp")).unwrap();
    fs::write(installation.path("made"), rotated(&values.made)).unwrap();
    let tmp = installation.path("tmp").display().to_string();
    let installation = installation
        .set("SLIPWAY__DATABASE__PASSWORD_FILE", file("database"))
        .set("SLIPWAY__SECURITY__ENCRYPTION_KEY_FILE", file("key"))
        .set("SLIPWAY__SECURITY__SESSION_SECRET_FILE", file("session"))
        .set("DB_PASSWORD", "")
        .set("ENCRYPTION_KEY", "")
        .set("SESSION_SECRET", "")
        .set("SLIPWAY__QUEUE__RETRY_ATTEMPTS", "1")
        .set("SLIPWAY__LOGGING__LEVEL", "debug")
        .set("SLIPWAY_ADMIN_PASSWORD", &values.password)
        .set("TMPDIR", tmp);
    installation.migrate();
    end(installation.start_api().program);
    installation.without("SLIPWAY_ADMIN_PASSWORD")
}

async fn set_up(client: &Client, installation: &Installation, values: &Values) {
    client
        .create_project("shop", &installation.pipeline(TELLTALE))
        .await;
    client
        .create_target("shop", "web", &installation.path("web"))
        .await;
    let secrets = "/api/v1/projects/shop/secrets";
    let put = |name: &str, body| {
        let path = format!("{secrets}/{name}");
        async move { client.put(&path, &body).await }
    };
    put("CANARY", json!({ "value": "the value before" }))
        .await
        .expect(204);
    put("CANARY", json!({ "value": values.secret }))
        .await
        .expect(204);
    let body = json!({ "value": values.for_target, "target": "web" });
    put("FOR_TARGET", body).await.expect(204);
    // What is refused is in no answer and no log either.
    for refused in [
        json!({ "value": values.secret, "target": "nowhere" }),
        json!({ "value": { "nested": values.secret } }),
        json!({ "valeu": values.secret }),
    ] {
        let answer = put("REFUSED", refused).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert!(!answer.text.contains(&values.secret), "{answer:?}");
    }
    let short = put("SHORT", json!({ "value": " abc " })).await.expect(422);
    assert!(short.text.contains("at least 4 bytes"), "{}", short.text);
}

/// Everything that people can read about it.
async fn search_answers(canaries: &mut Canaries, client: &Client, id: i64) {
    for path in [
        "/api/v1/projects".to_owned(),
        "/api/v1/projects/shop".to_owned(),
        "/api/v1/projects/shop/secrets".to_owned(),
        "/api/v1/projects/shop/pipeline".to_owned(),
        "/api/v1/audit".to_owned(),
        "/api/v1/queue".to_owned(),
        "/api/v1/users".to_owned(),
        format!("/api/v1/deployments/{id}"),
        format!("/api/v1/deployments/{id}/log"),
        format!("/api/v1/deployments/{id}/log?format=json"),
        "/api/openapi.json".to_owned(),
        "/".to_owned(),
        "/queue".to_owned(),
        "/projects/shop".to_owned(),
        format!("/deployments/{id}"),
    ] {
        let answer = client.get(&path).await;
        canaries.search(&path, format!("{:?}{}", answer.headers, answer.text));
    }
    let mut events = client.events(id, 0).await;
    while let Some(event) = events.next().await {
        canaries.search("a live event", event.data);
    }
}

/// One of the database's own programs.
fn client_of_database(name: &str, installation: &Installation, password: &str) -> Program {
    let option =
        |name: &str, variable: &str| format!("--{name}={}", installation.variable(variable));
    Program::new(name)
        .args(["--no-defaults", "--protocol=tcp"])
        .args([option("host", "DB_HOST"), option("user", "DB_USER")])
        .args([option("port", "SLIPWAY__DATABASE__PORT")])
        .env("MYSQL_PWD", password)
        .args([installation.variable("SLIPWAY__DATABASE__DATABASE")])
}

/// Each statement that would bring the database back as it is.
fn dump(installation: &Installation, password: &str) -> Vec<u8> {
    let output = client_of_database("mariadb-dump", installation, password).run();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn redis_says(redis: &RedisServer, arguments: &[&str]) -> Output {
    let port = redis.port().to_string();
    Program::new("redis-cli")
        .args(["-p", &port])
        .args(arguments)
        .run()
}

/// Searches what is kept.
fn search_stores(canaries: &mut Canaries, installation: &Installation, stores: (&Path, &str)) {
    let (redis_folder, password) = stores;
    canaries.search("the database", dump(installation, password));
    canaries.search_folder(redis_folder);
    canaries.search_folder(installation.folder());
}

fn end(program: RunningProgram) -> String {
    let mut program = program;
    program.terminate();
    let status = program.wait(DEADLINE);
    assert!(status.success(), "{}", program.logs());
    program.logs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_nowhere_but_where_they_belong() {
    let (redis_folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = redis_folder.path().to_str().unwrap();
    // Its log of commands has everything that was ever there.
    let redis = RedisServer::start_with(&["--dir", place, "--appendonly", "yes"]);
    let installation = Installation::new(&Redis::own(&redis));
    let values = Values::random(installation.variable("DB_PASSWORD"));
    let installation = prepared(installation, &values, keys.path());
    let mut canaries = values.canaries();
    let stores = (redis_folder.path(), values.database_password.as_str());

    let Api {
        program: api,
        address,
    } = installation.start_api();
    let worker = installation.start_worker();
    let client = Client::new(&address)
        .sign_in("admin@example.com", &values.password)
        .await;
    let wrong = json!({ "email": "admin@example.com", "password": values.secret });
    client.post("/api/v1/auth/login", &wrong).await.expect(401);
    for query in [
        format!("password={}", values.password),
        format!("x=%0a&api_key={}", values.key),
    ] {
        client.get(&format!("/nowhere?{query}")).await.expect(404);
        client.get(&format!("/api/v1/projects?{query}")).await;
    }
    let token = client
        .post("/api/v1/me/tokens", &json!({ "name": "laptop" }))
        .await
        .expect(201);
    canaries.add("the API token", token.json()["token"].as_str().unwrap());
    set_up(&client, &installation, &values).await;

    let id = client.deploy("shop", "web").await;
    eventually(DEADLINE, async || {
        let begun = installation.path("begun").exists();
        if begun {
            Ok(())
        } else {
            Err(client.deployment(id).await)
        }
    })
    .await;
    // The step has its values now, and nobody else's environment has one of these.
    canaries.search_processes(&["slipway-api", "slipway-worker", "slipway-guard"]);
    search_stores(&mut canaries, &installation, stores);
    fs::write(installation.path("go"), "").unwrap();
    let ended = client.ended(id).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    let log = client.log(id).await;
    assert!(log.matches("[REDACTED]").count() >= 10, "{log}");

    search_answers(&mut canaries, &client, id).await;
    for (name, program) in [("the API's log", api), ("the worker's log", worker)] {
        let log = end(program);
        let json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
        assert!(log.lines().all(json), "{log}");
        canaries.search(name, log);
    }
    search_stores(&mut canaries, &installation, stores);
    assert_eq!(canaries.take_findings(), [""; 0], "{log}");
    let searched = canaries.searched();
    println!("searched {searched:?}: 0 hits");
    assert!(searched.bytes > 100_000, "{searched:?}");

    plant(&installation, &redis, &values);
    search_stores(&mut canaries, &installation, stores);
    let found = canaries.take_findings().join("\n");
    for place in ["in the database", "appendonly", "planted.log"] {
        assert!(found.contains(place), "{place} in:\n{found}");
    }
}

/// Leaks on purpose: a search that finds nothing there has not searched.
fn plant(installation: &Installation, redis: &RedisServer, values: &Values) {
    let secret = &values.secret;
    let update = format!("UPDATE projects SET slug = '{secret}'");
    let output = client_of_database("mariadb", installation, &values.database_password)
        .args(["--execute", &update])
        .run();
    assert!(output.status.success(), "{output:?}");
    assert!(
        redis_says(redis, &["SET", "planted", &hex_of(secret)])
            .status
            .success()
    );
    fs::write(installation.path("planted.log"), format!("x {secret} y")).unwrap();
}

fn hex_of(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
