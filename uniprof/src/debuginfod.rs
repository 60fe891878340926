//! Debug files from debuginfod servers, kept in the user's cache.
//!
//! Nothing is asked of anyone unless `DEBUGINFOD_URLS` names servers. A server that fails costs one note and no more: names
//! are then taken from what there is. The protocol and the variables are those of elfutils (`man 7 debuginfod-client-config`):
//!
//! ```text
//!  GET URL/buildid/BUILDID/debuginfo      the stripped sections, or the whole file
//!  GET URL/buildid/BUILDID/executable     the image as it was linked
//!  DEBUGINFOD_TIMEOUT    seconds that a server may be silent (90)
//!  DEBUGINFOD_MAXTIME    seconds that one file may take (600)
//!  DEBUGINFOD_MAXSIZE    bytes that one file may have (2 GiB)
//! ```

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use uniprof_symbolizer::BuildId;

use crate::output;

const TIMEOUT: Duration = Duration::from_secs(90);
const MAX_TIME: Duration = Duration::from_secs(600);
const MAX_SIZE: u64 = 2 << 30;
/// For how long a server's word counts that it does not know a file.
const MISS: Duration = Duration::from_secs(600);
/// What all kept files may come to; the ones fetched longest ago go first.
const CACHE_BYTES: u64 = 8 << 30;
const CHUNK: usize = 64 << 10;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    DebugInfo,
    Executable,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::DebugInfo => "debuginfo",
            Self::Executable => "executable",
        }
    }
}

/// The servers that the user named, and where files are kept.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    urls: Vec<String>,
    cache: PathBuf,
    timeout: Duration,
    max_time: Duration,
    max_size: u64,
    /// A server has failed: it is not asked for the next file, and not complained about again.
    failed: Vec<String>,
}

/// Why there is no file.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// The server does not have it.
    Absent,
    /// It is of no use: it was not reached, broke off, or sent too much.
    Broken(String),
}

impl Servers {
    /// Those in `DEBUGINFOD_URLS`; `None` where there are none, or no place to keep what they send.
    pub(crate) fn from_env(cache: Option<&Path>) -> Option<Self> {
        let urls: Vec<String> = env::var("DEBUGINFOD_URLS")
            .ok()?
            .split_whitespace()
            .map(|url| url.trim_end_matches('/').into())
            .collect();
        let number = |name| env::var(name).ok()?.trim().parse::<u64>().ok().filter(|number| *number > 0);
        let seconds = |name| number(name).map(Duration::from_secs);
        (!urls.is_empty()).then_some(())?;
        Some(Self {
            urls,
            cache: cache?.into(),
            timeout: seconds("DEBUGINFOD_TIMEOUT").unwrap_or(TIMEOUT),
            max_time: seconds("DEBUGINFOD_MAXTIME").unwrap_or(MAX_TIME),
            max_size: number("DEBUGINFOD_MAXSIZE").unwrap_or(MAX_SIZE),
            failed: Vec::new(),
        })
    }

    /// The place that is shown for a file.
    pub(crate) fn place(&self, id: &BuildId, kind: Kind) -> String {
        let urls: Vec<&str> = self.urls.iter().map(|url| shown(url)).collect();
        format!("{} of build-id {id} from {}", kind.name(), urls.join(" "))
    }

    /// Fetches a file, and says where it now lies, or why nowhere.
    pub(crate) fn fetch(&mut self, id: &BuildId, kind: Kind) -> Result<PathBuf, String> {
        let folder = self.cache.join(id.to_string());
        let path = folder.join(kind.name());
        if is_recent_miss(&path) {
            return Err("asked within the last 10 minutes: no server knows it".into());
        }
        fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot keep it in {}: {error}", folder.display()))?;
        let mut reasons = Vec::new();
        for url in self.urls.clone() {
            if self.failed.contains(&url) {
                continue;
            }
            match self.download(&format!("{url}/buildid/{id}/{}", kind.name()), &folder, &path) {
                Ok(()) => {
                    sweep(&self.cache, &folder);
                    return Ok(path);
                }
                Err(Failure::Absent) => reasons.push(format!("{} does not know it", shown(&url))),
                Err(Failure::Broken(why)) => {
                    let server = shown(&url);
                    output::say(format_args!(
                        "uniprof: debuginfod server {server}: {why}; names come from what is here"
                    ));
                    reasons.push(format!("{server}: {why}"));
                    self.failed.push(url);
                }
            }
        }
        if self.failed.is_empty() {
            // Without it, every command would ask again.
            let _ = fs::write(&path, b"");
        }
        Err(if reasons.is_empty() { "the servers failed before".into() } else { reasons.join("; ") })
    }

