//! Changes to the page tables that boot made: 4 GiB, one to one.

use core::alloc::Layout;
use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::heap::try_alloc;
use crate::sync::InterruptLock;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const LARGE_BYTES: u64 = 2 << 20;
const MAPPED_AT_BOOT: u64 = 4 << 30;
const ENTRIES: usize = 512;
/// Two for each level below the root, for ranges that may cross a border: shared memory, and the registers of two devices.
const SPARE_TABLES: usize = 12;

#[repr(C, align(4096))]
struct Table([AtomicU64; ENTRIES]);

static SPARE: [Table; SPARE_TABLES] = [const { Table([const { AtomicU64::new(0) }; ENTRIES]) }; SPARE_TABLES];
static USED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static boot_page_map: Table;
    static boot_page_table: Table;
}

/// Makes null pointers fault from now on. On the boot vCPU, before others run.
///
/// # Safety
/// Nothing in page 0 may be in use; firmware leaves the memory map there.
pub(crate) unsafe fn unmap_null_page() {
    // SAFETY: the table of the first 2 MiB is static; the caller gives up the page, and its translation is dropped at once.
    unsafe {
        boot_page_table.0[0].store(0, Ordering::Release);
        asm!("invlpg [{}]", in(reg) 0_usize, options(nostack, preserves_flags));
    }
}

/// Maps guest-physical memory one to one, write-back (the page says so, and hypervisors ignore the guest's MTRRs unless a
/// real device is attached). `None` when the spare page tables do not suffice.
///
/// For the boot vCPU, before others run: entries go from absent to present only, which needs no invalidation.
pub(crate) fn map_device_memory(range: Range<u64>) -> Option<*mut u8> {
    // SAFETY: the root table is static, and atomics allow that the processor reads it meanwhile.
    let root = unsafe { &boot_page_map };
    let mut page = range.start & !(LARGE_BYTES - 1);
    while page < range.end {
        if page >= MAPPED_AT_BOOT {
            let directories = next_level(&root.0[index(page, 39)])?;
            let pages = next_level(&directories.0[index(page, 30)])?;
            pages.0[index(page, 21)].store(page | PRESENT | WRITABLE | LARGE, Ordering::Release);
        }
        page += LARGE_BYTES;
    }
    Some(range.start as *mut u8)
}

/// Makes the page at `address` fault, or usable again. Other vCPUs may keep an old translation for a while, so this finds
/// mistakes and does not protect from malice. False when there is no memory for a page table.
///
/// # Safety
/// The page must be in memory that boot maps, and nobody may use it while it is guarded.
pub(crate) unsafe fn set_guard(address: usize, guarded: bool) -> bool {
    /// One at a time splits a large page.
    static SPLITTING: InterruptLock<()> = InterruptLock::new(());
    let address = address as u64;
    let _splitting = SPLITTING.lock();
    // SAFETY: the root table is static, and atomics allow that the processor reads it meanwhile.
    let root = unsafe { &boot_page_map };
    let Some(entry) = next_level(&root.0[index(address, 39)])
        .and_then(|directories| next_level(&directories.0[index(address, 30)]))
        .map(|pages| &pages.0[index(address, 21)])
    else {
        return false;
    };
    if entry.load(Ordering::Acquire) & LARGE != 0 && !split(entry) {
        return false;
    }
    let Some(pages) = next_level(entry) else { return false };
    let value = if guarded { 0 } else { address | PRESENT | WRITABLE };
    pages.0[index(address, 12)].store(value, Ordering::Release);
    // SAFETY: drops one translation, on this vCPU.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
    true
}

/// Replaces a large page by a table of small ones that map the same.
fn split(entry: &AtomicU64) -> bool {
    // SAFETY: the layout is not empty.
    let table: *mut Table = unsafe { try_alloc(Layout::new::<Table>()) }.cast();
    if table.is_null() {
        return false;
    }
    let first = entry.load(Ordering::Acquire) & !LARGE;
    for page in 0..ENTRIES {
        // SAFETY: the table was just allocated for this type.
        unsafe { (&raw mut (*table).0[page]).write(AtomicU64::new(first + ((page as u64) << 12))) };
    }
    entry.store(table.addr() as u64 | PRESENT | WRITABLE, Ordering::Release);
    true
}

fn index(address: u64, shift: u32) -> usize {
    (address >> shift) as usize % ENTRIES
}

fn next_level(entry: &AtomicU64) -> Option<&'static Table> {
    let value = entry.load(Ordering::Acquire);
    if value & PRESENT != 0 {
        // SAFETY: entries of these levels point to page tables, which are static and mapped one to one.
        return Some(unsafe { &*((value & 0x000f_ffff_ffff_f000) as *const Table) });
    }
    let table = SPARE.get(USED.fetch_add(1, Ordering::Relaxed))?;
    entry.store((&raw const *table).addr() as u64 | PRESENT | WRITABLE, Ordering::Release);
    Some(table)
}
