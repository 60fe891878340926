//! What is said of addresses, and how two sets of it differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// A function, its file and line. `?` is what is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    pub function: String,
    pub file: String,
    pub line: u32,
}

/// The frames of each address, innermost first.
#[derive(Debug, Default)]
pub struct Answers(pub BTreeMap<u64, Vec<Frame>>);

impl Answers {
    pub fn write(&self, path: &Path) {
        let mut text = String::new();
        for (address, frames) in &self.0 {
            write!(text, "{address:x}").expect("memory");
            for frame in frames {
                write!(text, "\t{}\t{}\t{}", frame.function, normal(&frame.file), frame.line)
                    .expect("memory");
            }
            text.push('\n');
        }
        std::fs::write(path, text).expect("written");
    }

    pub fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let line = |line: &str| {
            let mut parts = line.split('\t');
            let address = u64::from_str_radix(parts.next()?, 16).ok()?;
            let mut frames = Vec::new();
            while let (Some(function), Some(file), Some(line)) = (parts.next(), parts.next(), parts.next()) {
                frames.push(Frame { function: function.into(), file: file.into(), line: line.parse().ok()? });
            }
            Some((address, frames))
        };
        Some(Self(text.lines().filter_map(line).collect()))
    }

    /// Counts what differs, by the first of the kinds that applies.
    pub fn compare(&self, theirs: &Self) -> String {
        let mut kinds: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
        let mut same = 0;
        for (address, ours) in &self.0 {
            let theirs = theirs.0.get(address).map_or(&[][..], Vec::as_slice);
            let Some(kind) = kind(ours, theirs) else {
                same += 1;
                continue;
            };
            let (count, examples) = kinds.entry(kind).or_default();
            *count += 1;
            if examples.len() < 2 {
                examples.push(format!(
                    "{address:#x}\n      ours   {}\n      theirs {}",
                    shown(ours),
                    shown(theirs)
                ));
            }
        }
        let mut text = format!("{same} of {} the same", self.0.len());
        for (kind, (count, examples)) in kinds {
            write!(text, "\n  {kind}: {count}\n    {}", examples.join("\n    ")).expect("memory");
        }
        text
    }
}

fn kind(ours: &[Frame], theirs: &[Frame]) -> Option<&'static str> {
    let pairs = || ours.iter().zip(theirs);
    if ours == theirs {
        None
    } else if ours.is_empty() {
        Some("only they have a name")
    } else if theirs.is_empty() {
        Some("only we have a name")
    } else if ours.len() != theirs.len() {
        Some("another number of frames")
    } else if pairs().any(|(ours, theirs)| ours.function != theirs.function) {
        Some("another function")
    } else if pairs().any(|(ours, theirs)| ours.file != theirs.file) {
        Some("another file")
    } else {
        Some("another line")
    }
}

fn shown(frames: &[Frame]) -> String {
    let frame = |frame: &Frame| format!("{} ({}:{})", frame.function, frame.file, frame.line);
    frames.iter().map(frame).collect::<Vec<_>>().join(" < ")
}

/// `./` in a path is written by some and left out by others.
fn normal(file: &str) -> String {
    if file.is_empty() || file.starts_with("??") { "?".into() } else { file.replace("/./", "/") }
}
