//! Cuts a template into tokens. Positions are byte offsets into the text.

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) position: usize,
    pub(crate) kind: Kind,
    /// The token as written.
    pub(crate) text: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Open,
    Close,
    Space,
    Declare,
    Assign,
    Pipe,
    Str,
    RawStr,
    Char,
    Number,
    Variable,
    Field,
    Dot,
    Identifier,
    Keyword,
    Bool,
    Nil,
    LeftParen,
    RightParen,
    Comma,
    End,
}

/// Why the text cannot be cut.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) position: usize,
    pub(crate) message: String,
}

const KEYWORDS: [&str; 10] =
    ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// All tokens, the last one being `End`.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, LexError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), parens: 0 };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
    parens: usize,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Result<(), LexError> {
        // White space after a `-}}` is dropped from the text that follows.
        let mut trim_next = false;
        loop {
            let rest = &self.text[self.at..];
            let open = rest.find("{{");
            let mut piece = &rest[..open.unwrap_or(rest.len())];
            let mut begin = self.at;
            if trim_next {
                let trimmed = piece.trim_start_matches(is_space);
                begin += piece.len() - trimmed.len();
                piece = trimmed;
            }
            let trims_left = open.is_some_and(|o| {
                let after = &rest[o + 2..];
                after.strip_prefix('-').is_some_and(|r| r.starts_with(is_space))
            });
            if trims_left {
                piece = piece.trim_end_matches(is_space);
            }
            if !piece.is_empty() {
                self.tokens.push(Token { position: begin, kind: Kind::Text, text: piece });
            }
            let Some(open) = open else {
                self.at = self.text.len();
                self.push(Kind::End, self.at);
                return Ok(());
            };
            self.at += open;
            let start = self.at;
            self.at += 2 + if trims_left { 2 } else { 0 };
            trim_next = if self.text[self.at..].starts_with("/*") {
                self.comment()?
            } else {
                self.tokens.push(Token { position: start, kind: Kind::Open, text: "{{" });
                self.inside()?
            };
        }
    }

    fn error<T>(&self, position: usize, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { position, message: message.into() })
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token { position: start, kind, text: &self.text[start..self.at] });
    }

    /// Skips a comment and its closing delimiter; tells whether that trims.
    fn comment(&mut self) -> Result<bool, LexError> {
        let start = self.at;
        let Some(end) = self.text[start..].find("*/") else {
            return self.error(start, "unclosed comment");
        };
        self.at = start + end + 2;
        match self.closing() {
            Some((length, trims)) => {
                self.at += length;
                Ok(trims)
            }
            None => self.error(start, "comment ends before closing delimiter"),
        }
    }

    /// Length of the closing delimiter that stands here, and whether it trims.
    fn closing(&self) -> Option<(usize, bool)> {
        let rest = &self.text[self.at..];
        if rest.starts_with("}}") {
            return Some((2, false));
        }
        let trimming = rest.starts_with(is_space) && rest[1..].starts_with("-}}");
        trimming.then_some((4, true))
    }

    /// Reads one action up to its closing delimiter; tells whether that trims.
    fn inside(&mut self) -> Result<bool, LexError> {
        self.parens = 0;
        loop {
            if let Some((length, trims)) = self.closing() {
                if self.parens > 0 {
                    return self.error(self.at, "unclosed left paren");
                }
                let start = self.at;
                self.at += length;
                self.push(Kind::Close, start);
                return Ok(trims);
            }
            let start = self.at;
            let Some(c) = self.next() else {
                return self.error(start, "unclosed action");
            };
            match c {
                c if is_space(c) => self.space(start),
                ':' => {
                    if self.next() != Some('=') {
                        return self.error(start, "expected :=");
                    }
                    self.push(Kind::Declare, start);
                }
                '=' => self.push(Kind::Assign, start),
                '|' => self.push(Kind::Pipe, start),
                ',' => self.push(Kind::Comma, start),
                '(' => {
                    self.parens += 1;
                    self.push(Kind::LeftParen, start);
                }
                ')' => {
                    let Some(left) = self.parens.checked_sub(1) else {
                        return self.error(start, "unexpected right paren");
                    };
                    self.parens = left;
                    self.push(Kind::RightParen, start);
                }
                '"' => self.quoted(start, '"', Kind::Str, "unterminated quoted string")?,
                '\'' => self.quoted(start, '\'', Kind::Char, "unterminated character constant")?,
                '`' => self.raw(start)?,
                '$' => self.named(start, Kind::Variable)?,
                '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => self.number(start)?,
                '.' if self.peek().is_some_and(is_name) => self.named(start, Kind::Field)?,
                '.' => {
                    self.expect_terminator()?;
                    self.push(Kind::Dot, start);
                }
                '+' | '-' | '0'..='9' => self.number(start)?,
                c if is_name(c) => self.word(start)?,
                c => return self.error(start, format!("unexpected {c:?} in action")),
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn space(&mut self, start: usize) {
        // The space before `-}}` belongs to the delimiter.
        while self.peek().is_some_and(is_space) && self.closing().is_none() {
            self.next();
        }
        self.push(Kind::Space, start);
    }

    fn quoted(&mut self, start: usize, quote: char, kind: Kind, unclosed: &str) -> Result<(), LexError> {
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|c| c != '\n') => {
                    self.next();
                }
                Some(c) if c == quote => break,
                None | Some('\n' | '\\') => return self.error(start, unclosed),
                Some(_) => {}
            }
        }
        self.push(kind, start);
        Ok(())
    }

    fn raw(&mut self, start: usize) -> Result<(), LexError> {
        let Some(end) = self.text[self.at..].find('`') else {
            return self.error(start, "unterminated raw quoted string");
        };
        self.at += end + 1;
        self.push(Kind::RawStr, start);
        Ok(())
    }

    fn named(&mut self, start: usize, kind: Kind) -> Result<(), LexError> {
        while self.peek().is_some_and(is_name) {
            self.next();
        }
        self.expect_terminator()?;
        self.push(kind, start);
        Ok(())
    }

    fn word(&mut self, start: usize) -> Result<(), LexError> {
        while self.peek().is_some_and(is_name) {
            self.next();
        }
        self.expect_terminator()?;
        let kind = match &self.text[start..self.at] {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.push(kind, start);
        Ok(())
    }

    /// A name must be followed by something that cannot be part of it.
    fn expect_terminator(&self) -> Result<(), LexError> {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(' | ' ' | '\t' | '\r' | '\n' | '=') => Ok(()),
            Some('}') if self.text[self.at..].starts_with("}}") => Ok(()),
            Some(c) => self.error(self.at, format!("bad character U+{:04X} {c:?}", u32::from(c))),
        }
    }

    fn number(&mut self, start: usize) -> Result<(), LexError> {
        let mut previous = self.text[start..].chars().next().unwrap_or('0');
        let hex = self.text[start..]
            .trim_start_matches(['+', '-'])
            .get(..2)
            .is_some_and(|p| p.eq_ignore_ascii_case("0x"));
        while let Some(c) = self.peek() {
            let exponent_before =
                if hex { matches!(previous, 'p' | 'P') } else { matches!(previous, 'e' | 'E') };
            let part = is_name(c) || c == '.' || (matches!(c, '+' | '-') && exponent_before);
            if !part {
                break;
            }
            previous = c;
            self.next();
        }
        if crate::number::parse(&self.text[start..self.at]).is_none() {
            return self.error(start, format!("bad number syntax: {:?}", &self.text[start..self.at]));
        }
        self.push(Kind::Number, start);
        Ok(())
    }
}
