//! `crash-stack`: a parser of nested lists without a limit for their depth meets a request that is nothing but opening brackets.
//! `parse_value` calls itself until the stack ends at its guard page.

use alloc::vec;
use core::hint::black_box;

use super::frontend::Request;

/// Deeper than any stack here.
const DEPTH: usize = 100_000;

/// What is left of the text, and what was found so far.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    values: u64,
}

#[inline(never)]
pub(super) fn parse_document(request: &Request) -> u64 {
    let text = vec![b'['; DEPTH];
    let mut parser = Parser { text: &text, at: 0, values: request.id };
    parse_value(black_box(&mut parser), 0);
    black_box((parser.values, request));
    parser.values
}

#[inline(never)]
fn parse_value(parser: &mut Parser<'_>, depth: u32) -> u32 {
    let start = [parser.at as u64, u64::from(depth)];
    black_box(&start);
    let mut deepest = depth;
    while let Some(&byte) = parser.text.get(parser.at) {
        parser.at += 1;
        match byte {
            b'[' => deepest = black_box(parse_value(parser, depth + 1)).max(deepest),
            b']' => break,
            _ => parser.values += 1,
        }
    }
    black_box(&start);
    deepest
}
