//! Cuts a query into tokens, as the parser asks for them. The first thing that is no token becomes
//! the last token.

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
    MinOf "min_of" Preprocessor,
    MaxOf "max_of" Preprocessor,
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

/// Cuts a query into tokens, one at a time.
pub struct Lexer<'q> {
    query: &'q str,
    place: usize,
    line: u32,
    line_start: usize,
    parens: u32,
    braces: bool,
    brackets: bool,
    /// Between brackets and before or between the parts of a duration: few things can follow.
    duration: bool,
    /// An error stands after the character that makes it one.
    after: bool,
    /// A number was seen between brackets.
    any_duration: bool,
    /// The colon of a subquery was seen.
    colon: bool,
}

impl<'q> Lexer<'q> {
    /// Begins at the beginning.
    pub fn new(query: &'q str) -> Self {
        Self {
            query,
            place: 0,
            line: 1,
            line_start: 0,
            parens: 0,
            braces: false,
            brackets: false,
            duration: false,
            after: false,
            any_duration: false,
            colon: false,
        }
    }

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
                '#' if !self.duration => self.place += self.rest().find('\n').unwrap_or(self.rest().len()),
                _ => return,
            }
        }
    }

    /// The next token. After `Eof` or `Error` there is none that means anything.
    pub fn next(&mut self) -> Token {
        self.skip_blank();
        let mut start = self.place;
        let (line, mut column) = (self.line, start - self.line_start + 1);
        let kind = match self.peek() {
            None => self.at_end(),
            Some(c) if self.braces => self.inside_braces(c),
            Some(c) if self.duration => self.duration_part(c),
            Some(c) => self.statement(c),
        };
        // A raw string may span lines.
        let text = &self.query.as_bytes()[start..self.place];
        for (i, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            self.line += 1;
            self.line_start = start + i + 1;
        }
        let end = self.place;
        if let Kind::Error(_) = kind {
            if self.after {
                (start, column) = (start + 1, column + 1);
            }
            // The parser looks one token ahead, also of this one.
            self.place = self.query.len();
        }
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let span = Span { start: narrow(start), end: narrow(end.max(start)), line, column: narrow(column) };
        Token { kind, span }
    }

    fn at_end(&self) -> Kind {
        if self.braces {
            return Kind::Error("unexpected end of input inside braces".to_owned());
        }
        if self.duration {
            return Kind::Error("unexpected end of input in duration expression".to_owned());
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
            ('"' | '\'' | '`', _) => self.string(),
            ('=', Some('~')) => self.take(2, Kind::RegexMatch),
            ('=', _) => self.take(1, Kind::Assign),
            ('!', Some('~')) => self.take(2, Kind::RegexNotMatch),
            ('!', Some('=')) => self.take(2, Kind::NotEqual),
            ('!', Some(other)) => self.fail(
                1 + other.len_utf8(),
                format!("unexpected character after '!' inside braces: {}", quote_char(other)),
            ),
            ('!', None) => self.fail(1, "unexpected character after '!' inside braces: '\u{fffd}'"),
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
            // Go's lexer takes the end of the text for this character.
            ('!', None) => self.fail(1, "unexpected character after '!': '\u{fffd}'"),
            ('<', Some('/')) => self.take(2, Kind::TrimUpper),
            ('<', Some('=')) => self.take(2, Kind::LessEqual),
            ('<', _) => self.take(1, Kind::Less),
            ('>', Some('/')) => self.take(2, Kind::TrimLower),
            ('>', Some('=')) => self.take(2, Kind::GreaterEqual),
            ('>', _) => self.take(1, Kind::Greater),
            ('"' | '\'' | '`', _) => self.string(),
            ('0'..='9', _) => self.number(),
            ('.', Some('0'..='9')) => self.number(),
            ('(', _) => {
                self.parens += 1;
                self.take(1, Kind::LeftParen)
            }
            (')', _) => self.right_paren(),
            ('{', _) => {
                self.braces = true;
                self.take(1, Kind::LeftBrace)
            }
            ('[', _) if self.brackets => self.fail(1, "unexpected left bracket '['"),
            ('[', _) => {
                self.brackets = true;
                self.duration = true;
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
            ('a'..='z' | 'A'..='Z' | '_', _) if self.brackets => match self.duration_keyword() {
                Some(kind) => kind,
                None => self.fail(1, format!("unexpected character: {}, expected ':'", quote_char(c))),
            },
            ('a'..='z' | 'A'..='Z' | '_' | ':', _) => self.word(),
            _ => self.fail(c.len_utf8(), format!("unexpected character: {}", quote_char(c))),
        }
    }

    fn right_paren(&mut self) -> Kind {
        let Some(parens) = self.parens.checked_sub(1) else {
            self.after = true;
            return self.fail(1, "unexpected right parenthesis ')'");
        };
        self.parens = parens;
        self.take(1, Kind::RightParen)
    }

    /// A part of a duration between brackets, where no number has just been read.
    fn duration_part(&mut self, c: char) -> Kind {
        let second = self.rest()[c.len_utf8()..].chars().next();
        match (c, second) {
            (']', _) => {
                (self.brackets, self.duration) = (false, false);
                self.take(1, Kind::RightBracket)
            }
            (':', _) => {
                self.after = true;
                if !self.any_duration {
                    return self.fail(1, "unexpected colon before duration in duration expression");
                }
                if self.colon {
                    return self.fail(1, "unexpected repeated colon in duration expression");
                }
                (self.after, self.colon) = (false, true);
                self.take(1, Kind::Colon)
            }
            ('(', _) => {
                self.parens += 1;
                self.take(1, Kind::LeftParen)
            }
            (')', _) => self.right_paren(),
            ('+', _) => self.take(1, Kind::Add),
            ('-', _) => self.take(1, Kind::Sub),
            ('*', _) => self.take(1, Kind::Mul),
            ('/', _) => self.take(1, Kind::Div),
            ('%', _) => self.take(1, Kind::Mod),
            ('^', _) => self.take(1, Kind::Pow),
            (',', _) => self.take(1, Kind::Comma),
            ('0'..='9', _) | ('.', Some('0'..='9')) => {
                (self.any_duration, self.duration) = (true, false);
                self.number()
            }
            _ => self.duration_keyword().unwrap_or_else(|| {
                let message = format!("unexpected character in duration expression: {}", quote_char(c));
                self.fail(c.len_utf8(), message)
            }),
        }
    }

    /// `step`, `range`, `min_of` or `max_of`, if one of them stands here.
    fn duration_keyword(&mut self) -> Option<Kind> {
        let end = self.rest().bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'_').count();
        let keyword = Keyword::of(&self.rest()[..end])?;
        let known = matches!(keyword, Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf);
        known.then(|| self.take(end, Kind::Keyword(keyword)))
    }

    fn word(&mut self) -> Kind {
        let rest = self.rest();
        let end = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')).count();
        let word = &rest[..end];
        let kind = if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") {
            Kind::Number(if word.eq_ignore_ascii_case("inf") { f64::INFINITY } else { f64::NAN })
        } else if let Some(keyword) = Keyword::of(word) {
            // Metrics may have these names.
            let fill = matches!(keyword, Keyword::Fill | Keyword::FillLeft | Keyword::FillRight);
            let called = rest[end..].trim_start_matches([' ', '\t', '\n', '\r']).starts_with('(');
            if fill && !called { Kind::Identifier } else { Kind::Keyword(keyword) }
        } else if word.contains(':') {
            Kind::MetricIdentifier
        } else {
            Kind::Identifier
        };
        self.take(end, kind)
    }

    /// A number or a duration.
    fn number(&mut self) -> Kind {
        let bytes = self.rest().as_bytes();
        let (mut end, mut sound) = scan_number(bytes);
        let number = sound;
        if !sound {
            (end, sound) = scan_duration(bytes, end);
        }
        let text = &self.rest()[..end];
        if !sound {
            let message = format!("bad number or duration syntax: {}", quote(text));
            return self.fail(end, message);
        }
        if number {
            return match parse_number(text) {
                Ok(value) => self.take(end, Kind::Number(value)),
                Err(message) => self.fail(end, message),
            };
        }
        match parse_duration_ms(text) {
            Ok(ms) => self.take(end, Kind::Duration(ms)),
            Err(message) => self.fail(end, message),
        }
    }

    fn string(&mut self) -> Kind {
        match unquote(self.rest()) {
            Ok((bytes, length)) => self.take(length, Kind::String(bytes)),
            Err(message) => {
                let length = self.rest().len();
                self.fail(length, message)
            }
        }
    }
}

