//! What libraries say through the `log` crate goes the same way as everything else.

use log::{Level, LevelFilter, Log, Metadata, Record};
use tracing::level_filters::LevelFilter as Wanted;

/// Where it is filtered and found: `logging.level: info,log=warn`.
const TARGET: &str = "log";

struct Bridge;

/// Takes what libraries say from here on, unless somebody else does.
pub(super) fn start() {
    if log::set_logger(&Bridge).is_ok() {
        log::set_max_level(match Wanted::current() {
            Wanted::OFF => LevelFilter::Off,
            Wanted::ERROR => LevelFilter::Error,
            Wanted::WARN => LevelFilter::Warn,
            Wanted::INFO => LevelFilter::Info,
            Wanted::DEBUG => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        });
    }
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let (from, message) = (record.target(), record.args());
        match record.level() {
            Level::Error => tracing::error!(target: TARGET, library = from, "{message}"),
            Level::Warn => tracing::warn!(target: TARGET, library = from, "{message}"),
            Level::Info => tracing::info!(target: TARGET, library = from, "{message}"),
            Level::Debug => tracing::debug!(target: TARGET, library = from, "{message}"),
            Level::Trace => tracing::trace!(target: TARGET, library = from, "{message}"),
        }
    }

    fn flush(&self) {}
}
