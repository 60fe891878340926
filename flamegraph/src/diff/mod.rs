//! What changed between two profiles, and how sure that is.
//!
//! Both are brought to shares, because no two recordings are of the same length. For each function, and for each call path,
//! there is the share before and after, the difference with an interval, and a [`Verdict`] that holds for all of them
//! together: of those called changed, at most one in twenty is expected to be so by chance.
//!
//! ```text
//!  two profiles ─ matching ─> functions and call paths that both know by the same names
//!  times of samples ─ effective ─> how many independent samples there are, for each of them
//!  shares ─ interval ─> differences with bounds ─ decide ─> which are sure, among so many
//! ```
//!
//! It is all in `docs/diff.md`, with the sources and with what it does not detect.

mod decide;
mod distribution;
mod effective;
mod interval;
mod matching;
mod picture;

pub use interval::{Evidence, Interval, Share};
pub use picture::svg;

use distribution::quantile;
use effective::{Effects, Equal, FREEDOM, Whole, design_effects};
use matching::{Lists, Matching, NONE, Origin, StackThings};

use crate::frame::Kind;
use crate::measured::Measured;
use crate::profile::{Amount, Profile};

/// What shares are shares of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Basis {
    /// Of all samples.
    #[default]
    Samples,
    /// Of the vCPU time that the samples stand for, or of what else they weigh.
    Busy,
    /// Of the vCPU time that there was, idle or not: of each profile the nanoseconds that its vCPUs were up, in sum.
    Elapsed([u64; 2]),
}

/// How two profiles are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiffOptions {
    /// What shares are shares of.
    pub basis: Basis,
    /// 1 less the share of false alarms that is accepted; 0.95.
    pub confidence: f64,
    /// A difference of less (0 to 1) is none; 0.005.
    pub min_change: f64,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self { basis: Basis::Samples, confidence: 0.95, min_change: 0.005 }
    }
}

/// What became of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It is larger than before.
    Grown,
    /// It is smaller than before.
    Shrunk,
    /// It was not there before.
    New,
    /// It is no longer there.
    Gone,
    /// No difference is sure, or none that matters.
    Same,
}

/// A share before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// What is known of both shares. A single question asked of it is not widened for the number of comparisons.
    pub evidence: Evidence,
    /// After less before, -1 to 1.
    pub difference: Interval,
    /// After over before; `None` where it is in neither.
    pub ratio: Option<Interval>,
    /// What to make of it.
    pub verdict: Verdict,
}

/// A function in both profiles.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionChange {
    /// The name, or the reason why there is none.
    pub name: String,
    /// The source file, where one is known.
    pub file: Option<String>,
    /// Whether `name` is a reason.
    pub unknown: bool,
    /// What was sampled in the function itself.
    pub own: Change,
    /// What was sampled in it and in all that it called, counted once however often it recurs.
    pub total: Change,
}

/// A stack in both profiles.
#[derive(Debug, Clone, PartialEq)]
pub struct StackChange {
    /// The names from the root to the leaf; inlined functions end in ` (inlined)`.
    pub frames: Vec<String>,
    /// What was sampled with just this stack.
    pub own: Change,
}

/// How the intervals came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// From what varies from block to block of time, in both profiles.
    Blocks,
    /// As if samples were independent, because a profile has no times, or too few samples.
    Independent,
}

/// How many things of a kind were compared, and at which level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// Those that could have changed enough to matter; the others are too rare.
    pub compared: usize,
    /// The probability with which each single interval is wrong.
    pub alpha: f64,
    /// The widest half of an interval of a difference: a change of less may have been missed.
    pub resolution: f64,
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Samples and their weight, before and after.
    pub totals: [Amount; 2],
    /// How the intervals came about.
    pub method: Method,
    /// Every function, the one whose total share changed most first.
    pub functions: Vec<FunctionChange>,
    /// The stacks that are not too rare, the one that changed most first.
    pub stacks: Vec<StackChange>,
    /// The comparison of functions by what was sampled in themselves.
    pub own: Family,
    /// The comparison of functions by what was sampled in them and below.
    pub total: Family,
    /// The comparison of stacks.
    pub stack: Family,
}

