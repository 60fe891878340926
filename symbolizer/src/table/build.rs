//! Making the table of a whole image: its units are read by several threads, then brought together in their order, so
//! that the table is the same whatever the threads do.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gimli::{EndianSlice, LittleEndian};
use rustc_hash::FxHashMap;

use crate::debug::{Budget, Fault, Sections, Sink, UnitIndex, UnitReader, UnitRows};
use crate::demangle::demangle;
use crate::image::Image;
use crate::table::format::NONE;
use crate::table::merge::{Merge, Placed, records};
use crate::table::strings::Strings;
use crate::table::write::Writer;
use crate::table::{Table, TableError};

type Slice<'s> = EndianSlice<'s, LittleEndian>;

/// Less than this many bytes are not worth a thread of their own.
const BYTES_PER_THREAD: usize = 1 << 20;

impl Table {
    /// Makes the table of an image, with as many threads as `threads` and the image's size allow. Debug information that
    /// is damaged is left out and counted.
    ///
    /// # Errors
    ///
    /// [`TableError`] where the image has more names or addresses than a table can hold.
    pub fn build(image: &Image, threads: NonZeroUsize) -> Result<Self, TableError> {
        Self::build_unless(image, threads, &AtomicBool::new(false)).unwrap_or(Err(TableError::Damaged))
    }

    /// As [`Table::build`]; `None` as soon as `cancelled` is set.
    pub(crate) fn build_unless(
        image: &Image,
        threads: NonZeroUsize,
        cancelled: &AtomicBool,
    ) -> Option<Result<Self, TableError>> {
        let mut writer = Writer::default();
        let units = read_all(image, threads, cancelled, &mut writer)?;
        let writer = Merge::new(image, &units, writer).finish();
        drop(units);
        let bytes = writer.finish(image.identity().as_ref(), image.fingerprint());
        Some(bytes.ok_or(TableError::Damaged).and_then(Self::open))
    }
}

/// What one thread found.
struct Worker {
    units: Vec<(usize, Result<UnitRows, Fault>)>,
    /// For each function that the units refer to its readable name.
    functions: Vec<u32>,
    names: Strings,
    files: Strings,
}

/// The names that one thread meets, numbered.
#[derive(Default)]
struct Names<'s> {
    raw: Vec<Slice<'s>>,
    /// By where they stand in the file: that is unique enough, and cheap.
    places: FxHashMap<(usize, usize), u32>,
    files: Strings,
}

impl<'s> Sink<Slice<'s>> for Names<'s> {
    fn function(&mut self, raw: &Slice<'s>) -> u32 {
        let place = (raw.slice().as_ptr() as usize, raw.slice().len());
        *self.places.entry(place).or_insert_with(|| {
            self.raw.push(*raw);
            self.raw.len() as u32 - 1
        })
    }

    fn file(&mut self, path: String) -> u32 {
        self.files.number(&path)
    }
}

/// Reads all units; the strings and nodes go to the writer.
fn read_all(
    image: &Image,
    threads: NonZeroUsize,
    cancelled: &AtomicBool,
    writer: &mut Writer,
) -> Option<Vec<Placed>> {
    if !image.debug_info().dwarf {
        return Some(Vec::new());
    }
    let sections: Sections<Cow<'_, [u8]>> = match Sections::read(image) {
        Ok(sections) => sections,
        Err(error) => {
            writer.damaged = 1;
            writer.damage = Some(error);
            return Some(Vec::new());
        }
    };
    let files = sections.as_files();
    let budget = Budget::new(files.size);
    let index = UnitIndex::new(&files, &budget);
    let threads = threads.get().min(files.size / BYTES_PER_THREAD + 1);
    let ranges = index.ranges_by_unit();
    // The largest first, so that no thread ends long after the others.
    let mut order: Vec<usize> = (0..ranges.len()).filter(|unit| !ranges[*unit].is_empty()).collect();
    order.sort_by_key(|unit| std::cmp::Reverse(index.headers[*unit].unit_length()));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut names = Names::default();
        let mut reader = UnitReader::new(&files, &index, &budget);
        let mut units = Vec::new();
        while let Some(unit) = order.get(next.fetch_add(1, Ordering::Relaxed))
            && !cancelled.load(Ordering::Relaxed)
        {
            units.push((*unit, reader.read(*unit, &ranges[*unit], &mut names)));
        }
        names.into_worker(units)
    };
    let workers: Vec<Worker> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(own).chain(joined).collect()
    });
    if let Some(fault) = index.fault {
        writer.damaged += 1;
        writer.damage = Some(fault.to_string());
    }
    if cancelled.load(Ordering::Relaxed) {
        return None;
    }
    Some(bring_together(workers, writer))
}

impl Names<'_> {
    fn into_worker(self, units: Vec<(usize, Result<UnitRows, Fault>)>) -> Worker {
        let mut names = Strings::default();
        let readable = |raw: &Slice<'_>| names.number(&demangle(&raw.to_string_lossy()));
        Worker { units, functions: self.raw.iter().map(readable).collect(), names, files: self.files }
    }
}

/// The numbers of a thread's strings in the table, given as they are first needed.
struct Numbers<'w> {
    strings: &'w Strings,
    known: Vec<u32>,
}

impl<'w> Numbers<'w> {
    fn new(strings: &'w Strings) -> Self {
        Self { strings, known: vec![NONE; strings.len() as usize] }
    }

    fn get(&mut self, number: u32, all: &mut Strings) -> u32 {
        let Some(known) = self.known.get_mut(number as usize) else { return NONE };
        if *known == NONE {
            *known = all.number(self.strings.get(number));
        }
        *known
    }
}

/// Puts the units in their order, and gives all threads' strings the same numbers.
fn bring_together(mut workers: Vec<Worker>, writer: &mut Writer) -> Vec<Placed> {
    let mut units: Vec<(usize, usize, Result<UnitRows, Fault>)> = Vec::new();
    for (number, worker) in workers.iter_mut().enumerate() {
        units.extend(worker.units.drain(..).map(|(unit, rows)| (unit, number, rows)));
    }
    units.sort_unstable_by_key(|(unit, ..)| *unit);
    let mut numbers: Vec<(Numbers<'_>, Numbers<'_>)> =
        workers.iter().map(|worker| (Numbers::new(&worker.names), Numbers::new(&worker.files))).collect();
    let mut placed = Vec::with_capacity(units.len());
    for (_, worker, rows) in units {
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(fault) => {
                writer.damaged += 1;
                writer.damage.get_or_insert_with(|| fault.to_string());
                continue;
            }
        };
        let functions = &workers[worker].functions;
        let (names, files) = &mut numbers[worker];
        let first_node = writer.nodes.len() as u32;
        let (all_functions, all_files) = (&mut writer.functions, &mut writer.strings);
        let nodes = std::mem::take(&mut rows.nodes);
        let records = records(&nodes, first_node, |node| {
            let function =
                functions.get(node.function as usize).map_or(NONE, |name| names.get(*name, all_functions));
            (function, files.get(node.file, all_files))
        });
        writer.nodes.extend(records);
        for row in &mut rows.rows {
            row.file = files.get(row.file, &mut writer.strings);
        }
        placed.push(Placed { rows, first_node });
    }
    placed
}
