//! Filters and sort conditions as text, to be read and to be written.
//!
//! ```text
//! filter    = all {"or" all}
//! all       = one {"and" one}
//! one       = "not" one | "(" filter ")" | "true" | "false" | path test
//! test      = ("=" | "<>" | "<" | "<=" | ">" | ">=") value | "between" value "and" value
//!           | "begins_with" string | "contains" value | ["not"] "exists" | "in" "(" [value {"," value}] ")"
//! path      = a.b | "a name with spaces.b"
//! value     = JSON
//! condition = ["sub" | "sort"] (("=" | "<" | "<=" | ">" | ">=") value | "between" … | "begins_with" …)
//! ```

mod display;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use self::parser::Parser;
use super::{filter::Filter, query::Sort};
use crate::error::{Error, Result};

/// The words that are no paths unless they are in quotes.
const WORDS: [&str; 10] =
    ["and", "begins_with", "between", "contains", "exists", "false", "in", "not", "or", "true"];

/// Where and why a text is none.
#[derive(Debug)]
struct SyntaxError {
    /// In bytes.
    at: usize,
    reason: String,
}

impl SyntaxError {
    /// The error that callers see. The column counts characters, from 1.
    fn into_error(self, field: &'static str, text: &str) -> Error {
        let column = text[..self.at].chars().count() + 1;
        Error::invalid(field, format!("at column {column}: {}", self.reason))
            .with(field, text)
            .with("column", column.to_string())
    }
}

/// Reads a filter as text.
///
/// A condition is a field's path and a test of it: `=`, `<>` (or `!=`), `<`, `<=`, `>`, `>=`, `between X and Y`,
/// `begins_with "text"`, `contains X`, `exists`, `not exists` or `in (X, Y)`. Values are JSON, so text is in double
/// quotes. Conditions are joined by `and`, `or` and `not`, of which `not` binds the most and `or` the least, and by
/// parentheses; `true` and `false` stand for themselves. `a.b` is a nested field; a path with spaces, or one of these
/// words, is in double quotes too. Words may be in capitals.
///
/// ```
/// use larder::{Filter, field};
///
/// let filter: Filter = r#"address.city begins_with "B" and (total > 9.5 or "paid in" in ("eur", "usd"))"#.parse()?;
/// let paid_in = field("paid in").is_in(["eur", "usd"]);
/// assert_eq!(filter, field("address.city").begins_with("B").and(field("total").gt(9.5).or(paid_in)));
/// assert_eq!(filter.to_string().parse::<Filter>()?, filter);
///
/// let error = "total > ".parse::<Filter>().unwrap_err();
/// assert!(error.to_string().contains("at column 9"), "{error}");
/// # Ok::<(), larder::Error>(())
/// ```
impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Parser::new(text).whole(Parser::filter).map_err(|error| error.into_error("filter", text))
    }
}

/// Reads a sort condition as text: `=`, `<`, `<=`, `>` or `>=` and a value, `between X and Y`, or `begins_with "text"`.
/// A value is a JSON number or string. The word `sub` or `sort` may stand before it.
///
/// ```
/// use larder::Sort;
///
/// assert_eq!(r#"sub begins_with "2026-03""#.parse::<Sort>()?, Sort::begins_with("2026-03"));
/// assert_eq!("between 1 and 2.5".parse::<Sort>()?, Sort::between(1, 2.5));
/// # Ok::<(), larder::Error>(())
/// ```
impl FromStr for Sort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Parser::new(text).whole(Parser::sort).map_err(|error| error.into_error("sort", text))
    }
}
