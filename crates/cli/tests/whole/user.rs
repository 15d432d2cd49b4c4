//! `slipway user` for whoever holds the machine.

use crate::audit::{slipway, sql};

#[tokio::test]
async fn a_lost_second_factor_is_removed_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    crate::up_demo::started_and_stopped(folder.path());
    let data = &folder.path().join("data");
    let ann = "ann@example.com";
    let (done, said) = slipway(data, &["user", "create", ann, "--role", "admin"]);
    assert!(done, "{said}");
    let (done, said) = slipway(data, &["user", "remove-factor", ann]);
    assert!(!done && said.contains("has no second factor"), "{said}");
    let (done, said) = slipway(data, &["user", "remove-factor", "eve@example.com"]);
    assert!(!done && said.contains("there is no such user"), "{said}");
    let on = "UPDATE users SET factor_at = '2026-11-25 12:00:00' WHERE email = 'ann@example.com'";
    sql(data, on).await;
    let (done, said) = slipway(data, &["user", "remove-factor", "Ann@Example.com"]);
    assert!(done, "{said}");
    let (done, said) = slipway(data, &["audit", "export"]);
    assert!(done && said.contains("factor.remove"), "{said}");
}
