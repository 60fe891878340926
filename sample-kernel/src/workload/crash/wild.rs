//! `crash-wild` and `crash-gp`: a reply is written to a connection whose slot has been given to somebody else. `write_reply_header` stores
//! through what once was a pointer: two counters that happen to make an address that nothing is mapped at, or the allocator's
//! poison, which is no address at all.

use core::hint::black_box;

use super::frontend::Request;

/// What freed slots are filled with.
const POISON: u64 = 0x5a5a_5a5a_5a5a_5a5a;

#[repr(C)]
struct ReplyHeader {
    status: u32,
    length: u32,
    request: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Connection {
    output: *mut ReplyHeader,
    used: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Timer {
    ticks: u32,
    sequence: u32,
    period: u64,
}

/// Connections and timers come from one pool.
#[derive(Clone, Copy)]
union Slot {
    connection: Connection,
    timer: Timer,
    raw: [u64; 2],
}

/// The slot went to a timer.
#[inline(never)]
pub(super) fn send_reply(request: &Request) -> u64 {
    let mut slot = Slot { raw: [0; 2] };
    slot.timer = Timer { ticks: 0x5eed_1230, sequence: 1234, period: 250 };
    reply_through(request, &mut slot)
}

/// The slot was given back.
#[inline(never)]
pub(super) fn send_late_reply(request: &Request) -> u64 {
    let mut slot = Slot { raw: [POISON; 2] };
    reply_through(request, &mut slot)
}

#[inline(never)]
fn reply_through(request: &Request, slot: &mut Slot) -> u64 {
    // SAFETY: none, this is the crash: the slot holds something else.
    let connection = unsafe { black_box(slot).connection };
    black_box(&connection);
    let written = write_reply_header(&connection, 200, request.body.len() as u32, request.id);
    black_box((request, &connection, written));
    written
}

#[inline(never)]
fn write_reply_header(connection: &Connection, status: u32, length: u32, request: u64) -> u64 {
    let header = black_box(connection.output);
    // SAFETY: none, see above.
    unsafe { (*header).length = length };
    black_box((header, connection, status, length, request));
    // SAFETY: none; never reached.
    unsafe { (*header).status = status };
    u64::from(length)
}
