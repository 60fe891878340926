//! The observation region over a serial port, where the machine has one named `uniprof`: for hosts that can't see the guest's memory.
//!
//! A thread of its own on the boot vCPU looks at the port, and goes before all others when its time has come: 2 of 10 ms are its, however busy the
//! vCPU is, and more only while nobody else wants to run. Without a port there is no thread.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use core::mem::ManuallyDrop;

use lock_api::Mutex;
use virtio_drivers::transport::DeviceType;

use crate::probes::{Sink, Step, Streamer};
use crate::sync::RawSpinLock;
use crate::virtio::{self, MmioDevice, Serial};
use crate::{arch, sched, time};

/// How often the thread runs while somebody listens, and for how long at most.
const PERIOD_NS: u64 = 10_000_000;
const SLICE_NS: u64 = 2_000_000;
/// How often it looks whether somebody listens.
const IDLE_NS: u64 = 100_000_000;
/// How long a kernel that ends waits for a host to take what is left.
const LAST_NS: u64 = 2_000_000_000;
const VCPU: u32 = 0;

struct Drain {
    serial: Serial,
    streamer: Streamer<'static>,
    is_open: bool,
    /// A host has listened at some time.
    was_heard: bool,
}

static DRAIN: Mutex<RawSpinLock<false>, Option<Box<Drain>>> = Mutex::new(None);

impl Sink for Serial {
    fn write(&mut self, bytes: &[u8]) -> usize {
        self.send(bytes)
    }
}

/// Finds the port. On the boot vCPU, before others run, and after the probes are on.
pub(crate) fn prepare(named: &[Option<MmioDevice>]) {
    let buffer = Streamer::buffer_words();
    let Some(serial) = virtio::find(DeviceType::Console, named).filter(|_| buffer > 0).and_then(Serial::new)
    else {
        return;
    };
    let Some(streamer) = Streamer::new(vec![0; buffer].leak()) else { return };
    *DRAIN.lock() = Some(Box::new(Drain { serial, streamer, is_open: false, was_heard: false }));
}

/// Starts the thread, if there is a port.
pub(crate) fn start() {
    if DRAIN.lock().is_some() {
        sched::spawn_urgent(VCPU, String::from("uniprof-drain"), run);
    }
}

fn run() {
    loop {
        let begin = arch::now();
        let (is_open, more) = DRAIN.lock().as_mut().map_or((false, false), |drain| drain.round(begin));
        // A backlog goes on at once where nobody else wants the vCPU.
        if more && sched::is_alone() {
            continue;
        }
        let period = time::ticks(if is_open { PERIOD_NS } else { IDLE_NS });
        sched::sleep_until(begin.saturating_add(period));
    }
}

impl Drain {
    /// Listens and sends for a slice. Whether anybody is there, and whether there is more to send.
    fn round(&mut self, begin: u64) -> (bool, bool) {
        if !self.hear() {
            return (false, false);
        }
        let end = begin.saturating_add(time::ticks(SLICE_NS));
        while arch::now() < end {
            match self.streamer.step(&mut self.serial) {
                Step::Sent(_) => {}
                Step::Blocked | Step::Idle => return (true, false),
            }
        }
        (true, true)
    }

    /// Hears the host; whether it is there.
    fn hear(&mut self) -> bool {
        let is_open = self.serial.poll();
        let streamer = &mut self.streamer;
        // First what it said last: that it asks for nothing any more.
        self.serial.receive(|bytes| streamer.receive(bytes));
        self.was_heard |= streamer.is_attached();
        if self.is_open && !is_open {
            streamer.disconnected();
        }
        self.is_open = is_open;
        is_open
    }

    /// Closes the account and waits until the host has all of it. Polled: nothing of the kernel but this need still work.
    fn finish(&mut self) {
        let end = arch::now().saturating_add(time::ticks(LAST_NS));
        self.streamer.finish();
        while self.hear() && self.streamer.is_attached() && arch::now() < end {
            if self.streamer.step(&mut self.serial) == Step::Idle && self.serial.is_flushed() {
                return;
            }
        }
    }

    /// Work that was soon done is over before its host has connected: who has never been there is waited for.
    fn wait_for_host(&mut self) {
        let end = arch::now().saturating_add(time::ticks(LAST_NS));
        while !self.was_heard && arch::now() < end {
            self.hear();
        }
    }
}

/// Sends what is left, before the machine ends.
pub(crate) fn flush() {
    let Some(mut drain) = take() else { return };
    drain.wait_for_host();
    drain.finish();
}

/// The same after a crash, for a host that is there: the crash's own record, and what led to it. Not if the crash happened in here.
pub(crate) fn flush_after_crash() {
    if let Some(mut drain) = take() {
        drain.finish();
    }
}

/// The port, for the last time. It is never given back: what it has lent to the device stays where it is.
fn take() -> Option<ManuallyDrop<Box<Drain>>> {
    DRAIN.try_lock()?.take().map(ManuallyDrop::new)
}
