//! One request and its answer, as far as HTTP/1.1 needs it.

use std::{
    io::{Read, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Mode, Received};

/// A client that sends more is not one of ours.
const REQUEST_MAX_BYTES: usize = 1024 * 1024;

/// An endless body ends here, so that a client without a limit fails instead of hanging.
const ENDLESS_BYTES: usize = 256 * 1024 * 1024;

/// Reads a whole request.
pub(super) fn read(stream: &mut impl Read) -> Option<Received> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end;
        }
        fill(stream, &mut bytes)?;
    };
    let head = String::from_utf8(bytes.get(..head_end)?.to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(Some(0), |(_, value)| value.parse().ok())?;
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        fill(stream, &mut body)?;
    }
    Some(Received {
        method,
        target,
        headers,
        body,
    })
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|at| at == needle)
}

fn fill(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
    bytes.extend_from_slice(chunk.get(..read)?);
    (bytes.len() <= REQUEST_MAX_BYTES).then_some(())
}

/// Answers in the way that was asked for.
pub(super) fn answer(
    stream: &mut (impl Read + Write),
    mode: &Mode,
    sent: &AtomicUsize,
) -> Option<()> {
    match mode {
        Mode::Answer(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let length = body.len();
            write!(stream, "{head}content-length: {length}\r\n\r\n{body}").ok()?;
            stream.flush().ok()
        }
        Mode::Garbage => {
            stream
                .write_all(b"\x00\x01 this is no protocol\r\n\r\n")
                .ok()?;
            stream.flush().ok()
        }
        Mode::Endless => endless(stream, sent),
        Mode::Hang | Mode::Reset => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).ok().map(|_| ())
        }
    }
}

fn endless(stream: &mut impl Write, sent: &AtomicUsize) -> Option<()> {
    write!(stream, "HTTP/1.1 200 Said\r\nconnection: close\r\n\r\n").ok()?;
    let chunk = [b'x'; 16 * 1024];
    for _ in 0..ENDLESS_BYTES / chunk.len() {
        stream.write_all(&chunk).ok()?;
        sent.fetch_add(chunk.len(), Ordering::SeqCst);
    }
    Some(())
}
