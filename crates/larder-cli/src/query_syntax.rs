//! Queries as text: `type:A,B tag:x=y or tag:"with a space"`.
//!
//! Items are joined by `;` or the word `or`; an event matches if it matches any of them. An item is one or
//! more terms: `type:A,B` (any of these types) and `tag:T` (this tag, and every other one given). A value ends
//! at a space or `;`, unless it is in double quotes, where `\"` and `\\` stand for `"` and `\`. `all` means
//! every event. What starts with `[` or `{` is the JSON form: `[{"types": ["A"], "tags": ["x"]}]`.

use std::{iter::Peekable, str::CharIndices};

use larder::{Query, QueryItem};

use crate::failure::Failure;

/// For the help of options that take a query.
pub(crate) const HELP: &str = "\
A query is one or more items, joined by `;` or `or`: an event matches if any item does. An item is `type:A,B` (any \
of these types), `tag:T` (has this tag; may be repeated), or both. Put values with spaces, commas or `;` in double \
quotes: `tag:\"state:New York\"`. `all` is every event. JSON works too: `[{\"types\":[\"A\"],\"tags\":[\"x\"]}]`.";

/// Where and why a text is no query.
#[derive(Debug, PartialEq, Eq)]
struct SyntaxError {
    /// From 1, in characters.
    column: usize,
    reason: String,
}

