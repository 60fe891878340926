//! Geometry of the region and the header page that states it.
//!
//! Offsets are not stored: both sides compute them from `(vcpus, ring_bytes, sub_buffer_bytes)` with
//! [`Geometry`], so a hostile header has four numbers to lie with, and each is checked.

use crate::address::{GuestPhysical, GuestVirtual};
use crate::text::FixedText;
use crate::{OLDEST_VERSION, WIRE_VERSION, ring, tables};

/// Bytes of a page: header, control page and rings start on one, so that a host can map them apart.
pub const PAGE: usize = 4096;
/// First word of a region: `UNIPROF1` in memory order.
pub const MAGIC: u64 = u64::from_le_bytes(*b"UNIPROF1");
/// Words of the header that [`RegionHeader`] uses.
pub const HEADER_WORDS: usize = 32;
/// Byte offset of the control page.
pub const CONTROL_OFFSET: usize = PAGE;
/// Most vCPUs of one region.
pub const MAX_VCPUS: u32 = 256;
/// Smallest sub-buffer: a sample with 128 frames has to fit.
pub const MIN_SUB_BUFFER: u32 = 2048;
/// Largest sub-buffer: a record's length in words has to fit 16 bits.
pub const MAX_SUB_BUFFER: u32 = 256 << 10;
/// Smallest ring.
pub const MIN_RING: u32 = 8 << 10;
/// Largest ring.
pub const MAX_RING: u32 = 1 << 30;
/// Most sub-buffers of one ring (bounds the slot counters).
pub const MAX_SLOTS: u32 = 4096;

/// Which of the two rings of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RingKind {
    /// Samples, switches, thread lifecycle, log lines.
    Core,
    /// Events, spans, counters: a burst of them never evicts the profile.
    Events,
}

impl RingKind {
    /// Both, in the order in which they lie in memory.
    pub const ALL: [Self; 2] = [Self::Core, Self::Events];

    /// A word for people and for file formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Events => "events",
        }
    }
}

/// Why a geometry or a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The first word is not [`MAGIC`]: not a region, or one that is being initialised.
    NotARegion,
    /// Written by another version of this crate.
    Version {
        /// What the region says.
        found: u32,
    },
    /// The header's checksum does not match its words: torn or damaged.
    Checksum,
    /// Architecture number that this version does not know.
    Architecture {
        /// What the region says.
        found: u32,
    },
    /// vCPU count of zero or over [`MAX_VCPUS`].
    Vcpus {
        /// What the region says.
        found: u32,
    },
    /// Ring or sub-buffer size out of range, not a power of two, or fewer than four sub-buffers per ring.
    Rings {
        /// Bytes of one ring.
        ring_bytes: u32,
        /// Bytes of one sub-buffer.
        sub_buffer_bytes: u32,
    },
    /// Slots of a heap table: not a power of two, or too few or many.
    Heap {
        /// What the region says.
        found: u32,
    },
    /// Histograms of one vCPU: too many.
    Histograms {
        /// What the region says.
        found: u32,
    },
    /// Slots of a network table: not a power of two, or too few or many.
    Connections {
        /// What the region says.
        found: u32,
    },
    /// The stated size is smaller than what the geometry needs.
    TooSmall {
        /// Bytes that the geometry needs.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
}

impl core::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::NotARegion => write!(f, "no observation region here: the magic word is missing"),
            Self::Version { found } => write!(
                f,
                "the guest's region has wire version {found}, this uniprof reads versions {OLDEST_VERSION} to {WIRE_VERSION}: \
                 rebuild the guest with matching probes"
            ),
            Self::Checksum => write!(f, "the region's header is damaged: its checksum does not match"),
            Self::Architecture { found } => write!(f, "unknown guest architecture number {found}"),
            Self::Vcpus { found } => write!(f, "a region for {found} vCPUs; 1 to {MAX_VCPUS} are possible"),
            Self::Rings { ring_bytes, sub_buffer_bytes } => write!(
                f,
                "rings of {ring_bytes} bytes with sub-buffers of {sub_buffer_bytes}: both must be powers of \
                 two, at least four sub-buffers to a ring"
            ),
            Self::Heap { found } => write!(
                f,
                "a heap table of {found} slots; a power of two from {} to {} is possible",
                tables::MIN_HEAP_SLOTS,
                tables::MAX_HEAP_SLOTS
            ),
            Self::Histograms { found } => {
                write!(f, "{found} histograms to a vCPU; at most {} are possible", tables::MAX_HISTOGRAMS)
            }
            Self::Connections { found } => write!(
                f,
                "a network table of {found} connections; a power of two from {} to {} is possible",
                tables::MIN_CONNECTIONS,
                tables::MAX_CONNECTIONS
            ),
            Self::TooSmall { needed, available } => {
                write!(f, "the region needs {needed} bytes and has {available}")
            }
        }
    }
}

