//! Which guest is meant: by a name, a process, a file or a container.

use std::path::Path;
use std::sync::Arc;

use uniprof_collector::discover::{self, Found, Reach, same_file};
use uniprof_collector::guests::{GuestEntry, GuestsError, Registry};
use uniprof_collector::live::{LiveError, LiveGuest};
use uniprof_collector::memory::GuestMemory;
use uniprof_collector::vmm::{Vmm, VmmError};

use crate::exit::{Exit, Failure};
use crate::guest::target_failure;

/// A guest that runs here.
pub(crate) enum Target {
    /// One that `uniprof` has started.
    Ours(Box<GuestEntry>),
    /// The process of a QEMU that something else has started.
    Process(u32),
}

impl Target {
    /// What `word` names: see [`Form`]. A word without a form is the name of a guest of ours, of any guest, a pid, a path, or a
    /// container's id, whichever is found first. An empty word is the only guest of
    /// ours, or else the only one that runs here.
    pub(crate) fn find(word: &str) -> anyhow::Result<Self> {
        if word.is_empty() {
            return Self::only();
        }
        let form = Form::parse(word)?;
        let here = Candidate::all()?;
        let matching: Vec<&Candidate> = match &form {
            Form::Any(word) => of_any(&here, word),
            form => here.iter().filter(|one| one.is_meant(form)).collect(),
        };
        match (&matching[..], &form) {
            ([one], _) => Ok(one.target()),
            // What runs there says why it can't be looked into.
            ([], Form::Pid(pid)) => Ok(Self::Process(*pid)),
            ([], Form::Any(word)) if word.parse::<u32>().is_ok() => {
                Ok(Self::Process(word.parse().unwrap_or_default()))
            }
            ([], form) => Err(absent(word, form, &here)),
            (several, _) => Err(ambiguous(several)),
        }
    }

    /// The only guest of ours; where there is none, the only guest that runs here.
    fn only() -> anyhow::Result<Self> {
        let here = Candidate::all()?;
        let ours: Vec<&Candidate> = here.iter().filter(|one| one.ours.is_some()).collect();
        let all: Vec<&Candidate> = here.iter().collect();
        match (&ours[..], &all[..]) {
            ([one], _) | ([], [one]) => Ok(one.target()),
            (_, []) => Err(Failure::error(
                Exit::Target,
                "no guest runs here: start one with `uniprof run bundled --name web`",
            )),
            (_, several) => Err(ambiguous(several)),
        }
    }

    /// The word that names the only guest, for commands that are told none.
    pub(crate) fn only_word() -> anyhow::Result<String> {
        Ok(match Self::only()? {
            Self::Ours(entry) => entry.name,
            Self::Process(pid) => format!("pid:{pid}"),
        })
    }

    /// Opens all of it.
    pub(crate) fn open(&self) -> anyhow::Result<LiveGuest> {
        match self {
            Self::Ours(entry) => Ok(LiveGuest::open(entry)?),
            Self::Process(pid) => LiveGuest::of_process(*pid).map_err(|error| match error {
                LiveError::Vmm(error) => process_failure(error),
                error => error.into(),
            }),
        }
    }

    /// What is known of it to those that did not start it: to observe it, record it, ask it for things. Of a process its RAM is looked for.
    pub(crate) fn entry(&self) -> anyhow::Result<Box<GuestEntry>> {
        match self {
            Self::Ours(entry) => Ok(entry.clone()),
            Self::Process(pid) => {
                let entry = Vmm::look_at(*pid).and_then(|vmm| vmm.entry());
                entry.map(Box::new).map_err(process_failure)
            }
        }
    }

    /// What can be done with it.
    pub(crate) fn reach(&self) -> anyhow::Result<Reach> {
        match self {
            Self::Ours(entry) => Ok(Reach::of(entry, Vmm::look_at(entry.pid).ok().as_ref())),
            Self::Process(pid) => {
                Vmm::look_at(*pid).map(|vmm| Reach::of_process(&vmm)).map_err(process_failure)
            }
        }
    }

    /// The memory that has its region.
    pub(crate) fn region_memory(&self) -> anyhow::Result<Arc<dyn GuestMemory>> {
        Ok(Arc::from(self.entry()?.open_memory()?))
    }
}

/// A process whose guest can't be looked into, with the exit code for it.
fn process_failure(error: VmmError) -> anyhow::Error {
    match &error {
        VmmError::Absent { .. } | VmmError::NotQemu { .. } => Failure::error(Exit::Target, error.to_string()),
        _ => error.into(),
    }
}

