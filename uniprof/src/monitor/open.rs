//! From a guest, a recording or a dump to somebody who looks at it.

use std::sync::Arc;

use uniprof_collector::guests::GuestEntry;
use uniprof_collector::memory::NoMemory;
use uniprof_collector::recording::SessionInfo;
use uniprof_postmortem::{Evidence, LoadedImage, Program};
use uniprof_tui::picture::{Can, Fate, Kind, Subject};

use super::engine::{Engine, INSIDE_LIMIT, Options, RATE, Source};
use super::inside::Inside;
use super::keep::Keep;
use super::model::Model;
use super::source::{self, Live, Replay};
use crate::command::record;
use crate::config::Config;
use crate::input::Input;
use crate::options;
use crate::profile::{self, Head};
use crate::subject::Opened;

impl Engine {
    /// Looks at what `input` means.
    pub(crate) fn open(input: &Input, options: &Options) -> anyhow::Result<Self> {
        match input {
            Input::Core(_) => Self::of_core(input, options),
            Input::Guest(name) => Self::of_guest(*profile::find_guest(name)?.entry()?, options),
            _ => Self::of_recording(&profile::recover(input)?, options),
        }
    }

    fn of_guest(entry: GuestEntry, options: &Options) -> anyhow::Result<Self> {
        let mut live = Live::attach(entry, &options.cancel)?;
        let session = live.attached.session_info(&live.entry);
        let head = Head { session, ..Head::default() };
        let images = profile::find_images(&head, &options.symbols, &Config::load()?)?;
        let symbols = symbols(&images);
        let mut model = Model::new(head.session, images);
        record::check(options.events.as_ref(), || Ok(model.events.sites.clone()), &model.session.guest)?;
        model.keep = Some(Keep::default());
        live.begin(&mut model)?;
        let wanted = source::Wanted {
            rate: options.rate.unwrap_or(RATE),
            events: options.events.clone().unwrap_or_default(),
        };
        let asked = live.ask(wanted);
        let notes = asked.as_ref().err().map(|why| format!("{why}: it goes on recording what it did"));
        let core = match live.attached.port {
            Some(_) => Err("no memory is shared with the host, so there is nothing to take a core of".into()),
            None => Ok(()),
        };
        let session = &model.session;
        let subject = Subject {
            name: session.guest.clone(),
            kind: Kind::Live,
            pid: Some(live.entry.pid),
            kernel: live.entry.kernel.display().to_string(),
            build_id: session.build_id.clone(),
            transport: transport(&live).into(),
            accelerator: session.accelerator.as_ref().map(|accelerator| accelerator.name.to_uppercase()),
            symbols,
            memory_bytes: Some(session.memory_bytes).filter(|bytes| *bytes > 0),
            can: Can { control: asked, core },
        };
        let sites = source::SiteStates::of(&live.entry, live.attached.region.header.sites);
        let memory = live.attached.port.is_none().then(|| of_memory(input_of(&live.entry), options));
        let engine = Self::new(model, Source::Live(Box::new(live)), subject, options);
        let inside = match memory {
            Some(open) => Some(Inside::start(open, true)?),
            None => engine.code_of_images()?,
        };
        Ok(Self { sites, inside, notes: notes.into_iter().collect(), ..engine })
    }

    fn of_recording(input: &Input, options: &Options) -> anyhow::Result<Self> {
        let head = profile::head(input)?;
        let images = profile::find_images(&head, &options.symbols, &Config::load()?)?;
        let symbols = symbols(&images);
        let session: SessionInfo = head.session;
        let is_over = || "it is a recording: what was recorded can't be changed any more".to_owned();
        let subject = Subject {
            name: session.guest.clone(),
            kind: Kind::Recording,
            pid: None,
            kernel: session.kernel.clone(),
            build_id: session.build_id.clone(),
            transport: "file".into(),
            accelerator: session.accelerator.as_ref().map(|accelerator| accelerator.name.to_uppercase()),
            symbols,
            memory_bytes: Some(session.memory_bytes).filter(|bytes| *bytes > 0),
            can: Can { control: Err(is_over()), core: Err("a recording holds no memory".into()) },
        };
        let replay = Replay::open(input)?;
        let engine =
            Self::new(Model::new(session, images), Source::Replay(Box::new(replay)), subject, options);
        let inside = engine.code_of_images()?;
        Ok(Self { inside, ..engine })
    }

