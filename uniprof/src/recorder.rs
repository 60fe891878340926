//! Recording a guest that runs: its own or another's, for `record` and for `demo`.

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::Receiver;
use uniprof_collector::attach::{Asked, AttachError, Attached, Observed, WaitOptions, wait_for_region};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::console::{Line, Sinks};
use uniprof_collector::control::ControlError;
use uniprof_collector::guests::{GuestEntry, Registry};
use uniprof_collector::qemu::{Guest, LaunchOptions, LaunchSpec, launch};
use uniprof_collector::recording::{RecordingFile, SessionInfo};
use uniprof_collector::session::{RecordOptions, Summary, record_session};
use uniprof_wire::tables::ControlRequest;
use uniprof_wire::text::FixedText;

use crate::progress::Progress;
use crate::selection::Selection;
use crate::values::{Budget, CallGraph};
use crate::{attachment, guest, identity, options, output};

/// Console lines that may wait to be written.
const CONSOLE: usize = 4096;

/// What is to be recorded, and how.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) output: PathBuf,
    /// The rate that was asked for.
    pub(crate) hz: Option<u32>,
    /// The classes of records and the event sites that were asked for.
    pub(crate) events: Option<Selection>,
    /// Bytes of each packet, where that was said.
    pub(crate) packet_bytes: Option<u32>,
    /// What the probes may cost.
    pub(crate) budget: Option<Budget>,
    /// How stacks shall be found, where that was said.
    pub(crate) call_graph: Option<CallGraph>,
    pub(crate) duration: Option<Duration>,
    pub(crate) boot_limit: Duration,
    pub(crate) symbols: &'a options::Symbols,
    pub(crate) cancel: Cancel,
}

