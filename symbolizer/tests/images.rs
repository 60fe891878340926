//! What an image says of itself, and whether it is the guest's.

mod common;

use std::io;
use std::sync::Arc;

use common::Built;
use uniprof_symbolizer::{
    AddressKind, BuildId, Identity, IdentityError, Image, ImageError, LoadBias, Match, Reason, Resolution,
    Symbolizer, check_identity, load,
};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

const SOURCE: &str = r#"
char UNIPROF_REGION[8192] __attribute__((aligned(4096)));
__attribute__((section("uniprof_sites"), used)) const char site[] = "kv.get";
__attribute__((noinline)) int inner(int x) { return x * 3 + 1; }
static inline __attribute__((always_inline)) int middle(int x) { return inner(x) + inner(x + 1); }
int seed = 4;
void _start(void) { seed = middle(seed); for (;;) ; }
"#;

/// A guest whose memory holds the image, moved by `bias`.
fn guest(image: &Image, bias: LoadBias) -> impl FnMut(GuestVirtual, &mut [u8]) -> io::Result<()> {
    let parts: Vec<(u64, Vec<u8>)> = image
        .executable_ranges()
        .into_iter()
        .zip([".text"])
        .map(|(range, name)| (range.start, image.section(name).expect("readable").expect("present").to_vec()))
        .collect();
    move |address, buffer| {
        let link = bias.to_link(address).0;
        let part = parts.iter().find(|(start, bytes)| (*start..start + bytes.len() as u64).contains(&link));
        let (start, bytes) = part.ok_or(io::ErrorKind::NotFound)?;
        let at = (link - start) as usize;
        buffer.copy_from_slice(bytes.get(at..at + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[test]
fn an_image_tells_what_it_contains() {
    let built = Built::new("a.c", SOURCE, &["-g", "-O1", "-Wl,--build-id=0x0123456789abcdef"]);
    let image = built.image();
    assert_eq!(image.build_id().map(ToString::to_string).as_deref(), Some("0123456789abcdef"));
    assert_eq!(image.identity().map(|id| id.to_string()).as_deref(), Some("build-id 0123456789abcdef"));
    let region = image.symbol("UNIPROF_REGION").expect("the symbol is there");
    assert_eq!((region.size, region.address.0 % 4096), (8192, 0));
    assert_eq!(image.symbol("UNIPROF"), None, "a prefix is not the name");
    let sites = image.section("uniprof_sites").expect("readable").expect("present");
    assert_eq!(&sites[..], b"kv.get\0");
    assert!(image.section("absent").expect("readable").is_none());
    let info = image.debug_info();
    assert!(info.dwarf && info.symbols && info.frames, "{info:?}");
    assert!(!image.is_position_independent());
    assert!(image.executable_ranges().iter().any(|range| range.contains(&image.entry().0)));
    assert!(common::this_image().is_position_independent());
}

#[test]
fn equal_build_ids_need_no_memory() {
    let built = Built::new("a.c", SOURCE, &["-Wl,--build-id=0x0123456789abcdef"]);
    let unreadable = |_: GuestVirtual, _: &mut [u8]| Err(io::Error::other("not to be read"));
    let same: BuildId = "0123456789abcdef".parse().expect("valid");
    let found = check_identity(&built.image(), LoadBias::NONE, Some(&same), unreadable);
    assert_eq!(found.expect("equal"), Match::BuildId);

    let other: BuildId = "ffff".parse().expect("valid");
    let error =
        check_identity(&built.image(), LoadBias::NONE, Some(&other), unreadable).expect_err("not equal");
    let text = error.to_string();
    assert!(text.contains("build-id 0123456789abcdef") && text.contains("build-id ffff"), "{text}");
}

#[test]
fn without_a_build_id_the_text_is_compared() {
    let flags = ["-O1", "-Wl,--build-id=none"];
    let ours = Built::new("a.c", SOURCE, &flags).image();
    let other = Built::new("a.c", &SOURCE.replace("x * 3", "x * 5"), &flags).image();
    assert!(ours.build_id().is_none());
    assert!(matches!(ours.identity(), Some(Identity::TextHash(_))));

    for bias in [LoadBias::NONE, LoadBias::new(0x7fff_0000_0000), LoadBias::new(0x10_0000_u64.wrapping_neg())]
    {
        let found = check_identity(&ours, bias, None, guest(&ours, bias)).expect("the same text");
        assert!(matches!(found, Match::Text { bytes } if bytes > 10), "{found:?}");
    }
    let error =
        check_identity(&ours, LoadBias::NONE, None, guest(&other, LoadBias::NONE)).expect_err("different");
    let IdentityError::Mismatch(mismatch) = &error else { panic!("{error}") };
    assert_eq!(Some(&mismatch.expected), ours.identity().as_ref());
    assert_eq!(Some(&mismatch.found), other.identity().as_ref());

    let wrong = LoadBias::new(0x5000_0000);
    let error = check_identity(&ours, LoadBias::NONE, None, guest(&ours, wrong)).expect_err("not there");
    assert!(matches!(error, IdentityError::Unreadable { .. }), "{error}");
}

#[test]
fn a_slim_image_compares_like_the_whole_one() {
    let built = Built::new("a.c", SOURCE, &["-g", "-O1", "-Wl,--build-id=none"]);
    let whole = built.image();
    let slim = Image::parse(uniprof_symbolizer::slim(&built.bytes()).expect("slims")).expect("parses");
    assert_eq!(slim.identity(), whole.identity());
    check_identity(&slim, LoadBias::NONE, None, guest(&whole, LoadBias::NONE)).expect("the same text");
}

#[test]
fn every_address_has_a_symbol_or_a_reason() {
    let built = Built::new("a.c", SOURCE, &["-O1"]);
    let image = built.image();
    let mut symbolizer = Symbolizer::new(Arc::clone(&image), LoadBias::NONE);
    let mut reason = |image: &Image, name: &str| {
        let address = image.symbol(name).expect(name).address;
        symbolizer.resolve(GuestVirtual(address.0), AddressKind::Instruction).to_string()
    };
    assert_eq!(reason(&image, "UNIPROF_REGION"), "[unknown: not code, in .bss]");
    assert_eq!(reason(&image, "site"), "[unknown: not code, in uniprof_sites]");
    assert_eq!(reason(&image, "inner"), "inner");
    let far = symbolizer.resolve(GuestVirtual(0x10), AddressKind::Return);
    assert_eq!(far, Resolution::Unknown(Reason::OutsideImage));
    assert_eq!(symbolizer.tally().unknown, 3);
    assert_eq!(symbolizer.tally().symbol_table, 1);

    let stripped = Built::new("a.c", SOURCE, &["-O1", "-s"]).image();
    let entry = GuestVirtual(stripped.entry().0);
    let mut symbolizer = Symbolizer::new(stripped, LoadBias::NONE);
    let text = symbolizer.resolve(entry, AddressKind::Instruction).to_string();
    assert_eq!(text, "[unknown: image has no symbols, in .text]");
}

#[test]
fn labels_and_padding_of_assembly() {
    let source = r#"
        .text
        .globl _start
        _start: nop
                jmp early
                .balign 64
        .type sized, @function
        sized:  nop
                ret
        .size sized, . - sized
                .fill 14, 1, 0xcc
        early:  jmp early
    "#;
    let image = Built::new("a.s", source, &[]).image();
    let start = image.symbol("_start").expect("a label").address.0;
    let sized = image.symbol("sized").expect("a function").address.0;
    let mut symbolizer = Symbolizer::new(image, LoadBias::NONE);
    let mut name = |address| symbolizer.resolve(GuestVirtual(address), AddressKind::Instruction).to_string();
    assert_eq!(name(start + 40), "_start", "a label without a size reaches to the next symbol");
    assert_eq!(name(sized + 1), "sized");
    assert_eq!(name(sized + 5), "[unknown: no symbol covers it, in .text]");
    assert_eq!(name(sized + 16), "early");
}

#[test]
fn a_return_address_belongs_to_the_call_before_it() {
    let source = r#"
        __attribute__((noinline, noreturn)) void stop(void) { for (;;) ; }
        __attribute__((noinline, noreturn)) void last(void) { stop(); }
        __attribute__((noinline)) void after(void) { __asm__ volatile(""); }
        void _start(void) { after(); last(); }
    "#;
    let image = Built::new(
        "a.c",
        source,
        &["-g", "-O1", "-fno-reorder-functions", "-falign-functions=1", "-fno-toplevel-reorder"],
    )
    .image();
    let after = image.symbol("after").expect("a function").address;
    let last = image.symbol("last").expect("a function");
    assert_eq!(LinkAddress(last.address.0 + last.size), after, "the call ends its function");
    let bias = LoadBias::new(0x1000);
    let mut symbolizer = Symbolizer::new(image, bias);
    let address = bias.to_guest(after);
    assert_eq!(symbolizer.resolve(address, AddressKind::Instruction).to_string(), "after");
    assert_eq!(symbolizer.resolve(address, AddressKind::Return).to_string(), "last");
    let both =
        symbolizer.resolve_many(&[(address, AddressKind::Return), (address, AddressKind::Instruction)]);
    assert_eq!(both.iter().map(ToString::to_string).collect::<Vec<_>>(), ["last", "after"]);
}

#[test]
fn what_is_no_image_is_told_apart() {
    let error = |bytes: &[u8]| Image::parse(bytes).expect_err("no image").to_string();
    assert!(error(b"MZ\x90\0").starts_with("not an ELF file: it starts with 4d 5a 90 00;"));
    assert!(error(b"").starts_with("not an ELF file: it is empty;"));
    assert!(error(b"\x7fELF").contains("ends within its header"));
    let mut bytes = Built::new("a.c", SOURCE, &[]).bytes();
    for (at, value, expected) in
        [(4, 1, "32-bit"), (5, 2, "big-endian"), (18, 183, "machine 183"), (16, 4, "core file")]
    {
        let old = std::mem::replace(&mut bytes[at], value);
        assert!(error(&bytes).contains(expected), "{}", error(&bytes));
        bytes[at] = old;
    }
    let absent = load("/nonexistent/kernel").expect_err("no file");
    assert!(matches!(absent, ImageError::Read { .. }), "{absent}");
    assert!(load("/").expect_err("a folder").to_string().starts_with("cannot read /"));
}

#[test]
fn everything_moves_between_threads() {
    fn moves<T: Send>() {}
    moves::<Symbolizer>();
    moves::<uniprof_symbolizer::LeafRules>();
    fn shared<T: Send + Sync>() {}
    shared::<Arc<Image>>();
}
