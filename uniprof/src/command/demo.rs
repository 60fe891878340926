//! `uniprof demo`: the whole way once. Boots the bundled unikernel as an HTTP server, has clients ask it, records it, draws it, and says
//! what to try next.
//!
//! ```text
//! $ uniprof demo
//! uniprof: demo runs on tcg (this CPU offers neither vmx nor svm, though /dev/kvm exists)
//! its HTTP server answered 13535 requests on 16 connections meanwhile: half within 1.02 ms, 99 % within 6.55 ms, as the clients saw it
//! wrote uniprof-demo/demo.uniprof: 2782 samples in 4.0 s, nothing lost, 7.0 MB
//! wrote uniprof-demo/flame.svg: 2782 samples, 100.0 % of them fully named; open it in a browser
//!     SELF     TOTAL  FUNCTION
//!  16.50 %   16.50 %  uniprof_sample_kernel::sched::bell::Bell::wait_until
//!   4.67 %    4.67 %  core::sync::atomic::atomic_load
//!   3.81 %    6.76 %  uniprof_sample_kernel::virtio::network::Network::flush
//! …
//! ```

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use uniprof_collector::qemu::{LaunchSpec, Network, Publish};
use uniprof_flamegraph::{Measure, SvgOptions};
use uniprof_load::{RouteTally, Tally};

use super::{flame, record};
use crate::bundled;
use crate::input::Input;
use crate::kernel::Kernel;
use crate::profile::{self, Named, Times};
use crate::recorder::Job;
use crate::values::Span;
use crate::visitors::Visitors;
use crate::{interrupt, options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof demo
  uniprof demo -d 10 -o /tmp/demo";

/// Fast enough for a picture with detail after seconds, and no step with what happens every millisecond.
const HZ: u32 = 997;
const VCPUS: u32 = 2;
const SERVER: u16 = 80;
const TOP: usize = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// For how long to record
    #[arg(short, long, value_name = "TIME", default_value = "4")]
    duration: Span,
    /// Where demo.uniprof and flame.svg go
    #[arg(short, long, value_name = "DIR", default_value = "uniprof-demo")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let kernel = Kernel::open(bundled::NAME)?;
    let new_dir = !args.output.exists();
    fs::create_dir_all(&args.output).with_context(|| format!("cannot create {}", args.output.display()))?;
    let result = record_and_draw(args, &kernel);
    if result.is_err() && new_dir {
        // Only when there is nothing in it: a recording that was made is kept.
        let _ = fs::remove_dir(&args.output);
    }
    result
}

fn record_and_draw(args: &Args, kernel: &Kernel) -> anyhow::Result<()> {
    let [recording, picture] = ["demo.uniprof", "flame.svg"].map(|name| args.output.join(name));
    let symbols = options::Symbols::default();
    let job = Job {
        output: recording.clone(),
        hz: Some(HZ),
        events: None,
        budget: None,
        call_graph: None,
        packet_bytes: None,
        duration: Some(args.duration.0),
        boot_limit: options::BOOT_LIMIT.0,
        symbols: &symbols,
        cancel: interrupt::token()?,
    };
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let port = Publish { host: any, guest: SERVER }.with_port().context("no port of 127.0.0.1 is free")?;
    let spec = LaunchSpec {
        cmdline: vec!["workload=http".into()],
        vcpus: VCPUS,
        network: Network::User(vec![port]),
        ..LaunchSpec::new("demo", kernel.path())
    };
    let visitors = Visitors::of(port.host.into())?;
    let summary = job.record_new(spec)?;
    output::say(format_args!("{}", told(&visitors.leave()?)));
    output::say(format_args!("wrote {}: {}", recording.display(), record::outcome(&summary)));
    let named = profile::read(&Input::File(recording.clone()), &symbols, Times::Summed)?;
    flame::draw(&named, &named.profile, &picture, &SvgOptions::default())?;
    output::say(format_args!("{}", flame::summary(&named.profile, &picture)));
    print(&named, &recording, &picture)
}

/// What the clients saw.
fn told(tally: &Tally) -> String {
    let mut latency = RouteTally::default().latency;
    for route in tally.routes.values() {
        // All have the same bounds.
        let _ = latency.add(&route.latency);
    }
    let [half, most] = [0.5, 0.99].map(|share| latency.value_at_quantile(share));
    format!(
        "its HTTP server answered {} requests on {} connections meanwhile: half within {}, 99 % within {}, as the clients saw it",
        tally.answered(),
        tally.connections.len(),
        output::duration(half),
        output::duration(most)
    )
}

fn print(named: &Named, recording: &Path, picture: &Path) -> anyhow::Result<()> {
    let samples = named.profile.total().samples.max(1) as f64;
    let percent = |part: u64| format!("{:>6.2} %", part as f64 * 100.0 / samples);
    let mut rows = vec![["    SELF", "   TOTAL", "FUNCTION"].map(str::to_owned)];
    rows.extend(
        named
            .profile
            .functions(Measure::Samples)
            .into_iter()
            .take(TOP)
            .map(|function| [percent(function.own.samples), percent(function.total.samples), function.name]),
    );
    let mut out = output::stdout();
    output::table(&mut out, &rows)?;
    let (recording, picture) = (recording.display(), picture.display());
    let rows = [
        [format!("open {picture} in a browser"), "click a frame to zoom, Ctrl-F to search".to_owned()],
        [format!("uniprof report {recording} --tree"), "the same as text, with loss and own cost".into()],
        [format!("uniprof trace {recording} --summary"), "its requests as spans, with latencies".into()],
        [
            "uniprof run bundled --publish 8080:80 -- workload=http".into(),
            "the server to play with; `uniprof attach` in another terminal".into(),
        ],
        ["uniprof record -- KERNEL".into(), "your own kernel, with the probes linked in".into()],
    ];
    writeln!(out, "\nTry next:")?;
    output::table(&mut out, &rows.map(|[command, what]| [format!("  {command}"), what]))?;
    Ok(out.flush()?)
}
