//! Expressions that choose events.
//!
//! ```text
//!  expression   or-chain of and-chains of terms; `not` before a term, parentheses around an expression
//!  term         http.*                            the name matches (`*` any run of characters, `?` any one)
//!               FIELD OP VALUE
//!               time in 1.5s..2s                  since the guest's boot, both ends within; either may be left out
//!  FIELD        name kind class thread vcpu duration time text arg.NAME
//!  OP           == != ~ !~ < <= > >=              `~` compares with a pattern of `*` and `?`
//!  VALUE        word, "text", 'text', number      4096, 0x1000, 4KiB, 1.5, 250us
//! ```
//!
//! `&&`, `||` and `!` mean `and`, `or` and `not`; `and` binds closer than `or`. A thread is compared by its name, or by its number where the
//! value is one. An event without the field that is asked for matches no comparison, not even `!=`; with `not` in
//! front it does.

mod error;
mod evaluate;
mod literal;
mod parse;
mod token;

pub use error::FilterError;

use literal::Literal;

/// An expression that an event matches or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Expression);

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    Or(Vec<Self>),
    And(Vec<Self>),
    Not(Box<Self>),
    Compare(Comparison),
    /// From, to: nanoseconds since the guest's boot.
    TimeIn(u64, u64),
}

#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    field: Field,
    op: Op,
    value: Literal,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Name,
    Kind,
    Class,
    Thread,
    Vcpu,
    Duration,
    Time,
    Text,
    Argument(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    Unequal,
    Like,
    Unlike,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Filter {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(Self)
    }

    /// The patterns of names that an event has to match somewhere, not those behind a `not`: if none of them
    /// matches any name that there is, one of them is mistyped.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.collect_names(&mut names);
        names
    }
}

impl Expression {
    fn collect_names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().for_each(|part| part.collect_names(names)),
            Self::Compare(Comparison { field: Field::Name, op: Op::Equal | Op::Like, value }) => {
                names.push(value.text());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
