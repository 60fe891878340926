//! The heap as the allocator sees it: exact totals of what is allocated and given back, and a sample of the live blocks with where each
//! was allocated.
//!
//! Every allocated byte is as likely as any other to be the one that makes its block a sample, so that large blocks are nearly all
//! sampled and small ones rarely, each with the weight that makes sums come out right (see [`sampler`]).

mod sampler;

use core::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::{AllocationRecord, Class, FreeRecord, Record};
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{
    HEAP_CLAIMED, HEAP_FREE, HEAP_WAYS, HEAP_WORDS, HeapCallers, HeapEntry, VcpuField, heap_buckets,
};

use self::sampler::{gap, weight};
use crate::callers::{Callers, Frame};
use crate::control;
use crate::hook::{self, recording, watching_heap};
use crate::platform::{self, Pinned};
use crate::region::{MAX_VCPUS, Region, Words, region};
use crate::vcpu::Vcpu;

/// Mean bytes from one sample to the next; 0: nothing is counted or sampled.
static INTERVAL: AtomicU64 = AtomicU64::new(0);
static LOCALS: [Local; MAX_VCPUS] =
    [const { Local { left: AtomicU64::new(0), random: AtomicU64::new(0) } }; MAX_VCPUS];

/// How many sampled blocks have addresses of each kind: nearly every block that is given back was no sample, and is known not to be
/// by one load.
static SAMPLED: [AtomicU16; KINDS] = [const { AtomicU16::new(0) }; KINDS];
/// Several times the slots of a table.
const KINDS: usize = 4096;

/// The count that an address belongs to.
fn sampled_like(address: u64) -> &'static AtomicU16 {
    /// 2^64 over the golden ratio: spreads addresses that differ in a few bits.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    &SAMPLED[(address.wrapping_mul(SPREAD) >> (64 - KINDS.ilog2())) as usize]
}

/// One vCPU's place in the stream of its allocated bytes. An interrupt handler that allocates between a load and a store here costs a
/// few bytes of that stream, nothing else.
struct Local {
    /// Bytes up to the next sample.
    left: AtomicU64,
    random: AtomicU64,
}

impl Local {
    fn draw(&self, interval: u64) {
        let mut random = self.random.load(Ordering::Relaxed);
        self.left.store(gap(&mut random, interval), Ordering::Relaxed);
        self.random.store(random, Ordering::Relaxed);
    }
}

/// Switches it on, before anybody allocates on the other vCPUs; from `init`.
pub(crate) fn start(region: &Region, interval: u64, seed: u64) {
    if interval == 0 {
        return;
    }
    for (vcpu, local) in (0..region.geometry.vcpus()).zip(&LOCALS) {
        local.random.store((seed ^ u64::from(vcpu) << 48).max(1), Ordering::Relaxed);
        local.draw(interval);
        if let Some(vcpu) = Vcpu::of(vcpu) {
            vcpu.set(VcpuField::HeapInterval, interval);
        }
    }
    INTERVAL.store(interval, Ordering::Release);
    control::watch_heap();
}

/// Tells that a block has been allocated, after it was. Not from NMIs. Costs a load and a predicted branch while the heap is not watched.
#[inline(always)]
pub fn allocated(address: usize, bytes: usize) {
    if watching_heap() {
        count_allocation(address as u64, bytes as u64);
    }
}

/// Tells that a block is given back, before it is: afterwards its address may already be another's. Not from NMIs.
#[inline(always)]
pub fn freed(address: usize, bytes: usize) {
    if watching_heap() {
        count_free(address as u64, bytes as u64);
    }
}

#[inline(never)]
fn count_allocation(address: u64, bytes: u64) {
    let _pinned = Pinned::new();
    let id = platform::vcpu();
    let Some(vcpu) = Vcpu::of(id) else { return };
    vcpu.add(VcpuField::AllocatedBytes, bytes);
    vcpu.count(VcpuField::AllocatedBlocks);
    let local = &LOCALS[id as usize % MAX_VCPUS];
    let left = local.left.load(Ordering::Relaxed);
    if bytes < left {
        local.left.store(left - bytes, Ordering::Relaxed);
    } else {
        sample_block(id, address, bytes);
    }
}

