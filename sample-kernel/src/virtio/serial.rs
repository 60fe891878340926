//! A port of a virtio console with several (section 5.3): a line to a program on the host. Polled: nothing here interrupts.

use alloc::vec::Vec;

use virtio_drivers::transport::{DeviceStatus, SomeTransport, Transport};

use super::Device;
use super::queue::Buffered;

/// The port's name, as QEMU is told it.
const NAME: &[u8] = b"uniprof";

const VERSION_1: u64 = 1 << 32;
const MULTIPORT: u64 = 1 << 1;
/// Byte of the configuration that says how many ports there can be.
const MAX_PORTS: usize = 4;
/// Ports that are looked at.
const PORTS: u32 = 4;

/// Queues of the control channel; port 0 has 0 and 1, port `n` from 1 on has `2n + 2` and `2n + 3`.
const CONTROL_RECEIVE: u16 = 2;
const CONTROL_SEND: u16 = 3;

/// Not about one port.
const ALL_PORTS: u32 = u32::MAX;
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// Bytes of a control message before what depends on its kind.
const MESSAGE: usize = 8;
const MESSAGES: usize = 16;
/// A name, and more than its bytes.
const MESSAGE_ROOM: usize = 256;
const RECEIVED: (usize, usize) = (4, 1 << 10);
/// What may wait for the host: a quarter of a megabyte.
const SENT: (usize, usize) = (8, 32 << 10);

/// What a port is called is known only once the device is running, and by then its queues have to be there.
struct Port {
    receive: Buffered,
    send: Buffered,
    host_is_open: bool,
}

/// The port of that name.
pub(crate) struct Serial {
    transport: SomeTransport<'static>,
    control_receive: Buffered,
    control_send: Buffered,
    ports: Vec<Port>,
    ours: Option<usize>,
}

impl Serial {
    /// Sets the device up. `None`: it has no ports.
    pub(crate) fn new(device: Device) -> Option<Self> {
        let mut transport = device.transport;
        transport.set_status(DeviceStatus::empty());
        transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        let features = transport.read_device_features() & (VERSION_1 | MULTIPORT);
        if features & MULTIPORT == 0 {
            return None;
        }
        transport.write_driver_features(features);
        transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
        transport.set_guest_page_size(4096);
        let ports: u32 = transport.read_config_space(MAX_PORTS).ok()?;
        let mut control_receive = Buffered::new(&mut transport, CONTROL_RECEIVE)?;
        let mut control_send = Buffered::new(&mut transport, CONTROL_SEND)?;
        let ports = (0..ports.min(PORTS) as u16).map_while(|port| {
            let first = if port == 0 { 0 } else { 2 * port + 2 };
            let receive = Buffered::new(&mut transport, first)?;
            let send = Buffered::new(&mut transport, first + 1)?;
            Some(Port { receive, send, host_is_open: false })
        });
        let ports = ports.collect();
        transport.finish_init();
        control_receive.provide(MESSAGES, MESSAGE_ROOM);
        control_receive.listen(&mut transport);
        control_send.provide(MESSAGES, MESSAGE);
        let mut serial = Self { transport, control_receive, control_send, ports, ours: None };
        serial.tell(ALL_PORTS, DEVICE_READY, 1);
        Some(serial)
    }

    fn tell(&mut self, port: u32, event: u16, value: u16) {
        let mut message = [0; MESSAGE];
        message[..4].copy_from_slice(&port.to_le_bytes());
        message[4..6].copy_from_slice(&event.to_le_bytes());
        message[6..].copy_from_slice(&value.to_le_bytes());
        self.control_send.send(&mut self.transport, &message);
    }

    /// Hears what the device has to say about its ports. Whether somebody on the host has our port open.
    pub(crate) fn poll(&mut self) -> bool {
        while let Some(message) = self.control_receive.receive() {
            let Some((head, rest)) = message.split_first_chunk::<MESSAGE>() else { continue };
            let [a, b, c, d, e, f, g, h] = *head;
            let (port, event, value) =
                (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
            let is_ours = rest.strip_suffix(&[0]).unwrap_or(rest) == NAME;
            self.on_message(port, event, value, is_ours);
        }
        self.control_receive.listen(&mut self.transport);
        self.ours.is_some_and(|port| self.ports[port].host_is_open)
    }

    fn on_message(&mut self, id: u32, event: u16, value: u16, is_ours: bool) {
        let index = id as usize;
        let Some(port) = self.ports.get_mut(index) else { return };
        match event {
            PORT_ADD => self.tell(id, PORT_READY, 1),
            PORT_OPEN => port.host_is_open = value != 0,
            PORT_NAME if is_ours && self.ours.is_none() => {
                port.receive.provide(RECEIVED.0, RECEIVED.1);
                port.send.provide(SENT.0, SENT.1);
                port.receive.listen(&mut self.transport);
                self.ours = Some(index);
                self.tell(id, PORT_OPEN, 1);
            }
            _ => {}
        }
    }

    /// What has come from the host, in pieces, to its end.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(&[u8])) {
        let Some(port) = self.ours.and_then(|port| self.ports.get_mut(port)) else { return };
        while let Some(bytes) = port.receive.receive() {
            each(bytes);
        }
        port.receive.listen(&mut self.transport);
    }

    /// Sends as many of the bytes as there is room for.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        let Some(port) = self.ours.and_then(|port| self.ports.get_mut(port)) else { return 0 };
        let mut sent = 0;
        while sent < bytes.len() {
            let count = port.send.send(&mut self.transport, &bytes[sent..]);
            if count == 0 {
                break;
            }
            sent += count;
        }
        sent
    }

    /// Whether the host has taken everything.
    pub(crate) fn is_flushed(&mut self) -> bool {
        self.ours.and_then(|port| self.ports.get_mut(port)).is_none_or(|port| port.send.reclaim())
    }
}
