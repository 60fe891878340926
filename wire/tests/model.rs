//! A step model of the ring: the writer's own code with an interrupt and an NMI injected at every memory
//! access, against the reader's own code delayed at every load.
//!
//! A vCPU is sequential, so one choice of injection points gives one history: the list of all changes to memory, in
//! order. The reader only reads, so it can not disturb a history; what it can see is fixed by the moment of
//! each of its loads. The model therefore enumerates, for each history, every sequence of non-decreasing moments at
//! which the loads can return different values. A load takes the earliest moment of each
//! value: any later one leaves a subset of the continuations.
//!
//! Stores are seen in program order, as on x86_64 and as `WriterWords` demands elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use uniprof_wire::record::{CLASSES, Class, EventRecord, Record, Records};
use uniprof_wire::ring::{
    Block, HEAD, IDLE, IN_FLIGHT, REFUSED, ReaderWords, RingGeometry, SLOT_COUNTERS, Source, Writer,
    WriterWords, read_block, read_counters,
};

const GEOMETRY: RingGeometry = RingGeometry::new(16, 4);
const SALT: u32 = 0x9e37_79b9;
const EVENT: usize = Class::Event as usize;

/// What runs on the vCPU: how many records each context writes, and how many words each record has.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    before: usize,
    thread: usize,
    interrupt: usize,
    nmi: usize,
    words: [usize; 3],
}

/// The vCPU's memory. Every access is a step, before which an interrupt or NMI may be injected.
struct Machine {
    scenario: Scenario,
    memory: Vec<Cell<u64>>,
    changes: RefCell<Vec<(usize, u64)>>,
    step: Cell<usize>,
    interrupt_at: usize,
    nmi_at: usize,
    next_id: Cell<u64>,
    attempted: Cell<u64>,
}

impl Machine {
    fn step(&self) {
        let step = self.step.get();
        self.step.set(step + 1);
        if step == self.interrupt_at {
            self.emit(self.scenario.interrupt, self.scenario.words[1]);
        }
        if step == self.nmi_at {
            self.emit(self.scenario.nmi, self.scenario.words[2]);
        }
    }

    fn change(&self, word: usize, value: u64) {
        self.memory[word].set(value);
        self.changes.borrow_mut().push((word, value));
    }

    fn emit(&self, records: usize, words: usize) {
        let writer = Writer::new(self, GEOMETRY, SALT);
        for _ in 0..records {
            let id = self.next_id.get();
            self.next_id.set(id + 1);
            self.attempted.set(self.attempted.get() + 1);
            let args = [id.wrapping_mul(3); 1];
            let args = &args[..words - 3];
            let _ = writer.write_record(&Record::Event(EventRecord { tsc: id, site: 1, thread: 2, args }));
        }
    }
}

impl WriterWords for Machine {
    fn load(&self, index: usize) -> u64 {
        self.step();
        self.memory[index].get()
    }
    fn store(&self, index: usize, value: u64) {
        self.step();
        self.change(index, value);
    }
    fn local_compare_exchange(&self, index: usize, old: u64, new: u64) -> bool {
        self.step();
        let same = self.memory[index].get() == old;
        if same {
            self.change(index, new);
        }
        same
    }
    fn local_add(&self, index: usize, value: u64) {
        self.step();
        self.change(index, self.memory[index].get() + value);
    }
}

/// One run of the vCPU: memory before, all changes in order, and what was truly committed.
struct History {
    before: Vec<u64>,
    /// For each word, the moments and values of its changes. Moment `n` is after the first `n` changes.
    changes: Vec<Vec<(usize, u64)>>,
    end: usize,
    /// Position and record id of everything committed, and its length in words.
    truth: BTreeMap<u64, (u64, u64)>,
    steps: usize,
}

impl History {
    /// `None` when the injection points were never reached.
    fn run(scenario: Scenario, interrupt_at: usize, nmi_at: usize) -> Option<Self> {
        let machine = Machine {
            scenario,
            memory: vec![Cell::new(0); GEOMETRY.total_words()],
            changes: RefCell::default(),
            step: Cell::new(usize::MAX / 2),
            interrupt_at,
            nmi_at,
            next_id: Cell::new(1),
            attempted: Cell::new(0),
        };
        Writer::new(&machine, GEOMETRY, SALT).format();
        machine.changes.borrow_mut().clear();
        machine.emit(scenario.before, scenario.words[0]);
        let warm_up = machine.changes.take();
        let before: Vec<u64> = machine.memory.iter().map(Cell::get).collect();
        machine.step.set(0);
        machine.emit(scenario.thread, scenario.words[0]);
        let steps = machine.step.get();
        if interrupt_at >= steps || nmi_at >= steps {
            return None;
        }
        let tail = machine.changes.take();
        let mut changes = vec![Vec::new(); before.len()];
        tail.iter().enumerate().for_each(|(i, &(word, value))| changes[word].push((i + 1, value)));
        let truth = truth(warm_up.iter().chain(&tail));
        let history = Self { before, changes, end: tail.len(), truth, steps };
        history.writer_left_no_trace(&machine);
        Some(history)
    }

