//! Cuts a query into tokens. The whole text is cut before parsing; cutting stops at the first
//! thing that is no token, which becomes the last token.

use super::{
    number::{parse_duration_ms, parse_number},
    quote::{quote, quote_char, unquote},
};
use crate::span::Span;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Eof,
    /// No token: what is wrong.
    Error(String),
    Identifier,
    /// An identifier with a colon.
    MetricIdentifier,
    String(Vec<u8>),
    Number(f64),
    /// A duration literal, in milliseconds.
    Duration(i64),
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `==`
    Equal,
    NotEqual,
    Less,
    Greater,
    LessEqual,
    GreaterEqual,
    RegexMatch,
    RegexNotMatch,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    At,
    /// `</`
    TrimUpper,
    /// `>/`
    TrimLower,
    Keyword(Keyword),
}

macro_rules! keywords {
    ($($name:ident $word:literal $class:ident,)*) => {
        /// A word that means something in some places, and is a name elsewhere.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Keyword { $($name,)* }

        impl Keyword {
            fn of(word: &str) -> Option<Self> {
                [$(($word, Self::$name),)*].into_iter().find(|(w, _)| word.eq_ignore_ascii_case(w)).map(|(_, k)| k)
            }

            /// What sort of keyword `word` is, if it is one.
            pub fn class_of(word: &str) -> Option<Class> {
                Self::of(word).map(Self::class)
            }

            /// What sort of word it is.
            pub fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)* }
            }

            /// The word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

/// Sorts of keywords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Operator,
    Aggregator,
    /// Cannot be a metric name.
    Reserved,
    /// Can be a metric name.
    Modifier,
    Preprocessor,
}

keywords! {
    And "and" Operator,
    Or "or" Operator,
    Unless "unless" Operator,
    Atan2 "atan2" Operator,
    Sum "sum" Aggregator,
    Avg "avg" Aggregator,
    Count "count" Aggregator,
    Min "min" Aggregator,
    Max "max" Aggregator,
    Group "group" Aggregator,
    Stddev "stddev" Aggregator,
    Stdvar "stdvar" Aggregator,
    Topk "topk" Aggregator,
    Bottomk "bottomk" Aggregator,
    CountValues "count_values" Aggregator,
    Quantile "quantile" Aggregator,
    Limitk "limitk" Aggregator,
    LimitRatio "limit_ratio" Aggregator,
    Offset "offset" Modifier,
    Smoothed "smoothed" Modifier,
    Anchored "anchored" Modifier,
    By "by" Modifier,
    Without "without" Modifier,
    Fill "fill" Modifier,
    FillLeft "fill_left" Modifier,
    FillRight "fill_right" Modifier,
    On "on" Reserved,
    Ignoring "ignoring" Reserved,
    GroupLeft "group_left" Reserved,
    GroupRight "group_right" Reserved,
    Bool "bool" Reserved,
    Start "start" Preprocessor,
    End "end" Preprocessor,
    Step "step" Preprocessor,
    Range "range" Preprocessor,
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub span: Span,
}

impl Token {
    /// How error messages speak of the token.
    pub fn describe(&self, query: &str) -> String {
        let text = self.span.text(query);
        match &self.kind {
            Kind::Eof => "end of input".to_owned(),
            Kind::Error(message) => message.clone(),
            Kind::Identifier => format!("identifier {}", quote(text)),
            Kind::MetricIdentifier => format!("metric identifier {}", quote(text)),
            Kind::String(_) => format!("string {}", shorten(text)),
            Kind::Number(_) => format!("number {}", shorten(text)),
            Kind::Duration(_) => format!("duration {}", shorten(text)),
            Kind::Keyword(k) => match k.class() {
                Class::Operator => format!("<op:{text}>"),
                Class::Aggregator => format!("<aggr:{text}>"),
                Class::Reserved | Class::Modifier => format!("<{text}>"),
                Class::Preprocessor => quote(text),
            },
            Kind::Equal
            | Kind::NotEqual
            | Kind::Less
            | Kind::Greater
            | Kind::LessEqual
            | Kind::GreaterEqual
            | Kind::RegexMatch
            | Kind::RegexNotMatch
            | Kind::Add
            | Kind::Sub
            | Kind::Mul
            | Kind::Div
            | Kind::Mod
            | Kind::Pow
            | Kind::At
            | Kind::TrimUpper
            | Kind::TrimLower => format!("<op:{text}>"),
            Kind::LeftParen
            | Kind::RightParen
            | Kind::LeftBrace
            | Kind::RightBrace
            | Kind::LeftBracket
            | Kind::RightBracket
            | Kind::Comma
            | Kind::Colon
            | Kind::Assign => quote(text),
        }
    }
}

