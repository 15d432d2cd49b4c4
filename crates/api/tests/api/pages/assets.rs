//! Static files.

use crate::app::TestApp;

#[tokio::test]
async fn static_files_are_kept_for_ever_under_the_name_of_their_content() {
    let app = TestApp::spawn().await;
    let client = app.anonymous();
    let page = client.get("/login").await;
    let style = page.attribute("rel=\"stylesheet\" href=\"");
    let script = page.attribute("type=\"module\" src=\"");
    let icon = page.attribute("type=\"image/svg+xml\" href=\"");
    for (url, media_type) in [
        (&style, "text/css; charset=utf-8"),
        (&script, "text/javascript; charset=utf-8"),
        (&icon, "image/svg+xml"),
    ] {
        let file = client.get(url).await;
        assert_eq!(file.status, 200, "{url}");
        assert_eq!(file.header("Content-Type"), media_type);
        assert_eq!(
            file.header("Cache-Control"),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(file.header("X-Content-Type-Options"), "nosniff");
        assert!(!file.body.is_empty());
    }
    assert_eq!(page.header("Cache-Control"), "no-store");
}

#[tokio::test]
async fn a_page_of_another_version_gets_this_versions_file_and_may_not_keep_it() {
    let app = TestApp::spawn().await;
    let client = app.anonymous();
    let file = client.get("/static/0000000000000000/app.css").await;
    assert_eq!(
        (file.status, file.header("Cache-Control")),
        (200, "no-store")
    );
    assert_eq!(
        client
            .get("/static/0000000000000000/../Cargo.toml")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn every_script_that_a_script_imports_is_served() {
    let app = TestApp::spawn().await;
    let client = app.anonymous();
    let mut wanted = vec![
        "deployment.js".to_owned(),
        "clock.js".to_owned(),
        "forms.js".to_owned(),
    ];
    let mut seen = 0;
    while let Some(name) = wanted.pop() {
        let file = client
            .get(&format!("/static/0000000000000000/{name}"))
            .await;
        assert_eq!(file.status, 200, "{name}");
        let imports = file
            .body
            .lines()
            .filter_map(|line| line.split_once("from \"./"));
        wanted.extend(imports.map(|(_, rest)| rest.trim_end_matches("\";").to_owned()));
        seen += 1;
    }
    assert_eq!(seen, 5);
}
