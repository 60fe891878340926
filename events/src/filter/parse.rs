//! Recursive descent over the words of an expression.

use uniprof_wire::record::Class;

use super::error::FilterError;
use super::literal::{self, Literal};
use super::token::{Token, TokenKind, tokens};
use super::{Comparison, Expression, Field, Op};
use crate::kind::EventKind;

/// Parentheses and `not`s within one another: an expression must not exhaust the stack.
const MOST_NESTED: usize = 64;

const FIELDS: &str = "name, kind, class, thread, vcpu, duration, time, text or arg.NAME";

/// Reads all of `text`.
pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, depth: 0 };
    let expression = parser.or()?;
    match parser.peek() {
        TokenKind::End => Ok(expression),
        TokenKind::Close => Err(parser.wrong("this closes nothing")),
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.next].kind
    }

    /// The word that comes next; the end stays.
    fn take(&mut self) -> TokenKind {
        let kind = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        kind
    }

    fn takes(&mut self, kind: &TokenKind) -> bool {
        let is_there = self.peek() == kind;
        if is_there {
            self.take();
        }
        is_there
    }

    fn wrong(&self, what: impl Into<String>) -> FilterError {
        FilterError::new(self.text, self.tokens[self.next].at, what)
    }

    fn expected(&self, what: &str) -> FilterError {
        self.wrong(format!("expected {what}, found {}", self.peek().shown()))
    }

    fn or(&mut self) -> Result<Expression, FilterError> {
        self.chain(&TokenKind::Or, Self::and, Expression::Or)
    }

    fn and(&mut self) -> Result<Expression, FilterError> {
        self.chain(&TokenKind::And, Self::not, Expression::And)
    }

    fn chain(
        &mut self,
        between: &TokenKind,
        part: fn(&mut Self) -> Result<Expression, FilterError>,
        whole: fn(Vec<Expression>) -> Expression,
    ) -> Result<Expression, FilterError> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.takes(between) {
            parts.push(part(self)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { whole(parts) })
    }

    fn not(&mut self) -> Result<Expression, FilterError> {
        if !self.takes(&TokenKind::Not) {
            return self.term();
        }
        self.nested(|parser| Ok(Expression::Not(parser.not()?.into())))
    }

    fn nested(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Expression, FilterError>,
    ) -> Result<Expression, FilterError> {
        if self.depth == MOST_NESTED {
            return Err(
                self.wrong(format!("more than {MOST_NESTED} parentheses or `not`s within one another"))
            );
        }
        self.depth += 1;
        let expression = inner(self);
        self.depth -= 1;
        expression
    }

    fn term(&mut self) -> Result<Expression, FilterError> {
        match self.peek().clone() {
            TokenKind::Open => self.nested(|parser| {
                parser.take();
                let inner = parser.or()?;
                if parser.takes(&TokenKind::Close) {
                    return Ok(inner);
                }
                Err(parser.expected("`and`, `or` or `)`"))
            }),
            TokenKind::Quoted(text) => {
                self.take();
                Ok(name_like(Literal::quoted(&text)))
            }
            TokenKind::Word(word) => self.comparison(&word),
            _ => Err(self.expected(&format!("a name such as http.*, or a comparison of {FIELDS}"))),
        }
    }

    fn comparison(&mut self, word: &str) -> Result<Expression, FilterError> {
        let field_at = self.next;
        self.take();
        let op = match self.peek() {
            TokenKind::Op(op) => *op,
            TokenKind::Word(next) if next == "in" => {
                if word != "time" {
                    return Err(self
                        .wrong("only `time` can be `in` a range; others are compared, such as `vcpu >= 2`"));
                }
                self.take();
                return self.range();
            }
            // `arg.x` alone would be a name that nobody has.
            _ if word.starts_with("arg.") => return Err(self.expected("one of == != ~ !~ < <= > >=")),
            _ => return Ok(name_like(Literal::word(word))),
        };
        let Some(field) = Field::from_word(word) else {
            self.next = field_at;
            return Err(self.wrong(format!(
                "`{word}` is no field; expected {FIELDS} (an argument {word:?} is written arg.{word})"
            )));
        };
        if !field.takes(op) {
            return Err(self.wrong(format!("`{word}` is compared with {}", field.ops())));
        }
        self.take();
        let value = match self.peek() {
            TokenKind::Word(word) => Literal::word(word),
            TokenKind::Quoted(text) => Literal::quoted(text),
            _ => return Err(self.expected(field.values())),
        };
        if let Some(wrong) = field.refuses(op, &value) {
            return Err(self.wrong(wrong));
        }
        self.take();
        Ok(Expression::Compare(Comparison { field, op, value }))
    }

    /// What comes after `time in`.
    fn range(&mut self) -> Result<Expression, FilterError> {
        const SHAPE: &str = "a range such as 1.5s..2s, 100ms.. or ..2s";
        let TokenKind::Word(word) = self.peek() else { return Err(self.expected(SHAPE)) };
        let Some((from, to)) = word.split_once("..") else { return Err(self.expected(SHAPE)) };
        let end = |text: &str, open: u64| match text {
            "" => Some(open),
            text => literal::time(text).map(|ns| ns as u64),
        };
        let (Some(from), Some(to)) = (end(from, 0), end(to, u64::MAX)) else {
            return Err(self.expected(SHAPE));
        };
        if from > to {
            return Err(self.wrong("the range ends before it begins"));
        }
        self.take();
        Ok(Expression::TimeIn(from, to))
    }
}

