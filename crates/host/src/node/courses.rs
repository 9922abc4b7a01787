//! How what can fill has filled so far, of all that is watched, kept over a restart.
//!
//! The file is written anew as a whole beside the old one, which it then replaces, so that there is
//! always a whole one. It is foreign when it is read: what makes no sense in it is left out. A file
//! that cannot be read or written costs forecasts after the next start, no more; it is told.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    forecast::{Forecast, Rate, Slopes},
    workers::Task,
};
use crate::file::Buffer;

/// First line of the file.
const HEAD: &str = "vedette forecasts 1";
const FILE_BYTES_MAX: u64 = 32 << 20;
/// What is watched beyond this is not.
const COURSES_MAX: usize = 8192;
/// What was not looked at for so long is forgotten.
const AGE_SECONDS_MAX: f64 = 2.0 * 86_400.0;
/// What has shown no rate yet is forgotten sooner.
const AGE_SECONDS_UNKNOWN_MAX: f64 = 3600.0;
/// Time between two writings. That much of a course is lost when the program is killed.
const SAVE_SECONDS: f64 = 300.0;

/// All courses, shared by whoever looks.
#[derive(Debug)]
pub(super) struct Courses {
    file: Option<PathBuf>,
    state: Mutex<State>,
    /// Held by whoever writes the file.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    courses: BTreeMap<String, Forecast>,
    slopes: Slopes,
    /// The latest time that anybody gave.
    now_seconds: f64,
    saved_seconds: f64,
    failure: Option<String>,
}

impl Courses {
    /// Goes on with what the file tells, if there is one.
    pub(super) fn open(file: Option<PathBuf>) -> Arc<Self> {
        let mut state = State::default();
        match file.as_deref().map(read) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(text))) => state.courses = parse(&text),
            Some(Err(e)) => state.failure = Some(e.to_string()),
        }
        Arc::new(Self { file, state: Mutex::new(state), writing: Mutex::new(()) })
    }

    /// Adds a reading to the course of `key`; tells at what rate it fills, as far as that is known.
    pub(super) fn observe(&self, key: &str, seconds: f64, used: f64) -> Option<Rate> {
        let mut state = self.state.lock();
        let State { courses, slopes, now_seconds, .. } = &mut *state;
        *now_seconds = seconds;
        // Nearly always it is there; then its name is not made anew.
        if !courses.contains_key(key) {
            if courses.len() >= COURSES_MAX {
                return None;
            }
            courses.insert(key.to_owned(), Forecast::default());
        }
        let course = courses.get_mut(key)?;
        course.observe(seconds, used, slopes);
        course.rate()
    }

    /// Whether it is time to write them.
    pub(super) fn is_due(&self) -> bool {
        let state = self.state.lock();
        self.file.is_some() && !(0.0..SAVE_SECONDS).contains(&(state.now_seconds - state.saved_seconds))
    }

    /// Writes them, and forgets what nobody looks at any more.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else { return };
        // Another thread is at it, perhaps for ever: what it writes is as new as it needs to be.
        let Some(_only_one) = self.writing.try_lock() else { return };
        let mut state = self.state.lock();
        let now = state.now_seconds;
        // What lives for a moment, as the volume of a pod may, is not to take the room of what stays.
        state.courses.retain(|_, course| {
            let kept = if course.rate().is_some() { AGE_SECONDS_MAX } else { AGE_SECONDS_UNKNOWN_MAX };
            course.last().is_some_and(|last| now - last < kept)
        });
        state.saved_seconds = now;
        // Printing takes a while, for which the readers of figures are not to wait.
        let courses = state.courses.clone();
        drop(state);
        let failure = replace(file, &print(&courses)).err().map(|e| e.to_string());
        self.state.lock().failure = failure;
    }

    /// Why forecasts will begin anew after a restart.
    pub(super) fn failure(&self) -> Option<String> {
        let failure = self.state.lock().failure.clone()?;
        Some(format!("{}: {failure}", self.file.as_deref()?.display()))
    }
}

impl Task for Courses {
    fn run(&self, _: &mut Buffer) {
        self.save();
    }
}

fn read(file: &Path) -> std::io::Result<Option<String>> {
    match std::fs::metadata(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            Err(std::io::Error::other("it is longer than it can be; remove it"))
        }
        Ok(_) => Ok(Some(String::from_utf8_lossy(&std::fs::read(file)?).into_owned())),
    }
}

fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let mut written = std::fs::File::create(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_data()?;
    std::fs::rename(new, file)
}

