//! The C library of the probes: its header is true, it needs what it says, and it keeps off what kernels don't save.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, OpAccess, Register};
use object::read::archive::ArchiveFile;
use object::{File, Object, ObjectSection, ObjectSymbol, SectionKind};
use uniprof_tests::c_library::{built, compiled, sources};
use uniprof_wire::site::{SiteKind, sites};

const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// The object files of an archive.
fn objects(archive: &[u8]) -> Vec<Vec<u8>> {
    let parsed = ArchiveFile::parse(archive).expect("an archive");
    parsed.members().map(|member| member.unwrap().data(archive).unwrap().to_vec()).collect()
}

fn library() -> Vec<Vec<u8>> {
    objects(&fs::read(built(TARGET).join("lib/libuniprof.a")).expect("the library reads"))
}

fn header() -> PathBuf {
    sources().join("include/uniprof.h")
}

/// Names of the header's functions.
fn functions() -> BTreeSet<String> {
    let text = fs::read_to_string(header()).expect("the header reads");
    let code = text.lines().filter(|line| !line.starts_with([' ', '/', '#']));
    let names = code.filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next());
    names.filter(|name| name.starts_with("uniprof_")).map(str::to_owned).collect()
}

#[test]
fn c_header_is_what_the_sources_say() {
    let config =
        cbindgen::Config::from_file(sources().join("cbindgen.toml")).expect("the configuration reads");
    let bindings = cbindgen::Builder::new().with_crate(sources()).with_config(config).generate();
    let mut made = Vec::new();
    bindings.expect("cbindgen reads the sources").write(&mut made);
    // What Rust calls safety, in words that say something to C programmers.
    let made = String::from_utf8(made).expect("a header is text");
    let made = made.replace("//\n// # Safety\n// ", "// The caller promises: ");
    if std::env::var_os("UNIPROF_BLESS").is_some() {
        fs::write(header(), &made).expect("the header is written");
    }
    let committed = fs::read_to_string(header()).expect("the header reads");
    assert!(
        made == committed,
        "uniprof.h is out of date: UNIPROF_BLESS=1 cargo test -p uniprof-tests c_header"
    );
}

#[test]
fn c_library_needs_only_what_the_header_asks_of_the_kernel() {
    let functions = functions();
    let (asked, offered): (BTreeSet<_>, BTreeSet<_>) =
        functions.into_iter().partition(|name| name.starts_with("uniprof_os_"));
    assert_eq!(asked.len(), 6, "{asked:?}");
    let linker_made = ["__start_uniprof_sites", "__stop_uniprof_sites"].map(str::to_owned);
    let (mut undefined, mut visible) = (BTreeSet::new(), BTreeSet::new());
    for object in library() {
        let file = File::parse(&*object).expect("an ELF file");
        for symbol in file.symbols().filter(|symbol| symbol.is_global() || symbol.is_weak()) {
            let names = if symbol.is_undefined() { &mut undefined } else { &mut visible };
            names.insert(symbol.name().expect("a name").to_owned());
        }
    }
    assert_eq!(undefined, asked.into_iter().chain(linker_made).collect());
    assert_eq!(visible, offered);
}

/// Whether an instruction touches registers that a kernel's interrupts may not save.
fn touches_floats(register: Register) -> bool {
    let wide = register.is_vector_register() || register.is_st() || register.is_mm();
    wide || register.is_k() || register.is_tmm()
}

/// What is wrong with an instruction in a kernel that saves general registers only and has no red zone.
fn fault(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> Option<&'static str> {
    let info = factory.info(instruction);
    if info.used_registers().iter().any(|used| touches_floats(used.register())) {
        return Some("vector or x87 register");
    }
    if instruction.cpuid_features().iter().any(|feature| format!("{feature:?}").starts_with("FPU")) {
        return Some("x87 instruction");
    }
    let pushes = instruction.is_stack_instruction();
    let below = info.used_memory().iter().any(|memory| {
        let writes_or_reads = memory.access() != OpAccess::None && memory.access() != OpAccess::NoMemAccess;
        writes_or_reads && memory.base() == Register::RSP && (memory.displacement() as i64) < 0
    });
    (below && !pushes).then_some("access below rsp")
}

