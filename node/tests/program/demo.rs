//! The demo, as the README starts it, but shorter.

use serde_json::Value;

use crate::farm::{run, said};

#[tokio::test]
async fn a_short_demo_loses_nothing_and_says_so_in_figures() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures.json");
    let output =
        run(&["demo", "--customers", "6", "--seconds", "4", "--json", file.to_str().unwrap()])
            .await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let figures: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(figures["passed"], true, "{figures}");
    assert_eq!(figures["reasons"], serde_json::json!([]));
    assert_eq!((&figures["customers"], &figures["carts_right"]), (&6.into(), &6.into()));
    assert_eq!(figures["interactions"], figures["interactions_found"]);
    assert!(figures["interactions"].as_u64().unwrap() > 6);
    let by_server = figures["interactions_by_server"].as_object().unwrap();
    assert_eq!(by_server.len(), 3);
    assert!(by_server.values().all(|count| count.as_u64().unwrap() > 0), "{figures}");
    assert_eq!(figures["counters_exact"], true);
    assert_eq!((&figures["cart_lines_lost"], &figures["sessions_lost"]), (&0.into(), &0.into()));
    assert_eq!((&figures["farm_identical"], &figures["sessions"]), (&true.into(), &6.into()));
    assert!(figures["restart_to_ready_ms"].as_f64().unwrap() > 0.0);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for row in ["interactions by server", "counters exact", "time until it was level"] {
        assert!(table.contains(row), "{table}");
    }
}

#[tokio::test]
async fn figures_that_can_not_be_written_are_an_error() {
    let output = run(&["demo", "--customers", "1", "--seconds", "3", "--json", "/nowhere/f"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/nowhere/f"), "{}", said(&output));
}

#[tokio::test]
async fn a_demo_without_customers_is_refused() {
    let output = run(&["demo", "--customers", "0"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--customers"), "{}", said(&output));
}
