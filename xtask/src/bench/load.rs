//! The load: simulated targets, and the requests in which their samples are sent.
//!
//! The requests are written to files once and sent to every program as they are. Each connection
//! has a file of its own and half of the series, as Prometheus' queues have; a request holds 2,000
//! samples in the order in which they would have been scraped.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use vedette_sys::Random;
use vedette_wire::remote_write::{Encoder, Item, Request};

use super::page::Series;

/// Connections, and files.
pub const CONNECTIONS: usize = 2;
const SAMPLES_PER_REQUEST: usize = 2_000;
/// Of a hundred series that change nothing.
const CONSTANT_PERCENT: u64 = 61;
const SEED: u64 = 20_260_821;
/// The bit pattern that ends a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Its name in the table.
    pub name: &'static str,
    pub targets: usize,
    pub series_per_target: usize,
    pub interval_ms: i64,
    pub steps: i64,
    /// Of a hundred targets, how many get another `instance` every ten minutes.
    pub churn_percent: usize,
}

/// The requests on disk.
pub struct Load {
    pub shape: Shape,
    pub files: Vec<PathBuf>,
    pub samples: u64,
    pub requests: u64,
    pub bytes: u64,
    /// Series that take samples at one time.
    pub active_series: u64,
    /// Series that there were, churn included.
    pub all_series: u64,
    pub constant_series: u64,
    /// For 0, 1, 2 and 3 decimals and for full floats, how many of the series that change have them.
    pub decimals: [u64; 5],
    pub first_ms: i64,
    pub last_ms: i64,
}

/// How a series changes. Steps and units are in the last decimal.
#[derive(Debug, Clone, Copy)]
enum Motion {
    Constant,
    /// Grows by the same amount each time, as clocks and idle processors do.
    Clock {
        step: u64,
        decimals: u8,
    },
    /// Of a hundred times it stands `still` so often, and else grows by less than `step`.
    Counter {
        step: u64,
        still: u64,
        decimals: u8,
    },
    /// The same, up or down, in whole units such as pages of memory.
    Gauge {
        step: u64,
        unit: u64,
        still: u64,
        decimals: u8,
    },
    /// A number of full length.
    Float,
}

/// One series and what becomes of it.
pub struct Simulated {
    label_bytes: Vec<u8>,
    motion: Motion,
    /// In units of 10^-decimals, or the value itself for `Constant` and `Float`.
    level: i64,
    value: f64,
}

struct Target {
    number: usize,
    generation: usize,
    offset_ms: i64,
    series: Vec<Simulated>,
}

/// Writes the requests of one connection.
pub struct RequestFile {
    file: BufWriter<File>,
    encoder: Encoder,
    samples: usize,
    step: u32,
    compressed: Vec<u8>,
    requests: u64,
    bytes: u64,
}

impl RequestFile {
    /// Begins a file.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 20, File::create(path)?),
            encoder: Encoder::default(),
            samples: 0,
            step: 0,
            compressed: Vec::new(),
            requests: 0,
            bytes: 0,
        })
    }

    /// Adds a sample of a series with these labels, encoded.
    pub fn add(&mut self, step: u32, label_bytes: &[u8], time_ms: i64, value: f64) -> Result<()> {
        self.step = step;
        self.encoder.begin_series_with(label_bytes).sample(time_ms, value).end_series();
        self.samples += 1;
        if self.samples >= SAMPLES_PER_REQUEST {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left; gives how many requests and bytes there are.
    pub fn finish(mut self) -> Result<(u64, u64)> {
        self.flush()?;
        self.file.flush()?;
        Ok((self.requests, self.bytes))
    }

    fn flush(&mut self) -> Result<()> {
        if self.samples == 0 {
            return Ok(());
        }
        let message = self.encoder.message();
        self.compressed.resize(snap::raw::max_compress_len(message.len()), 0);
        let length = snap::raw::Encoder::new().compress(message, &mut self.compressed)?;
        for word in [self.step, self.samples as u32, length as u32] {
            self.file.write_all(&word.to_le_bytes())?;
        }
        self.file.write_all(&self.compressed[..length])?;
        self.encoder.clear();
        self.samples = 0;
        self.requests += 1;
        self.bytes += length as u64;
        Ok(())
    }
}

/// One request.
pub struct Body {
    /// The step of the simulation, so that connections stay side by side.
    pub step: u32,
    pub samples: u32,
    pub bytes: Vec<u8>,
}

/// Reads the requests of one connection.
pub struct Requests(BufReader<File>);

impl Requests {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(BufReader::with_capacity(1 << 20, File::open(path)?)))
    }

    /// The next request, or `None` at the end.
    pub fn next(&mut self) -> Result<Option<Body>> {
        let mut words = [0; 12];
        match self.0.read_exact(&mut words) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let word = |i: usize| u32::from_le_bytes([words[i], words[i + 1], words[i + 2], words[i + 3]]);
        let mut bytes = vec![0; word(8) as usize];
        self.0.read_exact(&mut bytes)?;
        Ok(Some(Body { step: word(0), samples: word(4), bytes }))
    }
}

