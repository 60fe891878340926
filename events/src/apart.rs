//! How far the clocks of a guest's vCPUs are apart, as its own records prove.
//!
//! A wake-up comes before what it wakes. If vCPU A says that it woke a thread at `a`, and B that it gave that thread the CPU at `b`, then B's
//! clock is ahead of A's by no more than `b - a`. The shortest of such distances, there and back, enclose the truth, as a ping and its
//! answer do between two machines.

use std::collections::{BTreeMap, HashMap};

use uniprof_wire::record::Record;

/// Halves of pairs that are kept while they wait for the other half, which lies in another ring.
const MOST: usize = 1 << 16;

/// A thread, and when it was made ready to run.
type Wake = (u32, u64);

/// Joins wake-ups to what they woke, in whatever order they come.
#[derive(Clone, Debug, Default)]
pub struct Apart {
    /// On which vCPU a wake-up was told.
    wakes: HashMap<Wake, u32>,
    /// Where and when the woken thread got the CPU.
    resumes: HashMap<Wake, (u32, u64)>,
    /// From a vCPU to another: the shortest distance.
    shortest: BTreeMap<(u32, u32), i64>,
    pairs: u64,
}

/// What is known of two vCPUs: the second one's clock is ahead of the first one's by so many ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The two.
    pub vcpus: (u32, u32),
    /// At least; `None` unless the second woke somebody on the first.
    pub least: Option<i64>,
    /// At most; `None` unless the first woke somebody on the second.
    pub most: Option<i64>,
}

impl Lead {
    /// The clocks differ by at most so many ticks; `None` where only one side is known.
    #[must_use]
    pub fn bound(&self) -> Option<u64> {
        Some(self.least?.unsigned_abs().max(self.most?.unsigned_abs()))
    }
}

impl Apart {
    /// Takes in a record of `vcpu`.
    pub fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        match record {
            Record::Wake(wake) => {
                let key = (wake.thread, wake.tsc);
                match self.resumes.remove(&key) {
                    Some((on, at)) => self.joined((vcpu, wake.tsc), (on, at)),
                    None => keep(&mut self.wakes, key, vcpu),
                }
            }
            Record::Resume(resume) if resume.woken != 0 => {
                let key = (resume.thread, resume.woken);
                match self.wakes.remove(&key) {
                    Some(by) => self.joined((by, resume.woken), (vcpu, resume.tsc)),
                    None => keep(&mut self.resumes, key, (vcpu, resume.tsc)),
                }
            }
            _ => {}
        }
    }

    /// Everything anew: clocks of another boot.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Wake-ups from one vCPU to another.
    #[must_use]
    pub const fn pairs(&self) -> u64 {
        self.pairs
    }

    /// What is known of each two vCPUs.
    pub fn leads(&self) -> impl Iterator<Item = Lead> + '_ {
        let vcpus = self.shortest.keys().map(|(a, b)| (*a.min(b), *a.max(b)));
        let mut vcpus: Vec<(u32, u32)> = vcpus.collect();
        vcpus.sort_unstable();
        vcpus.dedup();
        vcpus.into_iter().map(|(a, b)| Lead {
            vcpus: (a, b),
            least: self.shortest.get(&(b, a)).map(|ticks| ticks.saturating_neg()),
            most: self.shortest.get(&(a, b)).copied(),
        })
    }

    /// The clocks of any two of the vCPUs that woke each other differ by at most so many ticks; `None` where none did.
    #[must_use]
    pub fn bound(&self) -> Option<u64> {
        self.leads().filter_map(|lead| lead.bound()).max()
    }

    fn joined(&mut self, (from, woke): (u32, u64), (to, resumed): (u32, u64)) {
        if from == to {
            return;
        }
        self.pairs += 1;
        let distance = i128::from(resumed) - i128::from(woke);
        let distance = distance.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let shortest = self.shortest.entry((from, to)).or_insert(i64::MAX);
        *shortest = distance.min(*shortest);
    }
}

/// What has waited long has lost its partner: it goes, to bound memory.
fn keep<T>(map: &mut HashMap<Wake, T>, key: Wake, value: T) {
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(key, value);
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::{Callers, ResumeRecord, SwitchReason, WakeRecord};

    use super::*;

    fn wake(tsc: u64, thread: u32) -> Record<'static> {
        Record::Wake(WakeRecord { tsc, waker: 9, by_interrupt: false, thread, callers: Callers::NONE })
    }

    fn resume(tsc: u64, thread: u32, woken: u64) -> Record<'static> {
        let (parked, waker, reason) = (1, 9, SwitchReason::Blocked);
        Record::Resume(ResumeRecord { tsc, thread, reason, parked, woken, waker, callers: Callers::NONE })
    }

    #[test]
    fn wake_ups_there_and_back_enclose_the_truth() {
        // vCPU 1 is 30 ticks ahead; a wake-up takes 100 at least.
        let mut apart = Apart::default();
        apart.record(0, &wake(1000, 5));
        apart.record(1, &resume(1000 + 130, 5, 1000));
        apart.record(0, &resume(2000 + 70, 6, 2000));
        apart.record(1, &wake(2000, 6));
        apart.record(1, &wake(3000, 7));
        apart.record(0, &resume(3900, 7, 3000));
        // On one vCPU that says nothing.
        apart.record(1, &wake(4000, 8));
        apart.record(1, &resume(4001, 8, 4000));
        let leads: Vec<Lead> = apart.leads().collect();
        assert_eq!(leads, [Lead { vcpus: (0, 1), least: Some(-70), most: Some(130) }]);
        assert_eq!((apart.bound(), apart.pairs()), (Some(130), 3));
    }

    #[test]
    fn one_direction_is_no_bound() {
        let mut apart = Apart::default();
        apart.record(2, &wake(1000, 5));
        apart.record(1, &resume(900, 5, 1000));
        assert_eq!(apart.leads().next(), Some(Lead { vcpus: (1, 2), least: Some(100), most: None }));
        assert_eq!(apart.bound(), None);
        apart.reset();
        assert_eq!(apart.leads().count(), 0);
    }

    #[test]
    fn halves_without_partners_do_not_pile_up() {
        let mut apart = Apart::default();
        for tsc in 0..3 * MOST as u64 {
            apart.record(0, &wake(tsc, 1));
            apart.record(0, &resume(u64::MAX, 2, tsc.max(1)));
        }
        assert!(apart.wakes.len() <= MOST && apart.resumes.len() <= MOST);
    }
}
