use super::*;

fn changes(body: &str) -> Result<Vec<Change>, Problem> {
    decode::<Changes>(body.as_bytes())?.into_changes()
}

fn create(body: &str) -> Result<grapevine_tokio::Create, Problem> {
    decode::<NewSession>(body.as_bytes())?.into_create(&Farm::default())
}

fn stored(json: &str) -> Result<String, Problem> {
    let body = format!("{{\"set\": {{\"k\": {json}}}}}");
    match changes(&body)?.as_slice() {
        [Change::Set(_, value)] => Ok(String::from_utf8(value.as_bytes().to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_is_kept_as_it_was_written_but_for_blanks() {
    let table = [
        ("12345678901234567890123", "12345678901234567890123"),
        ("1.0", "1.0"),
        (" { \"a b\" : [ 1 ,\n2 ] } ", "{\"a b\":[1,2]}"),
        (r#""a \" b \\""#, r#""a \" b \\""#),
        ("null", "null"),
        ("\"ä\u{1f600}\"", "\"ä\u{1f600}\""),
    ];
    for (given, kept) in table {
        assert_eq!(stored(given).unwrap(), kept, "{given}");
    }
}

#[test]
fn values_that_programs_could_not_read_back_are_refused() {
    for value in ["1e999", r#""\ud800""#] {
        assert_eq!(stored(value).unwrap_err().code, Code::InvalidValue, "{value}");
    }
}

#[test]
fn a_value_may_be_nested_just_so_deep_and_no_depth_crashes() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(stored(&nested(DEPTH)).is_ok());
    assert_eq!(stored(&nested(DEPTH + 1)).unwrap_err().code, Code::OverLimit);
    assert_eq!(stored(&nested(100_000)).unwrap_err().code, Code::OverLimit);
    let whole = changes(&nested(100_000)).unwrap_err();
    assert_eq!(whole.code, Code::InvalidBody);
    let brackets = format!("\"{}\"", "[".repeat(DEPTH * 2));
    assert!(stored(&brackets).is_ok(), "brackets in a string are no nesting");
}

#[test]
fn a_request_names_each_key_once() {
    for body in [
        r#"{"set": {"a": 1, "a": 2}}"#,
        r#"{"set": {"a": 1}, "remove": ["a"]}"#,
        r#"{"set": {"a": 1}, "add": {"a": 1}}"#,
        r#"{"remove": ["a", "a"]}"#,
        r#"{"remove": ["a"], "add": {"a": 1}}"#,
        r#"{"add": {"a": 1, "a": 1}}"#,
    ] {
        assert_eq!(changes(body).unwrap_err().code, Code::DuplicateKey, "{body}");
    }
    let twice = create(r#"{"attributes": {"a": 1, "a": 1}}"#).unwrap_err();
    assert_eq!(twice.code, Code::DuplicateKey);
}

#[test]
fn all_parts_of_a_change_may_be_left_out() {
    assert_eq!(changes("{}").unwrap(), []);
    assert_eq!(changes(r#"{"set": null}"#).unwrap(), []);
    assert_eq!(create("{}").unwrap(), grapevine_tokio::Create::default());
}

#[test]
fn what_is_not_json_says_where_and_what_has_another_shape_says_what() {
    let error = changes("{\"set\":\n {\"a\": }}").unwrap_err();
    assert_eq!(error.code, Code::MalformedJson);
    assert!(error.message().contains("line 2"), "{}", error.message());
    for body in ["", "{", "{\"set\": {}} x", "\u{0}"] {
        assert_eq!(changes(body).unwrap_err().code, Code::MalformedJson, "{body:?}");
    }
    assert_eq!(decode::<Changes>(b"{\"\xff\": 1}").unwrap_err().code, Code::MalformedJson);
    for body in [
        "[]",
        "5",
        r#"{"sett": {}}"#,
        r#"{"set": []}"#,
        r#"{"set": {}, "set": {}}"#,
        r#"{"remove": {"a": 1}}"#,
        r#"{"remove": [1]}"#,
        r#"{"add": 5}"#,
    ] {
        assert_eq!(changes(body).unwrap_err().code, Code::InvalidBody, "{body}");
    }
    let missing = decode::<Replacement>(b"{}").unwrap_err();
    assert!(missing.message().contains("missing field `attributes`"), "{}", missing.message());
}

#[test]
fn times_are_whole_seconds_within_the_farms_bounds() {
    let most = Farm::default().max_lifetime.as_secs();
    for field in ["idle_timeout_s", "lifetime_s"] {
        for fits in [1, 1800, most] {
            assert!(create(&format!("{{\"{field}\": {fits}}}")).is_ok(), "{field} {fits}");
        }
        let too_much = (most + 1).to_string();
        for wrong in ["0", "-1", "1.5", "1e3", "\"60\"", "true", "[]", &too_much, &"9".repeat(99)] {
            let error = create(&format!("{{\"{field}\": {wrong}}}")).unwrap_err();
            assert_eq!(error.code, Code::OutOfRange, "{field} {wrong}");
            let all = [field, "whole number of seconds", &most.to_string()];
            assert!(all.iter().all(|word| error.message().contains(word)), "{}", error.message());
        }
    }
}

#[test]
fn only_whole_numbers_can_be_added() {
    assert!(changes(r#"{"add": {"n": -5, "m": 9223372036854775807}}"#).is_ok());
    for wrong in ["1.5", "\"1\"", "null", "9223372036854775808", "[]"] {
        let error = changes(&format!("{{\"add\": {{\"n\": {wrong}}}}}")).unwrap_err();
        assert_eq!(error.code, Code::OutOfRange, "{wrong}");
    }
}

#[test]
fn keys_that_can_not_be_are_refused_by_name() {
    let long = "k".repeat(Key::MAX_BYTES + 1);
    let error = changes(&format!("{{\"set\": {{\"{long}\": 1}}}}")).unwrap_err();
    assert_eq!(error.code, Code::OverLimit);
    for key in ["", "a\\u0000b", "\\n"] {
        let error = changes(&format!("{{\"remove\": [\"{key}\"]}}")).unwrap_err();
        assert_eq!(error.code, Code::InvalidKey, "{key}");
    }
}
