//! A guest's memory with names: a dump, or a guest that runs here, for the commands that look at memory.

use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};

use uniprof_collector::cpu::CpuState;
use uniprof_collector::dump::{self, Format, OpenOptions};
use uniprof_collector::live::LiveGuest;
use uniprof_collector::paging::{AddressSpace, PageTables, VirtualError};
use uniprof_collector::recording;
use uniprof_postmortem::{Evidence, LoadedImage, Program, Subject};
use uniprof_symbolizer::{IdentityError, Image, LoadBias, TextSamples, check_identity};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::options;
use crate::profile::finder::{self, Found, GuestImage, Looked, Places};
use crate::{bundled, interrupt, output, profile};

/// A guest whose memory can be looked at, with its images.
pub(crate) struct Opened {
    evidence: Evidence,
    program: Program,
    origin: Origin,
    looked: Vec<Looked>,
    /// It runs: it has to stand still to be looked at. With the registers that were given in place of its own.
    live: Option<(LiveGuest, Vec<CpuState>)>,
}

/// A guest that stands still.
pub(crate) struct Seen {
    pub(crate) subject: Subject,
    pub(crate) origin: Origin,
    /// Where images were looked for.
    pub(crate) looked: Vec<Looked>,
}

/// Where memory comes from.
pub(crate) enum Origin {
    /// A dump in a file.
    Dump { name: String, format: Format, vmcoreinfo: Option<String> },
    /// A guest that runs.
    Live { name: String },
}

impl Opened {
    /// Opens what `input` means, with its images.
    pub(crate) fn open(input: &Input, how: &options::Memory) -> anyhow::Result<Self> {
        match input {
            Input::Core(path) => Self::of_dump(path, how),
            Input::File(path) if how.dump.is_raw() => Self::of_dump(path, how),
            Input::Guest(name) => Self::of_guest(name, how),
            _ => Err(no_memory(input)),
        }
    }

    fn of_dump(path: &Path, how: &options::Memory) -> anyhow::Result<Self> {
        let dump = dump::open(path, &OpenOptions { raw: how.dump.is_raw(), cpus: how.dump.cpus() })?;
        let origin = Origin::Dump {
            name: path.display().to_string(),
            format: dump.format,
            vmcoreinfo: dump.vmcoreinfo.clone(),
        };
        let evidence = Evidence::of_dump(dump);
        let (program, looked) = program(&evidence, None, &how.symbols)?;
        Ok(Self { evidence, program, origin, looked, live: None })
    }

    /// Images are found while the guest runs on: that takes longer than looking does.
    fn of_guest(name: &str, how: &options::Memory) -> anyhow::Result<Self> {
        let live = profile::find_guest(name)?.open()?;
        // What is wrong with the control socket is told when the guest has to stand still.
        let given = how.dump.cpus();
        let cpus = if given.is_empty() { live.registers().unwrap_or_default() } else { given.clone() };
        let evidence = evidence_of(&live, cpus, None);
        let (program, looked) = program(&evidence, live.kernel(), &how.symbols)?;
        let origin = Origin::Live { name: live.name().to_owned() };
        Ok(Self { evidence, program, origin, looked, live: Some((live, given)) })
    }

    /// Sees the guest as it is, even while it runs: what is seen then is of slightly different moments.
    pub(crate) fn glance(self) -> Seen {
        let Self { evidence, program, origin, looked, .. } = self;
        Seen { subject: Subject::new(evidence, program), origin, looked }
    }

    /// Lets `look` see the guest while it stands still. What it cost a guest that runs is told.
    pub(crate) fn look<T>(
        self,
        look: impl FnOnce(&mut Seen) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Seen, T)> {
        let Self { mut evidence, program, origin, looked, live } = self;
        let Some((live, given)) = live else {
            let mut seen = Self { evidence, program, origin, looked, live: None }.glance();
            let result = look(&mut seen)?;
            return Ok((seen, result));
        };
        let cancel = interrupt::token()?;
        let paused = live.pause()?;
        let region_at = evidence.region.as_ref().ok().map(|region| region.found.at);
        let cpus = if given.is_empty() { live.registers()? } else { given };
        evidence = evidence_of(&live, cpus, region_at);
        let mut seen = Seen { subject: Subject::new(evidence, program), origin, looked };
        let was_running = paused.was_running();
        let result = std::thread::scope(|scope| {
            let (_working, alive) = mpsc::channel();
            let (live, cancel) = (&live, &cancel);
            scope.spawn(move || {
                if interrupt::comes(cancel, &alive) {
                    end_at_once(live, was_running);
                }
            });
            look(&mut seen)
        });
        let pause = paused.resume()?;
        if was_running {
            let name = live.name();
            output::say(format_args!("uniprof: {name} stood still for {:.1} ms", pause.as_secs_f64() * 1e3));
        }
        Ok((seen, result?))
    }
}

/// A guest must not stand still for ever because somebody lost patience with what looks at it.
fn end_at_once(live: &LiveGuest, was_running: bool) -> ! {
    if was_running && let Err(error) = live.go_on() {
        output::say(format_args!("uniprof: {} still stands still: {error}", live.name()));
    }
    std::process::exit(128 + signal_hook::consts::SIGINT)
}

/// What nothing but its size tells from other memory may be other memory.
pub(crate) const BY_SIZE: &str = "that this is the guest's RAM is concluded from the size of the mapping alone: it has no observation region, \
                                  and no kernel whose code is where its file says";

