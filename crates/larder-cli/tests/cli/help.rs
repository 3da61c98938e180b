//! The help texts, as they are shown.

#[test]
fn help_is_as_shown() {
    trycmd::TestCases::new().env("COLUMNS", "100").case("tests/help/*.trycmd");
}
