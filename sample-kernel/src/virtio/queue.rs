//! A queue with buffers of its own: what goes in is copied, so that nobody else's memory is ever the device's.

use alloc::boxed::Box;
use alloc::vec;
use core::sync::atomic::{Ordering, fence};

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{SomeTransport, Transport};

use super::Memory;

/// Entries of each queue; also how many buffers it can have.
const ENTRIES: usize = 16;

/// A queue, its buffers, and which of them the device has.
pub(super) struct Buffered {
    queue: VirtQueue<Memory, ENTRIES>,
    index: u16,
    buffers: Box<[Box<[u8]>]>,
    /// Buffers that the device does not have, a bit each.
    free: u16,
    /// The buffer of each of the queue's tokens, and how much of it is in use.
    held: [(u8, usize); ENTRIES],
}

impl Buffered {
    /// Queue `index` of the device, without buffers. `None`: the device has no such queue, or a shorter one.
    pub(super) fn new(transport: &mut SomeTransport<'static>, index: u16) -> Option<Self> {
        let queue = VirtQueue::new(transport, index, false, false).ok()?;
        let buffers = Box::default();
        let mut buffered = Self { queue, index, buffers, free: 0, held: [(0, 0); ENTRIES] };
        // Everything here is polled.
        buffered.queue.set_dev_notify(false);
        Some(buffered)
    }

    /// Gives it `count` buffers, once.
    pub(super) fn provide(&mut self, count: usize, bytes: usize) {
        let count = count.min(ENTRIES);
        self.buffers = (0..count).map(|_| vec![0; bytes].into()).collect();
        self.free = ((1_u32 << count) - 1) as u16;
    }

    fn take_free(&mut self) -> Option<usize> {
        let index = self.free.trailing_zeros();
        (self.free != 0).then(|| {
            self.free &= self.free - 1;
            index as usize
        })
    }

    /// Sends bytes, as many as fit one buffer, if there is a free one. How many.
    pub(super) fn send(&mut self, transport: &mut SomeTransport<'static>, bytes: &[u8]) -> usize {
        self.reclaim();
        let Some(index) = self.take_free() else { return 0 };
        let buffer = &mut self.buffers[index];
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        // SAFETY: the buffer is this queue's own, and left alone until `reclaim` gets it back.
        let Ok(token) = (unsafe { self.queue.add(&[&buffer[..count]], &mut []) }) else {
            self.free |= 1 << index;
            return 0;
        };
        self.held[usize::from(token) % ENTRIES] = (index as u8, count);
        // The device sees the buffer before it is asked whether it wants to be told.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            transport.notify(self.index);
        }
        count
    }

    /// Takes back the buffers that the device has sent; whether it has none left.
    pub(super) fn reclaim(&mut self) -> bool {
        while let Some(token) = self.queue.peek_used() {
            let (index, count) = self.held[usize::from(token) % ENTRIES];
            let buffer = &self.buffers[usize::from(index)];
            // SAFETY: the buffer that was added under this token.
            if unsafe { self.queue.pop_used(token, &[&buffer[..count]], &mut []) }.is_err() {
                break;
            }
            self.free |= 1 << index;
        }
        u32::from(self.free).count_ones() as usize == self.buffers.len()
    }

    /// Lets the device fill every buffer that it does not have.
    pub(super) fn listen(&mut self, transport: &mut SomeTransport<'static>) {
        let mut added = false;
        while let Some(index) = self.take_free() {
            let buffer = &mut self.buffers[index];
            let count = buffer.len();
            // SAFETY: the buffer is this queue's own, and left alone until `receive` gets it back.
            let Ok(token) = (unsafe { self.queue.add(&[], &mut [&mut buffer[..]]) }) else {
                self.free |= 1 << index;
                break;
            };
            self.held[usize::from(token) % ENTRIES] = (index as u8, count);
            added = true;
        }
        fence(Ordering::SeqCst);
        if added && self.queue.should_notify() {
            transport.notify(self.index);
        }
    }

    /// What the device has filled next, if anything; [`listen`](Self::listen) gives it the buffer again.
    pub(super) fn receive(&mut self) -> Option<&[u8]> {
        let token = self.queue.peek_used()?;
        let (index, _) = self.held[usize::from(token) % ENTRIES];
        let buffer = &mut self.buffers[usize::from(index)];
        // SAFETY: the buffer that was added under this token.
        let count = unsafe { self.queue.pop_used(token, &[], &mut [&mut buffer[..]]) }.ok()?;
        self.free |= 1 << index;
        Some(&buffer[..buffer.len().min(count as usize)])
    }
}
