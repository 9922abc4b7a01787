//! Measures what opening a store costs, which is most of what a start takes.
//!
//! `cargo run --release -p vedette-tsdb --example open -- FOLDER [TIMES]` opens the store in a folder
//! (a copy, as what is torn is cut) and prints a line each time: until all is read from the disk, and
//! until the log is replayed.

use std::{sync::Arc, time::Duration};

use rustix::time::{ClockId, Timespec, clock_gettime};
use vedette_sys::{RealFs, SystemClock};
use vedette_tsdb::{Config, Tsdb};

/// Wall time, and processor time of all threads.
#[derive(Clone, Copy)]
struct Moment(Duration, Duration);

impl Moment {
    fn now() -> Self {
        let read = |clock| {
            let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
            Duration::new(tv_sec.unsigned_abs(), u32::try_from(tv_nsec).unwrap_or(0))
        };
        Self(read(ClockId::Monotonic), read(ClockId::ProcessCPUTime))
    }

    fn print(self, what: &str, before: Self) {
        let ms = |later: Duration, earlier: Duration| (later - earlier).as_secs_f64() * 1e3;
        print!("{what}: {:.1} ms, {:.1} of processors", ms(self.0, before.0), ms(self.1, before.1));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("name the folder of a store")?;
    let times = args.next().map_or(Ok(5), |n| n.parse())?;
    for _ in 0..times {
        let begun = Moment::now();
        let (store, opening) = Tsdb::begin(Config::new(&folder), Arc::new(RealFs), Arc::new(SystemClock))?;
        let read = Moment::now();
        let bytes = opening.log_bytes();
        let recovery = opening.finish();
        let replayed = Moment::now();
        read.print("read", begun);
        replayed.print("; replayed", read);
        println!("; {} series, {} samples, a log of {bytes} bytes", recovery.series, recovery.samples);
        drop(store);
    }
    Ok(())
}
