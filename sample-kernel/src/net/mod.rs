//! The network: one device, one thread that owns the stack (`smoltcp`: Ethernet, ARP, IPv4, ICMP echo, TCP) and every connection, and two
//! queues between it and those who serve: what has come in on a connection, and what is to be answered. Nobody shares a connection.

mod addresses;
mod cable;
mod classify;
mod connection;
mod counters;
mod limits;
mod link;
mod mailbox;
mod stack;
mod thread;
mod wire;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use virtio_drivers::transport::DeviceType;

pub(crate) use self::addresses::Addresses;
use self::cable::Cable;
pub(crate) use self::cable::Client;
pub(crate) use self::counters::COUNTERS;
use self::limits::Limits;
use self::link::Link;
use self::mailbox::Mailbox;
use crate::heap;
use crate::probes::net::Connection;
use crate::sched::{self, Bell};
use crate::sync::SpinLock;
use crate::virtio::{self, MmioDevice, Network};

/// The vCPU of the device's interrupt and of the thread.
const VCPU: u32 = 0;

/// Where clients connect.
pub(crate) const PORT: u16 = 80;

/// What has come in on a connection.
pub(crate) struct Work {
    pub(crate) connection: u32,
    /// What is told of it.
    pub(crate) told: Arc<Connection>,
    /// All bytes that have not been answered yet.
    pub(crate) input: Vec<u8>,
    /// The client will send no more.
    pub(crate) ended: bool,
}

/// What becomes of it.
pub(crate) struct Answer {
    pub(crate) connection: u32,
    /// What is left of the input: the beginning of a request, say.
    pub(crate) rest: Vec<u8>,
    /// With so many bytes of input there is something to do again; 0: at once.
    pub(crate) wanted: usize,
    /// To be sent.
    pub(crate) output: Vec<u8>,
    /// And then the connection is to be closed.
    pub(crate) close: bool,
}

/// Rung by the device, and by whoever has an answer.
static BELL: Bell = Bell::new();
static WORK: Mailbox<Work> = Mailbox::new();
static ANSWERS: Mailbox<Answer> = Mailbox::new();
static NETWORK: SpinLock<Option<(Box<Network>, Limits)>> = SpinLock::new(None);

/// Finds the device. On the boot vCPU, before others run.
pub(crate) fn prepare(named: &[Option<MmioDevice>]) {
    let Some(network) =
        virtio::find(DeviceType::Network, named).and_then(|device| Network::new(device, VCPU))
    else {
        return;
    };
    *NETWORK.lock() = Some((Box::new(network), Limits::of(heap::bytes())));
}

/// Starts the thread, once. False: there is no device.
pub(crate) fn start(addresses: Addresses) -> bool {
    let Some((network, limits)) = NETWORK.lock().take() else { return false };
    run(Link::Device(network), limits, addresses);
    true
}

/// Starts the thread, once, with a cable to a [`Client`].
pub(crate) fn start_with_cable(addresses: Addresses) {
    run(Link::Cable(Cable::default()), Limits::of(heap::bytes()), addresses);
}

fn run(link: Link, limits: Limits, addresses: Addresses) {
    sched::spawn_urgent(VCPU, String::from("net"), move || thread::run((link, limits), addresses));
}

/// The device has something to say.
pub(crate) fn on_interrupt() {
    virtio::acknowledge_network();
    BELL.ring_from_interrupt();
}

/// What there is to do next; waits for it. `None`: nothing more, ever.
pub(crate) fn next_work() -> Option<Work> {
    WORK.take()
}

/// Hands over an answer.
pub(crate) fn answer(answer: Answer) {
    ANSWERS.put(answer);
    BELL.ring();
}

/// From now on nothing new is served; what has been answered is still sent, for a moment. Waits for it.
pub(crate) fn finish() {
    WORK.close();
    thread::finish();
}

/// Whether connections hold as much memory as they may.
pub(crate) fn is_short_of_memory() -> bool {
    limits::is_short()
}
