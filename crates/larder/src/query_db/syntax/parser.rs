//! From text to filters and sort conditions.

use serde_json::Value;

use super::{
    SyntaxError, WORDS,
    lexer::{Lexer, is_bare},
};
use crate::query_db::{
    filter::{Filter, Test},
    key::KeyValue,
    number::Number,
    path::FieldPath,
    query::Sort,
};

/// The deepest nesting of parentheses and `not`: no filter that is accepted has more.
const DEPTH: usize = 64;

#[derive(Debug)]
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    depth: usize,
}

type Parsed<T> = Result<T, SyntaxError>;

/// A sign, and what it makes of the value after it.
type Sign<V, T> = (&'static str, fn(V) -> T);

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { lexer: Lexer { text, at: 0 }, depth: 0 }
    }

    /// Reads all of the text.
    pub(super) fn whole<T>(mut self, read: fn(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let read = read(&mut self)?;
        if self.lexer.rest().is_empty() { Ok(read) } else { self.lexer.expected("the end") }
    }

    pub(super) fn filter(&mut self) -> Parsed<Filter> {
        self.joined("or", Self::all, Filter::Or)
    }

    fn all(&mut self) -> Parsed<Filter> {
        self.joined("and", Self::one, Filter::And)
    }

    /// One or more, with this word between them; one alone is itself.
    fn joined(
        &mut self,
        word: &str,
        read: fn(&mut Self) -> Parsed<Filter>,
        join: fn(Vec<Filter>) -> Filter,
    ) -> Parsed<Filter> {
        let first = read(self)?;
        if !self.lexer.word(word) {
            return Ok(first);
        }
        let mut filters = vec![first, read(self)?];
        while self.lexer.word(word) {
            filters.push(read(self)?);
        }
        Ok(join(filters))
    }

    fn one(&mut self) -> Parsed<Filter> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.lexer.refuse(self.lexer.at, format!("this is nested more than {DEPTH} times"));
        }
        let filter = self.unnested_one();
        self.depth -= 1;
        filter
    }

    fn unnested_one(&mut self) -> Parsed<Filter> {
        if self.lexer.word("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.lexer.sign("(") {
            let filter = self.filter()?;
            return if self.lexer.sign(")") { Ok(filter) } else { self.lexer.expected("`and`, `or` or `)`") };
        }
        if self.lexer.word("true") {
            return Ok(Filter::And(Vec::new()));
        }
        if self.lexer.word("false") {
            return Ok(Filter::Or(Vec::new()));
        }
        let path = self.path()?;
        Ok(Filter::Field { path, test: self.test()? })
    }

    fn path(&mut self) -> Parsed<String> {
        let quoted = self.lexer.rest().starts_with('"');
        let start = self.lexer.at;
        let path = if quoted {
            self.lexer.string()?
        } else {
            let path = self.lexer.peek_word();
            if path.is_empty() || WORDS.iter().any(|word| path.eq_ignore_ascii_case(word)) {
                return self.lexer.expected("a field");
            }
            self.lexer.at += path.len();
            path.to_owned()
        };
        match path.parse::<FieldPath>() {
            Ok(_) => Ok(path),
            Err(error) => self.lexer.refuse(start, error.to_string()),
        }
    }

    fn test(&mut self) -> Parsed<Test> {
        let lexer = &mut self.lexer;
        let signs: [Sign<Value, Test>; 8] = [
            ("<>", Test::Ne),
            ("!=", Test::Ne),
            ("<=", Test::Le),
            (">=", Test::Ge),
            ("==", Test::Eq),
            ("=", Test::Eq),
            ("<", Test::Lt),
            (">", Test::Gt),
        ];
        if let Some((_, test)) = signs.into_iter().find(|(sign, _)| lexer.sign(sign)) {
            return lexer.value().map(test);
        }
        if lexer.word("between") {
            let (from, to) = self.both(Lexer::value)?;
            return Ok(Test::Between(from, to));
        }
        if lexer.word("begins_with") {
            return lexer.string().map(Test::BeginsWith);
        }
        if lexer.word("contains") {
            return lexer.value().map(Test::Contains);
        }
        if lexer.word("exists") {
            return Ok(Test::Exists);
        }
        if lexer.word("not") {
            return if lexer.word("exists") { Ok(Test::NotExists) } else { lexer.expected("`exists`") };
        }
        if lexer.word("in") {
            return self.list().map(Test::In);
        }
        lexer.expected(
            "a test (`=`, `<>`, `<`, `<=`, `>`, `>=`, `between`, `begins_with`, `contains`, `exists`, `in`)",
        )
    }

    /// `X and Y`.
    fn both<T>(&mut self, read: fn(&mut Lexer<'a>) -> Parsed<T>) -> Parsed<(T, T)> {
        let from = read(&mut self.lexer)?;
        if !self.lexer.word("and") {
            return self.lexer.expected("`and`");
        }
        Ok((from, read(&mut self.lexer)?))
    }

    fn list(&mut self) -> Parsed<Vec<Value>> {
        let lexer = &mut self.lexer;
        if !lexer.sign("(") {
            return lexer.expected("`(`");
        }
        let mut values = Vec::new();
        if lexer.sign(")") {
            return Ok(values);
        }
        loop {
            values.push(lexer.value()?);
            if lexer.sign(")") {
                return Ok(values);
            }
            if !lexer.sign(",") {
                return lexer.expected("`,` or `)`");
            }
        }
    }

    pub(super) fn sort(&mut self) -> Parsed<Sort> {
        let lexer = &mut self.lexer;
        let _ = lexer.word("sub") || lexer.word("sort");
        let signs: [Sign<KeyValue, Sort>; 6] = [
            ("<=", Sort::Le),
            (">=", Sort::Ge),
            ("==", Sort::Eq),
            ("=", Sort::Eq),
            ("<", Sort::Lt),
            (">", Sort::Gt),
        ];
        if let Some((_, sort)) = signs.into_iter().find(|(sign, _)| lexer.sign(sign)) {
            return key_value(lexer).map(sort);
        }
        if lexer.word("between") {
            let (from, to) = self.both(key_value)?;
            return Ok(Sort::Between(from, to));
        }
        if lexer.word("begins_with") {
            return lexer.string().map(Sort::BeginsWith);
        }
        lexer.expected("a condition (`=`, `<`, `<=`, `>`, `>=`, `between`, `begins_with`)")
    }
}

/// A number or a string.
fn key_value(lexer: &mut Lexer<'_>) -> Parsed<KeyValue> {
    lexer.rest();
    let start = lexer.at;
    match lexer.value()? {
        Value::String(text) => Ok(text.into()),
        Value::Number(number) => Ok(Number::from_json(&number).into()),
        other => {
            lexer.refuse(start, format!("a number or a text in double quotes should be here, not `{other}`"))
        }
    }
}

/// Whether a path needs no quotes.
pub(super) fn is_plain(path: &str) -> bool {
    !path.is_empty() && path.chars().all(is_bare) && !WORDS.iter().any(|word| path.eq_ignore_ascii_case(word))
}
