//! All needles in one automaton (Aho and Corasick's), which tells two things of every state: the
//! longest needle that ends there, and how many of the last bytes may still become one.
//!
//! Ready-made ones report leftmost matches or matches that do not overlap, which lets the tail of a
//! secret through when another secret is its beginning, and keep copies of the needles that cannot
//! be wiped. Knows bytes only.

use std::{collections::VecDeque, ops::Range};

use zeroize::Zeroizing;

/// A state: the text that leads from the root to it.
pub(super) type State = u32;

/// Nothing that was read may become a needle.
pub(super) const ROOT: State = 0;

/// The states in the order of their depth, so that the children of one stand side by side.
#[derive(Default)]
pub(super) struct Automaton {
    /// The byte that leads to a state.
    labels: Zeroizing<Vec<u8>>,
    /// Where a state's children begin; they end where those of the next one begin.
    children: Vec<State>,
    /// The longest proper ending of a state's text that is a state too.
    fails: Vec<State>,
    depths: Vec<u32>,
    /// Length of the longest needle that a state's text ends with.
    longest: Vec<u32>,
    /// Where each byte leads from the root.
    first: Vec<State>,
}

impl Automaton {
    /// Needles have to be sorted and different from one another.
    pub(super) fn new(needles: &[Zeroizing<Vec<u8>>]) -> Self {
        let mut automaton = Self::default();
        automaton.add(0, 0, 0);
        let mut waiting = VecDeque::from([(ROOT, 0..needles.len())]);
        while let Some((state, range)) = waiting.pop_front() {
            automaton.children.push(automaton.count());
            let depth = automaton.depth(state);
            for (byte, range) in branches(needles, range, depth) {
                let ends = needles.get(range.start).map(|needle| needle.len()) == Some(depth + 1);
                let own = if ends { depth + 1 } else { 0 };
                let child = automaton.count();
                automaton.add(byte, depth + 1, own);
                waiting.push_back((child, range));
            }
        }
        automaton.children.push(automaton.count());
        automaton.first = (0..=u8::MAX)
            .map(|byte| automaton.child(ROOT, byte).unwrap_or(ROOT))
            .collect();
        automaton.link();
        automaton
    }

    fn add(&mut self, label: u8, depth: usize, longest: usize) {
        self.labels.push(label);
        self.depths.push(u32::try_from(depth).unwrap_or(u32::MAX));
        self.longest
            .push(u32::try_from(longest).unwrap_or(u32::MAX));
    }

    fn count(&self) -> State {
        State::try_from(self.labels.len()).unwrap_or(State::MAX)
    }

    /// Where each state goes on when its text does not. Parents come before their children.
    fn link(&mut self) {
        self.fails = vec![ROOT; self.labels.len()];
        for state in 0..self.count() {
            for child in self.children_of(state) {
                let label = at(&self.labels, child);
                let fail = match state {
                    ROOT => ROOT,
                    state => self.next(at(&self.fails, state), label),
                };
                let inherited = at(&self.longest, fail);
                if let Some(place) = self.fails.get_mut(child as usize) {
                    *place = fail;
                }
                if let Some(own) = self.longest.get_mut(child as usize) {
                    *own = inherited.max(*own);
                }
            }
        }
    }

    fn children_of(&self, state: State) -> Range<State> {
        at(&self.children, state)..at(&self.children, state + 1)
    }

    #[inline]
    fn child(&self, state: State, byte: u8) -> Option<State> {
        let children = self.children_of(state);
        let labels = self
            .labels
            .get(children.start as usize..children.end as usize)?;
        let index = match labels {
            [label] => (*label == byte).then_some(0)?,
            labels => labels.binary_search(&byte).ok()?,
        };
        Some(children.start + State::try_from(index).ok()?)
    }

    /// The state after one more byte.
    #[inline]
    pub(super) fn next(&self, mut state: State, byte: u8) -> State {
        while state != ROOT {
            if let Some(child) = self.child(state, byte) {
                return child;
            }
            state = at(&self.fails, state);
        }
        self.first.get(usize::from(byte)).copied().unwrap_or(ROOT)
    }

    /// Length of the longest needle that ends here, or 0.
    #[inline]
    pub(super) fn longest(&self, state: State) -> usize {
        at(&self.longest, state) as usize
    }

    /// How many of the last bytes may still become a needle.
    #[inline]
    pub(super) fn depth(&self, state: State) -> usize {
        at(&self.depths, state) as usize
    }

    /// The text of a state.
    pub(super) fn text(&self, mut state: State) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(Vec::with_capacity(self.depth(state)));
        while state != ROOT {
            text.push(at(&self.labels, state));
            // The last state whose children begin at or before this one.
            let after = self.children.partition_point(|&first| first <= state);
            state = State::try_from(after.saturating_sub(1)).unwrap_or(ROOT);
        }
        text.reverse();
        text
    }

    pub(super) fn states(&self) -> usize {
        self.labels.len()
    }
}

/// The needles of a range by their byte at `depth`; one that ends there has none.
fn branches(
    needles: &[Zeroizing<Vec<u8>>],
    range: Range<usize>,
    depth: usize,
) -> impl Iterator<Item = (u8, Range<usize>)> {
    let byte = move |index: usize| {
        needles
            .get(index)
            .and_then(|needle| needle.get(depth))
            .copied()
    };
    let mut start = range.start;
    std::iter::from_fn(move || {
        while start < range.end {
            let from = start;
            let label = byte(from);
            while start < range.end && byte(start) == label {
                start += 1;
            }
            if let Some(label) = label {
                return Some((label, from..start));
            }
        }
        None
    })
}

/// Every state has a place in every table.
#[inline]
fn at<T: Copy + Default>(table: &[T], state: State) -> T {
    table.get(state as usize).copied().unwrap_or_default()
}
