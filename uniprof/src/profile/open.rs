//! Opening what a command reads.

use std::fs::File;

use uniprof_collector::recording::{self, Damage, Item, ReadError, Reader, SessionInfo};

use super::images::{GuestImage, Images, Places};
use super::{Named, load, naming};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::{attachment, bundled, options};

/// A recording that is open, wherever its bytes are.
pub(crate) enum Source {
    File(Reader<File>),
    Memory(Reader<&'static [u8]>),
}

impl Source {
    /// Opens what `input` means, and says so where that is a partial file.
    pub(crate) fn open(input: &Input) -> anyhow::Result<Self> {
        match input {
            Input::File(path) => Ok(Self::File(recording::open(path)?.reader)),
            Input::Sample => Ok(Self::Memory(Reader::new(bundled::sample())?)),
            Input::Guest(name) => Err(Failure::error(
                Exit::Target,
                format!(
                    "there is no recording {name}; if that is a guest, record it first: \
                     `uniprof record {name} -d 10`"
                ),
            )),
        }
    }

    /// The next item, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        match self {
            Self::File(reader) => reader.next(),
            Self::Memory(reader) => reader.next(),
        }
    }

    /// What could not be read.
    pub(crate) fn damage(&self) -> &[Damage] {
        match self {
            Self::File(reader) => reader.damage(),
            Self::Memory(reader) => reader.damage(),
        }
    }
}

/// The head of a recording: everything before the first message.
#[derive(Default)]
pub(crate) struct Head {
    pub(crate) session: SessionInfo,
    /// The image that was attached, as an ELF file without code and data.
    pub(crate) attached: Option<Vec<u8>>,
}

/// Reads a recording's sums and names them.
pub(crate) fn read(input: &Input, symbols: &options::Symbols) -> anyhow::Result<Named> {
    let config = Config::load()?;
    let head = head(input)?;
    let mut images = find_images(&head, symbols, &config)?;
    let sums = load::load(Source::open(input)?, head.session, &mut images)?;
    let figures = sums.figures;
    let profile = naming::name(&sums.stacks, &mut images, |id| figures.thread(id));
    Ok(Named { profile, figures })
}

/// Reads the head of a recording.
pub(crate) fn head(input: &Input) -> anyhow::Result<Head> {
    let mut source = Source::open(input)?;
    let mut head = Head::default();
    while let Some(item) = source.next()? {
        match item {
            Item::Session(session) => head.session = *session,
            Item::Attachment(file) if file.name.starts_with(attachment::FOLDER) => {
                head.attached = attachment::unpack(file.bytes);
            }
            Item::Attachment(_) | Item::Gap => {}
            Item::Message(_) => break,
        }
    }
    Ok(head)
}

/// The images that name the recording's addresses.
pub(crate) fn find_images(
    head: &Head,
    symbols: &options::Symbols,
    config: &Config,
) -> anyhow::Result<Images> {
    let guest =
        GuestImage { build_id: head.session.build_id.clone(), text_hash: head.session.text_identity.clone() };
    let dirs = symbols.dirs(config);
    let places = Places {
        kernel: symbols.kernel.as_deref(),
        extra: &symbols.image,
        dirs: &dirs,
        attached: head.attached.clone(),
        force: symbols.force,
    };
    Images::find(&guest, places)
}
