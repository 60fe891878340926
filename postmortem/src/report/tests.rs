use uniprof_wire::tables::ThreadState;

use super::*;
use crate::lab::{Guest, exception, thread};

#[test]
fn a_report_has_the_names_that_scripts_use() {
    let mut guest = Guest::with_region();
    guest.cpu(0x1000, 0x10_3fc0);
    guest.memory.write(0x1000, &[0x48, 0x8b, 0x43, 0x28]);
    guest.thread(&thread(1, "faulty", ThreadState::Running, 0x10_4000));
    guest.thread(&thread(2, "gone", ThreadState::Exited, 0x10_4000));
    let mut record = exception(14, 0x28, 0x1000, 0x10_3fc0);
    record.registers[1] = 0;
    record.cr3 = uniprof_wire::address::GuestPhysical(0xf0_0000);
    guest.crash(0, &record);
    guest.with_paging(&[0]);
    let report = serde_json::to_value(examine(&mut guest.subject())).unwrap();
    assert_eq!(report["schema"], "uniprof.core/1");
    assert_eq!(report["verdict"]["kind"], "page-fault");
    assert_eq!(report["verdict"]["thread"], "faulty");
    assert_eq!(report["verdict"]["vcpu"], 0);
    assert_eq!(report["fault"]["instruction"], "mov rax, [rbx+0x28]");
    assert_eq!(report["fault"]["registers"]["rbx"], "0x0");
    assert_eq!(report["fault"]["listing"][0]["operands"][2]["name"], "memory");
    assert_eq!(report["threads"].as_array().unwrap().len(), 1);
    assert_eq!(report["threads"][0]["frames"][0]["address"], "0x1000");
    assert_eq!(report["vcpus"][0]["state"], "crashed");
    assert!(report["events"].as_array().unwrap().is_empty());
    assert!(report["remarks"][0].as_str().unwrap().contains("--kernel"), "{}", report["remarks"]);
}
