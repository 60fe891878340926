//! Arguments of events, spans and calls, as words.
//!
//! A record takes a tuple of them. All is inlined, so that a tuple of scalars becomes as many stores and its length a constant.

use uniprof_wire::record::{MAX_ARG_BYTES, MAX_ARG_WORDS};
use uniprof_wire::ring::{Payload, WriterWords};
use uniprof_wire::site::text_words;

/// An argument without a stated type: any unsigned integer.
#[diagnostic::on_unimplemented(
    message = "an argument of type `{Self}` needs its type stated",
    note = "write `name: TYPE = value`; TYPE is u8 … u64, usize, i8 … i64, isize, f32, f64, bool, char, ptr, str or bytes"
)]
pub trait Unsigned: Copy {
    /// Its bits.
    fn word(self) -> u64;
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Unsigned for $type {
            #[inline(always)]
            fn word(self) -> u64 {
                self as u64
            }
        }
    )*};
}
unsigned!(u8, u16, u32, u64, usize);

/// A value of one word.
pub trait Scalar: Copy {
    /// The word.
    fn bits(self) -> u64;
}

macro_rules! scalar {
    ($($type:ty),*) => {$(
        impl Scalar for $type {
            #[inline(always)]
            fn bits(self) -> u64 {
                self as u64
            }
        }
    )*};
}
scalar!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, bool, char);

impl Scalar for f32 {
    #[inline(always)]
    fn bits(self) -> u64 {
        f64::from(self).to_bits()
    }
}

impl Scalar for f64 {
    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// A number that a gauge can show.
pub trait Number: Copy {
    /// As a floating-point number.
    fn float(self) -> f64;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            #[inline(always)]
            fn float(self) -> f64 {
                self as f64
            }
        }
    )*};
}
number!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64);

/// An address: a pointer, a reference, or the number.
pub trait Address: Copy {
    /// The number.
    fn address(self) -> u64;
}

impl<T> Address for *const T {
    #[inline(always)]
    fn address(self) -> u64 {
        self as u64
    }
}

impl<T> Address for *mut T {
    #[inline(always)]
    fn address(self) -> u64 {
        self as u64
    }
}

impl<T> Address for &T {
    #[inline(always)]
    fn address(self) -> u64 {
        core::ptr::from_ref(self) as u64
    }
}

impl Address for usize {
    #[inline(always)]
    fn address(self) -> u64 {
        self as u64
    }
}

impl Address for u64 {
    #[inline(always)]
    fn address(self) -> u64 {
        self
    }
}

/// One argument in the making.
pub trait Arg: Copy {
    /// Most words that it can take.
    const MOST_WORDS: usize;
    /// Words that it takes.
    fn words(self) -> usize;
    /// Stores them from word `at` of the payload on: so many as it takes. Returns the index behind them.
    fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize;
}

/// A scalar.
#[derive(Clone, Copy, Debug)]
pub struct Word(pub u64);

impl Arg for Word {
    const MOST_WORDS: usize = 1;

    #[inline(always)]
    fn words(self) -> usize {
        1
    }

    #[inline(always)]
    fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize {
        payload.put_counted(at, self.0);
        at + 1
    }
}

/// Text or bytes; the first [`MAX_ARG_BYTES`] count.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    kept: &'a [u8],
    total: u32,
}

impl<'a> Bytes<'a> {
    #[inline(always)]
    fn new(bytes: &'a [u8]) -> Self {
        let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { kept: &bytes[..bytes.len().min(MAX_ARG_BYTES)], total }
    }
}

impl Arg for Bytes<'_> {
    const MOST_WORDS: usize = text_words(MAX_ARG_BYTES);

    #[inline(always)]
    fn words(self) -> usize {
        // `text_words` of at most 128, in two instructions.
        (self.kept.len() + 15) / 8
    }

    #[inline(always)]
    fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize {
        let &Self { kept, total } = self;
        payload.put_counted(at, u64::from(total) | (kept.len() as u64) << 32);
        payload.put_bytes_counted(at + 1, kept)
    }
}

/// All arguments of a record.
pub trait Args: Copy {
    /// Most words that they can take.
    const MOST_WORDS: usize;
    /// Words that they take.
    fn words(self) -> usize;
    /// Stores them from word `at` of the payload on: so many as it takes. Returns the index behind them.
    fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize;
}

