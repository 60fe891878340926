//! What sampling costs, in instructions: under `-icount` the same work counts the same, to the instruction.

use uniprof_tests::Scene;

/// What a number of requests cost at a sampling rate.
struct Cost {
    /// The guest's clock, which counts instructions: `kv: requests=N tsc=T`.
    instructions: f64,
    /// What the probes themselves took of them, as they measured it.
    own: f64,
}

fn cost(scene: &Scene, hz: &str) -> Cost {
    let hz = format!("uniprof.hz={hz}");
    let mut line = vec!["record", "-o", "c.uniprof", "--accel", "tcg", "--icount", "shift=0,sleep=off"];
    line.extend(["--", "bundled", "workload=kv", "requests=100000", &hz]);
    scene.run(&line).ok();
    let logs = scene.run(&["logs", "c.uniprof"]).ok().stdout;
    let told = logs
        .lines()
        .find_map(|line| line.split_once("kv: requests=")?.1.split_once("tsc=")?.1.trim().parse().ok());
    let instructions = told.unwrap_or_else(|| panic!("the workload does not tell its cost: {logs}"));
    // Without a single sample this ends with 1, and still prints the figures.
    let report = scene.run(&["report", "c.uniprof", "--json"]).json();
    Cost { instructions, own: report["vcpus"][0]["own_tsc"].as_f64().unwrap() }
}

#[test]
fn sampling_at_999_hz_costs_at_most_two_per_cent_of_the_instructions() {
    let scene = Scene::with_guest();
    let (off, on) = (cost(&scene, "0"), cost(&scene, "999"));
    let more = on.instructions / off.instructions - 1.0;
    let measured = (on.own - off.own) / off.instructions;
    let figures = format!(
        "sampling adds {:.3} % to {} instructions; the probes measured {:.3} %",
        more * 100.0,
        off.instructions,
        measured * 100.0
    );
    println!("{figures}");
    assert!(more <= 0.02, "{figures}");
    // Were it nothing at all, then nothing was sampled.
    assert!(more > 0.0, "{figures}");
    // What the probes say of themselves agrees in magnitude.
    assert!(measured > more / 5.0 && measured < more * 5.0, "{figures}");
}
