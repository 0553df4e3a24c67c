//! The order in which sides take turns: A B C, A B C …, so that what else the machine does meets
//! all of them.

/// One turn of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// From 0 on, in the order in which the sides were named.
    pub side: usize,
    /// The first round warms up and is not counted.
    pub counts: bool,
}

/// The turns of so many sides in so many rounds that count.
pub fn turns(sides: usize, rounds: usize) -> impl Iterator<Item = Turn> {
    (0..=rounds).flat_map(move |round| {
        (0..sides).map(move |side| Turn {
            side,
            counts: round > 0,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns_and_the_first_round_does_not_count() {
        let turns: Vec<(usize, bool)> = turns(2, 2).map(|turn| (turn.side, turn.counts)).collect();
        let expected = [
            (0, false),
            (1, false),
            (0, true),
            (1, true),
            (0, true),
            (1, true),
        ];
        assert_eq!(turns, expected);
    }
}
