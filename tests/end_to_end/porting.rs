//! What `docs/porting.md` shows as code is code that compiles.

use std::fs;
use std::path::Path;

#[test]
fn the_code_of_the_porting_guide_is_that_of_the_files_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let guide = fs::read_to_string(root.join("docs/porting.md")).expect("the guide reads");
    let mut blocks = 0;
    for part in guide.split("<!-- from ").skip(1) {
        let (file, part) = part.split_once(" -->").expect("a file's name");
        let block = part.split("```").nth(1).expect("a block of code behind it");
        let (language, code) = block.split_once('\n').expect("a language");
        assert!(["rust", "c"].contains(&language), "{language}");
        let whole = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(whole.contains(code.trim_end()), "{file} has no such lines:\n{code}");
        blocks += 1;
    }
    let all = ["```rust", "```c\n"].map(|fence| guide.matches(fence).count());
    assert_eq!(blocks, all.iter().sum::<usize>(), "each block says where it is from");
    assert!(blocks >= 4);
}