/// Compares two profiles.
#[must_use]
pub fn compare(before: &Profile, after: &Profile, options: &DiffOptions) -> Comparison {
    let profiles = [before, after];
    let matching = Matching::new(profiles);
    let sides = Sides { profiles, matching: &matching, options, wholes: wholes(profiles, options.basis) };
    let functions = matching.functions.len();
    let (own, own_family, _) = sides.changes(&matching.functions_at_ends(), functions);
    let (total, total_family, method) = sides.changes(&matching.functions_on_paths(), functions);
    let (paths, stack, _) = sides.changes(&matching.paths_themselves(), matching.paths.len());
    let mut functions: Vec<FunctionChange> = matching
        .functions
        .iter()
        .zip(own.into_iter().zip(total))
        .map(|(origin, (own, total))| FunctionChange::new(profiles, *origin, own, total))
        .filter(|function| !function.total.is_nowhere())
        .collect();
    functions.sort_by(|a, b| by_size(&a.total, &b.total).then_with(|| a.name.cmp(&b.name)));
    let mut stacks: Vec<StackChange> = paths
        .into_iter()
        .enumerate()
        .filter(|(_, own)| own.could_matter(options.min_change))
        .map(|(path, own)| StackChange { frames: matching.names(profiles, path as u32), own })
        .collect();
    stacks.sort_by(|a, b| by_size(&a.own, &b.own).then_with(|| a.frames.cmp(&b.frames)));
    let totals = profiles.map(Profile::total);
    Comparison { totals, method, functions, stacks, own: own_family, total: total_family, stack }
}

fn by_size(a: &Change, b: &Change) -> std::cmp::Ordering {
    b.difference.estimate.abs().total_cmp(&a.difference.estimate.abs())
}

/// What a share of 1 is, on both sides.
fn wholes(profiles: [&Profile; 2], basis: Basis) -> [Whole; 2] {
    [0, 1].map(|side| {
        let Amount { samples, weight } = profiles[side].total();
        let (samples, weight) = (samples as f64, weight as f64);
        match basis {
            Basis::Samples => Whole { equal: Equal::Samples, weighted: false, value: samples, samples },
            Basis::Busy => {
                let samples = samples / unequal(profiles[side]);
                Whole { equal: Equal::Samples, weighted: true, value: weight, samples }
            }
            Basis::Elapsed(available) => {
                let value = (available[side] as f64).max(weight);
                let samples = if weight > 0.0 { samples * value / weight } else { 0.0 };
                Whole { equal: Equal::Time, weighted: true, value, samples }
            }
        }
    })
}

/// By what factor amounts of unequal weight tell less than equal ones (Kish, "Survey Sampling", 1965): a wait of seconds and a thousand of
/// microseconds are one wait. Samples of the CPU stand for about the same time each.
fn unequal(profile: &Profile) -> f64 {
    let timeline = profile.timeline();
    if profile.measured() == Measured::Cpu || timeline.is_empty() {
        return 1.0;
    }
    let weights = || timeline.iter().map(|sample| sample.weight as f64);
    let (sum, squares) = (weights().sum::<f64>(), weights().map(|weight| weight * weight).sum::<f64>());
    if sum > 0.0 { (timeline.len() as f64 * squares / (sum * sum)).max(1.0) } else { 1.0 }
}

/// Both profiles and how they are compared.
struct Sides<'a> {
    profiles: [&'a Profile; 2],
    matching: &'a Matching,
    options: &'a DiffOptions,
    wholes: [Whole; 2],
}

/// Of a share of which fewer effective samples than this are known, it is not known by itself how much it varies.
const FEW: f64 = 10.0;

