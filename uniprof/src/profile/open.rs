//! Opening what a command reads.

use std::fs::File;
use std::io::Cursor;
use std::sync::Arc;

use uniprof_collector::recording::{self, Damage, Item, Place, ReadError, Reader, SessionInfo};
use uniprof_postmortem::flight;
use uniprof_wire::site::SiteKind;

use super::finder::{GuestImage, Places};
use super::growing::Growing;
use super::images::Images;
use super::load::Times;
use super::{Aside, Figures, Named, View, folded, load, naming, not_running, recover};
use crate::attachment::Attached;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::sites::Sites;
use crate::{bundled, options};

/// A recording that is open, wherever its bytes are.
pub(crate) enum Source {
    File(Reader<File>),
    Memory(Reader<Cursor<&'static [u8]>>),
    Recovered(Reader<Cursor<Arc<[u8]>>>),
    Growing(Reader<Growing>),
}

impl Source {
    /// Opens what `input` means, and says so where that is a partial file.
    pub(crate) fn open(input: &Input) -> anyhow::Result<Self> {
        match input {
            Input::File(path) => Ok(Self::File(recording::open(path)?.reader)),
            Input::Stdin => Err(Failure::error(
                Exit::Failed,
                "standard input is read as folded stacks only, which this command has no use for; name a recording",
            )),
            Input::Sample => Ok(Self::Memory(Reader::new(Cursor::new(bundled::sample()))?)),
            Input::Recovered(recovered) => {
                Ok(Self::Recovered(Reader::new(Cursor::new(Arc::clone(&recovered.bytes)))?))
            }
            Input::Core(_) | Input::Guest(_) => Self::open(&recover::recover(input)?),
        }
    }

    /// The next item, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        match self {
            Self::File(reader) => reader.next(),
            Self::Memory(reader) => reader.next(),
            Self::Recovered(reader) => reader.next(),
            Self::Growing(reader) => reader.next(),
        }
    }

    /// The place of the next item.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::File(reader) => reader.place(),
            Self::Memory(reader) => reader.place(),
            Self::Recovered(reader) => reader.place(),
            Self::Growing(reader) => reader.place(),
        }
    }

    /// Goes on at a place where it has been before; `false`: it has to be opened anew for that.
    pub(crate) fn go_to(&mut self, place: &Place) -> Result<bool, ReadError> {
        match self {
            Self::File(reader) => reader.go_to(place)?,
            Self::Memory(reader) => reader.go_to(place)?,
            Self::Recovered(reader) => reader.go_to(place)?,
            Self::Growing(_) => return Ok(false),
        }
        Ok(true)
    }

    /// What could not be read.
    pub(crate) fn damage(&self) -> &[Damage] {
        match self {
            Self::File(reader) => reader.damage(),
            Self::Memory(reader) => reader.damage(),
            Self::Recovered(reader) => reader.damage(),
            Self::Growing(reader) => reader.damage(),
        }
    }
}

/// The head of a recording: everything before the first message.
#[derive(Default)]
pub(crate) struct Head {
    pub(crate) session: SessionInfo,
    /// The image that was attached, as an ELF file without code and data.
    pub(crate) attached: Attached,
}

impl Head {
    /// Whether it was made of a dump or of a running guest, and has no symbols of its own.
    pub(crate) fn is_recovered(&self) -> bool {
        self.session.extra.contains_key(flight::RECOVERED)
    }
}

/// Reads folded stacks, or a recording's sums, where `times` says so with the time of each sample, and names them.
pub(crate) fn read(input: &Input, symbols: &options::Symbols, times: Times) -> anyhow::Result<Named> {
    read_view(input, symbols, times, View::Cpu)
}

/// The same for any view. The time of a wait is that of its end, that of a block is when it was allocated.
pub(crate) fn read_view(
    input: &Input,
    symbols: &options::Symbols,
    times: Times,
    view: View,
) -> anyhow::Result<Named> {
    let config = Config::load()?;
    if let Some(named) = folded::read(input)? {
        if view == View::Cpu {
            return Ok(named);
        }
        let sentence =
            "folded stacks do not say what they measure; leave the option for what is not on the CPU out";
        return Err(Failure::error(Exit::Usage, sentence));
    }
    let head = head(input)?;
    let mut images = find_images(&head, symbols, &config)?;
    if view != View::Cpu {
        return not_running::read(Source::open(input)?, head.session, &mut images, view, times);
    }
    let sums = load::load(Source::open(input)?, head.session, &mut images, times)?;
    let profile = naming::name(&sums, &mut images);
    let sites = Sites::of(images.symbolizers().map(|(_, symbolizer)| &**symbolizer.image()));
    let mut figures = sums.figures;
    let missing = histograms_missing(&sites, &figures);
    figures.notes.extend(missing);
    Ok(Named { profile, figures, view, aside: Aside::default(), sites })
}

/// What to say where the guest has histograms that the recording lacks.
fn histograms_missing(sites: &Sites, figures: &Figures) -> Option<String> {
    let room = figures.histograms?;
    let wanted = sites.iter().filter(|site| site.kind == SiteKind::Histogram).count();
    if wanted > room as usize {
        return Some(format!(
            "the guest's region had room for {room} of its {wanted} histograms: the others recorded nothing"
        ));
    }
    (room > 0 && !figures.metrics.has_looked()).then(|| {
        format!("the guest's {room} histograms are not in the recording: it ended before they were read")
    })
}

/// Reads the head of a recording.
pub(crate) fn head(input: &Input) -> anyhow::Result<Head> {
    let mut source = Source::open(input)?;
    let mut head = Head::default();
    while let Some(item) = source.next()? {
        match item {
            Item::Session(session) => head.session = *session,
            Item::Attachment(file) => head.attached.take(&file.name, file.bytes),
            Item::Gap => {}
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
    let guest = GuestImage {
        build_id: head.session.build_id.clone(),
        text_hash: head.session.text_identity.clone(),
        loaded: head.session.images.clone(),
    };
    let dirs = symbols.dirs(config);
    let places = Places {
        kernel: symbols.kernel.as_deref(),
        kernel_name: &head.session.kernel,
        extra: &symbols.image,
        dirs: &dirs,
        attached: (!head.is_recovered()).then(|| head.attached.clone()),
        guest_name: &head.session.guest,
        force: symbols.force,
    };
    Images::find(&guest, places, &symbols.cache.tables(config))
}
