//! Exports, read by the programs that they are for; what those say is compared with our own JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use uniprof_tests::{Counts, ProfileDocument, Running, Scene, assert_matches_its_schema, consumers};

const LIMIT: Duration = Duration::from_secs(60);
/// The Firefox Profiler has no tracks but threads, so the console has a number that no thread has.
const CONSOLE_TRACK: u64 = 0xfffe_0000;
/// The build-id of the kernel in the built-in recording is 40 digits.
const BUILD_ID_DIGITS: usize = 40;

fn document(scene: &Scene, input: &str) -> ProfileDocument {
    let document = scene.run(&["export", input, "--format", "json"]).ok().json();
    assert_matches_its_schema(&document);
    ProfileDocument(document)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Stacks and their sums.
fn folded_lines(text: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let (stack, count) = line.rsplit_once(' ').expect(line);
        *sums.entry(stack.to_owned()).or_default() += count.parse::<u64>().expect(line);
    }
    sums
}

fn folded_name(frame: &Value) -> String {
    let mark = if frame["inlined"] == true { " (inlined)" } else { "" };
    format!("{}{mark}", text(&frame["name"]).replace(';', ":"))
}

#[test]
fn json_holds_what_folded_text_and_the_report_say() {
    let scene = Scene::new();
    let document = document(&scene, "sample");
    for (list, value, time) in [("sums", "samples", None), ("sums", "weight_ns", Some("--time"))] {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for entry in document.list(list) {
            let names: Vec<String> = document.stack(entry).into_iter().map(folded_name).collect();
            *sums.entry(names.join(";")).or_default() += ProfileDocument::number(entry, value);
        }
        let words = ["export", "sample", "--format", "folded"].into_iter().chain(time);
        let folded = scene.run(&words.collect::<Vec<_>>()).ok().stdout;
        assert_eq!(folded_lines(&folded), sums, "{value}");
    }
    let times: Vec<u64> =
        document.list("timeline").iter().map(|sample| ProfileDocument::number(sample, "at_ns")).collect();
    assert!(times.is_sorted());
    assert_eq!(times.len() as u64, ProfileDocument::number(&document.0, "samples"));
    let report = scene.run(&["report", "sample", "--json"]).ok().json();
    let functions = document.functions(None, |frame| text(&frame["name"]).to_owned());
    let rows = report["functions"].as_array().unwrap();
    assert_eq!(rows.len(), functions.len());
    for row in rows {
        let counts = (ProfileDocument::number(row, "self"), ProfileDocument::number(row, "total"));
        assert_eq!(functions[text(&row["name"])], counts, "{row}");
    }
    assert!(document.list("frames").iter().any(|frame| frame["inlined"] == true && frame["line"].is_u64()));
    assert_eq!(text(&document.list("images")[0]["build_id"]).len(), BUILD_ID_DIGITS);
}

fn go(scene: &Scene, words: &[&str]) -> String {
    scene.run_command(&mut consumers::system(scene, "go", &[&["tool", "pprof"], words].concat())).ok().stdout
}

#[test]
fn pprof_says_the_same_of_every_function() {
    let scene = Scene::new();
    let document = document(&scene, "sample");
    let ended = scene.run(&["export", "sample", "--format", "pprof"]).ok();
    assert!(ended.stderr.contains("next: go tool pprof -http=: sample.pb.gz"), "{}", ended.stderr);
    let all = ["-nodecount=1000000", "-nodefraction=0", "-edgefraction=0"];
    let words = [&["-top", "-sample_index=samples"], &all[..], &["sample.pb.gz"]].concat();
    let top = go(&scene, &words);
    let mut found: BTreeMap<String, Counts> = BTreeMap::new();
    let rows = top.lines().skip_while(|line| !line.trim_start().starts_with("flat ")).skip(1);
    for row in rows {
        let words: Vec<&str> = row.split_whitespace().collect();
        let name = words[5..].join(" ");
        let name = name.strip_suffix(" (inline)").or(name.strip_suffix(" (partial-inline)")).unwrap_or(&name);
        let counts = (words[0].parse().expect(row), words[3].parse().expect(row));
        assert_eq!(found.insert(name.to_owned(), counts), None, "{name} twice");
    }
    assert_eq!(found, document.functions(None, |frame| text(&frame["name"]).to_owned()));
    let time = go(&scene, &["-top", "sample.pb.gz"]);
    assert!(time.contains("Type: cpu\n"), "time is what is shown first: {time}");
}

