//! A node of the B-tree: pairs in order, and between them, in inner nodes, the children. Bayer and McCreight, "Organization
//! and Maintenance of Large Ordered Indexes", 1972.

use alloc::vec::Vec;
use core::borrow::Borrow;

/// Pairs in a node; the root may have fewer.
const LEAST: usize = 5;
const MOST: usize = 2 * LEAST;

pub(super) struct Node<K, V> {
    pairs: Vec<(K, V)>,
    /// One more than pairs; none in a leaf.
    children: Vec<Node<K, V>>,
}

/// What a lookup found, and how many levels of the tree that took.
pub(super) struct Lookup<'a, V> {
    pub(super) value: Option<&'a V>,
    pub(super) levels: u32,
}

pub(super) enum Inserted<K, V> {
    Replaced(V),
    Fitted,
    /// The node became too large: its middle pair and its right half go up.
    Split((K, V), Node<K, V>),
}

impl<K: Ord, V> Node<K, V> {
    pub(super) const fn leaf() -> Self {
        Self { pairs: Vec::new(), children: Vec::new() }
    }

    /// The root over a root that was split.
    pub(super) fn above(left: Self, middle: (K, V), right: Self) -> Self {
        let mut pairs = Vec::with_capacity(MOST + 1);
        pairs.push(middle);
        let mut children = Vec::with_capacity(MOST + 2);
        children.extend([left, right]);
        Self { pairs, children }
    }

    /// The child that takes the place of an empty root.
    pub(super) fn take_only_child(&mut self) -> Option<Self> {
        if self.pairs.is_empty() { self.children.pop() } else { None }
    }

    fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// Where the key is, or which child leads to it.
    #[inline(always)]
    fn find<Q>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.pairs.binary_search_by(|(other, _)| other.borrow().cmp(key))
    }

    #[inline(never)]
    pub(super) fn get<Q>(&self, key: &Q) -> Lookup<'_, V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self.find(key) {
            Ok(at) => Lookup { value: Some(&self.pairs[at].1), levels: 1 },
            Err(_) if self.is_leaf() => Lookup { value: None, levels: 1 },
            Err(below) => {
                let lookup = self.children[below].get(key);
                Lookup { levels: lookup.levels + 1, ..lookup }
            }
        }
    }

    #[inline(never)]
    pub(super) fn insert(&mut self, key: K, value: V) -> Inserted<K, V> {
        match self.find(&key) {
            Ok(at) => return Inserted::Replaced(core::mem::replace(&mut self.pairs[at].1, value)),
            Err(at) if self.is_leaf() => self.pairs.insert(at, (key, value)),
            Err(below) => match self.children[below].insert(key, value) {
                Inserted::Split(middle, right) => {
                    self.pairs.insert(below, middle);
                    self.children.insert(below + 1, right);
                }
                done => return done,
            },
        }
        if self.pairs.len() > MOST { self.split() } else { Inserted::Fitted }
    }

    #[inline(never)]
    fn split(&mut self) -> Inserted<K, V> {
        let right = Self {
            pairs: self.pairs.split_off(LEAST + 1),
            children: if self.is_leaf() { Vec::new() } else { self.children.split_off(LEAST + 1) },
        };
        let middle = self.pairs.pop().expect("a node that is split is full");
        Inserted::Split(middle, right)
    }

    #[inline(never)]
    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self.find(key) {
            Ok(at) if self.is_leaf() => Some(self.pairs.remove(at).1),
            Ok(at) => {
                let before = self.children[at].pop_last().expect("only the root may be empty");
                let removed = core::mem::replace(&mut self.pairs[at], before).1;
                self.refill(at);
                Some(removed)
            }
            Err(_) if self.is_leaf() => None,
            Err(below) => {
                let removed = self.children[below].remove(key);
                self.refill(below);
                removed
            }
        }
    }

    #[inline(never)]
    fn pop_last(&mut self) -> Option<(K, V)> {
        let Some(last) = self.children.len().checked_sub(1) else { return self.pairs.pop() };
        let pair = self.children[last].pop_last();
        self.refill(last);
        pair
    }

    /// Mends a child that a removal left with too few pairs: from a neighbour that can spare one, else by merging the two.
    #[inline(never)]
    fn refill(&mut self, child: usize) {
        if self.children[child].pairs.len() >= LEAST {
            return;
        }
        if child > 0 && self.children[child - 1].pairs.len() > LEAST {
            self.move_right(child - 1);
        } else if child + 1 < self.children.len() && self.children[child + 1].pairs.len() > LEAST {
            self.move_left(child);
        } else {
            self.merge(child.saturating_sub(1));
        }
    }

    /// The last pair of child `left` goes up, the one between goes down to the child right of it.
    fn move_right(&mut self, left: usize) {
        let pair = self.children[left].pairs.pop().expect("it can spare one");
        let grandchild = self.children[left].children.pop();
        let down = core::mem::replace(&mut self.pairs[left], pair);
        let right = &mut self.children[left + 1];
        right.pairs.insert(0, down);
        if let Some(grandchild) = grandchild {
            right.children.insert(0, grandchild);
        }
    }

    /// The first pair of the child right of `left` goes up, the one between goes down to `left`.
    fn move_left(&mut self, left: usize) {
        let right = &mut self.children[left + 1];
        let pair = right.pairs.remove(0);
        let grandchild = if right.is_leaf() { None } else { Some(right.children.remove(0)) };
        let down = core::mem::replace(&mut self.pairs[left], pair);
        self.children[left].pairs.push(down);
        self.children[left].children.extend(grandchild);
    }

    /// Child `left`, the pair behind it and the next child become one.
    fn merge(&mut self, left: usize) {
        let between = self.pairs.remove(left);
        let right = self.children.remove(left + 1);
        let left = &mut self.children[left];
        left.pairs.push(between);
        left.pairs.extend(right.pairs);
        left.children.extend(right.children);
    }

    /// False when `more` has had enough.
    #[inline(never)]
    pub(super) fn scan<Q, F>(&self, from: &Q, more: &mut F) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        F: FnMut(&K, &V) -> bool,
    {
        let (first, found) = match self.find(from) {
            Ok(at) => (at, true),
            Err(below) => (below, false),
        };
        if !found && !self.is_leaf() && !self.children[first].scan(from, more) {
            return false;
        }
        for at in first..self.pairs.len() {
            let (key, value) = &self.pairs[at];
            if !more(key, value) {
                return false;
            }
            if !self.is_leaf() && !self.children[at + 1].scan(from, more) {
                return false;
            }
        }
        true
    }
}
