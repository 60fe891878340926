//! A guest that is made up, in a real terminal: what whoever watches a guest has to do, in its simplest form.
//!
//! ```text
//! $ cargo run -p uniprof-tui --example made_up            # q ends it
//! $ cargo run -p uniprof-tui --example made_up -- panic   # whoever watches panics after a second
//! ```

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use uniprof_flamegraph::{Amount, Frame, Owner, Profile, ProfileBuilder};
use uniprof_tui::picture::{Can, Fate, Kind, Overview, Picture, Shorter, Span, Subject, Time, VcpuNow};
use uniprof_tui::{Answer, Options, Request, TuiError};

fn main() -> Result<(), TuiError> {
    let panics = std::env::args().any(|word| word == "panic");
    let (tell, answers) = crossbeam_channel::unbounded();
    let (requests, asked) = crossbeam_channel::unbounded();
    let watcher = thread::spawn(move || {
        let began = Instant::now();
        for number in 1.. {
            let at = began.elapsed().as_secs_f64();
            assert!(!panics || at < 1.0, "whoever watches has panicked");
            if tell.send(Answer::Picture(Arc::new(picture(number, at)))).is_err() {
                return;
            }
            match asked.recv_timeout(Duration::from_millis(250)) {
                Ok(Request::Quit) => return,
                Ok(request) => {
                    let text = format!("{request:?}: a guest that is made up does nothing");
                    drop(tell.send(Answer::Said { done: false, text }));
                }
                Err(_) => {}
            }
        }
    });
    let outcome = uniprof_tui::run(answers, requests, Options::from_environment())?;
    let watched = watcher.join().is_ok();
    println!("ended: {outcome:?}; watched to the end: {watched}");
    Ok(())
}

fn picture(number: u64, at: f64) -> Picture {
    let why = || "a guest that is made up has none".to_owned();
    let busy = (at.sin() + 1.0) / 2.0;
    let subject = Subject {
        name: "made-up".into(),
        kind: Kind::Live,
        pid: None,
        kernel: "none".into(),
        build_id: None,
        transport: "nothing".into(),
        accelerator: None,
        symbols: Ok("made up".into()),
        memory_bytes: None,
        can: Can { control: Err(why()), core: Err(why()) },
    };
    let vcpu = VcpuNow { id: 0, busy, irq: None, idle: 1.0 - busy, interrupts: None, thread: None };
    Picture {
        number,
        time: Time { at, wall_ns: None, range: (0.0, at), runs: true, speed: 1.0 },
        span: Span::All,
        subject: Arc::new(subject),
        fate: Fate::Runs,
        culprit: None,
        overview: Overview { vcpus: vec![vcpu], ..Overview::default() },
        cpu: Ok(Arc::new(profile(number))),
        shorter: Shorter::default(),
        off_cpu: Err(why()),
        locks: Err(why()),
        heap: Err(why()),
        threads: Err(why()),
        events: Err(why()),
        lock_rows: Err(why()),
        memory: Err(why()),
        switches: Arc::new([]),
        rate: Some(99),
        notes: Arc::new([]),
    }
}

fn profile(number: u64) -> Profile {
    let mut builder = ProfileBuilder::new();
    let frames: Vec<_> = ["main", "made::up", "made::of::nothing"]
        .into_iter()
        .map(|name| builder.frame(Frame::function(name)))
        .collect();
    builder.add(frames.iter().copied(), Owner { thread: 1, vcpu: 0 }, Amount { samples: number, weight: 0 });
    builder.add(frames[..2].iter().copied(), Owner { thread: 1, vcpu: 0 }, Amount { samples: 7, weight: 0 });
    builder.finish()
}