#[test]
fn pprof_finds_labels_images_inlines_and_lines() {
    let scene = Scene::new();
    let document = document(&scene, "sample");
    scene.run(&["export", "sample", "--format", "pprof", "-o", "s.pb.gz"]).ok();
    let raw = go(&scene, &["-raw", "s.pb.gz"]);
    let (samples, rest) = raw.split_once("\nLocations\n").expect("locations");
    let (locations, mappings) = rest.split_once("\nMappings\n").expect("mappings");
    assert!(
        samples.contains("\nPeriod: 2004008\n") && samples.contains("PeriodType: cpu nanoseconds"),
        "{samples}"
    );
    assert!(samples.contains("samples/count cpu/nanoseconds[dflt]\n"));
    assert_eq!(owners_in_raw(samples), named_owners(&document));
    let image = &document.list("images")[0];
    let range = format!("{}/{}/0x0", text(&image["start"]), text(&image["end"]));
    for part in [text(&image["build_id"]), &range, "[FN][FL][LN][IN]"] {
        assert!(mappings.contains(part), "{part} is missing in {mappings}");
    }
    // The lines of an address after its first are what that is inlined into.
    let inlined = locations.lines().filter(|line| !line.trim_start().contains(": 0x")).count();
    assert!(inlined > 50, "{inlined} inlined functions: {locations}");
    for frame in document.list("frames").iter().filter(|frame| frame["address"].is_string()) {
        let address = format!(": {} M=1 ", text(&frame["address"]));
        assert!(locations.contains(&address), "{frame}");
        if let (Some(file), Some(line)) = (frame["file"].as_str(), frame["line"].as_u64()) {
            assert!(locations.contains(&format!("{file}:{line}")), "{frame}");
        }
    }
    let traces = go(&scene, &["-traces", "s.pb.gz"]);
    let blocks = traces.lines().filter(|line| line.starts_with("-----------+--")).count();
    assert_eq!(blocks, document.list("sums").len() + 1);
}

/// From thread name, thread id and vCPU to samples and nanoseconds.
type NamedOwners = BTreeMap<(String, u64, u64), Counts>;

fn named_owners(document: &ProfileDocument) -> NamedOwners {
    let threads = document.threads();
    document
        .owners()
        .into_iter()
        .map(|((thread, vcpu), counts)| ((threads[&thread].clone(), thread, vcpu), counts))
        .collect()
}

fn owners_in_raw(samples: &str) -> NamedOwners {
    let mut owners = NamedOwners::new();
    let lines: Vec<&str> =
        samples.lines().skip_while(|line| !line.starts_with("samples/count")).skip(1).collect();
    let label = |line: &str, key: &str| -> Option<String> {
        let (_, rest) = line.split_once(&format!(" {key}:["))?;
        Some(rest.split_once(']')?.0.to_owned())
    };
    for block in lines.chunk_by(|_, next| next.trim_start().contains(":[")) {
        let (values, _) = block[0].split_once(':').expect(block[0]);
        let values: Vec<u64> = values.split_whitespace().map(|value| value.parse().expect(value)).collect();
        let find = |key| block.iter().find_map(|line| label(line, key)).expect(key);
        assert_eq!(find("guest"), "uniprof-sample-kernel");
        let owner = (find("thread"), find("thread_id").parse().unwrap(), find("vcpu").parse().unwrap());
        let counts = owners.entry(owner).or_default();
        counts.0 += values[0];
        counts.1 += values[1];
    }
    owners
}

/// Mozilla's command line for profiles, which keeps the profile in a process of its own.
struct FirefoxProfiler<'a> {
    scene: &'a Scene,
    _server: Running,
}

