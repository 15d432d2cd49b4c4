//! How long it took until things went on after each fault: pure.

use std::{collections::BTreeMap, time::Duration};

use super::{
    faults::Fault,
    nemesis::Struck,
    record::{Moment, Record},
};

/// Recovery times of each kind of fault, shortest first.
pub(crate) type Recoveries = BTreeMap<Fault, Vec<Duration>>;

/// A run that never came to its end.
struct CutOff<'a> {
    run: &'a Record,
    /// When its deployment began again.
    again_ns: u64,
}

/// Measures every fault. One that cut nothing off has nothing to recover from.
#[must_use]
pub(crate) fn measure(struck: &[Struck], records: &[Record]) -> Recoveries {
    let cut_off = cut_off(records);
    let mut times = Recoveries::new();
    for run in &cut_off {
        let Some(fault) = blame(struck, run) else {
            continue;
        };
        if is_disturbed(struck, fault, (fault.began_ns, run.again_ns)) {
            continue;
        }
        let time = Duration::from_nanos(run.again_ns.saturating_sub(fault.began_ns));
        times.entry(fault.fault).or_default().push(time);
    }
    for fault in struck.iter().filter(|it| !it.fault.interrupts()) {
        let next = records
            .iter()
            .filter(|it| it.moment == Moment::Started && it.at_ns > fault.over_ns)
            .map(|it| it.at_ns)
            .min();
        if let Some(next) = next
            && !is_disturbed(struck, fault, (fault.over_ns, next))
        {
            let time = Duration::from_nanos(next - fault.over_ns);
            times.entry(fault.fault).or_default().push(time);
        }
    }
    for times in times.values_mut() {
        times.sort_unstable();
    }
    times
}

/// Runs whose deployment ran again although they had not failed.
fn cut_off(records: &[Record]) -> Vec<CutOff<'_>> {
    let mut open: BTreeMap<i64, &Record> = BTreeMap::new();
    let mut found = Vec::new();
    for record in records {
        match record.moment {
            Moment::Started => {
                if let Some(run) = open.insert(record.deployment, record) {
                    let again_ns = record.at_ns;
                    found.push(CutOff { run, again_ns });
                }
            }
            Moment::Failed => {
                open.remove(&record.deployment);
            }
            // Whoever runs again after the end was cut off before that could be written down.
            Moment::Ended | Moment::Overlapped => {}
        }
    }
    found
}

/// The fault that hit a run's own worker first after it had begun.
fn blame<'a>(struck: &'a [Struck], cut: &CutOff<'_>) -> Option<&'a Struck> {
    let after = struck.iter().filter(|it| {
        it.fault.interrupts()
            && it.process == Some(cut.run.parent)
            && it.over_ns.max(it.began_ns) >= cut.run.at_ns
            && it.began_ns < cut.again_ns
    });
    after.min_by_key(|it| it.began_ns)
}

/// Whether something else broke or was broken in that time, so that it tells nothing about this fault.
fn is_disturbed(struck: &[Struck], fault: &Struck, (from_ns, until_ns): (u64, u64)) -> bool {
    let others = struck.iter().filter(|it| it.fault != fault.fault);
    others
        .into_iter()
        .any(|it| it.began_ns < until_ns && it.over_ns > from_ns)
}

/// The time that this share of the recoveries did not exceed.
#[must_use]
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank in a list that fits in memory"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let place = rank.max(1).min(sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn record(moment: Moment, deployment: i64, parent: u32, second: u64) -> Record {
        Record {
            moment,
            target: "t".to_owned(),
            deployment,
            fence: i64::from(parent),
            parent,
            process: 0,
            at_ns: second * SECOND,
        }
    }

    fn struck(fault: Fault, process: Option<u32>, began: u64, over: u64) -> Struck {
        Struck {
            fault,
            began_ns: began * SECOND,
            over_ns: over * SECOND,
            process,
            detail: String::new(),
        }
    }

    #[test]
    fn recovery_lasts_from_the_kill_of_ones_own_worker_to_the_next_run() {
        use Moment::{Ended, Started};
        let records = [
            record(Started, 1, 10, 5),
            record(Started, 2, 20, 6),
            record(Ended, 2, 20, 7),
            record(Started, 1, 30, 12),
            record(Ended, 1, 30, 13),
        ];
        let struck = [
            struck(Fault::WorkerKill, Some(10), 1, 1),
            struck(Fault::WorkerKill, Some(20), 7, 7),
            struck(Fault::WorkerKill, Some(10), 8, 8),
            struck(Fault::RedisFlush, None, 2, 3),
        ];
        let times = measure(&struck, &records);
        let expected = BTreeMap::from([
            (Fault::WorkerKill, vec![Duration::from_secs(4)]),
            (Fault::RedisFlush, vec![Duration::from_secs(2)]),
        ]);
        assert_eq!(times, expected);
    }

    #[test]
    fn recovery_that_another_fault_delayed_does_not_count() {
        let records = [
            record(Moment::Started, 1, 10, 5),
            record(Moment::Started, 1, 30, 12),
        ];
        let struck = [
            struck(Fault::WorkerKill, Some(10), 6, 6),
            struck(Fault::DatabaseKill, None, 7, 8),
        ];
        let times = measure(&struck, &records);
        assert!(!times.contains_key(&Fault::WorkerKill), "{times:?}");
    }

    #[test]
    fn next_run_that_another_fault_delayed_does_not_count() {
        let records = [record(Moment::Started, 1, 10, 9)];
        let struck = [
            struck(Fault::ApiKill, None, 2, 2),
            struck(Fault::RedisReadonly, None, 2, 8),
        ];
        let times = measure(&struck, &records);
        let expected = BTreeMap::from([(Fault::RedisReadonly, vec![Duration::from_secs(1)])]);
        assert_eq!(times, expected);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_secs).collect();
        assert_eq!(quantile(&times, 0.5), Duration::from_secs(50));
        assert_eq!(quantile(&times, 0.99), Duration::from_secs(99));
        assert_eq!(quantile(&times, 1.0), Duration::from_secs(100));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
