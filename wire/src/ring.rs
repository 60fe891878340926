//! The overwrite ring: how one vCPU writes records that anyone may read without being waited for.
//!
//! # Memory
//!
//! ```text
//!  word 0        HEAD        position after the last reservation; only ever grows
//!  word 1        IN_FLIGHT   where the oldest unfinished write began; IDLE when there is none
//!  word 16..32   REFUSED     records refused, one counter per class
//!  word 32..     slot counters: for each sub-buffer slot, records committed per class, never reset
//!  then          data: `ring` words, split into sub-buffers of `sub_buffer` words
//! ```
//!
//! *Positions* count words since the ring was made (64 bits: they never wrap). Position `p` lies at data word
//! `p % ring`, in sub-buffer `p / sub_buffer`, in slot `(p / sub_buffer) % slots`. A record never crosses the
//! end of a sub-buffer, so every sub-buffer starts with a record: that is where a reader picks up again.
//!
//! # Writing
//!
//! The only writer of a ring is its vCPU, but an interrupt may write while a thread writes, and an NMI while
//! both do. They nest; they never interleave otherwise, because a writer is not switched out
//! (`Platform::pin`). So all read-modify-writes are single instructions *without* a bus lock.
//!
//! ```text
//!            IN_FLIGHT = HEAD (outermost only)
//!                  │
//!                  ▼   lost to a nested writer
//!            cmpxchg HEAD ────────────────┐
//!                  │ won                  └─► again
//!                  ▼
//!   skipped? padding record
//!                  ▼
//!            header: BUSY      ◄── a crash here leaves an abandoned record, which a reader can count and skip
//!                  ▼
//!            payload
//!                  ▼
//!            header: COMMITTED
//!                  ▼
//!            slot counter + 1
//!                  ▼
//!            IN_FLIGHT = what it was when the write began: IDLE, of the outermost
//! ```
//!
//! A nested writer that would come within a sub-buffer of lapping the unfinished write below it is refused,
//! and counted.
//!
//! # Reading
//!
//! A reader writes nothing. It loads HEAD, then IN_FLIGHT; the lower of the two is the *frontier*, below which
//! everything is committed or abandoned. It copies from its position up to the frontier or the end of the
//! sub-buffer, then loads HEAD again: the copy counts only if no position a ring further on was reserved
//! meanwhile. The same check covers the slot's counters, which it copies with the end of the sub-buffer; with
//! them it knows what a lap that it never saw contained.
//!
//! Only the copy is decoded. Tags ([`tag`]) are positions salted with the boot id: a stale record of an
//! earlier lap or of an earlier boot never passes for a new one.
//!
//! # Why it holds
//!
//! `tests/model.rs` runs this very code with an interrupt and an NMI injected at every memory access, against a reader
//! that may be delayed at each of its loads; `guest-probes/tests/stress.rs` runs the guest's form natively with
//! signals for interrupts. On x86_64 stores stay in order; elsewhere [`WriterWords`] has to
//! fence where its docs say.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::record::{self, CLASSES, Kind, Record};
use crate::text;

/// Word of the head position.
pub const HEAD: usize = 0;
/// Word of the position at which the oldest unfinished write began.
pub const IN_FLIGHT: usize = 1;
/// First word of the counters of refused records.
pub const REFUSED: usize = 16;
/// First word of the slot counters.
pub const SLOT_COUNTERS: usize = REFUSED + CLASSES;
/// Value of [`IN_FLIGHT`] while nobody writes: above every position, so that the frontier is the head.
pub const IDLE: u64 = u64::MAX;

/// Highest head that a reader believes: a guest that writes 100 GB/s gets there after 11 years.
pub const MAX_POSITION: u64 = 1 << 62;

/// Sizes of one ring in words: powers of two, kept as the masks and sums that a writer needs, so that it computes none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingGeometry {
    ring_mask: usize,
    sub_buffer_mask: usize,
    data: usize,
    sub_buffer_log2: u32,
}

impl RingGeometry {
    /// A ring of `ring` words in sub-buffers of `sub_buffer` words.
    ///
    /// # Panics
    /// Unless both are powers of two with at least four sub-buffers: callers have validated
    /// ([`crate::layout::Geometry`]) or are tests.
    #[must_use]
    pub const fn new(ring: usize, sub_buffer: usize) -> Self {
        assert!(ring.is_power_of_two() && sub_buffer.is_power_of_two() && ring / sub_buffer >= 4);
        Self {
            ring_mask: ring - 1,
            sub_buffer_mask: sub_buffer - 1,
            data: SLOT_COUNTERS + ring / sub_buffer * CLASSES,
            sub_buffer_log2: sub_buffer.trailing_zeros(),
        }
    }

