//! The hooks of a kernel that is built without them (`--features no-probes`), so that what they cost can be measured: the same calls, and
//! nothing in them.

use core::ops::Range;

use super::{Class, LockKind, Registers, SavedRegisters, SwitchReason, Wait};

/// Evaluates to `()`, and none of its arguments.
macro_rules! nothing {
    ($($anything:tt)*) => {
        ()
    };
}

/// A call that nobody records.
macro_rules! call {
    ($($anything:tt)*) => {
        $crate::probes::Call
    };
}

/// A span that nobody records.
macro_rules! span {
    ($($anything:tt)*) => {
        $crate::probes::Span::off()
    };
}

pub(crate) use {call, span};
pub(crate) use {nothing as counter, nothing as event, nothing as gauge, nothing as histogram};

pub(crate) struct Call;

impl Call {
    #[inline(always)]
    pub(crate) fn returned<R>(self, value: R) -> R {
        value
    }
}

pub(crate) struct LockWait;

impl LockWait {
    #[inline(always)]
    pub(crate) fn acquired(self) {}
}

macro_rules! nothing_in {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty = $value:expr)?;)*) => {$(
        #[inline(always)]
        pub(crate) fn $name($($argument: $type),*) $(-> $result)? {
            $(let _ = $argument;)*
            $($value)?
        }
    )*};
}

nothing_in! {
    fn allocated(address: usize, bytes: usize);
    fn freed(address: usize, bytes: usize);
    fn idle_enter();
    fn idle_exit();
    fn lock_released(kind: LockKind, address: usize, since: u64);
    fn lock_wait(kind: LockKind, address: usize, owner: u32) -> LockWait = LockWait;
    fn log_line(line: &str);
    fn next_tick() -> u64 = u64::MAX;
    fn poll();
    fn recording(class: Class) -> bool = false;
    fn saved(thread: u32, registers: &SavedRegisters);
    fn set_interrupt_cost(ticks: u64);
    fn switch(from: u32, to: u32, reason: SwitchReason);
    fn thread_exit(id: u32);
    fn thread_start(id: u32, name: &str, stack: Range<usize>, entry: usize);
    fn vcpu_online();
    fn wait_begin(thread: u32, wait: &Wait);
    fn wait_end(thread: u32);
    fn watching_heap() -> bool = false;
    fn woken(thread: u32);
    fn woken_by_interrupt(thread: u32);
}

#[inline(always)]
pub(crate) fn interrupt<R>(_: u32, handler: impl FnOnce() -> R) -> R {
    handler()
}

/// # Safety
/// None is needed; the real one has a contract.
#[inline(always)]
pub(crate) unsafe fn tick_with_registers(_: &Registers) {}

/// What the network tells.
pub(crate) mod net {
    use core::net::SocketAddr;

    pub(crate) use uniprof_wire::net::{ConnectionState, Direction, Protocol, Verdict};

    pub(crate) struct Connection;

    impl Connection {
        pub(crate) const NONE: Self = Self;

        nothing_in! {
            fn open(protocol: Protocol, local: SocketAddr, remote: SocketAddr, state: ConnectionState) -> Connection = Connection;
        }

        pub(crate) fn id(&self) -> u64 {
            0
        }

        #[inline(always)]
        pub(crate) fn state(&self, _: ConnectionState) {}

        #[inline(always)]
        pub(crate) fn served_by(&self, _: u32) {}

        #[inline(always)]
        pub(crate) fn queues(&self, _: u32, _: u32) {}

        #[inline(always)]
        pub(crate) fn received(&self, _: u64) {}

        #[inline(always)]
        pub(crate) fn sent(&self, _: u64) {}
    }

    nothing_in! {
        fn interface(index: u8, name: &str, mac: [u8; 6], mtu: u32);
        fn packet(interface: u8, direction: Direction, bytes: &[u8], verdict: Verdict);
    }
}
