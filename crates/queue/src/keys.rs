//! Every key of the index in Redis, with its type and what it holds.
//!
//! Nothing else in the workspace knows a key's name. No value is more than ids, times and tokens.

use fred::types::Key;
use slipway_core::deployment::priority::Priority;

/// The names, made once from the configured prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// STRING: random id of the last completed rebuild; absent means that the data is lost.
    epoch: Key,
    /// HASH deployment -> `<target>:<priority>`: every entry of the index; its length is the depth.
    job: Key,
    /// LISTs of targets that may run now, one for each priority, each target at most once in all of
    /// them: popped left, pushed right.
    ready: [Key; Priority::ALL.len()],
    /// HASH priority -> claims in a row that went past it while it had a ready target.
    passed: Key,
    /// HASH target -> `R<priority>` in that list of ready targets, `B:<id>` busy with that
    /// deployment, `H:<id>` held while that deployment waits for a retry. Absent: idle.
    state: Key,
    /// ZSET deployment by the time (ms) from which it may run again.
    delayed: Key,
    /// ZSET deployment by the end (ms) of its lease; its length is the number running.
    leases: Key,
    /// HASH deployment -> token of its lease, and `t:<token>` -> deployment.
    tokens: Key,
    /// LIST of meaningless tokens, 64 at most; idle workers block on it.
    wake: Key,
    /// STRING with expiry: which process is rebuilding the index.
    rebuild: Key,
    /// STRING with expiry: written and read back by the health probe.
    probe: Key,
    /// LIST of waiting deployments for each target: what these keys begin with.
    pend: String,
    /// Channel of hints.
    events: String,
    /// Glob that matches every key above.
    everything: String,
}

impl Keys {
    /// Names every key below `prefix`.
    pub(crate) fn new(prefix: &str) -> Self {
        let key = |name: &str| Key::from(format!("{prefix}:{name}"));
        Self {
            epoch: key("epoch"),
            job: key("job"),
            ready: Priority::ALL.map(|priority| key(&format!("ready:{}", priority.rank()))),
            passed: key("passed"),
            state: key("state"),
            delayed: key("delayed"),
            leases: key("leases"),
            tokens: key("tokens"),
            wake: key("wake"),
            rebuild: key("rebuild"),
            probe: key("probe"),
            pend: format!("{prefix}:pend:"),
            events: format!("{prefix}:events"),
            everything: format!("{}:*", escape_glob(prefix)),
        }
    }

    /// The `KEYS` of every script, in the order that `shared.lua` names them.
    pub(crate) fn for_scripts(&self) -> Vec<Key> {
        let mut keys = vec![
            self.epoch.clone(),
            self.job.clone(),
            self.state.clone(),
            self.delayed.clone(),
            self.leases.clone(),
            self.tokens.clone(),
            self.wake.clone(),
            self.rebuild.clone(),
            self.probe.clone(),
            self.passed.clone(),
        ];
        keys.extend(self.ready.iter().cloned());
        keys
    }

    /// What the name of every target's list begins with.
    pub(crate) fn pend(&self) -> &str {
        &self.pend
    }

    /// The list that idle workers block on.
    pub(crate) fn wake(&self) -> &Key {
        &self.wake
    }

    /// The channel of hints.
    pub(crate) fn events(&self) -> &str {
        &self.events
    }

    /// The glob that matches every key of this index.
    pub(crate) fn everything(&self) -> &str {
        &self.everything
    }
}

fn escape_glob(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_with_glob_characters_matches_only_itself() {
        assert_eq!(Keys::new("{a*b}").everything(), "{a\\*b}:*");
        assert_eq!(Keys::new("{slw}").everything(), "{slw}:*");
    }

    #[test]
    fn scripts_get_every_key_once() {
        let mut keys = Keys::new("{slw}").for_scripts();
        let given = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!((given, keys.len()), (13, 13));
    }
}
