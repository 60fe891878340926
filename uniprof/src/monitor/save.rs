//! Files of what is seen.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uniprof_flamegraph::{HtmlOptions, Measured, Profile, SvgOptions, Title, Width, html, svg};
use uniprof_tui::SaveAs;
use uniprof_tui::picture::{Known, Picture, Span};

use crate::output;

/// The name of a file that nobody chose: `NAME-live.svg`.
pub(super) fn name(guest: &str, kind: SaveAs) -> PathBuf {
    let extension = match kind {
        SaveAs::Recording => crate::input::EXTENSION,
        SaveAs::Svg => "svg",
        SaveAs::Html => "html",
        SaveAs::Text => "txt",
    };
    let plain: String =
        guest.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    PathBuf::from(format!("{}-live.{extension}", plain.trim_start_matches(['.', '-'])))
}

/// This path, or where a file has that name already the same with the next number: `web-live-2.svg`.
pub(super) fn free(path: PathBuf) -> PathBuf {
    if !path.is_file() {
        return path;
    }
    let words = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = words(path.file_stem()).unwrap_or_default();
    let extension = words(path.extension()).map_or_else(String::new, |extension| format!(".{extension}"));
    let more = (2..10_000).map(|number| path.with_file_name(format!("{stem}-{number}{extension}")));
    more.into_iter().find(|path| !path.exists()).unwrap_or(path)
}

/// Which of a picture's profiles is meant.
pub(super) fn profile(picture: &Picture, measured: Measured) -> &Known<Arc<Profile>> {
    match measured {
        Measured::Cpu => &picture.cpu,
        Measured::OffCpu | Measured::Wakeups => &picture.off_cpu,
        Measured::Locks => &picture.locks,
        Measured::LiveHeap | Measured::AllocatedHeap => &picture.heap,
    }
}

/// A picture of a profile.
pub(super) fn drawing(
    picture: &Picture,
    kind: SaveAs,
    measured: Measured,
    path: &Path,
) -> anyhow::Result<()> {
    let profile = profile(picture, measured).as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
    let title = title(picture, profile);
    let is_weighed = profile.measured() != Measured::Cpu && profile.total().weight > 0;
    let width = if is_weighed { Width::Time } else { Width::Samples };
    let mut file = Vec::new();
    match kind {
        SaveAs::Html => html(profile, &title, &HtmlOptions { width, ..HtmlOptions::default() }, &mut file)?,
        _ => drop(svg(profile, &title, &SvgOptions { width, ..SvgOptions::default() }, &mut file)?),
    }
    output::file(path, |out| Ok(out.write_all(&file)?))
}

/// What a profile of a picture says of itself.
pub(super) fn title(picture: &Picture, profile: &Profile) -> Title {
    let overview = &picture.overview;
    let duration = match picture.span {
        Span::Last(seconds) => Some(seconds),
        _ => None,
    };
    let causes = overview.loss.causes.iter().map(|(cause, count)| ((*cause).to_owned(), *count));
    Title {
        guest: picture.subject.name.clone(),
        build_id: picture.subject.build_id.clone(),
        rate: picture.rate.filter(|rate| *rate > 0).map(f64::from),
        duration: duration.filter(|seconds| (0.0..1e9).contains(seconds)).map(Duration::from_secs_f64),
        measured: profile.measured(),
        samples: profile.total().samples,
        weight: profile.total().weight,
        loss: Some(causes.collect()),
        own_cost: overview.own_cost,
        notes: picture.notes.to_vec(),
        ..Title::default()
    }
}
