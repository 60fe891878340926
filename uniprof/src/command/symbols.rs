//! `uniprof symbols`: which images name a recording's addresses, and where they were looked for.
//!
//! ```text
//! $ uniprof symbols r.uniprof
//! guest runs    build-id 3f9aff4dd336457761de46869d50e9d6fd3dd42d
//! looked        attached to the recording: build-id 3f9aff4dd336457761de46869d50e9d6fd3dd42d, debug info, symbols, call-frame info
//! image at 0x0  kernel.elf: build-id 3f9aff4dd336457761de46869d50e9d6fd3dd42d, debug info, symbols, call-frame info
//! ```

use std::io::Write as _;

use serde::Serialize;

use crate::config::Config;
use crate::{options, output, profile};

const EXAMPLES: &str = "\
Examples:
  uniprof symbols r.uniprof
  uniprof symbols r.uniprof --symbols /usr/lib/debug
  uniprof symbols r.uniprof --kernel kernel.elf --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, or `sample`; left out, the newest recording here
    input: Option<String>,
    /// Print a JSON document (schema uniprof.symbols/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    symbols: options::Symbols,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    guest: Guest,
    looked: Vec<Looked>,
    images: Vec<Image>,
}

#[derive(Serialize)]
struct Guest {
    name: String,
    build_id: Option<String>,
    text_hash: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Looked {
    pub(crate) place: String,
    found: bool,
    /// What was found, or why nothing.
    pub(crate) result: String,
}

#[derive(Serialize)]
struct Image {
    name: String,
    identity: Option<String>,
    bias: String,
    dwarf: bool,
    symbols: bool,
    call_frame_info: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = profile::choose(args.input.as_deref())?;
    let head = profile::head(&input)?;
    let images = profile::find_images(&head, &args.symbols, &Config::load()?)?;
    let document = Document {
        schema: "uniprof.symbols/1",
        guest: Guest {
            name: head.session.guest,
            build_id: head.session.build_id,
            text_hash: head.session.text_identity,
        },
        looked: images.places().iter().map(Looked::new).collect(),
        images: images.symbolizers().map(|(name, symbolizer)| Image::new(name, symbolizer)).collect(),
    };
    if args.json { output::json(&document) } else { print(&document) }
}

impl Looked {
    pub(crate) fn new(looked: &profile::finder::Looked) -> Self {
        let (found, result) = match &looked.result {
            Ok(what) => (true, what),
            Err(why) => (false, why),
        };
        Self { place: looked.place.clone(), found, result: result.clone() }
    }
}

impl Image {
    fn new(name: &str, symbolizer: &uniprof_symbolizer::Symbolizer) -> Self {
        let info = symbolizer.image().debug_info();
        Self {
            name: name.to_owned(),
            identity: symbolizer.image().identity().map(|identity| identity.to_string()),
            bias: symbolizer.bias().to_string(),
            dwarf: info.dwarf,
            symbols: info.symbols,
            call_frame_info: info.frames,
        }
    }
}

fn print(document: &Document) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let runs = match (&document.guest.build_id, &document.guest.text_hash) {
        (Some(id), _) => format!("build-id {id}"),
        (None, Some(hash)) => format!("text hash {hash}"),
        (None, None) => "an image without a known identity".into(),
    };
    let mut rows = vec![["guest runs".to_owned(), runs]];
    for looked in &document.looked {
        let verdict = if looked.found { "" } else { "not used, " };
        rows.push(["looked".into(), format!("{}: {verdict}{}", looked.place, looked.result)]);
    }
    for image in &document.images {
        let identity = image.identity.as_deref().unwrap_or("no identity");
        let has = [
            (image.dwarf, "debug info"),
            (image.symbols, "symbols"),
            (image.call_frame_info, "call-frame info"),
        ];
        let has: Vec<&str> = has.iter().filter(|(has, _)| *has).map(|(_, what)| *what).collect();
        let has = if has.is_empty() { "stripped".into() } else { has.join(", ") };
        rows.push([format!("image at {}", image.bias), format!("{}: {identity}, {has}", image.name)]);
    }
    if document.images.is_empty() {
        rows.push(["no image".into(), "addresses stay without names; name one with --kernel ELF".into()]);
    }
    output::table(&mut out, &rows)?;
    Ok(out.flush()?)
}