fn shorten(text: &str) -> String {
    if text.len() > 10 {
        let cut: String = text.chars().take(10).collect();
        format!("{}...", quote(&cut))
    } else {
        quote(text)
    }
}

/// Cuts `query` into tokens; the last is `Eof` or `Error`.
pub fn tokens(query: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        query,
        place: 0,
        line: 1,
        line_start: 0,
        parens: 0,
        braces: false,
        brackets: false,
        colon: false,
    };
    let mut out = Vec::new();
    loop {
        let token = lexer.next();
        let last = matches!(token.kind, Kind::Eof | Kind::Error(_));
        out.push(token);
        if last {
            return out;
        }
    }
}

struct Lexer<'q> {
    query: &'q str,
    place: usize,
    line: u32,
    line_start: usize,
    parens: u32,
    braces: bool,
    brackets: bool,
    /// The colon of a subquery was seen.
    colon: bool,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.query[self.place..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_blank(&mut self) {
        while let Some(c) = self.peek() {
            match c {
                '\n' => {
                    self.place += 1;
                    self.line += 1;
                    self.line_start = self.place;
                }
                ' ' | '\t' | '\r' => self.place += 1,
                '#' => self.place += self.rest().find('\n').unwrap_or(self.rest().len()),
                _ => return,
            }
        }
    }

    fn next(&mut self) -> Token {
        self.skip_blank();
        let start = self.place;
        let (line, column) = (self.line, start - self.line_start + 1);
        let kind = match self.peek() {
            None => self.at_end(),
            Some(c) if self.braces => self.inside_braces(c),
            Some(c) => self.statement(c),
        };
        // A raw string may span lines.
        for (i, _) in self.query[start..self.place].match_indices('\n') {
            self.line += 1;
            self.line_start = start + i + 1;
        }
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let span = Span { start: narrow(start), end: narrow(self.place), line, column: narrow(column) };
        Token { kind, span }
    }

    fn at_end(&self) -> Kind {
        if self.braces {
            return Kind::Error("unexpected end of input inside braces".to_owned());
        }
        if self.parens > 0 {
            return Kind::Error("unclosed left parenthesis".to_owned());
        }
        if self.brackets {
            return Kind::Error("unclosed left bracket".to_owned());
        }
        Kind::Eof
    }

    fn take(&mut self, bytes: usize, kind: Kind) -> Kind {
        self.place += bytes;
        kind
    }

    fn fail(&mut self, bytes: usize, message: impl Into<String>) -> Kind {
        self.place += bytes;
        Kind::Error(message.into())
    }

    fn inside_braces(&mut self, c: char) -> Kind {
        let second = self.rest()[c.len_utf8()..].chars().next();
        match (c, second) {
            ('a'..='z' | 'A'..='Z' | '_', _) => {
                let end = self.rest().bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                self.take(end, Kind::Identifier)
            }
            (',', _) => self.take(1, Kind::Comma),
            ('"' | '\'' | '`', _) => self.string(c),
            ('=', Some('~')) => self.take(2, Kind::RegexMatch),
            ('=', _) => self.take(1, Kind::Assign),
            ('!', Some('~')) => self.take(2, Kind::RegexNotMatch),
            ('!', Some('=')) => self.take(2, Kind::NotEqual),
            ('!', Some(other)) => self.fail(
                1 + other.len_utf8(),
                format!("unexpected character after '!' inside braces: {}", quote_char(other)),
            ),
            ('{', _) => self.fail(1, "unexpected left brace '{'"),
            ('}', _) => {
                self.braces = false;
                self.take(1, Kind::RightBrace)
            }
            _ => self.fail(c.len_utf8(), format!("unexpected character inside braces: {}", quote_char(c))),
        }
    }

    fn statement(&mut self, c: char) -> Kind {
        let second = self.rest()[c.len_utf8()..].chars().next();
        match (c, second) {
            (',', _) => self.take(1, Kind::Comma),
            ('*', _) => self.take(1, Kind::Mul),
            ('/', _) => self.take(1, Kind::Div),
            ('%', _) => self.take(1, Kind::Mod),
            ('+', _) => self.take(1, Kind::Add),
            ('-', _) => self.take(1, Kind::Sub),
            ('^', _) => self.take(1, Kind::Pow),
            ('@', _) => self.take(1, Kind::At),
            ('=', Some('=')) => self.take(2, Kind::Equal),
            ('=', Some('~')) => self.fail(2, "unexpected character after '=': '~'"),
            ('=', _) => self.take(1, Kind::Assign),
            ('!', Some('=')) => self.take(2, Kind::NotEqual),
            ('!', Some(other)) => self
                .fail(1 + other.len_utf8(), format!("unexpected character after '!': {}", quote_char(other))),
            ('!', None) => self.fail(1, "unexpected end of input after '!'"),
            ('<', Some('/')) => self.take(2, Kind::TrimUpper),
            ('<', Some('=')) => self.take(2, Kind::LessEqual),
            ('<', _) => self.take(1, Kind::Less),
            ('>', Some('/')) => self.take(2, Kind::TrimLower),
            ('>', Some('=')) => self.take(2, Kind::GreaterEqual),
            ('>', _) => self.take(1, Kind::Greater),
            ('"' | '\'' | '`', _) => self.string(c),
            ('0'..='9', _) => self.number(),
            ('.', Some('0'..='9')) => self.number(),
            ('(', _) => {
                self.parens += 1;
                self.take(1, Kind::LeftParen)
            }
            (')', _) if self.parens == 0 => self.fail(1, "unexpected right parenthesis ')'"),
            (')', _) => {
                self.parens -= 1;
                self.take(1, Kind::RightParen)
            }
            ('{', _) => {
                self.braces = true;
                self.take(1, Kind::LeftBrace)
            }
            ('}', _) => self.fail(1, "unexpected right brace '}'"),
            ('[', _) if self.brackets => self.fail(1, "unexpected left bracket '['"),
            ('[', _) => {
                self.brackets = true;
                self.colon = false;
                self.take(1, Kind::LeftBracket)
            }
            (']', _) if !self.brackets => self.fail(1, "unexpected right bracket ']'"),
            (']', _) => {
                self.brackets = false;
                self.take(1, Kind::RightBracket)
            }
            (':', _) if self.brackets => {
                if self.colon {
                    return self.fail(1, "unexpected colon ':'");
                }
                self.colon = true;
                self.take(1, Kind::Colon)
            }
            ('a'..='z' | 'A'..='Z' | '_' | ':', _) => self.word(),
            _ => self.fail(c.len_utf8(), format!("unexpected character: {}", quote_char(c))),
        }
    }

    fn word(&mut self) -> Kind {
        let colons = !self.brackets;
        let end = self
            .rest()
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_' || (colons && *b == b':'))
            .count();
        let word = &self.rest()[..end];
        let kind = if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") {
            Kind::Number(parse_number(word).unwrap_or(f64::NAN))
        } else if let Some(keyword) = Keyword::of(word) {
            Kind::Keyword(keyword)
        } else if word.contains(':') {
            Kind::MetricIdentifier
        } else {
            Kind::Identifier
        };
        self.take(end, kind)
    }

    /// A number or a duration: all that could belong to it is taken, then it is read.
    fn number(&mut self) -> Kind {
        let bytes = self.rest().as_bytes();
        let hex = bytes.first() == Some(&b'0') && bytes.get(1).is_some_and(|b| b | 0x20 == b'x');
        let mut end = 0;
        while let Some(&b) = bytes.get(end) {
            let sign_of_exponent = !hex
                && matches!(b, b'+' | b'-')
                && end > 0
                && bytes[end - 1] | 0x20 == b'e'
                && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
            if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.') || sign_of_exponent {
                end += 1;
            } else {
                break;
            }
        }
        let text = &self.rest()[..end];
        if let Some(value) = parse_number(text) {
            return self.take(end, Kind::Number(value));
        }
        match parse_duration_ms(text) {
            Ok(ms) => self.take(end, Kind::Duration(ms)),
            Err(message) if message == "duration out of range" => self.fail(end, message),
            Err(_) => {
                let message = format!("bad number or duration syntax: {}", quote(text));
                self.fail(end, message)
            }
        }
    }

    fn string(&mut self, mark: char) -> Kind {
        let text = self.rest();
        let mut escaped = false;
        let mut end = None;
        for (i, c) in text.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' if mark != '`' => escaped = true,
                '\n' if mark != '`' => break,
                c if c == mark => {
                    end = Some(i + 1);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else {
            let what = if mark == '`' { "unterminated raw string" } else { "unterminated quoted string" };
            return self.fail(text.len(), what);
        };
        match unquote(&text[..end]) {
            Ok(bytes) => self.take(end, Kind::String(bytes)),
            Err(message) => self.fail(end, message),
        }
    }
}
