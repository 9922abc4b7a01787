//! Rows of a log, gathered before they are replayed: one after the other they would touch each
//! series once for each row, which is what costs most. Rows of one list of series become columns
//! instead, one for each series, and a series is touched once. Lists that share series, as where a
//! sender cuts a target in two at changing places, become columns together.
//!
//! Invariant: of each series the samples come in the order of the log.

use hashbrown::HashMap;

use super::{
    record::{Known, LOST, Replay, Told},
    rows::{self, Check},
    values::{self, Coded},
};

/// Rows and lists that take so many bytes are replayed at once.
const BYTES_MAX: usize = 32 << 20;

/// Values that become columns at the same time, which the cache should hold; and how many there
/// are in a column.
const VALUES_MAX: usize = 1 << 15;
const ROWS_MAX: usize = 64;

/// Payloads are read eight bytes at a time.
const PADDING: usize = 8;

/// Rows that wait.
#[derive(Debug, Default)]
pub struct Gathered {
    lists: Vec<List>,
    free_lists: Vec<u32>,
    /// Lists that have rows.
    used: Vec<u32>,
    /// In the order of the log.
    rows: Vec<Row>,
    /// Codes and payloads of the rows.
    bytes: Vec<u8>,
    /// The list that was added last of those with the same first series.
    by_first: HashMap<u32, u32>,
    /// Lists that no layout has, unless one has come to have it since.
    idle: Vec<u32>,
    /// Bytes of lists added since the last replay.
    list_bytes: usize,
    /// For each series one more than the first list with rows that has it, else 0.
    owners: Vec<u32>,
    /// For each series its place among those that become columns together.
    places: Vec<u32>,
    matrix: Matrix,
}

/// Series that have samples at the same times.
#[derive(Debug, Default)]
struct List {
    series: Box<[u32]>,
    rows: Vec<u32>,
    /// How many layouts have it.
    layouts: u32,
    /// Of lists that share series, directly or by others, each leads to the first, which holds the
    /// others while rows are replayed.
    leader: u32,
    followers: Vec<u32>,
    /// Whether a series is in it twice.
    is_odd: bool,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    list: u32,
    check: u32,
    time_ms: i64,
    start: usize,
    end: usize,
}

/// Rows on their way to columns; the values of a series stand together.
#[derive(Debug, Default)]
struct Matrix {
    /// Of the rows.
    times_ms: Vec<i64>,
    checks: Vec<Check>,
    /// Codes, and where the payloads are, row by row.
    row_codes: Vec<u8>,
    offsets: Vec<u32>,
    row: Vec<Told>,
    /// What was known of the series before.
    series: Vec<Known>,
    /// The codes of each column joined by OR: 0 where all samples have the value known before.
    changes: Vec<u8>,
    /// How many samples a column has room for.
    height: usize,
    /// Samples of each column and their times, where these are not those of the rows.
    lengths: Vec<u32>,
    own_times_ms: Vec<i64>,
    codes: Vec<u8>,
    payloads: Vec<u64>,
    bits: Vec<u64>,
}

/// Samples of several series, those of each in the order of the log.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    matrix: &'a Matrix,
}

/// The samples of one series.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    before: Known,
    times_ms: &'a [i64],
    /// Whether all samples have the value known before. Then what follows is empty.
    is_constant: bool,
    codes: &'a [u8],
    payloads: &'a [u64],
    bits: &'a [u64],
}

