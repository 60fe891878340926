//! What needs no guest: help, completions, manual, the machine check, the bundled kernel as a file.

use uniprof_tests::{Scene, assert_matches_its_schema};

#[test]
fn every_command_has_help_with_examples() {
    let scene = Scene::new();
    let help = scene.run(&["--help"]).ok().stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let promised = ["demo", "run", "ls", "stop", "record", "flame", "report", "export", "logs", "symbols"];
    for name in promised.iter().chain(&["symbolize", "kernel", "doctor", "completions", "man"]) {
        assert!(commands.contains(name), "{name} is missing in {commands:?}");
    }
    for name in commands {
        let help = scene.run(&[name, "--help"]).ok().stdout;
        assert!(help.contains("\nExamples:\n  uniprof "), "{name}: {help}");
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let scene = Scene::new();
    for line in [
        &["frobnicate"][..],
        &["report", "--no-such-flag"],
        &["record", "-F", "0", "--", "bundled"],
        &["record", "-d", "soon", "--", "bundled"],
        &["record", "-e", "everything", "--", "bundled"],
        &["record", "--ring", "huge", "--", "bundled"],
        &["export", "--format", "jpeg", "sample"],
        &[],
    ] {
        scene.run(line).failed_with(2);
    }
}

#[test]
fn completions_and_manual_pages_cover_all_commands() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = scene.run(&["completions", shell]).ok().stdout;
        assert!(script.contains("record") && script.contains("flame"), "{shell}: {script}");
    }
    scene.run(&["man", "-o", "man"]).ok();
    let pages = std::fs::read_dir(scene.path("man")).unwrap().count();
    assert!(pages > 14, "{pages} pages");
    assert!(scene.run(&["man"]).ok().stdout.contains(".TH uniprof"));
    assert!(scene.run(&["man", "record"]).ok().stdout.contains("uniprof\\-record"));
    scene.run(&["man", "frobnicate"]).failed_with(1).says(&["frobnicate", "uniprof --help"]);
}

#[test]
fn doctor_answers_people_and_programs() {
    let scene = Scene::new();
    let text = scene.run(&["doctor"]).ok().stdout;
    assert!(text.contains("QEMU emulator version"), "{text}");
    let document = scene.run(&["doctor", "--json"]).ok().json();
    assert_matches_its_schema(&document);
    for check in document["checks"].as_array().unwrap() {
        assert_eq!(check["ok"].as_bool().unwrap(), check.get("mend").is_none(), "{check}");
    }
}

#[test]
fn doctor_names_what_is_missing_and_the_command_that_mends_it() {
    let scene = Scene::new();
    let mut command = scene.command(&["doctor"]);
    let ended = scene.run_command(command.env("PATH", "/nonexistent")).failed_with(1).says(&["QEMU"]);
    assert!(ended.stdout.contains("apt-get install"), "{}", ended.stdout);
}

#[test]
fn the_bundled_kernel_is_an_elf_file_with_debug_info() {
    let scene = Scene::new();
    scene.run(&["kernel", "-o", "kernel.elf"]).ok();
    let elf = std::fs::read(scene.path("kernel.elf")).unwrap();
    assert!(elf.starts_with(b"\x7fELF"));
    assert!(elf.windows(11).any(|bytes| bytes == b".debug_line"), "no debug info");
    assert_eq!(scene.files(), ["kernel.elf"]);
    let refused = scene.run(&["kernel", "-o", "no/such/dir/kernel.elf"]);
    refused.failed_with(1).says(&["cannot write no/such/dir/kernel.elf"]);
}

#[test]
fn a_mistake_in_the_configuration_names_file_and_key() {
    let scene = Scene::new();
    std::fs::write(scene.path("config.toml"), "frequenzy = 99\n").unwrap();
    let mut command = scene.command(&["record", "--", "bundled"]);
    command.env("UNIPROF_CONFIG", scene.path("config.toml"));
    scene.run_command(&mut command).failed_with(2).says(&["config.toml", "frequenzy", "frequency"]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let scene = Scene::new();
    let binary = uniprof_tests::uniprof().display();
    let line = format!("{binary} completions bash | true; exit ${{PIPESTATUS[0]}}");
    let mut shell = scene.program("/bin/bash".as_ref(), &["-c", &line]);
    let ended = scene.run_command(&mut shell).ok();
    assert_eq!(ended.stderr, "");
}

/// Where `uniprof symbols` looks shows which setting counts.
#[test]
fn a_flag_goes_over_a_variable_and_a_variable_over_the_file() {
    let scene = Scene::new();
    for folder in ["flag", "variable", "file", "second"] {
        std::fs::create_dir(scene.path(folder)).unwrap();
        scene.run(&["kernel", "-o", &format!("{folder}/k.elf")]).ok();
    }
    std::fs::create_dir_all(scene.path("config/uniprof")).unwrap();
    std::fs::write(scene.path("config/uniprof/config.toml"), "symbols = [\"file\", \"second\"]\n").unwrap();
    let looked = |words: &[&str], variable: bool| {
        let mut command = scene.command(&[&["symbols", "sample", "--json"], words].concat());
        command.env("XDG_CONFIG_HOME", scene.path("config"));
        if variable {
            command.env("UNIPROF_SYMBOLS", "variable");
        }
        let document = scene.run_command(&mut command).ok().json();
        let places = document["looked"].as_array().unwrap().iter();
        let places = places.filter_map(|looked| looked["place"].as_str()?.strip_suffix("/k.elf"));
        places.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = |words: &[&str], variable| looked(words, variable).into_iter().next();
    assert_eq!(first(&[], false).as_deref(), Some("file"));
    assert_eq!(first(&[], true).as_deref(), Some("variable"));
    assert_eq!(first(&["--symbols", "flag"], true).as_deref(), Some("flag"));
    // None of one source is mixed with those of another.
    assert!(!looked(&[], true).contains(&"file".to_owned()));
}