impl core::error::Error for LayoutError {}

/// Sizes and offsets of a region; every value of this type has been validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    vcpus: u32,
    ring_bytes: u32,
    sub_buffer_bytes: u32,
    heap_slots: u32,
    histograms: u32,
    connections: u32,
}

const fn align_up(value: usize, to: usize) -> usize {
    value.div_ceil(to) * to
}

impl Geometry {
    /// Checks the three numbers that fix a layout.
    ///
    /// # Errors
    /// [`LayoutError::Vcpus`] and [`LayoutError::Rings`], with the values.
    pub const fn new(vcpus: u32, ring_bytes: u32, sub_buffer_bytes: u32) -> Result<Self, LayoutError> {
        if vcpus == 0 || vcpus > MAX_VCPUS {
            return Err(LayoutError::Vcpus { found: vcpus });
        }
        let sizes_ok = ring_bytes.is_power_of_two()
            && sub_buffer_bytes.is_power_of_two()
            && ring_bytes >= MIN_RING
            && ring_bytes <= MAX_RING
            && sub_buffer_bytes >= MIN_SUB_BUFFER
            && sub_buffer_bytes <= MAX_SUB_BUFFER
            && ring_bytes / sub_buffer_bytes >= 4
            && ring_bytes / sub_buffer_bytes <= MAX_SLOTS;
        if !sizes_ok {
            return Err(LayoutError::Rings { ring_bytes, sub_buffer_bytes });
        }
        Ok(Self { vcpus, ring_bytes, sub_buffer_bytes, heap_slots: 0, histograms: 0, connections: 0 })
    }

    /// The geometry with rings of `ring_bytes` and a sub-buffer size to go with them: an eighth of the ring,
    /// at most 64 KiB (what one overrun or one bad record can cost), at least [`MIN_SUB_BUFFER`].
    ///
    /// # Errors
    /// As [`Geometry::new`].
    pub const fn with_ring_bytes(vcpus: u32, ring_bytes: u32) -> Result<Self, LayoutError> {
        if ring_bytes < MIN_RING {
            return Err(LayoutError::Rings { ring_bytes, sub_buffer_bytes: MIN_SUB_BUFFER });
        }
        let mut sub_buffer = ring_bytes / 8;
        if sub_buffer > 64 << 10 {
            sub_buffer = 64 << 10;
        }
        while ring_bytes / sub_buffer > MAX_SLOTS {
            sub_buffer *= 2;
        }
        if sub_buffer < MIN_SUB_BUFFER {
            sub_buffer = MIN_SUB_BUFFER;
        }
        Self::new(vcpus, ring_bytes, sub_buffer)
    }

    /// The same with a heap table of `slots` slots behind the rings; 0 for none.
    ///
    /// # Errors
    /// [`LayoutError::Heap`], with the number.
    pub const fn with_heap_slots(self, slots: u32) -> Result<Self, LayoutError> {
        let fine =
            slots.is_power_of_two() && slots >= tables::MIN_HEAP_SLOTS && slots <= tables::MAX_HEAP_SLOTS;
        if slots != 0 && !fine {
            return Err(LayoutError::Heap { found: slots });
        }
        Ok(Self { heap_slots: slots, ..self })
    }

    /// The same with `histograms` histograms for each vCPU behind the heap table; 0 for none.
    ///
    /// # Errors
    /// [`LayoutError::Histograms`], with the number.
    pub const fn with_histograms(self, histograms: u32) -> Result<Self, LayoutError> {
        if histograms > tables::MAX_HISTOGRAMS {
            return Err(LayoutError::Histograms { found: histograms });
        }
        Ok(Self { histograms, ..self })
    }