impl<'a> Columns<'a> {
    /// All times, in no order.
    pub fn times_ms(&self) -> &'a [i64] {
        &self.matrix.times_ms
    }

    /// Hands on each sample as a row.
    pub fn each_row(&self, each: &mut dyn FnMut(i64, &[Told])) {
        for column in self.iter() {
            for (at, &time_ms) in column.times_ms.iter().enumerate() {
                each(time_ms, &[column.told(at)]);
            }
        }
    }

    /// One for each series of which the definition is known.
    pub fn iter(&self) -> impl Iterator<Item = Column<'a>> + Clone {
        let Matrix {
            times_ms, series, changes, height, lengths, own_times_ms, codes, payloads, bits, ..
        } = self.matrix;
        let column = move |(i, &before): (usize, &Known)| {
            let start = i * height;
            let length = lengths.get(i).map_or(*height, |&length| length as usize);
            let own = own_times_ms.get(start..start + length);
            let is_constant = changes[i] == values::SAME;
            let values = start..if is_constant { start } else { start + length };
            Column {
                before,
                times_ms: if lengths.is_empty() { times_ms } else { own.unwrap_or_default() },
                is_constant,
                codes: &codes[values.clone()],
                payloads: &payloads[values.clone()],
                bits: &bits[values],
            }
        };
        series.iter().enumerate().map(column).filter(|column| column.before.reference != LOST)
    }
}

impl<'a> Column<'a> {
    /// Samples of a series, which are told by the one before, the first by `before`.
    #[cfg(test)]
    pub fn of(
        series: crate::SeriesRef,
        before: u64,
        times_ms: &'a [i64],
        bits: &'a [u64],
        told: &'a mut (Vec<u8>, Vec<u64>),
    ) -> Self {
        let (codes, payloads) = told;
        let mut last = before;
        for &bits in bits {
            let Coded { code, payload } = values::encode(std::mem::replace(&mut last, bits), bits);
            codes.push(code);
            payloads.push(payload);
        }
        let is_constant = codes.iter().all(|&code| code == values::SAME);
        let before = Known { reference: series, bits: before, start_ms: 0 };
        Self { before, times_ms, is_constant, codes, payloads, bits }
    }

    pub fn series(&self) -> crate::SeriesRef {
        self.before.reference
    }

    pub fn times_ms(&self) -> &'a [i64] {
        self.times_ms
    }

    /// The start timestamp of all samples, 0 where it is not known.
    pub fn start_ms(&self) -> i64 {
        self.before.start_ms
    }

    /// A sample.
    #[inline]
    pub fn told(&self, at: usize) -> Told {
        if self.is_constant {
            let Known { reference, bits, start_ms } = self.before;
            return Told { series: reference, bits, base: bits, coded: Coded::SAME, start_ms };
        }
        let base = if at == 0 { self.before.bits } else { self.bits[at - 1] };
        let coded = Coded { code: self.codes[at], payload: self.payloads[at] };
        let Known { reference, start_ms, .. } = self.before;
        Told { series: reference, bits: self.bits[at], base, coded, start_ms }
    }

    /// How many samples from `at` on, before `end`, have the value of the one before.
    #[inline]
    pub fn count_same(&self, at: usize, end: usize) -> usize {
        if self.is_constant {
            return end.saturating_sub(at);
        }
        self.codes.get(at..end).map_or(0, |codes| codes.iter().take_while(|&&c| c == values::SAME).count())
    }
}

impl Gathered {
    /// The number of a list of series, which is kept until the next replay, or as long as a layout
    /// has it.
    pub fn list(&mut self, series: Box<[u32]>) -> u32 {
        // A list comes loose before it becomes a layout.
        let first = series.first().copied().unwrap_or(0);
        if let Some(&number) = self.by_first.get(&first)
            && self.lists[number as usize].series == series
        {
            return number;
        }
        self.list_bytes += series.len() * size_of::<u32>() + size_of::<List>();
        let list = List { series, ..List::default() };
        let number = self.free_lists.pop().unwrap_or_else(|| {
            self.lists.push(List::default());
            self.lists.len() as u32 - 1
        });
        self.lists[number as usize] = list;
        self.by_first.insert(first, number);
        self.idle.push(number);
        number
    }

    /// Tells that a layout has a list.
    pub fn keep_list(&mut self, number: u32) {
        self.lists[number as usize].layouts += 1;
    }

    /// Tells that a layout has a list no more.
    pub fn let_go_list(&mut self, number: u32) {
        let list = &mut self.lists[number as usize];
        list.layouts -= 1;
        if list.layouts == 0 {
            self.idle.push(number);
        }
    }