/// A line each: spacing, then seconds and what was used, in pairs, then the key behind a tab.
fn print(courses: &BTreeMap<String, Forecast>) -> String {
    let mut out = format!("{HEAD}\n");
    for (key, course) in courses {
        let (spacing, points) = course.parts();
        let _ = write!(out, "{spacing}");
        for (seconds, used) in points {
            let _ = write!(out, " {seconds} {used}");
        }
        let _ = writeln!(out, "\t{}", key.replace('\\', "\\\\").replace('\n', "\\n"));
    }
    out
}

fn parse(text: &str) -> BTreeMap<String, Forecast> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return BTreeMap::new();
    }
    let mut slopes = Slopes::default();
    let course = |line: &str| {
        let (numbers, key) = line.split_once('\t')?;
        let mut numbers = numbers.split(' ').map(|n| n.parse::<f64>().ok());
        let spacing = numbers.next()??;
        let mut points = Vec::new();
        while let Some(seconds) = numbers.next() {
            points.push((seconds?, numbers.next()??));
        }
        Some((unescape(key)?, Forecast::of_parts(spacing, points, &mut slopes)?))
    };
    lines.filter_map(course).take(COURSES_MAX).collect()
}

fn unescape(text: &str) -> Option<String> {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Watches something that fills by 1,000 a second for ten minutes from then on.
    fn watch(courses: &Courses, key: &str, from: f64) -> Option<f64> {
        let readings = (0..60).map(|i| from + f64::from(i) * 10.0);
        let rate = readings.map(|s| courses.observe(key, s, (s - 1e9) * 1e3)).last()?;
        Some(rate?.hours(3.6e6 * 5.0))
    }

    #[test]
    fn a_restart_does_not_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("forecasts");
        let keys = ["fs /dev/sda /", "fs a\\b /with\nline", "vg x"];
        let courses = Courses::open(Some(file.clone()));
        for key in keys {
            assert!((watch(&courses, key, 1e9).unwrap() - 5.0).abs() < 1e-6);
        }
        assert!(courses.is_due());
        courses.save();
        assert!(!courses.is_due());
        assert_eq!(courses.failure(), None);

        let again = Courses::open(Some(file.clone()));
        for key in keys {
            // One reading is enough, as the ones before are known.
            let rate = again.observe(key, 1e9 + 700.0, 7e5).expect("a rate");
            assert!((rate.hours(3.6e6 * 5.0) - 5.0).abs() < 1e-6);
        }
        assert_eq!(Courses::open(None).observe(keys[0], 1e9 + 700.0, 7e5).map(|r| r.hours(1.0)), None);

        // Two days later nobody has looked at the others.
        again.observe(keys[0], 1e9 + 2.5 * 86_400.0, 7e5);
        again.save();
        assert_eq!(parse(&std::fs::read_to_string(&file).unwrap()).len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_or_is_another_is_told_and_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let courses = Courses::open(Some(folder.path().join("none/forecasts")));
        watch(&courses, "x", 1e9);
        courses.save();
        assert!(courses.failure().unwrap().contains("none/forecasts: No such file"));
        let courses = Courses::open(Some(folder.path().to_owned()));
        assert!(courses.failure().unwrap().contains("directory"), "{:?}", courses.failure());
        for text in
            ["", "another\n1 2 3\tx\n", "vedette forecasts 1\n30 1 2 3\tx\n\t\n30 2 1 1 1\ty\n-1 1 1\tz\n"]
        {
            assert!(parse(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn no_more_is_watched_than_there_is_room_for() {
        let courses = Courses::open(None);
        for i in 0..=COURSES_MAX {
            courses.observe(&i.to_string(), 1e9, 1.0);
        }
        assert_eq!(courses.state.lock().courses.len(), COURSES_MAX);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            key in "\\PC{0,20}",
            readings in proptest::collection::vec((0.0..1e5_f64, 0.0..1e15_f64), 1..100),
        ) {
            let courses = Courses::open(None);
            let mut seconds = 1e9;
            for (after, used) in readings {
                seconds += after;
                courses.observe(&key, seconds, used);
            }
            let known = &courses.state.lock().courses;
            let read = parse(&print(known));
            prop_assert_eq!(&read, known);
        }

        #[test]
        fn garbage_is_left_out(text in "(vedette forecasts 1\n)?([0-9 .einfNa\t\\\\-]{0,40}\n){0,5}") {
            for course in parse(&text).values() {
                prop_assert!(course.rate().is_none_or(|rate| rate.hours(1.0) >= 0.0));
            }
        }
    }
}
