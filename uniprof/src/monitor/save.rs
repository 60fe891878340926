//! Files of what is seen.

use std::path::{Path, PathBuf};
use std::time::Duration;

use uniprof_flamegraph::{HtmlOptions, SvgOptions, Title, html, svg};
use uniprof_tui::SaveAs;
use uniprof_tui::picture::{Picture, Span};

use crate::output;

/// The name of a file that nobody chose: `NAME-live.svg`, or the next number where that exists.
pub(super) fn free_name(guest: &str, kind: SaveAs) -> PathBuf {
    let extension = match kind {
        SaveAs::Recording => crate::input::EXTENSION,
        SaveAs::Svg => "svg",
        SaveAs::Html => "html",
        SaveAs::Text => "txt",
    };
    let plain: String =
        guest.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let stem = format!("{}-live", plain.trim_start_matches(['.', '-']));
    let first = PathBuf::from(format!("{stem}.{extension}"));
    let more = (2..).map(|number| PathBuf::from(format!("{stem}-{number}.{extension}")));
    std::iter::once(first).chain(more).find(|path| !path.exists()).unwrap_or_default()
}

/// A picture of the profile of what ran.
pub(super) fn drawing(picture: &Picture, kind: SaveAs, path: &Path) -> anyhow::Result<()> {
    let profile = picture.cpu.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
    let title = title(picture);
    let mut file = Vec::new();
    match kind {
        SaveAs::Html => html(profile, &title, &HtmlOptions::default(), &mut file)?,
        _ => drop(svg(profile, &title, &SvgOptions::default(), &mut file)?),
    }
    output::file(path, |out| Ok(out.write_all(&file)?))
}

fn title(picture: &Picture) -> Title {
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
        samples: overview.samples,
        loss: Some(causes.collect()),
        own_cost: overview.own_cost,
        notes: picture.notes.to_vec(),
        ..Title::default()
    }
}
