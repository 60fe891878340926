//! A guest that was made up: a key-value store on two vCPUs.

use std::sync::Arc;

use uniprof_flamegraph::{Amount, Frame, Measured, Owner, Profile, ProfileBuilder};

use crate::picture::*;

/// Stacks as `root;…;leaf amount`; a frame that ends in `*` is inlined.
pub(super) fn profile(measured: Measured, stacks: &[(&str, u64)]) -> Profile {
    let mut builder = ProfileBuilder::of(measured);
    for (stack, amount) in stacks {
        let frames: Vec<_> = stack
            .split(';')
            .enumerate()
            .map(|(at, name)| match (at, name.strip_suffix('*')) {
                (0, _) => builder.thread(1, name),
                (_, Some(name)) => builder.frame(Frame::function(name).inlined()),
                (_, None) if name.starts_with("[unknown") => builder.frame(Frame::unknown(name)),
                (_, None) => builder.frame(Frame::function(name)),
            })
            .collect();
        builder.add(
            frames,
            Owner { thread: 1, vcpu: 0 },
            Amount { samples: *amount, weight: *amount * 1_000_000 },
        );
    }
    builder.finish()
}

const CPU: &[(&str, u64)] = &[
    ("server;kernel::thread::entry;kv::serve::run;kv::store::Map<K, V>::get", 300),
    ("server;kernel::thread::entry;kv::serve::run;kv::store::Map<K, V>::get;core::hash::Hasher::write*", 170),
    ("server;kernel::thread::entry;kv::serve::run;kv::store::Map<K, V>::put", 80),
    ("server;kernel::thread::entry;kv::serve::run;kv::store::Map<K, V>::put;talc::Talc<O>::malloc", 90),
    (
        "server;kernel::thread::entry;kv::serve::run;kv::store::Map<K, V>::put;talc::Talc<O>::malloc;memcpy",
        60,
    ),
    ("server;kernel::thread::entry;kv::serve::run;net::tcp::Socket::send;memcpy", 50),
    ("server;kernel::thread::entry;kv::serve::run;net::tcp::Socket::send;net::checksum::sum*", 40),
    ("net;kernel::thread::entry;net::poll;virtio::queue::pop", 70),
    ("net;kernel::thread::entry;net::poll;net::tcp::input;net::checksum::sum", 60),
    ("idle 0;kernel::idle::run", 60),
    ("server;[unknown: outside the image]", 20),
];

fn overview() -> Overview {
    let history = (0..60).map(|at| {
        let wave = (f64::from(at) / 6.0).sin() * 0.3 + 0.6;
        [wave, 1_990.0 * wave, 48_000.0 * wave, if at > 50 { f64::from(at - 50) * 10.0 } else { 0.0 }]
    });
    Overview {
        vcpus: vec![
            VcpuNow {
                id: 0,
                busy: 0.82,
                irq: Some(0.06),
                idle: 0.12,
                interrupts: Some(1_250.0),
                thread: Some(3),
            },
            VcpuNow { id: 1, busy: 0.37, irq: Some(0.01), idle: 0.62, interrupts: Some(310.0), thread: None },
        ],
        run_queue: 1,
        threads: 6,
        samples_rate: 1_712.0,
        events_rate: 48_210.0,
        loss_rate: 90.0,
        samples: 1_000,
        loss: Loss { received: 2_345_678, lost: 400, causes: vec![("overwritten", 390), ("refused", 10)] },
        own_cost: Some(0.0063),
        collector: Some((0.071, 38 << 20)),
        history: history.collect(),
    }
}

