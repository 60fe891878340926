//! Leaf repair: against call-frame information of real code, instruction by instruction.

mod common;

use common::Built;
use uniprof_symbolizer::{Image, Leaf, LeafReason, LeafRule, LeafRules, LoadBias, Repair};
use uniprof_wire::address::GuestVirtual;

/// A leaf without a frame that uses the red zone, one with a frame, and assembly without call-frame information, of which
/// one function returns.
const SOURCE: &str = r#"
__asm__(".text\n.type bare,@function\nbare: nop\n ret\n.size bare, .-bare\n"
        ".type stuck,@function\nstuck: jmp *%rax\n.size stuck, .-stuck\n");
__attribute__((noinline, optimize("omit-frame-pointer"))) long red_zone(long x) {
    volatile long kept[4];
    for (int i = 0; i < 4; i++) kept[i] = x + i;
    return kept[0] + kept[3];
}
__attribute__((noinline, optimize("no-omit-frame-pointer"))) long framed(long x) { return red_zone(x) + red_zone(x + 1); }
__attribute__((noinline, optimize("omit-frame-pointer"))) long pushing(long x) { return framed(x) * framed(x + 2); }
void _start(void) { pushing(1); for (;;) ; }
"#;

fn offsets(image: &Image, name: &str) -> Vec<LeafRule> {
    let symbol = image.symbol(name).expect(name);
    let mut rules = LeafRules::new(image, LoadBias::NONE);
    (symbol.address.0..symbol.address.0 + symbol.size)
        .map(|at| rules.caller_of_leaf(GuestVirtual(at)))
        .collect()
}

#[test]
fn rules_of_each_instruction() {
    for flags in [&["-O1"][..], &["-O1", "-g", "-fno-asynchronous-unwind-tables", "-fno-exceptions"]] {
        let image = Built::new("a.c", SOURCE, flags).image();
        let at = |offset_from_sp| LeafRule::ReturnAddressAt { offset_from_sp };
        assert!(offsets(&image, "red_zone").iter().all(|rule| *rule == at(0)), "{flags:?}");

        let framed = offsets(&image, "framed");
        // push rbp (1 byte); mov rbp, rsp (3 bytes); ...; pop or leave; ret
        assert_eq!(framed[0], at(0), "before push rbp");
        assert_eq!(framed[1], at(8), "before mov rbp, rsp");
        assert_eq!(framed[4], LeafRule::FrameEstablished, "after it");
        assert_eq!(framed.last(), Some(&at(0)), "at ret");
        assert_eq!(offsets(&image, "bare")[0], at(0), "its instructions tell");
        assert_eq!(offsets(&image, "stuck")[0], LeafRule::Unknown(LeafReason::NotCovered));
    }
}

#[test]
fn instructions_tell_what_call_frame_information_would() {
    let (built, bare) = (
        Built::new("a.c", SOURCE, &["-O1"]),
        Built::new("a.c", SOURCE, &["-O1", "-fno-asynchronous-unwind-tables", "-fno-exceptions"]),
    );
    let (with, without) = (built.image(), bare.image());
    let mut compared = 0;
    for name in ["red_zone", "framed", "pushing"] {
        let (told, seen) = (offsets(&with, name), offsets(&without, name));
        for at in boundaries(&built, name) {
            // Where the frame pointer has been set up but is not used to return, the stack pointer tells the same.
            let same = told[at] == seen[at]
                || told[at] == LeafRule::FrameEstablished
                    && matches!(seen[at], LeafRule::ReturnAddressAt { .. });
            assert!(same, "{name}+{at:#x}: {:?}, {:?}", told[at], seen[at]);
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
    assert_eq!(offsets(&without, "stuck")[0], LeafRule::Unknown(LeafReason::NoCallFrameInfo));
}

/// Where the instructions of a function begin, by objdump.
fn boundaries(built: &Built, name: &str) -> Vec<usize> {
    let start = built.image().symbol(name).expect(name).address.0;
    let mut command = std::process::Command::new("objdump");
    command.arg(format!("--disassemble={name}")).arg(&built.path);
    let said = command.output().expect("objdump runs; it comes with GCC's linker").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let lines = said.lines().filter_map(|line| line.split_once(":\t"));
    let code = lines.filter(|(_, rest)| rest.contains('\t'));
    code.map(|(at, _)| (u64::from_str_radix(at.trim(), 16).expect("an address") - start) as usize).collect()
}

#[test]
fn the_missing_caller_is_inserted_once() {
    let image = Built::new("a.c", SOURCE, &["-O1"]).image();
    let bias = LoadBias::new(0x40_0000_0000);
    let mut rules = LeafRules::new(&image, bias);
    let in_guest =
        |name: &str, offset: u64| bias.to_guest(image.symbol(name).expect(name).address).0 + offset;
    let (caller, callers_caller) = (in_guest("framed", 12), in_guest("pushing", 9));
    let stack = [caller, 0, 0, 0, 0, 0, 0, 0];
    let frames = [callers_caller];
    let leaf = Leaf {
        rip: GuestVirtual(in_guest("red_zone", 6)),
        rsp: 0x8000,
        rbp: 0x8010,
        stack: &stack,
        frames: &frames,
    };
    assert_eq!(rules.repair(&leaf), Repair::Insert(GuestVirtual(caller)));
    assert_eq!(rules.repair(&leaf).caller(), Some(GuestVirtual(caller)));

    // The walk began at this very word.
    let established = Leaf { rbp: leaf.rsp - 8, frames: &[caller], ..leaf };
    assert_eq!(rules.repair(&established), Repair::NotNeeded);
    // The same value at another place is a recursion, whose level must not be lost.
    let recursion = Leaf { frames: &[caller], ..leaf };
    assert_eq!(rules.repair(&recursion), Repair::Insert(GuestVirtual(caller)));
    // Nothing was walked, since rbp is used for something else.
    assert_eq!(rules.repair(&Leaf { rbp: 0, frames: &[], ..leaf }), Repair::Insert(GuestVirtual(caller)));

    let framed = Leaf { rip: GuestVirtual(in_guest("framed", 4)), ..leaf };
    assert_eq!(rules.repair(&framed), Repair::NotNeeded);
    let prologue =
        Leaf { rip: GuestVirtual(in_guest("framed", 1)), stack: &[0x8010, callers_caller], ..leaf };
    assert_eq!(rules.repair(&prologue), Repair::Insert(GuestVirtual(callers_caller)));

    let cut = Leaf { stack: &[], ..leaf };
    assert_eq!(rules.repair(&cut), Repair::Impossible(LeafReason::BeyondSample));
    let garbage = Leaf { stack: &[0x1234], ..leaf };
    assert_eq!(rules.repair(&garbage), Repair::Impossible(LeafReason::NotCode));
    let outside = Leaf { rip: GuestVirtual(3), ..leaf };
    assert_eq!(rules.repair(&outside), Repair::Impossible(LeafReason::NotCovered));
}

#[test]
fn a_program_of_many_functions_is_covered() {
    let image = common::this_image();
    let mut rules = LeafRules::new(&image, LoadBias::NONE);
    assert_eq!(rules.damage(), None);
    let text =
        image.executable_ranges().into_iter().max_by_key(|range| range.end - range.start).expect("has code");
    let (mut known, mut all) = (0, 0);
    for address in text.step_by(97) {
        all += 1;
        known += u32::from(!matches!(rules.caller_of_leaf(GuestVirtual(address)), LeafRule::Unknown(_)));
    }
    assert!(known * 100 > all * 95, "{known} of {all}");
}
