//! All needles in one automaton, driven byte by byte.
//!
//! The crate's own searches want the text at hand, and its stream replacement reports only
//! matches that do not overlap, which lets the tail of a secret through when another secret is
//! its beginning. Here every state tells both things a stream needs: the longest needle that ends
//! at this byte, and how many of the last bytes may still become one.

use std::{collections::HashMap, fmt};

use aho_corasick::{
    Anchored, BuildError, MatchKind, StartKind,
    automaton::{Automaton, StateID},
    dfa::DFA,
    nfa::contiguous::NFA,
};

use super::needles::needles;

/// Up to this many bytes of needles the automaton is a plain table: twice as fast, and about half
/// a kilobyte for each byte.
const TABLE_MAX_BYTES: usize = 16 * 1024;

/// What must not appear in the output of one deployment. Built once, shared by its steps.
pub struct Matcher {
    /// `None` when there is nothing to look for.
    automaton: Option<Kind>,
    start: StateID,
    /// Length of the needle prefix that each state stands for.
    depths: HashMap<StateID, usize>,
}

enum Kind {
    Table(DFA),
    Compact(NFA),
}

/// The secrets cannot be looked for, so no output may be shown.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the masking of secrets: {0}")]
pub struct RedactError(#[from] BuildError);

impl Matcher {
    /// Prepares the search for `secrets`.
    ///
    /// # Errors
    /// When they are too many or too large for the search.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, RedactError> {
        let needles: Vec<_> = secrets.into_iter().flat_map(needles).collect();
        if needles.is_empty() {
            return Ok(Self {
                automaton: None,
                start: StateID::default(),
                depths: HashMap::new(),
            });
        }
        let automaton = if needles.iter().map(Vec::len).sum::<usize>() <= TABLE_MAX_BYTES {
            let mut builder = DFA::builder();
            builder
                .match_kind(MatchKind::Standard)
                .start_kind(StartKind::Unanchored);
            Kind::Table(builder.build(&needles)?)
        } else {
            Kind::Compact(
                NFA::builder()
                    .match_kind(MatchKind::Standard)
                    .build(&needles)?,
            )
        };
        let mut matcher = Self {
            start: automaton.start(),
            automaton: Some(automaton),
            depths: HashMap::new(),
        };
        matcher.measure(&needles);
        Ok(matcher)
    }

    /// Every state stands for the prefix that leads to it, so walking all needles meets them all.
    fn measure(&mut self, needles: &[Vec<u8>]) {
        for needle in needles {
            let mut state = self.start;
            for (index, &byte) in needle.iter().enumerate() {
                state = self.step(state, byte);
                self.depths.insert(state, index + 1);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    pub(super) fn start(&self) -> StateID {
        self.start
    }

    #[inline]
    pub(super) fn step(&self, state: StateID, byte: u8) -> StateID {
        match &self.automaton {
            Some(Kind::Table(table)) => table.next_state(Anchored::No, state, byte),
            Some(Kind::Compact(compact)) => compact.next_state(Anchored::No, state, byte),
            None => state,
        }
    }

    /// Length of the longest needle that ends in this state.
    #[inline]
    pub(super) fn match_length(&self, state: StateID) -> Option<usize> {
        match &self.automaton {
            Some(Kind::Table(table)) => match_length(table, state),
            Some(Kind::Compact(compact)) => match_length(compact, state),
            None => None,
        }
    }

    /// How many of the last bytes may still be the beginning of a needle.
    pub(super) fn depth(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or(0)
    }
}

impl Kind {
    fn start(&self) -> StateID {
        let start = match self {
            Self::Table(table) => table.start_state(Anchored::No),
            Self::Compact(compact) => compact.start_state(Anchored::No),
        };
        // Both are built for unanchored searches, so there is such a state.
        start.unwrap_or_default()
    }
}

#[inline]
fn match_length(automaton: &impl Automaton, state: StateID) -> Option<usize> {
    if !automaton.is_special(state) || !automaton.is_match(state) {
        return None;
    }
    let patterns = (0..automaton.match_len(state)).map(|i| automaton.match_pattern(state, i));
    patterns.map(|pattern| automaton.pattern_len(pattern)).max()
}

/// Never shows what is looked for.
impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher")
            .field("states", &self.depths.len())
            .finish_non_exhaustive()
    }
}