fn name_like(value: Literal) -> Expression {
    Expression::Compare(Comparison { field: Field::Name, op: Op::Like, value })
}

impl Field {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "name" => Self::Name,
            "kind" => Self::Kind,
            "class" => Self::Class,
            "thread" => Self::Thread,
            "vcpu" => Self::Vcpu,
            "duration" => Self::Duration,
            "time" => Self::Time,
            "text" => Self::Text,
            word => Self::Argument(word.strip_prefix("arg.").filter(|name| !name.is_empty())?.into()),
        })
    }

    const fn takes(&self, op: Op) -> bool {
        let is_equality = matches!(op, Op::Equal | Op::Unequal);
        let is_pattern = matches!(op, Op::Like | Op::Unlike);
        match self {
            Self::Name | Self::Kind | Self::Class | Self::Thread | Self::Text => is_equality || is_pattern,
            Self::Vcpu | Self::Duration | Self::Time => !is_pattern,
            Self::Argument(_) => true,
        }
    }

    const fn ops(&self) -> &'static str {
        match self {
            Self::Vcpu | Self::Duration => "== != < <= > >=",
            Self::Time => "== != < <= > >=, or `time in 1s..2s`",
            _ => "== != ~ !~",
        }
    }

    const fn values(&self) -> &'static str {
        match self {
            Self::Name => "a name, or a pattern such as 'http.*'",
            Self::Kind => "a kind such as event, span or call",
            Self::Class => "a class such as events, spans or off-cpu",
            Self::Thread => "a thread's name or number",
            Self::Vcpu => "a vCPU's number",
            Self::Duration => "a duration such as 1ms or 250us",
            Self::Time => "a time since the guest's boot such as 1.5s",
            Self::Text => "a text",
            Self::Argument(_) => "a value such as 4096, 4KiB, 1.5, true or \"text\"",
        }
    }

    /// Why a value can be none of this field.
    fn refuses(&self, op: Op, value: &Literal) -> Option<String> {
        let text = value.text();
        let is_pattern = matches!(op, Op::Like | Op::Unlike);
        let is_fine = match self {
            Self::Kind if !is_pattern => {
                if text == "span" || EventKind::ALL.iter().any(|kind| kind.name() == text) {
                    return None;
                }
                let kinds = EventKind::ALL.map(EventKind::name).join(" ");
                return Some(format!("there is no kind `{text}`; there are: span {kinds}"));
            }
            Self::Class if !is_pattern => {
                let classes = || Class::ALL.iter().filter(|class| **class != Class::Other);
                if classes().any(|class| class.name() == text) {
                    return None;
                }
                let names: Vec<&str> = classes().map(|class| class.name()).collect();
                return Some(format!("there is no class `{text}`; there are: {}", names.join(" ")));
            }
            Self::Vcpu => text.parse::<u32>().is_ok(),
            Self::Duration => value.duration.is_some() || text == "0",
            Self::Time => literal::time(text).is_some(),
            _ => true,
        };
        (!is_fine).then(|| format!("expected {}, found `{text}`", self.values()))
    }
}
