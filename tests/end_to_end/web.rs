//! The reference kernel's HTTP server, by clients of this host.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use uniprof_tests::web::{WebServer, read_answer};
use uniprof_tests::{Scene, assert_matches_its_schema};

/// What curl makes of a request: the status and the body.
fn curl(scene: &Scene, server: &WebServer, arguments: &[&str], target: &str) -> (u16, String) {
    let url = format!("http://{}{target}", server.address);
    let line = [&["-s", "-m", "60", "-w", "%{http_code}"], arguments, &[url.as_str()]].concat();
    let said = scene.run_command(&mut scene.program(Path::new("curl"), &line)).ok().stdout;
    let (body, code) = said.split_at(said.len() - 3);
    (code.parse().expect("a status code"), body.to_owned())
}

#[test]
fn curl_gets_an_answer_from_every_route_on_q35() {
    every_route("q35");
}

#[test]
fn curl_gets_an_answer_from_every_route_on_microvm() {
    every_route("microvm");
}

fn every_route(machine: &str) {
    let scene = Scene::with_guest();
    let server = WebServer::start(&scene, &["--machine", machine, "--vcpus", "2"]);
    let ask = |arguments: &[&str], target: &str| curl(&scene, &server, arguments, target);
    assert_eq!(ask(&[], "/healthz"), (200, "ok\n".into()));
    assert_eq!(ask(&["-X", "PUT", "-d", "green"], "/kv/colour").0, 201);
    assert_eq!(ask(&["-X", "PUT", "-d", "blue"], "/kv/colour").0, 204);
    assert_eq!(ask(&["-X", "PUT", "-d", "1=1"], "/kv/a%20b%2Fc").0, 201);
    assert_eq!(ask(&[], "/kv/colour"), (200, "blue".into()));
    assert_eq!(ask(&["-I"], "/kv/colour").0, 200);
    assert_eq!(ask(&[], "/scan?count=5").1, "a b/c=1=1\ncolour=blue\n");
    assert_eq!(ask(&[], "/scan?from=b&count=5").1, "colour=blue\n");
    assert_eq!(ask(&["-X", "DELETE"], "/kv/colour").0, 204);
    assert_eq!(ask(&["-X", "DELETE"], "/kv/colour").0, 404);
    assert_eq!(ask(&[], "/kv/colour").0, 404);
    for target in ["/slow?ms=5", "/lock?us=500", "/leak?bytes=100"] {
        assert_eq!(ask(&[], target), (200, "OK\n".into()), "{target}");
    }
    for (arguments, target, status) in [
        (&["-X", "POST"][..], "/kv/a", 405),
        (&["-X", "PUT"], "/healthz", 405),
        (&["-X", "BREW"], "/healthz", 501),
        (&["-H", "Transfer-Encoding: chunked", "-d", "x"], "/kv/a", 501),
        (&[], "/", 404),
        (&[], "/kv/", 400),
        (&[], "/kv/%zz", 400),
        (&[], "/slow?ms=x", 400),
        (&[], "/scan?count=1001", 400),
    ] {
        assert_eq!(ask(arguments, target).0, status, "{arguments:?} {target}");
    }
    std::fs::write(scene.path("large"), vec![b'x'; 64 << 10]).unwrap();
    assert_eq!(ask(&["-T", "large"], "/kv/large").0, 201);
    assert_eq!(ask(&[], "/kv/large").1.len(), 64 << 10);
    std::fs::write(scene.path("larger"), vec![b'x'; (64 << 10) + 1]).unwrap();
    assert_eq!(ask(&["-T", "larger"], "/kv/larger").0, 413);
    let field = format!("X-Long: {}", "x".repeat(9_000));
    assert_eq!(ask(&["-H", &field], "/healthz").0, 431);

    let stats = server.stats();
    assert_matches_its_schema(&stats);
    let route = |method: &str, path: &str| {
        let routes = stats["routes"].as_array().unwrap();
        let found = routes.iter().find(|route| route["method"] == method && route["route"] == path);
        found.unwrap_or_else(|| panic!("{method} {path}: {stats}")).clone()
    };
    assert_eq!(route("GET", "/kv")["statuses"], serde_json::json!({"200": 3, "404": 1}));
    assert_eq!(route("PUT", "/kv")["statuses"], serde_json::json!({"201": 3, "204": 1}));
    assert_eq!(route("GET", "/slow")["requests"], 1);
    let slow = &route("GET", "/slow")["latency_ns"];
    assert!(
        slow["p50"].as_u64() >= Some(4_800_000) && slow["p50"].as_u64() <= slow["max"].as_u64(),
        "{slow}"
    );
    assert_eq!((&stats["leaked_bytes"], &stats["store"]["keys"]), (&100.into(), &2.into()), "{stats}");
    server.stop();
}

