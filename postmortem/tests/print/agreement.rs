//! What `print` says of real programs' values, compared with gdb.

use crate::oracle::{Question, Session, c_program, rust_program};
use crate::plain::plain;
use uniprof_postmortem::print::{self, Limits};

/// What is asked of `print`, and what of gdb where it has another way of saying it.
fn questions(list: &[(usize, &'static str, &'static str)]) -> Vec<Question> {
    let question = |(level, ours, gdb): &(usize, &'static str, &'static str)| Question {
        level: *level,
        ours,
        gdb: if gdb.is_empty() { ours } else { gdb },
    };
    list.iter().map(question).collect()
}

fn compare(session: &mut Session, questions: &[Question]) {
    let mut wrong = 0;
    for (number, question) in questions.iter().enumerate() {
        let gdb = plain(&session.answers[number]);
        let frame = session.frame(question.level);
        let ours = print::evaluate(&mut session.subject, Some(&frame), question.ours);
        let ours = match ours {
            Ok(value) => value.data.flat(),
            Err(error) => format!("error: {error}"),
        };
        if plain(&ours) != gdb || gdb.starts_with("error") {
            wrong += 1;
            eprintln!("{}\n  gdb  {gdb}\n  ours {} ({ours})", question.ours, plain(&ours));
        }
    }
    assert_eq!(wrong, 0, "of {}", questions.len());
}

/// In the fixtures, frame 0 is `pause`, 1 is `inspect`, 2 is `main`.
const RUST: &[(usize, &str, &str)] = &[
    (1, "state::COUNTER", "fixture::state::COUNTER.v.value"),
    (1, "state::inner::COUNTER", "fixture::state::inner::COUNTER"),
    (1, "fixture::state::POINT", ""),
    (1, "POINT.y", "fixture::state::POINT.y"),
    (1, "POINT.x + 5", "fixture::state::POINT.x + 5"),
    (1, "MAYBE", "fixture::state::MAYBE"),
    (1, "NEVER", "fixture::state::NEVER"),
    (1, "NICHE.0.x", "fixture::state::POINT.x"),
    (1, "NAMES[0]", "fixture::state::NAMES[0]"),
    (1, "NAMES[2]", "fixture::state::NAMES[2]"),
    (1, "LOCKED.data", "fixture::state::LOCKED.data.value"),
    (1, "HUGE", "fixture::state::HUGE"),
    (1, "TABLE", "fixture::state::TABLE"),
    (1, "TABLE[2][0]", "fixture::state::TABLE[2][0]"),
    (1, "FUNCTION", "fixture::state::FUNCTION"),
    (1, "&POINT", "&fixture::state::POINT"),
    (1, "*shape", ""),
    (1, "circle", ""),
    (1, "circle.r", "1.5"),
    (1, "nothing", ""),
    (1, "square", ""),
    (1, "colour", ""),
    (1, "*numbers", ""),
    (1, "numbers.len", "numbers.len"),
    (1, "numbers[1]", "20"),
    (1, "text", ""),
    (1, "message", ""),
    (1, "number", ""),
    (1, "number as u16", ""),
    (1, "count", ""),
    (1, "count * 2 + 1", ""),
    (1, "tree", ""),
    (1, "tree.length", ""),
    (1, "set", ""),
    (1, "table", ""),
    (1, "hashes", ""),
    (1, "ring", ""),
    (1, "shared.y", "2"),
    (1, "cell", "cell.value.value"),
    (1, "borrowed.value", "borrowed.value.value"),
    (1, "list.value", ""),
    (1, "list.next.0.value", "2"),
    (1, "bits.number", ""),
    (1, "bits.float", ""),
    (1, "result", ""),
    (1, "tuple.0", ""),
    (1, "tuple.1", ""),
    (1, "tuple.2", ""),
    (1, "tuple.3", ""),
    (1, "wrapper.0", ""),
    (1, "slice[0]", ""),
    (1, "pointer", ""),
    (1, "*pointer", ""),
    (1, "*(pointer + 2)", "30"),
    (1, "empty", ""),
    (1, "small", ""),
    (1, "boxed[1]", "2"),
    (1, "$rip", ""),
    (1, "$rsp as u64", "$rsp as u64"),
    (2, "shape", "*&shape"),
    (2, "shape.0", "3"),
];

#[test]
fn a_program_in_rust_agrees_with_gdb_without_optimisation() {
    let asked = questions(RUST);
    let mut session = rust_program(&["-g"], &asked);
    compare(&mut session, &asked);
}

