//! MySQL takes no compound statements: what leaves together leaves as one text there, and does the
//! same.

use slipway_testkit::MariadbServer;

use crate::{bundle, claim, premises, rig::Rig, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_text_does_what_a_compound_statement_does() {
    let server = MariadbServer::start_as_mysql();
    let rig = async || Rig::on(slipway_testkit::mysql_database_on(&server)).await;
    bundle::everything(&rig).await;
    claim::everything(&rig).await;
    premises::everything(&rig).await;
    together::everything(&rig).await;
}