    /// Adds a row.
    pub fn add_row(&mut self, list: u32, check: u32, time_ms: i64, values: &[u8]) {
        let rows = &mut self.lists[list as usize].rows;
        if rows.is_empty() {
            self.used.push(list);
        }
        rows.push(self.rows.len() as u32);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(values);
        self.rows.push(Row { list, check, time_ms, start, end: self.bytes.len() });
    }

    /// Whether there is so much that it is to be replayed now.
    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.list_bytes >= BYTES_MAX
    }

    /// Replays all rows, and forgets them. Gives how many could not be read.
    pub fn replay(&mut self, known: &mut [Known], replay: &mut dyn Replay) -> u64 {
        if self.rows.is_empty() {
            self.free_idle();
            return 0;
        }
        self.bytes.extend_from_slice(&[0; PADDING]);
        self.find_shared(known.len());
        let mut lost = 0;
        let used = std::mem::take(&mut self.used);
        for &number in &used {
            let list = &mut self.lists[number as usize];
            if list.leader != number {
                continue;
            }
            let mut rows = std::mem::take(&mut list.rows);
            let followers = std::mem::take(&mut list.followers);
            let mut is_odd = list.is_odd;
            let mut width = list.series.len();
            for &follower in &followers {
                let list = &mut self.lists[follower as usize];
                rows.append(&mut list.rows);
                is_odd |= list.is_odd;
                width += list.series.len();
            }
            rows.sort_unstable();
            let at_once = (VALUES_MAX / width.max(1)).clamp(1, ROWS_MAX);
            for rows in rows.chunks(if is_odd { 1 } else { at_once }) {
                lost += if is_odd {
                    u64::from(self.replay_row(rows[0], known, replay).is_none())
                } else if followers.is_empty() && self.fill(number, rows, known).is_some() {
                    replay.columns(&Columns { matrix: &self.matrix });
                    0
                } else {
                    let lost = self.fill_shared(rows, known);
                    replay.columns(&Columns { matrix: &self.matrix });
                    lost
                };
            }
        }
        self.used = used;
        self.used.clear();
        self.rows.clear();
        self.bytes.clear();
        self.free_idle();
        lost
    }

    /// Makes columns of rows of one list; `None` if any cannot be read, or was told by other values.
    fn fill(&mut self, list: u32, rows: &[u32], known: &mut [Known]) -> Option<()> {
        let series = &*self.lists[list as usize].series;
        let of_list = rows.iter().map(|&row| &self.rows[row as usize]);
        self.matrix.fill(series, of_list, &self.bytes, known)?;
        let columns = self.matrix.changes.iter().zip(self.matrix.bits.chunks_exact(rows.len()));
        for (&index, (&changes, bits)) in series.iter().zip(columns) {
            if changes != values::SAME {
                known[index as usize].bits = bits[bits.len() - 1];
            }
        }
        Some(())
    }

    /// Makes columns of rows of lists that may share series. Gives how many rows could not be read.
    fn fill_shared(&mut self, rows: &[u32], known: &mut [Known]) -> u64 {
        self.matrix.begin(rows.len());
        let mut lost = 0;
        for &row in rows {
            let row = self.rows[row as usize];
            let series = &*self.lists[row.list as usize].series;
            let read = self.matrix.add_row(series, &row, &self.bytes, &mut self.places, known);
            lost += u64::from(read.is_none());
        }
        for &row in rows {
            let series = &*self.lists[self.rows[row as usize].list as usize].series;
            series.iter().for_each(|&index| self.places[index as usize] = 0);
        }
        lost
    }

    /// Replays one row by itself.
    fn replay_row(&mut self, row: u32, known: &mut [Known], replay: &mut dyn Replay) -> Option<()> {
        let row = self.rows[row as usize];
        let series = &*self.lists[row.list as usize].series;
        self.matrix.read_row(series, &row, &self.bytes, known)?;
        for (&index, told) in series.iter().zip(&self.matrix.row) {
            known[index as usize].bits = told.bits;
        }
        self.matrix.row.retain(|told| told.series != LOST);
        replay.row(row.time_ms, &self.matrix.row);
        Some(())
    }

    /// Frees the lists that no layout has.
    fn free_idle(&mut self) {
        self.idle.sort_unstable();
        self.idle.dedup();
        for number in self.idle.drain(..) {
            let list = &mut self.lists[number as usize];
            if list.layouts == 0 {
                let first = list.series.first().copied().unwrap_or(0);
                if self.by_first.get(&first) == Some(&number) {
                    self.by_first.remove(&first);
                }
                list.series = Box::default();
                self.free_lists.push(number);
            }
        }
        self.list_bytes = 0;
    }

    /// Finds the lists that share series, also with themselves.
    fn find_shared(&mut self, series: usize) {
        self.owners.clear();
        self.owners.resize(series, 0);
        self.places.resize(series, 0);
        for &number in &self.used {
            let list = &mut self.lists[number as usize];
            (list.leader, list.is_odd) = (number, false);
        }
        for i in 0..self.used.len() {
            let number = self.used[i];
            let mut joined = 0;
            for at in 0..self.lists[number as usize].series.len() {
                let owner = &mut self.owners[self.lists[number as usize].series[at] as usize];
                match *owner {
                    0 => *owner = number + 1,
                    same if same == number + 1 => self.lists[number as usize].is_odd = true,
                    other if other == joined => {}
                    other => {
                        joined = other;
                        let (one, other) = (self.leader(number), self.leader(other - 1));
                        self.lists[one.max(other) as usize].leader = one.min(other);
                    }
                }
            }
        }
        for i in 0..self.used.len() {
            let number = self.used[i];
            let leader = self.leader(number);
            self.lists[number as usize].leader = leader;
            if leader != number {
                self.lists[leader as usize].followers.push(number);
            }
        }
    }

    fn leader(&mut self, mut number: u32) -> u32 {
        loop {
            let leader = self.lists[number as usize].leader;
            if leader == number {
                return number;
            }
            // The way becomes shorter for those who come next.
            self.lists[number as usize].leader = self.lists[leader as usize].leader;
            number = leader;
        }
    }
}

