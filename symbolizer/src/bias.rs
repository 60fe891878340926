//! Where in memory an image lies, found by its text: for kernels that choose their address when they boot (KASLR).
//!
//! Samples of the text are taken from the image, 32 bytes each, where code is varied and no relocation that depends on the
//! load address touches it. Memory is then read once, page by page, and each sample is looked for at its own offset in a
//! page: images are moved by whole pages. Every sample that is found votes for the bias that it implies. Code that a
//! kernel patches at run time (alternatives, tracepoints) costs votes and does not hide the image.
//!
//! No note in an image file says where it is loaded: Xen's and PVH's (`XEN_ELFNOTE_*`) say where it wants to be.
//! What a running Linux writes to vmcoreinfo does say so, see [`LoadBias::from_vmcoreinfo`].

use std::ops::Range;

use object::LittleEndian;
use object::elf::{self, Rela64};
use object::pod;
use rustc_hash::{FxHashMap, FxHashSet};
use uniprof_wire::address::LinkAddress;

use crate::address::LoadBias;
use crate::image::Image;

const SAMPLE: usize = 32;
const PAGE: usize = 4096;
/// How many samples are taken where the text is large enough.
const SAMPLES: usize = 64;
/// Text with fewer samples than this proves nothing.
const FEWEST: usize = 4;
/// Different bytes that a sample has at least: padding and tables have fewer.
const VARIETY: usize = 14;
/// Memory that is searched, at most: some seconds' worth. Kernels lie low.
const MOST_SEARCHED: u64 = 16 << 30;
/// Places that are kept count of: a hostile guest could fill its memory with pages that each look like a beginning.
const MOST_PLACES: usize = 1 << 20;
/// How much memory is read at a time.
const BLOCK: usize = 256 * PAGE;
/// Relocations that are looked through; Linux has about a million.
const MOST_RELOCATIONS: usize = 1 << 23;

/// How well memory agrees with the text of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextMatch {
    /// Memory address less link-time address.
    pub bias: LoadBias,
    /// Samples that were found.
    pub equal: usize,
    /// Samples that were looked for.
    pub samples: usize,
}

impl TextMatch {
    /// Whether it is this image that lies there: at least three quarters of the samples are found. What is patched at run
    /// time is far less; another build agrees in a few functions before the first difference in size.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.samples >= FEWEST && self.equal * 4 >= self.samples * 3
    }
}

/// What is compared of an image's text.
#[derive(Debug, Clone)]
pub struct TextSamples {
    samples: Vec<(LinkAddress, [u8; SAMPLE])>,
}

impl TextSamples {
    /// Takes samples; `None` where the file has no text, or too little of it.
    #[must_use]
    pub fn new(image: &Image) -> Option<Self> {
        let text: Vec<(u64, Vec<u8>)> = image
            .sections
            .iter()
            .filter(|section| section.allocated && section.executable && !section.file.is_empty())
            .filter_map(|section| Some((section.address.0, section.content(&image.file).ok()?.to_vec())))
            .collect();
        let total: usize = text.iter().map(|(_, bytes)| bytes.len()).sum();
        let relocated = relocated(image);
        let mut seen = FxHashSet::default();
        let mut samples = Vec::new();
        let step = (total / SAMPLES).max(SAMPLE);
        for (address, bytes) in &text {
            for part in (0..bytes.len()).step_by(step) {
                let here = part..(part + step).min(bytes.len());
                let fits = |at: &usize| is_sample(*address, bytes, *at, &relocated);
                let first =
                    here.start + (address.wrapping_add(here.start as u64).wrapping_neg() % 16) as usize;
                let found = (first..here.end).step_by(16).find(fits);
                let sample = found.and_then(|at| Some((at, *bytes[at..].first_chunk::<SAMPLE>()?)));
                // What occurs twice could be found in the wrong place.
                if let Some((at, sample)) = sample.filter(|(_, sample)| seen.insert(*sample)) {
                    samples.push((LinkAddress(address + at as u64), sample));
                }
            }
        }
        (samples.len() >= FEWEST).then_some(Self { samples })
    }

