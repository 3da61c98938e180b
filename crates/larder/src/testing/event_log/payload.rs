//! Cases of what is stored as it was given: el_20.

use crate::{
    error::ErrorKind,
    event::{NewEvent, Payload},
    event_log::{EventLog, Expected},
    testing::{
        fixture::Fixture,
        support::{CaseResult, event, orders, refused},
    },
};

/// JSON texts that a parser would give back differently.
const TEXTS: [&str; 22] = [
    r#""\ud800""#,
    r#"{"a":"\uDFFF\ud83d"}"#,
    r#""\u0041\/\u00e9""#,
    "1e+21",
    "1E400",
    "-0",
    "-0.0",
    "1.0",
    "0.1000000000000000055511151231257827",
    "123456789012345678901234567890",
    r#"{"a":1,"a":2,"a":1}"#,
    r#"{"z":1,"a":2,"m":3}"#,
    r#"{"":""}"#,
    " {\t\"a\" :\r\n[ 1 ,2 ] } ",
    r#"{"a":null}"#,
    "null",
    "true",
    "\"\"",
    "[]",
    r#""é 日本 😀 \u0000""#,
    "\"\u{2028}\u{7f}\u{feff}\"",
    r#"[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]"#,
];

fn append_texts(log: &EventLog) -> CaseResult {
    for text in TEXTS {
        log.append("s", Expected::Any, [NewEvent::json("A", text)]).wait()?;
        let metadata = format!("{{ \"m\": {text} }}");
        log.append("m", Expected::Any, [event("A").metadata_json(metadata)]).wait()?;
    }
    Ok(())
}

fn check_texts(log: &EventLog) -> CaseResult {
    let payloads = log.read("s", ..).wait()?;
    for (event, text) in payloads.iter_with(TEXTS) {
        assert_eq!(event.payload, Payload::Json(text.into()));
    }
    let metadata = log.read("m", ..).wait()?;
    for (event, text) in metadata.iter_with(TEXTS) {
        assert_eq!(event.metadata, Some(format!("{{ \"m\": {text} }}")));
    }
    Ok(())
}

trait IterWith {
    /// Each event with what it should be, and none without.
    fn iter_with<const N: usize>(&self, texts: [&'static str; N]) -> Vec<(&crate::Event, &'static str)>;
}

impl IterWith for crate::Page<crate::Event> {
    fn iter_with<const N: usize>(&self, texts: [&'static str; N]) -> Vec<(&crate::Event, &'static str)> {
        assert_eq!(self.items.len(), N);
        self.items.iter().zip(texts).collect()
    }
}

pub(in crate::testing) fn el_20_json_text_survives_byte_for_byte(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    append_texts(&log)?;
    check_texts(&log)
}

pub(in crate::testing) fn el_20_json_text_survives_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    append_texts(&orders(&store)?)?;
    let store = fixture.reopen(store)?;
    check_texts(&orders(&store)?)
}

pub(in crate::testing) fn el_20_what_is_not_json_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let bad = [
        "",
        " ",
        "{",
        "nul",
        "{} {}",
        "NaN",
        "Infinity",
        "[1,]",
        "{'a':1}",
        "{a:1}",
        "01",
        "+1",
        ".5",
        "\"",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "undefined",
        "// 1",
        "\u{feff}1",
    ];
    for bad in bad {
        let error = refused!(
            log.append("s", 0, [NewEvent::json("A", bad)]).wait(),
            ErrorKind::InvalidArgument { field: "payload", .. }
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("bytes")), "{error:?}");
    }
    assert_eq!(log.head("s").wait()?, 0);
    Ok(())
}

pub(in crate::testing) fn el_20_bytes_come_back_as_bytes(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let all: Vec<u8> = (0..=255).collect();
    let payloads = [&b""[..], b"{}", b"null", b"not JSON", &[0xff, 0xfe, 0], &all];
    log.append("s", 0, payloads.map(|bytes| NewEvent::bytes("A", bytes))).wait()?;
    let page = log.read("s", ..).wait()?;
    assert_eq!(page.items.len(), payloads.len());
    for (event, bytes) in page.items.iter().zip(payloads) {
        assert_eq!(event.payload, Payload::Bytes(bytes.to_vec()));
        refused!(event.decode::<()>(), ErrorKind::Decode);
    }
    Ok(())
}

pub(in crate::testing) fn el_01_metadata_is_a_json_object(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for bad in ["", "1", "[]", "null", "\"{}\"", "{", "{}{}"] {
        let result = log.append("s", 0, [event("A").metadata_json(bad)]).wait();
        refused!(result, ErrorKind::InvalidArgument { field: "metadata", .. });
    }
    log.append("s", 0, [event("A").metadata_json(" {}"), event("B")]).wait()?;
    let page = log.read("s", ..).wait()?;
    let metadata: Vec<_> = page.items.iter().map(|event| event.metadata.as_deref()).collect();
    assert_eq!(metadata, [Some(" {}"), None]);
    Ok(())
}
