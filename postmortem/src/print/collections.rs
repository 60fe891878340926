//! Maps and sets of Rust's libraries: B-trees and hash tables, by what their types say of their layout.

use uniprof_symbolizer::types::Kind;

use super::PrintError;
use super::inspect::Inspector;
use super::operand::Operand;

/// No B-tree of six-fold nodes is higher.
const MAX_HEIGHT: u64 = 24;
/// Nodes that are looked at, those that are empty by damage included.
const MAX_NODES: usize = 1 << 14;
/// Control bytes of a hash table that are looked at.
const MAX_BUCKETS: u64 = 1 << 22;

/// Keys, their values, and how many there are altogether.
pub(super) struct Entries {
    pub(super) entries: Vec<(Operand, Operand)>,
    pub(super) len: u64,
}

fn damaged(what: &str, why: impl std::fmt::Display) -> PrintError {
    PrintError::Type(format!("damaged {what}: {why}"))
}

struct Tree {
    found: Vec<(Operand, Operand)>,
    most: usize,
    nodes: usize,
}

impl Inspector<'_> {
    /// The first entries of a `BTreeMap`.
    pub(super) fn tree(&mut self, map: &Operand) -> Result<Entries, PrintError> {
        let wrong = |why: &str| damaged("BTreeMap", why);
        let length = self.field(map, "length").ok_or_else(|| wrong("it has no length"))?;
        let len = self.bits(&length)? as u64;
        let root = self.field(map, "root").ok_or_else(|| wrong("it has no root"))?;
        let mut tree = Tree { found: Vec::new(), most: self.limits.elements, nodes: 0 };
        match self.field(&root, "0") {
            None if len > 0 => return Err(wrong(&format!("it has no root, and {len} entries"))),
            None => {}
            Some(root) => {
                let height =
                    self.number(&root, &["height"]).ok_or_else(|| wrong("its height can't be read"))?;
                let node = self.field(&root, "node").and_then(|node| self.pointer(&node));
                let Some((node, Some(leaf))) = node else { return Err(wrong("its root can't be read")) };
                if height > MAX_HEIGHT {
                    return Err(wrong(&format!("it is said to be {height} levels high")));
                }
                self.node(&Operand::at(leaf, node), height, &mut tree)?;
            }
        }
        if (tree.found.len() as u64) < len.min(tree.most as u64) {
            return Err(wrong(&format!("it is said to have {len} entries, and has {}", tree.found.len())));
        }
        Ok(Entries { entries: tree.found, len })
    }

    fn node(&mut self, leaf: &Operand, height: u64, tree: &mut Tree) -> Result<(), PrintError> {
        tree.nodes += 1;
        if tree.nodes > MAX_NODES {
            return Err(damaged("BTreeMap", "it has too many nodes"));
        }
        let at = leaf.address().unwrap_or(0);
        let len = self.number(leaf, &["len"]).filter(|len| *len <= 11);
        let len =
            len.ok_or_else(|| damaged("BTreeMap", format_args!("the node at {at:#x} can't be read")))?;
        let missing = || damaged("BTreeMap", "its nodes are of an unknown form");
        let keys = self.field(leaf, "keys").ok_or_else(missing)?;
        let values = self.field(leaf, "vals").ok_or_else(missing)?;
        let (keys, values) = (self.sequence(&keys)?, self.sequence(&values)?);
        // An inner node is a leaf followed by pointers to the nodes below.
        let leaf_bytes = self.size(leaf.ty)?.checked_next_multiple_of(8).ok_or_else(missing)?;
        let below = at.wrapping_add(leaf_bytes);
        for index in 0..=len {
            if tree.found.len() >= tree.most {
                return Ok(());
            }
            if height > 0 {
                let mut bytes = [0; 8];
                self.read(below.wrapping_add(8 * index), &mut bytes)?;
                self.node(&Operand::at(leaf.ty, u64::from_le_bytes(bytes)), height - 1, tree)?;
            }
            if index < len && tree.found.len() < tree.most {
                let entry = (self.element(&keys, index)?, self.element(&values, index)?);
                tree.found.push(entry);
            }
        }
        Ok(())
    }

    /// The first entries of a `HashMap`, in the order of the table.
    pub(super) fn table(&mut self, map: &Operand) -> Result<Entries, PrintError> {
        let wrong = |why: &str| damaged("HashMap", why);
        let (mut at, mut entry) = (map.clone(), None);
        // `std`'s wraps hashbrown's, that a table of entries, and that a table of bytes.
        for _ in 0..6 {
            let (id, ty) = self.bare(at.ty)?;
            let Kind::Struct(_) = &ty.kind else { return Err(wrong("it is of an unknown form")) };
            if self.field(&at, "bucket_mask").is_some() {
                break;
            }
            let inner = ["base", "map", "table"].into_iter().find_map(|name| self.field(&at, name));
            entry = self.parameter(id, "T").or(entry);
            at = inner.ok_or_else(|| wrong("it is of an unknown form"))?;
        }
        let entry = entry.ok_or_else(|| wrong("the type of its entries is not known"))?;
        let mask = self.number(&at, &["bucket_mask"]);
        let len = self.number(&at, &["items"]);
        let control = self.field(&at, "ctrl").and_then(|control| self.pointer(&control));
        let ((mask, len), (control, _)) =
            mask.zip(len).zip(control).ok_or_else(|| wrong("its table can't be read"))?;
        let buckets = mask.checked_add(1).filter(|buckets| buckets.is_power_of_two() && len <= *buckets);
        let Some(buckets) = buckets else {
            return Err(wrong(&format!("{len} entries, bucket mask {mask:#x}")));
        };
        let size = self.size(entry)?;
        let mut entries = Vec::new();
        let mut bytes = vec![0; 4096];
        let most = (self.limits.elements as u64).min(len) as usize;
        for first in (0..buckets.min(MAX_BUCKETS)).step_by(4096) {
            let count = (buckets - first).min(4096) as usize;
            let Some(bytes) = bytes.get_mut(..count) else { break };
            self.read(control.wrapping_add(first), bytes)?;
            let full =
                (first..).zip(bytes.iter()).filter(|(_, byte)| **byte & 0x80 == 0).map(|(bucket, _)| bucket);
            for bucket in full.take(most - entries.len()) {
                let place = control.wrapping_sub((bucket + 1).wrapping_mul(size));
                let pair = Operand::at(entry, place);
                let key = self.field(&pair, "0").ok_or_else(|| wrong("its entries are no pairs"))?;
                let value = self.field(&pair, "1").ok_or_else(|| wrong("its entries are no pairs"))?;
                entries.push((key, value));
            }
            if entries.len() >= most {
                break;
            }
        }
        Ok(Entries { entries, len })
    }
}
