//! The screen, against a file. `UNIPROF_BLESS=1 cargo test -p uniprof the_report` writes the file anew.

use std::path::Path;

use uniprof_postmortem::disassembly::{Line, Operand};
use uniprof_postmortem::print::{Data, Value, Variable, VariableKind};
use uniprof_postmortem::report::{
    CycleReport, FaultReport, FunctionLocals, GroupReport, GuestSummary, LocksReport, Loss, Report, SCHEMA,
    ThreadReport, VcpuReport,
};
use uniprof_postmortem::stacks::{StackFrame, Start};
use uniprof_postmortem::verdict::{Access, Confidence, Kind, Verdict};
use uniprof_symbolizer::{AddressKind, FrameSource};
use uniprof_wire::address::GuestVirtual;

use super::*;

fn frame(depth: usize, function: &str, file: &str, line: u32) -> StackFrame {
    StackFrame {
        address: GuestVirtual(0x20_1000 + 0x111 * depth as u64),
        kind: if depth == 0 { AddressKind::Instruction } else { AddressKind::Return },
        found: if depth == 0 { FrameSource::Leaf } else { FrameSource::Cfi },
        depth,
        function: Some(function.into()),
        unknown: None,
        file: Some(format!("/build/sample-kernel/src/{file}").into()),
        line: Some(line),
        inlined: false,
    }
}

fn stack() -> Vec<StackFrame> {
    let boxed = "<alloc::boxed::Box<dyn core::ops::function::FnOnce<(), Output = ()> + core::marker::Send> as \
                 core::ops::function::FnOnce<()>>::call_once";
    let mut inlined = frame(1, "shop::cart::Cart::first", "shop/cart.rs", 9);
    inlined.inlined = true;
    let handler = frame(0, "shop::price", "shop/price.rs", 31);
    vec![
        handler,
        inlined,
        frame(1, "shop::serve", "shop/serve.rs", 80),
        frame(2, boxed, "alloc/boxed.rs", 2240),
    ]
}

fn fault() -> FaultReport {
    let line = |address, text: &str, current| Line {
        address,
        bytes: String::new(),
        text: text.into(),
        source: Some("/build/sample-kernel/src/shop/price.rs:31".into()),
        current,
        image_has: None,
        operands: Vec::new(),
    };
    let mut failed = line(0x20_1000, "mov eax,[rdi+18h]", true);
    let operand = |name: &str, value, note: &str| Operand { name: name.into(), value, note: note.into() };
    failed.operands = vec![operand("rdi", 0, ""), operand("memory", 0x18, "not mapped")];
    FaultReport {
        vector: Some(14),
        address: Some("0x18".into()),
        what: "a read of null + 0x18".into(),
        access: Some(Access::Read),
        instruction: None,
        source: None,
        listing: vec![line(0x20_0ffc, "mov rdi,[rsi]", false), failed, line(0x20_1003, "ret", false)],
        registers: Default::default(),
        remarks: Vec::new(),
    }
}

fn thread(id: u32, name: &str, state: &'static str, frames: Vec<StackFrame>) -> ThreadReport {
    ThreadReport {
        id,
        name: name.into(),
        state,
        vcpu: Some(0),
        torn: false,
        cpu_seconds: Some(0.5),
        waits: None,
        start: Start::Saved,
        frames,
        end: "the outermost frame".into(),
    }
}

fn vcpu(vcpu: u32, state: &str, frames: Vec<StackFrame>) -> VcpuReport {
    VcpuReport {
        vcpu,
        state: state.into(),
        thread: Some(3),
        thread_name: "web-0".into(),
        source: "QEMU's note",
        registers: Default::default(),
        start: Start::Crash,
        frames,
        end: "the outermost frame".into(),
    }
}

fn locals() -> Vec<Variable> {
    let variable = |name: &str, value| Variable {
        name: name.into(),
        kind: VariableKind::Argument,
        ty: "u32".into(),
        value,
    };
    let known = |number| Ok(Value { ty: "u32".into(), address: None, data: Data::Unsigned(number) });
    vec![variable("item", known(17)), variable("cart", Err("optimised out".into()))]
}

