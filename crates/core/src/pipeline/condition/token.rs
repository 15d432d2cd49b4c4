//! The words and signs of a condition, each with its column.

use super::ConditionSyntaxError;
use crate::pipeline::quote::quote;

/// Longest quoted text, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// A word or sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A quoted text. Nothing is escaped in it, so it never holds both kinds of quote.
    Text(String),
    /// A variable's or function's name.
    Word(String),
    Equal,
    NotEqual,
    And,
    Or,
    Not,
    Open,
    Close,
    Comma,
    End,
}

impl Token {
    /// The token as messages name it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("the text {}", quote(text)),
            Self::Word(word) => quote(word),
            Self::Equal => "==".to_owned(),
            Self::NotEqual => "!=".to_owned(),
            Self::And => "&&".to_owned(),
            Self::Or => "||".to_owned(),
            Self::Not => "!".to_owned(),
            Self::Open => "(".to_owned(),
            Self::Close => ")".to_owned(),
            Self::Comma => ",".to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// A token and its column, in characters from 1.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) column: usize,
}

/// The tokens of a condition, taken one after another; the last one is [`Token::End`].
#[derive(Debug)]
pub(super) struct Tokens {
    placed: Vec<Placed>,
    index: usize,
}

impl Tokens {
    /// Splits a condition into its tokens.
    pub(super) fn read(source: &str) -> Result<Self, ConditionSyntaxError> {
        let mut placed = Vec::new();
        let mut rest = source;
        let mut column = 1;
        loop {
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            column += rest.len() - trimmed.len();
            let (token, after) =
                next(trimmed).map_err(|message| ConditionSyntaxError { column, message })?;
            let is_end = token == Token::End;
            placed.push(Placed { token, column });
            if is_end {
                return Ok(Self { placed, index: 0 });
            }
            let read = trimmed.strip_suffix(after).unwrap_or(trimmed);
            column += read.chars().count();
            rest = after;
        }
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> &Token {
        let next = self.placed.get(self.index);
        next.map_or(&Token::End, |placed| &placed.token)
    }

    /// The column of the next token.
    pub(super) fn column(&self) -> usize {
        let next = self.placed.get(self.index);
        next.map_or(1, |placed| placed.column)
    }

    /// Takes the next token; the end is never passed.
    pub(super) fn take(&mut self) -> Placed {
        let token = self.peek().clone();
        let column = self.column();
        if token != Token::End {
            self.index += 1;
        }
        Placed { token, column }
    }

    /// Takes the next token if it is this one.
    pub(super) fn skip(&mut self, token: &Token) -> bool {
        let is_next = self.peek() == token;
        if is_next {
            self.take();
        }
        is_next
    }
}

const SIGNS: [(&str, Token); 8] = [
    ("==", Token::Equal),
    ("!=", Token::NotEqual),
    ("&&", Token::And),
    ("||", Token::Or),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
];

fn next(source: &str) -> Result<(Token, &str), String> {
    let Some(first) = source.chars().next() else {
        return Ok((Token::End, source));
    };
    for (sign, token) in SIGNS {
        if let Some(after) = source.strip_prefix(sign) {
            return Ok((token, after));
        }
    }
    match first {
        '"' | '\'' => text(source, first),
        '_' | 'a'..='z' | 'A'..='Z' => Ok(word(source)),
        '=' => Err("expected == to compare, found =".to_owned()),
        '&' => Err("expected && between conditions, found &".to_owned()),
        '|' => Err("expected || between conditions, found |".to_owned()),
        other => Err(format!("unexpected character {other:?}")),
    }
}

fn text(source: &str, mark: char) -> Result<(Token, &str), String> {
    let inner = source.strip_prefix(mark).unwrap_or(source);
    let Some((text, after)) = inner.split_once(mark) else {
        return Err(format!("the text that begins with {mark} has no end"));
    };
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!(
            "the text has {} bytes, {TEXT_BYTES_MAX} are allowed",
            text.len()
        ));
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        let code = u32::from(c);
        return Err(format!(
            "control character U+{code:04X} in a text is not allowed"
        ));
    }
    Ok((Token::Text(text.to_owned()), after))
}

fn word(source: &str) -> (Token, &str) {
    let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let end = source.find(is_other).unwrap_or(source.len());
    let (word, after) = source.split_at_checked(end).unwrap_or((source, ""));
    (Token::Word(word.to_owned()), after)
}