    /// How well memory agrees with the image where it lies if it is loaded with `bias`. Memory that cannot be read does not
    /// agree.
    pub fn compare<E>(
        &self,
        bias: LoadBias,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> TextMatch {
        let mut there = [0; SAMPLE];
        let is_there = |(link, sample): &&(LinkAddress, [u8; SAMPLE])| {
            read(bias.to_guest(*link).0, &mut there).is_ok() && there == *sample
        };
        let equal = self.samples.iter().filter(is_there).count();
        TextMatch { bias, equal, samples: self.samples.len() }
    }

    /// The places in `memory` where the image may lie, the best first, without those that are not sure. More than one is
    /// returned where memory holds the text several times, as after a boot loader that left its copy.
    pub fn find<E>(
        &self,
        memory: &[Range<u64>],
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Vec<TextMatch> {
        let mut votes: FxHashMap<u64, usize> = FxHashMap::default();
        let mut block = vec![0; BLOCK];
        let mut left = MOST_SEARCHED;
        for range in memory {
            let mut at = range.start.next_multiple_of(PAGE as u64);
            while at.saturating_add(PAGE as u64) <= range.end && left > 0 {
                let len = (range.end - at).min(BLOCK as u64) as usize / PAGE * PAGE;
                let part = &mut block[..len];
                if read(at, part).is_ok() {
                    self.vote(at, part, &mut votes);
                }
                left = left.saturating_sub(len as u64);
                at += len as u64;
            }
        }
        let samples = self.samples.len();
        let matches =
            votes.into_iter().map(|(bias, equal)| TextMatch { bias: LoadBias::new(bias), equal, samples });
        let mut sure: Vec<TextMatch> = matches.filter(TextMatch::is_sure).collect();
        sure.sort_by_key(|found| (samples - found.equal, found.bias.get()));
        sure
    }

    fn vote(&self, start: u64, block: &[u8], votes: &mut FxHashMap<u64, usize>) {
        for (index, page) in block.as_chunks::<PAGE>().0.iter().enumerate() {
            let address = start + (index * PAGE) as u64;
            for (link, sample) in &self.samples {
                let offset = (link.0 % PAGE as u64) as usize;
                if page[offset..offset + SAMPLE] != *sample {
                    continue;
                }
                let bias = address.wrapping_add(offset as u64).wrapping_sub(link.0);
                if votes.len() < MOST_PLACES || votes.contains_key(&bias) {
                    *votes.entry(bias).or_default() += 1;
                }
            }
        }
    }
}

/// Whether the bytes at `at` tell one place from others: varied, on one page, and untouched by relocation.
fn is_sample(address: u64, bytes: &[u8], at: usize, relocated: &FxHashSet<u64>) -> bool {
    let Some(sample) = bytes.get(at..at + SAMPLE) else { return false };
    let place = address.wrapping_add(at as u64);
    let mut seen = [false; 256];
    sample.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    // A relocated word may begin up to 7 bytes before.
    let touched = || (place.saturating_sub(7)..place + SAMPLE as u64).any(|byte| relocated.contains(&byte));
    place % PAGE as u64 <= (PAGE - SAMPLE) as u64 && distinct >= VARIETY && !touched()
}

/// Where words lie that a loader changes when it moves the image.
fn relocated(image: &Image) -> FxHashSet<u64> {
    let moved = [elf::R_X86_64_64, elf::R_X86_64_32, elf::R_X86_64_32S, elf::R_X86_64_RELATIVE];
    let mut places = FxHashSet::default();
    for section in image.sections.iter().filter(|section| section.name().starts_with(".rela")) {
        let Ok(content) = section.content(&image.file) else { continue };
        let count = content.len() / size_of::<Rela64<LittleEndian>>();
        let Ok((table, _)) = pod::slice_from_bytes::<Rela64<LittleEndian>>(&content, count) else { continue };
        let table = table.iter().take(MOST_RELOCATIONS);
        let changed = table.filter(|entry| moved.contains(&entry.r_type(LittleEndian, false)));
        places.extend(changed.map(|entry| entry.r_offset.get(LittleEndian)));
    }
    places
}

impl LoadBias {
    /// What Linux says of itself in its vmcoreinfo note (a text of `KEY=value` lines, in the kernel's memory and in core
    /// files): `KERNELOFFSET`, in hexadecimal. `None` where there is no such line.
    #[must_use]
    pub fn from_vmcoreinfo(text: &str) -> Option<Self> {
        let value = text.lines().find_map(|line| line.strip_prefix("KERNELOFFSET="))?;
        let digits = value.trim();
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten().map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vmcoreinfo_has_the_offset() {
        let text = "OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(_stext)=ffffffff9a000000\nKERNELOFFSET=19000000\n";
        assert_eq!(LoadBias::from_vmcoreinfo(text), Some(LoadBias::new(0x1900_0000)));
        for other in ["", "KERNELOFFSET=", "KERNELOFFSET=+1", "KERNELOFFSET=zz", "X_KERNELOFFSET=1"] {
            assert_eq!(LoadBias::from_vmcoreinfo(other), None, "{other}");
        }
    }
}
