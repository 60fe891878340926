#![no_std]
#![forbid(unsafe_code)]
//! What guest and host agree on: the layout of the observation region and the encoding of its records.
//!
//! A guest keeps one *observation region*. Whoever can see that memory (through an ivshmem BAR, a shared
//! backing file, the VMM's own mapping, or a dump of a dead guest) reads it with the code in this crate:
//!
//! ```text
//!  region ┌──────────────────────┐ 0          layout::RegionHeader: who wrote it, where it lies, geometry
//!         │ header page          │
//!         ├──────────────────────┤ 4096       tables::ControlRequest × 8: the only thing a host writes
//!         │ control page         │
//!         ├──────────────────────┤            tables::VcpuStats, one per vCPU
//!         │ vCPU table           │            tables::CrashRecord, one per vCPU
//!         │ crash table          │            tables::ThreadEntry × 256
//!         │ thread table         │            tables::ImageEntry × 16
//!         │ image table          │
//!         ├──────────────────────┤ page aligned
//!         │ vCPU 0: core ring    │            ring: control words, slot counters, then the records
//!         │ vCPU 0: events ring  │
//!         │ vCPU 1: core ring    │
//!         │ …                    │
//!         ├──────────────────────┤
//!         │ heap table           │            tables::HeapEntry × some; may be missing
//!         │ histograms           │            tables::Histogram × some for each vCPU; may be missing
//!         │ network table        │            tables::InterfaceEntry × 8, tables::ConnectionEntry × some; may be missing
//!         └──────────────────────┘
//! ```
//!
//! The crate allocates nothing, does no I/O, knows no policy (rates, formats, files), and has no `unsafe`:
//! memory enters through the traits [`ring::WriterWords`] and [`ring::ReaderWords`], which the guest
//! implements over its region and the host over whatever shows it that region. Everything that a host reads
//! is untrusted: geometry is validated once ([`layout::RegionHeader::from_words`]), blocks are copied before
//! they are decoded, and a record that does not decode costs what lies up to the next header and no more.
//!
//! ```
//! use uniprof_wire::{layout::Geometry, record::{EventRecord, Record}, ring};
//!
//! // One ring in ordinary memory, as a test or a simulator would have it.
//! let geometry = Geometry::new(1, 16 << 10, 4 << 10).unwrap().ring();
//! let memory = vec![std::cell::Cell::new(0); geometry.total_words()];
//! let writer = ring::Writer::new(&memory[..], geometry, 7);
//! writer.format();
//! let event = Record::Event(EventRecord { tsc: 42, site: 8, thread: 1, args: &[1, 2] });
//! writer.write_record(&event).unwrap();
//!
//! let mut block = [0; 512];
//! let copied = ring::read_block(&&memory[..], geometry, ring::Source::Live, 0, &mut block);
//! let ring::Block::Copied { start, end, .. } = copied else { panic!("{copied:?}") };
//! let mut records = uniprof_wire::record::Records::new(&block[..(end - start) as usize], start, 7);
//! assert_eq!(records.next().unwrap().record, Ok(event));
//! ```

pub mod address;
pub mod layout;
pub mod net;
pub mod pattern;
pub mod record;
pub mod ring;
pub mod site;
pub mod stream;
pub mod tables;
pub mod text;

/// Version of everything in this crate: what a guest with these probes writes.
pub const WIRE_VERSION: u32 = 4;
/// The oldest version that is still read, and means the same to this crate: what came since then is not in it. A reader refuses older and
/// newer ones, and names both.
pub const OLDEST_VERSION: u32 = 3;
