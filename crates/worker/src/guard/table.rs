//! What the guard knows, and what follows from it: pure but for the handles that it keeps.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use super::protocol::{Lease, Message, millis};
use crate::exec::sweep::Leader;

/// Commands that run, and the runs that they belong to.
#[derive(Debug)]
pub(super) struct Table {
    commands: BTreeMap<u64, Command>,
    lost: HashSet<u64>,
    /// How long a command may go on without its run's lease being renewed.
    patience: u64,
}

#[derive(Debug)]
struct Command {
    lease: Lease,
    mark: String,
    leader: Option<Leader>,
    /// Killed, or to be killed as soon as there is something to kill.
    doomed: bool,
}

/// What has to be killed.
#[derive(Debug, Default)]
pub(super) struct Condemned<'a> {
    pub(super) marks: HashSet<&'a str>,
    pub(super) leaders: Vec<&'a Leader>,
}

impl Condemned<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }
}

impl Table {
    /// Four fifths of a lease: what self-fencing does at two thirds comes first, and everything is
    /// dead before five sixths are over.
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            commands: BTreeMap::new(),
            lost: HashSet::new(),
            patience: millis(lease * 4 / 5),
        }
    }

    pub(super) fn apply(&mut self, message: Message) {
        match message {
            Message::Begin(key, lease, mark) => {
                let command = Command {
                    lease,
                    mark,
                    leader: None,
                    doomed: false,
                };
                self.commands.insert(key, command);
            }
            Message::Group(key, group) => {
                if let Some(command) = self.commands.get_mut(&key) {
                    command.leader = Some(Leader::new(group, &command.mark));
                    // What was killed before its group was known has to be killed again.
                    command.doomed = false;
                }
            }
            Message::End(key) => {
                self.commands.remove(&key);
            }
            Message::Renew(lease) => {
                for command in self.commands.values_mut() {
                    // A lease that was given up once stays given up.
                    if command.lease.run == lease.run && !command.doomed {
                        command.lease.renewed = command.lease.renewed.max(lease.renewed);
                    }
                }
            }
            Message::Lost(run) => {
                self.lost.insert(run);
            }
            Message::Ping => {}
        }
    }

    /// What has to be killed now, each command once; those without a group again and again, because
    /// a worker that was frozen may start them yet.
    pub(super) fn condemn(&mut self, now: u64) -> Condemned<'_> {
        let mut condemned = Condemned::default();
        for command in self.commands.values_mut() {
            let due = self.lost.contains(&command.lease.run)
                || command.lease.renewed.saturating_add(self.patience) <= now;
            let done = command.doomed && command.leader.is_some();
            if due && !done {
                command.doomed = true;
                condemned.marks.insert(&command.mark);
                condemned.leaders.extend(&command.leader);
            }
        }
        condemned
    }

    /// Everything.
    pub(super) fn all(&self) -> Condemned<'_> {
        Condemned {
            marks: self
                .commands
                .values()
                .map(|own| own.mark.as_str())
                .collect(),
            leaders: self
                .commands
                .values()
                .filter_map(|own| own.leader.as_ref())
                .collect(),
        }
    }

    /// When to look again even if nothing is heard.
    pub(super) fn next_look(&self, now: u64) -> Option<Duration> {
        let dues = self.commands.values().filter_map(|command| {
            if command.doomed {
                return command.leader.is_none().then_some(AGAIN);
            }
            let due = command.lease.renewed.saturating_add(self.patience);
            Some(Duration::from_millis(due.saturating_sub(now)))
        });
        dues.min()
    }
}

/// Between looks for something that may still be started.
const AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use rustix::process::Pid;

    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn begin(key: u64, run: u64, renewed: u64) -> Message {
        Message::Begin(key, Lease { run, renewed }, format!("mark{key}"))
    }

    fn marks(table: &mut Table, now: u64) -> Vec<String> {
        let mut marks: Vec<String> = table
            .condemn(now)
            .marks
            .into_iter()
            .map(str::to_owned)
            .collect();
        marks.sort();
        marks
    }

    fn own_group() -> Pid {
        rustix::process::getpid()
    }

    #[test]
    fn command_is_killed_once_its_lease_was_not_renewed_for_four_fifths_of_its_time() {
        let mut table = Table::new(LEASE);
        table.apply(begin(1, 1, 1_000));
        table.apply(begin(2, 2, 1_000));
        table.apply(Message::Group(1, own_group()));
        table.apply(Message::Renew(Lease {
            run: 2,
            renewed: 2_000,
        }));
        assert!(table.condemn(24_999).is_empty());
        assert_eq!(table.next_look(24_999), Some(Duration::from_millis(1)));
        assert_eq!(marks(&mut table, 25_000), ["mark1"]);
        assert!(table.condemn(25_001).is_empty(), "it is killed once");
    }

    #[test]
    fn command_that_is_over_is_left_alone() {
        let mut table = Table::new(LEASE);
        table.apply(begin(1, 1, 0));
        table.apply(Message::End(1));
        assert!(table.condemn(1_000_000).is_empty());
        assert!(table.all().is_empty());
        assert_eq!(table.next_look(0), None);
    }

    #[test]
    fn lost_run_is_killed_with_what_it_still_begins() {
        let mut table = Table::new(LEASE);
        table.apply(begin(1, 1, 0));
        table.apply(begin(2, 2, 0));
        table.apply(Message::Lost(1));
        assert_eq!(marks(&mut table, 1), ["mark1"]);
        table.apply(begin(3, 1, 1));
        assert_eq!(marks(&mut table, 2), ["mark1", "mark3"]);
    }

    #[test]
    fn command_that_a_frozen_worker_was_about_to_start_is_looked_for_until_it_is_over() {
        let mut table = Table::new(LEASE);
        table.apply(begin(1, 1, 0));
        for now in [24_000, 24_100] {
            assert_eq!(marks(&mut table, now), ["mark1"]);
            assert_eq!(table.next_look(now), Some(AGAIN));
        }
        table.apply(Message::Group(1, own_group()));
        let condemned = table.condemn(24_200);
        assert_eq!(condemned.leaders.len(), 1, "now its group is known");
        assert!(table.condemn(24_300).is_empty());
    }

    #[test]
    fn renewal_that_comes_too_late_saves_nothing() {
        let mut table = Table::new(LEASE);
        table.apply(begin(1, 1, 0));
        assert_eq!(marks(&mut table, 24_000), ["mark1"]);
        table.apply(Message::Renew(Lease {
            run: 1,
            renewed: 24_001,
        }));
        assert_eq!(marks(&mut table, 24_002), ["mark1"]);
    }
}
