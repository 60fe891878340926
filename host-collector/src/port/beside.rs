//! Asking a guest for something over its port, whose records are read elsewhere: in its memory.

use std::path::Path;

use uniprof_wire::{stream::Begin, tables::ControlRequest};

use super::{Port, PortRequest};

/// A request that goes over the port; withdrawn when dropped.
///
/// The guest serves only whoever is attached, and sends what it records to them: that is thrown away here.
#[derive(Debug)]
pub struct Beside {
    /// Before the port, which takes the withdrawal along.
    _request: PortRequest,
    _port: Port,
}

impl Beside {
    /// Connects to the port at `path`, and asks for what `wanted` says for as long as what is returned lives.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn request(path: &Path, wanted: ControlRequest) -> std::io::Result<Self> {
        let port = Port::open(path, Begin::Now)?;
        let messages = port.messages().clone();
        // It ends with the port, which holds the other end.
        std::thread::Builder::new()
            .name("port beside".into())
            .spawn(move || messages.iter().for_each(drop))?;
        Ok(Self { _request: port.request(wanted), _port: port })
    }
}
