//! A file with rotation, and standard output. Both wait for the disk or a pipe on threads for that.

use std::{io, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use vedette_sys::{File, Fs};

use super::{Deliver, again};
use crate::export::{
    batch::{Batch, Delivery},
    target::FileSink,
};

/// The end of a file is searched so far back for the end of its last whole line.
const TAIL_BYTES_MAX: u64 = 4 << 20;

/// Standard output.
pub struct Stdout;

impl Deliver for Stdout {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'static, Delivery> {
        blocking(move || {
            use std::io::Write as _;
            let mut out = io::stdout().lock();
            out.write_all(&batch.bytes)?;
            out.flush()
        })
    }
}

/// A file.
pub struct Sink {
    config: FileSink,
    fs: Arc<dyn Fs>,
    open: Arc<Mutex<Option<Box<dyn File>>>>,
}

impl Sink {
    /// Nothing is opened yet.
    pub fn new(config: &FileSink, fs: Arc<dyn Fs>) -> Self {
        Self { config: config.clone(), fs, open: Arc::default() }
    }
}

impl Deliver for Sink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'static, Delivery> {
        let (config, fs, open) = (self.config.clone(), self.fs.clone(), self.open.clone());
        let place = config.path.display().to_string();
        let written = blocking(move || {
            let mut open = open.lock();
            let written = append(&config, &*fs, &mut open, &batch.bytes);
            if written.is_err() {
                *open = None;
            }
            written
        });
        Box::pin(async move {
            match written.await {
                Delivery::Again { after, message } => {
                    Delivery::Again { after, message: format!("{place}: {message}") }
                }
                other => other,
            }
        })
    }
}

fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> BoxFuture<'static, Delivery> {
    Box::pin(async move {
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => Delivery::Taken,
            Ok(Err(error)) => again(error.to_string()),
            Err(_) => again("the process is ending"),
        }
    })
}

/// Appends all or nothing, in a new file where this one is long enough.
fn append(config: &FileSink, fs: &dyn Fs, open: &mut Option<Box<dyn File>>, bytes: &[u8]) -> io::Result<()> {
    let file = match open {
        Some(file) => file,
        None => open.insert(open_whole(config, fs)?),
    };
    let mut length = file.len()?;
    let file = if length > 0 && length.saturating_add(bytes.len() as u64) > config.bytes_max {
        *open = None;
        rotate(config, fs)?;
        length = 0;
        open.insert(open_whole(config, fs)?)
    } else {
        file_of(open)
    };
    if let Err(error) = file.append(bytes) {
        // A part of a line would spoil the next one.
        file.truncate(length)?;
        return Err(error);
    }
    Ok(())
}

fn file_of(open: &mut Option<Box<dyn File>>) -> &mut Box<dyn File> {
    open.as_mut().expect("BUG: opened above")
}

/// Opens the file; what the end of the process left of a line is cut off, as it comes again.
fn open_whole(config: &FileSink, fs: &dyn Fs) -> io::Result<Box<dyn File>> {
    if let Some(folder) = config.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs.create_dir_all(folder)?;
    }
    let mut file = fs.open_append(&config.path)?;
    let length = file.len()?;
    let mut tail = vec![0; usize::try_from(length.min(TAIL_BYTES_MAX)).unwrap_or(0)];
    let begin = length - tail.len() as u64;
    file.read_exact_at(&mut tail, begin)?;
    let whole = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => begin + at as u64 + 1,
        None if begin == 0 => 0,
        // Nobody writes such lines; it is left as it is.
        None => length,
    };
    if whole < length {
        file.truncate(whole)?;
    }
    Ok(file)
}

/// Puts the file aside: `.1` is the newest of those that are kept.
fn rotate(config: &FileSink, fs: &dyn Fs) -> io::Result<()> {
    let aside = |number: u32| {
        let mut name = config.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if config.kept == 0 {
        return fs.remove(&config.path);
    }
    if fs.exists(&aside(config.kept)) {
        fs.remove(&aside(config.kept))?;
    }
    for number in (1..config.kept).rev() {
        if fs.exists(&aside(number)) {
            fs.rename(&aside(number), &aside(number + 1))?;
        }
    }
    fs.rename(&config.path, &aside(1))
}
