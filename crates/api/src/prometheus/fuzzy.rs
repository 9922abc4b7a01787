//! How well a name fits what somebody typed, between 0 and 1.
//!
//! Two ways, as Prometheus offers them: all letters in their order, best where they stand together;
//! or the similarity of Jaro and Winkler, where the text does not stand in the name as it is.

/// What somebody typed.
pub struct Pattern {
    text: String,
    letters: Vec<char>,
    threshold: f64,
    jaro_winkler: bool,
    case_sensitive: bool,
}

impl Pattern {
    /// A pattern that takes names whose score is at least `threshold`.
    pub fn new(text: &str, threshold: f64, jaro_winkler: bool, case_sensitive: bool) -> Self {
        let text = if case_sensitive { text.to_owned() } else { text.to_lowercase() };
        Self { letters: text.chars().collect(), text, threshold, jaro_winkler, case_sensitive }
    }

    /// The score of a name, or `None` where it does not fit.
    pub fn score(&self, name: &str) -> Option<f64> {
        if self.case_sensitive { self.score_exactly(name) } else { self.score_exactly(&name.to_lowercase()) }
    }

    fn score_exactly(&self, name: &str) -> Option<f64> {
        if name.starts_with(&self.text) {
            return Some(1.0);
        }
        if !self.jaro_winkler {
            let score = subsequence(&self.letters, &name.chars().collect::<Vec<_>>());
            return Some(score).filter(|score| *score > 0.0 && *score >= self.threshold);
        }
        if let Some(at) = name.find(&self.text) {
            // The earlier it stands, the better.
            let before = name[..at].chars().count() as f64;
            let room = (name.chars().count() - self.letters.len()) as f64;
            return Some(1.0 - 0.9 * before / room);
        }
        if self.threshold == 0.0 {
            return None;
        }
        let score = similarity(&self.letters, &name.chars().collect::<Vec<_>>());
        Some(score).filter(|score| *score >= self.threshold)
    }
}

/// How near a pattern comes to what is the same but for its end.
const NEARLY: f64 = 0.999;

/// The squares of the lengths of the runs in which the pattern's letters stand, less the gaps as
/// shares of the name (that at the end by half), as a share of what the pattern as one run has. Of
/// all places where the match can begin the best counts; 0 where the letters are not there.
fn subsequence(pattern: &[char], name: &[char]) -> f64 {
    if pattern == name {
        return 1.0;
    }
    let (Some(first), Some(last_start)) = (pattern.first(), name.len().checked_sub(pattern.len())) else {
        return 0.0;
    };
    let mut best: Option<f64> = None;
    for start in (0..=last_start).filter(|start| name[*start] == *first) {
        // Where the rest is not found, it is not found from further on either.
        let Some(score) = runs_from(pattern, name, start) else { break };
        best = Some(best.map_or(score, |best| best.max(score)));
    }
    let full = (pattern.len() * pattern.len()) as f64;
    best.map_or(0.0, |score| (score / full * NEARLY).clamp(0.0, NEARLY))
}

fn runs_from(pattern: &[char], name: &[char], start: usize) -> Option<f64> {
    let gap_cost = 1.0 / name.len() as f64;
    let mut score = 0.0;
    let (mut matched, mut end) = (0, 0);
    let mut at = start;
    while matched < pattern.len() {
        at += name[at..].iter().position(|letter| *letter == pattern[matched])?;
        score -= (at - end) as f64 * gap_cost;
        let run = name[at..].iter().zip(&pattern[matched..]).take_while(|(a, b)| a == b).count();
        score += (run * run) as f64;
        (matched, at, end) = (matched + run, at + run, at + run);
    }
    Some(score - (name.len() - end) as f64 * gap_cost / 2.0)
}

/// The similarity of Jaro, raised for a common beginning of up to four letters.
fn similarity(a: &[char], b: &[char]) -> f64 {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.is_empty() {
        return if long.is_empty() { 1.0 } else { 0.0 };
    }
    let reach = (long.len() / 2).saturating_sub(1);
    let mut taken = vec![false; long.len()];
    let mut common = Vec::new();
    for (place, letter) in short.iter().enumerate() {
        let window = place.saturating_sub(reach)..(place + reach + 1).min(long.len());
        if let Some(found) = window.into_iter().find(|&other| !taken[other] && long[other] == *letter) {
            taken[found] = true;
            common.push(*letter);
        }
    }
    if common.is_empty() {
        return 0.0;
    }
    let in_long = long.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(letter, _)| letter);
    let swapped = common.iter().zip(in_long).filter(|(a, b)| a != b).count();
    let matches = common.len() as f64;
    let jaro = (matches / short.len() as f64
        + matches / long.len() as f64
        + (matches - swapped as f64 / 2.0) / matches)
        / 3.0;
    let prefix = short.iter().zip(long).take(4).take_while(|(a, b)| a == b).count();
    jaro + prefix as f64 * 0.1 * (1.0 - jaro)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Option<f64>, b: f64) {
        assert!(a.is_some_and(|a| (a - b).abs() < 1e-3), "{a:?} is not {b}");
    }

    #[test]
    fn letters_in_their_order_fit() {
        let score = |pattern: &str, name: &str| Pattern::new(pattern, 0.0, false, true).score(name);
        assert_eq!(score("go_", "go_goroutines"), Some(1.0));
        assert_eq!(score("gx", "go_goroutines"), None);
        assert_eq!(score("og", "go"), None);
        assert_eq!(score("Go", "go"), None);
        assert_eq!(Pattern::new("GO", 0.0, false, false).score("go_x"), Some(1.0));
        let (near, far) = (score("grt", "go_goroutines").expect("fits"), score("gts", "go_goroutines"));
        assert!(near > far.expect("fits"), "{near} {far:?}");
        // One run of two in three letters: (4 - 1/3) / 4.
        close(score("bc", "abc"), (4.0 - 1.0 / 3.0) / 4.0 * NEARLY);
        assert_eq!(Pattern::new("bc", 0.95, false, true).score("abc"), None);
    }

    #[test]
    fn similar_words_fit() {
        let score = |pattern: &str, name: &str| Pattern::new(pattern, 0.5, true, true).score(name);
        close(score("MARTHA", "MARHTA"), 0.961);
        close(score("DWAYNE", "DUANE"), 0.84);
        close(score("DIXON", "DICKSONX"), 0.813);
        assert_eq!(score("abc", "xyz"), None);
        close(score("bc", "abcd"), 1.0 - 0.9 / 2.0);
        assert_eq!(Pattern::new("MARTHA", 0.0, true, true).score("MARHTA"), None);
    }
}
