//! The language of expressions: what people know from Rust, C and gdb.

use super::PrintError;
use super::token::{Placed, Token, tokens};

/// How deep expressions may be nested.
const MAX_DEPTH: usize = 64;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Integer(u128),
    Register(String),
    Name(String),
    Field(Box<Self>, String),
    Index(Box<Self>, Box<Self>),
    /// Elements from the first to before the last; where one is missing from the start, or to the end.
    Range(Box<Self>, Option<Box<Self>>, Option<Box<Self>>),
    Deref(Box<Self>),
    Address(Box<Self>),
    Cast(Box<Self>, TypeName),
    Negative(Box<Self>),
    Inverse(Box<Self>),
    Binary(Box<Self>, Operator, Box<Self>),
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
    Exclusive,
    Left,
    Right,
}

/// A type as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypeName {
    pub(super) name: String,
    /// How many pointers lead to it.
    pub(super) pointers: u32,
    /// So many of them side by side, and then the pointers.
    pub(super) count: Option<u64>,
}

/// Words that C puts before the name of a type, or Rust after a pointer's star.
const NOISE: [&str; 8] = ["const", "struct", "union", "enum", "class", "mut", "volatile", "dyn"];
/// Words that several of make one name in C.
const C_WORDS: [&str; 7] = ["unsigned", "signed", "long", "short", "int", "char", "double"];

