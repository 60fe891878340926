//! A program that stops with values of all kinds, for gdb and `print` to be asked about.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub enum Shape {
    Circle { r: f64 },
    Square(u32, i8),
    Nothing,
}

#[derive(Debug, Clone, Copy)]
pub enum Colour {
    Red = 1,
    Green = 5,
}

#[derive(Debug)]
pub struct Point {
    pub x: i32,
    pub y: i64,
}

#[derive(Debug)]
pub struct Wrapper(pub u16);

pub struct Unit;

pub union Bits {
    pub number: u32,
    pub float: f32,
}

pub struct Node {
    pub value: u8,
    pub next: Option<Box<Node>>,
}

pub mod state {
    use super::*;

    pub static COUNTER: AtomicU32 = AtomicU32::new(41);
    pub static READY: AtomicBool = AtomicBool::new(true);
    pub static NAMES: [&str; 3] = ["alpha", "beta", "g\"q\""];
    pub static POINT: Point = Point { x: -3, y: 1 << 40 };
    pub static MAYBE: Option<u32> = Some(3);
    pub static NEVER: Option<u32> = None;
    pub static NICHE: Option<&'static Point> = Some(&POINT);
    pub static LOCKED: Mutex<u64> = Mutex::new(77);
    pub static HUGE: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
    pub static TABLE: [[u8; 2]; 3] = [[1, 2], [3, 4], [5, 6]];
    pub static FUNCTION: fn(u32) -> u32 = super::twice;
    pub mod inner {
        pub static COUNTER: u8 = 9;
    }
}

pub fn twice(x: u32) -> u32 {
    x * 2
}

#[inline(never)]
fn pause() {
    black_box(());
}

#[inline(never)]
#[allow(clippy::too_many_arguments)]
fn inspect(shape: &Shape, numbers: &Vec<u32>, text: &str, object: &dyn Debug, number: i16, boxed: Box<[u16]>) -> usize {
    let count = black_box(numbers.len());
    let message = String::from("h\u{e9}llo\n");
    let circle = Shape::Circle { r: 1.5 };
    let nothing = Shape::Nothing;
    let square = Shape::Square(7, -8);
    let colour = Colour::Green;
    let tree: BTreeMap<u32, String> = (0..40).map(|i| (i * 3, format!("v{i}"))).collect();
    let set: BTreeSet<u8> = [3, 1, 2].into();
    let table: HashMap<String, u64> = [("one".to_string(), 1)].into();
    let hashes: HashSet<u16> = [500].into();
    let mut ring: VecDeque<u8> = (0..4).collect();
    for i in 4..7 {
        ring.pop_front();
        ring.push_back(i);
    }
    let shared = Rc::new(Point { x: 1, y: 2 });
    let atomic = Arc::new(AtomicU32::new(12));
    let cell = Cell::new(-4i32);
    let borrowed = RefCell::new(5u8);
    let list = Node { value: 1, next: Some(Box::new(Node { value: 2, next: None })) };
    let bits = Bits { float: 1.0 };
    let result: Result<u8, String> = Err("bad".into());
    let tuple = (1u8, 'x', true, 2.5f32);
    let wrapper = Wrapper(65535);
    let unit = Unit;
    let slice = &numbers[1..];
    let pointer: *const u32 = numbers.as_ptr();
    let nested: Vec<Option<Box<u8>>> = vec![None, Some(Box::new(4))];
    let empty: Vec<u64> = Vec::new();
    let small = -1i8;
    let closure = |x: u32| x + count as u32;
    pause();
    black_box((&circle, &nothing, &square, colour, &tree, &set, &table, &hashes, &ring, &shared, &atomic, &cell));
    black_box((&borrowed, &list.value, &list.next.is_some(), &result, &tuple, &wrapper, &unit, slice, pointer, &nested));
    black_box((&empty, small, &message, shape, text, object, number, &boxed, closure(1), unsafe { bits.number }));
    count
}

fn main() {
    state::COUNTER.fetch_add(1, Ordering::Relaxed);
    black_box((&state::READY, &state::NAMES, &state::POINT, &state::MAYBE, &state::NEVER, &state::NICHE, &state::LOCKED));
    black_box((&state::HUGE, &state::TABLE, &state::FUNCTION, &state::inner::COUNTER, Colour::Red));
    let shape = Shape::Square(3, 4);
    let size = inspect(&shape, &vec![10, 20, 30], "a text", &Wrapper(8), -300, Box::new([1, 2]));
    println!("{size}");
}
