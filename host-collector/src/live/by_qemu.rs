//! Dumps that QEMU writes itself, of guests whose memory is no shared file.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{LIMIT, LiveError};
use crate::{cancel::Cancel, qmp::Qmp};

/// Between two looks at how far it is.
const SLICE: Duration = Duration::from_millis(50);

/// Has QEMU write a dump to `to`, an absolute path, in one of its formats (`elf`, `kdump-zlib`). How long the guest stood still for it:
/// QEMU stops it meanwhile.
///
/// `progress` is called with how many bytes are done, and of how many. QEMU can't be stopped once it writes: after the token was set it
/// goes on, and this returns.
pub fn dump_by_qemu(
    qmp: &mut Qmp,
    name: &str,
    to: &Path,
    format: &str,
    cancel: &Cancel,
    mut progress: impl FnMut(u64, u64),
) -> Result<Duration, LiveError> {
    let failed = |source| LiveError::Control { name: name.into(), source };
    let ran = qmp.status(LIMIT).map_err(failed)?.running;
    let mut arguments =
        json!({ "paging": false, "protocol": format!("file:{}", to.display()), "detach": true });
    if format != "elf" {
        arguments["format"] = format.into();
    }
    let began = Instant::now();
    qmp.execute("dump-guest-memory", arguments, LIMIT).map_err(failed)?;
    loop {
        let answer = qmp.execute("query-dump", Value::Null, LIMIT).map_err(failed)?;
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        match answer.get("status").and_then(Value::as_str) {
            Some("active") => progress(number("completed"), number("total")),
            Some("completed") => return Ok(if ran { began.elapsed() } else { Duration::ZERO }),
            _ => return Err(LiveError::NotDumped { name: name.into(), why: answer.to_string() }),
        }
        if !cancel.sleep(SLICE) {
            return Err(LiveError::Cancelled);
        }
    }
}
