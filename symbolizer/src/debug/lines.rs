//! The line table of a unit, as steps from address to address.

use gimli::{FileEntry, IncompleteLineProgram, LineProgramHeader, Reader, UnitRef};

use crate::debug::budget::{Fault, Purse};

/// The lines from `start` on, up to the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineStep {
    pub(crate) start: u64,
    /// An index into the unit's files; [`NO_FILE`] where no line is known from here on.
    pub(crate) file: u32,
    /// 0 where the code belongs to no line.
    pub(crate) line: u32,
}

pub(crate) const NO_FILE: u32 = u32::MAX;

/// A run of the line program: one function, or a whole section.
struct Sequence {
    start: u64,
    end: u64,
    steps: std::ops::Range<usize>,
}

fn program<'u, R: Reader<Offset = usize>>(
    unit: &'u UnitRef<'_, R>,
    purse: &mut Purse<'_>,
) -> Result<Option<&'u IncompleteLineProgram<R>>, Fault> {
    let Some(program) = &unit.line_program else { return Ok(None) };
    // Units may share a program with a long header.
    purse.work(program.header().file_names().len() + program.header().include_directories().len())?;
    Ok(Some(program))
}

fn read<R: Reader<Offset = usize>>(
    unit: &UnitRef<'_, R>,
    purse: &mut Purse<'_>,
) -> Result<(Vec<LineStep>, Vec<Sequence>), Fault> {
    let (mut steps, mut sequences): (Vec<LineStep>, Vec<Sequence>) = (Vec::new(), Vec::new());
    let Some(program) = program(unit, purse)? else { return Ok((steps, sequences)) };
    let mut first = 0;
    let mut rows = program.clone().rows();
    while let Some((_, row)) = rows.next_row()? {
        purse.work(1)?;
        let start = row.address();
        if row.end_sequence() {
            if let Some(begin) = steps.get(first).map(|step| step.start).filter(|begin| *begin < start) {
                sequences.push(Sequence { start: begin, end: start, steps: first..steps.len() });
            } else {
                steps.truncate(first);
            }
            first = steps.len();
            continue;
        }
        let file = u32::try_from(row.file_index()).unwrap_or(NO_FILE);
        let line = row.line().map_or(0, |line| line.get() as u32);
        let step = LineStep { start, file, line };
        match steps[first..].last_mut() {
            Some(last) if last.start == start => *last = step,
            // Addresses rise within a sequence; what does not is of no use.
            Some(last) if last.start > start => {}
            Some(last) if (last.file, last.line) == (file, line) => {}
            _ => steps.push(step),
        }
    }
    steps.truncate(first);
    sequences.sort_unstable_by_key(|sequence| sequence.start);
    Ok((steps, sequences))
}

/// The ranges that the line table speaks of.
pub(crate) fn sequences<R: Reader<Offset = usize>>(
    unit: &UnitRef<'_, R>,
    purse: &mut Purse<'_>,
) -> Result<Vec<(u64, u64)>, Fault> {
    let (_, sequences) = read(unit, purse)?;
    Ok(sequences.into_iter().map(|sequence| (sequence.start, sequence.end)).collect())
}

/// The whole table, in the order of addresses; of sequences that overlap the first counts.
pub(crate) fn steps<R: Reader<Offset = usize>>(
    unit: &UnitRef<'_, R>,
    purse: &mut Purse<'_>,
) -> Result<Vec<LineStep>, Fault> {
    let (steps, sequences) = read(unit, purse)?;
    let mut ordered: Vec<LineStep> = Vec::with_capacity(steps.len() + sequences.len());
    let mut end = 0;
    for sequence in sequences {
        if sequence.end <= end {
            continue;
        }
        let own = &steps[sequence.steps];
        let from = end.max(sequence.start);
        let skip = own.partition_point(|step| step.start <= from).saturating_sub(1);
        match ordered.last_mut() {
            Some(last) if last.start == from => last.clone_from(&own[skip]),
            _ => ordered.push(LineStep { start: from, ..own[skip] }),
        }
        ordered.extend(own[skip + 1..].iter().filter(|step| step.start < sequence.end));
        ordered.push(LineStep { start: sequence.end, file: NO_FILE, line: 0 });
        end = sequence.end;
    }
    Ok(ordered)
}

/// The path of a file: from its folder's, from the compiler's.
pub(crate) fn path<R: Reader<Offset = usize>>(
    unit: &UnitRef<'_, R>,
    header: &LineProgramHeader<R>,
    file: &FileEntry<R>,
) -> Result<String, gimli::Error> {
    let mut path = match &unit.comp_dir {
        Some(folder) => folder.to_string_lossy()?.into_owned(),
        None => String::new(),
    };
    // Folder 0 is that of the compiler.
    if file.directory_index() != 0
        && let Some(folder) = file.directory(header)
    {
        push(&mut path, &unit.attr_string(folder)?.to_string_lossy()?);
    }
    push(&mut path, &unit.attr_string(file.path_name())?.to_string_lossy()?);
    path.truncate(path.floor_char_boundary(MAX_PATH));
    Ok(path)
}

/// The longest path; a few bytes of a file can say one of any length.
const MAX_PATH: usize = 4096;

fn push(path: &mut String, more: &str) {
    if more.starts_with('/') || starts_with_drive(more, "\\") || more.get(1..3) == Some(":/") {
        path.clear();
    } else if !path.is_empty() {
        let separator = if starts_with_drive(path, "\\") { '\\' } else { '/' };
        if !path.ends_with(separator) {
            path.push(separator);
        }
    }
    path.push_str(more);
}

fn starts_with_drive(path: &str, slash: &str) -> bool {
    path.starts_with(slash) || path.get(1..3) == Some(":\\")
}
