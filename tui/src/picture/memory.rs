//! The heap.

/// The heap, as far as it is sampled or counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// Bytes that are allocated, where the guest counts them.
    pub live_bytes: Option<u64>,
    /// Bytes that the heap has.
    pub heap_bytes: Option<u64>,
    /// Bytes allocated per second, of the last second, where that is known.
    pub allocated_rate: Option<f64>,
    /// By stack, the most first; at most some hundred.
    pub sites: Vec<HeapSite>,
    /// Live bytes in the last minute, a value a second, the newest last.
    pub history: Vec<u64>,
}

/// Blocks of one stack.
#[derive(Debug, Clone, PartialEq)]
pub struct HeapSite {
    /// The function that asked for them: the innermost that is not the allocator's.
    pub function: String,
    /// Blocks and bytes that are live, as sampling tells: those that the sampled ones stand for.
    pub blocks: u64,
    /// As above.
    pub bytes: u64,
    /// Bytes more than at the begin of the span, per second.
    pub growth_rate: f64,
    /// The stack without the allocator's own frames, the innermost first.
    pub stack: Vec<String>,
}
