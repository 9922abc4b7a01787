//! Delivery into a file: one line of JSON each, synced.

use std::path::Path;

use vedette_sys::Fs;

use crate::{Intent, deliver::Failure};

/// Appends the message, with the notification's id in front, as one line.
pub fn deliver(fs: &dyn Fs, path: &Path, intent: &Intent) -> Result<(), Failure> {
    append(fs, path, intent).map_err(|error| Failure::Retry {
        reason: format!("cannot write {}: {error}", path.display()),
        remedy: "Make the file's folder, give Vedette the right to write there, or free space.".to_owned(),
        after: None,
    })
}

fn append(fs: &dyn Fs, path: &Path, intent: &Intent) -> std::io::Result<()> {
    // Opened each time, so that a file that was moved away for rotation is followed by a new one.
    let is_new = !fs.exists(path);
    let mut file = fs.open_append(path)?;
    let length = file.len()?;
    let mut line = Vec::with_capacity(intent.body.len() + intent.id.len() + 16);
    if length > 0 {
        let mut last = [0];
        file.read_exact_at(&mut last, length - 1)?;
        if last != *b"\n" {
            // Somebody, perhaps a crash, left half a line. It stays half a line of its own.
            line.push(b'\n');
        }
    }
    line.extend_from_slice(b"{\"id\":");
    serde_json::to_writer(&mut line, &intent.id)?;
    let members = &intent.body[1..];
    if members != b"}" {
        line.push(b',');
    }
    line.extend_from_slice(members);
    line.push(b'\n');
    if let Err(error) = file.append(&line).and_then(|()| file.sync()) {
        // Half a line helps nobody; when this fails too, the next line begins with a break.
        let _ = file.truncate(length);
        return Err(error);
    }
    match path.parent() {
        Some(folder) if is_new && !folder.as_os_str().is_empty() => fs.sync_dir(folder),
        _ => Ok(()),
    }
}