fn threads() -> Vec<ThreadRow> {
    let stack = |frames: &[&str]| frames.iter().map(|frame| (*frame).to_owned()).collect::<Vec<_>>().into();
    let row = ThreadRow {
        id: 0,
        name: String::new(),
        state: "ready",
        vcpu: 0,
        cpu_share: Some(0.0),
        cpu_seconds: Some(0.0),
        since_seconds: Some(0.0),
        waits_for: None,
        held_by: None,
        function: None,
        stack: stack(&[]),
    };
    vec![
        ThreadRow {
            id: 1,
            name: "idle 0".into(),
            cpu_share: Some(0.12),
            cpu_seconds: Some(81.0),
            ..row.clone()
        },
        ThreadRow {
            id: 3,
            name: "server".into(),
            state: "running",
            cpu_share: Some(0.71),
            cpu_seconds: Some(512.25),
            function: Some("kv::store::Map<K, V>::get".into()),
            ..row.clone()
        },
        ThreadRow {
            id: 4,
            name: "flusher".into(),
            state: "blocked",
            vcpu: 1,
            cpu_share: Some(0.02),
            cpu_seconds: Some(3.5),
            since_seconds: Some(0.004),
            waits_for: Some("lock store".into()),
            held_by: Some(3),
            function: Some("kv::flush::run".into()),
            stack: stack(&["kernel::sync::Mutex::lock", "kv::flush::run", "kernel::thread::entry"]),
        },
        ThreadRow {
            id: 5,
            name: "net".into(),
            state: "sleeping",
            vcpu: 1,
            cpu_share: None,
            cpu_seconds: None,
            since_seconds: Some(1.25),
            waits_for: Some("timer".into()),
            held_by: None,
            function: Some("net::poll".into()),
            stack: stack(&["kernel::sleep", "net::poll", "kernel::thread::entry"]),
        },
        ThreadRow { id: 6, ..row },
    ]
}

fn events() -> Events {
    let line = |number: u64| EventLine {
        number,
        at: 700.0 + number as f64 / 1e4,
        vcpu: (number % 2) as u32,
        thread: "server".into(),
        name: if number.is_multiple_of(3) { "kv.put".into() } else { "kv.get".into() },
        text: format!("key={} hit={} 12.3 µs", number * 7919 % 1000, !number.is_multiple_of(5)),
    };
    let mut histogram = vec![0; 40];
    histogram[10..18].copy_from_slice(&[12, 180, 940, 2_210, 880, 120, 14, 3]);
    let name = |name: &str, kind, count, rate, latency_ns| EventName {
        name: name.into(),
        kind,
        count,
        rate,
        latency_ns,
        histogram: if latency_ns.is_some() { histogram.clone() } else { Vec::new() },
        value: (kind == "gauge").then_some(1234.0),
    };
    Events {
        tail: (1..=200).map(line).collect(),
        names: vec![
            name("kv.get", "span", 312_000, 31_200.0, Some([9_100, 41_000, 212_000])),
            name("kv.put", "span", 104_000, 10_400.0, Some([15_300, 88_000, 1_410_000])),
            name("kv.users", "gauge", 104_000, 10_400.0, None),
            name("net.retransmit", "event", 3, 0.3, None),
        ],
        filter: Ok(String::new()),
        hidden: 0,
    }
}

fn locks() -> Vec<LockRow> {
    let row = |name: &str, holder, waiters: &[u32], waits, waited_ns| LockRow {
        name: name.into(),
        holder,
        waiters: waiters.to_vec(),
        waits,
        waited_ns,
        longest_ns: waited_ns / 4,
        held_in: Some("kv::store::Map<K, V>::put".into()),
    };
    vec![row("store", Some(3), &[4], 41, 88_000_000), row("log", None, &[], 3, 120_000)]
}

fn memory() -> Memory {
    let site = |function: &str, blocks, bytes, growth_rate| HeapSite {
        function: function.into(),
        blocks,
        bytes,
        growth_rate,
        stack: vec!["talc::Talc<O>::malloc".into(), function.into(), "kv::serve::run".into()],
    };
    Memory {
        live_bytes: Some(44_564_480),
        heap_bytes: Some(128 << 20),
        allocated_rate: Some(3_200_000.0),
        sites: vec![
            site("kv::store::Map<K, V>::put", 81_200, 38_900_000, 120_000.0),
            site("net::tcp::Socket::new", 64, 4_200_000, 0.0),
            site("kv::log::push", 900, 90_000, -1_024.0),
        ],
        history: (0..60).map(|at| 30_000_000 + at * 240_000).collect(),
    }
}