fn report() -> Report {
    let waiting =
        vec![frame(0, "switch_context", "arch/context.s", 12), frame(1, "sched::wait", "sched.rs", 40)];
    let alike = GroupReport {
        count: 2,
        owners: vec!["web-1 (thread 4)".into(), "web-2 (thread 5)".into()],
        threads: vec![4, 5],
        frames: waiting.clone(),
        end: "the outermost frame".into(),
        complete: true,
    };
    Report {
        schema: SCHEMA,
        guest: GuestSummary {
            name: "shop".into(),
            kernel: "shop.elf".into(),
            build_id: Some("0123456789abcdef0123456789abcdef01234567".into()),
            why: "panic".into(),
            ending: Some("the guest panicked".into()),
            up_seconds: Some(812.25),
            ..GuestSummary::default()
        },
        verdict: Verdict {
            kind: Kind::PageFault,
            reason: "a read of null + 0x18, by shop::price+0x24 (0x201000): the pointer in rdi was null".into(),
            function: Some("shop::price".into()),
            place: Some("/build/sample-kernel/src/shop/price.rs:31".into()),
            thread: Some("web-0".into()),
            thread_id: Some(3),
            vcpu: Some(0),
            confidence: Confidence::Certain,
        },
        message: Some("page fault at 0x18".into()),
        fault: Some(fault()),
        vcpus: vec![vcpu(0, "halted", stack()), vcpu(1, "idle", vec![frame(0, "arch::idle", "arch/idle.rs", 4)])],
        threads: vec![
            thread(3, "web-0", "running", stack()),
            thread(4, "web-1", "blocked", waiting.clone()),
            thread(5, "web-2", "ready", waiting),
        ],
        stacks: vec![alike],
        locks: LocksReport {
            waits: Vec::new(),
            cycles: vec![CycleReport { threads: vec![4, 5], text: "web-1 waits for web-2".into() }],
        },
        locals: vec![FunctionLocals { function: "shop::price".into(), frame: 0, variables: locals() }],
        events: Vec::new(),
        console: ["shop: \u{1b}[31mopen\u{1b}[0m", "page fault", "  rip 1", "  rsp 2", "  rbp 3", "  called from 4"]
            .map(str::to_owned)
            .into(),
        loss: Some(Loss { emitted: 100, recovered: 90, lost_by: [("overwritten".to_owned(), 10)].into() }),
        remarks: vec!["the dump ends early: what lay from 0x8000000 on is missing, which are 128 MiB of 256 MiB of memory".into()],
    }
}

#[test]
fn the_report_is_one_screen_of_a_hundred_columns() {
    let events = ["    1.500000  vcpu1  web-0             shop.get key=12".to_owned()];
    let mut out = Vec::new();
    Page::new(Paint::none(), "shop.core", &events, None).print(&mut out, &report(), None).unwrap();
    let made = String::from_utf8(out).unwrap();
    assert!(made.lines().all(|line| line.chars().count() <= PAGE), "{made}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/core/goldens/report.txt");
    if std::env::var_os("UNIPROF_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("golden {}: {error}; UNIPROF_BLESS=1 writes it", path.display()));
    assert!(
        golden == made,
        "the report differs from its golden; UNIPROF_BLESS=1 writes it anew. Made:\n{made}"
    );
}

/// What a person sees who has a terminal of that size.
fn on_a_terminal(columns: usize, rows: usize) -> String {
    let events: Vec<String> = (0..20).map(|number| format!("    1.50000{number}  vcpu1  shop.get")).collect();
    let room = Some(Room { columns, rows });
    let mut out = Vec::new();
    Page::new(Paint::none(), "shop.core", &events, room).print(&mut out, &report(), room).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_terminal_gets_what_it_has_room_for_and_the_verdict_first() {
    for (columns, rows) in [(80, 24), (80, 32), (100, 40), (200, 50)] {
        let made = on_a_terminal(columns, rows);
        assert!(made.lines().count() < rows, "{columns} x {rows}:\n{made}");
        assert!(made.lines().all(|line| line.chars().count() <= columns.min(PAGE)), "{made}");
        for told in ["PAGE FAULT", "by shop::price", "=> 0x201000", "#0", "uniprof core stacks"] {
            assert!(made.contains(told), "{told} is not in:\n{made}");
        }
        assert!(made.ends_with("lines more: `uniprof core shop.core | less`\n"), "{made}");
    }
    let all = on_a_terminal(100, 200);
    assert!(all.contains("uniprof core flame") && !all.contains("lines more"), "{all}");
}
