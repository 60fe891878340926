//! A table that is fetched or made while lookups go on.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::cache::Cache;
use crate::image::Image;
use crate::table::Table;

/// How a [`Symbolizer`](crate::Symbolizer) comes to a table of the whole image.
///
/// The first lookup starts a thread that looks for the table in the cache. Where there is none, the table is made when
/// `after` different addresses have been looked up: whoever asks for a few does not pay for all. Until it is ready, the
/// units of the debug information that are asked for are read one by one; the answers are the same.
///
/// A symbolizer that is dropped waits for a table that is being made, at most `wait`, so that the next one finds it in
/// the cache; without a cache it does not wait.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Where tables are kept; `None` to keep none.
    pub cache: Option<Cache>,
    /// After how many different addresses a table is made.
    pub after: usize,
    /// With how many threads.
    pub threads: NonZeroUsize,
    /// How long a dropped symbolizer waits for a table that is being made.
    pub wait: Duration,
}

impl Default for Tables {
    /// No cache, a table after 256 addresses, by one thread, and a wait of two seconds.
    fn default() -> Self {
        Self { cache: None, after: 256, threads: NonZeroUsize::MIN, wait: Duration::from_secs(2) }
    }
}

#[derive(Debug, Default)]
enum Stage {
    /// Nobody asked yet.
    #[default]
    Idle,
    /// A thread looks in the cache.
    Looking,
    /// The cache has none.
    Absent,
    /// A thread makes it.
    Making,
    Ready(Arc<Table>),
    /// There will be none.
    Failed,
}

#[derive(Debug, Default)]
struct Shared {
    stage: Mutex<Stage>,
    changed: Condvar,
    cancelled: AtomicBool,
}

impl Shared {
    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage() = stage;
        self.changed.notify_all();
    }
}

/// The table of one image, now or later.
#[derive(Debug)]
pub(crate) struct Background {
    tables: Tables,
    image: Arc<Image>,
    shared: Arc<Shared>,
}

impl Background {
    pub(crate) fn new(tables: Tables, image: Arc<Image>) -> Self {
        Self { tables, image, shared: Arc::default() }
    }

    /// The table, if it is ready. `looked_up` is the number of addresses that were looked up without it.
    pub(crate) fn poll(&self, looked_up: usize) -> Option<Arc<Table>> {
        let mut stage = self.shared.stage();
        match &*stage {
            Stage::Ready(table) => return Some(Arc::clone(table)),
            Stage::Idle if self.tables.cache.is_some() => *stage = self.start(Stage::Looking, Shared::look),
            Stage::Idle | Stage::Absent if looked_up >= self.tables.after => {
                *stage = self.start(Stage::Making, Shared::make);
            }
            _ => {}
        }
        None
    }

    /// Waits until the table is ready, at most this long; makes it if need be.
    pub(crate) fn wait(&self, limit: Duration) -> Option<Arc<Table>> {
        let end = std::time::Instant::now() + limit;
        loop {
            if let Some(table) = self.poll(usize::MAX) {
                return Some(table);
            }
            let stage = self.shared.stage();
            let left = end.saturating_duration_since(std::time::Instant::now());
            if matches!(*stage, Stage::Failed) || left.is_zero() {
                return None;
            }
            if matches!(*stage, Stage::Looking | Stage::Making) {
                let waited = self.shared.changed.wait_timeout(stage, left);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    fn start(&self, stage: Stage, work: fn(&Shared, &Image, &Tables)) -> Stage {
        let (shared, image, tables) =
            (Arc::clone(&self.shared), Arc::clone(&self.image), self.tables.clone());
        let thread = std::thread::Builder::new().name("symbol table".into());
        match thread.spawn(move || work(&shared, &image, &tables)) {
            Ok(_) => stage,
            // Without a thread, lookups go on as they are.
            Err(_) => Stage::Failed,
        }
    }
}

impl Shared {
    fn look(&self, image: &Image, tables: &Tables) {
        let table = tables.cache.as_ref().and_then(|cache| cache.open(image));
        self.set(table.map_or(Stage::Absent, |table| Stage::Ready(Arc::new(table))));
    }

    fn make(&self, image: &Image, tables: &Tables) {
        let Some(Ok(table)) = Table::build_unless(image, tables.threads, &self.cancelled) else {
            return self.set(Stage::Failed);
        };
        let table = Arc::new(table);
        if let Some(cache) = tables.cache.as_ref().filter(|_| image.is_unchanged()) {
            // A cache that cannot be written to is as good as none.
            let _ = cache.keep(&table);
        }
        self.set(Stage::Ready(table));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let making = |stage: &mut Stage| matches!(stage, Stage::Making);
        if self.tables.cache.is_some() {
            let stage = self.shared.stage();
            let waited = self.shared.changed.wait_timeout_while(stage, self.tables.wait, making);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }
}
