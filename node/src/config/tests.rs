use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

const EXAMPLE: &str = include_str!("../../grapevine.example.toml");

fn parse(text: &str) -> Result<Options, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let options = combine(file, ServeArgs::default(), None).map_err(|error| error.to_string())?;
    check(&options).map_err(|error| error.to_string())?;
    Ok(options)
}

const SMALL: &str = "id = 1\nlisten = '127.0.0.1:7401'\nhttp = '127.0.0.1:8401'\n";

fn small(more: &str) -> Result<Options, String> {
    parse(&format!("{SMALL}{more}\n"))
}

#[test]
fn the_example_file_shows_every_option_with_its_default() {
    let options = parse(EXAMPLE).unwrap();
    let peers = Peers::Listed(vec!["127.0.0.1:7402".into(), "127.0.0.1:7403".into()]);
    assert_eq!(Options { peers, ..options.clone() }, options);
    assert_eq!(options.farm, Farm::default());
    assert_eq!(options.local, Local::default());
    assert_eq!(options.limits, HttpLimits::default());
    assert_eq!(options.cookie, small("").unwrap().cookie);
    assert_eq!(options.log, small("").unwrap().log);

    let shown: BTreeMap<String, toml::Value> = toml::from_str(EXAMPLE).unwrap();
    let keys =
        |table: &str| -> Vec<String> { shown[table].as_table().unwrap().keys().cloned().collect() };
    let fields = |value: Value| -> Vec<String> {
        let mut fields: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        fields.sort();
        fields
    };
    assert_eq!(keys("farm"), fields(serde_json::to_value(Farm::default()).unwrap()));
    assert_eq!(keys("local"), fields(serde_json::to_value(Local::default()).unwrap()));
}

#[test]
fn the_command_line_overrides_the_file_and_the_environment() {
    let file: File = toml::from_str(EXAMPLE).unwrap();
    let args = ServeArgs {
        id: Some(9),
        http: Some("127.0.0.1:1".parse().unwrap()),
        peers: vec!["127.0.0.1:2".into()],
        log: Some("debug".into()),
        ..ServeArgs::default()
    };
    let options = combine(file, args, Some("warn".into())).unwrap();
    assert_eq!((options.id, options.http.port()), (9, 1));
    assert_eq!(options.peers, Peers::Listed(vec!["127.0.0.1:2".into()]));
    assert_eq!(options.log, "debug");
    assert_eq!(options.listen.port(), 7401, "what the command line does not name is the file's");
}

#[test]
fn the_farm_is_as_large_as_its_peers_unless_the_file_says_more() {
    assert_eq!(small("").unwrap().farm.size, 1);
    assert_eq!(small("peers = ['127.0.0.1:2', '127.0.0.1:3']").unwrap().farm.size, 3);
    assert_eq!(small("peers = ['127.0.0.1:2']\n[farm]\nsize = 5").unwrap().farm.size, 5);
    let dns = small("peers_from_dns = { name = 'localhost:7401', size = 4 }").unwrap();
    assert_eq!(dns.farm.size, 4);
}

#[test]
fn a_default_that_the_file_does_not_name_is_cut_to_the_longest_life_that_it_names() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let lives = |more: &str| {
        let farm = small(more).unwrap().farm;
        (farm.default_lifetime, farm.default_idle_timeout)
    };
    assert_eq!(lives("[farm]\nmax_lifetime = '1h'"), (minutes(60), minutes(30)));
    assert_eq!(lives("[farm]\nmax_lifetime = '10m'"), (minutes(10), minutes(10)));
    let named = "[farm]\nmax_lifetime = '10m'\ndefault_lifetime = '5m'";
    assert_eq!(lives(named), (minutes(5), minutes(10)));
    assert_eq!(lives("[farm]\nmax_lifetime = '2days'"), (minutes(24 * 60), minutes(30)));
}