/// The faults of all code sections of an object file, and how many instructions were looked at.
fn faults(object: &[u8]) -> (Vec<String>, usize) {
    let file = File::parse(object).expect("an ELF file");
    let (mut factory, mut found, mut seen) = (InstructionInfoFactory::new(), Vec::new(), 0);
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let code = section.data().expect("code");
        for instruction in &mut Decoder::new(64, code, DecoderOptions::NONE) {
            seen += 1;
            if let Some(fault) = fault(&instruction, &mut factory) {
                found.push(format!("{}+{:#x}: {fault}", section.name().unwrap(), instruction.ip()));
            }
        }
    }
    (found, seen)
}

#[test]
fn c_library_keeps_off_sse_x87_and_the_red_zone() {
    let (found, seen) = library().iter().fold((Vec::new(), 0), |(mut found, seen), object| {
        let (more, instructions) = faults(object);
        found.extend(more);
        (found, seen + instructions)
    });
    assert!(seen > 5_000, "{seen} instructions: that is not the library");
    assert!(found.is_empty(), "{found:#?}");
}

/// What the check above is worth: code that does each of these things is found.
#[test]
fn c_code_with_sse_x87_or_a_red_zone_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = "
        double sse(double a, double b) { return a * b; }
        long double x87(long double a) { return a * a; }
        long red(long a) { volatile long b[4] = {a, a, a, a}; return b[1]; }";
    let object = compiled("gcc", source, built(TARGET), dir.path(), &["-mred-zone"]);
    let found = faults(&fs::read(object).expect("the object reads")).0.join("\n");
    for kind in ["vector or x87", "below rsp"] {
        assert!(found.contains(kind), "{kind}: {found}");
    }
    let x87 = "long double x87(long double a) { return a * a; }";
    let object = compiled("gcc", x87, built(TARGET), dir.path(), &[]);
    assert!(!faults(&fs::read(object).expect("the object reads")).0.is_empty());
}

const SITES: &str = r#"
#include <uniprof.h>
UNIPROF_STATIC_REGION(1 << 20);
struct request { uint64_t key; const char *peer; };
static inline void inlined(int n) { UNIPROF_EVENT("in.lined", I(n)); }
void off(void) { UNIPROF_EVENT("bare"); }
void all(const struct request *r, void *p, int n)
{
    UNIPROF_SPAN("kv.get", U(key, r->key), S(peer, r->peer));
    UNIPROF_EVENT("every.type", U(n), I(left, -n), B(n > 3), C(L'x'), P(p), S("text"), Y(p, 4), Y(raw, p, n));
    UNIPROF_EVENT("most", U(a1, 1), U(a2, 2), U(a3, 3), U(a4, 4), U(a5, 5), U(a6, 6), U(a7, 7), U(a8, 8), U(a9, 9),
                  U(a10, 10), U(a11, 11), U(a12, 12), U(a13, 13), U(a14, 14), U(a15, 15), U(a16, 16));
    UNIPROF_COUNTER("requests", n);
    UNIPROF_GAUGE("queue", -n);
    UNIPROF_HISTOGRAM("latency", n * 2);
    if (n)
        UNIPROF_EVENT("in.branch");
    else
        UNIPROF_EVENT("in.else");
    struct uniprof_span span = UNIPROF_SPAN_BEGIN("handed.on");
    uniprof_span_end(&span);
    inlined(n);
    UNIPROF_PANIC("no more");
}
"#;