    /// Looks at what a dump holds: its rings, its tables, its memory.
    fn of_core(input: &Input, options: &Options) -> anyhow::Result<Self> {
        let mut inside = Inside::start(of_memory(input.clone(), options), false)?;
        let recovered = profile::recover(input);
        let (head, missing) = match &recovered {
            Ok(recovered) => (profile::head(recovered)?, None),
            Err(why) => (Head::default(), Some(format!("{why:#}"))),
        };
        let images = profile::find_images(&head, &options.symbols, &Config::load()?)?;
        let symbols = symbols(&images);
        let session: SessionInfo = head.session;
        let is_over = || "it is a dump: nothing can be asked of a guest that is dead".to_owned();
        let subject = Subject {
            name: if session.guest.is_empty() { input.stem() } else { session.guest.clone() },
            kind: Kind::Core,
            pid: None,
            kernel: session.kernel.clone(),
            build_id: session.build_id.clone(),
            transport: "file".into(),
            accelerator: session.accelerator.as_ref().map(|accelerator| accelerator.name.to_uppercase()),
            symbols,
            memory_bytes: Some(session.memory_bytes).filter(|bytes| *bytes > 0),
            can: Can { control: Err(is_over()), core: Err("this is a core already".into()) },
        };
        let mut model = Model::new(session, images);
        if let Ok(recovered) = &recovered {
            let mut replay = Replay::open(recovered)?;
            replay.only_to_the_end();
            while !replay.is_at_end() {
                replay.step(&mut model)?;
            }
        }
        inside.wait(INSIDE_LIMIT);
        let fate = inside.seen.fate.clone().unwrap_or(Fate::Paused);
        let engine = Self::new(model, Source::Still, subject, options);
        Ok(Self { fate, notes: missing.into_iter().collect(), inside: Some(inside), ..engine })
    }

    /// Code of the images alone, where there is no memory to look at.
    fn code_of_images(&self) -> anyhow::Result<Option<Inside>> {
        let images: Vec<LoadedImage> = self
            .model
            .images
            .symbolizers()
            .map(|(name, symbolizer)| LoadedImage {
                name: name.to_owned(),
                image: Arc::clone(symbolizer.image()),
                bias: symbolizer.bias(),
            })
            .collect();
        let tables = self.symbols.cache.tables(&Config::load()?);
        let open = move || {
            let evidence = Evidence::new(Arc::new(NoMemory), Vec::new(), None);
            Ok(uniprof_postmortem::Subject::new(evidence, Program::new(images, &tables)))
        };
        Ok(Some(Inside::start(open, false)?))
    }
}

/// What opens a guest's memory, with its images.
fn of_memory(
    input: Input,
    options: &Options,
) -> impl FnOnce() -> anyhow::Result<uniprof_postmortem::Subject> + Send + 'static {
    let memory = options::Memory { symbols: options.symbols.clone(), ..options::Memory::default() };
    move || Ok(Opened::open(&input, &memory)?.glance().subject)
}

fn input_of(entry: &GuestEntry) -> Input {
    Input::Guest(format!("pid:{}", entry.pid))
}

/// How records come.
fn transport(live: &Live) -> &'static str {
    match (&live.attached.port, &live.entry.ram_in_process) {
        (Some(_), _) => "virtio-serial",
        (None, Some(_)) if live.entry.ram_file.is_none() => "process memory",
        _ => "shared memory",
    }
}

/// Which images name functions, or why none does.
fn symbols(images: &profile::images::Images) -> Result<String, String> {
    let names: Vec<&str> = images.symbolizers().map(|(name, _)| name).collect();
    if !names.is_empty() {
        return Ok(names.join(", "));
    }
    let looked = images
        .places()
        .iter()
        .filter_map(|looked| looked.result.as_ref().err().map(|why| format!("{}: {why}", looked.place)));
    let looked: Vec<String> = looked.collect();
    let places = if looked.is_empty() { String::new() } else { format!("; looked: {}", looked.join("; ")) };
    Err(format!("no image of the guest was found, name it with --kernel ELF{places}"))
}