#[test]
fn what_does_not_fit_is_refused_by_name_value_and_what_is_allowed() {
    let table = [
        ("", &["unknown field `idd`", "expected one of"][..], "idd = 2"),
        ("an id", &["id = 0 is not allowed", "from 1 to 65535"], "id = 0"),
        ("an id", &["u16"], "id = 70000"),
        (
            "listen",
            &["listen = 10.0.0.1:7401", "loopback", "not encrypted"],
            "listen = '10.0.0.1:7401'",
        ),
        ("listen", &["listen = 0.0.0.0:7401", "loopback"], "listen = '0.0.0.0:7401'"),
        ("listen", &["socket address"], "listen = 'nonsense'"),
        ("http", &["http = 192.168.1.5:80", "loopback"], "http = '192.168.1.5:80'"),
        ("http", &["must differ from `listen`"], "http = '127.0.0.1:7401'"),
    ];
    for (replaced, words, line) in table {
        let field = line.split(' ').next().unwrap();
        let rest: Vec<&str> =
            SMALL.lines().filter(|other| !other.starts_with(&format!("{field} "))).collect();
        let error = parse(&format!("{}\n{line}\n", rest.join("\n"))).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{replaced} {line}: {error}");
        }
    }
    let table = [
        ("peers = ['8.8.8.8:53']", &["peer = 8.8.8.8:53", "loopback"][..]),
        ("peers = ['127.0.0.1']", &["peer = 127.0.0.1 ", "host:port"]),
        ("peers = ['127.0.0.1:0']", &["peer = 127.0.0.1:0", "host:port"]),
        ("peers = ['127.0.0.1:7401']", &["own `listen`"]),
        ("peers = ['127.0.0.1:2', '127.0.0.1:2']", &["given once"]),
        ("context_cookie = 'a;b'", &["context_cookie = \"a;b\"", "1 to 64 characters"]),
        ("context_cookie = 'grapevine'", &["context_cookie", "must differ from `cookie`"]),
        ("cookie = 'a b'", &["cookie = \"a b\"", "1 to 64 characters"]),
        ("sites = ['javascript:alert(1)']", &["site = ", "http://"]),
        ("sites = ['http://a\"b']", &["site = ", "http://"]),
        ("[farm]\nheartbeat_every = 5", &["heartbeat_every", "\"500ms\""]),
        ("[farm]\nheartbeat_every = '5 parsecs'", &["heartbeat_every", "5 parsecs", "\"500ms\""]),
        ("[farm]\nheartbeat_every = '1ms'", &["heartbeat_every = 1ms", "10 ms to 10 s"]),
        ("[farm]\nwhen_isolated = 'panic'", &["when_isolated", "`serve` or `refuse`"]),
        ("[farm]\nacks = 'some'", &["acks", "some", "\"majority\""]),
        ("[farm]\nacks = -1", &["acks", "-1", "number of other servers"]),
        ("[farm]\nacks = 3", &["acks = Peers(3)", "below size"]),
        ("[farm]\nsizee = 5", &["unknown field `sizee`", "expected one of"]),
        ("peers = ['127.0.0.1:2']\n[farm]\nsize = 1", &["farm.size = 1", "at least 2"]),
        ("[farm]\nmax_lifetime = '1h'\ndefault_lifetime = '2h'", &["default_lifetime = 7200s"]),
        ("[farm]\nmax_lifetime = '1m'\ndefault_idle_timeout = '2m'", &["default_idle_timeout"]),
        ("[farm]\nmax_lifetime = '0s'", &["max_lifetime = 0ns", "1 s to 366 days"]),
        ("[local]\nquery_timeout = '0s'", &["local.query_timeout = 0s", "1ms to 1m"]),
        ("[local]\nack_timeout = '61s'", &["local.ack_timeout = 1m 1s", "1ms to 1m"]),
        ("[local]\npending_requests = 0", &["local.pending_requests = 0", "at least 1"]),
        ("[http_limits]\nexpirations_bytes = 5", &["expirations_bytes = 5", "from 1024"]),
        ("[http_limits]\nbody_bytes = 5", &["http_limits.body_bytes = 5", "from 1024"]),
        ("[http_limits]\nconnections = 0", &["http_limits.connections = 0", "from 1 to"]),
        ("[http_limits]\nbody_timeout = '0s'", &["body_timeout = 0s", "100ms to 10m"]),
        ("farm_key_file = '/nowhere/key'", &["/nowhere/key", "can't be read"]),
    ];
    for (line, words) in table {
        let error = small(line).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{line}: {error}");
        }
    }
    assert!(parse("listen = '127.0.0.1:1'").unwrap_err().contains("--id"));
}

#[test]
fn a_key_is_read_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("farm.key");
    let read = || read_key("farm_key_file", Some(&path));
    std::fs::write(&path, format!("{}\n", "aB".repeat(32))).unwrap();
    let key = read().unwrap().unwrap();
    assert_eq!(key.0, [0xab; 32]);
    assert!(!format!("{key:?}").contains("171"));
    assert!(key.is(&"Ab".repeat(32)));
    for wrong in ["", "ab", &"zz".repeat(32), &"ab".repeat(33), &"ä".repeat(32)] {
        assert!(!key.is(wrong), "{wrong}");
        std::fs::write(&path, wrong).unwrap();
        let error = read().unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
    }
    assert!(!key.is(&"ac".repeat(32)));
    assert_eq!(read_key("farm_key_file", None).unwrap(), None);
}

#[test]
fn the_application_and_the_farm_do_not_share_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| folder.path().join(name).display().to_string());
    for (file, digits) in files.iter().zip(["ab", "cd"]) {
        std::fs::write(file, digits.repeat(32)).unwrap();
    }
    let keys = |farm: &str, application: &str| {
        small(&format!("farm_key_file = '{farm}'\napplication_key_file = '{application}'"))
    };
    let options = keys(&files[0], &files[1]).unwrap();
    assert_eq!(options.application_key.unwrap().0, [0xcd; 32]);
    let error = keys(&files[0], &files[0]).unwrap_err();
    assert!(error.contains("application_key_file") && error.contains("must differ"), "{error}");
    let error = small("application_key_file = '/nowhere/key'").unwrap_err();
    assert!(error.contains("/nowhere/key") && error.contains("can't be read"), "{error}");
}