    /// Counters and IN_FLIGHT after the run, against the truth.
    fn writer_left_no_trace(&self, machine: &Machine) {
        let word = |index: usize| machine.memory[index].get();
        assert_eq!(word(IN_FLIGHT), IDLE);
        let committed: u64 = (0..GEOMETRY.slots()).map(|s| word(SLOT_COUNTERS + s * CLASSES + EVENT)).sum();
        assert_eq!(committed, self.truth.len() as u64);
        assert_eq!(committed + word(REFUSED + EVENT), machine.attempted.get());
    }

    fn value(&self, word: usize, moment: usize) -> u64 {
        let changes = &self.changes[word];
        let later = changes.partition_point(|&(at, _)| at <= moment);
        if later == 0 { self.before[word] } else { changes[later - 1].1 }
    }

    /// First moment at which the head is at least `position`.
    fn reached(&self, position: u64) -> Option<usize> {
        (0..=self.end).find(|&moment| self.value(HEAD, moment) >= position)
    }
}

/// What was committed: every store of a committed header, with the words that then followed it.
fn truth<'a>(changes: impl Iterator<Item = &'a (usize, u64)>) -> BTreeMap<u64, (u64, u64)> {
    const EVENT_COMMITTED: u64 = 3 | 0xc3 << 8;
    let mut memory = vec![0; GEOMETRY.total_words()];
    let mut truth = BTreeMap::new();
    for &(word, value) in changes {
        memory[word] = value;
        if word >= GEOMETRY.data() && value & 0xffff == EVENT_COMMITTED && value >> 32 != 0 {
            let position = u64::from((value >> 32) as u32 ^ SALT);
            // Payload words can look like anything but this: their tag would have to fit their place.
            if GEOMETRY.word_of(position) == word {
                truth.insert(position, (memory[word + 1], value >> 16 & 0xffff));
            }
        }
    }
    truth
}

/// A reader whose loads are delayed as `choices` say.
struct Delayed<'a> {
    history: &'a History,
    moment: Cell<usize>,
    choices: &'a RefCell<Vec<(usize, usize)>>,
    load: Cell<usize>,
}

impl ReaderWords for Delayed<'_> {
    fn load(&self, index: usize) -> u64 {
        let changes = &self.history.changes[index];
        let later = &changes[changes.partition_point(|&(at, _)| at <= self.moment.get())..];
        let mut choices = self.choices.borrow_mut();
        let load = self.load.get();
        self.load.set(load + 1);
        if load == choices.len() {
            choices.push((0, later.len()));
        }
        let (choice, _) = choices[load];
        if choice > 0 {
            self.moment.set(later[choice - 1].0);
        }
        self.history.value(index, self.moment.get())
    }
}

/// Runs `read` for every distinguishable sequence of delays from `moment` on; returns how many there were.
fn for_every_delay(history: &History, moment: usize, mut read: impl FnMut(&Delayed<'_>)) -> u64 {
    let choices = RefCell::new(Vec::new());
    let mut runs = 0;
    loop {
        read(&Delayed { history, moment: Cell::new(moment), choices: &choices, load: Cell::new(0) });
        runs += 1;
        let mut choices = choices.borrow_mut();
        while choices.last().is_some_and(|(choice, most)| choice == most) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return runs,
        }
    }
}

/// Whatever the reader accepts is exactly what was committed there.
fn check_block(history: &History, position: u64, block: Block, out: &[u64]) {
    match block {
        Block::Empty => {}
        Block::Copied { start, end, sealed } => {
            assert_eq!(start, position);
            let mut found = Vec::new();
            for record in Records::new(&out[..(end - start) as usize], start, SALT) {
                let Ok(Record::Event(event)) = record.record else { panic!("accepted {record:?}") };
                assert!(event.args.iter().all(|&arg| arg == event.tsc * 3), "{event:?}");
                found.push((record.position, (event.tsc, record.words as u64)));
            }
            let wanted: Vec<_> = history.truth.range(start..end).map(|(&p, &r)| (p, r)).collect();
            assert_eq!(found, wanted, "{start}..{end}");
            if let Some(counters) = sealed {
                let slot = GEOMETRY.slot_of(start);
                let committed = history.truth.range(..end).filter(|(p, _)| GEOMETRY.slot_of(**p) == slot);
                assert_eq!(counters[EVENT], committed.count() as u64, "counters of slot {slot} at {end}");
            }
        }
        Block::Overrun { resume } => {
            assert!(resume > position && resume.is_multiple_of(4));
            let head = history.value(HEAD, history.end);
            assert!(resume <= head && head > GEOMETRY.sub_buffer_start(position) + 16);
        }
        Block::ImplausibleHead { head } => panic!("head {head} at position {position}"),
    }
}