impl<'a> FirefoxProfiler<'a> {
    fn open(scene: &'a Scene, file: &str) -> Self {
        let path = scene.path(file);
        let words = ["--daemon", path.to_str().unwrap(), "--session", "test"];
        let mut server = scene.start_command(&mut Self::command(scene, &words));
        let log = scene.path("sessions/test.log");
        let until = Instant::now() + LIMIT;
        // Whoever asks before it is ready takes it for dead and removes its socket.
        while !fs::read_to_string(&log).is_ok_and(|log| log.contains("Profile loaded successfully")) {
            let log = fs::read_to_string(&log).unwrap_or_default();
            assert!(!server.has_ended(), "the profiler refuses {file}: {log}");
            assert!(Instant::now() < until, "the profiler does not open {file}: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { scene, _server: server }
    }

    fn command(scene: &Scene, words: &[&str]) -> std::process::Command {
        let program = consumers::npm("@firefox-devtools/profiler-cli/dist/profiler-cli.js");
        let words = [&[program.to_str().unwrap()], words].concat();
        let mut command = consumers::system(scene, "node", &words);
        command.env("PROFILER_CLI_SESSION_DIR", scene.path("sessions"));
        command
    }

    fn ask(&self, words: &[&str]) -> Value {
        let words = [words, &["--json", "--session", "test"]].concat();
        self.scene.run_command(&mut Self::command(self.scene, &words)).ok().json()
    }
}

#[test]
fn the_firefox_profiler_says_the_same_of_every_thread_and_function() {
    let scene = Scene::new();
    let document = document(&scene, "sample");
    let ended = scene.run(&["export", "sample", "--format", "firefox"]).ok();
    assert!(
        ended.stderr.contains("https://profiler.firefox.com and load sample.firefox.json"),
        "{}",
        ended.stderr
    );
    let profiler = FirefoxProfiler::open(&scene, "sample.firefox.json");
    let list = profiler.ask(&["thread", "list"]);
    let threads = list["threads"].as_array().unwrap();
    // What was logged before there were threads is on none.
    let mut names: BTreeMap<u64, String> = threads
        .iter()
        .map(|thread| (ProfileDocument::number(thread, "tid"), text(&thread["name"]).to_owned()))
        .collect();
    assert_eq!(names.remove(&0).as_deref(), Some("no thread"));
    assert_eq!(names.remove(&CONSOLE_TRACK).as_deref(), Some("console"));
    assert_eq!(names, document.threads());
    for thread in threads.iter().filter(|thread| thread["tid"] != 0 && thread["tid"] != CONSOLE_TRACK) {
        assert!(thread["markerCount"].as_u64().unwrap() > 0, "no vCPU is told: {thread}");
        let words = [
            "thread",
            "functions",
            "--limit",
            "0",
            "--include-idle",
            "--thread",
            text(&thread["threadHandle"]),
        ];
        let answer = profiler.ask(&words);
        let row = |row: &Value| {
            let number = |name| ProfileDocument::number(row, name);
            (text(&row["name"]).to_owned(), (number("selfSamples"), number("totalSamples")))
        };
        let mut found: Vec<(String, Counts)> =
            answer["functions"].as_array().unwrap().iter().map(row).collect();
        let id = ProfileDocument::number(thread, "tid");
        let key = |frame: &Value| (text(&frame["name"]).to_owned(), frame["file"].to_string());
        let functions = document.functions(Some(id), key);
        let mut expected: Vec<_> = functions.into_iter().map(|((name, _), counts)| (name, counts)).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{thread}");
    }
}

#[test]
fn a_firefox_profile_has_times_inlines_lines_and_images() {
    let scene = Scene::new();
    let document = document(&scene, "sample");
    let profile = scene.run(&["export", "sample", "--format", "firefox", "-o", "-"]).ok().json();
    let mut times: Vec<(u64, u64)> = Vec::new();
    for thread in profile["threads"].as_array().unwrap() {
        let samples = &thread["samples"];
        let columns =
            samples["time"].as_array().unwrap().iter().zip(samples["threadCPUDelta"].as_array().unwrap());
        times.extend(
            columns.map(|(at, cpu)| ((at.as_f64().unwrap() * 1e6).round() as u64, cpu.as_u64().unwrap())),
        );
    }
    times.sort_unstable();
    let number = ProfileDocument::number;
    let mut expected: Vec<(u64, u64)> = document
        .list("timeline")
        .iter()
        .map(|one| (number(one, "at_ns"), number(one, "weight_ns")))
        .collect();
    expected.sort_unstable();
    assert_eq!(times, expected);
    let frames = &profile["shared"]["frameTable"];
    let column = |name: &str| frames[name].as_array().unwrap();
    let inlined = |document: &ProfileDocument| {
        document.list("frames").iter().filter(|frame| frame["inlined"] == true).count()
    };
    assert_eq!(column("inlineDepth").iter().filter(|depth| **depth != 0).count(), inlined(&document));
    let lines = document.list("frames").iter().filter(|frame| frame["line"].is_u64()).count();
    assert_eq!(column("line").iter().filter(|line| line.is_u64()).count(), lines);
    let build_id = text(&document.list("images")[0]["build_id"]).to_ascii_uppercase();
    let lib = &profile["libs"][0];
    assert_eq!(text(&lib["codeId"]).to_ascii_uppercase(), build_id);
    // The last eight bytes are in the order of the build-id.
    assert_eq!(text(&lib["breakpadId"])[16..], format!("{}0", &build_id[16..32]));
}

#[test]
fn speedscope_accepts_its_format_and_weights_are_nanoseconds() {
    let scene = Scene::new();
    let document = document(&scene, "sample");
    scene.run(&["export", "sample", "--format", "speedscope"]).ok();
    let schema = consumers::npm("speedscope/dist/release/file-format-schema.json");
    let words = [schema.to_str().unwrap(), "sample.speedscope.json"];
    scene.run_command(&mut consumers::python(&scene, "validate.py", &words)).ok();
    // What the schema must refuse, so that it is known to be looked at.
    fs::write(scene.path("bad.json"), r#"{"$schema": "x", "profiles": [], "shared": {"frames": []}}"#)
        .unwrap();
    let words = [schema.to_str().unwrap(), "bad.json"];
    scene.run_command(&mut consumers::python(&scene, "validate.py", &words)).failed_with(1);

    let file: Value =
        serde_json::from_slice(&fs::read(scene.path("sample.speedscope.json")).unwrap()).unwrap();
    let mut expected: BTreeMap<String, Counts> = BTreeMap::new();
    for ((name, _, vcpu), counts) in named_owners(&document) {
        for name in [name, format!("vCPU {vcpu}")] {
            let sum = expected.entry(name).or_default();
            *sum = (sum.0 + counts.0, sum.1 + counts.1);
        }
    }
    let mut found: BTreeMap<String, Counts> = BTreeMap::new();
    for profile in file["profiles"].as_array().unwrap() {
        assert_eq!(profile["unit"], "nanoseconds");
        let weights = profile["weights"].as_array().unwrap();
        let sum = weights.iter().map(|weight| weight.as_u64().unwrap()).sum::<u64>();
        assert_eq!(profile["endValue"], sum);
        let samples = profile["samples"].as_array().unwrap().len();
        assert_eq!(weights.len(), samples);
        found.insert(text(&profile["name"]).to_owned(), (samples as u64, sum));
    }
    assert!(agree(&found, &expected), "{found:?} {expected:?}");
    let frames = file["shared"]["frames"].as_array().unwrap();
    assert!(frames.iter().any(|frame| frame["file"].is_string() && frame["line"].is_u64()));
}

/// Whether samples are equal and times as good as equal: each sample's is rounded down to a nanosecond.
fn agree(found: &BTreeMap<String, Counts>, expected: &BTreeMap<String, Counts>) -> bool {
    found.len() == expected.len()
        && found.iter().all(|(name, found)| {
            expected.get(name).is_some_and(|sum| sum.0 == found.0 && sum.1.abs_diff(found.1) <= sum.0)
        })
}

#[test]
fn perfetto_finds_every_sample_with_its_thread_vcpu_and_stack() {
    let scene = Scene::new();
    let document = document(&scene, "sample");
    let ended = scene.run(&["export", "sample", "--format", "perfetto"]).ok();
    assert!(
        ended.stderr.contains("https://ui.perfetto.dev and load sample.perfetto-trace"),
        "{}",
        ended.stderr
    );
    let words = ["sample.perfetto-trace"];
    let trace = scene.run_command(&mut consumers::python(&scene, "perfetto_trace.py", &words)).ok().json();
    let found = trace["samples"].as_array().unwrap();
    assert_eq!(found.len(), document.list("timeline").len());
    for (found, sample) in found.iter().zip(document.list("timeline")) {
        assert_eq!([&found[0], &found[1], &found[2]], [&sample["at_ns"], &sample["thread"], &sample["vcpu"]]);
        let expected: Vec<Value> = document.stack(sample)[1..]
            .iter()
            .map(|frame| {
                let mark = if frame["inlined"] == true { " (inlined)" } else { "" };
                let address =
                    frame["address"].as_str().and_then(|hex| u64::from_str_radix(&hex[2..], 16).ok());
                serde_json::json!([
                    format!("{}{mark}", text(&frame["name"])),
                    frame["file"],
                    line(frame),
                    address
                ])
            })
            .collect();
        assert_eq!(found[3].as_array().unwrap(), &expected);
    }
    let mut names: BTreeMap<u64, String> = serde_json::from_value(trace["threads"].clone()).unwrap();
    // What was logged before there were threads is on none.
    assert_eq!(names.remove(&0x7fff_ffff).as_deref(), Some("no thread"));
    assert_eq!(names, document.threads());
    assert_eq!(trace["processes"][0][1], document.0["guest"]);
    let first = &trace["snapshots"][0];
    assert_eq!((&first["6"], &first["1"]), (&Value::from(0), &document.0["booted_ns"]));
    let image = &document.list("images")[0];
    assert_eq!([&trace["images"][0][0], &trace["images"][0][1]], [&image["name"], &image["build_id"]]);
    assert_eq!(trace["frequency"], 499);
}

/// Line 0 is a compiler's word for none; protobuf readers cannot tell the two apart.
fn line(frame: &Value) -> Option<u64> {
    frame["line"].as_u64().filter(|line| *line > 0)
}

#[test]
fn inferno_collapses_perf_script_to_the_same_stacks() {
    use inferno::collapse::Collapse as _;
    let scene = Scene::new();
    let document = document(&scene, "sample");
    let script = scene.run(&["export", "sample", "--format", "perf-script"]).ok().stdout;
    let mut folded = Vec::new();
    inferno::collapse::perf::Folder::default().collapse(script.as_bytes(), &mut folded).unwrap();
    // inferno sums the period, which is the time of each sample, and leaves out parameters.
    let plain =
        |name: &str| name.replace(';', ":").split('(').next().unwrap_or_default().trim_end().to_owned();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for sample in document.list("timeline") {
        let names: Vec<String> =
            document.stack(sample).iter().map(|frame| plain(text(&frame["name"]))).collect();
        *expected.entry(names.join(";")).or_default() += ProfileDocument::number(sample, "weight_ns");
    }
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for (stack, sum) in folded_lines(std::str::from_utf8(&folded).unwrap()) {
        let names: Vec<String> = stack.split(';').map(plain).collect();
        *found.entry(names.join(";")).or_default() += sum;
    }
    assert_eq!(found, expected);
    let first = &document.list("timeline")[0];
    let at = ProfileDocument::number(first, "at_ns");
    let header = format!(
        "{} {:>5} [{:03}] {:>5}.{:09}: ",
        document.threads()[&ProfileDocument::number(first, "thread")],
        ProfileDocument::number(first, "thread"),
        ProfileDocument::number(first, "vcpu"),
        at / 1_000_000_000,
        at % 1_000_000_000
    );
    assert!(script.starts_with(&header), "{header}: {}", script.lines().next().unwrap_or_default());
}

#[test]
fn folded_text_stands_in_the_place_of_a_recording() {
    let scene = Scene::new();
    let folded = scene.run(&["export", "sample", "--format", "folded", "-o", "s.folded"]).ok();
    assert!(folded.stderr.contains("next: inferno-flamegraph s.folded"), "{}", folded.stderr);
    let written = fs::read_to_string(scene.path("s.folded")).unwrap();
    for again in [
        scene.run(&["export", "s.folded", "--format", "folded"]).ok(),
        scene.run_with_input(&["export", "-", "--format", "folded"], &scene.path("s.folded")).ok(),
    ] {
        assert_eq!(again.stdout, written);
    }
    let rows = |input: &str| {
        let report = scene.run(&["report", input, "--json"]).ok().json();
        let rows = report["functions"].as_array().unwrap().clone();
        rows.into_iter().map(|row| (row["name"].clone(), row["self"].clone())).collect::<Vec<_>>()
    };
    // The thread at the root is a function among others in folded text.
    let mut from_text = rows("s.folded");
    from_text.retain(|(name, _)| !["main", "kv-0", "kv-1"].contains(&text(name)));
    assert_eq!(from_text, rows("sample"));
    scene.run(&["flame", "s.folded"]).ok();
    assert!(fs::read_to_string(scene.path("s.svg")).unwrap().contains("Worker::serve_next"));
    for format in ["pprof", "firefox", "speedscope", "json"] {
        scene.run(&["export", "s.folded", "--format", format, "-o", "x"]).ok();
    }
    let top = {
        scene.run(&["export", "s.folded", "--format", "pprof", "-o", "x.pb.gz"]).ok();
        go(&scene, &["-top", "x.pb.gz"])
    };
    let samples: u64 = folded_lines(&written).values().sum();
    assert!(top.contains("Type: samples") && top.contains(&format!("of {samples} total")), "{top}");
    for format in ["perfetto", "perf-script"] {
        let ended = scene.run(&["export", "s.folded", "--format", format, "-o", "y"]).failed_with(1);
        ended.says(&[format, "time of every sample", "pprof"]);
    }
    assert!(!scene.path("y").exists());
}

#[test]
fn bad_folded_text_is_named_by_its_line() {
    let scene = Scene::new();
    fs::write(scene.path("some.txt"), "a;b 3\r\n\r\na;c two\r\na;d 4\r\n").unwrap();
    let report = scene.run(&["report", "some.txt", "--json"]).ok().json();
    assert_eq!(report["samples"], 7);
    assert!(report["notes"][0].as_str().unwrap().contains("line 3 does not end in"), "{report}");
    fs::write(scene.path("none.txt"), "hello\n").unwrap();
    for command in ["flame", "report"] {
        scene.run(&[command, "none.txt"]).failed_with(1).says(&["none.txt", "line 1", "main;serve;parse 12"]);
    }
    scene.run(&["logs", "some.txt"]).failed_with(1).says(&["some.txt", "not a uniprof recording"]);
    scene.run(&["logs", "-"]).failed_with(1).says(&["standard input", "recording"]);
    scene.run(&["export", "some.txt", "--format", "folded", "--time"]).failed_with(1).says(&["--time"]);
    scene.run(&["export", "sample", "--format", "json", "--time"]).failed_with(2).says(&["--time", "folded"]);
}

#[test]
fn binary_formats_go_to_files_and_no_terminal() {
    let scene = Scene::new();
    for format in ["pprof", "perfetto"] {
        let binary = uniprof_tests::uniprof().display();
        let line = format!("{binary} export sample --format {format} -o -");
        let mut script = scene.program("script".as_ref(), &["-qec", &line, "/dev/null"]);
        let ended = scene.run_command(&mut script).failed_with(2);
        assert!(ended.stdout.contains("is binary") && ended.stdout.contains("-o"), "{}", ended.stdout);
        scene.run(&["export", "sample", "--format", format]).ok();
    }
    assert_eq!(scene.files(), ["sample.pb.gz", "sample.perfetto-trace"]);
    let filtered = ["export", "sample", "--format", "json", "--vcpu", "1", "--thread", "kv-1"];
    let document = ProfileDocument(scene.run(&filtered).ok().json());
    assert_matches_its_schema(&document.0);
    assert_eq!(document.threads().into_values().collect::<Vec<_>>(), ["kv-1"]);
    assert!(document.owners().keys().all(|(_, vcpu)| *vcpu == 1));
}

#[test]
fn times_of_a_guest_are_those_of_the_clock_on_the_wall() {
    let scene = Scene::with_guest();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let before = now();
    let line =
        ["record", "-F", "499", "-d", "2", "--vcpus", "2", "-o", "t.uniprof", "--", "bundled", "workload=kv"];
    scene.run(&line).ok();
    let after = now();
    let document = document(&scene, "t.uniprof");
    let booted = ProfileDocument::number(&document.0, "booted_ns");
    // The guest's clock is set against the host's to within what an emulator delays.
    let slack = 1_000_000_000;
    for sample in document.list("timeline") {
        let at = booted + ProfileDocument::number(sample, "at_ns");
        assert!(at + slack > before && at < after + slack, "{before} {at} {after}");
    }
    let vcpus: Vec<u64> = document.owners().into_keys().map(|(_, vcpu)| vcpu).collect();
    assert!(vcpus.contains(&0) && vcpus.contains(&1), "{vcpus:?}");
    scene.run(&["export", "t.uniprof", "--format", "pprof", "-o", "t.pb.gz"]).ok();
    let raw = go(&scene, &["-raw", "t.pb.gz"]);
    assert_eq!(owners_in_raw(raw.split_once("\nLocations\n").unwrap().0), named_owners(&document));
    scene.run(&["export", "t.uniprof", "--format", "firefox", "-o", "t.json"]).ok();
    let profiler = FirefoxProfiler::open(&scene, "t.json");
    let list = profiler.ask(&["thread", "list"]);
    // Threads that were only seen waiting, or telling of something, have tracks, too.
    assert!(list["totalThreadCount"].as_u64().unwrap() >= document.threads().len() as u64, "{list}");
    assert!(Path::new(&scene.path("t.json")).exists());
}
