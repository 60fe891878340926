//! What the kernel's hooks tell, record by record, against what each workload knows of itself.

use std::collections::HashMap;

use uniprof_tests::Scene;
use uniprof_tests::records::{Functions, read_records, site_section};
use uniprof_wire::record::{Class, LockKind, Record, SwitchReason};
use uniprof_wire::site::sites;

/// A finished recording of a workload, with every class.
fn record(scene: &Scene, words: &[&str]) -> String {
    record_over(scene, "shm", words)
}

fn record_over(scene: &Scene, transport: &str, words: &[&str]) -> String {
    let line =
        ["record", "-e", "all", "-F", "99", "--vcpus", "2", "-o", "r.uniprof", "--transport", transport];
    scene.run(&[&line[..], &["--", "bundled"], words].concat()).ok();
    scene.run(&["logs", "r.uniprof", "--from", "console"]).ok().stdout
}

/// What the lines of a workload say: those that have `key=name`, their number called `value`.
fn told(logs: &str, key: &str, name: &str, value: &str) -> u64 {
    let field = |line: &str, key: &str| {
        line.split_ascii_whitespace()
            .find_map(|word| Some(word.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
    };
    let line = logs.lines().find(|line| field(line, key).as_deref() == Some(name));
    let number = line.and_then(|line| field(line, value)?.parse().ok());
    number.unwrap_or_else(|| panic!("no {value} of {key}={name}: {logs}"))
}

#[track_caller]
fn assert_near(what: &str, found: u64, known: u64, percent: u64) {
    println!("{what}: {found} of {known}, {:.2} %", found as f64 / known as f64 * 100.0);
    assert!(known > 0 && found.abs_diff(known) * 100 <= known * percent, "{what}: {found} of {known}");
}

const CALLS: [&str; 5] = ["fs.open", "fs.write", "fs.seek", "fs.read", "fs.close"];

/// One call as text, so that a mistake shows.
struct Call {
    tsc: u64,
    thread: u32,
    text: String,
}

#[test]
fn ten_thousand_calls_arrive_with_their_values_or_are_counted_as_lost() {
    calls_over("shm");
}

#[test]
fn ten_thousand_calls_arrive_over_a_serial_port_or_are_counted_as_lost() {
    calls_over("virtio-serial");
}

fn calls_over(transport: &str) {
    let scene = Scene::with_guest();
    let logs = record_over(&scene, transport, &["workload=calls"]);
    let section = site_section(&scene);
    let sites: HashMap<u32, _> = sites(&section).map(|site| (site.id, site)).collect();
    let mut calls = Vec::new();
    let mut counts = HashMap::new();
    let ledger = read_records(&scene.path("r.uniprof"), |_, record| {
        let Record::Call(call) = record else { return };
        let site = sites[&call.site];
        assert!(
            call.begin < call.tsc && site.file.ends_with("files.rs") && site.line > 0,
            "{call:?} {site:?}"
        );
        *counts.entry(site.name).or_insert(0) += 1;
        let values: Vec<_> =
            site.values(call.args).map(|(arg, value)| format!("{}={value}", arg.name)).collect();
        let text = format!("{} {}", site.name.trim_start_matches("fs."), values.join(" "));
        calls.push(Call { tsc: call.tsc, thread: call.thread, text });
    });
    let tally = ledger.class(Class::Call);
    println!("{counts:?} {tally:?}");
    assert_eq!(tally.received + tally.lost(), 10_000);
    assert_eq!(calls.len() as u64, tally.received);
    let known = CALLS.map(|name| told(&logs, "name", name, "calls"));
    assert_eq!(known.iter().sum::<u64>(), 10_000);
    let missing: u64 = CALLS.iter().zip(known).map(|(name, known)| known - counts[name]).sum();
    assert_eq!(missing, tally.lost(), "for each name no more than it was called");
    if tally.lost() == 0 {
        assert_values(calls);
    }
}

/// Each thread uses one file after the other, in the same ten calls.
fn assert_values(mut calls: Vec<Call>) {
    calls.sort_by_key(|call| (call.thread, call.tsc));
    let mut files = Vec::new();
    for ten in calls.chunks(10) {
        let (_, number) = ten[0].text.split_once("file-").unwrap_or_else(|| panic!("{}", ten[0].text));
        let number: u32 = number[..4].parse().expect("four digits");
        let bytes: String = number.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let line: String =
            format!("contents of file {number:04}").bytes().map(|byte| format!("{byte:02x}")).collect();
        let wanted = [
            format!("open path=\"/data/file-{number:04}\" result=3"),
            format!("write fd=3 bytes={line} result=21"),
            format!("write fd=3 bytes={bytes} result=4"),
            "seek fd=3 position=0 result=0".into(),
            "read fd=3 size=8 result=8".into(),
            "read fd=3 size=64 result=17".into(),
            "read fd=3 size=64 result=0".into(),
            "seek fd=3 position=-1 result=-22".into(),
            "read fd=999 size=64 result=-9".into(),
            "close fd=3".into(),
        ];
        assert!(ten.iter().map(|call| &call.text).eq(&wanted), "{wanted:#?}");
        files.push(number);
    }
    files.sort_unstable();
    assert!(files.iter().copied().eq(0..1000), "each file once");
}

const WAITS: [&str; 4] = ["waits_sleep", "waits_join", "waits_event", "waits_lock"];

#[test]
fn blocked_time_is_on_the_stacks_that_blocked() {
    let scene = Scene::with_guest();
    let logs = record(&scene, &["workload=waits", "seconds=4"]);
    let functions = Functions::of_the_kernel(&scene);
    let mut parks = HashMap::new();
    let mut resumes = Vec::new();
    let (mut wakes, mut names) = (Vec::new(), HashMap::new());
    let ledger = read_records(&scene.path("r.uniprof"), |_, record| match record {
        Record::Park(park) => {
            assert!(matches!(park.reason, SwitchReason::Blocked | SwitchReason::Sleeping), "{park:?}");
            parks.insert((park.thread, park.tsc), park.callers.frames.to_vec());
        }
        Record::Resume(resume) => resumes.push((
            (resume.thread, resume.parked),
            resume.tsc,
            [resume.woken, resume.waker.into()],
            resume.callers.frames.to_vec(),
        )),
        Record::Wake(wake) => {
            wakes.push(((wake.thread, wake.tsc), wake.by_interrupt, wake.callers.frames.to_vec()));
        }
        Record::Thread(thread) if !thread.name.is_empty() => {
            names.insert(thread.thread, String::from_utf8(thread.name.bytes().collect()).expect("a name"));
        }
        _ => {}
    });
    assert_eq!(ledger.class(Class::OffCpu).lost(), 0, "{:?}", ledger.class(Class::OffCpu));
    let mut blocked = [0; 4];
    for (wait, tsc, [woken, waker], own) in &resumes {
        let frames = parks.get(wait).unwrap_or(own);
        assert!(!frames.is_empty() && wait.1 < *tsc, "{wait:?} has no stack");
        let Some(at) = WAITS.iter().position(|name| functions.through(frames, name)) else { continue };
        blocked[at] += tsc - wait.1;
        assert!(*woken > 0 && woken < tsc, "{wait:?} at {tsc}: woken {woken}");
        // Who sleeps is woken by the timer, the others by whom they wait for.
        let by = names.get(&(*waker as u32)).map_or("", String::as_str);
        assert_eq!(by, ["", "child", "writer", "auditor"][at], "{}", WAITS[at]);
    }
    for (name, blocked) in WAITS.iter().zip(blocked) {
        assert_near(name, blocked, told(&logs, "function", name, "tsc"), 5);
    }
    // Who wrote the mail is seen doing so.
    let wakes: HashMap<_, _> = wakes.into_iter().map(|(wake, by, frames)| (wake, (by, frames))).collect();
    let mut mails = 0;
    for ((thread, _), _, [woken, waker], _) in &resumes {
        let Some((by_interrupt, frames)) = wakes.get(&(*thread, *woken)) else { continue };
        assert_eq!(*by_interrupt, frames.is_empty(), "an interrupt has no stack, a thread has one");
        assert!(!by_interrupt || *waker == 0);
        mails += u64::from(names.get(&(*waker as u32)).is_some_and(|name| name == "writer"));
    }
    assert!(mails > 10, "{mails} wake-ups of mail");
}

#[test]
fn waits_for_locks_are_as_long_as_they_were_and_have_their_holder() {
    let scene = Scene::with_guest();
    let logs = record(&scene, &["workload=locks", "seconds=4"]);
    let functions = Functions::of_the_kernel(&scene);
    let (mut waits, mut holds, mut names) = (Vec::new(), HashMap::<_, Vec<_>>::new(), HashMap::new());
    let ledger = read_records(&scene.path("r.uniprof"), |_, record| match record {
        Record::LockWait(wait) => waits.push((
            (wait.kind, wait.lock),
            wait.begin..wait.tsc,
            wait.owner,
            wait.callers.frames.to_vec(),
        )),
        Record::LockHold(hold) => {
            assert!(hold.since < hold.tsc, "{hold:?}");
            let holds = holds.entry((hold.kind, hold.lock)).or_default();
            holds.push((hold.tsc, hold.callers.frames.to_vec()));
        }
        Record::Thread(thread) if !thread.name.is_empty() => {
            names.insert(thread.thread, String::from_utf8(thread.name.bytes().collect()).expect("a name"));
        }
        _ => {}
    });
    assert_eq!(ledger.class(Class::Lock).lost(), 0, "{:?}", ledger.class(Class::Lock));
    holds.values_mut().for_each(|holds| holds.sort());
    for (lock, kind, thread) in
        [("mutex", LockKind::Blocking, "mutex-holder"), ("spin", LockKind::Spin, "spin-holder")]
    {
        let [waiter, holder] = ["wait", "hold"].map(|what| format!("locks_{what}_{lock}"));
        // A mutex has a spin lock inside, which may have to be waited for as well.
        let is_mine = |of: LockKind, frames: &[u64]| of == kind && functions.through(frames, &waiter);
        let mine: Vec<_> = waits.iter().filter(|((of, _), .., frames)| is_mine(*of, frames)).collect();
        let sum: u64 = mine.iter().map(|(_, wait, ..)| wait.end - wait.start).sum();
        assert_near(&waiter, sum, told(&logs, "lock", lock, "tsc"), 5);
        // Each part of a wait is due to whoever releases the lock at its end; what is left, the way from the release to who waited, is
        // the last one's, too.
        let mut because = 0;
        let mut owned = 0;
        for (lock, wait, owner, _) in &mine {
            let during = |(tsc, _): &&(u64, Vec<u64>)| wait.contains(tsc);
            let mut holds = holds.get(lock).into_iter().flatten().filter(during).peekable();
            let mut from = wait.start;
            while let Some((released, frames)) = holds.next() {
                let until = if holds.peek().is_some() { *released } else { wait.end };
                because += if functions.through(frames, &holder) { until - from } else { 0 };
                from = until;
            }
            let named = names.get(owner).is_some_and(|name| name == thread);
            owned += if named { wait.end - wait.start } else { 0 };
        }
        // Not all of it: between two who wait for the same holder lies the way from the one to the other.
        println!("{holder}: {because} of {sum}");
        assert!(because * 10 > sum * 8, "{holder}: {because} of {sum}");
        assert_near(thread, owned, sum, 5);
    }
}

#[test]
fn what_leaks_is_what_stays_allocated() {
    let scene = Scene::with_guest();
    let logs = record(&scene, &["workload=leak", "seconds=5", "uniprof.heap=16K"]);
    let functions = Functions::of_the_kernel(&scene);
    let mut live = HashMap::new();
    let (mut allocated, mut freed) = (0, 0);
    let ledger = read_records(&scene.path("r.uniprof"), |vcpu, record| match record {
        Record::Allocation(block) => {
            assert!(block.weight >= block.bytes, "{block:?}");
            allocated += 1;
            let frames = block.callers.frames.to_vec();
            live.insert((block.address, block.tsc), (block.weight, frames, vcpu));
        }
        Record::Free(block) => {
            freed += 1;
            // The newest block of that address, as far as the rings have been read.
            let before = live.keys().filter(|(address, tsc)| *address == block.address && *tsc < block.tsc);
            if let Some(key) = before.max_by_key(|(_, tsc)| *tsc).copied() {
                live.remove(&key);
            }
        }
        _ => {}
    });
    assert_eq!(ledger.class(Class::Heap).lost(), 0, "{:?}", ledger.class(Class::Heap));
    assert!(freed > 100 && allocated > freed, "{allocated} allocated, {freed} given back");
    let by = |name: &str| -> u64 {
        live.values()
            .filter(|(_, frames, _)| functions.through(frames, name))
            .map(|(weight, ..)| weight)
            .sum()
    };
    let [lost, served, cached] = ["leak_forget", "leak_serve", "leak_cache"].map(by);
    println!("live by function: forget {lost}, serve {served}, cache {cached}");
    assert_near("leak_forget", lost, told(&logs, "function", "leak_forget", "bytes"), 10);
    assert!(served + cached < lost / 2, "{served} {cached} {lost}");
}

#[test]
fn interrupts_have_their_vector_and_their_time() {
    let scene = Scene::with_guest();
    record(&scene, &["workload=idle", "seconds=2"]);
    let mut count = HashMap::<u32, u64>::new();
    let mut time = [0; 2];
    let ledger = read_records(&scene.path("r.uniprof"), |vcpu, record| {
        let Record::Interrupt(interrupt) = record else { return };
        assert!(interrupt.begin < interrupt.tsc, "{interrupt:?}");
        *count.entry(interrupt.vector).or_default() += 1;
        time[vcpu as usize] += interrupt.tsc - interrupt.begin;
    });
    assert!(count[&0x20] > 100, "the timer's: {count:?}");
    assert!(count.keys().all(|vector| [0x20, 0x21].contains(vector)), "{count:?}");
    let tables = ledger.tables().expect("the tables");
    for (vcpu, time) in tables.vcpus.iter().zip(time) {
        assert!(time > 0 && vcpu.irq_time >= time, "{time} of {}", vcpu.irq_time);
    }
    let counted: u64 = tables.vcpus.iter().map(|vcpu| vcpu.interrupts).sum();
    assert!(counted >= count.values().sum(), "{counted} {count:?}");
}
