//! What sampling costs, in instructions: under `-icount` the same work counts the same, to the instruction.

use uniprof_tests::Scene;

/// The guest's clock for a number of requests, which under `-icount` counts instructions: `kv: requests=N tsc=T`.
fn ticks(scene: &Scene, hz: &str) -> f64 {
    let hz = format!("uniprof.hz={hz}");
    let mut line = vec!["run", "bundled", "--accel", "tcg", "--icount", "shift=0,sleep=off"];
    line.extend(["--", "workload=kv", "requests=100000", &hz]);
    let ended = scene.run(&line).ok();
    let told = ended.stdout.lines().find_map(|line| line.split_once("tsc=")?.1.trim().parse().ok());
    told.unwrap_or_else(|| panic!("the workload does not tell its cost: {}", ended.stdout))
}

#[test]
fn sampling_at_999_hz_costs_at_most_two_per_cent_of_the_instructions() {
    let scene = Scene::with_guest();
    let (off, on) = (ticks(&scene, "0"), ticks(&scene, "999"));
    let more = (on / off - 1.0) * 100.0;
    assert!(more <= 2.0, "{more:.2} % more: {off} against {on}");
    // Were it nothing at all, then nothing was sampled.
    assert!(more > 0.0, "{more:.4} % more: {off} against {on}");
}
