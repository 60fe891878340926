//! From stacks of addresses to a profile of names.

use std::collections::HashMap;

use uniprof_flamegraph::{
    Amount, Found, Frame, FrameId, ImageId, Owner, Profile, ProfileBuilder, RawPlace, RawStack, StackId,
    TimedSample,
};
use uniprof_symbolizer::{AddressKind, Resolution};
use uniprof_wire::address::GuestVirtual;

use super::images::Images;
use super::load::Sums;
use super::mark::Mark;

/// Names every stack, and turns ticks of the guest's clock into nanoseconds.
pub(crate) fn name(sums: &Sums, images: &mut Images) -> Profile {
    let mut naming = Naming::new(images, ProfileBuilder::new());
    let mut threads: HashMap<u32, FrameId> = HashMap::new();
    let mut places: HashMap<RawPlace, (StackId, Owner)> = HashMap::new();
    let figures = &sums.figures;
    for stack in sums.stacks.iter() {
        let owner = stack.key.owner;
        let thread = || naming.builder.thread(owner.thread, &figures.thread(owner.thread));
        let root = *threads.entry(owner.thread).or_insert_with(thread);
        let weight = figures.nanoseconds(stack.sum.amount.weight).unwrap_or(0);
        let amount = Amount { weight, ..stack.sum.amount };
        let id = naming.add(root, &stack, amount);
        if !sums.moments.is_empty() {
            places.extend(id.map(|id| (stack.place, (id, owner))));
        }
    }
    for moment in &sums.moments {
        let Some((stack, owner)) = places.get(&moment.stack).copied() else { continue };
        let at = figures.at(moment.tsc);
        let weight = figures.nanoseconds(moment.weight).unwrap_or(0);
        naming.builder.keep_time(TimedSample { at, stack, owner, weight });
    }
    naming.builder.finish()
}

/// The functions of a stack, the innermost first.
pub(crate) fn functions(images: &mut Images, stack: &RawStack<'_>) -> Vec<String> {
    let mark = Mark::from_bits(stack.key.mark);
    let mut names = Vec::new();
    for (address, kind, _) in mark.frames(stack.frames) {
        match images.resolve(GuestVirtual(address), kind) {
            Some((_, Resolution::Symbol { frames, .. })) => {
                names.extend(frames.iter().map(|frame| frame.function.to_string()));
            }
            _ => names.push(GuestVirtual(address).to_string()),
        }
    }
    names.extend(mark.cut_short().map(str::to_owned));
    names
}

/// Names addresses, each once.
pub(crate) struct Naming<'a> {
    images: &'a mut Images,
    /// The images' ids in the profile, by their index.
    files: Vec<ImageId>,
    pub(crate) builder: ProfileBuilder,
    /// Innermost first, as stacks have them.
    known: HashMap<(u64, AddressKind, Found), Vec<FrameId>>,
}

impl<'a> Naming<'a> {
    /// For the frames of `builder`.
    pub(crate) fn new(images: &'a mut Images, mut builder: ProfileBuilder) -> Self {
        let files = images.described().map(|image| builder.image(image)).collect();
        Self { images, files, builder, known: HashMap::new() }
    }

    /// Adds what was sampled with a stack, on top of its thread's frame.
    pub(crate) fn add(&mut self, root: FrameId, stack: &RawStack<'_>, amount: Amount) -> Option<StackId> {
        let mark = Mark::from_bits(stack.key.mark);
        let mut frames = vec![root];
        if let Some(why) = mark.cut_short() {
            frames.push(self.builder.frame(Frame::unknown(why)));
        }
        let from = frames.len();
        for (address, kind, found) in mark.frames(stack.frames) {
            frames.extend_from_slice(self.frames(address, kind, found));
        }
        frames[from..].reverse();
        self.builder.add(frames, stack.key.owner, amount)
    }

    /// The functions at an address, the innermost first.
    pub(super) fn frames(&mut self, address: u64, kind: AddressKind, found: Found) -> &[FrameId] {
        let Self { images, files, builder, known } = self;
        known.entry((address, kind, found)).or_insert_with(|| {
            let looked_up = kind.lookup(GuestVirtual(address)).0;
            let Some((image, resolution)) = images.resolve(GuestVirtual(address), kind) else {
                // The reason is said once, where the images are told of.
                let name = format!("[unknown {looked_up:#x}]");
                let frame = Frame::unknown(&name).located(None, looked_up);
                return vec![builder.frame(frame)];
            };
            let file = image.and_then(|index| files.get(index).copied());
            let named = |frame: &uniprof_symbolizer::Frame| {
                builder.frame(Frame {
                    file: frame.file.as_deref(),
                    line: frame.line,
                    inlined: frame.inlined,
                    found: if frame.inlined { Found::Inline } else { found },
                    ..Frame::function(&frame.function).located(file, looked_up)
                })
            };
            match resolution {
                Resolution::Unknown(reason) => {
                    vec![builder.frame(Frame::unknown(&reason.to_string()).located(file, looked_up))]
                }
                Resolution::Symbol { frames, .. } => frames.iter().map(named).collect(),
            }
        })
    }
}
