//! Against a server of the test's own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::{Failure, Kind, Load, Mix, Plan, get};

/// Answers each request of a connection with what `answer` makes of its first line.
fn serve(answer: fn(&str) -> &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || converse(&stream, answer));
        }
    });
    address
}

fn converse(stream: &TcpStream, answer: fn(&str) -> &'static str) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        (reader.read_line(&mut first).ok()? > 0).then_some(())?;
        let mut body = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if let Some(length) = line.strip_prefix("Content-Length: ") {
                body = length.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; body]).ok()?;
        let text = answer(first.trim());
        // In two pieces: an answer need not come at once.
        let (a, b) = text.split_at(text.len() / 2);
        (&*stream).write_all(a.as_bytes()).ok()?;
        (&*stream).write_all(b.as_bytes()).ok()?;
        if text.contains("close") {
            return None;
        }
    }
}

fn plan(address: SocketAddr) -> Plan {
    Plan { requests: Some(200), patience: Duration::from_secs(10), ..Plan::new(address) }
}

#[test]
fn every_request_is_counted_once() {
    let address = serve(|line| {
        if line.starts_with("PUT") {
            "HTTP/1.1 204 No Content\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        }
    });
    let mix = Mix::new(&[(Kind::Get, 1), (Kind::Put, 1), (Kind::Scan, 0)]);
    let tally = Load::start(Plan { mix, ..plan(address) }).unwrap().wait();
    assert_eq!(tally.answered(), 200);
    assert_eq!(tally.failures, Default::default());
    assert_eq!(tally.connections.len(), 4);
    assert_eq!(tally.connections.iter().map(|c| c.answered).sum::<u64>(), 200);
    let [get, put] = [Kind::Get, Kind::Put].map(|kind| &tally.routes[&kind]);
    assert_eq!((get.statuses[&200], put.statuses[&204]), (get.answered(), put.answered()));
    assert_eq!(get.latency.len() + put.latency.len(), 200);
    assert!(!tally.routes.contains_key(&Kind::Scan));
    let received: u64 = tally.connections.iter().map(|c| c.bytes_received).sum();
    assert_eq!(received, get.answered() * 43 + put.answered() * 27);
}

#[test]
fn a_connection_that_the_server_closes_is_opened_again() {
    let address = serve(|_| "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let tally = Load::start(Plan { requests: Some(30), ..plan(address) }).unwrap().wait();
    assert_eq!((tally.answered(), tally.connections.iter().filter(|c| c.answered == 1).count()), (30, 30));
    assert_eq!(tally.failures, Default::default());
}

#[test]
fn what_is_no_answer_is_a_failure_and_the_load_ends() {
    for answer in [
        (|_: &str| "SSH-2.0-none\r\n\r\n") as fn(&str) -> &'static str,
        |_| "HTTP/1.1 200 OK\r\n\r\nwithout a length",
        |_| "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ] {
        let tally =
            Load::start(Plan { connections: 1, requests: Some(3), ..plan(serve(answer)) }).unwrap().wait();
        assert_eq!((tally.answered(), tally.failures[&Failure::Malformed]), (0, 3));
    }
}

#[test]
fn a_server_that_is_not_there_is_given_up() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tally = Load::start(Plan { connections: 2, ..plan(gone) }).unwrap().wait();
    assert_eq!(tally.answered(), 0);
    assert_eq!(tally.failures.keys().collect::<Vec<_>>(), [&Failure::Refused]);
}

#[test]
fn a_load_without_end_stops_when_told_and_keeps_to_its_rate() {
    let address = serve(|_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let load = Load::start(Plan { requests: None, rate: Some(100.0), ..plan(address) }).unwrap();
    while load.answered() < 20 {
        thread::sleep(Duration::from_millis(5));
    }
    let tally = load.stop();
    // Each connection makes its first request at once.
    let most = 4.0 + tally.elapsed.as_secs_f64() * 100.0;
    assert!((tally.answered() as f64) <= most, "{} in {:?}", tally.answered(), tally.elapsed);
}

#[test]
fn one_answer_comes_with_its_body() {
    let address = serve(|line| {
        assert_eq!(line, "GET /stats HTTP/1.1");
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    });
    let answer = get(address, "/stats", Duration::from_secs(10)).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
}