const C: &[(usize, &str, &str)] = &[
    (1, "listener.version", ""),
    (1, "listener.length", ""),
    (1, "listener.delta", ""),
    (1, "listener.name", ""),
    (1, "listener.name[1]", ""),
    (1, "listener.inner", ""),
    (1, "listener.at", ""),
    (1, "*listener.at", ""),
    (1, "listener.at->y", ""),
    (1, "listener.colour", ""),
    (1, "listener.ratio", ""),
    (1, "listener.number.real", ""),
    (1, "listener.number", ""),
    (1, "listener.handler", ""),
    (1, "listener.next->name", ""),
    (1, "packet->next->delta", ""),
    (1, "&packet->next->at", ""),
    (1, "((struct packet*)&listener)->flags", ""),
    (1, "matrix", ""),
    (1, "matrix[1]", ""),
    (1, "matrix[1][2]", ""),
    (1, "greeting", ""),
    (1, "*greeting", ""),
    (1, "greeting[1]", ""),
    // gdb takes bytes without a sign for characters, too.
    (1, "raw[3] + 0", ""),
    (1, "mode", ""),
    (1, "ready", ""),
    (1, "letter", ""),
    (1, "wide", ""),
    (1, "nowhere", ""),
    (1, "origin", ""),
    (1, "&origin", ""),
    (1, "number", ""),
    (1, "text", ""),
    (1, "big", ""),
    (1, "squares", ""),
    (1, "squares[3] << 2", ""),
    (1, "copy", ""),
    (1, "here", ""),
    (1, "half", ""),
    (1, "calls", ""),
    (1, "(unsigned short)letter", ""),
    (1, "*(long*)&here.y", ""),
    (1, "&squares[2]", ""),
    (1, "(long)&squares[2] - (long)&squares[0]", ""),
    (1, "$rbp", ""),
    (1, "$rip", ""),
    (1, "-number", ""),
    (1, "sizes", "22"),
];

#[test]
fn a_program_in_c_agrees_with_gdb() {
    let mut asked = questions(C);
    asked.pop();
    for flags in [&["-g", "-O0"][..], &["-g", "-O0", "-gdwarf-4"], &["-g", "-O0", "-fdebug-types-section"]] {
        let mut session = c_program(flags, &asked);
        compare(&mut session, &asked);
    }
}

/// Where the optimiser has left something, it is what gdb says, too; where not, both say so. Returns how many values there were.
fn compare_optimised(session: &mut Session, asked: &[Question]) -> usize {
    let mut known = 0;
    for (number, question) in asked.iter().enumerate() {
        let gdb = session.answers[number].clone();
        let frame = session.frame(question.level);
        match print::evaluate(&mut session.subject, Some(&frame), question.ours) {
            Ok(found) if gdb.contains("optimized out") => {
                assert!(found.data.flat().contains("optimised out"), "{}: {found}, gdb {gdb}", question.ours);
            }
            Ok(found) => {
                // gdb does not follow references, and takes what callees may overwrite for what it was.
                let follows = found.data.flat().starts_with('&');
                let same = follows || plain(&found.data.flat()) == plain(&gdb);
                assert!(same, "{}: {found}, gdb {gdb}", question.ours);
                known += 1;
            }
            Err(error) => eprintln!("{}: {error}, gdb {gdb}", question.ours),
        }
    }
    known
}

#[test]
fn optimised_programs_agree_with_gdb_or_have_nothing() {
    let named = |names: &[&'static str]| {
        let list: Vec<_> = names.iter().map(|name| (1, *name, "")).collect();
        questions(&list)
    };
    let asked = named(&["numbers", "number", "count", "shape", "text"]);
    let mut session = rust_program(&["-g", "-O"], &asked);
    assert!(compare_optimised(&mut session, &asked) >= 2);
    let asked = named(&["packet", "number", "text", "big", "here", "half", "squares[2]", "copy", "calls"]);
    for flags in [&["-g", "-O2"][..], &["-g", "-O2", "-gdwarf-4"], &["-g", "-O1"]] {
        let mut session = c_program(flags, &asked);
        let known = compare_optimised(&mut session, &asked);
        assert!(known >= 6, "{flags:?}: {known}");
    }
}

#[test]
fn locals_come_with_types_values_and_kinds() {
    let mut session = rust_program(&["-g"], &[]);
    let frame = session.frame(1);
    let found = print::locals(&mut session.subject, &frame).unwrap();
    let shown: Vec<String> = found
        .iter()
        .map(|one| {
            format!(
                "{:?} {}: {} = {}",
                one.kind,
                one.name,
                one.ty,
                one.value.as_ref().map_or_else(Clone::clone, |value| value.data.flat())
            )
        })
        .collect();
    eprintln!("{}", shown.join("\n"));
    assert_eq!(shown[0], "Argument shape: &fixture::Shape = &Square(3, 4)");
    assert!(shown.contains(&"Argument object: &dyn core::fmt::Debug = &Wrapper(8)".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"Local colour: fixture::Colour = Green".to_owned()), "{shown:#?}");
    assert!(serde_json::to_string(&found).unwrap().contains("\"kind\":\"argument\""));
}

#[test]
fn large_values_are_cut_and_said_to_be() {
    let mut session = rust_program(&["-g"], &[]);
    let frame = session.frame(1);
    let limits = Limits { elements: 3, text: 3, ..Limits::FULL };
    let mut shown = |expression: &str| {
        let found = print::evaluate_within(&mut session.subject, Some(&frame), expression, limits);
        found.map_or_else(|error| error.to_string(), |value| value.data.flat())
    };
    assert_eq!(shown("tree"), "{0: \"v0\", 3: \"v1\", 6: \"v2\", … (37 more)}");
    assert_eq!(shown("message"), "\"hé\"… (4 more bytes)");
    assert_eq!(shown("numbers[1..]"), "[20, 30]");
    assert_eq!(shown("numbers[..2]"), "[10, 20]");
    assert_eq!(shown("numbers[5]"), "index 5 is out of bounds: the length is 3");
    assert_eq!(shown("nosuch"), "no variable is called \"nosuch\"");
    assert!(shown("Circle").starts_with("no variable"), "{}", shown("Circle"));
}
