//! Figures of the whole guest, of the second before a moment.

use uniprof_collector::accounting::Tally;
use uniprof_collector::tables::Tables;
use uniprof_tui::picture::{Loss, Overview, VcpuNow};
use uniprof_wire::record::Class;
use uniprof_wire::tables::{ThreadState, VcpuStats};

use super::Moment;
use crate::monitor::history::{Look, total};
use crate::monitor::model::Model;

/// Seconds of history.
const HISTORY: u64 = 60;

/// The figures at a moment. `samples`: those within the picture's span.
pub(super) fn overview(
    model: &Model,
    moment: &Moment,
    samples: u64,
    collector: Option<(f64, u64)>,
) -> Overview {
    let history = &model.seen.history;
    let whole = moment.reach.second();
    let counts = history.sum(whole.clone());
    let mut overview = Overview {
        samples_rate: counts.samples as f64,
        events_rate: counts.others as f64,
        samples,
        loss: loss(&total(&moment.tallies)),
        collector,
        history: history.seconds(&whole, HISTORY),
        ..Overview::default()
    };
    let Some(now) = &moment.now else { return overview };
    let earlier = moment.earlier.as_ref();
    let tables = &now.tables;
    let states = || tables.threads.iter().filter_map(|slot| slot.entry()).map(|entry| entry.state_now());
    overview.threads = states().filter(|state| *state != ThreadState::Exited).count();
    overview.run_queue = states().filter(|state| *state == ThreadState::Ready).count();
    overview.loss_rate = loss_rate(model, now, earlier);
    overview.own_cost = own_cost(tables, earlier.map(|look| &*look.tables));
    overview.vcpus = vcpus(model, now, earlier);
    overview
}

fn loss(total: &Tally) -> Loss {
    let causes = total.causes().into_iter().filter(|(_, count)| *count > 0);
    Loss { received: total.received, lost: total.lost(), causes: causes.collect() }
}

fn loss_rate(model: &Model, now: &Look, earlier: Option<&Look>) -> f64 {
    let Some(earlier) = earlier else { return 0.0 };
    let seconds = model.seen.clock.span(now.tsc.saturating_sub(earlier.tsc));
    if seconds > 0.0 { now.lost().saturating_sub(earlier.lost()) as f64 / seconds } else { 0.0 }
}

/// The profiler's share of the vCPUs' time.
fn own_cost(now: &Tables, earlier: Option<&Tables>) -> Option<f64> {
    let sums = |tables: &Tables| {
        tables.vcpus.iter().fold((0_u64, 0_u64), |(own, up), vcpu| {
            (own.saturating_add(vcpu.own_cost()), up.saturating_add(vcpu.lifetime()))
        })
    };
    let (own, up) = sums(now);
    let (own_before, up_before) = earlier.map(sums).unwrap_or_default();
    let up = up.saturating_sub(up_before);
    (up > 0).then(|| (own.saturating_sub(own_before) as f64 / up as f64).min(1.0))
}

fn vcpus(model: &Model, now: &Look, earlier: Option<&Look>) -> Vec<VcpuNow> {
    let none = VcpuStats::default();
    let before = |id: usize| earlier.and_then(|look| look.tables.vcpus.get(id)).unwrap_or(&none);
    let online = now.tables.vcpus.iter().enumerate().filter(|(_, vcpu)| vcpu.online != 0);
    online.map(|(id, vcpu)| one(model, id as u32, vcpu, before(id))).collect()
}

fn one(model: &Model, id: u32, now: &VcpuStats, before: &VcpuStats) -> VcpuNow {
    let up = now.lifetime().saturating_sub(before.lifetime()).max(1);
    let share = |ticks: u64| (ticks as f64 / up as f64).clamp(0.0, 1.0);
    // Idle time that goes on is in no account yet.
    let idle = |stats: &VcpuStats| {
        let goes_on =
            if stats.idle_since == 0 { 0 } else { stats.heartbeat.saturating_sub(stats.idle_since) };
        stats.idle.saturating_add(goes_on)
    };
    let idle = share(idle(now).saturating_sub(idle(before)));
    let tells = now.classes & Class::Irq.bit() != 0 || now.interrupts > before.interrupts;
    let irq = tells.then(|| share(now.irq_time.saturating_sub(before.irq_time)).min(1.0 - idle));
    let seconds = model.seen.clock.span(up);
    let interrupts = now.interrupts.saturating_sub(before.interrupts) as f64;
    VcpuNow {
        id,
        busy: (1.0 - idle - irq.unwrap_or(0.0)).max(0.0),
        irq,
        idle,
        interrupts: (tells && seconds > 0.0).then(|| interrupts / seconds),
        thread: (now.idle_since == 0 && now.current_thread != 0).then_some(now.current_thread),
    }
}
