//! A page with known figures, open in a browser.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use uniprof_flamegraph::{Amount, Frame, HtmlOptions, Image, Owner, Profile, ProfileBuilder, Title, html};
use uniprof_tests::Browser;

/// 810 samples: 713 of the worker, of 1 ms each (441 of them on vCPU 0), and 97 of the idle thread on vCPU 1, of 2 ms.
pub(super) fn known() -> Profile {
    let mut builder = ProfileBuilder::new();
    let image = builder.image(Image { name: "kv.elf".into(), ..Image::default() });
    let worker = builder.thread(1, "kv-worker");
    let idle = builder.thread(2, "idle hands");
    let mut add = |thread: u32, vcpu: u32, frames: &[Frame<'_>], samples: u64| {
        let root = if thread == 1 { worker } else { idle };
        let ids: Vec<_> =
            frames.iter().map(|frame| builder.frame(frame.located(Some(image), 0x10_0000))).collect();
        let weight = samples * u64::from(thread) * 1_000_000;
        builder.add([root].into_iter().chain(ids), Owner { thread, vcpu }, Amount { samples, weight });
    };
    let entry = Frame::function("kernel::thread::entry").at("src/thread.rs", 40);
    let serve = Frame::function("kv::serve").at("src/kv.rs", 88);
    let parse = Frame::function("kv::parse").at("src/kv.rs", 120).inlined();
    let insert = Frame::function("kv::tree::insert").at("src/tree.rs", 7);
    add(1, 0, &[entry, serve, parse, Frame::function("core::str::from_utf8")], 220);
    add(1, 0, &[entry, serve, Frame::function("<[u8; 16] as kv::Hash>::hash").inlined()], 180);
    add(1, 1, &[entry, serve, insert, Frame::function("alloc::vec::Vec<T>::push")], 260);
    add(1, 1, &[entry, serve, insert, Frame::unknown("[unknown: outside the image]")], 12);
    add(1, 0, &[entry, serve], 41);
    add(2, 1, &[Frame::function("kernel::idle")], 90);
    add(2, 1, &[Frame::function("memset").at("lib/string/memset.c", 3)], 7);
    builder.finish()
}

pub(super) fn title() -> Title {
    Title {
        guest: "kv".into(),
        build_id: Some("5f0c1d7a9be2".into()),
        rate: Some(999.0),
        duration: Some(Duration::from_millis(2_500)),
        samples: 810,
        loss: Some(vec![("overwritten".into(), 120), ("refused".into(), 0)]),
        own_cost: Some(0.0042),
        notes: vec!["emulated CPU (TCG)".into()],
        ..Title::default()
    }
}

/// A page in a browser. It closes with this value.
pub(super) struct Page {
    pub(super) browser: Browser,
    pub(super) file: PathBuf,
    _dir: TempDir,
}

impl Page {
    pub(super) fn of(profile: &Profile, title: &Title) -> Self {
        let dir = tempfile::Builder::new().prefix("uniprof-html-").tempdir().expect("a directory");
        let file = dir.path().join("page.html");
        let mut out = BufWriter::new(File::create(&file).expect("a file"));
        html(profile, title, &HtmlOptions::default(), &mut out).expect("it writes");
        out.into_inner().expect("it is written");
        let mut browser = Browser::start();
        browser.open(&file, "");
        Self { browser, file, _dir: dir }
    }

    pub(super) fn known() -> Self {
        Self::of(&known(), &title())
    }

    /// Samples of the threads and vCPUs that are shown.
    pub(super) fn samples(&mut self) -> Value {
        self.browser.eval("uniprof.total.samples")
    }

    /// The middle of the first frame with this name that is in view.
    #[track_caller]
    pub(super) fn frame(&mut self, name: &str) -> (f64, f64) {
        let found = self.browser.eval(&format!(
            "(() => {{ const frame = uniprof.frames().find((frame) => frame.name === {});
              const box = document.querySelector('canvas').getBoundingClientRect();
              return [box.left + frame.left + frame.width / 2, box.top + frame.top + 9]; }})()",
            json!(name)
        ));
        (found[0].as_f64().expect("x"), found[1].as_f64().expect("y"))
    }

    #[track_caller]
    pub(super) fn click_frame(&mut self, name: &str) {
        let (x, y) = self.frame(name);
        self.browser.click(x, y, 1);
    }

    /// The width of a frame as a share of the window's.
    #[track_caller]
    pub(super) fn share(&mut self, name: &str) -> f64 {
        let share = self.browser.eval(&format!(
            "uniprof.frames().find((frame) => frame.name === {}).width / document.querySelector('canvas').clientWidth",
            json!(name)
        ));
        share.as_f64().expect("a share")
    }

    /// The names in the path to what is zoomed to.
    pub(super) fn crumbs(&mut self) -> Vec<String> {
        strings(&self.browser.eval("[...document.querySelectorAll('.crumb')].map((crumb) => crumb.title)"))
    }

    /// The first cells of the rows of the table that are in view: self, total, name.
    pub(super) fn rows(&mut self) -> Vec<[String; 3]> {
        let rows = self.browser.eval(
            "[...document.querySelectorAll('#rows tr[data-fn]')].map((row) =>
              [row.cells[0].textContent, row.cells[1].textContent, row.cells[2].title.split('\\n')[0]])",
        );
        let rows = rows.as_array().expect("rows");
        rows.iter().map(|row| strings(row).try_into().expect("three cells")).collect()
    }
}

pub(super) fn strings(list: &Value) -> Vec<String> {
    let texts = list.as_array().expect("a list").iter();
    texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
}
