//! A network device (section 5.1): whole Ethernet frames, each in a buffer of its own. No offloads: checksums are those of the frames.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, SomeTransport, Transport};

use super::{Device, Memory};

const VERSION_1: u64 = 1 << 32;
const HAS_ADDRESS: u64 = 1 << 5;

const RECEIVE: u16 = 0;
const SEND: u16 = 1;

/// Entries of each queue, and buffers for it.
const ENTRIES: usize = 256;
/// A frame with a VLAN tag and the header that virtio puts before it; the device wants 1526 bytes.
const BUFFER_BYTES: usize = 2048;
/// Largest frame, without its check sequence.
pub(crate) const FRAME_BYTES: usize = 1514;

type Queue = Box<VirtQueue<Memory, ENTRIES>>;
type Buffer = Box<[u8]>;

fn buffers() -> Vec<Buffer> {
    (0..ENTRIES).map(|_| vec![0; BUFFER_BYTES].into_boxed_slice()).collect()
}

/// Frames from the device.
pub(crate) struct Receiver {
    queue: Queue,
    buffers: Vec<Buffer>,
    /// The buffer of each of the queue's tokens.
    held: [u8; ENTRIES],
    /// Bytes before each frame.
    header: usize,
    /// The buffer of the frame that was shown last: the device gets it back with the next.
    shown: Option<u8>,
    given_back: bool,
}

/// Frames to the device.
pub(crate) struct Sender {
    queue: Queue,
    buffers: Vec<Buffer>,
    held: [(u8, u16); ENTRIES],
    free: Vec<u8>,
    header: usize,
    queued: bool,
}

/// The device.
pub(crate) struct Network {
    transport: SomeTransport<'static>,
    address: [u8; 6],
    interrupts: bool,
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
}

impl Network {
    /// Sets the device up; it interrupts that vCPU where it can. `None`: it has no queues of that length, or says nothing of its address.
    pub(crate) fn new(device: Device, vcpu: u32) -> Option<Self> {
        let Device { mut transport, interrupt } = device;
        transport.set_status(DeviceStatus::empty());
        transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        let features = transport.read_device_features() & (VERSION_1 | HAS_ADDRESS);
        if features & HAS_ADDRESS == 0 {
            return None;
        }
        transport.write_driver_features(features);
        transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
        transport.set_guest_page_size(4096);
        // Before version 1.0 the header has no count of merged buffers.
        let header = if features & VERSION_1 == 0 { 10 } else { 12 };
        let mut address = [0; 6];
        for (index, byte) in address.iter_mut().enumerate() {
            *byte = transport.read_config_space(index).ok()?;
        }
        let receive = Box::new(VirtQueue::new(&mut transport, RECEIVE, false, false).ok()?);
        let send = Box::new(VirtQueue::new(&mut transport, SEND, false, false).ok()?);
        let interrupts = interrupt.route(&mut transport, RECEIVE, vcpu);
        transport.finish_init();
        let mut network = Self {
            transport,
            address,
            interrupts,
            receiver: Receiver::new(receive, header),
            sender: Sender::new(send, header),
        };
        network.flush();
        Some(network)
    }

    /// Its Ethernet address.
    pub(crate) fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Whether it interrupts: otherwise somebody has to look.
    pub(crate) fn interrupts(&self) -> bool {
        self.interrupts
    }

    /// Tells the device of frames to send, and of buffers for more.
    pub(crate) fn flush(&mut self) {
        self.receiver.give_back_shown();
        // Whether the device wants to be told is asked after it can see the buffers: in the other order it might have looked before, and sleep.
        fence(Ordering::SeqCst);
        if core::mem::take(&mut self.receiver.given_back) && self.receiver.queue.should_notify() {
            self.transport.notify(RECEIVE);
        }
        if core::mem::take(&mut self.sender.queued) && self.sender.queue.should_notify() {
            self.transport.notify(SEND);
        }
    }

    /// Whether the next frame interrupts. Whoever wants that looks for frames once more: one that came before does not.
    pub(crate) fn set_interrupts(&mut self, wanted: bool) {
        self.receiver.queue.set_dev_notify(wanted);
        fence(Ordering::SeqCst);
    }
}

impl Receiver {
    fn new(queue: Queue, header: usize) -> Self {
        let mut receiver =
            Self { queue, buffers: buffers(), held: [0; ENTRIES], header, shown: None, given_back: false };
        for index in 0..ENTRIES {
            receiver.give(index as u8);
        }
        receiver
    }

    fn give(&mut self, index: u8) {
        let buffer = &mut self.buffers[usize::from(index)];
        // SAFETY: the buffer is this queue's own, and left alone until `receive` gets it back.
        if let Ok(token) = unsafe { self.queue.add(&[], &mut [&mut buffer[..]]) } {
            self.held[usize::from(token) % ENTRIES] = index;
            self.given_back = true;
        }
    }

    fn give_back_shown(&mut self) {
        if let Some(index) = self.shown.take() {
            self.give(index);
        }
    }

    /// Whether a frame waits.
    pub(crate) fn has_some(&self) -> bool {
        self.queue.can_pop()
    }

    /// The next frame, if there is one. The device gets its buffer back with the next one that is asked for.
    pub(crate) fn receive(&mut self) -> Option<&[u8]> {
        self.give_back_shown();
        let token = self.queue.peek_used()?;
        let index = self.held[usize::from(token) % ENTRIES];
        let buffer = &mut self.buffers[usize::from(index)];
        // SAFETY: the buffer that was added under this token.
        let bytes = unsafe { self.queue.pop_used(token, &[], &mut [&mut buffer[..]]) }.ok()? as usize;
        self.shown = Some(index);
        let bytes = bytes.min(buffer.len());
        Some(buffer.get(self.header..bytes).unwrap_or_default())
    }
}

impl Sender {
    fn new(mut queue: Queue, header: usize) -> Self {
        // Buffers that were sent are looked for when one is needed.
        queue.set_dev_notify(false);
        let free = (0..ENTRIES).map(|index| index as u8).collect();
        Self { queue, buffers: buffers(), held: [(0, 0); ENTRIES], free, header, queued: false }
    }

    fn reclaim(&mut self) {
        while let Some(token) = self.queue.peek_used() {
            let (index, bytes) = self.held[usize::from(token) % ENTRIES];
            let buffer = &self.buffers[usize::from(index)];
            // SAFETY: the buffer that was added under this token.
            if unsafe { self.queue.pop_used(token, &[&buffer[..usize::from(bytes)]], &mut []) }.is_err() {
                return;
            }
            self.free.push(index);
        }
    }

    /// Whether there is a buffer for one more frame.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.free.is_empty() {
            self.reclaim();
        }
        !self.free.is_empty()
    }

    /// Queues a frame that `write` fills; [`Network::flush`] sends it. Without room it is dropped.
    pub(crate) fn send<R>(&mut self, bytes: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let bytes = bytes.min(BUFFER_BYTES - self.header);
        let Some(index) = self.has_room().then(|| self.free.pop()).flatten() else {
            return write(&mut vec![0; bytes]);
        };
        let buffer = &mut self.buffers[usize::from(index)];
        buffer[..self.header].fill(0);
        let end = self.header + bytes;
        let result = write(&mut buffer[self.header..end]);
        // SAFETY: the buffer is this queue's own, and left alone until `reclaim` gets it back.
        match unsafe { self.queue.add(&[&buffer[..end]], &mut []) } {
            Ok(token) => {
                self.held[usize::from(token) % ENTRIES] = (index, end as u16);
                self.queued = true;
            }
            Err(_) => self.free.push(index),
        }
        result
    }
}
