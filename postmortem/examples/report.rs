//! local
use std::sync::Arc;
use uniprof_postmortem::*;
use uniprof_symbolizer::{LoadBias, Tables};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dump = uniprof_collector::dump::open(args[1].as_ref(), &Default::default()).unwrap();
    let mut evidence = Evidence::of_dump(dump);
    if let Some(why) = args.get(3) {
        evidence.facts = Some(uniprof_collector::dump::Facts { why: why.clone(), ..Default::default() });
    }
    let image = uniprof_symbolizer::load(&args[2]).unwrap();
    let loaded = LoadedImage { name: "kernel".into(), image: Arc::new(image), bias: LoadBias::NONE };
    let program = Program::new(vec![loaded], &Tables::default());
    let mut subject = Subject::new(evidence, program);
    let r = report::examine(&mut subject);
    println!("{:#?}", r.verdict);
    println!("message {:?}", r.message);
    if let Some(f) = &r.fault {
        println!("{} {:?} {:?}", f.what, f.instruction, f.source);
        for l in &f.listing {
            println!(
                "  {:x} {:30} {:50} {:?} {}",
                l.address,
                l.bytes,
                l.text,
                l.source,
                if l.current { "<--" } else { "" }
            );
            for o in &l.operands {
                println!("       {o:?}");
            }
        }
    }
    for v in &r.vcpus {
        println!("vcpu {} {} {:?} {} {:?} {}", v.vcpu, v.state, v.thread, v.source, v.start, v.end);
        for f in &v.frames {
            println!(
                "    {:x} {} {} {:?}{}",
                f.address,
                f.trust(),
                f.name(),
                f.place(),
                if f.is_interrupted() { " INT" } else { "" }
            );
        }
    }
    for g in &r.stacks {
        println!("{} {:?} {}", g.count, g.owners, g.end);
        for f in &g.frames {
            println!("    {:x} {} {} {:?}", f.address, f.trust(), f.name(), f.place());
        }
    }
    for t in &r.threads {
        println!(
            "{} {} {} {:?} {:?}",
            t.id,
            t.name,
            t.state,
            t.start,
            t.waits.as_ref().map(|w| w.to_string())
        );
    }
    for c in &r.locks.cycles {
        println!("{}", c.text);
    }
    println!("{:#?}", r.remarks);
}