/// What a guest that runs shows at this moment.
fn evidence_of(live: &LiveGuest, cpus: Vec<CpuState>, region_at: Option<GuestPhysical>) -> Evidence {
    let mut evidence = Evidence::new(live.memory(), cpus, region_at);
    let mut facts = live.facts();
    evidence.remarks.append(&mut facts.lacks);
    if live.is_found_by_size_only() && evidence.region.is_err() {
        evidence.remarks.push(BY_SIZE.into());
    }
    evidence.facts = Some(facts);
    evidence
}

impl Seen {
    /// Tells on stderr what is missing in what was seen.
    pub(crate) fn tell_remarks(&self) {
        for remark in &self.subject.remarks {
            output::say(format_args!("uniprof: {remark}"));
        }
        if self.subject.program.images().is_empty() {
            output::say(format_args!(
                "uniprof: no image of the guest was found, so nothing has a name: name it with --kernel ELF"
            ));
        }
    }
}

/// Why there is no memory to look at, and what to do instead.
fn no_memory(input: &Input) -> anyhow::Error {
    let sentence = match input {
        Input::File(path) if fs::metadata(path).is_ok_and(|file| file.len() == 0) => {
            format!("{} is empty: no dump was written to it", path.display())
        }
        Input::File(path) if recording::open(path).is_err() => format!(
            "{0} is neither a dump of a kind that is known nor a recording; memory and nothing else is read with \
             `--raw`, from address 0 on",
            path.display()
        ),
        Input::File(path) => format!(
            "{0} is a recording: it holds what the guest's probes wrote, not its memory; use `uniprof report {0}`, \
             `trace`, `logs` or `flame` on it, or take a dump with `uniprof dump`",
            path.display()
        ),
        Input::Sample => "the sample is a recording and holds no memory; this needs a dump".into(),
        Input::Stdin => {
            "a dump is not read from standard input, since it is not read in order; name the file".into()
        }
        Input::Core(_) | Input::Guest(_) | Input::Recovered(_) => "there is no memory to look at".to_owned(),
    };
    Failure::error(Exit::Failed, sentence)
}

/// What the guest says of its images.
pub(crate) fn guest_image(evidence: &Evidence) -> GuestImage {
    let tables = evidence.region.as_ref().ok().map(|region| &region.tables);
    let facts = evidence.facts.as_ref();
    GuestImage {
        build_id: tables.and_then(|tables| tables.build_id()).or_else(|| facts?.build_id.clone()),
        text_hash: None,
        loaded: tables.map(|tables| tables.loaded_images()).unwrap_or_default(),
    }
}

/// The images of the guest whose memory this is.
///
/// `started_from` is the file that a running guest was started from; it counts where its code is what lies in memory.
fn program(
    evidence: &Evidence,
    started_from: Option<&Path>,
    symbols: &options::Symbols,
) -> anyhow::Result<(Program, Vec<Looked>)> {
    let config = Config::load()?;
    let guest = guest_image(evidence);
    let dirs = symbols.dirs(&config);
    let facts = evidence.facts.as_ref();
    let places = Places {
        kernel: symbols.kernel.as_deref(),
        kernel_name: facts.map_or("", |facts| &facts.kernel),
        extra: &symbols.image,
        dirs: &dirs,
        attached: None,
        guest_name: facts.map_or("", |facts| &facts.guest),
        force: symbols.force,
    };
    let (mut found, looked) = finder::find(&guest, places)?;
    let memory = Memory::of(evidence);
    if let Some(kernel) = found.first().filter(|_| !symbols.force && symbols.kernel.is_some()) {
        memory.require(kernel)?;
    }
    if found.is_empty() {
        found.extend(started_from.and_then(|path| memory.started_from(path)).or_else(|| memory.bundled()));
    }
    let images = found.into_iter().map(|found| LoadedImage {
        name: found.name,
        image: Arc::new(found.image),
        bias: found.bias,
    });
    Ok((Program::new(images.collect(), &symbols.cache.tables(&config)), looked))
}

/// The guest's memory as its code sees it, to compare images with.
struct Memory(AddressSpace);

impl Memory {
    fn of(evidence: &Evidence) -> Self {
        let tables = evidence.cpus.iter().find_map(PageTables::of);
        Self(AddressSpace::new(Arc::clone(&evidence.memory), tables))
    }

    fn read(&self, at: GuestVirtual, into: &mut [u8]) -> Result<(), VirtualError> {
        self.0.read(at, into)
    }

    /// Refuses an image whose text is not what lies in memory, with both identities.
    fn require(&self, kernel: &Found) -> anyhow::Result<()> {
        match check_identity(&kernel.image, kernel.bias, None, |at, into| self.read(at, into)) {
            Err(IdentityError::Mismatch(mismatch)) => Err(Failure::error(
                Exit::Image,
                format!(
                    "{}: {mismatch}; give the file that the guest was started from, or use --force",
                    kernel.name
                ),
            )),
            // Text that is not there may have been left out of the dump, or lie elsewhere: that is not different.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The bundled kernel, where its text lies in memory: a guest whose probes never ran does not say what it is.
    fn bundled(&self) -> Option<Found> {
        self.has(bundled::NAME.to_owned(), Image::parse(bundled::elf().ok()?).ok()?)
    }

    /// The file that the guest was started from, unless it has been built anew since.
    fn started_from(&self, path: &Path) -> Option<Found> {
        let (path, image) = finder::open(path).ok()?;
        self.has(path.file_name()?.to_string_lossy().into_owned(), image)
    }

    /// An image, where its text lies in memory.
    fn has(&self, name: String, image: Image) -> Option<Found> {
        let there =
            TextSamples::new(&image)?.compare(LoadBias::NONE, |at, into| self.read(GuestVirtual(at), into));
        there.is_sure().then_some(Found { name, image, bias: LoadBias::NONE })
    }
}
