//! "Did you mean ...?"

use super::report::Fault;

/// The name a person most likely meant: few typing errors away, measured by its length.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(errors, name)| *errors * 3 <= name.chars().count().max(word.chars().count()))
        .min_by_key(|(errors, _)| *errors)
        .map(|(_, name)| name)
}

/// Damerau-Levenshtein (optimal string alignment): a swap of neighbouring letters is one error, as typing has it.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    // Nobody misspells more than a line.
    let [a, b]: [Vec<char>; 2] = [a, b].map(|text| text.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_left = None;
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut previous_right = None;
        for (j, right) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX / 2);
            let substituted = at(&last, j) + usize::from(left != right);
            let mut least = substituted.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if previous_left == Some(right) && previous_right == Some(left) {
                least = least.min(at(&before, j.wrapping_sub(1)) + 1);
            }
            row.push(least);
            previous_right = Some(right);
        }
        before = std::mem::replace(&mut last, row);
        previous_left = Some(left);
    }
    last.last().copied().unwrap_or(0)
}

/// A name that nothing has.
pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Fault {
    let fault = Fault::new(format!("there is no {what} {name:?}"), format!("unknown {what}"));
    match nearest(name, known.clone()) {
        Some(meant) => Fault { label: format!("did you mean {meant:?}?"), ..fault },
        None => fault.help(format!("{what}s: {}", known.collect::<Vec<_>>().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_word_meant_or_none() {
        let names = ["interval", "timeout", "rise", "fall", "fast-interval"];
        for (word, meant) in [
            ("intervall", Some("interval")),
            ("itnerval", Some("interval")),
            ("time-out", Some("timeout")),
            ("raise", Some("rise")),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), meant, "{word}");
        }
    }
}