#[inline(never)]
fn count_free(address: u64, bytes: u64) {
    let _pinned = Pinned::new();
    let Some(vcpu) = Vcpu::current() else { return };
    vcpu.add(VcpuField::FreedBytes, bytes);
    vcpu.count(VcpuField::FreedBlocks);
    if sampled_like(address).load(Ordering::Relaxed) != 0 {
        forget(address);
    }
}

/// Puts a block into the table, with its callers.
#[cold]
#[inline(never)]
fn sample_block(id: u32, address: u64, bytes: u64) {
    let Some(vcpu) = Vcpu::of(id) else { return };
    let interval = INTERVAL.load(Ordering::Relaxed);
    // A new gap from the end of the block: the gaps have no memory.
    LOCALS[id as usize % MAX_VCPUS].draw(interval);
    let weight = weight(bytes, interval);
    vcpu.count(VcpuField::HeapSampled);
    let (tsc, thread) = (platform::now(), platform::thread());
    // SAFETY: `Platform::stack` promises that it can be read.
    let callers = unsafe { Callers::of(Frame::here(), &platform::stack()) };
    // The innermost of them is in `count_allocation`.
    let callers = callers.without(1);
    let entry = HeapEntry {
        address: GuestVirtual(address),
        bytes,
        weight,
        tsc,
        thread,
        callers: HeapCallers::new(callers.frames),
    };
    let table = region().and_then(Table::of);
    if !table.is_some_and(|table| table.insert(&entry)) {
        // Nor is it recorded: of a block that is in no table nobody would notice the end.
        vcpu.count(VcpuField::HeapDropped);
        vcpu.add(VcpuField::HeapDroppedWeight, weight);
    } else if recording(Class::Heap) {
        let address = GuestVirtual(address);
        let record = AllocationRecord { tsc, thread, address, bytes, weight, callers };
        hook::write_counted(&Record::Allocation(record), tsc);
    }
}

/// Takes a block out of the table, if it is in it.
#[cold]
#[inline(never)]
fn forget(address: u64) {
    let Some([bytes, weight]) = region().and_then(Table::of).and_then(|table| table.remove(address)) else {
        return;
    };
    if recording(Class::Heap) {
        let tsc = platform::now();
        let (thread, address) = (platform::thread(), GuestVirtual(address));
        let record = FreeRecord { tsc, thread, address, bytes, weight };
        hook::write_counted(&Record::Free(record), tsc);
    }
}

/// The table. All vCPUs change it, each slot through its key.
struct Table {
    keys: Words,
    entries: Words,
    slots: u32,
}

impl Table {
    fn of(region: &Region) -> Option<Self> {
        let geometry = region.geometry;
        (geometry.heap_slots() != 0).then(|| Self {
            keys: region.words.at_byte(geometry.heap_keys()),
            entries: region.words.at_byte(geometry.heap_entries()),
            slots: geometry.heap_slots(),
        })
    }

    /// The slots where a block may be.
    fn places(&self, address: u64) -> impl Iterator<Item = usize> {
        heap_buckets(address, self.slots)
            .into_iter()
            .flat_map(|bucket| bucket * HEAP_WAYS..(bucket + 1) * HEAP_WAYS)
            .map(|slot| slot as usize)
    }

    /// Changes a slot's key, if it is still `old`.
    fn change(&self, slot: usize, old: u64, new: u64) -> bool {
        self.keys.load(slot) == old
            && self.keys.atomic(slot).compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// False when there is no slot for it.
    fn insert(&self, entry: &HeapEntry) -> bool {
        let key = entry.address.0;
        let Some(slot) = self.places(key).find(|&slot| self.change(slot, HEAP_FREE, HEAP_CLAIMED)) else {
            return false;
        };
        let words = self.entries.at_byte(slot * HEAP_WORDS * 8);
        entry.to_words().iter().enumerate().for_each(|(i, &word)| words.store(i, word));
        sampled_like(key).fetch_add(1, Ordering::Relaxed);
        self.keys.store(slot, key);
        true
    }

    /// Its bytes and its weight, if it was there.
    fn remove(&self, address: u64) -> Option<[u64; 2]> {
        let slot = self.places(address).find(|&slot| self.keys.load(slot) == address)?;
        let words = self.entries.at_byte(slot * HEAP_WORDS * 8);
        // Read before the slot is anybody's.
        let known = [words.load(1), words.load(2)];
        self.change(slot, address, HEAP_FREE).then(|| {
            sampled_like(address).fetch_sub(1, Ordering::Relaxed);
            known
        })
    }
}