    /// Words of record space.
    #[must_use]
    pub const fn ring_words(self) -> usize {
        self.ring_mask + 1
    }

    /// Words of one sub-buffer.
    #[must_use]
    pub const fn sub_buffer_words(self) -> usize {
        self.sub_buffer_mask + 1
    }

    /// Number of sub-buffer slots.
    #[must_use]
    pub const fn slots(self) -> usize {
        self.ring_words() >> self.sub_buffer_log2
    }

    /// First data word.
    #[must_use]
    pub const fn data(self) -> usize {
        self.data
    }

    /// Words of control, counters and data together.
    #[must_use]
    pub const fn total_words(self) -> usize {
        self.data + self.ring_words()
    }

    /// Memory word of a position.
    #[must_use]
    pub const fn word_of(self, position: u64) -> usize {
        self.data + (position as usize & self.ring_mask)
    }

    /// First word of the counters of the slot that `position` lies in.
    #[must_use]
    pub const fn counters_of(self, position: u64) -> usize {
        SLOT_COUNTERS + self.slot_of(position) * CLASSES
    }

    /// Slot that `position` lies in.
    #[must_use]
    pub const fn slot_of(self, position: u64) -> usize {
        (position as usize & self.ring_mask) >> self.sub_buffer_log2
    }

    /// How often the ring had been filled before `position`.
    #[must_use]
    pub const fn lap_of(self, position: u64) -> u64 {
        position / self.ring_words() as u64
    }

    /// Start of the sub-buffer that `position` lies in.
    #[must_use]
    pub const fn sub_buffer_start(self, position: u64) -> u64 {
        position & !(self.sub_buffer_mask as u64)
    }

    /// Words of the sub-buffer that are left behind the word at `position`.
    #[inline(always)]
    const fn left_behind(self, position: u64) -> usize {
        !(position as usize) & self.sub_buffer_mask
    }

    /// Where a record of `words` words goes when the head is at `head`: at `head`, or at the next sub-buffer.
    const fn place(self, head: u64, words: usize) -> u64 {
        let left = self.left_behind(head) + 1;
        if words <= left { head } else { head.wrapping_add(left as u64) }
    }
}

/// Tag of the record at `position`.
#[must_use]
pub const fn tag(position: u64, salt: u32) -> u32 {
    position as u32 ^ salt
}

/// The guest's access to the words of one ring.
///
/// *Local* means: atomic against interrupts of the calling vCPU, not against other CPUs. On x86_64 that is a
/// single instruction without `lock`. Stores must become visible to other CPUs in program order (free on
/// x86_64; a store-store fence before each `store` elsewhere).
pub trait WriterWords {
    /// Loads word `index`.
    fn load(&self, index: usize) -> u64;
    /// Stores word `index`.
    fn store(&self, index: usize, value: u64);
    /// Stores `new` if word `index` is `old`, locally; whether it was.
    fn local_compare_exchange(&self, index: usize, old: u64, new: u64) -> bool;
    /// Adds to word `index`, locally.
    fn local_add(&self, index: usize, value: u64);
    /// Adds 1 to word `index`, locally.
    #[inline(always)]
    fn local_increment(&self, index: usize) {
        self.local_add(index, 1);
    }
    /// Calls [`Writer::reserve`], which is seldom needed: for architectures on which such a call can be made so that the usual case need not
    /// save registers for it.
    #[inline(always)]
    fn reserve(writer: &Writer<Self>, nested_in: u64, class: usize, payload: usize) -> Option<u64>
    where
        Self: Copy,
    {
        writer.reserve(nested_in, class, payload)
    }
}

impl<T: WriterWords + ?Sized> WriterWords for &T {
    fn load(&self, index: usize) -> u64 {
        (**self).load(index)
    }
    fn store(&self, index: usize, value: u64) {
        (**self).store(index, value);
    }
    fn local_compare_exchange(&self, index: usize, old: u64, new: u64) -> bool {
        (**self).local_compare_exchange(index, old, new)
    }
    fn local_add(&self, index: usize, value: u64) {
        (**self).local_add(index, value);
    }
    fn local_increment(&self, index: usize) {
        (**self).local_increment(index);
    }
}

