//! What customers see while the network between the servers, or a server, fails.

use std::time::Duration;

use crate::farm::Simulated;
use crate::net;
use crate::net::adapter::{Served, Shown};

const SECOND: Duration = Duration::from_secs(1);

fn shows(served: &Served, key: &str, value: &str) -> bool {
    served.session.get(key) == Some(Shown::Bytes(value.as_bytes()))
}

#[test]
fn a_customer_who_moves_at_every_click_sees_what_was_written_last() {
    let mut farm = Simulated::new(3, 1);
    let mut token = farm.create(1);
    for n in 0..30 {
        let value = n.to_string();
        token = farm.set(1 + n % 3, &token, "name", &value).unwrap().token;
        let served = farm.read(1 + (n + 1) % 3, &token).unwrap();
        assert!(shows(&served, "name", &value) && !served.stale && !served.lost);
        token = served.token;
    }
    farm.level();
}

#[test]
fn both_sides_of_a_partition_serve_and_are_the_same_after_it() {
    let mut farm = Simulated::new(5, 2);
    let token = farm.create(1);
    farm.run_for(SECOND);
    farm.partition(&[1, 2], &[3, 4, 5]);
    farm.run_for(5 * SECOND);
    let few = farm.set(1, &token, "cart/tea", "few").unwrap().token;
    let many = farm.set(3, &token, "cart/milk", "many").unwrap().token;
    assert!(farm.is_isolated(1) && !farm.is_isolated(3));
    assert!(!farm.is_level());
    farm.run_for(5 * SECOND);
    farm.repair(&[1, 2], &[3, 4, 5]);
    farm.run_for(5 * SECOND);
    farm.level();
    for (server, token) in [(5, few), (2, many)] {
        let served = farm.read(server, &token).unwrap();
        assert!(shows(&served, "cart/tea", "few") && shows(&served, "cart/milk", "many"));
    }
}

#[test]
fn a_server_that_dies_logs_nobody_out_and_comes_back_empty() {
    let mut farm = Simulated::new(3, 3);
    let mut token = farm.create(1);
    token = farm.set(1, &token, "name", "ann").unwrap().token;
    farm.run_for(SECOND);
    farm.crash(1);
    let served = farm.read(2, &token).unwrap();
    assert!(shows(&served, "name", "ann"));
    token = farm.set(2, &served.token, "name", "bea").unwrap().token;
    farm.run_for(3 * SECOND);
    farm.start(1);
    farm.run_for(3 * SECOND);
    let served = farm.read(1, &token).unwrap();
    assert!(shows(&served, "name", "bea"));
    farm.level();
}

#[test]
fn a_server_that_stands_still_answers_nobody_while_the_others_serve_on() {
    let mut farm = Simulated::new(3, 4);
    let token = farm.create(1);
    farm.run_for(SECOND);
    farm.pause(2);
    farm.run_for(5 * SECOND);
    let token = farm.set(1, &token, "name", "ann").unwrap().token;
    assert!(shows(&farm.read(3, &token).unwrap(), "name", "ann"));
    // What it has is too old for this customer, and nobody there can ask for more.
    let (still, read) = (farm.server(2), token.clone());
    let reading = farm.begin(async move { still.read(&read).await });
    farm.run_for(5 * SECOND);
    assert!(reading.borrow().is_none() && !farm.is_level());
    farm.resume(2);
    farm.run_for(5 * SECOND);
    let read = reading.borrow_mut().take().expect("an answer at last");
    assert!(read.is_err() || shows(&read.unwrap(), "name", "ann"));
    assert!(shows(&farm.read(2, &token).unwrap(), "name", "ann"));
    farm.level();
}

#[test]
fn a_stranger_who_floods_the_ports_upsets_nobody() {
    let mut farm = Simulated::new(3, 21);
    let mut token = farm.create(1);
    let flood = farm.begin(net::flood());
    let mut n = 0;
    while flood.borrow().is_none() {
        let value = n.to_string();
        token = farm.set(1 + n % 3, &token, "name", &value).unwrap().token;
        let served = farm.read(1 + (n + 1) % 3, &token).unwrap();
        assert!(shows(&served, "name", &value) && !served.stale && !served.lost);
        token = served.token;
        farm.run_for(SECOND / 20);
        n += 1;
    }
    let sent = *flood.borrow();
    assert!(sent.is_some_and(|sent| sent > 100), "{sent:?} pieces of garbage were sent");
    assert!(n > 20, "customers asked {n} times only meanwhile");
    farm.level();
}