/// Simulates the targets and writes what they say; the last step is at `now_ms`.
pub fn write(shape: Shape, templates: &[Vec<Series>; 2], folder: &Path, now_ms: i64) -> Result<Load> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let files: Vec<_> =
        (0..CONNECTIONS).map(|n| folder.join(format!("{}-{n}.requests", shape.name))).collect();
    let mut outs = files.iter().map(|f| RequestFile::create(f)).collect::<Result<Vec<_>>>()?;
    let first_ms = now_ms - shape.steps * shape.interval_ms;
    let mut random = Random::new(SEED);
    let mut targets: Vec<Target> =
        (0..shape.targets).map(|number| Target::new(number, 0, &shape, templates, &mut random)).collect();
    // The order in which they are scraped.
    targets.sort_by_key(|t| t.offset_ms);
    let mut load = Load {
        shape,
        files,
        samples: 0,
        requests: 0,
        bytes: 0,
        active_series: targets.iter().map(|t| t.series.len() as u64).sum(),
        all_series: 0,
        constant_series: 0,
        decimals: [0; 5],
        first_ms,
        last_ms: now_ms,
    };
    targets.iter().for_each(|t| load.note(t));
    let steps_per_churn = (600_000 / shape.interval_ms).max(1);
    let churned = shape.targets * shape.churn_percent / 100;
    let mut next_churned = 0;
    for step in 0..shape.steps {
        let begin_ms = first_ms + step * shape.interval_ms;
        if churned > 0 && step > 0 && step % steps_per_churn == 0 {
            for _ in 0..churned {
                let target = &mut targets[next_churned % shape.targets];
                next_churned += 1;
                // The scraper ends the series of a target that is gone.
                for (i, series) in target.series.iter().enumerate() {
                    let time_ms = begin_ms + target.offset_ms;
                    outs[i % CONNECTIONS].add(
                        step as u32,
                        &series.label_bytes,
                        time_ms,
                        f64::from_bits(STALE),
                    )?;
                    load.samples += 1;
                }
                let generation = target.generation + 1;
                let offset_ms = target.offset_ms;
                *target = Target::new(target.number, generation, &shape, templates, &mut random);
                target.offset_ms = offset_ms;
                load.note(target);
            }
        }
        for target in &mut targets {
            for (i, series) in target.series.iter_mut().enumerate() {
                let value = series.advance(&mut random);
                outs[i % CONNECTIONS].add(
                    step as u32,
                    &series.label_bytes,
                    begin_ms + target.offset_ms,
                    value,
                )?;
                load.samples += 1;
            }
        }
    }
    for out in outs {
        let (requests, bytes) = out.finish()?;
        load.requests += requests;
        load.bytes += bytes;
    }
    Ok(load)
}

impl Load {
    fn note(&mut self, target: &Target) {
        self.all_series += target.series.len() as u64;
        for series in &target.series {
            match series.motion {
                Motion::Constant => self.constant_series += 1,
                Motion::Clock { decimals, .. }
                | Motion::Counter { decimals, .. }
                | Motion::Gauge { decimals, .. } => {
                    self.decimals[usize::from(decimals)] += 1;
                }
                Motion::Float => self.decimals[4] += 1,
            }
        }
    }

    /// What the values are like, in one line.
    pub fn describe(&self) -> String {
        let share = |n: u64| 100.0 * n as f64 / self.all_series.max(1) as f64;
        let [zero, one, two, three, float] = self.decimals.map(share);
        format!(
            "{} targets, {} series at a time, {} in all, every {} s for {:.2} h = {:.1} M samples in {} requests \
             ({:.0} bytes each);\n  of the series {:.0} % are constant, and change with 0/1/2/3 decimals or as full \
             floats {zero:.0}/{one:.0}/{two:.0}/{three:.0}/{float:.0} %",
            self.shape.targets,
            self.active_series,
            self.all_series,
            self.shape.interval_ms / 1000,
            (self.shape.steps * self.shape.interval_ms) as f64 / 3_600_000.0,
            self.samples as f64 / 1e6,
            self.requests,
            self.bytes as f64 / self.requests.max(1) as f64,
            share(self.constant_series),
        )
    }
}

impl Target {
    fn new(
        number: usize,
        generation: usize,
        shape: &Shape,
        templates: &[Vec<Series>; 2],
        random: &mut Random,
    ) -> Self {
        // One target of four is a machine's containers, the others are machines.
        let template = usize::from(number % 4 == 3);
        let job = ["node-exporter", "cadvisor"][template];
        let instance = format!("10.{}.{}.{generation}:9100", number / 250, number % 250);
        let series = templates[template]
            .iter()
            .take(shape.series_per_target)
            .map(|series| Simulated::new(series, job, &instance, random))
            .collect();
        let offset_ms = random.below(shape.interval_ms as u64) as i64;
        Self { number, generation, offset_ms, series }
    }
}