    /// The same with a network table of `connections` connections behind the histograms; 0 for none.
    ///
    /// # Errors
    /// [`LayoutError::Connections`], with the number.
    pub const fn with_connections(self, connections: u32) -> Result<Self, LayoutError> {
        let fine = connections.is_power_of_two()
            && connections >= tables::MIN_CONNECTIONS
            && connections <= tables::MAX_CONNECTIONS;
        if connections != 0 && !fine {
            return Err(LayoutError::Connections { found: connections });
        }
        Ok(Self { connections, ..self })
    }

    /// Number of vCPUs that have rings.
    #[must_use]
    pub const fn vcpus(self) -> u32 {
        self.vcpus
    }

    /// Bytes of record space in one ring.
    #[must_use]
    pub const fn ring_bytes(self) -> u32 {
        self.ring_bytes
    }

    /// Bytes of one sub-buffer.
    #[must_use]
    pub const fn sub_buffer_bytes(self) -> u32 {
        self.sub_buffer_bytes
    }

    /// Geometry of one ring (all are alike).
    #[must_use]
    pub const fn ring(self) -> ring::RingGeometry {
        ring::RingGeometry::new(self.ring_bytes as usize / 8, self.sub_buffer_bytes as usize / 8)
    }

    /// Byte offset of the vCPU table.
    #[must_use]
    pub const fn vcpu_table(self) -> usize {
        2 * PAGE
    }

    /// Byte offset of the crash table.
    #[must_use]
    pub const fn crash_table(self) -> usize {
        self.vcpu_table() + self.vcpus as usize * tables::VCPU_WORDS * 8
    }

    /// Byte offset of the thread table.
    #[must_use]
    pub const fn thread_table(self) -> usize {
        self.crash_table() + self.vcpus as usize * tables::CRASH_WORDS * 8
    }

    /// Byte offset of the image table.
    #[must_use]
    pub const fn image_table(self) -> usize {
        self.thread_table() + tables::THREAD_SLOTS * tables::THREAD_WORDS * 8
    }

    /// Bytes from the start of the region to the first ring: what a host copies to snapshot the tables.
    #[must_use]
    pub const fn tables_bytes(self) -> usize {
        align_up(self.image_table() + tables::IMAGE_SLOTS * tables::IMAGE_WORDS * 8, PAGE)
    }

    /// Byte offset of one ring's first control word.
    #[must_use]
    pub const fn ring_offset(self, vcpu: u32, kind: RingKind) -> usize {
        let index = vcpu as usize * 2 + kind as usize;
        self.tables_bytes() + index * self.ring_stride()
    }

    /// Bytes from one ring to the next: control words, slot counters and records, in whole pages.
    #[must_use]
    pub const fn ring_stride(self) -> usize {
        align_up(self.ring().total_words() * 8, PAGE)
    }

    /// Slots of the heap table; 0 where there is none.
    #[must_use]
    pub const fn heap_slots(self) -> u32 {
        self.heap_slots
    }

    /// Byte offset of the heap table's keys: the end of the rings.
    #[must_use]
    pub const fn heap_keys(self) -> usize {
        self.tables_bytes() + self.vcpus as usize * 2 * self.ring_stride()
    }

    /// Byte offset of the heap table's entries.
    #[must_use]
    pub const fn heap_entries(self) -> usize {
        self.heap_keys() + self.heap_slots as usize * 8
    }

    /// Bytes of the heap table.
    #[must_use]
    pub const fn heap_bytes(self) -> usize {
        align_up(self.heap_slots as usize * (1 + tables::HEAP_WORDS) * 8, PAGE)
    }

    /// Histograms of each vCPU; 0 where there are none.
    #[must_use]
    pub const fn histograms(self) -> u32 {
        self.histograms
    }

    /// Byte offset of the first histogram of `vcpu`; its others follow.
    #[must_use]
    pub const fn histogram_table(self, vcpu: u32) -> usize {
        let bytes_per_vcpu = self.histograms as usize * tables::HISTOGRAM_WORDS * 8;
        self.heap_keys() + self.heap_bytes() + vcpu as usize * bytes_per_vcpu
    }

