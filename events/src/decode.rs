//! From a record to an event.

use uniprof_wire::net::ConnectionState;
use uniprof_wire::record::{
    CallRecord, ConnectionRecord, CounterRecord, EventRecord, PacketRecord, ParkRecord, Record, ResumeRecord,
    SwitchReason, ThreadAction,
};
use uniprof_wire::site::{SiteKind, Values};
use uniprof_wire::tables::WaitKind;

use crate::event::{Event, FieldName};
use crate::kind::EventKind;
use crate::sites::Sites;
use crate::value::Value;

impl Event {
    /// The event that a record of `vcpu` tells of; `None` for samples.
    #[must_use]
    pub fn new(vcpu: u32, record: &Record<'_>, sites: &Sites) -> Option<Self> {
        let bare = |thread, kind| Self {
            tsc: record.tsc(),
            vcpu,
            thread,
            kind,
            site: None,
            site_id: None,
            ticks: None,
            fields: Vec::new(),
            has_result: false,
        };
        Some(match record {
            Record::Sample(_) | Record::Snapshot(_) => return None,
            Record::Event(event) => bare(event.thread, EventKind::Event).args(sites, event),
            Record::SpanBegin(span) => bare(span.thread, EventKind::SpanBegin).args(sites, span),
            Record::SpanEnd(span) => {
                let event = bare(span.thread, EventKind::SpanEnd).at(sites, span.site).since(span.begin);
                event.field_if(span.begun_on != span.thread, "begun_on", Value::Thread(span.begun_on))
            }
            Record::Counter(counter) => bare(counter.thread, EventKind::Counter).counter(sites, counter),
            Record::Call(call) => bare(call.thread, EventKind::Call).call(sites, call),
            Record::Switch(switch) => bare(switch.from, EventKind::Switch)
                .with("to", Value::Thread(switch.to))
                .with("reason", Value::Word(reason(switch.reason))),
            Record::Log(log) => bare(log.thread, EventKind::Log).with("text", text(log.text.bytes())),
            Record::Mark(mark) => bare(mark.thread, EventKind::Mark).with("text", text(mark.text.bytes())),
            Record::Thread(thread) => {
                let action = if thread.action == ThreadAction::Started { "started" } else { "exited" };
                bare(thread.thread, EventKind::Thread)
                    .with("action", Value::Word(action))
                    .with("name", text(thread.name.bytes()))
            }
            Record::Park(park) => bare(park.thread, EventKind::Park).park(park),
            Record::Resume(resume) => bare(resume.thread, EventKind::Resume).resume(resume),
            Record::Wake(wake) => bare(wake.waker, EventKind::Wake)
                .with("woken", Value::Thread(wake.thread))
                .field_if(wake.by_interrupt, "by", Value::Word("interrupt")),
            Record::LockWait(wait) => bare(wait.thread, EventKind::LockWait)
                .since(wait.begin)
                .with("lock", Value::Address(wait.lock.0))
                .with("how", Value::Word(wait.kind.name()))
                .field_if(wait.owner != 0, "owner", Value::Thread(wait.owner)),
            Record::LockHold(hold) => bare(hold.thread, EventKind::LockHold)
                .since(hold.since)
                .with("lock", Value::Address(hold.lock.0))
                .with("how", Value::Word(hold.kind.name())),
            Record::Interrupt(interrupt) => bare(interrupt.thread, EventKind::Interrupt)
                .since(interrupt.begin)
                .with("vector", Value::Unsigned(interrupt.vector.into())),
            Record::Allocation(block) => bare(block.thread, EventKind::Allocation)
                .with("block", Value::Address(block.address.0))
                .with("bytes", Value::Unsigned(block.bytes))
                .with("weight", Value::Unsigned(block.weight)),
            Record::Packet(packet) => bare(packet.thread, EventKind::Packet).packet(packet),
            Record::Connection(change) => bare(change.thread, EventKind::Connection).connection(change),
            Record::Free(block) => bare(block.thread, EventKind::Free)
                .with("block", Value::Address(block.address.0))
                .with("bytes", Value::Unsigned(block.bytes))
                .with("weight", Value::Unsigned(block.weight)),
        })
    }

    fn packet(self, packet: &PacketRecord<'_>) -> Self {
        let bytes = Value::Bytes { kept: packet.bytes.bytes().collect(), total: packet.original as usize };
        self.with("interface", Value::Unsigned(packet.interface.into()))
            .with("direction", Value::Word(packet.direction.name()))
            .with("verdict", Value::Word(packet.verdict.name()))
            .with("length", Value::Unsigned(packet.original.into()))
            .with("bytes", bytes)
    }

