//! `crash-null`: a session that is not in the table is used all the same. `session_lookup` reads a field of a null session.

use core::hint::black_box;

use super::frontend::Request;
use super::server::{Peer, SESSIONS, Session, SessionTable};

/// What somebody may do.
struct Rights {
    user: u32,
    may_write: bool,
}

#[inline(never)]
pub(super) fn authorize(request: &Request) -> u64 {
    let now = 1_700_000_000 + request.id;
    let rights = check_rights(&SESSIONS, request, now);
    black_box((request, now));
    u64::from(rights.user) + u64::from(rights.may_write)
}

#[inline(never)]
fn check_rights(table: &SessionTable, request: &Request, now: u64) -> Rights {
    let peer = Peer { address: request.peer.address, port: request.peer.port };
    let deadline = [now, now + 30];
    let user = session_lookup(black_box(table), request.session, black_box(&peer));
    black_box((&deadline, table, request, now));
    Rights { user, may_write: user.is_multiple_of(2) }
}

/// The user of a session; of one that does not exist, too.
#[inline(never)]
fn session_lookup(table: &SessionTable, id: u64, peer: &Peer) -> u32 {
    let mut bucket = (id % 8) as usize;
    let mut tried = [id, u64::from(peer.port), 0];
    black_box(&mut tried);
    black_box(&mut bucket);
    let session: *const Session = table.first_in(bucket);
    // SAFETY: none, this is the crash: the bucket is empty, hence the pointer null.
    let user = unsafe { (*session).user };
    tried[2] = user.into();
    black_box((&tried, table, id, peer));
    user
}
