//! Which child of a group comes next. Sources: FailoverEndpoint, LoadbalanceEndpoint, RoundRobin
//! and WeightedRoundRobin of Synapse.

/// How a group chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// The first ready child. Not dynamic: the last one that was chosen, while it is ready.
    First {
        dynamic: bool,
    },
    RoundRobin,
    /// So many requests to each child in turn, whether it is ready or not.
    Weighted(Vec<u32>),
}

/// Where a group stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    cursor: usize,
    /// Requests that the child at the cursor has had in its turn.
    used: u32,
}

impl Balance {
    /// The next of `children` children, or `None` if there is no suitable one. `ready` says
    /// whether a child can take the request, `tried` whether it has had it already.
    pub(crate) fn next(
        &mut self,
        algorithm: &Algorithm,
        children: usize,
        ready: &dyn Fn(usize) -> bool,
        tried: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        if children == 0 {
            return None;
        }
        let suits = |child: usize| !tried(child) && ready(child);
        self.cursor %= children;
        match algorithm {
            Algorithm::First { dynamic } => {
                if !dynamic && suits(self.cursor) {
                    return Some(self.cursor);
                }
                let child = (0..children).find(|child| suits(*child))?;
                self.cursor = child;
                Some(child)
            }
            Algorithm::RoundRobin => {
                // As the original counts: a lap without success moves one further.
                for _ in 0..children {
                    let child = self.cursor;
                    self.cursor = (child + 1) % children;
                    if suits(child) {
                        return Some(child);
                    }
                }
                self.cursor = (self.cursor + 1) % children;
                None
            }
            Algorithm::Weighted(weights) => (0..=children).find_map(|_| {
                let weight = weights.get(self.cursor).copied().unwrap_or(1);
                if self.used >= weight.max(1) || tried(self.cursor) {
                    self.cursor = (self.cursor + 1) % children;
                    self.used = 0;
                }
                if tried(self.cursor) {
                    return None;
                }
                self.used += 1;
                Some(self.cursor)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(algorithm: &Algorithm, ready: &[bool], count: usize) -> Vec<Option<usize>> {
        let mut balance = Balance::default();
        (0..count)
            .map(|_| balance.next(algorithm, ready.len(), &|child| ready[child], &|_| false))
            .collect()
    }

    #[test]
    fn round_robin_skips_what_is_not_ready() {
        let picked = picks(&Algorithm::RoundRobin, &[true, false, true], 4);
        assert_eq!(picked, [Some(0), Some(2), Some(0), Some(2)]);
        assert_eq!(picks(&Algorithm::RoundRobin, &[false, false], 1), [None]);
        assert_eq!(picks(&Algorithm::RoundRobin, &[], 1), [None]);
    }

    #[test]
    fn weights_are_requests_in_a_row() {
        let weighted = Algorithm::Weighted(vec![2, 1]);
        let picked = picks(&weighted, &[false, true], 6);
        assert_eq!(picked, [0, 0, 1, 0, 0, 1].map(Some));
        let mut balance = Balance::default();
        let picked = balance.next(&weighted, 2, &|_| true, &|child| child == 0);
        assert_eq!(picked, Some(1));
        assert_eq!(balance.next(&weighted, 2, &|_| true, &|_| true), None);
    }

    #[test]
    fn failover_returns_to_the_first_only_if_it_is_dynamic() {
        let mut balance = Balance::default();
        let sticky = Algorithm::First { dynamic: false };
        let none = |_| false;
        assert_eq!(
            balance.next(&sticky, 2, &|child| child == 1, &none),
            Some(1)
        );
        assert_eq!(balance.next(&sticky, 2, &|_| true, &none), Some(1));
        let dynamic = Algorithm::First { dynamic: true };
        assert_eq!(balance.next(&dynamic, 2, &|_| true, &none), Some(0));
    }
}
