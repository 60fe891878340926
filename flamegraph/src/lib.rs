#![forbid(unsafe_code)]
//! The profile model, and every picture or file format made of it.
//!
//! Three steps. [`RawStacks`] sums samples whose stacks are still bare addresses, fast enough to run behind a live guest.
//! A [`ProfileBuilder`] takes the few distinct stacks that are left, by then with names, and makes a [`Profile`]: interned
//! frames, a tree of interned stacks, and an [`Amount`] per stack, thread and vCPU. Everything that is shown comes from
//! the profile: the table of [functions](Profile::functions), the [call tree](CallTree), [folded] text, an [svg], a page of
//! [html] to explore, and files of other tools: [pprof], [firefox], [speedscope], [perfetto], [perf_script], [json].
//! [`read_folded`] makes a profile of text.
//!
//! It reads no guest and no ELF file, and opens no files: writers take a [`std::io::Write`].
//!
//! ```
//! use uniprof_flamegraph::{Amount, Frame, Measure, Owner, ProfileBuilder, SvgOptions, Title};
//!
//! let mut builder = ProfileBuilder::new();
//! let thread = builder.thread(1, "worker");
//! let serve = builder.frame(Frame::function("serve").at("src/serve.rs", 12));
//! let parse = builder.frame(Frame::function("parse").inlined());
//! let owner = Owner { thread: 1, vcpu: 0 };
//! builder.add([thread, serve], owner, Amount::sample(2_000));
//! builder.add([thread, serve, parse], owner, Amount::sample(1_000));
//! let profile = builder.finish();
//!
//! let table = profile.functions(Measure::Weight);
//! assert_eq!((table[0].name.as_str(), table[0].own.weight, table[0].total.weight), ("serve", 2_000, 3_000));
//!
//! let mut text = Vec::new();
//! uniprof_flamegraph::folded(&profile, Measure::Samples, &mut text)?;
//! assert_eq!(text, b"worker;serve 1\nworker;serve;parse (inlined) 1\n");
//!
//! let mut picture = Vec::new();
//! let title = Title { guest: "kv".into(), samples: 2, ..Title::default() };
//! uniprof_flamegraph::svg(&profile, &title, &SvgOptions::default(), &mut picture)?;
//! assert!(picture.starts_with(b"<?xml"));
//! # Ok::<(), uniprof_flamegraph::RenderError>(())
//! ```

pub mod diff;
mod error;
mod export;
mod folded;
mod frame;
mod functions;
mod html;
mod image;
mod intern;
mod measured;
mod merge;
mod profile;
mod raw_stacks;
mod read_folded;
mod svg;
mod timeline;
mod title;
mod tree;
mod widest;

pub use error::RenderError;
pub use export::{firefox, firefox_with, json, perf_script, perfetto, perfetto_with, pprof, speedscope};
pub use folded::folded;
pub use frame::{Found, Frame, Kind};
pub use functions::Function;
pub use html::{HtmlOptions, html};
pub use image::{Image, ImageId};
pub use measured::{Measured, Unit};
pub use profile::{Amount, FrameId, Leaf, Owner, Profile, ProfileBuilder, StackId, TimedSample};
pub use raw_stacks::{RawAmount, RawKey, RawPlace, RawStack, RawStacks};
pub use read_folded::{BadLine, FoldedError, FoldedProfile, LineFault, read_folded};
pub use svg::{SvgOptions, Width, svg};
pub use timeline::{Mark, Moment, Timeline, Track};
pub use title::{ClockPoint, Title};
pub use tree::{CallNode, CallTree, Direction, Measure, Order, PruneReport, Pruned};
pub use widest::{Limits, WidePath, Widest, widest};