    fn download(&self, url: &str, folder: &Path, path: &Path) -> Result<(), Failure> {
        let broken = |error: std::io::Error| Failure::Broken(error.to_string());
        let parts = self.request(url)?;
        let mut file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder).map_err(broken)?;
        let mut progress = Progress::new(url);
        let mut size = 0u64;
        loop {
            let part = match parts.recv_timeout(self.timeout) {
                Ok(part) => part?,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::Broken(format!("silent for {:?}", self.timeout)));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Broken("it broke off".into())),
            };
            let Part::Bytes(bytes) = part else { break };
            size += bytes.len() as u64;
            if size > self.max_size {
                return Err(Failure::Broken(format!("the file is larger than {} bytes", self.max_size)));
            }
            file.write_all(&bytes).map_err(broken)?;
            progress.draw(size);
        }
        file.persist(path).map_err(|error| broken(error.error))?;
        Ok(())
    }

    /// Asks on a thread of its own, so that a server that falls silent half-way is noticed. The thread ends with its
    /// receiver, or after the time that a file may take.
    fn request(&self, url: &str) -> Result<Receiver<Result<Part, Failure>>, Failure> {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(self.timeout))
            .timeout_global(Some(self.max_time))
            .user_agent(concat!("uniprof/", env!("CARGO_PKG_VERSION")));
        let agent: ureq::Agent = config.build().into();
        let (parts, receiver) = sync_channel(16);
        let url = url.to_owned();
        let ask = move || {
            let mut body = match agent.get(&url).call() {
                Ok(response) => response.into_body().into_reader(),
                Err(error) => {
                    let _ = parts.send(Err(match error {
                        ureq::Error::StatusCode(404) => Failure::Absent,
                        other => Failure::Broken(other.to_string()),
                    }));
                    return;
                }
            };
            loop {
                let mut bytes = vec![0; CHUNK];
                let part = match body.read(&mut bytes) {
                    Ok(0) => Ok(Part::End),
                    Ok(len) => {
                        bytes.truncate(len);
                        Ok(Part::Bytes(bytes))
                    }
                    Err(error) => Err(Failure::Broken(error.to_string())),
                };
                let last = !matches!(part, Ok(Part::Bytes(_)));
                if parts.send(part).is_err() || last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("debuginfod".into()).spawn(ask);
        thread.map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(receiver)
    }
}

/// A server's name without the password that its URL may hold.
fn shown(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

enum Part {
    Bytes(Vec<u8>),
    End,
}

/// How files are called while they come.
const PARTIAL: &str = "partial-";

fn is_recent_miss(path: &Path) -> bool {
    let Ok(facts) = fs::metadata(path) else { return false };
    let age = facts.modified().ok().and_then(|then| SystemTime::now().duration_since(then).ok());
    facts.len() == 0 && age.is_some_and(|age| age < MISS)
}

/// Keeps the cache within its size, and removes what an interrupted download left. What cannot be removed stays.
fn sweep(cache: &Path, keep: &Path) {
    let Ok(folders) = fs::read_dir(cache) else { return };
    let mut all: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for folder in folders.flatten().map(|entry| entry.path()) {
        let (mut size, mut newest) = (0, SystemTime::UNIX_EPOCH);
        for file in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(facts) = file.metadata() else { continue };
            let modified = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let old = modified.elapsed().is_ok_and(|age| age > Duration::from_secs(24 * 3600));
            if old && file.file_name().to_string_lossy().starts_with(PARTIAL) {
                let _ = fs::remove_file(file.path());
                continue;
            }
            size += facts.len();
            newest = newest.max(modified);
        }
        all.push((newest, size, folder));
    }
    all.sort();
    let mut total: u64 = all.iter().map(|(_, size, _)| size).sum();
    for (_, size, folder) in all {
        if total <= CACHE_BYTES {
            return;
        }
        if folder != keep && fs::remove_dir_all(&folder).is_ok() {
            total -= size;
        }
    }
}

