//! Tables that are kept: found again, made anew when they are damaged, written by several at once, and cleared away.

mod common;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::Built;
use uniprof_symbolizer::{AddressKind, Cache, Image, LoadBias, Symbolizer, Table, Tables};
use uniprof_wire::address::GuestVirtual;

const LONG: Duration = Duration::from_secs(60);

fn source(name: &str) -> String {
    format!(
        "int seed = 4;\nint {name}(int x) {{ return x * 3 + 1; }}\nvoid _start(void) {{ for (;;) seed = {name}(seed); }}\n"
    )
}

fn image(name: &str) -> Arc<Image> {
    Built::new("a.c", &source(name), &["-g", "-O1", "-Wl,--build-id"]).image()
}

fn table(image: &Image) -> Table {
    Table::build(image, NonZeroUsize::MIN).expect("a small image fits")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_or_else(|_| Vec::new(), |all| all.map(|one| one.expect("readable").path()).collect());
    files.sort();
    files
}

/// A symbolizer with the cache, after its table is ready.
fn symbolizer(image: &Arc<Image>, cache: &Cache) -> Symbolizer {
    let tables = Tables { cache: Some(cache.clone()), after: 1, wait: LONG, ..Tables::default() };
    let mut symbolizer = Symbolizer::with_tables(Arc::clone(image), LoadBias::NONE, tables);
    assert!(symbolizer.wait_for_table(LONG));
    symbolizer
}

fn name(symbolizer: &mut Symbolizer, symbol: &str) -> String {
    let address = symbolizer.image().symbol(symbol).expect("a symbol").address.0;
    symbolizer.resolve(GuestVirtual(address), AddressKind::Instruction).to_string()
}

#[test]
fn a_table_is_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::new(folder.path().join("deep/er"));
    let image = image("once");
    assert!(cache.open(&image).is_none());
    assert_eq!(name(&mut symbolizer(&image, &cache), "once"), "once");
    let kept = files(cache.folder());
    assert_eq!(kept, [cache.path(&image).expect("a build-id")]);
    let mut forged = table(&image).as_bytes().concat();
    // The name of the function in the file shows that it is the file that is used.
    let at = forged.windows(4).position(|part| part == b"once").expect("the name is in it");
    forged[at..at + 4].copy_from_slice(b"ONCE");
    let checksum = crc32fast::hash(&forged[28..]);
    forged[24..28].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&kept[0], forged).expect("written");
    assert_eq!(name(&mut symbolizer(&image, &cache), "once"), "ONCE");
}

#[test]
fn another_image_has_another_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::new(folder.path());
    let (one, two) = (image("one"), image("two"));
    cache.keep(&table(&one)).expect("kept");
    assert!(cache.open(&one).is_some() && cache.open(&two).is_none());
    // The same build with less debug information is something else.
    let built = Built::new("a.c", &source("one"), &["-g", "-O1", "-Wl,--build-id"]);
    let stripped = Image::parse(common::objcopy(&built.path, &["-g"])).expect("an image");
    assert_eq!(stripped.build_id(), built.image().build_id());
    assert_ne!(cache.path(&stripped), cache.path(&built.image()));
    // One table under the other's name is not believed.
    fs::rename(cache.path(&one).expect("named"), cache.path(&two).expect("named")).expect("renamed");
    assert!(cache.open(&two).is_none());
}

#[test]
fn what_is_damaged_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::new(folder.path());
    let image = image("again");
    let good = table(&image).as_bytes().concat();
    let path = cache.path(&image).expect("a build-id");
    let mut other_version = good.clone();
    other_version[8] += 1;
    for bad in
        [&good[..good.len() / 2], &[], b"something else", &other_version, &[&good[..], b"more"].concat()]
    {
        fs::write(&path, bad).expect("written");
        assert!(cache.open(&image).is_none());
        assert_eq!(name(&mut symbolizer(&image, &cache), "again"), "again");
        assert!(fs::read(&path).expect("there") == good);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a file");
    fs::write(&file, "in the way").expect("written");
    let cache = Cache::new(file.join("below"));
    let image = image("alone");
    assert!(cache.keep(&table(&image)).is_err());
    assert_eq!(name(&mut symbolizer(&image, &cache), "alone"), "alone");
}

#[test]
fn the_least_recently_used_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let images: Vec<Arc<Image>> = ["aaa", "bbb", "ccc"].iter().map(|name| image(name)).collect();
    let tables: Vec<Table> = images.iter().map(|image| table(image)).collect();
    let cache = Cache::new(folder.path()).with_limit(tables[0].size() * 5 / 2);
    let hour = |ago: u64| SystemTime::now() - Duration::from_secs(3600 * ago);
    let date = |image: &Image, ago| {
        let path = cache.path(image).expect("a build-id");
        let file = fs::File::options().append(true).open(path).expect("there");
        file.set_modified(hour(ago)).expect("dated");
    };
    let unfinished = folder.path().join(".unfinished-1-1");
    fs::write(&unfinished, "half").expect("written");
    fs::File::options().append(true).open(&unfinished).expect("there").set_modified(hour(9)).expect("dated");
    let foreign = folder.path().join("notes.txt");
    fs::write(&foreign, "mine").expect("written");
    cache.keep(&tables[0]).expect("kept");
    cache.keep(&tables[1]).expect("kept");
    assert!(!unfinished.exists(), "left by a process that is no more");
    date(&images[0], 3);
    date(&images[1], 2);
    assert!(cache.open(&images[0]).is_some(), "which makes it the last that was used");
    cache.keep(&tables[2]).expect("kept");
    let there: Vec<bool> = images.iter().map(|image| cache.open(image).is_some()).collect();
    assert_eq!(there, [true, false, true]);
    assert!(foreign.exists(), "what is not ours stays");
    let tiny = cache.with_limit(10);
    tiny.keep(&tables[1]).expect("nothing to do");
    assert!(tiny.open(&images[0]).is_none(), "too large to be read");
}

const FOLDER: &str = "UNIPROF_TEST_CACHE";
const IMAGE: &str = "UNIPROF_TEST_IMAGE";

/// Run by the next test in processes of their own; alone it does nothing.
#[test]
fn keeps_again_and_again() {
    let (Some(folder), Some(file)) = (std::env::var_os(FOLDER), std::env::var_os(IMAGE)) else { return };
    let image = uniprof_symbolizer::load(file).expect("an image");
    let (cache, table) = (Cache::new(folder), table(&image));
    for _ in 0..200 {
        cache.keep(&table).expect("kept");
        let found = cache.open(&image).expect("whole, whoever wrote it");
        assert!(found.as_bytes() == table.as_bytes());
    }
}

#[test]
fn processes_write_the_same_table_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let built = Built::new("a.c", &source("many"), &["-g", "-O1", "-Wl,--build-id"]);
    let children: Vec<_> = (0..2)
        .map(|_| {
            let mut child = Command::new(common::this_program());
            child
                .args(["--exact", "keeps_again_and_again"])
                .env(FOLDER, folder.path())
                .env(IMAGE, &built.path);
            child.stdout(std::process::Stdio::null()).spawn().expect("this program runs")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!(files(folder.path()).len(), 1, "no unfinished file is left");
}