pub(super) fn parse(text: &str) -> Result<Expression, PrintError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    if parser.tokens.is_empty() {
        return Err(PrintError::syntax(0, "there is none"));
    }
    let found = parser.binary(0)?;
    match parser.tokens.get(parser.at) {
        None => Ok(found),
        Some(rest) => Err(PrintError::syntax(rest.start, format!("{:?} is too much", &text[rest.start..]))),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|placed| &placed.token)
    }

    fn is_sign(&self, ahead: usize, sign: &str) -> bool {
        matches!(self.peek(ahead), Some(Token::Sign(found)) if *found == sign)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(0, sign);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, words: &[&str]) -> bool {
        let found = matches!(self.peek(0), Some(Token::Word(found)) if words.contains(&found.as_str()));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), PrintError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.wrong(&format!("{sign:?} is missing"))) }
    }

    fn wrong(&self, what: &str) -> PrintError {
        PrintError::syntax(self.tokens.get(self.at).map_or(self.text.len(), |placed| placed.start), what)
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, PrintError>) -> Result<T, PrintError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong("it is nested too deep"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Operators that bind at least so closely.
    fn binary(&mut self, least: u8) -> Result<Expression, PrintError> {
        self.nested(|parser| {
            let mut left = parser.cast()?;
            while let Some((operator, closeness, len)) =
                parser.operator().filter(|(_, found, _)| *found >= least)
            {
                parser.at += len;
                let right = parser.binary(closeness + 1)?;
                left = Expression::Binary(Box::new(left), operator, Box::new(right));
            }
            Ok(left)
        })
    }

    /// An operator, how closely it binds, and how many tokens it is of.
    fn operator(&self) -> Option<(Operator, u8, usize)> {
        let Some(Token::Sign(sign)) = self.peek(0) else { return None };
        Some(match *sign {
            "|" => (Operator::Or, 1, 1),
            "^" => (Operator::Exclusive, 2, 1),
            "&" => (Operator::And, 3, 1),
            "<" if self.is_sign(1, "<") => (Operator::Left, 4, 2),
            ">" if self.is_sign(1, ">") => (Operator::Right, 4, 2),
            "+" => (Operator::Add, 5, 1),
            "-" => (Operator::Subtract, 5, 1),
            "*" => (Operator::Multiply, 6, 1),
            "/" => (Operator::Divide, 6, 1),
            "%" => (Operator::Remainder, 6, 1),
            _ => return None,
        })
    }

    /// `… as T`.
    fn cast(&mut self) -> Result<Expression, PrintError> {
        let mut found = self.unary()?;
        while self.take_word(&["as"]) {
            let to = self.type_name()?;
            found = Expression::Cast(Box::new(found), to);
        }
        Ok(found)
    }

    fn unary(&mut self) -> Result<Expression, PrintError> {
        self.nested(|parser| {
            if parser.take_sign("*") {
                return Ok(Expression::Deref(Box::new(parser.unary()?)));
            }
            if parser.take_sign("&") {
                parser.take_word(&["mut"]);
                return Ok(Expression::Address(Box::new(parser.unary()?)));
            }
            if parser.take_sign("-") {
                return Ok(Expression::Negative(Box::new(parser.unary()?)));
            }
            if parser.take_sign("!") || parser.take_sign("~") {
                return Ok(Expression::Inverse(Box::new(parser.unary()?)));
            }
            if let Some(to) = parser.c_cast() {
                return Ok(Expression::Cast(Box::new(parser.unary()?), to));
            }
            parser.postfix()
        })
    }

    /// `(T*)…`: where what is in parentheses is a type and an operand follows.
    fn c_cast(&mut self) -> Option<TypeName> {
        let start = self.at;
        let found = self.try_c_cast();
        if found.is_none() {
            self.at = start;
        }
        found
    }

    fn try_c_cast(&mut self) -> Option<TypeName> {
        if !self.take_sign("(") {
            return None;
        }
        let to = self.type_name().ok()?;
        if !self.take_sign(")") {
            return None;
        }
        let is_plain = to.pointers == 0 && !is_number(&to.name);
        let operand = match self.peek(0)? {
            Token::Integer(_) | Token::Quoted(_) | Token::Register(_) => true,
            Token::Word(word) => word != "as",
            Token::Sign("(") => true,
            Token::Sign("*" | "&" | "-" | "!" | "~") => !is_plain,
            Token::Sign(_) => false,
        };
        operand.then_some(to)
    }

    fn postfix(&mut self) -> Result<Expression, PrintError> {
        let mut found = self.primary()?;
        let mut steps = 0;
        loop {
            steps += 1;
            if steps > 4 * MAX_DEPTH {
                return Err(self.wrong("it is too long"));
            }
            if self.take_sign(".") {
                found = Expression::Field(Box::new(found), self.field()?);
            } else if self.take_sign("->") {
                let to = Expression::Deref(Box::new(found));
                found = Expression::Field(Box::new(to), self.field()?);
            } else if self.take_sign("[") {
                found = self.index(found)?;
            } else {
                return Ok(found);
            }
        }
    }

    fn field(&mut self) -> Result<String, PrintError> {
        let name = match self.peek(0) {
            Some(Token::Word(name)) => name.clone(),
            Some(Token::Integer(number)) => number.to_string(),
            _ => return Err(self.wrong("a field's name or number is missing")),
        };
        self.at += 1;
        Ok(name)
    }

    fn index(&mut self, of: Expression) -> Result<Expression, PrintError> {
        let of = Box::new(of);
        let is_range = |parser: &Self| parser.is_sign(0, "..");
        let first = if is_range(self) { None } else { Some(Box::new(self.binary(0)?)) };
        if !self.take_sign("..") {
            self.expect("]")?;
            let first = first.ok_or_else(|| self.wrong("an index is missing"))?;
            return Ok(Expression::Index(of, first));
        }
        let last = if self.is_sign(0, "]") { None } else { Some(Box::new(self.binary(0)?)) };
        self.expect("]")?;
        Ok(Expression::Range(of, first, last))
    }

    fn primary(&mut self) -> Result<Expression, PrintError> {
        let token = self.peek(0).cloned();
        match token {
            Some(Token::Integer(value)) => {
                self.at += 1;
                Ok(Expression::Integer(value))
            }
            Some(Token::Register(name)) => {
                self.at += 1;
                Ok(Expression::Register(name))
            }
            Some(Token::Sign("(")) => {
                self.at += 1;
                let found = self.binary(0)?;
                self.expect(")")?;
                Ok(found)
            }
            Some(Token::Word(_) | Token::Quoted(_) | Token::Sign("::")) => Ok(Expression::Name(self.path()?)),
            Some(Token::Sign(sign)) => Err(self.wrong(&format!("{sign:?} means nothing here"))),
            None => Err(self.wrong("something is missing at its end")),
        }
    }

    /// A name with its modules and generic arguments.
    fn path(&mut self) -> Result<String, PrintError> {
        self.take_sign("::");
        let mut path = String::new();
        loop {
            match self.peek(0) {
                Some(Token::Word(word) | Token::Quoted(word)) => path.push_str(word),
                _ => return Err(self.wrong("a name is missing")),
            }
            self.at += 1;
            if self.is_sign(0, "<") && !self.is_sign(1, "<") {
                path.push_str(&self.arguments()?);
            }
            if !self.take_sign("::") {
                return Ok(path);
            }
            path.push_str("::");
        }
    }

    /// Generic arguments, as they are written.
    fn arguments(&mut self) -> Result<String, PrintError> {
        let (first, mut open) = (self.at, 0);
        loop {
            let Some(placed) = self.tokens.get(self.at) else { return Err(self.wrong("\">\" is missing")) };
            match placed.token {
                Token::Sign("<") => open += 1,
                Token::Sign(">") => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                let end = self.tokens.get(self.at - 1).map_or(0, |last| last.end);
                let start = self.tokens.get(first).map_or(0, |first| first.start);
                return Ok(self.text.get(start..end).unwrap_or_default().to_owned());
            }
        }
    }

    fn type_name(&mut self) -> Result<TypeName, PrintError> {
        self.nested(|parser| {
            if parser.take_sign("*") || parser.take_sign("&") {
                while parser.take_word(&["const", "mut"]) {}
                let to = parser.type_name()?;
                return Ok(TypeName { pointers: to.pointers + 1, ..to });
            }
            if parser.take_sign("[") {
                let element = parser.type_name()?;
                parser.expect(";")?;
                let Some(Token::Integer(count)) = parser.peek(0).cloned() else {
                    return Err(parser.wrong("a number of elements is missing"));
                };
                parser.at += 1;
                parser.expect("]")?;
                let simple = element.pointers == 0 && element.count.is_none();
                let count = u64::try_from(count).ok().filter(|_| simple);
                let count = count.ok_or_else(|| parser.wrong("such an array is too much"))?;
                return Ok(TypeName { count: Some(count), ..element });
            }
            parser.named_type()
        })
    }

    fn named_type(&mut self) -> Result<TypeName, PrintError> {
        while self.take_word(&NOISE) {}
        let mut name = if self.is_sign(0, "(") && self.is_sign(1, ")") {
            self.at += 2;
            "()".to_owned()
        } else {
            self.path()?
        };
        while C_WORDS.contains(&name.rsplit(' ').next().unwrap_or_default()) {
            let Some(Token::Word(next)) = self.peek(0) else { break };
            if !C_WORDS.contains(&next.as_str()) {
                break;
            }
            name = format!("{name} {next}");
            self.at += 1;
        }
        let mut pointers = 0;
        while self.take_word(&["const", "volatile"]) {}
        // In `0x10 as *const u8 * 2` the star is not the type's: it is where a `)` follows, or more stars.
        while self.is_sign(0, "*") && matches!(self.peek(1), Some(Token::Sign(")" | "*")) | None) {
            self.at += 1;
            pointers += 1;
            while self.take_word(&["const", "volatile"]) {}
        }
        Ok(TypeName { name: c_name(&name), pointers, count: None })
    }
}

/// C's numbers have several names each; these are those that compilers write.
fn c_name(name: &str) -> String {
    match name {
        "unsigned" => "unsigned int",
        "long int" | "signed long" | "long long" | "long long int" => "long",
        "long unsigned int" | "unsigned long int" | "unsigned long long" | "long long unsigned int" => {
            "unsigned long"
        }
        "short int" => "short",
        "short unsigned int" | "unsigned short int" => "unsigned short",
        "signed" | "signed int" => "int",
        other => other,
    }
    .to_owned()
}

fn is_number(name: &str) -> bool {
    let rust = name
        .strip_prefix(['u', 'i'])
        .is_some_and(|bits| ["8", "16", "32", "64", "128", "size"].contains(&bits));
    rust || name.split(' ').all(|word| C_WORDS.contains(&word)) || name.ends_with("_t")
}