pub(super) fn listing() -> Listing {
    let source = |number: u32, text: &str, samples| SourceLine { number, text: text.into(), samples };
    let instruction = |address, text: &str, line, samples| InstructionLine {
        address,
        text: text.into(),
        line: Some(("store.rs".into(), line)),
        samples,
    };
    Listing {
        function: "kv::store::Map<K, V>::get".into(),
        samples: 300,
        file: Ok("src/store.rs".into()),
        source: vec![
            source(40, "pub fn get(&self, key: &K) -> Option<&V> {", 4),
            source(41, "    let hash = self.hash(key);", 31),
            source(42, "    let mut at = hash & self.mask;", 2),
            source(43, "    while let Some(entry) = &self.entries[at] {", 171),
            source(44, "        if entry.key == *key {", 88),
            source(45, "            return Some(&entry.value);", 4),
            source(46, "        }", 0),
        ],
        instructions: vec![
            instruction(0x0010_4f20, "push rbp", 40, 4),
            instruction(0x0010_4f21, "mov rbp,rsp", 40, 0),
            instruction(0x0010_4f24, "mov rax,[rdi+rcx*8]", 43, 171),
            instruction(0x0010_4f28, "cmp rax,rsi", 44, 88),
            instruction(0x0010_4f2b, "jne short 0000000000104F24h", 44, 0),
        ],
        no_instructions: None,
    }
}

/// The guest at one moment; `number` tells which picture.
pub(super) fn picture(number: u64) -> Picture {
    Picture {
        number,
        time: Time {
            at: 723.4,
            wall_ns: Some(1_764_111_600_000_000_000),
            range: (600.0, 723.4),
            runs: true,
            speed: 1.0,
        },
        span: Span::Last(10.0),
        subject: Arc::new(Subject {
            name: "kv".into(),
            kind: Kind::Live,
            pid: Some(4711),
            kernel: "kv.elf".into(),
            build_id: Some("8f3a2c9917d0e4b5".into()),
            transport: "shared memory".into(),
            accelerator: Some("TCG".into()),
            symbols: Ok("the kernel's file".into()),
            memory_bytes: Some(128 << 20),
            can: Can { control: Ok(()), core: Ok(()) },
        }),
        fate: Fate::Runs,
        culprit: None,
        overview: overview(),
        cpu: Ok(Arc::new(profile(Measured::Cpu, CPU))),
        shorter: Shorter::default(),
        off_cpu: Ok(Arc::new(profile(
            Measured::OffCpu,
            &[
                ("flusher;kernel::thread::entry;kv::flush::run;kernel::sync::Mutex::lock", 88),
                ("net;net::poll;kernel::sleep", 900),
            ],
        ))),
        locks: Err("No lock is recorded: e, then lock, switches that on.".into()),
        heap: Ok(Arc::new(profile(
            Measured::LiveHeap,
            &[("server;kv::store::Map<K, V>::put;talc::Talc<O>::malloc", 38)],
        ))),
        threads: Ok(threads().into()),
        events: Ok(Arc::new(events())),
        lock_rows: Ok(locks().into()),
        memory: Ok(Arc::new(memory())),
        switches: [
            ("irq", true, true),
            ("off-cpu", true, false),
            ("kv.get", false, true),
            ("kv.put", false, false),
        ]
        .map(|(name, is_class, on)| Switch { name: name.into(), is_class, on })
        .into(),
        rate: Some(999),
        notes: ["no VM exit per event is possible under TCG: timings are not a processor's".to_owned()]
            .into(),
    }
}

/// A guest of which nothing has come yet.
pub(super) fn empty(number: u64) -> Picture {
    let no = |what: &str| format!("No {what} is recorded: e switches that on.");
    Picture {
        overview: Overview::default(),
        cpu: Ok(Arc::new(Profile::default())),
        off_cpu: Err(no("wait")),
        locks: Err(no("lock")),
        heap: Err(no("heap")),
        threads: Ok(Arc::new([])),
        events: Err(no("event")),
        lock_rows: Ok(Arc::new([])),
        memory: Ok(Arc::new(Memory::default())),
        switches: Arc::new([]),
        notes: Arc::new([]),
        rate: Some(0),
        ..picture(number)
    }
}

/// As [`picture`], with another CPU profile.
pub(super) fn with_cpu(number: u64, stacks: &[(&str, u64)]) -> Picture {
    Picture { cpu: Ok(Arc::new(profile(Measured::Cpu, stacks))), ..picture(number) }
}
