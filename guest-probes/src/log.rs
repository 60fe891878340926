//! Lines of the guest's log, in the core ring: a recording and a dump have them without a console.

use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Class, LogRecord, MAX_LOG_BYTES, Record, Text};
use uniprof_wire::tables::VcpuField;

use crate::control;
use crate::platform::{self, Pinned};
use crate::region::writer;
use crate::vcpu::Vcpu;

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
