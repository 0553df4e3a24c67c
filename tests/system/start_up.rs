//! How a gateway starts without what it needs.

use super::kit_of_tests::eventually;
use super::nodes::{Ground, Nodes};

#[tokio::test]
async fn a_gateway_without_its_control_plane_serves_after_so_many_tries_and_goes_on_trying() {
    let mut nodes = Nodes::start(&Ground::default(), "max_retry_count = 2\n").await;
    nodes.publish("A", "one").await.unwrap();
    nodes.manager.take().unwrap().kill().await;
    let gateway = nodes.unready_gateway().await;
    eventually("the gateway has given up waiting", || async {
        let state = nodes.state(&gateway).await;
        (state["gave_up_waiting"] == true && state["ready"] == true).then_some(())
    })
    .await;
    // It has nothing, and says so; it does not keep its clients waiting.
    nodes.answers(&gateway, "A", 404, "").await;
    nodes.start_manager().await;
    nodes.answers(&gateway, "A", 200, "one").await;
    let state = nodes.state(&gateway).await;
    assert_eq!(state["gave_up_waiting"], false, "{state}");
}