#[test]
fn requests_may_come_in_a_row_in_pieces_and_over_one_connection() {
    let scene = Scene::with_guest();
    let server = WebServer::start(&scene, &["--vcpus", "2"]);
    let mut stream = server.connect();
    let mut pending = Vec::new();
    let opened = server.stats()["connections"]["opened"].as_u64();
    for round in 0..20 {
        // Ten at once; the answers come in their order.
        let mut requests = Vec::new();
        for number in 0..10 {
            let body = format!("{round}-{number}");
            write!(
                requests,
                "PUT /kv/k{number} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            write!(requests, "GET /kv/k{number} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        }
        if round % 2 == 0 {
            stream.write_all(&requests).unwrap();
        } else {
            requests.chunks(37).for_each(|piece| stream.write_all(piece).unwrap());
        }
        for number in 0..10 {
            let put = read_answer(&mut stream, &mut pending).unwrap();
            assert_eq!(put.status, if round == 0 { 201 } else { 204 });
            let get = read_answer(&mut stream, &mut pending).unwrap();
            assert_eq!((get.status, get.body), (200, format!("{round}-{number}").into_bytes()));
        }
    }
    let stats = server.stats();
    // The two that asked for statistics, and no other.
    assert_eq!(stats["connections"]["opened"].as_u64(), opened.map(|opened| opened + 1));
    assert_eq!(stats["requests"], 401);

    // A client that ends after its request still gets its answer, and the end.
    write!(stream, "GET /kv/k1 HTTP/1.0\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = read_answer(&mut stream, &mut pending).unwrap();
    assert_eq!((answer.status, answer.last), (200, true));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    server.stop();
}

#[test]
fn a_thousand_clients_at_once_are_served_and_those_beyond_the_bound_are_turned_away() {
    const CLIENTS: usize = 1_000;
    const MOST: u64 = 1_023;
    let scene = Scene::with_guest();
    let server = WebServer::start(&scene, &["--vcpus", "2"]);
    // One after the other: QEMU lets two wait until it has taken them, and more would have to try again after a second.
    let healthy = |client: &mut TcpStream| {
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        read_answer(client, &mut Vec::new()).ok()
    };
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = server.connect();
        assert_eq!(healthy(&mut client).map(|answer| answer.status), Some(200));
        clients.push(client);
    }
    let stats = server.stats();
    assert!(stats["connections"]["now"].as_u64() >= Some(CLIENTS as u64), "{stats}");
    // All stay, and most of a hundred more find no room.
    let mut more: Vec<TcpStream> = Vec::new();
    for _ in 0..100 {
        let mut client = server.connect();
        if healthy(&mut client).is_some() {
            more.push(client);
        }
    }
    let served = more.len() as u64;
    assert!((1..=MOST - CLIENTS as u64).contains(&served), "{served} of a hundred more are served");
    for client in &mut clients {
        client.write_all(b"GET /kv/none HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    for client in &mut clients {
        assert_eq!(read_answer(client, &mut Vec::new()).unwrap().status, 404);
    }
    drop((clients, more));
    let stats = server.until("they have gone", |stats| stats["connections"]["now"].as_u64() <= Some(2));
    assert!(stats["connections"]["refused"].as_u64() >= Some(100 - served), "{stats}");
    assert!(stats["connections"]["most_at_once"].as_u64() <= Some(MOST), "{stats}");
    server.stop();
}

#[test]
fn half_requests_resets_and_silence_free_their_slots() {
    let scene = Scene::with_guest();
    let server = WebServer::start(&scene, &["--vcpus", "2"]);
    // Resets: in the middle of nothing, of a request, of a slow answer, of one that is being sent.
    let value = vec![b'v'; 60_000];
    let mut put = server.connect();
    write!(put, "PUT /kv/large HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", value.len()).unwrap();
    put.write_all(&value).unwrap();
    assert_eq!(read_answer(&mut put, &mut Vec::new()).unwrap().status, 201);
    for begun in [
        "",
        "GET /he",
        "GET /slow?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /kv/large HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        for _ in 0..25 {
            let mut client = server.connect();
            client.write_all(begun.as_bytes()).unwrap();
            rustix::net::sockopt::set_socket_linger(&client, Some(std::time::Duration::ZERO)).unwrap();
        }
    }
    drop(put);
    server.until("all have gone", |stats| stats["connections"]["now"].as_u64() <= Some(2));

    // One that never says all of it is told so, and closed.
    let mut slow = server.connect();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
    let answer = read_answer(&mut slow, &mut Vec::new()).unwrap();
    assert_eq!((answer.status, answer.last), (408, true));
    assert_eq!(slow.read(&mut [0; 1]).unwrap_or(0), 0);
    server.until("it has gone", |stats| stats["connections"]["timed_out"].as_u64() >= Some(1));
    server.stop();
}

#[test]
fn what_is_no_http_is_refused_and_harms_nobody() {
    let scene = Scene::with_guest();
    let server = WebServer::start(&scene, &["--vcpus", "2"]);
    let refused: [(&str, u16); 13] = [
        ("\0\0\0\0\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("PUT /kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        ("PUT /kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        ("\u{16}\u{3}\u{1}\0\u{a5}\u{1}\0\0\u{a1}\u{3}\u{3}", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ];
    for (request, status) in refused {
        let mut client = server.connect();
        client.write_all(request.as_bytes()).unwrap();
        let answer =
            read_answer(&mut client, &mut Vec::new()).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        assert_eq!((answer.status, answer.last), (status, true), "{request:?}");
    }
    let mut fields = server.connect();
    let head =
        (0..100).fold(String::from("GET / HTTP/1.1\r\nHost: x\r\n"), |head, n| format!("{head}x{n}: y\r\n"));
    fields.write_all((head + "\r\n").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut fields, &mut Vec::new()).unwrap().status, 431);

    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..400 {
        let mut request = b"PUT /kv/key%20a?x=y HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nvalueGET /scan?from=a&count=9 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..request.len().max(1));
            if request.len() < 2 {
                break;
            }
            match random.u8(..4) {
                0 => request[at] = random.u8(..),
                1 => drop(request.remove(at)),
                2 => request.insert(at, b"\r\n :%/?"[random.usize(..7)]),
                _ => request.truncate(at.max(1)),
            }
        }
        let mut client = server.connect();
        client.write_all(&request).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        // The server may have had enough before it has read all: then there is a reset behind its answer.
        let _ = client.read_to_end(&mut said);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 "), "{round}: {request:?} {said:?}");
    }
    assert_eq!(server.get("/healthz").body, b"ok\n");
    server.stop();
}

#[test]
fn an_end_after_so_many_requests_is_kept_and_each_has_a_span() {
    let scene = Scene::with_guest();
    let server = WebServer::record(&scene, &["-e", "+spans,events", "-o", "r.uniprof", "--", "requests=300"]);
    // Each has a beginning and an end.
    let mut asked = 0;
    while let Some(answer) = server.ask("/kv/none") {
        assert_eq!(answer.status, 404);
        asked += 1;
    }
    assert!(asked > 100, "{asked}");
    let recorded = server.end();
    let logs = scene.run(&["logs", "r.uniprof", "--from", "console"]).ok().stdout;
    let answered =
        logs.split_once("http: requests=").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
    // And those that were being answered when it was enough.
    assert!(answered.is_some_and(|answered| (300..400).contains(&answered)), "{logs}");
    let trace = scene.run(&["trace", "r.uniprof", "--filter", "http.request"]).ok().stdout;
    let spans = trace.lines().filter(|line| line.contains("http.request")).collect::<Vec<_>>();
    assert!(spans.len() >= 2 * asked, "{} lines of {asked} requests: {recorded} {trace}", spans.len());
    assert!(spans.iter().any(|line| line.contains("/kv") && line.contains("GET")), "{}", spans[0]);
}

#[test]
fn a_server_without_clients_sleeps() {
    let scene = Scene::with_guest();
    for machine in ["q35", "microvm"] {
        let line = [
            "record",
            "-d",
            "3",
            "-o",
            machine,
            "--machine",
            machine,
            "--publish",
            "0:80",
            "--",
            "bundled",
            "workload=http",
        ];
        scene.run(&line).ok();
        // With not a single sample it says so by its exit code.
        let report = scene.run(&["report", machine, "--json"]).json();
        // One that asked its device again and again would be at 0.
        assert!(report["idle_share"].as_f64() > Some(0.7), "{machine}: {report}");
        let switches = report["vcpus"][0]["by_class"]["switches"]["emitted"].as_u64();
        assert!(switches < Some(100), "{machine}: {report}");
    }
}

#[test]
fn without_a_network_the_server_says_what_it_lacks() {
    let scene = Scene::with_guest();
    let ended = scene.run(&["run", "bundled", "--net", "none", "--", "workload=http"]);
    let ended = ended.failed_with(2);
    assert!(ended.stdout.contains("no virtio network device"), "{}", ended.stdout);
    let hint = scene.run(&["run", "bundled", "--print-command", "--", "workload=http"]).ok();
    assert!(hint.stderr.contains("--publish") && hint.stdout.contains("-netdev user,id=net0 "), "{hint:?}");
    let refused = scene.run(&["run", "bundled", "--publish", "80"]).failed_with(2);
    assert!(refused.stderr.contains("such as 8080:80"), "{}", refused.stderr);
    scene.run(&["run", "bundled", "--net", "none", "--publish", "0:80"]).failed_with(2).says(&["--publish"]);
}
