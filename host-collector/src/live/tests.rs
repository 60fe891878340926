use uniprof_wire::address::GuestPhysical;

use super::*;
use crate::lab::{Does, Lab};

#[test]
fn a_guest_stands_still_while_it_is_looked_at_and_goes_on_afterwards() {
    let lab = Lab::new();
    let mut guest = lab.launch(&lab.spec("guest", Does::Hang)).unwrap();
    let entry = guest.entry().clone();
    let until = Instant::now() + Duration::from_secs(60);
    while guest.console().total() == 0 {
        assert!(Instant::now() < until, "the kernel does not come up");
        std::thread::sleep(Duration::from_millis(5));
    }
    let live = LiveGuest::open(&entry).unwrap();
    let paused = live.pause().unwrap();
    assert!(paused.was_running() && !guest.qmp().status(LIMIT).unwrap().running);
    let cpus = live.registers().unwrap();
    // The kernel loops in 32-bit code that was loaded at 1 MiB.
    assert_eq!(cpus.len(), 1);
    assert!((0x10_0000..0x10_0100).contains(&cpus[0].rip), "{cpus:x?}");
    let mut code = [0; 4];
    live.memory().read(GuestPhysical(0x10_0000), &mut code).unwrap();
    assert_eq!(code, [0x66, 0xba, 0xf8, 0x03]);
    let again = live.pause().unwrap();
    assert!(!again.was_running() && again.elapsed().is_zero());
    drop(again);
    assert!(!guest.qmp().status(LIMIT).unwrap().running);
    assert!(paused.resume().unwrap() > Duration::ZERO);
    assert!(guest.qmp().status(LIMIT).unwrap().running);
    drop(live.pause().unwrap());
    assert!(guest.qmp().status(LIMIT).unwrap().running);
}

#[test]
fn memory_is_there_when_qemu_is_not() {
    let lab = Lab::new();
    let guest = lab.launch(&lab.spec("guest", Does::Hang)).unwrap();
    let live = LiveGuest::open(guest.entry()).unwrap();
    guest.shutdown();
    let mut code = [0; 4];
    live.memory().read(GuestPhysical(0x10_0000), &mut code).unwrap();
    assert_eq!(code, [0x66, 0xba, 0xf8, 0x03]);
    let error = live.registers().unwrap_err().to_string();
    assert!(error.contains("guest \"guest\" can't be controlled"), "{error}");
}