impl Sides<'_> {
    /// Compares things of one kind: `lists` says which each path counts for.
    fn changes(&self, lists: &Lists, things: usize) -> (Vec<Change>, Family, Method) {
        let [before, after] = [0, 1].map(|side| self.shares(side, lists, things));
        let method = match (&before.1, &after.1) {
            (Some(_), Some(_)) => Method::Blocks,
            _ => Method::Independent,
        };
        let freedom = (before.1.is_some() || after.1.is_some()).then_some(FREEDOM);
        let effects = [&before.1, &after.1];
        let typical = effects.into_iter().flatten().map(|effects| effects.mean).fold(1.0, f64::max);
        let evidence: Vec<Evidence> = (0..things)
            .map(|thing| {
                let own = effects.map(|effects| effects.as_ref().map_or(1.0, |all| all.things[thing]));
                let shares = [before.0[thing], after.0[thing]];
                let [before, after] = [0, 1].map(|side| {
                    let samples = self.wholes[side].samples;
                    let is_known = shares[side] * samples >= FEW * own[side];
                    let effect = if is_known { own[side] } else { own[0].max(own[1]).max(typical) };
                    Share { value: shares[side], effective_samples: samples / effect }
                });
                Evidence { before, after, freedom }
            })
            .collect();
        let (changes, family) = decide_all(&evidence, self.options);
        (changes, family, method)
    }

    /// Each thing's share, and its design effect where the profile has times.
    fn shares(&self, side: usize, lists: &Lists, things: usize) -> (Vec<f64>, Option<Effects>) {
        let (profile, whole) = (self.profiles[side], self.wholes[side]);
        let path_of_stack = &self.matching.path_of_stack[side];
        let mut shares = vec![0.0; things];
        for leaf in &profile.leaves {
            let value = if whole.weighted { leaf.amount.weight } else { leaf.amount.samples } as f64;
            for thing in lists.of_path(path_of_stack[leaf.stack.0 as usize]) {
                shares[*thing as usize] += value;
            }
        }
        for share in &mut shares {
            *share = if whole.value > 0.0 { (*share / whole.value).min(1.0) } else { 0.0 };
        }
        (shares, design_effects(profile, whole, &StackThings { lists, path_of_stack, things }))
    }
}

/// Only what could have changed enough to matter is compared: a share that is below the least change on both sides cannot.
fn could_matter(evidence: &Evidence, min_change: f64) -> bool {
    let mean = (evidence.before.value + evidence.after.value) / 2.0;
    mean > 0.0 && mean >= min_change / 2.0
}

fn decide_all(evidence: &[Evidence], options: &DiffOptions) -> (Vec<Change>, Family) {
    let compared = |evidence: &&Evidence| could_matter(evidence, options.min_change);
    let chances: Vec<f64> = evidence.iter().filter(compared).map(Evidence::chance).collect();
    let alpha = decide::level(&chances, 1.0 - options.confidence);
    // All have the same degrees of freedom.
    let deviations = quantile(alpha, evidence.first().and_then(|evidence| evidence.freedom));
    let changes: Vec<Change> =
        evidence.iter().map(|evidence| Change::new(*evidence, deviations, options.min_change)).collect();
    let half = |change: &Change| {
        let Interval { estimate, low, high } = change.difference;
        (estimate - low).max(high - estimate)
    };
    let resolution =
        changes.iter().filter(|change| change.could_matter(options.min_change)).map(half).fold(0.0, f64::max);
    (changes, Family { compared: chances.len(), alpha, resolution })
}

impl Change {
    fn new(evidence: Evidence, deviations: f64, min_change: f64) -> Self {
        let difference = evidence.difference_within(deviations);
        let matters = could_matter(&evidence, min_change) && difference.estimate.abs() >= min_change;
        let verdict = match (evidence.before.value == 0.0, evidence.after.value == 0.0) {
            _ if !matters || (difference.low <= 0.0 && difference.high >= 0.0) => Verdict::Same,
            (true, _) => Verdict::New,
            (_, true) => Verdict::Gone,
            _ if difference.estimate > 0.0 => Verdict::Grown,
            _ => Verdict::Shrunk,
        };
        Self { evidence, difference, ratio: evidence.ratio_within(deviations), verdict }
    }

    /// Whether the shares are large enough for a difference of `min_change`.
    #[must_use]
    pub fn could_matter(&self, min_change: f64) -> bool {
        could_matter(&self.evidence, min_change)
    }

    fn is_nowhere(&self) -> bool {
        self.evidence.before.value == 0.0 && self.evidence.after.value == 0.0
    }
}

impl FunctionChange {
    fn new(profiles: [&Profile; 2], origin: Origin, own: Change, total: Change) -> Self {
        let frame = profiles[origin.side].frame(origin.frame);
        Self {
            name: frame.name.to_owned(),
            file: frame.file.map(str::to_owned),
            unknown: frame.kind == Kind::Unknown,
            own,
            total,
        }
    }
}

impl Matching {
    fn names(&self, profiles: [&Profile; 2], path: u32) -> Vec<String> {
        let mut names = Vec::new();
        let mut next = path;
        while next != NONE {
            let path = self.paths[next as usize];
            let frame = profiles[path.origin.side].frame(path.origin.frame);
            names.push(format!("{}{}", frame.name, if frame.inlined { " (inlined)" } else { "" }));
            next = path.parent;
        }
        names.reverse();
        names
    }
}