    /// Bytes of the histograms of all vCPUs.
    #[must_use]
    pub const fn histogram_bytes(self) -> usize {
        align_up(self.histogram_table(self.vcpus) - self.histogram_table(0), PAGE)
    }

    /// Connections that the network table has room for; 0 where there is no such table.
    #[must_use]
    pub const fn connections(self) -> u32 {
        self.connections
    }

    /// Byte offset of the network table: the end of the histograms.
    #[must_use]
    pub const fn net_table(self) -> usize {
        self.histogram_table(0) + self.histogram_bytes()
    }

    /// Bytes of the network table: totals, interfaces and connections.
    #[must_use]
    pub const fn net_bytes(self) -> usize {
        if self.connections == 0 {
            return 0;
        }
        let connections = self.connections as usize * tables::CONNECTION_WORDS;
        align_up((tables::NET_HEAD_WORDS + connections) * 8, PAGE)
    }

    /// Bytes of the whole region.
    #[must_use]
    pub const fn region_bytes(self) -> usize {
        self.net_table() + self.net_bytes()
    }
}

/// Architectures that a region can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// AMD64 / Intel 64.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Architecture {
    const fn number(self) -> u32 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
        }
    }

    /// The name that compilers use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

/// What the header page says. Architecture numbers are ELF's `e_machine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionHeader {
    /// The guest's architecture.
    pub architecture: Architecture,
    /// Different for every boot; never 0. Its low half salts the records' tags.
    pub boot_id: u64,
    /// Where the guest believes the region to lie: a copy that lies elsewhere is refused.
    pub region_gpa: GuestPhysical,
    /// Where the guest has it mapped.
    pub region_gva: GuestVirtual,
    /// Sizes, from which every offset follows.
    pub geometry: Geometry,
    /// TSC ticks per second.
    pub tsc_hz: u64,
    /// TSC when the region was initialised.
    pub boot_tsc: u64,
    /// Wall clock then, in nanoseconds since the Unix epoch; 0 where the guest has none.
    pub boot_wall_ns: u64,
    /// Address range of the `uniprof_sites` section.
    pub sites: (GuestVirtual, GuestVirtual),
    /// The guest's name for itself.
    pub name: FixedText<8>,
}

impl RegionHeader {
    /// Salt of the tags of this boot's records.
    #[must_use]
    pub const fn salt(&self) -> u32 {
        (self.boot_id ^ (self.boot_id >> 32)) as u32
    }

    /// The words of the header page. Word 0 is the magic, which a guest stores last; the last is a checksum.
    #[must_use]
    pub fn to_words(&self) -> [u64; HEADER_WORDS] {
        let mut words = [0; HEADER_WORDS];
        words[0] = MAGIC;
        words[1] = u64::from(WIRE_VERSION) | u64::from(self.architecture.number()) << 32;
        words[2] = self.boot_id;
        words[3] = self.geometry.region_bytes() as u64;
        words[4] = self.region_gpa.0;
        words[5] = self.region_gva.0;
        words[6] = u64::from(self.geometry.vcpus) | u64::from(self.geometry.ring_bytes) << 32;
        words[7] = u64::from(self.geometry.sub_buffer_bytes);
        words[8] = self.tsc_hz;
        words[9] = self.boot_tsc;
        words[10] = self.boot_wall_ns;
        words[11] = self.sites.0.0;
        words[12] = self.sites.1.0;
        words[13] = u64::from(self.geometry.heap_slots);
        words[14] = u64::from(self.geometry.histograms);
        words[15] = u64::from(self.geometry.connections);
        words[16..24].copy_from_slice(&self.name.to_words());
        words[HEADER_WORDS - 1] = checksum(&words);
        words
    }