/// One line on a terminal that says how much has come.
struct Progress {
    host: String,
    on: bool,
}

impl Progress {
    fn new(url: &str) -> Self {
        let host = shown(url.split("://").nth(1).unwrap_or(url)).split('/').next().unwrap_or(url);
        let on = output::stderr_is_terminal() || env::var_os("DEBUGINFOD_PROGRESS").is_some();
        Self { host: host.replace(char::is_control, " "), on }
    }

    fn draw(&mut self, bytes: u64) {
        if self.on {
            // A terminal that went away is no reason to stop.
            let megabytes = bytes as f64 / 1e6;
            let _ = write!(std::io::stderr(), "\r\x1b[Kdebug info from {}: {megabytes:.1} MB", self.host);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.on {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A server that answers each request with what `answer` writes; returns its address and how often it was asked.
    fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                answer(first.split(' ').nth(1).unwrap(), &mut stream);
            }
        });
        (url, asked)
    }

    fn send(stream: &mut TcpStream, status: &str, body: &[u8], claimed: usize) {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {claimed}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    }

    fn servers(urls: &[&str], cache: &Path) -> Servers {
        Servers {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            cache: cache.into(),
            timeout: Duration::from_secs(10),
            max_time: Duration::from_secs(20),
            max_size: 100_000,
            failed: Vec::new(),
        }
    }

    fn id() -> BuildId {
        "00ffab".parse().unwrap()
    }

    #[test]
    fn a_file_is_fetched_once_and_kept_where_it_is_looked_for() {
        let cache = tempfile::tempdir().unwrap();
        let (other, _) = serve(|_, stream| send(stream, "404 Not Found", b"", 0));
        let (url, asked) = serve(|path, stream| {
            assert_eq!(path, "/buildid/00ffab/debuginfo");
            send(stream, "200 OK", &[7; 70_000], 70_000);
        });
        let path = servers(&[&other, &url], cache.path()).fetch(&id(), Kind::DebugInfo).unwrap();
        assert_eq!(path, cache.path().join("00ffab/debuginfo"));
        assert_eq!(fs::read(&path).unwrap(), [7; 70_000]);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn what_no_server_knows_is_not_asked_again_at_once() {
        let cache = tempfile::tempdir().unwrap();
        let (url, asked) = serve(|_, stream| send(stream, "404 Not Found", b"", 0));
        let mut servers = servers(&[&url], cache.path());
        assert_eq!(servers.fetch(&id(), Kind::Executable), Err(format!("{url} does not know it")));
        let again = servers.fetch(&id(), Kind::Executable).unwrap_err();
        assert!(again.contains("10 minutes"), "{again}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn servers_that_fail_leave_nothing_behind() {
        let broken: [fn(&str, &mut TcpStream); 5] = [
            |_, stream| send(stream, "500 Internal Server Error", b"", 0),
            // It says that there is more than it sends.
            |_, stream| send(stream, "200 OK", b"abc", 4000),
            |_, stream| send(stream, "200 OK", &[0; 100_001], 100_001),
            |_, stream| drop(stream.write_all(b"SSH-2.0-OpenSSH\r\n")),
            |_, stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
                thread::sleep(Duration::from_secs(30));
            },
        ];
        for answer in broken {
            let cache = tempfile::tempdir().unwrap();
            let (url, asked) = serve(answer);
            let mut servers = servers(&[&url], cache.path());
            servers.timeout = Duration::from_millis(500);
            servers.fetch(&id(), Kind::DebugInfo).unwrap_err();
            assert_eq!(fs::read_dir(cache.path().join("00ffab")).unwrap().count(), 0);
            servers.fetch(&id(), Kind::DebugInfo).unwrap_err();
            assert_eq!(asked.load(Ordering::Relaxed), 1, "a server that failed is left alone");
        }
        let cache = tempfile::tempdir().unwrap();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        servers(&[&format!("http://{nobody}")], cache.path()).fetch(&id(), Kind::DebugInfo).unwrap_err();
    }
}