/// The record was not written, because it would have come too close to an unfinished write that it
/// interrupted (or is larger than a sub-buffer). It has been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Ordinary memory of one thread: for tests and simulators.
impl WriterWords for [Cell<u64>] {
    fn load(&self, index: usize) -> u64 {
        self[index].get()
    }
    fn store(&self, index: usize, value: u64) {
        self[index].set(value);
    }
    fn local_compare_exchange(&self, index: usize, old: u64, new: u64) -> bool {
        let same = self[index].get() == old;
        if same {
            self[index].set(new);
        }
        same
    }
    fn local_add(&self, index: usize, value: u64) {
        self[index].set(self[index].get().wrapping_add(value));
    }
}

/// One vCPU's end of one ring.
#[derive(Clone, Copy, Debug)]
pub struct Writer<W> {
    words: W,
    geometry: RingGeometry,
    salt: u32,
}

/// The payload of a reserved record; see [`Writer::write`].
pub struct Payload<W> {
    words: W,
    first: usize,
    len: usize,
}

impl<W: WriterWords> Payload<W> {
    /// Stores payload word `index`; word 0 is the TSC. Beyond the reserved length nothing is stored.
    #[inline(always)]
    pub fn put(&self, index: usize, value: u64) {
        if index < self.len {
            self.words.store(self.first + index, value);
        }
    }

    /// [`Payload::put`] for who has counted its words, and said so to [`Writer::write`]: where that was wrong, only debug builds notice.
    #[inline(always)]
    pub fn put_counted(&self, index: usize, value: u64) {
        debug_assert!(index < self.len, "word {index} of a record of {}", self.len);
        self.words.store(self.first + index, value);
    }

    /// Stores bytes from word `index` on, the last word filled up with zeros, and returns the index behind them. They are counted, as in
    /// [`Payload::put_counted`].
    #[inline(always)]
    pub fn put_bytes_counted(&self, index: usize, bytes: &[u8]) -> usize {
        if bytes.len() < 8 {
            if bytes.is_empty() {
                return index;
            }
            self.put_counted(index, text::short_word(bytes));
            return index + 1;
        }
        let (mut at, mut rest) = (index, bytes);
        while let Some((word, behind)) = rest.split_first_chunk::<8>() {
            self.put_counted(at, u64::from_le_bytes(*word));
            (at, rest) = (at + 1, behind);
        }
        if rest.is_empty() {
            return at;
        }
        self.put_counted(at, text::last_word(bytes, rest.len()));
        at + 1
    }

    /// Stores payload words from `index` on, those that fit: one check for all of them. Not inlined: whole records are put together from
    /// many runs of words, and a call costs less than the bytes of a loop for each.
    #[inline(never)]
    pub fn put_all(&self, index: usize, values: &[u64]) {
        let room = self.len.saturating_sub(index);
        let first = self.first + index;
        values.iter().take(room).enumerate().for_each(|(i, &value)| self.words.store(first + i, value));
    }
}

impl<W: WriterWords + Copy> Writer<W> {
    /// A writer over `words`, which hold at least `geometry.total_words()` words.
    pub const fn new(words: W, geometry: RingGeometry, salt: u32) -> Self {
        Self { words, geometry, salt }
    }

    /// The memory behind it.
    pub const fn words(&self) -> &W {
        &self.words
    }

    /// Makes the ring empty. Before the region is published, never after. What an earlier boot left in the data
    /// words stays: no reader looks above the head.
    pub fn format(&self) {
        for word in 0..self.geometry.data() {
            self.words.store(word, 0);
        }
        self.words.store(IN_FLIGHT, IDLE);
    }

    /// Writes one record with `payload` words after its header, which `fill` stores. An interrupt may come
    /// at any point and write to the same ring; the caller must not be switched to another vCPU meanwhile.
    ///
    /// # Errors
    /// [`Refused`], counted in the ring.
    #[inline(always)]
    pub fn write(&self, kind: Kind, payload: usize, fill: impl FnOnce(&Payload<W>)) -> Result<(), Refused> {
        // A copy, so that it stays in a register: the stores could change the original for all that the compiler knows. What of the
        // geometry is needed once is better loaded when it is.
        let words = self.words;
        let class = kind.class() as usize;
        let nested_in = words.load(IN_FLIGHT);
        let start = match self.reserve_at_head(nested_in, payload) {
            Some(start) => start,
            None => W::reserve(self, nested_in, class, payload).ok_or(Refused)?,
        };
        let len = payload + 1;
        // Of the ring's words the record's is this one, and its slot follows from it.
        let within = start as usize & self.geometry.ring_mask;
        let at = self.geometry.data + within;
        let tag = tag(start, self.salt);
        words.store(at, record::header(kind, false, len, tag));
        fill(&Payload { words, first: at + 1, len: payload });
        words.store(at, record::header(kind, true, len, tag));
        words.local_increment(SLOT_COUNTERS + (within >> self.geometry.sub_buffer_log2) * CLASSES + class);
        words.store(IN_FLIGHT, nested_in);
        Ok(())
    }