impl Matrix {
    /// Reads rows; `None` if any of them cannot be read, or was told by other values.
    fn fill<'a>(
        &mut self,
        series: &[u32],
        rows: impl ExactSizeIterator<Item = &'a Row> + Clone,
        bytes: &[u8],
        known: &[Known],
    ) -> Option<()> {
        let (width, height) = (series.len(), rows.len());
        self.height = height;
        self.lengths.clear();
        self.times_ms.clear();
        self.times_ms.extend(rows.clone().map(|row| row.time_ms));
        let values = width * height;
        self.make_room(values);
        self.changes.clear();
        self.changes.resize(width, values::SAME);
        for (i, row) in rows.clone().enumerate() {
            let places = i * width..(i + 1) * width;
            let codes = bytes[row.start..row.end].get(..width.div_ceil(2))?;
            let mut offset = (row.start + codes.len()) as u32;
            let mut place = |code: u8, row_code: &mut u8, at: &mut u32, changes: &mut u8| {
                (*row_code, *at) = (code, offset);
                *changes |= code;
                offset += values::payload_bytes(code) as u32;
            };
            let row_codes = self.row_codes[places.clone()].chunks_mut(2);
            let places = row_codes.zip(self.offsets[places].chunks_mut(2)).zip(self.changes.chunks_mut(2));
            for (&both, ((row_codes, at), changes)) in codes.iter().zip(places) {
                place(both & 15, &mut row_codes[0], &mut at[0], &mut changes[0]);
                if let ([_, row_code], [_, at], [_, changes]) = (row_codes, at, changes) {
                    place(both >> 4, row_code, at, changes);
                }
            }
            if offset as usize != row.end {
                return None;
            }
        }
        self.checks.clear();
        self.checks.resize(height, Check::default());
        self.series.clear();
        for (i, &index) in series.iter().enumerate() {
            let before = known[index as usize];
            self.series.push(before);
            let places = i * height..(i + 1) * height;
            let codes = &mut self.codes[places.clone()];
            let payloads = &mut self.payloads[places.clone()];
            let bits = &mut self.bits[places];
            if self.changes[i] == values::SAME {
                self.checks.iter_mut().for_each(|check| check.add_known(before.bits, before.start_ms));
                continue;
            }
            let mut last = before.bits;
            let row_codes = self.row_codes[i..].iter().step_by(width);
            let offsets = self.offsets[i..].iter().step_by(width);
            let places = codes.iter_mut().zip(payloads).zip(bits);
            let read = row_codes.zip(offsets).zip(&mut self.checks).zip(places);
            for (((&row_code, &offset), check), ((code, payload), bits)) in read {
                check.add_known(last, before.start_ms);
                *code = row_code;
                if row_code != values::SAME {
                    *payload = values::payload_at(bytes, offset as usize, row_code)?;
                    last = values::decode(last, Coded { code: row_code, payload: *payload });
                } else {
                    *payload = 0;
                }
                *bits = last;
            }
        }
        rows.zip(&self.checks).all(|(row, check)| check.finish() == row.check).then_some(())
    }

    fn make_room(&mut self, values: usize) {
        if self.bits.len() < values {
            self.row_codes.resize(values, 0);
            self.offsets.resize(values, 0);
            self.own_times_ms.resize(values, 0);
            self.codes.resize(values, 0);
            self.payloads.resize(values, 0);
            self.bits.resize(values, 0);
        }
    }

    /// Begins columns of so many samples at most.
    fn begin(&mut self, height: usize) {
        self.height = height;
        self.times_ms.clear();
        self.series.clear();
        self.changes.clear();
        self.lengths.clear();
    }

    /// Reads a row; `None` if it cannot be read, or was told by other values.
    fn read_row(&mut self, series: &[u32], row: &Row, bytes: &[u8], known: &[Known]) -> Option<()> {
        let mut check = Check::default();
        self.row.clear();
        for &index in series {
            let Known { reference, bits, start_ms } = known[index as usize];
            check.add_known(bits, start_ms);
            self.row.push(Told { series: reference, bits, base: bits, coded: Coded::SAME, start_ms });
        }
        if check.finish() != row.check {
            return None;
        }
        rows::decode_values(&bytes[row.start..row.end], &mut self.row)
    }

    /// Adds a row to the columns; `None` if it cannot be read, or was told by other values. `places`
    /// has one more than the column of a series, or 0.
    fn add_row(
        &mut self,
        series: &[u32],
        row: &Row,
        bytes: &[u8],
        places: &mut [u32],
        known: &mut [Known],
    ) -> Option<()> {
        let codes = bytes[row.start..row.end].get(..series.len().div_ceil(2))?;
        let code_at = |i: usize| codes[i / 2] >> (i % 2 * 4) & 15;
        let mut check = Check::default();
        let mut offset = row.start + codes.len();
        let mut end = offset;
        for (i, &index) in series.iter().enumerate() {
            let Known { bits, start_ms, .. } = known[index as usize];
            check.add_known(bits, start_ms);
            end += values::payload_bytes(code_at(i));
        }
        if check.finish() != row.check || end != row.end {
            return None;
        }
        self.times_ms.push(row.time_ms);
        self.make_room((self.series.len() + series.len()) * self.height);
        for (i, &index) in series.iter().enumerate() {
            let known = &mut known[index as usize];
            let place = &mut places[index as usize];
            if *place == 0 {
                self.series.push(*known);
                self.changes.push(values::SAME);
                self.lengths.push(0);
                *place = self.series.len() as u32;
            }
            let column = *place as usize - 1;
            let length = &mut self.lengths[column];
            let at = column * self.height + *length as usize;
            *length += 1;
            let code = code_at(i);
            let mut payload = 0;
            if code != values::SAME {
                payload = values::payload_at(bytes, offset, code)?;
                offset += values::payload_bytes(code);
                known.bits = values::decode(known.bits, Coded { code, payload });
                self.changes[column] |= code;
            }
            self.own_times_ms[at] = row.time_ms;
            (self.codes[at], self.payloads[at], self.bits[at]) = (code, payload, known.bits);
        }
        Some(())
    }
}
