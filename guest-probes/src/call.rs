//! Calls of the kernel's own interface: its "system calls", with arguments and result.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use uniprof_wire::record::Kind;
use uniprof_wire::ring::{Payload, WriterWords};

use crate::arg::{Args, Scalar};
use crate::event::emit;
use crate::platform;

/// A call under way, made by [`call!`](crate::call!). It is recorded when it [returns](Call::returned), else when it is dropped, without a
/// result.
#[must_use = "a call lasts until it returns: bind it to a name, `let call = call!(…)`"]
#[derive(Debug)]
pub struct Call<A: Args, R = ()> {
    begun: Option<Begun<A>>,
    result: PhantomData<fn(R)>,
}

#[derive(Clone, Copy, Debug)]
struct Begun<A> {
    site: u32,
    tsc: u64,
    args: A,
}

impl<A: Args, R> Call<A, R> {
    /// A call of the site begins. Not inlined: code whose calls nobody records shall not keep registers free for this.
    #[inline(never)]
    pub fn begin(site: u32, args: A) -> Self {
        Self { begun: Some(Begun { site, tsc: platform::now(), args }), result: PhantomData }
    }

    /// A call of a site that is off: nothing is recorded.
    #[inline(always)]
    pub const fn off() -> Self {
        Self { begun: None, result: PhantomData }
    }
}

impl<A: Args, R: Scalar> Call<A, R> {
    /// The call returns `value`, which is given back.
    #[inline(always)]
    pub fn returned(self, value: R) -> R {
        let call = ManuallyDrop::new(self);
        if let Some(begun) = &call.begun {
            record::<A, true>(begun, value.bits());
        }
        value
    }
}

impl<A: Args, R> Drop for Call<A, R> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(begun) = &self.begun {
            record::<A, false>(begun, 0);
        }
    }
}

/// Two functions rather than one that looks whether there is a result: of a site there is mostly only one.
#[inline(never)]
fn record<A: Args, const HAS_RESULT: bool>(begun: &Begun<A>, result: u64) {
    let Begun { site, tsc, args } = *begun;
    emit(Kind::Call, site, Returned::<A, HAS_RESULT> { begin: tsc, args, result });
}

/// What the record of a call has behind its site.
#[derive(Clone, Copy)]
struct Returned<A, const HAS_RESULT: bool> {
    begin: u64,
    args: A,
    result: u64,
}

impl<A: Args, const HAS_RESULT: bool> Args for Returned<A, HAS_RESULT> {
    const MOST_WORDS: usize = A::MOST_WORDS + 2;

    #[inline(always)]
    fn words(self) -> usize {
        1 + self.args.words() + usize::from(HAS_RESULT)
    }

    #[inline(always)]
    fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize {
        payload.put_counted(at, self.begin);
        let at = self.args.put(payload, at + 1);
        if HAS_RESULT {
            payload.put_counted(at, self.result);
        }
        at + usize::from(HAS_RESULT)
    }
}

/// Records a call of the kernel's own interface: its name, the type of its result if it has one, and arguments as for
/// [`event!`](crate::event!). What it evaluates to is the call under way: give it the result, or let it end with its scope. Text and bytes are
/// read when the call ends. Results are numbers, `bool`, `char` or `ptr` (an address).
///
/// ```text
/// let call = uniprof_probes::call!("fs.read" -> i64, fd: u32 = fd, len = buffer.len());
/// …
/// call.returned(bytes)
/// ```
#[macro_export]
macro_rules! call {
    ($name:literal -> $result:ident $(, $key:ident $(: $type:ident)? = $value:expr)* $(,)?) => {{
        if let Some(site) = $crate::__site!(Call, $name $(, $key $($type)?)*, result $result) {
            $crate::Call::<_, $crate::__result!($result)>::begin(
                site.id(),
                ($($crate::__arg!($($type)? => $value),)*),
            )
        } else {
            $crate::Call::off()
        }
    }};
    ($name:literal $(, $key:ident $(: $type:ident)? = $value:expr)* $(,)?) => {{
        if let Some(site) = $crate::__site!(Call, $name $(, $key $($type)?)*) {
            $crate::Call::<_, ()>::begin(site.id(), ($($crate::__arg!($($type)? => $value),)*))
        } else {
            $crate::Call::off()
        }
    }};
}

/// The type of a result.
#[doc(hidden)]
#[macro_export]
macro_rules! __result {
    (ptr) => {
        usize
    };
    (str) => {
        compile_error!("a call's result is a number, bool, char or ptr")
    };
    (bytes) => {
        compile_error!("a call's result is a number, bool, char or ptr")
    };
    ($type:ident) => {
        $type
    };
}