    /// Validates a private copy of the header page; `available` is how many bytes of memory there are from
    /// the start of the region on.
    ///
    /// # Errors
    /// Every variant of [`LayoutError`]; the first that applies.
    pub fn from_words(words: &[u64; HEADER_WORDS], available: u64) -> Result<Self, LayoutError> {
        if words[0] != MAGIC {
            return Err(LayoutError::NotARegion);
        }
        let version = words[1] as u32;
        if !(OLDEST_VERSION..=WIRE_VERSION).contains(&version) {
            return Err(LayoutError::Version { found: version });
        }
        if checksum(words) != words[HEADER_WORDS - 1] {
            return Err(LayoutError::Checksum);
        }
        let architecture = match (words[1] >> 32) as u32 {
            62 => Architecture::X86_64,
            183 => Architecture::Aarch64,
            found => return Err(LayoutError::Architecture { found }),
        };
        let geometry = Geometry::new(words[6] as u32, (words[6] >> 32) as u32, words[7] as u32)?;
        // A number beyond 32 bits is as wrong as any other beyond the maximum.
        let heap_slots = u32::try_from(words[13]).unwrap_or(u32::MAX);
        let histograms = u32::try_from(words[14]).unwrap_or(u32::MAX);
        let connections = u32::try_from(words[15]).unwrap_or(u32::MAX);
        let geometry = geometry
            .with_heap_slots(heap_slots)?
            .with_histograms(histograms)?
            .with_connections(connections)?;
        let needed = geometry.region_bytes() as u64;
        let available = available.min(words[3]);
        if needed > available {
            return Err(LayoutError::TooSmall { needed, available });
        }
        Ok(Self {
            architecture,
            boot_id: words[2],
            region_gpa: GuestPhysical(words[4]),
            region_gva: GuestVirtual(words[5]),
            geometry,
            tsc_hz: words[8],
            boot_tsc: words[9],
            boot_wall_ns: words[10],
            sites: (GuestVirtual(words[11]), GuestVirtual(words[12])),
            name: FixedText::from_words(core::array::from_fn(|i| words[16 + i])),
        })
    }
}

impl RegionHeader {
    /// The header page of a dead guest's region that was written over, as far as it still makes sense: where the guest believed
    /// the region to lie, which version it has and its sizes must be whole; the magic word and the checksum may be damaged, and so
    /// may every other word, whose content is taken as it is. The words are those of the header with both put right.
    #[must_use]
    pub fn mended(
        words: &[u64; HEADER_WORDS],
        at: GuestPhysical,
        available: u64,
    ) -> Option<(Self, [u64; HEADER_WORDS])> {
        let mut words = *words;
        words[0] = MAGIC;
        words[HEADER_WORDS - 1] = checksum(&words);
        let header = Self::from_words(&words, available).ok()?;
        (header.region_gpa == at).then_some((header, words))
    }
}

/// FNV-1a over the words but the last: tells a torn header from a whole one, not a forged one from a true one.
fn checksum(words: &[u64; HEADER_WORDS]) -> u64 {
    words[..HEADER_WORDS - 1]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
}

