//! What a type is made of.

use std::sync::Arc;

/// A type of an image's debug information, or one derived from such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId {
    /// Which open unit; [`TypeId::DERIVED`] for those that no debug information has.
    pub(super) unit: u32,
    pub(super) offset: usize,
}

impl TypeId {
    pub(super) const DERIVED: u32 = u32::MAX;
}

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    /// Its own name without that of its module; pointers and arrays of C have none.
    pub name: Option<Arc<str>>,
    /// How many bytes its values take; `None` where that is not said, as of functions, or is to be computed, as of arrays.
    pub size: Option<u64>,
    /// What it is.
    pub kind: Kind,
}

/// What a type is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A number, a character, a truth value.
    Base(Base),
    /// A pointer or a reference of one word; `None` points to nothing known.
    Pointer(Option<TypeId>),
    /// A structure, a class, a tuple, an enum of Rust with fields, or a union.
    Struct(Struct),
    /// Names for numbers.
    Enumeration(Enumeration),
    /// Elements side by side; `None` where their number is not said.
    Array(TypeId, Option<u64>),
    /// Another name, or a qualifier such as `const`, for a type; `None` is C's `void`.
    Alias(Option<TypeId>, &'static str),
    /// Code.
    Function,
    /// A type of which debug information says no more than its name.
    Opaque,
}

/// How the bits of a base type are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Base {
    /// A number without a sign.
    Unsigned,
    /// A number with a sign.
    Signed,
    /// `true` or `false`.
    Bool,
    /// A character of C: one byte, which is also a number.
    Byte,
    /// A Unicode character.
    Char,
    /// IEEE 754, or x87 where it takes more than eight bytes.
    Float,
    /// Nothing: `()` and `!`.
    Nothing,
}

/// The fields of a structure or union.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Struct {
    /// Whether all fields lie at its start.
    pub union: bool,
    /// In the order of the declaration, as far as the compiler kept it.
    pub members: Vec<Member>,
    /// The alternatives of a Rust enum.
    pub variants: Option<Variants>,
    /// The generic arguments that are types, with the names of the parameters.
    pub parameters: Vec<(Arc<str>, TypeId)>,
}

/// A field.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// `None` of anonymous structures and unions, whose fields count as fields of what holds them.
    pub name: Option<Arc<str>>,
    /// The type of it.
    pub ty: TypeId,
    /// In bytes from the start.
    pub offset: u64,
    /// Of a bit field: the first bit, from the least significant of `offset`, and the number of bits.
    pub bits: Option<(u64, u64)>,
    /// Made up by the compiler, or a base class.
    pub artificial: bool,
}

/// The alternatives of a Rust enum.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variants {
    /// Where the number of the alternative lies; `None` where there is but one.
    pub discriminant: Option<Member>,
    /// All of them.
    pub variants: Vec<Variant>,
}

/// One alternative.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The numbers that mean it, first and last; empty for the one that all other numbers mean.
    pub values: Vec<(u128, u128)>,
    /// The structure of its fields, whose name is that of the alternative.
    pub member: Member,
}

impl Variants {
    /// The alternative of a number. Both are taken as bits of the discriminant's size.
    #[must_use]
    pub fn of(&self, number: u128) -> Option<&Variant> {
        let says = |variant: &&Variant| {
            variant.values.iter().any(|(first, last)| (*first..=*last).contains(&number))
        };
        let other = || self.variants.iter().find(|variant| variant.values.is_empty());
        self.variants.iter().find(says).or_else(other)
    }
}

/// Names for numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Enumeration {
    /// The number below; `None` where debug information does not say.
    pub underlying: Option<TypeId>,
    /// All of them.
    pub values: Vec<(Arc<str>, i128)>,
    /// Whether a name is to be read with that of the type before it, as in Rust.
    pub scoped: bool,
}

/// What a variable is to its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VariableKind {
    /// Handed in by the caller.
    Argument,
    /// Its own.
    Local,
}

/// A variable of a function that is in scope at an address.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalVariable {
    /// Its name.
    pub name: Arc<str>,
    /// What it is to the function.
    pub kind: VariableKind,
    /// `None` where debug information does not say.
    pub ty: Option<TypeId>,
    /// How many blocks of the function it lies in; one of a larger number hides one of the same name.
    pub block: u32,
    pub(super) entry: TypeId,
    /// The function that is not inlined.
    pub(super) function: TypeId,
}

/// A function at an address, inlined or not, and what of it is in scope.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scope {
    /// Its name.
    pub function: Option<Arc<str>>,
    /// Arguments in their order, then locals, the outermost block first.
    pub variables: Vec<LocalVariable>,
}

/// A variable that is not a function's, or that outlives its function.
#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// With modules and functions that it lies in: `kernel::server::STATE`.
    pub name: Arc<str>,
    /// `None` where debug information does not say.
    pub ty: Option<TypeId>,
    pub(super) entry: TypeId,
}
