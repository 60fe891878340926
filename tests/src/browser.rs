//! A headless Chromium under remote control: its DevTools protocol over a pipe
//! (<https://chromedevtools.github.io/devtools-protocol/>), so that no port is open and no WebSocket is needed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than any single command takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(90);

/// Chromium reads commands on descriptor 3 and answers on 4.
const WITH_PIPES: &str = "exec 3<&0 4>&1 </dev/null >&2; exec \"$@\"";

/// From a screenshot (PNG in base64) and a side to rows of blocks. It asks for nothing, so that no page's policy is in the way.
const BLOCKS: &str = "async (png, side) => {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
  context.drawImage(bitmap, 0, 0);
  const block = Math.round(side * devicePixelRatio);
  const rows = [];
  for (let y = 0; y < bitmap.height; y += block) {
    const row = [];
    for (let x = 0; x < bitmap.width; x += block) {
      const { data } = context.getImageData(x, y, Math.min(block, bitmap.width - x), Math.min(block, bitmap.height - y));
      const sums = [0, 0, 0];
      for (let at = 0; at < data.length; at++) if (at % 4 < 3) sums[at % 4] += data[at];
      const means = sums.map((sum) => Math.round(sum / (data.length / 4)).toString(16).padStart(2, '0'));
      row.push(means.join(''));
    }
    rows.push(row.join(' '));
  }
  return rows.join('\\n');
}";

/// A browser with one page. It ends with this value, also where a test panics.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, with a window of 1440 by 900 pixels in which nothing is animated.
    #[must_use]
    pub fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("uniprof-browser-").tempdir().expect("a directory");
        let mut child = Command::new("sh")
            .args(["-c", WITH_PIPES, "sh", "chromium", "--headless", "--remote-debugging-pipe"])
            // Its sandbox needs a user that is not root; what it opens here is our own.
            .args([
                "--no-sandbox",
                "--disable-gpu",
                "--disable-breakpad",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-dev-shm-usage",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        let commands = child.stdin.take().expect("piped");
        let answers = child.stdout.take().expect("piped");
        let (sender, messages) = mpsc::channel();
        // Ends with the pipe, which ends with the browser.
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("Chromium sends JSON");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            last_id: 0,
            session: None,
            events: Vec::new(),
            _profile: profile,
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let page = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = self
            .call("Target.attachToTarget", json!({ "targetId": page["targetId"].clone(), "flatten": true }));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        self.resize(1440, 900, 1.0);
        self.prefer(&[("prefers-color-scheme", "light")]);
    }

    /// Sets the window's size in CSS pixels, and how many device pixels each of them is.
    pub fn resize(&mut self, width: u32, height: u32, ratio: f64) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": ratio, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Sets what the reader prefers, for example `("prefers-color-scheme", "dark")`.
    pub fn prefer(&mut self, features: &[(&str, &str)]) {
        let calm = ("prefers-reduced-motion", "reduce");
        let features: Vec<Value> = features
            .iter()
            .chain([&calm])
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        self.call("Emulation.setEmulatedMedia", json!({ "media": "", "features": features }));
    }

    /// Shows the page as it is printed.
    pub fn show_as_printed(&mut self) {
        self.call("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    }

    /// What the window shows, as the mean colours of its blocks of `side` by `side` CSS pixels: a line for each row of blocks,
    /// six hexadecimal digits for each block.
    #[track_caller]
    pub fn screenshot(&mut self, side: u32) -> String {
        // What was asked to be drawn has been drawn after two frames.
        self.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))");
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let rows = self.eval(&format!("({BLOCKS})({}, {side})", shot["data"]));
        rows.as_str().expect("a text").to_owned()
    }

    /// Opens a file at a link into it (empty, or from `#` on), and waits until its script has run.
    pub fn open(&mut self, file: &Path, link: &str) {
        // A link within the same file would not load it anew.
        self.call("Page.navigate", json!({ "url": "about:blank" }));
        self.wait_for("location.href === 'about:blank' && document.readyState === 'complete'");
        self.events.clear();
        self.call("Page.navigate", json!({ "url": format!("file://{}{link}", file.display()) }));
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'");
    }

    /// The value of a JavaScript expression.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
        );
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a selector finds.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({}).textContent", json!(selector)));
        text.as_str().unwrap_or_else(|| panic!("{selector} has no text")).to_owned()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        let until = Instant::now() + LIMIT;
        while self.eval(expression) != Value::Bool(true) {
            assert!(Instant::now() < until, "not within {LIMIT:?}: {expression}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses and releases a key, by its DOM name.
    pub fn key(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyDown", "key": key, "text": text }));
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }));
    }

    /// Types text into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Moves the pointer.
    pub fn point(&mut self, x: f64, y: f64) {
        self.call("Input.dispatchMouseEvent", json!({ "type": "mouseMoved", "x": x, "y": y }));
    }

    /// Clicks at a point, `count` times.
    pub fn click(&mut self, x: f64, y: f64, count: u32) {
        self.point(x, y);
        for nth in 1..=count {
            for kind in ["mousePressed", "mouseReleased"] {
                let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": nth });
                self.call("Input.dispatchMouseEvent", event);
            }
        }
    }

    /// Clicks into the middle of the first element that a selector finds.
    #[track_caller]
    pub fn click_on(&mut self, selector: &str) {
        let middle = self.eval(&format!(
            "(() => {{ const box = document.querySelector({}).getBoundingClientRect();
              return [box.left + box.width / 2, box.top + box.height / 2]; }})()",
            json!(selector)
        ));
        self.click(number(&middle[0]), number(&middle[1]), 1);
    }

    /// Turns the wheel at a point; above zero is down.
    pub fn wheel(&mut self, x: f64, y: f64, by: f64) {
        let event = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": by });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// What the page complained about since it was opened: exceptions, console output, the browser's own entries.
    pub fn complaints(&mut self) -> Vec<String> {
        // A round trip, so that what was sent before it has come in.
        self.eval("0");
        let methods = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"];
        let heard =
            self.events.iter().filter(|event| methods.iter().any(|method| event["method"] == *method));
        heard.map(Value::to_string).collect()
    }

    /// Everything that was requested since the page was opened.
    pub fn requests(&mut self) -> Vec<String> {
        self.eval("0");
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let sent = self.commands.write_all(format!("{command}\0").as_bytes());
        if sent.is_err() {
            panic!("Chromium has ended; if it is not installed, `cargo xtask test --yes` does that");
        }
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).unwrap_or_else(|error| {
                panic!("{method}: {error}; if Chromium is not installed, `cargo xtask test --yes` does that")
            });
            if message["id"] != self.last_id {
                self.events.push(message);
                continue;
            }
            assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
            return message["result"].clone();
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own process group: the processes of its pages die with it.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}