const _: () = assert!(HEADER_WORDS * 8 <= PAGE);
const _: () = assert!(tables::CONTROL_SLOTS * tables::CONTROL_WORDS * 8 <= PAGE);

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> RegionHeader {
        RegionHeader {
            architecture: Architecture::X86_64,
            boot_id: 0x1234_5678_9abc_def0,
            region_gpa: GuestPhysical(0x20_0000),
            region_gva: GuestVirtual(0xffff_8000_0020_0000),
            geometry: Geometry::with_ring_bytes(4, 1 << 20).unwrap(),
            tsc_hz: 2_600_000_000,
            boot_tsc: 99,
            boot_wall_ns: 1,
            sites: (GuestVirtual(0x1000), GuestVirtual(0x2000)),
            name: FixedText::new(b"reference"),
        }
    }

    #[test]
    fn header_round_trips() {
        let words = header().to_words();
        assert_eq!(RegionHeader::from_words(&words, u64::MAX), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for word in 0..HEADER_WORDS {
            for bit in 0..64 {
                let mut words = header().to_words();
                words[word] ^= 1 << bit;
                assert!(RegionHeader::from_words(&words, u64::MAX).is_err(), "word {word} bit {bit}");
            }
        }
    }

    #[test]
    fn a_header_that_was_written_over_is_mended_where_place_and_sizes_are_whole() {
        let at = header().region_gpa;
        let mut words = header().to_words();
        (words[0], words[8], words[HEADER_WORDS - 1]) = (0, 77, 0);
        let (mended, whole) = RegionHeader::mended(&words, at, u64::MAX).unwrap();
        assert_eq!(mended, RegionHeader { tsc_hz: 77, ..header() });
        assert_eq!(RegionHeader::from_words(&whole, u64::MAX), Ok(mended));
        assert_eq!(RegionHeader::mended(&words, GuestPhysical(at.0 + 4096), u64::MAX), None);
        words[6] = 0;
        assert_eq!(RegionHeader::mended(&words, at, u64::MAX), None);
    }

    #[test]
    fn too_little_memory_is_refused_with_both_sizes() {
        let needed = header().geometry.region_bytes() as u64;
        let refused = RegionHeader::from_words(&header().to_words(), needed - 1);
        assert_eq!(refused, Err(LayoutError::TooSmall { needed, available: needed - 1 }));
    }

    #[test]
    fn geometry_bounds() {
        assert!(Geometry::new(0, 1 << 20, 1 << 16).is_err());
        assert!(Geometry::new(257, 1 << 20, 1 << 16).is_err());
        assert!(Geometry::new(1, 3 << 20, 1 << 16).is_err());
        assert!(Geometry::new(1, 1 << 17, 1 << 16).is_err());
        assert!((0..MIN_RING).all(|bytes| Geometry::with_ring_bytes(1, bytes).is_err()));
        assert!(Geometry::with_ring_bytes(1, MIN_RING).is_ok());
        assert!(Geometry::with_ring_bytes(MAX_VCPUS, MAX_RING).is_ok());
    }

    #[test]
    fn a_heap_table_lies_behind_the_rings_and_changes_nothing_before() {
        let plain = Geometry::with_ring_bytes(3, 64 << 10).unwrap();
        let with = plain.with_heap_slots(1024).unwrap();
        assert_eq!((with.tables_bytes(), with.heap_keys()), (plain.tables_bytes(), plain.region_bytes()));
        assert_eq!(with.heap_entries(), with.heap_keys() + 1024 * 8);
        assert_eq!(with.region_bytes(), plain.region_bytes() + (1024 * 8 + 1024 * 256));
        let header = RegionHeader { geometry: with, ..header() };
        assert_eq!(RegionHeader::from_words(&header.to_words(), u64::MAX), Ok(header));
        let little = plain.region_bytes() as u64;
        assert!(RegionHeader::from_words(&header.to_words(), little).is_err(), "the table is part of it");
        for found in [1, 32, 96, 1 << 17, u32::MAX] {
            assert_eq!(plain.with_heap_slots(found), Err(LayoutError::Heap { found }));
        }
    }

    #[test]
    fn a_network_table_lies_behind_all_the_rest() {
        let plain = Geometry::with_ring_bytes(2, 64 << 10).unwrap().with_histograms(3).unwrap();
        let with = plain.with_connections(1024).unwrap();
        assert_eq!((with.net_table(), plain.net_bytes()), (plain.region_bytes(), 0));
        assert_eq!(with.region_bytes(), plain.region_bytes() + align_up(8 * (16 + 8 * 32 + 1024 * 16), PAGE));
        let header = RegionHeader { geometry: with, ..header() };
        assert_eq!(RegionHeader::from_words(&header.to_words(), u64::MAX), Ok(header));
        for found in [1, 32, 96, 1 << 17, u32::MAX] {
            assert_eq!(plain.with_connections(found), Err(LayoutError::Connections { found }));
        }
    }

    #[test]
    fn versions_that_mean_the_same_are_read() {
        for (version, is_read) in [(2, false), (OLDEST_VERSION, true), (WIRE_VERSION, true), (5, false)] {
            let mut words = header().to_words();
            words[1] = words[1] >> 32 << 32 | u64::from(version);
            words[HEADER_WORDS - 1] = checksum(&words);
            let read = RegionHeader::from_words(&words, u64::MAX);
            let wanted = if is_read { Ok(header()) } else { Err(LayoutError::Version { found: version }) };
            assert_eq!(read, wanted);
        }
    }

    #[test]
    fn rings_do_not_overlap_and_fill_the_region() {
        let g = Geometry::with_ring_bytes(3, 64 << 10).unwrap();
        let mut expected = g.tables_bytes();
        for vcpu in 0..3 {
            for kind in RingKind::ALL {
                assert_eq!(g.ring_offset(vcpu, kind), expected);
                expected += g.ring_stride();
            }
        }
        assert_eq!(expected, g.region_bytes());
    }
}