    /// Reserves room in the usual case: nothing is interrupted, and the sub-buffer has room for the record. Then the ring has, too, and
    /// nothing is skipped.
    #[inline(always)]
    fn reserve_at_head(&self, nested_in: u64, payload: usize) -> Option<u64> {
        let words = self.words;
        let head = words.load(HEAD);
        if nested_in != IDLE || payload > self.geometry.left_behind(head) {
            return None;
        }
        words.store(IN_FLIGHT, head);
        let end = head.wrapping_add(payload as u64 + 1);
        words.local_compare_exchange(HEAD, head, end).then_some(head)
    }

    /// Reserves room in any case, and fills what is skipped: the position of the record, or `None` for a refusal, which is counted. Not inlined:
    /// one copy does for all records, and the usual case pays nothing for it. What a refusal leaves behind is what was before: the value of
    /// IN_FLIGHT belongs to who was interrupted, if anybody. Part of [`Writer::write`] and nothing by itself.
    #[cold]
    #[inline(never)]
    #[doc(hidden)]
    pub fn reserve(&self, nested_in: u64, class: usize, payload: usize) -> Option<u64> {
        let words = self.words;
        let geometry = self.geometry;
        let len = payload + 1;
        let (head, start) = loop {
            let head = words.load(HEAD);
            let oldest = if nested_in == IDLE { head } else { nested_in };
            if nested_in == IDLE {
                words.store(IN_FLIGHT, head);
            }
            let start = geometry.place(head, len);
            let end = start.wrapping_add(len as u64);
            let room = (geometry.ring_words() - geometry.sub_buffer_words()) as u64;
            if end.wrapping_sub(oldest) > room || len > geometry.sub_buffer_words() {
                words.local_increment(REFUSED + class);
                words.store(IN_FLIGHT, nested_in);
                return None;
            }
            if words.local_compare_exchange(HEAD, head, end) {
                break (head, start);
            }
        };
        if start != head {
            let header = record::header(Kind::Padding, true, (start - head) as usize, tag(head, self.salt));
            words.store(geometry.word_of(head), header);
        }
        Some(start)
    }

    /// Adds the records that have been committed so far to `totals`, class by class.
    pub fn add_committed(&self, totals: &mut [u64; CLASSES]) {
        for slot in 0..self.geometry.slots() {
            let counters = SLOT_COUNTERS + slot * CLASSES;
            for (class, total) in totals.iter_mut().enumerate() {
                *total = total.wrapping_add(self.words.load(counters + class));
            }
        }
    }

    /// Writes a whole record.
    ///
    /// # Errors
    /// [`Refused`], counted in the ring.
    #[inline]
    pub fn write_record(&self, record: &Record<'_>) -> Result<(), Refused> {
        self.write(record.kind(), record.payload_words(), |payload| {
            record.encode(|index, words| payload.put_all(index, words));
        })
    }

    /// Declares every unfinished write of this ring dead: for a kernel that left one by a jump (a fault
    /// handler that kills the thread). Readers then pass over it and count it as abandoned. Only where no
    /// interrupted writer can resume.
    pub fn abandon(&self) {
        self.words.store(IN_FLIGHT, IDLE);
    }
}

/// A reader's access to the words of one ring. Loads are atomic per word and have acquire ordering: a later
/// load never returns something older than what an earlier one implies.
pub trait ReaderWords {
    /// Loads word `index`; `index < geometry.total_words()`.
    fn load(&self, index: usize) -> u64;

    /// Copies `out.len()` words from `index` on.
    fn copy(&self, index: usize, out: &mut [u64]) {
        for (offset, word) in out.iter_mut().enumerate() {
            *word = self.load(index + offset);
        }
    }
}

impl<T: ReaderWords + ?Sized> ReaderWords for &T {
    fn load(&self, index: usize) -> u64 {
        (**self).load(index)
    }
    fn copy(&self, index: usize, out: &mut [u64]) {
        (**self).copy(index, out);
    }
}

impl ReaderWords for [Cell<u64>] {
    fn load(&self, index: usize) -> u64 {
        self[index].get()
    }
}

