//! The server's own log, in a process of its own: handlers that panic, and hostile requests.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use actix_web::{App, HttpRequest, HttpServer, web};
use slipway_core::{
    settings::{LogFormat, Logging},
    telemetry,
};
use slipway_redact::Matcher;
use slipway_testkit::Program;
use tracing_actix_web::TracingLogger;

const VALUE: &str = "k9vQ mango 7Zt4";
/// What only the name in front of it gives away.
const NAMED: &str = "Tr0ub4dor";

async fn panics(request: HttpRequest) -> String {
    panic!("a handler's {VALUE} for {:?}", request.headers());
}

#[actix_web::test]
#[ignore = "the test below starts it as a process of its own"]
async fn server_with_a_handler_that_panics() {
    let redaction = telemetry::start(&Logging {
        level: "trace".to_owned(),
        redact_secrets: true,
        format: LogFormat::Json,
    })
    .unwrap();
    let values = Arc::new(Matcher::new([VALUE.as_bytes()]).unwrap());
    let _known = redaction.know(values);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let app = || {
        App::new()
            .wrap(TracingLogger::default())
            .default_service(web::to(panics))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .listen(listener)
        .unwrap()
        .run();
    let handle = server.handle();
    tokio::spawn(server);
    let asked = tokio::task::spawn_blocking(move || {
        for path in [
            format!("/?password={NAMED}&x=%0a%7b"),
            format!("/%e2%80%ae{}?api_key={NAMED}", VALUE.replace(' ', "%20")),
        ] {
            let mut stream = TcpStream::connect(address).unwrap();
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {NAMED}\r\n\
                 User-Agent: \u{9b}2J{VALUE}\u{2028}{{\"forged\":1}}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).unwrap();
            // The handler has no answer; the end of the connection is one.
            let _broken_off = stream.read_to_end(&mut Vec::new());
        }
    });
    asked.await.unwrap();
    handle.stop(false).await;
}

#[test]
fn panic_in_a_handler_and_hostile_requests_are_masked_records() {
    let test = "log::server_with_a_handler_that_panics";
    let output = Program::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .run();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    for secret in ["mango", NAMED] {
        assert!(!said.contains(secret), "{secret} in:\n{said}");
    }
    let panicked = "panicked: a handler's [REDACTED] for";
    assert_eq!(said.matches(panicked).count(), 2, "{said}");
    for line in said.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            record["timestamp"].is_string() && record["forged"].is_null(),
            "{line}"
        );
    }
}
