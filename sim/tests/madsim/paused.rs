//! What madsim can do and turmoil can't.

use std::time::Duration;

use crate::farm::Simulated;
use crate::under_load::shopping;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_server_stands_still_for_longer_than_the_others_wait_for_it() {
    let shoppers = shopping(Simulated::new(3, 30), 30, |farm| {
        farm.net.pause(2);
        farm.run_for(6 * SECOND);
        farm.net.resume(2);
        farm.run_for(4 * SECOND);
    });
    let log = shoppers.log.borrow();
    assert!(log.refused > 0, "nobody noticed");
    assert_eq!(log.lost, 0, "all servers lived");
}

#[test]
fn each_server_stands_still_for_a_moment() {
    let shoppers = shopping(Simulated::new(3, 31), 31, |farm| {
        for round in 0..9 {
            farm.net.pause(1 + round % 3);
            farm.run_for(SECOND / 4);
            farm.net.resume(1 + round % 3);
            farm.run_for(SECOND / 4);
        }
    });
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}

#[test]
fn a_server_that_stands_still_is_killed_and_starts_again() {
    shopping(Simulated::new(3, 32), 32, |farm| {
        farm.net.pause(3);
        farm.run_for(SECOND);
        farm.crash(3);
        farm.run_for(SECOND);
        farm.start(3);
        farm.run_for(4 * SECOND);
    });
}

#[test]
fn what_was_sent_before_a_long_cut_arrives_after_it_and_upsets_nobody() {
    // Madsim's streams go on: what was under way for seconds comes when others have long told of it.
    let shoppers = shopping(Simulated::new(5, 33), 33, |farm| {
        for cut in [1, 4, 9] {
            farm.partition(&[1, 2], &[3, 4, 5]);
            farm.run_for(SECOND * cut);
            farm.repair(&[1, 2], &[3, 4, 5]);
            farm.run_for(SECOND);
        }
    });
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}
