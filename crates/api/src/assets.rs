//! Static files: part of the binary, and served under a name that changes with their content.

use std::{fmt::Write as _, sync::LazyLock};

use actix_web::{HttpResponse, web::Path};
use sha2::{Digest as _, Sha256};
use slipway_core::error::Error;

use crate::error::Problem;

/// What a browser may do with a file whose address names its content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// One embedded file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    body: &'static [u8],
}

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $media_type:expr),+ $(,)?) => {
        [$(Asset {
            name: $name,
            media_type: $media_type,
            body: include_bytes!(concat!("../static/", $name)),
        }),+]
    };
}

const ASSETS: &[Asset] = &assets! {
    "app.css": STYLE,
    "reference.css": STYLE,
    "ansi.js": SCRIPT,
    "clock.js": SCRIPT,
    "code.js": SCRIPT,
    "deployment.js": SCRIPT,
    "forms.js": SCRIPT,
    "log.js": SCRIPT,
    "queue.js": SCRIPT,
    "icon.svg": "image/svg+xml",
};

/// One version for all of them, so that a script imports its neighbours by their plain names.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in ASSETS {
        hash.update(asset.name.as_bytes());
        hash.update((asset.body.len() as u64).to_be_bytes());
        hash.update(asset.body);
    }
    let mut version = String::new();
    for byte in hash.finalize().iter().take(8) {
        // Writing to a String cannot fail.
        let _infallible = write!(version, "{byte:02x}");
    }
    version
});

/// The address of a static file.
#[must_use]
pub fn url(name: &str) -> String {
    format!("/static/{}/{name}", *VERSION)
}

/// Serves a static file. A page of another version, as there is during an update, gets this
/// version's file, but must not keep it.
///
/// # Errors
/// There is no such file.
pub async fn serve(path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let (version, name) = path.into_inner();
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let asset = asset.ok_or(Error::NotFound("file"))?;
    let cache = if version == *VERSION {
        FOR_EVER
    } else {
        "no-store"
    };
    Ok(HttpResponse::Ok()
        .content_type(asset.media_type)
        .insert_header(("Cache-Control", cache))
        .body(asset.body))
}
