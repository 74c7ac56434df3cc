//! Which numbers of one sender were seen: a sliding window, as RFC 6479 builds it.

const BITS: u64 = 64;
const WORDS: usize = 32;

/// The newest number and at least 1984 before it: more than any queue between two members reorders.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// `None` before the first.
    newest: Option<u64>,
    /// A ring: bit n of a word is set when number 64 * word + n was seen.
    seen: [u64; WORDS],
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { newest: None, seen: [0; WORDS] }
    }

    /// True the first time that a number comes, unless it is too old to tell.
    pub(super) fn accept(&mut self, number: u64) -> bool {
        let word = number / BITS;
        match self.newest {
            Some(newest) if number <= newest => {
                if newest / BITS - word >= WORDS as u64 {
                    return false;
                }
            }
            Some(newest) => {
                let passed = (word - newest / BITS).min(WORDS as u64);
                for cleared in 0..passed {
                    if let Some(slot) = self.seen.get_mut(place(word - cleared)) {
                        *slot = 0;
                    }
                }
                self.newest = Some(number);
            }
            None => self.newest = Some(number),
        }
        let bit = 1 << (number % BITS);
        let Some(slot) = self.seen.get_mut(place(word)) else { return false };
        let new = *slot & bit == 0;
        *slot |= bit;
        new
    }
}

fn place(word: u64) -> usize {
    usize::try_from(word % WORDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_number_once_and_the_too_old_never() {
        let mut window = Window::new();
        let steps: [(u64, bool); 14] = [
            (5000, true),
            (5000, false),
            (4999, true),
            (5001, true),
            (4999, false),
            (0, false),
            (3008, true), // 5001 is in word 78, and word 47 is the oldest that is kept
            (3007, false),
            (7000, true),
            (5001, false),
            (u64::MAX, true),
            (u64::MAX, false),
            (u64::MAX - 1, true),
            (7001, false),
        ];
        for (number, accepted) in steps {
            assert_eq!(window.accept(number), accepted, "{number}");
        }
        let mut window = Window::new();
        assert_eq!([0, 0, 1, 1].map(|number| window.accept(number)), [true, false, true, false]);
    }

    proptest! {
        #[test]
        fn as_a_set_would_say(start in any::<u64>(), steps in prop::collection::vec((-3000..3000i64, any::<bool>()), 1..300)) {
            let (mut window, mut model) = (Window::new(), std::collections::BTreeSet::<u64>::new());
            let mut number = start;
            for (step, far) in steps {
                number = number.saturating_add_signed(if far { step } else { step % 70 });
                let newest = model.last().copied();
                let accepted = window.accept(number);
                if newest.is_none_or(|newest| number > newest || newest - number < 1984) {
                    prop_assert_eq!(accepted, !model.contains(&number));
                } else {
                    // Behind the window it may be refused, never taken twice.
                    prop_assert!(!accepted || !model.contains(&number));
                }
                model.insert(number);
            }
        }
    }
}