/// How many bytes look like a number, and whether they can be one. Of what cannot, the last byte
/// is that which spoils it.
fn scan_number(bytes: &[u8]) -> (usize, bool) {
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let hex = at(0) == b'0' && at(1) | 0x20 == b'x';
    let digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let mut end = if hex { 2 + usize::from(at(2) == b'_') } else { usize::from(at(0) == b'0') };
    let (mut dot, mut exponent) = (at(end) == b'.', false);
    end += usize::from(dot);
    // A dot in front does not count, and a zero before it neither.
    dot = false;
    loop {
        let b = at(end);
        end += 1;
        match b {
            b if digit(b) => {}
            b'.' if dot || hex => return (end, false),
            b'.' => {
                dot = true;
                if matches!(at(end), b'_' | b'.') {
                    return (end + 1, false);
                }
            }
            b'e' | b'E' => {
                if exponent {
                    return (end, false);
                }
                exponent = true;
                end += usize::from(matches!(at(end), b'+' | b'-'));
                match at(end) {
                    b'.' | b'_' | b'e' | b'E' => return (end + 1, false),
                    0 if end >= bytes.len() => return (end, false),
                    _ => {}
                }
            }
            b'_' => match at(end) {
                b'.' | b'_' | b'e' | b'E' => return (end + 1, false),
                0 if end >= bytes.len() => return (end, false),
                _ => {}
            },
            b => return (end - 1, !b.is_ascii_alphabetic()),
        }
    }
}

/// Goes on after the digits of a duration: units, and more digits with units.
fn scan_duration(bytes: &[u8], mut end: usize) -> (usize, bool) {
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut units: &[u8] = b"smhdwy";
    loop {
        if !units.contains(&at(end)) {
            return (end, false);
        }
        end += 1;
        end += usize::from(at(end) == b's');
        let digits = bytes[end..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            let next = at(end);
            let goes_on = next.is_ascii_alphanumeric() || next == b'_';
            return (end + usize::from(goes_on), !goes_on);
        }
        end += digits;
        units = b"smhdw";
    }
}
