//! Lines of the guest's log, in the core ring: a recording and a dump have them without a console.

use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Class, LogRecord, MAX_LOG_BYTES, Record, Text};
use uniprof_wire::tables::VcpuField;

use crate::control;
use crate::platform::{self, Pinned};
use crate::region::writer;
use crate::vcpu::Vcpu;

/// A line that is put together where nothing can be allocated; what does not fit is cut.
pub(crate) struct Line {
    bytes: [u8; Self::BYTES],
    len: usize,
}

impl Line {
    const BYTES: usize = 160;

    pub(crate) const fn new() -> Self {
        Self { bytes: [0; Self::BYTES], len: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl core::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let fits = text.len().min(Self::BYTES - self.len);
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        Ok(())
    }
}

/// Records a mark, whatever classes are on: somebody has asked for this very one.
pub(crate) fn mark(text: &[u8]) {
    let _pinned = Pinned::new();
    let Some(writer) = writer(platform::vcpu(), RingKind::Core) else { return };
    let text = Text::Bytes(&text[..text.len().min(MAX_LOG_BYTES)]);
    let record = LogRecord { tsc: platform::now(), thread: platform::thread(), text };
    // A refusal is counted in the ring.
    let _ = writer.write_record(&Record::Mark(record));
}

/// Records one line, without its newline; the first 1,024 bytes count.
pub fn log_line(line: &str) {
    if control::classes() & Class::Log.bit() == 0 {
        return;
    }
    let _pinned = Pinned::new();
    let id = platform::vcpu();
    let Some(writer) = writer(id, RingKind::Core) else { return };
    let tsc = platform::now();
    let bytes = &line.as_bytes()[..line.len().min(MAX_LOG_BYTES)];
    let record = LogRecord { tsc, thread: platform::thread(), text: Text::Bytes(bytes) };
    // A refusal is counted in the ring.
    let _ = writer.write_record(&Record::Log(record));
    if let Some(vcpu) = Vcpu::of(id) {
        vcpu.add(VcpuField::ProbeTime, platform::now().saturating_sub(tsc));
    }
}
