//! How fast it is, in processor time: others may use the machine too.

use std::{
    fs,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use slipway_redact::{Matcher, Redactor};

use crate::{dice::Dice, leaks::speech, matcher, number, spelled::secret};

/// As much as is read from a command at once.
const PIECE_BYTES: usize = 64 * 1024;

#[test]
#[ignore = "prints figures that only an optimised build gives: deploy/redact.sh"]
fn speed() {
    let mut dice = Dice::new(number("SLIPWAY_TEST_REDACT_SEED", 1));
    for count in [1, 10, 100, 1000] {
        let secrets: Vec<String> = (0..count).map(|_| secret(&mut dice)).collect();
        let began = Instant::now();
        let matcher = matcher(&secrets);
        let prepared = began.elapsed();
        let plain = speech(&mut dice, 32 * 1024 * 1024);
        let mut mixed = String::new();
        while mixed.len() < 32 * 1024 * 1024 {
            mixed.push_str(&speech(&mut dice, 1000));
            mixed.push_str(dice.pick::<String>(&secrets));
            mixed.push('\n');
        }
        let encoded = dice.text(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
            32 * 1024 * 1024,
        );
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{count:>5} secrets, prepared in {:>7.2} ms: {:>4.0} MB/s of plain text, {:>4.0} MB/s with a secret in each kilobyte, {:>4.0} MB/s of base64",
            prepared.as_secs_f64() * 1000.0,
            rate(&matcher, plain.as_bytes()),
            rate(&matcher, mixed.as_bytes()),
            rate(&matcher, encoded.as_bytes()),
        )
        .unwrap();
    }
}

/// The best of three.
fn rate(matcher: &Arc<Matcher>, text: &[u8]) -> f64 {
    let mut best = 0_f64;
    for _ in 0..3 {
        let mut redactor = Redactor::new(Arc::clone(matcher));
        let mut out = Vec::with_capacity(2 * PIECE_BYTES);
        let began = used();
        for piece in text.chunks(PIECE_BYTES) {
            out.clear();
            redactor.push(piece, &mut out);
        }
        redactor.finish(&mut out);
        best = best.max(text.len() as f64 / 1e6 / (used() - began).as_secs_f64());
    }
    best
}

/// The processor time of this thread so far.
fn used() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = text.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}
