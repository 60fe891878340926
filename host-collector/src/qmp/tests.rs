//! Against a scripted server for what QEMU does not do on demand, and against a real QEMU.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);
const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": " (x)"}}}"#;
const EVENT: &str = r#"{"timestamp": {"seconds": 3, "microseconds": 5}, "event": "STOP"}"#;

/// Serves one client: the greeting, then for each request its lines, `ID` replaced by the request's id.
fn server(dir: &Path, greeting: &'static str, answers: Vec<Vec<&'static str>>) -> (PathBuf, JoinHandle<()>) {
    let path = dir.join("qmp");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut out = stream.try_clone().unwrap();
        writeln!(out, "{greeting}").unwrap();
        let mut requests = BufReader::new(stream).lines();
        for lines in answers {
            let Some(Ok(request)) = requests.next() else { return };
            let request: Value = serde_json::from_str(&request).unwrap();
            for line in lines {
                writeln!(out, "{}", line.replace("ID", &request["id"].to_string())).unwrap();
            }
        }
        // Holds the connection open until the client goes.
        requests.next();
    });
    (path, thread)
}

const OK: &str = r#"{"return": {}, "id": ID}"#;

#[test]
fn events_between_request_and_answer_are_kept_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let answers = vec![
        vec![OK],
        vec![EVENT, "", r#"{"return": {"running": false, "status": "paused"}, "id": ID}"#, EVENT],
    ];
    let (path, thread) = server(dir.path(), GREETING, answers);
    let mut qmp = Qmp::connect(&path, LIMIT).unwrap();
    assert_eq!(qmp.version(), "7.2.22 ((x))");
    assert_eq!(qmp.status(LIMIT).unwrap(), Status { running: false, state: "paused".into() });
    for _ in 0..2 {
        let event = qmp.next_event(LIMIT).unwrap().unwrap();
        assert_eq!((event.name.as_str(), event.at_ns), ("STOP", 3_000_005_000));
    }
    assert_eq!(qmp.next_event(Duration::from_millis(20)).unwrap(), None);
    drop(qmp);
    thread.join().unwrap();
}

#[test]
fn an_answer_that_comes_too_late_is_not_taken_for_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let late = r#"{"return": "late", "id": 2}"#;
    let (path, thread) =
        server(dir.path(), GREETING, vec![vec![OK], vec![], vec![late, r#"{"return": "new", "id": ID}"#]]);
    let mut qmp = Qmp::connect(&path, LIMIT).unwrap();
    let first = qmp.execute("slow", Value::Null, Duration::from_millis(50));
    assert!(matches!(first, Err(QmpError::Timeout { .. })), "{first:?}");
    assert_eq!(qmp.execute("quick", Value::Null, LIMIT).unwrap(), "new");
    drop(qmp);
    thread.join().unwrap();
}

#[test]
fn strangers_are_named_as_such() {
    for (greeting, expected) in [("hello", "is not QMP"), (r#"{"a": 1}"#, "is not QMP")] {
        let dir = tempfile::tempdir().unwrap();
        let (path, thread) = server(dir.path(), greeting, vec![]);
        let error = Qmp::connect(&path, LIMIT).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        thread.join().unwrap();
    }
    let error = Qmp::connect(Path::new("/nonexistent/qmp"), LIMIT).unwrap_err();
    assert!(matches!(error, QmpError::Connect { .. }), "{error:?}");
}

struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn qemu(socket: &Path) -> Qemu {
    let child = Command::new("timeout")
        .args(["--signal=KILL", "60", "qemu-system-x86_64"])
        .args("-accel tcg -M q35 -m 16M -S -nodefaults -display none -no-reboot -qmp".split(' '))
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .stdin(Stdio::null())
        .spawn()
        .expect("timeout and qemu-system-x86_64 are installed");
    Qemu(child)
}

#[test]
fn a_real_qemu_pauses_goes_on_and_quits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qmp");
    let mut child = qemu(&path);
    let mut qmp = connect_when_ready(&path, LIMIT, || child.0.try_wait().unwrap().is_none())
        .unwrap()
        .expect("QEMU starts");
    assert!(qmp.version().starts_with(|c: char| c.is_ascii_digit()), "{}", qmp.version());
    assert_eq!(qmp.status(LIMIT).unwrap(), Status { running: false, state: "prelaunch".into() });
    qmp.cont(LIMIT).unwrap();
    assert!(qmp.status(LIMIT).unwrap().running);
    qmp.stop(LIMIT).unwrap();
    assert_eq!(qmp.status(LIMIT).unwrap().state, "paused");
    let names: Vec<_> = std::iter::from_fn(|| qmp.next_event(Duration::from_millis(200)).unwrap())
        .map(|event| event.name)
        .filter(|name| name == "STOP" || name == "RESUME")
        .collect();
    assert_eq!(names, ["RESUME", "STOP"]);
    assert!(qmp.human_monitor("info mtree -f", LIMIT).unwrap().contains("FlatView"));
    let refused = qmp.execute("no-such-command", Value::Null, LIMIT).unwrap_err();
    assert!(matches!(&refused, QmpError::Refused { class, .. } if class == "CommandNotFound"), "{refused:?}");
    qmp.quit(LIMIT).unwrap();
    assert!(child.0.wait().unwrap().success());
    let gone = qmp.status(LIMIT).unwrap_err();
    assert!(matches!(gone, QmpError::Closed { .. }), "{gone:?}");
}

#[test]
fn a_qemu_that_ends_before_it_listens_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let connected = connect_when_ready(&dir.path().join("qmp"), LIMIT, || false).unwrap();
    assert!(connected.is_none() && begin.elapsed() < LIMIT);
}
