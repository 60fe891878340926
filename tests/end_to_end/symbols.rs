//! Symbols that lie elsewhere than in the image: found when recording, and afterwards.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use serde_json::Value;
use uniprof_tests::{Scene, assert_matches_its_schema};

const LINE: [&str; 7] = ["record", "-F", "199", "-d", "2", "-o", "r.uniprof"];

/// `k.elf` without names, and what was taken from it in a file of this name.
fn stripped(scene: &Scene, debug_file: &str) {
    scene.run(&["kernel", "-o", "k.elf"]).ok();
    for words in [&["--only-keep-debug", "k.elf", debug_file][..], &["-S", "k.elf"]] {
        let status = Command::new("objcopy").args(words).current_dir(scene.path("")).status();
        assert!(status.expect("objcopy runs; `apt-get install binutils`").success());
    }
}

fn record(scene: &Scene) {
    scene.run(&[&LINE[..], &["--", "k.elf", "workload=ratio"]].concat()).ok();
}

fn named_share(report: &Value) -> f64 {
    report["named_share"].as_f64().expect("a share")
}

#[test]
fn a_debug_file_beside_the_kernel_travels_with_the_recording() {
    let scene = Scene::with_guest();
    stripped(&scene, "k.elf.dbg");
    record(&scene);
    for file in ["k.elf", "k.elf.dbg"] {
        fs::remove_file(scene.path(file)).unwrap();
    }
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert!(named_share(&report) >= 0.95, "{report}");
    let symbols = scene.run(&["symbols", "r.uniprof", "--json"]).ok().json();
    assert_matches_its_schema(&symbols);
    assert_eq!(
        (&symbols["images"][0]["dwarf"], &symbols["images"][0]["name"]),
        (&true.into(), &"k.elf".into())
    );
}

#[test]
fn a_debug_file_is_found_later_in_folders_and_on_servers() {
    let scene = Scene::with_guest();
    fs::create_dir(scene.path("lib")).unwrap();
    stripped(&scene, "lib/elsewhere");
    record(&scene);
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert_eq!(named_share(&report), 0.0, "{report}");
    assert!(
        scene.run(&["report", "r.uniprof"]).ok().stdout.contains("[unknown: image has no symbols, in .text]")
    );
    let looked = scene.run(&["symbols", "r.uniprof"]).ok().stdout;
    let id = report["image"]["build_id"].as_str().unwrap();
    for place in [
        format!("/usr/lib/debug/.build-id/{}/{}.debug: not used, no such file", &id[..2], &id[2..]),
        format!("cache/uniprof/debug-files/{id}/debuginfo"),
    ] {
        assert!(looked.contains(&place), "{place} is missing:\n{looked}");
    }

    let report = scene.run(&["report", "r.uniprof", "--symbols", "lib", "--json"]).ok().json();
    assert!(named_share(&report) >= 0.95, "{report}");

    let (url, asked) = serve(fs::read(scene.path("lib/elsewhere")).unwrap());
    let with = |urls: &str| {
        let mut command = scene.command(&["report", "r.uniprof", "--json"]);
        scene.run_command(command.env("DEBUGINFOD_URLS", urls)).ok()
    };
    assert!(named_share(&with(&url).json()) >= 0.95);
    // Kept: neither a server nor the variable is needed again.
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert!(named_share(&report) >= 0.95, "{report}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    fs::remove_dir_all(scene.path("../cache/uniprof")).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = with(&format!("http://{nobody}"));
    assert_eq!(ended.stderr.matches("uniprof: debuginfod server").count(), 1, "{}", ended.stderr);
    assert_eq!(named_share(&ended.json()), 0.0);
}

/// A debuginfod server with one file.
fn serve(file: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            assert!(request.starts_with("GET /buildid/") && request.contains("/debuginfo "), "{request}");
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&file));
        }
    });
    (url, asked)
}