impl Simulated {
    /// A series of a template, of one target; an empty `instance` leaves the template's.
    pub fn new(series: &Series, job: &str, instance: &str, random: &mut Random) -> Self {
        let mut labels = series.labels.clone();
        labels.push(("job".to_owned(), job.to_owned()));
        labels.extend((!instance.is_empty()).then(|| ("instance".to_owned(), instance.to_owned())));
        labels.sort();
        labels.dedup_by(|a, b| a.0 == b.0);
        labels.retain(|(_, value)| !value.is_empty());
        let motion = Motion::of(series);
        let value = if series.value.is_finite() { series.value } else { 0.0 };
        let scale = match motion {
            Motion::Gauge { unit, decimals, .. } => power(decimals) / unit as f64,
            Motion::Clock { decimals, .. } | Motion::Counter { decimals, .. } => power(decimals),
            Motion::Constant | Motion::Float => 1.0,
        };
        // Machines that are alike are not equal.
        let value = if matches!(motion, Motion::Constant) { value } else { value * (0.5 + random.unit()) };
        let level = (value * scale).clamp(-1e15, 1e15) as i64;
        Self { label_bytes: encode(&labels), motion, level, value }
    }

    /// Its labels, encoded.
    pub fn label_bytes(&self) -> &[u8] {
        &self.label_bytes
    }

    /// Lets it change if it would not.
    pub fn keep_moving(&mut self) {
        if matches!(self.motion, Motion::Constant) {
            self.motion = Motion::Counter { step: 64, still: 30, decimals: 0 };
            self.level = self.value.clamp(-1e15, 1e15) as i64;
        }
    }

    /// Its next value.
    pub fn advance(&mut self, random: &mut Random) -> f64 {
        match self.motion {
            Motion::Constant => {}
            Motion::Clock { step, decimals } => {
                self.level += step as i64;
                self.value = self.level as f64 / power(decimals);
            }
            Motion::Counter { step, still, decimals } => {
                if random.below(100) >= still {
                    self.level += random.below(step) as i64;
                    self.value = self.level as f64 / power(decimals);
                }
            }
            Motion::Gauge { step, unit, still, decimals } => {
                if random.below(100) >= still {
                    self.level += random.below(2 * step + 1) as i64 - step as i64;
                    self.value = self.level as f64 * unit as f64 / power(decimals);
                }
            }
            Motion::Float => self.value = random.unit(),
        }
        self.value
    }
}

impl Motion {
    /// The same for a series of the template in all targets, from its name and labels alone.
    fn of(series: &Series) -> Self {
        let mut text = String::new();
        for (name, value) in &series.labels {
            text.push_str(name);
            text.push_str(value);
        }
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mut random = Random::new(hash);
        if random.below(100) < CONSTANT_PERCENT {
            return Self::Constant;
        }
        let name = series.labels.first().map_or("", |(_, v)| v.as_str());
        let seconds = name.contains("seconds") || name.contains("load") || name.contains("ratio");
        let bytes = name.contains("bytes");
        let decimals = if seconds { 2 } else { 0 };
        // Most parts of a machine have little to do most of the time.
        let still = [0, 30, 60, 80, 95][random.below(5) as usize];
        if series.counter {
            if random.below(8) == 0 {
                return Self::Clock { step: if seconds { 1_500 } else { 15 }, decimals };
            }
            let bits = if bytes { 8 + random.below(10) } else { 1 + random.below(10) };
            return Self::Counter { step: 1 << bits, still, decimals };
        }
        match random.below(20) {
            _ if bytes => Self::Gauge { step: 1 << random.below(9), unit: 4096, still, decimals: 0 },
            0 => Self::Float,
            1..4 => Self::Gauge { step: 5, unit: 1, still, decimals: 1 },
            4..6 => Self::Gauge { step: 60, unit: 1, still, decimals: 3 },
            _ => Self::Gauge { step: 1 << random.below(6), unit: 1, still, decimals },
        }
    }
}

fn power(decimals: u8) -> f64 {
    [1.0, 10.0, 100.0, 1000.0][usize::from(decimals)]
}

/// The labels as they stand in a request.
pub fn encode(labels: &[(String, String)]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.begin_series(labels.iter().map(|(n, v)| (n.as_str(), v.as_str()))).end_series();
    let Some(Ok(Item::Series(series))) = Request::new(encoder.message()).next() else {
        panic!("BUG: a series that was just written can be read");
    };
    series.label_bytes().to_vec()
}