    /// Of its end, how long it lived.
    fn connection(self, change: &ConnectionRecord) -> Self {
        let is_over = change.new == ConnectionState::Closed;
        self.since(if is_over { change.opened } else { 0 })
            .with("id", Value::Unsigned(change.id))
            .with("protocol", Value::Word(change.protocol.name()))
            .with("local", text(change.ends.local.to_string().bytes()))
            .with("remote", text(change.ends.remote.to_string().bytes()))
            .with("from", Value::Word(change.old.name()))
            .with("to", Value::Word(change.new.name()))
            .field_if(change.served_by != 0, "served_by", Value::Thread(change.served_by))
            .with("bytes_in", Value::Unsigned(change.bytes_in))
            .with("bytes_out", Value::Unsigned(change.bytes_out))
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.fields.push((FieldName::Static(name), value));
        self
    }

    fn field_if(self, is_there: bool, name: &'static str, value: Value) -> Self {
        if is_there { self.with(name, value) } else { self }
    }

    /// 0: it is not known when it began.
    fn since(mut self, begin: u64) -> Self {
        self.ticks = (begin != 0).then(|| self.tsc.saturating_sub(begin));
        self
    }

    fn at(mut self, sites: &Sites, id: u32) -> Self {
        self.site = sites.get(id).cloned();
        self.site_id = Some(id);
        self
    }

    /// The site, and the arguments as it says; words that it does not explain as numbers.
    fn args(self, sites: &Sites, record: &EventRecord<'_>) -> Self {
        self.at(sites, record.site).words(record.args)
    }

    fn words(mut self, words: &[u64]) -> Self {
        let mut values = Values::new(words);
        let types = self.site.iter().flat_map(|site| &site.args).map(|arg| arg.ty);
        let known = types.map_while(|ty| values.next(ty).map(Value::of));
        let mut fields: Vec<_> =
            known.enumerate().map(|(index, value)| (FieldName::Argument(index), value)).collect();
        let expected = self.site.as_ref().map(|site| site.args.len());
        // Where a type did not fit its words, those after it have no meaning.
        if expected.is_none_or(|expected| fields.len() == expected) {
            let first = fields.len();
            let rest = values.rest().iter().enumerate();
            fields.extend(rest.map(|(i, &word)| (FieldName::Argument(first + i), Value::Unsigned(word))));
        }
        self.fields = fields;
        self
    }

    fn counter(mut self, sites: &Sites, counter: &CounterRecord) -> Self {
        self = self.at(sites, counter.site);
        let site = self.site.as_ref();
        if site.is_some_and(|site| site.kind == SiteKind::Gauge) {
            self.kind = EventKind::Gauge;
        }
        let ty = site.and_then(|site| site.args.first()).map(|arg| arg.ty);
        let value = ty.and_then(|ty| Values::new(&[counter.value]).next(ty).map(Value::of));
        self.with("value", value.unwrap_or(Value::Unsigned(counter.value)))
    }

    fn call(mut self, sites: &Sites, call: &CallRecord<'_>) -> Self {
        self = self.at(sites, call.site).since(call.begin).words(call.args);
        // A call that was left early has one value less.
        self.has_result = self.site.as_ref().is_some_and(|site| {
            let result = site.args.last().filter(|arg| arg.name == "result");
            result.is_some() && self.fields.len() == site.args.len()
        });
        self
    }

    fn park(self, park: &ParkRecord<'_>) -> Self {
        self.with("reason", Value::Word(reason(park.reason)))
            .field_if(park.wait != WaitKind::None, "for", Value::Word(park.wait.name()))
            .field_if(park.waits_for.0 != 0, "at", Value::Address(park.waits_for.0))
            .field_if(park.waits_on != 0, "on", Value::Thread(park.waits_on))
    }

    fn resume(self, resume: &ResumeRecord<'_>) -> Self {
        let ready = self.tsc.saturating_sub(resume.woken);
        self.since(resume.parked)
            .with("reason", Value::Word(reason(resume.reason)))
            .field_if(resume.woken != 0, "ready", Value::Ticks(ready))
            .field_if(resume.waker != 0, "waker", Value::Thread(resume.waker))
    }
}

fn text(bytes: impl Iterator<Item = u8>) -> Value {
    Value::text(&bytes.collect::<Vec<u8>>())
}

const fn reason(reason: SwitchReason) -> &'static str {
    match reason {
        SwitchReason::Preempted => "preempted",
        SwitchReason::Yielded => "yielded",
        SwitchReason::Blocked => "blocked",
        SwitchReason::Sleeping => "sleeping",
        SwitchReason::Exited => "exited",
        SwitchReason::Idle => "idle",
    }
}
