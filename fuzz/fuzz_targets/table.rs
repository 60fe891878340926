//! Any bytes as the file of a symbol table: as they are, and as changes to a real table whose checksum is then made right, because
//! no fuzzer guesses a checksum.
#![no_main]

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use uniprof_symbolizer::{Image, Table};
use uniprof_wire::address::LinkAddress;

/// Where the header has the checksum, and from where on it counts.
const CHECKSUM: usize = 24;
const CHECKED: usize = 28;
/// A change: an offset of four bytes, and the eight bytes to put there.
const CHANGE: usize = 12;

/// A table of a small C program, made once by the machine's compiler.
fn real() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let source = "static inline int twice(int x) { int y; __asm__ volatile(\"imul $7, %1, %0\" : \"=r\"(y) : \"r\"(x)); return y; }\n\
                      __attribute__((noinline)) int shown(int x) { return twice(x) + twice(x + 1); }\n\
                      int seed = 4; void _start(void) { seed = shown(seed); for (;;) ; }\n";
        let dir = std::env::temp_dir().join(format!("uniprof-fuzz-table-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        std::fs::write(dir.join("a.c"), source).expect("a source file");
        let words = ["-O2", "-g", "-static", "-nostdlib", "-no-pie", "a.c", "-o", "a"];
        let made = std::process::Command::new("cc").args(words).current_dir(&dir).status().expect("a compiler");
        assert!(made.success());
        let elf = std::fs::read(dir.join("a")).expect("an image");
        std::fs::remove_dir_all(&dir).expect("the folder goes");
        let image = Image::parse(elf).expect("a real image");
        Table::build(&image, NonZeroUsize::MIN).expect("a real table").as_bytes().concat()
    })
}

fn ask(bytes: Vec<u8>) {
    let Ok(table) = Table::open(bytes) else { return };
    let some: Vec<LinkAddress> = table.addresses().take(256).collect();
    for address in some {
        for near in [address.0.wrapping_sub(1), address.0, address.0.wrapping_add(1)] {
            for frame in table.frames(LinkAddress(near)) {
                let _ = (frame.function.len(), frame.file.map(str::len), frame.line, frame.inlined);
            }
        }
    }
    let _ = (table.identity(), table.damage(), table.size());
}

fuzz_target!(|bytes: &[u8]| {
    ask(bytes.to_vec());
    let mut changed = real().to_vec();
    for change in bytes.chunks_exact(CHANGE).take(32) {
        let at = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize % changed.len();
        let end = (at + 8).min(changed.len());
        changed[at..end].copy_from_slice(&change[4..4 + end - at]);
    }
    let sum = crc32fast::hash(&changed[CHECKED..]);
    changed[CHECKSUM..CHECKED].copy_from_slice(&sum.to_le_bytes());
    ask(changed);
});