/// What each site of [`SITES`] is, in the order of the source: `kind name(type argument, …)`.
const EXPECTED: [&str; 11] = [
    "event in.lined(signed n)",
    "event bare()",
    "span kv.get(unsigned key, text peer)",
    "event every.type(unsigned n, signed left, bool n > 3, char L'x', address p, text \"text\", bytes p, bytes raw)",
    "event most(unsigned a1, unsigned a2, unsigned a3, unsigned a4, unsigned a5, unsigned a6, unsigned a7, unsigned a8, unsigned a9, unsigned a10, unsigned a11, unsigned a12, unsigned a13, unsigned a14, unsigned a15, unsigned a16)",
    "counter requests(unsigned value)",
    "gauge queue(float value)",
    "histogram latency(unsigned value)",
    "event in.branch()",
    "event in.else()",
    "span handed.on()",
];

#[test]
fn c_macros_make_sites_as_the_format_says() {
    let strict = ["-std=c11", "-Wpedantic", "-mgeneral-regs-only"];
    for (compiler, flags) in [("gcc", &strict[..]), ("clang", &strict[..]), ("gcc", &strict[2..])] {
        let dir = tempfile::tempdir().expect("a directory");
        let object = compiled(compiler, SITES, built(TARGET), dir.path(), flags);
        let object = fs::read(object).expect("the object reads");
        let file = File::parse(&*object).expect("an ELF file");
        let section = file.section_by_name("uniprof_sites").expect("the section");
        let bytes = section.data().expect("its bytes");
        let found: Vec<_> = sites(bytes).collect();
        let told: BTreeSet<String> = found
            .iter()
            .map(|site| {
                let args: Vec<_> = site.args().map(|arg| format!("{} {}", arg.ty.name(), arg.name)).collect();
                format!("{} {}({})", site.kind.name(), site.name, args.join(", "))
            })
            .collect();
        assert_eq!(told, EXPECTED.map(str::to_owned).into(), "{compiler}");
        assert!(found.iter().all(|site| site.file.ends_with("source.c") && site.line > 1 && !site.enabled));
        let entries: usize = found.iter().map(|site| (site_bytes(bytes, site.id)) as usize).sum();
        assert_eq!(entries, bytes.len(), "{compiler}: entries lie one after another");
        assert_eq!(found.iter().filter(|site| site.kind == SiteKind::Histogram).count(), 1);
    }
}

fn site_bytes(section: &[u8], id: u32) -> u16 {
    let id = id as usize;
    u16::from_le_bytes([section[id + 2], section[id + 3]])
}

/// A site that is off costs a load, a compare and a branch that is not taken.
#[test]
fn c_events_that_are_off_cost_a_branch() {
    for compiler in ["gcc", "clang"] {
        let dir = tempfile::tempdir().expect("a directory");
        let flags = ["-mgeneral-regs-only", "-fomit-frame-pointer", "-fcf-protection=none"];
        let source =
            format!("{}void off(void) {{ UNIPROF_EVENT(\"bare\", U(x, 1)); }}", "#include <uniprof.h>\n");
        let object = compiled(compiler, &source, built(TARGET), dir.path(), &flags);
        let object = fs::read(object).expect("the object reads");
        let file = File::parse(&*object).expect("an ELF file");
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok("off")).expect("the function");
        let section = file.section_by_index(symbol.section_index().expect("a section")).expect("the section");
        let code = &section.data().expect("code")[symbol.address() as usize..];
        let mnemonics: Vec<String> = Decoder::new(64, code, DecoderOptions::NONE)
            .into_iter()
            .take(4)
            .map(|instruction| format!("{:?}", instruction.mnemonic()))
            .collect();
        let mnemonics: Vec<&str> = mnemonics.iter().map(String::as_str).collect();
        // clang makes room on the stack first.
        let looks = mnemonics.strip_prefix(&["Sub"]).unwrap_or(&mnemonics);
        let good = [&["Mov", "Test", "Jne"][..], &["Cmp", "Jne"]];
        assert!(good.iter().any(|good| looks.starts_with(good)), "{compiler}: {mnemonics:?}");
    }
}