impl Job<'_> {
    /// Starts a guest, records it, and ends it.
    pub(crate) fn record_new(&self, mut spec: LaunchSpec) -> anyhow::Result<Summary> {
        spec.cmdline.extend(self.hz.map(|hz| format!("uniprof.hz={hz}")));
        if let Some(events) = &self.events {
            spec.cmdline.push(format!("uniprof.classes={}", events.class_words()));
            let patterns = Some(&events.patterns).filter(|patterns| !patterns.is_empty());
            spec.cmdline.extend(patterns.map(|patterns| format!("uniprof.events={patterns}")));
        }
        let bytes = self.call_graph.map(CallGraph::snapshot_bytes).filter(|bytes| *bytes > 0);
        spec.cmdline.extend(bytes.map(|bytes| format!("uniprof.stack={bytes}")));
        let (lines, console) = crossbeam_channel::bounded(CONSOLE);
        let sinks = Sinks { lines: Some(lines), copy: None };
        let launching = LaunchOptions { console: sinks, cancel: self.cancel.clone() };
        let mut running = launch(&Registry::open()?, &spec, launching).map_err(guest::launch_failure)?;
        let accelerator = running.accelerator();
        output::say(format_args!(
            "uniprof: {} runs on {} ({})",
            spec.name, accelerator.name, accelerator.reason
        ));
        let attached = match self.wait(&Observed::Own(&mut running)) {
            Ok(attached) => attached,
            Err(error) => return Err(Self::no_region(running, error)),
        };
        let session = SessionInfo { cmdline: spec.cmdline.clone(), ..attached.session_info(running.entry()) };
        let summary = self.record(&mut Observed::Own(&mut running), &attached, session, Some(console))?;
        let dropped = running.console().dropped();
        if dropped > 0 {
            output::say(format_args!("uniprof: {dropped} lines of the console came too fast to be recorded"));
        }
        let told_to_quit = guest::was_told_to_quit(&mut running);
        let last = running.console().last_lines();
        running.shutdown();
        if let Some(exit) = summary.exit.filter(|_| !told_to_quit)
            && let Err(end) = guest::judge(&spec.name, exit, &last)
        {
            // What led to a crash has been recorded: that is what recordings are for.
            output::say(format_args!("uniprof: {end}"));
        }
        Ok(summary)
    }

    /// Records a guest that somebody else has started; it goes on.
    pub(crate) fn record_running(&self, entry: &GuestEntry) -> anyhow::Result<Summary> {
        let mut observed = Observed::Other(entry);
        let attached = self.wait(&observed)?;
        let session = attached.session_info(entry);
        self.record(&mut observed, &attached, session, None)
    }

    fn wait(&self, observed: &Observed<'_>) -> Result<Attached, AttachError> {
        let options = WaitOptions { limit: self.boot_limit, hint: None, cancel: self.cancel.clone() };
        wait_for_region(observed, &options)
    }

    /// A guest that did not understand its command line ends before it shows a region.
    fn no_region(running: Guest, error: AttachError) -> anyhow::Error {
        let AttachError::Ended { exit: Some(exit), .. } = error else { return error.into() };
        let name = running.entry().name.clone();
        let last = running.console().last_lines();
        running.shutdown();
        guest::judge(&name, exit, &last).err().unwrap_or_else(|| error.into())
    }

    fn record(
        &self,
        observed: &mut Observed<'_>,
        attached: &Attached,
        mut session: SessionInfo,
        console: Option<Receiver<Line>>,
    ) -> anyhow::Result<Summary> {
        let own = matches!(observed, Observed::Own(_));
        let _request = self.ask(observed.entry(), attached);
        session.tool = concat!("uniprof ", env!("CARGO_PKG_VERSION")).into();
        session.requested_hz = self.hz;
        if attached.port.is_some() {
            output::say(format_args!("uniprof: no memory is shared: records come over virtio-serial"));
        }
        let symbols = identity::attach_image(&mut session, observed, attached, self.symbols)?;
        let mut file = RecordingFile::create(&self.output, &session)?;
        for (name, packed) in symbols {
            file.attach(&name, attachment::MEDIA_TYPE, &packed, session.started_ns)?;
        }
        let options = RecordOptions {
            from_boot: own,
            duration: self.duration,
            cancel: self.cancel.clone(),
            console,
            pause_at_end: own,
        };
        let mut progress = Progress::new();
        let summary = record_session(observed, attached, file, options, |now| progress.draw(now));
        progress.clear();
        let summary = summary?;
        for remark in &summary.remarks {
            output::say(format_args!("uniprof: {remark}"));
        }
        self.tell_short_snapshots(&summary);
        Ok(summary)
    }

    /// Says so where samples came with less of the stack than was asked for.
    fn tell_short_snapshots(&self, summary: &Summary) {
        let asked = self.call_graph.map_or(0, CallGraph::snapshot_bytes);
        let Some(tables) = summary.ledger.tables().filter(|_| asked > 0) else { return };
        let ticked = tables.vcpus.iter().filter(|vcpu| vcpu.ticks > 0);
        match ticked.map(|vcpu| vcpu.snapshot_bytes).max() {
            Some(0) => output::say(format_args!(
                "uniprof: the guest found stacks by frame pointers: its kernel hands over too few registers for \
                 --call-graph dwarf (it calls `tick`, not `tick_with_registers`)"
            )),
            Some(granted) if granted < asked => output::say(format_args!(
                "uniprof: samples took along {granted} bytes of stack, not {asked}: more do not fit its rings; try a \
                 larger --ring"
            )),
            _ => {}
        }
    }

    /// Asks the guest for the rate, the classes, event sites, the budget and snapshots of the stack, for as long as what is returned lives. (A guest that is started
    /// here has also been told on its command line, so that it is right from the first tick; a kernel that knows no
    /// such word gets it from here.)
    fn ask(&self, entry: &GuestEntry, attached: &Attached) -> Option<Asked> {
        let wanted = ControlRequest {
            rate: self.hz.unwrap_or(0),
            classes: self.events.as_ref().map_or(0, |events| events.classes),
            patterns: FixedText::new(self.events.as_ref().map_or(&[], |events| events.patterns.as_bytes())),
            budget_ppm: self.budget.map_or(0, |budget| budget.0),
            snapshot_bytes: self.call_graph.map_or(0, CallGraph::snapshot_bytes),
            packet_bytes: self.packet_bytes.unwrap_or(0),
            ..ControlRequest::default()
        };
        if wanted == ControlRequest::default() {
            if attached.is_read_only(entry) {
                let why = ControlError::ReadOnly { name: entry.name.clone() };
                output::say(format_args!("uniprof: {why}"));
            }
            return None;
        }
        match attached.ask(entry, wanted) {
            Ok(request) => Some(request),
            Err(error) => {
                output::say(format_args!("uniprof: {error}; it goes on at its own rate"));
                None
            }
        }
    }
}
