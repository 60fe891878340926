//! The device as the stack wants it: one frame in, and any number out.

use core::time::Duration;

use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::counters;
use super::link::Sender;
use crate::probes::net::Verdict;
use crate::virtio::FRAME_BYTES;

/// How soon to look again whether a device that was full is so still.
pub(super) const FULL: Duration = Duration::from_micros(500);

/// What the stack may have at a time.
pub(super) struct Wire<'a> {
    /// To be looked at; the stack takes it.
    pub(super) frame: Option<&'a [u8]>,
    pub(super) sender: Sender<'a>,
    /// The device had no room for a frame.
    pub(super) was_full: bool,
}

impl<'a> Wire<'a> {
    pub(super) fn new(frame: Option<&'a [u8]>, sender: &'a mut Sender<'_>) -> Self {
        Self { frame, sender: sender.again(), was_full: false }
    }
}

pub(super) struct Incoming<'a>(&'a [u8]);

pub(super) struct Outgoing<'a>(Sender<'a>);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        look(self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, bytes: usize, write: F) -> R {
        let verdict = if self.0.has_room() { Verdict::Accepted } else { Verdict::QueueFull };
        self.0.send(bytes, |frame| {
            let result = write(frame);
            counters::packet_out(frame, verdict);
            result
        })
    }
}

impl Device for Wire<'_> {
    type RxToken<'a>
        = Incoming<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outgoing<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        Some((Incoming(self.frame.take()?), Outgoing(self.sender.again())))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        if !self.sender.has_room() {
            self.was_full = true;
            return None;
        }
        Some(Outgoing(self.sender.again()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        // Of what comes in they have been verified.
        checksum.ipv4 = Checksum::Tx;
        checksum.tcp = Checksum::Tx;
        checksum.icmpv4 = Checksum::Tx;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities.checksum = checksum;
        capabilities
    }
}
