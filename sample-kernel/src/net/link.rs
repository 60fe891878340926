//! What the stack is connected to: a device, or a cable to a thread of this kernel.

use alloc::boxed::Box;

use super::cable::{self, Cable};
use crate::virtio::{self, Network};

pub(super) enum Link {
    Device(Box<Network>),
    Cable(Cable),
}

/// Frames that come in.
pub(super) enum Receiver<'a> {
    Device(&'a mut virtio::Receiver),
    Cable(&'a mut Cable),
}

/// Frames that go out.
pub(super) enum Sender<'a> {
    Device(&'a mut virtio::Sender),
    Cable,
}

impl Link {
    /// Its Ethernet address.
    pub(super) fn address(&self) -> [u8; 6] {
        match self {
            Self::Device(network) => network.address(),
            Self::Cable(_) => cable::OWN,
        }
    }

    /// Whether somebody rings when a frame has come: otherwise one has to look.
    pub(super) fn interrupts(&self) -> bool {
        match self {
            Self::Device(network) => network.interrupts(),
            Self::Cable(_) => true,
        }
    }

    /// Whether the next frame interrupts. Whoever wants that looks for frames once more.
    pub(super) fn set_interrupts(&mut self, wanted: bool) {
        if let Self::Device(network) = self {
            network.set_interrupts(wanted);
        }
    }

    /// Tells a device of frames to send, and of buffers for more.
    pub(super) fn flush(&mut self) {
        if let Self::Device(network) = self {
            network.flush();
        }
    }

    /// Whether a frame waits.
    pub(super) fn has_some(&self) -> bool {
        match self {
            Self::Device(network) => network.receiver.has_some(),
            Self::Cable(cable) => cable.has_some(),
        }
    }

    /// Both directions at once.
    pub(super) fn split(&mut self) -> (Receiver<'_>, Sender<'_>) {
        match self {
            Self::Device(network) => {
                let Network { receiver, sender, .. } = &mut **network;
                (Receiver::Device(receiver), Sender::Device(sender))
            }
            Self::Cable(cable) => (Receiver::Cable(cable), Sender::Cable),
        }
    }

    pub(super) fn sender(&mut self) -> Sender<'_> {
        self.split().1
    }
}

impl Receiver<'_> {
    /// The next frame, if there is one.
    pub(super) fn receive(&mut self) -> Option<&[u8]> {
        match self {
            Self::Device(receiver) => receiver.receive(),
            Self::Cable(cable) => cable.receive(),
        }
    }
}

impl Sender<'_> {
    /// The same, for a while.
    pub(super) fn again(&mut self) -> Sender<'_> {
        match self {
            Self::Device(sender) => Sender::Device(sender),
            Self::Cable => Sender::Cable,
        }
    }

    /// Whether there is room for one more frame.
    pub(super) fn has_room(&mut self) -> bool {
        match self {
            Self::Device(sender) => sender.has_room(),
            // What is in it is bounded by the windows of one connection.
            Self::Cable => true,
        }
    }

    /// Queues a frame that `write` fills. Without room it is dropped.
    pub(super) fn send<R>(&mut self, bytes: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        match self {
            Self::Device(sender) => sender.send(bytes, write),
            Self::Cable => cable::send(bytes, write),
        }
    }
}
