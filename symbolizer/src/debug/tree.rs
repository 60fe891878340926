//! Functions within functions, made flat: which one an address belongs to.

/// Where the code of a function lies, inlined or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// 0 for a function that is not inlined.
    pub(crate) depth: u32,
    pub(crate) node: u32,
    /// The node that it is inlined into.
    pub(crate) parent: u32,
}

pub(crate) const NONE: u32 = u32::MAX;

/// The innermost node of each address as steps, each of which holds up to the next one. A span must lie within its
/// parent's; what does not is cut off. Of two that claim the same place, which only damaged information has, the one that
/// begins later counts, or the first of equals.
pub(crate) fn flatten(mut spans: Vec<Span>) -> Vec<(u64, u32)> {
    spans.sort_by_key(|span| (span.begin, span.depth));
    let mut steps = Steps(Vec::with_capacity(spans.len() * 2));
    let mut open: Vec<Span> = Vec::new();
    for mut span in spans {
        while let Some(top) = open.pop_if(|top| top.end <= span.begin) {
            steps.push(top.end, open.last().map_or(NONE, |outer| outer.node));
        }
        while open.pop_if(|top| top.depth >= span.depth && top.begin < span.begin).is_some() {
            steps.push(span.begin, open.last().map_or(NONE, |outer| outer.node));
        }
        let fits = match open.last() {
            Some(outer) => {
                span.end = span.end.min(outer.end);
                span.depth > 0 && outer.node == span.parent
            }
            None => span.depth == 0,
        };
        if fits {
            steps.push(span.begin, span.node);
            open.push(span);
        }
    }
    while let Some(top) = open.pop() {
        steps.push(top.end, open.last().map_or(NONE, |outer| outer.node));
    }
    steps.0
}

struct Steps(Vec<(u64, u32)>);

impl Steps {
    fn push(&mut self, start: u64, node: u32) {
        match self.0.last_mut() {
            Some(last) if last.0 >= start => last.1 = node,
            Some(last) if last.1 == node => {}
            _ => self.0.push((start, node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(begin: u64, end: u64, depth: u32, node: u32, parent: u32) -> Span {
        Span { begin, end, depth, node, parent }
    }

    #[test]
    fn the_innermost_counts() {
        let spans = vec![
            span(10, 50, 0, 0, NONE),
            span(20, 30, 1, 1, 0),
            span(20, 25, 2, 2, 1),
            span(30, 40, 1, 3, 0),
            span(60, 70, 0, 4, NONE),
            span(60, 70, 1, 5, 4),
            span(66, 70, 2, 6, 5),
        ];
        let expected =
            [(10, 0), (20, 2), (25, 1), (30, 3), (40, 0), (50, NONE), (60, 5), (66, 6), (70, NONE)];
        assert_eq!(flatten(spans), expected);
    }

    #[test]
    fn what_contradicts_itself_is_cut() {
        // A child beyond its parent, one outside it, two functions of one place with a child each, and an overlap.
        let spans = vec![
            span(10, 20, 0, 0, NONE),
            span(15, 30, 1, 1, 0),
            span(40, 45, 1, 2, 0),
            span(50, 60, 0, 3, NONE),
            span(50, 60, 0, 4, NONE),
            span(52, 54, 1, 5, 3),
            span(52, 54, 1, 6, 4),
            span(70, 80, 0, 7, NONE),
            span(75, 90, 0, 8, NONE),
        ];
        let expected = [
            (10, 0),
            (15, 1),
            (20, NONE),
            (50, 3),
            (52, 5),
            (54, 3),
            (60, NONE),
            (70, 7),
            (75, 8),
            (90, NONE),
        ];
        assert_eq!(flatten(spans), expected);
    }
}