/// How a guest is named.
#[derive(Debug, PartialEq, Eq)]
enum Form<'a> {
    /// Without a form.
    Any(&'a str),
    /// `name:NAME`.
    Name(&'a str),
    /// `pid:N`: a process.
    Pid(u32),
    /// `container:ID`, or the beginning of one.
    Container(&'a str),
    /// `qmp:SOCKET`: the QEMU that listens there.
    Qmp(&'a str),
    /// `gdb:PORT`, `gdb:HOST:PORT` or `gdb:SOCKET`: likewise, for a debugger.
    Gdb(&'a str),
    /// `shm:FILE`: the QEMU whose guest has its memory in it.
    Shm(&'a str),
}

/// Whether a word says itself that it is a guest that runs, whatever files there are.
pub(crate) fn is_explicit(word: &str) -> bool {
    !matches!(Form::parse(word), Ok(Form::Any(_)))
}

impl<'a> Form<'a> {
    fn parse(word: &'a str) -> anyhow::Result<Self> {
        let Some((form, rest)) = word.split_once(':') else { return Ok(Self::Any(word)) };
        let named = match form {
            "name" => Self::Name(rest),
            "pid" => match rest.parse() {
                Ok(pid) => Self::Pid(pid),
                Err(_) => {
                    return Err(Failure::error(
                        Exit::Usage,
                        format!("{word}: a process has a number; `uniprof ls` shows it"),
                    ));
                }
            },
            "container" => Self::Container(rest),
            "qmp" => Self::Qmp(rest),
            "gdb" => Self::Gdb(rest),
            "shm" => Self::Shm(rest),
            _ => return Ok(Self::Any(word)),
        };
        if rest.is_empty() {
            return Err(Failure::error(Exit::Usage, format!("{word}: what follows the colon is missing")));
        }
        Ok(named)
    }
}

/// A guest that runs here, and may be meant.
pub(crate) struct Candidate {
    /// What the registry knows of it, if `uniprof` has started it.
    pub(crate) ours: Option<GuestEntry>,
    /// Its monitor's process. One of ours may have none yet, or no longer.
    pub(crate) found: Option<Found>,
}

impl Candidate {
    /// Guests that can be looked into.
    fn all() -> anyhow::Result<Vec<Self>> {
        let all = Self::all_of(Registry::open()?.list()?, discover::found());
        Ok(all.into_iter().filter(|one| one.ours.is_some() || one.vmm().is_some()).collect())
    }

    /// Those of the registry, and monitors that something else has started.
    pub(crate) fn all_of(entries: Vec<GuestEntry>, found: Vec<Found>) -> Vec<Self> {
        let mut found = found;
        let mut all: Vec<Self> = entries
            .into_iter()
            .map(|entry| {
                let place = found.iter().position(|found| found.pid == entry.pid);
                Self { found: place.map(|place| found.remove(place)), ours: Some(entry) }
            })
            .collect();
        all.extend(found.into_iter().map(|found| Self { ours: None, found: Some(found) }));
        all
    }

    fn vmm(&self) -> Option<&Vmm> {
        self.found.as_ref()?.vmm.as_ref()
    }

    pub(crate) fn name(&self) -> &str {
        let found = self.found.as_ref().map(|found| found.name.as_str());
        self.ours.as_ref().map(|entry| entry.name.as_str()).or(found).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        let found = self.found.as_ref().map(|found| found.pid);
        self.ours.as_ref().map(|entry| entry.pid).or(found).unwrap_or_default()
    }

    fn target(&self) -> Target {
        match &self.ours {
            Some(entry) => Target::Ours(Box::new(entry.clone())),
            None => Target::Process(self.pid()),
        }
    }

    fn is_meant(&self, form: &Form<'_>) -> bool {
        let vmm = self.vmm();
        match *form {
            Form::Any(word) => self.name() == word,
            Form::Name(name) => self.name() == name,
            Form::Pid(pid) => pid != 0 && self.pid() == pid,
            Form::Container(id) => self.is_in(id),
            Form::Qmp(socket) => {
                let ours = self.ours.iter().map(|entry| entry.qmp.clone());
                let mut sockets = ours.chain(vmm.into_iter().flat_map(Vmm::monitors));
                sockets.any(|path| same_file(&path, Path::new(socket)))
            }
            Form::Gdb(place) => vmm.and_then(Vmm::debugger).is_some_and(|device| listens_at(device, place)),
            Form::Shm(file) => {
                let files = self.ours.iter().flat_map(|entry| {
                    std::iter::once(entry.memory_file.clone()).chain(entry.ram_file.clone())
                });
                let mut files = files.chain(vmm.into_iter().flat_map(Vmm::memory_files));
                files.any(|path| same_file(&path, Path::new(file)))
            }
        }
    }

    /// Whether its monitor runs in the container of that id.
    pub(crate) fn is_in(&self, id: &str) -> bool {
        let container = self.found.as_ref().and_then(|found| found.container.as_ref());
        container.is_some_and(|container| container.is_called(id))
    }

    /// Whether a path leads to it: to its socket, its memory or its kernel.
    fn is_at(&self, path: &str) -> bool {
        let kernel = self.found.as_ref().and_then(|found| found.kernel.as_deref());
        self.is_meant(&Form::Qmp(path))
            || self.is_meant(&Form::Shm(path))
            || kernel.is_some_and(|kernel| same_file(kernel, Path::new(path)))
    }
}

/// Digits of a container's id that tell it from a name.
const ID_DIGITS: usize = 12;

/// What a word without a form means.
fn of_any<'a>(here: &'a [Candidate], word: &str) -> Vec<&'a Candidate> {
    let ours = |one: &&Candidate| one.ours.is_some() && one.name() == word;
    let pid: Option<u32> = word.parse().ok();
    let is_id = word.len() >= ID_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ways: [&dyn Fn(&&Candidate) -> bool; 5] = [
        &ours,
        &|one| one.name() == word,
        &|one| pid.is_some_and(|pid| one.is_meant(&Form::Pid(pid))),
        &|one| one.is_at(word),
        &|one| is_id && one.is_in(word),
    ];
    let found = ways.iter().map(|way| here.iter().filter(way).collect::<Vec<_>>());
    found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

/// Whether QEMU's word for a device (`tcp::1234`, `unix:/run/gdb,server=on`) is the place that was named.
fn listens_at(device: &str, place: &str) -> bool {
    let device = device.split(',').next().unwrap_or_default();
    if let Some(path) = device.strip_prefix("unix:") {
        return same_file(Path::new(path), Path::new(place.strip_prefix("unix:").unwrap_or(place)));
    }
    let port = |place: &str| place.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    port(device).is_some_and(|number| port(place) == Some(number))
}

fn absent(word: &str, form: &Form<'_>, here: &[Candidate]) -> anyhow::Error {
    let known = here.iter().map(|one| one.name().to_owned()).collect();
    if let Form::Shm(file) = form
        && Path::new(file).is_file()
    {
        let why = format!(
            "no guest that runs here has its memory in {file}; what is left of one that has ended is read as a dump: `uniprof core {file}`"
        );
        return Failure::error(Exit::Target, why);
    }
    target_failure(GuestsError::Absent { target: word.into(), known })
}

fn ambiguous(several: &[&Candidate]) -> anyhow::Error {
    let known = several.iter().map(|one| format!("{} (pid:{})", one.name(), one.pid())).collect();
    target_failure(GuestsError::Ambiguous { known })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[test]
    fn forms_are_told_from_names() {
        for (word, form) in [
            ("web", Form::Any("web")),
            ("4711", Form::Any("4711")),
            ("/run/a:b", Form::Any("/run/a:b")),
            ("other:web", Form::Any("other:web")),
            ("name:4711", Form::Name("4711")),
            ("pid:4711", Form::Pid(4711)),
            ("container:3f1c", Form::Container("3f1c")),
            ("qmp:/run/vm.qmp", Form::Qmp("/run/vm.qmp")),
            ("gdb:localhost:1234", Form::Gdb("localhost:1234")),
            ("shm:/dev/shm/web", Form::Shm("/dev/shm/web")),
        ] {
            assert_eq!(Form::parse(word).unwrap(), form, "{word}");
            assert_eq!(is_explicit(word), !matches!(form, Form::Any(_)), "{word}");
        }
        for word in ["pid:", "pid:x", "pid:-1", "name:", "qmp:"] {
            assert_eq!(exit::code(&Form::parse(word).unwrap_err()), Exit::Usage, "{word}");
        }
    }

    #[test]
    fn debuggers_are_found_by_port_or_socket() {
        for (device, place, is_there) in [
            ("tcp::1234", "1234", true),
            ("tcp::1234", ":1234", true),
            ("tcp:127.0.0.1:1234,server=on", "localhost:1234", true),
            ("tcp::1234", "12345", false),
            ("unix:Cargo.toml,server=on", "Cargo.toml", true),
            ("unix:Cargo.toml,server=on", "unix:build.rs", false),
            ("stdio", "1234", false),
        ] {
            assert_eq!(listens_at(device, place), is_there, "{device} {place}");
        }
    }
}
