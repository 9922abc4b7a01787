//! The times at which a range query is evaluated, and parts of them.

/// Times at equal distances, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    pub first_ms: i64,
    pub last_ms: i64,
    pub step_ms: i64,
}

impl Steps {
    pub fn of((start_ms, end_ms, step_ms): (i64, i64, i64)) -> Self {
        Self { first_ms: start_ms, last_ms: start_ms + (end_ms - start_ms) / step_ms * step_ms, step_ms }
    }

    pub fn times(self) -> (i64, i64, i64) {
        (self.first_ms, self.last_ms, self.step_ms)
    }

    pub fn count(self) -> u64 {
        ((self.last_ms - self.first_ms) / self.step_ms + 1).unsigned_abs()
    }

    /// How many steps a time, which is one of a step, is after the first.
    pub fn place(self, time_ms: i64) -> i64 {
        (time_ms - self.first_ms) / self.step_ms
    }

    pub fn between(self, first_ms: i64, last_ms: i64) -> Option<Self> {
        (first_ms <= last_ms).then_some(Self { first_ms, last_ms, ..self })
    }

    pub fn intersection(self, other: Self) -> Option<Self> {
        self.between(self.first_ms.max(other.first_ms), self.last_ms.min(other.last_ms))
    }

    /// Those before and those after the times from `start_ms` to `end_ms`.
    pub fn around(self, start_ms: i64, end_ms: i64) -> [Option<Self>; 2] {
        let Self { first_ms, last_ms, step_ms } = self;
        if end_ms < first_ms || start_ms > last_ms {
            return [Some(self), None];
        }
        let steps_before = (start_ms.max(first_ms) - first_ms + step_ms - 1).div_euclid(step_ms);
        let steps_until = (end_ms.min(last_ms) - first_ms).div_euclid(step_ms);
        [
            self.between(first_ms, first_ms + (steps_before - 1) * step_ms),
            self.between(first_ms + (steps_until + 1) * step_ms, last_ms),
        ]
    }

    /// The steps that are left when those of the longest `good` pieces up to `last_ms` are taken
    /// away, in order; `good` is in order. Nowhere a single step is left: a range of one step is
    /// evaluated in another way (`step()` is 0, sorting has a meaning).
    pub fn gaps_beside(self, good: &[Self], last_ms: i64, pieces_max: usize) -> Vec<Self> {
        let within = |piece: &Self| {
            piece
                .intersection(self)?
                .between(piece.first_ms.max(self.first_ms), last_ms.min(piece.last_ms).min(self.last_ms))
        };
        let mut pieces: Vec<Self> = good.iter().filter_map(within).collect();
        if pieces.len() > pieces_max {
            pieces.sort_by_key(|piece| std::cmp::Reverse(piece.count()));
            pieces.truncate(pieces_max);
            pieces.sort_by_key(|piece| piece.first_ms);
        }
        let mut gaps = Vec::with_capacity(pieces.len() + 1);
        let mut next_ms = self.first_ms;
        for mut piece in pieces {
            // A gap of one step takes a step of the piece behind it.
            if piece.first_ms - next_ms == self.step_ms {
                piece.first_ms += self.step_ms;
            }
            // That of the end takes one of the last piece.
            if self.last_ms - piece.last_ms == self.step_ms {
                piece.last_ms -= self.step_ms;
            }
            if piece.first_ms > piece.last_ms {
                continue;
            }
            gaps.extend(self.between(next_ms, piece.first_ms - self.step_ms));
            next_ms = piece.last_ms + self.step_ms;
        }
        gaps.extend(self.between(next_ms, self.last_ms));
        gaps
    }

    /// These steps and the `good` ones that follow on them without a gap, at most `count_max` in
    /// all. Each side has half of the room, and what the other does not need.
    pub fn with_neighbours(self, good: &[Self], count_max: u64) -> Self {
        let room = count_max.saturating_sub(self.count()) as i64;
        let around = |time_ms: i64| good.iter().find(|g| (g.first_ms..=g.last_ms).contains(&time_ms));
        let before = around(self.first_ms - self.step_ms).map_or(0, |g| g.before(self.first_ms));
        let after = around(self.last_ms + self.step_ms).map_or(0, |g| g.after(self.last_ms));
        let after = after.min(room.max(0) / 2 + (room / 2 - before).max(0));
        let before = before.min(room - after);
        Self {
            first_ms: self.first_ms - before * self.step_ms,
            last_ms: self.last_ms + after * self.step_ms,
            ..self
        }
    }

    /// How many of these are before a time.
    fn before(&self, time_ms: i64) -> i64 {
        (time_ms - self.first_ms) / self.step_ms
    }

    /// How many of these are after a time.
    fn after(&self, time_ms: i64) -> i64 {
        (self.last_ms - time_ms) / self.step_ms
    }
}
