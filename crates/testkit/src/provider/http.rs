//! As much of HTTP as a provider in a test needs: one request for each connection.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use url::form_urlencoded;

/// What was asked.
pub(super) struct Request {
    pub(super) path: String,
    pub(super) query: String,
    values: Vec<(String, String)>,
    authorization: Option<String>,
}

impl Request {
    /// A value of the query, or of the form that was sent.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    /// Whether this token came with it.
    pub(super) fn bears(&self, token: &str) -> bool {
        let sent = self.authorization.as_deref();
        sent.and_then(|text| text.strip_prefix("Bearer ")) == Some(token)
    }

    /// Name and secret of the client (RFC 6749, 2.3.1: each is encoded as in a form).
    pub(super) fn client(&self) -> Option<(String, String)> {
        let text = self.authorization.as_ref()?.strip_prefix("Basic ")?;
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (name, secret) = text.split_once(':')?;
        Some((decoded(name), decoded(secret)))
    }
}

fn decoded(text: &str) -> String {
    let pairs = format!("x={text}");
    let mut pairs = form_urlencoded::parse(pairs.as_bytes());
    pairs
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Reads one.
pub(super) fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = |bytes: &[u8]| {
        form_urlencoded::parse(bytes)
            .into_owned()
            .collect::<Vec<_>>()
    };
    let mut values = pairs(query.as_bytes());
    values.extend(pairs(&body));
    Some(Request {
        path: path.to_owned(),
        query: query.to_owned(),
        values,
        authorization,
    })
}

/// What is answered.
pub(super) struct Reply {
    status: u16,
    kind: &'static str,
    place: Option<String>,
    body: String,
}

impl Reply {
    fn new(status: u16, kind: &'static str, body: String) -> Self {
        Self {
            status,
            kind,
            place: None,
            body,
        }
    }

    pub(super) fn json(body: &Value) -> Self {
        Self::new(200, "application/json", body.to_string())
    }

    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn html(body: &str) -> Self {
        Self::new(200, "text/html", body.to_owned())
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain", body.to_owned())
    }

    pub(super) fn redirect(place: &str) -> Self {
        Self {
            place: Some(place.to_owned()),
            ..Self::new(302, "text/plain", String::new())
        }
    }
}

/// Sends it.
pub(super) fn write(mut stream: &TcpStream, reply: &Reply) -> Option<()> {
    let Reply {
        status, kind, body, ..
    } = reply;
    let place = reply.place.as_ref();
    let place = place.map_or_else(String::new, |place| format!("Location: {place}\r\n"));
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} So\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         {place}Connection: close\r\n\r\n{body}"
    )
    .ok()
}

/// Keeps the connection, and says nothing, until the other side has left it.
pub(super) fn wait_until_left(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // Whatever comes, there is no answer.
    let _left = stream.read_to_end(&mut rest);
}
