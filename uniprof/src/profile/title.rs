//! What a picture says of itself.

use std::time::Duration;

use uniprof_flamegraph::{Profile, Title};

use super::{Named, View};

/// The title of a picture of `profile`.
pub(crate) fn title(named: &Named, profile: &Profile) -> Title {
    let Named { figures, view, aside, .. } = named;
    let session = &figures.session;
    let measured = profile.measured();
    let samples = figures.class(view.class());
    let mut notes = Vec::new();
    if figures.is_emulated() {
        notes.push("emulated CPU (TCG): timings are not the processor's".to_owned());
    }
    let missed = figures.missed();
    // A few are late on any machine.
    if *view == View::Cpu && missed > samples.received / 20 {
        notes.push(format!(
            "{missed} ticks came too late for a sample of their own (weights have their time)"
        ));
    }
    notes.extend(aside.sentences(figures));
    notes.extend(figures.notes.iter().cloned());
    Title {
        guest: session.guest.clone(),
        build_id: session.build_id.clone(),
        // That of samples, which have no part in anything else.
        rate: figures.rate().map(f64::from).filter(|_| *view == View::Cpu),
        booted_ns: figures.booted_ns(),
        clock: super::clock::points(figures),
        duration: (figures.seconds > 0.0).then(|| Duration::from_secs_f64(figures.seconds)),
        measured,
        samples: profile.total().samples,
        weight: profile.total().weight,
        // What was lost is known; that nothing was, only at the end.
        loss: (figures.is_settled || samples.lost() > 0)
            .then(|| samples.causes().map(|(cause, count)| (cause.to_owned(), count)).to_vec()),
        own_cost: figures.own_cost(),
        notes,
    }
}
