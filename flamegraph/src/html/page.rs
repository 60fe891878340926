//! The page around the data: markup, style and script, and a policy that lets nothing else run or load.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::column::base64;

const MARKUP: &str = include_str!("../../assets/viewer.html");
const STYLE: &str = include_str!("../../assets/viewer.css");

/// The viewer, a concept a file. They share one scope; only `main.js`, the last, does anything when it is read.
const SCRIPTS: [&str; 17] = [
    include_str!("../../assets/viewer/text.js"),
    include_str!("../../assets/viewer/data.js"),
    include_str!("../../assets/viewer/tree.js"),
    include_str!("../../assets/viewer/functions.js"),
    include_str!("../../assets/viewer/colors.js"),
    include_str!("../../assets/viewer/state.js"),
    include_str!("../../assets/viewer/search.js"),
    include_str!("../../assets/viewer/graph.js"),
    include_str!("../../assets/viewer/zoom.js"),
    include_str!("../../assets/viewer/tooltip.js"),
    include_str!("../../assets/viewer/table.js"),
    include_str!("../../assets/viewer/filter.js"),
    include_str!("../../assets/viewer/header.js"),
    include_str!("../../assets/viewer/link.js"),
    include_str!("../../assets/viewer/keys.js"),
    include_str!("../../assets/viewer/print.js"),
    include_str!("../../assets/viewer/main.js"),
];

const SCRIPT_START: &str = "\"use strict\";(() => {\n";
const SCRIPT_END: &str = "})();\n";

/// Writes the page; `data` writes the elements that hold the profile.
pub(super) fn write(
    out: &mut dyn Write,
    heading: &str,
    data: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut rest = MARKUP;
    let mut data = Some(data);
    while let Some((before, after)) = rest.split_once("{{") {
        out.write_all(before.as_bytes())?;
        let Some((name, after)) = after.split_once("}}") else { break };
        rest = after;
        match name {
            "policy" => out.write_all(policy().as_bytes())?,
            "heading" => escape(out, heading)?,
            "style" => out.write_all(STYLE.as_bytes())?,
            "script" => {
                for part in script() {
                    out.write_all(part.as_bytes())?;
                }
            }
            _ => {
                if let Some(data) = data.take() {
                    data(out)?;
                }
            }
        }
    }
    out.write_all(rest.as_bytes())
}

fn script() -> impl Iterator<Item = &'static str> {
    [SCRIPT_START].into_iter().chain(SCRIPTS).chain([SCRIPT_END])
}

/// Nothing may load. Our own script and style are known by their hashes, so that markup which a name managed to bring in
/// would not run either (Content Security Policy Level 3, section 2.3.1).
fn policy() -> String {
    let script = hash(script());
    let style = hash([STYLE]);
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"
    )
}

fn hash(parts: impl IntoIterator<Item = &'static str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let mut text = Vec::new();
    base64(&hasher.finalize(), &mut text);
    text.into_iter().map(char::from).collect()
}

fn escape(out: &mut dyn Write, text: &str) -> io::Result<()> {
    for char in text.chars() {
        match char {
            '<' | '>' | '&' | '"' => write!(out, "&#{};", char as u32)?,
            _ => write!(out, "{char}")?,
        }
    }
    Ok(())
}
