//! Customers shop while things go wrong. None may be shown less than it knows, and after it all servers
//! are the same and show everything to everybody.

use std::time::Duration;

use crate::farm::Simulated;
use crate::net;
use crate::shoppers::Shoppers;

const SECOND: Duration = Duration::from_secs(1);

/// Has customers shop at a farm while something happens to it.
pub(crate) fn shopping(
    mut farm: Simulated,
    seed: u64,
    happens: impl FnOnce(&mut Simulated),
) -> Shoppers {
    let shoppers = Shoppers::open(&mut farm, 8, seed);
    farm.run_for(2 * SECOND);
    happens(&mut farm);
    farm.run_for(2 * SECOND);
    shoppers.close(&mut farm);
    shoppers
}

#[test]
fn nothing_goes_wrong_and_nobody_is_refused() {
    let shoppers = shopping(Simulated::new(3, 11), 11, |farm| farm.run_for(5 * SECOND));
    let log = shoppers.log.borrow();
    assert_eq!((log.refused, log.lost), (0, 0), "of {} answers", log.answers);
}

#[test]
fn a_majority_and_a_minority_shop_on_and_heal() {
    let shoppers = shopping(Simulated::new(5, 12), 12, |farm| {
        farm.partition(&[1, 2], &[3, 4, 5]);
        farm.run_for(8 * SECOND);
        farm.repair(&[1, 2], &[3, 4, 5]);
    });
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}

#[test]
fn a_server_that_is_heard_and_hears_nothing() {
    let shoppers = shopping(Simulated::new(3, 13), 13, |farm| {
        farm.cut_off(&[1, 2], &[3]);
        farm.run_for(8 * SECOND);
        farm.repair(&[1, 2], &[3]);
    });
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}

#[test]
fn two_servers_that_only_a_third_can_reach() {
    let shoppers = shopping(Simulated::new(3, 14), 14, |farm| {
        farm.partition(&[1], &[3]);
        farm.run_for(8 * SECOND);
        farm.repair(&[1], &[3]);
    });
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}

#[test]
fn a_server_dies_under_load_and_starts_again_empty() {
    shopping(Simulated::new(3, 15), 15, |farm| {
        farm.crash(2);
        farm.run_for(3 * SECOND);
        farm.start(2);
        farm.run_for(4 * SECOND);
    });
}

#[test]
fn all_servers_are_restarted_one_after_another_while_customers_shop() {
    shopping(Simulated::new(3, 16), 16, |farm| {
        for server in 1..=3 {
            farm.crash(server);
            farm.run_for(SECOND);
            farm.start(server);
            farm.run_for(4 * SECOND);
        }
    });
}

#[test]
fn connections_fall_silent_and_everything_comes_at_once_when_they_speak_again() {
    let shoppers = shopping(Simulated::new(3, 17), 17, |farm| {
        farm.hold(&[1], &[2, 3]);
        farm.run_for(6 * SECOND);
        farm.release(&[1], &[2, 3]);
    });
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}

#[test]
fn connections_that_died_without_a_word_are_made_again() {
    let shoppers = shopping(Simulated::new(3, 18), 18, |farm| {
        // What is sent meanwhile is gone for good, and the streams with it.
        for _ in 0..3 {
            farm.partition(&[1], &[2, 3]);
            farm.run_for(SECOND / 5);
            farm.repair(&[1], &[2, 3]);
            farm.run_for(6 * SECOND);
        }
    });
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}

#[test]
fn a_queue_of_a_few_frames_overflows_and_repair_makes_it_good() {
    let farm = Simulated::with(3, 19, |builder| builder.queue_frames(4));
    let mut overflows = 0;
    let shoppers = shopping(farm, 19, |farm| {
        farm.hold(&[1], &[2]);
        farm.run_for(4 * SECOND);
        farm.release(&[1], &[2]);
        farm.run_for(2 * SECOND);
        overflows = farm.dropped(1) + farm.dropped(2);
    });
    assert!(overflows > 0, "no queue overflowed");
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}

#[test]
fn messages_are_lost_all_the_time() {
    let shoppers = shopping(Simulated::new(3, 20), 20, |farm| {
        farm.net.lossy(true);
        farm.run_for(10 * SECOND);
        farm.net.lossy(false);
        farm.repair(&[1, 2, 3], &[1, 2, 3]);
    });
    assert_eq!(shoppers.log.borrow().lost, 0, "all servers lived");
}

#[test]
fn a_stranger_who_floods_the_port_upsets_nobody() {
    let shoppers = shopping(Simulated::new(3, 21), 21, |farm| {
        let flood = farm.begin(net::flood());
        farm.run_for(8 * SECOND);
        let sent = *flood.borrow();
        assert!(sent.is_some_and(|sent| sent > 100), "{sent:?} pieces of garbage were sent");
    });
    let log = shoppers.log.borrow();
    assert_eq!((log.refused, log.lost), (0, 0), "of {} answers", log.answers);
}