/// Reads a query; a failure shows the place.
pub(crate) fn parse(text: &str) -> Result<Query, Failure> {
    let parsed = match text.trim_start().chars().next() {
        Some('[' | '{') => parse_json(text),
        _ => Parser { text, chars: text.char_indices().peekable() }.query(),
    };
    parsed.map_err(|error| {
        let mut failure =
            Failure::invalid(format!("not a query, at column {}: {}", error.column, error.reason));
        if !text.contains(char::is_control) {
            failure.details.push(text.to_owned());
            failure.details.push(format!("{}^", " ".repeat(error.column - 1)));
        }
        failure.context.insert("query".into(), text.into());
        failure.context.insert("column".into(), error.column.into());
        failure.hint(r#"for example `type:OrderPlaced,OrderPaid tag:customer:c1 or tag:"state:New York"`"#)
    })
}

fn parse_json(text: &str) -> Result<Query, SyntaxError> {
    let at =
        |error: serde_json::Error| SyntaxError { column: error.column().max(1), reason: error.to_string() };
    if text.trim_start().starts_with('{') {
        return serde_json::from_str::<QueryItem>(text).map(Query::from).map_err(at);
    }
    serde_json::from_str(text).map_err(at)
}

struct Parser<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl Parser<'_> {
    fn query(mut self) -> Result<Query, SyntaxError> {
        if self.text.trim() == "all" {
            return Ok(Query::all());
        }
        let mut items = Vec::new();
        loop {
            let (item, more) = self.item()?;
            items.push(item);
            if !more {
                return Ok(items.into());
            }
        }
    }

    /// An item, and whether a separator after it announces another.
    fn item(&mut self) -> Result<(QueryItem, bool), SyntaxError> {
        let mut item = QueryItem::new();
        let mut terms = 0;
        loop {
            self.skip_spaces();
            let start = self.place();
            let at_end = self.chars.peek().is_none();
            let separator = self.chars.next_if(|(_, c)| *c == ';').is_some();
            let keyword = if separator { String::new() } else { self.keyword() };
            let or = keyword == "or" && self.chars.peek().is_none_or(|(_, c)| c.is_whitespace());
            if at_end || separator || or {
                return if terms > 0 { Ok((item, !at_end)) } else { Err(self.missing_item(start)) };
            }
            item = self.term(item, &keyword, start)?;
            terms += 1;
        }
    }

    fn missing_item(&self, at: usize) -> SyntaxError {
        self.error(at, "an item is missing here: `type:…`, `tag:…` or both")
    }

    /// The letters before a `:`.
    fn keyword(&mut self) -> String {
        let mut keyword = String::new();
        while let Some((_, c)) = self.chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_') {
            keyword.push(c);
        }
        keyword
    }

    fn term(&mut self, item: QueryItem, keyword: &str, start: usize) -> Result<QueryItem, SyntaxError> {
        if self.chars.next_if(|(_, c)| *c == ':').is_none() {
            let reason = match keyword {
                "all" => "`all` stands alone".to_owned(),
                _ => "a term starts with `type:` or `tag:`".to_owned(),
            };
            return Err(self.error(start, reason));
        }
        match keyword {
            "type" => {
                let mut item = item.types([self.value(true)?]);
                while self.chars.next_if(|(_, c)| *c == ',').is_some() {
                    item = item.types([self.value(true)?]);
                }
                Ok(item)
            }
            "tag" => Ok(item.tag(self.value(false)?)),
            _ => Err(self.error(start, format!("`{keyword}:` is not known; there are `type:` and `tag:`"))),
        }
    }

    /// A value, quoted or bare; a bare type ends at a comma too.
    fn value(&mut self, ends_at_comma: bool) -> Result<String, SyntaxError> {
        let start = self.place();
        if self.chars.next_if(|(_, c)| *c == '"').is_some() {
            return self.quoted(start);
        }
        let mut value = String::new();
        let part = |c: char| !c.is_whitespace() && c != ';' && !(ends_at_comma && c == ',');
        while let Some((at, c)) = self.chars.next_if(|(_, c)| part(*c)) {
            if c == '"' {
                return Err(self.error(at, "a quote inside a value; put the whole value in quotes"));
            }
            value.push(c);
        }
        if value.is_empty() { Err(self.error(start, "a value is missing here")) } else { Ok(value) }
    }

    fn quoted(&mut self, start: usize) -> Result<String, SyntaxError> {
        let mut value = String::new();
        loop {
            match self.chars.next() {
                None => return Err(self.error(start, "this quote is never closed")),
                Some((_, '"')) => break,
                Some((at, '\\')) => match self.chars.next() {
                    Some((_, c @ ('"' | '\\'))) => value.push(c),
                    _ => return Err(self.error(at, r#"after `\` comes `"` or `\`"#)),
                },
                Some((_, c)) => value.push(c),
            }
        }
        match self.chars.peek().copied() {
            Some((at, c)) if !c.is_whitespace() && !";,".contains(c) => {
                Err(self.error(at, "a space is missing after the quote"))
            }
            _ if value.is_empty() => Err(self.error(start, "a value is missing here")),
            _ => Ok(value),
        }
    }

    fn skip_spaces(&mut self) {
        while self.chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
    }

    /// The next character's place, in bytes.
    fn place(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn error(&self, at: usize, reason: impl Into<String>) -> SyntaxError {
        SyntaxError { column: self.text[..at].chars().count() + 1, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        parse(text).unwrap_or_else(|failure| panic!("{text}: {failure}"))
    }

    #[test]
    fn items_are_any_of_and_terms_all_of() {
        let item = || QueryItem::new().types(["A", "B"]).tags(["x=y", "z"]);
        assert_eq!(query("type:A,B tag:x=y tag:z"), item().into());
        let both = Query::from([item(), QueryItem::new().tag("w")]);
        assert_eq!(query("type:A,B tag:x=y tag:z or tag:w"), both);
        assert_eq!(query(" type:A,B tag:x=y  tag:z;tag:w "), both);
        assert_eq!(query("all"), Query::all());
    }

    #[test]
    fn tags_may_hold_colons_commas_and_spaces() {
        assert_eq!(query("tag:state:Texas"), QueryItem::new().tag("state:Texas").into());
        assert_eq!(query(r#"tag:"state:New York""#), QueryItem::new().tag("state:New York").into());
        assert_eq!(query("tag:a,b"), QueryItem::new().tag("a,b").into());
        assert_eq!(query(r#"tag:"a;\"b\\""#), QueryItem::new().tag(r#"a;"b\"#).into());
        assert_eq!(
            query(r#"type:"Order, placed",Paid"#),
            QueryItem::new().types(["Order, placed", "Paid"]).into()
        );
        assert_eq!(query("type:or tag:all"), QueryItem::new().types(["or"]).tag("all").into());
    }

    #[test]
    fn the_json_form_is_the_same() {
        let item = QueryItem::new().types(["A"]).tag("x");
        assert_eq!(query(r#"[{"types":["A"],"tags":["x"]}]"#), item.clone().into());
        assert_eq!(query(r#"{"types":["A"],"tags":["x"]}"#), item.into());
    }

    #[test]
    fn errors_name_the_column() {
        let cases = [
            ("", 1),
            ("type:", 6),
            ("tag:x or", 9),
            ("tag:x; ;tag:y", 8),
            ("tag:ü what:y", 7),
            ("tag:x Texas", 7),
            ("tag:\"x", 5),
            ("tag:\"x\"y", 8),
            ("tag:x\"y\"", 6),
            ("tag:\"\\x\"", 6),
            ("type:A,,B", 8),
            ("all tag:x", 1),
            ("[{\"tagz\":[]}]", 8),
        ];
        for (text, column) in cases {
            let failure = parse(text).expect_err(text);
            assert_eq!(failure.context["column"], column, "{text}: {failure}");
        }
    }
}
