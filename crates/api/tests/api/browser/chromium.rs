//! A private Chromium, driven over the wire protocol of drivers.

use std::{panic::AssertUnwindSafe, time::Duration};

use fantoccini::{Client, ClientBuilder, wd::Capabilities};
use futures_util::FutureExt as _;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use slipway_testkit::Program;

const START: Duration = Duration::from_secs(30);

/// How the browser is set up.
pub(super) struct Look {
    pub(super) scripts: bool,
    /// Width of the page in CSS pixels.
    pub(super) width: u32,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            scripts: true,
            width: 1280,
        }
    }
}

/// Hands a browser to a test and closes it, however the test ends.
pub(super) async fn with_chromium(look: Look, test: impl AsyncFnOnce(&Client)) {
    let profile = tempfile::tempdir().unwrap();
    let driver = Program::new("chromedriver").args(["--port=0"]).start();
    let port = driver.wait_for_line(START, |line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse::<u16>().ok()
    });
    let folder = profile.path().display().to_string();
    let page = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities(&look, &folder))
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .unwrap();
    let outcome = AssertUnwindSafe(test(&page)).catch_unwind().await;
    page.close().await.unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn capabilities(look: &Look, profile: &str) -> Capabilities {
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--no-first-run",
        "--window-size=1280,900",
    ];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
    arguments.push(format!("--user-data-dir={profile}"));
    let mut options = json!({ "args": arguments });
    if !look.scripts {
        let blocked = json!({ "profile.managed_default_content_settings.javascript": 2 });
        options["prefs"] = blocked;
    }
    if look.width < 1000 {
        let metrics = json!({ "width": look.width, "height": 844, "pixelRatio": 2.0 });
        options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    let mut capabilities = Capabilities::new();
    capabilities.insert("browserName".to_owned(), Value::from("chrome"));
    capabilities.insert("goog:chromeOptions".to_owned(), options);
    capabilities
}