macro_rules! tuple {
    ($($name:ident),*) => {
        impl<$($name: Arg),*> Args for ($($name,)*) {
            const MOST_WORDS: usize = 0 $(+ $name::MOST_WORDS)*;

            #[inline(always)]
            fn words(self) -> usize {
                #[allow(non_snake_case, reason = "one name for a type and its value")]
                let ($($name,)*) = self;
                0 $(+ $name.words())*
            }

            #[inline(always)]
            #[allow(unused, reason = "where there is none")]
            fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize {
                #[allow(non_snake_case, reason = "as above")]
                let ($($name,)*) = self;
                $(
                    let at = $name.put(payload, at);
                )*
                at
            }
        }
    };
}
tuple!();
tuple!(A);
tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);
tuple!(A, B, C, D, E);
tuple!(A, B, C, D, E, F);
tuple!(A, B, C, D, E, F, G);
tuple!(A, B, C, D, E, F, G, H);
tuple!(A, B, C, D, E, F, G, H, I);
tuple!(A, B, C, D, E, F, G, H, I, J);
tuple!(A, B, C, D, E, F, G, H, I, J, K);
tuple!(A, B, C, D, E, F, G, H, I, J, K, L);
tuple!(A, B, C, D, E, F, G, H, I, J, K, L, M);
tuple!(A, B, C, D, E, F, G, H, I, J, K, L, M, N);
tuple!(A, B, C, D, E, F, G, H, I, J, K, L, M, N, O);
tuple!(A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P);

/// Fails to compile for arguments that may not fit a record.
pub(crate) const fn assert_fits<A: Args>() {
    assert!(A::MOST_WORDS < MAX_ARG_WORDS, "at most seven arguments of a record can be text or bytes");
}

/// Text.
#[inline(always)]
#[must_use]
pub fn text(text: &str) -> Bytes<'_> {
    Bytes::new(text.as_bytes())
}

/// Bytes.
#[inline(always)]
#[must_use]
pub fn bytes(bytes: &[u8]) -> Bytes<'_> {
    Bytes::new(bytes)
}

/// A number of the very type that was stated.
#[inline(always)]
pub fn same<T>(value: T) -> T {
    value
}

/// The letter of a type, as sites state it (`uniprof_wire::site::ArgType`).
#[doc(hidden)]
#[macro_export]
macro_rules! __letter {
    () => {
        "u"
    };
    (u8) => {
        "u"
    };
    (u16) => {
        "u"
    };
    (u32) => {
        "u"
    };
    (u64) => {
        "u"
    };
    (usize) => {
        "u"
    };
    (i8) => {
        "i"
    };
    (i16) => {
        "i"
    };
    (i32) => {
        "i"
    };
    (i64) => {
        "i"
    };
    (isize) => {
        "i"
    };
    (f32) => {
        "f"
    };
    (f64) => {
        "f"
    };
    (bool) => {
        "b"
    };
    (char) => {
        "c"
    };
    (ptr) => {
        "p"
    };
    (str) => {
        "s"
    };
    (bytes) => {
        "y"
    };
    ($other:ident) => {
        compile_error!(concat!(
            "`",
            stringify!($other),
            "` is no type of an argument; there are u8 … u64, usize, i8 … i64, isize, f32, f64, ",
            "bool, char, ptr, str, bytes"
        ))
    };
}

/// A value as an argument of the stated type.
#[doc(hidden)]
#[macro_export]
macro_rules! __arg {
    (=> $value:expr) => {
        $crate::expansion::Word($crate::Unsigned::word($value))
    };
    (str => $value:expr) => {
        $crate::expansion::text($value)
    };
    (bytes => $value:expr) => {
        $crate::expansion::bytes($value)
    };
    (ptr => $value:expr) => {
        $crate::expansion::Word($crate::expansion::Address::address($value))
    };
    (f32 => $value:expr) => {
        $crate::expansion::Word(f64::to_bits(f64::from($crate::expansion::same::<f32>($value))))
    };
    (f64 => $value:expr) => {
        $crate::expansion::Word(f64::to_bits($value))
    };
    ($type:ident => $value:expr) => {
        $crate::expansion::Word($crate::expansion::same::<$type>($value) as u64)
    };
}
