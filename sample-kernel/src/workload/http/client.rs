//! A client that is a thread of this kernel: what serving costs, without a device and without the host's pace.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::console::print_line;
use crate::net::{Addresses, Client};
use crate::{arch, sched};

const KEYS: u64 = 2_000;

/// Makes so many requests, the same ones in every run: three in four read, one writes. Says at the end what that took, and how much of it was the
/// client's own part, whose TCP/IP stack it runs: the rest is what serving took.
pub(super) fn run(server: Addresses, requests: u64) {
    let Some(mut client) = Client::connect(server) else {
        print_line!("http: the server does not let its own client in");
        return;
    };
    let (mut request, mut answer) = (String::new(), Vec::new());
    let (start, own_start) = (arch::now(), sched::cpu_time());
    for number in 0..requests {
        request.clear();
        let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        // Writing to a string does not fail.
        let _ = match number % 4 {
            0 => write!(
                request,
                "PUT /kv/key-{} HTTP/1.1\r\nHost: guest\r\nContent-Length: 32\r\n\r\n{number:032}",
                key % KEYS
            ),
            _ => write!(request, "GET /kv/key-{} HTTP/1.1\r\nHost: guest\r\n\r\n", key % KEYS),
        };
        answer.clear();
        if !client.exchange(request.as_bytes(), &mut answer, is_whole) {
            print_line!("http: the server closed its own client's connection");
            return;
        }
    }
    let (all, own) = (arch::now() - start, sched::cpu_time() - own_start);
    print_line!("http: requests={requests} tsc={all} client={own}");
}

/// Whether an answer has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(answer) else { return false };
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.map_or(Some(0), |length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}
