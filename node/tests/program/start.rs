//! Starting, and what keeps a server from it.

use crate::farm::{Farm, free_port, local, run, said};

async fn serve(more: &[&str]) -> std::process::Output {
    let mut args = vec!["serve", "--id", "1"];
    args.extend(more);
    run(&args).await
}

#[tokio::test]
async fn an_address_that_other_machines_can_reach_is_refused_with_the_reason() {
    let own = local(free_port()).to_string();
    let tables: [&[&str]; 5] = [
        &["--listen", "0.0.0.0:7401", "--http", &own],
        &["--listen", "192.168.0.1:7401", "--http", &own],
        &["--listen", &own, "--http", "0.0.0.0:8401"],
        &["--listen", &own, "--http", "[::]:8401"],
        &["--listen", &own, "--http", "127.0.0.1:0", "--peer", "10.0.0.2:7402"],
    ];
    for args in tables {
        let output = serve(args).await;
        let error = said(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains("loopback") && error.contains("not encrypted"), "{error}");
        let address = args.iter().rev().find(|arg| !arg.contains("127.0.0.1") && arg.contains(':'));
        assert!(error.contains(address.unwrap()), "it names the address: {error}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_address() {
    let blocker = std::net::TcpListener::bind(local(free_port())).unwrap();
    let blocked = blocker.local_addr().unwrap().to_string();
    let free = local(free_port()).to_string();
    for args in [["--listen", &blocked, "--http", &free], ["--listen", &free, "--http", &blocked]] {
        let output = serve(&args).await;
        let error = said(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains(&blocked), "{error}");
        assert!(error.to_lowercase().contains("in use"), "{error}");
    }
}

#[tokio::test]
async fn a_configuration_that_is_not_right_is_refused_by_field_value_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    let head = "id = 1\nlisten = '127.0.0.1:7401'\nhttp = '127.0.0.1:8401'\n";
    let table = [
        ("colour = 'red'", vec!["unknown field `colour`", "expected one of", "peers"]),
        ("[farm]\nheartbeat_every = '1 ms'", vec!["heartbeat_every = 1ms", "10 ms to 10 s"]),
        ("[farm]\ndown_after = 2", vec!["down_after", "\"500ms\""]),
        ("[local]\npull_budget = 0", vec!["pull_budget = 0", "half of frame_bytes"]),
        ("[http_limits]\nconnections = 0", vec!["connections = 0", "from 1 to 65536"]),
        ("peers = '127.0.0.1:1'", vec!["peers", "sequence"]),
        ("this is no TOML", vec!["line 4"]),
    ];
    for (line, words) in table {
        std::fs::write(&path, format!("{head}{line}\n")).unwrap();
        let output = run(&["serve", "--config", path.to_str().unwrap()]).await;
        let error = said(&output);
        assert_eq!(output.status.code(), Some(1), "{line}: {error}");
        for word in words {
            assert!(error.contains(word), "{line}: {word} in {error}");
        }
    }
    let output = run(&["serve", "--config", "/nowhere/at/all.toml"]).await;
    assert!(output.status.code() == Some(1) && said(&output).contains("/nowhere/at/all.toml"));
    let output = serve(&[]).await;
    assert!(output.status.code() == Some(1) && said(&output).contains("`listen` is missing"));
    let output = serve(&["--log", "no=such=filter"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let output = run(&["serve", "--id", "0"]).await;
    assert!(output.status.code() == Some(2) && said(&output).contains("--id"));
}

#[tokio::test]
async fn the_example_file_starts_a_server_once_it_is_alone() {
    let example = include_str!("../../grapevine.example.toml");
    let farm_of_one: Vec<&str> = example
        .lines()
        .filter(|line| {
            let own = ["id =", "listen =", "http =", "peers =", "size ="];
            !own.iter().any(|start| line.starts_with(start))
        })
        .collect();
    let farm = Farm::start_with(1, &farm_of_one.join("\n")).await;
    assert_eq!(farm.send("POST", 0, "/sessions", "{}").await.0, 201);
}