/// Memory that the guest writes meanwhile.
impl ReaderWords for [AtomicU64] {
    fn load(&self, index: usize) -> u64 {
        self[index].load(Ordering::Acquire)
    }
}

/// Whether the writer can still finish what it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A running (or paused) guest: unfinished writes are waited for.
    Live,
    /// A dead guest or a dump: unfinished writes are read over, and counted as abandoned.
    Dead,
}

/// What [`read_block`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Nothing new yet.
    Empty,
    /// Positions `start..end` were copied to the front of the caller's buffer.
    Copied {
        /// Position of the first word: the position asked for.
        start: u64,
        /// Position after the last word; a record begins there.
        end: u64,
        /// The slot's counters, when `end` is the end of its sub-buffer.
        sealed: Option<[u64; CLASSES]>,
    },
    /// What was to be read has been overwritten.
    Overrun {
        /// Go on from here: the oldest sub-buffer that is safe for a while.
        resume: u64,
    },
    /// The head is below the position, or beyond what any writer reaches: no honest guest does that within
    /// one boot.
    ImplausibleHead {
        /// The head found.
        head: u64,
    },
}

/// Copies the next piece of a ring, at most to the end of the sub-buffer that `position` lies in. `out` holds at
/// least a sub-buffer; its content is only meaningful after [`Block::Copied`].
#[must_use]
pub fn read_block<R: ReaderWords>(
    words: &R,
    geometry: RingGeometry,
    source: Source,
    position: u64,
    out: &mut [u64],
) -> Block {
    let head = words.load(HEAD);
    if head < position || head > MAX_POSITION {
        return Block::ImplausibleHead { head };
    }
    let sub_buffer = geometry.sub_buffer_words() as u64;
    let intact_while = geometry.sub_buffer_start(position).saturating_add(geometry.ring_words() as u64);
    if head > intact_while {
        return Block::Overrun { resume: resume_after(geometry, head) };
    }
    let frontier = match source {
        Source::Live => head.min(words.load(IN_FLIGHT)),
        Source::Dead => head,
    };
    if frontier <= position {
        return Block::Empty;
    }
    let sub_buffer_end = geometry.sub_buffer_start(position) + sub_buffer;
    let end = frontier.min(sub_buffer_end);
    words.copy(geometry.word_of(position), &mut out[..(end - position) as usize]);
    let sealed = (end == sub_buffer_end).then(|| {
        let mut counters = [0; CLASSES];
        words.copy(geometry.counters_of(position), &mut counters);
        counters
    });
    let head = words.load(HEAD);
    if head > MAX_POSITION {
        return Block::ImplausibleHead { head };
    }
    if head > intact_while {
        return Block::Overrun { resume: resume_after(geometry, head) };
    }
    Block::Copied { start: position, end, sealed }
}

/// The start of the second-oldest sub-buffer that is still whole when the head is at `head`: one spare, so that
/// the reader is not overrun again at once.
fn resume_after(geometry: RingGeometry, head: u64) -> u64 {
    let oldest =
        head.saturating_sub(geometry.ring_words() as u64) + 2 * geometry.sub_buffer_words() as u64 - 1;
    geometry.sub_buffer_start(oldest).min(geometry.sub_buffer_start(head))
}

/// One consistent look at a ring's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// The head, which was also the frontier: every record below it is counted, none above.
    pub head: u64,
    /// Records refused so far, per class.
    pub refused: [u64; CLASSES],
}

/// Copies all counters of a ring at one moment at which nobody was writing: `slots` gets the slot counters,
/// [`CLASSES`] words each. `None` when no such moment was found in `attempts` tries (the guest writes without pause).
/// For a dead guest an unfinished write does not count as writing.
#[must_use]
pub fn read_counters<R: ReaderWords>(
    words: &R,
    geometry: RingGeometry,
    source: Source,
    attempts: usize,
    slots: &mut [u64],
) -> Option<Counters> {
    let slots = &mut slots[..geometry.slots() * CLASSES];
    for _ in 0..attempts {
        let head = words.load(HEAD);
        if source == Source::Live && words.load(IN_FLIGHT) != IDLE {
            core::hint::spin_loop();
            continue;
        }
        let mut refused = [0; CLASSES];
        words.copy(REFUSED, &mut refused);
        words.copy(SLOT_COUNTERS, slots);
        if words.load(HEAD) == head && (source == Source::Dead || words.load(IN_FLIGHT) == IDLE) {
            return Some(Counters { head, refused });
        }
    }
    None
}
