//! What somebody probably meant.

/// The candidate that `word` is most likely a slip of, when one is near enough: at most a third of
/// its letters (and at least one) inserted, deleted, replaced or swapped with a neighbour. Of a word
/// of one or two letters the first must be right.
pub fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let typed = word.to_lowercase();
    let short = typed.chars().count() < 3;
    let first = |word: &str| word.chars().next().map(|letter| letter.to_ascii_lowercase());
    candidates
        .into_iter()
        .filter(|candidate| !short || first(candidate) == first(word))
        .map(|candidate| (distance(&typed, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_and_strangers_are_not() {
        let known = ["role", "follows", "count", "settings"];
        assert_eq!(near("rloe", known), Some("role"));
        assert_eq!(near("folows", known), Some("follows"));
        assert_eq!(near("Count", known), Some("count"));
        assert_eq!(near("banana", known), None);
        assert_eq!(near("x", known), None);
        assert_eq!(near("ap", ["app", "up"]), Some("app"));
        assert_eq!(near("b", ["a"]), None);
    }

    #[test]
    fn distance_counts_a_swap_once() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
