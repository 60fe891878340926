//! Page tables of any bytes: walks, and the enumeration of all that is mapped, which tables that contain themselves make endless.
//!
//! The first bytes of an input say how many levels there are, where the root is, how many entries may be looked at; the rest
//! is physical memory.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use uniprof_collector::dump::{OpenOptions, open_source};
use uniprof_collector::paging::{AddressSpace, PageTables, VirtualError};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

fuzz_target!(|bytes: &[u8]| {
    let [levels, root, most, at @ .., _] = bytes else { return };
    let Some((at, memory)) = at.split_at_checked(8) else { return };
    let at = u64::from_le_bytes(at.try_into().expect("eight bytes"));
    // Memory repeats the input, so that small inputs reach several tables.
    let mut bytes = memory.to_vec();
    while !memory.is_empty() && bytes.len() < 0x8000 {
        bytes.extend_from_within(..memory.len());
    }
    let options = OpenOptions { raw: true, cpus: Vec::new() };
    let Ok(dump) = open_source(Arc::new(bytes), Path::new("input"), &options) else { return };
    let tables = PageTables { root: GuestPhysical(u64::from(*root) << 12), levels: 4 + levels % 2 };
    let space = AddressSpace::new(Arc::clone(&dump.memory), Some(tables));
    for at in [at, !at, at & 0xffff_ffff, 0, u64::MAX, 1 << 47, !0 << 47] {
        match space.translate(GuestVirtual(at)) {
            Ok(to) => assert_eq!(at % to.page_bytes, to.physical.0 % to.page_bytes),
            Err(VirtualError::Unmapped { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        let mut word = [0; 8];
        assert_eq!(
            space.read(GuestVirtual(at), &mut word).ok().map(|()| u64::from_le_bytes(word)),
            space.word(at)
        );
    }
    let most = usize::from(*most) << 8;
    let (mappings, complete) = space.mappings(most).expect("there are tables");
    assert!(mappings.len() <= most);
    for run in &mappings {
        assert!(run.len > 0 && run.len.is_multiple_of(4096));
        if complete {
            let to = space.translate(run.start).expect("what is mapped can be translated");
            assert_eq!(to.physical, run.to.physical);
            assert_eq!((to.writable, to.executable), (run.to.writable, run.to.executable));
        }
    }
});
