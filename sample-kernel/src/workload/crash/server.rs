//! What the server knows: a global with a value of every kind that a debugger has to show.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use core::ptr;

/// Where a request comes from.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Peer {
    pub(super) address: [u8; 4],
    pub(super) port: u16,
}

/// Somebody who is logged in. Laid out as C would, so that the fields stay where they are.
#[repr(C)]
pub(super) struct Session {
    id: u64,
    next: *const Session,
    flags: u32,
    bytes_in: u64,
    bytes_out: u64,
    /// At 0x28.
    pub(super) user: u32,
}

/// Sessions by number modulo eight.
pub(super) struct SessionTable {
    buckets: [*const Session; 8],
}

impl SessionTable {
    /// The first session of a bucket; null where there is none.
    pub(super) fn first_in(&self, bucket: usize) -> *const Session {
        black_box(self.buckets[bucket % 8])
    }
}

// SAFETY: nobody changes it.
unsafe impl Sync for SessionTable {}

/// Nobody is logged in.
pub(super) static SESSIONS: SessionTable = SessionTable { buckets: [ptr::null(); 8] };

/// What the server is at.
#[expect(dead_code, reason = "read by debuggers")]
pub(super) enum Phase {
    Starting,
    Serving { since: u64, backlog: u16 },
    Draining(u32),
}

#[expect(dead_code, reason = "read by debuggers")]
#[repr(u8)]
pub(super) enum LogLevel {
    Error = 1,
    Warning = 2,
    Debug = 8,
}

#[expect(dead_code, reason = "read by debuggers")]
pub(super) enum ServerError {
    Timeout { peer: Peer, after_ms: u32 },
    Refused(String),
    Internal,
}

#[expect(dead_code, reason = "read by debuggers")]
struct Retry {
    times: u8,
    pause_ms: u32,
}

#[expect(dead_code, reason = "read by debuggers")]
struct Limits {
    max_sessions: u32,
    max_body: u64,
    load_factor: f64,
    retry: Retry,
}

#[expect(dead_code, reason = "read by debuggers")]
struct Route {
    path: String,
    hits: u64,
    upstream: Option<Peer>,
}

/// Everything. Private fields, for debuggers only.
#[expect(dead_code, reason = "read by debuggers")]
pub(super) struct ServerState {
    name: &'static str,
    version: (u8, u8, u16),
    phase: Phase,
    level: LogLevel,
    limits: Limits,
    last_error: Option<ServerError>,
    next_error: Option<Box<ServerError>>,
    standby: Option<u32>,
    leader: Option<&'static Peer>,
    banner: String,
    ports: Vec<u16>,
    routes: Vec<Route>,
    users: BTreeMap<u32, String>,
    quotas: BTreeMap<String, (u32, bool)>,
    window: &'static [i16],
    history: [i32; 6],
    matrix: [[u8; 3]; 2],
    first_session: *const Session,
    requests: u64,
    debt: i64,
    ratio: f32,
    letter: char,
    ready: bool,
    big: u128,
    empty: (),
}

static WINDOW: [i16; 8] = [-3, -2, -1, 0, 1, 2, 3, 4];
static LEADER: Peer = Peer { address: [192, 168, 7, 1], port: 7001 };

/// The server's state. Filled once, by [`start`], before other threads run; `requests` belongs to the frontend.
static mut SERVER_STATE: ServerState = ServerState {
    name: "ledger",
    version: (1, 4, 260),
    phase: Phase::Starting,
    level: LogLevel::Warning,
    limits: Limits {
        max_sessions: 512,
        max_body: 1 << 20,
        load_factor: 0.75,
        retry: Retry { times: 3, pause_ms: 250 },
    },
    last_error: None,
    next_error: None,
    standby: None,
    leader: Some(&LEADER),
    banner: String::new(),
    ports: Vec::new(),
    routes: Vec::new(),
    users: BTreeMap::new(),
    quotas: BTreeMap::new(),
    window: &[],
    history: [3, 1, 4, 1, 5, -9],
    matrix: [[1, 2, 3], [4, 5, 6]],
    first_session: ptr::null(),
    requests: 0,
    debt: -1250,
    ratio: 0.5,
    letter: 'ß',
    ready: false,
    big: 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210,
    empty: (),
};

const NAMES: [&str; 5] = ["ada", "barbara", "grace", "hedy", "karen"];

/// Fills the state with what a server has after a while.
pub(super) fn start() {
    let peer = Peer { address: [10, 0, 2, 15], port: 40_015 };
    let state = &raw mut SERVER_STATE;
    // SAFETY: the first call, while no other thread knows of the state.
    let state = unsafe { &mut *state };
    state.phase = Phase::Serving { since: 1_700_000_000, backlog: 12 };
    state.last_error = Some(ServerError::Timeout { peer, after_ms: 1500 });
    state.next_error = Some(Box::new(ServerError::Refused(String::from("no quota"))));
    state.banner = format!("{} {}.{} ready", state.name, state.version.0, state.version.1);
    state.ports = vec![80, 443, 7001];
    state.routes = vec![
        Route { path: String::from("/accounts"), hits: 41, upstream: None },
        Route { path: String::from("/ledger"), hits: 7, upstream: Some(peer) },
    ];
    state.users =
        (0..20_u32).map(|user| (100 + user, format!("{}-{user}", NAMES[user as usize % 5]))).collect();
    state.quotas =
        NAMES.iter().zip(1..).map(|(&name, n)| (String::from(name), (n * 10, n % 2 == 0))).collect();
    state.window = &WINDOW[2..6];
    state.first_session = two_sessions();
    state.ready = true;
    // From here on it has been seen by somebody, for all that the compiler knows.
    black_box(&raw mut SERVER_STATE);
}

/// A list of two.
fn two_sessions() -> *const Session {
    let session =
        |id, next, user| Session { id, next, flags: 0x11, bytes_in: 512 * id, bytes_out: 2048 * id, user };
    let second = Box::leak(Box::new(session(2, ptr::null(), 104)));
    Box::leak(Box::new(session(1, second, 101)))
}

/// One more request has come in.
pub(super) fn count_request(id: u64) {
    // SAFETY: the frontend's own field.
    unsafe { (&raw mut SERVER_STATE.requests).write_volatile(id) };
}
