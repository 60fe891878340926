//! The interval timer (8254), used once, as a clock of known frequency. `-M microvm,pit=off` and other monitors lack it.

use super::{cpu, port, tsc};

const HZ: u64 = 1_193_182;
const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// Gate and output of channel 2, and the speaker.
const CONTROL: u16 = 0x61;
const GATE: u8 = 1 << 0;
const SPEAKER: u8 = 1 << 1;
const OUTPUT: u8 = 1 << 5;

const COUNT_DOWN_CHANNEL_2: u8 = 0b1011_0000;
const LATCH_CHANNEL_2: u8 = 0b1000_0000;

/// About 5 ms of the counter's 55 ms, so that a vCPU that waits for its host rarely sees it wrap.
const TICKS: u16 = 6_000;
const RUNS: usize = 3;
const ATTEMPTS: usize = 20;
/// A counter that is there moves every 838 ns.
const STANDSTILL_READS: u32 = 100_000;

/// TSC ticks per second: the middle one of several measurements. `None` where there is no interval timer.
pub(super) fn tsc_hz() -> Option<u64> {
    let mut runs = [0; RUNS];
    let mut filled = 0;
    if !start() {
        return None;
    }
    for _ in 0..ATTEMPTS {
        if let Some(hz) = measure() {
            runs[filled] = hz;
            filled += 1;
            if filled == RUNS {
                runs.sort_unstable();
                return Some(runs[RUNS / 2]);
            }
        }
    }
    None
}

fn count() -> u16 {
    // SAFETY: latches and reads channel 2, which nothing else uses.
    unsafe {
        port::write8(COMMAND, LATCH_CHANNEL_2);
        u16::from_le_bytes([port::read8(CHANNEL_2), port::read8(CHANNEL_2)])
    }
}

/// Lets channel 2 count down from its highest value; false when it stands still.
fn start() -> bool {
    // SAFETY: programs channel 2 with the speaker off: a counter without any other effect.
    unsafe {
        port::write8(CONTROL, (port::read8(CONTROL) & !SPEAKER) | GATE);
        port::write8(COMMAND, COUNT_DOWN_CHANNEL_2);
        port::write8(CHANNEL_2, 0xff);
        port::write8(CHANNEL_2, 0xff);
    }
    let first = count();
    (0..STANDSTILL_READS).any(|_| count() != first)
}

/// One measurement; `None` when the counter ran out before it was read.
fn measure() -> Option<u64> {
    start();
    let (first, begin) = tsc::bracketed(count);
    while first.wrapping_sub(count()) < TICKS {
        cpu::linger();
    }
    let (last, end) = tsc::bracketed(count);
    // SAFETY: reads the output of channel 2. It is high once the counter has passed zero.
    let ran_out = unsafe { port::read8(CONTROL) } & OUTPUT != 0;
    let ticks = u64::from(first.checked_sub(last)?);
    if ran_out || ticks == 0 {
        return None;
    }
    u64::try_from(u128::from(end - begin) * u128::from(HZ) / u128::from(ticks)).ok().filter(|&hz| hz > 0)
}