/// Every read of every position of one history.
fn check_history(history: &History) -> u64 {
    let last = history.value(HEAD, history.end);
    let starts = history.truth.keys().copied();
    let boundaries = (0..=last / 4).map(|i| i * 4);
    let mut positions: Vec<u64> = starts.chain(boundaries).filter(|&p| p + 24 >= last).collect();
    positions.sort_unstable();
    positions.dedup();
    let mut out = [0; 4];
    let mut runs = 0;
    for position in positions {
        let Some(moment) = history.reached(position) else { continue };
        runs += for_every_delay(history, moment, |reader| {
            let block = read_block(reader, GEOMETRY, Source::Live, position, &mut out);
            check_block(history, position, block, &out);
        });
    }
    runs
}

fn check_scenario(scenario: Scenario) -> u64 {
    let plain = History::run(scenario, usize::MAX, usize::MAX);
    assert!(plain.is_none(), "injection points beyond the end are reported");
    let mut runs = 0;
    for interrupt_at in 0.. {
        let Some(history) = History::run(scenario, interrupt_at, 0) else { break };
        for nmi_at in 0..history.steps {
            if let Some(history) = History::run(scenario, interrupt_at, nmi_at) {
                runs += check_history(&history);
            }
        }
    }
    runs
}

#[test]
fn no_reader_accepts_what_was_not_committed() {
    let mut runs = 0;
    // Records of 4 words fill sub-buffers, of 3 leave padding; the last scenario makes handlers run into the refusal.
    for (thread, interrupt, nmi, words) in [
        (2, 1, 1, [3, 3, 3]),
        (2, 1, 1, [4, 3, 4]),
        (1, 2, 1, [3, 4, 3]),
        (1, 2, 2, [4, 4, 3]),
        (1, 5, 1, [3, 3, 3]),
    ] {
        for before in [0, 3, 5] {
            runs += check_scenario(Scenario { before, thread, interrupt, nmi, words });
        }
    }
    println!("{runs} reads");
    assert!(runs > 1_000_000, "{runs} reads: the model has shrunk");
}

/// Counters that are read while nobody writes are those of that moment: what the reader calls the head.
#[test]
fn counters_are_of_one_moment() {
    let scenario = Scenario { before: 3, thread: 2, interrupt: 1, nmi: 1, words: [3, 4, 3] };
    let mut accepted = 0;
    for interrupt_at in 0..12 {
        let Some(history) = History::run(scenario, interrupt_at, interrupt_at + 3) else { break };
        let mut slots = [0; 4 * CLASSES];
        for_every_delay(&history, 0, |reader| {
            let counters = read_counters(reader, GEOMETRY, Source::Live, 1, &mut slots);
            if let Some(counters) = counters {
                accepted += 1;
                let committed: u64 = (0..4).map(|slot| slots[slot * CLASSES + EVENT]).sum();
                assert_eq!(committed, history.truth.range(..counters.head).count() as u64);
            }
        });
    }
    assert!(accepted > 100);
}

/// A hostile guest: any control words, any data. The reader returns, within its buffer.
#[test]
fn any_words_in_a_ring_are_survived() {
    let interesting = [0, 1, 3, 4, 15, 16, 17, 1 << 32, 1 << 62, (1 << 62) + 1, u64::MAX - 1, u64::MAX];
    let mut out = [0; 4];
    for head in interesting {
        for in_flight in interesting {
            for position in interesting.into_iter().filter(|&p| p <= 1 << 62) {
                let memory = vec![Cell::new(0xdead_beef); GEOMETRY.total_words()];
                memory[HEAD].set(head);
                memory[IN_FLIGHT].set(in_flight);
                for source in [Source::Live, Source::Dead] {
                    match read_block(&&memory[..], GEOMETRY, source, position, &mut out) {
                        Block::Copied { start, end, .. } => {
                            assert!(end > start && end - start <= 4);
                            let records = Records::new(&out[..(end - start) as usize], start, SALT);
                            assert!(records.count() <= 4);
                        }
                        Block::Overrun { resume } => assert!(resume > position),
                        Block::Empty | Block::ImplausibleHead { .. } => {}
                    }
                }
            }
        }
    }
}
